"""What an outcome means, as a table; and whole lives of recipients that never get through."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.outcome import Outcome, Permanence, Scope, delivered, permanent, refused, temporary
from mailgw.mail.parameters import ByMode, DeliverBy
from mailgw.mail.reply import Reply
from mailgw.queue.fate import DELIVERED, Delivered, Fail, Fate, Hold, Retry, judge, judge_overdue
from mailgw.queue.replies import AGAIN_SECONDS, MessageOrder, ReplyClass
from mailgw.queue.schedule import RetrySettings
from tests.tables import each

HOP = "mx1.example.org [192.0.2.1]:25"
SETTINGS = RetrySettings(schedule=(60.0, 600.0), warn_after=3600.0, give_up_after=86400.0, jitter=0.0)
NOW = 1_795_510_000.0
NO_USER = Reply(550, "5.1.1", ("No such user",))
LATER = Reply(450, "4.2.1", ("Try later",))


def fate_of(
    outcome: Outcome, age: float = 0.0, attempts: int = 1, warned: bool = False, has_sender: bool = True
) -> Fate:
    return judge(outcome, SETTINGS, NOW, NOW - age, attempts, warned, has_sender, lambda: 0.5)


@each("age", [0.0, 3600.0, 1e9])
@each("has_sender", [True, False])
def test_what_is_delivered_is_done_at_any_age(age: float, has_sender: bool) -> None:
    assert fate_of(delivered(Reply(250, "2.0.0", ("Ok",)), HOP), age, has_sender=has_sender) is DELIVERED


@each("scope", list(Scope))
def test_a_permanent_refusal_goes_back_with_the_peers_words(scope: Scope) -> None:
    assert fate_of(refused(NO_USER, scope, HOP)) == Fail(NO_USER)
    assert fate_of(refused(NO_USER, scope, HOP), has_sender=False) == Hold(NO_USER)


@each(
    ("age", "attempts", "warned", "has_sender", "expected"),
    [
        (0.0, 1, False, True, Retry(NOW + 60, False)),
        (0.0, 2, False, True, Retry(NOW + 600, False)),
        (3599.0, 5, False, True, Retry(NOW + 600, False)),
        (3600.0, 5, False, True, Retry(NOW + 600, True)),
        (3600.0, 5, True, True, Retry(NOW + 600, False)),
        (3600.0, 5, False, False, Retry(NOW + 600, False)),  # nobody to warn
        (86399.0, 9, True, True, Retry(NOW + 1, False)),
    ],
)
def test_temporary_trouble_is_tried_again(
    age: float, attempts: int, warned: bool, has_sender: bool, expected: Fate
) -> None:
    assert fate_of(refused(LATER, Scope.RECIPIENT, HOP), age, attempts, warned, has_sender) == expected


@each("warned", [True, False])
def test_age_makes_trouble_final_and_says_what_the_last_trouble_was(warned: bool) -> None:
    gave_up = Reply(550, "5.4.7", ("Gave up after 12 attempts; the last one: 450 4.2.1 Try later",))
    assert fate_of(refused(LATER, Scope.HOST, HOP), 86400.0, 12, warned) == Fail(gave_up)
    assert fate_of(refused(LATER, Scope.HOST, HOP), 86400.0, 12, warned, has_sender=False) == Hold(gave_up)


def test_a_5yz_that_is_counted_as_temporary_is_tried_again() -> None:
    # A login that is refused is our configuration's trouble, not the message's.
    outcome = attrs.evolve(temporary("4.7.8", "x", Scope.HOST, HOP), reply=Reply(535, "5.7.8", ("Bad password",)))
    assert fate_of(outcome) == Retry(NOW + 60, False)
    # Also where its words are known: every one of them would go back because of a wrong password, or of a block list.
    assert judged(ReplyClass("login-failed"), outcome) == Retry(NOW + 60, False)
    assert judged(ReplyClass("a", message=MessageOrder.FAIL), outcome) == Fail(outcome.reply)


def test_a_verdict_of_our_own() -> None:
    assert fate_of(permanent("5.1.10", "null MX", Scope.RECIPIENT, "")) == Fail(Reply(550, "5.1.10", ("null MX",)))


def life(arrived: float, has_sender: bool) -> list[tuple[float, str]]:
    """Age and fate of each attempt of a recipient that is always put off."""
    now, attempts, warned, lived = arrived, 0, False, []
    while True:
        attempts += 1
        outcome = refused(LATER, Scope.RECIPIENT, HOP)
        fate = judge(outcome, SLOW, now, arrived, attempts, warned, has_sender, lambda: 0.5)
        word = type(fate).__name__ + (" warn" if isinstance(fate, Retry) and fate.warn else "")
        lived.append((now - arrived, word))
        if not isinstance(fate, Retry):
            return lived
        warned = warned or fate.warn
        now = fate.due


SLOW = RetrySettings(schedule=(1800.0, 7200.0, 14400.0), warn_after=14400.0, give_up_after=43200.0, jitter=0.0)


def test_a_whole_life() -> None:
    assert life(NOW, True) == [
        (0, "Retry"), (1800, "Retry"), (9000, "Retry"), (23400, "Retry warn"), (37800, "Retry"), (43200, "Fail"),
    ]
    assert life(NOW, False) == [
        (0, "Retry"), (1800, "Retry"), (9000, "Retry"), (23400, "Retry"), (37800, "Retry"), (43200, "Hold"),
    ]


OUTCOMES = st.builds(
    Outcome,
    st.sampled_from(Permanence),
    st.sampled_from(Scope),
    st.builds(Reply, st.integers(200, 599), st.sampled_from(["", "5.1.1", "4.0.0"]), st.just(("words",))),
    st.just(HOP),
)


@given(OUTCOMES, st.floats(0, 2e5), st.integers(1, 99), st.booleans(), st.booleans(), st.floats(0, 1))
def test_only_permanence_or_age_is_final_and_nothing_without_a_sender_is_bounced(
    outcome: Outcome, age: float, attempts: int, warned: bool, has_sender: bool, chance: float
) -> None:
    fate = judge(outcome, SETTINGS, NOW, NOW - age, attempts, warned, has_sender, lambda: chance)
    is_final = outcome.permanence is Permanence.PERMANENT or age >= SETTINGS.give_up_after
    if outcome.is_delivered:
        assert isinstance(fate, Delivered)
    elif is_final:
        assert isinstance(fate, Fail if has_sender else Hold)
    else:
        assert isinstance(fate, Retry)
        assert NOW < fate.due <= NOW - age + SETTINGS.give_up_after
        assert not (fate.warn and (warned or not has_sender))


# --- classes of replies ------------------------------------------------------------------------------------

def judged(found: ReplyClass, outcome: Outcome, age: float = 0.0) -> Fate:
    return judge(outcome, SETTINGS, NOW, NOW - age, 1, True, True, lambda: 0.5, None, found)


def test_what_a_class_does_to_the_schedule() -> None:
    later = refused(LATER, Scope.RECIPIENT, HOP)
    assert judged(ReplyClass("a", wait=0.5), later) == Retry(NOW + 30.0, False)
    assert judged(ReplyClass("a", wait=1e9), later) == Retry(NOW + 86400.0, False)
    assert judged(ReplyClass("a", message=MessageOrder.AGAIN), later) == Retry(NOW + AGAIN_SECONDS, False, False)
    assert judged(ReplyClass("a", message=MessageOrder.AGAIN, wait=2.0), later) == Retry(
        NOW + 2 * AGAIN_SECONDS, False, False)
    assert judged(ReplyClass("a", message=MessageOrder.AGAIN), later, 86399.0) == Retry(NOW + 1.0, False, False)
    assert isinstance(judged(ReplyClass("a", message=MessageOrder.AGAIN), later, 86400.0), Fail)


@each(
    ("after", "age", "waits"),
    [(300.0, 0.0, 300.0), (1.0, 0.0, 1.0), (0.5, 0.0, 1.0), (86400.0, 0.0, 86400.0), (86401.0, 0.0, 86400.0),
     (300.0, 86300.0, 100.0)],
)
def test_an_outcome_may_say_when_to_try_again(after: float, age: float, waits: float) -> None:
    outcome = temporary("4.3.0", "x", Scope.MESSAGE, "", after)
    assert fate_of(outcome, age, warned=True) == Retry(NOW + waits, False)
    assert isinstance(fate_of(outcome, 86400.0), Fail)


def test_a_class_may_say_otherwise_of_a_code() -> None:
    assert judged(ReplyClass("a", message=MessageOrder.FAIL), refused(LATER, Scope.RECIPIENT, HOP)) == Fail(LATER)
    no_user = refused(NO_USER, Scope.RECIPIENT, HOP)
    assert judged(ReplyClass("a"), no_user) == Fail(NO_USER)
    assert judged(ReplyClass("a", message=MessageOrder.SCHEDULE), no_user) == Retry(NOW + 60.0, False)
    assert isinstance(judged(ReplyClass("a", message=MessageOrder.SCHEDULE), no_user, 86400.0), Fail)


# --- the time that a sender gave ------------------------------------------------------------------------

BY = DeliverBy(NOW, ByMode.RETURN, False)  # Tue, 24 Nov 2026 08:46:40 +0000
TOO_LATE = "Its sender gave it time until Tue, 24 Nov 2026 08:46:40 +0000, and it was not delivered by then"


def fate_by(outcome: Outcome, by: DeliverBy, now: float = NOW, has_sender: bool = True) -> Fate:
    return judge(outcome, SETTINGS, now, NOW - 600.0, 3, False, has_sender, lambda: 0.5, by)


def test_what_is_in_time_is_tried_again_until_the_deadline() -> None:
    assert fate_by(refused(LATER, Scope.HOST, HOP), BY, NOW - 300.0) == Retry(NOW - 60.0, False)
    assert fate_by(refused(LATER, Scope.HOST, HOP), BY, NOW - 60.0) == Retry(NOW, False)
    assert fate_by(temporary("4.3.0", "x", Scope.MESSAGE, "", 3600.0), BY, NOW - 300.0) == Retry(NOW, False)


def test_what_is_late_goes_back_with_the_last_words() -> None:
    late = Reply(550, "5.4.7", (f"{TOO_LATE}; the last attempt: 450 4.2.1 Try later",))
    assert fate_by(refused(LATER, Scope.HOST, HOP), BY) == Fail(late)
    assert fate_by(refused(LATER, Scope.HOST, HOP), BY, has_sender=False) == Hold(late)
    assert fate_by(refused(NO_USER, Scope.RECIPIENT, HOP), BY) == Fail(NO_USER)
    assert fate_by(delivered(Reply(250, "2.0.0", ("Ok",)), HOP), BY) is DELIVERED


def test_what_is_late_before_its_attempt_goes_back_without_one() -> None:
    assert judge_overdue(BY, True) == Fail(Reply(550, "5.4.7", (TOO_LATE,)))
    assert judge_overdue(BY, False) == Hold(Reply(550, "5.4.7", (TOO_LATE,)))


def test_a_deadline_of_mode_n_only_tells_the_sender() -> None:
    by = attrs.evolve(BY, mode=ByMode.NOTIFY)
    assert fate_by(refused(LATER, Scope.HOST, HOP), by, NOW - 300.0) == Retry(NOW, False)
    assert fate_by(refused(LATER, Scope.HOST, HOP), by) == Retry(NOW + 600.0, True)
