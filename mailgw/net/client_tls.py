"""TLS towards other servers: encrypted only, or with a certificate that is checked (RFC 5280, RFC 9525).

Protocol floor TLS 1.2 (RFC 8996).  Sessions are not resumed: a resumed one skips the certificate's check.
Not done: DANE, client certificates, revocation.
"""

import ipaddress

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer


class ClientTls:
    """One policy for connections: ``verifies`` says whether certificates are checked, against the PEM file
    ``ca_file`` or the system's authorities.

    Raises ``ValueError`` with one line where ``ca_file`` cannot be used.
    """

    def __init__(self, verifies: bool, ca_file: str | None) -> None:
        self.verifies = verifies
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | getattr(SSL, "OP_NO_RENEGOTIATION", 0))
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if verifies:
            try:
                if ca_file is not None:
                    context.load_verify_locations(ca_file)
                else:
                    context.set_default_verify_paths()
            except SSL.Error:
                raise ValueError(f"{ca_file}: not a readable PEM file of certificates") from None
            # The chain is OpenSSL's to check, in the handshake; the name is checked right behind it.
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        self._context = context

    def to(self, host: str) -> "Handshake":
        """For one connection to ``host``, a name or an address."""
        return Handshake(self._context, host, self.verifies)


@implementer(IOpenSSLClientConnectionCreator)
class Handshake:
    """One connection's TLS, for ``startTLS``.  ``verifies`` says whether the certificate is checked."""

    def __init__(self, context: SSL.Context, host: str, verifies: bool) -> None:
        self._context = context
        self._host = host
        self.verifies = verifies
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        self._connection = connection = SSL.Connection(self._context, None)
        # RFC 6066 s3: names only, no addresses, no trailing dot
        if not _is_address(self._host):
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection

    def name_fault(self) -> str | None:
        """Once the handshake is done: None where the certificate names the host, or need not; else why not.

        To be asked before anything is sent.
        """
        connection, self._connection = self._connection, None
        if not self.verifies:
            return None
        assert connection is not None
        try:
            if _is_address(self._host):
                verify_ip_address(connection, self._host)
            else:
                verify_hostname(connection, self._host)
        except (VerificationError, CertificateError, ValueError):  # the last of a name that no certificate can have
            return f"The certificate does not name {self._host}"
        return None


def tls_fault_text(fault: BaseException | None) -> str:
    """OpenSSL's words in one line, for a lost connection's reason."""
    details = fault.args[0] if fault is not None and fault.args else ""
    if isinstance(fault, SSL.Error) and isinstance(details, list) and details:
        return str(details[0][-1])[:200]
    return str(fault)[:200]


def is_tls_fault(fault: BaseException | None) -> bool:
    """Whether it is TLS that went wrong (a certificate, a version, an alert), not the connection under it."""
    return isinstance(fault, SSL.Error)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
