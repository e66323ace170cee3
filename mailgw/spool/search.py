"""The operator's questions and orders, and the dispatcher's look at the lanes, as SQL; blocking functions.

They serve the running gateway and ``spool.offline`` alike.
"""

import json
import math
import sqlite3
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from mailgw.mail.message import Agenda, LaneRow, Page, Position, Query, QueueRow, RowState, Stretch, Tally
from mailgw.queue import suspension
from mailgw.queue.reasons import HELD_BY_OPERATOR, HELD_BY_SENDER, OF_ANOTHER_LANE
from mailgw.spool.batch import Value
from mailgw.spool.rows import UNRECORDED, tells_of_lane
from mailgw.spool.schema import connect_reader

T = TypeVar("T")

# Each lane costs two looks into the index for itself and for each priority, however many rows it has (SQLite plans no
# loose scan by itself).
_WAITING = """
    WITH RECURSIVE waiting_lane (lane) AS (
        SELECT (SELECT lane FROM recipient INDEXED BY waiting WHERE token IS NULL AND due IS NOT NULL
            ORDER BY lane LIMIT 1)
        UNION ALL
        SELECT (SELECT lane FROM recipient INDEXED BY waiting WHERE token IS NULL AND due IS NOT NULL
            AND lane > waiting_lane.lane ORDER BY lane LIMIT 1)
        FROM waiting_lane WHERE waiting_lane.lane IS NOT NULL
    )
    , waiting_priority (lane, priority) AS (
        SELECT lane, (SELECT priority FROM recipient r INDEXED BY waiting WHERE r.lane = waiting_lane.lane
            AND token IS NULL AND due IS NOT NULL ORDER BY priority DESC LIMIT 1)
        FROM waiting_lane WHERE lane IS NOT NULL
        UNION ALL
        SELECT lane, (SELECT priority FROM recipient r INDEXED BY waiting WHERE r.lane = waiting_priority.lane
            AND r.priority < waiting_priority.priority AND token IS NULL AND due IS NOT NULL
            ORDER BY priority DESC LIMIT 1)
        FROM waiting_priority WHERE waiting_priority.priority IS NOT NULL
    )"""

_ALL_DUE_LANES = _WAITING + """
    SELECT lane, min(due) FROM (
        SELECT lane, (SELECT due FROM recipient r INDEXED BY waiting WHERE r.lane = waiting_priority.lane
            AND r.priority = waiting_priority.priority AND token IS NULL AND due IS NOT NULL
            ORDER BY due LIMIT 1) AS due
        FROM waiting_priority WHERE priority IS NOT NULL
        UNION ALL
        SELECT lane, due FROM recipient INDEXED BY leased WHERE token IS NOT NULL AND due <= ?1
    ) GROUP BY lane HAVING min(due) <= ?1 ORDER BY 2, 1"""  # noqa: S608  # constants

_NEWLY_DUE_LANES = """
    SELECT lane, min(due) FROM (
        SELECT lane, due FROM recipient INDEXED BY by_due
        WHERE token IS NULL AND due IS NOT NULL AND due > ?2 AND due <= ?1
        UNION ALL
        SELECT lane, due FROM recipient INDEXED BY leased WHERE token IS NOT NULL AND due <= ?1
    ) GROUP BY lane ORDER BY 2, 1"""
_NEXT_DUE = (
    "SELECT due FROM recipient INDEXED BY by_due WHERE token IS NULL AND due IS NOT NULL AND due > ?"
    " ORDER BY due LIMIT 1"
)
_NEXT_LATE = (
    "SELECT late FROM recipient INDEXED BY late WHERE token IS NULL AND due IS NOT NULL AND late IS NOT NULL"
    " ORDER BY late LIMIT 1"
)

# What is due after a time, but for what was not attempted yet and waits for its release (RFC 4865).
_DUE_AFTER = """
    SELECT r.queue_id, r.row FROM recipient r INDEXED BY by_due
    WHERE r.due > ? AND r.token IS NULL AND r.due IS NOT NULL
    AND (r.attempts > 0 OR NOT EXISTS (SELECT 1 FROM message m INDEXED BY parametered WHERE m.queue_id = r.queue_id
        AND m.parameters <> '' AND ' ' || m.parameters LIKE '% HOLDUNTIL=%'))"""

_TELLS = " AND ".join(
    f"reason NOT GLOB '{mark}{marked}*'"
    for mark in ("", f"{HELD_BY_OPERATOR}: ") for marked in (OF_ANOTHER_LANE, HELD_BY_SENDER)
) + f" AND reason <> '{HELD_BY_OPERATOR}'"
# The reason of the one that is due last, of those that tell of the lane (``rows.tells_of_lane``) if there are any: with
# that and its time before it, so that max() finds it.
_LANES = f"""
    SELECT lane, sum(due IS NOT NULL AND (token IS NULL OR due <= ?1)),
        sum(due IS NOT NULL AND due <= ?1), sum(token IS NOT NULL AND due > ?1), sum(due IS NULL),
        min(CASE WHEN token IS NULL OR due <= ?1 THEN due END),
        coalesce(substr(max(CASE WHEN reason <> '' THEN
            printf('%d%017.3f', {_TELLS}, coalesce(due, 0)) || reason END), 19), '')
    FROM recipient r WHERE {{where}} GROUP BY lane ORDER BY lane"""  # noqa: S608  # constants

# In one row: with each that is fetched this thread waits for its turn anew, some milliseconds in a busy process.
_TALLIES = """
    SELECT json_group_array(json_array(lane, reason, waiting, due_now, active, held, next_due)) FROM (
        SELECT lane, reason, sum(due IS NOT NULL AND (token IS NULL OR due <= ?1)) AS waiting,
            sum(due IS NOT NULL AND due <= ?1) AS due_now, sum(token IS NOT NULL AND due > ?1) AS active,
            sum(due IS NULL) AS held, min(CASE WHEN token IS NULL OR due <= ?1 THEN due END) AS next_due
        FROM recipient WHERE (queue_id, row) > (?2, ?3) AND (queue_id, row) <= (?4, ?5)
        GROUP BY lane, reason)"""

# CROSS JOIN: recipients in their order, messages by look-up; so a limit ends the scan, and no body is read.
_ROWS = """
    SELECT r.queue_id, m.arrived, r.sender, r.recipient, r.domain, r.lane,
        CASE WHEN r.due IS NULL THEN 'held' WHEN r.token IS NOT NULL AND r.due > ? THEN 'active' ELSE 'waiting' END,
        CASE WHEN r.token IS NULL OR r.due <= ? THEN r.due END, r.attempts, r.reason,
        m.size, m.peer, m.helo, m.login, m.protocol,
        coalesce((SELECT p.parameters FROM message p INDEXED BY parametered
            WHERE p.queue_id = r.queue_id AND p.parameters <> ''), ''), r.parameters, r.row
    FROM recipient r CROSS JOIN message m ON m.queue_id = r.queue_id
    WHERE {where} ORDER BY r.queue_id {order}, r.row {order} LIMIT ?"""

_WAITS = "r.due IS NOT NULL AND (r.token IS NULL OR r.due <= ?)"
# As ``queue.suspension.Suspensions`` has it: the lane, its destination, or all of its backend.
_IS_SUSPENDED = """EXISTS (SELECT 1 FROM json_each(?) word WHERE word.value IN (
    r.lane, substr(r.lane, instr(r.lane || '/', '/') + 1), substr(r.lane, 1, instr(r.lane || '/', '/') - 1) || '/*'))"""

STRETCH = 2_500
"""Rows that a page looks through at once, before it looks at the clock: some 5 ms."""
_BEFORE_ALL: Position = ("", 0)
_BEHIND_ALL: Position = ("\U0010ffff", 0)


def search(connection: sqlite3.Connection, query: Query, limit: int, now: float) -> list[QueueRow]:
    where, values = condition(query, now)
    return _rows(connection, where, values, limit, now, "")


def _rows(
    connection: sqlite3.Connection, where: str, values: list[Value], limit: int, now: float, order: str
) -> list[QueueRow]:
    found = connection.execute(_ROWS.format(where=where, order=order), [now, now, *values, limit])
    return [QueueRow(*row) for row in found]


def page(
    connection: sqlite3.Connection, query: Query, limit: int, after: Position | None, seconds: float,
    newest_first: bool, now: float, clock: Callable[[], float] = time.monotonic, stretch: int = STRETCH,
) -> Page:
    """As ``mail.ports.Spool`` has it.  It goes through the rows a stretch at a time: each takes as long as it takes,
    however many rows there are."""
    where, values = condition(query, now)
    at = after or (_BEHIND_ALL if newest_first else _BEFORE_ALL)
    order, behind, up_to = ("DESC", "<", ">=") if newest_first else ("", ">", "<=")
    if query.queue_id is not None:  # the key says where they are
        stretch = -1
    end = clock() + seconds
    rows: list[QueueRow] = []
    while True:
        last = connection.execute(
            f"SELECT queue_id, row FROM recipient WHERE (queue_id, row) {behind} (?, ?)"  # noqa: S608  # constants
            f" ORDER BY queue_id {order}, row {order} LIMIT 1 OFFSET ?", [*at, stretch - 1]
        ).fetchone() if stretch > 0 else None
        within = f"(r.queue_id, r.row) {behind} (?, ?)"
        bounds: list[Value] = [*at]
        if last is not None:
            within += f" AND (r.queue_id, r.row) {up_to} (?, ?)"
            bounds += last
        wanted = limit - len(rows)
        rows += _rows(connection, f"{where} AND {within}", [*values, *bounds], wanted, now, order)
        if len(rows) == limit:
            return Page(tuple(rows), rows[-1].position)
        if last is None or clock() >= end:
            return Page(tuple(rows), last)
        at = last


def stretch(connection: sqlite3.Connection, after: Position | None, now: float, rows: int = STRETCH) -> Stretch:
    """As ``mail.ports.Spool`` has it."""
    at = after or _BEFORE_ALL
    last = connection.execute(
        "SELECT queue_id, row FROM recipient WHERE (queue_id, row) > (?, ?) ORDER BY queue_id, row LIMIT 1 OFFSET ?",
        [*at, rows - 1],
    ).fetchone()
    found, = connection.execute(_TALLIES, (now, *at, *(last or _BEHIND_ALL))).fetchone()
    tallies = (Tally(lane, reason, tells_of_lane(reason), *counts) for lane, reason, *counts in json.loads(found))
    return Stretch(tuple(tallies), last)


def agenda(connection: sqlite3.Connection, since: float, now: float) -> Agenda:
    if math.isinf(since):
        lanes = connection.execute(_ALL_DUE_LANES, (now,))
    else:
        lanes = connection.execute(_NEWLY_DUE_LANES, (now, since))
    due = lanes.fetchall()
    next_due = connection.execute(_NEXT_DUE, (now,)).fetchone()
    next_late = connection.execute(_NEXT_LATE).fetchone()
    return Agenda(tuple(due), next_due and next_due[0], next_late and next_late[0])


def due_after(connection: sqlite3.Connection, latest: float) -> list[tuple[str, int]]:
    """The rows, as (queue_id, row), that nobody holds and that are due after ``latest``, but for those to be held."""
    return connection.execute(_DUE_AFTER, (latest,)).fetchall()


def find_content(
    connection: sqlite3.Connection, queue_id: str, limit_octets: int, start_octets: int
) -> tuple[bytes, str | None, int] | None:
    """Of a message, from ``start_octets``, those octets that are in the database (which stand on top of its file, where
    it has one), the file's place, and from where in that the rest is; None where there is no such message."""
    found = connection.execute(
        "SELECT substr(body, ?, ?), body_file, length(body) FROM message WHERE queue_id = ?",
        (start_octets + 1, limit_octets, queue_id),
    ).fetchone()
    return (found[0] or b"", found[1], max(0, start_octets - (found[2] or 0))) if found else None


def is_queued(connection: sqlite3.Connection, queue_id: str) -> bool:
    return connection.execute("SELECT 1 FROM message WHERE queue_id = ?", (queue_id,)).fetchone() is not None


def lanes(connection: sqlite3.Connection, query: Query, now: float) -> list[LaneRow]:
    """One look at every row that matches."""
    where, values = condition(query, now)
    return [LaneRow(*row) for row in connection.execute(_LANES.format(where=where), [now, *values])]


def condition(query: Query, now: float) -> tuple[str, list[Value]]:
    """A WHERE clause over ``recipient r`` and its values; the clause is made of the constants below alone."""
    clauses: list[str] = []
    values: list[Value] = []
    for column, wanted in (
        ("queue_id", query.queue_id), ("sender", query.sender), ("recipient", query.recipient),
        ("domain", query.domain), ("lane", query.lane),
    ):
        if wanted is not None:
            clauses.append(f"r.{column} = ?")
            values.append(wanted)
    if query.login is not None:
        clauses.append(
            "EXISTS (SELECT 1 FROM message a WHERE a.queue_id = r.queue_id AND a.login = ? COLLATE NOCASE)"
        )
        values.append(query.login)
    match query.state:
        case None:
            pass
        case RowState.WAITING:
            clauses.append(_WAITS)
            values.append(now)
        case suspension.SUSPENDED:
            clauses.append(f"{_WAITS} AND {_IS_SUSPENDED}")
            values += [now, json.dumps(query.suspensions)]
        case RowState.ACTIVE:
            clauses.append("r.token IS NOT NULL AND r.due > ?")
            values.append(now)
        case RowState.HELD:
            clauses.append("r.due IS NULL")
        case _:
            clauses.append("0")
    if query.address is not None:
        clauses.append("(instr(lower(r.recipient), lower(?)) > 0 OR instr(lower(r.sender), lower(?)) > 0)")
        values += [query.address, query.address]
    if query.reason is not None:
        clauses.append("instr(lower(r.reason), lower(?)) > 0")  # of ASCII letters alone, as ``folded``
        values.append(query.reason)
    if query.record == "":
        clauses.append(f"NOT (r.due IS NULL AND substr(r.reason, 1, {len(UNRECORDED)}) = '{UNRECORDED}')")
    elif query.record is not None:
        mark = f"{UNRECORDED}{query.record}"
        clauses.append("r.due IS NULL AND (r.reason = ? OR substr(r.reason, 1, ?) = ?)")
        values += [mark, len(mark) + 2, f"{mark}; "]
    for sign, then in (("<", query.arrived_before), (">", query.arrived_after)):
        if then is not None:
            clauses.append(
                f"EXISTS (SELECT 1 FROM message a WHERE a.queue_id = r.queue_id AND a.arrived {sign} ?)"  # noqa: S608
            )
            values.append(then)
    return " AND ".join(clauses) or "1", values


class Reader:
    """A second connection, made at first use.  Its methods block; one caller at a time is served."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = Lock()

    def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            if self._connection is None:
                self._connection = connect_reader(self._path)
            return question(self._connection)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def some_octets(
    found: tuple[bytes, str | None, int] | None, read_file: Callable[[str, int, int], bytes], limit_octets: int
) -> bytes | None:
    """What ``find_content`` found, with so many octets of its file, where it is in one, that it is ``limit_octets``.
    ``read_file`` has the place, from where, and how many."""
    if found is None:
        return None
    octets, place, start = found
    if place is not None and len(octets) < limit_octets:
        octets += read_file(place, start, limit_octets - len(octets))
    return octets
