"""A gate's window, pauses and rates, as lists of what it did."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.rate import Rate
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Bounds
from mailgw.queue.gates import DEAD_AFTER, FIRST_WINDOW, Gate, Pauses, is_trouble
from tests.tables import each

OK = delivered(Reply(250, "2.0.0", ("Ok",)), "mx")
DEAD = temporary("4.4.1", "no answer", Scope.HOST, "mx")


def gate(limit: int = 8, usual: float = 10.0, longest: float = 10.0, rate: Rate | None = None) -> Gate:
    return Gate("out/example.org", Bounds(limit, rate), Pauses(usual, longest))


def started(some: Gate, now: float) -> int:
    """How many attempts may begin at ``now``; they are begun."""
    count = 0
    while some.may_pass(now):
        some.passed(now)
        count += 1
    return count


def test_it_begins_with_a_few_and_each_success_makes_it_one_more() -> None:
    some = gate(limit=7)
    assert started(some, 0.0) == FIRST_WINDOW
    windows = []
    for _ in range(4):
        some.ended(OK, 0.0)
        windows.append(some.window)
    assert windows == [6, 7, 7, 7]
    assert started(some, 0.0) == 6


def test_one_that_does_not_adapt_has_its_bounds() -> None:
    some = Gate("backend", Bounds(20, None), None)
    assert started(some, 0.0) == 20
    for _ in range(20):
        some.ended(DEAD, 0.0)
    some.slow(0.0)
    assert started(some, 0.0) == 20
    assert not some.troubles


def test_pauses_double_and_one_probe_passes_at_a_time() -> None:
    some = gate()
    assert started(some, 0.0) == FIRST_WINDOW
    for _ in range(FIRST_WINDOW - 1):
        some.ended(None, 0.0)  # cancelled: it says nothing of the destination
    some.ended(DEAD, 0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        pauses.append(some.open_at - now)
        assert started(some, some.open_at - 0.001) == 0
        assert some.opens_at(now) == some.open_at
        now = some.open_at
        assert started(some, now) == 1
        assert some.opens_at(now) == math.inf
        some.ended(DEAD, now)
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_pauses_grow_with_the_outage_up_to_the_longest() -> None:
    some = gate(usual=60.0, longest=4 * 3600.0)
    now, probes = 0.0, []
    while now < 5 * 86400.0:
        some.passed(now)
        some.ended(DEAD, now)
        probes.append(now)
        now = some.open_at
    pauses = [later - earlier for earlier, later in itertools.pairwise(probes)]
    assert [round(pause, 6) for pause in pauses[:7]] == [1, 2, 4, 8, 16, 32, 60]
    assert round(max(pauses), 6) == 4 * 3600.0
    assert all(pause <= max(60.0, at / 8) + 1e-6 for at, pause in zip(probes, pauses, strict=False) if at > 60)
    assert len(probes) < 85


def test_a_success_ends_all_that() -> None:
    some = gate(limit=5)
    started(some, 0.0)
    for _ in range(5):
        some.ended(DEAD, 0.0)
    now, windows = some.open_at, []
    for _ in range(5):
        some.passed(now)
        some.ended(OK, now)
        windows.append(some.window)
    assert windows == [2, 3, 4, 5, 5]
    assert (some.pause, some.troubles, some.unwell_since, some.said) == (0.0, 0, None, None)
    assert some.may_pass(now)


def test_who_is_told_to_slow_down_does_once() -> None:
    some = gate(limit=20)
    some.window = 20
    started(some, 0.0)
    for _ in range(20):
        some.ended(None, 0.0)
        some.slow(0.0)
    assert (some.window, some.open_at) == (10, 1.0)
    assert not some.troubles
    assert started(some, 0.5) == 0
    assert started(some, 1.0) == 10
    for _ in range(10):
        some.ended(OK, 1.0)
    assert some.window == 20


def test_from_one_it_goes_no_lower() -> None:
    some = gate(limit=1)
    some.passed(0.0)
    some.ended(None, 0.0)
    some.slow(0.0)
    assert some.window == 1


@each(
    ("outcome", "trouble"),
    [
        (OK, False),
        (DEAD, True),
        (temporary("4.4.2", "lost", Scope.SESSION, "mx"), False),
        (temporary("4.2.1", "full", Scope.RECIPIENT, "mx"), False),
        (temporary("4.3.1", "large", Scope.MESSAGE, "mx"), False),
        (permanent("5.1.2", "no domain", Scope.HOST, ""), False),
    ],
)
def test_whose_trouble_it_is(outcome: Outcome, trouble: bool) -> None:
    assert is_trouble(outcome) is trouble


def test_attempts_that_fail_together_are_one_trouble() -> None:
    some = gate(limit=20)
    started(some, 0.0)
    for _ in range(FIRST_WINDOW):
        some.ended(DEAD, 0.0, 77.0)
    assert (some.pause, some.open_at, some.window, some.active, some.troubles) == (1.0, 1.0, 1, 0, 1)
    assert (some.said, some.said_of) == (DEAD, 77.0)


def test_a_destination_is_dead_after_probes_in_vain_and_alive_after_one_answer() -> None:
    some = gate(usual=60.0, longest=60.0)
    now, dead = 0.0, []
    for _ in range(9):
        now = some.open_at
        some.passed(now)
        some.ended(DEAD, now)
        dead.append((now, some.is_dead))
    assert dead == [(now, at >= DEAD_AFTER - 1) for at, now in enumerate([0, 1, 3, 7, 15, 31, 63, 123, 183])]
    some.passed(now)
    some.ended(permanent("5.1.1", "no such user", Scope.RECIPIENT, "mx"), now)
    assert not some.is_dead


def test_a_rate_lets_as_many_pass_at_once_and_then_one_after_the_other() -> None:
    some = Gate("backend", Bounds(100, Rate(3, 30.0)), None)
    assert started(some, 5.0) == 3
    assert some.opens_at(5.0) == 15.0
    assert [started(some, now) for now in (14.9, 15.0, 24.9, 25.0, 1000.0)] == [0, 1, 0, 1, 3]


@given(st.integers(1, 5), st.floats(0.5, 60.0), st.lists(st.floats(0.0, 40.0), max_size=40))
def test_no_more_than_the_rate_in_any_of_its_times(count: int, seconds: float, waits: list[float]) -> None:
    some = Gate("backend", Bounds(1000, Rate(count, seconds)), None)
    now, passed = 0.0, []
    for wait in waits:
        now += wait
        passed += [now] * started(some, now)
    for at in passed:
        # A bucket that is full lets ``count`` pass at once, and as many while the time goes by.
        assert len([other for other in passed if at <= other < at + seconds - 1e-6]) <= 2 * count


def test_other_bounds_hold_from_now_on() -> None:
    some = gate(limit=20)
    some.window = 20
    some.rebind(Bounds(4, Rate(2, 60.0)))
    assert started(some, 0.0) == 2
    some.rebind(Bounds(50, None))
    assert started(some, 0.0) == 2
    assert some.window == 4
