"""The dispatcher while the operator gives orders: what waits in its memory, and destinations that are suspended."""

import re

from mailgw.mail.message import Query
from mailgw.mail.outcome import Scope, refused
from mailgw.mail.reply import Reply
from mailgw.queue.replies import LaneOrder, ReplyClass, ReplyClasses
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import ALICE, BOB, DEAD, EVE, OK, House, ScriptedBackend


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


def test_how_a_destination_is_stays_known_over_orders() -> None:
    """Also where nothing waits in the lane any more."""
    house = House(ScriptedBackend(*[DEAD] * 3))
    house.dispatcher.start()
    house.pass_time(86400, 600)  # the reactor's clock counts from nobody knows when
    began = house.now()
    house.put(BOB)
    [before] = house.dispatcher.lanes()
    assert (before.state, before.unwell_since) == ("unwell", began)
    result_of(house.spool.hold(Query()))
    house.dispatcher.poke()
    house.pass_time(120)
    assert result_of(house.spool.suspend("example.net"))
    result_of(house.dispatcher.give_back(lambda claim: True))
    house.pass_time(120)
    assert result_of(house.spool.resume("example.net"))
    house.dispatcher.poke()
    house.pass_time(120)
    [facts] = house.dispatcher.lanes()
    assert (facts.state, facts.unwell_since, facts.said) == ("unwell", began, "451 4.4.1 no answer")
    result_of(house.spool.unhold(Query()))
    house.dispatcher.poke()
    house.pass_time(2, 1)
    [facts] = house.dispatcher.lanes()
    assert facts.unwell_since == began
    house.pass_time(4 * 3600.0)
    assert len(house.backend.seen) > 3  # type: ignore[attr-defined]


def test_a_lane_that_a_class_of_replies_pauses_is_not_unwell() -> None:
    paused = ReplyClass("rest", texts=(re.compile("rest"),), lane=LaneOrder.PAUSE)
    said = refused(Reply(421, "4.7.0", ("let me rest",)), Scope.RECIPIENT, "mx [192.0.2.9]:25")
    house = House(ScriptedBackend(said), classes=ReplyClasses((paused,)))
    house.put(BOB)
    [facts] = house.dispatcher.lanes()
    assert (facts.state, facts.opens_at, facts.said) == (
        "paused", house.now() + 1.0, "mx [192.0.2.9]:25: 421 4.7.0 let me rest")
