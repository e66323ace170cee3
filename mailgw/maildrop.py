"""The maildrop: messages that programs of this machine left (``mailgw sendmail``), on their way into the queue.

Rules:
    Its folder has one reader, the only process or the parent of several.  Programs may write, whoever the folder's mode
    lets; none of them can list it, or read another's files.
    A file goes once its message is in the queue, and that is written down; the file's name is the key of its message
    (``Sending``), so that a crash between the two makes no second one.
    Who cannot be written to is told to the sender, by a bounce, as a next hop's refusal is; what cannot be told now is
    tried again.  What is no message stays, with ``.bad`` at the end of its name, and the log says so.
    Others may put there whatever they like, and swap it for another thing at any moment: only names that ``mailgw
    sendmail`` makes are looked at; a file is opened once, and is what its descriptor says.  Names have their turn in a
    circle, so that none keeps those behind it waiting, and whatever goes wrong with one has a pause of its own.
    From a folder that may not be written nothing is taken: what was sent would stay, and be sent again one day.
"""

import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mailgw.config.files import user_name
from mailgw.mail.dropped import BAD, GROUP_READS, BadDrop, Drop, read_drop
from mailgw.mail.errors import TemporaryFault
from mailgw.net.tasks import TaskGroup
from mailgw.store.state_file import Workshop

LOOK_SECONDS: Final = 1.0
AT_ONCE: Final = 10
FIRST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 600.0
COMPLAIN_SECONDS: Final = 600.0
LATE_SECONDS: Final = 300.0
"""What waits for longer is told of (``web.findings``): a full queue or a restart is over by then."""

NOT_WRITABLE: Final = (
    "the gateway's user may not write there (with the sticky bit it has to be his own); under systemd the unit has to"
    " name it in ReadWritePaths"
)

_NAME: Final = re.compile(r"[0-9a-f]{32}\Z")
"""As ``mailgw sendmail`` makes them."""

log = Logger()


@attrs.frozen
class Dropped:
    """``who`` is the user's name, or his number."""

    name: str
    who: str
    drop: Drop
    message: bytes = attrs.field(repr=False)


@attrs.define
class _Waiting:
    pause: float
    until: float


@attrs.frozen
class _Seen:
    """At one look: ``since`` when which file is there, in epoch seconds; how many are ``.bad``; what is wrong with the
    folder itself."""

    since: Mapping[str, float] = attrs.Factory(dict)
    bad: int = 0
    fault: str = ""


Take = Callable[[Dropped], Awaitable[str]]
"""Bring it into the queue; ``""``, or why it never will be.  TemporaryFault."""


class Maildrop:
    """``folder`` says where, now; ``take`` as above; ``most_octets`` of a file."""

    def __init__(
        self, folder: Callable[[], str], take: Take, workshop: Workshop, tasks: TaskGroup,
        most_octets: Callable[[], int],
    ) -> None:
        self._folder = folder
        self._take = take
        self._workshop = workshop
        self._tasks = tasks
        self._most_octets = most_octets
        self._clock = workshop.reactor
        self._timer: IDelayedCall | None = None
        self._under_way: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}
        self._complained: dict[str, float] = {}
        self._last = ""  # whose turn was last
        self._seen = _Seen()
        self._why = ""  # the last trouble with a file
        self._is_closed = self._is_repeated = False

    def start(self, is_repeated: bool = True) -> None:
        """Look, now and then every second (where that ``is_repeated``)."""
        self._is_repeated = is_repeated
        self.look()

    def look(self) -> None:
        self._timer = None
        if not self._is_closed:
            self._tasks.spawn("looking into the maildrop", self._look())

    def close(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def told(self, now: float) -> dict[str, Any]:
        """As the last look found it, for ``health``: how many messages wait, how many of them for long, how many never
        will go, why the last that was tried waits, and what is wrong with the folder.  ``now`` in epoch seconds."""
        return {
            "folder": self._folder(),
            "waiting": len(self._seen.since),
            "late": sum(now - since > LATE_SECONDS for since in self._seen.since.values()),
            "bad": self._seen.bad,
            "why": self._why if self._waiting else "",
            "fault": self._seen.fault,
        }

    async def _look(self) -> None:
        folder = self._folder()
        try:
            self._seen = await self._workshop.do(self._names, folder)
        except OSError as fault:
            self._seen = _Seen(fault=fault.strerror or str(fault))
        if self._seen.fault:
            self._complain(folder, self._seen.fault)
        names = () if self._seen.fault else self._seen.since
        now = self._clock.seconds()
        self._waiting = {name: wait for name, wait in self._waiting.items() if name in names}
        for name in sorted(names, key=lambda name: (name <= self._last, name)):
            wait = self._waiting.get(name)
            is_next = name not in self._under_way and (wait is None or wait.until <= now)
            if is_next and len(self._under_way) < AT_ONCE and not self._is_closed:
                self._last = name
                self._under_way.add(name)
                self._tasks.spawn("a message of the maildrop", self._bring(folder, name))
        if self._is_repeated and not self._is_closed:
            self._timer = self._clock.callLater(LOOK_SECONDS, self.look)

    def _names(self, folder: str) -> _Seen:
        """Of files that are whole; in a thread.  OSError."""
        disk = self._workshop.disk
        if not disk.is_folder(folder):
            return _Seen()
        since, bad = {}, 0
        for name in disk.names(folder):
            bad += name.endswith(BAD) and _NAME.match(name.removesuffix(BAD)) is not None
            if _NAME.match(name):
                try:
                    facts = disk.facts(os.path.join(folder, name))
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(facts.st_mode) and facts.st_mode & GROUP_READS:
                    since[name] = facts.st_mtime
        return _Seen(since, bad, "" if disk.may_write(folder) else NOT_WRITABLE)

    async def _bring(self, folder: str, name: str) -> None:
        path = os.path.join(folder, name)
        try:
            dropped = await self._workshop.do(self._read, path, name)
            why = await self._take(dropped)
            if why:
                raise BadDrop(why)
            await self._workshop.do(self._workshop.disk.remove, path)
            self._waiting.pop(name, None)
        except BadDrop as fault:
            log.error("{path} cannot be sent, and is left as {bad}: {why}", path=path, bad=name + BAD, why=str(fault))
            await self._leave(path, name)
        except FileNotFoundError:  # it went while its folder was looked at
            self._waiting.pop(name, None)
        except (TemporaryFault, OSError) as fault:
            self._wait(path, name, _words(fault))
        except CancelledError:  # the gateway stops; the file stays
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the next ones have their turn
            if self._wait(path, name, "a fault of the gateway's, see the log"):
                log.failure("{path} waits", path=path)
        finally:
            self._under_way.discard(name)

    def _wait(self, path: str, name: str, why: str) -> bool:
        """Until it is tried again; whether it is for the first time."""
        self._why = why
        before = self._waiting.get(name)
        pause = FIRST_PAUSE_SECONDS if before is None else min(2 * before.pause, LONGEST_PAUSE_SECONDS)
        self._waiting[name] = _Waiting(pause, self._clock.seconds() + pause)
        if before is None:
            log.warn("{path} waits: {why}", path=path, why=why)
        return before is None

    async def _leave(self, path: str, name: str) -> None:
        try:
            await self._workshop.do(self._workshop.disk.rename, path, path + BAD)
        except OSError as fault:
            self._wait(path, name, f"it cannot be renamed: {fault.strerror}")

    def _read(self, path: str, name: str) -> Dropped:
        """In a thread.  BadDrop; OSError."""
        disk, most = self._workshop.disk, self._most_octets()
        descriptor = disk.open_to_read(path)
        try:
            facts = disk.facts(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
                raise BadDrop("it is no file, or has another name, too")
            if facts.st_size > most:
                raise BadDrop(f"it has {facts.st_size} octets: {most} are taken")
            octets = disk.read_at(descriptor, 0, facts.st_size + 1)
            while len(octets) <= facts.st_size and (more := disk.read_at(descriptor, len(octets), facts.st_size)):
                octets += more
            if not len(octets) == facts.st_size == disk.facts(descriptor).st_size:
                raise BadDrop("it changed while it was read")
        finally:
            disk.close(descriptor)
        drop, message = read_drop(octets)
        return Dropped(name, user_name(facts.st_uid), drop, message)

    def _complain(self, folder: str, fault: str) -> None:
        now = self._clock.seconds()
        if now >= self._complained.get(folder, -1.0):
            self._complained = {folder: now + COMPLAIN_SECONDS}
            log.error("the maildrop {folder} cannot be used: {why}", folder=folder, why=fault)


def _words(fault: TemporaryFault | OSError) -> str:
    if isinstance(fault, PermissionError):
        return f"{fault.strerror}; is the gateway's user in the maildrop's group?"
    return (fault.strerror if isinstance(fault, OSError) else "") or str(fault)
