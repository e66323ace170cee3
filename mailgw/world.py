"""What a gateway has of the world: clocks, threads, the disk, DNS, where it listens and what remembers its mail.

All that ``service`` composes is made of these.  ``mailgw.testing`` has another world, in memory, so that a test runs
the same composition as a production server.
"""

import os
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.python.threadpool import ThreadPool

from mailgw.config.settings import DnsSettings
from mailgw.deliver.event_hook_settings import EventHookSettings
from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver, Spool, WallClock
from mailgw.net.background import BackgroundThread
from mailgw.net.listen import bind
from mailgw.net.resolver import StubResolver
from mailgw.net.steady import make_steady
from mailgw.shards import left_over
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool
from mailgw.store.captured import CapturedMail
from mailgw.store.database import Schema
from mailgw.store.journal import Journal, JournalSettings
from mailgw.store.ledger import Ledger
from mailgw.store.observers import OwnJournal
from mailgw.store.reports import ReportBook
from mailgw.store.state_file import Workshop

if TYPE_CHECKING:
    from mailgw.deliver.event_hook import Posts

EVENT_ANSWER_OCTETS = 64 * 1024
"""Read of what a web hook for events answers: its status counts."""


class World:
    """The real one, on a reactor.  ``looks_again``: each second, for what others leave in the maildrop."""

    looks_again = True

    def __init__(self, reactor: Any, wall_clock: WallClock) -> None:
        make_steady(reactor)
        self.reactor = reactor
        self.wall_clock = wall_clock
        self.chance: Callable[[], float] = random.random
        self.shuffle: Callable[[list[str]], None] = random.shuffle
        self.disk = Disk()

    def listen(
        self, endpoint: str, factory: IProtocolFactory, owner: tuple[int, int] | None
    ) -> IListeningPort:
        """As ``net.listen.bind``."""
        return bind(self.reactor, endpoint, factory, owner)

    def listen_for_control(self, path: str, factory: IProtocolFactory) -> IListeningPort:
        if os.path.exists(path):
            os.unlink(path)  # the spool's lock says that nobody else is alive to listen there
        port: IListeningPort = self.reactor.listenUNIX(path, factory, mode=0o600)
        return port

    def threads(self, most: int, name: str, in_background: bool) -> tuple[Any, Callable[[], Awaitable[None]]]:
        """At most so many threads, and what stops them."""
        pool = ThreadPool(0, most, name)
        if in_background:
            pool.threadFactory = BackgroundThread
        pool.start()

        async def stop() -> None:
            pool.stop()

        return pool, stop

    def spool(self, settings: SpoolSettings) -> Spool:
        """As ``SqliteSpool.open``."""
        return SqliteSpool.open(settings, self.reactor, self.wall_clock)

    def left_over(self, settings: SpoolSettings) -> Sequence[int]:
        """The shards of more workers than one, in which something may be queued."""
        return left_over(settings, 1)

    def resolver(self, settings: DnsSettings) -> Resolver:
        return StubResolver(settings.servers, settings.validating, self.reactor)

    def reports(self, path: str) -> ReportBook:
        """Where reports are kept that come in."""
        return ReportBook(path)

    def ledger(self, path: str, schema: Schema, workshop: Workshop) -> Ledger:
        """A database of the state folder; its folder has one owner."""
        return Ledger(path, schema, workshop)

    def captured(self, path: str) -> CapturedMail:
        """Where captured mail is kept."""
        return CapturedMail(path)

    def event_poster(self, settings: EventHookSettings) -> "tuple[Posts, Callable[[], object]]":
        """Who posts to a web hook, and what closes its connections.  TemporaryFault where its CA file cannot be used.
        """
        # Twisted's HTTP takes its time to be imported, and most have no web hook.
        from mailgw.net.https import kept_connections
        from mailgw.net.posting import Poster, PostLimits

        try:
            agent, pool = kept_connections(self.reactor, settings.ca_file, settings.connect_seconds)
        except ValueError as fault:
            raise TemporaryFault(str(fault)) from fault
        pool.maxPersistentPerHost = settings.concurrency
        limits = PostLimits(
            settings.connect_seconds, settings.answer_seconds, settings.answer_seconds, EVENT_ANSWER_OCTETS
        )
        return Poster(agent, self.reactor, limits), pool.closeCachedConnections

    def journal(self, settings: JournalSettings) -> OwnJournal:
        return Journal(settings, self.reactor, self.wall_clock, self.disk)
