"""What a client asked for with MAIL and RCPT happens: priority, release, deadline, reports."""

import email
from email.message import Message as Mail

import attrs
from twisted.logger import capturedLogs

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Query, RowState
from mailgw.mail.outcome import Outcome, delivered
from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters, Notify, Ret
from mailgw.mail.reply import Reply
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import ADMIN, ALICE, BOB, DEAD, EVE, LATER, NEVER, OK, START, House, ScriptedBackend
from tests.tables import each

HOUR, DAY = 3600.0, 86400.0
NOBODY: frozenset[Notify] = frozenset()
SUCCESS = frozenset([Notify.SUCCESS])
FAILURE = frozenset([Notify.FAILURE])
RELAYED = attrs.evolve(OK, relayed=True)
STORED = delivered(Reply(250, "2.0.0", ("Stored",)), "/var/mail/bob")


def notices(house: House) -> dict[str, Mail]:
    """Our own messages that are queued, by their ids."""
    found = {}
    for row in house.rows():
        if not row.sender:
            octets = result_of(house.spool.content(row.queue_id, 1_000_000)) or b""
            found[row.queue_id] = email.message_from_bytes(octets)
    return found


def actions(notice: Mail) -> list[str]:
    return [line.removeprefix("Action: ") for line in str(notice).splitlines() if line.startswith("Action: ")]


def house_of(*script: Outcome, to_sender: Outcome | None = LATER) -> tuple[House, ScriptedBackend]:
    """A started house; what goes to Alice, who sends, stays in the queue."""
    backend = ScriptedBackend(*script)
    if to_sender is not None:
        backend.always[ALICE] = to_sender
    house = House(backend)
    house.dispatcher.start()
    return house, backend


# --- priority -----------------------------------------------------------------------------------------

def test_a_higher_priority_overtakes_what_waits_in_memory() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    first, usual, low, high = (house.put(BOB, asked=MailParameters(priority=p)) for p in (0, 0, -1, 5))
    while backend.waiting:
        backend.let_go()
    assert [queue_id for queue_id, _ in backend.seen] == [first, high, usual, low]


def test_a_higher_priority_overtakes_what_waits_on_disk() -> None:
    backend = ScriptedBackend(concurrency=1)
    house = House(backend)
    usual = [house.put(BOB, claim=False) for _ in range(30)]
    high = house.put(BOB, claim=False, asked=MailParameters(priority=1))
    house.dispatcher.start()
    house.clock.advance(1)
    for _ in range(31):
        backend.let_go()
    tried = [queue_id for queue_id, _ in backend.seen]
    assert tried == [high, *usual]


# --- FUTURERELEASE --------------------------------------------------------------------------------------

def test_what_is_held_is_tried_at_its_time_and_not_before() -> None:
    house, backend = house_of(OK)
    house.put(BOB, asked=MailParameters(hold_until=START + 90))
    [row] = house.rows()
    assert (row.state, row.due, row.attempts) == (RowState.WAITING, START + 90, 0)
    house.pass_time(89, 1)
    assert backend.seen == []
    house.pass_time(2, 1)
    assert house.rows() == []
    assert house.names() == ["delivered"]


def test_the_age_of_what_was_held_counts_from_its_release() -> None:
    house, _ = house_of(*[LATER] * 99)
    house.put(BOB, asked=MailParameters(hold_until=START + 1.5 * DAY))  # longer than anything is kept
    house.pass_time(1.5 * DAY - 60)
    assert house.names() == []
    house.pass_time(3.9 * HOUR)
    assert set(house.names()) == {"deferred"}
    house.pass_time(2 * HOUR)
    assert "delay_warning" in house.names()
    house.pass_time(17 * HOUR)
    assert "bounced" not in house.names()
    house.pass_time(2 * HOUR)
    assert "bounced" in house.names()


def test_the_operator_releases_what_is_held_and_it_is_tried_by_the_schedule() -> None:
    house, backend = house_of(LATER, OK)
    queue_id = house.put(BOB, asked=MailParameters(hold_until=START + DAY))
    assert result_of(house.spool.retry(Query(queue_id=queue_id))) == 1
    house.dispatcher.poke()
    house.clock.advance(1)
    [row] = house.rows()
    assert (row.attempts, row.state) == (1, RowState.WAITING)
    assert START + 300 <= (row.due or 0) <= START + 301
    house.pass_time(400)
    assert house.rows() == []
    assert len(backend.seen) == 2


def test_the_operator_cancels_what_is_held() -> None:
    house, backend = house_of(OK)
    queue_id = house.put(BOB, asked=MailParameters(hold_until=START + 60))
    assert result_of(house.spool.remove(Query(queue_id=queue_id))) == 1
    house.pass_time(120)
    assert backend.seen == []


# --- a clock that steps back ------------------------------------------------------------------------------

def test_a_clock_that_is_put_back_delays_no_retry_beyond_the_schedule() -> None:
    house, backend = house_of(LATER, OK)
    house.put(BOB)
    held = house.put(EVE, asked=MailParameters(hold_until=START + DAY))
    house.step = -30 * DAY
    house.pass_time(3600 + 120)
    assert [to for _, (to,) in backend.seen] == [BOB, BOB]
    assert [(row.queue_id, row.due) for row in house.rows()] == [(held, START + DAY)]


def test_what_an_earlier_start_left_too_far_ahead_comes_closer() -> None:
    house, _ = house_of(LATER)
    house.put(BOB)
    again = ScriptedBackend(OK)
    later = House(again, spool=house.spool)
    house.step = -30 * DAY
    later.step = -30 * DAY
    later.dispatcher.start()
    later.clock.advance(1)
    [row] = house.rows()
    assert row.due == later.now() - 1 + 3600


def test_who_wants_a_message_later_than_the_schedule_gets_it_then() -> None:
    house, backend = house_of()
    backend.always = {BOB: attrs.evolve(LATER, again_after_seconds=3 * HOUR), EVE: LATER, ALICE: OK}
    house.pass_time(1)
    with capturedLogs() as logs:
        queue_id = house.put(BOB)
        house.put(EVE)  # whose attempts end, and are written, meanwhile
        house.pass_time(3 * HOUR - 60)
        assert backend.seen.count((queue_id, (BOB,))) == 1
        house.pass_time(120)
        assert backend.seen.count((queue_id, (BOB,))) == 2
    assert not [one for one in logs if "put back" in str(one["log_format"])]


def test_a_clock_that_drifts_is_looked_after_in_time() -> None:
    asked: list[float] = []  # how far the clock was put on

    class Spool(MemorySpool):
        async def come_closer(self, longest_wait_seconds: float) -> int:
            asked.append(house.step)
            return 0

    house = House(ScriptedBackend(), spool=Spool(lambda: house.now()))
    house.dispatcher.start()
    for step in (0, -40, 100, 90, 45, 39, 0):
        house.step = step
        house.pass_time(61, 61)
    assert asked == [0, 39]  # at the start, and 61 behind 100; then 39 more are not worth it


# --- DELIVERBY --------------------------------------------------------------------------------------------

def by(seconds: float, mode: ByMode, trace: bool = False) -> MailParameters:
    return MailParameters(deliver_by=DeliverBy(START + seconds, mode, trace))


def test_what_is_late_goes_back_and_is_not_attempted_any_more() -> None:
    house, backend = house_of(*[LATER] * 9)
    queue_id = house.put(BOB, asked=by(1000, ByMode.RETURN))
    house.pass_time(1030, 10)
    [notice] = notices(house).values()
    assert actions(notice) == ["failed"]
    assert "Status: 5.4.7" in str(notice)
    tried = [to for _, (to,) in backend.seen if to == BOB]
    assert len(tried) == 3  # at once, after 300 s, and a minute before the deadline
    expired = [event for event in house.events if isinstance(event, fact.Expired)]
    assert expired == [fact.Expired(queue_id, str(BOB), "out/example.net", 3, "R")]
    assert "bounced" in house.names()


def test_a_last_attempt_that_succeeds_is_in_time() -> None:
    house, _ = house_of(LATER, LATER, OK)
    house.put(BOB, asked=by(1000, ByMode.RETURN))
    house.pass_time(1000, 10)
    assert house.rows() == []


def test_what_became_late_while_we_were_down_is_not_attempted() -> None:
    house, backend = house_of(OK)
    house.put(BOB, claim=False, asked=by(1000, ByMode.RETURN))
    house.step = 5000
    house.pass_time(10, 1)
    assert [to for _, (to,) in backend.seen] == [ALICE]
    [notice] = notices(house).values()
    assert "Attempts: 0" in str(notice)
    assert "Last-Attempt-Date" not in str(notice)


def test_what_is_late_and_has_no_sender_is_held() -> None:
    house, backend = house_of(OK)
    house.put(BOB, sender=None, claim=False, asked=by(1000, ByMode.RETURN))
    house.step = 5000
    house.pass_time(10, 1)
    assert backend.seen == []
    assert [row.state for row in house.rows()] == [RowState.HELD]
    assert house.names() == ["expired", "held"]


def test_at_a_dead_destination_the_deadline_is_kept() -> None:
    house, backend = house_of()
    backend.always[BOB] = DEAD
    for _ in range(5):
        house.put(BOB, asked=by(2000, ByMode.RETURN))
    house.pass_time(1980, 10)
    assert "bounced" not in house.names()
    house.pass_time(140, 10)
    assert house.names().count("bounced") == house.names().count("expired") == 5


def test_a_busy_destination_keeps_nothing_beyond_its_time() -> None:
    backend = ScriptedBackend(concurrency=1)
    backend.always[ALICE] = LATER
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB)  # its attempt does not end
    in_memory = house.put(BOB, asked=by(20, ByMode.RETURN))
    in_time = house.put(BOB, asked=by(500, ByMode.RETURN))
    never_late = house.put(BOB, asked=by(15, ByMode.NOTIFY))
    on_disk = house.put(BOB, claim=False, asked=by(10, ByMode.RETURN))
    house.pass_time(12, 1)
    assert list(notices(house)) == [f"{on_disk}b1"]
    house.pass_time(10, 1)
    assert set(notices(house)) == {f"{on_disk}b1", f"{in_memory}b1"}
    for _ in range(3):
        backend.let_go()
    assert [queue_id for queue_id, (to,) in backend.seen if to == BOB][1:] == [in_time, never_late]
    assert house.dispatcher._places.waiting == 0


@each(("asked", "age"), [(by(1000, ByMode.NOTIFY), 1000), (MailParameters(), 4 * HOUR)])
def test_a_busy_destination_delays_no_warning(asked: MailParameters, age: float) -> None:
    backend = ScriptedBackend(concurrency=1)
    backend.always[ALICE] = LATER
    house = House(backend)
    late = [house.put(BOB, claim=False, asked=asked) for _ in range(3)]
    nobody = house.put(BOB, claim=False, asked=asked, notify=NOBODY)
    no_sender = house.put(BOB, sender=None, claim=False, asked=asked)
    house.step = age - 200
    house.put(BOB)  # its attempt does not end
    house.dispatcher.start()
    house.pass_time(190, 10)
    assert "delay_warning" not in house.names()
    house.pass_time(90, 10)
    told = [event.queue_id for event in house.events if isinstance(event, fact.Warned)]
    assert sorted(told) == sorted(late)
    for notice in (notice for queue_id, notice in notices(house).items() if queue_id != no_sender):
        assert actions(notice) == ["delayed"]
        assert "Attempts: 0" in str(notice)
        assert "Last-Attempt-Date" not in str(notice)
    house.pass_time(120, 10)
    assert house.names().count("delay_warning") == 3
    assert [row.attempts for row in house.rows() if row.queue_id in late] == [0, 0, 0]
    backend.script = [OK] * 9
    backend.let_go()
    house.pass_time(10, 1)
    assert {queue_id for queue_id, (to,) in backend.seen if to == BOB} >= {*late, nobody, no_sender}
    assert house.dispatcher._places.waiting == 0


def test_what_is_late_and_can_be_tried_at_once_is_not_warned_of() -> None:
    house, _ = house_of(OK)
    house.put(BOB, claim=False, asked=by(1000, ByMode.NOTIFY))
    house.step = 5000
    house.pass_time(200, 10)
    assert house.rows() == []
    assert "delay_warning" not in house.names()


def test_what_is_fetched_too_late_does_not_wait_for_its_turn() -> None:
    backend = ScriptedBackend(concurrency=1)
    backend.always[ALICE] = LATER
    house = House(backend)
    house.put(BOB)
    late = house.put(BOB, claim=False, asked=by(10, ByMode.RETURN))
    house.step = 50.0
    house.dispatcher.start()
    house.clock.advance(1)
    assert list(notices(house)) == [f"{late}b1"]


def test_mode_n_tells_the_sender_once_and_goes_on() -> None:
    house, _ = house_of(*[LATER] * 9, OK)
    house.put(BOB, asked=by(1000, ByMode.NOTIFY))
    house.pass_time(990, 10)
    assert notices(house) == {}
    house.pass_time(6 * HOUR)
    [notice] = notices(house).values()
    assert actions(notice) == ["delayed"]
    assert "Status: 4.4.7" in str(notice)
    expired = [event for event in house.events if isinstance(event, fact.Expired)]
    assert [(event.mode, event.attempts) for event in expired] == [("N", 3)]
    assert house.names().count("delay_warning") == 1


@each("mode", list(ByMode))
def test_trace_tells_of_each_relaying(mode: ByMode) -> None:
    house, _ = house_of(attrs.evolve(RELAYED, dsn=True))
    house.put(BOB, asked=by(1000, mode, trace=True))
    assert [actions(notice) for notice in notices(house).values()] == [["relayed"]]


@each(("keeps_time", "told"), [(False, ["relayed"]), (True, [])])
def test_mode_n_tells_of_a_hop_that_does_not_keep_the_time(keeps_time: bool, told: list[str]) -> None:
    relayed = attrs.evolve(RELAYED, dsn=True, deliver_by=keeps_time)
    house, _ = house_of(relayed, relayed)
    house.put(BOB, asked=by(1000, ByMode.NOTIFY))
    house.put(BOB, asked=by(1000, ByMode.NOTIFY), notify=NOBODY)
    assert [action for notice in notices(house).values() for action in actions(notice)] == told


def test_mode_n_tells_nothing_more_of_such_a_hop_when_the_time_is_over() -> None:
    house, _ = house_of(RELAYED)
    house.put(BOB, asked=by(-1, ByMode.NOTIFY))
    assert house.rows() == []


def test_trace_tells_nothing_of_a_mailbox_and_nothing_to_who_wants_nothing() -> None:
    house, _ = house_of(STORED, RELAYED)
    house.put(BOB, asked=by(1000, ByMode.RETURN, trace=True))
    house.put(BOB, asked=by(1000, ByMode.RETURN, trace=True), notify=NOBODY)
    assert house.rows() == []


# --- NOTIFY -----------------------------------------------------------------------------------------------

@each(("outcome", "action"), [(STORED, "delivered"), (RELAYED, "relayed")])
def test_who_asks_hears_of_success(outcome: Outcome, action: str) -> None:
    house, _ = house_of(outcome)
    queue_id = house.put(BOB, notify=SUCCESS, asked=MailParameters(envid="x7"))
    [(notice_id, notice)] = notices(house).items()
    assert actions(notice) == [action]
    assert "Original-Envelope-Id: x7" in str(notice)
    assert (notice_id, notice["To"]) == (f"{queue_id}d1", f"<{ALICE}>")
    reported = [event for event in house.events if isinstance(event, fact.Reported)]
    assert reported == [fact.Reported(queue_id, str(BOB), action, notice_id)]


def test_a_hop_that_reports_by_itself_spares_us_that() -> None:
    house, _ = house_of(attrs.evolve(RELAYED, dsn=True))
    house.put(BOB, notify=SUCCESS)
    assert house.rows() == []
    assert house.names() == ["delivered"]


def test_recipients_who_are_served_together_share_a_report() -> None:
    backend = ScriptedBackend({BOB: STORED, EVE: NEVER, ADMIN: STORED})
    backend.always[ALICE] = LATER
    house = House(backend)
    queue_id = house.put(BOB, EVE, ADMIN, lane="out", notify=SUCCESS | FAILURE)
    found = notices(house)
    assert {notice_id: actions(notice) for notice_id, notice in found.items()} == {
        f"{queue_id}d1": ["delivered", "delivered"], f"{queue_id}b2": ["failed"],
    }


@each("notify", [None, FAILURE, NOBODY])
def test_who_does_not_ask_hears_nothing_of_success(notify: frozenset[Notify] | None) -> None:
    house, _ = house_of(OK)
    house.put(BOB, notify=notify)
    assert house.rows() == []


def test_a_report_that_finds_no_way_costs_nothing() -> None:
    house, _ = house_of(OK)
    house.lanes[str(ALICE)] = None
    house.put(BOB, notify=SUCCESS)
    assert house.rows() == []
    assert house.names() == ["delivered"]


def test_a_notice_is_never_answered() -> None:
    house, _ = house_of(OK)
    house.put(BOB, sender=None, notify=SUCCESS)
    assert house.rows() == []


@each("notify", [NOBODY, SUCCESS])
def test_who_does_not_want_to_hear_of_failure_does_not(notify: frozenset[Notify]) -> None:
    house, _ = house_of(NEVER)
    house.put(BOB, notify=notify)
    assert house.rows() == []
    [event] = house.events
    assert isinstance(event, fact.Bounced)
    assert event.notice_id == ""


def test_of_several_only_those_are_told_of_who_are_wanted() -> None:
    house, _ = house_of(NEVER, NEVER)
    house.put(BOB, notify=NOBODY)
    house.put(EVE, notify=FAILURE)
    [notice] = notices(house).values()
    assert str(EVE) in str(notice)


@each(("notify", "warned"), [(None, 1), (FAILURE, 0), (NOBODY, 0), (frozenset([Notify.DELAY]), 1)])
def test_a_delay_is_told_to_who_wants_to_hear_of_it(notify: frozenset[Notify] | None, warned: int) -> None:
    house, _ = house_of(*[LATER] * 20)
    house.put(BOB, notify=notify)
    house.pass_time(6 * HOUR)
    assert house.names().count("delay_warning") == warned
    assert len(notices(house)) == warned


# --- what the notices are -----------------------------------------------------------------------------------

def test_a_bounce_has_the_priority_and_the_secrecy_of_its_cause() -> None:
    house, _ = house_of(NEVER)
    house.put(BOB, asked=MailParameters(priority=4, require_tls=True, smtputf8=True, ret=Ret.FULL))
    [row] = house.rows()
    assert row.parameters == "REQUIRETLS MT-PRIORITY=4"


def test_who_asked_for_the_message_gets_it_back() -> None:
    house, _ = house_of(NEVER)
    house.put(BOB, asked=MailParameters(ret=Ret.FULL))
    [notice] = notices(house).values()
    payload = notice.get_payload()
    assert isinstance(payload, list)
    assert payload[2].get_content_type() == "message/rfc822"  # type: ignore[union-attr]  # the stub says str, too
    assert "body" in str(payload[2])


def test_a_sender_beyond_ascii_is_told_by_smtputf8() -> None:
    house, _ = house_of(NEVER)
    house.put(BOB, sender=Mailbox("j\u00f6rg", "example.org"))
    [row] = [row for row in house.rows() if not row.sender]
    assert row.parameters == "SMTPUTF8"
