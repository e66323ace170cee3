"""The page that ``mailgw top`` shows: what the command ``now`` answered, in lines of so many columns."""

import time
from collections.abc import Mapping
from typing import Any, Final

from mailgw.terminal import harmless
from mailgw.trace_words import BOLD, DIM, GREEN, RED, YELLOW, Pen

Now = Mapping[str, Any]

NARROWEST: Final = 24
_DIRECTIONS: Final = (
    ("in", "in", ""), ("out", "out", GREEN), ("deferred", "deferred", YELLOW), ("bounced", "bounced", RED),
    ("rejected", "rejected", ""), ("connected", "sessions", ""),
)
_STATES: Final = {"dead": RED, "paused": RED, "unwell": YELLOW, "suspended": YELLOW}
_WIDTH_OF_NUMBERS: Final = 11
_BARE: Final = 48
"""Columns that a lane's line has beside its name and what was said there."""


def page(now: Now, width: int, height: int, pen: Pen, notice: str = "") -> list[str]:
    """At most ``height`` lines, none of which takes more than ``width`` columns.  ``notice`` is what is to be known
    first."""
    width = max(width, NARROWEST)
    lines = [*_head(now, width, pen, notice), "", *_rates(now, width, pen), *_numbers(now, width, pen), ""]
    lanes = _lanes(now, width, pen)
    if len(lanes) > 1:
        lines += lanes
    return lines[:max(height, 1)]


def _head(now: Now, width: int, pen: Pen, notice: str) -> list[str]:
    up = length(now["time"] - now["began"])
    clock = time.strftime("%H:%M:%S UTC", time.gmtime(now["time"]))
    workers = now["workers"]
    away = [str(one["worker"]) for one in workers if not one["answers"]]
    words = f"up {up}, mailgw {now['version']}" + (f", {len(workers)} workers" if workers else "")
    right = f"{words}{'':{max(2, width - len(words) - len(clock))}}{clock}"
    lines = [pen(BOLD, cut(right, width))]
    if away:
        lines.append(pen(RED, cut(f"worker {', '.join(away)} does not answer", width)))
    if notice:
        lines.append(pen(RED, cut(harmless(notice), width)))
    return lines


def _rates(now: Now, width: int, pen: Pen) -> list[str]:
    columns = ("a second", "last minute", "since start")[:max(1, (width - 10) // (_WIDTH_OF_NUMBERS + 2))]
    lines = [pen(DIM, cut(f"{'':10}" + "".join(f"{name:>{_WIDTH_OF_NUMBERS + 2}}" for name in columns), width))]
    for key, name, colour in _DIRECTIONS:
        numbers = (f"{now['rates'][key]:,.1f}", f"{now['minute'][key]:,}", f"{now['totals'][key]:,}")[:len(columns)]
        cells = "".join(f"{number:>{_WIDTH_OF_NUMBERS + 2}}" for number in numbers)
        lines.append(pen(colour if now["minute"][key] else "", cut(f"{name:10}{cells}", width)))
    return lines


def _numbers(now: Now, width: int, pen: Pen) -> list[str]:
    lines = []
    sessions, delivery, queue, disk = now["sessions"], now["delivery"], now["queue"], now["disk"]
    if sessions is not None:
        lines.append(("open now", f"{sessions['open']:,} sessions of at most {sessions['most']:,}", ""))
    if delivery["count"]:
        words = f"half within {seconds(delivery['p50'])}, 95 % within {seconds(delivery['p95'])}"
        lines.append(("delivery", f"{words}, of {delivery['count']:,} in the last minute", ""))
    else:
        lines.append(("delivery", "none in the last minute", ""))
    if queue is not None:
        lines += _queue(queue, now["time"])
    if disk is not None:
        room = "" if disk["has_room"] else f", below the reserve of {octets(disk['reserve_octets'])}: no mail is taken"
        lines.append(("disk", f"{octets(disk['free_octets'])} free{room}", "" if disk["has_room"] else RED))
    return [pen(colour, cut(f"{name:10}  {words}", width)) for name, words, colour in lines]


def _queue(queue: Mapping[str, Any], now: float) -> list[tuple[str, str, str]]:
    sums = {name: sum(row[name] for row in queue["backends"]) for name in ("lanes", "due_now", "active", "held")}
    oldest = "" if queue["oldest"] is None else f", the oldest {length(now - queue['oldest'])}"
    age = now - queue["at"]
    counted = f" ({'as of' if queue['is_whole'] else 'still counting, since'} {length(age)} ago)" if age >= 5 else ""
    parts = [f"{sums[name]:,} {word}" for name, word in (("due_now", "due"), ("active", "active"), ("held", "held"))
             if sums[name]]
    lines = [(
        "queue", f"{_many(queue['recipients'], 'recipient')} for {_many(sums['lanes'], 'destination')}{oldest}{counted}"
        + (f": {', '.join(parts)}" if parts else ""), "")]
    answers = ", ".join(f"{status} {count:,}" for status, count in list(queue["statuses"].items())[:5])
    if answers:
        lines.append(("answers", harmless(answers), ""))
    return lines


def _lanes(now: Now, width: int, pen: Pen) -> list[str]:
    is_narrow = width < 2 * _BARE
    between = "" if is_narrow else f"  {'active':>6}  {'held':>6}  {'next':>8}"
    lines = [pen(DIM, cut(f"{'':10}  {'waiting':>9}{between}  destination", width))]
    for lane in now["lanes"]:
        colour = _STATES.get(lane["state"], "")
        numbers = f"{lane['waiting']:>9,}"
        if not is_narrow:
            opens = lane["opens_at"] or lane["next_due"]
            soon = "" if opens is None else "now" if opens <= now["time"] else length(opens - now["time"])
            numbers += f"  {lane['active']:>6,}  {lane['held']:>6,}  {soon:>8}"
        said = lane["said"] or lane["reason"]
        words = f"{lane['lane']}  {said}" if said else lane["lane"]
        rest = cut(f"  {numbers}  {harmless(words)}", width - 10)
        lines.append(pen(colour, f"{lane['state'] if lane['state'] != 'well' else '':10}") + rest)
    return lines


def cut(words: str, width: int) -> str:
    """Not longer than that; what is cut ends in an ellipsis."""
    return words if len(words) <= width else words[:max(width - 1, 0)] + "…"


def length(passed: float) -> str:
    """``5 s``, ``12 min``, ``3 h 5 min``, ``4 d 2 h``."""
    whole = max(0, int(passed))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def seconds(passed: float) -> str:
    """``0.012 s``, ``3.4 s``, ``12 min``."""
    return f"{passed:.3g} s" if passed < 60 else length(passed)


def octets(count: float) -> str:
    for unit in ("octets", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "octets" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
