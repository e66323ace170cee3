"""HTTPS to a server that the configuration or a domain names: certificates are verified, answers and time are bounded.

RFC 9110 and RFC 9112 as Twisted's Agent does it.  Redirects are not followed: they would take our
credentials elsewhere, and let a policy speak for a domain that it is not of (RFC 8461 s3.3).
"""

from collections.abc import Coroutine, Mapping
from typing import Any

import attrs
from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, TLSVersion, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web._newclient import HEADER, STATUS, HTTP11ClientProtocol
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from mailgw.mail.errors import TemporaryFault

USER_AGENT = "mailgw"
_NOBODY = "nobody.invalid"  # RFC 6761 s6.4: no such name exists


@attrs.frozen
class HttpAnswer:
    """``media_type``: the Content-Type field as it came, ``""`` where there is none, or more than one.  ``is_whole``:
    the server said where ``body`` ends; else the connection's end did, which anybody on the way can bring about."""

    status: int
    body: bytes
    media_type: str = ""
    is_whole: bool = True


@implementer(IPolicyForHTTPS)
class VerifiedHttps:
    """Names and chains are verified, against the PEM file ``ca_file`` or the system's authorities; TLS 1.2 or later.

    Raises ``ValueError`` with one line where ``ca_file`` cannot be used.
    """

    def __init__(self, ca_file: str | None) -> None:
        if ca_file is None:
            self._roots: Any = platformTrust()  # type: ignore[no-untyped-call] # Twisted has no types there
        else:
            self._roots = trustRootFromCertificates(authorities(ca_file))  # type: ignore[no-untyped-call]

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        name = hostname.decode("ascii")
        creator: IOpenSSLClientConnectionCreator
        try:
            creator = self._options(name)
        except UnicodeError:
            creator = self._named_by_dns(name)
        return creator

    def _named_by_dns(self, name: str) -> Any:
        # Twisted has every name pass IDNA2008, which knows no underscores, no "ab--cd" and no emoji; DNS does, domains
        # with such names have policies, and certificates name them.  Of the attributes there is no public form; were
        # they others one day, no certificate would do.
        options = self._options(_NOBODY)
        options._hostname = options._hostnameASCII = name
        options._hostnameBytes = name.encode("ascii")
        return options

    def _options(self, name: str) -> Any:
        return optionsForClientTLS(
            name, self._roots, extraCertificateOptions={"raiseMinimumTo": TLSVersion.TLSv1_2}
        )


def authorities(ca_file: str) -> list[Certificate]:
    """The certificates of a PEM file; ``ValueError`` with one line where there are none."""
    try:
        with open(ca_file, "rb") as opened:
            found = x509.load_pem_x509_certificates(opened.read())
    except (OSError, ValueError):
        raise ValueError(f"{ca_file}: not a readable PEM file of certificates") from None
    return [Certificate(X509.from_cryptography(one)) for one in found]  # type: ignore[no-untyped-call]


class Https:
    """Asks and posts.  ``agent`` is to speak to the servers, ``reactor`` their clock."""

    def __init__(self, agent: IAgent, reactor: IReactorTime, limit_seconds: float, limit_octets: int) -> None:
        self._agent = agent
        self._clock = reactor
        self._limit_seconds = limit_seconds
        self._limit_octets = limit_octets

    async def post(self, url: str, octets: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """The answer to what is posted: a form, unless ``headers`` have another Content-Type.

        TemporaryFault where there is none in time, or one that is too long.
        """
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self._in_time(url, self._request(b"POST", url, {**form, **headers}, Octets(octets)))

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """The answer to a question; only ``headers`` have credentials.  TemporaryFault as for ``post``."""
        return await self._in_time(url, self._request(b"GET", url, headers or {}, None))

    async def _in_time(self, url: str, request: Coroutine[Deferred[Any], Any, HttpAnswer]) -> HttpAnswer:
        task = Deferred.fromCoroutine(request)
        timer = self._clock.callLater(self._limit_seconds, task.cancel)
        late = f"{url}: no answer within {self._limit_seconds:.0f} s"
        try:
            return await task
        except CancelledError:
            if timer.active():
                raise
            raise TemporaryFault(late) from None
        except TemporaryFault:
            raise
        except Exception as fault:  # DNS, TCP, TLS, HTTP: Twisted has dozens of names for it, also for our own limit
            if not timer.active():
                raise TemporaryFault(late) from None
            raise TemporaryFault(f"{url}: {words_of(fault)}") from fault
        finally:
            if timer.active():
                timer.cancel()

    async def _request(
        self, method: bytes, url: str, headers: Mapping[str, str], content: IBodyProducer | None
    ) -> HttpAnswer:
        fields = Headers({"User-Agent": [USER_AGENT], **{name: [value] for name, value in headers.items()}})
        response: IResponse = await self._agent.request(method, url.encode("ascii"), fields, content)
        body = AnswerBody(self._limit_octets)
        response.deliverBody(body)  # type: ignore[no-untyped-call]
        types = response.headers.getRawHeaders(b"content-type", [])
        media_type = types[0].decode("latin-1") if len(types) == 1 else ""
        octets = await body.whole
        return HttpAnswer(response.code, octets, media_type, body.is_whole)


def is_certificate_fault(fault: TemporaryFault) -> bool:
    """Whether ``Https`` has no answer since the server's certificate is none for it: a name, a chain, a date."""
    inner = inner_of(fault.__cause__)
    if isinstance(inner, (VerificationError, CertificateError)):
        return True
    # OpenSSL has one word for all that is wrong with a chain.
    return isinstance(inner, SSL.Error) and "certificate verify failed" in words_of(inner)


def kept_connections(reactor: Any, ca_file: str | None, limit_seconds: float) -> tuple[Agent, HTTPConnectionPool]:
    """An agent, and its pool, whose ``closeCachedConnections`` is to be called at the end.  ``ValueError`` where
    ``ca_file`` cannot be used."""
    pool = QuietPool(reactor)  # type: ignore[no-untyped-call]
    pool.retryAutomatically = True  # of idempotent requests alone, which a POST is not
    https = VerifiedHttps(ca_file)
    agent = Agent(reactor, https, connectTimeout=limit_seconds, pool=pool)  # type: ignore[no-untyped-call]
    return agent, pool


HEAD_OCTETS = 128 * 1024
"""Of an answer, until its head has ended: status line, fields, and interim answers before it.  Most clients take 64 KiB
and less of those."""


class _Bounded(HTTP11ClientProtocol):
    """Twisted's HTTP client bounds lines, but neither their number nor anything else of an answer's head."""

    _head_octets = 0

    def request(self, request: Any) -> Any:
        self._head_octets = 0
        return super().request(request)

    def dataReceived(self, data: bytes) -> None:
        # Of a parser there is no public form; were it another one day, nothing would be bounded.
        if getattr(self._parser, "state", "") in (STATUS, HEADER):
            self._head_octets += len(data)
            if self._head_octets > HEAD_OCTETS:
                transport: Any = self.transport
                transport.abortConnection()
                return
        super().dataReceived(data)  # type: ignore[no-untyped-call]


class _QuietFactory(HTTPConnectionPool._factory):  # type: ignore[misc, valid-type] # Twisted has no types there
    noisy = False  # else two lines in the log for each connection

    def buildProtocol(self, address: Any) -> _Bounded:
        return _Bounded(self._quiescentCallback)  # type: ignore[no-untyped-call]


class QuietPool(HTTPConnectionPool):
    _factory = _QuietFactory


@implementer(IBodyProducer)
class Octets:
    """Content that is all there."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.length = len(octets)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self._octets)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """All of it was written at once."""

    def resumeProducing(self) -> None:
        """All of it was written at once."""

    def stopProducing(self) -> None:
        """All of it was written at once."""


class AnswerBody(Protocol):
    """Gathers what a response brings.  ``whole`` fails with TemporaryFault where that is more than ``limit_octets``."""

    def __init__(self, limit_octets: int) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._abort())
        self.is_whole = False
        self._limit = limit_octets
        self._found: list[bytes] = []
        self._octets = 0

    def dataReceived(self, data: bytes) -> None:
        self._octets += len(data)
        self._found.append(data)
        if self._octets > self._limit and not self.whole.called:
            self.whole.errback(TemporaryFault(f"an answer of more than {self._limit} octets"))
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.whole.called:
            return
        # RFC 9112 s6.3: without a length the end of the connection ends it, and whoever asked sees whether it is whole.
        self.is_whole = isinstance(reason.value, ResponseDone)
        if self.is_whole or isinstance(reason.value, PotentialDataLoss):
            self.whole.callback(b"".join(self._found))
        else:
            self.whole.errback(reason)

    def _abort(self) -> None:
        self._found = []
        abort = getattr(self.transport, "abortConnection", None) or getattr(self.transport, "loseConnection", None)
        if abort is not None:
            abort()


def inner_of(fault: BaseException | None) -> BaseException | None:
    """What one of Twisted's faults is about: the fault in it, or itself."""
    reasons = getattr(fault, "reasons", None)  # of twisted.web's ResponseFailed and its like
    return reasons[0].value if reasons else fault


def words_of(fault: BaseException) -> str:
    """What went wrong, in one line for people; it names no URL."""
    inner = inner_of(fault) or fault
    if isinstance(inner, VerificationError):
        return "its certificate does not name it"
    details = inner.args[0] if inner.args else ""
    if isinstance(inner, SSL.Error) and isinstance(details, list) and details:
        return str(details[0][-1])[:200]
    return (str(inner) or type(inner).__name__)[:200]
