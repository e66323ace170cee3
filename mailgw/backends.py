"""Makes the backends of a configuration, each of its settings: the one place that knows every type there is."""

from collections.abc import Callable, Mapping
from typing import Any, assert_never, cast

from twisted.python.threadpool import ThreadPool

from mailgw.config.plugin import make_message_delivery, make_plugin
from mailgw.config.settings import BackendSettings, PythonSettings, TwistedSettings
from mailgw.config.staging import LOCAL
from mailgw.deliver.command import CommandBackend, CommandSettings, leader
from mailgw.deliver.conversing import Conversations, Conversing
from mailgw.deliver.discard import DiscardBackend, DiscardSettings
from mailgw.deliver.fan_out import FanOutBackend, FanOutSettings
from mailgw.deliver.forwarding import Forwarding
from mailgw.deliver.inbox import CapturingBackend, Inbox, InboxBackend, Keeping
from mailgw.deliver.inbox_settings import InboxSettings, StagingSettings
from mailgw.deliver.maildir import MaildirBackend, MaildirSettings
from mailgw.deliver.mbox import MboxBackend, MboxSettings
from mailgw.deliver.reports_backend import Book, ReportsBackend
from mailgw.deliver.reports_settings import ReportsSettings
from mailgw.deliver.s3_settings import S3Settings
from mailgw.deliver.signing import Signing
from mailgw.deliver.smtp import SmtpBackend
from mailgw.deliver.smtp_settings import SmtpSettings
from mailgw.deliver.supervised import SupervisedBackend
from mailgw.deliver.webhook_settings import WebhookSettings
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.ports import Accounts, Resolver, WallClock
from mailgw.peer_tls import PeerTls
from mailgw.store.maildir import Maildirs
from mailgw.store.mbox import Mboxes


class Backends:
    """``known`` says which accounts exist, None where there are none; ``threads`` are those of Maildirs and mailboxes;
    ``hostname`` is our own, to which no mail is sent; ``forwarding``, ``signing`` and ``shuffle`` as ``SmtpBackend``
    has them; ``reports`` makes what keeps reports, and its thread, when it is wanted, and says our authserv-id;
    ``inbox`` likewise; ``conversations`` says of which attempts it is noted what was said."""

    def __init__(
        self,
        reactor: Any,
        wall_clock: WallClock,
        resolver: Resolver,
        peer_tls: PeerTls,
        maildirs: Maildirs,
        mboxes: Mboxes,
        known: Accounts | None,
        threads: ThreadPool,
        hostname: str,
        note: Callable[[Event], None],
        forwarding: Forwarding | None,
        signing: Signing | None,
        shuffle: Callable[[list[str]], None],
        reports: Callable[[], tuple[Book, ThreadPool, str]],
        inbox: Callable[[], Inbox],
        staging: StagingSettings | None,
        conversations: Conversations = Conversations.NONE,
    ) -> None:
        self._reactor = reactor
        self._wall_clock = wall_clock
        self._resolver = resolver
        self._peer_tls = peer_tls
        self._maildirs = maildirs
        self._mboxes = mboxes
        self._known = known
        self._threads = threads
        self._hostname = hostname
        self._note = note
        self._forwarding = forwarding
        self._signing = signing
        self._shuffle = shuffle
        self._reports = reports
        self._conversations = conversations
        self._inbox = inbox
        self._is_scripted = staging is not None and staging.scripted
        self._is_copied = staging is not None and not staging.is_closed

    def all(
        self, settings: Mapping[str, BackendSettings], given: Mapping[str, object]
    ) -> Mapping[str, IDeliveryBackend]:
        """Each by its name; what an application gave (``given``) among them.  ConfigError where one of the user's own
        cannot be made."""
        made = {}
        for name, one in settings.items():
            if isinstance(one, FanOutSettings | ReportsSettings):
                continue  # made of the others
            if isinstance(one, InboxSettings):
                made[name] = cast(IDeliveryBackend, InboxBackend(self._keeping(name), self._is_scripted))
                continue
            backend = cast(IDeliveryBackend, self._made(name, one, given))
            if self._is_copied and isinstance(one, LOCAL):
                backend = cast(IDeliveryBackend, CapturingBackend(backend, self._keeping(name), self._is_scripted))
            if isinstance(one, PythonSettings | TwistedSettings):
                backend = cast(IDeliveryBackend, SupervisedBackend(name, backend, self._reactor, self._note))
            made[name] = backend
        for name, one in settings.items():
            if isinstance(one, ReportsSettings):
                others = None if one.others is None else made[one.others]
                made[name] = cast(IDeliveryBackend, self._reader_of_reports(one, others))
        for name, one in settings.items():
            if isinstance(one, FanOutSettings):
                fan = FanOutBackend({member: made[member] for member in one.backends}, self._note)
                made[name] = cast(IDeliveryBackend, fan)
        return made

    def _conversing(self, name: str) -> Conversing | None:
        if self._conversations is Conversations.NONE:
            return None
        return Conversing(name, self._conversations, self._note)

    def _made(self, name: str, settings: BackendSettings, given: Mapping[str, object]) -> object:
        match settings:
            case PythonSettings():
                return make_plugin(settings, given)
            case TwistedSettings():
                return self._twisted(settings.made)
            case MaildirSettings():
                return MaildirBackend(
                    settings, self._maildirs, self._known, self._reactor, self._threads, self._reactor.seconds
                )
            case SmtpSettings():
                return SmtpBackend(
                    settings,
                    self._reactor,
                    self._resolver,
                    self._shuffle,
                    frozenset({self._hostname}),
                    self._wall_clock,
                    self._peer_tls.sts(settings),
                    self._peer_tls.note,
                    self._forwarding,
                    self._signing,
                    self._conversing(name),
                )
            case CommandSettings():
                return CommandBackend(settings, self._reactor, leader(), conversing=self._conversing(name))
            case MboxSettings():
                return MboxBackend(settings, self._mboxes, self._known, self._reactor, self._threads)
            case DiscardSettings():
                return DiscardBackend()
            case WebhookSettings():
                return self._webhook(settings, self._conversing(name))
            case S3Settings():
                from mailgw.deliver.s3 import S3Backend, boto3_client

                return S3Backend(settings, boto3_client, self._reactor, None)
            case FanOutSettings() | ReportsSettings() | InboxSettings():
                raise LocalProtocolError("it is made otherwise")
            case _:
                assert_never(settings)

    def _keeping(self, name: str) -> Keeping:
        return Keeping(self._inbox(), self._wall_clock, name)

    def _reader_of_reports(self, settings: ReportsSettings, others: IDeliveryBackend | None) -> ReportsBackend:
        book, thread, authserv_id = self._reports()
        return ReportsBackend(settings, others, book, authserv_id, self._reactor, thread, self._note)

    def _twisted(self, settings: PythonSettings) -> object:
        from mailgw.deliver.twisted_mail import TwistedMailBackend  # it imports twisted.mail.smtp

        made = make_message_delivery(settings)
        return TwistedMailBackend(made, settings.target, self._hostname, self._reactor)

    def _webhook(self, settings: WebhookSettings, conversing: Conversing | None) -> object:
        # Twisted's HTTP takes its time to be imported, and most have no web hook.
        from mailgw.deliver.webhook import WebhookBackend
        from mailgw.net.https import kept_connections
        from mailgw.net.posting import Poster, PostLimits

        try:
            agent, pool = kept_connections(self._reactor, settings.ca_file, settings.connect_seconds)
        except ValueError as fault:
            raise TemporaryFault(str(fault)) from fault
        pool.maxPersistentPerHost = settings.concurrency
        pool.cachedConnectionTimeout = settings.idle_seconds  # type: ignore[assignment] # it is a number of seconds
        limits = PostLimits(
            settings.connect_seconds, settings.send_seconds, settings.answer_seconds, settings.answer_octets
        )
        poster = Poster(agent, self._reactor, limits)
        return WebhookBackend(
            settings, poster, self._reactor, self._wall_clock, self._threads, pool.closeCachedConnections, conversing
        )
