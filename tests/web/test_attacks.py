"""What an attacker tries, one after the other; each with what comes of it."""

import re

import pytest
from twisted.internet.defer import Deferred

from mailgw.testing.web import HttpClient, request
from mailgw.web.channel import (
    BODY_OCTETS_PER_SECOND,
    BODY_SECONDS,
    HEAD_SECONDS,
    HEADER_OCTETS,
    HEADERS,
    IDLE_SECONDS,
    LINGER_SECONDS,
    STUCK_SECONDS,
)
from mailgw.web.operations import JSON_OCTETS, LiveEvent
from mailgw.web.routing import TARGET_OCTETS
from mailgw.web.server import LIVE_AT_ONCE, STOP_SECONDS
from mailgw.web.tokens import SESSION_SECONDS, SESSIONS, TRIES, TRIES_SECONDS
from tests.logged import LoggedFailures
from tests.tables import each
from tests.web.serving import ALL, READER, Served

HOST = "Host: localhost:8025\r\n"
BEARER = f"Authorization: Bearer {ALL}\r\n"


def take_nothing(client: HttpClient) -> None:
    """As who does not read: the server's kernel takes no more."""
    client.transport.other.startWriting = lambda: None  # type: ignore[union-attr] # an End


def statuses(client: HttpClient) -> list[int]:
    """Of all answers that have come."""
    return [int(word) for word in re.findall(rb"HTTP/1\.[01] (\d{3}) ", client.received)]


# --- who asks ------------------------------------------------------------------------------------------------


def test_without_a_token_nothing_is_done_or_told() -> None:
    served = Served()
    for method, path in (
        ("GET", "/api/v1/things/x"), ("POST", "/api/v1/orders"), ("GET", "/api/v1/nothing"), ("GET", "/metrics"),
        ("DELETE", "/api/v1/things/x"), ("GET", "/api/v1/live"),
    ):
        answer = served.ask(method, path, token=None)
        assert answer.status == 401, path
        assert answer.headers["www-authenticate"] == 'Bearer realm="mailgw"'
    assert served.door.asked == []


def test_a_scope_is_what_may_be_done() -> None:
    served = Served()
    assert served.ask("GET", "/api/v1/things/x", token=READER).status == 200
    answer = served.ask("POST", "/api/v1/orders", {"name": "x"}, token=READER)
    assert (answer.status, answer.json["detail"]) == (403, "the scope queue is needed")
    assert served.door.asked == []


@each(
    "header",
    ["", "Bearer", "Bearer ", f"Basic {ALL}", f"bearer{ALL}", f"Bearer {ALL[:-1]}", f"Bearer {ALL} ,x", ALL,
     "Bearer " + "a" * 10_000, "Bearer \xff\xfe"],
)
def test_what_is_no_token(header: str) -> None:
    served = Served()
    assert served.ask("GET", "/api/v1/things/x", token=None, headers={"Authorization": header}).status == 401


def test_two_tokens_are_none() -> None:
    served = Served()
    client = served.raw(f"GET /api/v1/things/x HTTP/1.1\r\n{HOST}{BEARER}{BEARER}\r\n".encode())
    assert statuses(client) == [401]


def test_guesses_are_told_to_wait_and_lock_nobody_out() -> None:
    served = Served()
    guessed = [served.ask("GET", "/api/v1/things/x", token=f"guess-{number}") for number in range(TRIES + 1)]
    assert [one.status for one in guessed] == [401] * TRIES + [429]
    assert 1 <= int(guessed[-1].headers["retry-after"]) <= TRIES_SECONDS + 1
    assert served.ask("GET", "/api/v1/things/x").status == 200, "a good token is let in, by the same address"
    assert served.ask("GET", "/api/v1/things/x", token="guess", address="192.0.2.9").status == 401, "of another one"
    assert len(served.refused) == TRIES + 1, "the journal is not filled by guesses"
    login = served.ask("POST", "/api/v1/session", {"token": "guess"}, token=None)
    assert login.status == 429, "the page's door counts with the others"
    served.advance(TRIES_SECONDS)
    assert served.ask("GET", "/api/v1/things/x", token="guess").status == 401


def test_a_network_of_ipv6_is_one_guesser() -> None:
    served = Served()
    for number in range(TRIES):
        served.ask("GET", "/api/v1/things/x", token="guess", address=f"2001:db8::{number + 1}")
    assert served.ask("GET", "/api/v1/things/x", token="guess", address="2001:db8::ffff").status == 429
    assert served.ask("GET", "/api/v1/things/x", token="guess", address="2001:db8:0:1::1").status == 401


# --- other people's pages ------------------------------------------------------------------------------------


def logged_in(served: Served, cookies: str = "") -> str:
    answer = served.ask("POST", "/api/v1/session", {"token": ALL}, token=None, headers={"Cookie": cookies})
    assert answer.status == 200, answer.body
    assert re.fullmatch(
        r"mailgw_session=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict; Max-Age=43200", answer.cookies[0]
    )
    return answer.cookies[0].partition(";")[0]


@each(
    ("headers", "status"),
    [
        ({"X-Mailgw": "1"}, 200),
        ({"X-Mailgw": "1", "Origin": "http://localhost:8025", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"X-Mailgw": "1", "Origin": "https://localhost:8025"}, 200),  # by a proxy that has TLS
        ({}, 403),
        ({"X-Mailgw": "1", "Origin": "http://evil.example"}, 403),
        ({"X-Mailgw": "1", "Origin": "http://localhost:8026"}, 403),
        ({"X-Mailgw": "1", "Origin": "null"}, 403),
        ({"X-Mailgw": "1", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Mailgw": "1", "Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_a_cookie_alone_orders_nothing(headers: dict[str, str], status: int) -> None:
    served = Served()
    cookie = logged_in(served)
    answer = served.ask("POST", "/api/v1/orders", {"name": "x"}, token=None, headers={"Cookie": cookie, **headers})
    assert answer.status == status
    assert len(served.door.asked) == (status == 200)


def test_a_cookie_of_a_strange_page_shows_nothing() -> None:
    served = Served()
    cookie = logged_in(served)
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        answer = served.ask(
            "GET", "/api/v1/things/x", token=None, headers={"Cookie": cookie, "Sec-Fetch-Site": site}
        )
        assert answer.status == status, site
        assert "access-control-allow-origin" not in answer.headers


def test_a_form_is_no_order() -> None:
    served = Served()
    cookie = logged_in(served)
    for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
        answer = served.ask(
            "POST", "/api/v1/orders", b'{"name":"x"}', token=None,
            headers={"Cookie": cookie, "X-Mailgw": "1", "Content-Type": kind},
        )
        assert answer.status == 415, kind
    assert served.door.asked == []


def test_no_page_of_others_logs_us_in() -> None:
    served = Served()
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = served.ask("POST", "/api/v1/session", {"token": ALL}, token=None, headers=headers)
        assert answer.status == 403
        assert answer.cookies == ()
    form = served.ask(
        "POST", "/api/v1/session", f'{{"token":"{ALL}"}}'.encode(), token=None, headers={"Content-Type": "text/plain"}
    )
    assert form.status == 415


def test_nobody_is_allowed_by_cors() -> None:
    served = Served()
    answer = served.ask("OPTIONS", "/api/v1/orders", headers={
        "Origin": "http://evil.example", "Access-Control-Request-Method": "POST",
    })
    assert answer.status == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_session_is_never_one_that_was_brought() -> None:
    served = Served()
    fixed = "mailgw_session=" + "0" * 64
    assert logged_in(served, fixed) != fixed
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": fixed}).status == 401
    first = logged_in(served)
    assert logged_in(served, first) != first
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": first}).status == 401, "it was closed"
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": f"{first}; {first}"}).status == 401


def test_a_session_ends() -> None:
    served = Served()
    cookie = logged_in(served)
    served.advance(SESSION_SECONDS - 10)
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": cookie}).status == 200
    served.advance(10)
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": cookie}).status == 401


def test_sessions_are_so_many() -> None:
    served = Served()
    first, *others = [logged_in(served) for _ in range(SESSIONS)]
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": first}).status == 200
    logged_in(served)
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": first}).status == 401
    assert served.ask("GET", "/api/v1/session", token=None, headers={"Cookie": others[0]}).status == 200


@each(
    ("host", "status"),
    [
        ("localhost:8025", 200), ("LOCALHOST", 200), ("127.0.0.1:8025", 200), ("127.9.9.9", 200), ("[::1]:8025", 200),
        ("mail.example.org", 200), ("mail.example.org.:443", 200), ("a.localhost", 200),
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("10.0.0.1", 421),
        ("mail.example.org.evil.example", 421), ("[2001:db8::1]", 421), ("0.0.0.0", 421),
        ("", 400), ("localhost:x", 400), ("localhost@evil.example", 400), ("localhost/evil", 400), ("[::1", 400),
        ("localhost, evil.example", 400), ("local host", 400), ("localhost:123456", 400),
    ],
)
def test_by_which_names_we_are_asked(host: str, status: int) -> None:
    served = Served()
    for path in ("/", "/api/v1/things/x"):
        assert served.ask("GET", path, headers={"Host": host}).status == status, path


def test_two_hosts_are_none() -> None:
    served = Served()
    client = served.raw(f"GET / HTTP/1.1\r\n{HOST}Host: evil.example\r\n\r\n".encode())
    assert statuses(client) == [400]
    assert statuses(served.raw(b"GET / HTTP/1.1\r\n\r\n")) == [400]
    assert statuses(served.raw(b"GET / HTTP/1.0\r\n\r\n")) == [200]


@each(
    ("target", "host", "status"),
    [
        ("http://localhost:8025/", "localhost:8025", 200),
        ("http://localhost:8025", "localhost:8025", 200),
        ("HTTP://localhost:8025/api/v1/things/x?limit=1", "localhost:8025", 200),
        ("http://evil.example/", "localhost:8025", 400),
        ("http://localhost:8025/", "evil.example", 400),
        ("http://evil.example/", "evil.example", 421),
        ("http://user@localhost:8025/", "localhost:8025", 400),
        ("ftp://localhost/", "localhost", 400),
        ("localhost:8025", "localhost:8025", 400),
        ("*", "localhost", 400),
    ],
)
def test_a_target_with_a_host_in_it(target: str, host: str, status: int) -> None:
    served = Served()
    client = served.raw(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{BEARER}\r\n".encode())
    assert statuses(client) == [status]


# --- paths and scripts ---------------------------------------------------------------------------------------


@each(
    "path",
    [
        "/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/./index.html",
        "/index.html%00.js", "/index.html%0d%0aSet-Cookie:x", "/..\\..\\windows", "/%5c..%5c", "/a//b",
        "/%c0%ae%c0%ae/", "/%ff", "/%", "/%zz", "/api/v1/../../index.html", "/api/v1/things/%2e%2e",
        "/api/v1/things/a%2fb", "/api/v1/things/", "/index.html/", "/api/v1/things/a%5cb", "/api/v1/things/a%00b",
        "/index.html#x", "/<script>", "/\u00e9",
    ],
)
def test_no_path_leads_astray(path: str) -> None:
    served = Served()
    client = served.raw(f"GET {path} HTTP/1.1\r\n{HOST}{BEARER}\r\n".encode("latin-1"))
    assert statuses(client)[0] in (400, 404), path
    assert b"Set-Cookie" not in client.received


def test_only_files_of_the_page_are_served() -> None:
    served = Served()
    for path in ("/__init__.py", "/static/index.html", "/app.js.gz", "/App.js", "/app.js~"):
        assert served.ask("GET", path).status == 404, path


def test_long_targets() -> None:
    served = Served()
    path = "/api/v1/things/"
    path += "a" * (TARGET_OCTETS - len(path))
    assert served.ask("GET", path).status == 200
    assert served.ask("GET", path + "a").status == 414


def test_every_answer_keeps_scripts_out(logged_failures: LoggedFailures) -> None:
    served = Served()
    answers = [
        served.ask("GET", path, token=token) for path, token in (
            ("/", None), ("/app.js", None), ("/nothing", None), ("/api/v1/things/x", ALL), ("/api/v1/things/x", None),
            ("/api/v1/large", ALL), ("/api/v1/refusals/bug", ALL), ("/%00", None),
        )
    ]
    for answer in answers:
        csp = answer.headers["content-security-policy"]
        assert csp.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in csp
        assert "frame-ancestors 'none'" in csp
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] in ("no-store", "no-cache")
        assert answer.headers["date"].endswith(" GMT")
        assert "strict-transport-security" not in answer.headers
        assert "server" not in answer.headers
    logged_failures.take()


def test_nothing_that_is_asked_comes_back_as_a_page() -> None:
    served = Served()
    for path in ("/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/api/v1/x?%3Cscript%3E=1", "/api/v1/things/x?%3Cscript%3E=1"):
        answer = served.ask("GET", path)
        assert answer.status in (400, 404)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_name_breaks_no_header() -> None:
    served = Served()
    answer = served.ask("GET", "/api/v1/streamed")
    assert answer.headers["content-disposition"] == "attachment; filename=\"c.txt\""


def test_a_bug_says_nothing_of_itself(logged_failures: LoggedFailures) -> None:
    served = Served()
    for how in ("bug", "wrong"):
        answer = served.ask("GET", f"/api/v1/refusals/{how}")
        assert answer.status == 500
        assert b"the-secret-inside" not in answer.body
        assert b"Traceback" not in answer.body
    assert len(logged_failures.take()) == 2


# --- bodies --------------------------------------------------------------------------------------------------


def test_a_body_is_taken_from_who_may_send_it_alone() -> None:
    served = Served()
    for token, status in ((None, 401), (READER, 403)):
        client = served.client()
        headers = {"Content-Type": "application/json", "Content-Length": "500000"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        client.send(request("POST", "/api/v1/orders", headers))
        served.advance(0)
        assert statuses(client) == [status], "before any of it came"
        served.advance(LINGER_SECONDS + 1)
        assert client.is_closed


def test_a_hundred_more_has_to_be_earned() -> None:
    served = Served()
    head = "POST /api/v1/orders HTTP/1.1\r\n" + HOST + "Content-Type: application/json\r\nContent-Length: 12\r\n"
    client = served.raw((head + "Expect: 100-continue\r\n\r\n").encode())
    assert statuses(client) == [401]
    client = served.raw((head + BEARER + "Expect: 100-continue\r\n\r\n").encode())
    assert statuses(client) == [100]
    client.send(b'{"name":"x"}')
    served.advance(0)
    assert statuses(client) == [100, 200]


def order_of(octets: int) -> bytes:
    return b'{"name":"' + b"x" * (octets - 11) + b'"}'


def test_huge_bodies() -> None:
    served = Served()
    assert served.ask("POST", "/api/v1/orders", order_of(JSON_OCTETS), headers={
        "Content-Type": "application/json",
    }).status == 200
    client = served.client()
    client.send(request("POST", "/api/v1/orders", {
        "Content-Type": "application/json", "Content-Length": str(JSON_OCTETS + 1), "Authorization": f"Bearer {ALL}",
    }))
    served.advance(0)
    assert statuses(client) == [413], "before any of it came"


def chunked(body: bytes, path: str = "/api/v1/orders", kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\n{HOST}{BEARER}Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [body[at:at + 50_000] for at in range(0, len(body), 50_000)]
    return head.encode() + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def test_huge_bodies_in_chunks() -> None:
    served = Served()
    assert statuses(served.raw(chunked(order_of(JSON_OCTETS)))) == [200]
    client = served.raw(chunked(order_of(JSON_OCTETS + 1)))
    assert statuses(client) == [413]
    assert len(served.door.asked) == 1


def test_huge_uploads() -> None:
    served = Served()
    for octets, status in ((200_000, 200), (200_001, 413)):
        headers = {"Content-Type": "message/rfc822"}
        assert served.ask("POST", "/api/v1/files", b"x" * octets, headers=headers).status == status
        client = served.raw(chunked(b"x" * octets, "/api/v1/files", "message/rfc822"))
        assert statuses(client) == [status]
    assert served.disk.names("/state/uploads") == []


@each(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"name":1}', b'{"name":"x","nam":1}', b'{"name":"x","count":"1"}', b"\xff\xfe",
        b'{"name":"\xff"}', b"[" * 100_000, b'{"name":' + b'{"a":' * 50_000, b'{"count":1}', b'{"name":"x"} x',
        b'{"name":"x","count":1e400}', b'{"name":"x","count":' + b"9" * 5000 + b"}",
    ],
)
def test_bodies_that_are_none(body: bytes) -> None:
    served = Served()
    answer = served.ask("POST", "/api/v1/orders", body, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert served.door.asked == []


def test_a_body_where_none_is_expected() -> None:
    served = Served()
    assert statuses(served.raw(
        f"GET /api/v1/things/x HTTP/1.1\r\n{HOST}{BEARER}Content-Length: 5\r\n\r\nhello".encode()
    )) == [413]
    assert statuses(served.raw(f"GET / HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello".encode())) == [413]


def test_compressed_bodies_are_not_blown_up() -> None:
    served = Served()
    answer = served.ask("POST", "/api/v1/orders", b"\x1f\x8b", headers={
        "Content-Type": "application/json", "Content-Encoding": "gzip",
    })
    assert answer.status == 415


# --- smuggling -----------------------------------------------------------------------------------------------

SMUGGLED = "GET /api/v1/things/smuggled HTTP/1.1\r\n" + HOST + BEARER + "\r\n"


@each(
    "fields",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length : 5\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Content-Length: 5\r\n",
        "X: y\r\n\tfolded\r\n",
        "X\x00: y\r\n",
        "X: a\x00b\r\n",
        "X: a\rContent-Length: 5\r\n",
        "X: a\nContent-Length: 5\r\n",
        "no colon\r\n",
        ": no name\r\n",
        "X Y: z\r\n",
    ],
)
def test_a_body_has_one_end(fields: str) -> None:
    served = Served()
    client = served.raw(
        f"POST /api/v1/orders HTTP/1.1\r\n{HOST}{BEARER}Content-Type: application/json\r\n{fields}"
        f"X-Last: 1\r\n\r\n{SMUGGLED}".encode("latin-1")
    )
    assert statuses(client) == [400]
    assert served.door.asked == []
    assert b"smuggled" not in client.received
    served.advance(LINGER_SECONDS + 1)
    assert client.is_closed


def test_chunks_of_http_1_0_are_none() -> None:
    served = Served()
    client = served.raw(
        f"POST /api/v1/orders HTTP/1.0\r\n{HOST}{BEARER}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
    )
    assert statuses(client) == [400]


@each("chunk", ["g\r\n", "-1\r\n", "0x5\r\nhello", "5\r\nhelloX", "5 \r\nhello\r\n", "\r\n", "5;\x00\r\nhello\r\n",
                "a" * 2000, "5\nhello\n", "+5\r\nhello\r\n"])
def test_chunks_that_are_none(chunk: str) -> None:
    served = Served()
    client = served.raw(
        f"POST /api/v1/orders HTTP/1.1\r\n{HOST}{BEARER}Content-Type: application/json\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{chunk}{SMUGGLED}".encode("latin-1")
    )
    assert statuses(client) == [400]
    assert b"smuggled" not in client.received


@each(
    "line",
    ["GET  / HTTP/1.1", "GET / HTTP/1.1 x", "GET /", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / http/1.1",
     " GET / HTTP/1.1", "G\tET / HTTP/1.1", "", "PRI * HTTP/2.0", "\x16\x03\x01\x02\x00"],
)
def test_request_lines_that_are_none(line: str) -> None:
    served = Served()
    client = served.raw(f"{line}\r\n\r\n\r\n".encode("latin-1"), 1)
    assert statuses(client) == [400]


@each("method", ["TRACE", "CONNECT", "PROPFIND", "get", "HACK", "OPTIONS"])
def test_methods_that_are_none(method: str) -> None:
    served = Served()
    for path in ("/", "/api/v1/things/x", "/metrics"):
        client = served.raw(f"{method} {path} HTTP/1.1\r\n{HOST}{BEARER}\r\n".encode())
        assert statuses(client)[0] == 405, path


# --- time and number -----------------------------------------------------------------------------------------


def test_a_head_that_comes_slowly() -> None:
    served = Served()
    client = served.client()
    for octet in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ":
        client.send(bytes([octet]))
        served.advance(0.2)
    assert client.received == b""
    served.advance(HEAD_SECONDS)
    assert statuses(client) == [408]
    assert client.is_closed


def test_a_head_that_never_begins() -> None:
    served = Served()
    client = served.client()
    served.advance(HEAD_SECONDS - 1)
    assert not client.is_closed
    served.advance(2)
    assert client.is_closed
    assert client.received == b""


def test_a_head_that_ends_in_time() -> None:
    served = Served()
    client = served.client()
    client.send(b"GET / HTTP/1.1\r\n")
    served.advance(HEAD_SECONDS - 1)
    client.send(b"Host: localhost\r\n\r\n")
    served.advance(0)
    assert statuses(client) == [200]


def test_a_body_that_comes_slowly() -> None:
    served = Served()
    client = served.client()
    client.send(request("POST", "/api/v1/orders", {
        "Content-Type": "application/json", "Content-Length": "1000000", "Authorization": f"Bearer {ALL}",
    }))
    for _ in range(int(BODY_SECONDS) + 2):
        client.send(b"x")
        served.advance(1)
    assert statuses(client) == [408]
    served.advance(LINGER_SECONDS + 1)
    assert client.is_closed


def test_a_body_that_comes_fast_enough() -> None:
    served = Served()
    client = served.client()
    seconds = 100
    client.send(request("POST", "/api/v1/orders", {
        "Content-Type": "application/json", "Authorization": f"Bearer {ALL}",
        "Content-Length": str(BODY_OCTETS_PER_SECOND * seconds),
    }))
    body = order_of(BODY_OCTETS_PER_SECOND * seconds)
    for at in range(0, len(body), BODY_OCTETS_PER_SECOND):
        client.send(body[at:at + BODY_OCTETS_PER_SECOND])
        served.advance(1)
    assert statuses(client) == [200]


def test_an_answer_that_is_not_taken() -> None:
    served = Served()
    client = served.client()
    take_nothing(client)
    client.send(request("GET", "/api/v1/large", {"Authorization": f"Bearer {ALL}"}))
    served.advance(STUCK_SECONDS - 2)
    assert len(served.factory) == 1
    served.advance(5)
    assert len(served.factory) == 0


def test_a_connection_that_idles() -> None:
    served = Served()
    client = served.client()
    client.ask("GET", "/", {})
    served.advance(IDLE_SECONDS - 1)
    assert client.ask("GET", "/", {}).status == 200
    served.advance(IDLE_SECONDS + 1)
    assert client.is_closed


def test_header_bombs() -> None:
    served = Served()
    few = "".join(f"X-{number}: y\r\n" for number in range(HEADERS - 1))
    assert statuses(served.raw(f"GET / HTTP/1.1\r\n{HOST}{few}\r\n".encode())) == [200]
    assert statuses(served.raw(f"GET / HTTP/1.1\r\n{HOST}{few}X: y\r\n\r\n".encode())) == [431]
    line = "GET / HTTP/1.1"
    room = HEADER_OCTETS - len(line) - len(HOST) + 2 - len("X: ")
    assert statuses(served.raw(f"{line}\r\n{HOST}X: {'y' * room}\r\n\r\n".encode())) == [200]
    assert statuses(served.raw(f"{line}\r\n{HOST}X: {'y' * (room + 1)}\r\n\r\n".encode())) == [431]
    assert statuses(served.raw(b"GET /" + b"a" * 100_000)) == [431]
    length = "9" * 9000
    assert statuses(served.raw(f"GET / HTTP/1.1\r\nContent-Length: {length}\r\nX: y\r\n\r\n".encode())) == [413]


def test_requests_in_a_row_are_answered_in_theirs() -> None:
    served = Served()
    octets = b"".join(request("GET", f"/api/v1/things/n{number}", {"Authorization": f"Bearer {ALL}"})
                      for number in range(200))
    client = served.raw(octets)
    assert re.findall(rb'"name":"n(\d+)"', client.received) == [b"%d" % number for number in range(200)]


def test_who_watches_is_counted() -> None:
    served = Served()
    watching = [served.raw(request("GET", "/api/v1/live", {"Authorization": f"Bearer {ALL}"}))
                for _ in range(LIVE_AT_ONCE)]
    assert served.door.feed.watching == LIVE_AT_ONCE
    assert served.ask("GET", "/api/v1/live").status == 503
    watching[0].close()
    served.advance(1)
    assert served.door.feed.watching == LIVE_AT_ONCE - 1
    again = served.raw(request("GET", "/api/v1/live", {"Authorization": f"Bearer {ALL}"}))
    served.door.feed.tell(LiveEvent("now", {"a\n\n": "b\ndata: x"}, "7"))
    served.advance(0)
    assert sum(b"event: now\nid: 7\n" in one.received for one in [*watching, again]) == 1


def test_who_watches_and_does_not_read_is_cut_off() -> None:
    served = Served()
    client = served.raw(request("GET", "/api/v1/live", {"Authorization": f"Bearer {ALL}"}))
    take_nothing(client)
    served.door.feed.tell(*(LiveEvent("now", "x" * 10_000) for _ in range(100)))
    served.advance(STUCK_SECONDS + 5)
    assert served.door.feed.watching == 0
    assert len(served.door.feed.ready) > 80, "no more is taken than there is room for"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_goes_away(method: str) -> None:
    served = Served()
    served.door.wait = Deferred()
    headers = {"Authorization": f"Bearer {ALL}", "Content-Type": "application/json"}
    if method == "GET":
        client = served.raw(request("GET", "/api/v1/live", headers))
    else:
        client = served.raw(request("POST", "/api/v1/orders", headers, b'{"name":"x"}'))
    client.close()
    served.advance(1)
    if method == "GET":
        assert served.door.feed.watching == 0, "who only looks is not worked for"
        return
    assert served.facts == [], "an order goes on"
    served.door.wait.callback(None)
    served.advance(0)
    [noted] = served.facts
    assert (noted.name, noted.http_status) == ("operated", 200)  # type: ignore[attr-defined]


def test_a_stop_lets_orders_end() -> None:
    served = Served()
    served.door.wait = Deferred()
    headers = {"Authorization": f"Bearer {ALL}", "Content-Type": "application/json"}
    ordering = served.raw(request("POST", "/api/v1/orders", headers, b'{"name":"x"}'))
    watching = served.raw(request("GET", "/api/v1/live", headers))
    stopped = Deferred.fromCoroutine(served.server.stop())
    served.advance(1)
    assert served.door.feed.watching == 0
    late = served.client()
    assert late.ask("GET", "/api/v1/things/x", headers).status == 503
    assert not stopped.called
    served.door.wait.callback(None)
    served.factory.close()
    served.advance(0)
    assert stopped.called
    assert statuses(ordering) == [200]
    assert watching.is_closed
    assert len(served.factory) == 0


def test_a_stop_waits_for_no_order_for_ever() -> None:
    served = Served()
    served.door.wait = Deferred()
    headers = {"Authorization": f"Bearer {ALL}", "Content-Type": "application/json"}
    client = served.raw(request("POST", "/api/v1/orders", headers, b'{"name":"x"}'))
    stopped = Deferred.fromCoroutine(served.server.stop())
    served.advance(STOP_SECONDS - 1)
    assert not stopped.called
    served.advance(1)
    assert stopped.called
    served.factory.close()
    served.advance(0)
    assert client.is_closed
