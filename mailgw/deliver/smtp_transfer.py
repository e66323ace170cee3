"""One message to all its recipients over one session, in as many transactions as that takes.

RFC 3461 s5.2.2 (a hop without DSN), RFC 9422 (LIMITS), RFC 5321 s4.5.3.1.10 (too many recipients); RFC 6152, 3030
(content that a hop does not take).

Rules:
    A message that asks for nothing out of the ordinary goes in one transaction, without a look at its content.
    Content is re-encoded only where the hop does not take it (``wire.reencode``); what cannot be is returned, 5.6.3.
    What a hop cannot do for a message, another may: such an outcome has the scope HOST.  It takes no other's place:
    trouble that an earlier host had may be over at the next attempt.
"""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from mailgw.deliver.reencoding import fitted, unfit_outcome
from mailgw.deliver.smtp_session import Session
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.header import header_end
from mailgw.mail.message import Content, Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.parameters import NO_MAIL_PARAMETERS
from mailgw.mail.ports import WallClock
from mailgw.wire.client_asked import Onward, unmet
from mailgw.wire.client_offer import Offer
from mailgw.wire.reencode import Unfit

# What a header may have; beyond it, the rest is not looked at for UTF-8.
_HEADER_OCTETS = 1 << 20


def is_plain(message: Message, recipients: Sequence[Mailbox]) -> bool:
    """Whether the message can go to any hop that takes its octets: nothing was asked for it."""
    return (
        message.parameters == NO_MAIL_PARAMETERS
        and not message.recipient_parameters
        and all(recipient.local_part.isascii() for recipient in recipients)
        and (message.reverse_path is None or message.reverse_path.local_part.isascii())
    )


async def transfer(
    session: Session,
    message: Message,
    recipients: Sequence[Mailbox],
    outcomes: dict[Mailbox, Outcome],
    is_final: bool,
    wall_clock: WallClock,
) -> None:
    """One outcome for each of ``recipients``, in ``outcomes``, where those of earlier hosts may be already.

    When it raises or is cancelled, ``session.abort`` has what it does not say.  ``is_final``: the hop is the end of
    the way.
    """
    try:
        fitting = await _fitting(message, session.offer)
        header_is_utf8 = message.parameters.smtputf8 and await _has_utf8_header(message.content)
    except TemporaryFault as fault:
        outcomes.update(dict.fromkeys(recipients, temporary("4.3.0", fault.why, Scope.MESSAGE, session.hop)))
        return
    if isinstance(fitting, Unfit):
        outcomes.update(dict.fromkeys(recipients, unfit_outcome(fitting, session.hop)))
        return
    if is_plain(message, recipients):
        await _in_batches(session, fitting, recipients, None, outcomes)
        return
    mail = message.parameters
    by_seconds = int(mail.deliver_by.deadline - wall_clock()) if mail.deliver_by is not None else 0
    asked = Onward(mail, message.recipient_parameters, False, by_seconds)
    refused = unmet(
        session.offer, session.is_verified, is_final, message.reverse_path, recipients, asked, header_is_utf8,
        session.hop,
    )
    for recipient, outcome in refused.items():
        outcomes.setdefault(recipient, outcome)
    served = [recipient for recipient in recipients if recipient not in refused]
    for transaction, group in _by_reverse_path(fitting, served, session.offer):
        # RFC 6531 s3.6: said where the message needs it
        paths = [*group, transaction.reverse_path]
        utf8 = header_is_utf8 or not all(path is None or path.octets().isascii() for path in paths)
        await _in_batches(session, transaction, group, Onward(mail, asked.recipients, utf8, by_seconds), outcomes)


async def _in_batches(
    session: Session,
    message: Message,
    recipients: Sequence[Mailbox],
    asked: Onward | None,
    outcomes: dict[Mailbox, Outcome],
) -> None:
    """As many transactions as the server's limits ask for; whoever has no place in this session is left for another."""
    for batch in _batches(recipients, session.offer):
        offered: Sequence[Mailbox] = batch
        while offered:
            if session.is_spent or not session.is_ready:
                # RFC 3463 s3.6: X.5.3, too many recipients; another session may take them
                why = "The session ended before the turn of this recipient"
                outcomes.update(dict.fromkeys(offered, temporary("4.5.3", why, Scope.SESSION, session.hop)))
                break
            done = (await session.transact(message, offered, asked)).outcomes
            outcomes.update(done)
            offered = _too_many(done) if len(offered) > 1 and session.is_ready else ()


def _batches(recipients: Sequence[Mailbox], offer: Offer) -> Iterator[Sequence[Mailbox]]:
    if not offer.has_limits:
        yield recipients
        return
    # RFC 9422 s4.2, s4.3: RCPTMAX a transaction, RCPTDOMAINMAX a session, of which such a server gets one a transaction
    batch: list[Mailbox] = []
    domains: set[str] = set()
    for recipient in sorted(recipients, key=lambda mailbox: mailbox.domain) if offer.rcpt_domain_limit else recipients:
        domains.add(recipient.domain)
        if batch and (
            len(batch) == offer.rcpt_limit or (offer.rcpt_domain_limit and len(domains) > offer.rcpt_domain_limit)
        ):
            yield batch
            batch, domains = [], {recipient.domain}
        batch.append(recipient)
    if batch:
        yield batch


def _by_reverse_path(
    message: Message, recipients: Sequence[Mailbox], offer: Offer
) -> Iterator[tuple[Message, Sequence[Mailbox]]]:
    """RFC 3461 s5.2.2: a hop without DSN gets a null reverse-path with those whose sender wants no report, so that
    none is made there."""
    silent = [] if offer.dsn or message.reverse_path is None else [
        recipient for recipient in recipients
        if (asked := message.recipient_parameters.get(recipient)) is not None and asked.notify == frozenset()
    ]
    others = [recipient for recipient in recipients if recipient not in silent] if silent else recipients
    if others:
        yield message, others
    if silent:
        yield attrs.evolve(message, reverse_path=None), silent


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
        and outcome.reply.status in ("4.5.3", "5.5.3")
    )


# --- content --------------------------------------------------------------------------------------------

async def _fitting(message: Message, offer: Offer) -> Message | Unfit:
    """The message with content that the hop takes."""
    match message.body_type:
        case BodyType.EIGHT_BIT if not offer.eight_bit and await _has_8bit(message.content):
            return await fitted(message, BodyType.SEVEN_BIT)
        case BodyType.BINARY if not offer.chunks_binary:
            return await fitted(message, BodyType.EIGHT_BIT if offer.eight_bit else BodyType.SEVEN_BIT)
        case _:
            return message


async def _has_8bit(content: Content) -> bool:
    if content.octets is not None:
        return not content.octets.isascii()
    async for chunk in content.chunks():
        if not chunk.isascii():
            return True
    return False


async def _has_utf8_header(content: Content) -> bool:
    """Whether the message's header has octets beyond ASCII (RFC 6532)."""
    octets = content.octets
    if octets is None:
        octets = b""
        async for chunk in content.chunks():
            octets += chunk
            if header_end(octets) >= 0 or len(octets) > _HEADER_OCTETS:
                break
    end = header_end(octets)
    return not (octets[:end] if end >= 0 else octets).isascii()
