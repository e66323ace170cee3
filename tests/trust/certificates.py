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
    key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.load_pem_x509_certificate(middle().cert_pem.bytes())
    builder = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.subject)
        .public_key(key.public_key()).serial_number(7).not_valid_before(LONG_AGO).not_valid_after(NEVER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([CLIENT_AUTH]), critical=False)
    )
    cert = builder.sign(load_pem_private_key(middle().private_key_pem.bytes(), None), hashes.SHA256())
    return Identity((cert.public_bytes(Encoding.PEM), middle().cert_pem.bytes()), _key_pem(key))


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
