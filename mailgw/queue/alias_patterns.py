r"""Entries of the aliases' file that are regular expressions: ``/^sales-(.*)@example\.org$/  crm+$1@example.org``.

Postfix's regexp_tables(5) is the anchor.  Not done: other delimiters than ``/``, ``!/pattern/``, ``if`` and ``endif``,
the flags ``m`` and ``x``.

Rules:
    The whole address, as it is printed, is searched, without regard to the case of ASCII letters; ``^`` and ``$`` tie
    the pattern to its ends, as it says.
    Strangers choose the address, so they choose what ``$1`` is: it never gets into the domain of a target, which would
    let them send on to anywhere.
    What comes to no address, or to one too long, has no entry there: the next pattern is tried.
    Nothing that strangers choose keeps a pattern busy (``queue.patterns``), and addresses have a length.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from mailgw.mail.address import Mailbox, parse_domain, parse_mailbox
from mailgw.queue.patterns import compiled_for_addresses

# RFC 5321 s4.5.3.1.1, s4.5.3.1.2: a local part of 64 octets, "@" and a domain of 255.  Paths are shorter still (256).
MAX_ADDRESS_CHARACTERS: Final = 320
PATTERNS_AT_MOST: Final = 100
"""All of them are tried where none matches; each may take two milliseconds at the very worst."""

_ENTRY = re.compile(r"/((?:[^/\\]|\\.)*)/([A-Za-z]*)(?=\s|,|\Z)")
# $1, ${1}, $(1); $$ is a dollar
_GROUP = re.compile(r"\$(?:(\d{1,2})|\{(\d{1,2})\}|\((\d{1,2})\)|(\$)|)")


@attrs.frozen
class Template:
    """A target: text and numbers of groups in its local part, and its domain."""

    pieces: tuple[str | int, ...]
    domain: str

    def filled(self, found: re.Match[str]) -> Mailbox | None:
        """None where that is no address."""
        local = "".join(piece if isinstance(piece, str) else found[piece] or "" for piece in self.pieces)
        target = parse_mailbox(f"{local}@{self.domain}")
        return target if target is not None and target.domain == self.domain else None


@attrs.frozen
class AliasPattern:
    """``example`` is some address that matches, None where none is found easily."""

    name: str
    line: int
    regex: re.Pattern[str]
    templates: tuple[Template, ...]
    example: Mailbox | None

    def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        """None where it does not match."""
        text = str(address)
        found = self.regex.search(text) if len(text) <= MAX_ADDRESS_CHARACTERS else None
        if found is None:
            return None
        targets = [target for template in self.templates if (target := template.filled(found)) is not None]
        return targets if len(targets) == len(self.templates) else None


def is_pattern(words: str) -> bool:
    """Whether a line of the file begins with a pattern, a good one or not."""
    return words.startswith(("/", "!/"))


def parse_pattern(words: str) -> tuple[str, re.Pattern[str], Mailbox | None]:
    """The pattern at the beginning of a line, with its delimiters and flags; compiled; and an address that matches.
    ValueError where there is none."""
    if words.startswith("!"):
        raise ValueError("expected /pattern/ without !: what does not match is no entry's")
    entry = _ENTRY.match(words)
    if entry is None:
        raise ValueError(r"expected /pattern/ and white space; a / inside is written \/")
    if entry[2] not in ("", "i"):
        raise ValueError(f"expected no flag, or i (which then minds the case), found {entry[2]!a}")
    flags = re.ASCII if entry[2] else re.ASCII | re.IGNORECASE
    tree, regex = compiled_for_addresses(entry[1].replace("\\/", "/"), flags)
    return entry[0], regex, _example(tree, regex)


def parse_template(word: str, groups: int) -> Template:
    """A target; ``groups`` of its pattern.  ValueError where it is none."""
    local, at, domain_text = word.rpartition("@")
    domain = parse_domain(domain_text)
    if "$" in domain_text:
        raise ValueError(f"expected a domain without $ in {word!a}: strangers would choose where their mail goes")
    pieces: list[str | int] = []
    place = 0
    for found in _GROUP.finditer(local):
        pieces.append(local[place:found.start()])
        place = found.end()
        number = found[1] or found[2] or found[3]
        if number is None and not found[4]:
            raise ValueError(f"expected $1, ${{1}} or $(1) in {word!a}, and $$ for a dollar")
        if number is not None and not 1 <= int(number) <= groups:
            raise ValueError(f"{word!a}: the pattern has {groups} groups, and no ${number}")
        pieces.append("$" if number is None else int(number))
    pieces.append(local[place:])
    template = Template(tuple(piece for piece in pieces if piece != ""), domain or "")
    printed = "".join(piece if isinstance(piece, str) else "x" for piece in template.pieces)
    if not at or domain is None or parse_mailbox(f"{printed}@{domain}") is None:
        raise ValueError(f"expected whole addresses user@domain, found {word!a}")
    return template


# --- an address that matches, to follow it and find loops ------------------------------------------------

def _example(tree: Any, regex: re.Pattern[str]) -> Mailbox | None:
    address = parse_mailbox("".join(_shown(tree)))
    return address if address is not None and regex.search(str(address)) else None


def _shown(tree: Any) -> Iterator[str]:
    for operator, argument in tree:
        match str(operator):
            case "LITERAL":
                yield chr(argument)
            case "ANY" | "NOT_LITERAL":
                yield "x"
            case "IN":
                first, value = argument[0]
                match str(first):
                    case "LITERAL":
                        yield chr(value)
                    case "RANGE":
                        yield chr(value[0])
                    case "CATEGORY" if str(value) == "CATEGORY_DIGIT":
                        yield "0"
                    case _:
                        yield "x"
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                fewest, most, inner = argument
                once = "".join(_shown(inner))[:MAX_ADDRESS_CHARACTERS]
                yield (once * min(max(fewest, min(most, 1)), MAX_ADDRESS_CHARACTERS))[:MAX_ADDRESS_CHARACTERS]
            case "BRANCH":
                yield from _shown(argument[1][0])
            case "SUBPATTERN":
                yield from _shown(argument[3])
            case "ATOMIC_GROUP":
                yield from _shown(argument)
            case _:
                pass
