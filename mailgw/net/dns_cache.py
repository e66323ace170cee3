"""Answers that are remembered until they expire, within a number of entries and of octets."""

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

V = TypeVar("V")

CACHE_ENTRIES: Final = 10_000
CACHE_OCTETS: Final = 16 * 1024 * 1024
# What an entry costs beside its answer's octets: a key, a tuple, a Records with an item or two.
ENTRY_OCTETS: Final = 1024


class Cache(Generic[V]):
    """What was not asked for the longest time goes first.  ``now`` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float], entries: int = CACHE_ENTRIES, octets: int = CACHE_OCTETS) -> None:
        self._now = now
        self._most_entries, self._most_octets = entries, octets
        self._kept: dict[Hashable, tuple[float, V, int]] = {}
        self._octets = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_octets(self) -> int:
        return self._octets

    def get(self, key: Hashable) -> V | None:
        """None where there is nothing, or it has expired."""
        found = self._forget(key)
        if found is None or found[0] <= self._now():
            return None
        self._put(key, found)  # now the last one to go
        return found[1]

    def keep(self, key: Hashable, value: V, seconds: float, size_octets: int) -> None:
        """For that many seconds (not above 0: not at all); in the place of what was there."""
        self._forget(key)
        cost = size_octets + ENTRY_OCTETS
        if seconds <= 0 or cost > self._most_octets:
            return
        while len(self._kept) >= self._most_entries or self._octets + cost > self._most_octets:
            self._forget(next(iter(self._kept)))
        self._put(key, (self._now() + seconds, value, cost))

    def _put(self, key: Hashable, entry: tuple[float, V, int]) -> None:
        self._kept[key] = entry
        self._octets += entry[2]

    def _forget(self, key: Hashable) -> tuple[float, V, int] | None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._octets -= found[2]
        return found
