"""TLSRPT: where reports go, what is counted, and the reports themselves."""

import email
import email.policy
import gzip
import json
from email.message import EmailMessage
from typing import Any, cast

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult
from mailgw.trust import tls_tallies
from mailgw.trust.report_days import day_of
from mailgw.trust.report_mail import Reporter
from mailgw.trust.tls_report import report_message, tls_report
from mailgw.trust.tls_tallies import Tallies
from mailgw.trust.tlsrpt import DESTINATIONS, URI_OCTETS, Destinations, destinations
from tests.tables import each

DAY = 19_675  # 2023-11-14
A, B = Mailbox("a", "x.example"), Mailbox("b", "x.example")
URL = "https://r.example/v1?x=y"


# --- where they go ----------------------------------------------------------------------------------------

@each(("records", "mailboxes", "urls"), [
    ([b"v=TLSRPTv1;rua=mailto:a@x.example"], (A,), ()),
    ([b"v=TLSRPTv1; rua=https://r.example/v1?x=y;"], (), (URL,)),
    ([b"v=TLSRPTv1 ; rua=mailto:a@x.example , https://r.example/v1?x=y,mailto:b@x.example"], (A, B), (URL,)),
    ([b"v=TLSRPTv1; rua=mailto:a@x.example; rua=mailto:b@x.example"], (A, B), ()),
    ([b"v=TLSRPTv1; x=y; rua=mailto:a@x.example; z"], (A,), ()),
    ([b"v=TLSRPTv1; rua=mailto:a@x.example,mailto:a@X.example"], (A,), ()),
    ([b"v=TLSRPTv1; rua=MAILTO:a@x.example?subject=hi"], (A,), ()),
    ([b"v=TLSRPTv1; rua=mailto:a%2Cb%21@x.example"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:%61@x.example"], (A,), ()),
    ([b"x", b"v=TLSRPTv1; rua=mailto:a@x.example"], (A,), ()),
    ([b"v=TLSRPTv2; rua=mailto:a@x.example"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:a@x.example"] * 2, (), ()),
    ([b"rua=mailto:a@x.example"], (), ()),
    ([b"v=TLSRPTv1"], (), ()),
    ([b"v=TLSRPTv1;"], (), ()),
    ([], (), ()),
    # what mail or HTTPS could not reach, or should not
    ([b"v=TLSRPTv1; rua=mailto:a"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:a@[127.0.0.1]"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:\xc3\xa4@x.example"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:%C3%A4@x.example"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:%FF@x.example"], (), ()),
    ([b"v=TLSRPTv1; rua=mailto:a%0D%0ABcc:b@x.example"], (), ()),
    ([b"v=TLSRPTv1; rua=http://r.example/"], (), ()),
    ([b"v=TLSRPTv1; rua=https:///x"], (), ()),
    ([b"v=TLSRPTv1; rua=https://user:secret@r.example/"], (), ()),
    ([b"v=TLSRPTv1; rua=https://r.example:0/"], (), ()),
    ([b"v=TLSRPTv1; rua=https://r.example:65536/"], (), ()),
    ([b"v=TLSRPTv1; rua=https://[r/"], (), ()),
    ([b"v=TLSRPTv1; rua=https://r.example/#x"], (), ()),
    ([b"v=TLSRPTv1; rua=https://r.example/a b"], (), ()),
    ([b"v=TLSRPTv1; rua=ftp://r.example/,mailto:a@x.example"], (A,), ()),
])
def test_destinations(records: list[bytes], mailboxes: tuple[Mailbox, ...], urls: tuple[str, ...]) -> None:
    found = destinations(records)
    assert found == Destinations(mailboxes, urls)
    assert bool(found) is bool(mailboxes or urls)


def test_destinations_have_limits() -> None:
    many = b",".join(b"mailto:m%d@x.example" % number for number in range(DESTINATIONS + 1))
    assert len(destinations([b"v=TLSRPTv1;rua=" + many]).mailboxes) == DESTINATIONS
    long = b"https://r.example/".ljust(URI_OCTETS, b"x")
    assert destinations([b"v=TLSRPTv1;rua=" + long]).urls == (long.decode(),)
    assert not destinations([b"v=TLSRPTv1;rua=" + long + b"x"])


@given(st.lists(st.binary() | st.binary().map(lambda rest: b"v=TLSRPTv1;rua=" + rest), max_size=2))
def test_any_records_go_somewhere_or_nowhere(records: list[bytes]) -> None:
    found = destinations(records)
    for mailbox in found.mailboxes:
        assert mailbox.is_ascii
        assert str(mailbox).isprintable()
    assert all(url.isprintable() and url.isascii() for url in found.urls)


# --- what is counted --------------------------------------------------------------------------------------

GOOD = TlsResult(
    "x.example", PolicyType.STS, ("version: STSv1", "mode: testing"), ("*.x.example",), "mx.x.example", "192.0.2.1",
    "192.0.2.2", "mx", TlsFailure.SUCCESS, "",
)
EXPIRED = attrs.evolve(GOOD, result=TlsFailure.CERTIFICATE_EXPIRED, reason="certificate has expired")
CLEAR = TlsResult(
    "x.example", PolicyType.NONE, (), (), "mx.x.example", "", "", "", TlsFailure.STARTTLS_NOT_SUPPORTED, "",
)


def counted(*results: TlsResult, limit: int = 100_000) -> Tallies:
    tallies = Tallies(limit)
    for result in results:
        tallies.count(result, DAY)
    return tallies


def details(tallies: Tallies, policy: int = 0) -> list[tuple[str, str, int]]:
    tally = tallies.tally(DAY, "x.example")
    assert tally is not None
    return [(one.result.value, one.reason, count) for one, count in tally.policies[policy].details]


def test_sessions_are_counted_by_policy_and_kind() -> None:
    tallies = counted(GOOD, EXPIRED, GOOD, EXPIRED, attrs.evolve(EXPIRED, receiving_ip="192.0.2.3"), CLEAR)
    tally = tallies.tally(DAY, "x.example")
    assert tally is not None
    sums = [(one.policy_type, one.successes, one.failures) for one in tally.policies]
    assert sums == [("sts", 2, 3), ("no-policy-found", 0, 1)]
    counts = [(one.receiving_ip, count) for one, count in tally.policies[0].details]
    assert counts == [("192.0.2.2", 2), ("192.0.2.3", 1)]


def test_days_and_domains() -> None:
    tallies = counted(GOOD)
    tallies.count(GOOD, DAY + 1)
    tallies.count(attrs.evolve(GOOD, domain="a.example"), DAY)
    assert tallies.closed(DAY) == []
    assert tallies.closed(DAY + 1) == [(DAY, "a.example"), (DAY, "x.example")]
    assert len(tallies.closed(DAY + 2)) == 3
    tallies.remove(DAY, "x.example")
    tallies.remove(DAY, "x.example")
    assert tallies.tally(DAY, "x.example") is None
    assert tallies.closed(DAY + 2) == [(DAY, "a.example"), (DAY + 1, "x.example")]


def test_what_was_told_before_changes_with_every_count() -> None:
    tallies = Tallies(100_000)
    other = attrs.evolve(GOOD, domain="a.example")
    for number in (1, 2, 3):
        tallies.count(GOOD, DAY)
        tallies.count(other, DAY)
        assert [tally.policies[0].successes for tally in tallies.all()] == [number, number]
    tallies.remove(DAY, "a.example")
    assert [tally.domain for tally in tallies.all()] == ["x.example"]
    tallies.count(other, DAY)
    assert [tally.policies[0].successes for tally in tallies.all()] == [3, 1]


@each(("results", "has"), [
    ([GOOD], True),
    ([CLEAR], True),
    ([attrs.evolve(CLEAR, policy_type=PolicyType.STS, result=TlsFailure.STS_WEBPKI_INVALID)], False),
    ([attrs.evolve(CLEAR, policy_type=PolicyType.STS, result=TlsFailure.STS_POLICY_FETCH_ERROR), GOOD], True),
])
def test_a_policy_that_is_not_learned_is_no_session(results: list[TlsResult], has: bool) -> None:
    tally = counted(*results).tally(DAY, "x.example")
    assert tally is not None
    assert tally.has_sessions is has


@each(("now", "day"), [(0.0, 0), (86_399.9, 0), (86_400.0, 1), (1_700_000_000.0, DAY)])
def test_days_begin_at_midnight_utc(now: float, day: int) -> None:
    assert day_of(now) == day


def test_kinds_of_failure_have_a_limit() -> None:
    most = tls_tallies.DETAILS
    tallies = counted(*(attrs.evolve(EXPIRED, reason=str(number)) for number in range(most)))
    assert len(details(tallies)) == most
    for number in range(3):
        tallies.count(attrs.evolve(EXPIRED, reason=f"more {number}"), DAY)
    assert len(details(tallies)) == most + 1
    assert details(tallies)[-1] == ("certificate-expired", "", 3)
    tallies.count(attrs.evolve(EXPIRED, reason="7"), DAY)
    assert details(tallies)[7] == ("certificate-expired", "7", 2)


def test_policies_of_a_domain_have_a_limit() -> None:
    most = tls_tallies.POLICIES
    tallies = counted(*(attrs.evolve(GOOD, policy_strings=(str(number),)) for number in range(most)))
    assert tallies.lost == 0
    tallies.count(CLEAR, DAY)
    tallies.count(attrs.evolve(GOOD, policy_strings=("0",)), DAY)
    assert tallies.lost == 1
    tally = tallies.tally(DAY, "x.example")
    assert tally is not None
    assert [one.successes for one in tally.policies] == [2] + [1] * (most - 1)


def test_all_of_it_has_a_limit() -> None:
    weight = counted(CLEAR)._octets
    tallies = counted(CLEAR, limit=weight)
    assert tallies.lost == 0
    assert details(tallies) == [("starttls-not-supported", "", 1)]
    tight = counted(CLEAR, CLEAR, attrs.evolve(CLEAR, domain="y.example"), limit=weight - 1)
    assert tight.lost == 1
    tally = tight.tally(DAY, "x.example")
    assert tally is not None
    [(detail, count)] = tally.policies[0].details
    assert (detail.mx_host, count) == ("", 2)  # counted, without its particulars
    assert counted(CLEAR, limit=10).lost == 1
    tallies.remove(DAY, "x.example")
    tallies.count(attrs.evolve(CLEAR, domain="y.example"), DAY)
    assert tallies.lost == 0


def test_words_of_others_are_cut() -> None:
    long = "x" * 10_000
    tallies = counted(attrs.evolve(EXPIRED, reason=long, receiving_helo=long, policy_strings=(long,)))
    tally = tallies.tally(DAY, "x.example")
    assert tally is not None
    [(detail, _)] = tally.policies[0].details
    assert (len(detail.reason), len(detail.helo)) == (tls_tallies.WORDS, tls_tallies.WORDS)
    assert len(tally.policies[0].policy_strings[0]) == tls_tallies.POLICY_LINE


RESULTS = st.builds(
    TlsResult, st.sampled_from(["x.example", "y.example"]), st.sampled_from(PolicyType),
    st.lists(st.sampled_from(["1", "2"])).map(tuple), st.just(()), st.sampled_from(["", "mx"]),
    st.just(""), st.just(""), st.just(""), st.sampled_from(TlsFailure), st.sampled_from(["", "why"]),
)


@given(st.lists(st.tuples(RESULTS, st.integers(1, 3))), st.sampled_from([500, 2000, 100_000]))
def test_what_is_restored_is_what_was_kept(results: list[tuple[TlsResult, int]], limit: int) -> None:
    tallies = Tallies(limit)
    for result, day in results:
        tallies.count(result, day)
    again = Tallies(limit, tallies.all())
    assert again.all() == tallies.all()
    assert again._octets == tallies._octets
    for day, domain in again.closed(10):
        again.remove(day, domain)
    assert (again.all(), again._octets) == ([], 0)


# --- reports ----------------------------------------------------------------------------------------------

REPORTER = Reporter('Ex "ample"', Mailbox("tls", "gw.example"))


def report_of(*results: TlsResult) -> tuple[Any, Any]:
    tally = counted(*results).tally(DAY, "x.example")
    assert tally is not None
    return tls_report(REPORTER, "7f", tally), tally


def test_a_report() -> None:
    report, _ = report_of(GOOD, GOOD, EXPIRED, EXPIRED, CLEAR)
    assert report.file_name == "gw.example!x.example!1699920000!1700006399!7f.json.gz"
    assert json.loads(gzip.decompress(report.content)) == {
        "organization-name": 'Ex "ample"',
        "date-range": {"start-datetime": "2023-11-14T00:00:00Z", "end-datetime": "2023-11-14T23:59:59Z"},
        "contact-info": "tls@gw.example",
        "report-id": "1699920000.7f.x.example@gw.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts", "policy-string": ["version: STSv1", "mode: testing"],
                    "policy-domain": "x.example", "mx-host": ["*.x.example"],
                },
                "summary": {"total-successful-session-count": 2, "total-failure-session-count": 2},
                "failure-details": [{
                    "result-type": "certificate-expired", "sending-mta-ip": "192.0.2.1",
                    "receiving-mx-hostname": "mx.x.example", "receiving-mx-helo": "mx", "receiving-ip": "192.0.2.2",
                    "failed-session-count": 2, "failure-reason-code": "certificate has expired",
                }],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "x.example"},
                "summary": {"total-successful-session-count": 0, "total-failure-session-count": 1},
                "failure-details": [{
                    "result-type": "starttls-not-supported", "receiving-mx-hostname": "mx.x.example",
                    "failed-session-count": 1,
                }],
            },
        ],
    }
    assert report_of(GOOD, GOOD, EXPIRED, EXPIRED, CLEAR)[0] == report


def test_words_that_are_no_unicode() -> None:
    report, _ = report_of(attrs.evolve(EXPIRED, reason="a\udcffb\x00\u00e4"))
    [policy] = json.loads(gzip.decompress(report.content))["policies"]
    assert policy["failure-details"][0]["failure-reason-code"] == "a?b\x00\u00e4"


def test_a_report_s_message() -> None:
    report, tally = report_of(GOOD, EXPIRED)
    octets = report_message(REPORTER, report, tally, [A, B], 1_700_010_000.0)
    assert octets.isascii()
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))
    assert b"\n" not in octets.replace(b"\r\n", b"")
    message = cast(EmailMessage, email.message_from_bytes(octets, policy=email.policy.default))
    assert not message.defects
    assert message["From"] == "tls@gw.example"
    assert message["To"] == "a@x.example, b@x.example"
    assert " ".join(message["Subject"].split()) == (
        "Report Domain: x.example Submitter: gw.example Report-ID: <1699920000.7f.x.example@gw.example>"
    )
    assert message["TLS-Report-Domain"] == "x.example"
    assert message["TLS-Report-Submitter"] == "gw.example"
    assert message["TLS-Required"] == "No"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Wed, 15 Nov 2023 01:00:00 +0000"
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "tlsrpt"
    words, attached = message.iter_parts()
    assert "x.example, on 2023-11-14" in cast(EmailMessage, words).get_content()
    assert attached.get_content_type() == "application/tlsrpt+gzip"
    assert attached.get_filename() == report.file_name
    assert attached.get_payload(decode=True) == report.content


def test_the_longest_names_fit_into_lines() -> None:
    domain = ".".join(["a" * 60] * 4)
    tallies = counted(attrs.evolve(GOOD, domain=domain))
    tally = tallies.tally(DAY, domain)
    assert tally is not None
    reporter = Reporter("x", Mailbox("tls", "b" + domain[1:]))
    octets = report_message(reporter, tls_report(reporter, "7f", tally), tally, [A], 0.0)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
