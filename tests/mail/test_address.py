"""Mailboxes: what parses, what it means, and that printing and parsing agree."""

import subprocess
import sys
import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, folded, is_shapely, parse_domain, parse_mailbox
from tests.slowed import SLOWED
from tests.tables import each

LOCAL_PARTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
INTERNATIONAL = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(is_shapely)
DOMAINS = st.sampled_from(["example.org", "a.b-c.example", "x", "[192.0.2.1]", "[IPv6:2001:db8::1]", "_x.example"])


@given(LOCAL_PARTS | INTERNATIONAL, DOMAINS)
def test_what_is_printed_parses_back(local_part: str, domain: str) -> None:
    mailbox = Mailbox(local_part, domain)
    assert parse_mailbox(str(mailbox)) == mailbox
    assert mailbox.octets() == str(mailbox).encode("utf-8")


@given(st.text(max_size=30) | st.tuples(LOCAL_PARTS, st.text(min_size=1, max_size=20)).map("@".join))
def test_any_text_parses_or_not(text: str) -> None:
    mailbox = parse_mailbox(text)
    assert mailbox is None or parse_mailbox(str(mailbox)) == mailbox
    assert mailbox is None or mailbox.domain.isascii()


@each(("text", "local_part", "domain"), [
    ("Alice@Example.ORG", "Alice", "example.org"),
    ('"alice"@example.org', "alice", "example.org"),
    (r'"a\b"@example.org', "ab", "example.org"),
    (r'"a\"b@c"@example.org', 'a"b@c', "example.org"),
    ('" "@example.org', " ", "example.org"),
    ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org"),
    ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
    ("a@[ipv6:2001:DB8:0:0::1]", "a", "[IPv6:2001:db8::1]"),
    ("a@" + "b" * 63 + ".example", "a", "b" * 63 + ".example"),
    ("a@[192.000.002.010]", "a", "[192.0.2.10]"),
    ("a@[IPv6:0:0:0:0:0:ffff:192.0.2.1]", "a", "[IPv6:::ffff:c000:201]"),
    ("a@[IPv6:::192.000.2.1]", "a", "[IPv6:::c000:201]"),
    ("a@[IPv6:::]", "a", "[IPv6:::]"),
    ("grün@example.org", "grün", "example.org"),
    ("用户@例子.广告", "用户", "xn--fsqu00a.xn--4rr70v"),
    ("user@müller.example", "user", "xn--mller-kva.example"),
    ("user@xn--mller-kva.example", "user", "xn--mller-kva.example"),
    ("user@XN--MLLER-KVA.example", "user", "xn--mller-kva.example"),
    ("user@MÜLLER.Example", "user", "xn--mller-kva.example"),
    (f"user@{unicodedata.normalize('NFD', 'müller')}.example", "user", "xn--mller-kva.example"),
    ("user@müller。example", "user", "xn--mller-kva.example"),
    ("user@faß.example", "user", "xn--fa-hia.example"),
    ("user@_x.müller.example", "user", "_x.xn--mller-kva.example"),
    ('"grün weiß"@example.org', "grün weiß", "example.org"),
    ('"grün"@example.org', "grün", "example.org"),
    ("e\u0301@example.org", "e\u0301", "example.org"),
    ("نام\u200cای@example.org", "نام\u200cای", "example.org"),
])
def test_what_is_a_mailbox(text: str, local_part: str, domain: str) -> None:
    assert parse_mailbox(text) == Mailbox(local_part, domain)


@each("text", [
    "", "@", "a", "a@", "@example.org", "a b@example.org", "a..b@example.org", ".a@example.org", "a.@example.org",
    '""@example.org', '"a@example.org', '"a"b@example.org', "a@example..org", "a@.example.org", "a@example.org.",
    "a@-example.org", "a@example-.org", "a@exa mple.org", "a@[192.0.2.1", "a@[192.0.2.256]", "a@[2001:db8::1]",
    "a@[IPv6:fe80::1%eth0]", "a@[IPv6:x]", "a@[]", "a@b@example.org",
    "a@[IPv4:192.0.2.1]", "a@[192.0.2.0001]", "a@[x:y]", "a@[٣.0.2.1]", "a@[ü]", "a@［192.0.2.1］", "a@☃.example",
    "a@-ü.example",
    "a@xn--ü.example", "a@ü..example", "a@.ü.example", "a@ü.example.", "a@ü b.example", '"a\\ü"@example.org',
    "ü\x85@example.org", "ü\x7f@example.org", "ü\xa0@example.org", "ü\xad@example.org", "\u2028@example.org",
    "\u2029@example.org", "ü\u202ea@example.org", "\u3000@example.org", "\ufeff@example.org", "\ufdd0@example.org",
    "\ufffe@example.org", "\U0010ffff@example.org", "\ud800@example.org", "ü\r@example.org", '"ü\0"@example.org',
    "a@exa\u200bmple.ü", "a＠example.org",
    "a@example.org\n", "a\n@example.org", '"a\n"@example.org', "a@" + "b" * 64 + ".example", "a" * 255 + "@example.org",
])
def test_what_is_none(text: str) -> None:
    assert parse_mailbox(text) is None


@each("unit", ["a", "ü", "用", "🙂"])
def test_a_path_has_256_octets_and_no_more(unit: str) -> None:
    room = 256 - len("<@example.org>")
    width = len(unit.encode())
    longest = unit * (room // width) + "b" * (room % width)
    assert parse_mailbox(f"{longest}@example.org") == Mailbox(longest, "example.org")
    assert parse_mailbox(f"{longest}b@example.org") is None


def test_the_a_labels_that_are_kept_have_no_more_room_than_what_came() -> None:
    labels = ".".join(["用"] * 40)  # 3 octets each, 7 as A-labels
    assert parse_mailbox(f"a@{labels}") is None
    assert parse_domain(labels) is None
    assert parse_domain(".".join(["用"] * 20)) == ".".join(["xn--jny"] * 20)


def test_a_domain_has_255_octets_in_either_form() -> None:
    labels = ["\u4e00" * 6] * 12  # 18 octets each, 14 as A-labels or less
    long = ".".join([*labels, "a" * 28])
    assert len(long.encode()) == 256
    assert parse_domain(long) is None
    assert parse_domain(long[:-1]) is not None
    assert parse_domain("\u00fc" * 128) is None


def test_what_cannot_fit_is_not_worked_out() -> None:
    before = time.process_time()
    for number in range(100):
        assert parse_domain(".".join(f"{chr(0x4e00 + number + place)}" for place in range(60))) is None
    assert time.process_time() - before < 0.05 * SLOWED


def test_a_label_has_63_octets_in_its_a_form() -> None:
    assert parse_domain("ü" + "a" * 55 + ".example") is not None
    assert parse_domain("ü" + "a" * 56 + ".example") is None


def test_what_needs_smtputf8() -> None:
    assert Mailbox("a", "example.org").is_ascii
    assert not Mailbox("ü", "example.org").is_ascii


def test_ascii_letters_alone_have_no_case() -> None:
    assert folded("Grün.ÄÖ@Example.ORG") == "grün.ÄÖ@example.org"
    assert folded("\u212aate") == "\u212aate"  # the Kelvin sign, whose lower case is a k
    assert folded("A\ud800") == "a\ud800"


def test_domains() -> None:
    assert parse_domain("Example.ORG") == "example.org"
    assert parse_domain("a." * 127 + "org") is None
    assert parse_domain("") is None


def test_the_bare_postmaster() -> None:
    assert Mailbox("PostMaster", "").is_bare_postmaster
    assert str(Mailbox("Postmaster", "")) == "Postmaster"
    assert not Mailbox("postmaster", "example.org").is_bare_postmaster
    assert not Mailbox("root", "").is_bare_postmaster


def test_what_other_alphabets_need_is_loaded_at_the_start() -> None:
    """Later the gateway may be a user who cannot read Python's files."""
    program = (
        "import sys, mailgw.mail.address as a; known = set(sys.modules);"
        "assert a.parse_mailbox('x@gr\\xfcn.example'); print(sorted(set(sys.modules) - known))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
