"""What is wrong with a gateway, or soon will be, in words: the first thing to be read of its health.

Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

BAD: Final = "bad"
WARN: Final = "warn"

DAY: Final = 86400.0
RENEWED_DAYS: Final = 14.0
"""Who renews certificates by himself does it 30 days before their end, and tries every day."""
LAST_DAYS: Final = 3.0
TROUBLE_SECONDS: Final = 3600.0
TROUBLED_LANES: Final = 5
"""Named one by one."""


def findings(health: Mapping[str, Any], now: float) -> list[dict[str, str]]:
    """The worst first: each has a ``level``, bad or warn, ``what`` it is about, and ``why``.  ``health`` as the
    control command has it."""
    found = [
        *_workers(health["workers"]), *_disk(health["disk"]), *_certificates(health["certificates"], now),
        *_lanes(health["unwell"]), *_troubles(health["troubles"], now),
    ]
    return [
        {"level": level, "what": what, "why": why}
        for level, what, why in sorted(found, key=lambda one: one[0] != BAD)
    ]


def _workers(workers: list[Any]) -> Iterator[tuple[str, str, str]]:
    for one in workers:
        if not one["is_ready"]:
            yield BAD, f"worker {one['worker']}", "does not run: the log says why; it is started again and again"
        elif not one["answers"]:
            yield BAD, f"worker {one['worker']}", "does not answer: after a minute of that it is started again"
        elif one["ends"]:
            yield WARN, f"worker {one['worker']}", f"ended {one['ends']} times of late, and was started again"


def _disk(disk: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    free, reserve = disk["free_octets"], disk["reserve_octets"]
    where = f"the disk of {disk['path']}"
    if not disk["has_room"]:
        yield BAD, where, f"{_size(free)} are free, below the reserve of {_size(reserve)}: no mail is taken or sent"
    elif free < 4 * reserve:
        yield WARN, where, f"{_size(free)} are free; below {_size(reserve)} no mail is taken"


def _size(octets: float) -> str:
    for unit in ("octets", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"


def _certificates(certificates: list[Any], now: float) -> Iterator[tuple[str, str, str]]:
    for one in certificates:
        what = f"certificate {one['name']}"
        if one["why"]:
            yield BAD, what, one["why"]
        elif one["not_after"] is None:
            continue
        elif one["not_after"] <= now:
            yield BAD, what, f"ended {_days(now - one['not_after'])} ago: {one['file']}"
        elif (left := one["not_after"] - now) < RENEWED_DAYS * DAY:
            yield BAD if left < LAST_DAYS * DAY else WARN, what, f"ends in {_days(left)}: {one['file']}"


def _days(seconds: float) -> str:
    days = int(seconds / DAY)
    return f"{days} day{'' if days == 1 else 's'}" if days else f"{int(seconds / 3600)} hours"


def _lanes(unwell: list[Any]) -> Iterator[tuple[str, str, str]]:
    for one in unwell[:TROUBLED_LANES]:
        yield WARN, f"lane {one['lane']}", f"is {one['state']}: {one['said']}" if one["said"] else f"is {one['state']}"
    if len(unwell) > TROUBLED_LANES:
        yield WARN, "lanes", f"{len(unwell) - TROUBLED_LANES} more are in trouble"


def _troubles(troubles: list[Any], now: float) -> Iterator[tuple[str, str, str]]:
    for one in troubles:
        if now - one["last"] < TROUBLE_SECONDS:
            times = f", {one['count']} times" if one["count"] > 1 else ""
            yield WARN, one["what"], f"{one['why']}{times}"
