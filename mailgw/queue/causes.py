"""What a failure or a delay comes to for a person: its cause, of a handful, by the codes of a reply (RFC 3463, 5248).

The cause chooses the sentence that a notice says, and nothing else: what happens to a message is ``queue.fate``'s.
Where the codes do not tell, it is ``OTHER``: a notice says less rather than what is not so.
"""

import enum
import re
from collections.abc import Mapping

from mailgw.mail.reply import Reply


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
    GAVE_UP = "gave up"                      # another temporary failure that lasted
    TIME_IS_OVER = "time is over"            # RFC 2852: its sender gave it a time
    LOOP = "loop"
    CONTENT = "content"                      # in a form that the next hop does not take
    ADDRESS_FORM = "address form"            # beyond ASCII, where only ASCII is understood
    OUR_FAULT = "our fault"
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
# Who tells a stranger nothing by its status often says it in words.
_NO_USER = re.compile(
    r"(?:user|recipient|mailbox|address) unknown|unknown (?:user|recipient|mailbox|local)"
    r"|no (?:such|mailbox for) (?:user|mailbox|recipient|person)|(?:user|recipient|mailbox|account) not found"
    r"|(?:user|recipient|mailbox|account) does(?:n't| not) exist|recipient address rejected: access denied",
    re.IGNORECASE,
)
_SPAM = re.compile(r"\bspam\b|\bblock(?:ed|list)|\bblacklist|\bunsolicited\b|\breputation\b|\bdnsbl\b", re.IGNORECASE)
_FULL = re.compile(
    r"over ?quota|mailbox (?:is )?full|quota exceeded|exceeded (?:its |the |storage )?quota", re.IGNORECASE
)
# How ``queue.fate`` quotes the last answer of those that it gave up.
_LAST = re.compile(r"the last one: (\d{3}) (?:([245]\.\d{1,3}\.\d{1,3}) )?")
_MAX_WORDS = 1000

FAILURES = frozenset(Cause) - {Cause.LATER, Cause.IN_LINE}
"""What ``cause_of_failure`` may say."""
DELAYS = frozenset({
    Cause.MAILBOX_FULL, Cause.UNREACHABLE, Cause.IN_LINE, Cause.TLS_REQUIRED, Cause.OUR_FAULT, Cause.LATER,
})
"""What ``cause_of_delay`` may say."""


def cause_of_failure(reply: Reply, is_overdue: bool) -> Cause:
    """Of what goes back.  ``is_overdue``: the time that its sender gave it (RFC 2852) had passed."""
    cause = _by_codes(reply)
    if cause is Cause.GAVE_UP:
        return Cause.TIME_IS_OVER if is_overdue else _lasted(reply)
    words = str(reply)[:_MAX_WORDS]
    if cause in (Cause.OTHER, Cause.NO_ROOM) and _FULL.search(words):
        return Cause.MAILBOX_FULL
    # x.4.z says that a way is broken now; as a server's last word it means all kinds of things.
    if cause in (Cause.OTHER, Cause.UNREACHABLE) and _NO_USER.search(words):
        return Cause.NO_SUCH_USER
    if cause is Cause.OTHER and _SPAM.search(words):
        return Cause.REFUSED
    return cause if cause in FAILURES and cause is not Cause.UNREACHABLE else Cause.OTHER


def cause_of_delay(reply: Reply) -> Cause:
    """Of what is tried again, LATER where a server asks for patience and no more is known."""
    cause = _by_codes(reply)
    return cause if cause in DELAYS else Cause.LATER


def _lasted(reply: Reply) -> Cause:
    """Why it was given up: what was the trouble the last time."""
    found = _LAST.search(str(reply)[:_MAX_WORDS])
    if found is None:
        return Cause.GAVE_UP
    cause = _by_codes(Reply(int(found[1]), found[2] or "", ("",)))
    return cause if cause in (Cause.MAILBOX_FULL, Cause.UNREACHABLE, Cause.TLS_REQUIRED) else Cause.GAVE_UP


def _by_codes(reply: Reply) -> Cause:
    found = _STATUS.match(reply.status)
    if found is not None:
        cause = _BY_DETAIL.get(found[1]) or _BY_SUBJECT.get(found[2])
        if cause is not None:
            return cause
    return _BY_CODE.get(reply.code, Cause.OTHER)
