"""The places in memory: which claims wait there, of how many senders, and which lanes want to fetch more.

It counts; it neither tries, fetches nor releases anything.

Rules:
    What waits and what was asked for together is bounded over all lanes, and in each lane.
    A lane in which nothing waits has a place up to twice that bound: neither a few slow destinations nor what is tried
    again shut fresh mail out.  What nobody asked a place for (notices) is taken up to three times the bound.
    Beside others, a sender has half of the places at the most, in a lane and in all.
    Half of the places are for where somebody was reached: ten thousand dead destinations would else keep a live one's
    mail on disk.
    Who finds no place to fetch to is hungry.  The hungry take turns by backend, those that were reached apart.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from mailgw.deliver.claims import deadline_of
from mailgw.deliver.names import backend_of
from mailgw.mail.envelope import path_text
from mailgw.mail.message import Claim
from mailgw.queue.lanes import MAX_WAITING, Lane
from mailgw.queue.turns import Turns

Waiting: TypeAlias = tuple[Claim, float]
"""A claim with the time it came, by the reactor's clock."""

# Claims that wait in memory, over all lanes: with bodies of 64 KiB at the most, 128 MiB.
MAX_WAITING_IN_ALL = 2000
FETCH = 20


class Places:
    """``waiting`` claims are in lanes, ``fetching`` were asked for.  ``deadline`` is not later than the first one
    (RFC 2852) of what waits, by the wall clock; infinity for none."""

    def __init__(self) -> None:
        self.waiting = 0
        self.fetching = 0
        self.deadline = math.inf
        self._of_sender: Counter[str] = Counter()
        self._lanes: dict[str, Lane[Waiting]] = {}  # those in which anything waits
        self._deadlines: dict[str, float] = {}  # of those in which anything must go by a time, not later than the first
        self._hungry: Mapping[bool, Turns[Lane[Waiting]]] = {True: Turns(), False: Turns()}

    # --- whether there is one ---------------------------------------------------------------------

    def has_any(self) -> bool:
        """Whether there is one for a lane in which nothing waits."""
        return self.waiting + self.fetching < 2 * MAX_WAITING_IN_ALL

    def has_one_for(self, lane: Lane[Waiting], sender: str) -> bool:
        """Whether one more fresh claim, of this sender, may come to wait in this lane."""
        if not lane.waiting:
            return self.has_any()
        return (
            self.waiting + self.fetching < MAX_WAITING_IN_ALL
            and lane.has_room_for(sender) and self._of_sender[sender] < MAX_WAITING_IN_ALL // 2
        )

    def has_one_for_old(self, lane: Lane[Waiting]) -> bool:
        """Whether what is too old may wait for its last attempt in this lane."""
        return lane.has_room and self.waiting < MAX_WAITING_IN_ALL

    def bears(self, lane: Lane[Waiting]) -> bool:
        """Whether this lane takes what is committed and claimed already.  Many may have asked for a place at once, and
        notices do not ask: some more are taken than ``has_one_for`` allows."""
        return len(lane.waiting) < 2 * MAX_WAITING and self.waiting < 3 * MAX_WAITING_IN_ALL

    # --- who has one ------------------------------------------------------------------------------

    def add(self, lane: Lane[Waiting], claim: Claim, since: float, priority: int) -> None:
        """It waits in this lane since then."""
        sender = path_text(claim.message.reverse_path)
        is_fresh = all(not queued.attempts for queued in claim.recipients)
        lane.waiting.add((claim, since), priority, is_fresh, sender)
        self.waiting += 1
        self._of_sender[sender] += 1
        self._lanes[lane.key] = lane
        if claim.message.parameters.deliver_by is not None:
            self._must_go(lane, deadline_of(claim))

    def take(self, lane: Lane[Waiting]) -> Waiting:
        """The next one of this lane; IndexError where nothing waits."""
        item = lane.waiting.take()
        self._left(lane, (item,))
        return item

    def take_where(self, lane: Lane[Waiting], is_meant: Callable[[Waiting], bool]) -> list[Waiting]:
        """Those of this lane that are meant."""
        taken = lane.waiting.take_where(is_meant)
        self._left(lane, taken)
        return taken

    def take_overdue(self, now: float) -> list[tuple[Lane[Waiting], Waiting]]:
        """What must not be delivered any more, of all lanes; ``now`` is the wall clock's."""
        if now < self.deadline:
            return []
        taken = []
        for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
            lane = self._lanes[key]
            del self._deadlines[key]
            taken += [(lane, one) for one in self.take_where(lane, lambda one: now >= deadline_of(one[0]))]
            for claim, _ in lane.waiting:
                self._must_go(lane, deadline_of(claim))
        self.deadline = min(self._deadlines.values(), default=math.inf)
        return taken

    def lanes(self) -> list[Lane[Waiting]]:
        """Those in which anything waits now."""
        return list(self._lanes.values())

    def _must_go(self, lane: Lane[Waiting], deadline: float) -> None:
        if deadline < self._deadlines.get(lane.key, math.inf):
            self._deadlines[lane.key] = deadline
            self.deadline = min(self.deadline, deadline)

    def _left(self, lane: Lane[Waiting], items: Iterable[Waiting]) -> None:
        for claim, _ in items:
            self.waiting -= 1
            sender = path_text(claim.message.reverse_path)
            self._of_sender[sender] -= 1
            if not self._of_sender[sender]:
                del self._of_sender[sender]
        if not lane.waiting:
            self._lanes.pop(lane.key, None)
            self._deadlines.pop(lane.key, None)

    # --- who wants one ----------------------------------------------------------------------------

    def wants_more(self, lane: Lane[Waiting]) -> bool:
        """Whether it has more on disk than waits, and little waits."""
        return lane.has_more and len(lane.waiting) < FETCH

    def may_fetch(self, lane: Lane[Waiting]) -> bool:
        """Whether there are places for what this lane has on disk; else it is hungry."""
        was_reached = lane.gate.was_reached
        if self._has_some(was_reached):
            return True
        self._hungry[was_reached].add(lane.key, backend_of(lane.key), lane)
        return False

    def hungry(self) -> Iterator[Lane[Waiting]]:
        """Those that wanted to fetch more, in their turns, for as long as there are places.  Who is hungry again while
        this goes on has to wait for the next time."""
        for was_reached, hungry in self._hungry.items():
            for _ in range(len(hungry)):
                if not self._has_some(was_reached):
                    break  # they may be very many
                yield hungry.take()

    @property
    def is_anybody_hungry(self) -> bool:
        return any(self._hungry.values())

    def asks(self, lane: Lane[Waiting]) -> int:
        """How many this lane asks the spool for; they have places until ``answered``.  Of what may be dead no more
        than can be tried at once: memory is for what gets on."""
        wanted = max(lane.gate.window, FETCH) if lane.gate.was_reached else lane.gate.window
        if lane.dead_gate() is not None:
            wanted = 1
        self.fetching += wanted
        return wanted

    def answered(self, wanted: int) -> None:
        """Of what was asked for all that came waits, or was refused."""
        self.fetching -= wanted

    def _has_some(self, was_reached: bool) -> bool:
        return self.waiting + self.fetching < (MAX_WAITING_IN_ALL if was_reached else MAX_WAITING_IN_ALL // 2)
