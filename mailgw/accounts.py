"""Puts the sources of accounts together: who exists, and how one logs in.

Rules:
    What stands for strangers in SCRAM is made of a secret that is kept in the state folder: over restarts, and
    for all that share the folder, a stranger looks the same.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred
from twisted.python.threadpool import ThreadPool

from mailgw.access import logins
from mailgw.access.dovecot import DOVECOT_LIMITS, DovecotChecker
from mailgw.access.introspection import ANSWER_OCTETS, ANSWER_SECONDS, Introspection
from mailgw.access.oauth_settings import OAuthSettings
from mailgw.access.portal import LOGIN_LIMITS, AccountsChecker, make_portal
from mailgw.access.scram_accounts import ScramAccounts
from mailgw.access.supervised import SupervisedChecker
from mailgw.config.plugin import NOTHING_GIVEN, make_python
from mailgw.config.settings import Config
from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.ports import WallClock
from mailgw.receive.settings import Logins
from mailgw.store.passwd import PasswdFile

SECRET_OCTETS = 32


@attrs.frozen
class LoginSources:
    """``portal`` for applications that look for one, None where nobody logs in by a password.  ``close`` is to be
    called at the end."""

    portal: Portal | None
    logins: Logins
    closers: Sequence[Callable[[], Awaitable[object]]] = ()

    async def close(self) -> None:
        for close in self.closers:
            await close()


def login_sources(
    config: Config,
    accounts: PasswdFile | None,
    reactor: Any,
    pool: ThreadPool,
    wall_clock: WallClock,
    note: Callable[[Event], None],
    given: Mapping[str, object] = NOTHING_GIVEN,
    disk: Disk | None = None,
) -> LoginSources:
    """All that is configured.  ``pool`` is running, and its owner's to stop.

    ConfigError, or TemporaryFault, where some of it cannot be used.
    """
    closers: list[Callable[[], Awaitable[object]]] = []
    settings = config.logins
    checker: ICredentialsChecker | None = None
    if settings.dovecot_auth is not None:
        checker = dovecot = DovecotChecker(settings.dovecot_auth, DOVECOT_LIMITS, os.getpid(), reactor, reactor)
        closers.append(dovecot.close)
    elif settings.checker is not None:
        own = cast(ICredentialsChecker, make_python(settings.checker, _checker_fault, given))
        checker = SupervisedChecker(own, reactor, note)
    elif accounts is not None:
        checker = AccountsChecker(accounts, LOGIN_LIMITS, os.urandom(SECRET_OCTETS), reactor, pool, reactor)
    portal = None if checker is None else make_portal([checker])
    scram = None if accounts is None else ScramAccounts(accounts, lasting_secret(config.state, disk))
    tokens = None if settings.oauth is None else _introspection(settings.oauth, reactor, wall_clock, closers)
    return LoginSources(portal, logins.Logins(portal, scram, tokens, accounts, os.urandom), closers)


def _introspection(
    settings: OAuthSettings, reactor: Any, wall_clock: WallClock, closers: list[Callable[[], Awaitable[object]]]
) -> Introspection:
    # Twisted's HTTP takes its time to be imported, and most have no issuer of tokens.
    from mailgw.net.https import Https, kept_connections

    try:
        agent, pool = kept_connections(reactor, settings.ca_file, ANSWER_SECONDS)
    except ValueError as fault:
        raise TemporaryFault(str(fault)) from fault
    closers.append(lambda: maybeDeferred(pool.closeCachedConnections))
    https = Https(agent, reactor, ANSWER_SECONDS, ANSWER_OCTETS)
    return Introspection(settings, https, os.urandom(SECRET_OCTETS), reactor, wall_clock)


def _checker_fault(target: str, made: object) -> str | None:
    """A checker need not say that it is one; it has to take a name and a password."""
    for name in ("credentialInterfaces", "requestAvatarId"):
        if not hasattr(made, name):
            return f"{target} lacks {name} of twisted.cred.checkers.ICredentialsChecker"
    if IUsernamePassword not in made.credentialInterfaces:  # type: ignore[attr-defined] # it has it
        return f"{target}: expected IUsernamePassword among its credentialInterfaces"
    return None


def lasting_secret(state: str, disk: Disk | None = None) -> bytes:
    """Chance that is the same after a restart; made where it is missing, or no longer whole."""
    path = os.path.join(state, "login-secret")
    disk = disk or Disk()
    try:
        try:
            if len(known := disk.read(path, 0, SECRET_OCTETS)) == SECRET_OCTETS:
                return known
        except FileNotFoundError:
            pass
        secret = os.urandom(SECRET_OCTETS)
        disk.write_atomically(path, secret)
    except OSError as fault:
        raise TemporaryFault(f"{path}: {fault.strerror}") from fault
    return secret
