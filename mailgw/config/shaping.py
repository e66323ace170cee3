"""What a backend towards other servers says of single destinations, hosts and sources, into its ``Shaping``."""

from mailgw.config.hop_tables import DestinationTable, HopTable
from mailgw.config.values import is_ip_hop
from mailgw.deliver.smtp_settings import (
    DestinationSettings,
    HostSettings,
    Shaping,
    SourceSettings,
    TlsMode,
)

# Where total_concurrency is not said: a process has 1024 descriptors where nobody raised that (systemd, ulimit), and
# those who send mail in want some of them.
TOTAL_CONCURRENCY = 500


def shaping(table: HopTable, hosts: tuple[str, ...], hello_name: str) -> Shaping:
    """``hosts`` are those given, () by MX."""
    if hosts:
        for key in ("destination", "host"):
            if getattr(table, key):
                table.spot.inner(key, 0).fault("is for servers found by MX: with hosts, all mail goes to those")
        if "host_concurrency" in table.given:
            table.spot.inner("host_concurrency").fault("is for servers found by MX: with hosts, concurrency says it")
    total = table.total_concurrency or max(TOTAL_CONCURRENCY, table.concurrency)
    _check_sources(table, hosts)
    for name in ("destination", "host"):
        _check_words(table, name, {"destination": "domains", "host": "hosts"}[name])
    return Shaping(
        destinations=tuple(map(_destination, table.destination)),
        hosts=tuple(
            HostSettings(one.hosts, one.concurrency or table.host_concurrency, one.rate)
            for one in table.host if one.hosts
        ),
        sources=tuple(
            SourceSettings(one.address, one.hello_name or hello_name, one.concurrency or total, one.rate)
            for one in table.source if one.address
        ),
        rate=table.rate,
        host_concurrency=table.host_concurrency,
        total_concurrency=total,
        total_rate=table.total_rate,
    )


def _destination(table: DestinationTable) -> DestinationSettings:
    mode = table.tls
    pinned = [key for key in ("tls_names", "tls_fingerprints") if getattr(table, key)]
    if mode is TlsMode.IMPLICIT:
        table.spot.inner("tls").fault('"implicit" needs hosts: servers found by MX speak STARTTLS')
    elif pinned and mode is None:
        mode = TlsMode.VERIFY
    elif pinned and mode is not TlsMode.VERIFY:
        for key in pinned:
            table.spot.inner(key).fault('is for tls = "verify": nothing else looks at it')
    return DestinationSettings(
        table.domains, mode, table.tls_names or (), table.tls_fingerprints or (), table.concurrency, table.rate
    )


def _check_words(table: HopTable, name: str, key: str) -> None:
    """A pattern that stands in an earlier table, too, is never reached in the later one."""
    seen: dict[str, int] = {}
    for at, one in enumerate(getattr(table, name)):
        for place, word in enumerate(getattr(one, key)):
            if seen.setdefault(word, at) != at:
                why = f"stands in [[{name}]] {seen[word] + 1} of this backend, too, which comes first"
                one.spot.inner(key, place).fault(why)


def _check_sources(table: HopTable, hosts: tuple[str, ...]) -> None:
    seen: set[str] = set()
    # A name may have addresses of either kind; hosts by their addresses have the kinds that are written.
    kinds = {host.startswith("[") for host in hosts} if hosts and all(map(is_ip_hop, hosts)) else {True, False}
    for one in table.source:
        if one.address and one.address in seen:
            one.spot.inner("address").fault("stands there twice")
        elif one.address and (":" in one.address) not in kinds:
            kind, other = ("IPv6", "IPv4") if ":" in one.address else ("IPv4", "IPv6")
            one.spot.inner("address").fault(f"is {kind}, and all hosts are {other}")
        seen.add(one.address)
