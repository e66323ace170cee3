"""The parent on played processes: who is started again and when, who takes over whose queue, and how all of it ends."""

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport, IOPump

from mailgw import maildrop, reloading
from mailgw.accounts import SECRET_OCTETS
from mailgw.config.load import load
from mailgw.config.settings import Config
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.event import Event
from mailgw.store.journal import JournalSettings
from mailgw.workers import parent as module
from mailgw.workers.calls import Wire
from mailgw.workers.handed import Handed
from mailgw.workers.launching import START_SECONDS, WorkerProcess
from mailgw.workers.parent import ABSENCE_SECONDS, KILL_SECONDS, SUSPICIOUS_SECONDS, Parent
from mailgw.workers.restarts import LONGEST_PAUSE_SECONDS, LOST_AFTER, STEADY_SECONDS
from mailgw.workers.watch import LOOK_SECONDS, SILENT_LOOKS
from mailgw.world import World
from tests.logged import LoggedFailures
from tests.tables import each

SMALL = """
hostname = "mx.example.org"
state = "state"
workers = 3
[[listen]]
role = "mx"
endpoint = "tcp:25"
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[backend.mailboxes]
type = "maildir"
path = "mail/{domain}/{local_part}"
recipients = "any"
[accounts]
passwd_file = "passwd"
"""


def loaded(file: str) -> Config:
    return attrs.evolve(load(file), journal=JournalSettings(None, 0, 0.0, 0))


class Played:
    """A worker's process and its end of the wire."""

    def __init__(self, gateway: "Gateway", process: WorkerProcess, wire: Wire, value: Handed) -> None:
        self.number, self.process, self.value = value.number, process, value
        self.heard: list[tuple[str, list[Any]]] = []
        self.refuses: set[str] = set()
        self.is_killed = self.hangs = False
        self.gauges: Any = None
        process.pid = 1000 + len(gateway.started)
        process.kill = self._kill  # type: ignore[method-assign]
        self.wire = Wire(gateway.reactor, self._hear, lambda: None)
        ours, its = FakeTransport(wire, True), FakeTransport(self.wire, False)
        wire.makeConnection(ours)  # type: ignore[no-untyped-call]
        self.wire.makeConnection(its)  # type: ignore[no-untyped-call]
        self.pump = IOPump(self.wire, wire, its, ours, False)
        self._transports = ours, its

    def _hear(self, name: str, arguments: Sequence[Any]) -> Any:
        if name == "alive":
            return Deferred() if self.hangs else None
        if name == "follow":
            return None
        if name == "facts.gauges":
            return Deferred() if self.hangs else self.gauges
        self.heard.append((name, list(arguments)))
        if name in self.refuses:
            raise TemporaryFault("not now")
        return None

    def _kill(self) -> None:
        self.is_killed = True

    def end(self, how: str = "signal 9") -> None:
        for one in self._transports:
            one.abortConnection()
        self.pump.flush()
        self.process._ended(how)


class Gateway:
    """``started`` are all processes there ever were; ``asked`` are control requests by the number of the worker."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "mailgw.toml").write_text(SMALL)
        (folder / "state").mkdir()
        (folder / "mail").mkdir()
        (folder / "passwd").touch()
        self.reactor = MemoryReactorClock()
        self.started: list[Played] = []
        self.events: list[Event] = []
        self.asked: list[tuple[int, Mapping[str, Any]]] = []
        self.answers: dict[int, Any] = {}
        monkeypatch.setattr(module, "launch", self._launch)
        monkeypatch.setattr(World, "looks_again", False)
        monkeypatch.setattr(module, "wait_until_ready", lambda waiting, meanwhile: None)
        monkeypatch.setattr(module, "bind", lambda *words: Port())
        monkeypatch.setattr(module, "ask_worker", self._ask)
        monkeypatch.setattr(reloading, "load", loaded)
        self.parent = Parent(loaded(str(folder / "mailgw.toml")), self.reactor, lambda: 1e9)
        self.parent.journal.note = self.events.append  # type: ignore[method-assign]
        self.parent.in_thread = _at_once  # type: ignore[method-assign]
        self.parent.privilegedStartService()
        self.parent.startService()

    def _launch(
        self, reactor: object, process: WorkerProcess, wire: Wire, value: Handed, ports: object, ready: int
    ) -> None:
        self.started.append(Played(self, process, wire, value))

    async def _ask(self, reactor: object, path: str, request: Mapping[str, Any]) -> object:
        number = int(path.rpartition("-")[2].partition(".")[0])
        self.asked.append((number, request))
        answer = self.answers.get(number, [])
        if isinstance(answer, TemporaryFault):
            raise answer
        return await answer if isinstance(answer, Deferred) else answer

    def settle(self) -> None:
        for _ in range(6):
            self.reactor.advance(0)
            for played in self.started:
                played.pump.flush()

    def advance(self, seconds: float) -> None:
        self.settle()
        self.reactor.advance(seconds)
        self.settle()

    def now(self, number: int) -> Played:
        """The latest process of a worker."""
        return next(one for one in reversed(self.started) if one.number == number)

    def ready(self, *numbers: int) -> "Gateway":
        for number in numbers:
            self.now(number).wire.tell("ready")
        self.settle()
        return self

    def end_again_and_again(self, number: int) -> None:
        """So often that its queue is taken over; it is not started again yet."""
        for turn in range(LOST_AFTER):
            self.now(number).end()
            if turn < LOST_AFTER - 1:
                self.advance(60)
        self.settle()

    def ask(self, **request: object) -> "Deferred[object]":
        return Deferred.fromCoroutine(self.parent.answer(request))


def _at_once(work: Callable[..., Any], *arguments: object) -> "Deferred[Any]":
    """What a thread does."""
    try:
        return succeed(work(*arguments))
    except Exception as fault:  # noqa: BLE001 - as a thread has it
        return fail(fault)


class Port:
    def __init__(self) -> None:
        self.socket = self
        self.family = 2

    def stopReading(self) -> None:
        pass

    def fileno(self) -> int:
        return 7

    def stopListening(self) -> None:
        pass


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    made = Gateway(tmp_path, monkeypatch)
    yield made
    for number in range(3):
        if made.parent._workers[number].process is not None:
            made.parent._workers[number].process = None


def names(gateway: Gateway) -> list[str]:
    return [event.name for event in gateway.events]


def test_what_all_workers_need_is_there_before_them(gateway: Gateway) -> None:
    state = Path(gateway.parent.config.state)
    assert len((state / "login-secret").read_bytes()) == SECRET_OCTETS


def test_two_parents_do_not_share_a_state(gateway: Gateway) -> None:
    other = Parent(gateway.parent.config, MemoryReactorClock(), lambda: 1e9)
    with pytest.raises(TemporaryFault, match="in use by process"):
        other.startService()


def test_each_worker_gets_its_part(gateway: Gateway) -> None:
    assert [one.value.shards for one in gateway.started] == [(0,), (1,), (2,)]
    assert [one.value.sessions for one in gateway.started] == [334, 333, 333]
    gateway.ready(0, 1, 2)
    assert names(gateway) == ["started", "worker_started", "worker_started", "worker_started"]


def test_a_worker_that_ended_is_started_again_each_time_later(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(1).end()
    gateway.advance(0.1)
    assert len(gateway.started) == 3
    gateway.advance(0.1)
    assert len(gateway.started) == 4
    gateway.now(1).end()
    gateway.advance(0.39)
    assert len(gateway.started) == 4
    gateway.advance(0.02)
    assert gateway.now(1) is gateway.started[4]
    gateway.ready(1)
    gateway.advance(STEADY_SECONDS)
    gateway.now(1).end()
    gateway.advance(0.2)
    assert len(gateway.started) == 6
    assert names(gateway).count("worker_ended") == 3


def test_what_a_worker_that_ended_told_nobody_of_is_looked_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    monkeypatch.setattr(gateway.parent.sending._owner, "look_again", lambda: looks.append(1))
    gateway.ready(0, 1, 2)
    gateway.now(1).end()
    gateway.advance(0.2)
    gateway.ready(1)
    assert not looks, "nothing was sent"
    gateway.parent.sending._follow(["Q1"])
    gateway.now(1).end()
    gateway.advance(0.4)
    gateway.ready(1)
    assert len(looks) == 1


def test_an_end_that_comes_late_is_not_the_next_one_s(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    first = gateway.now(1)
    first.end()
    gateway.advance(1)
    first.process._ended("signal 9")
    assert gateway.parent._workers[1].process is gateway.now(1).process


def test_a_queue_whose_worker_does_not_come_back_is_another_s_until_it_does(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.end_again_and_again(1)
    assert gateway.now(0).heard == [("open", [1])]
    assert gateway.now(2).heard == []
    count = len(gateway.started)
    gateway.advance(60)
    assert gateway.now(0).heard == [("open", [1]), ("close", [1])]
    assert len(gateway.started) == count + 1
    assert not gateway.parent._taken_over


def test_a_queue_that_takes_a_second_worker_down_is_left_alone(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.end_again_and_again(1)
    gateway.now(0).end()
    gateway.advance(0.1)
    assert gateway.now(2).heard == []  # it would be the third
    gateway.advance(1)
    gateway.ready(0)
    assert ("open", [1]) not in gateway.now(0).heard


def test_a_worker_that_ended_long_after_it_took_a_queue_over_speaks_for_nothing(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(0).refuses.add("close")
    gateway.end_again_and_again(1)
    gateway.reactor.advance(SUSPICIOUS_SECONDS)
    gateway.settle()
    gateway.now(0).end()
    assert not gateway.parent._left_alone
    assert not gateway.parent._taken_over


def test_who_hangs_is_killed_and_started_again(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    hung = gateway.now(1)
    hung.hangs = True
    gateway.advance(LOOK_SECONDS)  # it is asked
    for _ in range(SILENT_LOOKS - 1):
        gateway.advance(LOOK_SECONDS)
        assert not hung.is_killed
    gateway.advance(LOOK_SECONDS)
    assert hung.is_killed
    assert not gateway.now(0).is_killed
    hung.end()
    gateway.advance(1)
    assert gateway.now(1) is not hung
    gateway.ready(1)
    for _ in range(2 * SILENT_LOOKS):
        gateway.advance(LOOK_SECONDS)
    assert not gateway.now(1).is_killed, "what the one before it did not answer is not its own"


def test_who_hangs_again_and_again_leaves_his_queue_to_another(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    for _ in range(LOST_AFTER):
        hung = gateway.now(1)
        hung.hangs = True
        for _ in range(SILENT_LOOKS + 1):
            gateway.advance(LOOK_SECONDS)
        assert hung.is_killed
        hung.end()
        gateway.settle()
        if gateway.now(0).heard:
            break
        gateway.advance(LONGEST_PAUSE_SECONDS)
        gateway.ready(1)
    assert gateway.now(0).heard == [("open", [1])]


def test_who_does_not_come_to_be_open_is_killed(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(1).end()
    gateway.advance(1)
    late = gateway.now(1)
    for _ in range(int(START_SECONDS / LOOK_SECONDS) - 1):
        gateway.advance(LOOK_SECONDS)
    assert not late.is_killed
    gateway.advance(LOOK_SECONDS)
    assert late.is_killed


@each("fault", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("a bug")])
def test_a_start_that_fails_is_tried_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, logged_failures: LoggedFailures, fault: Exception
) -> None:
    if not gateway.parent._workers[0].is_ready:
        gateway.ready(0, 1, 2)
    count = len(gateway.started)
    launch = module.launch

    def fail(*words: object) -> None:
        raise fault

    monkeypatch.setattr(module, "launch", fail)
    gateway.now(1).end()
    gateway.advance(1)
    gateway.advance(5)
    assert len(gateway.started) == count
    assert gateway.parent._workers[1].process is None
    monkeypatch.setattr(module, "launch", launch)
    gateway.advance(60)
    assert len(gateway.started) == count + 1
    gateway.ready(1)
    assert gateway.events[-2].seconds > 0.2  # type: ignore[attr-defined] # each time later
    logged_failures.take()


def test_what_comes_from_a_process_that_is_gone_is_nobody_s(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    late = gateway.parent._workers[1].wire
    assert late is not None
    gateway.now(1).end()
    gateway.advance(1)
    gateway.parent._answer(gateway.parent._workers[1], late, "ready", [])
    assert not gateway.parent._workers[1].is_ready


def test_who_starts_is_not_taken_for_hung(gateway: Gateway) -> None:
    gateway.now(1).hangs = True
    for _ in range(2 * SILENT_LOOKS):
        gateway.advance(LOOK_SECONDS)
    assert not gateway.now(1).is_killed


def test_what_is_reported_goes_to_the_first_worker_also_when_it_is_away(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(1).wire.tell("tls", {"a": 1})
    gateway.now(1).wire.tell("dmarc", {"a": 2})
    gateway.settle()
    assert gateway.now(0).heard == [("tls", [{"a": 1}]), ("dmarc", [{"a": 2}])]
    gateway.now(0).end()
    gateway.now(2).wire.tell("tls", {"b": 2})
    gateway.now(2).wire.tell("dmarc", {"b": 3})
    gateway.advance(1)
    assert gateway.now(0).heard == []
    gateway.ready(0)
    assert gateway.now(0).heard == [("tls", [{"b": 2}]), ("dmarc", [{"b": 3}])]


def test_a_command_is_answered_for_all_or_not_at_all(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.answers = {0: [{"queue_id": "b"}], 1: [], 2: [{"queue_id": "a"}, {"queue_id": "c"}]}
    found: list[object] = []
    gateway.ask(command="queue.list", limit=2).addCallback(found.append)
    assert found == [[{"queue_id": "a"}, {"queue_id": "b"}]]
    assert [number for number, _ in gateway.asked] == [0, 1, 2]

    gateway.answers[1] = TemporaryFault("the disk is full")
    failed: list[Any] = []
    gateway.ask(command="queue.list", limit=2).addErrback(lambda why: failed.append(why.value.why))
    assert failed == ["the disk is full"]

    gateway.answers[1] = RefusedRequest("what?")
    gateway.ask(command="queue.hold").addErrback(lambda why: failed.append(str(why.value)))
    assert failed[1:] == ["what?"]
    gateway.ask(command="queue.show", queue_id="b").addCallback(found.append)
    assert found[1:] == [[{"queue_id": "b"}]]


def test_a_command_waits_for_a_worker_that_is_away_but_not_for_ever(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(1).end()
    told: list[Any] = []
    gateway.ask(command="queue.list").addBoth(told.append)
    gateway.advance(1)
    assert not told
    gateway.ready(1)
    gateway.advance(0.2)
    assert told == [[]]
    gateway.now(2).end()
    gateway.ask(command="queue.list").addErrback(lambda why: told.append(why.value.why))
    for _ in range(int(ABSENCE_SECONDS * 10) + 2):
        gateway.advance(0.1)
    assert "worker 2 does not run" in told[1]


def test_who_is_started_again_is_told_what_is_suspended_by_then(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    answer = {"mailboxes": 7.0, "changed": True, "recipients": 1}  # to all that is asked
    gateway.answers = dict.fromkeys(range(3), answer)
    gateway.ask(command="queue.suspend", destination="mailboxes")
    gateway.now(1).end()
    gateway.advance(1)
    assert "mailboxes" in gateway.now(1).value.suspended


def test_what_was_suspended_is_remembered_though_a_worker_does_not_answer_just_then(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    answer = {"mailboxes": 7.0, "changed": True, "recipients": 1}
    gateway.answers = dict.fromkeys(range(3), answer)
    told: list[object] = []
    gateway.ask(command="queue.suspend", destination="mailboxes").addBoth(told.append)
    gateway.advance(1)
    gateway.answers[1] = TemporaryFault("a worker does not answer")
    gateway.ask(command="queue.suspended").addErrback(lambda _: None)
    gateway.parent._suspended = {}
    gateway.parent._tasks.spawn("again", gateway.parent._remember_words())
    gateway.advance(1)
    assert not gateway.parent._suspended
    gateway.answers[1] = {"mailboxes": 7.0}
    gateway.advance(1)
    assert "mailboxes" in gateway.parent._suspended
    assert len(told) == 1


def test_a_reload_is_for_all(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.parent.reload()
    gateway.settle()
    assert [gateway.now(number).heard for number in range(3)] == [[("reload", [])]] * 3


def test_a_stop_ends_with_the_last_worker_and_starts_nobody(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    gateway.now(2).end()  # it would be started again
    stopped = gateway.parent.stopService()
    gateway.settle()
    assert [gateway.now(number).heard for number in range(2)] == [[("stop", [])]] * 2
    gateway.now(0).end("exit status 0")
    assert not stopped.called
    gateway.now(1).end("exit status 0")
    assert stopped.called
    assert names(gateway)[-1] == "stopped"
    gateway.advance(100)
    assert len(gateway.started) == 3
    assert not gateway.reactor.getDelayedCalls()


def test_who_does_not_end_in_time_is_killed(gateway: Gateway) -> None:
    gateway.ready(0, 1, 2)
    stopped = gateway.parent.stopService()
    for number in (0, 1):
        gateway.now(number).end("exit status 0")
    gateway.advance(gateway.parent.config.limits.stop_seconds + KILL_SECONDS)
    assert gateway.now(2).is_killed
    gateway.now(2).end()
    assert stopped.called


def test_a_parent_without_a_book_looks_into_its_queue_all_the_same(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    async def start() -> None:
        begun.append(1)

    sending = gateway.parent.sending
    monkeypatch.setattr(sending._owner, "start", start)
    monkeypatch.setattr(World, "looks_again", True)
    sending.start()
    gateway.advance(maildrop.LOOK_SECONDS)
    assert begun
