"""The reports that came in, in ``reports.sqlite`` below the state folder: one row a report, one for each thing it says.

Several processes may write (each worker delivers): so no WAL, which SQLite before 3.51.3 can corrupt where two
connections write to it or checkpoint at the same moment, but a rollback journal, short transactions, and a time that
each waits for the others.  To route all reports through one worker was rejected: a lane belongs to no worker.

Rules:
    A report is on disk when ``keep`` returns (``synchronous=EXTRA``: the journal's end, too).
    A report is known by who sent it and whether that is vouched for, by its organization, its id and its begin.  The
    first one stays: so a repeat adds nothing, and no stranger's report stands in another's place.
    What is older than ``keep_seconds``, and the oldest beyond ``most_octets``, goes as new ones come, ``PRUNED`` at a
    time; where there is too much, what nobody vouches for goes first.
The operator may read it with ``sqlite3``, while the gateway runs, too.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import attrs

from mailgw.trust.dmarc_report_in import DmarcReportIn
from mailgw.trust.report_sender import ReportSender
from mailgw.trust.reports_in import ReportIn
from mailgw.trust.tls_report_in import TlsReportIn

T = TypeVar("T")

FILE: Final = "reports.sqlite"
BUSY_SECONDS: Final = 10.0
"""How long a write waits for other processes, a reader among them; then its message waits in the queue."""
PRUNED: Final = 100
"""Reports that one write takes away at most, which is as many as one message may bring."""
VERSION: Final = 1

_SCHEMA = (
    """CREATE TABLE report (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never another's
        kind TEXT NOT NULL,             -- dmarc or tls
        sender TEXT NOT NULL,           -- the domain in From of the mail that brought it; '' where unknown
        trusted INTEGER NOT NULL,       -- 1: DMARC passed for that domain
        dmarc TEXT NOT NULL,            -- what it came to; '' where nobody looked
        organization TEXT NOT NULL,     -- this and all below is what the reporter says
        report_id TEXT NOT NULL,
        begin INTEGER NOT NULL,         -- seconds since the epoch, UTC; so are all times here
        end INTEGER NOT NULL,
        contact TEXT NOT NULL,
        domain TEXT NOT NULL,           -- of dmarc: whose policy it is about
        policy TEXT NOT NULL,           -- of dmarc: as published, a JSON object
        received REAL NOT NULL,
        queue_id TEXT NOT NULL,
        UNIQUE (kind, sender, trusted, organization, report_id, begin)
    )""",
    """CREATE INDEX report_received ON report (received)""",
    """CREATE INDEX report_untrusted ON report (trusted, received)""",
    """CREATE TABLE dmarc_row (
        report INTEGER NOT NULL, row INTEGER NOT NULL,
        source TEXT NOT NULL,           -- an IP address
        count INTEGER NOT NULL,         -- messages
        disposition TEXT NOT NULL,
        dkim TEXT NOT NULL, spf TEXT NOT NULL,  -- pass where an aligned one passed
        header_from TEXT NOT NULL, envelope_from TEXT NOT NULL, envelope_to TEXT NOT NULL,
        reasons TEXT NOT NULL,          -- a JSON list of texts
        auth TEXT NOT NULL,             -- a JSON list of [method, domain, selector or scope, result]
        PRIMARY KEY (report, row)
    ) WITHOUT ROWID""",
    """CREATE TABLE tls_row (
        report INTEGER NOT NULL, row INTEGER NOT NULL,
        domain TEXT NOT NULL,
        policy TEXT NOT NULL,           -- tlsa, sts or no-policy-found
        successes INTEGER NOT NULL, failures INTEGER NOT NULL,  -- sessions
        strings TEXT NOT NULL,          -- the policy itself, and its patterns of hosts: JSON lists of texts
        mx TEXT NOT NULL,
        details TEXT NOT NULL,          -- a JSON list of [type, from, MX host, its name, to, sessions, reason]
        PRIMARY KEY (report, row)
    ) WITHOUT ROWID""",
)


@attrs.frozen
class Bearer:
    """The message that brought reports; ``received`` in seconds since the epoch."""

    queue_id: str
    received: float
    sender: ReportSender


@attrs.frozen
class Kept:
    """``id``: its number here.  ``is_new`` False: it was there already."""

    id: int
    is_new: bool


class ReportBook:
    """``path`` None: in memory.  Opened by the first write.  Its methods block; one caller at a time."""

    def __init__(self, path: str | None, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None

    def keep(
        self, reports: Sequence[ReportIn], bearer: Bearer, keep_seconds: float, most_octets: int
    ) -> list[Kept]:
        """Write them down, all or none; what became of each.  sqlite3.Error, or OSError, where that fails: nothing is
        written then."""
        connection = self._open()
        with _transaction(connection):
            kept = [_insert(connection, one, bearer) for one in reports]
            new = {one.id for one in kept if one.is_new}
            _prune(connection, bearer.received - keep_seconds, most_octets, new)
        return kept

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """For tests, of what is in memory."""
        return question(self._open())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._path is not None and not os.path.exists(self._path):
                # SQLite would make it for all to read, whatever is in the folder.
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self._path or ":memory:", timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _prepare(connection: sqlite3.Connection) -> None:
    for pragma in ("auto_vacuum = INCREMENTAL", "journal_mode = DELETE", "synchronous = EXTRA", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    with _transaction(connection):
        version = _version(connection)
        if version > VERSION:
            raise sqlite3.DatabaseError(f"its schema is version {version}, this mailgw knows up to {VERSION}")
        if version == 0:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _insert(connection: sqlite3.Connection, report: ReportIn, bearer: Bearer) -> Kept:
    kind = "dmarc" if isinstance(report, DmarcReportIn) else "tls"
    known = (
        kind, bearer.sender.domain, int(bearer.sender.is_trusted), report.organization, report.report_id, report.begin
    )
    domain, policy = (report.domain, dict(report.policy)) if isinstance(report, DmarcReportIn) else ("", {})
    added = connection.execute(
        "INSERT OR IGNORE INTO report (kind, sender, trusted, organization, report_id, begin, end, dmarc, contact,"
        " domain, policy, received, queue_id) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (*known, report.end, bearer.sender.dmarc, report.contact, domain, _json(policy), bearer.received,
         bearer.queue_id),
    )
    if not added.rowcount:
        found = connection.execute(
            "SELECT id FROM report WHERE kind = ? AND sender = ? AND trusted = ? AND organization = ?"
            " AND report_id = ? AND begin = ?", known
        ).fetchone()
        return Kept(int(found[0]), False)
    number = added.lastrowid
    assert number is not None
    if isinstance(report, DmarcReportIn):
        connection.executemany(
            "INSERT INTO dmarc_row VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            ((number, at, one.source, one.count, one.disposition, one.dkim, one.spf, one.header_from,
              one.envelope_from, one.envelope_to, _json(one.reasons), _json([attrs.astuple(x) for x in one.auth]))
             for at, one in enumerate(report.rows)),
        )
    else:
        _insert_policies(connection, number, report)
    return Kept(number, True)


def _insert_policies(connection: sqlite3.Connection, number: int, report: TlsReportIn) -> None:
    connection.executemany(
        "INSERT INTO tls_row VALUES (?,?,?,?,?,?,?,?,?)",
        ((number, at, one.domain, one.kind, one.successes, one.failures, _json(one.strings), _json(one.mx_patterns),
          _json([attrs.astuple(x) for x in one.details]))
         for at, one in enumerate(report.policies)),
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _prune(connection: sqlite3.Connection, oldest: float, most_octets: int, new: set[int]) -> None:
    """``PRUNED`` reports at most, and none of ``new``."""
    gone = 0
    for (number,) in connection.execute(
        "SELECT id FROM report WHERE received < ? ORDER BY received LIMIT ?", (oldest, PRUNED)
    ).fetchall():
        if number not in new:
            _remove(connection, number)
            gone += 1
    while gone < PRUNED and _octets(connection) > most_octets:
        found = connection.execute("SELECT id FROM report ORDER BY trusted, received LIMIT 1").fetchone()
        if found is None or found[0] in new:
            break
        _remove(connection, found[0])
        gone += 1
    if gone:
        connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()


def _octets(connection: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def _remove(connection: sqlite3.Connection, number: int) -> None:
    for table, column in (("dmarc_row", "report"), ("tls_row", "report"), ("report", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608  # constants
