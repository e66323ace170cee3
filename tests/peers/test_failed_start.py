"""A start that cannot succeed ends with status 1 and a line for people, and harms nobody who runs."""

import socket
import subprocess

import pytest

from tests.peers.harness import (
    TWISTD,
    Gateway,
    Lab,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    submit,
    toml,
    wait_for_letters,
)

pytestmark = pytest.mark.peer


def failure_of(gateway: Gateway, *twistd_options: str) -> str:
    command = [TWISTD, "-n", "--pidfile=", *twistd_options, "mailgw", "--config", gateway.config]
    done = subprocess.run(
        [str(word) for word in command], cwd=gateway.folder, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def config(port: int) -> str:
    return toml(listener("mx", port), route("@home.test", "boxes"), maildirs("boxes"))


def test_a_port_that_is_taken(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert str(port) in failure_of(lab.gateway(config(port), [port]))


def test_a_second_gateway_on_the_same_state(lab: Lab) -> None:
    first_port, second_port = free_port(), free_port()
    first = lab.gateway(config(first_port), [first_port]).start()
    shared = config(second_port).replace("@DIR@/state", str(first.folder / "state"))
    second = lab.gateway(shared, [second_port])
    assert str(first.folder / "state") in failure_of(second)
    submit(first_port, "ann@home.test", "bob@home.test", letter("still here"))
    wait_for_letters(first.folder / "mail/home.test/bob")
    first.wait_for_empty_queue(10)  # its control socket was left alone


def test_all_faults_of_a_file_at_once(lab: Lab) -> None:
    gateway = lab.gateway(config(free_port()) + '\n[limits]\nmesage_octets = 5\nrecipients = "many"\n', [])
    words = failure_of(gateway)
    lines = gateway.config.read_text().splitlines()
    for fault, hint in [("mesage_octets", "message_octets"), ("recipients", "whole number")]:
        number = max(n for n, line in enumerate(lines, 1) if line.startswith(fault))
        found = [line for line in words.splitlines() if f"mailgw.toml:{number}" in line]
        assert len(found) == 1, words
        assert hint in found[0]
