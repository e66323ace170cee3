"""XCLIENT: a front tells whose session it passes on (Postfix's XCLIENT_README, 2026; values are xtext, RFC 3461 s4).

Not done: a second XCLIENT in one connection.  A front that pipes its client's commands through would hand that power
over to the client.
"""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from mailgw.mail.address import Mailbox, folded, parse_mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.reply import Reply
from mailgw.mail.xtext import from_xtext, is_xtext
from mailgw.wire.smtp_events import Xclient
from mailgw.wire.smtp_grammar import MAX_NAME_OCTETS
from mailgw.wire.smtp_replies import HELLO_FIRST, NOT_IN_TRANSACTION

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


class Front:
    """One session's: whether it may name a client, and has.  ``vouches``: for a login of the client that it named."""

    def __init__(self, role: Role, is_front: bool) -> None:
        self.vouches = False
        self._role = role
        self._is_front = is_front
        self._named: Xclient | None = None

    def offers(self) -> list[str]:
        """The line of EHLO, while it may be said."""
        if not self._is_front or self._named is not None:
            return []
        return [" ".join(("XCLIENT", *(a for a in _ATTRIBUTES if a != "LOGIN" or self._role.is_submission)))]

    def name(self, argument: bytes, is_introduced: bool, in_transaction: bool) -> Xclient | Reply:
        """XCLIENT came; what is no refusal wants an answer, to be told to ``answered``."""
        if not self._is_front:
            return NOT_OFFERED
        if self._named is not None:
            return NAMED_ALREADY
        if not is_introduced:
            return HELLO_FIRST
        if in_transaction:
            return NOT_IN_TRANSACTION
        named = parse_xclient(argument, self._role)
        if isinstance(named, Xclient):
            self._named = named
        return named

    def answered(self, reply: Reply) -> bool:
        """Whether the session is the client's now; where not, it is nobody's any more."""
        self.vouches = reply.is_positive and self._named is not None and bool(self._named.login)
        return reply.is_positive


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
            return None if login is None else str(Mailbox(folded(login.local_part), login.domain))
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
