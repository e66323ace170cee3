"""Certificates by DNS: which TLSA records count, and what they match (RFC 6698, RFC 7671, RFC 7672 s3).

Rules:
    Only usages 2 (DANE-TA) and 3 (DANE-EE) count for SMTP (RFC 7672 s3.1.3); a record that cannot be understood is
    unusable, and never matches.
    Of digests, the strongest that is published for a usage and selector counts alone (RFC 7671 s9).
    Usage 3 says all: names, dates and issuers in the certificate mean nothing (RFC 7671 s5.1).
    Usage 2 says who issued it: the path to the anchor, the dates and the names are the caller's to check
    (``tls_policy.judge``).
Not done: usages 0 and 1; a public key as a whole in a record of usage 2 whose certificate the server does not show.
"""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailgw.mail.names import TlsaRecord
from mailgw.trust.public_key import is_cheap_to_load

DANE_TA: Final = 2
DANE_EE: Final = 3
CERTIFICATE: Final = 0
PUBLIC_KEY: Final = 1
FULL: Final = 0

# Of one host; an answer has room for more than a thousand, each of which costs a look at every certificate.  A host has
# two for each of its keys; whoever has more is held to the first ones, which asks for no less.
MOST_RECORDS: Final = 100

# RFC 6698 s2.1.3, weakest first; the octets that each has.
_DIGESTS = {1: hashlib.sha256, 2: hashlib.sha512}
_OCTETS = {number: digest().digest_size for number, digest in _DIGESTS.items()}


def usable(records: Iterable[TlsaRecord]) -> tuple[TlsaRecord, ...]:
    """Those that can authenticate an SMTP server, without those that a stronger digest makes void; ``()`` where there
    are none, and RFC 7672 s2.2 then asks for encryption alone."""
    understood = (record for record in dict.fromkeys(records) if _is_understood(record))
    known = list(itertools.islice(understood, MOST_RECORDS))
    best: dict[tuple[int, int], int] = {}
    for record in known:
        pair = record.usage, record.selector
        best[pair] = max(best.get(pair, FULL), record.matching)
    # RFC 7671 s9: per usage and selector; what is there as a whole is no digest, and always counts.
    return tuple(r for r in known if r.matching in (FULL, best[r.usage, r.selector]))


def matches(record: TlsaRecord, certificate: bytes) -> bool:
    """Whether ``certificate`` (DER) is the one that a usable ``record`` means, or has its public key."""
    try:
        part = certificate if record.selector == CERTIFICATE else public_key_info(certificate)
    except ValueError:
        return False
    return record.data == (part if record.matching == FULL else _DIGESTS[record.matching](part).digest())


def matches_end(records: Iterable[TlsaRecord], leaf: bytes) -> bool:
    """Whether a usable record of usage 3 is the server's own certificate."""
    return any(record.usage == DANE_EE and matches(record, leaf) for record in records)


def anchors(records: Iterable[TlsaRecord], chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """The certificates that usable records of usage 2 trust: those of the server's chain, behind its own, that one
    matches, and those that stand in a record as a whole (RFC 7671 s5.2).  All DER."""
    wanted = [record for record in records if record.usage == DANE_TA]
    shown = [issuer for issuer in chain[1:] if any(matches(record, issuer) for record in wanted)]
    # RFC 7671 s5.2.2: with "2 0 0" the server may leave its anchor out of the chain.
    whole = [record.data for record in wanted if (record.selector, record.matching) == (CERTIFICATE, FULL)]
    return tuple(dict.fromkeys(shown + whole))


def shown(record: TlsaRecord) -> str:
    """As zone files have it (RFC 6698 s2.2): ``"3 1 1 0123..."``."""
    return f"{record.usage} {record.selector} {record.matching} {record.data.hex()}"


def public_key_info(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate, its octets as they stand there (RFC 6698 s2.1.2); both DER.

    ValueError where it is none.  The key itself is not looked at: it may be of a kind that nobody here knows, and
    written anew it might have other octets.
    """
    # RFC 5280 s4.1: Certificate ::= SEQUENCE { tbsCertificate SEQUENCE {
    #   version [0] EXPLICIT OPTIONAL, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, ...
    start, _ = _inside(certificate, 0, len(certificate), 0x30)
    at, end = _inside(certificate, start, len(certificate), 0x30)
    if certificate[at:at + 1] == b"\xa0":
        _, at = _inside(certificate, at, end, 0xA0)
    for tag in (0x02, 0x30, 0x30, 0x30, 0x30):
        _, at = _inside(certificate, at, end, tag)
    _, behind = _inside(certificate, at, end, 0x30)
    return certificate[at:behind]


def read_certificate(octets: bytes) -> x509.Certificate | None:
    """What DER says, None where it is no certificate that can be read."""
    try:
        return x509.load_der_x509_certificate(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None


def _inside(octets: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the contents of the element at ``at`` begin and end; it must have the tag and end before ``end``."""
    if at + 2 > end or octets[at] != tag:
        raise ValueError("not the element of a certificate that belongs there")
    size, begin = octets[at + 1], at + 2
    if size & 0x80:
        count = size & 0x7F
        begin += count
        if not 1 <= count <= 4 or begin > end:
            raise ValueError("a length that is none")
        size = int.from_bytes(octets[at + 2:begin], "big")
    if begin + size > end:
        raise ValueError("an element that is longer than what it stands in")
    return begin, begin + size


def _is_understood(record: TlsaRecord) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if record.matching != FULL:
        return len(record.data) == _OCTETS.get(record.matching)
    if record.selector == CERTIFICATE:
        return read_certificate(record.data) is not None
    if not is_cheap_to_load(record.data):
        return False
    try:
        load_der_public_key(record.data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True
