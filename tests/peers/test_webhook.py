"""A web hook whose server is Python's own, over TLS, and dies in the worst moments."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers.harness import Gateway, Lab, Running, free_port, letter, route, submit, wait_until
from tests.peers.hook_server import SECRET

pytestmark = pytest.mark.peer
QUICKLY = "[retry]\nschedule = [\"0.2s\"]\njitter = 0.0"

LARGE = letter("large", ("x" * 76 + "\r\n") * 20_000)


class HookServer(Running):
    """Starts anew when it has died."""

    def __init__(self, lab: Lab) -> None:
        super().__init__("hook", lab.folder)
        self.lab = lab
        self.port = free_port()

    def start(self) -> "HookServer":
        pem = self.lab.authority.server("localhost")
        command = [sys.executable, "-m", "tests.peers.hook_server", str(self.port), pem, self.log.parent]
        self.launch(command, Path(__file__).parents[2], [self.port])
        return self

    def script(self, *orders: str) -> None:
        (self.log.parent / "script").write_text("".join(f"{order}\n" for order in orders))

    def start_again(self) -> None:
        """Once it has died."""
        wait_until(self.is_over, 30, "the server has died")
        self.wait()
        self.start()

    @property
    def posts(self) -> list[dict[str, Any]]:
        file = self.log.parent / "posts"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def gateway_to(lab: Lab, server: HookServer, *more: str) -> Gateway:
    (lab.folder / "secret").write_bytes(SECRET + b"\n")
    backend = "\n".join([
        '[backend.hook]\ntype = "webhook"', f'url = "https://localhost:{server.port}/word-of-the-path"',
        f'ca_file = "{lab.authority.ca}"', f'secret_file = "{lab.folder}/secret"', *more,
    ])
    return lab.mx(route("@home.test", "hook"), backend, QUICKLY).start()


def test_a_server_that_dies_gets_it_again_under_the_same_key(lab: Lab) -> None:
    server = lab.own(HookServer(lab)).start()
    gateway = gateway_to(lab, server)
    server.script("unanswered", "503")
    submit(gateway.port, "ann@away.test", "bob@home.test", letter("for bob"))
    server.start_again()
    wait_until(lambda: gateway.facts("delivered"), 30, "it is delivered")
    posts = server.posts
    assert len(posts) == 3
    assert len({post["key"] for post in posts}) == 1
    assert all(post["is_signed"] and post["recipients"] == "bob@home.test" for post in posts)
    assert "Subject: for bob" in posts[0]["content"]

    # A large one, of which the server has seen the half; then one that it does not want.
    server.script("half", "204", "422")
    submit(gateway.port, "ann@away.test", "bob@home.test", LARGE)
    server.start_again()
    wait_until(lambda: len(gateway.facts("delivered")) == 2, 30, "the large one is delivered")
    assert (len(server.posts), server.posts[3]["is_signed"]) == (4, True)
    assert server.posts[3]["octets"] > 1_000_000
    submit(gateway.port, "ann@away.test", "bob@home.test", letter("unwanted"))
    wait_until(lambda: gateway.facts("held"), 30, "it failed, and has no sender here")
    words = gateway.log.read_text() + (gateway.folder / "journal.jsonl").read_text()
    assert SECRET.decode() not in words
    assert "word-of-the-path" not in words
