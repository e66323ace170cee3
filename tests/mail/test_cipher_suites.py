"""IANA's names of cipher suites."""

import re

from OpenSSL import SSL

from mailgw.mail.cipher_suites import registered_name
from tests.tables import each

# RFC 8314 s4.3: tls-cipher-name = ALPHA *(ALPHA / DIGIT / "_")
NAME = re.compile(r"[A-Z][A-Z0-9_]*\Z")


@each(
    ("name", "registered"),
    [
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
        ("ECDHE-ECDSA-AES128-CCM8", "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
        ("ECDHE-ARIA256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_ARIA_256_GCM_SHA384"),
        ("DHE-RSA-CAMELLIA128-SHA", "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA"),
        ("AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA"),
        ("ECDHE-PSK-AES256-CBC-SHA384", ""),
        ("ADH-AES128-SHA", ""),
        ("", ""),
        ("x\r\ny", ""),
    ],
)
def test_each_has_the_name_that_is_registered(name: str, registered: str) -> None:
    assert registered_name(name) == registered


def test_all_that_a_server_of_ours_may_choose_have_one() -> None:
    connection = SSL.Connection(SSL.Context(SSL.TLS_SERVER_METHOD), None)
    names = [name for name in connection.get_cipher_list() if "PSK" not in name and not name.startswith("SRP-")]
    assert len(names) > 10
    assert [name for name in names if not NAME.match(registered_name(name))] == []
