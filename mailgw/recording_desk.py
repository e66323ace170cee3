"""The desk at which sessions are recorded on request.

    record.start      the sessions of clients in ``network`` (or of one ``address``), from now on, for ``minutes``, but
                      ``sessions`` at most: the order, with its ``id``
    record.stop       one order, by ``id``, or ``all`` of them: {"stopped": how many}; what is being
                      recorded for it ends
    record.list       {"orders": those in force, "recordings": what was recorded, the newest first}
    record.show       one recording, by ``session_id``, with its ``lines``
    record.remove     forget one recording, by ``session_id``

Orders end with the process, with its last minute, or with its last session; recordings are files, and stay for 7 days.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Final, Protocol, TypeVar

import attrs
from twisted.internet.threads import deferToThreadPool

from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.ports import Desk, Request, WallClock
from mailgw.receive.recording import MOST_MINUTES, MOST_ORDERS, MOST_SESSIONS, Order
from mailgw.store.recordings import RecordingFolder, as_json

USUAL_MINUTES: Final = 10
USUAL_SESSIONS: Final = 20
T = TypeVar("T")


class Recorder(Protocol):
    """``receive.recording.Recordings``, of one process or of several."""

    folder: RecordingFolder

    def start(self, order: Order) -> None: ...
    def stop(self, order_id: str) -> None: ...
    def orders(self) -> Sequence[Mapping[str, Any]]: ...


class RecordingDesk:
    """A thread of ``reactor``'s works with the folder."""

    def __init__(self, recorder: Recorder, reactor: Any, wall_clock: WallClock) -> None:
        self._recorder = recorder
        self._folder = recorder.folder
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._numbers = itertools.count(1)

    def desk(self) -> Desk:
        return {
            "record.start": self._start, "record.stop": self._stop, "record.list": self._list,
            "record.show": self._show, "record.remove": self._remove,
        }

    async def _start(self, request: Request) -> object:
        network = _network(request)
        minutes = _number(request, "minutes", USUAL_MINUTES, MOST_MINUTES)
        sessions = _number(request, "sessions", USUAL_SESSIONS, MOST_SESSIONS)
        if len(self._recorder.orders()) >= MOST_ORDERS:
            raise RefusedRequest(f"{MOST_ORDERS} recordings are in force already: stop one")
        until = round(self._wall_clock() + 60.0 * minutes, 3)
        order = Order(f"r{next(self._numbers)}", network, until, int(sessions))
        self._recorder.start(order)
        return attrs.asdict(order) | {"begun": 0}

    async def _stop(self, request: Request) -> object:
        known = [order["id"] for order in self._recorder.orders()]
        if request.get("all") is True:
            meant = known
        else:
            meant = [order_id for order_id in known if order_id == request.get("id")]
            if not meant:
                if isinstance(request.get("id"), str):
                    raise RefusedRequest(f"no recording of the id {request['id']!r} is in force")
                raise RefusedRequest("which recording? say the id of one that is in force, or all")
        for order_id in meant:
            self._recorder.stop(order_id)
        return {"stopped": len(meant)}

    async def _list(self, request: Request) -> object:
        kept = await self._asked(self._folder.all)
        return {"orders": list(self._recorder.orders()), "recordings": [as_json(one) for one in kept]}

    async def _show(self, request: Request) -> object:
        session_id = _session_id(request)
        found = await self._asked(lambda: self._folder.read(session_id))
        if found is None:
            raise RefusedRequest(f"there is no recording of session {session_id}")
        head, lines = found
        return attrs.asdict(head) | {"lines": [attrs.asdict(line) for line in lines]}

    async def _remove(self, request: Request) -> object:
        session_id = _session_id(request)
        if not await self._asked(lambda: self._folder.remove(session_id)):
            raise RefusedRequest(f"there is no recording of session {session_id}")
        return {"removed": 1}

    async def _asked(self, work: Callable[[], T]) -> T:
        try:
            return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
        except OSError as fault:
            raise TemporaryFault(f"{fault.filename or 'the recordings'}: {fault.strerror or fault}") from fault


def _network(request: Request) -> str:
    given = [request[name] for name in ("network", "address") if request.get(name) is not None]
    if len(given) != 1 or not isinstance(given[0], str):
        raise RefusedRequest('record.start needs a network, such as "203.0.113.0/24", or an address')
    try:
        return str(ip_network(given[0], strict=False))
    except ValueError:
        raise RefusedRequest(f'expected a network, such as "203.0.113.0/24", or an address, not {given[0]!r}') from None


def _number(request: Request, name: str, usual: int, most: int) -> float:
    value = request.get(name)
    if value is None:
        return usual
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= most or (name == "sessions" and value != int(value)):
        raise RefusedRequest(f"{name}: expected a number from 1 to {most}")
    return float(value)


def _session_id(request: Request) -> str:
    session_id = request.get("session_id")
    if not isinstance(session_id, str):
        raise RefusedRequest(f"{request.get('command')} needs a session_id")
    return session_id
