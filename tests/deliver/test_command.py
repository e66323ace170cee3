"""The command backend: programs that are none (what it does with time, pipes and orders), and a few real ones."""

import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from mailgw.deliver.command import (
    GRACE_SECONDS,
    LINGER_SECONDS,
    LOST_SECONDS,
    CommandBackend,
    CommandSettings,
    leader,
)
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.spool.content import MemoryContent
from tests.logged import LoggedFailures
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
BOB = Mailbox("bob", "example.org")
DASH = Mailbox("-x", "example.org")
TEXT = b"Subject: hello\r\n\r\n.dot\r\n"
SETTINGS = CommandSettings(
    arguments=(sys.executable, "{recipient}"), null_sender="MAILER-DAEMON", crlf=False, delivery_fields=False,
    environment={}, recipients_per_run=1, time_seconds=60.0, output_octets=100, concurrency=20,
)


def message(content: Content | None = None, body_type: BodyType = BodyType.EIGHT_BIT) -> Message:
    return Message("Q1", BOB, body_type, 1.0, content or MemoryContent(TEXT))


class Slow:
    """Content in chunks of which each is waited for."""

    size_octets = 6
    octets = None

    def __init__(self, fault: Exception | None = None) -> None:
        self.wanted: list[Deferred[bytes]] = []
        self._fault = fault

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(3):
            self.wanted.append(Deferred())
            yield await self.wanted[-1]


class FakeProcess:
    """A program that does what a test says; ``stdin`` is what it was given."""

    def __init__(self, protocol: Any, arguments: Sequence[bytes], environment: dict[str, str], pid: int) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.environment = environment
        self.pid = pid
        self.stdin = b""
        self.is_closed = False
        self.signals: list[int] = []
        protocol.makeConnection(self)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming

    def unregisterProducer(self) -> None:
        pass

    def write(self, octets: bytes) -> None:
        self.stdin += octets

    def closeStdin(self) -> None:
        self.is_closed = True

    def signalProcess(self, number: int) -> None:
        self.signals.append(-number)

    def exit(self, status: int = 0, by: int | None = None, output: bytes = b"", is_all: bool = True) -> None:
        self.protocol.childDataReceived(1, output)
        value = ProcessDone(0) if not status and by is None else ProcessTerminated(status, by, 0)
        self.protocol.processExited(Failure(value))
        if is_all:
            self.protocol.processEnded(Failure(value))


class Bench:
    def __init__(self, settings: CommandSettings = SETTINGS, fault: Exception | None = None) -> None:
        self.clock: Any = Clock()
        self.clock.spawnProcess = self._spawn
        self.processes: list[FakeProcess] = []
        self.has_group = True
        self._fault = fault
        self.backend = CommandBackend(settings, self.clock, ["/first"], self._kill)
        self.results: list[Any] = []

    def _spawn(self, protocol: Any, executable: bytes, arguments: Sequence[bytes], env: dict[str, str]) -> None:
        if self._fault is not None:
            raise self._fault
        assert executable == arguments[0] == b"/first"
        self.processes.append(FakeProcess(protocol, arguments[1:], env, 100 + len(self.processes)))

    def _kill(self, group: int, number: int) -> None:
        if not self.has_group:
            raise ProcessLookupError
        self.processes[group - 100].signals.append(number)

    def deliver(self, recipients: Sequence[Mailbox], what: Message | None = None) -> "Deferred[Any]":
        attempt = Deferred.fromCoroutine(self.backend.deliver(what or message(), recipients))
        attempt.addBoth(self.results.append)
        return attempt

    @property
    def words(self) -> list[str]:
        [result] = self.results
        if isinstance(result, Failure):
            return [type(result.value).__name__]
        return [f"{mailbox.local_part} {outcome.reply}" for mailbox, outcome in result.items()]


def test_it_is_a_backend() -> None:
    backend = Bench().backend
    assert verifyObject(IDeliveryBackend, backend)
    assert (backend.concurrency, backend.lane(ALICE)) == (20, "")


def refusal(bench: Bench, recipient: Mailbox) -> str:
    found: list[Any] = []
    Deferred.fromCoroutine(bench.backend.refusal(recipient)).addCallback(found.append)
    return str(found[0])


def test_an_address_that_would_be_an_option_is_refused_at_once() -> None:
    why = 'begins with "-", and would be taken for an option'
    bench = Bench()
    assert refusal(bench, ALICE) == "None"
    assert refusal(bench, DASH) == f"550 5.1.3 The address {why}"
    bench.deliver([DASH, ALICE])
    bench.processes[0].exit()
    assert bench.words == [f"-x 550 5.1.3 The address {why}", "alice 250 2.0.0 Delivered to the command"]
    bench = Bench(attrs.evolve(SETTINGS, arguments=(sys.executable, "{sender}")))
    bench.deliver([ALICE], attrs.evolve(message(), reverse_path=DASH))
    assert bench.words == [f"alice 550 5.1.7 The sender {why}"]
    assert not bench.processes


def test_one_run_a_recipient_one_after_the_other() -> None:
    bench = Bench(attrs.evolve(SETTINGS, delivery_fields=True))
    bench.deliver([ALICE, BOB])
    [first] = bench.processes
    assert first.arguments == [os.fsencode(sys.executable), b"alice@example.org"]
    assert first.environment["RECIPIENT"] == "alice@example.org"
    fields = b"Return-Path: <bob@example.org>\nDelivered-To: alice@example.org\n"
    assert (first.stdin, first.is_closed) == (fields + TEXT.replace(b"\r\n", b"\n"), True)
    first.exit(67)
    bench.processes[1].exit()
    assert bench.words[1:] == ["bob 250 2.0.0 Delivered to the command"]
    assert bench.results[0][ALICE].permanence is Permanence.PERMANENT
    assert bench.clock.getDelayedCalls() == []


@each(("per_run", "runs"), [(2, [2, 1]), (3, [3]), (4, [3])])
def test_several_recipients_in_one_run(per_run: int, runs: list[int]) -> None:
    bench = Bench(attrs.evolve(SETTINGS, recipients_per_run=per_run, crlf=True, delivery_fields=True))
    bench.deliver([ALICE, BOB, Mailbox("c", "example.org")])
    for number, count in enumerate(runs):
        process = bench.processes[number]
        assert len(process.arguments) == 1 + count
        assert (b"Delivered-To" in process.stdin) == (count == 1)
        assert process.stdin.endswith(TEXT)
        process.exit()
    assert len(bench.words) == 3


# --- what it reads ---------------------------------------------------------------------------------------------

def test_content_waits_for_a_program_that_reads_slowly() -> None:
    bench = Bench()
    content = Slow()
    bench.deliver([ALICE], message(content))
    [process] = bench.processes
    process.protocol.pauseProducing()
    content.wanted[0].callback(b"a\r")
    assert (process.stdin, len(content.wanted)) == (b"a", 1)
    process.protocol.resumeProducing()
    content.wanted[1].callback(b"\nb")
    assert process.stdin == b"a\nb"
    content.wanted[2].callback(b"\r")
    assert (process.stdin, process.is_closed) == (b"a\nb\r", True)
    process.exit()
    assert len(bench.words) == 1


@each("status", [0, 75])
def test_a_program_need_not_read(status: int) -> None:
    bench = Bench()
    content = Slow()
    bench.deliver([ALICE], message(content))
    [process] = bench.processes
    process.protocol.pauseProducing()
    content.wanted[0].callback(b"a")
    process.protocol.childConnectionLost(0)  # it hung up, and so the next chunk is not asked for
    assert len(content.wanted) == 1
    process.exit(status)
    assert bench.results[0][ALICE].is_delivered == (status == 0)


def test_a_part_of_a_message_is_none(logged_failures: LoggedFailures) -> None:
    for fault, logged in ((TemporaryFault("disk"), 0), (ValueError("bug"), 1)):
        bench = Bench()
        content = Slow()
        bench.deliver([ALICE], message(content))
        content.wanted[0].callback(b"a")
        content.wanted[1].errback(fault)
        [process] = bench.processes
        assert (process.is_closed, process.signals) == (False, [signal.SIGTERM])
        process.exit(0)
        assert bench.words == ["alice 451 4.3.0 The command was ended: the content cannot be read"]
        assert len(logged_failures.take()) == logged


# --- how it ends -----------------------------------------------------------------------------------------------

def test_one_that_takes_too_long_gets_term_then_kill() -> None:
    bench = Bench()
    bench.deliver([ALICE])
    [process] = bench.processes
    bench.clock.advance(59.9)
    assert process.signals == []
    bench.clock.advance(0.1)
    assert process.signals == [signal.SIGTERM]
    bench.clock.advance(GRACE_SECONDS)
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]
    process.exit(by=signal.SIGKILL, output=b"half\n")
    assert bench.words == ["alice 451 4.3.0 The command was ended: it took longer than 60 s; it said: half"]
    assert bench.results[0][ALICE].scope is Scope.RECIPIENT
    assert bench.clock.getDelayedCalls() == []


def test_what_ends_at_term_is_not_delivered_and_its_children_end_with_it() -> None:
    bench = Bench()
    bench.deliver([ALICE])
    [process] = bench.processes
    bench.clock.advance(60)
    process.exit(0)
    assert process.signals == [signal.SIGTERM, signal.SIGKILL]
    assert bench.words == ["alice 451 4.3.0 The command was ended: it took longer than 60 s"]


def test_one_without_a_group_yet_is_ended_alone() -> None:
    bench = Bench()
    bench.has_group = False
    bench.deliver([ALICE])
    bench.clock.advance(60)
    assert bench.processes[0].signals == [-signal.SIGTERM]
    bench.processes[0].exit(by=signal.SIGTERM)


def test_one_that_nothing_ends_is_left_alone() -> None:
    bench = Bench()
    bench.deliver([ALICE])
    bench.clock.pump([60, GRACE_SECONDS, LOST_SECONDS])
    assert len(bench.words) == 1
    bench.processes[0].exit(0)  # too late to be of interest
    assert bench.clock.getDelayedCalls() == []


def test_what_it_left_behind_may_keep_the_pipes_for_a_moment() -> None:
    bench = Bench()
    bench.deliver([ALICE])
    bench.processes[0].exit(0, output=b"a", is_all=False)
    bench.processes[0].protocol.childDataReceived(2, b"b")
    assert not bench.results
    bench.clock.advance(LINGER_SECONDS)
    assert bench.words == ["alice 250 2.0.0 Delivered to the command; it said: ab"]
    assert bench.processes[0].signals == []


@each(("octets", "kept"), [(99, 99), (100, 100), (101, 100)])
def test_output_is_kept_up_to_its_limit(octets: int, kept: int) -> None:
    bench = Bench()
    bench.deliver([ALICE])
    bench.processes[0].exit(75, output=b"y" * octets)
    assert bench.results[0][ALICE].reply.lines[1] == "y" * kept


def test_a_cut_off_attempt_says_what_it_knows() -> None:
    bench = Bench()
    attempt = bench.deliver([ALICE, BOB])
    bench.processes[0].exit(0)
    attempt.cancel()
    assert bench.words == ["alice 250 2.0.0 Delivered to the command",
                           "bob 451 4.3.0 The attempt ended before this recipient's turn"]
    assert bench.processes[1].signals == [signal.SIGTERM]
    bench.processes[1].exit(0)
    bench = Bench()
    bench.deliver([ALICE]).cancel()
    assert bench.words == ["CancelledError"]
    bench.processes[0].exit(0)


def test_a_stop_ends_what_runs_and_waits_for_it() -> None:
    bench = Bench()
    bench.backend.startService()
    bench.deliver([ALICE])
    stopped: list[object] = []
    bench.backend.stopService().addCallback(stopped.append)
    assert bench.processes[0].signals == [signal.SIGTERM]
    assert not stopped
    bench.clock.advance(GRACE_SECONDS)
    bench.processes[0].exit(by=signal.SIGKILL)
    assert stopped == [None]
    assert bench.words == ["alice 451 4.3.0 The command was ended: the gateway stops"]
    assert bench.clock.getDelayedCalls() == []


@each(
    ("fault", "why"),
    [
        (OSError(errno.E2BIG, "Argument list too long"), "it cannot be started: Argument list too long"),
        (OSError(errno.EAGAIN, "Resource temporarily unavailable"),
         "it cannot be started: Resource temporarily unavailable"),
        (ValueError("embedded null byte"), "it cannot be started: embedded null byte"),
    ],
)
def test_what_cannot_be_started_is_trouble_of_the_destination(fault: Exception, why: str) -> None:
    bench = Bench(fault=fault)
    bench.deliver([ALICE, BOB])
    assert sorted(bench.words) == [f"{name} 451 4.3.5 The command failed: {why}" for name in ("alice", "bob")]
    assert {outcome.scope for outcome in bench.results[0].values()} == {Scope.HOST}


def test_a_program_that_is_missing() -> None:
    bench = Bench(attrs.evolve(SETTINGS, arguments=("/no/such", "{recipient}")))
    bench.deliver([ALICE])
    assert bench.words == ["alice 451 4.3.5 The command failed: it is missing, or this user may not run it"]


def test_binary_content_is_made_lines_of() -> None:
    bench = Bench()
    bench.deliver([ALICE], message(MemoryContent(b"Subject: x\r\n\r\na\nb\0"), BodyType.BINARY))
    assert b"base64" in bench.processes[0].stdin or b"quoted-printable" in bench.processes[0].stdin
    bench.processes[0].exit()


# --- real ones ------------------------------------------------------------------------------------------------

def program(folder: Path, text: str) -> str:
    file = folder / "deliver"
    file.write_text(f"#!/bin/sh\n{text}")
    file.chmod(0o755)
    return str(file)


def has_ended(process: str) -> bool:
    state = Path(f"/proc/{process}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):  # gone, perhaps between open and read
        return True


async def of_a_real_one(
    folder: Path, text: str, content: bytes = TEXT, first: Sequence[str] = (), **settings: Any
) -> Outcome:
    arguments = (program(folder, text), "{local_part}", str(folder))
    made = attrs.evolve(SETTINGS, **{"arguments": arguments, **settings})
    backend = CommandBackend(made, reactor, first or leader())
    return dict(await backend.deliver(message(MemoryContent(content)), [ALICE]))[ALICE]


@pytest_twisted.ensureDeferred
async def test_a_real_program_has_all_that_it_is_promised(tmp_path: Path) -> None:
    text = 'cat >"$2/$1.eml"; env | grep -v "^_=\\|^PWD\\|^SHLVL\\|^OLDPWD" | sort >"$2/env"; ps -o pgid= $$; echo $$'
    outcome = await of_a_real_one(tmp_path, text, environment={"HOME": "/nowhere"})
    assert outcome.is_delivered
    assert (tmp_path / "alice.eml").read_bytes() == TEXT.replace(b"\r\n", b"\n")
    assert (tmp_path / "env").read_text().split() == [
        "DOMAIN=example.org", "HOME=/nowhere", "LANG=C.UTF-8", "LOCAL=alice", "PATH=/usr/local/bin:/usr/bin:/bin",
        "QUEUE_ID=Q1", "RECIPIENT=alice@example.org", "SENDER=bob@example.org", "TAGS=",
    ]
    group, own = outcome.reply.lines[1:]
    assert group.strip() == own.strip()


@pytest_twisted.ensureDeferred
async def test_real_programs_that_do_not_listen(tmp_path: Path) -> None:
    large = b"x" * 1_000_000
    assert (await of_a_real_one(tmp_path, "exec <&-; exit 0", large)).is_delivered
    outcome = await of_a_real_one(tmp_path, "head -c 10 >/dev/null; echo no such list; exit 67", large)
    assert str(outcome.reply).startswith("550 5.1.1 ")
    assert outcome.reply.lines[1] == "no such list"
    outcome = await of_a_real_one(tmp_path, "kill -SEGV $$")
    assert "signal 11 (SIGSEGV)" in outcome.reply.text
    outcome = await of_a_real_one(tmp_path, "exec /no/such/program")
    assert (outcome.permanence, outcome.scope) == (Permanence.TEMPORARY, Scope.HOST)


@pytest_twisted.ensureDeferred
async def test_a_real_group_is_ended_as_a_whole(tmp_path: Path) -> None:
    text = 'sleep 60 & echo $! >"$2/child"; trap "" TERM; echo y; : >"$2/ready"; while :; do sleep 60; done'
    hours = HoursOfItsOwn()
    arguments = (program(tmp_path, text), "{local_part}", str(tmp_path))
    made = attrs.evolve(SETTINGS, arguments=arguments, time_seconds=60.0)
    waiting = Deferred.fromCoroutine(
        CommandBackend(made, hours, leader()).deliver(message(MemoryContent(TEXT)), [ALICE])
    )
    await seen(tmp_path / "ready")
    hours.clock.advance(60.0)
    hours.clock.advance(GRACE_SECONDS)
    outcome = dict(await waiting)[ALICE]
    assert outcome.reply.lines == ("The command was ended: it took longer than 60 s; it said:", "y")
    # It closes its output, of which we heard, a moment before it has ended.
    await until(lambda: has_ended((tmp_path / "child").read_text().strip()), "an end")


class HoursOfItsOwn:
    """The reactor, but that time passes when the test says so: a busy machine starts a program when it likes."""

    def __init__(self) -> None:
        self.clock: Any = Clock()
        self.callLater, self.seconds = self.clock.callLater, self.clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


async def seen(path: Path) -> None:
    """Return when the file is there, which somebody else makes."""
    await until(lambda: os.access(path, os.F_OK), str(path))


async def until(is_so: Callable[[], bool], what: str) -> None:
    """Return when it is so, by what somebody else does."""
    for _ in range(10_000):
        if is_so():
            return
        await deferLater(reactor, 0.002)
    raise AssertionError(f"{what} does not come")


@pytest_twisted.ensureDeferred
async def test_a_leader_where_there_is_no_setsid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.deliver.command.shutil.which", lambda *_, **__: None)
    first = leader()
    assert first[0] == sys.executable
    outcome = await of_a_real_one(tmp_path, "cat >/dev/null; ps -o pgid= $$; echo $$", first=first)
    group, own = outcome.reply.lines[1:]
    assert group.strip() == own.strip()


