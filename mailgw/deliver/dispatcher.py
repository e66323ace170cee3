"""The dispatcher: takes what is due, lane by lane, has it attempted, and writes down what became of it.

Rules:
    A message that was just committed goes to its first attempt from memory.
    Whatever goes wrong here, the recipient stays in the spool: it is forgotten only by a ``Finished`` record.
    A notice is committed in the transaction that finishes what it tells of.
    While the spool has no room for results, nothing is attempted, or a full disk would repeat deliveries for ever.
    Wall time decides what is due, the reactor's monotonic clock when we look: a jump delays a look by a minute
    at most.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.deliver.attempt import attempt
from mailgw.deliver.bounce import Notices
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Claim, Finished, Held, Notice, Postponed, QueuedRecipient, Settlement
from mailgw.mail.outcome import Outcome, Scope, temporary
from mailgw.mail.ports import Journal, Spool, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.queue import fate
from mailgw.queue.dsn import Report
from mailgw.queue.lanes import Lane, is_trouble
from mailgw.queue.schedule import RetrySettings

log = Logger()

# Attempts at once over all lanes: each may hold a socket and a chunk of content.
MAX_ATTEMPTS = 500
# Claims that were fetched from the spool and wait in memory, over all lanes.
MAX_FETCHED = 2000
FETCH = 20
# The longest time between two looks at what is due; a wall clock that jumped is noticed by then.
LOOK_SECONDS = 60.0
SHORTEST_LOOK_SECONDS = 0.5
NO_ROOM_SECONDS = 5.0
FULL_LANE_SECONDS = 1.0
# A lane that is unwell is probed at least this often, or after the schedule's first wait where that is shorter.
LONGEST_PAUSE_SECONDS = 60.0
RECORD_AGAIN_SECONDS = (1.0, 5.0, 15.0, 60.0)

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
    ``attempt_seconds`` is how long one ``deliver`` may take."""

    hostname: str
    retry: RetrySettings
    attempt_seconds: float
    postmaster: Mailbox | None


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
        self._notices = Notices(settings.hostname, lane_for, settings.postmaster)
        self._note = journal.note
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance
        self._pause_seconds = min(LONGEST_PAUSE_SECONDS, settings.retry.schedule[0])
        self._lanes: dict[str, Lane[Claim]] = {}
        self._queue: dict[str, Lane[Claim]] = {}  # lanes that wait for one of MAX_ATTEMPTS, in order
        self._wakes: dict[str, IDelayedCall] = {}
        self._running: dict[Claim, tuple[Callable[[], None], float] | None] = {}
        self._active = 0
        self._fetched = 0
        self._tasks = TaskGroup(self._bug)
        self._look_call: IDelayedCall | None = None
        self._is_looking = False
        self._is_stopping = False

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._look_in(0.0)

    def has_room(self, lane: str) -> bool:
        """Whether a message committed now should be claimed at once; else it waits in the spool alone."""
        known = self._lanes.get(lane)
        if self._is_stopping:
            return False
        if known is None or known.has_room:
            return True
        self._look_in(FULL_LANE_SECONDS)  # the caller commits without a claim: find it when there is room
        return False

    def accept(self, claims: Sequence[Claim]) -> None:
        """Attempt freshly committed messages, or let them wait for their lane."""
        for claim in claims:
            lane = self._lane(claim.lane)
            lane.waiting.append(claim)
            self._work(lane)

    def poke(self) -> None:
        """Something became due out of turn (the operator's retry, a commit without a claim): look soon."""
        for lane in self._lanes.values():
            lane.open_at = 0.0
        self._look_in(0.0)

    async def stop(self, limit_seconds: float) -> None:
        """Begin nothing more; let running attempts end within the limit, then cancel them.

        What waits, and what was cancelled, is still in the spool; its lease ends when that closes.
        """
        self._is_stopping = True
        for call in [*self._wakes.values(), self._look_call]:
            if call is not None and call.active():
                call.cancel()
        limit = self._clock.callLater(limit_seconds, self._tasks.cancel)
        await self._tasks.settled()
        if limit.active():
            limit.cancel()

    # --- lanes ------------------------------------------------------------------------------------

    def _lane(self, key: str) -> Lane[Claim]:
        lane = self._lanes.get(key)
        if lane is None:
            backend = self._backends.get(backend_of(key))
            limit = max(1, backend.concurrency) if backend is not None else 1
            lane = self._lanes[key] = Lane(key, limit, self._pause_seconds)
        return lane

    def _work(self, lane: Lane[Claim]) -> None:
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
                if not self._spool.room():
                    self._wake(lane, NO_ROOM_SECONDS)
                    return
                self._begin(lane, lane.waiting.popleft(), now)
        finally:
            lane.is_working = False
        if now < lane.open_at:
            self._wake(lane, lane.open_at - now)
        elif lane.has_more:
            self._fetch(lane)
        elif lane.is_idle:
            self._lanes.pop(lane.key, None)

    def _wake(self, lane: Lane[Claim], seconds: float) -> None:
        if lane.key not in self._wakes:

            def wake() -> None:
                del self._wakes[lane.key]
                self._work(lane)

            self._wakes[lane.key] = self._clock.callLater(seconds, wake)

    def _begin(self, lane: Lane[Claim], claim: Claim, now: float) -> None:
        lane.active += 1
        self._active += 1
        self._running[claim] = None
        cancel = self._tasks.spawn("attempt", self._attempt(lane, claim))
        if claim in self._running:
            self._running[claim] = (cancel, now)

    # --- attempts ---------------------------------------------------------------------------------

    async def _attempt(self, lane: Lane[Claim], claim: Claim) -> None:
        outcomes: Mapping[Mailbox, Outcome] | None = None
        recipients = [queued.recipient for queued in claim.recipients]
        try:
            name = backend_of(claim.lane)
            backend = self._backends.get(name)
            if backend is not None:
                outcomes = await attempt(name, backend, claim.message, recipients)
            else:
                outcomes = await self._attempt_rerouted(claim, recipients)
        except CancelledError:
            if self._is_stopping:
                return  # not counted; the lease ends with the spool
            why = f"The delivery took longer than {self._settings.attempt_seconds:.0f} seconds"
            outcomes = dict.fromkeys(recipients, temporary("4.4.7", why, Scope.HOST, ""))
        finally:
            self._running.pop(claim, None)
            self._active -= 1
            lane.ended(_of_the_destination(outcomes), self._clock.seconds())
        self._settle(claim, outcomes)
        self._work(lane)
        while self._queue and self._active < MAX_ATTEMPTS:
            self._work(self._queue.pop(next(iter(self._queue))))

    async def _attempt_rerouted(self, claim: Claim, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """The lane's backend is no longer configured: each recipient goes where the routes of today say."""
        outcomes: dict[Mailbox, Outcome] = {}
        groups: dict[str, list[Mailbox]] = {}
        for recipient in recipients:
            key = self._lane_for(recipient)
            if key is None:
                why = f"No route serves <{recipient}>, and there is no backend {backend_of(claim.lane)!r} any more"
                outcomes[recipient] = temporary("4.3.5", why, Scope.RECIPIENT, "")
            else:
                groups.setdefault(key, []).append(recipient)
        for key, group in groups.items():
            name = backend_of(key)
            outcomes |= await attempt(name, self._backends[name], claim.message, group)
        return outcomes

    def _settle(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome]) -> None:
        now = self._wall_clock()
        settlements: list[Settlement] = []
        for queued in claim.recipients:
            outcome = outcomes[queued.recipient]
            if not outcome.is_delivered:
                self._tasks.spawn("settle", self._settle_trouble(claim, outcomes, now))
                return
            settlements.append(self._delivered(claim, queued, outcome, now))
        self._tasks.spawn("record", self._record(claim, settlements, ()))

    def _delivered(self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, now: float) -> Finished:
        message = claim.message
        reply = outcome.reply
        self._note(
            fact.Delivered(
                message.queue_id,
                str(queued.recipient),
                claim.lane,
                outcome.hop,
                reply.code,
                reply.status,
                reply.text,
                queued.attempts + 1,
                round(now - message.arrived, 3),
            )
        )
        return Finished(queued.row)

    async def _settle_trouble(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float) -> None:
        """Judge each recipient; those that share a fate share a notice."""
        message, retry = claim.message, self._settings.retry
        settlements: list[Settlement] = []
        failed: list[tuple[QueuedRecipient, Report, Outcome]] = []
        held: list[tuple[QueuedRecipient, Report, Outcome]] = []
        late: list[tuple[QueuedRecipient, Report]] = []
        for queued in claim.recipients:
            outcome = outcomes[queued.recipient]
            attempts = queued.attempts + 1
            judged = fate.judge(
                outcome, retry, now, message.arrived, attempts, queued.warned,
                message.reverse_path is not None, self._chance,
            )
            match judged:
                case fate.Delivered():
                    settlements.append(self._delivered(claim, queued, outcome, now))
                case fate.Retry(due, warn):
                    reason = str(outcome.reply)
                    settlements.append(Postponed(queued.row, due, attempts, reason, queued.warned or warn))
                    self._note_retry(claim, queued, outcome, attempts, due - now)
                    if warn:
                        until = message.arrived + retry.give_up_after
                        late.append((queued, self._report(queued, outcome, attempts, until, now)))
                case fate.Fail(reply):
                    told = attrs.evolve(outcome, reply=reply)
                    failed.append((queued, self._report(queued, told, attempts, None, now), told))
                case fate.Hold(reply):
                    told = attrs.evolve(outcome, reply=reply)
                    held.append((queued, self._report(queued, told, attempts, None, now), told))
        notices: list[Notice] = []
        if late:
            warning = await self._notices.warning(message, late[0][0].row, [r for _, r in late], now)
            if warning is not None:
                notices.append(warning)
                for queued, _ in late:
                    self._note(fact.Warned(message.queue_id, str(queued.recipient), warning.queue_id))
        if failed:
            bounce = await self._notices.bounce(message, failed[0][0].row, [r for _, r, _ in failed], now)
            if bounce is None:
                held += failed  # nobody can be told: it stays, where the operator sees it
            else:
                notices.append(bounce)
                for queued, report, outcome in failed:
                    settlements.append(Finished(queued.row))
                    self._note_bounce(claim, queued, outcome, report.attempts, bounce.queue_id)
        if held:
            copy = await self._notices.postmaster_copy(message, held[0][0].row, [r for _, r, _ in held], now)
            if copy is not None:
                notices.append(copy)
            for queued, report, outcome in held:
                settlements.append(Held(queued.row, report.attempts, str(outcome.reply)))
                self._note_held(claim, queued, outcome)
        await self._record(claim, settlements, notices)

    async def _record(self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice]) -> None:
        """Write it down, however long the disk refuses: until then the lease keeps others away."""
        tries = 0
        fresh: tuple[Claim, ...] | None = None
        while fresh is None:
            try:
                fresh = await self._spool.record(claim, settlements, notices)
            except TemporaryFault as fault:
                if self._is_stopping:
                    return
                wait = RECORD_AGAIN_SECONDS[min(tries, len(RECORD_AGAIN_SECONDS) - 1)]
                tries += 1
                log.error(
                    "the result for {queue_id} could not be recorded, again in {wait} s: {why}",
                    queue_id=claim.message.queue_id, wait=wait, why=fault.why,
                )
                await self._sleep(wait)
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
        seconds = min(max(seconds, 0.0), LOOK_SECONDS)
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
        """Fetch what is due, the longest due first, and set the time of the next look."""
        self._cancel_overdue()
        wait = LOOK_SECONDS
        try:
            lanes = await self._spool.due_lanes()
            now = self._wall_clock()
            for key, due in sorted(lanes, key=lambda lane: lane[1]):
                if due > now:
                    wait = min(wait, due - now)
                elif self._fetched < MAX_FETCHED:
                    lane = self._lane(key)
                    lane.has_more = True
                    self._work(lane)
                else:
                    wait = min(wait, SHORTEST_LOOK_SECONDS)
        except TemporaryFault as fault:
            log.error("the queue could not be read: {why}", why=fault.why)
            wait = NO_ROOM_SECONDS
        finally:
            self._is_looking = False
        self._look_in(max(wait, SHORTEST_LOOK_SECONDS))

    def _fetch(self, lane: Lane[Claim]) -> None:
        if lane.is_fetching or len(lane.waiting) >= FETCH or self._fetched >= MAX_FETCHED or self._is_stopping:
            return
        if not self._spool.room():
            self._wake(lane, NO_ROOM_SECONDS)
            return
        lane.is_fetching = True
        lane.has_more = False
        self._tasks.spawn("fetch", self._fetch_some(lane))

    async def _fetch_some(self, lane: Lane[Claim]) -> None:
        wanted = lane.window
        self._fetched += wanted
        try:
            claims = await self._spool.claim(lane.key, wanted)
            lane.has_more = len(claims) == wanted
            lane.waiting.extend(claims)
        except TemporaryFault as fault:
            log.error("lane {lane} could not be read: {why}", lane=lane.key, why=fault.why)
        finally:
            self._fetched -= wanted
            lane.is_fetching = False
        self._work(lane)

    def _cancel_overdue(self) -> None:
        oldest = self._clock.seconds() - self._settings.attempt_seconds
        for running in list(self._running.values()):
            if running is not None and running[1] <= oldest:
                running[0]()

    # --- facts ------------------------------------------------------------------------------------

    @staticmethod
    def _report(
        queued: QueuedRecipient, outcome: Outcome, attempts: int, until: float | None, now: float
    ) -> Report:
        return Report(queued.recipient, outcome.reply, outcome.hop, attempts, until, now)

    def _note_retry(
        self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, attempts: int, seconds: float
    ) -> None:
        reply = outcome.reply
        self._note(
            fact.Retrying(
                claim.message.queue_id, str(queued.recipient), claim.lane, outcome.hop, reply.code, reply.status,
                reply.text, attempts, round(seconds, 3),
            )
        )

    def _note_bounce(
        self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, attempts: int, notice_id: str
    ) -> None:
        reply = outcome.reply
        self._note(
            fact.Bounced(
                claim.message.queue_id, str(queued.recipient), claim.lane, outcome.hop, reply.code, reply.status,
                reply.text, attempts, notice_id,
            )
        )

    def _note_held(self, claim: Claim, queued: QueuedRecipient, outcome: Outcome) -> None:
        reply = outcome.reply
        self._note(
            fact.Undeliverable(
                claim.message.queue_id, str(queued.recipient), claim.lane, reply.code, reply.status, reply.text
            )
        )

    def _bug(self, what: str, failure: Failure) -> None:
        # The recipients stay leased, and are due again when the lease or this process ends.
        log.failure("dispatcher: {what} failed", failure=failure, what=what)
        self._note(fact.Trouble(f"dispatcher: {what}", type(failure.value).__name__, "", ""))


def _of_the_destination(outcomes: Mapping[Mailbox, Outcome] | None) -> Outcome | None:
    """What an attempt says of the destination: well, if it served any recipient at all."""
    if not outcomes:
        return None
    first = None
    for outcome in outcomes.values():
        if not is_trouble(outcome):
            return outcome
        first = first or outcome
    return first
