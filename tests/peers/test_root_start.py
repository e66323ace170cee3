"""Started by root, it binds a privileged port and does everything else as an unprivileged user."""

import os
import shutil
import smtplib
import socket
import ssl
from pathlib import Path

import pytest

from tests.peers.harness import (
    Gateway,
    Lab,
    letter,
    listener,
    maildirs,
    route,
    runtime_user,
    toml,
    wait_for_letters,
    wait_until,
)

pytestmark = [pytest.mark.peer, pytest.mark.skipif(os.getuid() != 0, reason="only root drops privileges")]


def privileged_port() -> int:
    for port in range(1023, 600, -1):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no privileged port is free")


def owners(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_uid for path in [folder, *folder.rglob("*")]}


@pytest.fixture
def gateway(lab: Lab) -> Gateway:
    """Its folder belongs to root; state and mail, which it makes, lie in one that is the user's."""
    _, _, uid, gid = runtime_user()
    folder = lab.public_folder()
    shutil.copy(lab.authority.certificate, folder / "cert.pem")
    shutil.copy(lab.authority.private_key, folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    (folder / "passwd").touch(0o600)
    (folder / "var").mkdir(0o700)
    for mine in ("key.pem", "passwd", "var"):
        os.chown(folder / mine, uid, gid)
    port = privileged_port()
    text = toml(
        listener("mx", port), '[tls]\ncertificate = "cert.pem"\nprivate_key = "key.pem"',
        '[accounts]\npasswd_file = "passwd"', route("@home.test", "boxes"), maildirs("boxes"),
    ).replace("@DIR@", "@DIR@/var")
    return lab.gateway(text, [port], folder)


def test_it_runs_as_the_user_and_leaves_nothing_of_root(lab: Lab, gateway: Gateway) -> None:
    user, group, uid, _ = runtime_user()
    gateway.start("--uid", user, "--gid", group)
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    context = ssl.create_default_context(cafile=str(lab.authority.ca))
    for number, size in enumerate((10, 30_000), 1):  # in the row, and as a file
        with smtplib.SMTP("localhost", gateway.ports[0], local_hostname="client.test", timeout=30) as client:
            client.starttls(context=context)  # the key is read
            client.sendmail("ann@home.test", ["bob@home.test"], letter("root", "hello\r\n" * size))
        wait_for_letters(gateway.folder / "var/mail/home.test/bob", number)
    gateway.wait_for_empty_queue()
    var = gateway.folder / "var"
    assert set(owners(var).values()) == {uid}, {path for path, owner in owners(var).items() if owner != uid}
    assert (var / "state").stat().st_mode & 0o777 == 0o700
    assert (var / "mail/home.test/bob").stat().st_mode & 0o777 == 0o700
    gateway.stop()
    assert set(owners(var).values()) == {uid}
    # A second start on what the first one left.
    gateway.start("--uid", user, "--gid", group)


def test_check_as_the_user(gateway: Gateway) -> None:
    user = runtime_user()[0]
    gateway.command("check", "--user", user)
    os.chown(gateway.folder / "key.pem", 0, 0)  # root's own key: the gateway could not read it
    faults = gateway.command("check", "--user", user, status=1)
    assert "key.pem" in faults
    assert "Traceback" not in faults


def test_a_unix_socket_belongs_to_the_user(lab: Lab, gateway: Gateway) -> None:
    user, group, uid, gid = runtime_user()
    path = gateway.folder / "lmtp"  # in root's folder, where the user may remove nothing
    with (gateway.folder / "mailgw.toml").open("a") as file:
        file.write(f'\n[[listen]]\nrole = "lmtp"\nendpoint = "unix:{path}"\n')
    for _ in range(2):  # the second start finds the socket of the first one
        gateway.start("--uid", user, "--gid", group)
        wait_until(lambda: answers(path), 20, f"somebody listens at {path}")  # bound after the port that start awaits
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (uid, gid, 0o660)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(30)
            client.connect(str(path))
            assert client.recv(100).startswith(b"220 ")
        gateway.stop()


def answers(path: Path) -> bool:
    """Whether a connection to the Unix socket is taken."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0
