"""A disk in memory, which forgets at a crash what was never synced: a file's octets until the file is, its name until
its folder is."""

import errno
import os
import stat
from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

import attrs

from mailgw.disk import Disk
from mailgw.mail.ports import WallClock
from mailgw.testing.power import Power

T = TypeVar("T")


@attrs.define(eq=False)
class _Inode:
    number: int
    changed: float
    octets: bytes = b""
    synced: bytes = b""


class MemoryDisk(Disk):
    """``power`` is that of the life that uses it; ``errors`` maps the beginning of a step (``"create /mail/new"``) to
    the errno that it fails with."""

    def __init__(self, wall_clock: WallClock = lambda: 0.0) -> None:
        self._wall_clock = wall_clock
        self.power = Power()
        self.errors: dict[str, int] = {}
        self.free = 1 << 40
        self._files: dict[str, _Inode] = {}
        self._lasting_files: dict[str, _Inode] = {}
        self._folders: set[str] = {"/"}
        self._lasting_folders: set[str] = {"/"}
        self._open: dict[int, tuple[_Inode, str]] = {}
        self._descriptors = count(3)

    def crash(self) -> None:
        """Forget what was not synced; no file is open any more."""
        self._open.clear()
        self._files = dict(self._lasting_files)
        self._folders = set(self._lasting_folders)
        for inode in self._files.values():
            inode.octets = inode.synced

    def holds(self, octets: bytes) -> bool:
        """Whether they stand in a file."""
        return any(octets in inode.octets for inode in self._files.values())

    # --- steps ----------------------------------------------------------------------------------------------

    def create(self, path: str) -> int:
        def do() -> int:
            if path in self._files or path in self._folders:
                raise _fault(errno.EEXIST, path)
            return self._opened(path)

        return self._step(f"create {path}", do)

    def append(self, path: str) -> int:
        return self._step(f"append {path}", lambda: self._opened(path))

    def write(self, descriptor: int, chunks: Sequence[bytes]) -> None:
        inode, path = self._open[descriptor]

        def do() -> None:
            inode.octets += b"".join(chunks)
            inode.changed = self._wall_clock()

        self._step(f"write {path}", do)

    def sync(self, descriptor: int) -> None:
        inode, path = self._open[descriptor]

        def do() -> None:
            inode.synced = inode.octets

        self._step(f"sync {path}", do)

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def rename(self, old: str, new: str) -> None:
        def do() -> None:
            self._demand_folder(new)
            if old not in self._files:
                raise _fault(errno.ENOENT, old)
            self._files[new] = self._files.pop(old)

        self._step(f"rename {new}", do)

    def remove(self, path: str) -> None:
        self._step(f"remove {path}", lambda: self._files.pop(path, None))

    def sync_folder(self, path: str) -> None:
        def do() -> None:
            if path not in self._folders:
                raise _fault(errno.ENOENT, path)
            self._lasting_files = {
                name: inode for name, inode in self._lasting_files.items() if os.path.dirname(name) != path
            } | {name: inode for name, inode in self._files.items() if os.path.dirname(name) == path}
            self._lasting_folders |= {one for one in self._folders if os.path.dirname(one) == path}

        self._step(f"sync_folder {path}", do)

    def new_folder(self, path: str) -> None:
        def do() -> None:
            self._demand_folder(path)
            if path in self._folders or path in self._files:
                raise _fault(errno.EEXIST, path)
            self._folders.add(path)

        self._step(f"new_folder {path}", do)

    # --- steps with a file that others write, too -----------------------------------------------------------

    def open_shared(self, path: str) -> int:
        if path not in self._files:
            raise _fault(errno.ENOENT, path)
        return self._step(f"open_shared {path}", lambda: self._opened(path))

    def open_to_read(self, path: str) -> int:
        return self.open_shared(path)

    def create_shared(self, path: str) -> int:
        return self.create(path)

    def try_lock(self, descriptor: int) -> bool:
        return True  # there is no other process

    def truncate(self, descriptor: int, octets: int) -> None:
        inode, path = self._open[descriptor]

        def do() -> None:
            inode.octets = inode.octets[:octets]

        self._step(f"truncate {path}", do)

    def read_at(self, descriptor: int, offset: int, limit_octets: int) -> bytes:
        return self._open[descriptor][0].octets[offset:offset + limit_octets]

    def facts(self, where: int | str) -> os.stat_result:
        if isinstance(where, str) and where in self._folders:
            return _facts(stat.S_IFDIR | 0o700, 0, 0, 0.0)
        if isinstance(where, str) and where not in self._files:
            raise _fault(errno.ENOENT, where)
        inode = self._open[where][0] if isinstance(where, int) else self._files[where]
        return _facts(stat.S_IFREG | 0o600, inode.number, len(inode.octets), inode.changed)

    # --- questions ------------------------------------------------------------------------------------------

    def read(self, path: str, offset: int, limit_octets: int) -> bytes:
        if path not in self._files:
            raise _fault(errno.ENOENT, path)
        return self._files[path].octets[offset:offset + limit_octets]

    def names(self, path: str) -> list[str]:
        if path not in self._folders:
            raise _fault(errno.ENOENT, path)
        return sorted(os.path.basename(one) for one in (*self._files, *self._folders) if os.path.dirname(one) == path)

    def is_folder(self, path: str) -> bool:
        return path in self._folders

    def may_write(self, path: str) -> bool:
        return path in self._folders and f"may_write {path}" not in self.errors

    def free_octets(self, path: str) -> int:
        return self.free

    def make_folder(self, path: str) -> None:
        path = os.path.abspath(path)
        if path in self._folders:
            return
        parent = os.path.dirname(path)
        self.make_folder(parent)
        self.new_folder(path)
        self.sync_folder(parent)

    # --- helpers --------------------------------------------------------------------------------------------

    def _step(self, what: str, do: Callable[[], T]) -> T:
        for start, number in self.errors.items():
            if what.startswith(start):
                raise _fault(number, what)
        return self.power.step(what, do)

    def _opened(self, path: str) -> int:
        self._demand_folder(path)
        descriptor = next(self._descriptors)
        inode = self._files.setdefault(path, _Inode(descriptor, self._wall_clock()))
        self._open[descriptor] = (inode, path)
        return descriptor

    def _demand_folder(self, path: str) -> None:
        if os.path.dirname(path) not in self._folders:
            raise _fault(errno.ENOENT, path)


def _facts(mode: int, number: int, size: int, changed: float) -> os.stat_result:
    return os.stat_result((mode, number, 1, 1, os.getuid(), os.getgid(), size, changed, changed, changed))


def _fault(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
