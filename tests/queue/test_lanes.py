"""A lane's window and pauses, as lists of what it did."""

import pytest

from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.reply import Reply
from mailgw.queue.lanes import MAX_WAITING, OVERTAKEN_AT_MOST, Lane, Line, is_trouble
from tests.tables import each

OK = delivered(Reply(250, "2.0.0", ("Ok",)), "mx")
DEAD = temporary("4.4.1", "no answer", Scope.HOST, "mx")


def lane(limit: int = 8, pause_seconds: float = 10.0) -> "Lane[str]":
    return Lane("out/example.org", limit, pause_seconds)


def started(some: "Lane[str]", now: float) -> int:
    """How many attempts may begin at ``now``; they are begun."""
    count = 0
    while some.may_start(now):
        some.active += 1
        count += 1
    return count


def test_at_most_the_limit_at_once() -> None:
    some = lane(limit=3)
    assert started(some, 0.0) == 3
    some.ended(OK, 0.0)
    assert started(some, 0.0) == 1


def test_pauses_double_up_to_the_limit_and_one_probe_at_a_time() -> None:
    some = lane()
    assert started(some, 0.0) == 8
    for _ in range(7):
        some.ended(None, 0.0)  # cancelled: it says nothing of the destination
    some.ended(DEAD, 0.0)
    now, pauses = 0.0, []
    for _ in range(6):
        pauses.append(some.open_at - now)
        assert started(some, some.open_at - 0.001) == 0
        now = some.open_at
        assert started(some, now) == 1
        some.ended(DEAD, now)
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_a_success_opens_the_window_step_by_step() -> None:
    some = lane(limit=5)
    started(some, 0.0)
    for _ in range(5):
        some.ended(DEAD, 0.0)
    now, windows = some.open_at, []
    for _ in range(4):
        some.active += 1
        some.ended(OK, now)
        windows.append(some.window)
    assert windows == [2, 4, 5, 5]
    assert some.pause == 0
    assert some.may_start(now)


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


def test_room_and_idleness() -> None:
    some = lane()
    assert some.is_idle
    for _ in range(MAX_WAITING - 1):
        some.waiting.add("x", 0)
    assert some.has_room
    assert not some.is_idle
    some.waiting.add("x", 3)
    assert not some.has_room
    assert some.waiting.take_all() == ["x"] * MAX_WAITING
    some.has_more = True
    assert not some.is_idle


def test_attempts_that_fail_together_are_one_trouble() -> None:
    some = lane(limit=20)
    started(some, 0.0)
    for _ in range(20):
        some.ended(DEAD, 0.0)
    assert (some.pause, some.open_at, some.window, some.active) == (1.0, 1.0, 1, 0)


def test_a_destination_is_dead_after_probes_in_vain_and_alive_after_one_answer() -> None:
    some = lane(pause_seconds=60.0)
    now, dead = 0.0, []
    for _ in range(9):
        now = some.open_at
        some.active += 1
        some.ended(DEAD, now)
        dead.append((now, some.is_dead))
    assert dead == [(now, at >= 7) for at, now in enumerate([0, 1, 3, 7, 15, 31, 63, 123, 183])]
    some.active += 1
    some.ended(permanent("5.1.1", "no such user", Scope.RECIPIENT, "mx"), now)
    assert not some.is_dead


# --- who is next --------------------------------------------------------------------------------------

def line(*priorities: int) -> "Line[str]":
    """Items named by their priority and their turn of coming."""
    some: Line[str] = Line()
    for number, priority in enumerate(priorities):
        some.add(f"{priority}:{number}", priority)
    return some


def taken(some: "Line[str]") -> list[str]:
    return [some.take() for _ in range(len(some))]


def test_equal_priorities_are_served_as_they_come() -> None:
    assert taken(line(0, 0, 0)) == ["0:0", "0:1", "0:2"]


def test_a_higher_priority_overtakes() -> None:
    assert taken(line(0, -4, 9, 0, 2)) == ["9:2", "2:4", "0:0", "0:3", "-4:1"]


def test_who_is_overtaken_has_a_turn_of_his_own() -> None:
    some = line(0, 0, *[1] * (2 * OVERTAKEN_AT_MOST + 1))
    assert [item[0] for item in taken(some)] == [*"1" * OVERTAKEN_AT_MOST, "0", *"1" * OVERTAKEN_AT_MOST, "0", "1"]


def test_some_may_be_taken_from_among_the_others() -> None:
    some = line(0, 5, 0, 5, 0, 7)
    assert some.take_where(lambda item: item in ("5:1", "0:2", "7:5")) == ["7:5", "5:1", "0:2"]
    assert len(some) == 3
    assert some.take_where(lambda item: False) == []
    assert taken(some) == ["5:3", "0:0", "0:4"]
    assert not some


def test_all_at_once_and_then_nothing() -> None:
    some = line(0, 5, 0)
    assert some.take_all() == ["5:1", "0:0", "0:2"]
    assert not some
    with pytest.raises(IndexError):
        some.take()
