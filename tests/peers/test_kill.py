"""kill -9 at random moments under load, of all processes or of one worker: what was acknowledged arrives, whole.

``MAILGW_KILLS`` says how often (3), ``MAILGW_SEED`` which moments.  A killed process leaves the page cache
whole: what must be synced, and when, is ``test_system_calls.py``'s.
"""

import collections
import functools
import os
import random
import signal
import smtplib
import time
from collections.abc import Callable, Sized
from pathlib import Path

import pytest

from tests.peers.harness import SOON, Gateway, Lab, free_port, listener, maildirs, route, smart_host, toml, wait_until
from tests.peers.load import CLIENTS, Load, Tally, name_if_whole, stranger, submitter
from tests.peers.nexthop import Given

pytestmark = pytest.mark.peer

KILLS = int(os.environ.get("MAILGW_KILLS", "3"))
SEED = int(os.environ.get("MAILGW_SEED", str(random.SystemRandom().randrange(10**6))))
WORKERS = pytest.mark.parametrize("workers", [1, 2])
BOXES = [f"box{number}@home.test" for number in range(4)]


def kill_under_load(
    gateway: Gateway, report: list[str], connect: Callable[[int], smtplib.SMTP] = stranger
) -> set[str]:
    """What was acknowledged, over all lives of the gateway; the last one goes on, its queue empty."""
    chance = random.Random(SEED)
    report.append(f"seed {SEED}, {KILLS} kills, {CLIENTS} clients")
    gateway.start()
    with Load(gateway.port, BOXES, SEED, connect) as load:
        for _ in range(KILLS):
            before = len(load.acknowledged)
            wait_until(lambda before=before: len(load.acknowledged) > before, 30, "mail is taken after a start")
            time.sleep(chance.uniform(0, 1.2))
            running = processes(gateway)
            if running and chance.random() < 0.5:
                os.kill(chance.choice(running), signal.SIGKILL)
                continue
            gateway.kill()
            if chance.random() < 0.15:  # and once more, while it starts and sees what it had left
                gateway.start(is_awaited=False)
                time.sleep(chance.uniform(0.2, 2))
                gateway.kill()
            gateway.start()
        time.sleep(0.3)
    gateway.wait_for_empty_queue(120)
    return load.acknowledged


def processes(gateway: Gateway) -> list[int]:
    """The workers that are alive, in a gateway of several processes."""
    pids = [int(str(fact["pid"])) for fact in gateway.facts("worker_started")]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def kill_again_and_again(
    gateway: Gateway, chance: random.Random, kills: int, done: Sized, more: int, seconds: float = 0.7
) -> None:
    """The whole of it, or one of its processes, each time at most ``seconds`` after ``done`` grew by ``more``."""
    for _ in range(kills):
        before = len(done)
        wait_until(lambda before=before: len(done) > before + more, 60, "more is done after a start")  # type: ignore[misc]
        time.sleep(chance.uniform(0, seconds))
        running = processes(gateway)
        if running and chance.random() < 0.6:
            os.kill(chance.choice(running), signal.SIGKILL)
        else:
            gateway.kill()
            gateway.start()


def judge(acknowledged: set[str], arrived: collections.Counter[str], torn: int, report: list[str]) -> None:
    tally = Tally(acknowledged, arrived, torn)
    report.append(tally.words())
    assert not tally.lost, sorted(tally.lost)[:20]
    assert tally.torn == 0
    assert len(tally.acknowledged) >= 10 * KILLS, "there was hardly any load"


@WORKERS
def test_kills_with_maildirs(lab: Lab, report: list[str], workers: int) -> None:
    gateway = lab.mx(route("@home.test", "out"), maildirs("out"), SOON, top=f"workers = {workers}")
    acknowledged = kill_under_load(gateway, report)
    arrived: collections.Counter[str] = collections.Counter()
    torn = 0
    for file in (gateway.folder / "mail/home.test").glob("*/new/*"):
        name = name_if_whole(file.read_bytes())
        if name is None:
            torn += 1
        else:
            arrived[name] += 1
    judge(acknowledged, arrived, torn, report)


class Hop:
    """A next hop that keeps what it was given."""

    def __init__(self, lab: Lab) -> None:
        self.arrived: collections.Counter[str] = collections.Counter()
        self.torn = 0
        hop = lab.hop()
        hop.on_given = self._keep
        self.backend = smart_host("out", hop.port)

    def _keep(self, given: Given) -> None:
        name = name_if_whole(given.content)
        if name is None:
            self.torn += 1
        else:
            self.arrived[name] += 1


@WORKERS
def test_kills_with_a_next_hop(lab: Lab, report: list[str], workers: int) -> None:
    hop = Hop(lab)
    gateway = lab.mx(route("@home.test", "out"), hop.backend, SOON, top=f"workers = {workers}")
    judge(kill_under_load(gateway, report), hop.arrived, hop.torn, report)


def test_kills_with_logins_over_tls(lab: Lab, report: list[str]) -> None:
    hop = Hop(lab)
    port = free_port()
    accounts = '[accounts]\npasswd_file = "@DIR@/passwd"'
    parts = [lab.authority.toml(), accounts, route("@home.test", "out"), hop.backend, SOON]
    gateway = lab.gateway(toml(listener("submissions", port), *parts), [port])
    (gateway.folder / "passwd").write_text("ann@home.test:{PLAIN}secret\n")
    connect = functools.partial(submitter, "ann@home.test", "secret")
    judge(kill_under_load(gateway, report, connect), hop.arrived, hop.torn, report)
