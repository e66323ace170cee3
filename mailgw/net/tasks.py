"""A group that owns coroutines: what is started here is logged when it fails and cancelled when we stop."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure


def _done() -> None:
    """Cancels a task that has ended."""


class TaskGroup:
    """Owns Deferreds made from coroutines, so that none is dropped with its failure unseen.

    ``on_failure(what, failure)`` is called for every task that raised anything but a cancellation; it must
    not raise.  Tasks run up to their first wait inside ``spawn``.
    """

    def __init__(self, on_failure: Callable[[str, Failure], None]) -> None:
        self._on_failure = on_failure
        self._tasks: set[Deferred[Any]] = set()
        self._idle: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, what: str, coroutine: Coroutine[Deferred[Any], Any, object]) -> Callable[[], None]:
        """Start ``coroutine``; ``what`` names it in the log.  Returns what cancels it, at any time."""
        task = Deferred.fromCoroutine(coroutine)
        if task.called and not isinstance(task.result, (Failure, Deferred)):
            return _done  # the common case: it never waited
        self._tasks.add(task)

        def ended(result: object) -> None:
            self._tasks.discard(task)
            if isinstance(result, Failure) and not isinstance(result.value, CancelledError):
                self._on_failure(what, result)
            if not self._tasks:
                waiting, self._idle = self._idle, []
                for one in waiting:
                    one.callback(None)

        task.addBoth(ended)  # type: ignore[unused-awaitable] # the group owns it
        return task.cancel

    def cancel(self) -> None:
        """Cancel all that still wait."""
        for task in list(self._tasks):
            task.cancel()

    async def settled(self) -> None:
        """Return when no task is left."""
        while self._tasks:
            waiting: Deferred[None] = Deferred()
            self._idle.append(waiting)
            await waiting
