"""What is asked of a destination's hosts in the way of TLS: configuration, DNS and MTA-STS, for ``trust.tls_policy``.

RFC 7672 s2.2 (which records are looked up, and when), RFC 8461 s5 (MTA-STS), RFC 8689 s5 (TLS-Required), RFC 8460 s4.3
(what is told of each session).

Rules:
    TLSA records are asked for only where the host's addresses were validated, or at least that it is an alias (RFC 7672
    s2.2.2, s2.2.3): some servers of zones that are not signed fail such questions.
    Where DNS cannot say whether there are any, the host is not used: that may be who wants them to be missed.
    For hosts that are given, and for LMTP, no MTA-STS policy is asked for; with TLS from the first octet, or for LMTP,
    no TLSA records either: the configuration says it all.
    A result is told of every attempt at TLS with a host of a domain by MX for which nothing else is configured.
"""

import re
from collections.abc import Callable

import attrs

from mailgw.deliver.smtp_hops import Hop, Places, Target
from mailgw.deliver.smtp_settings import SmtpSettings, TlsMode
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.header import header_end
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, permanent, temporary
from mailgw.mail.ports import MtaSts, Resolver
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult
from mailgw.trust import dane, mtasts
from mailgw.trust.tls_policy import DaneFacts, Demand, Fault, Level, LocalRule, Refused, StsFacts, demand
from mailgw.wire.client_asked import NO_VERIFIED_TLS

# A header that is longer is no reason to lower anything.
MOST_HEADER_OCTETS = 1 << 18
_TLS_NOT_REQUIRED = re.compile(rb"(?:\A|\n)tls-required[ \t]*:[ \t]*no[ \t]*\r?\n", re.IGNORECASE)


@attrs.frozen
class LaneSecurity:
    """What is asked of all hosts of a lane.  ``policy`` None where there is no MTA-STS policy, or none that counts.
    ``domain``: of whom results are told, ``""`` where none are."""

    rule: LocalRule
    policy: StsPolicy | None
    domain: str


@attrs.frozen
class HostSecurity:
    """What is known of one host before a connection.  ``doubt``: why it is not known whether there are TLSA records,
    ``""`` where it is.  ``is_implicit``: with TLS from the first octet, and the loopback is ours, not a proxy's."""

    lane: LaneSecurity
    target: Target
    is_implicit: bool
    dane: DaneFacts | None
    doubt: str

    @property
    def has_policy(self) -> bool:
        """Whether the destination itself asks for something, which a message may do without (RFC 8689 s5)."""
        return self.dane is not None or self.lane.policy is not None or bool(self.doubt)

    def demand(self, hop: Hop, require_tls: bool, is_lowered: bool) -> Demand | Refused:
        """What is asked of a hop of this host.  ``is_lowered``: the message says that TLS is not required."""
        rule, policy, host = self.lane.rule, self.lane.policy, self.target.host
        if self.is_implicit and hop.is_loopback and not require_tls:
            rule = attrs.evolve(rule, level=Level.ENCRYPT)  # nobody is in between
        facts, doubt = self.dane, self.doubt
        if is_lowered:
            policy = None
            # What is configured stands (RFC 8689 s5); where that is DANE, records are still what meets it.
            if rule.level is not Level.DANE:
                facts, doubt = None, ""
        if doubt:
            # RFC 7672 s2.1.2: not before it is known
            return Refused(Fault(TlsFailure.DNSSEC_INVALID, doubt), PolicyType.TLSA, False)
        sts = None if policy is None else StsFacts(policy.mode, mtasts.covers(policy, host))
        return demand(host, rule, self.target.is_authentic, facts, sts, require_tls)


class Security:
    """For one backend.  ``sts`` None: no MTA-STS.  ``note`` takes each result."""

    def __init__(
        self, settings: SmtpSettings, resolver: Resolver, sts: MtaSts | None, note: Callable[[TlsResult], None]
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._sts = sts
        self._note = note
        self._is_implicit = settings.tls is TlsMode.IMPLICIT

    async def of_lane(self, lane: str) -> LaneSecurity:
        """``lane``: a domain, an address literal, or ``""`` where hosts are given."""
        settings = self._settings
        override = settings.shaping.destination(lane) if lane else None
        if override is not None and override.tls is not None:
            level = Level(override.tls.value)
            return LaneSecurity(LocalRule(level, True, override.tls_names, override.tls_fingerprints), None, "")
        is_final = self._is_implicit or settings.lmtp
        rule = LocalRule(Level.VERIFY if self._is_implicit else Level(settings.tls.value), is_final)
        is_by_mx = lane and not lane.startswith("[") and rule.level is not Level.CLEAR
        policy = await self._sts.policy(lane) if self._sts is not None and is_by_mx else None
        if policy is not None and policy.mode is StsMode.NONE:
            policy = None
        return LaneSecurity(rule, policy, lane if is_by_mx else "")

    async def of_host(self, lane: LaneSecurity, target: Target, places: Places) -> HostSecurity:
        """``places`` are those of ``target``."""
        rule, doubt = lane.rule, ""
        asks = target.port and rule.level is not Level.CLEAR and (rule.level is Level.DANE or not rule.is_override)
        try:
            found = await self._dane(target, places) if asks else None
        except TemporaryFault as fault:
            found, doubt = None, f"Whether {target.host} has TLSA records is not known: {fault.why}"
        is_implicit = self._is_implicit and self._settings.socks5 is None
        return HostSecurity(lane, target, is_implicit, found, doubt)

    async def _dane(self, target: Target, places: Places) -> DaneFacts | None:
        # RFC 7672 s2.2.3: the better TLSA base domain is the name at the end of the CNAMEs, the other the one before.
        bases = [places.name, target.host] if places.secure else []
        if not places.secure and places.name != target.host and (await self._resolver.alias(target.host)).secure:
            bases = [target.host]  # what it stands for is not signed; that it stands for it is
        for base in dict.fromkeys(bases):
            found = await self._resolver.tlsa(base, target.port)
            if found.items and found.secure:
                # RFC 7672 s3.2.2: a certificate may as well name the domain that the mail is for.
                return DaneFacts(found.items, base, (target.host, *target.next_hops))
        return None

    # --- what became of it -------------------------------------------------------------------------------

    def refused(self, host: HostSecurity, hop: Hop, refused: Refused, is_told: bool) -> Outcome:
        """A host that is not to be used: the outcome.  ``is_told``: of what the host lacks, a result is told."""
        if refused.by_message:
            return permanent(NO_VERIFIED_TLS[0], refused.fault.why, Scope.HOST, str(hop))
        if host.lane.domain and is_told:
            self._tell(host.lane, host.target, refused.policy, host.dane, "", hop.address, "", refused.fault)
        return temporary("4.7.5", refused.fault.why, Scope.HOST, str(hop))

    def tried(self, host: HostSecurity, hop: Hop, wanted: Demand, sending: str, helo: str, fault: Fault) -> None:
        """Tell of a session in which TLS was tried: ``sending`` is our own address, ``helo`` the server's name, both
        ``""`` where unknown; ``fault`` SUCCESS where TLS is as it was wanted."""
        if host.lane.domain:
            self._tell(host.lane, host.target, wanted.policy, host.dane, sending, hop.address, helo, fault)

    def _tell(
        self,
        lane: LaneSecurity,
        target: Target,
        kind: PolicyType,
        facts: DaneFacts | None,
        sending: str,
        receiving: str,
        helo: str,
        fault: Fault,
    ) -> None:
        strings: tuple[str, ...] = ()
        patterns: tuple[str, ...] = ()
        if kind is PolicyType.STS and lane.policy is not None:
            strings, patterns = mtasts.policy_lines(lane.policy), lane.policy.mx_patterns
        elif kind is PolicyType.TLSA and facts is not None:
            strings = tuple(map(dane.shown, facts.records))
        self._note(
            TlsResult(
                lane.domain, kind, strings, patterns, target.host, sending, receiving, helo, fault.failure, fault.why
            )
        )


async def says_not_required(message: Message) -> bool:
    """Whether a message wants to be delivered rather than to be safe on its way: ``TLS-Required: No`` (RFC 8689 s5).

    No where its content cannot be read: whoever is to send it will say so.
    """
    head = message.content.octets
    if head is None:
        head = b""
        try:
            async for chunk in message.content.chunks():
                head += chunk
                if header_end(head) >= 0 or len(head) > MOST_HEADER_OCTETS:
                    break
        except TemporaryFault:
            return False
    end = header_end(head)
    return _TLS_NOT_REQUIRED.search(head[:MOST_HEADER_OCTETS if end < 0 else end][:MOST_HEADER_OCTETS]) is not None
