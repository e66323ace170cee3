"""Keys and messages for DKIM's tests: those of RFC 6376 and RFC 8463, and a message that is signed as one likes."""

import base64
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mailgw.testing import FakeResolver
from mailgw.testing.driving import result_of
from mailgw.trust.dkim import DkimResult, DkimRules, Verification
from mailgw.trust.dkim_canon import Canon, SignedHeader, body_hash
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dkim_sign import SigningKey, SigningRules, signature_fields
from mailgw.trust.dkim_signature import Signature, read_signature

NOW = 1_700_000_000.0
RULES = DkimRules(signatures=5, header_octets=4096, takes_partial_body=False, heeds_testing=True)
SIGNING = SigningRules()
HEADER = (
    b"Received: from a by b;\r\n\tTue, 14 Nov 2023 22:13:20 +0000\r\nFrom:  Joe  <joe@football.example.com>\r\n"
    b"To: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner\r\n ready?\r\n\r\n"
)
BODY = b"Hi.\r\n\r\nWe lost  the game. \r\n\r\n"

# RFC 8463 s A.2
ED25519_SECRET = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
RSA_SECRET = b"""-----BEGIN RSA PRIVATE KEY-----
MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi
Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM
KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm
6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe
zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy
6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc
uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy
WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd
WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a
licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst
o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe
uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL
-----END RSA PRIVATE KEY-----
"""
ED25519_RECORD = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RSA_RECORD = (
    b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi"
    b"Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G"
    b"+2kryOTIKT+l/K4w3QIDAQAB"
)
# RFC 6376 s C
BRISBANE_RECORD = (
    b"v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v"
    b"3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ"
    b"2QIDAQAB"
)

_LETTER = """From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
"""
# RFC 6376 s A.2; its simple body has one space between the sentences, as its hash tells
RFC_6376 = f"""DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
{_LETTER}""".replace("\n", "\r\n").encode()
# RFC 8463 s A.3
RFC_8463 = f"""DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
{_LETTER.replace(". Are", ".  Are")}""".replace("\n", "\r\n").encode()

RECORDS = {
    "brisbane._domainkey.football.example.com": [ED25519_RECORD],
    "test._domainkey.football.example.com": [RSA_RECORD],
    "brisbane._domainkey.example.com": [BRISBANE_RECORD],
}


@functools.cache
def rsa_key() -> SigningKey:
    key = load_pem_private_key(RSA_SECRET, None, unsafe_skip_rsa_key_validation=True)
    return SigningKey("football.example.com", "test", key)


@functools.cache
def ed25519_key() -> SigningKey:
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(ED25519_SECRET))
    return SigningKey("football.example.com", "brisbane", key)


def rsa_record(bits: int, exponent: int = 65_537) -> bytes:
    """A key of that many bits, to which there is no private one."""
    key = RSAPublicNumbers(exponent, (1 << bits - 1) + 1).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; p=" + base64.b64encode(der)


def signed(
    header: bytes = HEADER, body: bytes = BODY, rules: SigningRules = SIGNING, key: SigningKey | None = None,
) -> bytes:
    """The message with a signature on top."""
    digest = body_hash(body, rules.body_canon)
    return signature_fields(header, digest, [key or ed25519_key()], rules, NOW) + header + body


def signed_by_hand(
    tags: Mapping[str, str | None], header: bytes = HEADER, body: bytes = BODY, key: SigningKey | None = None,
) -> bytes:
    """The same, with other tags than ours: a value of None takes one out.  b= is right for what the
    others say, and bh= for the body, its first l= octets as they are."""
    key = key or ed25519_key()
    canon, length = tags.get("c") or "simple/simple", tags.get("l") or ""
    digest = body_hash(body, Canon.RELAXED if canon.endswith("/relaxed") else Canon.SIMPLE)
    if length.isdigit():
        digest = hashlib.sha256(body[:int(length)]).digest()
    found: dict[str, str | None] = {
        "v": "1", "a": key.algorithm.value, "c": canon, "d": key.domain, "s": key.selector, "h": "from:to:subject",
        "bh": base64.b64encode(digest).decode(), **tags,
    }
    text = "; ".join(f"{name}={value}" for name, value in found.items() if value is not None)
    field = f"DKIM-Signature: {text}".encode()
    if "b" not in tags:
        field += b"; b="
        read = read_signature(field + b"AAAA")
        octets = b""
        if isinstance(read, Signature):
            octets = SignedHeader(header).signed_octets(read.names, read.header_canon, -1, field)
        field += base64.b64encode(key.sign(octets))
    return field + b"\r\n" + header + body


def verified(
    message: bytes, records: Mapping[str, Sequence[bytes]] = RECORDS, rules: DkimRules = RULES, now: float = NOW,
    failing: Iterable[str] = (), chunk: int = 1 << 20,
) -> tuple[DkimResult, ...]:
    """What its signatures are worth, the body read in chunks."""
    end = message.index(b"\r\n\r\n") + 4
    verification = Verification(message[:end], rules, LoadedKeys(10), now)
    coroutine = verification.ask(FakeResolver(text_records=records, failing=frozenset(failing)))
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    for start in range(end, len(message), chunk):
        verification.feed(message[start:start + chunk])
    verification.end()
    return result_of(verification.results())
