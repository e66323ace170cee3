"""A connection from a proxy that is listed: its PROXY header first, then the session of the client it names.

Rules:
    The header comes before the greeting and before TLS, in ``TimeLimits.proxy_header`` seconds altogether.
    Without a good header nobody is served, and nothing is said: what a proxy garbles, a client could have forged.
    Connections that end before their first octet, or after a header that names no client without a word, are a proxy's
    looks whether we are alive: no fact is made of them.
    What the header does not say of a client, the proxy's own address does not make up for: where it names none, nobody
    may relay, even where ``relay_from`` holds the proxy.
"""

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from mailgw.mail import event as fact
from mailgw.receive.peers import Peer
from mailgw.receive.protocol import EsmtpProtocol, SessionTransport
from mailgw.wire.proxy import Proxied, ProxyFault, ProxyReader

if TYPE_CHECKING:
    from mailgw.receive.factory import EsmtpFactory


class ProxiedProtocol(Protocol):
    """Reads the header, then hands the transport to an ``EsmtpProtocol``."""

    factory: "EsmtpFactory"
    transport: SessionTransport  # type: ignore[assignment] # Twisted: any ITransport or None

    def __init__(self, factory: "EsmtpFactory", session_id: str, proxy: Peer) -> None:
        self.factory = factory
        self._session_id = session_id
        self._proxy = proxy
        self._reader = ProxyReader()
        self._timer: IDelayedCall | None = None
        self._is_over = False

    def connectionMade(self) -> None:
        # One session too many is told so when its client is known.
        self.factory.sessions.add(self)
        limit = self.factory.settings.time_limits.proxy_header
        self._timer = self.factory.clock.callLater(limit, self._refuse, f"no PROXY header in {limit:g} s")

    def dataReceived(self, octets: bytes) -> None:
        if self._is_over:
            return
        result = self._reader.feed(octets)
        if isinstance(result, ProxyFault):
            self._refuse(result.value)
        elif result is not None:
            self._hand_over(result)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._is_over and self._reader.has_begun:
            self._note("closed within the PROXY header")
        self._end()
        self.factory.sessions.discard(self)

    # --- the service's calls ----------------------------------------------------------------------

    def finish(self) -> None:
        """Nothing was begun."""
        self._end()
        self.transport.loseConnection()

    def abort(self) -> None:
        self._end()
        self.transport.abortConnection()

    # --- below ------------------------------------------------------------------------------------

    def _hand_over(self, header: Proxied) -> None:
        self._end()
        own = self._proxy
        if header.address is None:
            peer = Peer(own.address, own.port, proxy=own.address, is_client=False)
        else:
            peer = Peer(header.address, header.port, proxy=own.address)
        session = EsmtpProtocol(self.factory, self._session_id, peer)
        self.factory.sessions.replace(self, session)
        transport = self.transport
        transport.protocol = session
        session.makeConnection(transport)  # type: ignore[no-untyped-call] # Twisted has no types there
        if header.rest:
            transport.protocol.dataReceived(header.rest)  # TLS has put itself there by now, where it comes first

    def _refuse(self, why: str) -> None:
        self._end()
        self._note(why)
        self.transport.loseConnection()

    def _note(self, why: str) -> None:
        self.factory.note(fact.ProxyFailed(self._session_id, self._proxy.address, why))

    def _end(self) -> None:
        self._is_over = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
