"""Accounts in a Dovecot passwd-file: ``user@domain:{SCHEME}hash`` and fields that we do not read.

Not done: Dovecot's own reading of uid, gid, home and extra fields; several files; names without a domain.

Rules:
    A line that starts with ``#`` is a comment; empty lines count for nothing.
    Names compare without regard to case, as accounts do everywhere (one mailbox, one folder, one login).
    An empty password, ``*`` or ``!`` is an account that gets mail and that nobody can log in to.
    A change that is faulty takes no mailbox away: what an operator mistyped must not bounce mail.
"""

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.mail.address import Mailbox, folded, parse_mailbox
from mailgw.mail.errors import ConfigError
from mailgw.mail.ports import WallClock
from mailgw.store.watched import WatchedFile, octets_of

FaultOf = Callable[[str], str | None]
"""Why a stored password is of no use, or None (``access.schemes.fault_of``)."""

_NO_LOGIN = frozenset({"", "*", "!"})

_log = Logger()


@attrs.frozen
class AccountTable:
    """What a file says: the stored password (``""`` where nobody can log in) by ``account_key``."""

    stored: Mapping[str, str]
    faults: tuple[ConfigError, ...]


def account_key(mailbox: Mailbox) -> str:
    """Under which name an account is found; equal for two mailboxes only where their folders are."""
    return folded(f"{mailbox.local_part}@{mailbox.domain}")


def parse_accounts(octets: bytes, file: str, fault_of: FaultOf) -> AccountTable:
    """Read a whole passwd-file; every line that cannot be used is one of the faults, and left out."""
    stored: dict[str, str] = {}
    line_of: dict[str, int] = {}
    faults: list[ConfigError] = []
    for number, (name, password) in _lines(octets.decode("utf-8", "surrogateescape")):
        if password is None:
            faults.append(ConfigError(file, number, "", "expected user@domain:{SCHEME}hash, found no colon"))
            continue
        key = _login_key(name)
        if key is None:
            faults.append(ConfigError(file, number, "", f"expected an address user@domain, found {name!a}"))
        elif key in stored:
            faults.append(ConfigError(file, number, "", f"{key} has an account already, in line {line_of[key]}"))
        elif password in _NO_LOGIN:
            stored[key], line_of[key] = "", number
        elif (why := fault_of(password)) is not None:
            faults.append(ConfigError(file, number, "", f"{key}: {why}"))
        else:
            stored[key], line_of[key] = password, number
    return AccountTable(stored, tuple(faults))


def read_accounts(path: str, fault_of: FaultOf) -> AccountTable:
    """``parse_accounts`` of a file.  One that cannot be read is a single fault of the file as a whole."""
    try:
        return parse_accounts(octets_of(path), path, fault_of)
    except OSError as error:
        return AccountTable({}, (ConfigError(path, 0, "", f"cannot be read: {error.strerror}"),))


def with_password(octets: bytes, mailbox: Mailbox, stored: str) -> bytes:
    """The file with that account's password set, its further fields and all other lines kept.

    Where there is no such account it comes last.  Of a name that stands twice the first line is set: it counts.
    """
    text = octets.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    wanted = account_key(mailbox)
    for number, (name, _) in _lines(text):
        if wanted is not None and _login_key(name) == wanted:
            line = lines[number - 1]
            ending = "\r" if line.endswith("\r") else ""
            fields = line.removesuffix("\r").split(":")
            lines[number - 1] = ":".join([fields[0], stored, *fields[2:]]) + ending
            break
    else:
        if lines[-1]:
            lines.append("")
        lines[-1:] = [f"{mailbox}:{stored}", ""]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


class PasswdFile:
    """The accounts of one file, read again when it changes; ``mail.ports.Accounts`` for ``RCPT``.

    A change is looked for at most once a second, when something is asked, in the caller's thread: some
    100,000 lines take a third of a second then, once a change.  After a change with faults the good lines
    count, and accounts that are missing from them stay as they were; a file that cannot be read changes
    nothing.  Both are logged, once each time.
    """

    def __init__(self, path: str, fault_of: FaultOf, clock: IReactorTime, wall_clock: WallClock) -> None:
        """Read the file.  An ExceptionGroup of ConfigErrors where it has any fault."""
        self._path = path
        self._fault_of = fault_of
        self._file = WatchedFile(path, clock, wall_clock)
        accounts = read_accounts(path, fault_of)
        if accounts.faults:
            raise ExceptionGroup("accounts", accounts.faults)
        self._stored = accounts.stored
        self._usable: dict[str, tuple[str, ...]] = {}

    def has(self, recipient: Mailbox) -> bool:
        self._look()
        return account_key(recipient) in self._stored

    def password_of(self, login: str) -> str | None:
        """The stored password of ``login`` (an address), ``""`` where nobody can log in, None for no account."""
        self._look()
        key = _login_key(login)
        return self._stored.get(key) if key is not None else None

    def another(self, number: int) -> str | None:
        """Some account's stored password, the same for the same ``number``; None where nobody can log in.

        To be verified, and its result thrown away, where a login has no account: then the time taken for names
        that do not exist is spread as it is for names that do, whatever mixture of schemes the file holds.
        """
        usable = self.of_scheme("")
        return usable[number % len(usable)] if usable else None

    def of_scheme(self, scheme: str) -> tuple[str, ...]:
        """The stored passwords of a scheme (in upper case; ``""`` for all); the same object until the file changes."""
        self._look()
        usable = self._usable.get(scheme)
        if usable is None:
            stored = self._stored.values()
            usable = tuple(one for one in stored if one and scheme in ("", _scheme_of(one)))
            self._usable[scheme] = usable
        return usable

    def _look(self) -> None:
        self._file.take(self._read, self._complain)

    def _read(self, octets: bytes) -> None:
        accounts = parse_accounts(octets, self._path, self._fault_of)
        for fault in accounts.faults:
            _log.error("{fault}", fault=str(fault))
        self._stored = {**self._stored, **accounts.stored} if accounts.faults else accounts.stored
        self._usable = {}

    def _complain(self, why: str) -> None:
        _log.error("{why}; the accounts stay as they were", why=why)


def _login_key(login: str) -> str | None:
    mailbox = parse_mailbox(login)
    return account_key(mailbox) if mailbox is not None else None


def _scheme_of(stored: str) -> str:
    """``SSHA256`` of ``{ssha256.hex}...``."""
    return stored[1:].partition("}")[0].partition(".")[0].upper()


def _lines(text: str) -> list[tuple[int, tuple[str, str | None]]]:
    """The lines that say something: number from 1, name, the password's field (None: no colon)."""
    found: list[tuple[int, tuple[str, str | None]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, rest = line.partition(":")
        found.append((number, (name.strip(), rest.partition(":")[0] if colon else None)))
    return found
