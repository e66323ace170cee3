"""A question to a DNS server and its answer, as octets and as facts (RFC 1035 s4, RFC 6891, RFC 6840 s5.7, RFC 8914),
on twisted.names' codec.

No socket and no clock here.  Whatever a server sends is either the answer to the question or nothing.
"""

import ipaddress
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs
from twisted.names import dns

from mailgw.mail.names import MxRecord, TlsaRecord

T = TypeVar("T")

# RFC 6891 s6.2.5, and DNS Flag Day 2020: 1232 octets pass everywhere unfragmented.
UDP_OCTETS = 1232
CHAIN = 8  # CNAMEs that are followed, in one answer and over several
# Longer than a day helps nobody, and a record may have been a mistake.  RFC 2308 s5: negative ones 1 to 3 hours.
POSITIVE_SECONDS = 86_400.0
NEGATIVE_SECONDS = 3_600.0
WORDS_OCTETS = 120  # of what a server says about its failure

_PLAIN = re.compile(rb"[!-~]*\Z")
_LABELS = re.compile(r"[^.]{1,63}(?:\.[^.]{1,63})*\Z")  # RFC 1035 s2.3.4
_OPT = b"\0" + struct.pack("!HHIH", dns.OPT, UDP_OCTETS, 0, 0)
_RECURSION_DESIRED, _AUTHENTIC = 0x0100, 0x0020  # RFC 1035 s4.1.1, RFC 4035 s3.2.3
_CODES = {
    dns.EFORMAT: "FORMERR", dns.ESERVER: "SERVFAIL", dns.ENAME: "NXDOMAIN", dns.ENOTIMP: "NOTIMP",
    dns.EREFUSED: "REFUSED", 16: "BADVERS",
}
_EXTENDED_ERROR = 15  # RFC 8914 s2; of its codes those that tell an operator something
_ERRORS = {
    1: "unsupported DNSKEY algorithm", 2: "unsupported DS digest", 5: "DNSSEC indeterminate", 6: "DNSSEC bogus",
    7: "signature expired", 8: "signature not yet valid", 9: "DNSKEY missing", 10: "RRSIGs missing",
    12: "NSEC missing", 15: "blocked", 16: "censored", 18: "prohibited", 20: "not authoritative",
    22: "no reachable authority", 23: "network error",
}


# --- types of records ---------------------------------------------------------------------------------------

@attrs.frozen
class Kind(Generic[T]):
    """A type of record: its number, its word, and what a payload of it says."""

    number: int
    word: str
    read: Callable[[Any], T]


def _mx(payload: Any) -> MxRecord:
    return MxRecord(payload.preference, text_of(payload.name.name))


def _address(payload: Any) -> str:
    return str(ipaddress.ip_address(payload.address))


def _name(payload: Any) -> str:
    return text_of(payload.name.name)


def _joined(payload: Any) -> bytes:
    return b"".join(payload.data)


def _tlsa(payload: Any) -> TlsaRecord:
    # Twisted knows no such type: these are its octets.  RFC 6698 s2.1: three numbers of one octet, and the rest.  One
    # that is too short is there all the same, though it means nothing (RFC 7672 s2.2: unusable records count).
    octets: bytes = payload.data.ljust(3, b"\xff")
    return TlsaRecord(octets[0], octets[1], octets[2], octets[3:])


MX: Kind[MxRecord] = Kind(dns.MX, "MX", _mx)
A: Kind[str] = Kind(dns.A, "A", _address)
AAAA: Kind[str] = Kind(dns.AAAA, "AAAA", _address)
PTR: Kind[str] = Kind(dns.PTR, "PTR", _name)
CNAME: Kind[str] = Kind(dns.CNAME, "CNAME", _name)
TXT: Kind[bytes] = Kind(dns.TXT, "TXT", _joined)
TLSA: Kind[TlsaRecord] = Kind(52, "TLSA", _tlsa)  # RFC 6698 s7.1


# --- names -----------------------------------------------------------------------------------------------------

def normal(name: str) -> str:
    return name.lower().rstrip(".")


def text_of(name: bytes) -> str:
    """A name of an answer in its normal form; octets that stand in no host's name as ``\\DDD`` (RFC 1035 s5.1).

    It comes into logs, headers and reports.  What nobody can ask for stays a name all the same: a domain whose only MX
    is such a one has an MX, and its own address is not to be taken for it (RFC 5321 s5.1).
    """
    if _PLAIN.match(name):
        return normal(name.decode("ascii"))
    return normal("".join(chr(octet) if 0x21 <= octet <= 0x7E else f"\\{octet:03}" for octet in name))


def can_be_asked(name: str) -> bool:
    # RFC 1035 s2.3.4: names of at most 255 octets, with the labels' lengths
    return len(name) <= 253 and name.isascii() and _LABELS.match(name) is not None


# --- a question and its answer -----------------------------------------------------------------------------------

@attrs.frozen
class Answer:
    """A server's answer to the question, whatever it says."""

    code: int  # RCODE, with the bits that EDNS adds
    words: str  # the same for people: "SERVFAIL (DNSSEC bogus: ...)"
    truncated: bool
    authentic: bool  # the AD bit: whether that is believed is the caller's to say
    records: tuple[Any, ...]  # of the answer section: dns.RRHeader
    nothing_seconds: float | None  # how long "there is none" lasts; None where it does not say (no SOA)
    size_octets: int

    @property
    def is_fact(self) -> bool:
        return self.code in (dns.OK, dns.ENAME)

    @property
    def exists(self) -> bool:
        return self.code != dns.ENAME

    @property
    def knows_no_edns(self) -> bool:
        # RFC 6891 s7: a server that does not know EDNS says so.
        return self.code in (dns.EFORMAT, dns.ENOTIMP)

    def end_of(self, name: str, kind: int) -> tuple[str, tuple[Any, ...], float]:
        """The name at the end of the CNAMEs, its payloads of the type, and the shortest life on the way (seconds)."""
        aliases = {}
        records: dict[str, list[Any]] = {}
        for header in self.records:
            owner = text_of(header.name.name)
            if header.cls != dns.IN:
                continue
            if header.type == kind:
                records.setdefault(owner, []).append(header)
            elif header.type == dns.CNAME:
                aliases[owner] = (text_of(header.payload.name.name), _life(header.ttl))
        seconds = POSITIVE_SECONDS
        for _ in range(CHAIN):
            if name in records or name not in aliases:
                break
            name, life = aliases[name]
            seconds = min(seconds, life)
        found = records.get(name, ())
        for header in found:
            seconds = min(seconds, _life(header.ttl))
        return name, tuple(header.payload for header in found), seconds


@attrs.frozen
class Question:
    """``octets`` are what is sent; ``number`` its id (0 to 65535), which must not be foreseeable."""

    number: int
    name: str
    kind: int
    octets: bytes

    @classmethod
    def about(cls, number: int, name: str, kind: int, edns: bool, authentic: bool) -> "Question":
        """``name`` is one that ``can_be_asked``; ``authentic`` asks whether the server validated its answer."""
        # RFC 6840 s5.7: AD in a query says that its sender wants to know; without it (or DO) no server has to tell.
        flags = _RECURSION_DESIRED | (_AUTHENTIC if authentic else 0)
        header = struct.pack("!HHHHHH", number, flags, 1, 0, 0, 1 if edns else 0)
        labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b"."))
        return cls(number, name, kind, header + labels + b"\0" + struct.pack("!HH", kind, dns.IN) + (_OPT * edns))

    def read(self, octets: bytes) -> Answer | None:
        """The answer to this question; None where the octets are something else, or cannot be read."""
        message = dns.Message()
        try:
            message.fromStr(octets)
            return self._read(message, octets)
        except Exception:  # noqa: BLE001 - the codec raises anything, and what it cannot read is nobody's answer
            return None

    def _read(self, message: dns.Message, octets: bytes) -> Answer | None:
        if message.id != self.number or not message.answer or len(message.queries) != 1:
            return None
        query = message.queries[0]
        if query.type != self.kind or query.cls != dns.IN or text_of(query.name.name) != self.name:
            return None
        truncated = bool(message.trunc)
        sections = (message.answers, message.authority, message.additional)
        # The codec takes what ends too early for the whole; half a set of records is no fact.
        if not truncated and tuple(map(len, sections)) != struct.unpack_from("!HHH", octets, 6):
            return None
        code, words = _code(message)
        return Answer(
            code, words, truncated, bool(message.authenticData), tuple(message.answers), _nothing_seconds(message),
            len(octets),
        )


def _code(message: dns.Message) -> tuple[int, str]:
    code, why = message.rCode, ""
    for header in message.additional:
        if header.type == dns.OPT:
            payload: Any = header.payload
            # RFC 6891 s6.1.3: the upper 8 bits of the code are those of the TTL.  BADVERS without them is NOERROR.
            code |= (header.ttl >> 24 & 0xFF) << 4
            why = _extended_error(payload.data)
    word = str(_CODES.get(code, code))
    return code, f"{word} ({why})" if why else word


def _extended_error(options: bytes) -> str:
    """The first extended error (RFC 8914) in words; ``""`` where there is none."""
    at = 0
    while at + 4 <= len(options):
        option, length = struct.unpack_from("!HH", options, at)
        data = options[at + 4:at + 4 + length]
        at += 4 + length
        if option == _EXTENDED_ERROR and len(data) >= 2:
            number = int.from_bytes(data[:2], "big")
            told = data[2:2 + WORDS_OCTETS].decode("ascii", "replace")
            # It comes into logs and reports to senders: printable ASCII alone.
            told = "".join(c if " " <= c <= "~" else "?" for c in told.rstrip("\0"))
            return ": ".join(part for part in (_ERRORS.get(number, f"error {number}"), told) if part)
    return ""


def _life(ttl: int) -> float:
    # RFC 2181 s8: with the top bit set it counts as 0
    return 0.0 if ttl >= 0x8000_0000 else float(ttl)


def _nothing_seconds(message: dns.Message) -> float | None:
    # RFC 2308 s5: the lesser of the SOA's own TTL and its MINIMUM; without an SOA, do not cache.
    for header in message.authority:
        if header.type == dns.SOA:
            payload: Any = header.payload
            return min(_life(header.ttl), _life(payload.minimum), NEGATIVE_SECONDS)
    return None


def items_of(kind: Kind[T], payloads: Sequence[Any]) -> tuple[T, ...]:
    return tuple(kind.read(payload) for payload in payloads)
