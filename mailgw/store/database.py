"""SQLite databases of the state folder, beside the queue's: how they are made, opened and upgraded.

Two kinds (``Sharing``):
    ``ALONE``: one process opens it at a time, and commits to a WAL, synced (``synchronous=FULL``).
    ``SHARED``: several processes may write (each worker does).  So no WAL, which SQLite before 3.51.3 can corrupt where
    two connections write to it or checkpoint at the same moment, but a rollback journal (``synchronous=EXTRA``: the
    journal's end is on disk, too), short transactions, and a time that each waits for the others.
The operator may read either with ``sqlite3``, while the gateway runs, too.
"""

import enum
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import attrs

BUSY_SECONDS: Final = 10.0
"""How long a write waits for other processes."""


class Sharing(enum.Enum):
    ALONE = ("journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY", "foreign_keys = ON")
    SHARED = ("auto_vacuum = INCREMENTAL", "journal_mode = DELETE", "synchronous = EXTRA", "temp_store = MEMORY")


@attrs.frozen
class Schema:
    """``statements`` make it; ``version`` is told to those who come later.  ``upgrades``: what takes a version to the
    next one, by the version that it starts from; ``functions`` of one value are there for it."""

    version: int
    statements: Sequence[str]
    sharing: Sharing = Sharing.ALONE
    upgrades: Mapping[int, Sequence[str]] = {}
    functions: Mapping[str, Callable[[Any], Any]] = {}


class Database:
    """``path`` None: in memory.  Opened by the first use.  Its methods block; one caller at a time."""

    def __init__(self, path: str | None, schema: Schema, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._schema = schema
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None

    def open(self) -> sqlite3.Connection:
        """sqlite3.Error, or OSError, where it cannot be used."""
        if self._connection is None:
            self._connection = opened(self._path, self._schema, self._busy_seconds)
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def opened(path: str | None, schema: Schema, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection to the database, which is made where it is missing, for nobody else to read.  sqlite3.Error or
    OSError where it cannot be used."""
    if path is not None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would let others read it
    connection = sqlite3.connect(
        path or ":memory:", timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        for pragma in schema.sharing.value:
            connection.execute(f"PRAGMA {pragma}")
        with transaction(connection):
            _upgrade(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def reader(path: str, schema: Schema, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection | None:
    """A connection that changes nothing; None where nothing was ever kept.  sqlite3.Error where it cannot be read, or
    is newer than we are.

    Not "mode=ro": what a crash left half done could not be undone, and so nothing be read before the next write.
    """
    connection = sqlite3.connect(
        f"file:{quote(path)}?mode=rw", uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only = ON")
        version = _version(connection, schema)
    except BaseException:
        connection.close()
        raise
    if version == 0:
        connection.close()
        return None
    return connection


def _version(connection: sqlite3.Connection, schema: Schema) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > schema.version:
        raise sqlite3.DatabaseError(f"its schema is version {version}, this mailgw knows up to {schema.version}")
    return version


def _upgrade(connection: sqlite3.Connection, schema: Schema) -> None:
    version = _version(connection, schema)
    if version == schema.version:
        return
    steps = [schema.statements] if version == 0 else [schema.upgrades[one] for one in range(version, schema.version)]
    for name, function in schema.functions.items():
        connection.create_function(name, 1, function)
    for step in steps:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {schema.version}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Others are kept from writing until it ends; an exception takes all of it back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
