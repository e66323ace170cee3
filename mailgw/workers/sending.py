"""The HTTP API's sending where there are several workers: the parent has the book, a worker takes each message, and all
of them tell the parent what becomes of it.

Rules:
    Each worker is told of every message: another one than took it may deliver it.
    A worker that does not say that it is alive is handed no message; who was handed one, and is silent then, is not
    waited for (``patience``).  What became of that message is told later, as below.
    Whether a worker that ended had committed a message is not known before its queue is open again; then it is.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailgw.config.settings import Config
from mailgw.disk import Disk
from mailgw.following import MOST_FOLLOWED, Told
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.ports import Answering, Desk, WallClock
from mailgw.maildrop import LOOK_SECONDS
from mailgw.net.tasks import TaskGroup
from mailgw.sending import FOLDER, FateUnknown
from mailgw.sending_here import THREADS, Owner, Ways
from mailgw.store.ledger import Ledger
from mailgw.store.sent import FILE
from mailgw.store.state_file import Workshop
from mailgw.workers.calls import BOX_OCTETS, Wire
from mailgw.workers.fanout import ask_worker
from mailgw.workers.handed import control_of
from mailgw.workers.patience import CHOICE_SECONDS, Patience
from mailgw.workers.patience import LOOK_SECONDS as PATIENCE_SECONDS
from mailgw.workers.roster import Worker
from mailgw.world import World

log = Logger()

IDS: Final = 500
"""Queue ids in one call, of at most 32 characters each."""


class WorkersTaking:
    """``sending.Takes``: one worker after the other."""

    def __init__(self, reactor: Any, config: Config, workers: Sequence[Worker], patience: Patience) -> None:
        self._reactor = reactor
        self._config = config
        self._workers = workers
        self._patience = patience
        self._turn = count()
        self._of: dict[str, Worker] = {}  # by records that are not released yet: who took them

    async def take(self, path: str) -> Any:
        ready = [one for one in self._workers if one.is_ready]
        if not ready:
            raise TemporaryFault("no worker runs just now")
        answering = [one for one in ready if self._patience.silent_seconds(one) < CHOICE_SECONDS]
        if not answering:
            raise TemporaryFault("no worker answers just now: try again")
        worker = answering[next(self._turn) % len(answering)]
        answer = await self._ask(worker, {"command": "sending.take", "path": path})
        if "trouble" in answer:
            raise TemporaryFault(answer["trouble"])
        taken = answer.get("taken")
        if taken is not None and not taken["is_discarded"]:  # that is never released
            self._of[taken["queue_id"]] = worker
        return answer

    async def release(self, queue_id: str, record: str) -> None:
        worker = self._of.pop(queue_id, None)
        if worker is None:
            raise TemporaryFault(f"who took {queue_id} is not known")
        await self._ask(worker, {"command": "sending.release", "queue_id": queue_id, "record": record})

    async def _ask(self, worker: Worker, request: dict[str, Any]) -> Any:
        ask = partial(ask_worker, self._reactor, control_of(self._config, worker.number), request)
        try:
            answer = await self._patience.wait(worker, ask, PATIENCE_SECONDS)
        except TemporaryFault as fault:
            raise FateUnknown(fault.why) from fault
        if isinstance(answer, RefusedRequest):
            raise TemporaryFault(str(answer))
        return answer


class Parent(Answering, Protocol):
    """``parent.Parent``."""

    config: Config
    patience: Patience


class ParentSending:
    """The book's owner, and whose facts it wants."""

    def __init__(
        self, parent: Parent, workers: Sequence[Worker], tasks: TaskGroup, reactor: Any, wall_clock: WallClock
    ) -> None:
        """``workers`` are those that there are, whenever somebody looks."""
        self._parent = parent
        self._workers = workers
        self._tasks = tasks
        self._reactor = reactor
        self._pools: list[ThreadPool] = []
        self._followed: dict[str, None] = {}  # for workers that come later
        self._knows_all = False  # ... those of earlier starts, too
        self._greeted: set[int] = set()  # the numbers of workers
        self._beginning: IDelayedCall | None = None
        taking = WorkersTaking(reactor, parent.config, workers, parent.patience)
        self._world = World(reactor, wall_clock)
        composing, of_sent, of_events = map(self._workshop, THREADS)
        self._owner = Owner(Ways(
            config=lambda: parent.config, state=parent.config.state, ledger=Ledger, takes=taking, door=parent,
            composing=composing, sent=of_sent, events=of_events, tasks=tasks, wall_clock=wall_clock,
            chance=self._world.chance, poster=self._world.event_poster, follow=self._follow,
            complete=self._complete,
        ))

    def desk(self) -> Desk:
        return self._owner.desk()

    def maildrop_told(self) -> dict[str, Any]:
        return self._owner.maildrop_told()

    def put_in_force(self) -> None:
        """The parent's configuration.  TemporaryFault where a web hook cannot be made."""
        self._owner.put_in_force(self._parent.config)

    def renew(self) -> None:
        """The same, where it is too late to refuse it."""
        try:
            self.put_in_force()
        except TemporaryFault as fault:
            log.error("web hooks stay as they were: {why}", why=fault.why)

    def turn_on(self) -> None:
        """Web hooks that are off."""
        self._owner.turn_on()

    async def hooks_at_a_glance(self) -> Sequence[Mapping[str, Any]]:
        """``Hooks.at_a_glance``."""
        return await self._owner.hooks_at_a_glance()

    def books_told(self) -> Mapping[str, Any]:
        """``Owner.books_told``."""
        return self._owner.books_told()

    def start(self) -> None:
        """TemporaryFault as above."""
        self.put_in_force()
        if any(os.path.exists(os.path.join(self._parent.config.state, name)) for name in (FILE, FOLDER)):
            self._begin()
        else:  # only the queue may know of something, if somebody moved it here alone
            self._complete()
            if self._world.looks_again:
                self._beginning = self._reactor.callLater(LOOK_SECONDS, self._begin)

    def _begin(self) -> None:
        self._beginning = None
        self._tasks.spawn("reading what was sent", self._owner.start())

    def hear(self, facts: Sequence[Told]) -> None:
        self._owner.hear(facts)

    def greet(self, worker: Worker) -> None:
        """It is open, and wants to know whose facts are wanted.  Where it is not the first one of its number, that one
        may not have told all of its own."""
        if worker.wire is not None:
            _tell(worker.wire, list(self._followed), self._knows_all)
        if worker.number in self._greeted and self._followed:
            self._owner.look_again()
        self._greeted.add(worker.number)

    async def close(self) -> None:
        if self._beginning is not None:
            self._beginning.cancel()
            self._beginning = None
        await self._owner.close()
        for pool in self._pools:
            pool.stop()
        self._pools.clear()

    def _workshop(self, name: str) -> Workshop:
        pool = ThreadPool(0, 1, name)
        pool.start()  # no thread, until there is work
        self._pools.append(pool)
        return Workshop(Disk(), self._reactor, pool)

    def _follow(self, queue_ids: Sequence[str]) -> None:
        self._followed.update(dict.fromkeys(queue_ids))
        while len(self._followed) > MOST_FOLLOWED:
            self._followed.pop(next(iter(self._followed)))
        for worker in self._workers:
            if worker.is_ready and worker.wire is not None:
                _tell(worker.wire, queue_ids, False)

    def _complete(self) -> None:
        self._knows_all = True
        for worker in self._workers:
            if worker.is_ready and worker.wire is not None:
                _tell(worker.wire, [], True)


def _tell(wire: Wire, queue_ids: Sequence[str], is_all: bool) -> None:
    """``is_all``: there are no others."""
    for start in range(0, len(queue_ids), IDS):
        wire.tell("follow", list(queue_ids[start:start + IDS]), False)
    if is_all:
        wire.tell("follow", [], True)


def in_calls(facts: Sequence[Told]) -> Iterator[Sequence[Told]]:
    """Facts in such pieces as go between a worker and the parent."""
    piece: list[Told] = []
    size = 0
    for fact in facts:
        octets = len(msgspec.json.encode(fact)) + 1
        if piece and size + octets > BOX_OCTETS:
            yield piece
            piece, size = [], 0
        piece.append(fact)
        size += octets
    if piece:
        yield piece
