"""What stands behind the verbs: paths, parameters, names (RFC 5321 s4.1.1, s4.1.2; RFC 1870, 6152, 4954 s5; not
done: SMTPUTF8, DSN).

Each function judges one argument and returns what it means, or the ``Reply`` that refuses it.
Lenient where it costs nothing: a space after ``FROM:`` and ``TO:``, source routes (dropped), spaces at the end.
"""

import functools
import re
from collections.abc import Container
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.reply import Reply

MAX_NAME_OCTETS: Final = 255  # RFC 5321 s4.5.3.1.2

BAD_MAIL_SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: MAIL FROM:<address>",))
BAD_RCPT_SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: RCPT TO:<address>",))
BAD_SENDER: Final = Reply(553, "5.1.7", ("Bad sender address syntax",))
BAD_RECIPIENT: Final = Reply(553, "5.1.3", ("Bad recipient address syntax",))
NOT_ASCII: Final = Reply(553, "5.6.7", ("SMTPUTF8 is not offered here",))  # RFC 6531 s3.5
BAD_PARAMETER: Final = Reply(501, "5.5.4", ("Malformed parameter",))
BAD_SIZE: Final = Reply(501, "5.5.4", ("Syntax: SIZE=octets",))
BAD_BODY: Final = Reply(501, "5.5.4", ("Syntax: BODY=7BIT or BODY=8BITMIME",))
BAD_AUTH: Final = Reply(501, "5.5.4", ("Syntax: AUTH=mailbox in xtext",))
REPEATED_PARAMETER: Final = Reply(501, "5.5.4", ("A parameter is given twice",))
UNKNOWN_PARAMETER: Final = Reply(555, "5.5.4", ("Parameter not recognized",))
BAD_NAME: Final = Reply(501, "5.5.4", ("Syntax: a host name or address literal, without spaces",))
BAD_AUTH_SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: AUTH mechanism [initial-response]",))


@attrs.frozen
class MailArgument:
    """``path`` None is ``<>``; ``size`` None where the client did not say."""

    path: Mailbox | None
    body_type: BodyType
    size: int | None


@attrs.frozen
class AuthArgument:
    """``mechanism`` in upper case; ``initial`` still in base64, None where there is none."""

    mechanism: str
    initial: bytes | None


# mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]; Path = "<" [A-d-l ":"] Mailbox ">"
# A-d-l = At-domain *("," At-domain): dropped, RFC 5321 s4.1.1.3 and appendix C.
# What is inside is only delimited here, quoted strings in mind; parse_mailbox judges it.
_PATH: Final = (
    r' *<(?:@[^:<>"\s]*:)?((?:[^"<>\s]|"(?:[^"\\]|\\.)*+")*+)>(?: +(.*?))? *\Z'
)
_FROM: Final = re.compile(r"FROM:" + _PATH, re.IGNORECASE | re.DOTALL | re.ASCII)
_TO: Final = re.compile(r"TO:" + _PATH, re.IGNORECASE | re.DOTALL | re.ASCII)
# esmtp-param = esmtp-keyword ["=" esmtp-value]; esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
# esmtp-value = 1*(%d33-60 / %d62-126)
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?\Z")
# RFC 1870 s4: size-value ::= 1*20DIGIT
_SIZE: Final = re.compile(r"[0-9]{1,20}\Z")
# RFC 3461 s4: xtext = *( xchar / hexchar ); xchar = %d33-42 / %d44-60 / %d62-126; hexchar = "+" 2(%x30-39 / %x41-46)
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")
# RFC 4422 s3.1: sasl-mech = 1*20mech-char; mech-char = UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE
_AUTH: Final = re.compile(rb"([A-Za-z0-9_-]{1,20})(?: +([A-Za-z0-9+/=]+))? *\Z")
_UNPRINTABLE: Final = re.compile(r"[^!-~]")

# The same few senders, and the same recipients, come again and again.
_mailbox: Final = functools.lru_cache(maxsize=1024)(parse_mailbox)

MAIL_PARAMETERS: Final = frozenset({"SIZE", "BODY"})
SUBMISSION_PARAMETERS: Final = MAIL_PARAMETERS | {"AUTH"}


def parse_mail(argument: bytes, known: Container[str]) -> MailArgument | Reply:
    """What follows ``MAIL ``.  ``known``: the parameters that may stand here, in upper case."""
    text = argument.decode("latin-1")
    match = _FROM.match(text)
    if match is None:
        return BAD_MAIL_SYNTAX
    inside, parameters = match.groups()
    path = None
    if inside:
        path = _mailbox(inside) if inside.isascii() else None
        if path is None:
            return BAD_SENDER if inside.isascii() else NOT_ASCII
    if not parameters:
        return MailArgument(path, BodyType.SEVEN_BIT, None)
    return _parse_mail_parameters(path, parameters, known)


def parse_rcpt(argument: bytes) -> Mailbox | Reply:
    """What follows ``RCPT ``; the bare ``<Postmaster>`` has an empty domain (RFC 5321 s4.1.1.3, s4.5.1)."""
    text = argument.decode("latin-1")
    match = _TO.match(text)
    if match is None:
        return BAD_RCPT_SYNTAX
    inside, parameters = match.groups()
    if parameters:
        return UNKNOWN_PARAMETER if all(map(_PARAMETER.match, parameters.split())) else BAD_PARAMETER
    path = _mailbox(inside) if inside.isascii() else None
    if path is None:
        if inside.lower() == "postmaster":
            return Mailbox(inside, "")
        return BAD_RECIPIENT if inside.isascii() else NOT_ASCII
    return path


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


def _parse_mail_parameters(path: Mailbox | None, text: str, known: Container[str]) -> MailArgument | Reply:
    body_type = BodyType.SEVEN_BIT
    size: int | None = None
    seen: set[str] = set()
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.match(word)
        if match is None:
            return BAD_PARAMETER
        keyword, value = match[1].upper(), match[2]
        if keyword in seen:
            return REPEATED_PARAMETER
        seen.add(keyword)
        if keyword not in known:
            return UNKNOWN_PARAMETER
        if keyword == "SIZE":
            if value is None or not _SIZE.match(value):
                return BAD_SIZE
            size = int(value)
        elif keyword == "BODY":
            match (value or "").upper():
                case "8BITMIME":
                    body_type = BodyType.EIGHT_BIT
                case "7BIT":
                    body_type = BodyType.SEVEN_BIT
                case _:
                    return BAD_BODY
        elif value is None or not _XTEXT.match(value):
            # RFC 4954 s5: who first submitted it.  Nothing here trusts that, so it is only checked.
            return BAD_AUTH
    return MailArgument(path, body_type, size)
