"""A message read and put into JSON (RFC 8259), as a web hook gets it.  Pure, and slow for large ones: for a thread.

Rules:
    ``mail.letter`` reads it, under limits.  What is beyond them, or cannot be read, is not lost: the whole message is
    in ``raw`` then, and ``unread`` says why.
    The text is valid Unicode, whatever came.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

from mailgw.deliver.webhook_settings import JsonLimits
from mailgw.mail.address import Mailbox
from mailgw.mail.header import header_end
from mailgw.mail.letter import Attachment, LetterLimits, parse_letter
from mailgw.mail.message import Message

# Of a message of the most octets that are the default: lines of 20 characters.
MOST_LINES: Final = 500_000
# As much as the header of a message may have that is received by default, four times.
MOST_HEADER_OCTETS: Final = 1 << 20
_END = re.compile(rb"\r\n(?![ \t])")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_NAME = re.compile(rb"[!-9;-~]+\Z")  # RFC 5322 s3.6.8: ftext


def content_members(octets: bytes, limits: JsonLimits) -> bytes:
    """The members of a JSON object, without its braces: ``"headers": …, "subject": …, …``."""
    letter = parse_letter(octets, LetterLimits(
        limits.octets, MOST_LINES, MOST_HEADER_OCTETS, limits.parts, limits.nesting))
    unread = letter.fault
    attachments: list[dict[str, object]] = []
    if unread is None:
        try:
            attachments = [_attachment(one) for one in letter.attachments]
        except Exception as fault:  # noqa: BLE001 - of ``email``, of which nobody knows all; the message is in ``raw``
            unread = f"it cannot be read ({type(fault).__name__})"
    found: dict[str, object] = {
        "headers": [[name, value] for name, value in _fields(octets[:MOST_HEADER_OCTETS])],
        "subject": letter.subject if "subject" in letter.fields else None,
        "text": letter.text or None if unread is None else None,
        "html": letter.html or None if unread is None else None,
        "attachments": attachments,
        "unread": unread,
        "raw": None if unread is None else base64.b64encode(octets).decode("ascii"),
    }
    # Halves of surrogate pairs are no Unicode.
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))[1:-1]
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


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
        "tags": list(message.tags),
    }
    return b'"envelope":' + json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def _attachment(one: Attachment) -> dict[str, object]:
    octets = one.octets
    return {
        "filename": one.filename or None,
        "content_type": one.content_type,
        "content_id": one.content_id or None,
        "is_inline": one.is_inline,
        "size_octets": len(octets),
        "base64": base64.b64encode(octets).decode("ascii"),
    }


def _fields(octets: bytes) -> Iterator[tuple[str, str]]:
    """Names and values of the header, in their order, unfolded; a line that is none is left out."""
    end = header_end(octets)
    for line in _END.split(octets[:end] if end >= 0 else octets):
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t")
        if colon and _NAME.match(name):
            yield name.decode("ascii"), _FOLD.sub(b"", value).strip().decode("utf-8", "replace")
