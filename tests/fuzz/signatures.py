"""Fuzzed: what signers and their domains say (DKIM)."""

from mailgw.testing import FakeResolver
from mailgw.testing.driving import result_of
from mailgw.trust.dkim import DkimResult, DkimRules, DkimWord, Verification
from mailgw.trust.dkim_canon import BodyHashes, Canon, SignedHeader, WantedHash, relaxed_field
from mailgw.trust.dkim_key import KeyRecord, LoadedKeys, load_key, read_key_record
from mailgw.trust.dkim_signature import Signature, read_signature

RULES = DkimRules(signatures=3, header_octets=2000, takes_partial_body=True, heeds_testing=True)
NOW = 1_700_000_000.0


def dkim(octets: bytes) -> None:
    """A key record in the first line, behind it a message: its field, if it is one, and its results by any split."""
    record, _, message = octets.partition(b"\n")
    header, _, body = message.partition(b"\r\n\r\n")
    _read_alone(record, header)
    found = [_results(header + b"\r\n\r\n", body, record, size) for size in (1, 3, 1000)]
    assert found[0] == found[1] == found[2], found
    for result in found[0]:
        assert result.word is not DkimWord.PASS or (result.domain and result.key_bits >= 256), result
        for word in (result.reason, result.domain, result.selector, result.algorithm, result.start):
            assert word.isascii(), word
            assert word.isprintable(), word


def _read_alone(record: bytes, field: bytes) -> None:
    key = read_key_record(record)
    if isinstance(key, KeyRecord):
        load_key(key)
    signature = read_signature(field)
    if isinstance(signature, Signature):
        assert signature.key_name.isascii()
        assert signature.identity_domain.endswith(signature.domain)
    for part in SignedHeader(field).fields:
        relaxed = relaxed_field(part)
        assert relaxed_field(relaxed) == relaxed
        assert b"\r\n" not in relaxed


def _results(header: bytes, body: bytes, record: bytes, size: int) -> tuple[DkimResult, ...]:
    verification = Verification(header, RULES, LoadedKeys(2), NOW)
    resolver = FakeResolver(text_records={name: [record] for name in verification.key_names})
    try:
        verification.ask(resolver).send(None)
    except StopIteration:
        pass
    hashes = BodyHashes(WantedHash(canon, length) for canon in Canon for length in (None, 7))
    for start in range(0, len(body), size):
        verification.feed(body[start:start + size])
        hashes.feed(body[start:start + size])
    verification.end()
    hashes.end()
    return result_of(verification.results())
