"""What the gateway did over the last hour, day and week, in steps; and just now.  PURE: times come in.

Rules:
    A span has a bounded number of steps, whatever the clock says.
    While the gateway was down there is nothing: no step, not one of zeros.  While it ran and did nothing, there are
    zeros.  ``elapsed`` seconds by a clock that does not jump tell the two apart.
    A wall clock that steps forward leaves a gap; one that steps back takes along what is later than it says now, since
    that is not known to have been.
    Of what is read back, what makes no sense is left out.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, Final

import attrs
import msgspec

from mailgw.web.tallies import BUCKETS, DIRECTIONS, Delta, directions, quantile


@attrs.frozen
class Span:
    """So many ``steps``, of ``step_seconds`` each."""

    step_seconds: int
    steps: int


SPANS: Final[Mapping[str, Span]] = {
    "hour": Span(10, 360),
    "day": Span(300, 288),
    "week": Span(1800, 336),
}
GAUGES: Final = ("sessions", "queued")
TIMES: Final = ("p50", "p95")
COLUMNS: Final = (*DIRECTIONS, *GAUGES, *TIMES)
"""Of a step: how often each direction was taken; the sessions, and the recipients in the queue, that were seen last,
null where nobody looked; the seconds in which half, and 95 in 100, of the deliveries were done, null where there were
none."""

MOST: Final = 2**53
"""JSON's numbers are exact up to there, and no count of a step is beyond."""
FILE_OCTETS: Final = 1 << 20
"""Of the plots of all spans; with each number as long as it can be they stay below a quarter of it."""
VERSION: Final = 1

Row = tuple[float | None, ...]


class Plot:
    """One span.  The step that has begun is not shown until it is over."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self._rows: dict[int, Row] = {}  # by the step's number since the epoch, in order
        self._at: int | None = None
        self._clear()
        self._gauges: tuple[float | None, float | None] = (None, None)

    def _clear(self) -> None:
        self._moved = [0] * len(DIRECTIONS)
        self._buckets = [0] * (len(BUCKETS) + 1)

    def roll(self, now: float, elapsed: float) -> None:
        """The time is ``now``, ``elapsed`` seconds after the last call of this."""
        at = int(now // self.span.step_seconds)
        last, self._at = self._at, at
        if last is None or at == last:
            return
        if at == last - 1:
            self._at = last  # the clock is set by a little: the step goes on
            return
        self._rows[last] = self._row()
        self._clear()
        # What it did not do while it ran.
        idle = min(at - last - 1, int(elapsed // self.span.step_seconds) + 1, self.span.steps)
        for step in range(at - max(idle, 0), at):
            self._rows[step] = self._row()
        if at < last:
            self._rows = {step: row for step, row in self._rows.items() if step < at}
        self._bound()

    def note(self, moved: Mapping[str, int], buckets: Sequence[int]) -> None:
        """Something happened in the step that has begun."""
        for at, name in enumerate(DIRECTIONS):
            self._moved[at] += moved[name]
        if buckets:
            self._buckets = [ours + more for ours, more in zip(self._buckets, buckets, strict=True)]

    def look(self, sessions: int | None, queued: int | None) -> None:
        """What there is just now; it stays so until somebody looks again."""
        self._gauges = (sessions, queued)

    def _row(self) -> Row:
        times = (quantile(self._buckets, 0.5), quantile(self._buckets, 0.95))
        return (*self._moved, *self._gauges, *(None if one is None else round(one, 4) for one in times))

    def _bound(self) -> None:
        while len(self._rows) > self.span.steps:
            del self._rows[next(iter(self._rows))]

    def told(self, now: float) -> dict[str, Any]:
        """``start`` is when the first step begins; a column has a value for each step, null for none.  Directions are
        rates, a second."""
        seconds, end = self.span.step_seconds, int(now // self.span.step_seconds)
        rows = [self._rows.get(step) for step in range(end - self.span.steps, end)]
        columns: dict[str, list[float | None]] = {}
        for at, name in enumerate(COLUMNS):
            column = [None if row is None else row[at] for row in rows]
            if name in DIRECTIONS:
                column = [None if one is None else round(one / seconds, 4) for one in column]
            columns[name] = column
        return {
            "start": (end - self.span.steps) * seconds, "step_seconds": seconds, "steps": self.span.steps,
            "columns": columns,
        }

    def rows(self) -> list[list[float | None]]:
        """What is to be kept: also of the step that has begun, which may go on after a restart."""
        rows: list[list[float | None]] = [[step, *row] for step, row in self._rows.items()]
        if self._at is not None:
            rows.append([self._at, *self._row()])
        return rows

    def take_back(self, rows: Iterable[object], now: float) -> None:
        """Those that were kept, as ``rows`` gave them; before the first step is over."""
        end = int(now // self.span.step_seconds)
        for row in islice(rows, 10 * self.span.steps):
            if not isinstance(row, list) or len(row) != 1 + len(COLUMNS):
                continue
            step, *values = row
            if type(step) is int and 0 <= step <= end and step not in self._rows and all(map(_is_sane, values)) \
                    and all(type(one) is int for one in values[:len(DIRECTIONS)]):
                if step == end:  # its times are lost: those are of the rest alone
                    self._moved = [ours + more for ours, more in zip(self._moved, values, strict=False)]
                else:
                    self._rows[step] = tuple(values)
        self._rows = dict(sorted(self._rows.items()))
        self._bound()


def _is_sane(value: object) -> bool:
    return value is None or (type(value) in (int, float) and isfinite(value) and 0 <= value <= MOST)  # type: ignore[arg-type,operator] # checked


class Plots:
    """All spans."""

    def __init__(self) -> None:
        self._plots = {name: Plot(span) for name, span in SPANS.items()}

    def roll(self, now: float, elapsed: float) -> None:
        """As ``Plot`` has it, and so have the others."""
        for plot in self._plots.values():
            plot.roll(now, elapsed)

    def note(self, delta: Delta) -> None:
        moved, buckets = directions(delta), delta.get("delivery", ())
        for plot in self._plots.values():
            plot.note(moved, buckets)

    def look(self, sessions: int | None, queued: int | None) -> None:
        for plot in self._plots.values():
            plot.look(sessions, queued)

    def told(self, span: str, now: float) -> dict[str, Any]:
        """KeyError where there is no such span."""
        return {"span": span, **self._plots[span].told(now)}

    def encoded(self) -> bytes:
        """What is to be kept."""
        spans = {name: plot.rows() for name, plot in self._plots.items()}
        return msgspec.json.encode({"version": VERSION, "columns": COLUMNS, "spans": spans})

    def take_back(self, kept: object, now: float) -> None:
        """What ``decoded`` made of what was kept."""
        assert isinstance(kept, dict)
        for name, plot in self._plots.items():
            rows = kept["spans"].get(name, ())
            if isinstance(rows, list):
                plot.take_back(rows, now)


def decoded(octets: bytes) -> dict[str, Any]:
    """ValueError where it is nothing of ours."""
    kept = msgspec.json.decode(octets)
    if not isinstance(kept, dict) or kept.get("version") != VERSION or kept.get("columns") != list(COLUMNS) \
            or not isinstance(kept.get("spans"), dict):
        raise ValueError("no plots of this version")
    return kept


class Recent:
    """What happened just now, for so many seconds; by a clock that does not jump."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moves: deque[tuple[float, Mapping[str, int], Sequence[int]]] = deque()

    def note(self, delta: Delta, now: float) -> None:
        """All of it since the last time: to be told each second, or there is less to see."""
        self._moves.append((now, directions(delta), delta.get("delivery", ())))
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._moves and self._moves[0][0] <= now - self._seconds:
            self._moves.popleft()

    def counts(self, now: float, seconds: float) -> dict[str, int]:
        """How often each direction was taken within the last ``seconds``."""
        counts = dict.fromkeys(DIRECTIONS, 0)
        for then, moved, _ in self._moves:
            if then > now - seconds:
                for name, count in moved.items():
                    counts[name] += count
        return counts

    def delivery(self, now: float) -> dict[str, float | int | None]:
        """How long the latest deliveries took: ``p50`` and ``p95`` in seconds (null where there were none), ``count``
        of them."""
        self._forget(now)
        buckets = [0] * (len(BUCKETS) + 1)
        for _, _, more in self._moves:
            if more:
                buckets = [ours + one for ours, one in zip(buckets, more, strict=True)]
        times = {name: quantile(buckets, part) for name, part in (("p50", 0.5), ("p95", 0.95))}
        return {name: None if one is None else round(one, 4) for name, one in times.items()} | {"count": sum(buckets)}
