"""A disk without room: 452, nothing acknowledged lost, and on it goes once there is room."""

import os
import smtplib
import subprocess
import time
from pathlib import Path

import pytest

from tests.peers.harness import (
    SOON,
    Gateway,
    Lab,
    Talk,
    free_port,
    letter,
    listener,
    maildirs,
    route,
    smart_host,
    submit,
    toml,
    wait_for_letters,
    wait_until,
)

pytestmark = [pytest.mark.peer, pytest.mark.skipif(os.getuid() != 0, reason="only root mounts a small disk")]

WORKERS = pytest.mark.parametrize("workers", [1, 2])
MIB = 1 << 20
DISK = 64 * MIB


@pytest.fixture
def disk(lab: Lab) -> Path:
    folder = lab.folder / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    lab.callback(lambda: subprocess.run(["umount", "-l", str(folder)], check=True))
    return folder


def fill(disk: Path, leave_octets: int) -> Path:
    """Leave that much room, or as little as the disk can."""
    free = os.statvfs(disk)
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            file.write(bytes(max(0, free.f_bavail * free.f_frsize - leave_octets)))
            while leave_octets == 0:
                file.write(bytes(4096))
        except OSError:
            assert leave_octets == 0
    return filler


def gateway_on(lab: Lab, disk: Path, workers: int, *parts: str, reserve: str) -> Gateway:
    port = free_port()
    text = toml(
        listener("mx", port), route("@home.test", "boxes"), maildirs("boxes"), *parts, SOON,
        f'[limits]\nreserve_octets = "{reserve}"', top=f"workers = {workers}",
    ).replace("@DIR@/state", f"{disk}/state")
    return lab.gateway(text, [port]).start()


def answer_to(port: int, size: int = 100) -> str:
    """The last answer of an attempt to send, whichever stage says it."""
    try:
        submit(port, "ann@home.test", "bob@home.test", letter("room?", "hello\r\n" * (size // 7)))
    except smtplib.SMTPSenderRefused as refusal:
        return f"{refusal.smtp_code} {refusal.smtp_error.decode()}"  # type: ignore[union-attr]
    except smtplib.SMTPDataError as refusal:
        return f"{refusal.smtp_code} {refusal.smtp_error.decode()}"  # type: ignore[union-attr]
    except smtplib.SMTPRecipientsRefused as refusal:
        code, words = next(iter(refusal.recipients.values()))
        return f"{code} {words.decode()}"
    return "250"


@WORKERS
def test_below_the_reserve_it_says_452_and_goes_on_after(lab: Lab, disk: Path, workers: int) -> None:
    hop = lab.hop({"RCPT": ["450 4.2.0 later"]})
    gateway = gateway_on(lab, disk, workers, route("@away.test", "out"), smart_host("out", hop.port), reserve="16MiB")
    port, box = gateway.port, gateway.folder / "mail/home.test/bob"
    assert answer_to(port) == "250"
    wait_for_letters(box)
    submit(port, "ann@home.test", "carl@away.test", letter("waits"))
    wait_until(lambda: hop.stages.count("RCPT") >= 2, 20, "it is tried again and again")

    filler = fill(disk, 15 * MIB)
    time.sleep(1.5)  # a reading of the free space is at most a second old
    for size in (100, 200_000):
        assert answer_to(port, size).startswith("452 4.3.1"), size
    time.sleep(1.5)
    tried = hop.stages.count("RCPT")
    hop.recover()
    time.sleep(2.5)
    assert hop.stages.count("RCPT") == tried, "an attempt whose result could not have been recorded"
    with Talk(port) as alive:
        assert alive.say("EHLO client.test").startswith("250")
    assert [row["recipient"] for row in gateway.queue()] == ["carl@away.test"]

    filler.unlink()
    wait_until(lambda: answer_to(port) == "250", 10, "mail is taken again")
    wait_until(lambda: hop.given, 20, "and attempts go on")
    assert len(wait_for_letters(box, 2)) == 2
    gateway.wait_for_empty_queue()


@WORKERS
def test_a_disk_that_is_really_full_loses_nothing(lab: Lab, disk: Path, workers: int) -> None:
    """Without a reserve the database itself meets the end of the disk."""
    gateway = gateway_on(lab, disk, workers, reserve="1B")
    port, box = gateway.port, gateway.folder / "mail/home.test/bob"
    assert answer_to(port) == "250"
    wait_for_letters(box)
    filler = fill(disk, 3 * MIB)
    taken = 1
    answers = set()
    for size in [200_000, 60_000, 1_000] * 12:
        answer = answer_to(port, size)
        answers.add(answer[:9].strip())
        taken += answer == "250"
    fill(disk, 0)
    for size in (200_000, 60_000, 60_000, 60_000, 1_000):
        answer = answer_to(port, size)
        answers.add(answer[:9].strip())
        taken += answer == "250"
    assert answers & {"452 4.3.1", "451 4.3.0"}, answers
    assert answers <= {"250", "452 4.3.1", "451 4.3.0"}
    filler.unlink()
    wait_until(lambda: answer_to(port) == "250", 15, "mail is taken again")
    gateway.wait_for_empty_queue()
    assert len(wait_for_letters(box, taken + 1)) >= taken + 1
    # And the database is whole: a start reads it, all of it.
    gateway.stop()
    check = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])"
    for database in (disk / "state").glob("*.sqlite*"):
        if not database.name.endswith(("-wal", "-shm")):
            done = subprocess.run(["python3", "-c", check, str(database)], text=True, capture_output=True, check=True)
            assert done.stdout == "ok\n"
