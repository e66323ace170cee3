"""The reports that came in, in ``reports.sqlite`` below the state folder: one row a report, one for each thing it says.

Several processes may write (each worker delivers; ``store.database``).  To route all reports through one worker was
rejected: a lane belongs to no worker.

Rules:
    A report is on disk when ``keep`` returns.
    A report is known by who sent it and whether that is vouched for, by its organization, its id and its begin.  The
    first one stays: so a repeat adds nothing, and no stranger's report stands in another's place.
    What is older than ``keep_seconds``, and the oldest beyond ``most_octets``, goes as new ones come, ``PRUNED`` at a
    time; what is old not where the clock may have leapt (``SETTLED_SECONDS``); where there is too much, what nobody
    vouches for goes first, then the oldest of the family of senders that has the most here.
    No family of senders that DMARC vouches for has more than one of ``SHARES`` of ``most_octets``: its own oldest go.
    So nobody with a domain of his own takes away what others reported; who has hundreds of domains still may.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import attrs

from mailgw.store.database import BUSY_SECONDS, Database, Schema, Sharing, transaction
from mailgw.trust.dmarc_report_in import DmarcReportIn
from mailgw.trust.report_sender import ReportSender
from mailgw.trust.report_words import family_of
from mailgw.trust.reports_in import ReportIn
from mailgw.trust.tls_report_in import TlsReportIn

T = TypeVar("T")

FILE: Final = "reports.sqlite"
PRUNED: Final = 100
"""Reports that one write takes away at most, which is as many as one message may bring."""
SHARES: Final = 10
SETTLED_SECONDS: Final = 7 * 86400.0
RECENT_SECONDS: Final = 35 * 86400.0
"""What is old goes only where another report is there that came between these two ago; of a ``keep_seconds`` that is
less, between half of it and all of it.  So a clock that is further ahead than that takes nothing away until it has been
for a week, and one that is less far ahead takes what is too young by no more.  To hold it against the newest report
would not do: the second that comes while the clock is wrong would find the first."""

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
        family TEXT NOT NULL,           -- of sender: report_words.family_of
        octets INTEGER NOT NULL,        -- about what it takes, with its rows
        UNIQUE (kind, sender, trusted, organization, report_id, begin)
    )""",
    """CREATE INDEX report_received ON report (received)""",
    """CREATE INDEX report_untrusted ON report (trusted, received)""",
    """CREATE INDEX report_family ON report (trusted, family, received, octets)""",
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

_ENTRY_OCTETS: Final = 100
"""A row, beside its words."""
# From version 1.
_SECOND = (
    "ALTER TABLE report ADD COLUMN family TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE report ADD COLUMN octets INTEGER NOT NULL DEFAULT 0",
    """UPDATE report SET family = family_of(sender), octets = 100
        + (SELECT coalesce(sum(100 + length(auth) + length(reasons) + length(header_from) + length(envelope_from)), 0)
           FROM dmarc_row WHERE report = report.id)
        + (SELECT coalesce(sum(100 + length(strings) + length(mx) + length(details)), 0)
           FROM tls_row WHERE report = report.id)""",
    "CREATE INDEX report_family ON report (trusted, family, received, octets)",
)
SCHEMA: Final = Schema(2, _SCHEMA, Sharing.SHARED, {1: _SECOND}, {"family_of": family_of})


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
        self._file = Database(path, SCHEMA, busy_seconds)

    def keep(
        self, reports: Sequence[ReportIn], bearer: Bearer, keep_seconds: float, most_octets: int
    ) -> list[Kept]:
        """Write them down, all or none; what became of each.  sqlite3.Error, or OSError, where that fails: nothing is
        written then."""
        connection = self._file.open()
        with transaction(connection):
            kept = [_insert(connection, one, bearer) for one in reports]
            new = {one.id for one in kept if one.is_new}
            gone = _prune_old(connection, bearer.received, keep_seconds, new)
            if bearer.sender.is_trusted:
                share = most_octets // SHARES
                gone += _prune_family(connection, family_of(bearer.sender.domain), share, new, PRUNED - gone)
            gone += _prune(connection, most_octets, new, PRUNED - gone)
            if gone:
                connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        return kept

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """For tests, of what is in memory."""
        return question(self._file.open())

    def close(self) -> None:
        self._file.close()


def _insert(connection: sqlite3.Connection, report: ReportIn, bearer: Bearer) -> Kept:
    kind = "dmarc" if isinstance(report, DmarcReportIn) else "tls"
    known = (
        kind, bearer.sender.domain, int(bearer.sender.is_trusted), report.organization, report.report_id, report.begin
    )
    domain, policy = (report.domain, dict(report.policy)) if isinstance(report, DmarcReportIn) else ("", {})
    added = connection.execute(
        "INSERT OR IGNORE INTO report (kind, sender, trusted, organization, report_id, begin, end, dmarc, contact,"
        " domain, policy, received, queue_id, family, octets) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (*known, report.end, bearer.sender.dmarc, report.contact, domain, _json(policy), bearer.received,
         bearer.queue_id, family_of(bearer.sender.domain), 0),
    )
    if not added.rowcount:
        found = connection.execute(
            "SELECT id FROM report WHERE kind = ? AND sender = ? AND trusted = ? AND organization = ?"
            " AND report_id = ? AND begin = ?", known
        ).fetchone()
        return Kept(int(found[0]), False)
    number = added.lastrowid
    assert number is not None
    rows: Iterator[tuple[object, ...]]
    if isinstance(report, DmarcReportIn):
        table, rows = "dmarc_row VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", _dmarc_rows(number, report)
    else:
        table, rows = "tls_row VALUES (?,?,?,?,?,?,?,?,?)", _tls_rows(number, report)
    octets = _ENTRY_OCTETS

    def weighed() -> Iterator[tuple[object, ...]]:
        nonlocal octets
        for row in rows:
            octets += _ENTRY_OCTETS + sum([len(one) for one in row if isinstance(one, str)])
            yield row

    connection.executemany(f"INSERT INTO {table}", weighed())
    connection.execute("UPDATE report SET octets = ? WHERE id = ?", (octets, number))
    return Kept(number, True)


def _dmarc_rows(number: int, report: DmarcReportIn) -> Iterator[tuple[object, ...]]:
    for at, one in enumerate(report.rows):
        yield (number, at, one.source, one.count, one.disposition, one.dkim, one.spf, one.header_from,
               one.envelope_from, one.envelope_to, _json(one.reasons), _json([attrs.astuple(x) for x in one.auth]))


def _tls_rows(number: int, report: TlsReportIn) -> Iterator[tuple[object, ...]]:
    for at, one in enumerate(report.policies):
        yield (number, at, one.domain, one.kind, one.successes, one.failures, _json(one.strings),
               _json(one.mx_patterns), _json([attrs.astuple(x) for x in one.details]))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# Of each: none of ``new`` goes, ``PRUNED`` at most in all; how many went.

def _prune_old(connection: sqlite3.Connection, now: float, keep_seconds: float, new: set[int]) -> int:
    oldest = now - keep_seconds
    between = (now - min(RECENT_SECONDS, keep_seconds), now - min(SETTLED_SECONDS, keep_seconds / 2))
    if connection.execute("SELECT 1 FROM report WHERE received BETWEEN ? AND ? LIMIT 1", between).fetchone() is None:
        return 0
    found = connection.execute(
        "SELECT id FROM report WHERE received < ? ORDER BY received LIMIT ?", (oldest, PRUNED)).fetchall()
    gone = [number for (number,) in found if number not in new]
    for number in gone:
        _remove(connection, number)
    return len(gone)


def _prune_family(connection: sqlite3.Connection, family: str, most_octets: int, new: set[int], most: int) -> int:
    """The oldest of a family that is vouched for, while it has more than ``most_octets``."""
    where = "FROM report WHERE trusted = 1 AND family = ?"
    held = connection.execute(f"SELECT coalesce(sum(octets), 0) {where}", (family,)).fetchone()[0]
    gone = 0
    if held > most_octets:
        for number, octets in connection.execute(
            f"SELECT id, octets {where} ORDER BY received, id LIMIT ?", (family, PRUNED)
        ).fetchall():
            if held <= most_octets or gone >= most:
                break
            if number not in new:
                _remove(connection, number)
                held -= octets
                gone += 1
    return gone


def _prune(connection: sqlite3.Connection, most_octets: int, new: set[int], most: int) -> int:
    """While all of it has more: what nobody vouches for, then of the largest family; the oldest of each."""
    gone = 0
    families: dict[str, int] = {}
    while gone < most and _octets(connection) > most_octets:
        found = connection.execute(
            "SELECT id, octets FROM report WHERE trusted = 0 ORDER BY received, id LIMIT 1").fetchone()
        if found is None:
            if not families:
                families = dict(connection.execute(
                    "SELECT family, sum(octets) FROM report WHERE trusted = 1 GROUP BY family").fetchall())
            largest = max(families, key=lambda one: families[one], default="")
            found = connection.execute(
                "SELECT id, octets FROM report WHERE trusted = 1 AND family = ? ORDER BY received, id LIMIT 1",
                (largest,)).fetchone()
            if found is not None:
                families[largest] -= found[1]
        if found is None or found[0] in new:
            break
        _remove(connection, found[0])
        gone += 1
    return gone


def _octets(connection: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def _remove(connection: sqlite3.Connection, number: int) -> None:
    for table, column in (("dmarc_row", "report"), ("tls_row", "report"), ("report", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))  # noqa: S608  # constants
