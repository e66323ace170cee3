"""Notes by mail on a web page: mailgw POSTs each letter for wall@ to a site of twisted.web, which shows them.

    (umask 77; openssl rand -hex 32 > hook-secret)
    mailgw check -c mailgw.toml
    twistd -ny webhook_bridge.tac
    swaks --server 127.0.0.1:2525 --from ann@example.net --to wall@example.org --header "Subject: lunch" --body "at one"
    curl http://127.0.0.1:8080/

test_bridge.py tests it.  webhook_bridge.tac runs both in one process; the site knows nothing of that, and may stand on
another machine, or be written in another language: then ``url`` in mailgw.toml is another one.  What is worth a look:

* Nothing is believed before its signature (HMAC-SHA256) and its time are right.  What is wrong there is answered 403,
  which lets mail wait: it is the secret that is wrong, not the letter.
* A POST may come twice (an answer that was lost, a crash).  Its Idempotency-Key is the same then, and is stored in the
  same transaction as the note: the second one changes nothing, and is answered as the first.
* 2xx is said when the note is on disk.  Any trouble of ours is a 500, and mailgw comes again.
* A note that is too long is refused for its recipient, in JSON, and its sender is told.
* SQLite blocks, so it runs in a thread.
"""

import hmac
import html
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

SIGNED = ("Mailgw-Timestamp", "Mailgw-Queue-Id", "Mailgw-Reverse-Path", "Mailgw-Recipients")
FRESH_SECONDS = 300
MOST_CHARACTERS = 2000


def site(database: str, secret: bytes, now: Callable[[], float] = time.time) -> Site:
    """The wall at ``/``, what mailgw POSTs to at ``/mail``.  ``database`` is the path of its file."""
    wall = Wall(database)
    root = Resource()
    root.putChild(b"", Page(wall))
    root.putChild(b"mail", Hook(wall, secret, now))
    return Site(root)


class Later(Resource):
    """One whose answer is a coroutine's: status, kind of content, text."""

    isLeaf = True

    def answered(self, request: Request, answer: Any) -> int:
        task = Deferred.fromCoroutine(answer)
        request.notifyFinish().addErrback(lambda _: task.cancel())  # the client went away
        task.addCallbacks(self.finish, self.fail, callbackArgs=(request,), errbackArgs=(request,))
        return NOT_DONE_YET

    def finish(self, answer: tuple[int, str, str], request: Request) -> None:
        status, kind, text = answer
        request.setResponseCode(status)
        request.setHeader("content-type", kind)
        request.write(text.encode())
        request.finish()

    def fail(self, failure: Failure, request: Request) -> None:
        if not failure.check(CancelledError):
            request.processingFailed(failure)  # it is logged, and answered 500


class Hook(Later):
    def __init__(self, wall: "Wall", secret: bytes, now: Callable[[], float]) -> None:
        super().__init__()
        self.wall = wall
        self.secret = secret
        self.now = now

    def render_POST(self, request: Request) -> int:
        return self.answered(request, self.take(request))

    async def take(self, request: Request) -> tuple[int, str, str]:
        body = request.content.read()
        headers = {name: request.getHeader(name) or "" for name in (*SIGNED, "Mailgw-Signature", "Idempotency-Key")}
        if not is_signed(headers, body, self.secret):
            return 403, "text/plain", "The signature is wrong\n"
        if abs(self.now() - int(headers["Mailgw-Timestamp"])) > FRESH_SECONDS:
            return 403, "text/plain", "That is not of now\n"
        letter = json.loads(body)
        text = letter["text"] or ""
        if letter["unread"] or len(text) > MOST_CHARACTERS:
            refusal = {"code": 552, "status": "5.3.4", "text": f"A note has {MOST_CHARACTERS} characters at most"}
            refused = dict.fromkeys(letter["envelope"]["recipients"], refusal)
            return 200, "application/json", json.dumps({"recipients": refused})
        sender = letter["envelope"]["reverse_path"] or "nobody"
        await deferToThread(
            self.wall.pin, headers["Idempotency-Key"], letter["envelope"]["arrived"], sender, letter["subject"], text)
        return 200, "text/plain", "It hangs\n"


class Page(Later):
    def __init__(self, wall: "Wall") -> None:
        super().__init__()
        self.wall = wall

    def render_GET(self, request: Request) -> int:
        return self.answered(request, self.show())

    async def show(self) -> tuple[int, str, str]:
        notes = await deferToThread(self.wall.notes)
        shown = "".join(
            f"<h2>{html.escape(subject)}</h2><pre>{html.escape(text)}</pre><p>{html.escape(sender)}</p>\n"
            for sender, subject, text in notes)
        return 200, "text/html; charset=utf-8", f"<!doctype html><title>Wall</title>\n{shown}"


def is_signed(headers: dict[str, str], body: bytes, secret: bytes) -> bool:
    """As docs/backends.rst has it: the envelope is signed, too."""
    signed = b"".join(headers[name].encode() + b"\n" for name in SIGNED) + body
    expected = "v1=" + hmac.new(secret, signed, sha256).hexdigest()
    return hmac.compare_digest(headers["Mailgw-Signature"].encode(), expected.encode())


class Wall:
    """Notes in SQLite.  Its methods block: they run in a thread."""

    def __init__(self, database: str) -> None:
        self.database = database

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.database)
        connection.execute(
            "create table if not exists note"
            " (key text primary key, arrived real not null, sender text, subject text, text text)")
        return connection

    def pin(self, key: str, arrived: float, sender: str, subject: str, text: str) -> None:
        with closing(self.connect()) as connection, connection:
            note = (key, arrived, sender, subject, text)
            connection.execute("insert or ignore into note values (?, ?, ?, ?, ?)", note)

    def notes(self) -> list[tuple[str, str, str]]:
        """The last fifty, the newest first."""
        with closing(self.connect()) as connection:
            return connection.execute(
                "select sender, subject, text from note order by arrived desc limit 50").fetchall()
