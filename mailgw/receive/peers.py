"""Who is at the other end of a connection, and whether an address stands in a list of the configuration."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Literal, TypeAlias

import attrs
from twisted.internet.interfaces import IAddress

LOCAL: Final = "local"
"""The address of who comes by a Unix socket."""

UNKNOWN: Final = "unknown"
"""The address of a client whose front knows none."""

Fronts: TypeAlias = Sequence[IPv4Network | IPv6Network | Literal["local"]]
"""Whom a listener believes what they say of their clients."""

# A bound; a list is asked again in no time.
_REMEMBERED = 10_000


@attrs.frozen
class Peer:
    """``address`` as in ``Client``; ``proxy`` is the address of the front whose PROXY header said so, ``""`` where the
    connection is the client's own.

    ``is_client`` is False where the front spoke for itself, or could not tell for whom.
    """

    address: str
    port: int
    proxy: str = ""
    is_client: bool = True


def peer_of(address: IAddress | None) -> Peer:
    """The other end of a connection as the system sees it."""
    host, port = getattr(address, "host", LOCAL), getattr(address, "port", 0)
    if ":" in host:
        # A v6 listener shows v4 clients as ::ffff:192.0.2.1; relay_from and the trace mean the v4 address.
        parsed = ip_address(host.partition("%")[0])
        host = str(getattr(parsed, "ipv4_mapped", None) or parsed)
    return Peer(host, port)


class Listed:
    """A list of networks, or ``LOCAL``, that addresses are looked for in; what was found is remembered."""

    def __init__(self, members: Fronts) -> None:
        self._networks = [m for m in members if not isinstance(m, str)]
        self._known: dict[str, bool] = {}
        self._has_local = LOCAL in members

    def has(self, address: str) -> bool:
        """Whether the (unmapped) address is in it."""
        known = self._known.get(address)
        if known is None:
            known = self._look(address)
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            self._known[address] = known
        return known

    def _look(self, address: str) -> bool:
        if address == LOCAL:
            return self._has_local
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in self._networks)
