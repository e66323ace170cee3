"""``mailgw webhooks``, with a gateway that a test plays."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mailgw import hooks_command
from mailgw.ctl import main
from tests.tables import each

HOOK = {
    "name": "shop", "state": "failing", "origin": "https://shop.example", "events": ["delivered"], "failures": 3,
    "why": "HTTP 503\x1b[31m", "again": 1_700_000_060.0, "waiting": 1200, "dead": 2, "oldest": 1_700_000_000.0,
    "blocked": 1, "is_astray": False,
}
QUEUED = {"event": "queued", "queue_id": "q1", "recipients": ["a@b.example", "c@d.example"]}
DEAD = [
    {"number": number, "at": 1_700_000_000.0, "died": 1_700_300_000.0, "why": "HTTP 404",
     "event": {"id": f"evt_{number}", **QUEUED}}
    for number in (4, 7)
]


waiting = {"shop": 1200, "one": 1}


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
                if request["name"] == "none":
                    return {"items": [], "next": None}
                first = request["after"] is None
                return {"items": DEAD[:1] if first else DEAD[1:], "next": "4" if first else None}
            case "hooks.resume":
                return {"events": waiting.get(request["name"], 0)}
            case _:
                return {"events": 2 if request.get("numbers") != [1, 99] else 1,
                        "missing": [99] if request.get("numbers") == [1, 99] else []}

    monkeypatch.setattr(hooks_command, "ask_gateway", ask)
    return requests


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["webhooks", words[0], "--state", "/state", *words[1:]]) == 0
    return capsys.readouterr().out


def test_list(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    first, second = said(capsys, "list").splitlines()
    assert first.startswith("shop  https://shop.example  failing, 1,200 waiting since 2023-11-1")
    assert first.endswith("2 dead, 1 message refused for now")
    assert "HTTP 503" in second
    assert "; again at 2023-11-1" in second
    assert "\x1b" not in second
    assert json.loads(said(capsys, "list", "--json")) == [HOOK]


def test_of_messages_that_are_refused_it_says_why_though_the_hook_is_on(
    asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"state": "on", "why": "HTTP 400", "again": None}.items():
        monkeypatch.setitem(HOOK, name, value)
    assert said(capsys, "list").splitlines()[1] == "    HTTP 400"
    monkeypatch.setitem(HOOK, "blocked", 0)
    assert len(said(capsys, "list").splitlines()) == 1


def test_of_a_hook_that_is_astray_it_says_that_it_takes_nothing(
    asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOOK, "is_astray", True)
    for state, words in {"failing": "takes nothing", "on": "takes nothing", "off": "1 message refused for now"}.items():
        monkeypatch.setitem(HOOK, "state", state)
        assert said(capsys, "list").splitlines()[0].endswith(f"2 dead, {words}")


def test_dead_goes_through_all_pages(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "dead", "shop").splitlines()
    assert [line.split()[0] for line in lines] == ["4", "7"]
    assert lines[0].endswith("queued  q1  a@b.example, c@d.example  HTTP 404")
    assert json.loads(said(capsys, "dead", "shop", "--json")) == DEAD


def test_of_a_hook_that_is_off_there_is_no_again(
    asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOOK, "state", "off")
    assert "again" not in said(capsys, "list")


def test_no_dead_events(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "dead", "none") == "no dead events\n"
    assert json.loads(said(capsys, "dead", "none", "--json")) == []


def test_resume(asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "resume", "shop") == "1,200 events are tried now\n"
    assert said(capsys, "resume", "one") == "1 event is tried now\n"
    assert said(capsys, "resume", "none") == "it is on, and nothing waits\n"
    assert json.loads(said(capsys, "resume", "shop", "--json")) == {"events": 1200}
    assert asked[0] == {"command": "hooks.resume", "name": "shop"}


@each(("more", "out"), [([], "1 event waits again\n"), (["--json"], '{"events": 1, "missing": [99]}\n')])
def test_numbers_that_are_not_there_are_named(
    asked: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str], more: list[str], out: str
) -> None:
    assert main(["webhooks", "retry", "--state", "/state", "shop", "1", "99", *more]) == 1
    assert tuple(capsys.readouterr()) == (out, "mailgw: no dead event of shop has the number 99\n")


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
