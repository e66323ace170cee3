"""``[trust]``: the shape of what is found out of who sent a message, and of what becomes of it."""

import enum
from collections.abc import Mapping

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.reader import Reader, Spot, Table, Unusable, each, key, part, tables
from mailgw.config.settings import Networks
from mailgw.policy.rules.authentic import DEFAULTS, WORDS, Action


class Quarantined(enum.Enum):
    """Where what is quarantined goes."""

    JUNK = "junk"
    HOLD = "hold"


def actions(method: str) -> Reader[Mapping[str, Action]]:
    """``fail = "tag"``: what each result comes to; the defaults for those that are not there."""
    by_word = {action.name.lower(): action for action in Action}

    def reader(value: object, spot: Spot) -> Mapping[str, Action]:
        if not isinstance(value, Mapping):
            spot.fault(f"expected a table, [trust.{method}], not {values.said(value)}")
            raise Unusable
        found = dict(DEFAULTS.get(method, {}))
        for word, action in value.items():
            if word not in WORDS[method]:
                near = values.nearest(word, WORDS[method]) or f"; expected one of {', '.join(WORDS[method])}"
                spot.inner(word).fault(f"is no result of {method}{near}")
            elif not isinstance(action, str) or action not in by_word:
                near = values.nearest(action, by_word) if isinstance(action, str) else ""
                spot.inner(word).fault(f"expected {', '.join(map(repr, by_word))}, not {values.said(action)}{near}")
            elif word == "temperror" and by_word[action] is Action.REJECT:
                spot.inner(word).fault('is trouble that may pass, which refuses nothing for good: "defer" it')
            else:
                found[word] = by_word[action]
        return found

    return reader


def _part(method: str) -> Mapping[str, Action]:
    found: Mapping[str, Action] = part(actions(method), attrs.Factory(lambda: dict(DEFAULTS.get(method, {}))))
    return found


def dns_timeout(value: object) -> float:
    """Clients wait ten minutes for an answer to their content, and we four for ourselves (RFC 5321 s4.5.3.2.6)."""
    seconds = values.duration(value)
    if not 1.0 <= seconds <= 180.0:
        raise ValueError(f'expected "1s" to "180s", not {values.said(value)}')
    return seconds


def signatures(value: object) -> int:
    count = values.count(value)
    if count > 100:
        raise ValueError(f"expected 1 to 100, not {values.said(value)}")
    return count


@attrs.frozen
class UpstreamTable(Table):
    address: Networks = part(each(values.network, '"192.0.2.7"'), stand_in=())
    authserv_id: tuple[str, ...] = part(each(values.domain_pattern, '"mx.example.net"'), stand_in=())


@attrs.frozen
class TrustTable(Table):
    verify: bool = key(values.truth, True)
    authserv_id: str | None = key(values.hostname, None)
    quarantine: Quarantined = key(values.choice(Quarantined, {"held": "hold", ".Junk": "junk"}), Quarantined.JUNK)
    trusted_sealers: tuple[str, ...] = part(each(values.domain_pattern), ())
    upstream: tuple[UpstreamTable, ...] = part(tables(UpstreamTable), ())
    dns_timeout: float = key(dns_timeout, 30.0)
    signatures: int = key(signatures, 10)
    partial_body: bool = key(values.truth, False)
    testing_keys: bool = key(values.truth, True)
    pct: bool = key(values.truth, True)
    spf: Mapping[str, Action] = _part("spf")
    dkim: Mapping[str, Action] = _part("dkim")
    dmarc: Mapping[str, Action] = _part("dmarc")
    arc: Mapping[str, Action] = _part("arc")
    iprev: Mapping[str, Action] = _part("iprev")
