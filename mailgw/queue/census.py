"""The queue counted, by lane and by what was said: a stretch at a time, so that nobody waits for a million rows.

What comes, goes or changes its state while it is counted may be missed, or be counted as it was.
"""

import heapq
import re
from collections.abc import Iterable

import attrs

from mailgw.mail.message import LaneRow, Tally

# "greylisted: mx1.example.org [192.0.2.1]:25: 450 4.7.1 Come back later" (queue.reasons)
_STATUS = re.compile(r"(?:\A|: )([45]\d\d)(?: ([245]\.\d{1,3}\.\d{1,3}))?(?: |\Z)")
NOT_TRIED = "not tried yet"
OTHER = "other"


def status_of(reason: str) -> str:
    """What a reason comes to, in few words: ``"450 4.7.1"``, ``"450"``, "not tried yet" or "other"."""
    if not reason:
        return NOT_TRIED
    found = _STATUS.search(reason)
    return OTHER if found is None else " ".join(filter(None, found.groups()))


@attrs.define
class _Lane:
    waiting: int = 0
    due_now: int = 0
    active: int = 0
    held: int = 0
    next_due: float | None = None
    reason: str = ""
    rank: tuple[bool, float] = (False, -1.0)


class Census:
    """One count of the queue, or of its beginning."""

    def __init__(self) -> None:
        self.recipients = 0
        self._lanes: dict[str, _Lane] = {}
        self._statuses: dict[str, int] = {}

    def add(self, tallies: Iterable[Tally]) -> None:
        for tally in tallies:
            lane = self._lanes.get(tally.lane)
            if lane is None:
                lane = self._lanes[tally.lane] = _Lane()
            count = tally.waiting + tally.active + tally.held
            self.recipients += count
            status = status_of(tally.reason)
            self._statuses[status] = self._statuses.get(status, 0) + count
            lane.waiting += tally.waiting
            lane.due_now += tally.due_now
            lane.active += tally.active
            lane.held += tally.held
            if tally.next_due is not None and (lane.next_due is None or tally.next_due < lane.next_due):
                lane.next_due = tally.next_due
            rank = (tally.is_of_lane, tally.next_due or 0.0)
            if tally.reason and rank >= lane.rank:  # who is due last was tried last
                lane.reason, lane.rank = tally.reason, rank

    @property
    def lanes(self) -> int:
        return len(self._lanes)

    def longest(self, count: int) -> list[LaneRow]:
        """The lanes in which most recipients are, so many at most."""
        longest = heapq.nlargest(
            count, self._lanes.items(), key=lambda item: (item[1].waiting + item[1].active + item[1].held, item[0])
        )
        return [
            LaneRow(name, one.waiting, one.due_now, one.active, one.held, one.next_due, one.reason)
            for name, one in longest
        ]

    def totals(self) -> dict[str, int]:
        """Of all lanes: waiting, due_now, active, held."""
        names = ("waiting", "due_now", "active", "held")
        return {name: sum(getattr(lane, name) for lane in self._lanes.values()) for name in names}

    def backends(self) -> dict[str, dict[str, int]]:
        """The totals of each backend, with how many ``lanes`` it has."""
        found: dict[str, dict[str, int]] = {}
        for name, lane in self._lanes.items():
            backend = name.partition("/")[0]
            sums = found.get(backend)
            if sums is None:
                sums = found[backend] = {"lanes": 0, "waiting": 0, "due_now": 0, "active": 0, "held": 0}
            sums["lanes"] += 1
            sums["waiting"] += lane.waiting
            sums["due_now"] += lane.due_now
            sums["active"] += lane.active
            sums["held"] += lane.held
        return found

    def statuses(self, count: int) -> dict[str, int]:
        """How many recipients had which answer last, the most frequent ones first, so many at most."""
        return dict(heapq.nlargest(count, self._statuses.items(), key=lambda item: (item[1], item[0])))
