"""One POST of a message: sent piece by piece, as the server takes it; each stage has its time, the answer its limit.

RFC 9110 and RFC 9112 as Twisted's Agent does it, and as ``net.https`` says.  Not done: "Expect: 100-continue".

Rules:
    A server that has answered needs no more of the content: the connection is ended.
    What is wrong with the rest of an answer, once its status is there, is no fault of the POST: ``body`` is None.
    No fault names the URL, which may be a secret.
"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content
from mailgw.net.https import USER_AGENT, AnswerBody, inner_of, words_of


@attrs.frozen
class PostLimits:
    """Seconds for a connection (names, TCP), for each piece of at most 256 KiB to be taken (the first one's with the
    TLS handshake), and from the last piece to the end of the answer; ``answer_octets`` of its body."""

    connect_seconds: float
    send_seconds: float
    answer_seconds: float
    answer_octets: int


@attrs.frozen
class PostAnswer:
    """``media_type``, ``retry_after`` and ``location`` are the fields as they came, ``""`` where there is none, or more
    than one; the last may be as secret as a URL.
    ``body`` None: there is more of it than we take, or it did not come to its end."""

    status: int
    body: bytes | None
    media_type: str = ""
    retry_after: str = ""
    location: str = attrs.field(default="", repr=False)


class Poster:
    def __init__(self, agent: IAgent, clock: IReactorTime, limits: PostLimits) -> None:
        self._agent = agent
        self._clock = clock
        self._limits = limits

    async def post(self, url: str, headers: Mapping[str, str], content: Content) -> PostAnswer:
        """The answer to ``content``.  TemporaryFault where there is none in time, or where the content cannot be
        read."""
        stage = _Stage(self._clock)
        task = Deferred.fromCoroutine(self._exchange(url, headers, content, stage))
        stage.cancel = task.cancel
        try:
            return await task
        except TemporaryFault:
            raise
        except Exception as fault:  # DNS, TCP, TLS, HTTP: Twisted has dozens of names for it, also for our own limits
            if stage.is_over:
                raise TemporaryFault(stage.why) from None
            inner = inner_of(fault)
            if isinstance(inner, CancelledError | ConnectingCancelledError):
                raise CancelledError from None  # who asked has given up
            if isinstance(inner, TemporaryFault):
                raise inner from None
            raise TemporaryFault(words_of(fault)) from fault
        finally:
            stage.end()

    async def _exchange(
        self, url: str, headers: Mapping[str, str], content: Content, stage: "_Stage"
    ) -> PostAnswer:
        limits = self._limits

        def progressed() -> None:
            stage.begin(limits.send_seconds, "took no more of the content")

        def sent() -> None:
            stage.begin(limits.answer_seconds, "did not answer")

        fields = Headers({"User-Agent": [USER_AGENT], **{name: [value] for name, value in headers.items()}})
        streamed = _Streamed(content, progressed, sent)
        stage.begin(limits.connect_seconds, "no connection")
        response: IResponse = await self._agent.request(b"POST", url.encode("ascii"), fields, streamed)
        stage.begin(limits.answer_seconds, "did not answer")
        body = AnswerBody(limits.answer_octets)
        octets: bytes | None = None
        try:
            response.deliverBody(body)  # type: ignore[no-untyped-call] # Twisted's
            octets = await body.whole
        except CancelledError:
            if not stage.is_over:
                raise
        except Exception:  # noqa: BLE001 - of the connection, whatever it is: the status is known
            octets = None
        finally:
            streamed.give_up()
        fields_of = (_only(response, name) for name in (b"content-type", b"retry-after", b"location"))
        return PostAnswer(response.code, octets, *fields_of)


def _only(response: IResponse, name: bytes) -> str:
    found = response.headers.getRawHeaders(name, [])
    return found[0].decode("latin-1") if len(found) == 1 else ""


class _Stage:
    """What is waited for, and for how long; ``cancel`` is called when that is over."""

    def __init__(self, clock: IReactorTime) -> None:
        self.cancel: Callable[[], object] | None = None
        self.why = ""
        self.is_over = False
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._has_ended = False

    def begin(self, seconds: float, what: str) -> None:
        if self._has_ended:
            return
        self._disarm()
        self.why = f"{what} within {seconds:.0f} s"
        self._timer = self._clock.callLater(seconds, self._expire)

    def end(self) -> None:
        self._has_ended = True
        self._disarm()

    def _disarm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _expire(self) -> None:
        self.is_over = self._has_ended = True
        if self.cancel is not None:
            self.cancel()


@implementer(IBodyProducer)
class _Streamed:
    """Content, piece by piece, as the connection takes it."""

    def __init__(self, content: Content, progressed: Callable[[], None], sent: Callable[[], None]) -> None:
        self.length = content.size_octets
        self._content = content
        self._progressed = progressed
        self._sent = sent
        self._paused: Deferred[None] | None = None
        self._task: Deferred[None] | None = None
        self._done: Deferred[None] = Deferred(lambda _: self._stop())
        self._is_stopped = False
        self._consumer: Any = None

    def startProducing(self, consumer: Any) -> Deferred[None]:
        self._consumer = consumer
        self._progressed()
        task = self._task = Deferred.fromCoroutine(self._send(consumer))
        task.addCallbacks(self._succeed, self._fail)  # type: ignore[unused-awaitable] # both of them end it
        return self._done

    def pauseProducing(self) -> None:
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone: ``startProducing``'s Deferred is not to fire then (``IBodyProducer``)."""
        self._is_stopped = True
        self._stop()

    def give_up(self) -> None:
        """The server has answered: if it did not want all, it gets no more."""
        if self._task is None or self._done.called or self._is_stopped:
            return
        self.stopProducing()
        # Twisted would wait for the rest, and has no public way to say that none comes.
        transport = getattr(self._consumer, "_transport", None)
        if transport is not None:
            transport.abortConnection()

    async def _send(self, consumer: Any) -> None:
        chunks = self._content.chunks()
        try:
            async for chunk in chunks:
                while self._paused is not None:
                    await self._paused
                consumer.write(chunk)
                self._progressed()
        finally:
            # A generator that is left in the middle holds its file open until it is collected.
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _succeed(self, _: None) -> None:
        if not self._is_stopped and not self._done.called:
            self._sent()
            self._done.callback(None)

    def _fail(self, failure: Failure) -> None:
        if not self._is_stopped and not self._done.called:
            self._done.errback(failure)
