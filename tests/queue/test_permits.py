"""Passes over several holders: never more than a bound, nobody left out, nothing lost with who dies."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.rate import Rate
from mailgw.mail.shape import Bounds
from mailgw.queue.permits import Calm, Contended, Granted, Path, PermitTable, Word

LANE: Path = ("out/a.test",)
BOTH: Path = ("out/a.test", "out backend")
OTHER: Path = ("out/b.test", "out backend")
ONE, TWO, FOUR = Bounds(1, None), Bounds(2, None), Bounds(4, None)


def test_who_comes_alone_has_all_there_are_and_no_more() -> None:
    table = PermitTable()
    assert table.ask("a", LANE, [FOUR], 3, 0.0) == [Granted("a", LANE, 3)]
    # He waits himself: whatever of it lies idle is to come back.
    assert table.ask("a", LANE, [FOUR], 3, 0.0) == [Granted("a", LANE, 1), Contended("a", LANE[0], 0)]
    assert table.through(LANE[0]) == 4


def test_a_gate_of_one_goes_round() -> None:
    table = PermitTable()
    assert table.ask("a", LANE, [ONE], 1, 0.0) == [Granted("a", LANE, 1)]
    assert table.ask("b", LANE, [ONE], 5, 0.0) == [Contended("a", LANE[0], 1)]
    assert table.ask("c", LANE, [ONE], 5, 0.0) == []
    assert table.ask("a", LANE, [ONE], 1, 0.0) == []  # behind the others
    turns = []
    for holder in ("a", "b", "c", "a", "b"):
        words = table.give_back(holder, LANE, 1, 0.0)
        turns += [word.holder for word in words if isinstance(word, Granted)]
    assert turns == ["b", "c", "a", "b", "c"]


def test_who_has_more_than_his_share_gives_of_it_and_no_more() -> None:
    table = PermitTable()
    table.ask("a", LANE, [FOUR], 4, 0.0)
    assert table.ask("b", LANE, [FOUR], 4, 0.0) == [Contended("a", LANE[0], 2)]
    assert table.give_back("a", LANE, 1, 0.0) == [Granted("b", LANE, 1), Contended("b", LANE[0], 0)]
    assert table.give_back("a", LANE, 1, 0.0) == [Granted("b", LANE, 1)]
    # Two each: nobody has to give, though b would like more.
    assert table.ask("a", LANE, [FOUR], 4, 0.0) == []


def test_once_nobody_waits_all_is_calm() -> None:
    table = PermitTable()
    table.ask("a", LANE, [ONE], 1, 0.0)
    table.ask("b", LANE, [ONE], 1, 0.0)
    assert table.give_back("a", LANE, 1, 0.0) == [Granted("b", LANE, 1), Calm("a", LANE[0])]
    assert table.give_back("b", LANE, 1, 0.0) == []
    assert table._gates == table._through == table._told == table._owed == table._waiting == table._wanted == {}


def test_all_gates_of_a_path_or_none() -> None:
    table = PermitTable()
    assert table.ask("a", BOTH, [TWO, ONE], 2, 0.0) == [Granted("a", BOTH, 1), Contended("a", "out backend", 0)]
    assert table.ask("b", OTHER, [TWO, ONE], 1, 0.0) == [Contended("a", "out backend", 1)]
    assert table.through(OTHER[0]) == 0
    words = table.give_back("a", BOTH, 1, 0.0)
    assert words[0] == Granted("a", BOTH, 1)  # he waited longer
    assert table.give_back("a", BOTH, 1, 0.0)[0] == Granted("b", OTHER, 1)


def test_a_rate_is_counted_over_all() -> None:
    table = PermitTable()
    bounds = [Bounds(10, Rate(2, 10.0))]
    assert table.ask("a", LANE, bounds, 1, 0.0) == [Granted("a", LANE, 1)]
    table.give_back("a", LANE, 1, 0.0)
    assert table.ask("b", LANE, bounds, 3, 0.0)[0] == Granted("b", LANE, 1)
    assert table.next_look(0.0) == 5.0
    assert table.look(4.9) == []
    assert table.look(5.0) == [Granted("b", LANE, 1)]
    assert table.next_look(5.0) == 10.0


def test_who_is_gone_leaves_all_to_the_others() -> None:
    table = PermitTable()
    table.ask("a", BOTH, [TWO, TWO], 2, 0.0)
    table.ask("a", OTHER, [TWO, TWO], 2, 0.0)
    table.ask("b", OTHER, [TWO, TWO], 2, 0.0)
    words = table.gone("a", 0.0)
    assert [word for word in words if isinstance(word, Granted)] == [Granted("b", OTHER, 2)]
    assert table.held("a") == 0
    assert table.gone("b", 0.0) == [] == table.gone("nobody", 0.0)


def test_who_gives_back_what_he_has_not_has_a_bug() -> None:
    table = PermitTable()
    table.ask("a", LANE, [FOUR], 2, 0.0)
    for count in (0, 3):
        with pytest.raises(ValueError, match="gives back"):
            table.give_back("a", LANE, count, 0.0)
    with pytest.raises(ValueError, match="gives back"):
        table.give_back("b", LANE, 1, 0.0)
    assert table.held("a") == 2


class Crowd:
    """Holders that obey, each with the passes that it was told of."""

    PATHS: tuple[Path, ...] = (
        ("x/a", "x backend"), ("x/b", "x backend"), ("x/c", "x host:m", "x backend"), ("x/d", "x host:m", "x backend"),
    )
    BOUNDS = {"x/a": 1, "x/b": 3, "x/c": 2, "x/d": 2, "x host:m": 2, "x backend": 4}

    def __init__(self) -> None:
        self.table = PermitTable()
        self.passes: Counter[tuple[str, Path]] = Counter()
        self.wants: Counter[tuple[str, Path]] = Counter()

    def hear(self, words: list[Word]) -> None:
        for word in words:
            if isinstance(word, Granted):
                self.passes[word.holder, word.path] += word.count
                self.wants[word.holder, word.path] -= word.count
        for gate, bound in self.BOUNDS.items():
            inside = sum(count for (_, path), count in self.passes.items() if gate in path)
            assert inside == self.table.through(gate) <= bound, gate
        assert all(count >= 0 for count in self.wants.values())

    def ask(self, holder: str, path: Path, wanted: int) -> None:
        self.wants[holder, path] = wanted
        self.hear(self.table.ask(holder, path, [Bounds(self.BOUNDS[gate], None) for gate in path], wanted, 0.0))

    def give(self, holder: str, path: Path) -> None:
        if self.passes[holder, path]:
            self.passes[holder, path] -= 1
            self.hear(self.table.give_back(holder, path, 1, 0.0))

    def die(self, holder: str) -> None:
        for kept in (self.passes, self.wants):
            for key in [key for key in kept if key[0] == holder]:
                del kept[key]
        self.hear(self.table.gone(holder, 0.0))


STEPS = st.lists(st.tuples(
    st.sampled_from(["ask", "give", "give", "die"]), st.sampled_from("pqr"), st.integers(0, 3), st.integers(1, 5),
), max_size=60)


@given(STEPS)
def test_never_more_than_the_bounds_and_in_the_end_everybody_has_had_his_turn(
    steps: list[tuple[str, str, int, int]]
) -> None:
    crowd = Crowd()
    for what, holder, path, count in steps:
        match what:
            case "ask":
                crowd.ask(holder, crowd.PATHS[path], count)
            case "give":
                crowd.give(holder, crowd.PATHS[path])
            case "die":
                crowd.die(holder)
    # Attempts end, and nobody asks any more: whoever waits is served.
    for _ in range(200):
        for (holder, path), count in list(crowd.passes.items()):
            if count:
                crowd.give(holder, path)
    assert not +crowd.wants
    assert crowd.table._gates == crowd.table._waiting == crowd.table._wanted == crowd.table._held == {}
