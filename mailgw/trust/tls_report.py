"""A report on TLS as it is sent: its JSON, its file's name, and the message that carries it (RFC 8460 s4.4, s5).

Not done: the message's DKIM signature, without which its reader ignores it (s3): that is for whoever signs all mail.

A report's id is made of the day and the domains, so one that is sent twice, by a crash or by two servers of one domain,
is recognised as the same.
"""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import attrs

from mailgw.mail.address import Mailbox
from mailgw.trust.report_days import DAY_SECONDS, day_text
from mailgw.trust.report_mail import Reporter, ReportFile, report_mail
from mailgw.trust.tls_tallies import Detail, DomainTally, PolicyTally

GZIP_TYPE = "application/tlsrpt+gzip"  # s6.5


@attrs.frozen
class TlsReport:
    """One report: ``id`` as in its JSON, the ``file_name`` that s5.1 wants, ``content`` its JSON by gzip."""

    id: str
    domain: str
    day: int
    file_name: str
    content: bytes


def tls_report(reporter: Reporter, unique: str, tally: DomainTally) -> TlsReport:
    """The report of a domain's day.  ``unique``: letters and digits that tell this server from its brothers."""
    begin = tally.day * DAY_SECONDS
    submitter = reporter.contact.domain
    # s5.1: the last second of the day, as in the date-range of the example
    name = f"{submitter}!{tally.domain}!{begin}!{begin + DAY_SECONDS - 1}!{unique}.json.gz"
    identity = f"{begin}.{unique}.{tally.domain}@{submitter}"
    return TlsReport(identity, tally.domain, tally.day, name, _zipped(_json(reporter, identity, tally)))


def report_message(
    reporter: Reporter, report: TlsReport, tally: DomainTally, to: Sequence[Mailbox], now: float
) -> bytes:
    """The message with a report, CRLF line ends, 7-bit (s5.3).  ``to``: at least one mailbox, ASCII.

    ``TLS-Required: No`` (RFC 8689 s5) asks for delivery whatever TLS is like: it is what the report is about (s3).
    """
    submitter = reporter.contact.domain
    fields = [
        f"Subject: Report Domain: {report.domain}\r\n\tSubmitter: {submitter}\r\n\tReport-ID: <{report.id}>",
        f"Message-ID: <{report.id}>",
        f"TLS-Report-Domain: {report.domain}",
        f"TLS-Report-Submitter: {submitter}",
        "TLS-Required: No",
    ]
    return report_mail(
        reporter.contact, to, now, fields, 'multipart/report; report-type="tlsrpt"', _words(submitter, report, tally),
        ReportFile(report.file_name, GZIP_TYPE, report.content),
    )


def _words(submitter: str, report: TlsReport, tally: DomainTally) -> list[str]:
    successes = sum(one.successes for one in tally.policies)
    failures = sum(one.failures for one in tally.policies)
    return [
        f"This is a report on TLS from {submitter}, for whoever cares for the mail servers of",
        f"{report.domain}, on {day_text(report.day)} (UTC).",
        "",
        f"Sessions with TLS as it should be: {successes}.  Without: {failures}.",
        "",
        "The attached file says more; it is for programs, and described in RFC 8460.",
        "",
    ]


def _json(reporter: Reporter, identity: str, tally: DomainTally) -> bytes:
    begin = tally.day * DAY_SECONDS
    found = {
        "organization-name": reporter.organization,
        "date-range": {"start-datetime": _time(begin), "end-datetime": _time(begin + DAY_SECONDS - 1)},
        "contact-info": str(reporter.contact),
        "report-id": identity,
        "policies": [_policy(tally.domain, one) for one in tally.policies],
    }
    # Words of others may hold what is no Unicode.
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _policy(domain: str, tally: PolicyTally) -> dict[str, Any]:
    policy: dict[str, Any] = {"policy-type": tally.policy_type.value}
    if tally.policy_strings:
        policy["policy-string"] = list(tally.policy_strings)
    policy["policy-domain"] = domain
    if tally.mx_patterns:
        policy["mx-host"] = list(tally.mx_patterns)
    found: dict[str, Any] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": tally.successes, "total-failure-session-count": tally.failures,
        },
    }
    if tally.details:
        found["failure-details"] = [_failure(detail, count) for detail, count in tally.details]
    return found


def _failure(detail: Detail, count: int) -> dict[str, Any]:
    optional = {
        "sending-mta-ip": detail.sending_ip,
        "receiving-mx-hostname": detail.mx_host,
        "receiving-mx-helo": detail.helo,
        "receiving-ip": detail.receiving_ip,
    }
    found: dict[str, Any] = {"result-type": detail.result.value}
    found.update({key: word for key, word in optional.items() if word})
    found["failed-session-count"] = count
    if detail.reason:
        found["failure-reason-code"] = detail.reason
    return found


def _time(seconds: int) -> str:
    """RFC 3339 s5.6, UTC."""
    day, rest = divmod(seconds, DAY_SECONDS)
    return f"{day_text(day)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _zipped(octets: bytes) -> bytes:
    return gzip.compress(octets, mtime=0)  # the same octets each time
