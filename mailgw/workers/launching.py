"""One worker's process: how it is started, what it says until it is open, and what it prints.

Its standard output goes to ours by whole lines, its standard error to the log: a line of the worker's own log is one
event there, at its own level.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import InvalidLogLevelError, Logger, LogLevel
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.workers import handed
from mailgw.workers.calls import Wire

log = Logger()

# How a worker writes an event to its standard error: the level between two of these, then the text, whose line ends are
# others.
MARK = "\x1e"
READY = b"ready"
# The longest that a start may take: a queue may have to be brought to a new schema.
START_SECONDS = 300.0


class WorkerProcess(ProcessProtocol):
    """``ended`` is called with how it ended, in words, once the process is gone."""

    def __init__(self, number: int, ended: Callable[[str], None]) -> None:
        self._number = number
        self._ended = ended
        self._rest = {1: b"", 2: b""}
        self.pid = 0

    def connectionMade(self) -> None:
        self.pid = getattr(self.transport, "pid", None) or 0

    def drain(self) -> None:
        """Take what it has said so far: before the reactor runs, which does that later, and in the end."""
        pipes: Mapping[int, Any] = getattr(self.transport, "pipes", {})
        for descriptor, pipe in pipes.items():
            try:
                while octets := os.read(pipe.fileno(), 65536):
                    self.childDataReceived(descriptor, octets)
            except OSError:
                pass  # that was all for now

    def kill(self) -> None:
        try:
            if self.transport is not None:
                self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._rest[childFD] = (self._rest[childFD] + data).split(b"\n")
        self._print(childFD, lines)

    def processExited(self, reason: Failure) -> None:
        """It ended; whoever it has started may hold its output open for ever, and nobody waits for that."""
        self.drain()
        if self.transport is not None:
            self.transport.loseConnection()

    def processEnded(self, reason: Failure) -> None:
        for descriptor, rest in self._rest.items():
            self._print(descriptor, [rest] if rest else [])
        signal = getattr(reason.value, "signal", None)
        status = getattr(reason.value, "exitCode", None)
        self._ended(f"signal {signal}" if signal is not None else f"exit status {status}")

    def _print(self, descriptor: int, lines: Sequence[bytes]) -> None:
        if descriptor == 1 and lines:
            try:
                os.write(1, b"\n".join(lines) + b"\n")
            except OSError:
                pass  # nobody reads it
            return
        for line in lines:
            level, text = read_line(line.decode("utf-8", "replace"))
            log.emit(level, "worker {worker}: {text}", worker=self._number, text=text)


def log_line(level: str, text: str) -> str:
    """An event as a worker writes it."""
    return f"{MARK}{level}{MARK}{text.replace(chr(10), MARK)}\n"


def read_line(line: str) -> tuple[Any, str]:
    """Level and text of a line of a worker's standard error; what its log did not write is an error."""
    if line.startswith(MARK) and line.count(MARK) > 1:
        _, name, text = line.split(MARK, 2)
        try:
            return LogLevel.levelWithName(name), text.replace(MARK, "\n")
        except InvalidLogLevelError:
            pass
    return LogLevel.error, line.replace(MARK, "\n")


def launch(
    reactor: Any, process: WorkerProcess, wire: Wire, value: handed.Handed, ports: Sequence[int], ready: int
) -> None:
    """Start a worker.  ``ports`` are the listening sockets' descriptors; into ``ready`` it says how its start went."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    written = handed.written(value)
    with ours, its:
        ours.setblocking(False)
        its.setblocking(False)
        descriptors: dict[int, int | str] = {0: os.open(os.devnull, os.O_RDONLY), 1: "r", 2: "r"}
        descriptors |= {handed.WIRE: its.fileno(), handed.VALUE: written, handed.READY: ready}
        descriptors |= dict(enumerate(ports, handed.FIRST_PORT))
        # What twistd, or whoever runs it, has put on the path is there for plug-ins, too.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
        try:
            module = type(reactor).__module__
            # -P: what lies in the folder that we were started in is no part of the gateway.
            command = [sys.executable, "-P", "-m", "mailgw.workers.process", module]
            reactor.spawnProcess(process, sys.executable, command, environment, childFDs=descriptors)
        finally:
            os.close(written)
            os.close(descriptors[0])  # type: ignore[arg-type] # it is one
        adopt_wire(reactor, ours.fileno(), wire)


def adopt_wire(reactor: Any, descriptor: int, wire: Wire) -> None:
    """Talk by ``wire`` over one end of a socket pair; the descriptor is duplicated."""
    reactor.adoptStreamConnection(descriptor, socket.AF_UNIX, _Once(wire))


def wait_until_ready(
    descriptors: Sequence[int], meanwhile: Callable[[], None] = lambda: None, seconds: float = START_SECONDS
) -> None:
    """Block until each worker has said that it is open.  TemporaryFault in the words of one that is not, or ended.

    ``meanwhile`` is called several times a second.  The descriptors are closed.
    """
    said = dict.fromkeys(descriptors, b"")
    end = time.monotonic() + seconds
    try:
        waiting = set(descriptors)
        while waiting:
            readable, _, _ = select.select(list(waiting), [], [], 0.2)
            meanwhile()
            if time.monotonic() > end:
                raise TemporaryFault(f"a worker was not ready within {seconds:.0f} seconds")
            for one in readable:
                octets = os.read(one, 65536)
                said[one] += octets
                if not octets:
                    waiting.discard(one)
                    if said[one] != READY:
                        why = said[one].decode("utf-8", "replace")
                        raise TemporaryFault(why or "a worker ended before it was ready: its words are in the log")
    finally:
        for one in descriptors:
            os.close(one)


class _Once:
    """The factory of a connection that stands already."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def buildProtocol(self, addr: object) -> Wire:
        return self._wire
