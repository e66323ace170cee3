"""The words of notices: a template of sections and placeholders, which an operator may replace, and its use.

``report_words.txt`` beside this is the built-in one and tells how it is written.

Rules:
    What is wrong with a template is told when it is read, with its line; using one never fails.
    A placeholder's value is data: it is put in once and never read again, and it makes no line, no header field.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from mailgw.queue.causes import DELAYS, FAILURES, Cause
from mailgw.queue.dsn_fields import wrapped

MAX_TEMPLATE_OCTETS = 64 * 1024
# RFC 5322 s2.1.1 would allow 998; nobody reads more of a subject.
MAX_HEAD_CHARACTERS = 200
DEFAULT_FROM = "Mail Delivery System"

_SECTION = re.compile(r"\[([a-z][a-z ]*)\]\s*\Z")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_BLOCKS = ("recipients", "details")
_BLOCK = re.compile(r"\s*\{(recipients|details)\}\s*\Z")
_HEAD = re.compile(r"(Subject|From):(.*)\Z")

_OF_HEADS = frozenset({"hostname", "queue_id"})
_OF_NOTICES = frozenset({"hostname", "contact", "queue_id", "subject", "arrived", "until", "attached"})
_OF_SENTENCES = frozenset({"recipient", "domain", "age", "days", "arrived", "until", "hostname"})
_OF_SAID = frozenset({"words"})
_OF_DETAILS = frozenset({"recipient", "attempts", "server", "answer", "status"})

NOTICES = ("failure", "delay", "success", "held")
_SENTENCES = (
    "delivered", "relayed", "expanded",
    *(f"because {cause.value}" for cause in Cause if cause in FAILURES),
    *(f"waits {cause.value}" for cause in Cause if cause in DELAYS),
)
_FIXED = ("no subject", "message attached", "header attached")
_KNOWN: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(NOTICES, _OF_NOTICES), **dict.fromkeys(_SENTENCES, _OF_SENTENCES),
    **dict.fromkeys(_FIXED, frozenset()), "detail": _OF_DETAILS,
    f"because {Cause.SAID.value}": _OF_SENTENCES | _OF_SAID,
}
# Causes are told by these where they have no section: a template of this version serves the next one.
_LAST_RESORT = {"because": "because other", "waits": "waits later"}
_REQUIRED = (*NOTICES, *_FIXED, "detail", "delivered", "relayed", "expanded", *_LAST_RESORT.values())


@attrs.frozen
class WordsFault:
    """``line`` counts from 1; 0 is the file as a whole."""

    line: int
    why: str


_Piece: TypeAlias = tuple[bool, str]
"""Words as they stand, or (True) the name of a placeholder."""


@attrs.frozen
class _Paragraph:
    """``block`` names the list that stands there, ``""`` for words."""

    indent: str
    pieces: tuple[_Piece, ...]
    block: str = ""


@attrs.frozen
class _Notice:
    subject: tuple[_Piece, ...]
    sender: tuple[_Piece, ...]
    paragraphs: tuple[_Paragraph, ...]


@attrs.frozen
class Words:
    """A template that was found good; ``read_words`` makes it."""

    notices: Mapping[str, _Notice]
    texts: Mapping[str, tuple[_Paragraph, ...]]

    def heads(self, notice: str, facts: Mapping[str, str]) -> tuple[str, str]:
        """Subject and the sender's name of a notice (one of NOTICES), one line each; ``facts`` as ``letter`` has
        them."""
        found = self.notices[notice]
        return _filled(found.subject, facts), _filled(found.sender, facts)

    def letter(
        self, notice: str, facts: Mapping[str, str], told: Sequence[tuple[str, Mapping[str, str]]]
    ) -> list[str]:
        """The lines of a notice, without line ends.

        ``told`` has for each recipient the name of its sentence's section and the facts for that and for ``detail``;
        ``shown`` among them is how the list has the recipient, where that is not ``recipient``.
        All facts are single lines that can be printed.  A placeholder without a fact is empty.
        """
        lines: list[str] = []
        for paragraph in self.notices[notice].paragraphs:
            match paragraph.block:
                case "recipients":
                    for name, of_one in told:
                        lines += wrapped(of_one.get("shown", of_one.get("recipient", "")), "    ")
                        lines += ["", *self._text(name, of_one, " " * 8), ""]
                case "details":
                    for _, of_one in told:
                        lines += ["", *self._text("detail", of_one, "")]
                case _:
                    lines += _lines(paragraph, facts, "")
        return list(_without_gaps(lines))

    def fixed(self, name: str) -> str:
        """The one sentence of a section without placeholders."""
        return " ".join(_filled(paragraph.pieces, {}) for paragraph in self.texts[name]).strip()

    def _text(self, name: str, facts: Mapping[str, str], indent: str) -> Iterator[str]:
        found = self.texts.get(name)
        if found is None:
            found = self.texts[_LAST_RESORT[name.partition(" ")[0]]]
        for paragraph in found:
            yield from _lines(paragraph, facts, indent)


def read_words(text: str) -> Words | tuple[WordsFault, ...]:
    """The template that ``text`` (any line ends) is, or all that is wrong with it, in the order of the lines."""
    if len(text.encode("utf-8", "replace")) > MAX_TEMPLATE_OCTETS:
        return (WordsFault(0, f"expected at most {MAX_TEMPLATE_OCTETS} octets"),)
    return _Reading().read(text)


class _Reading:
    """One template on its way."""

    def __init__(self) -> None:
        self._faults: list[WordsFault] = []
        self._starts: dict[str, int] = {}
        self._notices: dict[str, _Notice] = {}
        self._texts: dict[str, tuple[_Paragraph, ...]] = {}

    def read(self, text: str) -> Words | tuple[WordsFault, ...]:
        name: str | None = None
        lines: list[tuple[int, str]] = []
        for number, line in enumerate(text.split("\n"), 1):
            line = line.rstrip("\r")
            if any(not c.isprintable() and c != "\t" for c in line):
                self._fault(number, "expected characters that can be seen, no control characters")
                line = "".join([c if c.isprintable() else "?" for c in line])
            section = _SECTION.match(line)
            if section is None:
                lines.append((number, line))
                continue
            self._take(name, lines)
            name, lines = self._begin(number, section[1]), []
        self._take(name, lines)
        self._fault_all(0, [f"[{name}] is missing" for name in _REQUIRED if name not in self._starts])
        if self._faults:
            return tuple(sorted(self._faults, key=lambda fault: fault.line))
        return Words(self._notices, self._texts)

    def _begin(self, number: int, name: str) -> str | None:
        if name not in _KNOWN:
            self._fault(number, f"there is no section [{name}]")
            return None
        if name in self._starts:
            self._fault(number, f"[{name}] is there twice")
            return None
        self._starts[name] = number
        return name

    def _take(self, name: str | None, lines: Sequence[tuple[int, str]]) -> None:
        """A section that is complete; what stands before the first one, or in one that is unknown, says nothing."""
        if name is None:
            return
        if name in NOTICES:
            self._notices[name] = self._notice(name, lines)
            return
        self._texts[name] = tuple(self._paragraphs(name, lines, ()))
        if not any(line.strip() for _, line in lines):
            self._fault(self._starts[name], f"[{name}] says nothing")

    def _notice(self, name: str, lines: Sequence[tuple[int, str]]) -> _Notice:
        heads: dict[str, tuple[_Piece, ...]] = {}
        taken = 0
        for number, line in lines:
            head = _HEAD.match(line)
            if head is None:
                break
            taken += 1
            words = head[2].strip()
            if head[1] in heads:
                self._fault(number, f"{head[1]} is there twice")
            if not words:
                self._fault(number, f"{head[1]} says nothing")
            if len(words) > MAX_HEAD_CHARACTERS:
                self._fault(number, f"expected at most {MAX_HEAD_CHARACTERS} characters in {head[1]}")
            heads[head[1]] = self._pieces(number, words, _OF_HEADS)
        if "Subject" not in heads:
            self._fault(self._starts[name], f"[{name}] begins with no Subject")
        rest = lines[taken:]
        if rest and rest[0][1].strip():
            self._fault(rest[0][0], "expected Subject or From, or an empty line before the text")
        paragraphs = tuple(self._paragraphs(name, rest, _BLOCKS))
        found = [paragraph.block for paragraph in paragraphs if paragraph.block]
        if not found:
            self._fault(self._starts[name], f"expected {{recipients}} or {{details}} on a line of its own in [{name}]")
        for block in _BLOCKS:
            if found.count(block) > 1:
                self._fault(self._starts[name], f"{{{block}}} is there twice in [{name}]")
        return _Notice(heads.get("Subject", ()), heads.get("From", ((False, DEFAULT_FROM),)), paragraphs)

    def _paragraphs(self, name: str, lines: Sequence[tuple[int, str]], blocks: Sequence[str]) -> Iterator[_Paragraph]:
        known = _KNOWN[name]
        gathered: list[_Piece] = []
        for number, line in lines:
            block = _BLOCK.match(line)
            is_block = block is not None and block[1] in blocks
            if gathered and (is_block or not line.strip() or line[0] in " \t"):
                yield _Paragraph("", tuple(gathered))
                gathered = []
            if is_block and block is not None:
                yield _Paragraph("", (), block[1])
            elif not line.strip():
                yield _Paragraph("", ())
            elif line[0] in " \t":
                words = line.expandtabs().lstrip()
                yield _Paragraph(" " * (len(line.expandtabs()) - len(words)), self._pieces(number, words, known))
            else:
                gathered += [(False, " ")] if gathered else []
                gathered += self._pieces(number, line, known)
        if gathered:
            yield _Paragraph("", tuple(gathered))

    def _pieces(self, number: int, line: str, known: frozenset[str]) -> tuple[_Piece, ...]:
        pieces: list[_Piece] = []
        end = 0
        for found in _PLACEHOLDER.finditer(line):
            pieces.append((False, line[end:found.start()]))
            end = found.end()
            name = found[1]
            if found[0] in ("{{", "}}"):
                pieces.append((False, found[0][0]))
            elif name is None:
                self._fault(number, f'a single "{found[0]}": expected "{found[0] * 2}" for the character itself')
            elif name in known:
                pieces.append((True, name))
            elif name in _BLOCKS:
                self._fault(number, f"expected {{{name}}} on a line of its own, in the text of a notice")
            else:
                names = ", ".join(f"{{{name}}}" for name in sorted(known))
                expected = f"one of {names}" if names else "words alone"
                self._fault(number, f"there is no {{{name}}} here: expected {expected}")
        pieces.append((False, line[end:]))
        return tuple(piece for piece in pieces if piece[1])

    def _fault(self, line: int, why: str) -> None:
        self._faults.append(WordsFault(line, why))

    def _fault_all(self, line: int, whys: Sequence[str]) -> None:
        self._faults += [WordsFault(line, why) for why in whys]


def _filled(pieces: Sequence[_Piece], facts: Mapping[str, str]) -> str:
    return "".join([facts.get(words, "") if is_name else words for is_name, words in pieces])


def _lines(paragraph: _Paragraph, facts: Mapping[str, str], indent: str) -> list[str]:
    if not paragraph.pieces:
        return [""]
    whole = indent + paragraph.indent
    # A line that was kept as one shows where it goes on.
    return wrapped(_filled(paragraph.pieces, facts), whole, whole + "  " if paragraph.indent else whole)


def _without_gaps(lines: Sequence[str]) -> Iterator[str]:
    """One empty line for several, none at the beginning or at the end."""
    is_gap = False
    has_begun = False
    for line in lines:
        if not line:
            is_gap = True
            continue
        if is_gap and has_begun:
            yield ""
        yield line
        has_begun, is_gap = True, False
