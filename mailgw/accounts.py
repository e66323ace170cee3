"""Puts the sources of accounts together: who exists, and how one logs in.

Rules:
    What stands for strangers in SCRAM is made of a secret that is kept in the state folder: over restarts, and
    for all that share the folder, a stranger looks the same.
"""

import os
from typing import Any

import attrs
from twisted.cred.portal import Portal
from twisted.python.threadpool import ThreadPool

from mailgw.access.logins import Logins
from mailgw.access.portal import LOGIN_LIMITS, AccountsChecker, make_portal
from mailgw.access.scram_accounts import ScramAccounts
from mailgw.disk import Disk
from mailgw.mail.errors import TemporaryFault
from mailgw.store.passwd import PasswdFile

SECRET_OCTETS = 32


@attrs.frozen
class LoginSources:
    """``portal`` for applications that look for one, None where nobody logs in by a password."""

    portal: Portal | None
    logins: Logins


def login_sources(state: str, accounts: PasswdFile | None, reactor: Any, pool: ThreadPool) -> LoginSources:
    """All that is configured.  ``pool`` is running, and its owner's to stop.  TemporaryFault where the state folder
    cannot be used."""
    if accounts is None:
        return LoginSources(None, Logins(None, None, os.urandom))
    checker = AccountsChecker(accounts, LOGIN_LIMITS, os.urandom(SECRET_OCTETS), reactor, pool, reactor)
    portal = make_portal([checker])
    return LoginSources(portal, Logins(portal, ScramAccounts(accounts, lasting_secret(state)), os.urandom))


def lasting_secret(state: str) -> bytes:
    """Chance that is the same after a restart; made where it is missing, or no longer whole."""
    path = os.path.join(state, "login-secret")
    disk = Disk()
    try:
        if os.path.exists(path) and len(known := disk.read(path, 0, SECRET_OCTETS)) == SECRET_OCTETS:
            return known
        secret = os.urandom(SECRET_OCTETS)
        disk.write_atomically(path, secret)
    except OSError as fault:
        raise TemporaryFault(f"{path}: {fault.strerror}") from fault
    return secret
