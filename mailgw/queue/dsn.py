"""What we tell people about their mail: bounces, delay warnings, copies for the postmaster.

RFC 3464 and 6522 (multipart/report), RFC 3461 s6 (what a report says), RFC 3834 s5 (Auto-Submitted), RFC 2045.
Not done: the DSN extension itself (NOTIFY, RET, ENVID, ORCPT), a report of success, the returned content.

Rules:
    A notice is ASCII with lines of at most 998 octets, so that every next hop takes it.
    Words of a peer and octets of the failed message are data: none of them can begin a header field, a line
    of the report, or a part.
"""

import binascii
import re
import textwrap
from collections.abc import Iterator, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.header import date_text
from mailgw.mail.reply import Reply

# RFC 5322 s2.1.1: 998 octets without the CRLF is the limit, 78 is good style.
MAX_LINE_OCTETS = 998
_WIDTH = 76
# A failed message's header is quoted up to here: DKIM, ARC and fifty hops fit.
MAX_HEADER_OCTETS = 32 * 1024
# A peer's words are quoted up to here: the reply reader takes more, people do not.
MAX_WORDS = 1000

# "mx1.example.org [192.0.2.1]:25": a hop that speaks SMTP, its name where one is known
_HOP = re.compile(r"(?:([A-Za-z0-9_.\-]*[A-Za-z][A-Za-z0-9_.\-]*) )?\[[0-9A-Za-z.:%]+\]:\d+\Z")
# RFC 3463 s2: status-code = class "." subject "." detail
_STATUS = re.compile(r"[245](\.\d{1,3}\.\d{1,3})\Z")
_UNPRINTABLE = re.compile(r"[^ -~]")
_LONG_WORD = re.compile(r"\S{400}(?=\S)")
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# RFC 5322 s2.2: fields with their folded lines, from the first one on; what follows is no header.  Possessive,
# so that whatever stands there is read once.
_FIELDS = re.compile(rb"(?:[!-9;-~]++[ \t]*+:[^\r]*+\r\n(?:[ \t][^\r]*+\r\n)*+)*+")
# What a part of plain 7-bit lines does not hold
_ODD_OCTET = re.compile(rb"[^\t\r\n -~]")


@attrs.frozen
class Report:
    """What became of one recipient.

    ``hop`` as in ``Outcome``; ``attempts`` counts the last one, which was at ``last_attempt`` (0: another message's);
    ``will_retry_until`` is when we will give up, None where we gave up.  Times are epoch seconds.
    """

    recipient: Mailbox
    reply: Reply
    hop: str
    attempts: int
    will_retry_until: float | None
    last_attempt: float


@attrs.frozen
class _Kind:
    """What tells one kind of notice from another.  ``opening`` and ``closing`` may use hostname, queue_id,
    arrived, until; ``attached`` stands where there is a header to quote."""

    subject: str
    action: str  # RFC 3464 s2.3.3
    status_class: str
    auto_submitted: str  # RFC 3834 s5
    opening: str
    closing: str
    attached: str


_BOUNCE = _Kind(
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
_DELAY = _Kind(
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
_UNDELIVERABLE = _Kind(
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


def bounce(
    hostname: str,
    notice_id: str,
    queue_id: str,
    to: Mailbox,
    arrived: float,
    now: float,
    reports: Sequence[Report],
    header: bytes,
) -> bytes:
    """The message that tells a sender which recipients failed for good; CRLF line ends.

    ``queue_id`` is the failed message's, ``notice_id`` this one's; ``header`` the failed message's first
    octets: its header fields are quoted up to 32 KiB, whatever follows them is not.
    """
    return _notice(_BOUNCE, hostname, notice_id, queue_id, to, arrived, now, reports, header)


def delay_warning(
    hostname: str,
    notice_id: str,
    queue_id: str,
    to: Mailbox,
    arrived: float,
    now: float,
    reports: Sequence[Report],
    header: bytes,
) -> bytes:
    """The message that tells a sender who has not got the message yet; arguments as for ``bounce``."""
    return _notice(_DELAY, hostname, notice_id, queue_id, to, arrived, now, reports, header)


def undeliverable_copy(
    hostname: str,
    notice_id: str,
    queue_id: str,
    to: Mailbox,
    arrived: float,
    now: float,
    reports: Sequence[Report],
    header: bytes,
) -> bytes:
    """The message that tells the postmaster what is held in the queue; arguments as for ``bounce``."""
    return _notice(_UNDELIVERABLE, hostname, notice_id, queue_id, to, arrived, now, reports, header)


def _notice(
    kind: _Kind,
    hostname: str,
    notice_id: str,
    queue_id: str,
    to: Mailbox,
    arrived: float,
    now: float,
    reports: Sequence[Report],
    header: bytes,
) -> bytes:
    fields, encoding = _quoted(_fields_of(header))
    words = _human_part(kind, hostname, queue_id, arrived, reports, kind.attached if fields else "")
    status = _delivery_status(kind, hostname, queue_id, arrived, reports)
    # RFC 2046 s5.1.1: the boundary must not stand in a part.  "=_" is in no quoted-printable line.
    count = 0
    while (boundary := f"=_{count}_{notice_id}").encode() in b"\n".join((words, status, fields)):
        count += 1
    opening = f"--{boundary}\r\n".encode()
    top = "\r\n".join([
        f"From: Mail Delivery System <MAILER-DAEMON@{hostname}>",
        f"To: <{_ascii(str(to))}>",
        f"Subject: {kind.subject}",
        f"Date: {date_text(int(now))}",
        f"Message-ID: <{notice_id}@{hostname}>",
        f"Auto-Submitted: {kind.auto_submitted}",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "",
        "This is a delivery report in MIME format (RFC 6522).",
        "",
        "",
    ])
    parts = [
        top.encode(),
        opening,
        b"Content-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
        words,
        b"\r\n",
        opening,
        b"Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n",
        status,
        b"\r\n",
    ]
    if fields:
        parts += [
            opening,
            b"Content-Description: Header of the message\r\nContent-Type: text/rfc822-headers\r\n",
            encoding,
            b"\r\n",
            fields,
            b"\r\n",
        ]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts)


# --- for people -----------------------------------------------------------------------------------

def _human_part(
    kind: _Kind, hostname: str, queue_id: str, arrived: float, reports: Sequence[Report], attached: str
) -> bytes:
    untils = [r.will_retry_until for r in reports if r.will_retry_until is not None]
    facts = {
        "hostname": hostname,
        "queue_id": queue_id,
        "arrived": date_text(int(arrived)),
        "until": f" until {date_text(int(max(untils)))}" if untils else "",
    }
    lines = [*_paragraphs(kind.opening.format_map(facts)), ""]
    for report in reports:
        attempts = f"{report.attempts} attempts" if report.attempts != 1 else "1 attempt"
        # A Maildir's path is nobody's business, a host's name helps the postmaster who is asked.
        where = f", the last at {report.hop}" if _HOP.match(report.hop) else ""
        lines += _wrapped(f"<{_ascii(str(report.recipient))}>", "    ")
        tried = f"{attempts}{where}" if report.attempts else "Not attempted yet, since other mail met this there"
        lines += _wrapped(f"{tried}:", " " * 8)
        lines += _wrapped(_words(report.reply), " " * 8)
        lines.append("")
    lines += _paragraphs(kind.closing.format_map(facts))
    if attached:
        lines += ["", attached]
    return _joined(lines)


def _paragraphs(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if line.startswith("mailgw "):
            yield f"    {line}"
        else:
            yield from textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False) or [""]


# --- for programs -----------------------------------------------------------------------------------

def _delivery_status(kind: _Kind, hostname: str, queue_id: str, arrived: float, reports: Sequence[Report]) -> bytes:
    """RFC 3464 s2: a group of fields for the message, then one for each recipient, empty lines between."""
    lines = [
        f"Reporting-MTA: dns; {hostname}",
        f"X-Queue-ID: {queue_id}",
        f"Arrival-Date: {date_text(int(arrived))}",
    ]
    for report in reports:
        hop = _HOP.match(report.hop)
        lines += [
            "",
            f"Final-Recipient: rfc822; {_ascii(str(report.recipient))}",
            f"Action: {kind.action}",
            f"Status: {_status(report.reply, kind.status_class)}",
        ]
        if hop is not None and hop[1]:
            lines.append(f"Remote-MTA: dns; {hop[1]}")
        # RFC 3464 s2.3.6: "smtp" is for the words of an SMTP or LMTP server, ours have a type of our own.
        diagnostic = "smtp" if hop is not None or report.hop.startswith("unix:") else "x-mailgw"
        lines += _wrapped(f"Diagnostic-Code: {diagnostic}; {_words(report.reply)}", "", "    ")
        lines.append(f"Last-Attempt-Date: {date_text(int(report.last_attempt))}")
        if kind.action == "delayed" and report.will_retry_until is not None:  # RFC 3464 s2.3.9
            lines.append(f"Will-Retry-Until: {date_text(int(report.will_retry_until))}")
    return _joined(lines)


def _status(reply: Reply, status_class: str) -> str:
    """RFC 3464 s2.3.4, RFC 3463 s3.1: what the reply says in detail; the class is what came of it."""
    found = _STATUS.match(reply.status)
    return status_class + (found[1] if found else ".0.0")


# --- octets of others ---------------------------------------------------------------------------------

def _words(reply: Reply) -> str:
    """A reply as one line of printable ASCII that can be folded anywhere 400 characters allow."""
    text = " ".join(_ascii(str(reply)).split())
    if len(text) > MAX_WORDS:
        text = text[:MAX_WORDS] + " ..."
    return _LONG_WORD.sub(r"\g<0> ", text)


def _ascii(text: str) -> str:
    return _UNPRINTABLE.sub("?", text)


def _wrapped(text: str, indent: str, indent_rest: str | None = None) -> list[str]:
    """Lines of 76 characters where the words allow it; none is empty."""
    rest = indent if indent_rest is None else indent_rest
    return textwrap.wrap(
        text, _WIDTH, initial_indent=indent, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _joined(lines: list[str]) -> bytes:
    lines.append("")
    return "\r\n".join(lines).encode("ascii")


def _fields_of(octets: bytes) -> bytes:
    """The header fields that ``octets`` begins with, at most 32 KiB, cut at a line's end."""
    cut = octets[:MAX_HEADER_OCTETS]
    if len(cut) < len(octets):
        cut = cut[:cut.rfind(b"\r\n") + 2] if b"\r\n" in cut else b""
    found = _FIELDS.match(_BARE_LINE_END.sub(b"?", cut))
    assert found is not None  # it matches nothing at all, too
    return found[0]


def _quoted(fields: bytes) -> tuple[bytes, bytes]:
    """The fields as they may stand in a part, and the field that says how.

    RFC 6522 s4 lets a broken header be quoted-printable.  8bit was rejected: a hop without 8BITMIME would
    refuse the notice, and its sender would never hear of the failure.
    """
    if _ODD_OCTET.search(fields) is None and max(map(len, fields.split(b"\r\n"))) <= MAX_LINE_OCTETS:
        return fields, b""
    return binascii.b2a_qp(fields, istext=True), b"Content-Transfer-Encoding: quoted-printable\r\n"
