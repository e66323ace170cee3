"""One handler, within its time: what it does becomes one outcome."""

from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw.app.answers import Reject, Retry
from mailgw.app.sending import Sending, begun_from_now_on
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Outcome, Scope, delivered, temporary
from mailgw.mail.reply import Reply
from mailgw.net.asyncio_words import asyncio_hint

log = Logger()

_HANDLED = Reply(250, "2.0.0", ("Handled",))


class Returned(TypeError):
    """A handler returned something: None is all that there is to say."""


async def awaited(result: object) -> object:
    """What a function comes to that may be a coroutine function, return a Deferred, or be a plain one.

    Who returns what he sends (``return app.send(...)`` in a plain function) says when he is done, and nothing else.
    """
    if isinstance(result, Sending):
        await result
        return None
    if isinstance(result, Awaitable):
        return await result
    return result


Note = Callable[[str], None]
"""Why a handler failed, for the journal."""


async def handled(
    call: Callable[[], Awaitable[object]], name: str, queue_id: str, recipient: Mailbox, note: Note
) -> Outcome:
    """The outcome of a handler; only a cancellation passes through, whoever was cancelled."""
    begun = begun_from_now_on()
    try:
        result = await call()
        if result is not None:
            raise Returned(f"it returned a {type(result).__name__}: expected None, or an exception")
        for sending in begun:
            if not sending.is_known:
                await sending
    except (CancelledError, GeneratorExit):
        raise
    except (Reject, Retry) as word:
        return word.outcome(name)
    except TemporaryFault as fault:
        return temporary("4.3.0", fault.why, Scope.RECIPIENT, name)
    except BaseException as fault:  # noqa: BLE001 - somebody's own code raises anything, sys.exit's, too; the mail stays
        log.failure(
            "handler {handler} failed with {queue_id} for {recipient}{hint}", handler=name, queue_id=queue_id,
            recipient=str(recipient), hint=asyncio_hint(fault),
        )
        return _bug(name, fault, note)
    return delivered(_HANDLED, name)


def _bug(name: str, fault: BaseException | None, note: Note) -> Outcome:
    note(str(fault) if isinstance(fault, Returned) else f"raised {type(fault).__name__}")
    return temporary("4.3.0", f"The application failed ({type(fault).__name__})", Scope.RECIPIENT, name)


def in_time(
    work: Coroutine[Deferred[Any], Any, Outcome], seconds: float, clock: IReactorTime | None, name: str, queue_id: str,
    left: Counter[str], note: Note,
) -> Deferred[tuple[Outcome, bool]]:
    """The outcome of ``work``, or that it took too long: then it is cancelled, and what it says of that counts.  And
    whether who waits for it was cancelled meanwhile, and should end, too; ``work`` that says nothing of that lets the
    cancellation pass.

    What does not end when it is cancelled is left alone, and counted in ``left`` by its name, until it ends.  ``clock``
    None: it has all the time there is.
    """
    too_long = temporary("4.3.0", f"The application took longer than {seconds:g} seconds", Scope.RECIPIENT, name)
    is_late = is_cut_off = is_left = has_ended = False
    timer: IDelayedCall | None = None

    def told(result: Outcome | Failure) -> None:
        nonlocal has_ended
        has_ended = True
        left[name] -= is_left
        if timer is not None and timer.active():
            timer.cancel()
        if done.called:
            return
        if isinstance(result, Outcome):
            done.callback((result, is_cut_off))
        elif is_late:
            done.callback((too_long, False))
        elif is_cut_off or not isinstance(result.value, CancelledError):
            done.errback(result)
        else:  # of what it waited for: its own bug, and nobody else's
            log.failure("handler {handler} failed with {queue_id}", result, handler=name, queue_id=queue_id)
            done.callback((_bug(name, result.value, note), False))

    def cancel() -> None:
        nonlocal is_left
        task.cancel()
        if not has_ended and not is_left:
            is_left = True
            left[name] += 1

    def late() -> None:
        nonlocal is_late
        is_late = True
        note(f"took longer than {seconds:g} s")
        cancel()
        if not done.called:
            log.error(
                "handler {handler} was cancelled after {seconds:g} s with {queue_id}, and does not end: it is left",
                handler=name, queue_id=queue_id, seconds=seconds,
            )
            done.callback((too_long, False))

    def cut_off(_: object) -> None:
        nonlocal is_cut_off
        is_cut_off = True
        if timer is not None and timer.active():
            timer.cancel()
        cancel()

    done: Deferred[tuple[Outcome, bool]] = Deferred(cut_off)
    task = Deferred.fromCoroutine(work)
    if clock is not None and not task.called:
        timer = clock.callLater(seconds, late)
    task.addBoth(told)  # type: ignore[unused-awaitable] # done says what it came to
    return done
