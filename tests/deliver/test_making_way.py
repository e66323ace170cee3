"""One dispatcher makes way for another on the same queue: nothing is tried twice, nothing is left behind."""

from twisted.internet.defer import Deferred

from mailgw.deliver.dispatcher import Dispatcher
from mailgw.mail import event as fact
from mailgw.mail.message import Claim
from mailgw.spool.memory import MemorySpool
from tests.deliver.dispatching import BOB, DEAD, NEVER, OK, RETRY, START, House, ScriptedBackend
from tests.tables import each


class Slow(MemorySpool):
    """Claims take their time when they are held up."""

    def __init__(self) -> None:
        super().__init__(lambda: START)
        self.is_held_up = False
        self.held_up: list[Deferred[None]] = []

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        if self.is_held_up:
            turn: Deferred[None] = Deferred()
            self.held_up.append(turn)
            await turn
        return await super().claim(lane, limit, after)


def make_way(house: House) -> tuple[Dispatcher, Dispatcher, "Deferred[None]"]:
    """The one that goes, the one that comes, and what is called when the first one has ended."""
    elder = house.dispatcher
    heir = house.dispatcher = house.another_dispatcher()
    heir.succeed(elder, lambda backend: True)
    heir.start()
    return elder, heir, Deferred.fromCoroutine(elder.retire(heir.look_through))


def test_what_waits_is_tried_by_the_next_one_and_nobody_twice() -> None:
    backend = ScriptedBackend(concurrency=2)
    house = House(backend)
    ids = [house.put(BOB) for _ in range(5)]
    assert len(backend.waiting) == 2
    _, _, gone = make_way(house)
    house.pass_time(60)
    assert len(backend.waiting) == 2  # those inside count for the next one, too
    backend.let_go()
    house.pass_time(5)
    assert len(backend.waiting) == 2  # it began one
    assert not gone.called
    while backend.waiting:
        backend.let_go()
        house.pass_time(5)
    assert gone.called
    assert sorted(queue_id for queue_id, _ in backend.seen) == sorted(ids)
    assert house.rows() == []


def test_a_claim_that_was_under_way_is_given_back() -> None:
    spool = Slow()
    backend = ScriptedBackend(*[OK] * 9)
    house = House(backend, spool=spool)
    house.put(BOB, claim=False)
    spool.is_held_up = True
    house.dispatcher.start()
    house.pass_time(2, 1.0)
    assert len(spool.held_up) == 1
    spool.is_held_up = False
    _, _, gone = make_way(house)
    house.pass_time(2, 1.0)
    spool.held_up.pop().callback(None)  # the elder has it, or the next one had it first
    house.pass_time(60, 1.0)
    assert gone.called
    assert len(backend.seen) == 1
    assert house.rows() == []


def test_a_notice_of_the_last_attempts_goes_by_the_next_one() -> None:
    backend = ScriptedBackend()
    house = House(backend)
    house.put(BOB)
    _, _, gone = make_way(house)
    backend.let_go(NEVER)
    house.pass_time(30)
    assert gone.called
    assert [row.recipient for row in house.rows()] == ["alice@example.org"]
    assert len(backend.waiting) == 1
    backend.let_go()
    house.pass_time(1)
    assert house.rows() == []
    assert house.names().count(fact.Bounced.name) == 1


def test_what_was_put_off_by_the_last_attempts_is_due_as_it_says() -> None:
    backend = ScriptedBackend()
    house = House(backend)
    house.put(BOB)
    make_way(house)
    backend.let_go(DEAD)
    house.pass_time(RETRY.schedule[0] - 30)
    assert len(backend.seen) == 1
    house.pass_time(60)
    assert len(backend.seen) == 2


@each("is_same", [True, False])
def test_a_destination_stays_unwell_where_its_backend_is_the_same(is_same: bool) -> None:
    backend = ScriptedBackend(*[DEAD] * 30)
    house = House(backend)
    house.put(BOB)
    tried = len(backend.seen)
    elder = house.dispatcher
    heir = house.dispatcher = house.another_dispatcher()
    heir.succeed(elder, lambda name: is_same)
    heir.start()
    Deferred.fromCoroutine(elder.retire(heir.look_through))
    house.put(BOB)  # a fresh one
    assert len(backend.seen) - tried == (0 if is_same else 1)


def test_one_after_the_other_makes_way_at_once() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    for _ in range(3):
        house.put(BOB)
    ends = [make_way(house)[2] for _ in range(4)]
    house.pass_time(30)
    assert len(backend.waiting) == 1
    while backend.waiting:
        backend.let_go()
        house.pass_time(5)
    assert all(end.called for end in ends)
    assert len(backend.seen) == 3
    assert house.rows() == []


def test_a_stop_cuts_off_the_one_that_makes_way() -> None:
    backend = ScriptedBackend()
    house = House(backend)
    house.put(BOB)
    elder, _, gone = make_way(house)
    stopped = Deferred.fromCoroutine(elder.stop(20.0))
    house.pass_time(30)
    assert gone.called
    assert stopped.called
    assert [row.attempts for row in house.rows()] == [0]
