"""Writes that wait a little for others: begun some time after a change, one after the other.

A write that fails is told of by whoever writes; what leaves him as an exception is logged here.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


class Soon:
    """``write`` is called ``seconds`` after ``changed``, but not while an earlier one is under way; it begins with what
    is to be written at that moment, and may call ``changed`` itself.  ``path``: what it writes to, for the log."""

    def __init__(
        self, clock: IReactorTime, seconds: float, write: Callable[[], Coroutine[Any, Any, None]], path: str
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._write = write
        self._path = path
        self._timer: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._is_changed = False
        self._is_closing = False

    def changed(self) -> None:
        """There is something to write: write it, soon, or at ``close``."""
        self._is_changed = True
        if self._timer is None and self._writing is None and not self._is_closing:
            self._timer = self._clock.callLater(self._seconds, self._begin)

    async def close(self) -> None:
        """Write what is not yet written, and no more."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is not None:
            waiting: Deferred[None] = Deferred()
            self._writing.addCallback(waiting.callback)  # type: ignore[unused-awaitable] # _ended calls it
            await waiting
        if self._is_changed:
            self._is_changed = False
            await self._write()

    def _begin(self) -> None:
        self._timer = None
        self._is_changed = False
        self._writing = Deferred()
        Deferred.fromCoroutine(self._write()).addBoth(self._ended)  # type: ignore[unused-awaitable]

    def _ended(self, result: object) -> None:
        if isinstance(result, Failure):
            _log.failure("writing {path}", failure=result, path=self._path)
        writing, self._writing = self._writing, None
        if self._is_changed:
            self.changed()
        if writing is not None:
            writing.callback(None)
