"""What waits in the maildrop, for people: the part of ``mailq`` that no gateway has to answer.

Rules:
    Files belong to whoever left them: no name but a plain file's own is opened, and nothing of one that cannot be read
    is shown.
"""

import os
import stat
import sys
import time
from collections.abc import Iterator
from typing import Final

import attrs

from mailgw.config.files import user_name
from mailgw.mail.dropped import BAD, GROUP_READS, MOST_HEAD_OCTETS, BadDrop, Drop, read_drop
from mailgw.terminal import harmless, say

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@attrs.frozen
class Left:
    """One file: ``since`` in epoch seconds; ``drop`` None where it cannot be read, and ``why``; ``size_octets`` of the
    message, then of the file."""

    name: str
    since: float
    uid: int
    size_octets: int
    is_whole: bool
    drop: Drop | None
    why: str = ""


def say_maildrop(folder: str) -> None:
    """Print what is in it, the oldest first; nothing where nothing is.  Fault as of ``say``."""
    try:
        found = left_in(folder)
    except OSError as fault:
        if not isinstance(fault, FileNotFoundError | NotADirectoryError):
            print(f"mailgw: the maildrop {folder} cannot be listed: {fault.strerror}", file=sys.stderr)
        return
    if not found:
        return
    say(f"in the maildrop {folder}, and not in the queue yet:")
    for one in found:
        for line in _lines(one):
            say(line)
    say(f"{len(found)} message{'' if len(found) == 1 else 's'}")


def left_in(folder: str) -> list[Left]:
    """OSError where the folder cannot be listed."""
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return sorted((one for name in names for one in _left(folder, name)), key=lambda one: (one.since, one.name))


def _left(folder: str, name: str) -> Iterator[Left]:
    """Nothing where it has just gone, or is no file."""
    path = os.path.join(folder, name)
    try:
        facts = os.lstat(path)
    except OSError:
        return
    if not stat.S_ISREG(facts.st_mode):
        return
    drop, size, why = None, facts.st_size, ""
    try:
        with open(os.open(path, _FLAGS), "rb") as opened:
            head = opened.readline(MOST_HEAD_OCTETS + 1)
        drop = read_drop(head)[0]
        size -= len(head)
    except FileNotFoundError:
        return
    except OSError as fault:
        why = str(fault.strerror)
    except BadDrop:
        why = "its first line is no JSON of a message"
    yield Left(name, facts.st_mtime, facts.st_uid, size, bool(facts.st_mode & GROUP_READS), drop, why)


def _lines(one: Left) -> Iterator[str]:
    since = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(one.since))
    sender = "?" if one.drop is None else harmless(one.drop.reverse_path) or "<>"
    mark = ", cannot be sent: the log says why" if one.name.endswith(BAD) else "" if one.is_whole else ", not whole yet"
    yield f"{harmless(one.name)}  {since}  {one.size_octets} octets  from {sender}, user {user_name(one.uid)}{mark}"
    if one.drop is None:
        yield f"    {one.why}"
    else:
        for recipient in one.drop.recipients:
            yield f"    {harmless(recipient)}"
