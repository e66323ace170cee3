"""A small file in the state folder that is written as a whole: what is learned, and can be learned again.

Rules:
    A crash leaves the old file or the new one, whole (``disk.write_atomically``); what was learned within its
    ``write_seconds`` may be gone.
    A file that cannot be read is told of in the log, and counts as none: it stops nothing, and the next write
    replaces it.  One that cannot be written stays as it was; it is tried again with the next change.
    The reactor's thread touches no disk.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.store.soon import Soon

T = TypeVar("T")
_log = Logger()


class Workshop:
    """Where blocking work with the state folder is done: one disk, one reactor, and its pool of threads."""

    def __init__(self, disk: Disk, reactor: Any, pool: Any) -> None:
        self.disk = disk
        self.reactor = reactor  # IReactorTime and IReactorFromThreads at once; no such type exists
        self._pool = pool

    def do(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        """The result of ``work``, which runs in a thread."""
        return deferToThreadPool(self.reactor, self._pool, work, *arguments)


class StateFile:
    """One file.  ``encoded`` gives its content whenever it is to be written, in the reactor's thread.

    ``limit_octets``: a larger file is not read.  A change is written within ``write_seconds``.  Its folder is made
    where it is missing.
    """

    def __init__(
        self, path: str, workshop: Workshop, limit_octets: int, write_seconds: float, encoded: Callable[[], bytes]
    ) -> None:
        self._path = path
        self._workshop = workshop
        self._limit_octets = limit_octets
        self._encoded = encoded
        self._soon = Soon(workshop.reactor, write_seconds, self._written, path)
        self._complaint = ""

    async def read(self, decode: Callable[[bytes], T]) -> T | None:
        """What ``decode`` makes of the content, in a thread; None where there is none that can be used.

        Whatever ``decode`` raises says that it is broken.
        """
        try:
            return await self._workshop.do(self._read, decode)
        except FileNotFoundError:
            return None
        except Exception as fault:  # noqa: BLE001 - a broken file may break anything
            _log.warn("{path} cannot be used, and is made anew: {why}", path=self._path, why=str(fault) or repr(fault))
            return None

    def _read(self, decode: Callable[[bytes], T]) -> T:
        octets = self._workshop.disk.read(self._path, 0, self._limit_octets + 1)
        if len(octets) > self._limit_octets:
            raise ValueError(f"more than {self._limit_octets} octets")
        return decode(octets)

    def changed(self) -> None:
        """Its content is another now: write it, soon, or at ``close``."""
        self._soon.changed()

    async def close(self) -> None:
        """Write what is not yet written, and no more."""
        await self._soon.close()

    async def _written(self) -> None:
        octets = self._encoded()
        try:
            await self._workshop.do(self._write, octets)
            self._complaint = ""
        except OSError as fault:
            why = fault.strerror or str(fault)
            if why != self._complaint:  # once, not each time
                self._complaint = why
                _log.warn("{path} cannot be written: {why}", path=self._path, why=why)

    def _write(self, octets: bytes) -> None:
        disk = self._workshop.disk
        disk.make_folder(os.path.dirname(self._path))
        disk.write_atomically(self._path, octets)
