"""Certificates for tests, made once: issued by an authority over an intermediate one, and such as nobody issued."""

import datetime
from collections.abc import Sequence
from functools import cache

import attrs
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

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
        leaf, *others = [crypto.load_certificate(crypto.FILETYPE_PEM, pem) for pem in self.chain_pem]
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, self.key_pem))


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
def self_signed(*names: str, common_name: str = "", usages: Sequence[x509.ObjectIdentifier] = ()) -> Identity:
    """By nobody but itself; no authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(LONG_AGO).not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=not common_name)
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    cert = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Identity((cert.public_bytes(Encoding.PEM),), pem)


CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
