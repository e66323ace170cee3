"""TLSA records: which count, which match, which anchor a chain."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.names import TlsaRecord
from mailgw.trust.dane import MOST_RECORDS, anchors, matches, matches_end, public_key_info, shown, usable
from tests.tables import each
from tests.trust.certificates import issued, middle_der, root_der

LEAF = issued("mx.example.org").leaf
CHAIN = issued("mx.example.org").chain
KEY = x509.load_der_x509_certificate(LEAF).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sha256(octets: bytes) -> bytes:
    return hashlib.sha256(octets).digest()


def sha512(octets: bytes) -> bytes:
    return hashlib.sha512(octets).digest()


@each(
    ("record", "is_usable"),
    [
        (TlsaRecord(0, 0, 1, bytes(32)), False),  # RFC 7672 s3.1.3: PKIX-TA and PKIX-EE are for no SMTP server
        (TlsaRecord(1, 1, 1, bytes(32)), False),
        (TlsaRecord(2, 0, 1, bytes(32)), True),
        (TlsaRecord(3, 1, 1, bytes(32)), True),
        (TlsaRecord(3, 1, 2, bytes(64)), True),
        (TlsaRecord(3, 1, 1, bytes(31)), False),  # no SHA-256 has that length
        (TlsaRecord(3, 1, 1, bytes(33)), False),
        (TlsaRecord(3, 1, 2, bytes(32)), False),
        (TlsaRecord(3, 1, 1, b""), False),
        (TlsaRecord(4, 1, 1, bytes(32)), False),
        (TlsaRecord(255, 1, 1, bytes(32)), False),  # PrivCert
        (TlsaRecord(3, 2, 1, bytes(32)), False),
        (TlsaRecord(3, 1, 3, bytes(32)), False),
        (TlsaRecord(3, 0, 0, LEAF), True),
        (TlsaRecord(3, 1, 0, KEY), True),
        (TlsaRecord(3, 0, 0, KEY), False),
        (TlsaRecord(3, 1, 0, LEAF), False),
        (TlsaRecord(2, 0, 0, b""), False),
    ],
)
def test_which_records_count(record: TlsaRecord, is_usable: bool) -> None:
    assert usable([record]) == ((record,) if is_usable else ())


def test_records_are_bounded() -> None:
    many = [TlsaRecord(3, 1, 1, number.to_bytes(32, "big")) for number in range(MOST_RECORDS + 1)]
    odd = TlsaRecord(3, 9, 1, bytes(32))
    assert usable([odd, many[0], *many[:-1]]) == usable([odd, *many]) == tuple(many[:-1])


@each(
    ("record", "does"),
    [
        (TlsaRecord(3, 0, 0, LEAF), True),
        (TlsaRecord(3, 1, 0, KEY), True),
        (TlsaRecord(3, 0, 1, sha256(LEAF)), True),
        (TlsaRecord(3, 0, 2, sha512(LEAF)), True),
        (TlsaRecord(3, 1, 1, sha256(KEY)), True),
        (TlsaRecord(3, 1, 2, sha512(KEY)), True),
        (TlsaRecord(3, 1, 1, sha256(LEAF)), False),
        (TlsaRecord(3, 0, 1, sha256(KEY)), False),
        (TlsaRecord(3, 0, 0, root_der()), False),
    ],
)
def test_which_certificate_a_record_matches(record: TlsaRecord, does: bool) -> None:
    assert usable([record]) == (record,)
    assert matches(record, LEAF) is does
    assert matches_end([record], LEAF) is does
    assert not matches(record, b"no certificate")


def test_the_strongest_digest_counts_alone_for_its_usage_and_selector() -> None:
    weak, strong = TlsaRecord(3, 1, 1, sha256(KEY)), TlsaRecord(3, 1, 2, sha512(b"another key"))
    other = TlsaRecord(3, 0, 1, sha256(b"x"))
    whole = TlsaRecord(3, 1, 0, KEY)
    broken = TlsaRecord(3, 1, 2, b"short")  # what cannot be used makes nothing void
    assert usable([weak, strong, other]) == (strong, other)
    assert not matches_end(usable([weak, strong]), LEAF)
    assert usable([weak, whole]) == (weak, whole)
    assert usable([strong, whole]) == (strong, whole)
    assert usable([weak, broken, weak]) == (weak,)


def test_anchors_stand_in_the_chain_or_in_a_record_as_a_whole() -> None:
    middle = TlsaRecord(2, 0, 1, sha256(middle_der()))
    root = TlsaRecord(2, 0, 0, root_der())
    leaf = TlsaRecord(2, 0, 1, sha256(LEAF))  # RFC 7671 s5.2: an issuer, not the certificate itself
    end = TlsaRecord(3, 0, 1, sha256(middle_der()))
    key = TlsaRecord(2, 1, 1, sha256(public_key_info(middle_der())))
    assert anchors([middle], CHAIN) == (middle_der(),)
    assert anchors([key], CHAIN) == (middle_der(),)
    assert anchors([root], CHAIN) == (root_der(),)
    assert anchors([root, middle], CHAIN) == (middle_der(), root_der())
    assert anchors([leaf, end], CHAIN) == ()
    assert not matches_end([middle, leaf], LEAF)


def test_records_are_shown_as_zone_files_have_them() -> None:
    assert shown(TlsaRecord(3, 1, 1, b"\x00\xab")) == "3 1 1 00ab"


def test_the_public_key_of_a_certificate() -> None:
    assert public_key_info(LEAF) == KEY


@given(st.integers(0, len(LEAF) - 1), st.integers(0, 255))
def test_a_certificate_with_a_wrong_octet_has_a_key_or_none(at: int, octet: int) -> None:
    changed = LEAF[:at] + bytes([octet]) + LEAF[at + 1:]
    for octets in (changed, LEAF[:at]):
        try:
            assert public_key_info(octets) in octets
        except ValueError:
            pass


@given(st.lists(st.builds(TlsaRecord, *[st.integers(0, 4)] * 3, st.binary(max_size=70))))
def test_whatever_dns_says_can_be_looked_at(records: list[TlsaRecord]) -> None:
    good = usable(records)
    assert set(good) <= set(records)
    assert not matches_end(good, LEAF)
    assert anchors(good, CHAIN) == ()
