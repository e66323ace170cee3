"""Sessions that have more to do than one turn wait in line, and all of them together get a slice of the reactor's time.

One read may hold thousands of pipelined commands.  Worked off at once they would hold up everybody else; so a session
does a few, and goes to the end of the line for more.  However many stand there, the reactor gets back to the others
after ``SLICE_SECONDS``.
"""

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

# A message with a few recipients is one turn.
EVENTS_A_TURN = 16
# A turn ends after this, too.  Commands are far quicker; an alias for a thousand addresses takes some milliseconds each
# time that it is named.
TURN_SECONDS = 0.01
# Who sends more commands than this at once, while others stand in line, goes there himself.
LONG_READ_OCTETS = 4096
# A message is some six turns of the reactor, each of which may be as much longer.
SLICE_SECONDS = 0.002


class Line:
    """The line of all sessions of a gateway."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_served = False

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` once, in its turn; it must not raise, and may join again."""
        self._waiting.append(turn)
        self._come_back()

    def _come_back(self) -> None:
        if not self._is_served:
            self._is_served = True
            self._clock.callLater(0, self._serve)

    def _serve(self) -> None:
        self._is_served = False
        end = self._clock.seconds() + SLICE_SECONDS
        for _ in range(len(self._waiting)):
            self._waiting.popleft()()
            if self._clock.seconds() >= end:
                break
        if self._waiting:
            self._come_back()
