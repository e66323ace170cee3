"""Claims and records as SQL: functions for the writer's thread, within its transaction."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import assert_never

from mailgw.mail.message import Claim, Content, Finished, Held, Message, Postponed, QueuedRecipient, Settlement
from mailgw.mail.parameters import stored_mail_parameters, stored_rcpt_parameters
from mailgw.spool.batch import Insertion, forget_messages, insert
from mailgw.spool.rows import storable_reason, stored_body_type, stored_mailbox, stored_path
from mailgw.spool.search import due_after, is_queued

# RFC 6710 s5: from -9 to 9
MAX_PRIORITY = 9

ContentOf = Callable[[bytes | None, str | None, int], Content]
"""The content of a row: its body or the place of its file, and the size."""


def end_all_leases(connection: sqlite3.Connection, now: float) -> None:
    """At start: those who held them are gone."""
    connection.execute("UPDATE recipient SET token = NULL, due = ? WHERE token IS NOT NULL", (now,))


def claim_due(
    connection: sqlite3.Connection, lane: str, limit: int, now: float, lease_end: float,
    next_token: Callable[[], int], content_of: ContentOf,
) -> tuple[Claim, ...]:
    """Lease at most ``limit`` messages of a lane, as ``mail.ports.Spool`` says; ends leases whose time is over."""
    connection.execute("UPDATE recipient SET token = NULL WHERE token IS NOT NULL AND due <= ?", (now,))
    claims = []
    for queue_id in _due_messages(connection, lane, limit, now):
        recipients = tuple(
            QueuedRecipient(row, stored_mailbox(recipient), attempts, bool(warned), stored_rcpt_parameters(parameters))
            for row, recipient, attempts, warned, parameters in connection.execute(
                "SELECT row, recipient, attempts, warned, parameters FROM recipient"
                " WHERE queue_id = ? AND lane = ? AND token IS NULL AND due <= ? ORDER BY row", (queue_id, lane, now))
        )
        token = next_token()
        connection.execute(
            "UPDATE recipient SET token = ?, due = ? WHERE queue_id = ? AND lane = ? AND token IS NULL AND due <= ?",
            (token, lease_end, queue_id, lane, now),
        )
        claims.append(Claim(token, lane, _message(connection, queue_id, content_of), recipients))
    return tuple(claims)


def release(connection: sqlite3.Connection, claim: Claim, now: float) -> None:
    connection.execute(
        "UPDATE recipient SET token = NULL, due = ? WHERE queue_id = ? AND token = ?",
        (now, claim.message.queue_id, claim.token),
    )


def come_closer(connection: sqlite3.Connection, latest: float, lease_end: float) -> int:
    """Let nothing be due after ``latest``, but what waits for its release, and no lease end after ``lease_end``."""
    connection.execute("UPDATE recipient SET due = ? WHERE token IS NOT NULL AND due > ?", (lease_end, lease_end))
    rows = due_after(connection, latest)
    connection.executemany(
        "UPDATE recipient SET due = ? WHERE queue_id = ? AND row = ?", [(latest, *row) for row in rows])
    return len(rows)


def settle(
    connection: sqlite3.Connection, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Insertion],
    removed_files: list[str],
) -> list[bool]:
    """Write down what became of ``claim``; for each notice, whether it was inserted.

    Notices go in only where the claim still held something: else somebody else has recorded, or the
    operator removed, what they speak of.
    """
    queue_id = claim.message.queue_id
    key = (queue_id, claim.token)
    if settlements:
        applied = sum([_settle_one(connection, key, settlement) for settlement in settlements])
    else:
        applied = len(connection.execute(
            "SELECT 1 FROM recipient WHERE queue_id = ? AND token = ? LIMIT 1", key).fetchall())
    inserted = []
    for notice in notices:
        is_new = applied > 0 and not is_queued(connection, str(notice.message[0]))
        if is_new:
            insert(connection, [notice])
        inserted.append(is_new)
    forget_messages(connection, [queue_id], removed_files)
    return inserted


def _settle_one(connection: sqlite3.Connection, key: tuple[str, int], settlement: Settlement) -> int:
    """How many rows it changed: 0 where the token holds this one no more."""
    where = "WHERE queue_id = ? AND token = ? AND row = ?"
    match settlement:
        case Finished(row):
            cursor = connection.execute(f"DELETE FROM recipient {where}", (*key, row))  # noqa: S608  # a constant
        case Postponed(row, due, attempts, reason, warned):
            cursor = connection.execute(
                f"UPDATE recipient SET token = NULL, due = ?, attempts = ?, reason = ?, warned = ? {where}",  # noqa: S608
                (due, attempts, storable_reason(reason), warned, *key, row),
            )
        case Held(row, attempts, reason):
            cursor = connection.execute(
                f"UPDATE recipient SET token = NULL, due = NULL, attempts = ?, reason = ? {where}",  # noqa: S608
                (attempts, storable_reason(reason), *key, row),
            )
        case _:
            assert_never(settlement)
    return cursor.rowcount


# One look into the index for each priority, however many rows it has.
_NEXT_PRIORITY = (
    "SELECT priority FROM recipient INDEXED BY waiting WHERE lane = ? AND priority < ? AND token IS NULL"
    " AND due IS NOT NULL ORDER BY priority DESC LIMIT 1"
)
_DUE = (
    "SELECT due, queue_id FROM recipient INDEXED BY waiting WHERE lane = ? AND priority = ? AND due <= ?"
    " AND token IS NULL AND due IS NOT NULL ORDER BY due, queue_id"
)


def _due_messages(connection: sqlite3.Connection, lane: str, limit: int, now: float) -> list[str]:
    found: dict[str, None] = {}
    longest: tuple[float, str] | None = None
    priority = MAX_PRIORITY + 1
    while following := connection.execute(_NEXT_PRIORITY, (lane, priority)).fetchone():
        (priority,) = following
        # Read until there are enough: GROUP BY would read the whole lane.
        for due, queue_id in connection.execute(_DUE, (lane, priority, now)):
            if longest is None or (due, queue_id) < longest:
                longest = (due, queue_id)
            if len(found) >= limit and queue_id not in found:
                break
            found[queue_id] = None
    if longest is not None and longest[1] not in found and limit > 1:
        found.popitem()
        found[longest[1]] = None
    return list(found)


def _message(connection: sqlite3.Connection, queue_id: str, content_of: ContentOf) -> Message:
    arrived, reverse_path, body_type, size, place, octets, parameters = connection.execute(
        "SELECT arrived, reverse_path, body_type, size, body_file, body, parameters FROM message WHERE queue_id = ?",
        (queue_id,),
    ).fetchone()
    content = content_of(octets, place, size)
    return Message(
        queue_id, stored_path(reverse_path), stored_body_type(body_type), arrived, content,
        stored_mail_parameters(parameters),
    )
