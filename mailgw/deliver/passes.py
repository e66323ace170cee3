"""The passes that one dispatcher has (``queue.permits``): asked for before attempts, kept while they are of use.

Rules:
    No attempt begins without a pass, and each pass carries one at a time.
    What is asked back comes back: at once where no attempt has it, else when that ends.
    Sessions that are kept for a lane are closed with its passes: a connection that lies idle counts at the other end.
    A pass that nobody used for ``IDLE_SECONDS`` goes back without being asked for.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.mail.shape import Bounds
from mailgw.queue.permits import Calm, Contended, Granted, Path, Word

# As long as a kept session is of use to the other end, and more often than a lane's gates are asked for anew.
IDLE_SECONDS = 30.0


class PassOwner(Protocol):
    """The way to the table.  Its words come back by ``Passes.hear``, perhaps before these return."""

    def ask(self, path: Path, bounds: Sequence[Bounds], wanted: int) -> None: ...

    def give_back(self, path: Path, count: int) -> None: ...


Register: TypeAlias = Callable[[Callable[[Word], None]], PassOwner]
"""Makes a new holder known to the table, which is to tell it its words so."""


class Passes:
    """``granted`` is called with a path that has a pass now, and sees that it is begun with, or settled; ``part`` with
    a lane and how many of its kept sessions are to be closed."""

    def __init__(
        self,
        register: Register,
        granted: Callable[[Path], None],
        part: Callable[[str, int], None],
        clock: IReactorTime,
    ) -> None:
        self._owner = register(self.hear)
        self._granted = granted
        self._part = part
        self._clock = clock
        self._idle: Counter[Path] = Counter()
        self._idle_since: dict[Path, float] = {}
        self._asked: dict[Path, int] = {}
        self._rated: set[Path] = set()  # those of which a pass is for one attempt
        self._contended: set[str] = set()
        self._owed: Counter[str] = Counter()  # by gate
        self._sweep_call: IDelayedCall | None = None
        self._is_stopped = False

    def has(self, path: Path, bounds: Sequence[Bounds], wanted: int) -> bool:
        """Whether there is a pass for one attempt now; else so many are asked for, and ``granted`` says when."""
        if self._idle[path]:
            return True
        if wanted > self._asked.get(path, 0) and not self._is_stopped:
            self._asked[path] = wanted
            if any(bound.rate is not None for bound in bounds):
                self._rated.add(path)
            else:
                self._rated.discard(path)
            self._owner.ask(path, bounds, wanted)
        return self._idle[path] > 0

    def begins(self, path: Path) -> None:
        """An attempt takes one, which ``has`` said is there."""
        self._lose_idle(path, 1)

    def ended(self, path: Path) -> None:
        """It has it no more: the next attempt may take it, until ``settle``."""
        if path in self._rated or any(self._owed[gate] for gate in path):
            self._give_back(path, 1)
            return
        self._idle[path] += 1
        self._idle_since[path] = self._clock.seconds()
        if self._sweep_call is None and not self._is_stopped:
            self._sweep_call = self._clock.callLater(IDLE_SECONDS, self._sweep)

    def settle(self, path: Path) -> None:
        """Nobody here took what is idle: it goes back where others wait for it."""
        count = self._idle[path]
        if count and (self._is_stopped or any(gate in self._contended for gate in path)):
            self._lose_idle(path, count)
            self._give_back(path, count)

    def hear(self, word: Word) -> None:
        """What the table has to say."""
        match word:
            case Granted():
                self._hear_granted(word.path, word.count)
            case Contended():
                self._contended.add(word.gate)
                self._owed[word.gate] += word.busy
                for path in [one for one in self._idle if word.gate in one]:
                    self.settle(path)
            case Calm():
                self._contended.discard(word.gate)
                del self._owed[word.gate]

    def stop(self) -> None:
        """Ask for none any more; what is idle goes back."""
        self._is_stopped = True
        if self._sweep_call is not None:
            self._sweep_call.cancel()
            self._sweep_call = None
        for path in list(self._idle):
            self.settle(path)

    def _hear_granted(self, path: Path, count: int) -> None:
        left = self._asked.pop(path, 0) - count
        if left > 0:
            self._asked[path] = left
        self._idle[path] += count
        self._idle_since[path] = self._clock.seconds()
        if self._sweep_call is None and not self._is_stopped:
            self._sweep_call = self._clock.callLater(IDLE_SECONDS, self._sweep)
        if self._is_stopped:
            self.settle(path)
        else:
            self._granted(path)

    def _lose_idle(self, path: Path, count: int) -> None:
        self._idle[path] -= count
        if not self._idle[path]:
            del self._idle[path]
            self._idle_since.pop(path, None)

    def _give_back(self, path: Path, count: int) -> None:
        for gate in path:
            if self._owed[gate]:
                self._owed[gate] = max(0, self._owed[gate] - count)
        self._part(path[0], count)
        self._owner.give_back(path, count)

    def _sweep(self) -> None:
        self._sweep_call = None
        now = self._clock.seconds()
        for path in [one for one, since in self._idle_since.items() if now - since >= IDLE_SECONDS]:
            count = self._idle[path]
            self._lose_idle(path, count)
            self._give_back(path, count)
        if self._idle_since:
            self._sweep_call = self._clock.callLater(IDLE_SECONDS / 2, self._sweep)
