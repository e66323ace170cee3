"""Connections in memory: two ends, of which each is a transport as TCP's are, with real TLS where it is started.

An end is Twisted's own ``FileDescriptor`` and TLS layer, so buffers, producers and the order of closing are those of
a socket; only the socket is missing.  What is written arrives in a later turn of the reactor, at the same time.
"""

from collections import deque
from typing import Any

from twisted.internet._newtls import ConnectionMixin, _BypassTLS
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IProtocol, ISSLTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides


class End(ConnectionMixin, FileDescriptor):
    """One end; ``join`` makes two."""

    TLS = False
    protocol: Any
    other: "End"
    reactor: Any  # IReactorTime; nothing is polled

    def __init__(self, reactor: Any, here: IAddress, there: IAddress, is_client: bool) -> None:
        super().__init__(reactor)
        self.connected = 1
        self._here, self._there = here, there
        self._tlsClientDefault = is_client
        self._come: deque[bytes] = deque()
        self._is_reading = self._is_writing = False
        self._reads_soon = self._writes_soon = False
        self._is_left: BaseException | None = None  # why the other end is gone

    # --- the socket that is not there -----------------------------------------------------------------------

    def writeSomeData(self, data: bytes) -> int:
        if self.other.connected and not self.other.disconnecting:
            self.other._come.append(bytes(data))
            self.other._read_soon()
        return len(data)

    def startReading(self) -> None:
        self._is_reading = True
        self._read_soon()

    def stopReading(self) -> None:
        self._is_reading = False

    def startWriting(self) -> None:
        self._is_writing = True
        if not self._writes_soon:
            self._writes_soon = True
            self.reactor.callLater(0, self._write_now)

    def stopWriting(self) -> None:
        self._is_writing = False

    def abortConnection(self) -> None:
        if not self.connected or getattr(self, "_aborting", False):
            return
        self._aborting = True
        self._come.clear()
        self.stopReading()
        self.stopWriting()
        self.reactor.callLater(0, self._lose, ConnectionAborted())

    def leave(self, why: BaseException) -> None:
        """The other end is gone, once what it sent is read."""
        self._is_left = why
        self._read_soon()

    def connectionLost(self, reason: Failure) -> None:
        if not self.connected:
            return
        super().connectionLost(reason)  # type: ignore[no-untyped-call] # Twisted has no types there
        is_clean = isinstance(reason.value, ConnectionDone)
        self.other.leave(ConnectionDone() if is_clean else ConnectionLost())
        protocol = self.protocol
        del self.protocol
        protocol.connectionLost(reason)

    def getHost(self) -> IAddress:
        return self._here

    def getPeer(self) -> IAddress:
        return self._there

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def startTLS(self, ctx: Any, normal: bool = True) -> None:
        """As Twisted's, which leaves the time of small writes to the global reactor."""
        client = self._tlsClientDefault if normal else not self._tlsClientDefault
        producer, streaming = self.producer, getattr(self, "streamingProducer", False)
        if producer is not None:
            self.unregisterProducer()  # type: ignore[no-untyped-call]
        factory: Any = TLSMemoryBIOFactory(ctx, client, None, self.reactor)  # type: ignore[arg-type] # as Twisted's own
        layer = factory.protocol(factory, self.protocol, False)
        self.protocol = layer
        self.getHandle = layer.getHandle
        self.getPeerCertificate = layer.getPeerCertificate
        directlyProvides(self, ISSLTransport)
        self.TLS = True
        layer.makeConnection(_BypassTLS(FileDescriptor, self))  # type: ignore[no-untyped-call]
        if producer is not None:
            self.registerProducer(producer, streaming)  # type: ignore[no-untyped-call]

    # --- turns of the reactor -------------------------------------------------------------------------------

    def _read_soon(self) -> None:
        if not self._reads_soon and self.connected:
            self._reads_soon = True
            self.reactor.callLater(0, self._read_now)

    def _read_now(self) -> None:
        self._reads_soon = False
        while self.connected and self._is_reading and self._come:
            self.protocol.dataReceived(self._come.popleft())
        if self._is_left is not None and not self._come:
            self._lose(self._is_left)

    def _write_now(self) -> None:
        self._writes_soon = False
        if not self.connected or not self._is_writing:
            return
        why = self.doWrite()  # type: ignore[no-untyped-call]
        if isinstance(why, BaseException):
            self._lose(why)
        elif self._is_writing:
            self.startWriting()

    def _lose(self, why: BaseException) -> None:
        self.connectionLost(Failure(why))  # type: ignore[no-untyped-call]


def join(
    reactor: Any, client: IProtocol, client_address: IAddress, server: IProtocol, server_address: IAddress
) -> tuple[End, End]:
    """Connect two protocols; the server's connection is made first, as an accepted one is."""
    near = End(reactor, client_address, server_address, True)
    far = End(reactor, server_address, client_address, False)
    near.other, far.other = far, near
    near.protocol, far.protocol = client, server
    server.makeConnection(far)
    client.makeConnection(near)
    for end in (far, near):
        if end.connected and not end.disconnecting:
            end.startReading()
    return near, far
