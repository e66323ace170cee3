"""What takes long in the reactor's thread, cut into steps: between two of them others have their turn."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

T = TypeVar("T")

# Of lanes, each of which takes 10 to 50 microseconds, or some 100 where an attempt begins.
LANES = 100
# Of messages of which there is something to be said: a notice takes a millisecond to write.
MESSAGES = 10


async def in_steps(clock: IReactorTime, size: int, items: Iterable[T], do: Callable[[T], object]) -> None:
    """``do`` this with each item, ``size`` of them in one turn of the reactor; each is asked for when all before it are
    done with.  What ``do`` raises ends it."""
    for number, item in enumerate(items, 1):
        do(item)
        if number % size == 0:
            await _others(clock)


async def _others(clock: IReactorTime) -> None:
    """Whoever else has something to do now has done it when this returns."""
    turn: Deferred[None] = Deferred()
    call = clock.callLater(0, turn.callback, None)
    try:
        await turn
    finally:
        if call.active():
            call.cancel()
