"""Bodies of requests while they come: small ones in memory, uploads in files.

Rules:
    A file is for its owner alone (0600), and gone when the request is done with, unless it was renamed.
    The reactor does not write: threads do, in order, and a client that is faster than the disk is paused.
    The disk's reserve is mail's: an upload begins only where all that are under way may bring what they said, or what
    is the most, and the reserve is left then; and one that comes ends where it is not left any more.
"""

import os
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.web.operations import Problem, Uploaded
from mailgw.web.problems import PHRASES, RETRY_SECONDS

# What waits to be written of one body.
AHEAD_OCTETS: Final = 1 << 20
# Until the request of each is answered.
UPLOADS_OF_A_TOKEN: Final = 20
UPLOADS_OCTETS: Final = 2 << 30
_LATER: Final = {"Retry-After": str(RETRY_SECONDS)}


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


class Uploading(Protocol):
    """The connection that an upload comes by."""

    is_closed: bool

    def hold_body(self) -> None:
        """Read no more of it for now."""

    def go_on_with_body(self) -> None: ...

    def fail_body(self, problem: Problem) -> None:
        """What comes of it yet is of no use."""


class UploadFolder:
    """Where uploads are, emptied at a start.  ``threads`` write; ``reserve_octets`` of the disk are left free."""

    def __init__(
        self, path: str, disk: Disk, reserve_octets: Callable[[], int], reactor: Any, threads: Any
    ) -> None:
        self.path = path
        self.disk = disk
        self.under_way: set[InFile] = set()
        self._reserve_octets = reserve_octets
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

    def begin(self, who: str, most_octets: int, media_type: str, channel: Uploading) -> "InFile":
        """An upload of that token's, of so many octets, or of at most so many where that was not said.  Problem 429, or
        503, where it would be one too many."""
        if sum(one.who == who for one in self.under_way) >= UPLOADS_OF_A_TOKEN:
            why = f"{UPLOADS_OF_A_TOKEN} uploads of this token are under way"
            raise Problem(429, PHRASES[429], why, headers=_LATER)
        # One that is larger than that by itself comes when it is alone.
        if self.under_way and sum(one.most_octets for one in self.under_way) + most_octets > UPLOADS_OCTETS:
            why = f"{UPLOADS_OCTETS} octets of uploads are under way"
            raise Problem(503, PHRASES[503], why, headers=_LATER)
        if not self.has_room(most_octets + sum(one.still_octets for one in self.under_way)):
            raise Problem(503, PHRASES[503], "the disk has no room for it now", headers=_LATER)
        upload = InFile(self, who, most_octets, media_type, channel)
        self.under_way.add(upload)
        return upload

    def has_room(self, octets: int = 0) -> bool:
        """Whether the reserve is left where so many come yet."""
        try:
            return self.disk.free_octets(self.path) - octets >= self._reserve_octets()
        except OSError:
            return False  # as the spool has it

    def new_path(self) -> str:
        self._number += 1
        return os.path.join(self.path, f"{os.getpid()}-{self._number}")

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._threads, work, *arguments)


class InFile:
    """``channel`` is held while the disk is behind.  ``most_octets`` is what its client said, or what it may be."""

    def __init__(
        self, folder: UploadFolder, who: str, most_octets: int, media_type: str, channel: Uploading
    ) -> None:
        self.who = who
        self.most_octets = most_octets
        self.size_octets = 0
        self._written_octets = 0
        self._folder = folder
        self._media_type = media_type
        self._channel = channel
        self._path = folder.new_path()
        self._descriptor: int | None = None
        self._waiting: list[bytes] = []
        self._waiting_octets = 0
        self._is_writing = self._is_held = self._is_discarded = False
        self._why = ""
        self._idle: Deferred[None] | None = None

    @property
    def still_octets(self) -> int:
        """What it may take of the disk yet."""
        return max(0, self.most_octets - self._written_octets)

    def write(self, data: bytes) -> None:
        if self._is_discarded or self._why:
            return
        self.size_octets += len(data)
        self._waiting.append(data)
        self._waiting_octets += len(data)
        if self._waiting_octets > AHEAD_OCTETS and not self._is_held:
            self._is_held = True
            self._channel.hold_body()
        self._write_on()

    async def ended(self) -> None:
        self.most_octets = self.size_octets
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
            self._folder.under_way.discard(self)
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

    def _write_in_thread(self, chunks: list[bytes]) -> int | str:
        """How many octets were written; a text where they could not be."""
        if not self._folder.has_room():
            return "the disk is full"
        try:
            if self._descriptor is None:
                self._descriptor = self._folder.disk.create(self._path)
            self._folder.disk.write(self._descriptor, chunks)
        except OSError as fault:
            return f"the body cannot be kept: {fault.strerror}"
        return sum(map(len, chunks))

    def _written(self, done: object) -> None:
        self._is_writing = False
        if isinstance(done, int):
            self._written_octets += done
        else:
            self._why = done if isinstance(done, str) else f"the body cannot be kept: {done}"
        if self._is_held and not self._channel.is_closed:
            self._is_held = False
            self._channel.go_on_with_body()
        if self._is_discarded:
            self._remove()
        elif not self._why:
            self._write_on()
        else:
            self._channel.fail_body(Problem(503, PHRASES[503], self._why, headers=_LATER))
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
