"""The journal read again: the facts of some kinds, since some time, the oldest first, one at a time.

Rules:
    Nothing is written, and no lock is taken: a file that is being written, or rotated, is read as far as it is there.
    A line that is no fact is counted, and left out: half a line is what a crash or a full disk leaves behind.
    Memory is bounded, however long a line or a file is.
"""

import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

LINE_OCTETS: Final = 1 << 20
"""A fact of a thousand recipients of 256 octets each has a quarter of that."""

_HEAD: Final = re.compile(rb'\{"time":"([0-9TZ:.-]{20,40})","event":"([a-z_]{1,40})"')


def files_of(path: str) -> Sequence[str]:
    """The file and those that it was rotated to (``path.1`` ...), the oldest first; [] where there is none.  OSError
    where it cannot be seen whether there is one."""
    folder, name = os.path.split(path)
    try:
        there = os.listdir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        there = []
    numbers = [int(one[len(name) + 1:]) for one in there if re.fullmatch(re.escape(name) + r"\.[1-9][0-9]{0,5}", one)]
    files = [f"{path}.{number}" for number in sorted(numbers, reverse=True)]
    return [*files, path] if name in there else files


class JournalLines:
    """``since`` in epoch seconds.  ``read`` and ``unreadable`` count the lines that were looked at, and those that are
    no facts."""

    def __init__(self, files: Sequence[str], since: float, kinds: Collection[str]) -> None:
        self.read = 0
        self.unreadable = 0
        self._files = files
        self._since = since
        self._since_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since)).encode()
        self._kinds = frozenset(kind.encode() for kind in kinds)
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    def facts(self) -> Iterator[Mapping[str, Any]]:
        """As the journal has them, with ``time`` and ``event``.  OSError where a file cannot be read; one that is gone
        by then was rotated away."""
        seen: set[tuple[int, int]] = set()
        for file in self._files:
            try:
                opened = open(file, "rb")  # noqa: SIM115 - closed below
            except FileNotFoundError:
                continue
            with opened:
                facts = os.fstat(opened.fileno())
                # While we read, a file may have been rotated to the next one's place.
                if (facts.st_dev, facts.st_ino) in seen or facts.st_mtime < self._since:
                    continue
                seen.add((facts.st_dev, facts.st_ino))
                while line := opened.readline(LINE_OCTETS):
                    fact = self._fact(line)
                    if fact is not None:
                        yield fact

    def _fact(self, line: bytes) -> Mapping[str, Any] | None:
        line = line.rstrip(b"\n")
        if not line:
            return None
        head = _HEAD.match(line)
        # Times are always in one form, so they sort as text.
        if head is not None and head[1] < self._since_text:
            return None
        self.read += 1
        if head is None or not line.endswith(b"}"):
            self.unreadable += 1
            return None
        if head[2] not in self._kinds:
            return None
        try:
            return self._decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
            return None
