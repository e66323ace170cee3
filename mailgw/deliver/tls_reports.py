"""Reports on TLS to the domains that mail went to: counted all day, sent after midnight UTC (RFC 8460).

Rules:
    A domain that asks for no reports gets none, and what was counted for it is forgotten when its day is over.  Nor
    does one hear that its policy could not be fetched where no session followed: to send a report asks for the
    policy, too, so a report on that would follow every report.
    A report is sent once anybody whom the domain named has it: by mail, that is when it is in our queue, which tries
    on as for any mail.
    Reports are posted to public addresses alone: what a stranger names may be within our own network.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime

from mailgw.deliver.daily_reports import DailyReports, Mailer, Memory
from mailgw.deliver.tls_report_settings import TlsReportSettings
from mailgw.mail import event as fact
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.mail.tls_result import TlsResult
from mailgw.trust import tlsrpt
from mailgw.trust.report_days import day_text
from mailgw.trust.tls_report import TlsReport, report_message, tls_report
from mailgw.trust.tls_tallies import DomainTally, Tallies
from mailgw.trust.tlsrpt import Destinations

TALLY_OCTETS: Final = 16 * 1024 * 1024

Post = Callable[[str, bytes], Awaitable[None]]
"""Posts a report (gzip) to an https URL; returns once it was taken.  TemporaryFault where it was not."""


class TlsReports:
    """``chance`` gives numbers from 0 to 1."""

    name = "reports on TLS"

    def __init__(
        self,
        settings: TlsReportSettings,
        resolver: Resolver,
        mailer: Mailer,
        post: Post,
        memory: Memory[TlsResult, Sequence[DomainTally]],
        journal: Journal,
        clock: IReactorTime,
        wall_clock: WallClock,
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._mailer = mailer
        self._post = post
        self._journal = journal
        self._now = wall_clock
        self._tallies: Tallies | None = None
        self._daily = DailyReports(
            self, self._begin, memory, settings.keep_seconds, journal, clock, wall_clock, chance
        )
        self.note = self._daily.note
        self.start = self._daily.start
        self.stop = self._daily.stop

    @property
    def tallies(self) -> Sequence[DomainTally]:
        return self._tallies.all() if self._tallies is not None else ()

    def _begin(self, kept: Sequence[DomainTally] | None) -> Tallies:
        self._tallies = Tallies(TALLY_OCTETS, kept or ())
        return self._tallies

    async def sent(self, tally: DomainTally) -> str | None:
        """``daily_reports.Kind``."""
        records = await self._resolver.text(tlsrpt.record_name(tally.domain))
        wanted = tlsrpt.destinations(records.items)
        if not wanted or not tally.has_sessions:
            return None
        report = tls_report(self._settings.reporter, self._settings.unique, tally)
        taken, queue_id, faults = await self._brought(report, tally, wanted)
        if not taken:
            return "; ".join(faults)
        self._journal.note(
            fact.TlsReported(
                tally.domain, day_text(tally.day), report.id, tuple(taken), queue_id,
                sum(one.successes for one in tally.policies), sum(one.failures for one in tally.policies),
            )
        )
        if faults:
            self.failed(tally.day, tally.domain, "; ".join(faults), is_final=True)
        await self._daily.keep(report.file_name, report.content)
        return None

    def failed(self, day: int, domain: str, why: str, is_final: bool) -> None:
        """``daily_reports.Kind``."""
        self._journal.note(fact.TlsReportFailed(domain, day_text(day), why, is_final))

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
