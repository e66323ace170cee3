"""The policies of domains: fetched once for all who wait, remembered, never forgotten for somebody's trouble."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from mailgw.deliver import mta_sts
from mailgw.deliver.mta_sts import LOOK_SECONDS, StsPolicies
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, StsPolicyFailed, StsPolicyFetched
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import TlsFailure, TlsResult
from mailgw.net.https import HttpAnswer
from mailgw.net.sts_fetch import PolicyFetcher
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.mtasts import FETCH_SECONDS, NotFetched, Remembered
from tests.logged import LoggedFailures
from tests.tables import each

NOW = 1_700_000_000.0
DAY = 86_400.0
TEXT = b"version: STSv1\nmode: enforce\nmx: mx.example\nmax_age: 604800\n"
POLICY = StsPolicy(StsMode.ENFORCE, ("mx.example",), 604_800, "1")
DOWN = NotFetched(TlsFailure.STS_POLICY_FETCH_ERROR, "nobody is there")


class Bench:
    """Policies, and the world around them: what DNS says, what HTTPS serves, what the file held."""

    def __init__(self, remembered: Mapping[str, Remembered] | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.resolver = FakeResolver()
        self.says("1")
        self.serves: Any = TEXT
        self.fetched: list[str] = []
        self.held: list[Deferred[Any]] | None = None
        self.remembered = remembered or {}
        self.reading: Deferred[None] | None = None
        self.reads = self.changes = 0
        self.facts: list[Event] = []
        self.results: list[TlsResult] = []
        self.policies = StsPolicies(
            self.resolver, self.fetch, self, self, self.results.append, self.clock, self.clock.seconds
        )

    def says(self, policy_id: str | None) -> None:
        """What the record in DNS says from now on; None: there is none."""
        records = {} if policy_id is None else {"_mta-sts.a.example": [b"v=STSv1; id=" + policy_id.encode()]}
        self.resolver.text_records = records

    def is_silent(self) -> None:
        self.resolver.failing = frozenset({"_mta-sts.a.example"})

    async def fetch(self, domain: str) -> Any:
        self.fetched.append(domain)
        if self.held is not None:
            waiting: Deferred[Any] = Deferred()
            self.held.append(waiting)
            return await waiting
        if isinstance(self.serves, Exception):
            raise self.serves
        return self.serves

    async def read(self) -> Mapping[str, Remembered]:
        self.reads += 1
        if self.reading is not None:
            await self.reading
        return self.remembered

    def changed(self) -> None:
        self.changes += 1

    def note(self, event: Event) -> None:
        self.facts.append(event)

    def policy(self, domain: str = "a.example") -> StsPolicy | None:
        return result_of(self.policies.policy(domain))

    def ask(self, domain: str = "a.example") -> "tuple[list[Any], Deferred[Any]]":
        found: list[Any] = []
        task = Deferred.fromCoroutine(self.policies.policy(domain))
        return found, task.addBoth(found.append)


def kept(**changes: Any) -> dict[str, Remembered]:
    return {"a.example": attrs.evolve(Remembered(POLICY, NOW, NOW), **changes)}


# --- learning -------------------------------------------------------------------------------------------

def test_a_policy_is_fetched_once_and_remembered() -> None:
    bench = Bench()
    assert bench.policy() == POLICY
    assert bench.policy("A.Example.") == POLICY
    assert bench.fetched == ["a.example"]
    assert bench.facts == [StsPolicyFetched("a.example", "enforce", ("mx.example",), 604_800, "1")]
    assert bench.policies.remembered == kept()
    assert (bench.reads, bench.changes) == (1, 1)


def test_without_a_record_nothing_is_fetched() -> None:
    bench = Bench()
    bench.says(None)
    assert bench.policy() is None
    bench.is_silent()
    assert bench.policy() is None
    assert bench.policy("[192.0.2.1]") is None
    assert bench.policy("") is None
    assert bench.fetched == []
    assert bench.facts == []


@each(("serves", "result", "why"), [
    (DOWN, TlsFailure.STS_POLICY_FETCH_ERROR, "nobody is there"),
    (NotFetched(TlsFailure.STS_WEBPKI_INVALID, "expired"), TlsFailure.STS_WEBPKI_INVALID, "expired"),
    (b"<html>", TlsFailure.STS_POLICY_INVALID, 'line 1 is not "name: value"'),
])
def test_what_cannot_be_learned_is_told_and_not_asked_for_at_once(serves: Any, result: TlsFailure, why: str) -> None:
    bench = Bench()
    bench.serves = serves
    assert bench.policy() is None
    assert bench.policy() is None
    assert len(bench.fetched) == 1
    assert bench.facts == [StsPolicyFailed("a.example", result.value, why)]
    assert [(one.domain, one.result, one.reason) for one in bench.results] == [("a.example", result, why)]
    bench.serves = TEXT
    bench.clock.advance(299.9)
    assert bench.policy() is None
    bench.clock.advance(0.1)
    assert bench.policy() == POLICY


def test_a_new_id_is_fetched_even_when_the_old_one_failed() -> None:
    bench = Bench()
    bench.serves = DOWN
    assert bench.policy() is None
    bench.says("2")
    bench.serves = TEXT
    assert bench.policy() == attrs.evolve(POLICY, id="2")


# --- what is remembered stays -----------------------------------------------------------------------------

def test_nothing_weakens_what_is_remembered() -> None:
    bench = Bench(kept())
    bench.serves = DOWN
    for change in (lambda: bench.says("2"), lambda: bench.says(None), bench.is_silent):
        change()
        with capturedLogs():
            assert bench.policy() == POLICY
    bench.clock.advance(604_799)
    with capturedLogs():
        assert bench.policy() == POLICY
    bench.clock.advance(1)
    assert bench.policy() is None


def test_a_new_policy_takes_the_place_of_the_old_one() -> None:
    bench = Bench(kept())
    bench.says("2")
    bench.serves = TEXT.replace(b"enforce", b"none")
    assert bench.policy() == attrs.evolve(POLICY, mode=StsMode.NONE, id="2")
    assert len(bench.facts) == 1


def test_it_is_fetched_again_while_mail_goes_on() -> None:
    bench = Bench(kept(fetched=NOW - DAY))
    bench.held = []
    assert bench.policy() == POLICY
    assert bench.policy() == POLICY
    assert len(bench.fetched) == 1
    bench.held[0].callback(TEXT)
    assert bench.policies.remembered["a.example"].fetched == NOW
    assert bench.facts == []  # it is the same


def test_an_operator_hears_once_that_it_cannot_be_fetched_again() -> None:
    bench = Bench(kept(fetched=NOW - DAY))
    bench.serves = DOWN
    with capturedLogs() as logged:
        assert bench.policy() == POLICY
        bench.clock.advance(300)
        assert bench.policy() == POLICY
    assert len(bench.fetched) == 2
    assert [event["why"] for event in logged] == ["nobody is there"]
    quiet = Bench({"a.example": Remembered(attrs.evolve(POLICY, mode=StsMode.NONE), NOW - DAY, NOW)})
    quiet.serves = DOWN
    with capturedLogs() as logged:
        quiet.policy()
    assert logged == []  # s3.3


def test_it_is_fetched_again_without_any_mail() -> None:
    bench = Bench(kept())
    bench.policies.start()
    assert bench.policy() == POLICY
    bench.clock.pump([LOOK_SECONDS] * int(DAY / LOOK_SECONDS - 1))
    assert bench.fetched == []
    bench.clock.advance(LOOK_SECONDS)
    assert bench.fetched == ["a.example"]
    assert bench.policies.remembered["a.example"] == Remembered(POLICY, NOW + DAY, NOW)
    bench.policies.stop()
    assert not bench.clock.getDelayedCalls()


def test_and_after_a_restart() -> None:
    bench = Bench(kept(fetched=NOW - DAY))
    bench.policies.start()
    bench.clock.pump([LOOK_SECONDS, LOOK_SECONDS])
    assert bench.fetched == ["a.example"]
    assert bench.reads == 1
    bench.policies.stop()


def test_the_last_use_is_kept_to_the_hour() -> None:
    bench = Bench(kept())
    bench.clock.advance(3599.9)
    bench.policy()
    assert bench.changes == 0
    bench.clock.advance(0.1)
    bench.policy()
    assert bench.policies.remembered["a.example"].used == NOW + 3600
    assert bench.changes == 1


# --- many at once -----------------------------------------------------------------------------------------

def test_all_who_wait_get_one_fetch() -> None:
    bench = Bench()
    bench.held = []
    asked = [bench.ask() for _ in range(3)]
    assert bench.fetched == ["a.example"]
    asked[0][1].cancel()  # one gives up
    bench.held[0].callback(TEXT)
    assert isinstance(asked[0][0][0], Failure)
    assert asked[0][0][0].check(CancelledError)
    assert [found for found, _ in asked[1:]] == [[POLICY], [POLICY]]


def test_the_file_is_read_once_for_all() -> None:
    bench = Bench(kept())
    bench.reading = Deferred()
    asked = [bench.ask() for _ in range(3)]
    asked[0][1].cancel()
    bench.reading.callback(None)
    assert [found for found, _ in asked[1:]] == [[POLICY], [POLICY]]
    assert bench.reads == 1


def test_fetches_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta_sts, "FETCHES", 2)
    bench = Bench({"d.example": Remembered(POLICY, NOW - DAY, NOW)})
    bench.resolver.text_records = {f"_mta-sts.{x}.example": [b"v=STSv1; id=1"] for x in "abcd"}
    bench.held = []
    asked = [bench.ask(f"{x}.example") for x in "abc"]
    assert bench.fetched == ["a.example", "b.example"]
    assert bench.policy("d.example") == POLICY  # its fetch waits for a quiet moment
    bench.held[0].callback(TEXT)
    assert bench.fetched == ["a.example", "b.example", "c.example"]
    bench.held[1].callback(TEXT)
    bench.held[2].callback(TEXT)
    assert [found for found, _ in asked] == [[POLICY]] * 3
    assert bench.policy("d.example") == POLICY
    assert bench.fetched[-1] == "d.example"


def test_a_turn_is_waited_for_no_longer_than_a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta_sts, "FETCHES", 1)
    bench = Bench({"b.example": Remembered(attrs.evolve(POLICY, id="0"), NOW, NOW)})
    bench.resolver.text_records = {f"_mta-sts.{x}.example": [b"v=STSv1; id=1"] for x in "abc"}
    bench.held = []
    first, second, third = (bench.ask(f"{x}.example")[0] for x in "abc")
    bench.clock.advance(FETCH_SECONDS - 1)
    assert (first, second, third) == ([], [], [])
    bench.clock.advance(1)
    assert (first, second, third) == ([], [attrs.evolve(POLICY, id="0")], [None])
    assert [(event.domain, event.why) for event in bench.facts if isinstance(event, StsPolicyFailed)] == [
        ("b.example", "too many fetches are under way"), ("c.example", "too many fetches are under way"),
    ]
    assert bench.results == []
    bench.held[0].callback(TEXT)
    assert first == [POLICY]
    third, _ = bench.ask("c.example")
    bench.held[1].callback(TEXT)
    assert third == [POLICY]
    assert not bench.clock.getDelayedCalls()


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta_sts, "POLICIES", 3)
    old = {f"{x}.example": Remembered(POLICY, NOW, NOW - age) for x, age in (("b", 5), ("c", 7), ("d", 6))}
    bench = Bench(old)
    assert bench.policy() == POLICY
    assert set(bench.policies.remembered) == {"a.example", "b.example", "d.example"}
    expired = Bench({**old, "d.example": Remembered(POLICY, NOW - 604_800, NOW)})
    assert expired.policy() == POLICY
    assert set(expired.policies.remembered) == {"a.example", "b.example", "c.example"}


def test_failures_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mta_sts, "FAILURES", 1)
    bench = Bench()
    bench.resolver.text_records = {f"_mta-sts.{x}.example": [b"v=STSv1; id=1"] for x in "ab"}
    bench.serves = DOWN
    for domain in ("a.example", "b.example", "b.example", "a.example"):
        assert bench.policy(domain) is None
    assert bench.fetched == ["a.example", "b.example", "a.example"]


def test_trouble_of_ours_is_nobody_s_policy(logged_failures: LoggedFailures) -> None:
    bench = Bench()
    bench.serves = RuntimeError("a bug")
    assert bench.policy() is None
    assert bench.policy() is None
    assert len(bench.fetched) == 1
    assert [str(trouble) for trouble in logged_failures.take()] == ["a bug"]


def test_a_stop() -> None:
    bench = Bench(kept())
    bench.policies.start()
    bench.resolver.text_records = {"_mta-sts.b.example": [b"v=STSv1; id=1"]}
    bench.held = []
    found, _ = bench.ask("b.example")
    bench.policies.stop()
    assert found == [None]
    assert not bench.clock.getDelayedCalls()
    assert bench.policy("b.example") is None
    assert bench.policy("a.example") == POLICY
    assert bench.fetched == ["b.example"]
    bench.policies.stop()


# --- fetching ---------------------------------------------------------------------------------------------

class Web:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def get(self, url: str) -> HttpAnswer:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: HttpAnswer = self.answer
        return answer


@each(("answer", "found"), [
    (HttpAnswer(200, b"x", "text/plain"), b"x"),
    (HttpAnswer(200, b"x", "Text/Plain ; charset=utf-8; y=z"), b"x"),
    (HttpAnswer(200, b"x\n", "text/plain", False), b"x\n"),
    (HttpAnswer(200, b"x", "text/plain", False), "breaks off within a line"),
    (HttpAnswer(200, b"x", ""), "is no text/plain"),
    (HttpAnswer(200, b"x", "text/html"), "is no text/plain"),
    (HttpAnswer(200, b"x", "text/plainer"), "is no text/plain"),
    (HttpAnswer(301, b"x", "text/plain"), "answers 301"),
    (HttpAnswer(404, b"x", "text/plain"), "answers 404"),
    (HttpAnswer(204, b"", "text/plain"), "answers 204"),
    (TemporaryFault("no answer within 60 s"), "no answer within 60 s"),
])
def test_what_is_fetched(answer: Any, found: Any) -> None:
    web = Web(answer)
    result = result_of(PolicyFetcher(web)("a.example"))
    assert web.asked == ["https://mta-sts.a.example/.well-known/mta-sts.txt"]
    if isinstance(found, bytes):
        assert result == found
    else:
        assert isinstance(result, NotFetched)
        assert result.failure is TlsFailure.STS_POLICY_FETCH_ERROR
        assert result.why.endswith(found)
