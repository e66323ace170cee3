"""The web hook backend: each message is POSTed to a server of the operator's choice, over HTTPS.

RFC 9110 and RFC 9112 by Twisted's Agent (``net.posting``); what is sent is in ``webhook_request`` and ``webhook_json``,
what an answer means in ``webhook_answer``.

Rules:
    Delivered is what the server has answered 2xx for.  Who does not answer gets it again, with the same key.
    A server that wants to be left alone (Retry-After) is, for an hour at most: what becomes due meanwhile is put off
    without asking it.
    Where one POST of several finds trouble of the server's, the others are not tried in this attempt.
    At most ``concurrency`` POSTs at once, and as many connections: one ``deliver`` has one at a time.
    The URL's path and the secret are in no log, and in no report.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailgw.deliver import webhook_answer, webhook_request
from mailgw.deliver.conversing import Conversing, Said
from mailgw.deliver.smtp_settings import password_in
from mailgw.deliver.webhook_json import content_members, envelope_member
from mailgw.deliver.webhook_settings import HookFormat, WebhookSettings
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, permanent, temporary
from mailgw.mail.ports import WallClock
from mailgw.mail.reply import Reply
from mailgw.net.posting import Poster
from mailgw.spool.content import MemoryContent
from mailgw.store.watched import WatchedFile
from mailgw.wire.conversation import US, content_words, short

# Above this, reading a message takes longer than a turn of the reactor should.
IN_REACTOR_OCTETS = 4096

_log = Logger()


@implementer(IDeliveryBackend)
class WebhookBackend(Service):
    """``close`` is called at the end, to close kept connections; ``threads`` are running, and their owner's to stop;
    ``conversing`` tells what was said, None: nobody wants to know."""

    def __init__(
        self,
        settings: WebhookSettings,
        poster: Poster,
        reactor: Any,
        wall_clock: WallClock,
        threads: ThreadPool,
        close: Any,
        conversing: Conversing | None = None,
    ) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._poster = poster
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._threads = threads
        self._close = close
        self._conversing = conversing
        self._secret = HookSecret(settings, reactor, wall_clock)
        self._large = DeferredLock()  # one large message is read at a time: it is in memory several times
        self._hop = settings.origin
        self._closed_until = -1.0  # by the reactor's clock
        self._said: Outcome | None = None

    def stopService(self) -> Deferred[Any]:
        super().stopService()  # type: ignore[no-untyped-call] # Twisted has no types there
        return maybeDeferred(self._close)

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says.  Cut off, it says what became of those whose POST was answered."""
        left_alone = self._closed_until - self._reactor.seconds()
        if self._said is not None and left_alone > 0:
            return dict.fromkeys(recipients, attrs.evolve(self._said, again_after_seconds=left_alone))
        settings = self._settings
        members: bytes | None = None
        if settings.format is HookFormat.JSON:
            if message.content.size_octets > settings.json.octets:
                # RFC 3463 s3.4: x.3.4, message too big for system
                why = f"More than {settings.json.octets} octets, which is too large for the web hook"
                return dict.fromkeys(recipients, permanent("5.3.4", why, Scope.MESSAGE, self._hop))
            try:
                members = await self._members(message.content)
            except TemporaryFault as fault:  # of our disk
                return dict.fromkeys(recipients, temporary("4.3.0", fault.why, Scope.MESSAGE, ""))
        known: dict[Mailbox, Outcome] = {}
        left = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.MESSAGE, self._hop)
        try:
            for group in webhook_request.groups(recipients, 1 if settings.one_each else settings.recipients):
                found = await self._post(message, group, members)
                known |= found
                trouble = _trouble(found)
                if trouble is not None:
                    left = trouble
                    break
        except CancelledError:
            if not known:
                raise
        return dict.fromkeys(recipients, left) | known

    async def _post(
        self, message: Message, group: Sequence[Mailbox], members: bytes | None
    ) -> Mapping[Mailbox, Outcome]:
        now, began = self._wall_clock(), self._reactor.seconds()
        told = webhook_request.fields(message, group, int(now))
        told["Accept"] = "application/json"
        if members is None:
            content, told["Content-Type"] = message.content, "message/rfc822"
        else:
            content = MemoryContent(b"{%b,%b}" % (envelope_member(message, group), members))
            told["Content-Type"] = "application/json"
        try:
            secret = self._secret.now()
            if secret is not None:
                told["Mailgw-Signature"] = await _signed(secret, told, content)
            answer = await self._poster.post(self._settings.url, told, content)
        except TemporaryFault as fault:
            # RFC 3463 s3.5: x.4.1, no answer from host
            failed = temporary("4.4.1", f"POST to the web hook: {fault.why}", Scope.HOST, self._hop)
            self._tell(message, group, told, content, [("", fault.why.encode())], {group[0]: failed}, began)
            return dict.fromkeys(group, failed)
        wait = webhook_answer.wait_seconds(answer.retry_after, now)
        outcomes = webhook_answer.judged(answer.status, answer.media_type, answer.body, group, self._hop, wait)
        answered = webhook_answer.words(answer.status, answer.media_type, answer.retry_after, answer.body)
        self._tell(message, group, told, content, answered, outcomes, began)
        self._said = _trouble(outcomes)
        self._closed_until = self._reactor.seconds() + (wait or 0.0)
        return outcomes

    def _tell(
        self, message: Message, group: Sequence[Mailbox], told: Mapping[str, str], content: Content,
        answered: Sequence[tuple[str, bytes]], outcomes: Mapping[Mailbox, Outcome], began: float,
    ) -> None:
        if self._conversing is None or not self._conversing.wants(outcomes.values()):
            return
        asked = f"POST for {len(group)} recipients, {told['Content-Type']}, {content_words(content.size_octets)}"
        lines = short((US, asked.encode()), *answered)
        self._conversing.tell(message.queue_id, "", [Said(self._hop, lines, self._reactor.seconds() - began)])

    async def _members(self, content: Content) -> bytes:
        """What the message comes to in JSON.  TemporaryFault where the disk fails."""
        limits = self._settings.json
        if content.octets is not None and len(content.octets) <= IN_REACTOR_OCTETS:
            return content_members(content.octets, limits)
        await self._large.acquire()
        try:
            octets = content.octets
            if octets is None:
                octets = b"".join([chunk async for chunk in content.chunks()])
            return await deferToThreadPool(self._reactor, self._threads, content_members, octets, limits)
        finally:
            self._large.release()


def _trouble(outcomes: Mapping[Mailbox, Outcome]) -> Outcome | None:
    """What speaks of the server, where anything does."""
    for outcome in outcomes.values():
        if outcome.permanence is Permanence.TEMPORARY and outcome.scope is Scope.HOST:
            return outcome
    return None


async def _signed(secret: bytes, told: dict[str, str], content: Content) -> str:
    """The signature, for which the content is read once more than it is sent."""
    whole = webhook_request.digest(secret, told)
    async for chunk in content.chunks():
        whole.update(chunk)
    return webhook_request.signature(whole)


class HookSecret:
    """The secret of one web hook, to be made when its settings have just been read; it is read again when its file
    changes.  What cannot be used changes nothing, and the log says why, once each time."""

    def __init__(self, settings: WebhookSettings, clock: Any, wall_clock: WallClock) -> None:
        self._secret = None if settings.secret is None else settings.secret.value
        self._path = settings.secret_file
        self._file = None if self._path is None else WatchedFile(self._path, clock, wall_clock)

    def now(self) -> bytes | None:
        """What to sign with, None for nothing.  Looks at the file, at most once a second."""
        if self._file is not None:
            self._file.take(self._read, self._complain)
        return None if self._secret is None else self._secret.encode()

    def _read(self, octets: bytes) -> None:
        secret = password_in(octets)
        if not secret:
            self._complain(f"{self._path}: expected the secret in its first line")
        elif secret != self._secret:
            self._secret = secret
            _log.info("{path} has another secret, which counts from now on", path=self._path)

    def _complain(self, why: str) -> None:
        _log.error("{why}; the secret stays as it was", why=why)
