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
from mailgw.mail.outcome import Outcome, Permanence, Scope, Secured, temporary
from mailgw.mail.parameters import ByMode, DeliverBy, Notify
from mailgw.mail.ports import Journal
from mailgw.mail.reply import Reply
from mailgw.queue import fate
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.dsn_fields import Report
from mailgw.queue.reasons import OF_ANOTHER_LANE, is_answer, outcome_of, reason_of
from mailgw.queue.replies import ReplyClass, ReplyClasses
from mailgw.queue.returned import RETURNED, returned
from mailgw.queue.schedule import (
    RetrySettings,
    age_begins,
    gives_up_at,
    is_expired,
    is_overdue,
    longest_wait,
    speaks_at,
    wants_warning,
)

log = Logger()

_IN_CLEAR = Secured("", "", "")
# RFC 3463 s3.5: x.4.5, congestion
_IN_LINE = temporary("4.4.5", "It waits for its turn: other mail is being tried there", Scope.HOST, "")


@attrs.frozen
class _Told:
    """A recipient in a notice: ``outcome`` holds the words that its sender reads, ``reply_class`` what they were found
    to be."""

    queued: QueuedRecipient
    outcome: Outcome
    report: Report
    reply_class: str = ""


class Results:
    """Made once a gateway.  ``retry_for`` gives a recipient's schedule; ``chance`` returns 0 to 1, for its jitter;
    ``is_relay`` says of a lane whether it leads to a server that the operator chose (``interfaces.IRelay``)."""

    def __init__(
        self,
        retry_for: Callable[[Mailbox], RetrySettings],
        classes: ReplyClasses,
        notices: Notices,
        journal: Journal,
        chance: Callable[[], float],
        is_relay: Callable[[str], bool],
    ) -> None:
        self._is_relay = is_relay
        self._retry_for = retry_for
        self._classes = classes
        self._notices = notices
        self._note = journal.note
        self._chance = chance

    def all_delivered(self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float) -> list[Settlement] | None:
        """The settlements where every recipient was served and nobody wants to be told, None where ``judged`` has to
        say; the hot path."""
        recipients = claim.recipients
        if claim.message.parameters.deliver_by is not None:
            return None
        for queued in recipients:
            outcome = outcomes.get(queued.recipient)
            if outcome is None or not outcome.is_delivered or queued.parameters.notify:
                return None
        return [self._delivered(claim, queued, outcomes[queued.recipient], now) for queued in recipients]

    async def judged(
        self, claim: Claim, outcomes: Mapping[Mailbox, Outcome], now: float
    ) -> tuple[list[Settlement], list[Notice]]:
        """One settlement for each recipient of ``claim`` that has an outcome, and what is to be committed with them.

        ``now`` is the wall clock's at the attempt's end.
        """
        message = claim.message
        since, by = age_begins(message.arrived, message.parameters), message.parameters.deliver_by
        has_sender = message.reverse_path is not None
        # One draw for all: those who failed together are tried together, in one transaction, and not each by himself.
        drawn = self._chance()
        settlements: list[Settlement] = []
        notices: list[Notice] = []
        served: list[_Told] = []
        failed: list[_Told] = []
        held: list[_Told] = []
        late: list[_Told] = []
        for queued in claim.recipients:
            outcome = outcomes.get(queued.recipient)
            if outcome is None:
                continue  # its attempt was cut off: it stays leased, and nothing is counted
            if claim.lane == RETURNED:
                outcome = returned(queued.reason.removeprefix(OF_ANOTHER_LANE).removeprefix(": "))
                if not has_sender:  # nobody to go back to, and the operator knows of it
                    settlements.append(Finished(queued.row))
                    self._note_bounce(claim, self._told(claim, queued, outcome, queued.attempts, None, now), "")
                    continue
            attempts = queued.attempts + (claim.lane != RETURNED)
            retry = self._retry_for(queued.recipient)
            found = self.reply_class(outcome)
            judged = fate.judge(
                outcome, retry, now, since, attempts, not _may_be_warned_of(queued), has_sender, lambda: drawn, by,
                found,
            )
            match judged:
                case fate.Delivered():
                    settlements.append(self._delivered(claim, queued, outcome, now))
                    if _is_to_be_reported(message, queued, outcome, now):
                        served.append(self._told(claim, queued, outcome, attempts, None, now))
                case fate.Retry(due, warn, is_counted):
                    attempts -= not is_counted
                    warned = queued.warned or warn
                    word = speaks_at(retry, since, has_sender and _may_be_warned_of(queued) and not warn, by)
                    settlements.append(Postponed(queued.row, due, attempts, reason_of(outcome, found), warned, word))
                    self._note_retry(claim, queued, outcome, attempts, due - now, found)
                    if warn:
                        until = gives_up_at(retry, since, by)
                        late.append(self._told(claim, queued, outcome, attempts, until, now, found))
                case fate.Fail(reply):
                    failed.append(self._told(claim, queued, outcome, attempts, None, now, found, reply))
                    self._note_if_overdue(claim, failed[-1], outcome, now)
                case fate.Hold(reply):
                    held.append(self._told(claim, queued, outcome, attempts, None, now, found, reply))
                    self._note_if_overdue(claim, held[-1], outcome, now)
        if served:
            notices += await self._success(claim, served, now)
        if late:
            notices += await self._warning(claim, late, now)
        final, more = await self._ended(claim, failed, held, now)
        return settlements + final, notices + more

    def reply_class(self, outcome: Outcome) -> ReplyClass | None:
        """The class of what a server said, None where it is in none, where all is well, or where the words are ours."""
        return None if outcome.is_delivered or outcome.is_ours else self._classes.of(outcome.reply, outcome.hop)

    async def spoken(
        self, claim: Claim, now: float, word: tuple[Outcome, float] | None
    ) -> tuple[list[Settlement], list[Notice], list[QueuedRecipient]]:
        """What there is to say of a message that waits, with as much of it as is owed an attempt first.

        ``word`` is what the latest attempt there was told, and when it began, where nobody is reached; else None.
        """
        message = claim.message
        since, by = age_begins(message.arrived, message.parameters), message.parameters.deliver_by
        has_sender = message.reverse_path is not None
        settlements: list[Settlement] = []
        failed: list[_Told] = []
        held: list[_Told] = []
        late: list[_Told] = []
        owed: list[QueuedRecipient] = []
        for queued in claim.recipients:
            retry = self._retry_for(queued.recipient)
            if is_overdue(by, now):
                verdict: fate.Fate = fate.judge_overdue(by, has_sender)
            elif not is_expired(retry, now, since):
                may_be_warned = has_sender and _may_be_warned_of(queued)
                warns = may_be_warned and wants_warning(retry, now, since, False, by)
                if warns:
                    said = word[0] if word is not None else _waiting(queued)
                    until = gives_up_at(retry, since, by)
                    late.append(self._told(claim, queued, said, queued.attempts, until, None, self.reply_class(said)))
                due = _still_due(message, queued, now, retry)
                settlements.append(Postponed(
                    queued.row, due, queued.attempts, queued.reason, queued.warned or warns,
                    speaks_at(retry, since, may_be_warned and not warns, by),
                ))
                continue
            elif word is None or word[1] < since + retry.give_up_after:
                owed.append(queued)  # no recipient expires without an attempt after its age passed
                continue
            else:
                verdict = fate.judge(
                    word[0], retry, now, since, queued.attempts, True, has_sender, self._chance, by
                )
            assert isinstance(verdict, fate.Fail | fate.Hold)
            outcome = word[0] if word is not None else _waiting(queued)
            found = self.reply_class(outcome)
            told = self._told(claim, queued, outcome, queued.attempts, None, None, found, verdict.reply)
            (failed if isinstance(verdict, fate.Fail) else held).append(told)
            self._note_if_overdue(claim, told, outcome, now)
        notices = await self._warning(claim, late, now) if late else []
        final, more = await self._ended(claim, failed, held, now)
        return settlements + final, notices + more, owed

    def is_late(self, claim: Claim, now: float) -> bool:
        """Whether there is something to be said of it now, though it waits for its turn."""
        message = claim.message
        since, by = age_begins(message.arrived, message.parameters), message.parameters.deliver_by
        return is_overdue(by, now) or (
            message.reverse_path is not None
            and any(
                _may_be_warned_of(queued)
                and wants_warning(self._retry_for(queued.recipient), now, since, False, by)
                for queued in claim.recipients
            )
        )

    async def _ended(
        self, claim: Claim, failed: list[_Told], held: list[_Told], now: float
    ) -> tuple[list[Settlement], list[Notice]]:
        """What becomes of those that failed for good, and of those that have no sender besides."""
        settlements: list[Settlement] = []
        notices: list[Notice] = []
        silent = [told for told in failed if not told.queued.parameters.wants(Notify.FAILURE)]
        failed = [told for told in failed if told.queued.parameters.wants(Notify.FAILURE)]
        for told in silent:  # RFC 3461 s4.1: its sender does not want to know
            settlements.append(Finished(told.queued.row))
            self._note_bounce(claim, told, "")
        if failed:
            bounce = await self._notice(claim, self._notices.bounce, failed, now)
            if bounce is None:
                held = held + failed  # nobody can be told: it stays, where the operator sees it
            else:
                notices.append(bounce)
                for told in failed:
                    settlements.append(Finished(told.queued.row))
                    self._note_bounce(claim, told, bounce.queue_id)
        if held:
            copy = await self._notice(claim, self._notices.postmaster_copy, held, now)
            if copy is not None:
                notices.append(copy)
            why = await self._notices.why_untold(claim.message.reverse_path)
            for told in held:
                reason = f"could not be returned, {why}: {reason_of(told.outcome, None)}"
                settlements.append(Held(told.queued.row, told.report.attempts, reason))
                self._note_held(claim, told)
        return settlements, notices

    async def _success(self, claim: Claim, served: list[_Told], now: float) -> list[Notice]:
        """The report for those that were served, if it can be made."""
        report = await self._notice(claim, self._notices.success, served, now)
        if report is None:
            return []
        for told in served:
            recipient, action = str(told.queued.recipient), told.report.action
            self._note(fact.Reported(claim.message.queue_id, recipient, action, report.queue_id))
        return [report]

    async def _warning(self, claim: Claim, late: list[_Told], now: float) -> list[Notice]:
        """The notice for those that are late, if it can be made."""
        warning = await self._notice(claim, self._notices.warning, late, now)
        if warning is None:
            return []
        for told in late:
            self._note(fact.Warned(claim.message.queue_id, str(told.queued.recipient), warning.queue_id))
            by = claim.message.parameters.deliver_by
            if by is not None and by.mode is ByMode.NOTIFY:
                self._note_expired(claim, told, by)
        return [warning]

    async def _notice(
        self, claim: Claim, make: Callable[..., Awaitable[Notice | None]], told: list[_Told], now: float
    ) -> Notice | None:
        try:
            return await make(claim.message, told[0].queued.row, [one.report for one in told], now)
        except Exception:  # noqa: BLE001 - a bug here must not leave the delivered ones of this claim unrecorded
            log.failure("no notice could be made for {queue_id}", queue_id=claim.message.queue_id)
            return None

    def _told(
        self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, attempts: int, until: float | None,
        attempted: float | None, found: ReplyClass | None = None, verdict: Reply | None = None,
    ) -> _Told:
        """``found`` is the class of the outcome's reply; ``verdict`` what ``queue.fate`` says in place of that."""
        name = "" if found is None else found.name
        told = outcome if verdict is None else attrs.evolve(outcome, reply=verdict)
        report = Report(
            queued.recipient, told.reply, outcome.hop, attempts, until, attempted, queued.parameters.orcpt,
            outcome.relayed, claim.lane == EXPANDED, said=outcome.reply, is_ours=outcome.is_ours, reply_class=name,
            is_by_relay=self._is_relay(claim.lane),
            words=outcome.words if outcome.permanence is Permanence.PERMANENT else "",
        )
        return _Told(queued, told, report, name)

    # --- facts ------------------------------------------------------------------------------------

    def _delivered(self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, now: float) -> Finished:
        if claim.lane == EXPANDED:
            return Finished(queued.row)  # its copies are what is delivered
        secured = outcome.secured or _IN_CLEAR
        self._note(
            fact.Delivered(
                *_said(claim, queued, outcome), queued.attempts + 1, round(now - claim.message.arrived, 3),
                secured.version, secured.cipher, secured.verified, outcome.source,
            )
        )
        return Finished(queued.row)

    def _note_retry(
        self, claim: Claim, queued: QueuedRecipient, outcome: Outcome, attempts: int, seconds: float,
        found: ReplyClass | None,
    ) -> None:
        self._note(
            fact.Retrying(
                *_said(claim, queued, outcome), attempts, round(seconds, 3), "" if found is None else found.name,
                outcome.source,
            )
        )

    def _note_if_overdue(self, claim: Claim, told: _Told, outcome: Outcome, now: float) -> None:
        """Say so where it failed because its time is over, not because a peer said so."""
        by = claim.message.parameters.deliver_by
        if by is not None and is_overdue(by, now) and outcome.permanence is Permanence.TEMPORARY:
            self._note_expired(claim, told, by)

    def _note_expired(self, claim: Claim, told: _Told, by: DeliverBy) -> None:
        recipient, attempts = told.queued.recipient, told.report.attempts
        self._note(fact.Expired(claim.message.queue_id, str(recipient), claim.lane, attempts, by.mode.value))

    def _note_bounce(self, claim: Claim, told: _Told, notice_id: str) -> None:
        self._note(
            fact.Bounced(
                *_said(claim, told.queued, told.outcome), told.report.attempts, notice_id, told.reply_class,
                told.outcome.source,
            )
        )

    def _note_held(self, claim: Claim, told: _Told) -> None:
        reply = told.outcome.reply
        self._note(
            fact.Undeliverable(
                claim.message.queue_id, str(told.queued.recipient), claim.lane, reply.code, reply.status, reply.text
            )
        )


def _said(claim: Claim, queued: QueuedRecipient, outcome: Outcome) -> tuple[str, str, str, str, int, str, str]:
    """What the facts of a result begin with (``fact.Result``): of whom, where, and what was said."""
    reply = outcome.reply
    return (
        claim.message.queue_id, str(queued.recipient), claim.lane, outcome.hop, reply.code, reply.status, reply.text
    )


def _still_due(message: Message, queued: QueuedRecipient, now: float, retry: RetrySettings) -> float:
    """When it was due, or after the schedule's longest wait, if the wall clock stepped back while it was claimed."""
    until = message.parameters.hold_until if not queued.attempts else None
    return queued.due if until is not None and until > now else min(queued.due, now + longest_wait(retry))


def _may_be_warned_of(queued: QueuedRecipient) -> bool:
    return not queued.warned and queued.parameters.wants(Notify.DELAY)


def _is_to_be_reported(message: Message, queued: QueuedRecipient, outcome: Outcome, now: float) -> bool:
    """Whether the sender of what was delivered wants to be told, and by us."""
    if message.reverse_path is None:
        return False  # RFC 3461 s6.1: no notice answers a notice
    by, wanted = message.parameters.deliver_by, queued.parameters
    # RFC 2852 s4.1.4: "T" asks for a report of each relaying, whoever reports later on; with mode N one is owed where
    # the hop does not keep the time, as long as there is some left.
    is_traced = by is not None and (
        by.trace or (by.mode is ByMode.NOTIFY and not outcome.deliver_by and now < by.deadline)
    )
    if is_traced and outcome.relayed and wanted.notify != frozenset():
        return True
    return wanted.wants(Notify.SUCCESS) and not outcome.dsn


def _waiting(queued: QueuedRecipient) -> Outcome:
    """What its sender hears of a recipient that waits: what the last attempt was told, if there was one."""
    return outcome_of(queued.reason) if queued.attempts or is_answer(queued.reason) else _IN_LINE
