from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mailgw.net.tasks import TaskGroup


class Failures:
    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException | None]] = []

    def __call__(self, what: str, failure: Failure) -> None:
        self.seen.append((what, failure.value))


async def wait_for(gate: "Deferred[None]") -> None:
    await gate


def test_a_task_that_fails_is_told_with_its_name() -> None:
    failures = Failures()
    group = TaskGroup(failures)
    gate: Deferred[None] = Deferred()
    group.spawn("one", wait_for(gate))
    assert len(group) == 1
    fault = OSError("gone")
    gate.errback(fault)
    assert failures.seen == [("one", fault)]
    assert len(group) == 0


def test_a_task_that_fails_before_it_waits_is_told_too() -> None:
    async def fail() -> None:
        raise ValueError("at once")

    failures = Failures()
    TaskGroup(failures).spawn("one", fail())
    assert [what for what, _ in failures.seen] == ["one"]


def test_a_cancelled_task_is_no_failure() -> None:
    failures = Failures()
    group = TaskGroup(failures)
    group.spawn("one", wait_for(Deferred()))
    group.cancel()
    assert (failures.seen, len(group)) == ([], 0)


def test_settled_returns_when_the_last_one_ended() -> None:
    group = TaskGroup(Failures())
    gates: list[Deferred[None]] = [Deferred(), Deferred()]
    for gate in gates:
        group.spawn("one", wait_for(gate))
    settled = Deferred.fromCoroutine(group.settled())
    gates[0].callback(None)
    assert not settled.called
    gates[1].callback(None)
    assert settled.called


def test_settled_returns_at_once_where_nothing_runs() -> None:
    assert Deferred.fromCoroutine(TaskGroup(Failures()).settled()).called
