"""``mailgw tls DOMAIN``: what mail to a destination meets in the way of TLS, and whether it would go."""

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from mailgw.config.where import DEFAULT_FILE
from mailgw.mail.address import Mailbox, parse_domain, parse_mailbox
from mailgw.once import loaded, run_once
from mailgw.queue_door import ask_gateway
from mailgw.terminal import Fault, say, text

if TYPE_CHECKING:  # what is heavy is imported by the command itself
    from mailgw.config.settings import Config
    from mailgw.deliver.smtp_settings import SmtpSettings
    from mailgw.tls_report import Report

WORDS = """\
Says how the gateway that FILE configures would send mail to DOMAIN (or to one address, where a route is for that
alone): by which backend, what is asked of TLS there and why (the configuration, DANE, MTA-STS), and for each host
whether its certificate does.  It connects as a delivery does, and sends nothing; --no-connect asks DNS, and a domain
for its MTA-STS policy, alone.  Policies that the gateway remembers count as they do there.
"""
EPILOG = """\
examples:
  mailgw tls example.net
  mailgw tls ann@example.net --backend internet --no-connect
  mailgw tls example.net --json
exit status: 0 mail goes, 1 it waits or is returned, 2 it could not run"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    one = commands.add_parser(
        "tls", help="what mail to a destination meets in the way of TLS, tried live", description=WORDS, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("-c", "--config", metavar="FILE", help=f"default: {DEFAULT_FILE}")
    one.add_argument("destination", type=_destination, metavar="DOMAIN", help="or an address")
    one.add_argument("--backend", metavar="NAME", help="as if a route led there")
    one.add_argument("--require-tls", action="store_true", help="for a message with REQUIRETLS (RFC 8689)")
    one.add_argument("--no-connect", action="store_true", help="connect to no mail server")
    one.add_argument("--json", action="store_true", help="for programs")
    one.set_defaults(run=tls, usage_fault=one.error)


def tls(options: argparse.Namespace) -> int:
    """Look, print, and say whether mail goes."""
    try:
        report = _report(options)
    except Fault as fault:
        print(f"mailgw: {fault}", file=sys.stderr)
        return 2
    from mailgw.tls_report import lines

    if options.json:
        say(json.dumps(report.as_json(), indent=2))
    else:
        for line in lines(report):
            say(line)
    return 0 if report.is_good else 1


def _report(options: argparse.Namespace) -> "Report":
    import attrs

    from mailgw.deliver.smtp_settings import SmtpSettings
    from mailgw.queue.route import RouteTable

    config = loaded(options.config or DEFAULT_FILE)
    mailbox: Mailbox = options.destination
    name = options.backend or RouteTable(config.routes).backend_for(mailbox, True)
    if name is None:
        raise Fault(f"no route is for {mailbox.domain}")
    settings = config.backends.get(name)
    if settings is None:
        raise Fault(f"there is no backend {name}")
    if not isinstance(settings, SmtpSettings):
        raise Fault(f"mail for {mailbox.domain} goes to the backend {name}, which sends it to no other server")
    looking = survey(config, name, settings, mailbox.domain, not options.no_connect, options.require_tls)
    return attrs.evolve(run_once(looking), suspended=_suspended(config, _lane(name, settings, mailbox.domain)))


def _lane(name: str, settings: "SmtpSettings", domain: str) -> str:
    return name if settings.hosts else f"{name}/{domain}"


def _suspended(config: "Config", lane: str) -> str:
    """The words that suspend this lane in the gateway that runs; "" where none do, where none runs, or where only its
    own user may ask."""
    from mailgw.queue.suspension import Suspensions

    try:
        words = ask_gateway(config.control, {"command": "queue.suspended"}) or {}
    except Fault:
        return ""
    return ", ".join(sorted(word for word in words if Suspensions.of([word]).holds(lane)))


async def survey(
    config: "Config", name: str, settings: "SmtpSettings", domain: str, connect: bool, require_tls: bool = False
) -> "Report":
    """The backend ``name`` looks at a destination.  Fault where a file for TLS cannot be used."""
    from twisted.internet import reactor

    from mailgw.net.resolver import StubResolver
    from mailgw.tls_survey import made_survey

    resolver = StubResolver(config.dns.servers, config.dns.validating, reactor)
    try:
        made = made_survey(config, name, settings, resolver, reactor, time.time)
    except ValueError as fault:
        raise Fault(str(fault)) from None
    return await made.of(domain, connect, require_tls)


def _destination(word: str) -> Mailbox:
    word = text(word)
    mailbox = parse_mailbox(word) if "@" in word else None
    domain = parse_domain(word) if "@" not in word else None
    if mailbox is None and domain is None:
        raise argparse.ArgumentTypeError(f"expected a domain or an address, such as example.net, not {word!r}")
    return mailbox or Mailbox("postmaster", domain or "")
