"""Reports out of the octets that carry them: bare, by gzip, or in a zip archive; of DMARC or on TLS.

RFC 9990 s3.2 (gzip; zip as RFC 7489 has it), RFC 8460 s5.  What it is says the content itself: types and names of
files are wrong too often.

Rules:
    Of one message no more than ``dmarc_report_in.OCTETS`` are read in all, once inflated, whatever an archive says of
    itself; of one that DMARC does not vouch for, ``STRANGERS_OCTETS``.
    A message within the message is opened, as people forward reports, but none in that.
    An archive has ``MEMBERS`` members at most, each of which is one report; an archive in it is none.  So has gzip,
    whose members make one document.
    Of zip, members that are stored or deflated, and not encrypted: all that reporters write.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import attrs

from mailgw.mail.letter import Attachment, Letter, LetterLimits, parse_letter
from mailgw.trust.dmarc_report_in import DmarcReportIn, Room, read_dmarc_report
from mailgw.trust.report_words import Unreadable, line_of
from mailgw.trust.tls_report_in import TlsReportIn, read_tls_report

ARCHIVE_OCTETS: Final = 16 * 1024 * 1024
MEMBERS: Final = 10
ATTACHMENTS: Final = 10
"""Of one message that may be reports; others are not looked at, and told."""

_INNER: Final = LetterLimits(octets=24 * 1024 * 1024, parts=20, depth=5)
"""Of a message within the message."""

ReportIn: TypeAlias = DmarcReportIn | TlsReportIn

_TYPES = frozenset({
    "application/gzip", "application/x-gzip", "application/zip", "application/x-zip", "application/x-zip-compressed",
    "application/tlsrpt+gzip", "application/tlsrpt+json", "text/xml", "application/xml", "application/json",
})
_NAMES = re.compile(r"\.(?:xml|xml\.gz|gz|zip|json|json\.gz)\Z", re.IGNORECASE)
# PKWARE's APPNOTE s4.3.12: each member has one such header.  Counted before anybody makes objects of them.
_MEMBER = b"PK\x01\x02"
_WHITE = b" \t\r\n"
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@attrs.frozen
class Opened:
    """``reports`` that could be read, ``faults`` of what looked like one; both () where nothing did.  ``is_beyond``:
    a fault is that the message has more than its sender may bring."""

    reports: tuple[ReportIn, ...]
    faults: tuple[str, ...]
    is_beyond: bool = False


class _Fault(Exception):
    """Why a container cannot be opened."""


def reports_of(letter: Letter, room: Room | None = None) -> Opened:
    """What a message's attachments hold; never raises."""
    if letter.fault is not None:
        return Opened((), (letter.fault,))
    wanted = [one for found in letter.attachments for one in _within(found) if _may_be_report(one)]
    reports: list[ReportIn] = []
    faults: list[str] = []
    room = Room() if room is None else room
    for one in wanted[:ATTACHMENTS]:
        opened = _opened(one.octets, room)
        reports += opened.reports
        faults += [f"{one.filename or one.content_type}: {fault}" for fault in opened.faults]
    if len(wanted) > ATTACHMENTS:
        faults.append(f"it has more than {ATTACHMENTS} attachments that may be reports")
    return Opened(tuple(reports), tuple(faults), room.is_beyond)


def open_report(octets: bytes) -> Opened:
    """What one attachment holds; never raises."""
    return _opened(octets, Room())


def _within(one: Attachment) -> Sequence[Attachment]:
    """Those of a message within the message; else the attachment itself."""
    return parse_letter(one.octets, _INNER).attachments if one.content_type == "message/rfc822" else (one,)


def _take(room: Room, octets: bytes) -> bytes:
    """The same, once there is room for them; _Fault where there is none."""
    room.octets -= len(octets)
    if room.octets < 0:
        room.octets = 0
        raise _Fault(room.beyond(f"it inflates to more than {room.limits.octets} octets"))
    return octets


def _opened(octets: bytes, room: Room) -> Opened:
    reports: list[ReportIn] = []
    faults: list[str] = []
    try:
        for name, inner in _unpacked(octets, room):
            found = _read(inner, room)
            if isinstance(found, Unreadable):
                faults.append(f"{name}: {found.why}" if name else found.why)
            else:
                reports.append(found)
    except _Fault as fault:
        faults.append(str(fault))
    return Opened(tuple(reports), tuple(faults), room.is_beyond)


def _may_be_report(one: Attachment) -> bool:
    if one.content_type in _TYPES or _NAMES.search(one.filename) is not None:
        return True
    # Of octets that may be anything without a name that says more: what they begin with.
    return one.content_type == "application/octet-stream" and not one.filename and (
        next(one.pieces(), b"").startswith((b"\x1f\x8b", b"PK\x03\x04")))


def _read(octets: bytes, room: Room) -> ReportIn | Unreadable:
    start = octets[:256].lstrip(_WHITE)
    for mark in _MARKS:
        start = start.removeprefix(mark)
    match start.lstrip(_WHITE + b"\0")[:1]:
        case b"<":
            return read_dmarc_report(octets.lstrip(_WHITE), room)  # before a declaration expat takes no white space
        case b"{":
            return read_tls_report(octets)
        case _ if octets.startswith((b"\x1f\x8b", b"PK")):
            return Unreadable("an archive in an archive is not opened")
        case _:
            return Unreadable("it is neither XML nor JSON")


def _unpacked(octets: bytes, room: Room) -> Iterator[tuple[str, bytes]]:
    """Each document with the name that it has in its archive.  _Fault where that cannot be opened, or is too large."""
    if octets.startswith(b"\x1f\x8b"):
        yield "", _inflated(octets, room)
    elif octets.startswith(b"PK"):
        yield from _members(octets, room)
    else:
        yield "", _take(room, octets)


def _inflated(octets: bytes, room: Room) -> bytes:
    """RFC 1952 s2.2: members may follow each other; what else follows is passed over."""
    if len(octets) > ARCHIVE_OCTETS:
        raise _Fault(f"it has more than {ARCHIVE_OCTETS} octets")
    found = b""
    for _ in range(MEMBERS):
        stream = zlib.decompressobj(wbits=31)
        try:
            found += _take(room, stream.decompress(octets, room.octets + 1))
        except zlib.error:
            raise _Fault("its gzip is broken") from None
        if not stream.eof:
            raise _Fault("its gzip is cut off")
        octets = stream.unused_data
        if not octets.startswith(b"\x1f\x8b"):
            return found
    raise _Fault(f"its gzip has more than {MEMBERS} members")


def _members(octets: bytes, room: Room) -> Iterator[tuple[str, bytes]]:
    if len(octets) > ARCHIVE_OCTETS:
        raise _Fault(f"it has more than {ARCHIVE_OCTETS} octets")
    if octets.count(_MEMBER) > MEMBERS:
        raise _Fault(f"its archive has more than {MEMBERS} members")
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            for member in archive.infolist():
                if member.is_dir():
                    continue
                if member.flag_bits & 1:
                    raise _Fault("its archive is encrypted")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise _Fault("its archive is compressed in a way that is not read")
                with archive.open(member) as opened:
                    inner = _take(room, opened.read(room.octets + 1))
                yield line_of(member.filename, 100), inner
    except _Fault:
        raise
    except Exception as fault:  # noqa: BLE001 - zipfile has no list of what it raises
        raise _Fault(f"its archive is broken ({type(fault).__name__})") from None
