"""What TLS with one host must show, and whether a certificate shows it (RFC 7672, 8461, 8689, 7435, 9525).

Rules:
    An override for a destination is what its administrator says, and alone decides.  Otherwise the backend's own rule
    is the least that is asked for; what the destination publishes may ask for more, never for less.
    DANE comes before MTA-STS (RFC 8461 s2): where a host has TLSA records, they say how it is authenticated, and no
    MTA-STS policy lets one pass that they refuse.  But what DNS did not sign, an MTA-STS policy may still refuse: the
    name of a host out of an MX that nobody validated must be one of the policy's.
    REQUIRETLS (RFC 8689 s4.2.1) adds: the host's name is known to be right, and its certificate was verified.
    In clear after TLS failed goes only what nobody asked more for (``may_fall_back``).
Not done: client identities by DANE; revocation.
"""

import enum
import hashlib
from collections.abc import Sequence
from typing import Protocol

import attrs

from mailgw.mail.names import TlsaRecord
from mailgw.mail.sts_policy import StsMode
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.trust import dane
from mailgw.trust.reference_names import is_for_servers, is_named, names_in


class Level(enum.Enum):
    """What TLS must be; the words of the configuration.  ``DANE``: by usable TLSA records, verified."""

    CLEAR = "never"
    MAY = "opportunistic"
    ENCRYPT = "encrypt"
    VERIFY = "verify"
    DANE = "dane"


@attrs.frozen
class LocalRule:
    """What the configuration asks for.  ``is_override``: for this very destination.

    ``names``: what a certificate may name instead of the host, and ``fingerprints`` (``"sha256:HEX"``, of a certificate
    or of its public key): what it may be instead of being signed by an authority.  Both for ``VERIFY``.
    """

    level: Level
    is_override: bool = False
    names: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()


@attrs.frozen
class DaneFacts:
    """The validated TLSA records of a host, as they are, at least one; the name that they were found under (RFC 7671
    s7: the TLSA base domain); and what a certificate may name besides (RFC 7672 s3.2.2)."""

    records: tuple[TlsaRecord, ...]
    base: str
    other_names: tuple[str, ...]


@attrs.frozen
class StsFacts:
    """The domain's MTA-STS policy, and whether the host's name is one of those that it lists (RFC 8461 s4.1)."""

    mode: StsMode
    lists_host: bool


@attrs.frozen
class Fault:
    """What is wrong: the kind, and why in one line."""

    failure: TlsFailure
    why: str


@attrs.frozen
class Demand:
    """What is asked of one host.  Equal demands may share a session, and the result of a handshake.

    ``server_name`` goes into the handshake (SNI).  At ``VERIFY`` and ``DANE`` a certificate is judged by ``names`` and
    ``records``, or by ``fingerprints`` alone where there are any.  ``may_fall_back``: the message may go in clear where
    TLS is not to be had.  ``policy``: whose demand it is.  ``is_advice``: what is not met is told, and nothing else
    follows (MTA-STS in testing mode).  ``flaw``: what is wrong with the policy already; it is told, and no more.
    ``is_authentic``: the host is the destination's, as far as DNS or its own policy can tell.
    """

    level: Level
    server_name: str
    may_fall_back: bool
    names: tuple[str, ...] = ()
    records: tuple[TlsaRecord, ...] = ()
    fingerprints: tuple[str, ...] = ()
    policy: PolicyType = PolicyType.NONE
    is_advice: bool = False
    flaw: Fault | None = None
    is_authentic: bool = False

    @property
    def verifies(self) -> bool:
        """Whether who meets it is known to be who was meant."""
        return self.level in (Level.VERIFY, Level.DANE) and not self.is_advice


@attrs.frozen
class Refused:
    """This host may not be used.  ``by_message``: because of what the message asks for, so that it is final where no
    other host does better; else an administrator, here or there, may mend it."""

    fault: Fault
    policy: PolicyType
    by_message: bool


NO_REQUIRED_TLS = "The message needs TLS with a certificate that names the next hop (REQUIRETLS)"


def demand(
    host: str,
    rule: LocalRule,
    is_authentic: bool,
    dane_facts: DaneFacts | None,
    sts: StsFacts | None,
    require_tls: bool,
) -> Demand | Refused:
    """What is asked of ``host``, a name or an address, or why it is not to be used at all.

    ``is_authentic``: its name was configured, or came from a validated MX, or is the recipient's domain itself.
    ``dane_facts`` None where the host has no validated TLSA records, ``sts`` None where the domain has no policy.  For
    a message that says ``TLS-Required: No`` both are None (RFC 8689 s5).
    """
    found = _asked(host, rule, is_authentic, dane_facts, sts)
    return _required(found, host) if require_tls and isinstance(found, Demand) else found


def _asked(
    host: str, rule: LocalRule, is_authentic: bool, dane_facts: DaneFacts | None, sts: StsFacts | None
) -> Demand | Refused:
    records = dane.usable(dane_facts.records) if dane_facts is not None else ()
    if rule.level is Level.DANE and not (records and is_authentic):
        why = "it has no usable TLSA record" if is_authentic else "the MX record that names it is not signed"
        return _refused(TlsFailure.DANE_REQUIRED, f"DANE is demanded of {host}, but {why}", PolicyType.TLSA)
    if rule.level is Level.CLEAR or (rule.is_override and rule.level is not Level.DANE):
        return _local(host, rule, is_authentic)
    mode = StsMode.NONE if sts is None else sts.mode
    is_listed = mode is not StsMode.NONE and sts is not None and sts.lists_host
    # RFC 7672 s2.2.1: TLSA records of a host that an unsigned MX named prove that it is this host, not the right one.
    if mode is StsMode.ENFORCE and not is_listed and not (records and is_authentic):
        return _refused(TlsFailure.VALIDATION_FAILURE, _unlisted(host), PolicyType.STS)
    authentic = is_authentic or is_listed
    if records and dane_facts is not None:
        # RFC 7672 s8.1: the server may choose its certificate by the TLSA base domain.
        names = tuple(dict.fromkeys((dane_facts.base, *dane_facts.other_names)))
        if not any(record.usage == dane.DANE_TA for record in records):
            names = ()  # nobody looks at them, and so domains with one host have one demand, and share sessions
        return Demand(Level.DANE, dane_facts.base, False, names, records, (), PolicyType.TLSA, is_authentic=authentic)
    found = _local(host, rule, authentic)
    if mode is StsMode.ENFORCE:
        # RFC 8461 s4.2: the certificate names the MX host
        return Demand(Level.VERIFY, host, False, (host,), policy=PolicyType.STS, is_authentic=True)
    if dane_facts is not None:
        # RFC 7672 s2.2: TLSA records, but none that is usable: encrypted, and not authenticated
        level = found.level if found.level is Level.VERIFY else Level.ENCRYPT
        return attrs.evolve(
            found, level=level, may_fall_back=False, policy=PolicyType.TLSA,
            flaw=Fault(TlsFailure.TLSA_INVALID, f"No TLSA record of {dane_facts.base} is usable"),
        )
    if mode is StsMode.TESTING:
        # RFC 8461 s5: looked at as if it were enforced
        flaw = None if is_listed else Fault(TlsFailure.VALIDATION_FAILURE, _unlisted(host))
        advised = found if found.verifies else attrs.evolve(found, level=Level.VERIFY, names=(host,), is_advice=True)
        return attrs.evolve(advised, policy=PolicyType.STS, flaw=flaw)
    return found


def _local(host: str, rule: LocalRule, is_authentic: bool) -> Demand:
    names = (rule.names or (host,)) if rule.level is Level.VERIFY else ()
    may_fall_back = rule.level in (Level.CLEAR, Level.MAY)
    return Demand(rule.level, host, may_fall_back, names, (), rule.fingerprints, is_authentic=is_authentic)


def _required(found: Demand, host: str) -> Demand | Refused:
    """RFC 8689 s4.2.1: on top of what is asked for anyway."""
    if not found.is_authentic or found.level is Level.CLEAR:
        why = NO_REQUIRED_TLS if found.is_authentic else f"{NO_REQUIRED_TLS}, and nothing vouches for the host {host}"
        return _refused(TlsFailure.VALIDATION_FAILURE, why, found.policy, True)
    if found.verifies:
        return found
    return attrs.evolve(found, level=Level.VERIFY, names=(host,), may_fall_back=False, is_advice=False)


def _refused(failure: TlsFailure, why: str, policy: PolicyType, by_message: bool = False) -> Refused:
    return Refused(Fault(failure, why), policy, by_message)


def _unlisted(host: str) -> str:
    return f"The MTA-STS policy does not list the host {host}"


# --- what the host shows ------------------------------------------------------------------------------------------

class Verified(enum.StrEnum):
    """By what the peer is known: the journal's words."""

    NONE = "none"
    DANE = "dane"
    STS = "sts"
    CA = "ca"
    FINGERPRINT = "fingerprint"


class Paths(Protocol):
    """Certification paths (RFC 5280 s6), with signatures and dates as they are now."""

    def fault(self, chain: Sequence[bytes], anchors: Sequence[bytes] | None) -> Fault | None:
        """None where the first of ``chain`` is issued, over others of it that may issue for servers, by one of
        ``anchors``, or by one of the configured authorities where that is None, with no signature that could be
        anybody's.  All DER; an anchor need not be self-signed."""


@attrs.frozen
class Judgement:
    """``failure`` SUCCESS where the demand is met, ``why`` says more of another one.  ``may_go_on``: the message may be
    sent over this connection; where not, nothing more is said over it."""

    verified: Verified
    failure: TlsFailure
    why: str
    may_go_on: bool


def judge(wanted: Demand, chain: Sequence[bytes], paths: Paths) -> Judgement:
    """What a handshake that was completed is worth.

    ``chain`` as the server showed it, its own certificate first (DER); () where it showed none.
    """
    met = _judge(wanted, chain, paths)
    if wanted.flaw is not None and met.may_go_on:
        return attrs.evolve(met, failure=wanted.flaw.failure, why=wanted.flaw.why)
    return met


def _judge(wanted: Demand, chain: Sequence[bytes], paths: Paths) -> Judgement:
    if wanted.level in (Level.CLEAR, Level.MAY, Level.ENCRYPT):
        return Judgement(Verified.NONE, TlsFailure.SUCCESS, "", True)
    if not chain:
        return _fault(wanted, TlsFailure.VALIDATION_FAILURE, "The server showed no certificate")
    if wanted.fingerprints and wanted.level is Level.VERIFY:
        if has_fingerprint(chain[0], wanted.fingerprints):
            return Judgement(Verified.FINGERPRINT, TlsFailure.SUCCESS, "", True)
        return _fault(wanted, TlsFailure.VALIDATION_FAILURE, "The certificate has another fingerprint")
    if wanted.level is Level.DANE:
        if dane.matches_end(wanted.records, chain[0]):
            return Judgement(Verified.DANE, TlsFailure.SUCCESS, "", True)
        trusted = dane.anchors(wanted.records, chain)
        if not trusted:
            return _fault(wanted, TlsFailure.VALIDATION_FAILURE, "No TLSA record matches the certificate")
        return _judge_path(wanted, chain, paths, trusted, Verified.DANE)
    return _judge_path(wanted, chain, paths, None, Verified.STS if wanted.policy is PolicyType.STS else Verified.CA)


def _judge_path(
    wanted: Demand, chain: Sequence[bytes], paths: Paths, anchors: Sequence[bytes] | None, verified: Verified
) -> Judgement:
    fault = paths.fault(chain, anchors)
    if fault is not None:
        return _fault(wanted, fault.failure, fault.why)
    leaf = dane.read_certificate(chain[0])
    if leaf is None:
        return _fault(wanted, TlsFailure.VALIDATION_FAILURE, "The certificate cannot be read")
    if not is_for_servers(leaf):
        return _fault(wanted, TlsFailure.VALIDATION_FAILURE, "The certificate is not one for servers")
    # RFC 7672 s3.2.3 has the common name count; RFC 8461 s4.2 and RFC 9525 have not.
    if not is_named(names_in(leaf), wanted.names, anchors is not None):
        why = f"The certificate does not name {' or '.join(wanted.names)}"
        return _fault(wanted, TlsFailure.CERTIFICATE_HOST_MISMATCH, why)
    return Judgement(verified, TlsFailure.SUCCESS, "", True)


def _fault(wanted: Demand, failure: TlsFailure, why: str) -> Judgement:
    return Judgement(Verified.NONE, failure, why, wanted.is_advice)


def has_fingerprint(certificate: bytes, fingerprints: Sequence[str]) -> bool:
    """Whether one of ``"sha256:HEX"`` (any case, with colons or without) is a certificate's (DER), or its key's."""
    found = {hashlib.sha256(certificate).hexdigest()}
    try:
        found.add(hashlib.sha256(dane.public_key_info(certificate)).hexdigest())
    except ValueError:
        pass
    return any(word.lower().removeprefix("sha256:").replace(":", "") in found for word in fingerprints)
