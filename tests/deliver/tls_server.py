"""Just enough of an SMTP server, on the loopback, with real TLS: what it offers and shows is the test's to say."""

from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver
from zope.interface import implementer


class TlsServer:
    """Listens at ``port``.  ``context`` is for the connections from now on, TLS from their first octet where
    ``is_implicit``; ``offered`` is what EHLO says before TLS, and STARTTLS is not taken where ``refuses_tls``.

    ``lines`` has each line that came, ``taken`` each message, both with whether that was under TLS; the answer to a
    message says that, too.
    """

    def __init__(self, context: SSL.Context, is_implicit: bool = False) -> None:
        self.context = context
        self.is_implicit = is_implicit
        self.offered = b"STARTTLS"
        self.refuses_tls = False
        self.lines: list[tuple[bytes, bool]] = []
        self.taken: list[bool] = []
        factory: Any = Factory.forProtocol(_Session)
        factory.noisy = False
        factory.server = self
        self._port: Any = real_reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port: int = self._port.getHost().port

    def close(self) -> Deferred[None]:
        closed: Deferred[None] = self._port.stopListening()
        return closed


@implementer(IOpenSSLServerConnectionCreator)
class _By:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class _Session(LineReceiver):
    is_secure = in_content = False

    def connectionMade(self) -> None:
        self.server: TlsServer = self.factory.server
        if self.server.is_implicit:
            self._start_tls()
        self.sendLine(b"220 hi")

    def lineReceived(self, line: bytes) -> None:
        self.server.lines.append((line, self.is_secure))
        if self.in_content:
            if line == b".":
                self.in_content = False
                self.server.taken.append(self.is_secure)
                self.sendLine(b"250 2.0.0 secure" if self.is_secure else b"250 2.0.0 clear")
        elif line.startswith(b"EHLO"):
            self.sendLine(b"250-mx.example.org\r\n250 " + (b"REQUIRETLS" if self.is_secure else self.server.offered))
        elif line == b"STARTTLS" and self.server.refuses_tls:
            self.sendLine(b"454 4.7.0 not now")
        elif line == b"STARTTLS":
            self.sendLine(b"220 go")
            self._start_tls()
        elif line == b"DATA":
            self.in_content = True
            self.sendLine(b"354 go")
        elif line == b"QUIT":
            self.transport.loseConnection()
        else:
            self.sendLine(b"250 ok")

    def _start_tls(self) -> None:
        self.transport.startTLS(_By(self.server.context))
        self.is_secure = True
