"""A stub resolver on twisted.names' codec: questions to recursive servers, a bounded cache (RFC 1035, RFC 6891,
RFC 7766, RFC 2308; not done: DNSSEC, search lists, EDNS options).

Rules:
    A fact is NOERROR or NXDOMAIN from a server; anything else (SERVFAIL, REFUSED, silence, garbage) sends the
    question on, and in the end is a TemporaryFault.  So nobody's mail bounces for our DNS's trouble.
    Equal questions at the same time are one question.
    An answer counts only with the question's id and name, from the server and to the port that it was sent to
    and from (RFC 5452 s4): each try has a socket of its own.
"""

import ipaddress
import os
import re
import secrets
import struct
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.names import dns
from twisted.python.failure import Failure

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.mail.reply import Reply
from mailgw.net.datagrams import listen_quietly

UDP_SECONDS = 3.0
TCP_SECONDS = 5.0
ROUNDS = 3  # how often each server is asked
CACHE_ENTRIES = 10_000
# Longer than a day helps nobody, and a record may have been a mistake.  RFC 2308 s5: negative ones 1 to 3 hours.
POSITIVE_SECONDS = 86_400.0
NEGATIVE_SECONDS = 3_600.0
CHAIN = 8  # CNAMEs that are followed
FILES_SECONDS = 30.0  # how often resolv.conf and hosts are looked at

# RFC 6891 s6.2.5, and DNS Flag Day 2020: 1232 octets pass everywhere unfragmented.
_OPT = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)
_TLSA = 52  # RFC 6698 s7.1
_NAMES = {dns.MX: "MX", dns.A: "A", dns.AAAA: "AAAA", dns.PTR: "PTR", dns.TXT: "TXT", _TLSA: "TLSA"}
# RFC 1123 s2.1, and underscores, which are about; not an address in disguise.  What somebody writes into his reverse
# zone comes into headers and logs.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*(?=[a-z0-9-]*[a-z])"
                        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")


@attrs.frozen
class Answer:
    """``records`` are the payloads of the type that was asked for, at the end of the CNAMEs."""

    exists: bool
    records: tuple[Any, ...]
    name: str
    seconds: float


class StubResolver:
    """``mail.ports.Resolver``.  ``servers`` as ``"127.0.0.1:53"`` or ``"[::1]:53"``; () means those of
    ``resolv_conf``, read again when it changes.  Names in the file ``hosts`` are taken from there.  ``listen`` opens a
    UDP socket."""

    def __init__(
        self,
        servers: Sequence[str],
        reactor: Any,  # IReactorUDP, IReactorTCP and IReactorTime at once; no such type exists
        hosts: str = "/etc/hosts",
        resolv_conf: str = "/etc/resolv.conf",
        listen: Callable[[Any, DatagramProtocol, str], Any] = listen_quietly,
    ) -> None:
        self._reactor = reactor
        self._listen = listen
        self._given = tuple(map(_address_and_port, servers))
        self._resolv_conf = _LinesOf(resolv_conf, reactor)
        self._hosts = _LinesOf(hosts, reactor)
        self._cache: dict[tuple[str, int], tuple[float, Answer]] = {}
        self._asking: dict[tuple[str, int], list[Deferred[Answer]]] = {}

    async def mx(self, domain: str) -> Records[MxRecord]:
        answer = await self._answer(_normal(domain), dns.MX)
        found = []
        for record in answer.records:
            host = _text(record.name.name)
            if host is not None:
                found.append(MxRecord(record.preference, host))
        return Records(tuple(found), answer.exists, False, answer.name)

    async def text(self, domain: str) -> Records[bytes]:
        answer = await self._answer(_normal(domain), dns.TXT)
        return Records(tuple(b"".join(record.data) for record in answer.records), answer.exists, False, answer.name)

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        answer = await self._answer(f"_{port}._tcp.{_normal(host)}", _TLSA)
        # Twisted knows no such type: these are its octets.
        octets = [record.data for record in answer.records]
        items = [TlsaRecord(one[0], one[1], one[2], one[3:]) for one in octets if len(one) >= 3]
        return Records(tuple(items), answer.exists, False, answer.name)

    async def addresses(self, host: str) -> Records[str]:
        name = _normal(host)
        try:
            return Records((str(ipaddress.ip_address(host)),), True, False, name)
        except ValueError:
            pass
        local = self._local(name)
        if local:
            return Records(tuple(local), True, False, name)
        # Both questions are under way before either is waited for.
        questions = [Deferred.fromCoroutine(self._answer(name, kind)) for kind in (dns.AAAA, dns.A)]
        found: list[str] = []
        trouble: TemporaryFault | None = None
        exists, end = False, name
        try:
            for question in questions:
                try:
                    answer = await question
                except TemporaryFault as fault:
                    trouble = fault
                    continue
                exists, end = exists or answer.exists, answer.name
                for record in answer.records:
                    found.append(str(ipaddress.ip_address(record.address)))
        except BaseException:
            for question in questions:
                question.cancel()
                question.addErrback(lambda _: None)  # type: ignore[unused-awaitable] # nobody wants it any more
            raise
        if trouble is not None and not found:
            raise trouble  # "no address" would be a fact, and half of it is not known
        return Records(tuple(found), exists, False, end)

    async def names(self, address: str) -> Sequence[str]:
        # RFC 1035 s3.5, RFC 3596 s2.5
        answer = await self._answer(ipaddress.ip_address(address.partition("%")[0]).reverse_pointer, dns.PTR)
        found = (_text(record.name.name) for record in answer.records)
        return [name for name in found if name is not None and _HOST_NAME.match(name)]

    async def exists(self, domain: str) -> bool:
        return (await self._answer(_normal(domain), dns.MX)).exists

    # --- the cache, and questions under way -----------------------------------------------------------

    async def _answer(self, name: str, kind: int) -> Answer:
        key = (name, kind)
        cached = self._cache.get(key)
        if cached is not None:
            if cached[0] > self._reactor.seconds():
                return cached[1]
            del self._cache[key]
        waiting: Deferred[Answer] = Deferred()
        others = self._asking.get(key)
        if others is not None:
            others.append(waiting)
        else:
            self._asking[key] = [waiting]
            # Its own task: that one who asked gives up leaves the others their answer.
            task = Deferred.fromCoroutine(self._ask(name, kind))
            task.addBoth(self._answered, key)  # type: ignore[unused-awaitable] # all who wait get its result
        return await waiting

    def _answered(self, result: Answer | Failure, key: tuple[str, int]) -> None:
        waiting = self._asking.pop(key)
        if isinstance(result, Answer) and result.seconds > 0:
            while len(self._cache) >= CACHE_ENTRIES:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = (self._reactor.seconds() + result.seconds, result)
        for one in waiting:
            if not one.called:
                one.callback(result)  # a Failure, too: it becomes the waiter's exception

    async def _ask(self, name: str, kind: int) -> Answer:
        """Ask, and follow CNAMEs that the server did not."""
        target = name
        seconds = POSITIVE_SECONDS
        for _ in range(CHAIN):
            if not _can_be_asked(target):
                return Answer(False, (), target, NEGATIVE_SECONDS)
            message = await self._ask_servers(target, kind)
            end, records, ttl = _follow(message, target, kind)
            seconds = min(seconds, ttl)
            if records:
                return Answer(True, records, end, seconds)
            if message.rCode == dns.ENAME:
                return Answer(False, (), end, min(seconds, _negative_seconds(message)))
            # RFC 2308 s2.2: with an SOA, the server looked at the end of the chain, and there is nothing.
            if end == target or any(header.type == dns.SOA for header in message.authority):
                return Answer(True, (), end, min(seconds, _negative_seconds(message)))
            target = end
        raise _fault(name, kind, "too many CNAMEs")

    # --- servers ------------------------------------------------------------------------------------------

    async def _ask_servers(self, name: str, kind: int) -> dns.Message:
        """A reply that is a fact: NOERROR or NXDOMAIN."""
        servers = self._servers()
        why = "no server is known"
        for _ in range(ROUNDS):
            for server in servers:
                where = f"{server[0]}:{server[1]}"
                try:
                    message = await self._ask_one(server, name, kind)
                except CancelledError:
                    raise
                except Exception as fault:  # noqa: BLE001 - whatever a server or the network does, the next one is asked
                    why = f"{where}: {_reason(fault)}"
                    continue
                if message.rCode in (dns.OK, dns.ENAME):
                    return message
                why = f"{where} answers {_RCODES.get(message.rCode, message.rCode)}"
        raise _fault(name, kind, why)

    async def _ask_one(self, server: tuple[str, int], name: str, kind: int) -> dns.Message:
        message = await self._over_udp(server, name, kind, _OPT)
        if message.rCode in (dns.EFORMAT, dns.ENOTIMP):
            # RFC 6891 s7: a server that does not know EDNS says so.
            message = await self._over_udp(server, name, kind, b"")
        if message.trunc:
            message = await self._over_tcp(server, name, kind)
        return message

    async def _over_udp(self, server: tuple[str, int], name: str, kind: int, opt: bytes) -> dns.Message:
        question = _Question.about(name, kind, opt)
        exchange = _Datagrams(question, server)
        port = self._listen(self._reactor, exchange, "::" if ":" in server[0] else "")
        limit = self._reactor.callLater(UDP_SECONDS, exchange.time_is_up)
        try:
            return await exchange.answer
        finally:
            if limit.active():
                limit.cancel()
            port.stopListening()

    async def _over_tcp(self, server: tuple[str, int], name: str, kind: int) -> dns.Message:
        question = _Question.about(name, kind, _OPT)
        exchange = _Stream(question)
        kind_of_endpoint: Any = TCP6ClientEndpoint if ":" in server[0] else TCP4ClientEndpoint
        endpoint = kind_of_endpoint(self._reactor, server[0], server[1], TCP_SECONDS)
        await endpoint.connect(_Once(exchange))
        limit = self._reactor.callLater(TCP_SECONDS, exchange.time_is_up)
        try:
            return await exchange.answer
        finally:
            if limit.active():
                limit.cancel()
            transport: Any = exchange.transport
            transport.abortConnection()

    def _servers(self) -> Sequence[tuple[str, int]]:
        if self._given:
            return self._given
        found = []
        for words in self._resolv_conf.read():
            if words[0] == "nameserver" and len(words) > 1 and _is_address(words[1]):
                found.append((words[1], 53))
        return found[:3] or [("127.0.0.1", 53)]  # resolv.conf(5): MAXNS, and the default

    def _local(self, name: str) -> list[str]:
        found = [
            words[0]
            for words in self._hosts.read()
            if _is_address(words[0]) and name in (word.lower().rstrip(".") for word in words[1:])
        ]
        # RFC 6761 s6.3: localhost is never asked for.
        if not found and (name == "localhost" or name.endswith(".localhost")):
            return ["::1", "127.0.0.1"]
        return list(dict.fromkeys(found))


# --- a question and its answer on the wire --------------------------------------------------------------

@attrs.frozen
class _Question:
    number: int
    name: str
    kind: int
    octets: bytes

    @classmethod
    def about(cls, name: str, kind: int, opt: bytes) -> "_Question":
        number = secrets.randbits(16)
        # RFC 1035 s4.1.1: recursion desired, one question, and in the additional section perhaps an OPT.
        header = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1 if opt else 0)
        labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b".") if label)
        return cls(number, name, kind, header + labels + b"\0" + struct.pack("!HH", kind, dns.IN) + opt)

    def read(self, octets: bytes) -> dns.Message | None:
        """The answer to this question, or None where the octets are something else.  Garbage may raise anything."""
        message = dns.Message()
        message.fromStr(octets)
        if message.id != self.number or not message.answer or len(message.queries) != 1:
            return None
        query = message.queries[0]
        if query.type != self.kind or query.cls != dns.IN or _text(query.name.name) != self.name:
            return None
        return message


class _Datagrams(DatagramProtocol):
    """One try over UDP."""

    noisy = False

    def __init__(self, question: _Question, server: tuple[str, int]) -> None:
        self.answer: Deferred[dns.Message] = Deferred()
        self._question = question
        self._server = server

    def startProtocol(self) -> None:
        transport: Any = self.transport
        transport.connect(*self._server)  # so that the kernel drops what others send
        transport.write(self._question.octets)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self.answer.called:
            return
        try:
            message = self._question.read(datagram)
        except Exception:  # noqa: BLE001 - a datagram that cannot be read is nobody's answer
            return
        if message is not None:
            self.answer.callback(message)

    def connectionRefused(self) -> None:
        self._fail("nobody listens there")

    def time_is_up(self) -> None:
        self._fail("no answer")

    def _fail(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(_Unanswered(why))


class _Stream(Protocol):
    """One try over TCP (RFC 1035 s4.2.2: two octets of length before each message)."""

    def __init__(self, question: _Question) -> None:
        self.answer: Deferred[dns.Message] = Deferred()
        self._question = question
        self._received = b""

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(struct.pack("!H", len(self._question.octets)) + self._question.octets)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        received = self._received
        if self.answer.called or len(received) < 2 or len(received) < 2 + struct.unpack_from("!H", received)[0]:
            return
        try:
            message = self._question.read(received[2:])
        except Exception:  # noqa: BLE001 - garbage
            message = None
        if message is None:
            self._fail("its answer over TCP is none")
        else:
            self.answer.callback(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail("it closed the TCP connection")

    def time_is_up(self) -> None:
        self._fail("no answer over TCP")

    def _fail(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(_Unanswered(why))


class _Once(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol


class _Unanswered(Exception):
    """This server did not answer this time."""


_RCODES = {dns.EFORMAT: "FORMERR", dns.ESERVER: "SERVFAIL", dns.ENOTIMP: "NOTIMP", dns.EREFUSED: "REFUSED"}


def _follow(message: dns.Message, name: str, kind: int) -> tuple[str, tuple[Any, ...], float]:
    """The name at the end of the CNAMEs, its records of the type, and the shortest life on the way."""
    aliases = {}
    records: dict[str, list[Any]] = {}
    for header in message.answers:
        owner = _text(header.name.name)
        if owner is None or header.cls != dns.IN:
            continue
        if header.type == dns.CNAME:
            payload: Any = header.payload
            aliases[owner] = (_text(payload.name.name) or "", float(header.ttl))
        elif header.type == kind:
            records.setdefault(owner, []).append(header)
    seconds = POSITIVE_SECONDS
    for _ in range(CHAIN):
        if name in records or name not in aliases:
            break
        name, ttl = aliases[name]
        seconds = min(seconds, ttl)
    found = records.get(name, ())
    for header in found:
        seconds = min(seconds, float(header.ttl))
    return name, tuple(header.payload for header in found), seconds


def _negative_seconds(message: dns.Message) -> float:
    # RFC 2308 s5: the lesser of the SOA's own TTL and its MINIMUM; without an SOA, do not cache.
    for header in message.authority:
        if header.type == dns.SOA:
            payload: Any = header.payload
            return float(min(header.ttl, payload.minimum, NEGATIVE_SECONDS))
    return 0.0


def _normal(name: str) -> str:
    return name.lower().rstrip(".")


def _text(name: bytes) -> str | None:
    """A name of an answer in its normal form; None where it is not ASCII, so nobody's mail host."""
    return _normal(name.decode("ascii")) if name.isascii() else None


def _can_be_asked(name: str) -> bool:
    # RFC 1035 s2.3.4: labels of 1 to 63 octets, names of at most 255 with their lengths
    return name.isascii() and 0 < len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def _address_and_port(word: str) -> tuple[str, int]:
    host, _, port = word.rpartition(":")
    return host.strip("[]"), int(port)


def _fault(name: str, kind: int, why: str) -> TemporaryFault:
    text = f"DNS does not say the {_NAMES.get(kind, kind)} of {name}: {why}"
    return TemporaryFault(text, Reply(451, "4.4.3", ("Temporary trouble with DNS",)))


def _reason(fault: Exception) -> str:
    number = getattr(fault, "osError", None)
    return os.strerror(number) if isinstance(number, int) else (str(fault) or type(fault).__name__)


class _LinesOf:
    """The words of a small file's lines, without comments; read again when it changed.  A missing one is empty."""

    def __init__(self, path: str, clock: Any) -> None:
        self._path = path
        self._clock = clock
        self._looked = float("-inf")
        self._stamp: tuple[int, int] | None = None
        self._lines: list[list[str]] = []

    def read(self) -> list[list[str]]:
        now = self._clock.seconds()
        if now - self._looked >= FILES_SECONDS:
            self._looked = now
            try:
                status = os.stat(self._path)
                stamp = (status.st_mtime_ns, status.st_size)
                if stamp != self._stamp:
                    with open(self._path, encoding="utf-8", errors="replace") as file:
                        words = [line.partition("#")[0].partition(";")[0].split() for line in file]
                    self._lines = [line for line in words if line]
                    self._stamp = stamp
            except OSError:
                self._lines, self._stamp = [], None
        return self._lines
