"""``[accounts]``: who exists, and who judges a login; what is wrong with the files, sockets and classes it names."""

import os
from collections.abc import Callable, Iterator, Mapping

from mailgw.access.oauth_settings import OAuthSettings
from mailgw.access.schemes import fault_of, scram_keys
from mailgw.config.document import AccountsTable, Document, OAuthTable
from mailgw.config.python_tables import python_settings
from mailgw.config.settings import LoginSettings
from mailgw.config.values import nearest
from mailgw.net.server_tls import is_exposed
from mailgw.policy.rules.sender import SenderSettings
from mailgw.store.passwd import account_key, read_accounts

_SOURCES = ("passwd_file", "dovecot_auth", "checker", "oauth")
_CHECKER_MEMBERS = ("credentialInterfaces", "requestAvatarId")


def passwd_file(document: Document, folder: str) -> str | None:
    """Its path; faults of the file itself are told by its lines."""
    table = document.accounts
    if table is None or table.passwd_file is None:
        return None
    path = os.path.join(folder, table.passwd_file)
    if not os.path.lexists(path):
        how = f"mailgw passwd --file {path} user@domain"
        table.spot.inner("passwd_file").fault(f"{path} does not exist; make it with: {how}")
    else:
        for fault in read_accounts(path, fault_of).faults:
            if fault.line:
                document.spot.faults.found.append(fault)
            else:  # of the file as a whole: the line that names it is to blame
                table.spot.inner("passwd_file").fault(f"{path}: {fault.why}")
    return path


def passwd_warnings(path: str) -> Iterator[str]:
    """What is no fault of a passwd-file, and will be regretted."""
    stored = [one for one in read_accounts(path, fault_of).stored.values() if one]
    if stored and is_exposed(path):
        yield f"the passwords in {path} are open to every user here: chmod o= it"
    lacking = sum(scram_keys(one) is None for one in stored)
    if 0 < lacking < len(stored):
        # SCRAM is offered for the sake of one, and programs take what they like best.
        yield (
            f"{lacking} of {len(stored)} passwords in {path} are not stored as SCRAM-SHA-256, which is offered to all: "
            "programs that prefer it cannot log in by those"
        )


def logins(document: Document, folder: str) -> LoginSettings:
    table = document.accounts
    if table is None:
        return LoginSettings(None, None, None)
    if table.given.isdisjoint(_SOURCES):
        table.spot.fault("expected passwd_file, dovecot_auth, [accounts.checker] or [accounts.oauth]")
    if table.given.issuperset(("dovecot_auth", "checker")):
        table.spot.inner("checker").fault("one judge of passwords is enough: dovecot_auth is there, too")
    return LoginSettings(
        dovecot_auth=_socket(table, folder),
        checker=None if table.checker is None else python_settings(table.checker, _checker_fault),
        oauth=None if table.oauth is None else _oauth(table.oauth, folder),
    )


def senders(document: Document, passwd_file: str | None) -> tuple[SenderSettings, ...]:
    """``[[sender]]``; a login that cannot be one is a fault."""
    table = document.accounts
    # Other judges of logins know accounts that nobody can ask them for.
    is_complete = table is not None and table.given.isdisjoint(("dovecot_auth", "checker", "oauth"))
    known = read_accounts(passwd_file, fault_of).stored if passwd_file is not None and is_complete else None
    found: dict[str, SenderSettings] = {}
    for entry in document.sender:
        if entry.login is None:
            continue
        spot, key = entry.spot.inner("login"), account_key(entry.login)
        if "accounts" not in document.given:
            spot.fault("nobody can log in without [accounts]")
        elif known is not None and key not in known:
            spot.fault(f"{entry.login} has no account in {passwd_file}{nearest(key, known)}")
        elif key in found:
            spot.fault(f"{entry.login} has a [[sender]] already")
        found[key] = SenderSettings(str(entry.login), entry.may_send_as)
    return tuple(found.values())


def knows_who_exists(raw: Mapping[str, object]) -> bool:
    """Whether ``recipients = "accounts"`` means something: a passwd-file is named, usable or not."""
    written = raw.get("accounts")
    return "accounts" in raw and (not isinstance(written, dict) or "passwd_file" in written)


def _socket(table: AccountsTable, folder: str) -> str | None:
    return None if table.dovecot_auth is None else os.path.join(folder, table.dovecot_auth.removeprefix("unix:"))


def _checker_fault(target: str, make: Callable[..., object]) -> str | None:
    if not isinstance(make, type):
        return None
    lacking = [name for name in _CHECKER_MEMBERS if not hasattr(make, name)]
    if "requestAvatarId" not in lacking:  # the other one may be an instance's
        return None
    return f"{target} lacks {', '.join(lacking)} of twisted.cred.checkers.ICredentialsChecker"


def _oauth(table: OAuthTable, folder: str) -> OAuthSettings:
    secret = ""
    if table.client_secret_file:
        path = os.path.join(folder, table.client_secret_file)
        spot = table.spot.inner("client_secret_file")
        try:
            with open(path, "rb") as opened:
                lines = opened.read(1 << 16).splitlines()
            secret = lines[0].decode("utf-8", "replace") if lines else ""
            if not secret:
                spot.fault(f"{path}: expected the secret in its first line")
        except OSError as fault:
            spot.fault(f"{path}: cannot be read: {fault.strerror}")
    ca_file = None
    if table.ca_file is not None:
        from mailgw.net.https import authorities  # takes its time, and most have no issuer of tokens

        ca_file = os.path.join(folder, table.ca_file)
        try:
            authorities(ca_file)
        except ValueError as fault:
            table.spot.inner("ca_file").fault(str(fault))
    return OAuthSettings(
        endpoint=table.endpoint,
        client_id=table.client_id,
        client_secret=secret,
        login_claims=table.login_claims,
        scope=frozenset(word for one in table.scope for word in one.split()),
        audience=table.audience or "",
        ca_file=ca_file,
    )
