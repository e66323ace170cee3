"""The results as one picture: a panel with bars from the least to the most for each quantity that has a target, a panel
for each set of curves.  What else was measured stands in the report and in the JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import Curve, Measure, Result
from tests.bench.targets import MAILGW, TARGETS

COLUMNS = 3
OURS, OTHERS = "tab:orange", "tab:blue"


def why_not() -> str:
    """Why nothing can be drawn here, "" where it can."""
    try:
        import matplotlib  # noqa: F401 - an extra: whoever wants no plot need not have it
    except ImportError:
        return "matplotlib is not installed: pip install '.[bench]'"
    return ""


def draw(results: Sequence[Result], file: Path, words: str) -> None:
    """``words`` stand below it: where it was measured."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(result, found) for result in results for found in _panels(result)]
    if not panels:
        return
    rows = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(
        rows, COLUMNS, figsize=(5 * COLUMNS, 3 * rows + 0.6), squeeze=False, layout="constrained")
    for place, axis in enumerate(axes.flat):
        if place >= len(panels):
            axis.axis("off")
            continue
        result, found = panels[place]
        if isinstance(found[0], Measure):
            _bars(axis, result, found)
        else:
            _curves(axis, result, found)
    figure.supxlabel(words, fontsize=7)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _panels(result: Result) -> list[list[Any]]:
    """The measures of each quantity that has a target, and the curves over each axis."""
    wanted = {target.quantity for target in TARGETS.get(result.bench, ())}
    found: list[list[Any]] = [list(result.of(quantity)) for quantity in result.quantities() if quantity in wanted]
    kinds = dict.fromkeys((curve.axis, curve.quantity) for curve in result.curves)
    return found + [[x for x in result.curves if (x.axis, x.quantity) == kind] for kind in kinds]


def _bars(axis: Any, result: Result, measures: Sequence[Measure]) -> None:
    names = [x.subject for x in measures]
    medians = [x.median for x in measures]
    spread = [[x.median - x.least for x in measures], [x.most - x.median for x in measures]]
    axis.barh(names, medians, xerr=spread, capsize=3, color=[OURS if x == MAILGW else OTHERS for x in names])
    for target in TARGETS.get(result.bench, ()):
        if target.quantity != measures[0].quantity:
            continue
        others = [x.median for x in measures if x.subject == target.against] if target.against else [1.0]
        for median in others:
            axis.axvline(target.at_least * median, color="gray", linestyle="--")
    axis.invert_yaxis()
    axis.set_title(f"{result.bench}: {measures[0].quantity}", fontsize=9)
    axis.set_xlabel(measures[0].unit + ("" if measures[0].is_more_better else " (less is better)"), fontsize=8)
    axis.set_xlim(left=0)


def _curves(axis: Any, result: Result, curves: Sequence[Curve]) -> None:
    for curve in curves:
        axis.plot(*zip(*curve.points, strict=True), marker="o", label=curve.subject,
                  color=OURS if curve.subject == MAILGW else None)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_title(f"{result.bench}: {curves[0].quantity}", fontsize=9)
    axis.set_xlabel(curves[0].axis, fontsize=8)
    axis.legend(fontsize=8)
