"""Web hooks for events: how each of them is, and what it never took."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from mailgw.web.operations import Asked, Operation, Scope

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Hook(msgspec.Struct):
    """``state``: on, failing, off (it said 410), or gone (from the configuration).  ``waiting`` and ``dead`` count
    events, ``blocked`` messages of which one was refused and is to be tried again; ``oldest`` is when the first of
    those that wait happened, ``again`` when all of them are tried again, ``why`` what was said last that was no good.
    ``is_astray``: it takes nothing, and all that wait do until its URL, or what it wants to know of us, is mended.
    """

    name: str
    state: str
    origin: str
    events: list[str]
    failures: int
    why: str
    again: float | None
    waiting: int
    dead: int
    oldest: float | None
    blocked: int
    is_astray: bool


class Hooks(msgspec.Struct):
    items: list[Hook]


class Dead(msgspec.Struct):
    """``event`` is what was posted."""

    number: int
    at: float
    died: float
    why: str
    event: dict[str, Any]


class TheDead(msgspec.Struct):
    items: list[Dead]
    next: str | None


class Page(msgspec.Struct, forbid_unknown_fields=True):
    limit: Limit = 100
    after: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")] | None = None


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """Either ``numbers``, or ``all``."""

    numbers: Annotated[list[Annotated[int, msgspec.Meta(ge=1)]], msgspec.Meta(max_length=1000)] = []
    all: bool = False


class Dropped(msgspec.Struct, forbid_unknown_fields=True):
    """Likewise."""

    numbers: list[int] = []
    all: bool = False


class Met(msgspec.Struct):
    """``missing``: which of the numbers no event has that is meant; for all others it was done."""

    events: int
    missing: list[int]


class Resumed(msgspec.Struct):
    """How many events waited."""

    events: int


async def _hooks(asked: Asked) -> object:
    return await asked.door.answer({"command": "hooks.list"})


async def _dead(asked: Asked) -> object:
    query: Page = asked.query
    return await asked.door.answer({
        "command": "hooks.dead", "name": asked.path["name"], "limit": query.limit, "after": query.after,
    })


async def _retry(asked: Asked) -> object:
    return await asked.door.answer({"command": "hooks.retry", **_which(asked, asked.body)})


async def _drop(asked: Asked) -> object:
    return await asked.door.answer({"command": "hooks.drop", **_which(asked, asked.query)})


async def _resume(asked: Asked) -> object:
    return await asked.door.answer({"command": "hooks.resume", "name": asked.path["name"]})


def _which(asked: Asked, which: Which | Dropped) -> Mapping[str, object]:
    meant = {"all": True} if which.all and not which.numbers else {"numbers": which.numbers}
    return {"name": asked.path["name"], **meant}


def operations() -> Sequence[Operation]:
    none = {404: "There is no such web hook, and nothing that one of that name left"}
    return (
        Operation("GET", "/webhooks", Scope.READ, "The web hooks for events, and how each of them is", Hooks, _hooks),
        Operation(
            "GET", "/webhooks/{name}/dead", Scope.READ, "Events that a web hook never took", TheDead, _dead, query=Page,
            statuses=none,
        ),
        Operation(
            "POST", "/webhooks/{name}/dead/retry", Scope.QUEUE, "Try dead events again, behind those that wait", Met,
            _retry, body=Which, statuses=none,
        ),
        Operation(
            "DELETE", "/webhooks/{name}/dead", Scope.QUEUE, "Forget dead events; of a hook that is gone all", Met,
            _drop, query=Dropped, statuses=none,
        ),
        Operation(
            "POST", "/webhooks/{name}/resume", Scope.QUEUE,
            "Turn a web hook on again, and try now what waits for it", Resumed, _resume, statuses=none,
        ),
    )
