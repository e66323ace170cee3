"""Lengths of time as people write them: ``"90s"``, ``"5m"``, ``"4h"``, ``"5d"``."""

import math
import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TEXT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhdw])\Z")


def seconds_of(value: object) -> float:
    """Seconds, above 0, of such a text or of a number of seconds.  ValueError where it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    found = _TEXT.match(value) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError(f'expected a duration such as "90s", "5m", "4h" or "5d", not {value!r}')
    return float(found[1]) * _SECONDS[found[2]]
