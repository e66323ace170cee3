"""The spool on SQLite keeps the promises of a spool, over restarts and full disks too."""

import errno
import functools
import math
import os
import sqlite3
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import ConfigError, LocalProtocolError, TemporaryFault
from mailgw.mail.message import Agenda, Destination, Finished, Notice, Postponed, Query, QueuedRecipient, RowState
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS
from mailgw.mail.ports import Spool
from mailgw.spool.batch import Call
from mailgw.spool.records import _DUE, _NEXT_PRIORITY, _NEXT_SENDER, _OF_SENDER, _due_messages
from mailgw.spool.schema import STEPS, connect_writer, migrate, schema_version
from mailgw.spool.search import _ALL_DUE_LANES, _DUE_AFTER, _NEWLY_DUE_LANES, _NEXT_DUE, _NEXT_LATE, agenda
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool, open_offline
from tests.spool.contract import (
    ANN,
    ANYTHING,
    ARRIVAL,
    ASKED,
    BOB,
    BOUNCE,
    LEASE_SECONDS,
    TO_ALL,
    TO_BOB,
    SpoolContract,
    commit,
    due_lanes,
    finished,
    octets_of,
    queued,
)
from tests.spool.reactor import ThreadedClock
from tests.tables import each

T = TypeVar("T")

RESERVE = 1_000_000
INDICES = ("waiting", "leased", "by_due", "by_sender", "late")


class FillableDisk(Disk):
    """A disk whose free space is said, and which may refuse to write."""

    def __init__(self) -> None:
        self.free = 10 * RESERVE
        self.refusal: OSError | None = None
        self.refused_step = ""

    def free_octets(self, path: str) -> int:
        if self.refused_step == "free_octets" and self.refusal:
            raise self.refusal
        return self.free

    def write(self, descriptor: int, chunks: Any) -> None:
        if self.refused_step == "write" and self.refusal:
            raise self.refusal
        super().write(descriptor, chunks)

    def sync(self, descriptor: int) -> None:
        if self.refused_step == "sync" and self.refusal:
            raise self.refusal
        super().sync(descriptor)

    def read(self, path: str, offset: int, limit_octets: int) -> bytes:
        if self.refused_step == "read" and self.refusal:
            raise self.refusal
        return super().read(path, offset, limit_octets)

    def refuse(self, step: str, number: int) -> None:
        self.refused_step, self.refusal = step, OSError(number, os.strerror(number))


class SqliteWorld:
    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.5
        self.folder = folder
        self.reactor = ThreadedClock()
        self.disk = FillableDisk()
        self.sqlite = self.open()

    @property
    def spool(self) -> Spool:
        return self.sqlite

    def settings(self) -> SpoolSettings:
        return SpoolSettings(str(self.folder / "spool"), RESERVE, 65536, LEASE_SECONDS, "a", 14400.0)

    def open(self) -> SqliteSpool:
        return SqliteSpool.open(self.settings(), self.reactor, lambda: self.now, self.disk)

    def reopen(self) -> None:
        self.run(self.sqlite.close())
        self.sqlite = self.open()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.reactor.wait_for(coroutine)

    def fill(self) -> None:
        self.disk.free = RESERVE - 1
        self.reactor.advance(2.0)

    def empty(self) -> None:
        self.disk.free = 10 * RESERVE
        self.reactor.advance(2.0)

    def files(self) -> list[str]:
        """Bodies and drafts on the disk after a restart, when all threads have done their work."""
        self.reopen()
        self.run(self.sqlite.close())
        spool = self.folder / "spool"
        files = [str(path.relative_to(spool)) for path in sorted(spool.glob("*/**/*")) if path.is_file()]
        self.sqlite = self.open()
        return files


@functools.cache
def empty() -> bytes:
    """A database as it is made: its tables take longer than what most tests do with them."""
    with tempfile.TemporaryDirectory() as folder:
        world = SqliteWorld(Path(folder))
        world.run(world.sqlite.close())
        return (world.folder / "spool" / "queue.sqlite").read_bytes()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SqliteWorld]:
    (tmp_path / "spool").mkdir(0o700)
    (tmp_path / "spool" / "queue.sqlite").write_bytes(empty())
    world = SqliteWorld(tmp_path)
    yield world
    world.run(world.sqlite.close())


class TestSqlite(SpoolContract):
    pass


# --- restarts -----------------------------------------------------------------------------------------

def test_a_restart_ends_leases_and_keeps_everything(world: SqliteWorld) -> None:
    commit(world, b"small", TO_ALL)
    commit(world, SpoolContract.LARGE)
    world.now += 5.0
    world.reopen()
    assert due_lanes(world) == [("home", world.now), ("out/example.net", world.now)]
    claims = world.run(world.spool.claim("out/example.net", 10))
    assert [octets_of(world, claim) for claim in claims] == [b"small", SpoolContract.LARGE]
    assert [str(r.recipient) for r in claims[0].recipients] == [str(d.recipient) for d in TO_ALL[::2]]


def test_queue_ids_differ_between_starts_though_the_clock_does_not(world: SqliteWorld) -> None:
    first = world.spool.draft().queue_id
    world.reopen()
    assert world.spool.draft().queue_id != first


def test_the_database_is_as_safe_as_it_is_meant_to_be(tmp_path: Path) -> None:
    world = SqliteWorld(tmp_path)
    with sqlite3.connect(world.folder / "spool" / "queue.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert connect_writer(str(world.folder / "other")).execute("PRAGMA synchronous").fetchone() == (2,)
    assert (world.folder / "spool").stat().st_mode & 0o777 == 0o700
    connection.close()
    world.run(world.sqlite.close())


def test_another_process_is_kept_out(world: SqliteWorld) -> None:
    with pytest.raises(TemporaryFault, match=rf"in use by process {os.getpid()}"):
        world.open()
    with pytest.raises(TemporaryFault, match="in use"):
        open_offline(world.settings(), lambda: world.now)


def test_a_folder_that_cannot_be_used_is_a_clear_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = SpoolSettings(str(tmp_path / "file"), 0, 1, 1.0, "a", 14400.0)
    with pytest.raises(TemporaryFault, match="cannot be opened"):
        SqliteSpool.open(settings, ThreadedClock(), lambda: 0.0)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "queue.sqlite").write_bytes(b"no database" * 1000)
    settings = SpoolSettings(str(tmp_path / "spool"), 0, 1, 1.0, "a", 14400.0)
    with pytest.raises(TemporaryFault, match="cannot be opened"):
        SqliteSpool.open(settings, ThreadedClock(), lambda: 0.0)


def test_a_closed_spool_takes_nothing(world: SqliteWorld) -> None:
    draft, other = world.spool.draft(), world.spool.draft()
    (claim,) = commit(world, b"x")
    world.run(world.spool.close())
    other.write(SpoolContract.LARGE)
    for attempt in (
        draft.commit(ARRIVAL, TO_BOB, True), other.commit(ARRIVAL, TO_BOB, True), other.drained(),
        world.spool.search(ANYTHING, 1), world.spool.record(claim, [Finished(1)]), world.spool.claim("x", 1),
    ):
        with pytest.raises(TemporaryFault):
            world.run(attempt)
    with pytest.raises(TemporaryFault):
        world.spool.draft()
    world.run(world.spool.close())
    world.sqlite = world.open()


def test_closing_commits_what_is_pending(world: SqliteWorld) -> None:
    (claim,) = commit(world, b"x")
    draft = world.spool.draft()
    draft.write(b"y")
    world.reactor.wait_for_all([
        world.spool.record(claim, [Finished(1)]), draft.commit(ARRIVAL, TO_BOB, True), world.spool.close()])
    world.sqlite = world.open()
    assert [row.queue_id for row in world.run(world.spool.search(ANYTHING, 5))] == [draft.queue_id]


# --- drafts and files ---------------------------------------------------------------------------------

def test_large_bodies_are_files_for_as_long_as_their_message_is_queued(world: SqliteWorld) -> None:
    (claim,) = commit(world, SpoolContract.LARGE)
    queue_id = claim.message.queue_id
    assert world.files() == [f"bodies/{queue_id[11:13]}/{queue_id}"]
    (claim,) = world.run(world.spool.claim("out/example.net", 1))
    world.run(world.spool.record(claim, finished(claim)))
    assert world.files() == []


def test_a_large_notice_is_a_file_for_as_long_as_it_is_queued(world: SqliteWorld) -> None:
    (claim,) = commit(world, b"x")
    notice = Notice(claim.message.queue_id + "b1", BOUNCE, SpoolContract.LARGE, (Destination(ANN, "home"),))
    world.disk.refuse("sync", errno.EIO)
    with pytest.raises(TemporaryFault):
        world.run(world.spool.record(claim, [Finished(1)], [notice]))
    assert queued(world) == [str(BOB)]
    world.disk.refusal = None
    (bounce,) = world.run(world.spool.record(claim, [Finished(1)], [notice]))
    assert bounce.message.content.octets is None
    assert len(world.files()) == 1
    (bounce,) = world.run(world.spool.claim("home", 1))
    assert octets_of(world, bounce) == SpoolContract.LARGE
    world.run(world.spool.record(bounce, finished(bounce)))
    assert world.files() == []


def test_a_large_notice_that_comes_to_nothing_is_swept(world: SqliteWorld) -> None:
    (claim,) = commit(world, b"x")
    notice = Notice(claim.message.queue_id + "b1", BOUNCE, SpoolContract.LARGE, (Destination(ANN, "home"),))
    world.run(world.spool.remove(ANYTHING))
    assert world.run(world.spool.record(claim, [Finished(1)], [notice])) == ()
    assert world.files() == []


@pytest.mark.parametrize("writes", [1, 5])
def test_discarded_and_forgotten_drafts_leave_no_file(world: SqliteWorld, writes: int) -> None:
    draft, forgotten = world.spool.draft(), world.spool.draft()
    for _ in range(writes):
        draft.write(SpoolContract.LARGE)
        forgotten.write(SpoolContract.LARGE)
    assert draft.backlog_octets > 0
    draft.discard()
    assert draft.backlog_octets == 0
    draft.write(b"too late")
    world.run(draft.drained())
    world.run(forgotten.drained())
    assert forgotten.backlog_octets == 0
    assert world.files() == []


def test_a_draft_is_committed_once(world: SqliteWorld) -> None:
    draft = world.spool.draft()
    world.run(draft.commit(ARRIVAL, TO_BOB, True))
    with pytest.raises(LocalProtocolError):
        world.run(draft.commit(ARRIVAL, TO_BOB, True))


@pytest.mark.parametrize("octets", [b"small", SpoolContract.LARGE], ids=["small", "large"])
def test_a_commit_that_is_cancelled_late_is_whole_or_nothing(world: SqliteWorld, octets: bytes) -> None:
    draft = world.spool.draft()
    draft.write(octets)
    world.run(draft.drained())
    waiting = Deferred.fromCoroutine(draft.commit(ARRIVAL, TO_BOB, True))
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    draft.discard()
    commit(world, b"another")
    world.reopen()
    contents = [octets_of(world, claim) for claim in world.run(world.spool.claim("out/example.net", 5))]
    assert contents in ([octets, b"another"], [b"another"])


def test_bodies_without_a_message_are_swept_at_the_next_start(world: SqliteWorld) -> None:
    (claim,) = commit(world, SpoolContract.LARGE)
    world.reopen()
    folder = world.folder / "spool" / "bodies" / "77"
    folder.mkdir()
    (folder / "0000000000077000a").write_bytes(b"orphan")
    (world.folder / "spool" / "drafts" / "old").write_bytes(b"half")
    assert len(world.files()) == 1
    assert world.run(world.spool.content(claim.message.queue_id, 5)) == SpoolContract.LARGE[:5]


def test_a_torn_or_missing_body_is_never_handed_on(world: SqliteWorld) -> None:
    (claim,) = commit(world, SpoolContract.LARGE)
    queue_id = claim.message.queue_id
    body = world.folder / "spool" / "bodies" / queue_id[11:13] / queue_id
    world.disk.refuse("read", errno.EIO)
    with pytest.raises(TemporaryFault):
        octets_of(world, claim)
    with pytest.raises(TemporaryFault):
        world.run(world.spool.content(queue_id, 5))
    world.disk.refusal = None
    body.write_bytes(SpoolContract.LARGE[:-1])
    with pytest.raises(TemporaryFault, match="ends after"):
        octets_of(world, claim)
    body.unlink()
    with pytest.raises(TemporaryFault):
        octets_of(world, claim)


# --- trouble ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("step", "number", "code"), [
    ("write", errno.ENOSPC, "452 4.3.1"), ("write", errno.EIO, "451 4.3.0"),
    ("sync", errno.EDQUOT, "452 4.3.1"), ("sync", errno.EIO, "451 4.3.0")])
def test_a_disk_that_refuses_a_large_body(world: SqliteWorld, step: str, number: int, code: str) -> None:
    draft = world.spool.draft()
    world.disk.refuse(step, number)
    draft.write(SpoolContract.LARGE)
    draft.write(SpoolContract.LARGE)
    if step == "write":
        with pytest.raises(TemporaryFault):
            world.run(draft.drained())
        assert draft.backlog_octets == 0
        draft.write(b"ignored")
    with pytest.raises(TemporaryFault) as caught:
        world.run(draft.commit(ARRIVAL, TO_BOB, True))
    assert str(caught.value.reply).startswith(code)
    draft.discard()
    world.disk.refusal = None
    assert queued(world) == []
    assert world.files() == []


def test_room_is_looked_for_while_a_large_body_grows(world: SqliteWorld) -> None:
    draft = world.spool.draft()
    draft.write(SpoolContract.LARGE)
    world.run(draft.drained())
    world.disk.free = RESERVE - 1
    draft.write(SpoolContract.LARGE * 4)
    with pytest.raises(TemporaryFault) as caught:
        world.run(draft.commit(ARRIVAL, TO_BOB, True))
    assert caught.value.reply.code == 452
    assert world.files() == []


def test_a_disk_that_does_not_say_its_space_has_none(world: SqliteWorld) -> None:
    world.disk.refuse("free_octets", errno.EIO)
    world.reactor.advance(1.0)
    assert not world.spool.room()


@pytest.mark.parametrize("octets", [b"x" * 50_000, SpoolContract.LARGE], ids=["small", "large"])
def test_a_full_database_answers_452_and_goes_on_when_there_is_room(world: SqliteWorld, octets: bytes) -> None:
    (claim,) = commit(world, b"before", TO_ALL)[:1]
    limit_pages(world, 0)
    drafts = [world.spool.draft() for _ in range(3)]
    for draft in drafts:
        for _ in range(20 if octets is SpoolContract.LARGE else 1):
            draft.write(octets)
    many = tuple(Destination(Mailbox(f"u{n}", "example.net"), "out/example.net") for n in range(500))
    for draft in drafts:
        with pytest.raises(TemporaryFault) as caught:
            world.run(draft.commit(ARRIVAL, many, True))
        assert str(caught.value.reply).startswith("452 4.3.1 ")
    world.run(world.spool.record(claim, finished(claim)))
    assert queued(world) == [str(ANN)]
    limit_pages(world, 1_000_000)
    commit(world, octets)
    assert queued(world) == [str(ANN), str(BOB)]
    assert len(world.files()) == (octets is SpoolContract.LARGE)


def limit_pages(world: SqliteWorld, pages: int) -> None:
    """No more than so many pages, or as many as there are."""
    world.run(as_coroutine(world.sqlite._writer.submit(Call(
        lambda connection, _: connection.execute(f"PRAGMA max_page_count = {max(pages, 1)}").fetchall()))))


async def as_coroutine(deferred: Deferred[T]) -> T:
    return await deferred


def test_a_job_that_fails_spoils_no_other(world: SqliteWorld) -> None:
    def fail(connection: sqlite3.Connection, _: list[str]) -> None:
        connection.execute("DELETE FROM recipient")
        connection.execute("SELECT nosuch")

    draft = world.spool.draft()
    draft.write(b"x")

    async def failing() -> str:
        try:
            await world.sqlite._writer.submit(Call(fail))
        except TemporaryFault as fault:
            return str(fault)
        return ""

    async def commit_beside() -> str:
        (claim,) = await draft.commit(ARRIVAL, TO_BOB, True)
        return claim.message.queue_id

    results = world.reactor.wait_for_all([failing(), commit_beside(), failing()])
    assert results[1] == draft.queue_id
    assert "nosuch" in results[0]
    assert queued(world) == [str(BOB)]


def test_a_bug_of_ours_is_a_fault_and_is_logged(world: SqliteWorld) -> None:
    events: list[Any] = []
    world.sqlite._writer._log = Logger(observer=events.append)  # type: ignore[misc]  # only here
    with pytest.raises(TemporaryFault):
        world.run(as_coroutine(world.sqlite._writer.submit(Call(lambda connection, _: 1 // 0))))
    assert events[0]["log_failure"].type is ZeroDivisionError


def test_free_pages_are_given_back_when_the_disk_is_full(world: SqliteWorld) -> None:
    for _ in range(10):
        commit(world, b"x" * 60_000)
    world.run(world.spool.remove(ANYTHING))
    database = world.folder / "spool" / "queue.sqlite"
    world.fill()
    world.reactor.advance(10.0)
    world.reopen()
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA freelist_count").fetchone() == (0,)
    connection.close()
    assert database.stat().st_size < 100_000


# --- while no gateway runs ----------------------------------------------------------------------------

def test_offline(world: SqliteWorld) -> None:
    (claim,) = commit(world, b"small")
    commit(world, SpoolContract.LARGE, TO_ALL)
    world.run(world.spool.record(claim, [Postponed(1, world.now + 99.0, 1, "later", False)]))
    world.run(world.spool.close())
    with open_offline(world.settings(), lambda: world.now) as spool:
        rows = spool.search(Query(), 10)
        assert [(row.recipient, row.state) for row in rows[:2]] == [
            (str(BOB), RowState.WAITING), (str(BOB), RowState.WAITING)]
        assert spool.content(rows[0].queue_id, 100) == b"small"
        assert spool.content(rows[1].queue_id, 100) == SpoolContract.LARGE[:100]
        assert spool.content("nosuch", 100) is None
        assert spool.retry(Query(queue_id=rows[0].queue_id)) == 1
        assert spool.search(Query(queue_id=rows[0].queue_id), 1)[0].due == world.now
        assert spool.remove(Query(queue_id=rows[1].queue_id)) == 3
        with pytest.raises(TemporaryFault, match="in use"):
            world.open()
    world.sqlite = world.open()
    assert queued(world) == [str(BOB)]
    assert world.files() == []


def test_offline_without_a_queue(tmp_path: Path) -> None:
    settings = SpoolSettings(str(tmp_path / "none"), 0, 1, 1.0, "a", 14400.0)
    with pytest.raises(TemporaryFault, match="no queue here"):
        open_offline(settings, lambda: 0.0)
    assert not (tmp_path / "none").exists()
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "queue.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(TemporaryFault):
        open_offline(settings, lambda: 0.0)


# --- versions of the schema ---------------------------------------------------------------------------

def test_a_database_is_brought_to_the_newest_version(tmp_path: Path) -> None:
    connection = connect_writer(str(tmp_path / "q"))
    assert schema_version(connection) == 0
    migrate(connection, "q")
    assert schema_version(connection) == len(STEPS)

    def add_a_column(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE message ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE recipient")
        connection.execute("SELECT nosuch")

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, "q", [*STEPS, add_a_column, fail])
    assert schema_version(connection) == len(STEPS)
    migrate(connection, "q", [*STEPS, add_a_column])
    migrate(connection, "q", [*STEPS, add_a_column])
    assert connection.execute("SELECT colour FROM message").fetchall() == []
    assert schema_version(connection) == len(STEPS) + 1
    with pytest.raises(ConfigError, match=r"version \d+, this mailgw knows up to"):
        migrate(connection, "q")
    connection.close()


def test_a_queue_of_version_1_goes_on(world: SqliteWorld) -> None:
    world.run(world.spool.close())
    path = world.folder / "spool" / "queue.sqlite"
    for file in path.parent.glob("queue.sqlite*"):
        file.unlink()
    old = connect_writer(str(path))
    migrate(old, str(path), STEPS[:1])
    for number, token in ((1, None), (2, 7)):
        queue_id = f"60a24181e400{number}011a"
        old.execute(
            "INSERT INTO message VALUES (?, 5.0, 'ann@example.org', '8BITMIME', 4, '192.0.2.1', 'h', '', 'ESMTP', 's',"
            " NULL, ?)", (queue_id, b"body"))
        old.execute(
            "INSERT INTO recipient VALUES (?, 1, 'ann@example.org', 'bob@example.net', 'example.net', 'out', 6.0, 2,"
            " 'busy', 1, ?)", (queue_id, token))
    old.close()
    world.sqlite = world.open()
    claims = world.run(world.spool.claim("out", 5))
    assert [(c.message.arrived, c.message.parameters) for c in claims] == [(5.0, NO_MAIL_PARAMETERS)] * 2
    assert [c.recipients for c in claims] == [
        (QueuedRecipient(1, BOB, 2, True, NO_RCPT_PARAMETERS, due, "busy"),) for due in (6.0, world.now)]
    assert octets_of(world, claims[0]) == b"body"
    commit(world, b"new", parameters=ASKED)
    assert [row.parameters for row in world.run(world.spool.search(ANYTHING, 5))] == ["", "", str(ASKED)]
    for claim in claims:
        world.run(world.spool.record(claim, finished(claim)))
    assert queued(world) == [str(BOB)]


@each("question", [
    _ALL_DUE_LANES, _NEWLY_DUE_LANES, _NEXT_DUE, _NEXT_LATE, _DUE_AFTER, _NEXT_PRIORITY, _DUE, _NEXT_SENDER, _OF_SENDER,
])
def test_lanes_and_claims_look_into_the_index_alone(tmp_path: Path, question: str) -> None:
    connection = connect_writer(str(tmp_path / "q"))
    migrate(connection, "q")
    values = 2 if "?2" in question else 1 if "?1" in question else question.count("?")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {question}", ["x"] * values)]
    looks = [step for step in plan if "recipient" in step or step.split()[1:2] == ["r"]]
    assert len(looks) == len([step for step in looks if any(f"INDEX {name}" in step for name in INDICES)]) > 0
    # The very first lane is the index's first entry: all others are found by what they are.
    assert len([step for step in looks if step.startswith("SCAN")]) == (question in (_ALL_DUE_LANES,))
    assert [step for step in plan if "TEMP B-TREE" in step] == [] or "GROUP BY" in question  # of the lanes found
    connection.close()


def test_a_million_rows_of_a_lane_are_not_read_for_its_earliest(tmp_path: Path) -> None:
    connection = connect_writer(str(tmp_path / "q"))
    migrate(connection, "q")
    connection.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO recipient"
        " SELECT i, 1, '', '', '', 'lane' || (i % 2), 1000 + i, 0, '', 0, NULL, '', i % 3 - 1, NULL FROM n"
    )
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    assert agenda(connection, -math.inf, 9999.0) == Agenda((("lane1", 1001.0), ("lane0", 1002.0)), None, None)
    assert agenda(connection, 1001.0, 1002.0) == Agenda((("lane0", 1002.0),), 1003.0, None)
    assert _due_messages(connection, "lane1", 3, "", 9999.0) == ["5", "11", "1"]
    connection.close()
    assert steps < 1500


def test_who_only_looks_does_not_bring_an_older_queue_up_to_date(world: SqliteWorld) -> None:
    world.run(world.spool.close())
    path = world.folder / "spool" / "queue.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    with pytest.raises(TemporaryFault, match="older version"):
        open_offline(world.settings(), lambda: world.now, to_look=True)
    assert schema_version(connection) == 1
    connection.execute(f"UPDATE meta SET value = '{len(STEPS)}' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    with open_offline(world.settings(), lambda: world.now, to_look=True) as spool:
        assert spool.search(Query(), 1) == []
    world.sqlite = world.open()


def test_a_newer_schema_stops_the_start(world: SqliteWorld) -> None:
    world.run(world.spool.close())
    with sqlite3.connect(world.folder / "spool" / "queue.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(ConfigError):
        world.open()
    with pytest.raises(ConfigError):
        open_offline(world.settings(), lambda: world.now)
    connection.execute(f"UPDATE meta SET value = '{len(STEPS)}' WHERE key = 'schema_version'")
    connection.commit()
    connection.close()
    world.sqlite = world.open()
