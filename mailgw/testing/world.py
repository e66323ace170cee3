"""A gateway's world in memory, for one life of it: from a start to a stop or a crash."""

import os
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime
from twisted.internet.testing import MemoryReactorClock

from mailgw.config.settings import DnsSettings
from mailgw.deliver.event_hook import Posts
from mailgw.deliver.event_hook_settings import EventHookSettings
from mailgw.mail.event import Event
from mailgw.mail.message import Content
from mailgw.mail.ports import Resolver, Spool, WallClock
from mailgw.net.posting import PostAnswer
from mailgw.spool.settings import SpoolSettings
from mailgw.store.captured import Bounds, Capture, CapturedMail
from mailgw.store.database import Schema, opened
from mailgw.store.journal import JournalSettings
from mailgw.store.ledger import Ledger
from mailgw.store.observers import OwnJournal
from mailgw.store.reports import Bearer, Kept, ReportBook
from mailgw.store.state_file import Workshop
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.facts import KeptJournal
from mailgw.testing.power import Power
from mailgw.testing.reactor import Answering, MemoryReactor
from mailgw.testing.spool import KeptSpool, LivingSpool
from mailgw.trust.reports_in import ReportIn
from mailgw.world import World


@attrs.frozen
class Posted:
    """What a web hook for events was told."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@attrs.define(eq=False)
class Lasting:
    """What outlives a gateway; ``spool`` is made at its first start."""

    resolver: Resolver
    places: Callable[[str], Answering | None]
    wall_clock: WallClock
    disk: MemoryDisk
    facts: KeptJournal = attrs.field(factory=KeptJournal)
    spool: KeptSpool | None = None
    reports: ReportBook | None = None
    ledgers: dict[str, sqlite3.Connection] = attrs.field(factory=dict)
    captured: CapturedMail | None = None
    posts: "list[Posted]" = attrs.field(factory=list)
    answer_post: "Callable[[Posted], PostAnswer]" = lambda post: PostAnswer(204, b"")


class MemoryWorld(World):
    """One life."""

    looks_again = False  # days pass quickly

    def __init__(self, lasting: Lasting, power: Power, began: float) -> None:
        super().__init__(MemoryReactor(lasting.places, power, began), lasting.wall_clock)
        self.chance = lambda: 0.5
        self.shuffle = _leave  # each run is like the last one
        self.disk = lasting.disk
        lasting.disk.power = power
        self._lasting = lasting
        self._power = power

    def listen(
        self, endpoint: str, factory: IProtocolFactory, owner: tuple[int, int] | None
    ) -> IListeningPort:
        return self._port(factory)

    def listen_for_control(self, path: str, factory: IProtocolFactory) -> IListeningPort:
        return self._port(factory)

    def _port(self, factory: IProtocolFactory) -> IListeningPort:
        # The clients of a test come by the factories, whatever the place.
        reactor: MemoryReactorClock = self.reactor
        return cast(IListeningPort, reactor.listenTCP(0, factory))  # type: ignore[no-untyped-call]

    def threads(self, most: int, name: str, in_background: bool) -> tuple[Any, Callable[[], Awaitable[None]]]:
        async def stop() -> None:
            pass

        return self.reactor, stop

    def spool(self, settings: SpoolSettings) -> Spool:
        lasting = self._lasting
        if lasting.spool is None:
            lasting.spool = KeptSpool(
                lasting.wall_clock, settings.lease_seconds, settings.node, settings.late_seconds
            )
        return LivingSpool(lasting.spool, self._power, self.reactor)

    def left_over(self, settings: SpoolSettings) -> Sequence[int]:
        return ()

    def resolver(self, settings: DnsSettings) -> Resolver:
        return self._lasting.resolver

    def reports(self, path: str) -> ReportBook:
        lasting = self._lasting
        if lasting.reports is None:
            lasting.reports = ReportBook(None)
        return _LivingBook(lasting.reports, self._power)

    def ledger(self, path: str, schema: Schema, workshop: Workshop) -> Ledger:
        return _LivingLedger(self._lasting.ledgers, path, schema, workshop, self._power)

    def captured(self, path: str) -> CapturedMail:
        lasting = self._lasting
        if lasting.captured is None:
            lasting.captured = CapturedMail(None)
        return _LivingInbox(lasting.captured, self._power)

    def event_poster(self, settings: EventHookSettings) -> tuple[Posts, Callable[[], object]]:
        return _LivingPosts(self._lasting, self._power, self.reactor), lambda: None

    def journal(self, settings: JournalSettings) -> OwnJournal:
        return _LivingJournal(self._lasting.facts, self._power)


def _leave(hosts: list[str]) -> None:
    """In the order in which DNS had them."""


class _LivingJournal:
    """The facts of one life; a dead gateway tells no more."""

    def __init__(self, facts: KeptJournal, power: Power) -> None:
        self._facts = facts
        self._power = power

    def note(self, event: Event) -> None:
        if not self._power.is_off:
            self._facts.note(event)

    def reopen(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _LivingBook(ReportBook):
    """The reports as one life writes them."""

    def __init__(self, book: ReportBook, power: Power) -> None:
        super().__init__(None)
        self._book = book
        self._power = power

    def keep(
        self, reports: Sequence[ReportIn], bearer: Bearer, keep_seconds: float, most_octets: int
    ) -> list[Kept]:
        return self._power.step(
            "keep reports", lambda: self._book.keep(reports, bearer, keep_seconds, most_octets)
        )

    def close(self) -> None:
        """It outlives this life."""


class _LivingPosts:
    """``deliver.event_hook.Posts``; each takes a turn of the reactor."""

    def __init__(self, lasting: Lasting, power: Power, clock: IReactorTime) -> None:
        self._lasting = lasting
        self._power = power
        self._clock = clock

    async def post(self, url: str, headers: Mapping[str, str], content: Content) -> PostAnswer:
        post = Posted(url, headers, b"".join([chunk async for chunk in content.chunks()]))

        async def do() -> PostAnswer:
            self._lasting.posts.append(post)
            return self._lasting.answer_post(post)

        turn: Deferred[None] = Deferred()
        self._clock.callLater(0, turn.callback, None)
        await turn
        return await self._power.write("post", do)


class _LivingLedger(Ledger):
    """A database in memory, as one life of the gateway has it; ``kept`` are those of all lives, by their paths."""

    def __init__(
        self, kept: dict[str, sqlite3.Connection], path: str, schema: Schema, workshop: Workshop, power: Power
    ) -> None:
        super().__init__(None, schema, workshop)
        self._kept = kept
        self._name = path
        self._power = power

    def exists(self) -> bool:
        return self._name in self._kept

    def commit(self, work: Callable[[], list[Any]]) -> list[Any]:
        return self._power.step(f"commit {os.path.basename(self._name)}", work)

    def _open(self) -> sqlite3.Connection:
        if self._name not in self._kept:
            self._kept[self._name] = opened(None, self._schema)
        return self._kept[self._name]


class _LivingInbox(CapturedMail):
    """Captured mail as one life writes it, and reads it."""

    def __init__(self, book: CapturedMail, power: Power) -> None:
        super().__init__(None)
        self._file = book._file
        self._power = power

    def keep(self, captures: Sequence[Capture], bounds: Bounds) -> None:
        keep = super().keep
        self._power.step("keep in the inbox", lambda: keep(captures, bounds))

    def close(self) -> None:
        """It outlives this life."""
