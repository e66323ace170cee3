"""What messages came to by DMARC, line by line: over restarts, crashes, and disks that refuse."""

import errno
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from mailgw.mail.address import Mailbox
from mailgw.store import dmarc_counts
from mailgw.store.dmarc_counts import REPORT, WRITE_SECONDS, DmarcCounts
from mailgw.store.state_file import Workshop
from mailgw.testing.disk import MemoryDisk
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads
from mailgw.trust.dmarc_record import DmarcRecord, ReportAddress, read_record
from mailgw.trust.dmarc_tallies import Counted, DkimSeen, Override, Reason, Row, SpfSeen, Tallies
from tests.tables import each

LIMIT = 1 << 20
PATH = "/state/dmarc-reports/counts.jsonl"
DAY = 19_675
ROW = Row(
    "192.0.2.1", "none", True, False, (Reason(Override.OTHER, "why"),), "a.example", "", "",
    (DkimSeen("a.example", "s", "fail", "words"),), SpfSeen("a.example", "none"),
)
RECORD = read_record(b"v=DMARC1; p=reject; np=none; fo=1:d; rua=mailto:r@a.example!10m,mailto:s@b.example")
ONE = Counted("a.example", RECORD, ROW)


class Bench:
    """The file, and the disk that it is on."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.disk = MemoryDisk()
        self.clock = Clock()
        self.threads: Any = FakeThreads()
        self.limit = limit
        self.clock.callFromThread = self.threads.callFromThread  # type: ignore[attr-defined]
        self.counts = self.opened()

    def opened(self) -> DmarcCounts:
        return DmarcCounts(PATH, Workshop(self.disk, self.clock, self.threads), self.limit)

    def read(self) -> Tallies:
        return result_of(self.counts.read())

    def again(self) -> Tallies:
        """After a crash."""
        self.disk.crash()
        for call in self.clock.getDelayedCalls():
            call.cancel()
        self.counts = self.opened()
        return self.read()

    def close(self) -> None:
        closed: list[object] = []
        Deferred.fromCoroutine(self.counts.close()).addBoth(closed.append)
        assert closed == [None]
        assert not self.clock.getDelayedCalls()

    @property
    def octets(self) -> bytes:
        return self.disk.read(PATH, 0, 1 << 30)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def counts(tallies: Tallies) -> dict[tuple[int, str], tuple[DmarcRecord, list[tuple[Row, int]], int]]:
    return {(one.day, one.domain): (one.record, list(one.rows), one.left_out) for one in tallies.all()}


def test_where_nothing_was_counted(bench: Bench) -> None:
    assert counts(bench.read()) == {}
    bench.close()
    assert not bench.disk.is_folder("/state")


def test_what_was_counted_is_there_after_a_second(bench: Bench) -> None:
    bench.counts.counted(ONE, DAY)
    bench.counts.counted(ONE, DAY)
    bench.clock.advance(WRITE_SECONDS - 0.1)
    assert not bench.disk.is_folder("/state")
    bench.clock.advance(0.1)
    bench.counts.counted(ONE, DAY)  # which the crash takes
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 2)], 0)}
    bench.close()


def test_words_outlive_the_process(bench: Bench) -> None:
    bench.counts.counted(ONE, DAY)
    bench.close()
    [tally] = bench.again().all()
    [(row, _)] = tally.rows
    assert row.dkim[0].why == "words"
    assert tally.record.aggregate_to[0] == ReportAddress(Mailbox("r", "a.example"), 10 << 20)


def test_a_day_that_is_over(bench: Bench) -> None:
    bench.counts.counted(ONE, DAY)
    bench.counts.counted(ONE, DAY + 1)
    bench.counts.removed(DAY, "a.example")
    bench.counts.removed(DAY, "b.example")
    bench.close()
    assert list(counts(bench.again())) == [(DAY + 1, "a.example")]
    bench.counts.counted(ONE, DAY)
    bench.close()
    assert counts(bench.again())[DAY, "a.example"] == (RECORD, [(ROW, 1)], 0)


def test_a_record_stands_where_it_changes(bench: Bench) -> None:
    other = attrs.evolve(ONE, record=read_record(b"v=DMARC1; rua=mailto:r@a.example"))
    for one in (ONE, ONE, other, other, ONE):
        bench.counts.counted(one, DAY)
    bench.close()
    assert [b'"record"' in line for line in bench.octets.splitlines()] == [True, False, True, False, True]
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 5)], 0)}


def test_records_that_are_remembered_have_a_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_counts, "RECORDS", 2)
    for domain in "abab":
        bench.counts.counted(attrs.evolve(ONE, domain=domain), DAY)
    assert len(bench.counts._records) == 2
    for domain in "cab":
        bench.counts.counted(attrs.evolve(ONE, domain=domain), DAY)
    assert len(bench.counts._records) == 1
    bench.close()
    assert [b'"record"' in line for line in bench.octets.splitlines()] == [True, True, False, False, True, True, True]


@each("torn", [b"{", b'{"day":19675,"domain":"a.example","messages":1,"row":{"source_ip":"x', b"\xff\xff"])
def test_a_line_that_a_crash_tore_is_cut_off(torn: bytes) -> None:
    bench = Bench()
    bench.counts.counted(ONE, DAY)
    bench.close()
    whole = bench.octets
    descriptor = bench.disk.append(PATH)
    bench.disk.write(descriptor, [torn])
    bench.disk.sync(descriptor)
    assert counts(bench.again())[DAY, "a.example"] == (RECORD, [(ROW, 1)], 0)
    bench.counts.counted(ONE, DAY)
    bench.close()
    assert bench.octets.startswith(whole + b"{")
    assert counts(bench.again())[DAY, "a.example"] == (RECORD, [(ROW, 2)], 0)


def test_lines_that_are_none_are_passed_over_and_told(bench: Bench) -> None:
    bench.counts.counted(ONE, DAY)
    bench.close()
    descriptor = bench.disk.append(PATH)
    other = b'{"day":1,"domain":"x","messages":1,"row":null}'  # no record before it
    bench.disk.write(descriptor, [b"\x00\x00\n\n[]\n", other, b"\n"])
    bench.disk.sync(descriptor)
    with capturedLogs() as logged:
        assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 1)], 0)}
    assert [event["count"] for event in logged] == [3]


def test_a_file_that_cannot_be_read_is_left_and_added_to(bench: Bench) -> None:
    bench.counts.counted(ONE, DAY)
    bench.close()
    bench.counts = bench.opened()

    def read(path: str, offset: int, limit_octets: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    bench.disk.read = read  # type: ignore[method-assign]
    with capturedLogs() as logged:
        assert counts(bench.read()) == {}
    assert [event["why"] for event in logged] == ["Input/output error"]
    bench.counts.counted(ONE, DAY)
    bench.close()
    del bench.disk.read  # type: ignore[method-assign]
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 2)], 0)}


@each("step", ["write", "sync /state/dmarc-reports/counts", "append"])
def test_a_disk_that_refuses_is_tried_again(step: str) -> None:
    bench = Bench()
    bench.counts.counted(ONE, DAY)
    bench.clock.advance(WRITE_SECONDS)
    bench.disk.errors = {step: errno.ENOSPC}
    bench.counts.counted(ONE, DAY)
    with capturedLogs() as logged:
        bench.clock.pump([WRITE_SECONDS] * 3)
    assert len(logged) == 1
    bench.counts.counted(ONE, DAY)
    bench.disk.errors = {}
    bench.clock.advance(WRITE_SECONDS)
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 3)], 0)}


@each("more", [0, 1])
def test_what_waits_for_the_disk_has_a_limit(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.counts.counted(ONE, DAY)
    bench.counts.counted(ONE, DAY)
    weight = bench.counts._octets
    monkeypatch.setattr(dmarc_counts, "WAITING_OCTETS", weight - 1 - more)
    bench = Bench()
    bench.disk.errors = {"new_folder": errno.ENOSPC}
    bench.counts.counted(ONE, DAY)
    bench.counts.counted(ONE, DAY)
    with capturedLogs() as logged:
        bench.clock.advance(WRITE_SECONDS)
        bench.disk.errors = {}
        bench.clock.advance(WRITE_SECONDS)
    assert [event["count"] for event in logged if "count" in event] == [1] * more
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 2 - more)], 0)}


def test_lines_are_written_anew_where_they_are_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.counts.counted(ONE, DAY)
    bench.close()
    line = len(bench.octets)
    monkeypatch.setattr(dmarc_counts, "COMPACT_OCTETS", 3 * line)
    bench = Bench()
    sizes = []
    for _ in range(30):
        bench.counts.counted(ONE, DAY)
        bench.clock.advance(WRITE_SECONDS)
        sizes.append(len(bench.octets))
    assert max(sizes) <= 3 * line
    assert sum(size <= line + 1 for size in sizes) > 3
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 30)], 0)}


def test_where_that_fails_they_stand_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_counts, "COMPACT_OCTETS", 10)
    bench = Bench()
    bench.disk.errors = {"create": errno.ENOSPC}
    with capturedLogs() as logged:
        bench.counts.counted(ONE, DAY)
        bench.clock.advance(WRITE_SECONDS)
        bench.counts.counted(ONE, DAY)
        bench.clock.advance(WRITE_SECONDS)
    assert len(logged) == 1  # the second time it was too early
    assert counts(bench.again()) == {(DAY, "a.example"): (RECORD, [(ROW, 2)], 0)}


def test_days_that_are_over_leave_nothing_of_what_found_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmarc_counts, "COMPACT_OCTETS", 10)
    bench = Bench(limit=0)
    for day in range(DAY, DAY + 5):
        bench.counts.counted(Counted(f"{day}.example", RECORD, ROW), day)
        bench.clock.advance(WRITE_SECONDS)
        bench.counts._file._compact_at = 10
    (lines,) = [bench.disk.read(PATH, 0, 1 << 20)]
    assert [f"{day}.example".encode() in lines for day in range(DAY, DAY + 5)] == [False, False, False, True, True]


STEPS = st.lists(st.tuples(
    st.sampled_from(["count", "count", "count", "remove", "wait", "crash", "close"]), st.integers(0, 2),
    st.integers(0, 3),
), max_size=25)


@given(STEPS, st.sampled_from([LIMIT, 1500]))
@example(
    [("count", 0, 0), ("count", 2, 0), ("wait", 0, 0), ("crash", 0, 0), ("count", 1, 0), ("remove", 0, 0),
     ("wait", 0, 0), ("count", 1, 0), ("wait", 0, 0)],
    1500,
)
def test_whatever_happens_it_counts_what_was_counted(steps: list[tuple[str, int, int]], limit: int) -> None:
    """``kept`` lines are on the disk, ``new`` ones on their way."""
    bench = Bench(limit)
    bench.counts._file._compact_at = 700
    kept: list[tuple[str, int, int]] = []
    new: list[tuple[str, int, int]] = []
    for step, day, number in steps:
        match step:
            case "count":
                row = attrs.evolve(ROW, source_ip=str(number))
                bench.counts.counted(Counted("a.example", RECORD, row), day)
                new.append((step, day, number))
            case "remove":
                bench.counts.removed(day, "a.example")
                new.append((step, day, number))
            case "crash":
                new = []
                bench.again()
                bench.counts._file._compact_at = 700
            case _:
                bench.clock.advance(WRITE_SECONDS)
                kept += new
                new = []
    tallies = Tallies(limit)
    for step, day, number in kept:
        if step == "count":
            tallies.count(Counted("a.example", RECORD, attrs.evolve(ROW, source_ip=str(number))), day)
        else:
            tallies.remove(day, "a.example")
    found = bench.again()
    assert {key: sum(n for _, n in one[1]) + one[2] for key, one in counts(found).items()} == {
        key: sum(n for _, n in one[1]) + one[2] for key, one in counts(tallies).items()
    }
    if limit == LIMIT:
        assert {key: dict(one[1]) for key, one in counts(found).items()} == {
            key: dict(one[1]) for key, one in counts(tallies).items()
        }


def test_the_names_of_reports() -> None:
    assert REPORT.match("gw.example!a.example!1699920000!1700006399!7f.xml.gz")
    assert not REPORT.match("counts.jsonl")
