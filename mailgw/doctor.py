"""``mailgw doctor --wire HOST:PORT``: tries the known tricks on a mail server of one's own, and says which work.

The tricks themselves are ``mailgw.wire.probes``; here are the command line, the sockets and the printing.
"""

import argparse
import ipaddress
import json
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.terminal import progress
from mailgw.wire.probes.conversing import NO_GREETING, Connection, examine, survey
from mailgw.wire.probes.every import GROUPS
from mailgw.wire.probes.script import Finding, Judgement, Login, Probe, Server, Target

FOREIGN = Mailbox("mailgw-doctor", "example.com")
"""At a domain that takes no mail at all (RFC 7505: its MX is null), and to which nothing is sent."""
TIMEOUT_SECONDS = 10.0
READ_OCTETS = 65_536

WORDS = """\
Talks to the mail server at HOST:PORT as an ill-meaning client would, and prints one line for each trick:

  ok        the server did not fall for it
  WEAK      it did; the line says what follows from that
  unknown   it did not let us see (it refused us before, or did not answer)
  skipped   something was not given, or the server does not offer what the trick is about

smuggling   ends of a message that are none (LF.LF, CR.CR and their kin), lines that are two to somebody else
injection   commands sent ahead of TLS, line ends and NULs inside of addresses, a browser's form
relay       every way to write "pass this on to another": as a stranger, with routes, percents, bangs, as postmaster
pipelining  answers out of order, commands obeyed that were a message's text
limits      lines, recipients, errors, sizes, chunks; passwords in clear

Most tricks stop before a message would be taken.  Those that need one ("sends a message") want --recipient, an
address that this server serves: expect a handful of empty messages there where it takes what it should refuse.  What
is probed is what a client at this machine's address sees: where that address may relay, the relay probes say WEAK.
They never log in; the others do with --login, as one who was given an account and smuggles.
"""

EPILOG = """\
examples:
  mailgw doctor --wire 127.0.0.1:25
  mailgw doctor --wire 127.0.0.1:25 --recipient me@example.org
  mailgw doctor --wire 127.0.0.1:25 --recipient me@example.org --starttls
  mailgw doctor --wire 127.0.0.1:465 --tls --json
  mailgw doctor --wire 127.0.0.1:587 --starttls --login me@example.org --password-file secret --recipient me@example.org
exit status: 0 no weakness found, 1 a weakness found, 2 it could not run"""


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", say: Callable[[str], None]
) -> None:
    """The command's options; ``say`` prints a line."""
    one = commands.add_parser(
        "doctor",
        help="try the known tricks on a mail server of your own",
        description=WORDS,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("--wire", metavar="HOST:PORT", type=_host_and_port, required=True, help="whom to probe")
    one.add_argument("--recipient", metavar="ADDRESS", type=_mailbox, help="one that it serves, for most probes")
    one.add_argument(
        "--foreign", metavar="ADDRESS", type=_mailbox, default=FOREIGN,
        help=f"one that it must not pass mail on to; default: {FOREIGN}",
    )
    how = one.add_mutually_exclusive_group()
    how.add_argument("--starttls", action="store_true", help="say STARTTLS before every probe that is not about it")
    how.add_argument("--tls", action="store_true", help="TLS from the first octet, as on port 465")
    one.add_argument("--login", metavar="NAME", help="log in (AUTH PLAIN), so that a submission port lets us in")
    one.add_argument("--password-file", metavar="FILE", help="the login's password: the first line")
    one.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=TIMEOUT_SECONDS,
        help=f"of silence, then nothing more is waited for; default: {TIMEOUT_SECONDS:g}",
    )
    one.add_argument("--source", metavar="ADDRESS", default="", help="the address of this machine to probe from")
    one.add_argument("--only", metavar="GROUP", action="append", choices=GROUPS, help="one of " + ", ".join(GROUPS))
    one.add_argument("--json", action="store_true", help="one object, for programs")
    one.add_argument(
        "--yes-it-is-mine", action="store_true", dest="is_mine",
        help="probe a server on another machine; without that it must be on this one",
    )
    one.set_defaults(run=lambda options: doctor(options, say), usage_fault=one.error)


def doctor(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Run the probes; the exit status."""
    host, port = options.wire
    if (options.login is None) is not (options.password_file is None):
        options.usage_fault("--login and --password-file go together")
    if options.login is not None and not (options.tls or options.starttls):
        options.usage_fault("--login wants --tls or --starttls: a password is not sent in clear")
    try:
        login = _login(options.login, options.password_file)
    except (OSError, ValueError) as fault:
        print(f"mailgw: {options.password_file}: {getattr(fault, 'strerror', None) or fault}", file=sys.stderr)
        return 2
    target = Target(options.recipient, options.foreign, options.starttls, options.tls, login)
    addresses: list[str] = []

    def connect() -> Connection:
        return SocketConnection(addresses, host, port, options.timeout, options.source, options.tls)

    try:
        addresses += _own_addresses(host, port, options.is_mine)
        server = survey(target, connect)
    except OSError as fault:
        server = fault.strerror or str(fault)
    if isinstance(server, str):
        if server.startswith(NO_GREETING):
            tls = "" if options.tls else "begin with TLS (--tls), or "
            server += f"; does this port {tls}want a PROXY header?"
        print(f"mailgw: {host}:{port}: {server}", file=sys.stderr)
        return 2
    groups = options.only or list(GROUPS)
    findings = []
    told: set[str] = set()
    probes = [probe for group in GROUPS if group in groups for probe in GROUPS[group]]
    # Where each has its line, these show how far one is.
    for probe in progress(probes, len(probes), "probes") if options.json or not sys.stdout.isatty() else probes:
        finding = examine(probe, target, connect)
        findings.append((probe, finding))
        if not options.json:
            say(line_of(probe, finding, told))
    counts = Counter(finding.judgement for _, finding in findings)
    if options.json:
        say(json.dumps(_as_json(options.wire, server, findings), indent=1))
    else:
        parts = (f"{counts[judgement]} {judgement.value}" for judgement in Judgement)
        say(f"{server.name} at {host}:{port}: {len(findings)} probes: " + ", ".join(parts))
        if login is None and (shut := sum(map(_wants_login, findings))):
            say(f"{shut} unknown because it wants a login: --login")
    if counts[Judgement.WEAK]:
        return 1
    if not counts[Judgement.OK]:
        print(f"mailgw: {host}:{port}: none of the probes came to anything", file=sys.stderr)
        return 2
    return 0


def _login(name: str | None, password_file: str | None) -> Login | None:
    """OSError, or ValueError, where the password cannot be read."""
    if name is None or password_file is None:
        return None
    with open(password_file, encoding="utf-8") as opened:
        return Login(name, opened.readline().rstrip("\r\n"))


def _wants_login(found: tuple[Probe, Finding]) -> bool:
    _, finding = found
    # RFC 4954 s6: 530 Authentication required
    return finding.judgement is Judgement.UNKNOWN and re.search(r"\b530\b", finding.answer) is not None


def line_of(probe: Probe, finding: Finding, told: set[str]) -> str:
    """``told`` are the meanings that were said: one is not said twice."""
    sent = probe.sent + " (sends a message)" * probe.leaves_mail
    answer = f" => {finding.answer}" if finding.answer else ""
    meaning = f": {'as above' if finding.meaning in told else finding.meaning}" if finding.meaning else ""
    if finding.judgement is Judgement.WEAK:
        told.add(finding.meaning)
    return f"{finding.judgement.value:8} {probe.name:30} {sent}{answer}{meaning}"


def _as_json(wire: tuple[str, int], server: Server, findings: list[tuple[Probe, Finding]]) -> dict[str, Any]:
    return {
        "host": wire[0],
        "port": wire[1],
        "server": server.name,
        "probes": [
            {
                "name": probe.name,
                "judgement": finding.judgement.value,
                "sent": probe.sent,
                "sends_message": probe.leaves_mail,
                "answer": finding.answer,
                "meaning": finding.meaning,
            }
            for probe, finding in findings
        ],
    }


# What the SSL library calls octets that are no TLS, such as a greeting; its versions differ.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})


# --- sockets ----------------------------------------------------------------------------------------------

class SocketConnection:
    """``probes.conversing.Connection`` on a blocking socket."""

    def __init__(
        self, addresses: Sequence[str], host: str, port: int, timeout: float, source: str, tls: bool
    ) -> None:
        """To the first of ``addresses`` that answers."""
        self._host = host
        self._socket = _connected(addresses, port, timeout, (source, 0) if source else None)
        # Else the pieces of a torn command would travel together.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            try:
                self.start_tls()
            except OSError as fault:
                self._socket.close()
                if getattr(fault, "reason", None) in _NO_TLS:
                    raise OSError("no TLS from the first octet: --starttls?") from None
                raise

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def receive(self) -> bytes:
        return self._socket.recv(READ_OCTETS)

    def start_tls(self) -> None:
        import ssl  # 15 ms, which the other commands need not wait for

        # The server is the operator's own, and nothing secret is sent: its certificate is not what is probed.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._socket = context.wrap_socket(self._socket, server_hostname=self._host)

    def close(self) -> None:
        self._socket.close()


def _connected(
    addresses: Sequence[str], port: int, timeout: float, source_address: tuple[str, int] | None
) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout, source_address)
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout, source_address)


def _own_addresses(host: str, port: int, is_mine: bool) -> list[str]:
    """What to connect to; OSError where one is not on this machine and nobody said that it is one's own."""
    addresses = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not is_mine and not all(map(_is_here, addresses)):
        raise OSError(
            "not on this machine: probing others' servers is an attack; if it is yours, say --yes-it-is-mine"
        )
    return list(dict.fromkeys(addresses))


def _is_here(address: str) -> bool:
    """Whether the address is one of this machine's: then it can be bound."""
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


# --- the command line -------------------------------------------------------------------------------------

def _host_and_port(word: str) -> tuple[str, int]:
    host, colon, port = word.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65_536:
        raise argparse.ArgumentTypeError(f"expected HOST:PORT, such as 127.0.0.1:25 or [::1]:25, not {word!r}")
    return host, int(port)


def _mailbox(word: str) -> Mailbox:
    mailbox = parse_mailbox(word)
    if mailbox is None:
        raise argparse.ArgumentTypeError(f"expected an address such as user@example.org, not {word!r}")
    return mailbox


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0 and at most 3600, not {word!r}")
    return seconds
