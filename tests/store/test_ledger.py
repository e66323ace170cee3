"""A ledger says why it cannot be used, and when it can be again."""

import sqlite3
from pathlib import Path
from typing import Any, Final

import pytest
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.store.database import Schema
from mailgw.store.ledger import Job, Ledger
from mailgw.store.state_file import Workshop

SCHEMA: Final = Schema(1, ("CREATE TABLE word (word TEXT NOT NULL)",))


def put(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO word VALUES ('a')")


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM word").fetchone()[0])


def full(connection: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def wrong(connection: sqlite3.Connection) -> None:
    raise KeyError("what was asked")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    workshop = Workshop(None, Clock(), None)  # type: ignore[arg-type] # it has one thread, and that is the test's
    workshop.do = execute  # type: ignore[method-assign]
    return Ledger(str(tmp_path / "words.sqlite"), SCHEMA, workshop)


def result_of(done: "Deferred[Any]") -> Any:
    found: list[Any] = []
    done.addBoth(found.append)  # type: ignore[unused-awaitable] # it is there
    [result] = found
    if isinstance(result, Failure):
        result.raiseException()
    return result


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
