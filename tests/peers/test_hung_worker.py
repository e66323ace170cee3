"""One of two workers hangs (SIGSTOP): the API says so soon, sends by the other, and no key makes two messages."""

import os
import signal
import time
from typing import Any

import pytest

from tests.peers.harness import Lab, wait_until
from tests.peers.test_sending import Api, boxes, gateway
from tests.peers.test_workers import workers

pytestmark = pytest.mark.peer


def post(api: Api, key: str) -> tuple[int, Any]:
    letter = {"from": "ann@home.test", "to": ["bob@home.test"], "subject": key, "text": "hi"}
    return api.ask("POST", "/messages", letter, key)


def test_a_hung_worker_keeps_nobody_waiting(lab: Lab) -> None:
    made, port = gateway(lab, 2, None)
    made.start()
    api = Api(made, port)
    wait_until(lambda: api.token_file.exists() and len(workers(made)) == 2, 30, "it is open")
    wait_until(lambda: api.ask("GET", "/health")[1]["findings"] == [], 30, "all is well")
    keys = [f"k{number}" for number in range(12)]
    hung = workers(made)[1]
    os.kill(hung, signal.SIGSTOP)
    try:
        began = time.monotonic()
        _, health = api.ask("GET", "/health")
        assert time.monotonic() - began < 3.0  # two are promised, and this machine may be busy
        assert any((one["what"], one["why"].split(":")[0]) == ("worker 1", "does not answer")
                   for one in health["findings"])
        first = [post(api, key)[0] for key in keys]
        assert time.monotonic() - began < 9.0
        assert set(first) <= {202, 503}
        assert first.count(503) <= 1, "that it is silent is known by then"
        began = time.monotonic()
        status, problem = api.ask("GET", "/queue/messages")
        assert time.monotonic() - began < 6.0
        assert (status, "worker 1 does not answer" in str(problem)) == (503, True)
    finally:
        os.kill(hung, signal.SIGCONT)
    wait_until(lambda: api.ask("GET", "/queue/messages")[0] == 200, 10, "it answers again")

    def all_sent() -> bool:
        return all(post(api, key)[0] in (200, 202) for key in keys)

    wait_until(all_sent, 20, "all are sent")
    wait_until(lambda: len(boxes(made)) == len(keys), 10, "all are delivered")
    time.sleep(1)  # one too many would come by then
    assert len(boxes(made)) == len(keys)
