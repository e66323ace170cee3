"""The dispatcher while the operator gives orders: what waits in its memory, and destinations that are suspended."""

from mailgw.mail.message import Query
from tests.deliver.dispatching import ALICE, BOB, EVE, OK, House, ScriptedBackend
from tests.driving import result_of


def test_what_is_given_back_can_be_held_and_what_is_tried_goes_on() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    tried = house.put(BOB)
    waits = house.put(EVE)
    stays = house.put(EVE)
    result_of(house.dispatcher.give_back(lambda claim: claim.message.queue_id in (tried, waits)))
    assert result_of(house.spool.hold(Query(queue_id=tried))) == 0
    assert result_of(house.spool.hold(Query(queue_id=waits))) == 1
    backend.let_go()
    backend.let_go()
    house.pass_time(600)
    assert [queue_id for queue_id, _ in backend.seen] == [tried, stays]
    result_of(house.spool.unhold(Query()))
    house.dispatcher.poke()
    house.pass_time(5, 1)
    backend.let_go()
    house.pass_time(5, 1)
    assert house.rows() == []


def test_a_suspended_destination_is_tried_by_nobody_until_it_is_resumed() -> None:
    backend = ScriptedBackend(concurrency=1)
    backend.always = {ALICE: OK}
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)
    house.put(EVE)
    result_of(house.spool.suspend("example.net"))
    result_of(house.dispatcher.give_back(lambda claim: claim.lane == "out/example.net"))
    backend.let_go()
    house.put(EVE)
    house.put(ALICE)
    house.pass_time(3600)
    assert [to for _, to in backend.seen] == [(BOB,), (ALICE,)]
    result_of(house.spool.resume("example.net"))
    house.dispatcher.poke()
    for _ in range(2):
        house.pass_time(10, 1)
        backend.let_go()
    house.pass_time(10, 1)
    assert house.rows() == []
