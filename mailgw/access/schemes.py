"""Password schemes as Dovecot writes them: ``{SCHEME}hash``, ``{SCHEME.HEX}hash``, ``{SCHEME.B64}hash``.

Done: ARGON2ID, ARGON2I (RFC 9106), SCRAM-SHA-256 (RFC 7677), SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, SSHA512,
SSHA256, PLAIN.  Not done: the weak ones (MD5, SHA1, DES, NTLM), PBKDF2, SCRAM-SHA-1; SASLprep (RFC 4013) but for
SCRAM, whose clients do it, too.

Rules:
    A password is octets; whoever reads one as text encodes it in UTF-8 first.
    Everything here takes its time on purpose: never in the reactor's thread.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable

import argon2.low_level
import attrs
import bcrypt
from passlib.hash import sha256_crypt, sha512_crypt
from passlib.utils import saslprep

from mailgw.wire.sasl import ScramKeys
from mailgw.wire.scram import KEY_OCTETS, derive_keys

_STORED = re.compile(r"\{([A-Za-z0-9-]+)(?:\.([A-Za-z0-9]+))?\}")
_ARGON2 = re.compile(rb"\$argon2(id|i)(?:\$v=\d+)?\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+\Z")
_BLF = re.compile(rb"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}\Z")
# bcrypt knows no more of a password; Dovecot cuts there in silence, and so do we, or its users could not log in.
_BLF_OCTETS = 72

# RFC 9106 s4, second choice (64 MiB, 3 passes), but one lane, as Dovecot makes them: its library takes no other.
_ARGON2_PASSES = 3
_ARGON2_KIB = 65536
_ARGON2_LANES = 1
_ARGON2_SALT_OCTETS = 16
_ARGON2_HASH_OCTETS = 32

ARGON2ID = "ARGON2ID"
SCRAM = "SCRAM-SHA-256"
# Dovecot's form: iterations "," salt "," StoredKey "," ServerKey, the last three in base64.
_SCRAM_KEYS = re.compile(rb"([1-9]\d{3,7}),([A-Za-z0-9+/]+={0,2}),([A-Za-z0-9+/]{43}=),([A-Za-z0-9+/]{43}=)\Z")
# RFC 7677 s4: at least 4096.  What we make costs a client's phone some 0.1 s; what others made, us some seconds.
_SCRAM_LEAST, _SCRAM_OURS, _SCRAM_MOST = 4096, 100_000, 10_000_000


def fault_of(stored: str) -> str | None:
    """Why nobody could ever log in with what is stored, or None where it is well formed.

    The text names the scheme, never the hash.
    """
    match = _STORED.match(stored)
    if match is None:
        return "a password is stored as {SCHEME}hash; known schemes: " + _KNOWN
    scheme = _SCHEMES.get(match[1].upper())
    if scheme is None:
        return f"unknown password scheme {{{match[1]}}}; known schemes: {_KNOWN}"
    try:
        octets = _octets(stored[match.end():], match[2], scheme)
    except ValueError:
        return f"what follows {match[0]} is not in that encoding"
    if octets is None:
        return f"unknown encoding in {match[0]}; known: HEX, B64"
    return None if scheme.is_formed(octets) else f"what follows {match[0]} is no such hash"


def verify(password: bytes, stored: str) -> bool:
    """Whether ``password`` is the one that ``stored`` was made of.  Slow by design.

    Something that ``fault_of`` finds fault with verifies nothing.
    """
    match = _STORED.match(stored)
    if match is None or (scheme := _SCHEMES.get(match[1].upper())) is None:
        return False
    try:
        octets = _octets(stored[match.end():], match[2], scheme)
        return octets is not None and scheme.is_formed(octets) and scheme.is_made_of(password, octets)
    except ValueError:
        return False  # an encoding that is none, or a password longer than the scheme's library takes


def scram_keys(stored: str) -> ScramKeys | None:
    """The keys that are stored, None where it is another scheme or not well formed."""
    match = _STORED.match(stored)
    if match is None or match[1].upper() != SCRAM:
        return None
    try:
        octets = _octets(stored[match.end():], match[2], _SCHEMES[SCRAM])
    except ValueError:
        return None
    return None if octets is None else _keys_of(octets)


def make_hash(password: bytes, salt: bytes, scheme: str = ARGON2ID) -> str:
    """``{SCHEME}...`` for a passwd-file, ``scheme`` one of ``MADE``; ``salt`` is ``SALT_OCTETS`` of chance.

    Some 0.1 s; ARGON2ID takes 64 MiB.
    """
    if scheme == SCRAM:
        keys = derive_keys(_prepared(password), salt, _SCRAM_OURS)
        words = (base64.b64encode(x).decode() for x in (keys.salt, keys.stored_key, keys.server_key))
        return f"{{{SCRAM}}}{keys.iterations}," + ",".join(words)
    made = argon2.low_level.hash_secret(
        password, salt, _ARGON2_PASSES, _ARGON2_KIB, _ARGON2_LANES, _ARGON2_HASH_OCTETS, argon2.low_level.Type.ID
    )
    return "{ARGON2ID}" + made.decode("ascii")


SALT_OCTETS = _ARGON2_SALT_OCTETS
MADE = (ARGON2ID, SCRAM)


# --- the schemes -----------------------------------------------------------------------------------

@attrs.frozen
class _Scheme:
    """``is_formed(octets)`` is quick; ``is_made_of(password, octets)`` is called only with what is formed and
    may raise ValueError; ``encoding`` is the one without a suffix."""

    is_formed: Callable[[bytes], bool]
    is_made_of: Callable[[bytes, bytes], bool]
    encoding: str = ""


def _is_argon2(octets: bytes) -> bool:
    return _ARGON2.match(octets) is not None


def _argon2_made_of(password: bytes, octets: bytes) -> bool:
    kind = argon2.low_level.Type.ID if octets.startswith(b"$argon2id") else argon2.low_level.Type.I
    try:
        return argon2.low_level.verify_secret(octets, password, kind)
    except argon2.exceptions.VerificationError:  # a mismatch, or parameters that the library does not take
        return False


def _crypt(algorithm: type[sha256_crypt] | type[sha512_crypt]) -> _Scheme:
    def is_formed(octets: bytes) -> bool:
        try:
            return algorithm.from_string(octets).checksum is not None
        except ValueError:
            return False

    def is_made_of(password: bytes, octets: bytes) -> bool:
        return bool(algorithm.verify(password, octets))

    return _Scheme(is_formed, is_made_of)


def _is_blf(octets: bytes) -> bool:
    return _BLF.match(octets) is not None


def _blf_made_of(password: bytes, octets: bytes) -> bool:
    return bcrypt.checkpw(password[:_BLF_OCTETS], octets)


def _keys_of(octets: bytes) -> ScramKeys | None:
    match = _SCRAM_KEYS.match(octets)
    if match is None or not _SCRAM_LEAST <= (iterations := int(match[1])) <= _SCRAM_MOST:
        return None
    try:
        salt, stored_key, server_key = (binascii.a2b_base64(word, strict_mode=True) for word in match.groups()[1:])
    except binascii.Error:
        return None
    return ScramKeys(iterations, salt, stored_key, server_key) if len(server_key) == KEY_OCTETS else None


def _is_scram(octets: bytes) -> bool:
    return _keys_of(octets) is not None


def _scram_made_of(password: bytes, octets: bytes) -> bool:
    keys = _keys_of(octets)
    assert keys is not None
    # Others store what was typed, without SASLprep: for nearly all passwords that is the same.
    return any(
        hmac.compare_digest(derive_keys(form, keys.salt, keys.iterations).stored_key, keys.stored_key)
        for form in dict.fromkeys((_prepared(password), password))
    )


def _prepared(password: bytes) -> bytes:
    """RFC 5802 s2.2: Normalize() is SASLprep; what it forbids, and what is no text, stays as it is."""
    try:
        text: str = saslprep(password.decode("utf-8"))
    except ValueError:
        return password
    return text.encode("utf-8")


def _salted(algorithm: str) -> _Scheme:
    size = hashlib.new(algorithm).digest_size

    def is_formed(octets: bytes) -> bool:
        return len(octets) >= size

    def is_made_of(password: bytes, octets: bytes) -> bool:
        digest, salt = octets[:size], octets[size:]
        return hmac.compare_digest(hashlib.new(algorithm, password + salt).digest(), digest)

    return _Scheme(is_formed, is_made_of, "B64")


_ARGON2_SCHEME = _Scheme(_is_argon2, _argon2_made_of)
_SCHEMES = {
    "ARGON2ID": _ARGON2_SCHEME,
    "ARGON2I": _ARGON2_SCHEME,
    SCRAM: _Scheme(_is_scram, _scram_made_of),
    "SHA512-CRYPT": _crypt(sha512_crypt),
    "SHA256-CRYPT": _crypt(sha256_crypt),
    "BLF-CRYPT": _Scheme(_is_blf, _blf_made_of),
    "SSHA512": _salted("sha512"),
    "SSHA256": _salted("sha256"),
    "PLAIN": _Scheme(bool, hmac.compare_digest),
}
_KNOWN = ", ".join(_SCHEMES)


def _octets(text: str, suffix: str | None, scheme: _Scheme) -> bytes | None:
    """What is stored, decoded; None for an unknown encoding, ValueError where it is not in that encoding."""
    # A passwd-file may hold octets that are no UTF-8; whoever reads it keeps them by surrogates.
    raw = text.encode("utf-8", "surrogateescape")
    match (suffix or scheme.encoding).upper():
        case "":
            return raw
        case "HEX":
            return binascii.unhexlify(raw)
        case "B64" | "BASE64":
            # Dovecot writes the padding, other tools leave it out
            return base64.b64decode(raw.rstrip(b"=") + b"=" * (-len(raw.rstrip(b"=")) % 4), validate=True)
        case _:
            return None
