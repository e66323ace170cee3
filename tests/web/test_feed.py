"""The latest facts, and which of them somebody wants to see."""

import json
from collections.abc import Callable
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import given

from mailgw.mail import event as fact
from mailgw.mail.errors import RefusedRequest
from mailgw.mail.event import Event
from mailgw.web.feed import Feed, told
from mailgw.web.tallies import EVENTS
from mailgw.web.wanted_facts import FOLLOWED, LONGEST_WORD, MOST_EVENTS, Fact, Watch, wanted
from tests.tables import each

NOW = 1_700_000_000.5
FIRST = 1_700_000_000 * 2**20 + 1
QUEUED = fact.Queued("s1", "q1", "192.0.2.1", "ann", "a@x.example", ("b@y.example", "c@z.example"), 4096, 0.01)


def warned(number: int) -> fact.Warned:
    return fact.Warned(f"q{number}", "a@b.example", "n")


def everything(_: Fact) -> bool:
    return True


def filled(count: int, **limits: int) -> Feed:
    feed = Feed(NOW, **limits)
    for number in range(count):
        feed.hear(warned(number), NOW + number)
    return feed


def ids(facts: list[dict[str, Any]]) -> list[str]:
    return [one["queue_id"] for one in facts]


def test_what_a_fact_looks_like() -> None:
    (one,), _, _ = filled(1).since(None, everything, 9)
    assert one == {"number": FIRST, "time": NOW, "event": "delay_warning", "queue_id": "q0", "recipient": "a@b.example",
                   "notice_id": "n"}


def test_what_is_empty_is_left_out_and_lone_surrogates_are_spelt_out() -> None:
    one = told(attrs.evolve(QUEUED, login="", peer="\udcff", reverse_path="ä@x.example", seconds=0.12345678), NOW)
    assert one["peer"] == "\\udcff"
    assert one["reverse_path"] == "ä@x.example"
    assert one["seconds"] == 0.123457
    assert "login" not in one
    assert one["recipients"] == ["b@y.example", "c@z.example"]
    assert json.loads(json.dumps(one)) == one


def test_who_asks_again_misses_nothing_and_sees_nothing_twice() -> None:
    feed = filled(3)
    facts, after, left_out = feed.since(None, everything, 9)
    assert (ids(facts), after, left_out) == (["q0", "q1", "q2"], FIRST + 2, 0)
    assert feed.since(after, everything, 9) == ([], after, 0)
    feed.hear(warned(3), NOW)
    facts, after, left_out = feed.since(after, everything, 9)
    assert (ids(facts), after, left_out) == (["q3"], FIRST + 3, 0)


def test_of_too_many_the_latest_are_told() -> None:
    facts, after, left_out = filled(5).since(FIRST - 1, everything, 2)
    assert (ids(facts), after, left_out) == (["q3", "q4"], FIRST + 4, 3)


def test_what_is_gone_is_counted() -> None:
    feed = filled(5, kept=2)
    assert feed.since(FIRST, everything, 9)[2] == 2
    assert feed.since(None, everything, 9)[2] == 0
    assert ids(feed.since(FIRST, everything, 9)[0]) == ["q3", "q4"]


@each("after", [0, 5, FIRST - 2**20 - 1, FIRST + 99, 2**60])
def test_numbers_of_another_life_are_those_of_the_beginning(after: int) -> None:
    facts, _, left_out = filled(2).since(after, everything, 9)
    assert (ids(facts), left_out) == (["q0", "q1"], 0)


def test_a_later_life_has_higher_numbers() -> None:
    assert Feed(NOW + 1).newest > filled(1000).newest


@each("named", [9, 10])
def test_those_that_name_many_are_bounded_by_what_they_name(named: int) -> None:
    feed = Feed(NOW, kept=9, named=20)
    for number in (1, 2):
        feed.hear(attrs.evolve(QUEUED, queue_id=f"q{number}", recipients=("a",) * 10), NOW)
    feed.hear(attrs.evolve(QUEUED, queue_id="q3", recipients=("a",) * (named - 9)), NOW)
    assert ids(feed.since(None, everything, 9)[0]) == (["q1", "q2", "q3"] if named == 9 else ["q2", "q3"])


def test_one_that_names_more_than_all_may_stands_alone() -> None:
    feed = Feed(NOW, kept=9, named=20)
    for number, many in ((1, 1), (2, 99), (3, 1)):
        feed.hear(attrs.evolve(QUEUED, queue_id=f"q{number}", recipients=("a",) * many), NOW)
        assert ids(feed.since(None, everything, 9)[0]) == [f"q{number}"]


def test_what_another_process_heard() -> None:
    feed = filled(1)
    feed.lose(4, NOW)
    feed.lose(0, NOW)
    feed.take([told(attrs.evolve(QUEUED, queue_id="w1"), NOW), told(warned(9), NOW)])
    facts, after, left_out = feed.since(None, everything, 9)
    assert (ids(facts), after, left_out) == (["q0", "w1", "q9"], FIRST + 3, 4)
    assert [one["number"] for one in facts] == [FIRST, FIRST + 2, FIRST + 3]
    assert feed.since(FIRST + 1, everything, 9)[2] == 0


@given(st.lists(st.tuples(st.sampled_from(["hear", "take", "lose", "ask"]), st.integers(0, 30))))
def test_whatever_is_kept_or_lost_adds_up(steps: list[tuple[str, int]]) -> None:
    feed, heard, seen, left = Feed(NOW, kept=7, named=40), 0, 0, 0
    after: int | None = FIRST - 1
    for what, number in steps:
        match what:
            case "hear":
                feed.hear(attrs.evolve(QUEUED, recipients=("a",) * number), NOW)
                heard += 1
            case "take":
                feed.take([told(attrs.evolve(QUEUED, recipients=("a",) * number), NOW)])
                heard += 1
            case "lose":  # what was forgotten of this, too, is one that is left out
                feed.lose(1, NOW)
                heard += 1
            case _:
                facts, after, more = feed.since(after, everything, 5)
                seen, left = seen + len(facts), left + more
    facts, after, more = feed.since(after, everything, 5)
    assert seen + len(facts) + left + more == heard


# --- who wants what -----------------------------------------------------------------------------------------

CONNECTED = fact.Connected("s1", "mx", "192.0.2.1", 25)
RCPT_REFUSED = fact.Rejected("s1", "192.0.2.1", "RCPT", "", 550, "5.1.1", "no", "a@x.example", "no@y.example")
OTHER_QUEUED = attrs.evolve(QUEUED, queue_id="q2", reverse_path="else@x.example", recipients=("d@z.example",))
FOR_B = fact.Delivered("q1", "b@y.example", "out/y", "mx", 250, "2.0.0", "ok", 1, 0.2)
FOR_C = attrs.evolve(FOR_B, recipient="c@z.example")
SIGNED = fact.Signed("q1", "dkim", "x.example", ("s",))
FOR_D = attrs.evolve(FOR_B, queue_id="q2", recipient="d@z.example")
STARTED = fact.Started("mx.example.org", "1", ())
STORY: list[Event] = [STARTED, CONNECTED, RCPT_REFUSED, QUEUED, OTHER_QUEUED, SIGNED, FOR_B, FOR_C, FOR_D]


def seen(**asked: object) -> list[Event]:
    watch = Watch(wanted(asked, EVENTS))
    return [event for event in STORY if watch.matches(told(event, NOW))]


@each(("asked", "facts"), [
    ({}, STORY),
    ({"event": "queued"}, [QUEUED, OTHER_QUEUED]),
    ({"event": ["queued", "started"]}, [STARTED, QUEUED, OTHER_QUEUED]),
    ({"queue_id": "q2"}, [OTHER_QUEUED, FOR_D]),
    ({"session_id": "s1"}, [CONNECTED, RCPT_REFUSED, QUEUED, OTHER_QUEUED]),
    ({"sender": "A@X.example"}, [RCPT_REFUSED, QUEUED, SIGNED, FOR_B, FOR_C]),
    ({"sender": "@x.example", "event": "delivered"}, [FOR_B, FOR_C, FOR_D]),
    ({"recipient": "b@y.example"}, [QUEUED, SIGNED, FOR_B]),
    ({"recipient": "@y.example"}, [RCPT_REFUSED, QUEUED, SIGNED, FOR_B]),
    ({"recipient": "y.example"}, []),
    ({"address": "c@z.example"}, [QUEUED, SIGNED, FOR_B, FOR_C]),
    ({"address": "else@x.example"}, [OTHER_QUEUED, FOR_D]),
    ({"peer": "192.0.2.0/24"}, STORY[1:]),
    ({"peer": "192.0.2.9/24"}, STORY[1:]),
    ({"peer": "192.0.2.2"}, []),
    ({"peer": "2001:db8::/32"}, []),
    ({"login": "Ann"}, [QUEUED, OTHER_QUEUED, SIGNED, FOR_B, FOR_C, FOR_D]),
    ({"sender": "a@x.example", "recipient": "b@y.example"}, [QUEUED, SIGNED, FOR_B]),
    ({"sender": "else@x.example", "recipient": "b@y.example"}, []),
])
def test_what_somebody_sees(asked: dict[str, object], facts: list[Event]) -> None:
    assert seen(**asked) == facts


def test_what_is_asked_comes_back() -> None:
    asked = {"event": ["delivered", "queued"], "recipient": "@x.example", "peer": "192.0.2.0/24", "queue_id": "Q"}
    assert wanted(wanted(asked, EVENTS).asked(), EVENTS) == wanted(asked, EVENTS)
    assert wanted(None, EVENTS).is_everything
    assert wanted({"event": [], "peer": ""}, EVENTS).is_everything


@each("asked", [
    "x", 5, [], {"evnt": "queued"}, {"event": "kueued"}, {"event": 5}, {"event": [5]}, {"address": 5},
    {"address": "x" * (LONGEST_WORD + 1)}, {"peer": "here"}, {"peer": "192.0.2.0/33"}, {"peer": 5},
    {"event": ["queued"] * (MOST_EVENTS + 1)},
])
def test_what_makes_no_sense_is_refused(asked: object) -> None:
    with pytest.raises(RefusedRequest):
        wanted(asked, EVENTS)


def test_the_most_that_may_be_asked() -> None:
    wanted({"event": ["queued"] * MOST_EVENTS, "address": "x" * LONGEST_WORD}, EVENTS)


@each(("others", "is_known"), [(FOLLOWED - 1, True), (FOLLOWED, False)])
def test_the_latest_messages_are_followed(others: int, is_known: bool) -> None:
    watch = Watch(wanted({"sender": "@x.example"}, EVENTS))
    for number in range(others + 1):
        assert watch.matches(told(attrs.evolve(QUEUED, queue_id=f"q{number}"), NOW))
    assert watch.matches(told(attrs.evolve(FOR_B, queue_id="q0"), NOW)) is is_known


Strange = Callable[[], Fact]


@each("strange", [
    {"event": "removed", "recipients": 5}, {"event": "x", "peer": None}, {"event": "x", "recipient": 5},
    {"event": "x", "login": None, "queue_id": None}, {"event": "x"},
])
def test_facts_of_strange_shapes_are_no_trouble(strange: dict[str, Any]) -> None:
    for asked in ({"recipient": "a@b.example"}, {"peer": "192.0.2.1"}, {"login": "x"}, {"address": "@b.example"}):
        assert not Watch(wanted(asked, EVENTS)).matches(strange)
