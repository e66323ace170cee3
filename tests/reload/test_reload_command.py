"""``mailgw reload`` where the file does not even say where the gateway is."""

import json
from pathlib import Path

import pytest

from mailgw.ctl import main
from tests.tables import each


@each(("text", "fault"), [
    ("state =", "m.toml: not TOML: "), ('[limits]\nstate = "/s"\n', "m.toml: limits.state: unknown key here"),
])
def test_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str) -> None:
    file = tmp_path / "m.toml"
    file.write_text(text)
    assert main(["reload", "-c", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    first, last = said.err.splitlines()
    assert fault in first
    assert last == "mailgw: the gateway goes on as it was"
    assert main(["reload", "--json", "-c", str(file)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"done": False, "changes": [], "faults": [first], "note": ""}


def test_where_no_gateway_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"mailgw: no gateway runs at {tmp_path}: there is nothing to reload\n"
