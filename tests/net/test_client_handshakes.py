"""Handshakes with other servers, in memory: what is resumed, what is shown to whom, what is read again."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from mailgw.mail.names import TlsaRecord
from mailgw.mail.outcome import Secured
from mailgw.mail.tls_result import TlsFailure
from mailgw.net import client_tls, tls_sessions
from mailgw.net.client_tls import ClientTls, Handshake
from mailgw.net.server_tls import CertificateFiles
from mailgw.net.tls_sessions import KeptSessions
from mailgw.trust.dane import public_key_info
from mailgw.trust.tls_policy import Demand, Level
from tests.net.handshakes import pass_on, shake_hands
from tests.trust.certificates import Identity, issued, root, self_signed

HOST = "mx.example.org"
MAY = Demand(Level.MAY, HOST, True)
VERIFY = Demand(Level.VERIFY, HOST, False, (HOST,))


class Place:
    """A client and a server; ``versions`` limits the server's."""

    def __init__(self, folder: Path, identity: Identity, version: int = SSL.TLS1_3_VERSION) -> None:
        self.now = 0.0
        self.ca_file = folder / "ca.pem"
        root().cert_pem.write_to_path(str(self.ca_file))
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.set_max_proto_version(version)
        self.context.set_session_id(b"mx")
        identity.configure(self.context)
        self.client = ClientTls(str(self.ca_file), None, lambda: self.now)
        self.server: SSL.Connection | None = None

    def meet(self, demand: Demand, peer: str = "192.0.2.1 25") -> Handshake:
        """The handshake, judged, kept where it may go on; the connection is ended as it should be."""
        handshake = self.client.to(demand, peer)
        nobody: Any = None
        connection = handshake.clientConnectionForTLS(nobody)
        self.server = SSL.Connection(self.context, None)
        shake_hands(connection, self.server)
        self.judgement = handshake.judge()
        self.secured = handshake.secured()
        self.server.send(b"250 ok\r\n")
        pass_on(self.server, connection)
        assert connection.recv(100) == b"250 ok\r\n"  # and the tickets before it
        if self.judgement.may_go_on:
            handshake.keep()
        connection.shutdown()
        return handshake

    @property
    def was_resumed(self) -> bool:
        """By what the server has to know: a resumed session signs nothing."""
        assert self.server is not None
        return bool(SSL._lib.SSL_session_reused(self.server._ssl))  # type: ignore[attr-defined] # no public name


@pytest.mark.parametrize(("version", "name"), [(SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")])
def test_a_session_is_resumed_and_judged_again(tmp_path: Path, version: int, name: str) -> None:
    place = Place(tmp_path, issued(HOST), version)
    for resumed in (False, True, True):
        place.meet(VERIFY)
        assert place.was_resumed is resumed
        assert (place.secured.version, place.secured.verified) == (name, "ca")
        assert place.secured.cipher


def test_nothing_passes_from_one_demand_or_server_to_another(tmp_path: Path) -> None:
    place = Place(tmp_path, self_signed(HOST))
    place.meet(MAY)
    place.meet(MAY)
    assert place.was_resumed
    assert place.secured == Secured("TLSv1.3", place.secured.cipher, "none")
    place.meet(MAY, "192.0.2.2 25")
    assert not place.was_resumed
    place.meet(VERIFY)
    assert not place.was_resumed
    assert (place.judgement.failure, place.judgement.may_go_on) == (TlsFailure.CERTIFICATE_NOT_TRUSTED, False)
    place.meet(VERIFY)
    assert not place.was_resumed  # what failed is not kept


def test_with_dane_every_connection_shows_its_certificate(tmp_path: Path) -> None:
    place = Place(tmp_path, self_signed(HOST))
    data = hashlib.sha256(public_key_info(self_signed(HOST).leaf)).digest()
    by_dns = Demand(Level.DANE, HOST, False, (HOST,), (TlsaRecord(3, 1, 1, data),))
    for _ in range(2):
        place.meet(by_dns)
        assert not place.was_resumed
        assert place.secured.verified == "dane"


def test_with_a_long_chain_none_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = sum(map(len, issued(HOST).chain))
    for limit, resumed in ((octets, True), (octets - 1, False)):
        monkeypatch.setattr(client_tls, "KEPT_OCTETS", limit)
        place = Place(tmp_path, issued(HOST))
        place.meet(VERIFY)
        place.meet(VERIFY)
        assert place.was_resumed is resumed


def test_an_old_session_is_not_resumed(tmp_path: Path) -> None:
    place = Place(tmp_path, issued(HOST))
    place.meet(VERIFY)
    place.now += tls_sessions.LONGEST_SECONDS
    place.meet(VERIFY)
    assert place.was_resumed
    place.now += 1  # counted from when the certificate was shown, not from when it was resumed
    place.meet(VERIFY)
    assert not place.was_resumed


def test_sessions_are_bounded() -> None:
    kept = KeptSessions()
    session = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    some: Any = session
    for i in range(tls_sessions.MOST_SESSIONS):
        kept.give(i, some, 0.0)
    kept.give(0, some, 0.0)  # again: it is the last that came
    assert len(kept) == tls_sessions.MOST_SESSIONS
    kept.give("one more", some, 0.0)
    assert len(kept) == tls_sessions.MOST_SESSIONS
    assert kept.take(1, 0.0) is None
    assert kept.take(0, 0.0) == (session, 0.0)
    assert kept.take(0, 0.0) is None


def test_the_server_hears_the_name_but_no_address(tmp_path: Path) -> None:
    place = Place(tmp_path, issued(HOST))
    for name, heard in ((HOST, HOST.encode()), ("192.0.2.1", None), ("2001:db8::1", None), ("", None)):
        place.meet(Demand(Level.MAY, name, True), name)
        assert place.server is not None
        assert place.server.get_servername() == heard


def test_a_certificate_of_our_own_is_shown_who_asks_and_read_again(tmp_path: Path) -> None:
    place = Place(tmp_path, issued(HOST))
    place.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    files = CertificateFiles(str(tmp_path / "own.pem"), str(tmp_path / "own.key"))

    def write(identity: Identity) -> None:
        Path(files.certificate).write_bytes(b"".join(identity.chain_pem))
        Path(files.private_key).write_bytes(identity.key_pem)

    def shown() -> bytes | None:
        place.meet(VERIFY)
        assert place.server is not None
        leaf = place.server.get_peer_certificate(as_cryptography=True)
        return None if leaf is None else leaf.subject.rfc4514_string().encode()

    assert shown() is None
    write(self_signed(common_name="out.example.net"))
    place.client = ClientTls(str(place.ca_file), files, lambda: 0.0)
    assert shown() == b"CN=out.example.net"
    place.client.reload()
    assert shown() == b"CN=out.example.net"
    write(self_signed(common_name="renewed.example.net"))
    place.client.reload()
    assert shown() == b"CN=renewed.example.net"
    Path(files.private_key).write_bytes(b"half of it")
    place.client.reload()
    assert shown() == b"CN=renewed.example.net"
    with pytest.raises(ValueError, match=r"own\.key: not a PEM private key"):
        ClientTls(None, files, lambda: 0.0)


def test_the_system_s_authorities_are_read_again_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, issued(HOST))
    place.client = ClientTls(None, None, lambda: place.now)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    place.meet(VERIFY)
    assert place.judgement.failure is TlsFailure.CERTIFICATE_NOT_TRUSTED
    monkeypatch.setenv("SSL_CERT_FILE", str(place.ca_file))
    for later, is_trusted in ((86399.0, False), (1.0, True)):
        place.now += later
        place.client.reload()
        place.meet(VERIFY)
        assert place.judgement.may_go_on is is_trusted


def test_a_chain_without_end_is_cut(tmp_path: Path) -> None:
    identity = issued(HOST)
    place = Place(tmp_path, Identity(identity.chain_pem + 30 * identity.chain_pem[:1], identity.key_pem))
    place.meet(VERIFY)
    assert place.secured.verified == "ca"
