"""What content must keep to: line ends, NUL, line, header and message limits, whatever the split."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.content import BareLineEnds, ContentCheck, ContentFault, ContentRules
from mailgw.wire.dots import DotReader
from mailgw.wire.stuffing import stuffed
from tests.tables import each

PIECES = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b".", b"a", b"\0", b"\r\n.\r\n", b"\n.\n", b"\xff" * 9, b"Subject: x"]
NASTY = st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join)
PLACES = st.lists(st.integers(0, 200), max_size=6)
REFUSE, NORMALISE = BareLineEnds.REFUSE, BareLineEnds.NORMALISE


def check(
    bare: BareLineEnds = REFUSE, message: int = 10**6, line: int = 10**6, header: int = 10**6, is_binary: bool = False
) -> ContentCheck:
    return ContentCheck(message, ContentRules(line, header, bare), is_binary)


def read(checked: ContentCheck, octets: bytes, places: list[int] = []) -> bytes:  # noqa: B006
    cuts = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return b"".join(checked.take(octets[a:b]) for a, b in itertools.pairwise(cuts)) + checked.finish()


def lines_of(octets: bytes) -> bytes:
    """Every line end as CRLF, one behind the last line, too."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", octets)
    return lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n"


def fault_of(content: bytes, octets: bytes, bare: BareLineEnds, limits: tuple[int, int, int]) -> ContentFault | None:
    """By the letter of the rules, a line at a time."""
    message, line, header = limits
    alone = octets.replace(b"\r\n", b"")
    if bare is REFUSE and (b"\r" in alone or b"\n" in alone):
        return ContentFault.BARE
    if b"\0" in octets:
        return ContentFault.NUL
    lines = content.split(b"\r\n")[:-1]
    if any(len(one) + 2 > line for one in lines):
        return ContentFault.LONG_LINE
    # The end that was added to the last line counts for that line alone.
    stored = content if octets.endswith((b"\n", b"\r")) or not octets else content[:-2]
    ends = [0] if stored.startswith(b"\r\n") else []
    ends += [stored.index(b"\r\n\r\n") + 2] if b"\r\n\r\n" in stored and not ends else []
    if (ends[0] + 2 if ends else len(stored)) > header:
        return ContentFault.LARGE_HEADER
    return ContentFault.TOO_LARGE if len(stored) > message else None


@given(NASTY, PLACES, st.sampled_from([REFUSE, NORMALISE]),
       st.tuples(st.integers(0, 60), st.integers(2, 40), st.integers(2, 60)))
def test_any_octets_any_split_like_line_by_line(
    octets: bytes, places: list[int], bare: BareLineEnds, limits: tuple[int, int, int]
) -> None:
    message, line, header = limits
    checked = check(bare, message, line, header)
    found = read(checked, octets, places)
    expected = lines_of(octets)
    assert checked.fault is fault_of(expected, octets, bare, limits)
    if checked.fault is None:
        assert found == expected
        assert checked.size_octets == len(expected)
    else:
        assert expected.startswith(found)


@given(NASTY, PLACES)
def test_what_was_normalised_holds_one_message_for_the_next_hop(octets: bytes, places: list[int]) -> None:
    checked = check(NORMALISE)
    content = read(checked, octets.replace(b"\0", b""), places)
    alone = content.replace(b"\r\n", b"")
    assert b"\r" not in alone
    assert b"\n" not in alone
    # On its way out again: nothing in it is an end.
    dots = DotReader()
    assert dots.feed(stuffed(content)) == (content, b"")
    assert dots.ended


@given(NASTY, PLACES)
def test_binary_content_is_as_it_came(octets: bytes, places: list[int]) -> None:
    checked = check(is_binary=True, line=1)
    assert read(checked, octets, places) == octets
    assert checked.fault is None
    assert checked.size_octets == len(octets)


@each("split", [[], [1], [999], [1000], [1001], list(range(1003))])
def test_a_line_of_the_limit_and_of_one_octet_more(split: list[int]) -> None:
    line = b"x" * 998
    checked = check(line=1000)
    assert read(checked, b"a\r\n" + line + b"\r\n", split) == b"a\r\n" + line + b"\r\n"
    assert checked.fault is None
    for octets in (line + b"x\r\n", b"a\r\n" + line + b"x\r\nb\r\n", b"a\r\n" + line + b"x"):
        checked = check(line=1000)
        read(checked, octets, split)
        assert checked.fault is ContentFault.LONG_LINE


@each("split", [[], [3], [98], [99], [100], list(range(105))])
def test_a_header_of_the_limit_and_of_one_octet_more(split: list[int]) -> None:
    header = b"S: " + b"x" * 93 + b"\r\n\r\n"
    assert len(header) == 100
    for octets, limit, fault in [
        (header + b"body\r\n", 100, None),
        (header + b"body\r\n", 99, ContentFault.LARGE_HEADER),
        (header[:-2], 98, None),
        (header[:-2], 97, ContentFault.LARGE_HEADER),
        (b"\r\n" + header, 2, None),
    ]:
        checked = check(header=limit)
        read(checked, octets, split)
        assert checked.fault is fault


def test_a_message_of_the_limit_and_of_one_octet_more() -> None:
    checked = check(message=6)
    assert read(checked, b"abcd\r\n", [2]) == b"abcd\r\n"
    assert checked.fault is None
    checked = check(message=5)
    assert read(checked, b"abcd\r\n", [2]) == b"ab"
    assert checked.fault is ContentFault.TOO_LARGE
    assert checked.size_octets == 6


def test_the_line_end_that_is_added_does_not_make_a_message_too_large() -> None:
    checked = check(message=4)
    assert read(checked, b"abcd") == b"abcd\r\n"
    assert checked.fault is None
    assert checked.finish() == b""


def test_many_short_lines_under_a_small_limit() -> None:
    checked = check(line=1000)
    octets = b"0123456789\r\n" * 10_000
    assert checked.take(octets) == octets
    assert checked.fault is None
