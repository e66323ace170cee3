"""What one of several processes hears, told to the one that operators talk to.

    counted   each second in which something happened: what was (``tallies``)
    seen      while somebody watches: facts that match what he wants to see, and how many were left out

Rules:
    A call has at most ``BATCH_OCTETS``, which is below what goes between two processes.
    Who watches says so every few seconds; when he says it no more, no fact is told any more.
    What came shortly before somebody began to watch is told, too: as much as one call holds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.mail.ports import WallClock
from mailgw.web.hearing import Hearing
from mailgw.web.tallies import EVENTS, Delta
from mailgw.web.wanted_facts import Fact, Watch, wanted
from mailgw.web.watchers import LEASE_SECONDS

BATCH_SECONDS: Final = 0.5
BATCH_FACTS: Final = 300
BATCH_OCTETS: Final = 40_000
FACT_OCTETS: Final = 8_000
SHOWN_RECIPIENTS: Final = 20
"""Of a fact that is longer."""
LONGEST_TEXT: Final = 320
CELLS: Final = 400


class Reporter:
    """``tell`` is the way to the other process: a name, and arguments that JSON can hold."""

    def __init__(
        self, backends: Collection[str], reply_classes: Collection[str], clock: IReactorTime, wall_clock: WallClock,
        tell: Callable[..., None],
    ) -> None:
        self.hearing = Hearing(backends, reply_classes, clock, wall_clock, self._tell_counted)
        self._clock = clock
        self._tell = tell
        self._watches: dict[bytes, Watch] = {}
        self._until = 0.0
        self._after: int | None = None
        self._call: IDelayedCall | None = None

    def _tell_counted(self, delta: Delta) -> None:
        cells = delta.pop("cells")
        for at in range(0, len(cells), CELLS):
            self._tell("facts.counted", {"cells": cells[at:at + CELLS], **delta})
            delta = {}

    def watch(self, filters: Sequence[Mapping[str, object]]) -> None:
        """Somebody wants to see what matches any of these, from now on, or still."""
        known, self._watches = self._watches, {}
        for one in filters:
            key = msgspec.json.encode(one)
            self._watches[key] = known.get(key) or Watch(wanted(one, EVENTS))
        if self._clock.seconds() >= self._until or not known:
            self._after = None
        self._until = self._clock.seconds() + LEASE_SECONDS
        if self._call is None and self._watches:
            self._call = self._clock.callLater(0, self._tell_seen)

    def _tell_seen(self) -> None:
        self._call = None
        if self._clock.seconds() >= self._until or not self._watches:
            self._watches = {}
            return
        self._call = self._clock.callLater(BATCH_SECONDS, self._tell_seen)
        is_first = self._after is None
        is_all = all(one.what.is_everything for one in self._watches.values())
        matches = None if is_all else self._matches
        facts, self._after, left_out = self.hearing.feed.since(self._after, matches, BATCH_FACTS)
        batch, octets = [], 0
        for fact in reversed(facts):  # the latest, where there are too many
            del fact["number"]
            size = len(msgspec.json.encode(fact))
            if size > FACT_OCTETS:
                fact = _shortened(fact)
                size = len(msgspec.json.encode(fact))
            if octets + size > BATCH_OCTETS:
                break
            batch.append(fact)
            octets += size
        batch.reverse()
        if batch or left_out:
            # Of what was there before he came nothing is missed.
            self._tell("facts.seen", batch, 0 if is_first else left_out + len(facts) - len(batch))

    def _matches(self, fact: Fact) -> bool:
        # Each has to see it, also where another one wants it already: they follow messages.
        wanted_by = [one.matches(fact) for one in self._watches.values()]
        return any(wanted_by)

    async def close(self) -> None:
        """What was counted is told, and nothing more."""
        self.hearing.close()
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _shortened(fact: Mapping[str, Any]) -> dict[str, Any]:
    """Without most of its recipients, and with the beginning of its texts; ``shortened`` says so."""
    short: dict[str, Any] = {}
    for name, value in fact.items():
        if isinstance(value, list):
            short[name] = [str(one)[:LONGEST_TEXT] for one in value[:SHOWN_RECIPIENTS]]
        else:
            short[name] = value[:LONGEST_TEXT] if isinstance(value, str) else value
    return {**short, "shortened": True}
