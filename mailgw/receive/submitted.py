"""Mail that is handed in without a session of SMTP: the HTTP API's, and that of ``mailgw sendmail``.

Rules:
    It is judged, traced and committed by ``session.Session``, as a login's mail on a submission port is: the limits of
    a message and of a login, all rules of MAIL, RCPT and CONTENT, the routes and directories.  There is no second way
    into the queue that could forget one of them.
    All or nothing: where one recipient is refused nobody gets it, and each one's reply is told.
    Who asks for it may be gone before it ends; it ends all the same.
"""

from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any, Final

import attrs

from mailgw.mail.envelope import BodyType, Client, Role
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, RcptParameters
from mailgw.mail.reply import Reply
from mailgw.mail.slip import Slip, address_of, date_time, envid_of, notify_of, path_of, returns_of
from mailgw.queue.aliases import EXPANDED
from mailgw.receive.factory import EsmtpFactory
from mailgw.receive.session import Reaction, Session
from mailgw.wire.content import ContentCheck
from mailgw.wire.smtp_content import FAULTS
from mailgw.wire.smtp_events import Content, ContentEnd, Data, Mail, Rcpt
from mailgw.wire.smtp_parameters import NOTHING_ASKED, Asked

BACKLOG_OCTETS: Final = 1 << 20
"""What the disk may lag behind."""


@attrs.frozen
class Refused:
    """``field`` is what was refused: reverse_path, recipients, content; ``recipients`` has each one's own reply, where
    that is it."""

    field: str
    reply: Reply
    recipients: Mapping[str, Reply] = attrs.Factory(dict)


@attrs.frozen
class Taken:
    """It is durable.  ``recipients`` are the addresses that it is queued for, aliases spread out, each with its lane;
    ``held`` is why a rule keeps it, ``""`` where none does; ``is_discarded``: a rule had it forgotten."""

    queue_id: str
    recipients: tuple[tuple[str, str], ...]
    size_octets: int
    message_id: str
    held: str
    is_discarded: bool


async def hand_in(
    factory: EsmtpFactory, slip: Slip, octets: AsyncIterator[bytes], offered_octets: int
) -> Taken | Refused:
    """Judge and commit one message, of ``offered_octets``.  TemporaryFault where that cannot be told, or done, now;
    nothing is queued then.  BadSlip where the slip makes no sense."""
    client = Client(
        factory.next_session_id(), Role.SUBMISSION, slip.peer, 0, True, extended=True, login=slip.by, is_trusted=True,
        way=slip.way,
    )
    session = Session(factory, client)
    try:
        return await _handed_in(session, factory, slip, octets, offered_octets)
    finally:
        session.drop_transaction()


def too_large(octets: int, most: int) -> Refused:
    return Refused("content", Reply(552, "5.3.4", (f"The message has {octets} octets: {most} are taken",)))


async def _handed_in(
    session: Session, factory: EsmtpFactory, slip: Slip, octets: AsyncIterator[bytes], offered_octets: int
) -> Taken | Refused:
    settings = factory.settings
    path, recipients = path_of(slip.reverse_path), [address_of(one) for one in slip.recipients]
    asked, parameters = _asked(slip), _parameters(slip)
    if offered_octets > settings.message_octets:
        return too_large(offered_octets, settings.message_octets)
    if not 1 <= len(recipients) <= settings.recipients:
        words = f"The message has {len(recipients)} recipients: 1 to {settings.recipients} are taken"
        return Refused("recipients", Reply(552, "5.5.3", (words,)))
    reply = await _reply(session.react(Mail(path, BodyType.SEVEN_BIT, None, asked)))
    if not reply.is_positive:
        return Refused("reverse_path", reply)
    replies = {str(one): await _reply(session.react(Rcpt(one, parameters))) for one in recipients}
    refused = {one: said for one, said in replies.items() if not said.is_positive}
    if refused:
        worst = next((one for one in refused.values() if one.is_permanent), next(iter(refused.values())))
        return Refused("recipients", worst, refused)
    reply = await _reply(session.react(Data()))
    if not reply.is_positive:
        return Refused("content", reply)
    transaction = session.transaction
    assert transaction is not None
    transaction.record = slip.record
    check = ContentCheck(settings.message_octets, settings.content, is_binary=False)
    async for chunk in octets:
        if piece := check.take(chunk):
            await _reply(session.react(Content(piece)))
        if transaction.backlog_octets > BACKLOG_OCTETS:
            await transaction.drained()
    if piece := check.finish():
        await _reply(session.react(Content(piece)))
    queue_id = transaction.queue_id
    reply = await _reply(session.react(ContentEnd(FAULTS[check.fault])))
    if not reply.is_positive:
        return Refused("content", reply)
    destinations = [one for one in transaction.destinations() if one.lane != EXPANDED]
    return Taken(
        queue_id, tuple((str(one.recipient), one.lane) for one in destinations), check.size_octets,
        transaction.message_id, transaction.held, not session.messages,
    )


_NOTHING_OWED: Final = Reply(250, "", ("",))


async def _reply(reaction: Reaction) -> Reply:
    if reaction is None:
        return _NOTHING_OWED
    found: Any = await reaction if isinstance(reaction, Awaitable) else reaction
    assert isinstance(found, Reply)
    return found


def _asked(slip: Slip) -> Asked:
    if not (slip.returns or slip.envid or slip.smtputf8 or slip.send_at is not None):
        return NOTHING_ASKED
    return Asked(
        ret=returns_of(slip.returns),
        envid=envid_of(slip.envid),
        smtputf8=slip.smtputf8,
        hold_until=slip.send_at,
        # RFC 4865 s5.1.2, as HOLDUNTIL would have it
        release_request="" if slip.send_at is None else f"until;{date_time(slip.send_at)}",
    )


def _parameters(slip: Slip) -> RcptParameters:
    notify = notify_of(slip.notify)
    return NO_RCPT_PARAMETERS if notify is None else RcptParameters(notify)

