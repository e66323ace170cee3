"""How much a next hop gets at once and over time, as it sees it itself."""

import os
import threading
import time

import pytest

from tests.peers.harness import RELAYS, SOON, Lab, letter, route, smart_host, submit, wait_until
from tests.peers.nexthop import Given, NextHop
from tests.peers.servers import Unbound

pytestmark = pytest.mark.peer

PROVIDER = "127.0.5.26"
DOMAINS = [f"d{at}.test" for at in range(6)]


class Busy:
    """Takes some time over each message, and remembers when, and how many at once."""

    def __init__(self, hop: NextHop) -> None:
        self.times: list[float] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        hop.on_given = self._take

    def _take(self, given: Given) -> None:
        with self._lock:
            self.times.append(time.monotonic())
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.1)
        with self._lock:
            self._now -= 1


@pytest.mark.skipif(os.getuid() != 0, reason="port 25 is for root")
@pytest.mark.parametrize(
    "limit",
    [
        "host_concurrency = 2",
        "total_concurrency = 2",
        '[[backend.out.host]]\nhosts = ["*.big.test"]\nconcurrency = 2',
        '[[backend.out.source]]\naddress = "127.0.5.9"\nconcurrency = 2',
    ],
    ids=["a host", "the backend", "a group of hosts", "a source"],
)
def test_what_many_domains_share_holds_for_all_of_them(lab: Lab, limit: str) -> None:
    busy = Busy(lab.hop(host=PROVIDER, port=25))
    records = [f"{domain}. MX 10 mx.big.test." for domain in DOMAINS] + [f"mx.big.test. A {PROVIDER}"]
    unbound = lab.own(Unbound(lab.folder, lab.public_folder(), records)).start()
    gateway = lab.mx(
        f'[dns]\nservers = ["127.0.0.1:{unbound.port}"]', route("*", "out"), SOON,
        f'[backend.out]\ntype = "smtp"\nconcurrency = 2\n{limit}',
        listen=RELAYS,
    ).start()
    for at in range(12):
        submit(gateway.port, "ann@home.test", f"bob@{DOMAINS[at % len(DOMAINS)]}", letter(str(at)))
    wait_until(lambda: len(gateway.facts("delivered")) == 12, 30, "all are delivered")
    assert 1 <= busy.most <= 2
    assert {fact["attempts"] for fact in gateway.facts("delivered")} == {1}


@pytest.mark.parametrize("key", ["rate", "total_rate"])
def test_a_rate_is_kept(lab: Lab, key: str) -> None:
    hop = lab.hop()
    busy = Busy(hop)
    gateway = lab.mx(
        route("*", "out"), smart_host("out", hop.port, f'{key} = "3/1s"'), SOON, listen=RELAYS
    ).start()
    for at in range(9):
        submit(gateway.port, "ann@home.test", "bob@far.test", letter(str(at)))
    wait_until(lambda: len(gateway.facts("delivered")) == 9, 30, "all are delivered")
    # Three at once, then one every third of a second.
    assert busy.times[-1] - busy.times[0] > 1.7
    assert {fact["attempts"] for fact in gateway.facts("delivered")} == {1}
