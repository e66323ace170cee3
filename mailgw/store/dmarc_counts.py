"""What messages came to by DMARC, on its way into reports: ``dmarc-reports/counts.jsonl`` in the state folder.

One JSON object a line: what a message adds (``day``, ``domain``, ``messages``, ``row``, and ``record`` where it is
another than on the domain's line before), or that a domain's day is over (``messages`` 0; with a ``record`` only that
this is the one).  To read it is to count again.

Rules:
    A line is appended, and synced, ``WRITE_SECONDS`` after its message was counted: that much a crash may take.  To
    write the whole each time, as state files are, would cost more the more was counted, and so be done seldom.
    Of what a crash left of a line nothing remains: the next append cuts it off.
    Where lines have come to more than twice what they count, they are written anew, each row once, in the same thread:
    the reactor's thread neither reads nor encodes more than single lines.
    While the disk refuses lines wait in memory, up to ``WAITING_OCTETS``; those beyond are told in the log.
"""

import os
import re
from collections.abc import Callable, Iterator

import msgspec
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.store.soon import Soon
from mailgw.store.state_file import Workshop
from mailgw.trust.dmarc_record import DmarcRecord
from mailgw.trust.dmarc_tallies import Counted, DmarcTally, Row, Tallies

FOLDER = "dmarc-reports"
COUNTS_FILE = "counts.jsonl"
WRITE_SECONDS = 1.0
WAITING_OCTETS = 4 * 1024 * 1024
# Smaller files are not written anew.
COMPACT_OCTETS = 4 * 1024 * 1024
CHUNK_OCTETS = 1024 * 1024
# Domains whose record is known to stand in the file; beyond that it is written again.
RECORDS = 10_000
# RFC 9990 s3.5.2
REPORT = re.compile(r"[^!/]+![^!/]+!\d+!(\d{1,15})![A-Za-z0-9]+\.xml\.gz\Z")

_log = Logger()


class _Line(msgspec.Struct, omit_defaults=True):
    """``row`` None: messages that found no place."""

    day: int
    domain: str
    messages: int = 0
    record: DmarcRecord | None = None
    row: Row | None = None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Line)


class DmarcCounts:
    """The file's lines, as the reactor's thread has them.  ``limit_octets``: of the tallies."""

    def __init__(self, path: str, workshop: Workshop, limit_octets: int) -> None:
        self._path = path
        self._workshop = workshop
        self._file = _File(path, workshop.disk, lambda: Tallies(limit_octets))
        self._soon = Soon(workshop.reactor, WRITE_SECONDS, self._write, path)
        self._lines: list[bytes] = []
        self._octets = 0
        self._lost = 0
        self._records: dict[tuple[int, str], DmarcRecord] = {}
        self._complaint = ""

    async def read(self) -> Tallies:
        """What was counted; nothing where that cannot be read, which the log says."""
        try:
            tallies, broken = await self._workshop.do(self._file.read)
        except OSError as fault:
            _log.warn("{path} cannot be read: {why}", path=self._path, why=fault.strerror or str(fault))
            return self._file.empty()
        if broken:
            _log.warn("{path}: {count} lines cannot be read, and are passed over", path=self._path, count=broken)
        return tallies

    def counted(self, one: Counted, day: int) -> None:
        key = (day, one.domain)
        record = one.record if self._records.get(key) != one.record else None
        if self._append(_Line(day, one.domain, 1, record, one.row)) and record is not None:
            if len(self._records) >= RECORDS:
                self._records.clear()
            self._records[key] = record

    def removed(self, day: int, domain: str) -> None:
        self._records.pop((day, domain), None)
        self._append(_Line(day, domain))

    async def close(self) -> None:
        """Write what is not yet written, and no more."""
        await self._soon.close()

    def _append(self, line: _Line) -> bool:
        octets = _ENCODER.encode(line)
        if self._octets + len(octets) > WAITING_OCTETS:
            self._lost += 1
            return False
        self._lines.append(octets)
        self._octets += len(octets) + 1
        self._soon.changed()
        return True

    async def _write(self) -> None:
        lines, octets = self._lines, self._octets
        self._lines, self._octets = [], 0
        try:
            await self._workshop.do(self._file.append, lines)
            self._complaint = ""
        except OSError as fault:
            self._lines, self._octets = lines + self._lines, octets + self._octets
            self._soon.changed()
            why = fault.strerror or str(fault)
            if why != self._complaint:  # once, not each time
                self._complaint = why
                _log.warn("{path} cannot be written: {why}", path=self._path, why=why)
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            _log.warn("{path}: {count} lines found no place while the disk refused", path=self._path, count=lost)


class _File:
    """The file, in the thread of whoever works with it, one at a time."""

    def __init__(self, path: str, disk: Disk, empty: Callable[[], Tallies]) -> None:
        self.empty = empty
        self._path = path
        self._disk = disk
        self._size: int | None = None  # of what is whole; None while nobody has looked
        self._compact_at = COMPACT_OCTETS

    def read(self) -> tuple[Tallies, int]:
        """What the lines count, and how many were none.  OSError where the disk refuses."""
        tallies, _, broken = self._read()
        return tallies, broken

    def _read(self) -> tuple[Tallies, dict[tuple[int, str], DmarcRecord], int]:
        """As ``read``, and the record of each domain's day that is not over, whether it found a place or not."""
        tallies = self.empty()
        records: dict[tuple[int, str], DmarcRecord] = {}
        broken = 0
        for line in self._lines():
            if line and not _replayed(line, tallies, records):
                broken += 1
        return tallies, records, broken

    def append(self, lines: list[bytes]) -> None:
        """OSError where the disk refuses: then nothing was appended, or what was is cut off before the next time."""
        folder = os.path.dirname(self._path)
        self._disk.make_folder(folder)
        octets = b"\n".join([*lines, b""])
        descriptor = self._disk.append(self._path)
        try:
            size = self._disk.facts(descriptor).st_size
            if self._size is None and size:
                octets = b"\n" + octets  # whatever is there may end within a line
            whole = size if self._size is None else min(size, self._size)
            if whole != size:
                self._disk.truncate(descriptor, whole)
            self._size = whole
            self._disk.write(descriptor, [octets])
            self._disk.sync(descriptor)
        finally:
            self._disk.close(descriptor)
        if not whole:
            self._disk.sync_folder(folder)
        self._size = whole + len(octets)
        if self._size > self._compact_at:
            self._compact()

    def _compact(self) -> None:
        try:
            tallies, records, _ = self._read()
            lines = [line for tally in tallies.all() for line in _lines_of(tally)]
            # What found no place today may find one later, and whoever counts knows that the file has its record.
            placed = {(line.day, line.domain) for line in lines}
            newest = max((day for day, _ in records), default=0)
            lines += [
                _Line(*key, record=record) for key, record in records.items()
                if key not in placed and key[0] >= newest - 1
            ]
            octets = b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
            self._disk.write_atomically(self._path, octets)
            self._size = len(octets)
        except OSError as fault:  # the lines stand as they are
            _log.warn("{path} cannot be written anew: {why}", path=self._path, why=fault.strerror or str(fault))
        self._compact_at = max(COMPACT_OCTETS, 2 * (self._size or 0))

    def _lines(self) -> Iterator[bytes]:
        """Those that are whole; what is behind the last of them is cut off by the next ``append``."""
        offset, rest = 0, b""
        try:
            while chunk := self._disk.read(self._path, offset, CHUNK_OCTETS):
                offset += len(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
        except FileNotFoundError:
            pass
        self._size = offset - len(rest)


def _replayed(octets: bytes, tallies: Tallies, records: dict[tuple[int, str], DmarcRecord]) -> bool:
    """Whether the line was one, and what it says is counted."""
    try:
        line = _DECODER.decode(octets)
    except msgspec.MsgspecError:
        return False
    key = (line.day, line.domain)
    if not line.messages:
        if line.record is not None:
            records[key] = line.record
            return True
        records.pop(key, None)
        tallies.remove(*key)
        return True
    record = line.record or records.get(key)
    if record is None:
        return False  # the line that had it was none
    records[key] = record
    if line.row is None:
        tallies.leave_out(*key, record, line.messages)
    else:
        tallies.count(Counted(line.domain, record, line.row), line.day, line.messages)
    return True


def _lines_of(tally: DmarcTally) -> Iterator[_Line]:
    if tally.left_out:
        yield _Line(tally.day, tally.domain, tally.left_out, tally.record)
    for place, (row, messages) in enumerate(tally.rows):
        record = tally.record if not place and not tally.left_out else None
        yield _Line(tally.day, tally.domain, messages, record, row)
