"""Octets sent at once keep their order, whatever the socket takes."""

from twisted.internet.main import CONNECTION_LOST
from twisted.internet.testing import StringTransport

from mailgw.net.sending import RECORD_OCTETS, _AtOnce, send
from tests.tables import each


class Tcp:
    """The parts of a plain TCP transport that count here; ``takes`` is what the socket takes of each piece."""

    TLS = False
    connected = True
    disconnecting = False

    def __init__(self, takes: object) -> None:
        self.takes = takes
        self.dataBuffer = b""
        self._tempDataBuffer: list[bytes] = []
        self.wire = b""

    def writeSomeData(self, octets: bytes) -> object:
        if isinstance(self.takes, int):
            self.wire += octets[: self.takes]
            return min(self.takes, len(octets))
        return self.takes

    def write(self, octets: bytes) -> None:
        self._tempDataBuffer.append(octets)


@each(("takes", "wire", "kept"), [(9, b"abc", []), (2, b"ab", [b"c"]), (0, b"", [b"abc"])])
def test_what_the_socket_does_not_take_waits(takes: int, wire: bytes, kept: list[bytes]) -> None:
    transport = Tcp(takes)
    send(transport, b"abc")
    assert (transport.wire, transport._tempDataBuffer) == (wire, kept)


def test_nothing_overtakes_what_waits() -> None:
    transport = Tcp(2)
    send(transport, b"abc")
    transport.takes = 9
    send(transport, b"def")
    assert (transport.wire, transport._tempDataBuffer) == (b"ab", [b"c", b"def"])


@each("lost", [CONNECTION_LOST, ConnectionResetError()])
def test_a_lost_connection_is_the_reactors_to_find(lost: object) -> None:
    transport = Tcp(lost)
    send(transport, b"abc")
    assert transport._tempDataBuffer == [b"abc"]


@each("flag", [{"TLS": True}, {"connected": False}, {"disconnecting": True}, {"_aborting": True}])
def test_other_states_are_the_transports_own_business(flag: dict[str, bool]) -> None:
    transport = Tcp(9)
    for name, value in flag.items():
        setattr(transport, name, value)
    send(transport, b"abc")
    assert (transport.wire, transport._tempDataBuffer) == (b"", [b"abc"])


def test_a_transport_of_another_kind_is_written_to() -> None:
    transport = StringTransport()
    send(transport, b"abc")
    assert transport.value() == b"abc"


@each(("octets", "is_at_once"), [(1, True), (RECORD_OCTETS - 1, True), (RECORD_OCTETS, False)])
def test_a_full_record_of_tls_waits_for_those_behind_it(octets: int, is_at_once: bool) -> None:
    tcp = Tcp(RECORD_OCTETS)
    below_tls = _AtOnce(tcp, tcp)
    below_tls.write(b"x" * octets)
    below_tls.write(b"y")
    sent, kept = b"x" * octets, b"y"
    assert (tcp.wire, tcp._tempDataBuffer) == ((sent + kept, []) if is_at_once else (b"", [sent, kept]))
    assert below_tls.connected
