"""Mailboxes of one file each: mbox (RFC 4155; mboxrd and mboxo as https://doc.dovecot.org and qmail's mbox(5) have
them), durable appends to them, and locks that other programs heed.

Not done: reading, Content-Length, lockf over several hosts beyond what NFS makes of it.

Rules:
    A mailbox's file is its own, as a Maildir is: the same templates, so no local part leaves its place.  None has a
    name that ends in ``.lock``, which is another's lock.
    Who writes has the dotlock (``<file>.lock``) first, then an fcntl lock on the file: the order of Postfix
    (mbox_open.c) and of Dovecot (mbox_write_locks).  Nobody waits here: whoever does not get both is told so.
    A dotlock is stale when it is older than ``STALE_SECONDS``, or when its process, on this host, is no more.  One
    holds ``PID:HOST``, as Dovecot's do.
    A message is appended and synced before it is delivered, with the folder where the file is new.  Where that fails,
    the file ends again where it did before.
    After a crash the file may end in a part of a message, which nobody was told is delivered.  It stays, since nobody
    knows any more that it is ours, and is closed by an empty line before the next message: so it costs no other.
Everything but the text blocks: it is called in threads.
"""

import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Sequence
from typing import Final

import attrs
from twisted.logger import Logger

from mailgw.disk import Disk
from mailgw.mail.address import Mailbox, is_shapely
from mailgw.mail.envelope import path_text
from mailgw.mail.header import asctime_text
from mailgw.mail.ports import WallClock
from mailgw.store.maildir import LineFeeds, folder_of, template_fault

log = Logger()

STALE_SECONDS: Final = 500.0
"""Postfix's stale_lock_time."""
DOTLOCK = ".lock"


# --- whose file is where ------------------------------------------------------------------------------------

def mbox_fault(template: str) -> str | None:
    """Why ``template`` is no path for mailboxes of one file each, or None."""
    if template.endswith("/"):
        return "expected the path of a file, which has a name"
    if template.endswith(DOTLOCK):
        return f"no mailbox has a name that ends in {DOTLOCK}: locks do"
    return template_fault(template)


def mbox_of(template: str, mailbox: Mailbox) -> str:
    """The mailbox's file.  ``template`` has no fault."""
    path = folder_of(template, mailbox)
    # What is put in has "%" alone before two hexadecimal digits of an unsafe octet, so this is no other's name.
    return f"{path[:-len(DOTLOCK)]}%2elock" if path.endswith(DOTLOCK) else path


# --- what is written ------------------------------------------------------------------------------------------

# A line that a reader takes for the next message's first.  mboxrd quotes what is quoted, too, so that it can be undone.
_FROM = {True: re.compile(rb"^(>*From )", re.MULTILINE), False: re.compile(rb"^(From )", re.MULTILINE)}
_INNER = {True: re.compile(rb"(?<=\n)(>*From )"), False: re.compile(rb"(?<=\n)(From )")}
_BEGINNING = re.compile(rb">*(?:F(?:r(?:o(?:m)?)?)?)?\Z")


class FromQuoting:
    """Lines that begin with ``From `` get a ``>`` before them, over any split of content with LF line ends.

    mboxrd: those with ``>`` before it, too; else they stay (mboxo).
    """

    def __init__(self, is_mboxrd: bool) -> None:
        self._is_mboxrd = is_mboxrd
        self._held = b""  # what may be the beginning of such a line
        self._is_at_start = True

    def feed(self, octets: bytes) -> bytes:
        octets = self._held + octets
        last = octets.rfind(b"\n") + 1
        self._held = b""
        if (last or self._is_at_start) and _BEGINNING.match(octets, last):
            octets, self._held = octets[:last], octets[last:]
        if not octets:
            return b""
        pattern = (_FROM if self._is_at_start else _INNER)[self._is_mboxrd]
        self._is_at_start = octets.endswith(b"\n")
        return pattern.sub(rb">\1", octets)

    def end(self) -> bytes:
        """What is left, the end of its line, and the empty line behind a message."""
        held, self._held = self._held, b""
        return held + (b"\n" if self._is_at_start and not held else b"\n\n")


class MboxText:
    """One copy of a message as it stands in the file, over any split of its content."""

    def __init__(self, reverse_path: Mailbox | None, fields: bytes, is_mboxrd: bool, now: float) -> None:
        """``fields`` go on top, with LF line ends; ``now`` by the wall clock."""
        self._top = _separator(reverse_path, now) + fields
        self._line_feeds = LineFeeds()
        self._quoting = FromQuoting(is_mboxrd)

    def feed(self, chunk: bytes) -> bytes:
        top, self._top = self._top, b""
        return top + self._quoting.feed(self._line_feeds.feed(chunk))

    def end(self) -> bytes:
        top, self._top = self._top, b""
        return top + self._quoting.feed(self._line_feeds.end()) + self._quoting.end()


def _separator(reverse_path: Mailbox | None, now: float) -> bytes:
    """RFC 4155: "From ", the sender, a space, the time (UTC) as asctime has it.  qmail's mbox(5): MAILER-DAEMON for
    bounces, and no spaces in the sender."""
    sender = path_text(reverse_path) or "MAILER-DAEMON"
    tame = "".join("-" if c.isspace() else c if is_shapely(c) else "?" for c in sender)
    return f"From {tame} {asctime_text(int(now))}\n".encode("utf-8", "replace")


# --- the files ------------------------------------------------------------------------------------------------

@attrs.frozen(eq=False)
class OpenMbox:
    """A mailbox that is locked, and ended at ``begin`` before."""

    path: str
    place: str
    descriptor: int
    begin: int


# What this process writes to just now: neither lock keeps two of its own threads apart.
_HELD: set[str] = set()
_TURN = threading.Lock()


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


class Mboxes:
    """Appends to mailboxes.  ``host`` and ``process`` are what our dotlocks say."""

    def __init__(
        self, disk: Disk, host: str, process: int, wall_clock: WallClock,
        is_alive: Callable[[int], bool] = is_alive,
    ) -> None:
        self._disk = disk
        self._host = host
        self._process = process
        self._wall_clock = wall_clock
        self._is_alive = is_alive

    def text(self, reverse_path: Mailbox | None, fields: bytes, is_mboxrd: bool) -> MboxText:
        return MboxText(reverse_path, fields, is_mboxrd, self._wall_clock())

    def exists(self, path: str) -> bool:
        """Whether there is such a file.  OSError where that cannot be known."""
        try:
            return stat.S_ISREG(self._disk.facts(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_folder(self, path: str) -> bool:
        return self._disk.is_folder(path)

    def open(self, path: str, is_new_welcome: bool) -> OpenMbox | None:
        """The mailbox, locked, and ending in an empty line; None where somebody else has it.  One that is missing is
        made, its folder too, where that is welcome, else FileNotFoundError.  After an OSError nothing is locked."""
        place = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        with _TURN:
            if place in _HELD:
                return None
            _HELD.add(place)
        found = None
        try:
            if self._take_dotlock(path, is_new_welcome):
                try:
                    found = self._open(path, place, is_new_welcome)
                finally:
                    if found is None:
                        self._disk.remove(path + DOTLOCK)
            return found
        finally:
            if found is None:
                self._let_go(place)

    def append(self, mbox: OpenMbox, octets: Sequence[bytes]) -> None:
        """After an OSError the mailbox is as it was, and closed."""
        try:
            self._disk.write(mbox.descriptor, octets)
        except BaseException:
            self.abandon(mbox)
            raise

    def finish(self, mbox: OpenMbox) -> None:
        """What was appended is on disk, and the mailbox closed.  After an OSError as ``append``."""
        try:
            self._disk.sync(mbox.descriptor)
            if not mbox.begin:  # whoever made it, its name may not be on disk yet
                self._disk.sync_folder(os.path.dirname(mbox.path))
        except BaseException:
            self.abandon(mbox)
            raise
        self._close(mbox)

    def abandon(self, mbox: OpenMbox) -> None:
        """Nothing was appended."""
        try:
            self._disk.truncate(mbox.descriptor, mbox.begin)
        except OSError as fault:
            log.error("{path} may end in a part of a message: {why}", path=mbox.path, why=str(fault))
        finally:
            try:
                self._close(mbox)
            except OSError:
                pass  # it was to be forgotten

    def _close(self, mbox: OpenMbox) -> None:
        try:
            self._disk.close(mbox.descriptor)
        finally:
            try:
                self._disk.remove(mbox.path + DOTLOCK)
            finally:
                self._let_go(mbox.place)

    def _let_go(self, place: str) -> None:
        with _TURN:
            _HELD.discard(place)

    # --- the file itself ----------------------------------------------------------------------------------

    def _open(self, path: str, place: str, is_new_welcome: bool) -> OpenMbox | None:
        try:
            descriptor = self._disk.open_shared(path)
        except FileNotFoundError:
            if not is_new_welcome:
                raise
            descriptor = self._disk.create_shared(path)
        mbox = None
        try:
            facts = self._disk.facts(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "is no plain file")
            if facts.st_nlink > 1:  # somebody else's file, under a name that he likes better
                raise OSError(errno.EMLINK, "has more than one name")
            if self._disk.try_lock(descriptor):
                now = self._disk.facts(path)
                if (now.st_dev, now.st_ino) == (facts.st_dev, facts.st_ino):  # and not replaced before we had it
                    begin = self._disk.facts(descriptor).st_size
                    opened = OpenMbox(path, place, descriptor, begin)
                    self._mend(opened)
                    mbox = opened
            return mbox
        finally:
            if mbox is None:
                self._disk.close(descriptor)

    def _mend(self, mbox: OpenMbox) -> None:
        """Let it end in an empty line."""
        if not mbox.begin:
            return
        tail = self._disk.read_at(mbox.descriptor, max(0, mbox.begin - 2), 2)
        if tail == b"\n\n":
            return
        if not tail.endswith(b"\n"):
            log.warn("{path} ended within a line: what was begun there, by whomever, stays", path=mbox.path)
        try:
            self._disk.write(mbox.descriptor, [b"\n" if tail.endswith(b"\n") else b"\n\n"])
        except BaseException:
            self._disk.truncate(mbox.descriptor, mbox.begin)
            raise

    # --- its dotlock ----------------------------------------------------------------------------------------

    def _take_dotlock(self, path: str, is_new_welcome: bool) -> bool:
        lock = path + DOTLOCK
        try:
            descriptor = self._disk.create(lock)
        except FileNotFoundError:
            if not is_new_welcome:
                raise
            self._disk.make_folder(os.path.dirname(path))
            descriptor = self._disk.create(lock)
        except FileExistsError:
            if not self._break_stale(lock):
                return False
            try:
                descriptor = self._disk.create(lock)
            except FileExistsError:
                return False
        try:
            try:
                self._disk.write(descriptor, [f"{self._process}:{self._host}\n".encode()])
            finally:
                self._disk.close(descriptor)
        except BaseException:
            self._disk.remove(lock)
            raise
        return True

    def _break_stale(self, lock: str) -> bool:
        """Whether the lock is gone, since nobody has it any more."""
        try:
            facts = self._disk.facts(lock)
            words = self._disk.read(lock, 0, 300) if stat.S_ISREG(facts.st_mode) else b""
            if not self._is_stale(facts, words):
                return False
            again = self._disk.facts(lock)
            if (again.st_ino, again.st_mtime_ns) != (facts.st_ino, facts.st_mtime_ns):
                return False  # somebody else broke it, and has it now
        except FileNotFoundError:
            return True
        log.warn("{lock} is stale, and removed: {words}", lock=lock, words=words.decode("utf-8", "replace").strip())
        self._disk.remove(lock)
        return True

    def _is_stale(self, facts: os.stat_result, words: bytes) -> bool:
        if self._wall_clock() - facts.st_mtime > STALE_SECONDS:
            return True
        owner = re.match(rb"([0-9]{1,10}):([^\s:]+)\s*\Z", words)
        if owner is None or owner[2] != self._host.encode():
            return False
        # Of our own number: it is from an earlier life, since what we write to just now is in _HELD.
        return int(owner[1]) == self._process or not self._is_alive(int(owner[1]))
