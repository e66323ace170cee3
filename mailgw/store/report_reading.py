"""Questions to ``reports.sqlite``: what came in, and what it says.  Blocking functions, on connections that change
nothing."""

import functools
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import attrs

from mailgw.store.database import reader
from mailgw.store.reports import SCHEMA


@attrs.frozen
class Wanted:
    """Which reports: received since, and of days that ended since (epoch seconds); about ``domain`` or below it, ""
    for all; ``trusted``: those alone whose sender DMARC vouched for."""

    since: float
    domain: str = ""
    trusted: bool = False


@attrs.frozen
class Report:
    """As the table has it; times in seconds since the epoch."""

    id: int
    kind: str
    sender: str
    trusted: bool
    dmarc: str
    organization: str
    report_id: str
    begin: int
    end: int
    contact: str
    domain: str
    policy: dict[str, str]
    received: float
    queue_id: str


@attrs.frozen
class DmarcLine:
    """A row of a report."""

    report: int
    source: str
    count: int
    disposition: str
    dkim: str
    spf: str
    header_from: str
    envelope_from: str
    envelope_to: str
    reasons: list[str]
    auth: list[list[str]]

    @property
    def passes(self) -> bool:
        return "pass" in (self.dkim, self.spf)


@attrs.frozen
class TlsLine:
    """A policy of a report; ``details`` as the table has them."""

    report: int
    domain: str
    policy: str
    successes: int
    failures: int
    strings: list[str]
    mx: list[str]
    details: list[list[Any]]


_COLUMNS = (
    "id, kind, sender, trusted, dmarc, organization, report_id, begin, end, contact, domain, policy, received, queue_id"
)
_DMARC = (
    "report, source, count, disposition, dkim, spf, header_from, envelope_from, envelope_to, reasons, auth"
)
_TLS = "report, domain, policy, successes, failures, strings, mx, details"


def connect_reader(path: str) -> sqlite3.Connection | None:
    """A connection that changes nothing; None where nothing was ever kept.  sqlite3.Error where it cannot be read, or
    is newer than we are."""
    return reader(path, SCHEMA)


def reports(connection: sqlite3.Connection, wanted: Wanted) -> Iterator[Report]:
    """In the order in which they came."""
    where, values = _condition(wanted)
    for row in connection.execute(f"SELECT {_COLUMNS} FROM report r WHERE {where} ORDER BY received, id", values):  # noqa: S608
        yield _report(row)


def report(connection: sqlite3.Connection, number: int) -> Report | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM report WHERE id = ?", (number,)).fetchone()  # noqa: S608
    return None if row is None else _report(row)


def dmarc_lines(connection: sqlite3.Connection, number: int) -> Iterator[DmarcLine]:
    """Of one report."""
    for row in connection.execute(f"SELECT {_DMARC} FROM dmarc_row WHERE report = ? ORDER BY row", (number,)):  # noqa: S608
        yield DmarcLine(*row[:9], *map(_loaded, row[9:]))


def tls_lines(connection: sqlite3.Connection, number: int) -> Iterator[TlsLine]:
    """Of one report."""
    for row in connection.execute(f"SELECT {_TLS} FROM tls_row WHERE report = ? ORDER BY row", (number,)):  # noqa: S608
        yield TlsLine(*row[:5], *map(json.loads, row[5:]))


@functools.lru_cache(10_000)  # of a source, and often of a reporter, they are the same each day
def _loaded(text: str) -> Any:
    """Nobody's to change."""
    return json.loads(text)


def _report(row: tuple[Any, ...]) -> Report:
    found = Report(*row)
    return attrs.evolve(found, trusted=bool(row[3]), policy=json.loads(row[11]))


def _condition(wanted: Wanted) -> tuple[str, list[object]]:
    clauses = ["received >= ? AND end >= ?"]
    found: list[object] = [wanted.since, wanted.since]
    if wanted.trusted:
        clauses.append("trusted = 1")
    if wanted.domain:
        below = "%." + wanted.domain.replace("_", r"\_")  # domains have no other wild card
        of_domain = "({0} = ? OR {0} LIKE ? ESCAPE '\\')"
        clauses.append(
            f"({of_domain.format('domain')} OR EXISTS (SELECT 1 FROM tls_row t WHERE t.report = r.id"  # noqa: S608
            f" AND {of_domain.format('t.domain')}))"
        )
        found += [wanted.domain, below, wanted.domain, below]
    return " AND ".join(clauses), found
