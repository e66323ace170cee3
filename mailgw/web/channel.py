"""HTTP/1.1 as ``twisted.web`` speaks it, with limits on octets, time and connections (RFC 9112).

Not done: HTTP/2; upgrades; a body whose length is told twice, or in another way than by one Content-Length or by
"chunked", is refused, as are lines that are folded (RFC 9112 s6.1, s5.2).

Rules:
    After a refusal nothing that comes is understood any more: it is read and thrown away for a moment, so that the
    answer arrives (RFC 9112 s9.6), and then the connection is closed.
    Whatever a client does, or leaves undone, each connection has an end: ``look`` says when.
    Nobody is refused before a word was said: where there are as many strangers as there may be one of them is closed
    for a new one, who may know a token, or ask for health.  All of a machine's users have the loopback's address, and
    all of a proxy's clients its own.  What is under way with a good token stays.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from mailgw.mail.ports import WallClock
from mailgw.web.answers import refusal
from mailgw.web.operations import Problem
from mailgw.web.problems import PHRASES, RETRY_SECONDS
from mailgw.web.tokens import network_of

HEADER_OCTETS: Final = 32768
HEADERS: Final = 100
# Of all connections, so many may be of those who showed no token yet, and so many of these have one address.
CONNECTIONS: Final = 200
KNOWN: Final = 180  # the others, so that there is room for strangers, who are closed for each other
STRANGERS: Final = 100
STRANGERS_PER_ADDRESS: Final = 20
# Who says nothing for so long is closed for others before those who do.
FRESH_SECONDS: Final = 1.0
HEAD_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 60.0
# A body may be so far behind its pace, whatever came before: what brings nothing ends after so many seconds.
BODY_SECONDS: Final = 10.0
BODY_OCTETS_PER_SECOND: Final = 8192
# A client that takes nothing of an answer for so long; and one that does not close.
STUCK_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 1.0
# Of a Content-Length: more octets than there are.
LENGTH_DIGITS: Final = 15
_LATER: Final = {"Retry-After": str(RETRY_SECONDS)}


class Channel(HTTPChannel):
    """One connection.  Its ``factory`` says what time it is, and hears of its begin and end."""

    maxHeaders = HEADERS
    totalHeadersSize = MAX_LENGTH = HEADER_OCTETS
    timeOut = None  # ours are below
    factory: "WebFactory"
    transport: Any
    requests: list[Any]
    length: int | None
    peer: str
    network: str
    is_secure = False
    is_known = False  # whether somebody showed a good token here
    is_closed = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._phase = "head"
        self._since = 0.0
        self._has_begun = False  # a head of which octets are there
        self._body_due = 0.0  # when more of the body has to be there
        self._held_since: float | None = None  # we do not read it
        self._is_refused = False
        self._stuck_since: float | None = None
        self._closing_since: float | None = None

    # --- the connection -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._since = self.factory.now()
        self.peer = address_of(self.transport.getPeer())
        self.network = network_of(self.peer)
        if self.factory.tls is not None:
            self.is_secure = True
            self.transport.startTLS(self.factory.tls)
        super().connectionMade()  # type: ignore[no-untyped-call]
        if not self.factory.entered(self):
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_closed = True
        self.factory.left(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def loseConnection(self) -> None:
        if self._closing_since is None:
            self._closing_since = self.factory.now()
        super().loseConnection()  # type: ignore[no-untyped-call]

    @property
    def idle_since(self) -> float | None:
        """None where something is under way: a request, a part of one, or an answer that was not taken."""
        is_idle = self._phase == "idle" and self._stuck_since is None and self._closing_since is None
        return self._since if is_idle else None

    def loss(self, now: float) -> int:
        """What is lost where it is closed now: 0 nothing that was said whole, 1 a body that comes, 2 perhaps an answer,
        or a request that is on its way."""
        if self._is_refused:
            return 0
        if self._closing_since is not None or self._stuck_since is not None or self._phase == "answer":
            return 2
        if now - self._since < FRESH_SECONDS:
            return 2
        return 1 if self._phase == "body" else 0

    def look(self, now: float) -> None:
        """Every second: whether that was too long."""
        if self._closing_since is not None:
            if now - self._closing_since >= STUCK_SECONDS:
                self.transport.abortConnection()
        elif self._stuck_since is not None and now - self._stuck_since >= STUCK_SECONDS:
            self.transport.abortConnection()
        elif self._is_refused:
            if now - self._since >= LINGER_SECONDS:
                self.loseConnection()
        elif self._phase == "head" and now - self._since >= HEAD_SECONDS:
            if self._has_begun:
                self.refuse(Problem(408, PHRASES[408], f"a request's head within {HEAD_SECONDS:.0f} s"))
            else:
                self.loseConnection()
        elif self._phase == "idle" and now - self._since >= IDLE_SECONDS:
            self.loseConnection()
        elif self._phase == "body":
            if self._held_since is not None:
                if now - self._held_since >= STUCK_SECONDS:
                    self.refuse(Problem(503, PHRASES[503], "the disk does not take it", headers=_LATER))
            elif now > self._body_due:
                self.refuse(Problem(408, PHRASES[408], "the body comes too slowly"))

    # --- what comes -----------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._is_refused or self._closing_since is not None:
            return
        if self._phase == "idle":
            self._phase, self._since = "head", self.factory.now()
        self._has_begun = True
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        if self._is_refused:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse_header()
        elif line[:1] in (b" ", b"\t"):
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_header()

    def headerReceived(self, line: bytes) -> bool:
        if self._is_refused:
            return False
        name, _, value = line.partition(b":")
        if self._receivedHeaderCount >= self.maxHeaders:
            self._refuse_header()
            return False
        if name.lower() == b"content-length" and len(value.strip()) > LENGTH_DIGITS:
            self.refuse(Problem(413, PHRASES[413]))
            return False
        return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        if self._is_refused:
            return
        request = self.requests[-1]
        coding = request.requestHeaders.getRawHeaders(b"Transfer-Encoding")
        if coding is not None and (self._version != b"HTTP/1.1" or [one.lower() for one in coding] != [b"chunked"]):
            self._respondToBadRequestAndDisconnect()
            return
        self._phase, self._since, self._held_since = "body", self.factory.now(), None
        self._body_due = self._since + BODY_SECONDS
        self.persistent = self.checkPersistence(request, self._version)  # type: ignore[no-untyped-call]
        problem = request.begin(self._command, self._path, self._version, self.length)
        if problem is not None and self.length != 0:
            self.refuse(problem)
            return
        expected = request.requestHeaders.getRawHeaders(b"Expect", [b""])[0].lower()
        if expected == b"100-continue" and self._version == b"HTTP/1.1" and self.length != 0:
            self._send100Continue()  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        if not self._is_refused:
            super().rawDataReceived(data)

    def body_came(self, octets: int) -> None:
        due = self._body_due + octets / BODY_OCTETS_PER_SECOND
        self._body_due = min(due, self.factory.now() + BODY_SECONDS)

    def hold_body(self) -> None:
        """Read no more of it for now: that is not its client's fault."""
        self._held_since = self.factory.now()
        self.transport.pauseProducing()

    def go_on_with_body(self) -> None:
        self._held_since = None
        self._body_due = self.factory.now() + BODY_SECONDS
        self.transport.resumeProducing()

    def fail_body(self, problem: Problem) -> None:
        """What comes of it yet is of no use; once all of it is there its request says so."""
        if self._phase == "body":
            self.refuse(problem)

    def allContentReceived(self) -> None:
        if self._is_refused:
            return
        self._phase = "answer"
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: object) -> None:
        self._phase, self._since, self._has_begun = "idle", self.factory.now(), False
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        if self._stuck_since is None:
            self._stuck_since = self.factory.now()
        super().pauseProducing()  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        self._stuck_since = None
        super().resumeProducing()  # type: ignore[no-untyped-call]

    # --- what is refused ------------------------------------------------------------------------------------

    def refuse(self, problem: Problem) -> None:
        """Answer, and understand nothing more."""
        if self._is_refused or self.is_closed or self._closing_since is not None:
            return
        self._is_refused = True
        self._since = self.factory.now()
        for request in self.requests:
            request.abandon(problem)
        self.transport.write(refusal(problem, self.is_secure, self.factory.wall_clock()))

    def _refuse_header(self) -> None:
        why = f"at most {HEADERS} header fields, and {HEADER_OCTETS} octets of them"
        self.refuse(Problem(431, PHRASES[431], why))

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(Problem(400, PHRASES[400], "not a request of HTTP/1.1"))


class WebFactory(ServerFactory):
    """The connections that there are.  ``make_request`` is an ``INonQueuedRequestFactory``; ``tls`` None: plain
    HTTP."""

    noisy = False

    def __init__(
        self, reactor: Any, wall_clock: WallClock, make_request: Callable[[Any], Any], tls: Any = None
    ) -> None:
        self.tls = tls
        self.wall_clock = wall_clock
        self._reactor = reactor
        self._make_request = make_request
        self._channels: dict[Channel, None] = {}  # the oldest first
        self._looking: IDelayedCall | None = None

    def now(self) -> float:
        return float(self._reactor.seconds())

    def buildProtocol(self, addr: IAddress | None) -> Any:
        strangers = [one for one in self._channels if not one.is_known]
        network = network_of(address_of(addr))
        neighbours = [one for one in strangers if one.network == network]
        if len(neighbours) >= STRANGERS_PER_ADDRESS:
            self._close_one_of(neighbours)
        elif len(strangers) >= STRANGERS or len(self._channels) >= CONNECTIONS:
            self._close_one_of(strangers)
        channel = Channel()
        channel.factory = self
        channel.requestFactory = self._make_request  # type: ignore[assignment] # its interface says so
        return channel

    def log(self, request: object) -> None:
        """Twisted's requests report here: the journal has what there is to say."""

    def entered(self, channel: Channel) -> bool:
        self._channels[channel] = None
        if self._looking is None:
            self._looking = self._reactor.callLater(LOOK_SECONDS, self._look)
        return True

    def left(self, channel: Channel) -> None:
        self._channels.pop(channel, None)

    def know(self, channel: Channel) -> None:
        """A good token was shown there.  Problem 503 where so many that have shown one are busy."""
        if channel.is_known:
            return
        known = [one for one in self._channels if one.is_known]
        if len(known) >= KNOWN:
            idle = [(since, one) for one in known if (since := one.idle_since) is not None]
            if not idle:
                raise Problem(503, PHRASES[503], f"{KNOWN} connections are busy", headers=_LATER)
            self._close(min(idle, key=lambda two: two[0])[1])
        channel.is_known = True

    def _close_one_of(self, strangers: Sequence[Channel]) -> None:
        """The oldest of those with whom least is lost."""
        now = self.now()
        self._close(min(strangers, key=lambda one: one.loss(now)))

    def _close(self, channel: Channel) -> None:
        del self._channels[channel]
        channel.transport.abortConnection()

    def _look(self) -> None:
        self._looking = self._reactor.callLater(LOOK_SECONDS, self._look) if self._channels else None
        now = self.now()
        for channel in list(self._channels):
            channel.look(now)

    def close(self) -> None:
        """All connections end, once what is on its way was taken, or was not for long."""
        for channel in list(self._channels):
            channel.loseConnection()

    def __len__(self) -> int:
        return len(self._channels)


def address_of(where: IAddress | None) -> str:
    """A client's address, ``"local"`` for a Unix socket's."""
    return str(getattr(where, "host", "local"))
