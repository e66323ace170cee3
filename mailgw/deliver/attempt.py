"""One attempt: the backend is asked, and whatever it does becomes one outcome for each recipient."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Final

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailgw.deliver.names import backend_of
from mailgw.interfaces import IDeliveryBackend, ITransactionalBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.event import Event, Trouble
from mailgw.mail.message import Claim, Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.parameters import NO_RCPT_PARAMETERS
from mailgw.net.asyncio_words import asyncio_hint
from mailgw.queue.gates import is_trouble
from mailgw.queue.replies import LaneOrder, ReplyClass

log = Logger()

FAULTS_TOLD = 10
"""Of an answer that makes no sense."""
MAX_ADDRESS_CHARACTERS = 320
"""Told of a key that is nobody's address, or anything."""

Note = Callable[[Event], None]
"""The journal's."""

DELIVERING: Final[ContextVar[str]] = ContextVar("DELIVERING", default="")
"""The queue id of the message that is being delivered, to whatever a backend does meanwhile; an attempt is a coroutine
with a context of its own."""

LaneFor = Callable[[Mailbox], str | None]
"""The lane of a recipient of our own mail (routes of clients included), None where no route serves it."""


def with_parameters(claim: Claim) -> Message:
    """The message with what was asked for each recipient; of one who was named twice, the last word counts."""
    asked = {
        queued.recipient: queued.parameters
        for queued in claim.recipients
        if queued.parameters is not NO_RCPT_PARAMETERS
    }
    return attrs.evolve(claim.message, recipient_parameters=asked) if asked else claim.message


def of_the_destination(
    outcomes: Mapping[Mailbox, Outcome], too_long: Outcome, class_of: Callable[[Outcome], ReplyClass | None]
) -> tuple[Outcome | None, bool]:
    """What an attempt says of the destination, None for nothing: well, if it served any recipient at all; and whether
    it is well, and wants less at once.

    ``too_long`` says nothing: who keeps us waiting until an attempt has had its time is not well for that.
    """
    first = None
    for outcome in outcomes.values():
        if outcome.is_delivered:
            return outcome, False
        if outcome is too_long:
            continue
        found = class_of(outcome)
        if found is not None and found.lane is LaneOrder.SLOW:
            return None, True
        if found is not None and found.lane is LaneOrder.PAUSE:
            first = first or attrs.evolve(outcome, permanence=Permanence.TEMPORARY, scope=Scope.HOST)
        elif not is_trouble(outcome):
            return outcome, False
        first = first or outcome
    return first, False


_NO_ANSWER = temporary("4.3.0", "The delivery backend did not say what became of it", Scope.RECIPIENT, "")


async def attempt(
    name: str, backend: IDeliveryBackend, message: Message, recipients: Sequence[Mailbox], note: Note
) -> Mapping[Mailbox, Outcome]:
    """One outcome for each of ``recipients``, whatever the backend called ``name`` does.

    An exception, a result of another shape, or a missing recipient is temporary trouble, logged with the
    backend's name and the queue id, and noted; outcomes of others are logged and noted, and left out.  Only a
    cancellation passes through, where the backend does not answer it.
    """
    try:
        DELIVERING.set(message.queue_id)
        result = await backend.deliver(message, recipients)
        # A dict is a Mapping, too, but that of an abstract class takes longer to find out.
        known = result if isinstance(result, (dict, Mapping)) else {}
        if len(known) == len(recipients) and all(isinstance(known.get(r), Outcome) for r in recipients):
            return known
        outcomes = {r: known[r] if isinstance(known.get(r), Outcome) else _NO_ANSWER for r in recipients}
        why = _nonsense(result, recipients)
    except CancelledError:
        raise
    except Exception as fault:  # noqa: BLE001 - a plug-in may raise anything; the mail stays ours
        log.failure(
            "backend {name} raised while it delivered {queue_id}{hint}", name=name, queue_id=message.queue_id,
            hint=asyncio_hint(fault),
        )
        note(Trouble(f"backend {name}", f"raised {type(fault).__name__}", "", message.queue_id))
        why = f"The delivery backend failed ({type(fault).__name__})"
        return dict.fromkeys(recipients, temporary("4.3.0", why, Scope.MESSAGE, ""))
    log.error(
        "backend {name} answered nonsense for {queue_id}: {why}", name=name, queue_id=message.queue_id, why=why
    )
    note(Trouble(f"backend {name}", f"answered nonsense: {why}", "", message.queue_id))
    return outcomes


async def attempt_in_transaction(
    name: str, backend: ITransactionalBackend, message: Message, recipient: Mailbox, note: Note
) -> Outcome | None:
    """What a backend says of a message whose client is still waiting; None where it wants it queued.

    Whatever else it does is temporary trouble, told as of ``attempt``.  Only a cancellation passes through.
    """
    try:
        DELIVERING.set(message.queue_id)
        said = await backend.in_transaction(message, recipient)
    except CancelledError:
        raise
    except Exception as fault:  # noqa: BLE001 - a plug-in may raise anything; the client keeps its mail
        log.failure("backend {name} raised while it took {queue_id}", name=name, queue_id=message.queue_id)
        note(Trouble(f"backend {name}", f"raised {type(fault).__name__}", "", message.queue_id))
        return _NO_ANSWER
    if said is None or isinstance(said, Outcome):
        return said
    why = f"for {recipient} {_one(said)}, no Outcome"
    log.error("backend {name} answered nonsense for {queue_id}: {why}", name=name, queue_id=message.queue_id, why=why)
    note(Trouble(f"backend {name}", f"answered nonsense: {why}", "", message.queue_id))
    return _NO_ANSWER


def _nonsense(result: object, recipients: Sequence[Mailbox]) -> str:
    """What is wrong with an answer, and for whom."""
    if not isinstance(result, Mapping):
        return f"{_one(result)}, no mapping of recipients to outcomes"
    faults = []
    for recipient in recipients:
        if recipient not in result:
            faults.append(f"no outcome for {recipient}")
        elif not isinstance(result[recipient], Outcome):
            faults.append(f"for {recipient} {_one(result[recipient])}, no Outcome")
    asked = frozenset(recipients)
    others = (str(key)[:MAX_ADDRESS_CHARACTERS] for key in result if key not in asked)
    faults += [f"an outcome for {other}, who was not asked for" for other in others]
    told = faults[:FAULTS_TOLD]
    return "; ".join(told) + (f"; and {len(faults) - len(told)} more" if len(faults) > len(told) else "")


def _one(thing: object) -> str:
    kind = type(thing).__name__
    return "None" if thing is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


async def attempt_rerouted(
    claim: Claim,
    message: Message,
    recipients: Sequence[Mailbox],
    lane_for: LaneFor,
    backends: Mapping[str, IDeliveryBackend],
    too_long: Outcome,
    is_over: Callable[[], bool],
    note: Note,
) -> Mapping[Mailbox, Outcome]:
    """The lane's backend is no longer configured: each recipient goes where the routes of today say.

    One such attempt a lane at a time, beside those of the backend's own lanes: for as long as such rows are
    left, it may get more calls at once than its ``concurrency``.  Cancelled, it returns what is known, with
    ``too_long`` for the others; ``is_over`` says whether it had its time.
    """
    outcomes: dict[Mailbox, Outcome] = {}
    groups: dict[str, list[Mailbox]] = {}
    for recipient in recipients:
        key = lane_for(recipient)
        if key is None:
            why = f"No route serves <{recipient}>, and there is no backend {backend_of(claim.lane)!r} any more"
            outcomes[recipient] = temporary("4.3.5", why, Scope.RECIPIENT, "")
        else:
            groups.setdefault(key, []).append(recipient)
    for group in groups.values():
        outcomes |= dict.fromkeys(group, too_long)
    for key, group in groups.items():
        name = backend_of(key)
        try:
            outcomes |= await attempt(name, backends[name], message, group, note)
        except CancelledError:
            break
        if is_over():
            break  # the backend was cancelled, and said what it knew: the next one would not be
    return outcomes
