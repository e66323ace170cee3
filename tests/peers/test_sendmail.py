"""``mailgw sendmail`` as programs call it, by another user than the gateway's, with the gateway down, and killed."""

import os
import pwd
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.peers.harness import (
    MAILGW,
    Gateway,
    Lab,
    free_port,
    letters,
    listener,
    maildirs,
    route,
    runtime_user,
    toml,
    wait_until,
)
from tests.peers.test_kill import KILLS, SEED, kill_again_and_again

pytestmark = pytest.mark.peer
WORKERS = pytest.mark.parametrize("workers", [1, 2])
ROOT = os.geteuid() == 0


def gateway(lab: Lab, workers: int, drop: Path, folder: Path | None = None) -> Gateway:
    port = free_port()
    return lab.gateway(toml(
        listener("mx", port), route("@home.test", "boxes"), route("@gw.test", "boxes"), maildirs("boxes"),
        top=f'workers = {workers}\nmaildrop = "{drop}"\n',
    ), [port], folder)


def program(lab: Lab) -> Path:
    """A link, as /usr/sbin/sendmail is one."""
    link = lab.public_folder() / "sendmail"
    link.symlink_to(MAILGW)
    return link


def run(link: Path, made: Gateway, *words: str, message: str) -> None:
    done = subprocess.run(
        [str(link), "-C", str(made.config), *words], input=message.encode(), capture_output=True, timeout=60,
        check=False, cwd="/",
    )
    assert done.returncode == 0, done.stderr


AS_NOBODY = """
import os, pwd, sys
from mailgw import sendmail_command
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[2]))
sys.exit(sendmail_command.main(sys.argv[3:]))
"""
"""A test's Python may stand where nobody else may read it; so it is loaded before."""


def run_as_nobody(made: Gateway, *words: str) -> subprocess.CompletedProcess[bytes]:
    _, _, uid, gid = runtime_user()
    command = [sys.executable, "-c", AS_NOBODY, str(gid), str(uid), "-C", str(made.config), *words]
    return subprocess.run(
        command, input=b"Subject: x\n\nhi\n", capture_output=True, timeout=60, check=False, cwd="/"
    )


def box(made: Gateway, name: str, domain: str = "home.test") -> Sequence[bytes]:
    return letters(made.folder / "mail" / domain / name)


@WORKERS
def test_it_is_on_disk_whether_the_gateway_runs_or_not(lab: Lab, workers: int) -> None:
    drop = lab.folder / "drop"
    drop.mkdir(mode=0o700)
    made, link = gateway(lab, workers, drop), program(lab)
    cron = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@gw> backup\n\nno space left\n"
    run(link, made, "-FCronDaemon", "-i", "-odi", "-oem", "-oi", "-t", message=cron)
    assert len(list(drop.iterdir())) == 1
    made.start()
    wait_until(lambda: len(box(made, "root", "gw.test")) == 1, 30, "cron's mail is delivered")
    php = "To: bob@home.test\nSubject: x\nBcc: cy@home.test\n\nhello\n"
    run(link, made, "-t", "-i", "-fwww@home.test", message=php)
    wait_until(lambda: box(made, "bob") and box(made, "cy"), 30, "PHP's mail is delivered")
    assert b"Return-Path: <www@home.test>" in box(made, "bob")[0]
    assert b"cy@" not in box(made, "bob")[0]
    run(link, made, "-f", "me@home.test", "nobody@nowhere.test", message="Subject: y\n\nhi\n")
    wait_until(lambda: box(made, "me"), 30, "the sender hears that there is no route")
    assert b"nobody@nowhere.test" in box(made, "me")[0]
    wait_until(lambda: list(drop.iterdir()) == [], 10, "the maildrop is empty")
    wait_until(lambda: len(made.facts("queued")) >= 2, 10, "the journal has it")
    queued = [str(fact["login"]) for fact in made.facts("queued")]
    assert set(queued) - {""} == {f"local:{pwd.getpwuid(os.geteuid()).pw_name}"}


@pytest.mark.skipif(not ROOT, reason="becomes another user")
def test_other_users_leave_mail_where_the_folder_lets_them(lab: Lab) -> None:
    folder = lab.public_folder()
    drop = folder / "drop"
    drop.mkdir()
    drop.chmod(0o3733)
    made = gateway(lab, 1, drop, folder)
    done = run_as_nobody(made, "bob@home.test")
    assert done.returncode == 0, done.stderr
    [file] = drop.iterdir()
    assert (file.stat().st_uid, file.stat().st_gid) == (runtime_user()[2], drop.stat().st_gid)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    made.start()
    wait_until(lambda: len(box(made, "bob")) == 1, 30, "it is delivered")
    wait_until(lambda: made.facts("queued"), 10, "the journal has it")
    assert {str(fact["login"]) for fact in made.facts("queued")} == {"local:nobody"}
    assert b"<nobody@gw.test>" in box(made, "bob")[0]
    drop.chmod(0o700)
    done = run_as_nobody(made, "bob@home.test")
    assert done.returncode == 77
    assert b"may not leave mail" in done.stderr
    made.config.chmod(0o600)
    assert run_as_nobody(made, "bob@home.test").returncode == 78


@WORKERS
def test_kills_neither_lose_nor_double_what_was_left(lab: Lab, workers: int) -> None:
    drop = lab.folder / "drop"
    drop.mkdir(mode=0o700)
    made, link = gateway(lab, workers, drop), program(lab)
    made.start()
    chance, is_over, left = random.Random(SEED), threading.Event(), list[str]()

    def client() -> None:
        while not is_over.is_set():
            word = f"n{len(left)}"
            run(link, made, "box@home.test", message=f"Subject: {word}\n\nhi\n")
            left.append(word)

    thread = threading.Thread(target=client, daemon=True)
    thread.start()
    kill_again_and_again(made, chance, KILLS, left, 2)
    is_over.set()
    thread.join(60)
    wait_until(lambda: list(drop.iterdir()) == [], 60, "the maildrop is empty")
    made.wait_for_empty_queue()
    ids: dict[str, set[str]] = {}
    for octets in box(made, "box"):
        header = octets.split(b"\n\n")[0].decode()
        subject = header.split("Subject: ")[1].split("\n")[0]
        ids.setdefault(subject, set()).add(header.split(" with local id ")[1].split()[0])
    assert ids.keys() == set(left), f"seed {SEED}"
    assert {word: found for word, found in ids.items() if len(found) > 1} == {}
