"""A wire in memory: both ends, and the pump between them."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.test.iosim import FakeTransport, IOPump

from mailgw.workers.calls import Wire

Answer = Callable[[str, Sequence[Any]], Any]


def nothing(name: str, arguments: Sequence[Any]) -> None:
    raise AssertionError(f"nobody expected {name}{tuple(arguments)}")


class Ends:
    """``parent`` and ``worker`` on one clock; ``pump`` lets all that was said arrive."""

    def __init__(self, parent: Answer = nothing, worker: Answer = nothing, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.lost: list[str] = []
        self.parent = Wire(self.clock, parent, lambda: self.lost.append("parent"))
        self.worker = Wire(self.clock, worker, lambda: self.lost.append("worker"))
        self._transports = FakeTransport(self.parent, True), FakeTransport(self.worker, False)
        self.parent.makeConnection(self._transports[0])  # type: ignore[no-untyped-call]
        self.worker.makeConnection(self._transports[1])  # type: ignore[no-untyped-call]
        self._pump = IOPump(self.worker, self.parent, self._transports[1], self._transports[0], False)

    def pump(self) -> None:
        for _ in range(10):
            self.clock.advance(0)
            while self._pump.pump():
                self.clock.advance(0)

    def cut(self) -> None:
        for one in self._transports:
            one.abortConnection()
        self.pump()


def now(answer: "Deferred[Any]") -> Any:
    """What came; the exception, raised."""
    told: list[Any] = []
    answer.addBoth(told.append)
    assert told, "no answer yet"
    if hasattr(told[0], "raiseException"):
        told[0].raiseException()
    return told[0]
