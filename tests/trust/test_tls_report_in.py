"""Reports on TLS of others."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.tls_result import PolicyType, TlsFailure
from mailgw.trust.report_words import COUNT, TEXT, Unreadable
from mailgw.trust.reports_in import open_report
from mailgw.trust.tls_report import Reporter, tls_report
from mailgw.trust.tls_report_in import (
    CONTAINERS,
    DETAILS,
    OCTETS,
    POLICIES,
    STRINGS,
    VALUES,
    TlsFailureIn,
    TlsPolicyIn,
    TlsReportIn,
    read_tls_report,
)
from mailgw.trust.tls_tallies import Detail, DomainTally, PolicyTally
from tests.tables import each
from tests.trust.reports_written import TLS


def report(octets: bytes) -> TlsReportIn:
    found = read_tls_report(octets)
    assert isinstance(found, TlsReportIn), found
    return found


def changed(path: str, value: Any) -> bytes:
    """``TLS`` with another value there; None: without it."""
    whole = json.loads(TLS)
    *way, last = path.split("/")
    at = whole
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return json.dumps(whole).encode()


def test_one_in_the_manner_of_google() -> None:
    assert report(TLS) == TlsReportIn(
        "Google Test", "smtp-tls-reporting@google.test", "2023-11-15T00:00:00Z_example.org", 1700006400, 1700092799,
        (TlsPolicyIn(
            "sts", "example.org", ("version: STSv1", "mode: enforce", "mx: *.example.org", "max_age: 86400"),
            ("*.example.org",), 1000, 2,
            (TlsFailureIn(
                "certificate-expired", "198.51.100.1", "mx1.example.org", "", "192.0.2.1", 2, "expired yesterday"),),
        ),),
    )


def test_one_of_our_own() -> None:
    detail = Detail(TlsFailure.CERTIFICATE_EXPIRED, "192.0.2.2", "mx.example.org", "mx", "192.0.2.1", "it is")
    tally = DomainTally(
        19676, "example.org", (PolicyTally(PolicyType.TLSA, ("3 1 1 aa",), (), 7, 3, ((detail, 3),)),))
    made = tls_report(Reporter("Us", Mailbox("tls", "us.test")), "u1", tally)
    [found] = open_report(made.content).reports
    assert isinstance(found, TlsReportIn)
    assert (found.organization, found.report_id, found.begin) == ("Us", made.id, 19676 * 86400)
    [policy] = found.policies
    assert (policy.kind, policy.successes, policy.failures, policy.strings) == ("tlsa", 7, 3, ("3 1 1 aa",))
    assert policy.details == (
        TlsFailureIn("certificate-expired", "192.0.2.2", "mx.example.org", "mx", "192.0.2.1", 3, "it is"),)


@each(("path", "value"), [
    ("contact-info", None), ("organization-name", None), ("policies/0/failure-details", None),
    ("policies/0/failure-details", []), ("policies/0/policy/policy-string", "version: STSv1"),
    ("policies/0/policy/mx-host", "mx.example.org"), ("policies/0/policy/mx-host", None), ("policies", []),
    ("policies/0/summary", None), ("policies/0/summary/total-failure-session-count", "2"),
    ("date-range/start-datetime", "2023-11-15T01:00:00+01:00"), ("date-range/start-datetime", "2023-11-15"),
    ("date-range/end-datetime", "2023-11-15T23:59:59.999Z"), ("policies/0/failure-details/0/result-type", None),
    ("extension", {"a": [1, None, True, 1e300]}), ("report-id", "x" * TEXT),
    ("policies/0/summary/total-failure-session-count", COUNT),
])
def test_what_is_let_through(path: str, value: Any) -> None:
    found = report(changed(path, value))
    assert found.begin == 1700006400


def test_names_of_drafts_and_lists_that_are_none() -> None:
    text = TLS.replace(b'"mx-host"', b'"mx-host-pattern"').replace(b'"failure-details":[{', b'"failure-details":{')
    found = report(text.replace(b"}]}]}", b"}}]}"))
    assert found.policies == report(TLS).policies
    assert report(b"\xef\xbb\xbf" + TLS) == report(TLS)


@each(("octets", "why"), [
    (b"", "it is no JSON that can be read"),
    (b"[]", "it is no report on TLS"), (b"{}", "it is no report on TLS"), (b"5", "it is no report on TLS"),
    (b'{"policies":', "it is no JSON that can be read"), (b'{"a":"\xff"}', "it is no JSON that can be read"),
    (b"[" * 40_000, "it is no JSON that can be read"),
    (b'{"a":' + b"9" * 5000 + b"}", "it is no JSON that can be read"),
    (changed("report-id", None), "it has no report-id"), (changed("report-id", 5), "it has no report-id"),
    (changed("date-range", None), "it has no date-range"), (changed("date-range", []), "it has no date-range"),
    (changed("date-range/end-datetime", None), "its end-datetime is ''"),
    (changed("date-range/end-datetime", "2023-02-30T00:00:00Z"), "its end-datetime is '2023-02-30T00:00:00Z'"),
    (changed("date-range/end-datetime", "2023-11-14T00:00:00Z"), "its end is before its beginning"),
    (changed("date-range/start-datetime", "1969-12-31T23:59:59Z"), "it is of days before 1970"),
    (changed("date-range/start-datetime", "0001-01-01T00:00:00+14:00"), "it is of days before 1970"),
    (changed("date-range/end-datetime", "9999-12-31T23:59:59-14:00"), "it is of days after 2100"),
    (changed("policies", {"a": 1}), "a policy is of no domain"), (changed("policies", ["a"]), "a policy is no object"),
    (changed("policies/0/policy/policy-domain", None), "a policy is of no domain"),
    (changed("policies/0/failure-details", ["a"]), "a failure is no object"),
    (changed("policies/0/summary/total-failure-session-count", -1),
     "its total-failure-session-count is out of all bounds"),
    (changed("policies/0/summary/total-failure-session-count", 10 ** 300),
     "its total-failure-session-count is out of all bounds"),
    (changed("policies/0/summary/total-failure-session-count", 1.5), "its total-failure-session-count is no number"),
    (changed("policies/0/summary/total-failure-session-count", True), "its total-failure-session-count is no number"),
    (changed("policies/0/summary/total-failure-session-count", "9" * 400), f"a count is more than {COUNT}"),
    (changed("policies/0/summary/total-failure-session-count", COUNT + 1), f"a count is more than {COUNT}"),
    (changed("report-id", "x" * (TEXT + 1)), f"its report-id has more than {TEXT} characters"),
])
def test_what_is_none(octets: bytes, why: str) -> None:
    found = read_tls_report(octets)
    assert isinstance(found, Unreadable), found
    assert found.why.startswith(why)


POLICY = {"policy": {"policy-domain": "a.test"}}


@each(("octets", "is_good"), [
    (TLS + b" " * (OCTETS - len(TLS)), True), (TLS + b" " * (OCTETS - len(TLS) + 1), False),
    (changed("policies", [POLICY] * POLICIES), True), (changed("policies", [POLICY] * (POLICIES + 1)), False),
    (changed("policies/0/failure-details", [{}] * DETAILS), True),
    (changed("policies/0/failure-details", [{}] * (DETAILS + 1)), False),
    # 10 others are there, and the list itself.
    (changed("x", [[]] * (CONTAINERS - 11)), True), (changed("x", [[]] * (CONTAINERS - 10)), False),
    (changed("x", [1] * (VALUES - TLS.count(b","))), True), (changed("x", [1] * (VALUES - TLS.count(b",") + 1)), False),
])
def test_the_last_that_is_let_through(octets: bytes, is_good: bool) -> None:
    assert isinstance(read_tls_report(octets), TlsReportIn if is_good else Unreadable)


def test_of_more_lines_of_a_policy_the_first_are_kept() -> None:
    lines = [f"line {n}" for n in range(STRINGS + 1)]
    assert report(changed("policies/0/policy/policy-string", lines)).policies[0].strings == tuple(lines[:STRINGS])


@given(st.binary(max_size=200), st.integers(0, 900), st.integers(0, 30))
def test_no_octets_raise(octets: bytes, at: int, cut: int) -> None:
    for whole in (octets, TLS[:at] + octets + TLS[at + cut:]):
        assert isinstance(read_tls_report(whole), TlsReportIn | Unreadable)
