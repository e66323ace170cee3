"""The reactor's clock: one that nobody sets."""

import time
from typing import Any

from twisted.internet.base import ReactorBase


def make_steady(reactor: Any) -> None:
    """Let the clock of Twisted's reactor be the monotonic one, for what is scheduled already, too.

    By itself it is the wall clock: where that is put back by an hour no timer ends for an hour, whatever a limit or a
    retry says, and where it is put forward all end at once.  Nobody who keeps to ``IReactorTime`` can tell the two
    apart: only differences have a meaning there.  Once more does nothing; nor for a reactor that is none of Twisted's,
    which has a clock of its own.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is time.monotonic:
        return
    behind = time.monotonic() - reactor.seconds()
    reactor._insertNewDelayedCalls()
    # Also those that were cancelled, which stand in the heap, in the order of their times, until they would be due.
    for call in reactor._pendingTimedCalls:
        call.time += behind
        call.seconds = time.monotonic
    reactor.seconds = time.monotonic
