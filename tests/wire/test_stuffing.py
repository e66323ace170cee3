"""Dots on their way out."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.dots import DotReader
from mailgw.wire.stuffing import DotWriter, stuffed
from tests.tables import each

NASTY = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\r\n.\r\n", b"\xff"]), max_size=12).map(
    b"".join
)


def written(chunks: list[bytes]) -> bytes:
    writer = DotWriter()
    return b"".join(writer.write(chunk) for chunk in chunks) + writer.end()


@each(
    ("content", "sent"),
    [
        (b"", b".\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..a\r\n.b\r\n", b"...a\r\n..b\r\n.\r\n"),
        (b"a.\r\nb.c\r\n", b"a.\r\nb.c\r\n.\r\n"),
        (b"a\n.\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r", b"a\r\n.\r\n"),
        (b"\r\r\n", b"\r\n\r\n.\r\n"),
        (b"\n", b"\r\n.\r\n"),
    ],
)
def test_what_leaves(content: bytes, sent: bytes) -> None:
    assert stuffed(content) == sent


@given(NASTY, st.lists(st.integers(0, 30), max_size=6))
def test_a_split_changes_nothing(content: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    chunks = [content[a:b] for a, b in itertools.pairwise(edges)]
    assert written(chunks) == stuffed(content)


@given(NASTY)
def test_the_reader_gets_back_what_was_written(content: bytes) -> None:
    reader = DotReader()
    read, rest = reader.feed(stuffed(content))
    assert reader.ended
    assert rest == b""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    assert read == (lines if lines.endswith(b"\r\n") or not lines else lines + b"\r\n")
