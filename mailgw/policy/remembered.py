"""Answers of a source that is dear to ask, for a while each, in a table of a fixed size.

Rules:
    What exists and what does not stand in tables of their own: who asks for made-up names by the thousand drives out
    nothing but those.
    An old answer is better than none, up to an age, where it says that something exists.  One that says it does not is
    never used behind its time: what was true then may be a new user refused for good.
    A full table forgets what was used longest ago.

Time comes in as ``now``, monotonic seconds.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class MemorySettings:
    """Answers count for ``keep_seconds``, that there is nothing for ``keep_unknown_seconds``; up to ``stale_seconds``
    old they may stand in for a source that is down.  ``most`` of each kind, from 1."""

    keep_seconds: float
    keep_unknown_seconds: float
    stale_seconds: float
    most: int


@attrs.frozen
class Answer(Generic[T]):
    """``value`` None: there is nothing.  ``is_fresh``: no need to ask."""

    value: T | None
    is_fresh: bool


class Remembered(Generic[T]):
    """The answers, by text."""

    def __init__(self, settings: MemorySettings) -> None:
        self._settings = settings
        self._known: OrderedDict[str, tuple[T, float]] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known) + len(self._unknown)

    def answer(self, key: str, now: float) -> Answer[T] | None:
        """None where nothing is remembered that may still be used."""
        settings = self._settings
        if key in self._unknown:
            if now - self._unknown[key] < settings.keep_unknown_seconds:
                self._unknown.move_to_end(key)
                return Answer(None, True)
            del self._unknown[key]
        if key not in self._known:
            return None
        value, learned = self._known[key]
        age = now - learned
        if age >= max(settings.keep_seconds, settings.stale_seconds):
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return Answer(value, age < settings.keep_seconds)

    def learn(self, key: str, value: T | None, now: float) -> None:
        """What the source said just now takes the place of whatever it said before."""
        self._known.pop(key, None)
        self._unknown.pop(key, None)
        if value is None:
            self._unknown[key] = now
        else:
            self._known[key] = (value, now)
        for table in (self._known, self._unknown):
            while len(table) > self._settings.most:
                table.popitem(last=False)

    def doubt(self, now: float) -> None:
        """Ask again for all of it; what exists may still stand in."""
        self._unknown.clear()
        too_old = now - self._settings.keep_seconds
        for key, (value, learned) in self._known.items():
            self._known[key] = (value, min(learned, too_old))
