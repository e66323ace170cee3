"""Facts on their way to who keeps them: what became of messages that the HTTP API sent, and what web hooks are told.

They have one owner, the only process, or the parent of several; each process that moves mail has a ``Following``, which
hears all facts and hands on, a few times a second, those that are wanted.

Rules:
    What a process has heard and not handed on is lost with it when it is killed: ``FLUSH_SECONDS`` of facts.  A stop
    hands on all.
    Until it is told whose facts are wanted it keeps all that may be, ``MOST_KEPT`` at most.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgw.mail.event import Event, Removed, Result, Undeliverable
from mailgw.mail.ports import WallClock
from mailgw.store.sent import BOUNCED, DEFERRED, DELIVERED, HELD, REMOVED, Outcome

FLUSH_SECONDS: Final = 0.1
FLUSH_FACTS: Final = 200
MOST_KEPT: Final = 10_000
MOST_FOLLOWED: Final = 200_000

Told = Mapping[str, Any]
"""A fact as JSON has it: ``time`` and ``event``, and its fields."""

_OF_RECIPIENTS: Final = (Result, Undeliverable, Removed)

log = Logger()


def told(event: Event, at: float) -> Told:
    return {"time": round(at, 3), "event": event.name, **attrs.asdict(event, recurse=False)}


class Following:
    """``hand_on`` takes several facts, in order."""

    def __init__(
        self, hand_on: Callable[[Sequence[Told]], None], clock: IReactorTime, wall_clock: WallClock
    ) -> None:
        self._wanted: frozenset[str] = frozenset()
        self._hand_on = hand_on
        self._clock = clock
        self._wall_clock = wall_clock
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._is_told = False
        self._early: list[tuple[Event, float]] = []
        self._facts: list[Told] = []
        self._timer: IDelayedCall | None = None

    def hear(self, event: Event) -> None:
        """Never raises, never waits."""
        if event.name in self._wanted:
            self._add(told(event, self._wall_clock()))
        elif isinstance(event, _OF_RECIPIENTS):
            if event.queue_id in self._ids:
                self._add(told(event, self._wall_clock()))
            elif not self._is_told and len(self._early) < MOST_KEPT:
                self._early.append((event, self._wall_clock()))

    def want(self, names: Collection[str]) -> None:
        """Facts of these names are wanted of whatever message, and no others any more."""
        self._wanted = frozenset(names)

    def follow(self, queue_ids: Iterable[str]) -> None:
        """What becomes of these is wanted; of too many the first ones are left."""
        for queue_id in queue_ids:
            self._ids[queue_id] = None
        while len(self._ids) > MOST_FOLLOWED:
            self._ids.popitem(last=False)

    def is_complete(self) -> None:
        """All that were to be followed at the start are known."""
        self._is_told = True
        early, self._early = self._early, []
        for event, at in early:
            if getattr(event, "queue_id", "") in self._ids:
                self._add(told(event, at))

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._send()

    def _add(self, fact: Told) -> None:
        self._facts.append(fact)
        if len(self._facts) >= FLUSH_FACTS:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._send)

    def _send(self) -> None:
        self._timer = None
        facts, self._facts = self._facts, []
        if facts:
            self._hand_on(facts)


_STATES: Final = {
    "delivered": DELIVERED, "deferred": DEFERRED, "bounced": BOUNCED, "held": HELD, "removed": REMOVED,
}


def outcomes(facts: Iterable[Told]) -> list[Outcome]:
    """What they say of recipients."""
    found = []
    for fact in facts:
        state = _STATES.get(fact["event"])
        if state is None or not fact.get("queue_id"):
            continue
        wait = fact.get("retry_seconds")
        found.append(Outcome(
            fact["time"], fact["queue_id"], fact["recipient"], fact["lane"], state, fact.get("code", 0),
            fact.get("status", ""), fact.get("text", ""), fact.get("hop", ""), fact.get("attempts", 0),
            None if wait is None else fact["time"] + wait,
        ))
    return found
