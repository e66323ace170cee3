"""XCLIENT: a front tells whose session it passes on (Postfix's XCLIENT_README, 2026; values are xtext, RFC 3461 s4).

Not done: a second XCLIENT in one connection.  A front that pipes its client's commands through would hand that power
over to the client.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.reply import Reply
from mailgw.mail.xtext import from_xtext, is_xtext
from mailgw.wire.smtp_events import Xclient
from mailgw.wire.smtp_grammar import MAX_NAME_OCTETS

_ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")
# What a front cannot tell, for now or for good; it is the same to us.
_UNAVAILABLE: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")

SYNTAX: Final = Reply(501, "5.5.4", ("Syntax: XCLIENT attribute=value ...",))
REPEATED: Final = Reply(501, "5.5.4", ("An attribute is given twice",))
NO_LOGIN: Final = Reply(501, "5.5.4", ("LOGIN is for submission; nobody logs in here",))
NOT_OFFERED: Final = Reply(550, "5.7.0", ("XCLIENT is not offered to you",))
NAMED_ALREADY: Final = Reply(503, "5.5.1", ("The client was named; open a connection for another one",))

# attribute = name "=" value; the names without regard to case
_ATTRIBUTE: Final = re.compile(r"([A-Za-z]+)=([!-~]+)\Z")
_NAME: Final = re.compile(r"[!-~]+\Z")
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")

Value: TypeAlias = str | int | None


def offer(role: Role) -> str:
    """The line of EHLO."""
    return " ".join(("XCLIENT", *(a for a in _ATTRIBUTES if a != "LOGIN" or role.is_submission)))


def parse_xclient(argument: bytes, role: Role) -> Xclient | Reply:
    """What follows ``XCLIENT ``."""
    found: dict[str, Value] = {}
    for word in argument.decode("latin-1").split():
        match = _ATTRIBUTE.match(word)
        if match is None or not is_xtext(match[2]):
            return SYNTAX
        attribute = match[1].upper()
        if attribute not in _ATTRIBUTES:
            return Reply(501, "5.5.4", (f"Unknown attribute {attribute[:32]}",))
        if attribute in found:
            return REPEATED
        value = _value(attribute, from_xtext(match[2]).decode("utf-8", "replace"))
        if value is None:
            return Reply(501, "5.5.4", (f"Bad value of {attribute}",))
        if attribute == "LOGIN" and value and not role.is_submission:
            return NO_LOGIN
        found[attribute] = value
    if not found:
        return SYNTAX
    return Xclient(**{attribute.lower(): value for attribute, value in found.items()})  # type: ignore[arg-type] # _value


def _value(attribute: str, text: str) -> str | int | None:
    """``""`` or 0 where it is unavailable; None where it is malformed."""
    is_number = attribute.endswith("PORT")
    if text.upper() in _UNAVAILABLE:
        return 0 if is_number else ""
    if is_number:
        return int(text) if _PORT.match(text) and int(text) <= 65535 else None
    match attribute:
        case "ADDR" | "DESTADDR":
            return _address(text)
        case "PROTO":
            return text.upper() if text.upper() in ("SMTP", "ESMTP") else None
        case "LOGIN":
            login = parse_mailbox(text)
            return None if login is None else str(Mailbox(login.local_part.lower(), login.domain))
        case _:  # a name goes into headers and logs: one word
            return text if len(text) <= MAX_NAME_OCTETS and _NAME.match(text) else None


def _address(text: str) -> str | None:
    # IPv4, or "IPV6:" and the address; unmapped as everywhere.
    try:
        if text[:5].upper() != "IPV6:":
            return str(IPv4Address(text))
        if "%" in text:
            return None
        parsed = IPv6Address(text[5:])
        return str(parsed.ipv4_mapped or parsed)
    except ValueError:
        return None
