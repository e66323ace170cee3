"""The reactor's clock: one that nobody sets."""

import time
from typing import Any

from twisted.internet.base import ReactorBase


def make_steady(reactor: Any) -> None:
    """Let the clock of Twisted's reactor go on evenly from now, whatever becomes of the wall clock.

    By itself it is the wall clock: where that is put back by an hour no timer ends for an hour, whatever a limit or a
    retry says, and where it is put ahead all end at once.  It stays in seconds since the epoch, as the wall clock had
    them at that moment: who takes it for the time of day (Twisted's access logs do) is as wrong as the clock was set
    since.  Once more does nothing; nor for a reactor that is none of Twisted's, which has a clock of its own.
    """
    if not isinstance(reactor, ReactorBase) or getattr(reactor.seconds, "is_steady", False):
        return
    ahead = reactor.seconds() - time.monotonic()

    def seconds() -> float:
        return time.monotonic() + ahead

    seconds.is_steady = True  # type: ignore[attr-defined]
    reactor.seconds = seconds
    for call in reactor.getDelayedCalls():
        call.seconds = seconds  # type: ignore[attr-defined] # for its reset()
