"""What operators are told of several workers: their counts together, their facts while somebody watches."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw.lookouts import ANSWER_SECONDS
from tests.logged import LoggedFailures
from tests.workers.test_parent import Gateway

GAUGES: dict[str, Any] = {
    "sessions": 2, "most_sessions": 300, "journal_lost": 1, "lane_states": {"well": 1, "unwell": 0, "suspended": 0},
    "disk": {"free_octets": 900, "reserve_octets": 100, "has_room": True},
    "queue": {
        "at": 5.0, "is_whole": True, "oldest": 4.0, "recipients": 3, "statuses": {"450": 3},
        "backends": [{"backend": "out", "lanes": 1, "waiting": 2, "due_now": 1, "active": 1, "held": 0}],
    },
    "lanes": [{
        "lane": "out/example.net", "state": "well", "waiting": 2, "due_now": 1, "active": 1, "held": 0, "next_due": 9.0,
        "reason": "450 later", "unwell_since": None, "opens_at": None, "said": "",
    }],
}
UNWELL = {**GAUGES["lanes"][0], "state": "dead", "said": "no answer", "next_due": None, "reason": ""}
OTHERS: dict[str, Any] = {
    **GAUGES, "disk": {"free_octets": 50, "reserve_octets": 100, "has_room": False},
    "queue": {**GAUGES["queue"], "at": 3.0, "oldest": None, "is_whole": False}, "lanes": [UNWELL],
}
DELTA = {"cells": [["facts", "delivered", 3], ["deliveries", "out", "none", "none", 3]], "delivery": [0, 3] + [0] * 22,
         "delivery_seconds": 0.06}


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    return Gateway(tmp_path, monkeypatch).ready(0, 1, 2)


def answer(gateway: Gateway, asked: "Deferred[Any]", seconds: float = 0.0) -> Any:
    found: list[Any] = []
    asked.addBoth(found.append)  # type: ignore[unused-awaitable] # below
    gateway.advance(seconds)
    (one,) = found
    return one


def test_what_there_is_in_all_of_them(gateway: Gateway) -> None:
    for number, gauges in enumerate((GAUGES, OTHERS, GAUGES)):
        gateway.now(number).gauges = gauges
    now = answer(gateway, gateway.ask(command="now"))
    assert now["sessions"] == {"open": 6, "most": 900}
    assert now["disk"]["has_room"] is False
    assert now["lane_states"]["well"] == 3
    assert now["queue"] == {
        "at": 3.0, "is_whole": False, "oldest": 4.0, "recipients": 9, "statuses": {"450": 9},
        "backends": [{"backend": "out", "lanes": 3, "waiting": 6, "due_now": 3, "active": 3, "held": 0}],
    }
    assert now["lanes"] == [{**UNWELL, "waiting": 6, "due_now": 3, "active": 3, "next_due": 9.0, "reason": "450 later"}]
    assert now["workers"] == [{"worker": number, "answers": True, "sessions": 2} for number in range(3)]


def test_who_is_away_or_does_not_answer_is_left_out(gateway: Gateway) -> None:
    gateway.now(0).gauges = GAUGES
    gateway.now(1).hangs = True
    gateway.now(2).end()
    asked = gateway.ask(command="now")
    gateway.settle()
    assert not asked.called
    now = answer(gateway, asked, ANSWER_SECONDS)
    assert [one["answers"] for one in now["workers"]] == [True, False, False]
    assert now["sessions"] == {"open": 2, "most": 300}


def test_counts_outlive_who_counted(gateway: Gateway) -> None:
    for number in range(3):
        gateway.now(number).gauges = GAUGES
        gateway.now(number).wire.tell("facts.counted", DELTA)
    gateway.settle()
    gateway.now(1).end()
    gateway.advance(60)
    gateway.ready(1)
    gateway.now(1).gauges = GAUGES
    gateway.now(1).wire.tell("facts.counted", DELTA)
    gateway.settle()
    assert answer(gateway, gateway.ask(command="now"))["totals"]["out"] == 12
    text = answer(gateway, gateway.ask(command="metrics"))["text"]
    assert 'mailgw_deliveries_total{backend="out",tls="none",verified="none"} 12.0' in text
    assert "mailgw_workers 3.0" in text
    assert "mailgw_workers_answering 3.0" in text


def test_the_parent_tells_of_the_last_reload_and_of_web_hooks(
    gateway: Gateway, logged_failures: LoggedFailures, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        gateway.now(number).gauges = GAUGES
    name = "mailgw_config_last_reload"
    text = answer(gateway, gateway.ask(command="metrics"))["text"]
    assert f"{name}_successful 1.0\n" in text
    assert f"{name}_success_timestamp_seconds 1e+09\n" in text
    file = Path(gateway.parent.config.file)
    was = file.read_text()
    file.write_text("hostname = 7\n")
    faults = answer(gateway, gateway.ask(command="reload"))["faults"]
    text = answer(gateway, gateway.ask(command="metrics"))["text"]
    assert f"{name}_successful 0.0\n" in text

    async def none(request: object, seconds: float) -> dict[int, Any]:
        return {}

    monkeypatch.setattr(gateway.parent, "ask_each", none)
    health = answer(gateway, gateway.ask(command="health"))
    assert health["reload"] == {"faults": faults, "succeeded": 1e9}
    assert health["webhooks"] == []
    assert health["books"] == [{"book": "sent", "fault": ""}, {"book": "hooks", "fault": ""}]
    assert health["lost_events"] == {"count": 0, "last": 0.0}
    assert 'mailgw_book_failing{book="sent"} 0.0\n' in text
    assert health["maildrop"]["folder"] == gateway.parent.config.maildrop
    assert 'mailgw_maildrop_messages{state="waiting"} 0.0\n' in text
    file.write_text(was)
    turned_on: list[None] = []
    monkeypatch.setattr(gateway.parent.sending._owner._hooks, "turn_on", lambda: turned_on.append(None))
    assert answer(gateway, gateway.ask(command="reload"))["done"]
    assert turned_on == [None]
    assert f"{name}_successful 1.0\n" in answer(gateway, gateway.ask(command="metrics"))["text"]


def test_facts_come_while_somebody_watches(gateway: Gateway) -> None:
    assert all(played.heard == [] for played in gateway.started)
    asked = gateway.ask(command="facts", wait=5, filter={"event": "delivered"})
    gateway.settle()
    assert [played.heard for played in gateway.started] == [[("facts.watch", [[{"event": ["delivered"]}]])]] * 3
    seen = {"time": 1e9, "event": "delivered", "queue_id": "q"}
    gateway.now(2).wire.tell("facts.seen", [seen, {**seen, "event": "queued"}], 7)
    gateway.settle()
    found = answer(gateway, asked, 0.3)
    assert [one["event"] for one in found["facts"]] == ["delivered"]
    assert found["left_out"] == 7
    gateway.advance(6)
    assert len(gateway.now(0).heard) == 2
    for _ in range(3):
        gateway.advance(5)
    count = len(gateway.now(0).heard)
    gateway.advance(60)
    assert len(gateway.now(0).heard) == count <= 4


def test_facts_of_its_own_are_heard_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(tmp_path, monkeypatch)
    del gateway.parent.journal.note
    gateway.ready(0)
    found = answer(gateway, gateway.ask(command="facts", filter={"event": "worker_started"}))
    assert [one["worker"] for one in found["facts"]] == [0]
