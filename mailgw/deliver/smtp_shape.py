"""What one lane may have at once and over time, what it shares with others, and which address it is served from.

Rules:
    A destination's site is the best host of its MX records, the first by name where several are equal: all domains of
    one provider have the same.  They share its gate, and its source address.
    A site has always the same source address of one family; where one is added or taken away, as few as can be get
    another one.
"""

from hashlib import blake2b

from mailgw.deliver.smtp_settings import Shaping, SmtpSettings, SourceSettings
from mailgw.mail.ports import Resolver
from mailgw.mail.shape import Bounds, Shape


async def site_of(lane: str, resolver: Resolver) -> str:
    """The site of a domain or an address literal; a domain without MX records is its own (RFC 5321 s5.1).

    TemporaryFault where DNS does not answer.
    """
    if lane.startswith("["):
        return lane[1:-1].removeprefix("IPv6:")
    best = min(((record.preference, record.host) for record in (await resolver.mx(lane)).items), default=(0, ""))
    return best[1] or lane


def shape_of(settings: SmtpSettings, lane: str, site: str) -> Shape:
    """``site`` is that of ``lane``, or the first of the hosts given."""
    shaping = settings.shaping
    destination = shaping.destination(lane)
    concurrency, rate = settings.concurrency, shaping.rate
    if destination is not None:
        concurrency, rate = destination.concurrency or concurrency, destination.rate or rate
    gates = {"backend": Bounds(shaping.total_concurrency, shaping.total_rate)}
    if not settings.hosts:
        host = shaping.host(site)
        if host is None:
            gates[f"host:{site}"] = Bounds(shaping.host_concurrency, None)
        else:
            gates[f"host:{host.hosts[0]}"] = Bounds(host.concurrency, host.rate)
    # Of both families: which of them serves is not known before a connection stands.
    for is_ipv6 in (False, True):
        source = source_of(shaping, site, is_ipv6)
        if source is not None:
            gates[f"source:{source.address}"] = Bounds(source.concurrency, source.rate)
    return Shape(Bounds(concurrency, rate), gates)


def sources_of(shaping: Shaping, site: str) -> tuple[SourceSettings, ...]:
    """Those for a site: at most one address of each family; () leaves it to the system."""
    found = [source_of(shaping, site, is_ipv6) for is_ipv6 in (False, True)]
    return tuple(source for source in found if source is not None)


def source_of(shaping: Shaping, site: str, is_ipv6: bool) -> SourceSettings | None:
    """The source address for a site; None where none of that family is listed."""
    family = [source for source in shaping.sources if source.is_ipv6 is is_ipv6]
    # Rendezvous hashing (Thaler and Ravishankar, 1998): each source draws a number with the site, the highest has it.
    return max(family, key=lambda source: _drawn(source.address, site), default=None)


def _drawn(address: str, site: str) -> bytes:
    return blake2b(f"{address} {site}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
