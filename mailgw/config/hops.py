"""The tables of a backend that sends to other servers, into its ``SmtpSettings``."""

import os

from mailgw.config import values
from mailgw.config.hop_tables import HopTable, JunkThere, LmtpTable, SmtpTable
from mailgw.config.shaping import shaping
from mailgw.deliver.smtp_settings import Secret, SmtpSettings, Socks5, TlsMode, password_in
from mailgw.net.server_tls import CertificateFiles, certificate_faults

IMPLICIT_TLS_PORT = 465  # RFC 8314 s7.3; some relays have used it for SMTP over TLS since 1997
SUBMISSION_PORT = 587  # RFC 6409 s3.1


def next_hop(table: SmtpTable | LmtpTable, folder: str, hostname: str) -> SmtpSettings:
    hosts = tuple(
        f"unix:{os.path.join(folder, host.removeprefix('unix:'))}" if host.startswith("unix:") else host
        for host in table.hosts
    )
    is_lmtp = isinstance(table, LmtpTable)
    if not is_lmtp and any(host.startswith("unix:") for host in hosts):
        table.spot.inner("hosts").fault('a Unix socket is for type = "lmtp"')
    if isinstance(table, SmtpTable) and table.mta_sts and {"mta_sts", "hosts"} <= table.given:
        table.spot.inner("mta_sts").fault("is for domains that are found by MX: expected no hosts beside it")
    mode = _tls_mode(table, hosts)
    hello_name = table.hello_name or hostname
    ca_file = None
    if table.ca_file is not None:
        ca_file = os.path.join(folder, table.ca_file)
        _readable(table, "ca_file", ca_file)
    own = _own_certificate(table, folder)
    return SmtpSettings(
        hosts=hosts,
        lmtp=is_lmtp,
        tls=mode,
        mta_sts=isinstance(table, SmtpTable) and not hosts and table.mta_sts,
        username=table.username,
        password=_password(table, folder, hosts, mode),
        password_file=None if table.password_file is None else os.path.join(folder, table.password_file),
        hello_name=hello_name,
        concurrency=table.concurrency,
        messages_per_session=table.messages_per_session,
        recipients_per_transaction=table.recipients_per_transaction,
        check_domains=_check_domains(table),
        sign=table.sign,
        seal=table.seal,
        marks_junk=table.junk is JunkThere.MARK,
        shaping=shaping(table, hosts, hello_name),
        socks5=_socks5(table, folder, hosts),
        ca_file=ca_file,
        client_certificate=own.certificate if own is not None else None,
        client_key=own.private_key if own is not None else None,
        idle_seconds=table.idle_timeout,
        connect_seconds=table.connect_timeout,
        greeting_seconds=table.greeting_timeout,
        hello_seconds=table.hello_timeout,
        mail_seconds=table.mail_timeout,
        rcpt_seconds=table.rcpt_timeout,
        data_init_seconds=table.data_init_timeout,
        data_block_seconds=table.data_block_timeout,
        data_end_seconds=table.data_end_timeout,
    )


def _check_domains(table: HopTable) -> bool:
    if table.check_domains and "check_domains" in table.given and "hosts" in table.given:
        table.spot.inner("check_domains").fault("is for servers found by MX: given hosts are not asked about domains")
    return table.check_domains


def _tls_mode(table: HopTable, hosts: tuple[str, ...]) -> TlsMode:
    """The written one; else implicit for port 465, verify where a login leaves this machine, else opportunistic."""
    if table.tls is not None:
        if table.tls is TlsMode.IMPLICIT and not hosts:
            table.spot.inner("tls").fault('"implicit" needs hosts: servers found by MX speak STARTTLS')
        return table.tls
    implicit = [host.endswith(f":{IMPLICIT_TLS_PORT}") for host in hosts]
    if any(implicit) and not all(implicit):
        table.spot.inner("hosts").fault("port 465 beside others: say which tls they want, or make two backends")
    if implicit and all(implicit):
        return TlsMode.IMPLICIT
    # A password is worth more than one message: nobody in between shall be able to ask for it.
    if table.username is not None and not all(map(values.is_loopback, hosts)):
        return TlsMode.VERIFY
    return TlsMode.OPPORTUNISTIC


def _own_certificate(table: HopTable, folder: str) -> CertificateFiles | None:
    """What is shown to servers that ask for a certificate."""
    if table.client_certificate is None and table.client_key is None:
        return None
    if table.client_certificate is None or table.client_key is None:
        words = ("client_certificate", "client_key")
        given, lacking = words if table.client_certificate is not None else words[::-1]
        table.spot.inner(given).fault(f"needs {lacking}, too")
        return None
    files = CertificateFiles(os.path.join(folder, table.client_certificate), os.path.join(folder, table.client_key))
    for key, why in certificate_faults(files).items():
        table.spot.inner({"certificate": "client_certificate", "private_key": "client_key"}[key]).fault(why)
    return files


def _password(table: HopTable, folder: str, hosts: tuple[str, ...], mode: TlsMode) -> Secret | None:
    """The first line of ``password_file``."""
    if table.username is None and table.password_file is None:
        return None
    if table.username is None or table.password_file is None:
        given, lacking = ("username", "password_file") if table.username is not None else ("password_file", "username")
        table.spot.inner(given).fault(f"needs {lacking}, too")
        return None
    if not hosts and "hosts" not in table.given:
        table.spot.inner("username").fault("needs hosts: a login is for servers that you name")
    if mode is TlsMode.NEVER and not all(values.is_loopback(host) for host in hosts):
        table.spot.inner("tls").fault('"never" would show the password to the network: expected "verify"')
    return Secret(_first_line(table, "password_file", os.path.join(folder, table.password_file)))


def _socks5(table: HopTable, folder: str, hosts: tuple[str, ...]) -> Socks5 | None:
    username, file = table.socks5_username, table.socks5_password_file
    if table.socks5 is None:
        for key in ("socks5_username", "socks5_password_file"):
            if getattr(table, key) is not None and "socks5" not in table.given:
                table.spot.inner(key).fault("needs socks5, too")
        return None
    if any(host.startswith("unix:") for host in hosts):
        table.spot.inner("socks5").fault("no proxy leads to a Unix socket")
    elif any(values.is_loopback(host) for host in hosts):
        table.spot.inner("socks5").fault("no proxy leads to hosts of this machine")
    if table.source:
        table.spot.inner("socks5").fault("servers see the proxy's address: expected no [[source]] beside it")
    if (username is None) != (file is None):
        keys = ("socks5_username", "socks5_password_file")
        given, lacking = keys if file is None else keys[::-1]
        table.spot.inner(given).fault(f"needs {lacking}, too")
    word = ""
    if file is not None:
        word = _first_line(table, "socks5_password_file", os.path.join(folder, file))
    # RFC 1929 s2: one octet says how long each is
    for key, text in (("socks5_username", username or ""), ("socks5_password_file", word)):
        if len(text.encode("utf-8")) > 255:
            table.spot.inner(key).fault("expected at most 255 octets (RFC 1929)")
    host, _, port = table.socks5.rpartition(":")
    return Socks5(host.strip("[]"), int(port), username, None if username is None else Secret(word))


def _first_line(table: HopTable, key: str, path: str) -> str:
    octets = _readable(table, key, path)
    word = password_in(octets or b"")
    if octets is not None and not word:
        table.spot.inner(key).fault(f"{path}: expected the password in its first line")
    return word


def _readable(table: HopTable, key: str, path: str) -> bytes | None:
    try:
        with open(path, "rb") as opened:
            return opened.read(1 << 20)
    except OSError as fault:
        table.spot.inner(key).fault(f"{path}: cannot be read: {fault.strerror}")
        return None
