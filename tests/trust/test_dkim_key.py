"""Key records of DKIM, and loaded keys."""

import base64

import attrs
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mailgw.trust.dkim_key import (
    RECORD_OCTETS,
    KeyFault,
    KeyRecord,
    LoadedKeys,
    PublicKey,
    load_key,
    read_key_record,
)
from tests.tables import each
from tests.trust.dkim_mail import ED25519_RECORD, RSA_RECORD, rsa_key, rsa_record

DEFAULTS = KeyRecord("rsa", "AAAA", (), True, False, False)


@each(("record", "changes"), [
    (b"p=AAAA", {}),
    (b"v=DKIM1; p=AA AA", {}),
    (b" v = DKIM1 ;k=RSA;p=AAAA;", {}),
    (b"v=DKIM1; k=ed25519; p=AAAA", {"type": "ed25519"}),
    (b"v=DKIM1; k=new; p=AAAA", {"type": "new"}),
    (b"v=DKIM1; g=*; n=said to people; p=AAAA; x=y", {}),
    (b"h=sha1:SHA256; p=AAAA", {"hashes": ("sha1", "sha256")}),
    (b"h=; p=AAAA", {"hashes": ("",)}),
    (b"s=email; p=AAAA", {}),
    (b"s=*; p=AAAA", {}),
    (b"s=tlsrpt:*; p=AAAA", {}),
    (b"s=tlsrpt; p=AAAA", {"is_for_mail": False}),
    (b"t=y; p=AAAA", {"is_testing": True}),
    (b"t=s : y:z; p=AAAA", {"is_testing": True, "is_strict": True}),
    (b"p=" + b"A" * (RECORD_OCTETS - 2), {"key": "A" * (RECORD_OCTETS - 2)}),
])
def test_key_records(record: bytes, changes: dict[str, object]) -> None:
    assert read_key_record(record) == attrs.evolve(DEFAULTS, **changes)


@each(("record", "fault"), [
    (b"v=spf1 -all", KeyFault.NONE),
    (b"v=DKIM2; p=AAAA", KeyFault.NONE),
    (b"v=dkim1; p=AAAA", KeyFault.NONE),
    (b"v=DKIM10; p=AAAA", KeyFault.NONE),
    (b"p=AAAA; v=DKIM1", KeyFault.SYNTAX),
    (b"v=DKIM1", KeyFault.SYNTAX),
    (b"v=DKIM1; k=rsa", KeyFault.SYNTAX),
    (b"", KeyFault.SYNTAX),
    (b"some words", KeyFault.SYNTAX),
    (b"v=DKIM1; p=AAAA; p=AAAA", KeyFault.SYNTAX),
    (b"v=DKIM1; p=", KeyFault.REVOKED),
    (b"p= ;", KeyFault.REVOKED),
    (b";v=DKIM1; p=AAAA", KeyFault.SYNTAX),
    (b"v=DKIM1;; k=rsa; p=AAAA", KeyFault.SYNTAX),  # opendkim and dkimpy say the same
    (b"v=DKIM1; p=AAAA;;", KeyFault.SYNTAX),
    (b"p=" + b"A" * (RECORD_OCTETS - 1), KeyFault.SYNTAX),
])
def test_records_that_give_no_key(record: bytes, fault: KeyFault) -> None:
    assert read_key_record(record) is fault


def loaded(record: bytes) -> PublicKey | KeyFault:
    read = read_key_record(record)
    assert isinstance(read, KeyRecord)
    return load_key(read)


def record_of(octets: bytes, kind: str = "rsa") -> bytes:
    return f"k={kind}; p={base64.b64encode(octets).decode()}".encode()


def test_keys_of_each_size() -> None:
    for bits in (1024, 1025, 2048, 4096):
        found = loaded(rsa_record(bits))
        assert isinstance(found, PublicKey)
        assert found.bits == bits
    assert loaded(rsa_record(1023)) is KeyFault.SHORT
    assert loaded(rsa_record(4097)) is KeyFault.LONG
    assert isinstance(loaded(rsa_record(2048, (1 << 31) + 1)), PublicKey)
    assert loaded(rsa_record(2048, (1 << 32) + 1)) is KeyFault.EXPONENT
    found = loaded(ED25519_RECORD)
    assert isinstance(found, PublicKey)
    assert found.bits == 256


def test_both_forms_of_rsa_keys_are_taken() -> None:
    octets = rsa_key().key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    found, usual = loaded(record_of(octets)), loaded(RSA_RECORD)
    assert isinstance(found, PublicKey)
    assert isinstance(usual, PublicKey)
    assert found.key == usual.key


def test_what_is_no_key() -> None:
    ec = generate_private_key(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert loaded(record_of(ec)) is KeyFault.TYPE
    assert loaded(record_of(b"x" * 32, "new")) is KeyFault.TYPE
    assert loaded(record_of(b"x" * 32)) is KeyFault.SYNTAX
    assert loaded(record_of(b"x" * 31, "ed25519")) is KeyFault.SYNTAX
    assert loaded(b"p=A") is KeyFault.SYNTAX
    assert loaded(b"p=\xc3\xbc") is KeyFault.SYNTAX


def test_loaded_keys_are_remembered_up_to_a_bound() -> None:
    keys = LoadedKeys(2)
    records = [read_key_record(rsa_record(1024 + number)) for number in range(3)]
    first, second, third = (record for record in records if isinstance(record, KeyRecord))
    kept = keys.loaded(first)
    other = keys.loaded(second)
    assert keys.loaded(first) is kept
    assert len(keys) == 2
    keys.loaded(third)
    assert len(keys) == 2
    assert keys.loaded(first) is kept
    assert keys.loaded(second) is not other
    # What is no key is remembered as well; the same text of another kind is another key.
    assert keys.loaded(KeyRecord("new", "AAAA", (), True, False, False)) is KeyFault.TYPE
    assert keys.loaded(KeyRecord("rsa", "AAAA", (), True, False, False)) is KeyFault.SYNTAX
