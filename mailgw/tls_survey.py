"""Asks DNS, MTA-STS and the hosts of a destination what mail would meet there, as a delivery does, and sends none.

It uses a delivery's own parts, so that what it says is what happens.  Left out: logins, since a password is nothing to
try; sessions that are kept; and TLS-Required: No.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from twisted.internet.defer import Deferred, gatherResults

from mailgw.config.settings import Config
from mailgw.deliver.smtp_hops import Hop, Target, given_targets, loops_back, mx_targets, places_of
from mailgw.deliver.smtp_open import Call, Opening
from mailgw.deliver.smtp_security import HostSecurity, LaneSecurity, Security
from mailgw.deliver.smtp_settings import SmtpSettings, SourceSettings
from mailgw.deliver.smtp_shape import site_of, sources_of
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.ports import MtaSts, Resolver, WallClock
from mailgw.peer_tls import fetch_by
from mailgw.tls_policies import KnownPolicies
from mailgw.tls_report import POLICIES, Certificate, Host, How, Report, Sts, Tried, demanded, iso, judged
from mailgw.trust.dane import public_key_info
from mailgw.trust.reference_names import names_in
from mailgw.trust.tls_policy import Demand, Level, LocalRule, Refused, Verified
from mailgw.wire.client_asked import NO_VERIFIED_TLS

CONNECTIONS: Final = 32  # over all hosts; a delivery tries fewer
STEP_SECONDS: Final = 15.0  # for each of: connect, greeting, EHLO, STARTTLS, handshake.  Somebody sits and waits.


class StsLook(MtaSts, Protocol):
    """Policies as deliveries know them, and what there is to tell of them."""

    async def told(self, domain: str) -> Sts:
        """After ``policy``: how it stands."""


def made_survey(
    config: Config, name: str, settings: SmtpSettings, resolver: Resolver, reactor: Any, wall_clock: WallClock
) -> "Survey":
    """That of a backend of ``config``, with the policies that its gateway remembers.  ValueError as ``Survey``."""
    known = KnownPolicies(resolver, fetch_by(reactor, resolver), config.state, reactor, wall_clock)
    return Survey(
        name, settings, resolver, known if settings.mta_sts else None, frozenset({config.hostname}), reactor
    )


class Survey:
    """One backend's view.  ``name`` is the backend's; ``own_names`` are this host's, in lower case; ``sts`` None where
    no MTA-STS counts.  ValueError in one line where a file for TLS cannot be used."""

    def __init__(
        self,
        name: str,
        settings: SmtpSettings,
        resolver: Resolver,
        sts: StsLook | None,
        own_names: frozenset[str],
        reactor: Any,  # IReactorTCP, IReactorUNIX and IReactorTime at once; no such type exists
    ) -> None:
        self._name = name
        self._settings = settings
        self._resolver = resolver
        self._sts = sts
        self._own_names = own_names
        self._reactor = reactor
        self._given = given_targets(settings.hosts)
        self._security = Security(settings, resolver, sts, lambda result: None)
        steps = ("connect_seconds", "greeting_seconds", "hello_seconds")
        quick = {step: min(getattr(settings, step), STEP_SECONDS) for step in steps}
        without = attrs.evolve(settings, username=None, password=None, password_file=None, **quick)
        self._opening = Opening(without, reactor, resolver, own_names, time.time)

    async def of(self, domain: str, connect: bool, require_tls: bool = False) -> Report:
        """``domain`` in its normal form; ``require_tls``: for a message with REQUIRETLS (RFC 8689).  Whatever is wrong
        stands in the report."""
        lane = "" if self._given else domain
        security = await self._security.of_lane(lane)
        is_asked = self._sts is not None and security.domain != ""
        report = Report(
            domain, self._name, not self._given, False, self._rule(security, lane),
            await self._sts.told(lane) if self._sts is not None and is_asked else None, (), "", False, connect,
        )
        ranks: Mapping[str, int] = {}
        targets: Sequence[Target] | Outcome = self._given
        if not self._given:
            targets = await mx_targets(domain, self._resolver, lambda names: None, self._own_names)
            ranks, secure = await self._ranks(domain)
            report = attrs.evolve(report, mx_is_secure=secure)
        if isinstance(targets, Outcome):
            is_final = targets.permanence is Permanence.PERMANENT
            return attrs.evolve(report, fault=targets.reply.text, is_final=is_final)
        sources = await self._sources(lane)
        hosts = [Deferred.fromCoroutine(self._host(security, target, ranks.get(target.host), sources, require_tls))
                 for target in targets]
        found: Sequence[_Found] = await gatherResults(hosts, consumeErrors=True)
        if connect:
            await self._try(found)
        return attrs.evolve(report, hosts=tuple(one.host for one in found))

    def _rule(self, security: LaneSecurity, lane: str) -> str:
        rule, settings = security.rule, self._settings
        override = settings.shaping.destination(lane) if lane else None
        is_own = override is not None and override.tls is not None
        words = f'tls = "{rule.level.value if is_own else settings.tls.value}"'
        more = [f"for one of the names {', '.join(rule.names)}"] * bool(rule.names)
        more += [f"of one of {len(rule.fingerprints)} fingerprints"] * bool(rule.fingerprints)
        where = "for this destination" if is_own else "of the backend"
        return ", ".join([f"{words} {where}", *more])

    async def _sources(self, lane: str) -> tuple[SourceSettings, ...]:
        shaping = self._settings.shaping
        if not shaping.sources:
            return ()
        try:
            return sources_of(shaping, self._settings.hosts[0] if self._given else await site_of(lane, self._resolver))
        except TemporaryFault:
            return sources_of(shaping, lane)

    async def _ranks(self, domain: str) -> tuple[Mapping[str, int], bool]:
        try:
            found = await self._resolver.mx(domain)
        except TemporaryFault:  # mx_targets has told of it
            return {}, False
        ranks: dict[str, int] = {}
        for record in found.items:
            ranks[record.host] = min(record.preference, ranks.get(record.host, record.preference))
        return ranks, found.secure

    # --- a host, before any connection -------------------------------------------------------------------

    async def _host(
        self, lane: LaneSecurity, target: Target, rank: int | None, sources: tuple[SourceSettings, ...],
        require_tls: bool,
    ) -> "_Found":
        host = Host(target.host, target.port, rank, target.is_authentic)
        places = await places_of(target, self._resolver)
        if isinstance(places, Outcome):
            return _Found(_faulty(host, places))
        if target.port:
            addresses = tuple(hop.address for hop in places.hops)
            asked = self._asks_for_tlsa(lane.rule) and addresses != (target.host,)
            host = attrs.evolve(
                host, addresses=addresses, addresses_are_secure=places.secure, tlsa_is_asked=asked
            )
        if not self._given and any(hop.address in self._own_names for hop in places.hops):
            return _Found(_faulty(host, loops_back(target.host)))
        families = {source.is_ipv6 for source in sources} or {True, False}
        hops = [hop for hop in places.hops if hop.is_ipv6 in families or not hop.port]
        if not hops:
            return _Found(attrs.evolve(host, fault="It has no address of a kind that there is a source address for"))
        known = await self._security.of_host(lane, target, places)
        if known.dane is not None:
            host = attrs.evolve(host, tlsa=judged(known.dane.records), tlsa_base=known.dane.base)
        return self._judged(host, known, hops, sources, require_tls)

    def _needs(self, hop: Hop, require_tls: bool) -> bool:
        # As a delivery: over LMTP to this machine nobody listens in.
        return require_tls and not (self._settings.lmtp and hop.is_loopback)

    @staticmethod
    def _asks_for_tlsa(rule: LocalRule) -> bool:
        return rule.level is not Level.CLEAR and (rule.level is Level.DANE or not rule.is_override)

    def _judged(
        self, host: Host, known: HostSecurity, hops: Sequence[Hop], sources: tuple[SourceSettings, ...],
        require_tls: bool,
    ) -> "_Found":
        asked = [(hop, known.demand(hop, self._needs(hop, require_tls), False)) for hop in hops]
        # Of all hops of a host the same is asked, but on the loopback, where TLS from the first octet may be anybody's.
        wanted = asked[0][1]
        if isinstance(wanted, Refused):
            status = NO_VERIFIED_TLS[0] if wanted.by_message else ""
            return _Found(
                attrs.evolve(host, fault=wanted.fault.why, status=status, policy=POLICIES[wanted.policy])
            )
        flaw = wanted.flaw.why if wanted.flaw is not None else ""
        host = attrs.evolve(host, demand=demanded(wanted), policy=POLICIES[wanted.policy], flaw=flaw)
        calls = []
        for hop, one in asked:
            source = next((source for source in sources if hop.port and source.is_ipv6 is hop.is_ipv6), None)
            if isinstance(one, Demand):
                calls.append(Call(hop, one, source, self._needs(hop, require_tls)))
        return _Found(host, calls)

    # --- connections ----------------------------------------------------------------------------------------

    async def _try(self, found: Sequence["_Found"]) -> None:
        left = CONNECTIONS
        under_way = []
        for one in found:
            calls, left = one.calls[:left], left - len(one.calls[:left])
            under_way.append(gatherResults(map(Deferred.fromCoroutine, map(self._tried, calls)), consumeErrors=True))
        for one, results in zip(found, await gatherResults(under_way, consumeErrors=True), strict=True):
            one.host = attrs.evolve(one.host, tried=tuple(results))

    async def _tried(self, call: Call) -> Tried:
        """A session up to where a message would follow, and its end; where TLS fails that may fail, one in clear."""
        opened = await self._opening.open([call])
        hop, met = call.hop, opened.met
        place = f"[{hop.address}]:{hop.port}" if hop.port else hop.address
        why = "" if opened.fault is None else opened.fault.reply.text
        source = "" if call.source is None else call.source.address
        shown = None if met is None else certificate(met.chain)
        seen = Tried(place, How.NOT, why=why, certificate=shown, source=source)
        if isinstance(opened.result, Outcome):
            return attrs.evolve(seen, status=_final_status(opened.result))
        opened.result.close()
        secured = opened.result.secured
        if opened.result is not met:
            return attrs.evolve(seen, how=How.CLEAR)
        if secured is None or met.judgement is None:
            missing = "" if call.demand.level is Level.CLEAR else "TLS is not offered"
            return attrs.evolve(seen, how=How.CLEAR, why=missing)
        if call.needs_tls and not met.offer.require_tls:
            # RFC 8689 s4.2.1: the next hop must offer it as well
            return attrs.evolve(seen, why="REQUIRETLS is not offered", status="5.7.30")
        return attrs.evolve(
            seen, how=How.ENCRYPTED if met.judgement.verified is Verified.NONE else How.VERIFIED,
            version=secured.version, cipher=secured.cipher, verified=secured.verified, why=met.judgement.why,
        )


def _faulty(host: Host, outcome: Outcome) -> Host:
    return attrs.evolve(host, fault=outcome.reply.text, status=_final_status(outcome))


def _final_status(outcome: Outcome) -> str:
    return outcome.reply.status if outcome.permanence is Permanence.PERMANENT else ""


@attrs.define
class _Found:
    """A host so far, and what there is to try."""

    host: Host
    calls: list[Call] = attrs.Factory(list)


def certificate(chain: Sequence[bytes]) -> Certificate | None:
    """What there is to say of the server's own (DER, the first); None where it showed none that can be read."""
    if not chain:
        return None
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        names = names_in(leaf)
        return Certificate(
            leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string(), (*names.hosts, *names.addresses),
            iso(leaf.not_valid_before_utc), iso(leaf.not_valid_after_utc), _digest(chain[0]),
            _digest(public_key_info(chain[0])),
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()
