"""The backend that keeps nothing: mail is delivered, and gone; the journal alone tells of it."""

from collections.abc import Mapping, Sequence

import attrs
from zope.interface import implementer

from mailgw.interfaces import IFilesJunk, ILimitedHere
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, delivered
from mailgw.mail.reply import Reply


@attrs.frozen
class DiscardSettings:
    """There is nothing to set."""


_GONE = delivered(Reply(250, "2.0.0", ("Discarded, as the operator has it",)), "discard")


# Nobody looks at what is gone: junk goes nowhere else for it.
@implementer(ILimitedHere, IFilesJunk)
class DiscardBackend:
    concurrency = 64  # none of them waits for anything

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        return dict.fromkeys(recipients, _GONE)
