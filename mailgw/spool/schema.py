"""The tables, how they came to be, and how a connection is set up.

The operator may read them with ``sqlite3``, while the gateway runs too (``PRAGMA query_only=ON``, please).
A change of the schema is a new function at the end of ``STEPS``; what stands there is never changed.
"""

import sqlite3
from collections.abc import Callable, Sequence
from urllib.parse import quote

from mailgw.mail.errors import ConfigError

# Leased recipients are in ``leased``, the others in ``waiting``, held ones in neither: each row costs one entry,
# and neither a million rows of closed lanes nor a million rows on their way are ever scanned.
_VERSION_1 = (
    """CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE message (
        queue_id TEXT NOT NULL UNIQUE,
        arrived REAL NOT NULL,          -- seconds since the epoch, UTC; so are all times here
        reverse_path TEXT NOT NULL,     -- '' is the null path
        body_type TEXT NOT NULL,        -- 7BIT or 8BITMIME
        size INTEGER NOT NULL,          -- octets
        peer TEXT NOT NULL, helo TEXT NOT NULL, login TEXT NOT NULL, protocol TEXT NOT NULL,
        session_id TEXT NOT NULL,
        body_file TEXT,                 -- below bodies/, or NULL:
        body BLOB                       -- the content itself; last, so that reading the others skips it
    )""",
    """CREATE TABLE recipient (
        queue_id TEXT NOT NULL,
        row INTEGER NOT NULL,           -- from 1 in each message
        sender TEXT NOT NULL COLLATE NOCASE,
        recipient TEXT NOT NULL COLLATE NOCASE,
        domain TEXT NOT NULL COLLATE NOCASE,
        lane TEXT NOT NULL,             -- whom it waits for
        due REAL,                       -- next attempt; the end of the lease while token is set; NULL: held
        attempts INTEGER NOT NULL,      -- ended ones
        reason TEXT NOT NULL,           -- of the last one
        warned INTEGER NOT NULL,        -- 1: the sender knows of the delay
        token INTEGER,                  -- of the claim that holds it
        PRIMARY KEY (queue_id, row)
    ) WITHOUT ROWID""",
    """CREATE INDEX waiting ON recipient (lane, due) WHERE token IS NULL AND due IS NOT NULL""",
    """CREATE INDEX leased ON recipient (due) WHERE token IS NOT NULL""",
)


def _create(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_1:
        connection.execute(statement)


# What a client asked for with MAIL and RCPT, as ``mail.parameters`` prints it.  A message's parameters come after its
# body, whose pages whoever reads them walks through; so those few messages that have any stand in an index, too.
_VERSION_2 = (
    """ALTER TABLE message ADD COLUMN parameters TEXT NOT NULL DEFAULT ''""",
    """CREATE INDEX parametered ON message (queue_id, parameters) WHERE parameters <> ''""",
    """ALTER TABLE recipient ADD COLUMN parameters TEXT NOT NULL DEFAULT ''""",
    """ALTER TABLE recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 0""",  # its message's MT-PRIORITY
    """DROP INDEX waiting""",
    """CREATE INDEX waiting ON recipient (lane, priority DESC, due) WHERE token IS NULL AND due IS NOT NULL""",
)


def _add_parameters(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_2:
        connection.execute(statement)


# When something is to be said of a recipient (a warning, its end), whatever becomes of its attempts; who of a lane is
# waiting; and what became due in a time.  All of those that wait alone: what goes at its first attempt costs none.
_VERSION_3 = (
    """ALTER TABLE recipient ADD COLUMN late REAL""",
    """UPDATE recipient SET late = due""",
    """CREATE INDEX late ON recipient (late) WHERE token IS NULL AND due IS NOT NULL""",
    """CREATE INDEX by_sender ON recipient (lane, priority DESC, sender, due)
        WHERE token IS NULL AND due IS NOT NULL""",
    """CREATE INDEX by_due ON recipient (due, lane) WHERE token IS NULL AND due IS NOT NULL""",
)


def _add_late(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_3:
        connection.execute(statement)


# Whether a message is of somebody who may send by us.  And beside a body_file, body is what stands on top of the file's
# octets: what was only known when these were written.  Who does not know that must not read this queue.
_VERSION_4 = ("""ALTER TABLE message ADD COLUMN ours INTEGER NOT NULL DEFAULT 0""",)


def _add_ours(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_4:
        connection.execute(statement)


Step = Callable[[sqlite3.Connection], None]
STEPS: Sequence[Step] = (_create, _add_parameters, _add_late, _add_ours)
"""Step n brings a database of version n to version n + 1; version 0 is an empty file."""


def migrate(connection: sqlite3.Connection, path: str, steps: Sequence[Step] = STEPS) -> None:
    """Bring the database to the newest version, in one transaction.

    ConfigError where it is newer than we are; it is left as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = schema_version(connection)
        if version > len(steps):
            raise ConfigError(
                path, 0, "state", f"the queue's schema is version {version}, this mailgw knows up to {len(steps)}; "
                "run the newer mailgw again, or let it empty the queue first"
            )
        for step in steps[version:]:
            step(connection)
        set_meta(connection, "schema_version", str(len(steps)))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def schema_version(connection: sqlite3.Connection) -> int:
    """0 for an empty database."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    return int(get_meta(connection, "schema_version", "0")) if known else 0


def get_meta(connection: sqlite3.Connection, key: str, default: str) -> str:
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else default


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                       (key, value))


def connect_writer(path: str) -> sqlite3.Connection:
    """The one connection that writes; made where there is no database yet.  Not bound to a thread."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    for pragma in (
        "auto_vacuum = INCREMENTAL",         # counts before the first table alone
        "journal_mode = WAL",
        "synchronous = FULL",                # a commit is on disk when COMMIT returns
        "wal_autocheckpoint = 4000",         # pages: a checkpoint each 16 MB of WAL, by COMMIT, on the writer's thread
        "journal_size_limit = 67108864",     # after a long read let the WAL grow, give the disk back
        "cache_size = -32768",               # KiB
        "secure_delete = OFF",               # Debian's default zeroes what is freed; the disk writes it all twice
        "temp_store = MEMORY",
        "busy_timeout = 10000",              # of a reader's recovery, at the worst
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def connect_reader(path: str) -> sqlite3.Connection:
    """A connection that can write nothing and never checkpoints.  Not bound to a thread."""
    connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    for pragma in ("query_only = ON", "wal_autocheckpoint = 0", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection
