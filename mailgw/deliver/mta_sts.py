"""The MTA-STS policies of the domains that mail goes to: asked for, fetched, remembered, fetched again (RFC 8461).

What is done when, ``trust.mtasts`` says; this does it, for all backends of a process at once.

Rules:
    Nothing here raises or refuses: a policy that cannot be learned is one more reason in the journal, and the one
    that was in force stays.
    One fetch a domain at a time, for all who wait; ``FETCHES`` over all, and background ones take no other's place.
    One that has no turn in time is given up, so that mail waits no longer for other domains' hosts than for its own.
    What is remembered is bounded: beyond ``POLICIES`` those go that were not asked for longest.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import attrs
from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Trouble

from mailgw.mail import event as fact
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult
from mailgw.trust import mtasts
from mailgw.trust.mtasts import Failure, NoPolicy, NotFetched, Remembered

POLICIES: Final = 10_000
FAILURES: Final = 10_000  # domains whose last fetch failed; beyond, the oldest are fetched sooner than they should
FETCHES: Final = 50
# How often those are looked for that are to be fetched again; a policy for which no mail came for so long is left to
# expire.
LOOK_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 30 * 86_400.0
# A policy's last use is kept to this precision: else every message would have the file written.
USED_SECONDS: Final = 3600.0

OnResult = Callable[[TlsResult], None]
_log = Logger()


Fetch = Callable[[str], Awaitable[bytes | NotFetched]]
"""The octets of the policy that a domain serves.  Never raises; ends within ``mtasts.FETCH_SECONDS``."""


class Memory(Protocol):
    """What survives a restart (``store``)."""

    async def read(self) -> Mapping[str, Remembered]:
        """What was remembered; empty where there is nothing that can be read."""

    def changed(self) -> None:
        """``StsPolicies.remembered`` is another now."""


class StsPolicies:
    """``mail.ports.MtaSts``.  ``on_result`` hears of fetches that failed, for the reports of TLSRPT."""

    def __init__(
        self,
        resolver: Resolver,
        fetch: Fetch,
        memory: Memory,
        journal: Journal,
        on_result: OnResult,
        clock: IReactorTime,
        wall_clock: WallClock,
    ) -> None:
        self._resolver = resolver
        self._fetch = fetch
        self._memory = memory
        self._journal = journal
        self._on_result = on_result
        self._clock = clock
        self._now = wall_clock
        self._turns = DeferredSemaphore(FETCHES)
        self._known: dict[str, Remembered] | None = None
        self._reading: list[Deferred[None]] = []
        self._failures: dict[str, Failure] = {}
        self._fetches: dict[str, _Fetch] = {}
        self._timer: IDelayedCall | None = None
        self._is_stopped = False

    @property
    def remembered(self) -> Mapping[str, Remembered]:
        """By domain; empty before anybody asked."""
        return self._known if self._known is not None else {}

    async def policy(self, domain: str) -> StsPolicy | None:
        domain = domain.lower().removesuffix(".")
        if not domain or domain.startswith("["):
            return None
        known = await self._memories()
        try:
            records = (await self._resolver.text(mtasts.record_name(domain))).items
        except TemporaryFault:
            records = ()  # as s3.3: what is remembered is in force all the same
        now = self._now()
        step = mtasts.next_step(known.get(domain), self._failures.get(domain), mtasts.record_id(records), now)
        if step.in_force is not None:
            self._touch(domain, now)
        if step.fetch_id is None or self._is_stopped:
            return step.in_force
        if not step.waits:
            self._refresh(domain, step.fetch_id)
            return step.in_force
        await self._begun(domain, step.fetch_id).ended()
        found = known.get(domain)
        return found.policy if found is not None and mtasts.is_in_force(found, self._now()) else None

    def start(self) -> None:
        """Begin to fetch again what is remembered, without any mail (s3.3)."""
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Give up fetches under way, and begin no more; who asks gets what is remembered."""
        self._is_stopped = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for one in list(self._fetches.values()):
            one.cancel()

    # --- what is remembered ---------------------------------------------------------------------------

    async def _memories(self) -> dict[str, Remembered]:
        if self._known is None:
            waiting: Deferred[None] = Deferred()
            self._reading.append(waiting)
            if len(self._reading) == 1:
                # Its own task: that one who asked gives up leaves the others theirs.
                task = Deferred.fromCoroutine(self._read())
                task.addErrback(lambda trouble: _log.failure("reading policies", failure=trouble))  # type: ignore[unused-awaitable]
            await waiting
        assert self._known is not None
        return self._known

    async def _read(self) -> None:
        known: Mapping[str, Remembered] = {}
        try:
            known = await self._memory.read()
        finally:
            self._known = dict(known)
            waiting, self._reading = self._reading, []
            for one in waiting:
                if not one.called:
                    one.callback(None)

    def _touch(self, domain: str, now: float) -> None:
        known = self._known
        if known is not None and domain in known and abs(now - known[domain].used) >= USED_SECONDS:
            known[domain] = attrs.evolve(known[domain], used=now)
            self._memory.changed()

    def _remember(self, domain: str, policy: StsPolicy) -> None:
        now = self._now()
        known = self._known
        assert known is not None
        used = now
        if domain in known and known[domain].policy.id == policy.id:
            used = known[domain].used  # fetched again, perhaps without any mail
        known[domain] = Remembered(policy, now, used)
        if len(known) > POLICIES:
            for one in [name for name, old in known.items() if not mtasts.is_in_force(old, now)]:
                del known[one]
        if len(known) > POLICIES:
            # Some at once: to look through all of them each time would be slow.
            for one in sorted(known, key=lambda name: known[name].used)[:len(known) - POLICIES + POLICIES // 100]:
                if one != domain:
                    del known[one]
        self._memory.changed()

    # --- fetching -------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        now = self._now()
        if self._known is None:
            # After a restart, and no mail yet: what is remembered would expire unseen.
            reading = Deferred.fromCoroutine(self._memories())
            reading.addErrback(lambda trouble: _log.failure("reading policies", failure=trouble))  # type: ignore[unused-awaitable]
        due = [
            (domain, one.policy.id) for domain, one in self.remembered.items()
            if mtasts.wants_refresh(one, self._failures.get(domain), now, IDLE_SECONDS)
        ]
        for domain, policy_id in due:
            self._refresh(domain, policy_id)

    def _refresh(self, domain: str, policy_id: str) -> None:
        # Mail that waits for a fetch goes first; what is left over has its turn at the next look.
        if not self._turns.waiting and self._turns.tokens > FETCHES // 2:
            self._begun(domain, policy_id)

    def _begun(self, domain: str, policy_id: str) -> "_Fetch":
        """The fetch that is under way, begun where there is none."""
        one = self._fetches.get(domain)
        if one is None:
            one = self._fetches[domain] = _Fetch()
            one.task = Deferred.fromCoroutine(self._fetched(domain, policy_id))
            one.task.addBoth(self._over, domain, policy_id)  # type: ignore[unused-awaitable] # all who wait are told
        return one

    def _over(self, result: Trouble | None, domain: str, policy_id: str) -> None:
        if isinstance(result, Trouble) and not self._is_stopped:
            _log.failure("the MTA-STS policy of {domain}", failure=result, domain=domain)
            self._failures[domain] = Failure(policy_id, self._now())
        self._fetches.pop(domain).tell()

    async def _fetched(self, domain: str, policy_id: str) -> None:
        try:
            await self._turns.acquire().addTimeout(mtasts.FETCH_SECONDS, self._clock)
        except TimeoutError:
            # Our trouble, which the domain's report is not to speak of; and the next mail may try at once.
            why = "too many fetches are under way"
            self._journal.note(fact.StsPolicyFailed(domain, TlsFailure.STS_POLICY_FETCH_ERROR.value, why))
            return
        try:
            found: bytes | NotFetched | StsPolicy = await self._fetch(domain)
        finally:
            self._turns.release()
        if isinstance(found, bytes):
            read = mtasts.read_policy(found, policy_id)
            found = NotFetched(TlsFailure.STS_POLICY_INVALID, read.why) if isinstance(read, NoPolicy) else read
        if isinstance(found, NotFetched):
            self._failed(domain, policy_id, found)
            return
        self._failures.pop(domain, None)
        before = self.remembered.get(domain)
        self._remember(domain, found)
        if before is None or before.policy != found:
            self._journal.note(
                fact.StsPolicyFetched(domain, found.mode.value, found.mx_patterns, found.max_age_seconds, found.id)
            )

    def _failed(self, domain: str, policy_id: str, fault: NotFetched) -> None:
        now = self._now()
        while len(self._failures) >= FAILURES:
            del self._failures[next(iter(self._failures))]
        was_told = self._failures.pop(domain, None)
        self._failures[domain] = Failure(policy_id, now)
        self._journal.note(fact.StsPolicyFailed(domain, fault.failure.value, fault.why))
        self._on_result(TlsResult(domain, PolicyType.STS, (), (), "", "", "", "", fault.failure, fault.why))
        known = self.remembered.get(domain)
        if known is None or not mtasts.is_in_force(known, now) or known.policy.mode is StsMode.NONE or was_told:
            return
        # s3.3: administrators should hear of it; once, until it goes well again.
        _log.warn(
            "the MTA-STS policy of {domain} could not be fetched again ({why}); the one that is remembered stays in "
            "force for {days:.1f} days",
            domain=domain, why=fault.why, days=(known.fetched + known.age_seconds - now) / 86_400,
        )


class _Fetch:
    """One that is under way, and who waits for it."""

    def __init__(self) -> None:
        self.task: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._is_over = False

    async def ended(self) -> None:
        if not self._is_over:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    def tell(self) -> None:
        self._is_over = True
        for one in self._waiting:
            if not one.called:
                one.callback(None)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
