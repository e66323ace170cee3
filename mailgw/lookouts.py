"""Who hears what a gateway does (``web.lookout``), for each shape of one; and what there is just now in a process.

Rules:
    To ask what there is costs little, however often it is asked: the queue is counted now and then
    (``deliver.counting``), and what took long is not done again at once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailgw.config.settings import Config
from mailgw.deliver.lane_facts import LaneFacts
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import EVERYTHING, LaneRow
from mailgw.mail.ports import WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.queue.census import Census
from mailgw.queue.suspension import Suspensions
from mailgw.reloading import Reloader
from mailgw.shards import Shard
from mailgw.web.gauges import LONGEST_WORDS, MOST_LANES, MOST_STATUSES, STATES, Gauges, in_one
from mailgw.web.lookout import FILE, Beside, Lookout, Seen
from mailgw.web.reporter import Reporter

if TYPE_CHECKING:
    from mailgw.service import MailGateway
    from mailgw.workers.calls import Wire

ANSWER_SECONDS: Final = 1.0
"""A worker that takes longer to say how it is, is left out."""


@attrs.frozen
class _Counted:
    """What a shard's census came to; it takes some time where there are many lanes, so it is done once for each."""

    census: Census
    queue: Mapping[str, Any]
    longest: Sequence[LaneRow]


class ProcessGauges:
    """What there is in a process that moves mail, as ``web.gauges`` has it."""

    def __init__(self, gateway: "MailGateway") -> None:
        self._gateway = gateway
        self._clock: IReactorTime = gateway.reactor
        self._disk = gateway.world.disk
        self._tasks = TaskGroup(gateway.note_trouble)
        self._counted: dict[int, _Counted] = {}  # by the number of the shard
        self._oldest: dict[int, float | None] = {}
        self._glances: tuple[dict[str, int], Sequence[LaneFacts]] = (dict.fromkeys(STATES, 0), ())
        self._glanced_at: float | None = None
        self._glance_seconds = 0.0

    async def look(self) -> Gauges:
        gateway = self._gateway
        counted = {shard.number: await self._count(shard) for shard in gateway.shards.all}
        spool = gateway.config.spool
        states, unwell = self._glance()
        each = [
            {"queue": {**one.queue, "oldest": self._oldest.get(number)}, "lanes": self._lanes(one.longest)}
            for number, one in counted.items()
        ]
        here = {
            "sessions": len(gateway.sessions),
            "most_sessions": gateway.sessions.limit,
            "journal_lost": getattr(gateway.journal.alone, "lost", 0),
            "disk": {
                "free_octets": self._free_octets(spool.folder), "reserve_octets": spool.reserve_octets,
                "has_room": gateway.spool.room(),
            },
            "lane_states": states,
        }
        return in_one(here, each, _in_trouble(unwell))

    async def _count(self, shard: Shard) -> _Counted:
        census, at, is_whole = await shard.counting.census()
        known = self._counted.get(shard.number)
        if known is not None and known.census is census and is_whole:
            return known
        queue = {
            "at": round(at, 3), "is_whole": is_whole, "statuses": census.statuses(MOST_STATUSES),
            "backends": [{"backend": name, **sums} for name, sums in census.backends().items()],
        }
        counted = self._counted[shard.number] = _Counted(census, queue, census.longest(MOST_LANES))
        self._tasks.spawn("looking for the oldest message", self._look_for_oldest(shard))
        return counted

    async def _look_for_oldest(self, shard: Shard) -> None:
        """It is not waited for: a long search may be before it."""
        try:
            rows = await shard.spool.search(EVERYTHING, 1)
        except TemporaryFault:
            return  # the database is unwell, or closes: that is told elsewhere
        self._oldest[shard.number] = rows[0].arrived if rows else None

    def _free_octets(self, folder: str) -> int:
        try:
            return self._disk.free_octets(folder)
        except OSError:
            return 0

    def _glance(self) -> tuple[dict[str, int], Sequence[LaneFacts]]:
        """How the lanes are; not more often than ten in a hundred of the time, with however many lanes there are."""
        now = self._clock.seconds()
        if self._glanced_at is not None and 0 <= now - self._glanced_at < 10 * self._glance_seconds:
            return self._glances
        states = dict.fromkeys(STATES, 0)
        unwell: list[LaneFacts] = []
        for shard in self._gateway.shards.all:
            if shard.made is not None:
                more, facts = shard.made.lanes_at_a_glance(MOST_LANES)
                states = {state: states[state] + more[state] for state in STATES}
                unwell += facts
        self._glances, self._glanced_at = (states, unwell), now
        self._glance_seconds = self._clock.seconds() - now
        return self._glances

    def _lanes(self, longest: Sequence[LaneRow]) -> Sequence[Any]:
        suspensions = Suspensions.of(self._gateway.spool.suspended())
        return [
            {**attrs.asdict(row), "reason": row.reason[:LONGEST_WORDS],
             "state": "suspended" if suspensions.holds(row.lane) else "well",
             "unwell_since": None, "opens_at": None, "said": ""}
            for row in longest
        ]

    async def close(self) -> None:
        self._tasks.cancel()


def _in_trouble(unwell: Sequence[LaneFacts]) -> Sequence[Any]:
    return [
        {"lane": one.lane, "waiting": one.waiting, "due_now": 0, "active": one.active, "held": 0, "next_due": None,
         "reason": "", "state": one.state, "unwell_since": one.unwell_since, "opens_at": one.opens_at,
         "said": one.said[:LONGEST_WORDS]}
        for one in unwell
    ]


def names_of(config: Config) -> tuple[frozenset[str], frozenset[str]]:
    """The backends, and the classes of replies, that are counted by their names."""
    return frozenset(config.backends), frozenset(one.name for one in config.reply_classes.classes)


def lookout(gateway: "MailGateway") -> Lookout:
    """Of the only process."""

    async def look() -> Sequence[Seen]:
        return (Seen(None, await gateway.gauges.look()),)

    def known_besides() -> "Deferred[Mapping[str, Any]]":
        return Deferred.fromCoroutine(beside(gateway.sending, gateway.reloader))

    return Lookout(*names_of(gateway.config), gateway.reactor, gateway.world.wall_clock, look, known_besides)


def reporter(gateway: "MailGateway", wire: "Wire") -> Reporter:
    """Of one of several."""
    return Reporter(*names_of(gateway.config), gateway.reactor, gateway.world.wall_clock, wire.tell)


def lookout_over_workers(
    config: Config, clock: IReactorTime, wall_clock: WallClock,
    wires: "Callable[[], Sequence[tuple[int, Wire | None]]]", known_besides: Beside,
) -> Lookout:
    """Of the process above several; ``wires``: to each of them, None where it does not run."""

    async def look() -> Sequence[Seen]:
        asked = [(number, None if wire is None else _asked(wire, clock)) for number, wire in wires()]
        return [Seen(number, None if answer is None else await answer) for number, answer in asked]

    def watch(filters: Sequence[Any]) -> None:
        for _, wire in wires():
            if wire is not None:
                wire.tell("facts.watch", filters)

    return Lookout(*names_of(config), clock, wall_clock, look, known_besides, watch)


class HasBooks(Protocol):
    """``SendingHere``, or a parent's."""

    async def hooks_at_a_glance(self) -> Sequence[Mapping[str, Any]]: ...

    def books_told(self) -> Mapping[str, Any]: ...

    def maildrop_told(self) -> Mapping[str, Any] | None: ...


async def beside(sending: HasBooks, reloader: Reloader) -> Mapping[str, Any]:
    """What one process knows, for all of them."""
    last = reloader.last
    return {
        "webhooks": await sending.hooks_at_a_glance(),
        **sending.books_told(),
        "maildrop": sending.maildrop_told(),
        "reload": {"faults": list(last.faults), "succeeded": last.succeeded},
    }


def _asked(wire: "Wire", clock: IReactorTime) -> "Deferred[Gauges | None]":
    asked = wire.ask("facts.gauges")
    asked.addTimeout(ANSWER_SECONDS, clock)  # type: ignore[unused-awaitable] # below
    return asked.addErrback(lambda _: None)


def plots_path(config: Config) -> str:
    return os.path.join(config.state, FILE)
