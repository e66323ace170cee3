"""Forms over HTTPS: bounded answers, bounded time, verified names; a real TLS server in memory."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect
from twisted.web.client import Agent, ResponseDone, ResponseNeverReceived
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from zope.interface.verify import verifyObject

from mailgw.config.values import https_url
from mailgw.mail.errors import TemporaryFault
from mailgw.net.https import HEAD_OCTETS, HttpAnswer, Https, VerifiedHttps, authorities, kept_connections
from tests.tables import each


class FakeAgent:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[Any, ...]] = []
        self.answer: Deferred[Any] = Deferred()

    def request(self, method: bytes, url: bytes, headers: Any = None, body: Any = None) -> Any:
        consumer = StringTransport()
        if body is not None:
            body.startProducing(consumer)
            assert body.length == len(consumer.value())
        self.requests.append((method, url, dict(headers.getAllRawHeaders()), consumer.value()))
        return self.answer


class FakeResponse:
    def __init__(self, code: int) -> None:
        self.code = code
        self.headers = Headers({})
        self.body: Any = None

    def deliverBody(self, body: Any) -> None:
        self.body = body
        body.makeConnection(StringTransport())


class Bench:
    def __init__(self, answer: Deferred[Any] | None = None) -> None:
        self.clock = Clock()
        self.agent = FakeAgent()
        self.agent.answer = answer or self.agent.answer
        self.response = FakeResponse(200)
        agent: Any = self.agent
        self.found: list[Any] = []
        https = Https(agent, self.clock, 10.0, 20)
        self.task = Deferred.fromCoroutine(https.post("https://a.example/x", b"a=b", {"Accept": "application/json"}))
        self.task.addBoth(self.found.append)

    def fault(self) -> str:
        assert isinstance(self.found[0], Failure)
        assert isinstance(self.found[0].value, TemporaryFault)
        assert not self.clock.getDelayedCalls()
        return self.found[0].value.why


def test_a_form_and_its_answer() -> None:
    bench = Bench()
    assert bench.agent.requests == [(b"POST", b"https://a.example/x", {
        b"User-Agent": [b"mailgw"], b"Content-Type": [b"application/x-www-form-urlencoded"],
        b"Accept": [b"application/json"],
    }, b"a=b")]
    bench.agent.answer.callback(bench.response)
    bench.response.body.dataReceived(b"12345")
    bench.response.body.dataReceived(b"67890")
    assert bench.found == []
    bench.response.body.connectionLost(Failure(ResponseDone()))
    assert bench.found == [HttpAnswer(200, b"1234567890")]
    assert not bench.clock.getDelayedCalls()


def test_a_question_and_its_answer() -> None:
    agent: Any = FakeAgent()
    found: list[Any] = []
    Deferred.fromCoroutine(Https(agent, Clock(), 10.0, 20).get("https://a.example/x")).addBoth(found.append)
    assert agent.requests == [(b"GET", b"https://a.example/x", {b"User-Agent": [b"mailgw"]}, b"")]
    response = FakeResponse(200)
    response.headers.addRawHeader("Content-Type", "text/plain; charset=utf-8")
    agent.answer.callback(response)
    response.body.connectionLost(Failure(ResponseDone()))
    assert found == [HttpAnswer(200, b"", "text/plain; charset=utf-8")]


def test_what_is_posted_need_not_be_a_form() -> None:
    agent: Any = FakeAgent()
    https = Https(agent, Clock(), 10.0, 20)
    task = Deferred.fromCoroutine(https.post("https://a.example/", b"x", {"Content-Type": "application/tlsrpt+gzip"}))
    task.addErrback(lambda _: None)
    [(_, _, headers, content)] = agent.requests
    assert (headers[b"Content-Type"], content) == ([b"application/tlsrpt+gzip"], b"x")
    task.cancel()


def test_an_answer_has_a_limit() -> None:
    bench = Bench()
    bench.agent.answer.callback(bench.response)
    bench.response.body.dataReceived(b"x" * 20)
    assert bench.found == []
    bench.response.body.dataReceived(b"x")
    assert bench.fault() == "an answer of more than 20 octets"
    bench.response.body.dataReceived(b"more")
    bench.response.body.connectionLost(Failure(ResponseDone()))


@each(("octets", "is_taken"), [(HEAD_OCTETS, True), (HEAD_OCTETS + 1, False)])
def test_the_head_of_an_answer_has_a_limit(octets: int, is_taken: bool) -> None:
    """Interim answers count; each answer of a connection that is kept has its own."""
    reactor = MemoryReactorClock()
    agent, pool = kept_connections(reactor, None, 10.0)
    head = b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"X: 345678\r\n" * (octets // 11 - 7)
    head += b"X: " + b"y" * (octets - len(head) - 7) + b"\r\n\r\n"
    protocol: Any = None
    for _ in range(2):
        found: list[Any] = []
        Deferred.fromCoroutine(Https(agent, reactor, 10.0, 20).get("http://127.0.0.1/x")).addBoth(found.append)
        if protocol is None:
            protocol, transport = reactor.tcpClients[0][2].buildProtocol(None), StringTransport()
            lost = Failure(ConnectionAborted())
            transport.abortConnection = partial(protocol.connectionLost, lost)  # type: ignore[method-assign]
            protocol.makeConnection(transport)
        for start in range(0, len(head), 60_000):
            protocol.dataReceived(head[start:start + 60_000])
        if not is_taken:
            assert isinstance(found[0].value, TemporaryFault)
            return
        protocol.dataReceived(b"ok")
        assert [one.body for one in found] == [b"ok"]
    pool.closeCachedConnections()


def test_it_takes_too_long() -> None:
    bench = Bench()
    bench.clock.advance(9.9)
    assert bench.found == []
    bench.clock.advance(0.1)
    assert bench.fault() == "https://a.example/x: no answer within 10 s"


def test_it_takes_too_long_in_the_words_of_others() -> None:
    bench = Bench(Deferred(lambda answer: answer.errback(ResponseNeverReceived([Failure(CancelledError())]))))
    bench.clock.advance(10.0)
    assert bench.fault() == "https://a.example/x: no answer within 10 s"


def test_the_body_takes_too_long() -> None:
    bench = Bench()
    bench.agent.answer.callback(bench.response)
    bench.response.body.dataReceived(b"x")
    bench.clock.advance(10.0)
    assert bench.fault() == "https://a.example/x: no answer within 10 s"
    assert bench.response.body.transport.disconnecting


def test_it_is_cut_off() -> None:
    bench = Bench()
    bench.agent.answer.callback(bench.response)
    bench.response.body.connectionLost(Failure(ConnectionError("reset")))
    assert bench.fault() == "https://a.example/x: reset"


@each("code", [200, 500])
def test_an_answer_that_the_end_of_the_connection_ends(code: int) -> None:
    bench = Bench()
    bench.response.code = code
    bench.agent.answer.callback(bench.response)
    bench.response.body.dataReceived(b"{}")
    bench.response.body.connectionLost(Failure(PotentialDataLoss()))
    assert bench.found == [HttpAnswer(code, b"{}", is_whole=False)]


def test_it_is_not_there() -> None:
    bench = Bench()
    bench.agent.answer.errback(Failure(OSError("no route")))
    assert bench.fault() == "https://a.example/x: no route"


def test_who_asked_has_gone() -> None:
    bench = Bench()
    bench.task.cancel()
    assert bench.found[0].check(CancelledError)
    assert not bench.clock.getDelayedCalls()


# --- certificates ---------------------------------------------------------------------------------------

def shake_hands(policy: VerifiedHttps, name: str, leaf: trustme.LeafCert) -> list[str]:
    """What the client's side says of the handshake: [] where it went well."""
    context = ssl.PrivateCertificate.loadPEM(leaf.private_key_and_cert_chain_pem.bytes()).options()
    said: list[str] = []

    class Client(Protocol):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.write(b"hello")

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            said.append(str(reason.value))

    client = TLSMemoryBIOFactory(policy.creatorForNetloc(name.encode(), 443), True, Factory.forProtocol(Client))
    server = TLSMemoryBIOFactory(context, False, Factory.forProtocol(Protocol))
    one, other = client.buildProtocol(None), server.buildProtocol(None)
    pump = connect(other, FakeTransport(other, True), one, FakeTransport(one, False))
    pump.flush()
    return said


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")  # Twisted does it
def test_names_and_authorities(tmp_path: Path) -> None:
    ours, strange = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    policy = VerifiedHttps(str(tmp_path / "ca.pem"))
    assert shake_hands(policy, "a.example", ours.issue_cert("a.example")) == []
    assert shake_hands(policy, "b.example", ours.issue_cert("a.example")) != []
    assert shake_hands(policy, "a.example", strange.issue_cert("a.example")) != []
    assert shake_hands(policy, "127.0.0.1", ours.issue_cert("127.0.0.1")) == []


def test_authorities_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    for name in ("junk", "missing", "."):
        with pytest.raises(ValueError, match="not a readable PEM file of certificates"):
            authorities(str(tmp_path / name))


def test_an_agent_of_our_own() -> None:
    from twisted.web.iweb import IAgent

    agent, pool = kept_connections(Clock(), None, 10.0)
    assert isinstance(agent, Agent)
    assert verifyObject(IAgent, agent)
    pool.closeCachedConnections()


def test_its_connections_are_none_of_the_log_s_business() -> None:
    reactor = MemoryReactorClock()
    agent, _ = kept_connections(reactor, None, 10.0)
    with capturedLogs() as logged:
        agent.request(b"POST", b"http://192.0.2.1/").addErrback(lambda _: None)  # type: ignore[unused-awaitable]
        factory = reactor.tcpClients[0][2]
        factory.doStart()
        factory.doStop()
    assert logged == []


@each(("url", "is_good"), [
    ("https://login.example.org/introspect", True), ("https://login.example.org", True),
    ("https://[::1]:8443/x?y=z", True),
    ("http://login.example.org/", False), ("https://", False), ("https://user:secret@a.example/", False), ("x", False),
    ("https://a.example/ x", False), ("https://a.example/\u00e4", False), ("https://a.example/#x", False), (1, False),
])
def test_urls(url: object, is_good: bool) -> None:
    if is_good:
        assert https_url(url) == url
    else:
        with pytest.raises(ValueError, match="expected"):
            https_url(url)
