"""How long a worker is waited for that does not even say that it is alive.

Rules:
    A worker that turns is waited for as long as what it was asked may take: a look at a large queue takes its time.
    So it is asked whether it is alive whenever somebody waits for it, and given up when that is not answered.
    Who was given up is no end of its process; ``watch`` finds that out.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.mail.errors import TemporaryFault
from mailgw.workers.roster import Worker

PROBE_SECONDS: Final = 1.5
"""Of who asks again and again how the gateway is, and wants to know within 2 s."""
CHOICE_SECONDS: Final = 2.5
"""A worker that is silent for so long is handed no message."""
LOOK_SECONDS: Final = 5.0
"""Of who looks at the queue, or has handed a message over."""
TURN_SECONDS: Final = 0.5
"""The longest between two looks whether it is silent."""
LOOKS: Final = frozenset({
    "queue.list", "queue.page", "queue.show", "queue.content", "queue.lanes", "queue.census", "queue.suspended",
    "queue.backends", "sessions",
})
"""Commands that change nothing.  Orders are not given up: what became of one would not be known."""

T = TypeVar("T")


class Patience:
    """``ask`` puts the question whether it is alive to a worker that has none before it."""

    def __init__(self, clock: IReactorTime, ask: Callable[[Worker], None]) -> None:
        self._clock = clock
        self._ask = ask

    def silent_seconds(self, worker: Worker) -> float:
        """How long it has left the question unanswered."""
        return self._clock.seconds() - worker.asked_at if worker.is_asked else 0.0

    async def wait(self, worker: Worker, answer: Callable[[], Awaitable[T]], seconds: float) -> T:
        """What ``answer`` comes to, which is cancelled where the worker is silent for so long.  TemporaryFault then;
        it is not even begun where that is so already."""
        self._ask(worker)
        if self.silent_seconds(worker) >= seconds:
            raise _silent(worker)
        asked: Deferred[T] = Deferred.fromCoroutine(_awaited(answer))
        is_given_up = False
        call: IDelayedCall

        def look() -> None:
            nonlocal is_given_up, call
            left = seconds - self.silent_seconds(worker)
            if left <= 0:
                is_given_up = True
                asked.cancel()
            else:
                call = self._clock.callLater(min(left, TURN_SECONDS), look)

        look()
        try:
            return await asked
        except (TemporaryFault, CancelledError):
            if is_given_up:
                raise _silent(worker) from None
            raise
        finally:
            if call.active():
                call.cancel()


async def _awaited(answer: Callable[[], Awaitable[T]]) -> Any:
    return await answer()


def _silent(worker: Worker) -> TemporaryFault:
    return TemporaryFault(f"worker {worker.number} does not answer: try again")
