"""The queue counted: lanes, totals, and what was said."""

from mailgw.mail.message import LaneRow, Tally
from mailgw.queue.census import Census, status_of
from tests.tables import each


@each(["reason", "status"], [
    ("", "not tried yet"),
    ("held by the operator", "other"),
    ("[192.0.2.1]:25: 451 4.4.1 Cannot connect", "451 4.4.1"),
    ("greylisted: mx.example.org [192.0.2.1]:25: 450 Come back", "450"),
    ("550 5.1.1", "550 5.1.1"),
    ("before the reroute: mx: 421 4.3.2 x", "421 4.3.2"),
    ("the number 450 4.7.1 stands within", "other"),
    ("x: 250 2.0.0 fine", "other"),
])
def test_a_reason_in_few_words(reason: str, status: str) -> None:
    assert status_of(reason) == status


def test_stretches_add_up() -> None:
    census = Census()
    census.add([Tally("a", "451 4.4.1 x", True, 2, 1, 0, 0, 50.0), Tally("b", "", False, 1, 1, 0, 0, 9.0)])
    census.add([
        Tally("a", "held by the operator", False, 0, 0, 0, 3, None),
        Tally("a", "450 y", True, 1, 0, 1, 0, 90.0),
    ])
    assert census.longest(1) == [LaneRow("a", 3, 1, 1, 3, 50.0, "450 y")]
    assert [row.lane for row in census.longest(9)] == ["a", "b"]
    assert (census.recipients, census.lanes) == (8, 2)
    assert census.totals() == {"waiting": 4, "due_now": 2, "active": 1, "held": 3}
    assert census.statuses(2) == {"other": 3, "451 4.4.1": 2}
    assert census.backends() == {
        "a": {"lanes": 1, "waiting": 3, "due_now": 1, "active": 1, "held": 3},
        "b": {"lanes": 1, "waiting": 1, "due_now": 1, "active": 0, "held": 0},
    }
    census.add([Tally("a/example.org", "", False, 1, 0, 0, 0, 50.0)])
    assert census.backends()["a"] == {"lanes": 2, "waiting": 4, "due_now": 1, "active": 1, "held": 3}
