"""A message that a program of this machine leaves for the gateway: a file of the maildrop, and the message it becomes.

The first line of the file is JSON: who is to get it, whom failures go to, and what is asked for; what the program wrote
follows.

Rules:
    A file is whole once its group may read it (mode 0640): who writes it gives it that mode last, and syncs it then.
    Who sent it says the file's owner, not its content.
    Addresses without a domain are of this host: programs write "root" (RFC 6409 s8.1 lets us say so).
    A CR without an LF is no fault: programs draw progress with it.  In the text it ends a line; in the header it is a
    space, so that what stands behind it is no field of its own.
"""

import re
from typing import Final

import msgspec

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.address_list import addresses_of_list
from mailgw.mail.from_field import FIELDS, bodies_of
from mailgw.mail.header import has_field, starts_with_field
from mailgw.mail.written import Person, completed, people_field

GROUP_READS: Final = 0o040
BAD: Final = ".bad"
"""At the end of the name of what cannot be sent, and stays."""
MOST_HEAD_OCTETS: Final = 4 << 20
_BARE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}\Z")
_MBOX_FROM = re.compile(rb"From [^\n]*\n")
_EMPTY_LINE = re.compile(rb"\n\r*+\n")
_BARE_CR = re.compile(rb"\r(?!\n)")
_CRS = re.compile(rb"\r++(\n?)")
LONGEST_NAME: Final = 200
"""Of characters of ``Drop.name`` that are shown: with an address of any length they stand in one line."""
# Controls, and halves of characters (surrogates): what came as other octets than UTF-8
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FIELDS: Final = ("From", "Sender", "Reply-To", "To", "Cc")


class Drop(msgspec.Struct, frozen=True, omit_defaults=True):
    """Addresses are text, perhaps without a domain; ``reverse_path`` ``""``: nobody hears of failures.  ``name`` stands
    beside the author where the message does not say who that is.  ``notify``, ``returns`` and ``envid`` as a slip has
    them."""

    reverse_path: str
    recipients: tuple[str, ...]
    name: str = ""
    notify: tuple[str, ...] = ()
    returns: str = ""
    envid: str = ""


class BadDrop(ValueError):
    """The file is none, or its message cannot be sent."""


_DECODER = msgspec.json.Decoder(Drop)


def drop_octets(drop: Drop, message: bytes) -> bytes:
    return msgspec.json.encode(drop) + b"\n" + message


def read_drop(octets: bytes) -> tuple[Drop, bytes]:
    """And what the program wrote.  BadDrop."""
    end = octets.find(b"\n", 0, MOST_HEAD_OCTETS + 1)
    if end < 0:
        raise BadDrop("its first line is no JSON")
    try:
        return _DECODER.decode(octets[:end]), octets[end + 1:]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadDrop(f"its first line: {fault}") from None


def addresses_of(header: bytes, names: tuple[str, ...]) -> list[str]:
    """Those of all fields of these names, perhaps without a domain.  BadDrop where one of the fields cannot be read as
    a whole: nothing is made up, and nobody left out."""
    found = []
    for name in names:
        bodies = bodies_of(header, name.encode())[0]
        if len(bodies) > FIELDS:
            raise BadDrop(f"there are more than {FIELDS} fields {name}")
        for body in bodies:
            found += listed(body.decode("utf-8", "replace"), name)
    return found


def listed(text: str, name: str) -> list[str]:
    """The addresses in one field, or one word of a command line, perhaps without a domain.  BadDrop, which calls it by
    its ``name``."""
    people = addresses_of_list(text)
    if people is None:
        raise BadDrop(f"{name}: the addresses cannot be read: {' '.join(text.split())!r:.300}")
    return [checked(one.address) for one in people]


def checked(address: str) -> str:
    """BadDrop where it is no address, nor a name of this host's."""
    qualified(address, "localhost")
    return address


def qualified(address: str, hostname: str) -> Mailbox:
    """BadDrop where it is no address."""
    found = parse_mailbox(f"{address}@{hostname}" if _BARE.match(address) else address)
    if found is None:
        raise BadDrop(f"{address!r:.300} is no address")
    return found


def header_of(octets: bytes) -> bytes:
    """With its CRs as they came; b"" where there is none."""
    if not starts_with_field(octets):
        return b""
    found = _EMPTY_LINE.search(octets)
    return octets if found is None else octets[:found.end()]


def without_bare_crs(octets: bytes, instead: bytes) -> bytes:
    """``instead`` of each; those in front of a line end belong to it ("\\r\\r\\n" is one)."""
    if _BARE_CR.search(octets) is None:
        return octets
    return _CRS.sub(lambda found: b"\r\n" if found[1] else instead * len(found[0]), octets)


def shown_name(text: str) -> str:
    """In one line, no longer than ``LONGEST_NAME``, without what is no text."""
    return " ".join(_NO_TEXT.sub(" ", text).split())[:LONGEST_NAME].rstrip()


def message_of(octets: bytes, drop: Drop, hostname: str, now: float, message_id: str) -> bytes:
    """The message that is to be sent, with CRLF line ends, From, Date and Message-ID, and without Bcc.  BadDrop where
    there is none in it."""
    octets = _MBOX_FROM.sub(b"", octets, count=1) if octets.startswith(b"From ") else octets
    header = header_of(octets)
    body = without_bare_crs(octets[len(header):], b"\r\n")
    header = without_bare_crs(header, b" ")
    whole, added = _with_domains(header, hostname) or b"\n", b""
    try:
        if not has_field(header, b"From"):
            author = drop.reverse_path or "MAILER-DAEMON"
            added = people_field("From", [Person(qualified(author, hostname), shown_name(drop.name))]).encode()
        return completed(added + whole + body, now, message_id)
    except ValueError as fault:
        raise BadDrop(str(fault)) from None


def _with_domains(header: bytes, hostname: str) -> bytes:
    """Where a field of addresses has one without a domain, it is written anew, with that."""
    for name in _FIELDS:
        for body in bodies_of(header, name.encode())[0]:
            pairs = addresses_of_list(body.decode("utf-8", "replace")) or ()  # as it came, where it is none
            if not any(_BARE.match(address) for _, address in pairs):
                continue
            try:
                people = [Person(qualified(address, hostname), _plain(shown)) for shown, address in pairs]
                field = people_field(name, people).encode()
            except ValueError:
                continue  # as it came: a rule may have an opinion on it
            at = header.find(b":" + body)
            start = header.rfind(b"\n", 0, at) + 1
            header = header[:start] + field.removesuffix(b"\r\n") + header[at + 1 + len(body):]
    return header


def _plain(name: str) -> str:
    return " ".join(name.split())
