"""``mailgw explain`` and ``mailgw check`` say that nothing leaves."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from mailgw.ctl import main
from mailgw.rehearsal import explain_command

CONFIG = """
hostname = "mx.example.org"
state = "state"
[[listen]]
role = "mx"
endpoint = "tcp:2525:interface=127.0.0.1"
relay_from = ["127.0.0.0/8"]
[[route]]
recipients = ["*"]
backend = "internet"
[backend.internet]
type = "smtp"
[staging]
"""


@pytest_twisted.ensureDeferred
async def test_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(coroutine: Any) -> Any:
        return blockingCallFromThread(reactor, Deferred.fromCoroutine, coroutine)

    monkeypatch.setattr(explain_command, "run_once", run)
    file = tmp_path / "mailgw.toml"
    file.write_text(CONFIG)
    words = ["explain", "-c", str(file), "--from", "ann@example.net", "--client", "127.0.0.1"]
    assert await deferToThread(main, [*words, "--to", "bob@example.com"]) == 0
    page = capsys.readouterr().out
    assert "staging        STAGING: nothing leaves; all mail is kept in the inbox, in place of internet (smtp)" in page
    assert "inbox, in place of smtp" in page
    assert await deferToThread(main, [*words, "--to", "x+451@example.com", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["staging"].startswith("STAGING")
    assert (told["recipients"][0]["code"], told["outbound"]) == (451, [])


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mailgw.toml"
    file.write_text(CONFIG)
    assert main(["check", str(file)]) == 0
    assert f"{file}:13: warning: staging: STAGING: nothing leaves" in capsys.readouterr().err
