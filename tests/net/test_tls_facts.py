"""Whose certificate a client showed, and what a login can be bound to: real handshakes, in memory."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from OpenSSL import SSL
from twisted.logger import capturedLogs

from mailgw.mail.envelope import ChannelBindings, TlsFacts
from mailgw.net.server_tls import CertificateFiles, ServerTls, certificate_faults
from mailgw.net.tls_facts import addresses, end_point, tls_facts
from tests.config.making import make_certificate
from tests.net import handshakes
from tests.tables import each

ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> CertificateFiles:
    make_certificate(tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return CertificateFiles(*(str(tmp_path / name) for name in ("fullchain.pem", "privkey.pem", "ca.pem")))


def certificate(subject: str = "", alternative: tuple[str, ...] = (), key: Any = None) -> x509.Certificate:
    """A self-signed one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, subject)] if subject else [])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    )
    if alternative:
        names = x509.SubjectAlternativeName([x509.RFC822Name(a) for a in alternative])
        builder = builder.add_extension(names, critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA384()
    return builder.sign(key, digest)


def shake_hands(
    tls: ServerTls, client: ssl.SSLContext, name: str = "mx1.example.org", session: ssl.SSLSession | None = None
) -> tuple[TlsFacts, ssl.SSLObject]:
    server = tls.serverConnectionForTLS(None)  # type: ignore[arg-type]  # it is not looked at
    server.set_app_data(object())  # as Twisted does
    server.set_accept_state()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    other = client.wrap_bio(incoming, outgoing, server_hostname=name, session=session)
    done = {"client": False, "server": False}
    while not all(done.values()):
        try:
            other.do_handshake()
            done["client"] = True
        except ssl.SSLWantReadError:
            pass
        if octets := outgoing.read():
            server.bio_write(octets)
        try:
            server.do_handshake()
            done["server"] = True
        except SSL.WantReadError:
            pass
        try:
            incoming.write(server.bio_read(1 << 16))
        except SSL.WantReadError:
            pass
    try:
        other.read(1)  # tickets come behind the handshake
    except ssl.SSLWantReadError:
        pass
    return tls_facts(server, with_bindings=True), other


def client_with(issued: trustme.LeafCert | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.maximum_version = version
    if issued is not None:
        issued.configure_cert(context)
    return context


# --- the client's certificate -----------------------------------------------------------------------------

@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2])
def test_an_authority_vouches_for_an_address(
    files: CertificateFiles, authority: trustme.CA, version: ssl.TLSVersion | None
) -> None:
    facts, _ = shake_hands(ServerTls(files, {}), client_with(authority.issue_cert(ALICE), version))
    assert (facts.certificate_names, facts.is_client_verified) == ((ALICE,), True)


def test_an_authority_vouches_for_one_without_an_address(files: CertificateFiles, authority: trustme.CA) -> None:
    facts, _ = shake_hands(ServerTls(files, {}), client_with(authority.issue_cert("mx.example.net")))
    assert (facts.certificate_names, facts.is_client_verified) == ((), True)


@pytest.mark.parametrize("version", [None, ssl.TLSVersion.TLSv1_2])
def test_a_certificate_that_nobody_vouches_for_is_none(
    files: CertificateFiles, version: ssl.TLSVersion | None
) -> None:
    facts, _ = shake_hands(ServerTls(files, {}), client_with(trustme.CA().issue_cert(ALICE), version))
    assert (facts.certificate_names, facts.is_client_verified) == ((), False)


def test_one_that_ended_is_none(files: CertificateFiles, authority: trustme.CA) -> None:
    old = authority.issue_cert(ALICE, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    facts, _ = shake_hands(ServerTls(files, {}), client_with(old))
    assert (facts.certificate_names, facts.is_client_verified) == ((), False)


def test_nobody_needs_to_have_one(files: CertificateFiles) -> None:
    facts, _ = shake_hands(ServerTls(files, {}), client_with())
    assert (facts.certificate_names, facts.is_client_verified) == ((), False)


def test_nobody_is_asked_where_no_authority_is_named(files: CertificateFiles, authority: trustme.CA) -> None:
    tls = ServerTls(CertificateFiles(files.certificate, files.private_key), {})
    assert shake_hands(tls, client_with(authority.issue_cert(ALICE)))[0].certificate_names == ()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2])
@pytest.mark.parametrize("is_trusted", [True, False])
def test_no_session_is_resumed_where_certificates_count(
    files: CertificateFiles, authority: trustme.CA, version: ssl.TLSVersion, is_trusted: bool
) -> None:
    # It would be resumed without a look at the certificate.
    tls = ServerTls(files, {})
    client = client_with((authority if is_trusted else trustme.CA()).issue_cert(ALICE), version)
    _, first = shake_hands(tls, client)
    facts, second = shake_hands(tls, client, session=first.session)
    assert not second.session_reused
    assert facts.certificate_names == ((ALICE,) if is_trusted else ())


def test_a_resumed_session_shows_none(files: CertificateFiles) -> None:
    tls = ServerTls(CertificateFiles(files.certificate, files.private_key), {})
    client = client_with()
    _, first = shake_hands(tls, client)
    facts, second = shake_hands(tls, client, session=first.session)
    assert second.session_reused
    assert (facts.certificate_names, facts.is_client_verified) == ((), False)


def test_the_name_that_is_asked_for_chooses_the_authority(
    files: CertificateFiles, authority: trustme.CA, tmp_path: Path
) -> None:
    shop, shop_authority = trustme.CA().issue_cert("shop.example"), trustme.CA()
    (tmp_path / "shop.pem").write_bytes(shop.private_key_and_cert_chain_pem.bytes())
    shop_authority.cert_pem.write_to_path(str(tmp_path / "shop-ca.pem"))
    pem = str(tmp_path / "shop.pem")
    own, strange = client_with(shop_authority.issue_cert(ALICE)), client_with(authority.issue_cert(ALICE))
    without = CertificateFiles(files.certificate, files.private_key)
    for default in (files, without):
        tls = ServerTls(default, {"shop": CertificateFiles(pem, pem, str(tmp_path / "shop-ca.pem"))})
        assert shake_hands(tls, own, "shop.example")[0].certificate_names == (ALICE,)
        assert shake_hands(tls, strange, "shop.example")[0].certificate_names == ()
        assert shake_hands(tls, strange)[0].certificate_names == ((ALICE,) if default is files else ())
    tls = ServerTls(files, {"shop": CertificateFiles(pem, pem)})
    assert shake_hands(tls, strange, "shop.example")[0].certificate_names == ()


def test_the_authorities_are_read_again(files: CertificateFiles, authority: trustme.CA) -> None:
    tls = ServerTls(files, {})
    other = trustme.CA()
    assert files.client_ca is not None
    other.cert_pem.write_to_path(files.client_ca)
    assert tls.reload()
    assert shake_hands(tls, client_with(authority.issue_cert(ALICE)))[0].certificate_names == ()
    assert shake_hands(tls, client_with(other.issue_cert(ALICE)))[0].certificate_names == (ALICE,)
    Path(files.client_ca).write_text("junk")
    with capturedLogs() as logged:
        assert not tls.reload()
    assert len(logged) == 1
    assert shake_hands(tls, client_with(other.issue_cert(ALICE)))[0].certificate_names == (ALICE,)


def test_authorities_that_are_none(files: CertificateFiles) -> None:
    assert files.client_ca is not None
    for text in ("junk", Path(files.private_key).read_text(), ""):
        Path(files.client_ca).write_text(text)
        assert certificate_faults(files) == {"client_ca": f"{files.client_ca}: no PEM certificates of authorities"}
    Path(files.client_ca).unlink()
    assert "No such file" in certificate_faults(files)["client_ca"]


@each(("subject", "alternative", "names"), [
    (ALICE, (), (ALICE,)),
    ("old@example.org", (ALICE, "bob@EXAMPLE.org", ALICE), (ALICE, "bob@example.org")),
    ("", (), ()),
    ("not an address", (), ()),
    ("", ("example.org",), ()),
    ("alice@example.org\0.evil.example", (), ()),
])
def test_the_addresses_of_a_certificate(subject: str, alternative: tuple[str, ...], names: tuple[str, ...]) -> None:
    assert addresses(certificate(subject, alternative)) == names


# --- how the keys were agreed on ---------------------------------------------------------------------------

@pytest.mark.parametrize(("version", "curve", "group"), [
    (ssl.TLSVersion.TLSv1_3, "prime256v1", "secp256r1"),
    (ssl.TLSVersion.TLSv1_3, "secp384r1", "secp384r1"),
    (ssl.TLSVersion.TLSv1_2, "prime256v1", "secp256r1"),  # of the certificate's key, too: it takes no other
])
def test_the_group_has_iana_s_name(
    files: CertificateFiles, version: ssl.TLSVersion, curve: str, group: str
) -> None:
    client = client_with(version=version)
    client.set_ecdh_curve(curve)
    facts, _ = shake_hands(ServerTls(files, {}), client)
    assert facts.group in (group, "")  # "" below OpenSSL 3.2
    assert bool(facts.group) is has_group_names()


def has_group_names() -> bool:
    return bool(getattr(SSL._lib, "Cryptography_HAS_SSL_GET0_GROUP_NAME", 0))  # type: ignore[attr-defined] # no public name


@pytest.mark.parametrize("trouble", [NotImplementedError, AttributeError])
def test_an_older_library_knows_no_group(
    files: CertificateFiles, monkeypatch: pytest.MonkeyPatch, trouble: type[Exception]
) -> None:
    def get_group_name(connection: SSL.Connection) -> str:
        raise trouble

    monkeypatch.setattr(SSL.Connection, "get_group_name", get_group_name, raising=False)
    assert shake_hands(ServerTls(files, {}), client_with())[0].group == ""


# --- channel bindings -------------------------------------------------------------------------------------

def test_tls_exporter_on_1_3_alone(files: CertificateFiles) -> None:
    tls = ServerTls(files, {})
    facts, _ = shake_hands(tls, client_with())
    again, _ = shake_hands(tls, client_with())
    assert facts.version == "TLSv1.3"
    assert len(facts.bindings.exporter) == 32
    assert facts.bindings.exporter != again.bindings.exporter
    older, _ = shake_hands(tls, client_with(version=ssl.TLSVersion.TLSv1_2))
    assert (older.version, older.bindings.exporter) == ("TLSv1.2", b"")


def test_both_sides_export_the_same(files: CertificateFiles) -> None:
    server = ServerTls(files, {}).serverConnectionForTLS(None)  # type: ignore[arg-type]
    client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    handshakes.shake_hands(client, server)
    expected = client.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    assert tls_facts(server, with_bindings=True).bindings.exporter == expected
    assert tls_facts(server, with_bindings=False).bindings == ChannelBindings()


def test_tls_server_end_point_is_of_the_certificate_that_was_shown(files: CertificateFiles, tmp_path: Path) -> None:
    shop = trustme.CA().issue_cert("shop.example")
    (tmp_path / "shop.pem").write_bytes(shop.private_key_and_cert_chain_pem.bytes())
    pem = str(tmp_path / "shop.pem")
    tls = ServerTls(files, {"shop": CertificateFiles(pem, pem)})
    found = set()
    for name in ("mx1.example.org", "shop.example"):
        facts, other = shake_hands(tls, client_with(), name)
        shown = other.getpeercert(binary_form=True)
        assert shown is not None
        assert facts.bindings.server_end_point == hashlib.sha256(shown).digest()
        found.add(shown)
    assert len(found) == 2


def test_the_hash_of_tls_server_end_point() -> None:
    leaf = certificate()
    assert end_point(leaf) == hashlib.sha384(leaf.public_bytes(serialization.Encoding.DER)).digest()
    assert end_point(certificate(key=ed25519.Ed25519PrivateKey.generate())) == b""
    weak = x509.load_pem_x509_certificate(SHA1)
    assert end_point(weak) == hashlib.sha256(weak.public_bytes(serialization.Encoding.DER)).digest()


def test_a_binding_is_not_printed() -> None:
    assert "secret" not in repr(ChannelBindings(b"secret", b"secret"))


# openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha1 -subj /CN=old
SHA1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBbzCCARagAwIBAgIUQiJK1xAMN3DUyEkLCXSdCc2/NyowCQYHKoZIzj0EATAO
MQwwCgYDVQQDDANvbGQwHhcNMjYxMTI0MDI1NTUyWhcNMjYxMjI0MDI1NTUyWjAO
MQwwCgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATLQ2770glW
C6bUulslRguOSyeR6i1DwlTZ+Y7ycEkx48kxCab/eV8kDfy7sW7fmxVLljVmtevi
z2cw3KBiCL2po1MwUTAdBgNVHQ4EFgQUfWObNW0UbNCruo1dU2bE6lPd2ScwHwYD
VR0jBBgwFoAUfWObNW0UbNCruo1dU2bE6lPd2ScwDwYDVR0TAQH/BAUwAwEB/zAJ
BgcqhkjOPQQBA0gAMEUCIGby8BDlCDBu4cFgSUG0CYiy7LjJIdHqV02hAWHnRuTD
AiEA0f2NI68iVkHrLLR3ZdW+HGVlohsUW+kFxLNLn1yNHuY=
-----END CERTIFICATE-----
"""
