"""The door to the disk: files that are whole, and folders that last."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mailgw.disk import Disk
from mailgw.testing.disk import MemoryDisk
from tests.tables import each

STEPS = ("create", "write", "sync", "close", "rename", "remove", "sync_folder", "new_folder")


class Stopped(Exception):
    pass


class BrittleDisk(Disk):
    """Stops before the step of that number, with an error of ours; notes the steps."""

    def __init__(self, steps: int, error: Exception) -> None:
        self.done: list[str] = []
        self._left = steps
        self._error = error

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._step(name, found) if name in STEPS else found

    def _step(self, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            if self._left == 0:
                raise self._error
            self._left -= 1
            self.done.append(name)
            return step(*args)

        return counted


def test_an_atomic_write_is_synced_before_and_after_the_rename(tmp_path: Path) -> None:
    disk = BrittleDisk(-1, Stopped())
    disk.write_atomically(str(tmp_path / "file"), b"new", 0o640)
    assert disk.done == ["remove", "create", "write", "sync", "close", "rename", "sync_folder"]
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


@each("steps", range(7))
def test_a_crash_leaves_the_old_file_or_the_new_one(tmp_path: Path, steps: int) -> None:
    path = tmp_path / str(steps) / "file"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(Stopped):
        BrittleDisk(steps, Stopped()).write_atomically(str(path), b"new")
    assert path.read_bytes() in (b"old", b"new")
    Disk().write_atomically(str(path), b"newer")  # the crash's leftover is no obstacle
    assert path.read_bytes() == b"newer"
    assert os.listdir(path.parent) == ["file"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    class RefusingDisk(Disk):
        def write(self, descriptor: int, chunks: Any) -> None:
            raise OSError("full")

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(OSError, match="full"):
        RefusingDisk().write_atomically(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_made_with_those_above_it_and_each_parent_synced(tmp_path: Path) -> None:
    disk = BrittleDisk(-1, Stopped())
    disk.make_folder(str(tmp_path / "a" / "b"))
    assert disk.done == ["new_folder", "sync_folder"] * 2
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    disk.make_folder(str(tmp_path / "a" / "b"))
    assert len(disk.done) == 4


def test_a_folder_that_somebody_else_makes_meanwhile(tmp_path: Path) -> None:
    class LateDisk(Disk):
        def new_folder(self, path: str) -> None:
            os.mkdir(path)
            super().new_folder(path)

    LateDisk().make_folder(str(tmp_path / "a"))
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        Disk().make_folder(str(tmp_path / "file"))


@each("disk", [Disk(), MemoryDisk()])
def test_append_read_names_and_space(tmp_path: Path, disk: Disk) -> None:
    disk.make_folder(str(tmp_path))
    path = str(tmp_path / "file")
    for chunks in ([b"ab", b"c"], [b"de"]):
        descriptor = disk.append(path)
        disk.write(descriptor, chunks)
        disk.close(descriptor)
    assert disk.read(path, 1, 3) == b"bcd"
    assert disk.read(path, 1, 100) == b"bcde"
    assert disk.read(path, 9, 1) == b""
    assert disk.names(str(tmp_path)) == ["file"]
    disk.remove(path)
    disk.remove(path)
    assert disk.free_octets(str(tmp_path)) > 0


def test_a_write_goes_on_where_the_system_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, bytes(octets[:3])))
    disk = Disk()
    descriptor = disk.create(str(tmp_path / "file"))
    disk.write(descriptor, [b"0123456789"])
    disk.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_a_folder_whose_name_is_not_on_disk_is_made_again(tmp_path: Path) -> None:
    class Refusing(Disk):
        refuses = True

        def sync_folder(self, path: str) -> None:
            if self.refuses:
                raise OSError(5, "Input/output error")
            synced.append(path)

    synced: list[str] = []
    disk = Refusing()
    with pytest.raises(OSError, match="Input/output"):
        disk.make_folder(str(tmp_path / "new"))
    disk.refuses = False
    disk.make_folder(str(tmp_path / "new"))
    assert synced == [str(tmp_path)]


def orders(disk: Disk, top: str) -> Iterator[Callable[[], object]]:
    """One after the other, some of which fail."""
    yield lambda: disk.make_folder(f"{top}/a/b")
    yield lambda: disk.create(f"{top}/none/x")
    yield lambda: disk.write_atomically(f"{top}/a/x", b"one")
    yield lambda: disk.create(f"{top}/a/x")
    yield lambda: disk.write_atomically(f"{top}/a/x", b"two")
    yield lambda: disk.new_folder(f"{top}/a")
    yield lambda: disk.new_folder(f"{top}/none/a")
    yield lambda: disk.rename(f"{top}/a/none", f"{top}/a/y")
    yield lambda: disk.rename(f"{top}/a/x", f"{top}/none/y")
    yield lambda: disk.rename(f"{top}/a/x", f"{top}/a/b/y")
    yield lambda: disk.sync_folder(f"{top}/none")
    yield lambda: disk.read(f"{top}/a/x", 0, 9)
    yield lambda: disk.read(f"{top}/a/b/y", 1, 9)
    yield lambda: disk.names(f"{top}/none")
    yield lambda: disk.names(f"{top}/a")
    yield lambda: disk.is_folder(f"{top}/a/b")
    yield lambda: disk.is_folder(f"{top}/a/b/y")
    yield lambda: disk.is_folder(f"{top}/a/b/y/z")
    yield lambda: [disk.may_write(f"{top}/{name}") for name in ("a", "none")]
    yield lambda: disk.remove(f"{top}/a/none")
    yield lambda: disk.open_shared(f"{top}/a/none")
    yield lambda: disk.create_shared(f"{top}/a/b/y")
    yield lambda: appended(disk, disk.open_shared(f"{top}/a/b/y"))
    yield lambda: appended(disk, disk.create_shared(f"{top}/a/z"))
    yield lambda: disk.facts(f"{top}/a/none")
    yield lambda: [stat.S_IFMT(disk.facts(f"{top}/a/{name}").st_mode) for name in ("b", "z")]


def appended(disk: Disk, descriptor: int) -> object:
    """Two octets more, of which one stays."""
    assert disk.try_lock(descriptor)
    before = disk.facts(descriptor).st_size
    disk.write(descriptor, [b"x", b"y"])
    disk.truncate(descriptor, before + 1)
    found = disk.read_at(descriptor, 0, 9), disk.facts(descriptor).st_size
    disk.close(descriptor)
    return found


def test_a_disk_in_memory_does_what_a_disk_does(tmp_path: Path) -> None:
    found: list[list[object]] = []
    for disk in (Disk(), MemoryDisk()):
        disk.make_folder(str(tmp_path))
        results: list[object] = []
        for order in orders(disk, str(tmp_path)):
            try:
                results.append(order())
            except OSError as fault:
                results.append(errno.errorcode[fault.errno or 0])
        found.append(results)
    assert found[0] == found[1]
    for result in ("ENOENT", "EEXIST", b"wo", True, False, (b"twox", 4), (b"x", 1)):
        assert result in found[0]


def test_a_disk_in_memory_leaves_the_real_one_alone() -> None:
    of_steps = {"write_atomically"}
    steps = {name for name, one in vars(Disk).items() if callable(one) and not name.startswith("_")}
    assert steps - set(vars(MemoryDisk)) == of_steps


def test_a_disk_in_memory_forgets_what_was_not_synced() -> None:
    disk = MemoryDisk()
    disk.make_folder("/a")
    disk.write_atomically("/a/kept", b"whole")
    for name, is_synced in (("torn", False), ("nameless", True)):
        descriptor = disk.create(f"/a/{name}")
        disk.write(descriptor, [b"x"])
        if is_synced:
            disk.sync(descriptor)
        else:
            disk.sync_folder("/a")
    disk.new_folder("/b")
    disk.crash()
    assert disk.names("/a") == ["kept", "torn"]
    assert disk.read("/a/kept", 0, 9) == b"whole"
    assert disk.read("/a/torn", 0, 9) == b""
    assert not disk.is_folder("/b")


def test_what_a_stranger_put_there_is_not_waited_for(tmp_path: Path) -> None:
    disk = Disk()
    os.mkfifo(tmp_path / "fifo")
    descriptor = disk.open_to_read(str(tmp_path / "fifo"))
    assert stat.S_ISFIFO(disk.facts(descriptor).st_mode)
    disk.close(descriptor)
    (tmp_path / "link").symlink_to("fifo")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        disk.open_to_read(str(tmp_path / "link"))


def test_where_the_sticky_bit_keeps_us_from_removing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o1777)
    user = os.getuid()
    for ours, may in ((user, True), (user + 1, user + 1 == 0), (0, True)):
        monkeypatch.setattr(os, "geteuid", lambda ours=ours: ours)
        assert Disk().may_write(str(tmp_path)) is may
