"""The spool in memory keeps the promises of a spool, and never suspends."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Spool
from mailgw.spool.memory import MemorySpool
from tests.spool.contract import ARRIVAL, LEASE_SECONDS, TO_BOB, SpoolContract, commit

T = TypeVar("T")


class MemoryWorld:
    def __init__(self) -> None:
        self.now = 1_700_000_000.5
        self.memory = MemorySpool(lambda: self.now, LEASE_SECONDS)
        self.spool: Spool = self.memory

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]  # StopIteration is not generic
        raise AssertionError("it suspended")

    def fill(self) -> None:
        self.memory.is_full = True

    def empty(self) -> None:
        self.memory.is_full = False


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


class TestMemory(SpoolContract):
    def test_a_commit_while_full_is_refused(self, world: MemoryWorld) -> None:
        draft = world.spool.draft()
        draft.write(b"x")
        world.fill()
        with pytest.raises(TemporaryFault):
            world.run(draft.commit(ARRIVAL, TO_BOB, True))

    def test_leases_end_when_it_closes(self, world: MemoryWorld) -> None:
        commit(world, b"x")
        world.run(world.spool.close())
        assert len(world.run(world.spool.claim("out/example.net", 5))) == 1
