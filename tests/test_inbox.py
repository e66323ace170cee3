"""The inbox in a whole gateway: staging, of which nothing leaves; the trial's copies; failures by address; its API."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from twisted.logger import globalLogPublisher

from mailgw.mail import event as fact
from mailgw.testing.asking import asked
from mailgw.testing.gateway import Gateway
from mailgw.testing.web import request
from tests.tables import each

STAGING = """
[api]
endpoint = "tcp:8025:interface=127.0.0.1"
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[[route]]
recipients = ["desk@example.com"]
backend = "helpdesk"
[[route]]
recipients = ["hook@example.com"]
backend = "hook"
[[route]]
recipients = ["both@example.com"]
backend = "both"
[[route]]
recipients = ["@example.net", "*"]
backend = "internet"
[backend.mailboxes]
type = "maildir"
path = "/srv/{domain}/{local_part}"
recipients = "any"
[backend.helpdesk]
type = "discard"
[backend.internet]
type = "smtp"
[backend.hook]
type = "webhook"
url = "https://hook.example.com/"
[backend.both]
type = "fan-out"
backends = ["mailboxes", "internet"]
[tls_reports]
contact = "tls@example.org"
[dmarc_reports]
contact = "dmarc@example.org"
[staging]
let_out = ["helpdesk"]
"""

DELIVERED = """
[api]
endpoint = "tcp:8025:interface=127.0.0.1"
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[backend.mailboxes]
type = "maildir"
path = "/srv/{domain}/{local_part}"
recipients = "any"
[staging]
capture = "delivered"
"""

ANN = "ann@example.net"
HELLO = b"From: Ann <ann@example.net>\r\nTo: Bob <bob@example.org>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" \
        b"Message-ID: <1@example.net>\r\n\r\nHello Bob, see https://example.com/x.\r\n"


@pytest.fixture(scope="module")
def staging() -> Iterator[Gateway]:
    with Gateway(STAGING) as gateway:
        yield gateway


def inbox(gateway: Gateway, **query: object) -> Any:
    words = "&".join(f"{name.rstrip('_')}={quote(str(value))}" for name, value in query.items())
    answer = gateway.http("GET", f"/api/v1/inbox?{words}")
    assert answer.status == 200, answer.body
    return answer.json


# --- nothing leaves -----------------------------------------------------------------------------------------

@each(("to", "backend"), [
    ("bob@example.org", "mailboxes"), ("carol@example.net", "internet"), ("hook@example.com", "hook"),
    ("both@example.com", "both"),
])
def test_whatever_the_route_says_it_is_captured(staging: Gateway, to: str, backend: str) -> None:
    answer = staging.receive(HELLO, sender=ANN, to=to)
    assert answer.code == 250
    [row] = inbox(staging, to=to)["items"] if to != "bob@example.org" else inbox(staging, to=to)["items"][-1:]
    assert (row["queue_id"], row["recipients"], row["backends"]) == (answer.queue_id, [to], [backend])
    assert (row["sender"], row["subject"], row["from"]) == (ANN, "Grüße", "Ann <ann@example.net>")
    assert (row["peer"], row["protocol"], row["tls"], row["login"]) == ("192.0.2.1", "ESMTP", False, "")
    assert not staging.queue


def test_nothing_is_dialled_or_asked_of_dns_for_it() -> None:
    with Gateway(STAGING) as gateway:
        trusted = {"client": "127.0.0.1"}  # of strangers DNS is asked who they are
        asked = gateway.dns.resolver.asked
        before = len(asked)
        for to in ("bob@example.org", "hook@example.com", "both@example.com", "bob+bounce@example.org"):
            assert gateway.receive(HELLO, sender=ANN, to=to, **trusted).code == 250
        assert gateway.receive(HELLO, sender=ANN, to="carol@example.net", rcpt="NOTIFY=SUCCESS", **trusted).code == 250
        gateway.advance(days=8)
        assert asked[before:] == []
        reactor = gateway.reactor
        assert (reactor.tcpClients, reactor.unixClients, reactor.sslClients) == ([], [], [])
        # The bounce, and the report of success, went to their sender's inbox.
        rows = inbox(gateway, to=ANN)["items"]
        assert sorted(one["sender"] for one in rows) == ["", ""]
        assert not gateway.queue


def test_what_is_let_out_works_as_it_is(staging: Gateway) -> None:
    staging.receive(HELLO, sender=ANN, to="desk@example.com")
    [row] = [one for one in staging.delivered if one.recipient == "desk@example.com"]
    assert row.hop == "discard"
    assert inbox(staging, to="desk@example.com")["items"] == []


def test_failures_are_not_for_what_is_let_out() -> None:
    config = STAGING.replace('["desk@example.com"]', '["@example.com"]')
    with Gateway(config) as gateway:
        assert gateway.receive(HELLO, sender=ANN, to="desk+451@example.com").code == 250
        assert gateway.receive(HELLO, sender=ANN, to="x+451@example.org").code == 451


def test_production_s_queue_is_captured_too() -> None:
    """What waited for other servers when staging was turned on does not go there."""
    with Gateway(STAGING.partition("[staging]")[0]) as gateway:
        gateway.peer("example.net").is_down = True
        gateway.receive(HELLO, sender=ANN, to="carol@example.net", client="127.0.0.1")
        assert [one.lane for one in gateway.queue] == ["internet/example.net"]
        gateway.stop()
        gateway.config = asked(STAGING, {}, {}, {}, None, gateway)
        gateway.restart()
        before = len(gateway.dns.resolver.asked)
        gateway.advance(days=1)
        assert not gateway.queue
        assert gateway.dns.resolver.asked[before:] == []
        assert [one["recipients"] for one in inbox(gateway)["items"]] == [["carol@example.net"]]


def test_a_reload_turns_it_on_and_off() -> None:
    real = STAGING.partition("[staging]")[0]
    with Gateway(real) as gateway:
        gateway.peer("example.net").is_down = True
        gateway.receive(HELLO, sender=ANN, to="carol@example.net", client="127.0.0.1")
        assert gateway.http("GET", "/api/v1/inbox").status == 422
        gateway.reload(STAGING)
        before, dialled = len(gateway.dns.resolver.asked), len(gateway.reactor.tcpClients)
        gateway.advance(days=1)
        assert not gateway.queue
        assert (gateway.dns.resolver.asked[before:], len(gateway.reactor.tcpClients)) == ([], dialled)
        assert [one["recipients"] for one in inbox(gateway)["items"]] == [["carol@example.net"]]
        assert gateway.receive(HELLO, sender=ANN, to="x+451@example.org").code == 451
        gateway.reload(real)
        assert gateway.receive(HELLO, sender=ANN, to="x+451@example.org").code == 250
        assert len(gateway.mailbox("x@example.org")) == 1


# --- the trial's way ------------------------------------------------------------------------------------------

def test_what_is_delivered_stands_there_too() -> None:
    with Gateway(DELIVERED) as gateway:
        gateway.receive(HELLO, sender=ANN, to=["bob@example.org", "eve+defer@example.org"])
        assert len(gateway.mailbox("bob@example.org")) == 1
        assert gateway.mailbox("eve@example.org") == []
        [row] = inbox(gateway)["items"]
        assert row["recipients"] == ["bob@example.org"]
        [waiting] = gateway.queue
        assert waiting.recipient == "eve+defer@example.org"
        assert "451 4.2.0 Deferred for ever, as the address asks" in waiting.reason


def test_a_copy_that_cannot_be_kept_costs_nobody_his_mail() -> None:
    with Gateway(DELIVERED) as gateway:
        gateway.service.inbox()._book.keep = _full
        gateway.receive(HELLO, sender=ANN, to="bob@example.org")
        assert len(gateway.mailbox("bob@example.org")) == 1
        assert not gateway.queue
        assert inbox(gateway)["items"] == []


def test_in_staging_it_waits_until_the_inbox_can_be_written() -> None:
    with Gateway(STAGING) as gateway:
        book = gateway.service.inbox()._book
        keep, book.keep = book.keep, _full
        gateway.receive(HELLO, sender=ANN, to="bob@example.org")
        assert "The inbox cannot be written" in gateway.queue[0].reason
        book.keep = keep
        gateway.drain()
        assert [one["recipients"] for one in inbox(gateway)["items"]] == [["bob@example.org"]]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


# --- failures by address ----------------------------------------------------------------------------------------

@each(("to", "code"), [
    ("x+451@example.org", 451), ("x+550@example.org", 550), ("x+data451@example.org", 451),
    ("x+data554@example.net", 554), ("x+tag@example.org", 250), ("x+421@example.org", 421),
])
def test_what_the_address_asks_for(staging: Gateway, to: str, code: int) -> None:
    before = len(inbox(staging, to=to)["items"])
    assert staging.receive(HELLO, sender=ANN, to=to).code == code
    assert len(inbox(staging, to=to)["items"]) == before + (code == 250)


def test_greylisted_once(staging: Gateway) -> None:
    codes = [staging.receive(HELLO, sender=ANN, to="g+greylist@example.org").code for _ in range(2)]
    assert codes == [451, 250]


def test_slow(staging: Gateway) -> None:
    began = staging.now
    assert staging.receive(HELLO, sender=ANN, to="x+slow30@example.org").code == 250
    assert 30 <= staging.now - began < 32


def test_deferred_for_ever_and_bounced(staging: Gateway) -> None:
    staging.receive(HELLO, sender=ANN, to="d+defer@example.net")
    staging.advance(hours=12)
    [row] = [one for one in staging.queue if one.recipient == "d+defer@example.net"]
    assert row.attempts > 3
    staging.receive(HELLO, sender="carol@example.net", to="b+bounce@example.net")
    assert staging.assert_bounced(to="b+bounce@example.net").code == 550
    [notice] = inbox(staging, to="carol@example.net", from_="mailer-daemon")["items"]
    assert notice["sender"] == ""


def test_the_connection_is_lost(staging: Gateway) -> None:
    connection = staging.connect("127.0.0.1")
    connection.open(None, "", False, False)
    before = len(staging.journal)
    for line in (b"MAIL FROM:<ann@example.net>", b"RCPT TO:<x+drop@example.org>", b"DATA"):
        connection.send(line + b"\r\n")
    staging.settle()
    assert not connection.is_closed
    connection.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    staging.settle()
    assert connection.is_closed
    assert [one.rule for one in staging.journal[before:] if isinstance(one, fact.Rejected)] == ["scripted"]
    assert [one.why for one in staging.journal[before:] if isinstance(one, fact.Disconnected)] == ["scripted"]
    assert inbox(staging, to="x+drop@example.org")["items"] == []


def test_none_of_it_without_staging() -> None:
    config = DELIVERED.partition("[staging]")[0]
    with Gateway(config) as gateway:
        for word in ("451", "550", "data451", "drop", "defer", "bounce", "greylist"):
            assert gateway.receive(HELLO, sender=ANN, to=f"x+{word}@example.org").code == 250
        assert len(gateway.mailbox("x@example.org")) == 7
        answer = gateway.http("GET", "/api/v1/inbox")
        assert (answer.status, "nothing is captured here" in answer.json["detail"]) == (422, True)


def test_nor_where_it_is_turned_off() -> None:
    with Gateway(f"{STAGING}scripted = false\n") as gateway:
        assert gateway.receive(HELLO, sender=ANN, to=["x+451@example.org", "x+bounce@example.org"]).code == 250
        assert len(inbox(gateway)["items"]) == 1


# --- its API --------------------------------------------------------------------------------------------------

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
RICH = f"""From: Ann <ann@example.net>
To: rich@example.org
Subject: <script>alert(1)</script>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html; charset=utf-8

<p onclick="x()">Hi <a href="http://evil.example/">https://bank.example/</a><img src="cid:pix@x">
<img src="https://track.example/p.gif"><script>document.title="owned"</script></p>
--r
Content-Type: image/png
Content-ID: <pix@x>
Content-Disposition: inline
Content-Transfer-Encoding: base64

{PIXEL}
--r--
--m
Content-Type: text/html
Content-Disposition: attachment; filename="../../etc/<x>.html"

<script>alert(1)</script>
--m
Content-Type: image/svg+xml
Content-Disposition: inline; filename="x.svg"

<svg onload="alert(1)"/>
--m--
"""


@pytest.fixture(scope="module")
def rich(staging: Gateway) -> int:
    staging.receive(RICH, sender=ANN, to="rich@example.org")
    return int(inbox(staging, to="rich@example.org")["items"][0]["id"])


def test_one_message_is_told(staging: Gateway, rich: int) -> None:
    told = staging.http("GET", f"/api/v1/inbox/{rich}").json
    assert told["subject"] == "<script>alert(1)</script>"
    assert {"name": "From", "value": "Ann <ann@example.net>"} in told["header"]
    assert told["header"][0]["name"] == "Received" or told["header"][0]["name"] == "Authentication-Results"
    assert (told["has_html"], told["text"], told["fault"], told["is_cut"]) == (True, "", None, False)
    assert [(one["filename"], one["content_type"]) for one in told["parts"]] == [
        ("", "image/png"), ("_x_.html", "text/html"), ("x.svg", "image/svg+xml"),
    ]
    assert told["links"] == [
        {"text": "https://bank.example/", "target": "http://evil.example/", "is_mismatch": True}]
    assert (told["remote"], told["remote_count"]) == (["https://track.example/p.gif"], 1)
    assert told["attachments"] == 3
    assert [(one["depth"], one["content_type"]) for one in told["structure"]] == [
        (0, "multipart/mixed"), (1, "multipart/related"), (2, "text/html"), (2, "image/png"), (1, "text/html"),
        (1, "image/svg+xml"),
    ]


def test_its_html_can_do_nothing(staging: Gateway, rich: int) -> None:
    answer = staging.http("GET", f"/api/v1/inbox/{rich}/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text = answer.body.decode()
    assert f'src="data:image/png;base64,{PIXEL}"' in text
    for word in ("script", "onclick", "track.example", "cid:"):
        assert word not in text, word


@each(("number", "kind", "disposition"), [
    (0, "image/png", None), (1, "text/html", 'attachment; filename="_x_.html"'),
    (2, "image/svg+xml", 'attachment; filename="x.svg"'),
])
def test_parts_are_files_to_save_but_images(
    staging: Gateway, rich: int, number: int, kind: str, disposition: str | None
) -> None:
    answer = staging.http("GET", f"/api/v1/inbox/{rich}/parts/{number}")
    assert answer.status == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers.get("content-disposition") == disposition
    assert answer.headers["content-security-policy"].startswith("sandbox;")


def test_source_and_text(staging: Gateway, rich: int) -> None:
    source = staging.http("GET", f"/api/v1/inbox/{rich}/source")
    assert source.headers["content-type"] == "message/rfc822"
    assert source.body.endswith(RICH.replace("\n", "\r\n").encode())
    text = staging.http("GET", f"/api/v1/inbox/{rich}/text")
    assert (text.status, text.headers["content-type"]) == (200, "text/plain; charset=utf-8")


@each(("method", "path"), [
    ("GET", "/0"), ("GET", "/999999"), ("GET", "/x"), ("GET", "/1e3"), ("GET", "/99999999999999999999"),
    ("GET", "/999999/html"), ("GET", "/999999/text"), ("GET", "/999999/source"), ("GET", "/999999/parts/0"),
    ("POST", "/999999/read"), ("DELETE", "/999999/read"), ("DELETE", "/999999"),
])
def test_what_is_not_there(staging: Gateway, method: str, path: str) -> None:
    assert staging.http(method, f"/api/v1/inbox{path}").status == 404


def test_a_part_that_is_not_there(staging: Gateway, rich: int) -> None:
    assert staging.http("GET", f"/api/v1/inbox/{rich}/parts/3").status == 404
    assert staging.http("GET", f"/api/v1/inbox/{rich}/parts/../html").status == 400


def test_large_ones_come_in_pieces(staging: Gateway) -> None:
    body = b"x" * 70 + b"\r\n"
    octets = (b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
              b"Content-Type: application/octet-stream\r\n\r\n" + body * 40_000 + b"--b--\r\n")
    staging.receive(octets, sender=ANN, to="large@example.org")
    [row] = inbox(staging, to="large@example.org")["items"]
    source = staging.http("GET", f"/api/v1/inbox/{row['id']}/source").body
    assert source.endswith(octets)
    assert len(source) == row["size_octets"] == row["kept_octets"]
    part = staging.http("GET", f"/api/v1/inbox/{row['id']}/parts/0").body
    assert part == (body * 40_000)[:-2]


def test_read_and_unread_and_gone(staging: Gateway) -> None:
    staging.receive(HELLO, sender=ANN, to="read@example.org")
    [row] = inbox(staging, to="read@example.org", unread="true")["items"]
    where = f"/api/v1/inbox/{row['id']}"
    assert staging.http("POST", f"{where}/read").status == 204
    assert inbox(staging, to="read@example.org", unread="true")["items"] == []
    assert inbox(staging, to="read@example.org")["items"][0]["is_read"] is True
    assert staging.http("DELETE", f"{where}/read").status == 204
    assert inbox(staging, to="read@example.org", unread="true")["items"] != []
    assert staging.http("DELETE", where).status == 204
    assert staging.http("DELETE", where).status == 404
    assert staging.http("GET", where).status == 404


def test_who_is_removed_has_to_be_said() -> None:
    with Gateway(STAGING) as gateway:
        for number in range(3):
            gateway.receive(HELLO, sender=ANN, to=f"r{number}@example.org")
        assert gateway.http("DELETE", "/api/v1/inbox").status == 400
        assert gateway.http("DELETE", "/api/v1/inbox?all=true&to=r1").status == 400
        for blank in ("to=", "search=%20", "subject=%09", "text=+", "from=&to=r1", "search=%C2%A0&unread=true"):
            assert gateway.http("DELETE", f"/api/v1/inbox?{blank}").status == 422
            assert gateway.http("GET", f"/api/v1/inbox?{blank}").status == 422
        assert inbox(gateway)["messages"] == 3
        assert gateway.http("DELETE", "/api/v1/inbox?to=r1@example.org").json == {"messages": 1}
        assert gateway.http("DELETE", "/api/v1/inbox?all=true").json == {"messages": 2}
        assert inbox(gateway)["messages"] == 0


def test_pages() -> None:
    with Gateway(STAGING) as gateway:
        for number in range(5):
            gateway.receive(HELLO, sender=ANN, to=f"p{number}@example.org")
        seen, after = [], None
        while True:
            page = inbox(gateway, limit=2, **({} if after is None else {"after": after}))
            assert (page["messages"], page["unread"]) == (5, 5)
            seen += [one["recipients"][0][:2] for one in page["items"]]
            after = page["next"]
            if after is None:
                break
        assert seen == ["p4", "p3", "p2", "p1", "p0"]


@each("query", ["limit=0", "limit=1001", "wait=61", "wait=-1", "wait=5&after=3", "after=x", "after=-1", "since=1e99"])
def test_nonsense_is_refused(staging: Gateway, query: str) -> None:
    assert staging.http("GET", f"/api/v1/inbox?{query}").status in (400, 422)


def test_so_many_words_are_looked_for(staging: Gateway) -> None:
    staging.receive(HELLO, sender=ANN, to="wordy@example.org")
    words = "+".join(["wordy"] * 20)
    assert len(staging.http("GET", f"/api/v1/inbox?search={words}").json["items"]) == 1
    assert staging.http("GET", f"/api/v1/inbox?search={words}+wordy").status == 422


# --- tests wait -----------------------------------------------------------------------------------------------

def test_who_waits_is_answered_when_it_comes(staging: Gateway) -> None:
    reactor = staging.reactor
    connection = staging.web()
    connection.send(request("GET", "/api/v1/inbox?to=wait@example.org&wait=10", {
        "Authorization": f"Bearer {staging.web_token}"}))
    staging.advance(3)
    assert connection.received == b""
    began = reactor.seconds()
    staging.receive(HELLO, sender=ANN, to="other@example.org")
    staging.receive(HELLO, sender=ANN, to="wait@example.org")
    answer = connection.answer()
    assert reactor.seconds() - began < 2
    assert [one["recipients"] for one in answer.json["items"]] == [["wait@example.org"]]


def test_so_many_wait_and_no_more(staging: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.inbox_desk.MOST_WAITING", 2)
    asking = request("GET", "/api/v1/inbox?to=crowd@example.org&wait=5", {
        "Authorization": f"Bearer {staging.web_token}"})
    first, second, third = (staging.web() for _ in range(3))
    for one in (first, second):
        one.send(asking)
        staging.settle()
    third.send(asking)
    assert third.answer().status == 503
    assert (first.answer().status, second.answer().status) == (200, 200)
    third.send(asking)  # there is room again
    assert third.answer().status == 200


def test_what_is_there_already_is_answered_at_once(staging: Gateway) -> None:
    staging.receive(HELLO, sender=ANN, to="there@example.org")
    began = staging.now
    assert len(inbox(staging, to="there@example.org", wait=10)["items"]) == 1
    assert staging.now - began < 1


def test_nothing_comes_and_what_is_older_does_not_count(staging: Gateway) -> None:
    staging.receive(HELLO, sender=ANN, to="since@example.org")
    staging.advance(1)
    began = staging.now
    assert inbox(staging, to="since@example.org", since=began, wait=5)["items"] == []
    assert 5 <= staging.now - began < 6
    assert len(inbox(staging, to="since@example.org", since=began - 2)["items"]) == 1


def test_nobody_without_a_token_and_nobody_removes_with_that_of_readers(staging: Gateway) -> None:
    for path in ("", "/1", "/1/html", "/1/source", "/1/parts/0"):
        assert staging.http("GET", f"/api/v1/inbox{path}", token=None).status == 401


def test_it_is_said_at_the_start() -> None:
    said: list[str] = []

    def hear(event: Any) -> None:
        said.append(str(event.get("why", "")))

    globalLogPublisher.addObserver(hear)
    try:
        with Gateway(STAGING):
            pass
    finally:
        globalLogPublisher.removeObserver(hear)
    [line] = [one for one in said if one.startswith("STAGING")]
    assert re.match(r"STAGING: nothing leaves; .* in place of mailboxes \(maildir\), internet \(smtp\), "
                    r"hook \(webhook\), both \(fan-out\); let out: helpdesk\Z", line)
