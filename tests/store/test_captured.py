"""What was captured: known again, found, bounded; two who write, and who reads meanwhile."""

import os
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mailgw.store import captured
from mailgw.store.captured import CHUNK_OCTETS, Bounds, Capture, CapturedMail, Wanted
from tests.tables import each

NOW = 1_700_000_000.0
MANY = Bounds(1000, 1 << 30)
LETTER = (
    "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.net>\r\nTo: Bob <bob@example.org>, list@lists.example.org\r\n"
    "Cc: Carol <Carol@Example.com>\r\nSubject: Straße 1\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
    "Message-ID: <1@example.net>\r\n\r\nGrüße, Bob.\r\n"
).encode()


def capture(
    queue_id: str = "Q1", recipients: Sequence[str] = ("bob@example.org",), octets: bytes = LETTER, at: float = NOW,
    sender: str = "bounces@news.example.net",
) -> Capture:
    return Capture(queue_id, tuple(recipients), "internet", at, at - 1, sender, "", "192.0.2.1", "host", "ESMTPSA",
                   ("JUNK",), octets, len(octets))


def book() -> CapturedMail:
    return CapturedMail(None)


ALL = Wanted()


def ids(found: CapturedMail, wanted: Wanted = ALL) -> list[int]:
    return [one.id for one in found.rows(wanted, 1000)]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = str(tmp_path / "inbox" / "inbox.sqlite")
    with closing(CapturedMail(path)) as one:
        one.keep([capture()], MANY)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    with closing(CapturedMail(path)) as again:
        [row] = again.rows(Wanted(), 10)
        assert again.octets(row.id) == LETTER
        assert again.row(row.id) == row
    assert (row.queue_id, row.sender, row.recipients, row.backends) == (
        "Q1", "bounces@news.example.net", ("bob@example.org",), ("internet",))
    assert (row.subject, row.from_, row.to) == (
        "Straße 1", "Jörg <joerg@example.net>", "Bob <bob@example.org>, list@lists.example.org")
    assert (row.message_id, row.date) == ("1@example.net", "Tue, 14 Nov 2023 22:13:20 +0000")
    assert (row.captured, row.arrived, row.tls, row.tags, row.is_read) == (NOW, NOW - 1, True, ("JUNK",), False)
    assert (row.size_octets, row.kept_octets, row.attachments) == (len(LETTER), len(LETTER), 0)


@each(("protocol", "is_tls"), [
    ("ESMTPS", True), ("ESMTPSA", True), ("LMTPS", True), ("UTF8SMTPSA", True), ("ESMTP", False), ("ESMTPA", False),
    ("LMTP", False), ("SMTP", False), ("", False),
])
def test_whether_it_came_by_tls(protocol: str, is_tls: bool) -> None:
    assert captured._is_tls(protocol) is is_tls


def test_a_repeat_adds_nothing_and_another_recipient_a_copy() -> None:
    one = book()
    one.keep([capture(), capture()], MANY)
    first = one.newest()
    one.keep([capture(at=NOW + 5)], MANY)
    assert (ids(one), one.newest(), one.rows(Wanted(), 1)[0].captured) == ([1], first, NOW)
    one.keep([capture(recipients=["eve@example.org", "bob@example.org"], at=NOW + 6)], MANY)
    [row] = one.rows(Wanted(), 10)
    assert (row.recipients, row.captured) == (("bob@example.org", "eve@example.org"), NOW + 6)
    assert one.newest() > first


@each(("wanted", "is_found"), [
    (Wanted(to="bob@example.org"), True), (Wanted(to=" BOB@Example.ORG "), True), (Wanted(to="ob@example.org"), False),
    (Wanted(to="bob@example.or"), False), (Wanted(to="@example.org"), True), (Wanted(to="@ample.org"), False),
    (Wanted(to="@example.or"), False), (Wanted(to="bob"), True), (Wanted(to="ob@"), False), (Wanted(to="carol"), True),
    (Wanted(to="list@lists.example.org"), True), (Wanted(to="carol@example.com"), True),
    (Wanted(to="@example.com"), True),
    (Wanted(to="joerg@example.net"), False), (Wanted(to=""), True), (Wanted(to="%"), False), (Wanted(to="_ob"), False),
    (Wanted(from_="bounces@news.example.net"), True), (Wanted(from_="joerg@example.net"), True),
    (Wanted(from_="jörg"), True), (Wanted(from_="JÖRG"), True), (Wanted(from_="@news.example.net"), True),
    (Wanted(from_="bob@example.org"), False), (Wanted(subject="STRASSE"), True), (Wanted(subject="straße 1"), True),
    (Wanted(subject="strasse 2"), False), (Wanted(text="GRÜSSE"), True), (Wanted(text="straße"), False),
    (Wanted(text="'; DROP TABLE message; --"), False), (Wanted(since=NOW), True), (Wanted(since=NOW + 0.1), False),
    (Wanted(search="STRASSE bob@example.org"), True), (Wanted(search="jörg grüsse news.example"), True),
    (Wanted(search="carol@example.com"), True), (Wanted(search="straße nobody"), False), (Wanted(search="  "), True),
    (Wanted(search="%"), False),
    (Wanted(unread=True), True), (Wanted(unread=False), False), (Wanted(to="bob", subject="nothing"), False),
    (Wanted(to="bob", subject="str", text="bob", from_="j", since=0.0, unread=True), True),
])
def test_which_are_wanted(wanted: Wanted, is_found: bool) -> None:
    one = book()
    one.keep([capture()], MANY)
    assert bool(ids(one, wanted)) is is_found


def test_lists_are_paged_the_newest_first() -> None:
    one = book()
    one.keep([capture(f"Q{n}") for n in range(5)], MANY)
    assert [row.id for row in one.rows(Wanted(), 2)] == [5, 4]
    assert [row.id for row in one.rows(Wanted(), 2, 4)] == [3, 2]
    assert [row.id for row in one.rows(Wanted(), 2, 1)] == []


def test_what_is_new_is_found_without_a_look_at_the_rest() -> None:
    one = book()
    one.keep([capture(f"Q{n}") for n in range(200)], MANY)
    seen = one.newest()
    assert one.rows(Wanted(), 5, since=seen) == []
    one.keep([capture("Q199", ["carol@example.org"]), capture("Q200")], MANY)
    assert [row.id for row in one.rows(Wanted(), 5, since=seen)] == [201, 200]
    assert [row.id for row in one.rows(Wanted(), 1, since=seen)] == [201]
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    connection = one._file.open()
    connection.set_progress_handler(step, 1)
    nothing = Wanted(
        to="x@example.com", from_="nothing", subject="nothing", text="nothing", search="nothing at all", unread=True)
    for wanted in (nothing, Wanted(text="nothing"), Wanted(search="nothing"), Wanted(from_="nothing"), Wanted(since=1)):
        steps = 0
        one.rows(wanted, 5, since=seen)
        assert steps < 400, "SQLite's; 200 rows take thousands"


def test_so_many_messages_and_no_more() -> None:
    one = book()
    for number in range(3):
        one.keep([capture(f"Q{number}")], Bounds(3, 1 << 30))
    assert ids(one) == [3, 2, 1]
    one.keep([capture("another")], Bounds(3, 1 << 30))
    assert ids(one) == [4, 3, 2]
    one.keep([capture(f"group {n}") for n in range(5)], Bounds(3, 1 << 30))
    assert ids(one) == [9, 8, 7]
    assert one.octets(2) is None
    assert one.totals().messages == 3
    tables = [one._file.open().execute(f"SELECT count(DISTINCT message) FROM {table}").fetchone()[0]
              for table in ("copy", "words", "chunk")]
    assert tables == [3, 3, 3]


def test_so_many_octets_and_no_more() -> None:
    one, bulk = book(), LETTER.replace(b"Date:", b"Content-Type: application/octet-stream\r\nDate:")
    one.keep([capture("Q0", octets=bulk)], MANY)
    each_takes = one.totals().octets
    bounds = Bounds(1000, 2 * each_takes)
    one.keep([capture("Q1", octets=bulk)], bounds)
    assert ids(one) == [2, 1]
    assert one.totals().octets == bounds.octets
    one.keep([capture("Q2", octets=bulk + b"x")], bounds)
    assert ids(one) == [3], "one octet more than two of them"
    one.keep([capture("Q3", octets=bulk + b"x" * each_takes * 3)], bounds)
    [row] = one.rows(Wanted(), 10)
    assert row.kept_octets < row.size_octets
    assert one.octets(row.id) == (bulk + b"x" * each_takes * 3)[:row.kept_octets]
    assert one.totals().octets == bounds.octets


def test_a_bound_that_nothing_fits_keeps_the_envelope() -> None:
    one = book()
    one.keep([capture()], Bounds(1, 1))
    [row] = one.rows(Wanted(), 1)
    assert (row.kept_octets, one.octets(row.id)) == (0, b"")


@each("size", [0, 1, CHUNK_OCTETS - 1, CHUNK_OCTETS, CHUNK_OCTETS + 1, 2 * CHUNK_OCTETS + 7])
def test_content_in_pieces(size: int) -> None:
    one, octets = book(), os.urandom(size)
    one.keep([capture(octets=octets)], MANY)
    found, start = b"", 0
    while piece := one.piece(1, start):
        found += piece
        start = len(found)
    assert found == octets == one.octets(1)
    if size > 10:
        assert one.piece(1, 7) == octets[7:CHUNK_OCTETS]
    assert one.piece(2, 0) is None
    assert one.piece(1, size + CHUNK_OCTETS) == b""


@each(("count", "limit", "found"), [(10, 11, 10), (11, 11, 11), (12, 12, 11)])
def test_so_many_rows_and_one_more(monkeypatch: pytest.MonkeyPatch, count: int, limit: int, found: int) -> None:
    monkeypatch.setattr(captured, "MOST_ROWS", 10)
    one = book()
    one.keep([capture(f"Q{n}") for n in range(count)], MANY)
    assert len(one.rows(Wanted(), limit)) == found


def test_read_and_removed() -> None:
    one = book()
    one.keep([capture(f"Q{n}", recipients=[f"r{n % 2}@example.org"]) for n in range(4)], MANY)
    assert one.mark(2, True)
    assert one.rows(Wanted(), 10)[2].is_read
    assert one.totals() == captured.Totals(4, 3, one.totals().octets)
    assert not one.mark(9, True)
    assert one.remove([9]) == 0
    assert one.remove([2]) == 1
    for nothing in (Wanted(), Wanted(to=""), Wanted(from_=" "), Wanted(subject="", text="\t"), Wanted(search="\u00a0")):
        with pytest.raises(ValueError, match="says so"):
            one.remove(nothing)
    assert one.remove(Wanted(to="r1@example.org")) == 1
    assert ids(one) == [3, 1]
    assert one.remove(None) == 2
    assert one.totals() == captured.Totals(0, 0, 0)
    one.keep([capture("new")], MANY)
    assert ids(one) == [5], "numbers are nobody's again"


@each("octets", [
    b"", b"\r\n", b"no header at all", b"\x00\xff\xfe" * 100, b"Subject: \xff\xfe\r\n\r\n\xff", b"Subject: x",
    b"From: " + b'"' * 50_000 + b"\r\n\r\n", b"To: " + b"a@b.c, " * 20_000 + b"\r\n\r\n",
    b"Subject: =?utf-16?b?2AA=?=\r\n\r\n", b"X: y\r\n" * 60_000,
])
def test_whatever_it_is_it_is_kept(octets: bytes) -> None:
    one = book()
    one.keep([capture(octets=octets, recipients=["b\udcff@example.org".encode("utf-8", "replace").decode()])], MANY)
    assert one.octets(1) == octets


def test_two_write_and_one_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "inbox.sqlite")
    with closing(CapturedMail(path)) as first, closing(CapturedMail(path)) as second:
        first.keep([capture("Q1")], MANY)
        second.keep([capture("Q2")], MANY)
        first.keep([capture("Q3")], MANY)
        assert ids(first) == ids(second) == [3, 2, 1]


def test_who_cannot_write_in_time_raises_and_has_written_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "inbox.sqlite")
    with closing(CapturedMail(path)) as first, closing(CapturedMail(path, busy_seconds=0.01)) as second:
        first.keep([capture("Q1")], MANY)
        assert second.newest() == 1
        first._file.open().execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            second.keep([capture("Q2")], MANY)
        first._file.open().execute("ROLLBACK")
        assert ids(second) == [1]
        second.keep([capture("Q2")], MANY)
        assert ids(first) == [2, 1]


def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "inbox.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9")
    with closing(CapturedMail(path)) as one, pytest.raises(sqlite3.DatabaseError, match="version 9"):
        one.newest()
