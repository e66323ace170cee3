"""Reads what strace wrote, and says whether things reached the disk in an order that survives a power cut.

``kill -9`` leaves the page cache whole, so a test that only kills cannot see a missing fsync.  The system
calls can: a call counts from where it began to where it ended, both as numbers of lines in the trace.
Durable(x) before y means that a sync of x's file *began* after the writing of x ended, and *ended* before y began.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import attrs

CALLS = (
    "openat,mkdir,mkdirat,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "write,writev,pwrite64,pwritev,sendto,sendmsg"
)
STRACE = ("strace", "-f", "-yy", "-s", "5000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o")

WRITES = frozenset({"write", "writev", "pwrite64", "pwritev"})
SENDS = frozenset({"write", "writev", "sendto", "sendmsg"})
SYNCS = frozenset({"fsync", "fdatasync"})
MAKES = frozenset({"mkdir", "mkdirat"})
MOVES = frozenset({"rename", "renameat", "renameat2", "link", "linkat"})

_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += +(-?\d+|\?)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>\Z")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += +(-?\d+|\?)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@attrs.frozen
class Call:
    name: str
    arguments: str
    result: int
    began: int
    ended: int

    @property
    def path(self) -> str:
        """The file that the first descriptor names; ``""`` where it is a socket or there is none."""
        found = re.match(r"\d+<(/[^>]*)>", self.arguments)
        return found[1] if found else ""

    @property
    def is_to_network(self) -> bool:
        return self.name in SENDS and re.match(r"\d+<TCP", self.arguments) is not None

    @property
    def names(self) -> list[str]:
        """The paths in the arguments of a move, absolute as the gateway gives them."""
        return _QUOTED.findall(self.arguments)


class Broken(AssertionError):
    """The order does not survive a power cut."""


def parse(lines: Iterable[str]) -> list[Call]:
    """The calls that succeeded, in the order of their ends."""
    calls: list[Call] = []
    begun: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines):
        line = line.rstrip("\n")
        if found := _BEGUN.match(line):
            begun[found[1], found[2]] = number, found[3]
        elif found := _RESUMED.match(line):
            start, arguments = begun.pop((found[1], found[2]), (number, ""))
            _add(calls, found[2], arguments + found[3], found[4], start, number)
        elif found := _WHOLE.match(line):
            _add(calls, found[2], found[3], found[4], number, number)
    return calls


def _add(calls: list[Call], name: str, arguments: str, result: str, began: int, ended: int) -> None:
    if result.isdigit():
        calls.append(Call(name, arguments, int(result), began, ended))


def acknowledgement(calls: Sequence[Call], queue_id: str) -> Call:
    """The writing of the 250 that took responsibility: the one that names the queue id."""
    return _first(
        calls, lambda c: c.is_to_network and '"250' in c.arguments and queue_id in c.arguments, "a 250 to the client"
    )


def check_row(calls: Sequence[Call], needle: str, before: Call) -> Call:
    """``needle`` stands in the database's WAL, synced, before ``before`` began.  Returns the sync."""
    written = _last(
        calls,
        lambda c: c.name in WRITES and c.path.endswith("-wal") and needle in c.arguments and c.ended < before.began,
        f"{needle!r} written to the WAL before the acknowledgement",
    )
    return _synced(calls, written, before, "the WAL")


def check_body(calls: Sequence[Call], needle: str, state: str, before: Call) -> None:
    """A body in a file of its own below the folder ``state``, and that file's name in its folder, synced before
    ``before`` began."""
    written = _last(
        calls,
        lambda c: c.name in WRITES and needle in c.arguments and c.ended < before.began
        and c.path.startswith(f"{state}/") and not c.path.endswith("-wal"),
        f"{needle!r} written to a body file before the acknowledgement",
    )
    last = _last(
        calls, lambda c: c.name in WRITES and c.path == written.path and c.ended < before.began, "the body's last write"
    )
    _synced(calls, last, before, "the body file")
    moves = [c for c in calls if c.name in MOVES and c.names[0] == written.path and c.ended < before.began]
    name, since = (moves[-1].names[1], moves[-1]) if moves else (written.path, _created(calls, written.path))
    _folder_synced(calls, name, since, before)
    _new_folders_synced(calls, name, before)


def check_delivery(calls: Sequence[Call], needle: str, maildir: str, after: Call) -> None:
    """The Maildir's file is synced before it shows in new/, new/ before the queue's next transaction, which
    forgets the message, is written.  ``after`` is the commit of the message."""
    written = _last(
        calls, lambda c: c.name in WRITES and needle in c.arguments and c.path.startswith(f"{maildir}/tmp/"),
        f"{needle!r} written to {maildir}/tmp",
    )
    last = _last(calls, lambda c: c.name in WRITES and c.path == written.path, "the last write to the Maildir's file")
    shown = _first(
        calls,
        lambda c: c.name in MOVES and c.names[0] == written.path and c.names[1].startswith(f"{maildir}/new/"),
        f"{written.path} moved into new/",
    )
    _synced(calls, last, shown, "the Maildir's file")
    forgotten = _first(
        calls, lambda c: c.name in WRITES and c.path.endswith("-wal") and c.began > after.ended,
        "a transaction after the delivery",
    )
    _folder_synced(calls, shown.names[1], shown, forgotten)
    _new_folders_synced(calls, shown.names[1], forgotten)


def _created(calls: Sequence[Call], path: str) -> Call:
    return _first(calls, lambda c: c.name == "openat" and "O_CREAT" in c.arguments and path in c.names, f"{path} made")


def _synced(calls: Sequence[Call], written: Call, before: Call, what: str) -> Call:
    return _first(
        calls,
        lambda c: c.name in SYNCS and c.path == written.path and c.began > written.ended and c.ended < before.began,
        f"a sync of {what} ({written.path}) between lines {written.ended} and {before.began}",
    )


def _folder_synced(calls: Sequence[Call], name: str, since: Call, before: Call) -> Call:
    folder = name.rpartition("/")[0] or "/"
    return _first(
        calls,
        lambda c: c.name in SYNCS and c.path == folder and c.began > since.ended and c.ended < before.began,
        f"a sync of the folder {folder} between lines {since.ended} and {before.began}",
    )


def _new_folders_synced(calls: Sequence[Call], name: str, before: Call) -> None:
    """Folders above ``name`` that were made in this trace: their own names are synced, too."""
    for made in calls:
        if made.name in MAKES and made.ended < before.began and name.startswith(f"{made.names[0]}/"):
            _folder_synced(calls, made.names[0], made, before)


def _first(calls: Sequence[Call], is_it: Callable[[Call], bool], what: str) -> Call:
    for call in calls:
        if is_it(call):
            return call
    raise Broken(f"not in the trace: {what}")


def _last(calls: Sequence[Call], is_it: Callable[[Call], bool], what: str) -> Call:
    return _first(calls[::-1], is_it, what)
