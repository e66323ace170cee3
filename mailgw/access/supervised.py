"""A checker of the user's own, supervised: it has a while for each answer, and what it does costs one login."""

from collections.abc import Callable
from typing import Any, Final

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import LoginFailed
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.net.supervised import CalledFor, Supervisor

# A mail program shows its user a clock meanwhile.
LOGIN_SECONDS: Final = 30.0
# What fails sooner keeps nobody waiting; and anybody may offer a login that makes it fail.
COSTLY_SECONDS: Final = 1.0


@implementer(ICredentialsChecker)
class SupervisedChecker:
    """In the place of ``inner``.  LoginFailed is its answer; what else it raises is our trouble, not the client's."""

    def __init__(
        self, inner: ICredentialsChecker, clock: IReactorTime, note: Callable[[Event], None]
    ) -> None:
        self.credentialInterfaces = inner.credentialInterfaces
        self._inner = inner
        self._supervisor = Supervisor(
            "accounts.checker", LOGIN_SECONDS, clock, note, answers=(LoginFailed, TemporaryFault),
            costly_seconds=COSTLY_SECONDS,
        )

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._avatar_id(credentials))

    async def _avatar_id(self, credentials: Any) -> object:
        about = CalledFor("AUTH")
        found = await self._supervisor.call(about, lambda: self._inner.requestAvatarId(credentials))
        if not isinstance(found, bytes | str | tuple):  # () is twisted.cred's ANONYMOUS, whom nobody lets in
            raise self._supervisor.lied(about, f"a {type(found).__name__}, where an account's address was expected")
        self._supervisor.good(about)
        return found
