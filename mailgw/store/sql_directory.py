"""Recipients in a database, over Twisted's ``adbapi`` and any driver of the DB-API (PEP 249).

Rules:
    Queries run in threads of their own, at most one a connection.  Where all of those are busy, with queries that got
    no answer in time, a question fails at once: none waits behind what may hang for ever.
    A connection that a query failed on is closed, and the next query opens another one; where it was not new, the same
    query does, once: servers close what was idle for long.
    A stop waits for no query that hangs.
"""

import re
from collections.abc import Sequence
from functools import partial
from threading import Thread
from typing import Any, Final

from twisted.enterprise.adbapi import Connection, ConnectionPool
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.store.directory_answers import TARGETS_AT_MOST, found_in_rows
from mailgw.store.directory_settings import SqlSettings
from mailgw.store.sql_query import parse_query

log = Logger()

# Of what drivers' connect() takes: psycopg's conninfo, psycopg2's dsn, passwd, sslpassword ...
_SECRET: Final = re.compile(r"pass|pwd|secret|token|dsn|conninfo|ur[il]", re.IGNORECASE)

# How long a stop waits for queries under way.
STOP_SECONDS: Final = 2.0


class SqlDirectory:
    """An ``IRecipientDirectory``.  ImportError or ValueError where it cannot be one."""

    def __init__(self, settings: SqlSettings, reactor: Any) -> None:
        self._reactor = reactor
        self._connections = settings.connections
        self._pool = _Pool(settings, reactor)
        self._query = parse_query(settings.query, str(getattr(self._pool.dbapi, "paramstyle", "")))
        self._busy = 0
        self._pool.threadpool.start()

    async def find(self, recipient: Mailbox) -> Found | None:
        if self._busy >= self._connections:
            raise TemporaryFault("every connection is busy with a query that got no answer in time")
        self._busy += 1
        rows: Deferred[Sequence[Sequence[object]]]
        rows = self._pool.runWithConnection(  # type: ignore[no-untyped-call] # Twisted has no types there
            partial(_rows, text=self._query.text, values=self._query.values(recipient))
        )
        waiting: Deferred[Any] = Deferred()  # may be cancelled; the thread goes on, and is busy

        def ended(result: Any) -> None:
            self._busy -= 1
            if not waiting.called:
                waiting.callback(result)  # a Failure, too

        rows.addBoth(ended)  # type: ignore[unused-awaitable] # the end of the chain
        try:
            found = await waiting
        except Exception as fault:  # drivers have errors of their own, which are not to be imported to be caught
            if waiting.called and rows.called:
                words = " ".join(self._pool.without_secrets(str(fault)).split())
                raise TemporaryFault(f"the database: {type(fault).__name__}: {words:.200}") from fault
            raise
        return found_in_rows(found)

    async def close(self) -> None:
        """Return when the queries under way ended, or hang."""
        closed: Deferred[None] = Deferred()

        def done() -> None:
            if not closed.called:
                closed.callback(None)

        def close() -> None:
            self._pool.threadpool.stop()
            self._pool.close_all()
            self._reactor.callFromThread(done)

        timer = self._reactor.callLater(STOP_SECONDS, done)
        Thread(target=close, daemon=True, name="mailgw sql close").start()
        await closed
        if timer.active():
            timer.cancel()


def _rows(connection: "_Connection", text: str, values: Any) -> Sequence[Sequence[object]]:
    """In a thread."""
    try:
        return _asked(connection, text, values)
    except Exception:
        if connection.is_new:
            raise
        connection.drop()
        connection.open()
        return _asked(connection, text, values)


def _asked(connection: "_Connection", text: str, values: Any) -> Sequence[Sequence[object]]:
    cursor = connection.cursor()
    cursor.execute(text, values)
    # One more than may be is a fault, and the rest of a million need not be fetched to know it.
    rows: Sequence[Sequence[object]] = cursor.fetchmany(TARGETS_AT_MOST + 1)
    cursor.close()
    return rows


class _Connection(Connection):
    """Of the thread that it is made in.  ``is_new``: no query has used it."""

    def __init__(self, pool: "_Pool") -> None:
        self.is_new = pool.threadID() not in pool.connections  # type: ignore[no-untyped-call] # Twisted has no types
        super().__init__(pool)  # type: ignore[no-untyped-call] # Twisted has no types there

    def rollback(self) -> None:
        # A query failed.  What this connection is worth now nobody can tell, and another one costs little.
        self.drop()

    def drop(self) -> None:
        self._pool.connections.pop(self._pool.threadID(), None)
        _close(self._connection)

    def open(self) -> None:
        self._connection = self._pool.connect()
        self.is_new = True


class _Pool(ConnectionPool):
    connectionFactory = _Connection

    def __init__(self, settings: SqlSettings, reactor: Any) -> None:
        self._password_file = settings.password_file
        super().__init__(  # type: ignore[no-untyped-call] # Twisted has no types there
            settings.module, **settings.arguments, cp_min=0, cp_max=settings.connections, cp_reactor=reactor
        )
        self.threadpool = ThreadPool(0, settings.connections, "mailgw sql")
        self.threadpool.threadFactory = _Daemon
        # A thread for each connection is all that sqlite3 wants to be sure of; closing comes from another one.
        if settings.module == "sqlite3":
            self.connkw.setdefault("check_same_thread", False)

    def connect(self) -> Any:
        """In a thread, which then has this connection.  The password is read again each time."""
        if self._password_file is not None:
            with open(self._password_file, encoding="utf-8") as opened:
                self.connkw = {**self.connkw, "password": opened.readline().rstrip("\r\n")}
        return super().connect()  # type: ignore[no-untyped-call] # Twisted has no types there

    def without_secrets(self, words: str) -> str:
        """Drivers quote what they cannot read, a whole conninfo with its password for one; the log and the journal are
        for others' eyes."""
        for name, value in self.connkw.items():
            if _SECRET.search(name) and isinstance(value, str) and value:
                words = words.replace(value, f"({name})")
        return words

    def start(self) -> None:
        """Whoever owns it starts it, and closes it when the gateway stops, not the reactor."""

    def close_all(self) -> None:
        """In whatever thread, after the pool's own ended."""
        for connection in self.connections.values():
            _close(connection)
        self.connections.clear()


class _Daemon(Thread):
    """A query that hangs keeps no process alive."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **{**more, "daemon": True})


def _close(connection: Any) -> None:
    try:
        connection.close()
    except Exception as fault:  # noqa: BLE001 - it was lost already, perhaps
        log.debug("a connection was not closed: {why}", why=repr(fault))
