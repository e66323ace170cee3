"""SPF: what a domain says of a client, with DNS at hand, in trouble, and at its limits."""

import attrs
import pytest

from mailgw.mail.address import Mailbox
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust import spf
from mailgw.trust.spf import Identity, Spf, SpfQuestion, SpfResult, check_helo, check_mail_from
from tests.tables import each

FOUR, SIX = "192.0.2.3", "2001:db8::cb01"
QUESTION = SpfQuestion(FOUR, "mx.example.net", Mailbox("strong-bad", "example.com"), "mx.here.example", 1_700_000_000.5)
DNS = FakeResolver(
    mx_records={
        "example.com": [(10, "mx1.example.com"), (20, "mx2.example.com")],
        "null.example": [(0, "")],
        "ten.example": [(n, f"mx{n}.ten.example") for n in range(10)],
        "eleven.example": [(n, f"mx{n}.ten.example") for n in range(11)],
        "dead.example": [(n, f"mx{n}.dead.example") for n in range(3)],
    },
    address_records={
        "example.com": ["192.0.2.200", "2001:db8::1"],
        "host.example.com": [FOUR, SIX],
        "mx1.example.com": ["192.0.2.77"],
        "mx2.example.com": ["192.0.2.3", "2001:db8:0:1::7"],
        "mx9.ten.example": [FOUR],
        "six.example.com": [SIX],
        "other.example.org": [FOUR],
        "strong-bad.listed.example": ["127.0.0.2"],
        "3.2.0.192.in-addr.listed.example": ["127.0.0.2"],
        "1.0.b.c." + "0." * 20 + "8.b.d.0.1.0.0.2.ip6.listed.example": ["127.0.0.2"],
        "host.example.com.listed.example": ["127.0.0.2"],
        "unknown.listed.example": ["127.0.0.3"],
    },
    name_records={FOUR: ["lies.example.net", "host.example.com"], SIX: ["other.example.org", "host.example.com"]},
    text_records={
        "passes.example": [b"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"],
        "fails.example": [b"v=spf1 -all exp=why.example"],
        "soft.example": [b"v=spf1 ~all"],
        "neutral.example": [b"v=spf1 ip4:198.51.100.1"],
        "broken.example": [b"v=spf1 moo"],
        "two.example": [b"v=spf1 -all", b"v=spf1 -all"],
        "none.example": [b"some words"],
        "why.example": [b"%{i} is not %{d}'s"],
        "inner.example": [b"v=spf1 include:passes.example ?all"],
        "mx.example.net": [b"v=spf1 a:host.example.com -all"],
        "xn--mller-kva.example": [b"v=spf1 +all"],
        "loop.example": [b"v=spf1 include:loop.example"],
        "round.example": [b"v=spf1 redirect=round.example"],
    },
    aliases={"www.example.com": "host.example.com"},
    failing=frozenset(["broken-dns.example"]),
)


def asked(record: str, client: str = FOUR, dns: FakeResolver = DNS, **changes: object) -> Spf:
    """What a record of example.com comes to."""
    there = attrs.evolve(dns, text_records={**dns.text_records, "example.com": [record.encode("latin-1")]}, asked=[])
    return result_of(check_mail_from(there, attrs.evolve(QUESTION, client=client, **changes)))  # type: ignore[arg-type]


def why(record: str, client: str = FOUR) -> tuple[str, str]:
    found = asked(record, client)
    return found.result.value, found.reason


# --- mechanisms ---------------------------------------------------------------------------------------

@each(("record", "client", "result"), [
    ("v=spf1", FOUR, "neutral"),
    ("v=spf1 -all", FOUR, "fail"),
    ("v=spf1 ~all", FOUR, "softfail"),
    ("v=spf1 ?all", FOUR, "neutral"),
    ("v=spf1 all", FOUR, "pass"),
    ("v=spf1 ip4:192.0.2.0/29 -all", FOUR, "pass"),
    ("v=spf1 ip4:192.0.2.4/30 -all", FOUR, "fail"),
    ("v=spf1 ip4:0.0.0.0/0 -all", SIX, "fail"),
    ("v=spf1 ip6:::/0 -all", FOUR, "fail"),
    ("v=spf1 ip6:2001:db8::/96 -all", SIX, "pass"),
    # A mapped address is the IPv4 one (s5), and no IPv6 network has it.
    ("v=spf1 ip4:192.0.2.3 -all", "::ffff:192.0.2.3", "pass"),
    ("v=spf1 ip6:::ffff:192.0.2.3 -all", "::ffff:192.0.2.3", "fail"),
    ("v=spf1 ip6:fe80::/10 -all", "fe80::1%eth0", "pass"),
    ("v=spf1 a -all", FOUR, "fail"),
    ("v=spf1 a/24 -all", FOUR, "pass"),
    ("v=spf1 a//96 -all", FOUR, "fail"),
    ("v=spf1 a//96 -all", SIX, "pass"),
    ("v=spf1 a/24//113 -all", SIX, "fail"),
    ("v=spf1 a:www.example.com -all", SIX, "pass"),
    ("v=spf1 a:six.example.com -all", FOUR, "fail"),
    ("v=spf1 a:host.example.com. -all", FOUR, "pass"),
    ("v=spf1 mx -all", FOUR, "pass"),
    ("v=spf1 mx -all", SIX, "fail"),
    ("v=spf1 mx//32 -all", SIX, "pass"),
    ("v=spf1 mx/26//128 -all", "192.0.2.100", "pass"),
    ("v=spf1 mx:null.example mx:host.example.com -all", FOUR, "fail"),  # no MX: not the address instead (s5.4)
    ("v=spf1 exists:%{l}.listed.example -all", FOUR, "pass"),
    ("v=spf1 exists:%{l}.listed.example -all", SIX, "pass"),
    ("v=spf1 exists:%{ir}.%{v}.listed.example -all", FOUR, "pass"),
    ("v=spf1 exists:%{ir}.%{v}.listed.example -all", SIX, "pass"),
    ("v=spf1 exists:six.example.com -all", SIX, "fail"),  # the A record alone (s5.7)
    ("v=spf1 exists:%{i} -all", FOUR, "fail"),  # an address is a name like others
    ("v=spf1 exists:%{h}..example a:.example -all", FOUR, "fail"),  # s4.8
    ("v=spf1 ptr -all", FOUR, "pass"),
    ("v=spf1 ptr:EXAMPLE.org -all", FOUR, "fail"),
    ("v=spf1 ptr:example.net -all", FOUR, "fail"),  # it claims a name that is not its own
    ("v=spf1 ptr:ample.com -all", FOUR, "fail"),
    ("v=spf1 exists:%{p}.listed.example -all", FOUR, "pass"),
    ("v=spf1 exists:%{p}.listed.example -all", "192.0.2.99", "pass"),
    ("v=spf1 include:passes.example -all", FOUR, "pass"),
    ("v=spf1 ~include:passes.example -all", FOUR, "softfail"),
    ("v=spf1 include:inner.example -all", SIX, "pass"),
    ("v=spf1 include:fails.example ~all", FOUR, "softfail"),
    ("v=spf1 include:soft.example include:neutral.example -all", FOUR, "fail"),
    ("v=spf1 redirect=passes.example", FOUR, "pass"),
    ("v=spf1 redirect=neutral.example", FOUR, "neutral"),
    ("v=spf1 redirect=passes.example -all", FOUR, "fail"),
    ("v=spf1 redirect=moo.example a/24", FOUR, "pass"),
    ("v=spf1 A:%{L}.%{O} MX -ALL", FOUR, "pass"),
])
def test_a_record(record: str, client: str, result: str) -> None:
    assert why(record, client)[0] == result, why(record, client)


@each(("record", "result", "reason"), [
    ("v=spf1 -include:none.example", "permerror",
     "-include:none.example of example.com: none.example has no SPF record"),
    ("v=spf1 include:not.there.example -all", "permerror",
     "include:not.there.example of example.com: not.there.example has no SPF record"),
    ("v=spf1 include:broken.example -all", "permerror", "broken.example has no such term: moo"),
    ("v=spf1 include:two.example -all", "permerror", "two.example has 2 SPF records, not one"),
    ("v=spf1 include:%{l} -all", "permerror",
     "include:%{l} of example.com: strong-bad is no domain that can have a record"),
    ("v=spf1 include:%{d}..example -all", "permerror", "include:%{d}..example of example.com: no domain"),
    ("v=spf1 redirect=none.example", "permerror",
     "redirect=none.example of example.com: none.example has no SPF record"),
    ("v=spf1 redirect=a..example", "permerror", "redirect=a..example of example.com: no domain"),
    ("v=spf1 include:broken-dns.example -all", "temperror",
     "DNS does not say the TXT of broken-dns.example: no answer"),
    ("v=spf1 redirect=broken-dns.example", "temperror", "DNS does not say the TXT of broken-dns.example: no answer"),
    ("v=spf1 a:broken-dns.example -all", "temperror", "DNS does not say the A of broken-dns.example: no answer"),
    ("v=spf1 mx:broken-dns.example -all", "temperror", "DNS does not say the MX of broken-dns.example: no answer"),
    ("v=spf1 exists:broken-dns.example -all", "temperror", "DNS does not say the A of broken-dns.example: no answer"),
    # What has matched before the trouble has matched.
    ("v=spf1 ip4:192.0.2.3 a:broken-dns.example -all", "pass", "192.0.2.3 matches ip4:192.0.2.3"),
    ("v=spf1 moo \xfc", "permerror", "example.com has a record that is not ASCII"),
    ("words", "none", "example.com has no SPF record"),
    ("v=spf1 include:inner.example -all", "pass",
     "192.0.2.3 matches include:inner.example, include:passes.example, ip4:192.0.2.0/24"),
    ("v=spf1 redirect=neutral.example", "neutral",
     "192.0.2.3 matches no term of neutral.example"),
    ("v=spf1 redirect=fails.example", "fail", "192.0.2.3 matches redirect=fails.example, -all"),
])
def test_the_reason(record: str, result: str, reason: str) -> None:
    assert why(record) == (result, reason)


@each(("record", "mechanism"), [
    ("v=spf1 include:inner.example -all", "include:inner.example"),
    ("v=spf1 ~ALL", "~ALL"),
    ("v=spf1", "default"),
    ("v=spf1 redirect=neutral.example", "default"),
    ("v=spf1 redirect=fails.example", "-all"),
    ("v=spf1 moo", ""),
    ("moo", ""),
    (f"v=spf1 ip6:::1 +a:{'x' * 100}.example a/0", "a/0"),
    (f"v=spf1 a:%{{d{'0' * 73}2}}/0", f"a:%{{d{'0' * 73}2}}"),  # of a long one the beginning
])
def test_the_mechanism(record: str, mechanism: str) -> None:
    assert asked(record).mechanism == mechanism


@each(("names", "name"), [
    (["other.example.org", "host.example.com", "example.com"], "example.com"),
    (["other.example.org", "Host.example.com"], "host.example.com"),
    (["lies.example.net", "other.example.org"], "other.example.org"),
    (["lies.example.net"], "unknown"),
    ([], "unknown"),
])
def test_which_of_its_names_a_client_has(names: list[str], name: str) -> None:
    """%{p} (s7.3)."""
    addresses = {**DNS.address_records, "example.com": [FOUR]}
    dns = attrs.evolve(DNS, name_records={FOUR: names}, address_records=addresses, text_records={
        "example.com": [b"v=spf1 -exists:%{p}.x.example"],
    }, asked=[])
    sender = Mailbox("a", "example.com")
    assert result_of(check_mail_from(dns, attrs.evolve(QUESTION, reverse_path=sender))).result is SpfResult.NEUTRAL
    assert dns.asked[-1] == f"A {name}.x.example"


# --- trouble ------------------------------------------------------------------------------------------

@each(("record", "failing", "result"), [
    ("v=spf1 a -all", "TXT example.com", "temperror"),
    ("v=spf1 mx -all", "A mx1.example.com", "temperror"),
    # Of the other kind of address nobody asked.
    ("v=spf1 mx -all", "AAAA mx2.example.com", "pass"),
    ("v=spf1 a -all", "AAAA example.com", "fail"),
    ("v=spf1 a -all", "A example.com", "temperror"),
    # s5.5: a client whose names are in trouble has none, since they are its own.
    ("v=spf1 ptr -all", f"PTR {FOUR}", "fail"),
    ("v=spf1 ptr -all", "A host.example.com", "fail"),
    ("v=spf1 ptr -all", "A lies.example.net", "pass"),
    ("v=spf1 exists:%{p}.listed.example -all", f"PTR {FOUR}", "pass"),  # "unknown"
    ("v=spf1 -all exp=why.example", "TXT why.example", "fail"),
    ("v=spf1 -all exp=%{p}.example", f"PTR {FOUR}", "fail"),
])
def test_trouble_with_dns(record: str, failing: str, result: str) -> None:
    found = asked(record, FOUR, attrs.evolve(DNS, failing=frozenset([failing])))
    assert found.result.value == result
    assert not found.explanation


# --- limits (s4.6.4) ----------------------------------------------------------------------------------

def test_ten_terms_ask_dns_and_no_more() -> None:
    mixed = "a mx:dead.example ptr:x.example exists:host.example.net.example a:example.com include:fails.example"
    ten = f"v=spf1 ip4:198.51.100.1 {mixed} a a a a"
    assert why(f"{ten} ?all")[0] == "neutral", why(f"{ten} ?all")
    assert why(f"{ten} a ?all") == ("permerror", "more than 10 terms that ask DNS, with a of example.com")
    # A redirect is one, too, and so are those of an included record.
    assert why(f"{ten} redirect=fails.example")[0] == "permerror"
    assert why(f"v=spf1 {'a ' * 9}redirect=fails.example")[0] == "fail"
    assert why(f"v=spf1 {'a ' * 8}include:inner.example")[0] == "pass"
    assert why(f"v=spf1 {'a ' * 9}include:inner.example")[0] == "permerror"


@each("record", ["v=spf1 include:loop.example -all", "v=spf1 redirect=round.example"])
def test_a_circle_ends(record: str) -> None:
    found = asked(record)
    assert found.result is SpfResult.PERMERROR
    assert "more than 10 terms" in found.reason


def test_two_terms_may_find_nothing() -> None:
    assert why("v=spf1 a:x.example mx:x.example -all")[0] == "fail"
    assert why("v=spf1 a:x.example mx:x.example exists:%{d}.x.example -all") == (
        "permerror", "more than 2 terms of which there is nothing in DNS, with exists:%{d}.x.example of example.com",
    )
    # The third one is seen, also where nothing stands behind it, or below an include.
    assert why("v=spf1 a:x.example mx:x.example a:x.example")[0] == "permerror"
    assert why("v=spf1 a:x.example a:six.example.com ptr", "198.51.100.1")[0] == "permerror"
    # One term is one, however many of its MX hosts have no address; a null MX finds nothing.
    assert why("v=spf1 mx:dead.example mx:null.example -all")[0] == "fail"
    assert why("v=spf1 mx:dead.example mx:null.example a:six.example.com -all")[0] == "permerror"
    # What makes no name asks for nothing.
    assert why("v=spf1 a:.x a:.x a:.x -all")[0] == "fail"


def test_an_mx_has_ten_hosts_at_most() -> None:
    assert why("v=spf1 mx:ten.example -all")[0] == "pass"
    assert why("v=spf1 mx:eleven.example -all") == (
        "permerror", "eleven.example has more than 10 MX hosts, for mx:eleven.example of example.com",
    )


@each(("before", "result"), [(9, "pass"), (10, "fail")])
def test_of_ten_names_one_may_be_right(before: int, result: str) -> None:
    names = [f"h{n}.example.net" for n in range(before)]
    dns = attrs.evolve(DNS, name_records={FOUR: [*names, "host.example.com"]})
    assert asked("v=spf1 ptr -all", FOUR, dns).result.value == result


@each(["before", "result"], [(spf.ADDRESSES - 1, "pass"), (spf.ADDRESSES, "fail")])
def test_of_so_many_addresses_one_may_be_right(before: int, result: str) -> None:
    many = [f"198.18.{n >> 8}.{n & 255}" for n in range(before)]
    dns = attrs.evolve(DNS, address_records={"many.example": [*many, FOUR]})
    assert asked("v=spf1 a:many.example -all", dns=dns).result.value == result


def test_the_client_s_names_are_asked_for_once() -> None:
    dns = attrs.evolve(
        DNS, text_records={**DNS.text_records, "example.com": [b"v=spf1 ptr:x.y ptr:y.z exists:%{p}.x -all"]}, asked=[],
    )
    assert result_of(check_mail_from(dns, QUESTION)).result is SpfResult.FAIL
    assert dns.asked == [
        "TXT example.com", f"PTR {FOUR}", "A lies.example.net", "A host.example.com", "A host.example.com.x",
    ]


# --- explanations (s6.2) ------------------------------------------------------------------------------

@each(("texts", "explanation"), [
    ([b"%{i} is not %{d}'s"], "192.0.2.3 is not example.com's"),
    ([b"%{c} %{r} %{t} %{h} %{p}"], "192.0.2.3 mx.here.example 1700000000 mx.example.net host.example.com"),
    ([b"100%% of %{S}"], "100% of strong-bad%40example.com"),
    ([b""], ""),
    ([], ""),
    ([b"one", b"two"], ""),
    ([b"100%"], ""),
    ([b"\xc3\xbc"], ""),
    ([b"a\r\nb"], ""),
    ([b"a" * spf.EXPLANATION_OCTETS], "a" * spf.EXPLANATION_OCTETS),
    ([b"a" * (spf.EXPLANATION_OCTETS + 1)], ""),
    ([b"a" * (spf.EXPLANATION_OCTETS - 9) + b"%{i}%%"], ""),
])
def test_an_explanation(texts: list[bytes], explanation: str) -> None:
    dns = attrs.evolve(DNS, text_records={**DNS.text_records, "why.example.com": texts})
    assert asked("v=spf1 -all exp=why.%{d}", FOUR, dns).explanation == explanation


@each(("record", "explanation"), [
    ("v=spf1 ~all exp=why.example", ""),
    ("v=spf1 moo exp=why.example", ""),
    # Of an included record it is nobody's (s6.2), of one that is redirected to it is the one that counts.
    ("v=spf1 include:fails.example -all", ""),
    ("v=spf1 include:fails.example -all exp=why.example", "192.0.2.3 is not example.com's"),
    ("v=spf1 redirect=fails.example", "192.0.2.3 is not fails.example's"),
    ("v=spf1 redirect=fails.example exp=none.example", "192.0.2.3 is not fails.example's"),
    ("v=spf1 -all exp=%{d}..example", ""),
])
def test_whose_explanation_it_is(record: str, explanation: str) -> None:
    assert asked(record).explanation == explanation


def test_what_a_client_calls_itself_brings_nothing_odd_into_a_reply() -> None:
    dns = attrs.evolve(DNS, text_records={**DNS.text_records, "why.example.com": [b"not %{h}"]})
    for helo in ("a\r\n250 b", "m\u00fcller.example", "a\x7f"):
        found = asked("v=spf1 -all exp=why.%{d}", FOUR, dns, helo=helo)
        assert (found.result, found.explanation) == (SpfResult.FAIL, "")


# --- identities (s2.3, s2.4) --------------------------------------------------------------------------

@each(("helo", "domain", "result"), [
    ("mx.example.net", "mx.example.net", "pass"),
    ("MX.Example.NET.", "mx.example.net", "pass"),
    ("m\u00fcller.example", "xn--mller-kva.example", "pass"),
    ("[192.0.2.3]", "", "none"),
    ("[IPv6:2001:db8::1]", "", "none"),
    ("localhost", "localhost", "none"),
    ("a..example", "", "none"),
    (f"{'a' * 64}.example", "", "none"),
    ("", "", "none"),
    ("a b.example", "", "none"),
    ("broken-dns.example", "broken-dns.example", "temperror"),
])
def test_helo(helo: str, domain: str, result: str) -> None:
    for reverse_path in (QUESTION.reverse_path, None):
        found = result_of(check_helo(DNS, attrs.evolve(QUESTION, helo=helo, reverse_path=reverse_path)))
        assert (found.identity, found.domain, found.result.value) == (Identity.HELO, domain, result)
    # With a null reverse-path this is MAIL FROM, too.
    found = result_of(check_mail_from(DNS, attrs.evolve(QUESTION, helo=helo, reverse_path=None)))
    assert (found.identity, found.domain, found.result.value) == (Identity.MAIL_FROM, domain, result)


def test_of_address_literals_nobody_is_asked() -> None:
    """s2.3, s4.3: they are no domains."""
    failing = FakeResolver(failing=frozenset({"[192.0.2.3]"}))
    helo = result_of(check_helo(failing, attrs.evolve(QUESTION, helo="[192.0.2.3]")))
    sender = result_of(check_mail_from(failing, attrs.evolve(QUESTION, reverse_path=Mailbox("a", "[192.0.2.3]"))))
    assert (helo.result, sender.result) == (SpfResult.NONE, SpfResult.NONE)


@each(("mailbox", "result"), [
    (Mailbox("a", "passes.example"), "pass"),
    (Mailbox("a", "fails.example"), "fail"),
    (Mailbox("a", "xn--mller-kva.example"), "pass"),
    (Mailbox("a", "none.example"), "none"),
    (Mailbox("a", "not.there.example"), "none"),
    (Mailbox("a", "[192.0.2.3]"), "none"),
    (Mailbox("a", "example"), "none"),
    (Mailbox("postmaster", ""), "none"),
])
def test_mail_from(mailbox: Mailbox, result: str) -> None:
    found = result_of(check_mail_from(DNS, attrs.evolve(QUESTION, reverse_path=mailbox)))
    assert (found.domain, found.result.value) == (mailbox.domain, result)


@each(("mailbox", "name"), [
    (None, "postmaster.mx.example.net"),
    (Mailbox("", "mx.example.net"), "postmaster.mx.example.net"),  # s4.3
    (Mailbox("Strong Bad", "mx.example.net"), "Strong Bad.mx.example.net"),
])
def test_the_local_part(mailbox: Mailbox | None, name: str) -> None:
    dns = attrs.evolve(DNS, text_records={"mx.example.net": [b"v=spf1 -exists:%{l}.%{d}"]}, asked=[])
    assert result_of(check_mail_from(dns, attrs.evolve(QUESTION, reverse_path=mailbox))).result is SpfResult.NEUTRAL
    assert dns.asked[1:] == [f"A {name.lower()}"]


def test_a_local_part_beyond_ascii_matches_nothing() -> None:
    """RFC 8616 s4."""
    dns = attrs.evolve(DNS, text_records={"x.example": [b"v=spf1 exists:%{l}.x.example exists:%{S}.x.example -all"]},
                       asked=[])
    found = result_of(check_mail_from(dns, attrs.evolve(QUESTION, reverse_path=Mailbox("j\u00f6", "x.example"))))
    assert found.result is SpfResult.FAIL
    assert dns.asked == ["TXT x.example"]


def test_a_client_without_an_address_is_our_bug() -> None:
    with pytest.raises(ValueError, match="no address"):
        result_of(check_helo(DNS, attrs.evolve(QUESTION, client="no address")))
