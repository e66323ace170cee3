"""A backend that is a list of answers."""

from collections.abc import Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, delivered
from mailgw.mail.reply import Reply

OK = delivered(Reply(250, "2.0.0", ("taken",)), "mx.example.net [192.0.2.9]:25")

Script = Outcome | BaseException | object


@implementer(IDeliveryBackend)
class ScriptedBackend:
    """Answers each ``deliver`` with the next line of its script; at its end it waits for ``let_go``."""

    def __init__(self, *script: Script, concurrency: int = 2) -> None:
        self.script = list(script)
        self.concurrency = concurrency
        self.seen: list[tuple[str, tuple[Mailbox, ...]]] = []
        self.waiting: list[Deferred[Outcome]] = []
        self.knows: Mapping[Mailbox, Outcome] | None = None  # what it answers when it is cancelled
        self.always: dict[Mailbox, Outcome] = {}  # what it says of a recipient, whatever the script

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        self.seen.append((message.queue_id, tuple(recipients)))
        if recipients[0] in self.always:
            return {r: self.always[r] for r in recipients}
        if self.script:
            says = self.script.pop(0)
        else:
            gate: Deferred[Outcome] = Deferred()
            self.waiting.append(gate)
            try:
                says = await gate
            except CancelledError:
                if self.knows is None:
                    raise
                says = self.knows
        if isinstance(says, BaseException):
            raise says
        return dict.fromkeys(recipients, says) if isinstance(says, Outcome) else says  # type: ignore[return-value]

    def let_go(self, outcome: Outcome = OK) -> None:
        self.waiting.pop(0).callback(outcome)
