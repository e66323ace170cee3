"""A reactor for tests of what has threads of its own: time by ``advance``, calls from threads when waited for."""

from collections.abc import Callable, Coroutine
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

T = TypeVar("T")

# Only a bug lets a test wait as long.
_PATIENCE_SECONDS = 20.0


class ThreadedClock(Clock):
    """A ``Clock`` with callFromThread; ``wait_for`` turns it until a coroutine has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self._calls.put(lambda: callable(*args, **kwargs))

    def turn(self) -> None:
        """Do what is due now, and what threads asked for so far."""
        self.advance(0)
        while True:
            try:
                self._calls.get_nowait()()
            except Empty:
                return

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.wait_for_all([coroutine])[0]

    def wait_for_all(self, coroutines: list[Coroutine[Any, Any, T]]) -> list[T]:
        """The results, or the first error, of coroutines that run at once."""
        results: list[Any] = [None] * len(coroutines)
        waiting = set(range(len(coroutines)))

        def end(result: Any, number: int) -> None:
            results[number] = result
            waiting.discard(number)

        for number, coroutine in enumerate(coroutines):
            Deferred.fromCoroutine(coroutine).addBoth(end, number)
        while waiting:
            self.advance(0.02)  # more than a patient job waits
            if waiting:
                self._calls.get(timeout=_PATIENCE_SECONDS)()
        for result in results:
            if hasattr(result, "raiseException"):
                result.raiseException()
        return results
