"""Content on its way out: dots stuffed, the final dot added (RFC 5321 s4.5.2, s4.1.1.4).

Rules:
    What leaves has CRLF line ends alone.  A bare CR or LF (only a plug-in's own content can hold one) becomes
    CRLF: sent as it is, it would be another message to a careless server.
    The result depends on the octets alone, never on how they were split.
    No Python call for a line: ``replace`` and a decoder in C go over chunks.
"""

import re

from mailgw.wire.content import LineEnds

_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


class DotWriter:
    """One message's content, from the octet after the 354."""

    def __init__(self) -> None:
        self._held = b""  # a CR at the end of a chunk: its LF may come with the next one
        self._at_line_start = True
        self._line_ends = LineEnds()

    def write(self, chunk: bytes) -> bytes:
        """The octets to send for ``chunk``; may be b""."""
        if self._held:
            chunk = self._held + chunk
            self._held = b""
        if chunk.endswith(b"\r"):
            self._held = b"\r"
            chunk = chunk[:-1]
        return self._stuffed(chunk) if chunk else b""

    def end(self) -> bytes:
        """What ends the content: the last line's CRLF where it has none, and the dot."""
        # A last lone CR is the line end that is added here.
        return b".\r\n" if self._at_line_start and not self._held else b"\r\n.\r\n"

    def _stuffed(self, chunk: bytes) -> bytes:
        if not self._line_ends.are_pairs(chunk):
            chunk = _BARE.sub(b"\r\n", chunk)
        starts_with_dot = self._at_line_start and chunk.startswith(b".")
        self._at_line_start = chunk.endswith(b"\r\n")
        if b"." in chunk:  # there is none in base64, and one octet is found at a tenth of the cost of three
            chunk = chunk.replace(b"\r\n.", b"\r\n..")
        return b"." + chunk if starts_with_dot else chunk


def stuffed(content: bytes) -> bytes:
    """A whole message as it goes out, with its final dot."""
    writer = DotWriter()
    return writer.write(content) + writer.end()
