"""Name servers that the test plays, on a reactor in memory."""

import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.names import dns
from twisted.python.failure import Failure

from mailgw.mail.names import Records
from mailgw.net.resolver import StubResolver

Record = tuple[str, Any, int]
ONE = "192.0.2.53:53"
TLSA = 52


class UdpPort:
    """A socket of one try."""

    def __init__(self, net: "DnsNet", protocol: Any, interface: str) -> None:
        self.net = net
        self.protocol = protocol
        self.interface = interface
        self.is_open = True

    def connect(self, host: str, port: int) -> None:
        self.server = f"{host}:{port}"

    def write(self, octets: bytes) -> None:
        query = dns.Message()
        query.fromStr(octets)
        self.net.asked.append((self.server, str(query.queries[0].name), query.queries[0].type))
        self.net.waiting.append((self, octets, query))

    def stopListening(self) -> None:
        self.is_open = False


class DnsNet(MemoryReactorClock):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, int]] = []
        self.waiting: list[tuple[UdpPort, bytes, dns.Message]] = []
        self.ports: list[UdpPort] = []

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192) -> UdpPort:
        assert port == 0
        it = UdpPort(self, protocol, interface)
        self.ports.append(it)
        protocol.makeConnection(it)
        return it

    def answer(self, *records: Record, code: int = dns.OK, **more: Any) -> None:
        """Answer the oldest question."""
        port, _, query = self.waiting.pop(0)
        port.protocol.datagramReceived(reply(query, *records, code=code, **more), ("192.0.2.53", 53))

    def silence(self) -> None:
        self.waiting.pop(0)
        self.advance(3)


def reply(
    query: dns.Message, *records: Record, code: int = dns.OK, soa: int | None = None, truncated: bool = False,
    change: Callable[[dns.Message], None] = lambda message: None, authentic: bool = False,
) -> bytes:
    message = dns.Message(query.id, answer=1, rCode=code, trunc=truncated, authenticData=authentic)
    message.queries = query.queries
    for name, payload, ttl in records:
        message.answers.append(dns.RRHeader(name, payload.TYPE, dns.IN, ttl, payload))
    if soa is not None:
        record = dns.Record_SOA("ns.example", "root.example", 1, 2, 3, 4, soa)
        message.authority.append(dns.RRHeader("example", dns.SOA, dns.IN, 600, record))
    change(message)
    octets: bytes = message.toStr()
    return octets


def mx(name: str, preference: int, host: str, ttl: int = 300) -> Record:
    return name, dns.Record_MX(preference, host), ttl


def unknown(name: str, kind: int, octets: bytes, ttl: int = 60) -> Record:
    payload = dns.UnknownRecord(octets)
    payload.TYPE = kind
    return name, payload, ttl


def cname(name: str, target: str, ttl: int = 300) -> Record:
    return name, dns.Record_CNAME(target), ttl


class Asked:
    def __init__(self, coroutine: Any) -> None:
        self.deferred: Deferred[Any] = Deferred.fromCoroutine(coroutine)
        self._results: list[Any] = []
        self.deferred.addBoth(self._results.append)

    @property
    def result(self) -> Any:
        assert self._results, "no answer yet"
        if isinstance(self._results[0], Failure):
            self._results[0].raiseException()
        return self._results[0]

    @property
    def items(self) -> list[Any]:
        found: Records[Any] = self.result
        return list(found.items)


def resolver(
    net: DnsNet, *servers: str, validating: bool | None = False, hosts: str = "/none", resolv_conf: str = "/none"
) -> StubResolver:
    def listen(net: DnsNet, protocol: Any, interface: str) -> UdpPort:
        return net.listenUDP(0, protocol, interface)

    return StubResolver(servers, validating, net, hosts, resolv_conf, listen)


def accepted(client: Any) -> tuple[Any, StringTransport, dns.Message]:
    protocol = client[2].buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    octets = transport.value()
    assert struct.unpack("!H", octets[:2])[0] == len(octets) - 2
    query = dns.Message()
    query.fromStr(octets[2:])
    return protocol, transport, query
