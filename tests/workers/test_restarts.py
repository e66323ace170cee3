"""When a worker is started again."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.workers.restarts import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LOST_AFTER, STEADY_SECONDS, Restarts


def test_the_pause_doubles_while_it_ends_at_once() -> None:
    restarts, now, pauses = Restarts(), 0.0, []
    for _ in range(11):
        restarts.began(now)
        pauses.append(restarts.ended())
        now += pauses[-1]
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0]


def test_who_ran_well_is_started_again_at_once() -> None:
    restarts = Restarts()
    for _ in range(LOST_AFTER):
        assert not restarts.is_lost
        restarts.began(0.0)
        restarts.heard(STEADY_SECONDS - 0.1)
        restarts.ended()
    assert restarts.is_lost
    restarts.began(0.0)
    restarts.heard(STEADY_SECONDS)
    assert restarts.ended() == FIRST_PAUSE_SECONDS
    assert not restarts.is_lost


@given(st.lists(st.floats(0.0, 100.0), max_size=200))
def test_it_is_always_started_again(runs: list[float]) -> None:
    restarts = Restarts()
    for run in runs:
        restarts.began(0.0)
        restarts.heard(run)
        assert FIRST_PAUSE_SECONDS <= restarts.ended() <= LONGEST_PAUSE_SECONDS
