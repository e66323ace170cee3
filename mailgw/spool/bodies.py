"""Large messages: each a file, written as it arrives, synced and renamed into place before its row is committed.

    drafts/<queue id>            while it arrives; cleared at start
    bodies/<xx>/<queue id>       from just before its row is committed until just after the row is gone

A crash between the two leaves a file without a row: ``sweep`` removes it at the next start.  No row is ever
without its file, but where the disk forgets what it synced.
A spool that several nodes share would put another class in the place of ``BodyFiles``.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.spool.content import CHUNK_OCTETS
from mailgw.spool.faults import fault_of, no_room
from mailgw.spool.ids import TIME_DIGITS, start_of
from mailgw.spool.threads import Threads

# Free space is asked for again after this much of one body.
_STEP_OCTETS = 1024 * 1024


@attrs.frozen(eq=False)
class FileContent:
    """A ``mail.message.Content`` in a file, below its ``crown``; it goes with the last recipient of its message."""

    path: str
    size_octets: int
    disk: Disk
    threads: Threads
    crown: bytes = b""
    octets: None = attrs.field(default=None, init=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.crown), CHUNK_OCTETS):
            yield self.crown[start:start + CHUNK_OCTETS]
        # The file is opened anew for each piece: whoever stops reading half-way leaves nothing open.
        offset, size_octets = 0, self.size_octets - len(self.crown)
        while offset < size_octets:
            limit = min(CHUNK_OCTETS, size_octets - offset)
            try:
                chunk = await self.threads.run(self.disk.read, self.path, offset, limit)
            except OSError as error:
                raise fault_of(error) from error
            if len(chunk) != limit:
                # Never hand a torn message on.
                raise TemporaryFault(f"{self.path} ends after {offset + len(chunk)} of {size_octets} octets")
            yield chunk
            offset += limit


def prepare_folders(folder: str, disk: Disk) -> None:
    """Make the folders and clear the drafts of an earlier start; blocks, may raise OSError."""
    drafts, bodies = _folders(folder)
    disk.make_folder(drafts)
    disk.make_folder(bodies)
    for name in disk.names(drafts):
        disk.remove(os.path.join(drafts, name))


class BodyFiles:
    """The two folders, prepared.  ``threads`` does the file work; ``has_room`` is asked in them."""

    _log = Logger()

    def __init__(self, folder: str, disk: Disk, threads: Threads, has_room: Callable[[], bool]) -> None:
        self._drafts, self._bodies = _folders(folder)
        self.disk = disk
        self.threads = threads
        self.has_room = has_room

    def begin(self, queue_id: str, edition: int = 0) -> "BodyDraft":
        """``edition`` tells apart the drafts of one message that is written anew."""
        name = f"{queue_id}.{edition}" if edition else queue_id
        return BodyDraft(self, os.path.join(self._drafts, name), self.place_of(queue_id))

    def place_of(self, queue_id: str) -> str:
        """The file's path below ``bodies/``, as its row keeps it: 256 folders, by the id's last time digits."""
        return f"{queue_id[TIME_DIGITS - 2:TIME_DIGITS]}/{queue_id}"

    def path_of(self, place: str) -> str:
        return os.path.join(self._bodies, place)

    def content(self, place: str, size_octets: int, crown: bytes = b"") -> FileContent:
        """``size_octets`` of both."""
        return FileContent(self.path_of(place), size_octets, self.disk, self.threads, crown)

    def remove(self, places: Sequence[str]) -> None:
        """Remove files whose rows are gone, sometime; what fails is left to ``sweep``."""
        def remove() -> None:
            for place in places:
                self.disk.remove(self.path_of(place))

        self.threads.start(lambda _: None, self.complain, remove)

    def sweep(self, current_start: str, is_queued: Callable[[str], bool]) -> int:
        """Remove the files of earlier starts that have no row; how many.  Blocks."""
        count = 0
        for folder in self.disk.names(self._bodies):
            for queue_id in self.disk.names(os.path.join(self._bodies, folder)):
                if start_of(queue_id) != current_start and not is_queued(queue_id):
                    self.disk.remove(os.path.join(self._bodies, folder, queue_id))
                    count += 1
        return count

    def complain(self, error: BaseException) -> None:
        self._log.warn("spool: a body file could not be removed: {why}", why=str(error))


class BodyDraft:
    """One file on its way.  At most one of its steps is in a thread at a time, so the order holds."""

    def __init__(self, files: BodyFiles, path: str, place: str) -> None:
        self.place = place
        self.backlog_octets = 0
        self._files = files
        self._path: str | None = path  # what there is to remove; None: nothing of ours any more
        self._descriptor: int | None = None
        self._pending: list[bytes] = []
        self._since_look = _STEP_OCTETS  # look before the first octet
        self._is_busy = False
        self._is_discarded = False
        self._fault: TemporaryFault | None = None
        self._waiters: list[Deferred[None]] = []
        self._waiting_for_end: list[Deferred[None]] = []

    def write(self, chunk: bytes) -> None:
        """Append; never blocks, never raises."""
        if self._fault is None and not self._is_discarded:
            self._pending.append(chunk)
            self.backlog_octets += len(chunk)
            self._go_on()

    async def drained(self) -> None:
        """Return when all is with the disk; TemporaryFault where it refused."""
        while self._is_busy and not self._is_discarded:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await waiter
        if self._fault is not None:
            raise self._fault

    async def content(self, size_octets: int, crown: bytes) -> FileContent:
        """What was written, below its crown, ``size_octets`` of both, to be read before it is kept; TemporaryFault
        where the disk refused it."""
        await self.drained()
        if self._path is None or self._is_discarded:
            raise TemporaryFault("the draft was discarded")
        return FileContent(self._path, size_octets, self._files.disk, self._files.threads, crown)

    async def keep(self) -> str:
        """Sync the file and rename it into place, synced too; its ``place``.

        TemporaryFault where the disk refused: ``discard`` then.
        """
        await self.drained()
        if not self._is_discarded:
            self._is_busy = True
            self._files.threads.start(self._kept, self._failed, self._keep)
            await self.drained()
        if self._is_discarded:
            raise TemporaryFault("the draft was discarded")
        return self.place

    def committed(self) -> None:
        """The row is durable: the file is the queue's from here on."""
        self._path = None

    def discard(self) -> None:
        """Forget the file, as soon as no step of it is under way."""
        self._is_discarded = True
        self._pending.clear()
        self.backlog_octets = 0
        self._clean_up()

    async def gone(self) -> None:
        """After ``discard``: return when nothing of it is left, or nothing can be done about what is.  Before that no
        draft of the same id may begin: it would find this one's file, or lose its own with it."""
        if self._path is not None or self._descriptor is not None:
            waiter: Deferred[None] = Deferred()
            self._waiting_for_end.append(waiter)
            await waiter

    def _go_on(self) -> None:
        if self._is_busy:
            return
        if self._pending and not self._is_discarded:
            chunks, self._pending = self._pending, []
            self._is_busy = True
            self._files.threads.start(self._appended, self._failed, self._append, chunks)
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)
        self._clean_up()

    def _appended(self, octets: int) -> None:
        self._is_busy = False
        if not self._is_discarded:
            self.backlog_octets -= octets
        self._go_on()

    def _kept(self, _: None) -> None:
        self._is_busy = False
        self._go_on()

    def _failed(self, error: BaseException) -> None:
        self._is_busy = False
        self._fault = fault_of(error)
        self._pending.clear()
        self.backlog_octets = 0
        self._go_on()

    def _clean_up(self) -> None:
        if self._is_discarded and not self._is_busy and (self._path is not None or self._descriptor is not None):
            self._is_busy = True  # for good
            self._files.threads.start(self._removed, self._not_removed, self._remove)

    def _removed(self, _: None) -> None:
        waiters, self._waiting_for_end = self._waiting_for_end, []
        for waiter in waiters:
            waiter.callback(None)

    def _not_removed(self, error: BaseException) -> None:
        self._files.complain(error)
        self._removed(None)

    # --- in a thread ------------------------------------------------------------------------------

    def _append(self, chunks: list[bytes]) -> int:
        octets = sum(map(len, chunks))
        disk = self._files.disk
        self._since_look += octets
        if self._since_look > _STEP_OCTETS:
            self._since_look = 0
            if not self._files.has_room():
                raise no_room()
        if self._descriptor is None:
            assert self._path is not None
            self._descriptor = disk.create(self._path)
        disk.write(self._descriptor, chunks)
        return octets

    def _keep(self) -> None:
        disk = self._files.disk
        assert self._path is not None
        assert self._descriptor is not None
        disk.sync(self._descriptor)
        descriptor, self._descriptor = self._descriptor, None
        disk.close(descriptor)
        path = self._files.path_of(self.place)
        folder = os.path.dirname(path)
        disk.make_folder(folder)
        disk.rename(self._path, path)
        self._path = path
        disk.sync_folder(folder)

    def _remove(self) -> None:
        disk = self._files.disk
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            disk.close(descriptor)
        if self._path is not None:
            disk.remove(self._path)
            self._path = None


def _folders(folder: str) -> tuple[str, str]:
    return os.path.join(folder, "drafts"), os.path.join(folder, "bodies")
