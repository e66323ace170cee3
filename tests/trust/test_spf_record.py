"""SPF records and macros, as they are read and expanded."""

import ipaddress
import time

from hypothesis import given
from hypothesis import strategies as st

from mailgw.trust.spf_macros import PIECES, Macro, domain_spec, expanded, is_name, macro_text, name_of
from mailgw.trust.spf_record import (
    RECORD_OCTETS,
    TERMS,
    Directive,
    Faulty,
    Kind,
    SpfRecord,
    read_record,
    record_among,
)
from tests.slowed import SLOWED
from tests.tables import each

# --- which record (s4.5) ------------------------------------------------------------------------------


@each(("texts", "found"), [
    ([], None),
    ([b""], None),
    ([b"v=STSv1; id=1", b"\xff\xfe"], None),
    ([b"v=spf10 -all"], None),
    ([b"v=spf1-all"], None),
    ([b"v=spf1\t-all"], None),
    ([b" v=spf1 -all"], None),
    ([b"v=spf1\0 -all"], None),
    ([b"v=spf1"], 0),
    ([b"v=spf1 "], 0),
    ([b"v=spf1  -all   "], 1),
    ([b"V=SPF1 -all"], 1),
    ([b"v=spf1 -all", b"v=spf10 +all", b"words \xff"], 1),
    ([b"v=spf1 -all", b"v=spf1 -all"], Faulty("2 SPF records, not one")),
    ([b"v=spf1 -all", b"V=spf1"], Faulty("2 SPF records, not one")),
    ([b"v=spf1 -all\xc3\xbc"], Faulty("a record that is not ASCII")),
])
def test_the_record_among_texts(texts: list[bytes], found: int | Faulty | None) -> None:
    record = record_among(texts)
    assert (len(record.directives) if isinstance(record, SpfRecord) else record) == found


def test_a_record_has_a_limit() -> None:
    record = b"v=spf1 ip4:192.0.2.1" + b" " * (RECORD_OCTETS - 20)
    assert len(record) == RECORD_OCTETS
    assert isinstance(read_record(record), SpfRecord)
    assert read_record(record + b" ") == Faulty(f"a record of more than {RECORD_OCTETS} octets")


def test_terms_have_a_limit() -> None:
    record = read_record(b"v=spf1 " + b" a" * TERMS)
    assert isinstance(record, SpfRecord)
    assert len(record.directives) == TERMS
    assert read_record(b"v=spf1" + b" a" * (TERMS + 1)) == Faulty(f"a record of more than {TERMS} terms")


# --- terms (s4.6, s5, s6) -----------------------------------------------------------------------------

FOUR, SIX = ipaddress.IPv4Network, ipaddress.IPv6Network
EXAMPLE = domain_spec("a.example")


@each(("term", "directive"), [
    ("all", Directive("all", "+", Kind.ALL)),
    ("-ALL", Directive("-ALL", "-", Kind.ALL)),
    ("a", Directive("a", "+", Kind.A)),
    ("~a/24", Directive("~a/24", "~", Kind.A, None, None, 24, 128)),
    ("?a//64", Directive("?a//64", "?", Kind.A, None, None, 32, 64)),
    ("mx/0//0", Directive("mx/0//0", "+", Kind.MX, None, None, 0, 0)),
    ("MX:a.example/32//128", Directive("MX:a.example/32//128", "+", Kind.MX, EXAMPLE)),
    # A slash may stand in a name, and is one of macros' delimiters.
    ("a:x/y.example/9", Directive("a:x/y.example/9", "+", Kind.A, domain_spec("x/y.example"), None, 9)),
    ("a:%{d/}", Directive("a:%{d/}", "+", Kind.A, domain_spec("%{d/}"))),
    ("a:%{d}/24", Directive("a:%{d}/24", "+", Kind.A, domain_spec("%{d}"), None, 24)),
    ("ptr", Directive("ptr", "+", Kind.PTR)),
    ("ptr:a.example", Directive("ptr:a.example", "+", Kind.PTR, EXAMPLE)),
    ("include:a.example", Directive("include:a.example", "+", Kind.INCLUDE, EXAMPLE)),
    ("exists:a.example", Directive("exists:a.example", "+", Kind.EXISTS, EXAMPLE)),
    ("ip4:192.0.2.9", Directive("ip4:192.0.2.9", "+", Kind.IP4, None, FOUR("192.0.2.9/32"))),
    ("ip4:192.0.2.9/24", Directive("ip4:192.0.2.9/24", "+", Kind.IP4, None, FOUR("192.0.2.0/24"))),
    ("IP6:2001:DB8::/32", Directive("IP6:2001:DB8::/32", "+", Kind.IP6, None, SIX("2001:db8::/32"))),
    ("ip6:::ffff:192.0.2.1", Directive("ip6:::ffff:192.0.2.1", "+", Kind.IP6, None, SIX("::ffff:c000:201/128"))),
    ("ip6:::/0", Directive("ip6:::/0", "+", Kind.IP6, None, SIX("::/0"))),
])
def test_a_directive(term: str, directive: Directive) -> None:
    assert read_record(b"v=spf1 " + term.encode()) == SpfRecord((directive,), None, None)


@each("term", [
    "moo", "-", "all.", "all:a.example", "all/8", "--all", "+ -all", "a.", "a:", "a:/24", "a:foo", "a:a.123",
    "a:a.example:25", "a/", "a//", "a/33", "a//129", "a/032", "a/24/64", "a///64", "a:a.example/", "a:-a.b-", "a:a.-b",
    "a/\u0662", "mx:", "mx/99", "ptr/24", "ptr:", "ptr//64", "include", "include:", "include:a.example/24", "exists",
    "exists:", "exists/24", "ip4", "ip4:", "ip4:192.0.2", "ip4:192.0.2.256", "ip4:192.0.2.01", "ip4:192.0.2.1/33",
    "ip4:192.0.2.1/024", "ip4:192.0.2.1//32", "ip4:192.0.2.1/", "ip4:2001:db8::1", "ip4=192.0.2.1 ip4", "ip6",
    "ip6:2001:db8::1/129", "ip6:2001:db8:::1", "ip6:192.0.2.1", "ip6:fe80::1%eth0", "ip6:2001:db8::1//64",
    "redirect=", "redirect=foo", "redirect:a.example", "-redirect=a.example", "redirect=a.example/24",
    "redirect=a.example redirect=b.example", "redirect=%{c}.example", "exp=", "exp=foo", "exp=%", "exp=%{r}",
    "exp=a.example EXP=a.example", "a:%{c}.example", "exists:%{t}.example", "exists:%{x}.example",
    "exists:%{d0}.example", "exists:%{d00r}.example", "exists:%{dr2}.example",
    "exists:%{d", "exists:%(d)", "exists:%a.example", "exists:%",
    "exists:%{d}%", "exists:%{d}.%", "exists:%{d}.x\x7f", "x=%", "x=%{d", "x=%{q}", "-x=y", "=y", "1x=y", "x\x00=y",
    "a\tmx", "a\r\nmx", "a:a.example\0", "a:\n.example", "ip4:192.0.2.1\n", "\0",
])
def test_a_fault_anywhere_is_a_fault_of_the_record(term: str) -> None:
    found = read_record(b"v=spf1 +all " + term.encode())
    assert isinstance(found, Faulty), found
    assert found.why.isprintable()


@each("terms", [
    "x=", "a=", "x=y x=y", "x-1_y.z=%{r}%{t}%{c}%%%_%-", "all=a", "default=pass", "a=b:c/d", "op=auth,helo",
    "REDIRECT.=x",
])
def test_modifiers_that_nobody_knows_are_passed_over(terms: str) -> None:
    assert read_record(b"v=spf1 " + terms.encode()) == SpfRecord((), None, None)


def test_the_modifiers_may_stand_anywhere() -> None:
    record = read_record(b"v=spf1 Exp=a.example mx ReDirect=%{d} -all")
    assert isinstance(record, SpfRecord)
    assert [one.written for one in record.directives] == ["mx", "-all"]
    assert record.explanation == EXAMPLE
    assert record.redirect == domain_spec("%{d}")


def test_what_stands_in_the_log_is_short() -> None:
    found = read_record(b"v=spf1 " + b"x" * 4000)
    assert isinstance(found, Faulty)
    assert found.why == "no such term: " + "x" * 80


# --- macros (s7) --------------------------------------------------------------------------------------

# The values of s7.4's examples.
FROM_FOUR = {
    "s": "strong-bad@email.example.com", "l": "strong-bad", "o": "email.example.com", "d": "email.example.com",
    "i": "192.0.2.3", "v": "in-addr", "h": "mx.example.net", "p": "mx.example.org", "c": "192.0.2.3", "r": "mx.here",
    "t": "1700000000",
}
FROM_SIX = {**FROM_FOUR, "i": ".".join("20010db8" + "0" * 20 + "cb01"), "v": "ip6"}


@each(("written", "found"), [
    ("%{s}", "strong-bad@email.example.com"),
    ("%{o}", "email.example.com"),
    ("%{d}", "email.example.com"),
    ("%{d4}", "email.example.com"),
    ("%{d3}", "email.example.com"),
    ("%{d2}", "example.com"),
    ("%{d1}", "com"),
    ("%{d01}", "com"),
    ("%{d99999999999}", "email.example.com"),
    ("%{dr}", "com.example.email"),
    ("%{d2r}", "example.email"),
    ("%{D2R}", "example.email"),
    ("%{l}", "strong-bad"),
    ("%{l-}", "strong.bad"),
    ("%{lr}", "strong-bad"),
    ("%{lr-}", "bad.strong"),
    ("%{l1r-}", "strong"),
    ("%{s+@}", None),
    ("%{s-.}", "strong.bad@email.example.com"),
    ("%{S}", "strong-bad%40email.example.com"),
    ("%%%_%-", "% %20"),
    ("a b", "a b"),
    ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
    ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
    ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
    ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
    ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ("See http://%{d}/why.html?s=%{S}&i=%{I}&t=%{t}",
     "See http://email.example.com/why.html?s=strong-bad%40email.example.com&i=192.0.2.3&t=1700000000"),
])
def test_what_macros_stand_for(written: str, found: str | None) -> None:
    text = macro_text(written)
    assert (text and expanded(text, FROM_FOUR)) == found


def test_a_space_stands_in_explanations_alone() -> None:
    assert macro_text("a b.example") is not None
    assert domain_spec("a b.example") is None
    assert domain_spec("") is None


def test_an_ipv6_address_in_a_name() -> None:
    text = domain_spec("%{ir}.%{v}._spf.%{d2}")
    assert text is not None
    zeros = "0." * 20
    assert name_of(text, FROM_SIX) == f"1.0.b.c.{zeros}8.b.d.0.1.0.0.2.ip6._spf.example.com"


def test_a_macro_as_it_was_read() -> None:
    text = macro_text("a.%{D12r-+}")
    assert text is not None
    assert text.pieces == ("a.", Macro("d", 12, True, "-+", True))
    assert text.letters == {"d"}


@each(("pair", "more"), [("%{d}%{d}", "%{d}"), ("%%%{d}", "%{d}"), ("x.%{d}", "%{d}")])
def test_pieces_have_a_limit(pair: str, more: str) -> None:
    for read in (macro_text, domain_spec):
        assert read(pair * (PIECES // 2)) is not None
        assert read(pair * (PIECES // 2) + more) is None


def test_a_long_name_is_shortened_at_once() -> None:
    """Label by label it is copied as often as it has labels, here for half a second."""
    text = domain_spec("%{l}" * PIECES)
    assert text is not None
    before = time.process_time()
    name = name_of(text, {"l": "a." * 2000 + "b"})
    assert name == "a." * 126 + "b"
    assert time.process_time() - before < 0.1 * SLOWED


@each(("before", "after"), [("a", "\n"), ("a:", "\n"), ("a/", "x"), ("a:b//", "x"), ("ip4:1", "\n"), ("x=", "\x01")])
def test_long_terms_are_read_once(before: str, after: str) -> None:
    started = time.process_time()
    assert isinstance(read_record(f"v=spf1 {before}{before[-1] * 3900}{after}".encode()), Faulty)
    assert time.process_time() - started < 0.05 * SLOWED


LABELS = ".".join(["a" * 48] * 5)[1:]
assert len(f"b.{LABELS}.example") == 253


@each(("written", "local_part", "name"), [
    ("%{l}.example.", "a", "a.example"),
    ("%{l}.example", "", None),
    ("%{l}.example", "a..b", None),
    ("%{l}.example", "a" * 63, "a" * 63 + ".example"),
    ("%{l}.example", "a" * 64, None),
    # RFC 8616 s4, in capitals, too
    ("%{l}.example", "j\u00f6", None),
    ("%{L}.example", "j\u00f6", None),
    ("%{s}.example", "j\u00f6", None),
    ("%{o}.example", "j\u00f6", "o.example.example"),
    # s7.3: 253 octets, and labels go from the left
    ("%{l}.example", f"b.{LABELS}", f"b.{LABELS}.example"),
    ("%{l}.example", f"bc.{LABELS}", f"{LABELS}.example"),
    ("%{l}.example", f"b.c.{LABELS}", f"c.{LABELS}.example"),
])
def test_names_of_macros(written: str, local_part: str, name: str | None) -> None:
    text = domain_spec(written)
    assert text is not None
    assert name_of(text, {"l": local_part, "s": f"{local_part}@o.example", "o": "o.example"}) == name
    assert name is None or is_name(name)


@given(st.text(alphabet="%{}slodiphcrtvSLD0123r.-+,/_= ax\x00\u017f", max_size=20))
def test_whatever_is_read_can_be_expanded(written: str) -> None:
    text = macro_text(written)
    spec = domain_spec(written)
    if spec is not None:
        assert spec == text
        name = name_of(spec, FROM_FOUR)
        assert name is None or is_name(name)
    if text is not None:
        assert expanded(text, FROM_FOUR).isascii()
        assert text.written == written
