"""The content after DATA: dots unstuffed, the end found (RFC 5321 s4.5.2, s4.1.1.4).

Rules:
    Only CRLF.CRLF ends the content; the CRLF of DATA's own line counts as the first one.  Everything else that
    looks like an end (LF.LF, CR.CR, LF.CRLF ...) is content with a fault, or two servers would
    see two different messages.
    A fault never ends the reading: the reader goes on to the true end, so as to stay in step.
    No Python call for a line: ``find``, ``replace`` and ``count`` go over chunks.
Not done: RFC 5321 s4.5.3.1.6's limit of 1000 octets a line; longer ones are in use and are taken.
"""

import enum

_END = b"\r\n.\r\n"
# What an end may begin with at the end of a chunk, the longest first.
_BEGINNINGS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class ContentFault(enum.Enum):
    BARE = "bare CR, bare LF or NUL"
    TOO_LARGE = "more octets than allowed"


class DotReader:
    """One message's content, from the octet after DATA's CRLF.

    From the first ``fault`` on no content is handed out; of two, BARE is the one that is told, so that the answer
    does not hang on how the octets were split.  ``size_octets`` counts unstuffed
    octets with CRLFs, without the final dot's line (RFC 1870 s5), also beyond a fault.
    """

    def __init__(self, limit_octets: int) -> None:
        self._limit = limit_octets
        # The CRLF of DATA's line is put before the content and taken off the first piece.
        self._held = b"\r\n"
        self._skip = 2
        self.fault: ContentFault | None = None
        self.ended = False
        self.size_octets = 0

    def feed(self, octets: bytes) -> tuple[bytes, bytes]:
        """The unstuffed content that is certain by now, and what follows the end (b"" before ``ended``).

        Both may be empty.  After the end, feed nothing.
        """
        octets = self._held + octets if self._held else octets
        # One search serves both: most messages have no stuffed dot, and their first CRLF. is the end.
        dot = octets.find(b"\r\n.")
        end = dot if dot < 0 or octets.startswith(_END, dot) else octets.find(_END, dot + 3)
        if end >= 0:
            self.ended = True
            rest = octets[end + 5:]
            octets = octets[:end + 2]
            self._held = b""
        else:
            rest = b""
            self._held = next((b for b in _BEGINNINGS if octets.endswith(b)), b"")
            if self._held:
                octets = octets[:-len(self._held)]
        if not octets:
            return b"", rest
        # All CRs and LFs must pair: no chunk ends between the two, since a CR at its end is held.
        pairs = octets.count(b"\r\n")
        if octets.count(b"\n") != pairs or octets.count(b"\r") != pairs or b"\0" in octets:
            self.fault = ContentFault.BARE
        # A CRLF. that is not the end's is a stuffed dot; no chunk ends inside one.
        content = octets if dot == end else octets.replace(b"\r\n.", b"\r\n")
        if self._skip:
            content = content[self._skip:]
            self._skip = 0
        self.size_octets += len(content)
        if self.fault is None and self.size_octets > self._limit:
            self.fault = ContentFault.TOO_LARGE
        return (content if self.fault is None else b""), rest
