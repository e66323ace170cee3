"""The dispatcher: takes what is due, lane by lane, has it attempted, and writes down what became of it.

Rules:
    A message that was just committed goes to its first attempt from memory.
    Whatever goes wrong here, the recipient stays in the spool: it is forgotten only by a ``Finished`` record.
    A notice is committed in the transaction that finishes what it tells of.
    While the spool has no room for results, nothing is attempted, or a full disk would repeat deliveries for ever.
    An attempt begins while its lease has at least an attempt's time to go, or a message would be tried twice at once.
    Where a destination is dead, what waits for it stays on disk as it is, however much that is, and one probe after the
    other is one of its messages.  Once it answers, all that is due goes.
    What there is to say of a message (that it is late, that it goes back) is said in time, whatever it waits for.  It
    goes back after an attempt that began when its age had passed: its own or, where nobody is reached, any other.
    What must not be delivered after a time (RFC 2852) is returned without an attempt once that has passed.
    However many destinations there are, a turn of the reactor works on some of them, and one that waits for a gate of
    its own is left alone until that opens.
    Lanes take turns, and so do senders; what waits in memory is bounded over all of them, and for each sender
    (``places``).
    Wall time decides what is due, the reactor's monotonic clock when we look: a jump delays a look by a minute
    at most.  When it steps back, what would wait too long comes closer.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest, nsmallest
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.deliver.agenda import Looks
from mailgw.deliver.attempt import LaneFor
from mailgw.deliver.bounce import Notices, Spread, to_itself
from mailgw.deliver.claims import deadline_of, is_owed
from mailgw.deliver.desk import plain_desk
from mailgw.deliver.expanded import Expanded, Returned
from mailgw.deliver.lane_facts import LaneFacts, lane_facts
from mailgw.deliver.lanes import Lanes
from mailgw.deliver.names import backend_of, lane_key
from mailgw.deliver.passes import Register
from mailgw.deliver.places import Places, Waiting
from mailgw.deliver.records import Records
from mailgw.deliver.results import Results
from mailgw.deliver.running import Running
from mailgw.deliver.steps import LANES, MESSAGES, in_steps
from mailgw.interfaces import IDeliveryBackend, IRelay
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Claim, Notice, Postponed, Settlement
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Journal, Spool, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.dsn import Desk
from mailgw.queue.gates import Pauses
from mailgw.queue.lanes import Lane
from mailgw.queue.replies import NO_CLASSES, ReplyClasses
from mailgw.queue.returned import RETURNED
from mailgw.queue.route import RouteRetries
from mailgw.queue.schedule import RetrySettings, longest_wait
from mailgw.queue.suspension import Suspensions

log = Logger()

__all__ = ["Dispatcher", "DispatcherSettings", "backend_of", "lane_key"]

# The longest time between two looks at what is due; a wall clock that jumped is noticed by then.
LOOK_SECONDS = 60.0
SHORTEST_LOOK_SECONDS = 0.5
# Where looks find nothing to do they are made less often, down to this: what waits for dead destinations becomes due
# all the time.
LONGEST_VAIN_LOOK_SECONDS = 5.0
NO_ROOM_SECONDS = 5.0
FULL_LANE_SECONDS = 1.0
# A lane that is unwell is probed at least this often at first, or after the schedule's first wait if that is shorter.
USUAL_PAUSE_SECONDS = 60.0
# What waits for a gate that stays closed for longer than this waits on disk.
LONG_PAUSE_SECONDS = 10.0
# Messages of which there is something to be said: so many at once.
SPEAK = 200
# Before any that a client may ask for (RFC 6710): who is owed a last attempt has waited for days.
OWED_PRIORITY = 10
# Of what waits for the operator's word there is nothing to say until then, and of what is owed an attempt that it
# cannot have yet.
SUSPENDED_SECONDS = 3600.0
OWED_SECONDS = 600.0

_Lane: TypeAlias = Lane[Waiting]


@attrs.frozen
class DispatcherSettings:
    """``postmaster`` gets a copy of what can be neither delivered nor returned, None for nobody.
    ``attempt_seconds`` is how long one ``deliver`` may take; the spool's leases last at least twice as long.
    ``desk`` writes the notices, None for the words that come with mailgw.  ``classes`` say what replies mean."""

    hostname: str
    retry: RetrySettings
    attempt_seconds: float
    postmaster: Mailbox | None
    desk: Desk | None = None
    classes: ReplyClasses = NO_CLASSES


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
        routes: RouteRetries | None = None,
        spread: Spread = to_itself,
        register: Register | None = None,
    ) -> None:
        """``routes`` None: every recipient has ``settings.retry``.  ``spread`` gives whom mail of our own goes to.
        ``register``: as ``Lanes`` has it."""
        self._spool = spool
        backends = {**backends, EXPANDED: Expanded(), RETURNED: Returned()}
        notices = Notices(settings.desk or plain_desk(settings.hostname), lane_for, settings.postmaster, spread)
        routes = routes or RouteRetries(lambda _: settings.retry, (settings.retry,))
        self._results = Results(
            routes.of, settings.classes, notices, journal, chance,
            lambda lane: IRelay.providedBy(backends.get(backend_of(lane))),
        )
        self._note = journal.note
        self._clock = clock
        self._wall_clock = wall_clock
        # Of a lease of two attempts' time: half of one to wait, one to run, the rest to notice and to record.
        self._attempt_seconds = settings.attempt_seconds
        self._wait_seconds = settings.attempt_seconds / 2
        self._look_seconds = min(LOOK_SECONDS, settings.attempt_seconds / 4)
        self._tasks = TaskGroup(self._bug)
        pauses = Pauses(
            min(USUAL_PAUSE_SECONDS, *(retry.schedule[0] for retry in routes.every)),
            min(max(retry.schedule) for retry in routes.every),
        )
        self._lanes: Lanes[Waiting] = Lanes(
            backends, pauses, lambda: Suspensions.of(spool.suspended()), clock, self._tasks, self._work, register,
        )
        self._looks = Looks(spool, clock, wall_clock, max(map(longest_wait, routes.every)))
        self._running = Running(
            backends, lane_for, self._lanes, self._results.reply_class, settings.attempt_seconds, clock, wall_clock,
            self._tasks, self._ended, self._note,
        )
        self._places = Places()
        self._records = Records(spool, clock, self._looks.look_through)
        self._look_call: IDelayedCall | None = None
        self._is_looking = False
        self._vain_look_seconds = SHORTEST_LOOK_SECONDS
        self._told_at = -math.inf  # by the reactor's clock: the last look for what is late
        self._is_stopping = False
        self._is_retired = False

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._look_in(0.0)

    def succeed(self, elder: "Dispatcher", is_same: Callable[[str], bool]) -> None:
        """Before ``start``: one that retires leaves its gates here (``Lanes.succeed``)."""
        self._lanes.succeed(elder._lanes, is_same)

    def look_through(self) -> None:
        """Somebody gave back what was due before: find it."""
        self._looks.look_through()
        self._look_in(0.0)

    def has_room(self, lane: str, sender: str) -> bool:
        """Whether a message committed now should be claimed at once; else it waits in the spool alone."""
        if self._is_stopping:
            return False
        known = self._lanes.get(lane)
        if self._places.has_one_for(known, sender) if known is not None else self._may_make_a_lane():
            return True
        if known is not None:
            known.has_more = True
        self._look_in(FULL_LANE_SECONDS)  # the caller commits without a claim: find it when there is room
        return False

    def accept(self, claims: Sequence[Claim]) -> None:
        """Attempt freshly committed messages, or let them wait for their lane."""
        if not claims:
            self._look_in(FULL_LANE_SECONDS)  # none for now: it is held (RFC 4865); see when it is due
        for claim in claims:
            lane = self._lanes.lane(claim.lane)
            if self._places.bears(lane):
                self._add(lane, claim, self._clock.seconds(), claim.message.parameters.priority)
                self._work(lane)
            else:
                self._tasks.spawn("release", self._give_back(claim))

    def poke(self) -> None:
        """Something became due out of turn (the operator's retry, a commit without a claim): look soon."""
        self._looks.look_through()
        self._lanes.suspensions_changed()
        self._lanes.hasten()
        self._tasks.spawn("poke", in_steps(self._clock, LANES, self._lanes, self._work))
        self._look_in(0.0)

    async def give_back(self, is_meant: Callable[[Claim], bool]) -> None:
        """What waits in memory, and is meant, waits in the spool alone; what is being tried goes on."""
        self._lanes.suspensions_changed()
        released: list[Deferred[None]] = []  # all with one commit
        for lane in self._places.lanes():
            for claim, _ in self._places.take_where(lane, lambda one: is_meant(one[0])):
                released.append(Deferred.fromCoroutine(self._release(claim)))
            self._lanes.forget_if_idle(lane)
        for one in released:
            await one
        if released:  # what is not meant by the order that follows is found again
            self._looks.look_through()
            self._look_in(FULL_LANE_SECONDS)

    def lanes(self, names: Iterable[str] | None = None) -> Sequence[LaneFacts]:
        """Those that have work, or are unwell, in the order of their names; of ``names``, where they are given: all the
        facts of 10,000 lanes take 0.1 s."""
        known = self._lanes if names is None else filter(None, map(self._lanes.get, names))
        return self._facts_of(sorted(known, key=lambda lane: lane.key))

    def unwell_lanes(self, most: int) -> Sequence[LaneFacts]:
        """Those in trouble, but not suspended: at most so many, those that have been for longest first."""
        unwell = [
            (min((gate.unwell_since or 0.0 for gate in (lane.gate, *lane.shared) if gate.troubles), default=0.0), lane)
            for lane in self._lanes if _is_unwell(lane) and not lane.is_suspended
        ]
        return self._facts_of([lane for _, lane in nsmallest(most, unwell, key=lambda one: one[0])])

    def _facts_of(self, lanes: Sequence[_Lane]) -> Sequence[LaneFacts]:
        now, wall = self._clock.seconds(), self._wall_clock()
        return [lane_facts(lane, now, wall - now, self._results.reply_class) for lane in lanes]

    def lanes_at_a_glance(self, most: int) -> tuple[dict[str, int], Sequence[LaneFacts]]:
        """How many lanes are "well", "unwell" (in whatever way) and "suspended"; and of those that are not well,
        ``most`` at most, those with the most messages in memory first.  Some 10 ms for 50,000 lanes."""
        states, unwell = dict.fromkeys(("well", "unwell", "suspended"), 0), []
        for lane in self._lanes:
            if lane.is_suspended:
                states["suspended"] += 1
            elif _is_unwell(lane):
                states["unwell"] += 1
            else:
                states["well"] += 1
                continue
            unwell.append(lane)
        return states, self._facts_of(nlargest(most, unwell, key=lambda lane: len(lane.waiting)))

    async def stop(self, limit_seconds: float) -> None:
        """Begin nothing more; let running attempts end within the limit, then cancel them.

        What waits is still in the spool, and of what was cancelled all that was neither served nor refused for
        good; its lease ends when that closes.
        """
        self._is_stopping = True
        self._lanes.stop()
        if self._look_call is not None and self._look_call.active():
            self._look_call.cancel()
        limit = self._clock.callLater(limit_seconds, self._cut_off)
        await self._tasks.settled()
        self._lanes.stop()
        if limit.active():
            limit.cancel()

    async def retire(self, gave_back: Callable[[], None]) -> None:
        """Make way for another dispatcher on the same spool: begin nothing more, give back what waits in memory
        (``gave_back`` is called then), let running attempts have the time that all have, and write down what they come
        to.

        Then nothing is claimed here, and all that is not finished is the other's to find.  ``stop`` may come meanwhile.
        """
        self._is_stopping = self._is_retired = True
        self._lanes.stop()
        if self._look_call is not None and self._look_call.active():
            self._look_call.cancel()
        await self.give_back(lambda claim: True)
        gave_back()
        # Each began at the latest just now: who has not ended by then has had his time, and is told so.
        overdue = self._clock.callLater(self._attempt_seconds + SHORTEST_LOOK_SECONDS, self._running.cancel_overdue)
        await self._tasks.settled()
        self._lanes.stop()
        if overdue.active():
            overdue.cancel()

    def _cut_off(self) -> None:
        self._running.is_cut_off = self._records.is_cut_off = True
        self._tasks.cancel()

    # --- lanes ------------------------------------------------------------------------------------

    def _may_make_a_lane(self) -> bool:
        return self._places.has_any() and not self._lanes.is_full

    def _add(self, lane: _Lane, claim: Claim, since: float, priority: int) -> None:
        """Let it wait for its lane."""
        if self._is_retired:  # it was asked for, or came to be, before: whoever comes after this one finds it
            self._tasks.spawn("release", self._release(claim))
            return
        self._places.add(lane, claim, since, priority)
        if claim.message.parameters.deliver_by is not None:
            self._look_in(deadline_of(claim) - self._wall_clock())

    def _work(self, lane: _Lane) -> None:
        """Begin as much as the lane bears."""
        if self._is_stopping or lane.is_working:
            return  # an attempt that ended at once comes back here: the loop below goes on, the stack does not grow
        lane.is_working = True
        try:
            while lane.waiting:
                if not self._lanes.is_open(lane) or not self._lanes.has_place(lane):
                    return
                if self._records.are_too_many or not self._spool.room():
                    self._lanes.wake_lane(lane, NO_ROOM_SECONDS)
                    return
                is_slow = lane.is_slow
                claim, since = self._places.take(lane)
                if claim.message.parameters.deliver_by is not None and self._wall_clock() >= deadline_of(claim):
                    self._tasks.spawn("expire", self._speak(claim, since))
                elif self._clock.seconds() - since <= self._wait_seconds:
                    self._running.begin(lane, claim, is_slow)
                else:
                    self._tasks.spawn("release", self._give_back(claim))
        finally:
            lane.is_working = False
            if self._places.wants_more(lane):
                self._fetch(lane)
            elif not lane.waiting:
                self._lanes.forget_if_idle(lane)
            self._lanes.settle(lane)

    async def _give_back(self, claim: Claim) -> None:
        """Let it wait on disk for as long as the lane has no place for it."""
        await self._release(claim)
        self._is_due(claim.lane)

    async def _release(self, claim: Claim) -> None:
        try:
            await self._spool.release(claim)
        except TemporaryFault as fault:  # it is due when its lease ends
            log.error("{queue_id} could not be released: {why}", queue_id=claim.message.queue_id, why=fault.why)

    def _is_due(self, key: str) -> None:
        """Something of this lane is due on disk: fetch it, now or when there is a place for the lane."""
        lane = self._lanes.get(key)
        if lane is None and not self._may_make_a_lane():
            self._looks.look_through()
            self._look_in(FULL_LANE_SECONDS)
            return
        if lane is not None and lane.is_asleep(self._clock.seconds()):
            lane.has_more = True
            return
        self._vain_look_seconds = SHORTEST_LOOK_SECONDS
        lane = self._lanes.lane(key)
        lane.has_more = True
        self._work(lane)

    # --- attempts ---------------------------------------------------------------------------------

    def _ended(self, lane: _Lane, claim: Claim, outcomes: Mapping[Mailbox, Outcome]) -> None:
        if outcomes:
            self._settle(claim, outcomes)
        if lane.waiting and lane.dead_gate() is not None:
            self._lay_down(lane)

    def _settle(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome]) -> None:
        now = self._wall_clock()
        settlements = self._results.all_delivered(claim, outcomes, now)
        if settlements is not None:
            self._tasks.spawn("record", self._record(claim, settlements, (), now))
        else:
            self._tasks.spawn("settle", self._judge(claim, outcomes, now))

    async def _judge(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float) -> None:
        settlements, notices = await self._results.judged(claim, outcomes, now)
        await self._record(claim, settlements, notices, now)

    # --- what waits -------------------------------------------------------------------------------

    def _lay_down(self, lane: _Lane) -> None:
        """What waits for a gate that is closed for long waits on disk; what is owed a word gets it."""
        for claim, since in self._places.take_where(lane, lambda _: True):
            self._tasks.spawn("lay down", self._speak(claim, since))

    async def _speak(self, claim: Claim, since: float) -> None:
        """Say what there is to say of a message that waits, and was claimed at ``since`` by the reactor's clock; what
        is owed an attempt first gets it next, or waits for it on disk."""
        if self._clock.seconds() - since > 3 * self._wait_seconds:
            await self._give_back(claim)  # its lease may be over, and somebody else have spoken: it comes again
            return
        now = self._wall_clock()
        known = self._lanes.get(claim.lane)
        settlements, notices, owed = await self._results.spoken(claim, now, known.last_word() if known else None)
        lane = self._lanes.lane(claim.lane) if owed else None
        wait = self._owed_waits(lane, since) if lane is not None else 0.0
        if lane is not None and wait:
            settlements += [Postponed(q.row, q.due, q.attempts, q.reason, q.warned, now + wait) for q in owed]
            owed = []
            self._lanes.forget_if_idle(lane)
        if settlements:
            await self._record(claim, settlements, notices, now)
        if any(isinstance(one, Postponed) and one.due <= now for one in settlements):
            self._is_due(claim.lane)  # nobody else finds what was due already
        if owed:
            lane = self._lanes.lane(claim.lane)
            self._add(lane, attrs.evolve(claim, recipients=tuple(owed)), since, OWED_PRIORITY)
            self._work(lane)

    def _owed_waits(self, lane: _Lane, since: float) -> float:
        """Seconds for which what is owed an attempt is asked for no more: 0 where it waits for that in memory."""
        if lane.is_suspended:
            return SUSPENDED_SECONDS
        word, mono = lane.last_word(), self._clock.seconds()
        if word is None or word[1] < self._wall_clock() - LONG_PAUSE_SECONDS:
            lane.gate.hasten(self._clock.seconds())
        # Nobody takes all the places with what is old, and no lease is stretched by what is said meanwhile.
        if not self._places.has_one_for_old(lane) or mono - since > self._wait_seconds:
            return OWED_SECONDS
        gate = lane.closed_gate(mono)
        closed = 0.0 if gate is None else gate.opens_at(mono) - mono
        return min(closed, OWED_SECONDS) if LONG_PAUSE_SECONDS < closed < math.inf else 0.0

    def _expire_overdue(self) -> None:
        """What waits in memory for a destination that is busy or unwell, and must not be delivered any more."""
        for lane, (claim, since) in self._places.take_overdue(self._wall_clock()):
            self._tasks.spawn("expire", self._speak(claim, since))
            self._lanes.forget_if_idle(lane)

    async def _tell_of_delays(self) -> None:
        """What is late and waits in memory: an attempt before it may take long.  It makes room for the next ones; what
        waits for a gate that stays closed does so, too."""
        mono = self._clock.seconds()
        if self._told_at > mono - self._look_seconds:
            return
        self._told_at = mono
        await in_steps(self._clock, LANES, self._places.lanes(), self._tell_of_delays_in)
        self._lanes.sweep()

    def _tell_of_delays_in(self, lane: _Lane) -> None:
        mono, now = self._clock.seconds(), self._wall_clock()
        came_before = mono - self._look_seconds  # what came since then may have its turn at once
        gate = lane.closed_gate(mono)
        if lane.is_suspended or (gate is not None and mono + LONG_PAUSE_SECONDS < gate.opens_at(mono) < math.inf):
            late = self._places.take_where(lane, lambda one: not is_owed(one[0]) or one[1] <= came_before)
        else:
            late = self._places.take_where(
                lane, lambda one: one[1] <= came_before and self._results.is_late(one[0], now)
            )
        for claim, since in late:
            self._tasks.spawn("tell", self._speak(claim, since))
        self._lanes.forget_if_idle(lane)

    async def _record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice], reckoned: float
    ) -> None:
        fresh = await self._records.write(claim, settlements, notices)
        if fresh:
            self.accept(fresh)
        dues = [s.due for s in settlements if isinstance(s, Postponed)]
        if dues:
            self._looks.was_reckoned(reckoned)
            self._look_in(min(dues) - self._wall_clock())

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
            self._running.cancel_overdue()
            self._expire_overdue()
            await self._tell_of_delays()
            if self._places.is_anybody_hungry:
                await in_steps(self._clock, LANES, self._places.hungry(), self._work)
            agenda = await self._looks.look()
            now = self._wall_clock()
            wait = min(wait, self._places.deadline - now)
            if agenda.lanes:  # and if any can be worked on, _is_due takes this back
                self._vain_look_seconds = min(2 * self._vain_look_seconds, LONGEST_VAIN_LOOK_SECONDS)
            await in_steps(self._clock, LANES, self._lanes.awake(agenda.lanes), self._is_due)
            if self._places.is_anybody_hungry:
                wait = min(wait, FULL_LANE_SECONDS)
            if agenda.next_due is not None:
                wait = min(wait, max(self._vain_look_seconds, agenda.next_due - now))
            if agenda.next_late is not None and agenda.next_late > now:
                wait = min(wait, agenda.next_late - now)
            elif agenda.next_late is not None:
                wait = 0.0 if await self._speak_of_some() else min(wait, NO_ROOM_SECONDS)
        except TemporaryFault as fault:
            log.error("the queue could not be read: {why}", why=fault.why)
            wait = min(wait, NO_ROOM_SECONDS)
        finally:
            self._is_looking = False
            self._look_in(max(wait, SHORTEST_LOOK_SECONDS))

    async def _speak_of_some(self) -> bool:
        """Say what is to be said of what is late; whether there may be more."""
        if not self._spool.room() or not self._may_make_a_lane() or self._records.are_too_many:
            return False
        claims = await self._spool.claim_late(SPEAK)
        since = self._clock.seconds()
        await in_steps(
            self._clock, MESSAGES, claims, lambda claim: self._tasks.spawn("speak", self._speak(claim, since)))
        return len(claims) == SPEAK

    def _fetch(self, lane: _Lane) -> None:
        if lane.is_fetching or not self._lanes.is_open(lane):
            return
        if not lane.has_room:
            return  # an attempt has to end first
        if not self._places.may_fetch(lane):
            self._look_in(FULL_LANE_SECONDS)
            return
        if not self._spool.room():
            self._lanes.wake_lane(lane, NO_ROOM_SECONDS)
            return
        lane.is_fetching = True
        lane.has_more = False
        self._tasks.spawn("fetch", self._fetch_some(lane))

    async def _fetch_some(self, lane: _Lane) -> None:
        wanted = self._places.asks(lane)
        try:
            claims = await self._spool.claim(lane.key, wanted, lane.cursor)
            since = self._clock.seconds()
            lane.has_more |= len(claims) == wanted
            for claim in claims:
                self._add(lane, claim, since, claim.message.parameters.priority)
            if claims:
                lane.cursor = path_text(claims[-1].message.reverse_path)
            self._expire_overdue()
        except TemporaryFault as fault:
            log.error("lane {lane} could not be read: {why}", lane=lane.key, why=fault.why)
            lane.has_more = True
            self._lanes.wake_lane(lane, NO_ROOM_SECONDS)
        finally:
            self._places.answered(wanted)
            lane.is_fetching = False
        self._work(lane)

    def _bug(self, what: str, failure: Failure) -> None:
        # The recipients stay leased, and are due again when the lease or this process ends.
        log.failure("dispatcher: {what} failed", failure=failure, what=what)
        self._note(fact.Trouble(f"dispatcher: {what}", type(failure.value).__name__, "", ""))


def _is_unwell(lane: _Lane) -> bool:
    return lane.gate.troubles > 0 or any(gate.troubles for gate in lane.shared)
