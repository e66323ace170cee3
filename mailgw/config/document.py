"""The shape of the file: every table, every key, how it is read, and its default.

``etc/mailgw.toml`` shows the same to people; ``tests/config/test_etc.py`` holds the two together.
Sizes and durations are values here already (octets, seconds); paths are as they were written.
"""

from collections.abc import Mapping
from ipaddress import ip_network
from typing import TypeVar

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.api_tables import ApiTable
from mailgw.config.backend_tables import BackendTable, backend
from mailgw.config.directory_tables import AnyDirectoryTable, directory
from mailgw.config.dkim_tables import DkimTable
from mailgw.config.event_hooks import EventHookTable
from mailgw.config.python_tables import EXPECTED, PythonTable, is_python, python_table
from mailgw.config.reader import (
    Reader,
    Spot,
    Table,
    Unusable,
    each,
    key,
    named,
    part,
    read_table,
    table,
    tables,
    tables_by,
)
from mailgw.config.replies import ReplyClassTable
from mailgw.config.settings import Fronts, Networks
from mailgw.config.trust_tables import TrustTable
from mailgw.config.where import DEFAULT_STATE
from mailgw.deliver.conversing import Conversations
from mailgw.deliver.inbox_settings import Capture
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.rate import Rate
from mailgw.policy.failing import OnFailure
from mailgw.wire.content import BareLineEnds

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KIB, MIB = 1 << 10, 1 << 20


@attrs.frozen
class CertificateTable(Table):
    certificate: str = key(values.text, stand_in="")
    private_key: str = key(values.text, stand_in="")
    client_ca: str | None = key(values.text, None)


@attrs.frozen
class ListenTable(Table):
    role: Role = key(values.choice(Role, {"smtp": "mx", "smtps": "submissions"}), stand_in=Role.MX)
    endpoint: str = key(values.endpoint, stand_in="")
    relay_from: Networks = part(each(values.network), ())
    tls: str | None = key(values.text, None)
    proxy_protocol_from: Fronts = part(each(values.front), ())
    xclient_from: Fronts = part(each(values.front), ())


@attrs.frozen
class SenderTable(Table):
    login: Mailbox | None = key(values.mailbox, stand_in=None)
    may_send_as: tuple[str, ...] = part(each(values.pattern, '"sales@example.org"'), stand_in=())


@attrs.frozen
class AliasesTable(Table):
    file: str = key(values.text, stand_in="")
    delimiter: str = key(values.delimiter, "+")
    keep_tag: bool = key(values.truth, True)
    depth: int = key(values.count, 20)
    recipients: int = key(values.count, 1000)


@attrs.frozen
class SrsTable(Table):
    domain: str = key(values.hostname, stand_in="")
    secret_file: str = key(values.text, stand_in="")
    hash_length: int = key(values.hash_length, 8)


@attrs.frozen
class RetryTable(Table):
    schedule: tuple[float, ...] = part(
        each(values.duration, '"15m"'), (5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR)
    )
    jitter: float = key(values.fraction, 0.1)
    warn_after: float = key(values.duration, 4 * HOUR)
    give_up_after: float = key(values.duration, 5 * DAY)


@attrs.frozen
class RouteTable(Table):
    """Where one of the keys of [retry] is missing, that of [retry] holds."""

    recipients: tuple[str, ...] = part(each(values.pattern, '"@example.org"'), stand_in=())
    backend: str | None = key(values.text, None)
    type: str | None = key(values.app, None)
    directory: str | None = key(values.text, None)
    schedule: tuple[float, ...] | None = part(each(values.duration, '"15m"'), None)
    jitter: float | None = key(values.fraction, None)
    warn_after: float | None = key(values.duration, None)
    give_up_after: float | None = key(values.duration, None)


@attrs.frozen
class OAuthTable(Table):
    endpoint: str = key(values.https_url, stand_in="")
    client_id: str = key(values.text, stand_in="")
    client_secret_file: str = key(values.text, stand_in="")
    login_claims: tuple[str, ...] = part(each(values.text, '"email"'), ("username", "email", "sub"))
    scope: tuple[str, ...] = part(each(values.text), ())
    audience: str | None = key(values.text, None)
    ca_file: str | None = key(values.text, None)


def checker(value: object, spot: Spot) -> PythonTable:
    """``[accounts.checker]``."""
    if not isinstance(value, Mapping):
        spot.fault(f"expected a table, [accounts.checker], not {values.said(value)}")
        raise Unusable
    kind = value.get("type")
    if not is_python(kind):
        why = f"not {values.said(kind)}" if "type" in value else "is missing"
        spot.inner("type").fault(f"{why}: expected {EXPECTED}")
        raise Unusable
    return python_table(value, spot, "checker")


@attrs.frozen
class RuleTable(Table):
    """``[[rule]]``: its keys, and a plug-in's arguments beside them."""

    type: str = key(values.text, stand_in="")
    name: str | None = key(values.name, None)
    roles: tuple[Role, ...] = part(each(values.choice(Role), '"mx"'), tuple(Role))
    deadline: float = key(values.deadline, 10.0)
    on_failure: OnFailure = key(values.choice(OnFailure), OnFailure.DEFER)


@attrs.frozen
class ObserverTable(Table):
    """``[[observer]]``, likewise."""

    type: str = key(values.text, stand_in="")
    name: str | None = key(values.name, None)


@attrs.frozen
class PluginRuleTable(Table):
    """One ``[[rule]]`` with what it plugs in."""

    own: RuleTable = attrs.field(kw_only=True)
    name: str = attrs.field(kw_only=True)
    plugin: PythonTable = attrs.field(kw_only=True)


@attrs.frozen
class PluginObserverTable(Table):
    """One ``[[observer]]``, likewise."""

    own: ObserverTable = attrs.field(kw_only=True)
    name: str = attrs.field(kw_only=True)
    plugin: PythonTable = attrs.field(kw_only=True)


def rule(value: object, spot: Spot) -> PluginRuleTable:
    own, name, plugged = _plugged(RuleTable, "rule", value, spot)
    return PluginRuleTable(own=own, name=name, plugin=plugged, spot=spot)


def observer(value: object, spot: Spot) -> PluginObserverTable:
    own, name, plugged = _plugged(ObserverTable, "observer", value, spot)
    return PluginObserverTable(own=own, name=name, plugin=plugged, spot=spot)


Plugged = TypeVar("Plugged", RuleTable, ObserverTable)


def _plugged(shape: type[Plugged], word: str, value: object, spot: Spot) -> tuple[Plugged, str, PythonTable]:
    """Our own keys, the name, and what is plugged in with all other keys."""
    if not isinstance(value, Mapping):
        spot.fault(f"expected a table, [[{word}]], not {values.said(value)}")
        raise Unusable
    ours = tuple(field.name for field in attrs.fields(shape) if "reader" in field.metadata)
    own = read_table(shape, {k: v for k, v in value.items() if k in ours}, spot)
    if not is_python(value.get("type")):
        if own.type:
            spot.inner("type").fault(f"not {values.said(own.type)}: expected {EXPECTED}")
        raise Unusable
    if own.name is None and own.type == "given":
        spot.inner("name").fault('is missing: of type = "given" it says what the application gives')
        raise Unusable
    name = own.name or own.type.rpartition(":")[2]
    return own, name, python_table(value, spot, name, ours)


@attrs.frozen
class AccountsTable(Table):
    passwd_file: str | None = key(values.text, None)
    dovecot_auth: str | None = key(values.unix_socket, None)
    checker: PythonTable | None = part(checker, None)
    oauth: OAuthTable | None = part(table(OAuthTable), None)
    check_from: bool = key(values.truth, False)


@attrs.frozen
class LimitsTable(Table):
    message_octets: int = key(values.size, 50 * MIB)
    chunk_octets: int | None = key(values.size, None)
    header_octets: int = key(values.size, 256 * KIB)
    content_line_octets: int = key(values.line_size, MIB)
    recipients: int = key(values.count, 1000)
    longest_hold: int = key(values.hold, int(30 * DAY))
    command_line_octets: int = key(values.command_line, 2 * KIB)
    messages_per_session: int = key(values.count, 10_000)
    errors: int = key(values.count, 20)
    quick_errors: int = key(values.count, 10)
    error_delay: float = key(values.wait, 1.0)
    idle_commands: int = key(values.count, 100)
    sessions: int = key(values.count, 1000)
    crowded_timeout: float = key(values.duration, 15.0)
    sessions_per_address: int = key(values.count, 50)
    sessions_per_network: int = key(values.count, 200)
    connections_per_address: Rate = key(values.rate, Rate(120, MINUTE))
    messages_per_address: Rate = key(values.rate, Rate(1000, MINUTE))
    messages_per_login: Rate = key(values.rate, Rate(10_000, HOUR))
    logins_per_address: Rate = key(values.rate, Rate(120, MINUTE))
    logins_per_login: Rate = key(values.rate, Rate(60, MINUTE))
    login_failures_per_address: int = key(values.count, 20)
    login_failures_per_network: int = key(values.count, 100)
    login_failures_per_login: int = key(values.count, 20)
    lockout: float = key(values.duration, MINUTE)
    longest_lockout: float = key(values.duration, HOUR)
    reserve_octets: int = key(values.size, 64 * MIB)
    reverse_name_timeout: float = key(values.wait, 5.0)
    greeting_delay: float = key(values.wait, 0.3)
    command_timeout: float = key(values.duration, 5 * MINUTE)
    data_timeout: float = key(values.duration, 3 * MINUTE)
    handshake_timeout: float = key(values.duration, MINUTE)
    transaction_timeout: float = key(values.duration, 30 * MINUTE)
    slowest_octets_per_second: int = key(values.size, KIB)
    attempt_timeout: float = key(values.duration, HOUR)
    stop_timeout: float = key(values.duration, 20.0)


@attrs.frozen
class ContentTable(Table):
    bare_line_ends: BareLineEnds = key(values.choice(BareLineEnds), BareLineEnds.REFUSE)


@attrs.frozen
class JournalTable(Table):
    path: str | None = key(values.text, None)
    rotate_octets: int = key(values.size, 100 * MIB)
    rotate_after: float = key(values.duration, DAY)
    keep: int = key(values.count, 14)
    conversations: Conversations = key(values.choice(Conversations), Conversations.FAILED)


@attrs.frozen
class ReportsTable(Table):
    template: str | None = key(values.text, None)
    from_address: Mailbox | None = key(values.mailbox, None)


@attrs.frozen
class TlsReportsTable(Table):
    contact: Mailbox | None = key(values.mailbox, None)
    organization: str | None = key(values.text, None)
    keep: float = key(values.duration, 30 * DAY)


@attrs.frozen
class DmarcReportsTable(Table):
    contact: Mailbox | None = key(values.mailbox, None)
    organization: str | None = key(values.text, None)
    extra: str | None = key(values.text, None)
    report_octets: int = key(values.size, 10 * MIB)
    keep: float = key(values.duration, 30 * DAY)


@attrs.frozen
class DnsTable(Table):
    servers: tuple[str, ...] = part(each(values.name_server), ())
    validating: bool | None = key(values.truth, None)


@attrs.frozen
class InboxBoundsTable(Table):
    """``[inbox]``, whoever fills it."""

    messages: int = key(values.count, 5000)
    octets: int = key(values.size, 1 << 30)


@attrs.frozen
class StagingTable(Table):
    capture: Capture = key(values.choice(Capture), Capture.ALL)
    let_out: tuple[str, ...] = part(each(values.text), ())
    scripted: bool = key(values.truth, True)


def certificates(value: object, spot: Spot) -> Mapping[str, CertificateTable]:
    """``[tls]`` and each ``[tls.NAME]``; the first has the name ``""``."""
    if not isinstance(value, Mapping):
        spot.fault(f"expected a table, [tls], not {values.said(value)}")
        raise Unusable
    known = {field.name for field in attrs.fields(CertificateTable) if "reader" in field.metadata}
    own = {k: v for k, v in value.items() if not isinstance(v, Mapping) or k in known}
    others = {k: v for k, v in value.items() if k not in own}
    found = dict(named(table(CertificateTable))(others, spot))
    if own or not others:
        try:
            found[""] = read_table(CertificateTable, own, spot)
        except Unusable:
            pass
    return found


_CERTIFICATES: Reader[object] = certificates


@attrs.frozen
class Document(Table):
    hostname: str | None = key(values.hostname, None)
    state: str = key(values.text, DEFAULT_STATE)
    workers: int = key(values.workers, 1)
    maildrop: str | None = key(values.text, None)
    postmaster: Mailbox | None = key(values.mailbox, None)
    trusted_clients: Networks = part(each(values.network), (ip_network("127.0.0.0/8"), ip_network("::1")))
    tls: Mapping[str, CertificateTable] = part(_CERTIFICATES, attrs.Factory(dict))
    listen: tuple[ListenTable, ...] = part(tables(ListenTable), ())
    accounts: AccountsTable | None = part(table(AccountsTable), None)
    sender: tuple[SenderTable, ...] = part(tables(SenderTable), ())
    aliases: AliasesTable | None = part(table(AliasesTable), None)
    srs: SrsTable | None = part(table(SrsTable), None)
    trust: TrustTable = part(table(TrustTable), attrs.Factory(TrustTable))
    dkim: DkimTable | None = part(table(DkimTable), None)
    rule: tuple[PluginRuleTable, ...] = part(tables_by(rule), ())
    observer: tuple[PluginObserverTable, ...] = part(tables_by(observer), ())
    route: tuple[RouteTable, ...] = part(tables(RouteTable), ())
    backend: Mapping[str, BackendTable] = part(named(backend), attrs.Factory(dict))
    directory: Mapping[str, AnyDirectoryTable] = part(named(directory), attrs.Factory(dict))
    retry: RetryTable = part(table(RetryTable), attrs.Factory(RetryTable))
    reply_classes: str | None = key(values.text, None)
    reply_class: tuple[ReplyClassTable, ...] = part(tables(ReplyClassTable), ())
    limits: LimitsTable = part(table(LimitsTable), attrs.Factory(LimitsTable))
    content: ContentTable = part(table(ContentTable), attrs.Factory(ContentTable))
    journal: JournalTable = part(table(JournalTable), attrs.Factory(JournalTable))
    reports: ReportsTable = part(table(ReportsTable), attrs.Factory(ReportsTable))
    dns: DnsTable = part(table(DnsTable), attrs.Factory(DnsTable))
    tls_reports: TlsReportsTable = part(table(TlsReportsTable), attrs.Factory(TlsReportsTable))
    dmarc_reports: DmarcReportsTable = part(table(DmarcReportsTable), attrs.Factory(DmarcReportsTable))
    api: ApiTable | None = part(table(ApiTable), None)
    inbox: InboxBoundsTable = part(table(InboxBoundsTable), attrs.Factory(InboxBoundsTable))
    staging: StagingTable | None = part(table(StagingTable), None)
    webhook: tuple[EventHookTable, ...] = part(tables(EventHookTable), ())
