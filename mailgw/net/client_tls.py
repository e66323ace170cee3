"""TLS towards other servers: handshakes, and what they are judged by (RFC 5280, RFC 7671, RFC 8446, RFC 9525).

``trust.tls_policy`` says what is demanded and judges; here is what OpenSSL has to say of it: the chain that the server
showed, and whether it leads to an anchor.  OpenSSL itself refuses no certificate: it cannot know what usage 3 of DANE
makes of one, and a refusal of its own would not say why.

Rules:
    Protocol floor TLS 1.2 (RFC 8996).
    Nothing is sent before ``judge`` was asked, and nothing after it says no.
    In a resumed session the server shows no certificate: what is judged is the chain that it showed when the session
    began, by the demand and the dates of now.  Sessions are kept by server and demand all the same, so that nothing
    passes from one policy to another; for DANE there are none: its records say which key the server has today.
Not done: revocation.
"""

import ipaddress
from collections.abc import Callable, Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL
from OpenSSL.crypto import (
    FILETYPE_ASN1,
    X509,
    X509Store,
    X509StoreContext,
    X509StoreContextError,
    X509StoreFlags,
    dump_certificate,
    load_certificate,
)
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mailgw.mail.outcome import Secured
from mailgw.mail.tls_result import TlsFailure
from mailgw.net.server_tls import CertificateFiles, stamp, use_pair
from mailgw.net.tls_sessions import KeptSessions
from mailgw.trust.dane import read_certificate
from mailgw.trust.reference_names import is_for_servers
from mailgw.trust.tls_policy import Demand, Fault, Judgement, Level, judge

log = Logger()

# A longer chain than any authority's; each certificate of it costs a signature's check.
LONGEST_CHAIN = 10

# Of the chain in a session that is kept: usual ones have 4 KiB, OpenSSL takes 100, and there may be a thousand of them.
KEPT_OCTETS = 16 * 1024

# An update of the system's authorities changes many files, somewhere; it is seen by tomorrow.
READ_AGAIN_SECONDS = 86400.0

# For signatures: whoever can make two texts with one digest can have one signed, and show the other.  No authority has
# issued such certificates since 2016 (CA/Browser Forum, Baseline Requirements s7.1.3).
_BROKEN_DIGESTS = ("md5", "sha1")

_EXPIRED = (SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED, SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID)
_UNTRUSTED = (
    SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT,
    SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    SSL.X509VerificationCodes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
    SSL.X509VerificationCodes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
    SSL.X509VerificationCodes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
    SSL.X509VerificationCodes.ERR_CERT_UNTRUSTED,
    SSL.X509VerificationCodes.ERR_CERT_REJECTED,
)


class ClientTls:
    """One backend's TLS.  ``ca_file`` (PEM) takes the place of the system's authorities; ``own`` is the certificate
    that a server is shown who asks for one, with its key.  ``seconds`` is a monotonic clock.

    Raises ``ValueError`` with one line where a file cannot be used.
    """

    def __init__(self, ca_file: str | None, own: CertificateFiles | None, seconds: Callable[[], float]) -> None:
        self._ca_file = ca_file
        self._own = own
        self._seconds = seconds
        self._seen = self._stamp()
        self._load()

    def reload(self) -> None:
        """Read the files again where one has changed, and the system's authorities once a day; what cannot be used is
        logged, and the old ones stay."""
        seen = self._stamp()
        if seen == self._seen and self._seconds() - self._read < READ_AGAIN_SECONDS:
            return
        self._seen = seen
        try:
            self._load()
        except ValueError as fault:
            log.error("TLS towards other servers not changed: {why}", why=str(fault))

    def _stamp(self) -> tuple[object, ...]:
        own = self._own
        return stamp((self._ca_file, *(() if own is None else (own.certificate, own.private_key))))

    def _load(self) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | getattr(SSL, "OP_NO_RENEGOTIATION", 0))
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # KeptSessions is the cache
        if self._own is not None and (faults := use_pair(context, self._own)):
            raise ValueError("; ".join(faults.values()))
        self._read = self._seconds()
        self._paths = CertificatePaths(self._ca_file)
        self._context = context
        self._kept = KeptSessions()  # a session belongs to its context

    def to(self, demand: Demand, peer: str) -> "Handshake":
        """For one connection to ``peer``, whose name is the same for the same server, of whom ``demand`` is asked."""
        return Handshake(self._context, demand, peer, self._paths, self._kept, self._seconds)


@implementer(IOpenSSLClientConnectionCreator)
class Handshake:
    """One connection's TLS, for ``startTLS``; then ``judge``, once; then, where wanted, ``keep``.

    ``chain`` is what the server showed once it was judged, its own certificate first (DER).
    """

    def __init__(
        self,
        context: SSL.Context,
        demand: Demand,
        peer: str,
        paths: "CertificatePaths",
        kept: KeptSessions,
        seconds: Callable[[], float],
    ) -> None:
        self.demand = demand
        self.chain: tuple[bytes, ...] = ()
        self._context = context
        self._paths = paths
        self._kept = kept
        self._seconds = seconds
        self._key = (peer, demand)
        self._judgement: Judgement | None = None
        self._shown: float | None = None  # when a resumed session's certificate was
        self._connection: SSL.Connection | None = None

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        self._connection = connection = SSL.Connection(self._context, None)
        # RFC 6066 s3: names only, no addresses, no trailing dot
        name = self.demand.server_name
        if name and not _is_address(name):
            connection.set_tlsext_host_name(name.encode("ascii"))
        if self.demand.level is not Level.DANE:
            kept = self._kept.take(self._key, self._seconds())
            if kept is not None:
                session, self._shown = kept
                connection.set_session(session)
        return connection

    def judge(self) -> Judgement:
        """Once the handshake is done, before anything is sent: whether the server is who was demanded."""
        connection = self._connection
        assert connection is not None
        self.chain = _chain(connection)
        self._judgement = judge(self.demand, self.chain, self._paths)
        return self._judgement

    def secured(self) -> Secured:
        """After ``judge``: what was negotiated."""
        connection, judgement = self._connection, self._judgement
        assert connection is not None
        assert judgement is not None
        version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name() or ""
        return Secured(version, cipher, judgement.verified.value)

    def keep(self) -> None:
        """Once more was read than the handshake: the server's ticket is here, for another connection (RFC 8446 s4.6.1).

        Does nothing for DANE, or where the server gave none, or has too long a chain.
        """
        connection, self._connection = self._connection, None
        if connection is None or self._judgement is None or self.demand.level is Level.DANE:
            return
        if len(self.chain) >= LONGEST_CHAIN or sum(map(len, self.chain)) > KEPT_OCTETS:
            return
        session = connection.get_session()
        if session is not None and self._judgement.may_go_on:
            # Where it was not taken up, this is older than the truth, which costs a handshake earlier.
            self._kept.give(self._key, session, self._seconds() if self._shown is None else self._shown)


class CertificatePaths:
    """``tls_policy.Paths`` by OpenSSL.  The system's authorities are read when they are first needed.

    Raises ``ValueError`` with one line where ``ca_file`` cannot be used.
    """

    def __init__(self, ca_file: str | None) -> None:
        self._system: SSL.Context | None = None
        self._authorities: X509Store | None = None
        if ca_file is not None:
            self._authorities = store = X509Store()
            try:
                store.load_locations(ca_file)
            except (SSL.Error, CryptoError):
                raise ValueError(f"{ca_file}: not a readable PEM file of certificates") from None

    def fault(self, chain: Sequence[bytes], anchors: Sequence[bytes] | None) -> Fault | None:
        """As ``Paths`` has it."""
        try:
            leaf, *others = [load_certificate(FILETYPE_ASN1, der) for der in chain[:LONGEST_CHAIN]]
            store = self._system_or_file() if anchors is None else _store(anchors)
        except CryptoError:
            return Fault(TlsFailure.VALIDATION_FAILURE, "The certificate cannot be read")
        try:
            path = X509StoreContext(store, leaf, others).get_verified_chain()
        except X509StoreContextError as fault:
            return Fault(_kind(fault), f"The certificate is not trusted: {str(fault.args[0])[:200]}")
        why = _unfit([dump_certificate(FILETYPE_ASN1, certificate) for certificate in path])
        return Fault(TlsFailure.CERTIFICATE_NOT_TRUSTED, f"The certificate is not trusted: {why}") if why else None

    def _system_or_file(self) -> X509Store:
        if self._authorities is None:
            # Only a context knows how to find them, and its store lives no longer than it does.
            self._system = SSL.Context(SSL.TLS_CLIENT_METHOD)
            self._system.set_default_verify_paths()
            self._authorities = self._system.get_cert_store()
        assert self._authorities is not None
        return self._authorities


def _store(anchors: Sequence[bytes]) -> X509Store:
    # RFC 7671 s5.2: whoever a record names is an anchor, also one below a root.
    store = X509Store()
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    for anchor in anchors:
        store.add_cert(load_certificate(FILETYPE_ASN1, anchor))
    return store


def _unfit(path: Sequence[bytes]) -> str:
    """What OpenSSL asks of a path where it verifies a server's itself, and not where it is not told what a path is for;
    "" where nothing is wrong.  Of the anchor, the last one, nothing is asked."""
    for place, der in enumerate(path[:-1]):
        certificate = read_certificate(der)
        if certificate is None:
            return "a certificate of its path cannot be read"
        # An authority that may issue for mail or for clients alone is held to no server's name by whoever made it one.
        if place and not is_for_servers(certificate):
            return "its issuer may not issue certificates for servers"
        try:
            digest = certificate.signature_hash_algorithm
        except UnsupportedAlgorithm:
            return "its path has a signature that is not known"
        if digest is not None and digest.name in _BROKEN_DIGESTS:
            return f"its path has a signature by {digest.name.upper()}"
    return ""


def _kind(fault: X509StoreContextError) -> TlsFailure:
    code = fault.errors[0]
    if code in _EXPIRED:
        return TlsFailure.CERTIFICATE_EXPIRED
    return TlsFailure.CERTIFICATE_NOT_TRUSTED if code in _UNTRUSTED else TlsFailure.VALIDATION_FAILURE


def _chain(connection: SSL.Connection) -> tuple[bytes, ...]:
    certificates: Sequence[X509] = connection.get_peer_cert_chain() or ()
    return tuple(dump_certificate(FILETYPE_ASN1, certificate) for certificate in certificates[:LONGEST_CHAIN])


def tls_fault_text(fault: BaseException | None) -> str:
    """OpenSSL's words in one line, for a lost connection's reason."""
    details = fault.args[0] if fault is not None and fault.args else ""
    if isinstance(fault, SSL.Error) and isinstance(details, list) and details:
        return str(details[0][-1])[:200]
    return str(fault)[:200]


def is_tls_fault(fault: BaseException | None) -> bool:
    """Whether it is TLS that went wrong (a version, an alert), not the connection under it."""
    return isinstance(fault, SSL.Error)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
