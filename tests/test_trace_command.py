"""``mailgw trace``: what it says, of what, and with which exit status."""

import json
import os
import sys
from pathlib import Path

import pytest

from mailgw.ctl import main
from mailgw.mail import event as fact
from mailgw.trace_words import Pen, story_lines, words_of
from tests.store.test_journal_story import ANN, BOB, CARL, LIFE, NOTICE, NOW, PEER, Q1, Q2, journal
from tests.tables import each
from tests.test_tail import closed


@pytest.fixture
def state(tmp_path: Path) -> Path:
    journal(tmp_path / "journal.jsonl", *LIFE)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["trace", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@each("what", [Q1, BOB, f"<{Q1}@mail.example.org>", f"{Q1}@mail.example.org"])
def test_one_message_is_told(state: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    status, out, err = run(capsys, what, "--state", str(state))
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == f"message {Q1}"
    assert f"  to {BOB}, {CARL}" in lines
    events = [line.split()[1] for line in lines if line[2:3] == ":"]
    assert events == ["connected", "tls", "rejected", "authenticated", "queued", "changed", "disconnected", "deferred",
                      "deferred", "delivered", "bounced"]
    assert f"its sender was told of {BOB}: bounce {NOTICE}" in lines
    assert "looked into" in err
    assert "back to 2025-11-24 15:59:55 UTC" in err


def test_several_are_listed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, ANN, "--state", str(state))
    assert status == 0
    assert [line.split()[2:4] for line in out.splitlines() if not line.startswith(" ")] == [
        ["delivered", NOTICE], ["bounced", Q1], ["delivered", Q2], ["rejected", "refusal"]]
    status, out, err = run(capsys, PEER, "--state", str(state), "--limit", "2")
    assert out.count("\n2") + 1 == 2
    assert "the newest 2" in err
    status, out, err = run(capsys, ANN, "--state", str(state), "--limit", "4")
    assert "newest" not in err


def test_a_notice(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, NOTICE, "--state", str(state))
    assert status == 0
    assert f"it is a notice on {Q1}" in out


def test_nothing(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "nobody@example.org", "--state", str(state))
    assert (status, out) == (1, "")
    assert "nothing found; looked into" in err
    status, out, err = run(capsys, BOB, "--state", str(state), "--since", "1s")
    assert (status, out) == (1, "")
    status, out, err = run(capsys, BOB, "--journal", str(state / "else"))
    assert (status, out) == (1, "")
    assert err == f"mailgw: there is no journal {state / 'else'}\n"
    assert run(capsys, BOB, "--state", str(state / "else"))[2] == (
        f"mailgw: there is no journal {state / 'else' / 'journal.jsonl'}; say --config FILE or --state FOLDER\n")
    os.utime(state / "journal.jsonl", (0, 0))
    status, out, err = run(capsys, BOB, "--state", str(state), "--since", "1s")
    assert (status, out) == (1, "")
    assert "is as new as that" in err


@each("place", ["--state", "--config", "--journal"])
def test_a_journal_that_may_not_be_read(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    config = state / "mailgw.toml"
    config.write_text('state = "."\n')
    where = {"--state": state, "--config": config, "--journal": state / "journal.jsonl"}[place]
    monkeypatch.setattr(os, "listdir", closed)
    status, out, err = run(capsys, BOB, place, str(where))
    assert (status, out) == (1, "")
    assert err.endswith(": Permission denied; run this as the gateway's user\n")


def test_json(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, Q1, "--state", str(state), "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found["story"]["queue_id"] == Q1
    assert found["waiting"] is None
    assert found["is_all"]
    assert found["searched_back_to"] == NOW - 5
    assert found["files"] == [str(state / "journal.jsonl")]
    status, out, _ = run(capsys, "nobody@example.org", "--state", str(state), "--json")
    assert status == 1
    assert json.loads(out)["items"] == []


def test_the_configuration_says_where_the_journal_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mailgw.toml"
    journal(tmp_path / "own.jsonl", *LIFE)
    config.write_text('state = "state"\n[journal]\npath = "own.jsonl"\n')
    assert run(capsys, BOB, "-c", str(config))[0] == 0
    assert main(["-c", str(config), "trace", BOB]) == 0
    config.write_text('[journal]\npath = "-"\n')
    status, _, err = run(capsys, BOB, "-c", str(config))
    assert status == 1
    assert "standard output" in err
    config.write_text(f'state = "{tmp_path}"\n')
    journal(tmp_path / "journal.jsonl", *LIFE)
    assert run(capsys, BOB, "-c", str(config))[0] == 0


@each("words", [[], ["a", "b"], ["x" * 1001], ["a", "--since", "x"], ["a", "--limit", "0"], ["a", "--limit", "1001"]])
def test_what_makes_no_sense(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["trace", *words])
    assert ended.value.code == 2
    capsys.readouterr()


def test_what_strangers_wrote_is_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[31m\u202e"
    journal(
        tmp_path / "journal.jsonl",
        (0.0, fact.Queued("s", Q1, PEER, evil, evil, (evil,), 1, 0.1, evil, evil)),
        (1.0, fact.Retrying(Q1, evil, evil, evil, 451, evil, evil, 1, 1.0, evil)),
        (2.0, fact.Rejected("s", PEER, evil, evil, 550, evil, evil, evil, evil, evil)),
    )
    for what in (Q1, PEER):
        run_out = run(capsys, what, "--state", str(tmp_path))[1]
        assert "\x1b" not in run_out
        assert "\u202e" not in run_out
        assert "\\x1b[31m" in run_out


def test_colours_are_for_terminals(state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
                                   ) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\x1b[31mbounced" in run(capsys, Q1, "--state", str(state))[1]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run(capsys, Q1, "--state", str(state))[1]


def test_who_waits_in_the_queue() -> None:
    story = {"queue_id": Q1, "message": {"queue_id": Q1}, "attempts": [], "notices": [], "notice_of": None,
             "caused": [{"queue_id": Q2, "recipients": [ANN]}],
             "facts": [{"time": NOW, "event": "deferred", "recipient": BOB}]}
    row = {"recipient": BOB, "lane": "out/x", "state": "waiting", "due": NOW + 300, "reason": "451 Later"}
    lines = [*story_lines(story, [row], Pen(False), NOW)]
    assert "in the queue now: bob@example.net in out/x, waiting, next attempt in 5 min: 451 Later" in lines
    assert f"because of it an application sent {Q2} to {ANN}" in lines
    for state, due, said in (("held", None, "held: 451 Later"), ("waiting", NOW - 1, "waiting, due now: 451 Later"),
                             ("active", None, "active: 451 Later")):
        told = [*story_lines(story, [{**row, "state": state, "due": due}], Pen(False), NOW)]
        assert f"in the queue now: bob@example.net in out/x, {said}" in told
    assert "in the queue now: nobody" in [*story_lines(story, [], Pen(False), NOW)]
    assert not any("in the queue" in line for line in story_lines(story, None, Pen(False), NOW))


def test_every_fact_has_words() -> None:
    kinds = [kind for kind in vars(fact).values() if isinstance(kind, type) and issubclass(kind, fact.Event)]
    for kind in kinds:
        words_of({"time": NOW, "event": kind.name})  # whatever is missing
    assert words_of({"time": NOW, "event": "later_word", "what": "x", "queue_id": "q"}) == "what=x"
