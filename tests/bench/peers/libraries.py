"""Servers as people write them with a library in an evening: each message a file, and one fsync before the answer.

The sync blocks the loop, or runs in a thread (``-thread``), which costs more where the disk is quick.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.stands import Skipped, ending
from tests.bench.throughput import Stand
from tests.peers.harness import Running, free_port


@contextlib.contextmanager
def _script(folder: Path, name: str, *words: str) -> Iterator[Stand]:
    port = free_port()
    (folder / "letters").mkdir()
    one = Running(name, folder)
    with ending(one):
        script = Path(__file__).with_name(f"{name}_fsync.py")
        one.launch([sys.executable, script, str(port), folder / "letters", *words], folder, [port])
        yield Stand(port)


@contextlib.contextmanager
def twisted(folder: Path, peers: Path) -> Iterator[Stand]:
    with _script(folder, "twisted") as stand:
        yield stand


@contextlib.contextmanager
def twisted_in_threads(folder: Path, peers: Path) -> Iterator[Stand]:
    with _script(folder, "twisted", "thread") as stand:
        yield stand


@contextlib.contextmanager
def aiosmtpd(folder: Path, peers: Path, *words: str) -> Iterator[Stand]:
    if importlib.util.find_spec("aiosmtpd") is None:
        raise Skipped("aiosmtpd is not installed beside this Python: pip install '.[bench]'")
    with _script(folder, "aiosmtpd", *words) as stand:
        yield stand


@contextlib.contextmanager
def aiosmtpd_in_threads(folder: Path, peers: Path) -> Iterator[Stand]:
    with aiosmtpd(folder, peers, "thread") as stand:
        yield stand
