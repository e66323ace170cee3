"""Several shards of one queue: seen as one by every command, delivered by whoever has them, with limits in common."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from mailgw.combined import combined
from mailgw.config.load import load
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Destination, Query
from mailgw.service import MailGateway
from mailgw.shards import left_over
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.shards import shard_settings, shards_there
from mailgw.spool.sqlite import SqliteSpool
from tests.deliver.dispatching import LATER
from tests.spool.contract import ANN, ARRIVAL, BOB
from tests.test_ctl import run
from tests.test_service import Nowhere, folder, start, until

__all__ = ["folder"]  # a fixture
Output = pytest.CaptureFixture[str]
NOW = time.time()
LANE = "nowhere"


class Counting(Nowhere):
    """Lets one attempt after the other go, and knows how many there were at once."""

    now = most = 0
    waiting: list[Deferred[None]] = []

    async def deliver(self, message: object, recipients: Sequence[Mailbox]) -> object:
        Counting.now += 1
        Counting.most = max(Counting.most, Counting.now)
        gate: Deferred[None] = Deferred()
        Counting.waiting.append(gate)
        await gate
        Counting.now -= 1
        return dict.fromkeys(recipients, LATER)


def settings(state: Path) -> SpoolSettings:
    return SpoolSettings(str(state / "spool"), 0, 65536, 60.0, "0", 9e9)


async def fill(state: Path, number: int, messages: int, lane: str = LANE) -> list[str]:
    spool = SqliteSpool.open(shard_settings(settings(state), number), reactor, lambda: NOW)  # type: ignore[arg-type]
    queue_ids = []
    for _ in range(messages):
        draft = spool.draft()
        draft.write(b"Subject: x\r\n\r\n")
        await draft.commit(ARRIVAL, [Destination(BOB, lane)], False)
        queue_ids.append(draft.queue_id)
    await spool.close()
    return queue_ids


def test_which_folders_are_shards(tmp_path: Path) -> None:
    first = str(tmp_path / "spool")
    assert shards_there(first) == [] == shards_there(str(tmp_path / "none/spool"))
    for name in ("spool-2", "spool", "spool-11", "spool-x", "spool-0", "spool-01", "spoo", "spool-1000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "queue.sqlite").touch()
    (tmp_path / "spool-3").mkdir()
    assert shards_there(first) == [0, 2, 11]
    made = shard_settings(settings(tmp_path), 11)
    assert (made.folder, made.node) == (str(tmp_path / "spool-11"), "011")
    assert shard_settings(settings(tmp_path), 0) == settings(tmp_path)


def test_lanes_of_two_shards_are_one() -> None:
    facts = {"lane": "a", "state": "well", "active": 1, "window": 5, "limit": 8, "waiting": 2, "has_more": False,
             "unwell_since": None, "opens_at": None, "said": "", "shared": []}
    unwell = {**facts, "state": "dead", "window": 1, "unwell_since": 7.0, "said": "no", "has_more": True}
    lane = {"lane": "a", "waiting": 3, "due_now": 1, "active": 1, "held": 0, "next_due": None, "reason": "",
            "suspended": False, "now": facts}
    other = {**lane, "next_due": 9.0, "reason": "late", "now": unwell}
    [both] = combined("queue.lanes", [[lane], [other]])
    assert both == {
        "lane": "a", "waiting": 6, "due_now": 2, "active": 2, "held": 0, "next_due": 9.0, "reason": "late",
        "suspended": False, "now": {
            **unwell, "active": 2, "waiting": 4, "window": 6,
        },
    }
    assert combined("queue.lanes", [[other], [{**lane, "now": None}]])[0]["now"] == unwell


def test_retries_of_two_shards_are_one() -> None:
    first = {"recipients": 3, "active": 0, "suspended": [{"by": ["a/*"], "recipients": 1}],
             "unwell": [{"lane": "b/x", "state": "unwell", "recipients": 2}]}
    second = {"recipients": 4, "active": 1, "suspended": [{"by": ["a/*", "x"], "recipients": 1}] + first["suspended"],
              "unwell": [{"lane": "b/x", "state": "dead", "recipients": 1}]}
    assert combined("queue.retry", [first, second]) == {
        "recipients": 7, "active": 1,
        "suspended": [{"by": ["a/*"], "recipients": 2}, {"by": ["a/*", "x"], "recipients": 1}],
        "unwell": [{"lane": "b/x", "state": "dead", "recipients": 3}],
    }


@pytest_twisted.async_yield_fixture
async def stopped(tmp_path: Path) -> AsyncIterator[Path]:
    """A state of which two shards have mail, a third has none."""
    await fill(tmp_path, 0, 1)
    await fill(tmp_path, 2, 2, "internet/example.net")
    await fill(tmp_path, 3, 0)
    yield tmp_path


@pytest_twisted.ensureDeferred
async def test_what_is_left_over_is_what_holds_mail(stopped: Path) -> None:
    assert left_over(settings(stopped), 1) == [2]
    assert left_over(settings(stopped), 3) == []


@pytest_twisted.ensureDeferred
async def test_the_command_sees_all_shards_while_nothing_runs(stopped: Path, capsys: Output) -> None:
    async def said(*words: str) -> str:
        assert await run("queue", *words, "--state", str(stopped)) == 0
        return capsys.readouterr().out

    rows = json.loads(await said("list", "--json"))
    assert [row["queue_id"] for row in rows] == sorted(row["queue_id"] for row in rows)
    assert sorted(row["queue_id"][16:] for row in rows) == ["0", "02", "02"]
    assert len(json.loads(await said("list", "--json", "--limit", "2"))) == 2
    assert rows[2]["queue_id"] in await said("show", rows[2]["queue_id"])
    assert await said("hold", "--sender", str(ANN)) == "3 recipients held\n"
    assert (await said("suspend", "example.net")).startswith("example.net is suspended")
    assert (await said("lanes")).count("suspended") == 2  # the lane, and the word
    assert await said("remove", "--sender", str(ANN)) == "3 recipients removed\n"


@pytest_twisted.ensureDeferred
async def test_one_process_delivers_what_several_left(folder: Path) -> None:
    file = folder / "mailgw.toml"
    file.write_text(file.read_text().replace("tests.test_service:Nowhere", "tests.test_shards:Counting"))
    Counting.now, Counting.most = 0, 0
    own = await fill(folder / "state", 0, 2)
    others = await fill(folder / "state", 1, 3)
    gateway = start(load(str(file)))
    try:
        rows = await gateway.answer({"command": "queue.list"})
        assert sorted(row["queue_id"] for row in rows) == sorted(own + others)  # type: ignore[attr-defined]
        for turn in range(5):
            await until(lambda: len(Counting.waiting) == 1)
            if turn == 2:
                suspended = await gateway.answer({"command": "queue.suspend", "destination": LANE})
                assert suspended["changed"] is True  # type: ignore[index]
                resumed = await gateway.answer({"command": "queue.resume", "destination": LANE})
                assert resumed["changed"] is True  # type: ignore[index]
            Counting.waiting.pop().callback(None)
        # Its concurrency is 1, over both.
        assert Counting.most == 1

        async def attempts() -> list[int]:
            return [row.attempts for one in gateway.shards.all for row in await one.spool.search(Query(), 9)]

        done: list[list[int]] = []

        def look() -> bool:
            Deferred.fromCoroutine(attempts()).addCallback(done.append)
            return bool(done) and done[-1] == [1] * 5

        await until(look)
        elsewhere = {"command": "queue.suspend", "destination": "elsewhere/x", "is_checked": True}
        assert (await gateway.answer(elsewhere))["changed"] is True  # type: ignore[index] # as the parent of workers says
        shown = await gateway.answer({"command": "queue.show", "queue_id": others[0]})
        assert shown["rows"][0]["queue_id"] == others[0]  # type: ignore[index]
        assert await gateway.answer({"command": "queue.remove", "query": {"sender": str(ANN)}}) == 5
    finally:
        await gateway.stopService()


@pytest_twisted.ensureDeferred
async def test_what_is_suspended_in_shard_0_is_in_all(folder: Path) -> None:
    state = folder / "state"
    for number, words in ((0, ["a.test", "b.test"]), (1, ["b.test", "old.test"])):
        await fill(state, number, 1)
        spool = SqliteSpool.open(shard_settings(settings(state), number), reactor, lambda: NOW)  # type: ignore[arg-type]
        for word in words:
            await spool.suspend(word)
        await spool.close()
    config = load(str(folder / "mailgw.toml"))
    gateway = MailGateway(attrs.evolve(config, routes=config.routes), reactor)
    gateway.privilegedStartService()
    gateway.startService()
    try:
        assert [sorted(one.spool.suspended()) for one in gateway.shards.all] == [["a.test", "b.test"]] * 2
    finally:
        await gateway.stopService()


def test_a_page_of_several_shards_goes_no_further_than_all_of_them_have_looked() -> None:
    def rows(*ids: str) -> list[dict[str, object]]:
        return [{"queue_id": one, "row": 1} for one in ids]

    def told(first: object, second: object, limit: int, newest: bool = False) -> tuple[str, object]:
        page = combined("queue.page", [first, second], limit)
        assert page["newest"] is newest
        return "".join(row["queue_id"] for row in page["rows"]), page["next"]

    old = {"rows": rows("a", "c", "e"), "next": ["f", 1], "newest": False}
    end = {"rows": rows("b", "g"), "next": None, "newest": False}
    assert told(old, end, 9) == ("abce", ("f", 1))
    assert told(old, end, 2) == ("ab", ("b", 1))
    assert told(old, {"rows": [], "next": ["b", 7], "newest": False}, 9) == ("a", ("b", 7))
    assert told(end, {"rows": rows("c"), "next": None, "newest": False}, 3) == ("bcg", None)
    new = {"rows": rows("g", "d"), "next": ["c", 1], "newest": True}
    assert told(new, {"rows": rows("e", "b"), "next": None, "newest": True}, 9, True) == ("ged", ("c", 1))


def test_the_census_of_several_shards_is_one() -> None:
    def told(lane: str, waiting: int, at: float, is_whole: bool) -> dict[str, object]:
        row = {"lane": lane, "waiting": waiting, "due_now": 0, "active": 0, "held": 0, "next_due": None, "reason": "",
               "suspended": False, "now": None}
        return {"at": at, "is_whole": is_whole, "waiting": waiting, "due_now": 0, "active": 0, "held": 0,
                "lane_count": 1, "lanes": [row], "unwell": [], "statuses": {"450": waiting}}

    both = combined("queue.census", [told("a", 3, 7.0, True), told("b", 5, 9.0, False)], 1)
    assert (both["at"], both["is_whole"], both["waiting"], both["lane_count"]) == (7.0, False, 8, 2)
    assert [lane["lane"] for lane in both["lanes"]] == ["b"]
    assert both["statuses"] == {"450": 8}
    same = combined("queue.census", [told("a", 3, 7.0, True), told("a", 5, 9.0, True)], 9)
    assert [(lane["lane"], lane["waiting"]) for lane in same["lanes"]] == [("a", 8)]
