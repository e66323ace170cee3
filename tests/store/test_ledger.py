"""A ledger says why it cannot be used, and when it can be again."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.store.database import Schema
from mailgw.store.ledger import TRY_SECONDS, Job, Ledger
from mailgw.store.state_file import Workshop
from tests.tables import each

Turn = Callable[[Ledger, sqlite3.Connection], None]

SCHEMA: Final = Schema(1, ("CREATE TABLE word (word TEXT NOT NULL)",))


def put(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO word VALUES ('a')")


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM word").fetchone()[0])


def full(connection: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def wrong(connection: sqlite3.Connection) -> None:
    raise KeyError("what was asked")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Ledger:
    workshop = Workshop(None, clock, None)  # type: ignore[arg-type] # it has one thread, and that is the test's
    workshop.do = execute  # type: ignore[method-assign]
    return Ledger(str(tmp_path / "words.sqlite"), SCHEMA, workshop)


def result_of(done: "Deferred[Any]") -> Any:
    found: list[Any] = []
    done.addBoth(found.append)  # type: ignore[unused-awaitable] # it is there
    [result] = found
    if isinstance(result, Failure):
        result.raiseException()
    return result


def close(ledger: Ledger) -> None:
    result_of(Deferred.fromCoroutine(ledger.close()))


def refused(ledger: Ledger, job: Job[Any], is_look: bool = False) -> None:
    with pytest.raises(TemporaryFault):
        result_of(ledger.look(job) if is_look else ledger.do(job))


def test_a_file_that_is_no_database_is_told_of_until_it_is_one(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    path.write_bytes(b"garbage, and no database at all" * 100)
    with capturedLogs() as logged:
        for _ in range(3):
            refused(ledger, put)
            refused(ledger, count, is_look=True)
            assert ledger.fault == f"{path}: file is not a database"
        path.unlink()
        result_of(ledger.do(put))
        assert ledger.fault == ""
        assert result_of(ledger.look(count)) == 1
    assert [formatEvent(one) for one in logged] == [
        f"{path}: file is not a database: it is not used, until it can be again", f"{path} can be used again"]


def test_a_look_that_goes_well_does_not_say_that_it_can_be_written(ledger: Ledger) -> None:
    result_of(ledger.do(put))
    refused(ledger, full)
    assert result_of(ledger.look(count)) == 1
    assert "full" in ledger.fault
    result_of(ledger.do(put))
    assert ledger.fault == ""
    refused(ledger, full, is_look=True)
    assert "full" in ledger.fault
    result_of(ledger.look(count))
    assert ledger.fault == ""


def test_what_somebody_asked_wrongly_is_no_fault_of_the_disk(ledger: Ledger) -> None:
    with pytest.raises(KeyError):
        result_of(ledger.do(wrong))
    assert ledger.fault == ""


def lock(ledger: Ledger, other: sqlite3.Connection) -> None:
    ledger._open().execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN EXCLUSIVE")


def unlock(ledger: Ledger, other: sqlite3.Connection) -> None:
    other.execute("ROLLBACK")


def to_read_only(ledger: Ledger, other: sqlite3.Connection) -> None:
    ledger._open().execute("PRAGMA query_only = ON")


def to_write(ledger: Ledger, other: sqlite3.Connection) -> None:
    ledger._open().execute("PRAGMA query_only = OFF")


@each(("shut", "opened"), [(lock, unlock), (to_read_only, to_write)])
def test_what_was_refused_is_tried_again_though_nobody_writes(
    ledger: Ledger, clock: Clock, tmp_path: Path, shut: Turn, opened: Turn
) -> None:
    result_of(ledger.do(put))
    with closing(sqlite3.connect(tmp_path / "words.sqlite", isolation_level=None)) as other, capturedLogs() as logged:
        shut(ledger, other)
        refused(ledger, put)
        clock.pump([TRY_SECONDS] * 3)
        assert ledger.fault
        opened(ledger, other)
        assert ledger.fault
        clock.advance(TRY_SECONDS)
        assert ledger.fault == ""
    assert len(logged) == 2
    assert not clock.getDelayedCalls()


def test_what_could_not_be_opened_for_a_look_is_tried_again(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    path.write_bytes(b"garbage, and no database at all" * 100)
    with capturedLogs():
        refused(ledger, count, is_look=True)
        path.unlink()
        clock.advance(TRY_SECONDS)
    assert ledger.fault == ""


def test_a_try_writes(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    result_of(ledger.do(put))
    log = tmp_path / "words.sqlite-wal"
    before = log.stat().st_size
    with capturedLogs():
        refused(ledger, full)
        clock.advance(TRY_SECONDS)
    assert log.stat().st_size > before
    assert (ledger.fault, result_of(ledger.look(version))) == ("", SCHEMA.version)


def test_what_is_damaged_is_not_well_for_a_write_elsewhere(ledger: Ledger, clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    result_of(ledger.do(put))
    close(ledger)
    with path.open("r+b") as file:
        file.seek(4096)  # the table; what says that there is one is in the page before
        file.write(b"\xff" * 4096)
    ledger = Ledger(str(path), SCHEMA, ledger._workshop)
    with capturedLogs():
        refused(ledger, put)
        clock.pump([TRY_SECONDS] * 3)
    assert ledger.fault == f"{path}: database disk image is malformed"


def test_nothing_is_tried_after_the_end(ledger: Ledger, clock: Clock) -> None:
    with capturedLogs():
        refused(ledger, full)
    close(ledger)
    assert not clock.getDelayedCalls()
