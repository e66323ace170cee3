"""What an application sends: it begins at once, and is not lost where nobody waits for it.

Rules:
    A handler is done when all that it began to send is on disk: else a crash behind its "delivered" would lose an
    answer.
    One that failed, and that nobody looked at, fails the handler: who forgot the ``await`` hears of it, and the message
    comes again.  Outside of a handler Twisted logs such a failure.
"""

from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Sending(Deferred[str]):
    """The queue id, once the message is on disk."""

    is_awaited = False

    def __await__(self) -> Generator[Deferred[str], None, str]:
        self.is_awaited = True
        return super().__await__()

    @property
    def is_known(self) -> bool:
        """Whether it has ended, and somebody who waited knows how."""
        return self.called and self.is_awaited


_begun: ContextVar[list[Sending] | None] = ContextVar("_begun", default=None)


def begun_from_now_on() -> list[Sending]:
    """What the coroutine that asks, and what it calls, will have begun to send; the list grows."""
    begun: list[Sending] = []
    _begun.set(begun)
    return begun


def begin(work: Coroutine[Deferred[Any], Any, str]) -> Sending:
    """``work`` runs as far as it can; its failure is that of the ``Sending``."""
    def told(result: str | Failure) -> None:
        if sending.called:  # it was cancelled, and nobody wants to know
            return
        if isinstance(result, Failure):
            sending.errback(result)
        else:
            sending.callback(result)

    sending = Sending(lambda _: task.cancel())
    begun = _begun.get()
    if begun is not None:
        begun.append(sending)
    task = Deferred.fromCoroutine(work)
    task.addBoth(told)  # type: ignore[unused-awaitable] # sending says what it came to
    return sending
