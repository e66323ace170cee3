"""Whether a certificate names who we wanted to reach (RFC 9525; RFC 6125 s6.4.4 where RFC 7672 s3.2.3 asks for it).

A reference is a host name in A-labels, an IP address as text, or ``".example.net"``, which stands for any one label
before it.  In a certificate, ``*`` counts as the whole first label of a name of at least three (RFC 9525 s6.3; that
there are three is our own: nobody may have a certificate for all of ``.com``).
"""

import ipaddress
from collections.abc import Iterable

import attrs
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# What cryptography raises for a certificate whose extensions, or whose names, cannot be read.
_UNREADABLE = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@attrs.frozen
class CertificateNames:
    """``hosts`` in lower case, wildcards among them; ``addresses`` as text; ``common_name`` of the subject, lower case,
    ``""`` where there is none or more than one."""

    hosts: tuple[str, ...]
    addresses: tuple[str, ...]
    common_name: str


def names_in(leaf: x509.Certificate) -> CertificateNames:
    """Never raises: what cannot be read is no name."""
    try:
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [name.lower() for name in alternative.get_values_for_type(x509.DNSName)]
        addresses = [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        hosts, addresses = [], []
    except _UNREADABLE:
        return CertificateNames((), (), "")
    try:
        common = [x.value for x in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except _UNREADABLE:
        common = []
    name = common[0].lower() if len(common) == 1 and isinstance(common[0], str) else ""
    return CertificateNames(tuple(hosts), tuple(addresses), name)


def is_named(names: CertificateNames, references: Iterable[str], with_common_name: bool) -> bool:
    """Whether the certificate is for one of ``references``.  ``with_common_name``: the subject's counts where there is
    no alternative host name at all."""
    hosts = names.hosts
    if not hosts and with_common_name and names.common_name:
        hosts = (names.common_name,)
    for reference in references:
        address = _address(reference)
        if address:
            if address in names.addresses:
                return True
        elif any(_is_for(host, reference.lower().rstrip(".")) for host in hosts):
            return True
    return False


def is_for_servers(leaf: x509.Certificate) -> bool:
    """Whether the certificate may be a TLS server's (RFC 5280 s4.2.1.12: it may where it does not say)."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except _UNREADABLE:
        return False
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def _is_for(host: str, reference: str) -> bool:
    label, dot, rest = host.partition(".")
    if reference.startswith("."):
        # Whatever the label is, a wildcard too: all that could stand there was meant.
        return bool(label) and bool(dot) and f".{rest}" == reference
    if label == "*":
        return "." in rest and reference.partition(".")[2] == rest and not reference.startswith("*")
    return bool(reference) and host == reference


def _address(reference: str) -> str:
    try:
        return str(ipaddress.ip_address(reference))
    except ValueError:
        return ""
