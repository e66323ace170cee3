"""What an operator is told of a lane."""

from collections.abc import Callable
from typing import Any

import attrs

from mailgw.mail.outcome import Outcome
from mailgw.queue.lanes import Lane
from mailgw.queue.replies import LaneOrder, ReplyClass


@attrs.frozen
class LaneFacts:
    """``state`` is "well", "unwell", "dead", "paused" (what was said is in a class of replies that pauses the lane) or
    "suspended"; ``waiting`` counts messages in memory, ``has_more`` says that more are due on disk;
    ``unwell_since`` and ``opens_at`` (when the next attempt may begin) in epoch seconds,
    None where that says nothing; ``said`` is what the last attempt in trouble was told; ``shared`` names the gates
    that it shares with others."""

    lane: str
    state: str
    active: int
    window: int
    limit: int
    waiting: int
    has_more: bool
    unwell_since: float | None
    opens_at: float | None
    said: str
    shared: tuple[str, ...]


def lane_facts(
    lane: Lane[Any], now: float, lead_seconds: float, reply_class: Callable[[Outcome], ReplyClass | None]
) -> LaneFacts:
    """``now`` by the clock of the lane, which wall time is ``lead_seconds`` ahead of; ``reply_class``: an outcome's."""
    unwell = [gate for gate in (lane.gate, *lane.shared) if gate.troubles]
    said = [gate for gate in unwell if gate.said is not None]
    latest = max(said, key=lambda gate: gate.said_of).said if said else None
    found = reply_class(latest) if latest is not None else None
    if lane.is_suspended:
        state = "suspended"
    elif found is not None and found.lane is LaneOrder.PAUSE:
        state = "paused"
    elif lane.dead_gate() is not None:
        state = "dead"
    else:
        state = "unwell" if unwell else "well"
    since = [gate.unwell_since for gate in unwell if gate.unwell_since is not None]
    closed = lane.closed_gate(now)
    opens_at = None if closed is None or closed.opens_at(now) == float("inf") else closed.opens_at(now) + lead_seconds
    return LaneFacts(
        lane=lane.key,
        state=state,
        active=lane.gate.active,
        window=lane.gate.window,
        limit=lane.gate.bounds.concurrency,
        waiting=len(lane.waiting),
        has_more=lane.has_more,
        unwell_since=min(since) + lead_seconds if since else None,
        opens_at=opens_at,
        said="" if latest is None else f"{latest.hop}: {latest.reply}" if latest.hop else str(latest.reply),
        shared=tuple(gate.key for gate in lane.shared),
    )
