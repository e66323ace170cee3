"""What we tell people about their mail: bounces, delay warnings, delivery reports, copies for the postmaster.

RFC 3464 and 6522 (multipart/report), RFC 3461 s6 (what a report says), RFC 6533 (addresses beyond ASCII), RFC 3834 s5
(Auto-Submitted), RFC 2045.  The fields for programs are in ``queue.dsn_fields``.

Rules:
    A notice has lines of at most 998 octets and is ASCII, so that every next hop takes it, with two exceptions: its
    reader's own address, and a returned message that is 8-bit itself (RFC 2046 s5.2.1 lets no encoding hide that).
    Words of a peer and octets of the failed message are data: none of them can begin a header field, a line
    of the report, or a part.
    The forms of RFC 6533 are used where something is beyond ASCII, and nowhere else: older readers know the others.
"""

import binascii
import re
import textwrap
from collections.abc import Iterator, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.header import date_text
from mailgw.mail.parameters import MailParameters, Ret
from mailgw.queue.dsn_fields import HOP, Report, delivery_status, printable, words_of, wrapped
from mailgw.wire.reencode import Unfit, reencoded

# RFC 5322 s2.1.1: 998 octets without the CRLF is the limit, 78 is good style.
MAX_LINE_OCTETS = 998
_WIDTH = 76
# A failed message's header is quoted up to here: DKIM, ARC and fifty hops fit.
MAX_HEADER_OCTETS = 32 * 1024
# A message is returned whole up to here, and its header alone beyond (RFC 3461 s4.3 leaves it to us).
MAX_RETURNED_OCTETS = 256 * 1024

_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# RFC 5322 s2.2: fields with their folded lines, from the first one on; what follows is no header.  Possessive,
# so that whatever stands there is read once.
_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r]*+\r\n(?:[ \t][^\r]*+\r\n)*+)*+")
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
    """What tells one kind of notice from another.  ``opening`` and ``closing`` may use hostname, queue_id,
    arrived, until; ``attached`` stands where there is a header to quote.

    ``action`` is RFC 3464 s2.3.3's word, "" where each report has its own.
    """

    subject: str
    action: str
    status_class: str
    auto_submitted: str  # RFC 3834 s5
    opening: str
    closing: str
    attached: str


BOUNCE = Kind(
    "Your message could not be delivered",
    "failed",
    "5",
    "auto-replied",
    "This is the mail system at {hostname}.\n\n"
    "Your message of {arrived} could not be delivered to the recipients below. They will not get it, and no "
    "further attempt is made.",
    "What you can do: look for a typing error in the address; read the words above, which often say what is "
    "wrong; reach the recipient in another way. If you ask for help, give postmaster@{hostname} this queue id: "
    "{queue_id}",
    "The header of your message is attached.",
)
DELAY = Kind(
    "Your message is delayed",
    "delayed",
    "4",
    "auto-replied",
    "This is the mail system at {hostname}.\n\n"
    "Your message of {arrived} has not yet been delivered to the recipients below. We go on trying{until}. "
    "YOU NEED NOT SEND IT AGAIN: if it cannot be delivered at all, you will be told.",
    "If you ask for help, give postmaster@{hostname} this queue id: {queue_id}",
    "The header of your message is attached.",
)
SUCCESS = Kind(
    "What became of your message",
    "",
    "2",
    "auto-replied",
    "This is the mail system at {hostname}.\n\n"
    "You asked to be told what becomes of your message of {arrived}.",
    "This does not say that anybody has read it. If you ask for help, give postmaster@{hostname} this queue id: "
    "{queue_id}",
    "The header of your message is attached.",
)
UNDELIVERABLE = Kind(
    "Undeliverable mail is held in the queue",
    "failed",
    "5",
    # RFC 3834 s5.1: no reply to a message of the reader's own
    "auto-generated",
    "This is the mail system at {hostname}.\n\n"
    "The message {queue_id} of {arrived} could be neither delivered to the recipients below nor returned: it has "
    "no sender (it is a bounce or another automatic notice), or no route leads to its sender. It is held in the "
    "queue until you decide.",
    "What you can do:\n\n"
    "mailgw queue show {queue_id}\n"
    "mailgw queue retry {queue_id}\n"
    "mailgw queue remove {queue_id}",
    "The header of the message is attached.",
)


def wants_all(kind: Kind, parameters: MailParameters) -> bool:
    """Whether the message itself is to be returned, not its header alone.

    RFC 3461 s4.3: only in reports of a failure.  RFC 8689 s5: never where it must not leave TLS.
    """
    return kind is BOUNCE and parameters.ret is Ret.FULL and not parameters.require_tls


def notice(
    kind: Kind,
    hostname: str,
    notice_id: str,
    to: Mailbox,
    original: Original,
    now: float,
    reports: Sequence[Report],
) -> bytes:
    """The message that tells ``to`` what became of ``reports``' recipients; CRLF line ends.

    Of the original, the header fields are quoted up to 32 KiB, or all of it up to 256 KiB, where its sender asked for
    that and it can stand in a message of text.
    """
    returned = _returned_message(kind, original)
    attached = "Your message is attached."
    if returned is None:
        returned = _quoted_header(original)
        attached = kind.attached if returned else ""
    words, words_fields = _text(_human_part(kind, hostname, original, reports, attached))
    status, status_type = delivery_status(
        kind.action, kind.status_class, hostname, original.queue_id, original.arrived, original.parameters, reports
    )
    content = returned[1] if returned else b""
    # RFC 2046 s5.1.1: the boundary must not stand in a part.  "=_" is in no quoted-printable line.
    count = 0
    while (boundary := f"=_{count}_{notice_id}").encode() in b"\n".join((words, status, content)):
        count += 1
    opening = f"--{boundary}\r\n".encode()
    is_8bit = not content.isascii()
    top = "\r\n".join([
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{printable(str(to))}>",
        f"Subject: {kind.subject}",
        f"Date: {date_text(int(now))}",
        f"Message-ID: <{notice_id}@{hostname}>",
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
        *_encoded(status),
        b"\r\n",
    ]
    if returned:
        parts += [opening, returned[0].encode(), b"\r\n", content, b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts)


# --- for people -----------------------------------------------------------------------------------

def _human_part(kind: Kind, hostname: str, original: Original, reports: Sequence[Report], attached: str) -> str:
    untils = [r.will_retry_until for r in reports if r.will_retry_until is not None]
    facts = {
        "hostname": hostname,
        "queue_id": original.queue_id,
        "arrived": date_text(int(original.arrived)),
        "until": f" until {date_text(int(max(untils)))}" if untils else "",
    }
    lines = [*_paragraphs(kind.opening.format_map(facts)), ""]
    for report in reports:
        lines += wrapped(f"<{printable(str(report.recipient))}>", "    ")
        lines += wrapped(_tried(kind, report), " " * 8)
        lines += wrapped(words_of(report.reply), " " * 8)
        lines.append("")
    lines += _paragraphs(kind.closing.format_map(facts))
    if attached:
        lines += ["", attached]
    return "\r\n".join([*lines, ""])


def _tried(kind: Kind, report: Report) -> str:
    """What was done for a recipient, before the words that came of it."""
    # A Maildir's path is nobody's business, a host's name helps the postmaster who is asked.
    hop = report.hop if HOP.match(report.hop) else ""
    if kind is SUCCESS and report.is_relayed:
        return f"was handed on to the next server{f', {hop}' if hop else ''}; it may be that you hear no more of it:"
    if kind is SUCCESS:
        return "was delivered:"
    attempts = f"{report.attempts} attempts" if report.attempts != 1 else "1 attempt"
    if report.attempts:
        return f"{attempts}{f', the last at {hop}' if hop else ''}:"
    return "Not attempted yet, since other mail met this there:" if kind is DELAY else "Not attempted:"


def _paragraphs(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if line.startswith("mailgw "):
            yield f"    {line}"
        else:
            yield from textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


def _text(text: str) -> tuple[bytes, str]:
    """The words as a part may hold them, and the fields that say how."""
    if text.isascii():
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
        encoded = binascii.b2a_base64(octets, newline=False)
        lines = [encoded[start:start + _WIDTH] for start in range(0, len(encoded), _WIDTH)]
        return f"{description}message/global\r\nContent-Transfer-Encoding: base64\r\n", b"\r\n".join(lines)
    if not is_text or original.body_type is BodyType.BINARY:
        return None
    if isinstance(reencoded(octets, BodyType.SEVEN_BIT), Unfit):
        return None  # a hop without 8BITMIME would refuse the whole report, and its reader would never hear of it
    return f"{description}message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n", octets


def _quoted_header(original: Original) -> tuple[str, bytes] | None:
    """The fields and the content of the part that quotes the header; None where there is none."""
    fields = _fields_of(original.octets)
    if not fields:
        return None
    # RFC 6533 s6: with SMTPUTF8 the header may be UTF-8, which text/rfc822-headers cannot say.
    is_global = original.parameters.smtputf8 and not fields.isascii()
    description = "Content-Description: Header of the message\r\nContent-Type: "
    kind = "message/global-headers" if is_global else "text/rfc822-headers"
    encoding, quoted = _encoded(fields)
    return f"{description}{kind}\r\n{encoding[:-2].decode()}", quoted


def _fields_of(octets: bytes) -> bytes:
    """The header fields that ``octets`` begins with, at most 32 KiB, cut at a line's end."""
    cut = octets[:MAX_HEADER_OCTETS]
    if len(cut) < len(octets):
        cut = cut[:cut.rfind(b"\r\n") + 2] if b"\r\n" in cut else b""
    found = _FIELDS.match(_BARE_LINE_END.sub(b"?", cut))
    assert found is not None  # it matches nothing at all, too
    return found[0]


def _encoded(text: bytes) -> tuple[bytes, bytes]:
    """What says how the text is encoded, with the empty line after it; and the text as it may stand in a part.

    RFC 6522 s4 lets a broken header be quoted-printable, RFC 6533 all of its types.  8bit was rejected: a hop without
    8BITMIME would refuse the notice, and its sender would never hear of the failure.
    """
    if _ODD_OCTET.search(text) is None and max(map(len, text.split(b"\r\n"))) <= MAX_LINE_OCTETS:
        return b"\r\n", text
    return b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", binascii.b2a_qp(text, istext=True)
