"""The macros of SPF: what a domain may have put into names and explanations (RFC 7208 s7; RFC 8616 s4).

A text is read once, before anything is asked, and expanded with what is known of one message.

Rules:
    A text with a fault in it is none; whoever reads a record makes a permerror of that (s4.6, s7.1).
    What expands to no name that could stand in DNS is a name of which there is nothing: an empty label, one of more
    than 63 octets, anything but ASCII (s4.8).  RFC 8616 s4 has it so for local parts beyond ASCII.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

import attrs

# s7.3: what is longer loses labels from the left until it fits.
NAME_OCTETS = 253
# Literals and macros of one text; there is no limit in s7.  Names that are in use have less than ten, and a name has
# room for 127 labels.
PIECES = 100
_LABELS = re.compile(r"[^.]{1,63}(?:\.[^.]{1,63})*\Z")  # RFC 1035 s2.3.4

# s7.1:
#   macro-expand     = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
#   macro-letter     = "s" / "l" / "o" / "d" / "i" / "p" / "h" / "c" / "r" / "t" / "v"
#   transformers     = *DIGIT [ "r" ]
#   delimiter        = "." / "-" / "+" / "," / "/" / "_" / "="
#   macro-literal    = %x21-24 / %x26-7E
# A SP stands in explanations alone (s6.2).
_PIECE = re.compile(
    r"%\{(?P<letter>[slodiphcrtv])(?P<digits>[0-9]*)(?P<reverse>r?)(?P<delimiters>[.\-+,/_=]*)\}"
    r"|%(?P<escape>[%_-])"
    r"|(?P<literal>[ !-$&-~]+)",
    re.IGNORECASE | re.ASCII,
)
_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
# s7.2: "The following macro letters are allowed only in "exp" text".
_IN_EXPLANATIONS = frozenset("crt")
# s7.1:
#   domain-end       = ( "." toplabel [ "." ] ) / macro-expand
#   toplabel         = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum )
# which comes to: letters, digits and inner hyphens, not digits alone.
_TOP_LABEL = re.compile(r"(?![0-9]*\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\Z")


@attrs.frozen
class Macro:
    """``letter`` in lower case; ``labels``: how many from the right are kept, 0 for all; ``is_url``: what stands for
    it is written as in a URL (the letter was a capital one)."""

    letter: str
    labels: int
    is_reversed: bool
    delimiters: str
    is_url: bool


@attrs.frozen
class MacroText:
    """A text that was read; ``written`` is as the domain has it."""

    written: str
    pieces: tuple[str | Macro, ...]

    @property
    def letters(self) -> frozenset[str]:
        """What has to be known to expand it."""
        return frozenset(piece.letter for piece in self.pieces if isinstance(piece, Macro))


def macro_text(written: str) -> MacroText | None:
    """A ``macro-string`` with any letter, or the text of an explanation: with spaces; None where the syntax is none, or
    there are more than ``PIECES``."""
    found = _read(written)
    return None if found is None else found[0]


def domain_spec(written: str) -> MacroText | None:
    """A ``domain-spec``: what a name is made of; None where the syntax is none, or there are more than ``PIECES``."""
    found = _read(written)
    if found is None or " " in written:
        return None
    text, ends_with_literal = found
    if text.letters & _IN_EXPLANATIONS or not text.pieces:
        return None
    _, dot, label = written.removesuffix(".").rpartition(".")
    if ends_with_literal and not (dot and _TOP_LABEL.match(label)):
        return None
    return text


def expanded(text: MacroText, values: Mapping[str, str]) -> str:
    """With what each of ``text.letters`` stands for.  KeyError where one is missing."""
    return "".join(
        piece if isinstance(piece, str) else _value(piece, values[piece.letter]) for piece in text.pieces
    )


def name_of(text: MacroText, values: Mapping[str, str]) -> str | None:
    """The name to ask DNS for, without a dot at its end; None where there can be none of that name.

    RFC 8616 s4: a local part beyond ASCII is no part of a name, in whatever form.
    """
    if any(letter in text.letters and not values[letter].isascii() for letter in "sl"):
        return None
    name = expanded(text, values).removesuffix(".")
    if len(name) > NAME_OCTETS:
        # Whole labels go, so what is left begins behind a dot; at once, since they may be a hundred thousand.
        name = name[-NAME_OCTETS - 1:].partition(".")[2]
    return name if is_name(name) else None


def is_name(name: str) -> bool:
    """Whether this can be asked for: labels of 1 to 63 octets (s4.3), ASCII."""
    return len(name) <= NAME_OCTETS and name.isascii() and _LABELS.match(name) is not None


def _read(written: str) -> tuple[MacroText, bool] | None:
    """What was read, and whether it ends with a literal; None where there is a fault in it."""
    pieces: list[str | Macro] = []
    position = 0
    ends_with_literal = False
    while position < len(written):
        match = _PIECE.match(written, position)
        if match is None or len(pieces) == PIECES:
            return None
        letter, digits = match["letter"], match["digits"]
        ends_with_literal = match["literal"] is not None
        if letter:
            # s7.1: "DIGIT" must be nonzero.  Nothing has more labels than a name has octets.
            count = digits.lstrip("0")
            if digits and not count:
                return None
            labels = int(count) if 0 < len(count) < 10 else 0
            pieces.append(Macro(letter.lower(), labels, bool(match["reverse"]), match["delimiters"], letter.isupper()))
        else:
            pieces.append(match["literal"] or _ESCAPES[match["escape"]])
        position = match.end()
    return MacroText(written, tuple(pieces)), ends_with_literal


def _value(macro: Macro, value: str) -> str:
    # s7.3: split at the delimiters, reversed, the right-hand labels kept, and joined with dots.
    if macro.labels or macro.is_reversed or macro.delimiters:
        parts = re.split(f"[{re.escape(macro.delimiters or '.')}]", value)
        if macro.is_reversed:
            parts.reverse()
        value = ".".join(parts[-macro.labels:])
    # s7.3: what is not "unreserved" in RFC 3986
    return quote(value, safe="") if macro.is_url else value
