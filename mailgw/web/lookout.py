"""What the gateway does, seen from where operators ask: its desk has the commands ``now``, ``plots``, ``facts`` and
``metrics``.

    now       rates, sessions, time to delivery, what is queued, lanes with the worst first, disk, workers; {"wait":
              seconds}: after so many (5 at most)
    plots     {"span": "hour" | "day" | "week"}: the same over time (``plots``)
    facts     the latest ones, with a filter; it may be waited for the next (``watchers``)
    metrics   {"text": …}, for Prometheus (``metrics``)

Rules:
    Counters only grow while this process runs, whatever becomes of others.
    What there is just now (``gauges``) is asked at most every ``LOOK_SECONDS``, and only when somebody asks, or for the
    plots.  Of who does not answer in time it is left out.
    Plots are kept in a file, where one is given: a crash loses a minute of them, a file that cannot be read all.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

import mailgw
from mailgw.mail.errors import RefusedRequest
from mailgw.mail.ports import Desk, Request, WallClock
from mailgw.store.state_file import StateFile, Workshop
from mailgw.web.gauges import Gauges, combined
from mailgw.web.hearing import Hearing
from mailgw.web.plots import FILE_OCTETS, SPANS, Plots, Recent, decoded
from mailgw.web.tallies import Delta, Tallies, directions
from mailgw.web.watchers import MOST_GATHER_SECONDS, Watchers, number_of

log = Logger()

FILE: Final = "plots.json"
LOOK_SECONDS: Final = 1.5
RATE_SECONDS: Final = 10.0
RECENT_SECONDS: Final = 60.0
BEAT_SECONDS: Final = 10.0
"""How often it is looked for the plots while something happens: a step of the shortest."""
IDLE_BEAT_SECONDS: Final = 60.0
WRITE_SECONDS: Final = 60.0
IDLE_WRITE_SECONDS: Final = 600.0


@attrs.frozen
class Seen:
    """One process that moves mail: ``worker`` its number, None where it is the only one; ``gauges`` None where it does
    not answer."""

    worker: int | None
    gauges: Gauges | None


Look = Callable[[], Awaitable[Sequence[Seen]]]
Beside = Callable[[], Awaitable[Mapping[str, Any]]]
"""What one process knows, for all of them:

    {"webhooks": [{"name": …, "is_off": false, "waiting": 3, "dead": 0, …}],
     "books": [{"book": "sent", "fault": ""}, …],
     "lost_events": {"count": 0, "last": 0.0},
     "maildrop": {"waiting": 2, "bad": 0, …},
     "reload": {"faults": [], "succeeded": …}}

``webhooks`` are those of the configuration; ``waiting`` and ``dead`` None where they are not known just now.
``fault`` is why a book could not be used last, "" where it could; ``books`` [] and ``lost_events`` None in a worker.
``maildrop`` is as ``Maildrop.told`` has it, None in a worker."""


class Lookout:
    """``look`` asks all processes that move mail, ``beside`` this one.  ``watch`` as ``Watchers`` has it."""

    def __init__(
        self, backends: Collection[str], reply_classes: Collection[str], clock: IReactorTime, wall_clock: WallClock,
        look: Look, beside: Beside, watch: Callable[[Sequence[Mapping[str, object]]], None] | None = None,
    ) -> None:
        self.hearing = Hearing(backends, reply_classes, clock, wall_clock, self._add)
        self._totals = Tallies(backends, reply_classes)
        self._watchers = Watchers(self.hearing.feed, clock, watch)
        self._clock = clock
        self._wall_clock = wall_clock
        self._look = look
        self._beside = beside
        self._began = wall_clock()
        self._recent = Recent(RECENT_SECONDS)
        self._plots = Plots()
        self._rolled_at = clock.seconds()
        self._seen: Sequence[Seen] = ()
        self._seen_at: float | None = None
        self._file: StateFile | None = None
        self._beat: IDelayedCall | None = None
        self._heard_at = clock.seconds()
        self._written_at = clock.seconds()
        self._has_read = False  # before that, a write would lose what is there
        self._is_closed = False

    def desk(self) -> Desk:
        return {"now": self._now, "plots": self._told_plots, "facts": self._watchers.facts, "metrics": self._metrics}

    # --- its life -------------------------------------------------------------------------------------

    def keep_plots(self, path: str, workshop: Workshop) -> None:
        """Go on with the plots in this file, and keep them there."""
        self._file = StateFile(path, workshop, FILE_OCTETS, 0.0, self._plots.encoded)
        Deferred.fromCoroutine(self._take_back(self._file)).addErrback(  # type: ignore[unused-awaitable] # logged
            lambda trouble: log.failure("reading the plots", failure=trouble))
        self._beat = self._clock.callLater(BEAT_SECONDS, self._look_for_plots)

    async def _take_back(self, file: StateFile) -> None:
        kept = await file.read(decoded)
        if kept is not None:
            self._plots.take_back(kept, self._wall_clock())
        self._has_read = True

    async def close(self) -> None:
        """Nobody hears, looks or waits any more; the plots are on disk.  Once more does nothing."""
        self._is_closed = True
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        self.hearing.close()
        self._watchers.close()
        file, self._file = self._file, None
        if file is not None and self._has_read:
            self._roll()
            file.changed()
            await file.close()

    # --- what others heard ----------------------------------------------------------------------------

    def take(self, name: str, arguments: Sequence[Any]) -> None:
        """What a ``reporter`` tells."""
        match name, *arguments:
            case "facts.counted", dict() as delta:
                self._add(delta)
            case "facts.seen", list() as facts, int() as left_out:
                self.hearing.feed.lose(left_out, self._wall_clock())
                self.hearing.feed.take(facts)
            case _:
                raise ValueError(f"no such call: {name}")

    def _add(self, delta: Delta) -> None:
        self._heard_at = self._clock.seconds()
        self._totals.add(delta)
        self._recent.note(delta, self._heard_at)
        self._roll()
        self._plots.note(delta)

    def _roll(self) -> None:
        now = self._clock.seconds()
        self._plots.roll(self._wall_clock(), now - self._rolled_at)
        self._rolled_at = now

    # --- what there is just now -------------------------------------------------------------------------

    async def _look_around(self) -> Sequence[Seen]:
        now = self._clock.seconds()
        if self._seen_at is None or not 0 <= now - self._seen_at < LOOK_SECONDS:
            seen = await self._look()
            self._seen, self._seen_at = seen, self._clock.seconds()
        return self._seen

    def _look_for_plots(self) -> None:
        now = self._clock.seconds()
        is_idle = now - self._heard_at > IDLE_BEAT_SECONDS
        self._beat = self._clock.callLater(IDLE_BEAT_SECONDS if is_idle else BEAT_SECONDS, self._look_for_plots)
        Deferred.fromCoroutine(self._keep()).addErrback(  # type: ignore[unused-awaitable] # logged
            lambda trouble: log.failure("looking for the plots", failure=trouble))

    async def _keep(self) -> None:
        gauges = _together(await self._look_around())
        if self._is_closed:
            return
        self._roll()
        queue = None if gauges is None else gauges["queue"]
        self._plots.look(
            None if gauges is None else gauges["sessions"],
            queue["recipients"] if queue is not None and queue["is_whole"] else None)
        now = self._clock.seconds()
        seconds = WRITE_SECONDS if self._heard_at > self._written_at else IDLE_WRITE_SECONDS
        if self._file is not None and self._has_read and now - self._written_at >= seconds:
            self._written_at = now
            self._file.changed()

    # --- answers ----------------------------------------------------------------------------------------

    async def _now(self, request: Request) -> object:
        if wait := number_of(request, "wait", 0, 0, MOST_GATHER_SECONDS):
            await self._watchers.pause(wait)
        seen = await self._look_around()
        gauges = _together(seen)
        self.hearing.hand_on()
        now, wall = self._clock.seconds(), self._wall_clock()
        rates = self._recent.counts(now, RATE_SECONDS)
        return {
            "time": round(wall, 3),
            "began": round(self._began, 3),
            "version": mailgw.__version__,
            "rates": {name: round(count / RATE_SECONDS, 2) for name, count in rates.items()},
            "rate_seconds": RATE_SECONDS,
            "minute": self._recent.counts(now, RECENT_SECONDS),
            "totals": directions({"cells": [[*cell, count] for cell, count in self._totals.cells.items()]}),
            "delivery": self._recent.delivery(now),
            "workers": [
                {"worker": one.worker, "answers": one.gauges is not None,
                 "sessions": None if one.gauges is None else one.gauges["sessions"]}
                for one in seen if one.worker is not None
            ],
            **_shown(gauges),
        }

    async def _told_plots(self, request: Request) -> object:
        span = request.get("span", "hour")
        if not isinstance(span, str) or span not in SPANS:
            raise RefusedRequest(f"plots: span is one of {', '.join(SPANS)}")
        self.hearing.hand_on()
        self._roll()
        return self._plots.told(span, self._wall_clock())

    async def _metrics(self, request: Request) -> object:
        # Not before somebody wants it: it costs 30 ms to import, and some memory.
        from mailgw.web import metrics

        seen = await self._look_around()
        beside = await self._beside()
        self.hearing.hand_on()
        text = metrics.text(self._totals, _together(seen), [one for one in seen if one.worker is not None], beside,
                            self._began, self._wall_clock())
        return {"text": text}


def _together(seen: Sequence[Seen]) -> dict[str, Any] | None:
    known = [one.gauges for one in seen if one.gauges is not None]
    return combined(known) if known else None


def _shown(gauges: Mapping[str, Any] | None) -> dict[str, Any]:
    """All keys, also where nobody answers."""
    if gauges is None:
        return dict.fromkeys(("sessions", "disk", "queue", "lane_states")) | {"lanes": []}
    return {
        "sessions": {"open": gauges["sessions"], "most": gauges["most_sessions"]},
        "disk": gauges["disk"],
        "queue": gauges["queue"],
        "lane_states": gauges["lane_states"],
        "lanes": gauges["lanes"],
    }
