"""Who is next."""

import pytest

from mailgw.queue.line import OVERTAKEN_AT_MOST, Line


def line(*priorities: int) -> "Line[str]":
    """Items named by their priority and their turn of coming."""
    some: Line[str] = Line()
    for number, priority in enumerate(priorities):
        some.add(f"{priority}:{number}", priority)
    return some


def taken(some: "Line[str]") -> list[str]:
    return [some.take() for _ in range(len(some))]


def test_equals_are_served_as_they_come() -> None:
    assert taken(line(0, 0, 0)) == ["0:0", "0:1", "0:2"]


def test_a_higher_priority_overtakes() -> None:
    assert taken(line(0, -4, 9, 0, 2)) == ["9:2", "2:4", "0:0", "0:3", "-4:1"]


def test_what_is_fresh_overtakes_what_was_tried_before() -> None:
    some: Line[str] = Line()
    some.add("old", 0, False)
    some.add("urgent", 1, False)
    some.add("fresh", 0, True)
    assert some.has_fresh()
    assert taken(some) == ["urgent", "fresh", "old"]
    assert not some.has_fresh()


def test_senders_take_turns() -> None:
    some: Line[str] = Line()
    for number in range(4):
        some.add(f"many{number}", sender="many")
    some.add("few0", sender="few")
    some.add("one0", sender="one")
    some.add("few1", sender="few")
    assert [some.count_of(sender) for sender in ("many", "few", "nobody")] == [4, 2, 0]
    assert some.next_sender() == "many"
    assert taken(some) == ["many0", "few0", "one0", "many1", "few1", "many2", "many3"]


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
    assert sorted(some) == ["0:0", "0:2", "5:1"]
    assert some.take_all() == ["5:1", "0:0", "0:2"]
    assert not some
    assert some.next_sender() == ""
    with pytest.raises(IndexError):
        some.take()
