"""``mailgw reload`` where the file does not even say where the gateway is."""

import json
from pathlib import Path

import pytest

from mailgw.ctl import main
from tests.played_gateway import PlayedGateway
from tests.tables import each


@each(("text", "fault"), [
    ("state =", "m.toml:1: not TOML: "), ('[limits]\nstate = "/s"\n', "m.toml: limits.state: unknown key here"),
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
    assert answer == {"done": False, "is_check": False, "changes": [], "faults": [first], "note": ""}


def test_whoever_is_at_the_file_hears_it_from_the_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the reload is for besides (certificates, the journal) is done all the same."""
    file = tmp_path / "m.toml"
    file.write_text('state = "s"\n[limits]\nrecipients =\n')
    (tmp_path / "s").mkdir()
    refused = {"done": False, "changes": [], "faults": ["m.toml:3: not TOML: Invalid value"], "note": ""}
    with PlayedGateway(tmp_path / "s", {"reload": lambda request: refused}) as gateway:
        assert main(["reload", "-c", str(file)]) == 1
    assert gateway.asked == [{"command": "reload", "check": False, "file": str(file)}]
    assert capsys.readouterr().err.splitlines()[0] == "m.toml:3: not TOML: Invalid value"


def test_another_state_folder_takes_a_restart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.toml"
    file.write_text('state = "s2"\n')
    assert main(["reload", "-c", str(file)]) == 1
    assert capsys.readouterr().err == (
        f"mailgw: no gateway runs at {tmp_path}/s2: there is nothing to reload"
        f" (if {file} names another state folder now, that takes a restart)\n"
    )


def test_where_no_gateway_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload", "--state", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"mailgw: no gateway runs at {tmp_path}: there is nothing to reload\n"
