"""All that is found out of one message, by a DNS that says anything, late, or never: in bounds, and in words."""

import random
from collections.abc import Sequence

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import UNKNOWN_NAME
from mailgw.mail.names import MxRecord, Records
from mailgw.net.bounded_dns import BoundedDns
from mailgw.policy.rules.authentic import WORDS
from mailgw.receive.authenticity import AUTHOR_QUESTIONS, OWN_QUESTIONS, QUESTIONS, Pauses, together
from mailgw.trust.dkim import DkimRules
from mailgw.trust.dkim_key import LoadedKeys
from mailgw.trust.evidence import Bringer, Evidence, EvidenceRules, Gathering, Means
from tests.trust.dkim_mail import HEADER, NOW, rsa_key, signed
from tests.trust.hostile_dns import HostileResolver
from tests.trust.test_arc_signatures import sealed

SECONDS = 30.0
RULES = EvidenceRules("mx.here.test", DkimRules(10, 1 << 20, False, True), frozenset(), heeds_pct=False)
MESSAGE = sealed(sealed(signed(HEADER.replace(b"football.example.com", b"a.test"), key=rsa_key())))


@attrs.define
class LateResolver(HostileResolver):
    """``lateness`` of its answers come when they like, or never."""

    lateness: float = 0.0
    clock: Clock = attrs.field(factory=Clock)

    async def text(self, domain: str) -> Records[bytes]:
        await self._late()
        return await HostileResolver.text(self, domain)

    async def mx(self, domain: str) -> Records[MxRecord]:
        await self._late()
        return await HostileResolver.mx(self, domain)

    async def a(self, host: str) -> Records[str]:
        await self._late()
        return await HostileResolver.a(self, host)

    async def names(self, address: str) -> Sequence[str]:
        await self._late()
        return await HostileResolver.names(self, address)

    async def _late(self) -> None:
        chance = random.Random(f"{self.seed} {len(self.names_asked)}")
        if chance.random() < self.lateness:
            answer: Deferred[None] = Deferred()
            if chance.random() < 0.7:
                seconds = chance.choice((0.0, 1.0, 9.0, 40.0))
                self.clock.callLater(seconds, lambda: answer.called or answer.callback(None))
            await answer


def found(seed: int, lateness: float, questions: int) -> tuple[Evidence, LateResolver]:
    """The evidence, and who was asked."""
    hostile = LateResolver(seed, lateness=lateness)
    doors = [
        BoundedDns(hostile, hostile.clock, seconds, min(questions, most))
        for seconds, most in ((SECONDS, questions), (SECONDS / 3, OWN_QUESTIONS), (SECONDS, AUTHOR_QUESTIONS))
    ]
    end = MESSAGE.index(b"\r\n\r\n") + 4
    gathering = Gathering(MESSAGE[:end], RULES, LoadedKeys(4), NOW)
    gathering.feed(MESSAGE[end:])
    gathering.end()
    bringer = Bringer("192.0.2.1", "b.test", Mailbox("ann", "a.test"), UNKNOWN_NAME)
    waiting = Deferred.fromCoroutine(
        gathering.evidence(bringer, Means(*doors, together, Pauses(hostile.clock), lambda: 0.5)))
    results: list[Evidence] = []
    waiting.addCallback(results.append)  # type: ignore[unused-awaitable] # it has fired below
    waited = 0
    while not results and waited <= SECONDS:
        hostile.clock.advance(1.0)
        waited += 1
    (result,) = results
    for door in doors:
        door.close()
    return result, hostile


@given(st.integers(0, 1 << 32), st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0]), st.sampled_from([0, 1, 3, 10, QUESTIONS]))
def test_it_is_in_bounds_and_in_words(seed: int, lateness: float, questions: int) -> None:
    result, hostile = found(seed, lateness, questions)
    most = questions + min(questions, OWN_QUESTIONS) + min(questions, AUTHOR_QUESTIONS)
    assert len(hostile.names_asked) <= most
    words = {(one.method, one.result) for one in result.authentication.results}
    assert {method for method, _ in words} == {"spf", "dkim", "arc", "dmarc", "iprev"}
    assert all(word in WORDS[method] or method == "dmarc" for method, word in words), words
    if questions == 0:
        assert {"spf=temperror", "dkim=temperror", "arc=temperror", "dmarc=temperror"} <= {
            f"{method}={word}" for method, word in words}
