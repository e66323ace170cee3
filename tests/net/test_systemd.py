"""What a service manager is told, and what it says in the environment."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailgw.net.systemd import Manager, forget_sockets
from tests.tables import each


@pytest.fixture
def door(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(str(tmp_path / "notify"))
        opened.settimeout(5)
        yield opened


@each(
    ("environment", "address", "seconds"),
    [
        ({}, None, None),
        ({"NOTIFY_SOCKET": "/run/n"}, "/run/n", None),
        ({"NOTIFY_SOCKET": "@n"}, "@n", None),
        ({"NOTIFY_SOCKET": "n"}, None, None),
        ({"NOTIFY_SOCKET": "@"}, None, None),
        ({"NOTIFY_SOCKET": ""}, None, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, "/n", 60.0),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "500000"}, "/n", 0.5),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, "/n", None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, "/n", None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, "/n", None),
        ({"WATCHDOG_USEC": "60000000"}, None, None),
    ],
)
def test_what_the_environment_says_is_taken_out_of_it(
    environment: dict[str, str], address: str | None, seconds: float | None
) -> None:
    environ = {"HOME": "/", **environment}
    assert Manager.of(environ, 7) == Manager(address, seconds)
    assert environ == {"HOME": "/"}


def test_sockets_are_forgotten() -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "mx", "PATH": "/bin"}
    forget_sockets(environ)
    assert environ == {"PATH": "/bin"}


def test_words_go_to_a_path(door: socket.socket) -> None:
    manager = Manager(door.getsockname())
    manager.ready("all is well")
    assert door.recv(999) == b"READY=1\nSTATUS=all is well"
    manager.reloading()
    first, _, number = door.recv(999).partition(b"\nMONOTONIC_USEC=")
    assert first == b"RELOADING=1"
    assert int(number) > 0
    manager.stopping("bye")
    assert door.recv(999) == b"STOPPING=1\nSTATUS=bye"
    manager.alive()
    assert door.recv(999) == b"WATCHDOG=1"


def test_words_go_to_an_abstract_socket() -> None:
    name = f"mailgw-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(f"\0{name}")
        opened.settimeout(5)
        Manager(f"@{name}").status("fine")
        assert opened.recv(999) == b"STATUS=fine"


def test_nobody_who_listens_is_no_fault(tmp_path: Path) -> None:
    Manager(None).alive()
    Manager(str(tmp_path / "gone")).alive()
