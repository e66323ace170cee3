"""Exim: its binary at /usr/sbin/exim4, where ``.ci/run`` puts it."""

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from tests.bench.loads import Sink
from tests.bench.stands import Skipped, ending
from tests.bench.throughput import Stand
from tests.peers.exim import BINARY, USER, Exim


@contextlib.contextmanager
def relay(folder: Path, peers: Path) -> Iterator[Stand]:
    if not os.access(BINARY, os.X_OK):
        raise Skipped(f"there is no {BINARY}")
    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise Skipped(f"there is no user {USER}") from None
    sink = Sink(folder)
    with ending(sink):
        one = Exim(folder, folder, sink.port, tls=False)
        with ending(one):
            yield Stand(one.start().port, sink)
