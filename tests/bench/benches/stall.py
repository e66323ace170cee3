"""How long the reactor is kept from its next turn under full load, large messages among it.

Seen from inside by a timer of 1 ms beside the gateway in one application (stall.tac), and from outside by who asks for
the least that a server can be asked (prober.py).  On a busy machine a thread mostly waits for a processor; the kernel
knows for how long, and a stall is told with and without that.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests import bench
from tests.bench.counts import Count
from tests.bench.figures import Measure, Result, percentile
from tests.bench.loads import SECONDS, Sink, Source, Span
from tests.bench.peers.mailgw import FROM_HERE, gateway
from tests.bench.stands import Bench, Order, Skipped, ending, scratch
from tests.bench.targets import MAILGW
from tests.peers.harness import TWISTD, Gateway, free_port, listener, route, smart_host

SCRIPTS = Path(bench.__file__).parent
# The prober asks often.
LIMITS = "[limits]\nidle_commands = 1000000\n"


@contextlib.contextmanager
def watched(one: Gateway) -> Iterator[Path]:
    """A gateway in stall.tac: the socket that tells of its reactor."""
    door = one.folder / "stalls"
    environment = {"MAILGW_CONFIG": str(one.config), "STALL_SOCKET": str(door)}
    with ending(one):
        one.launch(
            ["env", *(f"{name}={value}" for name, value in environment.items()), TWISTD, "-n", "--pidfile=", "-y",
             SCRIPTS / "stall.tac"], one.folder, one.ports,
        )
        yield door


def stalls(door: Path) -> list[tuple[float, float, float]]:
    """Since they were last asked for: seconds late, of these on a processor, of these waiting for one."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(60)
        asking.connect(str(door))
        with asking.makefile("r") as lines:
            return [tuple(x) for x in json.loads(lines.readline())]


@contextlib.contextmanager
def probed(port: int) -> Iterator[Callable[[], dict[str, list[float]]]]:
    """What it yields ends the asking, and tells how long each answer took."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPTS / "prober.py"), str(port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )

    def end() -> dict[str, list[float]]:
        said, words = process.communicate(timeout=60)
        assert process.returncode == 0, f"prober: {words[-300:]}"
        found: dict[str, list[float]] = json.loads(said)
        return found

    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready", "the prober is not answered"
        yield end
    finally:
        process.kill()
        process.communicate()


Sending = Callable[[], Span]


def loaded(order: Order, small: Sending, large: Sending, sink: Sink) -> float:
    """Seconds that it took until all had come out, both at the same time."""
    sink.begin()
    began = time.monotonic()
    with ThreadPoolExecutor() as threads:
        for one in [threads.submit(small), threads.submit(large)]:
            one.result()
    while sink.count() < order.counts["messages"] + order.counts["large"]:
        assert time.monotonic() - began < SECONDS, "not all arrived"
        time.sleep(0.02)
    return time.monotonic() - began


def stall(order: Order, result: Result) -> None:
    counts = order.counts
    with scratch(MAILGW) as folder:
        sink, port = Sink(folder), free_port()
        one = gateway(
            folder, listener("mx", port, FROM_HERE), route("*", "out"), smart_host("out", sink.port), LIMITS, port=port)
        small = Source(counts["octets"], counts["sessions"])
        large = Source(counts["large_octets"], counts["large_sessions"])
        with ending(sink):
            watch(order, result, one, sink, partial(small, port), partial(large, port))


def watch(
    order: Order, result: Result, one: Gateway, sink: Sink, small: Callable[[int], Span], large: Callable[[int], Span]
) -> None:
    """A gateway that is not started yet, while ``small`` and ``large`` send it so many messages."""
    if not os.path.exists("/proc/thread-self/schedstat"):
        raise Skipped("this kernel does not tell how long a thread waits for a processor")
    found: dict[tuple[str, str], list[float]] = {}
    counts = order.counts

    def add(quantity: str, seconds: float) -> None:
        found.setdefault((quantity, "ms"), []).append(seconds * 1000)

    with watched(one) as door:
        small(min(100, counts["messages"]))
        for _ in range(order.rounds):
            with probed(one.port) as answers:
                stalls(door)
                took = loaded(order, partial(small, counts["messages"]), partial(large, counts["large"]), sink)
                late, asked = stalls(door), answers()
            add("longest stall", max((total - waited for total, _, waited in late), default=0.0))
            add("longest stall, waiting for a processor too", max((total for total, _, _ in late), default=0.0))
            add("most in one turn on a processor", max((ran for _, ran, _ in late), default=0.0))
            add("longest answer to NOOP", max(asked["noop"]))
            add("answer to NOOP, 99 of 100", percentile(asked["noop"], 0.99))
            add("longest wait for the greeting", max(asked["greeting"]))
            order.say(f"{took:.1f} s; longest stall {found['longest stall', 'ms'][-1]:.1f} ms, "
                      f"longest answer {max(asked['noop']) * 1000:.1f} ms of {len(asked['noop'])}")
    result.measures += [
        Measure(quantity, unit, MAILGW, tuple(values), is_more_better=False)
        for (quantity, unit), values in found.items()
    ]


COUNTS = {
    "messages": Count(3000, "a round", 100),
    "octets": Count(4096, "a message"),
    "sessions": Count(20, "at once"),
    "large": Count(10, "large messages among them", 2),
    "large_octets": Count(40_000_000, "each of those"),
    "large_sessions": Count(2, "at once, of those"),
}
BENCHES = (Bench("stall", "how long the reactor is kept from its next turn, under full load", COUNTS, stall),)
