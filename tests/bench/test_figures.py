"""Medians, ratios, whose turn it is, how much is done, and whether that is what was aimed at."""

import pytest

from tests.bench.benches.growth import steps
from tests.bench.counts import Count, scaled, settled
from tests.bench.figures import Measure, Result, percentile, times_as_good, turns
from tests.bench.loads import shares, split
from tests.bench.targets import TARGETS, Judgement, Target, judgements
from tests.tables import each


def rates(subject: str, *values: float) -> Measure:
    return Measure("end to end", "messages/s", subject, values)


def seconds(subject: str, *values: float) -> Measure:
    return Measure("start", "s", subject, values, is_more_better=False)


def test_a_measure_has_its_median_and_its_spread() -> None:
    odd, even = rates("a", 3.0, 1.0, 8.0), rates("a", 4.0, 1.0)
    assert (odd.least, odd.median, odd.most) == (1.0, 3.0, 8.0)
    assert (even.least, even.median, even.most) == (1.0, 2.5, 4.0)


@each(("one", "other", "ratio"), [
    (rates("a", 300.0), rates("b", 100.0), 3.0),
    (rates("a", 100.0), rates("b", 300.0), 1 / 3),
    (seconds("a", 1.0), seconds("b", 4.0), 4.0),
    (rates("a", 1.0), rates("b", 0.0), float("inf")),
    (seconds("a", 0.0), seconds("b", 1.0), float("inf")),
])
def test_the_better_is_more_than_once_as_good(one: Measure, other: Measure, ratio: float) -> None:
    assert times_as_good(one, other) == pytest.approx(ratio)


@each(("share", "value"), [(0.0, 1.0), (0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([4.0, 2.0, 1.0, 3.0], share) == value


def test_rounds_go_back_and_forth() -> None:
    assert turns(["a", "b", "c"], 3) == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert turns([], 3) == []


@each(("whole", "parts", "found"), [(20, 5, [4] * 5), (7, 3, [3, 2, 2]), (1, 3, [1, 0, 0]), (0, 2, [0, 0])])
def test_a_whole_is_split_evenly(whole: int, parts: int, found: list[int]) -> None:
    assert split(whole, parts) == found


def test_every_recipient_has_a_session() -> None:
    assert shares(["a", "b"], 3) == [("a", 2), ("b", 1)]
    assert shares(["a", "b", "c"], 1) == [("a", 1), ("b", 1), ("c", 1)]


@each(("first", "last", "factor", "found"), [
    (10, 1000, 10, [10, 100, 1000]), (10, 400, 10, [10, 100, 400]), (10, 10, 10, [10]), (10, 5, 10, [10]),
    (1, 2000, 5, [1, 5, 25, 125, 625, 2000]),
])
def test_steps_end_where_they_shall(first: int, last: int, factor: int, found: list[int]) -> None:
    assert steps(first, last, factor) == found


# --- counts -----------------------------------------------------------------------------------------------

COUNTS = {"messages": Count(4000, "a round", 40), "octets": Count(4096, "a message")}


@each(("scale", "messages"), [(1.0, 4000), (0.25, 1000), (0.01, 40), (0.001, 40), (2.0, 8000)])
def test_what_scales_scales_down_to_its_least(scale: float, messages: int) -> None:
    assert scaled(COUNTS, scale) == {"messages": messages, "octets": 4096}


def test_a_least_above_the_default_is_not_reached_for() -> None:
    assert scaled({"messages": Count(5, "few", 40)}, 0.1) == {"messages": 5}


def test_what_is_set_does_not_scale() -> None:
    found = settled({"relay": COUNTS, "idle": COUNTS}, ["relay.messages=7", "idle.octets=1"], 0.5)
    assert found == {"relay": {"messages": 7, "octets": 4096}, "idle": {"messages": 2000, "octets": 1}}


@each("word", ["messages=1", "relay=1", "relay.nothing=1", "nothing.messages=1", "relay.messages", "relay.messages=",
               "relay.messages=0", "relay.messages=-1", "relay.messages=1.5", "relay.messages=\u00b2"])
def test_what_is_set_is_a_count_that_there_is(word: str) -> None:
    with pytest.raises(ValueError, match=r"no positive number|relay\.octets"):
        settled({"relay": COUNTS}, [word], 1.0)


# --- targets ----------------------------------------------------------------------------------------------

@each(("ours", "is_reached", "is_aim_reached"), [(249.0, False, False), (250.0, True, False), (400.0, True, True)])
def test_a_rate_is_held_against_another_s(ours: float, is_reached: bool, is_aim_reached: bool) -> None:
    result = Result("relay", measures=[rates("mailgw", ours), rates("postfix", 100.0)])
    [judgement] = judgements(result)
    assert (judgement.found, judgement.is_reached, judgement.is_aim_reached) == (ours / 100, is_reached, is_aim_reached)


@each(("found", "is_reached", "is_aim_reached"), [
    (10.1, False, False), (10.0, True, False), (5.1, True, False), (5.0, True, True),
])
def test_less_may_be_better(found: float, is_reached: bool, is_aim_reached: bool) -> None:
    judgement = Judgement(Target("start", 10.0, 5.0, is_more_better=False), found)
    assert (judgement.is_reached, judgement.is_aim_reached) == (is_reached, is_aim_reached)


def test_without_an_aim_none_is_reached() -> None:
    assert not Judgement(Target("start", 10.0), 1000.0).is_aim_reached


def test_what_was_not_measured_is_not_judged() -> None:
    assert judgements(Result("relay", measures=[rates("mailgw", 1.0)])) == []
    assert judgements(Result("relay", measures=[rates("postfix", 1.0)])) == []
    assert judgements(Result("unknown", measures=[rates("mailgw", 1.0)])) == []


def test_an_aim_is_beyond_the_least() -> None:
    for target in (one for targets in TARGETS.values() for one in targets):
        assert target.aim is None or (target.aim > target.at_least) == target.is_more_better
