"""Answers on their way, files of the page, names in headers, and bodies that are kept in files."""

import pytest

from mailgw.testing.web import request
from mailgw.web.answers import attachment, headers_of, octets_headers
from mailgw.web.operations import JSON_OCTETS, LiveEvent, Octets
from mailgw.web.page import asset, is_known, packaged, takes_gzip
from mailgw.web.sending import HEARTBEAT_SECONDS, event_octets
from tests.tables import each
from tests.web.serving import ALL, READER, Served


@each(
    ("name", "expected"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("../../etc/passwd", 'attachment; filename="passwd"'),
        ("..\\..\\boot.ini", 'attachment; filename="boot.ini"'),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"aSet-Cookie: x\""),
        ("ä €.txt", "attachment; filename=\"_ _.txt\"; filename*=UTF-8''%C3%A4%20%E2%82%AC.txt"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("", 'attachment; filename="file"'),
        ("folder/", 'attachment; filename="file"'),
        ("\u202egpj.exe", 'attachment; filename="gpj.exe"'),
        ("a" * 300, f'attachment; filename="{"a" * 200}"'),
        ("\udcff", 'attachment; filename="file"'),
    ],
)
def test_names_of_files(name: str, expected: str) -> None:
    assert attachment(name) == expected


def test_headers() -> None:
    found = headers_of({"cache-control": "max-age=5", "Referrer-Policy": "", "X": "a\r\nb"}, True, 0.0)
    assert found["cache-control"] == "max-age=5"
    assert "Cache-Control" not in found
    assert "Referrer-Policy" not in found
    assert found["X"] == "a  b"
    assert found["Date"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert found["Strict-Transport-Security"] == "max-age=31536000"
    own = octets_headers(Octets(b"", "image/png", "x.png", {"Content-Security-Policy": "sandbox"}), "*/*")
    assert own["Content-Type"] == "image/png"
    assert headers_of(own, False, 0.0)["Content-Security-Policy"] == "sandbox"


def test_events() -> None:
    assert event_octets(LiveEvent("now", {"a": "b\n\ndata: c"}, "7")) == (
        b'event: now\nid: 7\ndata: {"a":"b\\n\\ndata: c"}\n\n'
    )
    assert event_octets(LiveEvent("now", None)) == b"event: now\ndata: null\n\n"


def test_a_stream_has_signs_of_life() -> None:
    served = Served()
    client = served.raw(request("GET", "/api/v1/live", {"Authorization": f"Bearer {ALL}"}))
    assert b"content-type: text/event-stream" in client.received.lower()
    assert b"retry: 2000\n\n" in client.received
    for beats in range(1, 4):
        served.advance(HEARTBEAT_SECONDS)
        assert client.received.count(b": \n\n") == beats
    served.advance(3600)
    assert not client.is_closed, "who listens may listen"
    served.stop()
    assert client.is_closed
    assert served.door.feed.watching == 0


@each(
    ("header", "expected"),
    [(None, False), ("", False), ("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("*", True),
     ("br", False), ("GZIP", True), ("gzip; q=0.0", False), ("xgzip", False)],
)
def test_who_takes_gzip(header: str | None, expected: bool) -> None:
    assert takes_gzip(header) is expected


@each(
    ("header", "expected"),
    [(None, False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("a", False)],
)
def test_what_is_known(header: str | None, expected: bool) -> None:
    assert is_known('"a"', header) is expected


def test_the_page_that_is_packaged() -> None:
    page = packaged()
    assert page.find("/") is page.find("/index.html")
    for path in page.paths:
        found = page.find(path)
        assert found is not None
        assert found.compressed is None or len(found.compressed) < len(found.octets)
        if path.endswith(".js"):
            assert found.media_type == "text/javascript; charset=utf-8"
    assert page.find("/../__init__.py") is None


def test_the_page_compressed_and_not() -> None:
    served = Served()
    plain = served.ask("GET", "/", token=None)
    small = served.ask("GET", "/", token=None, headers={"Accept-Encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert len(small.body) < len(plain.body)
    assert plain.headers["etag"] == small.headers["etag"]
    assert plain.headers["vary"] == "Accept-Encoding"
    head = served.ask("HEAD", "/", token=None)
    assert (head.status, head.headers["content-length"]) == (200, str(len(plain.body)))
    assert asset("text/plain", b"short").compressed is None


def test_much_comes_in_pieces() -> None:
    served = Served()
    assert len(served.ask("GET", "/api/v1/large").body) == 1_000_000
    assert len(served.ask("GET", "/api/v1/streamed").body) == 1_000_000
    bearer = b"Authorization: Bearer %s\r\n\r\n" % ALL.encode()
    client = served.raw(b"GET /api/v1/streamed HTTP/1.0\r\nHost: localhost\r\n" + bearer)
    assert client.is_closed
    assert len(client.received) > 1_000_000
    head = served.ask("HEAD", "/api/v1/large")
    assert (head.status, head.headers["content-length"], head.body) == (200, "1000000", b"")


def test_problems() -> None:
    served = Served()
    answer = served.ask("GET", "/api/v1/refusals/problem")
    assert answer.json == {
        "type": "about:blank", "title": "Conflict", "status": 409, "detail": "another one", "other": 5,
    }
    assert served.ask("GET", "/api/v1/refusals/refused").json["detail"] == "makes no sense"
    unwell = served.ask("GET", "/api/v1/refusals/unwell")
    assert (unwell.status, unwell.json["detail"], unwell.headers["retry-after"]) == (503, "disk is full", "5")


def test_orders_are_facts_and_questions_are_none() -> None:
    served = Served()
    served.ask("GET", "/api/v1/things/x")
    assert served.facts == []
    served.ask("POST", "/api/v1/orders", {"name": "x"}, address="192.0.2.7")
    served.ask("POST", "/api/v1/orders", {"nam": "x"})
    assert [(one.token, one.peer, one.path, one.http_status) for one in served.facts] == [  # type: ignore[attr-defined]
        ("all", "192.0.2.7", "/api/v1/orders", 200), ("all", "127.0.0.1", "/api/v1/orders", 400),
    ]


JSON = {"Content-Type": "application/json"}
OURS = {"X-Mailgw": "1", "Host": "localhost", "Origin": "http://localhost"}


@each(("method", "path", "body", "headers", "by", "status"), [
    ("POST", "/orders", b'{"name":"x"}', JSON, READER, 403),
    ("POST", "/orders", b'{"name":"x"}', JSON, "session", 403),  # without X-Mailgw
    ("POST", "/orders", b'{"name":"x"}', {**JSON, **OURS, "Origin": "https://evil.example"}, "session", 403),
    ("POST", "/orders", b'{"name":"x"}', {**JSON, **OURS, "Sec-Fetch-Site": "cross-site"}, "session", 403),
    ("POST", "/orders", b'{"name":"x"}', {**JSON, **OURS}, "session", 200),
    ("POST", "/orders", b"x", {"Content-Type": "text/plain"}, ALL, 415),
    ("POST", "/orders", b"", JSON, ALL, 400),
    ("POST", "/orders", b"", {**JSON, "Content-Length": str(JSON_OCTETS + 1)}, ALL, 413),
    ("POST", "/orders", b"fffff\r\n" + b"x" * 0xfffff + b"\r\nff\r\n" + b"x" * 255 + b"\r\n",
     {**JSON, "Transfer-Encoding": "chunked"}, ALL, 413),
    ("POST", "/orders", b"zz\r\n", {**JSON, "Transfer-Encoding": "chunked"}, ALL, 400),
    ("POST", "/orders", b"", {**JSON, "Content-Length": "9"}, ALL, 408),  # it never comes
    ("DELETE", "/session", b"x", {}, ALL, 413),
])
def test_orders_that_are_refused_are_facts(
    method: str, path: str, body: bytes, headers: dict[str, str], by: str, status: int
) -> None:
    served = Served()
    token = {ALL: "all", READER: "reader", "session": "all"}[by]
    who = {"Authorization": f"Bearer {by}"}
    if by == "session":
        login = served.ask("POST", "/api/v1/session", {"token": ALL}, token=None)
        who = {"Cookie": login.cookies[0].partition(";")[0]}
        served.facts.clear()
    lengths = {} if {"Content-Length", "Transfer-Encoding"} & set(headers) else {"Content-Length": str(len(body))}
    fields = {"Host": "localhost", **who, **headers, **lengths}
    words = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    client = served.raw(f"{method} /api/v1{path} HTTP/1.1\r\n{words}\r\n".encode() + body, seconds=20)
    assert client.received.startswith(b"HTTP/1.1 %d " % status), client.received[:200]
    assert [(one.token, one.method, one.path, one.http_status) for one in served.facts] == [  # type: ignore[attr-defined]
        (token, method, f"/api/v1{path}", status),
    ]


@each(("method", "path", "token", "headers", "status"), [
    ("POST", "/orders", None, JSON, 401),
    ("POST", "/orders", "guess", JSON, 401),
    ("POST", "/session", None, {**JSON, "Origin": "https://evil.example"}, 403),
    ("POST", "/session", None, {"Content-Type": "text/plain"}, 415),
    ("POST", "/nothing", ALL, JSON, 404),
    ("POST", "/large", ALL, JSON, 405),
    ("GET", "/things/x", ALL, JSON, 413),
])
def test_what_nobody_we_know_would_change_is_no_fact(
    method: str, path: str, token: str | None, headers: dict[str, str], status: int
) -> None:
    served = Served()
    assert served.ask(method, f"/api/v1{path}", b"{}", token=token, headers=headers).status == status
    assert served.facts == []


@pytest.mark.parametrize("step", ["create", "write"])
def test_a_disk_that_is_full(step: str) -> None:
    served = Served()
    served.disk.errors[f"{step} /state/uploads"] = 28
    answer = served.ask("POST", "/api/v1/files", b"x" * 100_000, headers={"Content-Type": "message/rfc822"})
    assert (answer.status, answer.json["detail"]) == (503, "the body cannot be kept: No space left on device")
    assert served.disk.names("/state/uploads") == []
    served.disk.errors.clear()
    answer = served.ask("POST", "/api/v1/files", b"x" * 100_000, headers={"Content-Type": "message/rfc822"})
    assert answer.json["count"] == 100_000


def test_an_upload_that_is_broken_off() -> None:
    served = Served()
    client = served.client()
    client.send(request("POST", "/api/v1/files", {
        "Content-Type": "message/rfc822", "Content-Length": "200000", "Authorization": f"Bearer {ALL}",
    }, b"") + b"x" * 100_000)
    served.advance(0)
    assert len(served.disk.names("/state/uploads")) == 1
    client.close()
    served.advance(1)
    assert served.disk.names("/state/uploads") == []
    assert served.facts == [], "it was never asked for"


def test_what_was_left_by_a_crash_is_gone_at_the_next_start() -> None:
    served = Served()
    served.disk.write_atomically("/state/uploads/old", b"x")
    served.server.uploads.open()
    assert served.disk.names("/state/uploads") == []
