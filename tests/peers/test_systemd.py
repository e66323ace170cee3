"""Under systemd's rules: words to its socket, sockets from it, and units that it takes."""

import os
import shutil
import smtplib
import socket
import subprocess
from pathlib import Path

import pytest

from tests.peers.harness import MAILGW, TWISTD, Lab, letter, maildirs, route, wait_until
from tests.tables import each

pytestmark = pytest.mark.peer
ETC = Path(__file__).parent.parent.parent / "etc"
# As exec(3) by systemd: the first socket is descriptor 3, and the pid is that of who becomes the service.
HANDED = 'exec 3<&"$FD"; unset FD; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=mx exec "$@"'


class Manager:
    """The end of systemd."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.words: list[str] = []

    def has_heard(self, word: str) -> bool:
        while True:
            try:
                self.words += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return any(one.startswith(word) for one in self.words)


@each("workers", [1, 2])
def test_it_is_told_that_it_is_ready_reloads_lives_and_stops(lab: Lab, workers: int) -> None:
    manager = Manager(f"@mailgw-{os.getpid()}-{workers}")
    with manager.socket, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        port = bound.getsockname()[1]
        gateway = lab.gateway(
            f'hostname = "gw.test"\nstate = "@DIR@/state"\nworkers = {workers}\n[[listen]]\nrole = "mx"\n'
            'endpoint = "systemd:domain=INET:name=mx"\n'
            + "\n".join([route("@home.test", "boxes"), maildirs("boxes"), '[journal]\npath = "@DIR@/journal.jsonl"']),
            [],
        )
        command = ["bash", "-c", HANDED, "bash", TWISTD, "-n", "--pidfile=", "mailgw", "--config", gateway.config]
        environment = {
            **os.environ, "FD": str(bound.fileno()), "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000",
        }
        log = (gateway.folder / "log").open("wb")
        process = subprocess.Popen(
            command, env=environment, pass_fds=[bound.fileno()], cwd=gateway.folder, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: manager.has_heard("READY=1") or process.poll() is not None, 60, "it is ready")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.sendmail("ann@else.test", ["box@home.test"], letter("handed down"))
                wait_until(lambda: manager.has_heard("WATCHDOG=1"), 20, "a sign of life")
                manager.words.clear()
                gateway.config.write_text(gateway.config.read_text() + "\n[limits]\nrecipients = 5\n")
                assert gateway.command("reload") == "changed limits.recipients: 1000 -> 5\n"
                wait_until(lambda: manager.has_heard("STATUS=1 session, "), 20, "its state")
            assert manager.words.index("RELOADING=1") < manager.words.index("READY=1")
            assert any(one.startswith("MONOTONIC_USEC=") for one in manager.words)
            for pid in [process.pid, *_children(process.pid)]:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
                assert b"NOTIFY_SOCKET" not in environ or pid == process.pid  # that of its own is as it was handed
        except AssertionError as fault:
            fault.add_note(f"heard: {manager.words}")
            raise
        finally:
            process.terminate()
            process.wait(30)
            log.close()
        assert manager.has_heard("STOPPING=1")
        lines = (gateway.folder / "log").read_text()
        assert "Traceback" not in lines, lines
        bound.setblocking(False)
        with socket.create_connection(("127.0.0.1", port), 5):  # it waits for the next start
            assert bound.accept()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_socket_that_is_not_there_is_one_line(lab: Lab) -> None:
    gateway = lab.gateway(
        'hostname = "gw.test"\nstate = "@DIR@/state"\n[[listen]]\nrole = "mx"\n'
        'endpoint = "systemd:domain=INET:name=mx"\n' + "\n".join([route("@home.test", "boxes"), maildirs("boxes")]), []
    )
    gateway.command("check")
    done = subprocess.run(
        [TWISTD, "-n", "--pidfile=", "mailgw", "--config", gateway.config], capture_output=True, text=True, timeout=60,
        check=False, cwd=gateway.folder,
    )
    assert done.returncode == 1
    assert "mailgw cannot start: no such socket was handed down by systemd: cannot listen on systemd:" in done.stderr


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """As they would be installed here."""
    for name in ("mailgw.service", "mailgw.socket"):
        text = (ETC / name).read_text()
        text = text.replace("/usr/local/bin/twistd", str(TWISTD)).replace("/usr/local/bin/mailgw", str(MAILGW))
        (tmp_path / name).write_text(text)
    return [str(tmp_path / name) for name in ("mailgw.service", "mailgw.socket")]


def test_the_units_are_what_systemd_takes(units: list[str]) -> None:
    assert shutil.which("systemd-analyze"), "systemd is not installed"
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if "mailgw" in line]
    assert (done.returncode, said) == (0, []), done.stderr


def test_the_service_has_walls(units: list[str], report: list[str]) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", units[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    report.append(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout
