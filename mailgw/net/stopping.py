"""Signals that stop a process which is a gateway's own: the first one counts.

Twisted would stop its reactor once more at each, which is a traceback (ReactorNotRunning) in the log; and they come in
twos: ``timeout`` signals its child, and then the child's whole group.  Inside another application signals are the
application's: ``daemon`` and the processes of ``workers`` alone do this.
"""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)


def stop_at_the_first(reactor: object) -> None:
    """To be called once the reactor runs, and has its handlers in place; another's (a debugger's) are left alone."""
    for number in STOPPING:
        theirs: Any = signal.getsignal(number)
        if getattr(theirs, "__self__", None) is reactor:
            signal.signal(number, _first(theirs))


def _first(theirs: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
    def stop(number: int, frame: FrameType | None) -> None:
        for one in STOPPING:
            # Not SIG_IGN, which a process that is started meanwhile would be born with.
            signal.signal(one, _no_more)
        theirs(number, frame)

    return stop


def _no_more(number: int, frame: FrameType | None) -> None:
    """It stops already, within its time."""
