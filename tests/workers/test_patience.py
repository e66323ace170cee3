"""A worker hangs: who asks for it is told soon, and its mail goes to the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.testing import MemoryReactorClock

from mailgw.mail.errors import TemporaryFault
from mailgw.sending import FateUnknown
from mailgw.workers import sending
from mailgw.workers.fanout import ask_worker
from mailgw.workers.patience import CHOICE_SECONDS, LOOK_SECONDS, LOOKS, PROBE_SECONDS
from mailgw.workers.sending import WorkersTaking
from mailgw.workers.watch import LOOK_SECONDS as WATCH_SECONDS
from tests.workers.test_parent import Gateway

STEP = 0.125  # its sums are exact
SILENT = "worker 1 does not answer: try again"
HEALTH: Mapping[str, Any] = {"disk": {"has_room": True}, "sessions": 2, "unwell": [], "troubles": []}


class Hanging(Gateway):
    """Worker 1 is hung: it answers neither what it is asked nor that it is alive.  ``given_up`` are its questions that
    nobody waits for any more."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        monkeypatch.setattr(sending, "ask_worker", self._ask)
        self.given_up = 0
        self.ready(0, 1, 2)
        self.now(1).hangs = True

    async def _ask(self, reactor: object, path: str, request: Mapping[str, Any]) -> object:
        if path.endswith("-1.sock"):
            self.asked.append((1, request))
            await Deferred(lambda _: self._give_up())
        return await super()._ask(reactor, path, request)

    def _give_up(self) -> None:
        self.given_up += 1

    def told(self, **request: object) -> list[Any]:
        """What it comes to, once it does."""
        return collected(self.ask(**request))

    def let(self, seconds: float) -> None:
        """Go by, in small steps."""
        for _ in range(round(seconds / STEP)):
            self.advance(STEP)


def of_all(answer: Mapping[str, Any]) -> dict[int, Any]:
    return dict.fromkeys(range(3), answer)


def collected(asked: "Deferred[Any]") -> list[Any]:
    told: list[Any] = []
    asked.addCallbacks(told.append, lambda why: told.append(why.value))
    return told


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hanging:
    return Hanging(tmp_path, monkeypatch)


def test_whether_it_takes_mail_is_told_soon_and_no_probe_is_left_waiting(gateway: Hanging) -> None:
    gateway.answers = of_all({"why": ""})
    told = gateway.told(command="ready")
    gateway.let(PROBE_SECONDS - STEP)
    assert not told
    gateway.let(STEP)
    assert told == [{"why": "worker"}]
    assert gateway.given_up == 1
    asked = len(gateway.asked)
    assert gateway.told(command="ready") == [{"why": "worker"}], "it is silent already"
    assert [number for number, _ in gateway.asked[asked:]] == [0, 2]
    gateway.now(1).hangs = False


def test_a_worker_that_answers_again_is_asked_again(gateway: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answers = of_all({"why": ""})
    gateway.told(command="ready")
    gateway.let(PROBE_SECONDS)
    worker = gateway.parent._workers[1]
    worker.is_asked = False  # as with its answer
    monkeypatch.setattr(gateway, "_ask", super(Hanging, gateway)._ask)
    monkeypatch.setattr("mailgw.workers.parent.ask_worker", gateway._ask)
    gateway.now(1).hangs = False
    assert gateway.told(command="ready") == [{"why": ""}]


def test_health_names_who_does_not_answer(gateway: Hanging) -> None:
    gateway.answers = of_all(HEALTH)
    told = gateway.told(command="health")
    gateway.let(PROBE_SECONDS)
    [health] = told
    assert [one["answers"] for one in health["workers"]] == [True, False, True]
    assert [one["is_ready"] for one in health["workers"]] == [True, True, True]
    assert health["sessions"] == 4


def test_who_looks_is_told_which_one_does_not_answer(gateway: Hanging) -> None:
    told = {command: gateway.told(command=command) for command in LOOKS}
    gateway.let(LOOK_SECONDS - STEP)
    assert not any(told.values())
    gateway.let(STEP)
    assert {command: [fault.why for fault in faults] for command, faults in told.items()} == {
        command: [SILENT] for command in LOOKS
    }
    assert gateway.given_up == len(LOOKS)


def test_a_worker_that_turns_is_waited_for_however_long_a_look_takes(gateway: Hanging) -> None:
    gateway.now(1).hangs = False
    told = gateway.told(command="queue.list")
    gateway.let(60)
    assert not told
    gateway.now(1).hangs = True
    gateway.let(WATCH_SECONDS + LOOK_SECONDS)
    assert [fault.why for fault in told] == [SILENT], "it hangs meanwhile"


def test_an_order_is_not_given_up(gateway: Hanging) -> None:
    told = gateway.told(command="queue.hold", query={"domain": "example.org"})
    gateway.let(30)
    assert not told


def test_messages_go_to_those_that_answer(gateway: Hanging) -> None:
    parent = gateway.parent
    taking = WorkersTaking(gateway.reactor, parent.config, parent._workers, parent.patience)
    gateway.answers = of_all({"returned": 1})
    told = [collected(ensureDeferred(taking.take("/f"))) for _ in range(3)]
    assert [number for number, _ in gateway.asked] == [0, 1, 2]
    gateway.let(CHOICE_SECONDS)
    gateway.asked.clear()
    for _ in range(4):
        assert collected(ensureDeferred(taking.take("/f"))) == [{"returned": 1}]
    assert [number for number, _ in gateway.asked] in ([0, 2, 0, 2], [2, 0, 2, 0])
    assert not told[1]
    gateway.let(LOOK_SECONDS - CHOICE_SECONDS)
    [fault] = told[1]
    assert isinstance(fault, FateUnknown), "it may have been committed: the book is not told that there is none"
    assert fault.why == SILENT


def test_who_took_a_message_is_remembered_until_its_release_where_there_is_one(gateway: Hanging) -> None:
    parent = gateway.parent
    taking = WorkersTaking(gateway.reactor, parent.config, parent._workers[:1], parent.patience)
    for number, is_discarded in ((1, False), (2, True)):
        gateway.answers = of_all({"taken": {"queue_id": f"Q{number}", "is_discarded": is_discarded}})
        ensureDeferred(taking.take("/f"))
    assert list(taking._of) == ["Q1"]
    ensureDeferred(taking.release("Q1", "m1"))
    assert not taking._of


def test_where_nobody_answers_nothing_is_handed_over(gateway: Hanging) -> None:
    parent = gateway.parent
    for number in range(3):
        gateway.now(number).hangs = True
    gateway.let(WATCH_SECONDS + CHOICE_SECONDS)
    taking = WorkersTaking(gateway.reactor, parent.config, parent._workers, parent.patience)
    [fault] = collected(ensureDeferred(taking.take("/f")))
    assert isinstance(fault, TemporaryFault)
    assert not isinstance(fault, FateUnknown)
    assert fault.why == "no worker answers just now: try again"
    assert not gateway.asked


def test_who_gives_up_leaves_no_connection() -> None:
    reactor = MemoryReactorClock()
    asked: Deferred[object] = Deferred.fromCoroutine(ask_worker(reactor, "/worker.sock", {"command": "ready"}))
    told = collected(asked)
    [connector] = reactor.connectors
    asked.cancel()
    assert connector._disconnected
    assert isinstance(told[0], TemporaryFault)
