"""Signatures verified: the RFCs' examples, each fault with its word, limits, several keys and signatures."""

import base64

import attrs
import pytest

from mailgw.mail.authentication import MethodResult
from mailgw.mail.errors import LocalProtocolError
from mailgw.testing.driving import result_of
from mailgw.trust.authres import AuthResults, written
from mailgw.trust.dkim import KEY_RECORDS, DkimResult, DkimRules, DkimWord, Verification, told
from mailgw.trust.dkim_canon import FIELDS, Canon, SignedHeader
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dkim_sign import SigningRules
from mailgw.trust.dkim_signature import BEYOND_ASCII
from tests.tables import each
from tests.trust.dkim_mail import (
    BODY,
    ED25519_RECORD,
    HEADER,
    NOW,
    RFC_6376,
    RFC_8463,
    RSA_RECORD,
    RULES,
    rsa_key,
    rsa_record,
    signed,
    signed_by_hand,
    verified,
)

KEY_NAME = "brisbane._domainkey.football.example.com"
PASS, FAIL, POLICY = DkimWord.PASS, DkimWord.FAIL, DkimWord.POLICY
NEUTRAL, TEMPERROR, PERMERROR = DkimWord.NEUTRAL, DkimWord.TEMPERROR, DkimWord.PERMERROR


def verdict(message: bytes, **how: object) -> tuple[DkimWord, str]:
    """The word and the reason of the only signature."""
    (result,) = verified(message, **how)  # type: ignore[arg-type]
    return result.word, result.reason


def with_key(record: bytes, *others: bytes) -> dict[str, object]:
    return {"records": {KEY_NAME: [record, *others]}}


# --- the RFCs' examples -------------------------------------------------------------------------------

def test_the_example_of_rfc_6376() -> None:
    assert verified(RFC_6376) == (DkimResult(
        PASS, "signature verified", "example.com", "brisbane", "joe@football.example.com", "rsa-sha256", 1024,
        "AuUoFEfD",
    ),)


def test_the_examples_of_rfc_8463() -> None:
    common = (PASS, "signature verified", "football.example.com")
    identity = "@football.example.com"
    assert verified(RFC_8463) == (
        DkimResult(*common, "brisbane", identity, "ed25519-sha256", 256, "/gCrinpc"),
        DkimResult(*common, "test", identity, "rsa-sha256", 1024, "F45dVWDf"),
    )
    assert verified(RFC_8463, chunk=1) == verified(RFC_8463)


def test_a_message_without_signatures() -> None:
    assert verified(HEADER + BODY) == (DkimResult(DkimWord.NONE, "no signature"),)
    assert verified(b"\r\n\r\n") == (DkimResult(DkimWord.NONE, "no signature"),)


# --- what was changed ---------------------------------------------------------------------------------

@each(("old", "new", "word", "reason"), [
    (b"dinner", b"lunch", FAIL, "signature did not verify"),
    (b"We lost", b"We won", FAIL, "body hash did not verify"),
    # the header is relaxed
    (b"From:  Joe  <", b"FROM : Joe\r\n\t<", PASS, "signature verified"),
    (b"lost  the game. \r\n", b"lost the game.\t\r\n \r\n", PASS, "signature verified"),
    # a field that is not signed, one that was signed as not being there, a second one
    (b"Received:", b"X-Spam: no\r\nReceived:", PASS, "signature verified"),
    (b"Received:", b"Cc: a@b\r\nReceived:", FAIL, "signature did not verify"),
    (b"Received:", b"Subject: other\r\nReceived:", FAIL, "signature did not verify"),
    (b"DKIM-Signature:", b"From: other\r\nDKIM-Signature:", FAIL, "signature did not verify"),
    (b"\r\n\tb=", b"\r\n\tb=A", NEUTRAL, "signature syntax error (b=)"),
    (b"\r\n\tb=", b"\r\n\tb=AAAA", FAIL, "signature did not verify"),
    (b"\r\n\tb=", b"\r\n\tnew=1; b=\r\n\t\t", FAIL, "signature did not verify"),
    (b"\r\n\tb=", b"\r\n\tb=\r\n\t\t", PASS, "signature verified"),
])
def test_what_was_changed(old: bytes, new: bytes, word: DkimWord, reason: str) -> None:
    message = signed()
    assert old in message
    assert verdict(message.replace(old, new, 1)) == (word, reason)


def test_a_second_from_that_is_not_signed() -> None:
    once = signed_by_hand({})
    assert verdict(once) == (PASS, "signature verified")
    for other in (b"From: other\r\n", b"FROM : other\r\n", b"From\r\n : other\r\n"):
        assert verdict(other + once) == (POLICY, "a From field that is not signed")
    twice = signed_by_hand({"h": "from:from"}, b"From: other\r\n" + HEADER)
    assert verdict(twice) == (PASS, "signature verified")


@each(("header_canon", "body_canon"), [(header, body) for header in Canon for body in Canon])
def test_all_canonicalizations(header_canon: Canon, body_canon: Canon) -> None:
    rules = SigningRules(header_canon, body_canon)
    for body in (b"", b"\r\n", BODY, b"a \r\n \r\n"):
        for key in (None, rsa_key()):
            message = signed(HEADER, body, rules, key)
            assert verdict(message) == (PASS, "signature verified")
            relaxed = message.replace(b"Subject: Is", b"subject:  Is", 1)
            assert verdict(relaxed)[0] is (PASS if header_canon is Canon.RELAXED else FAIL)
            assert verdict(message + b" \r\n")[0] is (PASS if body_canon is Canon.RELAXED else FAIL)
            assert verdict(message + b"\r\n")[0] is PASS or not body.endswith(b"\r\n")


# --- signatures ---------------------------------------------------------------------------------------

@each(("tags", "word", "reason"), [
    ({"a": None}, NEUTRAL, "signature missing required tag (a=)"),
    ({"v": "2"}, NEUTRAL, "incompatible version"),
    ({"a": "rsa-sha512"}, NEUTRAL, "unknown signature algorithm"),
    ({"q": "http"}, NEUTRAL, "unknown query method"),
    ({"c": "none"}, NEUTRAL, "signature syntax error (c=)"),
    ({"i": "@example.net"}, PERMERROR, "domain mismatch"),
    ({"h": "to"}, PERMERROR, "From field not signed"),
    ({"a": "rsa-sha1"}, POLICY, "rsa-sha1 is not accepted"),
    ({"i": "joe@sub.football.example.com"}, PASS, "signature verified"),
    # x= and t=, with the clocks' difference
    ({"x": f"{NOW - 300:.0f}"}, PASS, "signature verified"),
    ({"x": f"{NOW - 301:.0f}"}, POLICY, "signature expired"),
    ({"t": f"{NOW + 300:.0f}"}, PASS, "signature verified"),
    ({"t": f"{NOW + 301:.0f}"}, POLICY, "signature from the future"),
    ({"t": "0", "x": "999999999999"}, PASS, "signature verified"),
    # l=: the body has 28 octets, and two that are an empty line at the end
    ({"l": "28"}, PASS, "signature verified"),
    ({"l": "27"}, POLICY, "l= leaves a part of the body unsigned"),
    ({"l": "0"}, POLICY, "l= leaves a part of the body unsigned"),
    ({"l": "29"}, PERMERROR, "l= is larger than the body"),
    ({"l": "9" * 76}, PERMERROR, "l= is larger than the body"),
    ({"l": "27", "bh": base64.b64encode(bytes(32)).decode()}, FAIL, "body hash did not verify"),
])
def test_signatures(tags: dict[str, str | None], word: DkimWord, reason: str) -> None:
    assert verdict(signed_by_hand(tags)) == (word, reason)


def test_a_partly_signed_body_is_told() -> None:
    short = signed_by_hand({"l": "5"}, body=b"Hi.\r\n")
    (result,) = verified(short)
    assert (result.word, result.unsigned_octets) == (PASS, 0)
    (result,) = verified(short + b"Buy this!\r\n")
    assert (result.word, result.unsigned_octets) == (POLICY, 11)
    takes = attrs.evolve(RULES, takes_partial_body=True)
    (result,) = verified(short + b"Buy this!\r\n", rules=takes)
    assert (result.word, result.unsigned_octets) == (PASS, 11)


# --- keys ---------------------------------------------------------------------------------------------

GOOD = ED25519_RECORD


@each(("records", "word", "reason"), [
    ([], PERMERROR, "no key for signature"),
    ([b"v=spf1 -all"], PERMERROR, "no key for signature"),
    ([b"v=DKIM1; p"], PERMERROR, "key syntax error"),
    ([b"v=DKIM1; k=ed25519; p=AAAA"], PERMERROR, "key syntax error"),
    ([b"v=DKIM1; p="], PERMERROR, "key revoked"),
    ([GOOD + b"; s=tlsrpt"], PERMERROR, "inapplicable key"),
    ([GOOD + b"; h=sha1"], PERMERROR, "inappropriate hash algorithm"),
    ([GOOD + b"; h=sha1:sha256"], PASS, "signature verified"),
    ([RSA_RECORD], PERMERROR, "inappropriate key algorithm"),
    ([GOOD.replace(b"11qY", b"AAAA")], FAIL, "signature did not verify"),
    ([GOOD + b"; t=y"], NEUTRAL, "testing key: signature verified"),
    ([GOOD.replace(b"11qY", b"AAAA") + b"; t=y"], NEUTRAL, "testing key: signature did not verify"),
    ([GOOD + b"; h=sha1; t=y"], NEUTRAL, "testing key: inappropriate hash algorithm"),
    ([GOOD + b"; t=s"], PASS, "signature verified"),
    # several: the one that fits
    ([b"v=spf1 -all", GOOD], PASS, "signature verified"),
    ([b"v=DKIM1; p=", GOOD], PASS, "signature verified"),
    ([RSA_RECORD, GOOD], PASS, "signature verified"),
    ([GOOD.replace(b"11qY", b"AAAA"), GOOD], PASS, "signature verified"),
    ([b"v=spf1 -all", b"v=DKIM1; p=", b"junk"], PERMERROR, "key revoked"),
    ([*[RSA_RECORD] * (KEY_RECORDS - 1), GOOD], PASS, "signature verified"),
    ([*[RSA_RECORD] * KEY_RECORDS, GOOD], PERMERROR, "inappropriate key algorithm"),
])
def test_keys(records: list[bytes], word: DkimWord, reason: str) -> None:
    assert verdict(signed(), records={KEY_NAME: records}) == (word, reason)


@each(("record", "word", "reason"), [
    (rsa_record(1023), POLICY, "key of less than 1024 bits"),
    (rsa_record(1024), FAIL, "signature did not verify"),
    (rsa_record(4096), FAIL, "signature did not verify"),
    (rsa_record(4097), POLICY, "key of more than 4096 bits"),
    (rsa_record(1024, (1 << 32) + 1), POLICY, "key with an exponent of more than 32 bits"),
    (ED25519_RECORD, PERMERROR, "inappropriate key algorithm"),
    (RSA_RECORD, PASS, "signature verified"),
])
def test_rsa_keys(record: bytes, word: DkimWord, reason: str) -> None:
    message = signed(key=rsa_key())
    assert verdict(message, records={"test._domainkey.football.example.com": [record]}) == (word, reason)


def test_a_strict_key_wants_the_domains_of_i_and_d_to_be_one() -> None:
    below = signed_by_hand({"i": "@sub.football.example.com"})
    assert verdict(below, **with_key(GOOD + b"; t=s")) == (PERMERROR, "domain mismatch")
    same = signed_by_hand({"i": "joe@Football.Example.com"})
    assert verdict(same, **with_key(GOOD + b"; t=s")) == (PASS, "signature verified")


def test_testing_keys_are_told_where_they_are_not_heeded() -> None:
    rules = attrs.evolve(RULES, heeds_testing=False)
    (result,) = verified(signed(), rules=rules, **with_key(GOOD + b"; t=y"))  # type: ignore[arg-type]
    assert (result.word, result.is_testing) == (PASS, True)
    (result,) = verified(signed(), **with_key(GOOD + b"; t=y"))  # type: ignore[arg-type]
    assert (result.word, result.is_testing) == (NEUTRAL, True)


def test_dns_that_does_not_answer_is_no_failure() -> None:
    assert verdict(signed(), failing=[KEY_NAME]) == (TEMPERROR, "key unavailable")
    # Nor does it matter to others.
    words = [result.word for result in verified(RFC_8463, failing=[KEY_NAME])]
    assert words == [TEMPERROR, PASS]


# --- several, and too many ----------------------------------------------------------------------------

def test_signatures_that_are_looked_at_are_counted() -> None:
    one = signed()
    field = one[:one.index(b"Received:")]
    broken = b"DKIM-Signature: v=1\r\n"
    at_limit = verified(broken * 4 + one)
    assert [result.word for result in at_limit] == [NEUTRAL] * 4 + [PASS]
    beyond = verified(broken * 5 + one)
    assert [result.word for result in beyond] == [NEUTRAL] * 5 + [POLICY]
    assert beyond[-1].reason == "1 beyond 5 signatures were not looked at"
    assert [result.word for result in verified(field + one)] == [PASS, PASS]


def test_a_header_that_is_too_large_is_not_looked_at() -> None:
    message = signed()
    octets = message.index(b"\r\n\r\n") + 4
    assert verdict(message, rules=attrs.evolve(RULES, header_octets=octets)) == (PASS, "signature verified")
    small = attrs.evolve(RULES, header_octets=octets - 1)
    assert verdict(message, rules=small) == (POLICY, f"header of more than {octets - 1} octets")


def test_a_header_of_too_many_fields_is_not_looked_at() -> None:
    message = signed()
    own = len(SignedHeader(message[:message.index(b"\r\n\r\n") + 2]).fields)
    large = attrs.evolve(RULES, header_octets=1 << 20)
    most = b"X:\r\n" * (FIELDS - own) + message
    assert verdict(most, rules=large) == (PASS, "signature verified")
    assert verdict(b"X:\r\n" + most, rules=large) == (POLICY, f"header of more than {FIELDS} fields")
    # What is folded is one field.
    assert verdict(b"X:" + b"\r\n x\r\n\tx" * FIELDS + b"\r\n" + most[4:], rules=large) == (PASS, "signature verified")


def test_signatures_beyond_ascii_have_a_limit() -> None:
    """What may be needed to read one is told from its octets, and the first ones are read."""
    one = signed()
    odd = "DKIM-Signature: v=1; n=\u00fc\r\n".encode()
    assert not odd.isascii()
    words = [(result.word, result.reason) for result in verified(odd * (BEYOND_ASCII + 1) + one)]
    missing = (NEUTRAL, "signature missing required tag (a=)")
    beyond = (POLICY, f"more than {BEYOND_ASCII} signatures that are not ASCII")
    assert words == [missing] * BEYOND_ASCII + [beyond, (PASS, "signature verified")]


def test_each_key_is_asked_for_once() -> None:
    one = signed()
    field = one[:one.index(b"Received:")]
    other = signed(key=rsa_key())
    header = field + field + other[:other.index(b"\r\n\r\n") + 4]
    verification = Verification(header, RULES, LoadedKeys(10), NOW)
    assert verification.key_names == (KEY_NAME, "test._domainkey.football.example.com")
    refused = Verification(signed_by_hand({"a": "rsa-sha1"}), RULES, LoadedKeys(10), NOW)
    assert refused.key_names == ()


def test_results_want_their_keys() -> None:
    verification = Verification(signed()[:-len(BODY)], RULES, LoadedKeys(10), NOW)
    verification.feed(BODY)
    verification.end()
    with pytest.raises(LocalProtocolError):
        result_of(verification.results())


def test_results_as_authentication_results_have_them() -> None:
    ours = written(AuthResults("mx.example", tuple(map(told, verified(RFC_8463, failing=[KEY_NAME])))), smtputf8=False)
    assert b" ".join(ours.split()).decode() == (
        "Authentication-Results: mx.example; dkim=temperror reason=\"key unavailable\" header.d=football.example.com "
        "header.s=brisbane header.i=@football.example.com header.a=ed25519-sha256 header.b=\"/gCrinpc\"; "
        "dkim=pass header.d=football.example.com header.s=test header.i=@football.example.com header.a=rsa-sha256 "
        "header.b=F45dVWDf"
    )
    (none,) = verified(HEADER + BODY)
    assert told(none) == MethodResult("dkim", "none")


def test_rules_have_no_defaults() -> None:
    assert all(field.default is attrs.NOTHING for field in attrs.fields(DkimRules))
