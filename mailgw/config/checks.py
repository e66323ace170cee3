"""The tables together into a ``Config``, and what no single table can say: who needs what, what is named but
not there, which files cannot be used.

Faults are added and the work goes on; the caller throws the ``Config`` away where there are any.  A thing
that was written but was unusable has its fault already, and counts as there: one mistake, one line.
"""

import os
import stat
from collections.abc import Mapping

import attrs

from mailgw.config import (
    accounts,
    aliases,
    api,
    apps,
    backends,
    directories,
    dkim,
    dmarc_reports,
    event_hooks,
    reports,
    srs,
    staging,
    tls_reports,
    trust,
    values,
)
from mailgw.config.document import (
    CertificateTable,
    Document,
    LimitsTable,
    ListenTable,
    RetryTable,
    RouteTable,
)
from mailgw.config.files import Owner, acting_as, folder_fault
from mailgw.config.plugin import observer_fault, rule_fault
from mailgw.config.python_tables import python_settings
from mailgw.config.replies import all_reply_classes
from mailgw.config.settings import (
    Config,
    DnsSettings,
    LimitSettings,
    ListenSettings,
    ObserverSettings,
    RuleSettings,
    TlsSettings,
)
from mailgw.config.where import JOURNAL, OWN_MAILDROP
from mailgw.deliver.s3_settings import S3Settings
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.deliver.webhook_settings import WebhookSettings
from mailgw.disk import Disk
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import ConfigError
from mailgw.net.server_tls import CertificateFiles, certificate_faults
from mailgw.policy.limits import CounterSettings
from mailgw.policy.lockout import LockoutSettings
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.returned import RETURNED
from mailgw.queue.route import RouteSettings
from mailgw.queue.schedule import RetrySettings, soonest_word
from mailgw.receive.settings import TimeLimits
from mailgw.spool.settings import SpoolSettings
from mailgw.store.journal import JournalSettings
from mailgw.wire.content import ContentRules

# By these names the journal knows who objected.
RULES_OF_OURS = frozenset({
    "relay", "routing", "loop", "sender", "qualified", "author", "parameters", "alias", "recipient", "alias_recipients",
    "room", "content", "trouble", "errors", "protocol", "sessions", "scripted",
})
INLINE_OCTETS = 1 << 16  # DESIGN: larger bodies are files of their own
NODE = "0"  # one process, one shard
CLOSING_SECONDS = 10.0  # for a peer's last read; no RFC has a figure
# A proxy's header is in its first segment; a lost one is sent again after 1 s and after 3 s (proxy-protocol.txt s2).
PROXY_HEADER_SECONDS = 5.0
LONGEST_SOCKET = 107  # sockaddr_un holds 108 octets, its NUL among them (Linux, unix(7))


def assemble(document: Document, raw: Mapping[str, object], folder: str, file: str, hostname: str) -> Config:
    """The whole ``Config``.  ``raw`` says what the user wrote, usable or not."""
    state = os.path.join(folder, document.state)
    maildrop = os.path.join(folder, document.maildrop) if document.maildrop else os.path.join(state, OWN_MAILDROP)
    _check_state(document, state)
    _check_maildrop(document, maildrop, state)
    tls = _certificates(document, folder)
    listeners = _listeners(document, raw, folder)
    passwd_file = accounts.passwd_file(document, folder)
    logins = accounts.logins(document, folder)
    senders = accounts.senders(document, passwd_file)
    served_by = {
        name: backends.settings_of(table, raw, folder, hostname)
        for name, table in {**document.backend, **apps.of_routes(document)}.items()
    }
    senders_rewritten, srs_file = srs.srs_settings(document, folder)
    retry = RetrySettings(
        schedule=document.retry.schedule,
        warn_after=document.retry.warn_after,
        give_up_after=document.retry.give_up_after,
        jitter=document.retry.jitter,
    )
    routes = _routes(document, raw, retry)
    for name in {EXPANDED, RETURNED} & document.backend.keys():
        document.spot.inner("backend", name).fault("is a name of mailgw's own: choose another one")
    _check_warning(document.retry, document.retry.warn_after, document.retry.give_up_after)
    _check_lockout(document.limits)
    _check_workers(document)
    limits = document.limits
    postmaster = document.postmaster or _first_postmaster(routes)
    config = Config(
        file=file,
        hostname=hostname,
        state=state,
        maildrop=maildrop,
        workers=document.workers,
        postmaster=postmaster,
        postmaster_is_set=document.postmaster is not None,
        trusted_clients=document.trusted_clients,
        tls=tls,
        listeners=listeners,
        passwd_file=passwd_file,
        logins=logins,
        senders=senders,
        check_from=document.accounts is not None and document.accounts.check_from,
        aliases=aliases.alias_settings(document, folder, routes),
        directories=directories.directories(document, raw, folder),
        srs=senders_rewritten,
        srs_file=srs_file,
        trust=trust.trust_settings(document, hostname),
        dkim=dkim.dkim_settings(document, folder, state),
        rules=_rules(document),
        observers=_observers(document),
        routes=routes,
        backends=served_by,
        retry=retry,
        reply_classes=all_reply_classes(document.reply_class, document.reply_classes, folder, document.spot),
        limits=LimitSettings(
            message_octets=limits.message_octets,
            chunk_octets=limits.chunk_octets or limits.message_octets,
            content=ContentRules(
                line_octets=limits.content_line_octets,
                header_octets=limits.header_octets,
                bare_line_ends=document.content.bare_line_ends,
            ),
            recipients=limits.recipients,
            hold_seconds=limits.longest_hold,
            command_line_octets=limits.command_line_octets,
            messages_per_session=limits.messages_per_session,
            errors=limits.errors,
            quick_errors=limits.quick_errors,
            idle_commands=limits.idle_commands,
            sessions=limits.sessions,
            crowded_seconds=limits.crowded_timeout,
            counters=CounterSettings(
                sessions_per_address=limits.sessions_per_address,
                sessions_per_network=limits.sessions_per_network,
                connections_per_address=limits.connections_per_address,
                messages_per_address=limits.messages_per_address,
                messages_per_login=limits.messages_per_login,
                logins_per_address=limits.logins_per_address,
                logins_per_login=limits.logins_per_login,
            ),
            lockout=LockoutSettings(
                failures_per_address=limits.login_failures_per_address,
                failures_per_network=limits.login_failures_per_network,
                failures_per_login=limits.login_failures_per_login,
                first_seconds=limits.lockout,
                longest_seconds=max(limits.lockout, limits.longest_lockout),
            ),
            reserve_octets=limits.reserve_octets,
            reverse_name_seconds=limits.reverse_name_timeout,
            time_limits=TimeLimits(
                command=limits.command_timeout,
                data_block=limits.data_timeout,
                handshake=limits.handshake_timeout,
                closing=CLOSING_SECONDS,
                proxy_header=PROXY_HEADER_SECONDS,
                transaction=limits.transaction_timeout,
                octets_per_second=limits.slowest_octets_per_second,
                error_delay=limits.error_delay,
                greeting_delay=limits.greeting_delay,
            ),
            stop_seconds=limits.stop_timeout,
            attempt_seconds=limits.attempt_timeout,
        ),
        journal=_journal(document, folder, state),
        conversations=document.journal.conversations,
        spool=SpoolSettings(
            folder=os.path.join(state, "spool"),
            reserve_octets=limits.reserve_octets,
            inline_octets=INLINE_OCTETS,
            # A lease that ended during an attempt would let the message be tried twice at once.
            lease_seconds=2 * limits.attempt_timeout,
            node=NODE,
            late_seconds=min(soonest_word(route.retry or retry) for route in routes) if routes else soonest_word(retry),
        ),
        reports=reports.desk(document, folder, hostname, postmaster),
        tls_reports=tls_reports.tls_reports(document, hostname),
        dmarc_reports=dmarc_reports.dmarc_reports(document, hostname),
        dns=_dns(document),
        api=api.api_settings(document, folder, state, [one.endpoint for one in listeners]),
        inbox=staging.bounds(document),
        staging=None,
        event_hooks=event_hooks.event_hooks(document.webhook, folder),
        port_hint="",
        document=document,
    )
    return staging.staged(config, document)


# --- the state folder and the journal ---------------------------------------------------------------------

def _check_state(document: Document, state: str) -> None:
    socket = "control.sock" if document.workers == 1 else f"control-{document.workers}.sock"
    if why := folder_fault(state):
        document.spot.inner("state").fault(f"{state}: {why}")
    elif len(os.fsencode(f"{state}/{socket}")) > LONGEST_SOCKET:
        why = f"expected a shorter path: the control socket's is at most {LONGEST_SOCKET} octets"
        document.spot.inner("state").fault(why)


def _check_maildrop(document: Document, maildrop: str, state: str) -> None:
    is_own = maildrop == os.path.join(state, OWN_MAILDROP)
    if not (is_own and document.spot.inner("state").has_fault) and (why := _maildrop_fault(maildrop, is_own)):
        document.spot.inner("maildrop").fault(f"{maildrop}: {why}")


def _maildrop_fault(maildrop: str, is_own: bool) -> str | None:
    """Why this user cannot take what is left there.  One in the state folder need not be there; no other is made by
    the gateway: who makes it says who may leave mail there."""
    try:
        os.lstat(maildrop)
    except (FileNotFoundError, NotADirectoryError):
        return None if is_own else "does not exist: docs/sendmail.rst has how it is made"
    except OSError as fault:
        return fault.strerror
    if why := folder_fault(maildrop):
        return why
    if not os.access(maildrop, os.R_OK, effective_ids=True):
        return "this user may not list it"
    if not Disk().may_write(maildrop):
        return "has the sticky bit, and is not this user's own: what others leave there could not be removed"
    return None


def _check_workers(document: Document) -> None:
    spot = document.limits.spot.inner("sessions")
    if document.limits.sessions < document.workers and not spot.has_fault:
        spot.fault(f"is divided among {document.workers} workers: expected one for each at least")


def _check_warning(table: RetryTable | RouteTable, warn_after: float, give_up_after: float) -> None:
    """A short ``give_up_after`` alone is no fault: then nobody is warned."""
    spots = [table.spot.inner(key) for key in ("warn_after", "give_up_after")]
    if "warn_after" in table.given and give_up_after < warn_after and not any(x.has_fault for x in spots):
        spots[0].fault("is longer than give_up_after: nobody would ever be warned")


def _check_lockout(table: LimitsTable) -> None:
    """A long ``lockout`` alone is no fault: then no lock-out grows."""
    spots = [table.spot.inner(key) for key in ("longest_lockout", "lockout")]
    is_short = "longest_lockout" in table.given and table.longest_lockout < table.lockout
    if is_short and not any(x.has_fault for x in spots):
        spots[0].fault("is shorter than lockout, which every lock-out begins with")


def _journal(document: Document, folder: str, state: str) -> JournalSettings:
    table = document.journal
    path = table.path or os.path.join(state, JOURNAL)
    if path != "-" and table.path is not None:
        path = os.path.join(folder, path)
        # The state folder has been judged, and is made before the first line is written.
        if os.path.dirname(path) != state and (why := _file_fault(path)):
            table.spot.inner("path").fault(f"{path}: {why}")
    return JournalSettings(
        path=path, rotate_octets=table.rotate_octets, rotate_seconds=table.rotate_after, keep=table.keep,
        is_shared=document.workers > 1,
    )


def _file_fault(path: str) -> str | None:
    """Why this user cannot append to ``path``, a file that is there or not; its folder is not made."""
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return "is a folder"
    if not os.path.isdir(folder):
        return f"{folder} {'is not a folder' if os.path.lexists(folder) else 'does not exist'}"
    if why := folder_fault(folder):  # old ones are renamed there
        return why
    if os.path.exists(path) and not os.access(path, os.W_OK, effective_ids=True):
        return "this user may not write it"
    return None


def owner_faults(config: Config, owner: Owner) -> list[ConfigError]:
    """What root may use and ``owner``, whom twistd is going to become, may not: found before the rights are gone.

    The lines are not known any more; the files say enough.
    """
    readable = [(f"tls.{name}".rstrip("."), path) for name, files in config.tls.certificates.items()
                for path in (files.certificate, files.private_key, files.client_ca) if path is not None]
    if config.passwd_file is not None:
        readable.append(("accounts.passwd_file", config.passwd_file))
    if config.aliases.file is not None:
        readable.append(("aliases.file", config.aliases.file))
    if config.logins.oauth is not None and config.logins.oauth.ca_file is not None:
        readable.append(("accounts.oauth.ca_file", config.logins.oauth.ca_file))
    for name, backend in config.backends.items():
        keys: tuple[str, ...] = ()
        if isinstance(backend, SmtpSettings):
            keys = ("ca_file", "client_certificate", "client_key")
        elif isinstance(backend, WebhookSettings | S3Settings):
            keys = ("ca_file", "secret_file")
        readable += [(f"backend.{name}.{key}", path) for key in keys if (path := getattr(backend, key)) is not None]
    readable += directories.files_of(config)
    if config.srs_file is not None:
        readable.append(("srs.secret_file", config.srs_file))
    readable += dkim.key_paths(config)
    readable += () if config.api is None else config.api.secret_files
    readable += [
        (f"webhook.{at}.{key}", path) for at, hook in enumerate(config.event_hooks)
        for key, path in (("secret_file", hook.secret_file), ("ca_file", hook.ca_file)) if path is not None
    ]
    with acting_as(owner):
        faults = [
            ConfigError(config.file, 0, key, f"{path}: user {owner[0]}, as whom mailgw will run, may not read it")
            for key, path in dict.fromkeys(readable)
            if not os.access(path, os.R_OK, effective_ids=True)
        ]
        why = folder_fault(config.state)
        folders = [("state", config.state, why)]
        is_own = config.maildrop == os.path.join(config.state, OWN_MAILDROP)
        if not (is_own and why):
            folders.append(("maildrop", config.maildrop, _maildrop_fault(config.maildrop, is_own)))
    whom = f"user {owner[0]}, as whom mailgw will run,"
    faults += [
        ConfigError(config.file, 0, key, f"{path}: {why.replace('this user', whom)}")
        for key, path, why in folders if why
    ]
    return faults


# --- listeners and certificates ---------------------------------------------------------------------------

def _certificates(document: Document, folder: str) -> TlsSettings:
    found = {}
    for name, table in document.tls.items():
        found[name] = files = CertificateFiles(
            os.path.join(folder, table.certificate),
            os.path.join(folder, table.private_key),
            None if table.client_ca is None else os.path.join(folder, table.client_ca),
        )
        _check_certificate(table, files)
    return TlsSettings(found)


def _check_certificate(table: CertificateTable, files: CertificateFiles) -> None:
    for key, why in certificate_faults(files).items():
        if getattr(table, key):
            table.spot.inner(key).fault(why)


def _listeners(document: Document, raw: Mapping[str, object], folder: str) -> tuple[ListenSettings, ...]:
    if not raw.get("listen"):
        document.spot.fault("no [[listen]]: expected at least one listener")
    written = raw.get("tls")
    certificates = set(document.tls) | (set(written) if isinstance(written, dict) else set())
    has_default = not certificates.isdisjoint(("", "certificate", "private_key"))
    certificates -= {"", "certificate", "private_key"}
    listeners: list[ListenSettings] = []
    for table in document.listen:
        certificate = table.tls if table.tls is not None else ("" if has_default else None)
        if table.tls is not None and table.tls not in certificates:
            table.spot.inner("tls").fault(f"there is no [tls.{table.tls}]{values.nearest(table.tls, certificates)}")
        if table.role.is_submission:
            lacking = [name for name in ("tls", "accounts") if name not in raw]
            if lacking:
                needs = " and ".join(f"[{name}]" for name in lacking)
                table.spot.inner("role").fault(f"a {table.role.value} listener needs {needs}")
            elif certificate is None:
                table.spot.fault(f"a {table.role.value} listener needs a certificate: [tls] has none, so say tls = …")
            if table.relay_from:
                table.spot.inner("relay_from").fault(
                    'is for role = "mx": who comes here has to log in, whatever address he has'
                )
        if not table.endpoint:
            continue
        endpoint = values.absolute_endpoint(table.endpoint, folder)
        address = values.endpoint_address(endpoint)
        if address[0] == "unix" and (why := _socket_fault(address[1])):
            table.spot.inner("endpoint").fault(why)
        for other in listeners:
            if values.sockets_collide(values.endpoint_address(other.endpoint), address):
                table.spot.inner("endpoint").fault(f"cannot be bound beside another listener's {other.endpoint!r}")
                break
        _check_fronts(table, address[0])
        listeners.append(
            ListenSettings(
                table.role, endpoint, table.relay_from, certificate, table.proxy_protocol_from, table.xclient_from
            )
        )
    return tuple(listeners)


def _check_fronts(table: ListenTable, kind: str) -> None:
    """Lists that could not hold anybody who comes by that kind of endpoint: somebody thinks that they do."""
    for key in ("proxy_protocol_from", "xclient_from"):
        for place, member in enumerate(getattr(table, key)):
            if kind == "unix" and member != "local":
                table.spot.inner(key, place).fault('who comes by a Unix socket has no address: expected "local"')
            elif kind == "tcp" and member == "local":
                table.spot.inner(key, place).fault('"local" is who comes by a Unix socket, and this is a tcp: endpoint')


def _socket_fault(path: str) -> str | None:
    """Why no socket can be made at ``path``.  Not whether this user may: root binds it before its rights are gone."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"{path}: {folder} {'is not a folder' if os.path.lexists(folder) else 'does not exist'}"
    if os.path.exists(path) and not stat.S_ISSOCK(os.stat(path).st_mode):
        return f"{path}: is there, and is no socket"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        return f"{path}: expected a shorter path: at most {LONGEST_SOCKET} octets"
    return None


# --- rules, routes and backends ----------------------------------------------------------------------------------

def _rules(document: Document) -> tuple[RuleSettings, ...]:
    found: dict[str, RuleSettings] = {}
    for table in document.rule:
        if table.name in found or table.name in RULES_OF_OURS:
            whose = "another [[rule]]" if table.name in found else "a rule of the gateway"
            table.spot.inner("name").fault(f"{table.name!r} is the name of {whose}: expected one of its own")
        found[table.name] = RuleSettings(
            name=table.name,
            plugin=python_settings(table.plugin, rule_fault),
            roles=frozenset(table.own.roles),
            deadline_seconds=table.own.deadline,
            on_failure=table.own.on_failure,
        )
    return tuple(found.values())


def _observers(document: Document) -> tuple[ObserverSettings, ...]:
    found: dict[str, ObserverSettings] = {}
    for table in document.observer:
        if table.name in found:
            table.spot.inner("name").fault(f"{table.name!r} is the name of another [[observer]]")
        found[table.name] = ObserverSettings(table.name, python_settings(table.plugin, observer_fault))
    return tuple(found.values())


def _routes(
    document: Document, raw: Mapping[str, object], retry: RetrySettings
) -> tuple[RouteSettings, ...]:
    if not raw.get("route"):
        document.spot.fault("no [[route]]: expected at least one, else no mail is accepted")
    written = raw.get("backend")
    names = list(written) if isinstance(written, dict) else []
    for table in document.route:
        if table.backend is not None and table.backend not in names:
            hint = values.nearest(table.backend, names) or (f"; there are {', '.join(names)}" if names else "")
            table.spot.inner("backend").fault(f"there is no [backend.{table.backend}]{hint}")
        apps.check_route(table)
    return tuple(
        RouteSettings(table.recipients, apps.backend_name(table), _route_retry(table, retry), table.directory)
        for table in document.route
    )


def _route_retry(table: RouteTable, usual: RetrySettings) -> RetrySettings | None:
    """Its own schedule, None where it has that of all."""
    own = {
        key: value for key in ("schedule", "jitter", "warn_after", "give_up_after")
        if (value := getattr(table, key)) is not None
    }
    if not own:
        return None
    retry = attrs.evolve(usual, **own)
    _check_warning(table, retry.warn_after, retry.give_up_after)
    return retry


def _first_postmaster(routes: tuple[RouteSettings, ...]) -> Mailbox | None:
    for route in routes:
        for word in route.patterns:
            if (domain := values.routed_domain(word)) is not None:
                return Mailbox("postmaster", domain)
    return None


# --- the rest ---------------------------------------------------------------------------------------------

def _dns(document: Document) -> DnsSettings:
    table = document.dns
    validating = table.validating
    if validating is None and table.servers:
        validating = all(values.is_loopback(server) for server in table.servers)
    return DnsSettings(table.servers, validating)
