"""Days of a queue in seconds: the real dispatcher and its cores, a spool in memory, a clock that jumps.

``python -m tests.simulation`` has 1,000,000 deferred messages to 10,000 dead domains, where each attempt hangs for 30
seconds, and beside them fresh mail to 100 live ones, which take 0.2 seconds; a sender who leaves 20,000 messages for
one of those at once; and after two days a tenth of the dead domains come alive.  It prints what became of all that, and
fails where mail waited for what it need not wait for.  The deferred messages were tried once before, want no notices,
and are given up after five days.
"""

import argparse
import heapq
import random
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mailgw.deliver.dispatcher import Dispatcher, DispatcherSettings, lane_key
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.event import Event
from mailgw.mail.message import Arrival, Destination, Message
from mailgw.mail.outcome import Outcome, Scope, delivered, temporary
from mailgw.mail.parameters import RcptParameters
from mailgw.mail.reply import Reply
from mailgw.queue.schedule import RetrySettings
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of

HOUR, DAY = 3600.0, 86400.0
START = 1_700_000_000.0
SCHEDULE = (300.0, 900.0, 1800.0, HOUR, 2 * HOUR, 4 * HOUR)
HANGS_SECONDS, ANSWERS_SECONDS = 30.0, 0.2
LIVE = 100
OK = delivered(Reply(250, "2.0.0", ("taken",)), "mx [192.0.2.9]:25")
DEAD = temporary("4.4.1", "no answer", Scope.HOST, "")
SILENT = RcptParameters(frozenset())
BULK = Mailbox("bulk", "sender.example")
ENDS = (fact.Delivered, fact.Bounced)


class _Call:
    __slots__ = ("args", "at", "function", "is_over")

    def __init__(self, at: float, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.at = at
        self.function = function
        self.args = args
        self.is_over = False

    def active(self) -> bool:
        return not self.is_over

    def cancel(self) -> None:
        self.is_over = True

    def getTime(self) -> float:
        return self.at


class HeapClock:
    """As ``task.Clock``, for a million of calls: that one sorts its list for each."""

    def __init__(self) -> None:
        self._now = 0.0
        self._calls: list[tuple[float, int, _Call]] = []
        self._numbers = count()

    def seconds(self) -> float:
        return self._now

    def callLater(self, delay: float, function: Callable[..., object], *args: Any) -> _Call:
        call = _Call(self._now + delay, function, args)
        heapq.heappush(self._calls, (call.at, next(self._numbers), call))
        return call

    def run_until(self, end: float) -> None:
        while self._calls and self._calls[0][0] <= end:
            _, _, call = heapq.heappop(self._calls)
            if not call.is_over:
                call.is_over = True
                self._now = call.at
                call.function(*call.args)
        self._now = end


@implementer(IDeliveryBackend)
class Internet:
    """Domains that are dead, some of them for a time."""

    concurrency = 20

    def __init__(self, clock: HeapClock, ill_seconds: float) -> None:
        self._clock = clock
        self._ill_seconds = ill_seconds
        self.attempts: Counter[str] = Counter()
        self.running = self.most_running = 0

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    def is_dead(self, domain: str) -> bool:
        return domain.startswith("dead") or (domain.startswith("ill") and self._clock.seconds() < self._ill_seconds)

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        domain = recipients[0].domain
        is_dead = self.is_dead(domain)
        self.attempts["in vain" if is_dead else "delivered"] += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        answer: Deferred[None] = Deferred()
        self._clock.callLater(HANGS_SECONDS if is_dead else ANSWERS_SECONDS, answer.callback, None)
        await answer
        self.running -= 1
        return dict.fromkeys(recipients, DEAD if is_dead else OK)


@attrs.frozen
class Figures:
    """Seconds of virtual time, but for ``real_seconds``."""

    deferred: int
    dead_domains: int
    fresh: int
    fresh_median: float
    fresh_worst: float
    beside_bulk_median: float
    beside_bulk_worst: float
    bulk_seconds: float
    attempts_in_vain: int
    most_attempts_at_once: int
    most_claims_in_memory: int
    most_lanes: int
    alive_again: int
    alive_again_median: float
    alive_again_worst: float
    given_up: int
    given_up_worst: float
    left: int
    real_seconds: float
    memory_mib: int

    def check(self) -> None:
        """AssertionError where the queue did not do what it promises."""
        assert self.left == 0
        assert self.alive_again + self.given_up == self.deferred, "each was delivered or given up"
        assert self.fresh_worst < 2.0, "fresh mail does not wait for what is dead"
        assert self.beside_bulk_worst < 10.0, "nor for what another sends"
        assert self.alive_again_worst < max(SCHEDULE) + HOUR
        # Some seventy probes of each destination, and what was tried before it was known to be dead.
        assert self.attempts_in_vain < 100 * self.dead_domains
        assert self.given_up_worst < DAY

    def __str__(self) -> str:
        return "\n".join(f"{name.replace('_', ' '):>24}: {value}" for name, value in attrs.asdict(self).items())


class Simulation:
    """``seconds``: after so long what is deferred is given up; some of it is alive again after two fifths of that."""

    def __init__(
        self, deferred: int, domains: int, fresh_every: float, bulk: int, seconds: float = 5 * DAY
    ) -> None:
        self.clock = HeapClock()
        self.seconds, self.ill_seconds = seconds, 0.4 * seconds
        retry = RetrySettings(SCHEDULE, 4 * HOUR, seconds, 0.1)
        self.chance = random.Random(5).random
        self.spool = MemorySpool(self.now, late_seconds=retry.warn_after)
        self.internet = Internet(self.clock, self.ill_seconds)
        self.dispatcher = Dispatcher(
            DispatcherSettings("mx.example.org", retry, 600.0, None), self.spool, {"out": self.internet},
            lambda recipient: None, self, self.clock, self.now, self.chance,  # type: ignore[arg-type] # a clock of ours
        )
        self.deferred, self.domains, self.fresh_every, self.bulk = deferred, domains, fresh_every, bulk
        self.ended: dict[str, tuple[str, float]] = {}  # by queue id: how, and when
        self.most_claims = self.most_lanes = 0

    def now(self) -> float:
        return START + self.clock.seconds()

    def note(self, event: Event) -> None:
        if isinstance(event, ENDS):
            self.ended[event.queue_id] = (event.name, self.clock.seconds())

    def put(self, sender: Mailbox, recipient: Mailbox, is_fresh: bool) -> str:
        draft = self.spool.draft()
        draft.write(b"Subject: x\r\n\r\n")
        lane = lane_key("out", recipient.domain)
        arrival = Arrival(sender, BodyType.SEVEN_BIT, "", "", "", "", "")
        claim = is_fresh and self.dispatcher.has_room(lane, str(sender))
        claims = result_of(draft.commit(arrival, [Destination(recipient, lane, SILENT)], claim))
        if is_fresh:
            self.dispatcher.accept(claims)
        return draft.queue_id

    def run(self) -> Figures:
        began = time.monotonic()
        ill = max(1, self.domains // 10)
        waiting: dict[str, str] = {}
        for number in range(self.deferred):
            place = number % self.domains
            domain = f"ill{place}.example" if place < ill else f"dead{place}.example"
            queue_id = self.put(Mailbox(f"s{number % 97}", "sender.example"), Mailbox("a", domain), False)
            self.spool._queue[queue_id].rows[1].attempts = 1
            waiting[queue_id] = domain
        self.dispatcher.start()
        fresh: dict[str, float] = {}
        bulk: list[str] = []
        beside: dict[str, float] = {}

        def arrive(number: int) -> None:
            if self.clock.seconds() > self.seconds:
                return
            someone = Mailbox(f"fresh{number % 13}", "sender.example")
            fresh[self.put(someone, Mailbox("a", f"live{number % LIVE}.example"), True)] = self.clock.seconds()
            self.clock.callLater(self.fresh_every, arrive, number + 1)
            self.most_claims = max(self.most_claims, self.dispatcher._places.waiting + len(self.dispatcher._running))
            self.most_lanes = max(self.most_lanes, len(self.dispatcher._lanes))

        def flood() -> None:
            for _ in range(self.bulk):
                bulk.append(self.put(BULK, Mailbox("a", "busy.example"), True))
            for number in range(100):
                self.clock.callLater(0.05 * number, neighbour, number)

        def neighbour(number: int) -> None:
            someone = Mailbox(f"other{number % 10}", "sender.example")
            beside[self.put(someone, Mailbox("b", "busy.example"), True)] = self.clock.seconds()

        self.clock.callLater(1.0, arrive, 0)
        self.clock.callLater(HOUR, flood)
        self.clock.run_until(self.seconds + DAY)
        return self._figures(waiting, fresh, bulk, beside, began)

    def _figures(
        self, waiting: Mapping[str, str], fresh: Mapping[str, float], bulk: Sequence[str], beside: Mapping[str, float],
        began: float,
    ) -> Figures:
        took = [self.ended[one][1] - at for one, at in fresh.items()]
        others = [self.ended[one][1] - at for one, at in beside.items()]
        again = [
            self.ended[one][1] - self.ill_seconds for one, domain in waiting.items()
            if domain.startswith("ill") and self.ended[one][0] == "delivered"
        ]
        given_up = [self.ended[one][1] - self.seconds for one in waiting if self.ended[one][0] == "bounced"]
        return Figures(
            self.deferred, self.domains, len(fresh), round(statistics.median(took), 3), round(max(took), 3),
            round(statistics.median(others), 3), round(max(others), 3),
            round(max(self.ended[one][1] for one in bulk) - HOUR, 1), self.internet.attempts["in vain"],
            self.internet.most_running, self.most_claims, self.most_lanes, len(again),
            round(statistics.median(again), 1), round(max(again), 1), len(given_up), round(max(given_up), 1),
            len(self.spool._queue), round(time.monotonic() - began, 1),
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--deferred", type=int, default=1_000_000, help="messages (default: 1000000)")
    parser.add_argument("--domains", type=int, default=10_000, help="dead ones (default: 10000)")
    parser.add_argument("--fresh-every", type=float, default=30.0, help="seconds between fresh messages (default: 30)")
    parser.add_argument("--bulk", type=int, default=20_000, help="messages of one sender at once (default: 20000)")
    options = parser.parse_args()
    figures = Simulation(options.deferred, options.domains, options.fresh_every, options.bulk).run()
    print(figures)
    figures.check()


if __name__ == "__main__":
    main()
