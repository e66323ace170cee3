"""ARC's signatures: chains that are sealed as hosts do it, changed, and verified; dkimpy as an oracle."""

import base64
from collections.abc import Mapping, Sequence

import pytest

from mailgw.testing import FakeResolver
from mailgw.trust.arc import ArcResult, ArcWord
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.dkim_canon import FIELDS, Canon, SignedHeader, body_hash, relaxed_field
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dkim_sign import SigningKey
from tests.tables import each
from tests.trust.dkim_mail import BODY, HEADER, NOW, RECORDS, ed25519_key, rsa_key

Tags = Mapping[str, str | None]
NO_TAGS: Tags = {}


def sealed(message: bytes, key: SigningKey | None = None, ams: Tags = NO_TAGS, seal: Tags = NO_TAGS) -> bytes:
    """One set more on top; tags are added, changed, or (None) taken out, and the signatures are right for all that."""
    key = key or ed25519_key()
    header, body = message.split(b"\r\n\r\n", 1)
    header += b"\r\n"
    instance = header.count(b"ARC-Seal:") + 1
    canon = Canon((ams.get("c") or "relaxed/relaxed").partition("/")[2])
    results = f"ARC-Authentication-Results: i={instance}; {key.domain};\r\n\tdmarc=pass".encode()
    signature = _field("ARC-Message-Signature", {
        "i": str(instance), "a": key.algorithm.value, "c": "relaxed/relaxed", "d": key.domain, "s": key.selector,
        "t": "1700000000", "h": "from:to:subject",
        "bh": base64.b64encode(body_hash(body, canon)).decode(), **ams,
    })
    names = [name.encode() for name in (ams.get("h") or "from:to:subject").split(":")]
    header_canon = Canon((ams.get("c") or "relaxed/relaxed").partition("/")[0])
    signature += _signed(key, SignedHeader(header).signed_octets(names, header_canon, -1, signature))
    own_seal = _field("ARC-Seal", {
        "i": str(instance), "a": key.algorithm.value, "cv": "none" if instance == 1 else "pass", "d": key.domain,
        "s": key.selector, "t": "1700000000", **seal,
    })
    fields = SignedHeader(header)
    before: list[bytes] = []
    for number in range(1, instance):
        for name in (b"arc-authentication-results", b"arc-message-signature", b"arc-seal"):
            before.append(fields.fields[fields.places[name][instance - 1 - number]])
    own_seal += _signed(key, b"\r\n".join(map(relaxed_field, [*before, results, signature, own_seal])))
    return b"\r\n".join([own_seal, signature, results, header + b"\r\n"]) + body


def _field(name: str, tags: Tags) -> bytes:
    return (f"{name}: " + ";\r\n ".join(f"{tag}={value}" for tag, value in tags.items() if value) + "; b=").encode()


def _signed(key: SigningKey, octets: bytes) -> bytes:
    return base64.b64encode(key.sign(octets))


def verified(
    message: bytes, records: Mapping[str, Sequence[bytes]] = RECORDS, failing: str = "", now: float = NOW,
    header_octets: int = 10_000, chunk: int = 1 << 20,
) -> ArcResult:
    end = message.index(b"\r\n\r\n") + 4
    verification = ArcVerification(message[:end], header_octets, LoadedKeys(10), now)
    for start in range(end, len(message), chunk):
        verification.feed(message[start:start + chunk])
    verification.end()
    resolver = FakeResolver(text_records=records, failing=frozenset(failing.split()))
    with pytest.raises(StopIteration) as done:
        verification.result(resolver).send(None)
    assert len(resolver.asked) == len(set(resolver.asked))
    value = done.value.value
    assert isinstance(value, ArcResult)
    return value


ONE = sealed(HEADER + BODY)
TWO = sealed(ONE)
THREE = sealed(TWO, rsa_key())


@each(("message", "instance", "oldest"), [
    (ONE, 1, 0),
    (TWO, 2, 0),
    (THREE, 3, 0),
    (sealed(HEADER), 1, 0),
    (sealed(ONE.replace(b"Is dinner", b"[list] Is dinner")), 2, 2),
    (sealed(sealed(ONE + b"-- \r\nlist\r\n")), 3, 2),
    (sealed(sealed(TWO.replace(b"From:  Joe", b"From: Joe"))), 4, 0),
    # Received fields and forwarded copies change nothing
    (b"Received: x\r\n" + TWO.replace(b"Received: from a", b"Received: from c"), 2, 0),
    *((sealed(ONE, ams={"c": canon}), 2, 0) for canon in (
        "simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")),
    (sealed(ONE, ams={"v": "7", "i": "2", "z": "From:x"}, seal={"x": "1", "new": "y", "v": "2"}), 2, 0),
    (sealed(ONE, ams={"x": "1700000001"}), 2, 0),
])
def test_chains_that_pass(message: bytes, instance: int, oldest: int) -> None:
    for chunk in (1 << 20, 7):
        result = verified(message, chunk=chunk)
        assert (result.word, result.instance, result.oldest_pass) == (ArcWord.PASS, instance, oldest), result.why
    assert result.sealers == ("football.example.com",) * instance


@each(("message", "why"), [
    (TWO + b"more\r\n", "message signature 2: body hash did not verify"),
    (TWO.replace(b"Is dinner", b"No dinner"), "message signature 2: signature did not verify"),
    (TWO.replace(b"i=1; football.example.com;\r\n\tdmarc=pass", b"i=1; football.example.com;\r\n\tdmarc=none"),
     "seal 2: signature did not verify"),
    (sealed(ONE.replace(b"dmarc=pass", b"dmarc=none")), "seal 1: signature did not verify"),
    (b"from: eve@example.net\r\n" + TWO, "message signature 2: a From field that is not signed"),
    (sealed(ONE, ams={"l": "1"}), "message signature 2: l= is not taken"),
    (sealed(ONE, ams={"a": "rsa-sha1"}), "message signature 2: rsa-sha1 is not accepted"),
    (sealed(ONE, seal={"a": "rsa-sha1"}), "seal 2: rsa-sha1 is not accepted"),
    (sealed(ONE, ams={"h": "to:subject"}), "message signature 2: From field not signed"),
    (sealed(ONE, ams={"bh": None}), "message signature 2: signature missing required tag (bh=)"),
    (sealed(ONE, seal={"s": None}), "seal 2: signature missing required tag (s=)"),
    (sealed(ONE, seal={"a": "x"}), "seal 2: unknown signature algorithm"),
    (sealed(ONE, seal={"s": "other"}), "seal 2: no key for signature"),
    (sealed(ONE, seal={"d": "example.com"}), "seal 2: inappropriate key algorithm"),
    (sealed(ONE, seal={"cv": "fail"}), "the chain had failed before (cv=fail)"),
    (sealed(ONE, seal={"h": "from"}), "arc-seal with h="),
    (sealed(ONE, ams={"t": "1690000000", "x": "1699999699"}), "message signature 2: expired"),
])
def test_chains_that_fail(message: bytes, why: str) -> None:
    result = verified(message)
    assert (result.word, result.why) == (ArcWord.FAIL, why)


NAME = "brisbane._domainkey.football.example.com"
GOOD = RECORDS[NAME][0]


@each(("records", "why"), [
    ([GOOD], ""),
    ([b"v=spf1 -all", GOOD], ""),
    ([RECORDS["test._domainkey.football.example.com"][0], GOOD], ""),
    ([b"x"] * 3 + [GOOD], ""),
    ([b"x"] * 4 + [GOOD], "key syntax error"),
    ([GOOD + b"; t=y:s"], ""),
    ([], "no key for signature"),
    ([b"v=DKIM1; p="], "key revoked"),
    ([GOOD + b"; s=tlsrpt"], "inapplicable key"),
    ([GOOD + b"; h=sha1"], "inappropriate hash algorithm"),
    ([GOOD.replace(b"11qY", b"12qY")], "signature did not verify"),
])
def test_keys(records: list[bytes], why: str) -> None:
    result = verified(ONE, {NAME: records})
    assert result.why == (f"message signature 1: {why}" if why else "sealed by football.example.com")


def test_trouble_is_no_failure() -> None:
    assert verified(ONE, failing=NAME).word is ArcWord.TEMPERROR
    three = verified(THREE, failing=NAME)
    assert (three.word, three.why) == (ArcWord.TEMPERROR, "seal 2: key unavailable")


def test_a_header_has_a_limit() -> None:
    octets = ONE.index(b"\r\n\r\n") + 4
    assert verified(ONE, header_octets=octets).word is ArcWord.PASS
    result = verified(ONE, header_octets=octets - 1)
    assert (result.word, result.why) == (ArcWord.FAIL, f"header of more than {octets - 1} octets")


def test_a_header_s_fields_have_a_limit() -> None:
    def with_fields(count: int) -> bytes:
        return b"X:\r\n" * (count - ONE[:ONE.index(b"\r\n\r\n") + 2].count(b"\r\n") + folds) + ONE

    folds = ONE[:ONE.index(b"\r\n\r\n")].count(b"\r\n ") + ONE[:ONE.index(b"\r\n\r\n")].count(b"\r\n\t")
    assert verified(with_fields(FIELDS), header_octets=1 << 20).word is ArcWord.PASS
    result = verified(with_fields(FIELDS + 1), header_octets=1 << 20)
    assert (result.word, result.why) == (ArcWord.FAIL, f"header of more than {FIELDS} fields")


def test_no_chain() -> None:
    assert verified(HEADER + BODY).word is ArcWord.NONE


def test_dkimpy_takes_the_chains_for_whole_that_we_do() -> None:
    import dkim

    def records(name: bytes, timeout: int = 5) -> bytes | None:
        return RECORDS[name.decode().removesuffix(".")][0]

    message = sealed(sealed(HEADER + BODY, rsa_key()).replace(b"Is dinner", b"[list] Is dinner"), rsa_key())
    assert dkim.arc_verify(message, dnsfunc=records)[0] == b"pass"
    assert verified(message).word is ArcWord.PASS
    changed = message.replace(b"dmarc=pass", b"dmarc=none", 1)
    assert dkim.arc_verify(changed, dnsfunc=records)[0] == b"fail"
    assert verified(changed).word is ArcWord.FAIL
