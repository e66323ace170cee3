"""One lane of the queue: what waits for one destination, and how many attempts it bears at once.

Pure: a lane knows seconds of some monotonic clock, and items it does not look into.

Rules:
    At most ``limit`` attempts at once; a destination that is unwell gets one at a time, after a pause that
    doubles up to ``pause_seconds``; each success doubles the window again up to the limit.
    Twenty attempts that fail together are one trouble: those that end within a pause change nothing.
    Trouble with one message or recipient says nothing of the destination and changes nothing here.
Known fault: the window forgets everything when the lane was idle; learning over time is the next step.
"""

from collections import deque
from typing import Generic, TypeVar

from mailgw.mail.outcome import Outcome, Permanence, Scope

T = TypeVar("T")

# A fresh message goes on from memory as long as no more than this wait in its lane; the rest waits on disk.
MAX_WAITING = 100
FIRST_PAUSE_SECONDS = 1.0
# Probes in vain, one after the other, before a destination is dead: with doubling pauses that is two minutes, so
# neither a host that restarts nor a network that is not up yet passes for one.
DEAD_AFTER = 8


class Lane(Generic[T]):
    """``window`` is how many attempts it bears now; ``has_more`` says that the spool holds more that is due
    than was fetched; ``is_working`` and ``is_fetching`` are the dispatcher's own."""

    __slots__ = (
        "_limit",
        "_pause_limit",
        "active",
        "has_more",
        "is_fetching",
        "is_working",
        "key",
        "open_at",
        "pause",
        "troubles",
        "waiting",
        "window",
    )

    def __init__(self, key: str, limit: int, pause_seconds: float) -> None:
        """``limit`` from 1; ``pause_seconds`` is the longest pause between two probes."""
        self.key = key
        self.waiting: deque[T] = deque()
        self.active = 0
        self.open_at = 0.0
        self.pause = 0.0
        self.troubles = 0
        self.has_more = False
        self.is_fetching = False
        self.is_working = False
        self._limit = self.window = limit
        self._pause_limit = pause_seconds

    @property
    def is_idle(self) -> bool:
        """Nothing waits, runs, or is known to wait: the lane may be forgotten."""
        return not (self.waiting or self.active or self.has_more or self.is_fetching)

    @property
    def is_dead(self) -> bool:
        """Nobody was reached there for so long that one probe may speak for all that waits."""
        return self.troubles >= DEAD_AFTER

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < MAX_WAITING

    def may_start(self, now: float) -> bool:
        """Whether an attempt may begin at ``now``, if anything waits."""
        return self.active < self.window and now >= self.open_at

    def ended(self, outcome: Outcome | None, now: float) -> None:
        """An attempt ended; ``outcome`` is what it says of the destination (None: nothing)."""
        self.active -= 1
        if outcome is None:
            return
        if not is_trouble(outcome):
            self.troubles = 0
            self.pause = 0.0
            self.open_at = 0.0
            self.window = min(self._limit, self.window * 2)
            return
        if now < self.open_at:
            return  # it ran beside the one that told us
        self.troubles += 1
        self.window = 1
        self.pause = min(self._pause_limit, max(FIRST_PAUSE_SECONDS, self.pause * 2))
        self.open_at = now + self.pause


def is_trouble(outcome: Outcome) -> bool:
    """Whether it is the destination that is unwell: nobody was reached who would listen to any message.

    What broke in the middle of a transaction (``Scope.SESSION``) is none: a message that makes its server hang up
    must not speak for those that wait behind it.
    """
    return outcome.permanence is Permanence.TEMPORARY and outcome.scope is Scope.HOST
