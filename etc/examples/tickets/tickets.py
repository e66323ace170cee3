"""Tickets by mail: a letter to help@ opens one, letters to ticket+NUMBER@ go to it.

    mailgw.toml beside this file runs it:  PYTHONPATH=. twistd -n mailgw -c mailgw.toml
    test_tickets.py tests it:              pytest

Everything is in one SQLite database (``TICKETS_DB``, default ``tickets.db`` in the working folder).  What is worth
a look:

* A letter may come twice (a crash, a deadline): ``message.key`` is the same then, and it is filed once.
* SQLite blocks, so it runs in a thread.
* Whoever opens a ticket gets its number, by mail, once it is filed, and not before the answer is in the queue is the
  letter done.  What a program wrote (a report, an absence notice, a list) is filed, and not answered: else two
  programs write to each other for ever.
* ``when="transaction"``: a letter for a ticket that is not there is refused while its client waits.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from twisted.internet.threads import deferToThread

from mailgw import IncomingMessage, MailApp, Reject, Retry

DATABASE = os.environ.get("TICKETS_DB", "tickets.db")
DOMAIN = "desk.example.org"
SCHEMA = """
create table if not exists ticket (
    number integer primary key, opened real not null, author text not null, subject text not null,
    is_answered integer not null default 0
);
create table if not exists letter (
    key text primary key, ticket integer not null references ticket, author text not null, text text not null
);
create table if not exists file (ticket integer not null, name text not null, octets blob not null);
"""

app = MailApp(deadline="1m", author=f"Help Desk <help@{DOMAIN}>")
in_thread: Callable[..., Any] = deferToThread


@app.middleware
async def database_trouble(message: IncomingMessage, call_next: Callable[[IncomingMessage], Any]) -> None:
    """A database that is locked or full is nobody's fault who writes to us: again in a minute."""
    try:
        await call_next(message)
    except sqlite3.OperationalError as fault:
        raise Retry(f"The tickets cannot be reached now ({fault})", after="1m") from fault


@app.recipient(f"help@{DOMAIN}")
async def opened(message: IncomingMessage) -> None:
    number, is_answered = await in_thread(
        open_ticket, message.key, author_of(message), message.subject or "(no subject)", text_of(message),
        files_of(message))
    if is_answered or message.is_automatic or message.author is None:
        return
    await app.send(
        to=message.author,
        subject=f"[ticket {number}] {message.subject}",
        text=f"Thank you: this is ticket {number} now.  What you answer goes to it.\n",
        author=f"Help Desk <{app.address_for('followed', number=number)}>",
        reverse_path=None,  # nobody wants to hear that it did not arrive
        headers={"Auto-Submitted": "auto-replied", **in_reply_to(message)},
    )
    await in_thread(mark_answered, number)


@app.recipient(f"ticket+{{number:int}}@{DOMAIN}", when="transaction")
async def followed(message: IncomingMessage, number: int) -> None:
    is_there = await in_thread(
        follow_ticket, message.key, number, author_of(message), text_of(message), files_of(message))
    if not is_there:
        raise Reject(f"There is no ticket {number}", status="5.1.1")


@app.recipient(f"postmaster@{DOMAIN}")
async def postmaster(message: IncomingMessage) -> None:
    """Every domain that takes mail has one (RFC 5321 s4.5.1): ours opens tickets, which nobody is told of."""
    await in_thread(
        open_ticket, message.key, author_of(message), message.subject, text_of(message), files_of(message))


def author_of(message: IncomingMessage) -> str:
    return str(message.author or message.reverse_path or "")


def in_reply_to(message: IncomingMessage) -> dict[str, str]:
    return {"In-Reply-To": message.headers["message-id"]} if "message-id" in message.headers else {}


def text_of(message: IncomingMessage) -> str:
    """What is too complex to be read is filed all the same, with that instead of a text."""
    return f"({message.fault})" if message.fault else message.text or message.html


def files_of(message: IncomingMessage) -> list[tuple[str, bytes]]:
    return [] if message.fault else [(one.filename or one.content_type, one.octets) for one in message.attachments]


# --- the database: these run in a thread --------------------------------------------------------------

def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE)
    connection.executescript(SCHEMA)
    return connection


def open_ticket(
    key: str, author: str, subject: str, text: str, files: list[tuple[str, bytes]]
) -> tuple[int, bool]:
    """The number, and whether its author knows it already; the same for a letter that was filed before."""
    with closing(connect()) as connection, connection:
        known = connection.execute(
            "select number, is_answered from ticket join letter on ticket = number where key = ?", (key,)).fetchone()
        if known is not None:
            return known[0], bool(known[1])
        number = connection.execute(
            "insert into ticket (opened, author, subject) values (?, ?, ?)", (time.time(), author, subject)).lastrowid
        assert number is not None
        _file(connection, key, number, author, text, files)
    return number, False


def follow_ticket(key: str, number: int, author: str, text: str, files: list[tuple[str, bytes]]) -> bool:
    """Whether there is such a ticket."""
    with closing(connect()) as connection, connection:
        if connection.execute("select 1 from ticket where number = ?", (number,)).fetchone() is None:
            return False
        if connection.execute("select 1 from letter where key = ?", (key,)).fetchone() is None:
            _file(connection, key, number, author, text, files)
    return True


def mark_answered(number: int) -> None:
    with closing(connect()) as connection, connection:
        connection.execute("update ticket set is_answered = 1 where number = ?", (number,))


def _file(
    connection: sqlite3.Connection, key: str, number: int, author: str, text: str, files: list[tuple[str, bytes]]
) -> None:
    connection.execute("insert into letter values (?, ?, ?, ?)", (key, number, author, text))
    connection.executemany("insert into file values (?, ?, ?)", [(number, *one) for one in files])
