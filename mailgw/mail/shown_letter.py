"""A message as people look at it: a line for a list, its texts, its parts, its links.

RFC 2392 (cid: URLs).  Reading is ``mail.letter``'s, whose limits and names of files hold here; HTML is
``mail.shown_html``'s.  Beyond a limit there is the header alone, and ``fault`` says why.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

import attrs

from mailgw.mail.encoded_words import decoded
from mailgw.mail.from_field import addresses_in_field, bodies_of
from mailgw.mail.header import header_end
from mailgw.mail.letter import Attachment, Branch, Letter, LetterLimits, parse_letter
from mailgw.mail.shown_html import Link, ShownHtml, links_in, shown_html, text_of

LIMITS: Final = LetterLimits()
MAX_TEXT: Final = 1 << 20
"""Characters of its text that are shown."""
MAX_FIELDS: Final = 1000
MAX_FIELD: Final = 4096
SEARCHED: Final = 64 * 1024
"""Characters of its text that are looked through by a search."""
MAX_WORDS: Final = 500
"""Of a subject, an author, a date, in a list."""
MAX_ADDRESSED: Final = 16 * 1024

INLINE_OCTETS: Final = 8 << 20
"""Of all images together that are put into the HTML itself: whoever shows it in a frame without an origin, as it should
be, sends no cookie for others, so they could not be fetched there."""
IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/avif"})
"""What a browser shows, and runs nothing of.  SVG may hold scripts."""

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:", re.MULTILINE)


@attrs.frozen
class Digest:
    """``author`` and ``to`` as they are written; ``addressed`` the addresses in To and Cc, in lower case;
    ``text`` what a search looks through, casefolded."""

    subject: str
    author: str
    to: str
    addressed: tuple[str, ...]
    date: str
    message_id: str
    attachments: int
    text: str


@attrs.frozen
class Shown:
    """``fields`` in their order, decoded; ``text`` and ``html`` as they are in it; ``links`` of both."""

    fields: tuple[tuple[str, str], ...]
    text: str
    has_html: bool
    attachments: tuple[Attachment, ...]
    links: tuple[Link, ...]
    remote: tuple[str, ...]
    remote_count: int
    is_cut: bool
    fault: str | None
    structure: tuple[Branch, ...]


def letter_of(octets: bytes) -> Letter:
    return parse_letter(octets, LIMITS)


def digest(octets: bytes) -> Digest:
    letter = letter_of(octets)
    header = _header(octets)
    fields = letter.fields
    text = letter.text[:SEARCHED] or text_of(letter.html, SEARCHED)
    return Digest(
        letter.subject[:MAX_WORDS], fields.get("from", "")[:MAX_WORDS], fields.get("to", "")[:MAX_WORDS],
        _addressed(header), fields.get("date", "")[:MAX_WORDS],
        fields.get("message-id", "").strip("<> ")[:MAX_WORDS], len(letter.attachments), text.casefold()[:SEARCHED],
    )


def shown(octets: bytes) -> Shown:
    letter = letter_of(octets)
    html = _html(letter, "") if letter.html else None
    links = {(one.text, one.target): one for one in html.links} if html is not None else {}
    for one in links_in(letter.text):
        if not any(one.target == known.target for known in links.values()):
            links[one.text, one.target] = one
    return Shown(
        tuple(_fields(_header(octets))), letter.text[:MAX_TEXT], bool(letter.html), letter.attachments,
        tuple(links.values()), () if html is None else html.remote, 0 if html is None else html.remote_count,
        len(letter.text) > MAX_TEXT or (html is not None and html.is_cut), letter.fault, letter.structure,
    )


def html_document(octets: bytes, part_url: str) -> str | None:
    """To be shown in a frame that may do nothing; None where it has no HTML.  ``part_url``, with the number of a part
    behind it, is where the images are that are too large to be put in."""
    letter = letter_of(octets)
    return _html(letter, part_url).document if letter.html else None


def part(octets: bytes, number: int) -> Attachment | None:
    """The attachment of that number, from 0; None where there is none."""
    attachments = letter_of(octets).attachments
    return attachments[number] if 0 <= number < len(attachments) else None


def content_type(attachment: Attachment) -> str:
    """Its own where that is a whole one, of a few plain characters: it goes into a header of HTTP."""
    return media_type(attachment.content_type)


def media_type(word: str) -> str:
    """``word`` where it is a whole one, else that of any octets."""
    return word if re.match(r"[a-z0-9][a-z0-9.+_-]{0,60}/[a-z0-9][a-z0-9.+_-]{0,80}\Z", word) else OCTETS


OCTETS: Final = "application/octet-stream"


def _html(letter: Letter, part_url: str) -> ShownHtml:
    left = INLINE_OCTETS
    known: dict[str, str | None] = {}

    def source_of(content_id: str) -> str | None:
        nonlocal left
        if content_id not in known:
            known[content_id], cost = _image(letter.attachments, content_id, part_url, left)
            left -= cost
        return known[content_id]

    return shown_html(letter.html, source_of)


def _image(attachments: Sequence[Attachment], content_id: str, part_url: str, left: int) -> tuple[str | None, int]:
    wanted = {content_id, unquote(content_id)}
    for number, one in enumerate(attachments):
        if one.content_id not in wanted or not one.content_id or one.content_type not in IMAGES:
            continue
        pieces, size = [], 0
        for piece in one.pieces():
            pieces.append(piece)
            size += len(piece)
            if size > left:
                return f"{part_url}{number}", 0
        return f"data:{one.content_type};base64,{base64.b64encode(b''.join(pieces)).decode()}", size
    return None, 0


def _header(octets: bytes) -> bytes:
    end = header_end(octets[:LIMITS.header_octets + 4])
    return octets[:end] if end >= 0 else octets[:LIMITS.header_octets]


def _addressed(header: bytes) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in (b"to", b"cc"):
        for body in bodies_of(header, name)[0]:
            for address in addresses_in_field(body) or ():
                found[str(address).lower()] = None
    kept, size = [], 0
    for one in found:
        size += len(one) + 1
        if size > MAX_ADDRESSED:
            break
        kept.append(one)
    return tuple(kept)


def _fields(header: bytes) -> Sequence[tuple[str, str]]:
    starts = [*_FIELD.finditer(header)][:MAX_FIELDS]
    found = []
    for one, following in zip(starts, [*starts[1:], None], strict=False):  # of no fields there is no following one
        body = header[one.end():following.start() if following is not None else len(header)]
        found.append((one[1].decode("ascii", "replace")[:MAX_WORDS], decoded(body[:MAX_FIELD], MAX_FIELD)))
    return found
