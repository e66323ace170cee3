"""Small files that the configuration's commands write, and the user that they and all others belong to."""

import fcntl
import os
import pwd
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mailgw.disk import Disk

PYTHON = tuple(dict.fromkeys((os.path.dirname(os.path.dirname(__file__)), sys.prefix, sys.base_prefix)))

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


def make_state(path: str, owner: Owner | None) -> None:
    """The state folder, for its owner alone; made by root it belongs to ``owner``.  One that is there stays as
    it is."""
    if not os.path.isdir(path):
        os.makedirs(path, mode=0o700)
        if owner is not None and os.geteuid() == 0:
            os.chown(path, *owner)


@contextmanager
def acting_as(owner: Owner) -> Iterator[None]:
    """Root, as another user: for questions of who may read what.  Others stay who they are."""
    if os.geteuid() != 0:
        yield
        return
    uid, gid = owner
    groups, root_gid = os.getgroups(), os.getegid()
    os.setgroups(_groups(uid, gid))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(root_gid)
        os.setgroups(groups)


def python_fault(owner: Owner, folders: Sequence[str] = PYTHON) -> str | None:
    """Why root's program may fail as ``owner``: not all modules are loaded by then."""
    with acting_as(owner):
        for folder in folders:
            if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
                return (
                    f"user {user_name(owner[0])}, as whom mailgw will run, may not read Python in {folder}; "
                    "install mailgw where that user can read it, for instance /opt/mailgw"
                )
    return None


def folder_fault(path: str) -> str | None:
    """Why ``path`` cannot be, or be made, a folder that this user may write; None where it can."""
    if os.path.isdir(path):
        return _write_fault(path, "this user may not write there")
    if os.path.lexists(path):
        return "is not a folder"
    parent = os.path.dirname(path)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        return f"{parent} is not a folder"
    return _write_fault(parent, f"this user may not make it in {parent}")


def _write_fault(folder: str, forbidden: str) -> str | None:
    # The answer for root is yes, even in /proc; a file system without a single block shows those up.
    if os.statvfs(folder).f_blocks == 0:
        return f"{folder} is on no disk: nothing can be kept there"
    return None if os.access(folder, os.W_OK | os.X_OK, effective_ids=True) else forbidden


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _groups(uid: int, gid: int) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:  # a number without a name
        return [gid]
