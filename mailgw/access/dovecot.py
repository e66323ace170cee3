"""Passwords that Dovecot judges, over its auth-client socket (``wire.dovecot_auth`` has the protocol).

Rules:
    One connection, made when it is first needed and again when it was lost; many requests at once go over it.
    Whatever goes wrong with it is nobody's wrong password: TemporaryFault, which clients are told as 454.
"""

from collections.abc import Callable

import attrs
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgw.access.portal import octets_of, text_of, unsure
from mailgw.wire.dovecot_auth import Answer, AuthClient, Broken

log = Logger()


@attrs.frozen
class DovecotLimits:
    """``connect_seconds`` to get through and be introduced, ``answer_seconds`` for one answer, ``rest_seconds`` after
    a failure before it is tried again, ``waiting`` requests at once."""

    connect_seconds: float
    answer_seconds: float
    rest_seconds: float
    waiting: int


# Dovecot answers a wrong password after 2 s, and after up to 15 s more to an address that it penalises.
DOVECOT_LIMITS = DovecotLimits(connect_seconds=5.0, answer_seconds=30.0, rest_seconds=1.0, waiting=100)


@implementer(ICredentialsChecker)
class DovecotChecker:
    """The avatar id is the user as Dovecot calls him, which has to be an address."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self, path: str, limits: DovecotLimits, process: int, reactor: IReactorUNIX, clock: IReactorTime
    ) -> None:
        """``path`` of the socket; ``process`` is our process's number."""
        self._path = path
        self._limits = limits
        self._process = process
        self._reactor = reactor
        self._clock = clock
        self._connection: _Connection | None = None
        self._waiting: set[Deferred[_Connection]] = set()
        self._attempt: Deferred[Protocol] | None = None
        self._opening: _Connection | None = None
        self._rests_until = float("-inf")
        self._is_closed = False

    def requestAvatarId(self, credentials: IUsernamePassword) -> "Deferred[bytes | tuple[()]]":
        """Fires with the avatar id; fails with UnauthorizedLogin, or TemporaryFault."""
        return Deferred.fromCoroutine(self._avatar_id(credentials))

    async def _avatar_id(self, credentials: IUsernamePassword) -> bytes | tuple[()]:
        connection = self._connection
        if connection is None:
            connection = await self._connected()
        login, password = text_of(credentials.username), text_of(credentials.password)
        answer = await connection.ask(login, password, getattr(credentials, "address", ""))
        if answer.user is not None:
            return octets_of(answer.user)
        if answer.is_temporary:
            raise unsure(f"Dovecot at {self._path} cannot tell now")
        raise UnauthorizedLogin("wrong name or password")

    async def close(self) -> None:
        """End the connection; whoever waits is told to come again."""
        self._is_closed = True
        if self._attempt is not None:
            self._attempt.cancel()
        connection = self._connection or self._opening
        if connection is not None:
            connection.end("mailgw stops")
        self._changed(None, "mailgw stops")

    def _connected(self) -> "Deferred[_Connection]":
        """Fires when the connection is ready for requests."""
        waiting: Deferred[_Connection] = Deferred(self._waiting.discard)
        if self._is_closed or self._clock.seconds() < self._rests_until or len(self._waiting) >= self._limits.waiting:
            waiting.errback(unsure(f"Dovecot's {self._path} is not to be reached"))
            return waiting
        self._waiting.add(waiting)
        if self._attempt is None:
            seconds = self._limits.connect_seconds
            endpoint = UNIXClientEndpoint(  # type: ignore[no-untyped-call] # Twisted has no types there
                self._reactor, self._path, timeout=seconds
            )
            factory = Factory.forProtocol(self._open)
            factory.noisy = False
            attempt: Deferred[Protocol] = endpoint.connect(factory)  # type: ignore[no-untyped-call]
            self._attempt = attempt
            attempt.addErrback(self._failed)  # type: ignore[unused-awaitable] # _changed tells the rest
        return waiting

    def _open(self) -> "_Connection":
        self._opening = _Connection(self._process, self._limits, self._clock, self._changed)
        return self._opening

    def _failed(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._changed(None, failure.getErrorMessage())

    def _changed(self, connection: "_Connection | None", why: str) -> None:
        """It is ready, or it is gone."""
        self._connection = connection
        waiting, self._waiting = self._waiting, set()
        self._attempt = self._opening = None
        if connection is None and (waiting or not self._is_closed):
            log.warn("the connection to Dovecot's {path} is gone: {why}", path=self._path, why=why)
        if connection is None and waiting:
            self._rests_until = self._clock.seconds() + self._limits.rest_seconds
        for one in waiting:
            if connection is None:
                one.errback(unsure(f"Dovecot's {self._path}: {why}"))
            else:
                one.callback(connection)


class _Connection(Protocol):
    def __init__(
        self,
        process: int,
        limits: DovecotLimits,
        clock: IReactorTime,
        changed: Callable[["_Connection | None", str], None],
    ) -> None:
        self._client = AuthClient(process)
        self._limits = limits
        self._clock = clock
        self._changed = changed
        self._asked: dict[int, tuple[Deferred[Answer], IDelayedCall]] = {}
        self._introduction: IDelayedCall | None = None
        self._why = "it was closed"
        self._is_over = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._client.greeting())
        self._introduction = self._clock.callLater(self._limits.connect_seconds, self.end, "it does not answer")

    def dataReceived(self, data: bytes) -> None:
        for event in self._client.receive(data):
            if isinstance(event, Broken):
                self.end(event.why)
                return
            if isinstance(event, Answer):
                self._answered(event)
            else:
                self._end_introduction()
                self._changed(self, "")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over()

    def ask(self, login: str, password: str, address: str) -> "Deferred[Answer]":
        """Fails with TemporaryFault where there is no answer."""
        answer: Deferred[Answer] = Deferred()
        request = None if self._is_over else self._client.request(login, password, address)
        if self._is_over or len(self._asked) >= self._limits.waiting:
            answer.errback(unsure("too many logins wait to be checked"))
        elif request is None:
            answer.callback(Answer(0, None, False))  # longer than any password that Dovecot could have
        else:
            number, octets = request
            timer = self._clock.callLater(self._limits.answer_seconds, self.end, "it does not answer")
            self._asked[number] = answer, timer
            assert self.transport is not None
            self.transport.write(octets)
        return answer

    def end(self, why: str) -> None:
        self._why = why
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined] # every stream transport of Twisted has it
        self._over()

    def _answered(self, event: Answer) -> None:
        answer, timer = self._asked.pop(event.number, (None, None))
        if answer is not None and timer is not None:
            timer.cancel()
            if not answer.called:  # the session may have gone
                answer.callback(event)

    def _end_introduction(self) -> None:
        timer, self._introduction = self._introduction, None
        if timer is not None and timer.active():
            timer.cancel()

    def _over(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._end_introduction()
        asked, self._asked = self._asked, {}
        self._changed(None, self._why)
        for answer, timer in asked.values():
            if timer.active():
                timer.cancel()
            if not answer.called:
                answer.errback(unsure(f"Dovecot: {self._why}"))
