"""A ``Config`` from the options of ``twistd mailgw``, for a run without a file.

What is given decides what there is:
    --domain with --maildir, or with neither it nor --relay   mail for the domains goes to Maildirs
    --domain with --relay alone                                it goes to that server (a gateway before it)
    --app                                                      mail for the addresses of its handlers goes to them
    --relay                                                    mail of this machine, and of who logged in, goes there
    --submission, --submissions                                need a certificate and accounts; without options for
                                                               them, a self-signed one and one account are made
"""

import os
from collections.abc import Callable
from typing import TypeAlias

import attrs

from mailgw.config.files import Owner, make_state
from mailgw.config.lines import Path
from mailgw.config.load import configure
from mailgw.config.plugin import mail_app
from mailgw.config.reader import Faults
from mailgw.config.settings import Config
from mailgw.config.trial import LOOPBACK, keep, machine
from mailgw.config.values import pattern, said
from mailgw.config.values import target as word
from mailgw.mail.address import Mailbox

Names: TypeAlias = dict[Path, str]
"""The option that a place in the document comes from."""


@attrs.frozen
class QuickOptions:
    """As the user gave them; None or () where not."""

    domains: tuple[str, ...] = ()
    maildir: str | None = None
    relay: str | None = None
    app: str | None = None
    mx: tuple[str, ...] = ()
    submission: tuple[str, ...] = ()
    submissions: tuple[str, ...] = ()
    hostname: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    passwd: str | None = None
    state: str | None = None

    @property
    def is_given(self) -> bool:
        return self != QuickOptions()


def quick(options: QuickOptions, state: str, say: Callable[[str], None], owner: Owner | None = None) -> Config:
    """The ``Config``; raises an ``ExceptionGroup`` of ``ConfigError`` whose keys are the options' names.

    ``state`` is used where no option names a folder.
    """
    names: Names = {}
    raw: dict[str, object] = {"hostname": options.hostname or machine()}
    names["hostname",] = "--hostname"
    state = os.path.abspath(options.state or state)
    raw["state"] = state
    names["state",] = "--state"

    listeners: list[dict[str, object]] = []
    for role in ("mx", "submission", "submissions"):
        for endpoint in getattr(options, role):
            names["listen", len(listeners)] = f"--{role}"
            relay_from = {"relay_from": LOOPBACK} if role == "mx" else {}
            listeners.append({"role": role, "endpoint": endpoint, **relay_from})
    names["listen",] = "--mx"
    faults = Faults("twistd mailgw", {}, names)
    if not listeners:
        faults.add((), "nowhere to listen: expected --mx, --submission or --submissions, such as --mx tcp:25")
    raw["listen"] = listeners or [{"role": "mx", "endpoint": "tcp:25"}]

    _serve(raw, faults, names, options, state, say)
    if not options.domains and options.relay is None and options.app is None:
        faults.add((), "no mail to take: expected --domain, --relay or --app")
    _secure(raw, names, options, state, say, owner)
    config = configure(raw, faults, os.getcwd())
    if options.relay is not None and "." not in config.hostname and config.hostname[:1] != "[":
        why = f"many servers refuse mail from {config.hostname!r}, which has no domain; and bounces come from it"
        say(f"mailgw: {why}: expected --hostname, such as mx1.example.org")
    if owner is not None:
        make_state(state, owner)  # in the working folder, where only root may
    return config


def _serve(
    raw: dict[str, object], faults: Faults, names: Names, options: QuickOptions, state: str, say: Callable[[str], None]
) -> None:
    """Routes and backends."""
    names["route",] = "--domain"
    backends: dict[str, object] = {}
    routes: list[object] = []
    if options.app is not None:
        routes += _to_app(backends, faults, names, options.app, say)
    is_else = options.relay is not None or options.app is not None
    to_maildirs = options.maildir is not None or not is_else or (bool(options.domains) and options.relay is None)
    if options.domains:
        served = [domain for domain in options.domains if _is_served(domain, faults)]
        patterns = [domain if "@" in domain else f"@{domain}" for domain in served]
        if patterns:
            routes.append({"recipients": patterns, "backend": "mailboxes" if to_maildirs else "relay"})
    if to_maildirs:
        path = options.maildir or f"{state}/mail"
        backends["mailboxes"] = {
            "type": "maildir",
            "path": path if "{" in path else f"{path}/{{domain}}/{{local_part}}",
            "recipients": "any" if options.passwd is None else "accounts",
        }
    if options.relay is not None:
        routes.append({"recipients": ["*"], "backend": "relay"})
        backends["relay"] = {"type": "smtp", "hosts": [options.relay]}
    raw["route"] = routes or [{"recipients": ["*"], "backend": next(iter(backends), "mailboxes")}]
    raw["backend"] = backends
    names["backend", "mailboxes"] = "--maildir"
    names["backend", "relay"] = "--relay"


def _to_app(
    backends: dict[str, object], faults: Faults, names: Names, target: str, say: Callable[[str], None]
) -> list[object]:
    """The route to --app, where it has any pattern."""
    names["backend", "app"] = "--app"
    try:
        word(target)
    except ValueError:
        faults.add(("backend", "app"), f'expected MODULE:NAME, such as "helpdesk.mail:app", not {said(target)}')
        backends["app"] = {"type": "discard"}  # nothing more is to be told of it
        return []
    backends["app"] = {"type": f"app:{target}"}
    try:
        app = mail_app(target)
    except ValueError:
        return []  # which is told where the backend is looked at
    if not app.routes:
        why = f"{target} has no handler with a pattern, which says for which domains mail is taken"
        faults.add(("backend", "app"), why)
        return []
    own = [pattern[1:] for pattern in app.routes if not pattern.startswith("@.")]
    for postmaster in [Mailbox("postmaster", domain) for domain in own]:
        if not app.takes(postmaster):
            say(f"mailgw: {target} refuses mail for {postmaster}, whom every domain has (RFC 5321 s4.5.1)")
    return [{"recipients": list(app.routes), "backend": "app"}]


def _is_served(domain: str, faults: Faults) -> bool:
    """Whether --domain was given something to take mail for; its fault is told here, in the words of the user."""
    try:
        pattern(domain if "@" in domain else f"@{domain}")
    except ValueError:
        hint = "; mail for everybody else goes to --relay" if domain == "*" else ""
        faults.add(("route",), f'expected a domain or an address such as "example.org", not {said(domain)}{hint}')
        return False
    return True


def _secure(
    raw: dict[str, object],
    names: Names,
    options: QuickOptions,
    state: str,
    say: Callable[[str], None],
    owner: Owner | None,
) -> None:
    """Certificate and accounts; made where a login is asked for and nothing was given."""
    wants_login = bool(options.submission or options.submissions)
    certificate, private_key, passwd = options.certificate, options.private_key, options.passwd
    if wants_login and (certificate is None or passwd is None):
        domain = options.domains[0].rpartition("@")[2] if options.domains else "example.test"
        kept = keep(state, f"postmaster@{domain}", owner)
        if certificate is None and private_key is None:
            certificate, private_key = kept.certificate, kept.private_key
            say(f"mailgw: no --certificate: a self-signed one is used, {certificate}")
        if passwd is None:
            passwd = kept.passwd_file
            say(f"mailgw: no --passwd: the account is {kept.account}, its password {kept.password}")
    if certificate is not None or private_key is not None:
        given = {"certificate": certificate, "private_key": private_key or certificate}
        raw["tls"] = {key: value for key, value in given.items() if value is not None}
    if passwd is not None:
        raw["accounts"] = {"passwd_file": passwd}
    names["tls", "certificate"] = "--certificate"
    names["tls", "private_key"] = "--private-key"
    names["accounts",] = "--passwd"
