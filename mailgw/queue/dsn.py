"""What we tell people about their mail: bounces, delay warnings, delivery reports, copies for the postmaster.

RFC 3464 and 6522 (multipart/report), RFC 3461 s6 (what a report says), RFC 6533 (addresses beyond ASCII), RFC 3834 s5
(Auto-Submitted), RFC 2045.  The fields for programs are in ``queue.dsn_fields``, the words for people in
``queue.report_words`` with ``queue.causes``.

Rules:
    A notice has lines of at most 998 octets and is ASCII, so that every next hop takes it, with two exceptions: its
    reader's own address, and a returned message that is 8-bit itself (RFC 2046 s5.2.1 lets no encoding hide that).
    Words of a peer and octets of the failed message are data: none of them can begin a header field, a line
    of the report, or a part.
    The forms of RFC 6533 are used where something is beyond ASCII, and nowhere else: older readers know the others.
"""

import binascii
import re
from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.encoded_words import decoded, encoded
from mailgw.mail.envelope import BodyType
from mailgw.mail.header import date_text
from mailgw.mail.parameters import MailParameters, Ret
from mailgw.queue.causes import cause_of_delay, cause_of_failure
from mailgw.queue.dsn_fields import HOP, MAX_WORDS, Report, delivery_status, original_address, printable, words_of
from mailgw.queue.report_words import Words
from mailgw.queue.schedule import is_overdue
from mailgw.wire.reencode import Unfit, reencoded

# RFC 5322 s2.1.1: 998 octets without the CRLF is the limit, 78 is good style.
MAX_LINE_OCTETS = 998
_BASE64_WIDTH = 76  # RFC 2045 s6.8
# What of a subject stands in the text for people.
MAX_SUBJECT = 100
# A failed message's header is quoted up to here: DKIM, ARC and fifty hops fit.
MAX_HEADER_OCTETS = 32 * 1024
# A message is returned whole up to here, and its header alone beyond (RFC 3461 s4.3 leaves it to us).
MAX_RETURNED_OCTETS = 256 * 1024

_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# RFC 5322 s2.2: fields with their folded lines, from the first one on; what follows is no header.  Possessive,
# so that whatever stands there is read once.
_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r]*+\r\n(?:[ \t][^\r]*+\r\n)*+)*+")
_SUBJECT = re.compile(rb"(?:\A|(?<=\n))subject[ \t]*:([^\r]*(?:\r\n[ \t][^\r]*)*)", re.IGNORECASE)
# RFC 5322 s3.6.4: msg-id, in one line and without comments, as everybody writes it
_MESSAGE_ID = re.compile(
    rb"(?:\A|(?<=\n))message-id[ \t]*:[ \t]*(?:\r\n[ \t]+)?(<[!-;=?-~]{1,250}>)[ \t]*\r\n", re.IGNORECASE
)
# The beginning of what ``mail.header.received_field`` writes
_OUR_RECEIVED = re.compile(
    rb"Received: from ([A-Za-z0-9.\-_:\[\]?]{1,255}) \((?:[A-Za-z0-9.\-_]+ )?(\[[0-9A-Za-z.:]+\]|local|unknown)\)\r\n"
    rb"(?:\t\(using [^\r]*\r\n)?(?:\t\(client [^\r]*\r\n)?\tby ([!-~]+) with ([0-9A-Z]+) id "
)
# RFC 5322 s3.2.5: phrase = 1*word; word = atom
_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+)*\Z")
# What a part of plain 7-bit lines does not hold
_ODD_OCTET = re.compile(rb"[^\t\r\n -~]")
# What cannot stand in a message that is sent as 8-bit: NUL, bare line ends, long lines (RFC 6152 s3).
_NOT_8BIT = re.compile(rb"\0|\r(?!\n)|(?<!\r)\n|[^\r\n]{999}")


@attrs.frozen
class Original:
    """The message that a notice tells of.

    ``octets`` are its first ones, at least as far as its header; all of them where ``is_whole``.
    """

    queue_id: str
    arrived: float
    parameters: MailParameters
    body_type: BodyType
    octets: bytes
    is_whole: bool


@attrs.frozen
class Kind:
    """What tells one kind of notice from another.

    ``section`` is where ``Words`` has its text; ``action`` is RFC 3464 s2.3.3's word, "" where each report has its own.
    """

    section: str
    action: str
    status_class: str
    auto_submitted: str  # RFC 3834 s5


BOUNCE = Kind("failure", "failed", "5", "auto-replied")
DELAY = Kind("delay", "delayed", "4", "auto-replied")
SUCCESS = Kind("success", "", "2", "auto-replied")
# RFC 3834 s5.1: no reply to a message of the reader's own
UNDELIVERABLE = Kind("held", "failed", "5", "auto-generated")


@attrs.frozen
class Desk:
    """Where notices are written: by whom, under which address (in ASCII; RFC 3464 s2: somebody should read there), and
    in which words; ``contact`` is whom their readers may ask."""

    hostname: str
    address: Mailbox
    contact: Mailbox
    words: Words


def wants_all(kind: Kind, parameters: MailParameters) -> bool:
    """Whether the message itself is to be returned, not its header alone.

    RFC 3461 s4.3: only in reports of a failure.  RFC 8689 s5: never where it must not leave TLS.
    """
    return kind is BOUNCE and parameters.ret is Ret.FULL and not parameters.require_tls


def notice(
    kind: Kind, desk: Desk, notice_id: str, to: Mailbox, original: Original, now: float, reports: Sequence[Report]
) -> bytes:
    """The message that tells ``to`` what became of ``reports``' recipients; CRLF line ends.

    Of the original, the header fields are quoted up to 32 KiB, or all of it up to 256 KiB, where its sender asked for
    that and it can stand in a message of text.
    """
    hostname = desk.hostname
    returned = _returned_message(kind, original)
    attached = "message attached"
    fields = _fields_of(original.octets)
    if returned is None:
        returned = _quoted_header(original, fields)
        attached = "header attached" if returned else ""
    facts = _facts(desk, original, fields, reports, attached)
    words, words_fields = _text(_human_part(kind, desk, original, facts, now, reports))
    subject, name = desk.words.heads(kind.section, facts)
    status, status_type = delivery_status(
        kind.action, kind.status_class, hostname, _received_from(fields, hostname), original.queue_id,
        original.arrived, original.parameters, reports,
    )
    content = returned[1] if returned else b""
    # RFC 2046 s5.1.1: the boundary must not stand in a part.  "=_" is in no quoted-printable line.
    count = 0
    while (boundary := f"=_{count}_{notice_id}").encode() in b"\n".join((words, status, content)):
        count += 1
    opening = f"--{boundary}\r\n".encode()
    is_8bit = not content.isascii()
    top = "\r\n".join([
        f"From: {_display_name(name)} <{desk.address}>",
        f"To: <{printable(str(to))}>",
        f"Subject: {encoded(subject)}",
        f"Date: {date_text(int(now))}",
        f"Message-ID: <{notice_id}@{hostname}>",
        *(_threading(fields) if kind is not UNDELIVERABLE else []),
        f"Auto-Submitted: {kind.auto_submitted}",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        *(["Content-Transfer-Encoding: 8bit"] if is_8bit else []),  # RFC 2045 s6.4
        "",
        "This is a delivery report in MIME format (RFC 6522).",
        "",
        "",
    ])
    parts = [
        top.encode(),
        opening,
        f"Content-Description: Notification\r\n{words_fields}\r\n".encode(),
        words,
        b"\r\n",
        opening,
        f"Content-Description: Delivery report\r\nContent-Type: {status_type}\r\n".encode(),
        *_as_part(status),
        b"\r\n",
    ]
    if returned:
        parts += [opening, returned[0].encode(), b"\r\n", content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts)


# --- for people -----------------------------------------------------------------------------------

def _facts(
    desk: Desk, original: Original, fields: bytes, reports: Sequence[Report], attached: str
) -> dict[str, str]:
    """What the template may say of the message."""
    untils = [r.will_retry_until for r in reports if r.will_retry_until is not None]
    words = desk.words
    return {
        "hostname": desk.hostname,
        "contact": printable(str(desk.contact)),
        "queue_id": original.queue_id,
        "subject": _subject_of(fields) or words.fixed("no subject"),
        "arrived": _moment(original.arrived),
        "until": _moment(max(untils)) if untils else "?",
        "attached": words.fixed(attached) if attached else "",
    }


def _human_part(
    kind: Kind, desk: Desk, original: Original, facts: dict[str, str], now: float, reports: Sequence[Report]
) -> str:
    age = max(0.0, now - original.arrived)
    told = []
    for report in reports:
        # A Maildir's path is nobody's business, a host's name helps the postmaster who is asked.
        told.append((_sentence(kind, original, now, report), {
            **facts,
            "recipient": printable(str(report.recipient)),
            "shown": _shown(report),
            "domain": printable(report.recipient.domain),
            "age": _duration(age),
            "days": str(round(age / 86400)),
            "attempts": str(report.attempts),
            "server": report.hop if HOP.match(report.hop) else desk.hostname,
            "answer": words_of(report.reply),
            "words": printable(" ".join(report.words.split())[:MAX_WORDS]),
            "status": printable(report.reply.status),
        }))
    return "\r\n".join([*desk.words.letter(kind.section, facts, told), ""])


def _sentence(kind: Kind, original: Original, now: float, report: Report) -> str:
    """The section whose sentence tells what became of a recipient."""
    if kind is SUCCESS:
        return report.action
    if kind is DELAY:
        return f"waits {cause_of_delay(report).value}"
    return f"because {cause_of_failure(report, is_overdue(original.parameters.deliver_by, now)).value}"


def _shown(report: Report) -> str:
    """An address, behind the one that the sender wrote to where it is an alias: he may never have seen the other."""
    recipient, original = printable(str(report.recipient)), original_address(report.orcpt)
    return f"{original} -> {recipient}" if original and folded(original) != folded(recipient) else recipient


def _moment(when: float) -> str:
    """To the minute, as people read it: ``Tue, 24 Nov 2026 08:46 UTC``."""
    return f"{date_text(int(when)).rpartition(':')[0]} UTC"


def _duration(seconds: float) -> str:
    """In the largest unit that it fills twice: ``5 days``, ``26 hours``."""
    unit, length = next(
        (one for one in (("day", 86400), ("hour", 3600)) if seconds >= 2 * one[1] - 1), ("minute", 60)
    )
    count = max(1, round(seconds / length))
    return f"{count} {unit}{'s' if count != 1 else ''}"


def _subject_of(fields: bytes) -> str:
    found = _SUBJECT.search(fields)
    text = decoded(found[1]) if found else ""
    return text if len(text) <= MAX_SUBJECT else text[:MAX_SUBJECT] + " ..."


def _display_name(name: str) -> str:
    """RFC 5322 s3.4: display-name = phrase, of words, of a quoted-string, or of encoded words (RFC 2047 s5 (3))."""
    if not name.isascii() or _PHRASE.match(name):
        return encoded(name)
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _threading(fields: bytes) -> list[str]:
    """RFC 3834 s3.1.5: what it answers, where the message has an id that can be repeated."""
    found = _MESSAGE_ID.search(fields)
    if found is None:
        return []
    return [f"In-Reply-To: {found[1].decode()}", f"References: {found[1].decode()}"]


def _received_from(fields: bytes, hostname: str) -> str:
    """RFC 3464 s2.2.4: the name in EHLO, and the address as a comment, out of our own Received on top; "" for who
    logged in, who is no MTA, and for a message that we did not receive."""
    found = _OUR_RECEIVED.match(fields)
    if found is None or found[3].decode() != hostname or found[4].endswith(b"A"):
        return ""
    return f"dns; {found[1].decode()} ({found[2].decode()})"


def _text(text: str) -> tuple[bytes, str]:
    """The words as a part may hold them, and the fields that say how."""
    if text.isascii() and max(map(len, text.split("\r\n"))) <= MAX_LINE_OCTETS:  # a template may have long words
        return text.encode(), "Content-Type: text/plain; charset=us-ascii\r\n"
    fields = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return binascii.b2a_qp(text.encode(), istext=True), fields


# --- octets of others ---------------------------------------------------------------------------------

def _returned_message(kind: Kind, original: Original) -> tuple[str, bytes] | None:
    """The fields and the content of the part that returns the message; None where its header has to do."""
    octets = original.octets
    if not wants_all(kind, original.parameters) or not original.is_whole or len(octets) > MAX_RETURNED_OCTETS:
        return None
    description = "Content-Description: Your message\r\nContent-Type: "
    is_text = _NOT_8BIT.search(octets) is None
    if is_text and octets.isascii():
        return f"{description}message/rfc822\r\n", octets
    if original.parameters.smtputf8:
        # RFC 6532 s3.7: this type alone may be encoded, so any octets may be in it.
        base64 = binascii.b2a_base64(octets, newline=False)
        lines = [base64[start:start + _BASE64_WIDTH] for start in range(0, len(base64), _BASE64_WIDTH)]
        return f"{description}message/global\r\nContent-Transfer-Encoding: base64\r\n", b"\r\n".join(lines)
    if not is_text or original.body_type is BodyType.BINARY:
        return None
    if isinstance(reencoded(octets, BodyType.SEVEN_BIT), Unfit):
        return None  # a hop without 8BITMIME would refuse the whole report, and its reader would never hear of it
    return f"{description}message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n", octets


def _quoted_header(original: Original, fields: bytes) -> tuple[str, bytes] | None:
    """The fields and the content of the part that quotes the header; None where there is none."""
    if not fields:
        return None
    # RFC 6533 s6: with SMTPUTF8 the header may be UTF-8, which text/rfc822-headers cannot say.
    is_global = original.parameters.smtputf8 and not fields.isascii()
    description = "Content-Description: Header of the message\r\nContent-Type: "
    kind = "message/global-headers" if is_global else "text/rfc822-headers"
    encoding, quoted = _as_part(fields)
    return f"{description}{kind}\r\n{encoding[:-2].decode()}", quoted


def _fields_of(octets: bytes) -> bytes:
    """The header fields that ``octets`` begins with, at most 32 KiB, cut at a line's end."""
    cut = octets[:MAX_HEADER_OCTETS]
    if len(cut) < len(octets):
        cut = cut[:cut.rfind(b"\r\n") + 2] if b"\r\n" in cut else b""
    found = _FIELDS.match(_BARE_LINE_END.sub(b"?", cut))
    assert found is not None  # it matches nothing at all, too
    return found[0]


def _as_part(text: bytes) -> tuple[bytes, bytes]:
    """What says how the text is encoded, with the empty line after it; and the text as it may stand in a part.

    RFC 6522 s4 lets a broken header be quoted-printable, RFC 6533 all of its types.  8bit was rejected: a hop without
    8BITMIME would refuse the notice, and its sender would never hear of the failure.
    """
    if _ODD_OCTET.search(text) is None and max(map(len, text.split(b"\r\n"))) <= MAX_LINE_OCTETS:
        return b"\r\n", text
    return b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", binascii.b2a_qp(text, istext=True)
