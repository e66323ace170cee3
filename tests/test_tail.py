"""``mailgw tail``: facts as they happen, and those that the journal has; a played gateway tells."""

import errno
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mailgw import ctl
from mailgw.mail import event as fact
from mailgw.store.journal import Lines
from mailgw.tail_command import as_in_journal, epoch_of
from mailgw.tail_words import Told, words_of_one
from mailgw.trace_words import Pen
from mailgw.web.feed import told
from tests.played_gateway import PlayedGateway, Refuses
from tests.tables import each

NOW = 1_700_000_000.25
QUEUED = fact.Queued("s1", "q1", "192.0.2.1", "", "a@x.example", ("b@y.example",), 4096, 0.01)
DELIVERED = fact.Delivered("q1", "b@y.example", "out/y.example", "mx", 250, "2.0.0", "ok", 1, 0.2)
FOR_C = fact.Delivered("q2", "c@y.example", "out/y.example", "mx", 250, "2.0.0", "ok", 1, 0.2)


class Facts:
    """What a gateway tells: one list an answer, the first for who asks without ``after``; then it is gone."""

    def __init__(self, *answers: list[dict[str, Any]], left_out: int = 0) -> None:
        self._answers = list(answers)
        self._left_out = left_out
        self.ends: threading.Event = threading.Event()

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not self._answers:
            raise Refuses("the gateway stops")
        facts = self._answers.pop(0)
        return {"facts": facts, "next": 7 - len(self._answers), "left_out": self._left_out if "after" in request else 0}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


def tail(state: Path, facts: Facts | None, *words: str) -> tuple[int, list[Mapping[str, Any]]]:
    """Its exit status, and what it asked."""
    if facts is None:
        return ctl.main(["tail", "--state", str(state), *words]), []
    with PlayedGateway(state, {"facts": facts}) as played:
        return ctl.main(["tail", "--state", str(state), *words]), played.asked


def write_journal(state: Path, *events: Any, age: float = 5.0) -> None:
    lines = Lines()
    for event in events:
        lines.add(event, time.time() - age)
    (state / "journal.jsonl").write_bytes(lines.take()[0])


def test_the_latest_first_and_then_each_as_it_comes(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, asked = tail(state, Facts([told(QUEUED, NOW)], [], [told(DELIVERED, NOW + 1)]))
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "--- 2023-11-14 (UTC)",
        "22:13:20.250  queued        q1                <a@x.example> to b@y.example: 4096 octets, safe after 0.010 s",
        "22:13:21.250  delivered     q1                b@y.example at mx: 250 2.0.0 ok (attempt 1)",
    ]
    assert (status, err) == (1, "mailgw: the gateway stops\n")
    assert [one.get("after") for one in asked] == [None, 5, 6, 7]
    assert asked[0]["limit"] == 10
    assert all(one["filter"] == {} for one in asked)


def test_what_is_asked_for(state: Path) -> None:
    _, asked = tail(state, Facts([]), "--event", "queued", "--event", "bounced", "--for", "b@y.example", "--from",
                    "@x.example", "--id", "q1", "--peer", "192.0.2.0/24", "--login", "ann", "-n", "5", "--no-follow")
    assert asked[0]["filter"] == {
        "event": ["queued", "bounced"], "recipient": "b@y.example", "sender": "@x.example", "queue_id": "q1",
        "peer": "192.0.2.0/24", "login": "ann"}
    assert asked[0]["limit"] == 5


def test_none_of_what_was(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tail(state, Facts([told(QUEUED, NOW)], [told(DELIVERED, NOW)]), "-n", "0")
    assert "queued" not in capsys.readouterr().out


def test_json_is_as_the_journal_has_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for event in (QUEUED, DELIVERED):
        lines.add(event, NOW)
    tail(state, Facts([{**told(one, NOW), "number": 5} for one in (QUEUED, DELIVERED)]), "--json", "--no-follow")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        json.loads(line) for line in lines.take()[0].splitlines()]


def test_left_out_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tail(state, Facts([], [told(QUEUED, NOW)], left_out=7))
    assert "7 facts were left out" in capsys.readouterr().err


def test_where_none_runs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tail(state, None)[0] == 1
    err = capsys.readouterr().err
    assert "no gateway runs" in err
    assert err.endswith("; say --config FILE or --state FOLDER\n")


def test_the_journal_needs_no_gateway(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(state, QUEUED, DELIVERED, FOR_C)
    assert tail(state, None, "--since", "10m", "--for", "b@y.example", "--json")[0] == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["event"] for line in out.splitlines()] == ["queued", "delivered"]
    assert "no gateway runs" in err


def test_what_is_older_than_since_is_left_out(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(state, QUEUED, age=700)
    assert tail(state, None, "--since", "10m")[0] == 0
    assert capsys.readouterr().out == ""


def test_without_a_journal(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tail(state, None, "--since", "10m")[0] == 1
    err = capsys.readouterr().err
    assert "there is no journal" in err
    assert err.endswith("; say --config FILE or --state FOLDER\n")


def test_a_journal_that_may_not_be_read(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", closed)
    assert tail(state, None, "--since", "10m")[0] == 1
    assert capsys.readouterr().err == f"mailgw: {state}: Permission denied; run this as the gateway's user\n"


def closed(path: str) -> list[str]:
    """A folder as somebody sees it who may not; root, who runs tests, may all."""
    raise PermissionError(errno.EACCES, "Permission denied", path)


def test_what_both_tell_is_shown_once(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_journal(state, QUEUED, DELIVERED, age=1.0)
    again = told(DELIVERED, time.time() - 0.9)
    tail(state, Facts([told(QUEUED, NOW)], [again, {**again, "queue_id": "q9"}], [again]), "--since", "10m", "--json")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["event"], one["queue_id"]) for one in found] == [
        ("queued", "q1"), ("delivered", "q1"), ("delivered", "q9"), ("delivered", "q1")]


@each("words", [
    ["--event", "kueued"], ["--peer", "here"], ["--for", "x" * 321], ["--since", "soon"], ["-n", "501"], ["-n", "x"],
    ["more"],
])
def test_what_makes_no_sense_is_said_at_once(words: list[str]) -> None:
    with pytest.raises(SystemExit) as status:
        ctl.main(["tail", "--state", "/nowhere", *words])
    assert status.value.code == 2


def test_the_names_of_facts_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ctl.main(["tail", "--state", "/nowhere", "--event", "kueued"])
    err = capsys.readouterr().err
    assert "there is no event 'kueued'; expected one of authenticated, bounced, changed, " in err
    assert ", event," not in err


def test_what_strangers_write_moves_no_terminal() -> None:
    bad = told(fact.Rejected("s\x1b", "192.0.2.1", "RCPT", "r", 550, "5.1.1", "\x1b]0;x\x07", "a\x9b@x", "b\r\n"), NOW)
    bad |= {"event": "rejected"}
    for line in Told(Pen(False)).lines(bad):
        assert line.isprintable()
    strange = {"time": NOW, "event": "\x1b[2J", "queue_id": "\x1b", "x\x1b": "\u202e"}
    for line in Told(Pen(False)).lines(strange):
        assert line.isprintable()


def test_a_conversation_has_a_line_each() -> None:
    said = ("C: EHLO", "S: 250 \x1b")
    lines = Told(Pen(False)).lines(told(fact.Conversation("q1", "out/x", "mx", said, 0.5), NOW))
    assert [line.strip() for line in lines[2:]] == ["C: EHLO", "S: 250 \\x1b"]


STORY = [
    fact.Connected("s1", "mx", "192.0.2.1", 25), fact.Disconnected("s1", "192.0.2.1", "quit", 0.1, 1),
    fact.LoggedIn("s1", "192.0.2.1", "ann", "PLAIN"), fact.TlsStarted("s1", "192.0.2.1", "TLSv1.3", "x", ()),
    fact.HandedOver("s1", "q1", "192.0.2.1", "", "", "b@y.example", "box", 10, 0.1, 250, "2.0.0", "ok"),
    fact.Discarded("s1", "q1", "192.0.2.1", "", (), "junk"), fact.Started("mx", "1", ()),
    fact.Trouble("x", "y", "", ""), fact.Reloaded((), ()), fact.Reloaded(("hostname: changed",), ()),
    fact.Reloaded((), ("hostname: no",)), fact.Stopped("mx", 7.0), fact.WorkerStarted(0, 7),
    fact.WorkerEnded(0, 7, "killed", 1.0), fact.TokenRefused("192.0.2.1", "GET", "/api/v1/now"),
    fact.Operated("shop", "192.0.2.1", "POST", "/api/v1/queue/hold", 200),
]


@each("event", STORY)
def test_each_kind_has_words(event: fact.Event) -> None:
    words = words_of_one(told(event, NOW))
    assert words
    assert not any(sign in words for sign in "{[=")


@each(("text", "seconds"), [
    ("2023-11-14T22:13:20.250Z", NOW), ("2023-11-14T22:13:20Z", NOW - 0.25), ("yesterday", 0.0), ("", 0.0),
])
def test_times(text: str, seconds: float) -> None:
    assert epoch_of(text) == seconds
    if seconds:
        assert epoch_of(as_in_journal({"time": seconds, "event": "x"})["time"]) == seconds
