"""Web hooks for events, of a whole gateway in memory."""

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.config.event_hooks import EventHookTable
from mailgw.deliver.event_hook import State
from mailgw.deliver.event_hook_settings import EVENTS, EventHookSettings
from mailgw.hooks import GLANCE_SECONDS, MOST_WAITING, Hooks
from mailgw.mail import event as fact
from mailgw.mail.errors import NotThere, RefusedRequest, TemporaryFault
from mailgw.net.tasks import TaskGroup
from mailgw.store import hooks
from mailgw.testing import PowerFailed
from mailgw.testing.world import Posted
from mailgw.web.findings import findings
from tests.tables import each
from tests.test_sending import CONFIG, LETTER, Desk

HOOK = """
[[webhook]]
name = "shop"
url = "https://shop.example/hook"
"""


def events_of(posts: Sequence[Posted]) -> list[dict[str, Any]]:
    return [event for post in posts for event in json.loads(post.body)]


def told(desk: Desk, url: str = "") -> list[tuple[str, str]]:
    """Events and recipients."""
    desk.gateway.advance(1)
    posts = [post for post in desk.gateway.posts if url in post.url]
    return [(one["event"], one.get("recipient", "")) for one in events_of(posts)]


def test_what_becomes_of_a_message_is_told_in_order() -> None:
    desk = Desk(CONFIG + HOOK)
    peer = desk.gateway.peer("hop.example.net", replies={"RCPT": ["450 4.2.0 not now"]})
    answer = desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="bob@example.org")
    assert told(desk) == [("queued", ""), ("delivered", "bob@example.org")]
    sent = desk.send({**LETTER, "to": "cy@example.net", "tags": ["invoice"], "metadata": {"order": "7"}})
    desk.gateway.advance(hours=1)
    assert peer.messages
    events = events_of(desk.gateway.posts)
    assert [one["event"] for one in events] == ["queued", "delivered", "queued", "deferred", "delivered"]
    assert len({one["id"] for one in events}) == 5
    assert events[1]["queue_id"] == answer.queue_id
    assert {"code", "status", "text", "hop", "attempts", "time"} <= events[1].keys()
    assert events[3]["tags"] == ["invoice"]
    assert events[3]["metadata"] == {"order": "7"}
    assert events[3]["sent"] == sent["id"]
    assert "tags" not in events[0]
    [item] = desk.ask("hooks.list")["items"]
    assert (item["name"], item["state"], item["waiting"], item["dead"]) == ("shop", "on", 0, 0)
    assert item["origin"] == "https://shop.example"


def test_refusals_of_clients_are_told_too() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="cy@elsewhere.test")
    desk.gateway.advance(1)
    [event] = events_of(desk.gateway.posts)
    assert (event["event"], event["code"], event["recipient"]) == ("rejected", 550, "cy@elsewhere.test")


def test_a_hook_says_what_it_wants() -> None:
    lines = 'events = ["delivered"]', 'lanes = ["ou*"]', 'tags = ["invoice"]'
    config = CONFIG + "".join(
        f'[[webhook]]\nname = "h{at}"\nurl = "https://h{at}.example/"\n{line}\n' for at, line in enumerate(lines))
    desk = Desk(config)
    desk.gateway.peer("hop.example.net")
    desk.send({**LETTER, "to": ["bob@example.org", "cy@example.net"]})
    desk.send({**LETTER, "tags": ["invoice", "x"]})
    both = [("delivered", "bob@example.org"), ("delivered", "cy@example.net")]
    assert sorted(told(desk, "h0")) == sorted([*both, ("delivered", "bob@example.org")])
    assert ("delivered", "bob@example.org") not in told(desk, "h1")
    assert both[1] in told(desk, "h1")
    assert told(desk, "h2")[-1] == both[0]
    assert len(told(desk, "h2")) <= 2


def test_a_server_that_is_down_holds_up_no_mail_and_gets_all_in_the_end() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 503)
    for number in range(30):
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to=f"b{number}@example.org")
    assert len(desk.gateway.mailbox("b29@example.org")) == 1
    desk.gateway.advance(10)
    [item] = desk.ask("hooks.list")["items"]
    assert (item["state"], item["waiting"], item["why"]) == ("failing", 60, "HTTP 503")
    assert item["again"] > desk.gateway.now
    desk.gateway.restart()
    desk.gateway.answer_posts(lambda post: 200)
    before = len(desk.gateway.posts)
    desk.gateway.advance(hours=2)
    events = events_of(desk.gateway.posts[before:])
    assert [one["event"] for one in events] == ["queued", "delivered"] * 30
    assert desk.ask("hooks.list")["items"][0]["waiting"] == 0


def test_the_dead_can_be_looked_at_and_tried_again_or_dropped() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 404)
    for number in range(3):
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to=f"b{number}@example.org")
    desk.gateway.advance(days=4)
    first = desk.ask("hooks.dead", name="shop", limit=4)
    assert len(first["items"]) == 4
    assert {one["event"]["event"] for one in first["items"]} == {"queued", "delivered"}
    assert {one["why"] for one in first["items"]} == {"HTTP 404"}
    second = desk.ask("hooks.dead", name="shop", limit=4, after=first["next"])
    assert (len(second["items"]), second["next"]) == (2, None)
    desk.gateway.answer_posts(lambda post: 200)
    numbers = [first["items"][0]["number"], 10**9]
    assert desk.ask("hooks.retry", name="shop", numbers=[*numbers, numbers[0]]) == {"events": 1, "missing": [10**9]}
    assert desk.ask("hooks.drop", name="shop", numbers=[first["items"][1]["number"]]) == {"events": 1, "missing": []}
    assert desk.ask("hooks.retry", name="shop", all=True) == {"events": 4, "missing": []}
    before = len(desk.gateway.posts) - 1
    desk.gateway.advance(1)
    assert len(events_of(desk.gateway.posts[before:])) >= 4
    assert desk.ask("hooks.list")["items"][0]["dead"] == 0
    for wrong in ({}, {"numbers": []}, {"numbers": [0]}, {"numbers": ["1"]}, {"numbers": list(range(1, 1002))}):
        with pytest.raises(RefusedRequest):
            desk.ask("hooks.drop", name="shop", **wrong)


def test_of_a_hook_that_there_never_was_nothing_is_done() -> None:
    desk = Desk(CONFIG + HOOK)
    for command, more in (("dead", {}), ("retry", {"all": True}), ("drop", {"numbers": [4]}), ("resume", {})):
        with pytest.raises(NotThere, match=r"^there is no web hook nix$"):
            desk.ask(f"hooks.{command}", name="nix", **more)
    assert desk.ask("hooks.dead", name="shop") == {"items": [], "next": None}
    assert desk.ask("hooks.resume", name="shop") == {"events": 0}


def test_the_dead_are_kept_for_a_while() -> None:
    desk = Desk(CONFIG + HOOK + 'keep_dead = "2d"\ngive_up_after = "1h"\n')
    desk.gateway.answer_posts(lambda post: 404)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(days=1)
    assert desk.ask("hooks.list")["items"][0]["dead"] == 2
    desk.gateway.advance(days=2)
    assert desk.ask("hooks.list")["items"][0]["dead"] == 0


def test_a_hook_that_is_gone_from_the_configuration_leaves_what_it_had_to_the_operator() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 500)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(1)
    desk.gateway.config = Desk().gateway.config
    desk.gateway.restart()
    [item] = desk.ask("hooks.list")["items"]
    assert (item["name"], item["state"], item["waiting"]) == ("shop", "gone", 2)
    assert desk.ask("hooks.dead", name="shop") == {"items": [], "next": None}
    for command, more in (("retry", {"all": True}), ("resume", {})):
        with pytest.raises(RefusedRequest, match="no web hook shop any more"):
            desk.ask(f"hooks.{command}", name="shop", **more)
    assert desk.ask("hooks.drop", name="shop", numbers=[1, 7]) == {"events": 1, "missing": [7]}
    assert desk.ask("hooks.drop", name="shop", all=True) == {"events": 1, "missing": []}
    assert desk.ask("hooks.list") == {"items": []}


@each("is_back", [False, True])
def test_what_waits_for_a_hook_that_is_gone_is_kept_for_a_while(is_back: bool) -> None:
    desk = Desk(CONFIG + HOOK + 'give_up_after = "1h"\n')
    desk.gateway.answer_posts(lambda post: 500)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(hours=3)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(1)
    config, desk.gateway.config = desk.gateway.config, Desk().gateway.config
    desk.gateway.restart()
    desk.gateway.advance(days=13)
    [item] = desk.ask("hooks.list")["items"]
    assert (item["state"], item["waiting"], item["dead"]) == ("gone", 2, 2)
    if is_back:
        desk.gateway.answer_posts(lambda post: 200)
        desk.gateway.service.sending.renew(config)
    desk.gateway.advance(days=2)
    items = desk.ask("hooks.list")["items"]
    assert [(one["waiting"], one["dead"]) for one in items] == ([(0, 0)] if is_back else [])


def test_a_hook_that_there_is_loses_nothing_that_waits_by_a_drop() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 500)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(1)
    assert desk.ask("hooks.drop", name="shop", all=True) == {"events": 0, "missing": []}
    assert desk.ask("hooks.drop", name="shop", numbers=[1]) == {"events": 0, "missing": [1]}
    assert desk.ask("hooks.list")["items"][0]["waiting"] == 2


def test_without_hooks_nothing_is_written() -> None:
    desk = Desk()
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    assert desk.ask("hooks.list") == {"items": []}
    assert not [one for one in desk.gateway._lasting.ledgers if one.endswith(hooks.FILE)]


def test_more_facts_than_can_be_written_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(CONFIG + HOOK)
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    told = {"time": 1.0, "event": "removed", "queue_id": "q", "recipients": 1}
    owner._hooks.hear([told] * (MOST_WAITING + 5))
    assert owner._hooks._lost == 5
    desk.gateway.advance(1)
    assert owner._hooks._lost == 0
    assert desk.ask("health")["lost_events"]["count"] == 5
    assert len(events_of(desk.gateway.posts)) == MOST_WAITING


def test_a_book_that_cannot_be_used_is_told_of_and_what_is_lost_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(CONFIG + HOOK)
    owner = desk.gateway.service.sending._owner
    assert owner is not None

    def told() -> tuple[list[bool], int]:
        health = desk.ask("health")
        return [bool(one["fault"]) for one in health["books"]], health["lost_events"]["count"]

    def numbers() -> list[str]:
        names = ("mailgw_book_failing{", "mailgw_webhook_lost_events ")
        return [line for line in desk.ask("metrics")["text"].splitlines() if line.startswith(names)]

    def receive() -> None:
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
        desk.gateway.advance(1)

    def garbage() -> sqlite3.Connection:
        raise sqlite3.DatabaseError("file is not a database")

    assert told() == ([False, False], 0)
    with monkeypatch.context() as patch:
        patch.setattr(owner._hooks._ledger, "_open", garbage)
        receive()
        assert told() == ([False, True], 2)
        assert sorted(numbers()) == [
            'mailgw_book_failing{book="hooks"} 1.0', 'mailgw_book_failing{book="sent"} 0.0',
            "mailgw_webhook_lost_events 2.0"]
        assert desk.gateway.posts == []
    receive()
    assert told() == ([False, False], 2)
    with monkeypatch.context() as patch:
        patch.setattr(owner._book, "_open", garbage)
        with pytest.raises(TemporaryFault, match="not a database"):
            desk.send()
        assert told() == ([True, False], 2)


def test_who_is_refused_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 503)
    reserve = desk.gateway.config.spool.reserve_octets

    def waiting() -> tuple[int, int]:
        desk.gateway.advance(1)
        return desk.ask("hooks.list")["items"][0]["waiting"], desk.ask("health")["lost_events"]["count"]

    def refuse() -> None:
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="nobody@elsewhere.example")

    refuse()
    assert waiting() == (1, 0)
    monkeypatch.setattr(desk.gateway.disk, "free_octets", lambda path: 2 * reserve - 1)
    refuse()
    assert waiting() == (1, 1)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    assert waiting() == (3, 1), "of what is queued all is told"
    monkeypatch.setattr(desk.gateway.disk, "free_octets", lambda path: 2 * reserve)
    refuse()
    assert waiting() == (4, 1)


def test_no_crash_loses_or_disorders_an_event_that_was_written() -> None:
    """What is lost is told of: facts of the last tenth of a second."""
    def scenario(desk: Desk) -> None:
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
        desk.gateway.advance(30)

    whole = Desk(CONFIG + HOOK)
    whole.gateway.power.writes.clear()
    scenario(whole)
    for number, write in enumerate(whole.gateway.power.writes):
        for is_after in (False, True):
            desk = Desk(CONFIG + HOOK)
            desk.gateway.power.writes.clear()
            desk.gateway.power.fails_at, desk.gateway.power.is_after = number, is_after
            with contextlib.suppress(PowerFailed, AssertionError):
                scenario(desk)
            assert desk.gateway.power.is_off
            ledgers = [one for name, one in desk.gateway._lasting.ledgers.items() if name.endswith(hooks.FILE)]
            kept = [json.loads(body)["id"] for one in ledgers for (body,) in one.execute("SELECT body FROM event")]
            desk.gateway.restart()
            desk.gateway.advance(60)
            ids = [one["id"] for one in events_of(desk.gateway.posts)]
            assert set(kept) <= set(ids), write
            first = list(dict.fromkeys(ids))
            words = [next(one for one in events_of(desk.gateway.posts) if one["id"] == id)["event"] for id in first]
            assert [word for word in words if word == "queued"] == words[:words.count("queued")], words


@each("name", EVENTS)
def test_the_events_that_a_hook_may_ask_for_are_facts_of_messages(name: str) -> None:
    [kind] = [one for one in vars(fact).values() if isinstance(one, type) and getattr(one, "name", "") == name]
    fields = set(kind.__attrs_attrs__ and [one.name for one in kind.__attrs_attrs__])
    assert fields & {"queue_id", "session_id"}


def test_the_usual_events_are_among_them() -> None:
    assert set(EventHookTable(name="a", url="b").events) <= set(EVENTS)


def test_another_configuration_has_other_hooks_and_what_waits_waits_on() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 410)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(1)
    assert desk.ask("hooks.list")["items"][0]["state"] == "off"
    desk.gateway.answer_posts(lambda post: 200)
    before = len(desk.gateway.posts)
    config = Desk(CONFIG + HOOK.replace("/hook", "/other")).gateway.config
    desk.gateway.service.sending.renew(config)
    desk.gateway.advance(1)
    assert {post.url for post in desk.gateway.posts[before:]} == {"https://shop.example/other"}
    assert [one["event"] for one in events_of(desk.gateway.posts[before:])] == ["queued", "delivered"]
    desk.gateway.service.sending.renew(Desk().gateway.config)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(1)
    assert len(events_of(desk.gateway.posts[before:])) == 2


def off() -> Desk:
    """Its hook said 410, and takes events now."""
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 410)
    desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to="b@example.org")
    desk.gateway.advance(1)
    assert desk.ask("hooks.list")["items"][0]["state"] == "off"
    assert len(desk.gateway.posts) == 1
    desk.gateway.answer_posts(lambda post: 200)
    return desk


def test_a_reload_that_finds_nothing_changed_turns_a_hook_on() -> None:
    desk = off()
    desk.ask("reload", check=True)
    desk.gateway.advance(1)
    assert desk.ask("hooks.list")["items"][0]["state"] == "off"
    assert desk.ask("reload")["done"]
    desk.gateway.advance(1)
    assert [one["event"] for one in events_of(desk.gateway.posts[1:])] == ["queued", "delivered"]
    assert desk.ask("hooks.list")["items"][0]["state"] == "on"
    desk.ask("reload")
    desk.gateway.advance(1)
    assert len(desk.gateway.posts) == 2


def test_an_operator_turns_a_hook_on() -> None:
    desk = off()
    assert desk.ask("hooks.resume", name="shop") == {"events": 2}
    desk.gateway.advance(1)
    assert len(events_of(desk.gateway.posts[1:])) == 2


def test_what_waits_is_due_when_an_operator_says_so() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 404)
    for number in range(3):
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to=f"b{number}@example.org")
    desk.gateway.advance(hours=5)
    desk.gateway.answer_posts(lambda post: 200)
    before = len(desk.gateway.posts)
    assert desk.ask("hooks.list")["items"][0]["blocked"] == 3
    assert desk.ask("hooks.resume", name="shop") == {"events": 6}
    desk.gateway.advance(1)
    assert len(events_of(desk.gateway.posts[before:])) == 6


def test_health_says_of_a_hook_that_redirects_everything_that_all_events_wait() -> None:
    desk = Desk(CONFIG + HOOK)
    desk.gateway.answer_posts(lambda post: 301)
    for number in range(6):
        desk.gateway.receive("Subject: x\n\nhi", sender="a@example.net", to=f"b{number}@example.org")
    desk.gateway.advance(minutes=1)
    health = desk.ask("health")
    [one] = findings(health, health["webhooks"][0]["oldest"])
    assert one["why"].startswith("takes nothing: all 12 events wait: ")
    assert "301" in one["why"]
    [item] = desk.ask("hooks.list")["items"]
    assert (item["is_astray"], item["waiting"]) == (True, 12)
    desk.gateway.answer_posts(lambda post: 200)
    desk.gateway.advance(minutes=10)
    assert desk.ask("hooks.list")["items"][0]["is_astray"] is False


def test_how_hooks_are_is_told_without_the_book_too() -> None:
    desk = off()
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    [one] = desk.ask("health")["webhooks"]
    assert (one["name"], one["is_off"], one["waiting"], one["dead"]) == ("shop", True, 2, 0)
    slow = Slow()
    owner._hooks._ledger, owner._hooks._reactor = cast(Any, slow), slow.clock
    told: list[Any] = []
    Deferred.fromCoroutine(owner._hooks.at_a_glance()).addBoth(told.append)  # type: ignore[unused-awaitable] # below
    assert not told
    slow.clock.advance(GLANCE_SECONDS)
    [[one]] = told
    assert (one["name"], one["is_off"], one["waiting"], one["oldest"]) == ("shop", True, None, None)


class Slow:
    """A ledger that does not answer."""

    def __init__(self) -> None:
        self.clock = Clock()

    def is_there(self) -> Deferred[bool]:
        return Deferred()


class Book:
    """Of a ledger what a stop needs; each write takes until ``goes_on``."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []
        self.written = 0
        self.is_closed = False

    async def do(self, job: object) -> dict[str, int]:
        assert not self.is_closed
        turn: Deferred[None] = Deferred()
        self.waiting.append(turn)
        await turn
        self.written += 1
        return {}

    async def close(self) -> None:
        self.is_closed = True

    def goes_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.callback(None)


class Quiet:
    """A hook that posts nothing."""

    def __init__(self, settings: EventHookSettings) -> None:
        self.settings = settings
        self.state = State()

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


async def has_room() -> bool:
    return True


def test_what_a_stop_hands_on_last_is_written_before_the_hooks_leave() -> None:
    [settings] = Desk(CONFIG + HOOK).gateway.config.event_hooks
    book, asked = Book(), Deferred[dict[str, Any]]()
    tasks = TaskGroup(lambda what, failure: failure.raiseException())
    made: Any = lambda one: (Quiet(one), lambda: None)  # noqa: E731
    hooks_of = Hooks(cast(Any, book), lambda ids: asked, made, Clock(), tasks, lambda: 1.0, has_room)
    hooks_of.put_in_force([settings])
    hooks_of.hear([{"time": 1.0, "event": "delivered", "queue_id": "Q1", "recipient": "b@example.org"}])
    closed = Deferred.fromCoroutine(hooks_of.close())
    assert not book.is_closed
    asked.callback({})
    assert not closed.called
    book.goes_on()
    assert (closed.called, book.written, book.is_closed) == (True, 1, True)
