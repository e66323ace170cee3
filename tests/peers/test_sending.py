"""Sending by HTTP, and web hooks for events, with real processes: kill -9 at random moments, and a receiver that fails.

``MAILGW_KILLS`` says how often, ``MAILGW_SEED`` which moments.
"""

import base64
import collections
import hashlib
import hmac
import http.client
import http.server
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.harness import Gateway, Lab, free_port, letters, listener, maildirs, route, toml, wait_until
from tests.peers.test_kill import KILLS, SEED, kill_again_and_again

pytestmark = pytest.mark.peer

WORKERS = pytest.mark.parametrize("workers", [1, 2])
SECRET = b"a secret of the peer tests"
CLIENTS = 4


class Receiver:
    """A web hook's server, in threads of the test.  ``chance`` says how often it fails: 500, no answer, slow."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.taken: list[dict[str, Any]] = []
        self.bad_signatures = 0
        self.chance = chance
        self.lock = threading.Lock()
        self.port = free_port()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.answer(self, body)

            def log_message(self, *words: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # the gateway was killed

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
        fate = "good"
        if self.chance is not None:
            with self.lock:
                fate = self.chance.choice(["good", "good", "bad", "lost", "slow"])
        words = handler.headers
        signed = f"{words['webhook-id']}.{words['webhook-timestamp']}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        with self.lock:
            self.bad_signatures += words["webhook-signature"] != wanted
        if fate == "slow":
            time.sleep(0.3)
        if fate == "bad":
            handler.send_response(500)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        with self.lock:  # "lost": it has them, and the gateway does not learn of it
            self.taken += json.loads(body)
        if fate == "lost":
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response(204)
        handler.end_headers()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def orders(self) -> Iterator[list[str]]:
        """Of each message the events, each once, as they were first taken."""
        found: dict[str, dict[str, str]] = collections.defaultdict(dict)
        with self.lock:
            for one in self.taken:
                found[one.get("queue_id", "")].setdefault(one["id"], one["event"])
        return iter([list(events.values()) for events in found.values()])


def gateway(lab: Lab, workers: int, receiver: Receiver | None) -> tuple[Gateway, int]:
    """And the port of its API."""
    port, web = free_port(), free_port()
    hook = ""
    if receiver is not None:
        (lab.folder / "secret").write_bytes(SECRET + b"\n")
        hook = (f'[[webhook]]\nname = "shop"\nurl = "http://127.0.0.1:{receiver.port}/"\nschedule = ["0.1s"]\n'
                f'secret_file = "{lab.folder}/secret"\nevents = ["queued", "delivered"]\n')
    made = lab.gateway(toml(
        listener("mx", port), f'[api]\nendpoint = "tcp:{web}:interface=127.0.0.1"', hook,
        route("@home.test", "boxes"), maildirs("boxes"), top=f"workers = {workers}",
    ), [port, web])
    return made, web


class Api:
    def __init__(self, made: Gateway, port: int) -> None:
        self.token_file = made.folder / "state" / "api-token"
        self.port = port

    def ask(self, method: str, path: str, body: object = None, key: str = "", raw: bytes = b"") -> tuple[int, Any]:
        """0 where there is no answer."""
        if not self.token_file.exists():  # its port is bound before it is open
            return 0, None
        headers = {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        headers["Content-Type"] = "message/rfc822" if raw else "application/json"
        if key:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            octets = raw or (json.dumps(body).encode() if body is not None else b"")
            connection.request(method, f"/api/v1{path}", octets, headers)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()


def boxes(made: Gateway) -> list[bytes]:
    return [octets for folder in sorted((made.folder / "mail" / "home.test").glob("*")) for octets in letters(folder)]


def ids_by_subject(made: Gateway) -> dict[str, set[str]]:
    """Queue ids of what was delivered, by the subject."""
    found: dict[str, set[str]] = collections.defaultdict(set)
    for octets in boxes(made):
        header = octets.split(b"\n\n")[0].decode()
        queue_id = header.split(" with HTTP id ")[1].split()[0]
        found[header.split("Subject: ")[1].split("\n")[0]].add(queue_id)
    return found


@WORKERS
def test_kills_make_no_two_messages_of_one_key(lab: Lab, workers: int) -> None:
    receiver = Receiver()
    lab.callback(receiver.close)
    made, web = gateway(lab, workers, receiver)
    made.start()
    api, chance = Api(made, web), random.Random(SEED)
    done: dict[str, str] = {}
    repeats = [0]
    is_over = threading.Event()

    def client(number: int) -> None:
        count = 0
        while not is_over.is_set():
            key = f"k{number}-{count}"
            letter = {"from": "shop@home.test", "to": [f"box{number}@home.test"], "subject": key, "text": "hi"}
            while True:  # until it is known, whatever is killed
                status, answer = api.ask("POST", "/messages", letter, key)
                if status == 202:
                    done[key] = answer["id"]
                    repeats[0] += answer["idempotent_replay"]
                    break
                assert status in (0, 409, 503), (status, answer)
                time.sleep(0.1)
            count += 1

    clients = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    for one in clients:
        one.start()
    kill_again_and_again(made, chance, KILLS, done, 5)
    before = len(done)
    wait_until(lambda: len(done) > before + 5, 60, "mail is taken after the last kill")
    is_over.set()
    for one in clients:
        one.join(60)
        assert not one.is_alive()
    made.wait_for_empty_queue(60)
    delivered = ids_by_subject(made)
    assert {key: len(ids) for key, ids in delivered.items() if len(ids) != 1} == {}
    assert delivered.keys() == done.keys(), f"seed {SEED}"
    states = collections.Counter()
    for key, id in done.items():
        status, told = api.ask("GET", f"/messages/{id}")
        assert status == 200
        assert {told["queue_id"]} == delivered[key]
        states[told["recipients"][0]["state"]] += 1
    assert states.keys() <= {"delivered", "unknown"}
    assert states["delivered"] > states["unknown"]
    print(f"seed {SEED}: {len(done)} keys, {repeats[0]} repeats, {states}")
    assert receiver.bad_signatures == 0
    # A kill may take a fact, and may have a delivery made again.
    assert all(order.count("queued") <= 1 and "queued" not in order[1:] for order in receiver.orders())


@WORKERS
def test_a_receiver_that_fails_gets_all_events_in_order(lab: Lab, workers: int) -> None:
    receiver = Receiver(random.Random(SEED))
    lab.callback(receiver.close)
    made, web = gateway(lab, workers, receiver)
    made.start()
    api = Api(made, web)
    wait_until(api.token_file.exists, 30, "it is open")
    for number in range(100):
        letter = {"from": "shop@home.test", "to": ["box@home.test"], "subject": str(number), "text": "hi"}
        status, _ = api.ask("POST", "/messages", letter)
        assert status == 202
        if number == 50:
            made.stop()
            made.start()
    # What happened last may not wait yet: facts are handed on ten times a second.
    wait_until(lambda: sum(map(len, receiver.orders())) >= 200, 60, "all have come")
    wait_until(lambda: api.ask("GET", "/webhooks")[1]["items"][0]["waiting"] == 0, 120, "all are taken")
    orders = list(receiver.orders())
    assert orders == [["queued", "delivered"]] * 100
    assert receiver.bad_signatures == 0


@WORKERS
def test_fifty_mebioctets_go_through_and_memory_stays_where_it_was(lab: Lab, workers: int) -> None:
    made, web = gateway(lab, workers, None)
    made.start()
    api = Api(made, web)
    wait_until(api.token_file.exists, 30, "it is open")
    content = base64.b64encode(os.urandom(25 << 20)).decode()
    letter = {
        "from": "shop@home.test", "to": ["box@home.test"], "subject": "large", "text": "hi",
        "attachments": [{"filename": "a.bin", "content": content}],
    }
    began = time.monotonic()
    status, answer = api.ask("POST", "/messages", letter)
    assert status == 202, answer
    print(f"{time.monotonic() - began:.1f} s, {peak_kib(made)} KiB at most")
    made.wait_for_empty_queue()
    [octets] = letters(made.folder / "mail" / "home.test" / "box")
    assert len(octets) > len(content)
    line = b"x" * 76 + b"\r\n"
    raw = b"From: shop@home.test\r\nTo: raw@home.test\r\n\r\n" + line * ((50 << 20) // len(line) - 10)
    assert api.ask("POST", "/messages", raw=raw)[0] == 202
    assert api.ask("POST", "/messages", raw=raw + line * 20)[0] == 422
    made.wait_for_empty_queue()
    assert len(letters(made.folder / "mail" / "home.test" / "raw")) == 1
    assert list((made.folder / "state" / "sending").iterdir()) == []


def peak_kib(made: Gateway) -> int:
    """Of the process that answers."""
    assert made.process is not None
    status = Path(f"/proc/{made.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
