"""The book of reports: what is kept, what is known already, what goes; two who write, and who reads meanwhile."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from threading import Thread

import attrs
import pytest

from mailgw.store import report_reading as reading
from mailgw.store.report_reading import Wanted
from mailgw.store.reports import PRUNED, RECENT_SECONDS, SCHEMA, SETTLED_SECONDS, SHARES, Bearer, ReportBook, _octets
from mailgw.trust.dmarc_report_in import DmarcReportIn, read_dmarc_report
from mailgw.trust.report_sender import ReportSender
from mailgw.trust.tls_report_in import TlsReportIn, read_tls_report
from tests.tables import each
from tests.trust.reports_written import GOOGLE, TLS, dmarc, record

NOW = 1_700_100_000.0
TRUSTED = ReportSender("google.test", "pass")
FOREVER = 1e9
GIB = 1 << 30


def one(octets: bytes = GOOGLE.encode()) -> DmarcReportIn:
    found = read_dmarc_report(octets)
    assert isinstance(found, DmarcReportIn)
    return found


def tls() -> TlsReportIn:
    found = read_tls_report(TLS)
    assert isinstance(found, TlsReportIn)
    return found


def bearer(queue_id: str = "Q1", received: float = NOW, sender: ReportSender = TRUSTED) -> Bearer:
    return Bearer(queue_id, received, sender)


def ids(book: ReportBook) -> list[int]:
    return [row[0] for row in book.ask(lambda c: c.execute("SELECT id FROM report ORDER BY id").fetchall())]


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = str(tmp_path / "reports.sqlite")
    with closing(ReportBook(path)) as book:
        kept = book.keep([one(), tls()], bearer(), FOREVER, GIB)
    assert [(k.id, k.is_new) for k in kept] == [(1, True), (2, True)]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    connection = reading.connect_reader(path)
    assert connection is not None
    with closing(connection):
        first, second = reading.reports(connection, Wanted(0.0))
        assert (first.kind, first.domain, first.policy["p"], first.trusted) == ("dmarc", "example.org", "none", True)
        assert (first.report_id, first.queue_id, first.received) == (one().report_id, "Q1", NOW)
        [line] = reading.dmarc_lines(connection, 1)
        assert (line.source, line.count, line.passes) == ("2001:db8::25", 14, True)
        assert line.auth[1] == ["spf", "bounce.mailer.test", "", "pass"]
        assert (second.kind, second.domain) == ("tls", "")
        [policy] = reading.tls_lines(connection, 2)
        assert (policy.domain, policy.successes, policy.failures) == ("example.org", 1000, 2)
        assert policy.details[0][0] == "certificate-expired"
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM report")
        assert reading.report(connection, 3) is None


@each(("queue_id", "sender", "changed", "is_new"), [
    ("Q2", TRUSTED, {}, False),
    ("Q1", TRUSTED, {"end": 1700092800}, False),
    ("Q2", ReportSender("google.test", "fail"), {}, True),  # nobody stands in for somebody who is vouched for
    ("Q2", ReportSender("evil.test", "pass"), {}, True),
    ("Q2", TRUSTED, {"report_id": "another"}, True),
    ("Q2", TRUSTED, {"organization": "another"}, True),
    ("Q2", TRUSTED, {"begin": 1700000000}, True),
])
def test_a_repeat_adds_nothing(queue_id: str, sender: ReportSender, changed: dict[str, object], is_new: bool) -> None:
    book = ReportBook(None)
    book.keep([one()], bearer(), FOREVER, GIB)
    [kept] = book.keep([attrs.evolve(one(), **changed)], bearer(queue_id, NOW + 1, sender), FOREVER, GIB)
    assert kept.is_new is is_new
    assert ids(book) == ([1, 2] if is_new else [1])
    assert kept.id == (2 if is_new else 1)


@each(("wanted", "found"), [
    (Wanted(0.0), [1, 2, 3]), (Wanted(0.0, trusted=True), [1, 3]), (Wanted(0.0, "example.org"), [1, 2, 3]),
    (Wanted(0.0, "news.example.org"), [2]), (Wanted(0.0, "xample.org"), []), (Wanted(0.0, "org"), [1, 2, 3]),
    (Wanted(NOW + 1), []), (Wanted(NOW - 5000), [1]), (Wanted(NOW - 1e6, "ex_mple.org"), []),
])
def test_which_are_wanted(wanted: Wanted, found: list[int]) -> None:
    book = ReportBook(None)
    book.keep([attrs.evolve(one(), end=int(NOW - 100))], bearer(), FOREVER, GIB)
    book.keep([attrs.evolve(one(), domain="news.example.org")], bearer(sender=ReportSender("", "")), FOREVER, GIB)
    book.keep([tls()], bearer(), FOREVER, GIB)
    assert [r.id for r in book.ask(lambda c: list(reading.reports(c, wanted)))] == found


def test_what_is_old_goes_a_few_at_a_time() -> None:
    book = ReportBook(None)
    book.keep([attrs.evolve(one(), report_id="between")], bearer(received=NOW + 50), FOREVER, GIB)
    for number in range(PRUNED + 3):
        book.keep([attrs.evolve(one(), report_id=str(number))], bearer(received=NOW), FOREVER, GIB)
    book.keep([attrs.evolve(one(), report_id="exactly")], bearer(received=NOW + 100), 100.0, GIB)
    assert len(ids(book)) == PRUNED + 5
    book.keep([attrs.evolve(one(), report_id="a")], bearer(received=NOW + 101), 100.0, GIB)
    assert len(ids(book)) == 6
    book.keep([attrs.evolve(one(), report_id="b")], bearer(received=NOW + 102), 100.0, GIB)
    assert len(ids(book)) == 4
    rows = book.ask(lambda c: c.execute("SELECT DISTINCT report FROM dmarc_row").fetchall())
    assert len(rows) == 4


@each(("keep_seconds", "later", "left"), [
    (400 * 86400.0, SETTLED_SECONDS - 1, 5), (400 * 86400.0, SETTLED_SECONDS, 2),
    (100.0, 49.0, 5), (100.0, 50.0, 2),
    (400 * 86400.0, RECENT_SECONDS, 2), (400 * 86400.0, RECENT_SECONDS + 1, 5), (100.0, 100.0, 2), (100.0, 101.0, 5),
])
def test_a_clock_that_leaps_takes_nothing_away_at_once(keep_seconds: float, later: float, left: int) -> None:
    book = ReportBook(None)
    for number in range(3):
        book.keep([attrs.evolve(one(), report_id=str(number))], bearer(received=NOW), keep_seconds, GIB)
    leapt = NOW + 1000 * 86400
    stranger = ReportSender("evil.test", "fail")
    for number, moment in enumerate([leapt, leapt + later]):
        book.keep([attrs.evolve(one(), report_id=str(number))], bearer("Q", moment, stranger), keep_seconds, GIB)
    assert len(ids(book)) == left


def test_nor_does_one_that_leaps_less_far_than_reports_are_kept() -> None:
    book = ReportBook(None)
    for number in range(40):
        book.keep([attrs.evolve(one(), report_id=str(number))], bearer(received=NOW + number * 86400), FOREVER, GIB)
    for ahead in (390, 391):
        moment = NOW + (39 + ahead) * 86400
        book.keep([attrs.evolve(one(), report_id=str(ahead))], bearer(received=moment), 400 * 86400.0, GIB)
    assert len(ids(book)) == 42


def test_where_there_is_too_much_what_nobody_vouches_for_goes_first() -> None:
    book = ReportBook(None)
    large = one(dmarc(*[record(source=f"192.0.2.{n}") for n in range(250)]))
    for number, dmarc_word in enumerate(["pass", "fail", "pass", "fail", "fail"]):
        sender = ReportSender(f"{number}.test", dmarc_word)
        book.keep([attrs.evolve(large, report_id=str(number))], bearer(received=NOW + number, sender=sender), 1e9, GIB)
    octets = book.ask(lambda c: c.execute("PRAGMA page_count").fetchone()[0] * 4096)
    book.keep([attrs.evolve(large, report_id="x")], bearer(received=NOW + 9), FOREVER, octets)
    left = ids(book)
    assert {1, 3, 6} <= set(left), "who is vouched for, and the new one"
    assert 2 not in left, "the oldest of the others"
    book.keep([attrs.evolve(large, report_id="y")], bearer(received=NOW + 10), FOREVER, 1)
    assert ids(book) == [7], "the new one stays, whatever the limit"


def weight(book: ReportBook, number: int = 1) -> int:
    return int(book.ask(lambda c: c.execute("SELECT octets FROM report WHERE id = ?", (number,)).fetchone()[0]))


@each(("more", "left"), [(0, [1, 2, 3, 4]), (-1, [1, 3, 4])])
def test_a_family_of_senders_has_its_share_and_no_more(more: int, left: list[int]) -> None:
    book = ReportBook(None)
    large = one(dmarc(*[record(source=f"192.0.2.{n}") for n in range(250)]))
    book.keep([attrs.evolve(large, report_id="0")], bearer(), FOREVER, GIB)
    most = SHARES * (3 * weight(book) + more)
    for number, domain in enumerate(["s1.evil.test", "s2.evil.test", "evil.test"], 1):
        found = bearer(received=NOW + number, sender=ReportSender(domain, "pass"))
        book.keep([attrs.evolve(large, report_id=str(number))], found, FOREVER, most)
    assert ids(book) == left
    assert book.ask(_octets) < most


def test_nobody_takes_away_what_others_reported() -> None:
    book = ReportBook(None)
    for number in range(20):
        book.keep([attrs.evolve(one(), report_id=str(number))], bearer(received=NOW + number), FOREVER, GIB)
    large = one(dmarc(*[record(source=f"192.0.2.{n}") for n in range(50)]))
    limit = 10 * 50 * 250
    for number in range(60):
        sender = ReportSender(f"{number}.evil.test", "pass")
        found = bearer(received=NOW + 100 + number, sender=sender)
        book.keep([attrs.evolve(large, report_id=f"e{number}")], found, FOREVER, limit)
    assert set(range(1, 21)) <= set(ids(book))
    # Many domains, each within its share: the largest family goes first.
    for number in range(60):
        sender = ReportSender(f"evil{number % 12}.test", "pass")
        found = bearer(received=NOW + 200 + number, sender=sender)
        book.keep([attrs.evolve(large, report_id=f"f{number}")], found, FOREVER, limit)
    assert book.ask(_octets) <= limit
    assert set(range(1, 21)) <= set(ids(book))


def test_a_book_of_the_first_version(tmp_path: Path) -> None:
    path = str(tmp_path / "reports.sqlite")
    with closing(ReportBook(path)) as book:
        book.keep([one(), tls()], bearer(), FOREVER, GIB)
        weights = [weight(book, number) for number in (1, 2)]
    old = sqlite3.connect(path, isolation_level=None)
    for statement in ("DROP INDEX report_family", "ALTER TABLE report DROP COLUMN family",
                      "ALTER TABLE report DROP COLUMN octets", "PRAGMA user_version = 1"):
        old.execute(statement)
    old.close()
    connection = reading.connect_reader(path)
    assert connection is not None
    with closing(connection):
        assert len(list(reading.reports(connection, Wanted(0.0)))) == 2
    with closing(ReportBook(path)) as book:
        book.keep([attrs.evolve(one(), report_id="2")], bearer(), FOREVER, GIB)
        assert book.ask(lambda c: c.execute("SELECT DISTINCT family FROM report").fetchall()) == [("google.test",)]
        assert all(abs(weight(book, number) - now) < 100 for number, now in zip((1, 2), weights, strict=True))


def test_a_write_that_fails_writes_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "reports.sqlite")
    with closing(ReportBook(path)) as book:
        book.keep([one()], bearer(), FOREVER, GIB)
        with pytest.raises((OverflowError, sqlite3.Error)):
            book.keep([attrs.evolve(one(), report_id="2"), attrs.evolve(one(), begin=1 << 70)], bearer(), FOREVER, GIB)
        assert ids(book) == [1]
    newer = sqlite3.connect(path, isolation_level=None)
    newer.execute(f"PRAGMA user_version = {SCHEMA.version + 1}")
    newer.close()
    with pytest.raises(sqlite3.DatabaseError, match=f"schema is version {SCHEMA.version + 1}"):
        ReportBook(path).keep([one()], bearer(), FOREVER, GIB)
    with pytest.raises(sqlite3.DatabaseError, match="this mailgw knows up to"):
        reading.connect_reader(path)
    with pytest.raises((OSError, sqlite3.Error)):
        ReportBook(str(tmp_path / "reports.sqlite/reports.sqlite")).keep([one()], bearer(), FOREVER, GIB)


def test_a_file_that_was_only_begun_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "reports.sqlite").touch()
    assert reading.connect_reader(str(tmp_path / "reports.sqlite")) is None
    with closing(ReportBook(str(tmp_path / "reports.sqlite"))) as book:
        assert book.keep([one()], bearer(), FOREVER, GIB)[0].is_new


def test_several_write_and_one_reads(tmp_path: Path) -> None:
    path = str(tmp_path / "reports.sqlite")
    faults: list[BaseException] = []

    def write(name: str) -> None:
        try:
            with closing(ReportBook(path)) as book:
                for number in range(20):
                    book.keep([attrs.evolve(one(), report_id=f"{name}{number}")], bearer(name), FOREVER, GIB)
                    book.keep([attrs.evolve(one(), report_id=f"all{number}")], bearer(name), FOREVER, GIB)
        except BaseException as fault:  # noqa: BLE001 - a thread's is lost else
            faults.append(fault)

    threads = [Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if os.path.exists(path) and (connection := reading.connect_reader(path)) is not None:
            with closing(connection):
                list(reading.reports(connection, Wanted(0.0)))
        threads[0].join(0.01)
    for thread in threads:
        thread.join()
    assert faults == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM report").fetchone() == (80,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_writer_waits_no_longer_than_it_may(tmp_path: Path) -> None:
    path = str(tmp_path / "reports.sqlite")
    with closing(ReportBook(path)) as book, closing(ReportBook(path, 0.0)) as other:
        book.keep([one()], bearer(), FOREVER, GIB)
        other.keep([one()], bearer(), FOREVER, GIB)
        book.ask(lambda c: c.execute("BEGIN IMMEDIATE"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.keep([tls()], bearer(), FOREVER, GIB)
        book.ask(lambda c: c.execute("ROLLBACK"))
        assert other.keep([tls()], bearer(), FOREVER, GIB)[0].is_new
