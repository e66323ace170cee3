"""Walks by chance through what a queue may meet: whatever it was, nothing is lost, tried twice at once, or stuck."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailgw.deliver import dispatcher, lanes, places, records
from mailgw.interfaces import IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.message import Agenda, Claim, Message, Notice, Query, RowState, Settlement
from mailgw.mail.outcome import Outcome, Scope, temporary
from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters, Notify
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Bounds, Shape
from mailgw.queue import lanes as queue_lanes
from mailgw.queue.replies import LaneOrder, MessageOrder, ReplyClass, ReplyClasses
from mailgw.queue.schedule import RetrySettings
from mailgw.spool.memory import MemorySpool
from tests.deliver.dispatching import ADMIN, ALICE, DEAD, LATER, NEVER, OK, House

DOMAINS = ("a.example", "b.example", "c.example", "d.example", "e.example", "f.example")
HOSTS = {"a.example": "big", "b.example": "big", "c.example": "big", "d.example": "small", "e.example": "small"}
SENDERS = (None, ALICE, Mailbox("s1", "example.org"), Mailbox("s2", "example.org"))
BUSY = temporary("4.7.0", "too many connections", Scope.HOST, "mx [192.0.2.9]:25")
CLASSES = ReplyClasses((ReplyClass("busy", statuses=("4.7.0",), lane=LaneOrder.SLOW, message=MessageOrder.AGAIN),))
MOODS: Mapping[str, Outcome | None] = {
    "ok": OK, "later": LATER, "dead": DEAD, "busy": BUSY, "never": NEVER, "hangs": None,
}
# Hours, since a day has thousands of looks into an empty queue.
RETRY = RetrySettings(schedule=(300.0, 900.0, 3600.0), warn_after=3600.0, give_up_after=4 * 3600.0, jitter=0.0)
MOST_AT_ONCE, MOST_AT_A_HOST, MOST_OF_THE_BACKEND = 3, 2, 5


@implementer(IShapedBackend)
class Moody:
    """Each domain has a mood, which takes some seconds to show; counts who is inside."""

    concurrency = 2

    def __init__(self, chance: random.Random) -> None:
        self.house: Any = None
        self.moods: dict[str, str] = {}
        self.chance = chance
        self.inside: Counter[str] = Counter()
        self.tried: set[tuple[str, Mailbox]] = set()
        self.served: Counter[tuple[str, Mailbox]] = Counter()
        self.is_unresolved = False

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def shape(self, lane: str) -> Shape:
        await self._after(self.chance.choice((0, 0, 1, 5)))
        if self.is_unresolved:
            raise TemporaryFault("DNS does not answer")
        host = HOSTS.get(lane)
        gates = {} if host is None else {f"host:{host}": Bounds(MOST_AT_A_HOST, None)}
        return Shape(Bounds(MOST_AT_ONCE, None), gates | {"backend": Bounds(MOST_OF_THE_BACKEND, None)})

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        domain = recipients[0].domain
        mine = {(message.queue_id, recipient) for recipient in recipients}
        assert not mine & self.tried, "tried twice at once"
        by = message.parameters.deliver_by
        assert by is None or by.mode is ByMode.NOTIFY or self.house.now() < by.deadline, "too late"
        self.tried |= mine
        self.inside[domain] += 1
        try:
            assert self.inside[domain] <= MOST_AT_ONCE
            await self._after(self.chance.choice((0, 0.2, 3, 40)))
            said = MOODS[self.moods.get(domain, "ok")]
            if said is None:
                await Deferred()  # until it is cancelled
            assert said is not None
            if said.is_delivered:
                self.served.update(mine)
            return dict.fromkeys(recipients, said)
        finally:
            self.inside[domain] -= 1
            self.tried -= mine

    async def _after(self, seconds: float) -> None:
        if seconds:
            done: Deferred[None] = Deferred()
            call = self.house.clock.callLater(seconds, done.callback, None)
            try:
                await done
            finally:
                if call.active():
                    call.cancel()


class Unwell(MemorySpool):
    """A spool that takes its time, and fails for a while."""

    house: Any = None
    chance: random.Random
    unwell_until = 0.0  # a disk that takes no result for as long as a lease lasts would repeat a delivery
    is_slow = False

    async def _trouble(self) -> None:
        if self.is_slow and self.chance.random() < 0.5:
            done: Deferred[None] = Deferred()
            self.house.clock.callLater(self.chance.choice((0.01, 2.0)), done.callback, None)
            await done
        if self.house.clock.seconds() < self.unwell_until and self.chance.random() < 0.5:
            raise TemporaryFault("the disk is unwell")

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        await self._trouble()
        return await super().claim(lane, limit, after)

    async def claim_late(self, limit: int) -> tuple[Claim, ...]:
        await self._trouble()
        return await super().claim_late(limit)

    async def release(self, claim: Claim) -> None:
        await self._trouble()
        await super().release(claim)

    async def agenda(self, since: float) -> Agenda:
        await self._trouble()
        return await super().agenda(since)

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        await self._trouble()
        return await super().record(claim, settlements, notices)


class Told(House):
    """Somebody else hears of what happens."""

    tell: Callable[[Any], None]

    def note(self, event: Event) -> None:
        self.tell(event)


class Walk:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.backend = Moody(self.chance)
        self.house = Told(self.backend, ADMIN, Unwell(lambda: self.house.now(), 1200.0), CLASSES, RETRY)
        self.house.tell = self.note
        self.told: Counter[tuple[str, str, str]] = Counter()
        self.arrived: dict[str, float] = {}
        self.deadlines: dict[str, float] = {}
        self.spool = self.house.spool
        assert isinstance(self.spool, Unwell)
        self.backend.house = self.spool.house = self.house
        self.spool.chance = self.chance
        self.put: list[tuple[str, tuple[Mailbox, ...]]] = []
        self.silent: set[str] = set()
        self.given_back: list[Deferred[None]] = []
        self.lead = 0.0
        self.house.dispatcher.start()

    def note(self, event: Any) -> None:
        if event.name == "trouble":
            return  # what failed is logged, too, and found there
        self.told[event.name, event.queue_id, event.recipient] += 1
        if event.name in ("bounced", "undeliverable") and event.status == "5.4.7" and event.queue_id in self.arrived:
            end = min(self.arrived[event.queue_id] + RETRY.give_up_after, self.deadlines.get(event.queue_id, math.inf))
            assert self.house.now() >= end, "too early"

    def message(self, number: int) -> None:
        domains = [DOMAINS[number % 6]] if number % 3 else [DOMAINS[number % 6], DOMAINS[number // 6 % 6]]
        recipients = tuple(Mailbox(f"r{place}", domain) for place, domain in enumerate(domains))
        by = None
        house_now = self.house.now()
        if number % 7 == 0:
            mode = ByMode.RETURN if number % 2 else ByMode.NOTIFY
            by = DeliverBy(self.house.now() + 60 * (number % 50), mode, False)
        notify = frozenset({Notify.FAILURE, Notify.DELAY}) if number % 5 == 0 else None
        lane_names = [f"out/{domain}" for domain in domains]
        sender = SENDERS[number % 4]
        has_room = all(self.house.dispatcher.has_room(lane, str(sender or "")) for lane in lane_names)
        asked = MailParameters(deliver_by=by, priority=number % 3)
        try:
            queue_id = self.house.put(*recipients, sender=sender, claim=has_room, asked=asked, notify=notify)
        except TemporaryFault:
            return  # the disk is full: 452
        self.put.append((queue_id, recipients))
        self.arrived[queue_id] = house_now
        if by is not None and by.mode is ByMode.RETURN:
            self.deadlines[queue_id] = by.deadline
        if sender is None:
            self.silent.add(queue_id)

    def act(self, what: str, number: int) -> None:
        house, spool = self.house, self.spool
        assert isinstance(spool, Unwell)
        domain = DOMAINS[number % 6]
        match what:
            case "mail":
                for one in range(1 + number % 4):
                    self.message(number // 4 + one)
            case "flood":
                for _ in range(15):
                    self.message(number)
            case "mood":
                self.backend.moods[domain] = self.chance.choice(list(MOODS))
            case "dead":
                for one in DOMAINS[:1 + number % 6]:
                    self.backend.moods[one] = "dead"
            case "well":
                self.backend.moods.clear()
            case "wait":
                house.pass_time((1, 5, 60, 600, 1800, 3600, 4 * 3600)[number % 7], (0.5, 5, 30, 60, 120)[number % 5])
            case "step":
                step = (-86400.0, -3600.0, -30.0, 30.0, 120.0)[number % 5]
                if self.lead + step <= 150:  # a lease may end before its attempt where the clock leaps ahead
                    self.lead = max(0.0, self.lead + step)
                    house.step += step
            case "disk":
                spool.unwell_until = house.clock.seconds() + (0.0 if number % 2 else 300.0)
                spool.is_slow, spool.is_full = number % 3 == 0, number % 5 == 0
            case "dns":
                self.backend.is_unresolved = number % 2 == 0
            case "restart":
                spool.unwell_until, spool.is_slow = 0.0, False  # what the disk refuses then is delivered again
                stopped = Deferred.fromCoroutine(house.dispatcher.stop(30.0))
                house.pass_time(31, 1)
                assert stopped.called
                self._now(spool.close())
                house.dispatcher = house.another_dispatcher()
                house.dispatcher.start()
            case "suspend":
                self.given_back.append(Deferred.fromCoroutine(self._suspend(domain)))
            case "resume":
                self._now(spool.resume(domain))
                house.dispatcher.poke()
            case "hold":
                self._now(spool.hold(Query(domain=domain)))
            case "release":
                self._now(spool.unhold(Query(domain=domain)))
                house.dispatcher.poke()
            case "give back":
                self.given_back.append(Deferred.fromCoroutine(self._give_back(domain)))

    async def _suspend(self, domain: str) -> None:
        await self.spool.suspend(domain)
        await self._give_back(domain)

    async def _give_back(self, domain: str) -> None:
        await self.house.dispatcher.give_back(lambda claim: claim.lane.endswith(domain))

    def _now(self, coroutine: Any) -> None:
        assert Deferred.fromCoroutine(coroutine).called

    def settle(self) -> None:
        """The world is well again; nobody tells the dispatcher but of what was suspended."""
        spool, house = self.spool, self.house
        assert isinstance(spool, Unwell)
        spool.unwell_until = 0.0
        spool.is_slow = spool.is_full = self.backend.is_unresolved = False
        self.backend.moods.clear()
        for domain in list(spool.suspended()):
            self.act("resume", DOMAINS.index(domain))
        house.pass_time(2 * 1200 + 3600 + 600, 10)

    def check(self) -> None:
        house = self.house
        assert all(given_back.called for given_back in self.given_back)
        left = [row for row in house.rows() if row.state != RowState.HELD]
        assert not left, left
        ends = ("delivered", "bounced", "undeliverable")
        ended = {(queue_id, to) for name, queue_id, to in self.told if name in ends}
        warned = {one: count for one, count in self.told.items() if one[0] == "delay_warning"}
        assert not [one for one, count in warned.items() if count > 1 or one[1] in self.silent], "warned twice"
        held = {(row.queue_id, row.recipient) for row in house.rows()}
        for queue_id, recipients in self.put:
            for recipient in set(recipients):
                assert (queue_id, str(recipient)) in ended or (queue_id, str(recipient)) in held, "lost"
        ours = {queue_id for queue_id, _ in self.put}  # what was released may fail again, and be told of again
        twice = {one: count for one, count in self.backend.served.items() if count > 1 and one[0] in ours}
        assert not twice, "delivered twice"
        own, memory = house.dispatcher, house.dispatcher._places
        assert (memory.waiting, memory.fetching, memory._of_sender, len(own._running)) == (0, 0, Counter(), 0)
        assert (own._lanes.active, own._lanes.active_slow, own._records._unrecorded) == (0, 0, 0)
        gates = [*own._lanes._shared.values(), *(lane.gate for lane in own._lanes)]
        assert not [gate.key for gate in gates if gate.active]
        assert not [lane.key for lane in own._lanes if lane.is_idle and lane.key not in own._lanes._is_remembered]
        named = Counter(gate.key for lane in own._lanes for gate in lane.shared)
        assert (own._lanes._named_by, own._lanes._unnamed) == (named, own._lanes._shared.keys() - named.keys())
        assert Deferred.fromCoroutine(own.stop(1.0)).called
        assert house.clock.getDelayedCalls() == []


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """A gateway so small that every limit is met."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "MAX_WAITING_IN_ALL", 8)
        patch.setattr(places, "FETCH", 3)
        patch.setattr(dispatcher, "SPEAK", 3)
        patch.setattr(places, "MAX_WAITING", 6)
        patch.setattr(queue_lanes, "MAX_WAITING", 6)
        patch.setattr(lanes, "MAX_ATTEMPTS", 6)
        patch.setattr(lanes, "MAX_SLOW_ATTEMPTS", 3)
        patch.setattr(lanes, "MAX_LANES", 5)
        patch.setattr(records, "MAX_UNRECORDED", 3)
        yield


ACTS = ("mail", "mail", "mail", "flood", "mood", "mood", "dead", "well", "wait", "wait", "wait", "wait", "step", "disk",
        "dns", "restart", "suspend", "resume", "hold", "release", "give back")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 1 << 16),
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 1 << 12)), min_size=10, max_size=25),
)
def test_whatever_happens_all_is_delivered_or_told_in_the_end(
    small: None, seed: int, acts: list[tuple[str, int]]
) -> None:
    walk = Walk(seed)
    for what, number in acts:
        walk.act(what, number)
    walk.settle()
    walk.check()
