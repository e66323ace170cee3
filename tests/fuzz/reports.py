"""Fuzzed: reports of others, and what carries them."""

import zipfile

from mailgw.mail.address import is_shapely
from mailgw.trust.dmarc_report_in import AUTH_RESULTS, RECORDS, DmarcReportIn, read_dmarc_report
from mailgw.trust.report_words import COUNT, LATEST, TEXT, Unreadable
from mailgw.trust.reports_in import MEMBERS, ReportIn, open_report
from mailgw.trust.tls_report_in import TlsReportIn, read_tls_report
from tests.trust.reports_written import packed, zipped


def dmarc(octets: bytes) -> None:
    _is_bounded(read_dmarc_report(octets))


def tls(octets: bytes) -> None:
    _is_bounded(read_tls_report(octets))


def container(octets: bytes) -> None:
    """The first octet chooses what the rest is put into, if anything: nothing gets lost in that, nor more of it."""
    choice, inner = (octets[:1] or b"\0")[0] & 3, octets[1:]
    found = open_report(inner)
    for one in found.reports:
        _is_bounded(one)
    assert len(found.reports) + len(found.faults) <= MEMBERS + 1
    assert all(is_shapely(fault) for fault in found.faults), found.faults
    if inner.startswith((b"\x1f\x8b", b"PK")):
        return
    if choice == 1:
        assert open_report(packed(inner)) == found
    elif choice > 1:
        packing = zipfile.ZIP_STORED if choice == 2 else zipfile.ZIP_DEFLATED
        archived = open_report(zipped({"a": inner}, packing))
        assert archived.reports == found.reports
        assert archived.faults == tuple(f"a: {fault}" for fault in found.faults)


def _is_bounded(found: ReportIn | Unreadable) -> None:
    match found:
        case Unreadable(why):
            assert is_shapely(why), why
        case DmarcReportIn():
            _are_lines(found.organization, found.contact, found.report_id, found.domain)
            assert 0 <= found.begin <= found.end <= LATEST
            for row in found.rows:
                _are_lines(row.source, row.disposition, row.dkim, row.spf, row.header_from, *row.reasons)
                assert 0 <= row.count <= COUNT * RECORDS  # rows that are alike are one
                assert row.header_from.isascii()
                assert len(row.auth) <= AUTH_RESULTS
                for one in row.auth:
                    _are_lines(one.domain, one.name, one.result)
        case TlsReportIn():
            _are_lines(found.organization, found.contact, found.report_id)
            assert 0 <= found.begin <= found.end <= LATEST
            for policy in found.policies:
                _are_lines(policy.kind, policy.domain, *policy.strings, *policy.mx_patterns)
                assert max(policy.successes, policy.failures) <= COUNT
                for detail in policy.details:
                    _are_lines(detail.result, detail.mx_host, detail.helo, detail.reason)


def _are_lines(*texts: str) -> None:
    for text in texts:
        assert is_shapely(text), text
        # A letter beyond ASCII is up to ten in a domain's escapes.
        assert len(text) <= 10 * TEXT, text
