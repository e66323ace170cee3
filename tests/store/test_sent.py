"""The book of what the HTTP API sent: how it is searched, and upgraded."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import product

import pytest

from mailgw.store import sent
from mailgw.store.database import opened

MANY = 3000


@pytest.fixture(scope="module")
def book() -> Iterator[sqlite3.Connection]:
    """Of many messages one each is to Cy, to Dee, tagged rare, deferred, and bounced; all others are alike."""
    odd = {7: ("Cy@example.net", sent.DEFERRED, "rare"), 8: ("dee@example.net", sent.BOUNCED, "usual")}
    with closing(opened(None, sent.SCHEMA)) as book:
        for number in range(MANY):
            recipient, state, tag = odd.get(number, ("probe@example.net", sent.DELIVERED, "usual"))
            id = f"m{number}"
            message = sent.Sent(
                id, "shop", "", sent.TAKEN, True, f"Q{number}", number, None, "", "", "", 1, (tag,), {},
                recipients=(sent.Recipient(recipient, "out", state, 0, "", "", "", 0, None, number),))
            sent.begun(message, None, number)(book)
            sent.taken(message)(book)
        yield book


def listed(book: sqlite3.Connection, after: str = "", **which: str) -> tuple[list[str], str | None]:
    asked = {name: which.get(name) for name in ("token", "state", "tag", "recipient")}
    found, more = sent.listed(**asked, after=after, limit=2)(book)
    return [one.id for one in found], more


def steps(book: sqlite3.Connection, **which: str) -> int:
    """What a list costs, in hundreds of instructions of SQLite's."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    book.set_progress_handler(step, 100)
    try:
        listed(book, **which)
    finally:
        book.set_progress_handler(None, 100)
    return count


def test_no_list_walks_over_the_whole_book(book: sqlite3.Connection) -> None:
    usual = steps(book)
    for which in (
        {"recipient": "cy@example.net"}, {"recipient": "nobody@example.net"}, {"state": "deferred"},
        {"state": "bounced"}, {"state": "held"}, {"state": "unknown"}, {"tag": "rare"}, {"tag": "none"},
        {"recipient": "cy@example.net", "state": "bounced"}, {"recipient": "cy@example.net", "tag": "rare"},
    ):
        assert steps(book, **which) < usual + 10, which
    for which in (
        {"recipient": "probe@example.net"}, {"tag": "usual"}, {"state": "delivered"},
        {"recipient": "cy@example.net", "tag": "usual"},
    ):
        assert steps(book, **which) < MANY / 20, which


def test_a_list_is_the_same_whichever_way_it_is_found(
    book: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        {name: value for name, value in zip(("recipient", "state", "tag"), values, strict=True) if value}
        for values in product(
            ("", "cy@example.net", "DEE@example.net", "probe@example.net", "nobody@example.net"),
            ("", "deferred", "bounced", "delivered", "queued"), ("", "rare", "usual", "none"))]
    found = []
    for few in (0, sent.FEW, MANY):
        monkeypatch.setattr(sent, "FEW", few)
        found.append([(listed(book, **which), listed(book, "8.0 m8", **which)) for which in asked])
    assert found[0] == found[1] == found[2]
    assert [listed(book, **which)[0] for which in ({"recipient": "cy@example.net"}, {"state": "bounced"}, {})] == [
        ["m7"], ["m8"], ["m2999", "m2998"]]


def test_books_of_earlier_versions_become_what_a_new_one_is() -> None:
    with closing(opened(None, sent.SCHEMA)) as fresh:
        made = fresh.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    for version in (1, 2):
        with closing(sqlite3.connect(":memory:")) as old:
            for (statement,) in made:
                if statement not in sent.SCHEMA.upgrades[2]:
                    # Of version 1 what is unknown was no end.
                    old.execute(statement.replace(", 'unknown'", "") if version == 1 else statement)
            for number in range(version, sent.SCHEMA.version):
                for statement in sent.SCHEMA.upgrades[number]:
                    old.execute(statement)
            again = old.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
            assert sorted(again) == sorted(made)
