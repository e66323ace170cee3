"""Health by HTTP: what is told, and what is made of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from mailgw.mail.event import Trouble
from mailgw.mail.verdict import Stage
from mailgw.testing import Gateway
from mailgw.web.findings import DAY, findings
from tests.tables import each
from tests.web.test_queue_api import CONFIG

WELL: Mapping[str, Any] = {
    "workers": [], "certificates": [], "unwell": [], "troubles": [], "webhooks": [],
    "books": [{"book": "sent", "fault": ""}, {"book": "hooks", "fault": ""}], "lost_events": {"count": 0, "last": 0.0},
    "reload": {"faults": [], "succeeded": 0.0},
    "maildrop": {"folder": "/d", "waiting": 0, "late": 0, "bad": 0, "why": "", "fault": ""},
    "disk": {"path": "/s", "free_octets": 1000 << 20, "reserve_octets": 100 << 20, "has_room": True},
}
NOW = 1_000_000_000.0


def certificate(seconds: float | None, why: str = "") -> dict[str, Any]:
    end = None if seconds is None else NOW + seconds
    return {"certificates": [{"name": "default", "file": "c.pem", "not_after": end, "why": why}]}


def worker(is_ready: bool, ends: int, answers: bool = True) -> dict[str, Any]:
    return {"workers": [{"worker": 0, "is_ready": is_ready, "answers": answers, "ends": ends}]}


def disk(free_octets: int, has_room: bool) -> dict[str, Any]:
    return {"disk": {**WELL["disk"], "free_octets": free_octets, "has_room": has_room}}


def maildrop(**more: Any) -> dict[str, Any]:
    return {"maildrop": {**WELL["maildrop"], **more}}


def lanes(count: int, said: str = "") -> dict[str, Any]:
    return {"unwell": [{"lane": f"out/{number}", "state": "dead", "said": said} for number in range(count)]}


def trouble(ago: float, count: int) -> dict[str, Any]:
    return {"troubles": [{"what": "rule x", "why": "raised E", "count": count, "last": NOW - ago}]}


def book(name: str, fault: str) -> dict[str, Any]:
    return {"books": [{"book": name, "fault": fault}]}


def lost(count: int, ago: float) -> dict[str, Any]:
    return {"lost_events": {"count": count, "last": NOW - ago}}


def refused(*faults: str) -> dict[str, Any]:
    return {"reload": {"faults": list(faults), "succeeded": 0.0}}


def hook(
    waiting: int | None, ago: float | None, dead: int | None = 0, is_off: bool = False, blocked: int | None = 0,
    is_astray: bool | None = False,
) -> dict[str, Any]:
    return {"webhooks": [{"name": "shop", "is_off": is_off, "why": "HTTP 503", "waiting": waiting, "dead": dead,
                          "blocked": blocked, "is_astray": is_astray, "oldest": None if ago is None else NOW - ago}]}


@each(["more", "found"], [
    ({}, []),
    (certificate(14 * DAY), []),
    (certificate(14 * DAY - 1), ["warn certificate default: ends in 13 days: c.pem"]),
    (certificate(3 * DAY), ["warn certificate default: ends in 3 days: c.pem"]),
    (certificate(3 * DAY - 1), ["bad certificate default: ends in 2 days: c.pem"]),
    (certificate(7200.0), ["bad certificate default: ends in 2 hours: c.pem"]),
    (certificate(3600.0), ["bad certificate default: ends in 1 hour: c.pem"]),
    (certificate(0.0), ["bad certificate default: ended 0 hours ago: c.pem"]),
    (certificate(-DAY), ["bad certificate default: ended 1 day ago: c.pem"]),
    (certificate(None, "c.pem: no PEM certificate"), ["bad certificate default: c.pem: no PEM certificate"]),
    (worker(True, 0), []),
    (worker(True, 2), ["warn worker 0: ended 2 times of late, and was started again"]),
    (worker(True, 2, False), ["bad worker 0: does not answer: after a minute of that it is started again"]),
    (worker(False, 2, False), ["bad worker 0: does not run: the log says why; it is started again and again"]),
    (disk(400 << 20, True), []),
    (disk((400 << 20) - 1, True), ["warn the disk of /s: 400 MiB are free; below 100 MiB no mail is taken"]),
    (disk(5, False),
     ["bad the disk of /s: 5 octets are free, below the reserve of 100 MiB: no mail is taken or sent"]),
    ({"maildrop": None}, []),
    (maildrop(waiting=3), []),
    (maildrop(late=1, why="no room"), ["warn the maildrop /d: 1 message has waited there for minutes: no room"]),
    (maildrop(late=2, bad=1), [
        "warn the maildrop /d: 2 messages have waited there for minutes",
        "warn the maildrop /d: 1 cannot be sent, and stays as .bad: the log says why",
    ]),
    (maildrop(bad=2, fault="no access"), [
        "bad the maildrop /d: no access: what programs leave there is not sent",
        "warn the maildrop /d: 2 cannot be sent, and stay as .bad: the log says why",
    ]),
    (lanes(1, "451 no"), ["warn lane out/0: is dead: 451 no"]),
    (lanes(7), [*(f"warn lane out/{number}: is dead" for number in range(5)), "warn lanes: 2 more are in trouble"]),
    (trouble(3600.0, 1), []),
    (trouble(3599.0, 2), ["warn rule x: raised E, 2 times"]),
    (refused("m.toml:2: x: y"), ["bad the configuration: was refused when it was read again, and the one before stays: "
                                 "m.toml:2: x: y"]),
    (refused("a", "b", "c"),
     ["bad the configuration: was refused when it was read again, and the one before stays: a (and 2 more)"]),
    (book("sent", ""), []),
    (book("sent", "/s/sent.sqlite: no"), ["bad the book of what was sent by HTTP: /s/sent.sqlite: no: "
     "until it can be used again nothing is taken by HTTP, nor from the maildrop"]),
    (book("hooks", "/s/hooks.sqlite: no"), ["bad the book of events for web hooks: /s/hooks.sqlite: no: "
     "until it can be used again they are lost"]),
    (lost(1, 3599.0),
     ["bad web hooks: 1 event is lost since the start, which could not be written down: the log says why"]),
    (lost(1200, 0.0),
     ["bad web hooks: 1,200 events are lost since the start, which could not be written down: the log says why"]),
    (lost(1, 3600.0), []),
    ({"books": [], "lost_events": None}, []),
    (hook(0, None), []),
    (hook(5, 3600.0), []),
    (hook(1, 3601.0), ["warn web hook shop: 1 event waits, for 1 hour by now: HTTP 503"]),
    (hook(1200, 3 * DAY), ["warn web hook shop: 1,200 events wait, for 3 days by now: HTTP 503"]),
    (hook(0, None, 1), ["warn web hook shop: 1 event is dead: never taken, to be tried again or dropped"]),
    (hook(2, 7200.0, 2, is_off=True),
     ["bad web hook shop: is off, since it said 410, Gone: it is told nothing before it is resumed",
      "warn web hook shop: 2 events are dead: never taken, to be tried again or dropped"]),
    (hook(None, None, None, blocked=None, is_astray=None), []),
    (hook(1200, 60.0, blocked=5, is_astray=True),
     ["warn web hook shop: takes nothing: all 1,200 events wait: HTTP 503"]),
    (hook(1, 3601.0, is_astray=True),
     ["warn web hook shop: takes nothing: 1 event waits, for 1 hour by now: HTTP 503"]),
    (hook(0, None, is_astray=True), []),
    (hook(2, 60.0, is_off=True, is_astray=True),
     ["bad web hook shop: is off, since it said 410, Gone: it is told nothing before it is resumed"]),
    (hook(5, 60.0, blocked=1), ["warn web hook shop: 1 message is refused for now: HTTP 503"]),
    (hook(5, 3601.0, blocked=2), ["warn web hook shop: 5 events wait, for 1 hour by now: HTTP 503"]),
    ({**trouble(0.0, 1), **worker(False, 0)},
     ["bad worker 0: does not run: the log says why; it is started again and again", "warn rule x: raised E"]),
])
def test_what_is_wrong_is_said(more: Mapping[str, Any], found: Sequence[str]) -> None:
    told = findings({**WELL, **more}, NOW)
    assert [f"{one['level']} {one['what']}: {one['why']}" for one in told] == found


def test_a_gateway_tells_how_it_is() -> None:
    with Gateway(CONFIG) as gateway:
        gateway.receive(b"Subject: x\r\n\r\n", sender="a@example.org", to=["b@example.net"], client="10.0.0.1")
        gateway.service.journal.note(Trouble("rule x", "raised E", "", ""))
        gateway.advance(minutes=10)
        told = gateway.http("GET", "/api/v1/health").json
        assert told["hostname"] == "mx.example.org"
        assert told["listeners"] == [{"role": "mx", "endpoint": "tcp:25"}]
        assert [(one["what"], one["count"]) for one in told["troubles"]] == [("rule x", 1)]
        assert {one["what"] for one in told["findings"]} == {"rule x", "lane out"}
        assert told["unwell"][0]["lane"] == "out"
        assert 600.0 <= gateway.now - told["began"] < 660.0


class Quiet:
    """A rule that lets all pass."""

    stages = frozenset({Stage.MAIL})

    def __init__(self, password: str = "") -> None:
        pass

    async def judge(self, stage: object, facts: object) -> None:
        return None


def test_the_configuration_in_force_is_shown_without_secrets() -> None:
    words = CONFIG + """
[[rule]]
type = "python:tests.web.test_health_api:Quiet"
password = "hunter2"
"""
    with Gateway(words) as gateway:
        answer = gateway.http("GET", "/api/v1/config")
        assert b"hunter2" not in answer.body
        assert answer.json["written"]["rule"][0]["password"] == "(hidden)"
        assert answer.json["written"]["backend"]["out"]["hosts"] == ["192.0.2.9:25"]


@each(["words", "staging"], [
    ("", False),
    ('[staging]\ncapture = "all"', True),
    ('[staging]\ncapture = "all"\nlet_out = ["out"]', True),
    ('[staging]\ncapture = "delivered"', False),
])
def test_that_nothing_leaves_is_told(words: str, staging: bool) -> None:
    with Gateway(f"{CONFIG}\n{words}\n") as gateway:
        assert gateway.http("GET", "/api/v1/config").json["staging"] is staging


def test_certificates_are_told_of() -> None:
    with Gateway(CONFIG, accounts={"ann@example.org": "secret"}) as gateway:
        (one,) = gateway.http("GET", "/api/v1/health").json["certificates"]
        assert one["name"] == "default"
        assert "mx.example.org" in one["names"]
        assert one["why"] == ""
        assert one["not_before"] < one["not_after"]
