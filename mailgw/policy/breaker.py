"""A circuit breaker: what fails again and again is left alone for a while, so that its trouble costs nobody a wait.

Rules:
    So many failures in a row open it.  Then nothing is tried until its wait is over; after that one call alone, in each
    wait, shows whether it works again.
    A success, whenever its call began, closes it and forgets all failures.
    A trial that fails doubles the wait, up to the longest.  One that never ends is not waited for: the next one may go
    after the same wait.
    Calls that began before it opened, and fail afterwards, change nothing: they say what is known.

Time comes in as ``now``, monotonic seconds.  Whoever calls says ``may_try`` before each call, and ``succeeded`` or
``failed`` behind it; a call that was cancelled by somebody else says neither.
"""

import attrs


@attrs.frozen
class BreakerSettings:
    """``failures`` in a row, from 1, open it for ``first_seconds``; each trial that fails doubles that, up to
    ``longest_seconds``."""

    failures: int
    first_seconds: float
    longest_seconds: float


class Breaker:
    """Mutable, for one source, plug-in or server; closed at first."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._failures = 0
        self._wait_seconds = 0.0        # 0: closed
        self._next_trial = 0.0
        self._is_trying = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for one trial after each wait."""
        return self._wait_seconds > 0

    def wait_seconds(self, now: float) -> float:
        """Until ``may_try`` says yes again; 0: it does now."""
        return max(0.0, self._next_trial - now) if self.is_open else 0.0

    def may_try(self, now: float) -> bool:
        """Whether to call now.  Of an open one a True is the trial of this wait: who gets it has to call."""
        if not self.is_open:
            return True
        if now < self._next_trial:
            return False
        self._is_trying = True
        self._next_trial = now + self._wait_seconds
        return True

    def succeeded(self) -> bool:
        """A call ended well; True where that closes it."""
        was_open = self.is_open
        self._failures, self._wait_seconds, self._is_trying = 0, 0.0, False
        return was_open

    def failed(self, now: float) -> bool:
        """A call failed, or took too long; True where that opens it (not where it stays open)."""
        if self.is_open:
            if self._is_trying:
                self._is_trying = False
                self._wait_seconds = min(2 * self._wait_seconds, self._settings.longest_seconds)
                self._next_trial = now + self._wait_seconds
            return False
        self._failures += 1
        if self._failures < self._settings.failures:
            return False
        self._wait_seconds = self._settings.first_seconds
        self._next_trial = now + self._wait_seconds
        return True
