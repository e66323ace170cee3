"""A report's message: words for people, and a file for programs (RFC 2045, RFC 2046)."""

import base64
from collections.abc import Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.header import date_text


@attrs.frozen
class Reporter:
    """Who reports: the organization's name in any words, an address (ASCII, with a domain) where people answer."""

    organization: str
    contact: Mailbox


@attrs.frozen
class ReportFile:
    """``name`` and ``media_type`` in ASCII, with nothing that would have to be quoted."""

    name: str
    media_type: str
    content: bytes


def report_mail(
    sender: Mailbox, to: Sequence[Mailbox], now: float, fields: Sequence[str], container: str, words: Sequence[str],
    file: ReportFile,
) -> bytes:
    """The message, CRLF line ends, 7-bit: what is not ASCII in it becomes question marks.

    ``to``: at least one mailbox, ASCII.  ``fields``: lines of the header beside those that every report has, folded
    where they are long.  ``container``: the media type of the whole, with its parameters but the boundary.  ``words``:
    lines that are not dashes.
    """
    boundary = "=_report"  # "=_" is in no base64, and the words are ours
    head = [
        f"From: <{sender}>",
        "To: " + ",\r\n\t".join(f"<{mailbox}>" for mailbox in to),
        f"Date: {date_text(int(now))}",
        *fields,
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: {container};\r\n\tboundary="{boundary}"',
        "",
        "This is a report in MIME format.",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        *words,
        f"--{boundary}",
        f"Content-Type: {file.media_type}",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n\tfilename="{file.name}"',
        "",
    ]
    encoded = base64.b64encode(file.content).decode()
    lines = [encoded[start:start + 76] for start in range(0, len(encoded), 76)]
    return "\r\n".join([*head, *lines, f"--{boundary}--", ""]).encode("ascii", "replace")
