"""The stub resolver against name servers that the test plays, on a reactor in memory."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.names import dns
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.net.resolver import CACHE_ENTRIES, StubResolver

Record = tuple[str, Any, int]


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
    change: Callable[[dns.Message], None] = lambda message: None,
) -> bytes:
    message = dns.Message(query.id, answer=1, rCode=code, trunc=truncated)
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


@pytest.fixture
def net() -> DnsNet:
    return DnsNet()


def resolver(net: DnsNet, *servers: str, hosts: str = "/none", resolv_conf: str = "/none") -> StubResolver:
    return StubResolver(
        servers, net, hosts, resolv_conf, lambda net, protocol, interface: net.listenUDP(0, protocol, interface)
    )


ONE = "192.0.2.53:53"


def test_mx_records(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("Example.ORG."))
    assert net.asked == [(ONE, "example.org", dns.MX)]
    _, octets, _ = net.waiting[0]
    assert octets[2:4] == b"\1\0"  # recursion desired
    assert octets.endswith(b"\0\0\x29\x04\xd0\0\0\0\0\0\0")  # an OPT record, 1232 octets
    net.answer(mx("Example.org", 10, "MX1.example.org"), mx("example.org", 20, "mx2.example.org"))
    assert asked.items == [MxRecord(10, "mx1.example.org"), MxRecord(20, "mx2.example.org")]
    assert not net.ports[0].is_open
    assert not net.getDelayedCalls()


def test_a_null_mx_and_names_that_are_none(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("example.org"))
    net.answer(mx("example.org", 0, ""), mx("other.example", 0, "evil.example"), mx("example.org", 5, b"m\xe4.example"))
    assert asked.items == [MxRecord(0, "")]


def test_text(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).text("_mta-sts.example.org"))
    net.answer(("_mta-sts.example.org", dns.Record_TXT(b"v=STSv1; ", b"id=1;"), 60))
    assert asked.result == Records((b"v=STSv1; id=1;",), True, False, "_mta-sts.example.org")


def test_tlsa(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).tlsa("MX.example.", 25))
    assert net.asked == [(ONE, "_25._tcp.mx.example", 52)]

    def record(octets: bytes) -> Record:
        payload = dns.UnknownRecord(octets)
        payload.TYPE = 52
        return "_25._tcp.mx.example", payload, 60

    net.answer(record(b"\3\1\1digest"), record(b"\3\1"), record(b"\xff\xfe\xfd"))
    assert asked.items == [TlsaRecord(3, 1, 1, b"digest"), TlsaRecord(255, 254, 253, b"")]


def test_addresses_of_both_kinds(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).addresses("mx.example"))
    assert [kind for _, _, kind in net.asked] == [dns.AAAA, dns.A]
    net.answer(("mx.example", dns.Record_AAAA("2001:db8::1"), 60))
    net.answer(("mx.example", dns.Record_A("192.0.2.1"), 60))
    assert asked.items == ["2001:db8::1", "192.0.2.1"]


def ptr(owner: str, name: str | bytes) -> Record:
    return owner, dns.Record_PTR(name), 60


@pytest.mark.parametrize(
    ("address", "question"),
    [
        ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ("2001:db8::7", "7." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_names_of_an_address(net: DnsNet, address: str, question: str) -> None:
    asked = Asked(resolver(net, ONE).names(address))
    assert net.asked == [(ONE, question, dns.PTR)]
    net.answer(ptr(question, "Mail.Client.example"), ptr(question, "b.example"))
    assert asked.result == ["mail.client.example", "b.example"]


def test_names_may_be_delegated(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).names("192.0.2.7"))
    delegated = "7.0-63.2.0.192.in-addr.arpa"  # RFC 2317
    net.answer(cname("7.2.0.192.in-addr.arpa", delegated, 60), ptr(delegated, "a.example"))
    assert asked.result == ["a.example"]


@pytest.mark.parametrize(
    "name",
    [
        b"a b.example", b"a\r\nX-Evil:.example", b"<script>.example", b"m\xe4.example", b"", b"192.0.2.7",
        b"-a.example", b"a-.example", b"a..example", b"a@b.example", b"a)(.example",
        ".".join(["a" * 62] * 4).encode() + b".aa", b"\0",
    ],
)
def test_names_that_are_no_host_names_are_left_out(net: DnsNet, name: bytes) -> None:
    asked = Asked(resolver(net, ONE).names("192.0.2.7"))
    owner = "7.2.0.192.in-addr.arpa"
    net.answer(ptr(owner, name), ptr(owner, "good_one.x-1.example"))
    assert asked.result == ["good_one.x-1.example"]


def test_addresses_that_need_no_question(net: DnsNet, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# a comment\n192.0.2.9 Mail.example mail # more\n2001:db8::9 mail.example\n\nnonsense mail.example\n"
    )
    it = resolver(net, ONE, hosts=str(hosts))
    assert Asked(it.addresses("192.0.2.1")).items == ["192.0.2.1"]
    assert Asked(it.addresses("2001:DB8::1")).items == ["2001:db8::1"]
    assert Asked(it.addresses("mail.EXAMPLE")).items == ["192.0.2.9", "2001:db8::9"]
    assert Asked(it.addresses("localhost")).items == ["::1", "127.0.0.1"]
    assert net.asked == []
    hosts.write_text("192.0.2.10 mail.example\n")
    net.advance(29)
    assert Asked(it.addresses("mail.example")).items == ["192.0.2.9", "2001:db8::9"]
    net.advance(1)
    assert Asked(it.addresses("mail.example")).items == ["192.0.2.10"]


def test_half_an_answer_is_enough_but_nothing_is_no_fact(net: DnsNet) -> None:
    for addresses in (["192.0.2.1"], []):
        asked = Asked(resolver(net, ONE).addresses("mx.example"))
        for _ in range(3):
            four = next(i for i, (_, _, query) in enumerate(net.waiting) if query.queries[0].type == dns.AAAA)
            net.waiting.insert(0, net.waiting.pop(four))
            net.answer(code=dns.ESERVER)
        net.answer(*[("mx.example", dns.Record_A(address), 60) for address in addresses])
        if addresses:
            assert asked.items == addresses
        else:
            with pytest.raises(TemporaryFault, match=r"AAAA of mx\.example: .* answers SERVFAIL"):
                _ = asked.result


def test_who_exists(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for code, fact in ((dns.ENAME, False), (dns.OK, True)):
        asked = Asked(it.exists("example.org"))
        net.answer(code=code)
        assert asked.result is fact
    assert Asked(it.exists("a..b")).result is False
    assert Asked(it.exists("a" * 64 + ".example")).result is False
    assert Asked(it.mx("")).items == []


# --- CNAMEs -----------------------------------------------------------------------------------------------------

def test_a_chain_in_one_answer(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("www.example"))
    net.answer(cname("www.example", "a.example"), mx("b.example", 5, "mx.example"), cname("a.example", "b.example"))
    assert asked.items == [MxRecord(5, "mx.example")]


def test_a_chain_that_the_server_does_not_follow(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("www.example"))
    net.answer(cname("www.example", "a.example"))
    net.answer(mx("a.example", 5, "mx.example"))
    assert asked.items == [MxRecord(5, "mx.example")]
    assert [name for _, name, _ in net.asked] == ["www.example", "a.example"]


def test_a_chain_that_ends_in_nothing(net: DnsNet) -> None:
    it = resolver(net, ONE)
    asked = Asked(it.exists("www.example"))
    net.answer(cname("www.example", "a.example"), soa=60)
    assert asked.result is True
    asked = Asked(it.exists("dangling.example"))
    net.answer(cname("dangling.example", "a.example"), code=dns.ENAME)
    assert asked.result is False


def test_a_chain_without_an_end(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("a0.example"))
    for i in range(8):
        net.answer(cname(f"a{i}.example", f"a{i + 1}.example"))
    with pytest.raises(TemporaryFault, match="too many CNAMEs"):
        _ = asked.result


# --- servers that are unwell --------------------------------------------------------------------------------------

def test_silence_and_refusals_send_the_question_on(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE, "[2001:db8::53]:5353").mx("example.org"))
    net.silence()
    assert net.ports[1].interface == "::"
    net.answer(code=dns.EREFUSED)
    net.waiting.pop(0)
    net.ports[2].protocol.connectionRefused()
    net.answer(mx("example.org", 1, "mx.example"))
    assert asked.items == [MxRecord(1, "mx.example")]
    assert [server for server, _, _ in net.asked] == [ONE, "2001:db8::53:5353"] * 2
    assert not any(port.is_open for port in net.ports)


def test_when_all_fail_it_is_temporary(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("example.org"))
    for _ in range(3):
        net.silence()
    with pytest.raises(TemporaryFault, match=r"the MX of example\.org: 192\.0\.2\.53:53: no answer") as fault:
        _ = asked.result
    assert str(fault.value.reply) == "451 4.4.3 Temporary trouble with DNS"
    again = Asked(resolver(net, ONE).mx("example.org"))  # a failure is not remembered
    net.answer()
    assert again.items == []


def test_answers_to_other_questions_are_not_taken(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("example.org"))
    port, _, query = net.waiting[0]

    def spoil(how: Callable[[dns.Message], None]) -> None:
        octets = reply(query, mx("example.org", 1, "evil.example"), change=how)
        port.protocol.datagramReceived(octets, ("192.0.2.53", 53))

    def other_id(message: dns.Message) -> None:
        message.id ^= 1

    def other_name(message: dns.Message) -> None:
        message.queries = [dns.Query("example.com", dns.MX)]

    def other_type(message: dns.Message) -> None:
        message.queries = [dns.Query("example.org", dns.A)]

    def no_question(message: dns.Message) -> None:
        message.queries = []

    def no_answer(message: dns.Message) -> None:
        message.answer = 0

    for how in (other_id, other_name, other_type, no_question, no_answer):
        spoil(how)
    for garbage in (b"", b"x", bytes(12), reply(query)[:-3] + b"\xc0\xff\xff"):
        port.protocol.datagramReceived(garbage, ("192.0.2.53", 53))
    net.answer(mx("example.org", 1, "mx.example"))
    port.protocol.datagramReceived(b"late", ("192.0.2.53", 53))
    port.protocol.connectionRefused()
    assert asked.items == [MxRecord(1, "mx.example")]


def test_a_server_without_edns_is_asked_without(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).mx("example.org"))
    net.answer(code=dns.EFORMAT)
    assert net.waiting[0][1].endswith(b"\0\0\x0f\0\1")
    net.answer(mx("example.org", 1, "mx.example"))
    assert asked.items == [MxRecord(1, "mx.example")]


# --- over TCP -----------------------------------------------------------------------------------------------------

def truncated(net: DnsNet, server: str = ONE) -> tuple[Asked, Any]:
    asked = Asked(resolver(net, server).mx("example.org"))
    net.answer(truncated=True)
    return asked, net.tcpClients[-1]


def accepted(client: Any) -> tuple[Any, StringTransport, dns.Message]:
    protocol = client[2].buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    octets = transport.value()
    assert struct.unpack("!H", octets[:2])[0] == len(octets) - 2
    query = dns.Message()
    query.fromStr(octets[2:])
    return protocol, transport, query


def test_a_truncated_answer_is_asked_for_over_tcp(net: DnsNet) -> None:
    for server in (ONE, "[2001:db8::53]:53"):
        asked, client = truncated(net, server)
        protocol, transport, query = accepted(client)
        octets = reply(query, mx("example.org", 1, "mx.example"))
        octets = struct.pack("!H", len(octets)) + octets
        for i in range(len(octets)):
            protocol.dataReceived(octets[i:i + 1])
        protocol.dataReceived(b"more")
        assert asked.items == [MxRecord(1, "mx.example")]
        assert transport.disconnecting
        protocol.connectionLost(Failure(ConnectionDone()))


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("refused", "Connection refused"),
        ("closed", "it closed the TCP connection"),
        ("garbage", "its answer over TCP is none"),
        ("other", "its answer over TCP is none"),
        ("silence", "no answer over TCP"),
    ],
)
def test_tcp_fails(net: DnsNet, trouble: str, why: str) -> None:
    asked, client = truncated(net)
    for _ in range(3):
        client = net.tcpClients[-1]
        if trouble == "refused":
            client[2].clientConnectionFailed(None, Failure(ConnectionRefusedError(osError=111)))
        else:
            protocol, _, query = accepted(client)
            if trouble == "closed":
                protocol.connectionLost(Failure(ConnectionDone()))
            elif trouble == "garbage":
                protocol.dataReceived(b"\0\1x")
            elif trouble == "other":
                query.id ^= 1
                octets = reply(query)
                protocol.dataReceived(struct.pack("!H", len(octets)) + octets)
            else:
                net.advance(5)
        if net.waiting:
            net.answer(truncated=True)
    with pytest.raises(TemporaryFault, match=why):
        _ = asked.result


# --- the cache ------------------------------------------------------------------------------------------------------

def test_answers_live_as_long_as_they_say(net: DnsNet) -> None:
    it = resolver(net, ONE)
    Asked(it.mx("www.example"))
    net.answer(cname("www.example", "a.example", 100), mx("a.example", 5, "mx.example", 200))
    net.advance(99)
    assert Asked(it.mx("WWW.example")).items == [MxRecord(5, "mx.example")]
    net.advance(1)
    Asked(it.mx("www.example"))
    assert len(net.asked) == 2


def test_nothing_lives_as_the_soa_says(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for code in (dns.OK, dns.ENAME):
        for soa, asks in ((60, 1), (None, 2), (0, 2)):
            name = f"{code}{soa}.example".lower()
            for _ in range(2):
                asked = Asked(it.mx(name))
                if net.waiting:
                    net.answer(code=code, soa=soa)
                assert asked.items == []
            assert len([one for one in net.asked if one[1] == name]) == asks


def test_the_cache_is_bounded(net: DnsNet) -> None:
    it = resolver(net, ONE)
    Asked(it.mx("first.example"))
    net.answer(mx("first.example", 5, "mx.example"))
    kept = next(iter(it._cache.values()))
    it._cache.update({(f"{i}.example", dns.MX): kept for i in range(CACHE_ENTRIES)})
    Asked(it.mx("last.example"))
    net.answer(mx("last.example", 5, "mx.example"))
    assert len(it._cache) == CACHE_ENTRIES
    assert ("first.example", dns.MX) not in it._cache


def test_equal_questions_are_one_and_one_that_gives_up_leaves_the_others(net: DnsNet) -> None:
    it = resolver(net, ONE)
    first, second = Asked(it.mx("example.org")), Asked(it.mx("example.org"))
    assert len(net.asked) == 1
    first.deferred.cancel()
    with pytest.raises(CancelledError):
        _ = first.result
    net.answer(mx("example.org", 1, "mx.example"))
    assert second.items == [MxRecord(1, "mx.example")]


def test_who_asks_for_addresses_may_give_up(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE).addresses("mx.example"))
    asked.deferred.cancel()
    with pytest.raises(CancelledError):
        _ = asked.result
    net.answer()
    net.answer()


# --- whom it asks ---------------------------------------------------------------------------------------------------

def test_the_systems_servers(net: DnsNet, tmp_path: Path) -> None:
    conf = tmp_path / "resolv.conf"
    conf.write_text("search x\nnameserver 192.0.2.1 # first\nnameserver nonsense\nnameserver\nnameserver 2001:db8::2\n")
    it = resolver(net, resolv_conf=str(conf))
    Asked(it.mx("a.example"))
    net.silence()
    assert [server for server, _, _ in net.asked] == ["192.0.2.1:53", "2001:db8::2:53"]
    conf.unlink()
    net.advance(30)
    Asked(it.mx("b.example"))
    assert net.asked[-1] == ("127.0.0.1:53", "b.example", dns.MX)
