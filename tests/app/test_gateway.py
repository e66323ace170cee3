"""An application behind a whole gateway: mail in, refusals in the transaction and at RCPT, mail of its own out."""

from collections.abc import Iterator
from typing import Any

import pytest

from mailgw import IncomingMessage, MailApp, Reject, Retry
from mailgw.app.incoming import HERE_OCTETS
from mailgw.mail.errors import RefusedRequest
from mailgw.mail.event import Queued
from mailgw.testing import Gateway
from mailgw.testing.driving import result_of

CONFIG = """
[[route]]
recipients = ["@desk.example"]
backend = "desk"
[[route]]
recipients = ["*"]
backend = "net"
[backend.net]
type = "smtp"
"""


class Desk:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.is_down = False
        self.app = app = MailApp(author="Desk <help@desk.example>", deadline="10s")

        @app.recipient("ticket+{number:int}@desk.example", when="transaction")
        async def ticket(message: IncomingMessage, number: int) -> None:
            if number > 9:
                raise Reject(f"no ticket {number}", "5.1.1")
            self.seen.append((message.key, message.text))

        @app.recipient("help@desk.example")
        async def opened(message: IncomingMessage) -> None:
            if self.is_down:
                raise Retry("the desk is down", after="90s")
            self.seen.append((message.key, f"{message.login or message.client} {len(message.text)}"))
            assert message.reverse_path is not None
            await app.send(message.reverse_path, f"Re: {message.subject}", "thanks\n")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def gateway(desk: Desk) -> Iterator[Gateway]:
    with Gateway(CONFIG, backends={"desk": desk.app}) as made:
        made.dns.mx("example.net", "mx.example.net")
        yield made


def letter(gateway: Gateway, *to: str, body: bytes = b"it burns\n") -> Any:
    return gateway.receive(
        b"Subject: help\n\n" + body, sender="ann@example.net", to=[f"{one}@desk.example" for one in to],
        client="192.0.2.1")


def test_mail_in_and_mail_out(gateway: Gateway, desk: Desk) -> None:
    peer = gateway.peer("mx.example.net")
    answer = letter(gateway, "help")
    assert answer.code == 250
    assert desk.seen == [(f"{answer.queue_id} help@desk.example", "192.0.2.1 9")]
    [sent] = peer.messages
    assert sent.octets.startswith(b"From: Desk <help@desk.example>\r\nTo: ann@example.net\r\nSubject: Re: help\r\n")
    assert not gateway.queue


def test_without_a_way_out_it_is_said_what_to_give(desk: Desk) -> None:
    with Gateway(CONFIG.partition('[[route]]\nrecipients = ["*"]')[0], backends={"desk": desk.app}) as gateway:
        assert letter(gateway, "help").code == 250
        gateway.assert_queued(reason='no route for ann@example.net: give --relay HOST:PORT, or a [[route]] for "*"')


def test_a_large_letter(gateway: Gateway, desk: Desk) -> None:
    gateway.peer("mx.example.net")
    answer = letter(gateway, "help", body=b"x" * 70 + b"\n" + (b"y" * 70 + b"\n") * (HERE_OCTETS // 70))
    assert answer.code == 250
    gateway.drain()
    assert [words for _, words in desk.seen] == [f"192.0.2.1 {71 * (HERE_OCTETS // 70 + 1)}"]


def test_its_word_when_to_try_again_counts(gateway: Gateway, desk: Desk) -> None:
    gateway.peer("mx.example.net")
    desk.is_down = True
    assert letter(gateway, "help").code == 250
    assert gateway.queue[0].lane == "desk/opened"
    desk.is_down = False
    gateway.advance(89)
    assert desk.seen == []
    gateway.advance(1)
    assert len(desk.seen) == 1


def test_the_client_hears_in_its_transaction(gateway: Gateway, desk: Desk) -> None:
    answer = letter(gateway, "ticket+5")
    assert answer.code == 250
    assert desk.seen == [(f"{answer.queue_id} ticket+5@desk.example", "it burns\n")]
    assert not gateway.queue
    answer = letter(gateway, "ticket+12")
    assert (answer.code, answer.status) == (550, "5.1.1")
    answer = letter(gateway, "nobody")
    assert (answer.code, answer.status) == (550, "5.1.1")
    assert len(desk.seen) == 1


def test_its_domain_is_no_lane_to_suspend(gateway: Gateway) -> None:
    with pytest.raises(RefusedRequest) as refused:
        result_of(gateway.service.answer({"command": "queue.suspend", "destination": "desk.example"}))
    assert 'goes by desk: suspend "desk/*", or hold --domain desk.example' in str(refused.value)


def test_with_others_it_runs_from_the_queue(gateway: Gateway, desk: Desk) -> None:
    peer = gateway.peer("mx.example.net")
    answer = letter(gateway, "ticket+5", "ticket+12")
    assert answer.code == 250
    gateway.drain()
    assert desk.seen == [(f"{answer.queue_id} ticket+5@desk.example", "it burns\n")]
    [bounce] = peer.messages
    assert b"\r\n        no ticket 12\r\n" in bounce.octets, "what a person reads first"


def test_the_journal_tells_because_of_which_message_an_answer_was_sent(gateway: Gateway, desk: Desk) -> None:
    gateway.peer("mx.example.net")
    asked = [letter(gateway, "help").queue_id for _ in range(2)]
    gateway.advance(seconds=1)
    queued = [fact for fact in gateway.journal if isinstance(fact, Queued)]
    assert [fact.cause for fact in queued if not fact.session_id] == asked
    assert {fact.cause for fact in queued if fact.session_id} == {""}
    sent = desk.app.send("ann@example.net", "hello", "of our own\n")
    gateway.settle()
    assert sent.called
    last = [fact for fact in gateway.journal if isinstance(fact, Queued)][-1]
    assert (last.session_id, last.cause) == ("", "")
