"""The operator's orders on SQLite: in steps, over restarts, and while no gateway runs."""

import sqlite3
from collections.abc import Sequence

import attrs
import pytest

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Destination, Gone, LaneRow, Page, Position, Query, RowState
from mailgw.mail.parameters import MailParameters
from mailgw.queue.census import Census
from mailgw.spool import orders, search
from mailgw.spool.batch import Call
from mailgw.spool.folder import database_path
from mailgw.spool.rows import UNRECORDED
from mailgw.spool.sqlite import open_offline
from mailgw.spool.suspended import read_suspended
from tests.spool.contract import ANN, ANYTHING, ARRIVAL, BOB, TO_ALL, TO_BOB, commit, due_lanes, queued
from tests.spool.test_sqlite import SqliteWorld, world

__all__ = ["world"]  # a fixture

MANY = 2500


def fill(world: SqliteWorld, count: int) -> None:
    """So many recipients, five a message, without the way of the mail, which takes its time."""
    rows = [(f"Q{number // 5:06}", number % 5 + 1, f"r{number}@example.net") for number in range(count)]

    def insert(connection: sqlite3.Connection, _: list[str]) -> None:
        connection.executemany(
            "INSERT INTO message VALUES (?, ?, 'ann@example.org', '7BIT', 1, '', '', '', '', '', NULL, x'61', '', 0)",
            [(queue_id, world.now) for queue_id in dict.fromkeys(row[0] for row in rows)])
        connection.executemany(
            "INSERT INTO recipient (queue_id, row, sender, recipient, domain, lane, due, attempts, reason, warned)"
            f" VALUES (?, ?, 'ann@example.org', ?, 'example.net', 'out/example.net', {world.now}, 0, '', 0)", rows)

    async def submit() -> None:
        await world.sqlite._writer.submit(Call(insert))

    world.run(submit())


def to(lane: str) -> orders.LaneFor:
    return lambda recipient: lane


def test_an_order_goes_in_steps_and_mail_goes_between_them(
    world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, MANY)
    world.sqlite.order_batch = 100
    steps: list[int] = []
    in_between: list[str] = []
    hold = orders.hold

    def counted(connection: sqlite3.Connection, keys: Sequence[orders.Key], now: float) -> int:
        steps.append(len(keys))
        return hold(connection, keys, now)

    monkeypatch.setattr(orders, "hold", counted)

    async def mail() -> int:
        while not steps:
            draft = world.spool.draft()
            draft.write(b"x")
            await draft.commit(ARRIVAL, TO_BOB, claim=False)
            in_between.append(draft.queue_id)
        for _ in range(3):
            draft = world.spool.draft()
            draft.write(b"x")
            await draft.commit(ARRIVAL, TO_BOB, claim=False)
            assert len(steps) < MANY / 100, "it did not wait for the end of the order"
        return 0

    held, _ = world.reactor.wait_for_all([world.spool.hold(Query(domain="example.net")), mail()])
    assert steps[:-1] == [100] * (len(steps) - 1)
    assert MANY <= held <= MANY + len(in_between) + 1, "one may be committed, and not told of yet"
    assert len(queued(world, Query(state=RowState.WAITING))) >= 3, "who came after it began is not meant"


def test_every_order_meets_everybody_in_whatever_steps(world: SqliteWorld) -> None:
    fill(world, 23)
    for batch in (1, 4, 23, 24):
        world.sqlite.order_batch = batch
        assert world.run(world.spool.hold(ANYTHING)) == 23
        assert world.run(world.spool.unhold(ANYTHING)) == 23
        assert world.run(world.spool.retry(ANYTHING)) == 23
        assert world.run(world.spool.reroute(ANYTHING, to(f"b{batch}"))) == 23
    world.sqlite.order_batch = 2
    assert [row.lane for row in world.run(world.spool.lanes())] == ["b24"]
    gone: list[Gone] = []
    assert world.run(world.spool.remove(ANYTHING, gone)) == 23
    assert len(gone) == 23
    assert queued(world) == []
    assert world.run(world.spool.content("Q000000", 9)) is None


def test_a_fault_ends_an_order_and_what_was_done_stays(
    world: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world, 10)
    world.sqlite.order_batch = 4
    hold, calls = orders.hold, []

    def fail_the_second(connection: sqlite3.Connection, keys: Sequence[orders.Key], now: float) -> int:
        calls.append(keys)
        if len(calls) == 2:
            raise sqlite3.OperationalError("disk I/O error")
        return hold(connection, keys, now)

    monkeypatch.setattr(orders, "hold", fail_the_second)
    with pytest.raises(TemporaryFault, match="I/O"):
        world.run(world.spool.hold(ANYTHING))
    assert len(queued(world, Query(state=RowState.HELD))) == 4
    assert world.run(world.spool.hold(ANYTHING)) == 6


def test_what_is_suspended_outlives_a_restart(world: SqliteWorld) -> None:
    since = world.now
    for word in ("example.net", "home", "internet/*"):
        world.run(world.spool.suspend(word))
        world.now += 1
    world.run(world.spool.resume("home"))
    world.reopen()
    assert world.spool.suspended() == {"example.net": since, "internet/*": since + 2}
    commit(world, b"x", TO_ALL)
    assert [lane for lane, _ in due_lanes(world)] == ["home"]


def test_a_suspension_that_cannot_be_kept_is_none(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("mailgw.spool.sqlite.keep_suspended", refuse)
    with pytest.raises(TemporaryFault):
        world.run(world.spool.suspend("example.net"))
    assert world.spool.suspended() == {}
    assert commit(world, b"x")


def test_what_a_hand_wrote_into_the_table_stops_nothing() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
    for text, words in (("{", {}), ("[]", {}), ('{"a": 1, "b": "x"}', {"a": 1.0}), ("5", {})):
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('suspended', ?)", (text,))
        assert read_suspended(connection) == words
    connection.close()


def test_offline_orders(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "BATCH", 2)
    commit(world, b"x", TO_ALL)
    until = world.now + 500
    commit(world, b"y", (Destination(ANN, "home"),), False, MailParameters(hold_until=until))
    world.run(world.spool.close())
    with open_offline(world.settings(), lambda: world.now) as spool:
        assert spool.hold(ANYTHING) == 4
        assert spool.hold(ANYTHING) == 0
        assert spool.unhold(Query(recipient=str(ANN))) == 2
        assert [row.due for row in spool.search(Query(recipient=str(ANN)), 9)] == [world.now, until]

        def lane_for(recipient: Mailbox) -> str | None:
            return "relay" if recipient == BOB else None

        assert spool.reroute(Query(domain="example.net"), lane_for) == 1
        assert spool.lanes() == [
            LaneRow("home", 2, 1, 0, 0, world.now, spool.search(Query(lane="home"), 9)[1].reason),
            LaneRow("out/example.net", 0, 0, 0, 1, None, "held by the operator"),
            LaneRow("relay", 0, 0, 0, 1, None, "held by the operator"),
        ]
        assert spool.suspend("example.net")
        assert not spool.suspend("example.net")
        assert spool.suspended() == {"example.net": world.now}
        assert not spool.resume("example.org")
        monkeypatch.setattr("mailgw.spool.offline.MAX_SUSPENSIONS", 1)
        with pytest.raises(TemporaryFault, match="no more than 1"):
            spool.suspend("example.org")
    world.sqlite = world.open()
    assert world.spool.suspended() == {"example.net": world.now}
    world.run(world.spool.close())
    with open_offline(world.settings(), lambda: world.now) as spool:
        assert spool.resume("example.net")
    world.sqlite = world.open()
    assert world.spool.suspended() == {}


def test_offline_orders_leave_alone_what_waits_for_its_senders_record(world: SqliteWorld) -> None:
    draft = world.spool.draft()
    world.run(draft.commit(attrs.evolve(ARRIVAL, held=f"{UNRECORDED}m1"), TO_ALL, True))
    world.run(world.spool.close())
    with open_offline(world.settings(), lambda: world.now) as spool:
        assert spool.retry(ANYTHING) == spool.unhold(ANYTHING) == spool.reroute(ANYTHING, to("home")) == 0
        assert spool.unhold(Query(record="m1", lane="home")) == 1
        assert spool.remove(ANYTHING) == 3


def test_a_batch_is_found_without_sorting(world: SqliteWorld) -> None:
    with sqlite3.connect(database_path(str(world.folder / "spool"))) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT r.queue_id, r.row, r.recipient FROM recipient r WHERE 1"
            " AND (r.queue_id, r.row) > ('a', 1) AND r.queue_id <= 'b' ORDER BY r.queue_id, r.row LIMIT 5").fetchall()
    connection.close()
    assert not any("TEMP B-TREE" in row[3] for row in plan), plan
    assert "SEARCH r USING PRIMARY KEY" in plan[0][3]


# --- pages --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("newest_first", [False, True])
def test_a_page_ends_when_its_time_is_over_and_the_next_goes_on(world: SqliteWorld, newest_first: bool) -> None:
    fill(world, 103)
    ticks = iter(range(1000))

    def page(connection: sqlite3.Connection, query: Query, after: Position | None, seconds: float) -> Page:
        clock = lambda: float(next(ticks))  # noqa: E731
        return search.page(connection, query, 50, after, seconds, newest_first, world.now, clock, stretch=10)

    rare = Query(recipient="r57@example.net")
    with sqlite3.connect(database_path(str(world.folder / "spool"))) as connection:
        whole = page(connection, rare, None, 100.0)
        assert ([row.recipient for row in whole.rows], whole.next) == (["r57@example.net"], None)
        at: Position | None = None
        found: list[str] = []
        pages = 0
        while pages == 0 or at is not None:
            one = page(connection, rare, at, 2.5)  # two more stretches by this clock
            pages, at = pages + 1, one.next
            found += [row.recipient for row in one.rows]
        assert (found, pages) == (["r57@example.net"], 4)
        assert len(page(connection, ANYTHING, None, 0.0).rows) == 10
        assert len(page(connection, ANYTHING, None, 100.0).rows) == 50
        of_one = page(connection, Query(queue_id="Q000003"), None, 0.0)
        assert (len(of_one.rows), of_one.next) == (5, None)
    connection.close()


def test_stretches_meet_each_recipient_once(world: SqliteWorld) -> None:
    fill(world, 103)
    with sqlite3.connect(database_path(str(world.folder / "spool"))) as connection:
        for size in (1, 7, 51, 102, 103, 104):
            census, at, sizes = Census(), None, []
            while not sizes or at is not None:
                stretch = search.stretch(connection, at, world.now, size)
                before = census.recipients
                census.add(stretch.tallies)
                at = stretch.next
                sizes.append(census.recipients - before)
            assert census.recipients == 103
            assert max(sizes) == min(size, 103)
    connection.close()
