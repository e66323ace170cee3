"""The shape of a backend that sends to other servers: ``[backend.NAME]`` of type smtp and lmtp."""

import enum

import attrs

# ruff: noqa: RUF009 - key() and part() make fields, they are no shared defaults
from mailgw.config import values
from mailgw.config.reader import Table, each, key, part, tables
from mailgw.deliver.smtp_settings import TlsMode
from mailgw.mail.rate import Rate

MINUTE = 60.0


class JunkThere(enum.Enum):
    """What becomes of junk whose recipients another server has: held, or sent there with a mark."""

    HOLD = "hold"
    MARK = "mark"


@attrs.frozen
class DestinationTable(Table):
    domains: tuple[str, ...] = part(each(values.domain_pattern, '"example.net"'), stand_in=())
    tls: TlsMode | None = key(values.choice(TlsMode), None)
    tls_names: tuple[str, ...] | None = part(each(values.hostname, '"mx.example.net"'), None)
    tls_fingerprints: tuple[str, ...] | None = part(each(values.fingerprint, '"sha256:…"'), None)
    concurrency: int | None = key(values.count, None)
    rate: Rate | None = key(values.rate, None)


@attrs.frozen
class HostTable(Table):
    hosts: tuple[str, ...] = part(each(values.host_pattern, '"*.mail.example.net"'), stand_in=())
    concurrency: int | None = key(values.count, None)
    rate: Rate | None = key(values.rate, None)


@attrs.frozen
class SourceTable(Table):
    address: str = key(values.ip_address, stand_in="")
    hello_name: str | None = key(values.hostname, None)
    concurrency: int | None = key(values.count, None)
    rate: Rate | None = key(values.rate, None)


@attrs.frozen
class HopTable(Table):
    """What [backend.NAME] of type smtp and lmtp have in common.  Time limits: RFC 5321 s4.5.3.2."""

    tls: TlsMode | None = key(values.choice(TlsMode), None)
    ca_file: str | None = key(values.text, None)
    client_certificate: str | None = key(values.text, None)
    client_key: str | None = key(values.text, None)
    username: str | None = key(values.text, None)
    password_file: str | None = key(values.text, None)
    hello_name: str | None = key(values.hostname, None)
    concurrency: int = key(values.count, 20)
    rate: Rate | None = key(values.rate, None)
    host_concurrency: int = key(values.count, 50)
    total_concurrency: int | None = key(values.count, None)
    total_rate: Rate | None = key(values.rate, None)
    messages_per_session: int = key(values.count, 100)
    recipients_per_transaction: int = key(values.count, 100)
    check_domains: bool = key(values.truth, True)
    junk: JunkThere = key(values.choice(JunkThere), JunkThere.HOLD)
    socks5: str | None = key(values.proxy, None)
    socks5_username: str | None = key(values.text, None)
    socks5_password_file: str | None = key(values.text, None)
    idle_timeout: float = key(values.duration, 5.0)
    connect_timeout: float = key(values.duration, 30.0)
    greeting_timeout: float = key(values.duration, 5 * MINUTE)
    hello_timeout: float = key(values.duration, 5 * MINUTE)
    mail_timeout: float = key(values.duration, 5 * MINUTE)
    rcpt_timeout: float = key(values.duration, 5 * MINUTE)
    data_init_timeout: float = key(values.duration, 2 * MINUTE)
    data_block_timeout: float = key(values.duration, 3 * MINUTE)
    data_end_timeout: float = key(values.duration, 10 * MINUTE)
    destination: tuple[DestinationTable, ...] = part(tables(DestinationTable), ())
    host: tuple[HostTable, ...] = part(tables(HostTable, "; servers to send to are hosts = [...]"), ())
    source: tuple[SourceTable, ...] = part(tables(SourceTable), ())


@attrs.frozen
class SmtpTable(HopTable):
    hosts: tuple[str, ...] = part(each(values.hop("smtp")), ())
    mta_sts: bool = key(values.truth, True)
    sign: bool = key(values.truth, True)
    seal: bool = key(values.truth, True)


@attrs.frozen
class LmtpTable(HopTable):
    hosts: tuple[str, ...] = part(each(values.hop("lmtp"), '"unix:/run/dovecot/lmtp"'), stand_in=())
    # Its mailboxes are the end of the way: nobody there judges mail by its signatures.
    sign: bool = key(values.truth, False)
    seal: bool = key(values.truth, False)
