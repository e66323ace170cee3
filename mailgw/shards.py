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
    """``holder`` is the name by which its dispatcher has passes; ``leaving`` are those that make way, with theirs."""

    number: int
    spool: Spool
    counting: Counting
    made: Dispatcher | None = None
    holder: str = ""
    leaving: dict[Dispatcher, str] = attrs.Factory(dict)

    @property
    def dispatcher(self) -> Dispatcher:
        assert self.made is not None, "Shards.deliver comes first"
        return self.made


OpenSpool: TypeAlias = Callable[[SpoolSettings], Spool]
MakeDispatcher: TypeAlias = Callable[[Spool, Register | None], Dispatcher]


class Shards:
    """``settings`` are those of shard 0; ``register`` makes a dispatcher known, by a name of its own, to whoever counts
    for all shards, None where nobody has to; ``gone`` says that it needs nothing more."""

    def __init__(
        self,
        settings: SpoolSettings,
        open_spool: OpenSpool,
        register: Callable[[str], Register | None],
        tasks: TaskGroup,
        counting: Callable[[Spool], Counting],
        gone: Callable[[str], None] = lambda holder: None,
    ) -> None:
        self._settings = settings
        self._open_spool = open_spool
        self._register = register
        self._gone = gone
        self._made = 0
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
                shard.made, shard.holder = self._dispatcher(shard, make_dispatcher)

    def _dispatcher(self, shard: Shard, make_dispatcher: MakeDispatcher) -> tuple[Dispatcher, str]:
        self._made += 1
        holder = f"{shard.number}.{self._made}"
        return make_dispatcher(shard.spool, self._register(holder)), holder

    def replace(
        self, make_dispatcher: MakeDispatcher, is_same: Callable[[str], bool]
    ) -> Sequence[tuple[Shard, Dispatcher]]:
        """Others deliver from now on, and are started; what is returned is for ``retire``.  ``is_same`` says of which
        backends what was learned of destinations still holds."""
        made = [(shard, *self._dispatcher(shard, make_dispatcher)) for shard in self.all]
        replaced = []
        for shard, dispatcher, holder in made:
            elder = shard.dispatcher
            replaced.append((shard, elder))
            dispatcher.succeed(elder, is_same)
            shard.leaving[elder] = shard.holder
            shard.made, shard.holder = dispatcher, holder
            dispatcher.start()
        return replaced

    def renew(self, settings: SpoolSettings) -> None:
        """Other settings than before, in the same folder."""
        self._settings = settings
        for shard in self.all:
            shard.spool.renew(settings.reserve_octets, settings.lease_seconds, settings.late_seconds)

    async def retire(self, replaced: Sequence[tuple[Shard, Dispatcher]]) -> None:
        """Those that were replaced give back what they have; returns when their last attempt has ended."""
        for ended in [Deferred.fromCoroutine(self._retire(shard, elder)) for shard, elder in replaced]:
            await ended

    async def _retire(self, shard: Shard, elder: Dispatcher) -> None:
        await elder.retire(lambda: shard.dispatcher.look_through())
        holder = shard.leaving.pop(elder, None)
        if holder is not None:
            self._gone(holder)
            shard.dispatcher.look_through()

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
        for ended in [Deferred.fromCoroutine(_stop(shard, limit_seconds)) for shard in self.all]:
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
        await _stop(shard, limit_seconds)
        if shard.holder:
            self._gone(shard.holder)
        if self._open.pop(number, None) is not None:
            await shard.spool.close()


async def _stop(shard: Shard, limit_seconds: float) -> None:
    running = [*shard.leaving, *([] if shard.made is None else [shard.made])]
    for ended in [Deferred.fromCoroutine(one.stop(limit_seconds)) for one in running]:
        await ended


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
