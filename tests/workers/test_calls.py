"""The wire between parent and worker: order, answers, boxes of a bounded size, and what a cut does."""

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from mailgw.mail.errors import TemporaryFault
from mailgw.workers.calls import BOX_CALLS, BOX_OCTETS, CALL_OCTETS
from tests.conftest import LoggedFailures
from tests.workers.wires import Ends, now


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, list[Any]]] = []
        self.slow: Deferred[str] = Deferred()

    def __call__(self, name: str, arguments: Sequence[Any]) -> object:
        self.heard.append((name, list(arguments)))
        match name:
            case "add":
                return sum(arguments)
            case "slowly":
                return self.slow
            case "full":
                raise TemporaryFault("there is no room")
            case "bug":
                raise ZeroDivisionError
        return None


def test_calls_arrive_in_their_order_and_only_questions_are_answered() -> None:
    listener = Listener()
    ends = Ends(parent=listener)
    ends.worker.tell("hello", 1, "two", None, [3.5])
    answer = ends.worker.ask("add", 1, 2)
    ends.worker.tell("bye")
    other = ends.worker.ask("add", 40, 2)
    ends.pump()
    assert listener.heard == [("hello", [1, "two", None, [3.5]]), ("add", [1, 2]), ("bye", []), ("add", [40, 2])]
    assert (now(answer), now(other)) == (3, 42)


def test_a_wire_is_not_the_log_s_business() -> None:
    with capturedLogs() as logs:
        ends = Ends()
        ends.pump()
        ends.cut()
    assert sorted(ends.lost) == ["parent", "worker"]
    assert [formatEvent(line) for line in logs] == []


def test_what_is_too_long_goes_nowhere_and_takes_nothing_along() -> None:
    listener = Listener()
    ends = Ends(parent=listener)
    most = CALL_OCTETS - len(b'[false,"n",""]')
    ends.worker.tell("n", "x" * most)
    ends.worker.tell("n", "x" * (most + 1))
    too_long = ends.worker.ask("n", "x" * CALL_OCTETS)
    answer = ends.worker.ask("add", 1, 2)
    with pytest.raises(TemporaryFault, match=r"^n has \d+ octets"):
        now(too_long)
    ends.pump()
    assert now(answer) == 3
    assert [(name, len(str(arguments[0]))) for name, arguments in listener.heard] == [("n", most), ("add", 1)]


def test_an_answer_that_is_too_long_is_a_fault_and_the_others_come() -> None:
    ends = Ends(parent=lambda name, arguments: "x" * arguments[0])
    answers = [ends.worker.ask("give", octets) for octets in (10, CALL_OCTETS, 20)]
    ends.pump()
    assert [now(answers[0]), now(answers[2])] == ["x" * 10, "x" * 20]
    with pytest.raises(TemporaryFault, match="the answer to give is too long"):
        now(answers[1])


def test_all_of_one_turn_go_in_one_box() -> None:
    listener = Listener()
    ends = Ends(parent=listener)
    boxes: list[object] = []
    send = ends.worker.callRemote
    ends.worker.callRemote = lambda *a, **k: boxes.append(a) or send(*a, **k)  # type: ignore
    for number in range(BOX_CALLS):
        ends.worker.tell("n", number)
    ends.pump()
    assert len(boxes) == 1
    ends.worker.tell("n", 0)
    for number in range(BOX_CALLS):
        ends.worker.tell("n", number)
    ends.pump()
    assert len(boxes) == 3


@pytest.mark.parametrize("octets", [BOX_OCTETS // 2 - 40, BOX_OCTETS // 2 + 40, BOX_OCTETS])
def test_a_box_is_bounded(octets: int) -> None:
    listener = Listener()
    ends = Ends(parent=listener)
    for _ in range(5):
        ends.worker.tell("long", "x" * octets)
    ends.pump()
    assert [len(arguments[0]) for _, arguments in listener.heard] == [octets] * 5


def test_what_takes_time_keeps_nobody_who_comes_later() -> None:
    listener = Listener()
    ends = Ends(worker=listener)
    slow = ends.parent.ask("slowly")
    ends.pump()
    answer = ends.parent.ask("add", 1, 1)
    ends.pump()
    assert now(answer) == 2
    assert not slow.called
    listener.slow.callback("done")
    ends.pump()
    assert now(slow) == "done"


def test_faults_are_told_and_bugs_are_logged(logged_failures: LoggedFailures) -> None:
    ends = Ends(parent=Listener())
    full, bug = ends.worker.ask("full"), ends.worker.ask("bug")
    ends.worker.tell("bug")
    ends.pump()
    with pytest.raises(TemporaryFault, match="there is no room"):
        now(full)
    with pytest.raises(TemporaryFault, match="bug failed"):
        now(bug)
    assert [type(one) for one in logged_failures.take()] == [ZeroDivisionError] * 2


def test_a_cut_wire_leaves_nobody_waiting() -> None:
    listener = Listener()
    ends = Ends(parent=listener)
    sent = ends.worker.ask("slowly")
    ends.pump()
    unsent = ends.worker.ask("add", 1, 1)
    ends.cut()
    later = ends.worker.ask("add", 1, 1)
    ends.worker.tell("hello")
    for answer in (sent, unsent, later):
        with pytest.raises(TemporaryFault, match="the other process is gone"):
            now(answer)
    assert sorted(ends.lost) == ["parent", "worker"]
    assert not ends.clock.getDelayedCalls()
    listener.slow.callback("")
