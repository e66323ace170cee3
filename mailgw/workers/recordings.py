"""Recordings where a gateway is several processes: the parent has the orders, each worker records what it meets.

An order's sessions are counted here, as workers tell of them.  Each may begin one more while that is on its way.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.disk import Disk
from mailgw.mail.ports import WallClock
from mailgw.receive.recording import Order, Recordings
from mailgw.store.recordings import RecordingFolder
from mailgw.workers.calls import Wire


@attrs.define(eq=False)
class _InForce:
    order: Order
    call: IDelayedCall
    begun: int = 0


class Worker(Protocol):
    """As the parent knows it; ``wire`` is None while it has no process."""

    @property
    def is_ready(self) -> bool: ...

    @property
    def wire(self) -> Wire | None: ...


class RecordingsOfWorkers:
    """``workers`` share the folder in ``state``; those that are not open are told when they are."""

    def __init__(self, state: str, workers: Sequence[Worker], clock: IReactorTime, wall_clock: WallClock) -> None:
        self.folder = RecordingFolder(state, Disk(), wall_clock)
        self._workers = workers
        self._clock = clock
        self._wall_clock = wall_clock
        self._orders: dict[str, _InForce] = {}

    def start(self, order: Order) -> None:
        call = self._clock.callLater(max(0.0, order.until - self._wall_clock()), self._end, order.id)
        self._orders[order.id] = _InForce(order, call)
        self._tell("record.start", *attrs.astuple(order))

    def stop(self, order_id: str) -> None:
        self._end(order_id)
        self._tell("record.stop", order_id)

    def orders(self) -> Sequence[Mapping[str, Any]]:
        return [attrs.asdict(one.order) | {"begun": one.begun} for one in self._orders.values()]

    def begun(self, order_id: str) -> None:
        """A worker has one session more for it."""
        known = self._orders.get(order_id)
        if known is None:
            return
        known.begun += 1
        if known.begun >= known.order.sessions:
            self._end(order_id)
            self._tell("record.fill", order_id)

    def greet(self, worker: Worker) -> None:
        """It is open, and hears what it is to know."""
        wire = worker.wire
        if wire is None:
            return
        for one in self._orders.values():
            left = attrs.evolve(one.order, sessions=one.order.sessions - one.begun)
            wire.tell("record.start", *attrs.astuple(left))

    def close(self) -> None:
        for order_id in list(self._orders):
            self._end(order_id)

    def _tell(self, name: str, *arguments: object) -> None:
        for worker in self._workers:
            if worker.is_ready and worker.wire is not None:
                worker.wire.tell(name, *arguments)

    def _end(self, order_id: str) -> None:
        ended = self._orders.pop(order_id, None)
        if ended is not None and ended.call.active():
            ended.call.cancel()


def heard(recordings: Recordings, name: str, arguments: Sequence[Any]) -> None:
    """In a worker: what the parent told."""
    match name, *arguments:
        case "record.start", str() as order_id, str() as network, int() | float() as until, int() as sessions:
            recordings.start(Order(order_id, network, until, sessions))
        case "record.stop", str() as order_id:
            recordings.stop(order_id)
        case "record.fill", str() as order_id:
            recordings.fill(order_id)
        case _:
            raise ValueError(f"no such call: {name}")
