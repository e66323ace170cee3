"""Reports by DMARC to the domains that mail said it was from: counted all day, sent after midnight UTC (RFC 9990).

Rules:
    To count a message takes no question and no wait: who gets reports is asked when its day is over.
    Reports go by mail alone, one message to each address that wants one (``trust.dmarc_destinations``), within the size
    that its record has behind it, and ours.
    A report is sent to an address once it is in our queue, which tries on as for any mail.  An address of which DNS
    says nothing, or that has no route now, is tried again; those that have the report by then get it once, but for a
    restart in between, after which they may get it again, under the same name.
    Mail that brings reports of others is counted as any: RFC 9990 makes no exception, and one report a day is the most
    that two who report to each other send.  What we send ourselves nobody judges here.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import attrs
from twisted.internet.interfaces import IReactorTime

from mailgw.deliver.daily_reports import DailyReports, Mailer, Memory
from mailgw.deliver.dmarc_report_settings import DmarcReportSettings
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.trust.dmarc import organizational_domain
from mailgw.trust.dmarc_destinations import destinations
from mailgw.trust.dmarc_record import ReportAddress
from mailgw.trust.dmarc_report import DmarcReport, dmarc_report, report_message
from mailgw.trust.dmarc_tallies import Counted, DmarcTally, Tallies
from mailgw.trust.report_days import day_text

TALLY_OCTETS = 16 * 1024 * 1024
# RFC 7489's sizes are obsolete (RFC 9989 s4.8, obs-dmarc-uri).  One that is meant is kept to, more would come back;
# one in which hardly a row fits would mean no report, ever.
LEAST_OCTETS = 10 * 1024

# Messages with reports on one day, to all addresses of all domains that belong together, and to everybody.  A record
# names four, and names below a domain may have a record each: 30 mails would make 120.
ORGANIZATION_REPORTS = 20
DAY_REPORTS = 10_000
DAYS = 10  # whose numbers are known, beside the one that is looked at; a day is reported for no longer

T = TypeVar("T")


class Aside(Protocol):
    """``store.state_file.Workshop``: where work is done that takes long."""

    def do(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]: ...


@attrs.define
class _Course:
    """How far a report has come: who has it, and what was said of those who never will."""

    sent: set[Mailbox] = attrs.Factory(set)
    refused: dict[str, None] = attrs.Factory(dict)
    is_kept: bool = False


def _tallies(kept: Tallies | None) -> Tallies:
    return Tallies(TALLY_OCTETS) if kept is None else kept


class DmarcReports:
    """``chance`` gives numbers from 0 to 1."""

    name = "reports by DMARC"

    def __init__(
        self,
        settings: DmarcReportSettings,
        resolver: Resolver,
        mailer: Mailer,
        aside: Aside,
        memory: Memory[Counted, Tallies],
        journal: Journal,
        clock: IReactorTime,
        wall_clock: WallClock,
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._resolver = resolver
        self._mailer = mailer
        self._aside = aside
        self._journal = journal
        self._now = wall_clock
        self._courses: dict[tuple[int, str], _Course] = {}
        self._sent: dict[int, Counter[str]] = {}  # messages of a day, by organizational domain
        self._daily = DailyReports(
            self, _tallies, memory, settings.keep_seconds, journal, clock, wall_clock, chance
        )
        self.count = self._daily.note
        self.start = self._daily.start
        self.stop = self._daily.stop

    async def sent(self, tally: DmarcTally) -> str | None:
        """``daily_reports.Kind``."""
        course = self._courses.setdefault((tally.day, tally.domain), _Course())
        found = await destinations(tally.domain, tally.record, self._resolver)
        course.refused.update(dict.fromkeys(found.refused))
        faults = list(found.unknown)
        reports: dict[int, DmarcReport | None] = {}
        organization = await organizational_domain(tally.domain, self._resolver) if found.addresses else ""
        for address in found.addresses:
            if address.mailbox in course.sent:
                continue
            why = self._over(tally.day, organization)
            if why:
                course.refused[f"{address.mailbox}: {why}"] = None
                continue
            limit = self._limit(address)
            if limit not in reports:
                reports[limit] = await self._aside.do(dmarc_report, self._settings.reporter, tally, limit)
            report = reports[limit]
            if report is None:
                course.refused[f"{address.mailbox}: no report fits into {limit} octets"] = None
                continue
            try:
                await self._send(report, address.mailbox)
            except TemporaryFault as fault:
                faults.append(fault.why)
                continue
            course.sent.add(address.mailbox)
            # It is in the queue by now: whatever others' looks at other days forgot meanwhile is no reason to fail.
            self._sent.setdefault(tally.day, Counter())[organization] += 1
            if not course.is_kept:
                course.is_kept = True
                await self._daily.keep(report.file_name, report.content)
        if faults:
            return "; ".join(faults)
        del self._courses[tally.day, tally.domain]
        if course.refused:
            self._note_failed(tally.day, tally.domain, course, (), is_final=True)
        return None

    def failed(self, day: int, domain: str, why: str, is_final: bool) -> None:
        """``daily_reports.Kind``."""
        course = self._courses.get((day, domain), _Course())
        if is_final:
            self._courses.pop((day, domain), None)
        self._note_failed(day, domain, course, (why,), is_final)

    def _over(self, day: int, organization: str) -> str:
        """Why nobody gets one more report on that day, "" where one may."""
        sent = self._sent.setdefault(day, Counter())
        for other in sorted(self._sent)[:-DAYS]:
            if other != day:  # which may be the oldest, where the clock was put back
                del self._sent[other]
        if sent[organization] >= ORGANIZATION_REPORTS:
            return f"{ORGANIZATION_REPORTS} reports on {organization} and what is below it are the most of one day"
        if sent.total() >= DAY_REPORTS:
            return f"{DAY_REPORTS} reports are the most of one day"
        return ""

    def _limit(self, address: ReportAddress) -> int:
        ours = self._settings.report_octets
        return ours if address.most_octets is None else min(ours, max(LEAST_OCTETS, address.most_octets))

    async def _send(self, report: DmarcReport, to: Mailbox) -> None:
        """TemporaryFault where it is not in the queue."""
        octets = await self._aside.do(report_message, self._settings.reporter, report, [to], self._now())
        queue_id = await self._mailer.mail(octets, self._settings.reporter.reporter.contact, [to])
        self._journal.note(fact.DmarcReported(
            report.domain, day_text(report.day), report.id, str(to), queue_id, report.rows, report.messages,
            report.left_out,
        ))

    def _note_failed(self, day: int, domain: str, course: _Course, why: tuple[str, ...], is_final: bool) -> None:
        words = "; ".join((*why, *course.refused))
        self._journal.note(fact.DmarcReportFailed(domain, day_text(day), words, is_final))
