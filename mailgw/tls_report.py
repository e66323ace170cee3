"""What ``mailgw tls`` found out about a destination: values, and their words for people and for programs.

Pure; ``tls_survey`` makes it, ``tls_command`` prints it.  What others wrote (names in certificates, words of servers)
is shown without what a terminal would obey.
"""

import datetime
import enum
from collections.abc import Iterator
from typing import Any

import attrs

from mailgw.mail.names import TlsaRecord
from mailgw.mail.tls_result import PolicyType
from mailgw.terminal import harmless
from mailgw.trust import dane
from mailgw.trust.tls_policy import Demand, Level

SHOWN_OCTETS = 8  # of a TLSA record's data, and of a fingerprint, in the words for people


@attrs.frozen
class Certificate:
    """The server's own.  ``names`` are those that it is for; times are ISO 8601, UTC; digests hexadecimal SHA-256."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    sha256: str
    public_key_sha256: str


class How(enum.StrEnum):
    """How a message would go over a connection."""

    VERIFIED = "verified"
    ENCRYPTED = "encrypted"  # with whom, nobody knows
    CLEAR = "in clear"
    NOT = "not"


@attrs.frozen
class Tried:
    """One connection.  ``version`` and ``cipher`` ``""`` without TLS; ``verified`` the journal's word for by what;
    ``why`` says what is not as it was wanted, also where a message would go all the same.  ``status`` where a message
    is returned for that, ``""`` where it goes, or waits.  ``source``: our own address, where one is configured."""

    address: str
    how: How
    version: str = ""
    cipher: str = ""
    verified: str = ""
    why: str = ""
    certificate: Certificate | None = None
    status: str = ""
    source: str = ""


@attrs.frozen
class Tlsa:
    """A TLSA record, in the words of zone files; ``flaw`` is why it does not count, ``""`` where it does."""

    text: str
    flaw: str


@attrs.frozen
class Host:
    """One of the hosts.

    ``preference`` None where hosts are configured, or there is no MX.  ``is_authentic``: nobody can have put it there
    who must not.  ``tlsa_is_asked``: whether DANE may count for it, if DNS is signed.  ``demand``: what is asked of it,
    in words; ``flaw`` what is wrong with that already.  ``fault``: why it is not used at all, ``""`` where it is;
    ``status`` as in ``Tried``.
    """

    name: str
    port: int
    preference: int | None
    is_authentic: bool
    addresses: tuple[str, ...] = ()
    addresses_are_secure: bool = False
    tlsa_is_asked: bool = False
    tlsa_base: str = ""
    tlsa: tuple[Tlsa, ...] = ()
    policy: str = ""
    demand: str = ""
    flaw: str = ""
    fault: str = ""
    status: str = ""
    tried: tuple[Tried, ...] = ()

    def is_good(self, connected: bool) -> bool:
        """Whether mail goes there, as far as can be told."""
        return not self.fault and (not connected or any(one.how is not How.NOT for one in self.tried))

    @property
    def final_status(self) -> str:
        """With which status mail is returned, if no other host helps; ``""`` where trouble here may be over later."""
        statuses = [self.status] if self.fault else [one.status for one in self.tried]
        return statuses[0] if statuses and all(statuses) else ""


@attrs.frozen
class Sts:
    """``record_id``: what DNS says now, ``""`` for nothing.  ``mode`` ``""``: no policy is in force.  ``age_seconds``
    since it was fetched, ``left_seconds`` until it expires.  ``trouble``: why it could not be learned, or not anew."""

    record_id: str
    mode: str
    mx_patterns: tuple[str, ...]
    age_seconds: float
    left_seconds: float
    trouble: str


@attrs.frozen
class Report:
    """A destination.  ``rule``: what the configuration asks for, in words.  ``sts`` None where it is not asked for.
    ``fault``: why there is no host at all, ``is_final`` where mail is returned for that.  ``connected``: whether
    connections were tried.  ``suspended``: what the operator has suspended, in his word, so that all mail waits."""

    domain: str
    backend: str
    is_by_mx: bool
    mx_is_secure: bool
    rule: str
    sts: Sts | None
    hosts: tuple[Host, ...]
    fault: str
    is_final: bool
    connected: bool
    suspended: str = ""

    @property
    def is_good(self) -> bool:
        """Whether mail goes: one host is enough, the others stand in for each other."""
        return not (self.suspended or self.fault) and any(host.is_good(self.connected) for host in self.hosts)

    @property
    def final_status(self) -> str:
        """With which status mail is returned at once for what the hosts lack; ``""`` where it goes, or waits."""
        # RFC 8689 s4.2.1: the trouble that one of them has may be over later.
        statuses = [host.final_status for host in self.hosts]
        return statuses[0] if statuses and all(statuses) and not self.suspended else ""

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "good": self.is_good, "returned": self.final_status}


# --- words of what is asked ----------------------------------------------------------------------------------

_LEVELS = {
    Level.CLEAR: "no TLS", Level.MAY: "TLS where it is offered, with anybody", Level.ENCRYPT: "TLS, with anybody",
}


def demanded(wanted: Demand) -> str:
    """What is asked of a host, in one line."""
    match wanted.level:
        case Level.DANE:
            return f"TLS with a certificate that a TLSA record of {wanted.server_name} matches"
        case Level.VERIFY if wanted.fingerprints:
            return "TLS with a certificate of a given fingerprint"
        case Level.VERIFY:
            what = f"TLS with a trusted certificate for {' or '.join(wanted.names)}"
            return f"{what}; what is wrong is told, and the mail goes all the same" if wanted.is_advice else what
        case level:
            return f"{_LEVELS[level]}, else in clear" if level is Level.MAY else _LEVELS[level]


POLICIES = {PolicyType.TLSA: "DANE", PolicyType.STS: "MTA-STS", PolicyType.NONE: ""}


def judged(records: tuple[TlsaRecord, ...]) -> tuple[Tlsa, ...]:
    """Each with why it does not count."""
    counting = dane.usable(records)
    return tuple(Tlsa(dane.shown(one), "" if one in counting else _flaw(one)) for one in records)


def _flaw(record: TlsaRecord) -> str:
    if record.usage in (0, 1):
        return "usages 0 and 1 are not for SMTP"  # RFC 7672 s3.1.3
    if dane.usable((record,)):
        return "a stronger digest is published, which counts alone"  # RFC 7671 s9
    return "it means nothing that is known"


# --- the page --------------------------------------------------------------------------------------------------

def lines(report: Report) -> Iterator[str]:
    """The report for people."""
    yield from map(harmless, _lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield f"mail for {report.domain} goes to the backend {report.backend}"
    yield f"  asked for  {report.rule}"
    if report.is_by_mx and not report.fault:
        yield f"  MX         {_signed(report.mx_is_secure)}"
    if report.sts is not None:
        yield f"  MTA-STS    {_sts(report.sts)}"
        if report.sts.trouble:
            yield f"             {report.sts.trouble}"
    if report.suspended:
        yield f"  suspended  {report.suspended}: nothing is tried until it is resumed (mailgw queue resume)"
    if report.fault:
        yield f"  fault      {report.fault}"
    for host in report.hosts:
        yield ""
        yield from _host(host, report.connected)
    yield ""
    yield _verdict(report)


def _host(host: Host, connected: bool) -> Iterator[str]:
    rank = "" if host.preference is None else f", preference {host.preference}"
    yield f"{host.name}:{host.port}{rank}" if host.port else f"unix:{host.name}"
    if host.addresses and host.addresses != (host.name,):
        yield f"  addresses  {', '.join(host.addresses)}; {_signed(host.addresses_are_secure)}"
    yield from _tlsa(host)
    if host.demand:
        by = f" ({host.policy})" if host.policy else ""
        yield f"  demanded   {host.demand}{by}"
    if host.flaw:
        yield f"  flaw       {host.flaw}"
    if host.fault:
        yield f"  fault      {host.fault}"
    for one in host.tried:
        yield f"  {one.address}" + (f", from {one.source}" if one.source else "")
        why = f"; {one.why}" if one.why and one.why != host.flaw else ""
        yield f"    {_goes(one)}{why}"
        if one.certificate is not None:
            yield from _certificate(one.certificate)
    if connected and not host.fault and not host.tried:
        yield "  not tried: there are enough others"


def _tlsa(host: Host) -> Iterator[str]:
    for number, record in enumerate(host.tlsa):
        words = record.text.split(" ")
        flaw = f": {record.flaw}" if record.flaw else ""
        yield f"  {'' if number else 'TLSA':<9}  {' '.join(words[:3])} {_short(words[3])}{flaw}"
    if host.tlsa_is_asked and not host.tlsa and host.addresses:
        why = "none" if host.addresses_are_secure else "not asked for, since the addresses are not signed"
        yield f"  TLSA       {why}"


def _goes(one: Tried) -> str:
    match one.how:
        case How.NOT:
            return "mail does not go"
        case How.CLEAR:
            return "mail goes in clear"
        case How.ENCRYPTED:
            return f"mail goes over {one.version}, {one.cipher}; nobody knows to whom"
        case How.VERIFIED:
            return f"mail goes over {one.version}, {one.cipher}; verified ({one.verified})"


def _certificate(one: Certificate) -> Iterator[str]:
    yield f"    certificate of {one.subject or 'nobody'}, for {', '.join(one.names[:5]) or 'no name'}"
    if len(one.names) > 5:
        yield f"      and {len(one.names) - 5} more"
    yield f"      issued by {one.issuer or 'nobody'}, good from {one.not_before} to {one.not_after}"
    yield f"      3 1 1 {one.public_key_sha256}"


def _sts(sts: Sts) -> str:
    record = f"record id {sts.record_id}" if sts.record_id else "no record"
    if not sts.mode:
        return f"none ({record})"
    hosts = f" for {', '.join(sts.mx_patterns)}" if sts.mx_patterns else ""
    return f"{sts.mode}{hosts} ({record}; fetched {_span(sts.age_seconds)} ago, good for {_span(sts.left_seconds)})"


def _verdict(report: Report) -> str:
    if not report.is_good:
        if report.suspended:
            return f"bad: mail waits, since {report.suspended} is suspended"
        if report.final_status:
            return f"bad: mail is returned ({report.final_status})"
        return f"bad: mail {'is returned' if report.is_final else 'waits'}"
    return "good: mail goes" if report.connected else "good, as far as can be told without a connection"


def _signed(secure: bool) -> str:
    return "signed" if secure else "not signed, or nobody vouches for it"


def _short(digits: str) -> str:
    return digits if len(digits) <= 2 * SHOWN_OCTETS else f"{digits[:2 * SHOWN_OCTETS]}..."


def _span(seconds: float) -> str:
    """``3d``, ``5h``, ``10m`` or ``7s``: the largest unit of which there is one."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0.0, seconds))}s"


def iso(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
