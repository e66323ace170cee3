"""What both sides said on a connection to a next hop: kept as it came, and made into lines when somebody asks.

    S: 220 mx.example.net ESMTP
    C: EHLO us.example.org
    (TLSv1.3, TLS_AES_256_GCM_SHA384, verified: none)
    (4,213 octets of content)

Rules:
    Content is never in it: whoever sends it says how much it was.
    Its lines are told to ``hide``, who takes secrets out, whole and before they are cut.
    Most conversations are never asked for, so that to keep one costs a list's append each way.  What is kept is
    bounded: of many lines the first ones and the last ones are.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

LINES: Final = 64
LINE_OCTETS: Final = 200
FIRST_LINES: Final = 24
UNREAD_OCTETS: Final = 32 * 1024
"""Kept as they came; what is above is made into lines at once."""
PART_OCTETS: Final = 8192
"""Of a line that has no end."""

US: Final = "C: "
THEM: Final = "S: "

Hide = Callable[[bytes, bool], bytes]
"""A line without its end, and whether it is ours; without secrets."""


class Conversation:
    """One connection's, from its beginning or from ``forget`` on."""

    def __init__(self, hide: Hide) -> None:
        self._hide = hide
        self._said: list[tuple[str, bytes]] = []
        self._octets = 0
        # What lines were made of.
        self._is_folded = False
        self._parts = {US: b"", THEM: b""}
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=LINES - FIRST_LINES - 1)
        self._count = 0

    def forget(self) -> None:
        """What was said so far is of no more interest."""
        self._said.clear()
        self._octets = 0
        if self._is_folded:
            self._is_folded = False
            self._parts = {US: b"", THEM: b""}
            self._first.clear()
            self._last.clear()
            self._count = 0

    def we(self, octets: bytes) -> None:
        """We said so, whole lines."""
        self._said.append((US, octets))
        self._octets += len(octets)
        if self._octets > UNREAD_OCTETS:
            self._fold()

    def they(self, octets: bytes) -> None:
        """They said so, in pieces as the network has them."""
        self._said.append((THEM, octets))
        self._octets += len(octets)
        if self._octets > UNREAD_OCTETS:
            self._fold()

    def note(self, text: str) -> None:
        """Something else happened."""
        self._said.append(("", text.encode("utf-8", "replace")))

    def lines(self) -> tuple[str, ...]:
        """At most ``LINES``, each with who said it, of printable ASCII, cut behind so many octets."""
        self._fold()
        ends = [self._line(side, part) for side, part in self._parts.items() if part]
        found = [*self._first, *self._last, *ends]
        left_out = self._count - len(self._first) - len(self._last)
        if not left_out and len(found) <= LINES:
            return tuple(found)
        left_out += max(0, len(found) - LINES + 1)
        last = found[FIRST_LINES:][-(LINES - FIRST_LINES - 1):]
        return (*found[:FIRST_LINES], f"(... {left_out} lines left out)", *last)

    def _fold(self) -> None:
        self._is_folded = True
        for line in self._made():
            self._count += 1
            if len(self._first) < FIRST_LINES:
                self._first.append(line)
            else:
                self._last.append(line)
        self._said.clear()
        self._octets = 0

    def _made(self) -> Iterator[str]:
        for side, octets in self._said:
            if not side:
                yield _printable(b"(" + octets[:LINE_OCTETS] + b")")
                continue
            *lines, part = (self._parts[side] + octets).split(b"\n")
            self._parts[side] = part[:PART_OCTETS]
            for line in lines:
                yield self._line(side, line)

    def _line(self, side: str, line: bytes) -> str:
        shown = self._hide(line.removesuffix(b"\r"), side == US)
        cut = shown[:LINE_OCTETS] + b"..." if len(shown) > LINE_OCTETS else shown
        return side + _printable(cut)


def short(*lines: tuple[str, bytes]) -> tuple[str, ...]:
    """Of one with no SMTP server: who said each line (``US``, ``THEM``, ``""`` for what happened), and what, as far as
    there is room."""
    found = Conversation(lambda line, is_ours: line)
    for side, octets in lines:
        if side == US:
            found.we(octets + b"\n")
        elif side == THEM:
            found.they(octets + b"\n")
        else:
            found.note(octets.decode("utf-8", "replace"))
    return found.lines()


def content_words(octets: int) -> str:
    """As ``Conversation.note`` takes it."""
    return f"{octets:,} octets of content"


def _printable(octets: bytes) -> str:
    return "".join(chr(octet) if 32 <= octet < 127 else "?" for octet in octets)
