"""Patterns of addresses with typed fields: ``ticket+{number:int}@example.org``.

A field is ``{name}`` or ``{name:kind}``; what stands around it is literal.  The kinds, and what a field of each holds
(one character at least):

    str     (the default) any characters but "+" and "@"; in a domain a whole label or the end of one
    int     1 to 18 digits, so that it fits into 64 bits; an ``int``
    slug    ASCII letters, digits, "-" and "_"; in lower case
    date    2026-11-28, a day that exists; a ``datetime.date``
    path    any characters but "@"; only as the last thing before the "@"

Rules:
    Literals and domains compare as addresses do everywhere here: without regard to the case of ASCII letters, domains
    in their normal form.  ``str`` and ``path`` of a local part are as they came.
    There is one way to read an address: no field stands before a character that it could hold itself, so a match costs
    as much as the address is long, whatever it holds.
    Of two patterns that both match some address one has to be within the other; which, is decided from the patterns
    alone.  Then the inner one is the more specific.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from typing import Final

import attrs

from mailgw.mail.address import Mailbox, folded, parse_domain, parse_mailbox

MAX_PATTERN_CHARACTERS: Final = 254  # RFC 5321 s4.5.3.1.3: a path without its brackets
MAX_FIELDS: Final = 10
MAX_INT_DIGITS: Final = 18

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_FLASK_FIELD = re.compile(r"<(?:(\w+):)?(\w+)>")
# A label with a field in it: letters, digits, hyphen and underscore around it.
_LABEL_TEXT = re.compile(r"[A-Za-z0-9_-]*\Z")
_SLUG: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_DIGITS: Final = frozenset("0123456789")
_OTHERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz-_.+!#$%é€"


@attrs.frozen
class _Kind:
    """``characters`` of a field are these, or, ``is_all_but``, all others; ``regex`` of it; its value and back.

    ``shape``: of a date, a string with 0 for each digit."""

    regex: str
    characters: frozenset[str]
    is_all_but: bool
    value: Callable[[str], object]
    text: Callable[[object], str]
    shape: str = ""

    def holds(self, character: str) -> bool:
        return (character in self.characters) != self.is_all_but


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, not {value!r}")
    return value


def _int_text(value: object) -> str:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**MAX_INT_DIGITS:
        raise ValueError(f"expected a whole number of up to {MAX_INT_DIGITS} digits, not {value!r}")
    return str(value)


def _date_text(value: object) -> str:
    if type(value) is not date:
        raise ValueError(f"expected a date, not {value!r}")
    return value.isoformat()


def _kept(text: str) -> str:
    return text


_INT = _Kind(rf"[0-9]{{1,{MAX_INT_DIGITS}}}", _DIGITS, False, int, _int_text)
_SLUG_KIND = _Kind("[a-z0-9_-]+", _SLUG, False, folded, lambda value: folded(_text(value)))
_KINDS: Final[Mapping[str, _Kind]] = {
    "str": _Kind("[^@+]+", frozenset("@+"), True, _kept, _text),
    "int": _INT,
    "slug": _SLUG_KIND,
    "date": _Kind("[0-9]{4}-[0-9]{2}-[0-9]{2}", _SLUG, False, date.fromisoformat, _date_text, "0000-00-00"),
    "path": _Kind("[^@]+", frozenset("@"), True, _kept, _text),
}
_KINDS_OF_DOMAINS: Final[Mapping[str, _Kind]] = {
    "str": _Kind(r"[^@.]+", frozenset("@."), True, _kept, _text), "int": _INT, "slug": _SLUG_KIND,
}


@attrs.frozen
class _Field:
    name: str
    kind: _Kind


@attrs.frozen
class _Atom:
    """One character of those that ``holds`` has, or, where it ``repeats``, one and more."""

    holds: Callable[[str], bool]
    repeats: bool


@attrs.frozen
class AddressPattern:
    """``text`` as it was written; ``domain`` the domain, or what follows the last field in it, behind a dot then:
    ``"example.org"`` or ``".example.org"``."""

    text: str
    domain: str
    _pieces: tuple[str | _Field, ...] = attrs.field(eq=False, repr=False)
    _regex: re.Pattern[str] = attrs.field(eq=False, repr=False)
    _atoms: tuple[_Atom, ...] = attrs.field(eq=False, repr=False)
    # What every address begins and ends with, folded.
    _begins: str = attrs.field(eq=False, repr=False)
    _ends: str = attrs.field(eq=False, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fields, in their order."""
        return tuple(field.name for field in self._fields())

    @property
    def route(self) -> str:
        """The pattern of a ``[[route]]`` that holds all of these addresses: ``@example.org`` or ``@.example.org``."""
        return f"@{self.domain}"

    def match(self, mailbox: Mailbox) -> Mapping[str, object] | None:
        """The fields' values, or None where the address is none of these."""
        text = f"{mailbox.local_part}@{mailbox.domain}"
        found = self._regex.fullmatch(folded(text))
        if found is None:
            return None
        values: dict[str, object] = {}
        for number, field in enumerate(self._fields(), 1):
            start, end = found.span(number)  # folding keeps every character in its place
            try:
                values[field.name] = field.kind.value(text[start:end])
            except ValueError:  # the 30th of February
                return None
        return values

    def address(self, values: Mapping[str, object]) -> Mailbox:
        """The one address of which ``match`` gives these values (of a slug in lower case).  ValueError where there is
        none: a field is missing or unknown, or its value is not of its kind."""
        if set(values) != set(self.names):
            raise ValueError(f"{self.text} has the fields {', '.join(self.names) or '(none)'}, not {', '.join(values)}")
        text = ""
        for piece in self._pieces:
            if isinstance(piece, str):
                text += piece
                continue
            try:
                text += piece.kind.text(values[piece.name])
            except ValueError as fault:
                raise ValueError(f"{self.text}: {piece.name}: {fault}") from None
        local_part, _, domain = text.rpartition("@")
        mailbox = Mailbox(local_part, domain)
        wanted = {field.name: field.kind.value(field.kind.text(values[field.name])) for field in self._fields()}
        if self.match(mailbox) != wanted or parse_mailbox(str(mailbox)) != mailbox:
            raise ValueError(f"{self.text}: {text!r} is no such address")
        return mailbox

    # --- two patterns -----------------------------------------------------------------------------------

    def is_apart(self, other: "AddressPattern") -> bool:
        """Whether a glance tells that no address is both's: an application has hundreds of patterns, all of which are
        compared."""
        begins, ends = (self._begins, other._begins), (self._ends, other._ends)
        return not (begins[0].startswith(begins[1]) or begins[1].startswith(begins[0])) or not (
            ends[0].endswith(ends[1]) or ends[1].endswith(ends[0]))

    def common(self, other: "AddressPattern") -> str | None:
        """An address that both match; None where there is none."""
        if self.is_apart(other):
            return None
        for places, text in self._walk(other, together=True):
            if places == (len(self._atoms), len(other._atoms)):
                return text
        return None

    def is_within(self, other: "AddressPattern") -> bool:
        """Whether ``other`` matches each address that this one does."""
        if self.is_apart(other):
            return False
        end = len(self._atoms)
        return all(there == len(other._atoms) for (here, there), _ in self._walk(other, together=False) if here == end)

    def _walk(self, other: "AddressPattern", together: bool) -> Iterator[tuple[tuple[int, int | None], str]]:
        """Every two places that some text leads to, here and there (None: it is lost there, unless ``together``), with
        such a text."""
        characters = self._characters() | other._characters()
        # Of every set of characters that a kind has, at least one that is in no literal, if there is one.
        reduced = sorted(characters | {
            next((c for c in group if c not in characters), group[0])
            for group in ("0123456789", "abcdefghijklmnopqrstuvwxyz", "-_", ".", "+", "@", "!#$%", "é€")
        })
        seen: set[tuple[int, int | None]] = {(0, 0)}
        line: list[tuple[tuple[int, int | None], str]] = [((0, 0), "")]
        for places, text in line:
            yield places, text
            here, there = places
            for character in reduced:
                now = _step(self._atoms, here, character)
                if now is None:
                    continue
                then = None if there is None else _step(other._atoms, there, character)
                if (now, then) not in seen and not (together and then is None):
                    seen.add((now, then))
                    line.append(((now, then), text + character))

    def _characters(self) -> set[str]:
        return set(folded("".join(piece for piece in self._pieces if isinstance(piece, str))))

    def _fields(self) -> tuple[_Field, ...]:
        return tuple(piece for piece in self._pieces if isinstance(piece, _Field))


def parse_pattern(text: str) -> AddressPattern:
    """The pattern; ValueError, with words for its author, where it is none."""
    if not isinstance(text, str) or len(text) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"expected a pattern of at most {MAX_PATTERN_CHARACTERS} characters")
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or '"' in text:
        raise ValueError(f'expected a pattern such as "ticket+{{number:int}}@example.org", not {text!r}')
    if (flask := _FLASK_FIELD.search(text)) is not None:
        kind, name = flask.groups()
        field = f"{name}:{kind}" if kind in _KINDS else name
        raise ValueError(f'{text}: expected a field such as "{{{field}}}", not {flask[0]!r}')
    labels = _labels(text, domain)
    pieces = [*_pieces(text, local, _KINDS), "@", *_pieces(text, ".".join(labels), _KINDS_OF_DOMAINS)]
    fields = [piece for piece in pieces if isinstance(piece, _Field)]
    names = [field.name for field in fields]
    if len(names) != len(set(names)):
        raise ValueError(f"{text}: two fields have one name")
    if len(names) > MAX_FIELDS:
        raise ValueError(f"{text}: expected at most {MAX_FIELDS} fields")
    merged = _merged(pieces)
    _check_ends(text, merged)
    plain = "".join(piece if isinstance(piece, str) else piece.kind.shape or "0" for piece in merged)
    if parse_mailbox(plain) is None:
        raise ValueError(f"{text}: {plain!r} would be no address")
    regex = "".join(re.escape(folded(p)) if isinstance(p, str) else f"({p.kind.regex})" for p in merged)
    last = len(labels)
    while last and "{" not in labels[last - 1]:
        last -= 1
    rest = ".".join(labels[last:])
    begins, ends = (folded(piece) if isinstance(piece, str) else "" for piece in (merged[0], merged[-1]))
    return AddressPattern(
        text, f".{rest}" if last else rest, tuple(merged), re.compile(regex), tuple(_atoms(merged)), begins, ends
    )


def _labels(text: str, domain: str) -> list[str]:
    """The labels of the domain in their normal form; fields as they stand."""
    if "{" not in domain:
        normal = parse_domain(domain)
        if normal is None:
            raise ValueError(f"{text}: {domain!r} is no domain")
        return [normal] if normal.startswith("[") else normal.split(".")
    labels = []
    for label in domain.split("."):
        normal = label.lower() if _LABEL_TEXT.match(_FIELD.sub("", label)) and "{" in label else parse_domain(label)
        if normal is None:
            raise ValueError(f"{text}: {label!r} is no part of a domain")
        labels.append(normal)
    if "{" in labels[-1]:
        raise ValueError(f"{text}: expected a domain behind the last field")
    return labels


def _pieces(text: str, part: str, kinds: Mapping[str, _Kind]) -> Iterator[str | _Field]:
    end = 0
    for found in _FIELD.finditer(part):
        yield part[end:found.start()]
        end = found.end()
        name, colon, word = found[1].partition(":")
        if not _NAME.match(name):
            raise ValueError(f'{text}: expected a field such as "{{number:int}}", not {found[0]!r}')
        kind = kinds.get(word if colon else "str")
        if kind is None:
            raise ValueError(f"{text}: {found[0]}: expected one of {', '.join(kinds)} there")
        yield _Field(name, kind)
    yield part[end:]
    if "{" in _FIELD.sub("", part) or "}" in _FIELD.sub("", part):
        raise ValueError(f"{text}: a brace without the other")


def _merged(pieces: list[str | _Field]) -> list[str | _Field]:
    merged: list[str | _Field] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif piece:
            merged.append(piece)
    return merged


def _check_ends(text: str, pieces: list[str | _Field]) -> None:
    """Every field ends where something stands that it cannot hold."""
    for piece, following in pairwise(pieces):
        if not isinstance(piece, _Field):
            continue
        if isinstance(following, _Field):
            raise ValueError(f"{text}: expected something between the fields {piece.name} and {following.name}")
        is_path = piece.kind is _KINDS["path"]
        if is_path and not following.startswith("@"):
            raise ValueError(f"{text}: a path is the last thing before the @")
        if not piece.kind.shape and piece.kind.holds(folded(following[0])):
            raise ValueError(f"{text}: where {piece.name} ends cannot be told: it may hold a {following[0]!r} itself")


def _atoms(pieces: list[str | _Field]) -> Iterator[_Atom]:
    for piece in pieces:
        if isinstance(piece, _Field) and not piece.kind.shape:
            yield _Atom(piece.kind.holds, True)
            continue
        shape, digit = (folded(piece), "") if isinstance(piece, str) else (piece.kind.shape, "0")
        for character in shape:
            yield _Atom(_DIGITS.__contains__ if character == digit else frozenset(character).__contains__, False)


def _step(atoms: tuple[_Atom, ...], place: int, character: str) -> int | None:
    if place and atoms[place - 1].repeats and atoms[place - 1].holds(character):
        return place
    return place + 1 if place < len(atoms) and atoms[place].holds(character) else None
