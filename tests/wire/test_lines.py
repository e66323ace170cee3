"""Lines: strict ends, limits, and in step again."""

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.lines import ENDLESS_FACTOR, LineFault, LineReader

LIMIT = 4
NASTY = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bcde", b"\0", b"x" * 60]), max_size=14).map(b"".join)


def lines(pieces: list[bytes]) -> list[bytes | LineFault]:
    reader = LineReader()
    taken: list[bytes | LineFault] = []
    for piece in pieces:
        reader.receive(piece)
        while (line := reader.take_line(LIMIT)) is not None:
            taken.append(line)
            if line is LineFault.ENDLESS:
                return taken
    return taken


@given(NASTY, st.integers(1, 9))
def test_any_split_gives_the_same_lines(octets: bytes, step: int) -> None:
    assert lines([octets[i:i + step] for i in range(0, len(octets), step)]) == lines([octets])


@given(NASTY)
def test_every_crlf_ends_a_line_and_nothing_else_does(octets: bytes) -> None:
    taken = lines([octets])
    if LineFault.ENDLESS not in taken:
        expected = octets.split(b"\r\n")[:-1]
        assert len(taken) == len(expected)
        for line, was in zip(taken, expected, strict=True):
            if len(was) + 2 > LIMIT:
                assert line is LineFault.TOO_LONG
            elif {0, 10, 13} & set(was):
                assert line is LineFault.BARE
            else:
                assert line == was


def test_a_line_that_is_too_long_is_not_kept() -> None:
    reader = LineReader()
    for _ in range(10):
        reader.receive(b"xxxxx")
        assert reader.take_line(LIMIT) is None
        assert len(reader) <= LIMIT
    reader.receive(b"\r")
    assert reader.take_line(LIMIT) is None
    reader.receive(b"\nok\r\n")
    assert reader.take_line(LIMIT) is LineFault.TOO_LONG
    assert reader.take_line(LIMIT) == b"ok"


def test_an_endless_line_is_given_up() -> None:
    reader = LineReader()
    reader.receive(b"x" * (ENDLESS_FACTOR * LIMIT + 1))
    assert reader.take_line(LIMIT) is LineFault.ENDLESS
    reader.clear()
    assert len(reader) == 0
    reader.receive(b"x" * (ENDLESS_FACTOR * LIMIT + 1) + b"\r\n")
    assert reader.take_line(LIMIT) is LineFault.ENDLESS


def test_all_at_once() -> None:
    reader = LineReader()
    reader.receive(b"a\r\nbc")
    assert reader.take_line(LIMIT) == b"a"
    assert reader.take_all() == b"bc"
    assert reader.take_all() == b""
    reader.receive(b"de")
    reader.receive(b"f")
    assert len(reader) == 3
    assert reader.take_all() == b"def"
