"""The latest facts, each with a number, for who looks on as they happen.  PURE: times come in.

Rules:
    To keep a fact costs next to nothing; what it looks like is made when somebody wants to see it.
    So many are kept, and of the recipients that they name so many: a message for a thousand is not forgotten for it,
    but others may be.
    Numbers only grow, in this life of the gateway and from one to the next: whoever says which he has seen last misses
    nothing that is still there, and is told how many are not.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import attrs

from mailgw.mail import event as kinds
from mailgw.mail.event import Event
from mailgw.web.wanted_facts import Fact

KEPT: Final = 2_000
NAMED: Final = 20_000
"""Recipients, and lines of conversations, in all facts that are kept: some 5 MB, of 256 octets each."""
MOST: Final = 500
"""In one answer."""
_FIRST_A_SECOND: Final = 1 << 20
"""Numbers begin with so many for each second since the epoch: more than facts can come, and below 2**53 until 2242."""

_WITH_MANY: Final = {
    kinds.Queued: "recipients", kinds.Discarded: "recipients", kinds.Rejected: "recipients",
    kinds.Conversation: "lines",
}


@attrs.frozen
class Lost:
    """So many facts that came here from elsewhere, and were left out on the way; it has a number as a fact has."""

    count: int


class Feed:
    """``began``: now, in seconds since the epoch."""

    def __init__(self, began: float, kept: int = KEPT, named: int = NAMED) -> None:
        self._facts: deque[tuple[float, Event | Fact | Lost]] = deque()
        self._first = int(began) * _FIRST_A_SECOND + 1  # the number of the oldest that is there
        self._kept = kept
        self._most_named = named
        self._named = 0

    @property
    def newest(self) -> int:
        """The number of the newest; of none, what one before the first would have."""
        return self._first + len(self._facts) - 1

    def hear(self, event: Event, now: float) -> None:
        """Keep it."""
        self._facts.append((now, event))
        if type(event) in _WITH_MANY:
            self._named += _named(event)
            while self._named > self._most_named and len(self._facts) > 1:
                self._forget()
        if len(self._facts) > self._kept:
            self._forget()

    def take(self, facts: Iterable[Fact]) -> None:
        """Those that another process heard, as ``told`` has them."""
        for one in facts:
            self._facts.append((one["time"], one))
            self._named += _named(one)
            while len(self._facts) > self._kept or (self._named > self._most_named and len(self._facts) > 1):
                self._forget()

    def lose(self, count: int, now: float) -> None:
        """So many were left out before they came here."""
        if count:
            self._facts.append((now, Lost(count)))
            if len(self._facts) > self._kept:
                self._forget()

    def _forget(self) -> None:
        _, one = self._facts.popleft()
        self._first += 1
        self._named -= _named(one)

    def since(
        self, after: int | None, matches: Callable[[Fact], bool] | None, most: int
    ) -> tuple[list[dict[str, Any]], int, int]:
        """Of the facts behind number ``after`` (None: of all that are there), the latest ``most`` that match (None: all
        do, which costs the least), each with its ``number``; up to which number that is all; and how many were left
        out: gone before, or more than ``most``.
        """
        newest = self.newest
        known = self._first - 1
        lost = 0
        if after is not None and after <= newest:
            # Numbers of an earlier life tell nothing of how many there were.
            lost = known - after if known - _FIRST_A_SECOND < after < known else 0
            known = max(after, known)
        found: deque[tuple[int, float, Event | Fact]] = deque(maxlen=most)
        matched = 0
        for number, (when, one) in enumerate(islice(self._facts, known - self._first + 1, None), known + 1):
            if isinstance(one, Lost):
                lost += one.count
                continue
            if matches is not None:
                one = _fact(one, when)
                if not matches(one):
                    continue
            matched += 1
            found.append((number, when, one))
        facts = [{"number": number, **_fact(one, when)} for number, when, one in found]
        return facts, newest, lost + matched - len(found)


def _fact(one: Event | Fact, when: float) -> Fact:
    return told(one, when) if isinstance(one, Event) else one


def _named(one: Event | Fact | Lost) -> int:
    if (name := _WITH_MANY.get(type(one))) is not None:
        return len(getattr(one, name))
    many = one.get("recipients") or one.get("lines") if isinstance(one, dict) else None
    return len(many) if isinstance(many, list) else 0


Values = Callable[[Event], tuple[Any, ...]]
_SHAPES: dict[type[Event], tuple[tuple[str, ...], Values]] = {}


def told(event: Event, when: float) -> dict[str, Any]:
    """As the journal has it (what is empty is left out), with ``time`` in seconds since the epoch, as JSON can hold it:
    lone surrogates are spelt out."""
    shape = _SHAPES.get(type(event))
    if shape is None:
        shape = _SHAPES[type(event)] = _shape_of(type(event))
    keys, values_of = shape
    fact: dict[str, Any] = {"time": round(when, 3), "event": event.name}
    for key, value in zip(keys, values_of(event), strict=True):
        if value != "" and value is not None:
            fact[key] = _told(value)
    return fact


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode("utf-8")
    if type(value) is float:
        return round(value, 6)
    if isinstance(value, (tuple, list)):
        return [_told(one) for one in value]
    return {_told(key): _told(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _shape_of(kind: type[Event]) -> tuple[tuple[str, ...], Values]:
    keys = tuple(field.name for field in attrs.fields(kind))
    if not keys:
        return keys, lambda event: ()
    if len(keys) == 1:
        only = attrgetter(keys[0])
        return keys, lambda event: (only(event),)
    return keys, attrgetter(*keys)
