"""Patterns of addresses: what matches, what is ambiguous, and that an address made of fields gives them back."""

import re
from datetime import date

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.address_pattern import MAX_FIELDS, MAX_PATTERN_CHARACTERS, AddressPattern, parse_pattern
from mailgw.mail.sender_pattern import parse_sender_pattern
from tests.tables import each


def box(text: str) -> Mailbox:
    mailbox = parse_mailbox(text)
    assert mailbox is not None
    return mailbox


@each(
    ("pattern", "address", "fields"),
    [
        ("ticket+{number:int}@example.org", "ticket+42@example.org", {"number": 42}),
        ("ticket+{number:int}@example.org", "Ticket+007@Example.ORG", {"number": 7}),
        ("ticket+{number:int}@example.org", "ticket+@example.org", None),
        ("ticket+{number:int}@example.org", "ticket+4x@example.org", None),
        ("ticket+{number:int}@example.org", "ticket+42@example.com", None),
        ("ticket+{number:int}@example.org", "ticket+-4@example.org", None),
        ("ticket+{number:int}@example.org", "ticket+\u0664@example.org", None),  # a digit, of another alphabet
        ("{n:int}@x.test", "9" * 18 + "@x.test", {"n": int("9" * 18)}),
        ("{n:int}@x.test", "9" * 19 + "@x.test", None),
        ("HELP@EXAMPLE.org", "help@example.org", {}),
        ("{name}@x.test", "Ann.Lee@x.test", {"name": "Ann.Lee"}),
        ("{name}@x.test", "ann+tag@x.test", None),
        ("{name}+{tag}@x.test", "ann+a.b-c@x.test", {"name": "ann", "tag": "a.b-c"}),
        ("{name:path}@x.test", "ann+tag+more=x.org@x.test", {"name": "ann+tag+more=x.org"}),
        ("{name:path}@x.test", '"a@b"@x.test', None),
        ("{name:path}@x.test", '"a b"@x.test', {"name": "a b"}),
        ("{name:slug}.in@x.test", "My-List_1.in@x.test", {"name": "my-list_1"}),
        ("{name:slug}@x.test", "m\u00fcller@x.test", None),
        ("{name}@x.test", "m\u00fcller@x.test", {"name": "m\u00fcller"}),
        ("\u00fc@m\u00fcller.example", "\u00fc@xn--mller-kva.example", {}),
        ("log-{day:date}@x.test", "log-2026-11-28@x.test", {"day": date(2026, 11, 28)}),
        ("log-{day:date}@x.test", "log-2026-02-30@x.test", None),
        ("log-{day:date}@x.test", "log-20261128@x.test", None),
        ("in@{shop:slug}.example.org", "in@Blue-1.example.org", {"shop": "blue-1"}),
        ("in@{shop}.example.org", "in@a.b.example.org", None),
        ("in@{shop}.example.org", "in@example.org", None),
        ("in@s{n:int}.example.org", "in@s12.example.org", {"n": 12}),
        ("in@{shop}.m\u00fcller.example", "in@a.xn--mller-kva.example", {"shop": "a"}),
        ("in@[192.0.2.1]", "in@[192.0.2.1]", {}),
    ],
)
def test_what_matches(pattern: str, address: str, fields: dict[str, object] | None) -> None:
    assert parse_pattern(pattern).match(box(address)) == fields


@each(
    ("pattern", "why"),
    [
        ("example.org", "such as"), ("@example.org", "such as"), ("a@", "such as"), ("a+<id>@x.test", r'"\{id\}", not'),
        ("a+<string:id>@x.test", r'"\{id\}", not'), ("a+<int:id>@x.test", r'"\{id:int\}", not'), ("{a}", "such as"),
        ("a@b c", "no domain"), ("a b@x.test", "no address"), (".a@x.test", "no address"), ("a@-x.test", "no domain"),
        ("{a}{b}@x.test", "between the fields a and b"), ("{a}-{b}@x.test", "where a ends cannot be told"),
        ("{a:slug}-{b}@x.test", "where a ends"), ("{a:int}5@x.test", "where a ends"), ("{a:path}+b@x.test", "last"),
        ("{a}+{a}@x.test", "one name"), ("{A}@x.test", "expected a field"), ("{}@x.test", "expected a field"),
        ("{a:float}@x.test", "expected one of str, int, slug, date, path"), ("{a@x.test", "brace"),
        ("a@{b:path}.test", "expected one of str, int, slug there"), ("a@x.{b}", "behind the last field"),
        ("a@{b}x.test", "where b ends"), ("a@{b}.x y.test", "no part of a domain"), ("a}@x.test", "brace"),
        ("a@{b}\u00fc.test", "no part of a domain"), ('"a b"@x.test', "such as"), ("", "such as"),
        ("{a:}@x.test", "expected one of"),
    ],
)
def test_what_is_no_pattern(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_pattern(pattern)


def test_limits_of_patterns() -> None:
    fields = "+".join(f"{{f{n}}}" for n in range(MAX_FIELDS))
    assert len(parse_pattern(f"{fields}@x.test").names) == MAX_FIELDS
    with pytest.raises(ValueError, match="at most 10 fields"):
        parse_pattern(f"{fields}+{{more}}@x.test")
    name = "n" * (MAX_PATTERN_CHARACTERS - len("{}@x.test"))
    assert parse_pattern(f"{{{name}}}@x.test").names == (name,)
    with pytest.raises(ValueError, match="at most 254 characters"):
        parse_pattern(f"{{{name}n}}@x.test")


@each(
    ("inner", "outer"),
    [
        ("ticket+{n:int}@x.test", "ticket+{name}@x.test"), ("ticket+{name}@x.test", "{box}+{tag}@x.test"),
        ("ticket+5@x.test", "ticket+{n:int}@x.test"), ("{n:int}@x.test", "{s:slug}@x.test"),
        ("{d:date}@x.test", "{s:slug}@x.test"), ("{s:slug}@x.test", "{s}@x.test"), ("{s}@x.test", "{s:path}@x.test"),
        ("{a}+{b}@x.test", "{p:path}@x.test"), ("a@b.x.test", "a@{sub}.x.test"), ("a@{n:int}.x.test", "a@{s}.x.test"),
    ],
)
def test_the_inner_one_of_two(inner: str, outer: str) -> None:
    one, other = parse_pattern(inner), parse_pattern(outer)
    assert one.is_within(other)
    assert not other.is_within(one)
    common = one.common(other)
    assert common is not None
    assert one.match(box(common)) is not None or "date" in inner  # the text 0000-00-00 is no day
    assert other.match(box(common)) is not None


@each(
    ("one", "other", "common"),
    [
        ("{box}+help@x.test", "sales+{tag}@x.test", "sales+help@x.test"),
        ("a@{s}.x.test", "{n}@b.x.test", "a@b.x.test"),
        ("a@x.test", "b@x.test", None), ("a@x.test", "a@y.test", None), ("{n:int}@x.test", "a{s}@x.test", None),
        ("{a}@x.test", "{b}+{c}@x.test", None), ("a@{s}.x.test", "a@x.test", None),
    ],
)
def test_two_that_are_not_within_each_other(one: str, other: str, common: str | None) -> None:
    first, second = parse_pattern(one), parse_pattern(other)
    assert first.common(second) == second.common(first) == common
    assert not first.is_within(second)
    assert not second.is_within(first)


def test_the_same_with_other_names() -> None:
    one, other = parse_pattern("{a}+X@x.test"), parse_pattern("{b:str}+x@X.test")
    assert one.is_within(other)
    assert other.is_within(one)


PARTS = st.sampled_from(["a", "7", "-", "+", "{f:int}", "{f:slug}", "{f}", "{f:date}", "{f:path}"])


def some_pattern(words: list[str]) -> AddressPattern | None:
    try:
        return parse_pattern("".join(word.replace("f", f"f{n}") for n, word in enumerate(words)) + "@x.test")
    except ValueError:
        return None


SAMPLES = {"int": 7, "slug": "a-7", "str": "-a7", "date": date(2026, 11, 28), "path": "a+7"}


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(PARTS, min_size=1, max_size=4))
def test_what_is_within_matches_and_what_is_apart_does_not(words: list[str], others: list[str]) -> None:
    one, other = some_pattern(words), some_pattern(others)
    if one is None or other is None:
        return
    kinds = dict(field.strip("{}").partition(":")[::2] for field in re.findall(r"\{[^}]*\}", one.text))
    address = made(one, {name: SAMPLES[kind or "str"] for name, kind in kinds.items()})
    assert address is not None
    is_other_s = other.match(address) is not None
    if is_other_s:
        assert one.common(other) is not None
    if one.is_within(other):
        assert is_other_s
    common = one.common(other)
    assert (common is None) == (other.common(one) is None)
    if common is not None and "date" not in one.text + other.text:
        assert one.match(box(common)) is not None
        assert other.match(box(common)) is not None


@each(("pattern", "route"), [
    ("a@x.test", "@x.test"), ("{a}@sub.x.test", "@sub.x.test"), ("a@{b}.x.test", "@.x.test"),
    ("a@c.{b}.x.test", "@.x.test"), ("a@{b}.{c}.x.test", "@.x.test"),
])
def test_the_route_to_it(pattern: str, route: str) -> None:
    assert parse_pattern(pattern).route == route


VALUES = {
    "str": st.text(max_size=8), "path": st.text(max_size=8),
    "slug": st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True),
    "int": st.integers(-1, 10**18), "date": st.dates(),
}
KINDS = st.lists(st.sampled_from(["str", "int", "slug", "date"]), min_size=1, max_size=4)


@given(KINDS, st.sampled_from(["", "path"]), st.sampled_from(["x.test", "{d:slug}.x.test"]), st.data())
def test_an_address_made_of_fields_gives_them_back(
    kinds: list[str], last: str, domain: str, data: st.DataObject
) -> None:
    kinds = [*kinds, *([last] if last else [])]
    pattern = parse_pattern("+".join(f"{{f{n}:{kind}}}" for n, kind in enumerate(kinds)) + f"@{domain}")
    values: dict[str, object] = {f"f{n}": data.draw(VALUES[kind]) for n, kind in enumerate(kinds)}
    if "{" in domain:
        values["d"] = data.draw(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True))
    address = made(pattern, values)
    assume(address is not None)
    assert address is not None
    expected = {k: v.lower() if k == "d" or pattern_kind(kinds, k) == "slug" else v for k, v in values.items()
                if isinstance(v, str)}
    assert pattern.match(address) == values | expected
    assert pattern.match(box(str(address))) == values | expected


def pattern_kind(kinds: list[str], name: str) -> str:
    return kinds[int(name[1:])]


def made(pattern: AddressPattern, values: dict[str, object]) -> Mailbox | None:
    try:
        return pattern.address(values)
    except ValueError:
        return None


@each(
    ("pattern", "values", "address"),
    [
        ("ticket+{n:int}@x.test", {"n": 42}, "ticket+42@x.test"), ("ticket+{n:int}@x.test", {"n": -1}, None),
        ("ticket+{n:int}@x.test", {"n": True}, None), ("ticket+{n:int}@x.test", {}, None),
        ("ticket+{n:int}@x.test", {"n": "42"}, None),
        ("ticket+{n:int}@x.test", {"n": 10**18 - 1}, f"ticket+{10**18 - 1}@x.test"),
        ("ticket+{n:int}@x.test", {"n": 10**18}, None),
        ("{s}@x.test", {"s": "a+b"}, None), ("{s}@x.test", {"s": ""}, None),
        ("{s}@x.test", {"s": "a b"}, '"a b"@x.test'), ("{s}@x.test", {"s": "a\r\nb"}, None),
        ("{s:slug}@x.test", {"s": "A-1"}, "a-1@x.test"),
        ("{s:date}@x.test", {"s": date(2026, 1, 2)}, "2026-01-02@x.test"),
        ("{s:date}@x.test", {"s": "2026-01-02"}, None), ("{s}@x.test", {"s": "a", "t": "b"}, None),
    ],
)
def test_the_address_of_fields(pattern: str, values: dict[str, object], address: str | None) -> None:
    found = made(parse_pattern(pattern), values)
    assert (None if found is None else str(found)) == address


@each(
    ("pattern", "matching", "others"),
    [
        ("ann@example.net", ["Ann@example.net"], ["bob@example.net", "ann@a.example.net", "<>"]),
        ("*@Example.net", ["ann@example.net", '"a b"@example.net'], ["ann@a.example.net", "ann@anexample.net", "<>"]),
        ("*@*.example.net", ["ann@a.example.net", "ann@b.a.example.net"], ["ann@example.net", "a@anexample.net", "<>"]),
        ("<>", ["<>"], ["ann@example.net"]),
    ],
)
def test_senders(pattern: str, matching: list[str], others: list[str]) -> None:
    found = parse_sender_pattern(pattern)
    for text in matching + others:
        assert found.matches(None if text == "<>" else box(text)) == (text in matching)


@each("pattern", ["*", "example.net", "@example.net", "*@", "*@*", "a*@example.net", "", "*@a b"])
def test_what_is_no_sender(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a sender"):
        parse_sender_pattern(pattern)


def test_the_more_specific_sender() -> None:
    words = ["ann@a.example.net", "*@a.example.net", "*@*.example.net", "*@*.net"]
    ranks = [parse_sender_pattern(word).rank for word in words]
    assert ranks == sorted(set(ranks))
