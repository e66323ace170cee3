"""A large queue costs a start and the memory nothing: ``MAILGW_BACKLOG`` deferred messages beside none.

The default is 20,000.  Most are due in some hours, a hundredth has been due since yesterday, to destinations where
nobody answers.
"""

import os
import smtplib
import sqlite3
import time
from pathlib import Path

import pytest

from tests.peers.backlog import DOMAINS, fill
from tests.peers.harness import Gateway, Lab, free_port, letters, maildirs, route, wait_until

pytestmark = [pytest.mark.peer, pytest.mark.alone]

BACKLOG = int(os.environ.get("MAILGW_BACKLOG", "20000"))
START_SECONDS = 10.0
MORE_OCTETS = 100 * 1024 * 1024


def resident_octets(gateway: Gateway) -> int:
    assert gateway.process is not None
    for line in Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def measured(lab: Lab, count: int) -> tuple[float, int, float]:
    """Seconds until it listens, octets after ten seconds, and seconds that a fresh message takes then."""
    folder = lab.folder / f"with-{count}"
    folder.mkdir()
    if count:
        fill(folder / "state" / "spool", count)
    gateway = lab.mx(
        route("@home.test", "boxes"), maildirs("boxes"), route("*", "away"), '[backend.away]\ntype = "smtp"',
        f'[dns]\nservers = ["127.0.0.1:{free_port()}"]',  # nobody answers there
        folder=folder,
    )
    began = time.monotonic()
    gateway.start()
    started = time.monotonic() - began
    time.sleep(10)
    octets = resident_octets(gateway)
    began = time.monotonic()
    with smtplib.SMTP("127.0.0.1", gateway.port, timeout=30) as client:
        client.sendmail("ann@away.test", ["bob@home.test"], b"Subject: fresh\r\n\r\nhello\r\n")
    wait_until(lambda: letters(folder / "mail/home.test/bob"), 10, "a fresh message passes")
    took = time.monotonic() - began
    gateway.stop(60)
    if count:
        with sqlite3.connect(folder / "state" / "spool" / "queue.sqlite") as connection:
            assert connection.execute("SELECT count(*) FROM recipient").fetchone() == (count,), "nothing was lost"
    return started, octets, took


def test_a_large_queue_is_no_burden(lab: Lab, report: list[str]) -> None:
    seconds, octets, took = measured(lab, 0)
    more_seconds, more_octets, took_longer = measured(lab, BACKLOG)
    report.append(
        f"{BACKLOG} deferred messages to {DOMAINS} domains: started in {more_seconds:.1f} s (with none {seconds:.1f}), "
        f"{more_octets >> 20} MiB (with none {octets >> 20}), a fresh message took {took_longer * 1000:.0f} ms "
        f"(with none {took * 1000:.0f})"
    )
    assert more_seconds < START_SECONDS
    assert more_octets - octets < MORE_OCTETS
    assert took_longer < 5.0
