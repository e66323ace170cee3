"""A small SQLite database of the state folder that one process writes: what must outlive a crash, but for the queue.

Rules:
    What is done has been committed, and synced (WAL, ``synchronous=FULL``), when ``do`` comes back.
    Jobs run in the order in which they came; those that wait while a commit is on its way share the next one.  One that
    fails takes nothing of the others along.
    One process opens it at a time: who holds the state folder, or shard 0 of the queue.
    That the disk or SQLite refuses, and that it does no more, is told once in the log; ``fault`` says it meanwhile.
    What refused is tried again until it does no more: nobody else may write for hours.
    The reactor's thread touches no disk.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.store.database import Schema, opened, transaction
from mailgw.store.state_file import Workshop

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

MOST_JOBS: Final = 500
"""In one commit."""
TRY_SECONDS: Final = 10.0
"""After a fault, and between tries."""

_log = Logger()


@attrs.define(eq=False)
class _Waiting:
    job: Job[Any]
    done: "Deferred[Any]"
    writes: bool


class Ledger:
    """``path`` None: in memory.  Opened by the first job; a fault then is that job's."""

    def __init__(self, path: str | None, schema: Schema, workshop: Workshop) -> None:
        self._path = path
        self._schema = schema
        self._workshop = workshop
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[_Waiting] = []
        self._running: Deferred[None] | None = None
        self._is_closed = False
        self._faults = {True: "", False: ""}  # of the last job that writes, and of the last one that does not
        self._is_damaged = False
        self._next_try: Any = None

    def do(self, job: Job[T]) -> "Deferred[T]":
        """What ``job`` comes to, in a thread, once it is durable.  TemporaryFault where the disk or SQLite refuses."""
        return self._add(job, True)

    def look(self, job: Job[T]) -> "Deferred[T]":
        """The same of a job that writes nothing."""
        return self._add(job, False)

    @property
    def fault(self) -> str:
        """Why the disk or SQLite refused the last job; "" where it did not.  A look that goes well is no sign that it
        can be written again: the disk may be full."""
        return self._faults[True] or self._faults[False]

    def exists(self) -> bool:
        """Whether it was ever written.  Blocks."""
        return self._connection is not None or (self._path is not None and os.path.exists(self._path))

    def is_there(self) -> "Deferred[bool]":
        """``exists``, in a thread."""
        return self._workshop.do(self.exists)

    async def close(self) -> None:
        """When all that was begun has ended."""
        self._is_closed = True
        if self._next_try is not None:
            self._next_try.cancel()
            self._next_try = None
        while self._running is not None:
            waiting: Deferred[None] = Deferred()
            self._running.addBoth(waiting.callback)  # type: ignore[unused-awaitable] # waiting is awaited
            await waiting
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._workshop.do(self._closed, connection)

    def _closed(self, connection: sqlite3.Connection) -> None:
        connection.close()

    # --- in the reactor's thread ----------------------------------------------------------------------------

    def _add(self, job: Job[T], writes: bool) -> "Deferred[T]":
        done: Deferred[T] = Deferred()
        if self._is_closed:
            done.errback(TemporaryFault(f"{self._path}: the gateway stops"))
            return done
        self._waiting.append(_Waiting(job, done, writes))
        if self._running is None:
            self._run()
        return done

    def _run(self) -> None:
        jobs, self._waiting = self._waiting[:MOST_JOBS], self._waiting[MOST_JOBS:]
        running = self._running = Deferred()

        def ended(results: list[Any] | Failure) -> None:
            if isinstance(results, Failure):
                results = [results.value] * len(jobs)
            self._note(jobs, results)
            self._running = None
            if self._waiting:
                self._run()
            for one, result in zip(jobs, results, strict=True):
                self._tell(one, result)
            running.callback(None)

        self._workshop.do(self._written, jobs).addBoth(ended)  # type: ignore[unused-awaitable] # ended tells of it

    def _note(self, jobs: Sequence[_Waiting], results: Sequence[Any]) -> None:
        before = self.fault
        for one, result in zip(jobs, results, strict=True):
            fault = f"{self._path}: {result}" if isinstance(result, sqlite3.Error | OSError) else ""
            self._faults[one.writes] = fault
            self._is_damaged |= _is_damage(result)
            if one.writes and not fault:
                self._faults[False] = ""
        if self.fault and not before:
            _log.error("{why}: it is not used, until it can be again", why=self.fault)
        elif before and not self.fault:
            _log.info("{path} can be used again", path=self._path)
        self._is_damaged = self._is_damaged and bool(self.fault)
        # Of what is damaged, a write elsewhere in it tells nothing.
        if self.fault and not self._is_damaged and not self._is_closed and self._next_try is None:
            self._next_try = self._workshop.reactor.callLater(TRY_SECONDS, self._try)

    def _try(self) -> None:
        self._next_try = None
        if self.fault and not self._is_damaged:
            self.do(_written_as_it_is).addErrback(lambda _: None)  # type: ignore[unused-awaitable] # it is noted

    def _tell(self, one: _Waiting, result: Any) -> None:
        if one.done.called:  # who asked has given up
            return
        if isinstance(result, sqlite3.Error | OSError):
            one.done.errback(TemporaryFault(f"{self._path}: {result}"))
        elif isinstance(result, BaseException):
            one.done.errback(result)
        else:
            one.done.callback(result)

    # --- in the thread --------------------------------------------------------------------------------------

    def _written(self, jobs: Sequence[_Waiting]) -> list[Any]:
        connection = self._open()
        if not any(one.writes for one in jobs):
            return [_tried(connection, one.job) for one in jobs]
        return self.commit(lambda: self._committed(connection, jobs))

    def commit(self, work: Callable[[], list[Any]]) -> list[Any]:
        """A step that a crash may fall before or after; tests have it so."""
        return work()

    def _committed(self, connection: sqlite3.Connection, jobs: Sequence[_Waiting]) -> list[Any]:
        results = []
        with transaction(connection):
            for one in jobs:
                connection.execute("SAVEPOINT job")
                result = _tried(connection, one.job)
                if isinstance(result, BaseException):
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
                results.append(result)
        return results

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = opened(self._path, self._schema)
        return self._connection


def _tried(connection: sqlite3.Connection, job: Job[Any]) -> Any:
    try:
        return job(connection)
    except Exception as fault:  # noqa: BLE001 - it is told to who asked
        return fault


def _written_as_it_is(connection: sqlite3.Connection) -> None:
    """A page and its commit, which a lock, a full disk, or one that is read-only refuses; what it says is the same."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.execute(f"PRAGMA user_version = {version}")


def _is_damage(result: Any) -> bool:
    """What the code's upper bits tell apart are kinds of it."""
    return isinstance(result, sqlite3.Error) and getattr(result, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
