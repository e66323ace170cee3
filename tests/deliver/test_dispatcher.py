"""The dispatcher: first attempts from memory, retries, bounces, trouble of every kind, and nothing lost."""

import email
import random
import re
from collections.abc import Mapping, Sequence

import attrs
import pytest
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailgw.deliver import lanes, places, records
from mailgw.interfaces import IShapedBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Agenda, Claim, Message, Query, RowState
from mailgw.mail.outcome import Outcome, Scope, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Bounds, Shape
from mailgw.queue import dsn
from mailgw.queue import lanes as queue_lanes
from mailgw.queue.lanes import MAX_WAITING
from mailgw.queue.reasons import outcome_of
from mailgw.queue.replies import LaneOrder, MessageOrder, ReplyClass, ReplyClasses
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import (
    ADMIN,
    ALICE,
    BOB,
    DEAD,
    EVE,
    LATER,
    NEVER,
    OK,
    RETRY,
    START,
    House,
    ScriptedBackend,
)
from tests.logged import LoggedFailures
from tests.tables import each


def test_a_delivered_message_is_forgotten() -> None:
    house = House(ScriptedBackend(OK))
    house.put(BOB)
    assert house.rows() == []
    assert house.names() == ["delivered"]


def test_recipients_of_one_lane_share_an_attempt() -> None:
    backend = ScriptedBackend(OK)
    house = House(backend)
    queue_id = house.put(BOB, EVE)
    assert backend.seen == [(queue_id, (BOB, EVE))]


def test_what_was_tried_in_vain_is_tried_by_the_schedule() -> None:
    backend = ScriptedBackend(LATER, LATER, LATER, LATER, OK)
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)
    [row] = house.rows()
    assert (row.due, row.attempts, row.state) == (START + 300, 1, RowState.WAITING)
    assert row.reason == "mx.example.net [192.0.2.9]:25: 451 4.2.1 not now"
    tried = []
    while house.rows():
        before = len(backend.seen)
        house.pass_time(30)
        if len(backend.seen) > before:
            tried.append(round(house.clock.seconds()))
    gaps = [later - earlier for earlier, later in zip([0, *tried], tried, strict=False)]
    assert gaps == pytest.approx([300, 900, 3600, 3600], abs=60)
    assert house.names() == ["deferred"] * 4 + ["delivered"]


def test_those_who_failed_together_are_tried_together() -> None:
    backend = ScriptedBackend(DEAD, OK)
    house = House(backend, retry=attrs.evolve(RETRY, jitter=0.5), chance=random.Random(7).random)
    house.dispatcher.start()
    everyone = [Mailbox(f"u{number}", "example.net") for number in range(20)]
    house.put(*everyone)
    assert len({row.due for row in house.rows()}) == 1
    house.pass_time(500)
    assert [len(to) for _, to in backend.seen] == [20, 20]


def test_a_refusal_for_good_goes_back_to_the_sender() -> None:
    house = House(ScriptedBackend(NEVER))
    queue_id = house.put(BOB)
    [row] = house.rows()
    assert (row.sender, row.recipient, row.lane) == ("", str(ALICE), "out/example.org")
    assert row.queue_id.startswith(queue_id)
    bounce = email.message_from_bytes(result_of(house.spool.content(row.queue_id, 100_000)) or b"")
    assert bounce.get_content_type() == "multipart/report"
    assert "no such user" in str(bounce)
    assert "<1@x>" in str(bounce)
    assert house.names() == ["bounced"]


def test_each_recipient_has_its_own_fate_and_one_bounce_tells_of_all_that_failed() -> None:
    eve2 = Mailbox("eve2", "example.net")
    house = House(ScriptedBackend({BOB: OK, EVE: NEVER, eve2: NEVER, ALICE: LATER}))
    house.put(BOB, EVE, eve2, ALICE, lane="out")
    assert [(r.sender, r.recipient) for r in house.rows()] == [(str(ALICE), str(ALICE)), ("", str(ALICE))]


def test_what_gets_too_old_goes_back_after_a_last_attempt() -> None:
    backend = ScriptedBackend()
    backend.always = {BOB: LATER, ALICE: OK}
    house = House(backend)
    house.dispatcher.start()
    queue_id = house.put(BOB)
    house.pass_time(86400 - 60, 60)
    tried = len(backend.seen)
    assert [row.queue_id for row in house.rows() if row.sender] == [queue_id]
    house.pass_time(300)
    assert len([one for one in backend.seen if one[0] == queue_id]) == len(
        [one for one in backend.seen[:tried] if one[0] == queue_id]
    ) + 1
    assert "bounced" in house.names()


def test_a_host_that_was_down_for_days_still_tries_once() -> None:
    backend = ScriptedBackend(LATER, OK)
    house = House(backend)
    house.put(BOB)
    house.clock.advance(10 * 86400)
    house.dispatcher.start()
    house.pass_time(60)
    assert house.rows() == []
    assert house.names() == ["deferred", "delivered"]


def test_the_sender_is_told_of_the_delay_once() -> None:
    backend = ScriptedBackend()
    backend.always = {BOB: LATER, ALICE: OK}
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)
    house.pass_time(12 * 3600)
    assert house.names().count("delay_warning") == 1
    assert [to for _, to in backend.seen if to == (ALICE,)] == [(ALICE,)]


def test_a_bounce_that_fails_is_held_and_the_postmaster_gets_a_copy() -> None:
    house = House(ScriptedBackend(NEVER, NEVER, OK), postmaster=ADMIN)
    house.put(BOB)
    assert [to for _, to in house.backend.seen] == [(BOB,), (ALICE,), (ADMIN,)]  # type: ignore[attr-defined]
    [row] = house.rows()
    assert (row.state, row.recipient, row.sender) == (RowState.HELD, str(ALICE), "")
    said = "mx.example.net [192.0.2.9]:25: 550 5.1.1 no such user"
    assert row.reason == f"could not be returned, it has no sender: {said}"
    assert house.names() == ["bounced", "held", "delivered"]


def test_a_copy_for_the_postmaster_that_fails_makes_no_copy() -> None:
    house = House(ScriptedBackend(NEVER, NEVER, NEVER), postmaster=ADMIN)
    house.put(BOB)
    assert [row.state for row in house.rows()] == [RowState.HELD, RowState.HELD]


def test_a_sender_that_no_route_serves_cannot_be_told() -> None:
    house = House(ScriptedBackend(NEVER))
    house.lanes[str(ALICE)] = None
    house.put(BOB)
    [row] = house.rows()
    assert (row.state, row.recipient) == (RowState.HELD, str(BOB))
    assert row.reason.startswith(f"could not be returned, no route leads to {ALICE}: mx.example.net [192.0.2.9]:25: ")
    assert str(outcome_of(row.reason).reply) == "550 5.1.1 no such user", "what is said of it when it is released"


@each("says", [None, {}, "delivered", {BOB: "250"}, [OK], 250])
def test_a_backend_that_talks_nonsense_loses_nothing(says: object) -> None:
    house = House(ScriptedBackend(says if says is not None else object()))
    house.put(BOB)
    [row] = house.rows()
    assert (row.state, row.attempts) == (RowState.WAITING, 1)
    assert house.names().count("trouble") == 1


@pytest.mark.parametrize("raised", [ValueError("bug"), OSError("disk"), TemporaryFault("db")])
def test_a_backend_that_raises_loses_nothing(raised: Exception, logged_failures: LoggedFailures) -> None:
    house = House(ScriptedBackend(raised))
    house.put(BOB)
    assert logged_failures.take() == [raised]
    [row] = house.rows()
    assert (row.state, row.attempts) == (RowState.WAITING, 1)
    assert type(raised).__name__ in row.reason
    [trouble] = [event for event in house.events if isinstance(event, fact.Trouble)]
    assert trouble.why == f"raised {type(raised).__name__}"


def test_a_backend_that_hangs_is_given_up() -> None:
    house = House(ScriptedBackend())
    house.dispatcher.start()
    house.put(BOB)
    house.pass_time(590)
    assert house.rows()[0].state == RowState.ACTIVE
    house.pass_time(90)
    [row] = house.rows()
    assert (row.state, row.attempts) == (RowState.WAITING, 1)
    assert "600 seconds" in row.reason
    assert [event for event in house.events if isinstance(event, fact.Trouble)] == [
        fact.Trouble("backend out", "did not answer within 600 seconds", "", row.queue_id)]


def test_a_backend_that_says_what_it_knows_when_its_time_is_over_is_no_trouble_of_ours() -> None:
    backend = ScriptedBackend()
    backend.knows = {BOB: LATER}
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)
    house.pass_time(680)
    assert house.rows()[0].attempts == 1
    assert "trouble" not in house.names()


def test_what_a_backend_knows_when_it_is_given_up_counts() -> None:
    backend = ScriptedBackend()
    backend.knows = {BOB: OK, EVE: LATER, ADMIN: NEVER}
    backend.always = {ALICE: OK}
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB, EVE, ADMIN, lane="out")
    house.pass_time(680)
    assert [(row.recipient, row.attempts) for row in house.rows()] == [(str(EVE), 1)]
    assert house.names() == ["delivered", "deferred", "bounced", "delivered"]


@each("knows", [{EVE: LATER}, None])
def test_rerouted_mail_that_is_given_up_keeps_what_is_known(knows: dict[Mailbox, Outcome] | None) -> None:
    backend = ScriptedBackend()
    backend.always = {BOB: OK}
    backend.knows = knows
    house = House(backend)
    house.dispatcher.start()
    someone = Mailbox("someone", "example.com")
    house.lanes[str(BOB)] = "out/bob"
    house.put(BOB, EVE, someone, lane="gone")
    house.pass_time(680)
    assert [(row.recipient, row.attempts) for row in house.rows()] == [(str(EVE), 1), (str(someone), 1)]
    assert (someone,) not in [to for _, to in backend.seen]


def test_no_more_attempts_at_once_than_the_backend_bears() -> None:
    backend = ScriptedBackend(concurrency=2)
    house = House(backend)
    for _ in range(5):
        house.put(BOB)
    house.put(ALICE)
    assert [to for _, to in backend.seen] == [(BOB,), (BOB,), (ALICE,)]
    backend.let_go()
    assert len(backend.seen) == 4
    for _ in range(5):
        backend.let_go()
    assert house.rows() == []


def test_a_lane_that_is_full_lets_mail_wait_on_disk_and_fetches_it_later() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    house.dispatcher.start()
    for number in range(MAX_WAITING + 1):
        sender = (ALICE, ADMIN)[number % 2]
        assert house.dispatcher.has_room("out/example.net", str(sender))
        house.put(BOB, sender=sender)
    assert not house.dispatcher.has_room("out/example.net", str(ALICE))
    assert house.dispatcher.has_room("out/example.org", "")
    house.put(BOB, claim=False)
    for _ in range(300):
        if not backend.waiting:
            break
        backend.let_go()
        house.clock.advance(0.6)
    assert house.rows() == []
    assert len(backend.seen) == MAX_WAITING + 2


def test_a_dead_destination_gets_one_probe_at_a_time_and_others_do_not_notice() -> None:
    backend = ScriptedBackend(DEAD, concurrency=10)
    house = House(backend)
    house.put(BOB)
    for _ in range(3):
        house.put(EVE)
    house.put(ALICE)
    assert [to for _, to in backend.seen] == [(BOB,), (ALICE,)]
    house.clock.advance(1)
    assert [to for _, to in backend.seen] == [(BOB,), (ALICE,), (EVE,)]
    backend.let_go()
    assert len(backend.seen) == 3
    backend.let_go()
    assert [to for _, to in backend.seen[3:]] == [(EVE,), (EVE,)]


def test_trouble_with_one_recipient_does_not_slow_the_lane() -> None:
    backend = ScriptedBackend(LATER, OK)
    house = House(backend)
    house.put(BOB)
    house.put(EVE)
    assert len(backend.seen) == 2


class RefusingSpool(MemorySpool):
    """A disk that takes no record until it is told to."""

    refuses = 0

    async def record(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        if self.refuses:
            self.refuses -= 1
            raise TemporaryFault("disk full")
        return await super().record(*args, **kwargs)  # type: ignore[arg-type]


@each("outcome", [OK, NEVER, LATER])
def test_a_result_that_the_disk_refuses_is_written_again_and_not_delivered_again(outcome: Outcome) -> None:
    spool = RefusingSpool(lambda: START)
    backend = ScriptedBackend(outcome)
    house = House(backend, spool=spool)
    spool.refuses = 2
    house.put(BOB)
    assert house.rows()[0].state == RowState.ACTIVE
    house.clock.advance(1)
    house.clock.advance(5)
    assert len([one for one in backend.seen if one[1] == (BOB,)]) == 1
    assert [row.attempts for row in house.rows() if row.recipient == str(BOB)] == ([1] if outcome is LATER else [])


def test_nothing_is_attempted_while_results_could_not_be_written() -> None:
    backend = ScriptedBackend(OK)
    house = House(backend)
    house.put(BOB, claim=False)
    house.spool.is_full = True
    house.dispatcher.start()
    house.clock.advance(1)
    assert backend.seen == []
    house.spool.is_full = False
    house.pass_time(10, 1)
    assert len(backend.seen) == 1


def test_the_operators_retry_is_not_kept_waiting() -> None:
    backend = ScriptedBackend(DEAD, OK)
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)
    assert result_of(house.spool.retry(Query())) == 1
    house.dispatcher.poke()
    house.clock.advance(1)
    assert house.rows() == []


def test_what_the_operator_removed_while_it_was_tried_stays_removed() -> None:
    backend = ScriptedBackend()
    house = House(backend)
    house.put(BOB)
    assert result_of(house.spool.remove(Query())) == 1
    backend.let_go(LATER)
    assert house.rows() == []


def test_a_backend_that_is_gone_leaves_its_mail_to_the_routes_of_today() -> None:
    backend = ScriptedBackend(OK)
    house = House(backend)
    house.put(BOB, lane="gone/example.net")
    assert house.rows() == []
    house.lanes[str(EVE)] = None
    house.put(EVE, lane="gone")
    [row] = house.rows()
    assert (row.attempts, "gone" in row.reason) == (1, True)


def test_a_stop_waits_for_what_runs_and_begins_nothing() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    house.put(BOB)
    house.put(BOB)
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    assert not stopped.called
    assert not house.dispatcher.has_room("out/example.net", str(ALICE))
    backend.let_go()
    assert stopped.called
    assert len(backend.seen) == 1
    assert len(house.rows()) == 1


def test_a_stop_has_a_limit_and_what_it_cut_off_is_not_counted() -> None:
    house = House(ScriptedBackend())
    house.put(BOB)
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    house.clock.advance(31)
    assert stopped.called
    assert [row.attempts for row in house.rows()] == [0]
    assert house.clock.getDelayedCalls() == []


@each("lane", ["out", "gone"])
def test_what_a_stop_cuts_off_is_settled_as_far_as_it_is_known(lane: str) -> None:
    backend = ScriptedBackend()
    backend.knows = {BOB: OK, EVE: LATER, Mailbox("no", "example.net"): NEVER}
    house = House(backend)
    house.put(*backend.knows, lane=lane)
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    house.clock.advance(31)
    assert stopped.called
    left = [(row.recipient, row.attempts, row.state) for row in house.rows()]
    assert left == [(str(EVE), 0, RowState.ACTIVE), (str(ALICE), 0, RowState.ACTIVE)]
    assert house.names() == ["delivered", "bounced"]
    result_of(house.spool.close())
    assert {row.state for row in house.rows()} == {RowState.WAITING}


def test_what_ends_by_itself_while_the_gateway_stops_is_counted() -> None:
    backend = ScriptedBackend()
    house = House(backend)
    house.put(BOB)
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    backend.let_go(LATER)
    assert stopped.called
    assert [row.attempts for row in house.rows()] == [1]


def test_a_stop_ends_although_the_disk_takes_no_results() -> None:
    spool = RefusingSpool(lambda: START)
    backend = ScriptedBackend()
    backend.knows = {BOB: OK}
    house = House(backend, spool=spool)
    spool.refuses = 1000
    house.put(BOB)
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    house.clock.advance(31)
    assert stopped.called
    assert house.clock.getDelayedCalls() == []


def test_a_thousand_attempts_that_end_at_once_need_no_deep_stack() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    for _ in range(MAX_WAITING):
        house.put(BOB)
    backend.script = [OK] * MAX_WAITING
    backend.let_go()
    assert house.rows() == []


# --- facts, memory, turns, leases, dead destinations ------------------------------------------------

def test_a_fact_is_noted_once() -> None:
    house = House(ScriptedBackend({BOB: OK, EVE: NEVER}))
    house.put(BOB, EVE, lane="out")
    assert house.names() == ["delivered", "bounced"]


def test_who_was_named_twice_gets_one_copy() -> None:
    backend = ScriptedBackend(OK)
    house = House(backend)
    queue_id = house.put(BOB, BOB)
    assert backend.seen == [(queue_id, (BOB,))]
    assert house.rows() == []


def test_what_waited_too_long_in_memory_is_not_tried_twice() -> None:
    # A lease lasts 1200 s here; an attempt that began late in it would still run when it ends.
    backend = ScriptedBackend(concurrency=1)
    house = House(backend, spool=MemorySpool(lambda: START + house.clock.seconds(), lease_seconds=1200.0))
    house.dispatcher.start()
    queue_ids = [house.put(BOB), house.put(EVE), house.put(BOB)]
    for _ in queue_ids:
        house.pass_time(590)
        backend.let_go()
    house.pass_time(2000)
    assert [queue_id for queue_id, _ in backend.seen] == queue_ids
    assert house.rows() == []


def test_what_waits_in_memory_is_bounded_over_all_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", 10)
    monkeypatch.setattr(lanes, "MAX_ATTEMPTS", 4)
    backend = ScriptedBackend()
    house = House(backend)
    house.dispatcher.start()
    everyone = [Mailbox("a", f"d{number}.example") for number in range(60)]
    for one in everyone:
        house.put(one, claim=house.dispatcher.has_room(f"out/{one.domain}", ""))
    assert sum(row.state == RowState.ACTIVE for row in house.rows()) == 4 + 2 * 10
    for _ in range(200):
        while backend.waiting:
            backend.let_go()
        house.clock.advance(0.6)
    assert house.rows() == []
    assert len(backend.seen) == len(everyone)


def test_a_slow_destination_does_not_take_the_others_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", 10)
    house = House(ScriptedBackend(concurrency=1))
    for number in range(1 + 10):
        sender = (ALICE, ADMIN)[number % 2]
        assert house.dispatcher.has_room("out/example.net", str(sender))
        house.put(BOB, sender=sender)
    assert not house.dispatcher.has_room("out/example.net", str(ALICE))
    assert house.dispatcher.has_room("out/example.org", "")


@pytest.fixture
def short_lanes(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many may wait in a lane: so few that what is more takes no time to make."""
    monkeypatch.setattr(places, "MAX_WAITING", 12)
    monkeypatch.setattr(queue_lanes, "MAX_WAITING", 12)
    return 12


def test_notices_that_flood_a_lane_wait_on_disk(short_lanes: int) -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    house.dispatcher.start()
    for number in range(3 * short_lanes):
        someone = Mailbox(f"u{number}", "example.net")
        backend.always[someone] = NEVER
        house.put(someone)
    # Each was refused; their bounces wait for one sender's lane, whose only slot is taken.
    assert len(backend.waiting) == 1
    assert sum(row.state == RowState.WAITING for row in house.rows()) == short_lanes - 1
    for _ in range(3 * short_lanes):
        backend.let_go()
        house.clock.advance(0.1)
    assert house.rows() == []


def test_lanes_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_ATTEMPTS", 2)
    backend = ScriptedBackend(concurrency=2)
    house = House(backend)
    for _ in range(6):
        house.put(BOB)
    house.put(ALICE)
    carol = Mailbox("carol", "example.com")
    house.put(carol)
    for _ in range(6):
        backend.let_go()
    # What has plenty waiting does not take each slot that it frees.
    assert [to for _, (to,) in backend.seen] == [BOB, BOB, ALICE, carol, BOB, BOB, BOB, BOB]


def test_a_thousand_lanes_that_end_at_once_need_no_deep_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_ATTEMPTS", 1)
    backend = ScriptedBackend()
    house = House(backend)
    house.put(BOB)
    for number in range(1000):
        house.put(Mailbox("a", f"d{number}.example"))
    backend.script = [OK] * 1000
    backend.let_go()
    assert house.rows() == []


def test_one_probe_speaks_for_all_that_waits_for_a_dead_destination(short_lanes: int) -> None:
    backend = ScriptedBackend(concurrency=10)
    house = House(backend)
    house.dispatcher.start()
    backend.always[ALICE] = OK
    many = short_lanes + 20
    for number in range(many):
        someone = Mailbox(f"u{number}", "example.net")
        backend.always[someone] = DEAD
        house.put(someone, claim=house.dispatcher.has_room("out/example.net", str(ALICE)))
    house.pass_time(5 * 3600 + 600, 60)
    assert house.names().count("delay_warning") == many
    assert len(backend.seen) - many < 5 * 60 + 20  # about a probe a minute, the warnings aside
    house.pass_time(86400 - 6 * 3600, 600)
    house.pass_time(2 * 3600 - 600, 60)
    assert house.names().count("bounced") == many
    assert house.rows() == []


def test_nobody_is_given_up_but_by_an_attempt_after_his_time() -> None:
    backend = ScriptedBackend(concurrency=10)
    house = House(backend)
    tried: list[tuple[Mailbox, float]] = []
    deliver = backend.deliver

    async def note(message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        tried.append((recipients[0], house.now() - message.arrived))
        return await deliver(message, recipients)

    backend.deliver = note  # type: ignore[method-assign]
    house.dispatcher.start()
    backend.always[ALICE] = OK
    everyone = [Mailbox(f"u{number}", "example.net") for number in range(25)]
    for someone in everyone:
        backend.always[someone] = DEAD
        house.put(someone, claim=house.dispatcher.has_room("out/example.net", str(ALICE)))
    house.pass_time(86400 + 900, 60)
    assert house.rows() == []
    bounces = [event for event in house.events if isinstance(event, fact.Bounced)]
    assert {event.recipient for event in bounces} == {str(someone) for someone in everyone}
    assert any(age >= 86400 for _, age in tried), "one for all"
    probes = [age for someone, age in tried if someone != ALICE and age < 86400]
    assert len(probes) < 70, "dead destinations are not asked again and again"
    for event in bounces:
        own = [age for someone, age in tried if str(someone) == event.recipient]
        assert event.attempts == len(own)


def test_what_waits_for_a_dead_destination_stays_as_it_is_and_goes_when_it_answers() -> None:
    backend = ScriptedBackend(concurrency=10)
    house = House(backend)
    house.dispatcher.start()
    everyone = [Mailbox(f"u{number}", "example.net") for number in range(60)]
    for someone in everyone:
        backend.always[someone] = DEAD
        house.put(someone, claim=house.dispatcher.has_room("out/example.net", str(ALICE)))
    house.pass_time(3000, 10)
    tried = len(backend.seen)
    assert tried < 60
    assert len([row for row in house.rows() if not row.attempts]) > 30
    [facts] = house.dispatcher.lanes()
    assert (facts.lane, facts.state, facts.said) == ("out/example.net", "dead", "451 4.4.1 no answer")
    states = {"well": 0, "unwell": 1, "suspended": 0}
    assert house.dispatcher.lanes_at_a_glance(9) == (states, [facts])
    assert house.dispatcher.lanes_at_a_glance(0) == (states, [])
    assert house.dispatcher.unwell_lanes(9) == house.dispatcher.lanes(["out/example.net", "nowhere"]) == [facts]
    assert house.dispatcher.unwell_lanes(0) == house.dispatcher.lanes([]) == []
    for someone in everyone:
        backend.always[someone] = OK
    house.pass_time(400, 1)
    assert len([row for row in house.rows() if not row.attempts]) == 0
    house.pass_time(3700, 10)
    assert house.rows() == []


def test_a_sender_with_much_to_one_destination_keeps_nobody_waiting() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    house.dispatcher.start()
    for _ in range(500):
        house.put(BOB, claim=house.dispatcher.has_room("out/example.net", str(ALICE)))
    house.clock.advance(1)
    other = house.put(BOB, sender=ADMIN, claim=house.dispatcher.has_room("out/example.net", str(ADMIN)))
    for _ in range(3):
        backend.let_go()
    assert other in [queue_id for queue_id, _ in backend.seen]


def test_a_sender_with_much_on_disk_keeps_nobody_waiting() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    for _ in range(500):
        house.put(BOB, claim=False)
    other = house.put(BOB, sender=ADMIN, claim=False)
    house.dispatcher.start()
    house.clock.advance(1)
    for _ in range(12):
        backend.let_go()
    assert other in [queue_id for queue_id, _ in backend.seen]


def test_fresh_mail_has_places_of_its_own_beside_what_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_ATTEMPTS", 10)
    monkeypatch.setattr(lanes, "MAX_SLOW_ATTEMPTS", 5)
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    dead = [Mailbox("a", f"d{number}.example") for number in range(40)]
    backend.script = [LATER] * 40
    for someone in dead:
        house.put(someone)
    house.dispatcher.start()
    house.pass_time(400, 5)
    assert len(backend.waiting) == 5, "they hang"
    for number in range(20):
        house.put(Mailbox("b", f"live{number}.example"))
    assert len(backend.waiting) == 10
    for _ in range(20):
        backend.waiting.pop().callback(OK)
    assert len([1 for _, (to,) in backend.seen if to.local_part == "b"]) == 20


def test_what_waits_for_the_operator_does_not_go_and_is_not_given_up() -> None:
    backend = ScriptedBackend()
    backend.always[ALICE] = OK
    house = House(backend)
    house.dispatcher.start()
    result_of(house.spool.suspend("example.net"))
    house.put(BOB)
    house.put(EVE, claim=False)
    house.put(ALICE)
    house.pass_time(90000, 100)
    assert {to for _, (to,) in backend.seen} == {ALICE}
    assert len(house.rows()) == 2
    assert house.names().count("delay_warning") == 2
    backend.always[BOB] = backend.always[EVE] = LATER
    result_of(house.spool.resume("example.net"))
    house.dispatcher.poke()
    house.pass_time(3700, 100)
    assert [to for _, (to,) in backend.seen if to != ALICE] == [BOB, EVE]
    assert house.names().count("bounced") == 2, "after a last attempt"


def test_classes_of_replies_say_what_becomes_of_the_lane() -> None:
    busy = refused(Reply(451, "4.7.0", ("too many connections",)), Scope.SESSION, "mx [192.0.2.9]:25")
    classes = ReplyClasses((
        ReplyClass("too-many", texts=(re.compile("too many"),), message=MessageOrder.AGAIN, lane=LaneOrder.SLOW),
    ))
    backend = ScriptedBackend(concurrency=20)
    house = House(backend, classes=classes)
    house.dispatcher.start()
    for _ in range(5):
        house.put(BOB)
    for _ in range(5):
        backend.let_go(busy)
    [facts] = house.dispatcher.lanes()
    assert (facts.state, facts.window) == ("well", 2)
    assert [(row.attempts, row.reason) for row in house.rows()] == [
        (0, "too-many: mx [192.0.2.9]:25: 451 4.7.0 too many connections")] * 5
    house.pass_time(70, 1)
    assert len(backend.waiting) == 2


def test_our_own_words_are_in_no_class() -> None:
    ours = temporary("4.3.0", "too many connections", Scope.RECIPIENT, "/var/mail/bob")
    house = House(ScriptedBackend(ours), classes=ReplyClasses((ReplyClass("any", lane=LaneOrder.PAUSE),)))
    house.put(BOB)
    assert [row.reason for row in house.rows()] == ["/var/mail/bob: 451 4.3.0 too many connections"]
    assert house.dispatcher.lanes() == []


def test_lanes_of_one_host_share_its_gate() -> None:
    @implementer(IShapedBackend)
    class Shaped(ScriptedBackend):
        async def shape(self, lane: str) -> Shape:
            host = "big" if lane.startswith("d") else lane
            return Shape(Bounds(20, None), {f"host:{host}": Bounds(2, None), "backend": Bounds(4, None)})

    backend = Shaped()
    house = House(backend)
    done = 0
    for number in range(5):
        house.put(Mailbox("a", f"d{number}.example"))
    assert len(backend.seen) == 2
    house.put(BOB)
    house.put(EVE)
    house.put(BOB)
    assert len(backend.seen) == 4, "the backend's own"
    for _ in range(8):
        assert len(backend.waiting) <= 4
        assert len([1 for queue_id, (to,) in backend.seen if to.local_part == "a"]) - done <= 2
        backend.let_go()
        done = len([1 for row in house.events if getattr(row, "recipient", "").startswith("a@")])
    assert house.rows() == []
    assert len(backend.seen) == 8


def test_who_finds_no_place_in_memory_gets_one_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", 4)
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    for number in range(40):
        house.put(Mailbox("a", f"d{number % 10}.example"), claim=False)
    house.dispatcher.start()
    house.clock.advance(1)
    ended = 0
    while backend.waiting or ended < 40:
        if backend.waiting:
            backend.let_go()
            ended += 1
        else:
            house.clock.advance(0.5)
        assert house.clock.seconds() < 60, "not only when everything is looked through"
    assert house.rows() == []


def test_dead_destinations_leave_memory_for_a_live_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", 20)
    monkeypatch.setattr(lanes, "MAX_SLOW_ATTEMPTS", 1)
    backend = ScriptedBackend(concurrency=2)
    house = House(backend)
    for number in range(60):
        tried = house.put(Mailbox("a", f"dead{number % 15}.example"), claim=False)
        house.spool._queue[tried].rows[1].attempts = 1
    house.dispatcher.start()
    house.clock.advance(1)
    assert len(backend.waiting) == 1, "it hangs, and the others wait for its place"
    backend.always[BOB] = OK
    for _ in range(50):
        house.put(BOB, claim=house.dispatcher.has_room("out/example.net", ""))
    house.put(BOB, claim=False)
    house.pass_time(20, 1)
    assert len([1 for _, (to,) in backend.seen if to == BOB]) == 51


def test_what_is_warned_of_while_its_lane_is_looked_through_is_not_forgotten() -> None:
    house = House(backend := ScriptedBackend(LATER, OK, OK))
    house.put(BOB)
    look = house.dispatcher._look_call
    assert look is not None
    look.cancel()
    house.clock.advance(4 * 3600)  # due, and late
    [claim] = result_of(house.spool.claim_late(5))
    house.dispatcher.start()
    house.pass_time(70, 1)
    assert len(backend.seen) == 1
    house.dispatcher._tasks.spawn("speak", house.dispatcher._speak(claim, house.clock.seconds()))
    house.pass_time(1, 1)
    assert len(backend.seen) == 3
    assert sorted(house.names()) == ["deferred", "delay_warning", "delivered", "delivered"]


def test_a_lane_with_a_shape_is_one() -> None:
    @implementer(IShapedBackend)
    class Shaped(ScriptedBackend):
        async def shape(self, lane: str) -> Shape:
            return Shape(Bounds(1, None), {})

    backend = Shaped()
    house = House(backend)
    for _ in range(3):
        house.put(BOB)
    assert len(backend.waiting) == 1
    [facts] = house.dispatcher.lanes()
    assert (facts.active, facts.waiting) == (1, 2)


def test_a_dead_host_is_probed_once_for_all_its_domains() -> None:
    @implementer(IShapedBackend)
    class Shaped(ScriptedBackend):
        async def shape(self, lane: str) -> Shape:
            return Shape(Bounds(20, None), {"host:big": Bounds(20, None)})

    backend = Shaped()
    house = House(backend)
    house.dispatcher.start()
    everyone = [Mailbox("a", f"d{number}.example") for number in range(30)]
    for someone in everyone:
        backend.always[someone] = DEAD
        house.put(someone)
    house.pass_time(3600, 1)
    assert len(backend.seen) < 40, "the first five, then one at a time with growing pauses"
    for someone in everyone:
        backend.always[someone] = OK
    house.pass_time(8000, 10)
    assert house.rows() == []


def test_a_domain_that_lays_down_what_its_host_is_not_holds_up_nobody_else_there() -> None:
    @implementer(IShapedBackend)
    class Shaped(ScriptedBackend):
        async def shape(self, lane: str) -> Shape:
            return Shape(Bounds(20, None), {"host:big": Bounds(20, None)})

    strict = "the host is none of those in its MTA-STS policy"
    for demand, is_held_up in (
        (temporary("4.7.5", strict, Scope.HOST, "big [192.0.2.1]:25"), False),
        (temporary("4.4.3", "no answer from DNS", Scope.HOST, ""), False),
        (temporary("4.4.1", "Cannot connect", Scope.HOST, "big [192.0.2.1]:25"), True),
        (attrs.evolve(DEAD, reply=Reply(454, "4.7.5", ("not from there",)), is_ours=False), True),
    ):
        backend = Shaped()
        house = House(backend)
        house.dispatcher.start()
        backend.always = {EVE: demand, ALICE: OK}
        house.put(EVE)
        house.put(ALICE)
        assert [row.recipient for row in house.rows()] == [str(EVE), *([str(ALICE)] if is_held_up else [])]
        house.put(EVE)
        assert [to for _, to in backend.seen].count((EVE,)) == 1, "its own lane is unwell all the same"


def test_one_broken_moment_is_not_a_dead_destination() -> None:
    backend = ScriptedBackend(concurrency=20)
    house = House(backend)
    for _ in range(40):
        house.put(BOB)
    for _ in range(5):
        backend.let_go(DEAD)
    house.clock.advance(1)
    for _ in range(35):
        backend.let_go()
    assert [row.attempts for row in house.rows()] == [1] * 5  # those that broke; the others were delivered


def test_a_disk_that_takes_no_results_ends_the_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_UNRECORDED", 3)
    spool = RefusingSpool(lambda: START)
    backend = ScriptedBackend(concurrency=20)
    backend.always[BOB] = OK
    house = House(backend, spool=spool)
    spool.refuses = 1000
    for _ in range(10):
        house.put(BOB)
    assert len(backend.seen) == 3
    spool.refuses = 0
    house.pass_time(20, 1)
    assert len(backend.seen) == 10
    assert house.rows() == []


def test_a_stop_still_writes_results_down_when_the_disk_takes_them() -> None:
    spool = RefusingSpool(lambda: START)
    house = House(ScriptedBackend(OK), spool=spool)
    spool.refuses = 2
    house.put(BOB)
    stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
    house.pass_time(6, 1)
    assert stopped.called
    assert house.rows() == []


class BrokenSpool(MemorySpool):
    """Each call to ``agenda``, ``claim`` and ``release`` raises the next of ``faults``, while there are any."""

    def __init__(self) -> None:
        super().__init__(lambda: START + 1)
        self.faults: list[Exception] = []

    def fail(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    async def agenda(self, since: float) -> Agenda:
        self.fail()
        return await super().agenda(since)

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        self.fail()
        return await super().claim(lane, limit, after)

    async def release(self, claim: Claim) -> None:
        self.fail()
        await super().release(claim)


class CountingSpool(MemorySpool):
    looks = 0

    async def agenda(self, since: float) -> Agenda:
        self.looks += 1
        return await super().agenda(since)


def test_each_retry_of_a_lane_comes_in_time() -> None:
    backend = ScriptedBackend(concurrency=10)
    spool = CountingSpool(lambda: house.now())
    house = House(backend, spool=spool)
    house.dispatcher.start()
    everyone = {Mailbox(f"u{number}", "example.net"): 1.0 + number / 2 for number in range(3)}
    for someone, due in everyone.items():
        house.put(someone, claim=False)
        [*_, row] = spool._queue.values()
        spool._wait(row.rows[1], START + due)
    tried: dict[Mailbox, float] = {}
    for _ in range(60):
        house.clock.advance(0.1)
        for _, (someone,) in backend.seen:
            tried.setdefault(someone, house.clock.seconds())
    for someone, due in everyone.items():
        assert due <= tried[someone] + 1e-6
        assert tried[someone] <= due + 1.0
    looks = spool.looks
    house.pass_time(600, 0.1)
    assert spool.looks - looks <= 12  # nothing is due: no more than the usual ones


def test_a_look_that_fails_is_followed_by_another(logged_failures: LoggedFailures) -> None:
    spool = BrokenSpool()
    bug = RuntimeError("bug")
    spool.faults = [bug, TemporaryFault("database is locked")]
    house = House(ScriptedBackend(OK), spool=spool)
    house.put(BOB, claim=False)
    house.dispatcher.start()
    house.pass_time(130, 5)
    assert house.rows() == []
    assert logged_failures.take() == [bug]
    assert house.names() == ["trouble", "delivered"]


def test_a_claim_that_fails_is_made_again() -> None:
    spool = BrokenSpool()
    house = House(ScriptedBackend(OK), spool=spool)
    house.put(BOB, claim=False)
    house.dispatcher.start()
    look = spool.agenda

    async def agenda(since: float) -> Agenda:
        lanes = await look(since)
        if not tried:
            tried.append(1)
            spool.faults = [TemporaryFault("the claim")]
        return lanes

    tried: list[int] = []
    spool.agenda = agenda  # type: ignore[method-assign]  # the claim after the first look fails
    house.pass_time(130, 5)
    assert tried
    assert house.rows() == []


def test_what_cannot_be_released_is_due_when_its_lease_ends() -> None:
    spool = BrokenSpool()
    backend = ScriptedBackend(concurrency=1)
    house = House(backend, spool=spool)
    house.put(BOB)
    house.put(EVE)
    house.clock.advance(400)
    spool.faults = [TemporaryFault("disk")]
    backend.let_go()
    [row] = house.rows()
    assert (row.recipient, row.state, row.attempts) == (str(EVE), RowState.ACTIVE, 0)
    assert len(backend.seen) == 1


def test_a_notice_that_cannot_be_made_costs_nobody_a_recipient(
    logged_failures: LoggedFailures, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug = ValueError("bug")

    def fail(*args: object) -> bytes:
        raise bug

    monkeypatch.setattr(dsn, "notice", fail)
    house = House(ScriptedBackend({BOB: OK, EVE: NEVER}))
    house.put(BOB, EVE, lane="out")
    [row] = house.rows()
    assert (row.recipient, row.state) == (str(EVE), RowState.HELD)
    assert row.reason.startswith(f"could not be returned, no report to {ALICE} could be made (see the log): ")
    assert logged_failures.take() == [bug]
    assert house.names() == ["delivered", "held"]


def test_the_operators_word_reaches_what_waits_in_memory() -> None:
    backend = ScriptedBackend(DEAD, OK)
    house = House(backend)
    house.put(BOB)
    house.put(EVE)
    assert len(backend.seen) == 1
    house.dispatcher.poke()
    assert [to for _, (to,) in backend.seen] == [BOB, EVE]


def test_a_lane_that_was_forgotten_and_made_again_keeps_its_limit() -> None:
    backend = ScriptedBackend(DEAD, concurrency=1)
    house = House(backend)
    house.put(BOB)           # a wake is set for the end of the pause
    house.dispatcher.poke()  # the pause ends now: the lane is idle and forgotten
    house.put(EVE)
    house.clock.advance(2)   # the old wake
    house.put(EVE)
    assert len(backend.waiting) == 1
    backend.let_go()
    backend.let_go()
    assert [row.recipient for row in house.rows()] == [str(BOB)]


def test_a_stop_leaves_no_timer() -> None:
    house = House(ScriptedBackend(DEAD))
    house.dispatcher.start()
    house.put(BOB)
    house.put(EVE)
    assert Deferred.fromCoroutine(house.dispatcher.stop(30.0)).called
    house.dispatcher.poke()
    assert house.clock.getDelayedCalls() == []


def test_a_message_that_makes_its_server_hang_up_does_not_speak_for_the_others() -> None:
    hung_up = temporary("4.4.2", "lost in DATA", Scope.SESSION, "mx")
    backend = ScriptedBackend(concurrency=1)
    backend.always = {EVE: hung_up, BOB: OK}
    house = House(backend)
    for _ in range(50):
        house.put(EVE)
    house.put(BOB)
    assert [row.recipient for row in house.rows()] == [str(EVE)] * 50
    assert backend.seen[-1][1] == (BOB,)
