"""The limits of destinations, which the parent counts: a worker's requests for passes, and the parent's words.

Each shard that a worker has open is a holder of its own.
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
        self._hear: dict[int, Callable[[Word], None]] = {}

    def register(self, shard: int, hear: Callable[[Word], None]) -> PassOwner:
        """``deliver.passes.Register`` for one shard."""
        self._hear[shard] = hear
        self._wire.tell("passes.holder", shard)
        return _AskedOwner(self._wire, shard)

    def gone(self, shard: int) -> None:
        """It is open no more."""
        if self._hear.pop(shard, None) is not None:
            self._wire.tell("passes.gone", shard)

    def hear(self, name: str, arguments: Sequence[Any]) -> None:
        """What the parent has to say."""
        shard, what, count = arguments
        hear = self._hear.get(shard)
        if hear is None:
            return  # it was closed meanwhile
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
    def __init__(self, wire: Wire, shard: int) -> None:
        self._wire = wire
        self._shard = shard

    def ask(self, path: Path, bounds: Sequence[Bounds], wanted: int) -> None:
        told = [(one.concurrency, None if one.rate is None else (one.rate.count, one.rate.seconds)) for one in bounds]
        self._wire.tell("passes.ask", self._shard, path, told, wanted)

    def give_back(self, path: Path, count: int) -> None:
        self._wire.tell("passes.back", self._shard, path, count)


class PassesOfWorkers:
    """The parent's."""

    def __init__(self, desk: PermitDesk) -> None:
        self._desk = desk
        self._shards: dict[int, set[int]] = {}

    def answer(self, worker: int, wire: Wire, name: str, arguments: Sequence[Any]) -> None:
        shard = arguments[0]
        holder = f"{worker}/{shard}"
        match name, *arguments[1:]:
            case ("passes.holder",):
                self._shards.setdefault(worker, set()).add(shard)
                self._desk.holder(holder, partial(_say, wire, shard))
            case ("passes.gone",):
                self._shards.get(worker, set()).discard(shard)
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
        for shard in self._shards.pop(worker, set()):
            self._desk.gone(f"{worker}/{shard}")


def _say(wire: Wire, shard: int, word: Word) -> None:
    match word:
        case Granted():
            wire.tell("passes.granted", shard, word.path, word.count)
        case Contended():
            wire.tell("passes.contended", shard, word.gate, word.busy)
        case Calm():
            wire.tell("passes.calm", shard, word.gate, 0)
        case _:
            assert_never(word)
