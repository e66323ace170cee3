"""Certificates for tests, made once: issued by an authority over an intermediate one, and such as nobody issued."""

import datetime
from collections.abc import Sequence
from functools import cache

import attrs
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
NEVER = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
LONG_AGO = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)


@attrs.frozen(eq=False)
class Identity:
    """A server's chain, its own certificate first, as PEM; and its key."""

    chain_pem: tuple[bytes, ...]
    key_pem: bytes

    @property
    def chain(self) -> tuple[bytes, ...]:
        """As DER."""
        return tuple(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in self.chain_pem)

    @property
    def leaf(self) -> bytes:
        return self.chain[0]

    def configure(self, context: SSL.Context) -> None:
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")  # whatever it is, it is shown
        leaf, *others = [x509.load_pem_x509_certificate(pem) for pem in self.chain_pem]
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        key = load_pem_private_key(self.key_pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        context.use_privatekey(key)


@cache
def root() -> trustme.CA:
    """The authority that the gateway is told to trust."""
    return trustme.CA()


@cache
def middle() -> trustme.CA:
    """An authority below ``root``, who issues all that is issued."""
    return root().create_child_ca()


def _der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def root_der() -> bytes:
    return _der(root().cert_pem.bytes())


def middle_der() -> bytes:
    return _der(middle().cert_pem.bytes())


@cache
def issued(*names: str, expired: bool = False, common_name: str | None = None) -> Identity:
    """By ``middle``, which is in the chain, but not ``root``."""
    end = LONG_AGO + datetime.timedelta(days=1) if expired else None
    cert = middle().issue_cert(
        *names, common_name=common_name, not_before=LONG_AGO if expired else None, not_after=end
    )
    chain = (cert.cert_chain_pems[0].bytes(), middle().cert_pem.bytes())
    return Identity(chain, cert.private_key_pem.bytes())


@cache
def issued_for_clients(name: str) -> Identity:
    """By ``middle``, and not for servers."""
    leaf, key = _signed(name, CLIENT_AUTH, middle().cert_pem.bytes(), middle().private_key_pem.bytes())
    return Identity((leaf, middle().cert_pem.bytes()), key)


@cache
def issued_by_sha1(name: str) -> Identity:
    """By ``middle``, for servers, with a signature that is none any more."""
    authority = middle()
    leaf, key = _signed(name, SERVER_AUTH, authority.cert_pem.bytes(), authority.private_key_pem.bytes())
    # cryptography makes no such signature.  RFC 3279 s2.2.3: ecdsa-with-SHA1, in the place of ecdsa-with-SHA256
    sha256, sha1 = bytes.fromhex("300a06082a8648ce3d040302"), bytes.fromhex("300906072a8648ce3d0401")
    told = _sequence(x509.load_pem_x509_certificate(leaf).tbs_certificate_bytes[4:].replace(sha256, sha1))
    issuer_key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    signature = issuer_key.sign(told, ec.ECDSA(hashes.SHA1()))
    found = _sequence(told + sha1 + b"\x03" + bytes([len(signature) + 1, 0]) + signature)
    pem = x509.load_der_x509_certificate(found).public_bytes(Encoding.PEM)
    return Identity((pem, authority.cert_pem.bytes()), key)


@cache
def issued_by_who_may_not(name: str) -> Identity:
    """For servers, by an authority below ``root`` that is one for clients alone."""
    above, above_key = _signed("", CLIENT_AUTH, root().cert_pem.bytes(), root().private_key_pem.bytes())
    leaf, key = _signed(name, SERVER_AUTH, above, above_key)
    return Identity((leaf, above), key)


def _sequence(octets: bytes) -> bytes:
    """In DER, of 256 octets or more."""
    assert 256 <= len(octets) < 65536
    return b"\x30\x82" + len(octets).to_bytes(2, "big") + octets


def _signed(
    name: str, usage: x509.ObjectIdentifier, issuer_pem: bytes, issuer_key_pem: bytes
) -> tuple[bytes, bytes]:
    """A certificate and its key; without a name it is an authority's."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(issuer_pem)
    subject = x509.Name([] if name else [x509.NameAttribute(NameOID.COMMON_NAME, "clients")])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer.subject)
        .public_key(key.public_key()).serial_number(7).not_valid_before(LONG_AGO).not_valid_after(NEVER)
        .add_extension(x509.BasicConstraints(ca=not name, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if name:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
    issuer_key = load_pem_private_key(issuer_key_pem, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    cert = builder.sign(issuer_key, hashes.SHA256())
    return cert.public_bytes(Encoding.PEM), _key_pem(key)


@cache
def self_signed(
    *names: str, common_name: str = "", usages: Sequence[x509.ObjectIdentifier] = (), expired: bool = False
) -> Identity:
    """By nobody but itself; no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(LONG_AGO)
        .not_valid_after(LONG_AGO + datetime.timedelta(days=1) if expired else NEVER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=not common_name)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    cert = builder.sign(key, hashes.SHA256())
    return Identity((cert.public_bytes(Encoding.PEM),), _key_pem(key))


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
