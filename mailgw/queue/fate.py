"""What one attempt's outcome means for a recipient: deliver, retry, fail, hold.

Rules:
    Only a permanent outcome or the age limit, after an attempt, makes a failure final.  Where nobody is reached, an
    attempt for another message counts, if it began when this one's age had passed.
    An operator's class of replies (``queue.replies``) may say otherwise of its code.
    A message with the null reverse-path is never bounced (RFC 5321 s4.5.5, s6.1): it is held.
    The one failure without an attempt after its time: that of what its sender wants delivered by then or not at all
    (RFC 2852, mode R).
"""

from collections.abc import Callable
from typing import TypeAlias

import attrs

from mailgw.mail.header import date_text
from mailgw.mail.outcome import Outcome, Permanence
from mailgw.mail.parameters import DeliverBy
from mailgw.mail.reply import Reply
from mailgw.queue.replies import AGAIN_SECONDS, MessageOrder, ReplyClass
from mailgw.queue.schedule import RetrySettings, is_expired, is_overdue, next_due, wants_warning


@attrs.frozen
class Delivered:
    """The next hop has it: forget it."""


@attrs.frozen
class Retry:
    """Again at ``due``; with ``warn`` tell the sender of the delay.  ``is_counted``: this was an attempt."""

    due: float
    warn: bool
    is_counted: bool = True


@attrs.frozen
class Fail:
    """Back to the sender, with ``reply`` as the reason."""

    reply: Reply


@attrs.frozen
class Hold:
    """It failed for good and has no sender: keep it for the operator."""

    reply: Reply


SHORTEST_WAIT_SECONDS = 1.0
"""Who says "again, at once" again and again keeps no processor busy with it."""

Fate: TypeAlias = Delivered | Retry | Fail | Hold

DELIVERED = Delivered()


def judge(
    outcome: Outcome,
    settings: RetrySettings,
    now: float,
    since: float,
    attempts: int,
    warned: bool,
    has_sender: bool,
    chance: Callable[[], float],
    by: DeliverBy | None = None,
    found: ReplyClass | None = None,
) -> Fate:
    """The fate of one recipient.  ``attempts`` counts this one; ``since`` and ``by`` as ``queue.schedule`` has them;
    ``found`` is the class of the reply.

    ``warned``: the sender knows of the delay, or does not want to.
    """
    if outcome.permanence is Permanence.DELIVERED:
        return DELIVERED
    if found is not None:
        is_final = found.is_final(outcome.permanence is Permanence.PERMANENT)
        outcome = attrs.evolve(outcome, permanence=Permanence.PERMANENT if is_final else Permanence.TEMPORARY)
    overdue = is_overdue(by, now)
    if outcome.permanence is Permanence.TEMPORARY and not overdue and not is_expired(settings, now, since):
        warns = has_sender and wants_warning(settings, now, since, warned, by)
        if found is not None and found.message is MessageOrder.AGAIN:
            return Retry(_soon(settings, now, since, AGAIN_SECONDS * found.wait, by), warns, False)
        if outcome.again_after_seconds is not None:
            return Retry(_soon(settings, now, since, outcome.again_after_seconds, by), warns)
        return Retry(next_due(settings, now, since, attempts, chance, by, 1.0 if found is None else found.wait), warns)
    reply = outcome.reply
    if outcome.permanence is Permanence.TEMPORARY and overdue:
        reply = Reply(550, "5.4.7", (f"{_too_late(by)}; the last attempt: {outcome.reply}",))
    elif outcome.permanence is Permanence.TEMPORARY:
        # RFC 3463 s3.5: x.4.7, delivery time expired; the last answer says why it never went.
        reply = Reply(550, "5.4.7", (f"Gave up after {attempts} attempts; the last one: {outcome.reply}",))
    return Fail(reply) if has_sender else Hold(reply)


def _soon(settings: RetrySettings, now: float, since: float, wait: float, by: DeliverBy | None) -> float:
    """When to try again what had no place, or says itself when; never past the end, nor at once."""
    due = min(now + max(wait, SHORTEST_WAIT_SECONDS), since + settings.give_up_after)
    return due if by is None or now >= by.deadline else min(due, by.deadline)


def judge_overdue(by: DeliverBy | None, has_sender: bool) -> Fail | Hold:
    """The fate of a recipient whose message ``is_overdue`` before its attempt begins."""
    reply = Reply(550, "5.4.7", (_too_late(by),))
    return Fail(reply) if has_sender else Hold(reply)


def _too_late(by: DeliverBy | None) -> str:
    """RFC 2852 s4.1.3, RFC 3463 s3.5: x.4.7, delivery time expired."""
    until = f" until {date_text(int(by.deadline))}" if by is not None else ""
    return f"Its sender gave it time{until}, and it was not delivered by then"
