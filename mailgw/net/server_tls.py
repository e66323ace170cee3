"""TLS for listeners: certificates from files, chosen by SNI, read again when the files change.

Protocol floor TLS 1.2 (RFC 8996 retires 1.0 and 1.1; RFC 8314 s4.1).  Not done: OCSP, revocation lists.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mailgw.net.tls_facts import end_point, judge, watch
from mailgw.trust.reference_names import is_named, names_in

log = Logger()

# <openssl/ssl.h>; pyOpenSSL has no name for it
SSL_MODE_RELEASE_BUFFERS = 0x10


@attrs.frozen
class CertificateFiles:
    """PEM files: the chain with the leaf first, and its key; ``client_ca`` are the authorities whose clients are asked
    for a certificate, None where nobody is asked."""

    certificate: str
    private_key: str
    client_ca: str | None = None


def load_context(files: CertificateFiles) -> SSL.Context:
    """A server context for one certificate.

    Raises ``ValueError`` with one line that names the files and what to do about them; the key's contents are
    never in it.
    """
    context, faults = _load(files)
    if faults:
        raise ValueError("; ".join(faults.values()))
    return context


def certificate_faults(files: CertificateFiles) -> Mapping[str, str]:
    """Why each file cannot be used, by its field in ``CertificateFiles``, each with the file's name; empty where
    ``load_context`` would succeed.  A pair that does not match is a fault of the key."""
    return _load(files)[1]


def _load(files: CertificateFiles) -> tuple[SSL.Context, dict[str, str]]:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | getattr(SSL, "OP_NO_RENEGOTIATION", 0)
    )
    # An idle session costs its buffers else: 10,000 of them are 300 MB.
    context.set_mode(SSL_MODE_RELEASE_BUFFERS)
    context.set_session_id(b"mailgw")
    faults = use_pair(context, files)
    if "certificate" in faults and files.private_key == files.certificate:
        return context, faults
    if files.client_ca is not None and (why := _unreadable(files.client_ca) or _ask_clients(context, files.client_ca)):
        faults["client_ca"] = f"{files.client_ca}: {why}"
    return context, faults


def use_pair(context: SSL.Context, files: CertificateFiles) -> dict[str, str]:
    """Give ``context`` the certificate and its key, to show them; as ``certificate_faults``, of these two."""
    faults: dict[str, str] = {}
    if why := _unreadable(files.certificate) or _certificate_fault(context, files):
        faults["certificate"] = f"{files.certificate}: {why}"
    if "certificate" in faults and files.private_key == files.certificate:
        return faults  # one file for both: its fault is told
    if why := _unreadable(files.private_key) or _key_fault(context, files, is_alone=bool(faults)):
        faults["private_key"] = f"{files.private_key}: {why}"
    return faults


def stamp(paths: Iterable[str | None]) -> tuple[object, ...]:
    """What changes when one of the files does."""
    found: list[object] = []
    for path in filter(None, paths):
        try:
            status = os.stat(path)
            found += [status.st_mtime_ns, status.st_size, status.st_ino]
        except OSError as fault:
            found.append(fault.errno)
    return tuple(found)


def _ask_clients(context: SSL.Context, path: str) -> str | None:
    """Ask clients for a certificate; what it is worth, ``tls_facts`` tells.  Why the file is unfit, or None."""
    try:
        context.load_verify_locations(path)
        # RFC 8446 s4.2.4: the client is told whom we trust, so that it finds the right one of its certificates.
        context.load_client_ca(path.encode())
    except SSL.Error:
        return "no PEM certificates of authorities"
    context.set_verify(SSL.VERIFY_PEER, judge)
    # A resumed session would show no certificate.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    return None


def is_exposed(path: str) -> bool:
    """Whether every user may read or write the file.  A group may: root's key is read by mailgw's group."""
    try:
        return bool(os.stat(path).st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:  # replaced at this moment: the next look tells
        return False


def _unreadable(path: str) -> str | None:
    try:
        with open(path, "rb") as opened:
            opened.read(1)  # a folder can be opened
    except OSError as fault:
        return f"{fault.strerror}; it must be readable by the user that mailgw runs as"
    return None


def _certificate_fault(context: SSL.Context, files: CertificateFiles) -> str | None:
    try:
        context.use_certificate_chain_file(files.certificate)
    except SSL.Error:
        return "not a PEM certificate chain"
    return None


def _key_fault(context: SSL.Context, files: CertificateFiles, is_alone: bool) -> str | None:
    """``is_alone``: no certificate was loaded, so the key belongs to none."""
    # Before OpenSSL sees it: that one asks the terminal for a pass phrase, in the middle of a start or a reload,
    # and waits.  (Its callback for pass phrases is deprecated in pyOpenSSL.)
    try:
        with open(files.private_key, "rb") as opened:
            load_pem_private_key(opened.read(), None)
    except TypeError:
        return f"the key is encrypted; decrypt it with: openssl pkey -in {files.private_key} -out PLAIN"
    except ValueError:
        return "not a PEM private key"
    except UnsupportedAlgorithm:
        return "a kind of key that cannot be used here; expected RSA or EC"
    stranger = f"does not belong to {files.certificate}"
    try:
        context.use_privatekey_file(files.private_key)
    except SSL.Error:
        return stranger  # OpenSSL compares the two when it has the certificate already
    try:
        if not is_alone:
            context.check_privatekey()  # a key of another kind is loaded without a word
    except SSL.Error:
        return stranger
    return None


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the TLS side of accepted connections; ``tls_facts`` tells what came of it.

    ``default`` names the certificate for clients that send no or an unknown name; ``others`` are chosen by
    the names in them.  ``changed`` looks at the files again; one that became unreadable leaves the old
    certificate in force and is logged.
    """

    def __init__(self, default: CertificateFiles, others: Mapping[str, CertificateFiles]) -> None:
        self._files = {"": default, **others}
        self._stamps: dict[str, tuple[object, ...]] = {}
        self._contexts: dict[str, SSL.Context] = {}
        self._names: dict[str, SSL.Context] = {}
        for name in self._files:
            self._load(name)
        self._index()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._contexts[""], None)
        watch(connection)
        return connection

    def reload(self) -> bool:
        """Read the files that changed since; whether anything did.  Cheap enough for every minute."""
        changed = False
        for name, files in self._files.items():
            if self._stamp(files) == self._stamps.get(name):
                continue
            try:
                self._load(name)
                changed = True
            except ValueError as fault:
                self._stamps[name] = self._stamp(files)  # say it once, not every minute
                log.error("TLS certificate not replaced: {why}", why=str(fault))
        if changed:
            self._index()
        return changed

    def _load(self, name: str) -> None:
        files = self._files[name]
        seen = self._stamp(files)
        context = load_context(files)
        if is_exposed(files.private_key):
            log.warn("TLS private key {path} is open to every user here: chmod o= it", path=files.private_key)
        context.set_tlsext_servername_callback(self._choose)
        context.set_app_data(end_point(leaf_of(files.certificate)))
        self._contexts[name] = context
        self._stamps[name] = seen

    def _stamp(self, files: CertificateFiles) -> tuple[object, ...]:
        return stamp((files.certificate, files.private_key, files.client_ca))

    def _index(self) -> None:
        self._names = {}
        for name, context in self._contexts.items():
            if name:
                for host in certificate_names(self._files[name].certificate):
                    self._names.setdefault(host, context)

    def _choose(self, connection: SSL.Connection) -> None:
        # RFC 6066 s3: an unknown name is no error, the default certificate answers.
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        context = self._names.get(name) or self._names.get("*." + name.partition(".")[2])
        if context is not None:
            connection.set_context(context)
            # The authorities go with the context; whether they are asked for does not.
            mode = context.get_verify_mode()
            if mode != connection.get_verify_mode():
                connection.set_verify(mode, judge)


def certificate_names(path: str) -> tuple[str, ...]:
    """The DNS names of the leaf certificate in a PEM file, in lower case; () where it names none."""
    try:
        names = leaf_of(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(n.lower() for n in names.get_values_for_type(x509.DNSName))


def is_certificate_for(path: str, host: str) -> bool:
    """Whether the leaf certificate in a PEM file names ``host``, as clients that verify it look for it."""
    return is_named(names_in(leaf_of(path)), [host], with_common_name=False)


def leaf_of(path: str) -> x509.Certificate:
    """The first certificate of a PEM file.  OSError, or ValueError where there is none."""
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificates(file.read())[0]


Chooser = Callable[[str | None], ServerTls | None]
"""Which TLS a listener uses, by the name in its ``tls`` key (None: ``[tls]`` itself)."""
