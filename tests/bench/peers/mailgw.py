"""mailgw, as installed beside this Python: with its journal and its default rules, its spool as it ships."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.loads import Mailboxes, Sink
from tests.bench.stands import Skipped, ending
from tests.bench.throughput import Stand
from tests.peers.harness import MAILGW, Authority, Gateway, free_port, listener, maildirs, route, smart_host, toml

FROM_HERE = 'relay_from = ["127.0.0.0/8"]'


def gateway(folder: Path, *parts: str, port: int, top: str = "") -> Gateway:
    """Not started yet."""
    return Gateway("mailgw", folder, folder, toml(*parts, top=top), [port])


@contextlib.contextmanager
def relay(folder: Path, peers: Path, workers: str = "1", more: str = "") -> Iterator[Stand]:
    """``workers`` and ``more`` as the configuration has them.  ``Skipped`` where it has no such workers."""
    port, sink = free_port(), Sink(folder)
    with ending(sink):
        one = gateway(
            folder, listener("mx", port, FROM_HERE), route("*", "out"), smart_host("out", sink.port), more,
            port=port, top=f"workers = {workers}",
        )
        if workers != "1":
            ask_whether_it_would_start(one)
        with ending(one):
            one.start()
            yield Stand(port, sink)


@contextlib.contextmanager
def relay_by_all_cores(folder: Path, peers: Path) -> Iterator[Stand]:
    with relay(folder, peers, '"auto"') as stand:
        yield stand


def ask_whether_it_would_start(one: Gateway) -> None:
    """``Skipped`` with the words of ``mailgw check`` where it would not."""
    command = [str(MAILGW), "check", "--config", str(one.config)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise Skipped(f"mailgw check refuses it: {done.stderr.replace(f'{one.folder}/', '').strip()}")


@contextlib.contextmanager
def into_maildirs(folder: Path, peers: Path, domain: str, users: list[str]) -> Iterator[Stand]:
    port = free_port()
    one = gateway(folder, listener("mx", port), route(f"@{domain}", "boxes"), maildirs("boxes"), port=port)
    with ending(one):
        one.start()
        yield Stand(port, Mailboxes([folder / "mail" / domain / user for user in users]))


@contextlib.contextmanager
def holding(folder: Path, peers: Path) -> Iterator[Stand]:
    """All it takes stays in its queue: the destination is suspended."""
    port = free_port()
    one = gateway(folder, listener("mx", port, FROM_HERE), route("*", "out"), smart_host("out", 9), port=port)
    with ending(one):
        one.start()
        one.command("queue", "suspend", "out")
        yield Stand(port)


@contextlib.contextmanager
def submission(folder: Path, peers: Path, authority: Authority, passwords: Path) -> Iterator[Stand]:
    port, sink = free_port(), Sink(folder)
    with ending(sink):
        one = gateway(
            folder, listener("submissions", port), route("*", "out"), smart_host("out", sink.port), authority.toml(),
            f'[accounts]\npasswd_file = "{passwords}"', '[limits]\nmessages_per_login = "1000000/1m"', port=port,
        )
        with ending(one):
            one.start()
            yield Stand(port, sink)
