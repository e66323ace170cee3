"""Servers that are silent, refuse, lie or cut their answers short; which one is asked next."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import CannotListenError, ConnectionDone, ConnectionRefusedError
from twisted.names import dns
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord
from tests.net.dns_net import ONE, Asked, DnsNet, UdpPort, accepted, mx, reply, resolver


@pytest.fixture
def net() -> DnsNet:
    return DnsNet()


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
    assert [server for server, _, _ in net.asked] == [ONE, "2001:db8::53:5353", ONE, ONE]
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


# --- who is silent --------------------------------------------------------------------------------------------------

TWO = "192.0.2.54:53"


def servers_asked(net: DnsNet) -> list[str]:
    asked = [server for server, _, _ in net.asked]
    net.asked.clear()
    return asked


def answered(net: DnsNet, asked: Asked, server: str) -> bool:
    """The oldest question at that server is answered, and so the asker has his answer."""
    place = next(i for i, (port, _, _) in enumerate(net.waiting) if port.server == server)
    net.waiting.insert(0, net.waiting.pop(place))
    net.answer()
    return bool(asked.result.exists)


def test_a_dead_first_server_costs_one_question_its_time(net: DnsNet) -> None:
    it = resolver(net, ONE, TWO)
    asked = Asked(it.mx("0.example"))
    net.silence()
    assert answered(net, asked, TWO)
    assert servers_asked(net) == [ONE, TWO]
    for i in range(1, 4):
        asked = Asked(it.mx(f"{i}.example"))
        assert answered(net, asked, TWO)
        net.advance(9)
    assert servers_asked(net) == [TWO] * 3
    net.advance(3)  # 30 s after it was silent
    asked = Asked(it.mx("4.example"))
    assert servers_asked(net) == [ONE, TWO], "it is tried again, beside the other"
    assert answered(net, asked, TWO)
    net.waiting.clear()
    asked = Asked(it.mx("5.example"))
    assert answered(net, asked, TWO)
    assert servers_asked(net) == [TWO], "and by one question alone"
    net.advance(30)
    asked = Asked(it.mx("6.example"))
    assert servers_asked(net) == [ONE, TWO]
    net.answer()  # the first is alive
    assert answered(net, asked, TWO)
    asked = Asked(it.mx("7.example"))
    assert answered(net, asked, ONE)
    assert servers_asked(net) == [ONE]
    assert not any(port.is_open for port in net.ports)
    assert not net.getDelayedCalls()


def test_one_slow_name_makes_no_dead_server(net: DnsNet) -> None:
    it = resolver(net, ONE, TWO)
    slow = Asked(it.mx("slow.example"))
    net.advance(1)
    other = Asked(it.mx("quick.example"))
    net.waiting.append(net.waiting.pop(0))
    assert answered(net, other, ONE)
    net.advance(2)
    assert answered(net, slow, TWO)
    net.waiting.clear()
    asked = Asked(it.mx("next.example"))
    assert answered(net, asked, ONE)


def test_when_all_are_silent_all_are_asked(net: DnsNet) -> None:
    it = resolver(net, ONE, TWO)
    asked = Asked(it.mx("0.example"))
    for _ in range(6):
        net.silence()
    with pytest.raises(TemporaryFault):
        _ = asked.result
    assert servers_asked(net) == [ONE, TWO] * 3
    net.advance(60)
    asked = Asked(it.mx("1.example"))
    net.silence()
    assert answered(net, asked, TWO)
    assert servers_asked(net) == [ONE, TWO], "in their order, none beside the others"


def test_a_server_that_says_no_is_not_asked_that_again(net: DnsNet) -> None:
    asked = Asked(resolver(net, ONE, TWO).mx("example.org"))
    net.answer(code=dns.ESERVER)
    for _ in range(3):
        net.silence()
    with pytest.raises(TemporaryFault, match=r"192\.0\.2\.54:53: no answer"):
        _ = asked.result
    assert servers_asked(net) == [ONE, TWO, TWO, TWO]
    asked = Asked(resolver(net, ONE, TWO).mx("example.org"))
    net.answer(code=dns.ESERVER)
    net.answer(code=dns.EREFUSED)
    with pytest.raises(TemporaryFault, match=r"192\.0\.2\.54:53 answers REFUSED"):
        _ = asked.result


def test_no_route_is_the_servers_trouble_and_leaves_no_socket(net: DnsNet, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_route(port: UdpPort, host: str, number: int) -> None:
        port.server = host
        if ":" in host:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(UdpPort, "connect", no_route)
    asked = Asked(resolver(net, "[2001:db8::53]:53", ONE).mx("example.org"))
    assert answered(net, asked, "192.0.2.53")
    assert not any(port.is_open for port in net.ports)
    asked = Asked(resolver(net, "[2001:db8::53]:53").mx("example.org"))
    with pytest.raises(TemporaryFault, match="Network is unreachable"):
        _ = asked.result


def test_no_socket_is_nobodys_silence(net: DnsNet) -> None:
    it = resolver(net, ONE, TWO)
    listen, net.listenUDP = net.listenUDP, refuse_to_listen  # type: ignore[method-assign]
    asked = Asked(it.mx("0.example"))
    with pytest.raises(TemporaryFault, match="Too many open files"):
        _ = asked.result
    net.listenUDP = listen  # type: ignore[method-assign]
    assert answered(net, Asked(it.mx("1.example")), ONE)


def refuse_to_listen(*_: object, **__: object) -> Any:
    raise CannotListenError("", 0, OSError(24, "Too many open files"))
