"""Letters of an application's own: header, text, attachments, into octets that the queue takes.

RFC 5322 s2.2.3 (folding), s3.6; RFC 2047 and MIME by the standard ``email`` package.

Rules:
    No value writes a field of its own: a CR, LF or NUL in whatever goes into the header is a ValueError, and so is a
    field that is ours to write.
    Line ends are CRLF, Date and Message-ID are there, Bcc is not.
"""

import re
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final, TypeAlias

import attrs

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.encoded_words import encoded, in_encoded_words
from mailgw.mail.header import date_text, has_field, header_end, starts_with_field, without_private_fields
from mailgw.mail.letter import Attachment

MAX_LINE_OCTETS: Final = 998  # RFC 5322 s2.1.1, without the CRLF
_FOLD_AT: Final = 78
_MANY_LINES: Final = 100_000
_SHORT_LINE: Final = 8
_UNFOLDABLE = re.compile(rf"[^ ]{{{_FOLD_AT},}}| {{{_FOLD_AT},}}")
_BREAKS = re.compile(r"[\r\n\0]")
_NAME = re.compile(r"[!-9;-~]+\Z")
_TYPE = re.compile(r"([A-Za-z0-9!#$&^_.+-]+)/([A-Za-z0-9!#$&^_.+-]+)\Z")
_NAMED = re.compile(r"(.*)<([^<>]*)>\s*\Z", re.DOTALL)
# RFC 5322 s3.2.3: a phrase of atoms needs no quotes
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")
_OURS: Final = frozenset((
    "from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "return-path", "received",
))
_BARE_LF = re.compile(rb"(?<!\r)\n")
_BARE_CR = re.compile(rb"\r(?!\n)")

@attrs.frozen
class Enclosed:
    """A file; with a ``content_id`` (without brackets) it is shown within the HTML, as ``cid:...`` there."""

    filename: str
    octets: bytes = attrs.field(repr=False)
    media_type: str
    content_id: str = ""


File: TypeAlias = Attachment | Enclosed | tuple[str, bytes] | tuple[str, bytes, str]
"""A letter's attachment, one to be enclosed, or (filename, octets), or (filename, octets, "image/png")."""


@attrs.frozen
class Person:
    """An address, and the name beside it, ``""`` for none."""

    mailbox: Mailbox
    name: str = ""


@attrs.frozen
class Writing:
    """What is to be written.  ``fields`` are more of the header's, by their names."""

    author: Person
    to: Sequence[Person]
    cc: Sequence[Person] = ()
    subject: str = ""
    text: str = ""
    html: str = ""
    attachments: Sequence[File] = ()
    fields: Mapping[str, str] = attrs.Factory(dict)
    reply_to: Sequence[Person] = ()


def person(value: Mailbox | str) -> Person:
    """A mailbox, ``"ann@example.org"`` or ``"Ann Lee <ann@example.org>"``; ValueError where it is none."""
    if isinstance(value, Mailbox):
        return Person(value)
    name, address = "", value
    if isinstance(value, str) and (found := _NAMED.match(value)) is not None:
        name, address = found[1].strip().strip('"').strip(), found[2]
    mailbox = parse_mailbox(address.strip()) if isinstance(address, str) else None
    if mailbox is None or _BREAKS.search(value):
        raise ValueError(f'expected an address such as "ann@example.org" or "Ann <ann@example.org>", not {value!r}')
    return Person(mailbox, name)


def written(writing: Writing, now: float, message_id: str) -> bytes:
    """The letter, with ``Date`` of ``now`` and ``<message_id>``.  ValueError where something cannot stand in one."""
    lines = [
        people_field("From", [writing.author]),
        *([people_field("To", writing.to)] if writing.to else []),
        *([people_field("Cc", writing.cc)] if writing.cc else []),
        *([people_field("Reply-To", writing.reply_to)] if writing.reply_to else []),
        _subject(writing.subject),
        *_completion(now, message_id),
        *[_field(*item) for item in writing.fields.items() if _is_free(item[0])],
    ]
    body = _body(writing, message_id)
    if b"\0" in body or _BARE_LF.search(body) or _BARE_CR.search(body):
        raise ValueError("it has an attachment that email cannot write")
    return "".join(lines).encode() + body


def completed(octets: bytes, now: float, message_id: str) -> bytes:
    """A letter that somebody else wrote, with CRLF line ends, Date and Message-ID, and without Bcc.  ValueError where
    it has no header, or holds bare CRs or NULs."""
    octets = _BARE_LF.sub(b"\r\n", octets)
    if b"\0" in octets or _BARE_CR.search(octets):
        raise ValueError("a message holds no NUL, and no CR without an LF: encode it")
    if not starts_with_field(octets):
        raise ValueError("a message begins with a header")
    end = header_end(octets)
    if end < 0:
        octets += b"\r\n" if octets.endswith(b"\r\n") else b"\r\n\r\n"
        end = len(octets)
    header = without_private_fields(octets[:end])
    more = [field for field in _completion(now, message_id) if not has_field(header, field.partition(":")[0].encode())]
    return "".join(more).encode() + header + octets[end:]


def _completion(now: float, message_id: str) -> list[str]:
    return [f"Date: {date_text(int(now))}\r\n", f"Message-ID: <{message_id}>\r\n"]


def is_ours(name: str) -> bool:
    """Whether a field of this name is written by what a ``Writing`` says otherwise."""
    return name.lower() in _OURS or name.lower().startswith("content-")


def is_line(text: str) -> bool:
    """Whether it could stand in a field."""
    return _BREAKS.search(text) is None


def _is_free(name: str) -> bool:
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"{name!r} is no name of a field")
    if is_ours(name):
        raise ValueError(f"the field {name} is not to be set by hand: there are arguments for it")
    return True


def _subject(text: str) -> str:
    """It may be a stranger's, who writes what has no place to fold."""
    if isinstance(text, str) and _UNFOLDABLE.search(text) and not _BREAKS.search(text):
        return f"Subject: {in_encoded_words(text)}\r\n"
    return _field("Subject", text)


def _field(name: str, value: str) -> str:
    if not isinstance(value, str) or _BREAKS.search(value):
        raise ValueError(f"{name}: expected text of one line, not {value!r}")
    if not value.isascii():
        return f"{name}: {encoded(value)}\r\n"
    lines = [f"{name}:"]
    for word in value.split(" "):
        if len(lines[-1]) + 1 + len(word) > _FOLD_AT and word and lines[-1] != f"{name}:":
            lines.append("")
        lines[-1] += f" {word}"
        if len(lines[-1]) > MAX_LINE_OCTETS:
            raise ValueError(f"{name}: a word is longer than a line, {MAX_LINE_OCTETS} characters")
    return "\r\n".join(lines) + "\r\n"


def people_field(name: str, people: Sequence[Person]) -> str:
    """A field of addresses, with its line end.  ValueError where a name cannot stand in one."""
    words = [_address(one) for one in people]
    if any(len(line) > MAX_LINE_OCTETS - len("Subject: ") for word in words for line in word.split("\r\n")):
        raise ValueError(f"{name}: a name is longer than a line, {MAX_LINE_OCTETS} characters")
    return f"{name}: " + ",\r\n\t".join(words) + "\r\n"


def _address(one: Person) -> str:
    if _BREAKS.search(one.name):
        raise ValueError(f"expected a name of one line, not {one.name!r}")
    if not one.name:
        return f"{one.mailbox}"
    name = one.name
    if not name.isascii():
        name = encoded(name)
    elif not _ATOMS.match(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{one.mailbox}>"


def _body(writing: Writing, message_id: str) -> bytes:
    """With the fields that say what it is.  Nobody can have known ``message_id``."""
    message = EmailMessage(policy=SMTP)
    if writing.text or not writing.html:
        message.set_content(writing.text, cte=_encoding(writing.text))
        if writing.html:
            message.add_alternative(writing.html, subtype="html", cte=_encoding(writing.html))
    else:
        message.set_content(writing.html, subtype="html", cte=_encoding(writing.html))
    kept: dict[bytes, bytes] = {}
    for number, file in enumerate(writing.attachments):
        _attach(message, file, f"{number} {message_id}", kept)
    body = message.as_bytes()
    for place, octets in kept.items():
        body = body.replace(place, octets, 1)
    return body


def _encoding(text: str) -> str | None:
    """None: as ``email`` likes, which lets a NUL stand there, and no message holds one; and which takes half a
    microsecond for each line, of which there may be millions."""
    lines = text.count("\n")
    return "base64" if "\0" in text or (lines > _MANY_LINES and len(text) < _SHORT_LINE * lines) else None


def _attach(message: EmailMessage, file: File, place: str, kept: dict[bytes, bytes]) -> None:
    """What must not be encoded has ``place`` where it belongs, and is in ``kept``."""
    content_id = ""
    if isinstance(file, Attachment):
        filename, octets, kind = file.filename, file.octets, file.content_type
    elif isinstance(file, Enclosed):
        filename, octets, kind, content_id = file.filename, file.octets, file.media_type, file.content_id
    else:
        filename, octets, kind = file if len(file) == 3 else (*file, "application/octet-stream")
    if not isinstance(octets, bytes):
        raise ValueError(f"{filename!r}: octets must be bytes, not {type(octets).__name__}: encode the text")
    found = _TYPE.match(kind)
    if found is None or not isinstance(filename, str) or _BREAKS.search(filename):
        raise ValueError(f'expected (filename, octets, "image/png"), not a file {filename!r} of {kind!r}')
    maintype, subtype = found[1].lower(), found[2].lower()
    if maintype == "multipart":
        raise ValueError(f"{filename}: a {kind} is no file")
    inner = _message_within(octets) if (maintype, subtype) == ("message", "rfc822") else None
    if maintype == "message":
        # RFC 2046 s5.2, RFC 3464 s2.1: none of the kind is encoded, and ``email`` cannot write most of them.
        maintype, subtype = "application", "octet-stream"
    page = message.get_body(("html",)) if content_id else None
    if page is not None:
        # RFC 2387: what belongs to the page stands beside it.
        page.add_related(
            octets, maintype=maintype, subtype=subtype, filename=filename or None, cid=f"<{content_id}>",
            disposition="inline",
        )
        return
    message.add_attachment(octets, maintype=maintype, subtype=subtype, filename=filename or None)
    if inner is not None:
        # As it is: parsed and written anew it would lose its signatures, and strangers' fields take their time.
        *_, part = message.iter_attachments()
        part.replace_header("Content-Type", "message/rfc822")
        part.replace_header("Content-Transfer-Encoding", "7bit" if inner.isascii() else "8bit")
        part.set_payload(place)
        kept[place.encode()] = inner


def _message_within(octets: bytes) -> bytes | None:
    """With CRLF; None where it cannot stand in a message without an encoding."""
    octets = _BARE_LF.sub(b"\r\n", octets)
    if b"\0" in octets or _BARE_CR.search(octets):
        return None
    return octets if all(len(line) <= MAX_LINE_OCTETS for line in octets.split(b"\r\n")) else None
