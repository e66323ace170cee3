"""What a message says: its fields, its text, its attachments, read by the standard ``email`` package under limits.

RFC 5322 s2 (fields), RFC 2045 to 2047 and RFC 2231 (MIME), RFC 2183 (Content-Disposition).  Not done: S/MIME, PGP,
format=flowed, uuencode.

Rules:
    Nothing that a message holds raises: an unknown charset, half an encoding, a type that is none are read as far as
    they go, what cannot be read becomes U+FFFD.  Beyond a limit only the header is read, and ``fault`` says why.
    ``email`` finds the parts, and says what each is.  Fields are read by ``mail.encoded_words``, not by
    ``email.policy.default``, which takes time by the square of a field's length (8 KiB of quotes in "To": 1.1 s).
    The first text/plain and the first text/html that are no attachments are the text.  Every other body is an
    attachment, a message within a message too: nothing is left out.
"""

import binascii
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from email.feedparser import BytesFeedParser
from email.message import Message as MimePart
from email.policy import Compat32
from typing import Any, Final

import attrs

from mailgw.mail.address import Mailbox, is_shapely
from mailgw.mail.charsets import codec_of, parameter_text
from mailgw.mail.encoded_words import decoded
from mailgw.mail.from_field import author_addresses
from mailgw.mail.header import header_end

MAX_FIELD_CHARACTERS: Final = 2048
"""Of a field that says what a part is, so much is looked at; names of files in RFC 2231's form have some hundred."""
MAX_PARAMETERS: Final = 40
MAX_FILENAME_OCTETS: Final = 200
"""File systems take 255; a part of it is for who stores it."""
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.MULTILINE)
# What separates folders somewhere, or means something else to Windows.
_UNSAFE_IN_NAME = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
_NO_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
_PIECE_OCTETS = 256 * 1024


@attrs.frozen
class LetterLimits:
    """What is read of a message: ``octets`` and ``lines`` of all of it, ``header_octets`` of its header, ``parts`` (the
    message itself is one), each at most ``depth`` deep (the message is at 0)."""

    octets: int = 32 * 1024 * 1024
    lines: int = 500_000
    header_octets: int = 256 * 1024
    parts: int = 500
    depth: int = 20


@attrs.frozen(eq=False)
class Attachment:
    """``filename`` is one that a file may have, whatever the sender wrote; ``""`` where he named none.

    ``content_type`` as ``"image/png"``; ``content_id`` without its brackets, ``""`` where there is none; ``is_inline``:
    it is to be shown within the text.
    """

    filename: str
    content_type: str
    content_id: str
    is_inline: bool
    _part: "_Part" = attrs.field(repr=False)

    @property
    def octets(self) -> bytes:
        """All of it, decoded."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Its octets, decoded, in pieces of at most 256 KiB; base64 is decoded piece by piece."""
        if self._part.encoding == "base64" and not self._part.below():
            yield from _from_base64(self._part.body())
            return
        octets = _octets(self._part)
        for start in range(0, len(octets), _PIECE_OCTETS):
            yield octets[start:start + _PIECE_OCTETS]

    async def chunks(self) -> AsyncIterator[bytes]:
        """``pieces`` for who reads by ``async for``, as a message's content is read."""
        for piece in self.pieces():
            yield piece


class Fields(Mapping[str, str]):
    """The fields of a header by their names, in any case; of one that is there several times the first.

    Values are unfolded, and their encoded words read; what cannot be read is ``?``.
    """

    def __init__(self, header: bytes) -> None:
        self._fields: dict[str, list[bytes]] = {}
        for name, body in _FIELD.findall(header):
            self._fields.setdefault(name.decode().lower(), []).append(body)

    def __getitem__(self, name: str) -> str:
        return self.all(name)[0] if name in self else self._missing(name)

    def all(self, name: str) -> list[str]:
        """Those of that name, in their order."""
        return [decoded(body, len(body)) for body in self._fields.get(name.lower(), ())]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def _missing(self, name: str) -> str:
        raise KeyError(name)


@attrs.frozen
class Branch:
    """A part as it stands in the message: ``depth`` 0 is the message itself; ``size_octets`` of its body as it was
    sent, 0 where there are parts in it."""

    depth: int
    content_type: str
    size_octets: int


@attrs.frozen(eq=False)
class Letter:
    """``authors``: the addresses of From, () where it is malformed or there is none.  ``structure``: all parts in their
    order, those that hold others among them; () where there is a ``fault``.

    ``text`` and ``html`` are ``""`` where there is none, or where there is a ``fault``: why only the header was read,
    None where all was.
    """

    fields: Fields
    authors: tuple[Mailbox, ...]
    text: str = ""
    html: str = ""
    attachments: tuple[Attachment, ...] = ()
    fault: str | None = None
    structure: tuple[Branch, ...] = ()

    @property
    def subject(self) -> str:
        return self.fields.get("subject", "")

    @property
    def is_automatic(self) -> bool:
        """Whether a program wrote it, or a list sent it: who answers that by a program makes a loop (RFC 3834 s2)."""
        said = self.fields.get("auto-submitted", "no").partition(";")[0].strip().lower()
        precedence = self.fields.get("precedence", "").strip().lower()
        return said != "no" or precedence in ("bulk", "junk", "list") or "list-id" in self.fields


def parse_letter(octets: bytes, limits: LetterLimits, size_octets: int | None = None) -> Letter:
    """The letter; never raises.

    ``octets`` are all of the message; or its beginning, more than ``limits.header_octets`` of it, where
    ``size_octets``, which is more than ``limits.octets`` then, says that there is more.
    """
    size = len(octets) if size_octets is None else size_octets
    end = header_end(octets[:limits.header_octets + 4])
    if end < 0 and size <= limits.header_octets:
        end = size
    if end < 0 or end > limits.header_octets:
        header = octets[:octets.rfind(b"\n", 0, limits.header_octets) + 1]
        return _header_alone(header, f"its header has more than {limits.header_octets} octets")
    header = octets[:end]
    if size > limits.octets:
        return _header_alone(header, f"it has {size} octets, more than {limits.octets}")
    if line_ends(octets) > limits.lines:
        return _header_alone(header, f"it has more than {limits.lines} lines")
    try:
        return _whole(header, _tree(octets, limits))
    except _Beyond as beyond:
        return _header_alone(header, str(beyond))
    except Exception as fault:  # noqa: BLE001 - the package has no list of what it raises
        return _header_alone(header, f"it cannot be read ({type(fault).__name__})")


def line_ends(octets: bytes) -> int:
    """How many there are to the package: CRLF, bare LF, bare CR."""
    return octets.count(b"\n") + octets.count(b"\r") - octets.count(b"\r\n")


def _header_alone(header: bytes, fault: str) -> Letter:
    return Letter(Fields(header), author_addresses(header, b"from") or (), fault=fault)


# --- the tree of parts ------------------------------------------------------------------------------------

class _Beyond(Exception):
    """A limit of the tree."""


class _Policy(Compat32):
    """Fields as they came, in both directions, and no more of one than is read in no time."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        value = value[:MAX_FIELD_CHARACTERS]
        # The package takes time by the square of their number.
        return value if value.count(";") <= MAX_PARAMETERS else ";".join(value.split(";")[:MAX_PARAMETERS + 1])

    def fold(self, name: str, value: str) -> str:
        return f"{name}: {value}\r\n"

    def fold_binary(self, name: str, value: str) -> bytes:
        return self.fold(name, value).encode("utf-8", "surrogateescape")


_POLICY = _Policy(linesep="\r\n")


class _Part(MimePart):
    """Counts those below it: ``count`` is one list for all, so that nothing refers to itself."""

    def __init__(self, limits: LetterLimits, count: list[int]) -> None:
        super().__init__(policy=_POLICY)
        self._limits = limits
        self._count = count
        self._depth = 0

    def attach(self, payload: Any) -> None:
        """Called for each part before anything below it is read."""
        payload._depth = self._depth + 1
        self._count[0] += 1
        if self._count[0] > self._limits.parts:
            raise _Beyond(f"it has more than {self._limits.parts} parts")
        if payload._depth > self._limits.depth:
            raise _Beyond(f"its parts are more than {self._limits.depth} deep")
        super().attach(payload)

    @property
    def encoding(self) -> str:
        return str(self.get("content-transfer-encoding", "")).strip().lower()

    def body(self) -> bytes:
        """As it came, b"" where there are parts instead.  ``get_payload`` has no way to give that: it decodes all of it
        at once, or by whatever codec the part names.  ``email.generator`` reads the same attribute."""
        payload = getattr(self, "_payload", None)
        return payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else b""

    def below(self) -> "list[_Part]":
        """The parts in it, [] where it is a leaf."""
        return self.get_payload() if self.is_multipart() else []  # type: ignore[return-value]  # no others are made


def _tree(octets: bytes, limits: LetterLimits) -> _Part:
    count = [1]

    def part(policy: object = None) -> _Part:
        return _Part(limits, count)

    parser = BytesFeedParser(part, policy=_POLICY)
    for start in range(0, len(octets), _PIECE_OCTETS):  # all at once would need more than twice the memory
        parser.feed(octets[start:start + _PIECE_OCTETS])
    root = parser.close()
    assert isinstance(root, _Part)
    return root


def _leaves(part: _Part) -> Iterator[_Part]:
    """Every part with a body; a message within the message is one, whatever is in it."""
    below = part.below()
    if below and part.get_content_maintype() != "message":
        for one in below:
            yield from _leaves(one)
    else:
        yield part


def _whole(header: bytes, root: _Part) -> Letter:
    found: dict[str, str] = {}
    attachments = []
    for part in _leaves(root):
        kind = part.get_content_type()
        filename = _filename(part)
        is_attached = part.get_content_disposition() == "attachment" or bool(filename)
        if kind in ("text/plain", "text/html") and kind not in found and not is_attached:
            found[kind] = _text(_octets(part), _charset(part))
            continue
        content_id = str(part.get("content-id", "")).strip().removeprefix("<").removesuffix(">")
        attachments.append(Attachment(
            filename, kind, _shapely(content_id), part.get_content_disposition() == "inline", part))
    return Letter(
        Fields(header), author_addresses(header, b"from") or (), found.get("text/plain", ""),
        found.get("text/html", ""), tuple(attachments), None, tuple(_branches(root, 0)),
    )


def _branches(part: _Part, depth: int) -> Iterator[Branch]:
    yield Branch(depth, part.get_content_type(), len(part.body()))
    for one in part.below():
        yield from _branches(one, depth + 1)


# --- one part ---------------------------------------------------------------------------------------------

def _octets(part: _Part) -> bytes:
    if part.below():
        return b"".join([_flat(one) for one in part.below()])
    body = part.body()
    match part.encoding:
        case "base64":
            return b"".join(_from_base64(body))
        case "quoted-printable":
            return binascii.a2b_qp(body)
        case _:
            return body


def _flat(part: _Part) -> bytes:
    """A message within the message, as it came but for white space around its colons and boundaries.

    ``email.generator`` was left: it raises where a multipart has no parts, or its boundary is none.
    """
    pieces = [_POLICY.fold_binary(name, value) for name, value in part.raw_items()] + [b"\r\n"]
    below = part.below()
    if not below or part.get_content_maintype() == "message":
        return b"".join([*pieces, part.body(), *map(_flat, below)])
    boundary = _line(part.get_boundary("") or "")
    pieces.append(_line(part.preamble or ""))
    for one in below:
        pieces += [b"--", boundary, b"\r\n", _flat(one), b"\r\n"]
    return b"".join([*pieces, b"--", boundary, b"--\r\n", _line(part.epilogue or "")])


def _line(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _from_base64(body: bytes) -> Iterator[bytes]:
    """What is no base64 in it is passed over (RFC 2045 s6.8); the first "=" ends it."""
    rest = b""
    for start in range(0, len(body), _PIECE_OCTETS):
        piece = rest + body[start:start + _PIECE_OCTETS].translate(None, _NO_BASE64)
        end = piece.find(b"=")
        if end >= 0:
            rest = piece[:end]
            break
        whole = len(piece) - len(piece) % 4
        rest = piece[whole:]
        if whole:
            yield binascii.a2b_base64(piece[:whole])
    rest = rest[:-1] if len(rest) % 4 == 1 else rest
    if rest:
        yield binascii.a2b_base64(rest + b"=" * (-len(rest) % 4))


def _charset(part: _Part) -> str:
    return parameter_text(part.get_param("charset")) or ""


def _text(octets: bytes, charset: str) -> str:
    """LF line ends.  What names no charset, or ASCII, is UTF-8 where it can be."""
    codec = codec_of(charset)
    try:
        text = octets.decode(codec or "utf-8", "strict" if codec is None else "replace")
    except (UnicodeDecodeError, LookupError):
        text = octets.decode("cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _filename(part: _Part) -> str:
    said = part.get_param("filename", header="content-disposition")
    name = parameter_text(part.get_param("name") if said is None else said) or ""
    raw = name.encode("utf-8", "surrogateescape")
    name = decoded(raw) if b"=?" in raw else raw.decode("utf-8", "replace")
    name = _UNSAFE_IN_NAME.sub("_", re.split(r"[\\/]", name)[-1])
    name = "".join([c if is_shapely(c) else "_" for c in name]).strip(" .")
    if len(name.encode()) > MAX_FILENAME_OCTETS:
        stem, point, end = name.rpartition(".")
        end = f"{point}{end}" if stem and len(end.encode()) <= 16 else ""
        stem = (stem if end else name).encode()[:MAX_FILENAME_OCTETS - len(end.encode())].decode("utf-8", "ignore")
        name = f"{stem}{end}"
    return name


def _shapely(text: str) -> str:
    return "".join([c for c in text if is_shapely(c)])
