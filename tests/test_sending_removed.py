"""Recipients of the HTTP API's messages who are removed, or sent another way, before they were delivered."""

from contextlib import closing
from typing import Any

import pytest

from mailgw.mail.event import Removed, Result
from mailgw.store import sent
from mailgw.store.database import opened
from mailgw.testing.peers import SAYS_NOTHING
from tests.test_sending import LETTER, Desk

LATE = {**LETTER, "to": ["cy@example.net", "dee@example.net", "eve@example.net"]}


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.gateway.peer("hop.example.net", replies={"RCPT": "450 4.2.0 not now"})
    return desk


def listed(desk: Desk, **which: Any) -> dict[str, list[tuple[str, str, str]]]:
    """By ids: recipients, lanes and states, as the list has them."""
    desk.gateway.advance(0.2)
    return {
        one["id"]: [(to["recipient"], to["lane"], to["state"]) for to in one["recipients"]]
        for one in desk.ask("sent.list", **which)["items"]}


def shown(desk: Desk, id: str) -> list[tuple[str, str, str]]:
    desk.gateway.advance(0.2)
    return [(to["recipient"], to["lane"], to["state"]) for to in desk.ask("sent.show", id=id)["recipients"]]


def test_who_was_removed_is_removed_and_no_others(desk: Desk) -> None:
    answer = desk.send(LATE)
    desk.gateway.advance(minutes=1)
    desk.ask("queue.remove", query={"queue_id": answer["queue_id"], "recipient": "dee@example.net"})
    found = [("cy@example.net", "out", "deferred"), ("dee@example.net", "out", "removed"),
             ("eve@example.net", "out", "deferred")]
    assert listed(desk) == {answer["id"]: found}
    assert shown(desk, answer["id"]) == found
    [removed] = [one for one in desk.ask("sent.show", id=answer["id"])["recipients"] if one["state"] == "removed"]
    assert (removed["code"], removed["text"], removed["due"]) == (450, "not now", None), "the last answer is told on"
    desk.ask("queue.reroute", to="box", query={"queue_id": answer["queue_id"]})
    desk.gateway.advance(minutes=1)
    found = [("cy@example.net", "box", "delivered"), ("dee@example.net", "out", "removed"),
             ("eve@example.net", "box", "delivered")]
    assert shown(desk, answer["id"]) == found
    assert listed(desk) == {answer["id"]: found}


def test_who_is_being_tried_is_not_removed_with_the_others() -> None:
    desk = Desk()
    desk.gateway.peer("hop.example.net", replies={"RCPT": SAYS_NOTHING})
    answer = desk.send({**LETTER, "to": ["cy@example.net", "dee@example.org"], "send_at": 1_700_003_600})
    desk.ask("queue.retry", query={"queue_id": answer["queue_id"], "recipient": "cy@example.net"})
    desk.gateway.advance(1)
    assert desk.ask("sent.cancel", id=answer["id"])["cancelled"] == ["dee@example.org"]
    assert shown(desk, answer["id"]) == [("cy@example.net", "out", "queued"), ("dee@example.org", "box", "removed")]
    assert [state for _, _, state in listed(desk)[answer["id"]]] == ["scheduled", "removed"]


def test_who_was_removed_while_being_tried_in_vain_stays_removed() -> None:
    desk = Desk()
    desk.gateway.peer("hop.example.net", replies={"RCPT": SAYS_NOTHING})
    answer = desk.send({**LETTER, "to": "cy@example.net"})
    desk.gateway.advance(1)
    assert desk.ask("queue.remove", query={"queue_id": answer["queue_id"]}) == 1
    desk.gateway.advance(hours=1)
    assert [one.name for one in desk.gateway.journal if isinstance(one, Result | Removed)] == ["removed", "deferred"]
    found = [("cy@example.net", "out", "removed")]
    assert listed(desk) == {answer["id"]: found}
    assert shown(desk, answer["id"]) == found


def test_the_last_lane_is_told_and_no_other(desk: Desk) -> None:
    answer = desk.send({**LETTER, "to": "cy@example.net"})
    desk.gateway.advance(minutes=1)
    desk.ask("queue.bounce", query={"queue_id": answer["queue_id"]})
    desk.gateway.advance(minutes=1)
    found = [("cy@example.net", "(returned)", "bounced")]
    assert listed(desk, recipient="cy@example.net") == {answer["id"]: found}
    assert shown(desk, answer["id"]) == found
    assert listed(desk, state="deferred") == {}
    desk.gateway.advance(days=7.1)
    desk.send()
    assert desk.ask("sent.show", id=answer["id"]) is None, "it is forgotten as others are"


def book_of(*lanes: str) -> Any:
    book = opened(None, sent.SCHEMA)
    recipients = tuple(sent.Recipient("cy", lane, sent.QUEUED, 0, "", "", "", 0, None, 1.0) for lane in lanes)
    message = sent.Sent(
        "m1", "shop", "", sent.TAKEN, True, "Q1", 1.0, None, "", "", "", 1, (), {}, recipients=recipients)
    sent.begun(message, None, 1.0)(book)
    sent.taken(message)(book)
    return closing(book)


def test_of_two_lanes_one_is_removed() -> None:
    with book_of("a", "b") as book:
        sent.noted([sent.Outcome(2.0, "Q1", "cy", "b", sent.REMOVED)])(book)
        found = sent.shown("m1")(book)
        assert [(one.lane, one.state) for one in found.recipients] == [("a", "queued"), ("b", "removed")]


def test_what_is_told_of_who_is_removed() -> None:
    for before, told, after in (
        ((), "removed", "removed"), (("deferred",), "removed", "removed"), (("delivered",), "removed", "delivered"),
        (("bounced",), "removed", "bounced"), (("removed",), "deferred", "removed"),
        (("removed",), "bounced", "removed"), (("removed",), "held", "removed"),
        (("removed",), "delivered", "delivered"),
    ):
        with book_of("a") as book:
            sent.noted([sent.Outcome(2.0, "Q1", "cy", "a", one) for one in (*before, told)])(book)
            found = sent.shown("m1")(book)
            assert [one.state for one in found.recipients] == [after], (before, told)


def test_who_was_removed_from_another_lane_is_told_of_once_and_an_alias_not_at_all() -> None:
    with book_of("a") as book:
        sent.noted([
            sent.Outcome(2.0, "Q1", "cy", "a", sent.DEFERRED), sent.Outcome(3.0, "Q1", "cy", "b", sent.REMOVED),
            sent.Outcome(3.0, "Q1", "team", "(expanded)", sent.REMOVED)])(book)
        found = sent.shown("m1")(book)
        assert [(one.recipient, one.lane, one.state) for one in found.recipients] == [("cy", "b", "removed")]
