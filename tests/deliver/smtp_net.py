"""A network in memory for the SMTP backend: its connections, and the peers that the test plays."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from mailgw.deliver.conversing import Conversing
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.signing import Signing
from mailgw.deliver.smtp import SmtpBackend, SmtpSettings, TlsMode
from mailgw.deliver.smtp_hops import Hop
from mailgw.deliver.smtp_settings import Shaping
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome
from mailgw.spool.content import MemoryContent
from mailgw.testing.names import FakeResolver

ANN = Mailbox("ann", "example.org")
BOB = Mailbox("bob", "example.org")
CY = Mailbox("cy", "example.org")
SENDER = Mailbox("sender", "example.net")
NOW = 1_700_000_000.0
EHLO = b"250-mx.example.org\r\n250 PIPELINING\r\n"


def shaping(**changes: Any) -> Shaping:
    values: dict[str, Any] = {
        "destinations": (), "hosts": (), "sources": (), "rate": None, "host_concurrency": 50,
        "total_concurrency": 500, "total_rate": None,
    }
    return Shaping(**(values | changes))


def settings(**changes: Any) -> SmtpSettings:
    values: dict[str, Any] = {
        "hosts": ("192.0.2.1:2525",),
        "lmtp": False,
        "tls": TlsMode.NEVER,
        "mta_sts": False,
        "username": None,
        "password": None,
        "password_file": None,
        "hello_name": "us.example.net",
        "concurrency": 20,
        "messages_per_session": 100,
        "recipients_per_transaction": 100,
        "check_domains": True,
        "sign": True,
        "seal": True,
        "marks_junk": False,
        "shaping": shaping(),
        "socks5": None,
        "ca_file": None,
        "client_certificate": None,
        "client_key": None,
        "idle_seconds": 5.0,
        "connect_seconds": 30.0,
        "greeting_seconds": 301.0,
        "hello_seconds": 302.0,
        "mail_seconds": 303.0,
        "rcpt_seconds": 304.0,
        "data_init_seconds": 120.0,
        "data_block_seconds": 180.0,
        "data_end_seconds": 600.0,
    }
    return SmtpSettings(**(values | changes))


def message(octets: bytes = b"Subject: x\r\n\r\n.dot\r\n", body: BodyType = BodyType.SEVEN_BIT) -> Message:
    return Message("Q1", SENDER, body, 0.0, MemoryContent(octets))


@attrs.frozen(eq=False)
class LargeContent:
    """Content that comes in pieces; a piece may be an exception."""

    pieces: Sequence[bytes | Exception]
    octets: None = None

    @property
    def size_octets(self) -> int:
        return sum(len(piece) for piece in self.pieces if isinstance(piece, bytes))

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def large(*pieces: bytes | Exception, body: BodyType = BodyType.SEVEN_BIT) -> Message:
    content: Content = LargeContent(pieces)
    return Message("Q2", SENDER, body, 0.0, content)


class Wire(StringTransport):
    """What the session's transport saw.  A slow one wants a pause as soon as a producer registers."""

    aborted = False
    slow = False
    tls: object = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        super().registerProducer(producer, streaming)
        if self.slow:
            producer.pauseProducing()

    def drain(self) -> None:
        """Its buffer is empty again."""
        self.slow = False
        assert self.producer is not None
        self.producer.resumeProducing()

    def abortConnection(self) -> None:
        self.aborted = True

    def startTLS(self, creator: object) -> None:
        self.tls = creator


class Peer:
    """The server's end of one connection."""

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.wire = Wire()
        protocol.makeConnection(self.wire)

    def say(self, octets: bytes) -> "Peer":
        self.protocol.dataReceived(octets)
        return self

    def heard(self) -> bytes:
        octets: bytes = self.wire.value()
        self.wire.clear()
        return octets

    def hang_up(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def is_closed(self) -> bool:
        return self.wire.disconnecting or self.wire.aborted

    def greet(self, ehlo: bytes = EHLO) -> "Peer":
        self.say(b"220 mx.example.org ESMTP\r\n")
        assert self.heard() == b"EHLO us.example.net\r\n"
        return self.say(ehlo)

    def accept_all(self, recipients: int = 1, final: bytes = b"250 2.0.0 queued\r\n") -> bytes:
        """Take a pipelined transaction; what the client said in it."""
        self.say(b"250 ok\r\n" * (1 + recipients) + b"354 go\r\n")
        heard = self.heard()
        self.say(final)
        return heard


class Net:
    """A backend on a reactor in memory."""

    def __init__(
        self,
        resolver: FakeResolver | None = None,
        own_names: frozenset[str] = frozenset(),
        shuffle: Callable[[list[str]], None] = list.reverse,
        forwarding: Forwarding | None = None,
        signing: Signing | None = None,
        conversing: Conversing | None = None,
        **changes: Any,
    ) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = resolver or FakeResolver()
        self.backend = SmtpBackend(
            settings(**changes), self.reactor, self.resolver, shuffle, own_names, lambda: NOW, forwarding=forwarding,
            signing=signing, conversing=conversing,
        )
        self.backend.startService()
        self._seen = 0

    def deliver(self, what: Message | None = None, recipients: Sequence[Mailbox] = (ANN,)) -> "Delivery":
        return Delivery(Deferred.fromCoroutine(self.backend.deliver(what or message(), recipients)))  # type: ignore[arg-type]

    def calls(self) -> list[tuple[str, int]]:
        """Where connections were asked for since the last look."""
        found = [(host, port) for host, port, *_ in self.reactor.tcpClients[self._seen:]]
        self._seen = len(self.reactor.tcpClients)
        return found

    def accept(self, at: int = -1) -> Peer:
        """Accept the connection that was asked for last, or the one at that place."""
        _, _, factory, *_ = self.reactor.tcpClients[at]
        return Peer(factory.buildProtocol(None))

    def accept_unix(self) -> Peer:
        _, factory, *_ = self.reactor.unixClients[-1]
        return Peer(factory.buildProtocol(None))

    def refuse(self, at: int = -1, why: Exception | None = None) -> None:
        _, _, factory, *_ = self.reactor.tcpClients[at]
        factory.clientConnectionFailed(None, Failure(why or ConnectionRefusedError(osError=111)))

    def given_up(self) -> list[int]:
        """Which connections that were asked for are wanted no more."""
        return [at for at, one in enumerate(self.reactor.connectors) if one.stoppedConnecting]

    def idle(self) -> int:
        return len(self.backend._pool)


class Delivery:
    """One ``deliver`` under way."""

    def __init__(self, deferred: "Deferred[Any]") -> None:
        self.deferred = deferred
        self._results: list[Any] = []
        deferred.addBoth(self._results.append)

    @property
    def is_over(self) -> bool:
        return bool(self._results)

    @property
    def outcomes(self) -> dict[Mailbox, Outcome]:
        assert self._results, "still under way"
        if isinstance(self._results[0], Failure):
            self._results[0].raiseException()
        return dict(self._results[0])

    @property
    def texts(self) -> dict[str, str]:
        """``{"ann": "delivered 250 2.0.0 queued"}``"""
        return {
            recipient.local_part: f"{outcome.permanence.value} {outcome.reply}"
            for recipient, outcome in self.outcomes.items()
        }


def hop(host: str = "192.0.2.1", port: int = 2525) -> Hop:
    return Hop(host, host, port)
