"""A circuit breaker: what fails again and again is left alone for a while, so that its trouble costs nobody a wait.

Rules:
    So many failures in a row open it.  Then nothing is tried until its wait is over; after that one call alone, in each
    wait, shows whether it works again.
    A success, whenever its call began, closes it and forgets all failures.
    A trial that fails doubles the wait, up to the longest.  One that never ends is not waited for: the next one may go
    after the same wait.
    Calls that began before it opened, and fail afterwards, change nothing: they say what is known.

Time comes in as ``now``, seconds; a clock that steps back costs no more than the longest wait.  Whoever calls says
``may_try`` before each call, and ``succeeded`` or ``failed`` behind it; a call that was cancelled by somebody else says
neither.
"""

from collections import OrderedDict
from typing import Final

import attrs

REMEMBERED: Final = 1000
"""Callers of one ``SharedBreaker`` whose failures are known; of one more, who failed longest ago is forgotten."""


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
        wait = self._next_trial - now if self.is_open else 0.0
        return wait if 0.0 < wait <= self._settings.longest_seconds else 0.0

    def may_try(self, now: float) -> bool:
        """Whether to call now.  Of an open one a True is the trial of this wait: who gets it has to call."""
        if not self.is_open:
            return True
        if now < self._next_trial <= now + self._settings.longest_seconds:
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


class SharedBreaker:
    """A breaker that strangers have a part in: what is done for one of them may fail by what he says, and he may say it
    as often as he likes.

    So whoever fails alone is left alone alone; for all it opens by so many in a row who differ.  ``by`` is who it was
    done for, ``""`` where it was nobody's doing.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._all = Breaker(settings)
        self._own: OrderedDict[str, Breaker] = OrderedDict()
        self._failed_by: set[str] = set()  # since the last success

    def wait_seconds(self, by: str, now: float) -> float:
        own = self._own.get(by)
        return max(self._all.wait_seconds(now), 0.0 if own is None else own.wait_seconds(now))

    def may_try(self, by: str, now: float) -> bool:
        """As ``Breaker`` has it."""
        own = self._own.get(by)
        return (own is None or own.may_try(now)) and self._all.may_try(now)

    def succeeded(self, by: str) -> bool:
        """A call for ``by`` ended well; True where that closes it for all."""
        self._failed_by.clear()
        self._own.pop(by, None)
        return self._all.succeeded()

    def failed(self, by: str, now: float) -> bool:
        """A call for ``by`` failed; True where that opens it, for all or for him."""
        is_news = False
        if by:
            own = self._own.setdefault(by, Breaker(self._settings))
            self._own.move_to_end(by)
            if len(self._own) > REMEMBERED:
                self._own.popitem(last=False)
            is_news = own.failed(now)
            if not self._all.is_open:
                if by in self._failed_by:
                    return is_news
                self._failed_by.add(by)
        return self._all.failed(now) or is_news
