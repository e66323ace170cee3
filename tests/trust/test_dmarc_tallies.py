"""What DMARC came to: what a message adds, and how it is counted within limits."""

from collections.abc import Sequence

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.trust import dmarc_tallies
from mailgw.trust.dmarc import Dmarc, DmarcResult
from mailgw.trust.dmarc_record import DmarcRecord, Policy, ReportAddress, read_record
from mailgw.trust.dmarc_tallies import (
    Counted,
    DkimSeen,
    DmarcTally,
    Judged,
    Override,
    Reason,
    Row,
    SpfSeen,
    Tallies,
    counted,
)
from mailgw.trust.report_words import family_of
from tests.tables import each

DAY = 19_675
LIMIT = 1 << 20
ASKS = read_record(b"v=DMARC1; p=reject; rua=mailto:r@a.example")
PASSED = Dmarc(DmarcResult.PASS, "", "a.example", None, None, ASKS, "a.example", "a.example", True)
FAILED = attrs.evolve(
    PASSED, result=DmarcResult.FAIL, policy=Policy.REJECT, published=Policy.REJECT, is_spf_aligned=False
)
SPF = SpfSeen("a.example", "pass")
KEY = DkimSeen("a.example", "s", "pass")
GOOD = Judged(PASSED, "192.0.2.1", "a.example", SPF, (), Policy.NONE)
BAD = Judged(FAILED, "192.0.2.1", "b.example", None, (), Policy.REJECT)
LOCAL = (Reason(Override.LOCAL_POLICY),)
TESTED = (Reason(Override.POLICY_TEST_MODE),)


def record(text: bytes) -> DmarcRecord:
    return read_record(b"v=DMARC1; rua=mailto:r@a.example; " + text)


def row(judged: Judged) -> Row:
    found = counted(judged)
    assert found is not None
    return found.row


def with_record(judged: Judged, text: bytes, **changes: object) -> Judged:
    return attrs.evolve(judged, dmarc=attrs.evolve(judged.dmarc, record=record(text), **changes))


def test_a_message_adds_a_row() -> None:
    assert counted(attrs.evolve(GOOD, dkim=(KEY,), envelope_to="c.example")) == Counted("a.example", ASKS, Row(
        "192.0.2.1", "pass", False, True, (), "a.example", "a.example", "c.example", (KEY,), SPF
    ))


@each("dmarc", [
    Dmarc(DmarcResult.NONE, "no record", "a.example"),
    Dmarc(DmarcResult.PERMERROR, "no From"),
    attrs.evolve(PASSED, record=read_record(b"v=DMARC1; p=reject")),
    attrs.evolve(PASSED, record=read_record(b"v=DMARC1; p=reject; rua=https://a.example/")),
    attrs.evolve(PASSED, result=DmarcResult.PERMERROR, record=read_record(b"v=DMARC1; p=rejekt")),
])
def test_nobody_asks(dmarc: Dmarc) -> None:
    assert counted(attrs.evolve(GOOD, dmarc=dmarc)) is None


TEMPORARY = attrs.evolve(FAILED, result=DmarcResult.TEMPERROR, policy=None, published=None)


@each(("judged", "disposition", "reasons"), [
    (GOOD, "pass", ()),
    # "pass" is for policies that would have been enforced
    (with_record(GOOD, b"p=none"), "none", ()),
    (with_record(GOOD, b"p=quarantine; t=y"), "none", ()),
    (with_record(GOOD, b"p=reject; t=y"), "pass", ()),
    (with_record(GOOD, b"p=none; sp=reject", author_domain="x.a.example"), "pass", ()),
    (with_record(GOOD, b"p=reject; sp=none", author_domain="x.a.example"), "none", ()),
    (with_record(GOOD, b"p=reject", author_domain="x.a.example"), "pass", ()),
    # what others did with mail that passes is not DMARC's
    (attrs.evolve(GOOD, disposition=Policy.REJECT), "pass", ()),
    (BAD, "reject", ()),
    (attrs.evolve(BAD, disposition=Policy.NONE), "none", LOCAL),
    (attrs.evolve(BAD, disposition=Policy.QUARANTINE), "quarantine", LOCAL),
    (attrs.evolve(BAD, disposition=Policy.NONE, reasons=(Reason(Override.TRUSTED_FORWARDER, "arc"),)), "none",
     (Reason(Override.TRUSTED_FORWARDER, "arc"),)),
    (attrs.evolve(with_record(BAD, b"p=reject; t=y", policy=Policy.QUARANTINE), disposition=Policy.QUARANTINE),
     "quarantine", TESTED),
    (attrs.evolve(with_record(BAD, b"p=reject; t=y", policy=Policy.QUARANTINE), disposition=Policy.NONE),
     "none", TESTED + LOCAL),
    # pct, for readers by RFC 7489, is no test
    (attrs.evolve(BAD, dmarc=attrs.evolve(FAILED, policy=Policy.QUARANTINE), disposition=Policy.QUARANTINE),
     "quarantine", (Reason(Override.OTHER, "spared by pct"),)),
    (attrs.evolve(GOOD, reasons=LOCAL), "pass", ()),
    (attrs.evolve(BAD, dmarc=TEMPORARY, disposition=Policy.NONE), "none",
     (Reason(Override.OTHER, "no result for the time being, for want of an answer from DNS"),)),
    (with_record(attrs.evolve(BAD, dmarc=TEMPORARY, disposition=Policy.NONE), b"p=none"), "none", ()),
    (attrs.evolve(BAD, dmarc=TEMPORARY, disposition=Policy.NONE, reasons=LOCAL), "none", LOCAL),
])
def test_disposition_and_reasons(judged: Judged, disposition: str, reasons: Sequence[Reason]) -> None:
    assert (row(judged).disposition, row(judged).reasons) == (disposition, reasons)


def test_signatures_come_by_what_they_matter() -> None:
    aligned = attrs.evolve(PASSED, dkim_aligned=("m.a.example", "a.example"))
    seen = [
        DkimSeen("a.example", "s", "fail"), DkimSeen("z.example", "s", "pass"), DkimSeen("m.a.example", "s", "pass"),
        DkimSeen("a.example", "s", "pass"), DkimSeen("", "", "none"), DkimSeen("a.example", "", "permerror"),
        DkimSeen("y.example", "s", "pass"),
    ]
    found = row(attrs.evolve(GOOD, dmarc=aligned, dkim=tuple(seen)))
    assert found == row(attrs.evolve(GOOD, dmarc=aligned, dkim=tuple(reversed(seen))))
    assert [(one.domain, one.result) for one in found.dkim] == [
        ("a.example", "pass"), ("m.a.example", "pass"), ("y.example", "pass"), ("z.example", "pass"),
        ("a.example", "fail"),
    ]
    assert found.is_dkim_aligned


@each(("given", "told"), [("pass", "pass"), ("softfail", "neutral"), ("hardfail", "neutral"), ("", "neutral")])
def test_words_for_dkim(given: str, told: str) -> None:
    assert row(attrs.evolve(GOOD, dkim=(attrs.evolve(KEY, result=given),))).dkim[0].result == told


@each(("given", "told"), [("softfail", "softfail"), ("none", "none"), ("hardfail", "neutral")])
def test_words_for_spf(given: str, told: str) -> None:
    assert row(attrs.evolve(GOOD, spf=attrs.evolve(SPF, result=given))).spf == SpfSeen("a.example", told)


def test_what_others_say_is_cut() -> None:
    most, long = dmarc_tallies.NAME, "x" * 10_000
    found = row(attrs.evolve(
        BAD, envelope_from=long, envelope_to=long, spf=SpfSeen(long, "pass", long),
        dkim=(DkimSeen(long, long, "pass", long),), reasons=(Reason(Override.OTHER, long),),
    ))
    assert found.spf is not None
    names = (found.envelope_from, found.envelope_to, found.spf.domain, found.dkim[0].domain, found.dkim[0].selector)
    assert [len(name) for name in names] == [most] * 5
    words = (found.dkim[0].why, found.reasons[0].comment)
    assert [len(word) for word in words] == [dmarc_tallies.WORDS] * 2


@each("result", ["pass", "fail", "softfail", "temperror", "permerror", "none", "neutral", "policy", "x"])
def test_why_spf_is_so_has_no_name_of_the_envelope(result: str) -> None:
    found = row(attrs.evolve(BAD, spf=SpfSeen("b.example", result, "include:ann.x.example of b.example")))
    assert found.spf is not None
    assert "x.example" not in found.spf.why
    assert bool(found.spf.why) is (result in ("pass", "fail", "softfail", "temperror", "permerror"))


@each("more", [0, 1])
def test_signatures_and_reasons_of_a_message_have_limits(more: int) -> None:
    keys = tuple(DkimSeen("a.example", f"s{number:02}", "pass") for number in range(dmarc_tallies.SIGNATURES + more))
    reasons = tuple(Reason(Override.OTHER, str(number)) for number in range(dmarc_tallies.REASONS + more))
    found = row(attrs.evolve(BAD, dkim=keys, reasons=reasons))
    assert found.dkim == keys[:dmarc_tallies.SIGNATURES]
    assert found.reasons == reasons[:dmarc_tallies.REASONS]


# --- counting -----------------------------------------------------------------------------------------------

def tallied(*judged: Judged, limit: int = LIMIT) -> Tallies:
    tallies = Tallies(limit)
    for one in judged:
        found = counted(one)
        assert found is not None
        tallies.count(found, DAY)
    return tallies


def tally_of(tallies: Tallies, domain: str = "a.example") -> DmarcTally:
    found = tallies.tally(DAY, domain)
    assert found is not None
    return found


def from_address(number: int) -> Judged:
    return attrs.evolve(GOOD, client_address=f"2001:db8::{number:x}")


def test_what_is_alike_is_one_row() -> None:
    told = attrs.evolve(GOOD, spf=attrs.evolve(SPF, why="another time"))
    tally = tally_of(tallied(GOOD, BAD, told))
    assert [(one.disposition, count) for one, count in tally.rows] == [("pass", 2), ("reject", 1)]
    assert tally.rows[0][0].spf is not None
    assert tally.rows[0][0].spf.why == "the client is one that the record lets send"


def test_a_record_that_changes_is_the_last_one() -> None:
    tallies = tallied(GOOD, with_record(BAD, b"p=none"))
    assert tally_of(tallies).record == record(b"p=none")
    assert len(tally_of(tallies).rows) == 2


def counted_for(domain: str, address: str = "192.0.2.1") -> Counted:
    found = counted(GOOD)
    assert found is not None
    return attrs.evolve(found, domain=domain, row=attrs.evolve(found.row, source_ip=address))


def test_a_family_has_so_many_domains_and_no_more() -> None:
    tallies = Tallies(1 << 30)
    for number in range(dmarc_tallies.FAMILY_DOMAINS):
        tallies.count(counted_for(f"n{number}.evil.test"), DAY)
    assert tallies.lost == 0
    tallies.count(counted_for("one-more.evil.test"), DAY)
    assert tallies.lost == 1
    tallies.count(counted_for("b.example"), DAY)
    tallies.count(counted_for("one-more.evil.test"), DAY + 1)
    assert tallies.lost == 1
    tallies.remove(DAY, "n0.evil.test")
    tallies.count(counted_for("one-more.evil.test"), DAY)
    assert tallies.lost == 1
    for day, domain in tallies.closed(DAY + 2):
        tallies.remove(day, domain)
    assert (tallies._families, tallies._octets) == ({}, 0)


def test_a_family_has_so_many_octets_and_no_more() -> None:
    tallies = Tallies(1 << 30)
    row = dmarc_tallies._row_octets(counted_for("x", "0" * 30).row)
    places = dmarc_tallies.FAMILY_OCTETS // row
    for number in range(places + 10):
        tallies.count(counted_for(f"n{number % 4}.evil.test", f"{number:030}"), DAY)
    family = tallies._families[DAY, "evil.test"]
    assert dmarc_tallies.FAMILY_OCTETS - row < family.octets <= dmarc_tallies.FAMILY_OCTETS
    left_out = sum(tally.left_out for tally in tallies.all())
    assert sum(len(tally.rows) for tally in tallies.all()) + left_out == places + 10
    assert left_out > 0
    tallies.count(counted_for("b.example"), DAY)
    tally = tallies.tally(DAY, "b.example")
    assert tally is not None
    assert tally.left_out == 0


@each(("domain", "family"), [
    ("a.example", "a.example"), ("x.y.a.example", "a.example"), ("a.co.uk", "a.co.uk"), ("x.a.co.uk", "a.co.uk"),
    ("x.blog.uk", "blog.uk"), ("test", "test"), ("", ""), ("co.uk", "co.uk"),
])
def test_families(domain: str, family: str) -> None:
    assert family_of(domain) == family


def test_days_and_domains_are_counted_for_themselves() -> None:
    tallies = tallied(GOOD)
    found = counted(GOOD)
    assert found is not None
    tallies.count(found, DAY + 1)
    tallies.count(attrs.evolve(found, domain="b.example"), DAY + 1)
    assert tallies.closed(DAY) == []
    assert tallies.closed(DAY + 1) == [(DAY, "a.example")]
    assert tallies.closed(DAY + 2) == [(DAY, "a.example"), (DAY + 1, "a.example"), (DAY + 1, "b.example")]
    tallies.remove(DAY, "a.example")
    tallies.remove(DAY, "a.example")
    assert tallies.closed(DAY + 1) == []
    assert tallies.tally(DAY, "a.example") is None


def test_rows_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_tallies, "ROWS", 3)
    tallies = tallied(*map(from_address, (1, 2, 3)))
    assert (len(tally_of(tallies).rows), tally_of(tallies).left_out) == (3, 0)
    tallies = tallied(*map(from_address, (1, 2, 3, 4, 4, 1)))
    assert [count for _, count in tally_of(tallies).rows] == [2, 1, 1]
    assert tally_of(tallies).left_out == 2
    assert tallies.lost == 0


def test_a_domain_s_octets_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = dmarc_tallies._row_octets(row(from_address(1)))
    monkeypatch.setattr(dmarc_tallies, "DOMAIN_OCTETS", 2 * weight)
    assert tally_of(tallied(*map(from_address, (1, 2)))).left_out == 0
    monkeypatch.setattr(dmarc_tallies, "DOMAIN_OCTETS", 2 * weight - 1)
    assert tally_of(tallied(*map(from_address, (1, 2)))).left_out == 1


def test_all_of_it_has_a_limit() -> None:
    weight = tallied(GOOD)._octets
    assert tally_of(tallied(GOOD, limit=weight)).left_out == 0
    tight = tallied(GOOD, GOOD, limit=weight - 1)
    assert (tally_of(tight).rows, tally_of(tight).left_out, tight.lost) == ((), 2, 0)
    full = tallied(GOOD, limit=10)
    assert (full.lost, full.all()) == (1, [])
    tight.remove(DAY, "a.example")
    assert tight._octets == 0


JUDGED = st.builds(
    attrs.evolve,
    st.sampled_from([GOOD, BAD, with_record(GOOD, b"p=none"), with_record(BAD, b"rua=mailto:s@b.example")]),
    client_address=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    envelope_from=st.sampled_from(["", "a.example", "x" * 100]),
    dkim=st.lists(st.builds(
        DkimSeen, st.sampled_from(["a.example", "b.example"]), st.just("s"), st.sampled_from(["pass", "fail"])
    ), max_size=3).map(tuple),
)


@given(st.lists(st.tuples(JUDGED, st.integers(1, 3)), max_size=20), st.integers(300, 5_000))
def test_what_is_kept_can_be_taken_up_again(messages: list[tuple[Judged, int]], limit: int) -> None:
    tallies = Tallies(limit)
    for judged, day in messages:
        found = counted(judged)
        assert found is not None
        tallies.count(found, day)
    kept = msgspec.json.encode(tallies.all())
    again = Tallies(limit + 500, msgspec.json.decode(kept, type=list[DmarcTally]))
    assert again.all() == tallies.all()
    assert again._octets == tallies._octets
    told = sum(sum(count for _, count in one.rows) + one.left_out for one in tallies.all())
    assert told + tallies.lost == len(messages)
    for day, domain in tallies.closed(10):
        tallies.remove(day, domain)
    assert tallies._octets == 0


def test_what_is_counted_goes_over_a_wire() -> None:
    found = counted(attrs.evolve(BAD, dkim=(KEY,), spf=SPF, reasons=LOCAL))
    assert msgspec.convert(msgspec.to_builtins(found), Counted) == found
    judged = attrs.evolve(GOOD, dmarc=attrs.evolve(PASSED, record=DmarcRecord(
        aggregate_to=(ReportAddress(Mailbox("r", "a.example"), 10),)
    )))
    assert msgspec.convert(msgspec.to_builtins(judged), Judged) == judged
