"""``mailgw webhooks``, with a gateway that a test plays."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mailgw import hooks_command
from mailgw.ctl import main

HOOK = {
    "name": "shop", "state": "failing", "origin": "https://shop.example", "events": ["delivered"], "failures": 3,
    "why": "HTTP 503\x1b[31m", "again": 1_700_000_060.0, "waiting": 1200, "dead": 2, "oldest": 1_700_000_000.0,
    "blocked": 1,
}
QUEUED = {"event": "queued", "queue_id": "q1", "recipients": ["a@b.example", "c@d.example"]}
DEAD = [
    {"number": number, "at": 1_700_000_000.0, "died": 1_700_300_000.0, "why": "HTTP 404",
     "event": {"id": f"evt_{number}", **QUEUED}}
    for number in (4, 7)
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    requests: list[Mapping[str, Any]] = []

    def ask(path: str, request: Mapping[str, Any]) -> Any:
        assert path == "/state/control.sock"
        requests.append(request)
        match request["command"]:
            case "hooks.list":
                return {"items": [HOOK]}
            case "hooks.dead":
                first = request["after"] is None
                return {"items": DEAD[:1] if first else DEAD[1:], "next": "4" if first else None}
            case _:
                return {"events": 2}

    monkeypatch.setattr(hooks_command, "ask_gateway", ask)
    return requests


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["webhooks", words[0], "--state", "/state", *words[1:]]) == 0
    return capsys.readouterr().out


def test_list(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = said(capsys, "list").splitlines()
    assert first.startswith("shop  https://shop.example  failing, 1,200 waiting since 2023-11-1")
    assert first.endswith("2 dead, 1 messages refused for now")
    assert "HTTP 503" in second
    assert "\x1b" not in second
    assert json.loads(said(capsys, "list", "--json")) == [HOOK]


def test_dead_goes_through_all_pages(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "dead", "shop").splitlines()
    assert [line.split()[0] for line in lines] == ["4", "7"]
    assert lines[0].endswith("queued  q1  a@b.example, c@d.example  HTTP 404")
    assert [json.loads(line) for line in said(capsys, "dead", "shop", "--json").splitlines()] == DEAD


def test_orders(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "retry", "shop", "4", "7") == "2 events wait again\n"
    assert said(capsys, "drop", "shop", "--all") == "2 events are forgotten\n"
    assert asked == [
        {"command": "hooks.retry", "name": "shop", "numbers": [4, 7]},
        {"command": "hooks.drop", "name": "shop", "all": True},
    ]
    with pytest.raises(SystemExit, match="2"):
        main(["webhooks", "drop", "shop"])


def test_without_a_gateway_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(hooks_command, "ask_gateway", lambda path, request: None)
    assert main(["webhooks", "list", "--state", "/state"]) == 1
    assert "no gateway runs at /state" in capsys.readouterr().err
