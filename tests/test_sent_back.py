"""``queue.bounce``: the operator sends what waits back to its senders."""

from collections.abc import Mapping
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from mailgw.mail.message import Query
from mailgw.queue.returned import RETURNED, being_returned, returned
from mailgw.queue.suspension import Suspensions, rows_told
from mailgw.testing import Gateway
from tests.tables import each
from tests.test_control import row
from tests.two_ways import TWO_WAYS

LETTER = b"Subject: late\r\n\r\nhello\r\n"


def asked(gateway: Gateway, **request: Any) -> Any:
    told: list[Any] = []
    Deferred.fromCoroutine(gateway.service.answer(request)).addBoth(told.append)  # type: ignore[unused-awaitable] # below
    gateway.settle()
    return told[0]


def waiting(**more: Any) -> Gateway:
    """One message from ann to two dead ends."""
    gateway = Gateway(TWO_WAYS)
    to = ["bob@example.net", "cat@example.net"]
    assert gateway.receive(LETTER, sender="ann@example.org", to=to, client="10.0.0.1", **more).code == 250
    gateway.advance(minutes=1)
    return gateway


def rows(gateway: Gateway) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = asked(gateway, command="queue.list", query={})
    return found


def test_it_goes_back_with_the_last_answer() -> None:
    gateway = waiting()
    assert [row["attempts"] for row in rows(gateway)] == [1, 1]
    told = asked(gateway, command="queue.bounce", query={"recipient": "bob@example.net"})
    assert told == {"recipients": 1, "active": 0}
    gateway.advance(minutes=1)
    assert [row["recipient"] for row in rows(gateway)] == ["cat@example.net"]
    (bounce,) = gateway.mailbox("ann@example.org")
    words = b" ".join(bounce.split())
    assert b"took it out of there: it was not delivered." in words
    said = b"Returned by the operator of this server; it was kept here since: [192.0.2.9]:25: 451 4.4.1 Cannot connect"
    assert b"550 5.7.0 " + said in words
    assert b" Status: 5.7.0 " in words
    facts = [one for one in gateway.journal if one.name in ("ordered", "bounced")]
    assert [(one.name, getattr(one, "lane", "")) for one in facts] == [("ordered", ""), ("bounced", RETURNED)]
    assert "out/" not in facts[1].text  # type: ignore[attr-defined]


def test_what_is_held_goes_back_too_and_a_restart_forgets_nothing() -> None:
    gateway = waiting()
    assert asked(gateway, command="queue.hold", query={"domain": "example.net"})["recipients"] == 2
    assert asked(gateway, command="queue.bounce", query={"state": "held"}) == {"recipients": 2, "active": 0}
    gateway.crash()
    gateway.restart()
    gateway.advance(minutes=1)
    assert rows(gateway) == []
    assert len(gateway.mailbox("ann@example.org")) in (1, 2)


def test_what_has_the_null_path_is_forgotten() -> None:
    gateway = Gateway(TWO_WAYS)
    gateway.receive(LETTER, sender="", to=["bob@example.net"], client="10.0.0.1")
    gateway.advance(minutes=1)
    asked(gateway, command="queue.bounce", query={"sender": ""})
    gateway.advance(minutes=1)
    assert rows(gateway) == []
    assert [one.notice_id for one in gateway.journal if one.name == "bounced"] == [""]  # type: ignore[attr-defined]


def test_a_reason_is_cut() -> None:
    assert str(returned("x" * 400).reply).endswith("x" * 400)
    assert str(returned("x" * 401).reply).endswith("x" * 400)
    assert "kept here" not in str(returned("").reply)
    assert Query(lane=RETURNED) != Query()


def test_a_row_says_that_it_goes_back() -> None:
    answer = "mx: 451 no"
    going = attrs.evolve(row("Q1"), lane=RETURNED, reason=f"before the reroute: {answer}")
    told = rows_told([going, attrs.evolve(going, lane="out")], Suspensions.of(()))
    assert [one["reason"] for one in told] == [f"being returned: {answer}", f"before the reroute: {answer}"]


@each(("reason", "told"), [
    ("", "being returned"),
    ("before the reroute: mx: 451 no", "being returned: mx: 451 no"),
    ("not before 2026-11-28 12:00:00Z (FUTURERELEASE)", "being returned"),
    ("held by the operator", "held by the operator: being returned"),
    ("held by the operator: before the reroute: mx: 451 no", "held by the operator: being returned: mx: 451 no"),
])
def test_the_words_of_such_a_row(reason: str, told: str) -> None:
    assert being_returned(reason) == told
