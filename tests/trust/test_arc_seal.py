"""Sealing: what a set says, when there is none; our own verification and dkimpy as readers."""

import re
from collections.abc import Sequence

import pytest

from mailgw.trust.arc import ArcWord, chain_of
from mailgw.trust.arc_seal import ARC_RULES, NoSeal, arc_set
from mailgw.trust.authres import AuthResults, MethodResult, Property
from mailgw.trust.dkim_canon import SignedHeader, body_hash
from mailgw.trust.dkim_sign import MOST_NAMES, SigningKey
from mailgw.trust.dkim_signature import read_signature
from mailgw.trust.dkim_tags import tag_list
from tests.tables import each
from tests.trust.dkim_mail import BODY, HEADER, NOW, RECORDS, ed25519_key, rsa_key
from tests.trust.test_arc_signatures import sealed, verified

PASS, FAIL, NONE = (MethodResult("arc", word) for word in ("pass", "fail", "none"))
DMARC = MethodResult("dmarc", "fail", properties=(Property("header", "from", "example.com"),))


def result(message: bytes, *results: MethodResult, key: SigningKey | None = None) -> bytes | NoSeal:
    end = message.index(b"\r\n\r\n") + 4
    said = AuthResults("mx.example.org", results)
    return arc_set(message[:end], body_hash(message[end:], ARC_RULES.body_canon), said, key or ed25519_key(), NOW)


def with_set(message: bytes, *results: MethodResult, key: SigningKey | None = None) -> bytes:
    made = result(message, *results, key=key)
    assert isinstance(made, bytes), made
    return made + message


def instances(message: bytes) -> list[bytes]:
    return re.findall(rb"ARC-Seal: i=(\d+)", message)


def test_what_a_set_says() -> None:
    made = result(HEADER + BODY, DMARC, NONE)
    assert isinstance(made, bytes)
    assert re.sub(rb"\tb=[^;:]*\r\n(?=ARC-[MA])", b"\tb=\r\n", made) == (
        b"ARC-Seal: i=1; a=ed25519-sha256; cv=none;\r\n"
        b"\td=football.example.com; s=brisbane;\r\n"
        b"\tt=1700000000;\r\n"
        b"\tb=\r\n"
        b"ARC-Message-Signature: i=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
        b"\td=football.example.com; s=brisbane;\r\n"
        b"\tt=1700000000;\r\n"
        b"\th=From:From:Reply-To:Subject:Subject:To:To:Cc:In-Reply-To:References:\r\n"
        b"\t  MIME-Version:Content-Type:Content-Transfer-Encoding;\r\n"
        b"\tbh=sTT02lKuPAH1nGYBiIjR27DGuCuXdYrdO56uQNzQX+8=;\r\n"
        b"\tb=\r\n"
        b"ARC-Authentication-Results: i=1; mx.example.org;\r\n"
        b"\tdmarc=fail header.from=example.com;\r\n"
        b"\tarc=none\r\n"
    )
    (one,) = chain_of(SignedHeader(made))  # type: ignore[misc]
    assert one.said() == AuthResults("mx.example.org", (DMARC, NONE))
    assert all(len(line) <= 78 for line in made.split(b"\r\n"))


def test_what_is_signed_of_a_signed_message() -> None:
    made = result(
        b"DKIM-Signature: v=1\r\nAuthentication-Results: x; none\r\nARC-Seal: cv=x\r\n" + HEADER + BODY, FAIL
    )
    assert isinstance(made, bytes)
    signature = SignedHeader(made).fields[1]
    read = read_signature(signature.replace(b"i=1; ", b"v=1; ", 1))
    names = read.names  # type: ignore[union-attr]
    assert b"dkim-signature" in names
    assert not {b"authentication-results", b"arc-seal"} & set(names)


KEYS = (rsa_key(), ed25519_key())


@each("keys", [(one, other, third) for one in KEYS for other in KEYS for third in KEYS])
def test_chains_verify(keys: Sequence[SigningKey]) -> None:
    message = HEADER + BODY
    for number, key in enumerate(keys):
        if number == 1:  # a list
            message = message.replace(b"Is dinner", b"[list] Is dinner") + b"-- \r\nlist\r\n"
        message = with_set(message, DMARC, PASS if number else NONE, key=key)
        found = verified(message)
        assert (found.word, found.instance) == (ArcWord.PASS, number + 1), found.why
    assert (found.oldest_pass, found.sealers) == (2, ("football.example.com",) * 3)
    assert verified(message + b"more\r\n").word is ArcWord.FAIL
    assert verified(message.replace(b"dmarc=fail", b"dmarc=pass", 1)).word is ArcWord.FAIL


def test_others_seal_between() -> None:
    message = HEADER + BODY
    for number, key in enumerate((*KEYS, *KEYS)):
        message = with_set(message, PASS if number else NONE, key=key) if number % 2 else sealed(message, key)
    assert (verified(message).word, verified(message).instance) == (ArcWord.PASS, 4)


# --- dkimpy as the other side, which knows ARC by RSA alone -----------------------------------------------

def records(name: bytes, timeout: int = 5) -> bytes | None:
    return RECORDS[name.decode().removesuffix(".")][0]


def test_dkimpy_takes_them_for_whole() -> None:
    import dkim

    one = with_set(HEADER + BODY, DMARC, key=rsa_key())
    two = with_set(one, DMARC, PASS, key=rsa_key())
    for message in (one, two):
        assert dkim.arc_verify(message, dnsfunc=records)[0] == b"pass"
        assert dkim.arc_verify(message.replace(b"dinner", b"lunch"), dnsfunc=records)[0] == b"fail"


ONE = with_set(HEADER + BODY, DMARC, NONE)


@each("message", [
    ONE + b"more\r\n",  # the signature
    ONE.replace(b"cv=none", b"cv=pass"),  # the structure
    ONE.replace(b"ARC-Message-Signature:", b"X:"),
    ONE.replace(b"ARC-Message-Signature: i=1", b"ARC-Message-Signature: i=3"),
    b"ARC-Seal: i=51; cv=pass\r\n" + ONE,
])
def test_a_failed_chain_is_sealed_alone(message: bytes) -> None:
    import dkim

    failed = with_set(message, FAIL, key=rsa_key())
    assert instances(failed)[0] == (b"4" if b"i=3" in message else b"2")
    assert b"cv=fail" in failed.partition(b"ARC-Message")[0]
    assert verified(failed).word is ArcWord.FAIL
    assert result(failed, FAIL) == NoSeal("the chain had failed before")
    # The seal itself is right, as if its set were the only one (s5.1.2).
    end = failed.index(b"\r\n\r\n") + 4
    alone = b"\r\n".join(SignedHeader(failed[:end]).fields[:3]) + b"\r\n" + HEADER + failed[end:]
    _, (told,), _ = dkim.arc_verify(alone, dnsfunc=records)
    assert told["as-valid"]


def many(count: int) -> bytes:
    message = HEADER + BODY
    for number in range(count):
        message = with_set(message, PASS if number else NONE)
    return message


def test_fifty_sets_and_one_more() -> None:
    message = many(49)
    last = with_set(message, PASS)
    assert instances(last)[0] == b"50"
    assert verified(last, header_octets=1 << 20).word is ArcWord.PASS
    assert result(last, PASS) == NoSeal("the chain has 50 sets")
    assert result(last, FAIL) == NoSeal("the chain has 50 sets")


TEMPERROR = MethodResult("arc", "temperror")


@each(("message", "results", "why"), [
    (ONE, (), "what the chain is worth is not known"),
    (ONE, (DMARC,), "what the chain is worth is not known"),
    (ONE, (NONE,), "what the chain is worth is not known"),
    (ONE, (TEMPERROR,), "what the chain is worth is not known"),
    (ONE, (PASS, FAIL), "what the chain is worth is not known"),
    (HEADER, (PASS,), "there is no chain, and that is not what we found"),
    (HEADER, (FAIL,), "there is no chain, and that is not what we found"),
    (ONE.replace(b"cv=none", b"cv=pass"), (PASS,), "the chain is broken, and that is not what we found"),
    (ONE.replace(b"cv=none", b"cv=pass"), (), "the chain is broken, and that is not what we found"),
    (ONE.replace(b"cv=none", b"cv=fail"), (FAIL,), "the chain had failed before"),
    (ONE.replace(b"cv=none", b"cv=FAIL"), (PASS,), "the chain had failed before"),
    (sealed(ONE.replace(b"cv=none", b"cv=fail")), (FAIL,), "the chain had failed before"),
])
def test_when_there_is_no_seal(message: bytes, results: Sequence[MethodResult], why: str) -> None:
    assert result(message, *results) == NoSeal(why)


def test_there_is_no_set_where_there_are_more_fields_of_a_name_than_sets_can_be() -> None:
    field = b"ARC-Seal: i=1; cv=x\r\n"
    assert isinstance(result(field * 50 + HEADER + BODY, FAIL), bytes)
    assert result(field * 51 + HEADER + BODY, FAIL) == NoSeal("more than 50 arc-seal")


def test_there_is_no_set_with_too_many_names() -> None:
    for name in ("List-Unsubscribe-Post", "To", "DKIM-Signature", "References"):
        field = f"{name}: x\r\n".encode()
        counts = range(MOST_NAMES // 2, 300)
        many = next(count for count in counts if not isinstance(result(field * count + HEADER, NONE), bytes))
        made = result(field * (many - 1) + HEADER, NONE)
        assert isinstance(made, bytes)
        assert re.sub(rb"\s", b"", made).partition(b";h=")[2].partition(b";")[0].count(b":") + 1 == MOST_NAMES
        assert result(field * many + HEADER, NONE) == NoSeal("more than 200 fields to sign")


def test_a_header_is_read_once_however_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def reading(octets: bytes) -> object:
        read.append(octets)
        return tag_list(octets)

    monkeypatch.setattr("mailgw.trust.arc.tag_list", reading)
    for octets, results in ((many(3), PASS), (many(3).replace(b"cv=none", b"cv=x"), FAIL)):
        read.clear()
        assert isinstance(result(octets, results), bytes)
        assert len(read) == len({*read}) == 6
    read.clear()
    result(b"ARC-Seal: i=1; cv=x\r\n" * 1300 + HEADER, FAIL)
    assert not read


def test_results_beyond_ascii_stay_out_of_a_header_that_is_ascii() -> None:
    found = MethodResult("auth", "pass", properties=(Property("smtp", "auth", "josé@example.org"),))
    made = result(HEADER + BODY, found)
    assert isinstance(made, bytes)
    assert made.isascii()
    header = HEADER.replace(b"Subject: ", "Subject: é".encode())
    made = result(header + BODY, found)
    assert isinstance(made, bytes)
    assert "smtp.auth=josé@example.org".encode() in made
    assert verified(made + header + BODY).word is ArcWord.PASS
