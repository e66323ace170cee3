"""xtext: any octets as printable ASCII without "+", "=" and spaces (RFC 3461 s4)."""

import re

# xtext = *( xchar / hexchar ); xchar = %d33-42 / %d44-60 / %d62-126; hexchar = "+" 2(%x30-39 / %x41-46)
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*\Z")
_HEXCHAR = re.compile(rb"\+([0-9A-F]{2})")
_TO_ENCODE = re.compile(rb"[^!-*,-<>-~]")


def is_xtext(text: str) -> bool:
    """Whether ``text`` is xtext; the empty text is."""
    return _XTEXT.match(text) is not None


def from_xtext(text: str) -> bytes:
    """The octets that ``text``, which ``is_xtext``, stands for."""
    return _HEXCHAR.sub(lambda match: bytes([int(match[1], 16)]), text.encode("ascii"))


def to_xtext(octets: bytes) -> str:
    """``octets`` as xtext."""
    return _TO_ENCODE.sub(lambda match: b"+%02X" % match[0][0], octets).decode("ascii")
