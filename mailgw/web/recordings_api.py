"""Sessions recorded on request: orders, and what was recorded.

What ``mailgw record`` says is said here, in the words of ``recording_desk``: times are seconds since the epoch.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from mailgw.mail.errors import RefusedRequest
from mailgw.web.operations import Asked, Operation, Problem, Scope

MOST_MINUTES: Final = 60
MOST_SESSIONS: Final = 100
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Wanted(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Clients in a ``network``, or of one ``address``."""

    network: Text | None = None
    address: Text | None = None
    minutes: Annotated[float, msgspec.Meta(ge=1, le=MOST_MINUTES)] = 10
    sessions: Annotated[int, msgspec.Meta(ge=1, le=MOST_SESSIONS)] = 20


class Stop(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One order, or ``all`` of them."""

    id: Text | None = None
    all: bool = False


class Order(msgspec.Struct):
    """The next ``sessions`` sessions of clients in ``network`` are recorded ``until`` then; ``begun`` were by now."""

    id: str
    network: str
    until: float
    sessions: int
    begun: int


class Kept(msgspec.Struct):
    """One session's recording; ``ended`` when it was last written to."""

    session_id: str
    role: str
    peer: str
    began: float
    ended: float
    size_octets: int


class Recordings(msgspec.Struct):
    """Orders in force, and what was recorded, the newest first."""

    orders: list[Order]
    recordings: list[Kept]


class Line(msgspec.Struct):
    """``at`` seconds after the session's beginning: ``side`` "C" is the client, "S" the gateway, "" what happened."""

    at: float
    side: str
    text: str


class Recording(msgspec.Struct):
    session_id: str
    role: str
    peer: str
    began: float
    lines: list[Line]


class Stopped(msgspec.Struct):
    stopped: int


async def _list(asked: Asked) -> object:
    return await asked.door.answer({"command": "record.list"})


async def _start(asked: Asked) -> object:
    wanted: Wanted = asked.body
    request: dict[str, Any] = {"command": "record.start", "minutes": wanted.minutes, "sessions": wanted.sessions}
    return await asked.door.answer({**request, "network": wanted.network, "address": wanted.address})


async def _stop(asked: Asked) -> object:
    meant: Stop = asked.body
    return await asked.door.answer({"command": "record.stop", "id": meant.id, "all": meant.all})


async def _show(asked: Asked) -> object:
    return await _of(asked, "record.show")


async def _remove(asked: Asked) -> object:
    await _of(asked, "record.remove")
    return None


async def _of(asked: Asked, command: str) -> object:
    try:
        return await asked.door.answer({"command": command, "session_id": asked.path["session_id"]})
    except RefusedRequest as refusal:
        raise Problem(404, "Not Found", str(refusal)) from None


def operations() -> Sequence[Operation]:
    read, queue = Scope.READ, Scope.QUEUE
    none = {404: "There is no recording of that session"}
    return (
        Operation("GET", "/recordings", read, "Orders in force, and what was recorded", Recordings, _list),
        Operation(
            "POST", "/recordings", queue, "Record the sessions of a network for some minutes", Order, _start,
            body=Wanted, status=201,
        ),
        Operation("POST", "/recordings/stop", queue, "Record nothing more", Stopped, _stop, body=Stop),
        Operation(
            "GET", "/recordings/{session_id}", read, "What was said in one session", Recording, _show, statuses=none
        ),
        Operation(
            "DELETE", "/recordings/{session_id}", queue, "Forget the recording of one session", None, _remove,
            statuses=none,
        ),
    )
