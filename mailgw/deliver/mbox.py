"""The file backend: mailboxes of one file each, in threads, one message at a time in each file.

RFC 4155 (mbox), RFC 5321 s4.4 (Return-Path), RFC 5233 (sub-addresses).  Not done: groups of messages with one sync.

Rules:
    In one file one message is written at a time; who comes later waits here, in no thread.
    A file that somebody else has locked is asked for again and again, for ``lock_seconds``; then its mail waits.
"""

import enum
import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailgw.deliver.maildir import Known, mailboxes_of
from mailgw.deliver.reencoding import fitted, unfit_outcome
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, refused, temporary
from mailgw.mail.ports import Accounts
from mailgw.mail.reply import Reply
from mailgw.store.maildir import template_root, top_fields
from mailgw.store.mbox import Mboxes, MboxText, OpenMbox, mbox_of
from mailgw.wire.reencode import Unfit

T = TypeVar("T")

log = Logger()

AGAIN_SECONDS = 0.2
"""Between two looks at a lock: a reader of mail has it for less."""


class MboxFormat(enum.Enum):
    """Which lines that begin with ``From`` are quoted: see ``store.mbox.FromQuoting``."""

    MBOXRD = "mboxrd"
    MBOXO = "mboxo"


@attrs.frozen
class MboxSettings:
    """``path``, ``recipients`` and ``delimiter`` as a Maildir backend has them; ``lock_seconds`` is how long another's
    lock is waited for; ``concurrency`` counts messages being written, or waiting for a lock, at once."""

    path: str
    format: MboxFormat
    recipients: Known
    delimiter: str
    lock_seconds: float
    concurrency: int


_STORED = Reply(250, "2.0.0", ("Stored",))
_UNKNOWN = Reply(550, "5.1.1", ("No such mailbox here",))
_UNSURE = Reply(451, "4.3.0", ("The mailbox cannot be looked up now, please try again",))
_NO_SPACE = Reply(452, "4.3.1", ("No space left to store the message",))
_OVER_QUOTA = Reply(452, "4.2.2", ("The mailbox is over its quota",))
_LOCKED = Reply(451, "4.2.0", ("The mailbox is in use by another program",))
_CUT_OFF = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.RECIPIENT, "")
# As for Maildirs: what only an operator mends is told in the log, once an hour.
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.EMLINK, errno.EINVAL))
_TELL_AGAIN_SECONDS = 3600.0


@implementer(IDeliveryBackend)
class MboxBackend:
    """``accounts`` is needed for ``Known.ACCOUNTS`` alone; ``reactor`` tells time, and is told by the threads of
    ``pool``, which is its owner's to stop."""

    def __init__(
        self, settings: MboxSettings, mboxes: Mboxes, accounts: Accounts | None, reactor: Any, pool: ThreadPool
    ) -> None:
        if settings.recipients is Known.ACCOUNTS and accounts is None:
            raise LocalProtocolError("recipients = accounts without accounts")
        self.concurrency = settings.concurrency
        self._settings = settings
        self._mboxes = mboxes
        self._accounts = accounts
        self._reactor = reactor
        self._pool = pool
        self._turns: dict[str, tuple[DeferredLock, int]] = {}
        self._tell_at = reactor.seconds()

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        paths = self._paths(recipient)
        if self._settings.recipients is not Known.EXISTING:
            return None if paths else _UNKNOWN
        try:
            found = await self._in_thread(self._existing, paths)
        except OSError as error:
            self._tell(error)
            return _UNSURE
        return None if found else _UNKNOWN

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says: cut off after the first recipients it says what became of those."""
        known: dict[Mailbox, Outcome] = {}
        try:
            if message.body_type is BodyType.BINARY:
                # Its bare LFs would be line ends in the file, where CRLFs are.
                fitting = await fitted(message, BodyType.EIGHT_BIT)
                if isinstance(fitting, Unfit):
                    return dict.fromkeys(recipients, unfit_outcome(fitting, ""))
                message = fitting
            for recipient in recipients:
                known[recipient] = await self._deliver(message, recipient)
        except Exception as fault:
            if not known:
                raise
            if not isinstance(fault, CancelledError | TemporaryFault):
                log.failure("a delivery into files failed half way")
            return dict.fromkeys(recipients, _CUT_OFF) | known
        return known

    # --- who exists -------------------------------------------------------------------------------------------

    def _paths(self, recipient: Mailbox) -> tuple[str, ...]:
        """Where the recipient's mail may go, the first choice first; () for nobody's."""
        mailboxes = mailboxes_of(recipient, self._settings.delimiter, self._settings.recipients, self._accounts)
        return tuple([mbox_of(self._settings.path, mailbox) for mailbox in mailboxes])

    def _existing(self, paths: tuple[str, ...]) -> str | None:
        """In a thread: the first that there is.  OSError where that cannot be known."""
        for path in paths:
            if self._mboxes.exists(path):
                return path
        root = template_root(self._settings.path)
        if not self._mboxes.is_folder(root):
            # A volume that is not mounted is no reason to bounce everybody's mail.
            raise FileNotFoundError(errno.ENOENT, f"{root} is missing")
        return None

    # --- one message into one file ----------------------------------------------------------------------------

    async def _deliver(self, message: Message, recipient: Mailbox) -> Outcome:
        paths = self._paths(recipient)
        path: str | None = paths[0] if paths else None
        try:
            if self._settings.recipients is Known.EXISTING:
                path = await self._in_thread(self._existing, paths)
            if path is None:
                return refused(_UNKNOWN, Scope.RECIPIENT, "", is_ours=True)
            is_stored = await self._in_turn(path, message, recipient)
        except OSError as error:
            self._tell(error)
            return self._outcome_of(error, path or paths[0])
        if not is_stored:
            return refused(_LOCKED, Scope.RECIPIENT, path, is_ours=True)
        return delivered(_STORED, path)

    async def _in_turn(self, path: str, message: Message, recipient: Mailbox) -> bool:
        lock, waiting = self._turns.get(path, (DeferredLock(), 0))
        self._turns[path] = (lock, waiting + 1)
        try:
            await lock.acquire()
            try:
                return await self._store(path, message, recipient)
            finally:
                lock.release()
        finally:
            lock, waiting = self._turns[path]
            if waiting == 1:
                del self._turns[path]
            else:
                self._turns[path] = (lock, waiting - 1)

    async def _store(self, path: str, message: Message, recipient: Mailbox) -> bool:
        """Whether it is stored; False where somebody else had the file all the time."""
        text = self._mboxes.text(
            message.reverse_path, top_fields(message.reverse_path, recipient),
            self._settings.format is MboxFormat.MBOXRD,
        )
        copy = _Copy(self._mboxes, path, self._settings.recipients is not Known.EXISTING, text)
        until = self._reactor.seconds() + self._settings.lock_seconds
        octets = message.content.octets
        try:
            while not await self._in_thread(copy.begin if octets is None else copy.whole, octets or b""):
                if self._reactor.seconds() >= until:
                    return False
                await deferLater(self._reactor, AGAIN_SECONDS)
            if octets is None:
                async for chunk in message.content.chunks():
                    await self._in_thread(copy.write, chunk)
                await self._in_thread(copy.finish)
        except BaseException:
            # Also when cancelled: a thread may be at work with the file just now, so a thread lets go of it.
            self._pool.callInThread(copy.abandon)
            raise
        return True

    def _outcome_of(self, error: OSError, path: str) -> Outcome:
        """Trouble with a file is temporary, and its own: another's may be on another disk."""
        match error.errno:
            case errno.ENOSPC:
                reply = _NO_SPACE
            case errno.EDQUOT:
                reply = _OVER_QUOTA
            case _:
                reply = Reply(451, "4.3.0", (f"The mailbox cannot be written: {error.strerror or 'unknown trouble'}",))
        return refused(reply, Scope.RECIPIENT, path, is_ours=True)

    def _tell(self, error: OSError) -> None:
        if error.errno in _FORBIDDEN and self._reactor.seconds() >= self._tell_at:
            self._tell_at = self._reactor.seconds() + _TELL_AGAIN_SECONDS
            log.error(
                "mailboxes of {path} cannot be used, mail for them waits: {why}", path=self._settings.path,
                why=str(error),
            )

    def _in_thread(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)


class _Copy:
    """One message on its way into one file.  Each call is in some thread, one at a time; after ``abandon`` none does
    anything."""

    def __init__(self, mboxes: Mboxes, path: str, is_new_welcome: bool, text: MboxText) -> None:
        self._mboxes = mboxes
        self._path = path
        self._is_new_welcome = is_new_welcome
        self._text = text
        self._mbox: OpenMbox | None = None
        self._is_abandoned = False
        self._turn = threading.Lock()

    def begin(self, _: bytes = b"") -> bool:
        """Whether the file is ours now."""
        with self._turn:
            if not self._is_abandoned:
                self._mbox = self._mboxes.open(self._path, self._is_new_welcome)
            return self._mbox is not None

    def whole(self, octets: bytes) -> bool:
        """The same, and all is done."""
        if not self.begin():
            return False
        self.write(octets)
        self.finish()
        return True

    def write(self, chunk: bytes) -> None:
        with self._turn:
            self._append(self._text.feed(chunk))

    def finish(self) -> None:
        with self._turn:
            self._append(self._text.end())
            mbox, self._mbox = self._mbox, None
            if mbox is not None:
                self._mboxes.finish(mbox)

    def abandon(self) -> None:
        with self._turn:
            self._is_abandoned = True
            mbox, self._mbox = self._mbox, None
            if mbox is not None:
                self._mboxes.abandon(mbox)

    def _append(self, octets: bytes) -> None:
        mbox, self._mbox = self._mbox, None
        if mbox is not None:
            self._mboxes.append(mbox, [octets])  # an OSError has closed it
            self._mbox = mbox
