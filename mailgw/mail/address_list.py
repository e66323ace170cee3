"""Lists of addresses as programs write them into To, Cc and Bcc, or on a command line (RFC 5322 s3.4): all of one is
read, or nothing.

Also taken: the obsolete forms of s4.4 (lists with holes, comments and spaces between the parts of an address, routes,
which are left out) and of s4.1 (dots in names); ``;`` between addresses, as some write it; local parts without a
domain.
``from_field`` is stricter: what it reads decides who an author is.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

# RFC 5322 s3.2.3, s3.2.4, s3.4.1; RFC 6532 s3.2 has letters beyond ASCII in each.  No controls, no lone CR.
_PIECE: Final = re.compile(
    r'(?P<space>[ \t]+)|(?P<q>"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*+")'
    r"|(?P<l>\[[^\[\]\\\x00-\x1f\x7f]*+\])|(?P<mark>[<>:;@,.])|(?P<a>[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]++)"
)
_IN_COMMENT: Final = re.compile(r"\\.|[()]", re.DOTALL)
# By the kinds of pieces: an atom is a, a quoted string q, an address literal l, a mark itself.
# obs-local-part = word *("." word); domain = obs-domain / domain-literal
_SPEC: Final = r"[aq](?:\.[aq])*+(?:@(?:a(?:\.a)*+|l))?"
_BARE: Final = re.compile(rf"{_SPEC}\Z")
# obs-angle-addr, obs-domain-list = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain])
_BRACKETED: Final = re.compile(rf"(?:,*+@(?:a(?:\.a)*+|l)(?:,(?:@(?:a(?:\.a)*+|l))?)*+:)?+({_SPEC})\Z")
# phrase / obs-phrase = word *(word / "." / CFWS)
_PHRASE: Final = re.compile(r"[aq][aq.]*+\Z")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
LONGEST_TEXT: Final = 1 << 20
"""Characters of a list: some 20,000 addresses."""


class Named(NamedTuple):
    """``name`` is what stands before the brackets, else the last comment, without quotes; ``""`` for none.  ``address``
    has its quotes, and perhaps no domain."""

    name: str
    address: str


class _Piece(NamedTuple):
    kind: str
    text: str
    is_spaced: bool = False  # from the one before


class _Malformed(ValueError):
    pass


def addresses_of_list(text: str) -> list[Named] | None:
    """In their order, [] for a list without any; None where it is malformed, or over ``LONGEST_TEXT``.  It may be
    folded."""
    if len(text) > LONGEST_TEXT:
        return None
    try:
        return list(_read(text.replace("\r\n", "\n").replace("\n", "").removesuffix("\r")))
    except _Malformed:
        return None


def _read(text: str) -> Iterator[Named]:
    words: list[_Piece] = []
    bracketed: list[_Piece] | None = None
    comment = ""
    is_open = is_group = False
    for piece in _pieces(text):
        if piece.kind == "(":
            comment = piece.text
        elif is_open and bracketed is not None:
            if piece.kind in ("<", "end"):
                raise _Malformed
            is_open = piece.kind != ">"
            bracketed += [piece] if is_open else []
        elif piece.kind == "<" and bracketed is None:
            bracketed, is_open = [], True
        elif piece.kind in (",", ";", "end"):
            if words or bracketed is not None:
                yield _named(words, bracketed, comment)
            if piece.kind == "end" and is_group:
                raise _Malformed
            words, bracketed, comment = [], None, ""
            is_group = is_group and piece.kind != ";"
        elif bracketed is not None:  # nothing comes behind them
            raise _Malformed
        elif piece.kind == ":":
            if is_group or not _PHRASE.match(_kinds(words)):
                raise _Malformed
            words, comment, is_group = [], "", True
        else:
            words.append(piece)


def _named(words: list[_Piece], bracketed: list[_Piece] | None, comment: str) -> Named:
    if bracketed is None:
        # No name is half an encoded word (RFC 2047 s5: no comma stands in one).
        if not _BARE.match(_kinds(words)) or words[0].text.startswith("=?"):
            raise _Malformed
        return Named(comment, "".join(word.text for word in words))
    found = _BRACKETED.match(_kinds(bracketed))
    if found is None or (words and not _PHRASE.match(_kinds(words))):
        raise _Malformed
    name = "".join(" " * word.is_spaced + _unquoted(word) for word in words).strip()
    return Named(name or comment, "".join(piece.text for piece in bracketed[found.start(1):]))


def _kinds(pieces: list[_Piece]) -> str:
    return "".join(piece.kind for piece in pieces)


def _unquoted(word: _Piece) -> str:
    return _ESCAPE.sub(r"\1", word.text[1:-1]) if word.kind == "q" else word.text


def _pieces(text: str) -> Iterator[_Piece]:
    at, is_spaced = 0, False
    while at < len(text):
        if text[at] == "(":
            start, at = at + 1, _end_of_comment(text, at)
            yield _Piece("(", " ".join(_ESCAPE.sub(r"\1", text[start:at - 1]).split()))
            is_spaced = True
            continue
        found = _PIECE.match(text, at)
        if found is None:
            raise _Malformed
        at = found.end()
        if found.lastgroup != "space":
            yield _Piece(found[0] if found.lastgroup == "mark" else str(found.lastgroup), found[0], is_spaced)
        is_spaced = found.lastgroup == "space"
    yield _Piece("end", "")


def _end_of_comment(text: str, at: int) -> int:
    """They stand in each other (s3.2.2)."""
    depth = 0
    for mark in _IN_COMMENT.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    raise _Malformed
