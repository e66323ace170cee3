"""Results as lines for people, and as JSON.  Pure."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import attrs

from tests.bench.figures import Measure, Result, times_as_good
from tests.bench.targets import MAILGW, Judgement, judgements

WIDTH = 120


def number(value: float) -> str:
    """Three digits that count, without an exponent: 0.00123, 1.23, 123, 1234."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}" if abs(value) >= 0.0001 else f"{value:.6f}"


def lines(result: Result, title: str) -> Iterator[str]:
    """All that there is to say of one bench."""
    counts = ", ".join(f"{value} {name}" for name, value in result.counts.items())
    yield f"{result.bench}: {title}"
    yield f"  ({counts}; {result.seconds:.0f} s)"
    for quantity in result.quantities():
        measures = result.of(quantity)
        yield f"  {quantity}, {measures[0].unit}:"
        yield from _rows(measures)
    for curve in result.curves:
        points = ", ".join(f"{number(x)}: {number(y)}" for x, y in curve.points)
        yield from _wrapped(f"{curve.subject}, {curve.quantity} at {curve.axis}: {points}")
    for judgement in judgements(result):
        yield f"  target: {judged(judgement)}"
    for note in result.notes:
        yield from _wrapped(note)
    for subject, why in result.skipped.items():
        yield from _wrapped(f"skipped {subject}: {why}")
    if result.failed:
        yield from _wrapped(f"FAILED: {result.failed}")


def _rows(measures: Sequence[Measure]) -> Iterator[str]:
    ours = next((x for x in measures if x.subject == MAILGW), None)
    width = max(len(x.subject) for x in measures)
    for one in measures:
        spread = f"({number(one.least)}..{number(one.most)})" if len(one.values) > 1 else ""
        ratio = ""
        if ours is not None and one is not ours and one.unit == ours.unit:
            ratio = f"{MAILGW} is {times_as_good(ours, one):.2f} times as good"
        yield f"    {one.subject:{width}}  {number(one.median):>8}  {spread:18}  {ratio}".rstrip()


def judged(judgement: Judgement) -> str:
    target = judgement.target
    direction = "at least" if target.is_more_better else "at most"
    whose = "" if target.against is None else f" times {target.against}"
    aim = "" if target.aim is None else f", the aim {number(target.aim)}"
    verdict = "reached" if judgement.is_reached else "NOT reached"
    if judgement.is_aim_reached:
        verdict += ", the aim too"
    return f"{target.quantity}: {direction} {number(target.at_least)}{whose}{aim}: {number(judgement.found)}, {verdict}"


def table(results: Sequence[Result], titles: Mapping[str, str]) -> str:
    """What there are targets for, as a table in reStructuredText; titles are by bench."""
    rows = [("", "mailgw", "beside it", "ratio", "at least")]
    for result in results:
        for judgement in judgements(result):
            target = judgement.target
            ours = result.measure(target.quantity, MAILGW)
            theirs = None if target.against is None else result.measure(target.quantity, target.against)
            assert ours is not None
            what = f"{titles[result.bench]}: {target.quantity}"
            if theirs is None:
                limit = f"{'' if target.is_more_better else 'at most '}{number(target.at_least)}"
                rows.append((what, f"{number(ours.median)} {ours.unit}", "", "", limit))
            else:
                beside = f"{number(theirs.median)} ({theirs.subject})"
                ratio = f"{judgement.found:.2f}"
                rows.append((what, f"{number(ours.median)} {ours.unit}", beside, ratio, number(target.at_least)))
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {' ' if at else '*'} - {cell}".rstrip() for at, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)


def document(results: Sequence[Result], facts: Mapping[str, object]) -> str:
    """JSON: the ``machine``, and by bench its counts, values, curves, targets, and what was skipped and why."""
    benches = {}
    for result in results:
        benches[result.bench] = {
            "counts": result.counts,
            "seconds": round(result.seconds, 1),
            "measures": [
                attrs.asdict(x) | {"median": x.median, "least": x.least, "most": x.most} for x in result.measures
            ],
            "curves": [attrs.asdict(x) for x in result.curves],
            "targets": [
                attrs.asdict(x.target) | {"found": x.found, "is_reached": x.is_reached} for x in judgements(result)
            ],
            "skipped": result.skipped,
            "notes": result.notes,
            "failed": result.failed,
        }
    return json.dumps({"machine": dict(facts), "benches": benches}, indent=1) + "\n"
