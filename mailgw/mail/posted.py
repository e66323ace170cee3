"""A message as programs post it, in JSON, and what that comes to: an envelope, and octets that the queue takes.

RFC 5322 and MIME by ``mail.written``.

Rules:
    Every fault names the field that it is in.
    Nobody in ``bcc`` stands in the message.
    No value writes a field of its own (``mail.written``).
"""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar

import attrs
import msgspec

from mailgw.mail.address import Mailbox, is_shapely
from mailgw.mail.from_field import addresses_in_field, bodies_of
from mailgw.mail.header import header_end
from mailgw.mail.json_fault import json_fault
from mailgw.mail.slip import BadSlip, envid_of, moment, notify_of, returns_of
from mailgw.mail.written import Enclosed, Person, Writing, completed, is_line, is_ours, person, written

T = TypeVar("T")

MOST_ATTACHMENTS: Final = 100
MOST_HEADERS: Final = 100
MOST_TAGS: Final = 10
MOST_METADATA: Final = 20
METADATA_CHARACTERS: Final = 512
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_ID = re.compile(r"[!#-;=?-~]{1,200}\Z")  # without quotes and angle brackets

Text = Annotated[str, msgspec.Meta(max_length=998)]
Address = Annotated[str, msgspec.Meta(max_length=998, examples=["Ann Lee <ann@example.org>"])]
Addresses = Address | list[Address]


class PostedAttachment(msgspec.Struct, forbid_unknown_fields=True):
    """``content`` in base64.  With a ``content_id`` it is shown within the HTML, which names it as ``cid:...``."""

    content: bytes
    filename: Annotated[str, msgspec.Meta(max_length=255)] = ""
    media_type: Annotated[str, msgspec.Meta(max_length=255)] = "application/octet-stream"
    content_id: Annotated[str, msgspec.Meta(max_length=200)] = ""


class PostedEnvelope(msgspec.Struct, forbid_unknown_fields=True):
    """Other addresses than the header's: ``reverse_path`` (``""``: nobody hears of it), ``recipients``; and what
    reports on delivery are wanted (RFC 3461)."""

    reverse_path: Address | None = None
    recipients: list[Address] | None = None
    notify: list[str] = msgspec.field(default_factory=list)
    returns: str = ""
    envid: Annotated[str, msgspec.Meta(max_length=100)] = ""


class Posted(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """``send_at``: seconds since the epoch, or a time of RFC 3339.  ``tags`` and ``metadata`` are the poster's own, to
    find messages by, and come back with each event; they are not in the message."""

    from_: Address
    to: Addresses = msgspec.field(default_factory=list)
    cc: Addresses = msgspec.field(default_factory=list)
    bcc: Addresses = msgspec.field(default_factory=list)
    reply_to: Addresses = msgspec.field(default_factory=list)
    subject: Text = ""
    text: str = ""
    html: str = ""
    headers: dict[str, Text] = msgspec.field(default_factory=dict)
    attachments: list[PostedAttachment] = msgspec.field(default_factory=list)
    send_at: float | str | None = None
    tags: list[str] = msgspec.field(default_factory=list)
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    envelope: PostedEnvelope = msgspec.field(default_factory=PostedEnvelope)


class Unsendable(Exception):
    """What was posted cannot be sent, and its ``field`` (``"attachments[0].media_type"``; ``""``: all of it) says why
    not."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, why)
        self.field = field
        self.why = why

    def __str__(self) -> str:
        return f"{self.field}: {self.why}" if self.field else self.why


@attrs.frozen
class Wishes:
    """What is wanted of a message beside its delivery, checked."""

    send_at: float | None = None
    notify: tuple[str, ...] = ()
    returns: str = ""
    envid: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = attrs.Factory(dict)


@attrs.frozen
class Composed:
    """``recipients`` each once, at least one; ``octets`` with CRLF line ends, Date and Message-ID."""

    reverse_path: Mailbox | None
    recipients: tuple[Mailbox, ...]
    octets: bytes = attrs.field(repr=False)
    wishes: Wishes
    subject: str = ""

    @property
    def needs_utf8(self) -> bool:
        """RFC 6531 s3.6: SMTPUTF8 where an address or the header needs it."""
        paths = self.recipients if self.reverse_path is None else (self.reverse_path, *self.recipients)
        end = header_end(self.octets)
        return not (self.octets[:end].isascii() and all(path.is_ascii for path in paths))


@attrs.frozen
class RawOptions:
    """Of a message that was posted as it is: what overrides its header."""

    reverse_path: str | None = None
    recipients: Sequence[str] = ()
    send_at: float | str | None = None
    tags: Sequence[str] = ()
    metadata: dict[str, str] = attrs.Factory(dict)


_DECODER = msgspec.json.Decoder(Posted)
_WHERE = re.compile(r" - at `\$\.?(.*)`\Z")
_KEY = re.compile(r"\AObject (?:contains unknown|(missing) required) field `(.*?)`")


def posted_of(octets: bytes) -> Posted:
    """Unsendable where they are no such JSON."""
    try:
        return _DECODER.decode(octets)
    except msgspec.ValidationError as fault:
        words = str(fault)
        found, key = _WHERE.search(words), _KEY.search(words)
        field = ".".join(filter(None, (found[1] if found else "", key[2] if key else "")))
        if key:
            raise Unsendable(field, "is missing" if key[1] else "unknown key") from None
        raise Unsendable(_with_key(field, octets), _WHERE.sub("", words)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Unsendable("", f"not JSON: {json_fault(fault, octets)}") from None
    except RecursionError:
        raise Unsendable("", "nested too deeply") from None


def _with_key(field: str, octets: bytes) -> str:
    """``metadata[...]``, as msgspec has it, with the key whose value is none; anything else as it is."""
    name = field.removesuffix("[...]")
    kind = {"metadata": str, "headers": Text}.get(name)
    if field == name or kind is None:
        return field
    for key, value in msgspec.json.decode(octets)[name].items():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            return f"{name}.{key:.100}"
    return name


def composed(posted: Posted, now: float, message_id: str) -> Composed:
    """Unsendable where something cannot be sent so."""
    author = _in("from", person, posted.from_)
    to, cc, bcc, reply_to = (
        _people(name, value) for name, value in
        (("to", posted.to), ("cc", posted.cc), ("bcc", posted.bcc), ("reply_to", posted.reply_to))
    )
    for name, value in (("to", to), ("cc", cc), ("bcc", bcc)):
        _most(name, value, 10_000)
    _most("headers", posted.headers, MOST_HEADERS)
    _most("attachments", posted.attachments, MOST_ATTACHMENTS)
    if reply_to and any(name.lower() == "reply-to" for name in posted.headers):
        raise Unsendable("headers", "Reply-To stands in reply_to already")
    if not is_line(posted.subject):
        raise Unsendable("subject", "expected one line")
    for name in posted.headers:
        if is_ours(name):
            raise Unsendable(f"headers.{name}", "is not to be set by hand: there is a key for it")
        if not is_line(posted.headers[name]):
            raise Unsendable(f"headers.{name}", "expected one line")
    wishes = _wishes(
        posted.send_at, posted.tags, posted.metadata, posted.envelope.notify, posted.envelope.returns,
        posted.envelope.envid,
    )
    files = [_enclosed(f"attachments[{at}]", one) for at, one in enumerate(posted.attachments)]
    if any(one.content_id for one in files) and not posted.html:
        raise Unsendable("attachments", "a content_id is for what html shows, and there is none")
    writing = Writing(author, to, cc, posted.subject, posted.text, posted.html, files, posted.headers, reply_to)
    try:
        octets = written(writing, now, message_id)
    except ValueError as fault:
        raise Unsendable("", str(fault)) from None
    recipients = [one.mailbox for one in (*to, *cc, *bcc)]
    path, over = _overridden(author.mailbox, recipients, posted.envelope.reverse_path, posted.envelope.recipients)
    return Composed(path, over, octets, wishes, posted.subject[:200])


def composed_raw(octets: bytes, options: RawOptions, now: float, message_id: str) -> Composed:
    """Of a message of RFC 5322 (line ends CRLF or LF): its envelope is that of its header, as far as ``options`` do not
    say otherwise.  Unsendable as ``composed``."""
    try:
        whole = completed(octets, now, message_id)
    except ValueError as fault:
        raise Unsendable("", str(fault)) from None
    header = _header_of(octets)  # Bcc is still there
    author = _only_address(header, b"from")
    recipients: list[Mailbox] = []
    if not options.recipients:
        for name in (b"to", b"cc", b"bcc"):
            recipients += _addresses(header, name)
    named = list(options.recipients) or None
    path, over = _overridden(author, recipients, options.reverse_path, named)
    wishes = _wishes(options.send_at, options.tags, options.metadata, (), "", "")
    return Composed(path, over, whole, wishes)


def addresses_of(header: bytes, names: Sequence[bytes]) -> list[Mailbox]:
    """All addresses of all fields of these names, in their order.  Unsendable where one is malformed."""
    return [one for name in names for one in _addresses(header, name)]


# --- below ----------------------------------------------------------------------------------------------------

def _header_of(octets: bytes) -> bytes:
    found = _EMPTY_LINE.search(octets)
    return octets if found is None else octets[:found.end()]


def _only_address(header: bytes, name: bytes) -> Mailbox:
    found = _addresses(header, name)
    if not found:
        raise Unsendable("From", "is missing")
    return found[0]


def _addresses(header: bytes, name: bytes) -> list[Mailbox]:
    found: list[Mailbox] = []
    for body in bodies_of(header, name)[0]:
        if not body.strip():
            continue
        addresses = addresses_in_field(body)
        if addresses is None:
            raise Unsendable(name.decode().title(), "its addresses cannot be read")
        found += addresses
    return found


def _overridden(
    author: Mailbox, recipients: Sequence[Mailbox], reverse_path: str | None, others: Sequence[str] | None
) -> tuple[Mailbox | None, tuple[Mailbox, ...]]:
    path: Mailbox | None = author
    if reverse_path is not None:
        path = None if reverse_path in ("", "<>") else _in("envelope.reverse_path", person, reverse_path).mailbox
    if others is not None:
        recipients = [_in(f"envelope.recipients[{at}]", person, one).mailbox for at, one in enumerate(others)]
    if not recipients:
        raise Unsendable("envelope.recipients" if others is not None else "to", "nobody to send it to")
    return path, tuple(dict.fromkeys(recipients))


def _wishes(
    send_at: float | str | None, tags: Sequence[str], metadata: dict[str, str], notify: Sequence[str], returns: str,
    envid: str,
) -> Wishes:
    _most("tags", tags, MOST_TAGS)
    for at, tag in enumerate(tags):
        if not _TAG.match(tag):
            raise Unsendable(f"tags[{at}]", "expected 1 to 64 letters, digits and _ . : -")
    _most("metadata", metadata, MOST_METADATA)
    for name, value in metadata.items():
        if not _TAG.match(name):
            raise Unsendable("metadata", f"{name!r:.100}: expected 1 to 64 letters, digits and _ . : -")
        if len(value) > METADATA_CHARACTERS or not is_shapely(value):
            raise Unsendable(f"metadata.{name}", f"expected one line of at most {METADATA_CHARACTERS} characters")
    said = tuple(dict.fromkeys(word.lower() for word in notify))
    _in("envelope.notify", notify_of, said)
    _in("envelope.returns", returns_of, returns.lower())
    _in("envelope.envid", envid_of, envid)
    at_time = None if send_at is None else _in("send_at", moment, send_at)
    return Wishes(at_time, said, returns.lower(), envid, tuple(dict.fromkeys(tags)), dict(metadata))


def _people(name: str, value: str | Sequence[str]) -> list[Person]:
    if isinstance(value, str):
        return [_in(name, person, value)]
    return [_in(f"{name}[{at}]", person, one) for at, one in enumerate(value)]


def _enclosed(name: str, one: PostedAttachment) -> Enclosed:
    if one.content_id and not _ID.match(one.content_id):
        raise Unsendable(f"{name}.content_id", "expected printable ASCII without spaces, quotes and angle brackets")
    return Enclosed(one.filename, one.content, one.media_type, one.content_id)


def _in(field: str, read: Callable[..., T], value: object) -> T:
    try:
        return read(value)
    except (BadSlip, ValueError) as fault:
        raise Unsendable(field, str(fault)) from None


def _most(field: str, value: Sequence[object] | dict[str, str], most: int) -> None:
    if len(value) > most:
        raise Unsendable(field, f"has {len(value)}: at most {most} are taken")
