"""When to try again: a pure function of age and attempts (RFC 5321 s4.5.4.1)."""

from collections.abc import Callable

import attrs


@attrs.frozen
class RetrySettings:
    """All in seconds.  ``schedule`` (not empty) is the wait after the first, second ... attempt; its last one
    repeats.  A sender is told of the delay once the message is ``warn_after`` old, and gets it back after
    ``give_up_after``.  ``jitter`` from 0 to 1 spreads each wait by that fraction to both sides, so that what
    failed together is not tried together."""

    schedule: tuple[float, ...]
    warn_after: float
    give_up_after: float
    jitter: float


def next_due(settings: RetrySettings, now: float, arrived: float, attempts: int, chance: Callable[[], float]) -> float:
    """When to try again after ``attempts`` (from 1) ended attempts; epoch seconds, later than ``now``.

    ``chance`` returns 0 to 1.  A wait that would lead past the age limit ends at it, so that the last attempt
    is made when the age is reached, and no recipient expires without one after that.
    """
    wait = settings.schedule[min(max(attempts, 1), len(settings.schedule)) - 1]
    due = now + wait * (1 + settings.jitter * (2 * chance() - 1))
    expiry = arrived + settings.give_up_after
    return min(due, expiry) if now < expiry else due


def steps_of_age(settings: RetrySettings, age: float) -> int:
    """How many attempts the schedule makes until ``age`` seconds, from 1; at most as many as it has waits, since
    the last one repeats.  For what is postponed without an attempt of its own."""
    passed = 0.0
    for steps, wait in enumerate(settings.schedule, 1):
        passed += wait
        if age < passed:
            return steps
    return len(settings.schedule)


def is_expired(settings: RetrySettings, now: float, arrived: float) -> bool:
    """Whether a failed attempt at ``now`` was the last one."""
    # The same sum as in next_due, so that the attempt at the age limit is never a rounding error too early.
    return now >= arrived + settings.give_up_after


def wants_warning(settings: RetrySettings, now: float, arrived: float, warned: bool) -> bool:
    """Whether the sender should be told of the delay: once, and not where the message goes back anyway."""
    return not warned and now - arrived >= settings.warn_after and not is_expired(settings, now, arrived)
