"""``mailgw top`` and ``tail`` at a running gateway, with one process and with two; and what Prometheus' own tool says
of its numbers."""

import json
import os
import signal
import smtplib
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.harness import MAILGW, Gateway, free_port, listener, maildirs, route, toml, wait_until
from tests.test_top import Terminal

pytestmark = pytest.mark.peer
DOCS = Path(__file__).parent.parent.parent / "docs"


class Watched(Gateway):
    def __init__(self, folder: Path, workers: int) -> None:
        self.web = free_port()
        port = free_port()
        super().__init__("mailgw", folder, folder, toml(
            listener("mx", port), route("@home.test", "boxes"), maildirs("boxes"),
            f'[api]\nendpoint = "tcp:{self.web}:interface=127.0.0.1"', top=f"workers = {workers}",
        ), [port])

    def send(self, *to: str) -> None:
        with smtplib.SMTP("127.0.0.1", self.port) as client:
            client.sendmail("ann@away.test", to, "Subject: x\n\nx\n")

    def get(self, path: str) -> str:
        token = (self.folder / "state" / "api-token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        asked = urllib.request.Request(f"http://127.0.0.1:{self.web}{path}", headers=headers)
        with urllib.request.urlopen(asked, timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    def totals(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self.get("/api/v1/now"))["totals"]
        return found


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    one = Watched(tmp_path, request.param)
    one.start()
    wait_until(lambda: one.facts("started"), 30, "all workers")
    try:
        yield one
    finally:
        one.stop()


def test_what_happens_is_counted_and_outlives_a_worker(gateway: Watched) -> None:
    for _ in range(4):
        gateway.send("bob@home.test")
    wait_until(lambda: gateway.totals()["out"] == 4, 20, "all deliveries are counted")
    assert gateway.totals()["in"] == 4
    workers = gateway.facts("worker_started")
    if workers:
        os.kill(int(str(workers[0]["pid"])), signal.SIGKILL)
        wait_until(lambda: len(gateway.facts("worker_started")) > len(workers), 30, "it is started again")
        assert gateway.totals()["out"] == 4
        gateway.send("bob@home.test")
        wait_until(lambda: gateway.totals()["out"] == 5, 20, "the new one counts")
    page = gateway.command("top", "--once")
    assert "since start" in page
    assert json.loads(gateway.command("top", "--once", "--json"))["totals"]["in"] >= 4


def test_facts_are_told_as_they_happen(gateway: Watched) -> None:
    with subprocess.Popen(
        [str(MAILGW), "tail", "--config", str(gateway.config), "--json", "--for", "bob@home.test"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # What a shell starts behind "&" ignores it, and so does all that comes of that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as tail:
        try:
            time.sleep(2)  # until it watches
            gateway.send("cat@home.test", "bob@home.test")
            gateway.send("cat@home.test")
            assert tail.stdout is not None
            told = [json.loads(tail.stdout.readline()) for _ in range(2)]
            assert [(one["event"], one.get("recipient", "")) for one in told] == [
                ("queued", ""), ("delivered", "bob@home.test")]
        finally:
            tail.send_signal(signal.SIGINT)
            assert tail.wait(20) == 0
    since = gateway.command("tail", "--since", "10m", "--json", "--no-follow", "--for", "bob@home.test")
    assert [json.loads(line)["event"] for line in since.splitlines()] == ["queued", "delivered"]


@pytest.mark.parametrize("gateway", [1], indirect=True)
def test_a_page_at_a_terminal(gateway: Watched) -> None:
    terminal = Terminal(gateway.folder / "state", NO_COLOR="1")
    terminal.read_until("since start")
    gateway.send("bob@home.test")
    assert "\x1b[31m" not in terminal.seen
    gateway.stop()
    terminal.read_until("no gateway runs")
    gateway.start()
    terminal.seen = ""
    terminal.read_until("since start")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.ended() == 0


@pytest.mark.parametrize("gateway", [2], indirect=True)
def test_prometheus_takes_the_metrics_and_the_alerts(gateway: Watched) -> None:
    gateway.send("bob@home.test")
    gateway.get("/metrics")
    time.sleep(2)  # the queue is counted
    found = subprocess.run(
        ["promtool", "check", "metrics"], input=gateway.get("/metrics"), text=True, capture_output=True, timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
    command = ["promtool", "check", "rules", str(DOCS / "alerts.yml")]
    rules = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
    assert rules.returncode == 0, rules.stdout + rules.stderr
