"""What a failure or a delay comes to for a person: its cause, of a handful, by the class of an answer and by its codes
(RFC 3463, 5248).

The cause chooses the sentence that a notice says, and nothing else: what happens to a message is ``queue.fate``'s.
Where neither tells, it is ``OTHER``: a notice says less rather than what is not so.
"""

import enum
import re
from collections.abc import Mapping

from mailgw.mail.reply import Reply
from mailgw.queue.dsn_fields import Report


class Cause(enum.Enum):
    """The values are the names of sections in the template."""

    NO_SUCH_USER = "no such user"
    NO_SUCH_DOMAIN = "no such domain"
    NOT_TAKING_MAIL = "not taking mail"      # the mailbox or the domain exists, and wants none
    MAILBOX_FULL = "mailbox full"
    TOO_LARGE = "too large"
    NO_ROOM = "no room"                      # 552 alone: too large, or full
    REFUSED = "refused"                      # by somebody's policy: who sends, from where, or what
    SENDER_NOT_VERIFIED = "sender not verified"  # SPF, DKIM, DMARC and the like
    TLS_REQUIRED = "tls required"
    UNREACHABLE = "unreachable"              # of a failure: for as long as we tried
    RELAY_UNREACHABLE = "relay unreachable"  # the same of a server that the operator chose, not of the recipient's
    GAVE_UP = "gave up"                      # another temporary failure that lasted
    TIME_IS_OVER = "time is over"            # RFC 2852: its sender gave it a time
    LOOP = "loop"
    CONTENT = "content"                      # in a form that the next hop does not take
    ADDRESS_FORM = "address form"            # beyond ASCII, where only ASCII is understood
    OUR_FAULT = "our fault"
    SAID = "said"                            # somebody's own code has words for the sender
    LATER = "later"                          # a server asks for patience
    IN_LINE = "in line"
    OTHER = "other"


# By subject and detail of RFC 3463, which are the same for failures and delays; a subject alone where the details of it
# mean the same to a reader.  RFC 5248's registry has the later ones.
_BY_DETAIL: Mapping[str, Cause] = {
    ".1.0": Cause.NO_SUCH_USER,
    ".1.1": Cause.NO_SUCH_USER,
    ".1.2": Cause.NO_SUCH_DOMAIN,
    ".1.3": Cause.NO_SUCH_USER,
    ".1.4": Cause.NO_SUCH_USER,
    ".1.6": Cause.NO_SUCH_USER,
    ".1.7": Cause.REFUSED,               # the sender's address
    ".1.8": Cause.REFUSED,
    ".1.10": Cause.NOT_TAKING_MAIL,      # RFC 7505 s4.2: null MX
    ".2.1": Cause.NOT_TAKING_MAIL,
    ".2.2": Cause.MAILBOX_FULL,
    ".2.3": Cause.TOO_LARGE,
    ".3.1": Cause.MAILBOX_FULL,
    ".3.4": Cause.TOO_LARGE,
    ".3.5": Cause.OUR_FAULT,
    ".4.5": Cause.IN_LINE,
    ".4.6": Cause.LOOP,
    ".4.7": Cause.GAVE_UP,
    ".6.7": Cause.ADDRESS_FORM,          # RFC 6531 s4.2
    ".6.9": Cause.ADDRESS_FORM,
    ".6.10": Cause.ADDRESS_FORM,
    ".7.0": Cause.REFUSED,
    ".7.1": Cause.REFUSED,
    ".7.2": Cause.REFUSED,
    **{f".7.{detail}": Cause.TLS_REQUIRED for detail in (4, 5, 11)},  # as ours say it, of TLS that is not to be had
    ".7.10": Cause.TLS_REQUIRED,
    ".7.30": Cause.TLS_REQUIRED,         # RFC 8689 s4.2.1
    **{f".7.{detail}": Cause.SENDER_NOT_VERIFIED for detail in (9, *range(20, 30))},
}
_BY_SUBJECT: Mapping[str, Cause] = {
    ".4": Cause.UNREACHABLE,
    ".6": Cause.CONTENT,
    ".7": Cause.REFUSED,
}
# RFC 5321 s4.2.3, for servers without enhanced codes: what the code alone says of a recipient
_BY_CODE: Mapping[int, Cause] = {
    550: Cause.OTHER,  # "mailbox unavailable (not found, no access, rejected for policy reasons)": anything
    551: Cause.NO_SUCH_USER,
    552: Cause.NO_ROOM,
    553: Cause.NO_SUCH_USER,
    556: Cause.NOT_TAKING_MAIL,  # RFC 7504
}
_STATUS = re.compile(r"[245]((\.\d{1,3})\.\d{1,3})\Z")
# What the words of servers were found to mean (``queue.replies``, ``reply_classes.toml``): they say more than codes.
_BY_CLASS: Mapping[str, Cause] = {
    "no-such-user": Cause.NO_SUCH_USER,
    "moved": Cause.NO_SUCH_USER,
    "no-such-domain": Cause.NO_SUCH_DOMAIN,
    "mailbox-full": Cause.MAILBOX_FULL,
    "mailbox-disabled": Cause.NOT_TAKING_MAIL,
    "too-large": Cause.TOO_LARGE,
    "recipient-closed": Cause.REFUSED,
    "sender-refused": Cause.REFUSED,
    "blocked": Cause.REFUSED,
    "no-reverse-name": Cause.REFUSED,
    "deferred-for-reputation": Cause.REFUSED,
    "content-refused": Cause.REFUSED,
    "virus": Cause.REFUSED,
    "authentication-missing": Cause.SENDER_NOT_VERIFIED,
    "tls-required": Cause.TLS_REQUIRED,
    "loop": Cause.LOOP,
    "message-malformed": Cause.CONTENT,
    "addresses-beyond-ascii": Cause.ADDRESS_FORM,
    "login-required": Cause.OUR_FAULT,
    "login-failed": Cause.OUR_FAULT,
    "relay-denied": Cause.OUR_FAULT,
}

FAILURES = frozenset(Cause) - {Cause.LATER, Cause.IN_LINE}
"""What ``cause_of_failure`` may say."""
DELAYS = frozenset({
    Cause.MAILBOX_FULL, Cause.UNREACHABLE, Cause.RELAY_UNREACHABLE, Cause.IN_LINE, Cause.TLS_REQUIRED, Cause.OUR_FAULT,
    Cause.LATER,
})
"""What ``cause_of_delay`` may say."""


def cause_of_failure(report: Report, is_overdue: bool) -> Cause:
    """Of what goes back.  ``is_overdue``: the time that its sender gave it (RFC 2852) had passed."""
    if report.words:
        return Cause.SAID
    if _by_codes(report.reply) is Cause.GAVE_UP:
        if is_overdue:
            return Cause.TIME_IS_OVER
        # Why it was given up: what was the trouble the last time.
        last = _cause(report)
        return last if last in _LASTING else Cause.GAVE_UP
    cause = _cause(report)
    # x.4.z says that a way is broken now; as a server's last word it means all kinds of things.
    return cause if cause in FAILURES and cause not in _WAYS else Cause.OTHER


def cause_of_delay(report: Report) -> Cause:
    """Of what is tried again, LATER where a server asks for patience and no more is known."""
    cause = _cause(report)
    return cause if cause in DELAYS else Cause.LATER


_WAYS = (Cause.UNREACHABLE, Cause.RELAY_UNREACHABLE)
_LASTING = (Cause.MAILBOX_FULL, *_WAYS, Cause.TLS_REQUIRED)


def _cause(report: Report) -> Cause:
    """Of the last answer: by its words, but for ours, whose codes are exact."""
    by_class = None if report.is_ours else _BY_CLASS.get(report.reply_class)
    cause = by_class or _by_codes(report.answer)
    if cause is Cause.UNREACHABLE and report.is_by_relay and report.is_ours:  # what a relay says itself is of others
        return Cause.RELAY_UNREACHABLE
    return cause


def _by_codes(reply: Reply) -> Cause:
    found = _STATUS.match(reply.status)
    if found is not None:
        cause = _BY_DETAIL.get(found[1]) or _BY_SUBJECT.get(found[2])
        if cause is not None:
            return cause
    return _BY_CODE.get(reply.code, Cause.OTHER)
