"""How far back a look goes."""

import math

from twisted.internet.task import Clock

from mailgw.deliver.agenda import ALL_SECONDS, OVERLAP_AGAIN_SECONDS, OVERLAP_SECONDS, Looks
from mailgw.mail.message import Agenda
from mailgw.spool.memory import MemorySpool
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import START


class Asked(MemorySpool):
    def __init__(self) -> None:
        super().__init__(lambda: START)
        self.since: list[float] = []

    async def agenda(self, since: float) -> Agenda:
        self.since.append(since)
        return Agenda((), None, None)


def test_what_was_written_late_is_looked_for_every_few_seconds() -> None:
    clock, spool = Clock(), Asked()
    looks = Looks(spool, clock, clock.seconds, 3600.0)
    for _ in range(12):
        result_of(looks.look())
        clock.advance(1.0)
    assert spool.since == [
        -math.inf, 0.0, 1.0, 2.0, 3.0, 0.0 - OVERLAP_SECONDS,
        5.0, 6.0, 7.0, 8.0, OVERLAP_AGAIN_SECONDS - OVERLAP_SECONDS, 10.0,
    ]
    looks.look_through()
    result_of(looks.look())
    clock.advance(30.0)
    result_of(looks.look())
    clock.advance(ALL_SECONDS)
    result_of(looks.look())
    assert spool.since[12:] == [-math.inf, 12.0 - OVERLAP_SECONDS, -math.inf]
