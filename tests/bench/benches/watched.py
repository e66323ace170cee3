"""What it costs to be watched: the page open, and Prometheus coming by; and how soon who watches is answered.

``watched``: a relay's rate with [api], a stream of live events that is read, and /metrics each five seconds, beside one
without [api].  ``watched-answers``: how long the API's answers take beside a large queue, with mail coming and going.
The URLs are those of ``MAILGW_URLS``, if set: several, separated by blanks.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests import bench
from tests.bench.benches.deferred import SETTLE_SECONDS, wait_until_it_listens
from tests.bench.counts import Count
from tests.bench.figures import Measure, Result, percentile
from tests.bench.loads import SECONDS, Sink, Source
from tests.bench.peers.mailgw import FROM_HERE, gateway
from tests.bench.stands import Bench, Order, ending, scratch
from tests.bench.targets import MAILGW
from tests.bench.throughput import Stand, add_rates, passes, standing
from tests.peers.backlog import fill
from tests.peers.harness import Gateway, free_port, listener, route, smart_host, wait_until

WATCHER = Path(bench.__file__).with_name("watcher.py")
SCRAPE_SECONDS = 5.0
ASK_SECONDS = 0.05
NOBODY = "mailgw, nobody watches"
URLS = (
    "/api/v1/now", "/api/v1/plots?span=hour", "/api/v1/plots?span=week", "/api/v1/facts?limit=100", "/metrics",
    "/api/v1/queue/lanes?limit=50", "/api/v1/queue/messages?limit=50",
    "/api/v1/queue/messages?limit=50&recipient=a@d7.test",
    "/api/v1/queue/messages?limit=50&reason=busy", "/api/v1/queue/messages?limit=50&domain=nowhere.test",
)


@contextlib.contextmanager
def watching(
    one: Gateway, port: int, streams: int, seconds: float, urls: tuple[str, ...]
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Somebody who watches; what it yields ends that, and has what he saw."""
    token = one.folder / "state" / "api-token"
    wait_until(token.exists, SECONDS, "the token is made: of several processes the ports listen before")
    process = subprocess.Popen(
        [sys.executable, WATCHER, str(port), token, str(streams), str(seconds), *urls],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )

    def end() -> dict[str, Any]:
        said, words = process.communicate(timeout=60)
        assert process.returncode == 0, f"watcher: {words[-500:]}"
        found: dict[str, Any] = json.loads(said)
        return found

    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != "ready":
            raise AssertionError(f"the watcher is not answered: {process.communicate(timeout=60)[1][-500:]}")
        yield end
    finally:
        process.kill()
        process.communicate()


def api(port: int) -> str:
    return f'[api]\nendpoint = "tcp:{port}:interface=127.0.0.1"'


@contextlib.contextmanager
def relay(folder: Path, peers: Path, is_watched: bool, workers: str, live: list[dict[str, Any]]) -> Iterator[Stand]:
    port, web, sink = free_port(), free_port(), Sink(folder)
    one = gateway(
        folder, listener("mx", port, FROM_HERE), route("*", "out"), smart_host("out", sink.port),
        api(web) if is_watched else "", port=port, top=f"workers = {workers}",
    )
    with ending(sink), ending(one):
        one.start()
        wait_until(lambda: one.facts("started"), SECONDS, "all processes run")
        if not is_watched:
            yield Stand(port, sink)
            return
        with watching(one, web, 1, SCRAPE_SECONDS, ("/metrics",)) as end:
            yield Stand(port, sink)
            live.append(end())


def watched(order: Order, result: Result, workers: str = "1") -> None:
    live: list[dict[str, Any]] = []
    setups = {
        MAILGW: functools.partial(relay, is_watched=True, workers=workers, live=live),
        NOBODY: functools.partial(relay, is_watched=False, workers=workers, live=live),
    }
    source = Source(order.counts["octets"], order.counts["sessions"])
    with standing(order, result, setups) as stands:
        found = passes(order, result, stands, source, order.counts["messages"])
    add_rates(result, found)
    if MAILGW in found and NOBODY in found:
        # Rates: a round of one may have fewer messages than one of the other.
        shares = tuple(
            100 * seen.messages / seen.end_to_end_seconds * alone.end_to_end_seconds / alone.messages
            for seen, alone in zip(found[MAILGW], found[NOBODY], strict=True)
        )
        result.measures.append(Measure("share", "% of the rate when nobody watches", MAILGW, shares))
    for one in live:
        result.notes.append(
            f"{one['events']} events ({one['octets'] / 1e6:.1f} MB) came by the stream, and "
            f"{len(one['answers']['/metrics'])} scrapes were answered")


def answers(order: Order, result: Result) -> None:
    counts = order.counts
    urls = tuple(os.environ["MAILGW_URLS"].split()) if os.environ.get("MAILGW_URLS") else URLS
    with scratch(MAILGW) as folder:
        port, web, sink = free_port(), free_port(), Sink(folder)
        if counts["queued"]:
            fill(folder / "state" / "spool", counts["queued"])
        one = gateway(
            folder, listener("mx", port, FROM_HERE), route("@sink.test", "out"), route("*", "away"),
            smart_host("out", sink.port), '[backend.away]\ntype = "smtp"',
            f'[dns]\nservers = ["127.0.0.1:{free_port()}"]', api(web), port=port,
        )
        with ending(sink), ending(one):
            one.start(is_awaited=False)
            wait_until_it_listens(port)
            time.sleep(SETTLE_SECONDS)
            with watching(one, web, 1, ASK_SECONDS, urls) as end:
                sent = paced(Source(4096, 20), port, counts["rate"], counts["seconds"])
                seen = end()
            events = len(one.facts("connected")) + len(one.facts("queued")) + len(one.facts("delivered")) \
                + len(one.facts("disconnected"))
    for url, taken in seen["answers"].items():
        for name, value in (("p50", percentile(taken, 0.5)), ("p99", percentile(taken, 0.99)), ("longest", max(taken))):
            result.measures.append(Measure(f"{url}: {name}", "ms", MAILGW, (1000 * value,), is_more_better=False))
        result.notes.append(f"{url} was asked {len(taken)} times")
    longest = max((max(taken) for taken in seen["answers"].values() if taken), default=0.0)
    result.measures.append(Measure("longest answer", "ms", MAILGW, (1000 * longest,), is_more_better=False))
    result.notes.append(
        f"{counts['queued']:,} in the queue; {sent / counts['seconds']:.0f} messages a second were relayed, with "
        f"{events / counts['seconds']:.0f} facts a second of four kinds; {seen['events']} events by the stream")


def paced(source: Source, port: int, rate: int, seconds: int) -> int:
    """Sends so many messages each second; how many in all.  What one second does not hold is not made up for."""
    sent, began = 0, time.monotonic()
    for second in range(seconds):
        span = source(port, rate)
        sent += rate
        assert span.ended - began < SECONDS, "not all were taken in time"
        time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        if time.monotonic() - began >= seconds:
            break
    return sent


RELAYED = {
    "messages": Count(4000, "a round", 40),
    "octets": Count(4096, "a message"),
    "sessions": Count(20, "at once"),
}
BENCHES = (
    Bench("watched", "relayed while somebody watches, one message a connection", RELAYED, watched),
    Bench("watched-auto", "the same with a process for each core", RELAYED,
          functools.partial(watched, workers='"auto"')),
    Bench("watched-answers", "what is asked by HTTP beside a large queue", {
        "queued": Count(1_000_000, "messages in the queue", 1000),
        "rate": Count(250, "messages a second, of four facts each"),
        "seconds": Count(60, "of asking"),
    }, answers),
)
