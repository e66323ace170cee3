"""What waits for web hooks: found again without a look at all of it, as older versions left it, too."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from mailgw.store import hooks
from mailgw.store.database import opened
from mailgw.store.hooks import LANES, Batch, NewEvent
from mailgw.store.ledger import Job
from tests.tables import each

NOW = 1_700_000_000.0
ALL = range(LANES)

VERSION_1 = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY AUTOINCREMENT, hook TEXT NOT NULL, lane INTEGER NOT NULL, message TEXT NOT NULL,
    at REAL NOT NULL, body TEXT NOT NULL
);
CREATE INDEX event_lane ON event (hook, lane, number);
CREATE INDEX event_message ON event (hook, message, number);
CREATE TABLE blocked (
    hook TEXT NOT NULL, message TEXT NOT NULL, lane INTEGER NOT NULL,
    due REAL NOT NULL, attempts INTEGER NOT NULL, why TEXT NOT NULL,
    PRIMARY KEY (hook, message)
) WITHOUT ROWID;
CREATE INDEX blocked_due ON blocked (hook, lane, due);
CREATE TABLE dead (
    number INTEGER PRIMARY KEY,
    hook TEXT NOT NULL, lane INTEGER NOT NULL, message TEXT NOT NULL, at REAL NOT NULL, body TEXT NOT NULL,
    died REAL NOT NULL, why TEXT NOT NULL
);
CREATE INDEX dead_hook ON dead (hook, number);
CREATE TABLE tally (hook TEXT PRIMARY KEY, waiting INTEGER NOT NULL, dead INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER event_came AFTER INSERT ON event BEGIN
    INSERT INTO tally VALUES (new.hook, 1, 0) ON CONFLICT DO UPDATE SET waiting = waiting + 1; END;
CREATE TRIGGER event_went AFTER DELETE ON event BEGIN
    UPDATE tally SET waiting = waiting - 1 WHERE hook = old.hook; END;
CREATE TRIGGER dead_came AFTER INSERT ON dead BEGIN
    INSERT INTO tally VALUES (new.hook, 0, 1) ON CONFLICT DO UPDATE SET dead = dead + 1; END;
CREATE TRIGGER dead_went AFTER DELETE ON dead BEGIN
    UPDATE tally SET dead = dead - 1 WHERE hook = old.hook; END;
PRAGMA user_version = 1;
"""


@pytest.fixture
def book() -> Iterator[sqlite3.Connection]:
    with closing(opened(None, hooks.SCHEMA)) as connection:
        yield connection


def events(*messages: str, at: float = NOW) -> list[NewEvent]:
    return [NewEvent("shop", message, at, b"{}") for message in messages]


def batch(book: sqlite3.Connection, now: float = NOW, most: int = 100) -> Batch:
    return hooks.next_batch("shop", ALL, now, most, 1 << 20)(book)


def refuse(book: sqlite3.Connection, number: int, due: float = NOW + 60) -> None:
    assert not hooks.refused("shop", number, NOW, due, 1e9, "HTTP 400")(book)


def marked(book: sqlite3.Connection) -> dict[int, int]:
    return dict(book.execute("SELECT number, is_blocked FROM event"))


def test_what_may_go_or_is_too_old_is_found_without_a_look_at_all_that_waits(book: sqlite3.Connection) -> None:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    def taken_by(job: Job[Any]) -> int:
        nonlocal steps
        steps = 0
        job(book)
        return steps

    def each_takes() -> dict[str, int]:
        return {name: taken_by(job) for name, job in {
            "the next one": hooks.next_batch("shop", ALL, NOW, 1, 1 << 20),
            "a tenth of them": hooks.next_batch("shop", range(3, LANES, 4), NOW, 10, 1 << 20),
            "one that is due": hooks.next_batch("shop", ALL, NOW + 1e6, 10, 1 << 20),
            "nothing is too old": hooks.given_up("shop", NOW, NOW, "no answer"),
            "how many": hooks.tallies(["shop"]),
        }.items()} | astray()

    def astray() -> dict[str, int]:
        hooks.strayed("shop")(book)
        found = {str(where): taken_by(hooks.next_batch("shop", ALL, NOW, 10, 1 << 20, where=where))
                 for where in (0.0, 0.5, 1.0)}
        hooks.taken("shop", [], "")(book)
        return found

    def fill(start: int, end: int) -> None:
        hooks.added(events(*(f"m{number}" for number in range(start, end))), NOW)(book)
        for number in range(start, end, 2):
            refuse(book, number + 1, NOW + 60 + number)

    book.set_progress_handler(step, 1)
    fill(0, 200)
    few = each_takes()
    fill(200, 4000)
    many = each_takes()
    assert all(many[name] <= 1.2 * count + 20 for name, count in few.items()), (few, many)
    assert max(many.values()) < 2000, many


def test_events_are_marked_for_as_long_as_their_message_is_blocked(book: sqlite3.Connection) -> None:
    hooks.added(events("a", "b", "a"), NOW)(book)
    refuse(book, 1)
    hooks.added(events("a", "b"), NOW)(book)
    assert marked(book) == {1: 1, 2: 0, 3: 1, 4: 1, 5: 0}
    assert hooks.tallies(["shop"])(book)["shop"].blocked == 1
    assert batch(book).numbers == (2, 5)
    refuse(book, 1, NOW + 90)
    again = batch(book, NOW + 91)
    assert (again.numbers, again.message, again.attempts) == ((1,), "a", 2)
    hooks.taken("shop", [1], "a")(book)
    assert marked(book) == {2: 0, 3: 0, 4: 0, 5: 0}
    assert batch(book).numbers == (2, 3, 4, 5)
    assert hooks.tallies(["shop"])(book)["shop"].blocked == 0


def test_who_died_leaves_its_message_to_be_tried_at_once_and_nothing_where_it_was_the_last(
    book: sqlite3.Connection
) -> None:
    hooks.added(events("a", "a", "b"), NOW)(book)
    refuse(book, 1)
    assert hooks.refused("shop", 1, NOW, NOW + 60, 0, "HTTP 400")(book)
    assert (marked(book), batch(book).message, batch(book).attempts) == ({2: 1, 3: 0}, "a", 0)
    assert hooks.revived("shop", None, NOW)(book) == [1]
    assert marked(book) == {2: 1, 3: 0, 4: 1}, "behind the one that waits"
    refuse(book, 2)
    assert hooks.given_up("shop", NOW + 1, NOW, "no answer")(book) == 3
    assert book.execute("SELECT count(*) FROM blocked").fetchone() == (0,)
    assert hooks.tallies(["shop"])(book)["shop"] == hooks.Tally(0, 3, None, 0)


def test_those_of_a_message_that_are_as_old_as_who_died_die_with_it_a_step_at_a_time(book: sqlite3.Connection) -> None:
    hooks.added(events("b", *["a"] * (hooks.STEP + 9), at=NOW - 100), NOW)(book)
    hooks.added([*events("a", at=NOW - 99), *events("a", at=NOW - 100)], NOW)(book)
    other = [attrs.evolve(one, hook="other") for one in events("a", at=NOW - 100)]
    hooks.added(other, NOW)(book)
    assert hooks.died_with("shop", 2, NOW, 100, "HTTP 400")(book) == 0, "it is not dead"
    assert hooks.refused("shop", 2, NOW, NOW + 60, 100, "HTTP 400")(book)
    assert (batch(book).numbers, batch(book).message, batch(book).attempts) == ((3,), "a", 0)
    assert hooks.died_with("other", 2, NOW, 100, "HTTP 400")(book) == 0
    for count in (hooks.STEP, 8, 0):
        assert hooks.died_with("shop", 2, NOW, 100, "HTTP 400")(book) == count
    left = hooks.STEP + 11
    assert marked(book) == {1: 0, left: 1, left + 1: 1, left + 2: 0}, "behind a younger one it waits for its turn"
    assert (batch(book).numbers, batch(book).message) == ((left,), "a")
    assert hooks.refused("shop", 1, NOW, NOW + 60, 100, "HTTP 400")(book)
    assert hooks.tallies(["shop"])(book)["shop"].blocked == 1, "it was the only one of its message"


def test_a_hook_that_is_astray_is_tried_with_the_first_event_of_any_message(book: sqlite3.Connection) -> None:
    hooks.added(events(*"abcdecba", "b"), NOW)(book)
    refuse(book, 2)
    hooks.strayed("shop")(book)
    places = {where: hooks.next_batch("shop", ALL, NOW, 100, 1 << 20, where=where)(book) for where in (0, .5, .9, 1)}
    assert {where: one.numbers for where, one in places.items()} == {0: (1,), .5: (4,), .9: (1,), 1: (1,)}
    assert hooks.next_batch("shop", ALL, NOW, 9, 1 << 20, where=0.5, is_doubted=True)(book).numbers == (4,)
    lane = [hooks.lane_of("d")]
    assert hooks.next_batch("shop", lane, NOW, 100, 1 << 20, where=1.0)(book).numbers == (4,)
    hooks.taken("shop", [1], "")(book)
    assert hooks.next_batch("shop", ALL, NOW + 61, 9, 1 << 20, where=1.0, is_doubted=True)(book).numbers == (8,)
    assert batch(book).numbers == (3, 4, 5, 6, 8)


def test_a_hook_that_is_astray_is_tried_with_what_it_did_not_refuse_yet(book: sqlite3.Connection) -> None:
    hooks.added(events("a", "b"), NOW)(book)
    refuse(book, 1, NOW)
    hooks.strayed("shop")(book)
    assert (batch(book).numbers, batch(book).is_astray) == ((2,), True)
    refuse(book, 2, NOW + 1)
    assert (batch(book).numbers, batch(book).message) == ((1,), "a")
    hooks.taken("shop", [1], "a")(book)
    assert not batch(book).is_astray


@each("waits", [0, 5])
def test_what_version_1_left_waits_on(tmp_path: Path, waits: int) -> None:
    path = str(tmp_path / f"{waits}.sqlite")
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
        for number in range(waits):
            old.execute("INSERT INTO event (hook, lane, message, at, body) VALUES ('shop', ?, ?, ?, '{}')",
                        (hooks.lane_of(f"m{number % 3}"), f"m{number % 3}", NOW + number))
        for message in ("m0", "gone"):
            old.execute("INSERT INTO blocked VALUES ('shop', ?, ?, ?, 3, 'HTTP 400')",
                        (message, hooks.lane_of(message), NOW + 60))
        old.execute("INSERT INTO dead VALUES (99, 'shop', 1, 'm', 1, '{}', 2, 'HTTP 400')")
        old.commit()
    with closing(opened(path, hooks.SCHEMA)) as book:
        assert marked(book) == {1: 1, 2: 0, 3: 0, 4: 1, 5: 0} if waits else not marked(book)
        told = hooks.tallies(["shop"])(book)["shop"]
        assert told == hooks.Tally(waits, 1, NOW if waits else None, *((1, "HTTP 400") if waits else ()))
        if waits:
            assert batch(book).numbers == (2, 3, 5)
            assert (batch(book, NOW + 61).message, batch(book, NOW + 61).attempts) == ("m0", 3)
        assert _shape(book) == _shape(opened(None, hooks.SCHEMA))


def _shape(book: sqlite3.Connection) -> object:
    """What a table has, and what else there is, but for the words that made it."""
    made = book.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    return [
        (name, book.execute(f"PRAGMA table_info({name})").fetchall() if kind == "table" else " ".join(sql.split()))
        for kind, name, sql in made
    ]
