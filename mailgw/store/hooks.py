"""Events on their way to web hooks, in ``hooks.sqlite`` below the state folder: those that wait, those that a hook did
not take now (by their messages), and those that it never took.

Jobs for a ``store.ledger.Ledger``; each is one transaction.

Rules:
    Of one message no event is handed out before an earlier one of it is gone: taken, or dead.
    At most ``MOST`` wait in all: beyond that the oldest of the hook that has the most are dead.
    The dead are kept for as long as their hook says, ``MOST_DEAD`` at most in all; the oldest go first.
    An event that waits is marked while its message is blocked: what may go, what is due, and what is too old is found
    without a look at all the others, however many wait.
"""

import itertools
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

# What version 2 has for what version 1 had: see ``_UPGRADE``.
_FOUND_BY: Final = (
    "CREATE INDEX event_ready ON event (hook, lane, number) WHERE is_blocked = 0",
    "CREATE INDEX event_age ON event (hook, at)",
    # To count a million rows takes too long for a page.
    """CREATE TRIGGER event_came AFTER INSERT ON event BEGIN
        INSERT INTO tally (hook, waiting, dead) VALUES (new.hook, 1, 0)
            ON CONFLICT DO UPDATE SET waiting = waiting + 1; END""",
    """CREATE TRIGGER event_went AFTER DELETE ON event BEGIN
        UPDATE tally SET waiting = waiting - 1 WHERE hook = old.hook; END""",
    """CREATE TRIGGER dead_came AFTER INSERT ON dead BEGIN
        INSERT INTO tally (hook, waiting, dead) VALUES (new.hook, 0, 1)
            ON CONFLICT DO UPDATE SET dead = dead + 1; END""",
    """CREATE TRIGGER dead_went AFTER DELETE ON dead BEGIN
        UPDATE tally SET dead = dead - 1 WHERE hook = old.hook; END""",
    """CREATE TRIGGER blocked_came AFTER INSERT ON blocked BEGIN
        UPDATE event SET is_blocked = 1 WHERE hook = new.hook AND message = new.message;
        UPDATE tally SET blocked = blocked + 1 WHERE hook = new.hook; END""",
    """CREATE TRIGGER blocked_went AFTER DELETE ON blocked BEGIN
        UPDATE event SET is_blocked = 0 WHERE hook = old.hook AND message = old.message;
        UPDATE tally SET blocked = blocked - 1 WHERE hook = old.hook; END""",
    # No message is blocked that has no event.
    """CREATE TRIGGER event_was_last AFTER DELETE ON event WHEN old.is_blocked BEGIN
        DELETE FROM blocked WHERE hook = old.hook AND message = old.message
            AND NOT EXISTS (SELECT 1 FROM event WHERE hook = old.hook AND message = old.message); END""",
)
_UPGRADE: Final = (
    *(f"DROP TRIGGER {name}" for name in ("event_came", "event_went", "dead_came", "dead_went")),
    "DROP INDEX event_lane",
    "ALTER TABLE event ADD COLUMN is_blocked INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tally ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE tally ADD COLUMN is_astray INTEGER NOT NULL DEFAULT 0",
    "DELETE FROM blocked WHERE NOT EXISTS"
    " (SELECT 1 FROM event e WHERE e.hook = blocked.hook AND e.message = blocked.message)",
    "UPDATE event SET is_blocked = 1 WHERE EXISTS"
    " (SELECT 1 FROM blocked b WHERE b.hook = event.hook AND b.message = event.message)",
    "UPDATE tally SET blocked = (SELECT count(*) FROM blocked b WHERE b.hook = tally.hook)",
    *_FOUND_BY,
)
SCHEMA: Final = Schema(2, (
    """CREATE TABLE event (
        number INTEGER PRIMARY KEY AUTOINCREMENT,  -- in their order
        hook TEXT NOT NULL,
        lane INTEGER NOT NULL,          -- of the message: posts of one lane go one after the other
        message TEXT NOT NULL,          -- queue id, or session id where there is none
        at REAL NOT NULL,               -- seconds since the epoch, UTC
        body TEXT NOT NULL,             -- the event, as JSON
        is_blocked INTEGER NOT NULL DEFAULT 0  -- 1: its message is
    )""",
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
    """CREATE TABLE tally (
        hook TEXT PRIMARY KEY, waiting INTEGER NOT NULL, dead INTEGER NOT NULL,
        blocked INTEGER NOT NULL DEFAULT 0,    -- messages
        is_astray INTEGER NOT NULL DEFAULT 0   -- 1: the hook took nothing since it refused whatever it was sent
    ) WITHOUT ROWID""",
    *_FOUND_BY,
), upgrades={1: _UPGRADE})


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
    without anything new (None: never).  ``message``: they are of one that was refused before, ``attempts`` times.
    ``is_astray``: the hook took nothing since ``strayed``."""

    numbers: tuple[int, ...]
    bodies: tuple[bytes, ...]
    message: str = ""
    attempts: int = 0
    next_due: float | None = None
    is_astray: bool = False


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
    """``oldest``: of those that wait, None where none does.  ``why`` one of the ``blocked`` messages is, ``""`` where
    none is.  ``is_astray`` as in ``Batch``."""

    waiting: int = 0
    dead: int = 0
    oldest: float | None = None
    blocked: int = 0
    why: str = ""
    is_astray: bool = False


def lane_of(message: str) -> int:
    return zlib.crc32(message.encode()) % LANES


def added(events: Sequence[NewEvent], now: float, most: int = MOST) -> "Job[Mapping[str, int]]":
    """How many of each hook are dead since there was no room."""

    def job(connection: sqlite3.Connection) -> Mapping[str, int]:
        connection.executemany(
            "INSERT INTO event (hook, lane, message, at, body, is_blocked) VALUES"
            " (?1,?2,?3,?4,?5, EXISTS (SELECT 1 FROM blocked WHERE hook = ?1 AND message = ?3))",
            [(one.hook, lane_of(one.message), one.message, one.at, one.body.decode()) for one in events],
        )
        waiting = dict(connection.execute("SELECT hook, waiting FROM tally").fetchall())
        excess = sum(waiting.values()) - most
        died: dict[str, int] = {}
        while excess > 0:
            hook = max(waiting, key=lambda one: waiting[one])
            count = _die(
                connection, "SELECT number FROM event WHERE hook = ? ORDER BY at, number LIMIT ?",
                (hook, min(excess, STEP)), now, "there was no room for more events",
            )
            died[hook] = died.get(hook, 0) + count
            waiting[hook] -= count
            excess -= count
        return died

    return job


def next_batch(
    hook: str, lanes: Sequence[int], now: float, most: int, most_octets: int, with_blocked: bool = True,
    where: float = 0.0, is_doubted: bool = False,
) -> "Job[Batch]":
    """That of a message that was refused before, and is to be tried again (``with_blocked``), first; else the oldest of
    all others.  Of a hook that is astray, or may be (``is_doubted``), it is the other way round, what it refused
    already tells least of it; and it is a single event, the first one of the message that stands ``where`` among the
    others, from 0, the oldest, to 1."""

    def job(connection: sqlite3.Connection) -> Batch:
        found = connection.execute("SELECT is_astray FROM tally WHERE hook = ?", (hook,)).fetchone()
        is_astray = found is not None and bool(found[0])
        again = connection.execute(_of_lanes(lanes, "due, message, attempts FROM blocked", "1"), (hook,)).fetchone()
        next_due = None if again is None else again[0]
        is_due = with_blocked and next_due is not None and next_due <= now
        is_probe = is_astray or is_doubted
        if is_due and not is_probe:
            return _again(connection, hook, again, is_astray)
        if is_probe:
            ready = _probe(connection, hook, lanes, where)
        else:
            ready = connection.execute(
                _of_lanes(lanes, "number, body FROM event", "?2", "AND is_blocked = 0"), (hook, most)).fetchall()
        if ready:
            return _batch(ready, most_octets, is_astray)
        if is_due:
            return _again(connection, hook, again, is_astray)
        return Batch((), (), next_due=next_due, is_astray=is_astray)

    return job


def _of_lanes(lanes: Sequence[int], columns: str, limit: str, more: str = "", order: str = "") -> str:
    """The first ones by the first column.  SQLite merges what an index has in order for each lane; "lane IN" would read
    all of them, and sort."""
    each = (f"SELECT {columns} WHERE hook = ?1 AND lane = {one} {more}" for one in lanes)
    return f"{' UNION ALL '.join(each)} ORDER BY 1 {order} LIMIT {limit}"


def _probe(connection: sqlite3.Connection, hook: str, lanes: Sequence[int], where: float) -> list[tuple[int, str]]:
    """[] where none is ready.  By the numbers, which have gaps: to count the rows would be a look at all of them."""
    columns, ready = "number, message FROM event", "AND is_blocked = 0"
    first = connection.execute(_of_lanes(lanes, columns, "1", ready), (hook,)).fetchone()
    if first is None:
        return []
    last = connection.execute(_of_lanes(lanes, columns, "1", ready, "DESC"), (hook,)).fetchone()
    least = first[0] + int(where * (last[0] - first[0]))
    _, message = connection.execute(
        _of_lanes(lanes, columns, "1", f"{ready} AND number >= ?2"), (hook, least)).fetchone()
    return [_first_of(connection, hook, message)]


def _first_of(connection: sqlite3.Connection, hook: str, message: str) -> tuple[int, str]:
    number, body = connection.execute(
        "SELECT number, body FROM event WHERE hook = ? AND message = ? ORDER BY number LIMIT 1", (hook, message)
    ).fetchone()
    return number, body


def _again(connection: sqlite3.Connection, hook: str, blocked: tuple[float, str, int], is_astray: bool) -> Batch:
    _, message, attempts = blocked
    number, body = _first_of(connection, hook, message)
    return Batch((number,), (body.encode(),), message, attempts, is_astray=is_astray)


def _batch(found: Sequence[tuple[int, str]], most_octets: int, is_astray: bool) -> Batch:
    bodies: list[bytes] = []
    octets = 0
    for _, body in found:
        octets += len(body)
        if bodies and octets > most_octets:
            break
        bodies.append(body.encode())
    return Batch(tuple(number for number, _ in found[:len(bodies)]), tuple(bodies), is_astray=is_astray)


def strayed(hook: str) -> Job[None]:
    """It refuses whatever it is sent; until it takes something (``taken``)."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE tally SET is_astray = 1 WHERE hook = ?", (hook,))

    return job


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
        connection.execute("UPDATE tally SET is_astray = 0 WHERE hook = ? AND is_astray", (hook,))

    return job


def refused(
    hook: str, number: int, now: float, due: float, give_up_seconds: float, why: str
) -> "Job[bool]":
    """The hook does not take this event; whether it is dead now (``died_with``).  Else later events of its message wait
    until it is tried again."""

    def job(connection: sqlite3.Connection) -> bool:
        row = connection.execute("SELECT message, lane, at FROM event WHERE number = ?", (number,)).fetchone()
        if row is None:
            return False
        message, lane, at = row
        if now - at >= give_up_seconds:
            _die(connection, "SELECT ?", (number,), now, why)
            # Its successor is tried by itself, too, with no attempt yet.  Were they let go, all of a list's message
            # would be marked anew for each of its recipients.
            connection.execute(
                "INSERT INTO blocked SELECT ?1,?2,?3,?4,0,?5"
                " WHERE EXISTS (SELECT 1 FROM event WHERE hook = ?1 AND message = ?2)"
                " ON CONFLICT DO UPDATE SET due = excluded.due, attempts = 0", (hook, message, lane, now, why),
            )
            return True
        connection.execute(
            "INSERT INTO blocked VALUES (?,?,?,?,1,?) ON CONFLICT DO UPDATE SET due = excluded.due,"
            " attempts = attempts + 1, why = excluded.why", (hook, message, lane, due, why),
        )
        return False

    return job


def died_with(hook: str, number: int, now: float, give_up_seconds: float, why: str) -> "Job[int]":
    """Event ``number`` died of age: those of its message that are as old die with it, in their order; how many,
    ``STEP`` at most.  Each would be posted at once, else, and die: as many as a list has recipients."""

    def job(connection: sqlite3.Connection) -> int:
        rows = connection.execute(
            "SELECT number, at FROM event WHERE hook = ?1"
            " AND message = (SELECT message FROM dead WHERE number = ?2 AND hook = ?1) ORDER BY number LIMIT ?3",
            (hook, number, STEP),
        )
        old = [row[0] for row in itertools.takewhile(lambda row: now - row[1] >= give_up_seconds, rows)]
        return _bury(connection, old, now, why)

    return job


def given_up(hook: str, before: float, now: float, why: str) -> "Job[int]":
    """A hook that cannot be reached: what came before then is dead; how many, ``STEP`` at most."""

    def job(connection: sqlite3.Connection) -> int:
        return _die(
            connection, "SELECT number FROM event WHERE hook = ? AND at < ? ORDER BY at, number LIMIT ?",
            (hook, before, STEP), now, why,
        )

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
            found = connection.execute(
                "SELECT waiting, dead, blocked, is_astray FROM tally WHERE hook = ?", (hook,)).fetchone()
            waiting, dead, blocked, is_astray = found or (0, 0, 0, 0)
            oldest = connection.execute("SELECT min(at) FROM event WHERE hook = ?", (hook,)).fetchone()[0]
            said = connection.execute("SELECT why FROM blocked WHERE hook = ? LIMIT 1", (hook,)).fetchone()
            told[hook] = Tally(waiting, dead, oldest, blocked, said[0] if said else "", bool(is_astray))
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
                "INSERT INTO event (hook, lane, message, at, body, is_blocked)"
                " SELECT hook, lane, message, ?, body, EXISTS (SELECT 1 FROM blocked b WHERE b.hook = dead.hook"
                " AND b.message = dead.message) FROM dead WHERE number = ?", (now, number)
            )
        _delete(connection, "dead", found)
        return found

    return job


def dropped(hook: str, numbers: Sequence[int] | None, with_waiting: bool = False) -> "Job[list[int]]":
    """The dead are forgotten, and what waits, too (``with_waiting``); as ``revived``."""

    def job(connection: sqlite3.Connection) -> list[int]:
        gone: list[int] = []
        for table in ("dead", "event") if with_waiting else ("dead",):
            found = _chosen(connection, hook, numbers, table)[:STEP - len(gone)]
            _delete(connection, table, found)
            gone += found
        return gone

    return job


def forsaken(hook: str, before: float) -> "Job[int]":
    """What waits since then is forgotten, with nobody to take it; how many, ``STEP`` at most."""

    def job(connection: sqlite3.Connection) -> int:
        found = connection.execute(
            "SELECT number FROM event WHERE hook = ? AND at < ? ORDER BY at, number LIMIT ?", (hook, before, STEP))
        numbers = [row[0] for row in found]
        _delete(connection, "event", numbers)
        return len(numbers)

    return job


# --- below ----------------------------------------------------------------------------------------------------


def _die(connection: sqlite3.Connection, which: str, values: Sequence[object], now: float, why: str) -> int:
    return _bury(connection, [row[0] for row in connection.execute(which, values)], now, why)


def _bury(connection: sqlite3.Connection, numbers: Sequence[int], now: float, why: str) -> int:
    connection.executemany(
        "INSERT OR REPLACE INTO dead SELECT number, hook, lane, message, at, body, ?, ? FROM event WHERE number = ?",
        [(now, why, number) for number in numbers],
    )
    _delete(connection, "event", numbers)
    return len(numbers)


def _chosen(
    connection: sqlite3.Connection, hook: str, numbers: Sequence[int] | None, table: str = "dead"
) -> list[int]:
    these = f"SELECT number FROM {table} WHERE hook = ?"  # noqa: S608  # constants
    order = {"dead": "number", "event": "at, number"}[table]  # as an index has them
    rows = connection.execute(f"{these} ORDER BY {order} LIMIT ?", (hook, STEP)) if numbers is None else [
        row for one in numbers[:STEP] for row in connection.execute(f"{these} AND number = ?", (hook, one))
    ]
    return [row[0] for row in rows]


def _delete(connection: sqlite3.Connection, table: str, numbers: Sequence[int]) -> None:
    connection.executemany(f"DELETE FROM {table} WHERE number = ?", [(one,) for one in numbers])  # noqa: S608
