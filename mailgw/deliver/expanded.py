"""Aliases that wait for the report to their sender (RFC 3461 s5.2.7.3 (c)): a backend that delivers nothing.

The copies are recipients of their own.  Beside them, where the sender asked for it, the alias itself is one, in the
lane ``queue.aliases.EXPANDED``: so the report is owed as soon as the message is durable, not before, and is made,
repeated and committed as all reports of success are.  A report within the message's own commit was rejected: it would
need the reports' words while mail comes in, and tell of a message that is held (RFC 4865) before anything went on.
"""

from collections.abc import Mapping, Sequence

from zope.interface import implementer

from mailgw.interfaces import ILimitedHere
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, delivered
from mailgw.mail.reply import Reply

# RFC 3463 s3.2: x.1.5, the destination address is valid
_EXPANDED = delivered(Reply(250, "2.1.5", ("Sent on to several addresses",)), "")


@implementer(ILimitedHere)
class Expanded:
    """The dispatcher's own."""

    concurrency = 20

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        return dict.fromkeys(recipients, _EXPANDED)
