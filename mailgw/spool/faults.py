"""What a disk's or a database's trouble is to those who ask the spool: a TemporaryFault, never another thing."""

import errno
import sqlite3

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.reply import Reply

# RFC 3463 s3.4: X.3.1 mail system full.  RFC 5321 s4.2.3: 452 insufficient system storage.
NO_ROOM = Reply(452, "4.3.1", ("Insufficient system storage, please try again later",))
_FULL = (errno.ENOSPC, errno.EDQUOT)


def no_room() -> TemporaryFault:
    return TemporaryFault("the spool's disk is full", NO_ROOM)


def is_foreseen(error: BaseException) -> bool:
    """Whether it is the world's fault (a disk, a database), not a bug of ours."""
    return isinstance(error, (OSError, sqlite3.OperationalError, sqlite3.DatabaseError, TemporaryFault))


def fault_of(error: BaseException) -> TemporaryFault:
    """The TemporaryFault to raise for ``error``: 452 4.3.1 where the disk is full, else 451 4.3.0."""
    if isinstance(error, TemporaryFault):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return no_room()
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return no_room()
    return TemporaryFault(f"spool: {type(error).__name__}: {error}")
