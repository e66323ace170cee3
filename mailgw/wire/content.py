"""What content must keep to, by DATA or by BDAT: line ends, NUL, and limits (RFC 5321 s2.3.8, s4.5.3.1; RFC 3030).

Rules:
    Content that was taken means the same to every next hop: its lines end in CRLF, there is no other CR or LF in it
    and no NUL, and its last line ends, too.  What breaks this is refused or, where the rules say so, normalised: a
    lone CR or LF becomes CRLF.  That happens behind the search for the end, so it never makes one.
    BODY=BINARYMIME alone is exempt: it leaves as BINARYMIME, or encoded, or not at all.
    A line is taken as it came up to its limit, above it the message is refused.  Breaking lines, as some servers do
    on the way out, would break signatures, and a program's lines of 5000 octets of HTML are common.
    A fault never ends the reading, and which of several is told hangs on the octets alone, never on their split.
    No Python call for a line: ``find`` and a decoder in C go over chunks.
"""

import enum
import io
import re

import attrs

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_PAIRS = (None, "\r\n")


class ContentFault(enum.Enum):
    """In this order: of two, the first is told."""

    BARE = "bare CR or bare LF"
    NUL = "NUL"
    LONG_LINE = "a line above the limit"
    LARGE_HEADER = "a header above the limit"
    TOO_LARGE = "more octets than allowed"


_ORDER = {fault: place for place, fault in enumerate(ContentFault)}


def is_lines(octets: bytes) -> bool:
    """Whether there is no NUL, and no CR or LF that is not the one half of a CRLF."""
    return LineEnds().are_pairs(octets) and b"\0" not in octets


class LineEnds:
    """Whether each CR and LF of one message's content is the half of a CRLF.

    Python's own reader of text files notes which line ends it met, in one look; to count CRs, LFs and CRLFs is
    three, and took a quarter of a large message's way from one socket to the other.
    """

    def __init__(self) -> None:
        self._met = io.IncrementalNewlineDecoder(None, translate=False)

    def are_pairs(self, octets: bytes) -> bool:
        """Whether they are in these octets and all before; none of them may end between a CR and its LF."""
        self._met.decode(octets.decode("latin-1"), final=True)
        return self._met.newlines in _PAIRS


class BareLineEnds(enum.Enum):
    """What becomes of a lone CR or LF in content."""

    REFUSE = "refuse"
    NORMALISE = "normalise"


@attrs.frozen
class ContentRules:
    """What one listener takes.

    ``line_octets`` counts the CRLF (RFC 5321 s4.5.3.1.6: 1000 at least); ``header_octets`` all to the end of the
    first empty line; both count what is stored.
    """

    line_octets: int
    header_octets: int
    bare_line_ends: BareLineEnds


class ContentCheck:
    """One message's content, unstuffed, as it comes.

    From the first ``fault`` on no content is handed out.  ``size_octets`` counts what is stored (RFC 1870 s5: with
    CRLFs, without dots stuffed), also beyond a fault.
    """

    def __init__(self, message_octets: int, rules: ContentRules, is_binary: bool) -> None:
        self.fault: ContentFault | None = None
        self.size_octets = 0
        self._limit = message_octets
        self._rules = rules
        self._is_binary = is_binary
        self._line_ends = LineEnds()
        self._held = b""  # a CR whose LF may come with the next octets
        self._line_octets = 0  # of the line that has not ended yet
        self._in_header = True
        # The last octets looked at for the header's end.  Before the first line a line end is thought, so that an
        # empty first line ends a header of nothing.
        self._tail = b"\r\n"

    def take(self, octets: bytes) -> bytes:
        """What of the content is certain by now."""
        if self._held:
            octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        if self._held:
            octets = octets[:-1]
        if not octets:
            return b""
        if not self._is_binary:
            octets = self._paired(octets)
            self._measure_lines(octets)
        return self._measured(octets)

    def finish(self) -> bytes:
        """The end: what was held back, and the last line's end where it lacks; b"" where there is nothing (more).

        A message by BDAT need not end in CRLF, but its next hop may get it by DATA, where it must; so it is added
        here, once, and the limit of a message does not count it.
        """
        held, self._held = self._held, b""
        if self._is_binary:
            return self._measured(held) if held else b""
        rest = b""
        if held:
            rest = self._paired(held)
            self._measure_lines(rest)
            rest = self._measured(rest)
        if self._line_octets:
            self._measure_lines(b"\r\n")
            if self.fault is None:
                self.size_octets += 2
                rest += b"\r\n"
        return rest if self.fault is None else b""

    def _paired(self, octets: bytes) -> bytes:
        """``octets`` without what is bare; a CR at their end is none whose LF is still to come."""
        if not self._line_ends.are_pairs(octets):
            if self._rules.bare_line_ends is BareLineEnds.NORMALISE:
                octets = _BARE.sub(b"\r\n", octets)
            else:
                self._tell(ContentFault.BARE)
        if b"\0" in octets:
            self._tell(ContentFault.NUL)
        return octets

    def _measured(self, octets: bytes) -> bytes:
        if self._in_header:
            self._measure_header(octets)
        self.size_octets += len(octets)
        if self.size_octets > self._limit:
            self._tell(ContentFault.TOO_LARGE)
        return octets if self.fault is None else b""

    def _measure_lines(self, octets: bytes) -> None:
        limit = self._rules.line_octets
        last = octets.rfind(b"\n")
        if last < 0:
            self._line_octets += len(octets)
            if self._line_octets > limit:
                self._tell(ContentFault.LONG_LINE)
            return
        start = octets.find(b"\n") + 1
        if self._line_octets + start > limit:
            self._tell(ContentFault.LONG_LINE)
        # A step goes to the last line end within the limit; so there are few, but for a limit that is small.
        while last + 1 - start > limit:
            end = octets.rfind(b"\n", start, start + limit)
            if end < 0:
                self._tell(ContentFault.LONG_LINE)
                break
            start = end + 1
        self._line_octets = len(octets) - last - 1
        if self._line_octets > limit:
            self._tell(ContentFault.LONG_LINE)

    def _measure_header(self, octets: bytes) -> None:
        tail = self._tail
        octets = tail + octets
        end = octets.find(b"\r\n\r\n")
        if end >= 0:
            self._in_header = False
            size = self.size_octets - len(tail) + end + 4
        else:
            self._tail = octets[-3:]
            size = self.size_octets - len(tail) + len(octets)
        if size > self._rules.header_octets:
            self._tell(ContentFault.LARGE_HEADER)

    def _tell(self, fault: ContentFault) -> None:
        if self.fault is None or _ORDER[fault] < _ORDER[self.fault]:
            self.fault = fault
