"""``mailgw sendmail``: the program that others send mail by, under the name that they know (sendmail(1), postfix's).

    sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-N WHEN] [-R full|hdrs] [-V ENVID] [-C FILE] [--] [RECIPIENT ...]
    sendmail -bp, mailq                 what waits: mailgw queue list, and the maildrop
    sendmail -q                         there is nothing to do: the gateway looks by itself

Options of other sendmails that have no meaning here are passed over.  Not done: -bs (SMTP on standard input), -bd, -bi.

Rules:
    The exit status is one of sysexits.h, and 0 only once the message is on disk, in the maildrop, whether the gateway
    runs or not.
    What the gateway then refuses goes back to the sender, by a bounce.
    No Twisted here: cron and PHP wait for it.
"""

import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from mailgw.config.where import (
    DEFAULT_FILE,
    DEFAULT_MAILDROP,
    OWN_MAILDROP,
    TRIAL_STATE,
    is_there,
    maildrop_of,
)
from mailgw.mail.dropped import (
    BadDrop,
    Drop,
    addresses_of,
    checked,
    drop_octets,
    header_of,
    listed,
    shown_name,
    without_bare_crs,
)
from mailgw.mail.errors import ConfigError
from mailgw.mail.header import has_field
from mailgw.mail.slip import NOTIFIES, BadSlip, envid_of

if TYPE_CHECKING:
    import argparse

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# sysexits.h
OK, USAGE, DATA, NO_HOST, SOFTWARE, CANNOT_CREATE, IO, TEMPORARY, NO_PERMISSION, CONFIG = (
    0, 64, 65, 68, 70, 73, 74, 75, 77, 78,
)

MOST_OCTETS: Final = 256 << 20
"""Of a message; the gateway's own limit is the one that counts."""
MOST_RECIPIENTS: Final = 15_000
"""With the longest addresses they fit into what the gateway reads of them (``slip.MOST_OCTETS``)."""
_WITH_VALUE: Final = "BCFLNOQRVXbdfhopqr"
_ALONE: Final = "AGIUmnitvxe"
# Those whose value may only stand in the same word.
_JOINED: Final = "bdoqQeA"


SYNOPSIS: Final = """\
usage: sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-N WHEN] [-R full|hdrs] [-V ENVID] [-C FILE] [--] [RECIPIENT ...]
       sendmail -bp       what waits
Standard input is the message; -t takes the recipients from its header, too."""


class Stop(Exception):
    """An exit status, and what is said on standard error."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


@attrs.define
class Options:
    recipients: list[str] = attrs.Factory(list)
    mode: str = "m"
    reads_header: bool = False
    ignores_dots: bool = False
    sender: str | None = None
    name: str = ""
    notify: tuple[str, ...] = ()
    returns: str = ""
    envid: str = ""
    config: str | None = None


def add_command(commands: "Commands") -> None:
    """For help and completion: its options are no ones of argparse's."""
    parser = commands.add_parser(
        "sendmail", help="a message from standard input, for programs that call sendmail", prefix_chars="\0",
        add_help=False,
    )
    parser.add_argument("words", metavar="WORD", nargs="*")
    parser.set_defaults(
        run=lambda options: main(options.words), usage_fault=_end,
        no_config="the configuration is named behind sendmail, by -C FILE",
    )


def _end(why: str) -> NoReturn:
    print(f"sendmail: {why}", file=sys.stderr)
    raise SystemExit(USAGE)


def words_of(arguments: Sequence[str]) -> Sequence[str] | None:
    """The words behind ``mailgw sendmail``, or of a link with a name of sendmail's; None for any other command."""
    program = os.path.basename(arguments[0]) if arguments else ""
    if program == "mailq":
        return ["-bp", *arguments[1:]]
    if program == "sendmail":
        return arguments[1:]
    return arguments[2:] if len(arguments) > 1 and arguments[1] == "sendmail" else None


def main(words: Sequence[str]) -> int:
    try:
        options = options_of(words)
        if options.mode == "p":
            return _queue(options)
        if options.mode in ("q", "i"):
            return OK
        if options.mode != "m":
            raise Stop(USAGE, f"-b{options.mode} is not done here")
        drop, message = read(options, sys.stdin.buffer)
        leave(maildrop(options), drop_octets(drop, message))
    except Stop as stop:
        print(f"sendmail: {_text(stop.why)}", file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        return TEMPORARY
    return OK


# --- the command line -------------------------------------------------------------------------------------------

def options_of(words: Sequence[str]) -> Options:
    """As getopt has it: letters may stand together, a value in the same word or the next.  Stop."""
    options = Options()
    rest = iter(words)
    for word in rest:
        if word == "--":
            options.recipients += rest
            break
        if not word.startswith("-") or word == "-":
            options.recipients.append(word)
            continue
        _letters(word[1:], rest, options)
    try:
        options.recipients = [one for word in options.recipients for one in _recipients(word)]
        if options.sender:
            options.sender = checked(options.sender)
    except BadDrop as fault:
        raise Stop(USAGE, str(fault)) from None
    return options


def _recipients(word: str) -> list[str]:
    """Addresses with commas or spaces between them, or a list as a field has it.  BadDrop."""
    if re.search(r'[<>"(;]', word) is not None:
        return listed(word, "the command line")
    return [checked(one) for one in re.split(r"[\s,]+", word) if one]


def _letters(letters: str, rest: Iterator[str], options: Options) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        value = ""
        if letter in _WITH_VALUE or letter in _JOINED:
            value, letters = letters, ""
            if not value and letter not in _JOINED:
                value = next(rest, "\0")
                if value == "\0":
                    raise Stop(USAGE, f"-{letter} wants a value")
        elif letter not in _ALONE:
            hint = {"c": "; the configuration is named by -C FILE", "-": f"{letters[:30]}\n{SYNOPSIS}"}
            raise Stop(USAGE, f"there is no option -{letter}{hint.get(letter, '')}")
        _take(letter, value, options)


def _take(letter: str, value: str, options: Options) -> None:
    match letter:
        case "t":
            options.reads_header = True
        case "i":
            options.ignores_dots = True
        case "o":
            options.ignores_dots = options.ignores_dots or value == "i"
        case "O":
            options.ignores_dots = options.ignores_dots or value.lower() in ("ignoredots=true", "ignoredots")
        case "f" | "r":
            is_bracketed = value.startswith("<") and value.endswith(">")
            options.sender = value[1:-1] if is_bracketed else value
        case "F":
            options.name = shown_name(_text(value))
        case "N":
            options.notify = _notify(value)
        case "R":
            if value.lower() not in ("full", "hdrs"):
                raise Stop(USAGE, "-R is full or hdrs")
            options.returns = {"full": "full", "hdrs": "headers"}[value.lower()]
        case "V":
            try:
                envid_of(value)
            except BadSlip as fault:
                raise Stop(USAGE, f"-V: {fault}") from None
            options.envid = value
        case "C":
            options.config = value
        case "b":
            options.mode = value or "m"
        case "q":
            options.mode = "q"
        case "I":
            options.mode = "i"
        case _:
            pass  # of another sendmail


def _notify(value: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip().lower() for word in value.split(",")))
    if not set(words) <= NOTIFIES.keys() or ("never" in words and len(words) > 1):
        raise Stop(USAGE, "-N is never, or a list of success, failure and delay")
    return words


# --- the message ----------------------------------------------------------------------------------------------------

_NAMED: Final = ("To", "Cc", "Bcc")
_RESENT: Final = ("Resent-To", "Resent-Cc", "Resent-Bcc")


def read(options: Options, stdin: object) -> tuple[Drop, bytes]:
    """What is to be left.  Stop."""
    message = _octets(options, stdin)
    if b"\0" in message:
        raise Stop(DATA, "the message holds a NUL")
    try:
        recipients = list(options.recipients)
        if options.reads_header:
            # As sendmail(1) has it: who stands on the command line, too, gets it; and of a message that is sent again
            # (RFC 5322 s3.6.6) whom that is for, and not whom it was for before.
            header = _header(message)
            is_resent = any(has_field(header, name.encode()) for name in _RESENT)
            recipients = [*addresses_of(header, _RESENT if is_resent else _NAMED), *recipients]
        sender = _user() if options.sender is None else options.sender
    except BadDrop as fault:
        raise Stop(DATA, str(fault)) from None
    if not recipients:
        raise Stop(USAGE, "no recipients: on the command line, or with -t in To, Cc and Bcc")
    if len(recipients) > MOST_RECIPIENTS:
        raise Stop(DATA, f"more than {MOST_RECIPIENTS} recipients")
    name = options.name or _full_name() if options.sender is None else options.name
    drop = Drop(
        sender, tuple(dict.fromkeys(recipients)), name, options.notify, options.returns, options.envid
    )
    return drop, message


def _header(message: bytes) -> bytes:
    rest = message.partition(b"\n")[2] if message.startswith(b"From ") else message
    return without_bare_crs(header_of(rest), b" ")


def _octets(options: Options, stdin: object) -> bytes:
    octets: bytes = stdin.read(MOST_OCTETS + 1)  # type: ignore[attr-defined] # a binary file
    if len(octets) > MOST_OCTETS:
        raise Stop(DATA, f"the message has more than {MOST_OCTETS} octets")
    if options.ignores_dots:
        return octets
    # A dot alone on a line ends it, as when one types it.
    found = re.search(rb"(?:\A|(?<=\n))\.\r?(?:\n|\Z)", octets)
    return octets if found is None else octets[:found.start()]


def _user() -> str:
    import pwd

    try:
        return checked(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        raise Stop(NO_PERMISSION, f"there is no user {os.getuid()}: say -f ADDRESS") from None
    except BadDrop as fault:
        raise Stop(DATA, f"the user's name: {fault}: say -f ADDRESS") from None


def _full_name() -> str:
    import pwd

    try:
        found = pwd.getpwuid(os.getuid())
    except KeyError:
        return ""
    # GECOS: the first part; "&" is the user's name.
    name = found.pw_gecos.partition(",")[0].replace("&", found.pw_name.title())
    return shown_name(_text(name))


def _text(text: str) -> str:
    """Arguments and the system's users come in any octets, and those that are no UTF-8 as surrogates (PEP 383): U+FFFD
    for each."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


# --- the maildrop ---------------------------------------------------------------------------------------------------

def maildrop(options: Options) -> str:
    """The folder; Stop where there is none."""
    file = options.config or DEFAULT_FILE
    if options.config is not None or is_there(file):
        try:
            return maildrop_of(file)
        except ConfigError as fault:
            if options.config is not None or not isinstance(fault.__context__, PermissionError):
                raise Stop(CONFIG, str(fault)) from None
            return DEFAULT_MAILDROP
    if os.path.isdir(TRIAL_STATE):
        return os.path.join(os.path.abspath(TRIAL_STATE), OWN_MAILDROP)
    return DEFAULT_MAILDROP


def leave(folder: str, octets: bytes) -> str:
    """Put it there, durably; the file's name.  Stop, and then there is none."""
    name = secrets.token_hex(16)
    path = os.path.join(folder, name)
    try:
        facts = os.stat(_made(folder))
        # Until its group may read it it is not whole, and nobody takes it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        _stop(folder, fault)
    try:
        try:
            left = memoryview(octets)
            while left:
                left = left[os.write(descriptor, left):]
            if os.fstat(descriptor).st_gid != facts.st_gid:
                os.fchown(descriptor, -1, facts.st_gid)  # the gateway's, where the folder does not give it
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _sync_folder(folder)
    except OSError as fault:
        try:
            os.unlink(path)
        except OSError:
            pass
        _stop(folder, fault)
    return name


def _made(folder: str) -> str:
    """Where it is our own gateway's, or root asks, and the state is there, the folder is made."""
    state, name = os.path.split(folder)
    if name == OWN_MAILDROP and not os.path.isdir(folder) and os.path.isdir(state):
        above = os.stat(state)
        if os.geteuid() in (0, above.st_uid):
            os.mkdir(folder, 0o700)
            if os.geteuid() == 0:
                os.chown(folder, above.st_uid, above.st_gid)
            os.chmod(folder, stat.S_ISGID | 0o700)
    return folder


def _sync_folder(folder: str) -> None:
    """Who may not read the folder cannot; the file's own sync has its name with it on the file systems that Linux has
    (ext4, XFS, btrfs)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stop(folder: str, fault: OSError) -> NoReturn:
    why = f"{folder}: {fault.strerror}"
    if isinstance(fault, PermissionError):
        raise Stop(NO_PERMISSION, f"{why}; this user may not leave mail there") from None
    if isinstance(fault, FileNotFoundError | NotADirectoryError):
        raise Stop(CONFIG, f"{why}; no gateway is set up here, or its maildrop is elsewhere: say -C FILE") from None
    raise Stop(TEMPORARY, why) from None


def _queue(options: Options) -> int:
    """The gateway's, where it can be told, and what it has not taken yet."""
    from mailgw.ctl import main as command
    from mailgw.mailq import say_maildrop
    from mailgw.terminal import Fault, discard_output, flush

    named = [] if options.config is None else ["--config", options.config]
    status = OK if command(["queue", "list", *named]) == 0 else TEMPORARY
    try:
        say_maildrop(maildrop(options))
        flush()
    except BrokenPipeError:  # as in "mailq | head"
        discard_output()
    except Fault as fault:
        raise Stop(IO, str(fault)) from None
    return status
