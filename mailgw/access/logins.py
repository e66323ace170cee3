"""Whether a claim is true, whatever mechanism it came by: ``receive.settings.Logins`` made of the sources of accounts.

RFC 4422 s3.6, RFC 4616 s2, RFC 5802, RFC 7628.  Not done: acting for another identity; an authorization identity
is empty or the login itself.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Protocol, assert_never

from twisted.cred.portal import Portal

from mailgw.access.portal import log_in
from mailgw.access.scram_accounts import ScramAccounts
from mailgw.mail.address import Mailbox, folded, parse_mailbox
from mailgw.mail.envelope import Client
from mailgw.wire.sasl import WRONG, Certificate, LoginClaim, Password, Proof, ScramKeys, Token, Untrue

_NONCE_OCTETS = 18  # RFC 5802 s5.1 has no figure: 144 bits are nobody's guess, and need no padding in base64

_USER_DIFFERS = Untrue("user differs")


class Tokens(Protocol):
    """Who issued bearer tokens (``introspection.Introspection``)."""

    async def login_of(self, token: str) -> Mailbox | Untrue:
        """Whose token it is, or why it is worth nothing.  TemporaryFault where nobody can tell now."""


class Accounts(Protocol):
    """Who exists (``store.passwd.PasswdFile``)."""

    def has(self, recipient: Mailbox) -> bool: ...


class Logins:
    """``portal`` judges passwords, ``scram`` has keys, ``tokens`` asks the issuer, ``accounts`` knows who exists, for
    whom a certificate may speak.  What is None is not offered.

    ``chance(n)`` gives n octets that nobody can guess.
    """

    def __init__(
        self,
        portal: Portal | None,
        scram: ScramAccounts | None,
        tokens: Tokens | None,
        accounts: Accounts | None,
        chance: Callable[[int], bytes],
    ) -> None:
        self._portal = portal
        self._scram = scram
        self._tokens = tokens
        self._accounts = accounts
        self._chance = chance

    def mechanisms(self) -> Sequence[str]:
        """What some account can use now, whatever TLS has to say to it."""
        found: list[str] = []
        if self._portal is not None:
            found += ["PLAIN", "LOGIN"]
        if self._scram is not None and self._scram.has_any:
            found.append("SCRAM-SHA-256")
        if self._tokens is not None:
            found += ["OAUTHBEARER", "XOAUTH2"]
        if self._accounts is not None:
            found.append("EXTERNAL")
        return found

    def keys(self, login: str) -> ScramKeys:
        assert self._scram is not None, "SCRAM was not offered"
        return self._scram.keys(login)

    def nonce(self) -> str:
        return base64.b64encode(self._chance(_NONCE_OCTETS)).decode("ascii")

    async def judge(self, claim: LoginClaim, client: Client) -> str | Untrue:
        """The account's address, or why the claim is false; TemporaryFault where nobody can tell now."""
        found: Mailbox | Untrue
        match claim:
            case Password():
                found = await self._judge_password(claim, client) or WRONG
            case Proof():
                found = (parse_mailbox(claim.login) if claim.is_right else None) or WRONG
            case Token():
                found = WRONG if self._tokens is None else await self._tokens.login_of(claim.token)
            case Certificate():
                found = self._judge_certificate(claim, client)
            case _:
                assert_never(claim)
        if isinstance(found, Untrue):
            return found
        address = _account(found)
        if _is_for(claim, address):
            return str(address)
        return WRONG if isinstance(claim, (Password, Proof)) else _USER_DIFFERS

    async def _judge_password(self, claim: Password, client: Client) -> Mailbox | None:
        if self._portal is None:
            return None
        login = await log_in(self._portal, claim.login, claim.password, client.own_address)
        return None if login is None else login.address

    def _judge_certificate(self, claim: Certificate, client: Client) -> Mailbox | Untrue:
        """Of the addresses in the certificate the first that is an account: the one that is asked for, if one is."""
        if self._accounts is None or client.tls is None:
            return WRONG
        named = map(parse_mailbox, client.tls.certificate_names)
        known = [mailbox for mailbox in named if mailbox is not None and self._accounts.has(mailbox)]
        for mailbox in known:
            if _is_for(claim, _account(mailbox)):
                return mailbox
        return _USER_DIFFERS if known else Untrue("no account")


def _account(mailbox: Mailbox) -> Mailbox:
    return Mailbox(folded(mailbox.local_part), mailbox.domain)


def _is_for(claim: LoginClaim, address: Mailbox) -> bool:
    """Whether it acts for the account itself."""
    if claim.authzid == "" or (isinstance(claim, (Password, Proof)) and claim.authzid == claim.login):
        return True
    wanted = parse_mailbox(claim.authzid)
    return wanted is not None and _account(wanted) == address
