"""A spool's folder: what is where in it, and the lock that gives it to one process."""

import fcntl
import os

from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault

DATABASE = "queue.sqlite"
_LOCK = "lock"


def database_path(folder: str) -> str:
    return os.path.join(folder, DATABASE)


def lock_folder(folder: str, disk: Disk) -> int:
    """Make the folder where it is missing, and take it; the descriptor that holds the lock until it is closed.

    TemporaryFault where another process has it; OSError where the folder cannot be used.
    """
    disk.make_folder(folder)
    path = os.path.join(folder, _LOCK)
    # flock, not the POSIX locks: those are lost when any descriptor of the file is closed.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise TemporaryFault(f"{folder}: the queue is in use by process {holder or '(unknown)'}") from None
    except OSError:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor
