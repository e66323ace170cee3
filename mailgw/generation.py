"""What one configuration makes of a gateway: all that is composed of its keys, and is gone with them.

Rules:
    ``open`` succeeds, or leaves nothing.
    It begins nothing by itself before ``start``: until then it may be put away, and nobody was served by it.
    What outlives a configuration stands in ``ground``.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from mailgw.access.portal import LOGIN_LIMITS
from mailgw.access.schemes import fault_of
from mailgw.accounts import LoginSources, login_sources
from mailgw.backends import Backends
from mailgw.config.plugin import given_names, make_observer, make_rule
from mailgw.config.settings import Config, ListenSettings, PythonSettings
from mailgw.deliver.bounce import Notices
from mailgw.deliver.dispatcher import Dispatcher, DispatcherSettings, lane_key
from mailgw.deliver.fan_out import fanned_out
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.key_rotation import KeyRotation
from mailgw.deliver.passes import Register
from mailgw.deliver.smtp import SmtpBackend
from mailgw.deliver.supervised import SupervisedBackend
from mailgw.directories import make_directories
from mailgw.ground import Closer, Ground
from mailgw.intake import Intake, Senders
from mailgw.interfaces import IDeliveryBackend, IEventObserver, IUsesGateway
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Spool
from mailgw.mail.srs import Srs
from mailgw.net.server_tls import ServerTls
from mailgw.policy.chain import Chain, Rule
from mailgw.queue.route import RouteTable
from mailgw.receive.authenticity import Authenticity
from mailgw.receive.factory import EsmtpFactory, Party
from mailgw.receive.plugged import PluginRule
from mailgw.receive.reverse import ReverseNames
from mailgw.receive.settings import ReceiveSettings
from mailgw.rules import Rules, plugin_rules
from mailgw.sending_here import posting_patterns
from mailgw.signatures import SigningKeys, make_signing, started_rotation
from mailgw.store.aliases import AliasFile, rules_of
from mailgw.store.maildir import Maildirs, UniqueNames
from mailgw.store.mbox import Mboxes
from mailgw.store.observers import Observer
from mailgw.store.passwd import PasswdFile, account_key
from mailgw.store.reports import ReportBook

log = Logger()


class WithPostmaster:
    """The accounts of a passwd-file, and the postmaster, who exists whether he has a line there or not.

    RFC 5321 s4.5.1: mail for him is taken; without an account it waits for him in a Maildir of his own.
    """

    def __init__(self, accounts: PasswdFile, postmaster: Mailbox) -> None:
        self._accounts = accounts
        self._postmaster = account_key(postmaster)

    def has(self, recipient: Mailbox) -> bool:
        return self._accounts.has(recipient) or account_key(recipient) == self._postmaster


class Generation:
    """One configuration, made.  ``open``, then ``start``; ``rest`` once another one is in force, and at the end
    ``close``.  ``before`` is the one in force, some of which may do for this one, too; None at the start."""

    def __init__(self, config: Config, ground: Ground, before: "Generation | None" = None) -> None:
        self.config = config
        self.ground = ground
        self.sessions = Party(ground.sessions)
        self._before = before
        self._rotation: KeyRotation | None = None
        self._closers: list[Closer] = []
        self._postmaster = config.postmaster or Mailbox("postmaster", config.hostname)

    # --- its life ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make all of it.  ConfigError or TemporaryFault with one line for people where something cannot be used;
        whatever a plug-in raises passes; nothing is open then."""
        try:
            self._open()
        except BaseException:
            closing = Deferred.fromCoroutine(self.close())
            closing.addErrback(  # type: ignore[unused-awaitable] # nobody is left to wait
                lambda failure: log.failure("closing what could not be opened", failure=failure)
            )
            raise

    def _open(self) -> None:
        config, ground = self.config, self.ground
        names = {one.certificate for one in config.listeners}
        self._tls = {name: self._server_tls(name) for name in names if name is not None}
        for name in sorted(ground.plugins.keys() - given_names(config)):
            log.warn('{name} is given to the gateway, and nothing of type = "given" has that name', name=name)
        self._closers.append(lambda: ground.services.leave(self))
        self.observers = self._make_observers()
        accounts = self._accounts()
        before, self._before = self._before, None
        if before is None or before.config.dns == config.dns:
            self.resolver = ground.resolver.inner  # with what it remembers
        else:
            self.resolver = ground.world.resolver(config.dns)
        self.routes = RouteTable(config.routes)
        srs = None if config.srs is None else Srs(config.srs)
        forwarding = None if srs is None else Forwarding(srs, ground.wall_clock)
        self.signing_keys = SigningKeys(config.dkim, ground.workshop, ground.tasks)
        self.backends = self._make_backends(accounts, forwarding)
        self.aliases = self._alias_file()
        self.directories = make_directories(
            config.directories, ground.reactor, ground.wall_clock, ground.journal, self._adopt, self._closers,
            ground.plugins,
        )
        self.intake = self._intake(fanned_out(ground.spool, self.backends), srs)
        self._rules = Rules(
            config, self.intake, self.backends, accounts, self._make_rules(), ground.wait, ground.counters.first_time)
        self.reverse_names = ReverseNames(self.resolver, ground.reactor, config.limits.reverse_name_seconds)
        self.authenticity = self._make_authenticity()
        # Who guesses passwords keeps as many processors busy as there are hashes at once: mail goes first.
        threads = ground.threads(LOGIN_LIMITS.at_once, "mailgw logins", in_background=True)
        self._sources = self._login_sources(accounts, threads)
        self._closers.append(self._sources.close)

    def start(self) -> None:
        """Begin what is done without anybody's asking."""
        if self.config.staging is not None and self.config.staging.is_closed:
            log.warn("{why}", why=self.config.staging.words)
        self.ground.bound_inbox(self.config.inbox)
        self._rotation = self._started_rotation()

    async def rest(self) -> None:
        """Another one does that from now on; who is here may go on."""
        if self._rotation is not None:
            await self._rotation.close()

    def look(self, is_urgent: bool = False) -> None:
        """Read certificates, keys and aliases that have changed; where somebody asks for it, what directories said is
        asked anew, too."""
        for one in self._tls.values():
            one.reload()
        for backend in self.backends.values():
            if isinstance(backend, SmtpBackend):
                backend.reload()
        self.signing_keys.reload()
        if self.aliases is not None:
            self.aliases.look(is_urgent)
        for directory in self.directories.values() if is_urgent else ():
            directory.doubt()

    async def close(self) -> None:
        """Close what was opened, the last first."""
        await self.rest()
        while self._closers:
            await self._closers.pop()()

    # --- what it serves with ------------------------------------------------------------------------------

    def factory(self, listener: ListenSettings, rules: Sequence[Rule] | None = None) -> EsmtpFactory:
        """Of one of the configuration's listeners; ``rules`` None: those of its role."""
        config, ground = self.config, self.ground
        settings = ReceiveSettings(
            role=listener.role,
            hostname=config.hostname,
            relay_from=listener.relay_from,
            tls=None if listener.certificate is None else self._tls[listener.certificate],
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
            self._chain(self._rules.of(listener.role) if rules is None else rules),
            self.intake,
            ground.journal,
            self.sessions,
            ground.line,
            ground.counters,
            self.reverse_names,
            self.authenticity,
            ground.tasks,
            ground.reactor,
            ground.wall_clock,
            f"{int(ground.wall_clock()):x}{ground.name}-",
            self._sources.portal,
            self._sources.logins,
            ground.recordings,
        )

    def notices(self) -> Notices:
        """What senders are told of mail that never was in the queue."""
        def lane(recipient: Mailbox) -> str | None:
            return self.intake.lane(recipient, for_client=True)

        return Notices(self.config.reports, lane, None, self.intake.spread)

    def posting(self) -> EsmtpFactory:
        """For what comes without a session: the HTTP API's, and that of ``mailgw sendmail``."""
        rules = self._rules.of_posted(posting_patterns(self.config))
        return self.factory(ListenSettings(Role.SUBMISSION, "", (), None), rules)

    def dispatcher(self, spool: Spool, register: Register | None) -> Dispatcher:
        """``shards.MakeDispatcher``."""
        config, ground = self.config, self.ground
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
            fanned_out(spool, self.backends),
            self.backends,
            lambda recipient: self.intake.lane(recipient, for_client=True),
            ground.journal,
            ground.reactor,
            ground.wall_clock,
            ground.world.chance,
            self.routes.retries(config.retry),
            self.intake.spread,
            register,
        )

    def lane_in(self, backend: str, recipient: Mailbox) -> str | None:
        """Where a recipient waits if this backend is to serve it; None where a plug-in cannot place it."""
        try:
            return lane_key(backend, self.backends[backend].lane(recipient))
        except Exception:  # noqa: BLE001 - a plug-in's bug: those that it cannot place stay where they are
            log.failure("{backend} has no lane for {recipient}", backend=backend, recipient=str(recipient))
            return None

    # --- what a worker, or a rehearsal, has another way ----------------------------------------------------

    def _started_rotation(self) -> KeyRotation | None:
        ground = self.ground
        return started_rotation(
            self.config, self.signing_keys, self.resolver, ground.workshop, ground.own_mail, ground.journal,
            ground.wall_clock, ground.world.chance,
        )

    def _intake(self, spool: Spool, srs: Srs | None) -> Intake:
        return Intake(
            spool, self.routes, self.backends, self.aliases, self.config.aliases.limits, self.ground.journal,
            self.directories, None if srs is None else Senders(srs, self.ground.wall_clock),
        )

    def _chain(self, rules: Sequence[Rule]) -> Chain:
        return Chain(rules)

    def _login_sources(self, accounts: PasswdFile | None, threads: ThreadPool) -> LoginSources:
        ground = self.ground
        return login_sources(
            self.config, accounts, ground.reactor, threads, ground.wall_clock, ground.journal.note, ground.plugins,
            ground.world.disk,
        )

    def _make_authenticity(self, kind: Callable[..., Authenticity] = Authenticity) -> Authenticity:
        settings, ground = self.config.trust.judging, self.ground
        ours = frozenset({self.config.hostname, settings.authserv_id})
        return kind(
            settings, ours, self.resolver, ground.reactor, ground.wall_clock, ground.world.chance,
            self.config.trust.actions, ground.dmarc_reporting.count,
        )

    def _make_observers(self) -> Sequence[Observer]:
        ground = self.ground
        observers = []
        for one in self.config.observers:
            made = cast(IEventObserver, make_observer(one.plugin, ground.plugins))
            self._adopt(made)
            observers.append(Observer(one.name, made, ground.journal.alone, ground.reactor, ground.observing))
        return observers

    # --- what it is made of ---------------------------------------------------------------------------------

    def _server_tls(self, name: str) -> ServerTls:
        certificates = dict(self.config.tls.certificates)
        try:
            return ServerTls(certificates.pop(name), certificates)
        except ValueError as fault:
            raise TemporaryFault(str(fault)) from fault

    def _accounts(self) -> PasswdFile | None:
        path = self.config.passwd_file
        return None if path is None else PasswdFile(path, fault_of, self.ground.reactor, self.ground.wall_clock)

    def _alias_file(self) -> AliasFile | None:
        aliases, ground = self.config.aliases, self.ground
        if aliases.file is None:
            return None
        rules = rules_of(aliases.limits, self.routes, aliases.tags)
        return AliasFile(aliases.file, rules, ground.wall_clock, ground.workshop)

    def _make_backends(
        self, accounts: PasswdFile | None, forwarding: Forwarding | None
    ) -> Mapping[str, IDeliveryBackend]:
        config, ground = self.config, self.ground
        known = None if accounts is None else WithPostmaster(accounts, self._postmaster)
        signing = make_signing(
            config, self.signing_keys, ground.reactor, ground.threads, ground.wall_clock, ground.journal.note
        )
        names = UniqueNames(config.hostname, os.getpid(), os.urandom(4).hex(), ground.wall_clock)
        made = Backends(
            ground.reactor, ground.wall_clock, self.resolver, ground.peer_tls, Maildirs(ground.world.disk, names),
            Mboxes(ground.world.disk, os.uname().nodename, os.getpid(), ground.wall_clock), known,
            ground.maildir_threads(), config.hostname, ground.journal.note, forwarding, signing,
            ground.world.shuffle, self._reports, lambda: ground.inbox(config.inbox), config.staging,
            config.conversations,
        ).all(config.backends, ground.plugins)
        for backend in made.values():
            self._adopt(backend.inner if isinstance(backend, SupervisedBackend) else backend)
        return made

    def _reports(self) -> tuple[ReportBook, ThreadPool, str]:
        return *self.ground.reports(), self.config.trust.judging.authserv_id

    def _make_rules(self) -> Sequence[PluginRule]:
        def adopted(settings: PythonSettings) -> object:
            rule = make_rule(settings, self.ground.plugins)
            self._adopt(rule)
            return rule

        return plugin_rules(self.config, self.intake, self.ground.reactor, self.ground.journal.note, adopted)

    def _adopt(self, plugin: object) -> None:
        """A plug-in that is a service starts and stops with us; one that wants to send is told how."""
        if IUsesGateway.providedBy(plugin):
            plugin.use(self.ground.own_mail)
        self.ground.services.adopt(plugin, self)
