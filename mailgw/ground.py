"""What a gateway stands on for as long as it runs, whatever its configuration comes to meanwhile.

``service.MailGateway`` makes it once; each ``generation.Generation`` is built on it.

Rules:
    What counts or remembers over connections, and all that a file has to be open for, is here, or in the shards.
    Nothing here is closed before the last generation is.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
from twisted.application.service import IService, MultiService
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool

from mailgw.deliver.inbox import Inbox
from mailgw.dmarc_reporting import DmarcReporting
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.mail.ports import Counters, Resolver, Spool, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.own_mail import OwnMail
from mailgw.peer_tls import PeerTls
from mailgw.receive.factory import Sessions
from mailgw.receive.line import Line
from mailgw.receive.recording import Recordings
from mailgw.store.captured import FILE as INBOX_FILE
from mailgw.store.captured import FOLDER as INBOX_FOLDER
from mailgw.store.captured import Bounds, CapturedMail
from mailgw.store.observers import Observed
from mailgw.store.recordings import RecordingFolder
from mailgw.store.reports import FILE as REPORTS_FILE
from mailgw.store.reports import ReportBook
from mailgw.store.state_file import Workshop
from mailgw.world import World

Closer: TypeAlias = Callable[[], Awaitable[object]]

MAILDIR_THREADS = 4
STATE_THREADS = 1


class Threads:
    """Pools by name, each made when it is first asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pools: dict[str, ThreadPool] = {}
        self._closers: list[Closer] = []

    def __call__(self, most: int, name: str, in_background: bool = False) -> ThreadPool:
        """At most so many threads under this name, whoever asked first."""
        pool = self._pools.get(name)
        if pool is None:
            made, stop = self._world.threads(most, name, in_background)
            self._closers.append(stop)
            pool = self._pools[name] = made
        return pool

    async def close(self) -> None:
        """Once they have done what they were given; the last one made goes first."""
        self._pools.clear()
        while self._closers:
            await self._closers.pop()()


class Adopted:
    """Plug-ins that are services: each runs while somebody uses it, as a child of ``parent``."""

    def __init__(self, parent: MultiService) -> None:
        self._parent = parent
        self._users: dict[int, tuple[Any, set[int]]] = {}  # by the id of the service: those of their users

    def adopt(self, plugin: object, user: object) -> None:
        """Start it where it is a service that nobody uses yet."""
        if not IService.providedBy(plugin):
            return
        service, users = self._users.setdefault(id(plugin), (plugin, set()))
        users.add(id(user))
        if getattr(service, "parent", None) is not self._parent:
            service.setServiceParent(self._parent)

    async def leave(self, user: object) -> None:
        """Stop those that nobody else uses."""
        for key, (service, users) in list(self._users.items()):
            users.discard(id(user))
            if not users:
                del self._users[key]
                if getattr(service, "parent", None) is self._parent:  # another gateway may have taken it over
                    await maybeDeferred(service.disownServiceParent)


class LatestResolver:
    """``mail.ports.Resolver`` of the configuration that is in force, for what outlives one."""

    def __init__(self, inner: Resolver) -> None:
        self.inner = inner

    async def mx(self, domain: str) -> Records[MxRecord]:
        return await self.inner.mx(domain)

    async def addresses(self, host: str) -> Records[str]:
        return await self.inner.addresses(host)

    async def a(self, host: str) -> Records[str]:
        return await self.inner.a(host)

    async def aaaa(self, host: str) -> Records[str]:
        return await self.inner.aaaa(host)

    async def text(self, domain: str) -> Records[bytes]:
        return await self.inner.text(domain)

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        return await self.inner.tlsa(host, port)

    async def alias(self, host: str) -> Records[str]:
        return await self.inner.alias(host)

    async def names(self, address: str) -> Sequence[str]:
        return await self.inner.names(address)

    async def exists(self, domain: str) -> bool:
        return await self.inner.exists(domain)


@attrs.define(eq=False)
class Ground:
    """``spool`` is the process's own shard; ``tasks`` are those of sessions, ``observing`` those of observers.
    ``plugins`` is what the application gave; ``name`` is this process's among several.  ``resolver`` asks as the
    configuration in force has it; ``peer_tls`` and ``dmarc_reporting`` are set before any generation is made."""

    world: World
    state: str
    journal: Observed
    spool: Spool
    tasks: TaskGroup
    observing: TaskGroup
    own_mail: OwnMail
    sessions: Sessions
    line: Line
    counters: Counters
    services: Adopted
    plugins: Mapping[str, object]
    name: str
    resolver: LatestResolver
    peer_tls: PeerTls = attrs.field(init=False)
    dmarc_reporting: DmarcReporting = attrs.field(init=False)
    threads: Threads = attrs.field(init=False)
    workshop: Workshop = attrs.field(init=False)
    recordings: Recordings = attrs.field(init=False)
    _book: ReportBook | None = attrs.field(default=None, init=False)
    _captured: CapturedMail | None = attrs.field(default=None, init=False)
    _inbox: Inbox | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.threads = Threads(self.world)
        state = self.threads(STATE_THREADS, "mailgw state")
        self.workshop = Workshop(self.world.disk, self.reactor, state)
        folder = RecordingFolder(self.state, self.world.disk, self.wall_clock)
        self.recordings = Recordings(folder, self.workshop, self.reactor, self.wall_clock, self.tasks)

    @property
    def reactor(self) -> Any:
        return self.world.reactor

    @property
    def wall_clock(self) -> WallClock:
        return self.world.wall_clock

    def maildir_threads(self) -> ThreadPool:
        return self.threads(MAILDIR_THREADS, "mailgw maildirs")

    def reports(self) -> tuple[ReportBook, ThreadPool]:
        """Where reports are kept that come in, and the thread that reads and keeps them: mail goes first."""
        if self._book is None:
            self._book = self.world.reports(os.path.join(self.state, REPORTS_FILE))
        return self._book, self.threads(1, "mailgw reports", in_background=True)

    def inbox(self, bounds: Bounds) -> Inbox:
        """Where mail is captured; one for all configurations, with ``bounds`` until there are others."""
        if self._inbox is None:
            self._captured = self.world.captured(os.path.join(self.state, INBOX_FOLDER, INBOX_FILE))
            self._inbox = Inbox(self._captured, bounds, self.reactor, self.threads(1, "mailgw inbox"))
        return self._inbox

    def bound_inbox(self, bounds: Bounds) -> None:
        """Those of the configuration in force."""
        if self._inbox is not None:
            self._inbox.bounds = bounds

    async def wait(self, seconds: float) -> None:
        await deferLater(self.reactor, seconds)

    async def close(self) -> None:
        """Once no message is under way."""
        self.recordings.close()
        await self.peer_tls.close()
        await self.dmarc_reporting.close()
        await self.threads.close()
        for book in (self._book, self._captured):
            if book is not None:
                book.close()
        self._book = self._captured = self._inbox = None
