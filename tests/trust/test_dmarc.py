"""DMARC: records, the walk up the tree, alignment, policies."""

from collections.abc import Coroutine, Generator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.names import Records
from mailgw.testing import FakeResolver
from mailgw.trust import dmarc, dmarc_record
from mailgw.trust.dmarc import Authors, Dmarc, DmarcResult, Identifier, Unclear, author_domains, evaluate, walk
from mailgw.trust.dmarc_record import DmarcRecord, Policy, Psd, ReportAddress, read_record, record_among
from tests.tables import each

NONE, QUARANTINE, REJECT = Policy.NONE, Policy.QUARANTINE, Policy.REJECT
A, B = Mailbox("a", "r.example"), Mailbox("b", "r.example")


def addresses(*found: Mailbox) -> tuple[ReportAddress, ...]:
    return tuple(ReportAddress(mailbox, None) for mailbox in found)


# --- records ------------------------------------------------------------------------------------------

@each(("text", "found"), [
    (b"v=DMARC1", DmarcRecord()),
    (b"v=DMARC1;", DmarcRecord()),
    (b"V = DMARC1 ; P = Reject ;", DmarcRecord(REJECT)),
    (b"v=DMARC1;p=none;sp=quarantine;np=reject", DmarcRecord(NONE, QUARANTINE, REJECT)),
    (b"v=DMARC1; sp=reject; p=quarantine", DmarcRecord(QUARANTINE, REJECT)),
    (b"v=DMARC1; p=reject; p=none", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; adkim=s; aspf=S", DmarcRecord(REJECT, is_dkim_strict=True, is_spf_strict=True)),
    (b"v=DMARC1; p=reject; adkim=r; aspf=x", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; psd=y", DmarcRecord(REJECT, psd=Psd.YES)),
    (b"v=DMARC1; p=reject; psd=n", DmarcRecord(REJECT, psd=Psd.NO)),
    (b"v=DMARC1; p=reject; psd=u", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; psd=maybe", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; t=y", DmarcRecord(REJECT, is_testing=True)),
    (b"v=DMARC1; p=reject; t=n", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; pct=0", DmarcRecord(REJECT, pct=0)),
    (b"v=DMARC1; p=reject; pct=100", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; pct=101", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; pct=-1", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; pct=\xb2", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; fo=1:d:s; ruf=mailto:a@r.example",
     DmarcRecord(REJECT, failures_to=addresses(A), failure_options=frozenset("1ds"))),
    (b"v=DMARC1; p=reject; fo=x", DmarcRecord(REJECT)),
    (b"v=DMARC1; p=reject; x-new=1; rf=afrf; ri=86400; =; x; ; \xe4=\xe4", DmarcRecord(REJECT)),
    # where reports go
    (b"v=DMARC1; p=none; rua=mailto:a@r.example , mailto:b@r.example!10m",
     DmarcRecord(aggregate_to=(ReportAddress(A, None), ReportAddress(B, 10 << 20)))),
    (b"v=DMARC1; rua=mailto:a@r.example!7,mailto:b@r.example!2K", DmarcRecord(
        aggregate_to=(ReportAddress(A, 7), ReportAddress(B, 2048)))),
    (b"v=DMARC1; rua=mailto:a@r.example!1g,mailto:a@r.example!2g", DmarcRecord(
        aggregate_to=(ReportAddress(A, 1 << 30),))),
    (b"v=DMARC1; rua=mailto:a@r.example!1t", DmarcRecord(aggregate_to=(ReportAddress(A, 1 << 40),))),
    (b"v=DMARC1; rua=mailto:%61@r.example?subject=x", DmarcRecord(aggregate_to=addresses(A))),
    (b"v=DMARC1; rua=https://r.example/,mailto:a@r.example,x,mailto:a,mailto:a@[127.0.0.1]",
     DmarcRecord(aggregate_to=addresses(A))),
    # policies that are none
    (b"v=DMARC1; p=block", DmarcRecord(fault="p is none of none, quarantine and reject")),
    (b"v=DMARC1; p=", DmarcRecord(fault="p is none of none, quarantine and reject")),
    (b"v=DMARC1; p=r\xebject", DmarcRecord(fault="p is none of none, quarantine and reject")),
    (b"v=DMARC1; p=reject; sp=x", DmarcRecord(fault="sp is none of none, quarantine and reject")),
    (b"v=DMARC1; p=reject; np=x; rua=a@r.example", DmarcRecord(fault="np is none of none, quarantine and reject")),
    (b"v=DMARC1; p=block; rua=mailto:a@r.example", DmarcRecord(aggregate_to=addresses(A))),
    (b"v=DMARC1; p=reject; sp=x; rua=https://r.example/", DmarcRecord()),
    # what lies beyond the limit is not there
    (b"v=DMARC1;".ljust(dmarc_record.RECORD_OCTETS - 8) + b"p=reject", DmarcRecord(REJECT)),
    (b"v=DMARC1;".ljust(dmarc_record.RECORD_OCTETS) + b";p=reject", DmarcRecord()),
])
def test_records(text: bytes, found: DmarcRecord) -> None:
    assert record_among([b"v=spf1 -all", text]) == found


@each("text", [
    b"", b"v=DMARC1 p=none", b"v=DMARC2; p=none", b"v=dmarc1; p=none", b"v=DMARC10", b"p=none; v=DMARC1", b" v=DMARC1",
    b"DMARC1; p=none", b"v=spf1 -all", b'"v=DMARC1; p=none"',
])
def test_other_records(text: bytes) -> None:
    assert record_among([text]) is None


def test_of_two_records_neither_is_read() -> None:
    def texts() -> Iterator[bytes]:
        yield from [b"v=spf1 -all", b"v=DMARC1; p=none", b"v=DMARC1; p=reject"]
        raise AssertionError("the second one was enough")

    assert record_among(texts()) is None


def test_addresses_of_reports_have_a_limit() -> None:
    many = b",".join(b"mailto:m%d@r.example" % number for number in range(dmarc_record.REPORT_ADDRESSES + 1))
    found = read_record(b"v=DMARC1; rua=" + many + b"; ruf=" + many.rpartition(b",")[0])
    assert len(found.aggregate_to) == len(found.failures_to) == dmarc_record.REPORT_ADDRESSES


@given(st.lists(st.sampled_from(["p", "sp", "rua", "=", ";", " ", "none", "x", "mailto:a@b.example", "!", "1m", ","])))
def test_any_record_is_read(pieces: list[str]) -> None:
    found = record_among([b"v=DMARC1;" + "".join(pieces).encode()])
    assert found is not None
    assert not found.fault or not found.aggregate_to


# --- who the author is --------------------------------------------------------------------------------

ODD, ABSENT = "From stands there twice or cannot be read", "Sender or Resent-From without From"


@each(("header", "found"), [
    (b"From: a@b.example\r\n", ("b.example",)),
    (b"FROM : Ann <a@B.Example>\r\n", ("b.example",)),
    ("From: a@m\u00fcnchen.example\r\n".encode(), ("xn--mnchen-3ya.example",)),
    (b"From: a@b.example,\r\n c@b.example\r\n", ("b.example",)),
    (b"From: a@b.example, c@d.example\r\n", ("b.example", "d.example")),
    (b"From: a@[192.0.2.1]\r\n", ("[192.0.2.1]",)),
    (b"Subject: x\r\n", ()),
    (b"From: a@b.example\r\nfrom: c@d.example\r\n", Unclear(ODD, ("b.example", "d.example"))),
    (b"From: a@b.example\r\nFrom\r\n : c@d.example\r\n", Unclear(ODD, ("b.example", "d.example"))),
    (b"To: a@b.example\r\nFrom\r\n : c@d.example\r\n", Unclear(ODD, ("d.example",))),
    (b"From: a@b.example: c@d.example;\r\n", Unclear(ODD, ("b.example", "d.example"))),
    (b"From: <a@b.example >\r\n", Unclear(ODD, ("b.example",))),
    (b"From: Ann\r\n", Unclear(ODD)),
    (b"From:\r\n", Unclear(ODD)),
    (b"Sender: a@b.example\r\n", Unclear(ABSENT, ("b.example",))),
    (b"Resent-From: a@b.example\r\n", Unclear(ABSENT, ("b.example",))),
    (b"Sender:\r\n", Unclear(ABSENT)),
    # the name before an address
    (b"From: a@b.example <c@d.example>\r\n", ("d.example", "b.example")),
    (b"From: a@B.example <c@b.example>\r\n", ("b.example",)),
    (b"From: a@b <c@d.example>\r\n", ("d.example",)),
    (b"From: Ann @ home <c@d.example>\r\n", ("d.example",)),
    (b'From: "a@b.example" <c@d.example>\r\n', ("d.example",)),
])
def test_author_domains(header: bytes, found: tuple[str, ...] | Unclear) -> None:
    assert author_domains(header) == found


# --- the walk -----------------------------------------------------------------------------------------

@each(("domain", "names"), [
    ("example", ["example"]),
    ("a.example", ["a.example", "example"]),
    ("a.b.c.d.e.f.example", [
        "a.b.c.d.e.f.example", "b.c.d.e.f.example", "c.d.e.f.example", "d.e.f.example", "e.f.example", "f.example",
        "example",
    ]),
    ("z.a.b.c.d.e.f.example", [
        "z.a.b.c.d.e.f.example", "a.b.c.d.e.f.example", "b.c.d.e.f.example", "c.d.e.f.example", "d.e.f.example",
        "e.f.example", "f.example", "example",
    ]),
    # the example of s4.10
    ("a.b.c.d.e.f.g.h.i.j.mail.example.com", [
        "a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com",
        "i.j.mail.example.com", "j.mail.example.com", "mail.example.com", "example.com", "com",
    ]),
])
def test_the_walk(domain: str, names: list[str]) -> None:
    assert list(walk(domain)) == names


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=127).map(".".join))
def test_a_walk_has_a_limit(domain: str) -> None:
    names = walk(domain)
    assert len(names) == min(dmarc.QUERIES, domain.count(".") + 1)
    assert all(domain.endswith(name) for name in names)
    assert [name.count(".") for name in names[1:]] == list(range(len(names) - 2, -1, -1))


# --- results ------------------------------------------------------------------------------------------

def judged(
    records: dict[str, str], authors: Sequence[str] | Unclear, spf: str = "", dkim: str = "", failing: str = "",
    empty: str = "", draw: float | None = None,
) -> tuple[Dmarc, list[str]]:
    """``spf`` and ``dkim``: words ``DOMAIN`` that pass, or ``DOMAIN=RESULT``; the result, and what was asked for."""
    def identifiers(words: str) -> list[Identifier]:
        parts = [word.partition("=") for word in words.split()]
        return [Identifier(domain, result or "pass") for domain, _, result in parts]

    resolver = FakeResolver(
        text_records={f"_dmarc.{name}": [f"v=DMARC1; {text}".encode()] for name, text in records.items()},
        failing=frozenset(f"_dmarc.{name}" for name in failing.split()) | frozenset(f"? {n}" for n in failing.split()),
        empty=frozenset(empty.split()),
    )
    chance = None if draw is None else lambda: draw
    names = authors if isinstance(authors, Unclear) else tuple(authors)
    found = at_once(evaluate(names, (identifiers(spf) or [None])[0], identifiers(dkim), resolver, chance))
    asked = [name.removeprefix("TXT _dmarc.") for name in resolver.asked]
    assert len(asked) == len(set(asked)), asked
    return found, asked


def at_once(waiting: Coroutine[object, None, Dmarc]) -> Dmarc:
    """What comes of it; a fake never suspends."""
    with pytest.raises(StopIteration) as done:
        waiting.send(None)
    value = done.value.value
    assert isinstance(value, Dmarc)
    return value


ORG = {"example.com": "p=reject"}
PSD = {"bank.example": "p=reject; psd=y", "giant.bank.example": "p=quarantine"}
SUB = {"example.com": "p=reject; sp=quarantine; np=none"}


@each(("records", "author", "spf", "dkim", "word"), [
    # the table of s4.4, and appendix B.1
    ({"example.com": ""}, "news.example.com", "foo.example.com", "", "pass"),
    ({"example.com": ""}, "news.example.com", "", "foo.example.com", "pass"),
    ({"example.com": ""}, "news.example.com", "news.example.com", "", "pass"),
    ({"example.com": ""}, "news.example.com", "foo.example.net", "foo.example.net", "fail"),
    ({"example.com": "aspf=s; adkim=s"}, "news.example.com", "foo.example.com", "example.com", "fail"),
    ({"example.com": "aspf=s"}, "example.com", "foo.example.com", "foo.example.com", "pass"),
    ({"example.com": "aspf=s"}, "example.com", "foo.example.com", "", "fail"),
    ({"example.com": "adkim=s"}, "example.com", "", "foo.example.com", "fail"),
    ({"example.com": "adkim=s; aspf=s"}, "example.com", "", "EXAMPLE.com.", "pass"),
    # no record, no word
    ({}, "example.com", "example.com", "example.com", "none"),
    ({"example.com": ""}, "example.net", "example.net", "", "none"),
    ({"a.example.com": ""}, "example.com", "example.com", "", "none"),
    # results that are none of use
    (ORG, "example.com", "example.com=fail", "example.com=fail example.com=permerror", "fail"),
    (ORG, "example.com", "example.com=softfail", "a.example.com=fail a.example.com", "pass"),
    (ORG, "example.com", "[192.0.2.1]", "x@y ..", "fail"),
    (ORG, "example.com", "", "", "fail"),
    # no record for a name between, none that counts where its own is missing
    ({"mail.example.com": "p=none", **ORG}, "a.mail.example.com", "example.com", "", "pass"),
    # appendix B.4: deep, and with a public suffix
    ({"signing.example.com": "", **ORG}, "a.b.c.d.e.f.g.h.i.j.k.example.com", "", "signing.example.com", "pass"),
    (PSD, "giant.bank.example", "mail.giant.bank.example", "mail.mega.bank.example", "pass"),
    (PSD, "giant.bank.example", "", "mail.mega.bank.example", "fail"),
    (PSD, "mega.bank.example", "giant.bank.example", "", "fail"),
    (PSD, "mega.bank.example", "mail.mega.bank.example", "", "pass"),
    (PSD, "bank.example", "giant.bank.example", "mega.bank.example", "fail"),
    (PSD, "bank.example", "bank.example", "", "pass"),
    # psd=n: who is below has that one, and nobody above
    ({"b.example.com": "psd=n", **ORG}, "a.b.example.com", "b.example.com", "", "pass"),
    ({"b.example.com": "psd=n", **ORG}, "a.b.example.com", "example.com", "c.example.com", "fail"),
    ({"b.example.com": "psd=n", **ORG}, "example.com", "a.b.example.com", "b.example.com", "fail"),
    # a top-level domain is nobody's organization, whatever it says (s4.10.2 would have it, without psd)
    ({"example": "p=none"}, "a.example", "b.example", "", "fail"),
    ({"example": "p=none; psd=n"}, "a.example", "b.example", "", "fail"),
    ({"example": "p=none"}, "a.b.example", "c.b.example", "", "pass"),
    ({"example": "p=none", "b.example": "p=none"}, "a.b.example", "", "c.example", "fail"),
])
def test_alignment(records: dict[str, str], author: str, spf: str, dkim: str, word: str) -> None:
    found, _ = judged(records, [author], spf, dkim)
    assert found.result.value == word
    assert found.why
    assert (found.result is DmarcResult.PASS) is (found.is_spf_aligned or bool(found.dkim_aligned))
    assert (found.result is DmarcResult.FAIL) is (found.policy is not None)


@each(("records", "author", "policy", "where", "asked"), [
    (ORG, "example.com", REJECT, "example.com", ["example.com"]),
    (ORG, "a.example.com", REJECT, "example.com", ["a.example.com", "example.com", "com"]),
    ({"example.com": "p=block; rua=mailto:a@b.example"}, "example.com", NONE, "example.com", ["example.com"]),
    # sp and np
    (SUB, "example.com", REJECT, "example.com", ["example.com"]),
    (SUB, "there.example.com", QUARANTINE, "example.com", [
        "there.example.com", "example.com", "com", "? there.example.com"]),
    (SUB, "nowhere.example.com", NONE, "example.com", [
        "nowhere.example.com", "example.com", "com", "? nowhere.example.com"]),
    ({"example.com": "p=reject; sp=none"}, "nowhere.example.com", NONE, "example.com", [
        "nowhere.example.com", "example.com", "com"]),
    ({"example.com": "p=none; sp=reject; np=reject"}, "nowhere.example.com", REJECT, "example.com", [
        "nowhere.example.com", "example.com", "com"]),
    ({"example.com": "p=none; np=reject"}, "nowhere.example.com", REJECT, "example.com", [
        "nowhere.example.com", "example.com", "com", "? nowhere.example.com"]),
    ({"example.com": "p=none; np=reject"}, "there.example.com", NONE, "example.com", [
        "there.example.com", "example.com", "com", "? there.example.com"]),
    # its own before that of the organization, that before those between
    ({"a.example.com": "p=none; sp=reject", **ORG}, "a.example.com", NONE, "a.example.com", ["a.example.com"]),
    ({"a.example.com": "p=none; sp=none", **ORG}, "b.a.example.com", REJECT, "example.com", [
        "b.a.example.com", "a.example.com", "example.com", "com"]),
    ({"a.example.com": "p=none; psd=n", **ORG}, "b.a.example.com", NONE, "a.example.com", [
        "b.a.example.com", "a.example.com"]),
    # the public suffix at last
    (PSD, "giant.bank.example", QUARANTINE, "giant.bank.example", ["giant.bank.example"]),
    (PSD, "mail.giant.bank.example", QUARANTINE, "giant.bank.example", [
        "mail.giant.bank.example", "giant.bank.example", "bank.example"]),
    (PSD, "mega.bank.example", REJECT, "bank.example", ["mega.bank.example", "bank.example"]),
    ({"bank.example": "p=none; np=reject; psd=y"}, "mega.bank.example", REJECT, "bank.example", [
        "mega.bank.example", "bank.example", "? mega.bank.example"]),
    ({"example": "p=reject"}, "a.example", REJECT, "example", ["a.example", "example"]),
    ({"example": "p=none; sp=reject"}, "b.a.example", REJECT, "example", ["b.a.example", "a.example", "example"]),
    # testing
    ({"example.com": "p=reject; t=y"}, "example.com", QUARANTINE, "example.com", ["example.com"]),
    ({"example.com": "p=quarantine; t=y"}, "example.com", NONE, "example.com", ["example.com"]),
    ({"example.com": "p=none; t=y"}, "example.com", NONE, "example.com", ["example.com"]),
    ({"example.com": "p=reject; pct=0"}, "example.com", REJECT, "example.com", ["example.com"]),
])
def test_policies(records: dict[str, str], author: str, policy: Policy, where: str, asked: list[str]) -> None:
    found, questions = judged(records, [author], empty="there.example.com")
    assert (found.result, found.policy, found.record_domain) == (DmarcResult.FAIL, policy, where)
    assert questions == asked


@each(("draw", "policy"), [(0.0, REJECT), (0.299, REJECT), (0.3, QUARANTINE), (0.999, QUARANTINE), (None, REJECT)])
def test_a_part_of_the_messages(draw: float | None, policy: Policy) -> None:
    found, _ = judged({"example.com": "p=reject; pct=30"}, ["example.com"], draw=draw)
    assert (found.policy, found.published) == (policy, REJECT)


@each(("records", "author", "spf", "dkim", "failing", "word"), [
    (ORG, "example.com", "", "", "example.com", "temperror"),
    (ORG, "a.example.com", "", "a.example.com", "a.example.com", "temperror"),
    (ORG, "a.example.com", "", "a.example.com", "example.com", "temperror"),
    (ORG, "a.example.com", "", "a.example.com", "com", "temperror"),
    # what passes without the answer passes
    (ORG, "example.com", "", "example.com", "com a.example.com", "pass"),
    (ORG, "example.com", "a.example.com", "example.com", "a.example.com", "pass"),
    (ORG, "example.com", "a.example.com", "b.example.com", "a.example.com", "pass"),
    (ORG, "example.com", "a.example.com", "a.example.net", "a.example.com", "temperror"),
    (ORG, "example.com", "a.example.com", "", "com", "temperror"),
    # what cannot be aligned anyway is no trouble
    (ORG, "example.com", "a.example.net", "a.example.net", "com example.net net", "fail"),
    (ORG, "example.com", "xexample.com", "", "xexample.com", "fail"),
    ({"example.com": "adkim=s"}, "example.com", "", "a.example.com", "a.example.com", "fail"),
    # methods that are in trouble themselves
    (ORG, "example.com", "example.com=temperror", "", "", "temperror"),
    (ORG, "example.com", "", "a.example.com=temperror", "", "temperror"),
    (ORG, "example.com", "a.example.net=temperror", "example.net=temperror", "", "fail"),
    (ORG, "example.com", "example.com=temperror", "example.com", "", "pass"),
    # whether the name exists
    (SUB, "nowhere.example.com", "", "", "? nowhere.example.com", "temperror"),
    (SUB, "nowhere.example.com", "", "b.example.com", "nowhere.example.com", "temperror"),
])
def test_trouble_is_never_a_failure(
    records: dict[str, str], author: str, spf: str, dkim: str, failing: str, word: str
) -> None:
    found, _ = judged(records, [author], spf, dkim, failing.replace("? ", ""))
    assert found.result.value == word
    assert (found.policy is not None) is (word == "fail")
    if word == "temperror":
        assert "answer" in found.why or "for now" in found.why


TWO = {"a.example": "p=none", "b.example": "p=quarantine", "c.example": "p=reject", "e.example": "p=x"}


@each(("authors", "dkim", "word", "author"), [
    (["a.example", "b.example"], "", "fail", "b.example"),
    (["c.example", "b.example"], "", "fail", "c.example"),
    (["a.example", "b.example"], "a.example", "fail", "b.example"),
    (["a.example", "b.example"], "a.example b.example", "pass", "a.example"),
    (["a.example", "d.example"], "a.example", "none", "d.example"),
    (["a.example", "[192.0.2.1]"], "a.example", "permerror", ""),
    (["c.example", "[192.0.2.1]"], "", "fail", "c.example"),
    (["[192.0.2.1]"], "", "permerror", ""),
    (["a.example", "e.example"], "a.example", "permerror", "e.example"),
    (["t.example", "b.example"], "", "fail", "b.example"),
    (["t.example", "c.example"], "", "fail", "c.example"),
    (["t.example", "a.example"], "", "temperror", "t.example"),
    (["t.example", "e.example"], "", "temperror", "t.example"),
    (["t.example", "a.example", "b.example"], "", "fail", "b.example"),
    (["t.example", "d.example"], "", "temperror", "t.example"),
    (["a.example", "b.example", "c.example", "d.example"], "", "fail", "c.example"),
    (["a.example", "b.example", "c.example", "d.example", "e.example"], "", "fail", "c.example"),
    (["a.example", "f.example", "g.example", "d.example", "e.example"], "", "permerror", ""),
    (Unclear("odd"), "a.example", "permerror", ""),
    (Unclear("odd", ("a.example",)), "a.example", "permerror", ""),
    (Unclear("odd", ("a.example",)), "", "permerror", ""),
    (Unclear("odd", ("a.example", "b.example")), "a.example", "fail", "b.example"),
    (Unclear("odd", ("a.example", "b.example", "c.example", "t.example")), "", "fail", "c.example"),
    (Unclear("odd", ("t.example", "b.example")), "", "fail", "b.example"),
    (Unclear("odd", ("t.example",)), "", "permerror", ""),
    (["e.example"], "e.example", "permerror", "e.example"),
])
def test_several_authors_and_none(authors: Sequence[str] | Unclear, dkim: str, word: str, author: str) -> None:
    found, _ = judged(TWO, authors, dkim=dkim, failing="t.example")
    assert (found.result.value, found.author_domain) == (word, author)


def test_two_records_are_none() -> None:
    resolver = FakeResolver(text_records={
        "_dmarc.a.example.com": [b"v=DMARC1; p=none"] * 2,
        "_dmarc.example.com": [b"v=DMARC1; p=reject", b"v=spf1 -all"],
    })
    found = at_once(evaluate(("a.example.com",), None, [], resolver))
    assert (found.result, found.policy) == (DmarcResult.FAIL, REJECT)


def test_identifiers_have_a_limit() -> None:
    many = [f"s{number}.example.com" for number in range(dmarc.IDENTIFIERS + 1)]
    found, asked = judged(ORG, ["example.com"], dkim=" ".join(["x.example.com=temperror", *many, "example.com"]))
    assert found.dkim_aligned == ("example.com", *many[:-1])
    assert asked == ["example.com", "com", *many[:-1]]


def test_the_most_questions_of_one_message() -> None:
    deep = "a.b.c.d.e.f.g.h.i.j"
    authors = Unclear("odd", tuple(f"{deep}{number}.example.com" for number in range(dmarc.DOMAINS)))
    signers = [f"{deep}.s{number}.example.com" for number in range(100)]
    _, asked = judged({"example.com": "p=none"}, authors, f"{deep}.m.example.com", " ".join(signers))
    assert len(asked) <= dmarc.QUERIES * (dmarc.DOMAINS + dmarc.IDENTIFIERS + 1)


def test_what_is_found_is_told() -> None:
    found, _ = judged(SUB, ["news.example.com"], "b.example.com", "news.example.com c.example.com a.example.net")
    assert found == Dmarc(
        DmarcResult.PASS, "SPF and DKIM of news.example.com aligned with news.example.com", "news.example.com", None,
        None, DmarcRecord(REJECT, QUARANTINE, NONE), "example.com", "example.com", True,
        ("news.example.com", "c.example.com"),
    )
    failed, _ = judged(SUB, ["news.example.com"], "example.net")
    assert failed.why == "nothing that passes is aligned with news.example.com"
    trouble, _ = judged(SUB, ["example.com"], failing="example.com")
    assert trouble.why.startswith("no answer for _dmarc.example.com: ")


RECORDS = st.dictionaries(
    st.sampled_from(["x", "b.x", "a.b.x", "c.b.x", "d.a.b.x"]),
    st.sampled_from(["p=reject", "p=none; psd=n", "p=quarantine; psd=y", "p=?", "p=reject; adkim=s; np=none"]),
)
NAMES = st.sampled_from(["x", "b.x", "a.b.x", "c.b.x", "d.a.b.x", "e.d.a.b.x"])


@given(RECORDS, NAMES, NAMES, NAMES)
def test_trouble_changes_nothing_but_to_trouble(records: dict[str, str], author: str, signer: str, name: str) -> None:
    well, _ = judged(records, [author], dkim=signer)
    unwell, _ = judged(records, [author], dkim=signer, failing=name)
    assert unwell.result in (well.result, DmarcResult.TEMPERROR)
    if signer == author:
        assert well.result is not DmarcResult.FAIL


# --- at the same time ---------------------------------------------------------------------------------

class Later:
    """To be waited for once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Slow(FakeResolver):
    """Answers when all who ask at the same time have asked."""

    async def text(self, domain: str) -> Records[bytes]:
        found = await super().text(domain)
        await Later()
        return found


async def all_at_once(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    left = list(coroutines)
    while left:
        for one in list(left):
            try:
                one.send(None)
            except StopIteration:
                left.remove(one)
        await Later()


def test_what_is_asked_at_the_same_time_is_no_more_than_one_after_the_other() -> None:
    deep = [f"a{n}.b.c.d.e.f.g.evil.org" for n in range(3)]
    authors = ("victim.org", *deep)
    signed = [f"s{n}.{deep[0]}" for n in range(9)]
    records = {f"_dmarc.{one}": [b"v=DMARC1; p=reject"] for one in authors}
    dns = Slow(text_records=records)
    learning = Authors(authors, dns).learn(signed, all_at_once)
    is_over = False
    while not is_over:
        try:
            learning.send(None)
        except StopIteration:
            is_over = True
    # Each author walks up once, whoever wants to know where he belongs.
    assert 1 <= dns.asked.count("TXT _dmarc.org") <= len(authors)
