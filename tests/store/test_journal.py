"""The journal: lines of JSON in batches, rotated; what it loses it counts, and it never raises."""

import errno
import itertools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.mail.event import Connected, Event, Queued, Removed, Started
from mailgw.store.journal import FLUSH_OCTETS, MOST_OCTETS, Journal, JournalFile, JournalSettings
from tests.tables import each

DAY = 86_400.0
NOW = 20_000 * DAY + 3_600.25  # an hour after a midnight
QUEUED = Queued("s1", "q1", "192.0.2.1", "", "ann@example.org", ("bob@example.net", "c@example.net"), 5, 0.12345678)


class InlineThreads(Clock):
    """A reactor whose threads do their work when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.work: list[Callable[[], object]] = []

    def callInThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self.work.append(lambda: callable(*args, **kwargs))

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        callable(*args, **kwargs)

    def do_work(self) -> int:
        work, self.work = self.work, []
        for one in work:
            one()
        return len(work)

    def turn(self) -> None:
        self.advance(0.1)
        self.do_work()


class SulkyDisk(Disk):
    refuses = False
    takes_octets = 0  # before it refuses
    is_readable = True

    def read(self, path: str, offset: int, limit_octets: int) -> bytes:
        if not self.is_readable:
            raise PermissionError(errno.EACCES, "Permission denied")
        return super().read(path, offset, limit_octets)

    def write(self, descriptor: int, chunks: Sequence[bytes]) -> None:
        if self.refuses:
            if self.takes_octets:
                super().write(descriptor, [b"".join(chunks)[: self.takes_octets]])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, chunks)


class World:
    def __init__(self, path: Path, octets: int = 0, seconds: float = 0.0, keep: int = 2, name: str | None = "") -> None:
        self.now = NOW
        self.path = path / "journal.jsonl"
        self.reactor = InlineThreads()
        self.disk = SulkyDisk()
        settings = JournalSettings(str(self.path) if name == "" else name, octets, seconds, keep)
        self.journal = Journal(settings, self.reactor, lambda: self.now, self.disk)
        self.logged: list[Any] = []
        self.journal._log = Logger(observer=self.logged.append)  # type: ignore[misc]  # only here

    def note(self, event: Event = QUEUED) -> None:
        self.journal.note(event)
        self.reactor.turn()

    def close(self) -> None:
        ended: list[object] = []
        Deferred.fromCoroutine(self.journal.close()).addBoth(ended.append)
        while self.reactor.do_work():
            pass
        assert ended == [None]

    def facts(self, suffix: str = "") -> list[Any]:
        return [json.loads(line) for line in Path(f"{self.path}{suffix}").read_bytes().splitlines()]

    def names(self) -> list[str]:
        return sorted(os.listdir(self.path.parent))


def test_a_fact_is_a_line_without_its_empty_fields(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.note(QUEUED)
    world.now += 1.0
    world.note(Removed("", 0))
    assert world.facts() == [
        {"time": "2024-10-04T01:00:00.250Z", "event": "queued", "session_id": "s1", "queue_id": "q1",
         "peer": "192.0.2.1", "reverse_path": "ann@example.org", "recipients": ["bob@example.net", "c@example.net"],
         "size_octets": 5, "seconds": 0.123457},
        {"time": "2024-10-04T01:00:01.250Z", "event": "removed", "recipients": 0}]
    assert list(world.facts()[0])[:2] == ["time", "event"]
    assert world.path.stat().st_mode & 0o777 == 0o600


def test_facts_of_any_shape(tmp_path: Path) -> None:
    @attrs.frozen
    class Bare(Event):
        name: ClassVar[str] = "bare"

    @attrs.frozen
    class Single(Event):
        name: ClassVar[str] = "single"
        value: Any

    world = World(tmp_path)
    for event in (Bare(), Single("x"), Single(None), Single("a\udcffb\n"), Single(("\udcff", 1)),
                  Single({"k": "\udcff"}), Started("h", "1", ())):
        world.note(event)
    world.note(Single(object()))
    assert [fact.get("value") for fact in world.facts()] == [
        None, "x", None, "a\\udcffb\n", ["\\udcff", 1], {"k": "\\udcff"}, None]
    assert world.journal.lost == 1
    assert len(world.logged) == 1


def test_lines_are_written_in_batches(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(3):
        world.journal.note(QUEUED)
    world.reactor.advance(0.09)
    assert world.reactor.work == []
    world.reactor.advance(0.02)
    assert len(world.reactor.work) == 1
    world.journal.note(QUEUED)  # while the batch is being written
    world.reactor.advance(0.1)
    assert len(world.reactor.work) == 1
    world.reactor.do_work()
    assert len(world.facts()) == 3
    world.reactor.turn()
    assert len(world.facts()) == 4


def test_much_is_written_at_once_and_too_much_is_dropped(tmp_path: Path) -> None:
    world = World(tmp_path)
    big = Connected("s" * 10_000, "mx", "p", 1)
    while not world.reactor.work:
        world.journal.note(big)
    assert world.journal._lines.size_octets == 0
    for _ in range(FLUSH_OCTETS // 10_000 + 2):
        world.journal.note(big)
    world.reactor.do_work()
    assert len(world.reactor.work) == 1  # the next batch went on at once
    for _ in range(MOST_OCTETS // 10_000 + 2):
        world.journal.note(big)
    assert world.journal.lost > 0
    assert len(world.logged) == 1
    world.close()


def test_closing_writes_what_is_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal.note(QUEUED)
    world.reactor.advance(0.1)
    world.journal.note(QUEUED)
    world.close()
    assert len(world.facts()) == 2
    world.journal.note(QUEUED)
    world.close()
    assert world.reactor.getDelayedCalls() == []
    assert len(world.facts()) == 2


def test_closing_with_nothing_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.note()
    world.close()
    assert len(world.facts()) == 1


def test_rotated_by_size(tmp_path: Path) -> None:
    world = World(tmp_path, octets=600)
    for number in range(8):
        world.note(Removed(f"q{number}" + "x" * 100, 1))
    assert world.names() == ["journal.jsonl", "journal.jsonl.1", "journal.jsonl.2"]
    assert [f["queue_id"][:2] for s in (".2", ".1", "") for f in world.facts(s)] == [f"q{n}" for n in range(8)]
    for number in range(8):
        world.note(Removed(f"r{number}" + "x" * 100, 1))
    assert world.names() == ["journal.jsonl", "journal.jsonl.1", "journal.jsonl.2"]


def test_rotated_at_midnight_over_restarts_too(tmp_path: Path) -> None:
    world = World(tmp_path, seconds=DAY, keep=1)
    world.note()
    world.now += DAY / 2
    world.note()
    assert world.names() == ["journal.jsonl"]
    world.now += DAY / 2
    world.note()
    assert world.names() == ["journal.jsonl", "journal.jsonl.1"]
    assert len(world.facts(".1")) == 2
    world.close()
    os.utime(world.path, (NOW, NOW))
    again = World(tmp_path, seconds=DAY, keep=0)
    again.note()
    again.now += DAY
    again.note()
    assert len(again.facts()) == 1
    assert len(again.facts(".1")) == 2


def test_reopened_after_somebody_renamed_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.note()
    world.path.rename(f"{world.path}.old")
    world.note()
    world.journal.reopen()
    world.note()
    assert (len(world.facts(".old")), len(world.facts())) == (2, 1)


def test_a_disk_that_refuses_costs_facts_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.disk.refuses = True
    for _ in range(5):
        world.note()
    assert (world.journal.lost, len(world.logged)) == (5, 1)
    world.reactor.advance(60.0)
    world.note()
    assert (world.journal.lost, len(world.logged)) == (6, 2)
    world.disk.refuses = False
    world.note()
    assert len(world.facts()) == 1


@each(("takes_octets", "is_readable"), itertools.product([1, 30, 10_000], [True, False]))
def test_half_a_line_stays_alone(tmp_path: Path, takes_octets: int, is_readable: bool) -> None:
    folder = tmp_path / f"{takes_octets}-{is_readable}"
    folder.mkdir()
    world = World(folder)
    world.note(Removed("q1", 1))
    world.disk.is_readable = is_readable
    world.disk.refuses, world.disk.takes_octets = True, takes_octets
    world.note(Removed("q2", 1))
    world.note(Removed("q3", 1))
    world.disk.refuses = False
    world.note(Removed("q4", 1))
    world.note(Removed("q5", 1))
    whole = [line for line in world.path.read_bytes().splitlines() if line.endswith(b"}")]
    found = [json.loads(line)["queue_id"] for line in whole]
    assert found == (["q1", "q2", "q3", "q4", "q5"] if takes_octets == 10_000 else ["q1", "q4", "q5"])
    assert world.journal.lost == 2
    if is_readable:
        assert b"\n\n" not in world.path.read_bytes() or takes_octets == 1


def test_half_a_line_of_a_crash_stays_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.path.write_bytes(b'{"time"')
    world.note(Removed("q1", 1))
    half, whole = world.path.read_bytes().splitlines()
    assert (half, json.loads(whole)["queue_id"]) == (b'{"time"', "q1")


def test_a_new_file_does_not_begin_with_an_empty_line(tmp_path: Path) -> None:
    world = World(tmp_path, octets=20)
    world.path.write_bytes(b'{"time"')
    world.note(Removed("q1", 1))
    assert len(world.facts()) == 1


def test_standard_output_that_refuses_half_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path, name="-")
    world.disk.refuses, world.disk.takes_octets = True, 5
    world.note(Removed("q1", 1))
    world.disk.refuses = False
    world.note(Removed("q2", 1))
    world.note(Removed("q3", 1))
    half, *whole = capfd.readouterr().out.splitlines()
    assert half == '{"tim'
    assert [json.loads(line)["queue_id"] for line in whole] == ["q2", "q3"]


def test_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path, name="-")
    world.note(Removed("q1", 1))
    assert json.loads(capfd.readouterr().out)["queue_id"] == "q1"
    world.disk.refuses = True
    world.note(Removed("q2", 1))
    assert world.journal.lost == 1
    world.close()


def test_no_journal(tmp_path: Path) -> None:
    world = World(tmp_path, name=None)
    world.note()
    world.close()
    assert world.names() == []


def test_several_write_one_file_and_rotate_it_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = JournalSettings(str(path), 100, 0.0, 20, is_shared=True)
    files = [JournalFile(settings, lambda: NOW, Disk()) for _ in range(3)]
    lines = [f'{{"n":{number:02}}}\n'.encode() for number in range(60)]
    for number, line in enumerate(lines):
        files[number % 3].write(line)
    # 12 lines of 9 octets are 108: 11 a file, whoever wrote them.
    assert sorted(os.listdir(tmp_path)) == ["journal.jsonl", *(f"journal.jsonl.{n}" for n in range(1, 6))]
    written = [Path(f"{path}.{n}").read_bytes() for n in range(5, 0, -1)] + [path.read_bytes()]
    assert {one.count(b"\n") for one in written[:-1]} == {11}
    assert b"".join(written) == b"".join(lines)


def test_a_shared_file_that_somebody_took_away_is_made_anew_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = JournalSettings(str(path), 0, 0.0, 2, is_shared=True)
    one, two = (JournalFile(settings, lambda: NOW, Disk()) for _ in range(2))
    one.write(b"1\n")
    two.write(b"2\n")
    path.rename(tmp_path / "old")
    one.write(b"3\n")
    two.write(b"4\n")
    path.unlink()
    two.write(b"5\n")
    assert ((tmp_path / "old").read_bytes(), path.read_bytes()) == (b"1\n2\n", b"5\n")


def test_what_another_process_left_half_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    file = JournalFile(JournalSettings(str(path), 0, 0.0, 2, is_shared=True), lambda: NOW, Disk())
    file.write(b"1\n")
    with path.open("ab") as other:
        other.write(b"half")
    file.write(b"2\n")
    assert path.read_bytes() == b"1\nhalf\n2\n"


def test_processes_that_write_at_once_lose_no_line_and_tear_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    settings = JournalSettings(str(path), 20_000, 0.0, 50, is_shared=True)
    children = []
    for child in range(3):
        pid = os.fork()
        if not pid:
            try:
                file = JournalFile(settings, lambda: NOW, Disk())
                for batch in range(100):
                    file.write(b"".join(b"%d %d %d %s\n" % (child, batch, n, b"x" * 50) for n in range(10)))
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    lines = b"".join(file.read_bytes() for file in tmp_path.iterdir()).splitlines()
    assert len(lines) == len(set(lines)) == 3000
    assert {len(line.split()) for line in lines} == {4}
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 20_000
