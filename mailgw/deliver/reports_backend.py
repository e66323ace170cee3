"""The backend that reads reports: DMARC's and TLSRPT's, parsed out of the mail that brings them, and kept.

Rules:
    Delivered is what is on disk.  A repeat, by a crash or by the reporter, adds nothing (``store.reports``).
    No mail is lost here: what holds no report that can be read goes to ``others``, or back to its sender, in the
    transaction where that can be, since the addresses are in everybody's DNS, and spam would else make bounces to whom
    it forged.  What looked like a report is told in the journal.
    Reading and keeping is for one thread, whose time is bounded by the limits of ``trust.reports_in``: far less is read
    of a sender whom DMARC does not vouch for.  It pauses after each piece, so that the reactor never waits for it long.
    What was read in the transaction is not read again for its delivery, where it is not large.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailgw.deliver.attempt import attempt
from mailgw.deliver.refusal import refusal
from mailgw.deliver.reports_settings import ReportsSettings
from mailgw.interfaces import IDeliveryBackend, ITransactionalBackend
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.beginning import first_octets
from mailgw.mail.event import Event
from mailgw.mail.header import header_end
from mailgw.mail.letter import LetterLimits, parse_letter
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.reply import Reply
from mailgw.store.reports import Bearer, Kept
from mailgw.trust.dmarc_report_in import KNOWN, STRANGERS, DmarcReportIn, Room
from mailgw.trust.read_back import field_on_top, read_back
from mailgw.trust.report_sender import ReportSender, report_sender
from mailgw.trust.reports_in import Opened, ReportIn, reports_of

CONCURRENCY: Final = 4
LIMITS: Final = LetterLimits(octets=24 * 1024 * 1024, parts=50, depth=5)
"""Of the message: an archive as large as is read, in base64."""
LARGE_OCTETS: Final = 1024 * 1024
"""Above this, one is in memory at a time."""
KNOWN_READINGS: Final = 16
"""Of messages that wait for their delivery: what was read of them is remembered, the last ones."""
KNOWN_ROWS: Final = 5000
"""A reading with more is not remembered."""
PAUSE_SECONDS: Final = 0.0005
"""After some KiB of XML, which take a little longer themselves."""
HOP: Final = "reports"
_MOST_WORDS: Final = 300

log = Logger()

_KEPT = delivered(Reply(250, "2.0.0", ("Reports kept",)), HOP)


class Book(Protocol):
    """``store.reports.ReportBook``."""

    def keep(
        self, reports: Sequence[ReportIn], bearer: Bearer, keep_seconds: float, most_octets: int
    ) -> list[Kept]: ...


@attrs.frozen
class _Read:
    """What a message comes to."""

    opened: Opened
    sender: ReportSender

    @property
    def rows(self) -> int:
        return sum(
            len(one.rows) if isinstance(one, DmarcReportIn) else sum(1 + len(policy.details) for policy in one.policies)
            for one in self.opened.reports
        )


@implementer(ITransactionalBackend)
class ReportsBackend:
    """``others``: the backend of that name; ``authserv_id``: our own (RFC 8601 s2.5).  ``pool`` is its owner's, and has
    one thread."""

    def __init__(
        self,
        settings: ReportsSettings,
        others: IDeliveryBackend | None,
        book: Book,
        authserv_id: str,
        reactor: Any,
        pool: ThreadPool,
        note: Callable[[Event], None],
    ) -> None:
        self.concurrency = CONCURRENCY if others is None else min(CONCURRENCY, others.concurrency)
        self._settings = settings
        self._others = others
        self._book = book
        self._authserv_id = authserv_id
        self._reactor = reactor
        self._pool = pool
        self._note = note
        self._large = DeferredLock()
        self._known: dict[str, _Read] = {}

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        """What ``others`` would say: nobody knows yet what the message is."""
        if self._others is None:
            return None
        return await refusal(self._settings.others or "", self._others, recipient, self._note)

    async def in_transaction(self, message: Message, recipient: Mailbox) -> Outcome | None:
        """A refusal, if there is to be one; what is a report comes by the queue."""
        if self._others is not None:
            return None
        read = await self._read(message)
        if read.opened.reports:
            self._remember(message.queue_id, read)
            return None
        self._tell_faults(message, read)
        if read.opened.is_beyond and read.sender.dmarc == "temperror":
            # Whoever it is may have as much read once DNS says who that is; from the queue on nobody asks again.
            return temporary("4.7.0", "It is too large while DNS does not say who sent it", Scope.MESSAGE, HOP)
        return self._refused(read)

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        read = self._known.pop(message.queue_id, None) or await self._read(message)
        reports = read.opened.reports
        if not reports:
            self._tell_faults(message, read)
            if self._others is not None:
                return await self._by_others(self._others, message, recipients)
            return dict.fromkeys(recipients, self._refused(read))
        bearer = Bearer(message.queue_id, message.arrived, read.sender)
        try:
            kept = await deferToThreadPool(
                self._reactor, self._pool, self._book.keep, reports, bearer, self._settings.keep_seconds,
                self._settings.most_octets,
            )
        except (sqlite3.Error, OSError) as fault:
            log.warn("reports cannot be kept, their mail waits: {why}", why=str(fault))
            why = f"Reports cannot be kept ({type(fault).__name__})"
            return dict.fromkeys(recipients, temporary("4.3.0", why, Scope.HOST, HOP))
        self._tell_faults(message, read)
        for one, there in zip(reports, kept, strict=True):
            self._note(_fact(message, one, there, read.sender))
        return dict.fromkeys(recipients, _KEPT)

    async def _by_others(
        self, others: IDeliveryBackend, message: Message, recipients: Sequence[Mailbox]
    ) -> Mapping[Mailbox, Outcome]:
        lanes: dict[str, list[Mailbox]] = {}
        for one in recipients:
            lanes.setdefault(others.lane(one), []).append(one)
        found: dict[Mailbox, Outcome] = {}
        for group in lanes.values():
            found |= await attempt(self._settings.others or "", others, message, group, self._note)
        # Trouble of theirs is none of what keeps reports.
        return {
            one: outcome if outcome.is_delivered else attrs.evolve(outcome, scope=Scope.MESSAGE)
            for one, outcome in found.items()
        }

    async def _read(self, message: Message) -> _Read:
        """TemporaryFault where the disk fails."""
        content = message.content
        if content.size_octets <= LARGE_OCTETS:
            return await self._read_in_thread(message, await _octets(content))
        await self._large.acquire()
        try:
            return await self._read_in_thread(message, await _octets(content))
        finally:
            self._large.release()

    async def _read_in_thread(self, message: Message, octets: bytes) -> _Read:
        def read() -> _Read:
            letter = parse_letter(octets, LIMITS, message.content.size_octets)
            end = header_end(octets[:LIMITS.header_octets])
            header = octets[:end if end >= 0 else LIMITS.header_octets]
            sender = report_sender(header, read_back(message, field_on_top(octets), self._authserv_id))
            limits = KNOWN if sender.is_trusted else STRANGERS
            return _Read(reports_of(letter, Room(limits, _pause)), sender)

        return await deferToThreadPool(self._reactor, self._pool, read)

    def _remember(self, queue_id: str, read: _Read) -> None:
        if read.rows <= KNOWN_ROWS:
            self._known[queue_id] = read
            while len(self._known) > KNOWN_READINGS:
                del self._known[next(iter(self._known))]

    def _tell_faults(self, message: Message, read: _Read) -> None:
        if read.opened.faults:
            why = "; ".join(read.opened.faults)[:_MOST_WORDS]
            self._note(fact.ReportUnread(message.queue_id, read.sender.domain, read.sender.is_trusted, why))

    def _refused(self, read: _Read) -> Outcome:
        faults = "; ".join(read.opened.faults)[:_MOST_WORDS]
        why = "No report of DMARC or TLS is in it" if not faults else f"No report in it can be read: {faults}"
        # RFC 3463 s3.7: x.6.0, other or undefined media error
        words = f"{why}. This address takes such reports alone, and nobody reads them: please write to postmaster."
        reply = why if faults else f"{why}; people write to postmaster"
        reply = "".join([c if c.isascii() and c.isprintable() else "?" for c in reply])
        return attrs.evolve(permanent("5.6.0", reply, Scope.MESSAGE, HOP), words=words)


def _pause() -> None:
    """Who holds the interpreter gives it away for a moment.  To lower the thread's priority was left: it would hold it
    longer."""
    time.sleep(PAUSE_SECONDS)


async def _octets(content: Content) -> bytes:
    """All of it; of what is too large to be read more than its header."""
    is_read = content.size_octets <= LIMITS.octets
    return await first_octets(content, content.size_octets if is_read else LIMITS.header_octets + 1)


def _fact(message: Message, report: ReportIn, kept: Kept, sender: ReportSender) -> Event:
    domains: tuple[str, ...]
    if isinstance(report, DmarcReportIn):
        kind, domains, count = "dmarc", (report.domain,), sum(one.count for one in report.rows)
        failures = sum(one.count for one in report.rows if not one.passes)
    else:
        kind, domains = "tls", tuple(dict.fromkeys(one.domain for one in report.policies))
        failures = sum(one.failures for one in report.policies)
        count = failures + sum(one.successes for one in report.policies)
    return fact.ReportKept(
        message.queue_id, kept.id, kind, report.organization, report.report_id, domains, sender.domain,
        sender.is_trusted, kept.is_new, count, failures,
    )
