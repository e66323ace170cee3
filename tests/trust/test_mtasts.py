"""MTA-STS as data: records, policies, MX hosts, and when something is fetched."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.trust import mtasts
from mailgw.trust.mtasts import Failure, NoPolicy, Remembered, Step, covers, next_step, read_policy, record_id
from tests.tables import each

DAY = 86_400.0
NOW = 1_700_000_000.0
GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
POLICY = StsPolicy(StsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604_800, "1")


# --- the record ---------------------------------------------------------------------------------------

@each(("records", "found"), [
    ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
    ([b"v=STSv1;id=1"], "1"),
    ([b"v=STSv1 ;\tid=1 ; "], "1"),
    ([b"v=STSv1; x-new=a:b>c; id=1"], "1"),
    ([b"v=STSv1; id=1; id=2"], "1"),
    ([b"v=STSv1; id=" + b"a" * 32], "a" * 32),
    # s3.1: others are passed over
    ([b"v=spf1 -all", b"v=STSv1; id=1;"], "1"),
    ([b"v=STSv2; id=1;"], None),
    ([b"v=STSv10; id=1;"], None),
    # two of them, even equal ones
    ([b"v=STSv1; id=1;", b"v=STSv1; id=2;"], None),
    ([b"v=STSv1; id=1;", b"v=STSv1; id=1;"], None),
    # a broken one beside a good one makes two
    ([b"v=STSv1; id=1;", b"v=STSv1; id=?;"], None),
    ([], None),
    ([b""], None),
    ([b"v=STSv1"], None),
    ([b"v=STSv1;"], None),
    ([b"v=STSv1; mode=enforce"], None),
    ([b"V=STSv1; id=1"], None),
    ([b"v=stsv1; id=1"], None),
    ([b"id=1; v=STSv1"], None),
    ([b" v=STSv1; id=1"], None),
    ([b"v = STSv1; id=1"], None),
    ([b"v=STSv1; id = 1"], None),
    ([b"v=STSv1; id="], None),
    ([b"v=STSv1; id=" + b"a" * 33], None),
    ([b"v=STSv1; id=a-b"], None),
    ([b"v=STSv1; id=1; ; "], None),
    ([b"v=STSv1; id=1; x=a b"], None),
    ([b"v=STSv1; id=1\xff"], None),
    ([b"v=STSv1; id=1\n"], None),
])
def test_the_id_of_a_record(records: list[bytes], found: str | None) -> None:
    assert record_id(records) == found


# --- the policy ---------------------------------------------------------------------------------------

@each(("text", "changes"), [
    (GOOD, {}),
    (GOOD.replace(b"\r\n", b"\n"), {}),
    (GOOD.rstrip(), {}),
    (GOOD.replace(b": ", b":"), {}),
    (GOOD.replace(b"\r\n", b" \t\r\n"), {}),
    (GOOD + b"\r\n\r\n", {}),
    (b"\n" + GOOD, {}),
    # any order, unknown fields, UTF-8 in them; the first of two counts
    (b"max_age: 604800\nmx:mail.example.com\nmx:*.example.net\nx-1.a_b: \xc3\xa4 b:c\nmode:enforce\nversion:STSv1", {}),
    (GOOD + b"mode: none\nmax_age: 1\nversion: STSv2\n", {}),
    (GOOD.replace(b"mail", b"MAIL").replace(b".net", b".Net."), {}),
    (GOOD + b"mx: mail.example.com\n", {}),
    (GOOD.replace(b"enforce", b"testing"), {"mode": StsMode.TESTING}),
    (GOOD.replace(b"enforce", b"none"), {"mode": StsMode.NONE}),
    (b"version: STSv1\nmode: none\nmax_age: 604800\n", {"mode": StsMode.NONE, "mx_patterns": ()}),
    (GOOD.replace(b"604800", b"0"), {"max_age_seconds": 0}),
    (GOOD.replace(b"604800", b"31557600"), {"max_age_seconds": 31_557_600}),
    (GOOD.replace(b"604800", b"31557601"), {"max_age_seconds": 31_557_600}),
    (GOOD.replace(b"604800", b"9999999999"), {"max_age_seconds": 31_557_600}),
])
def test_a_policy(text: bytes, changes: dict[str, object]) -> None:
    assert read_policy(text, "1") == attrs.evolve(POLICY, **changes)


@each(("text", "why"), [
    (b"", "version"),
    (GOOD.replace(b"STSv1", b"STSv2"), "version"),
    (GOOD.replace(b"version: STSv1", b""), "version"),
    (GOOD.replace(b"version", b"Version"), "version"),
    (b"version: STSv2\n" + GOOD, "version"),
    (GOOD.replace(b"enforce", b"Enforce"), "mode"),
    (GOOD.replace(b"enforce", b"report"), "mode"),
    (GOOD.replace(b"mode: enforce", b""), "mode"),
    (GOOD.replace(b"604800", b"1w"), "max_age"),
    (GOOD.replace(b"604800", b"-1"), "max_age"),
    (GOOD.replace(b"604800", b"1" * 11), "max_age"),
    (GOOD.replace(b"604800", "\u0661".encode()), "max_age"),
    (GOOD.replace(b"max_age: 604800", b""), "max_age"),
    (b"version: STSv1\nmode: enforce\nmax_age: 1\n", "mx"),
    (b"version: STSv1\nmode: testing\nmax_age: 1\n", "mx"),
    (GOOD + b"mx: *\n", "mx"),
    (GOOD + b"mx: *.\n", "mx"),
    (GOOD + b"mx: a.*.example\n", "mx"),
    (GOOD + b"mx: m*.example\n", "mx"),
    (GOOD + b"mx: .example.net\n", "mx"),
    (GOOD + b"mx: a b\n", "mx"),
    (GOOD + b"mx: [192.0.2.1]\n", "mx"),
    (GOOD + "mx: m\u00fcller.example\n".encode(), "mx"),
    (GOOD + b"mx: " + b"a" * 64 + b".example\n", "mx"),
    (GOOD + b"mx\n", "line 6"),
    (GOOD + b"mx:\n", "line 6"),
    (GOOD + b" mx: a.example\n", "line 6"),
    (GOOD + b"mx : a.example\n", "line 6"),
    (GOOD + b"a: b\x00\n", "line 6"),
    (GOOD + b"a: b\x0cc\n", "line 6"),
    (GOOD + b"a" * 33 + b": b\n", "line 6"),
    (GOOD.replace(b"\r\n", b"\r"), "line 1"),
    (b"<!DOCTYPE html>", "line 1"),
    (b"\xef\xbb\xbf" + GOOD, "line 1"),
    (GOOD + b"a: \xff\n", "UTF-8"),
])
def test_what_is_no_policy(text: bytes, why: str) -> None:
    found = read_policy(text, "1")
    assert isinstance(found, NoPolicy)
    assert why in found.why


def test_a_policy_has_limits() -> None:
    filling = mtasts.POLICY_OCTETS - len(GOOD) - len(b"x: \n")
    assert read_policy(GOOD + b"x: " + b"a" * filling + b"\n", "1") == POLICY
    assert isinstance(read_policy(GOOD + b"x: " + b"a" * (filling + 1) + b"\n", "1"), NoPolicy)
    # two patterns are there already
    more = b"".join(b"mx: m%d.example.org\n" % number for number in range(mtasts.MX_PATTERNS - 2))
    found = read_policy(GOOD + more, "1")
    assert isinstance(found, StsPolicy)
    assert len(found.mx_patterns) == mtasts.MX_PATTERNS
    assert isinstance(read_policy(GOOD + more + b"mx: one.more\n", "1"), NoPolicy)
    long = [f"{number:02}.{'a' * 60}.{'b' * 60}.example" for number in range(30)]
    left = mtasts.MX_OCTETS - sum(map(len, POLICY.mx_patterns)) - sum(map(len, long))
    for surplus, is_policy in ((0, True), (1, False)):
        last = f"{'c' * 60}." + "d" * (left + surplus - 61)
        text = GOOD + "".join(f"mx: {pattern}\n" for pattern in (*long, last)).encode()
        assert isinstance(read_policy(text, "1"), StsPolicy) is is_policy


LINES = st.lists(st.sampled_from([*GOOD.splitlines(True), b"x: y", b"mx: ", b"\n"])).map(b"".join)


@given(st.binary(max_size=200) | LINES)
def test_any_octets_are_a_policy_or_none(text: bytes) -> None:
    found = read_policy(text, "1")
    if isinstance(found, StsPolicy):
        assert read_policy("\n".join(mtasts.policy_lines(found)).encode(), "1") == found


@each(("host", "is_covered"), [
    ("mail.example.com", True),
    ("MAIL.example.com.", True),
    ("a.example.net", True),
    ("A.Example.NET", True),
    ("example.net", False),
    ("b.a.example.net", False),
    ("example.com", False),
    ("a.mail.example.com", False),
    ("xmail.example.com", False),
    ("", False),
    ("net", False),
])
def test_which_hosts_a_policy_covers(host: str, is_covered: bool) -> None:
    assert covers(POLICY, host) is is_covered


def test_a_policy_as_reports_quote_it() -> None:
    assert mtasts.policy_lines(POLICY) == (
        "version: STSv1", "mode: enforce", "mx: mail.example.com", "mx: *.example.net", "max_age: 604800",
    )


# --- when it is fetched -------------------------------------------------------------------------------

FRESH = Remembered(POLICY, NOW, NOW)
STALE = Remembered(POLICY, NOW - DAY, NOW)
OLD = Remembered(POLICY, NOW - 604_800, NOW)
OF_THE_FUTURE = Remembered(POLICY, NOW + 30 * DAY, NOW)
MOMENTARY = Remembered(attrs.evolve(POLICY, max_age_seconds=0), NOW - 59.9, NOW)


@each(("remembered", "failure", "record", "step"), [
    # nothing is remembered
    (None, None, None, Step(None, None, False)),
    (None, None, "1", Step(None, "1", True)),
    (None, Failure("1", NOW - 299.9), "1", Step(None, None, False)),
    (None, Failure("1", NOW - 300), "1", Step(None, "1", True)),
    (None, Failure("0", NOW), "1", Step(None, "1", True)),
    (None, Failure("1", NOW + 1), "1", Step(None, "1", True)),  # the clock was set back
    # what is remembered is in force, whatever DNS says
    (FRESH, None, "1", Step(POLICY, None, False)),
    (FRESH, None, None, Step(POLICY, None, False)),
    (FRESH, Failure("1", NOW), "1", Step(POLICY, None, False)),
    (FRESH, None, "2", Step(POLICY, "2", True)),
    (FRESH, Failure("2", NOW), "2", Step(POLICY, None, False)),
    # it is fetched again in the background, long before it expires
    (attrs.evolve(STALE, fetched=NOW - DAY + 0.1), None, "1", Step(POLICY, None, False)),
    (STALE, None, "1", Step(POLICY, "1", False)),
    (STALE, None, None, Step(POLICY, "1", False)),
    (STALE, Failure("1", NOW), "1", Step(POLICY, None, False)),
    (STALE, None, "2", Step(POLICY, "2", True)),
    # it has expired
    (attrs.evolve(OLD, fetched=OLD.fetched + 0.1), Failure("1", NOW), None, Step(POLICY, None, False)),
    (OLD, None, "1", Step(None, "1", True)),
    (OLD, None, None, Step(None, None, False)),
    (OLD, Failure("1", NOW), "1", Step(None, None, False)),
    # clocks and ages of their own
    (OF_THE_FUTURE, None, None, Step(POLICY, "1", False)),
    (MOMENTARY, None, "1", Step(MOMENTARY.policy, "1", False)),
    (attrs.evolve(MOMENTARY, fetched=NOW - 60), None, "1", Step(None, "1", True)),
])
def test_when_a_policy_is_fetched(
    remembered: Remembered | None, failure: Failure | None, record: str | None, step: Step
) -> None:
    assert next_step(remembered, failure, record, NOW) == step


TIMES = st.floats(NOW - 2e6, NOW + 2e6)
RECORDS = st.none() | st.sampled_from(["1", "2"])


@given(
    st.none() | st.builds(Remembered, st.just(POLICY), TIMES, TIMES),
    st.none() | st.builds(Failure, st.sampled_from(["1", "2"]), TIMES), RECORDS,
)
def test_nothing_that_others_say_weakens_what_is_remembered(
    remembered: Remembered | None, failure: Failure | None, record: str | None
) -> None:
    step = next_step(remembered, failure, record, NOW)
    is_kept = remembered is not None and mtasts.is_in_force(remembered, NOW)
    assert step.in_force == (POLICY if is_kept else None)
    assert step.fetch_id in (None, record, "1" if is_kept else None)
    if step.waits:
        assert step.fetch_id is not None
        assert not is_kept or step.fetch_id != POLICY.id


@each(("remembered", "failure", "wants"), [
    (FRESH, None, False),
    (STALE, None, True),
    (STALE, Failure("1", NOW - 3599.9), False),
    (STALE, Failure("1", NOW - 3600), True),
    (STALE, Failure("2", NOW), True),
    (OLD, None, False),
    (attrs.evolve(STALE, used=NOW - 10 * DAY + 0.1), None, True),
    (attrs.evolve(STALE, used=NOW - 10 * DAY), None, False),
])
def test_what_is_fetched_again_without_mail(remembered: Remembered, failure: Failure | None, wants: bool) -> None:
    assert mtasts.wants_refresh(remembered, failure, NOW, 10 * DAY) is wants
