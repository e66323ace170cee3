"""Of several signals to stop the first one counts, and is the reactor's."""

import signal
from collections.abc import Iterator

import pytest

from mailgw.net.stopping import STOPPING, stop_at_the_first
from tests.tables import each


class Reactor:
    """As Twisted's: its handlers are its methods."""

    def __init__(self) -> None:
        self.stopped: list[int] = []
        for number in STOPPING:
            signal.signal(number, self.stop)

    def stop(self, number: int, frame: object) -> None:
        self.stopped.append(number)


@pytest.fixture(autouse=True)
def handlers_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@each("first", STOPPING)
def test_the_first_one_counts(first: int) -> None:
    reactor = Reactor()
    stop_at_the_first(reactor)
    for number in (first, signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(number)
    assert reactor.stopped == [first]


def test_another_s_handler_is_left_alone() -> None:
    reactor = Reactor()
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    stop_at_the_first(reactor)
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        signal.raise_signal(number)
    assert (heard, reactor.stopped) == ([signal.SIGINT] * 2, [signal.SIGTERM])
