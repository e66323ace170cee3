"""What was said in attempts: which are noted, once a connection, with nothing that is secret."""

from base64 import b64encode
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost

from mailgw.deliver.conversing import Conversations, Conversing
from mailgw.deliver.smtp_settings import Secret
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Conversation, Event
from mailgw.net.posting import PostAnswer
from mailgw.testing.names import FakeResolver
from mailgw.wire.conversation import LINES
from tests.deliver.smtp_net import ANN, BOB, EHLO, Net, large, message
from tests.deliver.test_command import ALICE, Bench
from tests.deliver.test_webhook import Hook
from tests.tables import each


class Noted(Net):
    def __init__(self, which: Conversations = Conversations.FAILED, **changes: Any) -> None:
        self.noted: list[Event] = []
        super().__init__(conversing=Conversing("out", which, self.noted.append), **changes)

    @property
    def lines(self) -> list[list[str]]:
        return [list(one.lines) for one in self.noted if isinstance(one, Conversation)]


OPENING = ["S: 220 mx.example.org ESMTP", "C: EHLO us.example.net", "S: 250-mx.example.org", "S: 250 PIPELINING"]


def test_a_refusal_with_all_that_led_to_it() -> None:
    net = Noted()
    delivery = net.deliver(recipients=(ANN, BOB))
    peer = net.accept().greet()
    net.reactor.advance(1.5)
    peer.say(b"250 ok\r\n250 ok\r\n450 4.7.1 Greylisted\r\n354 go\r\n").say(b"250 2.0.0 queued\r\n")
    assert delivery.is_over
    [noted] = net.noted
    assert isinstance(noted, Conversation)
    assert (noted.queue_id, noted.lane, noted.hop) == ("Q1", "out", "[192.0.2.1]:2525")
    assert noted.seconds == 1.5
    assert net.lines == [[
        *OPENING, "C: MAIL FROM:<sender@example.net>", "C: RCPT TO:<ann@example.org>", "C: RCPT TO:<bob@example.org>",
        "C: DATA", "S: 250 ok", "S: 250 ok", "S: 450 4.7.1 Greylisted", "S: 354 go",
        "(20 octets of content)", "S: 250 2.0.0 queued",
    ]]


@each(("which", "count"), [(Conversations.FAILED, 0), (Conversations.ALL, 1)])
def test_what_goes_well(which: Conversations, count: int) -> None:
    net = Noted(which)
    delivery = net.deliver()
    net.accept().greet().accept_all()
    assert delivery.texts == {"ann": "delivered 250 2.0.0 queued"}
    assert len(net.lines) == count


def test_a_kept_session_tells_of_its_last_message() -> None:
    net = Noted()
    net.deliver()
    peer = net.accept().greet()
    peer.accept_all()
    net.deliver(recipients=(BOB,))
    peer.say(b"250 ok\r\n550 5.1.1 Nobody\r\n503 5.5.1 No recipients\r\n")
    assert net.lines == [[
        "C: MAIL FROM:<sender@example.net>", "C: RCPT TO:<bob@example.org>", "C: DATA", "S: 250 ok",
        "S: 550 5.1.1 Nobody", "S: 503 5.5.1 No recipients",
    ]]


def test_of_two_hosts_both_are_told_where_none_served() -> None:
    resolver = FakeResolver(
        {"example.org": [(10, "a.test"), (20, "b.test")]}, {"a.test": ["192.0.2.1"], "b.test": ["192.0.2.2"]},
    )
    for final, count in ((b"421 4.3.2 Closing\r\n", 2), (b"250 2.0.0 Yes\r\n", 0)):
        net = Noted(resolver=resolver, hosts=())
        net.deliver()
        net.accept().greet().say(b"451 4.3.0 Local trouble\r\n" * 3)
        net.accept().greet().accept_all(final=final)
        assert len(net.lines) == count
        assert {one.lane for one in net.noted if isinstance(one, Conversation)} <= {"out/example.org"}


def test_where_nobody_connects_nothing_was_said() -> None:
    net = Noted()
    net.deliver()
    net.refuse()
    assert net.noted == []


@each(("event", "words"), [
    ("lost", "(The connection was lost while waiting for the greeting)"),
    ("timeout", "(Timed out while waiting for the greeting)"),
    ("cancelled", "(The delivery took too long)"),
])
def test_how_it_ended(event: str, words: str) -> None:
    net = Noted()
    delivery = net.deliver()
    peer = net.accept()
    peer.say(b"220-wait")
    match event:
        case "lost":
            peer.hang_up(ConnectionLost())
        case "timeout":
            net.reactor.advance(302)
        case _:
            delivery.deferred.cancel()
    if event == "cancelled":  # nothing stood that could be told of
        assert net.lines == []
    else:
        assert net.lines == [[words, "S: 220-wait"]]


def test_cut_off_within_a_transaction() -> None:
    net = Noted()
    delivery = net.deliver()
    net.accept().greet().say(b"250 ok\r\n")
    delivery.deferred.cancel()
    assert net.lines[0][-2:] == ["S: 250 ok", "(The delivery took too long)"]


def test_content_that_comes_in_pieces_is_a_number() -> None:
    net = Noted()
    net.deliver(large(b"Subject: x\r\n\r\n", b"secret words\r\n"))
    net.accept().greet().say(b"250 ok\r\n250 ok\r\n354 go\r\n").say(b"554 5.7.1 Spam\r\n")
    [lines] = net.lines
    assert lines[-2:] == ["(28 octets of content)", "S: 554 5.7.1 Spam"]
    assert "secret" not in "".join(lines)


def test_many_recipients_are_bounded() -> None:
    many = [attrs.evolve(ANN, local_part=f"r{number}") for number in range(100)]
    net = Noted()
    net.deliver(recipients=many)
    net.accept().greet().say(b"451 4.3.0 No\r\n" * 102)
    [lines] = net.lines
    assert len(lines) == LINES
    assert lines[:4] == OPENING


def test_none_is_none() -> None:
    net = Net()
    net.deliver()
    net.accept().greet().say(b"550 5.7.1 No\r\n" * 3)
    assert not net.backend._opening._keeps_words


PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x17f), min_size=6, max_size=60).filter(
    lambda word: not any(word in known for known in ("192.0.2.1", "example", "hidden")))


@given(PASSWORDS, st.sampled_from([b"PLAIN", b"LOGIN"]), st.sampled_from(["echo", "raw", "both", "none"]),
       st.integers(1, 40))
def test_no_password_is_in_it(password: str, mechanism: bytes, echo: str, step: int) -> None:
    net = Noted(username="u53rn4m3", password=Secret(password), hosts=("127.0.0.1:2525",))
    net.deliver()
    peer = net.accept()
    peer.say(b"220 mx\r\n")
    peer.heard()
    peer.say(b"250-mx\r\n250 AUTH " + mechanism + b"\r\n")
    heard = peer.heard()
    if mechanism == b"LOGIN":
        peer.say(b"334 VXNlcm5hbWU6\r\n")
        heard += peer.heard()
        peer.say(b"334 UGFzc3dvcmQ6\r\n")
        heard += peer.heard()
    words = heard.replace(b"\r\n", b" ") if echo in ("echo", "both") else b""
    words += password.encode() if echo in ("raw", "both") else b""
    answer = b"535 5.7.8 No: " + words.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
    for at in range(0, len(answer), step):
        peer.say(answer[at:at + step])
    [lines] = net.lines
    whole = "\n".join(lines)
    secrets = [password, b64encode(password.encode()).decode(),
               b64encode(f"\0u53rn4m3\0{password}".encode()).decode()]
    assert not any(secret in whole for secret in secrets)
    assert b64encode(password.encode())[:8].decode() not in whole
    assert "C: AUTH " in whole
    assert "535" in whole


def test_the_greeting_of_a_server_that_talks_ahead_changes_nothing_about_that() -> None:
    """It answers AUTH before it was given, in one piece with EHLO's answer."""
    net = Noted(username="u53rn4m3", password=Secret("p4ssw0rd"), hosts=("127.0.0.1:2525",))
    net.deliver()
    net.accept().say(b"220 mx\r\n" + EHLO.replace(b"PIPELINING", b"AUTH PLAIN") + b"235 ok\r\n250 ?\r\n")
    whole = "\n".join(net.lines[0])
    assert "C: AUTH PLAIN [...]" in whole
    assert b64encode(b"\0u53rn4m3\0p4ssw0rd").decode() not in whole


def test_one_message_one_note_without_content() -> None:
    net = Noted(Conversations.ALL)
    net.deliver(message(b"Subject: hush\r\n\r\nhush\r\n"))
    net.accept().greet().accept_all()
    assert "hush" not in "".join(net.lines[0])


# --- those that speak no SMTP -----------------------------------------------------------------------------


def test_what_a_web_hook_answered() -> None:
    noted: list[Any] = []
    hook = Hook(
        PostAnswer(503, b"<h1>\r\n\r\nback \x1b soon\r\n" + b"x\n" * 9, "text/html", "30"), PostAnswer(200, b""),
        TemporaryFault("it hung up"),
    )
    hook.backend._conversing = Conversing("hook", Conversations.FAILED, noted.append)
    hook.deliver()
    hook.clock.advance(31)
    hook.deliver()
    hook.deliver()
    assert [(one.lane, one.hop) for one in noted] == [("hook", "https://hooks.example.org")] * 2
    asked = "C: POST for 2 recipients, message/rfc822, "
    assert noted[0].lines[0].startswith(asked)
    assert noted[0].lines[0].endswith(" octets of content")
    assert noted[0].lines[1:] == (
        "S: HTTP 503 text/html, Retry-After: 30", "S: <h1>", "S: back ? soon", "S: x", "S: x", "S: x",
    )
    assert noted[1].lines[1:] == ("(it hung up)",)
    assert "secret" not in str(noted)


def test_what_a_command_said() -> None:
    noted: list[Any] = []
    bench = Bench()
    bench.backend._conversing = Conversing("tickets", Conversations.FAILED, noted.append)
    bench.deliver([ALICE])
    bench.processes[0].exit()
    assert noted == []
    bench.deliver([ALICE])
    bench.processes[1].protocol.childDataReceived(1, b"no room\nsorry")
    bench.clock.advance(2)
    bench.processes[1].exit(75)
    [one] = noted
    assert (one.lane, one.hop, one.seconds) == ("tickets", bench.backend._program, 2.0)
    assert one.lines[0].startswith("(a run for 1 recipients, ")
    assert one.lines[1:] == ("S: no room", "S: sorry", "(exit status 75)")
    bench.deliver([ALICE])
    bench.backend.stopService()
    bench.processes[2].exit(by=15)
    assert noted[1].lines[1:] == ("(ended by signal 15)", "(the gateway stops)")
