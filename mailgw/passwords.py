"""``mailgw passwd``: the password of one account, in the passwd-file."""

import argparse
import getpass
import json
import os
import sys
import warnings

from mailgw.config.where import DEFAULT_FILE, tables_of
from mailgw.mail.address import MAX_CREATED_LOCAL_PART_OCTETS, Mailbox, parse_mailbox
from mailgw.terminal import Fault, say, text

SCHEMES = ("ARGON2ID", "SCRAM-SHA-256")  # access.schemes.MADE, which takes its time to be imported


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser("passwd", help="set the password of an account, new or old")
    place = one.add_mutually_exclusive_group()
    place.add_argument("-c", "--config", metavar="FILE", help=f"whose [accounts] to change; default: {DEFAULT_FILE}")
    place.add_argument("--file", metavar="PASSWD", help="the passwd-file itself; made where it does not exist")
    one.add_argument("--stdin", action="store_true", help="read the password from standard input, one line")
    one.add_argument(
        "--scheme", type=str.upper, choices=SCHEMES, default=SCHEMES[0],
        help=f"{SCHEMES[1]} serves programs that do not send their password, too; default: {SCHEMES[0]}",
    )
    one.add_argument("--json", action="store_true", help="one object, for programs: the file, the account, its scheme")
    one.add_argument("address", type=_address, metavar="user@domain")
    one.set_defaults(run=passwd, usage_fault=one.error)


def passwd(options: argparse.Namespace) -> int:
    """Set one account's password; the file's other lines, its owner and its mode stay."""
    mailbox: Mailbox = options.address
    path = options.file or _passwd_file(options.config or DEFAULT_FILE)
    password = _password_from(options.stdin)
    from mailgw.access.schemes import SALT_OCTETS, make_hash
    from mailgw.config.files import change
    from mailgw.store.passwd import with_password

    stored = make_hash(password, os.urandom(SALT_OCTETS), options.scheme)
    is_new = not os.path.lexists(path)
    try:
        change(path, lambda octets: with_password(octets, mailbox, stored))
    except OSError as fault:
        raise Fault(f"{fault.filename or path}: {fault.strerror}") from None
    if options.json:
        say(json.dumps({"file": path, "account": str(mailbox), "scheme": options.scheme, "is_new_file": is_new}))
        return 0
    say(f"{path}: the password of {mailbox} is set")
    if "xn--" in mailbox.domain:
        say("a domain of other letters is kept in its ASCII form, as you see it here; who logs in may use either")
    if is_new and os.geteuid() == 0:
        say(f"the file is new and root's alone; give it to the gateway's user: chown mailgw {path}")
    return 0


def _passwd_file(file: str) -> str:
    accounts = tables_of(file).get("accounts")
    path = accounts.get("passwd_file") if isinstance(accounts, dict) else None
    if not isinstance(path, str):
        raise Fault(f"{file} has no [accounts] with a passwd_file; name one: mailgw passwd --file FILE …")
    return os.path.join(os.path.dirname(os.path.abspath(file)), path)


def _password_from(stdin: bool) -> bytes:
    try:
        password = (_read_line() if stdin else _typed_twice()).encode()
    except UnicodeError:
        raise Fault("the password is not UTF-8; nothing was changed") from None
    if not password:
        raise Fault("an empty password would let everybody in; nothing was changed")
    return password


def _read_line() -> str:
    return sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""


def _typed_twice() -> str:
    try:
        with warnings.catch_warnings():
            # Without a terminal getpass reads standard input, echoed, after a warning.
            warnings.simplefilter("error", getpass.GetPassWarning)
            password = getpass.getpass("New password: ")
            again = getpass.getpass("Again: ")
    except getpass.GetPassWarning:
        raise Fault("no terminal to ask on; use --stdin") from None
    except EOFError:
        raise Fault("no password was typed; nothing was changed") from None
    if password != again:
        raise Fault("the two differ; nothing was changed")
    return password


def _address(word: str) -> Mailbox:
    mailbox = parse_mailbox(text(word))
    if mailbox is None:
        raise argparse.ArgumentTypeError(f"expected an address such as user@example.org, not {word!r}")
    if len(mailbox.local_part.encode()) > MAX_CREATED_LOCAL_PART_OCTETS:
        raise argparse.ArgumentTypeError(
            f"before the @ stand at most {MAX_CREATED_LOCAL_PART_OCTETS} octets, or others could not write to it"
        )
    if ":" in str(mailbox) or str(mailbox).startswith("#"):
        raise argparse.ArgumentTypeError("a passwd-file has no place for a colon in an address, or a # before it")
    return mailbox
