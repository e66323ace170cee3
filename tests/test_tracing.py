"""The desk at which the journal answers."""

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw import tracing
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.store import journal_search
from mailgw.store.journal_search import Bounds
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads
from mailgw.tracing import AT_ONCE, WAITING, Tracing
from tests.store.test_journal_story import ANN, BOB, LIFE, NOTICE, PEER, Q1, Q2, journal
from tests.tables import each


class Reactor(FakeThreads):
    def getThreadPool(self) -> "Reactor":
        return self


class Here:
    def __init__(self, path: str | None) -> None:
        self.reactor = Reactor()
        self.tracing = Tracing(lambda: path, self.reactor)
        self.desk = self.tracing.desk()

    def ask(self, command: str, **request: Any) -> Any:
        return result_of(self.desk[command]({"command": command, **request}))


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(journal(tmp_path / "j", *LIFE))


@each(("by", "ids"), [
    ({"word": BOB}, [Q1]), ({"address": BOB}, [Q1]), ({"queue_id": Q1}, [Q1]), ({"word": NOTICE}, [NOTICE, Q1]),
    ({"message_id": f"<{Q2}@mail.example.org>"}, [Q2]), ({"peer": "203.0.113.0/24", "limit": 2}, [Q1, ""]),
    ({"peer": PEER, "since": 1.0, "limit": 2}, [Q1, ""]), ({"word": "nobody@example.org"}, []),
])
def test_rows(here: Here, by: dict[str, Any], ids: list[str]) -> None:
    answer = here.ask("trace", **by)
    assert [row["queue_id"] for row in answer["items"]] == ids
    assert len(answer["files"]) == 1
    assert answer["unreadable"] == 0
    assert not answer["is_cut"]


def test_a_row_has_what_became_of_its_message(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> list[tuple[str, Any]]:
        return [(row["event"], row["last"] and row["last"]["event"]) for row in here.ask("trace", word=ANN)["items"]]

    assert told() == [("delivered", "delivered"), ("bounced", "bounced"), ("delivered", "delivered"),
                      ("rejected", "rejected")]
    monkeypatch.setattr(tracing, "LAST_BOUNDS", Bounds(1))
    monkeypatch.setattr(journal_search, "PIECE_OCTETS", 500)
    assert told() == [("delivered", "delivered"), ("bounced", "bounced"), ("queued", None), ("rejected", "rejected")]


def test_pages(here: Here) -> None:
    first = here.ask("trace", word=ANN, limit=1)
    assert first["next"] is not None
    second = here.ask("trace", word=ANN, limit=1, cursor=first["next"])
    assert [first["items"][0]["queue_id"], second["items"][0]["queue_id"]] == [NOTICE, Q1]


def test_a_story(here: Here) -> None:
    found = here.ask("trace.story", queue_id=Q1)
    assert found["is_whole"]
    assert len(found["attempts"]) == 2
    assert here.ask("trace.attempts", queue_id=Q1) == found["attempts"]
    assert result_of(here.tracing.attempts_of("q0")) == []
    assert here.ask("trace.story", queue_id="q0")["facts"] == []


@each(("command", "request_", "why"), [
    ("trace", {}, "needs one of"), ("trace", {"word": "a", "peer": "192.0.2.1"}, "needs one of"),
    ("trace", {"word": 1}, "expected a text"), ("trace", {"word": ""}, "expected a text"),
    ("trace", {"address": "x" * 1001}, "expected a text"), ("trace", {"word": "\udcff"}, "surrogates"),
    ("trace", {"peer": "example.org"}, "peer"), ("trace", {"word": "a", "limit": 0}, "limit"),
    ("trace", {"word": "a", "limit": 1001}, "limit"), ("trace", {"word": "a", "limit": True}, "limit"),
    ("trace", {"word": "a", "since": "1h"}, "since"), ("trace", {"word": "a", "since": -1}, "since"),
    ("trace", {"word": "a", "since": True}, "since"), ("trace", {"word": "a", "cursor": "x"}, "cursor"),
    ("trace", {"word": "a", "cursor": 1}, "cursor"), ("trace.story", {}, "queue_id"),
    ("trace.story", {"queue_id": ""}, "queue_id"), ("trace.story", {"queue_id": "\udcff"}, "queue_id"),
    ("trace.attempts", {"queue_id": ["x"]}, "queue_id"), ("trace.story", {"queue_id": "q", "since": "x"}, "since"),
])
def test_nonsense(here: Here, command: str, request_: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedRequest, match=why):
        here.ask(command, **request_)


@each(("path", "why"), [(None, "the journal is off"), ("-", "standard output")])
def test_a_journal_in_no_file_is_told(path: str | None, why: str) -> None:
    here = Here(path)
    for command in ("trace", "trace.story"):
        with pytest.raises(RefusedRequest, match=why):
            here.ask(command, queue_id="q1")
    assert here.ask("trace.attempts", queue_id="q1") == []


def test_a_file_that_cannot_be_read_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "j").mkdir()
    with pytest.raises(TemporaryFault, match="Is a directory"):
        Here(str(tmp_path / "j")).ask("trace", queue_id="q1")


def test_so_many_searches_at_once(here: Here) -> None:
    here.reactor.at_once = False
    trace = here.desk["trace"]
    results: list[Any] = []
    for _ in range(AT_ONCE + WAITING):
        Deferred.fromCoroutine(trace({"word": Q1})).addCallback(results.append)  # type: ignore[arg-type, unused-awaitable]
    assert len(here.reactor.work) == AT_ONCE
    with pytest.raises(TemporaryFault, match="too many"):
        here.ask("trace", word=Q1)
    while here.reactor.work:
        here.reactor.run()
    assert len(results) == AT_ONCE + WAITING
    here.reactor.at_once = True
    assert here.ask("trace", word=Q1)["items"]
