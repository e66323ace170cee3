"""What was sent by the HTTP API, in ``sent.sqlite`` below the state folder: which key made which message, and what
became of each recipient.

Jobs for a ``store.ledger.Ledger``; each is one transaction.

Rules:
    A key is written down before its message is committed, and the answer before anybody tries the message: so no crash
    makes two messages of one key, and none is delivered that the book does not know.
    What is finished goes after ``KEEP_SECONDS``, and before that the oldest beyond ``MOST``, but nothing of the last
    ``KEY_SECONDS`` that has a key: where there is no room then, new keys are refused.
    Times are in seconds since the epoch.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from mailgw.store.database import Schema
from mailgw.store.ledger import Job

FILE: Final = "sent.sqlite"
KEEP_SECONDS: Final = 7 * 86400.0
KEY_SECONDS: Final = 86400.0
MOST: Final = 200_000
PRUNED: Final = 200
"""Messages that go with one that comes, at most."""
LONGEST_KEY: Final = 128
FEW: Final = 1000
"""Recipients, or tags, that are looked up for a list; of more than these one is met soon enough."""

PENDING, TAKEN, DISCARDED, BURIED = "pending", "taken", "discarded", "buried"
# Of recipients.  The last ones are the end.
SCHEDULED, QUEUED, DEFERRED, HELD = "scheduled", "queued", "deferred", "held"
DELIVERED, BOUNCED, REMOVED = "delivered", "bounced", "removed"
UNKNOWN: Final = "unknown"
"""Not in the queue, and nobody told: the operator removed it by another query than its queue id, or the gateway was
killed just then.  A later fact counts all the same."""
STATES: Final = (SCHEDULED, QUEUED, DEFERRED, HELD, DELIVERED, BOUNCED, REMOVED, DISCARDED, UNKNOWN)
_FINISHED: Final = f"'{DELIVERED}', '{BOUNCED}', '{REMOVED}', '{DISCARDED}', '{UNKNOWN}'"
_OPEN_YET: Final = f"(state NOT IN ({_FINISHED}) OR state = '{UNKNOWN}')"
_AT: Final = "sent = ? AND recipient = ? AND lane = ?"

_OPEN: Final = f"CREATE INDEX recipient_open ON recipient (sent) WHERE state NOT IN ({_FINISHED})"
_ENDED_ODDLY: Final = f"state IN ('{BOUNCED}', '{REMOVED}', '{DISCARDED}', '{UNKNOWN}')"
_SOUGHT: Final = (
    "CREATE INDEX recipient_named ON recipient (recipient COLLATE NOCASE)",
    f"CREATE INDEX recipient_ended_oddly ON recipient (state) WHERE {_ENDED_ODDLY}",
)
SCHEMA: Final = Schema(3, (
    """CREATE TABLE sent (
        id TEXT PRIMARY KEY,
        token TEXT NOT NULL,            -- who sent it
        key TEXT,                       -- Idempotency-Key
        digest TEXT NOT NULL,           -- of what was posted
        state TEXT NOT NULL,            -- pending, taken, discarded, or buried: nothing is to come of it
        released INTEGER NOT NULL DEFAULT 0,  -- 0: held in the queue until this is 1
        queue_id TEXT NOT NULL DEFAULT '',
        at REAL NOT NULL,
        send_at REAL,
        reverse_path TEXT NOT NULL DEFAULT '',
        message_id TEXT NOT NULL DEFAULT '',
        subject TEXT NOT NULL DEFAULT '',
        size INTEGER NOT NULL DEFAULT 0,
        tags TEXT NOT NULL DEFAULT '[]', metadata TEXT NOT NULL DEFAULT '{}'
    )""",
    "CREATE UNIQUE INDEX sent_key ON sent (token, key) WHERE key IS NOT NULL",
    "CREATE UNIQUE INDEX sent_queue_id ON sent (queue_id) WHERE queue_id <> ''",
    "CREATE INDEX sent_at ON sent (at)",
    "CREATE INDEX sent_open ON sent (state, released) WHERE state = 'pending' OR released = 0",
    """CREATE TABLE recipient (
        sent TEXT NOT NULL REFERENCES sent (id) ON DELETE CASCADE,
        recipient TEXT NOT NULL,
        lane TEXT NOT NULL,
        state TEXT NOT NULL,
        heard INTEGER NOT NULL DEFAULT 0,  -- 1: some attempt told of this lane
        code INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT '', text TEXT NOT NULL DEFAULT '',
        hop TEXT NOT NULL DEFAULT '',
        attempts INTEGER NOT NULL DEFAULT 0,
        due REAL,                       -- the next attempt
        at REAL NOT NULL,               -- when that was so
        PRIMARY KEY (sent, recipient, lane)
    ) WITHOUT ROWID""",
    _OPEN,
    *_SOUGHT,
    "CREATE TABLE tag (tag TEXT NOT NULL, sent TEXT NOT NULL REFERENCES sent (id) ON DELETE CASCADE,"
    " PRIMARY KEY (tag, sent)) WITHOUT ROWID",
    "CREATE INDEX tag_sent ON tag (sent)",
    # To count 200,000 rows takes a millisecond, each time.
    "CREATE TABLE tally (messages INTEGER NOT NULL)",
    "INSERT INTO tally VALUES (0)",
    "CREATE TRIGGER sent_came AFTER INSERT ON sent BEGIN UPDATE tally SET messages = messages + 1; END",
    "CREATE TRIGGER sent_went AFTER DELETE ON sent BEGIN UPDATE tally SET messages = messages - 1; END",
), upgrades={
    1: ("DROP INDEX recipient_open", _OPEN),  # nothing was written down as unknown
    2: _SOUGHT,
})


@attrs.frozen
class Sent:
    """One message.  ``recipients`` as ``Recipient``; ``is_released``: nothing keeps it from being tried any
    more."""

    id: str
    token: str
    digest: str
    state: str
    is_released: bool
    queue_id: str
    at: float
    send_at: float | None
    reverse_path: str
    message_id: str
    subject: str
    size_octets: int
    tags: tuple[str, ...]
    metadata: Mapping[str, str]
    has_key: bool = False
    recipients: "tuple[Recipient, ...]" = ()


@attrs.frozen
class Recipient:
    recipient: str
    lane: str
    state: str
    code: int
    status: str
    text: str
    hop: str
    attempts: int
    due: float | None
    at: float


@attrs.frozen
class Outcome:
    """One fact about one recipient."""

    at: float
    queue_id: str
    recipient: str
    lane: str
    state: str
    code: int = 0
    status: str = ""
    text: str = ""
    hop: str = ""
    attempts: int = 0
    due: float | None = None


class NoRoom(Exception):
    """There are as many keys as are kept, all of them young."""


def begun(one: Sent, key: str | None, now: float, most: int = MOST) -> "Job[Sent | None]":
    """Write down that a message is to be sent, and what is known of it before it is in the queue; or what its key has
    made before (or is making).  NoRoom."""

    def job(connection: sqlite3.Connection) -> Sent | None:
        if key is not None:
            found = _one(connection, "token = ? AND key = ?", (one.token, key))
            if found is not None:
                return found
        _prune(connection, now, most)
        connection.execute(
            "INSERT INTO sent (id, token, key, digest, state, at, send_at, reverse_path, message_id, subject, tags,"
            " metadata) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (one.id, one.token, key, one.digest, PENDING, now, one.send_at, one.reverse_path, one.message_id,
             one.subject, _json(one.tags), _json(dict(one.metadata))),
        )
        return None

    return job


def taken(sent: Sent) -> Job[None]:
    """It is in the queue (or a rule discarded it)."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE sent SET state = ?, released = ?, queue_id = ?, send_at = ?, reverse_path = ?, message_id = ?,"
            " subject = ?, size = ?, tags = ?, metadata = ? WHERE id = ?",
            (sent.state, int(sent.is_released), sent.queue_id, sent.send_at, sent.reverse_path, sent.message_id,
             sent.subject, sent.size_octets, _json(sent.tags), _json(dict(sent.metadata)), sent.id),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO recipient (sent, recipient, lane, state, code, status, text, due, at)"
            " VALUES (?,?,?,?,?,?,?,?,?)",
            [(sent.id, one.recipient, one.lane, one.state, one.code, one.status, one.text, one.due, one.at)
             for one in sent.recipients],
        )
        connection.executemany("INSERT OR IGNORE INTO tag VALUES (?,?)", [(tag, sent.id) for tag in sent.tags])

    return job


def released(ids: Sequence[str]) -> Job[None]:
    def job(connection: sqlite3.Connection) -> None:
        connection.executemany("UPDATE sent SET released = 1 WHERE id = ?", [(one,) for one in ids])

    return job


def forgotten(id: str) -> Job[None]:
    """Nothing came of it: its key is free again."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM sent WHERE id = ? AND state = ?", (id, PENDING))

    return job


def buried(id: str) -> Job[None]:
    """The same, where it may still come into the queue: whoever finds it there knows that it is to go."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE sent SET state = ?, key = NULL, released = 1 WHERE id = ? AND state = ?", (BURIED, id, PENDING))

    return job


def noted(outcomes: Sequence[Outcome]) -> Job[None]:
    """What became of recipients, in the order in which it happened; of messages that are not here nothing is kept."""

    def job(connection: sqlite3.Connection) -> None:
        for one in outcomes:
            found = connection.execute(
                "SELECT id FROM sent WHERE queue_id = ? AND queue_id <> ''", (one.queue_id,)).fetchone()
            if found is not None:
                _note(connection, found[0], one)

    return job


def unsettled(connection: sqlite3.Connection) -> list[Sent]:
    """What is pending, or waits for its release."""
    return _all(connection, "(state = 'pending' OR released = 0)", ())


def under_way(connection: sqlite3.Connection) -> dict[str, set[str]]:
    """Recipients of whom there is more to come, by the queue ids of their messages."""
    rows = connection.execute(
        "SELECT s.queue_id, r.recipient FROM recipient r JOIN sent s ON s.id = r.sent"  # noqa: S608  # constants
        f" WHERE r.state NOT IN ({_FINISHED}) AND s.queue_id <> ''"
    )
    found: dict[str, set[str]] = {}
    for queue_id, recipient in rows:
        found.setdefault(queue_id, set()).add(recipient)
    return found


def lost(gone: Sequence[tuple[str, str]], now: float) -> "Job[int]":
    """Of these, by queue ids and recipients, nothing is in the queue: where there was more to come it is unknown.  A
    lane that they left for another one, of which the end was told, is forgotten.  How many are unknown now."""
    where = f"sent = ? AND recipient = ? AND state NOT IN ({_FINISHED})"

    def job(connection: sqlite3.Connection) -> int:
        count = 0
        for queue_id, recipient in gone:
            message = _one(connection, "queue_id = ? AND queue_id <> ''", (queue_id,))
            if message is None:
                continue
            key = (message.id, recipient)
            is_told = connection.execute(
                f"SELECT 1 FROM recipient WHERE sent = ? AND recipient = ? AND state IN ({_FINISHED})", key  # noqa: S608
            ).fetchone() is not None
            if is_told:
                connection.execute(f"DELETE FROM recipient WHERE {where}", key)  # noqa: S608  # constants
            else:
                count += connection.execute(
                    f"UPDATE recipient SET state = ?, due = NULL, at = ? WHERE {where}", (UNKNOWN, now, *key)  # noqa: S608
                ).rowcount
        return count

    return job


def shown(name: str) -> "Job[Sent | None]":
    """By its id, or its queue id."""

    def job(connection: sqlite3.Connection) -> Sent | None:
        found = _one(connection, "id = ?", (name,)) or _one(connection, "queue_id = ? AND queue_id <> ''", (name,))
        return None if found is None else _with_recipients(connection, [found])[0]

    return job


def about(queue_ids: Sequence[str]) -> "Job[Mapping[str, Sent]]":
    """Those of them that are here, by their queue ids, without recipients."""

    def job(connection: sqlite3.Connection) -> Mapping[str, Sent]:
        found = [_one(connection, "queue_id = ? AND queue_id <> ''", (one,)) for one in queue_ids]
        return {one.queue_id: one for one in found if one is not None}

    return job


def listed(
    token: str | None, state: str | None, tag: str | None, recipient: str | None, after: str, limit: int
) -> "Job[tuple[list[Sent], str | None]]":
    """The newest first, ``limit`` of them, from behind the cursor ``after`` on; and the next cursor, None at the end.
    ``state`` is that of some recipient.  ValueError where the cursor is none."""

    def job(connection: sqlite3.Connection) -> tuple[list[Sent], str | None]:
        where, values = ["state NOT IN ('pending', 'buried')"], list[object]()
        if token is not None:
            where.append("token = ?")
            values.append(token)
        if tag is not None:
            where.append(_with(connection, "tag t WHERE t.tag = ?", tag))
            values.append(tag)
        if state is not None:
            where.append(
                "EXISTS (SELECT 1 FROM recipient t WHERE t.sent = sent.id AND t.state = ?)" if state == DELIVERED
                else _with(connection, f"recipient t WHERE t.state = ? AND t.{_index_of(state)}", state))
            values.append(state)
        if recipient is not None:
            where.append(_with(connection, "recipient t WHERE t.recipient = ? COLLATE NOCASE", recipient))
            values.append(recipient)
        if after:
            at, _, id = after.partition(" ")
            where.append("(at, id) < (?, ?)")
            values += [float(at), id]
        found = _all(connection, " AND ".join(where), values, f"ORDER BY at DESC, id DESC LIMIT {limit + 1}")
        more = f"{found[limit - 1].at!r} {found[limit - 1].id}" if len(found) > limit else None
        return _with_recipients(connection, found[:limit]), more

    return job


# --- below ------------------------------------------------------------------------------------------------

def _index_of(state: str) -> str:
    """The condition of the index that has it."""
    return _ENDED_ODDLY if state in (BOUNCED, REMOVED, DISCARDED, UNKNOWN) else f"state NOT IN ({_FINISHED})"


def _with(connection: sqlite3.Connection, which: str, value: str) -> str:
    """A condition: messages that there is one of ``which`` of.  Where these are few they are looked up, and all else
    would be a walk over the whole book; where they are many a walk meets enough of them before long."""
    few = connection.execute(f"SELECT count(*) FROM (SELECT 1 FROM {which} LIMIT {FEW + 1})", (value,))  # noqa: S608
    if few.fetchone()[0] <= FEW:
        return f"id IN (SELECT t.sent FROM {which})"  # noqa: S608  # constants
    return f"EXISTS (SELECT 1 FROM {which} AND t.sent = sent.id)"  # noqa: S608  # constants


_COLUMNS: Final = (
    "id, token, digest, state, released, queue_id, at, send_at, reverse_path, message_id, subject, size,"
    " key IS NOT NULL, tags, metadata"
)


def _one(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> Sent | None:
    return next(iter(_all(connection, where, values, "LIMIT 1")), None)


def _all(connection: sqlite3.Connection, where: str, values: Sequence[object], end: str = "") -> list[Sent]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM sent WHERE {where} {end}", values)  # noqa: S608  # constants
    return [_sent(row) for row in rows]


def _sent(row: Sequence[Any]) -> Sent:
    id, token, digest, state, is_released, queue_id, at, send_at, path, message_id, subject, size, *rest = row
    has_key, tags, metadata = rest
    return Sent(
        id, token, digest, state, bool(is_released), queue_id, at, send_at, path, message_id, subject, size,
        tuple(json.loads(tags)), json.loads(metadata), bool(has_key),
    )


def _with_recipients(connection: sqlite3.Connection, messages: Iterable[Sent]) -> list[Sent]:
    found = []
    for one in messages:
        rows = connection.execute(
            "SELECT recipient, lane, state, code, status, text, hop, attempts, due, at FROM recipient WHERE sent = ?"
            " ORDER BY recipient, lane", (one.id,)
        ).fetchall()
        found.append(attrs.evolve(one, recipients=tuple(Recipient(*row) for row in rows)))
    return found


def _note(connection: sqlite3.Connection, id: str, one: Outcome) -> None:
    said = (one.state, one.code, one.status, one.text[:1000], one.hop, one.attempts, one.due, one.at, one.lane)
    before = _lane_of(connection, id, one)
    at = (id, one.recipient, before)
    if before is None:
        # Who is removed and is not here was none to deliver to: an alias that waits for its report.
        if one.state != REMOVED:
            connection.execute(
                "INSERT INTO recipient (state, code, status, text, hop, attempts, due, at, lane, sent, recipient,"
                " heard) VALUES (?,?,?,?,?,?,?,?,?,?,?,1)", (*said, id, one.recipient))
    elif one.state == REMOVED:  # the last answer stays
        connection.execute(
            "UPDATE recipient SET state = ?, due = NULL, at = ?, lane = ?, heard = 1"  # noqa: S608  # constants
            f" WHERE {_AT} AND {_OPEN_YET}", (one.state, one.at, one.lane, *at))
    else:
        # Who was removed while being tried waits for nothing, whatever came of that; but who has it has it.
        connection.execute(
            "UPDATE recipient SET state = ?, code = ?, status = ?, text = ?, hop = ?, attempts = ?, due = ?,"  # noqa: S608
            f" at = ?, lane = ?, heard = 1 WHERE {_AT} AND (state <> '{REMOVED}' OR ? = '{DELIVERED}')",
            (*said, *at, one.state))


def _lane_of(connection: sqlite3.Connection, id: str, one: Outcome) -> str | None:
    """The lane by which the recipient stands here: the outcome's, or else one that it left for that, by a rule before
    anybody tried it, or by an operator's order.  None where there is neither."""
    found = connection.execute(
        "SELECT lane FROM recipient WHERE sent = ? AND recipient = ?"  # noqa: S608  # constants
        f" AND (lane = ? OR {_OPEN_YET})"
        " ORDER BY lane = ? DESC, heard LIMIT 1",
        (id, one.recipient, one.lane, one.lane),
    ).fetchone()
    return None if found is None else str(found[0])


def _prune(connection: sqlite3.Connection, now: float, most: int) -> None:
    finished = (
        "NOT EXISTS (SELECT 1 FROM recipient r"  # noqa: S608  # constants
        f" WHERE r.sent = sent.id AND r.state NOT IN ({_FINISHED}))"
    )
    connection.execute(
        "DELETE FROM sent WHERE id IN (SELECT id FROM sent"  # noqa: S608  # constants
        f" WHERE at < ? AND state <> 'pending' AND {finished} ORDER BY at LIMIT {PRUNED})",
        (now - KEEP_SECONDS,),
    )
    count = connection.execute("SELECT messages FROM tally").fetchone()[0]
    if count < most:
        return
    gone = connection.execute(
        f"DELETE FROM sent WHERE id IN (SELECT id FROM sent WHERE (key IS NULL OR at < ?)"  # noqa: S608
        f" AND state <> 'pending' AND released = 1 ORDER BY at LIMIT {PRUNED})",
        (now - KEY_SECONDS,),
    ).rowcount
    if count - gone >= most:
        raise NoRoom


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
