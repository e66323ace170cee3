"""What is due and what is late, as the spool says: how far back to look, and what a clock that jumps does to that.

Rules:
    Everything is looked through at the start, then now and then, and whenever there may be a gap; else only what became
    due since the last look, with an overlap, since what became due then may have been written after it.
    When the wall clock steps back, nothing waits longer than the schedule does; nor at a start, since nobody knows
    what the clock did before.
"""

import math

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.mail.message import Agenda
from mailgw.mail.ports import Spool, WallClock

log = Logger()

# How often everything is looked through: what was written late, or was forgotten, is found by then.
ALL_SECONDS = 600.0
# A commit that takes longer than this is found when everything is looked through.
OVERLAP_SECONDS = 15.0
# How often what became due before the last look is looked for: looks may be half a second apart.
OVERLAP_AGAIN_SECONDS = 5.0
# A wall clock that is put back by more than this makes retries late; less is not worth a look at the whole queue.
STEP_SECONDS = 60.0


class Looks:
    """``longest_wait_seconds``: no wait between two attempts is longer."""

    def __init__(self, spool: Spool, clock: IReactorTime, wall_clock: WallClock, longest_wait_seconds: float) -> None:
        self._spool = spool
        self._clock = clock
        self._wall_clock = wall_clock
        self._longest_wait_seconds = longest_wait_seconds
        self._seen = -math.inf  # by the wall clock: the last look
        self._surely_seen = -math.inf  # and the last one that overlapped what was looked at before
        self._overlapped_at = -math.inf  # by the reactor's
        self._all_at = -math.inf  # by the reactor's: when everything was looked through
        self._clock_lead: float | None = None  # of the wall clock over the monotonic one, as far as it is dealt with

    def look_through(self) -> None:
        """There may be a gap: let the next look be at everything."""
        self._seen = self._surely_seen = -math.inf

    def was_reckoned(self, at: float) -> None:
        """What was just written down was reckoned then, by the wall clock.  Where that has stepped back meanwhile, it
        was written after that was mended, and has to be mended again.  How far off it is due says nothing: a plug-in,
        or an operator's class of replies, may have asked for longer than the schedule waits."""
        if at > self._wall_clock() + STEP_SECONDS:
            self._clock_lead = None

    async def look(self) -> Agenda:
        """What became due since the last look.  TemporaryFault: then that look was none."""
        await self._mend_dues()
        mono, now = self._clock.seconds(), self._wall_clock()
        if mono - self._all_at >= ALL_SECONDS:
            self.look_through()
        since = self._seen
        self._seen = now  # before the answer: what look_through says meanwhile counts
        if math.isinf(since) or mono - self._overlapped_at >= OVERLAP_AGAIN_SECONDS:
            since = min(since, self._surely_seen - OVERLAP_SECONDS)
            self._surely_seen, self._overlapped_at = now, mono
        try:
            agenda = await self._spool.agenda(since)
        except BaseException:
            self.look_through()
            raise
        if math.isinf(since):
            self._all_at = mono
        return agenda

    async def _mend_dues(self) -> None:
        """At the start, and when the wall clock has stepped back: let nothing wait longer than the schedule does."""
        lead = self._wall_clock() - self._clock.seconds()
        if self._clock_lead is None or lead < self._clock_lead - STEP_SECONDS:
            count = await self._spool.come_closer(self._longest_wait_seconds)
            if count and self._clock_lead is None and math.isinf(self._all_at):
                log.info("{count} recipients were to wait longer than the schedule does, and do not", count=count)
            elif count:
                log.warn("the clock was put back: {count} recipients are tried earlier than it says", count=count)
            self._clock_lead = lead
            self.look_through()
        elif lead > self._clock_lead:
            self._clock_lead = lead
