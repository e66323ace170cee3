"""What one attempt's outcome means for a recipient: deliver, retry, fail, hold.

Rules:
    Only a permanent outcome or the age limit, after an attempt, makes a failure final.
    What others heard of the destination only postpones; it is never an attempt.
    A message with the null reverse-path is never bounced (RFC 5321 s4.5.5, s6.1): it is held.
"""

from collections.abc import Callable
from typing import TypeAlias

import attrs

from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.reply import Reply
from mailgw.queue.schedule import RetrySettings, is_expired, next_due, steps_of_age, wants_warning


@attrs.frozen
class Delivered:
    """The next hop has it: forget it."""


@attrs.frozen
class Retry:
    """Again at ``due``; with ``warn`` tell the sender of the delay."""

    due: float
    warn: bool


@attrs.frozen
class Fail:
    """Back to the sender, with ``reply`` as the reason."""

    reply: Reply


@attrs.frozen
class Hold:
    """It failed for good and has no sender: keep it for the operator."""

    reply: Reply


Fate: TypeAlias = Delivered | Retry | Fail | Hold

DELIVERED = Delivered()


def judge(
    outcome: Outcome,
    settings: RetrySettings,
    now: float,
    arrived: float,
    attempts: int,
    warned: bool,
    has_sender: bool,
    chance: Callable[[], float],
) -> Fate:
    """The fate of one recipient.  ``attempts`` counts this one; ``now`` and ``arrived`` are epoch seconds."""
    if outcome.permanence is Permanence.DELIVERED:
        return DELIVERED
    if outcome.permanence is Permanence.TEMPORARY and not is_expired(settings, now, arrived):
        due = next_due(settings, now, arrived, attempts, chance)
        return Retry(due, has_sender and wants_warning(settings, now, arrived, warned))
    reply = outcome.reply
    if outcome.permanence is Permanence.TEMPORARY:
        # RFC 3463 s3.5: x.4.7, delivery time expired; the last answer says why it never went.
        reply = Reply(550, "5.4.7", (f"Gave up after {attempts} attempts; the last one: {outcome.reply}",))
    return Fail(reply) if has_sender else Hold(reply)


def judge_unattempted(
    settings: RetrySettings, now: float, arrived: float, warned: bool, has_sender: bool, chance: Callable[[], float]
) -> Retry:
    """The fate of a recipient whose destination was just found dead by an attempt at another message.

    It waits as long as if its own had failed.  Not for what ``is_expired``: that is owed an attempt.
    """
    due = next_due(settings, now, arrived, steps_of_age(settings, now - arrived), chance)
    return Retry(due, has_sender and wants_warning(settings, now, arrived, warned))
