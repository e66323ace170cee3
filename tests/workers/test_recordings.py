"""Orders for recordings, where a gateway is several processes."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from mailgw.receive.recording import Order
from mailgw.workers.recordings import RecordingsOfWorkers, heard

ORDER = Order("r1", "192.0.2.0/24", 600.0, 2)
TOLD = ("record.start", "r1", "192.0.2.0/24", 600.0, 2)


class One:
    """A worker, and its wire."""

    def __init__(self, is_ready: bool = True, is_there: bool = True) -> None:
        self.is_ready = is_ready
        self.wire: Any = self if is_there else None
        self.told: list[tuple[object, ...]] = []

    def tell(self, *call: object) -> None:
        self.told.append(call)


class Parent:
    def __init__(self) -> None:
        self.clock = Clock()
        self.workers = [One(), One(), One(is_ready=False), One(is_there=False)]
        self.recordings = RecordingsOfWorkers("/nowhere", self.workers, self.clock, self.clock.seconds)

    @property
    def told(self) -> list[tuple[object, ...]]:
        first, second, *others = self.workers
        assert first.told == second.told
        assert not any(one.told for one in others)
        return first.told


def test_all_workers_are_told() -> None:
    parent = Parent()
    parent.recordings.start(ORDER)
    assert parent.told == [TOLD]
    assert parent.recordings.orders() == [
        {"id": "r1", "network": "192.0.2.0/24", "until": 600.0, "sessions": 2, "begun": 0}
    ]
    parent.recordings.stop("r1")
    assert parent.told[1:] == [("record.stop", "r1")]
    assert parent.recordings.orders() == []
    assert not parent.clock.getDelayedCalls()


def test_sessions_count_over_all_of_them() -> None:
    parent = Parent()
    parent.recordings.start(ORDER)
    parent.recordings.begun("r1")
    parent.recordings.begun("r9")
    late = One()
    parent.recordings.greet(late)
    parent.recordings.greet(One(is_there=False))
    assert late.told == [(*TOLD[:-1], 1)]
    parent.recordings.begun("r1")
    assert parent.told[1:] == [("record.fill", "r1")]
    parent.recordings.begun("r1")
    assert len(parent.told) == 2


def test_an_order_ends_with_its_time() -> None:
    parent = Parent()
    parent.recordings.start(ORDER)
    parent.clock.advance(600)
    assert parent.recordings.orders() == []
    parent.recordings.start(ORDER)
    parent.recordings.close()
    assert not parent.clock.getDelayedCalls()


class Worker:
    def __init__(self) -> None:
        self.calls: list[object] = []

    def start(self, order: Order) -> None:
        self.calls.append(order)

    def stop(self, order_id: str) -> None:
        self.calls.append(("stop", order_id))

    def fill(self, order_id: str) -> None:
        self.calls.append(("fill", order_id))


def test_a_worker_does_what_it_is_told() -> None:
    worker: Any = Worker()
    for name, *arguments in (TOLD, ("record.stop", "r1"), ("record.fill", "r1")):
        heard(worker, str(name), arguments)
    assert worker.calls == [ORDER, ("stop", "r1"), ("fill", "r1")]
    with pytest.raises(ValueError, match="no such call"):
        heard(worker, "record.more", [])
