"""Whatever DNS says, judgements come to one of their words, in printable ASCII, and ask no more than they may."""

import random
import time
from collections.abc import Iterable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgw.mail.address import Mailbox
from mailgw.mail.names import MxRecord, Records
from mailgw.testing.driving import result_of
from mailgw.trust import dmarc, spf
from mailgw.trust.arc import MOST_SETS, ArcWord
from mailgw.trust.arc_signatures import ArcVerification
from mailgw.trust.dkim import DkimRules, DkimWord, Verification
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.dmarc import DmarcResult, Identifier
from mailgw.trust.spf import SpfQuestion, SpfResult, check_helo, check_mail_from
from tests.slowed import SLOWED
from tests.tables import each
from tests.trust.dkim_mail import BODY, HEADER, NOW, ed25519_key, rsa_key, signed
from tests.trust.hostile_dns import NAMES, WHOLE, HostileResolver
from tests.trust.test_arc_signatures import sealed

SEEDS = st.integers(0, 1 << 32)
RULES = DkimRules(signatures=3, header_octets=1 << 20, takes_partial_body=False, heeds_testing=True)
# Of one check of SPF: a TXT record for each term that has one, the first, and that of the explanation; MX or PTR for
# each term, and the client's names once more for %{p}; ten addresses for each of those.
MOST_ASKED = {"TXT": spf.TERMS + 2, "names": spf.TERMS + 1, "A": spf.MX_HOSTS * spf.TERMS + spf.PTR_NAMES}


def check_words(*words: str, most: int = 2000) -> None:
    for word in words:
        assert len(word) <= most, word
        assert word.isascii(), word
        assert word == "" or word.isprintable(), word


@given(SEEDS, st.sampled_from(["192.0.2.1", "2001:db8::1"]), st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_spf(seed: int, client: str, helo: str, domain: str) -> None:
    question = SpfQuestion(client, helo, Mailbox("l-o.c+al", domain or "a.test"), "here.test", 0.0)
    for check in (check_helo, check_mail_from):
        dns = HostileResolver(seed)
        found = result_of(check(dns, question))
        check_words(found.reason, found.explanation, found.mechanism)
        assert dns.asked["TXT"] <= MOST_ASKED["TXT"], dns.names_asked
        assert dns.asked["MX"] + dns.asked["PTR"] <= MOST_ASKED["names"], dns.names_asked
        assert dns.asked["A"] + dns.asked["AAAA"] <= MOST_ASKED["A"], dns.names_asked
        assert set(dns.asked) <= {"TXT", "MX", "PTR", "A", "AAAA"}


SIGNED = signed(b"".join(signed(key=key).partition(b"Received")[0] for key in [rsa_key(), ed25519_key()] * 2) + HEADER)


@given(SEEDS)
def test_dkim(seed: int) -> None:
    dns = HostileResolver(seed)
    end = SIGNED.index(b"\r\n\r\n") + 4
    verification = Verification(SIGNED[:end], RULES, LoadedKeys(2), NOW)
    verification.feed(SIGNED[end:])
    verification.end()
    result_of(verification.ask(dns))
    results = result_of(verification.results())
    assert sum(dns.asked.values()) == dns.asked["TXT"] <= RULES.signatures
    assert len(results) == RULES.signatures + 1
    for result in results:
        check_words(result.reason, result.domain, result.selector, result.identity)
        assert result.word in DkimWord


CHAIN = sealed(sealed(sealed(HEADER + BODY), rsa_key()))


@given(SEEDS)
def test_arc(seed: int) -> None:
    dns = HostileResolver(seed)
    end = CHAIN.index(b"\r\n\r\n") + 4
    verification = ArcVerification(CHAIN[:end], 1 << 20, LoadedKeys(2), NOW)
    verification.feed(CHAIN[end:])
    verification.end()
    result = result_of(verification.result(dns))
    assert sum(dns.asked.values()) == dns.asked["TXT"] <= 6
    check_words(result.why)
    assert result.word in ArcWord


@given(SEEDS)
def test_dmarc(seed: int) -> None:
    dns = HostileResolver(seed)
    chance = random.Random(seed)
    authors, signers = (chance.sample(NAMES, chance.randrange(most)) for most in (6, 20))
    dkim = [Identifier(name, word) for name in signers for word in ("pass", "temperror")]
    who = tuple(authors) or dmarc.Unclear("odd", tuple(NAMES[:dmarc.DOMAINS]))
    found = result_of(dmarc.evaluate(who, dkim[0] if dkim else None, dkim, dns))
    assert found.result in DmarcResult
    assert sum(dns.asked.values()) <= dmarc.MOST_QUESTIONS, dns.names_asked
    assert dns.asked["?"] <= dmarc.DOMAINS
    assert len(dns.names_asked) == len(set(dns.names_asked))
    check_words(found.why)
    if found.record is not None:
        assert len(found.record.aggregate_to) <= 4


# --- the worst there is, by number --------------------------------------------------------------------

@attrs.define
class EndlessResolver(HostileResolver):
    """Says the same of all names, as a wild card does."""

    texts: tuple[bytes, ...] = ()
    hosts: tuple[str, ...] = ()

    async def text(self, domain: str) -> Records[bytes]:
        self.asked["TXT"] += 1
        return Records(self.texts, True, False, domain)

    async def mx(self, domain: str) -> Records[MxRecord]:
        self.asked["MX"] += 1
        return Records(tuple(MxRecord(n, host) for n, host in enumerate(self.hosts)), True, False, domain)

    async def a(self, host: str) -> Records[str]:
        self.asked["A"] += 1
        return Records(("10.0.0.1",), True, False, host)

    async def names(self, address: str) -> list[str]:
        self.asked["PTR"] += 1
        return [f"p{n}.test" for n in range(11)]


@each(("record", "asked", "result"), [
    (b"v=spf1 include:a.test", {"TXT": 11}, SpfResult.PERMERROR),
    (b"v=spf1 redirect=%{d}", {"TXT": 11}, SpfResult.PERMERROR),
    (b"v=spf1 " + b"mx:m.test " * 10 + b"-all exp=why.test", {"TXT": 2, "MX": 10, "A": 100}, SpfResult.FAIL),
    (b"v=spf1 " + b"mx:%{p}.test " * 10 + b"-all", {"TXT": 1, "MX": 10, "A": 110, "PTR": 1}, SpfResult.FAIL),
    (b"v=spf1 " + b"mx:m.test " * 11 + b"-all", {"TXT": 1, "MX": 10, "A": 100}, SpfResult.PERMERROR),
])
def test_the_most_that_spf_asks(record: bytes, asked: dict[str, int], result: SpfResult) -> None:
    dns = EndlessResolver(0, texts=(record,), hosts=tuple(f"m{n}.test" for n in range(10)))
    question = SpfQuestion("192.0.2.1", "a.test", Mailbox("ann", "a.test"), "here.test", 0.0)
    assert result_of(check_mail_from(dns, question)).result is result
    assert dns.asked == asked


def test_the_most_that_arc_asks() -> None:
    """A chain of the longest with keys that are all others'."""
    message = HEADER + BODY
    keys = iter(attrs.evolve(ed25519_key(), selector=f"s{n}") for n in range(MOST_SETS))
    for key in keys:
        message = sealed(message, key)
    end = message.index(b"\r\n\r\n") + 4
    dns = EndlessResolver(0, texts=tuple([b"x"] * 3 + [WHOLE[7]]))
    verification = ArcVerification(message[:end], 1 << 20, LoadedKeys(2), NOW)
    verification.feed(message[end:])
    verification.end()
    assert result_of(verification.result(dns)).word is ArcWord.PASS
    assert dns.asked == {"TXT": MOST_SETS}  # both signatures of a set have the same key here, as hosts have it


# --- long answers -------------------------------------------------------------------------------------

def long_texts() -> Iterable[bytes]:
    """As long as a TXT record can be, made of what somebody might read more than once."""
    for start in (b"v=spf1 ", b"v=DMARC1; p=none; ", b"v=DKIM1; p="):
        for piece in (
            b" ", b"%", b"%{", b"%{d}", b"a ", b"mx/", b"include:", b";", b"=", b"a=b;", b"rua=mailto:a@b,", b"!",
            b"\t;", b"A", b"x=", b"A=", b":",
        ):
            yield start + piece * (65_000 // len(piece))


@pytest.mark.parametrize("judge", ["spf", "dkim", "dmarc"])
def test_long_answers_take_no_longer(judge: str) -> None:
    """By the processor's clock, with much to spare: what grows with the square of the length takes minutes."""
    for text in long_texts():
        dns = EndlessResolver(0, texts=(text,))
        began = time.thread_time()
        if judge == "spf":
            question = SpfQuestion("192.0.2.1", "a.test", Mailbox("ann", "a.test"), "here.test", 0.0)
            result_of(check_mail_from(dns, question))
        elif judge == "dmarc":
            result_of(dmarc.evaluate(("a.test",), Identifier("b.test", "pass"), [], dns))
        else:
            verification = Verification(SIGNED[:SIGNED.index(b"\r\n\r\n") + 4], RULES, LoadedKeys(2), NOW)
            verification.end()
            result_of(verification.ask(dns))
            result_of(verification.results())
        assert time.thread_time() - began < 0.5 * SLOWED, text[:60]
