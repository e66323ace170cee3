"""Events on their way to web hooks, in ``hooks.sqlite`` below the state folder: those that wait, those that a hook did
not take now (by their messages), and those that it never took.

Jobs for a ``store.ledger.Ledger``; each is one transaction.

Rules:
    Of one message no event is handed out before an earlier one of it is gone: taken, or dead.
    At most ``MOST`` wait in all: beyond that the oldest of the hook that has the most are dead.
    The dead are kept for as long as their hook says, ``MOST_DEAD`` at most in all; the oldest go first.
"""

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from mailgw.store.database import Schema
from mailgw.store.ledger import Job

FILE: Final = "hooks.sqlite"
MOST: Final = 1_000_000
MOST_DEAD: Final = 1_000_000
LANES: Final = 16
"""At most so many posts of a hook at once; an event's lane is chosen by its message, and never changes."""
STEP: Final = 1000
"""Events that one transaction moves at most, beside those that it is about."""

SCHEMA: Final = Schema(1, (
    """CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in their order
        hook TEXT NOT NULL,
        lane INTEGER NOT NULL,          -- of the message: posts of one lane go one after the other
        message TEXT NOT NULL,          -- queue id, or session id where there is none
        at REAL NOT NULL,               -- seconds since the epoch, UTC
        body TEXT NOT NULL              -- the event, as JSON
    )""",
    "CREATE INDEX event_lane ON event (hook, lane, number)",
    "CREATE INDEX event_message ON event (hook, message, number)",
    """CREATE TABLE blocked (           -- messages whose next event was refused
        hook TEXT NOT NULL, message TEXT NOT NULL, lane INTEGER NOT NULL,
        due REAL NOT NULL, attempts INTEGER NOT NULL, why TEXT NOT NULL,
        PRIMARY KEY (hook, message)
    ) WITHOUT ROWID""",
    "CREATE INDEX blocked_due ON blocked (hook, lane, due)",
    """CREATE TABLE dead (
        number INTEGER PRIMARY KEY,
        hook TEXT NOT NULL, lane INTEGER NOT NULL, message TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
        died REAL NOT NULL, why TEXT NOT NULL
    )""",
    "CREATE INDEX dead_hook ON dead (hook, number)",
    # To count a million rows takes too long for a page.
    "CREATE TABLE tally (hook TEXT PRIMARY KEY, waiting INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TRIGGER event_came AFTER INSERT ON event BEGIN
        INSERT INTO tally VALUES (new.hook, 1, 0) ON CONFLICT DO UPDATE SET waiting = waiting + 1; END""",
    """CREATE TRIGGER event_went AFTER DELETE ON event BEGIN
        UPDATE tally SET waiting = waiting - 1 WHERE hook = old.hook; END""",
    """CREATE TRIGGER dead_came AFTER INSERT ON dead BEGIN
        INSERT INTO tally VALUES (new.hook, 0, 1) ON CONFLICT DO UPDATE SET dead = dead + 1; END""",
    """CREATE TRIGGER dead_went AFTER DELETE ON dead BEGIN
        UPDATE tally SET dead = dead - 1 WHERE hook = old.hook; END""",
))


@attrs.frozen
class NewEvent:
    """``body`` is JSON."""

    hook: str
    message: str
    at: float
    body: bytes


@attrs.frozen
class Batch:
    """What is to be posted next; nothing where ``bodies`` is empty, and then ``next_due`` says when there may be more
    without anything new (None: never).  ``message``: they are of one that was refused before, ``attempts`` times."""

    numbers: tuple[int, ...]
    bodies: tuple[bytes, ...]
    message: str = ""
    attempts: int = 0
    next_due: float | None = None


@attrs.frozen
class Dead:
    number: int
    message: str
    at: float
    died: float
    why: str
    event: Mapping[str, Any]


@attrs.frozen
class Tally:
    """``oldest``: of those that wait, None where none does."""

    waiting: int = 0
    dead: int = 0
    oldest: float | None = None
    blocked: int = 0


def lane_of(message: str) -> int:
    return zlib.crc32(message.encode()) % LANES


def added(events: Sequence[NewEvent], now: float, most: int = MOST) -> "Job[Mapping[str, int]]":
    """How many of each hook are dead since there was no room."""

    def job(connection: sqlite3.Connection) -> Mapping[str, int]:
        connection.executemany(
            "INSERT INTO event (hook, lane, message, at, body) VALUES (?,?,?,?,?)",
            [(one.hook, lane_of(one.message), one.message, one.at, one.body.decode()) for one in events],
        )
        waiting = dict(connection.execute("SELECT hook, waiting FROM tally").fetchall())
        excess = sum(waiting.values()) - most
        died: dict[str, int] = {}
        while excess > 0:
            hook = max(waiting, key=lambda one: waiting[one])
            count = _die(
                connection, "SELECT number FROM event WHERE hook = ? ORDER BY number LIMIT ?",
                (hook, min(excess, STEP)), now, "there was no room for more events",
            )
            died[hook] = died.get(hook, 0) + count
            waiting[hook] -= count
            excess -= count
        return died

    return job


def next_batch(
    hook: str, lanes: Sequence[int], now: float, most: int, most_octets: int, with_blocked: bool = True
) -> "Job[Batch]":
    """That of a message that was refused before, and is to be tried again (``with_blocked``), first; else the oldest of
    all others."""
    among = ",".join(map(str, lanes))

    def job(connection: sqlite3.Connection) -> Batch:
        again = None if not with_blocked else connection.execute(
            f"SELECT message, attempts FROM blocked WHERE hook = ? AND lane IN ({among}) AND due <= ?"  # noqa: S608
            " ORDER BY due LIMIT 1", (hook, now)
        ).fetchone()
        if again is not None:
            found = connection.execute(
                "SELECT number, body FROM event WHERE hook = ? AND message = ? ORDER BY number LIMIT 1",
                (hook, again[0]),
            ).fetchall()
            if found:
                return _batch(found, most_octets, *again)
            connection.execute("DELETE FROM blocked WHERE hook = ? AND message = ?", (hook, again[0]))
        found = connection.execute(
            f"SELECT number, body FROM event e WHERE hook = ? AND lane IN ({among})"  # noqa: S608  # numbers
            " AND NOT EXISTS (SELECT 1 FROM blocked b WHERE b.hook = e.hook AND b.message = e.message)"
            " ORDER BY number LIMIT ?", (hook, most)
        ).fetchall()
        if found:
            return _batch(found, most_octets)
        due = connection.execute(
            f"SELECT min(due) FROM blocked WHERE hook = ? AND lane IN ({among})", (hook,)  # noqa: S608  # numbers
        ).fetchone()[0]
        return Batch((), (), next_due=due)

    return job


def _batch(found: Sequence[tuple[int, str]], most_octets: int, message: str = "", attempts: int = 0) -> Batch:
    bodies: list[bytes] = []
    octets = 0
    for _, body in found:
        octets += len(body)
        if bodies and octets > most_octets:
            break
        bodies.append(body.encode())
    return Batch(tuple(number for number, _ in found[:len(bodies)]), tuple(bodies), message, attempts)


def due_now(hook: str, now: float) -> "Job[int]":
    """Those messages that wait by themselves are to be tried now; how many, ``STEP`` at most."""
    lanes = ",".join(map(str, range(LANES)))  # all of them: so the index has it, whose second column they are

    def job(connection: sqlite3.Connection) -> int:
        return connection.execute(
            "UPDATE blocked SET due = ? WHERE hook = ? AND message IN"  # noqa: S608  # numbers
            f" (SELECT message FROM blocked WHERE hook = ? AND lane IN ({lanes}) AND due > ? LIMIT ?)",
            (now, hook, hook, now, STEP),
        ).rowcount

    return job


def taken(hook: str, numbers: Sequence[int], message: str) -> Job[None]:
    """The hook has them; ``message`` as the batch had it."""

    def job(connection: sqlite3.Connection) -> None:
        _delete(connection, "event", numbers)
        if message:
            connection.execute("DELETE FROM blocked WHERE hook = ? AND message = ?", (hook, message))

    return job


def refused(
    hook: str, number: int, now: float, due: float, give_up_seconds: float, why: str
) -> "Job[bool]":
    """The hook does not take this event; whether it is dead now.  Else later events of its message wait until it is
    tried again."""

    def job(connection: sqlite3.Connection) -> bool:
        row = connection.execute("SELECT message, lane, at FROM event WHERE number = ?", (number,)).fetchone()
        if row is None:
            return False
        message, lane, at = row
        if now - at >= give_up_seconds:
            _die(connection, "SELECT ?", (number,), now, why)
            connection.execute("DELETE FROM blocked WHERE hook = ? AND message = ?", (hook, message))
            return True
        connection.execute(
            "INSERT INTO blocked VALUES (?,?,?,?,1,?) ON CONFLICT DO UPDATE SET due = excluded.due,"
            " attempts = attempts + 1, why = excluded.why", (hook, message, lane, due, why),
        )
        return False

    return job


def given_up(hook: str, before: float, now: float, why: str) -> "Job[int]":
    """A hook that cannot be reached: what came before then is dead; how many, ``STEP`` at most."""

    def job(connection: sqlite3.Connection) -> int:
        count = _die(
            connection, "SELECT number FROM event WHERE hook = ? AND at < ? ORDER BY number LIMIT ?",
            (hook, before, STEP), now, why,
        )
        if count:
            _tidy(connection, hook)
        return count

    return job


def pruned(hook: str, before: float) -> "Job[int]":
    """The dead of then are forgotten, and the oldest where there are too many; how many, ``STEP`` at most of each."""

    def job(connection: sqlite3.Connection) -> int:
        gone = connection.execute(
            "DELETE FROM dead WHERE number IN (SELECT number FROM dead WHERE hook = ? AND died < ? LIMIT ?)",
            (hook, before, STEP)
        ).rowcount
        excess = connection.execute("SELECT coalesce(sum(dead), 0) FROM tally").fetchone()[0] - MOST_DEAD
        if excess > 0:
            gone += connection.execute(
                "DELETE FROM dead WHERE number IN (SELECT number FROM dead ORDER BY number LIMIT ?)",
                (min(excess, STEP),)
            ).rowcount
        return int(gone)

    return job


def tallies(hooks: Sequence[str]) -> "Job[Mapping[str, Tally]]":
    def job(connection: sqlite3.Connection) -> Mapping[str, Tally]:
        told = {}
        for hook in hooks:
            found = connection.execute("SELECT waiting, dead FROM tally WHERE hook = ?", (hook,)).fetchone()
            waiting, dead = found or (0, 0)
            oldest = connection.execute(
                "SELECT at FROM event WHERE hook = ? ORDER BY number LIMIT 1", (hook,)).fetchone()
            blocked = connection.execute("SELECT count(*) FROM blocked WHERE hook = ?", (hook,)).fetchone()[0]
            told[hook] = Tally(waiting, dead, None if oldest is None else oldest[0], blocked)
        return told

    return job


def known_hooks(connection: sqlite3.Connection) -> list[str]:
    """All that something is kept for."""
    rows = connection.execute("SELECT hook FROM tally WHERE waiting > 0 OR dead > 0 ORDER BY hook")
    return [row[0] for row in rows]


def dead_of(hook: str, after: int, limit: int) -> "Job[list[Dead]]":
    """In their order, from behind the number ``after`` on."""

    def job(connection: sqlite3.Connection) -> list[Dead]:
        rows = connection.execute(
            "SELECT number, message, at, died, why, body FROM dead WHERE hook = ? AND number > ?"
            " ORDER BY number LIMIT ?",
            (hook, after, limit),
        )
        return [
            Dead(number, message, at, died, why, json.loads(body)) for number, message, at, died, why, body in rows
        ]

    return job


def revived(hook: str, numbers: Sequence[int] | None, now: float) -> "Job[list[int]]":
    """The dead (None: all of the hook) wait again, behind all others, and are as young as if they came now; which
    of them were there, ``STEP`` at most."""

    def job(connection: sqlite3.Connection) -> list[int]:
        found = _chosen(connection, hook, numbers)
        for number in found:
            connection.execute(
                "INSERT INTO event (hook, lane, message, at, body)"
                " SELECT hook, lane, message, ?, body FROM dead WHERE number = ?", (now, number)
            )
        _delete(connection, "dead", found)
        return found

    return job


def dropped(hook: str, numbers: Sequence[int] | None) -> "Job[list[int]]":
    """The dead are forgotten; as ``revived``."""

    def job(connection: sqlite3.Connection) -> list[int]:
        found = _chosen(connection, hook, numbers)
        _delete(connection, "dead", found)
        return found

    return job


# --- below ----------------------------------------------------------------------------------------------------

def _die(connection: sqlite3.Connection, which: str, values: Sequence[object], now: float, why: str) -> int:
    numbers = [row[0] for row in connection.execute(which, values)]
    connection.executemany(
        "INSERT OR REPLACE INTO dead SELECT number, hook, lane, message, at, body, ?, ? FROM event WHERE number = ?",
        [(now, why, number) for number in numbers],
    )
    _delete(connection, "event", numbers)
    return len(numbers)


def _tidy(connection: sqlite3.Connection, hook: str) -> None:
    """No message is blocked that has no event."""
    connection.execute(
        "DELETE FROM blocked WHERE hook = ? AND NOT EXISTS"
        " (SELECT 1 FROM event e WHERE e.hook = blocked.hook AND e.message = blocked.message)", (hook,)
    )


def _chosen(connection: sqlite3.Connection, hook: str, numbers: Sequence[int] | None) -> list[int]:
    rows = connection.execute("SELECT number FROM dead WHERE hook = ? ORDER BY number LIMIT ?", (hook, STEP)) \
        if numbers is None else [
            row for one in numbers[:STEP] for row in connection.execute(
                "SELECT number FROM dead WHERE hook = ? AND number = ?", (hook, one))
        ]
    return [row[0] for row in rows]


def _delete(connection: sqlite3.Connection, table: str, numbers: Sequence[int]) -> None:
    connection.executemany(f"DELETE FROM {table} WHERE number = ?", [(one,) for one in numbers])  # noqa: S608
