"""Bodies of requests while they come: small ones in memory, uploads in files.

Rules:
    A file is for its owner alone (0600), and gone when the request is done with, unless it was renamed.
    The reactor does not write: threads do, in order, and a client that is faster than the disk is paused.
"""

import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.web.operations import Uploaded

# What waits to be written of one body.
AHEAD_OCTETS: Final = 1 << 20


class Body(Protocol):
    size_octets: int

    def write(self, data: bytes) -> None: ...

    async def ended(self) -> None:
        """All of it is there.  TemporaryFault where it could not be kept."""

    def octets(self) -> bytes: ...

    def discard(self) -> None:
        """Nobody wants it (any more)."""


class InMemory:
    def __init__(self) -> None:
        self.size_octets = 0
        self._chunks: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.size_octets += len(data)
        self._chunks.append(data)

    async def ended(self) -> None:
        pass

    def octets(self) -> bytes:
        return b"".join(self._chunks)

    def discard(self) -> None:
        self._chunks = []


class UploadFolder:
    """Where uploads are, emptied at a start.  ``threads`` write."""

    def __init__(self, path: str, disk: Disk, reactor: Any, threads: Any) -> None:
        self.path = path
        self.disk = disk
        self._reactor = reactor
        self._threads = threads
        self._number = 0

    def open(self) -> None:
        """TemporaryFault where it cannot be made, or emptied."""
        try:
            self.disk.make_folder(self.path)
            for name in self.disk.names(self.path):
                self.disk.remove(os.path.join(self.path, name))
        except OSError as fault:
            raise TemporaryFault(f"{self.path}: {fault.strerror}") from fault

    def new_path(self) -> str:
        self._number += 1
        return os.path.join(self.path, f"{os.getpid()}-{self._number}")

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._threads, work, *arguments)


class InFile:
    """``channel`` is paused while the disk is behind."""

    def __init__(self, folder: UploadFolder, media_type: str, channel: Any) -> None:
        self.size_octets = 0
        self._folder = folder
        self._media_type = media_type
        self._channel = channel
        self._path = folder.new_path()
        self._descriptor: int | None = None
        self._waiting: list[bytes] = []
        self._waiting_octets = 0
        self._is_writing = self._is_paused = self._is_discarded = False
        self._why = ""
        self._idle: Deferred[None] | None = None

    def write(self, data: bytes) -> None:
        if self._is_discarded or self._why:
            return
        self.size_octets += len(data)
        self._waiting.append(data)
        self._waiting_octets += len(data)
        if self._waiting_octets > AHEAD_OCTETS and not self._is_paused:
            self._is_paused = True
            self._channel.transport.pauseProducing()
        self._write_on()

    async def ended(self) -> None:
        while self._is_writing:
            self._idle = Deferred()
            await self._idle
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            await self._folder.in_thread(self._folder.disk.close, descriptor)
        if self._why:
            raise TemporaryFault(self._why)

    def octets(self) -> bytes:
        raise NotImplementedError("it is in its file")

    def uploaded(self) -> Uploaded:
        return Uploaded(self._path, self.size_octets, self._media_type)

    def discard(self) -> None:
        if not self._is_discarded:
            self._is_discarded = True
            self._waiting, self._waiting_octets = [], 0
            if not self._is_writing:
                self._remove()

    def _write_on(self) -> None:
        if self._is_writing or not self._waiting:
            return
        chunks, self._waiting = self._waiting, []
        self._waiting_octets = 0
        self._is_writing = True
        done = self._folder.in_thread(self._write_in_thread, chunks)
        done.addBoth(self._written)  # type: ignore[unused-awaitable] # it is told below

    def _write_in_thread(self, chunks: list[bytes]) -> str:
        try:
            if self._descriptor is None:
                self._descriptor = self._folder.disk.create(self._path)
            self._folder.disk.write(self._descriptor, chunks)
        except OSError as fault:
            return f"the body cannot be kept: {fault.strerror}"
        return ""

    def _written(self, why: object) -> None:
        self._is_writing = False
        self._why = why if isinstance(why, str) else f"the body cannot be kept: {why}"
        if self._is_paused and not self._channel.is_closed:
            self._is_paused = False
            self._channel.transport.resumeProducing()
        if self._is_discarded:
            self._remove()
        elif not self._why:
            self._write_on()
        if not self._is_writing and self._idle is not None:
            idle, self._idle = self._idle, None
            idle.callback(None)

    def _remove(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        disk, path = self._folder.disk, self._path

        def remove() -> None:
            try:
                if descriptor is not None:
                    disk.close(descriptor)
                disk.remove(path)
            except OSError:
                pass  # the next start empties the folder

        self._folder.in_thread(remove).addErrback(lambda _: None)  # type: ignore[unused-awaitable] # as above
