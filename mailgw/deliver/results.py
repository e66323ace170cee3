"""What an attempt's outcomes come to: settlements and notices for the spool, facts for the journal.

Rules:
    ``queue.fate`` judges; this puts its words into records.  Recipients that share a fate share a notice.
    A notice that cannot be made costs nobody a recipient: where a sender cannot be told, the recipient is held.
"""

from collections.abc import Awaitable, Callable, Mapping

import attrs
from twisted.logger import Logger

from mailgw.deliver.bounce import Notices
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Claim, Finished, Held, Message, Notice, Postponed, QueuedRecipient, Settlement
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Journal
from mailgw.queue import fate
from mailgw.queue.dsn import Report
from mailgw.queue.schedule import RetrySettings, is_expired

log = Logger()


@attrs.frozen
class _Told:
    """A recipient in a notice: ``outcome`` holds the words that its sender reads."""

    queued: QueuedRecipient
    outcome: Outcome
    report: Report


class Results:
    """Made once a gateway.  ``chance`` returns 0 to 1, for the schedule's jitter."""

    def __init__(
        self, retry: RetrySettings, notices: Notices, journal: Journal, chance: Callable[[], float]
    ) -> None:
        self._retry = retry
        self._notices = notices
        self._note = journal.note
        self._chance = chance

    def all_delivered(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float) -> list[Settlement] | None:
        """The settlements where every recipient was served, None where ``judged`` has to say; the hot path."""
        recipients = claim.recipients
        for queued in recipients:
            outcome = outcomes.get(queued.recipient)
            if outcome is None or not outcome.is_delivered:
                return None
        return [self._delivered(claim, queued, outcomes[queued.recipient], now) for queued in recipients]

    async def judged(
        self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float
    ) -> tuple[list[Settlement], list[Notice]]:
        """One settlement for each recipient of ``claim`` that has an outcome, and what is to be committed with them.

        ``now`` is the wall clock's at the attempt's end.
        """
        message, retry = claim.message, self._retry
        settlements: list[Settlement] = []
        notices: list[Notice] = []
        failed: list[_Told] = []
        held: list[_Told] = []
        late: list[_Told] = []
        for queued in claim.recipients:
            outcome = outcomes.get(queued.recipient)
            if outcome is None:
                continue  # its attempt was cut off: it stays leased, and nothing is counted
            attempts = queued.attempts + 1
            judged = fate.judge(
                outcome, retry, now, message.arrived, attempts, queued.warned,
                message.reverse_path is not None, self._chance,
            )
            match judged:
                case fate.Delivered():
                    settlements.append(self._delivered(claim, queued, outcome, now))
                case fate.Retry(due, warn):
                    warned = queued.warned or warn
                    settlements.append(Postponed(queued.row, due, attempts, _reason(outcome), warned))
                    self._note_retry(claim, queued, outcome, attempts, due - now)
                    if warn:
                        late.append(_told(queued, outcome, attempts, message.arrived + retry.give_up_after, now))
                case fate.Fail(reply):
                    failed.append(_told(queued, attrs.evolve(outcome, reply=reply), attempts, None, now))
                case fate.Hold(reply):
                    held.append(_told(queued, attrs.evolve(outcome, reply=reply), attempts, None, now))
        if late:
            notices += await self._warning(claim, late, now)
        if failed:
            bounce = await self._notice(claim, self._notices.bounce, failed, now)
            if bounce is None:
                held += failed  # nobody can be told: it stays, where the operator sees it
            else:
                notices.append(bounce)
                for told in failed:
                    settlements.append(Finished(told.queued.row))
                    self._note_bounce(claim, told, bounce.queue_id)
        if held:
            copy = await self._notice(claim, self._notices.postmaster_copy, held, now)
            if copy is not None:
                notices.append(copy)
            for told in held:
                settlements.append(Held(told.queued.row, told.report.attempts, _reason(told.outcome)))
                self._note_held(claim, told)
        return settlements, notices

    async def postponed(self, claim: Claim, said: Outcome, now: float) -> tuple[list[Settlement], list[Notice]]:
        """As ``judged``, for what waits for a destination of which an attempt at another message was told ``said``.

        Nothing is final and no attempt is counted.  Not for a message that ``has_expired``.
        """
        message, retry = claim.message, self._retry
        settlements: list[Settlement] = []
        late: list[_Told] = []
        for queued in claim.recipients:
            judged = fate.judge_unattempted(
                retry, now, message.arrived, queued.warned, message.reverse_path is not None, self._chance
            )
            settlements.append(
                Postponed(queued.row, judged.due, queued.attempts, _reason(said), queued.warned or judged.warn)
            )
            self._note_retry(claim, queued, said, queued.attempts, judged.due - now)
            if judged.warn:
                late.append(_told(queued, said, queued.attempts, message.arrived + retry.give_up_after, now))
        return settlements, await self._warning(claim, late, now) if late else []

    def has_expired(self, message: Message, now: float) -> bool:
        """Whether its next attempt is the last one."""
        return is_expired(self._retry, now, message.arrived)

    async def _warning(self, claim: Claim, late: list[_Told], now: float) -> list[Notice]:
        """The notice for those that are late, if it can be made."""
        warning = await self._notice(claim, self._notices.warning, late, now)
        if warning is None:
            return []
        for told in late:
            self._note(fact.Warned(claim.message.queue_id, str(told.queued.recipient), warning.queue_id))
        return [warning]

    async def _notice(
        self, claim: Claim, make: Callable[..., Awaitable[Notice | None]], told: list[_Told], now: float
    ) -> Notice | None:
        try:
            return await make(claim.message, told[0].queued.row, [one.report for one in told], now)
        except Exception:  # noqa: BLE001 - a bug here must not leave the delivered ones of this claim unrecorded
            log.failure("no notice could be made for {queue_id}", queue_id=claim.message.queue_id)
            return None

    # --- facts ------------------------------------------------------------------------------------

    def _delivered(self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, now: float) -> Finished:
        message = claim.message
        reply = outcome.reply
        self._note(
            fact.Delivered(
                message.queue_id, str(queued.recipient), claim.lane, outcome.hop, reply.code, reply.status,
                reply.text, queued.attempts + 1, round(now - message.arrived, 3),
            )
        )
        return Finished(queued.row)

    def _note_retry(
        self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, attempts: int, seconds: float
    ) -> None:
        reply = outcome.reply
        self._note(
            fact.Retrying(
                claim.message.queue_id, str(queued.recipient), claim.lane, outcome.hop, reply.code, reply.status,
                reply.text, attempts, round(seconds, 3),
            )
        )

    def _note_bounce(self, claim: Claim, told: _Told, notice_id: str) -> None:
        reply = told.outcome.reply
        self._note(
            fact.Bounced(
                claim.message.queue_id, str(told.queued.recipient), claim.lane, told.outcome.hop, reply.code,
                reply.status, reply.text, told.report.attempts, notice_id,
            )
        )

    def _note_held(self, claim: Claim, told: _Told) -> None:
        reply = told.outcome.reply
        self._note(
            fact.Undeliverable(
                claim.message.queue_id, str(told.queued.recipient), claim.lane, reply.code, reply.status, reply.text
            )
        )


def _told(queued: QueuedRecipient, outcome: Outcome, attempts: int, until: float | None, now: float) -> _Told:
    return _Told(queued, outcome, Report(queued.recipient, outcome.reply, outcome.hop, attempts, until, now))


def _reason(outcome: Outcome) -> str:
    """What the operator reads in the queue: who said it, and what."""
    return f"{outcome.hop}: {outcome.reply}" if outcome.hop else str(outcome.reply)
