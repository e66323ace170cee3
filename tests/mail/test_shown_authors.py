"""Whom a message may be shown to be from: every domain that some reader finds, as far as there is room."""

import time

from hypothesis import given
from hypothesis import strategies as some

from mailgw.mail import shown_authors
from mailgw.mail.shown_authors import (
    BEYOND_ASCII,
    DOMAINS,
    FIELD_OCTETS,
    FIELDS,
    PARSED,
    PLACES,
    domains_in,
    shown_domains,
)
from tests.slowed import SLOWED
from tests.tables import each

BANK = ["bank.example"]


@each(("body", "found"), [
    (b"", []),
    (b"Ann", []),
    (b"ceo@bank", []),
    (b"ceo@bank.example", BANK),
    (b"ceo@Bank.Example.", BANK),
    (b"ceo @ bank . example", BANK),
    (b"<ceo@bank.example >", BANK),
    (b"ceo@\r\n bank\r\n\t.example", BANK),
    (b"ceo@bank.(x (y))example", BANK),
    (b"ceo@(x)bank.example", BANK),
    (b"ceo@bank(x).example", BANK),
    (b"<@evil.test:ceo@bank.example>", ["evil.test", *BANK]),
    (b"<ceo@bank.example> <x@evil.test>", [*BANK, "evil.test"]),
    (b"ceo@bank.example: x@evil.test;", [*BANK, "evil.test"]),
    (b'"ceo@bank.example <x@evil.test>', [*BANK, "evil.test"]),
    (b"ceo@[192.0.2.1]", []),
    (b"=?utf-8?q?ceo=40bank.example?=", BANK),
    (b"=?utf-8?b?PGNlb0BiYW5rLmV4YW1wbGU+?=", BANK),
    ("ceo@b\u00e4nk.example".encode(), ["xn--bnk-qla.example"]),
    ("ceo@b\u00e4nk.example".encode("latin-1"), ["xn--bnk-qla.example"]),
    ("ceo\uff20bank\uff0eexample".encode(), BANK),
    (b"a@x_y.example, b@-, c@..., d@a..b", ["x_y.example"]),
])
def test_what_readers_may_find(body: bytes, found: list[str]) -> None:
    assert list(shown_domains([body])) == found


def many(count: int) -> str:
    return ", ".join(f"a@{number}.test" for number in range(count))


def names(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number}.test" for number in numbers)


def test_so_many_count() -> None:
    assert domains_in([many(DOMAINS)]) == names(0, DOMAINS - 1, *range(1, DOMAINS - 1))
    assert domains_in([many(DOMAINS + 1)]) == names(0, DOMAINS, *range(1, DOMAINS - 1))
    assert domains_in([many(9), "ceo@bank.example, " + many(9) + ", x@evil.test"])[:4] == (
        "0.test", "bank.example", "8.test", "evil.test",
    )
    bodies = [f"ceo@{number}.example".encode() for number in range(FIELDS)]
    assert len(shown_domains(bodies)) == FIELDS
    assert shown_domains([*bodies[:2], *bodies[:1] * 9, *bodies[2:]]) == shown_domains(bodies)
    assert shown_domains([*bodies[:2], b"ceo@bank.example", *bodies[2:]]) == shown_domains(bodies)
    nobody = "a@b " * (PLACES // 2 - 1)
    assert domains_in([f"{nobody} ceo@bank.example {nobody} a@b a@b"]) == ("bank.example",)
    assert domains_in([f"{nobody} a@b ceo@bank.example a@b {nobody}"]) == ()


@each("padding", [b" ", b"\r\n ", b"x", b"(x)", b"x@y ", b"=?"])
def test_nothing_hides_in_a_long_field(padding: bytes) -> None:
    for size in (FIELD_OCTETS // 2 - 10, FIELD_OCTETS * 3):
        around = padding * (size // len(padding))
        for before, after in ((around, b""), (b"", around), (around, around)):
            if padding != b"x@y " or not before or not after:
                assert shown_domains([before + b" <ceo@\r\n bank.example> " + after]) == ("bank.example",)


def test_so_many_are_parsed() -> None:
    texts = [f"a@b{number}" for number in range(PARSED)]
    assert domains_in([*texts[1:], "ceo@bank.example"]) == ("bank.example",)
    assert domains_in([*texts, "ceo@bank.example"]) == ()


def test_so_many_beyond_ascii_are_parsed() -> None:
    texts = [f"a@\u00e4{number}" for number in range(BEYOND_ASCII)]
    assert domains_in([*texts[1:], "ceo@b\u00e4nk.example"]) == ("xn--bnk-qla.example",)
    assert domains_in([*texts, "ceo@b\u00e4nk.example"]) == ()
    assert domains_in([*texts, "ceo@b\u00e4nk.example", "ceo@bank.example"]) == ("bank.example",)


def test_of_a_long_field_nothing_is_lost() -> None:
    middle = b" " * (FIELD_OCTETS // 2 - 10)
    whole = shown_domains([b"a@a.test, " + middle + b"b@b.test, " + middle])
    assert whole == ("a.test", "b.test")
    longer = b"a@a.test, " + middle + "  b\uff20b\u00e4nk.example, ".encode() + middle + b"  c@c.test"
    assert shown_domains([longer]) == ("a.test", "c.test", "xn--bnk-qla.example")
    nobody = b"a@b, " * (PLACES // 2)
    assert shown_domains([nobody + middle + b"c@c.test" + middle + nobody]) == ()


@each("body", [
    b"@" * 250_000, b"a@" + b"(" * 250_000, b"a@b.c " * 40_000, (b"a@" + b"(" * 250 + b")" * 250) * 500,
    b"a@ " * 80_000, b"a@" + b" " * 250_000, b"=?" * 120_000, "a@\u4e00.x ".encode() * 25_000, b"a@" + b"a." * 120_000,
])
def test_it_takes_no_time(body: bytes) -> None:
    before = time.process_time()
    shown_domains([body])
    assert time.process_time() - before < 0.2 * SLOWED


@given(some.lists(some.text(alphabet='ab@.<>()",:;\\ \t=?\u00e4\uff20', max_size=30).map(str.encode), max_size=9))
def test_junk(bodies: list[bytes]) -> None:
    found = shown_domains(bodies)
    assert len(found) == len(set(found)) <= shown_authors.DOMAINS
    assert all("." in one and one.isascii() and one == one.lower() for one in found)
