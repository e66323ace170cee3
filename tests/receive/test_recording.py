"""Sessions recorded on request: whose, how long, and what of them is kept where."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from mailgw.disk import Disk
from mailgw.mail.errors import RefusedRequest
from mailgw.store.recordings import KEPT_SECONDS, MOST_FILES, RecordedLine, RecordingFolder, RecordingHead
from mailgw.testing import Gateway
from tests.tables import each

CONFIG = """
hostname = "mx.example.org"
[api]
[[listen]]
role = "mx"
endpoint = "tcp:25"
xclient_from = ["10.0.0.9"]
[[route]]
recipients = ["@example.org"]
backend = "home"
[backend.home]
type = "maildir"
path = "/mail/{domain}/{local_part}"
recipients = "any"
"""
MAIL = b"Subject: hush\r\n\r\nhush\r\n"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(CONFIG, accounts={"ann@example.org": "QZXJ#~9k"}) as made:
        yield made


def ask(gateway: Gateway, command: str, **request: Any) -> Any:
    answer: list[Any] = []

    async def asked() -> None:
        try:
            answer.append(await gateway.service.answer({"command": command, **request}))
        except RefusedRequest as refusal:
            answer.append(refusal)

    Deferred.fromCoroutine(asked())  # type: ignore[unused-awaitable] # its answer is in the list
    gateway.settle()
    [found] = answer
    if isinstance(found, RefusedRequest):
        raise found
    return found


def texts(gateway: Gateway, session_id: str) -> list[str]:
    shown = ask(gateway, "record.show", session_id=session_id)
    return [f"{line['side']}: {line['text']}" if line["side"] else f"-- {line['text']}" for line in shown["lines"]]


def recorded(gateway: Gateway) -> list[Any]:
    gateway.advance(seconds=2)
    found: list[Any] = ask(gateway, "record.list")["recordings"]
    return found


def receive(gateway: Gateway, client: str) -> None:
    assert gateway.receive(MAIL, sender="bob@example.net", to=["ann@example.org"], client=client).code == 250


def test_the_sessions_of_a_network(gateway: Gateway) -> None:
    receive(gateway, "203.0.113.7")
    order = ask(gateway, "record.start", network="203.0.113.9/24", minutes=10, sessions=5)
    assert order == {"id": "r1", "network": "203.0.113.0/24", "until": gateway.now + 600, "sessions": 5, "begun": 0}
    receive(gateway, "203.0.113.7")
    receive(gateway, "198.51.100.1")
    [one] = recorded(gateway)
    assert (one["role"], one["peer"]) == ("mx", "203.0.113.7")
    lines = texts(gateway, one["session_id"])
    assert lines[0] == "S: 220 mx.example.org ESMTP mailgw ready"
    assert "C: MAIL FROM:<bob@example.net>" in " ".join(lines)
    assert any(line.endswith("octets of content)") for line in lines)
    assert lines[-3:] == ["C: QUIT", "S: 221 2.0.0 Bye", "-- the end: quit"]
    assert "hush" not in "".join(lines)
    [order] = ask(gateway, "record.list")["orders"]
    assert order["begun"] == 1


def test_a_login_under_tls_is_not_in_it(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7")
    answer = gateway.receive(
        MAIL, sender="ann@example.org", to=["ann@example.org"], client="203.0.113.7", login="ann@example.org",
    )
    assert answer.code == 250
    [one] = recorded(gateway)
    whole = "\n".join(texts(gateway, one["session_id"]))
    assert one["role"] == "submission"
    assert "-- TLSv1.3, " in whole
    assert "C: AUTH " in whole
    assert "QZXJ" not in whole


def test_so_many_sessions(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7", sessions=2)
    for _ in range(3):
        receive(gateway, "203.0.113.7")
    assert len(recorded(gateway)) == 2
    assert ask(gateway, "record.list")["orders"] == []
    assert not gateway.service.recordings.is_on


def test_so_many_minutes(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7", minutes=1)
    gateway.advance(seconds=59)
    receive(gateway, "203.0.113.7")
    gateway.advance(seconds=2)
    receive(gateway, "203.0.113.7")
    assert len(recorded(gateway)) == 1


def test_stopping_ends_what_is_being_recorded(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7")
    client = gateway.connect(client="203.0.113.7")
    client.reply()
    client.command("EHLO there")
    assert ask(gateway, "record.stop", id="r1") == {"stopped": 1}
    client.command("NOOP")
    client.hang_up()
    [one] = recorded(gateway)
    lines = texts(gateway, one["session_id"])
    assert lines[-1] == "-- the recording was stopped"
    assert not any("NOOP" in line for line in lines)


def test_a_client_that_a_front_names(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7")
    client = gateway.connect(client="10.0.0.9")
    client.reply()
    client.command("EHLO front")
    client.command("XCLIENT ADDR=203.0.113.7 NAME=[UNAVAILABLE]")
    client.command("EHLO there")
    client.hang_up()
    [one] = recorded(gateway)
    assert one["peer"] == "203.0.113.7"
    assert texts(gateway, one["session_id"])[1] == "C: EHLO there"


def test_a_recording_is_forgotten(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7")
    receive(gateway, "203.0.113.7")
    [one] = recorded(gateway)
    assert ask(gateway, "record.remove", session_id=one["session_id"]) == {"removed": 1}
    assert recorded(gateway) == []
    with pytest.raises(RefusedRequest, match="no recording"):
        ask(gateway, "record.remove", session_id=one["session_id"])


def test_nothing_outlives_the_process_but_the_files(gateway: Gateway) -> None:
    ask(gateway, "record.start", address="203.0.113.7")
    receive(gateway, "203.0.113.7")
    gateway.restart()
    assert len(recorded(gateway)) == 1
    assert ask(gateway, "record.list")["orders"] == []


@each(("command", "request_", "why"), [
    ("record.start", {}, "needs a network"), ("record.start", {"network": "x"}, "x"),
    ("record.start", {"network": "192.0.2.1", "address": "192.0.2.1"}, "needs a network"),
    ("record.start", {"network": 1}, "needs a network"),
    ("record.start", {"address": "192.0.2.1", "minutes": 61}, "minutes"),
    ("record.start", {"address": "192.0.2.1", "minutes": 0}, "minutes"),
    ("record.start", {"address": "192.0.2.1", "sessions": 101}, "sessions"),
    ("record.start", {"address": "192.0.2.1", "sessions": 1.5}, "sessions"),
    ("record.start", {"address": "192.0.2.1", "sessions": True}, "sessions"),
    ("record.stop", {}, "say the id"), ("record.stop", {"id": "r9"}, "no recording of the id 'r9' is in force"),
    ("record.show", {}, "session_id"), ("record.show", {"session_id": "../x"}, "no recording"),
    ("record.show", {"session_id": "x"}, "no recording"), ("record.remove", {"session_id": "../../x"}, "no recording"),
])
def test_nonsense(gateway: Gateway, command: str, request_: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedRequest, match=why):
        ask(gateway, command, **request_)


def test_so_many_orders(gateway: Gateway) -> None:
    for _ in range(20):
        ask(gateway, "record.start", address="192.0.2.1", minutes=60, sessions=100)
    with pytest.raises(RefusedRequest, match="20 recordings"):
        ask(gateway, "record.start", address="192.0.2.1")
    assert ask(gateway, "record.stop", all=True) == {"stopped": 20}


def test_a_disk_that_refuses_costs_the_recording_alone(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(gateway, "record.start", address="203.0.113.7")

    def refuse(path: str) -> int:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(gateway.disk, "append", refuse)
    receive(gateway, "203.0.113.7")
    gateway.advance(seconds=2)
    monkeypatch.undo()
    assert recorded(gateway) == []


# --- the folder -------------------------------------------------------------------------------------------------


class Kept:
    def __init__(self, path: Path) -> None:
        self.now = 1_764_000_000.0
        self.path = path / "recordings"
        self.folder = RecordingFolder(str(path), Disk(), lambda: self.now)

    def begin(self, session_id: str, ago: float = 0.0) -> None:
        self.folder.begin(RecordingHead(session_id, "mx", "192.0.2.1", self.now - ago))
        self.folder.add(session_id, [RecordedLine(0.1, "S", "220 ready")])
        os.utime(self.path / f"{session_id}.jsonl", (self.now - ago, self.now - ago))

    @property
    def ids(self) -> list[str]:
        return [one.head.session_id for one in self.folder.all()]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_files_are_the_owner_s_alone(kept: Kept) -> None:
    kept.begin("a-1")
    assert (kept.path / "a-1.jsonl").stat().st_mode & 0o777 == 0o600
    assert kept.path.stat().st_mode & 0o777 == 0o700


def test_files_go_with_time(kept: Kept) -> None:
    kept.begin("a-1", KEPT_SECONDS - 1)
    kept.begin("a-2", KEPT_SECONDS - 100)
    assert kept.ids == ["a-2", "a-1"]
    kept.now += 2
    assert kept.ids == ["a-2"]


def test_so_many_files(kept: Kept) -> None:
    for number in range(MOST_FILES):
        kept.begin(f"a-{number}", 1000 - number)
    assert len(kept.ids) == MOST_FILES
    kept.begin("b-1")
    assert len(kept.ids) == MOST_FILES
    assert kept.ids[0] == "b-1"
    assert "a-0" not in kept.ids


def test_damage_is_left_out(kept: Kept) -> None:
    kept.begin("a-1")
    with (kept.path / "a-1.jsonl").open("ab") as opened:
        opened.write(b'{"at":1,"side":"C","te\n{"at":2,"side":"C","text":"x"}\n')
    found = kept.folder.read("a-1")
    assert found is not None
    assert [line.text for line in found[1]] == ["220 ready", "x"]
    (kept.path / "a-2.jsonl").write_bytes(b"\xff\n")
    (kept.path / "else").write_bytes(b"")
    assert kept.ids == ["a-1"]
    assert kept.folder.read("a-2") is None


def test_of_one_that_was_removed_nothing_is_written(kept: Kept) -> None:
    kept.begin("a-1")
    assert kept.folder.remove("a-1")
    assert not kept.folder.remove("a-1")
    kept.folder.add("a-1", [RecordedLine(0.2, "C", "QUIT")])
    assert kept.ids == []
