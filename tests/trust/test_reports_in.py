"""Reports in what carries them."""

import gzip
import struct
import time
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.letter import LetterLimits, parse_letter
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.trust.dmarc_report import dmarc_report, report_message
from mailgw.trust.dmarc_report_in import OCTETS, STRANGERS, AuthResult, DmarcReportIn, Room
from mailgw.trust.reports_in import ARCHIVE_OCTETS, ATTACHMENTS, MEMBERS, Opened, open_report, reports_of
from mailgw.trust.tls_report import report_message as tls_message
from mailgw.trust.tls_report import tls_report
from mailgw.trust.tls_report_in import TlsReportIn
from mailgw.trust.tls_tallies import Detail, PolicyTally
from mailgw.trust.tls_tallies import DomainTally as TlsTally
from tests.slowed import SLOWED
from tests.tables import each
from tests.trust.reports_written import GOOGLE, TLS, dmarc, mail, packed, zipped
from tests.trust.test_dmarc_report import DAY, REPORTER, TALLY, A

XML = dmarc()


def many(count: int) -> bytes:
    return zipped({f"r{n}.xml": dmarc(report_id=f"r{n}") for n in range(count)})


def encrypted() -> bytes:
    """With the flag that says so; the rest does not matter."""
    whole = bytearray(zipped({"a.xml": XML}))
    at = whole.index(b"PK\x01\x02")
    whole[at + 8] |= 1
    return bytes(whole)


@each(("octets", "reports", "faults"), [
    (XML, 1, []), (b"\r\n" + XML, 1, []), (b"\xef\xbb\xbf" + XML, 1, []), (TLS, 1, []),
    (XML.decode().replace("UTF-8", "utf-16").encode("utf-16"), 1, []),
    (packed(XML), 1, []), (packed(TLS), 1, []), (packed(XML[:40]) + packed(XML[40:]) + b"\0\0", 1, []),
    (zipped({"a.xml": XML, "b.json": TLS, "c/": b""}), 2, []), (zipped({"a.xml": XML}, zipfile.ZIP_STORED), 1, []),
    (many(MEMBERS), MEMBERS, []), (many(MEMBERS + 1), 0, [f"its archive has more than {MEMBERS} members"]),
    (many(10 * MEMBERS), 0, [f"its archive has more than {MEMBERS} members"]),
    (b"", 0, ["it is neither XML nor JSON"]), (b"%PDF", 0, ["it is neither XML nor JSON"]),
    (packed(packed(XML)), 0, ["an archive in an archive is not opened"]),
    (packed(zipped({"a.xml": XML})), 0, ["an archive in an archive is not opened"]),
    (zipped({"a.zip": zipped({"a.xml": XML})}), 0, ["a.zip: an archive in an archive is not opened"]),
    (zipped({"../../etc/passwd\u202e": b"x"}), 0, ["../../etc/passwd?: it is neither XML nor JSON"]),
    (zipped({"a.xml": XML}, zipfile.ZIP_BZIP2), 0, ["its archive is compressed in a way that is not read"]),
    (zipped({"a.xml": XML}, zipfile.ZIP_LZMA), 0, ["its archive is compressed in a way that is not read"]),
    (encrypted(), 0, ["its archive is encrypted"]),
    (packed(XML)[:-9], 0, ["its gzip is cut off"]), (packed(XML)[:30] + b"\xff" * 30, 0, ["its gzip is broken"]),
    (packed(XML)[:-8] + b"\0" * 8, 0, ["its gzip is broken"]),
    (b"\x1f\x8b", 0, ["its gzip is cut off"]), (b"PK", 0, ["its archive is broken (BadZipFile)"]),
    (b"PK\x05\x06" + b"\0" * 18, 0, []),
    (b"".join(packed(b"") for _ in range(MEMBERS)), 0, ["it is neither XML nor JSON"]),
    (b"".join(packed(b"") for _ in range(MEMBERS + 1)), 0, [f"its gzip has more than {MEMBERS} members"]),
    (packed(b" " * (OCTETS - len(TLS)) + TLS), 0, None), (packed(XML + b" " * (OCTETS - len(XML))), 1, []),
    (packed(XML + b" " * (OCTETS + 1 - len(XML))), 0, [f"it inflates to more than {OCTETS} octets"]),
    (zipped({"a": XML + b" " * (OCTETS - len(XML))}), 1, []),
    (zipped({"a": XML + b" " * (OCTETS + 1 - len(XML))}), 0, [f"it inflates to more than {OCTETS} octets"]),
    (zipped({"a": XML, "b": b" " * OCTETS}), 1, [f"it inflates to more than {OCTETS} octets"]),
    (packed(XML) + b"\0" * (ARCHIVE_OCTETS - len(packed(XML))), 1, []),
    (packed(XML) + b"\0" * (ARCHIVE_OCTETS - len(packed(XML)) + 1), 0, [f"it has more than {ARCHIVE_OCTETS} octets"]),
    (b"PK" + b"\0" * ARCHIVE_OCTETS, 0, [f"it has more than {ARCHIVE_OCTETS} octets"]),
])
def test_what_a_container_holds(octets: bytes, reports: int, faults: list[str] | None) -> None:
    found = open_report(octets)
    assert len(found.reports) == reports
    assert faults is None or list(found.faults) == faults


def test_bombs_cost_no_time() -> None:
    zeros = b"\0" * (OCTETS + 1000)
    bombs = (gzip.compress(zeros, 1), zipped({"a.xml": zeros}), gzip.compress(zeros, 1) * MEMBERS)
    start = time.process_time()
    for bomb in bombs:
        assert open_report(bomb).faults == (f"it inflates to more than {OCTETS} octets",)
    assert time.process_time() - start < 1 * SLOWED


def test_an_archive_that_lies_of_its_sizes() -> None:
    whole = bytearray(zipped({"a.xml": b"\0" * (OCTETS + 1000)}))
    at = whole.index(b"PK\x01\x02")
    whole[at + 24:at + 28] = struct.pack("<I", 10)
    found = open_report(bytes(whole))
    assert found.reports == ()
    assert len(found.faults) == 1


@each(("octets", "content_type", "name"), [
    (packed(XML), "application/gzip", "a!b!1!2.xml.gz"), (packed(XML), "application/x-gzip", ""),
    (zipped({"a.xml": XML}), "application/zip", "a.zip"), (zipped({"a.xml": XML}), "application/x-zip-compressed", "x"),
    (packed(XML), "application/octet-stream", "A!B!1!2.XML.GZ"),
    (zipped({"a.xml": XML}), "application/octet-stream", "a.zip"),
    (packed(XML), "application/zip", "a.zip"), (XML, "text/xml", "a.xml"), (XML, "application/xml", ""),
    (packed(TLS), "application/tlsrpt+gzip", "a.json.gz"), (TLS, "application/tlsrpt+json", "a.json"),
    (XML, "text/plain", "a.xml"), (packed(XML), "application/octet-stream", ""),
    (zipped({"a.xml": XML}), "application/octet-stream", ""),
])
def test_what_is_looked_at(octets: bytes, content_type: str, name: str) -> None:
    letter = parse_letter(mail(octets, content_type, name), LetterLimits())
    assert len(reports_of(letter).reports) == 1
    bare = f"Content-Type: {content_type}; name=\"{name}\"\nContent-Transfer-Encoding: base64\n\n"
    if content_type != "text/plain":
        from base64 import encodebytes

        alone = parse_letter(bare.encode() + encodebytes(octets), LetterLimits())
        assert len(reports_of(alone).reports) == 1


@each(("octets", "content_type", "name"), [
    (packed(XML), "application/octet-stream", "a.bin"), (XML, "text/plain", ""), (XML, "application/pdf", "a.pdf"),
    (b"From: a@b.test\n\nx", "message/rfc822", ""), (XML, "application/octet-stream", ""),
])
def test_what_is_not(octets: bytes, content_type: str, name: str) -> None:
    assert reports_of(parse_letter(mail(octets, content_type, name), LetterLimits())) == Opened((), ())


@each(("depth", "reports"), [(0, 1), (1, 1), (2, 0)])
def test_a_forwarded_message_is_opened_once(depth: int, reports: int) -> None:
    whole = b"From: a@b.test\nContent-Type: message/rfc822\n\n" * depth + mail(packed(XML))
    assert len(reports_of(parse_letter(whole, LetterLimits())).reports) == reports


@each(("octets", "is_beyond"), [
    (XML + b" " * (STRANGERS.octets - len(XML)), False), (XML + b" " * (STRANGERS.octets + 1 - len(XML)), True),
])
def test_of_a_stranger_less_is_read(octets: bytes, is_beyond: bool) -> None:
    for carried in (octets, packed(octets), zipped({"a.xml": octets})):
        whole = mail(carried, "text/xml", "a").replace(b"\n", b"\r\n")
        found = reports_of(parse_letter(whole, LetterLimits()), Room(STRANGERS))
        assert (len(found.reports), found.is_beyond) == (not is_beyond, is_beyond)
        assert not is_beyond or found.faults == (
            f"a: it inflates to more than {STRANGERS.octets} octets, the most of a sender whom DMARC does not "
            "vouch for",)


def test_as_many_attachments_and_no_more() -> None:
    def whole(count: int) -> bytes:
        part = b"--b\nContent-Type: text/xml\n\n%b\n"
        parts = b"".join(part % dmarc(report_id=f"r{n}") for n in range(count))
        return b'Content-Type: multipart/mixed; boundary="b"\n\n' + parts + b"--b--\n"

    found = reports_of(parse_letter(whole(ATTACHMENTS), LetterLimits()))
    assert (len(found.reports), found.faults) == (ATTACHMENTS, ())
    found = reports_of(parse_letter(whole(ATTACHMENTS + 1), LetterLimits()))
    assert len(found.reports) == ATTACHMENTS
    assert found.faults == (f"it has more than {ATTACHMENTS} attachments that may be reports",)


def test_all_attachments_share_what_may_be_inflated() -> None:
    from base64 import encodebytes

    big = encodebytes(packed(XML + b" " * (OCTETS - len(XML) - 10)))
    small = encodebytes(packed(GOOGLE.encode()))
    part = b"--b\nContent-Type: application/gzip\nContent-Transfer-Encoding: base64\n\n%b\n"
    whole = b'Content-Type: multipart/mixed; boundary="b"\n\n' + part % big + part % small + b"--b--\n"
    found = reports_of(parse_letter(whole, LetterLimits()))
    assert len(found.reports) == 1
    assert found.faults == (f"application/gzip: it inflates to more than {OCTETS} octets",)


def test_a_message_beyond_a_limit_says_so() -> None:
    letter = parse_letter(mail(XML, "text/xml", "a.xml"), LetterLimits(octets=100))
    [fault] = reports_of(letter).faults
    assert fault.startswith("it has ")


@given(st.binary(max_size=100), st.integers(0, 500), st.integers(0, 20), st.booleans())
def test_no_octets_raise(octets: bytes, at: int, cut: int, is_zip: bool) -> None:
    whole = zipped({"a.xml": XML, "b": b""}) if is_zip else packed(XML)
    assert isinstance(open_report(whole[:at] + octets + whole[at + cut:]), Opened)


def test_what_we_send_ourselves_is_read() -> None:
    detail = Detail(TlsFailure.CERTIFICATE_EXPIRED, "192.0.2.2", "mx.a.example", "mx", "192.0.2.1", "it is")
    tls = TlsTally(DAY, "a.example", (PolicyTally(PolicyType.TLSA, ("3 1 1 aa",), (), 7, 3, ((detail, 3),)),))
    us = REPORTER.reporter
    octets = tls_message(us, tls_report(us, "u1", tls), tls, [A], 0.0)
    opened = reports_of(parse_letter(octets, LetterLimits()))
    assert opened.faults == ()
    [found] = opened.reports
    assert isinstance(found, TlsReportIn)
    [policy] = found.policies
    assert (policy.domain, policy.successes, policy.failures, policy.details[0].count) == ("a.example", 7, 3, 3)

    made = dmarc_report(REPORTER, TALLY, 1 << 20)
    assert made is not None
    opened = reports_of(parse_letter(report_message(REPORTER, made, [A], 0.0), LetterLimits()))
    assert opened.faults == ()
    [found] = opened.reports
    assert isinstance(found, DmarcReportIn)
    assert (found.organization, found.report_id, found.domain) == (us.organization, made.id, "a.example")
    assert (found.begin, found.end) == (DAY * 86400, DAY * 86400 + 86399)
    assert found.policy[0] == ("p", "reject")
    [row] = found.rows
    assert (row.source, row.count, row.dkim, row.spf, row.disposition) == ("192.0.2.1", 3, "fail", "pass", "none")
    assert row.reasons == ("local_policy", "other: for <this> & that")
    assert row.auth == (AuthResult("dkim", "a.example", "s1", "fail"), AuthResult("spf", "a.example", "mfrom", "pass"))
