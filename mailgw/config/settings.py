"""What the configuration comes to: one frozen value, made of the settings of every room.

Settings that a room below defines for itself are taken from there; only those that no single room owns
are defined here.  Every path is absolute, every default already filled in.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.policy.failing import OnFailure

if TYPE_CHECKING:  # for the types alone, so that the `mailgw` command starts quickly
    from mailgw.access.oauth_settings import OAuthSettings
    from mailgw.config.document import Document
    from mailgw.deliver.command import CommandSettings
    from mailgw.deliver.conversing import Conversations
    from mailgw.deliver.discard import DiscardSettings
    from mailgw.deliver.dmarc_report_settings import DmarcReportSettings
    from mailgw.deliver.event_hook_settings import EventHookSettings
    from mailgw.deliver.fan_out import FanOutSettings
    from mailgw.deliver.inbox_settings import InboxSettings, StagingSettings
    from mailgw.deliver.maildir import MaildirSettings
    from mailgw.deliver.mbox import MboxSettings
    from mailgw.deliver.reports_settings import ReportsSettings
    from mailgw.deliver.s3_settings import S3Settings
    from mailgw.deliver.smtp_settings import SmtpSettings
    from mailgw.deliver.tls_report_settings import TlsReportSettings
    from mailgw.deliver.webhook_settings import WebhookSettings
    from mailgw.mail.srs import SrsSettings
    from mailgw.net.server_tls import CertificateFiles
    from mailgw.policy.limits import CounterSettings
    from mailgw.policy.lockout import LockoutSettings
    from mailgw.policy.rules.authentic import Actions
    from mailgw.policy.rules.sender import SenderSettings
    from mailgw.queue.aliases import AliasLimits
    from mailgw.queue.dsn import Desk
    from mailgw.queue.replies import ReplyClasses
    from mailgw.queue.route import RouteSettings
    from mailgw.queue.schedule import RetrySettings
    from mailgw.queue.tags import TagRules
    from mailgw.receive.authenticity_settings import AuthenticitySettings
    from mailgw.receive.settings import TimeLimits
    from mailgw.spool.settings import SpoolSettings
    from mailgw.store.captured import Bounds
    from mailgw.store.directory_settings import DirectorySettings, HttpSettings, SqlSettings
    from mailgw.store.journal import JournalSettings
    from mailgw.trust.dkim_rotation import RotationRules
    from mailgw.web.settings import ApiSettings
    from mailgw.wire.content import ContentRules

Network: TypeAlias = IPv4Network | IPv6Network
Networks: TypeAlias = tuple[Network, ...]
"""Addresses are compared unmapped: ``::ffff:192.0.2.1`` is in ``192.0.2.0/24``."""

Fronts: TypeAlias = tuple[Network | Literal["local"], ...]
"""Networks, and ``"local"`` for who comes by a Unix socket."""

DEFAULT_CERTIFICATE = ""


@attrs.frozen
class TlsSettings:
    """Certificates by name; ``DEFAULT_CERTIFICATE`` is that of ``[tls]`` itself, the others ``[tls.NAME]``.

    They could be used when they were read.  Empty where there is no ``[tls]``.
    """

    certificates: Mapping[str, CertificateFiles]


@attrs.frozen
class ListenSettings:
    """One listener.  ``endpoint`` is a Twisted server endpoint string (tcp:, unix: or systemd:).

    ``certificate`` is the name of its default certificate in ``TlsSettings``, or None where it has none
    and offers no STARTTLS.  Names of clients select among the others (SNI).  ``proxy_protocol_from`` are the fronts
    whose PROXY header is required, ``xclient_from`` those to whom XCLIENT is offered.
    """

    role: Role
    endpoint: str
    relay_from: Networks
    certificate: str | None
    proxy_protocol_from: Fronts = ()
    xclient_from: Fronts = ()


@attrs.frozen
class LimitSettings:
    """``message_octets`` is what EHLO says as SIZE; ``chunk_octets`` of one BDAT; ``content``'s own limits and rules;
    ``recipients`` per message; ``hold_seconds`` that FUTURERELEASE may hold one; ``messages_per_session``;
    ``command_line_octets`` with CRLF;
    ``errors`` per session, then 421, ``quick_errors`` of them without a delay; ``idle_commands`` between two messages;
    ``sessions`` at once over all listeners, then 421, or one that was idle for ``crowded_seconds`` gives way;
    ``counters`` for each address, network and login;
    ``lockout`` against guessing;
    ``reserve_octets`` of free space that mail never touches;
    ``time_limits`` for clients; ``reverse_name_seconds`` for their names; ``stop_seconds`` for running sessions and
    attempts after a stop; ``attempt_seconds`` for one delivery."""

    message_octets: int
    chunk_octets: int
    content: ContentRules
    recipients: int
    hold_seconds: int
    command_line_octets: int
    messages_per_session: int
    errors: int
    quick_errors: int
    idle_commands: int
    sessions: int
    crowded_seconds: float
    counters: CounterSettings
    lockout: LockoutSettings
    reserve_octets: int
    time_limits: TimeLimits
    reverse_name_seconds: float
    stop_seconds: float
    attempt_seconds: float


@attrs.frozen
class DnsSettings:
    """``servers`` as ``"127.0.0.1:53"`` or ``"[::1]:53"``; () means those of the system.

    ``validating``: their AD bit is believed; None: while all servers of the system are on the loopback.
    """

    servers: tuple[str, ...]
    validating: bool | None


class PluginKind(enum.Enum):
    """How ``type`` begins."""

    PYTHON = "python"
    PLUGIN = "plugin"
    GIVEN = "given"
    APP = "app"


@attrs.frozen
class PythonSettings:
    """Something of the user's own, a backend, a rule or a checker of logins, made with ``arguments`` by what ``target``
    names: ``"package.module:Name"``, or of ``kind`` PLUGIN the name of a ``twisted.plugin``; of ``kind`` GIVEN it is
    what the application gave under that name, of ``kind`` APP a ``MailApp`` that is there already.

    ``file``, ``line`` and ``key`` say where it is configured, for the fault where it cannot be made.
    """

    target: str
    arguments: Mapping[str, object]
    file: str
    line: int
    key: str
    kind: PluginKind = PluginKind.PYTHON


@attrs.frozen
class TwistedSettings:
    """``made`` provides ``twisted.mail.interfaces.IMessageDelivery``, or ``IMessageDeliveryFactory``."""

    made: PythonSettings


@attrs.frozen
class RuleSettings:
    """``[[rule]]``: asked in sessions of these ``roles``; ``deadline_seconds`` for one answer, and what counts where
    there is none."""

    name: str
    plugin: PythonSettings
    roles: frozenset[Role]
    deadline_seconds: float
    on_failure: OnFailure


@attrs.frozen
class ObserverSettings:
    """``[[observer]]``."""

    name: str
    plugin: PythonSettings


@attrs.frozen
class LoginSettings:
    """Who judges passwords where the passwd-file does not: ``dovecot_auth``, the path of Dovecot's socket, or a
    ``checker`` of the user's own, never both; and ``oauth``, the issuer of bearer tokens."""

    dovecot_auth: str | None
    checker: PythonSettings | None
    oauth: OAuthSettings | None


@attrs.frozen
class AliasSettings:
    """``file`` of virtual aliases, None where nobody has any; ``limits`` of what they come to; ``tags``: what a
    sub-address is."""

    file: str | None
    limits: AliasLimits
    tags: TagRules


DirectorySource: TypeAlias = Union["SqlSettings", "HttpSettings", PythonSettings]


@attrs.frozen
class DirectoryConfig:
    """Who is asked which recipients exist, and how."""

    source: DirectorySource
    settings: DirectorySettings


BackendSettings: TypeAlias = Union[
    "MaildirSettings", "SmtpSettings", "CommandSettings", "MboxSettings", "DiscardSettings", "WebhookSettings",
    "S3Settings", "FanOutSettings", "ReportsSettings", "InboxSettings", TwistedSettings, PythonSettings
]


@attrs.frozen
class TrustSettings:
    """Whose mail is judged and how, what the results come to, and whether what is quarantined is filed as junk."""

    judging: AuthenticitySettings
    actions: Actions
    files_junk: bool


@attrs.frozen
class DkimSettings:
    """Who is signed for, and by whose keys what is not ours is sealed (``seal_as``, None: by nobody's).

    ``domains``: of each, in A-labels, its key files by selector; none of its own: it has those of ``folder``, which
    rotate as ``rules`` and, of single domains, ``rotate_seconds`` say.  ``publish``: the program that does it in DNS,
    and its arguments, () where nobody does; it has ``publish_seconds`` each time.
    """

    folder: str
    seal_as: str | None
    domains: Mapping[str, Mapping[str, str]]
    rules: RotationRules
    rotate_seconds: Mapping[str, float]
    publish: tuple[str, ...]
    publish_seconds: float

    def rules_of(self, domain: str) -> RotationRules:
        return attrs.evolve(self.rules, rotate_seconds=self.rotate_seconds.get(domain))


@attrs.frozen
class Config:
    """A whole gateway.

    ``file`` is the configuration's path, ``""`` where there is none (a quick run, the local trial).
    ``maildrop`` is the folder where programs of this machine leave mail.
    ``postmaster`` is where ``<Postmaster>`` goes: the configured one, else postmaster@ the first routed
    domain, None where no domain is routed; ``postmaster_is_set`` says that it was configured, so that it
    also gets copies of what cannot be delivered or returned.  ``reports`` is where notices to senders are written,
    ``tls_reports`` None where no domain is told what TLS with it came to, ``dmarc_reports`` None where none is told
    what came of mail that says it is from there.
    ``srs`` None: senders of what is forwarded stay as they are; ``srs_file`` has its secrets.
    ``api`` None: nothing is asked by HTTP.  ``event_hooks`` are told what becomes of messages.
    ``workers`` processes serve.  ``control`` is the control socket's path.
    ``inbox`` bounds what is captured; ``staging`` None where mail goes where it is to go.
    ``port_hint`` is told where a port cannot be bound.  ``written`` is what the file says, as TOML comes to: for eyes
    (``shown``), nobody acts by it.
    ``document`` is what it was made of, to tell what changes.
    """

    file: str
    hostname: str
    state: str
    maildrop: str
    workers: int
    postmaster: Mailbox | None
    postmaster_is_set: bool
    trusted_clients: Networks
    tls: TlsSettings
    listeners: tuple[ListenSettings, ...]
    passwd_file: str | None
    logins: LoginSettings
    senders: tuple[SenderSettings, ...]
    check_from: bool
    aliases: AliasSettings
    directories: Mapping[str, DirectoryConfig]
    srs: SrsSettings | None
    srs_file: str | None
    trust: TrustSettings
    dkim: DkimSettings
    rules: tuple[RuleSettings, ...]
    observers: tuple[ObserverSettings, ...]
    routes: tuple[RouteSettings, ...]
    backends: Mapping[str, BackendSettings]
    retry: RetrySettings
    reply_classes: ReplyClasses
    limits: LimitSettings
    journal: JournalSettings
    conversations: Conversations
    spool: SpoolSettings
    reports: Desk
    tls_reports: TlsReportSettings | None
    dmarc_reports: DmarcReportSettings | None
    dns: DnsSettings
    api: ApiSettings | None
    inbox: Bounds
    staging: StagingSettings | None
    event_hooks: tuple[EventHookSettings, ...]
    port_hint: str
    written: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)
    document: Document | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def outbound_sessions(self) -> int:
        """How many sessions with other servers there may be at once."""
        from mailgw.deliver.smtp_settings import SmtpSettings
        from mailgw.deliver.webhook_settings import WebhookSettings

        return sum(
            one.shaping.total_concurrency if isinstance(one, SmtpSettings) else one.concurrency
            for one in self.backends.values() if isinstance(one, SmtpSettings | WebhookSettings)
        )

    @property
    def control(self) -> str:
        return f"{self.state}/control.sock"
