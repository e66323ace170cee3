"""The SMTP and LMTP backend: messages to other servers, by MX or to given hosts (RFC 5321 s5, RFC 2033)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from mailgw.deliver.conversing import Conversations, Conversing
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.marking import marking
from mailgw.deliver.signing import Signing
from mailgw.deliver.smtp_domains import DomainsAtRcpt
from mailgw.deliver.smtp_hops import Target, given_targets, mx_targets
from mailgw.deliver.smtp_open import Call, Opening
from mailgw.deliver.smtp_pool import SessionPool
from mailgw.deliver.smtp_round import Round, Ways
from mailgw.deliver.smtp_security import Security
from mailgw.deliver.smtp_session import TOO_LONG
from mailgw.deliver.smtp_settings import Secret, SmtpSettings, SourceSettings, TlsMode
from mailgw.deliver.smtp_shape import shape_of, site_of, sources_of
from mailgw.deliver.smtp_transfer import Signed
from mailgw.interfaces import IFilesJunk, IKeepsSessions, IRelay, IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, temporary
from mailgw.mail.ports import MtaSts, Resolver, WallClock
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Shape
from mailgw.mail.tls_result import TlsResult

log = Logger()

__all__ = ["Secret", "SmtpBackend", "SmtpSettings", "TlsMode"]


@implementer(IShapedBackend, IKeepsSessions)
class SmtpBackend(Service):
    """Delivers to the next hop.  As a service, it closes its kept sessions when it stops.

    ``own_names`` are this host's names and addresses, in lower case: MX records that lead back here are not
    followed.  ``shuffle`` mixes a list in place.  ``sts`` knows MTA-STS policies, None where they do not count;
    ``note`` takes what TLS with a destination's hosts came to; ``forwarding`` gives senders of what aliases send on
    another address, None: they stay as they are; ``signing`` is there where anything can be signed or sealed;
    ``conversing`` tells what was said, None: nobody wants to know.
    ValueError in one line where a file for TLS cannot be used.
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
        forwarding: Forwarding | None = None,
        signing: Signing | None = None,
        conversing: Conversing | None = None,
    ) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._reactor = reactor
        self._resolver = resolver
        self._shuffle = shuffle
        self._own_names = frozenset(name.lower().rstrip(".") for name in own_names)
        self._given = given_targets(settings.hosts)
        if self._given:
            alsoProvides(self, IRelay)
        self._pool: SessionPool[Call] = SessionPool(settings.messages_per_session, settings.shaping.total_concurrency)
        self._conversing = conversing
        self._opening = Opening(settings, reactor, resolver, self._own_names, wall_clock, conversing is not None)
        self._security = Security(settings, resolver, sts, note)
        # Where hosts are given, one of them may well be this host.
        own = self._own_names if not self._given else frozenset()
        forwarding = None if settings.lmtp else forwarding  # a mailbox is the end of the way
        signed: Signed | None = None
        if signing is not None and (settings.sign or settings.seal):
            signed = partial(signing.signed, sign=settings.sign, seal=settings.seal)
        if settings.marks_junk:
            alsoProvides(self, IFilesJunk)
            signed = marking(signed)
        self._ways = Ways(
            settings, resolver, self._security, self._pool, self._opening, own, wall_clock, forwarding, signed
        )
        self._domains: DomainsAtRcpt | None = None
        if settings.check_domains and not settings.hosts:
            self._domains = DomainsAtRcpt(resolver, self._own_names, reactor)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._pool.open()

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._pool.close()

    def reload(self) -> None:
        """Read the files for TLS again where they changed; what cannot be used is logged, and nothing changes."""
        self._opening.tls.reload()

    def lane(self, recipient: Mailbox) -> str:
        """The recipient's domain by MX; ``""`` where hosts are given, since they serve all."""
        return "" if self._given else recipient.domain

    async def shape(self, lane: str) -> Shape:
        """By MX: the lane's own limits, its host's, its source address's and the backend's."""
        return shape_of(self._settings, lane, await self._site(lane))

    def part(self, lane: str, count: int) -> None:
        """Close kept sessions of a lane."""
        self._pool.part(lane, count)

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        """Of a domain that takes no mail, where it is sent to by MX; else None: who exists there is known there."""
        return await self._domains.refusal(recipient) if self._domains is not None else None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """One attempt at recipients of one lane.  Cancelled, it returns what is known, and temporary trouble for
        the others; after a bug of ours too, once anybody was served."""
        lane = "" if self._given else recipients[0].domain
        conversing = self._conversing
        keeps_all = conversing is not None and conversing.which is Conversations.ALL
        attempt = Round(self._ways, self._reactor.seconds(), lane, message, recipients, keeps_all)
        outcomes = attempt.outcomes
        self._pool.active += 1
        try:
            await attempt.over_a_kept_session()
            if attempt.left:
                await self._send_freshly(attempt, lane)
        except CancelledError:
            _set_the_others(outcomes, recipients, TOO_LONG)
        except Exception as fault:
            if not any(outcome.is_delivered for outcome in outcomes.values()):
                raise
            log.failure("{queue_id} could not be sent to all its recipients", queue_id=message.queue_id)
            why = f"The delivery broke off ({type(fault).__name__})"
            _set_the_others(outcomes, recipients, temporary("4.3.0", why, Scope.MESSAGE, ""))
        finally:
            self._pool.active -= 1
            if conversing is not None and attempt.said and conversing.wants(outcomes.values()):
                conversing.tell(message.queue_id, lane, attempt.said)
        return outcomes

    async def _send_freshly(self, attempt: Round, lane: str) -> None:
        targets = await self._targets(lane)
        if isinstance(targets, Outcome):
            attempt.outcomes.update(dict.fromkeys(attempt.left, targets))
            return
        await attempt.host_after_host(targets, await self._security.of_lane(lane), await self._sources(lane))

    async def _targets(self, lane: str) -> tuple[Target, ...] | Outcome:
        if self._given:
            return self._given
        return await mx_targets(lane, self._resolver, self._shuffle, self._own_names)

    async def _sources(self, lane: str) -> tuple[SourceSettings, ...]:
        """Where this lane is served from: at most one address of each family; () leaves it to the system."""
        shaping = self._settings.shaping
        if not shaping.sources:
            return ()
        try:
            site = await self._site(lane)
        except TemporaryFault:
            # DNS said it a moment ago, and says nothing now: the lane's own name does, too.
            site = lane
        return sources_of(shaping, site)

    async def _site(self, lane: str) -> str:
        return self._settings.hosts[0] if self._given else await site_of(lane, self._resolver)


def _set_the_others(outcomes: dict[Mailbox, Outcome], recipients: Sequence[Mailbox], outcome: Outcome) -> None:
    for recipient in recipients:
        outcomes.setdefault(recipient, outcome)
