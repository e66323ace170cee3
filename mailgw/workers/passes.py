"""The limits of destinations, which the parent counts: a worker's requests for passes, and the parent's words.

Each dispatcher of a worker, one a shard and sometimes one that makes way, is a holder of its own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, assert_never

from mailgw.deliver.passes import PassOwner
from mailgw.deliver.permits import PermitDesk
from mailgw.mail.rate import Rate
from mailgw.mail.shape import Bounds
from mailgw.queue.permits import Calm, Contended, Granted, Path, Word
from mailgw.workers.calls import Wire


class AskedPasses:
    """In a worker."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._hear: dict[str, Callable[[Word], None]] = {}

    def register(self, holder: str, hear: Callable[[Word], None]) -> PassOwner:
        """``deliver.passes.Register`` for one holder."""
        self._hear[holder] = hear
        self._wire.tell("passes.holder", holder)
        return _AskedOwner(self._wire, holder)

    def gone(self, holder: str) -> None:
        """It needs none any more."""
        if self._hear.pop(holder, None) is not None:
            self._wire.tell("passes.gone", holder)

    def hear(self, name: str, arguments: Sequence[Any]) -> None:
        """What the parent has to say."""
        holder, what, count = arguments
        hear = self._hear.get(holder)
        if hear is None:
            return  # it is gone meanwhile
        match name:
            case "passes.granted":
                hear(Granted("", tuple(what), count))
            case "passes.contended":
                hear(Contended("", what, count))
            case "passes.calm":
                hear(Calm("", what))
            case _:
                raise ValueError(f"no such call: {name}")


class _AskedOwner:
    def __init__(self, wire: Wire, holder: str) -> None:
        self._wire = wire
        self._holder = holder

    def ask(self, path: Path, bounds: Sequence[Bounds], wanted: int) -> None:
        told = [(one.concurrency, None if one.rate is None else (one.rate.count, one.rate.seconds)) for one in bounds]
        self._wire.tell("passes.ask", self._holder, path, told, wanted)

    def give_back(self, path: Path, count: int) -> None:
        self._wire.tell("passes.back", self._holder, path, count)


class PassesOfWorkers:
    """The parent's."""

    def __init__(self, desk: PermitDesk) -> None:
        self._desk = desk
        self._holders: dict[int, set[str]] = {}

    def answer(self, worker: int, wire: Wire, name: str, arguments: Sequence[Any]) -> None:
        name_there = arguments[0]
        holder = f"{worker}/{name_there}"
        match name, *arguments[1:]:
            case ("passes.holder",):
                self._holders.setdefault(worker, set()).add(name_there)
                self._desk.holder(holder, partial(_say, wire, name_there))
            case ("passes.gone",):
                self._holders.get(worker, set()).discard(name_there)
                self._desk.gone(holder)
            case "passes.ask", path, bounds, wanted:
                read = [Bounds(most, None if rate is None else Rate(rate[0], rate[1])) for most, rate in bounds]
                self._desk.ask(holder, tuple(path), read, wanted)
            case "passes.back", path, count:
                self._desk.give_back(holder, tuple(path), count)
            case _:
                raise ValueError(f"no such call: {name}")

    def gone(self, worker: int) -> None:
        """All that it had is there for the others."""
        for name_there in self._holders.pop(worker, set()):
            self._desk.gone(f"{worker}/{name_there}")


def _say(wire: Wire, holder: str, word: Word) -> None:
    match word:
        case Granted():
            wire.tell("passes.granted", holder, word.path, word.count)
        case Contended():
            wire.tell("passes.contended", holder, word.gate, word.busy)
        case Calm():
            wire.tell("passes.calm", holder, word.gate, 0)
        case _:
            assert_never(word)
