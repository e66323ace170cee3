"""One attempt: the backend is asked, and whatever it does becomes one outcome for each recipient."""

from collections.abc import Mapping, Sequence

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Claim, Message
from mailgw.mail.outcome import Outcome, Scope, temporary
from mailgw.mail.parameters import NO_RCPT_PARAMETERS

log = Logger()

def with_parameters(claim: Claim) -> Message:
    """The message with what was asked for each recipient; of one who was named twice, the last word counts."""
    asked = {
        queued.recipient: queued.parameters
        for queued in claim.recipients
        if queued.parameters is not NO_RCPT_PARAMETERS
    }
    return attrs.evolve(claim.message, recipient_parameters=asked) if asked else claim.message


_NO_ANSWER = temporary("4.3.0", "The delivery backend did not say what became of it", Scope.RECIPIENT, "")


async def attempt(
    name: str, backend: IDeliveryBackend, message: Message, recipients: Sequence[Mailbox]
) -> Mapping[Mailbox, Outcome]:
    """One outcome for each of ``recipients``, whatever the backend called ``name`` does.

    An exception, a result of another shape, or a missing recipient is temporary trouble, logged with the
    backend's name and the queue id.  Only a cancellation passes through, where the backend does not answer it.
    """
    try:
        result = await backend.deliver(message, recipients)
        if isinstance(result, Mapping) and all(isinstance(result.get(r), Outcome) for r in recipients):
            return result
        known = result if isinstance(result, Mapping) else {}
        outcomes = {r: known[r] if isinstance(known.get(r), Outcome) else _NO_ANSWER for r in recipients}
    except CancelledError:
        raise
    except Exception as fault:  # noqa: BLE001 - a plug-in may raise anything; the mail stays ours
        log.failure(
            "backend {name} raised while it delivered {queue_id}", name=name, queue_id=message.queue_id
        )
        why = f"The delivery backend failed ({type(fault).__name__})"
        return dict.fromkeys(recipients, temporary("4.3.0", why, Scope.MESSAGE, ""))
    log.error(
        "backend {name} returned no outcome for each recipient of {queue_id}, but {kind}",
        name=name,
        queue_id=message.queue_id,
        kind=type(result).__name__,
    )
    return outcomes
