"""The queue while no gateway runs, for the ``mailgw`` command: no reactor, no threads, plain calls.

Whoever opens it has the folder's lock, so a gateway cannot start meanwhile: open it late, close it soon.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import TypeVar

from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import EVERYTHING, LaneRow, Page, Position, Query, QueueRow
from mailgw.mail.ports import WallClock
from mailgw.queue.suspension import MAX_SUSPENSIONS
from mailgw.spool import orders
from mailgw.spool import search as sql
from mailgw.spool.faults import fault_of
from mailgw.spool.folder import database_path, lock_folder
from mailgw.spool.records import end_all_leases
from mailgw.spool.schema import STEPS, connect_writer, migrate, schema_version
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.suspended import keep_suspended, read_suspended

T = TypeVar("T")


def open_offline(settings: SpoolSettings, wall_clock: WallClock, to_look: bool = False) -> "OfflineSpool":
    """The queue in ``settings.folder``; ``to_look`` where nothing is to be changed.

    TemporaryFault where a gateway has it, where there is none, where it cannot be read, or where somebody who only
    looks would bring it to a schema that the mailgw of yesterday cannot read; ConfigError where its schema is
    newer than we are.
    """
    disk = Disk()
    path = database_path(settings.folder)
    if not os.path.exists(path):
        raise TemporaryFault(f"{settings.folder}: there is no queue here yet")
    lock: int | None = None
    connection: sqlite3.Connection | None = None
    try:
        lock = lock_folder(settings.folder, disk)
        connection = connect_writer(path)
        if to_look and schema_version(connection) < len(STEPS):
            raise TemporaryFault(
                f"{settings.folder}: this queue is an older version's, which could not read it any more once this one "
                "has changed it; look with that one, or start this one, which brings it up to date"
            )
        migrate(connection, path)
        end_all_leases(connection, wall_clock())
        return OfflineSpool(settings.folder, connection, lock, wall_clock, disk)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if lock is not None:
            os.close(lock)
        if isinstance(error, (OSError, sqlite3.Error)):
            raise fault_of(error) from error
        raise


class OfflineSpool:
    """The operator's part of ``mail.ports.Spool``, blocking; also a context manager that closes."""

    def __init__(
        self, folder: str, connection: sqlite3.Connection, lock: int, wall_clock: WallClock, disk: Disk
    ) -> None:
        self._bodies = os.path.join(folder, "bodies")
        self._connection = connection
        self._lock = lock
        self._wall_clock = wall_clock
        self._disk = disk

    def __enter__(self) -> "OfflineSpool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def search(self, query: Query, limit: int) -> list[QueueRow]:
        """Rows in the order of arrival, at most ``limit``; TemporaryFault, as from all of these."""
        return self._ask(lambda connection: sql.search(connection, query, limit, self._wall_clock()))

    def page(
        self, query: Query, limit: int, after: Position | None, seconds: float, newest_first: bool = False
    ) -> Page:
        return self._ask(lambda connection: sql.page(
            connection, query, limit, after, seconds, newest_first, self._wall_clock()))

    def content(self, queue_id: str, limit_octets: int, start_octets: int = 0) -> bytes | None:
        """As ``mail.ports.Spool`` has it."""
        def read_file(place: str, start: int, octets: int) -> bytes:
            return self._disk.read(os.path.join(self._bodies, place), start, octets)

        return self._ask(lambda connection: sql.some_octets(
            sql.find_content(connection, queue_id, limit_octets, start_octets), read_file, limit_octets))

    def lanes(self, query: Query = EVERYTHING) -> list[LaneRow]:
        return self._ask(lambda connection: sql.lanes(connection, query, self._wall_clock()))

    # As ``mail.ports.Spool`` has them; nothing is active here.

    def hold(self, query: Query) -> int:
        return self._in_steps(query, orders.hold)

    def unhold(self, query: Query) -> int:
        return self._in_steps(query, orders.unhold)

    def retry(self, query: Query) -> int:
        return self._in_steps(query, orders.retry)

    def reroute(self, query: Query, lane_for: orders.LaneFor) -> int:
        return self._in_steps(query, lambda connection, keys, now: orders.reroute(
            connection, orders.moves(keys, lane_for), now))

    def suspended(self) -> dict[str, float]:
        return self._ask(read_suspended)

    def suspend(self, word: str) -> bool:
        words = self.suspended()
        if word in words:
            return False
        if len(words) >= MAX_SUSPENSIONS:
            raise TemporaryFault(f"no more than {MAX_SUSPENSIONS} destinations can be suspended at once")
        self._keep_suspended(words | {word: self._wall_clock()})
        return True

    def resume(self, word: str) -> bool:
        words = self.suspended()
        if words.pop(word, None) is None:
            return False
        self._keep_suspended(words)
        return True

    def remove(self, query: Query) -> int:
        removed_files: list[str] = []
        count = self._in_steps(
            query, lambda connection, keys, _: len(orders.remove(connection, removed_files, keys)), spares=False)
        for place in removed_files:
            try:
                self._disk.remove(os.path.join(self._bodies, place))
            except OSError:
                pass  # the gateway's next start sweeps it
        return count

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)

    def _keep_suspended(self, words: dict[str, float]) -> None:
        def change(connection: sqlite3.Connection) -> int:
            keep_suspended(connection, words)
            return 0

        self._change(change)

    def _in_steps(self, query: Query, step: "_Step", spares: bool = True) -> int:
        now = self._wall_clock()
        last = self._ask(orders.last_message)
        after: orders.Key | None = None
        count = 0
        while keys := self._ask(
            partial(orders.meant, query=query, now=now, after=after, last=last, batch=orders.BATCH, spares=spares)
        ):
            after = keys[-1]
            count += self._change(_one_step(step, keys, now))
        return count

    def _ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return question(self._connection)
        except (OSError, sqlite3.Error) as error:
            raise fault_of(error) from error

    def _change(self, change: Callable[[sqlite3.Connection], int]) -> int:
        def transaction(connection: sqlite3.Connection) -> int:
            connection.execute("BEGIN IMMEDIATE")
            try:
                count = change(connection)
                connection.execute("COMMIT")
                return count
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

        return self._ask(transaction)


_Step = Callable[[sqlite3.Connection, Sequence[orders.Key], float], int]


def _one_step(step: _Step, keys: Sequence[orders.Key], now: float) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: step(connection, keys, now)
