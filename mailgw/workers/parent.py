"""The parent: what ``twistd`` runs where there are several workers."""

import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

import mailgw
from mailgw.accounts import lasting_secret
from mailgw.config.settings import Config
from mailgw.control import ControlFactory
from mailgw.deliver.permits import PermitDesk
from mailgw.desks import parent_desk
from mailgw.disk import Disk
from mailgw.ground import Threads
from mailgw.inbox_desk import OwnInbox
from mailgw.lookouts import lookout_over_workers, plots_path
from mailgw.mail import event as fact
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import WallClock
from mailgw.net.listen import bind
from mailgw.net.tasks import TaskGroup
from mailgw.office import Office
from mailgw.policy.limits import Limits
from mailgw.policy.lockout import Lockout
from mailgw.receive.admission import OwnCounters
from mailgw.reloading import Reloader
from mailgw.service import started
from mailgw.shards import left_over, words_of_shard_0
from mailgw.spool.folder import lock_folder
from mailgw.store.observers import Observed
from mailgw.store.state_file import Workshop
from mailgw.workers.calls import Wire
from mailgw.workers.changes import Changes
from mailgw.workers.counters import CountersOfWorkers
from mailgw.workers.fanout import ask_worker
from mailgw.workers.handed import Handed, control_of, share
from mailgw.workers.launching import START_SECONDS, WorkerProcess, launch, wait_until_ready
from mailgw.workers.passes import PassesOfWorkers
from mailgw.workers.patience import LOOK_SECONDS as PATIENCE_SECONDS
from mailgw.workers.patience import LOOKS, Patience
from mailgw.workers.recordings import RecordingsOfWorkers
from mailgw.workers.roster import TakenOver as _TakenOver
from mailgw.workers.roster import Worker as _Worker
from mailgw.workers.sending import ParentSending
from mailgw.workers.watch import LOOK_SECONDS as WATCH_SECONDS
from mailgw.workers.watch import SILENT_LOOKS, Watch
from mailgw.world import World

log = Logger()
T = TypeVar("T")

# A worker that is being started again: an operator's command waits so long for it.
ABSENCE_SECONDS = 15.0
LOOK_SECONDS = 0.1
# What a worker may take to end beyond ``limits.stop_seconds``, before it is killed.
KILL_SECONDS = 15.0
# A shard whose second worker ended so soon after it took it over is left to its own for a while.
SUSPICIOUS_SECONDS = 60.0
ALONE_SECONDS = 600.0
# What was seen of TLS, and found by DMARC, while the worker that reports on it was away.
KEPT_RESULTS = 10_000


class Parent(Changes, MultiService):
    """The gateway as several processes.

    ``startService`` blocks until all workers are open; it raises ``TemporaryFault`` or ``ConfigError`` where one cannot
    be, and then nothing is left.  ``reload`` and ``stopService`` are for all of them.
    """

    def __init__(self, config: Config, reactor: Any, wall_clock: WallClock = time.time) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._world = World(reactor, wall_clock)
        self.config = config
        self.socket_owner: tuple[int, int] | None = None
        self.reactor = self._reactor = reactor
        self.wall_clock = self._wall_clock = wall_clock
        self._ports: list[IListeningPort] = []
        self._control_port: IListeningPort | None = None
        self._lock: int | None = None  # of the state folder
        self._workers: list[_Worker] = []
        self._taken_over: dict[int, _TakenOver] = {}
        self._left_alone: dict[int, float] = {}  # shards, until when
        self._suspended: Mapping[str, float] = {}
        self._results: list[tuple[str, object]] = []
        self.is_stopping = False
        self._watching: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._began = 0.0
        limits = config.limits
        self._counted = OwnCounters(Limits(limits.counters), Lockout(limits.lockout), reactor.seconds)
        self._counters = CountersOfWorkers(self._counted)
        self._permits = PermitDesk(reactor)
        self._passes = PassesOfWorkers(self._permits)
        self._tasks = TaskGroup(lambda what, trouble: log.failure("{what} failed", failure=trouble, what=what))
        self.lookout = lookout_over_workers(config, reactor, wall_clock, self.wires, self.beside)
        self._threads = Threads(self._world)
        self.journal = Observed(self._world.journal(config.journal), wall_clock=wall_clock)
        self.journal.told_to(self.lookout.hearing.hear)
        self._doors = self.doors_of(config)
        self.reloader = Reloader(self)
        self.is_changing = False  # the configuration: no worker is started meanwhile
        self.patience = Patience(reactor, self._ask_whether_alive)
        self.sending = ParentSending(self, self._workers, self._tasks, reactor, wall_clock)
        self.inbox = OwnInbox(config, reactor)
        self.recordings = RecordingsOfWorkers(config.state, self._workers, reactor, wall_clock)
        self._desk = parent_desk(self)
        self._office = Office(config, self, reactor, wall_clock, Disk())

    # --- starting -----------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        super().privilegedStartService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._bind()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._began, self.began = self._reactor.seconds(), self._wall_clock()
        try:
            self._bind()
            self._prepare_state()
            self.reloader.begin()
            self._listen_for_control()  # commands wait until the workers are there
            self._launch_all()
            self._office.open(self.journal, lambda: self._threads(1, "mailgw uploads"))
            if self.config.api is not None:
                threads = self._threads(1, "mailgw state")
                self.lookout.keep_plots(plots_path(self.config), Workshop(Disk(), self._reactor, threads))
        except BaseException:
            self._abandon()
            raise
        self.sending.start()
        self._watching = self._reactor.callLater(WATCH_SECONDS, self._watch)
        self.journal.note(started(self.config))

    def _bind(self) -> None:
        if self._ports:
            return
        try:
            for listener in self.config.listeners:
                port: Any = bind(self._reactor, listener.endpoint, ServerFactory(), self.socket_owner)
                port.stopReading()  # the workers accept
                self._ports.append(port)
            self._office.bind(partial(bind, self._reactor), self.socket_owner)
        except TemporaryFault:
            self._abandon()
            raise

    def _prepare_state(self) -> None:
        """What has to be there once, before several look for it."""
        # The shards are the workers', and locked late: two parents at once would take each other's control socket.
        try:
            self._lock = lock_folder(self.config.state, Disk())
        except OSError as fault:
            raise TemporaryFault(f"{self.config.state}: {fault.strerror}") from fault
        self._suspended = words_of_shard_0(self.config.spool)
        if self.config.passwd_file is not None:
            lasting_secret(self.config.state)

    def _launch_all(self) -> None:
        spool, count = self.config.spool, self.config.workers
        others = left_over(spool, count)
        if others:
            log.info("the queues of {count} workers of an earlier start are delivered, too", count=len(others))
        waiting = []
        try:
            for number in range(count):
                shards = (number, *(other for other in others if other % count == number))
                worker = _Worker(number, shards)
                self._workers.append(worker)
                ours, its = os.pipe()
                waiting.append(ours)
                try:
                    self._launch(worker, its)
                finally:
                    os.close(its)
        except BaseException:
            for one in waiting:
                os.close(one)
            raise
        wait_until_ready(waiting, self._drain)

    def _drain(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                worker.process.drain()

    def _launch(self, worker: _Worker, ready: int) -> None:
        config, number = self.config, worker.number
        value = Handed(
            config=config,
            number=number,
            workers=config.workers,
            shards=worker.shards,
            sessions=share(config.limits.sessions, number, config.workers),
            suspended=self._suspended,
            families=tuple(port.socket.family for port in self._bound()),
            parent=os.getpid(),
        )
        process = WorkerProcess(number, lambda how: self._ended(worker, process, how))
        wire = Wire(self._reactor, lambda name, arguments: self._answer(worker, wire, name, arguments), lambda: None)
        worker.restarts.began(self._reactor.seconds())
        worker.process, worker.wire, worker.is_ready = process, wire, False
        worker.watch, worker.is_asked = Watch(), False
        try:
            launch(self._reactor, process, wire, value, [port.fileno() for port in self._bound()], ready)
        except BaseException:
            worker.process = worker.wire = None  # there is none
            raise

    def _bound(self) -> Sequence[Any]:
        return self._ports

    def _listen_for_control(self) -> None:
        path = self.config.control
        if os.path.exists(path):
            os.unlink(path)  # we have the state folder: nobody else is alive to listen there
        self._control_port = self._reactor.listenUNIX(path, ControlFactory(self, self._reactor), mode=0o600)

    def _abandon(self) -> None:
        """A start failed: leave nothing bound, nobody running."""
        self.is_stopping = True
        for worker in self._workers:
            if worker.process is not None:
                worker.process.kill()

        async def undo() -> None:
            await self._unbind()
            await self._office.close()
            await self.sending.close()
            self._unlock()

        self._tasks.spawn("closing after a failed start", undo())

    # --- the workers ----------------------------------------------------------------------------------

    def _answer(self, worker: _Worker, wire: Wire, name: str, arguments: Sequence[Any]) -> object:
        """``calls.Answer`` for one worker."""
        if wire is not worker.wire:
            return None  # its process is gone, and what it was let do with it
        if name.startswith("passes."):
            self._passes.answer(worker.number, wire, name, arguments)
            return None
        if name.startswith("facts."):
            self.lookout.take(name, arguments)
            return None
        if self._counters.knows(name):
            return self._counters.answer(worker.number, name, arguments)
        match name, *arguments:
            case ("ready",):
                self._is_ready(worker)
            case ("tls" | "dmarc") as kind, result:
                self._report(kind, result)
            case "heard", facts:
                self.sending.hear(facts)
            case "record.begun", str() as order_id:
                self.recordings.begun(order_id)
            case _:
                raise ValueError(f"no such call: {name}")
        return None

    def _is_ready(self, worker: _Worker) -> None:
        worker.is_ready = True
        worker.restarts.heard(self._reactor.seconds())
        pid = worker.process.pid if worker.process is not None else 0
        log.info("worker {worker} is process {pid}", worker=worker.number, pid=pid)
        self.journal.note(fact.WorkerStarted(worker.number, pid))
        self.recordings.greet(worker)
        if worker.number == 0:
            results, self._results = self._results, []
            for kind, result in results:
                self._report(kind, result)
        self.sending.greet(worker)
        for other in self._workers:  # whose shard nobody could take before
            if other.restarts.is_lost and other.process is None:
                self._tasks.spawn("handing a queue over", self._hand_over(other))

    def _report(self, kind: str, result: object) -> None:
        """Worker 0 counts what all of them see of TLS, and find by DMARC."""
        reporter = self._workers[0]
        if reporter.is_ready and reporter.wire is not None:
            reporter.wire.tell(kind, result)
        elif len(self._results) < KEPT_RESULTS:
            self._results.append((kind, result))

    def _ended(self, worker: _Worker, process: WorkerProcess, how: str) -> None:
        """Its process is gone, and its connections with it."""
        if worker.process is not process:
            return
        pid = process.pid
        worker.process, worker.wire, worker.is_ready = None, None, False
        self._tasks.spawn("what a worker was let do", self._counters.gone(worker.number))
        self._passes.gone(worker.number)
        now = self._reactor.seconds()
        for shard, taken in list(self._taken_over.items()):
            if taken.by is worker:
                del self._taken_over[shard]
                if worker.restarts.heard_at - taken.at < SUSPICIOUS_SECONDS:
                    log.error("worker {worker} ended soon after it took over the queue of another, {shard}, which is "
                              "left alone for a while", worker=worker.number, shard=shard)
                    self._left_alone[shard] = now + ALONE_SECONDS
        if self.is_stopping:
            self._tell_who_waits()
            return
        self._start_again(worker, pid, how)

    def _start_again(self, worker: _Worker, pid: int, how: str) -> None:
        """``pid`` is 0 where it came to no process."""
        pause = worker.restarts.ended()
        words = "worker {worker}, process {pid}, ended with" if pid else "worker {worker} cannot be started:"
        log.error(words + " {how}; it is started again in {pause:.1f} s",
                  worker=worker.number, pid=pid, how=how, pause=pause)
        self.journal.note(fact.WorkerEnded(worker.number, pid, how, round(pause, 3)))
        worker.call = self._reactor.callLater(pause, self._restart_soon, worker)
        if worker.restarts.is_lost:
            self._tasks.spawn("handing a queue over", self._hand_over(worker))

    def _watch(self) -> None:
        """Ask each whether it is alive; who does not answer for long is ended, and started again as after any end."""
        self._watching = self._reactor.callLater(WATCH_SECONDS, self._watch)
        now = self._reactor.seconds()
        for worker in self._workers:
            if worker.wire is None or worker.process is None:
                continue
            if not worker.is_ready:
                late = now - worker.restarts.began_at - START_SECONDS
                if 0 <= late < WATCH_SECONDS:
                    log.error("worker {worker}, process {pid}, is not open after {seconds:.0f} s, and is killed",
                              worker=worker.number, pid=worker.process.pid, seconds=START_SECONDS)
                    worker.process.kill()
            elif not worker.is_asked:
                self._ask_whether_alive(worker)
            elif worker.watch.look():
                seconds = SILENT_LOOKS * WATCH_SECONDS
                log.error("worker {worker}, process {pid}, has not answered for {seconds:.0f} s, and is killed; "
                          "a plug-in that blocks the reactor does that",
                          worker=worker.number, pid=worker.process.pid, seconds=seconds)
                worker.process.kill()

    def _ask_whether_alive(self, worker: _Worker) -> None:
        """Unless it has that before it."""
        if not worker.is_asked and worker.wire is not None:
            worker.is_asked, worker.asked_at = True, self._reactor.seconds()
            self._tasks.spawn("asking whether a worker is alive", self._hear_alive(worker, worker.watch))

    async def _hear_alive(self, worker: _Worker, watch: Watch) -> None:
        assert worker.wire is not None
        try:
            await worker.wire.ask("alive")
        except TemporaryFault:
            return  # its process ends
        if worker.watch is watch:
            watch.heard()
            worker.restarts.heard(self._reactor.seconds())
            worker.is_asked = False

    def _restart_soon(self, worker: _Worker) -> None:
        if self.is_changing:
            worker.call = self._reactor.callLater(LOOK_SECONDS, self._restart_soon, worker)
            return
        worker.call = None
        self._tasks.spawn("starting a worker again", self._restart(worker))

    async def _restart(self, worker: _Worker) -> None:
        for shard in worker.shards:
            await self._take_back(shard)
        if self.is_stopping or worker.process is not None:
            return
        if self.is_changing:
            self._restart_soon(worker)
            return
        try:
            ready = os.open(os.devnull, os.O_WRONLY)
            try:
                self._launch(worker, ready)
            finally:
                os.close(ready)
        except OSError as fault:  # no room for a file, no descriptor, no process: it may be otherwise soon
            self._start_again(worker, 0, fault.strerror or str(fault))
        except Exception as fault:  # noqa: BLE001 - it is logged, and a worker that is missing comes first
            log.failure("starting a worker")
            self._start_again(worker, 0, f"{type(fault).__name__}: {fault}")

    async def _hand_over(self, worker: _Worker) -> None:
        """Another one delivers what is in its shards until it is back."""
        for shard in worker.shards:
            now = self._reactor.seconds()
            other = next((one for one in self._workers if one.is_ready and one is not worker), None)
            if other is None or other.wire is None or shard in self._taken_over or now < self._left_alone.get(shard, 0):
                continue
            taken = self._taken_over[shard] = _TakenOver(other, now)
            try:
                await other.wire.ask("open", shard)
                taken.is_open = True
            except TemporaryFault as fault:
                if self._taken_over.get(shard) is taken:
                    del self._taken_over[shard]
                log.error("the queue of worker {worker} cannot be taken over by worker {other}: {why}",
                          worker=worker.number, other=other.number, why=fault.why)

    async def _take_back(self, shard: int) -> None:
        taken = self._taken_over.get(shard)
        if taken is None or taken.by.wire is None:
            return
        try:
            await taken.by.wire.ask("close", shard)
        except TemporaryFault as fault:  # then its own finds it locked, and ends; there is a next time
            log.error("worker {worker} does not give back a queue: {why}", worker=taken.by.number, why=fault.why)
            return
        self._taken_over.pop(shard, None)

    def workers_told(self) -> list[dict[str, Any]]:
        """Each worker: its process, 0 where there is none, whether it is open, and how often it ended of late."""
        return [
            {"worker": one.number, "pid": 0 if one.process is None else one.process.pid, "is_ready": one.is_ready,
             "ends": one.restarts.ends, "shards": list(one.shards)}
            for one in self._workers
        ]

    # --- operators ------------------------------------------------------------------------------------

    async def answer(self, request: Mapping[str, Any]) -> object:
        """``control.Answering``."""
        if (asked := self._desk.get(str(request.get("command")))) is not None:
            return await asked(request)
        match request.get("command"):
            case "ping":
                return {"version": mailgw.__version__}
            case "journal.reopen":
                self.journal.reopen()
            case _:
                pass
        answer = await self._doors.answer(request)
        if request.get("command") in ("queue.suspend", "queue.resume"):
            self._tasks.spawn("remembering what is suspended", self._remember_words())
        return answer

    async def _remember_words(self) -> None:
        """For who is started later.  It was done: that a worker ends just now is no reason to say otherwise."""
        while not self.is_stopping:
            try:
                self._suspended = await self._words()
                return
            except TemporaryFault:
                await self._pause(LOOK_SECONDS)

    async def _words(self) -> Mapping[str, float]:
        words: Any = await self._doors.answer({"command": "queue.suspended"})
        return words if isinstance(words, Mapping) else {}

    async def ask_all(self, request: Mapping[str, Any]) -> Sequence[Any]:
        """What each worker says, a RefusedRequest among it where one refuses.  TemporaryFault where one cannot be
        asked."""
        await self._all_are_there()
        told = await self.ask_each(request, PATIENCE_SECONDS if request.get("command") in LOOKS else None)
        for one in told.values():
            if isinstance(one, TemporaryFault):
                raise one
        return list(told.values())

    async def ask_each(self, request: Mapping[str, Any], patience: float | None) -> Mapping[int, Any]:
        """What each worker says that is open, by its number; the TemporaryFault where one says nothing, or is silent
        for so many seconds (``patience``; None: it is waited for)."""
        asked = {
            worker.number: Deferred.fromCoroutine(self._asked(worker, request, patience))
            for worker in self._workers if worker.is_ready
        }
        told: dict[int, Any] = {}
        for number, one in asked.items():  # all of them, whatever the first one says
            try:
                told[number] = await one
            except TemporaryFault as fault:
                told[number] = fault
        return told

    async def _asked(self, worker: _Worker, request: Mapping[str, Any], patience: float | None) -> object:
        ask = partial(ask_worker, self._reactor, control_of(self.config, worker.number), request)
        return await (ask() if patience is None else self.patience.wait(worker, ask, patience))

    async def _all_are_there(self) -> None:
        """Each shard is open in some worker; TemporaryFault where that takes too long."""
        end = self._reactor.seconds() + ABSENCE_SECONDS
        while absent := self.absent():
            if self._reactor.seconds() >= end or self.is_stopping:
                numbers = ", ".join(map(str, absent))
                why = "does not run, and its part of the queue cannot be seen: the log says why; try again"
                raise TemporaryFault(f"worker {numbers} {why}")
            await self._pause(LOOK_SECONDS)

    def absent(self) -> Sequence[int]:
        """The workers whose shards nobody serves."""
        return [one.number for one in self._workers if not self._is_served(one)]

    async def _pause(self, seconds: float) -> None:
        turn: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, turn.callback, None)
        await turn

    def _is_served(self, worker: _Worker) -> bool:
        if worker.is_ready:
            return True
        taken = [self._taken_over.get(shard) for shard in worker.shards]
        return all(one is not None and one.is_open for one in taken)

    # --- stopping -------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.is_stopping = True
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        await self._unbind()
        running = [worker for worker in self._workers if worker.process is not None]
        for worker in self._workers:
            if worker.call is not None:
                worker.call.cancel()
                worker.call = None
            if worker.wire is not None:
                worker.wire.tell("stop")
        killing = self._reactor.callLater(self.config.limits.stop_seconds + KILL_SECONDS, self._kill, running)
        while any(worker.process is not None for worker in self._workers):
            ended: Deferred[None] = Deferred()
            self._waiting.append(ended)
            await ended
        if killing.active():
            killing.cancel()
        await self._office.close()
        self.recordings.close()
        self._tasks.cancel()
        await self.sending.close()
        self._permits.stop()
        await maybeDeferred(super().stopService)
        self.journal.note(fact.Stopped(self.config.hostname, round(self._reactor.seconds() - self._began, 3)))
        await self._close_lookout()
        await self.journal.close()
        self.inbox.close()
        self._unlock()

    def _kill(self, workers: Sequence[_Worker]) -> None:
        for worker in workers:
            if worker.process is not None:
                log.error("worker {worker} does not end, and is killed", worker=worker.number)
                worker.process.kill()

    def _tell_who_waits(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def _close_lookout(self) -> None:
        await self.lookout.close()
        await self._threads.close()

    async def _unbind(self) -> None:
        await self._office.unbind()
        ports, self._ports = self._ports, []
        if self._control_port is not None:
            ports.append(self._control_port)
            self._control_port = None
        for port in ports:
            await maybeDeferred(port.stopListening)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


