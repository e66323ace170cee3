"""The journal searched: the newest facts first, without a look at lines that say nothing of what is sought.

A file is read from its end, a piece at a time, and each piece is looked through for a few octets that every line has
which is meant; only such lines are decoded.

Rules:
    Nothing is written and no lock is taken.  A file that is being written, or rotated, is read as far as it is there.
    A line that is no fact is counted, and left out: half a line is what a crash or a full disk leaves behind.
    One search reads so many octets and takes so long at most, and says how far back it came; its cursor goes on there.
    A cursor outlives rotations.  Where its file is gone, so is the rest.
    It blocks, and holds the interpreter for a piece's time (some 0.3 ms): a thread's work, never the reactor's.
"""

import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs
import msgspec

from mailgw.store.journal_lines import files_of
from mailgw.store.journal_needles import OwnFacts, Sought

PIECE_OCTETS: Final = 1 << 20
"""Read at once.  A longer line is no fact (``journal_lines.LINE_OCTETS``)."""
SLACK_SECONDS: Final = 5.0
"""Facts of several processes stand a little out of order."""
_HEAD: Final = re.compile(rb'\{"time":"([0-9]{4}-[0-9TZ:.-]{15,35})","event":"')
_HEAD_OCTETS: Final = 40  # of a file, by which it is known again beside its number on the disk
_CURSOR: Final = re.compile(r"([0-9a-f]{1,16})\.([0-9a-f]{1,8})\.([0-9a-f]{1,16})\Z")


class BadCursor(ValueError):
    """It is none of ours."""


@attrs.frozen
class Bounds:
    """How much one search may read, and how long it may take; it ends behind the piece that goes over."""

    octets: int = 512 << 20
    seconds: float = 2.0


@attrs.frozen
class Place:
    """Behind a line, in a file of the journal: ``number`` is the file's on the disk, ``head`` a sum over its
    beginning."""

    number: int
    head: int
    offset: int

    def __str__(self) -> str:
        return f"{self.number:x}.{self.head:x}.{self.offset:x}"

    @staticmethod
    def of(cursor: str) -> "Place":
        """BadCursor where it is none."""
        match = _CURSOR.match(cursor)
        if match is None:
            raise BadCursor(cursor)
        return Place(*(int(word, 16) for word in match.groups()))


class Backwards:
    """Facts that are meant, the newest first; ``since`` in epoch seconds, from ``place`` on (None: from the end).

    While it is iterated over, and after that: ``before`` is where a search goes on that is to find the last fact again,
    ``behind`` one that is not; None where there is nothing older.  ``searched_back_to`` is the time of the oldest line
    that was read (epoch seconds), None where none was; ``octets`` how many were read, ``unreadable`` how many of the
    lines that were looked at are no facts, ``files`` those that were looked into; ``is_cut`` says that it ended by its
    bounds.  OSError where a file cannot be read.
    """

    def __init__(
        self, path: str, sought: Sought | OwnFacts, since: float = 0.0, place: Place | None = None,
        bounds: Bounds | None = None, clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.before: Place | None = place
        self.behind: Place | None = place
        self.searched_back_to: float | None = None
        self.octets = 0
        self.unreadable = 0
        self.files: list[str] = []
        self.is_cut = False
        self._path = path
        self._sought = sought
        self._since = since
        self._place = place
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        until = self._clock() + self._bounds.seconds
        place, last = self._place, None
        while True:
            file = _opened(self._path, place, last)
            if file is None:
                self.before = self.behind = None
                return
            place = None
            with file:
                last = file.key
                if file.modified < self._since - SLACK_SECONDS:
                    self.before = self.behind = None
                    return
                self.files.append(file.name)
                for start, piece in file.pieces():
                    self.octets += len(piece)
                    sought = self._sought
                    lines = sought.lines(piece) if isinstance(sought, OwnFacts) else lines_with(piece, sought)
                    for begin, end in lines:
                        fact = self._fact(piece[begin:end])
                        if fact is not None and epoch_of(fact["time"]) >= self._since:
                            self.before = file.place(start + end + 1)
                            self.behind = file.place(start + begin)
                            yield fact
                    self.before = self.behind = file.place(start)
                    oldest = _time_of_first(piece)
                    if oldest is not None:
                        self.searched_back_to = oldest
                        if oldest < self._since - SLACK_SECONDS:
                            self.before = self.behind = None
                            return
                    if self.octets >= self._bounds.octets or self._clock() >= until:
                        self.is_cut = True
                        return

    def _fact(self, line: bytes) -> Mapping[str, Any] | None:
        fact = fact_of(line, self._decode)
        if fact is None:
            self.unreadable += 1
            return None
        return fact if self._sought.holds(fact) else None


def forwards(
    path: str, sought: Sought, place: Place, octets: int, clock: Callable[[], float] = time.monotonic,
    seconds: float = 1.0,
) -> Iterator[Mapping[str, Any]]:
    """Facts that are meant, from ``place`` on, the oldest first, in so many octets and seconds at most."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    until = clock() + seconds
    names = files_of(path)
    at = _index(names, (place.number, place.head))
    for name in names[at:] if at is not None else ():
        file = _open(name, None)
        if file is None:
            continue
        with file:
            start = place.offset if file.key == (place.number, place.head) else 0
            while start < file.end and octets > 0 and clock() < until:
                piece = os.pread(file.descriptor, PIECE_OCTETS, start)
                if not piece:
                    break
                piece = piece[:piece.rfind(b"\n") + 1] or piece
                octets -= len(piece)
                start += len(piece)
                for begin, end in reversed(lines_with(piece, sought)):
                    fact = fact_of(piece[begin:end], decode)
                    if fact is not None and sought.holds(fact):
                        yield fact


def lines_with(piece: bytes, sought: Sought) -> Sequence[tuple[int, int]]:
    """Where the lines begin and end that have any of the needles, the last one first."""
    hay = piece.lower() if sought.folds else piece
    found = set()
    for needle in sought.needles:
        at = hay.find(needle)
        while at >= 0:
            begin = hay.rfind(b"\n", 0, at) + 1
            end = hay.find(b"\n", at)
            if end < 0:
                end = len(hay)
            found.add((begin, end))
            at = hay.find(needle, end)
    return sorted(found, reverse=True)


def fact_of(line: bytes, decode: Callable[[bytes], dict[str, Any]]) -> dict[str, Any] | None:
    """None where the line is none."""
    if _HEAD.match(line) is None or not line.endswith(b"}"):
        return None
    try:
        fact = decode(line)
        epoch_of(fact["time"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return fact


def epoch_of(text: str) -> float:
    """Seconds since the epoch, of a time as the journal has it.  ValueError where it is none."""
    return datetime.fromisoformat(text).timestamp()


class _File:
    """One that is open, up to its last line's end."""

    def __init__(self, name: str, descriptor: int, facts: os.stat_result, head: int, end: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.modified = facts.st_mtime
        self.key = (facts.st_ino, head)
        self.end = end

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def place(self, offset: int) -> Place:
        return Place(*self.key, offset)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Whole lines, the last ones first: where each piece begins, and its octets."""
        end = self.end
        while end > 0:
            start = max(0, end - PIECE_OCTETS)
            octets = os.pread(self.descriptor, end - start, start)
            if start:
                cut = octets.find(b"\n", 0, len(octets) - 1) + 1
                # Without a line's end within, it is a part of a line that is longer than any fact.
                octets = octets[cut:] if cut else b""
                start += cut
            yield start, octets
            end = start


def _opened(path: str, place: Place | None, last: tuple[int, int] | None) -> _File | None:
    """The file of ``place``, or the one before ``last``, or the newest one; None where there is none.

    Names move while we read, so the next one is looked for anew each time.
    """
    names = list(reversed(files_of(path)))
    if place is not None:
        at = _index(names, (place.number, place.head))
        return None if at is None else _open(names[at], place.offset)
    at = 0
    if last is not None:
        known = _index(names, last)
        if known is None:
            return None
        at = known + 1
    for name in names[at:]:
        file = _open(name, None)
        if file is not None and file.key != last:
            return file
        if file is not None:
            os.close(file.descriptor)
    return None


def _index(names: Sequence[str], key: tuple[int, int]) -> int | None:
    for at, name in enumerate(names):
        try:
            if os.stat(name).st_ino != key[0]:
                continue
        except OSError:
            continue
        file = _open(name, None)
        if file is not None:
            with file:
                if file.key == key:
                    return at
    return None


def _open(name: str, end: int | None) -> _File | None:
    """None where it is gone, or holds no line."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        facts = os.fstat(descriptor)
        head = os.pread(descriptor, _HEAD_OCTETS, 0)
        if len(head) < _HEAD_OCTETS:
            os.close(descriptor)
            return None
        if end is None or end > facts.st_size:
            end = _end_of_lines(descriptor, facts.st_size)
    except BaseException:
        os.close(descriptor)
        raise
    return _File(name, descriptor, facts, zlib.crc32(head), end)


def _end_of_lines(descriptor: int, size: int) -> int:
    """Behind the last line that is whole."""
    start = max(0, size - PIECE_OCTETS)
    return start + os.pread(descriptor, size - start, start).rfind(b"\n") + 1


def _time_of_first(piece: bytes) -> float | None:
    """Of the first line that has one."""
    at = 0
    for _ in range(100):
        match = _HEAD.match(piece, at)
        if match is not None:
            try:
                return epoch_of(match[1].decode())
            except ValueError:
                pass
        at = piece.find(b"\n", at) + 1
        if not at:
            break
    return None
