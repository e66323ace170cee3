"""The queue on SQLite: crash-safe, committed in groups, open to the operator's own ``sqlite3``.

Rules:
    One process has the folder, fenced by a lock file; in it one connection writes, in one thread.  (SQLite
    before 3.51.3 can corrupt a WAL that two connections write or checkpoint at the same moment.)
    ``commit`` returns when the body is synced, then the row; nothing is acknowledged before.
    A recipient leaves with its record; the message leaves in the transaction in which its last recipient
    does, its body file after that.
All methods are for the reactor's thread.  None blocks it, but ``open``, at start, and one statvfs a second.
"""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import TypeVar
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.message import (
    EVERYTHING,
    Agenda,
    Arrival,
    Claim,
    Content,
    Destination,
    Finished,
    Gone,
    LaneRow,
    Notice,
    Page,
    Position,
    Query,
    QueueRow,
    Settlement,
    Stretch,
)
from mailgw.mail.ports import WallClock
from mailgw.queue.suspension import MAX_SUSPENSIONS, Suspensions
from mailgw.spool import orders, records
from mailgw.spool import search as sql
from mailgw.spool.batch import Call, Finishing, Insertion
from mailgw.spool.bodies import BodyDraft, BodyFiles, prepare_folders
from mailgw.spool.content import MemoryContent
from mailgw.spool.faults import NO_ROOM, fault_of, no_room
from mailgw.spool.folder import database_path, lock_folder
from mailgw.spool.ids import QueueIds, start_of
from mailgw.spool.leases import fresh_claims
from mailgw.spool.offline import open_offline
from mailgw.spool.rows import is_due, leased_insertion, waiting_insertion
from mailgw.spool.schema import connect_writer, get_meta, migrate, set_meta
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.suspended import keep_suspended, read_suspended
from mailgw.spool.threads import Reactor, Threads
from mailgw.spool.writer import Writer

__all__ = ["SpoolSettings", "SqliteSpool", "open_offline"]

T = TypeVar("T")

# A few large messages at a time are enough to keep a disk busy.
_FILE_THREADS = 4
_SECONDS_BETWEEN_READINGS = 1.0
# Free pages are given back to the disk in small steps: at most 8 MiB each time, and 64 MiB where it is full.
_SECONDS_BETWEEN_TENDINGS = 10.0
_FREE_PAGES_KEPT = 4096
_PAGES_A_TENDING = 2048
_PAGES_A_TENDING_WHEN_FULL = 16384


class SqliteSpool:
    """A ``mail.ports.Spool``; made by ``open``."""

    _log = Logger()

    def __init__(
        self, settings: SpoolSettings, reactor: Reactor, wall_clock: WallClock, disk: Disk,
        connection: sqlite3.Connection, lock: int, start: int,
    ) -> None:
        self.settings = settings
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._disk = disk
        self._lock = lock
        self._ids = QueueIds(wall_clock, start, settings.node)
        self._tokens = count(1)
        # Which notices a claim has committed, for as long as anybody has that claim.
        self._noticed: WeakKeyDictionary[Claim, set[str]] = WeakKeyDictionary()
        self.order_batch = orders.BATCH
        self._suspended = read_suspended(connection)
        self._suspensions = Suspensions.of(self._suspended)
        self._has_room = True
        self._read_at: float | None = None
        self._closed = False
        path = database_path(settings.folder)
        self._file_threads = Threads(reactor, _FILE_THREADS, "mailgw spool files")
        # Two, so that the dispatcher's look at the lanes does not wait for an operator's long search.
        self._search_threads = Threads(reactor, 1, "mailgw spool search")
        self._lane_threads = Threads(reactor, 1, "mailgw spool lanes")
        self._search_reader = sql.Reader(path)
        self._lane_reader = sql.Reader(path)
        self.bodies = BodyFiles(settings.folder, disk, self._file_threads, self._look_for_room)
        self._writer = Writer(connection, reactor, self.bodies.remove, self._end)
        self._tending: IDelayedCall | None = None

    @classmethod
    def open(
        cls, settings: SpoolSettings, reactor: Reactor, wall_clock: WallClock, disk: Disk | None = None
    ) -> "SqliteSpool":
        """The spool in ``settings.folder``, which is made where it is missing.  Blocks; for the start.

        The leases of an earlier process end.  TemporaryFault where another process has the folder, or the
        disk or the database is unwell; ConfigError where the schema is newer than we are.
        """
        disk = disk or Disk()
        path = database_path(settings.folder)
        lock: int | None = None
        connection: sqlite3.Connection | None = None
        try:
            lock = lock_folder(settings.folder, disk)
            connection = connect_writer(path)
            migrate(connection, path)
            start = _begin_start(connection, settings.node, wall_clock())
            prepare_folders(settings.folder, disk)
            disk.sync_folder(settings.folder)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if lock is not None:
                os.close(lock)
            if isinstance(error, (OSError, sqlite3.Error)):
                raise TemporaryFault(f"{settings.folder}: the queue cannot be opened: {error}") from error
            raise
        spool = cls(settings, reactor, wall_clock, disk, connection, lock, start)
        spool._tending = reactor.callLater(_SECONDS_BETWEEN_TENDINGS, spool._tend)
        spool._sweep()
        return spool

    # --- mail comes in ----------------------------------------------------------------------------

    def draft(self) -> "SqliteDraft":
        if self._closed:
            raise TemporaryFault("the spool is closed")
        if not self.room():
            raise no_room()
        return SqliteDraft(self, self._ids.next_id())

    def renew(self, reserve_octets: int, lease_seconds: float, late_seconds: float) -> None:
        self.settings = attrs.evolve(
            self.settings, reserve_octets=reserve_octets, lease_seconds=lease_seconds, late_seconds=late_seconds
        )

    def room(self) -> bool:
        now = self._reactor.seconds()
        if self._read_at is None or now - self._read_at >= _SECONDS_BETWEEN_READINGS:
            self._read_at = now
            had_room, self._has_room = self._has_room, self._look_for_room()
            if had_room and not self._has_room:
                self._log.error(
                    "spool: under {octets} octets free in {folder}: no new mail and no attempts until there is room",
                    octets=self.settings.reserve_octets, folder=self.settings.folder)
            elif self._has_room and not had_room:
                self._log.info("spool: there is room again in {folder}", folder=self.settings.folder)
        return self._has_room

    async def insert(
        self, queue_id: str, arrival: Arrival, destinations: Sequence[Destination], claim: bool,
        content: Content, octets: bytes | None, place: str | None,
    ) -> tuple[Claim, ...]:
        """What a draft's commit comes to: the content is ``octets``, or these on top of the file at ``place``."""
        claims, insertion = self._insertion(queue_id, arrival, destinations, claim, content, octets, place)
        await self._writer.submit(insertion)
        return claims

    # --- attempts ---------------------------------------------------------------------------------

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        if self._suspensions.holds(lane):
            return ()
        now = self._wall_clock()
        lease_end = now + self.settings.lease_seconds
        claims: tuple[Claim, ...] = await self._writer.submit(Call(lambda connection, _: records.claim_due(
            connection, lane, limit, after, now, lease_end, self._tokens.__next__, self._content_of)))
        return claims

    async def claim_late(self, limit: int) -> tuple[Claim, ...]:
        now = self._wall_clock()
        lease_end = now + self.settings.lease_seconds
        claims: tuple[Claim, ...] = await self._writer.submit(Call(lambda connection, _: records.claim_late(
            connection, limit, now, lease_end, self._tokens.__next__, self._content_of)))
        return claims

    async def release(self, claim: Claim) -> None:
        now = self._wall_clock()
        await self._writer.submit_patiently(Call(lambda connection, _: records.release(connection, claim, now)))

    async def come_closer(self, longest_wait_seconds: float) -> int:
        now = self._wall_clock()
        lease_end = now + self.settings.lease_seconds
        rows: int = await self._writer.submit(Call(lambda connection, _: records.come_closer(
            connection, now + longest_wait_seconds, lease_end)))
        return rows

    async def agenda(self, since: float) -> Agenda:
        now = self._wall_clock()
        agenda = await self._ask(
            self._lane_threads, self._lane_reader, lambda connection: sql.agenda(connection, since, now))
        lanes = tuple(one for one in agenda.lanes if not self._suspensions.holds(one[0]))
        return agenda if len(lanes) == len(agenda.lanes) else attrs.evolve(agenda, lanes=lanes)

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        queue_id = claim.message.queue_id
        if not notices and all(type(settlement) is Finished for settlement in settlements):
            # Nobody waits for "delivered": after a crash it repeats a delivery, it loses none.
            rows = [(queue_id, settlement.row, claim.token) for settlement in settlements]
            if rows:
                has_file = claim.message.content.octets is None
                await self._writer.submit_patiently(Finishing(queue_id, rows, has_file))
            return ()
        noticed = self._noticed.setdefault(claim, set())
        new = [notice for notice in notices if notice.queue_id not in noticed]
        places = [await self._kept(notice) for notice in new]
        prepared = [self._notice_insertion(*one) for one in zip(new, places, strict=True)]
        insertions = [insertion for _, insertion in prepared]
        inserted: list[bool] = await self._writer.submit(Call(lambda connection, removed_files: records.settle(
            connection, claim, settlements, insertions, removed_files)))
        fresh: list[Claim] = []
        for notice, (claims, _), is_new in zip(new, prepared, inserted, strict=True):
            if is_new:
                noticed.add(notice.queue_id)
                fresh += claims
        return tuple(fresh)

    # --- the operator -----------------------------------------------------------------------------

    async def search(self, query: Query, limit: int) -> Sequence[QueueRow]:
        now = self._wall_clock()
        return await self._ask(
            self._search_threads, self._search_reader, lambda connection: sql.search(connection, query, limit, now))

    async def page(
        self, query: Query, limit: int, after: Position | None, seconds: float, newest_first: bool = False
    ) -> Page:
        now = self._wall_clock()
        return await self._ask(self._search_threads, self._search_reader, lambda connection: sql.page(
            connection, query, limit, after, seconds, newest_first, now))

    async def content(self, queue_id: str, limit_octets: int, start_octets: int = 0) -> bytes | None:
        def read_file(place: str, start: int, octets: int) -> bytes:
            return self._disk.read(self.bodies.path_of(place), start, octets)

        return await self._ask(self._search_threads, self._search_reader, lambda connection: sql.some_octets(
            sql.find_content(connection, queue_id, limit_octets, start_octets), read_file, limit_octets))

    async def stretch(self, after: Position | None) -> Stretch:
        now = self._wall_clock()
        return await self._ask(
            self._search_threads, self._search_reader, lambda connection: sql.stretch(connection, after, now))

    async def lanes(self, query: Query = EVERYTHING) -> Sequence[LaneRow]:
        now = self._wall_clock()
        return await self._ask(
            self._search_threads, self._search_reader, lambda connection: sql.lanes(connection, query, now))

    async def hold(self, query: Query) -> int:
        return await self._in_steps(query, lambda keys, now: lambda connection, _: orders.hold(connection, keys, now))

    async def unhold(self, query: Query) -> int:
        return await self._in_steps(query, lambda keys, now: lambda connection, _: orders.unhold(connection, keys, now))

    async def retry(self, query: Query) -> int:
        return await self._in_steps(query, lambda keys, now: lambda connection, _: orders.retry(connection, keys, now))

    async def reroute(self, query: Query, lane_for: Callable[[Mailbox], str | None]) -> int:
        def step(keys: Sequence[orders.Key], now: float) -> Callable[[sqlite3.Connection, list[str]], int]:
            moves = orders.moves(keys, lane_for)  # here, in the reactor's thread, which backends expect
            return lambda connection, _: orders.reroute(connection, moves, now)

        return await self._in_steps(query, step)

    async def remove(self, query: Query, gone: list[Gone] | None = None) -> int:
        count = 0
        async for keys, _ in self._batches(query, spares=False):
            removed = await self._writer.submit(Call(partial(orders.remove, keys=keys)))
            count += len(removed)
            if gone is not None:
                gone += removed
        return count

    def suspended(self) -> Mapping[str, float]:
        return MappingProxyType(self._suspended)

    async def suspend(self, word: str) -> bool:
        if word in self._suspended:
            return False
        if len(self._suspended) >= MAX_SUSPENSIONS:
            raise TemporaryFault(f"no more than {MAX_SUSPENSIONS} destinations can be suspended at once")
        await self._keep_suspended(self._suspended | {word: self._wall_clock()})
        return True

    async def resume(self, word: str) -> bool:
        if word not in self._suspended:
            return False
        await self._keep_suspended({known: since for known, since in self._suspended.items() if known != word})
        return True

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._tending is not None and self._tending.active():
            self._tending.cancel()
        for threads in (self._file_threads, self._search_threads, self._lane_threads):
            threads.refuse()
        try:
            await self._writer.close()
        finally:
            os.close(self._lock)

    # --- helpers ----------------------------------------------------------------------------------

    async def _in_steps(self, query: Query, step: "_Step") -> int:
        """One of the operator's orders; how many recipients."""
        count = 0
        async for keys, now in self._batches(query, spares=True):
            count += await self._writer.submit(Call(step(keys, now)))
        return count

    async def _batches(
        self, query: Query, spares: bool
    ) -> AsyncGenerator[tuple[Sequence[orders.Key], float], None]:
        """Whom an order means, ``spares`` as ``orders.meant`` has it, and when it was given."""
        now = self._wall_clock()
        last = await self._ask(self._search_threads, self._search_reader, orders.last_message)
        after: orders.Key | None = None
        while True:
            keys = await self._ask(
                self._search_threads, self._search_reader,
                partial(
                    orders.meant, query=query, now=now, after=after, last=last, batch=self.order_batch, spares=spares))
            if not keys:
                return
            after = keys[-1]
            yield keys, now

    async def _keep_suspended(self, words: Mapping[str, float]) -> None:
        """In force at once, and on disk when this returns; as before where that fails."""
        before = self._suspended
        self._suspended = dict(words)
        self._suspensions = Suspensions.of(words)
        try:
            await self._writer.submit(Call(lambda connection, _: keep_suspended(connection, words)))
        except BaseException:
            if self._suspended == words:  # else somebody else has had a word since
                self._suspended = before
                self._suspensions = Suspensions.of(before)
            raise

    def _insertion(
        self, queue_id: str, arrival: Arrival, destinations: Sequence[Destination], claim: bool,
        content: Content, octets: bytes | None, place: str | None,
    ) -> tuple[tuple[Claim, ...], Insertion]:
        now = self._wall_clock()
        size = content.size_octets
        if not claim or not is_due(arrival, now) or any(self._suspensions.holds(d.lane) for d in destinations):
            late = self.settings.late_seconds
            return (), waiting_insertion(queue_id, arrival, now, size, octets, place, destinations, late)
        message = arrival.message(queue_id, now, content)
        claims = fresh_claims(message, destinations, self._tokens.__next__)
        lease_end = now + self.settings.lease_seconds
        late = self.settings.late_seconds
        return claims, leased_insertion(queue_id, arrival, now, size, octets, place, claims, lease_end, late)

    async def _kept(self, notice: Notice) -> str | None:
        """The place of the notice's file, or None where it is small enough for its row."""
        if len(notice.octets) <= self.settings.inline_octets:
            return None
        body = self.bodies.begin(notice.queue_id)
        body.write(notice.octets)
        try:
            place = await body.keep()
        except TemporaryFault:
            body.discard()
            await body.gone()  # whoever tries again makes the same notice
            raise
        except BaseException:
            body.discard()
            raise
        # Where no row comes of it, since somebody else recorded first, the next start sweeps it: it must not go now,
        # because it may be the file of the same notice that is queued already.
        body.committed()
        return place

    def _notice_insertion(self, notice: Notice, place: str | None) -> tuple[tuple[Claim, ...], Insertion]:
        octets = None if place is not None else notice.octets
        content = self._content_of(octets, place, len(notice.octets))
        return self._insertion(
            notice.queue_id, notice.arrival, notice.destinations, True, content, octets, place)

    def _content_of(self, octets: bytes | None, place: str | None, size_octets: int) -> Content:
        octets = octets or b""
        return MemoryContent(octets) if place is None else self.bodies.content(place, size_octets, octets)

    def _look_for_room(self) -> bool:
        try:
            return self._disk.free_octets(self.settings.folder) >= self.settings.reserve_octets
        except OSError:
            return False  # a disk that does not answer this takes no mail either

    async def _ask(self, threads: Threads, reader: sql.Reader, question: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await threads.run(reader.ask, question)
        except (OSError, sqlite3.Error) as error:
            raise fault_of(error) from error

    def _tend(self) -> None:
        # Without this a queue that was once long keeps its size, and a disk that it filled stays full.
        kept, most = (_FREE_PAGES_KEPT, _PAGES_A_TENDING) if self.room() else (0, _PAGES_A_TENDING_WHEN_FULL)
        self._tending = self._reactor.callLater(_SECONDS_BETWEEN_TENDINGS, self._tend)
        self._writer.between(lambda connection: _give_back(connection, kept, most))

    def _sweep(self) -> None:
        def is_queued(queue_id: str) -> bool:
            return self._search_reader.ask(lambda connection: sql.is_queued(connection, queue_id))

        def tell(removed: int) -> None:
            if removed:
                self._log.info("spool: removed {count} bodies that no message has", count=removed)

        def complain(error: BaseException) -> None:
            self._log.warn("spool: old bodies were not swept: {why}", why=str(error))

        self._file_threads.start(tell, complain, self.bodies.sweep, start_of(self._ids.next_id()), is_queued)

    def _end(self) -> None:
        for threads in (self._file_threads, self._search_threads, self._lane_threads):
            threads.join()
        self._search_reader.close()
        self._lane_reader.close()


class SqliteDraft:
    """A ``mail.ports.Draft``: in memory, until it grows out of it."""

    __slots__ = ("_body", "_chunks", "_crown", "_edition", "_is_spent", "_spool", "queue_id", "size_octets")

    def __init__(self, spool: SqliteSpool, queue_id: str, edition: int = 0) -> None:
        self.queue_id = queue_id
        self._edition = edition
        self.size_octets = 0
        self._spool = spool
        self._chunks: list[bytes] = []
        self._body: BodyDraft | None = None
        self._crown = b""  # of what is in a file
        self._is_spent = False

    @property
    def backlog_octets(self) -> int:
        return self._body.backlog_octets if self._body is not None else 0

    def write(self, chunk: bytes) -> None:
        self.size_octets += len(chunk)
        if self._body is not None:
            self._body.write(chunk)
            return
        self._chunks.append(chunk)
        if self.size_octets > self._spool.settings.inline_octets:
            self._body = self._spool.bodies.begin(self.queue_id, self._edition)
            self._body.write(b"".join(self._chunks))
            self._chunks.clear()

    def crown(self, octets: bytes) -> None:
        self.size_octets += len(octets)
        if self._body is not None:
            self._crown = octets + self._crown
            return
        self._chunks.insert(0, octets)

    async def drained(self) -> None:
        if self._body is not None:
            await self._body.drained()

    async def content(self) -> Content:
        if self._is_spent:
            raise LocalProtocolError("a draft that is committed or discarded is not to be read")
        if self._body is None:
            return MemoryContent(b"".join(self._chunks))
        return await self._body.content(self.size_octets, self._crown)

    def anew(self) -> "SqliteDraft":
        return SqliteDraft(self._spool, self.queue_id, self._edition + 1)

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        if self._is_spent:
            raise LocalProtocolError("a draft is committed or discarded once")
        self._is_spent = True
        body, chunks = self._body, self._chunks
        if body is None:
            octets = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            return await self._spool.insert(
                self.queue_id, arrival, destinations, claim, MemoryContent(octets), octets, None)
        try:
            place = await body.keep()
        except BaseException:
            body.discard()
            raise
        content = self._spool.bodies.content(place, self.size_octets, self._crown)
        crown = self._crown or None
        try:
            claims = await self._spool.insert(self.queue_id, arrival, destinations, claim, content, crown, place)
        except TemporaryFault as fault:
            # A COMMIT whose sync failed may yet be found in the WAL after a crash: its row must have its file.
            # It is swept at the next start; only a full disk, where no COMMIT was written, wants it gone now.
            if fault.reply is NO_ROOM:
                body.discard()
            raise
        body.committed()
        return claims

    def discard(self) -> None:
        if self._is_spent:
            return  # a commit that is on its way, or has failed, has the file
        self._is_spent = True
        self._chunks.clear()
        if self._body is not None:
            self._body.discard()


_Step = Callable[[Sequence[orders.Key], float], Callable[[sqlite3.Connection, list[str]], int]]
"""Of a batch of recipients, what is to be done with them in the writer's thread; how many it was done with."""


def _begin_start(connection: sqlite3.Connection, node: str, now: float) -> int:
    """Note that a process begins; how many began before."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        start = int(get_meta(connection, "starts", "0"))
        set_meta(connection, "starts", str(start + 1))
        set_meta(connection, "node", node)
        records.end_all_leases(connection, now)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return start


def _give_back(connection: sqlite3.Connection, kept: int, most: int) -> None:
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    if free > kept:
        # As a script: execute() would step it, and so give back, one page.
        connection.executescript(f"PRAGMA incremental_vacuum({min(free - kept, most)})")
