"""A message read and put into JSON (RFC 8259), as a web hook gets it.  Pure, and slow for large ones: for a thread.

RFC 5322 (fields), RFC 2045 and RFC 2046 (structure, by ``wire.mime``), RFC 2047 (subjects), RFC 2183 and RFC 2231
(names of files, by ``email``).

Rules:
    The structure is found by ``wire.mime``, whose time grows with the length alone; Python's ``email`` reads no more
    than the fields of each part, and of those no long ones.  Its policy ``default`` was rejected: with 90 parts whose
    fields have 600 parameters it took 8 s, ``compat32`` 0.2 s.
    What is beyond a limit, or cannot be read, is not lost: the whole message is in ``raw`` then, and ``unread`` says
    why.
    The text is valid Unicode, whatever came.
"""

import base64
import binascii
import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message as Fields
from email.parser import HeaderParser
from email.policy import compat32
from typing import Final

import attrs

from mailgw.deliver.webhook_settings import JsonLimits
from mailgw.mail.address import Mailbox
from mailgw.mail.encoded_words import decoded
from mailgw.mail.message import Message
from mailgw.wire.mime import Body, MimeReader, Part

# RFC 5322 s2.1.1: a line has 998 octets; names of files take a few of them, seldom.
MAX_FIELD_OCTETS: Final = 4000
_END = re.compile(rb"\r\n(?![ \t])")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_NAME = re.compile(rb"[!-9;-~]+\Z")  # RFC 5322 s3.6.8: ftext
# Python knows codecs that are no charsets, and some whose cost grows with the square of the length.
_CHARSET = re.compile(
    r"(?:utf-8|utf-16(?:-le|-be)?|ascii|iso8859-\d{1,2}|cp\d{3,4}|koi8-[rut]|gb2312|gbk|gb18030|big5|shift_jis|euc_jp"
    r"|euc_kr|iso2022_jp|mac-\w+|tis-620|johab|hz)\Z"
)
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


@attrs.define
class _Leaf:
    part: Part
    pieces: list[bytes]


def content_members(octets: bytes, limits: JsonLimits) -> bytes:
    """The members of a JSON object, without its braces: ``"headers": …, "subject": …, …``."""
    header = b""
    parts: dict[str, object] = {}
    try:
        header, leaves, unread = _read(octets, limits)
        if unread is None:
            parts = _parts(leaves)
    except Exception as fault:  # noqa: BLE001 - of ``email``, of which nobody knows all; the message is in ``raw``
        unread = f"It cannot be read ({type(fault).__name__})"
    found: dict[str, object] = {
        **_top(header),
        "text": None, "html": None, "attachments": [], **parts,
        "unread": unread,
        "raw": None if unread is None else base64.b64encode(octets).decode("ascii"),
    }
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"))[1:-1].encode("utf-8", "replace")


def envelope_member(message: Message, recipients: Iterable[Mailbox]) -> bytes:
    """``"envelope": {…}``, of one POST."""
    path = message.reverse_path
    envelope = {
        "queue_id": message.queue_id,
        "reverse_path": None if path is None else str(path),
        "recipients": [str(recipient) for recipient in recipients],
        "arrived": round(message.arrived, 3),
        "body_type": message.body_type.value,
        "peer": message.peer,
        "helo": message.helo,
        "login": message.login,
        "protocol": message.protocol,
    }
    return b'"envelope":' + json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def _read(octets: bytes, limits: JsonLimits) -> tuple[bytes, list[_Leaf], str | None]:
    """The header, the leaves, and why there may be more of them."""
    reader = MimeReader(limits.nesting, limits.parts, looks_into_messages=False)
    header: bytes | None = None
    leaves: list[_Leaf] = []
    for piece in (*reader.feed(octets), *reader.end()):
        match piece:
            case Part():
                header = piece.header if header is None else header
                if piece.is_leaf:
                    leaves.append(_Leaf(piece, []))
            case Body(some) if leaves:  # none: the reader has given up before
                leaves[-1].pieces.append(some)
            case _:
                pass
    return header or b"", leaves, reader.fault


def _fields(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values, unfolded; a line that is none is left out."""
    for line in _END.split(header):
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _NAME.match(name):
            yield name, _FOLD.sub(b"", value).strip()


def _top(header: bytes) -> dict[str, object]:
    fields = [(name.decode("ascii"), value) for name, value in _fields(header)]
    subject = next((value for name, value in fields if name.lower() == "subject"), None)
    return {
        "headers": [[name, _text(value)] for name, value in fields],
        "subject": None if subject is None else decoded(subject),
    }


def _parts(leaves: Iterable[_Leaf]) -> dict[str, object]:
    """The first text, the first HTML that is no attachment, and all else."""
    found: dict[str, object] = {}
    attachments: list[Mapping[str, object]] = []
    for leaf in leaves:
        fields = _mime_fields(leaf.part.header)
        octets = _without_encoding(b"".join(leaf.pieces), leaf.part.encoding)
        disposition, filename = fields.get_content_disposition(), _filename(fields)
        kind = {"text/plain": "text", "text/html": "html"}.get(leaf.part.media_type)
        if kind is not None and kind not in found and disposition != "attachment" and filename is None:
            found[kind] = _text(octets, fields.get_content_charset())
            continue
        attachments.append({
            "filename": filename,
            "content_type": _clean(leaf.part.media_type),
            "disposition": disposition,
            "content_id": _clean(str(fields["content-id"])) if fields["content-id"] is not None else None,
            "size_octets": len(octets),
            "base64": base64.b64encode(octets).decode("ascii"),
        })
    return {**found, "attachments": attachments}


def _mime_fields(header: bytes) -> Fields:
    """The Content-… fields of a part, but for long ones."""
    kept = [
        f"{name.decode('ascii')}: {_text(value)}\r\n" for name, value in _fields(header)
        if name[:8].lower() == b"content-" and len(value) <= MAX_FIELD_OCTETS
    ]
    return HeaderParser(policy=compat32).parsestr("".join(kept) + "\r\n")


def _filename(fields: Fields) -> str | None:
    name = fields.get_filename()
    if name is None:
        return None
    if "=?" in name:  # no form of RFC 2231, but that of many programs
        name = decoded(name.encode("utf-8", "surrogateescape"))
    return _clean(name)


def _without_encoding(octets: bytes, encoding: str) -> bytes:
    """Decoded as far as it is one; what is broken is read as far as it goes."""
    if encoding == "base64":
        word = _NOT_BASE64.sub(b"", octets.partition(b"=")[0])
        word = word[:-1] if len(word) % 4 == 1 else word
        return binascii.a2b_base64(word + b"=" * (-len(word) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(octets)
    return octets


def _text(octets: bytes, charset: str | None = None) -> str:
    """As ``charset`` says, else UTF-8; what cannot be read becomes U+FFFD."""
    name = "utf-8"
    if charset is not None:
        try:
            name = codecs.lookup(charset).name
        except (LookupError, ValueError):
            pass
        if not _CHARSET.match(name) or name == "ascii":
            name = "utf-8"
    return _clean(octets.decode(name, "replace"))


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, which are no Unicode."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
