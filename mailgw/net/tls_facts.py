"""What a TLS session on a listener tells: its strength, what a login can be bound to, whose certificate the client
showed (RFC 5929 s4, RFC 9266, RFC 5280 s4.2.1.6; not done: tls-unique, which TLS 1.3 has no more).

Rules:
    A client's certificate counts only where it was verified in this very handshake.  A resumed session verifies
    nothing, so it tells of no certificate.
    One that does not verify is as good as none, and breaks nothing: mail servers show self-signed ones to each other.
"""

from weakref import WeakKeyDictionary

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from OpenSSL.crypto import X509

from mailgw.mail.address import parse_mailbox
from mailgw.mail.envelope import ChannelBindings, TlsFacts

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"  # RFC 9266 s2, with a length of 32 and an empty context
_EXPORTER_OCTETS = 32


@attrs.define
class Presented:
    """How the verification of a client's certificate goes."""

    is_trusted: bool = False
    has_fault: bool = False


# By the connection, as long as it lives.  (Its application data are Twisted's, who puts the protocol there.)
_PRESENTED: WeakKeyDictionary[SSL.Connection, Presented] = WeakKeyDictionary()


def watch(connection: SSL.Connection) -> None:
    """Call before the handshake: what ``judge`` sees is kept for ``tls_facts``."""
    _PRESENTED[connection] = Presented()


def judge(connection: SSL.Connection, certificate: X509, error: int, depth: int, is_good: int) -> bool:
    """OpenSSL's callback for each certificate of a client's chain: remembers, and lets all pass.

    pyOpenSSL makes OpenSSL forget the error where this returns true; so it is kept here.
    """
    presented = _PRESENTED.get(connection)
    if presented is None:
        return True  # nobody will ask
    if not is_good:
        presented.has_fault = True
    elif depth == 0:
        presented.is_trusted = True
    return True


def tls_facts(connection: SSL.Connection, with_bindings: bool) -> TlsFacts:
    """The facts of a session whose handshake is complete; ``with_bindings`` where somebody may log in."""
    version = connection.get_protocol_version_name()
    presented = _PRESENTED.get(connection)
    leaf = None
    if presented is not None and presented.is_trusted and not presented.has_fault:
        leaf = connection.get_peer_certificate(as_cryptography=True)
    names = () if leaf is None else addresses(leaf)
    bindings = ChannelBindings()
    if with_bindings:
        end_point = connection.get_context().get_app_data()
        bindings = ChannelBindings(
            connection.export_keying_material(_EXPORTER_LABEL, _EXPORTER_OCTETS, b"") if version == "TLSv1.3" else b"",
            end_point if isinstance(end_point, bytes) else b"",
        )
    return TlsFacts(
        version, connection.get_cipher_name() or "", connection.get_cipher_bits() or 0, names, bindings,
        is_client_verified=leaf is not None, group=_group(connection),
    )


def _group(connection: SSL.Connection) -> str:
    try:
        found: str = connection.get_group_name() or ""
    except (AttributeError, NotImplementedError):  # an older pyOpenSSL, or an older OpenSSL below it
        return ""
    return found


def end_point(leaf: x509.Certificate) -> bytes:
    """What ``tls-server-end-point`` is bound to: the hash of a listener's own certificate; ``b""`` for none."""
    # RFC 5929 s4.1: the hash of its signature algorithm, but SHA-256 in place of MD5 and SHA-1; undefined for an
    # algorithm with no hash of its own, such as Ed25519.
    try:
        algorithm = leaf.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return b""
    if algorithm is None:
        return b""
    return leaf.fingerprint(hashes.SHA256() if isinstance(algorithm, hashes.MD5 | hashes.SHA1) else algorithm)


def addresses(leaf: x509.Certificate) -> tuple[str, ...]:
    """The mail addresses that a certificate is for; what is no address is left out."""
    # RFC 5280 s4.1.2.6: the subject's emailAddress is the old place, and counts where no alternative name is there.
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = alternative.get_values_for_type(x509.RFC822Name)
    except x509.ExtensionNotFound:
        found = []
    except ValueError:  # extensions that nobody can read
        return ()
    if not found:
        attributes = leaf.subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS)
        found = [a.value for a in attributes if isinstance(a.value, str)]
    parsed = [parse_mailbox(name) for name in found]
    return tuple(str(address) for address in dict.fromkeys(parsed) if address is not None)
