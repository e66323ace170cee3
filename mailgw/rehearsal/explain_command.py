"""``mailgw explain``: what would become of a message, stage by stage, and why."""

import argparse
import json
import os
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mailgw.config.where import DEFAULT_FILE
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.once import loaded, run_once
from mailgw.terminal import Fault, harmless, say, text

if TYPE_CHECKING:  # what is heavy is imported by the command itself
    from mailgw.config.settings import Config
    from mailgw.rehearsal.story import Envelope

STRANGER = "192.0.2.1"  # of a network that is for documentation, and so nobody's

WORDS = """\
Runs a message through the rules, routes, aliases, directories and backends of a configuration, as a session would, and
tells what each of them says, what the client would be answered at each command, what would be queued, where it would
go, and when it would be tried.  Nothing is queued, sent, counted or written, and a gateway that runs is not touched.
Plug-ins, directories and DNS are asked for real; a rule can see it (facts.is_rehearsal).
"""
EPILOG = """\
examples:
  mailgw explain --from ann@example.net --to bob@example.org --client 203.0.113.9 --message spam.eml
  mailgw explain --from bob@example.org --to ann@example.net --login bob@example.org
The first is what a stranger's server would meet at port 25, the second one of your own users, whose password is taken
for right.  Without --message rules of the stage CONTENT are not asked.  Limits per address, network and login are not
counted.
exit status: 0 accepted for every recipient, 1 refused or deferred for one, 2 it could not run"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "explain", help="what would become of a message, stage by stage, and why", description=WORDS, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("-c", "--config", metavar="FILE", help=f"default: {DEFAULT_FILE}")
    one.add_argument(
        "--from", dest="sender", type=_sender, metavar="ADDRESS", required=True, help='"" is the null path',
    )
    one.add_argument(
        "--to", dest="recipients", type=_recipient, metavar="ADDRESS", required=True, action="append",
        help="may be said several times",
    )
    one.add_argument(
        "--client", type=_client, metavar="IP",
        help=f'its address, or "local"; default: "local" at a listener on a Unix socket, else {STRANGER}, a stranger',
    )
    one.add_argument("--login", type=_login, metavar="ADDRESS", help="as whom it logged in")
    one.add_argument(
        "--role", type=Role, choices=list(Role), metavar="ROLE",
        help="of the listener: mx, submission, submissions, lmtp; default: submission with --login, else mx",
    )
    one.add_argument("--listen", metavar="ENDPOINT", help="of several listeners of that role, the one at this endpoint")
    one.add_argument("--helo", type=_word, metavar="NAME", help="default: its address")
    one.add_argument("--tls", action="store_true", help="with STARTTLS; with --login this is understood")
    one.add_argument("--message", metavar="FILE", help='its content; "-" is standard input')
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(run=explain, usage_fault=one.error)


def explain(options: argparse.Namespace) -> int:
    """Rehearse, print, and say whether it was accepted."""
    try:
        return _explain(options)
    except (Fault, ConfigError, TemporaryFault) as fault:
        print(f"mailgw: {fault}", file=sys.stderr)
        return 2


def _explain(options: argparse.Namespace) -> int:
    from mailgw.rehearsal.explaining import explained
    from mailgw.rehearsal.gateway import listener_for
    from mailgw.rehearsal.page import lines
    from mailgw.rehearsal.story import Outcome

    config = loaded(options.config or DEFAULT_FILE)
    role = options.role or (Role.SUBMISSION if options.login else Role.MX)
    number = listener_for(config, role, options.listen)
    if number is None:
        where = f" at {options.listen}" if options.listen else ""
        there = ", ".join(f"{one.role.value} at {one.endpoint}" for one in config.listeners)
        raise Fault(f"there is no listener of the role {role.value}{where}; there are: {there}")
    envelope = _envelope(options, role, config, config.listeners[number].endpoint)
    found = run_once(explained(config, number, envelope))
    if options.json:
        say(json.dumps(found.as_json(), indent=2))
    else:
        for line in found.head():
            say(harmless(line))
        say("")
        for line in lines(found.story, found.ways, found.reports, _in_colour()):
            say(line)
    return 0 if found.story.outcome is Outcome.ACCEPTED else 1


def _envelope(options: argparse.Namespace, role: Role, config: "Config", endpoint: str) -> "Envelope":
    from mailgw.rehearsal.past import literal
    from mailgw.rehearsal.story import Envelope

    content, size = (None, 0) if options.message is None else _read(options.message, config.limits.message_octets)
    with_tls = options.tls or bool(options.login) or role is Role.SUBMISSIONS
    client = options.client or ("local" if endpoint.startswith("unix:") else STRANGER)
    return Envelope(
        role, client, options.helo or literal(client), options.sender, tuple(options.recipients), options.login or "",
        with_tls, content, size,
    )


def _read(file: str, most: int) -> tuple[bytes, int]:
    """The content, and its size; of what is too large a little more than may be.

    A file whose lines all end in LF is read as mail programs read it: they end in CRLF.
    """
    try:
        if file == "-":
            octets = sys.stdin.buffer.read(most + 1)
        else:
            with open(file, "rb") as opened:
                octets = opened.read(most + 1)
    except OSError as fault:
        raise Fault(f"{file}: {fault.strerror}") from None
    if b"\r" not in octets:
        octets = octets.replace(b"\n", b"\r\n")
    return octets, len(octets)


def _in_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


# --- words of the command line --------------------------------------------------------------------------------

def _sender(word: str) -> Mailbox | None:
    word = text(word)
    return None if word in ("", "<>") else _mailbox(word)


def _recipient(word: str) -> Mailbox:
    word = text(word)
    return Mailbox(word, "") if word.lower() == "postmaster" else _mailbox(word)


def _mailbox(word: str) -> Mailbox:
    mailbox = parse_mailbox(word)
    if mailbox is None:
        raise argparse.ArgumentTypeError(f"expected an address, such as ann@example.net, not {word!r}")
    return mailbox


def _login(word: str) -> str:
    return str(_mailbox(text(word)))


def _client(word: str) -> str:
    if word == "local":
        return word
    try:
        parsed = ip_address(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected an IP address or "local", not {word!r}') from None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _word(word: str) -> str:
    if not word or not word.isascii() or not word.isprintable() or " " in word:
        raise argparse.ArgumentTypeError(f"expected a name, such as mx.example.net, not {word!r}")
    return word
