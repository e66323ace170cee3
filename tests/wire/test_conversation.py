"""What was said, as lines: bounded, split as the network likes, and without secrets."""

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mailgw.wire.conversation import (
    FIRST_LINES,
    LINE_OCTETS,
    LINES,
    PART_OCTETS,
    THEM,
    UNREAD_OCTETS,
    US,
    Conversation,
    content_words,
    short,
)


def plain() -> Conversation:
    return Conversation(lambda line, is_ours: line)


def numbered(count: int) -> list[str]:
    return [f"C: {number}" for number in range(count)]


def test_lines_of_both_sides() -> None:
    said = plain()
    said.they(b"220 mx ready\r\n250-mx\r\n2")
    said.they(b"50 SIZE\r\n")
    said.we(b"MAIL FROM:<>\r\nDATA\r\n")
    said.note(content_words(4213))
    said.they(b"554 \xff\x1b[1m no\n")
    said.they(b"half")
    assert said.lines() == (
        "S: 220 mx ready", "S: 250-mx", "S: 250 SIZE", "C: MAIL FROM:<>", "C: DATA", "(4,213 octets of content)",
        "S: 554 ??[1m no", "S: half",
    )
    assert said.lines() == said.lines()
    said.forget()
    assert said.lines() == ()


def test_so_many_lines() -> None:
    for count in (LINES - 1, LINES, LINES + 1, 1000):
        said = plain()
        for line in numbered(count):
            said.we(line[3:].encode() + b"\r\n")
        lines = said.lines()
        if count < LINES:
            assert list(lines) == numbered(count)
        else:
            last = LINES - FIRST_LINES - 1
            assert len(lines) == LINES
            assert list(lines) == [
                *numbered(count)[:FIRST_LINES], f"(... {count - LINES + 1} lines left out)", *numbered(count)[-last:],
            ]


def test_the_part_of_a_line_is_one_of_them() -> None:
    said = plain()
    for line in numbered(LINES - 1):
        said.we(line[3:].encode() + b"\r\n")
    said.they(b"half")
    assert said.lines() == (*numbered(LINES - 1), "S: half")
    said.we(b"last\r\n")
    lines = said.lines()
    assert len(lines) == LINES
    assert lines[FIRST_LINES] == "(... 2 lines left out)"
    assert lines[-1] == "S: half"


def test_so_many_octets_of_a_line() -> None:
    said = plain()
    said.they(b"x" * LINE_OCTETS + b"\r\n" + b"y" * (LINE_OCTETS + 1) + b"\r\n")
    assert said.lines() == (f"S: {'x' * LINE_OCTETS}", f"S: {'y' * LINE_OCTETS}...")


def test_what_is_kept_is_bounded() -> None:
    said = plain()
    for _ in range(1000):
        said.they(b"x" * 1000)
        said.we(b"y" * 998 + b"\r\n")
    assert sum(len(octets) for _, octets in said._said) <= UNREAD_OCTETS + 1000
    assert all(len(part) <= PART_OCTETS for part in said._parts.values())
    assert len(said.lines()) == LINES


@given(st.lists(st.sampled_from([b"250 ok\r\n", b"354 go\n", b"\r\n", b"x" * 300 + b"\r\n", b"tail"])),
       st.lists(st.integers(0, 2000)))
def test_any_split_is_the_same(pieces: Sequence[bytes], cuts: Sequence[int]) -> None:
    octets = b"".join(pieces)
    whole = plain()
    whole.they(octets)
    split = plain()
    places = sorted({min(cut, len(octets)) for cut in cuts} | {0, len(octets)})
    for start, end in itertools.pairwise(places):
        split.they(octets[start:end])
    assert split.lines() == whole.lines()


def test_secrets_are_taken_out_before_lines_are_cut() -> None:
    said = Conversation(lambda line, is_ours: line.replace(b"secret", b"[...]"))
    said.they(b"x" * (LINE_OCTETS - 3) + b"sec")
    said.they(b"ret\r\n")
    [line] = said.lines()
    assert "sec" not in line


def test_a_short_one() -> None:
    assert short((US, b"POST"), (THEM, b"HTTP 503\r\nX"), ("", b"gone")) == ("C: POST", "S: HTTP 503", "S: X", "(gone)")
