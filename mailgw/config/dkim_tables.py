"""The shape of ``[dkim]`` and ``[dkim.domains."example.org"]``."""

from collections.abc import Mapping

import attrs

from mailgw.config import values
from mailgw.config.reader import Spot, Table, Unusable, key, named, part, table


def key_files(value: object, spot: Spot) -> Mapping[str, str]:
    """Paths by selector."""
    if value == {}:
        spot.fault('expected at least one, such as { 2026a = "dkim.pem" }; without keys, the folder has them')
        raise Unusable
    return named(key_file)(value, spot)


def key_file(value: object, spot: Spot) -> str:
    try:
        return values.text(value)
    except ValueError as fault:
        spot.fault(str(fault))
        raise Unusable from None


@attrs.frozen
class DkimDomainTable(Table):
    keys: Mapping[str, str] | None = part(key_files, None)


@attrs.frozen
class DkimTable(Table):
    folder: str | None = key(values.text, None)
    seal_as: str | None = key(values.hostname, None)
    domains: Mapping[str, DkimDomainTable] = part(named(table(DkimDomainTable)), attrs.Factory(dict))
