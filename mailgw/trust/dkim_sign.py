"""DKIM signatures, made (RFC 6376 s5, RFC 8301, RFC 8463): pure functions over header, body hash, key and time.

Not done: l= and z=, which help nobody; a selector or domain beyond ASCII is written as A-labels.

A message is signed by several keys at once, of RSA and Ed25519 (RFC 8463 s5: not everybody can verify the latter); none
of the signatures signs another.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from mailgw.trust.dkim_canon import Canon, SignedHeader
from mailgw.trust.dkim_key import LARGEST_KEY_BITS, SMALLEST_KEY_BITS
from mailgw.trust.dkim_signature import Algorithm

# What is signed once more than it is there, so that nobody can add one (RFC 6376 s5.4, s8.15): what readers are shown,
# and what decides how the body is read.
OVERSIGNED: Final = (
    "From", "Reply-To", "Subject", "Date", "To", "Cc", "Message-ID", "In-Reply-To", "References",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
)
# But not where there is none of these, since servers on the way add them (RFC 5321 s6.4; RFC 6409 s8.2, s8.3): Postfix
# does for clients of its own networks, whose smart host it is.
_ADDED: Final = frozenset({b"date", b"message-id"})
# What is signed where it is there (s5.4.1).  Lists put their own on top, and must be able to.
SIGNED: Final = (
    "Sender", "Resent-Date", "Resent-From", "Resent-To", "Resent-Cc", "List-Id", "List-Help", "List-Unsubscribe",
    "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
)
# In one h=.  Mail has some twenty; with thousands of fields of one name a signature would have tens of kilobytes, of
# each key, and longer lists are not read by everybody.
MOST_NAMES = 200
LINE_OCTETS = 78  # RFC 5322 s2.1.1
_NAMES_BREAK = re.compile(r"(?<=:)")


@attrs.frozen
class SigningKey:
    """A private key and where its public one is in DNS: ``domain`` and ``selector`` in A-labels."""

    domain: str
    selector: str
    key: RSAPrivateKey | Ed25519PrivateKey = attrs.field(repr=False)

    @property
    def algorithm(self) -> Algorithm:
        return Algorithm.RSA_SHA256 if isinstance(self.key, RSAPrivateKey) else Algorithm.ED25519_SHA256

    def record(self) -> str:
        """The TXT record that the domain has to publish at ``SELECTOR._domainkey.DOMAIN``."""
        public = self.key.public_key()
        if isinstance(self.key, RSAPrivateKey):
            octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            octets = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"v=DKIM1; k={self.algorithm.key_type}; p={base64.b64encode(octets).decode()}"

    def sign(self, octets: bytes) -> bytes:
        if isinstance(self.key, RSAPrivateKey):
            return self.key.sign(octets, PKCS1v15(), SHA256())
        return self.key.sign(hashlib.sha256(octets).digest())  # RFC 8463 s3


@attrs.frozen
class BadKey:
    """Why octets are no key to sign with, in a few words."""

    why: str


def read_signing_key(pem: bytes, domain: str, selector: str, is_proved: bool = False) -> SigningKey | BadKey:
    """The private key of a PEM file without a password.

    OpenSSL checks whether RSA's parts are what they should be, primes among them: 60 ms for 2048 bits, 400 for 4096,
    while no other thread runs.  With ``is_proved`` a signature is made and verified instead, which takes 2 and 6 ms:
    for keys that were checked once, and where mail must not wait.
    """
    try:
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=is_proved)
    except TypeError:
        return BadKey("it has a password")
    except (ValueError, UnsupportedAlgorithm):
        return BadKey("not a private key in PEM")
    if isinstance(key, RSAPrivateKey):
        # RFC 8301 s3.2: 1024 bits at least; verifiers need not take more than 4096.
        if not SMALLEST_KEY_BITS <= key.key_size <= LARGEST_KEY_BITS:
            return BadKey(f"RSA of {key.key_size} bits, not {SMALLEST_KEY_BITS} to {LARGEST_KEY_BITS}")
        if is_proved and not _is_whole(key):
            return BadKey("its parts are of no RSA key")
        return SigningKey(domain, selector, key)
    if isinstance(key, Ed25519PrivateKey):
        return SigningKey(domain, selector, key)
    return BadKey("neither RSA nor Ed25519")


def _is_whole(key: RSAPrivateKey) -> bool:
    try:
        key.public_key().verify(key.sign(b"", PKCS1v15(), SHA256()), b"", PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


@attrs.frozen
class SigningRules:
    """How messages are signed.  ``body_canon`` is that of the body hash.

    ``oversigned`` and ``signed``: names of fields, as ``OVERSIGNED`` and ``SIGNED``; From is signed in any case.
    ``lifetime_seconds``: for how long from now the signature counts (x=); None: for ever.
    """

    header_canon: Canon = Canon.RELAXED
    body_canon: Canon = Canon.RELAXED
    oversigned: tuple[str, ...] = OVERSIGNED
    signed: tuple[str, ...] = SIGNED
    lifetime_seconds: int | None = None


def signature_fields(
    header: bytes | SignedHeader, body_hash: bytes, keys: Sequence[SigningKey], rules: SigningRules, now: float
) -> bytes:
    """The DKIM-Signature fields of a message, one for each key, with their line ends; they go on top of ``header``.
    b"" where it has too many fields to be signed (``signed_names``).

    ``body_hash``: SHA-256 of the body in ``rules.body_canon`` (``dkim_canon.BodyHashes``).  ``now``: epoch seconds.
    """
    fields = header if isinstance(header, SignedHeader) else SignedHeader(header)
    names = signed_names(fields, rules)
    return b"" if names is None else b"".join([
        signed_field("DKIM-Signature: v=1", fields, names, body_hash, key, rules, now) + b"\r\n" for key in keys
    ])


def signed_field(
    opening: str, header: SignedHeader, names: Sequence[str], body_hash: bytes, key: SigningKey, rules: SigningRules,
    now: float,
) -> bytes:
    """One signature over ``names`` of ``header``, without its line end.

    ``opening``: the field's name and the tags of its own, such as ``"ARC-Message-Signature: i=1"``.
    """
    unsigned = _unsigned_field(opening, key, names, body_hash, rules, int(now))
    octets = header.signed_octets([name.lower().encode() for name in names], rules.header_canon, -1, unsigned)
    return unsigned + folded_base64(key.sign(octets))


def signed_names(header: SignedHeader, rules: SigningRules) -> list[str] | None:
    """s5.4.2: a name once for each of its fields, and over-signed ones once more (``_ADDED``: where there is one).
    None where that comes to more than ``MOST_NAMES``.

    RFC 5322 allows most of them once, and yet there is mail with two To fields: all are signed, so that nobody can add
    or take one, and whoever reads another than the next one reads at least what was written.
    """
    names: list[str] = []
    for lower, (name, extra) in _wanted_names(rules).items():
        count = header.count(lower)
        count += extra if count or lower not in _ADDED else 0
        count = max(count, 1) if lower == b"from" else count
        if len(names) + count > MOST_NAMES:
            return None
        names += [name] * count
    return names


@functools.lru_cache(10)
def _wanted_names(rules: SigningRules) -> Mapping[bytes, tuple[str, int]]:
    """By the name in lower case: the name as it is written, and how many are signed beside those that are there."""
    found: dict[bytes, tuple[str, int]] = {}
    for name, extra in (
        *((name, 1) for name in rules.oversigned), ("From", 0), *((name, 0) for name in rules.signed),
    ):
        found.setdefault(name.lower().encode(), (name, extra))
    return found


def _unsigned_field(
    opening: str, key: SigningKey, names: Sequence[str], body_hash: bytes, rules: SigningRules, now: int
) -> bytes:
    """The field up to ``b=``."""
    times = f"t={now};" if rules.lifetime_seconds is None else f"t={now}; x={now + rules.lifetime_seconds};"
    canons = f"{rules.header_canon.value}/{rules.body_canon.value}"
    lines = [
        f"{opening}; a={key.algorithm.value}; c={canons};",
        f"\td={key.domain}; s={key.selector};",
        f"\t{times}",
        *_folded_names(names),
        f"\tbh={base64.b64encode(body_hash).decode()};",
        "\tb=",
    ]
    return "\r\n".join(lines).encode("ascii")


def _folded_names(names: Sequence[str]) -> list[str]:
    lines = []
    line = "\th="
    for word in _NAMES_BREAK.split(":".join(names) + ";"):
        if len(line) + len(word) > LINE_OCTETS:
            lines.append(line)
            line = "\t  "
        line += word
    return [*lines, line]


def folded_base64(octets: bytes) -> bytes:
    """A signature as it stands behind ``b=``, in lines."""
    text = base64.b64encode(octets)
    step = LINE_OCTETS - len("\tb=")
    return b"\r\n\t  ".join(text[start:start + step] for start in range(0, len(text), step))
