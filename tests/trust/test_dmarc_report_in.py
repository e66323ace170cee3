"""DMARC aggregate reports of others: as they are really written, and as nobody should."""

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mailgw.trust.dmarc_report_in import (
    AUTH_RESULTS,
    DEPTH,
    ELEMENTS,
    OCTETS,
    REASONS,
    RECORDS,
    STRANGERS,
    TOKEN_OCTETS,
    AuthResult,
    DmarcReportIn,
    DmarcRow,
    Limits,
    Room,
    read_dmarc_report,
)
from mailgw.trust.report_mending import _PIECE_OCTETS, AMPERSANDS, MENDED_OCTETS, TAGS, mended
from mailgw.trust.report_words import COUNT, LATEST, TEXT, Unreadable
from tests.slowed import SLOWED
from tests.tables import each
from tests.trust.reports_written import GOOGLE, MAILRU, MICROSOFT, YAHOO, dmarc, record


def report(octets: bytes) -> DmarcReportIn:
    found = read_dmarc_report(octets)
    assert isinstance(found, DmarcReportIn), found
    return found


def fault(octets: bytes) -> str:
    found = read_dmarc_report(octets)
    assert isinstance(found, Unreadable), found
    return found.why


def test_one_in_the_manner_of_google() -> None:
    assert report(GOOGLE.encode()) == DmarcReportIn(
        "google.test", "noreply-dmarc-support@google.test", "11422230303030303030", 1700006400, 1700092799,
        "example.org",
        (("p", "none"), ("sp", "none"), ("np", "none"), ("pct", "100"), ("adkim", "r"), ("aspf", "r")),
        (DmarcRow(
            "2001:db8::25", 14, "none", "pass", "fail", (), "example.org", "", "",
            (AuthResult("dkim", "example.org", "s2026", "pass"), AuthResult("spf", "bounce.mailer.test", "", "pass")),
        ),),
    )


def test_one_in_the_manner_of_microsoft() -> None:
    found = report(MICROSOFT.encode())
    assert (found.organization, found.domain) == ("Enterprise Outlook", "example.org")
    [row] = found.rows
    assert row == DmarcRow(
        "198.51.100.7", 3, "reject", "fail", "fail", (), "example.org", "spam.test", "outlook.test",
        (AuthResult("spf", "spam.test", "mfrom", "softfail"),),
    )
    assert not row.passes


def test_one_in_the_manner_of_yahoo() -> None:
    found = report(YAHOO.encode())
    assert (found.organization, found.contact, found.report_id) == ("Yahoo Test", "", "1700089200.123456")
    [row] = found.rows
    assert (row.source, row.count, row.passes) == ("192.0.2.33", 5, True)
    assert row.reasons == ("mailing_list", "local_policy: arc=pass")
    assert row.auth == (
        AuthResult("dkim", "example.org", "old", "permerror"), AuthResult("dkim", "list.test", "l1", "pass"),
        AuthResult("spf", "news.example.org", "", "pass"),
    )


def test_one_in_the_manner_of_mail_ru_with_the_names_of_rfc_9990() -> None:
    found = report(MAILRU.encode())
    assert found.policy == (("p", "quarantine"), ("testing", "n"), ("discovery_method", "treewalk"))
    [row] = found.rows
    assert (row.source, row.auth, row.envelope_from, row.passes) == ("203.0.113.9", (), "", False)


@each("encoding", ["utf-16", "iso-8859-1", "windows-1252", "us-ascii", "UTF-8"])
def test_encodings(encoding: str) -> None:
    text = dmarc(org="b\xfccher" if encoding != "us-ascii" else "bucher", head="").decode()
    octets = f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
    assert report(octets).organization == ("b\xfccher" if encoding != "us-ascii" else "bucher")


def test_tags_in_any_case() -> None:
    text = GOOGLE.replace("<record>", "<Record>").replace("</record>", "</Record>").replace("feedback>", "FeedBack>")
    assert report(text.encode()) == report(GOOGLE.encode())


LAUGHS = '<?xml version="1.0"?><!DOCTYPE feedback [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9)) + "]><feedback>&j;</feedback>"


@each(("octets", "why"), [
    (LAUGHS.encode(), "it has a document type"),
    (b'<!DOCTYPE feedback SYSTEM "file:///etc/passwd"><feedback/>', "it has a document type"),
    (b'<!DOCTYPE feedback [<!ENTITY x SYSTEM "http://127.0.0.1/">]><feedback>&x;</feedback>', "it has a document type"),
    (b'<!DOCTYPE feedback [<!ENTITY % x SYSTEM "http://127.0.0.1/"> %x;]><feedback/>', "it has a document type"),
    (b"<feedback>&x;</feedback>", "it is no XML that can be read (undefined entity, line 1)"),
    (b"<feedback>&#0;</feedback>",
     "it is no XML that can be read (reference to invalid character number, line 1)"),
    (b"", "it is no XML that can be read (no element found, line 1)"),
    (b"<feedback>", "it is no XML that can be read (no element found, line 1)"),
    (b"<feedback></record>", "it is no XML that can be read (mismatched tag, line 1)"),
    (b"<feedback/><feedback/>", "it is no XML that can be read (junk after document element, line 1)"),
    (b"<html><feedback/></html>", "it is no DMARC report, but 'html'"),
    (b"<feedback/>", "it does not say whose it is"),
    (b"<feedback>\xff</feedback>", "it is no XML that can be read (not well-formed (invalid token), line 1)"),
    (dmarc(head='<?xml version="1.0" encoding="koi8-r"?>') + b"\xff", "its encoding is 'koi8-r'"),
    (dmarc(head='<?xml version="1.0" encoding="utf-7"?>') + b"\xff", "its encoding is 'utf-7'"),
    (dmarc(report_id=""), "it has no report_id"),
    (dmarc(domain=" "), "it is of no domain"),
    (dmarc(begin="-1"), "it is of days before 1970"),
    (dmarc(begin="-99999999999999999"), "it is of days before 1970"),
    (dmarc(begin="0" * 19), "the begin of its days is '0000000000000000000'"),
    (dmarc(begin="x"), "the begin of its days is 'x'"),
    (dmarc(begin="1e9"), "the begin of its days is '1e9'"),
    (dmarc(begin="١٧"), "the begin of its days is '١٧'"),
    (dmarc(end=""), "the end of its days is ''"),
    (dmarc(end="1699999999"), "its end is before its beginning"),
    (dmarc(end=str(LATEST + 1)), "it is of days after 2100"),
    (dmarc(record(count="")), "a record has no count"),
    (dmarc(record(count="-1")), "a count is '-1'"),
    (dmarc(record(count="1.5")), "a count is '1.5'"),
    (dmarc(record(count='"5"')), "a count is '\"5\"'"),
    (dmarc(record(count="٥")), "a count is '٥'"),
    (dmarc(record(count=str(COUNT + 1))), f"a count is more than {COUNT}"),
    (dmarc(record(count="9" * 500)), f"a count is more than {COUNT}"),
    (dmarc(report_id="x" * (TEXT + 1)), f"its report_id has more than {TEXT} characters"),
    (dmarc(record(header_from="x" * (TEXT + 1))), f"its header_from has more than {TEXT} characters"),
])
def test_what_is_none(octets: bytes, why: str) -> None:
    assert fault(octets) == why


@each(("octets", "is_good"), [
    (dmarc(report_id="x" * TEXT), True),
    (dmarc(record(count=str(COUNT))), True),
    (dmarc(begin="0", end="0"), True),
    (dmarc(begin="1700000000.5"), True),
    (dmarc(end=str(LATEST)), True),
    # metadata is 1 deep, the first of these 2
    (dmarc().replace(b"<report_metadata>", b"<report_metadata>" + b"<a>" * (DEPTH - 2) + b"</a>" * (DEPTH - 2)), True),
    (dmarc().replace(b"<report_metadata>", b"<report_metadata>" + b"<a>" * (DEPTH - 1) + b"</a>" * (DEPTH - 1)), False),
])
def test_the_last_that_is_let_through(octets: bytes, is_good: bool) -> None:
    assert isinstance(read_dmarc_report(octets), DmarcReportIn if is_good else Unreadable)


def test_as_many_octets_and_no_more() -> None:
    padded = dmarc() + b" " * (OCTETS - len(dmarc()))
    assert report(padded).report_id == "r1"
    assert fault(padded + b" ") == f"it has more than {OCTETS} octets"


@each(("records", "count", "why"), [
    (3, 3, ""), (3, 4, "it has more than 3 records, says the test"), (RECORDS, 4, ""),
])
def test_as_many_records_and_no_more(records: int, count: int, why: str) -> None:
    room = Room(Limits(OCTETS, records, ELEMENTS, ", says the test"))
    found = read_dmarc_report(dmarc(*[record(source=f"192.0.2.{n}", auth="") for n in range(count)]), room)
    assert (found.why if isinstance(found, Unreadable) else "") == why
    assert room.is_beyond is bool(why)
    assert (RECORDS, ELEMENTS, STRANGERS.records, STRANGERS.elements) == (50_000, 1_500_000, 2000, 100_000)


def test_as_many_elements_and_no_more() -> None:
    octets = b"<feedback>" + b"<b/>" * 9 + b"</feedback>"
    assert read_dmarc_report(octets, Room(Limits(OCTETS, 1, 10))) == Unreadable("it does not say whose it is")
    octets = octets.replace(b"</feed", b"<b/></feed")
    assert read_dmarc_report(octets, Room(Limits(OCTETS, 1, 10))) == Unreadable("it has more than 10 elements")


def test_a_message_shares_them_among_its_reports() -> None:
    room = Room(Limits(OCTETS, 3, ELEMENTS))
    two = dmarc(record(), record(count="2"))
    assert isinstance(read_dmarc_report(two, room), DmarcReportIn)
    assert read_dmarc_report(two, room) == Unreadable("it has more than 3 records")


def test_rows_that_are_alike_are_one() -> None:
    found = report(dmarc(record(count="2"), record(count="3", header_from="EXAMPLE.org"), record(dkim="fail"),
                         record(count=str(COUNT))))
    assert [(row.count, row.dkim) for row in found.rows] == [(COUNT + 5, "pass"), (1, "fail")]


def test_the_worst_of_a_stranger_costs_little() -> None:
    room = Room(STRANGERS)
    records = [record(source=f"192.0.{n >> 8}.{n & 255}") for n in range(STRANGERS.records)]
    start = time.thread_time()
    assert isinstance(read_dmarc_report(dmarc(*records), room), DmarcReportIn)
    assert time.thread_time() - start < 1 * SLOWED


BODY = dmarc(head="").decode()


@each(("octets", "organization"), [
    (('<?xml version="1.0" encoding="utf-16"?>' + BODY).encode(), "big.example"),
    (('<?xml version="1.0" encoding="gb2312"?>' + BODY).encode(), "big.example"),
    (dmarc(org="M\xfcller", head="").decode().encode("latin-1"), "M\xfcller"),
    (dmarc(org="M\xfcller").decode().encode("latin-1"), "M\xfcller"),
    (dmarc().replace(b"<feedback>", b'<feedback><xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" a="b">'),
     "big.example"),
    (dmarc(org="A & B &amp; C &lt;&#233; &nbsp;"), "A & B & C <\xe9 &nbsp;"),
    (dmarc() + b"\0\0", "big.example"), (dmarc() + b"\r\n-- \r\nA footer of a <list>.", "big.example"),
    (b"\xef\xbb\xbf" + dmarc(org="A & B"), "A & B"),
])
def test_what_is_mended(octets: bytes, organization: str) -> None:
    found = report(octets)
    assert (found.organization, len(found.rows)) == (organization, 1)


@each(("octets", "why"), [
    (('<?xml version="1.0" encoding="gb2312"?>' + BODY).encode() + b"\xff", "its encoding is 'gb2312'"),
    (dmarc(head="") + dmarc(head=""), "it is no XML that can be read (junk after document element, line 11)"),
    (b"<!DOCTYPE feedback>" + dmarc(org="A & B", head=""), "it has a document type"),
    (dmarc(org="A & B").replace(b"?>", b"?><!DOCTYPE feedback>"), "it has a document type"),
    (dmarc(org="A & B").replace(b"</report_metadata>", b""),
     "it is no XML that can be read (not well-formed (invalid token), line 4)"),
])
def test_what_is_not_mended(octets: bytes, why: str) -> None:
    assert fault(octets) == why


def test_as_much_is_mended_and_no_more() -> None:
    broken = dmarc(org="A & B")
    padded = broken + b" " * (MENDED_OCTETS - len(broken))
    assert isinstance(read_dmarc_report(padded), DmarcReportIn)
    assert isinstance(read_dmarc_report(padded + b" "), Unreadable)
    assert mended(b"<feedback>" + b"&" * AMPERSANDS) == b"<feedback>" + b"&amp;" * AMPERSANDS
    assert mended(b"<feedback>" + b"&" * (AMPERSANDS + 1)) is None
    assert mended(b"<" * TAGS) == b"<" * TAGS
    assert mended(b"<" * (TAGS + 1)) is None


@each(("front", "mended_to"), [
    (b"&", b"&amp;"), (b"<xs:schema a='b'>", b""), (b"</schema>", b""), (b"&#x1F600;", b"&#x1F600;"),
    (b"\xc3\xa9", b"\xc3\xa9"), (b"\xc3\xc3\xa9", b"\xc3\x83\xc3\x83\xc2\xa9"),
    (b"\xe2\x82\xac&", b"\xe2\x82\xac&amp;"),
])
def test_what_lies_across_pieces_is_mended_whole(front: bytes, mended_to: bytes) -> None:
    for before in range(_PIECE_OCTETS - len(front) - 1, _PIECE_OCTETS + 2):
        assert mended(b"x" * before + front + b"y") == b"x" * before + mended_to + b"y"
        assert mended(b"x" * before + b"</feedback>" + front) == b"x" * before + b"</feedback>"
        assert mended(b"</feedback>" + b"x" * before + b"<a:Feedback>") is None


@each("octets", [
    b"<" * TAGS + b"x" * (MENDED_OCTETS - TAGS), b"</feedback>" + b"<" * (TAGS - 1), b"<a" * TAGS,
    b"<aaaaaaaaa" * TAGS, b"<schema>" * TAGS, b"& " * AMPERSANDS, b"\xe9" * MENDED_OCTETS,
    b"\xc3\xa9" * (MENDED_OCTETS // 2), b"&" * AMPERSANDS + b"\xe9" * (MENDED_OCTETS - AMPERSANDS),
])
def test_others_may_run_while_it_is_mended(octets: bytes) -> None:
    moments = [time.thread_time()]
    mended(octets, lambda: moments.append(time.thread_time()))
    moments.append(time.thread_time())
    assert max(after - before for before, after in pairwise(moments)) < 0.03 * SLOWED


@each("octets", [b"<", b"<schema", b"<schema ", b"</feedback", b"<x:", b"&#", b"</a:feedback "])
def test_mending_takes_no_time(octets: bytes) -> None:
    start = time.thread_time()
    mended(octets * (MENDED_OCTETS // len(octets)))
    assert time.thread_time() - start < 0.5 * SLOWED


def test_a_token_without_an_end_is_not_read_again_and_again() -> None:
    start = time.process_time()
    why = f"a tag or a comment has more than {TOKEN_OCTETS} octets"
    assert fault(b"<feedback><!--" + b"x" * (OCTETS - 100) + b"--></feedback>") == why
    assert fault(b"<feedback " + b" ".join([b"a%d='x'" % n for n in range(1_000_000)]) + b"/>") == why
    assert time.process_time() - start < 2 * SLOWED
    assert fault(b"<feedback><!--" + b"x" * (TOKEN_OCTETS // 2) + b"--></feedback>") == "it does not say whose it is"


def test_of_more_results_and_reasons_the_first_are_kept() -> None:
    one = "<spf><domain>d{}.test</domain><result>fail</result></spf>"
    reasons = "".join(f"<reason><type>other</type><comment>{n}</comment></reason>" for n in range(REASONS + 1))
    text = record(auth="".join(one.format(n) for n in range(AUTH_RESULTS + 1)))
    [row] = report(dmarc(text.replace("</policy_evaluated>", f"{reasons}</policy_evaluated>"))).rows
    assert len(row.auth) == AUTH_RESULTS
    assert [row.auth[0].domain, row.auth[-1].domain] == ["d0.test", f"d{AUTH_RESULTS - 1}.test"]
    assert row.reasons == tuple(f"other: {n}" for n in range(REASONS))


@each(("said", "kept"), [
    ("EXAMPLE.org.", "example.org"),
    ("b\xfccher.example", "xn--bcher-kva.example"),
    ("ex\u0430mple.org", "xn--exmple-4nf.org"),  # a Cyrillic letter shows as what it is
    ("example.org\u202egro.elpmaxe", "example.org?gro.elpmaxe"),
    ("a b", "a b"), ("\u2603\u2603!", "\\u2603\\u2603!"),
    ("[192.0.2.1]", "[192.0.2.1]"),
])
def test_domains_are_what_they_are_not_what_they_look_like(said: str, kept: str) -> None:
    found = report(dmarc(record(header_from=said), domain=said))
    assert (found.domain, found.rows[0].header_from) == (kept, kept)


@each(("said", "kept"), [
    ("192.0.2.1", "192.0.2.1"), ("2001:DB8:0:0::1", "2001:db8::1"), ("::ffff:192.0.2.9", "192.0.2.9"),
    ("fe80::1%eth0", ""), ("192.0.2.256", ""), ("", ""), ("x", ""), ("192.0.2.1/24", ""), ("١.1.1.1", ""),
])
def test_sources(said: str, kept: str) -> None:
    assert report(dmarc(record(source=said))).rows[0].source == kept


def test_words_are_one_line_without_what_a_terminal_obeys() -> None:
    found = report(dmarc(org="a\n\tb\u202e\u2028c", report_id="x\ty"))
    assert (found.organization, found.report_id) == ("a b? c", "x y")


@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(0, 50))
def test_no_octets_raise(octets: bytes, at: int, cut: int) -> None:
    for whole in (octets, GOOGLE.encode()[:at] + octets + GOOGLE.encode()[at + cut:]):
        assert isinstance(read_dmarc_report(whole), DmarcReportIn | Unreadable)
