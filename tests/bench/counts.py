"""How much a bench does: its defaults, ``--scale``, ``--set``.  Pure."""

from collections.abc import Iterable, Mapping

import attrs


@attrs.frozen
class Count:
    """A number that a bench can be told.  ``least`` is where ``--scale`` stops; without one it does not scale."""

    default: int
    words: str
    least: int | None = None


Counts = Mapping[str, Count]


def scaled(counts: Counts, scale: float) -> dict[str, int]:
    """The defaults times ``scale``, those that scale; never below ``least``, nor above the default for its sake."""
    return {
        name: count.default if count.least is None
        else max(min(count.least, count.default), round(count.default * scale))
        for name, count in counts.items()
    }


def settled(benches: Mapping[str, Counts], words: Iterable[str], scale: float) -> dict[str, dict[str, int]]:
    """By bench, its counts: scaled, but for those that ``words`` set ("relay.messages=500").

    ValueError, with words for the user, where one names nothing or is no positive number.
    """
    found = {name: scaled(counts, scale) for name, counts in benches.items()}
    for word in words:
        place, equals, number = word.partition("=")
        bench, _, name = place.partition(".")
        if not equals or name not in found.get(bench, {}):
            known = ", ".join(f"{bench}.{name}" for bench, counts in benches.items() for name in counts)
            raise ValueError(f"{word}: not BENCH.COUNT=NUMBER; there are {known}")
        if not number.isascii() or not number.isdigit() or int(number) == 0:
            raise ValueError(f"{word}: {number!r} is no positive number")
        found[bench][name] = int(number)
    return found
