"""Thousands of destinations: a turn of the reactor has its fill and no more, and who is dead costs next to nothing."""

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from mailgw.deliver import lanes as many_lanes
from mailgw.deliver.dispatcher import LONGEST_VAIN_LOOK_SECONDS
from mailgw.deliver.lanes import REMEMBER_SECONDS
from mailgw.deliver.steps import LANES, MESSAGES, in_steps
from mailgw.interfaces import IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Agenda, Claim, Notice, Query, Settlement
from mailgw.mail.shape import Bounds, Shape
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import DEAD, OK, RETRY, House, ScriptedBackend
from tests.tables import each


class Turns(Clock):
    """One call at a time is one turn of the reactor."""

    def turn(self) -> bool:
        """Make the call that is due now; False for none."""
        if not self.calls or self.calls[0].getTime() > self.seconds():
            return False
        call = self.calls.pop(0)
        call.called = 1
        call.func(*call.args, **call.kw)
        return True


def somebody(number: int) -> Mailbox:
    return Mailbox("a", f"d{number}.example")


class Crowd(House):
    """With a clock whose turns can be counted, and mail on disk for so many destinations."""

    def __init__(self, backend: ScriptedBackend, count: int, spool: MemorySpool | None = None) -> None:
        super().__init__(backend, spool=spool or MemorySpool(lambda: self.now()))
        self.backend: ScriptedBackend = backend
        self.clock: Turns = Turns()
        self.dispatcher = self.another_dispatcher()
        for number in range(count):
            self.put(somebody(number), claim=False)

    def begun_in_each_turn(self) -> list[int]:
        begun, seen = [], len(self.backend.seen)
        while self.clock.turn():
            begun.append(len(self.backend.seen) - seen)
            seen = len(self.backend.seen)
        return begun


@each(("count", "turns"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (6, 3), (7, 3)])
def test_a_step_has_so_many_and_the_next_turn_has_the_others(count: int, turns: int) -> None:
    clock, done = Turns(), []
    running = Deferred.fromCoroutine(in_steps(clock, 3, range(count), done.append))
    taken = 1
    assert len(done) == min(count, 3)
    while clock.turn():
        taken += 1
        assert len(done) == min(count, 3 * taken)
    assert (running.called, done, taken) == (True, list(range(count)), turns)


def test_a_step_that_is_cancelled_leaves_no_timer() -> None:
    clock, done = Turns(), []
    running = Deferred.fromCoroutine(in_steps(clock, 1, range(3), done.append))
    failures: list[object] = []
    running.addErrback(failures.append)
    running.cancel()
    assert (done, len(failures), clock.getDelayedCalls()) == ([0], 1, [])


@each("count", [LANES, LANES + 1])
def test_one_turn_works_on_so_many_lanes(count: int) -> None:
    house = Crowd(ScriptedBackend(), count)
    house.dispatcher.start()
    begun = house.begun_in_each_turn()
    assert [some for some in begun if some] == [LANES, count - LANES][:1 + (count > LANES)]


def test_a_poke_works_on_so_many_lanes_in_one_turn() -> None:
    house = Crowd(ScriptedBackend(), 2 * LANES)
    house.backend.always = {somebody(number): DEAD for number in range(2 * LANES)}
    house.dispatcher.start()
    house.begun_in_each_turn()
    house.clock.advance(0.5)
    seen = len(house.backend.seen)
    result_of(house.spool.retry(Query()))
    house.dispatcher.poke()
    begun = [len(house.backend.seen) - seen, *house.begun_in_each_turn()]
    assert max(begun) == LANES
    assert sum(begun) == 2 * LANES


class RecordingSpool(MemorySpool):
    records = 0

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        self.records += 1
        return await super().record(claim, settlements, notices)


@each("count", [MESSAGES, MESSAGES + 1])
def test_one_turn_says_what_is_to_be_said_of_so_many(count: int) -> None:
    spool = RecordingSpool(lambda: house.now())
    house = Crowd(ScriptedBackend(), 0, spool)
    for _ in range(count):
        house.put(somebody(0), claim=False)
    house.step = RETRY.warn_after
    result_of(house.spool.suspend("d0.example"))
    house.dispatcher.start()
    said, records = [], 0
    while house.clock.turn():
        said.append(spool.records - records)
        records = spool.records
    assert [some for some in said if some] == [MESSAGES, count - MESSAGES][:1 + (count > MESSAGES)]


# --- who is asleep ----------------------------------------------------------------------------------------------


class CountingSpool(MemorySpool):
    looks = claims = 0

    async def agenda(self, since: float) -> Agenda:
        self.looks += 1
        return await super().agenda(since)

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        self.claims += 1
        return await super().claim(lane, limit, after)


@implementer(IShapedBackend)
class Shaped(ScriptedBackend):
    shapes = 0

    async def shape(self, lane: str) -> Shape:
        self.shapes += 1
        return Shape(Bounds(20, None), {f"host:{lane}": Bounds(20, None)})


def test_a_dead_destination_costs_its_probes_and_no_more() -> None:
    spool = CountingSpool(lambda: house.now())
    backend = Shaped()
    backend.always = {somebody(0): DEAD}
    house = House(backend, spool=spool)
    for _ in range(50):
        house.put(somebody(0), claim=False)
    house.dispatcher.start()
    house.pass_time(6 * 3600, 10)
    assert backend.shapes <= len(backend.seen) + 1, "DNS is asked when it is to be tried"
    assert spool.claims <= 2 * len(backend.seen) + 1


def test_looks_that_find_nothing_to_do_are_made_less_often_and_find_others_soon() -> None:
    spool = CountingSpool(lambda: house.now())
    backend = ScriptedBackend(concurrency=10)
    backend.always = {somebody(0): DEAD, somebody(1): OK}
    house = House(backend, spool=spool)
    queue_ids = [house.put(somebody(0), claim=False) for _ in range(400)]
    house.dispatcher.start()
    house.pass_time(3600, 1)  # it is dead, and probed once in a while
    lane = house.dispatcher._lanes.get("out/d0.example")
    assert lane is not None
    for number, queue_id in enumerate(queue_ids):
        spool._wait(spool._queue[queue_id].rows[1], house.now() + number / 2)
    other = house.put(somebody(1), claim=False)
    due = house.now() + 100.1
    spool._wait(spool._queue[other].rows[1], due)
    looks, seen = spool.looks, len(backend.seen)
    while other not in {queue_id for queue_id, _ in backend.seen}:
        house.clock.advance(0.25)
    assert due <= house.now() <= due + LONGEST_VAIN_LOOK_SECONDS + 0.25
    assert len(backend.seen) - seen < 5
    assert spool.looks - looks < 40


# --- who is forgotten -------------------------------------------------------------------------------------------


@each(("most", "remembered"), [(many_lanes.MAX_LANES, REMEMBER_SECONDS + max(RETRY.schedule)), (1, REMEMBER_SECONDS)])
def test_what_is_unwell_without_work_is_remembered_for_a_while(most: int, remembered: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_lanes, "MAX_LANES", most)
        backend = Shaped(DEAD)
        house = House(backend)
        house.dispatcher.start()
        house.put(somebody(0))
        house.clock.advance(0.5)
        result_of(house.spool.remove(Query()))
        lanes = house.dispatcher._lanes
        house.pass_time(remembered - 10, 10)
        assert lanes.get("out/d0.example") is not None
        house.pass_time(130, 10)
        assert lanes.get("out/d0.example") is None
        house.pass_time(max(RETRY.schedule) + 130, 10)
        assert (lanes._shared, lanes._unnamed, lanes._remembered) == ({}, set(), [])
