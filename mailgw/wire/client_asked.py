"""What a message's client asked for, said to the next hop: parameters of MAIL and RCPT, and what a hop that lacks an
extension cannot be given (RFC 3461, 6531, 6533, 8689, 6710, 2852).

Rules:
    A parameter goes only to a hop that offers its extension.
    RET, ENVID, NOTIFY, ORCPT and MT-PRIORITY are left out where they are not offered.  SMTPUTF8, REQUIRETLS and
    BY with mode R are not: without them the message may not go there.
    FUTURERELEASE is never passed on: the message has been held here.
"""

import re
from collections.abc import Mapping, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.outcome import Outcome, Scope, permanent
from mailgw.mail.parameters import (
    NO_RCPT_PARAMETERS,
    ByMode,
    MailParameters,
    Notify,
    RcptParameters,
    embedded,
    original_recipient,
)
from mailgw.wire.client_offer import Offer
from mailgw.wire.smtp_parameters import MAX_ORCPT_OCTETS

_MOST_SECONDS = 999_999_999  # RFC 2852 s4: by-time = ["-" / "+"] 1*9digit
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


@attrs.frozen
class Onward:
    """What one transaction says beyond the paths, the size and the body's type.

    ``utf8``: say SMTPUTF8.  ``by_seconds`` is what is left of ``mail.deliver_by``, 0 where nobody asked.
    ``recipients`` may lack some: those asked for nothing.
    """

    mail: MailParameters
    recipients: Mapping[Mailbox, RcptParameters]
    utf8: bool
    by_seconds: int


def mail_words(offer: Offer, asked: Onward) -> str:
    """The parameters of MAIL, each with a space before it."""
    mail = asked.mail
    words = ""
    if asked.utf8:
        words += " SMTPUTF8"
    if offer.dsn:
        # RFC 3461 s5.2.1: as they came
        if mail.ret is not None:
            words += f" RET={mail.ret.value}"
        if mail.envid:
            words += f" ENVID={mail.envid}"
    if mail.require_tls and offer.require_tls:
        words += " REQUIRETLS"
    if offer.priorities:
        # RFC 6710 s4.2: always, 0 among them.  A hop that heard nothing might choose by its own lights.
        words += f" MT-PRIORITY={mail.priority}"
    if mail.deliver_by is not None and offer.deliver_by:
        seconds = max(-_MOST_SECONDS, min(asked.by_seconds, _MOST_SECONDS))
        words += f" BY={seconds};{mail.deliver_by.mode.value}{'T' if mail.deliver_by.trace else ''}"
    return words


def rcpt_words(offer: Offer, asked: Onward, recipient: Mailbox) -> str:
    """The parameters of one RCPT, each with a space before it."""
    rcpt = asked.recipients.get(recipient, NO_RCPT_PARAMETERS)
    if rcpt.is_forwarded:  # nobody's wish, and no parameter of SMTP
        rcpt = attrs.evolve(rcpt, is_forwarded=False)
    by = asked.mail.deliver_by
    is_timed = by is not None and by.mode is ByMode.NOTIFY and asked.by_seconds > 0
    if is_timed and not offer.deliver_by and rcpt.notify != frozenset():
        # RFC 2852 s4.1.4.2: who cannot be told of the time that passes is told of a delay.  Once it has passed, the
        # sender has heard so, and RFC 3461 s5.2.1 holds: NOTIFY goes on as it came.
        told = frozenset([Notify.FAILURE]) if rcpt.notify is None else rcpt.notify
        rcpt = attrs.evolve(rcpt, notify=told | {Notify.DELAY})
    if not offer.dsn or rcpt == NO_RCPT_PARAMETERS:
        return ""
    # RFC 3461 s5.2.1: NOTIFY and ORCPT as they came; an ORCPT may be added, with the address that we were given.
    if not rcpt.orcpt:
        rcpt = attrs.evolve(rcpt, orcpt=original_recipient(recipient))
    elif not asked.utf8 and not rcpt.orcpt.isascii():
        rcpt = attrs.evolve(rcpt, orcpt=_NOT_ASCII.sub(embedded, rcpt.orcpt))
    if len(rcpt.orcpt.encode()) > MAX_ORCPT_OCTETS:
        # It grew here.  Without it, reports name the recipient alone.
        rcpt = attrs.evolve(rcpt, orcpt="")
    return f" {rcpt}" if rcpt != NO_RCPT_PARAMETERS else ""


def unmet(
    offer: Offer,
    is_verified: bool,
    is_final: bool,
    is_local: bool,
    reverse_path: Mailbox | None,
    recipients: Sequence[Mailbox],
    asked: Onward,
    header_is_utf8: bool,
    hop: str,
) -> dict[Mailbox, Outcome]:
    """Who cannot be sent the message in this session, since it would not be treated as its client asked; and why.

    ``is_verified``: TLS is on, with a certificate that names the host.  ``is_final``: this is the end of the
    message's way (LMTP).  ``is_local``: the peer is on this machine, where nobody can listen in.  The outcomes are
    permanent, with the scope HOST: another host may do better.
    """
    why = _unmet_by_all(offer, is_verified, is_final, is_local, asked)
    if why is None and not offer.smtputf8:
        # RFC 6531 s3.2: no message that needs SMTPUTF8 goes to a server that does not offer it.
        if header_is_utf8:
            why = ("5.6.7", "The header needs SMTPUTF8, which the next hop does not offer")
        elif reverse_path is not None and not reverse_path.is_ascii:
            why = ("5.6.7", "The sender's address needs SMTPUTF8, which the next hop does not offer")
        else:
            outcome = permanent(
                "5.6.7", "The address needs SMTPUTF8, which the next hop does not offer", Scope.HOST, hop
            )
            return {r: outcome for r in recipients if not r.is_ascii}
    if why is None:
        return {}
    return dict.fromkeys(recipients, permanent(*why, Scope.HOST, hop))


def _unmet_by_all(
    offer: Offer, is_verified: bool, is_final: bool, is_local: bool, asked: Onward
) -> tuple[str, str] | None:
    mail = asked.mail
    if mail.require_tls and not (is_final and is_local):
        # RFC 8689 s4.2.1, the codes for a message that cannot go on
        if not is_verified:
            return NO_VERIFIED_TLS
        if not offer.require_tls:
            return "5.7.30", "The message needs REQUIRETLS, which the next hop does not offer"
    by = mail.deliver_by
    if by is not None and by.mode is ByMode.RETURN and not is_final:
        # RFC 2852 s4.1.4.1: with the mode R it is returned where the next hop does not promise the same.  Its s6 has
        # the other MX hosts tried before, its s7 rather not; they are, since one of them may serve it in time.
        if asked.by_seconds <= 0:
            return "5.4.7", "The time for its delivery is over"
        if not offer.deliver_by:
            return "5.3.3", "The message is to be delivered by a time, and the next hop does not offer DELIVERBY"
        if asked.by_seconds < offer.shortest_by_seconds:
            why = f"It is to be delivered in {asked.by_seconds} seconds, the next hop takes {offer.shortest_by_seconds}"
            return "5.4.7", why
    return None


NO_VERIFIED_TLS = "5.7.10", "The message needs TLS with a certificate that names the next hop (REQUIRETLS)"
