"""Replies as a client reads them: lines into one ``Reply`` (RFC 5321 s4.2, s4.5.3.1.5, RFC 2034, RFC 3463 s2).

Rules:
    A bare LF ends a line, too: what a reply says is never passed on as lines, and servers that write so exist.
    Lines whose codes differ are one reply with the last line's code, as Postfix reads them.
    Everything is bounded, and whatever leaves here is printable ASCII.  Of a reply's words no more is kept than people
    read: each of a hundred recipients may get one, and they go into the queue, the journal and reports.
The result depends on the octets alone, never on how they were split.
"""

import enum
import re

from mailgw.mail.reply import Reply

# RFC 5321 s4.5.3.1.5 says 512; longer ones are in use (Postfix reads 2048).
MAX_LINE_OCTETS = 2048
# EHLO's answer is the longest that makes sense; the largest seen have some 30 lines.
MAX_LINES = 100

# The most of a reply's words that is kept; the longest seen, with links to explanations, have some 500 octets.
MAX_KEPT_OCTETS = 2048

# RFC 2034 s4: status-code ::= class "." subject "." detail, before the text and a space
_STATUS = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:[ \t]+|\Z)")
_UNPRINTABLE = re.compile(rb"[^ -~]")
# RFC 3463 s2: X.0.0 says nothing but the class; 3yz replies have none.
_NO_DETAIL = {2: "2.0.0", 3: "", 4: "4.0.0", 5: "5.0.0"}

RawReply = tuple[int, list[bytes]]
"""The code, and what follows it on each line; ``made_reply`` makes a ``Reply`` of it where one is needed."""


class ReplyFault(enum.Enum):
    """The peer is out of step for good."""

    GARBAGE = "it sent something that is no reply"
    TOO_LONG = "its reply was too long"


class ReplyReader:
    """Octets that a server sent, taken reply by reply."""

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0
        self._lines: list[bytes] = []  # of the reply that is not complete yet

    @property
    def has_more(self) -> bool:
        """Whether octets wait that no reply was made of."""
        return self._at < len(self._buffer) or bool(self._lines)

    def receive(self, octets: bytes) -> None:
        if self._at == len(self._buffer):
            self._buffer = octets
        else:
            self._buffer = self._buffer[self._at:] + octets
        self._at = 0

    def take(self) -> RawReply | ReplyFault | None:
        """The next reply, or None where it is not complete.  After a fault, call no more."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._at)
            if (end if end >= 0 else len(buffer)) - self._at > MAX_LINE_OCTETS:
                return ReplyFault.TOO_LONG
            if end < 0:
                return None
            line = buffer[self._at:end]
            self._at = end + 1
            if line.endswith(b"\r"):
                line = line[:-1]
            code, mark = line[:3], line[3:4]
            # RFC 5321 s4.2: Reply-code = %x32-35 %x30-35 %x30-39; Reply-line = *( code "-" [text] CRLF ) code [SP text]
            if len(code) < 3 or not code.isdigit() or not b"2" <= code[:1] <= b"5":
                return ReplyFault.GARBAGE
            if mark == b"-":
                if len(self._lines) >= MAX_LINES:
                    return ReplyFault.TOO_LONG
                self._lines.append(line[4:])
                continue
            if mark not in (b" ", b""):
                return ReplyFault.GARBAGE
            lines, self._lines = self._lines, []
            lines.append(line[4:])
            return int(code), lines


def made_reply(raw: RawReply) -> Reply:
    """The reply with its enhanced status taken off the lines; where the peer gave none, the class alone: X.0.0.

    Of its text MAX_KEPT_OCTETS are kept; a line that is cut ends in dots."""
    code, lines = raw
    status = b""
    texts = []
    left = MAX_KEPT_OCTETS
    for line in lines:
        found = _STATUS.match(line)
        # RFC 2034 s4: the class must be that of the code.
        if found is not None and line[0] == 48 + code // 100:
            status = status or found[1]
            line = line[found.end():]
        if len(line) > left:
            line = line[:left] + b" ..."
            left = 0
        left -= len(line) + 1  # with the space between two lines
        texts.append(_UNPRINTABLE.sub(b"?", line).decode("ascii"))
        if left <= 0:
            break
    return Reply(code, status.decode("ascii") or _NO_DETAIL[code // 100], tuple(texts))
