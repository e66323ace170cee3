"""What was done over time: steps, gaps, clocks that jump, and what is read back."""

from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from mailgw.web.plots import COLUMNS, FILE_OCTETS, MOST, SPANS, Plot, Plots, Recent, Span, decoded
from mailgw.web.tallies import BUCKETS, DIRECTIONS, Delta

NOW = 1_700_000_000.0  # the beginning of a step of ten seconds
SHORT = Span(10, 6)
IDLE = dict.fromkeys(DIRECTIONS, 0)


def delta(seconds: float = 0.2, **cells: int) -> Delta:
    """By the names of directions."""
    families = {"in": ["messages_received", "client"], "out": ["deliveries", "out", "none", "none"],
                "rejected": ["rejections", "RCPT", "5xx"]}
    told: Delta = {"cells": [[*families[name], count] for name, count in cells.items()]}
    if "out" in cells:
        told["delivery"] = [0, 0, 0, 0, cells["out"]] + [0] * (len(BUCKETS) - 4)
        told["delivery_seconds"] = seconds * cells["out"]
    return told


class Running:
    """A plot whose clocks agree."""

    def __init__(self, span: Span = SHORT, now: float = NOW) -> None:
        self.plot = Plot(span)
        self.now = now
        self.plot.roll(now, 0.0)

    def advance(self, seconds: float, elapsed: float | None = None) -> "Running":
        self.now += seconds
        self.plot.roll(self.now, seconds if elapsed is None else elapsed)
        return self

    def do(self, **moved: int) -> "Running":
        self.plot.note({**IDLE, **moved}, ())
        return self

    def column(self, name: str = "in") -> list[float | None]:
        told = self.plot.told(self.now)["columns"][name]
        assert isinstance(told, list)
        return told


def test_a_step_is_shown_once_it_is_over() -> None:
    running = Running().do(**{"in": 5}).advance(9.9).do(**{"in": 5})
    assert running.column() == [None] * 6
    running.advance(0.1)
    assert running.column() == [None] * 5 + [1.0]
    assert running.plot.told(running.now)["start"] == NOW - 50


def test_who_does_nothing_has_zeros_and_who_is_away_has_nothing() -> None:
    running = Running().do(**{"in": 10}).advance(30)
    assert running.column() == [None, None, None, 1.0, 0.0, 0.0]
    kept = running.plot.rows()
    later = Running(now=NOW + 50)
    later.plot.take_back(kept, later.now)
    assert later.advance(10).column() == [1.0, 0.0, 0.0, 0.0, None, 0.0]


def test_the_times_of_a_step() -> None:
    plots = Plots()
    plots.roll(NOW, 0.0)
    plots.note(delta(out=10))
    plots.look(3, 7)
    plots.roll(NOW + 10, 10.0)
    columns = plots.told("hour", NOW + 10)["columns"]
    assert set(columns) == set(COLUMNS)
    assert columns["out"][-1] == 1.0
    assert columns["p50"][-1] == 0.175  # of 0.1 to 0.25
    assert columns["p95"][-1] == 0.2425
    assert columns["sessions"][-1] == 3
    assert columns["queued"][-1] == 7
    plots.roll(NOW + 20, 10.0)
    columns = plots.told("hour", NOW + 20)["columns"]
    assert [columns[name][-1] for name in ("out", "p50", "sessions", "queued")] == [0.0, None, 3, 7]


def test_a_clock_that_leaps_ahead_leaves_a_gap() -> None:
    running = Running().do(**{"in": 10}).advance(30, elapsed=1.0)
    assert running.column() == [None, None, None, 1.0, None, 0.0]


def test_a_clock_that_goes_back_takes_what_is_to_come() -> None:
    running = Running().do(**{"in": 10}).advance(10).do(**{"in": 20}).advance(10)
    assert running.column()[-2:] == [1.0, 2.0]
    running.advance(-15, elapsed=0.1).do(**{"in": 30})
    assert running.column() == [None] * 6
    running.advance(20)
    assert running.column()[-2:] == [3.0, 0.0]


def test_a_clock_that_is_set_back_a_little_loses_nothing() -> None:
    running = Running(now=NOW + 9).do(**{"in": 10}).advance(2).do(**{"in": 20})
    running.advance(-2, elapsed=0.1).do(**{"in": 10})
    assert running.advance(12).column()[-2:] == [1.0, 3.0]


def test_all_leaps_leave_what_is_bounded() -> None:
    running = Running()
    for leap in (1e9, -1e9, 1e6, 60, -59, 1e12, -1e12, 3600):
        running.advance(leap, elapsed=5.0).do(**{"in": 1})
    assert len(running.plot.rows()) <= 7


def test_a_restart_within_a_step_goes_on_with_it() -> None:
    running = Running(Span(1800, 4), now=1800.0 * 1_000_000).do(**{"in": 900}).advance(60)
    later = Running(Span(1800, 4), now=running.now + 60).do(**{"in": 900})
    later.plot.take_back(running.plot.rows(), later.now)
    assert later.advance(1800).column()[-1] == 1.0


def test_what_is_kept_comes_back() -> None:
    plots, now = Plots(), NOW
    plots.roll(now, 0.0)
    for _ in range(400):
        plots.note(delta(out=2, rejected=1, **{"in": 3}))
        plots.look(1, 2)
        now += 10
        plots.roll(now, 10.0)
    again = Plots()
    again.roll(now, 0.0)
    again.take_back(decoded(plots.encoded()), now)
    for span in SPANS:
        assert again.told(span, now) == plots.told(span, now)


def test_the_longest_file_is_read() -> None:
    rows = [[MOST, *[MOST] * len(DIRECTIONS), MOST, MOST, 432000.1234, 432000.1234]] * sum(
        span.steps + 1 for span in SPANS.values())
    assert len(msgspec.json.encode(rows)) < FILE_OCTETS / 4


ROW = [NOW // 10 - 1, 1, 2, 3, 4, 5, 6, None, 8, 0.1, None]


@pytest.mark.parametrize("octets", [
    b"", b"[]", b"{}", b"\xff", b'{"version":1,"columns":[],"spans":{}}',
    msgspec.json.encode({"version": 2, "columns": COLUMNS, "spans": {}}),
    msgspec.json.encode({"version": 1, "columns": COLUMNS, "spans": []}),
])
def test_what_is_nothing_of_ours_is_refused(octets: bytes) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        decoded(octets)


def test_rows_that_make_no_sense_are_left_out() -> None:
    bad: list[Any] = [
        None, 5, [], [1], ROW[:-1], [*ROW, 1], ["x", *ROW[1:]], [-1, *ROW[1:]], [NOW, *ROW[1:]], [True, *ROW[1:]],
        [ROW[0], None, *ROW[2:]], [ROW[0], -1, *ROW[2:]], [ROW[0], 1e999, *ROW[2:]], [ROW[0], "1", *ROW[2:]],
        [ROW[0], 1.5, *ROW[2:]], [*ROW[:-1], MOST + 1], {"a": 1},
    ]
    row = [int(ROW[0] or 0), *ROW[1:]]
    plot = Plot(Span(10, 6))
    plot.take_back([*bad, row, row], NOW)
    assert plot.rows() == [row]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda one: (
    st.lists(one) | st.dictionaries(st.text(), one))))
def test_no_file_of_ours_that_was_meddled_with_stops_anything(rows: Any) -> None:
    plots = Plots()
    plots.roll(NOW, 0.0)
    plots.take_back({"spans": {"hour": rows, "day": [rows], "week": rows}}, NOW)
    plots.roll(NOW + 60, 60.0)
    assert len(plots.told("hour", NOW + 60)["columns"]["in"]) == 360


def test_what_was_done_just_now() -> None:
    recent = Recent(60.0)
    recent.note(delta(out=4, **{"in": 10}), 100.0)
    recent.note(delta(out=4, **{"in": 20}), 109.5)
    assert recent.counts(110.0, 10.0)["in"] == 20
    assert recent.counts(110.0, 60.0)["in"] == 30
    assert recent.delivery(110.0) == {"p50": 0.175, "p95": 0.2425, "count": 8}
    assert recent.delivery(160.0)["count"] == 4
    assert recent.delivery(170.0) == {"p50": None, "p95": None, "count": 0}
    assert recent.counts(170.0, 60.0) == IDLE
