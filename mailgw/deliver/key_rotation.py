"""The lives of DKIM keys, lived: a look at DNS each hour, and what follows from it (``trust.dkim_rotation``).

Rules:
    The folder of keys is looked at each minute, since commands change it too; what they did is noted in the journal, as
    theirs.  DNS is asked each hour, and each ten minutes of a domain that has a new key and signs with none of its
    kind, or whose key that signs is in doubt; of one that signs with nothing at the start, too: its records may have
    been published before it, and the first mail is to be signed.
    Keys are made, read and written in a thread.
    A key whose private file cannot be used is as good as one whose record differs: it takes nobody's place.
    The operator is told what to publish and what to remove: in the log, in the journal, and by mail to the postmaster,
    which counts once the queue has it, and is sent again each week while something is still to be done.
    Where he has a program for that, it does it, and he gets mail only where it fails, once a day for each key; it is
    run again at each look until DNS shows what it should, and no order of one look begins when ``ORDERS_SECONDS`` are
    over: the next look goes on from there.  What is wrong is said again each day in the log.
    So many domains are looked at side by side, and what goes wrong with one keeps no other from its look.
    Nothing here stands in the way of mail.  Of several workers one does this, whoever has the first shard.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.deliver.key_words import happened, letter, outlook, reminder
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Journal, Resolver, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.store.dkim_keys import RSA_BITS, KeyFolder, NewKey, Unusable, new_key
from mailgw.trust.dkim_rotation import (
    BY_COMMAND,
    DAY_SECONDS,
    KeyLife,
    KeyType,
    Move,
    Moved,
    RotationRules,
    Shown,
    State,
    Step,
    compared,
    is_to_do,
    key_name,
    looked,
    noticed,
    signing,
)

LOOK_SECONDS: Final = 3600.0
EAGER_SECONDS: Final = 600.0
WATCH_SECONDS: Final = 60.0
FIRST_LOOK_SECONDS: Final = 10.0  # after a start, which has better things to do first
JITTER: Final = 0.1  # of the time until the next look, up or down
# Until a look at a domain that signs with nothing, at most.
EAGER_WITHIN_SECONDS: Final = EAGER_SECONDS * (1 + JITTER) + WATCH_SECONDS
NAG_SECONDS: Final = DAY_SECONDS
AGAIN_SECONDS: Final = 7 * DAY_SECONDS
ORDERS_SECONDS: Final = 180.0
SIDE_BY_SIDE: Final = 4

T = TypeVar("T")
_log = Logger()


class Doing(Protocol):
    """``Workshop.do``."""

    def __call__(self, work: Callable[..., T], *arguments: object) -> Awaitable[T]:
        """The result of ``work``, which runs in a thread."""


Publish = Callable[[str, str], Awaitable[str]]
"""Lets the TXT record of a name have this value, ``""`` for none; ``""`` once that is done, else why it is not."""

Send = Callable[[Mailbox | None, Sequence[Mailbox], bytes], Awaitable[str]]
"""``IGateway.send``."""


@attrs.frozen
class RotationSettings:
    """``rules`` hold for all domains that are looked after, which are those of ``rotate_seconds``, with the one that is
    theirs; mail about keys goes from ``author`` to ``postmaster``, None: to nobody."""

    hostname: str
    author: Mailbox
    postmaster: Mailbox | None
    rules: RotationRules
    rotate_seconds: Mapping[str, float | None]
    rsa_bits: int = RSA_BITS

    def rules_of(self, domain: str) -> RotationRules:
        return attrs.evolve(self.rules, rotate_seconds=self.rotate_seconds[domain])


@attrs.frozen
class Answer:
    """What DNS says of a key's record, and in words what is wrong with it; ``alias``: where a CNAME leads, ``""`` for
    none."""

    shown: Shown
    why: str
    alias: str = ""


async def answers_for(resolver: Resolver, domain: str, keys: Sequence[KeyLife]) -> dict[str, Answer]:
    """By selector; all are asked at once.  What is not answered is UNKNOWN."""
    asking = [Deferred.fromCoroutine(_answer(resolver, domain, key)) for key in keys]
    found = await _together(asking)
    return {key.selector: answer for key, answer in zip(keys, found, strict=True)}


async def _together(waiting: Sequence[Deferred[T]]) -> list[T]:
    """All results; what one raises is raised, a cancellation as itself."""
    try:
        return await gatherResults(waiting, consumeErrors=True)
    except FirstError as first:
        raise first.subFailure.value or first from None


async def _answer(resolver: Resolver, domain: str, key: KeyLife) -> Answer:
    name = key_name(key.selector, domain)
    try:
        records = await resolver.text(name)
    except TemporaryFault as fault:
        return Answer(Shown.UNKNOWN, fault.why)
    return Answer(*compared(key.record, records), records.name if records.name != name else "")


def unusable(folder: KeyFolder, domain: str, keys: Sequence[KeyLife]) -> dict[str, Unusable]:
    """The keys, by selector, that may have to sign and cannot.  Blocks."""
    found = [folder.fault(domain, key) for key in keys if key.state is not State.GONE]
    return {one.selector: one for one in found if one is not None}


def stepped(
    folder: KeyFolder, domain: str, answers: Mapping[str, Answer], bad: Mapping[str, Unusable], rules: RotationRules,
    now: float, elapsed: float | None = None, before: Sequence[KeyLife] | None = None,
) -> Step:
    """Keep what follows from a look; ``elapsed`` as ``looked`` has it.  ``before``: the keys after the last one, None
    where nobody knows.  Blocks; OSError and ValueError as ``KeyFolder.change``."""
    shown = {selector: answer.shown for selector, answer in answers.items()}
    steps: list[Step] = []

    def change(keys: tuple[KeyLife, ...]) -> tuple[KeyLife, ...]:
        step = looked(keys, shown, rules, now, elapsed, bad)
        steps.append(attrs.evolve(step, noticed=() if before is None else noticed(before, keys)))
        return step.keys

    folder.change(domain, change)
    step = steps[0]
    whys = {selector: answer.why for selector, answer in answers.items()}
    whys |= {selector: f"{one.path}: {one.why}" for selector, one in bad.items()}
    moves = [attrs.evolve(one, why=one.why or (whys.get(one.key.selector, "") if one.what is Move.LOST else ""))
             for one in step.moves]
    return attrs.evolve(step, moves=tuple(moves))


def _is_eager(keys: Sequence[KeyLife]) -> bool:
    """Whether the next look has to come soon: one is to sign, and none of its kind does; or one that signs is in doubt.
    """
    signs = {key.type for key in signing(keys)}
    return any((key.state is State.WANTED and key.type not in signs) or key.doubted is not None for key in keys)


def made_keys(
    folder: KeyFolder, domain: str, kinds: Sequence[KeyType], bits: int, now: float, selectors: Sequence[str] = (),
    is_told: bool = True,
) -> list[KeyLife]:
    """New keys, in the folder; ``selectors`` for each kind, () for what is found for them.  ``is_told``: whoever calls
    tells the operator what to publish.  Blocks; OSError and
    ValueError as ``KeyFolder.add``."""
    made: list[NewKey] = []
    for at, kind in enumerate(kinds):
        used = [one.selector for one in made]
        selector = selectors[at] if selectors else folder.selector(domain, kind, now, used)
        made.append(NewKey(selector, kind, new_key(kind, bits)))
    return folder.add(domain, made, now, now if is_told else None)


def told_of(folder: KeyFolder, domain: str, about: Sequence[KeyLife], now: float) -> None:
    """Keep that the operator was told of these, as they were.  Blocks; OSError and ValueError as ``KeyFolder.change``.
    """
    states = {key.selector: key.state for key in about}
    folder.change(domain, lambda keys: [
        attrs.evolve(key, told=now) if states.get(key.selector) is key.state else key for key in keys])


def _is_owed(key: KeyLife, has_program: bool, now: float) -> bool:
    """Whether the operator gets mail about it now."""
    if not is_to_do(key):
        return False
    if key.told is not None:
        return now - key.told >= AGAIN_SECONDS
    is_the_program_s = has_program and key.state in (State.WANTED, State.GONE)
    return not is_the_program_s or now - key.since >= AGAIN_SECONDS


@attrs.define
class _Known:
    """Of a domain: the state of its folder at the last look, when the next one is due, and when DNS was asked at the
    last one that was kept, None before (monotonic)."""

    state: object
    due: float
    looked: float | None = None


class KeyRotation:
    """``chance`` gives numbers from 0 to 1; ``changed`` is called when keys have another state, and awaited;
    ``publish`` None: the operator does it."""

    def __init__(
        self,
        settings: RotationSettings,
        folder: KeyFolder,
        resolver: Resolver,
        do: Doing,
        send: Send,
        publish: Publish | None,
        changed: Callable[[], Awaitable[None]],
        journal: Journal,
        clock: IReactorTime,
        wall_clock: WallClock,
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._resolver = resolver
        self._do = do
        self._send = send
        self._publish = publish
        self._changed = changed
        self._journal = journal
        self._clock = clock
        self._now = wall_clock
        self._chance = chance
        self._known: dict[str, _Known] = {}
        self._keys: dict[str, Sequence[KeyLife]] = {}
        self._nagged: dict[tuple[str, str], float] = {}
        self._failed: dict[tuple[str, str], float] = {}
        self._next_order: dict[str, str] = {}
        self._complaints: dict[str, str] = {}
        self._letters = 0
        self._is_looking = False
        self._tasks = TaskGroup(self._trouble)
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Where there is no domain to look after, nothing begins."""
        if self._settings.rotate_seconds:
            self._timer = self._clock.callLater(0, self._begin)

    async def close(self) -> None:
        """What is under way is given up; it is done after the next start."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._tasks.cancel()

    def _begin(self) -> None:
        self._timer = self._clock.callLater(FIRST_LOOK_SECONDS, self._watch)
        self._is_looking = True
        self._tasks.spawn("looking after DKIM keys", self._look_at_the_first())

    async def _look_at_the_first(self) -> None:
        """See what there is, and look at once where only that is in the way of signing."""
        try:
            due = []
            for domain in self._settings.rotate_seconds:
                try:
                    keys = self._keys[domain] = await self._do(self._folder.keys, domain)
                except (OSError, ValueError):
                    continue  # the look in a while tells
                if not signing(keys) and any(key.state is State.WANTED for key in keys):
                    due.append(domain)
            await self._look_at_each(due)
        finally:
            self._is_looking = False

    def _watch(self) -> None:
        self._timer = self._clock.callLater(WATCH_SECONDS, self._watch)
        if not self._is_looking:
            self._is_looking = True
            self._tasks.spawn("looking after DKIM keys", self._look_at_all())

    async def _look_at_all(self) -> None:
        try:
            states = await self._do(self._states)
            await self._look_at_each([domain for domain, state in states.items() if self._is_due(domain, state)])
            self._complain("", "")
        except OSError as fault:
            self._complain("", f"{fault.filename or self._folder.path}: {fault.strerror}")
        finally:
            self._is_looking = False

    def _is_due(self, domain: str, state: object) -> bool:
        known = self._known.get(domain)
        return known is None or known.state != state or self._clock.seconds() >= known.due

    async def _look_at_each(self, domains: Sequence[str]) -> None:
        """Side by side."""
        waiting = iter(domains)
        await _together([
            Deferred.fromCoroutine(self._look_at_some(waiting)) for _ in range(min(SIDE_BY_SIDE, len(domains)))])

    async def _look_at_some(self, domains: Iterator[str]) -> None:
        """One after the other; others take of ``domains``, too."""
        for domain in domains:
            try:
                await self._look_at(domain)
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 - a fault of ours with one domain is none of the others
                self._trouble(f"looking after the DKIM keys of {domain}", Failure())  # type: ignore[no-untyped-call] # Twisted's

    def _states(self) -> dict[str, object]:
        domains = [one for one in self._folder.domains() if one in self._settings.rotate_seconds]
        return {domain: self._folder.state(domain) for domain in domains}

    async def _look_at(self, domain: str) -> None:
        known = self._known.setdefault(domain, _Known(None, 0.0))
        known.state, known.due = None, self._clock.seconds() + LOOK_SECONDS
        try:
            await self._look(domain)
        except (OSError, ValueError) as fault:
            why = f"{fault.filename or domain}: {fault.strerror}" if isinstance(fault, OSError) else str(fault)
            self._complain(domain, why)
            known.state = await self._do(self._folder.state, domain)
        else:
            self._complain(domain, "")

    # --- one look ---------------------------------------------------------------------------------------

    async def _look(self, domain: str) -> None:
        rules = self._settings.rules_of(domain)
        keys = await self._do(self._folder.keys, domain)
        answers = await answers_for(self._resolver, domain, keys)
        bad = await self._do(unusable, self._folder, domain, keys)
        known, at, before = self._known[domain], self._clock.seconds(), self._keys.get(domain)
        elapsed = None if known.looked is None else at - known.looked
        step = await self._do(stepped, self._folder, domain, answers, bad, rules, self._now(), elapsed, before)
        known.looked = at
        moves, keys = list(step.moves), step.keys
        self._keys[domain] = keys
        if step.wanted:
            kinds = [kind for kind in KeyType if kind in step.wanted]
            made = await self._do(
                made_keys, self._folder, domain, kinds, self._settings.rsa_bits, self._now(), (), False)
            moves += [Moved(Move.MADE, key, "the last ones sign for long enough") for key in made]
            keys = self._keys[domain] = (*keys, *made)
        known.state = await self._do(self._folder.state, domain)
        wait = EAGER_SECONDS if _is_eager(keys) else LOOK_SECONDS
        known.due = self._clock.seconds() + wait * (1 + JITTER * (2 * self._chance() - 1))
        await self._changed()
        for moved in (*step.noticed, *moves):
            self._tell(domain, moved, rules)
        moves += [moved for moved in step.noticed if moved.what is Move.LOST]  # who gave the command knows all else
        failed = await self._published(domain, keys, answers)
        self._nag(domain, keys, answers, bad)
        if await self._write(domain, keys, moves, failed, answers, bad, rules):
            known.state = await self._do(self._folder.state, domain)

    def _tell(self, domain: str, moved: Moved, rules: RotationRules) -> None:
        self._journal.note(fact.DkimKey(domain, moved.key.selector, moved.what, moved.why))
        line = happened(domain, moved, rules)
        if moved.what in (Move.LOST, Move.MADE, Move.GONE) and moved.why != BY_COMMAND:
            _log.warn("{line}", line=line)
        else:
            _log.info("{line}", line=line)
        self._nagged[domain, moved.key.selector] = self._clock.seconds()

    async def _published(
        self, domain: str, keys: Sequence[KeyLife], answers: Mapping[str, Answer]
    ) -> list[tuple[KeyLife, str]]:
        """Let the operator's program do what is to be done; what it did not, and why."""
        failed: list[tuple[KeyLife, str]] = []
        if self._publish is None:
            return failed
        orders = []
        for key in keys:
            shown = answers[key.selector].shown if key.selector in answers else Shown.MISSING  # made just now
            value = key.record if key.is_wanted_in_dns else ""
            if shown in (Shown.MISSING, Shown.DIFFERS) if value else shown is Shown.MATCHES:
                orders.append((key, value))
        first, began = self._next_order.pop(domain, ""), self._clock.seconds()
        start = next((at for at, (key, _) in enumerate(orders) if key.selector == first), 0)
        orders = orders[start:] + orders[:start]
        for at, (key, value) in enumerate(orders):
            if self._clock.seconds() - began >= ORDERS_SECONDS:
                self._next_order[domain] = key.selector
                _log.warn("publishing {count} records of {domain} is left to the next look: the program is slow",
                          count=len(orders) - at, domain=domain)
                break
            if why := await self._publish(key_name(key.selector, domain), value):
                failed.append((key, why))
        return failed

    def _nag(
        self, domain: str, keys: Sequence[KeyLife], answers: Mapping[str, Answer], bad: Mapping[str, Unusable]
    ) -> None:
        """Say again what is wrong, once a day."""
        now = self._clock.seconds()
        for key in keys:
            is_wrong = key.shown in (Shown.MISSING, Shown.DIFFERS) and key.is_wanted_in_dns
            last = self._nagged.get((domain, key.selector))
            if not is_wrong and key.selector not in bad:
                continue
            if last is None or now - last >= NAG_SECONDS:
                self._nagged[domain, key.selector] = now
                found, one = answers.get(key.selector), bad.get(key.selector)
                fault = f"{one.path}: {one.why}" if one is not None else ""
                _log.warn("{line}", line=reminder(domain, key, fault, found.why if found is not None else ""))
        for known in [one for one in self._nagged if one[0] == domain]:
            if known[1] not in {key.selector for key in keys}:
                del self._nagged[known]
                self._failed.pop(known, None)

    async def _write(
        self, domain: str, keys: Sequence[KeyLife], moves: Sequence[Moved], failed: Sequence[tuple[KeyLife, str]],
        answers: Mapping[str, Answer], bad: Mapping[str, Unusable], rules: RotationRules,
    ) -> bool:
        """Mail to the postmaster, where there is something for him to do; whether the folder has changed by that."""
        for key, why in failed:
            _log.warn("publishing {name}: {why}", name=key_name(key.selector, domain), why=why)
        now, postmaster = self._now(), self._settings.postmaster
        new = {key.selector for key, _ in failed if self._is_new_failure(domain, key)}
        owed = [key for key in keys if _is_owed(key, self._publish is not None, now)]
        about = [key for key in keys if key in owed or key.selector in new]
        if not about or postmaster is None:
            return False
        lines = [happened(domain, moved, rules) for moved in moves]
        said = {moved.key.selector for moved in moves} | {key.selector for key, _ in failed}
        for key in about:
            if key.selector not in said and key.state is State.GONE:
                lines.append(happened(domain, Moved(Move.GONE, key), rules))
            elif key.selector not in said:
                found, one = answers.get(key.selector), bad.get(key.selector)
                fault = f"{one.path}: {one.why}" if one is not None else ""
                lines.append(reminder(domain, key, fault, found.why if found is not None else ""))
        lines += [f"publishing {key_name(key.selector, domain)}: {why}" for key, why in failed]
        signs = {key.type for key in signing(keys)}
        lines += [f"{key.selector}: {outlook(key, rules, key.type in signs)}" for key in about
                  if key.state is State.WANTED]
        self._letters += 1
        octets = letter(
            self._settings.hostname, self._settings.author, postmaster, domain, lines,
            [key for key in about if key.is_wanted_in_dns], [key for key in about if not key.is_wanted_in_dns], now,
            f"dkim-{now:.0f}-{self._letters}@{self._settings.hostname}",
        )
        try:
            await self._send(None, [postmaster], octets)
        except (TemporaryFault, ValueError) as fault:
            _log.warn("the postmaster cannot be told of DKIM keys of {domain}: {why}", domain=domain, why=str(fault))
            return False
        self._failed |= {(domain, selector): self._clock.seconds() for selector in new}
        if owed:
            await self._do(told_of, self._folder, domain, owed, now)
        return bool(owed)

    def _is_new_failure(self, domain: str, key: KeyLife) -> bool:
        """Whether nobody was told today that the operator's program does not do this, in whatever words."""
        last = self._failed.get((domain, key.selector))
        return last is None or self._clock.seconds() - last >= NAG_SECONDS

    def _complain(self, domain: str, why: str) -> None:
        if why == self._complaints.get(domain, ""):
            return
        self._complaints[domain] = why
        if why:
            _log.error("DKIM keys cannot be looked after: {why}", why=why)
            self._journal.note(fact.Trouble("looking after DKIM keys", why, "", ""))

    def _trouble(self, what: str, failure: Failure) -> None:
        _log.failure("{what} failed", failure=failure, what=what)
        self._journal.note(fact.Trouble(what, type(failure.value).__name__, "", ""))
