"""A queue full of deferred mail: what it costs at the start, in memory, and fresh mail that is relayed beside it."""

import contextlib
import functools
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.bench.counts import Count
from tests.bench.figures import Measure, Result
from tests.bench.loads import Sink, Source
from tests.bench.memory import resident_octets
from tests.bench.peers.mailgw import FROM_HERE, gateway
from tests.bench.stands import Bench, Order, ending
from tests.bench.targets import MAILGW
from tests.bench.throughput import Stand, passes, standing
from tests.peers.backlog import DOMAINS, fill
from tests.peers.harness import Gateway, free_port, listener, route, smart_host

EMPTY = "mailgw, nothing deferred"
START_SECONDS = 300.0
SETTLE_SECONDS = 10.0


def wait_until_it_listens(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
            return
        assert time.monotonic() < end, f"it does not listen within {START_SECONDS:g} s"
        time.sleep(0.01)


@contextlib.contextmanager
def beside(folder: Path, peers: Path, waiting: int, facts: dict[str, float], running: list[Gateway]) -> Iterator[Stand]:
    """A relay with so many messages in its queue; nobody answers where those go."""
    if waiting:
        fill(folder / "state" / "spool", waiting)
    port, sink = free_port(), Sink(folder)
    one = gateway(
        folder, listener("mx", port, FROM_HERE), route("@sink.test", "out"), route("*", "away"),
        smart_host("out", sink.port), '[backend.away]\ntype = "smtp"',
        f'[dns]\nservers = ["127.0.0.1:{free_port()}"]', port=port,
    )
    with ending(sink), ending(one):
        began = time.monotonic()
        one.start(is_awaited=False)
        wait_until_it_listens(port)
        facts["start"] = time.monotonic() - began
        running.append(one)
        time.sleep(SETTLE_SECONDS)
        yield Stand(port, sink)


def deferred(order: Order, result: Result) -> None:
    counts = order.counts
    facts: dict[str, dict[str, float]] = {MAILGW: {}, EMPTY: {}}
    running: dict[str, list[Gateway]] = {MAILGW: [], EMPTY: []}
    setups = {
        name: functools.partial(beside, waiting=waiting, facts=facts[name], running=running[name])
        for name, waiting in ((MAILGW, counts["deferred"]), (EMPTY, 0))
    }
    # Both are mailgw: whichever subjects are wanted, it takes the two of them.
    with standing(attrs.evolve(order, wanted=frozenset()), result, setups) as stands:
        found = passes(order, result, stands, Source(counts["octets"], counts["sessions"]), counts["messages"])
        for name, [one] in running.items():
            assert one.process is not None
            facts[name]["memory"] = resident_octets(one.process.pid) / 1e6
    for quantity, unit in (("start", "s"), ("memory", "MB")):
        for name, fact in facts.items():
            result.measures.append(Measure(quantity, unit, name, (fact[quantity],), is_more_better=False))
    for name, ours in found.items():
        rates = tuple(x.messages / x.end_to_end_seconds for x in ours)
        result.measures.append(Measure("fresh mail, end to end", "messages/s", name, rates))
    shares = tuple(
        100 * empty.end_to_end_seconds / full.end_to_end_seconds
        for full, empty in zip(found[MAILGW], found[EMPTY], strict=True)
    )
    result.measures.append(Measure("fresh mail's share", "% of the rate beside an empty queue", MAILGW, shares))
    result.notes.append(f"the deferred mail goes to {DOMAINS} domains; a hundredth of it is due, where nobody answers")


BENCHES = (
    Bench("deferred", "a queue full of deferred mail, and fresh mail beside it", {
        "deferred": Count(1_000_000, "messages in the queue", 1000),
        "messages": Count(4000, "of fresh mail, a round", 40),
        "octets": Count(4096, "a message"),
        "sessions": Count(20, "at once"),
    }, deferred),
)
