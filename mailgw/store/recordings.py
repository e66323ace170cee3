"""Recordings of sessions, a file each: lines of JSON, the first of which says whose session it was.

    {"session_id":"…","role":"mx","peer":"203.0.113.7","began":1764000000.5}
    {"at":0.001,"side":"S","text":"220 mx.example.org ESMTP mailgw ready"}

Rules:
    Files have mode 0600, their folder 0700.  They are not synced: a crash takes the last lines along.
    So many are kept, and for so long; whoever begins one, or looks at them, removes what is over it, the oldest first.
    Everything blocks: a thread's work.
"""

import os
import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import msgspec

from mailgw.disk import Disk
from mailgw.mail.ports import WallClock

FOLDER: Final = "recordings"
MOST_FILES: Final = 100
KEPT_SECONDS: Final = 7 * 86_400.0
FILE_OCTETS: Final = 1 << 20
"""Read of one: a session's lines are far shorter (``wire.transcript.OCTETS``), each with some 40 octets around it."""
_HEAD_OCTETS: Final = 4096
# As ``receive.factory`` makes them.
_SESSION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")


@attrs.frozen
class RecordingHead:
    """``peer`` as in ``Client``; ``began`` in seconds since the epoch."""

    session_id: str
    role: str
    peer: str
    began: float


@attrs.frozen
class KeptRecording:
    """One on disk; ``ended`` when it was last written to."""

    head: RecordingHead
    ended: float
    size_octets: int


@attrs.frozen
class RecordedLine:
    """``at`` seconds after the session's beginning ``side`` said ``text``: "C" the client, "S" we; "" is what
    happened."""

    at: float
    side: str
    text: str


class RecordingFolder:
    """In the state folder; made with the first recording."""

    def __init__(self, state: str, disk: Disk, wall_clock: WallClock) -> None:
        self._path = os.path.join(state, FOLDER)
        self._disk = disk
        self._wall_clock = wall_clock

    def begin(self, head: RecordingHead) -> None:
        """OSError where it cannot be written."""
        self._disk.make_folder(self._path)
        self.tidy(MOST_FILES - 1)
        self._append(head.session_id, msgspec.json.encode(attrs.asdict(head)) + b"\n")

    def add(self, session_id: str, lines: Sequence[RecordedLine]) -> None:
        """Behind what is there; of one that was removed meanwhile nothing is written.  OSError as of ``begin``."""
        if self._has(session_id):
            octets = b"".join(msgspec.json.encode(attrs.asdict(line)) + b"\n" for line in lines)
            self._append(session_id, octets)

    def all(self) -> Sequence[KeptRecording]:
        """The newest first.  What cannot be read is left out."""
        self.tidy(MOST_FILES)
        found = []
        for session_id, modified, size in self._files():
            head = self._head(session_id)
            if head is not None:
                found.append(KeptRecording(head, modified, size))
        return sorted(found, key=lambda one: -one.head.began)

    def read(self, session_id: str) -> tuple[RecordingHead, Sequence[RecordedLine]] | None:
        """None where there is none, or it cannot be understood."""
        head = self._head(session_id)
        if head is None:
            return None
        octets = self._disk.read(self._file(session_id), 0, FILE_OCTETS)
        lines = []
        for line in octets.split(b"\n")[1:]:
            try:
                lines.append(msgspec.json.decode(line, type=_Line))
            except msgspec.DecodeError:
                continue  # what a crash or a full disk cut short
        return head, [RecordedLine(line.at, line.side, line.text) for line in lines]

    def remove(self, session_id: str) -> bool:
        """Whether there was one."""
        if not self._has(session_id):
            return False
        self._disk.remove(self._file(session_id))
        return True

    def tidy(self, most: int) -> None:
        """Remove what is too old, and the oldest beyond ``most``."""
        files = sorted(self._files(), key=lambda one: one[1])
        oldest = self._wall_clock() - KEPT_SECONDS
        for at, (session_id, modified, _) in enumerate(files):
            if modified < oldest or at < len(files) - most:
                self._disk.remove(self._file(session_id))

    # --- below ----------------------------------------------------------------------------------------------

    def _file(self, session_id: str) -> str:
        return os.path.join(self._path, f"{session_id}.jsonl")

    def _has(self, session_id: str) -> bool:
        if not _SESSION_ID.match(session_id):
            return False
        try:
            self._disk.facts(self._file(session_id))
        except FileNotFoundError:
            return False
        return True

    def _files(self) -> Sequence[tuple[str, float, int]]:
        """Each one's session, when it was written to, and its size."""
        try:
            names = self._disk.names(self._path)
        except FileNotFoundError:
            return []
        found = []
        for name in names:
            session_id, _, ending = name.partition(".")
            if ending != "jsonl" or not _SESSION_ID.match(session_id):
                continue
            try:
                facts = self._disk.facts(os.path.join(self._path, name))
            except FileNotFoundError:
                continue  # removed by another process
            found.append((session_id, facts.st_mtime, facts.st_size))
        return found

    def _head(self, session_id: str) -> RecordingHead | None:
        if not _SESSION_ID.match(session_id):
            return None
        try:
            octets = self._disk.read(self._file(session_id), 0, _HEAD_OCTETS)
        except FileNotFoundError:
            return None
        try:
            head = msgspec.json.decode(octets.partition(b"\n")[0], type=_Head)
        except msgspec.DecodeError:
            return None
        return RecordingHead(head.session_id, head.role, head.peer, head.began)

    def _append(self, session_id: str, octets: bytes) -> None:
        descriptor = self._disk.append(self._file(session_id))
        try:
            self._disk.write(descriptor, [octets])
        finally:
            self._disk.close(descriptor)


class _Head(msgspec.Struct):
    session_id: str
    role: str
    peer: str
    began: float


class _Line(msgspec.Struct):
    at: float
    side: str
    text: str


def as_json(kept: KeptRecording) -> dict[str, Any]:
    return {**attrs.asdict(kept.head), "ended": kept.ended, "size_octets": kept.size_octets}
