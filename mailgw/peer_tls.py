"""Puts together what is learned of other servers' TLS: MTA-STS policies, by HTTPS, kept in the state folder."""

import os
from collections.abc import Mapping
from typing import Any

from mailgw.config.settings import Config
from mailgw.deliver.mta_sts import Fetch, StsPolicies
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.mail.ports import Journal, MtaSts, Resolver, WallClock
from mailgw.mail.tls_result import TlsResult
from mailgw.store import sts_policies
from mailgw.store.state_file import StateFile, Workshop
from mailgw.trust.mtasts import FETCH_SECONDS, POLICY_OCTETS, NotFetched, Remembered


class PeerTls:
    """For all backends of a gateway.  Nothing is read, asked or written before mail goes to a domain by MX."""

    def __init__(
        self, config: Config, resolver: Resolver, workshop: Workshop, journal: Journal, wall_clock: WallClock
    ) -> None:
        memory = _Memory(os.path.join(config.state, sts_policies.FILE), workshop)
        fetch = fetch_by(workshop.reactor, resolver)
        self._policies = StsPolicies(resolver, fetch, memory, journal, self.note, workshop.reactor, wall_clock)
        memory.policies = self._policies
        self._memory = memory

    def sts(self, settings: SmtpSettings) -> MtaSts | None:
        """The policies, for a backend that heeds them."""
        return self._policies if settings.mta_sts else None

    def note(self, result: TlsResult) -> None:
        """Take what a session's TLS came to."""

    def start(self) -> None:
        self._policies.start()

    async def close(self) -> None:
        """Once no delivery is under way: keep what is known."""
        self._policies.stop()
        await self._memory.close()


class _Memory:
    """``deliver.mta_sts.Memory`` on a file."""

    def __init__(self, path: str, workshop: Workshop) -> None:
        self.policies: StsPolicies | None = None
        self._file = StateFile(
            path, workshop, sts_policies.LIMIT_OCTETS, sts_policies.WRITE_SECONDS, self._encoded
        )

    async def read(self) -> Mapping[str, Remembered]:
        return await self._file.read(sts_policies.decoded) or {}

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
