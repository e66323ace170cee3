"""Passwords that Dovecot judges: one connection, many requests, and what happens when it is gone."""

from base64 import b64decode
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailgw.access.dovecot import DovecotChecker, DovecotLimits
from mailgw.access.portal import Login, log_in, make_portal
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from tests.wire.test_dovecot_auth import INTRODUCTION

LIMITS = DovecotLimits(connect_seconds=5.0, answer_seconds=30.0, rest_seconds=1.0, waiting=3)
ALICE = Login(Mailbox("alice", "example.org"))


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class Bench:
    def __init__(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.checker = DovecotChecker("/run/auth", LIMITS, 77, self.reactor, self.reactor)
        self.portal = make_portal([self.checker])
        self.protocol: Any = None
        self.transport = Transport()

    def begin(self, login: str = "alice@example.org", password: str = "secret") -> list[Any]:
        found: list[Any] = []
        self.task = Deferred.fromCoroutine(log_in(self.portal, login, password, "192.0.2.1"))
        self.task.addBoth(found.append)
        return found

    @property
    def attempts(self) -> int:
        return len(self.reactor.unixClients)

    def accept(self) -> None:
        path, factory, *_ = self.reactor.unixClients[-1]
        assert path == "/run/auth"
        self.transport = Transport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    def say(self, octets: bytes) -> None:
        self.protocol.dataReceived(octets)

    def connect(self) -> None:
        self.accept()
        self.say(INTRODUCTION)

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def refuse(self) -> None:
        self.reactor.unixClients[-1][1].clientConnectionFailed(None, Failure(ConnectError()))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def is_unsure(found: list[Any]) -> bool:
    return isinstance(found[0], Failure) and isinstance(found[0].value, TemporaryFault)


def test_interface(bench: Bench) -> None:
    assert verifyObject(ICredentialsChecker, bench.checker)


def test_good_and_wrong(bench: Bench) -> None:
    good, wrong = bench.begin(), bench.begin(password="guess")
    assert bench.attempts == 1
    bench.connect()
    said = bench.transport.value()
    assert said.startswith(b"VERSION\t1\t1\nCPID\t77\nAUTH\t")
    assert said.count(b"rip=192.0.2.1\t") == 2
    numbers = {b64decode(line.rpartition(b"resp=")[2]): line.split(b"\t")[1] for line in said.splitlines()[2:]}
    bench.say(b"FAIL\t" + numbers[b"\0alice@example.org\0guess"] + b"\tuser=alice@example.org\n")
    bench.say(b"OK\t" + numbers[b"\0alice@example.org\0secret"] + b"\tuser=Alice@EXAMPLE.org\n")
    assert (good, wrong) == ([ALICE], [None])
    third = bench.begin()
    assert bench.attempts == 1, "the connection is kept"
    bench.say(b"FAIL\t3\ttemp\n")
    assert is_unsure(third)


def test_a_user_without_a_domain_is_no_wrong_password(bench: Bench) -> None:
    found = bench.begin("alice")
    bench.connect()
    bench.say(b"OK\t1\tuser=alice\n")
    assert is_unsure(found), "somebody set up Dovecot so"


def test_a_password_that_dovecot_does_not_take(bench: Bench) -> None:
    found = bench.begin(password="x" * 8000)
    bench.connect()
    assert found == [None]


def test_it_is_down(bench: Bench) -> None:
    with capturedLogs() as logged:
        found = bench.begin()
        bench.refuse()
        assert is_unsure(found)
        assert is_unsure(bench.begin()), "not asked again so soon"
    assert bench.attempts == 1
    assert len(logged) == 1
    bench.reactor.advance(1.0)
    found = bench.begin()
    assert bench.attempts == 2
    bench.connect()
    bench.say(b"OK\t1\tuser=alice@example.org\n")
    assert found == [ALICE]


def test_it_is_not_introduced_in_time(bench: Bench) -> None:
    found = bench.begin()
    bench.accept()
    bench.reactor.advance(4.9)
    assert found == []
    bench.reactor.advance(0.2)
    assert is_unsure(found)
    assert bench.transport.aborted


def test_it_does_not_answer_in_time(bench: Bench) -> None:
    found, other = bench.begin(), bench.begin()
    bench.connect()
    bench.reactor.advance(29.9)
    assert found == []
    bench.reactor.advance(0.2)
    assert is_unsure(found)
    assert is_unsure(other)
    assert bench.transport.aborted
    bench.lose()
    bench.begin()
    assert bench.attempts == 2
    assert not [c for c in bench.reactor.getDelayedCalls() if c.getTime() < 30]


def test_it_goes_away_and_comes_back(bench: Bench) -> None:
    found = bench.begin()
    bench.connect()
    bench.lose()
    assert is_unsure(found)
    again = bench.begin()
    assert bench.attempts == 2
    bench.connect()
    bench.say(b"OK\t1\tuser=alice@example.org\n")
    assert again == [ALICE]


def test_something_else_answers_there(bench: Bench) -> None:
    found = bench.begin()
    bench.accept()
    bench.say(b"220 mx.example.org ESMTP\nVERSION\t9\t9\n")
    assert is_unsure(found)
    assert bench.transport.aborted


def test_few_wait(bench: Bench) -> None:
    waiting = [bench.begin() for _ in range(3)]
    assert is_unsure(bench.begin())
    bench.connect()
    assert waiting == [[], [], []]
    assert is_unsure(bench.begin())


def test_who_has_gone_is_not_answered(bench: Bench) -> None:
    before = bench.begin()
    bench.task.cancel()
    assert before[0].check(CancelledError)
    bench.connect()
    asked = bench.begin()
    bench.task.cancel()
    assert asked[0].check(CancelledError)
    bench.say(b"OK\t1\tuser=alice@example.org\nOK\t99\tuser=nobody\n")
    assert bench.attempts == 1


@pytest.mark.parametrize("moment", ["unconnected", "connecting", "introduced", "asked"])
def test_closing(bench: Bench, moment: str) -> None:
    found: list[Any] = []
    if moment != "unconnected":
        found = bench.begin()
    if moment == "introduced":
        bench.accept()
    if moment == "asked":
        bench.connect()
    Deferred.fromCoroutine(bench.checker.close())
    if moment != "unconnected":
        assert is_unsure(found)
    if moment in ("introduced", "asked"):
        assert bench.transport.aborted
        bench.lose()
    assert is_unsure(bench.begin())
    assert not bench.reactor.getDelayedCalls()
