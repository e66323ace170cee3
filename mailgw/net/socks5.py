"""A client endpoint behind a SOCKS5 proxy (RFC 1928): who connects to it hears nothing of the proxy.

Rules:
    The time limit is for all of it: the connection to the proxy, and the proxy's to the destination.
    The protocol is made when the destination stands; it then has the transport to itself, so that TLS starts on it.
"""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.net.sending import send
from mailgw.wire.socks5 import NotThrough, Socks5Dialog, Through


@implementer(IStreamClientEndpoint)
class Socks5Endpoint:
    """To ``address`` (IPv4 or IPv6) and ``port``, over the proxy at ``proxy``, an address and a port."""

    def __init__(
        self,
        reactor: Any,  # IReactorTCP and IReactorTime at once; no such type exists
        proxy: tuple[str, int],
        login: tuple[str, str] | None,
        address: str,
        port: int,
        seconds: float,
    ) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._login = login
        self._destination = (address, port)
        self._seconds = seconds

    def connect(self, protocolFactory: IProtocolFactory) -> "Deferred[IProtocol]":
        """``ConnectError`` in the proxy's words where the destination cannot be reached, or the proxy; the latter is
        named in them."""
        dialog = Socks5Dialog(*self._destination, self._login)
        passage = _Passage(dialog, protocolFactory, self._reactor, self._seconds)
        host, port = self._proxy
        kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
        reaching: Deferred[Any] = kind(self._reactor, host, port, self._seconds).connect(_Once(passage))
        passage.reaching = reaching
        reaching.addErrback(passage.unreached)  # type: ignore[unused-awaitable] # owned by the passage
        return passage.through


class _Passage(Protocol):
    """The connection to the proxy, until it leads to the destination."""

    def __init__(self, dialog: Socks5Dialog, factory: IProtocolFactory, clock: Any, seconds: float) -> None:
        self.through: Deferred[IProtocol] = Deferred(self._given_up)
        self.reaching: Deferred[Any] | None = None
        self._dialog = dialog
        self._factory = factory
        self._is_over = False
        self._timer: IDelayedCall = clock.callLater(seconds, self._time_is_up)

    def connectionMade(self) -> None:
        self._say()

    def dataReceived(self, data: bytes) -> None:
        if self._is_over:
            return
        found = self._dialog.receive(data)
        self._say()
        if isinstance(found, Through):
            self._hand_over(found.rest)
        elif isinstance(found, NotThrough):
            self._fail(_fault(found.why if found.is_destination else f"SOCKS5: {found.why}"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail(_fault("SOCKS5: the proxy closed the connection"))

    def unreached(self, failure: Failure) -> None:
        """The proxy itself cannot be connected to."""
        if not failure.check(CancelledError):  # type: ignore[no-untyped-call] # Twisted has no types there
            self._fail(_fault(f"SOCKS5: the proxy cannot be reached: {failure.getErrorMessage()}"))

    def _hand_over(self, rest: bytes) -> None:
        self._end()
        transport: Any = self.transport
        protocol = self._factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.abortConnection()
            self.through.errback(_fault("nobody wants the connection"))
            return
        # What Twisted's transports call is their ``protocol``; TLS that starts later finds the new one there, too.
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self.through.callback(protocol)
        if rest:
            # As what comes later: to TLS, where the protocol has started it, and never past it.
            transport.protocol.dataReceived(rest)

    def _say(self) -> None:
        octets = self._dialog.output()
        if octets:
            send(self.transport, octets)

    def _time_is_up(self) -> None:
        self._fail(ConnectTimeout())  # type: ignore[no-untyped-call] # Twisted has no types there

    def _fail(self, fault: Exception) -> None:
        if not self._is_over:
            self._drop()
            self.through.errback(fault)

    def _given_up(self, _: object) -> None:
        self._drop()

    def _drop(self) -> None:
        self._end()
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()
        elif self.reaching is not None:
            self.reaching.cancel()

    def _end(self) -> None:
        self._is_over = True
        if self._timer.active():
            self._timer.cancel()


def _fault(why: str) -> ConnectError:
    return ConnectError(string=why)  # type: ignore[no-untyped-call] # Twisted has no types there


class _Once(Factory):
    noisy = False

    def __init__(self, passage: _Passage) -> None:
        self._passage = passage

    def buildProtocol(self, addr: IAddress | None) -> _Passage:
        return self._passage
