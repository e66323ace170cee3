"""What the gateway does: numbers, plots, facts as they happen; by the commands of ``lookout``."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from mailgw.web.operations import Asked, Live, LiveEvent, Operation, Problem, Scope

LIVE_FACTS: Final = 200
"""In one event; what is more is left out, and counted."""
GATHER_SECONDS: Final = 0.5
NOW_SECONDS: Final = 1.0


class Moves(msgspec.Struct):
    """Messages that clients brought; recipients delivered to, tried in vain and given up; commands refused; sessions
    opened."""

    in_: float = msgspec.field(name="in")
    out: float
    deferred: float
    bounced: float
    rejected: float
    connected: float


class DeliveryTime(msgspec.Struct):
    """Within how many seconds half, and 95 in 100, of the last minute's deliveries were done since the message arrived;
    null where there were none."""

    p50: float | None
    p95: float | None
    count: int


class OpenSessions(msgspec.Struct):
    open: int
    most: int


class Disk(msgspec.Struct):
    """Below ``reserve_octets`` no new mail is taken (``has_room``)."""

    free_octets: int
    reserve_octets: int
    has_room: bool


class QueuedFor(msgspec.Struct):
    """Recipients of one backend."""

    backend: str
    lanes: int
    waiting: int
    due_now: int
    active: int
    held: int


class Queued(msgspec.Struct):
    """What was counted ``at`` some time, from which it may have changed; ``is_whole`` false: not all of it yet.
    ``oldest``: when the oldest message arrived.  ``statuses``: how many recipients were answered what."""

    at: float
    is_whole: bool
    oldest: float | None
    recipients: int
    statuses: dict[str, int]
    backends: list[QueuedFor]


class LaneNow(msgspec.Struct):
    """A destination: how many recipients it has, and how it is: well, unwell, dead, paused or suspended.  ``said`` is
    what it said last in trouble, ``reason`` what one of those who wait was told."""

    lane: str
    state: str
    waiting: int
    due_now: int
    active: int
    held: int
    next_due: float | None
    reason: str
    unwell_since: float | None
    opens_at: float | None
    said: str


class WorkerNow(msgspec.Struct):
    worker: int
    answers: bool
    sessions: int | None


class LaneStates(msgspec.Struct):
    well: int
    unwell: int
    suspended: int


class Now(msgspec.Struct):
    """``rates`` are a second's, over the last ``rate_seconds``; ``minute`` counts the last one, ``totals`` all since
    the gateway ``began``.  ``lanes`` are some, those in trouble first.  What nobody could tell is null."""

    time: float
    began: float
    version: str
    rates: Moves
    rate_seconds: float
    minute: Moves
    totals: Moves
    delivery: DeliveryTime
    sessions: OpenSessions | None
    disk: Disk | None
    queue: Queued | None
    lane_states: LaneStates | None
    lanes: list[LaneNow]
    workers: list[WorkerNow]


class PlotsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """``span``: hour, day or week."""

    span: str = "hour"


class Plots(msgspec.Struct):
    """``steps`` steps of ``step_seconds``, from ``start`` on; each of ``columns`` (in, out, deferred, bounced,
    rejected, connected: a second; sessions, queued; p50, p95: seconds) has a value for each, null for none."""

    span: str
    start: float
    step_seconds: int
    steps: int
    columns: dict[str, list[float | None]]


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """All that is given must hold.  ``event``: names of facts; an address is whole, or @domain; ``peer`` an address or
    a network."""

    event: list[str] = []
    address: str = ""
    sender: str = ""
    recipient: str = ""
    queue_id: str = ""
    session_id: str = ""
    peer: str = ""
    login: str = ""


class FactsQuery(Filter, forbid_unknown_fields=True):
    """``after``: ``next`` of an earlier answer.  ``wait``: seconds (to 20) in which something may still come."""

    after: str = ""
    limit: int = 100
    wait: float = 0.0


class Facts(msgspec.Struct):
    """Each with its ``number``, ``time`` and ``event``, and what docs/journal.rst says of that."""

    items: list[dict[str, Any]]
    next: str
    left_out: int


class LiveQuery(Filter, forbid_unknown_fields=True):
    """``now`` and ``facts``: which events are wanted.  ``after`` as of facts; the header Last-Event-ID says it, too."""

    now: bool = True
    facts: bool = True
    after: str = ""


def operations() -> Sequence[Operation]:
    return (
        Operation("GET", "/now", Scope.READ, "What the gateway does just now", Now, now),
        Operation("GET", "/plots", Scope.READ, "What it did over the last hour, day or week", Plots, plots, PlotsQuery),
        Operation("GET", "/facts", Scope.READ, "The latest facts, or the next ones", Facts, facts, FactsQuery),
        Operation(
            "GET", "/live", Scope.READ, "Numbers each second (events: now), and facts as they happen (facts)", Live(),
            live, LiveQuery),
    )


async def now(asked: Asked) -> object:
    return await asked.door.answer({"command": "now"})


async def plots(asked: Asked) -> object:
    return await asked.door.answer({"command": "plots", "span": asked.query.span})


async def facts(asked: Asked) -> object:
    query: FactsQuery = asked.query
    answer: Any = await asked.door.answer({
        "command": "facts", "filter": _filter(query), "limit": query.limit, "wait": query.wait, **_after(query.after),
    })
    return {"items": answer["facts"], "next": str(answer["next"]), "left_out": answer["left_out"]}


async def live(asked: Asked) -> object:
    query: LiveQuery = asked.query
    if not (query.now or query.facts):
        raise Problem(400, "Bad Request", "the query: neither now nor facts are wanted")
    after = _after(asked.headers.get("Last-Event-ID") or query.after)
    # Once, so that what makes no sense is said before the answer begins.
    await asked.door.answer({"command": "facts", "filter": _filter(query), "limit": 1, "after": 0} if query.facts
                            else {"command": "now"})
    return _events(asked, query, after)


async def _events(asked: Asked, query: LiveQuery, after: dict[str, int]) -> AsyncIterator[LiveEvent]:
    door, filter_, wait = asked.door, _filter(query), 0.0
    while True:
        if query.now:
            yield LiveEvent("now", await door.answer({"command": "now", "wait": wait}))
            wait = 0.0 if query.facts else NOW_SECONDS
        for _ in range(round(NOW_SECONDS / GATHER_SECONDS) if query.facts else 0):
            answer: Any = await door.answer({
                "command": "facts", "filter": filter_, "limit": LIVE_FACTS, "gather": GATHER_SECONDS if after else 0,
                **after,
            })
            if answer["facts"] or answer["left_out"] or not after:
                what = {"items": answer["facts"], "left_out": answer["left_out"] if after else 0}
                yield LiveEvent("facts", what, str(answer["next"]))
            after = {"after": answer["next"]}


def _filter(query: Filter) -> dict[str, object]:
    given = {name: getattr(query, name) for name in Filter.__struct_fields__}
    return {name: value for name, value in given.items() if value}


def _after(word: str) -> dict[str, int]:
    if not word:
        return {}
    if not (word.isascii() and word.isdigit() and len(word) <= 18):
        raise Problem(400, "Bad Request", "after: expected what an earlier answer had in next")
    return {"after": int(word)}
