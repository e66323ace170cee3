"""The queue by HTTP, of a whole gateway in memory."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from mailgw.queue.suspension import STATES
from mailgw.testing import Gateway
from mailgw.web.queue_api import State
from tests.tables import each
from tests.two_ways import TWO_WAYS

CONFIG = f"{TWO_WAYS}[api]\n"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG) as made:
        for number in range(3):
            answer = made.receive(
                f"Subject: {number}\r\n\r\n{'x' * 100}\r\n".encode(), sender="ann@example.org",
                to=[f"bob{number}@example.net", "cat@example.net"], client="10.0.0.1",
            )
            assert answer.code == 250
        made.advance(minutes=1)
        yield made


def got(gateway: Gateway, path: str, status: int = 200) -> Any:
    answer = gateway.http("GET", f"/api/v1{path}")
    assert answer.status == status, (path, answer.body)
    return answer.json


def posted(gateway: Gateway, path: str, body: object, status: int = 200) -> Any:
    answer = gateway.http("POST", f"/api/v1{path}", body)
    assert answer.status == status, (path, answer.body)
    return answer.json


def test_pages_go_through_all_of_it(gateway: Gateway) -> None:
    for newest in ("", "&newest=true"):
        found, after = [], ""
        for _ in range(4):
            page = got(gateway, f"/queue/messages?limit=2{newest}{after}")
            found += page["items"]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert len({(row["queue_id"], row["row"]) for row in found}) == 6
        ids = [row["queue_id"] for row in found]
        assert ids == sorted(ids, reverse=bool(newest))
    assert found[0]["reason"].endswith("451 4.4.1 Cannot connect: Connection refused")
    assert got(gateway, "/queue/count?domain=example.net") == {"recipients": 6, "is_all": True}


@each(["query", "count"], [
    ("recipient=BOB1@example.net", 1), ("address=bob", 3), ("domain=example.net", 6), ("state=waiting", 6),
    ("state=held", 0), ("reason=refused", 6), ("sender=", 0), ("arrived_after=1", 6), ("arrived_before=1", 0),
    ("lane=out", 6), ("login=", 6),
])
def test_what_is_sought_is_found(gateway: Gateway, query: str, count: int) -> None:
    assert len(got(gateway, f"/queue/messages?{query}")["items"]) == count


@each(["path", "status"], [
    ("/queue/messages?colour=red", 400), ("/queue/messages?limit=0", 400), ("/queue/messages?limit=1001", 400),
    ("/queue/messages?after=x", 400), ("/queue/messages?after=x-1234567890", 400), ("/queue/messages/NONE", 404),
    ("/queue/messages/NONE/content", 404), ("/queue/lanes?limit=1001", 400), ("/queue/messages?limit=1000", 200),
    ("/queue/messages?arrived_after=nan", 400), ("/queue/count?address=", 422), ("/queue/messages?reason=%20", 422),
    (f"/queue/messages?sender={'x' * 1001}", 400),
])
def test_what_makes_no_sense_is_said(gateway: Gateway, path: str, status: int) -> None:
    got(gateway, path, status)


def test_a_message_is_shown_whole(gateway: Gateway) -> None:
    queue_id = got(gateway, "/queue/messages")["items"][0]["queue_id"]
    shown = got(gateway, f"/queue/messages/{queue_id}")
    assert [one["recipient"] for one in shown["recipients"]] == ["bob0@example.net", "cat@example.net"]
    assert "Subject: 0" in shown["header"]
    content = gateway.http("GET", f"/api/v1/queue/messages/{queue_id}/content")
    assert content.headers["content-type"] == "message/rfc822"
    assert content.body.endswith(b"x\r\n")
    assert got(gateway, f"/queue/messages/{queue_id}/attempts") == []  # the journal is in no file here


def test_orders_do_what_they_say(gateway: Gateway) -> None:
    queue_id = got(gateway, "/queue/messages")["items"][0]["queue_id"]
    nothing: dict[str, Any] = {"held": 0, "later": 0, "suspended": [], "unwell": [], "missing": []}
    told = posted(gateway, "/queue/hold", {"queue_ids": [queue_id, "NONE"]})
    assert told == {"recipients": 2, "active": 0} | nothing | {"missing": ["NONE"]}
    assert len(got(gateway, "/queue/messages?state=held")["items"]) == 2
    assert posted(gateway, "/queue/release", {"which": {"recipient": "bob0@example.net"}})["recipients"] == 1
    assert posted(gateway, "/queue/release", {"all": True})["recipients"] == 1
    assert posted(gateway, "/queue/suspend", {"destination": "out"}) == {"changed": True, "recipients": 6}
    assert list(got(gateway, "/queue/suspended")) == ["out"]
    told = posted(gateway, "/queue/retry", {"all": True})
    assert (told["recipients"], told["suspended"]) == (6, [{"by": ["out"], "recipients": 6}])
    assert {row["state"] for row in got(gateway, "/queue/messages")["items"]} == {"suspended"}
    assert len(got(gateway, "/queue/messages?state=suspended")["items"]) == 6
    assert got(gateway, "/queue/count?state=suspended") == {"recipients": 6, "is_all": True}
    told = posted(gateway, "/queue/hold", {"which": {"recipient": "bob0@example.net"}})
    told = posted(gateway, "/queue/reroute", {"queue_ids": [queue_id], "to": "out"})
    assert (told["held"], told["later"], told["suspended"]) == (1, 0, [{"by": ["out"], "recipients": 2}])
    told = posted(gateway, "/queue/release", {"all": True})
    assert (told["recipients"], told["suspended"]) == (1, [{"by": ["out"], "recipients": 1}])
    posted(gateway, "/queue/suspend", {"destination": "out/*"})
    assert posted(gateway, "/queue/resume", {"destination": "out"}) == {
        "changed": True, "recipients": 6, "suspended": [{"by": ["out/*"], "recipients": 6}]}
    assert posted(gateway, "/queue/resume", {"destination": "out/*"})["suspended"] == []
    gateway.advance(minutes=1)
    assert got(gateway, "/queue/backends") == ["home", "out"]
    assert posted(gateway, "/queue/reroute", {"which": {"address": "bob2"}, "to": "home"})["recipients"] == 1
    gateway.advance(minutes=1)
    assert len(gateway.mailbox("bob2@example.net", "home")) == 1
    assert posted(gateway, "/queue/bounce", {"which": {"address": "bob1"}})["recipients"] == 1
    gateway.advance(minutes=1)
    assert len(gateway.mailbox("ann@example.org")) == 1
    assert gateway.http("DELETE", f"/api/v1/queue/messages/{queue_id}").json["recipients"] == 2
    assert gateway.http("DELETE", f"/api/v1/queue/messages/{queue_id}").status == 404
    assert posted(gateway, "/queue/remove", {"which": {"domain": "example.net"}})["recipients"] == 2
    assert got(gateway, "/queue/messages") == {"items": [], "next": None}


@each(["verb", "body", "status"], [
    ("hold", {}, 400), ("hold", {"all": True}, 400), ("hold", {"which": {}}, 400), ("hold", {"which": {"x": "y"}}, 400),
    ("remove", {"all": True}, 400), ("bounce", {"all": True}, 400), ("reroute", {"all": True, "to": "home"}, 400),
    ("reroute", {"which": {"domain": "a"}}, 400), ("reroute", {"which": {"domain": "a"}, "to": "nowhere"}, 422),
    ("hold", {"queue_ids": [], "which": {"domain": "a"}}, 400), ("hold", {"queue_ids": ["x"] * 1001}, 400),
    ("hold", {"queue_ids": ["x"] * 1000}, 200), ("suspend", {"destination": ""}, 422), ("suspend", {}, 400),
    ("hold", {"which": {"address": ""}}, 422), ("remove", {"which": {"reason": ""}}, 422),
    ("bounce", {"which": {"address": " "}}, 422), ("hold", {"which": {"domain": "example.net", "reason": "\t"}}, 422),
    ("remove", {"which": {"sender": ""}}, 200), ("hold", {"queue_ids": [""]}, 200),
    ("remove", {"which": {"domain": ""}}, 200), ("remove", {"which": {"lane": ""}}, 200),
    ("remove", {"which": {"recipient": ""}}, 200), ("remove", {"which": {"state": ""}}, 400),
    ("remove", {"which": {"state": "foo"}}, 400), ("retry", {"which": {"state": "foo"}}, 400),
])
def test_an_order_that_means_nobody_or_everybody_is_refused(
    gateway: Gateway, verb: str, body: object, status: int
) -> None:
    posted(gateway, f"/queue/{verb}", body, status)
    assert len(got(gateway, "/queue/messages?state=waiting")["items"]) == 6


def test_the_states_that_rows_show_are_those_that_can_be_asked_for(gateway: Gateway) -> None:
    assert get_args(State) == STATES
    for state in STATES:
        got(gateway, f"/queue/messages?state={state}")
    for path in ("messages", "count"):
        assert gateway.http("GET", f"/api/v1/queue/{path}?state=foo").status == 400
    shapes = gateway.http("GET", "/api/v1/openapi.json").json["components"]["schemas"]
    [shape] = [one for name, one in shapes.items() if {"lane", "helo"} <= set(one["properties"])]
    assert shape["properties"]["state"]["enum"] == sorted(STATES)


def test_lanes_are_counted(gateway: Gateway) -> None:
    lanes = got(gateway, "/queue/lanes")
    assert (lanes["is_whole"], lanes["waiting"], lanes["lane_count"]) == (True, 6, 1)
    assert [(lane["lane"], lane["waiting"], lane["suspended"]) for lane in lanes["lanes"]] == [("out", 6, False)]
    assert lanes["statuses"] == {"451 4.4.1": 6}
