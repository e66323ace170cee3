"""Where messages come from and how they are counted where they arrive: Postfix' smtp-source and smtp-sink, Maildirs."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from tests.bench.stands import Skipped
from tests.peers.harness import Running, free_port

SECONDS = 300.0  # for one load to be accepted


@attrs.frozen
class Span:
    """When a load was sent: before the first connection, after the last answer.  By time.monotonic()."""

    began: float
    ended: float


Load = Callable[[int, int], Span]
"""Sends so many messages (the second) to a port (the first), and returns when all of them were accepted."""


@attrs.frozen
class Source:
    """A ``Load``: smtp-source, from so many sessions at once."""

    octets: int
    sessions: int
    is_kept: bool = False  # all messages of a session over one connection
    recipients: Sequence[str] = ("to@sink.test",)  # the sessions are shared out among them
    message: Path | None = None  # in place of one of so many octets; with line ends of Unix

    def __call__(self, port: int, messages: int) -> Span:
        with self.sending(port, messages) as sent:
            return sent()

    @contextlib.contextmanager
    def sending(self, port: int, messages: int) -> Iterator[Callable[[], Span]]:
        """Begins; what it yields waits for the end."""
        if shutil.which("smtp-source") is None:
            raise Skipped("smtp-source is not installed: it comes with Postfix")
        kept = ["-d"] if self.is_kept else []
        what = ["-l", str(self.octets)] if self.message is None else ["-F", str(self.message)]
        sources: list[subprocess.Popen[bytes]] = []

        def wait() -> Span:
            for source in sources:
                _, words = source.communicate(timeout=SECONDS)
                assert source.returncode == 0, f"smtp-source: {words.decode(errors='replace')[-300:]}"
            return Span(began, time.monotonic())

        began = time.monotonic()
        try:
            for (recipient, sessions), mine in zip(
                shares(self.recipients, self.sessions), split(messages, len(self.recipients)), strict=True
            ):
                if mine:
                    sources.append(subprocess.Popen(
                        ["smtp-source", *kept, "-s", str(min(sessions, mine)), "-m", str(mine), *what,
                         "-f", "from@source.test", "-t", recipient, f"127.0.0.1:{port}"],
                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                    ))
            yield wait
        finally:
            for source in sources:
                source.kill()
                source.communicate()


def split(whole: int, parts: int) -> list[int]:
    """``whole`` in that many parts, as even as can be."""
    return [whole // parts + (number < whole % parts) for number in range(parts)]


def shares(recipients: Sequence[str], sessions: int) -> list[tuple[str, int]]:
    """By recipient, how many of the sessions send to him: at least one."""
    return [(one, max(mine, 1)) for one, mine in zip(recipients, split(sessions, len(recipients)), strict=True)]


class Arrivals(Protocol):
    """Counts what came out of a subject."""

    def begin(self) -> None:
        """Forget what came before."""

    def count(self) -> int:
        """How many came since."""


class Sink(Running):
    """smtp-sink: takes everything, keeps nothing, and rewrites its count of messages all the time."""

    def __init__(self, logs: Path) -> None:
        if shutil.which("smtp-sink") is None:
            raise Skipped("smtp-sink is not installed: it comes with Postfix")
        super().__init__("smtp-sink", logs)
        self.port = free_port()
        self._before = 0
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        self.launch(["smtp-sink", "-c", *user, f"127.0.0.1:{self.port}", "1000"], logs, [self.port])

    def begin(self) -> None:
        self._before = self._total()

    def count(self) -> int:
        return self._total() - self._before

    def _total(self) -> int:
        with self.log.open("rb") as counts:
            counts.seek(max(0, counts.seek(0, os.SEEK_END) - 500))
            found = re.findall(rb"mesg=(\d+)", counts.read())
        return int(found[-1]) if found else 0


class Mailboxes:
    """Maildirs: what is in ``new``."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = [folder / "new" for folder in folders]

    def begin(self) -> None:
        for folder in self._folders:
            for letter in os.scandir(folder) if folder.exists() else ():
                os.unlink(letter)

    def count(self) -> int:
        return sum(len(os.listdir(folder)) for folder in self._folders if folder.exists())


@attrs.frozen
class Submitting:
    """A ``Load``: over TLS, with a login; see ``submitting.py``.  ``costs`` gets its processor time, in seconds a
    message."""

    octets: int
    sessions: int
    is_kept: bool
    accounts: Sequence[str]  # ADDRESS:PASSWORD
    costs: list[float] = attrs.Factory(list)

    def __call__(self, port: int, messages: int) -> Span:
        script = Path(__file__).with_name("submitting.py")
        numbers = (port, messages, self.octets, min(self.sessions, messages), int(self.is_kept))
        done = subprocess.run(
            [sys.executable, script, *map(str, numbers), *self.accounts],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )
        assert done.returncode == 0, f"submitting.py: {done.stderr[-300:]}"
        began, ended, used = map(float, done.stdout.split())
        self.costs.append(used / messages)
        return Span(began, ended)
