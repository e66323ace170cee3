"""A report on TLS of somebody else's, read (RFC 8460 s4.4).

Read as senders really write them: what may be left out is left out, lists of one are no lists, names of drafts
(``mx-host-pattern``) are taken.  By msgspec, which knows no references and no code.

The decoder holds the interpreter until it is done, a thread or not; so what there is to be made of it is counted first.
"""

import datetime
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from mailgw.trust.report_words import (
    COMMENT,
    TEXT,
    Fault,
    Unreadable,
    check_range,
    count_of,
    domain_of,
    line_of,
)

OCTETS: Final = 2 * 1024 * 1024
VALUES: Final = 200_000
"""Members of lists and objects, counted by their commas."""
CONTAINERS: Final = 50_000
"""Lists and objects; 8 ms."""
POLICIES: Final = 1000
DETAILS: Final = 10_000
"""Kinds of failure, of all policies."""
STRINGS: Final = 50
"""Of one policy: lines of it, or names of hosts; of more these are kept."""

KINDS: Final = ("tlsa", "sts", "no-policy-found")


@attrs.frozen
class TlsFailureIn:
    """``count`` sessions that failed alike; fields that are "" were not said."""

    result: str
    sending_ip: str
    mx_host: str
    helo: str
    receiving_ip: str
    count: int
    reason: str


@attrs.frozen
class TlsPolicyIn:
    """One policy's sessions; ``kind`` one of ``KINDS`` or what the reporter called it."""

    kind: str
    domain: str
    strings: tuple[str, ...]
    mx_patterns: tuple[str, ...]
    successes: int
    failures: int
    details: tuple[TlsFailureIn, ...]


@attrs.frozen
class TlsReportIn:
    """``begin`` and ``end`` in seconds since the epoch, UTC."""

    organization: str
    contact: str
    report_id: str
    begin: int
    end: int
    policies: tuple[TlsPolicyIn, ...]


def read_tls_report(octets: bytes) -> TlsReportIn | Unreadable:
    """The report.  ``Unreadable`` where it is none, or beyond a limit; never raises."""
    if len(octets) > OCTETS:
        return Unreadable(f"it has more than {OCTETS} octets")
    if octets.count(b",") > VALUES or octets.count(b"[") + octets.count(b"{") > CONTAINERS:
        return Unreadable(f"it has more than {VALUES} values, or more than {CONTAINERS} lists and objects")
    try:
        found = msgspec.json.decode(octets.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as fault:  # msgspec's own are ValueErrors
        return Unreadable(f"it is no JSON that can be read ({line_of(str(fault), 100)})")
    try:
        return _report(found)
    except Fault as fault:
        return Unreadable(str(fault))


def _report(found: object) -> TlsReportIn:
    if not isinstance(found, dict) or "policies" not in found:
        raise Fault("it is no report on TLS")
    organization, contact = _word(found, "organization-name"), _word(found, "contact-info")
    report_id = _word(found, "report-id")
    if not (organization or contact):
        raise Fault("it does not say whose it is")
    if not report_id:
        raise Fault("it has no report-id")
    days = found.get("date-range")
    if not isinstance(days, dict):
        raise Fault("it has no date-range")
    begin, end = _seconds(days, "start-datetime"), _seconds(days, "end-datetime")
    check_range(begin, end)
    listed = found["policies"] if isinstance(found["policies"], list) else [found["policies"]]
    if len(listed) > POLICIES:
        raise Fault(f"it has more than {POLICIES} policies")
    policies = tuple(_policy(one) for one in listed)
    if sum(len(one.details) for one in policies) > DETAILS:
        raise Fault(f"it has more than {DETAILS} kinds of failure")
    return TlsReportIn(organization or contact, contact, report_id, begin, end, policies)


def _policy(found: object) -> TlsPolicyIn:
    if not isinstance(found, dict):
        raise Fault("a policy is no object")
    policy, summary = _object(found, "policy"), _object(found, "summary")
    domain = _word(policy, "policy-domain")
    if not domain:
        raise Fault("a policy is of no domain")
    details = found.get("failure-details") or []
    return TlsPolicyIn(
        _word(policy, "policy-type").lower(), domain_of(domain), _strings(policy, "policy-string"),
        _strings(policy, "mx-host") or _strings(policy, "mx-host-pattern"),
        _count(summary, "total-successful-session-count"), _count(summary, "total-failure-session-count"),
        tuple(_failure(one) for one in (details if isinstance(details, list) else [details])),
    )


def _failure(found: object) -> TlsFailureIn:
    if not isinstance(found, dict):
        raise Fault("a failure is no object")
    return TlsFailureIn(
        _word(found, "result-type").lower(), _address(found, "sending-mta-ip"),
        domain_of(_word(found, "receiving-mx-hostname")), domain_of(_word(found, "receiving-mx-helo")),
        _address(found, "receiving-ip"), _count(found, "failed-session-count"),
        _said(found, "failure-reason-code")[:COMMENT],
    )


def _object(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = found.get(name)
    return inner if isinstance(inner, dict) else {}


def _said(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return line_of(value) if isinstance(value, str) else ""


def _word(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if isinstance(value, str) and len(value) > TEXT:
        raise Fault(f"its {name} has more than {TEXT} characters")
    return _said(found, name)


def _strings(found: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = found.get(name)
    listed = value if isinstance(value, list) else [value]
    return tuple(line_of(one) for one in listed[:STRINGS] if isinstance(one, str) and one.strip())


def _count(found: Mapping[str, Any], name: str) -> int:
    """0 where it is not said."""
    value = found.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise Fault(f"its {name} is no number")
    if isinstance(value, int) and not 0 <= value < 10 ** 20:  # what Python may be asked to write down
        raise Fault(f"its {name} is out of all bounds")
    return count_of(str(value))


def _address(found: Mapping[str, Any], name: str) -> str:
    try:
        return str(ipaddress.ip_address(_said(found, name)))
    except ValueError:
        return ""


def _seconds(found: Mapping[str, Any], name: str) -> int:
    """RFC 3339 s5.6; without a zone it is UTC."""
    text = _said(found, name)
    try:
        time = datetime.datetime.fromisoformat(text)
        zoned = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
        return int(zoned.timestamp())
    except (ValueError, OverflowError):
        raise Fault(f"its {name} is {line_of(text, 40)!r}") from None
