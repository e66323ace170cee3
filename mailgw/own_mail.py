"""Mail of our own into our own queue: what plug-ins send, and reports.

It goes by the routes of who may send anywhere: nobody but the operator chose what runs here.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailgw.deliver.attempt import DELIVERING
from mailgw.interfaces import IGateway
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType, path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.header import header_end, message_id
from mailgw.mail.message import Arrival, Claim, Destination
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, MailParameters, RcptParameters
from mailgw.mail.ports import Draft, WallClock


class Queue(Protocol):
    """``intake.Intake``."""

    def draft(self) -> Draft: ...

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]: ...

    def destination(self, recipient: Mailbox, for_client: bool) -> Destination: ...

    def has_room(self, lanes: Sequence[str], sender: str) -> bool: ...

    def accept(self, claims: tuple[Claim, ...]) -> None: ...


async def queued(
    queue: Queue, octets: bytes, reverse_path: Mailbox | None, recipients: Sequence[Mailbox],
    asked: RcptParameters = NO_RCPT_PARAMETERS,
) -> str:
    """Commit a message, ``asked`` for each recipient; its queue id, once it is durable.

    TemporaryFault where that fails, or a recipient has no route: nothing is queued then.
    """
    addressees = dict.fromkeys([one for recipient in recipients for one in await queue.spread(recipient)])
    destinations = [attrs.evolve(queue.destination(one, for_client=True), parameters=asked) for one in addressees]
    parameters = _parameters(octets, reverse_path, recipients)
    arrival = Arrival(reverse_path, _body_type(octets), "", "", "", "", "", parameters, is_ours=True)
    draft = queue.draft()
    try:
        draft.write(octets)
        claim = queue.has_room([one.lane for one in destinations], path_text(reverse_path))
        claims = await draft.commit(arrival, destinations, claim)
    except BaseException:
        draft.discard()
        raise
    queue.accept(claims)
    return draft.queue_id


class ReportMailer:
    """``deliver.daily_reports.Mailer`` into our own queue, by the routes of who may send anywhere; ``asked`` for each
    recipient."""

    def __init__(self, asked: RcptParameters) -> None:
        self.queue: Queue | None = None
        self._asked = asked

    async def mail(self, octets: bytes, reverse_path: Mailbox, recipients: Sequence[Mailbox]) -> str:
        queue = self.queue
        assert queue is not None
        return await queued(queue, octets, reverse_path, recipients, self._asked)


def _body_type(octets: bytes) -> BodyType:
    return BodyType.SEVEN_BIT if octets.isascii() else BodyType.EIGHT_BIT


def _parameters(octets: bytes, reverse_path: Mailbox | None, recipients: Sequence[Mailbox]) -> MailParameters:
    """RFC 6531 s3.6: SMTPUTF8 where an address or the header needs it."""
    paths = recipients if reverse_path is None else (reverse_path, *recipients)
    end = header_end(octets)
    is_plain = octets[:end if end >= 0 else len(octets)].isascii() and all(path.is_ascii for path in paths)
    return MailParameters(smtputf8=not is_plain)


@implementer(IGateway)
class OwnMail:
    """The gateway as plug-ins see it.  ``open`` gives it the queue, ``close`` takes it away."""

    def __init__(
        self, hostname: str, authserv_id: str, reactor: Any, wall_clock: WallClock, note: Callable[[fact.Event], None],
        message_octets: int, recipients: int,
    ) -> None:
        self.hostname = hostname
        self.authserv_id = authserv_id
        self.reactor = reactor
        self.now = wall_clock
        self._clock: IReactorTime = reactor
        self._note = note
        self._message_octets = message_octets
        self._recipients = recipients
        self._queue: Queue | None = None

    def open(self, queue: Queue) -> None:
        self._queue = queue

    def renew(self, hostname: str, authserv_id: str, message_octets: int, recipients: int) -> None:
        """Another configuration's."""
        self.hostname, self.authserv_id = hostname, authserv_id
        self._message_octets, self._recipients = message_octets, recipients

    async def close(self) -> None:
        self._queue = None

    async def send(self, reverse_path: Mailbox | None, recipients: Sequence[Mailbox], content: bytes) -> str:
        if not 1 <= len(recipients) <= self._recipients:
            raise ValueError(f"expected 1 to {self._recipients} recipients, not {len(recipients)}")
        if len(content) > self._message_octets:
            raise ValueError(f"the message has {len(content)} octets: {self._message_octets} are taken")
        line_ends = content.count(b"\r\n")
        if b"\0" in content or line_ends != content.count(b"\n") or line_ends != content.count(b"\r"):
            # As of messages that are received.  Behind a bare LF a dot would end the message for some servers, and
            # what follows be commands.
            raise ValueError("a message has no NUL, and no CR or LF but CRLF: encode it")
        if self._queue is None:
            raise TemporaryFault("the gateway does not run")
        began = self._clock.seconds()
        queue_id = await queued(self._queue, content, reverse_path, recipients)
        seconds = round(self._clock.seconds() - began, 6)
        self._note(fact.Queued(
            "", queue_id, "", "", path_text(reverse_path), tuple(map(str, recipients)), len(content), seconds,
            message_id=message_id(content[:header_end(content)]), cause=DELIVERING.get()))
        return queue_id
