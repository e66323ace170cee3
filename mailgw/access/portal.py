"""Logins through ``twisted.cred``: the checker of our accounts, the realm, and ``log_in`` for the protocols.

RFC 4616 s5, RFC 4954 s6.  Not done: SASLprep (RFC 4013), lock-out after many failures.

Rules:
    Time does not tell whether an account exists: for a name without one, another account's hash is verified and
    the result thrown away.
    Hashing is done in threads, few at once (an ARGON2ID hash takes 64 MiB), and few may wait: more get 454.
    Who cannot be judged now (454, a TemporaryFault) is not one who was refused (None).
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import Attribute, Interface, implementer

from mailgw.access import schemes
from mailgw.access.remembered import Remembered
from mailgw.mail.address import Mailbox, folded, one_spelling, parse_mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.reply import Reply

log = Logger()


class ILogin(Interface):
    """Who logged in: what a portal for mailgw has to give."""

    address: Mailbox = Attribute("The account's address, in lower case.")


@implementer(ILogin)
@attrs.frozen
class Login:
    """One account; its ``address`` is what it may send as."""

    address: Mailbox


class Passwords(Protocol):
    """Where stored passwords are (``store.passwd.PasswdFile``)."""

    def password_of(self, login: str) -> str | None:
        """``{SCHEME}hash``, ``""`` where nobody can log in, None where there is no such account."""

    def another(self, number: int) -> str | None:
        """Some account's, the same for the same number; None where nobody can log in at all."""


@attrs.frozen
class LoginLimits:
    """``at_once`` hashes in threads; ``waiting`` logins behind them, more are told to come again; a verified login
    is remembered for ``remember_seconds``, ``remembered`` of them at most."""

    at_once: int
    waiting: int
    remember_seconds: float
    remembered: int


# Two hashes keep two cores busy and hold 128 MiB; 100 behind them wait some 5 s, well inside a client's patience.
LOGIN_LIMITS = LoginLimits(at_once=2, waiting=100, remember_seconds=300.0, remembered=10_000)


class ClientPassword(UsernamePassword):
    """A name and password, and the ``address`` they came from, ``""`` where it is none that others know."""

    def __init__(self, username: bytes, password: bytes, address: str) -> None:
        super().__init__(username, password)
        self.address = address


async def log_in(portal: Portal, login: str, password: str, address: str = "") -> Login | None:
    """The login, or None where name or password is wrong.

    TemporaryFault, with a 454 4.7.0, where that cannot be judged now: too many at once, or a checker in trouble
    (the trouble is its ``__cause__``).
    """
    try:
        credentials = ClientPassword(octets_of(login), octets_of(password), address)
        _, avatar, log_out = await portal.login(credentials, None, ILogin)
    except LoginFailed:
        return None
    except (TemporaryFault, CancelledError):
        raise
    except Exception as error:  # a checker may be anybody's code
        raise unsure(f"the login could not be checked: {type(error).__name__}") from error
    log_out()  # a session keeps nothing in the realm
    return Login(ILogin(avatar).address)


def make_portal(checkers: Sequence[ICredentialsChecker]) -> Portal:
    """A portal whose avatars are ``Login``s.  Of two checkers for the same credentials the last one counts."""
    return Portal(LoginRealm(), checkers)


@implementer(IRealm)
class LoginRealm:
    """Makes a ``Login`` of an avatar id that is an address, octets or text; no other is let in, and TemporaryFault says
    that it is not the client's fault."""

    def requestAvatar(
        self, avatarId: bytes | str | tuple[()], mind: object, *interfaces: object
    ) -> tuple[type[Interface], object, Callable[[], None]]:
        if ILogin not in interfaces:
            raise NotImplementedError("this realm has logins alone (ILogin)")
        if isinstance(avatarId, tuple):  # twisted.cred's ANONYMOUS
            raise UnauthorizedLogin("nobody logs in anonymously")
        address = parse_mailbox(text_of(avatarId))
        if address is None:
            # Somebody did find him: it is not his password that is wrong.
            log.error("the checker of logins calls one {user}, which is no address", user=repr(avatarId)[:100])
            raise unsure("the checker of logins gave no address")
        return ILogin, Login(Mailbox(folded(address.local_part), address.domain)), _log_out


@implementer(ICredentialsChecker)
class AccountsChecker:
    """Verifies names and passwords against stored hashes; the avatar id is the name in lower case.

    ``pool`` is running and its owner's to stop; ``secret`` is 16 to 64 octets of chance, this process's own.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self,
        accounts: Passwords,
        limits: LoginLimits,
        secret: bytes,
        reactor: IReactorFromThreads,
        pool: ThreadPool,
        clock: IReactorTime,
    ) -> None:
        self._accounts = accounts
        self._remembered = Remembered(secret, limits.remembered, limits.remember_seconds, clock.seconds)
        self._limits = limits
        self._secret = secret
        self._reactor = reactor
        self._pool = pool
        self._turns = DeferredSemaphore(limits.at_once)

    def requestAvatarId(self, credentials: IUsernamePassword) -> "Deferred[bytes | tuple[()]]":
        """Fires with the avatar id; fails with UnauthorizedLogin, or TemporaryFault where too many wait."""
        return Deferred.fromCoroutine(self._avatar_id(credentials))

    async def _avatar_id(self, credentials: IUsernamePassword) -> bytes | tuple[()]:
        login, password = text_of(credentials.username), octets_of(credentials.password)
        stored = self._accounts.password_of(login)
        if stored and self._remembered.holds(login, password, stored):
            return octets_of(folded(login))
        verified = stored or self._accounts.another(self._number(login))
        if verified is None:
            raise UnauthorizedLogin("nobody can log in")
        if len(self._turns.waiting) >= self._limits.waiting:
            raise unsure("too many logins wait to be checked")
        await self._turns.acquire()
        # Of several sessions that came with one login, those that had to wait find it verified.
        if self._remembered.holds(login, password, verified):
            self._turns.release()
        elif not await self._hashed(login, password, verified, is_account=bool(stored)):
            raise UnauthorizedLogin("wrong name or password")
        return octets_of(folded(login))

    def _hashed(self, login: str, password: bytes, stored: str, is_account: bool) -> "Deferred[bool]":
        """Whether an account's password is right; the turn ends when the thread does, not when a session goes."""
        answer: Deferred[bool] = Deferred()

        def ended(is_right: bool | Failure) -> None:
            if is_account and is_right is True:
                self._remembered.add(login, password, stored)
            self._turns.release()
            answer.callback(is_right if is_account or isinstance(is_right, Failure) else False)

        _ = deferToThreadPool(self._reactor, self._pool, schemes.verify, password, stored).addBoth(ended)
        return answer

    def _number(self, login: str) -> int:
        """The same for every spelling of a name (an account is found under all of them), and nobody's guess: whose hash
        stands in for a name without an account."""
        digest = hashlib.blake2b(octets_of(one_spelling(login)), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "big")


def _log_out() -> None:
    """Nothing is kept."""


def unsure(why: str) -> TemporaryFault:
    """Nobody can tell now."""
    # RFC 4954 s6: 454 4.7.0 Temporary authentication failure
    return TemporaryFault(why, Reply(454, "4.7.0", ("Temporary authentication failure",)))


def octets_of(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def text_of(octets: str | bytes) -> str:
    return octets if isinstance(octets, str) else octets.decode("utf-8", "surrogateescape")
