"""Fuzzed: where a record wants reports by DMARC to go, and what strangers said in them."""

from mailgw.mail.address import Mailbox
from mailgw.testing import FakeResolver
from mailgw.trust.dmarc import QUERIES
from mailgw.trust.dmarc_destinations import Destinations, destinations, permission_name
from mailgw.trust.dmarc_record import REPORT_ADDRESSES, DmarcRecord, read_record
from mailgw.trust.dmarc_report import DmarcReporter, dmarc_report, report_message
from mailgw.trust.dmarc_tallies import DkimSeen, DmarcTally, Override, Reason, Row, SpfSeen
from mailgw.trust.report_mail import Reporter
from tests.trust.dmarc_schema import read_report, texts

DOMAIN = "a.example"
REPORTER = DmarcReporter(Reporter("Ours", Mailbox("dmarc", "gw.example")), "", "7f", "mailgw")


def addresses(octets: bytes) -> None:
    """A record of ``a.example``; behind a line end each ``NAME RECORD`` is what DNS says, ``NAME`` alone fails.  Who
    gets a report is of the same top-level domain, or allowed."""
    first, *rest = octets.split(b"\n")
    records: dict[str, list[bytes]] = {}
    failing: list[str] = []
    for line in rest:
        name, space, text = line.partition(b" ")
        if space:
            records.setdefault(name.decode("latin-1").lower(), []).append(text)
        else:
            failing.append(name.decode("latin-1").lower())
    resolver = FakeResolver(text_records=records, failing=frozenset(failing))
    try:
        destinations(DOMAIN, read_record(first), resolver).send(None)
    except StopIteration as done:
        found = done.value
        assert isinstance(found, Destinations)
        assert len(found.addresses) <= REPORT_ADDRESSES
        assert len(resolver.asked) <= REPORT_ADDRESSES * (2 * QUERIES + 1)
        for one in found.addresses:
            host = one.mailbox.domain
            assert one.mailbox.is_ascii
            assert f".{host}".endswith(".example") or permission_name(DOMAIN, host) in records, host
        assert all(words.isprintable() for words in (*found.refused, *found.unknown))


def words(octets: bytes) -> None:
    """Any words, as those of everybody who has a say in a report: it is one, and says them."""
    text = octets[:400].decode("utf-8", "surrogateescape")
    row = Row(
        text, "none", True, False, (Reason(Override.OTHER, text),), text, text, text,
        (DkimSeen(text, text, "pass", text),), SpfSeen(text, "none", text),
    )
    tally = DmarcTally(19_675, DOMAIN, DmarcRecord(), ((row, 1),), 0)
    report = dmarc_report(REPORTER, tally, 1 << 20)
    assert report is not None
    said = set(texts(read_report(report.content), "record/identifiers/header_from"))
    assert len(said) == 1
    if text.isprintable():
        assert said == {text}
    assert report_message(REPORTER, report, [REPORTER.reporter.contact], 0.0).isascii()
