"""Whole schedules as lists: when each attempt is made, of a recipient that fails every time."""

import functools
from collections.abc import Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters
from mailgw.queue.schedule import (
    RetrySettings,
    age_begins,
    attempts_ahead,
    gives_up_at,
    is_expired,
    is_overdue,
    longest_wait,
    next_due,
    soonest_word,
    speaks_at,
    wants_warning,
)
from tests.tables import each

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ARRIVED = 1_795_510_000.25

# As the configuration has it by default, but for the jitter.
USUAL = RetrySettings(
    schedule=(5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR),
    warn_after=4 * HOUR,
    give_up_after=DAY,
    jitter=0.0,
)


def middle() -> float:
    return 0.5


def ages_of_attempts(
    settings: RetrySettings, seconds_each: float = 0.0, chance: Callable[[], float] = middle
) -> list[float]:
    """The age of the message at the start of each attempt up to the last one."""
    now, ages = ARRIVED, [0.0]
    while not is_expired(settings, now + seconds_each, ARRIVED):
        due = next_due(settings, now + seconds_each, ARRIVED, len(ages), chance)
        assert due > now
        now = due
        ages.append(now - ARRIVED)
        assert len(ages) < 1000
    return ages


def test_a_whole_schedule() -> None:
    ages = ages_of_attempts(USUAL)
    minutes = [age / MINUTE for age in ages]
    # The last wait repeats, and the last attempt stands at the age limit itself.
    assert minutes == [0, 5, 15, 35, 75, 135, 255, 495, 735, 975, 1215, 1440]
    assert attempts_ahead(USUAL, 1000) == pytest.approx(ages)
    assert attempts_ahead(USUAL, 3) == [0, 5 * MINUTE, 15 * MINUTE]


def test_attempts_that_take_time_push_the_later_ones() -> None:
    hours = [age / HOUR for age in ages_of_attempts(attrs.evolve(USUAL, schedule=(HOUR, 5 * HOUR)), HOUR)]
    assert hours == [0, 2, 8, 14, 20, 24]


def test_one_wait_repeats() -> None:
    assert ages_of_attempts(attrs.evolve(USUAL, schedule=(DAY / 4,))) == [0, DAY / 4, DAY / 2, DAY * 3 / 4, DAY]


def test_a_wait_beyond_the_age_limit_ends_at_it() -> None:
    assert ages_of_attempts(attrs.evolve(USUAL, schedule=(7 * DAY,))) == [0, DAY]


@each(("chance", "wait"), [(0.0, 240), (0.25, 270), (0.5, 300), (1.0, 360)])
def test_jitter_spreads_to_both_sides(chance: float, wait: float) -> None:
    settings = attrs.evolve(USUAL, jitter=0.2)
    assert next_due(settings, ARRIVED, ARRIVED, 1, lambda: chance) == pytest.approx(ARRIVED + wait)


def test_after_the_age_limit_a_held_recipient_that_the_operator_retried_waits_as_ever() -> None:
    late = ARRIVED + 9 * DAY
    assert next_due(USUAL, late, ARRIVED, 3, middle) == late + 20 * MINUTE


def test_attempts_below_one_wait_like_the_first() -> None:
    assert next_due(USUAL, ARRIVED, ARRIVED, 0, middle) == ARRIVED + 5 * MINUTE


def test_when_there_is_something_to_be_said() -> None:
    by = DeliverBy(ARRIVED + HOUR, ByMode.RETURN, False)
    tell = DeliverBy(ARRIVED + HOUR, ByMode.NOTIFY, False)
    assert [speaks_at(USUAL, ARRIVED, warned, asked) - ARRIVED for warned, asked in (
        (True, None), (False, None), (True, by), (False, by), (True, tell), (False, tell),
    )] == [4 * HOUR, DAY, HOUR, HOUR, HOUR, DAY]
    assert soonest_word(USUAL) == 4 * HOUR
    assert soonest_word(attrs.evolve(USUAL, give_up_after=HOUR)) == HOUR


def test_a_factor_makes_a_wait_longer_or_shorter() -> None:
    def due(factor: float) -> float:
        return next_due(USUAL, ARRIVED, ARRIVED, 1, lambda: 0.5, None, factor) - ARRIVED

    assert [due(factor) for factor in (0.5, 1.0, 3.0, 1e9)] == [150.0, 300.0, 900.0, DAY]


@each(
    ("age", "expired"), [(0, False), (DAY - 0.001, False), (DAY, True), (2 * DAY, True), (-9, False)]
)
def test_when_an_attempt_was_the_last(age: float, expired: bool) -> None:
    assert is_expired(USUAL, ARRIVED + age, ARRIVED) is expired


@each(
    ("age", "warned", "wants"),
    [
        (4 * HOUR - 1, False, False),
        (4 * HOUR, False, True),
        (4 * HOUR, True, False),
        (DAY - 1, False, True),
        (DAY, False, False),  # it goes back instead
    ],
)
def test_a_warning_comes_once(age: float, warned: bool, wants: bool) -> None:
    assert wants_warning(USUAL, ARRIVED + age, ARRIVED, warned) is wants


@given(
    schedule=st.lists(st.floats(HOUR, 30 * DAY), min_size=1, max_size=9),
    jitter=st.floats(0, 0.9),
    give_up=st.floats(60, 10 * DAY),
    arrived=st.floats(0, 4e9),
    chances=st.lists(st.floats(0, 1), min_size=1, max_size=5),
)
def test_nothing_expires_without_an_attempt_after_its_age(
    schedule: list[float], jitter: float, give_up: float, arrived: float, chances: list[float]
) -> None:
    settings = RetrySettings(tuple(schedule), 4 * HOUR, give_up, jitter)
    now, attempts = arrived, 1
    while not is_expired(settings, now, arrived):
        chance = functools.partial(chances.__getitem__, attempts % len(chances))
        due = next_due(settings, now, arrived, attempts, chance)
        assert now < due <= arrived + give_up
        now, attempts = due, attempts + 1
        assert attempts < 5000
    assert now == arrived + give_up


# --- what the sender asked for ------------------------------------------------------------------------

def test_the_age_of_what_is_held_counts_from_its_release() -> None:
    assert age_begins(ARRIVED, MailParameters()) == ARRIVED
    assert age_begins(ARRIVED, MailParameters(hold_until=ARRIVED + 9.0)) == ARRIVED + 9.0
    assert age_begins(ARRIVED, MailParameters(hold_until=ARRIVED - 9.0)) == ARRIVED


def test_what_was_released_before_its_time_is_tried_by_the_schedule() -> None:
    release = ARRIVED + 3 * DAY
    assert next_due(USUAL, ARRIVED, release, 1, middle) == ARRIVED + 5 * MINUTE
    assert not is_expired(USUAL, ARRIVED, release)
    assert not wants_warning(USUAL, ARRIVED, release, False)


def test_the_longest_wait_counts_its_jitter() -> None:
    assert longest_wait(attrs.evolve(USUAL, jitter=0.25)) == 5 * HOUR


def ages_until(by: DeliverBy, settings: RetrySettings = USUAL) -> list[float]:
    """The age in minutes at each time that is due, until it is overdue or expired."""
    now, ages = ARRIVED, [0.0]
    while not is_expired(settings, now, ARRIVED) and not is_overdue(by, now):
        now = next_due(settings, now, ARRIVED, len(ages), middle, by)
        ages.append((now - ARRIVED) / MINUTE)
    return ages


@each(
    ("mode", "minutes", "ages"),
    [
        (ByMode.RETURN, 60, [0, 5, 15, 35, 59, 60]),
        (ByMode.RETURN, 0.5, [0, 0.5]),
        (ByMode.RETURN, 9000, [0, 5, 15, 35, 75, 135, 255, 495, 735, 975, 1215, 1440]),
        (ByMode.NOTIFY, 60, [0, 5, 15, 35, 60, 120, 240, 480, 720, 960, 1200, 1440]),
        (ByMode.NOTIFY, 0, [0, 5, 15, 35, 75, 135, 255, 495, 735, 975, 1215, 1440]),
    ],
)
def test_no_wait_leads_past_a_deadline(mode: ByMode, minutes: float, ages: list[float]) -> None:
    assert ages_until(DeliverBy(ARRIVED + minutes * MINUTE, mode, False)) == ages


def test_a_deadline_of_mode_n_is_when_the_sender_is_told() -> None:
    by = DeliverBy(ARRIVED + 5 * HOUR, ByMode.NOTIFY, False)
    told = [wants_warning(USUAL, ARRIVED + hours * HOUR, ARRIVED, False, by) for hours in (4, 4.99, 5, 23)]
    assert told == [False, False, True, True]
    assert not wants_warning(USUAL, ARRIVED + 6 * HOUR, ARRIVED, True, by)
    in_time = attrs.evolve(by, mode=ByMode.RETURN)
    assert wants_warning(USUAL, ARRIVED + 4 * HOUR, ARRIVED, False, in_time)


def test_when_it_goes_back_at_the_latest() -> None:
    by = DeliverBy(ARRIVED + HOUR, ByMode.RETURN, False)
    assert gives_up_at(USUAL, ARRIVED, None) == ARRIVED + DAY
    assert gives_up_at(USUAL, ARRIVED, by) == ARRIVED + HOUR
    assert gives_up_at(USUAL, ARRIVED, attrs.evolve(by, mode=ByMode.NOTIFY)) == ARRIVED + DAY
