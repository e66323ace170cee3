"""Passes: the right to begin one attempt, handed out by one owner to all who share the limits of destinations.

Where several processes deliver, or one of them from several queues, each has lanes and gates of its own (``gates``),
which learn how a destination feels; what may go there at once and over time is one number, and this counts it.  Whoever
holds passes is a *holder*; what an attempt goes through, its lane's gate first and then those that it shares, is its
*path*, of the gates' names.

Pure: requests in, words to holders out.  Time is seconds of some monotonic clock.

Rules:
    Through no gate do more passes lead at once than its bound, and no more are given out in a time than its rate.
    A pass is given for all gates of its path or not at all, so nobody holds one gate while he waits for another.
    A holder keeps a pass from one attempt to the next, which costs no word, until others wait for one of its gates.
    Then passes that are idle come back at once; and where somebody who waits has less than his share (none at all, or
    less than the bound divided by those who want some), busy ones above the share of their holder do when their attempt
    ends.
    Who waits for a gate has his turn in the order of coming, one pass at a time.
    A pass through a gate with a rate is for one attempt.
    Who is gone gives back all that he had.

Known faults: who needs two gates that are both contended stands in line at one after the other, and may wait longer
than those who need one of them.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeAlias, TypeVar

import attrs

from mailgw.mail.shape import Bounds
from mailgw.queue.gates import Gate

Path: TypeAlias = tuple[str, ...]
K = TypeVar("K")

SWEEP_GATES = 1000


@attrs.frozen
class Granted:
    """``count`` passes for ``path``."""

    holder: str
    path: Path
    count: int


@attrs.frozen
class Contended:
    """Others wait for ``gate``: idle passes through it are to come back now, and ``busy`` more (or idle ones) as their
    attempts end; until ``Calm``, none is to lie idle."""

    holder: str
    gate: str
    busy: int


@attrs.frozen
class Calm:
    """Nobody waits for ``gate`` any more; what was still owed there is not."""

    holder: str
    gate: str


Word: TypeAlias = Granted | Contended | Calm

_Request: TypeAlias = tuple[str, Path]


class PermitTable:
    """The owner's.  Each method returns the words that it makes necessary, in their order."""

    def __init__(self) -> None:
        self._gates: dict[str, Gate] = {}
        self._sweep_at = SWEEP_GATES
        self._held: dict[str, dict[Path, int]] = {}
        self._through: dict[str, dict[str, int]] = {}  # by gate and holder
        self._owed: dict[str, dict[str, int]] = {}  # by gate and holder: asked back, and not yet here
        self._told: dict[str, set[str]] = {}  # by gate: who knows that it is contended
        self._wanted: dict[_Request, int] = {}
        self._named: Counter[str] = Counter()  # how many requests need this gate
        self._waiting: dict[str, OrderedDict[_Request, None]] = {}  # by the gate that is closed

    # --- what is known ------------------------------------------------------------------------------

    def held(self, holder: str) -> int:
        """How many passes it has."""
        return sum(self._held.get(holder, {}).values())

    def through(self, gate: str) -> int:
        """How many passes lead through it now."""
        return sum(self._through.get(gate, {}).values())

    def next_look(self, now: float) -> float:
        """When ``look`` may have something to give; infinity for not before somebody asks or gives back."""
        return min((self._gates[name].opens_at(now) for name in self._waiting), default=math.inf)

    # --- what happens -------------------------------------------------------------------------------

    def ask(self, holder: str, path: Path, bounds: Sequence[Bounds], wanted: int, now: float) -> list[Word]:
        """So many more passes are wanted, in place of what was wanted for this path before.  ``bounds`` are those of
        the gates, in the order of ``path``; the latest ones hold."""
        if len(self._gates) >= self._sweep_at:  # those whose rate counted when they were left
            for name in list(self._gates):
                self._forget_gate(name, now)
            self._sweep_at = max(SWEEP_GATES, 2 * len(self._gates))
        for name, bound in zip(path, bounds, strict=True):
            gate = self._gates.get(name)
            if gate is None:
                self._gates[name] = Gate(name, bound, None)
            else:
                gate.rebind(bound)
        told = _Words()
        request = (holder, path)
        for name in path:
            self._serve(name, now, told)  # who came first, where time has passed
        is_waiting = request in self._wanted
        if wanted:
            if request not in self._wanted:
                self._named.update(path)
            self._wanted[request] = wanted
        else:
            self._drop(request)
        if wanted and not is_waiting:
            while self._wanted.get(request):
                if not self._give_one(request, now, told):
                    break
        self._settle(path, now, told)
        return told.words

    def give_back(self, holder: str, path: Path, count: int, now: float) -> list[Word]:
        """Passes come back.  ValueError where the holder has fewer: a bug of his, and nothing is changed."""
        told = _Words()
        self._take_back(holder, path, count, now)
        for name in path:
            self._serve(name, now, told)
        self._settle(path, now, told)
        return told.words

    def gone(self, holder: str, now: float) -> list[Word]:
        """The holder is no more."""
        told = _Words()
        touched: dict[str, None] = {}
        for request in [one for one in self._wanted if one[0] == holder]:
            self._drop(request)
            touched.update(dict.fromkeys(request[1]))
        for path, count in list(self._held.get(holder, {}).items()):
            self._take_back(holder, path, count, now)
            touched.update(dict.fromkeys(path))
        for told_of_it in self._told.values():
            told_of_it.discard(holder)
        for owed in self._owed.values():
            owed.pop(holder, None)
        for name in touched:
            self._serve(name, now, told)
        self._settle((*touched, *self._told), now, told)
        return told.words

    def look(self, now: float) -> list[Word]:
        """Time has passed."""
        told = _Words()
        names = tuple(self._waiting)
        for name in names:
            self._serve(name, now, told)
        self._settle(names, now, told)
        return told.words

    # --- helpers ------------------------------------------------------------------------------------

    def _serve(self, name: str, now: float, told: "_Words") -> None:
        """Give to those that wait at this gate, in their turns, while it lets anybody pass."""
        waiting = self._waiting.get(name)
        if waiting is None:
            return
        gate = self._gates[name]
        while waiting and gate.may_pass(now):
            request, _ = waiting.popitem(last=False)
            if self._give_one(request, now, told) and self._wanted.get(request):
                waiting[request] = None  # behind the others
        if not waiting and self._waiting.get(name) is waiting:
            del self._waiting[name]

    def _give_one(self, request: _Request, now: float, told: "_Words") -> bool:
        """One pass, or a place in the line of the first gate that is closed."""
        holder, path = request
        for name in path:
            if not self._gates[name].may_pass(now):
                self._waiting.setdefault(name, OrderedDict())[request] = None
                told.closed.add(name)
                return False
        for name in path:
            self._gates[name].passed(now)
            through = self._through.setdefault(name, {})
            through[holder] = through.get(holder, 0) + 1
        held = self._held.setdefault(holder, {})
        held[path] = held.get(path, 0) + 1
        left = self._wanted[request] - 1
        if left:
            self._wanted[request] = left
        else:
            self._forget(request)
        told.granted(holder, path)
        return True

    def _take_back(self, holder: str, path: Path, count: int, now: float) -> None:
        held = self._held.get(holder, {})
        if not 0 < count <= held.get(path, 0):
            raise ValueError(f"{holder} gives back {count} of {held.get(path, 0)} passes for {path}")
        _less(held, path, count)
        if not held:
            del self._held[holder]
        for name in path:
            for _ in range(count):
                self._gates[name].ended(None, now)
            _less(self._through[name], holder, count)
            owed = self._owed.get(name, {})
            _less(owed, holder, min(count, owed.get(holder, 0)))

    def _drop(self, request: _Request) -> None:
        """It wants nothing any more."""
        if request not in self._wanted:
            return
        self._forget(request)
        for name in request[1]:
            waiting = self._waiting.get(name)
            if waiting is not None:
                waiting.pop(request, None)
                if not waiting:
                    del self._waiting[name]

    def _forget(self, request: _Request) -> None:
        del self._wanted[request]
        for name in request[1]:
            self._named[name] -= 1
            if not self._named[name]:
                del self._named[name]

    def _settle(self, names: Iterable[str], now: float, told: "_Words") -> None:
        """After what happened at these gates: who is to give back, who need not any more, and what can be forgotten."""
        met = {*names, *(name for word in told.words if isinstance(word, Granted) for name in word.path), *told.closed}
        for name in sorted(met):
            if name in self._waiting:
                self._ask_back(name, told)
                continue
            for holder in sorted(self._told.pop(name, ())):
                told.words.append(Calm(holder, name))
            self._owed.pop(name, None)
            self._forget_gate(name, now)

    def _forget_gate(self, name: str, now: float) -> None:
        """Where nobody is inside or waits, and nothing counts any more."""
        gate = self._gates.get(name)
        if gate is not None and gate.is_idle and name not in self._named and not gate.has_debt(now):
            del self._gates[name]
            self._through.pop(name, None)

    def _ask_back(self, name: str, told: "_Words") -> None:
        gate, waiting = self._gates[name], self._waiting[name]
        told_before = self._told.setdefault(name, set())
        through = self._through.get(name, {})
        owed = self._owed.setdefault(name, {})
        busy: dict[str, int] = {}
        if gate.active >= gate.bounds.concurrency:  # else it is closed by its rate, and waiting for time
            wanting = {holder for holder, _ in waiting}
            share = gate.bounds.concurrency // len(wanting | set(through))
            if any(through.get(holder, 0) < max(1, share) for holder in wanting):
                needed = sum(self._wanted[request] for request in waiting) - sum(owed.values())
                for holder, count in sorted(through.items(), key=lambda one: (-one[1], one[0])):
                    more = min(needed, count - owed.get(holder, 0) - share)
                    if more > 0:
                        busy[holder] = more
                        owed[holder] = owed.get(holder, 0) + more
                        needed -= more
        for holder in sorted(through):
            if holder not in told_before or holder in busy:
                told_before.add(holder)
                told.words.append(Contended(holder, name, busy.get(holder, 0)))


class _Words:
    """What is to be said; grants of one path that follow each other are one.  ``closed`` are gates that somebody began
    to wait for."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.closed: set[str] = set()

    def granted(self, holder: str, path: Path) -> None:
        for at in range(len(self.words) - 1, -1, -1):
            word = self.words[at]
            if not isinstance(word, Granted):
                break
            if word.holder == holder and word.path == path:
                self.words[at] = Granted(holder, path, word.count + 1)
                return
        self.words.append(Granted(holder, path, 1))


def _less(counts: dict[K, int], key: K, count: int) -> None:
    left = counts.get(key, 0) - count
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)
