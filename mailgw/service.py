"""The composition root: builds every room from a ``Config`` and ties them into one Twisted service.

Rules:
    Before privileges are dropped (``privilegedStartService``) sockets are bound and nothing else is opened.
    State, keys and plug-ins are opened in ``startService``, as the user that mailgw runs as.
    A stop takes no new connection, lets messages and attempts under way end within ``limits.stop_seconds``,
    and leaves the rest in the queue.
"""

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailgw import __version__
from mailgw.access.portal import LOGIN_LIMITS
from mailgw.access.schemes import fault_of
from mailgw.accounts import LoginSources, login_sources
from mailgw.all_doors import AllDoors, ask_here
from mailgw.backend_lanes import backend_lanes
from mailgw.backends import Backends
from mailgw.config.plugin import NOTHING_GIVEN, given_names, make_observer, make_rule
from mailgw.config.settings import Config, ListenSettings, PythonSettings
from mailgw.control import ControlDoors, ControlFactory
from mailgw.deliver.dispatcher import Dispatcher, DispatcherSettings, lane_key
from mailgw.deliver.fan_out import fanned_out
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.passes import Register
from mailgw.deliver.permits import PermitDesk
from mailgw.deliver.smtp import SmtpBackend
from mailgw.desks import gateway_desk
from mailgw.directories import make_directories
from mailgw.dmarc_reporting import DmarcReporting
from mailgw.intake import Intake, Senders
from mailgw.interfaces import IDeliveryBackend, IEventObserver, IUsesGateway
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.mail.ports import Answering, Counters, Desk, Resolver, Spool, WallClock
from mailgw.mail.srs import Srs
from mailgw.net.files import open_files_now, too_few_files
from mailgw.net.server_tls import ServerTls
from mailgw.net.tasks import TaskGroup
from mailgw.own_mail import OwnMail
from mailgw.peer_tls import PeerTls
from mailgw.policy.chain import Chain, Rule
from mailgw.policy.limits import Limits
from mailgw.policy.lockout import Lockout
from mailgw.queue.route import RouteTable
from mailgw.receive.admission import OwnCounters
from mailgw.receive.authenticity import Authenticity
from mailgw.receive.factory import EsmtpFactory, Sessions
from mailgw.receive.line import Line
from mailgw.receive.plugged import PluginRule
from mailgw.receive.reverse import ReverseNames
from mailgw.receive.settings import ReceiveSettings
from mailgw.rules import Rules, plugin_rules
from mailgw.shards import Shards
from mailgw.signatures import SigningKeys, make_signing, started_rotation
from mailgw.store.aliases import AliasFile, rules_of
from mailgw.store.maildir import Maildirs, UniqueNames
from mailgw.store.mbox import Mboxes
from mailgw.store.observers import Observed, Observer
from mailgw.store.passwd import PasswdFile, account_key
from mailgw.store.reports import FILE as REPORTS_FILE
from mailgw.store.reports import ReportBook
from mailgw.store.state_file import Workshop
from mailgw.world import World

log = Logger()

# How often certificates and keys are looked at for a change, and aliases where no mail comes.
RELOAD_SECONDS = 60.0
MAILDIR_THREADS = 4
STATE_THREADS = 1


class WithPostmaster:
    """The accounts of a passwd-file, and the postmaster, who exists whether he has a line there or not.

    RFC 5321 s4.5.1: mail for him is taken; without an account it waits for him in a Maildir of his own.
    """

    def __init__(self, accounts: PasswdFile, postmaster: Mailbox) -> None:
        self._accounts = accounts
        self._postmaster = account_key(postmaster)

    def has(self, recipient: Mailbox) -> bool:
        return self._accounts.has(recipient) or account_key(recipient) == self._postmaster


class MailGateway(MultiService):
    """One mail gateway as a service: put it under any application, or let ``twistd mailgw`` make it.

    ``startService`` raises ``ConfigError`` or ``TemporaryFault`` with one line for people where the gateway
    cannot start (a port is taken, the state is locked, a key is unreadable); nothing is left bound or open
    then.  ``reload`` is for a signal: certificates are read again, the journal is reopened.
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
        self._world = world
        self._reactor = world.reactor
        self._wall_clock = world.wall_clock
        self._ports: list[IListeningPort] = []
        self._gates: list[Gate] = []
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._timer: IDelayedCall | None = None
        self._began = 0.0
        self._permits: PermitDesk | None = None
        self._desk: Desk = {}
        self._name = ""  # among several processes
        self._plugins = plugins
        self._control = config.control
        self._postmaster = config.postmaster or Mailbox("postmaster", config.hostname)

    # --- starting ---------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        super().privilegedStartService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._bind()

    def startService(self) -> None:
        if self.config.workers > 1 and not self.is_worker:
            why = "several processes are for twistd mailgw alone: inside another application, 1"
            raise ConfigError(self.config.file, 0, "workers", why)
        super().startService()  # type: ignore[no-untyped-call] # Twisted has no types there
        self._began = self._reactor.seconds()
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
        config, reactor, world = self.config, self._reactor, self._world
        tls = {name: self._tls(name) for name in {x.certificate for x in config.listeners} if name is not None}
        self.journal = Observed(world.journal(config.journal))
        self._closers.append(self.journal.close)
        for name in sorted(self._plugins.keys() - given_names(config)):
            log.warn('{name} is given to the gateway, and nothing of type = "given" has that name', name=name)
        self._tasks = TaskGroup(self._note_trouble)
        self._observing = TaskGroup(self._note_trouble)
        self._own_mail = OwnMail(
            config.hostname, config.trust.judging.authserv_id, reactor, self._wall_clock, self.journal.note,
            config.limits.message_octets, config.limits.recipients,
        )
        self.journal.begin(self._make_observers())
        self.shards = Shards(config.spool, world.spool, self._register, self._tasks)
        self._closers += [self.shards.close, self._own_mail.close]
        self._open_shards()
        self.spool = self.shards.own.spool
        accounts = self._accounts()
        resolver = world.resolver(config.dns)
        workshop = Workshop(world.disk, reactor, self._threads(STATE_THREADS, "mailgw state"))
        self._peer_tls = self._make_peer_tls(resolver, workshop)
        self._dmarc_reporting = self._make_dmarc_reporting(resolver, workshop)
        self._closers += [self._peer_tls.close, self._dmarc_reporting.close]
        routes = RouteTable(config.routes)
        srs = None if config.srs is None else Srs(config.srs)
        forwarding = None if srs is None else Forwarding(srs, self._wall_clock)
        self._signing_keys = SigningKeys(config.dkim, workshop, self._tasks)
        self._backends = self._make_backends(accounts, resolver, forwarding)
        self._aliases = self._alias_file(routes, workshop)
        self._directories = make_directories(
            config.directories, reactor, self._wall_clock, self.journal, self._adopt, self._closers, self._plugins
        )
        intake = self._intake(fanned_out(self.spool, self._backends), routes, srs)
        self._rules = Rules(config, intake, self._backends, accounts, self._make_rules(intake))
        self._make_dispatcher = partial(self._dispatcher, intake, routes)
        self.shards.deliver(self._make_dispatcher)
        self.dispatcher = intake.dispatcher = self.shards.own.dispatcher
        self._own_mail.open(intake)
        sessions = self._most_sessions()
        self.sessions = Sessions(sessions, config.limits.crowded_seconds)
        if why := too_few_files(sessions, config.outbound_sessions, open_files_now()):
            log.warn("{why}", why=why)
        self._reverse_names = ReverseNames(resolver, reactor, config.limits.reverse_name_seconds)
        self._authenticity = self._make_authenticity(resolver)
        self._line = Line(reactor)
        self._counters = self._counters_of_clients()
        # Who guesses passwords keeps as many processors busy as there are hashes at once: mail goes first.
        threads = self._threads(LOGIN_LIMITS.at_once, "mailgw logins", in_background=True)
        sources = self._login_sources(accounts, threads)
        self._closers.append(sources.close)
        for gate, listener in zip(self._gates, config.listeners, strict=True):
            gate.inner = self._factory(listener, tls, intake, sources)
        self._desk = gateway_desk(self)
        self._listen_for_control()
        self.shards.start()
        self._peer_tls.start(intake)
        self._dmarc_reporting.start(intake)
        self._look_after_keys(resolver, workshop)
        senders = (backend for backend in self._backends.values() if isinstance(backend, SmtpBackend))
        self._in_force: tuple[ServerTls | SmtpBackend | SigningKeys, ...] = (
            *tls.values(), *senders, self._signing_keys,
        )
        self._timer = reactor.callLater(RELOAD_SECONDS, self._look_again)
        self._note_start()

    # --- what a worker, one of several processes, has another way -----------------------------------

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

    def _register(self, number: int) -> Register | None:
        """Where the limits of destinations are counted for this shard, too."""
        desk = self._permits
        return None if desk is None else partial(desk.holder, f"shard {number}")

    def _counters_of_clients(self) -> Counters:
        limits = self.config.limits
        return OwnCounters(Limits(limits.counters), Lockout(limits.lockout), self._reactor.seconds)

    def _most_sessions(self) -> int:
        return self.config.limits.sessions

    def _make_peer_tls(self, resolver: Resolver, workshop: Workshop) -> PeerTls:
        return PeerTls(self.config, resolver, workshop, self.journal, self._wall_clock, self._world.chance)

    def _make_dmarc_reporting(self, resolver: Resolver, workshop: Workshop) -> DmarcReporting:
        return DmarcReporting(self.config, resolver, workshop, self.journal, self._wall_clock, self._world.chance)

    def _look_after_keys(self, resolver: Resolver, workshop: Workshop) -> None:
        self._closers.append(started_rotation(
            self.config, self._signing_keys, resolver, workshop, self._own_mail, self.journal, self._wall_clock,
            self._world.chance,
        ).close)

    # --- what a rehearsal has another way, too --------------------------------------------------------

    def _intake(self, spool: Spool, routes: RouteTable, srs: Srs | None) -> Intake:
        return Intake(
            spool, routes, self._backends, self._aliases, self.config.aliases.limits, self.journal,
            self._directories, None if srs is None else Senders(srs, self._wall_clock),
        )

    def _chain(self, rules: Sequence[Rule]) -> Chain:
        return Chain(rules)

    def _login_sources(self, accounts: PasswdFile | None, threads: ThreadPool) -> LoginSources:
        return login_sources(
            self.config, accounts, self._reactor, threads, self._wall_clock, self.journal.note, self._plugins,
            self._world.disk,
        )

    def _note_start(self) -> None:
        self.journal.note(started(self.config))

    def _note_stop(self) -> None:
        self.journal.note(fact.Stopped(self.config.hostname, round(self._reactor.seconds() - self._began, 3)))

    # --- what it is made of ---------------------------------------------------------------------------

    def _dispatcher(
        self, intake: Intake, routes: RouteTable, spool: Spool, register: Register | None
    ) -> Dispatcher:
        config = self.config
        settings = DispatcherSettings(
            hostname=config.hostname,
            retry=config.retry,
            attempt_seconds=config.limits.attempt_seconds,
            postmaster=config.postmaster if config.postmaster_is_set else None,
            desk=config.reports,
            classes=config.reply_classes,
        )
        return Dispatcher(
            settings,
            fanned_out(spool, self._backends),
            self._backends,
            lambda recipient: intake.lane(recipient, for_client=True),
            self.journal,
            self._reactor,
            self._wall_clock,
            self._world.chance,
            routes.retries(config.retry),
            intake.spread,
            register,
        )

    def _tls(self, name: str) -> ServerTls:
        certificates = dict(self.config.tls.certificates)
        try:
            return ServerTls(certificates.pop(name), certificates)
        except ValueError as fault:
            raise TemporaryFault(str(fault)) from fault

    def _accounts(self) -> PasswdFile | None:
        path = self.config.passwd_file
        return None if path is None else PasswdFile(path, fault_of, self._reactor, self._wall_clock)

    def _alias_file(self, routes: RouteTable, workshop: Workshop) -> AliasFile | None:
        aliases = self.config.aliases
        rules = rules_of(aliases.limits, routes, aliases.tags)
        return None if aliases.file is None else AliasFile(aliases.file, rules, self._wall_clock, workshop)

    def _threads(self, most: int, name: str, in_background: bool = False) -> ThreadPool:
        pool, stop = self._world.threads(most, name, in_background)
        self._closers.append(stop)
        threads: ThreadPool = pool
        return threads

    def _make_backends(
        self, accounts: PasswdFile | None, resolver: Resolver, forwarding: Forwarding | None
    ) -> Mapping[str, IDeliveryBackend]:
        config = self.config
        known = None if accounts is None else WithPostmaster(accounts, self._postmaster)
        threads = self._threads(MAILDIR_THREADS, "mailgw maildirs")
        signing = make_signing(
            config, self._signing_keys, self._reactor, self._threads, self._wall_clock, self.journal.note
        )
        names = UniqueNames(config.hostname, os.getpid(), os.urandom(4).hex(), self._wall_clock)
        made = Backends(
            self._reactor, self._wall_clock, resolver, self._peer_tls, Maildirs(self._world.disk, names),
            Mboxes(self._world.disk, os.uname().nodename, os.getpid(), self._wall_clock), known,
            threads, config.hostname, self.journal.note, forwarding, signing, self._world.shuffle, self._reports,
        ).all(config.backends, self._plugins)
        for backend in made.values():
            self._adopt(backend)
        return made

    def _reports(self) -> tuple[ReportBook, ThreadPool, str]:
        """Where reports are kept that come in, and the thread that reads and keeps them: mail goes first."""
        book = self._world.reports(os.path.join(self.config.state, REPORTS_FILE))

        async def close() -> None:
            book.close()

        self._closers.append(close)  # once the thread is stopped
        thread = self._threads(1, "mailgw reports", in_background=True)
        return book, thread, self.config.trust.judging.authserv_id

    def _make_rules(self, intake: Intake) -> Sequence[PluginRule]:
        def adopted(settings: PythonSettings) -> object:
            rule = make_rule(settings, self._plugins)
            self._adopt(rule)
            return rule

        return plugin_rules(self.config, intake, self._reactor, self.journal.note, adopted)

    def _make_authenticity(self, resolver: Resolver, kind: Callable[..., Authenticity] = Authenticity) -> Authenticity:
        settings = self.config.trust.judging
        ours = frozenset({self.config.hostname, settings.authserv_id})
        return kind(
            settings, ours, resolver, self._reactor, self._wall_clock, self._world.chance, self.config.trust.actions,
            self._dmarc_reporting.count,
        )

    def _make_observers(self) -> Sequence[Observer]:
        observers = []
        for one in self.config.observers:
            made = cast(IEventObserver, make_observer(one.plugin, self._plugins))
            self._adopt(made)
            observers.append(Observer(one.name, made, self.journal.alone, self._reactor, self._observing))
        return observers

    def _adopt(self, plugin: object) -> None:
        """A plug-in that is a service starts and stops with us; one that wants to send is told how."""
        if IUsesGateway.providedBy(plugin):
            plugin.use(self._own_mail)
        if IService.providedBy(plugin) and getattr(plugin, "parent", None) is not self:
            plugin.setServiceParent(self)  # type: ignore[no-untyped-call] # Twisted's

    def _factory(
        self, listener: ListenSettings, tls: Mapping[str, ServerTls], intake: Intake, sources: LoginSources
    ) -> EsmtpFactory:
        config = self.config
        settings = ReceiveSettings(
            role=listener.role,
            hostname=config.hostname,
            relay_from=listener.relay_from,
            tls=None if listener.certificate is None else tls[listener.certificate],
            message_octets=config.limits.message_octets,
            chunk_octets=config.limits.chunk_octets,
            content=config.limits.content,
            recipients=config.limits.recipients,
            alias_recipients=config.aliases.limits.recipients,
            hold_seconds=config.limits.hold_seconds,
            messages_per_session=config.limits.messages_per_session,
            command_line_octets=config.limits.command_line_octets,
            errors=config.limits.errors,
            quick_errors=config.limits.quick_errors,
            idle_commands=config.limits.idle_commands,
            postmaster=self._postmaster,
            time_limits=config.limits.time_limits,
            trusted_clients=config.trusted_clients,
            proxy_protocol_from=listener.proxy_protocol_from,
            xclient_from=listener.xclient_from,
        )

        return EsmtpFactory(
            settings,
            self._chain(self._rules.of(listener.role)),
            intake,
            self.journal,
            self.sessions,
            self._line,
            self._counters,
            self._reverse_names,
            self._authenticity,
            self._tasks,
            self._reactor,
            self._wall_clock,
            f"{int(self._wall_clock()):x}{self._name}-",
            sources.portal,
            sources.logins,
        )

    def _listen_for_control(self) -> None:
        port = self._world.listen_for_control(self._control, ControlFactory(self, self._reactor))
        self._closers.append(lambda: maybeDeferred(port.stopListening))

    async def answer(self, request: Mapping[str, Any]) -> object:
        """As ``ports.Answering`` has it: for all shards that are open here."""
        if (asked := self._desk.get(str(request.get("command")))) is not None:
            return await asked(request)
        backends, routed = backend_lanes(self.config, self._backends), RouteTable(self.config.routes).backends_of
        doors = [
            ControlDoors(one.spool, one.dispatcher, self.journal, self._lane_in, backends, routed)
            for one in self.shards.all if one.made
        ]
        answering: Answering = doors[0] if len(doors) == 1 else AllDoors(ask_here(doors), backends, routed)
        return await answering.answer(request)

    def _lane_in(self, backend: str, recipient: Mailbox) -> str | None:
        """Where a recipient waits if this backend is to serve it."""
        try:
            return lane_key(backend, self._backends[backend].lane(recipient))
        except Exception:  # noqa: BLE001 - a plug-in's bug: those that it cannot place stay where they are
            log.failure("{backend} has no lane for {recipient}", backend=backend, recipient=str(recipient))
            return None

    # --- running --------------------------------------------------------------------------------

    def reload(self) -> None:
        """Read changed certificates, keys and aliases, and reopen the journal."""
        for one in self._in_force:
            one.reload()
        if self._aliases is not None:
            self._aliases.look(is_urgent=True)
        for directory in self._directories.values():
            directory.doubt()
        self.journal.reopen()
        log.info(
            "read again: certificates, keys and aliases that changed; the journal {path} is opened anew; the "
            "configuration is read at a start alone",
            path=self.config.journal.path,
        )

    def _look_again(self) -> None:
        self._timer = self._reactor.callLater(RELOAD_SECONDS, self._look_again)
        for one in self._in_force:
            one.reload()
        if self._aliases is not None:
            self._aliases.look()

    def _note_trouble(self, what: str, failure: Failure) -> None:
        log.failure("{what} failed", failure=failure, what=what)
        self.journal.note(fact.Trouble(what, type(failure.value).__name__, "", ""))

    # --- stopping -------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        limit = self.config.limits.stop_seconds
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
        if self._permits is not None:
            self._permits.stop()
        await self._close()

    async def _unbind(self) -> None:
        ports, self._ports, self._gates = self._ports, [], []
        for port in ports:
            await maybeDeferred(port.stopListening)

    async def _close(self) -> None:
        """Close what ``_open`` opened, the last first."""
        while self._closers:
            await self._closers.pop()()


def started(config: Config) -> fact.Started:
    return fact.Started(config.hostname, __version__, tuple(x.endpoint for x in config.listeners))


class Gate(ServerFactory):
    """Stands at a bound port until the gateway behind it is open.  The reactor accepts nothing before."""

    noisy = False
    inner: EsmtpFactory | None = None

    def __init__(self, role: Role) -> None:
        self._role = role

    def logPrefix(self) -> str:
        return f"mailgw {self._role.value}"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return None if self.inner is None else self.inner.buildProtocol(addr)
