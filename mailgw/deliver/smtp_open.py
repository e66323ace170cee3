"""A session with a host: a connection, then TLS as it is demanded, then the login.

Rules:
    A password leaves under TLS alone, or to the loopback.  Only where the demand says so does anything go in clear
    after TLS failed.
"""

from collections.abc import Sequence
from typing import Any

import attrs
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from mailgw.deliver.smtp_connect import Connected, NotConnected, Silent, first_to_answer
from mailgw.deliver.smtp_hops import Hop
from mailgw.deliver.smtp_login import SmartHostLogin
from mailgw.deliver.smtp_session import Session, step_limits
from mailgw.deliver.smtp_settings import SmtpSettings, SourceSettings, TlsMode
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Outcome, Scope, permanent, temporary
from mailgw.mail.ports import Resolver, WallClock
from mailgw.net.client_tls import ClientTls
from mailgw.net.server_tls import CertificateFiles
from mailgw.net.socks5 import Socks5Endpoint
from mailgw.trust.tls_policy import Demand, Level
from mailgw.wire.client_asked import NO_VERIFIED_TLS
from mailgw.wire.client_events import ClientSettings, StartTlsUse
from mailgw.wire.smtp_client import NO_STARTTLS, ClientDialog


@attrs.frozen(cache_hash=True)
class Call:
    """What is asked of a session.  Sessions that were opened for equal ones may stand for each other: the same place
    under the same name, the same demand, the same source address (None: the system chooses).

    ``needs_tls``: the message asks for it (RFC 8689), so that a host without is no failure of the host; it is in
    ``demand`` already.
    """

    hop: Hop
    demand: Demand
    source: SourceSettings | None
    needs_tls: bool = attrs.field(eq=False)


@attrs.frozen
class Opened:
    """``result`` is a session, or why there is none.  ``call`` is what came of it, ``tried`` the other calls that were
    begun in vain.  ``met`` is the session that TLS was tried in, None where no connection stood, and ``fault`` what it
    came to, None where it stands; ``result`` may be another one, in clear.
    """

    result: Session | Outcome
    call: Call
    tried: frozenset[Call]
    met: Session | None
    fault: Outcome | None

    @property
    def connections(self) -> int:
        return len(self.tried) + 1


class Opening:
    """Opens sessions of one backend; ``keeps_words`` as these have it.  ValueError in one line where a file for TLS
    cannot be used."""

    def __init__(
        self,
        settings: SmtpSettings,
        reactor: Any,  # IReactorTCP, IReactorUNIX and IReactorTime at once; no such type exists
        resolver: Resolver,
        own_names: frozenset[str],
        wall_clock: WallClock,
        keeps_words: bool = False,
    ) -> None:
        self._keeps_words = keeps_words
        self.silent = Silent(reactor)
        self._settings = settings
        self._reactor = reactor
        self._resolver = resolver
        # A smart host or an LMTP server on this machine may well have our name.
        self._own_names = own_names if not settings.hosts else frozenset()
        self._limits = step_limits(settings)
        own = None
        if settings.client_certificate is not None and settings.client_key is not None:
            own = CertificateFiles(settings.client_certificate, settings.client_key)
        self.tls = ClientTls(settings.ca_file, own, reactor.seconds)
        self._login = SmartHostLogin(settings, reactor, wall_clock)

    async def open(self, calls: Sequence[Call]) -> Opened:
        """A session with the first to answer of the places of one host, at least one, in their order.

        The outcome is permanent where the host calls itself by our name, or lacks the TLS that the message asks for
        (``NO_VERIFIED_TLS``); all else is temporary.
        """
        try:
            proxy = await self._proxy()
        except TemporaryFault as trouble:
            unknown = temporary("4.4.3", f"The SOCKS5 proxy: {trouble.why}", Scope.HOST, str(calls[0].hop))
            return Opened(unknown, calls[0], frozenset(calls[1:]), None, unknown)
        met = await self._connect(calls, proxy)
        call = _of(calls, met.hop)
        if isinstance(met, NotConnected):
            why = temporary("4.4.1", f"Cannot connect: {met.why}", Scope.HOST, str(met.hop))
            return Opened(why, call, frozenset(calls) - {call}, None, why)
        tried = frozenset(call for call in calls if call.hop in met.tried)
        session = met.session
        fault = await session.opened
        if fault is None:
            return Opened(session, call, tried, session, None)
        if session.timed_out:
            self.silent.note(met.hop)
        if call.needs_tls:
            if session.tls_is_wrong or fault.reply.status == NO_STARTTLS:
                lacking = permanent(*NO_VERIFIED_TLS, Scope.HOST, str(met.hop))
                return Opened(lacking, call, tried, session, fault)
        elif session.tls_failed and call.demand.may_fall_back and (
            not self._login.is_needed or self._is_local(met.hop)
        ):
            # RFC 7435 s3: opportunistic security is better than none, and none better than no mail.
            clear = attrs.evolve(call, demand=attrs.evolve(call.demand, level=Level.CLEAR))
            in_clear = await self._connect([clear], proxy)
            if isinstance(in_clear, Connected) and await in_clear.session.opened is None:
                return Opened(in_clear.session, call, tried, session, fault)
        return Opened(fault, call, tried, session, fault)

    async def _proxy(self) -> str:
        """The proxy's address; ``""`` where there is none."""
        settings = self._settings.socks5
        if settings is None:
            return ""
        found = (await self._resolver.addresses(settings.host)).items
        if not found:
            raise TemporaryFault(f"{settings.host} has no address")
        return found[0]

    async def _connect(self, calls: Sequence[Call], proxy: str) -> Connected | NotConnected:
        return await first_to_answer(
            [call.hop for call in calls],
            lambda hop: self._endpoint(_of(calls, hop), proxy),
            lambda hop: self._session(_of(calls, hop)),
            self.silent,
            self._reactor,
        )

    def _session(self, call: Call) -> Session:
        settings, hop, demand = self._settings, call.hop, call.demand
        with_tls = demand.level is not Level.CLEAR
        implicit = with_tls and settings.tls is TlsMode.IMPLICIT
        starttls = StartTlsUse.IF_OFFERED if demand.may_fall_back else StartTlsUse.REQUIRED
        if implicit or not with_tls:
            starttls = StartTlsUse.NEVER
        handshake = self.tls.to(demand, f"{hop.address} {hop.port}") if with_tls else None
        dialog = ClientDialog(
            ClientSettings(
                hello_name=settings.hello_name if call.source is None else call.source.hello_name,
                lmtp=settings.lmtp,
                starttls=starttls,
                login=self._login.now(),
                may_show_login=self._is_local(hop),
                hop=str(hop),
                own_names=self._own_names,
            ),
            implicit,
        )
        return Session(
            dialog, str(hop), handshake, implicit, self._limits, self._reactor, self._is_local(hop), self._keeps_words
        )

    def _is_local(self, hop: Hop) -> bool:
        """Whether nobody else can listen in: behind a proxy the loopback is another machine's."""
        return hop.is_loopback and self._settings.socks5 is None

    def _endpoint(self, call: Call, proxy: str) -> IStreamClientEndpoint:
        hop, seconds = call.hop, self._settings.connect_seconds
        socks5 = self._settings.socks5
        if socks5 is not None:
            login = None
            if socks5.username is not None and socks5.password is not None:
                login = socks5.username, socks5.password.value
            return Socks5Endpoint(self._reactor, (proxy, socks5.port), login, hop.address, hop.port, seconds)
        bind = None if call.source is None else (call.source.address, 0)
        if not hop.port:
            return UNIXClientEndpoint(self._reactor, hop.address, seconds)  # type: ignore[no-untyped-call]
        if hop.is_ipv6:
            return TCP6ClientEndpoint(  # type: ignore[no-untyped-call]
                self._reactor, hop.address, hop.port, seconds, bind
            )
        return TCP4ClientEndpoint(self._reactor, hop.address, hop.port, seconds, bind)


def _of(calls: Sequence[Call], hop: Hop) -> Call:
    return next(call for call in calls if call.hop is hop)
