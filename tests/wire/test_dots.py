"""Content after DATA: octets in, unstuffed octets and the end out."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.dots import DotReader
from tests.tables import each

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
    reader = DotReader()
    content, rest = read(reader, split(octets, places))
    expected, expected_rest = by_lines(octets) or (b"", b"")
    assert reader.ended
    assert (content, rest) == (expected, expected_rest)


@given(LINES, st.lists(st.integers(0, 600), max_size=6))
def test_what_was_stuffed_comes_back(lines: list[bytes], places: list[int]) -> None:
    stuffed = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\n"
    reader = DotReader()
    assert read(reader, split(stuffed, places)) == (b"".join(line + b"\r\n" for line in lines), b"")
    assert reader.ended


@each("octets", [
    b"x\n.\n", b"x\n.\r\n", b"x\r\n.\n", b"x\r.\r", b"x\r\n.\r", b"x\r\n.\r.\r\n", b"\n.\r\n", b"x\r\r\n..\r\n", b".\n",
    b".",
])
def test_what_is_no_end(octets: bytes) -> None:
    reader = DotReader()
    read(reader, [octets])
    assert not reader.ended


def test_an_end_at_once_is_an_empty_message() -> None:
    reader = DotReader()
    assert reader.feed(b".\r\nQUIT\r\n") == (b"", b"QUIT\r\n")
    assert reader.ended


def test_no_octets_change_nothing() -> None:
    reader = DotReader()
    assert reader.feed(b"") == (b"", b"")
    assert reader.feed(b"a\r\n") == (b"a", b"")
    assert reader.feed(b"") == (b"", b"")
    assert reader.feed(b".\r\n") == (b"\r\n", b"")
