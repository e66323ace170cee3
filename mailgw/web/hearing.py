"""Who hears every fact of a process: counts it, keeps the latest, and once a second says what came.

Rules:
    ``hear`` never raises and never waits: it is called where mail is moved.  It costs a microsecond or two.
    While nothing happens, nothing is done: the clock is used only in the second after a fact.
"""

from collections.abc import Callable, Collection

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgw.mail.event import Event
from mailgw.mail.ports import WallClock
from mailgw.web.feed import Feed
from mailgw.web.tallies import Delta, Tallies

log = Logger()

TURN_SECONDS = 1.0


class Hearing:
    """``counted`` is called with what was counted in the last second, which is not nothing."""

    def __init__(
        self, backends: Collection[str], reply_classes: Collection[str], clock: IReactorTime, wall_clock: WallClock,
        counted: Callable[[Delta], None],
    ) -> None:
        self.feed = Feed(wall_clock())
        self._fresh = Tallies(backends, reply_classes)
        self._clock = clock
        self._wall_clock = wall_clock
        self._counted = counted
        self._call: IDelayedCall | None = None
        self._is_closed = False
        self._has_failed = False

    def knows(self, backends: Collection[str], reply_classes: Collection[str]) -> None:
        """There are these, too."""
        self._fresh.knows(backends, reply_classes)

    def hear(self, event: Event) -> None:
        """Count and keep a fact."""
        try:
            self._fresh.hear(event)
            self.feed.hear(event, self._wall_clock())
        except Exception:  # noqa: BLE001 - a plug-in's fact may be anything
            if not self._has_failed:  # once: there may be one for each message
                self._has_failed = True
                log.failure("a fact could not be counted: {event}", event=event.name)
        if self._call is None and not self._is_closed:
            self._call = self._clock.callLater(TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        self._call = None
        self.hand_on()

    def hand_on(self) -> None:
        """What was counted since the last time, now."""
        if delta := self._fresh.taken():
            self._counted(delta)

    def close(self) -> None:
        """Hand on what is left; what is heard from now on starts nothing."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self.hand_on()
