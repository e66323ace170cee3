"""Reports on TLS to the domains that mail went to: counted all day, sent after midnight UTC (RFC 8460).

Rules:
    A domain that asks for no reports gets none, and what was counted for it is forgotten when its day is over.  Nor
    does one hear that its policy could not be fetched where no session followed: to send a report asks for the
    policy, too, so a report on that would follow every report.
    Reports go out within ``SPREAD_SECONDS`` after midnight, each at a moment of its own (s4.1): who gets reports from
    many gets them one by one.
    A report is sent once anybody whom the domain named has it: by mail, that is when it is in our queue, which tries
    on as for any mail.  Where nobody takes it, it is tried again for ``RETRY_SECONDS`` (s5.5), and then given up.
    Reports are posted to public addresses alone: what a stranger names may be within our own network.
    Nothing here stands in the way of mail: trouble is a fact in the journal.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.deliver.tls_report_settings import TlsReportSettings
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.header import civil_date
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.mail.tls_result import TlsResult
from mailgw.net.tasks import TaskGroup
from mailgw.trust import tlsrpt
from mailgw.trust.tls_report import TlsReport, report_message, tls_report
from mailgw.trust.tls_tallies import DAY_SECONDS, DomainTally, Tallies, day_of
from mailgw.trust.tlsrpt import Destinations

TALLY_OCTETS: Final = 16 * 1024 * 1024
# Results that come before the tallies of an earlier process have been read.
EARLY_RESULTS: Final = 10_000
SPREAD_SECONDS: Final = 4 * 3600.0  # s4.1 has the same in its example
RETRY_SECONDS: Final = 86_400.0
FIRST_WAIT_SECONDS: Final = 900.0  # and twice as long each time
LONGEST_WAIT_SECONDS: Final = 4 * 3600.0
# After a long stop: what is older is of no use to anybody.
OLDEST_SECONDS: Final = 7 * 86_400.0
LOOK_SECONDS: Final = 60.0
FIRST_LOOK_SECONDS: Final = 5.0  # after a start, which has better things to do first
AT_ONCE: Final = 4

_log = Logger()

Post = Callable[[str, bytes], Awaitable[None]]
"""Posts a report (gzip) to an https URL; returns once it was taken.  TemporaryFault where it was not."""


class Mailer(Protocol):
    """The way into our own queue."""

    async def mail(self, octets: bytes, reverse_path: Mailbox, recipients: Sequence[Mailbox]) -> str:
        """Commit a message; its queue id.  TemporaryFault where that fails, or a recipient has no route."""


class Memory(Protocol):
    """What survives a restart (``store``)."""

    async def read(self) -> Sequence[DomainTally]:
        """What was counted; () where there is nothing that can be read."""

    def changed(self) -> None:
        """``TlsReports.tallies`` are others now."""

    async def keep(self, file_name: str, octets: bytes) -> None:
        """Keep a report that was sent.  OSError where the disk refuses."""

    async def prune(self, oldest: float) -> None:
        """Forget reports of days that ended before ``oldest`` (epoch seconds).  OSError where the disk refuses."""


@attrs.define
class _Plan:
    """When a report is due (epoch seconds); ``first`` when it was first tried, None before that.

    ``is_under_way``: in line, or being sent.
    """

    due: float
    first: float | None = None
    attempts: int = 0
    is_under_way: bool = False


class TlsReports:
    """``chance`` gives numbers from 0 to 1."""

    def __init__(
        self,
        settings: TlsReportSettings,
        resolver: Resolver,
        mailer: Mailer,
        post: Post,
        memory: Memory,
        journal: Journal,
        clock: IReactorTime,
        wall_clock: WallClock,
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._mailer = mailer
        self._post = post
        self._memory = memory
        self._journal = journal
        self._clock = clock
        self._now = wall_clock
        self._chance = chance
        self._tallies: Tallies | None = None
        self._early: list[tuple[TlsResult, int]] = []
        self._plans: dict[tuple[int, str], _Plan] = {}
        self._due: deque[tuple[tuple[int, str], _Plan]] = deque()
        self._workers = 0
        self._pruned = 0
        self._tasks = TaskGroup(self._trouble)
        self._timer: IDelayedCall | None = None

    @property
    def tallies(self) -> Sequence[DomainTally]:
        return self._tallies.all() if self._tallies is not None else ()

    def note(self, result: TlsResult) -> None:
        """Count a session, or a policy that could not be learned."""
        day = day_of(self._now())
        if self._tallies is not None:
            self._tallies.count(result, day)
            self._memory.changed()
        elif len(self._early) < EARLY_RESULTS:
            self._early.append((result, day))

    def start(self) -> None:
        self._tasks.spawn("reading what was counted of TLS", self._read())
        self._timer = self._clock.callLater(FIRST_LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Give up what is under way: it is tried again after the next start."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._tasks.cancel()

    async def _read(self) -> None:
        kept: Sequence[DomainTally] = ()
        try:
            kept = await self._memory.read()
        finally:
            self._tallies = Tallies(TALLY_OCTETS, kept)
            early, self._early = self._early, []
            for result, day in early:
                self._tallies.count(result, day)

    # --- when -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        now = self._now()
        tallies = self._tallies
        if tallies is None:
            return
        today = day_of(now)
        if self._pruned != today:
            self._pruned = today
            self._tasks.spawn("removing old reports", self._prune(now))
        for key in tallies.closed(today):
            end = (key[0] + 1) * DAY_SECONDS
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = _Plan(end + self._chance() * SPREAD_SECONDS)
            if plan.is_under_way or now < plan.due:
                continue
            if now - end > OLDEST_SECONDS:
                self._failed(key, "it is too old by now", is_final=True)
            else:
                plan.is_under_way = True
                self._due.append((key, plan))
        for _ in range(min(AT_ONCE - self._workers, len(self._due))):
            self._tasks.spawn("reports on TLS", self._work())

    async def _work(self) -> None:
        self._workers += 1
        try:
            while self._due:
                await self._report(*self._due.popleft())
        finally:
            self._workers -= 1

    async def _prune(self, now: float) -> None:
        try:
            await self._memory.prune(now - self._settings.keep_seconds)
        except OSError as fault:
            _log.warn("old reports on TLS cannot be removed: {why}", why=fault.strerror or str(fault))

    # --- one report -------------------------------------------------------------------------------------

    async def _report(self, key: tuple[int, str], plan: _Plan) -> None:
        plan.due = self._now() + LONGEST_WAIT_SECONDS  # after a bug of ours
        try:
            why = await self._sent(*key)
        except TemporaryFault as fault:
            why = fault.why
        finally:
            plan.is_under_way = False
        if why is None:
            self._forget(key)
            return
        now = self._now()
        plan.first = now if plan.first is None else plan.first
        wait = min(FIRST_WAIT_SECONDS * 2 ** min(plan.attempts, 10), LONGEST_WAIT_SECONDS)
        plan.attempts += 1
        plan.due = now + wait
        self._failed(key, why, is_final=plan.due > plan.first + RETRY_SECONDS)

    async def _sent(self, day: int, domain: str) -> str | None:
        """None once the report is with somebody, or nobody wants it; else why it is not.  TemporaryFault likewise."""
        tally = self._tallies.tally(day, domain) if self._tallies is not None else None
        records = await self._resolver.text(tlsrpt.record_name(domain))
        wanted = tlsrpt.destinations(records.items)
        if tally is None or not wanted or not tally.has_sessions:
            return None
        report = tls_report(self._settings.reporter, self._settings.unique, tally)
        taken, queue_id, faults = await self._brought(report, tally, wanted)
        if not taken:
            return "; ".join(faults)
        self._journal.note(
            fact.TlsReported(
                domain, _date(day), report.id, tuple(taken), queue_id,
                sum(one.successes for one in tally.policies), sum(one.failures for one in tally.policies),
            )
        )
        if faults:
            self._journal.note(fact.TlsReportFailed(domain, _date(day), "; ".join(faults), True))
        try:
            await self._memory.keep(report.file_name, report.content)
        except OSError as fault:
            _log.warn("a report on TLS cannot be kept: {why}", why=fault.strerror or str(fault))
        return None

    async def _brought(
        self, report: TlsReport, tally: DomainTally, wanted: Destinations
    ) -> tuple[list[str], str, list[str]]:
        """Who took the report, the queue id of the message where there is one, and why others did not."""
        taken: list[str] = []
        faults: list[str] = []
        queue_id = ""
        contact = self._settings.reporter.contact
        if wanted.mailboxes:
            octets = report_message(self._settings.reporter, report, tally, wanted.mailboxes, self._now())
            try:
                queue_id = await self._mailer.mail(octets, contact, wanted.mailboxes)
                taken += map(str, wanted.mailboxes)
            except TemporaryFault as fault:
                faults.append(fault.why)
        for url in wanted.urls:
            try:
                await self._post(url, report.content)
                taken.append(url)
            except TemporaryFault as fault:
                faults.append(fault.why)
        return taken, queue_id, faults

    def _failed(self, key: tuple[int, str], why: str, is_final: bool) -> None:
        day, domain = key
        self._journal.note(fact.TlsReportFailed(domain, _date(day), why, is_final))
        if is_final:
            self._forget(key)

    def _forget(self, key: tuple[int, str]) -> None:
        self._plans.pop(key, None)
        if self._tallies is not None:
            self._tallies.remove(*key)
            self._memory.changed()

    def _trouble(self, what: str, failure: Failure) -> None:
        _log.failure("{what} failed", failure=failure, what=what)
        self._journal.note(fact.Trouble(what, type(failure.value).__name__, "", ""))


def _date(day: int) -> str:
    year, month, date = civil_date(day)
    return f"{year:04}-{month:02}-{date:02}"
