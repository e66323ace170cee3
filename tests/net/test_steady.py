"""A reactor's clock is one that nobody sets."""

import time

import pytest
from twisted.internet import reactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from mailgw.net.steady import make_steady
from mailgw.world import World


def test_what_is_scheduled_stays_as_far_ahead_and_in_its_order() -> None:
    one = SelectReactor()
    calls = [one.callLater(seconds, str) for seconds in (100, 50, 200, 10)]
    one.runUntilCurrent()  # into the heap
    calls.append(one.callLater(20, str))
    calls[3].cancel()
    make_steady(one)
    assert one.seconds is time.monotonic
    calls.append(one.callLater(70, str))
    calls[1].reset(60)
    now = time.monotonic()
    left = [round(call.getTime() - now) for call in calls if call.active()]
    assert left == [100, 60, 200, 20, 70]
    one.runUntilCurrent()
    times = [call.time for call in one._pendingTimedCalls]
    assert times[0] == min(times)
    assert round(one.timeout() or 0) == 10  # of who was cancelled
    before = [call.time for call in calls]
    make_steady(one)
    assert [call.time for call in calls] == before


def test_a_wall_clock_that_is_put_back_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    one = SelectReactor()
    make_steady(one)
    met: list[str] = []
    one.callLater(0.0, met.append, "x")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    one.runUntilCurrent()
    assert met == ["x"]


def test_the_clock_of_others_is_theirs() -> None:
    clock = Clock()
    make_steady(clock)
    assert clock.seconds() == 0.0


def test_a_gateway_s_is_steady() -> None:
    assert World(reactor, time.time).reactor.seconds is time.monotonic
