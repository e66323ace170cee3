"""Puts together the reports by DMARC: what is counted, kept in the state folder, and sent by our own queue."""

import os
from collections.abc import Callable

from mailgw.config.settings import Config
from mailgw.deliver.dmarc_report_settings import DmarcReportSettings
from mailgw.deliver.dmarc_reports import TALLY_OCTETS, DmarcReports
from mailgw.mail.parameters import NO_RCPT_PARAMETERS
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.own_mail import Queue, ReportMailer
from mailgw.reporting import Reporting
from mailgw.store import dmarc_counts
from mailgw.store.dmarc_counts import DmarcCounts
from mailgw.store.sent_reports import SentReports
from mailgw.store.state_file import Workshop
from mailgw.trust.dmarc_tallies import Counted, Judged, Tallies, counted


class DmarcReporting:
    """For all listeners of a gateway.  Where no reports are configured nothing is counted, read or written."""

    def __init__(
        self,
        config: Config,
        resolver: Resolver,
        workshop: Workshop,
        journal: Journal,
        wall_clock: WallClock,
        chance: Callable[[], float],
        forward: Callable[[Counted], None] | None = None,
    ) -> None:
        """``forward``: who counts what is to be reported, None where that is done here."""
        self._settings = config.dmarc_reports
        self._forward = forward
        # RFC 9990 s3.5.2: reports have to pass DMARC themselves.  With NOTIFY=NEVER they would come from <> where the
        # next hop has no DSN (RFC 3461 s5.2.2), and SPF speak for the host's name in place of the contact's.
        self._mailer = ReportMailer(NO_RCPT_PARAMETERS)

        def made(settings: DmarcReportSettings) -> tuple[DmarcReports, _Memory]:
            memory = _Memory(os.path.join(config.state, dmarc_counts.FOLDER), workshop)
            return DmarcReports(
                settings, resolver, self._mailer, workshop, memory, journal, workshop.reactor, wall_clock, chance
            ), memory

        self._reporting = Reporting(self._settings if forward is None else None, made)

    def count(self, judged: Judged) -> None:
        """Take a message that DMARC judged."""
        found = counted(judged) if self._settings is not None else None
        if found is None:
            return
        if self._forward is not None:
            self._forward(found)
        else:
            self.note(found)

    def note(self, one: Counted) -> None:
        """Count what another process forwards."""
        if self._reporting.reports is not None:
            self._reporting.reports.count(one)

    def start(self, queue: Queue) -> None:
        """``queue`` takes the reports."""
        self._mailer.queue = queue
        self._reporting.start()

    async def renew(self, config: Config, queue: Queue) -> None:
        """Another configuration, with the same state folder; what is counted stays."""
        self._mailer.queue = queue
        self._settings = config.dmarc_reports
        if self._forward is None:
            await self._reporting.renew(self._settings)

    async def close(self) -> None:
        """Once no message is under way: keep what is counted."""
        await self._reporting.close()


class _Memory:
    """``deliver.daily_reports.Memory`` on the folder of reports."""

    def __init__(self, folder: str, workshop: Workshop) -> None:
        self._workshop = workshop
        self._sent = SentReports(folder, dmarc_counts.REPORT, workshop.disk)
        self._counts = DmarcCounts(os.path.join(folder, dmarc_counts.COUNTS_FILE), workshop, TALLY_OCTETS)
        self.counted = self._counts.counted
        self.removed = self._counts.removed
        self.close = self._counts.close

    async def read(self) -> Tallies:
        return await self._counts.read()

    async def keep(self, file_name: str, octets: bytes) -> None:
        await self._workshop.do(self._sent.keep, file_name, octets)

    async def prune(self, oldest: float) -> None:
        await self._workshop.do(self._sent.prune, oldest)
