"""The queue without a disk: for tests, and for gateways that may lose mail.

It keeps every promise of ``mail.ports.Spool`` but durability, and passes the same contract tests as SQLite.
Its coroutines never suspend, so a test may drive them by hand.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from weakref import WeakKeyDictionary

import attrs
from sortedcontainers import SortedList

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.envelope import path_text
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import (
    EVERYTHING,
    Agenda,
    Arrival,
    Claim,
    Content,
    Destination,
    Finished,
    Gone,
    Held,
    LaneRow,
    Message,
    Notice,
    Page,
    Position,
    Postponed,
    Query,
    QueuedRecipient,
    QueueRow,
    RowState,
    Settlement,
    Stretch,
    Tally,
)
from mailgw.mail.ports import WallClock
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.reasons import HELD_BY_OPERATOR
from mailgw.queue.suspension import MAX_SUSPENSIONS, SUSPENDED, Suspensions
from mailgw.spool.content import MemoryContent
from mailgw.spool.faults import no_room
from mailgw.spool.ids import QueueIds
from mailgw.spool.leases import fresh_claims
from mailgw.spool.rows import (
    first_due,
    first_late,
    held_until,
    is_due,
    record_of,
    recorded,
    rerouted,
    tells_of_lane,
)
from mailgw.spool.waiting import Late, Row, Timed, Waiting

_LAST = "\U0010ffff"  # no queue id comes after it


@attrs.define(eq=False)
class _Queued:
    message: Message
    arrival: Arrival
    rows: dict[int, Row]


class MemorySpool:
    """A ``mail.ports.Spool``.  ``is_full`` may be set at any time, as if the disk had filled up."""

    def __init__(
        self, wall_clock: WallClock, lease_seconds: float = 3600.0, node: str = "m", late_seconds: float = 14400.0
    ) -> None:
        self.is_full = False
        self._wall_clock = wall_clock
        self._lease_seconds = lease_seconds
        self._late_seconds = late_seconds
        self._ids = QueueIds(wall_clock, 0, node)
        self._tokens = count(1)
        self._queue: dict[str, _Queued] = {}
        self._suspended: dict[str, float] = {}
        self._suspensions = Suspensions.of(())
        self._waiting = Waiting()
        self._late = Late()
        self._leases: SortedList[Timed] = SortedList()  # by their end
        self._noticed: WeakKeyDictionary[Claim, set[str]] = WeakKeyDictionary()

    def draft(self) -> "MemoryDraft":
        self.demand_room()
        return MemoryDraft(self, self._ids.next_id())

    def renew(self, reserve_octets: int, lease_seconds: float, late_seconds: float) -> None:
        self._lease_seconds, self._late_seconds = lease_seconds, late_seconds

    def room(self) -> bool:
        return not self.is_full

    def demand_room(self) -> None:
        if self.is_full:
            raise no_room()

    def put(
        self, queue_id: str, octets: bytes, arrival: Arrival, destinations: Sequence[Destination], claim: bool
    ) -> tuple[Claim, ...]:
        """Queue a message; what ``Draft.commit`` and notices come to."""
        now = self._wall_clock()
        content = MemoryContent(octets)
        message = arrival.message(queue_id, now, content)
        due, reason = first_due(arrival, now)
        late = first_late(arrival, now if due is None else due, self._late_seconds)
        rows = {
            n: Row(message, n, destination, due, late, reason=reason) for n, destination in enumerate(destinations, 1)
        }
        self._queue[queue_id] = _Queued(message, arrival, rows)
        for row in rows.values() if due is not None else ():
            self._waiting.add(row)
            self._late.add(row)
        if not claim or not is_due(arrival, now) or any(self._is_suspended(one.lane) for one in destinations):
            return ()
        claims = fresh_claims(message, destinations, self._tokens.__next__)
        for one in claims:
            for recipient in one.recipients:
                self._lease(rows[recipient.row], one.token, now)
        return claims

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        if self._is_suspended(lane):
            return ()
        now = self._wall_clock()
        self._end_leases(now)
        return tuple([
            self._claimed(queue_id, lane, now) for queue_id in self._waiting.due_messages(lane, limit, after, now)])

    async def claim_late(self, limit: int) -> tuple[Claim, ...]:
        now = self._wall_clock()
        found: dict[tuple[str, str], None] = {}
        for late, row in self._late.waiting():
            if late > now:
                break
            where = (row.message.queue_id, row.destination.lane)
            if len(found) >= limit and where not in found:
                break
            found[where] = None
        return tuple(self._claimed(queue_id, lane, now, late=True) for queue_id, lane in found)

    def _claimed(self, queue_id: str, lane: str, now: float, late: bool = False) -> Claim:
        rows = [
            row for row in self._queue[queue_id].rows.values()
            if row.destination.lane == lane and row.due is not None and row.token is None
            and ((row.late is not None and row.late <= now) if late else row.due <= now)
        ]
        token = next(self._tokens)
        recipients = tuple(
            QueuedRecipient(
                row.number, row.destination.recipient, row.attempts, row.warned, row.destination.parameters,
                row.due or 0.0, row.reason)
            for row in sorted(rows, key=lambda row: row.number)
        )
        for row in rows:
            self._lease(row, token, now)
        return Claim(token, lane, self._queue[queue_id].message, recipients)

    async def release(self, claim: Claim) -> None:
        dues = {queued.row: queued.due for queued in claim.recipients}
        for row in self._held_by(claim):
            if row.number in dues:
                self._wait(row, min(dues[row.number], self._wall_clock()))

    async def come_closer(self, longest_wait_seconds: float) -> int:
        now = self._wall_clock()
        latest, lease_end = now + longest_wait_seconds, now + self._lease_seconds
        for lease in list(self._leases.irange((lease_end, _LAST))):
            self._leases.remove(lease)
            _, queue_id, number, row = lease
            row.lease_end = lease_end
            self._leases.add((lease_end, queue_id, number, row))
        count = 0
        for _, _, _, row in list(self._waiting.due_after(latest)):
            if row.token is None and (row.attempts or row.message.parameters.hold_until is None):
                self._wait(row, latest)
                count += 1
        return count

    async def agenda(self, since: float) -> Agenda:
        now = self._wall_clock()
        found: list[tuple[float, str]] = []  # a lane may be in it more than once
        for due, _, _, row in self._leases:
            if due > now:
                break
            found.append((due, row.destination.lane))
        if since == -math.inf:
            found += self._waiting.due_lanes(now)
            since = now
        next_due = None
        for due, _, _, row in self._waiting.due_after(min(since, now)):
            if row.token is not None:
                continue
            if due > now:
                next_due = due
                break
            found.append((due, row.destination.lane))
        found.sort()
        earliest: dict[str, float] = {}
        for due, lane in found:
            if lane not in earliest:
                earliest[lane] = due
        for lane in [lane for lane in earliest if self._is_suspended(lane)] if self._suspended else ():
            del earliest[lane]
        return Agenda(tuple(earliest.items()), next_due, next((late for late, _ in self._late.waiting()), None))

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        held = {row.number: row for row in self._held_by(claim)}
        applied = bool(held) and not settlements
        for settlement in settlements:
            row = held.pop(settlement.row, None)
            if row is not None:
                applied = True
                self._settle(claim.message.queue_id, row, settlement)
        claims: list[Claim] = []
        if applied and notices:
            noticed = self._noticed.setdefault(claim, set())
            for notice in notices:
                if notice.queue_id not in self._queue and notice.queue_id not in noticed:
                    noticed.add(notice.queue_id)
                    claims += self.put(notice.queue_id, notice.octets, notice.arrival, notice.destinations, True)
        self._forget_finished([claim.message.queue_id])
        return tuple(claims)

    async def search(self, query: Query, limit: int) -> Sequence[QueueRow]:
        found = [self._queue_row(queued, row) for queued, row in self._matching(query)]
        return sorted(found, key=lambda row: row.queue_id)[:limit]

    async def page(
        self, query: Query, limit: int, after: Position | None, seconds: float, newest_first: bool = False
    ) -> Page:
        found = [self._queue_row(queued, row) for queued, row in self._matching(query)]
        found.sort(key=lambda row: row.position, reverse=newest_first)
        if after is not None:
            found = [row for row in found if (row.position < after if newest_first else row.position > after)]
        return Page(tuple(found[:limit]), found[limit - 1].position if len(found) >= limit else None)

    async def content(self, queue_id: str, limit_octets: int, start_octets: int = 0) -> bytes | None:
        queued = self._queue.get(queue_id)
        if queued is None:
            return None
        octets = queued.message.content.octets
        assert octets is not None  # a MemoryContent
        return octets[start_octets:start_octets + limit_octets]

    async def stretch(self, after: Position | None) -> Stretch:
        tallies: dict[tuple[str, str], list[Row]] = {}
        for _, row in self._matching(EVERYTHING):
            tallies.setdefault((row.destination.lane, row.reason), []).append(row)
        told = []
        for (lane, reason), rows in sorted(tallies.items()):
            one = self._lane_row(lane, rows)
            told.append(Tally(
                lane, reason, tells_of_lane(reason), one.waiting, one.due_now, one.active, one.held, one.next_due))
        return Stretch(tuple(told), None)

    async def lanes(self, query: Query = EVERYTHING) -> Sequence[LaneRow]:
        lanes: dict[str, list[Row]] = {}
        for _, row in self._matching(query):
            lanes.setdefault(row.destination.lane, []).append(row)
        return [self._lane_row(lane, rows) for lane, rows in sorted(lanes.items())]

    async def hold(self, query: Query) -> int:
        rows = self._inactive(query, lambda row: row.due is not None)
        for _, row in rows:
            self._leave(row)
            row.due = None
            row.reason = f"{HELD_BY_OPERATOR}: {row.reason}" if row.reason else HELD_BY_OPERATOR
        return len(rows)

    async def unhold(self, query: Query) -> int:
        rows = self._inactive(query, lambda row: row.due is None)
        for queued, row in rows:
            waited, row.reason = record_of(row.reason), _unmarked(row.reason)
            if waited and row.reason:  # a rule holds it, too
                continue
            now, due = self._wall_clock(), self._earliest(queued, row)
            row.reason, row.late = row.reason or (held_until(due) if due > now else ""), row.late or now
            self._late.add(row)
            self._wait(row, due)
        return len(rows)

    async def retry(self, query: Query) -> int:
        rows = self._inactive(query)
        for _, row in rows:
            row.reason = _unmarked(row.reason)
            if row.due is None:
                row.late = row.late or self._wall_clock()
                self._late.add(row)
            self._wait(row, self._wall_clock())
        return len(rows)

    async def reroute(self, query: Query, lane_for: Callable[[Mailbox], str | None]) -> int:
        count = 0
        for queued, row in self._inactive(query, lambda row: row.destination.lane != EXPANDED):
            lane = lane_for(row.destination.recipient)
            if lane is not None:
                self._end_lease(row)
                if row.due is not None:
                    self._waiting.remove(row)
                if lane != row.destination.lane:
                    row.reason = rerouted(row.reason)
                row.destination = attrs.evolve(row.destination, lane=lane)
                if row.due is not None:
                    row.due = self._earliest(queued, row)
                    self._waiting.add(row)
                count += 1
        return count

    def suspended(self) -> Mapping[str, float]:
        return self._suspended

    async def suspend(self, word: str) -> bool:
        if word in self._suspended:
            return False
        if len(self._suspended) >= MAX_SUSPENSIONS:
            raise TemporaryFault(f"no more than {MAX_SUSPENSIONS} destinations can be suspended at once")
        self._suspended[word] = self._wall_clock()
        self._suspensions = Suspensions.of(self._suspended)
        return True

    async def resume(self, word: str) -> bool:
        was_there = self._suspended.pop(word, None) is not None
        self._suspensions = Suspensions.of(self._suspended)
        return was_there

    async def remove(self, query: Query, gone: list[Gone] | None = None) -> int:
        found = list(self._matching(query))
        for queued, row in found:
            self._leave(row)
            del queued.rows[row.number]
        if gone is not None:
            gone += [Gone(str(row.destination.recipient), row.destination.lane) for _, row in found]
        self._forget_finished([queued.message.queue_id for queued, _ in found])
        return len(found)

    async def close(self) -> None:
        for queued in self._queue.values():
            for row in queued.rows.values():
                if row.token is not None:
                    self._wait(row, self._wall_clock())

    # --- helpers ----------------------------------------------------------------------------------

    def _leave(self, row: Row) -> None:
        """It waits for nothing more, and nobody holds it."""
        self._end_lease(row)
        if row.due is not None:
            self._waiting.remove(row)
            self._late.remove(row)

    def _wait(self, row: Row, due: float) -> None:
        """It is due then, and nobody holds it."""
        self._end_lease(row)
        if row.due != due:
            if row.due is not None:
                self._waiting.remove(row)
            row.due = due
            self._waiting.add(row)

    def _lease(self, row: Row, token: int, now: float) -> None:
        row.token, row.lease_end = token, now + self._lease_seconds
        self._leases.add((row.lease_end, row.message.queue_id, row.number, row))
        self._waiting.changed(row)

    def _end_lease(self, row: Row) -> None:
        if row.token is not None:
            self._leases.remove((row.lease_end, row.message.queue_id, row.number, row))
            row.token = None
            self._waiting.changed(row)

    def _end_leases(self, now: float) -> None:
        while self._leases and self._leases[0][0] <= now:
            due, _, _, row = self._leases[0]
            self._wait(row, due)

    def _is_suspended(self, lane: str) -> bool:
        return self._suspensions.holds(lane)

    def _earliest(self, queued: _Queued, row: Row) -> float:
        """Now, or when its sender wants it sent."""
        until = queued.message.parameters.hold_until if not row.attempts else None
        return max(self._wall_clock(), until or 0.0)

    def _inactive(
        self, query: Query, is_meant: Callable[[Row], bool] = lambda row: True
    ) -> list[tuple[_Queued, Row]]:
        return [
            (queued, row) for queued, row in self._matching(query.of_orders())
            if self._state(row) != RowState.ACTIVE and is_meant(row)
        ]

    def _lane_row(self, lane: str, rows: Sequence[Row]) -> LaneRow:
        now = self._wall_clock()
        states = [self._state(row) for row in rows]
        dues = [_due(row) for row in rows if self._state(row) == RowState.WAITING]
        told = [row for row in rows if row.reason]
        return LaneRow(
            lane, len(dues), sum(due <= now for due in dues), states.count(RowState.ACTIVE),
            states.count(RowState.HELD), min(dues, default=None),
            max(told, key=lambda row: (tells_of_lane(row.reason), _due(row), row.reason)).reason if told else "",
        )

    def _held_by(self, claim: Claim) -> list[Row]:
        queued = self._queue.get(claim.message.queue_id)
        return [row for row in queued.rows.values() if row.token == claim.token] if queued else []

    def _settle(self, queue_id: str, row: Row, settlement: Settlement) -> None:
        match settlement:
            case Finished():
                self._leave(row)
                del self._queue[queue_id].rows[row.number]
            case Postponed():
                if settlement.late != row.late:
                    self._late.remove(row)
                    row.late = settlement.late
                    self._late.add(row)
                self._wait(row, settlement.due)
                row.attempts, row.reason, row.warned = settlement.attempts, settlement.reason, settlement.warned
            case Held():
                self._leave(row)
                row.due, row.attempts, row.reason = None, settlement.attempts, settlement.reason

    def _forget_finished(self, queue_ids: Iterable[str]) -> None:
        for queue_id in queue_ids:
            if queue_id in self._queue and not self._queue[queue_id].rows:
                del self._queue[queue_id]

    def _state(self, row: Row) -> str:
        if row.due is None:
            return RowState.HELD
        return RowState.ACTIVE if row.token is not None and row.lease_end > self._wall_clock() else RowState.WAITING

    def _is_in(self, query: Query, row: Row) -> bool:
        """The state that is asked for."""
        if query.state != SUSPENDED:
            return query.state in (None, self._state(row))
        return self._state(row) == RowState.WAITING and Suspensions.of(query.suspensions).holds(row.destination.lane)

    def _matching(self, query: Query) -> Iterable[tuple[_Queued, Row]]:
        def same(wanted: str | None, text: str) -> bool:
            return wanted is None or folded(wanted) == folded(text)

        for queue_id, queued in self._queue.items():
            for row in queued.rows.values():
                recipient = row.destination.recipient
                if (
                    query.queue_id in (None, queue_id)
                    and query.lane in (None, row.destination.lane)
                    and self._is_in(query, row)
                    and same(query.sender, path_text(queued.arrival.reverse_path))
                    and same(query.recipient, str(recipient))
                    and same(query.domain, recipient.domain)
                    and same(query.login, queued.arrival.login)
                    and (query.address is None or folded(query.address) in folded(str(recipient))
                         or folded(query.address) in folded(path_text(queued.arrival.reverse_path)))
                    and (query.reason is None or folded(query.reason) in folded(row.reason))
                    and query.record in (None, record_of(row.reason) if row.due is None else "")
                    and (query.arrived_before is None or queued.message.arrived < query.arrived_before)
                    and (query.arrived_after is None or queued.message.arrived > query.arrived_after)
                ):
                    yield queued, row

    def _queue_row(self, queued: _Queued, row: Row) -> QueueRow:
        message, arrival, recipient = queued.message, queued.arrival, row.destination.recipient
        state = self._state(row)
        due = _due(row) if state == RowState.WAITING else None
        return QueueRow(
            message.queue_id, message.arrived, path_text(arrival.reverse_path), str(recipient), recipient.domain,
            row.destination.lane, state, due, row.attempts, row.reason, message.content.size_octets,
            arrival.peer, arrival.helo, arrival.login, arrival.protocol,
            str(arrival.parameters), str(row.destination.parameters), row.number,
        )


def _due(row: Row) -> float:
    """Of one that waits: since its lease ended, if it has one."""
    return row.lease_end if row.token is not None else row.due or 0.0


def _unmarked(reason: str) -> str:
    """The reason without the mark of the hold."""
    return "" if reason == HELD_BY_OPERATOR else recorded(reason).removeprefix(f"{HELD_BY_OPERATOR}: ")


class MemoryDraft:
    """A ``mail.ports.Draft``; the memory takes everything at once, so there is never a backlog."""

    def __init__(self, spool: MemorySpool, queue_id: str) -> None:
        self.queue_id = queue_id
        self.size_octets = 0
        self.backlog_octets = 0
        self._spool = spool
        self._chunks: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.size_octets += len(chunk)

    def crown(self, octets: bytes) -> None:
        self._chunks.insert(0, octets)
        self.size_octets += len(octets)

    async def drained(self) -> None:
        return

    async def content(self) -> Content:
        return MemoryContent(b"".join(self._chunks))

    def anew(self) -> "MemoryDraft":
        return MemoryDraft(self._spool, self.queue_id)

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        octets = b"".join(self._chunks)
        self._chunks.clear()
        self._spool.demand_room()
        return self._spool.put(self.queue_id, octets, arrival, destinations, claim)

    def discard(self) -> None:
        self._chunks.clear()
