"""One lane of the queue: what waits for one destination, and which gates its attempts have to pass.

Pure: a lane knows seconds of some monotonic clock, and items it does not look into.
"""

import math
from typing import Generic, TypeVar

from mailgw.mail.outcome import Outcome
from mailgw.mail.shape import Bounds
from mailgw.queue.gates import Gate
from mailgw.queue.line import Line

T = TypeVar("T")

# A fresh message goes on from memory as long as no more than this wait in its lane; the rest waits on disk.
MAX_WAITING = 100
# Who is to be woken is not woken again for so little.
SOON_SECONDS = 0.001


class Lane(Generic[T]):
    """``gate`` is its own, ``shared`` are those that it shares with other lanes.  ``has_more`` says that the spool
    holds more that is due than was fetched; ``cursor`` is the sender whose turn it was last there.  ``is_shaped`` says
    that its gates are known, since ``shaped_at``.  It is worked on at ``wakes_at`` at the latest (infinity: when
    somebody does something).  ``is_suspended``: the operator wants nothing to be attempted.
    ``is_working`` and ``is_fetching`` are the dispatcher's own."""

    __slots__ = (
        "cursor", "gate", "has_more", "is_fetching", "is_shaped", "is_suspended", "is_working", "key", "shaped_at",
        "shared", "waiting", "wakes_at",
    )

    def __init__(self, key: str, gate: Gate) -> None:
        self.key = key
        self.waiting: Line[T] = Line()
        self.gate = gate
        self.shared: tuple[Gate, ...] = ()
        self.has_more = False
        self.cursor = ""
        self.is_shaped = False
        self.shaped_at = 0.0
        self.wakes_at = math.inf
        self.is_suspended = False
        self.is_fetching = False
        self.is_working = False

    @property
    def is_idle(self) -> bool:
        """Nothing waits, runs, or is known to wait."""
        return not (self.waiting or self.gate.active or self.has_more or self.is_fetching)

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < MAX_WAITING

    def has_room_for(self, sender: str) -> bool:
        """Whether one more of this sender may wait in memory: half of the places are for others."""
        return self.has_room and (
            len(self.waiting) < MAX_WAITING // 2 or self.waiting.count_of(sender) < MAX_WAITING // 2
        )

    @property
    def is_slow(self) -> bool:
        """Whether its next attempt may take long: nothing that waits is fresh, or the destination is unwell."""
        return not self.waiting.has_fresh() or self.gate.troubles > 0

    def closed_gate(self, now: float) -> Gate | None:
        """The gate that lets nothing pass now, of several the one that will for longest; None where all are open."""
        if not self.shared:
            return None if self.gate.may_pass(now) else self.gate
        closed = None
        for gate in (self.gate, *self.shared):
            if not gate.may_pass(now) and (closed is None or gate.opens_at(now) > closed.opens_at(now)):
                closed = gate
        return closed

    @property
    def path(self) -> tuple[str, ...]:
        """The names of the gates that an attempt goes through."""
        return (self.key, *[gate.key for gate in self.shared]) if self.shared else (self.key,)

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Those of ``path``'s gates."""
        return (self.gate.bounds, *[gate.bounds for gate in self.shared])

    def is_asleep(self, now: float) -> bool:
        """Whether its own gate lets nothing pass for some time, and it is worked on when that opens."""
        return now < self.gate.open_at and self.wakes_at <= self.gate.open_at + SOON_SECONDS

    def passes(self, now: float) -> tuple[Gate, ...]:
        """An attempt begins; the gates that it is inside of."""
        gates = (self.gate, *self.shared)
        for gate in gates:
            gate.passed(now)
        return gates

    def dead_gate(self) -> Gate | None:
        """The gate behind which nobody is reached, None where somebody is or may be."""
        for gate in (self.gate, *self.shared):
            if gate.is_dead:
                return gate
        return None

    def last_word(self) -> tuple[Outcome, float] | None:
        """What the latest attempt was told where nobody is reached, and when it began; None where it is alive."""
        dead = (gate for gate in (self.gate, *self.shared) if gate.is_dead)
        words = [(gate.said, gate.said_of) for gate in dead if gate.said is not None]
        return max(words, key=lambda word: word[1]) if words else None
