"""A reactor's clock is one that nobody sets."""

import time

import pytest
from twisted.internet import reactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock

from mailgw.net.steady import make_steady
from mailgw.world import World


@pytest.fixture
def one() -> SelectReactor:
    made = SelectReactor()
    made.seconds = lambda: time.time()  # as of Twisted, but for those who set it here
    return made


def test_it_goes_on_from_where_it_is(one: SelectReactor) -> None:
    met: list[str] = []
    one.callLater(100, met.append, "late")
    one.callLater(0, met.append, "soon")
    before = one.seconds()
    make_steady(one)
    assert 0 <= one.seconds() - before < 10
    one.runUntilCurrent()
    assert met == ["soon"]
    [call] = one.getDelayedCalls()
    assert 90 < call.getTime() - one.seconds() <= 100
    steady = one.seconds
    make_steady(one)
    assert one.seconds is steady


def test_a_wall_clock_that_is_set_holds_nothing_up_and_ends_nothing(
    one: SelectReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[str] = []
    early = one.callLater(3600, met.append, "early")
    make_steady(one)
    one.callLater(0.0, met.append, "x")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    one.runUntilCurrent()
    assert met == ["x"]
    monkeypatch.setattr(time, "time", lambda: 4e9)
    early.reset(0.0)
    one.callLater(3600, met.append, "y")
    one.runUntilCurrent()
    assert met == ["x", "early"]


def test_the_clock_of_others_is_theirs() -> None:
    clock = Clock()
    make_steady(clock)
    assert clock.seconds() == 0.0


def test_a_gateway_s_is_steady() -> None:
    World(reactor, time.time)
    assert getattr(reactor.seconds, "is_steady", False)  # type: ignore[attr-defined]
