"""Claims and records as SQL: functions for the writer's thread, within its transaction."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import assert_never

from mailgw.mail.address import folded
from mailgw.mail.message import (
    NOTHING_ASKED,
    Claim,
    Content,
    Finished,
    Held,
    Message,
    Postponed,
    QueuedRecipient,
    Settlement,
)
from mailgw.mail.parameters import stored_mail_parameters, stored_rcpt_parameters
from mailgw.spool.batch import Insertion, forget_messages, insert
from mailgw.spool.leases import with_turns
from mailgw.spool.rows import storable_reason, stored_body_type, stored_mailbox, stored_path
from mailgw.spool.search import due_after, is_queued

# RFC 6710 s5: from -9 to 9
MAX_PRIORITY = 9

ContentOf = Callable[[bytes | None, str | None, int], Content]
"""The content of a row: its body, the place of its file, which that is on top of, and the size of all."""


def end_all_leases(connection: sqlite3.Connection, now: float) -> None:
    """At start: those who held them are gone."""
    connection.execute("UPDATE recipient SET token = NULL, due = ? WHERE token IS NOT NULL", (now,))


def claim_due(
    connection: sqlite3.Connection, lane: str, limit: int, after: str, now: float, lease_end: float,
    next_token: Callable[[], int], content_of: ContentOf,
) -> tuple[Claim, ...]:
    """Lease at most ``limit`` messages of a lane, as ``mail.ports.Spool`` says; ends leases whose time is over."""
    connection.execute("UPDATE recipient SET token = NULL WHERE token IS NOT NULL AND due <= ?", (now,))
    return tuple(
        _lease(connection, (queue_id, lane), "due <= ?", now, lease_end, next_token(), content_of)
        for queue_id in _due_messages(connection, lane, limit, after, now)
    )


def claim_late(
    connection: sqlite3.Connection, limit: int, now: float, lease_end: float,
    next_token: Callable[[], int], content_of: ContentOf,
) -> tuple[Claim, ...]:
    """Lease at most ``limit`` messages of which there is something to be said, as ``mail.ports.Spool`` says."""
    found: dict[tuple[str, str], None] = {}
    for where in connection.execute(
        "SELECT queue_id, lane FROM recipient INDEXED BY late WHERE token IS NULL AND due IS NOT NULL AND late <= ?"
        " ORDER BY late", (now,)
    ):
        if len(found) >= limit and where not in found:
            break
        found[where] = None
    return tuple(
        _lease(connection, where, "due IS NOT NULL AND late <= ?", now, lease_end, next_token(), content_of)
        for where in found
    )


def _lease(
    connection: sqlite3.Connection, where: tuple[str, str], which: str, now: float, lease_end: float, token: int,
    content_of: ContentOf,
) -> Claim:
    """Of a message in a lane (``where``), the recipients that nobody holds and for whom ``which`` is true."""
    condition = f"queue_id = ? AND lane = ? AND token IS NULL AND {which}"  # constants
    recipients = tuple(
        QueuedRecipient(
            row, stored_mailbox(recipient), attempts, bool(warned), stored_rcpt_parameters(asked), due, reason)
        for row, recipient, attempts, warned, asked, due, reason in connection.execute(
            "SELECT row, recipient, attempts, warned, parameters, due, reason"  # noqa: S608
            f" FROM recipient WHERE {condition} ORDER BY row",
            (*where, now))
    )
    connection.execute(
        f"UPDATE recipient SET token = ?, due = ? WHERE {condition}", (token, lease_end, *where, now)  # noqa: S608
    )
    return Claim(token, where[1], _message(connection, where[0], content_of), recipients)


def release(connection: sqlite3.Connection, claim: Claim, now: float) -> None:
    connection.executemany(
        "UPDATE recipient SET token = NULL, due = ? WHERE queue_id = ? AND row = ? AND token = ?",
        [(min(queued.due, now), claim.message.queue_id, queued.row, claim.token) for queued in claim.recipients],
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
        case Postponed(row, due, attempts, reason, warned, late):
            cursor = connection.execute(
                "UPDATE recipient SET token = NULL, due = ?, attempts = ?, reason = ?, warned = ?, late = ?"  # noqa: S608
                f" {where}",
                (due, attempts, storable_reason(reason), warned, late, *key, row),
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


# The earliest of the next sender, again two looks for each.
_NEXT_SENDER = (
    "SELECT sender FROM recipient INDEXED BY by_sender WHERE lane = ? AND priority = ? AND sender > ? AND token IS NULL"
    " AND due IS NOT NULL ORDER BY sender LIMIT 1"
)
_OF_SENDER = (
    "SELECT queue_id FROM recipient INDEXED BY by_sender WHERE lane = ? AND priority = ? AND sender = ? AND due <= ?"
    " AND token IS NULL AND due IS NOT NULL ORDER BY due LIMIT ?"
)
# Senders of whom nothing is due yet are looked at in vain: so many at most for each message that is wanted.
_LOOKS_A_PLACE = 4


def _due_messages(connection: sqlite3.Connection, lane: str, limit: int, after: str, now: float) -> list[str]:
    found: dict[str, None] = {}
    longest: tuple[float, str] | None = None
    priority = MAX_PRIORITY + 1
    while following := connection.execute(_NEXT_PRIORITY, (lane, priority)).fetchone():
        (priority,) = following
        places = limit - len(found)
        # Read until there are enough: GROUP BY would read the whole lane.
        mine: dict[str, None] = {}
        is_all = True
        for due, queue_id in connection.execute(_DUE, (lane, priority, now)):
            if longest is None or (due, queue_id) < longest:
                longest = (due, queue_id)
            if len(mine) >= places and queue_id not in mine:
                is_all = False
                break
            mine[queue_id] = None
        if not is_all and places > 1:
            in_turn = _in_turn(connection, lane, priority, after, now, places // 2)
            mine = dict.fromkeys(with_turns(list(mine), list(in_turn)))
        found.update(mine)
    if longest is not None and longest[1] not in found and limit > 1:
        found.popitem()
        found[longest[1]] = None
    return list(found)


def _in_turn(
    connection: sqlite3.Connection, lane: str, priority: int, after: str, now: float, places: int
) -> dict[str, None]:
    """The longest due of one sender after the other, from the one behind ``after`` on, around once."""
    found: dict[str, None] = {}
    sender, is_around = after, False
    for _ in range(places * _LOOKS_A_PLACE):
        following = connection.execute(_NEXT_SENDER, (lane, priority, sender)).fetchone()
        if following is None:
            if is_around:
                break
            # The null reverse-path is "", which nothing comes before.
            is_around, sender, following = True, "", ("",)
        else:
            (sender,) = following
        if is_around and folded(sender) > folded(after):
            break
        found.update(dict.fromkeys(
            queue_id for (queue_id,) in connection.execute(_OF_SENDER, (lane, priority, sender, now, 1))))
        if len(found) >= places:
            break
    return found


def _message(connection: sqlite3.Connection, queue_id: str, content_of: ContentOf) -> Message:
    arrived, reverse_path, body_type, size, place, octets, parameters, *origin = connection.execute(
        "SELECT arrived, reverse_path, body_type, size, body_file, body, parameters, peer, helo, login, protocol, ours"
        " FROM message WHERE queue_id = ?",
        (queue_id,),
    ).fetchone()
    peer, helo, login, protocol, is_ours = origin
    content = content_of(octets, place, size)
    return Message(
        queue_id, stored_path(reverse_path), stored_body_type(body_type), arrived, content,
        stored_mail_parameters(parameters), NOTHING_ASKED, peer, helo, login, protocol,
        bool(is_ours),
    )
