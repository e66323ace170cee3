"""The structure of MIME content, found in a stream: headers, bodies of leaves, and what stands between them.

RFC 2045 (Content-Type, Content-Transfer-Encoding), RFC 2046 s5.1 (multipart), s5.2.1 (message/rfc822), RFC 1847 (parts
that are signed).  Not done: RFC 2231's forms of the boundary parameter, message/partial, decoding of anything.

Rules:
    The pieces together are the content, octet by octet; where they begin and end depends on the octets alone, but
    that a body or what stands between parts comes in several.
    Lines end with CRLF; a bare CR or LF is an octet like another, so binary bodies pass.
    The CRLF before a boundary belongs to the boundary (RFC 2046 s5.1.1).  No piece ends within a CRLF.
    Bodies are searched for boundaries in chunks, never line by line.
    What is broken is read as far as it goes: a multipart without its last boundary ends with what holds it, one
    without a boundary at all is a leaf.  Beyond a limit the rest is not looked into, and ``fault`` says so.
    Whatever a field holds, it is read in time that grows with its length alone.
"""

import re
from typing import Final

import attrs

MAX_NESTING: Final = 100  # multiparts and messages in each other; Postfix looks as deep
MAX_PARTS: Final = 2_000  # more is nobody's letter, and each costs time and memory
MAX_HEADER_OCTETS: Final = 1 << 20  # of one part; what receives mail sets a narrower limit for whole messages
# RFC 2046 s5.1.1: boundary := 0*69<bchars> bcharsnospace; longer ones are in use (Postfix reads 2048).
_MAX_BOUNDARY: Final = 900
# Content-Type or Content-Transfer-Encoding; the longest in use have a few hundred, for names of files.
MAX_FIELD_OCTETS: Final = 1 << 14
_MAX_LINE: Final = 998  # RFC 5321 s4.5.3.1.6; a line that is longer is no boundary, whatever padding it has

# Encodings that are none (RFC 2045 s6.2): the body stands as it is.
IDENTITY: Final = frozenset({"7bit", "8bit", "binary"})

_FIELD = rb"(?:\A|(?<=\r\n))%s[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)"
_CONTENT_TYPE = re.compile(_FIELD % rb"content-type", re.IGNORECASE)
_ENCODING = re.compile(_FIELD % rb"content-transfer-encoding", re.IGNORECASE)
_MIME_VERSION = re.compile(_FIELD % rb"mime-version", re.IGNORECASE)
# Nothing here backs up: a quoted string that is never closed goes to the end of the field, and is read once.
_OUTSIDE = re.compile(rb'[^"(]++|"(?:[^"\\]|\\.?)*+"?|\(', re.DOTALL)
_IN_COMMENT = re.compile(rb"(?:[^\\()]|\\.?)++|[()]", re.DOTALL)
_TYPE = re.compile(rb"[ \t]*([^ \t/;]+)[ \t]*/[ \t]*([^ \t;]+)")
_PARAMETER = re.compile(rb';[ \t]*([^ \t=;]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"|([^ \t;"]*))')


@attrs.frozen
class Part:
    """A header, with the empty line that ends it where there is one.

    ``media_type`` as ``"text/plain"``, the default where it is not said; ``encoding`` in lower case, ``"7bit"`` where
    it is not said.  ``is_leaf``: a body follows, and no further part in it.  ``is_message``: the whole content, or
    a message/rfc822 in it, not a body part.  ``is_typed``: MIME fields say what it is; ``has_version``: it has
    MIME-Version.  ``is_signed``: it stands in a multipart/signed or multipart/encrypted.  ``messages``: the messages
    that it stands in, the outermost first, each by the number of its own part (the content is 0), and itself where
    it is one.  ``fault`` says why its type and encoding are no more than a guess, or is None.
    """

    header: bytes
    media_type: str
    encoding: str
    is_leaf: bool
    is_message: bool
    is_typed: bool
    has_version: bool
    is_signed: bool
    messages: tuple[int, ...]
    fault: str | None


@attrs.frozen
class Body:
    """Some of the last part's body."""

    octets: bytes


@attrs.frozen
class Between:
    """Boundaries, and what stands before the first and behind the last one."""

    octets: bytes


Piece = Part | Body | Between


@attrs.frozen
class _Multipart:
    boundary: bytes
    child_type: str
    is_signed: bool
    messages: tuple[int, ...]


class MimeReader:
    """One content: ``feed`` its octets, then ``end``.  ``fault`` says why it was not read to its end, or is None."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self._buffer = b""
        self._at = 0  # in the buffer: what is before was handed on
        self._open: list[_Multipart] = []
        self._levels: dict[bytes, int] = {}  # by boundary, the innermost of each
        self._depth = 0
        self._parts = 0
        self._in_header = True
        self._in_leaf = False
        self._at_line_start = False  # the body begins here: a boundary needs no CRLF before it
        self._is_message = True
        self._type = "text/plain"  # of the next part, where it does not say
        self._is_signed = False  # of the message or part that is being read
        self._messages: tuple[int, ...] = ()  # that it stands in
        self._pieces: list[Piece] = []

    def feed(self, octets: bytes) -> list[Piece]:
        self._buffer = self._buffer[self._at:] + octets
        self._at = 0
        return self._read(False)

    def end(self) -> list[Piece]:
        return self._read(True)

    def _read(self, is_end: bool) -> list[Piece]:
        while self._at < len(self._buffer) and (
            self._read_header(is_end) if self._in_header else self._read_body(is_end)
        ):
            pass
        pieces, self._pieces = self._pieces, []
        return pieces

    # --- headers --------------------------------------------------------------------------------------

    def _read_header(self, is_end: bool) -> bool:
        """Whether a header was taken; else more octets are needed."""
        end = self._header_end(is_end)
        if end is not None:
            header, self._at = self._buffer[self._at:end], end
            self._begin(header)
            return True
        if len(self._buffer) - self._at > MAX_HEADER_OCTETS:
            self._give_up(f"A header in it has more than {MAX_HEADER_OCTETS} octets")
            return True
        return False

    def _header_end(self, is_end: bool) -> int | None:
        """Behind its empty line, or before a boundary that ends it, too; None where that did not come yet.

        From one line that may be a boundary to the next: no octet is looked at again for each part that follows.
        """
        buffer, line = self._buffer, self._at
        if buffer.startswith(b"\r\n", line):
            return line + 2
        while True:
            if self._open and buffer.startswith(b"--", line):
                line_end = buffer.find(b"\r\n", line)
                if line_end < 0 and not is_end:
                    return None
                if self._is_boundary(buffer[line:line_end if line_end >= 0 else len(buffer)]) is not None:
                    return line
            edge = buffer.find(b"\r\n--", line) if self._open else -1
            # An empty line right before the dashes ends in their CRLF.
            empty = buffer.find(b"\r\n\r\n", line, edge + 2 if edge >= 0 else len(buffer))
            if empty >= 0:
                return empty + 4
            if edge < 0:
                return len(buffer) if is_end else None
            line = edge + 2

    def _begin(self, header: bytes) -> None:
        if self._is_message:
            self._messages = (*self._messages, self._parts)
        self._parts += 1
        type_field, type_fault = _only(_CONTENT_TYPE, header, "Content-Type")
        encoding_field, encoding_fault = _only(_ENCODING, header, "Content-Transfer-Encoding")
        media_type, boundary = _type_of(type_field) if type_field is not None else ("", b"")
        media_type = media_type or self._type
        encoding = "7bit"
        if encoding_field is not None:
            encoding = _without_comments(encoding_field).strip().lower().decode("ascii", "replace") or "7bit"
        kind = media_type.partition("/")[0]
        is_multipart = kind == "multipart" and 0 < len(boundary) <= _MAX_BOUNDARY
        # Its encoding says nothing of its parts, and none but the identity is allowed (RFC 2045 s6.4).
        is_message = media_type == "message/rfc822" and encoding in IDENTITY
        signed = self._is_signed
        self._pieces.append(
            Part(
                header, media_type, encoding, not is_multipart and not is_message, self._is_message,
                type_field is not None or encoding_field is not None, _MIME_VERSION.search(header) is not None, signed,
                self._messages, type_fault or encoding_fault,
            )
        )
        if is_multipart:
            digest = "message/rfc822" if media_type == "multipart/digest" else "text/plain"
            # RFC 1847 s2.1, s2.2: what is in there is not to be changed on the way
            signed = signed or media_type in ("multipart/signed", "multipart/encrypted")
            self._levels[boundary] = len(self._open)
            self._open.append(_Multipart(boundary, digest, signed, self._messages))
        self._is_message = is_message
        self._type = "text/plain"
        self._in_header = is_message
        self._in_leaf = not is_multipart and not is_message
        self._at_line_start = True
        if is_multipart or is_message:
            self._depth += 1
        if self._depth > MAX_NESTING:
            self._give_up(f"Its parts are nested more than {MAX_NESTING} deep")
        elif self._parts > MAX_PARTS:
            self._give_up(f"It has more than {MAX_PARTS} parts")

    def _give_up(self, why: str) -> None:
        self.fault = why
        self._open.clear()
        self._levels.clear()
        self._in_header = False
        self._in_leaf = True

    # --- bodies ---------------------------------------------------------------------------------------

    def _read_body(self, is_end: bool) -> bool:
        """Whether a boundary was taken; else all that is certain was handed on."""
        buffer, at = self._buffer, self._at
        if not self._open:
            self._hand_on(len(buffer) - (not is_end and buffer.endswith(b"\r")))
            return False
        if self._at_line_start and buffer.startswith(b"--", at):
            edge, line_start = at, at
        elif self._at_line_start and not is_end and len(buffer) - at < 2:
            return False
        else:
            edge = buffer.find(b"\r\n--", at)
            line_start = edge + 2
        while edge >= 0:
            line_end = buffer.find(b"\r\n", line_start)
            if line_end < 0 and not is_end and len(buffer) - line_start <= _MAX_LINE + 1:
                self._hand_on(edge)
                return False
            line = buffer[line_start:line_end if line_end >= 0 else len(buffer)]
            level = self._is_boundary(line)
            if level is not None:
                self._hand_on(edge)
                self._at = line_end + 2 if line_end >= 0 else len(buffer)
                self._pieces.append(Between(buffer[edge:self._at]))
                self._at_boundary(level, line)
                return True
            edge = buffer.find(b"\r\n--", line_start)
            line_start = edge + 2
        # The last octets may be the first of CRLF and two dashes.
        kept = 0 if is_end else next((n for n in (3, 2, 1) if buffer.endswith(b"\r\n-"[:n], at)), 0)
        self._hand_on(len(buffer) - kept)
        return False

    def _hand_on(self, end: int) -> None:
        """What is up to ``end`` in the buffer belongs to what is being read."""
        if end > self._at:
            octets = self._buffer[self._at:end]
            self._pieces.append(Body(octets) if self._in_leaf else Between(octets))
            self._at = end
            self._at_line_start = False

    def _is_boundary(self, line: bytes) -> int | None:
        """Of which of the open multiparts ``line`` is a boundary, the innermost first."""
        if len(line) > _MAX_LINE:
            return None
        word = line[2:].rstrip(b" \t")
        # RFC 2046 s5.1.1: delimiter := CRLF "--" boundary transport-padding; close-delimiter := delimiter "--"
        level = self._levels.get(word)
        last = self._levels.get(word[:-2]) if word.endswith(b"--") else None
        return last if level is None else level if last is None else max(level, last)

    def _at_boundary(self, level: int, line: bytes) -> None:
        multipart = self._open[level]
        is_last = line[2:].rstrip(b" \t") != multipart.boundary
        del self._open[level + (not is_last):]
        self._levels = {one.boundary: level for level, one in enumerate(self._open)}
        self._depth = len(self._open)
        self._in_leaf = False
        self._at_line_start = True
        self._in_header = not is_last
        self._is_message = False
        self._type = multipart.child_type
        self._is_signed = multipart.is_signed
        self._messages = multipart.messages


def _type_of(field: bytes) -> tuple[str, bytes]:
    """The media type in lower case, ``""`` where it cannot be read, and the boundary, b"" where there is none."""
    value = _without_comments(field)
    found = _TYPE.match(value)
    if found is None:
        return "", b""
    boundary = b""
    for parameter in _PARAMETER.finditer(value, found.end()):
        if parameter[1].lower() == b"boundary":
            quoted, bare = parameter[2], parameter[3]
            boundary = bare if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
            break
    return f"{found[1].decode('latin-1')}/{found[2].decode('latin-1')}".lower(), boundary.rstrip(b" \t")


def _only(field: re.Pattern[bytes], header: bytes, name: str) -> tuple[bytes | None, str | None]:
    """The field's value, the first one's where there are two, None where there is none; and what is wrong with it."""
    found = field.search(header)
    if found is None:
        return None, None
    if len(found[1]) > MAX_FIELD_OCTETS:
        return b"", f"A {name} in it has more than {MAX_FIELD_OCTETS} octets"
    # Of two, each reader takes the one that it likes.
    return found[1], f"A part of it has two {name} fields" if field.search(header, found.end()) else None


def _without_comments(field: bytes) -> bytes:
    """Unfolded, with a space for each comment (RFC 5322 s3.2.2): they may be nested, and hold no quoted strings."""
    field = field.replace(b"\r\n", b"")
    if b"(" not in field:
        return field
    kept: list[bytes] = []
    at = depth = 0
    while at < len(field):
        found = (_IN_COMMENT if depth else _OUTSIDE).match(field, at)
        assert found is not None
        at = found.end()
        word = found[0]
        if word == b"(":
            depth += 1
        elif not depth:
            kept.append(word)
        elif word == b")":
            depth -= 1
            if not depth:
                kept.append(b" ")
    return b"".join(kept)
