from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailgw.mail.event import Event, Removed, Trouble
from mailgw.net.tasks import TaskGroup
from mailgw.store.observers import OBSERVE_SECONDS, Observed, Observer
from mailgw.testing.facts import KeptJournal
from tests.logged import LoggedFailures


def removed(n: int) -> Removed:
    return Removed(f"q{n}", "b@example.org")


class Hears:
    def __init__(self, does: Callable[[Event], Any] | None = None, *events: str) -> None:
        self.events = events
        self.heard: list[Event] = []
        self.does = does

    def observe(self, event: Event) -> Any:
        self.heard.append(event)
        return None if self.does is None else self.does(event)


class Own(KeptJournal):
    def reopen(self) -> None:
        """Nothing is open."""

    async def close(self) -> None:
        """Nothing is open."""


class Bench:
    def __init__(self, *observers: Hears, waiting: int = 100) -> None:
        self.clock: Any = Clock()
        self.journal = Own()
        self.observed = Observed(self.journal, wall_clock=lambda: 5.0)
        self.tasks = TaskGroup(self.failed)
        self.observed.begin([
            Observer(f"o{n}", one, self.observed.alone, self.clock, self.tasks, waiting)
            for n, one in enumerate(observers)
        ])

    def failed(self, what: str, failure: Failure) -> None:
        raise AssertionError((what, failure))


def test_each_hears_what_it_wants_and_the_journal_all() -> None:
    every, some, other = Hears(), Hears(None, "removed"), Hears(None, "delivered")
    bench = Bench(every, some, other)
    facts = [removed(1), Trouble("a", "b", "", "")]
    for one in facts:
        bench.observed.note(one)
    assert bench.journal.events == every.heard == facts
    assert some.heard == facts[:1]
    assert other.heard == []


def test_one_fact_at_a_time_in_order() -> None:
    gates: list[Deferred[None]] = []

    def waits(event: Event) -> "Deferred[None]":
        gates.append(Deferred())
        return gates[-1]

    slow, quick = Hears(waits), Hears()
    bench = Bench(slow, quick)
    for n in range(3):
        bench.observed.note(removed(n))
    assert quick.heard == [removed(0), removed(1), removed(2)]
    assert slow.heard == [removed(0)]
    gates[0].callback(None)
    assert slow.heard == [removed(0), removed(1)]
    bench.clock.advance(OBSERVE_SECONDS)  # it hangs: the next one comes all the same
    assert slow.heard == [removed(0), removed(1), removed(2)]
    assert bench.journal.events[3:] == [Trouble("observer o0", "did not answer within 30 s", "", "")]


@pytest.mark.parametrize("limit", [1, 3])
def test_so_many_facts_wait(limit: int) -> None:
    gates: list[Deferred[None]] = [Deferred()]
    slow = Hears(lambda event: gates.pop() if gates else None)
    bench = Bench(slow, waiting=limit)
    gate = gates[0]
    for n in range(limit + 2):
        bench.observed.note(removed(n))
    gate.callback(None)
    assert slow.heard == [removed(n) for n in range(limit + 1)]
    assert len(bench.journal.events) == limit + 2


def test_what_one_raises_is_told_by_the_journal_alone(logged_failures: LoggedFailures) -> None:
    def raises(event: Event) -> None:
        raise ValueError("its own")

    bad = Hears(raises)
    bench = Bench(bad)
    bench.observed.note(removed(1))
    assert bad.heard == [removed(1)]
    assert [str(error) for error in logged_failures.take()] == ["its own"]
    assert bench.journal.events == [removed(1), Trouble("observer o0", "raised ValueError", "", "")]


def test_it_may_tell_facts_itself() -> None:
    bench = Bench(Hears(lambda event: bench.observed.note(removed(2)) if event == removed(1) else None), Hears())
    bench.observed.note(removed(1))
    assert bench.journal.events == [removed(1), removed(2)]


def test_a_stop_waits_for_nobody() -> None:
    hangs = Hears(lambda event: Deferred())
    bench = Bench(hangs)
    bench.observed.note(removed(1))
    bench.observed.note(removed(2))
    bench.tasks.cancel()
    assert hangs.heard == [removed(1)]
    assert bench.clock.getDelayedCalls() == []
