"""Asks DNS, MTA-STS and the hosts of a destination what mail would meet there, as a delivery does, and sends none.

It uses a delivery's own parts, so that what it says is what happens.  Left out: logins, since a password is nothing to
try; sessions that are kept; and TLS-Required: No.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from mailgw.deliver.smtp_hops import Hop, Places, Target, given_targets, loops_back, mx_targets, places_of
from mailgw.deliver.smtp_security import HostSecurity, LaneSecurity, Security
from mailgw.deliver.smtp_session import Session, step_limits
from mailgw.deliver.smtp_settings import SmtpSettings, TlsMode
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.ports import MtaSts, Resolver
from mailgw.net.client_tls import ClientTls, Handshake
from mailgw.net.server_tls import CertificateFiles
from mailgw.tls_report import POLICIES, Certificate, Host, How, Report, Sts, Tried, demanded, iso, judged
from mailgw.trust.dane import public_key_info
from mailgw.trust.reference_names import names_in
from mailgw.trust.tls_policy import Demand, Level, LocalRule, Refused, Verified
from mailgw.wire.client_events import ClientSettings, StartTlsUse
from mailgw.wire.smtp_client import ClientDialog

CONNECTIONS: Final = 32  # over all hosts; a delivery tries fewer
STEP_SECONDS: Final = 15.0  # for each of: connect, greeting, EHLO, STARTTLS, handshake.  Somebody sits and waits.


class StsLook(MtaSts, Protocol):
    """Policies as deliveries know them, and what there is to tell of them."""

    async def told(self, domain: str) -> Sts:
        """After ``policy``: how it stands."""


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
        own = None
        if settings.client_certificate is not None and settings.client_key is not None:
            own = CertificateFiles(settings.client_certificate, settings.client_key)
        self._tls = ClientTls(settings.ca_file, own, reactor.seconds)
        steps = ("connect_seconds", "greeting_seconds", "hello_seconds")
        self._quick = attrs.evolve(settings, **{step: min(getattr(settings, step), STEP_SECONDS) for step in steps})

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
        hosts = [Deferred.fromCoroutine(self._host(security, target, ranks.get(target.host), require_tls))
                 for target in targets]
        found: Sequence[_Found] = await gatherResults(hosts, consumeErrors=True)
        if connect:
            await self._try(found, require_tls)
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

    async def _host(self, lane: LaneSecurity, target: Target, rank: int | None, require_tls: bool) -> "_Found":
        host = Host(target.host, target.port, rank, target.is_authentic)
        places = await places_of(target, self._resolver)
        if isinstance(places, Outcome):
            return _Found(attrs.evolve(host, fault=places.reply.text))
        if target.port:
            addresses = tuple(hop.address for hop in places.hops)
            asked = self._asks_for_tlsa(lane.rule) and addresses != (target.host,)
            host = attrs.evolve(
                host, addresses=addresses, addresses_are_secure=places.secure, tlsa_is_asked=asked
            )
        if not self._given and any(hop.address in self._own_names for hop in places.hops):
            return _Found(attrs.evolve(host, fault=loops_back(target.host).reply.text))
        known = await self._security.of_host(lane, target, places)
        if isinstance(known, Outcome):
            return _Found(attrs.evolve(host, fault=known.reply.text))
        return self._judged(host, known, places, require_tls)

    def _needs(self, hop: Hop, require_tls: bool) -> bool:
        # As a delivery: over LMTP to this machine nobody listens in.
        return require_tls and not (self._settings.lmtp and hop.is_loopback)

    @staticmethod
    def _asks_for_tlsa(rule: LocalRule) -> bool:
        return rule.level is not Level.CLEAR and (rule.level is Level.DANE or not rule.is_override)

    def _judged(self, host: Host, known: HostSecurity, places: Places, require_tls: bool) -> "_Found":
        if known.dane is not None:
            host = attrs.evolve(host, tlsa=judged(known.dane.records), tlsa_base=known.dane.base)
        asked = [(hop, known.demand(hop, self._needs(hop, require_tls), False)) for hop in places.hops]
        # Of all hops of a host the same is asked, but on the loopback, where TLS from the first octet may be anybody's.
        wanted = asked[0][1]
        if isinstance(wanted, Refused):
            return _Found(attrs.evolve(host, fault=wanted.fault.why, policy=POLICIES[wanted.policy]))
        flaw = wanted.flaw.why if wanted.flaw is not None else ""
        host = attrs.evolve(host, demand=demanded(wanted), policy=POLICIES[wanted.policy], flaw=flaw)
        return _Found(host, [(hop, one) for hop, one in asked if isinstance(one, Demand)])

    # --- connections ----------------------------------------------------------------------------------------

    async def _try(self, found: Sequence["_Found"], require_tls: bool) -> None:
        left = CONNECTIONS
        under_way = []
        for one in found:
            hops, left = one.hops[:left], left - len(one.hops[:left])
            tried = [self._tried(hop, wanted, self._needs(hop, require_tls)) for hop, wanted in hops]
            under_way.append(gatherResults(map(Deferred.fromCoroutine, tried), consumeErrors=True))
        for one, results in zip(found, await gatherResults(under_way, consumeErrors=True), strict=True):
            one.host = attrs.evolve(one.host, tried=tuple(results))

    async def _tried(self, hop: Hop, wanted: Demand, require_tls: bool) -> Tried:
        """A session up to where a message would follow, and its end; where TLS fails that may fail, one in clear."""
        one = await self._opened(hop, wanted)
        place = f"[{hop.address}]:{hop.port}" if hop.port else hop.address
        shown = certificate(one.handshake.chain) if one.handshake is not None else None
        seen = Tried(place, How.NOT, why=one.why, certificate=shown)
        if one.session is None:
            return seen
        if one.why:
            if not (one.session.tls_failed and wanted.may_fall_back):
                return seen
            in_clear = await self._opened(hop, attrs.evolve(wanted, level=Level.CLEAR))
            if in_clear.session is None or in_clear.why:
                return attrs.evolve(seen, why=f"{one.why}; in clear: {in_clear.why}")
            in_clear.session.close()
            return attrs.evolve(seen, how=How.CLEAR)
        one.session.close()
        judgement, secured = one.session.judgement, one.dialog.secured
        if judgement is None or secured is None:
            return attrs.evolve(seen, how=How.CLEAR, why="" if wanted.level is Level.CLEAR else "TLS is not offered")
        if require_tls and not one.session.offer.require_tls:
            # RFC 8689 s4.2.1: the next hop must offer it as well
            return attrs.evolve(seen, why="REQUIRETLS is not offered")
        return Tried(
            place, How.ENCRYPTED if judgement.verified is Verified.NONE else How.VERIFIED, secured.version,
            secured.cipher, secured.verified, judgement.why, shown,
        )

    async def _opened(self, hop: Hop, wanted: Demand) -> "_Opened":
        with_tls = wanted.level is not Level.CLEAR
        implicit = with_tls and self._settings.tls is TlsMode.IMPLICIT
        starttls = StartTlsUse.IF_OFFERED if wanted.may_fall_back else StartTlsUse.REQUIRED
        if implicit or not with_tls:
            starttls = StartTlsUse.NEVER
        handshake = self._tls.to(wanted, f"{hop.address} {hop.port}") if with_tls else None
        own_names: frozenset[str] = frozenset() if self._given else self._own_names
        settings, is_local = self._settings, hop.is_loopback
        asked = ClientSettings(settings.hello_name, settings.lmtp, starttls, None, is_local, str(hop), own_names)
        dialog = ClientDialog(asked, implicit)
        limits = step_limits(self._quick)
        session = Session(dialog, str(hop), handshake, implicit, limits, self._reactor, is_local)
        try:
            await self._endpoint(hop).connect(_Once(session))
        except (ConnectError, OSError) as fault:
            return _Opened(dialog, None, None, f"Cannot connect: {fault}")
        trouble = await session.opened
        return _Opened(dialog, session, handshake, "" if trouble is None else trouble.reply.text)

    def _endpoint(self, hop: Hop) -> IStreamClientEndpoint:
        seconds = self._quick.connect_seconds
        if not hop.port:
            return UNIXClientEndpoint(self._reactor, hop.address, seconds)  # type: ignore[no-untyped-call]
        kind: Any = TCP6ClientEndpoint if ":" in hop.address else TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(self._reactor, hop.address, hop.port, seconds)
        return endpoint


@attrs.define
class _Found:
    """A host so far, and the hops that may be connected to, with what is asked of each."""

    host: Host
    hops: list[tuple[Hop, Demand]] = attrs.Factory(list)


@attrs.frozen
class _Opened:
    """``session`` None: there is no connection; ``handshake`` None: there was to be none; ``why`` it does not stand."""

    dialog: ClientDialog
    session: Session | None
    handshake: Handshake | None
    why: str


class _Once(Factory):
    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> Session:
        return self._session


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
