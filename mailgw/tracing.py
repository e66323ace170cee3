"""The desk at which the journal answers: which messages there were, and why one of them is where it is.

    trace             messages, sessions and refusals, the newest first, for one of ``word`` (whatever a person types:
                      ``store.journal_needles.by_word``), ``queue_id``, ``message_id``, ``address`` or ``peer`` (an
                      address or a network); ``since`` in epoch seconds, ``limit`` rows, ``cursor``:
                      {"items": rows, "next": cursor or null, "searched_back_to": epoch seconds or null,
                      "is_cut": whether it ended by its bounds, "octets", "unreadable" lines, "files"}
    trace.story       one message, by ``queue_id``, from its connection to its last attempt
                      (``store.journal_story.told``); without facts where the journal tells none
    trace.attempts    of a message, by ``queue_id``: its attempts alone, with what was said in them

With ``next`` there may be more, further back; where ``is_cut`` the rest was not looked at yet.  A page may have no
items and a ``next``.

Rules:
    The reactor reads no file: a thread of its pool does, two searches at a time, for ``Bounds`` each.
    Where the journal is off, or goes to standard output, that is said: nobody is told that there was no such mail.
"""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Final, TypeVar

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThreadPool

from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.ports import Desk, Request
from mailgw.store.journal import STANDARD_OUTPUT
from mailgw.store.journal_needles import (
    MOST_CHARACTERS,
    Sought,
    by_address,
    by_message_id,
    by_peer,
    by_queue_id,
    by_word,
)
from mailgw.store.journal_search import Backwards, BadCursor, Bounds, Place
from mailgw.store.journal_story import Told, rows, story, with_last

USUAL_ROWS: Final = 100
MOST_ROWS: Final = 1000
AT_ONCE: Final = 2
WAITING: Final = 16
"""Searches beyond those."""
LIST_BOUNDS: Final = Bounds(512 << 20, 2.0)
LAST_BOUNDS: Final = Bounds(1 << 30, 1.0)
"""To look for what became of the messages of a page."""
STORY_BOUNDS: Final = Bounds(4 << 30, 10.0)
MOST_SECONDS: Final = 1e11
T = TypeVar("T")


def _peer(word: str) -> Sought:
    return by_peer(ip_network(word, strict=False))


_BY: Final[dict[str, Callable[[str], Sought]]] = {
    "word": by_word, "queue_id": by_queue_id, "message_id": by_message_id, "address": by_address, "peer": _peer,
}


class Tracing:
    """``path`` says where the journal is, now: a file, ``"-"``, or None.  ``reactor`` has a pool of threads."""

    def __init__(self, path: Callable[[], str | None], reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._turns = DeferredSemaphore(AT_ONCE)
        self._waiting = 0

    def desk(self) -> Desk:
        return {"trace": self._trace, "trace.story": self._story, "trace.attempts": self._attempts}

    async def attempts_of(self, queue_id: str) -> list[Told]:
        """Those that the journal tells of, the oldest first; [] where it tells of none, or is not kept in a file.

        TemporaryFault where it cannot be read.
        """
        try:
            found = await self._of(queue_id, None)
        except RefusedRequest:
            return []
        attempts: list[Told] = found["attempts"]
        return attempts

    async def _trace(self, request: Request) -> object:
        sought = sought_by(request)
        since, limit = _number(request, "since", 0.0), _limit(request)
        place = _place(request)
        path = file_of(self._path())

        def look() -> Told:
            search = Backwards(path, sought, since, place, LIST_BOUNDS)
            found, more = rows(search, limit)
            return page(search, with_last(path, found, LAST_BOUNDS), more)

        return await self._in_turn(look)

    async def _story(self, request: Request) -> object:
        return await self._of(_queue_id(request), request)

    async def _attempts(self, request: Request) -> object:
        return await self.attempts_of(_queue_id(request))

    async def _of(self, queue_id: str, request: Request | None) -> Told:
        path = file_of(self._path())
        since = _number(request, "since", None) if request is not None else None
        return await self._in_turn(lambda: story(path, queue_id, STORY_BOUNDS, since=since).as_json())

    async def _in_turn(self, look: Callable[[], T]) -> T:
        if self._waiting >= AT_ONCE + WAITING:
            raise TemporaryFault("too many searches of the journal at once; try again")
        self._waiting += 1
        try:
            await self._turns.acquire()
            try:
                return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), look)
            except OSError as fault:
                raise TemporaryFault(f"{fault.filename or 'the journal'}: {fault.strerror or fault}") from fault
            finally:
                self._turns.release()
        finally:
            self._waiting -= 1


def page(search: Backwards, found: list[Told], more: Place | None) -> Told:
    """What a search came to, as operators are told."""
    return {
        "items": found, "next": None if more is None else str(more), "searched_back_to": search.searched_back_to,
        "is_cut": search.is_cut, "octets": search.octets, "unreadable": search.unreadable, "files": list(search.files),
    }


def file_of(path: str | None) -> str:
    """RefusedRequest where the journal is in no file."""
    if path is None:
        raise RefusedRequest("the journal is off: what became of a message cannot be told")
    if path == STANDARD_OUTPUT:
        raise RefusedRequest(
            'the journal goes to standard output ([journal] path = "-"): search where that is kept, or give it a file'
        )
    return path


def sought_by(request: Request) -> Sought:
    """RefusedRequest where it is not said what, or what cannot be sought."""
    given = [name for name in _BY if request.get(name) is not None]
    if len(given) != 1:
        raise RefusedRequest(f"trace needs one of {', '.join(_BY)}")
    name = given[0]
    word = request[name]
    if not isinstance(word, str) or not 0 < len(word) <= MOST_CHARACTERS:
        raise RefusedRequest(f"{name}: expected a text of 1 to {MOST_CHARACTERS} characters")
    try:
        return _BY[name](word)
    except ValueError as fault:
        raise RefusedRequest(f"{name}: {fault}") from None


def _queue_id(request: Request) -> str:
    word = request.get("queue_id")
    if not isinstance(word, str) or not word or len(word) > MOST_CHARACTERS:
        raise RefusedRequest(f"{request.get('command')} needs a queue_id")
    try:
        by_queue_id(word)
    except ValueError as fault:
        raise RefusedRequest(f"queue_id: {fault}") from None
    return word


def _place(request: Request) -> Place | None:
    cursor = request.get("cursor")
    if cursor is None:
        return None
    try:
        return Place.of(cursor if isinstance(cursor, str) else "")
    except BadCursor:
        raise RefusedRequest("cursor: expected what an earlier answer had as next") from None


def _number(request: Request, name: str, usual: Any) -> Any:
    value = request.get(name)
    if value is None:
        return usual
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < MOST_SECONDS:
        raise RefusedRequest(f"{name}: expected seconds since the epoch")
    return float(value)


def _limit(request: Request) -> int:
    limit = request.get("limit", USUAL_ROWS)
    if type(limit) is not int or not 0 < limit <= MOST_ROWS:
        raise RefusedRequest(f"limit: expected a number from 1 to {MOST_ROWS}")
    return limit
