"""The composition root: ports, queue and counters, which last, and what a configuration makes on them, as one service.

Rules:
    Before privileges are dropped (``privilegedStartService``) sockets are bound and nothing else is opened.
    State, keys and plug-ins are opened in ``startService``, as the user that mailgw runs as.
    A stop takes no new connection, lets messages and attempts under way end within ``limits.stop_seconds``,
    and leaves the rest in the queue.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgw import __version__
from mailgw.all_doors import AllDoors, ask_here
from mailgw.backend_lanes import backend_lanes
from mailgw.config.plugin import NOTHING_GIVEN
from mailgw.config.settings import Config
from mailgw.control import ControlDoors, ControlFactory
from mailgw.deliver.counting import Counting
from mailgw.deliver.dispatcher import Dispatcher
from mailgw.deliver.inbox import Inbox
from mailgw.deliver.passes import Register
from mailgw.deliver.permits import PermitDesk
from mailgw.desks import gateway_desk
from mailgw.dmarc_reporting import DmarcReporting
from mailgw.following import Told
from mailgw.generation import Generation
from mailgw.ground import Adopted, Ground, LatestResolver
from mailgw.lookouts import ProcessGauges, lookout, names_of, plots_path
from mailgw.mail import event as fact
from mailgw.mail.envelope import Role
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.mail.ports import Answering, Counters, Desk, WallClock
from mailgw.net.files import open_files_now, too_few_files
from mailgw.net.tasks import TaskGroup
from mailgw.office import Office
from mailgw.own_mail import OwnMail
from mailgw.peer_tls import PeerTls
from mailgw.policy.limits import Limits
from mailgw.policy.lockout import Lockout
from mailgw.receive.admission import OwnCounters
from mailgw.receive.factory import EsmtpFactory, Sessions
from mailgw.receive.line import Line
from mailgw.reloading import Reloader
from mailgw.sending_here import SendingHere
from mailgw.shards import Shard, Shards
from mailgw.store.observers import Observed
from mailgw.web.lookout import Lookout
from mailgw.web.reporter import Reporter
from mailgw.world import World

log = Logger()
T = TypeVar("T")

# How often certificates and keys are looked at for a change, and aliases where no mail comes.
RELOAD_SECONDS = 60.0
# Sessions that began with an earlier configuration are closed after this, as at a stop.
EARLIER_SECONDS = 3600.0


@attrs.define(eq=False)
class Prepared:
    """A generation that is open, and not yet in force: the ports in the order of its listeners, those of them that were
    not bound before, and the factories behind them."""

    generation: Generation
    ports: list[tuple[IListeningPort, "Gate"]] = attrs.Factory(list)
    fresh: list[IListeningPort] = attrs.Factory(list)
    factories: list[EsmtpFactory] = attrs.Factory(list)

    async def close(self) -> None:
        for port in self.fresh:
            await closed(port)
        await self.generation.close()


class MailGateway(MultiService):
    """One mail gateway as a service: put it under any application, or let ``twistd mailgw`` make it.

    ``startService`` raises ``ConfigError`` or ``TemporaryFault`` with one line for people where the gateway
    cannot start (a port is taken, the state is locked, a key is unreadable); nothing is left bound or open
    then.  ``reload`` is for a signal, ``reload_config`` for an application that changes its mind.
    """

    is_worker = False  # one of several processes (``mailgw.workers``)

    def __init__(
        self,
        config: Config,
        reactor: Any = None,
        wall_clock: WallClock = time.time,
        world: World | None = None,
        plugins: Mapping[str, object] = NOTHING_GIVEN,
    ) -> None:
        """``world`` stands for the reactor and the clock, and for all else that is outside; None: the real one.
        ``plugins`` are the backends, rules and others of ``type = "given"``, by their names in the configuration."""
        super().__init__()  # type: ignore[no-untyped-call] # Twisted has no types there
        if world is None:
            if reactor is None:
                from twisted.internet import reactor
            world = World(reactor, wall_clock)
        self.config = config
        self.socket_owner: tuple[int, int] | None = None  # whom root is to give Unix sockets to
        self.world = self._world = world
        self.reactor = self._reactor = world.reactor
        self.wall_clock = self._wall_clock = world.wall_clock
        self._ports: list[IListeningPort] = []
        self._gates: list[Gate] = []
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._timer: IDelayedCall | None = None
        self._began = 0.0
        self._permits: PermitDesk | None = None
        self.lookout: Lookout | None = None  # None in one of several processes
        self._desk: Desk = {}
        self._name = ""  # among several processes
        self._plugins = plugins
        self._control = config.control
        self._office = Office(config, self, world.reactor, world.wall_clock, world.disk)
        self.reloader = Reloader(self)

    # --- starting ---------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        super().privilegedStartService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._bind()

    def startService(self) -> None:
        if self.config.workers > 1 and not self.is_worker:
            why = "several processes are for twistd mailgw alone: inside another application, 1"
            raise ConfigError(self.config.file, 0, "workers", why)
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._began, self.began = self._reactor.seconds(), self._wall_clock()
        try:
            self._bind()
            self._open()
        except BaseException:
            self._abandon()
            raise

    def _bind(self) -> None:
        """Bind every listener that is not bound yet."""
        if self._ports:
            return
        try:
            for listener in self.config.listeners:
                gate = Gate(listener.role)
                self._ports.append(self._world.listen(listener.endpoint, gate, self.socket_owner))
                self._gates.append(gate)
            self._office.bind(self._world.listen, self.socket_owner)
        except TemporaryFault:
            self._abandon()
            raise

    def _abandon(self) -> None:
        """A start failed: leave nothing bound or open."""

        async def undo() -> None:
            await self._unbind()
            await self._close()

        Deferred.fromCoroutine(undo()).addErrback(  # type: ignore[unused-awaitable] # nobody is left to wait
            lambda failure: log.failure("closing after a failed start", failure=failure)
        )

    def _open(self) -> None:
        config, world = self.config, self._world
        self.gauges = ProcessGauges(self)
        self._watch = self._made_watch()
        self.journal = Observed(world.journal(config.journal), wall_clock=self._wall_clock)
        self.journal.told_to(self._watch.hearing.hear)
        self._closers += [self.journal.close, self._watch.close]
        self._tasks = TaskGroup(self.note_trouble)
        self._observing = TaskGroup(self.note_trouble)
        self._leaving = TaskGroup(self.note_trouble)
        self._earlier: list[Generation] = []  # with sessions or attempts that still go on
        self._own_mail = OwnMail(
            config.hostname, config.trust.judging.authserv_id, self._reactor, self._wall_clock, self.journal.note,
            config.limits.message_octets, config.limits.recipients,
        )
        # A count may take a while: nobody waits for it at a stop.
        counting = partial(Counting, clock=self._reactor, wall_clock=self._wall_clock, tasks=self._observing)
        self.shards = Shards(config.spool, world.spool, self._register, self._tasks, counting, self._holder_gone)
        self._closers += [self.shards.close, self._own_mail.close]
        self._open_shards()
        self.spool = self.shards.own.spool
        sessions = self._most_sessions()
        self.sessions = Sessions(sessions, config.limits.crowded_seconds)
        if why := too_few_files(sessions, config.outbound_sessions, open_files_now()):
            log.warn("{why}", why=why)
        self._ground = Ground(
            world, config.state, self.journal, self.spool, self._tasks, self._observing, self._own_mail, self.sessions,
            Line(self._reactor), self._counters_of_clients(), Adopted(self), self._plugins, self._name,
            LatestResolver(world.resolver(config.dns)),
        )
        self._ground.peer_tls = self._make_peer_tls(self._ground)
        self._ground.dmarc_reporting = self._make_dmarc_reporting(self._ground)
        self.recordings = self._ground.recordings
        self._closers += [self._ground.close, self._watch.close, self.gauges.close]
        self.generation = generation = self._made(config, None)
        generation.open()
        self._closers.append(self._close_generation)
        self.journal.begin(generation.observers)
        self.shards.deliver(generation.dispatcher)
        self._own_mail.open(generation.intake)
        self._let_in(generation, [generation.factory(listener) for listener in config.listeners])
        self.sending = self._make_sending()
        self._closers.append(self.sending.close)
        self.sending.put_in_force(config)
        self._desk = gateway_desk(self)
        self.reloader.begin()
        self._listen_for_control()
        self._closers.append(self._office.close)
        self._office.open(self.journal, lambda: self._ground.threads(1, "mailgw uploads"))
        self.shards.start()
        self._ground.peer_tls.start(generation.intake)
        self._ground.dmarc_reporting.start(generation.intake)
        generation.start()
        self.sending.start()
        if self.lookout is not None and config.api is not None:  # else nobody is shown plots
            self.lookout.keep_plots(plots_path(config), self._ground.workshop)
        self._timer = self._reactor.callLater(RELOAD_SECONDS, self._look_again)
        self._note_start()

    def _let_in(self, generation: Generation, factories: Sequence[EsmtpFactory]) -> None:
        """Who connects from now on is served by it; what it commits goes to those who deliver now."""
        self._ground.resolver.inner = generation.resolver
        self._watch.hearing.knows(*names_of(generation.config))
        self.dispatcher = generation.intake.dispatcher = self.shards.own.dispatcher
        for gate, factory in zip(self._gates, factories, strict=True):
            gate.lead_to(factory)

    async def _close_generation(self) -> None:
        await self.generation.close()

    # --- what a worker, one of several processes, or a rehearsal has another way ------------------------

    def _open_shards(self) -> None:
        """The own one first."""
        others = self._world.left_over(self.config.spool)
        if others:
            self._permits = PermitDesk(self._reactor)
            log.info("the queues of {count} workers of an earlier start are delivered, too", count=len(others))
        self.shards.open(0)
        for number in others:
            self.shards.open(number)
        self.shards.suspend_as(self.shards.own.spool.suspended())

    def _register(self, holder: str) -> Register | None:
        """Where the limits of destinations are counted for a dispatcher of this name, too."""
        desk = self._permits
        return None if desk is None else partial(desk.holder, holder)

    def _holder_gone(self, holder: str) -> None:
        if self._permits is not None:
            self._permits.gone(holder)

    def _counters_of_clients(self) -> Counters:
        limits = self.config.limits
        return OwnCounters(Limits(limits.counters), Lockout(limits.lockout), self._reactor.seconds)

    def _most_sessions(self) -> int:
        return self.config.limits.sessions

    def _made_watch(self) -> Lookout | Reporter:
        """Who hears what happens here."""
        self.lookout = lookout(self)
        return self.lookout

    def _renew_counters(self, config: Config) -> None:
        self._ground.counters.renew(config.limits.counters, config.limits.lockout)  # type: ignore[attr-defined] # ours

    def _make_peer_tls(self, ground: Ground) -> PeerTls:
        return PeerTls(
            self.config, ground.resolver, ground.workshop, ground.journal, ground.wall_clock, ground.world.chance
        )

    def _make_dmarc_reporting(self, ground: Ground) -> DmarcReporting:
        return DmarcReporting(
            self.config, ground.resolver, ground.workshop, ground.journal, ground.wall_clock, ground.world.chance
        )

    def _made(self, config: Config, before: Generation | None) -> Generation:
        """What this configuration makes, not yet open."""
        return Generation(config, self._ground, before)

    def _make_sending(self, hand_on: Callable[[Sequence[Told]], None] | None = None) -> SendingHere:
        """``hand_on`` as that has it."""
        return SendingHere(self, self._ground, hand_on)

    def _note_start(self) -> None:
        self.journal.note(started(self.config))

    def _note_stop(self) -> None:
        self.journal.note(fact.Stopped(self.config.hostname, round(self._reactor.seconds() - self._began, 3)))

    # --- operators --------------------------------------------------------------------------------------

    def inbox(self) -> Inbox:
        """Where mail is captured."""
        return self._ground.inbox(self.generation.config.inbox)

    def _listen_for_control(self) -> None:
        port = self._world.listen_for_control(self._control, ControlFactory(self, self._reactor))
        self._closers.append(lambda: maybeDeferred(port.stopListening))

    async def answer(self, request: Mapping[str, Any]) -> object:
        """As ``ports.Answering`` has it: for all shards that are open here."""
        if (asked := self._desk.get(str(request.get("command")))) is not None:
            return await asked(request)
        made = self.generation
        backends, routed = backend_lanes(made.config, made.backends), made.routes.backends_of
        doors = [
            ControlDoors(one.spool, one.dispatcher, one.counting, self.journal, made.lane_in, backends, routed)
            for one in self.shards.all if one.made
        ]
        answering: Answering = doors[0] if len(doors) == 1 else AllDoors(ask_here(doors), backends, routed)
        return await answering.answer(request)

    # --- another configuration ------------------------------------------------------------------

    def prepare(self, config: Config) -> Prepared:
        """Make all that this configuration comes to, beside what is in force.  Whatever keeps it from that is raised,
        as ``startService`` does, and all is as before.  ``put_in_force`` or ``give_up`` has to follow."""
        prepared = Prepared(self._made(config, self.generation))
        known = {one.endpoint: at for at, one in enumerate(self.config.listeners)}
        try:
            for listener in config.listeners:
                at = known.get(listener.endpoint)
                if at is not None:
                    prepared.ports.append((self._ports[at], self._gates[at]))
                    continue
                gate = Gate(listener.role)
                port = self._world.listen(listener.endpoint, gate, self.socket_owner)
                prepared.ports.append((port, gate))
                prepared.fresh.append(port)
            prepared.generation.open()
            prepared.factories += map(prepared.generation.factory, config.listeners)
        except BaseException:
            self.give_up(prepared)
            raise
        return prepared

    def give_up(self, prepared: Prepared) -> None:
        """It is not put in force."""
        self._leaving.spawn("closing what is not put in force", prepared.close())

    def put_in_force(self, prepared: Prepared) -> None:
        """From now on it serves who connects, and delivers what waits.  Sessions and attempts go on as they began."""
        before, generation = self.generation, prepared.generation
        config = generation.config
        had, self.config, self.generation = before.config, config, generation
        kept = [port for port, _ in prepared.ports]
        gone = [port for port in self._ports if port not in kept]
        self._ports = kept
        self._gates = [gate for _, gate in prepared.ports]
        self.journal.begin(generation.observers)
        self.sessions.renew(self._most_sessions(), config.limits.crowded_seconds)
        self._renew_counters(config)
        self.shards.renew(config.spool)
        replaced = self.shards.replace(
            generation.dispatcher, lambda name: had.backends.get(name) == config.backends.get(name)
        )
        limits = config.limits
        self._own_mail.renew(
            config.hostname, config.trust.judging.authserv_id, limits.message_octets, limits.recipients
        )
        self._own_mail.open(generation.intake)
        self._let_in(generation, prepared.factories)
        for one in (before, *self._earlier):  # what their sessions still commit
            one.intake.dispatcher = self.dispatcher
        self._earlier.append(before)
        self._office.renew(config)
        self.sending.renew(config)
        if config.journal != had.journal:
            self._leaving.spawn("closing a journal", self.journal.replace(self._world.journal(config.journal)))
        for port in gone:
            self._leaving.spawn("closing a port", closed(port))
        self._leaving.spawn("beginning with a configuration", self._begin(before, generation))
        self._leaving.spawn("leaving a configuration", self._leave(before, replaced))

    async def _begin(self, before: Generation, generation: Generation) -> None:
        await before.rest()
        if self.generation is generation:
            generation.start()
            await self._ground.peer_tls.renew(generation.config, generation.intake)
            await self._ground.dmarc_reporting.renew(generation.config, generation.intake)

    async def _leave(self, before: Generation, replaced: Sequence[tuple[Shard, Dispatcher]]) -> None:
        """Close a generation when nobody needs it any more."""
        retired = Deferred.fromCoroutine(self.shards.retire(replaced))
        await before.sessions.gone(self._reactor, EARLIER_SECONDS, before.config.limits.stop_seconds)
        await retired
        for observer in before.observers:
            await observer.heard_all()
        await before.close()
        self._earlier.remove(before)

    # --- running --------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read the configuration's file again, as ``mailgw reload`` does; what comes of it stands in the log."""
        self._tasks.spawn("reload", self.reloader.reload())

    async def reload_config(self, config: Config) -> Sequence[str]:
        """Put another configuration in force, for an application that has the gateway in it: what changed, in words.
        ``reloading.Refused`` where it cannot be, and then nothing has changed."""
        return await self.reloader.apply(config)

    # ``reloading.Reloadable``

    @property
    def is_well(self) -> bool:
        return True  # it was asked in the reactor, which turns

    def in_thread(self, work: Callable[..., T], *arguments: object) -> "Deferred[T]":
        return self._ground.workshop.do(work, *arguments)

    def refresh(self) -> None:
        self.generation.look(is_urgent=True)
        self._office.reload()
        self.journal.reopen()

    async def change(self, config: Config) -> None:
        if not self.running:
            raise TemporaryFault("the gateway stops")
        self.put_in_force(self.prepare(config))

    def reloaded(self) -> None:
        self.sending.turn_on()

    def _look_again(self) -> None:
        self._timer = self._reactor.callLater(RELOAD_SECONDS, self._look_again)
        self.generation.look()

    def note_trouble(self, what: str, failure: Failure) -> None:
        log.failure("{what} failed", failure=failure, what=what)
        self.journal.note(fact.Trouble(what, type(failure.value).__name__, "", ""))

    # --- stopping -------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        limit = self.config.limits.stop_seconds
        self.sending.stop()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        await self._unbind()
        log.info(
            "stopping: {sessions} sessions, and the attempts under way, may end within {limit:.0f} s",
            sessions=len(self.sessions),
            limit=limit,
        )
        # Sessions first in line: what they still commit waits in the spool, since the dispatcher takes no more.
        sessions = Deferred.fromCoroutine(self.sessions.end(self._reactor, limit))
        await self.shards.stop(limit)
        await sessions
        await self._tasks.settled()
        await maybeDeferred(super().stopService)
        self._note_stop()
        self._observing.cancel()
        await self._leaving.settled()
        if self._permits is not None:
            self._permits.stop()
        await self._close()

    async def _unbind(self) -> None:
        await self._office.unbind()
        ports, self._ports, self._gates = self._ports, [], []
        for port in ports:
            await maybeDeferred(port.stopListening)

    async def _close(self) -> None:
        """Close what ``_open`` opened, the last first."""
        while self._closers:
            await self._closers.pop()()


async def closed(port: IListeningPort) -> None:
    await maybeDeferred(port.stopListening)


def started(config: Config) -> fact.Started:
    return fact.Started(config.hostname, __version__, tuple(x.endpoint for x in config.listeners))


class Gate(ServerFactory):
    """Stands at a bound port until the gateway behind it is open, and when its configuration becomes another one.  The
    reactor accepts nothing before."""

    noisy = False
    inner: EsmtpFactory | None = None

    def __init__(self, role: Role) -> None:
        self._role = role

    def lead_to(self, inner: EsmtpFactory) -> None:
        self.inner = inner
        self._role = inner.settings.role

    def logPrefix(self) -> str:
        return f"mailgw {self._role.value}"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return None if self.inner is None else self.inner.buildProtocol(addr)
