"""The journal: one line of JSON a fact, written in batches, rotated; losing it never loses mail.

    {"time":"2026-11-23T12:00:00.123Z","event":"queued","session_id":"…","queue_id":"…", …}

Rules:
    ``note`` never blocks and never raises: it encodes into a buffer, which a thread writes after 0.1 s, or as
    soon as it holds 256 KiB.  What a crash finds in the buffer is gone; the journal is not synced.
    A disk that refuses costs the facts of that moment: they are dropped, counted, and the log says so once
    a minute.  Facts that come faster than they can be written are dropped at 8 MiB.
    No line is glued to another: what a full disk or a crash cut short stays half a line, and a line of its own.
    Empty fields are left out.  Lone surrogates, which JSON cannot hold, are spelt out (``\\udcff``).
    A file holds one period of ``rotate_seconds``, counted from the epoch: with a day, it ends at midnight UTC.
    Where several processes write one file, each write has it locked, and goes to the file that stands at the path then;
    whoever finds it full rotates it.  So lines are whole and files are rotated once; facts of two processes may stand
    by a write, 0.1 s, out of order.
"""

import fcntl
import os
import time
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.mail.event import Event
from mailgw.mail.ports import WallClock

STANDARD_OUTPUT = "-"
FLUSH_SECONDS = 0.1
FLUSH_OCTETS = 256 * 1024
MOST_OCTETS = 8 * 1024 * 1024
_SECONDS_BETWEEN_WARNINGS = 60.0


@attrs.frozen
class JournalSettings:
    """``path`` a file, ``"-"`` for standard output, None for no journal.

    A file is renamed to ``path.1`` (and that to ``path.2``, up to ``keep``) before it grows over ``rotate_octets``
    and when a new period of ``rotate_seconds`` has begun; 0 for never.  ``is_shared``: other processes write it, too.
    """

    path: str | None
    rotate_octets: int
    rotate_seconds: float
    keep: int
    is_shared: bool = False


class Reactor(Protocol):
    """What the journal needs of Twisted's: IReactorTime, IReactorInThreads, IReactorFromThreads."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> Any: ...

    def callInThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> Any: ...

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall: ...

    def seconds(self) -> float: ...


class Journal:
    """A ``mail.ports.Journal``.  ``lost`` counts the facts that were dropped."""

    _log = Logger()

    def __init__(self, settings: JournalSettings, reactor: Reactor, wall_clock: WallClock, disk: Disk) -> None:
        self.lost = 0
        self._is_open = settings.path is not None
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._lines = Lines()
        # Standard output may end within a line; of a file JournalFile knows.
        self._is_torn = False
        self._is_standard_output = settings.path == STANDARD_OUTPUT
        self._file = JournalFile(settings, wall_clock, disk)
        self._disk = disk
        self._flush_call: IDelayedCall | None = None
        self._is_writing = False
        self._closing: Deferred[None] | None = None
        self._warned_at: float | None = None

    def note(self, event: Event) -> None:
        """Take a fact; see the module."""
        if not self._is_open:
            return
        lines = self._lines
        size = lines.size_octets
        if size >= MOST_OCTETS:
            self._lose(1, "it is written too slowly")
            return
        try:
            lines.add(event, self._wall_clock())
        except Exception as error:  # noqa: BLE001  # a fact of a strange shape must not fail what it tells of
            self._lose(1, f"{type(error).__name__}: {error}")
        if size >= FLUSH_OCTETS:
            self._flush()
        elif self._flush_call is None:
            self._flush_call = self._reactor.callLater(FLUSH_SECONDS, self._flush_now)

    def reopen(self) -> None:
        """Write on in a new file, after somebody else has renamed the old one."""
        self._file.is_stale = True

    async def close(self) -> None:
        """Write what is left, and take no more."""
        if not self._is_open:
            return
        self._is_open = False
        if self._flush_call is not None:
            self._flush_call.cancel()
            self._flush_call = None
        self._closing = Deferred()
        self._flush()
        if self._is_writing:
            await self._closing
        self._file.close()

    def _flush_now(self) -> None:
        self._flush_call = None
        self._flush()

    def _flush(self) -> None:
        if self._is_writing or not self._lines.count:
            return
        octets, count = self._lines.take()
        if self._is_standard_output:
            try:
                self._disk.write(1, [b"\n" + octets if self._is_torn else octets])
            except OSError as error:
                self._is_torn = True
                self._lose(count, str(error))
            else:
                self._is_torn = False
            return
        self._is_writing = True
        self._reactor.callInThread(self._write, octets, count)

    def _write(self, octets: bytes, count: int) -> None:
        # In a thread; the only one that touches the file.
        try:
            self._file.write(octets)
        except OSError as error:
            self._reactor.callFromThread(self._written, count, str(error))
        else:
            self._reactor.callFromThread(self._written, 0, "")

    def _written(self, lost: int, why: str) -> None:
        self._is_writing = False
        if lost:
            self._lose(lost, why)
        if self._closing is not None:
            self._flush()
            if not self._is_writing:
                self._closing.callback(None)
        elif self._lines.size_octets >= FLUSH_OCTETS:
            self._flush()
        elif self._lines.count and self._flush_call is None:
            self._flush_call = self._reactor.callLater(FLUSH_SECONDS, self._flush_now)

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        now = self._reactor.seconds()
        if self._warned_at is None or now - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = now
            self._log.error("journal: {lost} facts were not written so far: {why}", lost=self.lost, why=why)


class Lines:
    """Events as lines of JSON, gathered."""

    def __init__(self) -> None:
        self.size_octets = 0
        self._lines: list[bytes] = []
        # Not encode_into: on a long buffer it costs a reallocation each time.
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._second_text = ""
        # For each class of events its word, its fields' names, and what gets them all.
        self._shapes: dict[type[Event], tuple[str, tuple[str, ...], Callable[[Event], tuple[Any, ...]]]] = {}

    @property
    def count(self) -> int:
        return len(self._lines)

    def add(self, event: Event, now: float) -> None:
        """Any exception leaves the lines as they were."""
        shape = self._shapes.get(type(event))
        if shape is None:
            shape = self._shapes[type(event)] = _shape_of(type(event))
        name, keys, values_of = shape
        fact: dict[str, Any] = {"time": self._time(now), "event": name}
        for key, value in zip(keys, values_of(event), strict=True):
            if value != "" and value is not None:
                fact[key] = round(value, 6) if type(value) is float else value
        try:
            line = self._encode(fact)
        except UnicodeEncodeError:
            line = self._encode(_spelt_out(fact))
        self._lines.append(line)
        self.size_octets += len(line) + 1

    def take(self) -> tuple[bytes, int]:
        """All lines so far, and how many."""
        lines, self._lines = self._lines, []
        self.size_octets = 0
        return b"\n".join(lines) + b"\n", len(lines)

    def _time(self, now: float) -> str:
        milliseconds = int(now * 1000)
        second = milliseconds // 1000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{milliseconds % 1000:03d}Z"


class JournalFile:
    """The file and its rotation; blocks.  Used by one thread at a time, but for ``is_stale``."""

    def __init__(self, settings: JournalSettings, wall_clock: WallClock, disk: Disk) -> None:
        self.is_stale = False
        self._settings = settings
        self._wall_clock = wall_clock
        self._disk = disk
        self._descriptor: int | None = None
        self._size = 0
        self._is_torn = False
        self._period = 0

    def write(self, octets: bytes) -> None:
        """Append whole lines, to a new file where the old one is full; OSError where they are lost."""
        try:
            if self.is_stale:
                self.is_stale = False
                self.close()
            descriptor = self._open() if self._descriptor is None else self._descriptor
            if self._settings.is_shared:
                descriptor = self._locked(descriptor)
            while self._is_over(len(octets)):  # the next one may be full by now, too, where others write
                self._rotate()
                descriptor = self._open()
                if self._settings.is_shared:
                    descriptor = self._locked(descriptor)
            if self._is_torn:
                octets = b"\n" + octets
            self._disk.write(descriptor, [octets])
            self._is_torn = False
            self._size += len(octets)
            if self._settings.is_shared:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:
            self.close()  # what was written of it is seen when the file is opened again, and the lock is gone
            raise

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._disk.close(descriptor)

    def _locked(self, descriptor: int) -> int:
        """The file that stands at the path, for us alone."""
        while True:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._stands(descriptor):
                self._look(descriptor)  # others have written since
                return descriptor
            self.close()  # somebody has rotated it
            descriptor = self._open()

    def _stands(self, descriptor: int) -> bool:
        assert self._settings.path is not None
        try:
            return os.path.samestat(os.stat(self._settings.path), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def _open(self) -> int:
        path = self._settings.path
        assert path is not None
        self._descriptor = descriptor = self._disk.append(path)
        self._look(descriptor)
        return descriptor

    def _look(self, descriptor: int) -> None:
        path = self._settings.path
        assert path is not None
        facts = os.fstat(descriptor)
        self._size = facts.st_size
        self._is_torn = facts.st_size > 0 and not self._ends_a_line(path)
        # A file from before our start may belong to an earlier period.
        self._period = self._period_of(facts.st_mtime if facts.st_size else self._wall_clock())

    def _ends_a_line(self, path: str) -> bool:
        try:
            return self._disk.read(path, self._size - 1, 1) == b"\n"
        except OSError:  # it may be written, not read: an empty line does less harm than a glued one
            return False

    def _is_over(self, more_octets: int) -> bool:
        limit = self._settings.rotate_octets
        return self._size > 0 and (
            0 < limit < self._size + more_octets or self._period_of(self._wall_clock()) != self._period)

    def _period_of(self, when: float) -> int:
        seconds = self._settings.rotate_seconds
        return int(when // seconds) if seconds else 0

    def _rotate(self) -> None:
        path, keep = self._settings.path, self._settings.keep
        names = [f"{path}", *(f"{path}.{number}" for number in range(1, keep + 1))]
        self._disk.remove(names[-1])
        for number in range(len(names) - 1, 0, -1):
            try:
                self._disk.rename(names[number - 1], names[number])
            except FileNotFoundError:
                pass
        self.close()  # and with it the lock: whoever waited for that sees that the file stands there no more


def _shape_of(kind: type[Event]) -> tuple[str, tuple[str, ...], Callable[[Event], tuple[Any, ...]]]:
    keys = tuple(field.name for field in attrs.fields(kind))
    if not keys:
        return kind.name, keys, lambda event: ()
    if len(keys) == 1:
        only = attrgetter(keys[0])
        return kind.name, keys, lambda event: (only(event),)
    return kind.name, keys, attrgetter(*keys)


def _spelt_out(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, (tuple, list)):
        return [_spelt_out(one) for one in value]
    return {key: _spelt_out(one) for key, one in value.items()} if isinstance(value, dict) else value
