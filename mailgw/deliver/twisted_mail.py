"""Anything that provides ``twisted.mail.interfaces.IMessageDelivery`` or ``IMessageDeliveryFactory``, as a backend.

Rules:
    It is asked as Twisted's own server asks it: for one message ``getMessageDelivery`` (of a factory) and
    ``validateFrom``, ``validateTo`` for each recipient, then of each the message and its ``receivedHeader``, then each
    line to all, then ``eomReceived`` of all, which are waited for together.  Deferreds and coroutines are waited for
    everywhere.
    What of ``twisted.mail.smtp``'s errors it raises has a code, and that becomes the answer; whatever else it raises is
    temporary, and told in the log.
    A message that did not get all of its content, that was cut off, or whose end failed, is told ``connectionLost``.
What is not as there, since mail is queued first: ``docs/backends.rst``.

``twisted.mail.smtp`` imports the global reactor, so it is imported only when such a backend is made.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import CancelledError, Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.deliver.reencoding import fitted, unfit_outcome
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType, path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Scope, delivered, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.wire.reencode import Unfit

log = Logger()

CONCURRENCY = 20
"""Of one that has no ``concurrency`` of its own, which no contract asks it for."""
AT_ONCE = 100
"""Recipients whose messages are open at the same time: each may be a file."""
CALLS_IN_A_STEP = 2000
"""Lines handed over before others have their turn in the reactor."""

_CUT_OFF = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.RECIPIENT, "")


@implementer(IDeliveryBackend)
class TwistedMailBackend(MultiService):
    """``thing`` is theirs, ``name`` what they call it; ``hostname`` is ours.  Where it is a service, it is started and
    stopped with the gateway."""

    def __init__(self, thing: Any, name: str, hostname: str, reactor: IReactorTime) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted has no types there
        from twisted.mail import smtp

        self._smtp: Any = smtp
        self._thing = thing
        self._hop = name
        self._session = Session(hostname.encode())
        self._reactor = reactor
        wanted = getattr(thing, "concurrency", None)
        self.concurrency = wanted if type(wanted) is int and wanted > 0 else CONCURRENCY
        if IService.providedBy(thing):
            thing.setServiceParent(self)  # type: ignore[no-untyped-call] # Twisted's

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        """What ``validateTo`` says, of whom the sender is not known."""
        try:
            user = self._user(recipient, (b"", b""), self._smtp.Address(b""))
            await maybeDeferred((await self._delivery()).validateTo, user)
        except self._smtp.SMTPError as fault:
            reply = reply_of(fault, AT_RCPT)
            if reply is None:
                raise
            return reply
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says: cut off, it says what it knows."""
        if message.body_type is BodyType.BINARY:
            # Bare CR and LF in it would be no line ends to some and some to others.
            fitting = await fitted(message, BodyType.EIGHT_BIT)
            if isinstance(fitting, Unfit):
                return dict.fromkeys(recipients, unfit_outcome(fitting, self._hop))
            message = fitting
        known: dict[Mailbox, Outcome] = {}
        try:
            delivery = await self._delivery()
            helo = (message.helo.encode("utf-8", "replace"), message.peer.encode("utf-8", "replace"))
            try:
                origin = self._address(message.reverse_path)
                origin = await maybeDeferred(delivery.validateFrom, helo, origin) or origin
            except self._smtp.SMTPError as fault:
                reply = reply_of(fault, AT_MAIL)
                if reply is None:
                    raise
                return dict.fromkeys(recipients, refused(reply, Scope.MESSAGE, self._hop, is_ours=True))
            for start in range(0, len(recipients), AT_ONCE):
                batch = recipients[start:start + AT_ONCE]
                await self._batch(message.content, batch, delivery, helo, origin, known)
                if any(known[recipient] is _CUT_OFF for recipient in batch):
                    break  # while their ends were waited for, which swallows it
        except Exception as fault:
            if all(outcome is _CUT_OFF for outcome in known.values()):
                raise
            if not isinstance(fault, CancelledError | TemporaryFault):
                log.failure("{name} failed half way", name=self._hop)
        if all(outcome is _CUT_OFF for outcome in known.values()):
            raise CancelledError
        return dict.fromkeys(recipients, _CUT_OFF) | known

    # --- whom to ask, and about whom ----------------------------------------------------------------------------

    async def _delivery(self) -> Any:
        make = getattr(self._thing, "getMessageDelivery", None)
        return self._thing if make is None else await maybeDeferred(make)

    def _address(self, path: Mailbox | None) -> Any:
        """AddressError, which has no code, where Twisted's class has no form of it."""
        return self._smtp.Address(path_text(path).encode("utf-8"), self._session.host)

    def _user(self, recipient: Mailbox, helo: tuple[bytes, bytes], origin: Any) -> Any:
        return self._smtp.User(recipient.octets(), helo, self._session, origin)

    # --- some recipients of one message -------------------------------------------------------------------------

    async def _batch(
        self, content: Content, recipients: Sequence[Mailbox], delivery: Any, helo: tuple[bytes, bytes], origin: Any,
        known: dict[Mailbox, Outcome],
    ) -> None:
        """Fills ``known``, also where it is cut off."""
        copies: list[_Copy] = []
        try:
            takers = []
            for recipient in recipients:
                try:
                    user = self._user(recipient, helo, origin)
                    takers.append((recipient, user, await maybeDeferred(delivery.validateTo, user)))
                except Exception as fault:  # noqa: BLE001 - a plug-in may raise anything
                    known[recipient] = self._failed(fault, AT_RCPT)
            for recipient, user, make in takers:
                try:
                    copy = _Copy(recipient, await maybeDeferred(make))
                except Exception as fault:  # noqa: BLE001 - the same
                    known[recipient] = self._failed(fault, AT_CONTENT)
                    continue
                copies.append(copy)
                with_fault = copy.guarded(self._failed)
                header = await maybeDeferred(delivery.receivedHeader, helo, origin, [user]).addErrback(with_fault)
                if header and copy.outcome is None:
                    copy.line(header.encode() if isinstance(header, str) else header, self._failed)
            await self._feed(content, copies)
            ends = [copy.end(self._failed) for copy in copies if copy.outcome is None]
            await DeferredList(ends, consumeErrors=True)
        finally:
            for copy in copies:
                known[copy.recipient] = copy.settled(self._hop)

    async def _feed(self, content: Content, copies: "Sequence[_Copy]") -> None:
        calls = 0
        async for line in lines(content):
            for copy in copies:
                if copy.outcome is None:
                    copy.line(line, self._failed)
            calls += len(copies)
            if calls >= CALLS_IN_A_STEP:
                calls = 0
                await deferLater(self._reactor, 0)

    def _failed(self, fault: BaseException, stage: Mapping[int, str]) -> Outcome:
        """What an exception of theirs means; CancelledError is passed on."""
        if isinstance(fault, CancelledError) or not isinstance(fault, Exception):
            raise fault
        if isinstance(fault, self._smtp.SMTPError) and (reply := reply_of(fault, stage)) is not None:
            return refused(reply, Scope.RECIPIENT, self._hop, is_ours=True)
        if not isinstance(fault, TemporaryFault):
            log.failure("{name} raised", Failure(fault), name=self._hop)  # type: ignore[no-untyped-call] # Twisted's
        why = f"{self._hop} failed ({type(fault).__name__})"
        return temporary("4.3.0", why, Scope.RECIPIENT, self._hop)


class Session:
    """What stands for Twisted's protocol in a ``User``: there is none any more, but for its name."""

    def __init__(self, host: bytes) -> None:
        self.host = host


_Failed = Callable[[BaseException, Mapping[int, str]], Outcome]


class _Copy:
    """One recipient's message of theirs.  ``outcome`` is None as long as nothing became of it."""

    def __init__(self, recipient: Mailbox, message: Any) -> None:
        self.recipient = recipient
        self.outcome: Outcome | None = None
        self._message = message
        self._end: Deferred[Any] | None = None
        self._is_taken = False

    def guarded(self, failed: _Failed) -> Callable[[Failure], None]:
        """For an errback: such a failure is this message's."""

        def note(failure: Failure) -> None:
            self._fail(failure.value, failed)

        return note

    def line(self, line: bytes, failed: _Failed) -> None:
        try:
            self._message.lineReceived(line)
        except Exception as fault:  # noqa: BLE001 - a plug-in may raise anything
            self._fail(fault, failed)

    def end(self, failed: _Failed) -> Deferred[None]:
        """When it has said what became of it."""

        def taken(_: object) -> None:
            self._is_taken = True

        self._end = maybeDeferred(self._message.eomReceived)
        return self._end.addCallbacks(taken, self.guarded(failed))

    def settled(self, name: str) -> Outcome:
        """What became of it by now; where nothing did, it is cut off."""
        if self._is_taken:
            return delivered(Reply(250, "2.0.0", (f"Taken by {name}",)), name)
        if self.outcome is None:
            self.outcome = _CUT_OFF
            if self._end is not None:
                self._end.cancel()
            self._lose()
        return self.outcome

    def _fail(self, fault: BaseException | None, failed: _Failed) -> None:
        if self.outcome is None and fault is not None:
            self.outcome = failed(fault, AT_CONTENT)
            self._lose()

    def _lose(self) -> None:
        try:
            self._message.connectionLost()
        except Exception as fault:  # noqa: BLE001 - it was told, and that is all
            log.warn("connectionLost of {kind} raised {why}", kind=type(self._message).__name__, why=repr(fault))


async def lines(content: Content) -> AsyncIterator[bytes]:
    """Without their CRLF, the last one whether it has one or not."""
    rest = b""
    async for chunk in content.chunks():
        *whole, rest = (rest + chunk).split(b"\r\n")
        for line in whole:
            yield line
    if rest:
        yield rest


# --- their errors -------------------------------------------------------------------------------------------------

# RFC 3463 and RFC 5248: what a code without a status most likely means, at each stage.
_ALWAYS = {
    421: "4.3.2", 450: "4.2.0", 451: "4.3.0", 452: "4.3.1", 454: "4.7.0", 455: "4.5.4",
    500: "5.5.2", 501: "5.5.4", 502: "5.5.1", 503: "5.5.1", 504: "5.5.4", 521: "5.3.2", 530: "5.7.0", 535: "5.7.8",
    551: "5.1.6", 552: "5.2.2", 555: "5.5.4", 556: "5.1.10",
}
AT_MAIL: Mapping[int, str] = {**_ALWAYS, 550: "5.7.1", 553: "5.1.7"}
AT_RCPT: Mapping[int, str] = {**_ALWAYS, 550: "5.1.1", 553: "5.1.3"}
AT_CONTENT: Mapping[int, str] = {**_ALWAYS, 550: "5.7.1", 552: "5.3.4", 553: "5.1.3", 554: "5.6.0"}

_STATUS = re.compile(r"([45]\.[0-9]{1,3}\.[0-9]{1,3})\s+")
_MAX_LINES = 10


def reply_of(fault: Any, stage: Mapping[int, str]) -> Reply | None:
    """What an ``SMTPError`` answers; None where it has no code that is a refusal (a connection that failed)."""
    code, words = getattr(fault, "code", None), getattr(fault, "resp", b"")
    if type(fault).__name__ == "AddressError":
        # RFC 6531 s3.5, RFC 3463 s3.2: Twisted's addresses are ASCII, and have no odd quotes.
        return Reply(553, stage[553], ("The address has no form that this service knows",))
    if type(code) is not int or not 400 <= code < 600:
        return None
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    status = stage.get(code, f"{code // 100}.0.0")
    if (said := _STATUS.match(text)) is not None and said[1][0] == str(code)[0]:
        status, text = said[1], text[said.end():]
    told = ["".join(c if c.isprintable() else "?" for c in line) for line in text.splitlines() if line.strip()]
    return Reply(code, status, tuple(told[:_MAX_LINES]) or ("Refused",))
