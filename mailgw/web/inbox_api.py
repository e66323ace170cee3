"""The inbox: what was captured, for people who look at it and for tests that wait for it.

Nothing of a message is shown as what it is but its images: HTML is made harmless (``mail.shown_html``), and answered
with a policy of its own that lets it do nothing, in whatever frame or window it stands; other parts are files to save.
"""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec

from mailgw.mail.shown_letter import IMAGES
from mailgw.web.operations import PREFIX, Asked, Octets, Operation, Problem, Raw, Scope

FRAME: Final = (
    "sandbox; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
# With a sandbox of its own a window is nobody's opener anyway, and browsers refuse the two together.
FRAMED: Final[Mapping[str, str]] = {
    "Content-Security-Policy": FRAME, "X-DNS-Prefetch-Control": "off", "Cross-Origin-Opener-Policy": "",
}
GONE: Final = {404: "There is no such message, or not any more"}


Text = Annotated[str, msgspec.Meta(max_length=1000)]


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """``to``: a whole address, "@domain", or a part of an address; of a recipient, or in To or Cc.  ``from``: likewise
    of the reverse-path, or a part of From.  ``subject``, ``text``: a part of them.  ``search``: words, at most 20, each
    of which is a part of any of these.  None of them is blank.  ``since``: captured then or later, in seconds since
    1970."""

    to: Text | None = None
    from_: Text | None = msgspec.field(default=None, name="from")
    subject: Text | None = None
    text: Text | None = None
    search: Text | None = None
    since: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None = None
    unread: bool | None = None

    def words(self) -> dict[str, object]:
        given = {
            "to": self.to, "from": self.from_, "subject": self.subject, "text": self.text,
            "search": self.search, "since": self.since, "unread": self.unread,
        }
        return {name: value for name, value in given.items() if value is not None}


class Listed(Which, forbid_unknown_fields=True):
    """``wait``: where nothing matches, for so many seconds (60 at most) for a message that does."""

    wait: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    after: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")] | None = None


class Removed(Which, forbid_unknown_fields=True):
    """``all``: where no other word says which."""

    all: bool = False


class InboxRow(msgspec.Struct, kw_only=True):
    id: int
    queue_id: str
    captured: float
    arrived: float
    sender: str
    recipients: list[str]
    backends: list[str]
    login: str
    peer: str
    helo: str
    protocol: str
    tls: bool
    tags: list[str]
    subject: str
    from_: str = msgspec.field(name="from")
    to: str
    date: str
    message_id: str
    attachments: int
    size_octets: int
    kept_octets: int
    is_read: bool


class InboxPage(msgspec.Struct):
    """``messages``, ``unread`` and ``octets`` are of all that is there."""

    items: list[InboxRow]
    next: str | None
    messages: int
    unread: int
    octets: int


class Field(msgspec.Struct):
    name: str
    value: str


class InboxPart(msgspec.Struct):
    number: int
    filename: str
    content_type: str
    content_id: str
    is_inline: bool


class InboxBranch(msgspec.Struct):
    """A part where it stands: ``depth`` 0 is the message itself; ``size_octets`` as it was sent, 0 where there are
    parts in it."""

    depth: int
    content_type: str
    size_octets: int


class InboxLink(msgspec.Struct):
    """``is_mismatch``: its text names another host."""

    text: str
    target: str
    is_mismatch: bool


class InboxMessage(InboxRow, kw_only=True):
    """``parts``: those that are neither its text nor its HTML; ``structure``: all.  ``remote``: what its HTML would
    load from others, the first of ``remote_count``.  ``is_cut``: it is larger than what is kept, or shown, of it.
    ``fault``: why its parts cannot be told."""

    header: list[Field]
    text: str
    has_html: bool
    parts: list[InboxPart]
    structure: list[InboxBranch]
    links: list[InboxLink]
    remote: list[str]
    remote_count: int
    is_cut: bool
    fault: str | None


class InboxRemoved(msgspec.Struct):
    messages: int


def operations() -> Sequence[Operation]:
    return (
        Operation(
            "GET", "/inbox", Scope.READ, "What was captured, the newest first; or wait for what is to come", InboxPage,
            _list, query=Listed,
        ),
        Operation(
            "DELETE", "/inbox", Scope.QUEUE, "Forget what matches", InboxRemoved, _remove_some, query=Removed,
        ),
        Operation("GET", "/inbox/{id}", Scope.READ, "One message", InboxMessage, _show, statuses=GONE),
        Operation("DELETE", "/inbox/{id}", Scope.QUEUE, "Forget a message", None, _remove, statuses=GONE),
        Operation(
            "GET", "/inbox/{id}/html", Scope.READ, "Its HTML, made harmless", Raw("text/html; charset=utf-8"), _html,
            statuses={404: "There is no such message, or it has no HTML"},
        ),
        Operation(
            "GET", "/inbox/{id}/text", Scope.READ, "Its text", Raw("text/plain; charset=utf-8"), _text, statuses=GONE,
        ),
        Operation(
            "GET", "/inbox/{id}/source", Scope.READ, "It, as it came", Raw("message/rfc822"), _source, statuses=GONE,
        ),
        Operation(
            "GET", "/inbox/{id}/parts/{number}", Scope.READ, "One of its parts: an image to show, else a file to save",
            Raw("*/*"), _part, statuses=GONE,
        ),
        Operation("POST", "/inbox/{id}/read", Scope.QUEUE, "It was read", None, _read, statuses=GONE),
        Operation("DELETE", "/inbox/{id}/read", Scope.QUEUE, "It was not read yet", None, _unread, statuses=GONE),
    )


async def _list(asked: Asked) -> object:
    query: Listed = asked.query
    request: dict[str, object] = {"command": "inbox.list", "query": query.words(), "limit": query.limit}
    if query.wait:
        request["wait"] = query.wait
    if query.after is not None:
        request["after"] = query.after
    return await asked.door.answer(request)


async def _remove_some(asked: Asked) -> object:
    query: Removed = asked.query
    if bool(query.words()) is query.all:
        raise Problem(400, "Bad Request", "which? to, from, subject, text, search, since, unread; or all=true")
    request = {"command": "inbox.remove", "query": query.words(), "all": query.all}
    return {"messages": await asked.door.answer(request)}


async def _show(asked: Asked) -> object:
    return await _of(asked, "inbox.show")


async def _remove(asked: Asked) -> object:
    if not await _of(asked, "inbox.remove"):
        raise _gone(asked)
    return None


async def _html(asked: Asked) -> object:
    found = await _of(asked, "inbox.html", part_url=f"{PREFIX}/inbox/{asked.path['id']}/parts/")
    if found["html"] is None:
        raise Problem(404, "Not Found", f"message {asked.path['id']} has no HTML")
    return Octets(found["html"].encode("utf-8", "replace"), headers=FRAMED)


async def _text(asked: Asked) -> object:
    found = await _of(asked, "inbox.show")
    return Octets(found["text"].encode("utf-8", "replace"), headers=FRAMED)


async def _source(asked: Asked) -> object:
    first = base64.b64decode((await _of(asked, "inbox.source"))["octets"])

    async def pieces() -> AsyncIterator[bytes]:
        piece, start = first, 0
        while piece:
            yield piece
            start += len(piece)
            piece = base64.b64decode((await _of(asked, "inbox.source", start=start))["octets"])

    return Octets(pieces(), name=f"{asked.path['id']}.eml", headers=FRAMED)


async def _part(asked: Asked) -> object:
    number = _whole(asked, "number")
    first = await _of(asked, "inbox.part", number=number)

    async def pieces() -> AsyncIterator[bytes]:
        piece, start = base64.b64decode(first["octets"]), 0
        while piece:
            yield piece
            start += len(piece)
            if start >= first["size_octets"]:
                return
            piece = base64.b64decode((await _of(asked, "inbox.part", number=number, start=start))["octets"])

    kind = first["content_type"]
    is_shown = kind in IMAGES
    name = None if is_shown else first["filename"] or f"part-{number}"
    return Octets(pieces(), kind, name, FRAMED)


async def _read(asked: Asked) -> object:
    await _of(asked, "inbox.mark")
    return None


async def _unread(asked: Asked) -> object:
    await _of(asked, "inbox.mark", read=False)
    return None


async def _of(asked: Asked, command: str, **more: object) -> Any:
    """What is answered of the message; Problem where it is not there."""
    found = await asked.door.answer({"command": command, "id": _whole(asked, "id"), **more})
    if found is None:
        raise _gone(asked)
    return found


def _whole(asked: Asked, name: str) -> int:
    word = asked.path[name]
    if not word.isascii() or not word.isdigit() or len(word) > 18:
        raise _gone(asked)
    return int(word)


def _gone(asked: Asked) -> Problem:
    return Problem(404, "Not Found", f"there is no {'/'.join(asked.path.values())[:100]} in the inbox")
