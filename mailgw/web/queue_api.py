"""The queue: what waits, for whom and why; and what is to become of it.

What ``mailgw queue`` says is said here, in the words of ``control``: times are seconds since the epoch, a state is
waiting, active, held, or suspended.
"""

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from mailgw.mail.errors import RefusedRequest
from mailgw.web.operations import Asked, Octets, Operation, Problem, Raw, Scope

MOST_ITEMS: Final = 1000
MOST_IDS: Final = 1000
CONTENT: Final = "message/rfc822"

_CURSOR: Final = re.compile(r"([0-9A-Za-z]{1,64})-([0-9]{1,9})\Z")
State = Literal["waiting", "active", "held", "suspended"]
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Time = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)]


class Which(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Whom an order means: all that is given must match.  ``address`` is part of the sender or of the recipient,
    ``reason`` part of the last answer, and neither is blank; ``sender`` ``""`` is the null path, ``login`` ``""``
    whoever did not log in.  The ``state`` waiting is who is suspended, too."""

    queue_id: Text | None = None
    sender: Text | None = None
    recipient: Text | None = None
    address: Text | None = None
    domain: Text | None = None
    login: Text | None = None
    lane: Text | None = None
    state: State | None = None
    reason: Text | None = None
    arrived_before: Time | None = None
    arrived_after: Time | None = None


class Sought(Which, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    limit: Limit = 100
    after: Text | None = None
    newest: bool = False


class Recipient(msgspec.Struct):
    """One recipient of one message."""

    queue_id: str
    row: int
    arrived: float
    sender: str
    recipient: str
    domain: str
    lane: str
    state: State
    due: float | None
    attempts: int
    reason: str
    size_octets: int
    peer: str
    helo: str
    login: str
    protocol: str
    parameters: str
    recipient_parameters: str


class Recipients(msgspec.Struct):
    """``next`` is where the next page begins, null at the end: there may be one behind a page without items."""

    items: list[Recipient]
    next: str | None


class Message(msgspec.Struct):
    """``header`` ends within its first 64 KiB, or is cut there."""

    queue_id: str
    recipients: list[Recipient]
    header: str


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """``queue_ids`` of messages, or ``which`` recipients; ``all`` for everything, where that is an order."""

    queue_ids: Annotated[list[Text], msgspec.Meta(max_length=MOST_IDS)] | None = None
    which: Which | None = None
    all: bool = False


class Reroute(Order, forbid_unknown_fields=True, kw_only=True):
    to: Text


class By(msgspec.Struct):
    by: list[str]
    recipients: int


class InLane(msgspec.Struct):
    lane: str
    state: str
    recipients: int


class Met(msgspec.Struct):
    """How many ``recipients`` an order met, and how many were left alone since they are being tried now (``active``).
    Of a retry, release or reroute, who waits all the same: ``suspended``, or for an ``unwell`` destination; of a
    reroute also how many stay ``held``, or wait for the time that their sender set (``later``).  ``missing``: those of
    ``queue_ids`` of which it met nobody."""

    recipients: int
    active: int = 0
    held: int = 0
    later: int = 0
    suspended: list[By] = []
    unwell: list[InLane] = []
    missing: list[str] = []


class Count(msgspec.Struct):
    """``is_all``: it was counted to the end; else there are more."""

    recipients: int
    is_all: bool


class LaneNow(msgspec.Struct):
    """How a lane is: ``state`` well, paused, unwell, dead or suspended; ``active`` attempts, of ``window`` at once,
    ``waiting`` messages in memory; since when it is unwell, when the next attempt may begin, and what was said last."""

    lane: str
    state: str
    active: int
    window: int
    limit: int
    waiting: int
    has_more: bool
    unwell_since: float | None
    opens_at: float | None
    said: str
    shared: list[str]


class Lane(msgspec.Struct):
    """A destination: how many recipients wait there, and how it is ``now`` (null: idle)."""

    lane: str
    waiting: int
    due_now: int
    active: int
    held: int
    next_due: float | None
    reason: str
    suspended: bool
    now: LaneNow | None


class Lanes(msgspec.Struct):
    """The longest lanes, as they were counted at ``at``; not all of the queue by then where not ``is_whole``.

    ``unwell`` are lanes in trouble, with the gateway's view of each; ``statuses`` how many recipients had which answer.
    """

    at: float
    is_whole: bool
    waiting: int
    due_now: int
    active: int
    held: int
    lane_count: int
    lanes: list[Lane]
    unwell: list[LaneNow]
    statuses: dict[str, int]


class OfLanes(msgspec.Struct, forbid_unknown_fields=True):
    limit: Limit = 100


class Destination(msgspec.Struct, forbid_unknown_fields=True):
    """A domain, a lane, or ``BACKEND/*``."""

    destination: Text


class Changed(msgspec.Struct):
    """Whether it was otherwise before, and how many recipients wait there."""

    changed: bool
    recipients: int


class ResumedLanes(Changed):
    """Who is ``suspended`` there still, by other words."""

    suspended: list[By]


# --- looks ------------------------------------------------------------------------------------------------------


async def _messages(asked: Asked) -> object:
    sought: Sought = asked.query
    answer: Any = await asked.door.answer({
        "command": "queue.page", "query": _query(sought), "limit": sought.limit, "newest": sought.newest,
        "after": _position(sought.after),
    })
    return {"items": answer["rows"], "next": _cursor(answer["next"])}


def _position(cursor: str | None) -> list[object] | None:
    if cursor is None:
        return None
    found = _CURSOR.match(cursor)
    if found is None:
        raise Problem(400, "Bad Request", "after: not a place that a page named as its next")
    return [found[1], int(found[2])]


def _cursor(position: Sequence[Any] | None) -> str | None:
    return None if position is None else f"{position[0]}-{position[1]}"


async def _count(asked: Asked) -> object:
    answer: Any = await asked.door.answer({
        "command": "queue.page", "query": _query(asked.query), "limit": MOST_ITEMS, "after": None,
    })
    return {"recipients": len(answer["rows"]), "is_all": answer["next"] is None}


async def _message(asked: Asked) -> object:
    queue_id = asked.path["queue_id"]
    found: Any = await _found(asked, {"command": "queue.show", "queue_id": queue_id})
    return {"queue_id": queue_id, "recipients": found["rows"], "header": found["header"]}


async def _attempts(asked: Asked) -> object:
    return await asked.door.answer({"command": "trace.attempts", "queue_id": asked.path["queue_id"]})


async def _content(asked: Asked) -> object:
    first = await _piece(asked, 0)

    async def pieces() -> AsyncIterator[bytes]:
        start, octets = 0, first
        while octets:
            yield octets
            start += len(octets)
            octets = await _piece(asked, start)

    return Octets(pieces(), CONTENT, f"{asked.path['queue_id']}.eml")


async def _piece(asked: Asked, start: int) -> bytes:
    request = {"command": "queue.content", "queue_id": asked.path["queue_id"], "start": start}
    return base64.b64decode(str(await _found(asked, request)))


async def _found(asked: Asked, request: Mapping[str, Any]) -> object:
    try:
        return await asked.door.answer(request)
    except RefusedRequest as refusal:
        raise Problem(404, "Not Found", str(refusal)) from None


async def _lanes(asked: Asked) -> object:
    return await asked.door.answer({"command": "queue.census", "limit": asked.query.limit})


async def _suspended(asked: Asked) -> object:
    return await asked.door.answer({"command": "queue.suspended"})


async def _backends(asked: Asked) -> object:
    return await asked.door.answer({"command": "queue.backends"})


# --- orders -----------------------------------------------------------------------------------------------------


def _order(verb: str, takes_all: bool) -> Callable[[Asked], Awaitable[object]]:
    async def give(asked: Asked) -> object:
        order: Order = asked.body
        more = {"to": order.to} if isinstance(order, Reroute) else {}
        met = Met(0)
        for query in _queries(order, takes_all):
            answer: Any = await asked.door.answer({"command": f"queue.{verb}", "query": query, **more})
            told = answer if isinstance(answer, Mapping) else {"recipients": answer}
            one = msgspec.convert(told, Met)
            met.recipients += one.recipients
            met.active += one.active
            met.held += one.held
            met.later += one.later
            met.suspended = [*met.suspended, *one.suspended]
            met.unwell = [*met.unwell, *one.unwell]
            if order.queue_ids and not (one.recipients or one.active):
                met.missing = [*met.missing, str(query["queue_id"])]
        return met

    return give


def _queries(order: Order, takes_all: bool) -> Sequence[dict[str, Any]]:
    """What is meant, as ``control`` has it; what means everybody only where that was said."""
    given = [order.queue_ids is not None, order.which is not None, order.all]
    if sum(given) != 1:
        raise Problem(400, "Bad Request", "say either queue_ids, or which" + (", or all" if takes_all else ""))
    if order.queue_ids is not None:
        return [{"queue_id": queue_id} for queue_id in order.queue_ids]
    if order.which is not None:
        if query := _query(order.which):
            return [query]
        raise Problem(400, "Bad Request", "which: it says nothing; at least one field is needed")
    if not takes_all:
        raise Problem(400, "Bad Request", "all: not for this order; say queue_ids, or which")
    return [{}]


def _query(which: Which) -> dict[str, Any]:
    names = Which.__struct_fields__
    return {name: value for name in names if (value := getattr(which, name)) is not None}


async def _remove(asked: Asked) -> object:
    query = {"queue_id": asked.path["queue_id"]}
    answer: Any = await asked.door.answer({"command": "queue.remove", "query": query})
    if not answer:
        raise Problem(404, "Not Found", f"no message {asked.path['queue_id']} in the queue")
    return Met(answer)


def _destination(command: str) -> Callable[[Asked], Awaitable[object]]:
    async def change(asked: Asked) -> object:
        return await asked.door.answer({"command": command, "destination": asked.body.destination})

    return change


def operations() -> Sequence[Operation]:
    read, queue = Scope.READ, Scope.QUEUE
    none = {404: "No such message is in the queue"}
    orders = [
        ("hold", "Let wait, tried by nobody, until it is released", Order, False),
        ("release", "Let what is held be tried", Order, True),
        ("retry", "Try now, held ones too", Order, True),
        ("reroute", "Send by another backend", Reroute, False),
        ("bounce", "Send back to the senders, now", Order, False),
        ("remove", "Forget, without a bounce", Order, False),
    ]
    return (
        Operation(
            "GET", "/queue/messages", read, "Who waits, in the order of arrival, a page at a time", Recipients,
            _messages, query=Sought,
        ),
        Operation("GET", "/queue/count", read, "How many an order would meet, up to 1,000", Count, _count, query=Which),
        Operation(
            "GET", "/queue/messages/{queue_id}", read, "One message: its recipients and its header", Message, _message,
            statuses=none,
        ),
        Operation(
            "GET", "/queue/messages/{queue_id}/attempts", read, "What became of each attempt", list[dict[str, Any]],
            _attempts,
        ),
        Operation(
            "GET", "/queue/messages/{queue_id}/content", read, "The whole message, as it would be sent", Raw(CONTENT),
            _content, statuses=none,
        ),
        Operation(
            "DELETE", "/queue/messages/{queue_id}", queue, "Cancel one message, without a bounce", Met, _remove,
            statuses=none,
        ),
        *(
            Operation("POST", f"/queue/{verb}", queue, summary, Met, _order(verb, takes_all), body=body)
            for verb, summary, body, takes_all in orders
        ),
        Operation(
            "GET", "/queue/lanes", read, "The destinations: who waits there, and why", Lanes, _lanes, query=OfLanes
        ),
        Operation("GET", "/queue/suspended", read, "What is suspended, and since when", dict[str, float], _suspended),
        Operation(
            "POST", "/queue/suspend", queue, "Try nothing at a destination until it is resumed", Changed,
            _destination("queue.suspend"), body=Destination,
        ),
        Operation(
            "POST", "/queue/resume", queue, "Try a destination again", ResumedLanes, _destination("queue.resume"),
            body=Destination,
        ),
        Operation("GET", "/queue/backends", read, "Whom a reroute may name", list[str], _backends),
    )
