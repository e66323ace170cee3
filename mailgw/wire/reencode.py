"""Content for a next hop that takes less than it holds: binary and 8-bit bodies as base64 or quoted-printable.

RFC 6152 s3 and RFC 3030 s3 (convert or return), RFC 2045 s6 (encodings), RFC 1428 s3 (8-bit text without MIME),
RFC 1847 s2.1 (signed parts are not touched).  Not done: encoded words in header fields (RFC 2047), conversion for
signatures over whole messages: a DKIM signature (RFC 6376) breaks where a body is re-encoded, as s5.3 there warns.

Rules:
    Only leaves that hold what the hop does not take are re-encoded, and their Content-Transfer-Encoding says so;
    decoded they are the same octets.  A label that says more than the content needs (binary, 8bit) becomes the
    hop's.  Everything else stays octet for octet as it was.
    Text becomes quoted-printable, or base64 where that is shorter or where the text has a bare CR or LF or a NUL.
    What cannot be converted without a guess or damage is not: header fields and what stands between parts, signed
    and encrypted parts, parts whose encoding is already another one or whose type forbids one, content in which a
    type or an encoding is said twice, and whatever is beyond ``wire.mime``'s limits.  The message is then returned
    (5.6.3).
The content is read twice, by a ``Survey`` first and by a ``Rewriter`` then, in chunks: neither keeps more of it than
a header or a line, and what comes out does not depend on how it was split.
"""

import enum
import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Iterator
from typing import Final

import attrs

from mailgw.mail.envelope import BodyType
from mailgw.wire.mime import IDENTITY, Between, Body, MimeReader, Part, Piece

MAX_LINE_OCTETS: Final = 998  # RFC 5321 s4.5.3.1.6 without the CRLF; RFC 2045 s2.7, s2.8 for 7bit and 8bit
_QP_PIECE_OCTETS = 1 << 15  # of a line without an end, quoted-printable's soft breaks make lines anyway
_BASE64_OCTETS = 57  # RFC 2045 s6.8: lines of at most 76 characters

# RFC 2045 s6.7: what quoted-printable leaves as it is, but for white space at a line's end
_QP_PLAIN = bytes([*range(33, 61), *range(62, 127)]) + b" \t\r\n"
# RFC 2046 s5.2.2, s5.2.3, RFC 3464 s2, RFC 8098 s3: 7bit alone
_NEVER_ENCODED = frozenset(
    {"message/rfc822", "message/partial", "message/external-body", "message/delivery-status",
     "message/disposition-notification"}
)  # fmt: skip
_ENCODING_FIELD = re.compile(
    rb"(?:\A|(?<=\r\n))content-transfer-encoding[ \t]*:[^\r\n]*(?:\r\n[ \t][^\r\n]*)*(?:\r\n|\Z)", re.IGNORECASE
)


class Coding(enum.Enum):
    """What becomes of one part."""

    KEPT = "kept"
    RELABELLED = "relabelled"
    QUOTED_PRINTABLE = "quoted-printable"
    BASE64 = "base64"


@attrs.frozen
class Plan:
    """What becomes of each part, in order, for a hop that takes ``to``; ``unversioned`` are the numbers of those that
    get a MIME-Version, since they are messages that had none and have an encoding in them now."""

    to: BodyType
    codings: tuple[Coding, ...]
    unversioned: frozenset[int]


@attrs.frozen
class Unfit:
    """Content that cannot be converted, and why."""

    why: str


class Survey:
    """Looks at a whole content, for a hop that takes ``to``: 7BIT or 8BITMIME."""

    def __init__(self, to: BodyType) -> None:
        self._to = to
        self._reader = MimeReader()
        self._codings: list[Coding] = []
        self._versions: list[bool] = []  # of each part, whether it has MIME-Version
        self._unversioned: set[int] = set()
        self._leaf: tuple[Part, _Facts] | None = None
        self._fault: str | None = None

    def feed(self, octets: bytes) -> None:
        if self._fault is None:
            self._look(self._reader.feed(octets))

    def end(self) -> Plan | Unfit:
        if self._fault is None:
            self._look(self._reader.end())
            self._end_leaf()
        if self._fault is not None:
            return Unfit(self._fault)
        return Plan(self._to, tuple(self._codings), frozenset(self._unversioned))

    def _look(self, pieces: list[Piece]) -> None:
        self._fault = self._reader.fault
        for piece in pieces:
            if self._fault is not None:
                return
            match piece:
                case Body(octets):
                    assert self._leaf is not None
                    self._leaf[1].add(octets)
                case Between(octets):
                    self._end_leaf()
                    if self._is_too_much(octets):
                        self._fault = "It has octets between its parts that the next hop does not take"
                case Part(header):
                    self._end_leaf()
                    self._versions.append(piece.has_version)
                    if self._fault is not None:
                        pass
                    elif piece.fault is not None:
                        self._fault = piece.fault
                    elif self._is_too_much(header):
                        self._fault = "A header field in it has octets that the next hop does not take"
                    elif piece.is_leaf:
                        self._leaf = piece, _Facts()
                    else:
                        self._codings.append(_relabelled(piece, self._to))

    def _is_too_much(self, octets: bytes) -> bool:
        return _has_binary(octets) or (self._to is BodyType.SEVEN_BIT and not octets.isascii())

    def _end_leaf(self) -> None:
        if self._leaf is None:
            return
        (part, facts), self._leaf = self._leaf, None
        if not facts.is_too_much(self._to, part.encoding == "binary"):
            self._codings.append(_relabelled(part, self._to))
        elif part.encoding not in IDENTITY:
            self._fault = f"A part of it is said to be {part.encoding[:40]}, and is not"
        elif part.is_signed:
            self._fault = "A signed or encrypted part of it would have to be changed"
        elif part.media_type in _NEVER_ENCODED or part.media_type.startswith("multipart/"):
            self._fault = f"A part of it that may have no encoding would need one ({part.media_type[:80]})"
        else:
            self._codings.append(facts.best_coding(part.media_type.startswith("text/")))
            # RFC 2045 s4: without it, nobody has to read the encoding.
            self._unversioned.update(number for number in part.messages if not self._versions[number])


def _relabelled(part: Part, to: BodyType) -> Coding:
    """Of what needs no encoding."""
    too_high = part.encoding == "binary" or (part.encoding == "8bit" and to is BodyType.SEVEN_BIT)
    return Coding.RELABELLED if too_high and not part.is_signed else Coding.KEPT


class _Facts:
    """What a leaf's body holds.  Its pieces never end within a CRLF."""

    def __init__(self) -> None:
        self.is_ascii = True
        self.has_binary = False
        self.has_long_line = False
        self._size = 0
        self._quoted = 0
        self._line = 0  # octets of the line that is not over yet

    def add(self, octets: bytes) -> None:
        self.is_ascii = self.is_ascii and octets.isascii()
        self.has_binary = self.has_binary or _has_binary(octets)
        self._size += len(octets)
        self._quoted += len(octets.translate(None, _QP_PLAIN))
        if not self.has_long_line:
            lengths = [len(line) for line in octets.split(b"\r\n")]
            lengths[0] += self._line
            self.has_long_line = max(lengths) > MAX_LINE_OCTETS
            self._line = lengths[-1]

    def is_too_much(self, to: BodyType, may_have_long_lines: bool) -> bool:
        """Long lines that were promised to be none are passed on as they came, as everywhere."""
        too_long = may_have_long_lines and self.has_long_line
        return self.has_binary or too_long or (to is BodyType.SEVEN_BIT and not self.is_ascii)

    def best_coding(self, is_text: bool) -> Coding:
        if not is_text or self.has_binary:
            return Coding.BASE64
        # =XX for each that is quoted; four characters and their share of a CRLF for three octets.
        quoted_size, base64_size = self._size + 2 * self._quoted, self._size * 78 // _BASE64_OCTETS
        return Coding.QUOTED_PRINTABLE if quoted_size <= base64_size else Coding.BASE64


def _has_binary(octets: bytes) -> bool:
    """Whether there are octets that stand in no line: NUL, bare CR, bare LF."""
    pairs = octets.count(b"\r\n")
    return octets.count(b"\n") != pairs or octets.count(b"\r") != pairs or b"\0" in octets


# --- the second reading -----------------------------------------------------------------------------

class Rewriter:
    """Converts the content that ``plan`` was made of."""

    def __init__(self, plan: Plan) -> None:
        self._label = b"8bit" if plan.to is BodyType.EIGHT_BIT else b"7bit"
        self._codings: Iterator[tuple[int, Coding]] = enumerate(plan.codings)
        self._unversioned = plan.unversioned
        self._reader = MimeReader()
        self._encoder: _QuotedPrintable | _Base64 | None = None

    def feed(self, octets: bytes) -> bytes:
        """What is certain now; may be b""."""
        return self._written(self._reader.feed(octets))

    def end(self) -> bytes:
        """The rest."""
        octets = self._written(self._reader.end())
        if isinstance(self._encoder, _Base64):
            return octets + self._end_leaf() + b"\r\n"  # the content's last line
        return octets + self._end_leaf()

    def _written(self, pieces: list[Piece]) -> bytes:
        out: list[bytes] = []
        for piece in pieces:
            match piece:
                case Body(octets):
                    out.append(octets if self._encoder is None else self._encoder.write(octets))
                case Between(octets):
                    out += (self._end_leaf(), octets)
                case Part():
                    out += (self._end_leaf(), self._header(piece))
        return b"".join(out)

    def _end_leaf(self) -> bytes:
        encoder, self._encoder = self._encoder, None
        return encoder.end() if encoder is not None else b""

    def _header(self, part: Part) -> bytes:
        number, coding = next(self._codings)
        missing = [b"MIME-Version: 1.0\r\n"] if number in self._unversioned else []
        match coding:
            case Coding.KEPT:
                return _with_fields(part.header, missing)
            case Coding.RELABELLED:
                return _with_encoding(part.header, self._label, missing)
            case Coding.QUOTED_PRINTABLE:
                self._encoder = _QuotedPrintable()
                return _with_encoding(part.header, b"quoted-printable", missing + _missing_type(part))
            case Coding.BASE64:
                self._encoder = _Base64()
                return _with_encoding(part.header, b"base64", missing + _missing_type(part))


def _missing_type(part: Part) -> list[bytes]:
    """What makes MIME of a message that has an encoding now, behind the version."""
    if not part.is_message or part.has_version or part.is_typed:
        return []
    # RFC 1428 s3: nobody said which charset it is
    return [b"Content-Type: text/plain; charset=unknown-8bit\r\n"]


def _with_encoding(header: bytes, encoding: bytes, missing: list[bytes]) -> bytes:
    """The header with that Content-Transfer-Encoding, where there was one, or last of the fields."""
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n"
    found = _ENCODING_FIELD.search(header)
    before, behind = header, b""
    if found is not None:
        before, behind = header[:found.start()] + field, header[found.end():]
        field = b""
    return _with_fields(before + behind, [*missing, field])


def _with_fields(header: bytes, fields: list[bytes]) -> bytes:
    """The header with those fields as its last."""
    added = b"".join(fields)
    if not added:
        return header
    # The empty line, where there is one, stays the last.
    cut = len(header) - 2 if header == b"\r\n" or header.endswith(b"\r\n\r\n") else len(header)
    return header[:cut] + added + header[cut:]


class _QuotedPrintable:
    """RFC 2045 s6.7.  Line ends stay line ends; a bare CR or LF would be quoted."""

    def __init__(self) -> None:
        self._line = b""

    def write(self, octets: bytes) -> bytes:
        *lines, self._line = (self._line + octets).split(b"\r\n")
        out = [_quoted(line) + b"\r\n" for line in lines]
        while len(self._line) > _QP_PIECE_OCTETS:
            out.append(_quoted_piece(self._line[:_QP_PIECE_OCTETS]) + b"=\r\n")
            self._line = self._line[_QP_PIECE_OCTETS:]
        return b"".join(out)

    def end(self) -> bytes:
        return _quoted(self._line)


def _quoted(line: bytes) -> bytes:
    if len(line) <= _QP_PIECE_OCTETS:
        return _quoted_piece(line)
    pieces = [line[i:i + _QP_PIECE_OCTETS] for i in range(0, len(line), _QP_PIECE_OCTETS)]
    return b"=\r\n".join([_quoted_piece(piece) for piece in pieces])


def _quoted_piece(octets: bytes) -> bytes:
    # Not as text: then no line end is left in it but those of soft breaks.
    return b2a_qp(octets, istext=False).replace(b"\n", b"\r\n")


class _Base64:
    """RFC 2045 s6.8.  The last line has no line end."""

    def __init__(self) -> None:
        self._held = b""
        self._has_lines = False

    def write(self, octets: bytes) -> bytes:
        octets = self._held + octets
        size = len(octets) // _BASE64_OCTETS * _BASE64_OCTETS
        self._held = octets[size:]
        return self._lines(octets[:size])

    def end(self) -> bytes:
        return self._lines(self._held)

    def _lines(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        text = b64encode(octets)
        lines = b"\r\n".join([text[i:i + 76] for i in range(0, len(text), 76)])
        before, self._has_lines = b"\r\n" if self._has_lines else b"", True
        return before + lines


def reencoded(content: bytes, to: BodyType) -> bytes | Unfit:
    """A whole content, for a hop that takes ``to``: 7BIT or 8BITMIME; itself where nothing is too much for it."""
    survey = Survey(to)
    survey.feed(content)
    plan = survey.end()
    if isinstance(plan, Unfit):
        return plan
    rewriter = Rewriter(plan)
    return rewriter.feed(content) + rewriter.end()
