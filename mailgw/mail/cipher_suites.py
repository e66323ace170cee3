"""What IANA's registry calls the cipher suites that OpenSSL has names of its own for (RFC 8314 s4.3 wants those).

OpenSSL knows those names, too (SSL_CIPHER_standard_name), but pyOpenSSL does not hand them on.  Not done: suites
without a certificate (PSK, SRP, anonymous ones), which no server of ours has; NULL, 3DES and older.
"""

import functools

# How the keys are agreed on, and signed: OpenSSL says nothing where both are RSA's.
_KEYS = {
    "ECDHE-ECDSA-": "TLS_ECDHE_ECDSA_WITH_",
    "ECDHE-RSA-": "TLS_ECDHE_RSA_WITH_",
    "ECDHE-": "TLS_ECDHE_RSA_WITH_",  # with ARIA
    "DHE-RSA-": "TLS_DHE_RSA_WITH_",
    "": "TLS_RSA_WITH_",
}
_CIPHERS = {
    "AES256-GCM-SHA384": "AES_256_GCM_SHA384",
    "AES128-GCM-SHA256": "AES_128_GCM_SHA256",
    "CHACHA20-POLY1305": "CHACHA20_POLY1305_SHA256",
    "AES256-SHA384": "AES_256_CBC_SHA384",
    "AES256-SHA256": "AES_256_CBC_SHA256",
    "AES128-SHA256": "AES_128_CBC_SHA256",
    "AES256-SHA": "AES_256_CBC_SHA",
    "AES128-SHA": "AES_128_CBC_SHA",
    "AES256-CCM": "AES_256_CCM",
    "AES128-CCM": "AES_128_CCM",
    "AES256-CCM8": "AES_256_CCM_8",
    "AES128-CCM8": "AES_128_CCM_8",
    "CAMELLIA256-SHA384": "CAMELLIA_256_CBC_SHA384",
    "CAMELLIA256-SHA256": "CAMELLIA_256_CBC_SHA256",
    "CAMELLIA128-SHA256": "CAMELLIA_128_CBC_SHA256",
    "CAMELLIA256-SHA": "CAMELLIA_256_CBC_SHA",
    "CAMELLIA128-SHA": "CAMELLIA_128_CBC_SHA",
    "ARIA256-GCM-SHA384": "ARIA_256_GCM_SHA384",
    "ARIA128-GCM-SHA256": "ARIA_128_GCM_SHA256",
}


@functools.lru_cache(maxsize=64)
def registered_name(name: str) -> str:
    """IANA's name for what OpenSSL calls ``name``; ``""`` where that is not known."""
    if name.startswith("TLS_"):
        return name  # those of TLS 1.3 have one name everywhere
    for keys, registered in _KEYS.items():
        if name.startswith(keys) and (cipher := _CIPHERS.get(name.removeprefix(keys))):
            return registered + cipher
    return ""
