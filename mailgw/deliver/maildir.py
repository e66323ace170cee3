"""The Maildir backend: who exists, and delivery into their folders, in threads and in groups.

RFC 5321 s4.4 (Return-Path), RFC 5233 (sub-addresses).  Not done: quotas of our own, filters.

How it is quick: a message costs the reactor one look at the accounts and its share of a group.  At most
``_WRITERS`` groups are being written at once; what is offered meanwhile goes into the next one, as in the spool.
Contents that are not in memory are streamed, each by itself.
"""

import enum
import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import LocalProtocolError
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, refused
from mailgw.mail.ports import Accounts
from mailgw.mail.reply import Reply
from mailgw.store.maildir import (
    LineFeeds,
    Maildirs,
    OpenFile,
    folder_of,
    template_root,
    top_fields,
    with_line_feeds,
    without_tag,
)

T = TypeVar("T")


class Known(enum.Enum):
    """Who exists: the accounts of the passwd-file, whoever has a folder, or anyone."""

    ACCOUNTS = "accounts"
    EXISTING = "existing"
    ANY = "any"


@attrs.frozen
class MaildirSettings:
    """``path`` is a template with ``{domain}``, ``{local_part}``, ``{address}``
    (``store.maildir.template_fault`` judges it); ``delimiter`` separates a sub-address (``user+tag``) from its
    user, ``""`` where there are none; ``concurrency`` counts messages being written at once."""

    path: str
    recipients: Known
    delimiter: str
    concurrency: int


# Groups that are written at once: enough that the disk's journal has something to join while one computes.
_WRITERS = 4
# Messages in a group: bounds its open files, and what one slow folder holds up.
_GROUP = 16

_STORED = Reply(250, "2.0.0", ("Stored",))
_UNKNOWN = Reply(550, "5.1.1", ("No such mailbox here",))
_UNSURE = Reply(451, "4.3.0", ("The mailbox cannot be looked up now, please try again",))
_NO_SPACE = Reply(452, "4.3.1", ("No space left to store the message",))
_OVER_QUOTA = Reply(452, "4.2.2", ("The mailbox is over its quota",))


@implementer(IDeliveryBackend)
class MaildirBackend:
    """Delivers into one Maildir a mailbox.

    A sub-address goes to its user, unless it is itself an account or a folder.  A recipient who has gone since
    ``RCPT`` fails for good; one whose folder cannot be looked up, made or written is tried again.
    ``accounts`` is needed for ``Known.ACCOUNTS`` alone.  ``pool`` is running, and is its owner's to stop.
    """

    def __init__(
        self,
        settings: MaildirSettings,
        maildirs: Maildirs,
        accounts: Accounts | None,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
    ) -> None:
        if settings.recipients is Known.ACCOUNTS and accounts is None:
            raise LocalProtocolError("recipients = accounts without accounts")
        self.concurrency = settings.concurrency
        self._settings = settings
        self._maildirs = maildirs
        self._accounts = accounts
        self._reactor = reactor
        self._pool = pool
        self._root = template_root(settings.path)
        self._waiting: list[_Job] = []
        self._writing = 0

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        folders = self._folders(recipient)
        if self._settings.recipients is not Known.EXISTING:
            return None if folders else _UNKNOWN
        try:
            found = await self._in_thread(self._existing, folders)
        except OSError:
            return _UNSURE
        return None if found else _UNKNOWN

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says.  After a cancellation what was begun may still be delivered."""
        copies = [
            _Copy(recipient, self._folders(recipient), top_fields(message.reverse_path, recipient))
            for recipient in recipients
        ]
        octets = message.content.octets
        if octets is None:
            return await self._stream(message, copies)
        job = _Job(octets, copies, Deferred(self._withdraw))
        self._waiting.append(job)
        self._write()
        return await job.outcomes

    # --- who exists -------------------------------------------------------------------------------

    def _folders(self, recipient: Mailbox) -> tuple[str, ...]:
        """Where the recipient's mail may go, the first choice first; () for nobody's."""
        path = self._settings.path
        user = without_tag(recipient, self._settings.delimiter)
        match self._settings.recipients:
            case Known.ANY:
                return (folder_of(path, user),)
            case Known.EXISTING:
                folder = folder_of(path, recipient)
                return (folder,) if user is recipient else (folder, folder_of(path, user))
            case Known.ACCOUNTS:
                assert self._accounts is not None
                for mailbox in (recipient, user):
                    if self._accounts.has(mailbox):
                        return (folder_of(path, mailbox),)
                return ()

    def _existing(self, folders: tuple[str, ...]) -> str | None:
        """In a thread: the first that there is.  OSError where that cannot be known."""
        for folder in folders:
            if self._maildirs.exists(folder):
                return folder
        if not self._maildirs.exists(self._root):
            # A volume that is not mounted is no reason to bounce everybody's mail.
            raise FileNotFoundError(errno.ENOENT, f"{self._root} is missing")
        return None

    # --- small messages, in groups ------------------------------------------------------------------

    def _withdraw(self, outcomes: "Deferred[dict[Mailbox, Outcome]]") -> None:
        self._waiting = [job for job in self._waiting if job.outcomes is not outcomes]

    def _write(self) -> None:
        while self._waiting and self._writing < _WRITERS:
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            self._writing += 1
            _ = self._in_thread(self._write_group, group).addBoth(self._written, group)

    def _written(self, result: "list[dict[Mailbox, Outcome]] | Failure", group: "list[_Job]") -> None:
        self._writing -= 1
        self._write()  # the next group is on its way while we tell of this one
        for i, job in enumerate(group):
            if job.outcomes.called:
                continue  # cancelled
            if isinstance(result, Failure):
                job.outcomes.errback(result)
            else:
                job.outcomes.callback(result[i])

    def _write_group(self, group: "list[_Job]") -> list[dict[Mailbox, Outcome]]:
        """In a thread: each message's copies begun, then all of them finished together."""
        begun = _Begun()
        results: list[dict[Mailbox, Outcome]] = []
        try:
            for job in group:
                outcomes: dict[Mailbox, Outcome] = {}
                results.append(outcomes)
                body = with_line_feeds(job.octets)
                for copy in job.copies:
                    self._begin(copy, [copy.fields, body], begun, outcomes)
        except BaseException:  # a bug of ours, or no memory: no descriptor is to stay open for it
            for file in begun.files:
                self._maildirs.abandon(file)
            raise
        self._finish(begun)
        return results

    # --- large messages, one by one -----------------------------------------------------------------

    async def _stream(self, message: Message, copies: "list[_Copy]") -> dict[Mailbox, Outcome]:
        stream = _Stream(self, copies)
        try:
            await self._in_thread(stream.begin)
            async for chunk in message.content.chunks():
                await self._in_thread(stream.write, chunk)
            return await self._in_thread(stream.finish)
        except BaseException:
            # Also when cancelled: a thread may be at work with the files just now, so a thread forgets them.
            self._pool.callInThread(stream.abandon)
            raise

    # --- both, in threads -----------------------------------------------------------------------------

    def _begin(
        self, copy: "_Copy", octets: Sequence[bytes], begun: "_Begun", outcomes: dict[Mailbox, Outcome]
    ) -> None:
        """A file in ``begun``, or an outcome in ``outcomes``, which is where its own goes in the end."""
        folder = copy.folders[0] if copy.folders else None
        try:
            if self._settings.recipients is Known.EXISTING:
                folder = self._existing(copy.folders)
            if folder is None:
                outcomes[copy.recipient] = refused(_UNKNOWN, Scope.RECIPIENT, "")
                return
            file = self._maildirs.start(folder, octets)
        except OSError as error:
            outcomes[copy.recipient] = _outcome_of(error, folder or copy.folders[0])
            return
        begun.files.append(file)
        begun.copies.append((copy.recipient, outcomes))

    def _finish(self, begun: "_Begun") -> None:
        files, copies = begun.files, begun.copies
        for file, (recipient, outcomes), fault in zip(files, copies, self._maildirs.finish(files), strict=True):
            if fault is None:
                outcomes[recipient] = delivered(_STORED, file.folder)
            else:
                outcomes[recipient] = _outcome_of(fault, file.folder)

    def _in_thread(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)


@attrs.frozen(eq=False)
class _Copy:
    """One recipient's share: where it may go, what goes on top."""

    recipient: Mailbox
    folders: tuple[str, ...]
    fields: bytes


@attrs.frozen(eq=False)
class _Job:
    octets: bytes
    copies: list[_Copy]
    outcomes: "Deferred[dict[Mailbox, Outcome]]"


@attrs.define(eq=False)
class _Begun:
    """Files under way, and for each its recipient with the place of its outcome."""

    files: list[OpenFile] = attrs.field(factory=list)
    copies: list[tuple[Mailbox, dict[Mailbox, Outcome]]] = attrs.field(factory=list)


class _Stream:
    """One large message on its way, each call in some thread, one at a time; after ``abandon`` none does anything."""

    def __init__(self, backend: MaildirBackend, copies: list[_Copy]) -> None:
        self._backend = backend
        self._copies = copies
        self._begun = _Begun()
        self._outcomes: dict[Mailbox, Outcome] = {}
        self._line_feeds = LineFeeds()
        self._abandoned = False
        self._turn = threading.Lock()

    def begin(self) -> None:
        with self._turn:
            if not self._abandoned:
                for copy in self._copies:
                    self._backend._begin(copy, [copy.fields], self._begun, self._outcomes)

    def write(self, chunk: bytes) -> None:
        with self._turn:
            self._append(self._line_feeds.feed(chunk))

    def finish(self) -> dict[Mailbox, Outcome]:
        with self._turn:
            self._append(self._line_feeds.end())
            begun, self._begun = self._begun, _Begun()
            self._backend._finish(begun)
            return self._outcomes

    def abandon(self) -> None:
        with self._turn:
            self._abandoned = True
            begun, self._begun = self._begun, _Begun()
            for file in begun.files:
                self._backend._maildirs.abandon(file)

    def _append(self, octets: bytes) -> None:
        if not octets:
            return
        begun, self._begun = self._begun, _Begun()
        for file, (recipient, outcomes) in zip(begun.files, begun.copies, strict=True):
            try:
                self._backend._maildirs.append(file, [octets])
            except OSError as error:
                outcomes[recipient] = _outcome_of(error, file.folder)
            else:
                self._begun.files.append(file)
                self._begun.copies.append((recipient, outcomes))


def _outcome_of(error: OSError, folder: str) -> Outcome:
    """Trouble with a folder is temporary, and its own: another's may be on another disk."""
    match error.errno:
        case errno.ENOSPC:
            reply = _NO_SPACE
        case errno.EDQUOT:
            reply = _OVER_QUOTA
        case _:
            reply = Reply(451, "4.3.0", (f"The mailbox cannot be written: {error.strerror or 'unknown trouble'}",))
    return refused(reply, Scope.RECIPIENT, folder)
