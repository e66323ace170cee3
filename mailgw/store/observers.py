"""Who is told of facts beside the journal: plug-ins that observe, each in its turn, none of which holds up mail.

Rules:
    The journal first: what an observer does to itself or to us, the journal has it.
    An observer hears facts one at a time, in their order.  While it is busy with one, the next ones wait, so many at
    most; more are dropped, counted and told.
    What it raises is logged by its name; after failures in a row it hears nothing for a while.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mailgw.interfaces import IEventObserver
from mailgw.mail.event import Event, Trouble
from mailgw.mail.ports import Journal, WallClock
from mailgw.net.supervised import CalledFor, PluginFault, Supervisor
from mailgw.net.tasks import TaskGroup
from mailgw.store.troubles import Troubles

log = Logger()

OBSERVE_SECONDS: Final = 30.0
"""For one fact."""
WAITING: Final = 10_000
"""Facts, while an observer is busy; some 5 MiB."""


class OwnJournal(Protocol):
    def note(self, event: Event) -> None: ...

    def reopen(self) -> None: ...

    async def close(self) -> None: ...


class Observer:
    """One plug-in's turn.  ``note`` is where its trouble is told: the journal, not the other observers."""

    def __init__(
        self, name: str, plugin: IEventObserver, journal: Journal, clock: IReactorTime, tasks: TaskGroup,
        waiting: int = WAITING,
    ) -> None:
        self._name = name
        self._plugin = plugin
        self._wanted: Collection[str] = frozenset(plugin.events)
        self._supervisor = Supervisor(f"observer {name}", OBSERVE_SECONDS, clock, journal.note)
        self._tasks = tasks
        self._most = waiting
        self._waiting: deque[Event] = deque()
        self._is_busy = False
        self._idle: list[Deferred[None]] = []
        self._dropped = 0

    async def heard_all(self) -> None:
        """Returns when it has been told what it was to hear."""
        if self._is_busy:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle

    def hear(self, event: Event) -> None:
        """Never raises, never waits."""
        if self._wanted and event.name not in self._wanted:
            return
        if len(self._waiting) >= self._most:
            if not self._dropped:
                log.warn("observer {name} is {count} facts behind: it misses some", name=self._name, count=self._most)
            self._dropped += 1
            return
        self._waiting.append(event)
        if not self._is_busy:
            self._is_busy = True
            self._tasks.spawn(f"observer {self._name}", self._tell())

    async def _tell(self) -> None:
        try:
            while self._waiting:
                event = self._waiting.popleft()
                about = CalledFor(event.name)
                try:
                    await self._supervisor.call(about, partial(self._plugin.observe, event))
                    self._supervisor.good(about)
                except PluginFault:
                    pass  # told by the supervisor
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                log.warn("observer {name} missed {count} facts", name=self._name, count=dropped)
        except CancelledError:
            self._waiting.clear()  # the gateway stops
        finally:
            self._is_busy = False
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)


class Observed:
    """A journal, and those who hear what it is told; what went wrong is remembered (``troubles``)."""

    def __init__(self, journal: OwnJournal, *, wall_clock: WallClock = time.time) -> None:
        self._journal = journal
        self.alone = _Alone(self)
        self.troubles = Troubles()
        self._wall_clock = wall_clock
        self._observers: Sequence[Observer] = ()
        self._hearers: tuple[Callable[[Event], None], ...] = ()

    def begin(self, observers: Sequence[Observer]) -> None:
        """They hear all facts from here on."""
        self._observers = observers

    def told_to(self, hear: Callable[[Event], None]) -> None:
        """A part of the gateway hears all facts, too: it is quick, and never raises."""
        self._hearers = (*self._hearers, hear)

    def note(self, event: Event) -> None:
        self._journal.note(event)
        for hear in self._hearers:
            hear(event)
        if type(event) is Trouble:
            self.troubles.note(event, self._wall_clock())
        for observer in self._observers:
            observer.hear(event)

    def reopen(self) -> None:
        self._journal.reopen()

    async def replace(self, journal: OwnJournal) -> None:
        """Facts are told to another one from here on; returns when the one before has written what it was told."""
        before, self._journal = self._journal, journal
        await before.close()

    async def close(self) -> None:
        await self._journal.close()


class _Alone:
    """The journal without those who hear it."""

    def __init__(self, all_of_it: Observed) -> None:
        self._all_of_it = all_of_it

    def note(self, event: Event) -> None:
        self._all_of_it._journal.note(event)

    @property
    def lost(self) -> int:
        """Facts that found no place on the disk; 0 where none can be lost."""
        return getattr(self._all_of_it._journal, "lost", 0)
