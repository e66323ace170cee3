"""HTTPS servers of strangers: found by our own resolver, connected to in turn, cut off when they send too much.

For servers that DNS or a domain's records name.  What a stranger names may be anywhere, also within our own network:
what is sent there has to be harmless, or ``may_connect`` has to forbid it.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Resolver
from mailgw.net.https import QuietPool, VerifiedHttps

CONNECT_SECONDS = 15.0  # for one address
ADDRESSES = 4  # of one host
# Of a whole answer beside its content: status line, fields, chunks' sizes, and what TLS adds to all that.
OVERHEAD_OCTETS = 128 * 1024

# IPv6 addresses that are IPv4 ones in disguise, whichever they are, or some site's own: NAT64 (its prefix for all, and
# the one for networks of one's own), 6to4, IPv4-compatible and site-local ones.  For ``ipaddress`` they are global.
_DISGUISES = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "::/96", "fec0::/10")))


def anywhere(address: str) -> bool:
    """``may_connect`` for what does no harm wherever it is sent."""
    return True


def is_public(address: str) -> bool:
    """``may_connect`` for what nobody within our own network asked for: IP addresses of the public Internet alone."""
    found = ipaddress.ip_address(address)
    return found.is_global and not found.is_multicast and not any(found in network for network in _DISGUISES)


@implementer(IAgentEndpointFactory)
class StrangersHosts:
    """Makes the endpoints of an ``Agent``; ``octets`` is the most that a server may send over one connection."""

    def __init__(
        self, reactor: Any, resolver: Resolver, ca_file: str | None, octets: int, may_connect: Callable[[str], bool]
    ) -> None:
        """``ValueError`` where ``ca_file`` cannot be used."""
        self._reactor = reactor
        self._resolver = resolver
        self._https = VerifiedHttps(ca_file)
        self._octets = octets
        self._may_connect = may_connect

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host: str = uri.host.decode("ascii")
        port: int = uri.port
        if uri.scheme != b"https":
            raise TemporaryFault(f"{host}: not by https")
        plain = _Addresses(self._reactor, self._resolver, host, port, self._octets, self._may_connect)
        endpoint: IStreamClientEndpoint = wrapClientTLS(self._https.creatorForNetloc(uri.host, port), plain)
        return endpoint


def strangers_agent(
    reactor: Any, resolver: Resolver, ca_file: str | None, limit_octets: int, may_connect: Callable[[str], bool]
) -> Agent:
    """An agent for answers of at most ``limit_octets``; each request has a connection of its own, and ends it."""
    hosts = StrangersHosts(reactor, resolver, ca_file, limit_octets + OVERHEAD_OCTETS, may_connect)
    pool = QuietPool(reactor, persistent=False)  # type: ignore[no-untyped-call] # Twisted has no types there
    agent: Agent = Agent.usingEndpointFactory(reactor, hosts, pool)  # type: ignore[no-untyped-call]
    return agent


@implementer(IStreamClientEndpoint)
class _Addresses:
    """Those of one host; the first that takes a connection is the one."""

    def __init__(
        self,
        reactor: Any,
        resolver: Resolver,
        host: str,
        port: int,
        octets: int,
        may_connect: Callable[[str], bool],
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._host = host
        self._port = port
        self._octets = octets
        self._may_connect = may_connect

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        found = (await self._resolver.addresses(self._host.strip("[]"))).items
        addresses = [address for address in _in_turn(found) if self._may_connect(address)][:ADDRESSES]
        if not addresses:
            why = "has no address that may be connected to" if found else "has no address"
            raise TemporaryFault(f"{self._host} {why}")
        trouble: Exception | None = None
        for address in addresses:
            kind: Any = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
            endpoint = kind(self._reactor, address, self._port, CONNECT_SECONDS)
            try:
                wrapper = await endpoint.connect(_Limiting(factory, self._octets))
            except (CancelledError, ConnectingCancelledError):
                # Who asked has given up.  With the next address it would begin anew, and nobody would end it.
                raise CancelledError from None
            except Exception as fault:  # noqa: BLE001 - of TCP, whatever it is: the next address is tried
                trouble = fault
                continue
            protocol: IProtocol = wrapper.wrappedProtocol
            return protocol
        assert trouble is not None
        raise trouble


def _in_turn(addresses: Sequence[str]) -> list[str]:
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    pairs = zip(six, four, strict=False)
    return [a for pair in pairs for a in pair] + six[len(four):] + four[len(six):]


class _Counted(ProtocolWrapper):
    """Twisted's HTTP client bounds lines, but neither their number nor anything else of an answer's head."""

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._left: int = factory.octets

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left >= 0:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
        else:
            transport: Any = self.transport
            transport.abortConnection()


if TYPE_CHECKING:
    _Wrapping = WrappingFactory[_Counted]
else:
    _Wrapping = WrappingFactory  # at run time it takes types only in newer versions of Twisted


class _Limiting(_Wrapping):
    protocol = _Counted
    noisy = False

    def __init__(self, wrapped: Any, octets: int) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.octets = octets
