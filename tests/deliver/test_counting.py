"""The census: taken again while somebody asks, in stretches, and never waited for."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.deliver.counting import FRESH_SECONDS, PATIENCE_SECONDS, RESTS, Counting
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Position, Stretch, Tally
from mailgw.net.tasks import TaskGroup
from mailgw.queue.census import Census


class Queue:
    """``count`` stretches of one recipient each; each takes ``seconds``."""

    def __init__(self, clock: Clock, count: int, seconds: float) -> None:
        self._clock = clock
        self.count = count
        self.seconds = seconds
        self.asked = 0
        self.fault: Exception | None = None

    async def stretch(self, after: Position | None) -> Stretch:
        self.asked += 1
        turn: Deferred[None] = Deferred()
        self._clock.callLater(self.seconds, turn.callback, None)
        await turn
        if self.fault is not None:
            raise self.fault
        at = 1 if after is None else after[1] + 1
        return Stretch((Tally("a", "", False, 1, 1, 0, 0, 1.0),), ("Q", at) if at < self.count else None)


class World:
    def __init__(self, count: int, seconds: float) -> None:
        self.clock = Clock()
        self.queue = Queue(self.clock, count, seconds)
        self.tasks = TaskGroup(lambda what, failure: failure.raiseException())
        self.counting = Counting(self.queue, self.clock, lambda: 1000.0 + self.clock.seconds(), self.tasks)  # type: ignore[arg-type]

    def census(self) -> tuple[int, float, bool]:
        told: list[Any] = []
        Deferred.fromCoroutine(self.counting.census()).addBoth(told.append)
        waited = 0.0
        while not told:
            self.clock.advance(0.01)
            waited += 0.01
        assert waited <= PATIENCE_SECONDS + 0.02
        census, at, is_whole = told[0]
        assert isinstance(census, Census)
        return census.recipients, round(at - 1000.0, 3), is_whole


def test_a_small_queue_is_counted_while_one_waits() -> None:
    world = World(2, 0.01)
    assert world.census() == (2, 0.06, True)


def test_of_a_large_one_what_is_counted_by_then_is_told() -> None:
    world = World(100, 0.01)
    count, at, is_whole = world.census()
    assert 0 < count < 5
    assert (at, is_whole) == (0.0, False)
    told: list[Any] = []
    Deferred.fromCoroutine(world.counting.census()).addBoth(told.append)
    assert told[0][2] is False, "nobody else waits"
    for _ in range(1000):
        world.clock.advance(0.01)
    assert world.queue.asked == 100
    assert world.census()[::2] == (100, True)
    took = 100 * 0.01 * (1 + RESTS)
    assert world.counting._next_at > took  # type: ignore[attr-defined]


def test_it_is_counted_again_when_somebody_asks_and_it_is_old() -> None:
    world = World(1, 0.01)
    assert world.census()[0] == 1
    world.queue.count = 2
    assert world.census()[0] == 1
    assert world.queue.asked == 1
    world.clock.advance(FRESH_SECONDS + 0.1)
    assert world.queue.asked == 1  # nobody wants to know
    assert world.census()[0] == 1  # the old one at once
    for _ in range(10):
        world.clock.advance(0.01)
    assert world.census()[0] == 2


def test_a_fault_leaves_what_was_known_and_another_try() -> None:
    world = World(1, 0.01)
    world.queue.fault = TemporaryFault("the disk is gone")
    assert world.census() == (0, 0.0, False)
    world.queue.fault = None
    world.clock.advance(FRESH_SECONDS + 0.1)
    assert world.census()[::2] == (1, True)


def test_a_stop_waits_for_no_count() -> None:
    world = World(100, 0.01)
    world.census()
    world.tasks.cancel()
    for _ in range(10):
        world.clock.advance(1.0)
    assert world.queue.asked < 10
