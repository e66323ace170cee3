"""The inbox: mail ends here to be looked at, and goes nowhere.

``InboxBackend`` keeps what is brought to it (``store.captured``); ``CapturingBackend`` has another backend deliver, and
keeps a copy of what that delivered.

Rules:
    Delivered is what is on disk; of copies nothing is promised: their trouble is told in the log, and delays nobody.
    It takes everybody.  Failures that a recipient's address asks for (``mail.scripted``) are those of delivery here.
    Writing is for one thread, in groups: what is brought while one is written goes into the next one.  At most
    ``GROUP_OCTETS`` are gathered, and one message alone that is larger than ``LARGE_OCTETS`` is in memory at a time.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import directlyProvides, implementer, providedBy

from mailgw.interfaces import IDeliveryBackend, IFilesJunk, ILimitedHere
from mailgw.mail.address import Mailbox
from mailgw.mail.beginning import first_octets
from mailgw.mail.envelope import path_text
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.ports import WallClock
from mailgw.mail.reply import Reply
from mailgw.mail.scripted import Act, script_of
from mailgw.store.captured import MESSAGE_OCTETS, Bounds, Capture

T = TypeVar("T")

CONCURRENCY: Final = 16
LARGE_OCTETS: Final = 1 << 20
GROUP_OCTETS: Final = 8 << 20
GROUP: Final = 100
HOP: Final = "inbox"

log = Logger()

_KEPT = delivered(Reply(250, "2.0.0", ("Kept in the inbox",)), HOP)
_DEFERRED = temporary("4.2.0", "Deferred for ever, as the address asks", Scope.RECIPIENT, HOP)
_BOUNCED = permanent("5.2.0", "Bounced, as the address asks", Scope.RECIPIENT, HOP)


class Book(Protocol):
    """``store.captured.CapturedMail``."""

    def keep(self, captures: Sequence[Capture], bounds: Bounds) -> None: ...


@attrs.define(eq=False)
class _Waiting:
    capture: Capture
    kept: "Deferred[None]"


class Inbox:
    """One book and its thread, for all that write to it or read it in this process."""

    def __init__(self, book: Any, bounds: Bounds, reactor: Any, pool: ThreadPool) -> None:
        """``pool`` has one thread, and is its owner's; ``book`` is ``store.captured.CapturedMail``."""
        self.bounds = bounds
        self.large = DeferredLock()
        self._book = book
        self._reactor = reactor
        self._pool = pool
        self._waiting: list[_Waiting] = []
        self._is_writing = False

    async def keep(self, capture: Capture) -> None:
        """It is on disk then.  sqlite3.Error, or OSError, where it is not."""
        one = _Waiting(capture, Deferred())
        self._waiting.append(one)
        self._write()
        await one.kept

    async def ask(self, question: Callable[[Any], T]) -> T:
        """In its thread."""
        return await deferToThreadPool(self._reactor, self._pool, question, self._book)

    def _write(self) -> None:
        if self._is_writing or not self._waiting:
            return
        group: list[_Waiting] = []
        octets = 0
        while self._waiting and len(group) < GROUP and (not group or octets < GROUP_OCTETS):
            group.append(self._waiting.pop(0))
            octets += len(group[-1].capture.octets)
        self._is_writing = True
        captures = [one.capture for one in group]
        written = deferToThreadPool(self._reactor, self._pool, self._book.keep, captures, self.bounds)
        _ = written.addBoth(self._written, group)

    def _written(self, fault: Failure | None, group: list[_Waiting]) -> None:
        self._is_writing = False
        self._write()
        for one in group:
            if not one.kept.called:  # else cancelled
                if fault is None:
                    one.kept.callback(None)
                else:
                    one.kept.errback(fault)


@attrs.frozen
class Keeping:
    """How a backend keeps: under the name ``backend``."""

    inbox: Inbox
    wall_clock: WallClock
    backend: str

    async def keep(self, message: Message, recipients: Sequence[Mailbox]) -> None:
        """As ``Inbox.keep``.  TemporaryFault where the content cannot be read."""
        content = message.content
        if content.octets is not None and len(content.octets) <= LARGE_OCTETS:
            await self.inbox.keep(self._capture(message, recipients, content.octets))
            return
        await self.inbox.large.acquire()
        try:
            octets = await first_octets(content, MESSAGE_OCTETS)
            await self.inbox.keep(self._capture(message, recipients, octets))
        finally:
            self.inbox.large.release()

    def _capture(self, message: Message, recipients: Sequence[Mailbox], octets: bytes) -> Capture:
        return Capture(
            message.queue_id, tuple(map(str, recipients)), self.backend, self.wall_clock(), message.arrived,
            path_text(message.reverse_path), message.login, message.peer, message.helo, message.protocol, message.tags,
            octets, message.content.size_octets,
        )


# Junk stands there with its tag.
@implementer(ILimitedHere, IFilesJunk)
class InboxBackend:
    """``is_scripted``: recipients' addresses may ask for failures."""

    concurrency = CONCURRENCY

    def __init__(self, keeping: Keeping, is_scripted: bool) -> None:
        self._keeping = keeping
        self._is_scripted = is_scripted

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        found, others = _scripted(recipients) if self._is_scripted else ({}, recipients)
        if others:
            try:
                await self._keeping.keep(message, others)
            except (sqlite3.Error, OSError) as fault:
                log.warn("the inbox cannot be written, its mail waits: {why}", why=str(fault))
                why = f"The inbox cannot be written ({type(fault).__name__})"
                return found | dict.fromkeys(others, temporary("4.3.0", why, Scope.HOST, HOP))
        return found | dict.fromkeys(others, _KEPT)


class CapturingBackend:
    """In the place of ``inner``, whose other members and interfaces it has."""

    def __init__(self, inner: IDeliveryBackend, keeping: Keeping, is_scripted: bool) -> None:
        self.inner = inner
        self._keeping = keeping
        self._is_scripted = is_scripted
        directlyProvides(self, providedBy(inner))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        found, others = _scripted(recipients) if self._is_scripted else ({}, recipients)
        if not others:
            return found
        outcomes = await self.inner.deliver(message, others)
        had = [one for one in others if one in outcomes and outcomes[one].is_delivered]
        if had:
            try:
                await self._keeping.keep(message, had)
            except Exception as fault:  # noqa: BLE001 - it is delivered, whatever becomes of the copy
                log.warn("the inbox has no copy of {queue_id}: {why}", queue_id=message.queue_id, why=str(fault))
        return {**outcomes, **found}


def _scripted(recipients: Sequence[Mailbox]) -> tuple[dict[Mailbox, Outcome], Sequence[Mailbox]]:
    """What their addresses ask for, and the others."""
    found: dict[Mailbox, Outcome] = {}
    for one in recipients:
        script = script_of(one.local_part)
        if script is not None and script.act is Act.DEFER:
            found[one] = _DEFERRED
        elif script is not None and script.act is Act.BOUNCE:
            found[one] = _BOUNCED
    return found, [one for one in recipients if one not in found]
