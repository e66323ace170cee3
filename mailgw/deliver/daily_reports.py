"""Reports to other domains on what came of a day: counted all day, sent after midnight UTC.

What they are about, and who gets them, a ``Kind`` says; here is when, and how often.

Rules:
    Reports go out within ``SPREAD_SECONDS`` after midnight, each at a moment of its own: who gets reports from many
    gets them one by one.
    What cannot be sent is tried again for ``RETRY_SECONDS``, and then given up.
    Where the wall clock leaves time by more than ``LEAP_SECONDS`` from one look to the next, nobody believes it for
    ``DOUBT_SECONDS``: nothing is sent, given up or removed meanwhile.  Nor is anything given up or
    removed that soon after a start, whose clock may be as wrong.
    No turn of the reactor goes over all that is counted: what is due is known by its time, and a day that is over is
    planned ``PLANNED`` domains at a time.
    Nothing here stands in the way of mail: trouble is a fact in the journal.
"""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Journal, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.trust.report_days import DAY_SECONDS, day_of

# Results that come before the tallies of an earlier process have been read.
EARLY_RESULTS: Final = 10_000
SPREAD_SECONDS: Final = 4 * 3600.0  # RFC 8460 s4.1 has the same in its example
RETRY_SECONDS: Final = 86_400.0  # RFC 8460 s5.5
FIRST_WAIT_SECONDS: Final = 900.0  # and twice as long each time
LONGEST_WAIT_SECONDS: Final = 4 * 3600.0
# After a long stop: what is older is of no use to anybody.
OLDEST_SECONDS: Final = 7 * 86_400.0
LOOK_SECONDS: Final = 60.0
FIRST_LOOK_SECONDS: Final = 5.0  # after a start, which has better things to do first
AT_ONCE: Final = 4
LEAP_SECONDS: Final = 600.0
DOUBT_SECONDS: Final = 3600.0
PLANNED: Final = 500
PLAN_SECONDS: Final = 0.02  # between so many and the next
# At one look; others are at the next.
LOOKED_AT: Final = 500

_log = Logger()

R = TypeVar("R")  # one result, which is counted
R_contra = TypeVar("R_contra", contravariant=True)
T = TypeVar("T")  # what results of one domain and day came to
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)
K = TypeVar("K")  # what survives a restart
K_co = TypeVar("K_co", covariant=True)


class Mailer(Protocol):
    """The way into our own queue."""

    async def mail(self, octets: bytes, reverse_path: Mailbox, recipients: Sequence[Mailbox]) -> str:
        """Commit a message; its queue id.  TemporaryFault where that fails, or a recipient has no route."""


class Counts(Protocol[R_contra, T_co]):
    """Tallies, as in ``trust``."""

    @property
    def lost(self) -> int:
        """Results that found no place."""

    def count(self, result: R_contra, day: int) -> None: ...

    def closed(self, today: int) -> Sequence[tuple[int, str]]: ...

    def tally(self, day: int, domain: str) -> T_co | None: ...

    def remove(self, day: int, domain: str) -> None: ...


class Memory(Protocol[R_contra, K_co]):
    """What survives a restart (``store``)."""

    async def read(self) -> K_co:
        """What was counted."""

    def counted(self, result: R_contra, day: int) -> None:
        """One more was, just now."""

    def removed(self, day: int, domain: str) -> None:
        """A domain's day is counted no more, just now."""

    async def keep(self, file_name: str, octets: bytes) -> None:
        """Keep a report that was sent.  OSError where the disk refuses."""

    async def prune(self, oldest: float) -> None:
        """Forget reports of days that ended before ``oldest`` (epoch seconds).  OSError where the disk refuses."""


class Kind(Protocol[T_contra]):
    """What the reports are about."""

    @property
    def name(self) -> str:
        """"reports on ..."."""

    async def sent(self, tally: T_contra) -> str | None:
        """Send the report.  None once it is with somebody, or nobody wants it; else why it is not.  TemporaryFault
        likewise."""

    def failed(self, day: int, domain: str, why: str, is_final: bool) -> None:
        """A report was not sent; ``is_final``: nor will it be."""


@attrs.define
class _Plan:
    """How far a report has come; ``first`` when it was first tried (epoch seconds), None before that."""

    first: float | None = None
    attempts: int = 0


class DailyReports(Generic[R, T, K]):
    """``counts`` makes tallies of what survived, None where nobody knows.  ``chance`` gives numbers from 0 to 1."""

    def __init__(
        self,
        kind: Kind[T],
        counts: Callable[[K | None], Counts[R, T]],
        memory: Memory[R, K],
        keep_seconds: float,
        journal: Journal,
        clock: IReactorTime,
        wall_clock: WallClock,
        chance: Callable[[], float],
    ) -> None:
        self._kind = kind
        self._make_counts = counts
        self._memory = memory
        self._keep_seconds = keep_seconds
        self._journal = journal
        self._clock = clock
        self._now = wall_clock
        self._chance = chance
        self._counts: Counts[R, T] | None = None
        self._early: list[tuple[R, int]] = []
        self._plans: dict[tuple[int, str], _Plan] = {}
        self._waiting: list[tuple[float, tuple[int, str]]] = []  # a heap, by when each is due
        self._closed: deque[tuple[int, str]] = deque()  # to be planned
        self._closed_on = -1
        self._last: tuple[float, float] | None = None  # wall clock and time at the last look
        self._doubted = 0.0  # since when (by time) the wall clock has gone as time does
        self._leapt = False
        self._planner: IDelayedCall | None = None
        self._due: deque[tuple[tuple[int, str], _Plan]] = deque()
        self._workers = 0
        self._pruned = 0
        self._lost = 0
        self._tasks = TaskGroup(self._trouble)
        self._timer: IDelayedCall | None = None

    def note(self, result: R) -> None:
        """Count one."""
        day = day_of(self._now())
        if self._counts is not None:
            self._counts.count(result, day)
            self._memory.counted(result, day)
        elif len(self._early) < EARLY_RESULTS:
            self._early.append((result, day))
        else:
            self._lost -= 1  # the tallies will not know

    def start(self) -> None:
        self._tasks.spawn(f"reading what {self._kind.name} will be about", self._read())
        self._timer = self._clock.callLater(FIRST_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Give up what is under way: it is tried again after the next start."""
        for timer in (self._timer, self._planner):
            if timer is not None and timer.active():
                timer.cancel()
        self._tasks.cancel()

    async def keep(self, file_name: str, octets: bytes) -> None:
        """Keep a report that was sent, as far as the disk allows it."""
        try:
            await self._memory.keep(file_name, octets)
        except OSError as fault:
            _log.warn("{what}: one cannot be kept: {why}", what=self._kind.name, why=fault.strerror or str(fault))

    async def _read(self) -> None:
        kept: K | None = None
        try:
            kept = await self._memory.read()
        finally:
            counts = self._counts = self._make_counts(kept)
            early, self._early = self._early, []
            for result, day in early:
                counts.count(result, day)
        # Not where reading failed, or was given up: what is there must not be written over for these few.
        for result, day in early:
            self._memory.counted(result, day)

    # --- when -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        now = self._now()
        is_sure = self._is_sure(now)
        counts = self._counts
        if counts is None or (self._leapt and not is_sure):
            return
        self._leapt = False
        today = day_of(now)
        if is_sure and self._pruned != today:
            self._pruned = today
            self._tasks.spawn(f"removing old {self._kind.name}", self._prune(now))
            self._tell_lost(counts)
        if self._closed_on != today:
            self._closed_on = today
            self._closed = deque(counts.closed(today))
        if self._closed and (self._planner is None or not self._planner.active()):
            self._plan()
        self._line_up(now, is_sure)

    def _is_sure(self, now: float) -> bool:
        """Whether the wall clock has gone as time does for a while."""
        time = self._clock.seconds()
        last, self._last = self._last, (now, time)
        if last is None:
            self._doubted = time
        elif abs((now - last[0]) - (time - last[1])) > LEAP_SECONDS:
            self._doubted, self._leapt = time, True
            _log.warn("{what}: the clock has leapt, they wait an hour", what=self._kind.name)
        return time - self._doubted >= DOUBT_SECONDS

    def _plan(self) -> None:
        for _ in range(min(PLANNED, len(self._closed))):
            key = self._closed.popleft()
            if key not in self._plans:
                self._plans[key] = _Plan()
                due = (key[0] + 1) * DAY_SECONDS + self._chance() * SPREAD_SECONDS
                heapq.heappush(self._waiting, (due, key))
        if self._closed:
            self._planner = self._clock.callLater(PLAN_SECONDS, self._plan)

    def _line_up(self, now: float, is_sure: bool) -> None:
        for _ in range(LOOKED_AT):
            if not self._waiting or self._waiting[0][0] > now:
                break
            key = heapq.heappop(self._waiting)[1]
            if key not in self._plans:
                continue
            if now - (key[0] + 1) * DAY_SECONDS <= OLDEST_SECONDS:
                self._due.append((key, self._plans[key]))
            elif is_sure:
                self._failed(key, "it is too old by now", is_final=True)
            else:
                heapq.heappush(self._waiting, (now + DOUBT_SECONDS, key))
        for _ in range(min(AT_ONCE - self._workers, len(self._due))):
            self._tasks.spawn(self._kind.name, self._work())

    async def _work(self) -> None:
        self._workers += 1
        try:
            while self._due:
                await self._report(*self._due.popleft())
        finally:
            self._workers -= 1

    async def _prune(self, now: float) -> None:
        try:
            await self._memory.prune(now - self._keep_seconds)
        except OSError as fault:
            _log.warn("old {what} cannot be removed: {why}", what=self._kind.name, why=fault.strerror or str(fault))

    def _tell_lost(self, counts: Counts[R, T]) -> None:
        count, self._lost = counts.lost - self._lost, counts.lost
        if count:
            _log.warn("{what}: {count} results found no place in them", what=self._kind.name, count=count)

    # --- one report -------------------------------------------------------------------------------------

    async def _report(self, key: tuple[int, str], plan: _Plan) -> None:
        wait = LONGEST_WAIT_SECONDS  # after a bug of ours
        tally = self._counts.tally(*key) if self._counts is not None else None
        try:
            try:
                why = await self._kind.sent(tally) if tally is not None else None
            except TemporaryFault as fault:
                why = fault.why
            if why is None:
                self._forget(key)
                return
            plan.first = self._now() if plan.first is None else plan.first
            wait = min(FIRST_WAIT_SECONDS * 2 ** min(plan.attempts, 10), LONGEST_WAIT_SECONDS)
            plan.attempts += 1
            self._failed(key, why, is_final=self._now() + wait > plan.first + RETRY_SECONDS)
        finally:
            if key in self._plans:
                heapq.heappush(self._waiting, (self._now() + wait, key))

    def _failed(self, key: tuple[int, str], why: str, is_final: bool) -> None:
        self._kind.failed(*key, why, is_final)
        if is_final:
            self._forget(key)

    def _forget(self, key: tuple[int, str]) -> None:
        self._plans.pop(key, None)
        if self._counts is not None:
            self._counts.remove(*key)
            self._memory.removed(*key)

    def _trouble(self, what: str, failure: Failure) -> None:
        _log.failure("{what} failed", failure=failure, what=what)
        self._journal.note(fact.Trouble(what, type(failure.value).__name__, "", ""))
