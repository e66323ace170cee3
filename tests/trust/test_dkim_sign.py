"""Signing: what a signature says, which fields it covers, keys; dkimpy and ourselves as readers."""

import base64
import re

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from mailgw.trust.dkim import DkimWord
from mailgw.trust.dkim_canon import Canon, body_hash
from mailgw.trust.dkim_sign import MOST_NAMES, BadKey, SigningKey, SigningRules, read_signing_key, signature_fields
from mailgw.trust.dkim_signature import Signature, read_signature
from tests.tables import each
from tests.trust.dkim_mail import (
    BODY,
    ED25519_RECORD,
    HEADER,
    NOW,
    RECORDS,
    RSA_RECORD,
    RSA_SECRET,
    ed25519_key,
    rsa_key,
    signed,
    verified,
)

BOTH = [rsa_key(), ed25519_key()]


def test_what_a_signature_says() -> None:
    rules = SigningRules(
        Canon.RELAXED, Canon.SIMPLE, oversigned=("From", "Cc"), signed=("Received", "Sender"), lifetime_seconds=86_400,
    )
    made = signature_fields(HEADER, b"h" * 32, [ed25519_key()], rules, NOW + 0.9)
    text = re.sub(rb"b=[^;]*\r\n\Z", b"b=", made)
    assert text == (
        b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/simple;\r\n"
        b"\td=football.example.com; s=brisbane;\r\n"
        b"\tt=1700000000; x=1700086400;\r\n"
        b"\th=From:From:Cc:Received;\r\n"
        b"\tbh=aGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGg=;\r\n"
        b"\tb="
    )
    read = read_signature(made.removesuffix(b"\r\n"))
    assert isinstance(read, Signature)
    assert read.names == (b"from", b"from", b"cc", b"received")
    assert (read.signed_at, read.expires_at, read.length) == (1_700_000_000, 1_700_086_400, None)


@each(("oversigned", "signed_too", "names"), [
    ((), (), "from"),
    ((), ("From", "Subject", "subject"), "from:subject"),
    (("Subject", "SUBJECT"), ("subject",), "subject:subject:from"),
    (("to", "from"), ("Received", "To"), "to:to:from:from:received"),
    # what is not there, and may not be added; but servers add these two
    (("Cc", "Date", "Message-ID"), (), "cc:from"),
])
def test_which_fields_are_signed(oversigned: tuple[str, ...], signed_too: tuple[str, ...], names: str) -> None:
    rules = SigningRules(oversigned=oversigned, signed=signed_too)
    read = read_signature(signature_fields(HEADER, b"h" * 32, [ed25519_key()], rules, NOW))
    assert isinstance(read, Signature)
    assert b":".join(read.names).decode() == names


def test_a_message_with_too_many_fields_is_not_signed() -> None:
    for name in ("Content-Transfer-Encoding", "List-Unsubscribe-Post", "To"):
        field = f"{name}: x\r\n".encode()
        fullest = next(count for count in range(MOST_NAMES // 2, 300) if not fields(field * (count + 1)))
        read = read_signature(fields(field * fullest))
        assert isinstance(read, Signature)
        assert len(read.names) == MOST_NAMES
        assert not fields(field * 2000)


def fields(more: bytes) -> bytes:
    return signature_fields(more + HEADER, b"h" * 32, [ed25519_key()], SigningRules(), NOW).removesuffix(b"\r\n")


def test_servers_add_what_is_missing_and_nobody_adds_a_second() -> None:
    added = b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <1@a.example>\r\n"
    assert [result.word for result in verified(added + signed())] == [DkimWord.PASS]
    assert [result.word for result in verified(added + signed(added + HEADER))] == [DkimWord.FAIL]


def test_both_keys_at_once_with_short_lines() -> None:
    made = signature_fields(HEADER, body_hash(BODY, Canon.RELAXED), BOTH, SigningRules(), NOW)
    assert all(len(line) <= 78 for line in made.split(b"\r\n"))
    results = verified(made + HEADER + BODY)
    assert [(result.word, result.algorithm, result.key_bits) for result in results] == [
        (DkimWord.PASS, "rsa-sha256", 1024), (DkimWord.PASS, "ed25519-sha256", 256),
    ]


def test_a_message_without_a_header() -> None:
    message = signed(b"\r\n", BODY)
    assert [result.word for result in verified(message)] == [DkimWord.PASS]
    assert [result.word for result in verified(b"From: a@b.example\r\n" + message)] == [DkimWord.FAIL]


FIELDS = st.lists(st.tuples(
    st.sampled_from(["From", "Subject", "To", "X-A", "subject ", "List-Id", "DKIM-Signature"]),
    st.lists(st.sampled_from([" ", "\t", "a", "b:c", "\r\n ", "\u00fc", ";b=x"]), max_size=6).map("".join),
), max_size=6).map(lambda fields: "".join(f"{name}:{body}\r\n" for name, body in fields).encode() + b"\r\n")
LINES = st.lists(st.sampled_from([b"\r\n", b" ", b"a", b"\t", b"."]), max_size=8).map(lambda found: b"".join(found))


@given(FIELDS, LINES, st.sampled_from(Canon), st.sampled_from(Canon), st.integers(1, 9))
@settings(max_examples=40)
def test_what_is_signed_verifies(header: bytes, body: bytes, one: Canon, other: Canon, chunk: int) -> None:
    message = signed(header, body, SigningRules(one, other))
    first = verified(message, chunk=chunk)[0]
    assert (first.word, first.reason) == (DkimWord.PASS, "signature verified")


# --- dkimpy as the other side -------------------------------------------------------------------------

def records(name: bytes, timeout: int = 5) -> bytes | None:
    found = RECORDS.get(name.decode().rstrip("."))
    return found[0] if found else None


@each(("header", "body"), [(header, body) for header in Canon for body in Canon])
def test_dkimpy_verifies_what_we_sign(header: Canon, body: Canon) -> None:
    import dkim

    for text in (BODY, b"", b"a\t \r\n\r\n"):
        for key in BOTH:
            message = signed(HEADER, text, SigningRules(header, body), key)
            assert dkim.verify(message, dnsfunc=records)
            assert not dkim.verify(message.replace(b"dinner", b"lunch"), dnsfunc=records)


@each(("header", "body"), [(header, body) for header in Canon for body in Canon])
def test_we_verify_what_dkimpy_signs(header: Canon, body: Canon) -> None:
    import dkim

    canons = header.value.encode(), body.value.encode()
    message = HEADER + BODY
    private = base64.b64encode(ed25519_key().key.private_bytes_raw())
    for algorithm, selector, secret in (
        (b"rsa-sha256", b"test", RSA_SECRET), (b"ed25519-sha256", b"brisbane", private),
    ):
        for length in (False, True):
            field = dkim.sign(
                message, selector, b"football.example.com", secret, canonicalize=canons, signature_algorithm=algorithm,
                length=length,
            )
            (result,) = verified(field + message, now=4e9)
            assert (result.word, result.unsigned_octets) == (DkimWord.PASS, 0)
            (result,) = verified(field + message + b"more\r\n", now=4e9)
            assert result.word is (DkimWord.POLICY if length else DkimWord.FAIL)


# --- keys ---------------------------------------------------------------------------------------------

def pem(key: Ed25519PrivateKey | RSAPrivateKey, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_keys_are_read_and_tell_their_records() -> None:
    found = read_signing_key(RSA_SECRET, "example.com", "a")
    assert isinstance(found, SigningKey)
    assert found.record().encode() == RSA_RECORD
    private = ed25519_key().key
    assert isinstance(private, Ed25519PrivateKey)
    found = read_signing_key(pem(private, NoEncryption()), "example.com", "a")
    assert isinstance(found, SigningKey)
    assert found.record().encode() == ED25519_RECORD


def test_a_key_that_is_proved_by_a_signature_is_the_same_and_a_broken_one_is_none() -> None:
    for secret in (RSA_SECRET, pem(Ed25519PrivateKey.generate(), NoEncryption())):
        whole, proved = (read_signing_key(secret, "example.com", "a", is_proved=one) for one in (False, True))
        assert isinstance(whole, SigningKey)
        assert isinstance(proved, SigningKey)
        assert proved.record() == whole.record()
    private = load_pem_private_key(RSA_SECRET, None)
    assert isinstance(private, RSAPrivateKey)
    parts = private.private_numbers()
    broken = RSAPrivateNumbers(
        parts.p, parts.q, parts.d + 2, parts.dmp1 + 2, parts.dmq1 + 2, parts.iqmp, parts.public_numbers,
    ).private_key(unsafe_skip_rsa_key_validation=True)
    found = read_signing_key(pem(broken, NoEncryption()), "example.com", "a", is_proved=True)
    assert found == BadKey("its parts are of no RSA key")


def test_what_is_no_key_to_sign_with() -> None:
    private = ed25519_key().key
    assert isinstance(private, Ed25519PrivateKey)
    ec = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for octets, why in (
        (b"", "not a private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "not a private key in PEM"),
        (pem(private, BestAvailableEncryption(b"secret")), "it has a password"),
        (ec, "neither RSA nor Ed25519"),
    ):
        assert read_signing_key(octets, "example.com", "a") == BadKey(why)
