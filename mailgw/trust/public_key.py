"""Public keys that strangers publish, told apart before any library looks at them (RFC 5280 s4.1.2.7; RFC 8017 A.1.1
for RSA's, RFC 5480 s2.1.1 for those of named curves, RFC 8410 s4 for Ed25519 and Ed448).

Rules:
    OpenSSL takes keys of many kinds, and to find out whether one of Diffie-Hellman is any good it looks for primes:
    a minute and more for one of 8192 bits.  So the kind is read first, from the octets, and nothing is loaded but what
    is cheap to load.
    Work grows with the octets alone; a number is made of them once.
"""

from typing import Final

import attrs

# Object identifiers, as DER has their contents.
_RSA: Final = bytes.fromhex("2a864886f70d010101")  # 1.2.840.113549.1.1.1, rsaEncryption
_EC: Final = bytes.fromhex("2a8648ce3d0201")  # 1.2.840.10045.2.1, id-ecPublicKey
_ED: Final = (bytes.fromhex("2b6570"), bytes.fromhex("2b6571"))  # 1.3.101.112 and 1.3.101.113

_INTEGER, _BIT_STRING, _NULL, _OBJECT, _SEQUENCE = 0x02, 0x03, 0x05, 0x06, 0x30

LONGEST_INFO_OCTETS: Final = 4096
"""Of a key with what stands around it; RSA's of 16384 bits, more than OpenSSL verifies with, has 2082."""
LONGEST_CURVE_INFO_OCTETS: Final = 512
"""Of a key on a curve; that of sect571r1, the largest that has a name in TLS, has 167."""


class NotAKey(Exception):
    """The octets are no public key in DER."""


@attrs.frozen
class RsaNumbers:
    """Of a key of RSA: positive, and odd; no more is known of them."""

    modulus: int
    exponent: int


def rsa_numbers(octets: bytes) -> RsaNumbers | None:
    """The key of RSA that ``octets`` (DER) are, as SubjectPublicKeyInfo or as RSAPublicKey alone; None where they are
    a key of another kind.  NotAKey where they are none, or longer than ``LONGEST_INFO_OCTETS``."""
    if len(octets) > LONGEST_INFO_OCTETS:
        raise NotAKey
    parts = _Reader(octets).only(_SEQUENCE)
    if parts.has(_INTEGER):
        return _numbers(parts)
    kind, key = _info(parts)
    return _numbers(_Reader(key).only(_SEQUENCE)) if kind == _RSA else None


def is_cheap_to_load(info: bytes) -> bool:
    """Whether a SubjectPublicKeyInfo (DER) is one of RSA, of a curve that is told by its name, of Ed25519 or Ed448, and
    not longer than such keys are: what OpenSSL loads without long computations."""
    if len(info) > LONGEST_INFO_OCTETS:
        return False
    try:
        parts = _Reader(info).only(_SEQUENCE)
        algorithm = parts.next(_SEQUENCE)
        kind = algorithm.contents(_OBJECT)
        if kind == _RSA:
            return rsa_numbers(info) is not None
        if len(info) > LONGEST_CURVE_INFO_OCTETS:
            return False
        # RFC 5480 s2.1.1: parameters MUST be namedCurve, an identifier; a curve that is written down needs a proof.
        return kind in _ED or (kind == _EC and algorithm.has(_OBJECT))
    except NotAKey:
        return False


def _info(parts: "_Reader") -> tuple[bytes, bytes]:
    """The algorithm and the key of what stands in a SubjectPublicKeyInfo."""
    # SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    algorithm = parts.next(_SEQUENCE)
    kind = algorithm.contents(_OBJECT)
    if kind == _RSA and not algorithm.is_at_end():  # RFC 8017 A.1: NULL, which some leave out
        algorithm.contents(_NULL)
        algorithm.end()
    bits = parts.contents(_BIT_STRING)
    parts.end()
    if bits[:1] != b"\0":  # the number of bits that are not used
        raise NotAKey
    return kind, bits[1:]


def _numbers(parts: "_Reader") -> RsaNumbers:
    # RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }
    modulus, exponent = parts.number(), parts.number()
    parts.end()
    if not modulus & exponent & 1:  # with an even one there is no key, and OpenSSL has no words for it
        raise NotAKey
    return RsaNumbers(modulus, exponent)


class _Reader:
    """Elements of DER (X.690 s10.1), one behind the other; NotAKey where the next is not what it has to be."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def is_at_end(self) -> bool:
        return self._at == len(self._octets)

    def end(self) -> None:
        if not self.is_at_end():
            raise NotAKey

    def has(self, tag: int) -> bool:
        return self._octets[self._at:self._at + 1] == bytes([tag])

    def only(self, tag: int) -> "_Reader":
        """What stands in the one element that there is."""
        found = self.next(tag)
        self.end()
        return found

    def next(self, tag: int) -> "_Reader":
        return _Reader(self.contents(tag))

    def contents(self, tag: int) -> bytes:
        octets, begin = self._octets, self._at + 2
        if not self.has(tag) or begin > len(octets):
            raise NotAKey
        size = octets[begin - 1]
        if size & 0x80:
            count = size & 0x7F
            digits = octets[begin:begin + count]
            size = int.from_bytes(digits[:4], "big")
            # X.690 s10.1: "the minimum number of octets"
            if not 1 <= count == len(digits) <= 4 or size < 0x80 or not digits[0]:
                raise NotAKey
            begin += count
        self._at = begin + size
        if self._at > len(octets):
            raise NotAKey
        return octets[begin:self._at]

    def number(self) -> int:
        """A positive INTEGER."""
        octets = self.contents(_INTEGER)
        # X.690 s8.3.2: the first nine bits are not all the same
        if not octets or octets[0] & 0x80 or (octets[0] == 0 and not octets[1:2] >= b"\x80"):
            raise NotAKey
        return int.from_bytes(octets, "big")
