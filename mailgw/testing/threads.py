"""A thread pool without threads, and the reactor it answers to."""

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure


class FakeThreads:
    """A reactor and its thread pool in one: work is done when ``run`` is called, or at once."""

    def __init__(self) -> None:
        self.at_once = True
        self.work: list[Callable[[], None]] = []

    def callFromThread(self, work: Callable[..., Any], *arguments: Any) -> None:
        work(*arguments)

    def callInThreadWithCallback(self, on_result: Any, work: Callable[..., Any], *arguments: Any) -> None:
        def do() -> None:
            try:
                result = work(*arguments)
            except Exception:  # noqa: BLE001 - as a pool does
                on_result(False, Failure())  # type: ignore[no-untyped-call] # Twisted has no types there
            else:
                on_result(True, result)

        self._take(do)

    def callInThread(self, work: Callable[..., Any], *arguments: Any) -> None:
        self._take(lambda: work(*arguments))

    def _take(self, do: Callable[[], None]) -> None:
        if self.at_once:
            do()
        else:
            self.work.append(do)

    def run(self, count: int = 1) -> None:
        for _ in range(count):
            self.work.pop(0)()
