import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.net.supervised import BLOCKING_SECONDS, TRACEBACKS, CalledFor, PluginFault, Supervisor
from mailgw.policy.breaker import BreakerSettings
from tests.logged import LoggedFailures
from tests.tables import each

ABOUT = CalledFor("RCPT", "s1", "q1")


class Bench:
    def __init__(self, failures: int = 3, under_way: int = 2) -> None:
        self.clock: Any = Clock()
        self.facts: list[Event] = []
        breaker = BreakerSettings(failures, 5.0, 60.0)
        self.supervisor = Supervisor("rule slow", 10.0, self.clock, self.facts.append, breaker, under_way)

    def call(self, make: Callable[[], object]) -> "Deferred[object]":
        return Deferred.fromCoroutine(self.supervisor.call(ABOUT, make))

    def whys(self) -> list[str]:
        return [fact.why for fact in self.facts if isinstance(fact, Trouble)]


def now(answer: "Deferred[object]") -> object:
    """Its result, or its exception, as it is by now."""
    found: list[object] = []
    answer.addBoth(found.append)
    assert found, "it waits"
    return getattr(found[0], "value", found[0])


def why(answer: "Deferred[object]") -> str:
    fault = now(answer)
    assert isinstance(fault, PluginFault)
    return fault.why


async def seven() -> int:
    return 7


class Promise:
    def __await__(self) -> Any:
        return seven().__await__()


@each("make", [seven, lambda: 7, lambda: succeed(7), Promise])
def test_whatever_kind_of_answer_it_gives(make: Callable[[], object]) -> None:
    bench = Bench()
    assert now(bench.call(make)) == 7
    assert bench.facts == []
    assert bench.clock.getDelayedCalls() == []


def test_an_answer_that_comes_in_time() -> None:
    bench = Bench()
    gate: Deferred[int] = Deferred()

    async def slow() -> int:
        return await gate

    answer = bench.call(slow)
    bench.clock.advance(9.9)
    gate.callback(7)
    assert now(answer) == 7
    assert bench.clock.getDelayedCalls() == []


def test_one_that_hangs_is_cancelled() -> None:
    bench = Bench()
    gate: Deferred[int] = Deferred()
    answer = bench.call(lambda: gate)
    bench.clock.advance(9.999)
    assert not answer.called
    bench.clock.advance(0.001)
    assert why(answer) == "did not answer within 10 s"
    assert isinstance(now(gate), (CancelledError, type(None)))
    assert bench.facts == [Trouble("rule slow", "did not answer within 10 s", "s1", "q1")]


def test_one_that_does_not_heed_its_cancellation_is_not_waited_for(logged_failures: LoggedFailures) -> None:
    bench = Bench(under_way=1)
    gate: Deferred[None] = Deferred()

    async def stubborn() -> int:
        try:
            await Deferred()
        except CancelledError:
            await gate
        raise ValueError("much later")

    answer = bench.call(stubborn)
    bench.clock.advance(10)
    assert why(answer) == "did not answer within 10 s"
    # It counts as long as it is there: leaks have an end.
    assert why(bench.call(seven)) == "has 1 calls under way"
    gate.callback(None)
    assert [str(error) for error in logged_failures.take()] == ["much later"]
    assert now(bench.call(seven)) == 7


def raises(error: Exception) -> Callable[[], object]:
    def make() -> object:
        raise error

    return make


async def raises_later(error: Exception) -> int:
    raise error


@each(
    "make",
    [raises(ValueError("secret")), lambda: raises_later(ValueError("secret")), lambda: fail(ValueError("secret"))],
)
def test_one_that_raises(logged_failures: LoggedFailures, make: Callable[[], object]) -> None:
    bench = Bench()
    assert why(bench.call(make)) == "raised ValueError"
    assert bench.facts == [Trouble("rule slow", "raised ValueError", "s1", "q1")]
    assert [str(error) for error in logged_failures.take()] == ["secret"]  # in the log alone


def test_so_many_tracebacks_a_minute(logged_failures: LoggedFailures) -> None:
    bench = Bench(failures=100)
    for _ in range(TRACEBACKS + 1):
        why(bench.call(raises(ValueError())))
    assert len(logged_failures.take()) == TRACEBACKS
    assert len(bench.whys()) == TRACEBACKS + 1
    bench.clock.advance(60)
    why(bench.call(raises(ValueError())))
    assert len(logged_failures.take()) == 1


def test_a_temporary_fault_is_an_answer() -> None:
    bench = Bench(failures=1)
    assert isinstance(now(bench.call(raises(TemporaryFault("no database")))), TemporaryFault)
    assert bench.facts == []
    assert now(bench.call(seven)) == 7


def test_what_fails_again_and_again_is_left_alone_for_a_while(logged_failures: LoggedFailures) -> None:
    bench = Bench()
    for _ in range(3):
        why(bench.call(raises(ValueError())))
    assert len(logged_failures.take()) == 3
    assert bench.whys()[-1] == "raised ValueError; it failed again and again, and is not asked for a while"
    called: list[int] = []
    assert why(bench.call(lambda: called.append(1))) == "failed again and again: it is asked again in 5 s"
    bench.clock.advance(5)
    assert now(bench.call(lambda: called.append(1))) is None
    bench.supervisor.good(ABOUT)
    assert now(bench.call(lambda: called.append(1))) is None
    assert called == [1, 1]


def test_a_lie_is_a_failure() -> None:
    bench = Bench(failures=1)
    assert now(bench.call(seven)) == 7
    assert bench.supervisor.lied(ABOUT, "7 is no Verdict").why == "answered nonsense: 7 is no Verdict"
    assert why(bench.call(seven)) == "failed again and again: it is asked again in 5 s"


def test_who_makes_it_fail_is_alone_in_that(logged_failures: LoggedFailures) -> None:
    bench = Bench()
    mine, others = CalledFor("RCPT", by="192.0.2.0/24"), CalledFor("RCPT", by="198.51.100.0/24")

    def call(about: CalledFor, make: Callable[[], object]) -> "Deferred[object]":
        return Deferred.fromCoroutine(bench.supervisor.call(about, make))

    for _ in range(3):
        why(call(mine, raises(ValueError())))
    assert len(logged_failures.take()) == 3
    assert why(call(mine, seven)) == "failed again and again: it is asked again in 5 s"
    assert now(call(others, seven)) == 7


def test_what_fails_at_once_saves_nobody_a_wait(logged_failures: LoggedFailures) -> None:
    bench = Bench()
    breaker = BreakerSettings(1, 5.0, 60.0)
    supervisor = Supervisor("backend x", 10.0, bench.clock, bench.facts.append, breaker, costly_seconds=5.0)
    gate: Deferred[int] = Deferred()
    assert why(Deferred.fromCoroutine(supervisor.call(ABOUT, raises(ValueError())))) == "raised ValueError"
    answer = Deferred.fromCoroutine(supervisor.call(ABOUT, lambda: gate))
    bench.clock.advance(4.9)
    gate.errback(ValueError())
    assert why(answer) == "raised ValueError"
    assert now(Deferred.fromCoroutine(supervisor.call(ABOUT, seven))) == 7
    hangs = Deferred.fromCoroutine(supervisor.call(ABOUT, Deferred))
    bench.clock.advance(10)
    assert why(hangs) == "did not answer within 10 s"
    assert why(Deferred.fromCoroutine(supervisor.call(ABOUT, seven))) == (
        "failed again and again: it is asked again in 5 s")
    logged_failures.take()


def test_who_holds_everything_up_is_named_once_a_minute() -> None:
    bench = Bench()

    async def busy(first: float, second: float) -> None:
        bench.clock.advance(first)
        await succeed(None)
        gate: Deferred[None] = Deferred()
        bench.clock.callLater(1, gate.callback, None)
        await gate
        bench.clock.advance(second)

    for first, second in ((0.04, 0.04), (0.0, BLOCKING_SECONDS + 0.001), (0.25, 0.0), (0.3, 0.0)):
        answer = bench.call(lambda one=first, two=second: busy(one, two))  # type: ignore[misc]
        bench.clock.advance(1)
        now(answer)
    assert bench.whys() == ["held everything up for 0.051 s in one step"]
    bench.clock.advance(60)
    answer = bench.call(lambda: bench.clock.advance(0.5))
    now(answer)
    assert bench.whys()[1] == "held everything up for 0.500 s in one step, 3 times since it was told"


def test_a_wall_clock_that_jumps_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_is, facts = [1000.0], []
    wall = lambda: now_is[0]  # noqa: E731 - as Twisted has it: the function itself is the reactor's
    monkeypatch.setattr(time, "time", wall)

    class Reactor(Clock):
        seconds = staticmethod(wall)  # type: ignore[assignment]

    supervisor = Supervisor("rule slow", 10.0, Reactor(), facts.append)  # type: ignore[arg-type]

    async def meanwhile() -> None:
        now_is[0] += 3600.0

    now(Deferred.fromCoroutine(supervisor.call(ABOUT, meanwhile)))
    assert facts == []


def test_the_caller_cancels_it() -> None:
    bench = Bench()
    gate: Deferred[int] = Deferred()
    answer = bench.call(lambda: gate)
    answer.cancel()
    assert isinstance(now(answer), CancelledError)
    assert bench.facts == []
    assert bench.clock.getDelayedCalls() == []


def test_the_caller_cancels_one_that_does_not_heed_it() -> None:
    bench = Bench()
    gate: Deferred[None] = Deferred()

    async def stubborn() -> int:
        try:
            await Deferred()
        except CancelledError:
            await gate
        return 7

    answer = bench.call(stubborn)
    answer.cancel()
    assert isinstance(now(answer), CancelledError)
    assert bench.clock.getDelayedCalls() == []  # nothing that would expire long after
    gate.callback(None)


@each("error", [CancelledError(), SystemExit(1), GeneratorExit(), KeyboardInterrupt()])
def test_what_ends_others_is_a_failure_of_its_own(logged_failures: LoggedFailures, error: Any) -> None:
    for make in (raises(error), lambda: raises_later(error), lambda: fail(error)):
        bench = Bench()
        assert why(bench.call(make)) == f"raised {type(error).__name__}"
        assert bench.whys() == [f"raised {type(error).__name__}"]
        assert len(logged_failures.take()) == 1
    about = CalledFor("deliver")
    answer = Deferred.fromCoroutine(bench.supervisor.watch(about, lambda: raises_later(error)))
    assert why(answer) == f"raised {type(error).__name__}"
    assert len(logged_failures.take()) == 1


@pytest.mark.parametrize("limit", [1, 3])
def test_so_many_calls_are_under_way(limit: int) -> None:
    bench = Bench(under_way=limit)
    gates: list[Deferred[int]] = [Deferred() for _ in range(limit)]

    def waits(gate: "Deferred[int]") -> Awaitable[int]:
        return gate

    answers = [bench.call(lambda gate=gate: waits(gate)) for gate in gates]  # type: ignore[misc]
    assert why(bench.call(seven)) == f"has {limit} calls under way"
    gates[0].callback(1)
    assert now(answers[0]) == 1
    assert now(bench.call(seven)) == 7
    for gate in gates[1:]:
        gate.callback(1)
