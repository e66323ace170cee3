"""What attempts have to pass: how many at once, how many in a time, and how a destination feels.

A gate stands before a destination, before a host that serves many of them, before a whole backend, before a source
address.  Pure: it knows seconds of some monotonic clock.

Rules:
    At most ``bounds.concurrency`` attempts at once; at most ``bounds.rate`` begun in its time.
    One that adapts has a window besides, from ``FIRST_WINDOW``: each success widens it by one, up to the bound; one
    that is unwell lets one attempt pass at a time, after a pause that doubles.  Who says that we are too many at once
    (``slow``) has the window halved.
    Twenty attempts that fail together are one trouble: those that end within a pause change nothing.
    The pause grows to ``pause_seconds``, and then with the time that nobody was reached: to an eighth of that, up to
    ``longest_pause_seconds``.  So what was down for a minute is found well within seconds, and what was down for days
    costs a probe every few hours.
    Trouble with one message or recipient says nothing of the destination and changes nothing here.
"""

import math

import attrs

from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.mail.shape import Bounds

FIRST_PAUSE_SECONDS = 1.0
# As many as Postfix begins with (initial_destination_concurrency); one more for each success doubles them each round.
FIRST_WINDOW = 5
# Probes in vain, one after the other, before a destination is dead: with doubling pauses that is two minutes, so
# neither a host that restarts nor a network that is not up yet passes for one.
DEAD_AFTER = 8
PART_OF_THE_OUTAGE = 8


@attrs.frozen
class Pauses:
    """``usual_seconds``: what the pause doubles up to; ``longest_seconds``: what it grows to with an outage."""

    usual_seconds: float
    longest_seconds: float


class Gate:
    """``active`` attempts are inside; ``window`` is how many may be; ``was_reached`` says that the last one that says
    anything found somebody; ``unwell_since`` is when trouble began (None where
    there is none); ``open_at`` is when the next one may pass.  ``said`` is what the last attempt in trouble was told,
    ``said_of`` when it began, by the clock of whoever says it ended."""

    __slots__ = ("_interval", "_pauses", "_rate_at", "_rate_slack", "active", "bounds", "key", "open_at", "pause",
                 "said", "said_of", "troubles", "unwell_since", "was_reached",
                 "window")

    def __init__(self, key: str, bounds: Bounds, pauses: Pauses | None) -> None:
        """``pauses`` None: it does not adapt."""
        self.key = key
        self.active = 0
        self.open_at = 0.0
        self.pause = 0.0
        self.troubles = 0
        self.was_reached = False
        self.unwell_since: float | None = None
        self.said: Outcome | None = None
        self.said_of = -math.inf
        self._pauses = pauses
        self._rate_at = -math.inf
        self.bounds = bounds
        self.window = bounds.concurrency if pauses is None else min(FIRST_WINDOW, bounds.concurrency)
        self._take_rate(bounds)

    def rebind(self, bounds: Bounds) -> None:
        """Other bounds than before: the configuration, or the DNS, changed its mind."""
        if bounds != self.bounds:
            self.bounds = bounds
            self.window = bounds.concurrency if self._pauses is None else min(self.window, bounds.concurrency)
            self._take_rate(bounds)

    def adapt_by(self, pauses: Pauses) -> None:
        """Other pauses than before; not where it does not adapt."""
        if self._pauses is not None:
            self._pauses = pauses

    @property
    def is_dead(self) -> bool:
        """Nobody was reached there for so long that one probe may speak for all that waits."""
        return self.troubles >= DEAD_AFTER

    @property
    def is_idle(self) -> bool:
        return not self.active

    @property
    def is_well(self) -> bool:
        """Nobody has said otherwise since the last success."""
        return not self.pause

    def may_pass(self, now: float) -> bool:
        return (
            self.active < self.window and now >= self.open_at
            and (not self._interval or self._rate_at - self._rate_slack <= now)
        )

    def opens_at(self, now: float) -> float:
        """When the next one may pass, as far as that hangs on time; infinity where one has to leave first."""
        if self.active >= self.window:
            return math.inf
        opens_at = max(now, self.open_at)
        return max(opens_at, self._rate_at - self._rate_slack) if self._interval else opens_at

    def has_debt(self, now: float) -> bool:
        """Whether what began before still counts against its rate."""
        return self._rate_at > now

    def passed(self, now: float) -> None:
        """An attempt begins."""
        self.active += 1
        if self._interval:
            # As in policy.limits: a bucket that holds ``count``, kept as the time at which it is full again.
            self._rate_at = max(self._rate_at, now) + self._interval

    def ended(self, said: Outcome | None, now: float, began: float = 0.0) -> None:
        """An attempt is over; ``said`` is what it says of the destination (None: nothing), ``began`` when it did."""
        self.active -= 1
        if said is None or self._pauses is None:
            return
        if not is_trouble(said):
            self.troubles = 0
            self.was_reached = True
            self.unwell_since = None
            self.pause = 0.0
            self.open_at = 0.0
            self.window = min(self.bounds.concurrency, self.window + 1)
            self.said = None
            return
        self.said, self.said_of = said, max(self.said_of, began)
        if now < self.open_at:
            return  # it ran beside the one that told us
        self.troubles += 1
        self.was_reached = False
        if self.unwell_since is None:
            self.unwell_since = now
        self.window = 1
        most = max(self._pauses.usual_seconds, (now - self.unwell_since) / PART_OF_THE_OUTAGE)
        most = min(most, max(self._pauses.usual_seconds, self._pauses.longest_seconds))
        self.pause = min(most, max(FIRST_PAUSE_SECONDS, self.pause * 2))
        self.open_at = now + self.pause

    def slow(self, now: float) -> None:
        """The destination takes mail, but not so much at once.  Who is told twenty times at once is told once."""
        if self._pauses is None or now < self.open_at:
            return
        self.window = max(1, min(self.window, self.active + 1) // 2)
        self.pause = min(self._pauses.usual_seconds, max(FIRST_PAUSE_SECONDS, self.pause * 2))
        self.open_at = now + self.pause

    def hasten(self, now: float) -> None:
        """Somebody knows that it is worth a try now.  How it felt, and since when, stays known."""
        self.open_at = min(self.open_at, now)

    def _take_rate(self, bounds: Bounds) -> None:
        self._interval = bounds.rate.seconds / bounds.rate.count if bounds.rate is not None else 0.0
        self._rate_slack = bounds.rate.seconds - self._interval if bounds.rate is not None else 0.0


def is_trouble(outcome: Outcome) -> bool:
    """Whether it is the destination that is unwell: nobody was reached who would listen to any message.

    What broke in the middle of a transaction (``Scope.SESSION``) is none: a message that makes its server hang up
    must not speak for those that wait behind it.
    """
    return outcome.permanence is Permanence.TEMPORARY and outcome.scope is Scope.HOST


def is_for_all(outcome: Outcome) -> bool:
    """Whether trouble of an attempt is that of a host which serves other destinations, too.

    What one destination demands of its hosts, by DANE, MTA-STS or our configuration, and a DNS that does not say where
    it is, are its own: who writes those could hold up all mail to a provider that his MX records name.
    """
    # RFC 3463 s3.5, X.4.3: directory server failure; s3.8, X.7.z: security.  A server's own words are meant for all.
    return not outcome.is_ours or not outcome.reply.status.startswith(("4.4.3", "4.7."))
