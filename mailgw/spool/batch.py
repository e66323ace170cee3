"""What the writer does to the database: one transaction's jobs, those of the hot path many at a time.

Between two statements the thread gives the interpreter's lock away and waits to get it back, which under
load takes longer than the statement.  So a group of new messages is one INSERT with many rows, a group of
finished ones one DELETE; ``executemany`` would still step row by row.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import attrs
from twisted.internet.defer import Deferred

_ROWS_A_STATEMENT = 16  # at most; each count is a statement of its own in the cache

# Before the rows, one row, after the rows.
_Statement = tuple[str, str, str]
_INSERT_MESSAGES: _Statement = (
    "INSERT INTO message (queue_id, arrived, reverse_path, body_type, size, peer, helo, login, protocol,"
    " session_id, body_file, body, parameters, ours) VALUES ",
    "(?,?,?,?,?,?,?,?,?,?,?,?,?,?)", ""
)
_INSERT_RECIPIENTS: _Statement = (
    "INSERT INTO recipient (queue_id, row, sender, recipient, domain, lane, due, attempts, reason, warned, token,"
    " parameters, priority, late) VALUES ",
    "(?,?,?,?,?,?,?,0,?,0,?,?,?,?)", ""
)
# CROSS JOIN: look up what is done in the table, never the other way round.
_FINISH_RECIPIENTS: _Statement = (
    "WITH done (queue_id, row, token) AS (VALUES ",
    "(?,?,?)",
    ") DELETE FROM recipient WHERE (queue_id, row) IN (SELECT r.queue_id, r.row FROM done CROSS JOIN recipient r"
    " WHERE r.queue_id = done.queue_id AND r.row = done.row AND r.token = done.token)"
)
_FORGET_MESSAGES: _Statement = (
    "DELETE FROM message WHERE queue_id IN (",
    "?",
    ") AND NOT EXISTS (SELECT 1 FROM recipient r WHERE r.queue_id = message.queue_id)"
)

Value = str | int | float | bytes | None


@attrs.define(eq=False)
class Job:
    """Something to be done in a transaction; ``deferred`` fires with its result after COMMIT."""

    deferred: Deferred[Any] = attrs.field(init=False)


@attrs.define(eq=False)
class Insertion(Job):
    """A new message: the columns of its row, and those of its recipients (without attempts, warned)."""

    message: tuple[Value, ...]
    recipients: Sequence[tuple[Value, ...]]


@attrs.define(eq=False)
class Finishing(Job):
    """Recipients that are done with: (queue_id, row, token) each, all of one message."""

    queue_id: str
    rows: Sequence[tuple[str, int, int]]
    has_file: bool


@attrs.define(eq=False)
class Call(Job):
    """Anything else: ``function`` is called with the connection and the list to name removed body files in."""

    function: Callable[[sqlite3.Connection, list[str]], Any]


def run_jobs(connection: sqlite3.Connection, jobs: Sequence[Job], removed_files: list[str]) -> list[Any]:
    """Do ``jobs`` within the transaction that is open; their results in order.

    Insertions and finishings between two calls may be done in any order: whoever records has waited for
    the commit.
    """
    results: list[Any] = []
    insertions: list[Insertion] = []
    finishings: list[Finishing] = []

    def flush() -> None:
        if insertions:
            insert(connection, insertions)
            insertions.clear()
        if finishings:
            finish(connection, finishings, removed_files)
            finishings.clear()

    for job in jobs:
        if isinstance(job, Insertion):
            insertions.append(job)
            results.append(None)
        elif isinstance(job, Finishing):
            finishings.append(job)
            results.append(None)
        else:
            assert isinstance(job, Call)
            flush()
            results.append(job.function(connection, removed_files))
    flush()
    return results


def insert(connection: sqlite3.Connection, insertions: Sequence[Insertion]) -> None:
    """The rows of new messages."""
    _in_groups(connection, _INSERT_MESSAGES, [job.message for job in insertions])
    _in_groups(connection, _INSERT_RECIPIENTS, [row for job in insertions for row in job.recipients])


def finish(connection: sqlite3.Connection, finishings: Sequence[Finishing], removed_files: list[str]) -> None:
    """Remove rows that their tokens still hold, and messages that wait for nobody any more."""
    _in_groups(connection, _FINISH_RECIPIENTS, [row for job in finishings for row in job.rows])
    forget_messages(connection, [job.queue_id for job in finishings if job.has_file], removed_files)
    _in_groups(connection, _FORGET_MESSAGES, [(job.queue_id,) for job in finishings if not job.has_file])


def forget_messages(connection: sqlite3.Connection, queue_ids: Iterable[str], removed_files: list[str]) -> None:
    """Remove those of the messages that have no recipients any more, and name their body files."""
    for queue_id in queue_ids:
        found = connection.execute(
            "SELECT body_file FROM message WHERE queue_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM recipient r WHERE r.queue_id = message.queue_id)", (queue_id,)
        ).fetchone()
        if found:
            connection.execute("DELETE FROM message WHERE queue_id = ?", (queue_id,))
            if found[0] is not None:
                removed_files.append(found[0])


def _in_groups(
    connection: sqlite3.Connection, statement: _Statement, rows: Sequence[tuple[Value, ...]]
) -> None:
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        group = rows[start:start + _ROWS_A_STATEMENT]
        connection.execute(_for(statement, len(group)), [value for row in group for value in row])


@cache
def _for(statement: _Statement, count: int) -> str:
    head, row, tail = statement
    return head + ",".join([row] * count) + tail
