"""The queue's census, taken again and again while somebody wants to know, and remembered between.

Rules:
    Who asks is answered from the last census that is whole, however old; where there is none, from what is counted by
    then.  Nobody waits, but who asks in the first moment of the very first: a small queue is counted in that.
    A census goes through the queue a stretch at a time, and rests four times as long as a stretch took: a fifth of
    one reader, which searches share.  The next one begins when somebody asks after ``FRESH_SECONDS``, or after so many
    times as long as the last one took, and not by itself.
"""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Position
from mailgw.mail.ports import Spool, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.queue.census import Census

FRESH_SECONDS = 2.0
RESTS = 4
PATIENCE_SECONDS = 0.1

log = Logger()


class Counting:
    """One spool's.  ``at`` is when the count that is shown ended or, of one that is not whole, when it was begun."""

    def __init__(self, spool: Spool, clock: IReactorTime, wall_clock: WallClock, tasks: TaskGroup) -> None:
        self._spool = spool
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks = tasks
        self._whole: Census | None = None
        self._begun: Census | None = None
        self._at = 0.0
        self._next_at = self._patient_until = 0.0  # by the monotonic clock
        self._waiting: list[Deferred[None]] = []

    async def census(self) -> tuple[Census, float, bool]:
        """What there is, of when, and whether it is whole."""
        if self._begun is None and self._clock.seconds() >= self._next_at:
            self._begun = Census()
            if self._whole is None:
                self._at = self._wall_clock()
                self._patient_until = self._clock.seconds() + PATIENCE_SECONDS
            self._tasks.spawn("counting the queue", self._count(self._begun))
        if self._whole is None:
            await self._a_moment()
        if self._whole is not None:
            return self._whole, self._at, True
        return self._begun or Census(), self._at, False

    async def _a_moment(self) -> None:
        left = self._patient_until - self._clock.seconds()
        if self._begun is None or left <= 0:
            return
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        patience = self._clock.callLater(left, self._hand_out, [turn])
        await turn
        if patience.active():
            patience.cancel()

    def _hand_out(self, waiting: list[Deferred[None]]) -> None:
        for one in waiting:
            if not one.called:
                one.callback(None)

    async def _count(self, census: Census) -> None:
        began = self._clock.seconds()
        at: Position | None = None
        try:
            while True:
                since = self._clock.seconds()
                stretch = await self._spool.stretch(at)
                census.add(stretch.tallies)
                at = stretch.next
                if at is None:
                    break
                await self._pause(RESTS * (self._clock.seconds() - since))
            self._whole, self._at = census, self._wall_clock()
        except TemporaryFault as fault:
            log.warn("the queue could not be counted: {why}", why=fault.why)
        finally:
            self._begun = None
            now = self._clock.seconds()
            self._next_at = now + max(FRESH_SECONDS, now - began)
            waiting, self._waiting = self._waiting, []
            self._hand_out(waiting)

    async def _pause(self, seconds: float) -> None:
        turn: Deferred[None] = Deferred()
        self._clock.callLater(seconds, turn.callback, None)
        await turn
