"""The ``mailgw`` command: check a configuration, set passwords, look into the queue, probe a server.

The queue commands talk to a running gateway through its control socket; where none runs they open its
spool themselves, behind the same lock as a gateway would.  No Twisted reactor here, and whatever is heavy
is imported by the command that needs it: it should answer as quickly as one types.

Exit status: 0 done, 1 a fault (said on standard error), 2 the command line makes no sense.
"""

import argparse
import getpass
import json
import os
import re
import socket
import sys
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import mailgw
from mailgw import doctor
from mailgw.config.where import DEFAULT_FILE, config_faults, own_state, state_of
from mailgw.mail.address import MAX_CREATED_LOCAL_PART_OCTETS, Mailbox, parse_domain, parse_mailbox
from mailgw.mail.errors import ConfigError, TemporaryFault

ANSWER_SECONDS = 60.0
DEFAULT_ROWS = 1000
LANES_SHOWN = 10
_HELD = re.compile(r"\b(HOLDUNTIL=)([0-9]{1,11}(?:\.[0-9]+)?)(?= |\Z)")

EPILOG = f"""\
commands:
  mailgw check -c FILE                  would this configuration start? every fault, with its line
  mailgw passwd user@example.org        set a password, or make an account
  mailgw queue list                     what waits, for whom, and why
  mailgw queue list --domain example.org --json
  mailgw queue show ID                  one message: its recipients and its header
  mailgw queue retry ID | --domain example.org | --all
  mailgw queue remove ID | --sender spam@example.net
  mailgw doctor --wire 127.0.0.1:25     can this server be tricked? smuggling, injection, relaying, limits

FILE is {DEFAULT_FILE} where nothing is said; passwd and queue take -c FILE, too.
The gateway itself is started with: twistd mailgw --help
exit status: 0 done, 1 a fault, 2 the command line makes no sense"""

LIST_WORDS = """\
A recipient's line has its address, its lane (the backend, with the destination that it waits for), and when it is
tried: "in line" is being tried now, or waits for its turn at its destination, whose next attempt may be minutes away;
"held" is tried when you say so.  What its sender wants sent later (FUTURERELEASE) says "not before ...": retry releases
it at once, remove cancels it."""
RETRY_WORDS = """\
It counts as an attempt of the schedule: what fails again waits as long as after any other attempt.  What is active
already is left alone.  While the gateway is stopped, "now" is when it starts."""
REMOVE_WORDS = """\
There is no --all: name the message, or say which by the filters.
The journal of a running gateway says so; while it is stopped nothing is written there."""


class Fault(Exception):
    """What went wrong, in words for the operator."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    try:
        try:
            options = options_of(arguments)
            run: Callable[[argparse.Namespace], int] = options.run
            return run(options)
        finally:
            _flush()
    except BrokenPipeError:  # as in "mailgw queue list | head"
        _discard_output()
        return 0
    except KeyboardInterrupt:
        return 1
    except (Fault, TemporaryFault, ConfigError) as fault:
        print(f"mailgw: {fault}", file=sys.stderr)
        return 1


def say(text: str) -> None:
    """Print a line; Fault where standard output takes none, BrokenPipeError where its reader has gone."""
    with _output_faults():
        try:
            print(text)
        except UnicodeEncodeError:  # a locale that knows fewer letters than addresses have
            print(text.encode("ascii", "backslashreplace").decode())


def _flush() -> None:
    if sys.stdout is not None:  # None: closed by who called us
        with _output_faults():
            sys.stdout.flush()


@contextmanager
def _output_faults() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as fault:
        _discard_output()
        raise Fault(f"standard output: {fault.strerror}") from None


def _discard_output() -> None:
    """What is still in the buffer goes nowhere; else Python would try it again at the exit, with a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


# --- check ------------------------------------------------------------------------------------------------

def check(options: argparse.Namespace) -> int:
    """Load the file and all it names, as a start does; nothing is bound."""
    file = options.config or options.file or DEFAULT_FILE
    from mailgw.config.accounts import passwd_warnings
    from mailgw.config.doubts import doubts
    from mailgw.config.load import load
    from mailgw.net.files import open_files_at_most, too_few_files
    from mailgw.net.server_tls import is_exposed

    if options.user is not None:
        _become(options.user)
    try:
        config = load(file)
    except ExceptionGroup as group:
        faults = config_faults(group)
        if not faults:
            raise
        for fault in faults:
            print(fault, file=sys.stderr)
        return 1
    parts = (
        (len(config.listeners), "listener"),
        (len(config.routes), "route"),
        (len(config.backends), "backend"),
        (len(config.tls.certificates), "certificate"),
    )
    say(f"{file}: good: " + ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for n, word in parts))
    for doubt in doubts(config):
        where = f"{file}:{doubt.line}" if doubt.line else file
        print(f"{where}: warning: {doubt.key}: {doubt.why}", file=sys.stderr)
    for key in sorted({files.private_key for files in config.tls.certificates.values()}):
        if is_exposed(key):
            print(f"{file}: warning: the TLS key {key} is open to every user here: chmod o= it", file=sys.stderr)
    for warning in passwd_warnings(config.passwd_file) if config.passwd_file is not None else ():
        print(f"{file}: warning: {warning}", file=sys.stderr)
    if why := too_few_files(config.limits.sessions, open_files_at_most()):
        print(f"{file}: warning: {why}", file=sys.stderr)
    if os.geteuid() == 0:
        say(
            "checked as root, who may read everything; where the gateway gives up root's rights (twistd --uid), "
            "check as that user too: mailgw check --user NAME"
        )
    return 0


def _become(name: str) -> None:
    import pwd

    from mailgw.config.files import python_fault

    try:
        user = pwd.getpwnam(name)
        if why := python_fault((user.pw_uid, user.pw_gid)):
            print(f"mailgw: warning: {why}", file=sys.stderr)
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    except KeyError:
        raise Fault(f"there is no user {name}") from None
    except OSError as fault:
        raise Fault(f"cannot become {name}: {fault.strerror}") from None


# --- passwd -----------------------------------------------------------------------------------------------

SCHEMES = ("ARGON2ID", "SCRAM-SHA-256")  # access.schemes.MADE, which takes its time to be imported


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
    say(f"{path}: the password of {mailbox} is set")
    if "xn--" in mailbox.domain:
        say("a domain of other letters is kept in its ASCII form, as you see it here; who logs in may use either")
    if is_new and os.geteuid() == 0:
        say(f"the file is new and root's alone; give it to the gateway's user: chown mailgw {path}")
    return 0


def _passwd_file(file: str) -> str:
    state_of(file)  # for its words about a file that cannot be read
    with open(file, "rb") as opened:
        accounts = tomllib.load(opened).get("accounts")
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


# --- queue ------------------------------------------------------------------------------------------------

def queue_list(options: argparse.Namespace) -> int:
    rows, _ = _ask(options, "queue.list", query=_filters(options), limit=options.limit)
    if not rows and options.where_lane is not None:
        _look_for_lane(options)
    if options.json:
        say("[" + ",".join("\n" + json.dumps(row) for row in rows) + ("\n]" if rows else "]"))
    else:
        for line in table(rows, time.time()):
            say(line)
    if len(rows) == options.limit:
        print(f"mailgw: the first {options.limit} rows; more with --limit", file=sys.stderr)
    return 0


def _look_for_lane(options: argparse.Namespace) -> None:
    """Say which lanes there are, where it is none of them."""
    rows, _ = _ask(options, "queue.list", query={}, limit=DEFAULT_ROWS)
    lanes = sorted({row["lane"] for row in rows})
    if lanes and options.where_lane not in lanes:
        shown = ", ".join(map(harmless, lanes[:LANES_SHOWN])) + (", ..." if len(lanes) > LANES_SHOWN else "")
        wanted = harmless(options.where_lane)
        print(f"mailgw: nothing is in the lane {wanted}; there is mail in {shown}", file=sys.stderr)


def queue_show(options: argparse.Namespace) -> int:
    found, _ = _ask(options, "queue.show", queue_id=options.queue_id)
    if options.json:
        say(json.dumps(found))
        return 0
    for line in table(found["rows"], time.time()):
        say(line)
    for row in found["rows"][:1]:
        say(f"\nfrom {harmless(row['peer']) or 'here'} ({harmless(row['helo'])}), {row['protocol'] or 'no protocol'}")
        if row["parameters"]:
            say(f"MAIL asked for {_HELD.sub(_date, harmless(row['parameters']))}")
    for row in found["rows"]:
        if row["recipient_parameters"]:
            say(f"RCPT {harmless(row['recipient'])} asked for {harmless(row['recipient_parameters'])}")
    say("")
    for line in found["header"].split("\n"):
        say(harmless(line))
    return 0


def queue_retry(options: argparse.Namespace) -> int:
    return _act(options, "queue.retry", "will be tried now", "will be tried when the gateway starts")


def queue_remove(options: argparse.Namespace) -> int:
    return _act(options, "queue.remove", "removed", "removed")


def _act(options: argparse.Namespace, command: str, done: str, done_while_stopped: str) -> int:
    filters = _filters(options)
    if not (filters or options.queue_ids or options.all):
        options.usage_fault("say which: an ID, or a filter" + (", or --all" if command == "queue.retry" else ""))
    queries = [{**filters, "queue_id": queue_id} for queue_id in options.queue_ids] or [filters]
    total, missing, is_running = 0, [], True
    for query in queries:
        count, is_running = _ask(options, command, query=query)
        total += count
        if not count and "queue_id" in query:
            missing.append(query["queue_id"])
    if options.json:
        say(json.dumps({"recipients": total}))
    else:
        say(f"{total} recipient{'' if total == 1 else 's'} {done if is_running else done_while_stopped}")
    if missing:
        raise Fault(f"not in the queue: {', '.join(map(harmless, missing))}")
    return 0


def table(rows: Sequence[Mapping[str, Any]], now: float) -> list[str]:
    """Rows for people: a message, below it its recipients, each with its lane, and why they wait."""
    if not rows:
        return ["the queue is empty, or nothing in it matches"]
    lines: list[str] = []
    last = None
    for row in rows:
        if row["queue_id"] != last:
            last = row["queue_id"]
            arrived = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(row["arrived"]))
            sender = harmless(row["sender"]) or "<>"
            lines.append(f"{last}  {arrived}  {row['size_octets']} octets  from {sender}")
        attempts = f"{row['attempts']} attempt{'' if row['attempts'] == 1 else 's'}"
        lines.append(f"    {harmless(row['recipient'])}  {harmless(row['lane'])}  {_when(row, now)}, {attempts}")
        if row["reason"]:
            lines.append(f"        {harmless(row['reason'])}")
    return lines


def _date(found: re.Match[str]) -> str:
    """RFC 3339, as FUTURERELEASE has it (RFC 4865 s3), of seconds since 1970."""
    return found[1] + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(float(found[2])))


def _when(row: Mapping[str, Any], now: float) -> str:
    if row["state"] == "active":
        return "in line"
    if row["due"] is None or row["state"] != "waiting":
        return str(row["state"])
    seconds = row["due"] - now
    if seconds <= 0:
        return "due now"
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"next in {seconds / length:.0f}{unit}"
    return f"next in {seconds:.0f}s"


def harmless(text: str) -> str:
    """Text that strangers wrote, without what a terminal would obey; tabs stay, as folded headers have them."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def _filters(options: argparse.Namespace) -> dict[str, str]:
    names = ("queue_id", "sender", "recipient", "domain", "lane", "state")
    given = {name: getattr(options, f"where_{name}", None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


# --- the two doors into a queue ---------------------------------------------------------------------------

def _ask(options: argparse.Namespace, command: str, **request: Any) -> tuple[Any, bool]:
    """The result of a control command, and whether a gateway runs that gave it; else it is the spool's."""
    if options.folder is not None:
        state = os.path.abspath(options.folder)
    else:
        state = state_of(options.config) if options.config is not None else own_state()
    answer = ask_gateway(f"{state}/control.sock", {"command": command, **request})
    if answer is None:
        return _ask_spool(state, command, request), False
    return answer, True


def ask_gateway(path: str, request: Mapping[str, Any]) -> Any:
    """The gateway's result, or None where no gateway listens at ``path``.  Fault where it says no, or nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(ANSWER_SECONDS)
        try:
            door.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None  # never started, or stopped without a chance to tidy
        except OSError as fault:
            raise Fault(f"{path}: {fault.strerror or fault}; run this as the gateway's user") from None
        try:
            door.sendall(json.dumps(request).encode() + b"\n")
            with door.makefile("rb") as answers:
                line = answers.readline()
            answer = json.loads(line)
        except (OSError, ValueError) as fault:
            raise Fault(f"{path}: the gateway did not answer ({fault or 'it hung up'})") from None
    if not answer.get("ok"):
        raise Fault(str(answer.get("error")))
    return answer["result"]


def _ask_spool(state: str, command: str, request: Mapping[str, Any]) -> Any:
    """The same from the spool itself; TemporaryFault where somebody else holds it."""
    folder = f"{state}/spool"
    if not os.path.isdir(folder):
        if os.path.isdir(state) and os.access(state, os.R_OK | os.X_OK):
            if command == "queue.show":
                raise _not_queued(request["queue_id"])
            return [] if command == "queue.list" else 0  # nothing was ever queued
        raise Fault(f"no gateway runs, and there is no queue, at {state}; say --config FILE or --state FOLDER")
    _act_as_owner(folder)
    import attrs

    from mailgw.mail.message import Query
    from mailgw.spool.offline import open_offline
    from mailgw.spool.settings import SpoolSettings

    settings = SpoolSettings(folder=folder, reserve_octets=0, inline_octets=1 << 16, lease_seconds=7200.0, node="0")
    with open_offline(settings, time.time, to_look=command in ("queue.list", "queue.show")) as spool:
        query = Query(**request.get("query", {}))
        match command:
            case "queue.list":
                return [attrs.asdict(row) for row in spool.search(query, request["limit"])]
            case "queue.retry":
                return spool.retry(query)
            case "queue.remove":
                return spool.remove(query)
            case _:
                from mailgw.control import HEADER_OCTETS, MAX_ROWS, shown

                rows = spool.search(Query(queue_id=request["queue_id"]), MAX_ROWS)
                content = spool.content(request["queue_id"], HEADER_OCTETS)
                if not rows or content is None:
                    raise _not_queued(request["queue_id"])
                return shown(rows, content)


def _not_queued(queue_id: str) -> Fault:
    return Fault(f"no message {harmless(queue_id)} in the queue")


def _act_as_owner(folder: str) -> None:
    """As root, go on as the folder's owner: a database touched by root has files that the gateway cannot open."""
    facts = os.stat(folder)
    if os.geteuid() == 0 and facts.st_uid != 0:
        os.setgroups([])
        os.setgid(facts.st_gid)
        os.setuid(facts.st_uid)


# --- the command line -------------------------------------------------------------------------------------

def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What the words ask for; where they make no sense SystemExit(2), after the usage of the command they name."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:  # argparse itself would print the usage of "mailgw" alone
        options.usage_fault(f"unrecognized arguments: {' '.join(map(harmless, unknown))}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailgw",
        description="Commands for the mail gateway that runs as: twistd mailgw",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mailgw {mailgw.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    one = commands.add_parser("check", help="say whether a configuration would start, and if not, every reason")
    place = one.add_mutually_exclusive_group()
    place.add_argument("-c", "--config", metavar="FILE", help=f"default: {DEFAULT_FILE}")
    place.add_argument("file", metavar="FILE", nargs="?", help="the same")
    one.add_argument("--user", metavar="NAME", help="check as the user that twistd --uid makes of root")
    one.set_defaults(run=check, usage_fault=one.error)

    one = commands.add_parser("passwd", help="set the password of an account, new or old")
    place = one.add_mutually_exclusive_group()
    place.add_argument("-c", "--config", metavar="FILE", help=f"whose [accounts] to change; default: {DEFAULT_FILE}")
    place.add_argument("--file", metavar="PASSWD", help="the passwd-file itself; made where it does not exist")
    one.add_argument("--stdin", action="store_true", help="read the password from standard input, one line")
    one.add_argument(
        "--scheme", type=str.upper, choices=SCHEMES, default=SCHEMES[0],
        help=f"{SCHEMES[1]} serves programs that do not send their password, too; default: {SCHEMES[0]}",
    )
    one.add_argument("address", type=_address, metavar="user@domain")
    one.set_defaults(run=passwd, usage_fault=one.error)

    queue = commands.add_parser("queue", help="look into the queue; retry, remove")
    actions = queue.add_subparsers(metavar="ACTION", required=True)

    one = _queue_action(actions, "list", "what waits, for whom, and why", queue_list, LIST_WORDS)
    _add_filters(one)
    one.add_argument("--limit", type=_count, default=DEFAULT_ROWS, help=f"rows at most; default: {DEFAULT_ROWS}")

    one = _queue_action(actions, "show", "one message: its recipients and its header", queue_show, LIST_WORDS)
    one.add_argument("queue_id", type=_text, metavar="ID")

    one = _queue_action(actions, "retry", "try now, held ones too", queue_retry, RETRY_WORDS)
    _add_filters(one)
    one.add_argument("--all", action="store_true", help="everything in the queue")
    one.add_argument("queue_ids", type=_text, metavar="ID", nargs="*")

    one = _queue_action(actions, "remove", "forget, without a bounce", queue_remove, REMOVE_WORDS)
    _add_filters(one)
    one.add_argument("queue_ids", type=_text, metavar="ID", nargs="*")

    doctor.add_command(commands, say)
    return parser


def _queue_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    words: str,
    run: Callable[[argparse.Namespace], int],
    more: str,
) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(name, help=words, description=f"{words}.  {more}")
    place = action.add_mutually_exclusive_group()
    place.add_argument("-c", "--config", metavar="FILE", help=f"whose state folder; default: {DEFAULT_FILE}")
    place.add_argument("--state", metavar="FOLDER", dest="folder", help="its state folder")
    action.add_argument("--json", action="store_true", help="for programs; times are seconds since 1970, UTC")
    action.set_defaults(run=run, usage_fault=action.error, all=False, queue_ids=())
    return action


def _add_filters(action: argparse.ArgumentParser) -> None:
    filters = action.add_argument_group("which; all that is given must match")
    filters.add_argument(
        "--sender", type=_as_queued, metavar="ADDRESS", dest="where_sender", help='"" is the null path of bounces'
    )
    filters.add_argument("--recipient", type=_as_queued, metavar="ADDRESS", dest="where_recipient")
    filters.add_argument(
        "--domain", type=_domain_as_queued, metavar="NAME", dest="where_domain", help="the recipient's"
    )
    filters.add_argument("--lane", type=_text, metavar="LANE", dest="where_lane", help="backend, or backend/domain")
    for state, words in (
        ("held", "undeliverable, kept for you"),
        ("waiting", "until the next attempt is due"),
        ("active", "in line: being tried now, or next at its destination"),
    ):
        filters.add_argument(f"--{state}", dest="where_state", action="store_const", const=state, help=words)


def _as_queued(word: str) -> str:
    """An address as the queue has it: its domain as A-labels.  What is none finds what a newer version may have."""
    word = _text(word)
    mailbox = parse_mailbox(word)
    return word if mailbox is None else str(mailbox)


def _domain_as_queued(word: str) -> str:
    word = _text(word)
    return parse_domain(word) or word


def _text(word: str) -> str:
    """A word that is no file's name, read as UTF-8 also where the locale knows ASCII alone (LC_ALL=C)."""
    try:
        return word.encode("utf-8", "surrogateescape").decode()
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"expected UTF-8, not {word!r}") from None


def _address(word: str) -> Mailbox:
    mailbox = parse_mailbox(_text(word))
    if mailbox is None:
        raise argparse.ArgumentTypeError(f"expected an address such as user@example.org, not {word!r}")
    if len(mailbox.local_part.encode()) > MAX_CREATED_LOCAL_PART_OCTETS:
        raise argparse.ArgumentTypeError(
            f"before the @ stand at most {MAX_CREATED_LOCAL_PART_OCTETS} octets, or others could not write to it"
        )
    if ":" in str(mailbox) or str(mailbox).startswith("#"):
        raise argparse.ArgumentTypeError("a passwd-file has no place for a colon in an address, or a # before it")
    return mailbox


def _count(word: str) -> int:
    if not word.isdecimal() or not 0 < int(word) <= 100_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 100000, not {word!r}")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
