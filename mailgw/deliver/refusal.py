"""Whether a backend serves a recipient: its answer at RCPT, whatever it does."""

from collections.abc import Callable

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.mail.reply import Reply, in_one_class, refusal_fault

log = Logger()

_UNSURE = Reply(451, "4.3.0", ("The recipient cannot be looked up now, please try again",))


async def refusal(
    name: str, backend: IDeliveryBackend, recipient: Mailbox, note: Callable[[Event], None]
) -> Reply | None:
    """None where the backend called ``name`` takes the recipient, else what RCPT answers, a 4yz or a 5yz.

    An exception or an answer of another kind is logged with the backend's name, noted, and answered 451: a look-up that
    failed is never a "no such user", and costs no other recipient anything.  Only a cancellation passes through.
    """
    try:
        reply = await backend.refusal(recipient)
    except CancelledError:
        raise
    except TemporaryFault as fault:
        return fault.reply
    except Exception as fault:  # noqa: BLE001 - a plug-in may raise anything
        log.failure("backend {name} raised in refusal({recipient})", name=name, recipient=str(recipient))
        note(Trouble(f"backend {name}", f"raised {type(fault).__name__} in refusal({recipient})", "", ""))
        return _UNSURE
    if reply is None or refusal_fault(reply) is None:
        return reply and in_one_class(reply)
    log.error(
        "backend {name} answered refusal({recipient}) with {answer!r}: expected None or a Reply of 400 to 599",
        name=name,
        recipient=str(recipient),
        answer=reply,
    )
    note(Trouble(f"backend {name}", f"answered refusal({recipient}) with a {type(reply).__name__}", "", ""))
    return _UNSURE
