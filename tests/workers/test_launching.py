"""A worker's process, as the parent sees it."""

import os
from collections.abc import Iterator

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

from mailgw.workers import process as module
from mailgw.workers.launching import WorkerProcess, log_line


class Pipe:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


class Transport:
    """As Twisted's ``Process``: its end is told once its pipes are closed."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self.theirs: dict[int, int] = {}
        self.pipes: dict[int, Pipe] = {}
        for number in (1, 2):
            ours, self.theirs[number] = os.pipe()
            os.set_blocking(ours, False)
            self.pipes[number] = Pipe(ours)
        self.is_closed = False

    def loseConnection(self) -> None:
        self.is_closed = True
        self._process.processEnded(Failure(ProcessTerminated(signal=9)))

    def close(self) -> None:
        for number, pipe in self.pipes.items():
            os.close(pipe.fileno())
            os.close(self.theirs[number])


@pytest.fixture
def transport() -> Iterator[Transport]:
    process = WorkerProcess(3, ended.append)
    ended.clear()
    made = Transport(process)
    process.transport = made  # type: ignore[assignment] # what it uses of one
    yield made
    made.close()


ended: list[str] = []


def test_its_end_does_not_wait_for_whoever_holds_its_output(transport: Transport) -> None:
    os.write(transport.theirs[2], log_line("warn", "last words").encode())
    with capturedLogs() as logs:
        transport._process.processExited(Failure(ProcessTerminated(signal=9)))
    assert transport.is_closed
    assert ended == ["signal 9"]
    assert [(formatEvent(event), event["log_level"]) for event in logs] == [("worker 3: last words", LogLevel.warn)]


def test_what_it_prints_while_it_starts_fills_no_pipe(transport: Transport) -> None:
    os.set_blocking(transport.theirs[1], False)
    count = os.write(transport.theirs[1], b"x" * 1_000_000)  # as much as it takes
    transport._process.drain()
    assert os.write(transport.theirs[1], b"x" * 1_000_000) == count
    assert ended == []


def test_an_event_without_words_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(module.os, "write", lambda descriptor, octets: written.append(octets))
    empty: LogEvent = {"log_level": LogLevel.info, "log_format": ""}
    module._to_parent(empty)
    assert not written
    module._to_parent({**empty, "log_format": "words"})
    assert written == [log_line("info", "words").encode()]
