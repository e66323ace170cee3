"""What stands behind the verbs: paths, names (RFC 5321 s4.1.1, s4.1.2; RFC 6531 s3; RFC 4954 s4).

Each function judges one argument and returns what it means, or the ``Reply`` that refuses it.
Lenient where it costs nothing: a space after ``FROM:`` and ``TO:``, source routes (dropped), spaces at the end.
An address beyond ASCII wants SMTPUTF8 with its MAIL, and strict UTF-8.
"""

import functools
import re
from collections.abc import Set
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, is_shapely, parse_mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, RcptParameters
from mailgw.mail.reply import Reply
from mailgw.wire.smtp_parameters import NOTHING_ASKED, Asked, parse_mail_words, parse_rcpt_words

MAX_NAME_OCTETS: Final = 255  # RFC 5321 s4.5.3.1.2

BAD_MAIL_SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: MAIL FROM:<address>",))
BAD_RCPT_SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: RCPT TO:<address>",))
BAD_SENDER: Final = Reply(553, "5.1.7", ("Bad sender address syntax",))
BAD_RECIPIENT: Final = Reply(553, "5.1.3", ("Bad recipient address syntax",))
NOT_UTF_8: Final = Reply(501, "5.5.2", ("A command is ASCII or UTF-8",))
# RFC 6531 s3.5
NOT_ASCII: Final = Reply(553, "5.6.7", ("SMTPUTF8 is not offered here",))
SMTPUTF8_MISSING: Final = Reply(553, "5.6.7", ("An address beyond ASCII wants SMTPUTF8 with MAIL",))
VRFY_SMTPUTF8_MISSING: Final = Reply(553, "5.6.7", ("An address beyond ASCII wants SMTPUTF8 behind it",))
BAD_VRFY: Final = Reply(501, "5.5.4", ("Syntax: VRFY address",))
BAD_NAME: Final = Reply(501, "5.5.4", ("Syntax: a host name or address literal, without spaces",))
BAD_AUTH_SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: AUTH mechanism [initial-response]",))


@attrs.frozen
class MailArgument:
    """``path`` None is ``<>``; ``size`` None where the client did not say."""

    path: Mailbox | None
    body_type: BodyType
    size: int | None
    asked: Asked


@attrs.frozen
class RcptArgument:
    """``path`` may be the bare ``<Postmaster>``."""

    path: Mailbox
    parameters: RcptParameters


@attrs.frozen
class AuthArgument:
    """``mechanism`` in upper case; ``initial`` still in base64, None where there is none."""

    mechanism: str
    initial: bytes | None


# mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]; Path = "<" [A-d-l ":"] Mailbox ">"
# A-d-l = At-domain *("," At-domain): dropped, RFC 5321 s4.1.1.3 and appendix C.
# What is inside is only delimited here, quoted strings in mind; parse_mailbox judges it.  Spaces behind all that are
# the caller's to take away: a pattern that looks for them tries each run of spaces from each of its places.
_PATH: Final = (
    r' *<(?:@(?:\[[^\[\]<>"\s]*\]|[^:\[\]<>"\s])*+:)?((?:[^"<>\s]|"(?:[^"\\]|\\.)*+")*+)>(?: +(.*))?\Z'
)
_FROM: Final = re.compile(r"FROM:" + _PATH, re.IGNORECASE | re.DOTALL | re.ASCII)
_TO: Final = re.compile(r"TO:" + _PATH, re.IGNORECASE | re.DOTALL | re.ASCII)
# RFC 4422 s3.1: sasl-mech = 1*20mech-char; mech-char = UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE
_AUTH: Final = re.compile(rb"([A-Za-z0-9_-]{1,20})(?: +([A-Za-z0-9+/=]+))? *\Z")
_UNPRINTABLE: Final = re.compile(r"[^!-~]")

# The same few senders, and the same recipients, come again and again.
_mailbox: Final = functools.lru_cache(maxsize=1024)(parse_mailbox)

def parse_mail(argument: bytes, known: Set[str]) -> MailArgument | Reply:
    """What follows ``MAIL ``.  ``known``: the parameters that may stand here (``smtp_parameters.mail_keywords``)."""
    text = _decoded(argument)
    if text is None:
        return NOT_UTF_8
    match = _FROM.match(text)
    if match is None:
        return BAD_MAIL_SYNTAX
    inside, parameters = match[1], (match[2] or "").rstrip(" ")
    path = _mailbox(inside) if inside else None
    if inside and inside.isascii() and path is None:
        return BAD_SENDER
    if not parameters:
        if not inside.isascii():
            return _smtputf8_missing(known)
        return MailArgument(path, BodyType.SEVEN_BIT, None, NOTHING_ASKED)
    words = parse_mail_words(parameters, known)
    if isinstance(words, Reply):
        return words
    if not inside.isascii():
        if not words.asked.smtputf8:
            return _smtputf8_missing(known)
        if path is None:
            return BAD_SENDER
    return MailArgument(path, words.body_type, words.size, words.asked)


def parse_rcpt(argument: bytes, known: Set[str], mail_known: Set[str], smtputf8: bool) -> RcptArgument | Reply:
    """What follows ``RCPT ``; the bare ``<Postmaster>`` has an empty domain (RFC 5321 s4.1.1.3, s4.5.1).

    ``known`` as for MAIL, whose own are ``mail_known``; ``smtputf8``: the transaction's MAIL said so.
    """
    text = _decoded(argument)
    if text is None:
        return NOT_UTF_8
    match = _TO.match(text)
    if match is None:
        return BAD_RCPT_SYNTAX
    inside, words = match[1], (match[2] or "").rstrip(" ")
    if not smtputf8 and not inside.isascii():
        return _smtputf8_missing(mail_known)
    parameters = parse_rcpt_words(words, known, smtputf8) if words else NO_RCPT_PARAMETERS
    if isinstance(parameters, Reply):
        return parameters
    path = _mailbox(inside)
    if path is None:
        if inside.lower() != "postmaster":
            return BAD_RECIPIENT
        path = Mailbox(inside, "")
    return RcptArgument(path, parameters)


def vrfy_fault(argument: bytes, known: Set[str]) -> Reply | None:
    """Why what follows ``VRFY `` cannot be asked; ``known`` are the parameters of MAIL.

    RFC 6531 s3.7.4.2: an address beyond ASCII has the word SMTPUTF8 behind it.
    """
    text = _decoded(argument)
    if text is None:
        return NOT_UTF_8
    address, _, word = text.rpartition(" ")
    has_word = bool(address) and word.upper() == "SMTPUTF8"
    if has_word and "SMTPUTF8" not in known:
        return NOT_ASCII
    if text.isascii():
        return None
    if not has_word:
        return VRFY_SMTPUTF8_MISSING if "SMTPUTF8" in known else NOT_ASCII
    return None if is_shapely(address) else BAD_VRFY


def parse_name(argument: bytes) -> str | Reply:
    """The name behind HELO, EHLO or LHLO.

    RFC 5321 s4.1.4: a name that does not check out is no reason to refuse mail, so any word is taken; what is
    not printable ASCII becomes ``?``, since the name goes into headers and logs.
    """
    text = argument.decode("latin-1")
    if not text or len(text) > MAX_NAME_OCTETS or " " in text:
        return BAD_NAME
    return _UNPRINTABLE.sub("?", text)


def parse_auth(argument: bytes) -> AuthArgument | Reply:
    """What follows ``AUTH `` (RFC 4954 s4)."""
    match = _AUTH.match(argument)
    if match is None:
        return BAD_AUTH_SYNTAX
    return AuthArgument(match[1].decode("ascii").upper(), match[2])


def _decoded(argument: bytes) -> str | None:
    try:
        return argument.decode()
    except UnicodeDecodeError:
        return None


def _smtputf8_missing(known: Set[str]) -> Reply:
    return SMTPUTF8_MISSING if "SMTPUTF8" in known else NOT_ASCII
