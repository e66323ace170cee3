"""PROXY headers as HAProxy and others send them, and as nobody should; each split octet by octet as well."""

import socket
import struct

from hypothesis import given
from hypothesis import strategies as some

from mailgw.wire.proxy import V1_OCTETS, V2_OCTETS, Proxied, ProxyFault, ProxyReader, crc32c
from tests.tables import each

START = b"\r\n\r\n\0\r\nQUIT\n"
V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 4711, 25)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + struct.pack("!HH", 4711, 25)
UNIX = b"/run/one".ljust(108, b"\0") * 2


def read(octets: bytes) -> Proxied | ProxyFault | None:
    """What a reader says of all at once, after it said the same octet by octet."""
    whole = ProxyReader().feed(octets)
    by_octet = ProxyReader()
    for place in range(len(octets)):
        result = by_octet.feed(octets[place : place + 1])
        if isinstance(result, ProxyFault):
            assert result is whole
            return whole
        if isinstance(result, Proxied):
            assert isinstance(whole, Proxied)
            assert (result.address, result.port) == (whole.address, whole.port)
            assert whole.rest == octets[place + 1 :]
            return whole
    assert whole is None
    return None


def v2(command: int = 0x21, family: int = 0x11, block: bytes = V4, length: int | None = None) -> bytes:
    return START + bytes([command, family]) + struct.pack("!H", len(block) if length is None else length) + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def with_checksum(block: bytes, behind: bytes = b"", error: int = 0) -> bytes:
    zeroed = v2(block=block + tlv(3, bytes(4)) + behind)
    return v2(block=block + tlv(3, struct.pack("!I", crc32c(zeroed) ^ error)) + behind)


# --- version 1 --------------------------------------------------------------------------------------------

@each(("line", "address", "port"), [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 25", "192.0.2.1", 4711),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0", 0),
    (b"PROXY TCP6 2001:DB8::1 ::1 65535 25", "2001:db8::1", 65535),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 25", "192.0.2.1", 1),
    (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535", "ffff:" * 7 + "ffff", 65535),
    (b"PROXY UNKNOWN", None, 0),
    (b"PROXY UNKNOWN ffff::1 what\0ever\r", None, 0),
])
def test_version_1(line: bytes, address: str | None, port: int) -> None:
    assert read(line + b"\r\nEHLO x\r\n") == Proxied(address, port, b"EHLO x\r\n")
    assert read(line + b"\r\n") == Proxied(address, port, b"")
    assert read(line) is None


@each("line", [
    b"PROXY", b"PROXY ", b"PROXY TCP4", b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ",
    b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2", b"PROXY TCP4 192.0.2.1 192.0.2.2 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2", b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2",
    b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2", b"PROXY TCP4 2001:db8::1 ::1 1 2", b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 2", b"PROXY TCP4 192.0.2.1 example.org 1 2", b"PROXY UNKNOWNS", b"PROXY UDP4 1 1",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "PROXY TCP4 192.0.2.1 192.0.2.2 ² 2".encode("latin-1"),
])
def test_version_1_malformed(line: bytes) -> None:
    result = read(line + b"\r\n")
    assert result is (ProxyFault.NOT_PROXY if line == b"PROXY" else ProxyFault.MALFORMED)


def test_version_1_has_a_limit() -> None:
    longest = b"PROXY UNKNOWN ".ljust(V1_OCTETS - 2, b"x")
    assert read(longest + b"\r\n") == Proxied(None, 0, b"")
    assert read(longest + b"x\r\n") is ProxyFault.TOO_LONG
    assert read(longest + b"xx") is ProxyFault.TOO_LONG


# --- version 2 --------------------------------------------------------------------------------------------

@each(("family", "block", "address", "port"), [
    (0x11, V4, "192.0.2.1", 4711), (0x21, V6, "2001:db8::1", 4711), (0x31, UNIX, "local", 0),
    (0x00, b"", None, 0), (0x00, tlv(4, b"x"), None, 0),
])
def test_version_2(family: int, block: bytes, address: str | None, port: int) -> None:
    header = v2(family=family, block=block)
    assert read(header + b"EHLO x\r\n") == Proxied(address, port, b"EHLO x\r\n")
    assert read(header) == Proxied(address, port, b"")
    assert read(header[:-1]) is None


@each("family", [0x00, 0x11, 0x12, 0xFF])
@each("block", [b"", V4, b"junk"])
def test_what_a_proxy_sends_for_itself_is_skipped(family: int, block: bytes) -> None:
    assert read(v2(0x20, family, block) + b"x") == Proxied(None, 0, b"x")


@each("header", [
    v2(0x11), v2(0x31), v2(0x22), v2(0x2F),           # versions and commands that there are not
    v2(family=0x12), v2(family=0x10), v2(family=0x41), v2(family=0x01), v2(family=0x13),  # no stream, no family
    v2(block=V4[:-1]), v2(family=0x21, block=V4), v2(family=0x31, block=V6), v2(block=b""),
    v2(block=V4 + b"\x04"), v2(block=V4 + b"\x04\0"), v2(block=V4 + b"\x04\0\x01"),       # TLVs cut off
    v2(block=V4 + tlv(3, b"123")), v2(block=V4 + tlv(3, b"12345")),
])
def test_version_2_malformed(header: bytes) -> None:
    assert read(header) is ProxyFault.MALFORMED


def test_version_2_has_a_limit() -> None:
    room = V2_OCTETS - len(V4) - 3
    assert read(v2(block=V4 + tlv(4, bytes(room)))) == Proxied("192.0.2.1", 4711, b"")
    # It is said before any of it came.
    assert ProxyReader().feed(v2(block=b"", length=V2_OCTETS + 1)) is ProxyFault.TOO_LONG
    assert ProxyReader().feed(v2(block=b"", length=V2_OCTETS)) is None


def test_tlvs_are_no_business_of_ours() -> None:
    tls = tlv(0x20, b"\x01\0\0\0\0" + tlv(0x21, b"TLSv1.3"))
    block = V4 + tlv(1, b"smtp") + tls + tlv(0xEA, b"vpce-1") + tlv(4, b"")
    assert read(v2(block=block)) == Proxied("192.0.2.1", 4711, b"")


def test_a_checksum_has_to_be_right() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the vector of every catalogue of CRCs
    assert read(with_checksum(V4)) == Proxied("192.0.2.1", 4711, b"")
    assert read(with_checksum(V4 + tlv(1, b"smtp"), tlv(4, b"x"))) == Proxied("192.0.2.1", 4711, b"")
    assert read(with_checksum(V4, error=1)) is ProxyFault.CHECKSUM
    assert read(with_checksum(V4, tlv(3, bytes(4)))) is ProxyFault.MALFORMED


# --- neither ----------------------------------------------------------------------------------------------

@each("octets", [
    b"EHLO client.example\r\n", b"\r\nEHLO x", b"\n", b"PROXZ", b"proxy TCP4", b"\x16\x03\x01",
    START[:-1] + b"\r", b"\0",
])
def test_something_else(octets: bytes) -> None:
    assert read(octets + b"\r\n") is ProxyFault.NOT_PROXY


@each("octets", [b"", b"P", b"PROXY ", b"\r", START, v2()[:16]])
def test_a_beginning(octets: bytes) -> None:
    reader = ProxyReader()
    assert not reader.has_begun
    assert reader.feed(octets) is None
    assert reader.has_begun == bool(octets)


@given(some.binary(max_size=60), some.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", START, START + b"\x21\x11\0\x0c"]))
def test_junk(octets: bytes, start: bytes) -> None:
    read(start + octets)
