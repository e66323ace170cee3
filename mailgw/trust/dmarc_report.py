"""A report by DMARC as it is sent: its XML, its file's name, and the message that carries it (RFC 9990 s3, appendix A).

Rules:
    A report's id and its file's name are made of the day and the domains, so one that is sent twice, by a crash or to
    several addresses, is recognised as the same.
    What others said is written by the standard library's XML; characters that XML 1.0 cannot have become U+FFFD.
    A message has at most ``limit_octets``: rows of the fewest messages are left out until it has, and the report says
    how many.  RFC 9990 has no way of its own to cut one: parts for shorter times would be one, but the times of rows
    are not known.
Not done: ``extension``; ``psd`` of a record, which has no element; ``pct``, which has none any more; the message's
DKIM signature, without which DMARC lets no reader believe it (s3.5.2): that is for whoever signs all mail.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

import attrs

from mailgw.mail.address import Mailbox
from mailgw.trust.dmarc_tallies import DkimSeen, DmarcTally, Reason, Row, SpfSeen
from mailgw.trust.report_days import DAY_SECONDS, day_text
from mailgw.trust.report_mail import Reporter, ReportFile, report_mail

GZIP_TYPE = "application/gzip"  # s3.5.2
NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
# Of a message: its fields, with the longest names there are, its words, and what stands around the file.
AROUND_OCTETS = 5 * 1024
# XML 1.0 s2.2:
#   Char ::= #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]
_NO_CHAR = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@attrs.frozen
class DmarcReporter:
    """Who reports: ``extra`` ways to reach them, in words, ``""`` for none; ``unique``: letters and digits that tell
    this server from its brothers; ``generator``: the program and its version."""

    reporter: Reporter
    extra: str
    unique: str
    generator: str


@attrs.frozen
class DmarcReport:
    """One report: ``id`` as in its XML, the ``file_name`` that s3.5.2 wants, ``content`` its XML by gzip.

    ``messages`` in ``rows`` rows are told of; ``left_out`` are not, for want of room, here or where they were counted.
    """

    id: str
    domain: str
    day: int
    file_name: str
    content: bytes
    rows: int
    messages: int
    left_out: int


def dmarc_report(reporter: DmarcReporter, tally: DmarcTally, limit_octets: int) -> DmarcReport | None:
    """The report on a domain's day, whose message has at most ``limit_octets``; None where no row fits.

    It may take seconds: a report has up to ``dmarc_tallies.ROWS`` rows.
    """
    begin = tally.day * DAY_SECONDS
    submitter = reporter.reporter.contact.domain
    # s3.5.2: the same words in the file's name ("unique-id") and in the id
    name = f"{submitter}!{tally.domain}!{begin}!{begin + DAY_SECONDS - 1}!{reporter.unique}.xml.gz"
    identity = f"{begin}.{reporter.unique}.{tally.domain}@{submitter}"
    rows = sorted(tally.rows, key=lambda row: -row[1])
    records = [_octets(_record(row, messages)) for row, messages in rows]
    total = sum(messages for _, messages in rows) + tally.left_out
    limit = _content_octets(limit_octets)

    def report(count: int) -> DmarcReport:
        messages = sum(messages for _, messages in rows[:count])
        head = _head(reporter, identity, tally, len(rows) - count, total - messages)
        content = _zipped([head, *records[:count], b"</feedback>\n"])
        return DmarcReport(identity, tally.domain, tally.day, name, content, count, messages, total - messages)

    return _largest(report, len(rows), limit)


def _largest(report: Callable[[int], DmarcReport], rows: int, limit: int) -> DmarcReport | None:
    """The one with the most rows whose content fits, at least one; None where none does."""
    if not rows:
        return None
    found = report(rows)
    if len(found.content) <= limit:
        return found
    best, low, high = None, 1, rows - 1
    while low <= high:
        middle = (low + high) // 2
        found = report(middle)
        if len(found.content) <= limit:
            best, low = found, middle + 1
        else:
            high = middle - 1
    return best


def _content_octets(limit_octets: int) -> int:
    """What a message of that size can carry as base64, in lines of 76 and CRLF."""
    return max(0, (limit_octets - AROUND_OCTETS) // 78 * 57)


def report_message(reporter: DmarcReporter, report: DmarcReport, to: Sequence[Mailbox], now: float) -> bytes:
    """The message with a report, CRLF line ends, 7-bit (s3.5.2).  ``to``: at least one mailbox, ASCII."""
    submitter = reporter.reporter.contact.domain
    fields = [
        f"Subject: Report Domain: {report.domain}\r\n\tSubmitter: {submitter}\r\n\tReport-ID: <{report.id}>",
        f"Message-ID: <{report.id}>",
    ]
    return report_mail(
        reporter.reporter.contact, to, now, fields, "multipart/mixed", _words(submitter, report),
        ReportFile(report.file_name, GZIP_TYPE, report.content),
    )


def _words(submitter: str, report: DmarcReport) -> list[str]:
    words = [
        f"This is a DMARC aggregate report from {submitter}, for whoever cares for the mail of",
        f"{report.domain}, on {day_text(report.day)} (UTC).",
        "",
        f"It is about {report.messages} messages.",
    ]
    if report.left_out:
        words.append(f"There was no room for {report.left_out} more.")
    return [*words, "", "The attached file is for programs, and described in RFC 9990.", ""]


# --- XML ------------------------------------------------------------------------------------------------------

def _head(reporter: DmarcReporter, identity: str, tally: DmarcTally, rows: int, messages: int) -> bytes:
    """All that stands before the first record; ``rows`` and ``messages`` that are left out."""
    begin = tally.day * DAY_SECONDS
    metadata = ET.Element("report_metadata")
    _add(metadata, "org_name", reporter.reporter.organization)
    _add(metadata, "email", str(reporter.reporter.contact))
    if reporter.extra:
        _add(metadata, "extra_contact_info", reporter.extra)
    _add(metadata, "report_id", identity)
    dates = ET.SubElement(metadata, "date_range")
    _add(dates, "begin", str(begin))
    _add(dates, "end", str(begin + DAY_SECONDS - 1))
    if messages:
        found = f", among them the {rows} rows of the fewest messages" if rows else ""
        _add(metadata, "error", f"There was no room for {messages} messages{found}.")
    _add(metadata, "generator", reporter.generator)
    return b"".join([
        b'<?xml version="1.0" encoding="UTF-8"?>\n<feedback xmlns="', NAMESPACE.encode(), b'">\n',
        b"<version>1.0</version>\n", _octets(metadata), _octets(_policy(tally)),
    ])


def _policy(tally: DmarcTally) -> ET.Element:
    """s3.1.1.5: tags that are not there have their defaults."""
    record = tally.record
    sp = record.sp if record.sp is not None else record.p
    np = record.np if record.np is not None else sp
    published = ET.Element("policy_published")
    for name, word in (
        ("domain", tally.domain),
        ("discovery_method", "treewalk"),
        ("p", record.p.value),
        ("sp", sp.value),
        ("np", np.value),
        ("fo", ":".join(sorted(record.failure_options))),
        ("adkim", "s" if record.is_dkim_strict else "r"),
        ("aspf", "s" if record.is_spf_strict else "r"),
        ("testing", "y" if record.is_testing else "n"),
    ):
        _add(published, name, word)
    return published


def _record(row: Row, messages: int) -> ET.Element:
    record = ET.Element("record")
    parent = ET.SubElement(record, "row")
    _add(parent, "source_ip", row.source_ip)
    _add(parent, "count", str(messages))
    evaluated = ET.SubElement(parent, "policy_evaluated")
    _add(evaluated, "disposition", row.disposition)
    _add(evaluated, "dkim", "pass" if row.is_dkim_aligned else "fail")
    _add(evaluated, "spf", "pass" if row.is_spf_aligned else "fail")
    for reason in row.reasons:
        _add_reason(evaluated, reason)
    parent = ET.SubElement(record, "identifiers")
    _add(parent, "header_from", row.header_from)
    _add(parent, "envelope_from", row.envelope_from)  # s3.1.1.10: empty for a null reverse-path
    if row.envelope_to:
        _add(parent, "envelope_to", row.envelope_to)
    parent = ET.SubElement(record, "auth_results")
    for one in row.dkim:
        _add_dkim(parent, one)
    if row.spf is not None:
        _add_spf(parent, row.spf)
    return record


def _add_reason(parent: ET.Element, reason: Reason) -> None:
    found = ET.SubElement(parent, "reason")
    _add(found, "type", reason.override.value)
    if reason.comment:
        _add(found, "comment", reason.comment)


def _add_dkim(parent: ET.Element, one: DkimSeen) -> None:
    found = ET.SubElement(parent, "dkim")
    _add(found, "domain", one.domain)
    _add(found, "selector", one.selector)
    _add(found, "result", one.result)
    if one.why:
        _add(found, "human_result", one.why)


def _add_spf(parent: ET.Element, spf: SpfSeen) -> None:
    found = ET.SubElement(parent, "spf")
    _add(found, "domain", spf.domain)
    _add(found, "scope", "mfrom")  # s3.1.1.13: there is no other
    _add(found, "result", spf.result)
    if spf.why:
        _add(found, "human_result", spf.why)


def _add(parent: ET.Element, name: str, words: str) -> None:
    ET.SubElement(parent, name).text = _NO_CHAR.sub("\ufffd", words)


def _octets(element: ET.Element) -> bytes:
    return ET.tostring(element, encoding="unicode").encode() + b"\n"


def _zipped(parts: Sequence[bytes]) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)  # gzip, without a time: the same octets each time
    return b"".join([*map(packer.compress, parts), packer.flush()])
