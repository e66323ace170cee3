"""The whole gateway in this process: on the loopback, from a socket to a Maildir; in memory, where sockets say no more;
and its faults at the start."""

import hashlib
import json
import smtplib
import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import attrs
import pytest
import pytest_twisted
import scramp
import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, capturedLogs, formatEvent, globalLogPublisher

from mailgw.access import schemes
from mailgw.access.schemes import SALT_OCTETS, make_hash
from mailgw.config.load import load
from mailgw.config.settings import Config
from mailgw.config.trial import self_signed
from mailgw.mail.errors import ConfigError, TemporaryFault
from mailgw.mail.message import Query, QueueRow
from mailgw.mail.rate import Rate
from mailgw.service import MailGateway
from mailgw.testing import Answer, Gateway, assert_answered
from mailgw.testing.pytest_plugin import mailgw_gateway
from tests.logged import LoggedFailures

__all__ = ["mailgw_gateway"]  # the fixture: the plugin is off here, see pyproject.toml

CONFIGURATION = """
hostname = "mx.example.org"
state = "state"
[tls]
certificate = "cert.pem"
private_key = "key.pem"
[accounts]
passwd_file = "passwd"
[[listen]]
role = "mx"
endpoint = "tcp:0:interface=127.0.0.1"
[[listen]]
role = "submission"
endpoint = "tcp:0:interface=127.0.0.1"
[[listen]]
role = "submissions"
endpoint = "tcp:0:interface=127.0.0.1"
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[[route]]
recipients = ["*"]
backend = "nowhere"
[backend.mailboxes]
type = "maildir"
path = "mail/{domain}/{local_part}"
[backend.nowhere]
type = "python:tests.test_service:Nowhere"
"""


ACCOUNTS = {"alice@example.org": "wonder", "bob@example.org": "builder"}
Make = Callable[..., Gateway]


def as_alice(gateway: Gateway, sender: str, recipient: str) -> Answer:
    """A message of hers, in memory."""
    return gateway.receive(b"Subject: hi\n\nbody\n", sender=sender, to=[recipient], login="alice@example.org")


class Nowhere:
    """A backend that raises."""

    concurrency = 1

    def lane(self, recipient: object) -> str:
        return ""

    async def refusal(self, recipient: object) -> None:
        return None

    async def deliver(self, message: object, recipients: object) -> object:
        raise OSError("nowhere to go")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificate, key = self_signed("mx.example.org")
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "passwd").write_text("alice@example.org:{PLAIN}wonder\nbob@example.org:{PLAIN}builder\n")
    (tmp_path / "mail").mkdir()
    (tmp_path / "mailgw.toml").write_text(CONFIGURATION)
    return tmp_path


@pytest_twisted.async_yield_fixture
async def running(folder: Path) -> AsyncIterator[MailGateway]:
    gateway = start(load(str(folder / "mailgw.toml")))
    yield gateway
    await gateway.stopService()


def start(config: Config) -> MailGateway:
    gateway = MailGateway(config, reactor)
    gateway.privilegedStartService()
    gateway.startService()
    return gateway


def ports(gateway: MailGateway) -> list[int]:
    return [port.getHost().port for port in gateway._ports]


def mails(folder: Path, name: str) -> list[bytes]:
    return [file.read_bytes() for file in (folder / "mail/example.org" / name / "new").glob("*")]


async def until(is_so: Callable[[], object], tries: int = 500) -> None:
    """Let the reactor run until it is so; turns of a hundredth of a second, since other threads work for it."""
    for _ in range(tries):
        if is_so():
            return
        turn: Deferred[None] = Deferred()
        reactor.callLater(0.01, turn.callback, None)  # type: ignore[attr-defined]
        await turn
    raise AssertionError("it did not become so")


async def waiting(gateway: MailGateway) -> Sequence[QueueRow]:
    return await gateway.spool.search(Query(), 10)


def submit(port: int, sender: str, recipient: str, implicit: bool) -> None:
    context = ssl._create_unverified_context()
    kind = smtplib.SMTP_SSL if implicit else smtplib.SMTP
    arguments = {"context": context} if implicit else {}
    with kind("127.0.0.1", port, timeout=10, **arguments) as client:  # type: ignore[arg-type]
        if not implicit:
            client.starttls(context=context)
        client.login("alice@example.org", "wonder")
        client.sendmail(sender, [recipient], b"Subject: hi\r\n\r\nbody\r\n")


@pytest_twisted.ensureDeferred
async def test_a_stranger_s_mail_reaches_the_maildir(running: MailGateway, folder: Path) -> None:
    def send() -> None:
        with smtplib.SMTP("127.0.0.1", ports(running)[0], timeout=10) as client:
            client.sendmail("x@elsewhere.test", ["Bob@Example.org"], b"Subject: hi\r\n\r\n.dot\r\n")

    await deferToThread(send)
    await until(lambda: mails(folder, "bob"))
    [mail] = mails(folder, "bob")
    assert mail.startswith(b"Return-Path: <x@elsewhere.test>\nDelivered-To: Bob@example.org\nReceived: from ")
    assert mail.endswith(b"\nSubject: hi\n\n.dot\n")


@pytest_twisted.ensureDeferred
async def test_a_reload_says_what_has_changed(running: MailGateway) -> None:
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    try:
        running.reload()
        await until(lambda: any(one.get("log_namespace") == "mailgw.reloading" for one in events))
    finally:
        globalLogPublisher.removeObserver(events.append)
    line, = map(formatEvent, events)
    assert line == "reloaded: nothing has changed in the configuration; the files that it names are read again"


def send_to(port: int, *words: str) -> None:
    """One message of Alice's, by a stranger's host; ``words`` are of RCPT, and all of them are taken."""
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.ehlo()
        client.mail("alice@example.org")
        for word in words:
            assert client.docmd(f"RCPT TO:{word}")[0] == 250
        assert client.data(b"Subject: hi\r\n\r\nbody\r\n")[0] == 250


@pytest_twisted.ensureDeferred
async def test_an_alias_comes_to_several_and_its_sender_hears_of_it(folder: Path) -> None:
    (folder / "mailgw.toml").write_text(CONFIGURATION + '[aliases]\nfile = "aliases"\n')
    (folder / "aliases").write_text(
        "team@example.org crew@example.org, Bob@example.org\ncrew@example.org bob@example.org, carl@example.org\n"
        "carl@example.org d@example.org\n@example.org alice@example.org\n"
    )
    gateway = start(load(str(folder / "mailgw.toml")))
    try:
        port = ports(gateway)[0]
        await deferToThread(send_to, port, "<team@example.org> NOTIFY=SUCCESS")
        await until(lambda: len(mails(folder, "bob")) == 1 and len(mails(folder, "alice")) == 2)
        [report] = [mail for mail in mails(folder, "alice") if b"Action: expanded\n" in mail]
        assert b"\nFinal-Recipient: rfc822; team@example.org\nAction: expanded\nStatus: 2.1.5\n" in report

        changed = folder / "changed"
        changed.write_text("team@example.org bob@example.org, alice@example.org, ann\n")
        changed.rename(folder / "aliases")
        with capturedLogs() as logs:
            gateway.reload()
            await until(lambda: "aliases stay as they were" in " ".join(map(str, map(formatEvent, logs))))
        (folder / "aliases").write_text("team@example.org alice@example.org\n")
        with capturedLogs() as logs:
            gateway.reload()
            await until(lambda: "was read again: 1 aliases" in " ".join(map(str, map(formatEvent, logs))))
        await deferToThread(send_to, port, "<team@example.org> NOTIFY=SUCCESS")
        await until(lambda: len(mails(folder, "alice")) == 4)
        [told] = [mail for mail in mails(folder, "alice") if b"\nAction: delivered\n" in mail]
        assert b"\nOriginal-Recipient: rfc822; team@example.org\nFinal-Recipient: rfc822; alice@example.org\n" in told
        assert len(mails(folder, "bob")) == 1
    finally:
        await gateway.stopService()


@pytest_twisted.ensureDeferred
async def test_aliases_that_went_bad_after_the_check_are_said_line_by_line(folder: Path) -> None:
    (folder / "mailgw.toml").write_text(CONFIGURATION + '[aliases]\nfile = "aliases"\n')
    (folder / "aliases").write_text("")
    gateway = MailGateway(load(str(folder / "mailgw.toml")), reactor)
    (folder / "aliases").write_text("a\nb\n")
    with pytest.raises(ExceptionGroup) as raised:
        gateway.startService()
    assert [fault.line for fault in raised.value.exceptions if isinstance(fault, ConfigError)] == [1, 2]
    await until(lambda: not gateway._ports)


@pytest.mark.parametrize("implicit", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_login_submits_over_tls(running: MailGateway, folder: Path, implicit: bool) -> None:
    await deferToThread(submit, ports(running)[2 if implicit else 1], "alice@example.org", "bob@example.org", implicit)
    await until(lambda: mails(folder, "bob"))
    [mail] = mails(folder, "bob")
    assert b"with ESMTPSA id " in mail
    assert b"(using TLSv1." in mail
    assert b"\n\ttls TLS_" in mail
    assert b"\nMessage-ID: <" in mail
    assert b"\nDate: " in mail


def scram_plus(client: smtplib.SMTP_SSL, shown: bytes) -> tuple[int, bytes]:
    """Log in bound to the certificate that was shown; the last answer."""
    bound = ("tls-server-end-point", hashlib.sha256(shown).digest())
    scram = scramp.ScramClient(["SCRAM-SHA-256-PLUS"], "carol@example.org", "pencil", channel_binding=bound)
    _, told = client.docmd("AUTH SCRAM-SHA-256-PLUS", b64encode(scram.get_client_first().encode()).decode())
    scram.set_server_first(b64decode(told).decode())
    code, told = client.docmd(b64encode(scram.get_client_final().encode()).decode())
    if code != 334:
        return code, told
    scram.set_server_final(b64decode(told).decode())
    return client.docmd("")


@pytest_twisted.ensureDeferred
async def test_scram_and_certificates_over_a_socket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "_SCRAM_OURS", 4096)  # the client goes through them in Python
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("bob@example.org").private_key_and_cert_chain_pem.write_to_path(str(folder / "bob.pem"))
    carol = f"carol@example.org:{make_hash(b'pencil', b's' * SALT_OCTETS, 'SCRAM-SHA-256')}\n"
    (folder / "passwd").write_text((folder / "passwd").read_text() + carol)
    text = CONFIGURATION.replace('private_key = "key.pem"\n', 'private_key = "key.pem"\nclient_ca = "ca.pem"\n')
    (folder / "mailgw.toml").write_text(text)
    gateway = start(load(str(folder / "mailgw.toml")))
    port = ports(gateway)[2]

    def log_in() -> tuple[list[str], list[int]]:
        context = ssl._create_unverified_context()
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=10, context=context) as client:
            client.ehlo("client.example")
            offers = [client.esmtp_features["auth"].strip()]
            shown = client.sock.getpeercert(True)  # type: ignore[union-attr]
            codes = [scram_plus(client, shown + b"of another")[0], scram_plus(client, shown)[0]]
        context.load_cert_chain(folder / "bob.pem")
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=10, context=context) as client:
            client.ehlo("client.example")
            offers.append(client.esmtp_features["auth"].strip())
            codes.append(client.docmd("AUTH EXTERNAL", "=")[0])
            client.sendmail("bob@example.org", ["carol@example.org"], b"Subject: hi\r\n\r\nbody\r\n")
        return offers, codes

    offers, codes = await deferToThread(log_in)
    assert offers == [
        "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN", "EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN",
    ]
    assert codes == [535, 235, 235]
    await until(lambda: mails(folder, "carol"))
    await gateway.stopService()


def test_a_passwd_file_that_went_bad_after_the_check_is_said_line_by_line(folder: Path) -> None:
    config = load(str(folder / "mailgw.toml"))
    (folder / "passwd").write_text("alice\nbob@example.org:{MD5}x\n")
    with pytest.raises(ExceptionGroup) as caught:
        start(config)
    lines = [str(fault).replace(f"{folder}/", "") for fault in caught.value.exceptions]
    assert lines[0] == "passwd:1: expected user@domain:{SCHEME}hash, found no colon"
    assert lines[1].startswith("passwd:2: bob@example.org: unknown password scheme {MD5}; known schemes: ")
    assert len(lines) == 2


def test_a_login_writes_to_whole_domains(mailgw_gateway: Make) -> None:
    named = '[[route]]\nrecipients = ["@intranet"]\nbackend = "out"\n[[route]]\nrecipients = ["*"]'
    text = CONFIGURATION.replace('[[route]]\nrecipients = ["*"]', named).replace('"nowhere"', '"out"')
    gateway = mailgw_gateway(text + '[backend.out]\ntype = "smtp"\nhosts = ["127.0.0.1:9"]\n', accounts=ACCOUNTS)
    assert_answered(as_alice(gateway, "alice@example.org", "bob@mail"), 553, "5.1.2")
    assert_answered(as_alice(gateway, "alice@example.org", "bob@intranet"), 250)


def test_a_login_sends_under_no_other_name(mailgw_gateway: Make) -> None:
    gateway = mailgw_gateway(CONFIGURATION, accounts=ACCOUNTS)
    assert_answered(as_alice(gateway, "bob@example.org", "bob@example.org"), 553, "5.7.1")


def test_a_login_sends_under_what_else_is_its_own(mailgw_gateway: Make) -> None:
    own = '[[sender]]\nlogin = "alice@example.org"\nmay_send_as = ["@shop.example.org"]\n'
    gateway = mailgw_gateway(CONFIGURATION + own, accounts=ACCOUNTS)
    for sender in ("alice+tag@example.org", "sales@shop.example.org"):
        assert_answered(as_alice(gateway, sender, "bob@example.org"), 250)
    assert_answered(as_alice(gateway, "bob+tag@example.org", "bob@example.org"), 553, "5.7.1")
    assert len(gateway.mailbox("bob@example.org")) == 2


@pytest_twisted.ensureDeferred
async def test_the_journal_tells_the_way_of_a_message(running: MailGateway, folder: Path) -> None:
    await deferToThread(submit, ports(running)[1], "alice@example.org", "bob@example.org", False)
    await until(lambda: mails(folder, "bob"))
    journal = folder / "state/journal.jsonl"
    await until(lambda: journal.exists() and '"delivered"' in journal.read_text())
    lines = [json.loads(line) for line in (folder / "state/journal.jsonl").read_text().splitlines()]
    names = [line["event"] for line in lines]
    assert names[:4] == ["started", "connected", "tls", "login"]
    assert {"queued", "delivered"} <= set(names)
    assert "wonder" not in (folder / "state/journal.jsonl").read_text()


def test_a_backend_that_raises_leaves_the_message_in_the_queue(
    mailgw_gateway: Make, logged_failures: LoggedFailures
) -> None:
    gateway = mailgw_gateway(CONFIGURATION, accounts=ACCOUNTS)
    as_alice(gateway, "alice@example.org", "x@elsewhere.test")
    gateway.assert_queued(to="x@elsewhere.test", reason="OSError")
    assert [type(fault) for fault in logged_failures.take()] == [OSError]


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_said_and_nothing_is_left(running: MailGateway, folder: Path) -> None:
    taken = ports(running)[0]
    (folder / "second.toml").write_text(
        CONFIGURATION.replace('"state"', '"other"').replace("tcp:0:", f"tcp:{taken}:", 1)
    )
    second = MailGateway(load(str(folder / "second.toml")), reactor)
    with pytest.raises(TemporaryFault, match=r"in use: cannot listen on tcp:\d+"):
        second.privilegedStartService()
    assert not second._ports
    assert not (folder / "other/spool").exists()


@pytest_twisted.ensureDeferred
async def test_a_state_that_another_gateway_has_is_said_and_nothing_is_left(running: MailGateway, folder: Path) -> None:
    second = MailGateway(load(str(folder / "mailgw.toml")), reactor)
    with pytest.raises(TemporaryFault, match="another"):
        second.startService()
    await until(lambda: not second._ports)
    assert (folder / "state/control.sock").exists()


@pytest_twisted.ensureDeferred
async def test_a_key_that_went_after_the_check_is_said(folder: Path) -> None:
    gateway = MailGateway(load(str(folder / "mailgw.toml")), reactor)
    (folder / "key.pem").unlink()
    with pytest.raises((TemporaryFault, ConfigError), match=r"key\.pem: No such file"):
        gateway.startService()
    await until(lambda: not gateway._ports)


@pytest_twisted.ensureDeferred
async def test_a_message_that_waits_survives_a_restart(folder: Path, logged_failures: object) -> None:
    first = start(load(str(folder / "mailgw.toml")))
    await deferToThread(submit, ports(first)[1], "alice@example.org", "x@elsewhere.test", False)
    await first.stopService()
    (folder / "mailgw.toml").write_text(CONFIGURATION.replace('backend = "nowhere"', 'backend = "mailboxes"'))
    second = start(load(str(folder / "mailgw.toml")))
    rows = await waiting(second)
    assert [row.recipient for row in rows] == ["x@elsewhere.test"]
    await second.stopService()
    logged_failures.take()  # type: ignore[attr-defined]


def test_the_postmaster_gets_his_mail_without_an_account(mailgw_gateway: Make) -> None:
    gateway = mailgw_gateway(CONFIGURATION, accounts=ACCOUNTS)
    for path in ("Postmaster", "postmaster@example.org", "postmaster@mx.example.org"):
        assert_answered(gateway.receive(b"Subject: help\n\nbody\n", sender="x@elsewhere.test", to=[path]), 250)
    assert len(gateway.mailbox("postmaster@example.org")) == 3


# --- LMTP on a Unix socket ----------------------------------------------------------------------------------

def by_lmtp(path: Path, recipients: Sequence[str]) -> list[str]:
    """The codes of all answers (smtplib's LMTP reads but one for a message)."""
    commands = ["LHLO front.example", "MAIL FROM:<carol@example.net>", *(f"RCPT TO:<{r}>" for r in recipients), "DATA"]
    content = "Subject: over a socket\r\n\r\nhello\r\n.\r\nQUIT\r\n"
    with socket.socket(socket.AF_UNIX) as client, client.makefile("r", newline="\r\n") as said:
        client.settimeout(20)
        client.connect(str(path))
        codes = []
        client.sendall("".join(f"{command}\r\n" for command in commands).encode())
        for line in said:
            if line[3] == " ":
                codes.append(line[:3])
            if line.startswith("354"):
                client.sendall(content.encode())
    return codes


@pytest_twisted.ensureDeferred
async def test_lmtp_over_a_unix_socket(folder: Path) -> None:
    socket_file = folder / "lmtp.sock"
    (folder / "mailgw.toml").write_text(
        CONFIGURATION + '[[listen]]\nrole = "lmtp"\nendpoint = "unix:lmtp.sock:mode=600"\n'
    )
    gateway = start(load(str(folder / "mailgw.toml")))
    try:
        assert socket_file.stat().st_mode & 0o777 == 0o600
        everybody = ["alice@example.org", "nobody@example.org", "bob@example.org", "dave@elsewhere.example"]
        codes = await deferToThread(by_lmtp, socket_file, everybody)
        await until(lambda: mails(folder, "alice") and mails(folder, "bob"))
    finally:
        await gateway.stopService()
    # Who comes by a Unix socket hands in mail for what is routed, and relays nothing.
    assert codes == ["220", "250", "250", "250", "550", "250", "550", "354", "250", "250", "221"]
    [mail] = mails(folder, "alice")
    assert b"Received: from front.example (local)\n\tby mx.example.org with LMTP id " in mail
    assert not socket_file.exists()


LIMITS = """
[limits]
message_octets = 1001
command_line_octets = 1002
recipients = 103
messages_per_session = 104
errors = 105
quick_errors = 6
idle_commands = 107
sessions = 108
crowded_timeout = "29s"
sessions_per_address = 9
sessions_per_network = 10
connections_per_address = "11/1m"
messages_per_address = "12/1m"
messages_per_login = "13/1m"
logins_per_address = "14/1m"
logins_per_login = "15/1m"
login_failures_per_address = 16
login_failures_per_network = 17
login_failures_per_login = 18
lockout = "19s"
longest_lockout = "20s"
command_timeout = "21s"
data_timeout = "22s"
handshake_timeout = "23s"
transaction_timeout = "24s"
slowest_octets_per_second = 25
error_delay = "26s"
greeting_delay = "27s"
reverse_name_timeout = "28s"
[aliases]
file = "aliases"
recipients = 30
"""


@pytest_twisted.ensureDeferred
async def test_each_limit_gets_to_its_place(folder: Path) -> None:
    (folder / "mailgw.toml").write_text(CONFIGURATION + LIMITS)
    (folder / "aliases").touch()
    config = load(str(folder / "mailgw.toml"))
    gateway = start(config)
    try:
        factory = gateway._gates[0].inner
        assert factory is not None
        dialog = factory.dialog_settings
        assert [
            dialog.message_octets, dialog.command_line_octets, dialog.recipients, dialog.messages,
            dialog.errors_per_session, dialog.quick_errors, dialog.idle_commands,
        ] == [1001, 1002, 103, 104, 105, 6, 107]
        assert attrs.astuple(config.limits.counters, recurse=False) == (
            9, 10, Rate(11, 60.0), Rate(12, 60.0), Rate(13, 60.0), Rate(14, 60.0), Rate(15, 60.0)
        )
        assert attrs.astuple(config.limits.lockout) == (16, 17, 18, 19.0, 20.0)
        limits = factory.settings.time_limits
        assert [
            limits.command, limits.data_block, limits.handshake, limits.transaction, limits.octets_per_second,
            limits.error_delay, limits.greeting_delay, config.limits.reverse_name_seconds,
        ] == [21.0, 22.0, 23.0, 24.0, 25, 26.0, 27.0, 28.0]
        assert factory.settings.alias_recipients == 30
        assert (config.limits.sessions, config.limits.crowded_seconds) == (108, 29.0)
        assert factory.settings.trusted_clients == config.trusted_clients
    finally:
        await gateway.stopService()


def test_inside_another_application_a_gateway_is_one_process(folder: Path) -> None:
    file = folder / "mailgw.toml"
    file.write_text("workers = 2\n" + file.read_text())
    gateway = MailGateway(load(str(file)), reactor)
    with pytest.raises(ConfigError, match="workers: several processes are for twistd mailgw alone"):
        gateway.startService()
    assert not (folder / "state").exists()
