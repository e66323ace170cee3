"""What the HTTP API sent, after a crash: an operator's orders before it is settled, a book that cannot be read at the
start, and words of others that look like the mark of what waits for its record.
"""

import sqlite3
from typing import Any

import pytest
from zope.interface import implementer

from mailgw.interfaces import IPolicyRule
from mailgw.mail.effect import Hold
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import EVERYTHING, RowState
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.sending import SETTLE_SECONDS
from mailgw.spool.rows import UNRECORDED
from mailgw.store import sent
from mailgw.testing.driving import result_of
from mailgw.testing.world import _LivingLedger
from tests.test_sending import LETTER, Desk, all_crashes


@pytest.fixture
def desk() -> Desk:
    return Desk()


def locked(self: object) -> Any:
    raise sqlite3.OperationalError("database is locked")


# --- orders before it is settled --------------------------------------------------------------------------------

def order_everything(desk: Desk) -> None:
    """As ``mailgw queue`` does while no gateway runs."""
    kept = desk.gateway._lasting.spool
    assert kept is not None
    result_of(kept.hold(EVERYTHING))
    result_of(kept.unhold(EVERYTHING))
    result_of(kept.reroute(EVERYTHING, lambda recipient: "box"))
    result_of(kept.retry(EVERYTHING))


def assert_one_came(desk: Desk, id: str) -> None:
    """One message for Bob, however often it was delivered."""
    assert not desk.gateway.queue
    letters = desk.gateway.mailbox("bob@example.org")
    assert len({letter.split(b"Message-ID:")[1].split(b"\n")[0] for letter in letters}) == 1
    assert desk.states(id) in ({"bob@example.org": "delivered"}, {"bob@example.org": "unknown"})


def test_an_order_after_a_crash_makes_no_two_messages_of_one_key() -> None:
    for desk in all_crashes(lambda desk: desk.send(key="k"), order_everything):
        desk.gateway.settle()
        answer = desk.send(key="k")
        desk.gateway.advance(minutes=1)
        desk.gateway.drain()
        assert_one_came(desk, answer["id"])


def test_an_order_after_a_crash_sends_nothing_that_is_in_no_book() -> None:
    answered: set[int] = set()

    def scenario(desk: Desk) -> None:
        desk.send()
        answered.add(id(desk))

    for desk in all_crashes(scenario, order_everything):
        desk.gateway.advance(minutes=1)
        assert not desk.gateway.queue
        assert len(desk.ask("sent.list")["items"]) == bool(desk.gateway.mailbox("bob@example.org"))


def test_an_order_while_it_runs_leaves_alone_what_waits_for_its_record(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, work: object) -> object:
        raise sqlite3.OperationalError("database or disk is full")

    for key, copies in ((None, 0), ("k", 1)):
        desk = Desk()
        desk.send(token="other")
        desk.gateway.settle()
        with monkeypatch.context() as patched:
            patched.setattr("mailgw.store.sent.taken", lambda one: lambda connection: full(one, connection))
            with pytest.raises(TemporaryFault, match="full"):
                desk.send({**LETTER, "to": "cy@example.org"}, key=key)
        for command in ("queue.retry", "queue.release", "queue.bounce"):
            answer = desk.ask(command, query={"recipient": "cy@example.org"})
            assert answer["recipients"] == answer["active"] == 0
        desk.gateway.advance(SETTLE_SECONDS + 1)
        assert len(desk.gateway.mailbox("cy@example.org")) == copies
        assert not desk.gateway.queue


@implementer(IPolicyRule)
class Holding:
    name = "holding"
    stages = frozenset({Stage.CONTENT})

    def __init__(self, why: str) -> None:
        self._why = why

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        return Verdict("holding", "", None, (Hold(self._why),))


def test_an_order_after_a_crash_sends_nothing_that_a_rule_holds_and_its_book_does_not_have() -> None:
    for desk in all_crashes(
        lambda desk: desk.send(key="k"), order_everything, lambda: Desk(rules=[Holding("look first")])
    ):
        desk.gateway.settle()
        answer = desk.send(key="k")
        desk.ask("queue.release", query={})
        desk.gateway.advance(minutes=1)
        desk.gateway.drain()
        assert_one_came(desk, answer["id"])


def test_what_became_of_mail_that_a_rule_held_is_known() -> None:
    desk = Desk(rules=[Holding("look first")])
    answer = desk.send()
    assert desk.states(answer["id"]) == {"bob@example.org": "held"}
    assert [row.reason for row in desk.gateway.queue] == ["held by rule Holding: look first"]
    assert desk.ask("queue.release", query={})["recipients"] == 1
    assert desk.states(answer["id"]) == {"bob@example.org": "delivered"}


# --- a book that cannot be read at the start --------------------------------------------------------------------

def test_what_was_answered_is_let_go_once_the_book_can_be_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(queue_id: str, record: str) -> None:
        raise TemporaryFault("the queue is unwell")

    owner = desk.gateway.service.sending._owner
    assert owner is not None
    monkeypatch.setattr(owner._sending._takes, "release", down)
    desk.send()
    desk.gateway.crash()
    with monkeypatch.context() as patched:
        patched.setattr(_LivingLedger, "_open", locked)
        desk.gateway.restart()
        desk.gateway.advance(2.5 * SETTLE_SECONDS)
        assert [row.state for row in desk.gateway.queue] == [RowState.HELD]
    desk.gateway.advance(SETTLE_SECONDS)
    assert not desk.gateway.queue
    assert len(desk.gateway.mailbox("bob@example.org")) == 1


def test_what_became_of_mail_while_the_book_could_not_be_read_is_known(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = desk.deferred()
    desk.stop_while_the_hop_recovers()
    with monkeypatch.context() as patched:
        patched.setattr(_LivingLedger, "_open", locked)
        desk.gateway.restart()
        desk.ask("queue.retry", query={})
        desk.gateway.advance(5)
        assert not desk.gateway.queue
    desk.gateway.advance(SETTLE_SECONDS)
    assert desk.states(answer["id"]) == {"cy@example.net": "delivered"}


def test_a_start_that_is_tried_again_takes_no_file_that_is_needed(desk: Desk) -> None:
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    sending = owner._sending
    desk.gateway.disk.make_folder(sending._folder)
    for name in ("m1", "m2"):
        desk.put(b"x", f"{sending._folder}/{name}")
    sending._under_way.add("m1")
    sending._empty_folder()
    assert desk.gateway.disk.names(sending._folder) == ["m1"]


def test_what_waits_for_a_book_that_was_taken_away_whole_is_let_go(desk: Desk) -> None:
    async def down(queue_id: str, record: str) -> None:
        raise TemporaryFault("the queue is unwell")

    owner = desk.gateway.service.sending._owner
    assert owner is not None
    owner._sending._takes.release = down  # type: ignore[method-assign]
    desk.send()
    desk.gateway.crash()
    desk.gateway._lasting.ledgers.clear()
    desk.gateway.restart()
    desk.gateway.advance(1)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1


# --- words of others --------------------------------------------------------------------------------------------

def test_no_servers_words_end_an_operators_hold(desk: Desk) -> None:
    desk.gateway.peer("hop.example.net", replies={"RCPT": f"451 4.7.1 {UNRECORDED}mdeadbeef"})
    desk.send({**LETTER, "to": "cy@example.net"})
    desk.gateway.advance(minutes=1)
    desk.ask("queue.hold", query={"recipient": "cy@example.net"})
    desk.gateway.restart()
    desk.gateway.advance(SETTLE_SECONDS)
    [row] = desk.gateway.queue
    assert (row.state, UNRECORDED in row.reason) == (RowState.HELD, True)


def test_what_a_rule_held_is_held_in_a_record_that_was_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(rules=[Holding("look first")])
    with monkeypatch.context() as patched:
        patched.setattr(sent, "taken", lambda one: locked)
        with pytest.raises(TemporaryFault, match="locked"):
            desk.send(key="k")
    desk.gateway.advance(SETTLE_SECONDS + 1)
    [item] = desk.ask("sent.list")["items"]
    assert [(to["state"], to["text"]) for to in item["recipients"]] == [("held", "held by rule Holding: look first")]
    assert desk.states(item["id"]) == {"bob@example.org": "held"}


def test_no_rules_words_end_its_hold() -> None:
    desk = Desk(rules=[Holding(f"{UNRECORDED}mdeadbeef")])
    held = desk.send(key="k")
    desk.gateway.restart()
    desk.gateway.advance(SETTLE_SECONDS)
    [row] = desk.gateway.queue
    assert row.state == RowState.HELD
    assert UNRECORDED in row.reason
    assert not row.reason.startswith(UNRECORDED)
    assert desk.states(held["id"]) == {"bob@example.org": "held"}
    assert desk.ask("queue.release", query={})["recipients"] == 1, "an operator may"
