"""One try to get a question answered by one server: a UDP socket of its own, or a TCP connection (RFC 1035 s4.2, RFC
7766).

An answer counts only with the question's id and name, from the server and to the port that it was sent to and from
(RFC 5452 s4).
"""

import os
import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from mailgw.net.dns_wire import Answer, Question

UDP_SECONDS = 3.0
TCP_SECONDS = 5.0  # to connect, and again to answer

Server = tuple[str, int]
Listen = Callable[[Any, DatagramProtocol, str], Any]
"""Opens a UDP socket for a protocol, at an interface and a port of the kernel's choice."""


class Unanswered(Exception):
    """This server did not answer this time; ``is_silent`` where nothing at all came from it."""

    def __init__(self, why: str, is_silent: bool = False) -> None:
        super().__init__(why)
        self.is_silent = is_silent


async def over_udp(reactor: Any, listen: Listen, server: Server, question: Question) -> Answer:
    """The server's answer, perhaps a truncated one.  Unanswered where none comes within UDP_SECONDS."""
    exchange = _Datagrams(question, server)
    try:
        port = listen(reactor, exchange, "::" if ":" in server[0] else "")
    except Exception as fault:  # noqa: BLE001 - no socket, no route: whatever the network says
        raise Unanswered(_reason(fault)) from None
    limit = reactor.callLater(UDP_SECONDS, exchange.time_is_up)
    try:
        return await exchange.answer
    finally:
        if limit.active():
            limit.cancel()
        port.stopListening()


async def over_tcp(reactor: Any, server: Server, question: Question) -> Answer:
    """The server's answer.  Unanswered where none comes within TCP_SECONDS after the connection."""
    exchange = _Stream(question)
    kind_of_endpoint: Any = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
    try:
        await kind_of_endpoint(reactor, server[0], server[1], TCP_SECONDS).connect(_Once(exchange))
    except (CancelledError, ConnectingCancelledError):
        raise CancelledError from None  # who asked has given up: no other server is to be tried
    except Exception as fault:  # noqa: BLE001 - refused, unreachable, too late
        raise Unanswered(_reason(fault)) from None
    limit = reactor.callLater(TCP_SECONDS, exchange.time_is_up)
    try:
        return await exchange.answer
    finally:
        if limit.active():
            limit.cancel()
        transport: Any = exchange.transport
        transport.abortConnection()


class _Datagrams(DatagramProtocol):
    """One try over UDP."""

    noisy = False

    def __init__(self, question: Question, server: Server) -> None:
        self.answer: Deferred[Answer] = Deferred()
        self._question = question
        self._server = server

    def startProtocol(self) -> None:
        transport: Any = self.transport
        try:
            transport.connect(*self._server)  # so that the kernel drops what others send
            transport.write(self._question.octets)
        except OSError as fault:  # no route; raised from here it would leave the socket behind
            self._fail(os.strerror(fault.errno or 0), is_silent=True)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = None if self.answer.called else self._question.read(datagram)
        if answer is not None:
            self.answer.callback(answer)

    def connectionRefused(self) -> None:
        self._fail("nobody listens there", is_silent=True)

    def time_is_up(self) -> None:
        self._fail("no answer", is_silent=True)

    def _fail(self, why: str, is_silent: bool) -> None:
        if not self.answer.called:
            self.answer.errback(Unanswered(why, is_silent))


class _Stream(Protocol):
    """One try over TCP (RFC 1035 s4.2.2: two octets of length before each message)."""

    def __init__(self, question: Question) -> None:
        self.answer: Deferred[Answer] = Deferred()
        self._question = question
        self._received = bytearray()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(struct.pack("!H", len(self._question.octets)) + self._question.octets)

    def dataReceived(self, data: bytes) -> None:
        if self.answer.called:
            return
        received = self._received
        received += data
        if len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
            return
        answer = self._question.read(bytes(received[2:2 + int.from_bytes(received[:2], "big")]))
        if answer is None or answer.truncated:  # RFC 7766 s5: over TCP nothing is truncated
            self._fail("its answer over TCP is none")
        else:
            self.answer.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail("it closed the TCP connection")

    def time_is_up(self) -> None:
        self._fail("no answer over TCP")

    def _fail(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(Unanswered(why))


class _Once(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol


def _reason(fault: Exception) -> str:
    number = getattr(fault, "osError", None)
    return os.strerror(number) if isinstance(number, int) else (str(fault) or type(fault).__name__)
