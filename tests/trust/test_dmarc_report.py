"""A report by DMARC as it is sent: its XML, its size, its message."""

import email
import email.policy
from email.message import EmailMessage
from typing import cast
from xml.etree import ElementTree as ET

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.trust.dmarc_record import Policy, read_record
from mailgw.trust.dmarc_report import AROUND_OCTETS, DmarcReport, DmarcReporter, dmarc_report, report_message
from mailgw.trust.dmarc_tallies import DkimSeen, DmarcTally, Override, Reason, Row, SpfSeen
from mailgw.trust.report_mail import Reporter
from tests.tables import each
from tests.trust.dmarc_schema import read_report, texts

DAY = 19_675
LIMIT = 10 << 20
REPORTER = DmarcReporter(Reporter('Ex "ample" & <Sons>', Mailbox("dmarc", "gw.example")), "", "7f", "mailgw 1")
RECORD = read_record(b"v=DMARC1; p=reject; rua=mailto:r@a.example")
ROW = Row(
    "192.0.2.1", "none", False, True, (Reason(Override.LOCAL_POLICY), Reason(Override.OTHER, "for <this> & that")),
    "x.a.example", "", "b.example", (DkimSeen("a.example", "s1", "fail", "body < hash"),),
    SpfSeen("a.example", "pass", "192.0.2.1 matches"),
)
TALLY = DmarcTally(DAY, "a.example", RECORD, ((ROW, 3),), 0)
A, B = Mailbox("r", "a.example"), Mailbox("r", "b.example")


def report_of(tally: DmarcTally = TALLY, limit_octets: int = LIMIT, extra: str = "") -> DmarcReport:
    found = dmarc_report(attrs.evolve(REPORTER, extra=extra), tally, limit_octets)
    assert found is not None
    return found


def plain(element: ET.Element) -> object:
    """Its text, or its children, by names without their namespace."""
    children = [(child.tag.partition("}")[2], plain(child)) for child in element]
    return children or (element.text or "")


def test_a_report() -> None:
    report = report_of(extra="https://gw.example/")
    assert report.file_name == "gw.example!a.example!1699920000!1700006399!7f.xml.gz"
    assert (report.rows, report.messages, report.left_out) == (1, 3, 0)
    assert plain(read_report(report.content)) == [
        ("version", "1.0"),
        ("report_metadata", [
            ("org_name", 'Ex "ample" & <Sons>'),
            ("email", "dmarc@gw.example"),
            ("extra_contact_info", "https://gw.example/"),
            ("report_id", "1699920000.7f.a.example@gw.example"),
            ("date_range", [("begin", "1699920000"), ("end", "1700006399")]),
            ("generator", "mailgw 1"),
        ]),
        ("policy_published", [
            ("domain", "a.example"), ("discovery_method", "treewalk"), ("p", "reject"), ("sp", "reject"),
            ("np", "reject"), ("fo", "0"), ("adkim", "r"), ("aspf", "r"), ("testing", "n"),
        ]),
        ("record", [
            ("row", [
                ("source_ip", "192.0.2.1"),
                ("count", "3"),
                ("policy_evaluated", [
                    ("disposition", "none"), ("dkim", "fail"), ("spf", "pass"),
                    ("reason", [("type", "local_policy")]),
                    ("reason", [("type", "other"), ("comment", "for <this> & that")]),
                ]),
            ]),
            ("identifiers", [("header_from", "x.a.example"), ("envelope_from", ""), ("envelope_to", "b.example")]),
            ("auth_results", [
                ("dkim", [
                    ("domain", "a.example"), ("selector", "s1"), ("result", "fail"), ("human_result", "body < hash"),
                ]),
                ("spf", [
                    ("domain", "a.example"), ("scope", "mfrom"), ("result", "pass"),
                    ("human_result", "192.0.2.1 matches"),
                ]),
            ]),
        ]),
    ]
    assert report_of(extra="https://gw.example/") == report


@each(("tags", "told"), [
    (b"", ["none"] * 3 + ["0", "r", "r", "n"]),
    (b"p=quarantine", ["quarantine"] * 3 + ["0", "r", "r", "n"]),
    (b"p=reject; sp=none; adkim=s; t=y; fo=d:1", ["reject", "none", "none", "1:d", "s", "r", "y"]),
    (b"p=none; np=reject; aspf=s", ["none", "none", "reject", "0", "r", "s", "n"]),
])
def test_the_policy_that_is_published(tags: bytes, told: list[str]) -> None:
    record = read_record(b"v=DMARC1; rua=mailto:r@a.example;" + tags)
    root = read_report(report_of(attrs.evolve(TALLY, record=record)).content)
    names = ("p", "sp", "np", "fo", "adkim", "aspf", "testing")
    assert [word for name in names for word in texts(root, f"policy_published/{name}")] == told


def test_nothing_that_may_be_left_away() -> None:
    row = attrs.evolve(ROW, envelope_to="", spf=None, dkim=(), reasons=())
    root = read_report(report_of(attrs.evolve(TALLY, rows=((row, 1),))).content)
    assert plain(root[-1]) == [
        ("row", [
            ("source_ip", "192.0.2.1"), ("count", "1"),
            ("policy_evaluated", [("disposition", "none"), ("dkim", "fail"), ("spf", "pass")]),
        ]),
        ("identifiers", [("header_from", "x.a.example"), ("envelope_from", "")]),
        ("auth_results", ""),
    ]


@each(("words", "told"), [
    ("a\x00b\x1b\x7f", "a\ufffdb\ufffd\x7f"),
    ("]]><!--&amp;", "]]><!--&amp;"),
    ("\udcff\ud800", "\ufffd\ufffd"),
    ("\ufffe\uffff\U0001f600", "\ufffd\ufffd\U0001f600"),
    ("tab\there", "tab\there"),
])
def test_words_that_xml_cannot_have(words: str, told: str) -> None:
    row = attrs.evolve(ROW, reasons=(Reason(Override.OTHER, words),), envelope_from=words)
    root = read_report(report_of(attrs.evolve(TALLY, rows=((row, 1),))).content)
    assert texts(root, "record/row/policy_evaluated/reason/comment") == [told]
    assert texts(root, "record/identifiers/envelope_from") == [told]


WORDS = st.text(max_size=20)
ROWS = st.builds(
    Row, WORDS, st.sampled_from(["none", "pass", "quarantine", "reject"]), st.booleans(), st.booleans(),
    st.lists(st.builds(Reason, st.sampled_from(Override), WORDS), max_size=2).map(tuple), WORDS, WORDS, WORDS,
    st.lists(st.builds(DkimSeen, WORDS, WORDS, st.sampled_from(["pass", "permerror"]), WORDS), max_size=2).map(tuple),
    st.none() | st.builds(SpfSeen, WORDS, st.sampled_from(["softfail", "temperror"]), WORDS),
)


@given(st.lists(st.tuples(ROWS, st.integers(1, 9)), min_size=1, max_size=5), st.integers(0, 3), WORDS)
def test_whatever_others_said_it_is_a_report(rows: list[tuple[Row, int]], left_out: int, extra: str) -> None:
    report = report_of(attrs.evolve(TALLY, rows=tuple(rows), left_out=left_out), extra=extra)
    root = read_report(report.content)
    assert sum(map(int, texts(root, "record/row/count"))) == report.messages
    assert report.left_out == left_out
    assert bool(texts(root, "report_metadata/error")) is (left_out > 0)


# --- size -----------------------------------------------------------------------------------------------------

def many(rows: int) -> DmarcTally:
    """Rows of one message each, but for the last, which has two; one more message found no place."""
    found = [(attrs.evolve(ROW, source_ip=f"2001:db8::{number:x}"), 1) for number in range(rows - 1)]
    return attrs.evolve(TALLY, rows=(*found, (attrs.evolve(ROW, source_ip="192.0.2.9"), 2)), left_out=1)


def test_a_report_that_is_too_large_has_fewer_rows() -> None:
    whole = report_of(many(400))
    assert (whole.rows, whole.messages, whole.left_out) == (400, 401, 1)
    assert texts(read_report(whole.content), "report_metadata/error") == ["There was no room for 1 messages."]
    limit = 8_000
    report = report_of(many(400), limit)
    assert 10 < report.rows < 400
    assert report.messages + report.left_out == 402
    root = read_report(report.content)
    assert texts(root, "record/row/source_ip")[0] == "192.0.2.9"  # of the most messages
    assert texts(root, "report_metadata/error") == [
        f"There was no room for {report.left_out} messages, among them the {400 - report.rows} rows of the fewest"
        " messages."
    ]
    message = report_message(REPORTER, report, [A], 0.0)
    assert len(message) <= limit
    assert f"no room for {report.left_out} more".encode() in message


def test_the_limit_is_kept_to_the_octet() -> None:
    whole = report_of(many(200))
    # A line of base64 has 57 octets of the content, and 78 of the message.
    limit = AROUND_OCTETS + -(-len(whole.content) // 57) * 78
    assert report_of(many(200), limit).rows == 200
    assert report_of(many(200), limit - 1).rows < 200
    assert len(report_message(REPORTER, whole, [A], 0.0)) <= limit


@each("limit", [0, 1024, AROUND_OCTETS, AROUND_OCTETS + 78])
def test_where_not_even_one_row_fits_there_is_no_report(limit: int) -> None:
    assert dmarc_report(REPORTER, many(3), limit) is None


def test_without_rows_there_is_no_report() -> None:
    assert dmarc_report(REPORTER, attrs.evolve(TALLY, rows=(), left_out=5), LIMIT) is None


@given(st.integers(4_000, 12_000))
def test_whatever_the_limit_it_is_kept(limit: int) -> None:
    report = dmarc_report(REPORTER, many(60), limit)
    if report is not None:
        assert len(report_message(REPORTER, report, [A, B], 0.0)) <= limit
        assert 1 <= report.rows <= 60


# --- its message ----------------------------------------------------------------------------------------------

def test_a_report_s_message() -> None:
    report = report_of()
    octets = report_message(REPORTER, report, [A, B], 1_700_010_000.0)
    assert octets.isascii()
    assert b"\n" not in octets.replace(b"\r\n", b"")
    message = cast(EmailMessage, email.message_from_bytes(octets, policy=email.policy.default))
    assert not message.defects
    assert message["From"] == "dmarc@gw.example"
    assert message["To"] == "r@a.example, r@b.example"
    # s3.5.2: the form that the field must have
    assert " ".join(message["Subject"].split()) == (
        "Report Domain: a.example Submitter: gw.example Report-ID: <1699920000.7f.a.example@gw.example>"
    )
    assert message["Message-ID"] == "<1699920000.7f.a.example@gw.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Wed, 15 Nov 2023 01:00:00 +0000"
    words, attached = message.iter_parts()
    assert "a.example, on 2023-11-14" in cast(EmailMessage, words).get_content()
    assert "about 3 messages" in cast(EmailMessage, words).get_content()
    assert attached.get_content_type() == "application/gzip"
    assert attached.get_filename() == report.file_name
    assert attached.get_payload(decode=True) == report.content


def test_the_longest_names_fit() -> None:
    domain = ".".join(["a" * 62] * 4)[:251]
    reporter = attrs.evolve(REPORTER, reporter=Reporter("x" * 300, Mailbox("d" * 64, "b" + domain)))
    tally = attrs.evolve(many(300), domain="c" + domain)
    to = [Mailbox(f"{number}" * 64, domain) for number in range(4)]
    report = dmarc_report(reporter, tally, LIMIT)
    assert report is not None
    octets = report_message(reporter, report, to, 0.0)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert len(octets) - -(-len(report.content) // 57) * 78 <= AROUND_OCTETS


def test_policy_words_are_those_of_the_schema() -> None:
    for policy in Policy:
        read_report(report_of(attrs.evolve(TALLY, record=attrs.evolve(RECORD, p=policy))).content)


def test_the_strict_reader_is_strict() -> None:
    row = attrs.evolve(ROW, disposition="bounced")
    with pytest.raises(AssertionError, match="bounced"):
        read_report(report_of(attrs.evolve(TALLY, rows=((row, 1),))).content)
    with pytest.raises(AssertionError):
        read_report(report_of().content[:-1])
