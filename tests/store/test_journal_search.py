"""The journal searched from its end: what a plain look at all lines finds, in pieces, over rotations, in bounds."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import parse_mailbox
from mailgw.store import journal_search
from mailgw.store.journal_needles import Sought, by_word
from mailgw.store.journal_search import Backwards, BadCursor, Bounds, Place, epoch_of, forwards
from tests.tables import each

DAY = "2026-11-24T"


def line(at: int, event: str = "queued", **fields: Any) -> bytes:
    time = f"{DAY}{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.250Z"
    return json.dumps({"time": time, "event": event, **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def written(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    return str(path)


def found(search: Backwards) -> list[int]:
    """The seconds of the day at which the facts were noted."""
    return [seconds(fact) for fact in search]


def seconds(fact: Any) -> int:
    return int(epoch_of(fact["time"])) % 86400


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_search, "PIECE_OCTETS", 100)


WHO = {"session_id": "s1-a", "queue_id": "q1", "peer": "203.0.113.7", "reverse_path": "Ann@example.org",
       "recipients": ["bob@example.net", "Zoë@example.net"], "message_id": "<1@mail.example.org>"}


@each(("word", "is_found"), [
    ("q1", True), ("s1-a", True), ("q", False), ("s1", False), ("Q1", False),
    ("ann@example.org", True), ("ANN@EXAMPLE.ORG", True), ("bob@example.net", True), ("zoë@example.net", True),
    ("nn@example.org", False), ("ann@example.or", False), ("ob@example.net", False),
    ("@example.net", True), ("@Example.Org", True), ("@ample.net", False), ("@net", False),
    ("<1@mail.example.org>", True), ("1@mail.example.org", True), ("<1@mail.example.org", False), ("<1@mail>", False),
    ("203.0.113.7", True), ("203.0.113.0/24", True), ("203.0.113.0/29", True), ("203.0.113.8/29", False),
    ("203.0.0.0/15", True), ("0.0.0.0/0", True), ("203.0.113.70", False), ("2001:db8::/32", False), ("::/0", False),
    ("203.0.113", False), ("queued", False), ("queue_id", False),
])
def test_what_a_word_means(tmp_path: Path, word: str, is_found: bool) -> None:
    path = written(tmp_path / "journal", line(1, **WHO))
    assert found(Backwards(path, by_word(word))) == [1][:is_found]


@each(("word", "peer", "is_found"), [
    ("2001:db8::/32", "2001:db8::1", True), ("2001:db8::/32", "2001:db9::1", False),
    ("2001:db8::1", "2001:db8::1", True), ("2001:db8::1", "2001:db8::11", False),
    ("2001:db8:0:1::/64", "2001:db8:0:1::5", True), ("2001:db8:0:1::/64", "2001:db8:0:2::5", False),
    ("2001:0:1::/48", "2001:0:1::1", True), ("::/8", "::1", True), ("fe80::/10", "fe80::1", True),
    ("192.0.2.1", "local", False), ("0.0.0.0/0", "unknown", False),
])
def test_networks(tmp_path: Path, word: str, peer: str, is_found: bool) -> None:
    path = written(tmp_path / "journal", line(1, "connected", session_id="s", peer=peer))
    assert found(Backwards(path, by_word(word))) == [1][:is_found]
    path = written(tmp_path / "journal", line(1, "fronted", session_id="s", peer="local", front=peer))
    assert found(Backwards(path, by_word(word))) == [1][:is_found]


@each("word", ["", "x" * 1001, "\udcff", "a\udcff@example.org"])
def test_what_is_no_word(word: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        by_word(word)


def test_the_longest_word_is_one() -> None:
    by_word("x" * 1000)


def test_quotation_marks_and_letters_in_any_case(tmp_path: Path) -> None:
    odd = str(parse_mailbox('"a\\"b c"@Example.org'))
    assert "\\" in odd
    path = written(tmp_path / "journal", line(1, recipient=odd), line(2, recipient="Ä@example.org"))
    assert found(Backwards(path, by_word('"a\\"b c"@EXAMPLE.org'))) == [1]
    assert found(Backwards(path, by_word("Ä@example.ORG"))) == [2]


def test_damaged_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    good = line(5, **WHO)
    damaged = [good[:-1], good[5:], b'{"queue_id":"q1"}', good[:-1] + b"\xff}", b"q1", b'"q1"', b"\0" * 300 + b'"q1"',
               b'{"time":"2026-99-24T00:00:00.000Z","event":"queued","queue_id":"q1"}', good[:-1] + b"]" * 9 + b"}"]
    path = written(tmp_path / "journal", line(1, **WHO), *damaged, good)
    search = Backwards(path, by_word("q1"))
    assert found(search) == [5, 1]
    assert search.unreadable == 8


def test_half_a_line_at_the_end_is_not_read_yet(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    written(path, line(1, **WHO))
    with path.open("ab") as opened:
        opened.write(line(2, **WHO))
    search = Backwards(str(path), by_word("q1"))
    assert found(search) == [1]
    assert search.unreadable == 0


def test_a_line_longer_than_a_piece_is_no_fact(tmp_path: Path, small_pieces: None) -> None:
    short = line(1, queue_id="q1")
    assert len(short) < 100
    path = written(tmp_path / "journal", short, line(2, queue_id="q1", text="x" * 1000), line(3, queue_id="q1"))
    assert found(Backwards(path, by_word("q1"))) == [3, 1]
    # With the ends of its own line and of the one before it, it has to fit.
    for octets, expected in ((98, [1, 2, 1]), (99, [1, 1])):
        edge = line(2, queue_id="q1", text="x" * (octets - len(line(2, queue_id="q1", text=""))))
        path = written(tmp_path / "journal", short, edge, short)
        assert found(Backwards(path, by_word("q1"))) == expected


Journals = st.lists(st.lists(st.sampled_from(["q1", "q2", "q11", "x" * 60, None]), max_size=8), min_size=1, max_size=4)


@given(Journals, st.integers(80, 400), st.integers(1, 300))
def test_pieces_files_and_cursors_make_no_difference(
    tmp_path_factory: pytest.TempPathFactory, files: Sequence[Sequence[str | None]], piece: int, octets: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    expected, at = [], 0
    for number, ids in enumerate(reversed(files)):  # the oldest first
        lines = []
        for one in ids:
            at += 1
            lines.append(b"" if one is None else line(at, queue_id=one))
            if one == "q1":
                expected.append(at)
        name = "j" if number == len(files) - 1 else f"j.{len(files) - 1 - number}"
        written(folder / name, *lines)
    expected.reverse()
    before = journal_search.PIECE_OCTETS
    journal_search.PIECE_OCTETS = piece  # type: ignore[misc]
    try:
        met: list[int] = []
        place: Place | None = None
        for _ in range(100):
            search = Backwards(str(folder / "j"), by_word("q1"), 0.0, place, Bounds(octets))
            met += found(search)
            place = search.behind
            if place is None:
                assert not search.is_cut
                break
            assert search.is_cut
            place = Place.of(str(place))
        assert met == expected
        # One by one, by the cursors of each fact.
        met, place = [], None
        while True:
            search = Backwards(str(folder / "j"), by_word("q1"), 0.0, place)
            fact = next(iter(search), None)
            if fact is None:
                break
            again = next(iter(Backwards(str(folder / "j"), by_word("q1"), 0.0, search.before)))
            assert again == fact
            met.append(seconds(fact))
            place = search.behind
        assert met == expected
    finally:
        journal_search.PIECE_OCTETS = before  # type: ignore[misc]


def test_since(tmp_path: Path, small_pieces: None) -> None:
    path = written(tmp_path / "j", *[line(at, queue_id="q1") for at in range(0, 600, 10)])
    since = epoch_of(f"{DAY}00:05:00.000Z")
    search = Backwards(path, by_word("q1"), since)
    assert found(search) == list(range(590, 299, -10))
    assert search.behind is None
    assert not search.is_cut
    assert search.octets < os.path.getsize(path) * 0.6
    assert search.searched_back_to is not None
    assert since - 30 < search.searched_back_to <= since


def test_files_that_are_older_are_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "j", line(600, queue_id="q1"))
    old = written(tmp_path / "j.1", line(1, queue_id="q1"))
    written(tmp_path / "j.2", line(0, queue_id="q1"))
    os.utime(old, (0, 0))
    search = Backwards(path, by_word("q1"), epoch_of(f"{DAY}00:05:00.000Z"))
    assert found(search) == [600]
    assert search.files == [path]


def test_it_ends_at_its_time(tmp_path: Path, small_pieces: None) -> None:
    path = written(tmp_path / "j", *[line(at, queue_id="q1") for at in range(60)])
    ticks = iter(range(1000))
    search = Backwards(path, by_word("q1"), 0.0, None, Bounds(1 << 30, 3.0), lambda: float(next(ticks)))
    met = found(search)
    assert search.is_cut
    assert 0 < len(met) < 10
    assert search.behind is not None
    assert search.searched_back_to == epoch_of(f"{DAY}00:00:{met[-1]}.250Z")
    rest = found(Backwards(path, by_word("q1"), 0.0, search.behind))
    assert met + rest == list(range(59, -1, -1))


def test_rotated_between_two_calls(tmp_path: Path, small_pieces: None) -> None:
    path = written(tmp_path / "j", *[line(at, queue_id="q1") for at in range(10)])
    search = Backwards(path, by_word("q1"), 0.0, None, Bounds(300))
    first = found(search)
    os.rename(path, f"{path}.1")
    written(tmp_path / "j", line(20, queue_id="q1"))
    assert first + found(Backwards(path, by_word("q1"), 0.0, search.behind)) == list(range(9, -1, -1))
    os.unlink(f"{path}.1")
    assert found(Backwards(path, by_word("q1"), 0.0, search.behind)) == []


def test_rotated_while_it_is_read(tmp_path: Path, small_pieces: None) -> None:
    path = written(tmp_path / "j", *[line(at, queue_id="q1") for at in range(10, 20)])
    written(tmp_path / "j.1", *[line(at, queue_id="q1") for at in range(10)])
    met = []
    for fact in Backwards(path, by_word("q1")):
        met.append(seconds(fact))
        if met == [19]:
            os.rename(f"{path}.1", f"{path}.2")
            os.rename(path, f"{path}.1")
            written(tmp_path / "j", line(30, queue_id="q1"))
    assert met == list(range(19, -1, -1))


def test_no_journal_has_nothing(tmp_path: Path) -> None:
    search = Backwards(str(tmp_path / "j"), by_word("q1"))
    assert found(search) == []
    assert search.files == []
    assert search.searched_back_to is None
    (tmp_path / "j").touch()
    assert found(Backwards(str(tmp_path / "j"), by_word("q1"))) == []


@each("cursor", ["", "1.2", "x.1.2", "1.2.3.4", "1.2.-3", "1" * 17 + ".1.1", "1.2.3\n"])
def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(BadCursor):
        Place.of(cursor)


def test_a_cursor_of_another_file_finds_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "j", line(1, queue_id="q1"))
    number = os.stat(path).st_ino
    assert found(Backwards(path, by_word("q1"), 0.0, Place(number, 1, 10))) == []
    search = Backwards(path, by_word("q1"))
    assert found(search) == [1]
    head = journal_search._open(path, None)
    assert head is not None
    with head:
        place = Place(*head.key, 1 << 60)
    assert found(Backwards(path, by_word("q1"), 0.0, place)) == [1]  # the end of the file at most


def test_forwards(tmp_path: Path, small_pieces: None) -> None:
    path = written(tmp_path / "j", *[line(at, queue_id="q1") for at in range(10, 20)])
    written(tmp_path / "j.1", *[line(at, queue_id="q1") for at in range(10)])
    search = Backwards(path, by_word("q1"))
    for fact in search:
        if seconds(fact) == 5:
            break
    assert search.before is not None
    sought: Sought = by_word("q1")
    assert [seconds(fact) for fact in forwards(path, sought, search.before, 1 << 20)] == list(range(6, 20))
    assert len([*forwards(path, sought, search.before, 150)]) < 6
