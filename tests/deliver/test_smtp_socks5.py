"""Connections through a SOCKS5 proxy, on the network in memory."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from mailgw.deliver.smtp import Secret
from mailgw.deliver.smtp_settings import Socks5, TlsMode
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, Delivery, Net, Wire

PROXY = Socks5("proxy.example", 1080, None, None)
ADDRESSES = {"proxy.example": ["192.0.2.80"], "mx.example": ["2001:db8::1", "192.0.2.1"]}
REACHED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


class Passage:
    """The proxy's end of a connection: who reads from it changes."""

    def __init__(self, net: Net, wire: Wire | None = None) -> None:
        _, _, factory, *_ = net.reactor.tcpClients[-1]
        self.wire: Any = wire or Wire()
        self.wire.protocol = factory.buildProtocol(None)
        self.wire.protocol.makeConnection(self.wire)

    def say(self, octets: bytes) -> "Passage":
        self.wire.protocol.dataReceived(octets)
        return self

    def heard(self) -> bytes:
        octets: bytes = self.wire.value()
        self.wire.clear()
        return octets


def by_proxy(proxy: Socks5 = PROXY, **changes: Any) -> tuple[Net, Delivery]:
    dns = FakeResolver({"example.org": [(10, "mx.example")]}, ADDRESSES, **changes)
    net = Net(dns, hosts=(), socks5=proxy)
    return net, net.deliver()


def test_a_message_goes_through_a_proxy() -> None:
    net, delivery = by_proxy()
    assert net.calls() == [("192.0.2.80", 1080)]
    passage = Passage(net)
    assert passage.heard() == b"\x05\x01\x00"
    assert passage.say(b"\x05\x00").heard()[:4] == b"\x05\x01\x00\x04"
    passage.say(REACHED + b"220 mx.exam").say(b"ple\r\n")
    assert passage.heard() == b"EHLO us.example.net\r\n"
    passage.say(b"250-mx.example\r\n250 PIPELINING\r\n")
    assert passage.heard().startswith(b"MAIL FROM:")
    passage.say(b"250 ok\r\n250 ok\r\n354 go\r\n").say(b"250 2.0.0 queued\r\n")
    assert delivery.outcomes[ANN].hop == "mx.example [2001:db8::1]:25"
    assert net.idle() == 1


class Sealed(Wire):
    """TLS that starts takes what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""

    def startTLS(self, creator: object) -> None:
        super().startTLS(creator)
        self.protocol: Any = self

    def dataReceived(self, data: bytes) -> None:
        self.received += data


def test_what_comes_with_the_proxy_s_answer_does_not_pass_by_tls() -> None:
    dns = FakeResolver(address_records=ADDRESSES)
    net = Net(dns, hosts=("mx.example:465",), tls=TlsMode.IMPLICIT, socks5=PROXY)
    net.deliver()
    passage = Passage(net, Sealed())
    clear = b"220 mx.example\r\n250 mx.example\r\n"
    passage.say(b"\x05\x00").heard()
    passage.say(REACHED + clear)
    assert (passage.wire.received, passage.heard()) == (clear, b"")


def test_a_destination_out_of_reach_brings_the_next_address() -> None:
    net, delivery = by_proxy()
    Passage(net).say(b"\x05\x00").say(b"\x05\x03")
    assert net.calls() == [("192.0.2.80", 1080)] * 2
    passage = Passage(net).say(b"\x05\x00")
    assert passage.heard()[6:] == b"\x01\xc0\x00\x02\x01\x00\x19"
    passage.say(b"\x05\x05")
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: Connection refused"}
    assert passage.wire.aborted
    assert not net.reactor.getDelayedCalls()


def test_a_proxy_that_does_not_want_to() -> None:
    net, delivery = by_proxy(Socks5("192.0.2.81", 9050, "me", Secret("s3cret")))
    for _ in range(2):
        passage = Passage(net).say(b"\x05\x02")
        assert passage.heard().endswith(b"\x01\x02me\x06s3cret")
        passage.say(b"\x01\x01")
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: SOCKS5: the proxy refused the login"}


def test_a_proxy_that_is_not_there() -> None:
    net, delivery = by_proxy()
    net.refuse()
    Passage(net).wire.protocol.connectionLost(Failure(ConnectionDone()))
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: SOCKS5: the proxy closed the connection"}
    _, delivery = by_proxy(failing=frozenset({"proxy.example"}))
    assert delivery.texts["ann"].startswith("temporary 451 4.4.3 The SOCKS5 proxy: ")


def test_a_proxy_that_says_nothing_has_as_long_as_a_connection() -> None:
    net, delivery = by_proxy()
    passages = [Passage(net)]
    net.reactor.advance(0.3)
    passages.append(Passage(net))
    net.reactor.advance(31)
    assert delivery.texts["ann"].startswith("temporary 451 4.4.1 Cannot connect: ")
    assert all(passage.wire.aborted for passage in passages)
    assert not net.reactor.getDelayedCalls()


def test_a_cancelled_attempt_leaves_nothing() -> None:
    for connected in (False, True):
        net, delivery = by_proxy()
        passage = Passage(net) if connected else None
        delivery.deferred.cancel()
        assert delivery.is_over
        assert passage is None or passage.wire.aborted
        assert not net.reactor.getDelayedCalls()
