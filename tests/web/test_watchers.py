"""Who waits for facts, what he is told, and what other processes are told for his sake."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.mail import event as fact
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.web.feed import MOST
from mailgw.web.lookout import Lookout
from mailgw.web.reporter import BATCH_FACTS, BATCH_OCTETS, CELLS, FACT_OCTETS, Reporter
from mailgw.web.watchers import (
    LEASE_SECONDS,
    MOST_FILTERS,
    MOST_GATHER_SECONDS,
    MOST_WAIT_SECONDS,
    MOST_WAITING,
)
from mailgw.workers.calls import CALL_OCTETS
from tests.tables import each

NOW = 1_700_000_000.0
QUEUED = fact.Queued("s1", "q1", "192.0.2.1", "", "a@x.example", ("b@y.example",), 4096, 0.01)
DELIVERED = fact.Delivered("q1", "b@y.example", "out/y.example", "mx", 250, "2.0.0", "ok", 1, 0.2)


async def nobody() -> Sequence[Any]:
    return ()


async def nothing() -> Mapping[str, Any]:
    return {
        "webhooks": [], "books": [], "lost_events": None, "maildrop": None, "reload": {"faults": [], "succeeded": NOW},
    }


class Tower:
    """A lookout, its clock, and the filters that other processes were told of."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[Sequence[Mapping[str, object]]] = []
        self.lookout = Lookout(
            ["out"], [], self.clock, lambda: NOW + self.clock.seconds(), nobody, nothing, self.told.append)
        self.hear = self.lookout.hearing.hear

    def ask(self, **request: object) -> "Deferred[Any]":
        return Deferred.fromCoroutine(self.lookout.desk()["facts"]({"command": "facts", **request}))  # type: ignore[arg-type]

    def answer(self, **request: object) -> Any:
        return self.result(self.ask(**request))

    def result(self, asked: "Deferred[Any]") -> Any:
        found: list[Any] = []
        asked.addBoth(found.append)  # type: ignore[unused-awaitable] # below
        assert found, "it waits"
        if isinstance(found[0], BaseException) or hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)


@pytest.fixture
def tower() -> Tower:
    return Tower()


def test_what_is_there_is_told_at_once(tower: Tower) -> None:
    assert tower.answer()["facts"] == []
    tower.hear(QUEUED)
    answer = tower.answer(wait=20)
    assert [one["event"] for one in answer["facts"]] == ["queued"]
    assert tower.answer(after=answer["next"]) == {"facts": [], "next": answer["next"], "left_out": 0}


def test_who_waits_has_the_next_one_soon(tower: Tower) -> None:
    after = tower.answer()["next"]
    asked = tower.ask(after=after, wait=20)
    tower.advance(10)
    assert not asked.called
    tower.hear(QUEUED)
    tower.advance(0.25)
    assert tower.result(asked)["facts"][0]["number"] == after + 1


def test_who_waits_for_nothing_is_told_so(tower: Tower) -> None:
    tower.hear(QUEUED)
    asked = tower.ask(wait=2, filter={"event": "delivered"})
    tower.advance(1.75)
    assert not asked.called
    tower.advance(0.25)
    answer = tower.result(asked)
    assert (answer["facts"], answer["left_out"]) == ([], 0)
    assert tower.clock.getDelayedCalls() == [] or tower.told


def test_who_gathers_has_them_together(tower: Tower) -> None:
    asked = tower.ask(gather=0.5)
    tower.hear(QUEUED)
    tower.advance(0.25)
    tower.hear(DELIVERED)
    assert not asked.called
    tower.advance(0.25)
    assert [one["event"] for one in tower.result(asked)["facts"]] == ["queued", "delivered"]


def test_a_message_is_followed_from_one_answer_to_the_next(tower: Tower) -> None:
    meant = {"sender": "a@x.example"}
    tower.hear(QUEUED)
    after = tower.answer(filter=meant)["next"]
    tower.hear(DELIVERED)
    tower.hear(attrs.evolve(DELIVERED, queue_id="q2"))
    assert [one["queue_id"] for one in tower.answer(filter=meant, after=after)["facts"]] == ["q1"]


@each("asked", [
    {"after": -1}, {"after": "5"}, {"after": True}, {"limit": 0}, {"limit": MOST + 1}, {"limit": "5"}, {"wait": -1},
    {"wait": MOST_WAIT_SECONDS + 1}, {"gather": MOST_GATHER_SECONDS + 1}, {"wait": float("nan")}, {"filter": {"x": 1}},
])
def test_what_makes_no_sense_is_refused(asked: Any) -> None:
    with pytest.raises(RefusedRequest):
        Tower().answer(**asked)


def test_the_most_that_may_be_asked(tower: Tower) -> None:
    tower.hear(QUEUED)
    assert tower.answer(limit=MOST, wait=MOST_WAIT_SECONDS)["facts"]
    gathering = tower.ask(gather=MOST_GATHER_SECONDS)
    waiting = Deferred.fromCoroutine(tower.lookout.desk()["now"]({"wait": MOST_GATHER_SECONDS}))  # type: ignore[arg-type]
    tower.advance(MOST_GATHER_SECONDS)
    assert tower.result(gathering)["facts"]
    assert tower.result(waiting)["totals"]["in"] == 1
    too_long = Deferred.fromCoroutine(tower.lookout.desk()["now"]({"wait": MOST_GATHER_SECONDS + 0.1}))  # type: ignore[arg-type]
    with pytest.raises(RefusedRequest):
        tower.result(too_long)


def test_so_many_may_wait(tower: Tower) -> None:
    waiting = [tower.ask(wait=1) for _ in range(MOST_WAITING)]
    with pytest.raises(TemporaryFault):
        tower.answer(wait=1)
    tower.advance(1)
    assert all(one.called for one in waiting)
    assert tower.answer() == {"facts": [], "next": tower.lookout.hearing.feed.newest, "left_out": 0}


def test_so_many_filters_are_watched_until_their_time_is_over(tower: Tower) -> None:
    for number in range(MOST_FILTERS):
        tower.answer(filter={"queue_id": f"q{number}"})
    tower.answer(filter={"queue_id": "q0"})
    with pytest.raises(TemporaryFault):
        tower.answer(filter={"queue_id": "one more"})
    tower.advance(LEASE_SECONDS + 0.25)
    tower.answer(filter={"queue_id": "one more"})


def test_others_are_told_while_somebody_watches(tower: Tower) -> None:
    assert tower.told == []
    tower.answer(filter={"event": "queued"})
    assert tower.told == [[{"event": ["queued"]}]]
    tower.answer()
    assert tower.told[1:] == [[{"event": ["queued"]}, {}]]
    tower.advance(10)
    assert len(tower.told) == 4
    tower.answer(filter={"event": "queued"})
    tower.advance(20)
    assert tower.told[-1] == [{"event": ["queued"]}]
    count = len(tower.told)
    tower.advance(60)
    assert len(tower.told) == count
    assert tower.clock.getDelayedCalls() == []


def test_who_waits_is_told_at_the_end(tower: Tower) -> None:
    asked = tower.ask(wait=20)
    gathering = tower.ask(gather=5)
    now = Deferred.fromCoroutine(tower.lookout.desk()["now"]({"wait": 5}))  # type: ignore[arg-type]
    tower.result(Deferred.fromCoroutine(tower.lookout.close()))
    assert tower.result(asked)["facts"] == tower.result(gathering)["facts"] == []
    assert tower.result(now)["sessions"] is None
    assert tower.clock.getDelayedCalls() == []
    assert tower.answer(wait=20)["facts"] == []


def test_a_second_end_does_nothing(tower: Tower) -> None:
    """A start that fails closes what there is by then, and a stop may come twice: the threads are gone by that time."""
    done: list[tuple[Any, ...]] = []

    class Shop:
        reactor = tower.clock
        disk: Any = None

        def do(self, work: Callable[..., Any], *arguments: object) -> "Deferred[Any]":
            done.append(arguments)
            return defer.fail(FileNotFoundError()) if len(done) == 1 else defer.succeed(None)

    shop: Any = Shop()
    tower.lookout.keep_plots("/state/plots.json", shop)
    for _ in range(2):
        tower.result(Deferred.fromCoroutine(tower.lookout.close()))
    assert len(done) == 2, "read, and written, once"


# --- what a worker tells ------------------------------------------------------------------------------------


class Worker:
    """A reporter; ``told`` are its calls."""

    def __init__(self, tower: Tower | None = None) -> None:
        self.clock = Clock() if tower is None else tower.clock
        self.told: list[tuple[Any, ...]] = []
        self.reporter = Reporter(["out"], [], self.clock, lambda: NOW + self.clock.seconds(), self._tell)
        self.hear = self.reporter.hearing.hear
        self._tower = tower

    def _tell(self, *call: Any) -> None:
        self.told.append(call)
        if self._tower is not None:
            self._tower.lookout.take(call[0], call[1:])

    def seen(self) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.told if call[0] == "facts.seen"]


def test_what_a_worker_counts_is_told_each_second() -> None:
    worker = Worker()
    worker.hear(QUEUED)
    worker.hear(QUEUED)
    assert worker.told == []
    worker.clock.advance(1)
    ((name, delta),) = worker.told
    assert name == "facts.counted"
    assert ["facts", "queued", 2] in delta["cells"]
    worker.clock.advance(60)
    assert len(worker.told) == 1
    assert worker.clock.getDelayedCalls() == []


def test_what_a_worker_counted_is_told_at_its_end() -> None:
    worker = Worker()
    worker.hear(DELIVERED)
    with pytest.raises(StopIteration):
        worker.reporter.close().send(None)
    ((_, delta),) = worker.told
    assert delta["delivery_seconds"] == 0.2
    worker.hear(DELIVERED)
    assert worker.clock.getDelayedCalls() == []


def test_many_cells_go_in_several_calls() -> None:
    names = [f"backend-{'x' * 50}-{number}" for number in range(CELLS)]
    told: list[tuple[Any, ...]] = []
    clock = Clock()
    reporter = Reporter(names, [], clock, clock.seconds, lambda *call: told.append(call))
    for name in names:
        reporter.hearing.hear(attrs.evolve(DELIVERED, lane=name))
    clock.advance(1)
    assert len(told) == 2
    assert all(len(repr(call)) < CALL_OCTETS for call in told)
    assert ["delivery" in call[1] for call in told] == [True, False]
    assert sum(cell[-1] for call in told for cell in call[1]["cells"]) == 2 * CELLS


def test_nothing_is_seen_unless_somebody_watches() -> None:
    worker = Worker()
    worker.hear(QUEUED)
    worker.clock.advance(5)
    assert worker.seen() == []
    worker.reporter.watch([{"event": ["queued"]}])
    worker.clock.advance(0)
    ((facts, left_out),) = worker.seen()
    assert ([one["event"] for one in facts], left_out) == (["queued"], 0)
    assert "number" not in facts[0]
    worker.hear(DELIVERED)
    worker.hear(QUEUED)
    worker.clock.advance(0.5)
    assert [one["event"] for one in worker.seen()[1][0]] == ["queued"]
    worker.clock.pump([0.5] * 40)
    worker.hear(QUEUED)
    worker.clock.pump([0.5] * 10)
    assert len(worker.seen()) == 2
    assert worker.clock.getDelayedCalls() == []


def test_who_watches_on_misses_nothing_in_between() -> None:
    worker = Worker()
    worker.reporter.watch([{}])
    for number in range(10):
        worker.hear(attrs.evolve(QUEUED, queue_id=f"q{number}"))
        worker.reporter.watch([{}] if number % 2 else [{}, {"event": ["queued"]}])
        worker.clock.pump([0.5] * 4)
    assert [one["queue_id"] for facts, _ in worker.seen() for one in facts] == [f"q{number}" for number in range(10)]


def test_too_many_are_left_out_and_counted() -> None:
    worker = Worker()
    worker.reporter.watch([{}])
    worker.clock.advance(0)
    for _ in range(BATCH_FACTS + 5):
        worker.hear(fact.Removed("", 1))
    worker.clock.advance(0.5)
    ((facts, left_out),) = worker.seen()
    assert (len(facts), left_out) == (BATCH_FACTS, 5)


def test_what_is_long_is_shortened_and_a_call_is_bounded() -> None:
    worker = Worker()
    worker.reporter.watch([{}])
    worker.clock.advance(0)
    for number in range(60):
        many = ("ü" * 150 + "@y.example",) * (FACT_OCTETS // 300 + 50)
        worker.hear(attrs.evolve(QUEUED, queue_id=f"q{number}", recipients=many))
    worker.clock.advance(0.5)
    ((facts, left_out),) = worker.seen()
    assert len(facts) + left_out == 60
    assert facts[-1]["queue_id"] == "q59"
    assert facts[-1]["shortened"] is True
    assert 0 < len(repr(facts).encode()) < BATCH_OCTETS * 1.2 < CALL_OCTETS


def test_workers_tell_the_one_above_them(tower: Tower) -> None:
    workers = [Worker(tower), Worker(tower)]
    for worker in workers:
        worker.hear(QUEUED)
    asked = tower.ask(wait=20, gather=1)
    for worker in workers:
        worker.reporter.watch(tower.told[-1])
    workers[0].hear(DELIVERED)
    tower.advance(1)
    assert sorted(one["event"] for one in tower.result(asked)["facts"]) == ["delivered", "queued", "queued"]
    now = tower.result(Deferred.fromCoroutine(tower.lookout.desk()["now"]({})))  # type: ignore[arg-type]
    assert (now["totals"]["in"], now["totals"]["out"], now["rates"]["in"]) == (2, 1, 0.2)


@each("call", [("facts.counted",), ("facts.counted", 5), ("facts.seen", [], "x"), ("facts.other",)])
def test_calls_that_nobody_knows(call: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="no such call"):
        Tower().lookout.take(call[0], call[1:])


