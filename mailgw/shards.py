"""The shards that one process has open (``spool.shards``), each with the dispatcher that delivers what is in it.

Rules:
    The first one is the process's own: new mail goes there.  The others are left over, from a start with more workers
    or from a worker that does not come back: they are delivered until nothing is left, and stay where they are.
    Limits of destinations hold over all of them.
    What is suspended in shard 0 is suspended in all.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailgw.deliver.counting import Counting
from mailgw.deliver.dispatcher import Dispatcher
from mailgw.deliver.passes import Register
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.mail.message import Query
from mailgw.mail.ports import Spool
from mailgw.net.tasks import TaskGroup
from mailgw.spool.offline import open_offline
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.shards import shard_settings, shards_there

log = Logger()


@attrs.define(eq=False)
class Shard:
    number: int
    spool: Spool
    counting: Counting
    made: Dispatcher | None = None

    @property
    def dispatcher(self) -> Dispatcher:
        assert self.made is not None, "Shards.deliver comes first"
        return self.made


OpenSpool: TypeAlias = Callable[[SpoolSettings], Spool]
MakeDispatcher: TypeAlias = Callable[[Spool, Register | None], Dispatcher]


class Shards:
    """``settings`` are those of shard 0; ``register`` makes a shard known to whoever counts for all of them, None where
    nobody has to."""

    def __init__(
        self,
        settings: SpoolSettings,
        open_spool: OpenSpool,
        register: Callable[[int], Register | None],
        tasks: TaskGroup,
        counting: Callable[[Spool], Counting],
    ) -> None:
        self._settings = settings
        self._open_spool = open_spool
        self._register = register
        self._tasks = tasks
        self._counting = counting
        self._open: dict[int, Shard] = {}

    @property
    def all(self) -> Sequence[Shard]:
        """The process's own comes first."""
        return tuple(self._open.values())

    @property
    def own(self) -> Shard:
        return next(iter(self._open.values()))

    def open(self, number: int) -> Shard:
        """Take a shard.  Blocks.  TemporaryFault or ConfigError where it cannot be had, and nothing is open then."""
        spool = self._open_spool(shard_settings(self._settings, number))
        shard = self._open[number] = Shard(number, spool, self._counting(spool))
        return shard

    def deliver(self, make_dispatcher: MakeDispatcher) -> None:
        """Make a dispatcher for each that has none; ``start`` starts them."""
        for shard in self.all:
            if shard.made is None:
                shard.made = make_dispatcher(shard.spool, self._register(shard.number))

    def suspend_as(self, words: Mapping[str, float]) -> None:
        """What shard 0 has suspended holds in all of these; before their dispatchers start."""
        for shard in self.all:
            known = shard.spool.suspended()
            if shard.number and known.keys() != words.keys():
                self._tasks.spawn("suspending what shard 0 has", _suspend_as(shard.spool, words))

    def start(self) -> None:
        for shard in self.all:
            shard.dispatcher.start()

    def start_one(self, number: int) -> None:
        self._open[number].dispatcher.start()

    async def stop(self, limit_seconds: float) -> None:
        """Let what is being tried end within the limit."""
        for ended in [Deferred.fromCoroutine(one.dispatcher.stop(limit_seconds)) for one in self.all if one.made]:
            await ended

    async def close(self) -> None:
        """After ``stop``, or where nothing was started."""
        for shard in self.all:
            del self._open[shard.number]
            await shard.spool.close()

    async def give_up(self, number: int, limit_seconds: float) -> None:
        """Leave a shard to somebody else; none of that number is no fault."""
        shard = self._open.get(number)
        if shard is None or shard is self.own:
            return
        if shard.made is not None:
            await shard.made.stop(limit_seconds)
        if self._open.pop(number, None) is not None:
            await shard.spool.close()


async def _suspend_as(spool: Spool, words: Mapping[str, float]) -> None:
    # Each is in force before the first wait.
    changes = [
        *(Deferred.fromCoroutine(spool.suspend(word)) for word in words.keys() - spool.suspended().keys()),
        *(Deferred.fromCoroutine(spool.resume(word)) for word in spool.suspended().keys() - words.keys()),
    ]
    for change in changes:
        await change


def left_over(settings: SpoolSettings, workers: int) -> list[int]:
    """The shards beyond those of so many workers in which something is queued, or may be.  Blocks."""
    return [number for number in shards_there(settings.folder) if number >= workers and _holds(settings, number)]


def _holds(settings: SpoolSettings, number: int) -> bool:
    try:
        with open_offline(shard_settings(settings, number), time.time, to_look=True) as spool:
            return bool(spool.search(Query(), 1))
    except (TemporaryFault, ConfigError) as fault:
        log.info("{folder} is opened, to see: {why}", folder=shard_settings(settings, number).folder, why=str(fault))
        return True


def words_of_shard_0(settings: SpoolSettings) -> Mapping[str, float]:
    """What is suspended there; nothing where there is no such shard yet.  Blocks.  TemporaryFault where somebody has
    it."""
    if 0 not in shards_there(settings.folder):
        return {}
    with open_offline(settings, time.time) as spool:
        return spool.suspended()
