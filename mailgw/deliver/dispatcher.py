"""The dispatcher: takes what is due, lane by lane, has it attempted, and writes down what became of it.

Rules:
    A message that was just committed goes to its first attempt from memory.
    Whatever goes wrong here, the recipient stays in the spool: it is forgotten only by a ``Finished`` record.
    A notice is committed in the transaction that finishes what it tells of.
    While the spool has no room for results, nothing is attempted, or a full disk would repeat deliveries for ever.
    An attempt begins while its lease has at least an attempt's time to go, or a message would be tried twice at once.
    Where a destination is dead, one probe speaks for all that waits there: each goes on by its own schedule and is
    warned of in time, whether a thousand others wait or none.  It is returned after an attempt of its own, for
    which it need not wait for the next probe.
    What must not be delivered after a time (RFC 2852) is returned without an attempt once that has passed, however
    long its destination would have it wait; and who is to be told of a delay is told, whatever it waits for.
    Lanes take turns, and what waits in memory is bounded over all of them.
    Wall time decides what is due, the reactor's monotonic clock when we look: a jump delays a look by a minute
    at most.  When it steps back, what would wait too long comes closer.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.deliver.attempt import attempt, with_parameters
from mailgw.deliver.bounce import Notices
from mailgw.deliver.desk import plain_desk
from mailgw.deliver.results import Results
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Claim, Message, Notice, Postponed, Settlement
from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.parameters import ByMode
from mailgw.mail.ports import Journal, Spool, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.queue.dsn import Desk
from mailgw.queue.lanes import MAX_WAITING, Lane, is_trouble
from mailgw.queue.schedule import RetrySettings, longest_wait

log = Logger()

# Attempts at once over all lanes: each may hold a socket and a chunk of content.
MAX_ATTEMPTS = 500
# Claims that wait in memory, over all lanes: with bodies of 64 KiB at the most, 128 MiB.  A lane with none has a
# place up to twice as many, so that a few slow destinations do not shut out the others.
MAX_WAITING_IN_ALL = 2000
FETCH = 20
# Results that the disk refuses to take: with so many open, nothing more is attempted.
MAX_UNRECORDED = 20
# The longest time between two looks at what is due; a wall clock that jumped is noticed by then.
LOOK_SECONDS = 60.0
SHORTEST_LOOK_SECONDS = 0.5
NO_ROOM_SECONDS = 5.0
# A wall clock that is put back by more than this makes retries late; less is not worth a look at the whole queue.
STEP_SECONDS = 60.0
FULL_LANE_SECONDS = 1.0
# A lane that is unwell is probed at least this often, or after the schedule's first wait where that is shorter.
LONGEST_PAUSE_SECONDS = 60.0
RECORD_AGAIN_SECONDS = (1.0, 5.0, 15.0, 60.0)

_Lane: TypeAlias = Lane[tuple[Claim, float]]
"""Each claim with the time it came, by the reactor's clock."""

LaneFor = Callable[[Mailbox], str | None]
"""The lane of a recipient of our own mail (routes of clients included), None where no route serves it."""


def lane_key(backend: str, lane: str) -> str:
    """The spool's name for a backend's lane."""
    return f"{backend}/{lane}" if lane else backend


def backend_of(key: str) -> str:
    return key.partition("/")[0]


@attrs.frozen
class DispatcherSettings:
    """``postmaster`` gets a copy of what can be neither delivered nor returned, None for nobody.
    ``attempt_seconds`` is how long one ``deliver`` may take; the spool's leases last at least twice as long.  ``desk``
    is where notices are written, None for the built-in words."""

    hostname: str
    retry: RetrySettings
    attempt_seconds: float
    postmaster: Mailbox | None
    desk: Desk | None = None


class Dispatcher:
    """Made once a gateway; ``start`` after the spool is open, ``stop`` before it closes."""

    def __init__(
        self,
        settings: DispatcherSettings,
        spool: Spool,
        backends: Mapping[str, IDeliveryBackend],
        lane_for: LaneFor,
        journal: Journal,
        clock: IReactorTime,
        wall_clock: WallClock,
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._backends = backends
        self._lane_for = lane_for
        notices = Notices(settings.desk or plain_desk(settings.hostname), lane_for, settings.postmaster)
        self._results = Results(settings.retry, notices, journal, chance)
        self._note = journal.note
        self._clock = clock
        self._wall_clock = wall_clock
        why = f"The delivery took longer than {settings.attempt_seconds:.0f} seconds"
        self._too_long = temporary("4.4.7", why, Scope.MESSAGE, "")
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, settings.retry.schedule[0])
        # Of a lease of two attempts' time: half of one to wait, one to run, the rest to notice and to record.
        self._wait_seconds = settings.attempt_seconds / 2
        self._look_seconds = min(LOOK_SECONDS, settings.attempt_seconds / 4)
        self._lanes: dict[str, _Lane] = {}
        self._queue: dict[str, _Lane] = {}  # lanes that wait for one of MAX_ATTEMPTS, in order
        self._wakes: dict[str, IDelayedCall] = {}
        self._running: dict[Claim, tuple[Callable[[], None], float] | None] = {}
        self._active = 0
        self._waiting = 0  # claims in all lanes
        self._fetching = 0  # claims that were asked for
        self._unrecorded = 0
        self._is_serving = False
        self._tasks = TaskGroup(self._bug)
        self._look_call: IDelayedCall | None = None
        self._is_looking = False
        self._clock_lead: float | None = None  # of the wall clock over the monotonic one, as far as it is dealt with
        self._told_at = -math.inf  # by the reactor's clock: the last look for what is late
        self._deadline = math.inf  # the first one of what waits in memory, by the wall clock
        self._is_stopping = False
        self._is_cut_off = False

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._look_in(0.0)

    def has_room(self, lane: str) -> bool:
        """Whether a message committed now should be claimed at once; else it waits in the spool alone."""
        if self._is_stopping:
            return False
        if self._has_place(self._lanes.get(lane)):
            return True
        self._look_in(FULL_LANE_SECONDS)  # the caller commits without a claim: find it when there is room
        return False

    def accept(self, claims: Sequence[Claim]) -> None:
        """Attempt freshly committed messages, or let them wait for their lane."""
        if not claims:
            self._look_in(FULL_LANE_SECONDS)  # none for now: it is held (RFC 4865); see when it is due
        for claim in claims:
            lane = self._lane(claim.lane)
            # Many may have asked for room at once, and notices do not ask: some more are taken than has_room allows.
            if len(lane.waiting) < 2 * MAX_WAITING and self._waiting < 3 * MAX_WAITING_IN_ALL:
                self._add(lane, claim, self._clock.seconds())
                self._work(lane)
            else:
                self._tasks.spawn("release", self._give_back(claim))

    def poke(self) -> None:
        """Something became due out of turn (the operator's retry, a commit without a claim): look soon."""
        for lane in list(self._lanes.values()):
            lane.open_at = 0.0
            self._work(lane)
        self._look_in(0.0)

    async def give_back(self, is_meant: Callable[[Claim], bool]) -> None:
        """What waits in memory, and is meant, waits in the spool alone; what is being tried goes on."""
        for lane in list(self._lanes.values()):
            taken = lane.waiting.take_where(lambda one: is_meant(one[0]))
            self._waiting -= len(taken)
            for claim, _ in taken:
                await self._spool.release(claim)

    async def stop(self, limit_seconds: float) -> None:
        """Begin nothing more; let running attempts end within the limit, then cancel them.

        What waits is still in the spool, and of what was cancelled all that was neither served nor refused for
        good; its lease ends when that closes.
        """
        self._is_stopping = True
        for call in [*self._wakes.values(), self._look_call]:
            if call is not None and call.active():
                call.cancel()
        limit = self._clock.callLater(limit_seconds, self._cut_off)
        await self._tasks.settled()
        if limit.active():
            limit.cancel()

    def _cut_off(self) -> None:
        self._is_cut_off = True
        self._tasks.cancel()

    # --- lanes ------------------------------------------------------------------------------------

    def _lane(self, key: str) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None:
            backend = self._backends.get(backend_of(key))
            limit = max(1, backend.concurrency) if backend is not None else 1
            lane = self._lanes[key] = Lane(key, limit, self._pause_seconds)
        return lane

    def _has_place(self, lane: _Lane | None) -> bool:
        """Whether one more claim of this lane may come to wait in memory."""
        in_all = self._waiting + self._fetching
        if lane is None or not lane.waiting:
            return in_all < 2 * MAX_WAITING_IN_ALL
        return lane.has_room and in_all < MAX_WAITING_IN_ALL

    def _add(self, lane: _Lane, claim: Claim, since: float) -> None:
        """Let it wait for its lane."""
        lane.waiting.add((claim, since), claim.message.parameters.priority)
        self._waiting += 1
        if claim.message.parameters.deliver_by is not None:
            deadline = _deadline_of(claim)
            self._deadline = min(self._deadline, deadline)
            self._look_in(deadline - self._wall_clock())

    def _work(self, lane: _Lane) -> None:
        """Begin as much as the lane bears."""
        if self._is_stopping or lane.is_working:
            return  # an attempt that ended at once comes back here: the loop below goes on, the stack does not grow
        now = self._clock.seconds()
        lane.is_working = True
        try:
            while lane.waiting and lane.may_start(now):
                if self._active >= MAX_ATTEMPTS:
                    self._queue[lane.key] = lane
                    return
                if self._unrecorded >= MAX_UNRECORDED or not self._spool.room():
                    self._wake(lane, NO_ROOM_SECONDS)
                    return
                claim, since = lane.waiting.take()
                self._waiting -= 1
                if claim.message.parameters.deliver_by is not None and self._wall_clock() >= _deadline_of(claim):
                    self._tasks.spawn("expire", self._expire(claim))
                elif now - since <= self._wait_seconds:
                    self._begin(lane, claim, now)
                else:
                    self._tasks.spawn("release", self._give_back(claim))
        finally:
            lane.is_working = False
        if now < lane.open_at:
            self._wake(lane, lane.open_at - now)
        elif lane.has_more:
            self._fetch(lane)
        elif lane.is_idle and self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    def _take_turns(self, lane: _Lane) -> None:
        """A slot is free: it goes to the lane that waits longest, ``lane`` itself the last of them."""
        if not self._queue and not self._is_serving:
            self._work(lane)
            return
        self._queue[lane.key] = lane
        if self._is_serving:
            return  # an attempt that ended at once: the loop below goes on
        self._is_serving = True
        try:
            while self._queue and self._active < MAX_ATTEMPTS:
                self._work(self._queue.pop(next(iter(self._queue))))
        finally:
            self._is_serving = False

    def _wake(self, lane: _Lane, seconds: float) -> None:
        key = lane.key
        if key not in self._wakes:

            def wake() -> None:
                del self._wakes[key]
                awake = self._lanes.get(key)  # it may have been forgotten, and made again, in the meantime
                if awake is not None:
                    self._work(awake)

            self._wakes[key] = self._clock.callLater(seconds, wake)

    async def _give_back(self, claim: Claim) -> None:
        """Let it wait on disk, due at once, for as long as the lane has no place for it."""
        try:
            await self._spool.release(claim)
        except TemporaryFault as fault:  # it is due when its lease ends
            log.error("{queue_id} could not be released: {why}", queue_id=claim.message.queue_id, why=fault.why)
        lane = self._lane(claim.lane)
        lane.has_more = True
        self._work(lane)

    def _begin(self, lane: _Lane, claim: Claim, now: float) -> None:
        lane.active += 1
        self._active += 1
        self._running[claim] = None
        cancel = self._tasks.spawn("attempt", self._attempt(lane, claim))
        if claim in self._running:
            self._running[claim] = (cancel, now)

    # --- attempts ---------------------------------------------------------------------------------

    async def _attempt(self, lane: _Lane, claim: Claim) -> None:
        outcomes: Mapping[Mailbox, Outcome] | None = None
        recipients = [queued.recipient for queued in claim.recipients]
        if len(recipients) > 1:
            recipients = list(dict.fromkeys(recipients))  # who was named twice gets one copy
        message = with_parameters(claim)
        try:
            try:
                name = backend_of(claim.lane)
                backend = self._backends.get(name)
                if backend is not None:
                    outcomes = await attempt(name, backend, message, recipients)
                else:
                    outcomes = await self._attempt_rerouted(claim, message, recipients)
            except CancelledError:
                outcomes = dict.fromkeys(recipients, self._too_long)
            finally:
                self._running.pop(claim, None)
                self._active -= 1
                said = _of_the_destination(outcomes)
                lane.ended(said, self._clock.seconds())
            if self._is_cut_off:
                # What was not tried to its end is not counted; the lease ends with the spool.
                outcomes = {r: o for r, o in outcomes.items() if o.permanence is not Permanence.TEMPORARY}
            if outcomes:
                self._settle(claim, outcomes)
            if said is not None and lane.is_dead:
                self._share(lane, said)
        finally:
            self._take_turns(lane)

    async def _attempt_rerouted(
        self, claim: Claim, message: Message, recipients: Sequence[Mailbox]
    ) -> Mapping[Mailbox, Outcome]:
        """The lane's backend is no longer configured: each recipient goes where the routes of today say.

        One such attempt a lane at a time, beside those of the backend's own lanes: for as long as such rows are
        left, it may get more calls at once than its ``concurrency``.  Cancelled, it returns what is known.
        """
        outcomes: dict[Mailbox, Outcome] = {}
        groups: dict[str, list[Mailbox]] = {}
        for recipient in recipients:
            key = self._lane_for(recipient)
            if key is None:
                why = f"No route serves <{recipient}>, and there is no backend {backend_of(claim.lane)!r} any more"
                outcomes[recipient] = temporary("4.3.5", why, Scope.RECIPIENT, "")
            else:
                groups.setdefault(key, []).append(recipient)
        for group in groups.values():
            outcomes |= dict.fromkeys(group, self._too_long)
        for key, group in groups.items():
            name = backend_of(key)
            try:
                outcomes |= await attempt(name, self._backends[name], message, group)
            except CancelledError:
                break
            if self._is_over(claim):
                break  # the backend was cancelled, and said what it knew: the next one would not be
        return outcomes

    def _is_over(self, claim: Claim) -> bool:
        """Whether this attempt has had its time."""
        running = self._running.get(claim)
        oldest = self._clock.seconds() - self._settings.attempt_seconds
        return self._is_cut_off or (running is not None and running[1] <= oldest)

    def _settle(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome]) -> None:
        now = self._wall_clock()
        settlements = self._results.all_delivered(claim, outcomes, now)
        if settlements is not None:
            self._tasks.spawn("record", self._record(claim, settlements, ()))
        else:
            self._tasks.spawn("settle", self._judge(claim, outcomes, now))

    async def _judge(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float) -> None:
        settlements, notices = await self._results.judged(claim, outcomes, now)
        await self._record(claim, settlements, notices)

    def _share(self, lane: _Lane, said: Outcome) -> None:
        """What waits for a dead destination is postponed by the probe's answer, but for what is too old to wait.

        That is tried next, one after the other without a pause: each such attempt is the last of its message, so
        they end, and at a probe a minute a thousand senders would learn of it a day late.
        """
        now = self._wall_clock()
        waiting = lane.waiting.take_all()
        self._waiting -= len(waiting)
        for one in waiting:
            if self._results.has_expired(one[0].message, now):
                self._add(lane, *one)
                lane.open_at = 0.0
            else:
                self._tasks.spawn("postpone", self._postpone(one[0], said, now))

    async def _postpone(self, claim: Claim, said: Outcome, now: float) -> None:
        settlements, notices = await self._results.postponed(claim, said, now)
        await self._record(claim, settlements, notices)

    def _expire_overdue(self) -> None:
        """What waits in memory for a destination that is busy or unwell, and must not be delivered any more."""
        now = self._wall_clock()
        if now < self._deadline:
            return
        self._deadline = math.inf
        for lane in list(self._lanes.values()):
            overdue = lane.waiting.take_where(lambda one: now >= _deadline_of(one[0]))
            self._waiting -= len(overdue)
            for claim, _ in overdue:
                self._tasks.spawn("expire", self._expire(claim))
            self._deadline = min([self._deadline, *(_deadline_of(claim) for claim, _ in lane.waiting)])

    def _tell_of_delays(self) -> None:
        """What is late and waits in memory: an attempt before it may take long.  It makes room for the next ones."""
        mono, now = self._clock.seconds(), self._wall_clock()
        came_before = mono - self._look_seconds  # what came since then may have its turn at once
        if self._told_at > came_before:
            return
        self._told_at = mono
        for lane in list(self._lanes.values()):
            late = lane.waiting.take_where(lambda one: one[1] <= came_before and self._results.is_late(one[0], now))
            self._waiting -= len(late)
            for claim, _ in late:
                self._tasks.spawn("tell", self._tell(claim, now))

    async def _tell(self, claim: Claim, now: float) -> None:
        settlements, notices = await self._results.late(claim, now)
        await self._record(claim, settlements, notices)

    async def _expire(self, claim: Claim) -> None:
        settlements, notices = await self._results.overdue(claim, self._wall_clock())
        await self._record(claim, settlements, notices)

    async def _record(self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice]) -> None:
        """Write it down, however long the disk refuses (but not beyond the limit of ``stop``): until then the lease
        keeps others away."""
        tries = 0
        fresh: tuple[Claim, ...] | None = None
        try:
            while fresh is None:
                try:
                    fresh = await self._spool.record(claim, settlements, notices)
                except TemporaryFault as fault:
                    if self._is_cut_off:
                        log.error(
                            "the result for {queue_id} is lost, since the gateway stops: {why}",
                            queue_id=claim.message.queue_id, why=fault.why,
                        )
                        return
                    if not tries:
                        self._unrecorded += 1
                    wait = RECORD_AGAIN_SECONDS[min(tries, len(RECORD_AGAIN_SECONDS) - 1)]
                    tries += 1
                    log.error(
                        "the result for {queue_id} could not be recorded, again in {wait} s: {why}",
                        queue_id=claim.message.queue_id, wait=wait, why=fault.why,
                    )
                    await self._sleep(wait)
        finally:
            if tries:
                self._unrecorded -= 1
        if fresh:
            self.accept(fresh)
        dues = [s.due for s in settlements if isinstance(s, Postponed)]
        if dues:
            self._look_in(min(dues) - self._wall_clock())

    async def _sleep(self, seconds: float) -> None:
        done: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, done.callback, None)
        try:
            await done
        finally:
            if call.active():
                call.cancel()

    # --- what is due ------------------------------------------------------------------------------

    def _look_in(self, seconds: float) -> None:
        """See to it that a look happens within ``seconds`` (but not more often than twice a second)."""
        if self._is_stopping:
            return
        seconds = min(max(seconds, 0.0), self._look_seconds)
        if self._look_call is not None and self._look_call.active():
            if self._look_call.getTime() <= self._clock.seconds() + seconds:
                return
            self._look_call.cancel()
        self._look_call = self._clock.callLater(seconds, self._look_now)

    def _look_now(self) -> None:
        if self._is_looking:
            self._look_in(SHORTEST_LOOK_SECONDS)
            return
        self._is_looking = True
        self._tasks.spawn("look", self._look())

    async def _look(self) -> None:
        """Fetch what is due, the longest due first, and set the time of the next look, whatever happens to this."""
        wait = self._look_seconds
        try:
            self._cancel_overdue()
            await self._mend_dues()
            self._expire_overdue()
            self._tell_of_delays()
            lanes = await self._spool.due_lanes()
            now = self._wall_clock()
            wait = min(wait, self._deadline - now)
            for key, due in sorted(lanes, key=lambda lane: lane[1]):
                if due > now:
                    wait = min(wait, due - now)
                elif key in self._lanes or self._has_place(None):
                    lane = self._lane(key)
                    lane.has_more = True
                    self._work(lane)
                else:
                    wait = 0.0
        except TemporaryFault as fault:
            log.error("the queue could not be read: {why}", why=fault.why)
            wait = min(wait, NO_ROOM_SECONDS)
        finally:
            self._is_looking = False
            self._look_in(max(wait, SHORTEST_LOOK_SECONDS))

    async def _mend_dues(self) -> None:
        """At the start, and when the wall clock has stepped back: let nothing wait longer than the schedule does."""
        lead = self._wall_clock() - self._clock.seconds()
        if self._clock_lead is None or lead < self._clock_lead - STEP_SECONDS:
            count = await self._spool.come_closer(longest_wait(self._settings.retry))
            if count:
                log.warn("the clock was put back: {count} recipients are tried earlier than it says", count=count)
            self._clock_lead = lead
        elif lead > self._clock_lead:
            self._clock_lead = lead

    def _fetch(self, lane: _Lane) -> None:
        if lane.is_fetching:
            return
        if not self._has_place(lane):
            self._look_in(FULL_LANE_SECONDS)
            return
        if not self._spool.room():
            self._wake(lane, NO_ROOM_SECONDS)
            return
        lane.is_fetching = True
        lane.has_more = False
        self._tasks.spawn("fetch", self._fetch_some(lane))

    async def _fetch_some(self, lane: _Lane) -> None:
        # A probe speaks for all that was fetched: of a dead lane as much as may wait.
        wanted = MAX_WAITING if lane.is_dead else max(lane.window, FETCH)
        self._fetching += wanted
        try:
            claims = await self._spool.claim(lane.key, wanted)
            since = self._clock.seconds()
            if len(claims) == wanted:
                lane.has_more = True
            else:
                # The look that found it due saw the earliest alone: when is the next one?
                self._look_in(SHORTEST_LOOK_SECONDS)
            for claim in claims:
                self._add(lane, claim, since)
            self._expire_overdue()
        except TemporaryFault as fault:
            log.error("lane {lane} could not be read: {why}", lane=lane.key, why=fault.why)
            self._look_in(NO_ROOM_SECONDS)
        finally:
            self._fetching -= wanted
            lane.is_fetching = False
        self._work(lane)

    def _cancel_overdue(self) -> None:
        oldest = self._clock.seconds() - self._settings.attempt_seconds
        for running in list(self._running.values()):
            if running is not None and running[1] <= oldest:
                running[0]()

    def _bug(self, what: str, failure: Failure) -> None:
        # The recipients stay leased, and are due again when the lease or this process ends.
        log.failure("dispatcher: {what} failed", failure=failure, what=what)
        self._note(fact.Trouble(f"dispatcher: {what}", type(failure.value).__name__, "", ""))


def _deadline_of(claim: Claim) -> float:
    """When it must not be delivered any more (RFC 2852, mode R), by the wall clock."""
    by = claim.message.parameters.deliver_by
    return by.deadline if by is not None and by.mode is ByMode.RETURN else math.inf


def _of_the_destination(outcomes: Mapping[Mailbox, Outcome] | None) -> Outcome | None:
    """What an attempt says of the destination: well, if it served any recipient at all."""
    if not outcomes:
        return None
    return next((outcome for outcome in outcomes.values() if not is_trouble(outcome)), next(iter(outcomes.values())))
