"""One message to all its recipients over one session, in as many transactions as that takes.

RFC 3461 s5.2.2 (a hop without DSN), RFC 9422 (LIMITS), RFC 5321 s4.5.3.1.10 (too many recipients); RFC 6152, 3030
(content that a hop does not take).

Rules:
    A message that asks for nothing out of the ordinary goes in one transaction, without a look at its content.
    Content is re-encoded only where the hop does not take it (``wire.reencode``); what cannot be is returned, 5.6.3.
    What a hop cannot do for a message, another may: such an outcome has the scope HOST.  It takes no other's place:
    trouble that an earlier host had may be over at the next attempt.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import attrs

from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.reencoding import fitted, unfit_outcome
from mailgw.deliver.smtp_session import Session
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.parameters import NO_MAIL_PARAMETERS
from mailgw.mail.ports import WallClock
from mailgw.wire.client_asked import Onward, unmet
from mailgw.wire.client_offer import Offer
from mailgw.wire.mime import MimeReader, Part, Piece
from mailgw.wire.reencode import Unfit
from mailgw.wire.smtp_client import is_too_many

Signed = Callable[[Message], Awaitable[Message]]
"""As ``signing.Signing.signed``, of one backend."""


def is_plain(message: Message, recipients: Sequence[Mailbox]) -> bool:
    """Whether the message can go to any hop that takes its octets: nothing was asked for it."""
    return (
        message.parameters == NO_MAIL_PARAMETERS
        and not message.recipient_parameters
        and all(recipient.is_ascii for recipient in recipients)
        and (message.reverse_path is None or message.reverse_path.is_ascii)
    )


async def transfer(
    session: Session,
    message: Message,
    recipients: Sequence[Mailbox],
    outcomes: dict[Mailbox, Outcome],
    is_final: bool,
    most: int,
    wall_clock: WallClock,
    forwarding: Forwarding | None = None,
    signed: Signed | None = None,
) -> None:
    """One outcome for each of ``recipients``, in ``outcomes``, where those of earlier hosts may be already.

    When it raises or is cancelled, ``session.abort`` has what it does not say.  ``is_final``: the hop is the end of
    the way.  ``most`` recipients, from 1, get into one transaction.  ``forwarding`` None: senders stay as they are;
    ``signed`` None: content goes as it is.
    """
    offer = session.offer
    if is_plain(message, recipients) and not offer.priorities:
        fitting = await _ready(session, message, recipients, outcomes, signed)
        if fitting is not None:
            await _in_batches(session, fitting, recipients, most, None, outcomes)
        return
    mail = message.parameters
    by_seconds = int(mail.deliver_by.deadline - wall_clock()) if mail.deliver_by is not None else 0
    onward = Onward(mail, message.recipient_parameters, False, by_seconds)
    try:
        header_is_utf8 = mail.smtputf8 and await _has_utf8_header(message.content)
    except TemporaryFault as fault:
        _set_all(outcomes, recipients, _unreadable(fault, session.hop))
        return
    refused = unmet(
        offer, session.is_verified, is_final, session.is_local, message.reverse_path, recipients, onward,
        header_is_utf8, session.hop,
    )
    for recipient, outcome in refused.items():
        outcomes.setdefault(recipient, outcome)
    served = [recipient for recipient in recipients if recipient not in refused]
    if not served:
        return
    fitting = await _ready(session, message, served, outcomes, signed)
    if fitting is None:
        return
    for transaction, group in _by_reverse_path(fitting, served, offer.dsn or is_final, forwarding):
        # RFC 6531 s3.6: said where the message needs it
        paths = [*group, transaction.reverse_path]
        utf8 = header_is_utf8 or not all(path is None or path.is_ascii for path in paths)
        await _in_batches(session, transaction, group, most, attrs.evolve(onward, utf8=utf8), outcomes)


async def _in_batches(
    session: Session,
    message: Message,
    recipients: Sequence[Mailbox],
    most: int,
    onward: Onward | None,
    outcomes: dict[Mailbox, Outcome],
) -> None:
    """As many transactions as our limit and the server's ask for; whoever has no place in this session is left for
    another."""
    if len(recipients) <= most and not session.offer.has_limits:
        await _in_turns(session, message, recipients, onward, outcomes)
        return
    for batch in _batches(recipients, session.offer, most):
        await _in_turns(session, message, batch, onward, outcomes)


async def _in_turns(
    session: Session,
    message: Message,
    recipients: Sequence[Mailbox],
    onward: Onward | None,
    outcomes: dict[Mailbox, Outcome],
) -> None:
    """Offered again as long as the server says that they are too many at once."""
    while recipients:
        if not session.is_ready or not session.has_room(message.body_type):
            # RFC 3463 s3.6: X.5.3, too many recipients; another session may take them
            why = "The session ended before the turn of this recipient"
            _set_all(outcomes, recipients, temporary("4.5.3", why, Scope.SESSION, session.hop))
            return
        done = (await session.transact(message, recipients, onward)).outcomes
        outcomes.update(done)
        recipients = _too_many(done) if len(recipients) > 1 and session.is_ready else ()


def _batches(recipients: Sequence[Mailbox], offer: Offer, most: int) -> Iterator[Sequence[Mailbox]]:
    # RFC 9422 s4.2, s4.3: RCPTMAX a transaction, RCPTDOMAINMAX a session, of which such a server gets one a transaction
    most = min(most, offer.rcpt_limit or most)
    batch: list[Mailbox] = []
    domains: set[str] = set()
    for recipient in sorted(recipients, key=lambda mailbox: mailbox.domain) if offer.rcpt_domain_limit else recipients:
        domains.add(recipient.domain)
        if batch and (
            len(batch) == most or (offer.rcpt_domain_limit and len(domains) > offer.rcpt_domain_limit)
        ):
            yield batch
            batch, domains = [], {recipient.domain}
        batch.append(recipient)
    if batch:
        yield batch


def _by_reverse_path(
    message: Message, recipients: Sequence[Mailbox], minds_notify: bool, forwarding: Forwarding | None
) -> Iterator[tuple[Message, Sequence[Mailbox]]]:
    """RFC 3461 s5.2.2: a server without DSN gets a null reverse-path with those whose sender wants no report, so that
    none is made there.  Who is forwarded to has another one, too."""
    silent = {} if minds_notify or message.reverse_path is None else {
        recipient: None for recipient in recipients
        if (asked := message.recipient_parameters.get(recipient)) is not None and asked.notify == frozenset()
    }
    others = [recipient for recipient in recipients if recipient not in silent]
    by_path: dict[Mailbox | None, list[Mailbox]]
    if forwarding is None:
        by_path = {message.reverse_path: others}
    else:
        by_path = {}
        for recipient in others:
            by_path.setdefault(forwarding.reverse_path(message, recipient), []).append(recipient)
    for path, group in by_path.items():
        if group:
            yield message if path == message.reverse_path else attrs.evolve(message, reverse_path=path), group
    if silent:
        yield attrs.evolve(message, reverse_path=None), [*silent]


def _too_many(outcomes: Mapping[Mailbox, Outcome]) -> tuple[Mailbox, ...]:
    """Whom the server would have taken in a transaction of their own (RFC 5321 s4.5.3.1.10): to be offered again
    at once.  Each round delivers at least one, so they end."""
    if not any(outcome.is_delivered for outcome in outcomes.values()):
        return ()
    return tuple(
        recipient
        for recipient, outcome in outcomes.items()
        if outcome.permanence is Permanence.TEMPORARY
        and outcome.scope is Scope.RECIPIENT
        and is_too_many(outcome.reply)
    )


# --- content --------------------------------------------------------------------------------------------

async def _ready(
    session: Session,
    message: Message,
    recipients: Sequence[Mailbox],
    outcomes: dict[Mailbox, Outcome],
    signed: Signed | None,
) -> Message | None:
    """The message as it leaves, signed in the form that the hop takes; None where it does not, with outcomes."""
    fitting = message if _fits(message, session.offer) else await _fitting(session, message, recipients, outcomes)
    if fitting is None or signed is None:
        return fitting
    try:
        return await signed(fitting)
    except TemporaryFault as fault:
        _set_all(outcomes, recipients, _unreadable(fault, session.hop))
        return None


def _fits(message: Message, offer: Offer) -> bool:
    """Whether the hop takes whatever octets the content may have."""
    match message.body_type:
        case BodyType.SEVEN_BIT:
            return True
        case BodyType.EIGHT_BIT | BodyType.UNLABELLED:
            return offer.eight_bit
        case BodyType.BINARY:
            return offer.chunks_binary


async def _fitting(
    session: Session, message: Message, recipients: Sequence[Mailbox], outcomes: dict[Mailbox, Outcome]
) -> Message | None:
    """The message, which does not fit as it is, with content that does; None where there is none, with outcomes."""
    is_binary = message.body_type is BodyType.BINARY
    try:
        if not is_binary and not await _has_8bit(message.content):
            return message
        to = BodyType.EIGHT_BIT if is_binary and session.offer.eight_bit else BodyType.SEVEN_BIT
        result = await fitted(message, to)
    except TemporaryFault as fault:
        _set_all(outcomes, recipients, _unreadable(fault, session.hop))
        return None
    if isinstance(result, Unfit):
        if message.body_type is BodyType.UNLABELLED:
            return message  # it came so, and most servers pass it on so: better than back
        _set_all(outcomes, recipients, unfit_outcome(result, session.hop))
        return None
    return result


def _unreadable(fault: TemporaryFault, hop: str) -> Outcome:
    return temporary("4.3.0", fault.why, Scope.MESSAGE, hop)


def _set_all(outcomes: dict[Mailbox, Outcome], recipients: Sequence[Mailbox], outcome: Outcome) -> None:
    outcomes.update(dict.fromkeys(recipients, outcome))


async def _has_8bit(content: Content) -> bool:
    if content.octets is not None:
        return not content.octets.isascii()
    async for chunk in content.chunks():
        if not chunk.isascii():
            return True
    return False


async def _has_utf8_header(content: Content) -> bool:
    """Whether a header of the message, or of a part of it, has octets beyond ASCII (RFC 6532 s3)."""
    if content.octets is not None and content.octets.isascii():
        return False
    reader = MimeReader()
    async for chunk in content.chunks():
        if _is_in_header(reader.feed(chunk)):
            return True
    return _is_in_header(reader.end())


def _is_in_header(pieces: Sequence[Piece]) -> bool:
    return any(isinstance(piece, Part) and not piece.header.isascii() for piece in pieces)
