"""The PROXY protocol's header, versions 1 and 2: whose connection a proxy passes on (HAProxy's proxy-protocol.txt,
2.8; not done: what the TLVs tell, TLS of the proxy's own among it, which protects nothing behind the proxy).

Rules:
    The header stands first and is complete, or the connection is worth nothing: nobody guesses what it meant.
    What a proxy sends for itself (LOCAL), or cannot tell (UNKNOWN, AF_UNSPEC), names no client.
    A TLV that overruns the header is a fault of the whole; a CRC32C that is given has to be right.
"""

import enum
import ipaddress
import re
from typing import Final

import attrs

# s2.1: the longest line, TCP6 with full addresses or UNKNOWN with whatever, its CRLF counted.
V1_OCTETS: Final = 107
# s2.2 lets a length be 65,535.  Addresses of Unix sockets take 216, the TLVs in use a few hundred, a client's
# certificate among them (HAProxy can send it) some 2,000.
V2_OCTETS: Final = 4096

_V1_START: Final = b"PROXY "
_V2_START: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_FIXED: Final = 16  # signature, version and command, family and protocol, length

# "PROXY" SP ("TCP4" / "TCP6") SP source SP destination SP port SP port; a port has no leading zeros.
_PORT: Final = r"(0|[1-9][0-9]{0,4})"
_V1: Final = re.compile(rf"PROXY TCP([46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) {_PORT} {_PORT}\Z")
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: .*)?\Z", re.DOTALL)

_CRC32C: Final = 0x03  # PP2_TYPE_CRC32C


@attrs.frozen
class Proxied:
    """``address`` of the client, an IPv4-mapped one unmapped, or None where the header names none; ``"local"``, with
    port 0, came to the proxy by a Unix socket.  ``rest`` is what came behind the header."""

    address: str | None
    port: int
    rest: bytes


class ProxyFault(enum.Enum):
    NOT_PROXY = "not a PROXY header"
    TOO_LONG = "PROXY header too long"
    MALFORMED = "malformed PROXY header"
    CHECKSUM = "wrong checksum in the PROXY header"


_NOBODY: Final = (None, 0)


class ProxyReader:
    """Takes octets until the header is complete.  The result depends on the octets alone, never on their split."""

    def __init__(self) -> None:
        self._octets = b""

    @property
    def has_begun(self) -> bool:
        return bool(self._octets)

    def feed(self, octets: bytes) -> Proxied | ProxyFault | None:
        """The header, what is wrong with it, or None where it is not complete; after a result nothing is fed."""
        self._octets += octets
        start = self._octets[: len(_V2_START)]
        if start.startswith(_V1_START) or _V1_START.startswith(start):
            return self._version_1()
        if _V2_START.startswith(start):
            return self._version_2()
        return ProxyFault.NOT_PROXY

    def _version_1(self) -> Proxied | ProxyFault | None:
        end = self._octets.find(b"\r\n", 0, V1_OCTETS)
        if end < 0:
            return ProxyFault.TOO_LONG if len(self._octets) >= V1_OCTETS else None
        line, rest = self._octets[:end], self._octets[end + 2 :]
        if _V1_UNKNOWN.match(line):
            return Proxied(*_NOBODY, rest)
        match = _V1.match(line.decode("latin-1"))
        if match is None:
            return ProxyFault.MALFORMED
        family, source, destination, *ports = match.groups()
        kind = ipaddress.IPv4Address if family == "4" else ipaddress.IPv6Address
        try:
            address, _ = kind(source), kind(destination)
        except ValueError:
            return ProxyFault.MALFORMED
        if any(int(port) > 65535 for port in ports):
            return ProxyFault.MALFORMED
        return Proxied(_unmapped(address), int(ports[0]), rest)

    def _version_2(self) -> Proxied | ProxyFault | None:
        if len(self._octets) < _V2_FIXED:
            return None
        length = int.from_bytes(self._octets[14:16], "big")
        if length > V2_OCTETS:
            return ProxyFault.TOO_LONG
        end = _V2_FIXED + length
        if len(self._octets) < end:
            return None
        header, rest = self._octets[:end], self._octets[end:]
        version, command = divmod(header[12], 16)
        if version != 2 or command not in (0, 1):
            return ProxyFault.MALFORMED
        if command == 0:  # LOCAL: the block is skipped, whatever it holds
            return Proxied(*_NOBODY, rest)
        client = _client(header)
        return client if isinstance(client, ProxyFault) else Proxied(*client, rest)


def _client(header: bytes) -> tuple[str | None, int] | ProxyFault:
    """The client of a version 2 header that says PROXY."""
    family, protocol = divmod(header[13], 16)
    # A mail client comes by a stream; 0 is "unspecified", and so is everything about it.
    if family > 3 or protocol > 2 or (family and protocol != 1):
        return ProxyFault.MALFORMED
    octets = {0: 0, 1: 12, 2: 36, 3: 216}[family]
    block = header[_V2_FIXED : _V2_FIXED + octets]
    if len(block) < octets:
        return ProxyFault.MALFORMED
    if fault := _tlv_fault(header, _V2_FIXED + octets):
        return fault
    if family == 1:
        return str(ipaddress.IPv4Address(block[:4])), int.from_bytes(block[8:10], "big")
    if family == 2:
        return _unmapped(ipaddress.IPv6Address(block[:16])), int.from_bytes(block[32:34], "big")
    return ("local", 0) if family == 3 else _NOBODY


def _unmapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    # A proxy that listens on :: shows IPv4 clients as ::ffff:192.0.2.1; everybody here means the IPv4 address.
    return str(getattr(address, "ipv4_mapped", None) or address)


def _tlv_fault(header: bytes, at: int) -> ProxyFault | None:
    """Look through the type-length-values from ``at`` on."""
    checksum: int | None = None
    while at < len(header):
        value = at + 3
        end = value + int.from_bytes(header[at + 1 : value], "big")
        if value > len(header) or end > len(header):
            return ProxyFault.MALFORMED
        if header[at] == _CRC32C:
            if end - value != 4 or checksum is not None:
                return ProxyFault.MALFORMED
            checksum = int.from_bytes(header[value:end], "big")
            header = header[:value] + bytes(4) + header[end:]  # s2.2.3: counted as zeros
        at = end
    return ProxyFault.CHECKSUM if checksum is not None and checksum != crc32c(header) else None


def _table() -> tuple[int, ...]:
    table = []
    for octet in range(256):
        for _ in range(8):
            # Castagnoli's polynomial, bits reversed
            octet = octet >> 1 ^ (0x82F63B78 if octet & 1 else 0)
        table.append(octet)
    return tuple(table)


_TABLE: Final = _table()


def crc32c(octets: bytes) -> int:
    """Castagnoli's checksum, as SCTP has it, which the standard library lacks; 4 KiB take half a millisecond."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
