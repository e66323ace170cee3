"""Recipients in a database: SQLite itself, and a driver whose connections break and hang."""

import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.store import sql_directory
from mailgw.store.directory_settings import SqlSettings
from mailgw.store.sql_directory import SqlDirectory

ANN, BOB = Mailbox("ann", "x.test"), Mailbox("bob", "x.test")
SETTINGS = SqlSettings("sqlite3", {}, None, "SELECT target, backend FROM person WHERE address = {recipient}", 2)


@pytest_twisted.ensureDeferred
async def test_sqlite(tmp_path: Path) -> None:
    path = str(tmp_path / "people.db")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE person (address, target, backend)")
        connection.execute("INSERT INTO person VALUES ('ann@x.test', 'bob@x.test', NULL), ('bob@x.test', NULL, 'here')")
    connection.close()
    directory = SqlDirectory(attrs.evolve(SETTINGS, arguments={"database": path}), reactor)
    try:
        assert await directory.find(ANN) == Found((BOB,))
        assert await directory.find(BOB) == Found((), "here")
        assert await directory.find(Mailbox("carl", "x.test")) is None
    finally:
        await directory.close()


class Driver(ModuleType):
    """A module of the DB-API: connections break when ``break_all`` is called, and hang while ``hangs`` is set."""

    apilevel, paramstyle, threadsafety = "2.0", "qmark", 1

    def __init__(self) -> None:
        super().__init__("driver_of_tests")
        self.opened: list[dict[str, object]] = []
        self.asked = 0
        self.age = 0
        self.hangs = threading.Event()
        self.released = threading.Event()
        self.refuses = False

    def connect(self, **arguments: object) -> "Driven":
        self.opened.append(arguments)
        if self.refuses:
            raise OSError(f"connection refused: {arguments}")
        return Driven(self, self.age)

    def break_all(self) -> None:
        self.age += 1


@attrs.define(eq=False)
class Driven:
    """Its connection, and its cursor."""

    driver: Driver
    age: int

    def cursor(self) -> "Driven":
        return self

    def execute(self, text: str, values: object) -> None:
        self.driver.asked += 1
        if self.driver.hangs.is_set():
            self.driver.released.wait(10)
        if self.age != self.driver.age:
            raise OSError("server closed the connection")
        if values == ("bad@x.test",):
            raise ValueError("syntax\n\t error")

    def fetchmany(self, count: int) -> list[tuple[object, ...]]:
        return [(None,)]

    def commit(self) -> None:
        if self.age != self.driver.age:
            raise OSError("server closed the connection")

    def close(self) -> None:
        if self.age != self.driver.age:
            raise OSError("it was closed already")


@pytest.fixture
def driver() -> Iterator[Driver]:
    made = Driver()
    sys.modules["driver_of_tests"] = made
    yield made
    made.released.set()
    del sys.modules["driver_of_tests"]


def directory_of(connections: int = 1, **settings: Any) -> SqlDirectory:
    query = "SELECT NULL WHERE {recipient}"
    return SqlDirectory(SqlSettings("driver_of_tests", {"host": "db"}, None, query, connections), reactor)


async def trouble(directory: SqlDirectory, recipient: Mailbox = ANN) -> str:
    with pytest.raises(TemporaryFault) as found:
        await directory.find(recipient)
    return found.value.why


@pytest_twisted.ensureDeferred
async def test_a_broken_connection_is_replaced_within_the_same_question(driver: Driver) -> None:
    directory = directory_of()
    assert await directory.find(ANN) == Found()
    driver.break_all()
    assert await directory.find(ANN) == Found()
    assert len(driver.opened) == 2
    driver.break_all()
    driver.refuses = True
    assert await trouble(directory) == "the database: OSError: connection refused: {'host': 'db'}"
    driver.refuses = False
    assert await directory.find(ANN) == Found()
    await directory.close()


@pytest_twisted.ensureDeferred
async def test_a_query_that_fails_on_a_new_connection_is_not_repeated(driver: Driver) -> None:
    directory = directory_of()
    assert await trouble(directory, Mailbox("bad", "x.test")) == "the database: ValueError: syntax error"
    assert (driver.asked, len(driver.opened)) == (1, 1)
    assert await directory.find(ANN) == Found()
    assert len(driver.opened) == 2, "what it is worth then nobody knows"
    await directory.close()


@pytest_twisted.ensureDeferred
async def test_the_password_is_read_for_each_connection(driver: Driver, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("one\n")
    directory = SqlDirectory(
        SqlSettings("driver_of_tests", {"host": "db"}, str(file), "SELECT {recipient}", 1), reactor
    )
    await directory.find(ANN)
    file.write_text("two")
    driver.break_all()
    await directory.find(ANN)
    assert driver.opened == [{"host": "db", "password": "one"}, {"host": "db", "password": "two"}]
    await directory.close()


@pytest_twisted.ensureDeferred
async def test_what_a_driver_says_of_a_secret_is_not_told(driver: Driver, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    driver.refuses = True
    arguments = {"host": "db", "conninfo": "postgresql://ann:pw@db", "sslpassword": "", "port": 1}
    directory = SqlDirectory(SqlSettings("driver_of_tests", arguments, str(file), "SELECT {recipient}", 1), reactor)
    said = await trouble(directory)
    assert said == (
        "the database: OSError: connection refused: {'host': 'db', 'conninfo': '(conninfo)', 'sslpassword': '', "
        "'port': 1, 'password': '(password)'}")
    await directory.close()


@pytest_twisted.ensureDeferred
async def test_queries_that_hang_hold_up_nobody_else_nor_a_stop(driver: Driver, monkeypatch: Any) -> None:
    monkeypatch.setattr(sql_directory, "STOP_SECONDS", 0.01)
    directory = directory_of(connections=2)
    driver.hangs.set()
    hung = [Deferred.fromCoroutine(directory.find(ANN)) for _ in range(2)]
    for one in hung:
        one.cancel()
        with pytest.raises(CancelledError):
            await one
    assert await trouble(directory) == "every connection is busy with a query that got no answer in time"
    driver.hangs.clear()
    await directory.close()
    driver.released.set()
