"""The SMTP and LMTP backend: messages to other servers, by MX or to given hosts (RFC 5321 s5, RFC 2033).

Rules:
    Trouble of a session or a host (``Scope.SESSION``, ``Scope.HOST``) sends what is left to the next host; a
    verdict on the message or a recipient is the attempt's result, also a temporary one.
    A session that was kept is tried first, but for binary content; where it turns out to be dead, the attempt goes on
    with fresh ones.
    What a client asked for is ``smtp_transfer``'s; where a host cannot do it, the next one is asked.  Only where none
    can is the message returned: where one had trouble of another kind, it is tried again.
    A password leaves under TLS alone, or to the loopback.  What TLS must be, ``smtp_security`` says for each host; only
    where that is "if it can be had" does anything go in clear after TLS failed.
Not done: one connection for several domains with the same hosts; remembering which host was dead.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from mailgw.deliver.smtp_domains import DomainsAtRcpt
from mailgw.deliver.smtp_hops import Hop, Target, given_targets, loops_back, mx_targets, places_of
from mailgw.deliver.smtp_pool import SessionPool
from mailgw.deliver.smtp_security import HostSecurity, Security, says_not_required
from mailgw.deliver.smtp_session import TOO_LONG, Session, step_limits
from mailgw.deliver.smtp_settings import Secret, SmtpSettings, TlsMode
from mailgw.deliver.smtp_shape import shape_of, site_of
from mailgw.deliver.smtp_transfer import is_plain, transfer
from mailgw.interfaces import IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, permanent, temporary
from mailgw.mail.ports import MtaSts, Resolver, WallClock
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Shape
from mailgw.mail.tls_result import TlsFailure, TlsResult
from mailgw.net.client_tls import ClientTls
from mailgw.net.server_tls import CertificateFiles
from mailgw.trust.tls_policy import Demand, Fault, Level, Refused
from mailgw.wire.client_asked import NO_VERIFIED_TLS
from mailgw.wire.client_events import ClientSettings, Login, StartTlsUse
from mailgw.wire.smtp_client import NO_STARTTLS, ClientDialog

log = Logger()

__all__ = ["Secret", "SmtpBackend", "SmtpSettings", "TlsMode"]

# Connections tried in one attempt, so that a domain with many dead hosts does not hold its lane for hours.
CONNECTIONS_PER_ATTEMPT = 8


@implementer(IShapedBackend)
class SmtpBackend(Service):
    """Delivers to the next hop.  As a service, it closes its kept sessions when it stops.

    ``own_names`` are this host's names and addresses, in lower case: MX records that lead back here are not
    followed.  ``shuffle`` mixes a list in place.  ``sts`` knows MTA-STS policies, None where they do not count;
    ``note`` takes what TLS with a destination's hosts came to.  ValueError in one line where a file for TLS cannot be
    used.
    """

    def __init__(
        self,
        settings: SmtpSettings,
        reactor: Any,  # IReactorTCP, IReactorUNIX and IReactorTime at once; no such type exists
        resolver: Resolver,
        shuffle: Callable[[list[str]], None],
        own_names: frozenset[str],
        wall_clock: WallClock,
        sts: MtaSts | None = None,
        note: Callable[[TlsResult], None] = lambda result: None,
    ) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._reactor = reactor
        self._resolver = resolver
        self._shuffle = shuffle
        self._own_names = frozenset(name.lower().rstrip(".") for name in own_names)
        self._wall_clock = wall_clock
        self._pool = SessionPool(settings.messages_per_session)
        self._limits = step_limits(settings)
        self._given = given_targets(settings.hosts)
        own = None
        if settings.client_certificate is not None and settings.client_key is not None:
            own = CertificateFiles(settings.client_certificate, settings.client_key)
        self._tls = ClientTls(settings.ca_file, own, reactor.seconds)
        self._security = Security(settings, resolver, sts, note)
        self._domains: DomainsAtRcpt | None = None
        if settings.check_domains and not settings.hosts:
            self._domains = DomainsAtRcpt(resolver, self._own_names, reactor)
        self._login: Login | None = None
        if settings.username is not None and settings.password is not None:
            self._login = Login(settings.username, settings.password.value)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._pool.open()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._pool.close()

    def reload(self) -> None:
        """Read the files for TLS again where they changed; what cannot be used is logged, and nothing changes."""
        self._tls.reload()

    def lane(self, recipient: Mailbox) -> str:
        """The recipient's domain by MX; ``""`` where hosts are given, since they serve all."""
        return "" if self._given else recipient.domain

    async def shape(self, lane: str) -> Shape:
        """By MX: the lane's own limits, its host's, its source address's and the backend's."""
        site = self._settings.hosts[0] if self._given else await site_of(lane, self._resolver)
        return shape_of(self._settings, lane, site)

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        """Of a domain that takes no mail, where it is sent to by MX; else None: who exists there is known there."""
        return await self._domains.refusal(recipient) if self._domains is not None else None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """One attempt at recipients of one lane.  Cancelled, it returns what is known, and temporary trouble for
        the others; after a bug of ours too, once anybody was served."""
        lane = "" if self._given else recipients[0].domain
        outcomes: dict[Mailbox, Outcome] = {}
        waiting = recipients
        try:
            session = self._pool.take(lane) if message.body_type is not BodyType.BINARY else None
            if session is not None:
                waiting = await self._send(session, lane, message, waiting, outcomes, True)
                if outcomes and not is_plain(message, waiting):
                    # A session of another day says nothing of what fresh ones can do.
                    for recipient in waiting:
                        del outcomes[recipient]
            if waiting:
                await self._send_freshly(lane, message, waiting, outcomes)
        except CancelledError:
            _set_the_others(outcomes, recipients, TOO_LONG)
        except Exception as fault:
            if not any(outcome.is_delivered for outcome in outcomes.values()):
                raise
            log.failure("{queue_id} could not be sent to all its recipients", queue_id=message.queue_id)
            why = f"The delivery broke off ({type(fault).__name__})"
            _set_the_others(outcomes, recipients, temporary("4.3.0", why, Scope.MESSAGE, ""))
        return outcomes

    # --- from host to host -------------------------------------------------------------------------------

    async def _send_freshly(
        self, lane: str, message: Message, waiting: Sequence[Mailbox], outcomes: dict[Mailbox, Outcome]
    ) -> None:
        """Over new connections, host after host; ``outcomes`` is complete in the end."""
        targets = await self._targets(lane)
        if isinstance(targets, Outcome):
            _set_all(outcomes, waiting, targets)
            return
        security = await self._security.of_lane(lane)
        connections = 0
        is_lowered: bool | None = None
        for target in targets:
            places = await places_of(target, self._resolver)
            if isinstance(places, Outcome):
                _set_all(outcomes, waiting, places)
                continue
            if not self._given and any(hop.address in self._own_names for hop in places.hops):
                # This host and those behind it are not to be tried; what better ones said stands.
                _set_the_others(outcomes, waiting, loops_back(lane))
                return
            host = await self._security.of_host(security, target, places)
            if is_lowered is None and host.has_policy:
                # RFC 8689 s5: REQUIRETLS takes precedence
                is_lowered = not message.parameters.require_tls and await says_not_required(message)
            for hop in places.hops:
                connections += 1
                needs_tls = message.parameters.require_tls and not (self._settings.lmtp and hop.is_loopback)
                if connections > CONNECTIONS_PER_ATTEMPT:
                    return
                # As often as this serves some of them: a server may say that it takes no more in one session.
                more = True
                while more:
                    session = await self._open(hop, host, needs_tls, is_lowered is True)
                    if isinstance(session, Outcome) and session.permanence is Permanence.PERMANENT:
                        if session.reply.status == NO_VERIFIED_TLS[0]:
                            # RFC 8689 s4.2.1: the next host may do; but trouble that another had may be over later.
                            _set_the_others(outcomes, waiting, session)
                            break
                        # It called itself by our name: as above.
                        _set_the_others(outcomes, waiting, session)
                        return
                    if isinstance(session, Outcome):
                        _set_all(outcomes, waiting, session)
                        break
                    left = await self._send(session, lane, message, waiting, outcomes, is_lowered is not True)
                    if not left:
                        return
                    more = session.is_spent and len(left) < len(waiting)
                    waiting = left

    async def _targets(self, lane: str) -> tuple[Target, ...] | Outcome:
        if self._given:
            return self._given
        return await mx_targets(lane, self._resolver, self._shuffle, self._own_names)

    async def _send(
        self,
        session: Session,
        lane: str,
        message: Message,
        recipients: Sequence[Mailbox],
        outcomes: dict[Mailbox, Outcome],
        is_for_others: bool,
    ) -> Sequence[Mailbox]:
        """Over one session, which goes back to the pool or is closed; who is left for another host.

        ``is_for_others``: it is as safe as other messages of the lane want it.
        """
        try:
            await transfer(session, message, recipients, outcomes, self._settings.lmtp, self._wall_clock)
        except BaseException:
            outcomes.update(session.abort())
            raise
        if is_for_others:
            self._pool.give(lane, session)
        else:
            session.close()
        return [r for r in recipients if outcomes[r].scope in _ELSEWHERE and not outcomes[r].is_delivered]

    # --- one connection ------------------------------------------------------------------------------------

    async def _open(self, hop: Hop, host: HostSecurity, needs_tls: bool, is_lowered: bool) -> Session | Outcome:
        """``needs_tls``: verified, and with a host that is the destination's, whatever the mode (RFC 8689)."""
        wanted = host.demand(hop, needs_tls, is_lowered)
        if isinstance(wanted, Refused):
            return self._security.refused(host, hop, wanted)
        if needs_tls and not hop.port:
            # A Unix socket has no name to verify.
            return permanent(*NO_VERIFIED_TLS, Scope.HOST, str(hop))
        session, fault = await self._connect(hop, wanted)
        if session is not None:
            self._tell(session, fault, host, hop, wanted)
        if fault is None:
            assert session is not None
            return session
        if needs_tls:
            has_none = session is not None and (session.tls_is_wrong or fault.reply.status == NO_STARTTLS)
            return permanent(*NO_VERIFIED_TLS, Scope.HOST, str(hop)) if has_none else fault
        if session is not None and session.tls_failed and wanted.may_fall_back and (
            self._login is None or hop.is_loopback
        ):
            # RFC 7435 s3: opportunistic security is better than none, and none better than no mail.
            session, fault_in_clear = await self._connect(hop, attrs.evolve(wanted, level=Level.CLEAR))
            if fault_in_clear is None:
                assert session is not None
                return session
        return fault

    def _tell(
        self, session: Session, fault: Outcome | None, host: HostSecurity, hop: Hop, wanted: Demand
    ) -> None:
        """What TLS in this session came to, where it was tried."""
        if wanted.level is Level.CLEAR:
            return
        if session.judgement is not None:
            result = Fault(session.judgement.failure, session.judgement.why)
        elif session.tls_is_missing:
            result = Fault(TlsFailure.STARTTLS_NOT_SUPPORTED, "")
        elif session.tls_failed and fault is not None:
            result = Fault(TlsFailure.VALIDATION_FAILURE, fault.reply.text)
        else:
            return  # it never got so far
        self._security.tried(host, hop, wanted, session.own_address, session.server_name, result)

    async def _connect(self, hop: Hop, wanted: Demand) -> tuple[Session | None, Outcome | None]:
        """A session and None where it stands; a session or None, and why it does not."""
        settings = self._settings
        with_tls = wanted.level is not Level.CLEAR
        implicit = with_tls and settings.tls is TlsMode.IMPLICIT
        starttls = StartTlsUse.IF_OFFERED if wanted.may_fall_back else StartTlsUse.REQUIRED
        if implicit or not with_tls:
            starttls = StartTlsUse.NEVER
        handshake = self._tls.to(wanted, f"{hop.address} {hop.port}") if with_tls else None
        dialog = ClientDialog(
            ClientSettings(
                hello_name=settings.hello_name,
                lmtp=settings.lmtp,
                starttls=starttls,
                login=self._login,
                may_show_login=hop.is_loopback,
                hop=str(hop),
                # A smart host or an LMTP server on this machine may well have our name.
                own_names=frozenset() if self._given else self._own_names,
            ),
            implicit,
        )
        session = Session(dialog, str(hop), handshake, implicit, self._limits, self._reactor, hop.is_loopback)
        try:
            await self._endpoint(hop).connect(_Once(session))
        except ConnectingCancelledError:
            raise CancelledError from None
        except (ConnectError, OSError) as fault:
            return None, temporary("4.4.1", f"Cannot connect: {_connect_text(fault)}", Scope.HOST, str(hop))
        return session, await session.opened

    def _endpoint(self, hop: Hop) -> IStreamClientEndpoint:
        seconds = self._settings.connect_seconds
        if not hop.port:
            return UNIXClientEndpoint(self._reactor, hop.address, seconds)  # type: ignore[no-untyped-call]
        if ":" in hop.address:
            return TCP6ClientEndpoint(self._reactor, hop.address, hop.port, seconds)  # type: ignore[no-untyped-call]
        return TCP4ClientEndpoint(self._reactor, hop.address, hop.port, seconds)


class _Once(Factory):
    """Hands one session to its connection."""

    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> Session:
        return self._session


_ELSEWHERE = (Scope.HOST, Scope.SESSION)


def _set_all(outcomes: dict[Mailbox, Outcome], recipients: Iterable[Mailbox], outcome: Outcome) -> None:
    for recipient in recipients:
        outcomes[recipient] = outcome


def _set_the_others(outcomes: dict[Mailbox, Outcome], recipients: Iterable[Mailbox], outcome: Outcome) -> None:
    for recipient in recipients:
        outcomes.setdefault(recipient, outcome)


def _connect_text(fault: Exception) -> str:
    number = getattr(fault, "osError", None) or getattr(fault, "errno", None)
    return os.strerror(number) if isinstance(number, int) else (str(fault) or type(fault).__name__)
