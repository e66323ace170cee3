"""The table of passes (``queue.permits``) in its owner's process: it tells holders what they are to hear, and looks at
the clock for those that wait for a rate.

Rules:
    Words are told one after the other, in the order in which the table said them, whatever those who hear them ask for
    meanwhile.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgw.deliver.passes import PassOwner
from mailgw.mail.shape import Bounds
from mailgw.queue.permits import Path, PermitTable, Word


class PermitDesk:
    """One for all holders, each under a name of its own."""

    def __init__(self, clock: IReactorTime) -> None:
        self.table = PermitTable()
        self._clock = clock
        self._hear: dict[str, Callable[[Word], None]] = {}
        self._words: deque[Word] = deque()
        self._is_telling = False
        self._call: IDelayedCall | None = None

    def holder(self, name: str, hear: Callable[[Word], None]) -> PassOwner:
        """Who is called ``name`` hears words from now on, until ``gone``."""
        self._hear[name] = hear
        return _Counter(self, name)

    def gone(self, name: str) -> None:
        """It gives back all it had, and hears nothing more.  None of that name is no fault."""
        if self._hear.pop(name, None) is not None:
            self._tell(self.table.gone(name, self._clock.seconds()))

    def ask(self, name: str, path: Path, bounds: Sequence[Bounds], wanted: int) -> None:
        if name in self._hear:
            self._tell(self.table.ask(name, path, bounds, wanted, self._clock.seconds()))

    def give_back(self, name: str, path: Path, count: int) -> None:
        if name in self._hear:
            self._tell(self.table.give_back(name, path, count, self._clock.seconds()))

    def stop(self) -> None:
        """No timer any more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _tell(self, words: Sequence[Word]) -> None:
        self._words.extend(words)
        self._look_later()
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._words:
                word = self._words.popleft()
                hear = self._hear.get(word.holder)
                if hear is not None:
                    hear(word)
        finally:
            self._is_telling = False

    def _look_later(self) -> None:
        now = self._clock.seconds()
        at = self.table.next_look(now)
        if self._call is not None:
            if at == self._call.getTime():
                return
            self._call.cancel()
            self._call = None
        if at < math.inf:
            self._call = self._clock.callLater(max(0.0, at - now), self._look)

    def _look(self) -> None:
        self._call = None
        self._tell(self.table.look(self._clock.seconds()))


class _Counter:
    """``PassOwner`` for one holder."""

    def __init__(self, desk: PermitDesk, name: str) -> None:
        self._desk = desk
        self._name = name

    def ask(self, path: Path, bounds: Sequence[Bounds], wanted: int) -> None:
        self._desk.ask(self._name, path, bounds, wanted)

    def give_back(self, path: Path, count: int) -> None:
        self._desk.give_back(self._name, path, count)
