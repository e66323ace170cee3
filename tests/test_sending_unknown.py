"""Recipients of the HTTP API's messages of whom nobody told, since a process was killed or an operator removed them."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw.mail.errors import TemporaryFault
from mailgw.sending import FACTS_SECONDS, SETTLE_SECONDS
from mailgw.store import sent
from mailgw.store.database import opened
from tests.test_sending import LETTER, Desk, all_crashes


@pytest.fixture
def desk() -> Desk:
    return Desk()


def listed(desk: Desk, state: str) -> set[str]:
    return {one["id"] for one in desk.ask("sent.list", state=state)["items"]}


def test_what_nobody_told_of_is_written_down_at_the_next_start(desk: Desk) -> None:
    desk.gateway.peer("hop.example.net", replies={"RCPT": "450 4.2.0 not now"})
    lost = desk.send({**LETTER, "to": ["cy@example.net", "bob@example.org"]})
    waits = desk.send({**LETTER, "to": "dee@example.net"})
    desk.gateway.advance(minutes=1)
    desk.ask("queue.remove", query={"recipient": "cy@example.net"})
    assert listed(desk, "deferred") == {waits["id"], lost["id"]}
    desk.gateway.restart()
    desk.gateway.advance(FACTS_SECONDS)
    assert (listed(desk, "deferred"), listed(desk, "unknown")) == ({waits["id"]}, {lost["id"]})
    assert desk.states(lost["id"]) == {"bob@example.org": "delivered", "cy@example.net": "unknown"}
    assert desk.states(waits["id"]) == {"dee@example.net": "deferred"}
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    [to] = [one for one in desk.ask("sent.show", id=lost["id"])["recipients"] if one["recipient"] == "cy@example.net"]
    owner._sending.hear([sent.Outcome(
        desk.gateway.now, lost["queue_id"], "cy@example.net", to["lane"], sent.DELIVERED, 250)])
    assert desk.states(lost["id"])["cy@example.net"] == "delivered", "who tells of it later knows better"
    assert not listed(desk, "unknown")


def test_what_is_unknown_is_forgotten_as_other_ends_are(desk: Desk) -> None:
    lost = desk.deferred()
    desk.ask("queue.remove", query={"recipient": "cy@example.net"})
    desk.gateway.restart()
    desk.gateway.advance(days=7.1)
    assert desk.ask("sent.show", id=lost["id"]) is not None
    desk.send()
    assert desk.ask("sent.show", id=lost["id"]) is None


def test_what_is_unknown_is_looked_for_until_the_queue_can_be_seen(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = desk.deferred()
    desk.ask("queue.remove", query={"recipient": "cy@example.net"})
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    door = owner._sending._door

    class Shut:
        async def answer(self, request: Mapping[str, Any]) -> object:
            raise TemporaryFault("worker 1 does not run")

    monkeypatch.setattr(owner._sending, "_door", Shut())
    owner.look_again()  # as where a worker was killed
    desk.gateway.advance(SETTLE_SECONDS + FACTS_SECONDS)
    assert listed(desk, "deferred") == {lost["id"]}
    monkeypatch.setattr(owner._sending, "_door", door)
    desk.gateway.advance(SETTLE_SECONDS + FACTS_SECONDS)
    assert (listed(desk, "deferred"), listed(desk, "unknown")) == (set(), {lost["id"]})


def test_a_stop_ends_the_search_and_there_is_one_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.gateway.peer("hop.example.net", replies={"RCPT": "450 4.2.0 not now"})
    for _ in range(5):
        desk.send({**LETTER, "to": "cy@example.net"})
    desk.gateway.advance(minutes=1)
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    asked: list[Deferred[object]] = []

    class Slow:
        async def answer(self, request: Mapping[str, Any]) -> object:
            asked.append(Deferred())
            return await asked[-1]

    monkeypatch.setattr(owner._sending, "_door", Slow())
    owner.look_again()
    owner.look_again()
    desk.gateway.advance(1)
    asked[0].callback([])
    desk.gateway.advance(1)
    assert len(asked) == 2
    desk.gateway.service.sending.stop()
    asked[1].callback([])
    desk.gateway.advance(1)
    assert len(asked) == 2
    desk.gateway.advance(FACTS_SECONDS)
    assert not listed(desk, "unknown"), "it is looked for at the next start"


def test_after_a_crash_the_list_says_what_each_message_says() -> None:
    seen = set()
    for desk in all_crashes(lambda desk: desk.send()):
        desk.gateway.advance(SETTLE_SECONDS + FACTS_SECONDS)
        for item in desk.ask("sent.list")["items"]:
            states = {one["recipient"]: one["state"] for one in item["recipients"]}
            assert states == desk.states(item["id"])
            seen |= set(states.values())
    assert seen == {"delivered", "unknown"}


def test_where_a_recipient_left_two_lanes_for_one_only_the_end_is_kept() -> None:
    with closing(opened(None, sent.SCHEMA)) as book:
        recipients = tuple(
            sent.Recipient(who, lane, sent.QUEUED, 0, "", "", "", 0, None, 1.0)
            for who, lane in (("bob", "a"), ("bob", "c"), ("cy", "a"), ("dee", "a")))
        message = sent.Sent(
            "m1", "shop", "", sent.TAKEN, True, "Q1", 1.0, None, "", "", "", 1, (), {}, recipients=recipients)
        sent.begun(message, None, 1.0)(book)
        sent.taken(message)(book)
        sent.noted([sent.Outcome(2.0, "Q1", who, "a", sent.DEFERRED) for who in ("bob", "cy")])(book)
        sent.noted([sent.Outcome(3.0, "Q1", "bob", "b", sent.DELIVERED)] * 2)(book)
        assert sent.under_way(book) == {"Q1": {"bob", "cy", "dee"}}
        gone = [("Q1", "bob"), ("Q1", "cy"), ("Q1", "dee"), ("Q2", "bob")]
        assert sent.lost(gone, 4.0)(book) == 2
        sent.noted([sent.Outcome(5.0, "Q1", "dee", "c", sent.DEFERRED, due=9.0)])(book)
        found = sent.shown("m1")(book)
        assert found is not None
        assert [(one.recipient, one.lane, one.state, one.at) for one in found.recipients] == [
            ("bob", "b", "delivered", 3.0), ("cy", "a", "unknown", 4.0), ("dee", "c", "deferred", 5.0)]
        assert sent.under_way(book) == {"Q1": {"dee"}}
