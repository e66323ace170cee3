"""Strangers' public keys: which are loaded at all, and how long that takes."""

import time

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.names import TlsaRecord
from mailgw.trust.dane import usable
from mailgw.trust.dkim_key import KeyFault, KeyRecord, LoadedKeys
from mailgw.trust.public_key import (
    LONGEST_CURVE_INFO_OCTETS,
    LONGEST_INFO_OCTETS,
    NotAKey,
    RsaNumbers,
    is_cheap_to_load,
    rsa_numbers,
)
from tests.slowed import SLOWED
from tests.tables import each
from tests.trust.hostile_keys import (
    ED25519,
    P256,
    RSA,
    bit_string,
    der,
    diffie_hellman,
    integer,
    recorded,
    rsa,
    sequence,
)

NUMBERS = RsaNumbers((1 << 2047) + 1, 65_537)
BARE = sequence(integer(NUMBERS.modulus), integer(NUMBERS.exponent))
INFO = rsa(BARE)
P256_INFO = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
    Encoding.DER, PublicFormat.SubjectPublicKeyInfo
)


def read(octets: bytes) -> RsaNumbers | str | None:
    try:
        return rsa_numbers(octets)
    except NotAKey:
        return "none"


@each(("octets", "found"), [
    (INFO, NUMBERS),
    (BARE, NUMBERS),
    (sequence(sequence(der(6, RSA)), bit_string(BARE)), NUMBERS),  # without NULL
    (P256_INFO, None),
    (sequence(sequence(der(6, ED25519)), bit_string(bytes(32))), None),
    (diffie_hellman(64), None),
    (b"", "none"),
    (b"0", "none"),
    (b"0\x80", "none"),
    (b"0\xff", "none"),
    (INFO[:-1], "none"),
    (INFO + b"\0", "none"),
    (sequence(sequence(der(6, RSA), der(5, b""), der(5, b"")), bit_string(BARE)), "none"),
    (sequence(sequence(der(6, RSA), der(4, b"")), bit_string(BARE)), "none"),
    (sequence(sequence(der(6, RSA), der(5, b"")), der(3, b"\1" + BARE)), "none"),
    (rsa(BARE + b"\0"), "none"),
    (rsa(sequence(integer(NUMBERS.modulus))), "none"),
    (rsa(sequence(integer(NUMBERS.modulus), integer(3), integer(3))), "none"),
    (rsa(sequence(integer(NUMBERS.modulus - 1), integer(3))), "none"),  # even
    (rsa(sequence(integer(NUMBERS.modulus), integer(4))), "none"),
    (rsa(sequence(integer(NUMBERS.modulus), der(2, b""))), "none"),
    (rsa(sequence(integer(NUMBERS.modulus), der(2, b"\x81"))), "none"),  # negative
    (rsa(sequence(integer(NUMBERS.modulus), der(2, b"\0\3"))), "none"),  # longer than it has to be
    (b"0\x81\x06" + integer(3) + integer(3), "none"),
    (b"0\x82\0\x06" + integer(3) + integer(3), "none"),
    (sequence(integer(3), integer(3)), RsaNumbers(3, 3)),
])
def test_which_numbers_a_key_has(octets: bytes, found: RsaNumbers | str | None) -> None:
    assert read(octets) == found


def test_longer_infos_are_not_read() -> None:
    def of(octets: int) -> bytes:
        return rsa(sequence(integer((1 << 8 * octets - 1) + 1), integer(3)))

    largest = next(of(octets) for octets in range(4000, 4100) if len(of(octets)) == LONGEST_INFO_OCTETS)
    assert isinstance(read(largest), RsaNumbers)
    assert is_cheap_to_load(largest)
    longer = of(LONGEST_INFO_OCTETS)
    assert read(longer) == "none"
    assert not is_cheap_to_load(longer)
    curve = sequence(sequence(der(6, ED25519)), bit_string(bytes(LONGEST_CURVE_INFO_OCTETS - 16)))
    assert len(curve) == LONGEST_CURVE_INFO_OCTETS
    assert is_cheap_to_load(curve)
    assert not is_cheap_to_load(sequence(sequence(der(6, ED25519)), bit_string(bytes(LONGEST_CURVE_INFO_OCTETS - 15))))


@given(st.integers(1, 1 << 1100), st.integers(1, 1 << 70))
def test_what_is_read_is_what_the_library_reads(modulus: int, exponent: int) -> None:
    octets = rsa(sequence(integer(modulus), integer(exponent)))
    found = read(octets)
    try:
        known = load_der_public_key(octets)
    except ValueError:
        return
    if isinstance(found, RsaNumbers):
        assert RSAPublicNumbers(found.exponent, found.modulus) == known.public_numbers()  # type: ignore[union-attr]  # RSA
    else:
        assert not modulus & 1


def test_which_keys_of_hosts_are_loaded() -> None:
    def info(key: object) -> bytes:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]  # of all kinds

    kept = [
        INFO, P256_INFO, info(ec.generate_private_key(ec.SECP521R1()).public_key()),
        info(ed25519.Ed25519PrivateKey.generate().public_key()), info(ed448.Ed448PrivateKey.generate().public_key()),
    ]
    # Of a curve that is written down: parameters are a sequence.
    explicit = sequence(sequence(der(6, P256[0]), sequence(integer(1))), bit_string(b"\4" + bytes(64)))
    signing = dsa.DSAParameterNumbers((1 << 1023) + 1, (1 << 159) + 1, 2)
    others = [
        info(x25519.X25519PrivateKey.generate().public_key()), diffie_hellman(2048), explicit,
        info(dsa.DSAPublicNumbers(3, signing).public_key()), P256_INFO[:-1], b"", b"x" * 100,
    ]
    assert [is_cheap_to_load(one) for one in kept] == [True] * len(kept)
    assert [is_cheap_to_load(one) for one in others] == [False] * len(others)
    assert len(usable([TlsaRecord(3, 1, 0, one) for one in [*kept, *others]])) == len(kept)


def test_keys_of_diffie_hellman_cost_nothing() -> None:
    """OpenSSL takes most of a second to find out that this prime is one, of 8192 bits a minute."""
    key = diffie_hellman(2048)
    before = time.process_time()
    assert LoadedKeys(10).loaded(KeyRecord("rsa", recorded(key), (), True, False, False)) is KeyFault.TYPE
    assert usable([TlsaRecord(3, 1, 0, key)]) == ()
    assert time.process_time() - before < 0.05 * SLOWED
