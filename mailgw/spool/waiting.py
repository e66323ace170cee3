"""The rows of the spool in memory, in every order in which they are looked for.

Rules:
    No question takes longer the more rows wait: it is answered from the front of a sorted list.
    Who is leased stays in these lists, and is passed over: they are few, and most come back as they went.
    What became due first in each lane is learned when somebody asks for all lanes, and only of those in which something
    has changed since.
"""

import math
from collections.abc import Iterator

import attrs
from sortedcontainers import SortedList

from mailgw.mail.address import folded
from mailgw.mail.envelope import path_text
from mailgw.mail.message import Destination, Message
from mailgw.spool.leases import with_turns

_LAST = "\U0010ffff"  # no queue id and no lane comes after it


@attrs.define(eq=False)
class Row:
    """A recipient.  ``due`` is None where it is held; ``token`` says who holds a lease, None for nobody, and
    ``lease_end`` until when."""

    message: Message
    number: int
    destination: Destination
    due: float | None
    late: float | None
    attempts: int = 0
    reason: str = ""
    warned: bool = False
    token: int | None = None
    lease_end: float = 0.0


Timed = tuple[float, str, int, Row]
"""A row behind a time, its queue id and its number: which no other row has, so rows themselves are never compared."""


class _Rank:
    """Those of one lane and priority, who are never none; ``by_sender`` where the last to ask for some of them wanted
    the turns of their senders."""

    __slots__ = ("by_due", "by_sender")

    def __init__(self) -> None:
        self.by_due: SortedList[Timed] = SortedList()
        self.by_sender: SortedList[tuple[str, float, str, int, Row]] | None = None

    def in_turn(self, after: str, now: float, places: int) -> list[str]:
        """The longest due message of one sender after the other, from the one behind ``after`` on, around once."""
        assert self.by_sender is not None
        found: list[str] = []
        sender, is_around = after, False
        while len(found) < places:
            entry = next(self.by_sender.irange((sender, math.inf)), None)
            if entry is None and not is_around:
                is_around, entry = True, self.by_sender[0]
            if entry is None or (is_around and entry[0] > after):
                break
            sender = entry[0]
            for _, _, queue_id, _, row in self.by_sender.irange((sender, -math.inf), (sender, now, _LAST)):
                if row.token is None:
                    found.append(queue_id)
                    break
        return found


class Waiting:
    """Those that are not held.  Of each row ``due``, lane, priority and sender stay as they are while it is here; who
    changes its ``token`` says so."""

    def __init__(self) -> None:
        self._by_due: SortedList[Timed] = SortedList()
        self._lanes: dict[str, dict[int, _Rank]] = {}  # and there by priority
        self._by_earliest: SortedList[tuple[float, str]] = SortedList()  # the lanes, as they were before they changed
        self._earliest: dict[str, float] = {}  # likewise
        self._changed: set[str] = set()

    def add(self, row: Row) -> None:
        assert row.due is not None
        timed = (row.due, row.message.queue_id, row.number, row)
        self._by_due.add(timed)
        lane, priority = row.destination.lane, row.message.parameters.priority
        ranks = self._lanes.get(lane)
        if ranks is None:
            ranks = self._lanes[lane] = {}
        rank = ranks.get(priority)
        if rank is None:
            rank = ranks[priority] = _Rank()
        rank.by_due.add(timed)
        if rank.by_sender is not None:
            rank.by_sender.add((_sender(row), *timed))
        self._changed.add(lane)

    def remove(self, row: Row) -> None:
        assert row.due is not None
        timed = (row.due, row.message.queue_id, row.number, row)
        self._by_due.remove(timed)
        lane, priority = row.destination.lane, row.message.parameters.priority
        rank = self._lanes[lane][priority]
        rank.by_due.remove(timed)
        if rank.by_sender is not None:
            rank.by_sender.remove((_sender(row), *timed))
        if not rank.by_due:
            del self._lanes[lane][priority]
            if not self._lanes[lane]:
                del self._lanes[lane]
        self._changed.add(lane)

    def changed(self, row: Row) -> None:
        """Somebody holds it, or nobody any more."""
        self._changed.add(row.destination.lane)

    # --- what is due, and late --------------------------------------------------------------------

    def due_lanes(self, now: float) -> list[tuple[float, str]]:
        """The lanes in which something is due, each with since when; the longest due first."""
        for lane in self._changed:
            before, earliest = self._earliest.get(lane), self._earliest_of(lane)
            if before != earliest:
                if before is not None:
                    self._by_earliest.remove((before, lane))
                    del self._earliest[lane]
                if earliest is not None:
                    self._by_earliest.add((earliest, lane))
                    self._earliest[lane] = earliest
        self._changed.clear()
        return list(self._by_earliest.irange(None, (now, _LAST)))

    def _earliest_of(self, lane: str) -> float | None:
        """When the first one that nobody holds is due; None where there is none."""
        firsts = (
            next((due for due, _, _, row in rank.by_due if row.token is None), math.inf)
            for rank in self._lanes.get(lane, {}).values()
        )
        earliest = min(firsts, default=math.inf)
        return earliest if earliest < math.inf else None

    def due_after(self, time: float) -> Iterator[Timed]:
        """The rows that are due after that time, in their order, leased ones, too."""
        yield from self._by_due.irange((time, _LAST))

    def due_messages(self, lane: str, limit: int, after: str, now: float) -> list[str]:
        """Whom ``mail.ports.Spool.claim`` leases in a lane."""
        found: dict[str, None] = {}
        longest: tuple[float, str] | None = None
        ranks = self._lanes.get(lane, {})
        for priority in sorted(ranks, reverse=True):
            rank = ranks[priority]
            if limit == 1:
                rank.by_sender = None  # a destination that is probed, time and again
            places = limit - len(found)
            mine: dict[str, None] = {}
            is_all = True
            for due, queue_id, _, row in rank.by_due:
                if due > now:
                    break
                if row.token is not None:
                    continue
                if longest is None or (due, queue_id) < longest:
                    longest = (due, queue_id)
                if len(mine) >= places and queue_id not in mine:
                    is_all = False
                    break
                mine[queue_id] = None
            if not is_all and places > 1:
                if rank.by_sender is None:
                    rank.by_sender = SortedList((_sender(one[3]), *one) for one in rank.by_due)
                mine = dict.fromkeys(with_turns(list(mine), rank.in_turn(folded(after), now, places // 2)))
            found.update(mine)
        if longest is not None and longest[1] not in found and limit > 1:
            found.popitem()
            found[longest[1]] = None
        return list(found)


def _sender(row: Row) -> str:
    return folded(path_text(row.message.reverse_path))


class Late:
    """Those of which there is or will be something to be said, in the order of these times."""

    def __init__(self) -> None:
        self._rows: SortedList[Timed] = SortedList()

    def add(self, row: Row) -> None:
        if row.late is not None:
            self._rows.add((row.late, row.message.queue_id, row.number, row))

    def remove(self, row: Row) -> None:
        if row.late is not None:
            self._rows.remove((row.late, row.message.queue_id, row.number, row))

    def waiting(self) -> Iterator[tuple[float, Row]]:
        """Those that nobody holds, each behind its time, in their order."""
        for late, _, _, row in self._rows:
            if row.token is None:
                yield late, row
