"""Who looks on as facts happen: the command ``facts``, answered at once or as soon as there is something to tell.

    {"command": "facts", "after": 1851…, "limit": 100, "wait": 10, "gather": 0.5, "filter": {"peer": "192.0.2.0/24"}}
    {"facts": [{"number": …, "time": …, "event": "queued", …}], "next": 1851…, "left_out": 0}

Rules:
    Who asks again with ``next`` as ``after`` gets all that still was there, in order, each once.  Without ``after`` he
    gets the latest.
    The answer comes with the first fact, after ``wait`` seconds at the latest, but not before ``gather`` seconds: more
    may come together.
    ``left_out`` facts were gone before they could be told, or were more than ``limit``: the latest are told.
    A filter is remembered for ``LEASE_SECONDS`` after it was asked with, since it follows messages and sessions
    (``wanted_facts``).  In that time other processes, where there are any, tell of what matches it: ``watch`` is
    called with all filters, now and then, and where another one comes or goes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.web.feed import MOST, Feed
from mailgw.web.tallies import EVENTS
from mailgw.web.wanted_facts import Watch, wanted

LEASE_SECONDS: Final = 15.0
RENEW_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.25
"""How often it is looked for what somebody waits for; no fact costs more because somebody does."""
MOST_WAIT_SECONDS: Final = 20.0
MOST_GATHER_SECONDS: Final = 5.0
MOST_FILTERS: Final = 32
MOST_WAITING: Final = 64
LIMIT: Final = 100


@attrs.define(eq=False)
class _Leased:
    watch: Watch
    until: float


class Watchers:
    """``watch`` None: this process hears everything itself."""

    def __init__(
        self, feed: Feed, clock: IReactorTime, watch: Callable[[Sequence[Mapping[str, object]]], None] | None
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._watch = watch
        self._leased: dict[bytes, _Leased] = {}
        self._waiting: dict[IDelayedCall, Deferred[None]] = {}
        self._renewing: IDelayedCall | None = None
        self._is_closed = False

    async def facts(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The command.  RefusedRequest where it makes no sense, TemporaryFault where there are too many watchers."""
        after = request.get("after")
        if after is not None and (type(after) is not int or after < 0):
            raise RefusedRequest("facts: after is a number, as an earlier answer had it in next")
        limit = number_of(request, "limit", LIMIT, 1, MOST)
        gather = number_of(request, "gather", 0, 0, MOST_GATHER_SECONDS)
        wait = max(gather, number_of(request, "wait", 0, 0, MOST_WAIT_SECONDS))
        leased = self._lease(request.get("filter"))
        matches = None if leased.watch.what.is_everything else leased.watch.matches
        began = self._clock.seconds()
        left_out = 0
        if gather:
            await self.pause(gather)
        while True:
            found, after, more = self._feed.since(after, matches, int(limit))
            left_out += more
            left = began + wait - self._clock.seconds()
            if found or left <= 0 or self._is_closed:
                return {"facts": found, "next": after, "left_out": left_out}
            await self.pause(min(left, LOOK_SECONDS))
            leased.until = self._clock.seconds() + LEASE_SECONDS

    def _lease(self, asked: object) -> _Leased:
        what = wanted(asked, EVENTS)
        key = msgspec.json.encode(what.asked())
        now = self._clock.seconds()
        known = self._leased.get(key)
        if known is None or known.until < now:
            self._leased = {key: one for key, one in self._leased.items() if one.until >= now}
            if len(self._leased) >= MOST_FILTERS:
                raise TemporaryFault(f"{MOST_FILTERS} other filters are watched already")
            known = self._leased[key] = _Leased(Watch(what), 0.0)
            self._tell()
        known.until = now + LEASE_SECONDS
        return known

    async def pause(self, seconds: float) -> None:
        """Return then, or when all of this closes.  TemporaryFault where too many wait."""
        if self._is_closed:
            return
        if len(self._waiting) >= MOST_WAITING:
            raise TemporaryFault(f"{MOST_WAITING} others wait here already")
        turn: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, turn.callback, None)
        self._waiting[call] = turn
        try:
            await turn
        finally:
            del self._waiting[call]
            if call.active():
                call.cancel()

    def _tell(self) -> None:
        if self._watch is None or self._is_closed:
            return
        self._watch([one.watch.what.asked() for one in self._leased.values()])
        if self._renewing is None:
            self._renewing = self._clock.callLater(RENEW_SECONDS, self._renew)

    def _renew(self) -> None:
        self._renewing = None
        now = self._clock.seconds()
        self._leased = {key: one for key, one in self._leased.items() if one.until >= now}
        if self._leased:
            self._tell()

    def close(self) -> None:
        """Who waits has what there is."""
        self._is_closed = True
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        for call, turn in list(self._waiting.items()):
            call.cancel()
            turn.callback(None)


def number_of(request: Mapping[str, Any], name: str, usual: float, least: float, most: float) -> float:
    """A field of a request; RefusedRequest where it is no such number."""
    number = request.get(name, usual)
    if type(number) not in (int, float) or not least <= number <= most:
        raise RefusedRequest(f"{name} is a number from {least:g} to {most:g}")
    return float(number)
