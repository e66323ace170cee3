"""Whether the signatures of a message hold, by mailgw and by dkimpy, from the top; and messages signed by each."""

import base64
import functools
import logging
import os

from mailgw.trust.dkim import DkimRules, DkimWord
from mailgw.trust.dkim_canon import Canon, body_hash
from mailgw.trust.dkim_sign import SigningRules, signature_fields
from tests.differential.messages import Letter
from tests.trust.dkim_mail import NOW, RECORDS, RSA_SECRET, ed25519_key, rsa_key, verified

EXAMPLES = int(os.environ.get("MAILGW_DIFFERENTIAL", "3"))
# Others have no opinion of a body that is signed in part.
RULES = DkimRules(signatures=10, header_octets=1 << 20, takes_partial_body=True, heeds_testing=False)
MUCH_LATER = 4e9  # dkimpy and opendkim sign by the machine's clock
SILENT = logging.getLogger("dkimpy in tests")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def signed_by_us(letter: Letter, header: Canon, body: Canon) -> Letter:
    """By RSA and by Ed25519."""
    digest = body_hash(letter.body, body)
    fields = signature_fields(letter.header, digest, [rsa_key(), ed25519_key()], SigningRules(header, body), NOW)
    return _with(fields, letter)


def signed_by_dkimpy(letter: Letter, header: Canon, body: Canon, has_length: bool) -> Letter:
    """By both, too."""
    import dkim

    octets, canons = letter.octets(), (header.value.encode(), body.value.encode())
    fields = b"".join([
        dkim.sign(
            octets, selector, b"football.example.com", secret, canonicalize=canons, signature_algorithm=algorithm,
            length=has_length, logger=SILENT,
        ) for algorithm, selector, secret in (
            (b"rsa-sha256", b"test", RSA_SECRET), (b"ed25519-sha256", b"brisbane", _ed25519_secret()),
        )
    ])
    return _with(fields, letter)


def _with(fields: bytes, letter: Letter) -> Letter:
    first, second = fields.removesuffix(b"\r\n").split(b"\r\nDKIM-Signature:")
    name, _, value = first.partition(b":")
    return Letter(((name, value), (name, second), *letter.fields), letter.body)


@functools.cache
def _ed25519_secret() -> bytes:
    return base64.b64encode(ed25519_key().key.private_bytes_raw())


def by_us(letter: Letter) -> list[bool]:
    results = verified(letter.octets(), rules=RULES, now=MUCH_LATER)
    return [result.word is DkimWord.PASS for result in results if result.word is not DkimWord.NONE]


def by_dkimpy(letter: Letter) -> list[bool] | None:
    """None where it is known to differ: a last line's white space, without a line end, stays for it in relaxed bodies
    (RFC 6376 s3.4.4: all at the end of lines is ignored)."""
    import dkim

    if letter.body[-1:] in (b" ", b"\t"):
        return None
    count = sum(name.lower() == b"dkim-signature" for name, _ in letter.fields)
    message = dkim.DKIM(letter.octets(), logger=SILENT)
    return [_holds(message, number) for number in range(count)]


def _holds(message: object, number: int) -> bool:
    import dkim

    assert isinstance(message, dkim.DKIM)
    try:
        return bool(message.verify(number, dnsfunc=dkimpy_record))
    except dkim.DKIMException:
        return False


def dkimpy_record(name: bytes, timeout: int = 5) -> bytes | None:
    found = RECORDS.get(name.decode().rstrip("."))
    return found[0] if found else None
