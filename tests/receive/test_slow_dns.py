"""Whoever forges mail keeps his own DNS from answering: what the author's domain wants is found out nevertheless."""

import base64
import hashlib
from collections.abc import Sequence

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names import dns

from mailgw.mail import event as fact
from mailgw.mail.authentication import Authentication
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import MxRecord, Records
from mailgw.net.bounded_dns import BoundedDns
from mailgw.net.dns_turns import NETWORK_AT_ONCE
from mailgw.receive.authenticity import PAUSE_SECONDS, Pauses
from mailgw.testing import FakeResolver
from mailgw.testing.driving import result_of
from mailgw.trust.dkim import KEYS_AT_ONCE
from tests.net.dns_net import ONE, Asked, DnsNet, resolver
from tests.receive.test_authenticity import JUDGED, Judging
from tests.tables import each
from tests.trust.dkim_mail import ED25519_RECORD, ed25519_key, signed

BODY_HASH = base64.b64encode(hashlib.sha256(b"hi\r\n").digest()).decode()
RECORDS = {
    "_dmarc.bank.example": [b"v=DMARC1; p=reject"], "bank.example": [b"v=spf1 ptr a:m.bank.example -all"],
    "_dmarc.asks.example": [b"v=DMARC1; p=quarantine"], "asks.example": [b"v=spf1 -all"],
    "_dmarc.evil.test": [b"v=DMARC1; p=none"],
    "slow.test": [b"v=spf1 " + b"".join(b"include:i%d.slow.test " % n for n in range(5)) + b"-all"],
    **{f"i{n}.slow.test": [b"v=spf1 ip4:203.0.113.1 -all"] for n in range(5)},
}


@attrs.define
class SlowResolver(FakeResolver):
    """Of names below ``dead.test`` there is never an answer, below ``slow.test`` after 9 s; the client's address has
    its name in the former where ``is_nameless``.  ``at_once``: the most questions that were under way."""

    clock: Clock = attrs.field(factory=Clock)
    is_nameless: bool = False
    under_way: int = 0
    at_once: int = 0

    async def text(self, domain: str) -> Records[bytes]:
        await self._wait(domain)
        return await FakeResolver.text(self, domain)

    async def mx(self, domain: str) -> Records[MxRecord]:
        await self._wait(domain)
        return await FakeResolver.mx(self, domain)

    async def a(self, host: str) -> Records[str]:
        await self._wait(host)
        return await FakeResolver.a(self, host)

    async def names(self, address: str) -> Sequence[str]:
        await self._wait("dead.test" if self.is_nameless else "")
        return ["client.example.net"]

    async def _wait(self, name: str) -> None:
        answer: Deferred[None] = Deferred()
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        try:
            if name.endswith("dead.test"):
                await answer
            if name.endswith("slow.test"):
                self.clock.callLater(9.0, lambda: answer.called or answer.callback(None))
                await answer
        finally:
            self.under_way -= 1


def fake(domain: str, selector: str) -> bytes:
    return (
        f"DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s={selector}; h=from; bh={BODY_HASH}; b=AAAA\r\n"
    ).encode()


def sealed_by(domain: str) -> bytes:
    return (
        f"ARC-Seal: i=1; a=rsa-sha256; cv=none; d={domain}; s=a; b=AAAA\r\n"
        f"ARC-Message-Signature: i=1; a=rsa-sha256; d={domain}; s=b; h=from; bh={BODY_HASH}; b=AAAA\r\n"
        f"ARC-Authentication-Results: i=1; {domain}; none\r\n"
    ).encode()


def brought(
    message: bytes, sender: str = "a@evil.test", helo: str = "evil.test", is_nameless: bool = False,
    records: dict[str, list[bytes]] | None = None,
) -> tuple[str, Authentication | None, float, SlowResolver]:
    """What the client is told, what was found, and when."""
    dns = SlowResolver(text_records={**RECORDS, **(records or {})}, is_nameless=is_nameless)
    judging = Judging(attrs.evolve(JUDGED, signatures=20), dns=dns)
    dns.clock = clock = judging.listener.clock
    clock.advance(5.0)  # its name's own time
    judging.session.take()
    began = clock.seconds()
    answer = judging.bring(message, f"EHLO {helo}", f"MAIL FROM:<{sender}>", "RCPT TO:<bob@example.org>", "DATA")
    while not answer and clock.seconds() - began < 60:
        clock.advance(0.5)
        answer = judging.session.take().strip()
    seen = judging.seen[0].authentication if judging.seen else None
    return answer, seen, clock.seconds() - began, dns


BANK = b"From: ceo@bank.example\r\n\r\nhi\r\n"
DEAD = b"".join(fake("dead.test", f"a{n}") for n in range(9))


@each(("message", "sender", "helo", "is_nameless"), [
    (BANK, "a@evil.test", "evil.test", False),
    (DEAD[:len(DEAD) // 9 * 4] + BANK, "a@evil.test", "evil.test", False),
    (DEAD + fake("bank.example", "k") + BANK, "a@evil.test", "evil.test", False),
    (DEAD + DEAD.replace(b"s=a", b"s=b") + fake("sub.bank.example", "k") + BANK, "a@evil.test", "evil.test", False),
    (sealed_by("dead.test") + BANK, "a@evil.test", "evil.test", False),
    (BANK, "a@slow.test", "evil.test", False),
    (BANK, "a@slow.test", "slow.test", True),
    (BANK, "a@dead.test", "dead.test", True),
    (BANK, "a@bank.example", "dead.test", True),      # its record asks for the client's own name
    (BANK.replace(b"ceo@", b"x@dead.test, ceo@"), "a@evil.test", "evil.test", False),
    (BANK.replace(b"ceo@", b"x@dead.test, x@a.dead.test, x@b.dead.test, ceo@"), "a@dead.test", "dead.test", True),
    (DEAD + fake("bank.example", "k") + BANK.replace(b"ceo@", b"x@dead.test, ceo@"), "a@bank.example", "dead.test",
     True),
])
def test_forged_mail_is_refused_however_slow_the_forger_is(
    message: bytes, sender: str, helo: str, is_nameless: bool
) -> None:
    answer, _, seconds, _ = brought(message, sender, helo, is_nameless)
    assert answer.startswith("550 5.7.1 bank.example asks"), answer
    assert seconds <= 30


@each("authors", ["x@dead.test, ceo@asks.example", "ceo@asks.example, x@dead.test"])
def test_a_second_author_undoes_no_quarantine(authors: str) -> None:
    _, found, _, _ = brought(BANK.replace(b"ceo@bank.example", authors.encode()))
    assert found is not None
    dmarc = found.of("dmarc")
    assert dmarc is not None
    assert (dmarc.result, dmarc.value("policy", "dmarc")) == ("fail", "quarantine")


@each(("records", "sender", "signer"), [
    ({"bank.example": [b"v=spf1 ip4:192.0.2.1 -all"]}, "a@bank.example", ""),
    ({"m.bank.example": [b"v=spf1 ip4:192.0.2.1 -all"]}, "a@m.bank.example", ""),
    ({}, "a@evil.test", "bank.example"),
    ({}, "a@slow.test", "m.bank.example"),
])
def test_good_mail_passes_below_signatures_of_the_dead(
    records: dict[str, list[bytes]], sender: str, signer: str
) -> None:
    header, body = BANK[:-4], BANK[-4:]
    mail = BANK
    if signer:
        mail = signed(header, body, key=attrs.evolve(ed25519_key(), domain=signer))
        records = {**records, f"brisbane._domainkey.{signer}": [ED25519_RECORD]}
    answer, found, seconds, _ = brought(DEAD + sealed_by("dead.test") + mail, sender, "dead.test", True, records)
    assert answer.startswith("250")
    assert found is not None
    assert found.passes("dmarc")
    assert found.word("arc") == "temperror"
    assert seconds <= 30


def test_an_author_who_is_silent_himself_is_temporary_trouble() -> None:
    answer, found, seconds, _ = brought(BANK.replace(b"bank.example", b"dead.test"))
    assert answer.startswith("250")
    assert found is not None
    assert found.word("dmarc") == "temperror"
    assert seconds == 30


@each(("foreign", "own", "at_once"), [
    (KEYS_AT_ONCE - 1, 0, KEYS_AT_ONCE - 1), (KEYS_AT_ONCE, 0, KEYS_AT_ONCE), (KEYS_AT_ONCE + 1, 0, KEYS_AT_ONCE),
    (KEYS_AT_ONCE + 1, 2, KEYS_AT_ONCE + 2),
])
def test_so_many_keys_are_asked_for_at_the_same_time(foreign: int, own: int, at_once: int) -> None:
    others = b"".join(fake("xdead.test", f"a{n}") for n in range(foreign))
    mine = b"".join(fake("a.dead.test", f"b{n}") for n in range(own))
    _, _, _, dns = brought(others + mine + BANK.replace(b"ceo@bank.example", b"x@c.a.dead.test"))
    assert dns.at_once == at_once + 2  # and the author's record, and SPF, one after the other


# --- the means ----------------------------------------------------------------------------------------

def test_when_the_time_is_over_what_is_remembered_is_told() -> None:
    clock = Clock()
    remembered = FakeResolver(text_records={"a.test": [b"x"]}, failing=frozenset({"b.test"}))
    dns = BoundedDns(SlowResolver(clock=clock), clock, 30.0, 4, remembered)
    clock.advance(100.0)  # it begins with the first question
    waiting = Deferred.fromCoroutine(dns.text("dead.test"))
    failed: list[object] = []
    waiting.addErrback(failed.append)  # type: ignore[unused-awaitable] # it fails below
    clock.advance(29.9)
    assert not dns.is_over
    assert failed == []
    clock.advance(0.1)
    assert dns.is_over
    assert len(failed) == 1
    assert result_of(dns.text("a.test")).items == (b"x",)
    with pytest.raises(TemporaryFault, match=r"b\.test"):
        result_of(dns.text("b.test"))
    assert result_of(dns.text("a.test")).items == (b"x",)
    with pytest.raises(TemporaryFault, match="too many questions"):
        result_of(dns.text("a.test"))
    dns.close()
    assert clock.getDelayedCalls() == []


def test_others_have_their_turn_after_a_while() -> None:
    clock = Clock()
    pause = Pauses(clock)
    for seconds, is_paused in ((0.0, False), (PAUSE_SECONDS * 0.9, False), (PAUSE_SECONDS * 0.2, True), (0.0, False)):
        clock.advance(seconds)
        paused = Deferred.fromCoroutine(pause())
        assert paused.called is not is_paused
        clock.advance(0)
        assert paused.called


# --- many at once -------------------------------------------------------------------------------------

def crowding(message: bytes, peer: str, author_answers: bool) -> tuple[str, Judging]:
    """What a client is told while a neighbour of his has the most questions under way that his network may have."""
    net = DnsNet()
    it = resolver(net, ONE)
    judging = Judging(peer=IPv4Address("TCP", peer, 40000), dns=it)  # type: ignore[arg-type] # Resolver
    judging.listener.clock.advance(5.0)
    judging.session.take()
    known = Asked(it.text("_dmarc.asks.example"))
    del net.waiting[:-1]  # the client's name
    net.answer(("_dmarc.asks.example", dns.Record_TXT(b"v=DMARC1; p=quarantine"), 3600))
    assert known.items
    for n in range(NETWORK_AT_ONCE):
        Asked(it.line("192.0.2.0/24").mx(f"{n}.dead.test"))
    dead = net.waiting[:]
    del net.waiting[:]
    answer = judging.bring(message, "EHLO evil.test", "MAIL FROM:<a@evil.test>", "RCPT TO:<bob@example.org>", "DATA")
    for _ in range(70):
        while net.waiting:
            name = str(net.waiting[0][2].queries[0].name)
            if author_answers and name == "_dmarc.bank.example":
                net.answer((name, dns.Record_TXT(b"v=DMARC1; p=reject"), 60))
            elif author_answers:
                net.answer(code=dns.ENAME)
            else:
                dead.append(net.waiting.pop(0))
        judging.listener.clock.advance(0.5)
        answer = answer or judging.session.take().strip()
    return answer, judging


@each("message", [
    BANK,
    BANK.replace(b"ceo@", b"x@asks.example, ceo@"),  # of the other one it is known, and less is asked
    BANK.replace(b"ceo@", b"x@[192.0.2.1], ceo@"),   # nobody can tell whose it is
])
def test_who_fills_his_network_s_turns_gains_nothing_by_it(message: bytes) -> None:
    answer, judging = crowding(message, "192.0.2.1", author_answers=True)
    assert answer == "451 4.3.2 Too much mail is looked into now; please try again later"
    assert judging.seen == []
    assert judging.listener.stored() == []
    (refused,) = judging.facts(fact.Rejected)
    assert (refused.rule, refused.why) == ("trust", "too many questions to DNS for one network")


def test_nor_does_he_keep_others_waiting() -> None:
    answer, _ = crowding(BANK, "198.51.101.1", author_answers=True)
    assert answer.startswith("550 5.7.1 bank.example asks")
    # An author who does not answer is his own trouble, where there was no crowd.
    answer, judging = crowding(BANK, "198.51.101.1", author_answers=False)
    assert answer.startswith("250")
    (seen,) = judging.seen
    assert seen.authentication is not None
    assert seen.authentication.word("dmarc") == "temperror"
