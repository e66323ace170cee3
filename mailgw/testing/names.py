"""A resolver that is plain data: records, CNAMEs, failures, and what is signed; and a hand that writes it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import attrs

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord

T = TypeVar("T")
CHAIN = 8


@attrs.define
class FakeResolver:
    """Tables of records by name in lower case (``name_records`` by address, ``tlsa_records`` by
    ``"_25._tcp.mx.example"``, ``aliases`` are CNAMEs).

    A name that stands in no table, nor above one that does, does not exist (NXDOMAIN); ``empty`` are names without
    records.  ``failing`` has names, or a type and a name (``"TLSA _25._tcp.mx.example"``), of which there is no answer;
    ``addresses`` asks for "A", once for both kinds.
    ``secure`` has names, each with all below it, whose answers were validated; ``insecure`` takes some of them out.  A
    chain of CNAMEs is secure where all its links are.  What was asked stands in ``asked``.
    """

    mx_records: Mapping[str, Sequence[tuple[int, str]]] = attrs.field(factory=dict)
    address_records: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    name_records: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    failing: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    asked: list[str] = attrs.field(factory=list)
    text_records: Mapping[str, Sequence[bytes]] = attrs.field(factory=dict)
    tlsa_records: Mapping[str, Sequence[TlsaRecord]] = attrs.field(factory=dict)
    aliases: Mapping[str, str] = attrs.field(factory=dict)
    secure: frozenset[str] = frozenset()
    insecure: frozenset[str] = frozenset()

    async def mx(self, domain: str) -> Records[MxRecord]:
        table = {name: [MxRecord(*record) for record in records] for name, records in self.mx_records.items()}
        return self._answer("MX", domain, table)

    async def addresses(self, host: str) -> Records[str]:
        if host[0].isdigit() or ":" in host:
            self._ask("A", host)
            return Records((host,), True, False, host)
        return self._answer("A", host, self.address_records)

    async def a(self, host: str) -> Records[str]:
        return self._answer("A", host, _of_kind(self.address_records, lambda address: ":" not in address))

    async def aaaa(self, host: str) -> Records[str]:
        return self._answer("AAAA", host, _of_kind(self.address_records, lambda address: ":" in address))

    async def text(self, domain: str) -> Records[bytes]:
        return self._answer("TXT", domain, self.text_records)

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        return self._answer("TLSA", f"_{port}._tcp.{host}", self.tlsa_records)

    async def alias(self, host: str) -> Records[str]:
        name = host.lower().rstrip(".")
        self._ask("CNAME", name)
        items = (self.aliases[name],) if name in self.aliases else ()
        return Records(items, self._is_there(name), self._is_secure(name), name)

    async def names(self, address: str) -> Sequence[str]:
        self._ask("PTR", address)
        return self.name_records.get(address, ())

    async def exists(self, domain: str) -> bool:
        self._ask("?", domain)
        return self._is_there(domain)

    def _answer(self, kind: str, asked: str, table: Mapping[str, Sequence[T]]) -> Records[T]:
        name = asked.lower().rstrip(".")
        secure = True
        for _ in range(CHAIN):
            self._ask(kind, name)
            secure = secure and self._is_secure(name)
            if name in table or name not in self.aliases:
                return Records(tuple(table.get(name, ())), self._is_there(name), secure, name)
            name = self.aliases[name]
        raise TemporaryFault(f"DNS does not say the {kind} of {asked}: too many CNAMEs")

    def _is_secure(self, name: str) -> bool:
        return _covers(self.secure, name) and not _covers(self.insecure, name)

    def _is_there(self, name: str) -> bool:
        tables: Iterable[Iterable[str]] = (
            self.mx_records, self.address_records, self.text_records, self.tlsa_records, self.aliases, self.empty,
        )
        return any(known == name or known.endswith("." + name) for table in tables for known in table)

    def _ask(self, kind: str, name: str) -> None:
        self.asked.append(f"{kind} {name}")
        if name in self.failing or f"{kind} {name}" in self.failing:
            raise TemporaryFault(f"DNS does not say the {kind} of {name}: no answer")


def _of_kind(table: Mapping[str, Sequence[str]], is_wanted: Callable[[str], bool]) -> dict[str, list[str]]:
    return {name: [address for address in addresses if is_wanted(address)] for name, addresses in table.items()}


class Dns:
    """What DNS says to a gateway under test, written record by record.  Names may be in any case.

    ``resolver`` holds it.  A name of which nothing was written does not exist.
    """

    def __init__(self) -> None:
        self.resolver = FakeResolver()

    def mx(self, domain: str, *hosts: str, preference: int = 10) -> None:
        """These hosts, in this order of preference: the first has ``preference``, each other one more.  Without hosts
        the domain takes no mail (a null MX, RFC 7505)."""
        records = list(enumerate(hosts, preference)) or [(0, "")]
        self._put("mx_records", domain, records)

    def address(self, host: str, *addresses: str) -> None:
        """IPv4 and IPv6; without any the host exists and has none."""
        self._put("address_records", host, addresses)

    def text(self, name: str, *texts: str) -> None:
        self._put("text_records", name, [text.encode() for text in texts])

    def tlsa(self, host: str, *records: TlsaRecord, port: int = 25) -> None:
        """What a server's certificate has to be (DANE); it counts where the names are signed."""
        self._put("tlsa_records", f"_{port}._tcp.{host}", records)

    def alias(self, name: str, other: str) -> None:
        """A CNAME."""
        self._put("aliases", name, _normal(other))

    def name_of(self, address: str, *names: str) -> None:
        """The names that an address claims (PTR)."""
        self._put("name_records", address, names)

    def fail(self, *names: str) -> None:
        """No server answers for these, until ``recover``.  ``"MX example.net"``: for this type alone."""
        self.resolver.failing |= {_typed(name) for name in names}

    def recover(self, *names: str) -> None:
        """They are answered for again; without names, all."""
        self.resolver.failing -= {_typed(name) for name in names} or self.resolver.failing

    def sign(self, *zones: str) -> None:
        """Answers for these names, and all below, are validated (DNSSEC)."""
        self.resolver.secure |= {_normal(zone) for zone in zones}

    def _put(self, table: str, name: str, value: object) -> None:
        setattr(self.resolver, table, {**getattr(self.resolver, table), _normal(name): value})


def _normal(name: str) -> str:
    return name.lower().rstrip(".")


def _typed(name: str) -> str:
    kind, space, rest = name.rpartition(" ")
    return f"{kind.upper()}{space}{_normal(rest)}"


def _covers(zones: frozenset[str], name: str) -> bool:
    return any(name == zone or name.endswith("." + zone) for zone in zones)
