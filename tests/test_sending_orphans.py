"""What waits in the queue for its sender's record, where the book and the queue are not of one time, or one of them was
taken away; and facts that come while the book cannot be written.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw import sending_facts
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Removed
from mailgw.mail.message import RowState
from mailgw.sending import FACTS_SECONDS, FOLDER, LOOK_SECONDS, SETTLE_SECONDS, Sending
from mailgw.spool.rows import UNRECORDED
from mailgw.store import sent
from tests.test_sending import LETTER, Desk
from tests.test_sending_recovered import locked

LATER = {**LETTER, "send_at": 1_700_003_600}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def sending_of(desk: Desk) -> Sending:
    owner = desk.gateway.service.sending._owner
    assert owner is not None
    return owner._sending


def wait_again(desk: Desk, answer: Mapping[str, Any], record: str) -> None:
    """As in a queue that is older."""
    kept = desk.gateway._lasting.spool
    assert kept is not None
    [row] = kept._queue[answer["queue_id"]].rows.values()
    kept._waiting.remove(row)
    row.due, row.reason = None, f"{UNRECORDED}{record}"


def states(desk: Desk) -> list[RowState]:
    return [row.state for row in desk.gateway.queue]


@pytest.mark.parametrize("restarts", [True, False])
def test_what_waits_for_a_record_that_was_let_go_is_let_go(desk: Desk, restarts: bool) -> None:
    answer = desk.send(LATER)
    desk.gateway.settle()
    wait_again(desk, answer, answer["id"])
    assert states(desk) == [RowState.HELD]
    if restarts:
        desk.gateway.restart()
    desk.gateway.advance(1 if restarts else LOOK_SECONDS)
    assert states(desk) == [RowState.WAITING]
    desk.gateway.advance(hours=1)
    assert desk.states(answer["id"]) == {"bob@example.org": "delivered"}


def test_what_waits_for_a_record_that_was_buried_long_before_is_removed(desk: Desk) -> None:
    answer = desk.send(LATER)
    desk.gateway.settle()
    wait_again(desk, answer, "m0")
    book = desk.gateway._lasting.ledgers[f"{desk.gateway.config.state}/{sent.FILE}"]
    book.execute("INSERT INTO sent (id, token, digest, state, released, at) VALUES ('m0', '', '', 'buried', 1, 0)")
    desk.gateway.advance(LOOK_SECONDS)
    assert not desk.gateway.queue
    assert not desk.gateway.mailbox("bob@example.org")


def test_who_changes_his_process_while_his_record_is_settled_is_let_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(queue_id: str, record: str) -> None:
        raise TemporaryFault("the queue is unwell")

    sending = sending_of(desk)
    monkeypatch.setattr(sending._takes, "release", down)
    desk.send()
    door = sending._door

    class Blind:
        """No worker has it just then."""

        async def answer(self, request: Mapping[str, Any]) -> object:
            return [] if request["command"] == "queue.list" else await door.answer(request)

    monkeypatch.setattr(sending, "_door", Blind())
    desk.gateway.advance(SETTLE_SECONDS + 1)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1


def test_a_queue_that_was_moved_here_alone_is_let_go_and_no_book_is_made(desk: Desk) -> None:
    answer = desk.send(LATER)
    desk.gateway.settle()
    wait_again(desk, answer, answer["id"])
    desk.gateway.crash()
    desk.gateway._lasting.ledgers.clear()
    desk.gateway.disk._folders.discard(f"{desk.gateway.config.state}/{FOLDER}")
    desk.gateway.restart()
    desk.gateway.advance(1)
    assert states(desk) == [RowState.WAITING]
    desk.gateway.advance(hours=1)
    assert len(desk.gateway.mailbox("bob@example.org")) == 1
    assert not desk.gateway._lasting.ledgers


def test_a_request_that_ends_while_others_are_settled_is_left_alone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[str] = []
    sending = sending_of(desk)
    desk.send()
    desk.gateway.settle()

    async def settle(one: sent.Sent) -> None:
        settled.append(one.id)
        sending._under_way.discard("m2")

    monkeypatch.setattr(sending, "_settle", settle)
    book = desk.gateway._lasting.ledgers[f"{desk.gateway.config.state}/{sent.FILE}"]
    for id in ("m1", "m2"):
        book.execute("INSERT INTO sent (id, token, digest, state, at) VALUES (?, '', '', 'pending', 0)", (id,))
    sending._under_way.add("m2")
    sending._settle_soon()
    desk.gateway.advance(SETTLE_SECONDS + 1)
    assert settled == ["m1"]


# --- facts ------------------------------------------------------------------------------------------------------

def test_who_is_removed_while_the_record_is_written_is_told_of(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, order = sent.taken, {"command": "queue.remove", "query": {"recipient": "bob@example.org"}}

    def slowly(one: sent.Sent) -> Any:
        """The book takes its time; meanwhile an operator removes the message."""
        desk.gateway.service.journal.note(Removed(one.queue_id, 1, "bob@example.org", "box"))
        Deferred.fromCoroutine(desk.gateway.service.answer(order))
        return taken(one)

    monkeypatch.setattr(sent, "taken", slowly)
    answer = desk.send(LATER)
    desk.gateway.advance(1)
    assert not desk.gateway.queue
    assert desk.states(answer["id"]) == {"bob@example.org": "removed"}


def test_what_became_of_whom_while_the_book_could_not_be_written_is_written_later_in_its_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = desk.send(LATER)
    desk.gateway.settle()
    sending = sending_of(desk)

    def hear(state: str, lane: str) -> None:
        sending.hear([sent.Outcome(desk.gateway.now, answer["queue_id"], "bob@example.org", lane, state)])
        desk.gateway.advance(0.2)

    with monkeypatch.context() as patched:
        patched.setattr(sent, "noted", lambda outcomes: locked)
        hear(sent.DEFERRED, "box")
    hear(sent.DELIVERED, "out")
    assert desk.states(answer["id"]) == {"bob@example.org": "scheduled"}
    desk.gateway.advance(SETTLE_SECONDS)
    [to] = desk.ask("sent.list")["items"][0]["recipients"]
    assert (to["state"], to["lane"]) == ("delivered", "out")


def test_a_stop_writes_what_became_of_whom(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = desk.send()
    with monkeypatch.context() as patched:
        patched.setattr(sent, "noted", lambda outcomes: locked)
        desk.gateway.advance(1)
        assert not desk.gateway.queue
    desk.gateway.stop()
    desk.gateway.restart()
    assert desk.states(answer["id"]) == {"bob@example.org": "delivered"}


def test_of_more_facts_than_are_kept_the_rest_is_unknown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending_facts, "MOST_UNWRITTEN", 1)
    ids = [desk.send(LATER)["id"] for _ in range(3)]
    desk.gateway.settle()
    with monkeypatch.context() as patched:
        patched.setattr(sent, "noted", lambda outcomes: locked)
        desk.gateway.advance(hours=1)
        assert not desk.gateway.queue
    desk.gateway.advance(SETTLE_SECONDS + FACTS_SECONDS)
    assert sorted(one for id in ids for one in desk.states(id).values()) == ["delivered", "unknown", "unknown"]
