"""A resolver that is plain data, failures included."""

from collections.abc import Mapping, Sequence

import attrs

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import MxRecord


@attrs.define
class FakeResolver:
    """``mx`` and ``addresses`` by name, ``names`` by address;
    names in ``failing`` get no answer; every name in neither does not exist."""

    mx_records: Mapping[str, Sequence[tuple[int, str]]] = attrs.field(factory=dict)
    address_records: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    name_records: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    failing: frozenset[str] = frozenset()
    empty: frozenset[str] = frozenset()
    asked: list[str] = attrs.field(factory=list)

    async def mx(self, domain: str) -> Sequence[MxRecord]:
        self._ask(f"MX {domain}", domain)
        return [MxRecord(preference, host) for preference, host in self.mx_records.get(domain, ())]

    async def addresses(self, host: str) -> Sequence[str]:
        self._ask(f"A {host}", host)
        if host[0].isdigit() or ":" in host:
            return [host]
        return self.address_records.get(host, ())

    async def names(self, address: str) -> Sequence[str]:
        self._ask(f"PTR {address}", address)
        return self.name_records.get(address, ())

    async def exists(self, domain: str) -> bool:
        self._ask(f"? {domain}", domain)
        return domain in self.mx_records or domain in self.address_records or domain in self.empty

    def _ask(self, question: str, name: str) -> None:
        self.asked.append(question)
        if name in self.failing:
            raise TemporaryFault(f"DNS does not say the MX of {name}: no answer")
