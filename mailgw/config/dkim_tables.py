"""The shape of ``[dkim]`` and ``[dkim.domains."example.org"]``."""

from collections.abc import Callable, Mapping

import attrs

from mailgw.config import values
from mailgw.config.reader import Spot, Table, Unusable, each, key, named, part, table
from mailgw.trust.dkim_rotation import DAY_SECONDS, RETIRE_SECONDS, WAIT_SECONDS

# Caches and secondary servers: RFC 2308 s5 lets an answer of "there is none" live for some hours.
LEAST_WAIT_SECONDS = 3600.0
# What left with the old key may still be in others' queues; and our own workers read the folder each minute.
LEAST_RETIRE_SECONDS = DAY_SECONDS
PUBLISH_SECONDS = 60.0


def at_least(least_seconds: float, word: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        seconds = values.duration(value)
        if seconds < least_seconds:
            raise ValueError(f'expected "{word}" at least, not {values.said(value)}')
        return seconds

    return read


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
    rotate: float | None = key(at_least(DAY_SECONDS, "1d"), None)


@attrs.frozen
class DkimTable(Table):
    folder: str | None = key(values.text, None)
    seal_as: str | None = key(values.hostname, None)
    wait: float = key(at_least(LEAST_WAIT_SECONDS, "1h"), WAIT_SECONDS)
    retire: float = key(at_least(LEAST_RETIRE_SECONDS, "1d"), RETIRE_SECONDS)
    publish: tuple[str, ...] | None = part(each(values.any_text, '"/usr/local/bin/dns-publish"'), None)
    publish_timeout: float = key(values.duration, PUBLISH_SECONDS)
    domains: Mapping[str, DkimDomainTable] = part(named(table(DkimDomainTable)), attrs.Factory(dict))
