"""What is no fault of a configuration, and will be regretted: an open relay, a route that nothing reaches."""

import os
import socket
from collections.abc import Callable, Container, Iterator, Sequence
from functools import cache

from mailgw.access.schemes import fault_of
from mailgw.config.aliases import alias_doubts, alias_table, goes_on
from mailgw.config.api import api_doubts
from mailgw.config.apps import app_doubts
from mailgw.config.directories import directory_doubts
from mailgw.config.dkim import dkim_doubts
from mailgw.config.event_hooks import event_hook_doubts
from mailgw.config.hops import IMPLICIT_TLS_PORT, SUBMISSION_PORT
from mailgw.config.junk_doubts import junk_doubts
from mailgw.config.lines import Path, locate
from mailgw.config.local_backends import local_doubts
from mailgw.config.maildirs import maildir_doubts
from mailgw.config.plugin import await_doubts, maker, plugins_of
from mailgw.config.reader import Faults
from mailgw.config.settings import Config, PluginKind, PythonSettings
from mailgw.config.staging import staging_doubts
from mailgw.config.trust_doubts import careful_trust_doubts, trust_doubts
from mailgw.config.values import endpoint_address, is_loopback, routed_domain
from mailgw.config.webhook_tables import exposed_doubts, webhook_doubts
from mailgw.deliver.desk import daemon_address
from mailgw.deliver.fan_out import FanOutSettings
from mailgw.deliver.maildir import Known, MaildirSettings
from mailgw.deliver.mbox import MboxSettings
from mailgw.deliver.reports_settings import ReportsSettings
from mailgw.deliver.s3_settings import S3Settings
from mailgw.deliver.smtp_settings import SmtpSettings, TlsMode
from mailgw.deliver.webhook_settings import WebhookSettings
from mailgw.disk import Disk
from mailgw.mail.address import Mailbox, folded
from mailgw.mail.envelope import Role
from mailgw.mail.errors import ConfigError
from mailgw.net.server_tls import is_certificate_for
from mailgw.queue.route import RouteSettings, RouteTable
from mailgw.store.aliases import AliasTable
from mailgw.store.passwd import account_key, read_accounts

ANSWER_SECONDS = 240.0  # as receive.protocol has it
EVERYBODY = (
    ("relay_from", "may send mail to anywhere: an open relay"),
    ("xclient_from", "may say by XCLIENT which address or login he has"),
    ("proxy_protocol_from", "may say in a PROXY header which address he has"),
)


def doubts(config: Config, is_start: bool = False) -> list[ConfigError]:
    """In the order of the lines.  At a start without those that may well be meant: they are told when one checks."""
    found = Faults(config.file, _lines(config.file))
    is_lost = _lost(config)
    aliases = alias_table(config)
    said = [*_open_doors(config), *_unused(config), *_limits(config), *_far_dns(config), *_blind(config),
            *_sending(config), *_unreached(config), *maildir_doubts(config, is_start),
            *local_doubts(config), *trust_doubts(config),
            *app_doubts(config), *_unanswered(config, aliases, is_lost)]
    if not is_start:
        said += [*staging_doubts(config), *_kept(config),
                 *directory_doubts(config), *_given(config), *_patience(config), *_plain(config),
                 *_hooks(config), *_names(config), *_unread(config, aliases), *dkim_doubts(config),
                 *careful_trust_doubts(config), *junk_doubts(config), *api_doubts(config),
                 *event_hook_doubts(config)]
    for path, why in said:
        found.add(path, why)
    if aliases is not None:
        found.found += alias_doubts(config, aliases, is_lost)
    return sorted(found.found, key=lambda one: (one.file != config.file, one.line))


def _lines(file: str) -> dict[Path, int]:
    try:
        with open(file, encoding="utf-8") as opened:
            return locate(opened.read())
    except (OSError, ValueError):  # none is there: made of options, or gone since
        return {}


def _open_doors(config: Config) -> Iterator[tuple[Path, str]]:
    for at, listener in enumerate(config.listeners):
        for key, what in EVERYBODY:
            for place in _everybody(getattr(listener, key)):
                yield ("listen", at, key, place), f"is everybody, who then {what}"
    for place in _everybody(config.trusted_clients):
        yield ("trusted_clients", place), "is everybody, who then is free of the limits for each address"


def _everybody(members: Sequence[object]) -> Iterator[int]:
    for place, member in enumerate(members):
        if getattr(member, "prefixlen", None) == 0:
            yield place


def _unused(config: Config) -> Iterator[tuple[Path, str]]:
    before: dict[str, int] = {}
    for at, route in enumerate(config.routes):
        takers = [_taker(folded(pattern), before) for pattern in route.patterns]
        if takers and all(taker is not None for taker in takers):
            yield ("route", at), f"is never reached: route {max(t for t in takers if t is not None) + 1} takes its mail"
        elif "*" in before:
            why = f'only strangers\' mail gets here: the "*" of route {before["*"] + 1} takes that of who may relay'
            yield ("route", at), why
        _remember(route, at, before)
        seen: set[str] = set()
        for place, pattern in enumerate(route.patterns):
            if folded(pattern) in seen:
                yield ("route", at, "recipients", place), f"{pattern!r} stands there twice"
            seen.add(folded(pattern))


def _kept(config: Config) -> Iterator[tuple[Path, str]]:
    if config.directories:
        return  # an answer may name any of them
    named = {route.backend for route in config.routes}
    for backend in config.backends.values():
        if isinstance(backend, FanOutSettings):
            named |= set(backend.backends)
        elif isinstance(backend, ReportsSettings) and backend.others is not None:
            named.add(backend.others)
    for name in config.backends.keys() - named:
        yield ("backend", name), "no route names it: mail goes there by mailgw queue reroute --to alone"


def _patience(config: Config) -> Iterator[tuple[Path, str]]:
    seconds = 0.0
    for at, rule in enumerate(config.rules):
        seconds += rule.deadline_seconds
        if seconds > ANSWER_SECONDS:
            why = f"with those of the rules before it these are {seconds:.0f} s, and all rules of one command have"
            yield ("rule", at, "deadline"), f"{why} {ANSWER_SECONDS:.0f} s; then the client is told 451"
            return


def _given(config: Config) -> Iterator[tuple[Path, str]]:
    for path, plugin in plugins_of(config):
        if plugin.kind is PluginKind.GIVEN:
            why = "twistd mailgw gives nothing, and will not start: that is for an application that gives"
            yield path, f"{why} {plugin.target!r}"


def _plain(config: Config) -> Iterator[tuple[Path, str]]:
    for name, backend in config.backends.items():
        if isinstance(backend, PythonSettings) and backend.kind is not PluginKind.GIVEN:
            for why in await_doubts(backend.target, maker(backend)):
                yield ("backend", name, "type"), why


def _hooks(config: Config) -> Iterator[tuple[Path, str]]:
    for name, backend in config.backends.items():
        found: Iterator[tuple[str, str]] = iter(())
        if isinstance(backend, WebhookSettings):
            found = webhook_doubts(backend, config.limits.message_octets)
        elif isinstance(backend, S3Settings):
            found = exposed_doubts(backend.secret_file)
        for key, why in found:
            yield ("backend", name, key), why


def _remember(route: RouteSettings, at: int, before: dict[str, int]) -> None:
    for pattern in route.patterns:
        before.setdefault(folded(pattern), at)


def _taker(pattern: str, before: dict[str, int]) -> int | None:
    """The earlier route that takes all that ``pattern`` matches."""
    domain = pattern.rpartition("@")[2]
    wider = [pattern]
    if pattern != "*":
        wider.append(f"@{domain}")
        rest = domain.removeprefix(".").partition(".")[2]
        while rest:
            wider.append(f"@.{rest}")
            rest = rest.partition(".")[2]
    return min((before[one] for one in wider if one in before), default=None)


def _blind(config: Config) -> Iterator[tuple[Path, str]]:
    if config.dns.validating is not False:
        return
    why = "waits for ever: DANE needs a name server that validates and is believed ([dns] validating)"
    for name, backend in config.backends.items():
        if not isinstance(backend, SmtpSettings):
            continue
        if backend.tls is TlsMode.DANE:
            yield ("backend", name, "tls"), f"all mail {why}"
        for at, destination in enumerate(backend.shaping.destinations):
            if destination.tls is TlsMode.DANE:
                yield ("backend", name, "destination", at, "tls"), f"its mail {why}"


def _sending(config: Config) -> Iterator[tuple[Path, str]]:
    for name, backend in config.backends.items():
        if not isinstance(backend, SmtpSettings):
            continue
        for at, host in enumerate(backend.hosts):
            if host.endswith(f":{IMPLICIT_TLS_PORT}") and backend.tls is not TlsMode.IMPLICIT:
                why = f'speaks TLS from the first octet, so "{backend.tls.value}" hears nothing: tls = "implicit" does'
                yield ("backend", name, "hosts", at), why
            if _wants_login(host) and backend.username is None and backend.client_certificate is None:
                why = "wants a login on that port, as good as always: expected username and password_file"
                yield ("backend", name, "hosts", at), why
        shaping = backend.shaping
        if not backend.hosts and shaping.host_concurrency < backend.concurrency:
            yield ("backend", name, "concurrency"), "is above host_concurrency: whoever has one host never gets so many"
        if shaping.total_concurrency < backend.concurrency:
            yield ("backend", name, "concurrency"), "is above total_concurrency: one destination can take them all"
        for at, source in enumerate(shaping.sources):
            if not _is_ours(source.address):
                why = "is no address of this machine now: what is to be sent from it waits"
                yield ("backend", name, "source", at, "address"), why


def _wants_login(host: str) -> bool:
    """RFC 6409 s4.3; a server on this machine may know us by our address."""
    port = host.rpartition(":")[2]
    return port in (str(IMPLICIT_TLS_PORT), str(SUBMISSION_PORT)) and not is_loopback(host)


def _unreached(config: Config) -> Iterator[tuple[Path, str]]:
    for at, listener in enumerate(config.listeners):
        kind, _, interface = endpoint_address(listener.endpoint)
        if kind == "tcp" and interface and not _is_ours(interface):
            yield ("listen", at, "endpoint"), f"{interface} is no address of this machine now: it cannot be bound"


def _unanswered(
    config: Config, aliases: AliasTable | None, is_lost: Callable[[Mailbox], bool]
) -> Iterator[tuple[Path, str]]:
    answered = {("reports", "from_address"): config.reports.address}
    if config.reports.address == daemon_address(config.hostname):
        answered.clear()  # nobody's choice, and auto-replies are all that comes there
    if config.tls_reports is not None:
        answered["tls_reports", "contact"] = config.tls_reports.reporter.contact
        if not any(isinstance(one, SmtpSettings) and not one.hosts for one in config.backends.values()):
            why = "nothing will be reported: no backend sends by MX (without hosts), which alone is reported on"
            yield ("tls_reports", "contact"), why
    if config.dmarc_reports is not None:
        answered["dmarc_reports", "contact"] = config.dmarc_reports.reporter.reporter.contact
        if not any(one.role is Role.MX for one in config.listeners):
            yield ("dmarc_reports", "contact"), "nothing will be reported: no listener of role mx takes strangers' mail"
    for path, address in answered.items():
        if is_lost(address) and (aliases is None or not goes_on(aliases, address)):
            yield path, f"{address} has no account here: answers to it are refused"


def _names(config: Config) -> Iterator[tuple[Path, str]]:
    """Our own name, and certificates that are for another one; who sends SNI gets any of them (``net.server_tls``)."""
    host = config.hostname
    if "." not in host and host[:1] != "[":
        why = f"{host!r} has no domain, and many servers refuse mail from such a name"
        yield ("hostname",), f"{why}: expected what DNS has for this machine, such as mx1.example.org"
        return  # one mistake, one line
    shown = {one.certificate for one in config.listeners if one.role is not Role.LMTP and one.certificate is not None}
    certificates = config.tls.certificates
    if any(_is_for(files.certificate, host) for files in certificates.values()):
        return
    for name in sorted(shown):
        path = ("tls", name, "certificate") if name else ("tls", "certificate")
        why = f"{certificates[name].certificate}: does not name {host}, the hostname"
        yield path, f"{why}: who connects to that name, and verifies (MTA-STS, mail programs), hangs up"


def _is_for(path: str, host: str) -> bool:
    try:
        return is_certificate_for(path, host.strip("[]").lower().removeprefix("ipv6:"))
    except (OSError, ValueError):  # replaced since it was loaded
        return True


def _unread(config: Config, aliases: AliasTable | None) -> Iterator[tuple[Path, str]]:
    """Mail for the postmaster of every domain here (RFC 5321 s4.5.1) comes to one address: does somebody read there?"""
    address = config.postmaster
    if address is None or config.postmaster_is_set or config.passwd_file is None:
        return
    backend = config.backends.get(RouteTable(config.routes).backend_for(address, for_client=False) or "")
    if not isinstance(backend, MaildirSettings | MboxSettings) or backend.recipients is not Known.ACCOUNTS:
        return
    if aliases is not None and aliases.targets(address) is not None:
        return
    if account_key(address) not in read_accounts(config.passwd_file, fault_of).stored:
        at = next(at for at, route in enumerate(config.routes) if any(map(routed_domain, route.patterns)))
        why = "mail for the postmaster has to be taken (RFC 5321 s4.5.1), and comes to a mailbox without a login"
        remedy = f'expected an account or an alias {address}, or postmaster = "you@..." above the first [table]'
        yield ("route", at, "recipients"), f"{why}: {remedy}"


def _lost(config: Config) -> Callable[[Mailbox], bool]:
    """Whether a stranger's mail to an address comes to a backend of ours that knows nobody of that name."""
    routes = RouteTable(config.routes)

    @cache
    def known() -> Container[str]:
        return set() if config.passwd_file is None else read_accounts(config.passwd_file, fault_of).stored

    def is_lost(address: Mailbox) -> bool:
        backend = config.backends.get(routes.backend_for(address, for_client=False) or "")
        if not isinstance(backend, MaildirSettings | MboxSettings) or backend.recipients is not Known.ACCOUNTS:
            return False
        if config.passwd_file is None or (config.postmaster and account_key(address) == account_key(config.postmaster)):
            return False
        local_part = address.local_part
        if backend.delimiter:
            local_part = local_part.partition(backend.delimiter)[0] or local_part
        return not any(account_key(one) in known() for one in (address, Mailbox(local_part, address.domain)))

    return is_lost


def _is_ours(address: str) -> bool:
    """Whether a socket may have this IP address now; none is bound for longer than that takes."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _limits(config: Config) -> Iterator[tuple[Path, str]]:
    limits = config.limits
    if limits.sessions < limits.counters.sessions_per_address:
        yield ("limits", "sessions"), "is below sessions_per_address: one client can take them all"
    folder = os.path.abspath(config.state)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    if limits.reserve_octets > Disk().free_octets(folder):
        yield ("limits", "reserve_octets"), f"is more than the disk of {config.state} has free: no mail will be taken"


def _far_dns(config: Config) -> Iterator[tuple[Path, str]]:
    far = [server for server in config.dns.servers if not is_loopback(server)]
    if config.dns.validating and far:
        # RFC 4035 s4.9.3: only over a secure channel
        why = f"believes {far[0]}, whose answers anybody on the way can change"
        yield ("dns", "validating"), f"{why}: a validating server on this machine is safer"
