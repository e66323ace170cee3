"""Who a message says wrote it: what is sure, and what others could read in another way."""

import time

from hypothesis import given
from hypothesis import strategies as some

from mailgw.mail.address import Mailbox
from mailgw.mail.from_field import (
    BEYOND_ASCII,
    DEEPEST_COMMENT,
    FIELDS,
    LONGEST_TEXT,
    PIECES,
    addresses_in,
    author_addresses,
    bodies_of,
    the_one_field,
)
from tests.slowed import SLOWED
from tests.tables import each

ALICE, BOB = Mailbox("alice", "example.org"), Mailbox("bob", "example.org")


@each(("text", "found"), [
    ("alice@example.org", [ALICE]),
    (" <alice@example.org> ", [ALICE]),
    ("Alice <alice@Example.org>", [ALICE]),
    ('"Smith, Alice <eve@evil.example>" <alice@example.org>', [ALICE]),
    ("Alice Ann Smith <alice@example.org>, bob@example.org", [ALICE, BOB]),
    ("=?utf-8?Q?Al=C3=AFce?= <alice@example.org>", [ALICE]),
    ("Ålice <alice@example.org>", [ALICE]),
    ("Alice <alice@example.org> (at home)", [ALICE]),
    ("alice@example.org (Alice (the first) <eve@evil.example>)", [ALICE]),
    ("The team: alice@example.org, Bob <bob@example.org>;", [ALICE, BOB]),
    ('"eve@evil.example": alice@example.org;', [ALICE]),
    ("eve@evil.example <alice@example.org>", [ALICE]),
    ('"a b"@example.org', [Mailbox("a b", "example.org")]),
    ('<"a\\"b"@example.org>', [Mailbox('a"b', "example.org")]),
    ("<alice@[192.0.2.1]>", [Mailbox("alice", "[192.0.2.1]")]),
])
def test_addresses(text: str, found: list[Mailbox]) -> None:
    assert addresses_in(text) == tuple(found)


@each("text", [
    "", " ", "alice", "Alice", "undisclosed:;", "<>", "<alice>", "alice@", "@example.org",
    "alice@example.org bob@example.org", "<alice@example.org> <bob@example.org>", "<alice@example.org> bob@example.org",
    "a lice@example.org", "alice @ example.org", "<alice @example.org>", "<alice@example.org", "alice@example.org>",
    '"alice@example.org', "(alice@example.org", "alice@example.org)", "Alice (<eve@evil.example> <alice@example.org>",
    '"a" (b) <alice@example.org>', "<@evil.example:alice@example.org>", "<alice@example.org> x: bob@example.org",
    "alice@example.org\0", "al\\ice@example.org", "<alice@example.org><", ": alice@example.org",
    "eve@evil.example: alice@example.org;", "eve @ evil: alice@example.org;", "<eve@evil.example>: alice@example.org;",
])
def test_what_is_not_sure_is_none(text: str) -> None:
    assert addresses_in(text) is None


@each(("header", "found"), [
    (b"Subject: x\r\n\r\n", ()),
    (b"from : alice@example.org\r\n\r\n", (ALICE,)),
    (b"Subject: x\r\nFROM:\r\n Alice\r\n\t<alice@example.org>\r\nTo: bob@example.org\r\n\r\n", (ALICE,)),
    (b"From: alice@example.org\r\nSubject: x\r\nFrom: eve@evil.example\r\n\r\n", None),
    (b"X-From: eve@evil.example\r\nFrom: alice@example.org\r\n\r\n", (ALICE,)),
    (b"Subject: x\r\n From: eve@evil.example\r\n\r\n", ()),
    (b"From: \xff\xfe\r\n\r\n", None),
    (b"From:\r\n\r\n", None),
    # readers differ in whether that is a From
    (b"From\r\n : alice@example.org\r\n\r\n", None),
    (b"To: bob@example.org\r\nFROM \n\t\n : alice@example.org\r\n\r\n", None),
    (b"From: alice@example.org\r\nFrom\r\n : eve@evil.example\r\n\r\n", None),
    (b"From\r\nX: alice@example.org\r\n\r\n", ()),
])
def test_the_one_field(header: bytes, found: tuple[Mailbox, ...] | None) -> None:
    assert author_addresses(header, b"From") == found


@each(("text", "names"), [
    ("alice@example.org", ()),
    ("Alice <alice@example.org>", ()),
    ("Alice @ home <alice@example.org>", ("Alice @ home",)),
    ('"eve@evil.example" <alice@example.org>', ()),
    ('Eve "of" e@evil.example <alice@example.org>, x@y.example <bob@example.org>', ("e@evil.example", "x@y.example")),
])
def test_names_that_look_like_addresses(text: str, names: tuple[str, ...]) -> None:
    found = the_one_field(b"From: " + text.encode() + b"\r\n\r\n", b"From")
    assert found is not None
    assert found.names == names
    assert the_one_field(b"Subject: x\r\n\r\n", b"From") is None


@each("depth", [1, DEEPEST_COMMENT])
def test_comments_nest(depth: int) -> None:
    assert addresses_in("alice@example.org " + "(" * depth + ")" * depth) == (ALICE,)


def test_a_comment_that_nests_deeper_is_not_read() -> None:
    depth = DEEPEST_COMMENT + 1
    assert addresses_in("alice@example.org " + "(" * depth + ")" * depth) is None


def test_the_longest_field() -> None:
    text = "alice@example.org (" + "x" * (LONGEST_TEXT - 20) + ")"
    assert len(text) == LONGEST_TEXT
    assert addresses_in(text) == (ALICE,)
    assert addresses_in(text + " ") is None


@each("text", ["(" * 131072 + ")" * 131072, '\\"' * 131072 + "(", '("' * 131072, "(\\" * 131072])
def test_a_hostile_field_is_not_read(text: str) -> None:
    assert author_addresses(b"From: alice@example.org " + text.encode() + b"\r\n\r\n", b"From") is None
    assert addresses_in(text[:LONGEST_TEXT]) is None


@each("text", [
    'alice@example.org (12" wide)', "Al\\(ice) <alice@example.org>", "alice@example.org (a", "alice@example.org (a))",
])
def test_comments_that_are_not_sure(text: str) -> None:
    assert addresses_in(text) is None


def test_brackets_and_backslashes_within_a_quoted_string() -> None:
    assert addresses_in('"Alice (\\"the\\" first" <alice@example.org>') == (ALICE,)


def test_pieces_have_a_limit() -> None:
    most = addresses_in(",".join(["a@b.c"] * (PIECES // 2)) + ",")
    assert most is not None
    assert len(most) == PIECES // 2
    assert addresses_in(",".join(["a@b.c"] * (PIECES // 2)) + ",,") is None


def test_domains_beyond_ascii_have_a_limit() -> None:
    texts = [f"Ann <a@\u00e4{number}.example>" for number in range(BEYOND_ASCII + 1)]
    at_limit = addresses_in(", ".join([*texts[1:], "\u00e4@b.example"]))
    assert at_limit is not None
    assert len(at_limit) == BEYOND_ASCII + 1
    assert addresses_in(", ".join(texts)) is None
    assert addresses_in(", ".join(texts) + ", b@c.example") is None


def test_of_many_fields_the_first_ones_and_the_last_are_looked_at() -> None:
    def fields(count: int) -> bytes:
        return b"".join(b"from-x: y\r\nFrom: a%d@b.example\r\n" % number for number in range(count))

    for count, places in ((FIELDS, range(FIELDS)), (FIELDS + 2, [*range(FIELDS), FIELDS + 1])):
        found, is_plain = bodies_of(fields(count) + b"From-y: z\r\n" * 2, b"From")
        assert is_plain
        assert [body.rstrip(b"\r") for body in found] == [b" a%d@b.example" % place for place in places]


@each("header", [
    b"From:" + b"\r\n " * 85_000 + b"\r\n", b"From:" + b"\n\t" * 120_000 + b"\n", b"From:\r\n" * 37_000,
    b"From:\r\n" * FIELDS + b"Fromx:\r\n" * 30_000,
    b"F:\r\n" * 60_000, b"From" + b"\r\n " * 85_000 + b":\r\n",
    "From: {}\r\n".format(", ".join(f"a@\u00e9{chr(0x4e00 + number)}.x" for number in range(1700))).encode(),
    b"From: " + b"a:" * 8000 + b"\r\n",
])
def test_it_takes_no_time(header: bytes) -> None:
    before = time.process_time()
    author_addresses(header, b"From")
    assert time.process_time() - before < 0.06 * SLOWED


@given(some.text(alphabet='ab@.<>()",:;\\ \t', max_size=30))
def test_junk(text: str) -> None:
    addresses_in(text)
