"""TLS towards others, real handshakes over the loopback: which certificates serve which mode."""

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted
import trustme
from OpenSSL import SSL
from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred

from mailgw.deliver.smtp import SmtpBackend, TlsMode
from mailgw.deliver.smtp_hops import Hop
from mailgw.mail.parameters import MailParameters
from mailgw.net.client_tls import ClientTls, tls_fault_text
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, message, settings
from tests.deliver.tls_server import TlsServer


class Place:
    """A certificate authority, and servers with certificates of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.servers: list[TlsServer] = []

    def serve(self, name: str, implicit: bool = False, broken: bool = False) -> tuple[int, list[tuple[bytes, bool]]]:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        if not broken:
            self.authority.issue_cert(name).configure_cert(context)
        server = TlsServer(context, implicit)
        self.servers.append(server)
        return server.port, server.lines


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    it = Place(tmp_path)
    yield it
    for server in it.servers:
        pytest_twisted.blockon(server.close())


async def sent(
    place: Place, port: int, mode: TlsMode, host: str = "mx.example", ca: bool = True, needs_tls: bool = False
) -> str:
    """What became of a message to ``host``, which is the loopback in truth."""
    backend = SmtpBackend(
        settings(hosts=(f"{host}:{port}",), tls=mode, ca_file=place.ca_file if ca else None),
        real_reactor, FakeResolver(address_records={host: ["127.0.0.1"]}), list.reverse, frozenset(),
        lambda: 0.0,
    )
    backend.startService()
    what = attrs.evolve(message(), parameters=MailParameters(require_tls=needs_tls))
    outcomes = await Deferred.fromCoroutine(backend.deliver(what, [ANN]))
    backend.stopService()
    return str(outcomes[ANN].reply)


@pytest_twisted.ensureDeferred
async def test_opportunistic_takes_any_certificate(place: Place) -> None:
    port, lines = place.serve("other.example")
    assert await sent(place, port, TlsMode.OPPORTUNISTIC) == "250 2.0.0 secure"
    assert (b"MAIL FROM:<sender@example.net>", True) in lines


@pytest_twisted.ensureDeferred
async def test_opportunistic_goes_on_in_clear(place: Place) -> None:
    port, _ = place.serve("mx.example", broken=True)
    assert await sent(place, port, TlsMode.OPPORTUNISTIC) == "250 2.0.0 clear"
    assert (await sent(place, port, TlsMode.ENCRYPT)).startswith("451 4.7.5 The TLS handshake failed: ")


@pytest_twisted.ensureDeferred
async def test_verify_wants_chain_and_name(place: Place) -> None:
    port, _ = place.serve("mx.example")
    assert await sent(place, port, TlsMode.VERIFY) == "250 2.0.0 secure"
    assert "451 4.7.5 The certificate is not trusted: " in await sent(place, port, TlsMode.VERIFY, ca=False)
    port, lines = place.serve("other.example")
    assert await sent(place, port, TlsMode.VERIFY) == "451 4.7.5 The certificate does not name mx.example"
    assert [line for line, secure in lines if secure] == []


@pytest.mark.parametrize("mode", [TlsMode.OPPORTUNISTIC, TlsMode.ENCRYPT, TlsMode.IMPLICIT])
@pytest_twisted.ensureDeferred
async def test_tls_that_a_message_requires_is_verified_in_any_mode(place: Place, mode: TlsMode) -> None:
    port, lines = place.serve("mx.example", implicit=mode is TlsMode.IMPLICIT)
    assert await sent(place, port, mode, needs_tls=True) == "250 2.0.0 secure"
    assert (b"MAIL FROM:<sender@example.net> REQUIRETLS", True) in lines
    for name, ca in (("mx.example", False), ("other.example", True)):
        port, lines = place.serve(name, implicit=mode is TlsMode.IMPLICIT)
        assert (await sent(place, port, mode, ca=ca, needs_tls=True)).startswith("550 5.7.10 ")
        assert not [line for line, _ in lines if line.startswith(b"MAIL")]


@pytest_twisted.ensureDeferred
async def test_addresses_are_verified_as_addresses(place: Place) -> None:
    port, _ = place.serve("127.0.0.1")
    assert await sent(place, port, TlsMode.VERIFY, "127.0.0.1") == "250 2.0.0 secure"
    port, _ = place.serve("localhost")
    assert await sent(place, port, TlsMode.VERIFY, "127.0.0.1") == "451 4.7.5 The certificate does not name 127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_a_name_that_no_certificate_can_have(place: Place) -> None:
    port, _ = place.serve("mx.example")
    assert await sent(place, port, TlsMode.VERIFY, "mx!.test") == "451 4.7.5 The certificate does not name mx!.test"


@pytest_twisted.ensureDeferred
async def test_implicit_trusts_the_loopback(place: Place) -> None:
    port, lines = place.serve("other.example", implicit=True)
    assert await sent(place, port, TlsMode.IMPLICIT) == "250 2.0.0 secure"
    assert b"STARTTLS" not in [line for line, _ in lines]


@pytest_twisted.ensureDeferred
async def test_implicit_verifies_elsewhere(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hop, "is_loopback", False)
    port, _ = place.serve("mx.example", implicit=True)
    assert await sent(place, port, TlsMode.IMPLICIT) == "250 2.0.0 secure"
    port, _ = place.serve("other.example", implicit=True)
    assert await sent(place, port, TlsMode.IMPLICIT) == "451 4.7.5 The certificate does not name mx.example"
    assert "451 4.7.5 The certificate is not trusted: " in await sent(place, port, TlsMode.IMPLICIT, ca=False)


@pytest_twisted.ensureDeferred
async def test_implicit_to_a_server_in_clear_never_falls_back(place: Place) -> None:
    port, lines = place.serve("mx.example")
    assert (await sent(place, port, TlsMode.IMPLICIT)).startswith("451 4.7.5 The TLS handshake failed: ")
    assert not [line for line, _ in lines if line.startswith(b"EHLO")]


def test_a_ca_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.pem: not a readable PEM file"):
        ClientTls(str(tmp_path / "none.pem"), None, lambda: 0.0)


def test_reasons_are_one_line() -> None:
    assert tls_fault_text(SSL.Error([("SSL routines", "", "wrong version number")])) == "wrong version number"
    assert tls_fault_text(SSL.Error()) == ""
    assert tls_fault_text(OSError("x" * 300)) == "x" * 200
