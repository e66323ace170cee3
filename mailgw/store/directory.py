"""Who exists, as a source says that is dear to ask, or down: a database, a service, Python of the user's own.

Rules:
    A look-up that failed is a TemporaryFault (451 4.4.3), whatever the source did, and never "no such user".
    Who is known to exist may be taken by an old answer while the source is down (``policy.remembered``).
    Equal questions at the same moment are one; so many are asked at once, so many wait, and the next one fails.
    None is waited for longer than ``timeout_seconds``, its turn included.
    A source that failed several times in a row is left alone for a while (``policy.breaker``): its trouble costs no
    client a wait, but the one whose question tries it again; where an old answer stands in, not even that one.
    What fails at once keeps nobody waiting, and does not count: else it would be for strangers, who choose what is
    asked, to have it left alone.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.mail.found import Found
from mailgw.mail.reply import Reply
from mailgw.policy.breaker import Breaker, BreakerSettings
from mailgw.policy.remembered import Remembered
from mailgw.queue.aliases import alias_key
from mailgw.queue.tags import tagged, targets_of
from mailgw.store.directory_settings import DirectorySettings

log = Logger()

# So many different questions may wait for their turn; each has a client that waits.
WAITING: Final = 1000
BREAKER: Final = BreakerSettings(failures=5, first_seconds=5.0, longest_seconds=60.0)
COSTLY_SECONDS: Final = 1.0
# RFC 3463 s3.5: X.4.3, directory server failure
UNSURE: Final = Reply(451, "4.4.3", ("Whether this recipient exists cannot be told now, please try again",))


class Source(Protocol):
    """What is asked: ``mailgw.interfaces.IRecipientDirectory``."""

    async def find(self, recipient: Mailbox) -> Found | None: ...


class Directory:
    """One ``[directory.NAME]``, with its memory."""

    def __init__(
        self, name: str, source: Source, settings: DirectorySettings, clock: IReactorTime, note: Callable[[Event], None]
    ) -> None:
        self._name = name
        self._source = source
        self._settings = settings
        self._clock = clock
        self._note = note
        self._memory: Remembered[Found] = Remembered(settings.memory)
        self._breaker = Breaker(BREAKER)
        self._asking: dict[str, list[Deferred[Found | None]]] = {}
        self._turns = DeferredSemaphore(settings.concurrency)
        self._complaint = ""

    async def find(self, address: Mailbox) -> Found | None:
        """None: nobody has that name, nor the name without its tag.  TemporaryFault where that cannot be told now."""
        found = await self._answer(address)
        sub = tagged(address, self._settings.tags)
        if found is not None or sub is None:
            return found
        return self._with_tag(address, sub.tag, await self._answer(sub.user))

    def known(self, address: Mailbox) -> Found | None:
        """The same of what is remembered, without a question; None where nothing is."""
        found = self._recalled(address)
        sub = tagged(address, self._settings.tags)
        if found is not None or sub is None:
            return found
        return self._with_tag(address, sub.tag, self._recalled(sub.user))

    def doubt(self) -> None:
        """Somebody says that it has changed: ask again."""
        self._memory.doubt(self._clock.seconds())

    def _with_tag(self, address: Mailbox, tag: str, found: Found | None) -> Found | None:
        if found is None or not found.targets:
            return found
        targets = targets_of(address, tag, found.targets, self._settings.tags)
        return attrs.evolve(found, targets=() if targets is None else tuple(targets))

    def _recalled(self, address: Mailbox) -> Found | None:
        answer = self._memory.answer(alias_key(address), self._clock.seconds())
        return None if answer is None else answer.value

    async def _answer(self, address: Mailbox) -> Found | None:
        key = alias_key(address)
        known = self._memory.answer(key, self._clock.seconds())
        if known is not None and known.is_fresh:
            return known.value
        waiting: Deferred[Found | None] = Deferred()
        is_dead = self._breaker.is_open
        try:
            self._begin(key, Mailbox(folded(address.local_part), address.domain), waiting)
            if known is not None and is_dead:
                waiting.addErrback(lambda _: None)  # type: ignore[unused-awaitable] # it is told of elsewhere
                return known.value
            return await waiting
        except TemporaryFault:
            if known is not None:
                return known.value
            raise

    def _begin(self, key: str, address: Mailbox, waiting: "Deferred[Found | None]") -> None:
        """Ask, or wait for who asked already; TemporaryFault where neither is to be."""
        others = self._asking.get(key)
        if others is not None:
            others.append(waiting)
            return
        if len(self._turns.waiting) >= WAITING:
            raise self._fault("too many questions are under way")
        if not self._breaker.may_try(self._clock.seconds()):
            raise self._fault("it failed again and again, and is left alone for a while")
        self._asking[key] = [waiting]
        # Its own task: that one who asked gives up leaves the others their answer.
        task = Deferred.fromCoroutine(self._ask(key, address))
        task.addErrback(lambda failure: log.failure("an answer was dropped", failure))  # type: ignore[unused-awaitable]

    async def _ask(self, key: str, address: Mailbox) -> None:
        began = self._clock.seconds()
        try:
            found = await self._in_time(address)
        except BaseException as fault:  # noqa: BLE001 - a source may raise anything, and nobody is to wait for ever
            self._end(key, self._failed(address, fault, began))
            return
        if self._breaker.succeeded():
            log.info("directory {name} answers again", name=self._name)
        self._complaint = ""
        self._memory.learn(key, found, self._clock.seconds())
        self._end(key, found)

    async def _in_time(self, address: Mailbox) -> Found | None:
        """The task is not waited for: one that takes no cancellation keeps its turn, and nothing else."""
        first: Deferred[Found | None] = Deferred()
        task = Deferred.fromCoroutine(self._in_turn(address))

        def late() -> None:
            first.errback(TemporaryFault(f"no answer within {self._settings.timeout_seconds:g} s"))
            task.cancel()

        def ended(result: Any) -> None:
            if not first.called:
                first.callback(result)  # a Failure, too

        timer = self._clock.callLater(self._settings.timeout_seconds, late)
        task.addBoth(ended)  # type: ignore[unused-awaitable] # the end of the chain
        try:
            return await first
        finally:
            if timer.active():
                timer.cancel()

    async def _in_turn(self, address: Mailbox) -> Found | None:
        await self._turns.acquire()
        try:
            return self._judged(await self._source.find(address))
        finally:
            self._turns.release()

    def _judged(self, found: object) -> Found | None:
        if found is None:
            return None
        if not isinstance(found, Found):
            raise TemporaryFault(f"answered with a {type(found).__name__}: expected a Found or None")
        if not all(isinstance(target, Mailbox) and target.domain for target in found.targets):
            raise TemporaryFault("answered with targets that are no whole addresses")
        if found.backend is not None and found.backend not in self._settings.backends:
            raise TemporaryFault(f"answered with a backend {found.backend!r}, which there is none of")
        return found if isinstance(found.targets, tuple) else attrs.evolve(found, targets=tuple(found.targets))

    def _failed(self, address: Mailbox, fault: BaseException, began: float) -> TemporaryFault:
        """The operator is told, once as long as it is the same trouble."""
        is_known = isinstance(fault, (TemporaryFault, CancelledError))
        why = fault.why if isinstance(fault, TemporaryFault) else f"raised {type(fault).__name__}"
        if why != self._complaint:
            self._complaint = why
            if is_known:
                log.warn("directory {name}: {why} ({address})", name=self._name, why=why, address=str(address))
            else:
                log.failure("directory {name} raised in find({address})", name=self._name, address=str(address))
            self._note(Trouble(f"directory {self._name}", why, "", ""))
        now = self._clock.seconds()
        if now - began >= COSTLY_SECONDS and self._breaker.failed(now):
            log.warn("directory {name} failed again and again: it is left alone for a while", name=self._name)
        return self._fault(why, fault.reply if isinstance(fault, TemporaryFault) else None)

    def _fault(self, why: str, reply: Reply | None = None) -> TemporaryFault:
        is_own = reply is not None and 400 <= reply.code < 500 and reply.status != "4.3.0"
        return TemporaryFault(f"directory {self._name}: {why}", reply if is_own and reply is not None else UNSURE)

    def _end(self, key: str, answer: Found | TemporaryFault | None) -> None:
        for one in self._asking.pop(key):
            if one.called:
                continue  # whoever asked gave up
            if isinstance(answer, TemporaryFault):
                one.errback(answer)
            else:
                one.callback(answer)
