"""A message traced, and sessions recorded, of a gateway that runs: one process, and several."""

import json
import time

import pytest

from tests.peers.harness import LATER, Lab, Talk, letter, route, smart_host, submit, wait_until
from tests.peers.test_workers import started, with_workers
from tests.tables import each

pytestmark = pytest.mark.peer


@each("workers", [1, 3])
def test_from_a_session_s_first_line_to_the_last_attempt(workers: int, lab: Lab) -> None:
    hop = lab.hop({"RCPT": ["450 4.7.1 Later"]})
    gateway, port = with_workers(lab, workers, route("*", "out"), smart_host("out", hop.port), LATER)
    started(gateway, workers)
    begun = json.loads(gateway.command("record", "127.0.0.0/8", "--minutes", "5", "--sessions", "40", "--json"))
    assert begun["begun"] == 0
    time.sleep(0.5)  # every worker has heard of it
    for number in range(12):
        submit(port, "ann@home.test", "bob@else.test", letter(f"number {number}"))
    with Talk(port) as talk:
        talk.say("EHLO there")
        assert talk.say("AUTH PLAIN AGFubgBzZWNyZXQ=").startswith("5")
        talk.say("QUIT")

    def recorded() -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(gateway.ask("record", "list", "--json"))["recordings"]
        return found

    wait_until(lambda: len(recorded()) == 13, 20, "all sessions to be recorded")
    [order] = json.loads(gateway.command("record", "list", "--json"))["orders"]
    assert order["begun"] == 13

    def shown() -> list[str]:
        return [gateway.ask("record", "show", str(one["session_id"])) for one in recorded()]

    wait_until(lambda: all("-- the end: quit" in words for words in shown()), 20, "the ends of all sessions")
    said = shown()
    assert sum("octets of content" in words for words in said) == 12
    assert sum("AUTH PLAIN (hidden)" in words for words in said) == 1
    assert not any("AGFubgBzZWNyZXQ" in words or "hello" in words for words in said)
    folder = gateway.folder / "state/recordings"
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert gateway.command("record", "stop") == "1 stopped\n"

    queue_id = str(gateway.queue()[0]["queue_id"])
    wait_until(lambda: len(gateway.facts("deferred")) == 12, 30, "all attempts")
    story = gateway.command("trace", queue_id)
    for word in ("connected", "queued", "disconnected", "deferred", "in the queue now: bob@else.test",
                 "conversation", "S: 450 4.7.1 Later"):
        assert word in story
    listed = json.loads(gateway.command("trace", "bob@else.test", "--json"))
    assert {row["queue_id"] for row in listed["items"]} == {row["queue_id"] for row in gateway.queue()}
    gateway.command("trace", "nobody@else.test", status=1)
    gateway.stop()
    assert "deferred" in gateway.command("trace", queue_id)
    assert len(recorded()) == 13
