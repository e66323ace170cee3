"""The dispatcher's own two backends, which deliver nothing.

Aliases wait for the report to their sender (RFC 3461 s5.2.7.3 (c)).

The copies are recipients of their own.  Beside them, where the sender asked for it, the alias itself is one, in the
lane ``queue.aliases.EXPANDED``: so the report is owed as soon as the message is durable, not before, and is made,
repeated and committed as all reports of success are.  A report within the message's own commit was rejected: it would
need the reports' words while mail comes in, and tell of a message that is held (RFC 4865) before anything went on.

What the operator sends back waits in the lane ``queue.returned.RETURNED``: the bounce is made, repeated and committed
as all bounces are, also where no gateway runs when the order is given.
"""

from collections.abc import Mapping, Sequence

from zope.interface import implementer

from mailgw.interfaces import ILimitedHere
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, delivered
from mailgw.mail.reply import Reply
from mailgw.queue.returned import returned

# RFC 3463 s3.2: x.1.5, the destination address is valid
_EXPANDED = delivered(Reply(250, "2.1.5", ("Sent on to several addresses",)), "")


class _Nowhere:
    outcome: Outcome
    concurrency = 20

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        return dict.fromkeys(recipients, self.outcome)


@implementer(ILimitedHere)
class Expanded(_Nowhere):
    """Of aliases."""

    outcome = _EXPANDED


@implementer(ILimitedHere)
class Returned(_Nowhere):
    """Of what the operator sends back; ``results`` adds why each recipient waited."""

    outcome = returned("")
