"""Content after DATA: octets in, unstuffed octets, end and faults out."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.dots import ContentFault, DotReader

UNLIMITED = 10**9

# Mostly the octets that decide, so that near misses are common.
PIECES = [b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\0", b"\r\n.", b"\r\n.\r", b".\r\n", b"\xff"]
NASTY = st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join)
LINES = st.lists(st.sampled_from([b"", b".", b"..", b"a", b".a", b"a.b", b"\xff" * 70]), max_size=8)


def read(reader: DotReader, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """All content, and what follows the end."""
    content, rest = b"", b""
    for piece in pieces:
        if reader.ended:
            rest += piece
        else:
            more, rest = reader.feed(piece)
            content += more
    return content, rest


def by_lines(octets: bytes) -> tuple[bytes, bytes] | None:
    """The same by the letter of RFC 5321 s4.5.2, a line at a time; None where there is no end."""
    content = b""
    while True:
        line, end, octets = octets.partition(b"\r\n")
        if not end:
            return None
        if line == b".":
            return content, octets
        content += line.removeprefix(b".") + b"\r\n"


def split(octets: bytes, places: list[int]) -> list[bytes]:
    cuts = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(cuts)]


@given(NASTY, st.lists(st.integers(0, 200), max_size=6))
def test_any_octets_any_split_like_line_by_line(octets: bytes, places: list[int]) -> None:
    octets += b"\r\n.\r\nrest"
    reader = DotReader(UNLIMITED)
    content, rest = read(reader, split(octets, places))
    expected, expected_rest = by_lines(octets) or (b"", b"")
    assert reader.ended
    assert rest == expected_rest
    assert reader.size_octets == len(expected)
    bare = expected.replace(b"\r\n", b"")
    if b"\r" in bare or b"\n" in bare or b"\0" in bare:
        assert reader.fault is ContentFault.BARE
        assert expected.startswith(content)
    else:
        assert reader.fault is None
        assert content == expected


@given(LINES, st.lists(st.integers(0, 600), max_size=6))
def test_what_was_stuffed_comes_back(lines: list[bytes], places: list[int]) -> None:
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"
    reader = DotReader(UNLIMITED)
    assert read(reader, split(stuffed, places)) == (b"".join(line + b"\r\n" for line in lines), b"")
    assert reader.ended
    assert reader.fault is None


@pytest.mark.parametrize("octets", [
    b"x\n.\n", b"x\n.\r\n", b"x\r\n.\n", b"x\r.\r", b"x\r\n.\r", b"x\r\n.\r.\r\n", b"\n.\r\n", b"x\r\r\n..\r\n", b".\n",
    b".",
])
def test_what_is_no_end(octets: bytes) -> None:
    reader = DotReader(UNLIMITED)
    read(reader, [octets])
    assert not reader.ended


def test_an_end_at_once_is_an_empty_message() -> None:
    reader = DotReader(0)
    assert reader.feed(b".\r\nQUIT\r\n") == (b"", b"QUIT\r\n")
    assert (reader.ended, reader.fault, reader.size_octets) == (True, None, 0)


def test_no_octets_change_nothing() -> None:
    reader = DotReader(UNLIMITED)
    assert reader.feed(b"") == (b"", b"")
    assert reader.feed(b"a\r\n") == (b"a", b"")
    assert reader.feed(b"") == (b"", b"")
    assert reader.feed(b".\r\n") == (b"\r\n", b"")


def test_too_large_is_read_to_its_end_and_counted() -> None:
    reader = DotReader(5)
    assert reader.feed(b"abc") == (b"abc", b"")
    assert reader.feed(b"def") == (b"", b"")
    assert reader.fault is ContentFault.TOO_LARGE
    assert reader.feed(b"ghi\r\n.\r\nNOOP") == (b"", b"NOOP")
    assert reader.size_octets == 11


def test_of_two_faults_the_bare_octets_are_told() -> None:
    reader = DotReader(5)
    reader.feed(b"abcdef")
    reader.feed(b"\ng\r\n.\r\n")
    assert reader.fault is ContentFault.BARE


def test_exactly_the_limit_is_taken() -> None:
    reader = DotReader(5)
    assert reader.feed(b"..bc\r\n.\r\n") == (b".bc\r\n", b"")
    assert reader.fault is None
