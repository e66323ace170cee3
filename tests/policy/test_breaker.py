"""What fails in a row is left alone, longer each time, and tried again by one call a wait."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.policy.breaker import Breaker, BreakerSettings

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
