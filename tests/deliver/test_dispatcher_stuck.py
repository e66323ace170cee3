"""What would wait for ever, or be tried twice, if the dispatcher forgot whom it has to wake: each was once a fault."""


import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailgw.deliver import lanes, places
from mailgw.interfaces import IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Agenda, Claim, Query
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Bounds, Shape
from mailgw.queue.replies import ReplyClass, ReplyClasses
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import ALICE, BOB, DEAD, EVE, LATER, NEVER, OK, START, House, ScriptedBackend
from tests.logged import LoggedFailures

ONE, TWO = Mailbox("a", "one.example"), Mailbox("a", "two.example")


@implementer(IShapedBackend)
class Hosted(ScriptedBackend):
    """All lanes lead to one host, unless they are said to lead elsewhere."""

    at_once = 1

    def __init__(self, *script: object) -> None:
        super().__init__(*script)
        self.hosts: dict[str, str] = {}
        self.answer: Deferred[None] | None = None  # what is waited for before a lane is shaped

    async def shape(self, lane: str) -> Shape:
        if self.answer is not None:
            await self.answer
        return Shape(Bounds(20, None), {f"host:{self.hosts.get(lane, 'big')}": Bounds(self.at_once, None)})


def test_a_lane_that_was_forgotten_while_it_waited_for_a_host_is_woken() -> None:
    backend = Hosted()
    house = House(backend)
    house.dispatcher.start()
    house.put(ONE)
    waits = house.put(TWO)
    result_of(house.dispatcher.give_back(lambda claim: claim.message.queue_id == waits))
    result_of(house.spool.remove(Query(queue_id=waits)))
    house.pass_time(130, 10)
    assert house.dispatcher._lanes.get("out/two.example") is None
    house.put(TWO)
    backend.let_go()
    backend.let_go()
    assert house.rows() == []


def test_what_is_owed_an_attempt_and_cannot_have_it_is_not_tried_twice() -> None:
    backend = Hosted()
    backend.always = {ONE: DEAD, TWO: DEAD, ALICE: OK}
    house = House(backend, spool=MemorySpool(lambda: house.now(), 1200.0))
    house.dispatcher.start()
    house.put(ONE)
    house.put(TWO)
    house.pass_time(80_000, 60)
    house.put(ONE)
    house.pass_time(6_200, 60)
    tried = len(backend.seen)
    shared = house.dispatcher._lanes._shared["out host:big"]
    shared.said_of = START  # as if nobody had been tried for long
    shared.open_at = house.clock.seconds() + 4000
    house.pass_time(3900, 60)
    assert [to for _, to in backend.seen[tried:] if to != (ALICE,)] == []
    assert house.dispatcher._places.waiting == 0, "it waits on disk"
    backend.always = {ONE: OK, TWO: OK, ALICE: OK}
    house.pass_time(1300, 60)
    assert sorted(to[0].domain for _, to in backend.seen[tried:]) == ["one.example", "one.example", "two.example"]
    assert house.rows() == []


def test_a_slow_destination_with_much_that_is_too_old_takes_nobodys_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", 4)
    backend = ScriptedBackend(concurrency=1)
    backend.always = {BOB: OK}
    house = House(backend)
    for _ in range(30):
        house.put(ALICE, claim=False)
    for row in house.spool._queue.values():
        row.rows[1].attempts = 1
    house.clock.advance(2 * 86400)
    house.dispatcher.start()
    house.pass_time(60, 1)
    assert house.dispatcher._places.waiting <= 8
    house.put(BOB, claim=house.dispatcher.has_room("out/example.net", ""))
    house.pass_time(5, 1)
    assert [to for _, to in backend.seen] == [(ALICE,), (BOB,)]


def test_what_an_order_gave_back_and_did_not_mean_is_tried_soon() -> None:
    class Unwell(MemorySpool):
        refuses = True

        async def release(self, claim: Claim) -> None:
            if self.refuses:
                self.refuses = False
                raise TemporaryFault("the disk is unwell")
            await super().release(claim)

    backend = Hosted()
    backend.always = {TWO: OK, BOB: OK}
    house = House(backend, spool=Unwell(lambda: house.now()))
    house.dispatcher.start()
    house.put(ONE)
    house.put(TWO)
    house.put(BOB)
    result_of(house.dispatcher.give_back(lambda claim: True))
    backend.let_go()
    house.pass_time(5, 1)
    assert [row.recipient for row in house.rows()] == [str(TWO)], "its lease was not given back"
    house.pass_time(3700)
    assert house.rows() == []


def test_a_plug_in_that_answers_nonsense_keeps_no_place(logged_failures: LoggedFailures) -> None:
    odd = Outcome(Permanence.TEMPORARY, Scope.HOST, Reply(45, "4.0.0", ("odd",)), "")
    backend = ScriptedBackend(odd, concurrency=1)
    house = House(backend, classes=ReplyClasses((ReplyClass("x", codes=("45x",)),)))
    house.put(BOB)
    assert [type(error) for error in logged_failures.take()] == [ValueError]
    house.put(EVE)
    backend.let_go()
    assert [row.recipient for row in house.rows()] == [str(BOB)]
    assert house.dispatcher._lanes.active == 0


def test_a_disk_without_room_is_not_asked_all_the_time_for_what_is_late() -> None:
    class Counting(MemorySpool):
        asked = 0

        async def agenda(self, since: float) -> Agenda:
            self.asked += 1
            return await super().agenda(since)

    spool = Counting(lambda: house.now(), late_seconds=10.0)
    house = House(ScriptedBackend(DEAD), spool=spool)
    house.dispatcher.start()
    house.put(BOB, claim=False)
    spool.is_full = True
    house.pass_time(60, 0.5)
    spool.asked = 0
    house.pass_time(60, 0.5)
    assert spool.asked <= 13


def test_who_never_says_where_a_lane_leads_does_not_keep_it_for_ever() -> None:
    backend = Hosted(OK)
    backend.answer = Deferred()
    house = House(backend)
    house.put(ONE)
    house.clock.advance(lanes.SHAPE_SECONDS - 1)
    assert backend.seen == []
    house.clock.advance(2)
    assert house.rows() == []


def test_a_lane_that_leads_elsewhere_by_now_does_not_wait_for_the_old_host() -> None:
    backend = Hosted(LATER)
    house = House(backend)
    house.dispatcher.start()
    house.put(TWO)   # tried again in five minutes
    house.put(ONE)   # which hangs there
    house.pass_time(280)
    backend.hosts["two.example"] = "other"
    backend.answer = answer = Deferred()
    house.pass_time(90, 10)
    assert [to for _, to in backend.seen] == [(TWO,), (ONE,)]
    answer.callback(None)
    assert [to for _, to in backend.seen] == [(TWO,), (ONE,), (TWO,)]


def test_a_message_that_waits_when_the_clock_is_put_back_waits_no_day() -> None:
    backend = ScriptedBackend(concurrency=1)
    backend.always = {ALICE: OK}
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)
    house.put(EVE)
    house.pass_time(60)
    house.step = -86400.0
    house.pass_time(60)
    result_of(house.dispatcher.give_back(lambda claim: True))
    backend.let_go(LATER)
    backend.always = {BOB: OK, EVE: OK}
    house.pass_time(600)
    assert house.rows() == []


def test_a_result_that_is_written_after_the_clock_was_put_back_is_mended() -> None:
    class Unwell(MemorySpool):
        is_unwell = True

        async def record(self, *args: object, **named: object) -> tuple[Claim, ...]:
            if self.is_unwell:
                raise TemporaryFault("the disk is unwell")
            return await super().record(*args, **named)  # type: ignore[arg-type]

    spool = Unwell(lambda: house.now())
    house = House(ScriptedBackend(LATER, OK), spool=spool)
    house.dispatcher.start()
    house.put(BOB)
    house.step = -86400.0
    house.pass_time(130)
    spool.is_unwell = False
    house.pass_time(60 + 60 + 3600 + 60)
    assert house.rows() == []


def test_what_a_full_disk_kept_in_memory_beyond_its_lease_is_told_of_once() -> None:
    house = House(Hosted(OK), spool=MemorySpool(lambda: house.now(), 1200.0))
    house.dispatcher.start()
    house.spool.is_full = False
    queue_id = house.put(BOB, claim=False)
    house.spool.is_full = True
    house.dispatcher.accept(result_of(house.spool.claim("out/example.net", 1)))
    house.pass_time(4 * 3600 + 300)
    assert house.names() == []
    house.spool.is_full = False
    house.pass_time(300, 5)
    assert house.rows() == []
    own = [event.name for event in house.events if getattr(event, "queue_id", "") == queue_id]
    assert own == ["delivered"], "it could be tried at once"


def test_at_the_limit_of_a_stop_a_result_that_was_refused_is_written_once_more() -> None:
    class Unwell(MemorySpool):
        refusals = 4

        async def record(self, *args: object, **named: object) -> tuple[Claim, ...]:
            if self.refusals:
                self.refusals -= 1
                raise TemporaryFault("the disk is unwell")
            return await super().record(*args, **named)  # type: ignore[arg-type]

    house = House(ScriptedBackend(OK), spool=Unwell(lambda: house.now()))
    house.put(BOB)
    house.pass_time(22, 1)  # the fourth time it was refused; the next one would be in a minute
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    house.pass_time(31, 1)
    assert stopped.called
    assert house.rows() == []


def test_a_stop_does_not_wait_for_where_a_notice_goes() -> None:
    backend = Hosted()
    house = House(backend)
    house.put(BOB)
    backend.answer = Deferred()
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    backend.let_go(NEVER)
    assert stopped.called
    assert [row.recipient for row in house.rows()] == [str(ALICE)]


def test_who_keeps_us_waiting_is_not_well_for_that() -> None:
    house = House(ScriptedBackend(concurrency=20))
    house.dispatcher.start()
    for _ in range(6):
        house.put(BOB)
    house.pass_time(800, 50)
    [facts] = house.dispatcher.lanes()
    assert (facts.window, facts.state) == (5, "well")
