"""The operator's orders as SQL: hold, release, retry, reroute, remove; blocking functions, a batch of recipients each.

Whom an order means is found by a reader, batch by batch, and each batch is a transaction of its own: on a queue of a
million rows the commits of new mail wait for none of them for long.  They serve the running gateway and
``spool.offline`` alike.

Rules:
    Who came after the order began is not meant: else it might never end.
    What is being tried now, or is next in line, is left alone, but by ``remove``: its lease holds.
    What waits for its sender's record is left alone, too, but by ``remove`` and by who names that record: let go by
    others it would be gone when its sender looks for it, and be sent once more.
    A recipient that is held keeps its last answer, and what its sender asked for: released or rerouted, it waits for
    the time of FUTURERELEASE (RFC 4865) as before; a retry alone overrides it.
"""

import sqlite3
from collections.abc import Callable, Sequence

from mailgw.mail.address import Mailbox
from mailgw.mail.message import Gone, Query
from mailgw.mail.parameters import stored_mail_parameters
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.reasons import HELD_BY_OPERATOR, HELD_BY_SENDER, OF_ANOTHER_LANE
from mailgw.spool.batch import Value, forget_messages
from mailgw.spool.rows import UNRECORDED, held_until, stored_mailbox
from mailgw.spool.search import condition

BATCH = 250
"""Recipients in one transaction: some 30 ms of the writer, for which commits of new mail wait."""

Key = tuple[str, int, str]
"""Queue id, row, recipient."""

LaneFor = Callable[[Mailbox], str | None]

_WAITING = "due IS NOT NULL AND (token IS NULL OR due <= ?)"
_AT = "queue_id = ? AND row = ?"
_IS_UNRECORDED = f"substr(reason, 1, {len(UNRECORDED)}) = '{UNRECORDED}'"
# The reason without the mark of the hold.
_UNMARKED = (
    f"CASE WHEN reason = '{HELD_BY_OPERATOR}' OR {_IS_UNRECORDED} AND instr(reason, '; ') = 0 THEN ''"
    f" WHEN {_IS_UNRECORDED} THEN substr(reason, instr(reason, '; ') + 2)"  # as ``rows.recorded``
    f" WHEN substr(reason, 1, {len(HELD_BY_OPERATOR) + 2}) = '{HELD_BY_OPERATOR}: '"
    f" THEN substr(reason, {len(HELD_BY_OPERATOR) + 3}) ELSE reason END"
)

# As ``rows.rerouted``.
_UNTOLD = " OR ".join(f"{{0}} GLOB '{marked}*'" for marked in (OF_ANOTHER_LANE, HELD_BY_SENDER))
_REROUTED = (
    f"CASE WHEN reason IN ('', '{HELD_BY_OPERATOR}') OR {_UNTOLD.format('reason')} THEN reason"
    f" WHEN substr(reason, 1, {len(HELD_BY_OPERATOR) + 2}) <> '{HELD_BY_OPERATOR}: '"
    f" THEN '{OF_ANOTHER_LANE}: ' || reason"
    f" WHEN {_UNTOLD.format(f'substr(reason, {len(HELD_BY_OPERATOR) + 3})')} THEN reason"
    f" ELSE '{HELD_BY_OPERATOR}: {OF_ANOTHER_LANE}: ' || substr(reason, {len(HELD_BY_OPERATOR) + 3}) END"
)


def last_message(connection: sqlite3.Connection) -> str:
    """The newest queue id; an order means nobody behind it."""
    return str(connection.execute("SELECT coalesce(max(queue_id), '') FROM recipient").fetchone()[0])


def meant(
    connection: sqlite3.Connection, query: Query, now: float, after: Key | None, last: str, batch: int,
    spares: bool = True,
) -> list[Key]:
    """The next ``batch`` of those that match, in the order of arrival, from ``after`` on up to the message ``last``;
    ``spares`` those that wait for a record which the query does not name."""
    where, values = condition(query.of_orders() if spares else query, now)
    start = after[:2] if after is not None else ("", 0)
    return connection.execute(
        f"SELECT r.queue_id, r.row, r.recipient FROM recipient r WHERE {where}"  # noqa: S608  # made of constants
        " AND (r.queue_id, r.row) > (?, ?) AND r.queue_id <= ? ORDER BY r.queue_id, r.row LIMIT ?",
        [*values, *start, last, batch],
    ).fetchall()


# --- one batch each, within a transaction of the caller's; how many recipients, or whom -------------------------

def hold(connection: sqlite3.Connection, keys: Sequence[Key], now: float) -> int:
    """Tried by nobody until the release."""
    return _each(
        connection,
        f"UPDATE recipient SET token = NULL, due = NULL, reason = '{HELD_BY_OPERATOR}' ||"  # noqa: S608  # constants
        f" CASE WHEN reason = '' THEN '' ELSE ': ' || reason END WHERE {_AT} AND {_WAITING}",
        [(queue_id, row, now) for queue_id, row, _ in keys],
    )


def unhold(connection: sqlite3.Connection, keys: Sequence[Key], now: float) -> int:
    """Due now, or when its sender wants it sent; those that could be neither delivered nor returned, too.  What a rule
    holds that waited for its record stays held by that."""
    dues = _dues(connection, [key[:2] for key in keys], now)
    return _each(
        connection,
        f"UPDATE recipient SET due = CASE WHEN NOT {_IS_UNRECORDED} OR instr(reason, '; ') = 0 THEN ? END,"  # noqa: S608
        f" late = coalesce(late, ?), reason = coalesce(nullif({_UNMARKED}, ''), ?) WHERE {_AT} AND due IS NULL",
        [
            (due, now, held_until(due) if due > now else "", *at)
            for at in (key[:2] for key in keys) if (due := dues.get(at)) is not None
        ],
    )


def _dues(
    connection: sqlite3.Connection, keys: Sequence[tuple[str, int]], now: float
) -> dict[tuple[str, int], float]:
    """When each of them, as far as they are there, is due at the earliest: now, or when its sender wants it sent."""
    dues = {}
    for queue_id, row in keys:
        found = connection.execute(
            "SELECT r.attempts, (SELECT p.parameters FROM message p INDEXED BY parametered"  # noqa: S608  # a constant
            " WHERE p.queue_id = r.queue_id AND p.parameters <> '') FROM recipient r"
            f" WHERE {_AT}", (queue_id, row)
        ).fetchone()
        if found is not None:
            attempts, parameters = found
            until = stored_mail_parameters(parameters or "").hold_until if not attempts else None
            dues[queue_id, row] = now if until is None else max(now, until)
    return dues


def retry(connection: sqlite3.Connection, keys: Sequence[Key], now: float) -> int:
    """Due now, held ones too."""
    return _each(
        connection,
        "UPDATE recipient SET due = ?, token = NULL, late = coalesce(late, ?),"  # noqa: S608  # constants
        f" reason = {_UNMARKED} WHERE {_AT} AND (token IS NULL OR due <= ?)",
        [(now, now, queue_id, row, now) for queue_id, row, _ in keys],
    )


def moves(keys: Sequence[Key], lane_for: LaneFor) -> list[tuple[str, int, str]]:
    """Queue id, row and the lane that ``lane_for`` says; those for which it says None stay where they are."""
    lanes = [(queue_id, row, lane_for(stored_mailbox(recipient))) for queue_id, row, recipient in keys]
    return [(queue_id, row, lane) for queue_id, row, lane in lanes if lane is not None]


def reroute(connection: sqlite3.Connection, moved: Sequence[tuple[str, int, str]], now: float) -> int:
    """To their lanes, due now, or when its sender wants it sent; who is held goes there when it is released.

    An alias that waits for its report stays where it is: elsewhere it would be sent to once more.
    """
    dues = _dues(connection, [key[:2] for key in moved], now)
    return _each(
        connection,
        "UPDATE recipient SET due = CASE WHEN due IS NULL THEN NULL ELSE ? END, token = NULL,"  # noqa: S608  # constants
        f" reason = CASE WHEN lane = ? THEN reason ELSE {_REROUTED} END, lane = ?"
        f" WHERE {_AT} AND (token IS NULL OR due <= ?) AND lane <> '{EXPANDED}'",
        [
            (dues[queue_id, row], lane, lane, queue_id, row, now)
            for queue_id, row, lane in moved if (queue_id, row) in dues
        ],
    )


def remove(connection: sqlite3.Connection, removed_files: list[str], keys: Sequence[Key]) -> list[Gone]:
    """Forgotten, without a bounce; the caller removes the files after the transaction.  Those who were still there."""
    gone: list[Gone] = []
    for queue_id, row, _ in keys:
        where = connection.execute(f"SELECT recipient, lane FROM recipient WHERE {_AT}", (queue_id, row))  # noqa: S608
        gone += [Gone(*one) for one in where.fetchall()]
    _each(connection, f"DELETE FROM recipient WHERE {_AT}", [(queue_id, row) for queue_id, row, _ in keys])  # noqa: S608
    forget_messages(connection, dict.fromkeys(queue_id for queue_id, _, _ in keys), removed_files)
    return gone


def _each(connection: sqlite3.Connection, statement: str, values: Sequence[tuple[Value, ...]]) -> int:
    return max(0, connection.executemany(statement, values).rowcount) if values else 0
