"""Whose turn it is."""

import pytest

from mailgw.queue.turns import Turns


def test_groups_take_turns_and_so_do_their_members() -> None:
    turns: Turns[str] = Turns()
    for key in ("a1", "a2", "a3", "b1", "c1", "a1"):
        turns.add(key, key[0], key.upper())
    assert len(turns) == 5
    assert "a1" in turns
    turns.drop("c1")
    turns.drop("nobody")
    assert [turns.take() for _ in range(3)] == ["A1", "B1", "A2"]
    turns.add("b2", "b", "B2")
    turns.add("a1", "a", "A1")
    assert [turns.take() for _ in range(len(turns))] == ["A3", "B2", "A1"]
    with pytest.raises(IndexError):
        turns.take()


def test_who_comes_again_has_the_same_place() -> None:
    turns: Turns[str] = Turns()
    for key, group, member in (("a1", "a", "old"), ("a2", "a", "A2"), ("b1", "b", "B1"), ("a1", "b", "new")):
        turns.add(key, group, member)
    assert [turns.take() for _ in range(len(turns))] == ["new", "B1", "A2"]


def test_a_group_that_is_dropped_whole_is_gone() -> None:
    turns: Turns[str] = Turns()
    turns.add("a1", "a", "A1")
    turns.drop("a1")
    assert not turns
    turns.add("a1", "a", "again")
    assert turns.take() == "again"
