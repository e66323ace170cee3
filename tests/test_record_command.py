"""``mailgw record``: what it asks a gateway for, what it prints, and what it says where none runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from mailgw import record_command
from mailgw.ctl import main
from mailgw.disk import Disk
from mailgw.store.recordings import RecordedLine, RecordingFolder, RecordingHead
from tests.tables import each

ORDER = {"id": "r1", "network": "203.0.113.0/24", "until": 1_764_000_000.0, "sessions": 20, "begun": 1}
KEPT = {"session_id": "s-1", "role": "mx", "peer": "203.0.113.7", "began": 1_764_000_000.0, "ended": 1_764_000_001.0,
        "size_octets": 900}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["record", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


@each(("words", "request_", "answer", "out"), [
    (["203.0.113.0/24", "--minutes", "5"],
     {"command": "record.start", "network": "203.0.113.0/24", "minutes": 5, "sessions": 20}, ORDER,
     "r1: the next 20 sessions from 203.0.113.0/24 are recorded, until 2025-11-24 16:00:00 UTC\n"),
    (["list"], {"command": "record.list"}, {"orders": [ORDER], "recordings": [KEPT]},
     "r1: 203.0.113.0/24 until 2025-11-24 16:00:00 UTC, 1 of 20 sessions\n"
     "2025-11-24 16:00:00 UTC  s-1  203.0.113.7 as mx, 900 octets\n"),
    (["list"], {"command": "record.list"}, {"orders": [], "recordings": []}, "nothing is recorded, and nothing was\n"),
    (["show", "s-1"], {"command": "record.show", "session_id": "s-1"},
     {**KEPT, "lines": [
         {"at": 0.5, "side": "S", "text": "220 \x1b"}, {"at": 12.0, "side": "", "text": "the end: quit"},
     ]},
     "session s-1, 203.0.113.7 as mx, 2025-11-24 16:00:00 UTC\n    0.500  S: 220 \\x1b\n   12.000  -- the end: quit\n"),
    (["stop"], {"command": "record.stop", "all": True}, {"stopped": 2}, "2 stopped\n"),
    (["stop", "all"], {"command": "record.stop", "all": True}, {"stopped": 2}, "2 stopped\n"),
    (["stop", "r1"], {"command": "record.stop", "id": "r1"}, {"stopped": 1}, "1 stopped\n"),
    (["remove", "s-1"], {"command": "record.remove", "session_id": "s-1"}, {"removed": 1}, "removed\n"),
])
def test_what_is_asked_and_said(
    words: list[str], request_: Any, answer: Any, out: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    asked: list[Any] = []

    def ask(path: str, request: Any) -> Any:
        assert path == f"{tmp_path}/control.sock"
        asked.append(request)
        return answer

    monkeypatch.setattr(record_command, "ask_gateway", ask)
    assert run(capsys, *words, "--state", str(tmp_path)) == (0, out, "")
    assert asked == [request_]
    status, said, _ = run(capsys, *words, "--state", str(tmp_path), "--json")
    assert (status, json.loads(said)) == (0, answer)


def test_where_no_gateway_runs_the_files_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--state", str(tmp_path)]
    status, out, err = run(capsys, "list", *place)
    assert (status, out) == (1, "")
    assert f"no gateway runs, and none ever did, at {tmp_path}" in err
    (tmp_path / "spool").mkdir()
    nothing_runs = "mailgw: no gateway runs; this is what is on disk\n"
    assert run(capsys, "list", *place) == (0, "nothing is recorded, and nothing was\n", nothing_runs)
    assert run(capsys, "list", *place, "--json")[::2] == (0, "")
    folder = RecordingFolder(str(tmp_path), Disk(), lambda: 0.0)
    folder.begin(RecordingHead("s-1", "mx", "192.0.2.1", 1_764_000_000.0))
    folder.add("s-1", [RecordedLine(0.1, "S", "220 ready")])
    assert "s-1  192.0.2.1 as mx" in run(capsys, "list", *place)[1]
    assert "S: 220 ready" in run(capsys, "show", "s-1", *place)[1]
    status, _, err = run(capsys, "show", "s-2", *place)
    assert status == 1
    assert "no recording of session s-2" in err
    status, _, err = run(capsys, "192.0.2.1", *place)
    assert status == 1
    assert "no gateway runs" in err


@each("words", [
    [], ["show"], ["remove"], ["nonsense"], ["203.0.113.0/33"], ["list", "x"], ["192.0.2.1", "x"], ["stop", "x", "y"],
    ["list", "--minutes", "5"],
    ["192.0.2.1", "--minutes", "0"], ["192.0.2.1", "--minutes", "61"], ["192.0.2.1", "--sessions", "101"],
])
def test_what_makes_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["record", *words])
    assert ended.value.code == 2
    capsys.readouterr()
