"""One lane of the queue: what waits for one destination, and how many attempts it bears at once.

Pure: a lane knows seconds of some monotonic clock, and items it does not look into.

Rules:
    At most ``limit`` attempts at once; a destination that is unwell gets one at a time, after a pause that
    doubles up to ``pause_seconds``; each success doubles the window again up to the limit.
    Twenty attempts that fail together are one trouble: those that end within a pause change nothing.
    Trouble with one message or recipient says nothing of the destination and changes nothing here.
    A higher priority (RFC 6710) overtakes, but one attempt in ``OVERTAKEN_AT_MOST`` + 1 is of what came first of all:
    mail of a low priority is slow while others keep a destination busy, and never stands still.
Known fault: the window forgets everything when the lane was idle; learning over time is the next step.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from mailgw.mail.outcome import Outcome, Permanence, Scope

T = TypeVar("T")

# A fresh message goes on from memory as long as no more than this wait in its lane; the rest waits on disk.
MAX_WAITING = 100
FIRST_PAUSE_SECONDS = 1.0
# Probes in vain, one after the other, before a destination is dead: with doubling pauses that is two minutes, so
# neither a host that restarts nor a network that is not up yet passes for one.
DEAD_AFTER = 8
OVERTAKEN_AT_MOST = 7


class Line(Generic[T]):
    """What waits: the highest priority first, each in the order in which it came."""

    __slots__ = ("_count", "_lines", "_overtaken", "_total")

    def __init__(self) -> None:
        self._lines: dict[int, deque[tuple[int, T]]] = {}  # none of them empty; each item with its number
        self._count = 0
        self._total = 0
        self._overtaken = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """In no order; nothing may be added or taken meanwhile."""
        return (item for line in self._lines.values() for _, item in line)

    def add(self, item: T, priority: int) -> None:
        line = self._lines.get(priority)
        if line is None:
            line = self._lines[priority] = deque()
        line.append((self._total, item))
        self._total += 1
        self._count += 1

    def take(self) -> T:
        """The next one; IndexError where nothing waits."""
        if not self._lines:
            raise IndexError("nothing waits")
        lines = self._lines
        priority = next(iter(lines)) if len(lines) == 1 else self._turn()
        line = lines[priority]
        item = line.popleft()[1]
        if not line:
            del lines[priority]
        self._count -= 1
        return item

    def take_where(self, is_meant: Callable[[T], bool]) -> list[T]:
        """Those that are meant, in order of priority; the others go on waiting in their order."""
        taken = []
        for priority in sorted(self._lines, reverse=True):
            line = self._lines[priority]
            found = [entry for entry in line if is_meant(entry[1])]
            if found:
                taken += [item for _, item in found]
                numbers = {number for number, _ in found}
                self._lines[priority] = deque(entry for entry in line if entry[0] not in numbers)
                if not self._lines[priority]:
                    del self._lines[priority]
        self._count -= len(taken)
        return taken

    def take_all(self) -> list[T]:
        """All of them, in order of priority; nothing waits then."""
        items = [item for priority in sorted(self._lines, reverse=True) for _, item in self._lines[priority]]
        self._lines.clear()
        self._count = 0
        return items

    def _turn(self) -> int:
        """Whose turn it is, of several priorities."""
        highest = max(self._lines)
        first_come = min(self._lines, key=lambda priority: self._lines[priority][0][0])
        if highest == first_come or self._overtaken >= OVERTAKEN_AT_MOST:
            self._overtaken = 0
            return first_come
        self._overtaken += 1
        return highest


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
        self.waiting: Line[T] = Line()
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
