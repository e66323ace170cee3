"""When to try again: a pure function of age and attempts (RFC 5321 s4.5.4.1), and of what the sender asked for.

``since`` is from when on a message's age counts: its arrival, or its release where it was held (RFC 4865).
``by`` is the time that its sender gave it (RFC 2852), None where it gave none.  Of mode R nothing is attempted once
it has passed: the last attempt is made a little before, so that it ends in time.  Of mode N an attempt is made then,
and the sender told of the delay, at that time alone; then it goes on as ever.
"""

from collections.abc import Callable

import attrs

from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters

# The last attempt before a deadline of mode R: most end within this.
LAST_CALL_SECONDS = 60.0


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


def age_begins(arrived: float, parameters: MailParameters) -> float:
    """From when on a message's age counts; of one that is held, and of which the operator had no patience, this is
    in the future."""
    until = parameters.hold_until
    return arrived if until is None else max(arrived, until)


def longest_wait(settings: RetrySettings) -> float:
    """No wait between two attempts is longer, in seconds."""
    return max(settings.schedule) * (1 + settings.jitter)


def next_due(
    settings: RetrySettings, now: float, since: float, attempts: int, chance: Callable[[], float],
    by: DeliverBy | None = None, factor: float = 1.0,
) -> float:
    """When to try again after ``attempts`` (from 1) ended attempts; epoch seconds, later than ``now``.

    ``factor`` (above 0) makes the schedule's wait longer or shorter.

    ``chance`` returns 0 to 1.  A wait that would lead past the age limit ends at it, so that the last attempt
    is made when the age is reached, and no recipient expires without one after that.  None leads past a deadline.
    """
    wait = settings.schedule[min(max(attempts, 1), len(settings.schedule)) - 1] * factor
    due = now + wait * (1 + settings.jitter * (2 * chance() - 1))
    expiry = since + settings.give_up_after
    if now < expiry:
        due = min(due, expiry)
    if by is not None and now < by.deadline:
        due = min(due, by.deadline)
        last_call = by.deadline - LAST_CALL_SECONDS
        if by.mode is ByMode.RETURN and now < last_call:
            due = min(due, last_call)
    return due


def attempts_ahead(settings: RetrySettings, most: int) -> list[float]:
    """How old a message is at each of its attempts where none is ever of use: from 0.0, until it is given up with the
    last one, at most ``most`` of them.  Attempts that take no time, and no jitter."""
    ages = [0.0]
    while len(ages) < most and not is_expired(settings, ages[-1], 0.0):
        ages.append(next_due(settings, ages[-1], 0.0, len(ages), lambda: 0.5))
    return ages


def is_expired(settings: RetrySettings, now: float, since: float) -> bool:
    """Whether a failed attempt at ``now`` was the last one."""
    # The same sum as in next_due, so that the attempt at the age limit is never a rounding error too early.
    return now >= since + settings.give_up_after


def is_overdue(by: DeliverBy | None, now: float) -> bool:
    """Whether the message must not be delivered any more (RFC 2852, mode R)."""
    return by is not None and by.mode is ByMode.RETURN and now >= by.deadline


def gives_up_at(settings: RetrySettings, since: float, by: DeliverBy | None) -> float:
    """When it goes back at the latest."""
    expiry = since + settings.give_up_after
    return min(expiry, by.deadline) if by is not None and by.mode is ByMode.RETURN else expiry


def wants_warning(
    settings: RetrySettings, now: float, since: float, warned: bool, by: DeliverBy | None = None
) -> bool:
    """Whether the sender should be told of the delay: once, and not where the message goes back anyway."""
    return not warned and not is_expired(settings, now, since) and now >= warns_at(settings, since, by)


def warns_at(settings: RetrySettings, since: float, by: DeliverBy | None = None) -> float:
    """From when on the sender is to be told of the delay."""
    return by.deadline if by is not None and by.mode is ByMode.NOTIFY else since + settings.warn_after


def speaks_at(settings: RetrySettings, since: float, may_be_warned: bool, by: DeliverBy | None = None) -> float:
    """When there is something to be said of a message, tried or not: a warning where its sender may get one, or that it
    goes back."""
    end = gives_up_at(settings, since, by)
    return min(end, warns_at(settings, since, by)) if may_be_warned else end


def soonest_word(settings: RetrySettings) -> float:
    """How old a message is at least when there is something to be said of it, but for its own deadline; seconds."""
    return min(settings.warn_after, settings.give_up_after)
