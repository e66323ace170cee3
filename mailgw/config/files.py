"""Small files that the configuration's commands write: passwd-files, and what a trial keeps."""

import fcntl
import os
from collections.abc import Callable

from mailgw.disk import Disk

Owner = tuple[int, int]
"""A user's and a group's number."""


def replace(path: str, octets: bytes, owner: Owner | None) -> None:
    """The file at ``path`` is ``octets``, durably: the old one or the new one, never half.

    A new file has mode 0600, an old one keeps its mode: an operator's ``root:mailgw 0640`` must stay readable.
    Written as root it belongs to ``owner``, else to whom the old one belonged.  OSError leaves the old one.
    """
    disk = Disk()
    mode = 0o600
    try:
        old = os.stat(path)
        owner, mode = owner or (old.st_uid, old.st_gid), old.st_mode & 0o777
    except FileNotFoundError:
        pass
    beside = f"{path}.{os.getpid()}.new"
    disk.remove(beside)
    descriptor = disk.create(beside)
    try:
        try:
            disk.write(descriptor, [octets])
            if owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
        disk.rename(beside, path)
    except OSError:
        disk.remove(beside)
        raise
    disk.sync_folder(os.path.dirname(path) or ".")


def change(path: str, new: Callable[[bytes], bytes]) -> None:
    """Replace a file by what ``new`` makes of it (of ``b""`` where it does not exist); two commands that do so
    at once wait for each other."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            with open(path, "rb") as opened:
                old = opened.read()
        except FileNotFoundError:
            old = b""
        replace(path, new(old), None)
    finally:
        os.close(folder)
