"""Many sessions that do nothing: what each of them costs in memory, and whether mail still passes beside them."""

import contextlib
import smtplib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests import bench
from tests.bench.counts import Count
from tests.bench.figures import Measure, Result
from tests.bench.loads import Sink
from tests.bench.memory import allow_files, resident_octets
from tests.bench.peers.mailgw import FROM_HERE, gateway
from tests.bench.stands import Bench, Order, ending, scratch
from tests.bench.targets import MAILGW
from tests.peers.harness import Authority, free_port, listener, route, smart_host

SECONDS = 600.0  # for all sessions to be opened
SETTLE_SECONDS = 2.0
MESSAGES = 20  # whose median counts
SOURCES = 8

# Nobody is sent away while they are counted.
LIMITS = """[limits]
sessions = {sessions}
command_timeout = "2h"
transaction_timeout = "4h"
"""


@contextlib.contextmanager
def idlers(port: int, sessions: int, is_tls: bool) -> Iterator[None]:
    """So many sessions, all of them open."""
    script = Path(bench.__file__).with_name("idlers.py")
    words = [str(word) for word in (port, sessions, int(is_tls), SOURCES)]
    process = subprocess.Popen(
        ["timeout", str(SECONDS), sys.executable, str(script), *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline().strip()  # "" once its time is over
        if said != "ready":
            process.kill()
            raise AssertionError(f"idlers: {said} {process.communicate()[1][-300:]}")
        yield
    finally:
        process.kill()
        process.communicate()


def seconds_of_a_message(port: int, sink: Sink) -> float:
    """From the connection until it came out, the median of some."""
    took = []
    for _ in range(MESSAGES):
        sink.begin()
        began = time.monotonic()
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.test", timeout=60) as client:
            client.sendmail("from@source.test", ["to@sink.test"], b"Subject: x\r\n\r\nhello\r\n")
        while sink.count() < 1:
            assert time.monotonic() - began < 60, "a message does not pass"
            time.sleep(0.001)
        took.append(time.monotonic() - began)
    return statistics.median(took)


def idle(order: Order, result: Result) -> None:
    sessions = order.counts["sessions"]
    allow_files(sessions)
    alone: list[float] = []
    with scratch("certificates") as certificates:
        authority = Authority(certificates)
        for kind, is_tls in (("clear", False), ("TLS", True)):
            costs, took, opening = [], [], []
            for _ in range(order.rounds):
                with scratch(MAILGW) as folder:
                    port, sink = free_port(), Sink(folder)
                    one = gateway(
                        folder, listener("mx", port, FROM_HERE), route("*", "out"), smart_host("out", sink.port),
                        authority.toml(), LIMITS.format(sessions=sessions + 100), port=port,
                    )
                    with ending(sink), ending(one):
                        one.start()
                        alone.append(seconds_of_a_message(port, sink))
                        assert one.process is not None
                        before, began = resident_octets(one.process.pid), time.monotonic()
                        with idlers(port, sessions, is_tls):
                            opening.append(time.monotonic() - began)
                            time.sleep(SETTLE_SECONDS)
                            costs.append((resident_octets(one.process.pid) - before) / sessions / 1024)
                            took.append(seconds_of_a_message(port, sink))
                order.say(f"{sessions} {kind} sessions: {costs[-1]:.1f} KiB each, opened in {opening[-1]:.1f} s, "
                          f"a message takes {took[-1] * 1000:.1f} ms")
            for quantity, unit, values in (
                (f"memory of a {kind} session", "KiB", costs),
                (f"a message beside {kind} sessions", "ms", [1000 * x for x in took]),
                (f"opening the {kind} sessions", "s", opening),
            ):
                result.measures.append(Measure(quantity, unit, MAILGW, tuple(values), is_more_better=False))
    result.measures.append(
        Measure("a message beside no sessions", "ms", MAILGW, tuple(1000 * x for x in alone), is_more_better=False))


BENCHES = (
    Bench("idle", "sessions that do nothing, and a message beside them", {
        # Fewer fit into memory that was free already.
        "sessions": Count(10_000, "open", 1000),
    }, idle),
)
