"""Two thousand hostile sessions of five kinds, and who guesses passwords, beside ten honest ones, who notice nothing.

``MAILGW_HOSTILE`` says how many (default: 300).  All come from addresses that nothing is known of, under the limits
that every gateway has; only ``sessions`` is raised to hold them.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers.harness import MAILGW, Lab, free_port, letters, listener, maildirs, route, toml, wait_until
from tests.peers.hostile import KINDS, Honest

pytestmark = [pytest.mark.peer, pytest.mark.alone]

HOSTILE = int(os.environ.get("MAILGW_HOSTILE", "300"))
HONEST = 10
GUESSING = 10
ALONE_SECONDS, BESIDE_SECONDS = 4.0, 15.0
# Two ARGON2ID hashes at once.
HASHES_OCTETS = 160 * 1024 * 1024
# A header of 256 KiB is what a session may hold at most; the others hold a read, or answers that nobody takes.
SESSION_OCTETS = 200 * 1024
# What nobody notices: a mail client asks its user for patience after a second, a server after minutes.  Measured alone
# on two processors it is some 20 ms, and half a second at worst; the machine may have other work, too.
USUAL_SECONDS, WORST_SECONDS = 0.3, 3.0


def resident_octets(process: subprocess.Popen[bytes]) -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def test_honest_sessions_notice_nothing(lab: Lab, report: list[str]) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    mx, submissions = free_port(), free_port()
    passwd = lab.folder / "passwd"
    subprocess.run(
        [str(MAILGW), "passwd", "--file", str(passwd), "--stdin", "ann@home.test"], input=b"right horse\n", check=True,
        timeout=60,
    )
    gateway = lab.gateway(
        toml(
            lab.authority.toml(), f'[accounts]\npasswd_file = "{passwd}"', listener("mx", mx),
            listener("submissions", submissions), route("@home.test", "boxes"), maildirs("boxes"),
            f"[limits]\nsessions = {HOSTILE + 200}",
            top="trusted_clients = []",
        ),
        [mx, submissions],
    ).start()
    process = gateway.process
    assert process is not None

    before = resident_octets(process)
    alone = asyncio.run(among(mx, ALONE_SECONDS))
    with enemies(mx, submissions):
        beside = asyncio.run(among(mx, BESIDE_SECONDS))
        after = resident_octets(process)
        # Their hashes give way to all else, so on a busy machine it takes them a while to guess wrong often enough.
        wait_until(lambda: gateway.facts("locked_out"), 90, "guessing was stopped")
        there = len(os.listdir(f"/proc/{process.pid}/fd"))
    taken = [seconds for one in beside for seconds in one.seconds]
    usual = [seconds for one in alone for seconds in one.seconds]
    report.append(
        f"{HOSTILE} hostile sessions of {len(KINDS)} kinds and {GUESSING} guessing: a message took "
        f"{statistics.median(taken) * 1000:.0f} ms (alone {statistics.median(usual) * 1000:.0f}), "
        f"at worst {max(taken) * 1000:.0f}; memory {before >> 20} to {after >> 20} MiB, {there} open files"
    )
    assert not [refusal for one in (*alone, *beside) for refusal in one.refused]
    assert statistics.median(taken) < USUAL_SECONDS
    assert max(taken) < WORST_SECONDS
    assert after - before < HASHES_OCTETS + HOSTILE * SESSION_OCTETS
    assert there > HOSTILE * 3 // 5, "most of them hold on"
    assert not gateway.facts("login")
    assert not gateway.facts("trouble")
    arrived = len(letters(gateway.folder / "mail/home.test/honest"))
    assert arrived >= len(taken) + len(usual)
    gateway.stop()


@contextmanager
def enemies(mx: int, submissions: int) -> Iterator[None]:
    """All the hostile sessions, in a process of their own that takes no processor from who wants it: those of the
    world have processors of their own."""
    words = [sys.executable, "-m", "tests.peers.hostile", *map(str, (HOSTILE, mx, GUESSING, submissions))]
    process = subprocess.Popen(["nice", "-n", "15", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "there\n"
        yield
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


async def among(port: int, seconds: float) -> list[Honest]:
    """Honest clients, who sent for so long."""
    honest = [Honest(number, port) for number in range(HONEST)]
    tasks = [asyncio.create_task(one.run()) for one in honest]
    done, pending = await asyncio.wait(tasks, timeout=seconds)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
    return honest
