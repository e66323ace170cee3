"""Web hooks for events: facts become events, wait in a book, and are posted; operators see how that goes.

    hooks.list     each hook, how it is, and how many events wait for it, or are dead
    hooks.dead     the dead of ``name``, ``limit`` of them from behind the cursor ``after`` on
    hooks.retry    ... wait again: those of ``numbers``, or ``all``
    hooks.drop     ... are forgotten, likewise; of a hook that is gone those that wait, too
    hooks.resume   ``name`` is on again where it was off, and what waits for it is due now

Rules:
    There is one owner, the only process, or the parent of several.
    An event is in the book, and on disk, before it is posted.
    What becomes of mail that does not come into the queue is not written down where the disk has little room: who is
    refused can go on with it for ever, and the queue needs the rest.
    Nothing here holds up mail: what cannot be written is lost, counted, and told in the log and by Health.
"""

import fnmatch
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred
from twisted.logger import Logger

from mailgw.deliver.event_hook_settings import EventHookSettings
from mailgw.following import Told
from mailgw.mail.errors import NotThere, RefusedRequest, TemporaryFault
from mailgw.mail.ports import Desk, Request, WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.store import hooks
from mailgw.store.hooks import NewEvent, Tally
from mailgw.store.ledger import Job, Ledger
from mailgw.store.sent import Sent

PRUNE_SECONDS: Final = 3600.0
GONE_SECONDS: Final = 14 * 86400.0
"""What a hook left that is not in the configuration any more is kept for so long after it happened, or died: as the
dead are where a hook does not say (``config.event_hooks``)."""
MOST_LISTED: Final = 1000
GLANCE_SECONDS: Final = 1.0
MOST_WAITING: Final = 50_000
"""Facts that wait to be written, while the disk is slow; more are lost, and counted."""

OF_STRANGERS: Final = frozenset({"rejected", "discarded", "authenticated"})
"""Facts of mail that may never come into the queue."""

About = Callable[[Sequence[str]], Any]
"""What the HTTP API knows of messages, by their queue ids (``Sending.about``)."""

log = Logger()


class Hooks:
    """``about`` as above; ``made`` makes the one that posts to a hook, with what closes it; ``has_room`` says whether
    the disk has room for what strangers bring about."""

    def __init__(
        self, ledger: Ledger, about: About, made: Callable[[EventHookSettings], Any], reactor: Any, tasks: TaskGroup,
        wall_clock: WallClock, has_room: Callable[[], Awaitable[bool]],
    ) -> None:
        self._has_room = has_room
        self._is_full = False
        self._ledger = ledger
        self._about = about
        self._make = made
        self._reactor = reactor
        self._tasks = tasks
        self._wall_clock = wall_clock
        self._hooks: dict[str, Any] = {}
        self._closers: dict[str, Callable[[], Any]] = {}
        self._facts: list[Told] = []
        self._is_writing = False
        self._waiting: list[Deferred[None]] = []
        self._lost = 0  # since the log told of it
        self._all_lost = 0
        self._lost_at = 0.0
        self._timer: Any = None

    def desk(self) -> Desk:
        return {
            "hooks.list": self._answer_list, "hooks.dead": self._answer_dead, "hooks.retry": self._answer_retry,
            "hooks.drop": self._answer_drop, "hooks.resume": self._answer_resume,
        }

    def put_in_force(self, settings: Sequence[EventHookSettings]) -> None:
        """These are all hooks from now on; what waits for one of the same name waits on.  TemporaryFault where one
        cannot be made, and then nothing is changed."""
        made = {one.name: self._make(one) for one in settings}
        self._leave()
        for name, (hook, close) in made.items():
            self._hooks[name], self._closers[name] = hook, close
            hook.wake()
        if self._timer is None:
            self._timer = self._reactor.callLater(PRUNE_SECONDS, self._prune_soon)

    def turn_on(self) -> None:
        """Those that are off."""
        for hook in self._hooks.values():
            if hook.state.is_off:
                hook.resume()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for hook in self._hooks.values():
            hook.close()
        # What a stop hands on last becomes events, too: they are for the hooks that there are, so these leave after it.
        while self._is_writing:
            written: Deferred[None] = Deferred()
            self._waiting.append(written)
            await written
        self._leave()
        await self._ledger.close()

    def _leave(self) -> None:
        for hook in self._hooks.values():
            hook.close()
        for close in self._closers.values():
            maybeDeferred(close).addErrback(  # type: ignore[unused-awaitable] # nobody waits for it
                lambda failure: log.failure("closing connections of a web hook", failure=failure)
            )
        self._hooks, self._closers = {}, {}

    # --- facts in -------------------------------------------------------------------------------------------

    def hear(self, facts: Sequence[Told]) -> None:
        """In their order."""
        if not self._hooks:
            return
        room = MOST_WAITING - len(self._facts)
        if len(facts) > room:
            if not self._lost:
                log.error("events for web hooks come faster than they can be written down: some are lost")
            self._lost += len(facts) - room
            self._lose(len(facts) - room)
        self._facts += facts[:room]
        if self._facts and not self._is_writing:
            self._is_writing = True
            self._tasks.spawn("writing down events for web hooks", self._write())

    async def _write(self) -> None:
        try:
            while self._facts:
                facts, self._facts = self._facts[:hooks.STEP], self._facts[hooks.STEP:]
                await self._keep(facts)
            if self._lost:
                lost, self._lost = self._lost, 0
                log.error("{count} facts did not become events for web hooks", count=lost)
        finally:
            self._is_writing = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    async def _keep(self, facts: Sequence[Told]) -> None:
        ids = list(dict.fromkeys(fact["queue_id"] for fact in facts if fact.get("queue_id")))
        try:
            known: Mapping[str, Sent] = await self._about(ids)
        except TemporaryFault:
            known = {}
        await self._look_for_room(facts)
        events: list[NewEvent] = []
        for fact in facts:
            found = self._events(fact, known.get(fact.get("queue_id") or ""))
            if self._is_full and fact["event"] in OF_STRANGERS:
                self._lose(len(found))
            else:
                events += found
        if not events:
            return
        try:
            died = await self._ledger.do(hooks.added(events, self._wall_clock()))
        except TemporaryFault as fault:
            log.error("{count} events for web hooks are lost: {why}", count=len(events), why=fault.why)
            self._lose(len(events))
            return
        for name, count in died.items():
            log.error("web hook {name}: there is no room for more events, and its {count} oldest are dead",
                      name=name, count=count)
            if name in self._hooks:
                self._hooks[name].state.dead += count
        for name in {event.hook for event in events}:
            if name in self._hooks:
                self._hooks[name].wake()

    async def _look_for_room(self, facts: Sequence[Told]) -> None:
        if not any(fact["event"] in OF_STRANGERS for fact in facts):
            return
        was_full, self._is_full = self._is_full, not await self._has_room()
        if self._is_full and not was_full:
            log.error("the disk has little room: events for web hooks of mail that is not queued are lost until it has")
        elif was_full and not self._is_full:
            log.info("the disk has room again for all events for web hooks")

    def _lose(self, count: int) -> None:
        if count:
            self._all_lost += count
            self._lost_at = self._wall_clock()

    def _events(self, fact: Told, known: Sent | None) -> Sequence[NewEvent]:
        event = event_of(fact, known)
        body: bytes | None = None
        found = []
        for name, hook in self._hooks.items():
            if wants(hook.settings, fact, known) and not hook.state.is_off:
                body = body or msgspec.json.encode(event)
                message = str(fact.get("queue_id") or fact.get("session_id") or "")
                found.append(NewEvent(name, message, fact["time"], body))
        return found

    def _prune_soon(self) -> None:
        self._timer = self._reactor.callLater(PRUNE_SECONDS, self._prune_soon)
        self._tasks.spawn("forgetting dead events", self._prune())

    async def _prune(self) -> None:
        try:
            if not await self._ledger.is_there():
                return
            for name in {*self._hooks, *await self._ledger.look(hooks.known_hooks)}:
                hook = self._hooks.get(name)
                before = self._wall_clock() - (GONE_SECONDS if hook is None else hook.settings.keep_dead_seconds)
                while await self._ledger.do(hooks.pruned(name, before)):
                    pass
                while name not in self._hooks and (count := await self._ledger.do(hooks.forsaken(name, before))):
                    log.warn("{count} events are forgotten, which waited for web hook {name}, that is gone",
                             count=count, name=name)
        except TemporaryFault as fault:
            log.warn("dead events are not forgotten: {why}", why=fault.why)

    # --- operators ------------------------------------------------------------------------------------------

    async def _answer_list(self, request: Request) -> object:
        names, found = list(self._hooks), dict[str, Tally]()
        if await self._ledger.is_there():
            names += [name for name in await self._ledger.look(hooks.known_hooks) if name not in names]
            found |= await self._ledger.look(hooks.tallies(names))
        return {"items": [self._told(name, found.get(name, Tally())) for name in names]}

    @property
    def fault(self) -> str:
        """Why the book could not be used last; "" where it could, or where there are no hooks."""
        return self._ledger.fault if self._hooks else ""

    def lost_told(self) -> Mapping[str, Any]:
        """How many events could not be written down, since the start, and when the last ones."""
        return {"count": self._all_lost, "last": self._lost_at}

    async def at_a_glance(self) -> Sequence[Mapping[str, Any]]:
        """How each hook of the configuration is: ``name``, ``is_off``, ``why``; and ``waiting``, ``dead``,
        ``oldest``, ``blocked`` and ``is_astray``, None each while the book is unwell, or slow."""
        names, found = list(self._hooks), dict[str, Tally]()
        if not names:
            return []
        try:
            asked = Deferred.fromCoroutine(self._tallies(names))
            found |= await asked.addTimeout(GLANCE_SECONDS, self._reactor)
        except (TemporaryFault, TimeoutError):
            pass
        unknown = dict.fromkeys(_counted(Tally()))
        return [
            {"name": name, "is_off": hook.state.is_off, "why": hook.state.why or found.get(name, Tally()).why,
             **(_counted(found[name]) if name in found else unknown)}
            for name, hook in self._hooks.items()
        ]

    async def _tallies(self, names: Sequence[str]) -> Mapping[str, Tally]:
        if not await self._ledger.is_there():
            return dict.fromkeys(names, Tally())
        return await self._ledger.look(hooks.tallies(names))

    def _told(self, name: str, tally: Tally) -> Mapping[str, Any]:
        hook = self._hooks.get(name)
        known: dict[str, Any] = {"name": name, "state": "gone", "origin": "", "events": [], "failures": 0, "why": "",
                                 "again": None}
        if hook is not None:
            state = hook.state
            word = "off" if state.is_off else "failing" if state.failures else "on"
            known |= {
                "state": word, "origin": hook.settings.origin, "events": sorted(hook.settings.events),
                "failures": state.failures, "why": state.why or tally.why,
                "again": None if state.is_off else state.again or None,
            }
        return {**known, **_counted(tally)}

    async def _answer_dead(self, request: Request) -> object:
        name, limit, after = await self._name(request), request.get("limit", 100), request.get("after") or "0"
        if type(limit) is not int or not 1 <= limit <= MOST_LISTED:
            raise RefusedRequest(f"limit must be a number from 1 to {MOST_LISTED}")
        if not isinstance(after, str) or not re.fullmatch("[0-9]{1,18}", after):
            raise RefusedRequest("after: no cursor of a list like this")
        found = await self._ledger.look(hooks.dead_of(name, int(after), limit + 1))
        items = [{"number": one.number, "at": one.at, "died": one.died, "why": one.why, "event": one.event}
                 for one in found[:limit]]
        return {"items": items, "next": str(items[-1]["number"]) if len(found) > limit else None}

    async def _answer_retry(self, request: Request) -> object:
        numbers = _numbers(request)
        name = await self._name(request, to_post=True)
        answer = await self._each(lambda which: hooks.revived(name, which, self._wall_clock()), numbers)
        if name in self._hooks:  # still, after the wait
            self._hooks[name].wake()
        return answer

    async def _answer_drop(self, request: Request) -> object:
        numbers = _numbers(request)
        name = await self._name(request)
        return await self._each(lambda which: hooks.dropped(name, which, name not in self._hooks), numbers)

    async def _answer_resume(self, request: Request) -> object:
        """``events``: how many waited."""
        name, tally = await self._name(request, to_post=True), Tally()
        if await self._ledger.is_there():
            while await self._ledger.do(hooks.due_now(name, self._wall_clock())):
                pass
            tally = (await self._ledger.look(hooks.tallies([name])))[name]
        if name in self._hooks:
            self._hooks[name].resume()
        return {"events": tally.waiting}

    async def _each(
        self, job: Callable[[Sequence[int] | None], Job[list[int]]], numbers: Sequence[int] | None
    ) -> Mapping[str, object]:
        """In steps, between which events come and go: how many ``events``, and which of the ``numbers`` are missing."""
        if numbers is not None:
            met = await self._ledger.do(job(numbers))
            return {"events": len(met), "missing": sorted(set(numbers) - set(met))}
        total = 0
        while met := await self._ledger.do(job(None)):
            total += len(met)
        return {"events": total, "missing": []}

    async def _name(self, request: Request, to_post: bool = False) -> str:
        """That of a hook that there is; or, but ``to_post``, of one that is gone and left something."""
        name = request.get("name")
        if not isinstance(name, str) or not name:
            raise RefusedRequest("which web hook? its name is missing")
        if name in self._hooks:
            return name
        if not await self._ledger.is_there() or name not in await self._ledger.look(hooks.known_hooks):
            raise NotThere(f"there is no web hook {name}")
        if to_post:
            raise RefusedRequest(f"there is no web hook {name} any more: nobody would post them")
        return name


def _counted(tally: Tally) -> Mapping[str, Any]:
    return {"waiting": tally.waiting, "dead": tally.dead, "oldest": tally.oldest, "blocked": tally.blocked,
            "is_astray": tally.is_astray}


def _numbers(request: Request) -> Sequence[int] | None:
    """None for all."""
    numbers = request.get("numbers")
    if numbers is None and request.get("all") is True:
        return None
    if not isinstance(numbers, list) or not numbers or len(numbers) > hooks.STEP or \
            any(type(one) is not int or not 0 < one < 1 << 62 for one in numbers):
        raise RefusedRequest(f"say which by numbers, 1 to {hooks.STEP} of them, or all")
    return list(dict.fromkeys(numbers))


def wanted_of(settings: Collection[EventHookSettings]) -> frozenset[str]:
    """The names of all facts that any of them wants."""
    return frozenset().union(*(one.events for one in settings))


def wants(settings: EventHookSettings, fact: Told, known: Sent | None) -> bool:
    if fact["event"] not in settings.events:
        return False
    if settings.tags and (known is None or not set(settings.tags) & set(known.tags)):
        return False
    lane = fact.get("lane")
    return not settings.lanes or lane is None or any(fnmatch.fnmatchcase(lane, one) for one in settings.lanes)


def event_of(fact: Told, known: Sent | None) -> Mapping[str, Any]:
    """What is posted: the fact as the journal has it, an id that is no other's, and what the API's sender said."""
    event = {"id": f"evt_{secrets.token_hex(12)}", **fact}
    if known is not None:
        event |= {"sent": known.id, "tags": list(known.tags), "metadata": dict(known.metadata)}
    return event
