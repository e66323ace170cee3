"""Clients behind a proxy that is listed: whom the header names, and what becomes of those without one."""

import ssl
import struct
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from mailgw.mail import event as fact
from mailgw.mail.envelope import Role, TlsFacts
from mailgw.net.server_tls import CertificateFiles, ServerTls
from mailgw.receive import protocol
from tests.config.making import make_certificate
from tests.receive.listening import CLIENT, Listener, Session
from tests.tables import each

PROXY = IPv4Address("TCP", "10.0.0.5", 999)
V6_MAPPED_PROXY = IPv6Address("TCP", "::ffff:10.0.0.5", 999)
HEADER = b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 25\r\n"
RELAYING = b"PROXY TCP4 198.51.100.7 10.0.0.9 4711 25\r\n"
LOCAL_V2 = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"
GREETING = "220 mx.example.org ESMTP mailgw ready\r\n"


def listener(**more: object) -> Listener:
    return Listener(proxy_protocol_from=(ip_network("10.0.0.0/24"), "local"), **more)  # type: ignore[arg-type]


def facts(it: Listener, kind: type[fact.Event]) -> list[fact.Event]:
    return [event for event in it.journal.events if isinstance(event, kind)]


@each("proxy", [PROXY, V6_MAPPED_PROXY, UNIXAddress(None)])
def test_the_header_names_the_client(proxy: IPv4Address) -> None:
    it = listener()
    session = it.connect(proxy)
    assert session.take() == "", "nobody is greeted before he is known"
    assert session.send(HEADER) == GREETING
    assert session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA") == [
        "250", "250", "250", "354"]
    assert session.codes("Subject: x", "", ".", "QUIT") == ["250", "221"]
    session.lose()
    assert b"Received: from c ([192.0.2.7])\r\n" in it.stored()[0]
    own = "local" if isinstance(proxy, UNIXAddress) else "10.0.0.5"
    assert facts(it, fact.Connected) == [fact.Connected("s1", "mx", "192.0.2.7", 4711, own)]
    assert [e.peer for e in facts(it, fact.Queued)] == ["192.0.2.7"]  # type: ignore[attr-defined]
    assert it.journal.names() == ["connected", "queued", "disconnected"]
    assert not len(it.sessions)


def test_octet_by_octet_with_commands_behind() -> None:
    session = listener().connect(PROXY)
    said = "".join(session.send(bytes([octet])) for octet in HEADER + b"EHLO c\r\nNOOP\r\n")
    assert said.startswith(GREETING)
    assert said.endswith("250 2.0.0 OK\r\n")
    assert listener().connect(PROXY).send(HEADER + b"EHLO c\r\nNOOP\r\n") == said


@each(("header", "code"), [(RELAYING, "250"), (HEADER, "550")])
def test_the_named_client_relays_or_not(header: bytes, code: str) -> None:
    session = listener().connect(PROXY)
    session.send(header)
    assert session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@elsewhere.example>")[-1] == code


@each("header", [b"PROXY UNKNOWN\r\n", LOCAL_V2])
def test_a_proxy_in_relay_from_makes_no_open_relay(header: bytes) -> None:
    # relay_from of this listener is 198.51.100.0/24.
    it = Listener(proxy_protocol_from=(ip_network("198.51.100.0/24"),))
    session = it.connect(IPv4Address("TCP", "198.51.100.7", 1))
    assert session.send(header) == GREETING
    codes = session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@elsewhere.example>", "QUIT")
    assert codes == ["250", "250", "550", "221"]
    session.lose()
    assert facts(it, fact.Connected) == [fact.Connected("s1", "mx", "198.51.100.7", 1, "198.51.100.7")]
    assert it.journal.names() == ["connected", "rejected", "disconnected"]


def test_nobody_else_s_header_counts() -> None:
    session = listener().connect(CLIENT)
    assert session.take() == GREETING
    assert session.send(RELAYING).startswith("500 5.5.2 ")
    assert session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@elsewhere.example>") == [
        "250", "250", "550"]


@each(("octets", "why"), [
    (b"EHLO proxy\r\n", "not a PROXY header"),
    (b"PROXY TCP4 192.0.2.7 10.0.0.9 4711\r\n", "malformed PROXY header"),
    (b"PROXY UNKNOWN ".ljust(107, b"x"), "PROXY header too long"),
    (b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12 + 7) + bytes(12) + b"\x03\0\x04abcd",
     "wrong checksum in the PROXY header"),
])
def test_a_bad_header_closes_without_a_word(octets: bytes, why: str) -> None:
    it = listener()
    session = it.connect(PROXY)
    assert session.send(octets) == ""
    assert session.transport.disconnecting
    session.send(HEADER)  # what still comes in
    session.lose()
    assert it.journal.events == [fact.ProxyFailed("s1", "10.0.0.5", why)]
    assert not len(it.sessions)
    assert not it.clock.getDelayedCalls()


def test_a_look_whether_we_are_alive_is_no_fault() -> None:
    it = listener()
    it.connect(PROXY).lose()
    assert it.journal.events == []
    assert not it.clock.getDelayedCalls()


@each("header", [b"PROXY UNKNOWN\r\n", LOCAL_V2])
def test_a_proxy_that_names_nobody_and_goes_leaves_no_trace(header: bytes) -> None:
    it = listener()
    session = it.connect(PROXY)
    assert session.send(header) == GREETING
    session.lose()
    assert it.journal.events == []
    session = it.connect(PROXY)
    session.send(header)
    session.say("QUIT")
    session.lose()
    assert it.journal.names() == ["connected", "disconnected"]
    session = it.connect(PROXY)
    session.send(HEADER)
    session.lose()
    assert it.journal.names()[2:] == ["connected", "disconnected"], "a client"


def test_a_header_cut_off_is_one() -> None:
    it = listener()
    session = it.connect(PROXY)
    session.send(HEADER[:-1])
    session.lose()
    assert it.journal.events == [fact.ProxyFailed("s1", "10.0.0.5", "closed within the PROXY header")]


def test_the_header_has_a_time_limit() -> None:
    it = listener()
    late, slow = it.connect(PROXY), it.connect(PROXY)
    for octet in HEADER[:4]:
        it.clock.advance(1.2)
        slow.send(bytes([octet]))
    assert not late.transport.disconnecting
    it.clock.advance(0.2)
    for session in (late, slow):
        assert session.transport.disconnecting
        session.lose()
    assert [e.why for e in facts(it, fact.ProxyFailed)] == ["no PROXY header in 5 s"] * 2  # type: ignore[attr-defined]


def test_the_session_has_its_own_limits_then() -> None:
    it = listener()
    session = it.connect(PROXY)
    it.clock.advance(4.9)
    session.send(HEADER)
    it.clock.advance(299)
    assert session.take() == ""
    it.clock.advance(1)
    assert session.take().startswith("421 4.4.2 ")


def test_one_session_too_many_is_told_so() -> None:
    it = listener(sessions=2)
    first, second, third = it.connect(PROXY), it.connect(PROXY), it.connect(PROXY)
    assert first.send(HEADER) == GREETING
    assert second.send(HEADER) == GREETING
    assert third.send(HEADER).startswith("421 ")
    first.lose()
    assert it.connect(PROXY).send(HEADER) == GREETING


def test_a_stop_ends_those_that_wait_for_a_header() -> None:
    it = listener()
    session = it.connect(PROXY)
    ending = Deferred.fromCoroutine(it.sessions.end(it.clock, 10))
    assert session.transport.disconnecting
    session.lose()
    assert ending.called
    assert it.journal.events == []
    forced = it.connect(PROXY)
    forced.protocol.abort()
    assert forced.transport.aborting


# --- TLS from the first octet, behind the header ------------------------------------------------------------

class Gathering(Protocol):
    """A client that keeps what comes, and shakes hands by itself."""

    def __init__(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.greeted: Deferred[bytes] = Deferred()

    def go_on(self) -> None:
        try:
            self.tls.do_handshake()
            said = self.tls.read(1000)
            self.greeted.callback(said)
        except ssl.SSLWantReadError:
            pass
        if octets := self.outgoing.read():
            self.transport.write(octets)

    def dataReceived(self, octets: bytes) -> None:
        self.incoming.write(octets)
        self.go_on()


@pytest.mark.parametrize("is_split", [False, True])
@pytest_twisted.ensureDeferred
async def test_the_header_comes_before_tls(tmp_path: Path, is_split: bool) -> None:
    make_certificate(tmp_path)
    tls = ServerTls(CertificateFiles(str(tmp_path / "fullchain.pem"), str(tmp_path / "privkey.pem")), {})
    it = Listener(role=Role.SUBMISSIONS, tls=tls, proxy_protocol_from=(ip_network("127.0.0.1"),))
    port = reactor.listenTCP(0, it.factory, interface="127.0.0.1")
    client = Gathering()
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    await connectProtocol(endpoint, client)
    if is_split:
        client.transport.write(HEADER)
        await _turn()
    else:
        client.outgoing.write(HEADER)  # in one segment with the client's hello
    client.go_on()
    assert await client.greeted == GREETING.encode()
    client.transport.abortConnection()
    while len(it.sessions):
        await _turn()
    await port.stopListening()
    connected, started, _ = it.journal.events
    assert connected == fact.Connected("s1", "submissions", "192.0.2.7", 4711, "127.0.0.1")
    assert isinstance(started, fact.TlsStarted)
    assert started.peer == "192.0.2.7"


async def _turn() -> None:
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    await turned


# --- STARTTLS forgets what was said, not who came -------------------------------------------------------------

def test_the_client_stays_who_he_is_under_tls() -> None:
    it = listener()
    session: Session = it.connect(PROXY)
    session.send(HEADER)
    inner = session.transport.protocol
    session.codes("EHLO c")
    client = inner._session.client
    assert inner._identify(inner._peer) == attrs.evolve(client, helo="", extended=False)


def test_tls_that_comes_behind_the_header_waits_until_there_is_room() -> None:
    it = listener(role=Role.SUBMISSIONS, tls=object())
    asked: Deferred[None] = Deferred()

    async def slowly(address: str) -> None:
        assert address == "192.0.2.7"
        await asked

    it.counters.enter = slowly  # type: ignore[method-assign, assignment]
    session = it.connect(PROXY)
    taken: list[bytes] = []
    session.transport.startTLS = lambda tls: setattr(session.transport, "protocol", Taking(taken))
    session.send(HEADER + b"\x16\x03")
    session.send(b"\x01")
    assert session.transport.paused
    assert taken == []
    asked.callback(None)
    assert taken == [b"\x16\x03\x01"]
    assert not session.transport.paused


class Taking(Protocol):
    def __init__(self, taken: list[bytes]) -> None:
        self.taken = taken

    def dataReceived(self, octets: bytes) -> None:
        self.taken.append(octets)


@each(("header", "names"), [
    (LOCAL_V2, []),
    (HEADER, ["connected", "tls_failed", "disconnected"]),
])
def test_a_look_before_tls_is_no_fault(header: bytes, names: list[str]) -> None:
    it = listener(role=Role.SUBMISSIONS, tls=object())
    session = it.connect(PROXY)
    session.transport.startTLS = lambda tls: None
    session.send(header)
    session.lose()
    assert it.journal.names() == names


@pytest.mark.parametrize(("header", "offers"), [(HEADER, True), (b"PROXY UNKNOWN\r\n", False), (LOCAL_V2, False)])
def test_nobody_logs_in_whom_the_proxy_does_not_name(
    header: bytes, offers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "tls_facts", lambda handle, with_bindings: TlsFacts("TLSv1.3", "x", 128))
    it = listener(role=Role.SUBMISSIONS, tls=object())
    session = it.connect(PROXY)
    session.transport.getHandle = lambda: None
    session.send(header)
    session.transport.protocol.handshakeCompleted()
    session.take()
    assert ("AUTH" in session.say("EHLO c")) == offers
    # \0alice@example.org\0secret
    codes = session.codes("AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHNlY3JldA==")
    assert (codes == ["235"]) == offers
