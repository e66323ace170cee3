"""MTA-STS policies as the gateway knows them, for who only looks: what it remembers is read, and nothing is written."""

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime

from mailgw.deliver.mta_sts import Fetch, StsPolicies
from mailgw.mail import event as fact
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.ports import Resolver, WallClock
from mailgw.mail.sts_policy import StsPolicy
from mailgw.store import sts_policies
from mailgw.tls_report import Sts
from mailgw.trust import mtasts
from mailgw.trust.mtasts import Remembered


class KnownPolicies:
    """``tls_survey.StsLook``, over the file in the folder ``state``, which may be missing, or not for our eyes."""

    def __init__(
        self, resolver: Resolver, fetch: Fetch, state: str, clock: IReactorTime, wall_clock: WallClock
    ) -> None:
        self._resolver = resolver
        self._now = wall_clock
        self._file = _File(state)
        self._trouble = _Trouble()
        self._policies = StsPolicies(
            resolver, fetch, self._file, self._trouble, lambda result: None, clock, wall_clock
        )

    async def policy(self, domain: str) -> StsPolicy | None:
        return await self._policies.policy(domain)

    async def told(self, domain: str) -> Sts:
        trouble = self._trouble.why or self._file.trouble
        try:
            record = mtasts.record_id((await self._resolver.text(mtasts.record_name(domain))).items) or ""
        except TemporaryFault as fault:
            record, trouble = "", fault.why
        known = self._policies.remembered.get(domain)
        now = self._now()
        if known is None or not mtasts.is_in_force(known, now):
            return Sts(record, "", (), 0.0, 0.0, trouble)
        age = now - known.fetched
        policy = known.policy
        return Sts(record, policy.mode.value, policy.mx_patterns, age, known.age_seconds - age, trouble)


class _File:
    """What the gateway remembers, as it stands."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self.trouble = ""

    async def read(self) -> Mapping[str, Remembered]:
        names = sts_policies.file_names(self._folder) or [sts_policies.FILE]
        return sts_policies.newest([self._read(f"{self._folder}/{name}") for name in names])

    def _read(self, path: str) -> Mapping[str, Remembered]:
        try:
            with open(path, "rb") as opened:
                return sts_policies.decoded(opened.read(sts_policies.LIMIT_OCTETS))
        except FileNotFoundError:
            return {}
        except OSError as fault:
            self.trouble = f"what the gateway remembers cannot be read: {path}: {fault.strerror}"
        except ValueError as fault:
            self.trouble = f"what the gateway remembers cannot be read: {path}: {fault}"
        return {}

    def changed(self) -> None:
        """Not written: who looks changes nothing."""


class _Trouble:
    """A journal that keeps why a policy was not fetched."""

    def __init__(self) -> None:
        self.why = ""

    def note(self, event: Event) -> None:
        if isinstance(event, fact.StsPolicyFailed):
            self.why = f"{event.result}: {event.why}"
