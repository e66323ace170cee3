"""What a rule may do to a message besides letting it pass or refusing it: values, which ``receive`` carries out.

Rules:
    A value that could break a header, or name nobody, is no effect: ``effect_fault`` says what is wrong with one.
    The trace that we put on top is no part of the message here: no effect touches it.
"""

import re
from typing import TypeAlias

import attrs

from mailgw.mail.address import Mailbox

# RFC 5322 s2.2: field-name = 1*ftext; ftext = %d33-57 / %d59-126
_FIELD_NAME = re.compile(r"[!-9;-~]+\Z")
# RFC 5322 s2.1.1: 998 characters a line without CRLF.  A long value is the rule's to fold.
MAX_LINE_OCTETS = 998
MAX_FIELD_OCTETS = 16 * 1024
"""Of one field that a rule writes, with its line ends."""
# A word that stands in lists of words: in the journal, in a configuration, in a URL.
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")
MAX_TAGS = 50
"""Of one message."""
MAX_EFFECTS = 1000
"""Of one verdict: a list that only grows is found out."""
MAX_WHY = 500
"""Characters of a reason; what is longer is cut."""


@attrs.frozen
class AddHeader:
    """One more field: on top of the message's own, or behind its last one.  ``value`` may be folded (a CRLF, or a LF,
    with white space behind it)."""

    name: str
    value: str
    at_end: bool = False


@attrs.frozen
class SetHeader:
    """The only field of that name, in the place of the first one there is, else on top."""

    name: str
    value: str


@attrs.frozen
class RemoveHeader:
    """No field of that name."""

    name: str


@attrs.frozen
class ReplaceContent:
    """Another message in place of this one, header and body, below our trace: CRLF line ends, no dot-stuffing."""

    octets: bytes = attrs.field(repr=lambda octets: f"{len(octets)} octets")


@attrs.frozen
class AddRecipient:
    """One more recipient, whom nobody named; a bounce of it goes to the sender as others do."""

    recipient: Mailbox


@attrs.frozen
class DropRecipient:
    """``recipient``, as it was named, gets nothing, and nobody is told.  Where none is left, it is ``Discard``."""

    recipient: Mailbox


@attrs.frozen
class ChangeRecipient:
    """What was for ``recipient``, as it was named, goes to ``to``; reports speak of the address that was named.

    At RCPT it is of the recipient of that command, and whether that one exists is not asked."""

    recipient: Mailbox
    to: Mailbox


@attrs.frozen
class Reroute:
    """Another backend for ``recipient``, or for all; it has to serve them."""

    backend: str
    recipient: Mailbox | None = None


@attrs.frozen
class Tag:
    """A word that stays with the message: ``facts.tags`` for later rules, ``message.tags`` for backends, and in the
    journal."""

    word: str


@attrs.frozen
class Hold:
    """The message is queued and held: tried by nobody until ``mailgw queue release``.  The client is told 250."""

    why: str


@attrs.frozen
class Quarantine:
    """As ``Hold``, because the message may be harmful: the reason says so."""

    why: str


@attrs.frozen
class Junk:
    """As ``Quarantine``, but where all of it goes to backends that file junk apart (``interfaces.IFilesJunk``), it is
    delivered there, with the tag ``junk``; where anything of it would go anywhere else, the whole message is held."""

    why: str


@attrs.frozen
class Discard:
    """The client is told 250, and the message is forgotten."""


Effect: TypeAlias = (
    AddHeader | SetHeader | RemoveHeader | ReplaceContent | AddRecipient | DropRecipient | ChangeRecipient | Reroute
    | Tag | Hold | Quarantine | Junk | Discard
)


def effect_fault(effect: object) -> str | None:
    """Why a plug-in's ``effect`` cannot be carried out, whatever the message; None where it can."""
    match effect:
        case AddHeader(name, value) | SetHeader(name, value):
            return _name_fault(name) or _value_fault(name, value)
        case RemoveHeader(name):
            return _name_fault(name)
        case ReplaceContent(octets):
            return None if isinstance(octets, bytes) else "content is no bytes"
        case AddRecipient(recipient) | DropRecipient(recipient):
            return _mailbox_fault(recipient)
        case ChangeRecipient(recipient, to):
            return _mailbox_fault(recipient) or _mailbox_fault(to)
        case Reroute(backend, recipient):
            if not isinstance(backend, str):
                return "a backend's name is no text"
            return None if recipient is None else _mailbox_fault(recipient)
        case Tag(word):
            is_word = isinstance(word, str) and _TAG.match(word)
            return None if is_word else f"{word!r:.80} is no tag: expected up to 64 letters, digits, and _ . : -"
        case Hold(why) | Quarantine(why) | Junk(why):
            return None if isinstance(why, str) else "a reason is no text"
        case Discard():
            return None
        case _:
            return f"a {type(effect).__name__} is no effect"


def field_of(name: str, value: str) -> bytes:
    """The field with its line end, for a name and a value that have no fault."""
    lines = re.split("\r\n|\n", value)
    folded = "\r\n".join(lines)
    return f"{name}: {folded}\r\n".encode()


def _name_fault(name: object) -> str | None:
    if isinstance(name, str) and len(name) <= MAX_LINE_OCTETS // 2 and _FIELD_NAME.match(name):
        return None
    return f"{name!r:.80} is no name of a header field"


def _value_fault(name: str, value: object) -> str | None:
    if not isinstance(value, str):
        return f"the value of {name} is no text"
    lines = re.split("\r\n|\n", value)
    if any("\r" in line or "\0" in line for line in lines):
        return f"the value of {name} holds a bare CR or a NUL"
    if any(line[:1] not in (" ", "\t") or not line.strip() for line in lines[1:]):
        return f"the value of {name} has a line that would begin another field or end the header"
    try:
        octets = [len(line.encode()) for line in lines]
    except UnicodeEncodeError:
        return f"the value of {name} cannot be encoded"
    octets[0] += len(name) + 2
    if max(octets) > MAX_LINE_OCTETS:
        return f"the value of {name} has a line of {max(octets)} octets: expected {MAX_LINE_OCTETS} at most"
    is_short = sum(octets) + 2 * len(lines) <= MAX_FIELD_OCTETS
    return None if is_short else f"{name} has more than {MAX_FIELD_OCTETS} octets"


def _mailbox_fault(value: object) -> str | None:
    return None if isinstance(value, Mailbox) else f"a {type(value).__name__} is no Mailbox"
