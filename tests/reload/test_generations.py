"""A gateway whose configuration becomes another one while mail goes through it."""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw.config.where import config_faults
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, temporary
from mailgw.testing import Gateway, ScriptedBackend
from mailgw.testing.backends import OK
from mailgw.testing.client import Client
from mailgw.testing.pytest_plugin import mailgw_gateway
from tests.logged import LoggedFailures
from tests.reload import plugged

__all__ = ["mailgw_gateway"]  # the fixture: the plugin is off here, see pyproject.toml

HELLO = b"Subject: hi\r\n\r\nhello\r\n"
Make = Callable[..., Gateway]

ONE: dict[str, Any] = {
    "route": [{"recipients": ["@example.org"], "backend": "desk"}],
    "limits": {"recipients": 10},
}
OTHER: dict[str, Any] = {
    "hostname": "mx2.example.org",
    "route": [{"recipients": ["@example.org", "@example.net"], "backend": "desk"}],
    "limits": {"recipients": 20, "attempt_timeout": "10m"},
    "retry": {"schedule": ["1m"]},
}


class Slow:
    """A backend that takes its time, and says at first that it does not take a message now."""

    concurrency = 3

    def __init__(self, reactor: Callable[[], Any]) -> None:
        self.reactor = reactor
        self.had: Counter[str] = Counter()
        self.at_once = self.most = 0
        self.seconds = itertools.cycle([0.0, 3.0, 40.0, 0.5])

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            pause: Deferred[None] = Deferred()
            self.reactor().callLater(next(self.seconds), pause.callback, None)
            await pause
        finally:
            self.at_once -= 1
        if message.queue_id not in self.had and next(self.seconds) == 3.0:
            return dict.fromkeys(recipients, temporary("4.2.1", "not now", Scope.RECIPIENT, ""))
        self.had[message.queue_id] += 1
        return dict.fromkeys(recipients, OK)


def test_fifty_reloads_lose_no_session_and_no_message(mailgw_gateway: Make) -> None:
    slow = Slow(lambda: gateway.reactor)
    gateway = mailgw_gateway(ONE, backends={"desk": slow})
    open_sessions: list[Client] = []
    for turn in range(50):
        session = gateway.connect()
        assert session.reply().code == 220
        assert session.hello().code == 250
        assert session.command("MAIL FROM:<a@example.com>").code == 250
        assert session.command(f"RCPT TO:<b{turn}@example.org>").code == 250
        open_sessions.append(session)
        gateway.reload(OTHER if turn % 2 == 0 else ONE)
        gateway.receive(HELLO, sender="a@example.com", to=[f"c{turn}@example.org"])
        if len(open_sessions) == 5:  # of the generation before, and of those before that
            for one in open_sessions:
                assert one.command("DATA").code == 354
                one.send(HELLO + b".\r\n")
            gateway.reload(OTHER)
            for one in open_sessions:
                assert one.reply().code == 250
                assert one.command("QUIT").code == 221
            open_sessions.clear()
        gateway.advance(seconds=7)
    gateway.drain()
    assert len(gateway.stored) == len(slow.had) == 100
    assert set(slow.had.values()) == {1}
    assert Counter(type(one) for one in gateway.journal)[fact.Delivered] == 100
    assert slow.most <= 3  # the destination's limit held over all of them


def test_a_session_ends_with_the_configuration_it_began_with(mailgw_gateway: Make) -> None:
    gateway = mailgw_gateway(ONE, backends={"desk": ScriptedBackend(*[OK] * 9)})
    old = gateway.connect()
    assert old.reply().text.startswith("mx.example.org")
    gateway.reload(OTHER)
    new = gateway.connect()
    assert new.reply().text.startswith("mx2.example.org")
    for session, code in ((old, 550), (new, 250)):
        assert session.hello().code == 250
        assert session.command("MAIL FROM:<a@example.com>").code == 250
        assert session.command("RCPT TO:<x@example.net>").code == code
    earlier = gateway.service._earlier
    assert len(earlier) == 1
    assert old.command("QUIT").code == 221
    gateway.settle()
    assert not earlier


def test_sessions_of_long_ago_are_closed_in_the_end(mailgw_gateway: Make) -> None:
    patient = {**ONE, "limits": {"command_timeout": "5d", "transaction_timeout": "5d"}}
    gateway = mailgw_gateway(patient, backends={"desk": ScriptedBackend()})
    old = gateway.connect()
    assert old.reply().code == 220
    gateway.reload(OTHER)
    gateway.advance(minutes=59)
    assert not old.is_closed
    gateway.advance(minutes=2)
    assert old.is_closed
    assert not gateway.service._earlier


def test_an_attempt_ends_with_its_own_and_what_waits_goes_to_the_next(mailgw_gateway: Make) -> None:
    backend = ScriptedBackend(concurrency=1)
    gateway = mailgw_gateway(ONE, backends={"desk": backend})
    for name in "abc":
        gateway.receive(HELLO, sender="a@example.com", to=[f"{name}@example.org"])
    assert len(backend.waiting) == 1
    gateway.reload(OTHER)
    gateway.advance(seconds=30)
    assert len(backend.waiting) == 1  # one at once, whoever tries it
    backend.let_go()
    gateway.advance(seconds=1)
    assert not gateway.service._earlier
    while backend.waiting:
        backend.let_go()
        gateway.advance(seconds=1)
    assert len(backend.seen) == len(set(backend.seen)) == 3
    assert not gateway.queue


def test_an_attempt_that_hangs_has_its_time_and_no_more(mailgw_gateway: Make) -> None:
    backend = ScriptedBackend()
    gateway = mailgw_gateway({**ONE, "limits": {"attempt_timeout": "2m"}}, backends={"desk": backend})
    gateway.receive(HELLO, sender="a@example.com", to=["a@example.org"])
    gateway.reload(ONE)
    gateway.advance(seconds=119)
    assert gateway.queue[0].attempts == 0
    gateway.advance(seconds=2)
    assert gateway.queue[0].attempts == 1
    assert not gateway.service._earlier


def test_a_stop_meets_both(mailgw_gateway: Make) -> None:
    backend = ScriptedBackend()
    gateway = mailgw_gateway(ONE, backends={"desk": backend})
    session = gateway.connect()
    assert session.reply().code == 220
    gateway.receive(HELLO, sender="a@example.com", to=["a@example.org"])
    gateway.reload(OTHER)
    gateway.stop()
    assert session.is_closed
    gateway.restart()
    gateway.settle()
    assert len(backend.waiting) == 2  # the first one was cut off, and is not counted
    backend.let_go()
    backend.let_go()


def test_how_a_destination_feels_stays_known_where_its_backend_is_the_same(mailgw_gateway: Make) -> None:
    down = temporary("4.4.1", "no answer", Scope.HOST, "")
    backend = ScriptedBackend(*[down] * 9)
    gateway = mailgw_gateway(ONE, backends={"desk": backend})
    gateway.receive(HELLO, sender="a@example.com", to=["a@example.org"])
    gateway.receive(HELLO, sender="a@example.com", to=["b@example.org"])
    tries = len(backend.seen)
    gateway.reload(OTHER)
    assert len(backend.seen) == tries
    [lane] = gateway.service.dispatcher.lanes()
    assert lane.state == "paused" or lane.state == "unwell", lane


def test_a_plug_in_that_is_a_service_runs_while_its_configuration_does(mailgw_gateway: Make) -> None:
    def rules(word: str) -> dict[str, Any]:
        return {**ONE, "rule": [{"type": "python:tests.reload.plugged:Living", "word": word}]}

    plugged.LIVES.clear()
    gateway = mailgw_gateway(rules("one"), backends={"desk": ScriptedBackend()})
    session = gateway.connect()
    assert session.reply().code == 220
    gateway.reload(rules("other"))
    assert plugged.LIVES == ["one starts", "other starts"]
    session.hang_up()
    gateway.settle()
    assert plugged.LIVES == ["one starts", "other starts", "one stops"]
    gateway.stop()
    assert plugged.LIVES == ["one starts", "other starts", "one stops", "other stops"]


def test_what_cannot_be_made_changes_nothing(mailgw_gateway: Make, logged_failures: LoggedFailures) -> None:
    gateway = mailgw_gateway(ONE, backends={"desk": ScriptedBackend(OK)})
    before = gateway.service.generation
    bad = {**ONE, "rule": [{"type": "python:tests.reload.plugged:Broken"}]}
    with pytest.raises(ExceptionGroup) as caught:
        gateway.reload(bad)
    assert "has no" in str(config_faults(caught.value)[0])
    raising = {**ONE, "rule": [{"type": "python:tests.reload.plugged:Raising"}]}
    with pytest.raises(Exception, match="no luck today"):
        gateway.reload(raising)
    assert gateway.service.generation is before
    assert gateway.receive(HELLO, sender="a@example.com", to=["a@example.org"]).is_accepted
    assert not gateway.queue
