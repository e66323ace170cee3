"""A help desk: what an author of a plug-in has, and tests."""

from collections.abc import Mapping, Sequence

from zope.interface import implementer

from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.reply import Reply
from mailgw.testing import Delivery

CONFIG = """
[[route]]
recipients = ["@desk.example"]
backend = "tickets"
[[route]]
recipients = ["@box.example"]
backend = "boxes"
[[route]]
recipients = ["*"]
backend = "internet"
[backend.boxes]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
[backend.internet]
type = "smtp"
"""


class Desk:
    """The database behind it: what is ``filed`` outlives the gateway."""

    def __init__(self) -> None:
        self.is_down = False
        self.filed: dict[tuple[str, str], bytes] = {}

    def has(self, delivery: Delivery) -> bool:
        return (delivery.queue_id, delivery.recipient) in self.filed


@implementer(IDeliveryBackend)
class Tickets:
    """Takes help@ and closed@, of which the latter is closed for good."""

    concurrency = 4

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        if recipient.local_part in ("help", "closed"):
            return None
        return Reply(550, "5.1.1", (f"<{recipient}>: no such desk",))

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        octets = b"".join([chunk async for chunk in message.content.chunks()])
        return {recipient: self.outcome(message.queue_id, recipient, octets) for recipient in recipients}

    def outcome(self, queue_id: str, recipient: Mailbox, octets: bytes) -> Outcome:
        if self.desk.is_down:
            return temporary("4.3.0", "the desk is down", Scope.HOST, "desk")
        if recipient.local_part == "closed":
            return permanent("5.2.1", "this desk is closed", Scope.RECIPIENT, "desk")
        self.keep(queue_id, str(recipient), octets)
        return delivered(Reply(250, "2.0.0", ("filed",)), "desk")

    def keep(self, queue_id: str, recipient: str, octets: bytes) -> None:
        self.desk.filed[queue_id, recipient] = octets


class Forgetful(Tickets):
    """Says that it has a ticket when it has it in memory, and files every second time what it has."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.pile: dict[tuple[str, str], bytes] = {}

    def keep(self, queue_id: str, recipient: str, octets: bytes) -> None:
        self.pile[queue_id, recipient] = octets
        if len(self.pile) == 2:
            self.desk.filed |= self.pile
            self.pile.clear()
