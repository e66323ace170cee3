"""Signatures of other domains, for mail that a test brings in (RFC 6376, RFC 8463)."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailgw.mail.header import header_end
from mailgw.trust.dkim_canon import body_hash
from mailgw.trust.dkim_sign import SigningKey, SigningRules, signature_fields

RULES = SigningRules()


def key_of(domain: str, selector: str) -> SigningKey:
    """Always the same for a domain and its selector: a test has the same octets in each run."""
    seed = f"{selector}._domainkey.{domain}".encode()[:32]
    return SigningKey(domain, selector, Ed25519PrivateKey.from_private_bytes(seed.ljust(32, b".")))


def with_signature(octets: bytes, key: SigningKey, now: float) -> bytes:
    """``octets``, whose lines end in CRLF, with a DKIM-Signature on top."""
    end = header_end(octets)
    header, body = (octets, b"") if end < 0 else (octets[:end], octets[end:])
    return signature_fields(header, body_hash(body, RULES.body_canon), [key], RULES, now) + octets
