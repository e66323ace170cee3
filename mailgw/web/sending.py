"""Answers on their way to a client who may be slow: in pieces, the next one when there is room; and live events.

Rules:
    At most a piece is in memory beyond what the transport has; who takes nothing for long is cut off (``channel``).
    A stream of events has a sign of life every ``HEARTBEAT_SECONDS``: proxies keep it, and we learn who is gone.
    Before each event, and each sign of life, it is asked whether the client may still have it.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from zope.interface import implementer

from mailgw.web.operations import LiveEvent

PIECE_OCTETS: Final = 65536
HEARTBEAT_SECONDS: Final = 15.0
HEARTBEAT: Final = b": \n\n"
# A browser that lost the stream comes back after so many milliseconds.
COME_BACK: Final = b"retry: 2000\n\n"


@implementer(IPushProducer)
class Way:
    """Whether there is room for more of an answer, and anybody there."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self.is_full = self.is_gone = False
        self._waiting: list[Deferred[None]] = []
        request.registerProducer(self, True)

    async def room(self) -> None:
        """Return when there is, or when nobody is there any more."""
        while self.is_full and not self.is_gone:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def close(self) -> None:
        if not self._request._disconnected and not self._request.finished:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        self.is_full = True

    def resumeProducing(self) -> None:
        self.is_full = False
        self._tell()

    def stopProducing(self) -> None:
        self.is_gone = True
        self._tell()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(None)


async def pieces(content: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Content, a piece at a time."""
    if isinstance(content, bytes):
        for start in range(0, len(content), PIECE_OCTETS):
            yield content[start:start + PIECE_OCTETS]
        return
    async for one in content:
        yield one


async def live(
    events: Any, write: Callable[[bytes], None], way: Way, reactor: Any,
    is_welcome: Callable[[], bool], cancel: Callable[[], None],
) -> None:
    """Server-sent events, until there are no more, or this is cancelled, which ``cancel`` does; or until the client is
    not ``is_welcome`` any more."""
    beating: list[IDelayedCall] = []

    def beat() -> None:
        beating[:] = [reactor.callLater(HEARTBEAT_SECONDS, beat)]
        if not is_welcome():
            cancel()
        elif not way.is_full:
            write(HEARTBEAT)

    write(COME_BACK)
    beating.append(reactor.callLater(HEARTBEAT_SECONDS, beat))
    is_left = False
    try:
        async for one in events:
            if not is_welcome():
                break
            write(event_octets(one))
            await way.room()
            if way.is_gone:
                break
    except GeneratorExit:  # nobody runs us any more: then nothing can be waited for
        is_left = True
        raise
    finally:
        beating[0].cancel()
        if not is_left:
            await events.aclose()


def event_octets(one: LiveEvent) -> bytes:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html; JSON has no line ends of its own."""
    head = f"event: {one.event}\n" + ("" if one.id is None else f"id: {one.id}\n")
    return head.encode() + b"data: " + msgspec.json.encode(one.data) + b"\n\n"
