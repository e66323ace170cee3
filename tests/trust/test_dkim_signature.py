"""Tag lists and DKIM-Signature fields, read."""

import base64

import attrs

from mailgw.trust import dkim_tags
from mailgw.trust.dkim_canon import Canon
from mailgw.trust.dkim_signature import (
    IDENTITY_CHARACTERS,
    NAMES,
    Algorithm,
    Broken,
    Signature,
    SignatureFault,
    read_signature,
    signing_domain,
)
from mailgw.trust.dkim_tags import LIST_OCTETS, TagFault, base64_octets, quoted_printable_text, tag_list
from tests.tables import each

HASH = base64.b64encode(b"h" * 32).decode()
MOST_TAGS = dkim_tags.TAGS
TAGS = {
    "v": "1", "a": "rsa-sha256", "b": "AAAA", "bh": HASH, "d": "example.com", "h": "from", "s": "sel",
}
DEFAULTS = Signature(
    Algorithm.RSA_SHA256, Canon.SIMPLE, Canon.SIMPLE, "example.com", "sel", "@example.com", (b"from",), b"h" * 32,
    b"\0\0\0", None, None, None,
)


def field(**tags: str | None) -> bytes:
    found = {**TAGS, **tags}
    text = "; ".join(f"{name}={value}" for name, value in found.items() if value is not None)
    return f"DKIM-Signature: {text}".encode()


def numbered(count: int) -> bytes:
    return b";".join(b"t%d=" % number for number in range(count))


# --- tag lists ----------------------------------------------------------------------------------------

@each(("octets", "found"), [
    (b"a=1", {"a": "1"}),
    (b"a=1;", {"a": "1"}),
    (b" a =\r\n\t1 ; b_2= x y=z \t; ", {"a": "1", "b_2": "x y=z"}),
    (b"a=", {"a": ""}),
    (b"A=1;a=2", {"A": "1", "a": "2"}),
    ("a=\u00fc".encode(), {"a": "\u00fc"}),
    (b"a=".ljust(LIST_OCTETS), {"a": ""}),
    (numbered(MOST_TAGS), {f"t{number}": "" for number in range(MOST_TAGS)}),
    (numbered(MOST_TAGS) + b";", {f"t{number}": "" for number in range(MOST_TAGS)}),
])
def test_tag_lists(octets: bytes, found: dict[str, str]) -> None:
    assert tag_list(octets) == found


@each(("octets", "why"), [
    (b"", "empty"),
    (b" \r\n ", "empty"),
    (b"a", 'not "name=value"'),
    (b";a=1", 'not "name=value"'),
    (b"a=1;;b=2", 'not "name=value"'),
    (b"a=1;;", 'not "name=value"'),
    (b"1a=1", 'not "name=value"'),
    (b"a-b=1", 'not "name=value"'),
    (b"=1", 'not "name=value"'),
    (b"a=1;b=2;a=1", "a= twice"),
    (b"a=\0", "what may not stand in a="),
    (b"a=\x7f", "what may not stand in a="),
    (b"a=\xff", "not UTF-8"),
    (b"a=".ljust(LIST_OCTETS + 1), f"more than {LIST_OCTETS} octets"),
    (numbered(MOST_TAGS + 1), f"more than {MOST_TAGS} tags"),
    (numbered(MOST_TAGS + 1) + b";", f"more than {MOST_TAGS} tags"),
])
def test_what_is_no_tag_list(octets: bytes, why: str) -> None:
    assert tag_list(octets) == TagFault(why)


@each(("text", "found"), [
    ("", b""), ("AAAA", b"\0\0\0"), ("A A\r\n\tA A", b"\0\0\0"), ("AA = =", b"\0"), ("AAA", None), ("A", None),
    ("AA==AA==", None), ("AAA=A", None), ("AA-_", None), ("\u00fc", None), ("AAAA=", None),
])
def test_base64(text: str, found: bytes | None) -> None:
    assert base64_octets(text) == found


@each(("text", "found"), [
    ("a=40b", "a@b"), ("a\r\n\t b", "ab"), ("=3D=3B", "=;"), ("=C3=BC", "\u00fc"), ("\u00fc", "\u00fc"),
    ("=4", None), ("=4g", None), ("=c3=bc", None), ("a=", None), ("=FF", None), ("==40", None),
])
def test_quoted_printable(text: str, found: str | None) -> None:
    assert quoted_printable_text(text) == found


# --- signatures ---------------------------------------------------------------------------------------

@each(("tags", "changes"), [
    ({}, {}),
    # unknown tags, z= among them
    ({"z": "From:a@b|To:c", "new": "x"}, {}),
    ({"a": "ed25519-sha256"}, {"algorithm": Algorithm.ED25519_SHA256}),
    ({"a": "RSA-SHA256"}, {}),
    ({"a": "rsa-sha1", "bh": "AAAA"}, {"algorithm": Algorithm.RSA_SHA1, "body_hash": b"\0\0\0"}),
    ({"c": "relaxed"}, {"header_canon": Canon.RELAXED}),
    ({"c": "relaxed/relaxed"}, {"header_canon": Canon.RELAXED, "body_canon": Canon.RELAXED}),
    ({"c": "simple / relaxed"}, {"body_canon": Canon.RELAXED}),
    ({"d": "EXAMPLE.Com"}, {}),
    ({"d": "b\u00fccher.example"}, {"domain": "xn--bcher-kva.example", "identity": "@xn--bcher-kva.example"}),
    ({"s": "a.b_c.2023"}, {"selector": "a.b_c.2023"}),
    ({"i": "@example.com"}, {}),
    ({"i": "joe@example.com"}, {"identity": "joe@example.com"}),
    ({"i": "a=40b@Sub.Example.com"}, {"identity": "a@b@sub.example.com"}),
    ({"h": "From : To:\r\n\tfrom"}, {"names": (b"from", b"to", b"from")}),
    ({"h": "dkim-signature:From"}, {"names": (b"dkim-signature", b"from")}),
    ({"q": "dns/txt"}, {}),
    ({"q": "other/x : DNS/txt"}, {}),
    ({"l": "0"}, {"length": 0}),
    ({"l": "9" * 76}, {"length": int("9" * 76)}),
    ({"t": "1", "x": "2"}, {"signed_at": 1, "expires_at": 2}),
    ({"t": "9" * 12}, {"signed_at": int("9" * 12)}),
    ({"b": " AA\r\n AA "}, {}),
    ({"h": "from:x" + ":x" * (NAMES - 2)}, {"names": (b"from",) + (b"x",) * (NAMES - 1)}),
    ({"i": "=41" * 300 + "a" * (IDENTITY_CHARACTERS - 912) + "@example.com"},
     {"identity": "A" * 300 + "a" * (IDENTITY_CHARACTERS - 912) + "@example.com"}),
])
def test_signatures(tags: dict[str, str], changes: dict[str, object]) -> None:
    assert read_signature(field(**tags)) == attrs.evolve(DEFAULTS, **changes)


MISSING, SYNTAX = SignatureFault.MISSING_TAG, SignatureFault.SYNTAX


@each(("tags", "fault", "detail"), [
    *[({name: None}, MISSING, f"{name}=") for name in TAGS],
    ({"v": "2"}, SignatureFault.VERSION, ""),
    ({"v": "0.5", "a": None}, SignatureFault.VERSION, ""),
    ({"v": ""}, SignatureFault.VERSION, ""),
    ({"a": "rsa-sha512"}, SignatureFault.ALGORITHM, ""),
    ({"a": "rsa"}, SignatureFault.ALGORITHM, ""),
    ({"b": ""}, SYNTAX, "b="),
    ({"b": "A"}, SYNTAX, "b="),
    ({"bh": ""}, SYNTAX, "bh="),
    ({"bh": "AAAA"}, SYNTAX, "bh="),
    ({"bh": HASH + "!"}, SYNTAX, "bh="),
    ({"c": "relaxed/"}, SYNTAX, "c="),
    ({"c": "nowsp"}, SYNTAX, "c="),
    ({"c": "simple/simple/simple"}, SYNTAX, "c="),
    ({"d": "com"}, SYNTAX, "d="),
    ({"d": ""}, SYNTAX, "d="),
    ({"d": "a..b"}, SYNTAX, "d="),
    ({"d": "[192.0.2.1]"}, SYNTAX, "d="),
    ({"s": ""}, SYNTAX, "s="),
    ({"s": "a/b"}, SYNTAX, "s="),
    ({"s": "a."}, SYNTAX, "s="),
    ({"h": ""}, SYNTAX, "h="),
    ({"h": "from:"}, SYNTAX, "h="),
    ({"h": "from::to"}, SYNTAX, "h="),
    ({"h": "from:a b"}, SYNTAX, "h="),
    ({"h": "from:\u00fc"}, SYNTAX, "h="),
    ({"h": "to:subject"}, SignatureFault.FROM, ""),
    ({"q": "dns/other"}, SignatureFault.QUERY, ""),
    ({"i": "joe"}, SYNTAX, "i="),
    ({"i": "joe@"}, SYNTAX, "i="),
    ({"i": "=00@example.com"}, SYNTAX, "i="),
    ({"i": "=@example.com"}, SYNTAX, "i="),
    ({"i": "@notexample.com"}, SignatureFault.DOMAIN, ""),
    ({"i": "@example.net"}, SignatureFault.DOMAIN, ""),
    ({"d": "sub.example.com", "i": "@example.com"}, SignatureFault.DOMAIN, ""),
    ({"h": "from:x" + ":x" * (NAMES - 1)}, SYNTAX, f"h= of more than {NAMES} names"),
    ({"i": "a" * (IDENTITY_CHARACTERS - 11) + "@example.com"}, SYNTAX,
     f"i= of more than {IDENTITY_CHARACTERS} characters"),
    ({"l": ""}, SYNTAX, "l="),
    ({"l": "-1"}, SYNTAX, "l="),
    ({"l": "9" * 77}, SYNTAX, "l="),
    ({"t": "1" * 13}, SYNTAX, "t="),
    ({"x": "1" * 13}, SYNTAX, "x="),
    ({"t": "1.5"}, SYNTAX, "t="),
    ({"t": "\u0661"}, SYNTAX, "t="),
    ({"t": "2", "x": "2"}, SYNTAX, "x= is not after t="),
])
def test_what_is_no_signature(tags: dict[str, str | None], fault: SignatureFault, detail: str) -> None:
    found = read_signature(field(**tags))
    assert isinstance(found, Broken)
    assert (found.fault, found.detail) == (fault, detail)


def test_a_broken_one_says_whose_it_is_as_far_as_it_can() -> None:
    assert read_signature(field(a="x")) == Broken(SignatureFault.ALGORITHM, "", "example.com", "sel")
    assert read_signature(b"DKIM-Signature: x") == Broken(SYNTAX, 'not "name=value"', "", "")
    assert read_signature(b"DKIM-Signature:") == Broken(SYNTAX, "empty", "", "")


def test_whose_a_field_claims_to_be() -> None:
    assert signing_domain(field(d="EXAMPLE.Com", a="x")) == "example.com"
    assert signing_domain(field(d="com")) == signing_domain(field(d=None)) == signing_domain(b"DKIM-Signature: x") == ""
