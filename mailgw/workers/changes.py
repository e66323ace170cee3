"""The parent's part in another configuration: what ``reloading.Reloadable`` and ``changing.Changed`` ask of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThreadPool

from mailgw.all_doors import AllDoors
from mailgw.backend_lanes import backend_lanes
from mailgw.config.settings import Config
from mailgw.ground import Threads
from mailgw.lookouts import beside, names_of
from mailgw.mail.ports import WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.office import Office
from mailgw.queue.route import RouteTable
from mailgw.receive.admission import OwnCounters
from mailgw.reloading import Reloader
from mailgw.service import closed
from mailgw.store.observers import Observed
from mailgw.web.lookout import Lookout
from mailgw.workers.calls import Wire
from mailgw.workers.changing import changed
from mailgw.workers.handed import without_document
from mailgw.workers.roster import Worker
from mailgw.workers.sending import ParentSending
from mailgw.workers.watch import SILENT_LOOKS
from mailgw.world import World

T = TypeVar("T")


class Changes:
    """Of ``Parent``."""

    config: Config
    wall_clock: WallClock
    journal: Observed
    lookout: Lookout
    sending: ParentSending
    reloader: Reloader
    is_changing: bool
    ask_all: Callable[[Mapping[str, Any]], Awaitable[Sequence[Any]]]
    _reactor: Any
    _world: World
    _threads: Threads
    _tasks: TaskGroup
    _office: Office
    _counted: OwnCounters
    _ports: list[IListeningPort]
    _workers: list[Worker]
    _doors: AllDoors

    def reload(self) -> None:
        """Read the configuration's file again, as ``mailgw reload`` does; what comes of it stands in the log."""
        self._tasks.spawn("reload", self.reloader.reload())

    def in_thread(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        return deferToThreadPool(self._reactor, self._threads(1, "mailgw state"), work, *arguments)

    def refresh(self) -> None:
        self.journal.reopen()
        self._office.reload()
        for _, wire in self.wires():
            if wire is not None:
                wire.tell("reload")

    async def change(self, config: Config) -> None:
        await changed(self, without_document(config), self.config.state, self._reactor)

    def reloaded(self) -> None:
        self.sending.turn_on()

    async def beside(self) -> Mapping[str, Any]:
        """What this process knows for all (``lookouts.beside``)."""
        return await beside(self.sending, self.reloader)

    @property
    def is_well(self) -> bool:
        """No worker is hung but those that are being ended."""
        return all(worker.watch.silent <= SILENT_LOOKS + 1 for worker in self._workers if worker.process is not None)

    def wires(self) -> Sequence[tuple[int, Wire | None]]:
        """To each worker, None where it is not open."""
        return [(worker.number, worker.wire if worker.is_ready else None) for worker in self._workers]

    def doors_of(self, config: Config) -> AllDoors:
        return AllDoors(self.ask_all, backend_lanes(config), RouteTable(config.routes).backends_of)

    def take(self, config: Config) -> None:
        had, self.config = self.config, config
        bound = {listener.endpoint: port for listener, port in zip(had.listeners, self._ports, strict=True)}
        self._ports = [bound.pop(listener.endpoint) for listener in config.listeners]
        for port in bound.values():
            self._tasks.spawn("closing a port", closed(port))
        self._counted.renew(config.limits.counters, config.limits.lockout)
        self._doors = self.doors_of(config)
        self._office.renew(config)
        self.sending.renew()
        self.lookout.hearing.knows(*names_of(config))
        if config.journal != had.journal:
            self._tasks.spawn("closing a journal", self.journal.replace(self._world.journal(config.journal)))
