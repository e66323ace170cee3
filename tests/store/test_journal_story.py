"""What the journal tells of messages: rows of a search, and the whole story of one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mailgw.mail import event as fact
from mailgw.mail.event import Event
from mailgw.spool.ids import QueueIds
from mailgw.store import journal_needles, journal_search, journal_story
from mailgw.store.journal import Lines
from mailgw.store.journal_needles import by_word
from mailgw.store.journal_search import Backwards, Bounds
from mailgw.store.journal_story import rows, story, told, with_last
from mailgw.trace_words import Pen, row_lines, words_of

NOW = 1_764_000_000.0
IDS = QueueIds(lambda: NOW, 1, "0")
Q1, Q2, Q3 = IDS.next_id(), IDS.next_id(), IDS.next_id()
NOTICE = f"{Q1}b1"
ANN, BOB, CARL = "ann@example.org", "bob@example.net", "carl@example.net"
PEER = "203.0.113.7"


def journal(path: Path, *events: tuple[float, Event]) -> str:
    lines = Lines()
    for at, event in events:
        lines.add(event, NOW + at)
    path.write_bytes(lines.take()[0])
    return str(path)


def queued(session: str, queue_id: str, *recipients: str, login: str = "") -> Event:
    return fact.Queued(
        session, queue_id, PEER, login, ANN, recipients, 4213, 0.01, "", f"<{queue_id}@mail.example.org>"
    )


def result(kind: type[Any], queue_id: str, recipient: str, attempts: int, *more: Any, lane: str = "out/x") -> Event:
    code, status, text = (250, "2.0.0", "OK") if kind is fact.Delivered else (451, "4.7.1", "Later")
    event: Event = kind(queue_id, recipient, lane, "mx [192.0.2.1]:25", code, status, text, attempts, *more)
    return event


LIFE: Sequence[tuple[float, Event]] = [
    (-5.0, fact.Connected("s0", "mx", "198.51.100.1", 1)),
    (0.0, fact.Connected("s1", "mx", PEER, 4711)),
    (0.1, fact.TlsStarted("s1", PEER, "TLSv1.3", "TLS_AES_256_GCM_SHA384", ())),
    (0.2, fact.Rejected("s1", PEER, "RCPT", "relay", 550, "5.7.1", "No", ANN, "else@example.com")),
    (0.3, queued("s1", Q2, "other@example.com")),
    (0.4, fact.Authenticated("s1", Q1, PEER, ("spf=pass",), "mx", "")),
    (0.5, queued("s1", Q1, BOB, CARL)),
    (0.5, fact.Changed("s1", Q1, ("tag spam",), "")),
    (0.6, fact.Disconnected("s1", PEER, "quit", 0.6, 2)),
    (1.0, result(fact.Delivered, Q2, "other@example.com", 1, 0.5)),
    (2.0, result(fact.Retrying, Q1, BOB, 1, 300.0)),
    (2.0, result(fact.Retrying, Q1, CARL, 1, 300.0)),
    (302.0, result(fact.Delivered, Q1, CARL, 2, 301.5)),
    (302.1, result(fact.Bounced, Q1, BOB, 2, NOTICE)),
    (303.0, result(fact.Delivered, NOTICE, ANN, 1, 1.0)),
]


def words(found: Any) -> list[str]:
    return [one["event"] for one in found["facts"]]


def test_from_the_connection_to_the_last_attempt(tmp_path: Path) -> None:
    found = story(journal(tmp_path / "j", *LIFE), Q1).as_json()
    assert words(found) == [
        "connected", "tls", "rejected", "authenticated", "queued", "changed", "disconnected", "deferred", "deferred",
        "delivered", "bounced",
    ]
    assert found["is_whole"]
    assert found["left_out"] == 0
    assert not found["is_cut"]
    assert found["message"]["recipients"] == [BOB, CARL]
    assert found["message"]["time"] == NOW + 0.5
    assert found["notices"] == [{"queue_id": NOTICE, "kind": "bounce", "recipient": BOB}]
    assert found["notice_of"] is None
    first, last = found["attempts"]
    assert [(one["recipient"], one["event"]) for one in first["results"]] == [(BOB, "deferred"), (CARL, "deferred")]
    assert [(one["recipient"], one["event"]) for one in last["results"]] == [(CARL, "delivered"), (BOB, "bounced")]


def test_a_notice_says_of_what_it_tells(tmp_path: Path) -> None:
    found = story(journal(tmp_path / "j", *LIFE), NOTICE).as_json()
    assert words(found) == ["bounced", "delivered"]
    assert found["is_whole"]
    assert found["notice_of"] == Q1
    assert found["notices"] == []
    assert len(found["attempts"]) == 1


def test_over_rotations_and_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = story(journal(tmp_path / "j", *LIFE), Q1).as_json()
    monkeypatch.setattr(journal_search, "PIECE_OCTETS", 500)
    for cut in range(1, len(LIFE)):
        journal(tmp_path / "j.1", *LIFE[:cut])
        path = journal(tmp_path / "j", *LIFE[cut:])
        found = story(path, Q1).as_json()
        assert found["facts"] == whole["facts"], cut
        assert found["is_whole"]


def test_what_is_not_there(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", *LIFE)
    found = story(path, "6445941fe0e810010")
    assert found.facts == []
    assert not found.is_whole
    # Its arrival was rotated away.
    found = story(journal(tmp_path / "j", *LIFE[9:]), Q1)
    assert [one["event"] for one in found.facts] == ["deferred", "deferred", "delivered", "bounced"]
    assert not found.is_whole
    assert told(found)["message"] == {"queue_id": Q1}


def test_so_many_facts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_story, "MOST_FACTS", 6)
    path = journal(tmp_path / "j", *LIFE[5:8], *LIFE[10:14])
    found = story(path, Q1)
    assert found.left_out == 0
    assert len(found.facts) == 7
    monkeypatch.setattr(journal_story, "MOST_FACTS", 5)
    found = story(path, Q1)
    assert found.left_out == 1
    assert [one["event"] for one in found.facts] == [
        "authenticated", "queued", "deferred", "deferred", "delivered", "bounced",
    ]


def test_bounds_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_search, "PIECE_OCTETS", 400)
    found = story(journal(tmp_path / "j", *LIFE), Q1, Bounds(400))
    assert found.is_cut
    assert not found.is_whole
    assert found.searched_back_to is not None
    assert found.searched_back_to > NOW + 100


def test_what_an_application_sent_because_of_it(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal(path, *LIFE)
    lines = Lines()
    lines.add(fact.Queued("", Q3, "", "", BOB, (ANN,), 100, 0.01, cause=Q1), NOW + 1.5)
    with path.open("ab") as opened:
        opened.write(lines.take()[0])
    found = story(str(path), Q1).as_json()
    assert found["caused"] == [{"queue_id": Q3, "recipients": [ANN]}]


def test_orders_for_it_are_told(tmp_path: Path) -> None:
    orders: list[tuple[float, Event]] = [
        (400.0, fact.Ordered("hold", f"queue_id={Q1}", "", 2, Q1)),
        (401.0, fact.Ordered("hold", f"queue_id={Q2}", "", 1, Q2)),
        (402.0, fact.Ordered("retry", "domain=example.net", "", 2)),
        (403.0, fact.Ordered("reroute", f"queue_id={Q1} recipient={BOB}", "relay", 1, Q1)),
        (404.0, fact.Removed(Q1, 1, BOB, "relay")),
    ]
    found = story(journal(tmp_path / "j", *LIFE, *orders), Q1).as_json()
    assert words(found)[-3:] == ["ordered", "ordered", "removed"]
    assert [words_of(one) for one in found["facts"][-3:]] == [
        "held, 2 recipients", f"rerouted to relay, 1 recipient: recipient={BOB}",
        f"from the queue, {BOB}",
    ]
    assert words_of({"event": "removed", "recipients": 2}) == "from the queue, 2 recipients"
    assert words_of({"event": "ordered", "order": "retry", "which": "all", "recipients": 2}) == (
        "retried, 2 recipients: all")


def test_a_row_has_the_recipient_who_was_refused(tmp_path: Path) -> None:
    lines = b"".join(
        b'{"time":"2025-11-24T16:00:0%d.000Z","event":"rejected","session_id":"s","peer":"%s","recipient":"%s"%s}\n'
        % (place, PEER.encode(), BOB.encode(), more) for place, more in enumerate((b"", b',"recipients":[]')))
    (tmp_path / "j").write_bytes(lines)
    found, _ = rows(Backwards(str(tmp_path / "j"), by_word(PEER)), 10)
    assert [(row["recipients"], row["recipient_count"]) for row in found] == [([BOB], 1), ([BOB], 1)]


def test_conversations_go_with_their_attempts(tmp_path: Path) -> None:
    facts: list[dict[str, Any]] = [
        {"time": 1.0, "event": "conversation", "lane": "a", "hop": "mx1", "lines": ["S: 220"], "seconds": 0.5},
        {"time": 1.0, "event": "conversation", "lane": "a", "hop": "mx2", "lines": ["S: 421"], "seconds": 0.5},
        {"time": 1.0, "event": "deferred", "lane": "a", "hop": "mx2", "recipient": BOB},
        {"time": 1.1, "event": "deferred", "lane": "b", "hop": "mx3", "recipient": ANN},
        {"time": 1.2, "event": "deferred", "lane": "a", "hop": "mx2", "recipient": CARL},
        {"time": 1.5, "event": "conversation", "lane": "a", "hop": "mx1", "lines": ["S: 220"], "seconds": 0.1},
        {"time": 1.6, "event": "bounced", "lane": "a", "hop": "mx1", "recipient": BOB},
        {"time": 1.6, "event": "bounced", "lane": "a", "hop": "mx1", "recipient": BOB},
        {"time": 1.7, "event": "conversation", "lane": "c", "hop": "mx1", "lines": ["S: 250"], "seconds": 0.1},
    ]
    found = journal_story.attempts(facts)
    assert [(one["lane"], [r["recipient"] for r in one["results"]], [c["hop"] for c in one["conversations"]])
            for one in found] == [
        ("a", [BOB, CARL], ["mx1", "mx2"]), ("b", [ANN], []), ("a", [BOB], ["mx1"]), ("a", [BOB], []),
        ("c", [], ["mx1"]),
    ]


def test_rows(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", *LIFE)
    found, place = rows(Backwards(path, by_word(ANN)), 10)
    assert place is None
    assert [(row["kind"], row["queue_id"], row["event"]) for row in found] == [
        ("message", NOTICE, "delivered"), ("message", Q1, "queued"), ("message", Q2, "queued"),
        ("refusal", "", "rejected"),
    ]
    assert found[1]["recipients"] == [BOB, CARL]
    assert found[1]["peer"] == PEER
    found, _ = rows(Backwards(path, by_word(PEER)), 10)
    assert [(row["kind"], row["event"], row["facts"]) for row in found] == [
        ("session", "disconnected", 3), ("message", "queued", 2), ("message", "queued", 1), ("refusal", "rejected", 1),
    ]
    assert found[0]["session_id"] == "s1"
    assert found[0]["role"] == "mx"
    assert (found[0]["first"], found[0]["time"]) == (NOW, NOW + 0.6)


def last_of(path: str, word: str, bounds: Bounds | None = None) -> dict[str, tuple[str, float]]:
    found, _ = rows(Backwards(path, by_word(word)), 100)
    told = with_last(path, found, bounds)
    assert [row["time"] for row in told] == sorted((row["time"] for row in told), reverse=True)
    return {row["queue_id"] or row["kind"]: (row["event"], round(row["time"] - NOW, 3)) for row in told}


@pytest.mark.parametrize("word", [ANN, PEER, "203.0.113.0/24", "@example.org"])
def test_a_message_s_own_last_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    told = last_of(journal(tmp_path / "j", *LIFE), word)
    assert told[Q1] == ("bounced", 302.1)
    assert told[Q2] == ("delivered", 1.0)
    monkeypatch.setattr(journal_needles, "ALTERNATIVES", 0)
    assert last_of(str(tmp_path / "j"), word) == told
    monkeypatch.setattr(journal_search, "PIECE_OCTETS", 500)
    for cut in range(1, len(LIFE)):
        journal(tmp_path / "j.1", *LIFE[:cut])
        assert last_of(journal(tmp_path / "j", *LIFE[cut:]), word) == told, cut


def test_another_recipient_s_result_is_told_as_his(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", *LIFE)
    found, _ = rows(Backwards(path, by_word(CARL)), 10)
    row, = with_last(path, found)
    assert (row["event"], row["last"]["recipient"], row["code"]) == ("bounced", BOB, 451)
    assert row["attempts"] == 2
    assert f"; {BOB} at mx [192.0.2.1]:25: 451 4.7.1 Later (attempt 2); its sender was told by {NOTICE}" in (
        [*row_lines([row], Pen(False))][1])


def test_what_was_done_to_a_message_is_not_how_it_stands(tmp_path: Path) -> None:
    done: list[tuple[float, Event]] = [
        (400.0, fact.Signed(Q1, "dkim", "example.org", ("a",))), (400.0, fact.Conversation(Q1, "out", "mx", (), 0.1)),
        (400.0, fact.Reported(Q1, CARL, "delivered", "q9")), (400.0, fact.Changed("", Q1, ("tag spam",), "")),
    ]
    orders: Sequence[tuple[str, Event]] = [
        ("changed", fact.Changed("", Q1, ("junk",), "", "junk")), ("removed", fact.Removed(Q1, 1)),
        ("ordered", fact.Ordered("hold", f"queue_id={Q1}", "", 1, Q1)),
    ]
    assert last_of(journal(tmp_path / "j", *LIFE, *done), ANN)[Q1] == ("bounced", 302.1)
    for event, order in orders:
        assert last_of(journal(tmp_path / "j", *LIFE, (350.0, order), *done), ANN)[Q1] == (event, 350.0)


def test_nobody_says_the_reply_of_an_older_fact(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", *LIFE[:12], (350.0, fact.Removed(Q1, 2)))
    found, _ = rows(Backwards(path, by_word(BOB)), 10)
    assert found[0]["code"] == 451
    row, = with_last(path, found)
    assert (row["event"], row.get("code"), row["reverse_path"]) == ("removed", None, ANN)


def test_what_was_not_looked_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_search, "PIECE_OCTETS", 400)
    path = journal(tmp_path / "j", *LIFE)
    found, _ = rows(Backwards(path, by_word(ANN)), 10)
    told = {row["queue_id"]: row for row in with_last(path, found, Bounds(400))}
    assert told[NOTICE]["last"]["event"] == "delivered"
    assert (told[Q2]["event"], told[Q2]["last"]) == ("queued", None)
    lines = [*row_lines([told[Q2]], Pen(False))]
    assert lines[0].split()[2:] == ["came", Q2]
    assert lines[1].endswith(f"what became of it was not looked for: mailgw trace {Q2}")


def test_what_was_asked_for_by_http_is_told(tmp_path: Path) -> None:
    path = journal(
        tmp_path / "j", (0.0, fact.Operated("owner", "127.0.0.1", "POST", "/api/v1/messages", 202)),
        (1.0, fact.TokenRefused("127.0.0.1", "GET", "/api/v1/now")), (2.0, queued("s1", Q1, BOB)))
    found, _ = rows(Backwards(path, by_word("127.0.0.1")), 10)
    assert [*row_lines(with_last(path, found), Pen(False))] == [
        "2025-11-24 16:00:01.000  token_refused GET /api/v1/now from 127.0.0.1: no such token",
        "2025-11-24 16:00:00.000  operated      POST /api/v1/messages by owner from 127.0.0.1: 202",
    ]


def test_the_last_fact_of_a_row_is_short(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", (0.0, queued("s1", Q1, *(f"r{number}@example.net" for number in range(21)))))
    found, _ = rows(Backwards(path, by_word(ANN)), 10)
    row, = with_last(path, found)
    assert (len(row["last"]["recipients"]), row["recipient_count"]) == (20, 21)


def test_pages(tmp_path: Path) -> None:
    path = journal(tmp_path / "j", *LIFE)
    whole, _ = rows(Backwards(path, by_word(PEER)), 4)
    found: list[str] = []
    place = None
    while True:
        page, place = rows(Backwards(path, by_word(PEER), 0.0, place), 1)
        found += [row["queue_id"] or row["kind"] for row in page]
        if place is None:
            break
    # Of the session older facts are met again.
    assert found == ["session", Q1, Q2, "refusal", "session"]
    assert {row["queue_id"] or row["kind"] for row in whole} == {*found}


def test_a_row_shows_so_many_recipients(tmp_path: Path) -> None:
    many = tuple(f"r{number}@example.net" for number in range(21))
    path = journal(tmp_path / "j", (0.0, queued("s1", Q1, *many)), (0.1, queued("s1", Q2, *many[:20])))
    found, _ = rows(Backwards(path, by_word(ANN)), 10)
    assert [(len(row["recipients"]), row["recipient_count"]) for row in found] == [(20, 20), (20, 21)]
