"""A POST whose content goes piece by piece, whose stages have their time, whose answer has a limit."""

from collections.abc import AsyncIterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.net.https import kept_connections
from mailgw.net.posting import PostAnswer, Poster, PostLimits
from tests.tables import each


class Pieces:
    """Content that is read piece by piece."""

    octets = None

    def __init__(self, *pieces: bytes, fault: TemporaryFault | None = None) -> None:
        self.pieces = pieces
        self.fault = fault
        self.size_octets = sum(map(len, pieces))
        self.given = 0
        self.is_closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                self.given += 1
                yield piece
            if self.fault is not None:
                raise self.fault
        finally:
            self.is_closed = True


class Bench:
    def __init__(self, *pieces: bytes, fault: TemporaryFault | None = None, size: int | None = None) -> None:
        self.reactor = MemoryReactorClock()
        self.content = Pieces(*pieces, fault=fault)
        self.content.size_octets = self.content.size_octets if size is None else size
        agent, self.pool = kept_connections(self.reactor, None, 30.0)
        poster = Poster(agent, self.reactor, PostLimits(5.0, 6.0, 7.0, 20))
        self.found: list[Any] = []
        self.task = Deferred.fromCoroutine(poster.post("http://192.0.2.1/a?secret", {"X-A": "b"}, self.content))
        self.task.addBoth(self.found.append)

    def connect(self, *stops_at: bytes) -> "Bench":
        """Over a connection that takes no more when it has one of ``stops_at``, until it is resumed."""
        self.transport = StringTransport()
        write = self.transport.write

        def written(octets: bytes) -> None:
            write(octets)
            if octets in stops_at:
                self.producer.pauseProducing()

        self.transport.write = written  # type: ignore[method-assign] # so it is the fake's
        self.protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return self

    @property
    def producer(self) -> Any:
        return self.transport.producer

    def say(self, octets: bytes) -> None:
        self.protocol.dataReceived(octets)

    def lose(self, reason: Exception) -> None:
        if self.transport.producer is not None:
            self.transport.producer.stopProducing()
        self.protocol.connectionLost(Failure(reason))

    def answer(self) -> PostAnswer:
        [found] = self.found
        assert isinstance(found, PostAnswer)
        self.end()
        return found

    def fault(self) -> str:
        assert isinstance(self.found[0].value, TemporaryFault)
        self.end()
        why: str = self.found[0].value.why
        assert "secret" not in why
        return why

    def end(self) -> None:
        self.pool.closeCachedConnections()
        # What is kept would be closed after a time of its own.
        assert [call for call in self.reactor.getDelayedCalls() if call.active()] == []


def test_a_post_and_its_answer() -> None:
    bench = Bench(b"abc", b"de").connect()
    head, _, body = bench.transport.value().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a?secret HTTP/1.1"
    assert {b"Content-Length: 5", b"X-A: b", b"User-Agent: mailgw", b"Host: 192.0.2.1"} <= set(lines)
    assert body == b"abcde"
    assert bench.content.is_closed
    bench.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nRetry-After: 5\r\n\r\n")
    assert bench.found == []
    bench.say(b"{}")
    assert bench.answer() == PostAnswer(200, b"{}", "application/json", "5")


def test_where_it_redirects_is_told_and_not_followed() -> None:
    bench = Bench(b"a").connect()
    bench.say(b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: https://a.example/?secret\r\n\r\n")
    found = bench.answer()
    assert found == PostAnswer(301, b"", location="https://a.example/?secret")
    assert "secret" not in repr(found)


def test_the_content_waits_for_the_connection() -> None:
    bench = Bench(b"abc", b"de", b"f").connect(b"abc", b"de")
    for given in (2, 3):
        assert bench.content.given == given
        bench.reactor.advance(5.9)  # less than the time for each
        bench.producer.resumeProducing()
    assert bench.transport.value().endswith(b"\r\n\r\nabcdef")
    bench.reactor.advance(6.9)
    bench.say(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert bench.answer() == PostAnswer(204, b"")


@each("code", [413, 200])
def test_who_answers_early_gets_no_more(code: int) -> None:
    bench = Bench(b"abc", b"de").connect(b"abc")
    bench.say(b"HTTP/1.1 %d Enough\r\nContent-Length: 0\r\n\r\n" % code)
    assert bench.answer() == PostAnswer(code, b"")
    assert bench.content.is_closed
    assert bench.transport.disconnecting
    assert bench.transport.value().endswith(b"abc")
    bench.lose(ConnectionDone())


@each(("body", "expected"), [
    (b"Content-Length: 20\r\n\r\n" + b"x" * 20, b"x" * 20),
    (b"Content-Length: 21\r\n\r\n" + b"x" * 21, None),
    (b"\r\nuntil the end", b"until the end"),
])
def test_the_limit_of_an_answer(body: bytes, expected: bytes | None) -> None:
    bench = Bench(b"a").connect()
    bench.say(b"HTTP/1.1 200 OK\r\n" + body)
    bench.lose(ConnectionDone())
    assert bench.answer() == PostAnswer(200, expected)


def test_an_answer_that_breaks_off() -> None:
    bench = Bench(b"a").connect()
    bench.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    bench.lose(ConnectionLost())
    assert bench.answer() == PostAnswer(200, None)


def test_an_answer_that_never_ends() -> None:
    bench = Bench(b"a").connect()
    bench.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
    bench.reactor.advance(6.9)
    assert bench.found == []
    bench.reactor.advance(0.1)
    assert bench.answer() == PostAnswer(200, None)
    assert bench.transport.disconnecting


def test_each_stage_has_its_time() -> None:
    bench = Bench(b"a")
    bench.reactor.advance(4.9)
    assert bench.found == []
    bench.reactor.advance(0.1)
    assert bench.fault() == "no connection within 5 s"

    bench = Bench(b"a", b"b").connect(b"a")
    bench.reactor.advance(6.0)
    assert bench.fault() == "took no more of the content within 6 s"
    assert bench.content.is_closed

    bench = Bench(b"a").connect()
    bench.reactor.advance(7.0)
    assert bench.fault() == "did not answer within 7 s"


def test_the_connection_is_lost() -> None:
    bench = Bench(b"a").connect()
    bench.lose(ConnectionLost())
    assert "lost" in bench.fault()


def test_the_disk_fails_in_the_middle() -> None:
    bench = Bench(b"a", fault=TemporaryFault("the disk is gone"), size=5).connect()
    assert bench.transport.disconnecting
    assert bench.fault() == "the disk is gone"


def test_who_asked_has_gone() -> None:
    for connects in (False, True):
        bench = Bench(b"a")
        if connects:
            bench.connect()
        bench.task.cancel()
        assert bench.found[0].check(CancelledError)
        bench.end()
