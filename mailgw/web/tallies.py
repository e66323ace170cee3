"""The facts of a gateway's life, counted by closed sets of labels; and how long deliveries take.  PURE.

Rules:
    A label's values are listed here, or in the configuration (backends, classes of replies): what strangers say, an
    address, a domain, never is one.  What is in no list counts as ``other``; so what is counted has a bounded size,
    whatever comes.
    ``hear`` costs next to nothing: a look at the class of a fact, one or two keys of a dict.  It never raises.
    What was counted is handed on by ``taken``, as plain data that JSON can hold, and summed by ``add``: so a process
    tells another what came since it told last, and the other's sums only grow, also where the first one ends.

A *cell* is a family and the values of its labels, in the order of ``FAMILIES``.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from mailgw.mail import event as fact
from mailgw.mail.envelope import Role
from mailgw.mail.event import Event

Cell: TypeAlias = tuple[str, ...]
Delta: TypeAlias = dict[str, Any]
"""{"cells": [[family, value ..., count], ...], "delivery": [counts of the buckets], "delivery_seconds": their sum};
what is 0 or empty is left out, and {} is nothing."""

OTHER: Final = "other"
NONE: Final = "none"
"""Where a fact leaves a label open: no TLS, no class of replies."""

BUCKETS: Final = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0,
    14_400.0, 43_200.0, 86_400.0, 172_800.0, 432_000.0,
)
"""Upper ends, in seconds, of what a delivery takes: from a local one (10 ms) to the age at which mail is returned.  One
more bucket has what took longer."""


@attrs.frozen
class Family:
    """``help`` is what Prometheus is told, which calls it ``mailgw_NAME_total``."""

    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Final[Mapping[str, Family]] = {
    "facts": Family("Facts that the journal was told, by their names there", ("event",)),
    "sessions": Family("Sessions that clients opened, by the role of the listener", ("role",)),
    "sessions_ended": Family("Sessions that ended, by what ended them", ("why",)),
    "tls_sessions": Family("Sessions in which a client started TLS, by its version", ("version",)),
    "logins": Family("Logins that were tried", ("result",)),
    "rejections": Family("Commands that were refused, by stage and the first digit of the reply's code",
                         ("stage", "code_class")),
    "authentications": Family("What was found out of who sent mail, by method and result", ("method", "result")),
    "messages_received": Family("Messages that were taken responsibility for: a client's, or the gateway's own",
                                ("by",)),
    "recipients_received": Family("Recipients of the messages that were taken responsibility for", ("by",)),
    "received_bytes": Family("Octets of the messages that were taken responsibility for", ("by",)),
    "handovers": Family("Messages that a backend took before their client was answered", ("backend",)),
    "discards": Family("Messages that a rule let be forgotten"),
    "deliveries": Family("Recipients that mail was delivered to; over which TLS, and by what the other's certificate "
                         "was verified", ("backend", "tls", "verified")),
    "deferrals": Family("Attempts at a recipient that failed for now, by the class of the reply",
                        ("backend", "reply_class")),
    "bounces": Family("Recipients that failed for good, by the class of the reply", ("backend", "reply_class")),
    "signatures": Family("Messages that were signed or sealed on their way out", ("method",)),
}

DIRECTIONS: Final = ("in", "out", "deferred", "bounced", "rejected", "connected")
"""The rates that people are shown.  Messages that clients brought; recipients delivered to, tried in vain, and given
up; commands refused; sessions opened."""

_ROLES: Final = frozenset(role.value for role in Role)
_WHYS: Final = frozenset(("quit", "lost", "timeout", "refused", "error", "shutdown"))
_STAGES: Final = frozenset(("CONNECT", "HELO", "AUTH", "MAIL", "RCPT", "CONTENT"))
_TLS: Final = frozenset((NONE, "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"))
_VERIFIED: Final = frozenset((NONE, "dane", "sts", "ca", "fingerprint"))
_RECEIVED: Final[tuple[str, ...]] = ("messages_received", "recipients_received", "received_bytes")
_METHODS: Final = frozenset(("dkim", "arc"))
_CODES: Final = {digit: f"{digit}xx" for digit in range(1, 6)}
# RFC 8601 s2.7, as far as they are judged here; each with the words that begin it in a fact.
_AUTHENTICATIONS: Final = {
    f"{method}={result}": ("authentications", method, result)
    for method in ("spf", "dkim", "dmarc", "arc", "iprev")
    for result in ("none", "pass", "fail", "softfail", "neutral", "policy", "temperror", "permerror")
}
_OTHER_AUTHENTICATION: Final = ("authentications", OTHER, OTHER)


def _kinds(kind: type[Event]) -> Iterator[type[Event]]:
    for below in kind.__subclasses__():
        yield below
        yield from _kinds(below)


_KINDS: Final = frozenset(kind for kind in _kinds(Event) if kind.__module__.startswith(fact.__name__))

EVENTS: Final = frozenset(kind.name for kind in _KINDS if kind.name != Event.name)
"""The names of all facts that there are; what several have in common (``Result``) is none."""
FROM_THE_START: Final[Sequence[Cell]] = (
    *(("facts", name) for name in sorted(EVENTS)),
    *(("sessions", role) for role in sorted(_ROLES)),
    *(("logins", result) for result in ("accepted", "failed", "locked_out")),
    *((family, by) for family in _RECEIVED for by in ("client", "gateway")),
    ("discards",),
)
"""Cells that are known before anything was counted, and few."""


class Tallies:
    """``backends`` and ``reply_classes`` are the names that the configuration has."""

    def __init__(self, backends: Collection[str], reply_classes: Collection[str]) -> None:
        self._backends = frozenset(backends)
        self._classes = frozenset(reply_classes)
        self._cells: dict[Cell, int] = {}
        self._delivery = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        # Counted apart from the others, since most facts are of these: what is counted at each of them should be cheap.
        self._kinds: dict[type[Event], int] = {}
        self._received = {"client": [0, 0, 0], "gateway": [0, 0, 0]}
        self._hears: Mapping[type[Event], Callable[[Any], None]] = {
            fact.Connected: self._connected,
            fact.Disconnected: self._disconnected,
            fact.TlsStarted: self._tls_started,
            fact.LoggedIn: lambda event: self._count(("logins", "accepted")),
            fact.LoginFailed: lambda event: self._count(("logins", "failed")),
            fact.LockedOut: lambda event: self._count(("logins", "locked_out")),
            fact.Rejected: self._rejected,
            fact.Authenticated: self._authenticated,
            fact.Queued: self._queued,
            fact.HandedOver: self._handed_over,
            fact.Discarded: lambda event: self._count(("discards",)),
            fact.Delivered: self._delivered,
            fact.Retrying: self._deferred,
            fact.Bounced: self._bounced,
            fact.Signed: self._signed,
        }

    def knows(self, backends: Collection[str], reply_classes: Collection[str]) -> None:
        """There are these, too: a configuration is another now."""
        self._backends |= frozenset(backends)
        self._classes |= frozenset(reply_classes)

    # --- counting -----------------------------------------------------------------------------------

    def hear(self, event: Event) -> None:
        """Count a fact."""
        kind = type(event)
        kinds = self._kinds
        kinds[kind] = kinds.get(kind, 0) + 1
        if kind in self._hears:
            self._hears[kind](event)

    def _count(self, cell: Cell, more: int = 1) -> None:
        self._cells[cell] = self._cells.get(cell, 0) + more

    def _connected(self, event: fact.Connected) -> None:
        self._count(("sessions", event.role if event.role in _ROLES else OTHER))

    def _disconnected(self, event: fact.Disconnected) -> None:
        self._count(("sessions_ended", event.why if event.why in _WHYS else OTHER))

    def _tls_started(self, event: fact.TlsStarted) -> None:
        self._count(("tls_sessions", event.version if event.version in _TLS else OTHER))

    def _rejected(self, event: fact.Rejected) -> None:
        stage = event.stage if event.stage in _STAGES else OTHER
        self._count(("rejections", stage, _CODES.get(event.code // 100, OTHER)))

    def _authenticated(self, event: fact.Authenticated) -> None:
        cells = self._cells
        for words in event.results:
            cell = _AUTHENTICATIONS.get(words.partition(" ")[0], _OTHER_AUTHENTICATION)
            cells[cell] = cells.get(cell, 0) + 1

    def _queued(self, event: fact.Queued) -> None:
        received = self._received["client" if event.session_id else "gateway"]
        received[0] += 1
        received[1] += len(event.recipients)
        received[2] += event.size_octets

    def _handed_over(self, event: fact.HandedOver) -> None:
        self._count(("handovers", self._backend(event.lane)))

    def _delivered(self, event: fact.Delivered) -> None:
        backend, version, verified = event.lane.partition("/")[0], event.tls or NONE, event.verified or NONE
        cell = (
            "deliveries",
            backend if backend in self._backends else OTHER,
            version if version in _TLS else OTHER,
            verified if verified in _VERIFIED else OTHER,
        )
        cells = self._cells
        cells[cell] = cells.get(cell, 0) + 1
        seconds = event.seconds
        self._delivery[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def _deferred(self, event: fact.Retrying) -> None:
        self._count(("deferrals", self._backend(event.lane), self._class(event.reply_class)))

    def _bounced(self, event: fact.Bounced) -> None:
        self._count(("bounces", self._backend(event.lane), self._class(event.reply_class)))

    def _signed(self, event: fact.Signed) -> None:
        self._count(("signatures", event.method if event.method in _METHODS else OTHER))

    def _backend(self, lane: str) -> str:
        name = lane.partition("/")[0]
        return name if name in self._backends else OTHER

    def _class(self, name: str) -> str:
        if not name:
            return NONE
        return name if name in self._classes else OTHER

    # --- what was counted ---------------------------------------------------------------------------

    @property
    def cells(self) -> Mapping[Cell, int]:
        for kind, count in self._kinds.items():
            # A plug-in may note facts of its own kinds, as many as it likes.
            self._count(("facts", kind.name if kind in _KINDS else OTHER), count)
        self._kinds = {}
        for by, received in self._received.items():
            for family, count in zip(_RECEIVED, received, strict=True):
                if count:
                    self._count((family, by), count)
            received[:] = 0, 0, 0
        return self._cells

    @property
    def delivery(self) -> tuple[Sequence[int], float]:
        """How many deliveries each bucket has (``BUCKETS``, and one more), and the seconds of all together."""
        return self._delivery, self._seconds

    def taken(self) -> Delta:
        """All that was counted since the last time; here it begins with nothing again."""
        cells = self.cells
        if not cells:
            return {}
        delta: Delta = {"cells": [[*cell, count] for cell, count in cells.items()]}
        self._cells = {}
        if any(self._delivery):
            delta["delivery"] = self._delivery
            delta["delivery_seconds"] = self._seconds
            self._delivery = [0] * (len(BUCKETS) + 1)
            self._seconds = 0.0
        return delta

    def add(self, delta: Delta) -> None:
        """Count what another has taken, of the same configuration."""
        for *cell, count in delta.get("cells", ()):
            self._count(tuple(cell), count)
        if buckets := delta.get("delivery"):
            self._delivery = [ours + more for ours, more in zip(self._delivery, buckets, strict=True)]
            self._seconds += delta["delivery_seconds"]


def directions(delta: Delta) -> dict[str, int]:
    """How often each of ``DIRECTIONS`` was taken."""
    moved = dict.fromkeys(DIRECTIONS, 0)
    for family, *values, count in delta.get("cells", ()):
        direction = _DIRECTION_OF.get(family)
        if family == "handovers":  # it came, and was delivered at once
            moved["in"] += count
            moved["out"] += count
        elif direction is not None and values[0] != "gateway":
            moved[direction] += count
    return moved


_DIRECTION_OF: Final = {
    "messages_received": "in",
    "deliveries": "out",
    "deferrals": "deferred",
    "bounces": "bounced",
    "rejections": "rejected",
    "sessions": "connected",
}


def quantile(buckets: Sequence[int], part: float) -> float | None:
    """The seconds within which ``part`` (0 to 1) of the deliveries were over, evenly spread within their bucket; the
    upper end of the last one for what took longer than all; None where there were none."""
    total = sum(buckets)
    if not total:
        return None
    rank, below = part * total, 0
    for at, count in enumerate(buckets[:-1]):
        if count and below + count >= rank:
            low = BUCKETS[at - 1] if at else 0.0
            return low + (BUCKETS[at] - low) * (rank - below) / count
        below += count
    return BUCKETS[-1]
