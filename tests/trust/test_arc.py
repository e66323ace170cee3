"""ARC: which chains are whole, what their signatures come to, and who vouches."""

from collections.abc import Coroutine, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.authentication import MethodResult
from mailgw.mail.errors import TemporaryFault
from mailgw.trust.arc import (
    BEYOND_ASCII,
    MOST_SETS,
    ArcResult,
    ArcSet,
    ArcWord,
    BrokenChain,
    Signed,
    chain_of,
    validated,
    vouching,
)
from mailgw.trust.authres import AuthResults, Unreadable
from mailgw.trust.dkim_canon import SignedHeader
from tests.tables import each


def results(instance: object) -> bytes:
    return f"ARC-Authentication-Results: i={instance}; h{instance}.example;\r\n\tdmarc=pass\r\n".encode()


def signature(instance: object, more: str = "") -> bytes:
    return f"ARC-Message-Signature: i={instance}; a=rsa-sha256; d=s.example; h=from:to;{more} b=AAAA\r\n".encode()


def seal(instance: object, word: str, domain: str = "", more: str = "") -> bytes:
    name = domain or f"h{instance}.example"
    return f"ARC-Seal: i={instance}; a=rsa-sha256; cv={word};{more}\r\n d={name}; s=x; b=AAAA\r\n".encode()


def one_set(instance: int, word: str = "") -> bytes:
    return seal(instance, word or ("none" if instance == 1 else "pass")) + signature(instance) + results(instance)


def sets(count: int) -> bytes:
    return b"".join(one_set(instance) for instance in range(count, 0, -1)) + b"From: a@b.example\r\n"


def chain(header: bytes) -> tuple[ArcSet, ...] | BrokenChain:
    return chain_of(SignedHeader(header))


# --- the structure ------------------------------------------------------------------------------------

@each(("header", "count"), [
    (b"", 0),
    (b"From: a@b.example\r\nX-ARC-Seal: i=1\r\n", 0),
    (sets(1), 1),
    (sets(3), 3),
    (sets(MOST_SETS), MOST_SETS),
    # in any order, and as fields may be written
    (one_set(1) + one_set(3) + one_set(2), 3),
    (results(1) + b"X: y\r\n" + signature(1) + seal(1, "none"), 1),
    (seal("01", "None") + signature(" 1 ") + b"arc-authentication-results :\r\n i = 1 ; x.example; none\r\n", 1),
])
def test_whole_chains(header: bytes, count: int) -> None:
    found = chain(header)
    assert not isinstance(found, BrokenChain)
    assert [one.instance for one in found] == list(range(1, count + 1))
    for one in found:
        assert SignedHeader(header).fields[one.place] == one.message_signature
        assert one.seal.lower().startswith(b"arc-seal")


@each(("header", "instance", "why"), [
    # s5.2, step 3.1
    (signature(1) + results(1), 1, "no arc-seal"),
    (seal(1, "none") + results(1), 1, "no arc-message-signature"),
    (seal(1, "none") + signature(1), 1, "no arc-authentication-results"),
    (one_set(1) + seal(1, "none"), 1, "two arc-seal"),
    (one_set(1) + signature(1), 1, "two arc-message-signature"),
    (one_set(1) + results(1), 1, "two arc-authentication-results"),
    # 3.2
    (one_set(2), 1, "no arc-authentication-results"),
    (one_set(1) + one_set(3), 2, "no arc-authentication-results"),
    (results(0) + one_set(1), 0, "arc-authentication-results without a valid i="),
    (sets(MOST_SETS - 1) + one_set(MOST_SETS + 1), 0, "arc-authentication-results without a valid i="),
    # More than there can be: of none of them more than the name is read.
    (sets(MOST_SETS) + one_set(MOST_SETS + 1), 0, "more than 50 arc-authentication-results"),
    (results(1) * MOST_SETS, 1, "two arc-authentication-results"),
    (results(1) * (MOST_SETS + 1), 0, "more than 50 arc-authentication-results"),
    (signature(1) * (MOST_SETS + 1), 0, "more than 50 arc-message-signature"),
    (one_set(1) + seal(1, "none") * MOST_SETS, 0, "more than 50 arc-seal"),
    (one_set(1) + seal(MOST_SETS + 1, "pass"), 0, "arc-seal without a valid i="),
    (one_set(1) + signature("x"), 0, "arc-message-signature without a valid i="),
    (one_set(1) + signature(""), 0, "arc-message-signature without a valid i="),
    (one_set(1) + b"ARC-Message-Signature: a=rsa-sha256\r\n", 0, "arc-message-signature without a valid i="),
    (one_set(1) + b"ARC-Seal: what is this\r\n", 0, "arc-seal without a valid i="),
    (seal(1, "none") + signature(1) + b"ARC-Authentication-Results: h.example; i=1; none\r\n", 0,
     "arc-authentication-results without a valid i="),
    # 3.3, and step 2
    (one_set(1, "pass"), 1, "cv= is not none"),
    (one_set(1, "x"), 1, "cv= is not none"),
    (one_set(1) + one_set(2, "none"), 2, "cv= is not pass"),
    (one_set(1) + one_set(2, "none") + one_set(3), 2, "cv= is not pass"),
    (one_set(1) + one_set(2, "fail"), 2, "the chain had failed before (cv=fail)"),
    (one_set(1, "fail") + one_set(2), 1, "the chain had failed before (cv=fail)"),
    (one_set(1, "Fail"), 1, "the chain had failed before (cv=fail)"),
    (seal(1, "none", more=" h=from;") + signature(1) + results(1), 1, "arc-seal with h="),
    (seal(1, "none", "x..y") + signature(1) + results(1), 1, "arc-seal without a valid d="),
    (seal(1, "none", "[192.0.2.1]") + signature(1) + results(1), 1, "arc-seal without a valid d="),
    (seal(1, "none") + signature(1).replace(b"h=from", b"h=ARC-Seal : from") + results(1), 1,
     "arc-message-signature over arc-seal"),
])
def test_broken_chains(header: bytes, instance: int, why: str) -> None:
    found = chain(header)
    assert found == BrokenChain(instance, why)
    result, asked = judged(found)
    assert (result.word, result.why, result.instance, result.sets, asked) == (ArcWord.FAIL, why, instance, (), [])


def beyond_ascii(count: int) -> bytes:
    header = sets(3)
    for number in range(count):
        name = ("ARC-Seal: ", "ARC-Message-Signature: ")[number % 2].encode()
        header = header.replace(name + b"i=%d;" % (number // 2 + 1), name + b"x=\xc3\xbc; i=%d;" % (number // 2 + 1))
    return header


def test_signatures_beyond_ascii_have_a_limit() -> None:
    assert not isinstance(chain(beyond_ascii(BEYOND_ASCII)), BrokenChain)
    why = f"more than {BEYOND_ASCII} signatures that are not ASCII"
    found = chain(beyond_ascii(BEYOND_ASCII + 1))
    assert isinstance(found, BrokenChain)
    assert found.why == why
    # What hosts have found may be.
    many = b"".join(one_set(n).replace(b"dmarc=pass", b"dmarc=pass (\xc3\xbc)") for n in range(1, BEYOND_ASCII + 2))
    assert not isinstance(chain(many), BrokenChain)


def test_what_hosts_found() -> None:
    found = chain(seal(1, "none") + signature(1) + results(1) + seal(2, "pass") + signature(2)
                  + b"ARC-Authentication-Results: i=2; (\r\n")
    assert not isinstance(found, BrokenChain)
    assert found[0].said() == AuthResults("h1.example", (MethodResult("dmarc", "pass"),))
    assert found[1].said() == Unreadable("no authserv-id")


# --- the signatures -----------------------------------------------------------------------------------

def judged(
    found: Sequence[ArcSet] | BrokenChain, wrong: str = "", unknown: str = ""
) -> tuple[ArcResult, list[str]]:
    """The result, and what was verified: ``m3``, ``s3`` ...; ``wrong`` and ``unknown`` are such words."""
    asked = []

    async def verifies(signed: Signed, signers: Sequence[ArcSet]) -> str:
        word = f"{'m' if signed is Signed.MESSAGE else 's'}{signers[-1].instance}"
        assert [one.instance for one in signers] == list(range(1, len(signers) + 1))
        asked.append(word)
        if word in unknown.split():
            raise TemporaryFault("no answer")
        return "wrong" if word in wrong.split() else ""

    return at_once(validated(found, verifies)), asked


def at_once(waiting: Coroutine[object, None, ArcResult]) -> ArcResult:
    with pytest.raises(StopIteration) as done:
        waiting.send(None)
    value = done.value.value
    assert isinstance(value, ArcResult)
    return value


@each(("count", "wrong", "unknown", "result", "asked"), [
    (0, "", "", ArcResult(ArcWord.NONE, "no chain"), ""),
    (1, "", "", ArcResult(ArcWord.PASS, "sealed by h1.example", 1, 0), "m1 s1"),
    (3, "", "", ArcResult(ArcWord.PASS, "sealed by h3.example", 3, 0), "m3 s3 s2 s1 m2 m1"),
    (3, "m1", "", ArcResult(ArcWord.PASS, "sealed by h3.example", 3, 2), "m3 s3 s2 s1 m2 m1"),
    (3, "m2", "", ArcResult(ArcWord.PASS, "sealed by h3.example", 3, 3), "m3 s3 s2 s1 m2"),
    (3, "", "m2", ArcResult(ArcWord.PASS, "sealed by h3.example", 3, None), "m3 s3 s2 s1 m2"),
    (3, "m3", "", ArcResult(ArcWord.FAIL, "message signature 3: wrong", 3), "m3"),
    (3, "s3", "", ArcResult(ArcWord.FAIL, "seal 3: wrong", 3), "m3 s3"),
    (3, "s1", "", ArcResult(ArcWord.FAIL, "seal 1: wrong", 1), "m3 s3 s2 s1"),
    (3, "", "m3", ArcResult(ArcWord.TEMPERROR, "message signature 3: no answer", 3), "m3"),
    (3, "", "s2", ArcResult(ArcWord.TEMPERROR, "seal 2: no answer", 2), "m3 s3 s2"),
    (2, "s1", "s2", ArcResult(ArcWord.TEMPERROR, "seal 2: no answer", 2), "m2 s2"),
])
def test_what_a_chain_is_worth(count: int, wrong: str, unknown: str, result: ArcResult, asked: str) -> None:
    found = chain(sets(count))
    assert not isinstance(found, BrokenChain)
    got, questions = judged(found, wrong, unknown)
    assert (got.word, got.why, got.instance, got.oldest_pass) == (
        result.word, result.why, result.instance, result.oldest_pass)
    assert " ".join(questions) == asked
    passes = result.word is ArcWord.PASS
    assert got.sealers == (tuple(f"h{number}.example" for number in range(1, count + 1)) if passes else ())


def test_the_most_work() -> None:
    found = chain(sets(MOST_SETS))
    assert len(judged(found)[1]) == 2 * MOST_SETS


@each(("trusted", "instance"), [
    ("", None), ("h3", 3), ("h3 h2", 2), ("h3 h1", 3), ("h1 h2", None), ("h1 h2 h3", 1),
])
def test_who_vouches(trusted: str, instance: int | None) -> None:
    result, _ = judged(chain(sets(3)))
    found = vouching(result, lambda domain: domain.removesuffix(".example") in trusted.split())
    assert (found.instance if found is not None else None) == instance
    broken, _ = judged(chain(sets(3)), "s1")
    assert vouching(broken, lambda domain: True) is None


@given(st.lists(st.sampled_from([
    one_set(1), one_set(2), results(1), signature(1), seal(1, "none"), seal(1, "fail"), seal(2, "pass"), signature(2),
    results(2), b"X: y\r\n",
]), max_size=6).map(b"".join))
def test_any_header_has_a_chain_or_says_why_not(header: bytes) -> None:
    found = chain(header)
    if isinstance(found, BrokenChain):
        assert found.why
    else:
        assert header.count(b"ARC-") == 3 * len(found)
