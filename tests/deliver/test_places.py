"""The places in memory: how many there are, and for whom."""

import math

import pytest

from mailgw.deliver import places
from mailgw.deliver.places import FETCH, Places, Waiting
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Claim, Message, QueuedRecipient
from mailgw.mail.parameters import ByMode, DeliverBy, MailParameters
from mailgw.mail.shape import Bounds
from mailgw.queue.gates import DEAD_AFTER, FIRST_WINDOW, Gate, Pauses
from mailgw.queue.lanes import MAX_WAITING, Lane
from mailgw.spool.content import MemoryContent
from tests.deliver.dispatching import ADMIN, ALICE, BOB, DEAD
from tests.tables import each

MOST = 20


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", MOST)


def lane(key: str = "out/example.net", *, was_reached: bool = False) -> "Lane[Waiting]":
    gate = Gate(key, Bounds(50, None), Pauses(10.0, 100.0))
    gate.was_reached = was_reached
    return Lane(key, gate)


def claim(sender: Mailbox | None = None, attempts: int = 0, by: DeliverBy | None = None) -> Claim:
    message = Message("q1", sender, BodyType.SEVEN_BIT, 0.0, MemoryContent(b""), MailParameters(deliver_by=by))
    return Claim(1, "out/example.net", message, (QueuedRecipient(1, BOB, attempts, warned=False),))


def fill(memory: Places, count: int) -> None:
    """So many wait elsewhere, a sender and a lane each."""
    for number in range(count):
        memory.add(lane("out/elsewhere"), claim(Mailbox(f"s{number}", "example.org")), 0.0, 0)


def test_a_lane_with_nothing_has_a_place_up_to_twice_the_bound_and_what_is_committed_up_to_three_times() -> None:
    memory, busy, free = Places(), lane(), lane("out/free")
    memory.add(busy, claim(), 0.0, 0)
    fill(memory, MOST - 2)
    assert memory.has_one_for(busy, "")
    assert memory.has_one_for_old(busy)
    fill(memory, 1)
    assert memory.waiting == MOST
    assert not memory.has_one_for(busy, "")
    assert not memory.has_one_for_old(busy)
    fill(memory, MOST - 1)
    assert memory.has_any()
    assert memory.has_one_for(free, "")
    fill(memory, 1)
    assert not memory.has_any()
    assert not memory.has_one_for(free, "")
    fill(memory, MOST - 1)
    assert memory.bears(free)
    fill(memory, 1)
    assert not memory.bears(free)


def test_a_lane_has_places_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_WAITING_IN_ALL", 10 * MAX_WAITING)
    memory, some = Places(), lane()
    for number in range(2 * MAX_WAITING):
        assert memory.has_one_for(some, "new") == memory.has_one_for_old(some) == (number < MAX_WAITING)
        assert memory.bears(some)
        memory.add(some, claim(Mailbox(f"s{number}", "example.org")), 0.0, 0)
    assert not memory.bears(some)


def test_a_sender_has_half_of_the_places_beside_others() -> None:
    memory, busy = Places(), lane()
    memory.add(busy, claim(ADMIN), 0.0, 0)
    for number in range(MOST // 2):
        assert memory.has_one_for(busy, str(ALICE)), number
        memory.add(lane(f"out/{number}"), claim(ALICE), 0.0, 0)
    assert not memory.has_one_for(busy, str(ALICE))
    assert memory.has_one_for(busy, str(ADMIN))
    assert memory.has_one_for(lane("out/free"), str(ALICE)), "nobody else waits there"


def test_who_leaves_makes_a_place() -> None:
    memory, some = Places(), lane()
    for number, sender in enumerate((ALICE, ADMIN, ALICE, None)):
        memory.add(some, claim(sender, attempts=number % 2), float(number), 0)
    assert [since for _, since in (memory.take(some), memory.take(some))] == [0.0, 2.0], "the fresh ones"
    assert (memory.waiting, len(some.waiting)) == (2, 2)
    assert [since for _, since in memory.take_where(some, lambda one: one[1] < 2.0)] == [1.0]
    assert [since for _, since in memory.take_where(some, lambda _: True)] == [3.0]
    assert (memory.waiting, len(some.waiting), dict(memory._of_sender)) == (0, 0, {})
    with pytest.raises(IndexError):
        memory.take(some)
    assert memory.waiting == 0


def test_what_must_go_by_a_time_is_found_then() -> None:
    memory, one, two = Places(), lane("out/one"), lane("out/two")
    memory.add(one, claim(by=DeliverBy(70.0, ByMode.RETURN, trace=False)), 1.0, 0)
    memory.add(one, claim(), 2.0, 0)
    memory.add(one, claim(by=DeliverBy(10.0, ByMode.NOTIFY, trace=False)), 3.0, 0)
    assert memory.deadline == 70.0
    memory.add(two, claim(by=DeliverBy(50.0, ByMode.RETURN, trace=False)), 4.0, 0)
    assert memory.deadline == 50.0
    assert memory.take_overdue(49.9) == []
    assert [(one.key, since) for one, (_, since) in memory.take_overdue(50.0)] == [("out/two", 4.0)]
    assert (memory.deadline, memory.waiting) == (70.0, 3)
    memory.take(one)
    assert memory.take_overdue(80.0) == [], "it went in time"
    assert memory.deadline == math.inf


@each(
    ("was_reached", "troubles", "window", "wanted"),
    [
        (True, 0, FIRST_WINDOW, FETCH),
        (True, 0, FETCH + 1, FETCH + 1),
        (False, 0, FIRST_WINDOW, FIRST_WINDOW),
        (False, 1, 1, 1),
        (False, DEAD_AFTER, 1, 1),
    ],
)
def test_what_may_be_dead_asks_for_no_more_than_it_can_try(
    was_reached: bool, troubles: int, window: int, wanted: int
) -> None:
    memory, some = Places(), lane(was_reached=was_reached)
    for _ in range(troubles):
        some.gate.passed(some.gate.open_at)
        some.gate.ended(DEAD, some.gate.open_at)
    some.gate.window = max(some.gate.window, window)
    assert memory.asks(some) == wanted
    assert memory.fetching == wanted
    memory.answered(wanted)
    assert memory.fetching == 0


def test_what_is_asked_for_has_a_place() -> None:
    memory = Places()
    fill(memory, 2 * MOST - FIRST_WINDOW)
    assert memory.has_any()
    wanted = memory.asks(lane())
    assert not memory.has_any()
    memory.answered(wanted)
    assert memory.has_any()


def test_a_lane_wants_more_when_little_of_it_waits() -> None:
    memory, some = Places(), lane()
    assert not memory.wants_more(some), "there is none"
    some.has_more = True
    for _ in range(FETCH):
        assert memory.wants_more(some)
        memory.add(some, claim(), 0.0, 0)
    assert not memory.wants_more(some)


def test_half_of_the_places_are_for_where_somebody_was_reached() -> None:
    memory, live, dead = Places(), lane("out/live", was_reached=True), lane("out/dead")
    fill(memory, MOST // 2 - 1)
    assert memory.may_fetch(dead)
    fill(memory, 1)
    assert memory.may_fetch(live)
    assert not memory.is_anybody_hungry
    assert not memory.may_fetch(dead)
    assert memory.is_anybody_hungry
    fill(memory, MOST // 2)
    assert not memory.may_fetch(live)
    assert list(memory.hungry()) == []


def test_the_hungry_take_turns_for_as_long_as_there_are_places() -> None:
    memory, full = Places(), lane("out/full")
    for _ in range(MOST // 2):
        memory.add(full, claim(), 0.0, 0)
    for key in ("out/a", "out/b", "in/a"):
        assert not memory.may_fetch(lane(key))
    assert list(memory.hungry()) == []
    memory.take(full)
    turns = memory.hungry()
    assert next(turns).key == "out/a"
    assert memory.may_fetch(lane("out/a"))
    memory.add(full, claim(), 0.0, 0)
    assert list(turns) == [], "what came meanwhile has the place"
    memory.take(full)
    assert [one.key for one in memory.hungry()] == ["in/a", "out/b"], "backends take turns"
    assert not memory.is_anybody_hungry
    memory.add(full, claim(), 0.0, 0)
    assert not memory.may_fetch(lane("out/a"))
    memory.take(full)
    for one in memory.hungry():
        memory.add(full, claim(), 0.0, 0)
        assert not memory.may_fetch(one)
        memory.take(full)
    assert memory.is_anybody_hungry, "another time"
