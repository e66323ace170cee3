"""Mailboxes: what parses, what it means, and that printing and parsing agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, parse_domain, parse_mailbox

LOCAL_PARTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)
DOMAINS = st.sampled_from(["example.org", "a.b-c.example", "x", "[192.0.2.1]", "[IPv6:2001:db8::1]", "_x.example"])


@given(LOCAL_PARTS, DOMAINS)
def test_what_is_printed_parses_back(local_part: str, domain: str) -> None:
    mailbox = Mailbox(local_part, domain)
    assert parse_mailbox(str(mailbox)) == mailbox
    assert mailbox.octets() == str(mailbox).encode("ascii")


@given(st.text(max_size=30))
def test_any_text_parses_or_not(text: str) -> None:
    mailbox = parse_mailbox(text)
    assert mailbox is None or parse_mailbox(str(mailbox)) == mailbox


@pytest.mark.parametrize(("text", "local_part", "domain"), [
    ("Alice@Example.ORG", "Alice", "example.org"),
    ('"alice"@example.org', "alice", "example.org"),
    (r'"a\b"@example.org', "ab", "example.org"),
    (r'"a\"b@c"@example.org', 'a"b@c', "example.org"),
    ('" "@example.org', " ", "example.org"),
    ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org"),
    ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
    ("a@[ipv6:2001:DB8:0:0::1]", "a", "[IPv6:2001:db8::1]"),
    ("a@" + "b" * 63 + ".example", "a", "b" * 63 + ".example"),
])
def test_what_is_a_mailbox(text: str, local_part: str, domain: str) -> None:
    assert parse_mailbox(text) == Mailbox(local_part, domain)


@pytest.mark.parametrize("text", [
    "", "@", "a", "a@", "@example.org", "a b@example.org", "a..b@example.org", ".a@example.org", "a.@example.org",
    '""@example.org', '"a@example.org', '"a"b@example.org', "a@example..org", "a@.example.org", "a@example.org.",
    "a@-example.org", "a@example-.org", "a@exa mple.org", "a@[192.0.2.1", "a@[192.0.2.256]", "a@[2001:db8::1]",
    "a@[IPv6:fe80::1%eth0]", "a@[IPv6:x]", "a@[]", "grün@example.org", "a@grün.example", "a@b@example.org",
    "a@example.org\n", "a\n@example.org", '"a\n"@example.org', "a@" + "b" * 64 + ".example", "a" * 255 + "@example.org",
])
def test_what_is_none(text: str) -> None:
    assert parse_mailbox(text) is None


def test_domains() -> None:
    assert parse_domain("Example.ORG") == "example.org"
    assert parse_domain("a." * 127 + "org") is None
    assert parse_domain("") is None


def test_the_bare_postmaster() -> None:
    assert Mailbox("PostMaster", "").is_bare_postmaster
    assert str(Mailbox("Postmaster", "")) == "Postmaster"
    assert not Mailbox("postmaster", "example.org").is_bare_postmaster
    assert not Mailbox("root", "").is_bare_postmaster
