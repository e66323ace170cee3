"""An application with a gateway that is none: what it sends is kept, time stands still until it is advanced."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from mailgw.app.mail_app import MailApp
from mailgw.interfaces import IGateway
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome
from mailgw.spool.content import MemoryContent

NOW = 1_795_510_000.0  # Tue, 24 Nov 2026 08:46:40 +0000
LETTER = b"Subject: hi\r\n\r\nhello\r\n"


def box(text: str) -> Mailbox:
    mailbox = parse_mailbox(text)
    assert mailbox is not None
    return mailbox


class Pool:
    """A thread pool without threads."""

    def __init__(self) -> None:
        self.jobs = 0

    def callInThreadWithCallback(self, on_result: Any, work: Any, *arguments: Any, **more: Any) -> None:
        self.jobs += 1
        on_result(True, work(*arguments, **more))


class Reactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()

    def getThreadPool(self) -> Pool:
        return self.pool

    def callFromThread(self, work: Any, *arguments: Any) -> None:
        work(*arguments)


@implementer(IGateway)
class FakeGateway:
    hostname = authserv_id = "mx.example.org"

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.sent: list[tuple[Mailbox | None, list[str], bytes]] = []
        self.is_full = False

    def now(self) -> float:
        return NOW

    async def send(self, reverse_path: Mailbox | None, recipients: Sequence[Mailbox], content: bytes) -> str:
        if self.is_full:
            raise TemporaryFault("no room")
        self.sent.append((reverse_path, list(map(str, recipients)), content))
        return f"OWN{len(self.sent)}"


def used(app: MailApp) -> FakeGateway:
    gateway = FakeGateway()
    app.use(gateway)
    return gateway


def message(octets: bytes = LETTER, sender: str | None = "bob@example.net", queue_id: str = "Q1") -> Message:
    path = None if sender is None else box(sender)
    return Message(queue_id, path, BodyType.EIGHT_BIT, NOW, MemoryContent(octets), peer="192.0.2.1", login="bob")


def begin(app: MailApp, given: Message, *recipients: str) -> tuple[Deferred[Any], list[Any]]:
    """A delivery under way, and what it came to, if it did."""
    found: list[Any] = []
    work = Deferred.fromCoroutine(app.deliver(given, [box(one) for one in recipients]))
    work.addBoth(found.append)
    return work, found


def delivered(app: MailApp, given: Message, *recipients: str) -> list[Outcome]:
    _, found = begin(app, given, *recipients)
    assert found, "it waits"
    [outcomes] = found
    assert isinstance(outcomes, dict), outcomes
    return [outcomes[box(one)] for one in recipients]


def words(outcome: Outcome) -> str:
    return f"{outcome.permanence.value} {outcome.reply.status} {outcome.reply.text}"


__all__ = ["LETTER", "NOW", "FakeGateway", "begin", "box", "delivered", "message", "succeed", "used", "words"]
