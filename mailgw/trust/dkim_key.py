"""The keys that signatures are verified with: their records in DNS, and loaded ones remembered (RFC 6376 s3.6; RFC 8301
s3.2 for sizes, RFC 8463 s4 for Ed25519).

Not done: g=, which RFC 6376 took out; n=, which is for people.
"""

import enum
import functools
import re
from collections import OrderedDict

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from mailgw.trust.dkim_tags import TagFault, base64_octets, items_of, tag_list, without_spaces
from mailgw.trust.public_key import NotAKey, rsa_numbers

# RFC 8301 s3.2: verifiers "MUST be able to validate signatures with keys ranging from 1024 bits to 4096 bits", and
# "MUST NOT consider signatures using RSA keys of less than 1024 bits as valid".  Above, the work grows.
SMALLEST_KEY_BITS = 1024
LARGEST_KEY_BITS = 4096
ED25519_KEY_BITS = 256
# Of RSA's exponent.  65537 has 17; one as long as the modulus would make a verification as dear as a hundred.
EXPONENT_BITS = 32
# Octets of a record.  A key of 4096 bits is 740 characters long.
RECORD_OCTETS = 4096
# Those of a few senders come again and again.
REMEMBERED = 256
REMEMBERED_OCTETS = 1024


class KeyFault(enum.Enum):
    """Why a record gives no key, or none for a signature: RFC 6376 s6.1.2 in its words, and what RFC 8301 adds."""

    NONE = "no key for signature"
    SYNTAX = "key syntax error"
    REVOKED = "key revoked"
    INAPPLICABLE = "inapplicable key"
    HASH = "inappropriate hash algorithm"
    TYPE = "inappropriate key algorithm"
    SHORT = f"key of less than {SMALLEST_KEY_BITS} bits"
    LONG = f"key of more than {LARGEST_KEY_BITS} bits"
    EXPONENT = f"key with an exponent of more than {EXPONENT_BITS} bits"


@attrs.frozen
class KeyRecord:
    """What a record says; ``key`` is the base64 of p= without white space, never ""."""

    type: str  # k=: "rsa", "ed25519", or what we do not know
    key: str
    hashes: tuple[str, ...]  # h=; (): any
    is_for_mail: bool  # s= has "email" or "*"
    is_testing: bool  # t=y
    is_strict: bool  # t=s: the domains of i= and d= are one


# s3.6.1: key-v-tag "DKIM1"; "if specified, this tag MUST be the first tag in the record"
_IS_OURS = re.compile(rb"[ \t\r\n]*v[ \t\r\n]*=[ \t\r\n]*DKIM1[ \t\r\n]*(?:;|\Z)")
_HAS_VERSION = re.compile(rb"[ \t\r\n]*v[ \t\r\n]*=")


def read_key_record(record: bytes) -> KeyRecord | KeyFault:
    """A TXT record's strings, joined.  ``KeyFault.NONE`` where the record is of another kind (v= is not DKIM1)."""
    return _remembered(record) if len(record) <= REMEMBERED_OCTETS else _read(record)


def _read(record: bytes) -> KeyRecord | KeyFault:
    if _HAS_VERSION.match(record) and not _IS_OURS.match(record):
        return KeyFault.NONE
    if len(record) > RECORD_OCTETS:
        return KeyFault.SYNTAX
    # "v=DKIM1;; k=rsa" is no tag-list by s3.2, and opendkim and dkimpy say so, too.
    tags = tag_list(record)
    if isinstance(tags, TagFault) or "p" not in tags:
        return KeyFault.SYNTAX
    if "v" in tags and not _IS_OURS.match(record):
        return KeyFault.SYNTAX  # not the first
    key = without_spaces(tags["p"])
    if not key:
        return KeyFault.REVOKED  # s3.6.1: "An empty value means that this public key has been revoked."
    flags = items_of(tags.get("t", ""))
    services = items_of(tags.get("s", "*"))
    return KeyRecord(
        tags.get("k", "rsa").lower(), key, items_of(tags["h"]) if "h" in tags else (),
        "*" in services or "email" in services, "y" in flags, "s" in flags,
    )


_remembered = functools.lru_cache(REMEMBERED)(_read)


@attrs.frozen
class PublicKey:
    """A key that signatures can be verified with."""

    key: RSAPublicKey | Ed25519PublicKey
    bits: int

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """Whether ``signature`` is this key's; ``digest``: the SHA-256 of what is signed.

        RFC 6376 s3.3: RSA by PKCS #1 v1.5; RFC 8463 s3: Ed25519 signs the SHA-256 of what is signed.
        """
        try:
            if isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, digest, PKCS1v15(), Prehashed(SHA256()))
            else:
                self.key.verify(signature, digest)
        except InvalidSignature:
            return False
        return True


class LoadedKeys:
    """Keys by their text, so that each is loaded once; at most ``limit``, the one longest unused goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys: OrderedDict[tuple[str, str], PublicKey | KeyFault] = OrderedDict()

    def __len__(self) -> int:
        return len(self._keys)

    def loaded(self, record: KeyRecord) -> PublicKey | KeyFault:
        name = (record.type, record.key)
        found = self._keys.get(name)
        if found is None:
            found = self._keys[name] = load_key(record)
            if len(self._keys) > self._limit:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(name)
        return found


def load_key(record: KeyRecord) -> PublicKey | KeyFault:
    """The key of a record, or what is wrong with it."""
    octets = base64_octets(record.key)
    if octets is None:
        return KeyFault.SYNTAX
    if record.type not in ("rsa", "ed25519"):
        return KeyFault.TYPE
    try:
        if record.type == "ed25519":
            return PublicKey(Ed25519PublicKey.from_public_bytes(octets), ED25519_KEY_BITS)
        # s3.6.1 wants RSAPublicKey, its examples and everybody have SubjectPublicKeyInfo: both are taken.
        numbers = rsa_numbers(octets)
        if numbers is None:
            return KeyFault.TYPE
        bits = numbers.modulus.bit_length()
        if bits < SMALLEST_KEY_BITS:
            return KeyFault.SHORT
        if bits > LARGEST_KEY_BITS:
            return KeyFault.LONG
        if numbers.exponent.bit_length() > EXPONENT_BITS:
            return KeyFault.EXPONENT
        return PublicKey(RSAPublicNumbers(numbers.exponent, numbers.modulus).public_key(), bits)
    except (NotAKey, ValueError, UnsupportedAlgorithm):
        return KeyFault.SYNTAX
