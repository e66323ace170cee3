"""What went wrong of late."""

from mailgw.mail.event import Trouble
from mailgw.store.troubles import LONGEST_WORDS, MOST, Troubles


def test_the_latest_stands_first_and_is_counted() -> None:
    troubles = Troubles()
    for now, what, why in ((1.0, "rule a", "raised X"), (2.0, "backend b", "late"), (3.0, "rule a", "raised Y")):
        troubles.note(Trouble(what, why, "", "Q"), now)
    assert troubles.told() == [
        {"what": "rule a", "why": "raised Y", "count": 2, "first": 1.0, "last": 3.0, "queue_id": "Q"},
        {"what": "backend b", "why": "late", "count": 1, "first": 2.0, "last": 2.0, "queue_id": "Q"},
    ]


def test_it_is_bounded() -> None:
    troubles = Troubles()
    for number in range(MOST + 1):
        troubles.note(Trouble(f"{number}", "x" * (LONGEST_WORDS + 1), "", ""), 1.0)
        assert len(troubles.told()) == min(number + 1, MOST)
    assert {one["what"] for one in troubles.told()} == {f"{number}" for number in range(1, MOST + 1)}
    assert len(troubles.told()[0]["why"]) == LONGEST_WORDS
