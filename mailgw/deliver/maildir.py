"""The Maildir backend: who exists, and delivery into their folders, in threads and in groups.

RFC 5321 s4.4 (Return-Path), RFC 5233 (sub-addresses), RFC 3030 (binary content is re-encoded).  Not done: quotas of
our own, filters.

How it is quick: a message costs the reactor one look at the accounts and its share of a group.  At most
``_WRITERS`` groups are being written at once; what is offered meanwhile goes into the next one, as in the spool.
Contents that are not in memory are streamed, each by itself.

How it stays small: many recipients are served in slices, each finished before the next is begun, so that about
``_OPEN_FILES`` copies are open in all.  A stream's content is read once a slice.
"""

import enum
import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import alsoProvides, implementer

from mailgw.deliver.reencoding import fitted, unfit_outcome
from mailgw.interfaces import IFilesJunk, ILimitedHere
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, refused, temporary
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
from mailgw.wire.reencode import Unfit

T = TypeVar("T")


class Known(enum.Enum):
    """Who exists: the accounts of the passwd-file, whoever has a folder, or anyone."""

    ACCOUNTS = "accounts"
    EXISTING = "existing"
    ANY = "any"


def mailboxes_of(
    recipient: Mailbox, delimiter: str, known: Known, accounts: Accounts | None
) -> tuple[Mailbox, ...]:
    """Whose mailbox the recipient's mail may go to, the first choice first; () for nobody's.  Which of them is there is
    asked of the disk, where the folders say who exists."""
    user = without_tag(recipient, delimiter)
    match known:
        case Known.ANY:
            return (user,)
        case Known.EXISTING:
            return (recipient,) if user is recipient else (recipient, user)
        case Known.ACCOUNTS:
            assert accounts is not None
            return next(((one,) for one in (recipient, user) if accounts.has(one)), ())


@attrs.frozen
class MaildirSettings:
    """``path`` is a template with ``{domain}``, ``{local_part}``, ``{address}``
    (``store.maildir.template_fault`` judges it); ``delimiter`` separates a sub-address (``user+tag``) from its
    user, ``""`` where there are none; ``concurrency`` counts messages being written at once; ``junk`` is the folder in
    each Maildir for what is junk (``store.maildir.sub_folder_fault`` judges it), ``""`` for none."""

    path: str
    recipients: Known
    delimiter: str
    concurrency: int
    junk: str


# Groups that are written at once: enough that the disk's journal has something to join while one computes.
_WRITERS = 4
# Messages in a group: bounds what one slow folder holds up.
_GROUP = 16
# Copies open at once, in groups and again in streams: together half of the 1024 descriptors that a process often
# has; the other half is for connections and the spool.
_OPEN_FILES = 256
_GROUP_FILES = _OPEN_FILES // _WRITERS

_STORED = Reply(250, "2.0.0", ("Stored",))
_UNKNOWN = Reply(550, "5.1.1", ("No such mailbox here",))
_UNSURE = Reply(451, "4.3.0", ("The mailbox cannot be looked up now, please try again",))
_NO_SPACE = Reply(452, "4.3.1", ("No space left to store the message",))
_OVER_QUOTA = Reply(452, "4.2.2", ("The mailbox is over its quota",))
# Trouble of this process or this machine, not of any folder.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
# Trouble that an operator has to mend, and nobody but him: told in the log, too, where it goes on once an hour.
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM, errno.EROFS))
_TELL_AGAIN_SECONDS = 3600.0
_SHORT = temporary("4.3.0", "Short of resources here, please try again", Scope.RECIPIENT, "")
_CUT_OFF = temporary("4.3.0", "The attempt ended before this recipient's turn", Scope.RECIPIENT, "")

_log = Logger()


@implementer(ILimitedHere)
class MaildirBackend:
    """Delivers into one Maildir a mailbox.

    A sub-address goes to its user, unless it is itself an account or a folder.  Junk goes to a folder within the
    Maildir, which is made where it is missing, if there is to be one: then this is an ``IFilesJunk``.  A recipient who
    has gone since ``RCPT`` fails for good; one whose folder cannot be looked up, made or written is tried again.
    ``accounts`` is needed for ``Known.ACCOUNTS`` alone.  ``pool`` is running, and is its owner's to stop.
    ``seconds`` is a monotonic clock.
    """

    def __init__(
        self,
        settings: MaildirSettings,
        maildirs: Maildirs,
        accounts: Accounts | None,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        seconds: Callable[[], float],
    ) -> None:
        if settings.recipients is Known.ACCOUNTS and accounts is None:
            raise LocalProtocolError("recipients = accounts without accounts")
        if settings.junk:
            alsoProvides(self, IFilesJunk)
        self.concurrency = settings.concurrency
        self._settings = settings
        self._maildirs = maildirs
        self._accounts = accounts
        self._reactor = reactor
        self._pool = pool
        self._root = template_root(settings.path)
        self._waiting: list[_Job] = []
        self._writing = 0
        self._stream_files = 0  # that are open, at most
        # What a thread ran short of since this was last told.
        self._shortage: OSError | None = None
        # What was forbidden since then, and when that may be told again.
        self._forbidden: OSError | None = None
        self._seconds = seconds
        self._tell_forbidden_at = seconds()

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        folders = self._folders(recipient)
        if self._settings.recipients is not Known.EXISTING:
            return None if folders else _UNKNOWN
        try:
            found = await self._in_thread(self._existing, folders)
        except OSError as error:
            if error.errno in _FORBIDDEN:
                self._forbidden = error
                self._tell_trouble()
            return _UNSURE
        return None if found else _UNKNOWN

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """As the interface says.

        Cut off after the first slices it says what became of those.  What was begun may still be delivered.
        """
        sub = self._settings.junk if message.is_junk else ""
        copies = [
            _Copy(recipient, self._folders(recipient), sub, top_fields(message.reverse_path, recipient))
            for recipient in recipients
        ]
        if message.body_type is BodyType.BINARY:
            # Its bare LFs would be line ends in the file, where CRLFs are.
            fitting = await fitted(message, BodyType.EIGHT_BIT)
            if isinstance(fitting, Unfit):
                return dict.fromkeys(recipients, unfit_outcome(fitting, ""))
            message = fitting
        octets = message.content.octets
        if octets is None:
            return await self._stream(message, copies)
        job = _Job(octets, copies, {}, Deferred(lambda _: self._withdraw(job)))
        self._waiting.append(job)
        self._write()
        return await job.outcomes

    # --- who exists -------------------------------------------------------------------------------

    def _folders(self, recipient: Mailbox) -> tuple[str, ...]:
        """Where the recipient's mail may go, the first choice first; () for nobody's."""
        mailboxes = mailboxes_of(recipient, self._settings.delimiter, self._settings.recipients, self._accounts)
        return tuple([folder_of(self._settings.path, mailbox) for mailbox in mailboxes])

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

    def _withdraw(self, job: "_Job") -> None:
        self._waiting = [other for other in self._waiting if other is not job]
        if job.known:
            job.outcomes.callback(_of_all(job.copies, job.known))

    def _write(self) -> None:
        while self._waiting and self._writing < _WRITERS:
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
            self._writing += 1
            _ = self._in_thread(self._write_group, group).addBoth(self._written, group)

    def _written(self, fault: Failure | None, group: "list[_Job]") -> None:
        self._writing -= 1
        self._write()  # the next group is on its way while we tell of this one
        self._tell_trouble()
        for job in group:
            if job.outcomes.called:
                continue  # cancelled
            if fault is None:
                job.outcomes.callback(job.known)
            elif job.known:
                _log.failure("a delivery into Maildirs failed half way", fault)
                job.outcomes.callback(_of_all(job.copies, job.known))
            else:
                job.outcomes.errback(fault)

    def _write_group(self, group: "list[_Job]") -> None:
        """In a thread: the messages' copies begun, then all of them finished together, a slice at a time."""
        begun = _Begun()
        try:
            for job in group:
                body = with_line_feeds(job.octets)
                for copy in job.copies:
                    if len(begun.files) == _GROUP_FILES:
                        full, begun = begun, _Begun()
                        self._finish(full)
                        if job.outcomes.called:
                            break  # cancelled: the others are offered again
                    self._begin(copy, [copy.fields, body], begun, job.known)
        except BaseException:  # a bug of ours, or no memory: no descriptor is to stay open for it
            for file in begun.files:
                self._maildirs.abandon(file)
            raise
        self._finish(begun)

    # --- large messages, one by one -----------------------------------------------------------------

    async def _stream(self, message: Message, copies: "list[_Copy]") -> dict[Mailbox, Outcome]:
        known: dict[Mailbox, Outcome] = {}
        try:
            first = 0
            while first < len(copies):
                # Where many streams are under way, a late one has one file at a time, but goes on.
                end = first + max(1, min(_GROUP_FILES, _OPEN_FILES - self._stream_files))
                known |= await self._stream_slice(message, copies[first:end])
                first = end
        except Exception as fault:
            if not known:
                raise
            if not isinstance(fault, CancelledError | TemporaryFault):
                _log.failure("a delivery into Maildirs failed half way")
            return _of_all(copies, known)
        finally:
            self._tell_trouble()
        return known

    async def _stream_slice(self, message: Message, copies: "list[_Copy]") -> dict[Mailbox, Outcome]:
        stream = _Stream(self, copies)
        self._stream_files += len(copies)
        try:
            await self._in_thread(stream.begin)
            async for chunk in message.content.chunks():
                await self._in_thread(stream.write, chunk)
            return await self._in_thread(stream.finish)
        except BaseException:
            # Also when cancelled: a thread may be at work with the files just now, so a thread forgets them.
            self._pool.callInThread(stream.abandon)
            raise
        finally:
            self._stream_files -= len(copies)

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
                outcomes[copy.recipient] = refused(_UNKNOWN, Scope.RECIPIENT, "", is_ours=True)
                return
            file = self._maildirs.start(folder, octets, copy.sub)
        except OSError as error:
            outcomes[copy.recipient] = self._outcome_of(error, folder or copy.folders[0])
            return
        begun.files.append(file)
        begun.copies.append((copy.recipient, outcomes))

    def _finish(self, begun: "_Begun") -> None:
        files, copies = begun.files, begun.copies
        for file, (recipient, outcomes), fault in zip(files, copies, self._maildirs.finish(files), strict=True):
            if fault is None:
                outcomes[recipient] = delivered(_STORED, file.folder)
            else:
                outcomes[recipient] = self._outcome_of(fault, file.folder)

    def _outcome_of(self, error: OSError, folder: str) -> Outcome:
        """Trouble with a folder is temporary, and its own: another's may be on another disk."""
        match error.errno:
            case number if number in _SHORTAGES:
                self._shortage = error
                return _SHORT
            case errno.ENOSPC:
                reply = _NO_SPACE
            case errno.EDQUOT:
                reply = _OVER_QUOTA
            case number:
                if number in _FORBIDDEN:
                    self._forbidden = error
                why = error.strerror or "unknown trouble"
                reply = Reply(451, "4.3.0", (f"The mailbox cannot be written: {why}",))
        return refused(reply, Scope.RECIPIENT, folder, is_ours=True)

    def _tell_trouble(self) -> None:
        """Once a group or stream, however many recipients wait for it; a lack of permission once an hour."""
        shortage, self._shortage = self._shortage, None
        if shortage is not None:
            _log.error("Maildirs cannot be written, we are short of resources: {why}", why=str(shortage))
        forbidden, self._forbidden = self._forbidden, None
        if forbidden is not None and self._seconds() >= self._tell_forbidden_at:
            self._tell_forbidden_at = self._seconds() + _TELL_AGAIN_SECONDS
            _log.error(
                "Maildirs of {path} cannot be used, mail for them waits: {why}; mailgw check --user NAME says which "
                "folders user NAME may not write", path=self._settings.path, why=str(forbidden),
            )

    def _in_thread(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        return deferToThreadPool(self._reactor, self._pool, work, *arguments)


@attrs.frozen(eq=False)
class _Copy:
    """One recipient's share: where it may go, and to which folder there, what goes on top."""

    recipient: Mailbox
    folders: tuple[str, ...]
    sub: str
    fields: bytes


@attrs.frozen(eq=False)
class _Job:
    """A message in memory; ``known`` is filled by a thread, a slice at a time."""

    octets: bytes
    copies: list[_Copy]
    known: dict[Mailbox, Outcome]
    outcomes: "Deferred[dict[Mailbox, Outcome]]"


@attrs.define(eq=False)
class _Begun:
    """Files under way, and for each its recipient with the place of its outcome."""

    files: list[OpenFile] = attrs.field(factory=list)
    copies: list[tuple[Mailbox, dict[Mailbox, Outcome]]] = attrs.field(factory=list)


class _Stream:
    """A slice of a large message's copies on their way.

    Each call is in some thread, one at a time; after ``abandon`` none does anything.
    """

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
                outcomes[recipient] = self._backend._outcome_of(error, file.folder)
            else:
                self._begun.files.append(file)
                self._begun.copies.append((recipient, outcomes))


def _of_all(copies: Sequence[_Copy], known: Mapping[Mailbox, Outcome]) -> dict[Mailbox, Outcome]:
    """What is known, and something temporary for the others."""
    return {copy.recipient: known.get(copy.recipient, _CUT_OFF) for copy in copies}
