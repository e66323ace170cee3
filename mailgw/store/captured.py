"""What was captured, in ``inbox/inbox.sqlite`` below the state folder: a row a message, and one for each recipient.

Several processes may write (each worker delivers), and the one that is asked by operators reads (``store.database``).
A file for each worker was rejected: numbers, bounds and order would hold for each alone.

Rules:
    What was kept is on disk when ``keep`` returns.
    A message is known by its queue id, and a copy by its recipient besides: a repeat adds nothing.
    More than ``messages``, or ``octets`` (contents and the texts that are searched), are never there: the oldest go as
    new ones come, in the same transaction.  Of a message, and of all, at most ``MESSAGE_OCTETS`` is kept, or what the
    bound is; ``kept_octets`` says how much.
    Numbers grow and are nobody's again: they are the order, and what a list is paged by.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import attrs

from mailgw.mail.shown_letter import Digest, digest
from mailgw.store.database import BUSY_SECONDS, Database, Schema, Sharing, transaction

FOLDER: Final = "inbox"
FILE: Final = "inbox.sqlite"
MESSAGE_OCTETS: Final = 64 << 20
CHUNK_OCTETS: Final = 256 * 1024
MOST_ROWS: Final = 1000

SCHEMA: Final = Schema(1, (
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never another's
        queue_id TEXT NOT NULL UNIQUE,
        captured REAL NOT NULL,         -- of its last copy; seconds since the epoch, UTC; so are all times here
        arrived REAL NOT NULL,          -- when the queue took it
        reverse_path TEXT NOT NULL,     -- '' is the null path
        login TEXT NOT NULL, peer TEXT NOT NULL, helo TEXT NOT NULL, protocol TEXT NOT NULL,
        tags TEXT NOT NULL,             -- the words that rules gave it: a JSON list
        subject TEXT NOT NULL, author TEXT NOT NULL, addressee TEXT NOT NULL, date TEXT NOT NULL,
        message_id TEXT NOT NULL,
        addressed TEXT NOT NULL,        -- ' a@example.org b@example.org ': those in To and Cc
        attachments INTEGER NOT NULL,
        size_octets INTEGER NOT NULL, kept_octets INTEGER NOT NULL,
        octets INTEGER NOT NULL,        -- about what it takes here
        is_read INTEGER NOT NULL DEFAULT 0
    )""",
    "CREATE INDEX message_captured ON message (captured)",
    "CREATE INDEX message_octets ON message (octets)",
    """CREATE TABLE copy (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        message INTEGER NOT NULL,
        recipient TEXT NOT NULL,
        folded TEXT NOT NULL,           -- in lower case
        backend TEXT NOT NULL,          -- whose mail it was
        UNIQUE (message, recipient)
    )""",
    "CREATE INDEX copy_folded ON copy (folded)",
    """CREATE TABLE words (
        message INTEGER PRIMARY KEY, subject TEXT NOT NULL, author TEXT NOT NULL, text TEXT NOT NULL
    )""",
    "CREATE TABLE chunk (message INTEGER NOT NULL, at INTEGER NOT NULL, octets BLOB NOT NULL)",
    "CREATE UNIQUE INDEX chunk_at ON chunk (message, at)",
), Sharing.SHARED)
_TABLES: Final = (("copy", "message"), ("words", "message"), ("chunk", "message"), ("message", "id"))
_ROW: Final = (
    "id, queue_id, captured, arrived, reverse_path, login, peer, helo, protocol, tags, subject, author, addressee,"
    " date, message_id, attachments, size_octets, kept_octets, is_read"
)
# Of each row for itself: "id IN (SELECT ...)" would look through the words of all, however few rows there are to test.
_SAID: Final = "EXISTS (SELECT 1 FROM words WHERE words.message = message.id AND {})"
_ENTRY_OCTETS: Final = 500
"""A message, beside its content and words."""


@attrs.frozen
class Bounds:
    messages: int
    octets: int


@attrs.frozen(eq=False)
class Capture:
    """One message that is to be kept, for ``recipients``, all of one backend.  ``octets``: all of it, or its first
    ``MESSAGE_OCTETS``."""

    queue_id: str
    recipients: tuple[str, ...]
    backend: str
    captured: float
    arrived: float
    reverse_path: str
    login: str
    peer: str
    helo: str
    protocol: str
    tags: tuple[str, ...]
    octets: bytes = attrs.field(repr=False)
    size_octets: int


@attrs.frozen
class CapturedRow:
    """A message in a list.  ``tls``: it came encrypted; ``sender`` is the reverse-path, ``from_`` what From says."""

    id: int
    queue_id: str
    captured: float
    arrived: float
    sender: str
    recipients: tuple[str, ...]
    backends: tuple[str, ...]
    login: str
    peer: str
    helo: str
    protocol: str
    tls: bool
    tags: tuple[str, ...]
    subject: str
    from_: str
    to: str
    date: str
    message_id: str
    attachments: int
    size_octets: int
    kept_octets: int
    is_read: bool


@attrs.frozen
class Wanted:
    """Which messages; every field that is not None must match, without regard to case.

    ``to`` with something before its "@" is a whole address, with nothing before it a domain, else a part of an address;
    it is a recipient's, or in To or Cc.  ``from_`` likewise of the reverse-path, or a part of From.  ``subject`` and
    ``text`` are parts of those; each word of ``search`` is a part of any of these.  ``since``: captured then or later.
    A text that is blank says nothing.
    """

    to: str | None = None
    from_: str | None = None
    subject: str | None = None
    text: str | None = None
    search: str | None = None
    since: float | None = None
    unread: bool | None = None


@attrs.frozen
class Totals:
    messages: int
    unread: int
    octets: int


class CapturedMail:
    """``path`` None: in memory.  Opened by the first use.  Its methods block; one caller at a time.

    sqlite3.Error, or OSError, where the disk fails: nothing is changed then.
    """

    def __init__(self, path: str | None, busy_seconds: float = BUSY_SECONDS) -> None:
        self._file = Database(path, SCHEMA, busy_seconds)

    def keep(self, captures: Sequence[Capture], bounds: Bounds) -> None:
        """All of them, or none."""
        # What is read of them is read before the file is locked.
        known = [(one, digest(one.octets[:MESSAGE_OCTETS])) for one in captures]
        connection = self._file.open()
        with transaction(connection):
            gone = 0
            for capture, found in known:
                number = _insert(connection, capture, found, min(MESSAGE_OCTETS, bounds.octets))
                gone += _prune(connection, bounds, number)
            if gone:
                connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()

    def rows(
        self, wanted: Wanted, limit: int, before: int | None = None, since: int | None = None,
    ) -> list[CapturedRow]:
        """The newest first; those with a smaller number than ``before``, and with a copy that was kept after ``newest``
        was ``since``: no others are looked at then."""
        connection = self._file.open()
        where, values = _where(wanted)
        if before is not None:
            where, values = [*where, "id < ?"], [*values, before]
        if since is not None:
            where, values = ["id IN (SELECT message FROM copy WHERE seq > ?)", *where], [since, *values]
        clause = f"WHERE {' AND '.join(where)}" if where else ""
        found = connection.execute(
            f"SELECT {_ROW} FROM message {clause} ORDER BY id DESC LIMIT ?",  # noqa: S608  # of constants
            (*values, min(limit, MOST_ROWS + 1)),  # one more tells that there is more
        ).fetchall()
        return [_row(connection, one) for one in found]

    def row(self, number: int) -> CapturedRow | None:
        connection = self._file.open()
        found = connection.execute(f"SELECT {_ROW} FROM message WHERE id = ?", (number,)).fetchone()  # noqa: S608
        return None if found is None else _row(connection, found)

    def has(self, number: int) -> bool:
        return self._file.open().execute("SELECT 1 FROM message WHERE id = ?", (number,)).fetchone() is not None

    def octets(self, number: int) -> bytes | None:
        """All that is kept of its content; None where there is no such message."""
        connection = self._file.open()
        if not self.has(number):
            return None
        chunks = connection.execute("SELECT octets FROM chunk WHERE message = ? ORDER BY at", (number,)).fetchall()
        return b"".join([one for (one,) in chunks])

    def piece(self, number: int, start: int) -> bytes | None:
        """A chunk of its content from the octet ``start`` on, b"" at its end; None where there is no such message."""
        connection = self._file.open()
        if not self.has(number):
            return None
        at = start // CHUNK_OCTETS * CHUNK_OCTETS
        found = connection.execute("SELECT octets FROM chunk WHERE message = ? AND at = ?", (number, at)).fetchone()
        return b"" if found is None else bytes(found[0][start - at:])

    def newest(self) -> int:
        """Grows with each copy that is kept."""
        return int(self._file.open().execute("SELECT coalesce(max(seq), 0) FROM copy").fetchone()[0])

    def totals(self) -> Totals:
        found = self._file.open().execute(
            "SELECT count(*), coalesce(sum(is_read = 0), 0), coalesce(sum(octets), 0) FROM message").fetchone()
        return Totals(*map(int, found))

    def remove(self, which: Sequence[int] | Wanted | None) -> int:
        """Those of these numbers, those that are wanted, or, for None, all; how many went.  ValueError where what is
        wanted says nothing: that is not all."""
        where, values = _where(which) if isinstance(which, Wanted) else ([], [])
        if isinstance(which, Wanted) and not where:
            raise ValueError("who wants all removed says so")
        connection = self._file.open()
        with transaction(connection):
            if which is None or isinstance(which, Wanted):
                clause = f"WHERE {' AND '.join(where)}" if where else ""
                found = connection.execute(f"SELECT id FROM message {clause}", values).fetchall()  # noqa: S608
                numbers: Sequence[int] = [one for (one,) in found]
            else:
                numbers = which
            gone = sum([_remove(connection, number) for number in numbers])
            if gone:
                connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        return gone

    def mark(self, number: int, is_read: bool) -> bool:
        """Whether there is such a message."""
        connection = self._file.open()
        with transaction(connection):
            changed = connection.execute("UPDATE message SET is_read = ? WHERE id = ?", (int(is_read), number))
        return changed.rowcount > 0

    def close(self) -> None:
        self._file.close()


# --- in -------------------------------------------------------------------------------------------------

def _insert(connection: sqlite3.Connection, capture: Capture, found: Digest, most: int) -> int:
    """Its number, a new one or the one that it has."""
    known = connection.execute("SELECT id FROM message WHERE queue_id = ?", (capture.queue_id,)).fetchone()
    number = int(known[0]) if known is not None else _insert_message(connection, capture, found, most)
    added = [
        connection.execute(
            "INSERT OR IGNORE INTO copy (message, recipient, folded, backend) VALUES (?,?,?,?)",
            (number, one, one.lower(), capture.backend),
        ).rowcount
        for one in capture.recipients
    ]
    if known is not None and any(added):
        connection.execute("UPDATE message SET captured = ? WHERE id = ?", (capture.captured, number))
    return number


def _insert_message(connection: sqlite3.Connection, capture: Capture, found: Digest, most: int) -> int:
    words = (found.subject.casefold(), found.author.casefold(), found.text)
    cost = _ENTRY_OCTETS + sum(len(one.encode("utf-8", "replace")) for one in words)
    kept = capture.octets[:max(0, min(most, MESSAGE_OCTETS) - cost)]
    added = connection.execute(
        "INSERT INTO message (queue_id, captured, arrived, reverse_path, login, peer, helo, protocol, tags, subject,"
        " author, addressee, date, message_id, addressed, attachments, size_octets, kept_octets, octets)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (capture.queue_id, capture.captured, capture.arrived, capture.reverse_path, capture.login, capture.peer,
         capture.helo, capture.protocol, json.dumps(capture.tags), _plain(found.subject), _plain(found.author),
         _plain(found.to), _plain(found.date), _plain(found.message_id), _plain(f" {' '.join(found.addressed)} "),
         found.attachments, capture.size_octets, len(kept), cost + len(kept)),
    )
    number = added.lastrowid
    assert number is not None
    connection.execute("INSERT INTO words VALUES (?,?,?,?)", (number, *map(_plain, words)))
    connection.executemany(
        "INSERT INTO chunk VALUES (?,?,?)",
        ((number, at, kept[at:at + CHUNK_OCTETS]) for at in range(0, len(kept), CHUNK_OCTETS)),
    )
    return number


def _plain(text: str) -> str:
    """As SQLite takes it: a half of a surrogate pair has no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _prune(connection: sqlite3.Connection, bounds: Bounds, new: int) -> int:
    """How many went, the oldest first; ``new`` stays."""
    count, octets = connection.execute("SELECT count(*), sum(octets) FROM message").fetchone()
    gone = 0
    while count > bounds.messages or octets > bounds.octets:
        found = connection.execute(
            "SELECT id, octets FROM message WHERE id <> ? ORDER BY id LIMIT 1", (new,)).fetchone()
        if found is None:
            break
        gone += _remove(connection, found[0])
        count, octets = count - 1, octets - found[1]
    return gone


def _remove(connection: sqlite3.Connection, number: int) -> int:
    gone = 0
    for table, column in _TABLES:
        gone = connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,)).rowcount  # noqa: S608
    return gone


# --- out ------------------------------------------------------------------------------------------------

def _row(connection: sqlite3.Connection, found: Sequence[Any]) -> CapturedRow:
    (number, queue_id, captured, arrived, sender, login, peer, helo, protocol, tags, subject, author, to, date,
     message_id, attachments, size, kept, is_read) = found
    copies = connection.execute(
        "SELECT recipient, backend FROM copy WHERE message = ? ORDER BY seq", (number,)).fetchall()
    return CapturedRow(
        number, queue_id, captured, arrived, sender, tuple(one for one, _ in copies),
        tuple(dict.fromkeys(backend for _, backend in copies)), login, peer, helo, protocol, _is_tls(protocol),
        tuple(json.loads(tags)), subject, author, to, date, message_id, attachments, size, kept, bool(is_read),
    )


def _is_tls(protocol: str) -> bool:
    """RFC 3848, RFC 6531 s4.3: ESMTPS, ESMTPSA, LMTPS, UTF8SMTPS ..."""
    return protocol.rstrip("A").endswith("S")


def _where(wanted: Wanted) -> tuple[list[str], list[object]]:
    where: list[str] = []
    values: list[object] = []

    def also(condition: str, *given: object) -> None:
        where.append(condition)
        values.extend(given)

    if wanted.to and wanted.to.strip():
        one = wanted.to.strip().lower()
        test, given = _address_test("folded", one)
        header = f" {one} " if "@" in one[1:] else f"{one} " if one.startswith("@") else one
        there = f"EXISTS (SELECT 1 FROM copy WHERE copy.message = message.id AND {test})"  # noqa: S608  # of constants
        also(f"({there} OR instr(addressed, ?))", given, header)
    if wanted.from_ and wanted.from_.strip():
        one = wanted.from_.strip().lower()
        test, given = _address_test("lower(reverse_path)", one)
        author = _SAID.format("instr(author, ?)")
        also(f"({test} OR {author})", given, one.casefold())
    if wanted.subject and wanted.subject.strip():
        also(_SAID.format("instr(subject, ?)"), wanted.subject.casefold())
    if wanted.text and wanted.text.strip():
        also(_SAID.format("instr(text, ?)"), wanted.text.casefold())
    for word in (wanted.search or "").split():
        there = "EXISTS (SELECT 1 FROM copy WHERE copy.message = message.id AND instr(folded, ?))"
        said = _SAID.format("(instr(author, ?) OR instr(subject, ?) OR instr(text, ?))")
        also(
            f"({there} OR instr(addressed, ?) OR instr(lower(reverse_path), ?) OR {said})",
            *[word.lower()] * 3, *[word.casefold()] * 3,
        )
    if wanted.since is not None:
        also("captured >= ?", wanted.since)
    if wanted.unread is not None:
        also("is_read = ?", int(not wanted.unread))
    return where, values


def _address_test(column: str, word: str) -> tuple[str, str]:
    """A condition with one value."""
    if word.startswith("@"):
        return f"instr({column} || ' ', ? || ' ')", word
    return (f"{column} = ?" if "@" in word else f"instr({column}, ?)"), word
