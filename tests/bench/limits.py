"""Every bench ends by itself: a limit on its whole time, and on each wait within it."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class TookTooLong(Exception):
    """The bench's time is over."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ``TookTooLong`` in the main thread once that time is over, whatever it waits for; not to be nested.

    What was started is ended by the contexts on the way out, each of which waits for a limited time.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise TookTooLong(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
