"""What operators ask of the inbox, and the tests of other programs.

    inbox.list     {"items": the rows that match ``query`` (fields of ``store.captured.Wanted``; "from", not from_),
                   the newest first, at most ``limit``; "next": the ``after`` of those behind them, or null; "messages",
                   "unread", "octets": of all that is there}.  With ``wait``: where none matches it waits so many
                   seconds for one that does, ``MOST_WAIT`` at most, and answers as soon as it is there
    inbox.show     all that is to be seen of ``id``: its row, "header", "text", "has_html", "parts", "structure",
                   "links", "remote" (what its HTML would load from others, which is not shown) and their
                   "remote_count", "is_cut", "fault"
    inbox.html     {"html": its HTML, made harmless, or null}; ``part_url`` is put before the numbers of parts
    inbox.source   {"octets": a piece of its content from the octet ``start`` on, in Base64, "" at its end}
    inbox.part     ``number``, from 0: {"filename", "content_type", "size_octets" ..., "octets": a piece, likewise}
    inbox.mark     ``id`` is read, or with ``read`` false not any more
    inbox.remove   ``id``, or all that match ``query``, which has to say something, or with ``all`` all; the number of
                   messages

What is asked of a message that is not there, or not any more, is answered null.  A text of a query that is blank would
match any, and is refused.

Who waits: one look each ``LOOK_SECONDS`` for all, as the mail may have come by another process; where something came,
the messages that had a new copy are held against each query once, however many wait with it, and no others are.
"""

import base64
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailgw.config.settings import Config
from mailgw.config.staging import has_inbox
from mailgw.deliver.inbox import Inbox
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.letter import Attachment
from mailgw.mail.ports import Desk
from mailgw.mail.shown_letter import content_type, html_document, letter_of, media_type, shown
from mailgw.store.captured import FILE, FOLDER, MESSAGE_OCTETS, MOST_ROWS, CapturedMail, CapturedRow, Wanted

MOST_WAIT: Final = 60.0
MOST_WAITING: Final = 100
LOOK_SECONDS: Final = 0.1
USUAL_ROWS: Final = 50
MOST_WORDS: Final = 20
"""Of one search: each is looked for in every message."""
PIECE_OCTETS: Final = 1 << 20
"""Of a part, in one answer."""
PARTS_OCTETS: Final = MESSAGE_OCTETS
"""Of the parts, decoded, that are asked for piece by piece, all together: any one of them fits.  Beyond it those go
that were asked for the longest time ago; who goes on with one has it read again."""
PARTS_SECONDS: Final = 30.0
"""After its last piece was asked for one is forgotten: nobody may come for the next."""
_TEXTS: Final = {"to": "to", "from": "from_", "subject": "subject", "text": "text", "search": "search"}


class OwnInbox:
    """Of a process that delivers nothing itself: opened when it is first asked, until it is closed."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self._open: tuple[Inbox, CapturedMail, ThreadPool] | None = None

    def __call__(self) -> Inbox:
        if self._open is None:
            pool = ThreadPool(0, 1, "mailgw inbox")
            pool.start()
            book = CapturedMail(os.path.join(self._config.state, FOLDER, FILE))
            self._open = Inbox(book, self._config.inbox, self._reactor, pool), book, pool
        return self._open[0]

    def close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened[2].stop()
            opened[1].close()


@attrs.frozen
class _Awaited:
    wanted: Wanted
    limit: int


@attrs.define(eq=False)
class _Look:
    """``seen``: what ``CapturedMail.newest`` was when nothing matched."""

    seen: int
    waiters: list["Deferred[Any]"] = attrs.Factory(list)


@attrs.frozen(eq=False)
class Part:
    told: Mapping[str, object]
    octets: bytes


class Parts:
    """What is asked for piece by piece, by its message and number; for the reactor's thread alone."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._kept: OrderedDict[tuple[int, int], tuple[Part, float]] = OrderedDict()  # with the time of its last use
        self._octets = 0
        self._is_timed = False

    @property
    def octets(self) -> int:
        return self._octets

    def get(self, key: tuple[int, int]) -> Part | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept[key] = found[0], self._reactor.seconds()
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: tuple[int, int], part: Part) -> None:
        self.drop(key)
        if len(part.octets) > PARTS_OCTETS:
            return
        while self._octets + len(part.octets) > PARTS_OCTETS:
            self.drop(next(iter(self._kept)))
        if not self._is_timed:
            self._is_timed = True
            self._reactor.callLater(PARTS_SECONDS, self._forget)
        self._kept[key] = part, self._reactor.seconds()
        self._octets += len(part.octets)

    def drop(self, key: tuple[int, int]) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._octets -= len(found[0].octets)

    def removed(self, message: int | None) -> None:
        """That message is, or, with None, whichever."""
        for key in [one for one in self._kept if message is None or one[0] == message]:
            self.drop(key)

    def _forget(self) -> None:
        now = self._reactor.seconds()
        for key in [key for key, (_, used) in self._kept.items() if now - used >= PARTS_SECONDS]:
            self.drop(key)
        self._is_timed = bool(self._kept)
        if self._kept:
            oldest = next(iter(self._kept.values()))[1]
            self._reactor.callLater(oldest + PARTS_SECONDS - now, self._forget)


class InboxDesk:
    """``inbox`` makes it, when it is wanted.  Where ``config`` has nothing that fills it, it is not there."""

    def __init__(self, config: Callable[[], Config], inbox: Callable[[], Inbox], reactor: Any) -> None:
        self._config = config
        self._inbox = inbox
        self._reactor = reactor
        self._waiting = 0
        self._awaiting: dict[_Awaited, _Look] = {}
        self._is_looking = False
        self.parts = Parts(reactor)

    @property
    def desk(self) -> Desk:
        return {
            "inbox.list": self._list, "inbox.show": self._show, "inbox.html": self._html, "inbox.source": self._source,
            "inbox.part": self._part, "inbox.mark": self._mark, "inbox.remove": self._remove,
        }

    async def _list(self, request: Mapping[str, Any]) -> object:
        wanted = _wanted(request)
        limit = _whole(request, "limit", USUAL_ROWS, 1, MOST_ROWS)
        before = _cursor(request)
        wait = request.get("wait", 0)
        if type(wait) not in (int, float) or not 0 <= wait <= MOST_WAIT:
            raise RefusedRequest(f"wait: expected 0 to {MOST_WAIT:.0f} seconds")
        if wait and before is not None:
            raise RefusedRequest("wait: what comes is not behind what was listed: without after")
        seen, rows, totals = await self._look(wanted, limit, before)
        if not rows and wait:
            if self._waiting >= MOST_WAITING:
                raise TemporaryFault(f"{MOST_WAITING} wait for mail already")
            self._waiting += 1
            try:
                found = await self._awaited(_Awaited(wanted, limit), seen, wait)
                rows, totals = found or ((), await self._ask(CapturedMail.totals))
            finally:
                self._waiting -= 1
        more = rows[:limit]
        return {
            "items": [row_json(one) for one in more],
            "next": str(more[-1].id) if len(rows) > limit else None,
            **attrs.asdict(totals),
        }

    async def _look(self, wanted: Wanted, limit: int, before: int | None) -> Any:
        def look(book: CapturedMail) -> object:
            return book.newest(), book.rows(wanted, limit + 1, before), book.totals()

        return await self._ask(look)

    async def _awaited(self, key: "_Awaited", seen: int, wait: float) -> Any:
        """Rows and totals; None where nothing came in time."""
        found: Deferred[Any] = Deferred()
        look = self._awaiting.setdefault(key, _Look(seen))
        look.waiters.append(found)
        end = self._reactor.callLater(wait, found.callback, None)
        if not self._is_looking:
            self._is_looking = True
            _ = Deferred.fromCoroutine(self._watch())
        try:
            return await found
        finally:
            if end.active():
                end.cancel()
            if found in look.waiters:
                look.waiters.remove(found)
            if not look.waiters and self._awaiting.get(key) is look:
                del self._awaiting[key]

    async def _watch(self) -> None:
        """While somebody waits."""
        try:
            while self._awaiting:
                await deferLater(self._reactor, LOOK_SECONDS)
                wanted = {key: look.seen for key, look in self._awaiting.items()}
                if not wanted:
                    return

                def look(book: CapturedMail, wanted: Mapping[_Awaited, int] = wanted) -> Any:
                    newest = book.newest()
                    found = {
                        key: rows for key, seen in wanted.items()
                        if seen < newest and (rows := book.rows(key.wanted, key.limit + 1, since=seen))
                    }
                    return newest, found, book.totals() if found else None

                try:
                    newest, found, totals = await self._ask(look)
                except (RefusedRequest, TemporaryFault) as fault:
                    for key in wanted:
                        self._tell(key, Failure(fault))  # type: ignore[no-untyped-call]
                    continue
                for key in wanted:
                    if key in found:
                        self._tell(key, (found[key], totals))
                    elif key in self._awaiting:
                        self._awaiting[key].seen = max(newest, wanted[key])
        finally:
            self._is_looking = False

    def _tell(self, key: "_Awaited", answer: Any) -> None:
        look = self._awaiting.pop(key, None)
        for one in [] if look is None else [*look.waiters]:
            if not one.called:
                one.callback(answer)

    async def _show(self, request: Mapping[str, Any]) -> object:
        number = _number(request)

        def show(book: CapturedMail) -> object:
            row, octets = book.row(number), book.octets(number)
            if row is None or octets is None:
                return None
            found = shown(octets)
            return {
                **row_json(row),
                "header": [{"name": name, "value": value} for name, value in found.fields],
                "text": found.text,
                "has_html": found.has_html,
                "parts": [part_json(at, one) for at, one in enumerate(found.attachments)],
                "structure": [
                    {**attrs.asdict(one), "content_type": media_type(one.content_type)} for one in found.structure
                ],
                "links": [attrs.asdict(one) for one in found.links],
                "remote": list(found.remote),
                "remote_count": found.remote_count,
                "is_cut": found.is_cut or row.kept_octets < row.size_octets,
                "fault": found.fault,
            }

        return await self._ask(show)

    async def _html(self, request: Mapping[str, Any]) -> object:
        number, part_url = _number(request), request.get("part_url", "parts/")
        if not isinstance(part_url, str):
            raise RefusedRequest("part_url: expected a text")

        def html(book: CapturedMail) -> object:
            octets = book.octets(number)
            return None if octets is None else {"html": html_document(octets, part_url)}

        return await self._ask(html)

    async def _source(self, request: Mapping[str, Any]) -> object:
        number, start = _number(request), _whole(request, "start", 0, 0, 1 << 62)
        octets = await self._ask(lambda book: book.piece(number, start))
        return None if octets is None else {"octets": base64.b64encode(octets).decode()}

    async def _part(self, request: Mapping[str, Any]) -> object:
        number, start = _number(request), _whole(request, "start", 0, 0, 1 << 62)
        at = _whole(request, "number", 0, 0, 1 << 31)

        key = number, at
        kept = self.parts.get(key)

        def part(book: CapturedMail) -> Part | None:
            if kept is not None and book.has(number):
                return kept
            content = None if kept is not None else book.octets(number)
            parts = () if content is None else letter_of(content).attachments
            return Part(part_json(at, parts[at]), parts[at].octets) if at < len(parts) else None

        found = await self._ask(part)
        if found is None or start + PIECE_OCTETS >= len(found.octets):
            self.parts.drop(key)  # it is gone, or that was its end
            if found is None:
                return None
        elif found is not kept:
            self.parts.keep(key, found)
        piece = base64.b64encode(found.octets[start:start + PIECE_OCTETS]).decode()
        return {**found.told, "size_octets": len(found.octets), "octets": piece}

    async def _mark(self, request: Mapping[str, Any]) -> object:
        number, is_read = _number(request), request.get("read", True)
        if not isinstance(is_read, bool):
            raise RefusedRequest("read: expected true or false")
        return True if await self._ask(lambda book: book.mark(number, is_read)) else None

    async def _remove(self, request: Mapping[str, Any]) -> object:
        if "id" in request:
            number = _number(request)
            count: int = await self._ask(lambda book: book.remove([number]))
            self.parts.removed(number)
            return count
        wanted, is_all = _wanted(request), request.get("all", False)
        if not isinstance(is_all, bool) or is_all is (wanted != Wanted()):
            raise RefusedRequest("inbox.remove needs an id, a query that says which, or all (true)")
        count = await self._ask(lambda book: book.remove(None if is_all else wanted))
        self.parts.removed(None)
        return count

    async def _ask(self, question: Callable[[CapturedMail], Any]) -> Any:
        if not has_inbox(self._config()):
            raise RefusedRequest("nothing is captured here: there is no [staging], and no backend of type inbox")
        try:
            return await self._inbox().ask(question)
        except (RefusedRequest, TemporaryFault):
            raise
        except Exception as fault:
            raise TemporaryFault(f"the inbox cannot be read: {fault}") from fault


def row_json(row: CapturedRow) -> dict[str, object]:
    told = attrs.asdict(row)
    return {"from" if name == "from_" else name: value for name, value in told.items()}


def part_json(number: int, one: Attachment) -> dict[str, object]:
    return {
        "number": number, "filename": one.filename, "content_type": content_type(one), "content_id": one.content_id,
        "is_inline": one.is_inline,
    }


def _number(request: Mapping[str, Any]) -> int:
    number = request.get("id")
    if type(number) is not int or not 0 <= number < 1 << 62:
        raise RefusedRequest(f"{request.get('command')} needs an id, a whole number")
    return number


def _whole(request: Mapping[str, Any], name: str, usual: int, least: int, most: int) -> int:
    value = request.get(name, usual)
    if type(value) is not int or not least <= value <= most:
        raise RefusedRequest(f"{name}: expected a whole number from {least} to {most}")
    return value


def _cursor(request: Mapping[str, Any]) -> int | None:
    after = request.get("after")
    if after is None:
        return None
    if not isinstance(after, str) or not after.isascii() or not after.isdigit() or len(after) > 18:
        raise RefusedRequest("after: expected what an earlier answer had as next")
    return int(after)


def _wanted(request: Mapping[str, Any]) -> Wanted:
    given = request.get("query", {})
    if not isinstance(given, dict):
        raise RefusedRequest("query must be an object")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in _TEXTS and isinstance(value, str) and len(value) <= 1000:
            if name == "search" and len(value.split()) > MOST_WORDS:
                raise RefusedRequest(f"query: search has more than {MOST_WORDS} words")
            if not value.strip():
                raise RefusedRequest(f"query: {name} is blank, which any message has; leave it out, or say a part")
            found[_TEXTS[name]] = value
        elif name == "since" and type(value) in (int, float) and abs(value) < 1e15:
            found["since"] = float(value)
        elif name == "unread" and isinstance(value, bool):
            found["unread"] = value
        else:
            known = ", ".join((*_TEXTS, "since", "unread"))
            raise RefusedRequest(f"query: cannot use {str(name)[:50]!r}; there are {known}: texts of at most 1000 "
                                 "characters, a time, a truth")
    return Wanted(**found)
