"""The queue of a gateway under test: in memory, with a memory of all that was ever put in it, and a power that may
fail before and after each write."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailgw.mail.address import Mailbox
from mailgw.mail.message import (
    EVERYTHING,
    Agenda,
    Arrival,
    Claim,
    Destination,
    Gone,
    LaneRow,
    Notice,
    Page,
    Position,
    Query,
    QueueRow,
    Settlement,
    Stretch,
)
from mailgw.mail.ports import Draft, WallClock
from mailgw.spool.memory import MemoryDraft, MemorySpool
from mailgw.testing.power import Power

T = TypeVar("T")


@attrs.frozen
class Stored:
    """A message that was put in the queue: received, or (``is_ours``) written by the gateway."""

    queue_id: str
    arrival: Arrival
    octets: bytes
    destinations: tuple[Destination, ...]
    is_ours: bool


class KeptSpool(MemorySpool):
    """It outlives the gateway, as a database does; ``everything`` has each message by its queue id."""

    def __init__(self, wall_clock: WallClock, lease_seconds: float, node: str, late_seconds: float) -> None:
        super().__init__(wall_clock, lease_seconds, node, late_seconds)
        self.everything: dict[str, Stored] = {}

    def put(
        self, queue_id: str, octets: bytes, arrival: Arrival, destinations: Sequence[Destination], claim: bool
    ) -> tuple[Claim, ...]:
        claims = super().put(queue_id, octets, arrival, destinations, claim)
        is_ours = not arrival.peer
        self.everything[queue_id] = Stored(queue_id, arrival, octets, tuple(destinations), is_ours)
        return claims


    def is_done(self) -> bool:
        """Whether nobody in it waits, or is being tried."""
        return all(row.due is None for queued in self._queue.values() for row in queued.rows.values())


class LivingSpool:
    """A ``mail.ports.Spool``: the kept one as one life of the gateway has it.  A write takes a turn of the reactor, as
    one on a disk does, and no time."""

    def __init__(self, kept: KeptSpool, power: Power, clock: IReactorTime) -> None:
        self._kept = kept
        self._power = power
        self._clock = clock

    async def write(self, what: str, do: Callable[[], Awaitable[T]]) -> T:
        turn: Deferred[None] = Deferred()
        self._clock.callLater(0, turn.callback, None)
        await turn
        return await self._power.write(what, do)

    def draft(self) -> Draft:
        return _Draft(self._kept, self._kept.draft().queue_id, self)

    def renew(self, reserve_octets: int, lease_seconds: float, late_seconds: float) -> None:
        self._kept.renew(reserve_octets, lease_seconds, late_seconds)

    def room(self) -> bool:
        return self._kept.room()

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        return await self.write("claim", lambda: self._kept.claim(lane, limit, after))

    async def claim_late(self, limit: int) -> tuple[Claim, ...]:
        return await self.write("claim_late", lambda: self._kept.claim_late(limit))

    async def release(self, claim: Claim) -> None:
        await self.write("release", lambda: self._kept.release(claim))

    async def come_closer(self, longest_wait_seconds: float) -> int:
        return await self.write("come_closer", lambda: self._kept.come_closer(longest_wait_seconds))

    async def agenda(self, since: float) -> Agenda:
        return await self._kept.agenda(since)

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        words = ", ".join(type(one).__name__ for one in settlements)
        return await self.write(f"record {words}", lambda: self._kept.record(claim, settlements, notices))

    async def search(self, query: Query, limit: int) -> Sequence[QueueRow]:
        return await self._kept.search(query, limit)

    async def page(
        self, query: Query, limit: int, after: Position | None, seconds: float, newest_first: bool = False
    ) -> Page:
        return await self._kept.page(query, limit, after, seconds, newest_first)

    async def content(self, queue_id: str, limit_octets: int, start_octets: int = 0) -> bytes | None:
        return await self._kept.content(queue_id, limit_octets, start_octets)

    async def stretch(self, after: Position | None) -> Stretch:
        return await self._kept.stretch(after)

    async def lanes(self, query: Query = EVERYTHING) -> Sequence[LaneRow]:
        return await self._kept.lanes(query)

    async def hold(self, query: Query) -> int:
        return await self.write("hold", lambda: self._kept.hold(query))

    async def unhold(self, query: Query) -> int:
        return await self.write("unhold", lambda: self._kept.unhold(query))

    async def retry(self, query: Query) -> int:
        return await self.write("retry", lambda: self._kept.retry(query))

    async def reroute(self, query: Query, lane_for: Callable[[Mailbox], str | None]) -> int:
        return await self.write("reroute", lambda: self._kept.reroute(query, lane_for))

    async def remove(self, query: Query, gone: list[Gone] | None = None) -> int:
        return await self.write("remove", lambda: self._kept.remove(query, gone))

    def suspended(self) -> Mapping[str, float]:
        return self._kept.suspended()

    async def suspend(self, word: str) -> bool:
        return await self.write("suspend", lambda: self._kept.suspend(word))

    async def resume(self, word: str) -> bool:
        return await self.write("resume", lambda: self._kept.resume(word))

    async def close(self) -> None:
        await self._kept.close()


class _Draft(MemoryDraft):
    def __init__(self, kept: KeptSpool, queue_id: str, living: LivingSpool) -> None:
        super().__init__(kept, queue_id)
        self._kept = kept
        self._living = living

    def anew(self) -> "_Draft":
        return _Draft(self._kept, self.queue_id, self._living)

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        commit = super().commit
        return await self._living.write("commit", lambda: commit(arrival, destinations, claim))
