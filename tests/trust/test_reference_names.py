"""Names in certificates, against what is wanted, and against service-identity as an oracle."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from service_identity.hazmat import DNS_ID, DNSPattern, verify_service_identity

from mailgw.trust.reference_names import CertificateNames, is_for_servers, is_named, names_in
from tests.tables import each
from tests.trust.certificates import CLIENT_AUTH, SERVER_AUTH, issued, self_signed


@each(
    ("in_certificate", "reference", "does"),
    [
        ("mx.example.org", "mx.example.org", True),
        ("mx.example.org", "MX.Example.Org.", True),
        ("mx.example.org", "mx2.example.org", False),
        ("mx.example.org", "a.mx.example.org", False),
        ("mx.example.org", "", False),
        ("*.example.org", "mx.example.org", True),
        ("*.example.org", "a.mx.example.org", False),  # RFC 9525 s6.3: one label
        ("*.example.org", "example.org", False),
        ("*.example.org", ".example.org", True),
        ("*.org", "example.org", False),
        ("*", "localhost", False),
        ("m*.example.org", "mx.example.org", False),  # RFC 7672 s3.2.3: the whole label, or none
        ("mx.*.org", "mx.example.org", False),
        ("*.*.org", "mx.example.org", False),
        ("xn--*.example.org", "xn--mx.example.org", False),
        ("mx.example.org", ".example.org", True),
        ("a.mx.example.org", ".example.org", False),
        ("example.org", ".example.org", False),
        ("badexample.org", ".example.org", False),
        (".example.org", ".example.org", False),
        ("192.0.2.1", "192.0.2.1", False),  # an address is no host name
    ],
)
def test_which_names_are_meant(in_certificate: str, reference: str, does: bool) -> None:
    assert is_named(CertificateNames((in_certificate,), (), ""), [reference], False) is does
    assert is_named(CertificateNames((), (), in_certificate), [reference], True) is does
    assert is_named(CertificateNames((in_certificate,), (), ""), ["other.test", reference], False) is does


def test_the_common_name_counts_where_there_is_no_other_and_it_may() -> None:
    names = CertificateNames((), (), "mx.example.org")
    assert is_named(names, ["mx.example.org"], True)
    assert not is_named(names, ["mx.example.org"], False)
    assert not is_named(CertificateNames(("x.test",), (), "mx.example.org"), ["mx.example.org"], True)


def test_addresses_are_compared_as_addresses() -> None:
    names = CertificateNames((), ("192.0.2.1", "2001:db8::1"), "")
    assert is_named(names, ["192.0.2.1"], False)
    assert is_named(names, ["2001:DB8:0::1"], False)
    assert not is_named(names, ["192.0.2.2"], True)


def test_names_are_read() -> None:
    leaf = x509.load_der_x509_certificate(issued("MX.example.org", "192.0.2.1", common_name="Some Name").leaf)
    assert names_in(leaf) == CertificateNames(("mx.example.org",), ("192.0.2.1",), "some name")
    leaf = x509.load_der_x509_certificate(self_signed(common_name="mx.example.org").leaf)
    assert names_in(leaf) == CertificateNames((), (), "mx.example.org")


def test_a_certificate_with_two_common_names_or_broken_extensions_names_nobody() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    two = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in ("a.test", "b.test")])
    builder = (
        x509.CertificateBuilder().subject_name(two).issuer_name(two).public_key(key.public_key()).serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1)).not_valid_after(datetime.datetime(2100, 1, 1))
    )
    assert names_in(builder.sign(key, hashes.SHA256())) == CertificateNames((), (), "")
    for oid in (x509.SubjectAlternativeName.oid, x509.ExtendedKeyUsage.oid):
        odd = builder.add_extension(x509.UnrecognizedExtension(oid, b"nonsense"), False).sign(key, hashes.SHA256())
        assert names_in(odd) == CertificateNames((), (), "")
        assert not is_for_servers(odd)


def test_certificates_for_clients_are_none_for_servers() -> None:
    for usages, serves in (((CLIENT_AUTH,), False), ((CLIENT_AUTH, SERVER_AUTH), True), ((), True)):
        leaf = x509.load_der_x509_certificate(self_signed("mx.example.org", usages=usages).leaf)
        assert is_for_servers(leaf) is serves


LABEL = st.sampled_from(["*", "a", "b", "mx", "m*"])
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "org"]))


@given(NAME, NAME.filter(lambda name: "*" not in name))
def test_service_identity_says_the_same(pattern: str, reference: str) -> None:
    try:
        verify_service_identity([DNSPattern.from_bytes(pattern.encode())], [DNS_ID(reference)], [])
        does = True
    except Exception:  # noqa: BLE001 - whatever it says against it
        does = False
    assert is_named(CertificateNames((pattern,), (), ""), [reference], False) is does
