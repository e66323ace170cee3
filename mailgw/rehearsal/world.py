"""A world in which a gateway can be whole, and can do nothing: no port, no disk to write, drafts that go nowhere."""

import errno
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from zope.interface import implementer

from mailgw.disk import Disk
from mailgw.mail.event import Event
from mailgw.mail.message import Arrival, Claim, Destination
from mailgw.mail.ports import Spool, WallClock
from mailgw.spool.memory import MemoryDraft, MemorySpool
from mailgw.spool.settings import SpoolSettings
from mailgw.store.journal import JournalSettings
from mailgw.store.observers import OwnJournal
from mailgw.world import World


@attrs.frozen
class Withheld:
    """What would have been queued."""

    queue_id: str
    arrival: Arrival
    destinations: tuple[Destination, ...]
    octets: bytes = attrs.field(repr=False)


class RehearsalWorld(World):
    """``hear`` gets each fact that a journal would have, ``keep`` what a spool would have."""

    def __init__(
        self,
        reactor: Any,
        wall_clock: WallClock,
        hear: Callable[[Event], None],
        keep: Callable[[Withheld], None],
    ) -> None:
        super().__init__(reactor, wall_clock)
        self.disk = ReadOnlyDisk()
        self._hear = hear
        self._keep = keep

    def listen(self, endpoint: str, factory: IProtocolFactory, owner: tuple[int, int] | None) -> IListeningPort:
        return _NoPort()

    def listen_for_control(self, path: str, factory: IProtocolFactory) -> IListeningPort:
        return _NoPort()

    def spool(self, settings: SpoolSettings) -> Spool:
        return _Nowhere(self.wall_clock, self._keep)

    def left_over(self, settings: SpoolSettings) -> Sequence[int]:
        return ()

    def journal(self, settings: JournalSettings) -> OwnJournal:
        return _Ear(self._hear)


class ReadOnlyDisk(Disk):
    """Each step that would change anything is an OSError."""

    def create(self, path: str) -> int:
        raise _refused(path)

    def append(self, path: str) -> int:
        raise _refused(path)

    def rename(self, old: str, new: str) -> None:
        raise _refused(old)

    def remove(self, path: str) -> None:
        raise _refused(path)

    def new_folder(self, path: str) -> None:
        raise _refused(path)


def _refused(path: str) -> OSError:
    return OSError(errno.EROFS, "a rehearsal writes nothing", path)


@implementer(IListeningPort)
class _NoPort:
    def startListening(self) -> None:
        """Nobody can connect."""

    def stopListening(self) -> None:
        """Nobody could."""

    def getHost(self) -> IAddress:
        raise NotImplementedError("a rehearsal listens nowhere")


class _Nowhere(MemorySpool):
    """An empty queue, which stays so."""

    def __init__(self, wall_clock: WallClock, keep: Callable[[Withheld], None]) -> None:
        super().__init__(wall_clock)
        self.keep = keep

    def draft(self) -> "_Draft":
        return _Draft(self, super().draft().queue_id)


class _Draft(MemoryDraft):
    def __init__(self, spool: _Nowhere, queue_id: str) -> None:
        super().__init__(spool, queue_id)
        self._nowhere = spool

    def anew(self) -> "_Draft":
        return _Draft(self._nowhere, self.queue_id)

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        content = await self.content()
        octets = content.octets
        assert octets is not None
        self._nowhere.keep(Withheld(self.queue_id, arrival, tuple(destinations), octets))
        return ()


class _Ear:
    """A journal of which nothing is written."""

    def __init__(self, hear: Callable[[Event], None]) -> None:
        self.note = hear

    def reopen(self) -> None:
        """There is no file."""

    async def close(self) -> None:
        """There is nothing to be kept."""

