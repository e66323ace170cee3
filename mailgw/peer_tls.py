"""Puts together what is learned of other servers' TLS: MTA-STS policies, by HTTPS, kept in the state folder; and the
reports of what TLS with them came to."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mailgw.config.settings import Config
from mailgw.deliver.mta_sts import Fetch, StsPolicies
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.deliver.tls_report_settings import TlsReportSettings
from mailgw.deliver.tls_reports import Post, TlsReports
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.parameters import RcptParameters
from mailgw.mail.ports import Journal, MtaSts, Resolver, WallClock
from mailgw.mail.tls_result import TlsResult
from mailgw.own_mail import Queue, ReportMailer
from mailgw.reporting import Reporting
from mailgw.store import sts_policies, tls_reports
from mailgw.store.sent_reports import SentReports
from mailgw.store.state_file import StateFile, Workshop
from mailgw.trust.mtasts import FETCH_SECONDS, POLICY_OCTETS, NotFetched, Remembered
from mailgw.trust.tls_report import GZIP_TYPE
from mailgw.trust.tls_tallies import DomainTally

POST_SECONDS = 60.0  # of a report that is posted; RFC 8460 has no figure
ANSWER_OCTETS = 64 * 1024  # to a report; nobody reads it


class PeerTls:
    """For all backends of a gateway.  Of policies nothing is read, asked or written where no backend heeds them; of
    reports nothing where none are configured."""

    def __init__(
        self,
        config: Config,
        resolver: Resolver,
        workshop: Workshop,
        journal: Journal,
        wall_clock: WallClock,
        chance: Callable[[], float],
        sts_file: str = sts_policies.FILE,
        forward: Callable[[TlsResult], None] | None = None,
    ) -> None:
        """``sts_file`` in the state folder is this process's; ``forward``: who counts what is to be reported, None
        where that is done here."""
        memory = _Memory(config.state, sts_file, workshop)
        self._forward = forward
        self._settings = config.tls_reports
        fetch = fetch_by(workshop.reactor, resolver)
        self._policies = StsPolicies(resolver, fetch, memory, journal, self.note, workshop.reactor, wall_clock)
        memory.policies = self._policies
        self._memory = memory
        self._is_heeded = _is_heeded(config)
        # Nobody needs to hear of a report that does not arrive; the journal has it.
        self._mailer = ReportMailer(RcptParameters(notify=frozenset()))
        post = _post_by(workshop.reactor, resolver)

        def made(settings: TlsReportSettings) -> tuple[TlsReports, _ReportMemory]:
            memory = _ReportMemory(os.path.join(config.state, tls_reports.FOLDER), workshop)
            memory.reports = TlsReports(
                settings, resolver, self._mailer, post, memory, journal, workshop.reactor, wall_clock, chance
            )
            return memory.reports, memory

        self._reporting = Reporting(self._settings if forward is None else None, made)

    def sts(self, settings: SmtpSettings) -> MtaSts | None:
        """The policies, for a backend that heeds them."""
        return self._policies if settings.mta_sts else None

    def note(self, result: TlsResult) -> None:
        """Take what a session's TLS came to."""
        if self._reporting.reports is not None:
            self._reporting.reports.note(result)
        elif self._forward is not None and self._settings is not None:
            self._forward(result)

    def start(self, queue: Queue) -> None:
        """``queue`` takes the reports that go by mail."""
        self._mailer.queue = queue
        if self._is_heeded:
            self._policies.start()
        self._reporting.start()

    async def renew(self, config: Config, queue: Queue) -> None:
        """Another configuration, with the same state folder; what is remembered and counted stays."""
        self._mailer.queue = queue
        was_heeded, self._is_heeded = self._is_heeded, _is_heeded(config) or self._is_heeded
        if self._is_heeded and not was_heeded:
            self._policies.start()
        self._settings = config.tls_reports
        if self._forward is None:
            await self._reporting.renew(self._settings)

    async def close(self) -> None:
        """Once no delivery is under way: keep what is known."""
        self._policies.stop()
        await self._memory.close()
        await self._reporting.close()


def _is_heeded(config: Config) -> bool:
    return any(isinstance(one, SmtpSettings) and one.mta_sts for one in config.backends.values())


class _Memory:
    """``deliver.mta_sts.Memory`` on a file; those of other workers are read, too."""

    def __init__(self, folder: str, name: str, workshop: Workshop) -> None:
        self.policies: StsPolicies | None = None
        self._folder = folder
        self._name = name
        self._workshop = workshop
        self._file = self._opened(name)

    async def read(self) -> Mapping[str, Remembered]:
        own = await self._file.read(sts_policies.decoded) or {}
        names = await self._workshop.do(sts_policies.file_names, self._folder)
        others = [self._opened(name) for name in names if name != self._name]
        if not others:
            return own
        return sts_policies.newest([own, *[await one.read(sts_policies.decoded) or {} for one in others]])

    def _opened(self, name: str) -> StateFile:
        return StateFile(
            os.path.join(self._folder, name), self._workshop, sts_policies.LIMIT_OCTETS, sts_policies.WRITE_SECONDS,
            self._encoded,
        )

    def changed(self) -> None:
        self._file.changed()

    async def close(self) -> None:
        await self._file.close()

    def _encoded(self) -> bytes:
        assert self.policies is not None
        return sts_policies.encoded(self.policies.remembered)


def fetch_by(reactor: Any, resolver: Resolver) -> Fetch:
    """Fetches policies, found by ``resolver``, from whoever has a certificate of the system's authorities for them."""
    fetcher: Fetch | None = None

    async def fetch(domain: str) -> bytes | NotFetched:
        nonlocal fetcher
        if fetcher is None:
            # Twisted's HTTP takes its time to be imported.
            from mailgw.net.https import Https
            from mailgw.net.https_hosts import anywhere, strangers_agent
            from mailgw.net.sts_fetch import PolicyFetcher

            agent = strangers_agent(reactor, resolver, None, POLICY_OCTETS, anywhere)
            fetcher = PolicyFetcher(Https(agent, reactor, FETCH_SECONDS, POLICY_OCTETS))
        return await fetcher(domain)

    return fetch


# --- reports ----------------------------------------------------------------------------------------------

class _ReportMemory:
    """``deliver.daily_reports.Memory`` on the folder of reports."""

    def __init__(self, folder: str, workshop: Workshop) -> None:
        self.reports: TlsReports | None = None
        self._workshop = workshop
        self._sent = SentReports(folder, tls_reports.REPORT, workshop.disk)
        path = os.path.join(folder, tls_reports.TALLIES_FILE)
        self._file = StateFile(
            path, workshop, tls_reports.LIMIT_OCTETS, tls_reports.WRITE_SECONDS, self._encoded
        )

    async def read(self) -> Sequence[DomainTally]:
        return await self._file.read(tls_reports.decoded) or ()

    def counted(self, result: TlsResult, day: int) -> None:
        self._file.changed()

    def removed(self, day: int, domain: str) -> None:
        self._file.changed()

    async def keep(self, file_name: str, octets: bytes) -> None:
        await self._workshop.do(self._sent.keep, file_name, octets)

    async def prune(self, oldest: float) -> None:
        await self._workshop.do(self._sent.prune, oldest)

    async def close(self) -> None:
        await self._file.close()

    def _encoded(self) -> bytes:
        assert self.reports is not None
        return tls_reports.encoded(self.reports.tallies)


def _post_by(reactor: Any, resolver: Resolver) -> Post:
    https: Any = None

    async def post(url: str, octets: bytes) -> None:
        nonlocal https
        if https is None:
            from mailgw.net.https import Https
            from mailgw.net.https_hosts import is_public, strangers_agent

            agent = strangers_agent(reactor, resolver, None, ANSWER_OCTETS, is_public)
            https = Https(agent, reactor, POST_SECONDS, ANSWER_OCTETS)
        answer = await https.post(url, octets, {"Content-Type": GZIP_TYPE})
        if not 200 <= answer.status < 300:  # RFC 8460 s5.4
            raise TemporaryFault(f"{url} answers {answer.status}")

    return post
