"""Where a lane leads: the hosts of a domain's MX records, or those that are given (RFC 5321 s5.1, RFC 7505)."""

from collections.abc import Callable, Sequence
from itertools import groupby

import attrs

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Outcome, Scope, permanent, temporary
from mailgw.mail.ports import Resolver

SMTP_PORT = 25
# Of a host with many addresses, so that one sick host does not take the whole attempt.
ADDRESSES_PER_HOST = 4
# Of a domain, the best ones.  An answer has room for thousands, and each costs questions to DNS, also where it has no
# address or may not be used; those that have many have some twenty.
HOSTS_PER_DOMAIN = 50


@attrs.frozen
class Target:
    """A host that may serve: a name, an address, or, with port 0, the path of a Unix socket.

    ``is_authentic``: that it serves was configured, or DNS said so and was validated; or it is the domain itself.
    ``next_hops``: the domain that led here, and what it is an alias of, where DNS said so and was validated.
    """

    host: str
    port: int
    is_authentic: bool = True
    next_hops: tuple[str, ...] = ()


@attrs.frozen
class Hop:
    """One place to connect to.  ``host`` is what a certificate must name; ``address`` an IP address, or, with
    port 0, the path of a Unix socket."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        """As outcomes name it: ``"mx1.example.org [192.0.2.1]:25"``."""
        if not self.port:
            return f"unix:{self.address}"
        name = f"{self.host} " if self.host != self.address else ""
        return f"{name}[{self.address}]:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.address

    @property
    def is_loopback(self) -> bool:
        """Whether nobody else can listen in."""
        return not self.port or self.address == "::1" or self.address.startswith("127.")


@attrs.frozen
class Places:
    """Where one host is: at least one hop; whether its addresses were validated, and the name that they stand at."""

    hops: tuple[Hop, ...]
    secure: bool
    name: str


def given_targets(hosts: Sequence[str]) -> tuple[Target, ...]:
    """``"host:port"``, ``"[v6]:port"`` or ``"unix:/path"`` each, as ``SmtpSettings.hosts`` has them."""
    targets = []
    for word in hosts:
        if word.startswith("unix:"):
            targets.append(Target(word[5:], 0))
        else:
            host, _, port = word.rpartition(":")
            targets.append(Target(host.strip("[]"), int(port)))
    return tuple(targets)


async def mx_targets(
    domain: str, resolver: Resolver, shuffle: Callable[[list[str]], None], own_names: frozenset[str]
) -> tuple[Target, ...] | Outcome:
    """The hosts for ``domain`` (or address literal), best first, at least one; or why there are none.

    ``shuffle`` mixes hosts of equal preference in place.  Definite answers of DNS are permanent outcomes, a
    DNS that fails is a temporary one.
    """
    if domain.startswith("["):
        return (Target(domain[1:-1].removeprefix("IPv6:"), SMTP_PORT),)
    try:
        found = await resolver.mx(domain)
        records = found.items
        if not records:
            # RFC 5321 s5.1: without MX records, the domain's own address is its implicit MX.
            if (await resolver.addresses(domain)).items:
                return _but_ours([(0, [domain])], domain, own_names, True, ())
            if await resolver.exists(domain):
                return permanent("5.1.2", f"The domain {domain} takes no mail: no MX and no address", Scope.HOST, "")
            return permanent("5.1.2", f"The domain {domain} does not exist", Scope.HOST, "")
    except TemporaryFault as fault:
        return temporary("4.4.3", fault.why, Scope.HOST, "")
    if all(not record.host for record in records):
        # RFC 7505 s4.2: code 556 and 5.1.10 are for this
        return permanent("5.1.10", f"The domain {domain} says that it takes no mail (null MX)", Scope.HOST, "")
    ranked = sorted((record for record in records if record.host), key=lambda record: record.preference)
    groups = []
    for preference, group in groupby(ranked, key=lambda record: record.preference):
        names = list(dict.fromkeys(record.host for record in group))
        shuffle(names)
        groups.append((preference, names))
    # RFC 7672 s3.2.2: behind an MX that nobody validated, the host's name is the only one that counts.  Else whoever
    # forges a CNAME gives the domain a name for which he has a certificate.
    next_hops = tuple(dict.fromkeys((domain, found.name))) if found.secure else ()
    return _but_ours(groups, domain, own_names, found.secure, next_hops)


def _but_ours(
    groups: Sequence[tuple[int, list[str]]],
    domain: str,
    own_names: frozenset[str],
    is_authentic: bool,
    next_hops: tuple[str, ...],
) -> tuple[Target, ...] | Outcome:
    # RFC 5321 s5.1: where we are in the list ourselves, we and all that are not better are dropped.
    targets: dict[Target, None] = {}
    for _, names in groups:
        if not own_names.isdisjoint(names):
            break
        targets.update(dict.fromkeys(Target(name, SMTP_PORT, is_authentic, next_hops) for name in names))
    return tuple(targets)[:HOSTS_PER_DOMAIN] if targets else loops_back(domain)


def loops_back(what: str) -> Outcome:
    return permanent("5.4.6", f"Mail for {what} loops back to this host", Scope.HOST, "")


async def places_of(target: Target, resolver: Resolver) -> Places | Outcome:
    """The places of one host, IPv6 and IPv4 in turn, at least one; or why there are none (temporary)."""
    if not target.port:
        return Places((Hop("", target.host, 0),), False, target.host)
    try:
        found = await resolver.addresses(target.host)
    except TemporaryFault as fault:
        return temporary("4.4.3", fault.why, Scope.HOST, "")
    # "This host" (RFC 6890) is nobody's mail server.
    addresses = [address for address in found.items if address not in ("0.0.0.0", "::")]  # noqa: S104 - binds nothing
    if not addresses:
        # DNS said so, but of a host that somebody configured: an operator will see and mend it.
        return temporary("4.4.4", f"The host {target.host} has no address", Scope.HOST, "")
    six = [address for address in addresses if ":" in address]
    four = [address for address in addresses if ":" not in address]
    turns = [a for pair in zip(six, four, strict=False) for a in pair]
    turns += six[len(four):] + four[len(six):]
    hops = tuple(Hop(target.host, address, target.port) for address in turns[:ADDRESSES_PER_HOST])
    return Places(hops, found.secure, found.name)
