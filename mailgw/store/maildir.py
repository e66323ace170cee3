"""Maildirs: whose folder is where, and durable files in them (https://cr.yp.to/proto/maildir.html, RFC 5321 s4.4).

A folder within a Maildir is one as Maildir++ has it (https://www.courier-mta.org/imap/README.maildirquota.html).
Not done: sizes and flags in names, Maildir++ quotas, subscriptions, removal of old files in ``tmp`` (readers do it).

Rules:
    A mailbox's folder is its own: no local part, however hostile, leaves its place or becomes another's.  Case
    does not tell mailboxes apart, as for accounts: ``Alice`` and ``alice`` are one.
    A file is written and synced in ``tmp``, then renamed into ``new``, then ``new`` is synced.  Only then is it
    delivered.  What is not known to be on disk is taken back, so that a retry does not double it.
    Line ends are LF, as other Maildir software has them; all else is kept as received.
Everything but the paths blocks: it is called in threads, also in several at once.
"""

import hashlib
import itertools
import os
import re
import threading
from collections.abc import Callable, Sequence

import attrs

from mailgw.disk import Disk
from mailgw.mail.address import Mailbox, is_shapely
from mailgw.mail.envelope import path_text
from mailgw.mail.ports import WallClock

# --- whose folder is where -------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN_PLACEHOLDERS = ("domain", "local_part", "address")
# What stands for itself in a name.  Not "/", "@" and "~", which separate; not "%", which escapes; no upper case.
_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._+=-")
# The common case in one match: nothing to escape, no leading dot (".", "..", and Maildir++ folders start so).
_PLAIN = re.compile(r"[a-z0-9_+=-][a-z0-9._+=-]*\Z")
# A name in a folder has at most 255 octets (NAME_MAX).  Above 200 the rest becomes a hash: 135 + "~" + 64.
_NAME_OCTETS = 200
_KEPT_OCTETS = 135
# Parts with dots between them, and one in front where it is Maildir++'s: printable ASCII, as other names are written in
# a UTF-7 of their own, which is for whoever chooses one to do.
_SUB_FOLDER = re.compile(r"\.?[ -\-0-~]+(?:\.[ -\-0-~]+)*\Z")
_MARKER = "maildirfolder"
_TAKEN = frozenset(("new", "cur", "tmp", _MARKER))
_NAME_MAX = 255


def template_fault(template: str) -> str | None:
    """Why ``template`` is no path for mailboxes, or None.

    Two placeholders need a ``/`` between them, or two mailboxes could share a folder: a-b and c, a and b-c.
    """
    pieces = _PLACEHOLDER.split(template)
    texts, names = pieces[::2], pieces[1::2]
    for name in names:
        if name not in _KNOWN_PLACEHOLDERS:
            return f"unknown {{{name}}}; known are {{domain}}, {{local_part}} and {{address}}"
    if any(c in text for text in texts for c in "{}\0"):
        return "a brace without its partner"
    if not all("/" in between for between in texts[1:-1]):
        return "two placeholders need a / between them; {address} is {local_part}@{domain}"
    return None


def template_root(template: str) -> str:
    """The folder that is the same for every mailbox: what has to be there before any is."""
    return os.path.dirname(_PLACEHOLDER.split(template)[0])


def shared_folder(template: str, domain: str | None = None) -> str:
    """The deepest folder on the way of every mailbox (of ``domain``, where one is given): there, Maildirs are made.
    The Maildir itself where all share one."""
    if domain is not None:
        template = template.replace("{domain}", _cut(_escaped(domain)))
    return template_root(template) if "{" in template else template


def folder_of(template: str, mailbox: Mailbox) -> str:
    """The mailbox's Maildir.  ``template`` has no fault."""
    # What is put in has no braces, so one replacement never meets another's text.
    local_part, domain = _escaped(mailbox.local_part), _escaped(mailbox.domain)
    folder = template.replace("{local_part}", _cut(local_part)).replace("{domain}", _cut(domain))
    return folder.replace("{address}", _cut(f"{local_part}@{domain}")) if "{" in folder else folder


def sub_folder_fault(name: str) -> str | None:
    """Why ``name`` is none for a folder within a Maildir, or None."""
    if len(name) > _NAME_MAX:
        return f"has more than {_NAME_MAX} characters"
    if not _SUB_FOLDER.match(name):
        return "expected a folder's name in printable ASCII, without / and without .. in it, such as .Junk"
    return "is a name of the Maildir's own" if name in _TAKEN else None


def without_tag(mailbox: Mailbox, delimiter: str) -> Mailbox:
    """``user+tag@`` as ``user@`` (RFC 5233); itself where there is no tag, no user before it, or no delimiter."""
    if not delimiter or delimiter not in mailbox.local_part:
        return mailbox
    user = mailbox.local_part.partition(delimiter)[0]
    return Mailbox(user, mailbox.domain) if user else mailbox


def _escaped(text: str) -> str:
    """``text`` in lower case with every unsafe octet as ``%xx``, so that nothing else is written so.

    ``%`` alone is the empty text.
    """
    if _PLAIN.match(text):
        return text
    # Only ASCII is put in lower case: other alphabets' would make two mailboxes one (the Kelvin sign is a k).
    octets = text.encode("utf-8", "surrogatepass").lower()
    escaped = "".join(chr(octet) if octet in _SAFE else f"%{octet:02x}" for octet in octets) or "%"
    return "%2e" + escaped[1:] if escaped[0] == "." else escaped


def _cut(escaped: str) -> str:
    if len(escaped) <= _NAME_OCTETS:
        return escaped
    # "~" stands in no other name, so a cut one is only its own.
    return f"{escaped[:_KEPT_OCTETS]}~{hashlib.sha256(escaped.encode()).hexdigest()}"


# --- what is written -------------------------------------------------------------------------------

class UniqueNames:
    """Names that no other delivery has: second, microsecond, process, start of the process, count, host.

    ``start`` is a word of chance, for processes that get the same number in every container.
    """

    def __init__(self, hostname: str, process: int, start: str, wall_clock: WallClock) -> None:
        self._wall_clock = wall_clock
        self._process = f"P{process}R{start}Q"
        # "If the host name contains / or :, replace them with \057 and \072."
        self._host = hostname.replace("/", "\\057").replace(":", "\\072")
        self._count = itertools.count(1)

    def __call__(self) -> str:
        now = self._wall_clock()
        seconds = int(now)
        return f"{seconds}.M{int((now - seconds) * 1e6)}{self._process}{next(self._count)}.{self._host}"


def top_fields(reverse_path: Mailbox | None, recipient: Mailbox) -> bytes:
    """What a delivery puts on top: where bounces go (RFC 5321 s4.4), and whose mail this is."""
    fields = f"Return-Path: <{path_text(reverse_path)}>\nDelivered-To: {recipient}\n"
    if not is_shapely(fields.replace("\n", "", 2)):
        # No parser gives such a mailbox; whoever made one by hand shall not write fields of his own.
        return f"Return-Path: <{_tame(path_text(reverse_path))}>\nDelivered-To: {_tame(str(recipient))}\n".encode()
    return fields.encode()  # RFC 6532 s3: UTF-8 where the addresses have it


def _tame(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


class LineFeeds:
    """CRLF to LF over any split of the content."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """``chunk`` with LF line ends; a CR at its end waits for what follows."""
        chunk = self._held + chunk
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        return (chunk[:-1] if self._held else chunk).replace(b"\r\n", b"\n")

    def end(self) -> bytes:
        held, self._held = self._held, b""
        return held


def with_line_feeds(octets: bytes) -> bytes:
    """A whole content with LF line ends."""
    return octets.replace(b"\r\n", b"\n")


# --- the files -------------------------------------------------------------------------------------

_TMP = "tmp"


@attrs.frozen(eq=False)
class OpenFile:
    """A file in ``tmp`` on its way to ``new``, both in ``folder``: a Maildir, or its folder ``sub``, ``""`` for none.
    """

    folder: str
    sub: str
    name: str
    descriptor: int

    @property
    def path(self) -> str:
        return f"{self.folder}/{_TMP}/{self.name}"


class Maildirs:
    """Writes into Maildirs, and makes them where they are missing."""

    def __init__(self, disk: Disk, next_name: Callable[[], str]) -> None:
        self._disk = disk
        self._next_name = next_name
        # One thread makes folders, so that none finds a folder that another has not synced yet.
        self._making = threading.Lock()

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder.  OSError where that cannot be known."""
        return self._disk.is_folder(folder)

    def start(self, folder: str, octets: Sequence[bytes], sub: str = "") -> OpenFile:
        """A new file that begins with ``octets``, in a Maildir, or in its folder ``sub``, which has no fault.  OSError
        leaves none; the folders may have been made."""
        name = self._next_name()
        folder = f"{folder}/{sub}" if sub else folder
        path = f"{folder}/{_TMP}/{name}"
        try:
            descriptor = self._disk.create(path)
        except FileNotFoundError:
            self._make(folder, sub)
            descriptor = self._disk.create(path)
        file = OpenFile(folder, sub, name, descriptor)
        self.append(file, octets)
        return file

    def append(self, file: OpenFile, octets: Sequence[bytes]) -> None:
        """An OSError leaves no file."""
        try:
            self._disk.write(file.descriptor, octets)
        except BaseException:
            self.abandon(file)
            raise

    def abandon(self, file: OpenFile) -> None:
        """Forget a file that is not finished."""
        try:
            self._disk.close(file.descriptor)
            self._disk.remove(file.path)
        except OSError:  # it stays in tmp, where readers clean up
            pass

    def finish(self, files: Sequence[OpenFile]) -> list[OSError | None]:
        """Deliver them all, durably; what stopped each, None where it is delivered.

        They go step by step together: a folder that several go into is synced once.
        """
        faults: list[OSError | None] = [self._sync(file) for file in files]
        for i, file in enumerate(files):
            if faults[i] is None:
                faults[i] = self._rename(file)
        for folder in {file.folder: None for i, file in enumerate(files) if faults[i] is None}:
            try:
                self._disk.sync_folder(f"{folder}/new")
            except OSError as error:
                for i, file in enumerate(files):
                    if file.folder == folder and faults[i] is None:
                        faults[i] = error
                        self._take_back(f"{folder}/new/{file.name}")
        return faults

    def _sync(self, file: OpenFile) -> OSError | None:
        try:
            self._disk.sync(file.descriptor)
        except OSError as error:
            self.abandon(file)
            return error
        try:
            self._disk.close(file.descriptor)
        except OSError as error:  # NFS and quotas may speak only now
            self._take_back(file.path)
            return error
        return None

    def _rename(self, file: OpenFile) -> OSError | None:
        target = f"{file.folder}/new/{file.name}"
        try:
            try:
                self._disk.rename(file.path, target)
            except FileNotFoundError:
                self._make(file.folder, file.sub)
                self._disk.rename(file.path, target)
        except OSError as error:
            self._take_back(file.path)
            return error
        return None

    def _take_back(self, path: str) -> None:
        try:
            self._disk.remove(path)
        except OSError:
            pass

    def _make(self, folder: str, sub: str) -> None:
        """With its three folders; so has the Maildir that ``sub`` is in."""
        with self._making:
            if sub:
                maildir = folder.removesuffix(f"/{sub}")
                if not self._disk.is_folder(f"{maildir}/{_TMP}"):
                    self._make_one(maildir, is_sub=False)
            self._make_one(folder, is_sub=bool(sub))

    def _make_one(self, folder: str, is_sub: bool) -> None:
        """``tmp`` comes last: where it is, all of it is on disk."""
        if self._disk.is_folder(folder):
            # Perhaps we made it, and were killed before its name was on disk.
            try:
                self._disk.sync_folder(os.path.dirname(folder))
            except PermissionError:  # there we can make none: it is somebody else's doing
                pass
        else:
            self._disk.make_folder(folder)
        for part in ("new", "cur"):
            self._new_folder(f"{folder}/{part}")
        if is_sub:
            # "in each folder an empty file named maildirfolder": it says that the Maildir is the folder above.
            try:
                self._disk.close(self._disk.create(f"{folder}/{_MARKER}"))
            except FileExistsError:
                pass
        self._disk.sync_folder(folder)
        self._new_folder(f"{folder}/{_TMP}")

    def _new_folder(self, path: str) -> None:
        try:
            self._disk.new_folder(path)
        except FileExistsError:
            pass
