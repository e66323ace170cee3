"""A connection to one of the places of a host: the best first, the next one when that does not answer at once
(RFC 8305 s5, s8; its sorting by RFC 6724 is not done: IPv6 and IPv4 take turns, IPv6 first).

Rules:
    One connection comes out of it.  The others are given up, and nothing was said on them.
    An address that did not answer is remembered for some minutes, and comes behind all others; it is not left out,
    since it may be the only one.  One that refused is not: to ask it again costs nothing.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from mailgw.deliver.smtp_hops import Hop
from mailgw.deliver.smtp_session import Session

# RFC 8305 s5: Connection Attempt Delay, "recommended to be 250 milliseconds"
NEXT_SECONDS = 0.25
# Long enough that a dead host costs little, short enough that one which is back is found before its mail is late.
REMEMBERED_SECONDS = 180.0
# Some 1 MiB; whoever has more dead hosts than that forgets those he met first.
MOST_REMEMBERED = 10_000


@attrs.frozen
class Connected:
    """``session`` has its transport; nothing was received yet.  ``tried`` are the hops that failed, or that were begun
    before this one and did not answer."""

    hop: Hop
    session: Session
    tried: frozenset[Hop]


@attrs.frozen
class NotConnected:
    """No hop could be connected to; ``why`` is what the last one said, of which ``hop`` it is."""

    hop: Hop
    why: str


class Silent:
    """Places that did not answer lately.  ``clock`` is monotonic."""

    def __init__(self, clock: IReactorTime, most: int = MOST_REMEMBERED) -> None:
        self._clock = clock
        self._most = most
        self._until: dict[tuple[str, int], float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def note(self, hop: Hop) -> None:
        """It did not answer."""
        self._until.pop((hop.address, hop.port), None)  # the oldest stay in front
        if len(self._until) >= self._most:
            del self._until[next(iter(self._until))]
        self._until[hop.address, hop.port] = self._clock.seconds() + REMEMBERED_SECONDS

    def forget(self, hop: Hop) -> None:
        """It answered."""
        self._until.pop((hop.address, hop.port), None)

    def has(self, hop: Hop) -> bool:
        until = self._until.get((hop.address, hop.port))
        if until is None:
            return False
        if until > self._clock.seconds():
            return True
        self.forget(hop)
        return False

    def last(self, hops: Sequence[Hop]) -> list[Hop]:
        """The same hops, those that are silent behind the others."""
        return sorted(hops, key=self.has) if self._until else list(hops)


def first_to_answer(
    hops: Sequence[Hop],
    endpoint: Callable[[Hop], IStreamClientEndpoint],
    session: Callable[[Hop], Session],
    silent: Silent,
    clock: IReactorTime,
) -> "Deferred[Connected | NotConnected]":
    """A connection to one of ``hops``, at least one, in their order.  Cancelled, all are given up."""
    return _Race(hops, endpoint, session, silent, clock).result


class _Race:
    def __init__(
        self,
        hops: Sequence[Hop],
        endpoint: Callable[[Hop], IStreamClientEndpoint],
        session: Callable[[Hop], Session],
        silent: Silent,
        clock: IReactorTime,
    ) -> None:
        self.result: Deferred[Connected | NotConnected] = Deferred(self._given_up)
        self._hops = list(hops)
        self._begun = 0
        self._tried: set[Hop] = set()
        self._endpoint = endpoint
        self._session = session
        self._silent = silent
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._pending: dict[Hop, Deferred[Any]] = {}
        self._is_over = False
        self._begin()

    def _begin(self) -> None:
        hop = self._hops[self._begun]
        self._begun += 1
        session = self._session(hop)
        attempt: Deferred[Any] = self._endpoint(hop).connect(_Once(session))
        self._pending[hop] = attempt
        if self._begun < len(self._hops):
            self._timer = self._clock.callLater(NEXT_SECONDS, self._begin)
        attempt.addCallbacks(  # type: ignore[unused-awaitable] # owned by this race
            self._stands, self._failed, callbackArgs=(hop, session), errbackArgs=(hop,)
        )

    def _stands(self, _: Any, hop: Hop, session: Session) -> None:
        for slower in self._pending:  # in the order in which they were begun
            if slower is hop:
                break
            self._silent.note(slower)
            self._tried.add(slower)
        self._silent.forget(hop)
        self._end()
        self.result.callback(Connected(hop, session, frozenset(self._tried)))

    def _failed(self, failure: Failure, hop: Hop) -> None:
        if self._is_over:
            return
        del self._pending[hop]
        self._tried.add(hop)
        if isinstance(failure.value, ConnectTimeout):
            self._silent.note(hop)
        if self._begun < len(self._hops):
            self._stop_timer()
            self._begin()
        elif not self._pending:
            self._end()
            self.result.callback(NotConnected(hop, _text(failure.value)))

    def _given_up(self, _: object) -> None:
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._stop_timer()
        for attempt in list(self._pending.values()):
            attempt.cancel()  # of the one that stands it does nothing

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class _Once(Factory):
    """Hands one session to its connection."""

    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> Session:
        return self._session


def _text(fault: BaseException | None) -> str:
    if isinstance(fault, ConnectTimeout) and not any(fault.args):
        return "No answer"
    number = getattr(fault, "osError", None) or getattr(fault, "errno", None)
    if isinstance(number, int):
        return os.strerror(number)
    # Twisted's own text has a preamble to the words that it was given.
    words = fault.args[0] if fault is not None and fault.args else str(fault)
    return str(words) or type(fault).__name__
