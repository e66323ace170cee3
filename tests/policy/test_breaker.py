"""What fails in a row is left alone, longer each time, and tried again by one call a wait."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.policy.breaker import REMEMBERED, Breaker, BreakerSettings, SharedBreaker

SETTINGS = BreakerSettings(failures=3, first_seconds=10.0, longest_seconds=25.0)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    assert [breaker.failed(now) for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_at_the_nth_failure_in_a_row() -> None:
    breaker = Breaker(SETTINGS)
    assert [breaker.failed(0.0), breaker.failed(0.0), breaker.succeeded()] == [False, False, False]
    assert [breaker.failed(0.0) for _ in range(2)] == [False, False]
    assert breaker.may_try(0.0)
    assert not breaker.is_open
    assert breaker.failed(0.0)
    assert breaker.is_open
    assert not breaker.may_try(9.9)
    assert breaker.wait_seconds(9.0) == 1.0


def test_one_call_a_wait_tries_it_again() -> None:
    breaker = opened()
    assert [breaker.may_try(10.0), breaker.may_try(10.0), breaker.may_try(19.9)] == [True, False, False]
    assert breaker.may_try(20.0)  # the first trial never ended
    assert breaker.succeeded()
    assert breaker.may_try(20.0)
    assert breaker.wait_seconds(20.0) == 0.0


def test_each_failed_trial_doubles_the_wait_up_to_the_longest() -> None:
    breaker, waits, now = opened(), [], 0.0
    for _ in range(4):
        waits.append(breaker.wait_seconds(now))
        now += waits[-1]
        assert breaker.may_try(now)
        assert not breaker.failed(now)
    assert waits == [10.0, 20.0, 25.0, 25.0]
    breaker.succeeded()
    assert [breaker.failed(now) for _ in range(3)] == [False, False, True]
    assert breaker.wait_seconds(now) == 10.0


def test_calls_from_before_it_opened_change_nothing_but_by_success() -> None:
    breaker = opened()
    assert not breaker.failed(5.0)
    assert breaker.wait_seconds(5.0) == 5.0
    assert breaker.succeeded()


@given(st.lists(st.tuples(st.sampled_from(["try", "well", "ill"]), st.floats(0, 30)), max_size=40))
def test_it_never_refuses_for_longer_than_the_longest_wait(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(SETTINGS), 0.0
    for what, seconds in steps:
        now += seconds
        if what == "try":
            breaker.may_try(now)
        elif what == "well":
            breaker.succeeded()
        else:
            breaker.failed(now)
        assert breaker.wait_seconds(now) <= SETTINGS.longest_seconds


def test_a_clock_that_steps_back_costs_no_more_than_the_longest_wait() -> None:
    breaker = opened(1000.0)
    assert not breaker.may_try(1000.0 - 15.0)
    assert breaker.wait_seconds(10.0) == 0.0
    assert breaker.may_try(10.0)


def test_who_fails_alone_is_left_alone_alone() -> None:
    breaker = SharedBreaker(SETTINGS)
    assert [breaker.failed("a", 0.0) for _ in range(5)] == [False, False, True, False, False]
    assert [breaker.may_try("a", 0.0), breaker.may_try("b", 0.0), breaker.may_try("", 0.0)] == [False, True, True]
    assert (breaker.wait_seconds("a", 4.0), breaker.wait_seconds("b", 4.0)) == (6.0, 0.0)
    assert not breaker.succeeded("b")
    assert not breaker.may_try("a", 9.0)
    assert breaker.may_try("a", 10.0)
    assert not breaker.succeeded("a")
    assert breaker.may_try("a", 10.0)


def test_it_opens_for_all_by_so_many_who_differ() -> None:
    breaker = SharedBreaker(SETTINGS)
    assert [breaker.failed(by, 0.0) for by in ("a", "b", "a", "b", "c")] == [False, False, False, False, True]
    assert not breaker.may_try("d", 9.9)
    assert breaker.may_try("d", 10.0)
    assert breaker.succeeded("d")
    assert [breaker.failed(by, 0.0) for by in ("a", "", "b")] == [True, False, True]  # a's own third, then all


def test_so_many_are_remembered() -> None:
    breaker = SharedBreaker(attrs.evolve(SETTINGS, failures=1))
    breaker.failed("first", 0.0)
    breaker.succeeded("somebody")
    for count in range(1, REMEMBERED):
        breaker.failed(f"c{count}", 0.0)
        breaker.succeeded("somebody")
    assert not breaker.may_try("first", 0.0)
    breaker.failed("one more", 0.0)
    breaker.succeeded("somebody")
    assert breaker.may_try("first", 0.0)
