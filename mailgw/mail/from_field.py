"""The addresses of ``From`` and ``Sender`` (RFC 5322 s3.4, s3.6.2), read strictly: what could be read in two ways is
not read at all.

Not done: obsolete forms (s4.4: routes, comments and spaces within an address, lists with holes).
"""

import itertools
import re
from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox, parse_mailbox

# One piece at a time: a quoted string, a comment's start, a bracket or separator, anything else.
_TOKEN = re.compile(r'"(?:[^"\\\r\n]|\\.)*"|\(|<[^<>"]*(?:"(?:[^"\\]|\\.)*"[^<>"]*)*>|[,:;]|[^"(<>,:;]+')
# What begins or ends a quoted string or a comment, and what a backslash takes its meaning from.
_MARK = re.compile(r'["()]|\\.?', re.DOTALL)

LONGEST_TEXT = 16 * 1024
"""Characters of one field; RFC 5322 has no limit, and no mail has that many authors."""
DEEPEST_COMMENT = 20
PIECES = 2000
"""Of one field: a word, a quoted string, a bracket's content or a separator; an author takes two or three."""
BEYOND_ASCII = 8
"""Domains of one field that are not ASCII: to map one may take a millisecond."""
FIELDS = 100
"""Of one name that are looked at, and the last one; of From there is one."""


@attrs.frozen
class FromField:
    """What one field says.  ``names``: those before addresses that hold an "@" without quotes: none is allowed there,
    good senders write their own address so, and there are readers who take it for the address."""

    addresses: tuple[Mailbox, ...]
    names: tuple[str, ...] = ()


def author_addresses(header: bytes, name: bytes) -> tuple[Mailbox, ...] | None:
    """Those in the one field of that name; () where there is none; None where it stands twice or is malformed, or its
    name is folded."""
    found = the_one_field(header, name)
    return () if found is None else found.addresses or None


def the_one_field(header: bytes, name: bytes) -> FromField | None:
    """As ``author_addresses`` has it, with the names; None where there is none, and without addresses where it stands
    twice, is malformed, or its name is folded."""
    bodies, is_plain = bodies_of(header, name)
    if not bodies:
        return None
    found = _read(_unfolded(bodies[0])) if len(bodies) == 1 and is_plain else None
    return FromField(()) if found is None else found


def bodies_of(header: bytes, name: bytes) -> tuple[Sequence[bytes], bool]:
    """What stands behind the colons of the fields of that name, from the top, the first ``FIELDS`` and the last, and
    whether each is written in one line with its colon: a name that is folded before it is none, but there are readers
    who take it for one."""
    # In lower case: a pattern that begins with its own octets is searched for many times faster than one that begins
    # with a choice.
    start = b"\n" + name.lower()
    pattern = re.compile(re.escape(start) + rb"((?:[ \t]|\r?\n[ \t])*+):([^\n]*(?:\n[ \t][^\n]*)*+)")
    header = b"\n" + header
    lower = header.lower()
    found = list(itertools.islice(pattern.finditer(lower), FIELDS))
    if len(found) == FIELDS:
        at, behind = len(lower), found[-1].end()
        last = None
        while last is None and (at := lower.rfind(start, behind, at)) >= 0:
            last = pattern.match(lower, at)
        found += [] if last is None else [last]
    return [header[slice(*one.span(2))] for one in found], not any(b"\n" in one[1] for one in found)


def addresses_in_field(body: bytes) -> tuple[Mailbox, ...] | None:
    """As ``addresses_in``, of what stands behind a field's colon, folded or not."""
    return addresses_in(_unfolded(body))


def addresses_in(text: str) -> tuple[Mailbox, ...] | None:
    """The addresses of an unfolded list of mailboxes and groups, at least one; None where it is malformed, over
    ``LONGEST_TEXT``, ``PIECES`` or ``BEYOND_ASCII``, or has comments deeper than ``DEEPEST_COMMENT``."""
    found = _read(text)
    return None if found is None else found.addresses


def _unfolded(body: bytes) -> str:
    # Not by a pattern, which takes tens of milliseconds for tens of thousands of folds.
    for space in (b" ", b"\t"):
        body = body.replace(b"\r\n" + space, space).replace(b"\n" + space, space)
    return body.strip(b"\r\n").decode("utf-8", "replace")


def _read(text: str) -> FromField | None:
    if len(text) > LONGEST_TEXT:
        return None
    plain = _without_comments(text)
    return None if plain is None else _read_plain(plain)


def _read_plain(text: str) -> FromField | None:
    found: list[Mailbox] = []
    names: list[str] = []
    words: list[str] = []
    at = beyond_ascii = count = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        count += 1
        if match is None or count > PIECES:
            return None
        piece, at = match[0], match.end()
        if piece == ":":  # what came before is a group's name
            # One that holds an address is taken for that address by some, who leave out what follows.
            if not words or any(word.startswith("<") or ("@" in word and word[0] != '"') for word in words):
                return None
            words = []
        elif piece in (",", ";"):
            beyond_ascii += not "".join(words).rpartition("@")[2].isascii()
            if beyond_ascii > BEYOND_ASCII or (words and not _take(words, found, names)):
                return None
            words = []
        elif piece[0] != '"' and ("(" in piece or ")" in piece):
            return None  # half a comment
        elif piece.strip():
            words.append(piece.strip())
    beyond_ascii += not "".join(words).rpartition("@")[2].isascii()
    if beyond_ascii > BEYOND_ASCII or (words and not _take(words, found, names)):
        return None
    return FromField(tuple(found), tuple(names)) if found else None


def _take(words: list[str], found: list[Mailbox], names: list[str]) -> bool:
    """One mailbox: a bare address, or a name and an address in brackets, which comes last."""
    bracketed = [word for word in words if word.startswith("<")]
    if bracketed:
        text = words[-1][1:-1] if len(bracketed) == 1 and words[-1] is bracketed[0] else ""
        names += [word for word in words[:-1] if "@" in word and word[0] != '"']
    else:
        text = "".join(words)  # a quoted local part is a piece of its own
    address = None if len(text.split()) != 1 and '"' not in text else parse_mailbox(text)
    if address is not None:
        found.append(address)
    return address is not None


def _without_comments(text: str) -> str | None:
    """``text`` without its comments, in one pass; None where they are malformed, too deep, or stand beside quoted
    strings: those can be told apart in more than one way.  Brackets within quoted strings stay."""
    if "(" not in text and ")" not in text:
        return text
    kept: list[str] = []
    depth = start = 0
    is_quoted = has_quotes = has_comments = False
    for mark in _MARK.finditer(text):
        piece = mark[0]
        if piece == '"':
            if depth:
                return None
            is_quoted, has_quotes = not is_quoted, True
        elif is_quoted:
            continue
        elif piece == "(":
            if not depth:
                kept.append(text[start:mark.start()])
            depth, has_comments = depth + 1, True
            if depth > DEEPEST_COMMENT:
                return None
        elif piece == ")":
            depth, start = depth - 1, mark.end()
            if depth < 0:
                return None
        elif not depth:
            return None  # no backslash has a meaning there
    if is_quoted or depth or (has_quotes and has_comments):
        return None
    return " ".join([*kept, text[start:]])
