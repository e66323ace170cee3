"""The door to the disk: durable file writes, in steps of which each is one that a crash may fall before.

Rules:
    A file is on disk when its content is synced and the folder that holds its name is synced too.
    A file that others read is written beside its place, synced, and renamed into it; then the folder is synced.
    Nothing here retries or hides an error: ``OSError`` is the caller's to judge.  After a failed sync the
    pages may be gone, so the file is written anew or given up, never synced again.
Everything blocks, so the reactor's thread calls none of it but ``free_octets``.  Tests hand in a ``Disk`` that
stops at a step, or forgets what was not synced.
"""

import fcntl
import os
import stat
from collections.abc import Sequence
from typing import Final

NEW: Final = ".new"
"""At the end of the name of what ``write_atomically`` has not finished."""


class Disk:
    """The real disk.  All paths as the caller likes them; new files have mode 0600, new folders 0700."""

    # --- steps ------------------------------------------------------------------------------------

    def create(self, path: str) -> int:
        """A descriptor to write a new file with; FileExistsError where there is one."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def append(self, path: str) -> int:
        """A descriptor to write on at the end of a file, which is made where it is missing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, chunks: Sequence[bytes]) -> None:
        """All of ``chunks``, in order; after an OSError any part of them."""
        octets = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        written = os.write(descriptor, octets)
        while written < len(octets):
            written += os.write(descriptor, memoryview(octets)[written:])

    def sync(self, descriptor: int) -> None:
        """The file's content and size are on disk."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """In one step; what was at ``new`` is gone."""
        os.rename(old, new)

    def remove(self, path: str) -> None:
        """Remove a file; one that is missing is no fault."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def sync_folder(self, path: str) -> None:
        """The names in the folder are on disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def new_folder(self, path: str) -> None:
        """One folder below one that exists; FileExistsError where there is one."""
        os.mkdir(path, 0o700)

    # --- steps with a file that others write, too -------------------------------------------------

    def open_shared(self, path: str) -> int:
        """A descriptor to read, and to write on at the end.  FileNotFoundError where there is none; OSError (ELOOP)
        where the name is a symbolic link."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def create_shared(self, path: str) -> int:
        """The same, of a new file; FileExistsError where there is one."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def try_lock(self, descriptor: int) -> bool:
        """Take the whole file for this process alone (fcntl), until the next ``close`` of any of its descriptors; False
        where another process has it."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # POSIX: EAGAIN or EACCES
            return False
        return True

    def open_to_read(self, path: str) -> int:
        """A descriptor of whatever a stranger put there: nothing is waited for, as of a FIFO.  OSError (ELOOP) where
        the name is a symbolic link."""
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)

    def truncate(self, descriptor: int, octets: int) -> None:
        """What is behind the first ``octets`` is gone."""
        os.ftruncate(descriptor, octets)

    def read_at(self, descriptor: int, offset: int, limit_octets: int) -> bytes:
        return os.pread(descriptor, limit_octets, offset)

    def facts(self, where: int | str) -> os.stat_result:
        """Of a descriptor, or of what has that name (a symbolic link itself)."""
        return os.stat(where) if isinstance(where, int) else os.lstat(where)

    # --- questions --------------------------------------------------------------------------------

    def read(self, path: str, offset: int, limit_octets: int) -> bytes:
        """At most ``limit_octets`` from ``offset``; fewer at the end of the file alone."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            octets = os.pread(descriptor, limit_octets, offset)
            while octets and len(octets) < limit_octets:
                more = os.pread(descriptor, limit_octets - len(octets), offset + len(octets))
                if not more:
                    break
                octets += more
            return octets
        finally:
            os.close(descriptor)

    def names(self, path: str) -> list[str]:
        """What is in a folder, sorted."""
        return sorted(os.listdir(path))

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder.  OSError where that cannot be known."""
        try:
            return stat.S_ISDIR(os.stat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def may_write(self, path: str) -> bool:
        """Whether this process may make and remove files in that folder, those of others, too: by its mode (with the
        sticky bit its owner may alone), and by how it is mounted."""
        if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
            return False
        facts, user = os.stat(path), os.geteuid()
        return not facts.st_mode & stat.S_ISVTX or user in (0, facts.st_uid)

    def free_octets(self, path: str) -> int:
        """What is left for us on the disk that holds ``path``; 0 where no file can be made any more."""
        facts = os.statvfs(path)
        # Some file systems count no inodes (btrfs: f_files 0).
        return 0 if facts.f_files and not facts.f_favail else facts.f_bavail * facts.f_frsize

    # --- made of steps ----------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        """The folder and those above it exist, and so they will after a crash."""
        path = os.path.abspath(path)
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        self.make_folder(parent)
        try:
            self.new_folder(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        try:
            self.sync_folder(parent)
        except OSError:
            # A folder that stands, though its name is not on disk, would be taken for safe the next time.
            try:
                os.rmdir(path)
            except OSError:
                pass  # somebody uses it already, and syncs what is his
            raise

    def write_atomically(self, path: str, octets: bytes, mode: int = 0o600) -> None:
        """The file at ``path`` is ``octets``, durably; a crash leaves the old one or the new one, whole.

        ``<path>.new`` is in use meanwhile, so two writers of one file must exclude each other.
        On an OSError the old file stands.
        """
        beside = path + NEW
        self.remove(beside)  # a crash's leftover
        descriptor = self.create(beside)
        try:
            try:
                self.write(descriptor, [octets])
                if mode != 0o600:
                    os.fchmod(descriptor, mode)
                self.sync(descriptor)
            finally:
                self.close(descriptor)
            self.rename(beside, path)
        except OSError:
            self.remove(beside)
            raise
        self.sync_folder(os.path.dirname(path) or ".")
