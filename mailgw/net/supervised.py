"""Somebody else's code, called so that whatever it does costs one answer and nothing more.

Rules:
    It has a time for each answer.  What is late is cancelled and no longer waited for, whether it heeds that or not.
    An exception is logged with the plug-in's name and what it was called for; the caller gets a ``PluginFault``.
    What fails again and again is not asked for a while (``policy.breaker``); who makes it fail is alone in that.
    At most so many calls are under way at once, those that nobody waits for any more among them: a leak has an end.
    How long it holds the reactor without a pause is measured, step by step, and named.
"""

import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import ContextVar
from inspect import iscoroutine
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.net.asyncio_words import asyncio_hint
from mailgw.policy.breaker import BreakerSettings, SharedBreaker

log = Logger()

T = TypeVar("T")

BLOCKING_SECONDS = 0.05
"""Who holds the reactor that long in one step keeps all sessions and deliveries waiting: it is told."""
TOLD_EVERY_SECONDS = 60.0
"""Of one plug-in."""
TRACEBACKS = 10
"""Of one plug-in, in ``TOLD_EVERY_SECONDS``: whoever makes it fail as often as he likes gets one line each time."""
MAX_UNDER_WAY = 1000
"""Calls of one plug-in at once."""
BREAKER = BreakerSettings(failures=10, first_seconds=5.0, longest_seconds=300.0)


class PluginFault(Exception):
    """It gave no answer; ``why`` is one line for the operator."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@attrs.frozen
class CalledFor:
    """What a call is about, for the log and the journal; ``""`` for what there is not.  ``by`` is the stranger whose
    doing it is; ``part`` the part of the plug-in that has it, where it says so (``watched``)."""

    what: str  # "RCPT", "deliver" ...
    session_id: str = ""
    queue_id: str = ""
    by: str = ""
    part: str = ""


class Supervisor:
    """One plug-in's.  ``name`` is as people know it (``rule greylist``); ``seconds`` the time for one answer."""

    def __init__(
        self,
        name: str,
        seconds: float,
        clock: IReactorTime,
        note: Callable[[Event], None],
        breaker: BreakerSettings = BREAKER,
        under_way: int = MAX_UNDER_WAY,
        answers: tuple[type[Exception], ...] = (TemporaryFault,),
        costly_seconds: float = 0.0,
    ) -> None:
        """``answers`` are exceptions that say something: they pass through, and are no failure.  Failures that come
        sooner than after ``costly_seconds`` do not count towards the breaker: where all that it saves is a wait, and
        strangers choose what is asked, it would be theirs to open."""
        self.name = name
        self._seconds = seconds
        self._clock = clock
        # Twisted's reactors show the wall clock, which may jump within a step: nobody held anything up then.
        self._stopwatch = time.perf_counter if clock.seconds is time.time else clock.seconds
        self._note = note
        self._breaker = SharedBreaker(breaker)
        self._most_under_way = under_way
        self._answers = answers
        self._costly_seconds = costly_seconds
        self._under_way = 0
        self._blocked_until = -math.inf
        self._last_told = -TOLD_EVERY_SECONDS
        self._tracebacks = 0
        self._traced_since = 0.0
        self._blocked = 0

    async def call(self, about: CalledFor, make: Callable[[], object], seconds: float | None = None) -> object:
        """What ``make`` comes to: a value, a coroutine's or a Deferred's.  PluginFault where there is none in time.
        Cancelled, it cancels the plug-in.  ``seconds`` in place of the usual time."""
        began = self._clock.seconds()
        if not self._breaker.may_try(about.by, began):
            wait = self._breaker.wait_seconds(about.by, began)
            raise PluginFault(f"failed again and again: it is asked again in {wait:.0f} s")
        if self._under_way >= self._most_under_way:
            self._told(about, f"has {self._under_way} calls under way that do not end")
            raise PluginFault(f"has {self._under_way} calls under way")
        try:
            answer = await self._answer(about, make, self._seconds if seconds is None else seconds)
        except CancelledError:
            raise
        except self._answers:
            self.good(about)
            raise
        except PluginFault as fault:
            self._failed(about, fault.why, began)
            raise
        except Exception as error:
            is_logged = self._traced(about, Failure())  # type: ignore[no-untyped-call] # Twisted's
            self._failed(about, f"raised {type(error).__name__}", began, is_logged)
            raise PluginFault(f"raised {type(error).__name__}") from error
        return answer

    async def watch(self, about: CalledFor, make: Callable[[], object]) -> object:
        """The same without a time limit or a breaker, for a caller that has its own, and that takes what is raised.

        Cancelled, it ends at once, whether the plug-in heeds that or not: what that says there and then is the answer.
        """
        return await self._answer(about, make, None)

    def good(self, about: CalledFor) -> None:
        """Its answer to this made sense."""
        if self._breaker.succeeded(about.by):
            log.info("{name} answers again", name=self.name)

    def lied(self, about: CalledFor, why: str) -> PluginFault:
        """An answer made no sense; returns what to make of it."""
        log.error("{name} answered nonsense in {what}: {why}", name=self.name, what=_place(about), why=why)
        self._failed(about, f"answered nonsense: {why}", self._clock.seconds())
        return PluginFault(f"answered nonsense: {why}")

    def note(self, what: str, why: str, about: CalledFor) -> None:
        """In the journal; ``what`` is the plug-in, or a part of it."""
        self._note(Trouble(what, why, about.session_id, about.queue_id))

    # --- below ----------------------------------------------------------------------------------------

    async def _answer(self, about: CalledFor, make: Callable[[], object], seconds: float | None) -> object:
        began = self._stopwatch()
        try:
            made = make()
        except BaseException as error:
            if _says_something(error):
                raise
            raise self._strange(about, Failure()) from error  # type: ignore[no-untyped-call] # Twisted's
        finally:
            self._look(about, began)
        if iscoroutine(made):
            task: Deferred[object] = Deferred.fromCoroutine(self._stepped(about, made))
        elif isinstance(made, Deferred):
            task = made
        elif hasattr(made, "__await__"):
            task = Deferred.fromCoroutine(_awaited(made))
        else:
            return made  # neither kind of promise: the value itself
        if task.called and not isinstance(task.result, (Failure, Deferred)):
            return task.result  # the common case: it never waited
        return await self._in_time(about, task, seconds)

    def _in_time(self, about: CalledFor, task: Deferred[object], seconds: float | None) -> Deferred[object]:
        is_cancelled = False

        def cancel(_: object) -> None:
            nonlocal is_cancelled
            is_cancelled = True
            if timer is not None and timer.active():
                timer.cancel()
            task.cancel()

        answer: Deferred[object] = Deferred(cancel)
        self._under_way += 1

        def ended(result: object) -> None:
            self._under_way -= 1
            if timer is not None and timer.active():
                timer.cancel()
            if not answer.called:
                if isinstance(result, Failure) and not is_cancelled and not _says_something(result.value):
                    answer.errback(self._strange(about, result))
                else:
                    answer.callback(result)
            elif isinstance(result, Failure) and not isinstance(result.value, CancelledError):
                log.failure("{name} failed in {what}, late", result, name=self.name, what=_place(about))

        def expire() -> None:
            answer.errback(PluginFault(f"did not answer within {seconds:g} s"))
            task.cancel()

        timer = None if seconds is None else self._clock.callLater(seconds, expire)
        task.addBoth(ended)  # type: ignore[unused-awaitable] # nobody else has it
        return answer

    async def _stepped(self, about: CalledFor, coroutine: Coroutine[Any, Any, object]) -> object:
        _watching.set(_Watching(self, about))
        return await self.steps(about, coroutine)

    def steps(self, about: CalledFor, coroutine: Coroutine[Any, Any, T]) -> Awaitable[T]:
        return _Steps(coroutine, self._stopwatch, lambda began: self._look(about, began))

    def _look(self, about: CalledFor, began: float) -> None:
        """A step is over."""
        ended = self._stopwatch()
        seconds = ended - began
        if seconds < BLOCKING_SECONDS or began < self._blocked_until:  # its part's, told already
            return
        self._blocked_until = ended
        now = self._clock.seconds()
        self._blocked += 1
        if not 0 <= now - self._last_told < TOLD_EVERY_SECONDS:
            self._last_told = now
            times = f", {self._blocked} times since it was told" if self._blocked > 1 else ""
            self._blocked = 0
            part = f", in {about.part}" if about.part else ""
            self._told(about, f"held everything up for {seconds:.3f} s in one step{part}{times}")

    def _strange(self, about: CalledFor, failure: Failure) -> PluginFault:
        """It raised what only others raise at it: taken for theirs, it would end more than its answer."""
        self._traced(about, failure)
        return PluginFault(f"raised {type(failure.value).__name__}")

    def _traced(self, about: CalledFor, failure: Failure) -> bool:
        """Log it, where that is not one too many; whether it was."""
        now = self._clock.seconds()
        if not 0 <= now - self._traced_since < TOLD_EVERY_SECONDS:
            self._tracebacks, self._traced_since = 0, now
        self._tracebacks += 1
        if self._tracebacks > TRACEBACKS:
            return False
        hint = asyncio_hint(failure.value)
        log.failure("{name} raised in {what}{hint}", failure, name=self.name, what=_place(about), hint=hint)
        return True

    def _failed(self, about: CalledFor, why: str, began: float, is_logged: bool = False) -> None:
        now = self._clock.seconds()
        if now - began >= self._costly_seconds and self._breaker.failed(about.by, now):
            why += "; it failed again and again, and is not asked for a while"
            is_logged = False
        self._told(about, why, is_logged)

    def _told(self, about: CalledFor, why: str, is_logged: bool = False) -> None:
        if not is_logged:
            log.warn("{name} {why} in {what}", name=self.name, why=why, what=_place(about))
        self.note(self.name, why, about)


def _says_something(error: BaseException | None) -> bool:
    """Whether it is an exception of the plug-in's own: no cancellation, and nothing that ends a program."""
    return isinstance(error, Exception) and not isinstance(error, CancelledError)


@attrs.frozen
class _Watching:
    supervisor: Supervisor
    about: CalledFor


_watching: ContextVar[_Watching | None] = ContextVar("_watching", default=None)


async def watched(work: Coroutine[Any, Any, T], part: str) -> T:
    """What ``work`` comes to, in a plug-in that has parts and lets them run beside it: how long it holds the reactor is
    measured, too, and told by the name of the plug-in and the part.  Where nobody supervises the caller it is not."""
    found = _watching.get()
    if found is None:
        return await work
    return await found.supervisor.steps(attrs.evolve(found.about, part=part), work)


def troubles_of(part: str) -> Callable[[str], None]:
    """What notes why a part of the plug-in that is called now failed, for the journal; the log is the caller's.  Where
    nobody supervises him, nobody hears of it."""
    found = _watching.get()
    return _unheard if found is None else lambda why: found.supervisor.note(part, why, found.about)


def _unheard(why: str) -> None:
    pass


class _Steps(Awaitable[T]):
    """Awaits a coroutine, and tells of each of its steps when it began."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], seconds: Callable[[], float], told: Callable[[float], None]
    ) -> None:
        self._coroutine = coroutine
        self._seconds = seconds
        self._told = told

    def __await__(self) -> Generator[Any, Any, T]:
        coroutine, seconds, told = self._coroutine, self._seconds, self._told
        sent: Any = None
        raised: BaseException | None = None
        while True:
            began = seconds()
            try:
                waits_for = coroutine.send(sent) if raised is None else coroutine.throw(raised)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                told(began)
            try:
                sent, raised = (yield waits_for), None
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - the coroutine's to take
                sent, raised = None, error


async def _awaited(promise: Any) -> object:
    return await promise


def _place(about: CalledFor) -> str:
    return " ".join(filter(None, (about.what, about.session_id, about.queue_id)))
