"""The maildrop: messages that programs of this machine left (``mailgw sendmail``), on their way into the queue.

Rules:
    Its folder has one reader, the only process or the parent of several.  Programs may write, whoever the folder's mode
    lets; none of them can list it, or read another's files.
    A file goes once its message is in the queue, and that is written down; the file's name is the key of its message
    (``Sending``), so that a crash between the two makes no second one.
    Who cannot be written to is told to the sender, by a bounce, as a next hop's refusal is; so is a message that is too
    large.  What cannot be told now is tried again, until it is as old as messages get in the queue.  Of whom it can be
    told are not kept waiting by the others: the file is brought in parts then (``store.drops``), and its name with the
    part's number is the key.
    What is no message stays, with ``.bad`` at the end of its name, and the log says so; likewise what comes by the name
    of another message that was sent.
    Others may put there whatever they like, and swap it for another thing at any moment: only names that ``mailgw
    sendmail`` makes are looked at; a file is opened once, and is what its descriptor says.  Names have their turn in a
    circle, so that none keeps those behind it waiting, and whatever goes wrong with one has a pause of its own.
    From a folder that may not be written nothing is taken: what was sent would stay, and be sent again one day.
"""

import hashlib
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs
import msgspec
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mailgw.config.files import user_name
from mailgw.mail.dropped import (
    BAD,
    GROUP_READS,
    MOST_HEAD_OCTETS,
    BadDrop,
    Drop,
    drop_octets,
    message_of,
    qualified,
    read_drop,
)
from mailgw.mail.envelope import path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.posted import Composed, Wishes
from mailgw.mail.slip import Slip, envid_of, notify_of, returns_of
from mailgw.net.tasks import TaskGroup
from mailgw.store.drops import Drops, Left
from mailgw.store.state_file import Workshop
from mailgw.web.settings import LOCAL

LOOK_SECONDS: Final = 1.0
AT_ONCE: Final = 10
FIRST_PAUSE_SECONDS: Final = 10.0
LONGEST_PAUSE_SECONDS: Final = 600.0
MOST_NAMED: Final = 5
COMPLAIN_SECONDS: Final = 600.0
SWEEP_SECONDS: Final = 60.0
BEGINNING_OCTETS: Final = 64 << 10
"""Of a message that is too large: the bounce has its header."""
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
    """``who`` is the user's name, or his number; ``since`` when it is there, in epoch seconds; ``too_large`` (not 0):
    the message has so many octets, and ``message`` is its beginning."""

    name: str
    who: str
    drop: Drop
    message: bytes = attrs.field(repr=False)
    since: float
    too_large: int


@attrs.frozen
class Split:
    """Nothing was done: of the ``known`` it can be told now what becomes of them, of the ``unknown`` it cannot.
    Neither is empty; all have their domains."""

    known: tuple[str, ...]
    unknown: tuple[str, ...]


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


Take = Callable[[Dropped], Awaitable[str | Split]]
"""Bring it into the queue; ``""``, why it never will be, or what keeps it.  TemporaryFault."""


def posted_drop(
    dropped: Dropped, record: str, hostname: str, give_up_seconds: float, now: float, message_id: str
) -> tuple[Slip, Composed]:
    """What goes into the queue.  BadSlip, BadDrop where that cannot be."""
    drop = dropped.drop
    recipients = tuple(dict.fromkeys(qualified(one, hostname) for one in drop.recipients))
    if not recipients:
        raise BadDrop("nobody to send it to")
    reverse_path = qualified(drop.reverse_path, hostname) if drop.reverse_path else None
    message = message_of(dropped.message, drop, hostname, now, message_id)
    found = Composed(reverse_path, recipients, message, Wishes())
    notify_of(drop.notify)
    returns_of(drop.returns)
    envid_of(drop.envid)
    slip = Slip(
        f"{LOCAL}:{dropped.who}", "local", "local", path_text(reverse_path), tuple(map(str, recipients)), None,
        drop.notify, drop.returns, drop.envid, found.needs_utf8, record, True,
        max(0.0, min(dropped.since, now)), now >= dropped.since + give_up_seconds, dropped.too_large,
    )
    return slip, found


def digest_of(dropped: Dropped) -> str:
    """The same whether the message is too large or not: what that means may change."""
    known = drop_octets(dropped.drop, dropped.message[:BEGINNING_OCTETS])
    size = dropped.too_large or len(dropped.message)
    if size > BEGINNING_OCTETS:
        known += f"\n{size} {dropped.since}".encode()
    return hashlib.sha256(known).hexdigest()


class Maildrop:
    """``folder`` says where, now; ``take`` as above; ``most_octets`` of a file."""

    def __init__(
        self, folder: Callable[[], str], take: Take, workshop: Workshop, tasks: TaskGroup,
        most_octets: Callable[[], int], drops: Drops,
    ) -> None:
        self._folder = folder
        self._take = take
        self._workshop = workshop
        self._tasks = tasks
        self._most_octets = most_octets
        self._drops = drops
        self._clock = workshop.reactor
        self._timer: IDelayedCall | None = None
        self._under_way: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}
        self._complained: dict[str, float] = {}
        self._last = ""  # whose turn was last
        self._seen = _Seen()
        self._why = ""  # the last trouble with a file
        self._sweep_at = 0.0
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
        if self._clock.seconds() >= self._sweep_at:
            self._sweep_at = self._clock.seconds() + SWEEP_SECONDS
            with suppress(OSError):  # what cannot be looked at is kept
                await self._workshop.do(self._drops.forget_gone, folder)
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
                    since[name] = _since(facts)
        return _Seen(since, bad, "" if disk.may_write(folder) else NOT_WRITABLE)

    async def _bring(self, folder: str, name: str) -> None:
        path = os.path.join(folder, name)
        try:
            await self._bring_parts(path, name)
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

    async def _bring_parts(self, path: str, name: str) -> None:
        """All of them, and remove it.  As ``_take`` raises, and ``_read``."""
        dropped, left = await self._workshop.do(self._read, path, name)
        while True:
            found = await self._take(attrs.evolve(
                dropped, name=f"{name}.{left.done}" if left.done else name,
                drop=msgspec.structs.replace(dropped.drop, recipients=left.recipients),
            ))
            if isinstance(found, Split):
                left = Left(found.known, left.later + found.unknown, left.done, left.place)
                await self._workshop.do(self._drops.write, name, left)
                continue
            if found and not left.later:
                raise BadDrop(found)
            if found:
                log.error("{path} cannot be sent to {recipients}: {why}", path=path, why=found,
                          recipients=some(left.recipients))
            if not left.later:
                break
            left = Left(left.later, done=left.done + 1, place=left.place)
            await self._workshop.do(self._drops.write, name, left)
            self._waiting.pop(name, None)  # these had no pause yet
            raise TemporaryFault(f"what becomes of {some(left.recipients)} cannot be told now")
        await self._workshop.do(self._remove, path, name, left.done > 0)

    def _remove(self, path: str, name: str, is_in_parts: bool) -> None:
        """In a thread.  OSError."""
        disk = self._workshop.disk
        disk.remove(path)
        if is_in_parts:
            disk.sync_folder(os.path.dirname(path))
            self._drops.forget(name)

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

    def _read(self, path: str, name: str) -> tuple[Dropped, Left]:
        """In a thread.  BadDrop; OSError."""
        disk, most = self._workshop.disk, self._most_octets()
        descriptor = disk.open_to_read(path)
        try:
            facts = disk.facts(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
                raise BadDrop("it is no file, or has another name, too")
            is_too_large = facts.st_size > most
            wanted = min(facts.st_size, MOST_HEAD_OCTETS + BEGINNING_OCTETS) if is_too_large else facts.st_size
            octets = disk.read_at(descriptor, 0, wanted)
            while len(octets) < wanted and (more := disk.read_at(descriptor, len(octets), wanted - len(octets))):
                octets += more
            if len(octets) != wanted or disk.facts(descriptor).st_size != facts.st_size:
                raise BadDrop("it changed while it was read")
        finally:
            disk.close(descriptor)
        drop, message = read_drop(octets)
        too_large = 0
        if is_too_large:
            too_large, message = facts.st_size - (len(octets) - len(message)), message[:BEGINNING_OCTETS]
        try:
            left = self._drops.read(name) or Left(drop.recipients)
            left = msgspec.structs.replace(left, place=self._drops.place(os.path.dirname(path)))
        except ValueError as fault:
            raise BadDrop(f"whom it is still for cannot be read: {fault}") from None
        return Dropped(name, user_name(facts.st_uid), drop, message, _since(facts), too_large), left

    def _complain(self, folder: str, fault: str) -> None:
        now = self._clock.seconds()
        if now >= self._complained.get(folder, -1.0):
            self._complained = {folder: now + COMPLAIN_SECONDS}
            log.error("the maildrop {folder} cannot be used: {why}", folder=folder, why=fault)


def _since(facts: os.stat_result) -> float:
    return min(facts.st_mtime, facts.st_ctime)  # its owner may set the first one, to next year, too


def some(recipients: Sequence[str]) -> str:
    """For the log."""
    more = len(recipients) - MOST_NAMED
    return ", ".join(recipients[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _words(fault: TemporaryFault | OSError) -> str:
    if isinstance(fault, PermissionError):
        return f"{fault.strerror}; is the gateway's user in the maildrop's group?"
    return (fault.strerror if isinstance(fault, OSError) else "") or str(fault)
