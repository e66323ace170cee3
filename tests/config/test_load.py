import os
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from mailgw.access.oauth_settings import OAuthSettings
from mailgw.config import load as loading
from mailgw.config.backend_tables import BACKEND_TYPES
from mailgw.config.plugin import make_plugin, member_fault
from mailgw.config.python_tables import APP, EXPECTED, TWISTED
from mailgw.config.settings import ListenSettings, PythonSettings
from mailgw.config.where import config_faults
from mailgw.deliver.maildir import Known, MaildirSettings
from mailgw.deliver.smtp_settings import Secret, Shaping, SmtpSettings, TlsMode
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import Role
from mailgw.mail.errors import ConfigError
from mailgw.net.server_tls import CertificateFiles
from mailgw.queue.schedule import RetrySettings
from mailgw.wire.content import BareLineEnds, ContentRules
from tests.config.making import SMALL, Backend, faults_of, loaded, make_certificate, make_encrypted_key
from tests.tables import each

TLS = '[tls]\ncertificate = "fullchain.pem"\nprivate_key = "privkey.pem"\n'
RELAY = SMALL + "[backend.b]\ntype = 'smtp'\n"
LOGIN = "username = 'a'\npassword_file = 'word'\n"
ACCOUNTS = '[accounts]\npasswd_file = "passwd"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("etc")
    make_certificate(folder)
    make_certificate(folder, "other-")
    (folder / "passwd").write_text("user@example.org:{PLAIN}secret\n")
    make_encrypted_key(folder / "encrypted.pem")
    (folder / "word").write_text("s3cret\nsecond line\n")
    (folder / "empty").write_text("")
    return folder


@pytest.fixture
def file(folder: Path) -> Iterator[Path]:
    file = folder / "mailgw.toml"
    yield file
    file.unlink(missing_ok=True)


def test_a_route_has_the_schedule_of_all_but_for_what_it_says(file: Path) -> None:
    own = "schedule = ['1m', '5m']\ngive_up_after = '1d'\n[backend.mailboxes]"
    file.write_text(SMALL.replace("[backend.mailboxes]", own, 1) + "[retry]\nwarn_after = '2h'\njitter = 0.0\n")
    config = loaded(file)
    assert config.routes[0].retry == RetrySettings((60.0, 300.0), 7200.0, 86400.0, 0.0)
    assert config.retry.schedule[0] == 300.0
    assert config.spool.late_seconds == 7200.0, "nothing is to be said of a message before"


def test_the_smallest(file: Path) -> None:
    file.write_text(SMALL)
    config = loaded(file)
    assert config.file == str(file)
    assert config.state == str(file.parent / "state")
    assert config.control == f"{config.state}/control.sock"
    assert config.spool.folder == f"{config.state}/spool"
    assert config.journal.path == f"{config.state}/journal.jsonl"
    assert (config.postmaster, config.postmaster_is_set) == (Mailbox("postmaster", "example.org"), False)
    assert config.listeners == (ListenSettings(Role.MX, "tcp:25", (), None),)
    assert (config.tls.certificates, config.passwd_file) == ({}, None)
    assert config.trusted_clients == (ip_network("127.0.0.0/8"), ip_network("::1"))
    assert config.limits.message_octets == config.limits.chunk_octets == 52428800
    assert config.limits.content == ContentRules(1 << 20, 256 << 10, BareLineEnds.REFUSE)
    assert config.retry.schedule == (300, 900, 1800, 3600, 7200, 14400)
    assert (config.retry.warn_after, config.retry.give_up_after) == (14400, 432000)
    assert not os.path.exists(config.state), "loading writes nothing"


def test_everything(file: Path) -> None:
    file.write_text(
        'postmaster = "Admin@example.org"\ntrusted_clients = []\n' + SMALL.replace(
            'endpoint = "tcp:25"', 'endpoint = "tcp:25"\nrelay_from = ["10.0.0.0/8", "2001:db8::/32"]'
        ) + TLS + ACCOUNTS + """
[tls.shop]
certificate = "other-fullchain.pem"
private_key = "other-privkey.pem"
client_ca = "fullchain.pem"
[[listen]]
role = "submissions"
endpoint = "tcp:465"
tls = "shop"
proxy_protocol_from = ["10.0.0.5", "2001:db8::/64"]
[[listen]]
role = "lmtp"
endpoint = "unix:lmtp.sock"
proxy_protocol_from = ["local"]
xclient_from = ["local"]
[backend.smarthost]
type = "smtp"
hosts = ["smtp.example.net:465", "[2001:db8::1]:465"]
username = "me"
password_file = "word"
hello_name = "out.example.org"
connect_timeout = "3s"
ca_file = "fullchain.pem"
client_certificate = "other-fullchain.pem"
client_key = "other-privkey.pem"
[backend.internet]
type = "smtp"
tls = "encrypt"
[backend.dovecot]
type = "lmtp"
hosts = ["unix:run/lmtp", "127.0.0.1"]
[backend.own]
type = "python:tests.config.making:Backend"
colour = "red"
[limits]
message_octets = "1KiB"
chunk_octets = 1000
header_octets = 500
content_line_octets = 1000
reserve_octets = "2KiB"
stop_timeout = "1s"
attempt_timeout = "2s"
[content]
bare_line_ends = "normalise"
[retry]
schedule = ["1s", "2s"]
jitter = 0
[journal]
path = "-"
[dns]
servers = ["127.0.0.1"]
"""
    )
    config = loaded(file)
    etc = str(file.parent)
    assert (config.postmaster, config.postmaster_is_set) == (Mailbox("Admin", "example.org"), True)
    assert config.trusted_clients == ()
    assert config.tls.certificates == {
        "": CertificateFiles(f"{etc}/fullchain.pem", f"{etc}/privkey.pem"),
        "shop": CertificateFiles(f"{etc}/other-fullchain.pem", f"{etc}/other-privkey.pem", f"{etc}/fullchain.pem"),
    }
    assert config.listeners == (
        ListenSettings(Role.MX, "tcp:25", (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")), ""),
        ListenSettings(Role.SUBMISSIONS, "tcp:465", (), "shop", (ip_network("10.0.0.5"), ip_network("2001:db8::/64"))),
        ListenSettings(Role.LMTP, f"unix:{etc}/lmtp.sock", (), "", ("local",), ("local",)),
    )
    assert config.passwd_file == f"{etc}/passwd"
    assert config.backends["mailboxes"] == MaildirSettings(
        path=f"{etc}/mail/{{domain}}/{{local_part}}", recipients=Known.ANY, delimiter="+", concurrency=64,
        junk=".Junk",
    )
    smarthost = config.backends["smarthost"]
    assert smarthost == SmtpSettings(
        hosts=("smtp.example.net:465", "[2001:db8::1]:465"), lmtp=False, tls=TlsMode.IMPLICIT, mta_sts=False,
        username="me", password=Secret("s3cret"), password_file=f"{etc}/word",
        hello_name="out.example.org", concurrency=20, messages_per_session=100, recipients_per_transaction=100,
        check_domains=True, sign=True, seal=True, marks_junk=False,
        shaping=Shaping((), (), (), None, 50, 500, None), socks5=None,
        ca_file=f"{etc}/fullchain.pem", client_certificate=f"{etc}/other-fullchain.pem",
        client_key=f"{etc}/other-privkey.pem", idle_seconds=5, connect_seconds=3, greeting_seconds=300,
        hello_seconds=300, mail_seconds=300, rcpt_seconds=300, data_init_seconds=120, data_block_seconds=180,
        data_end_seconds=600,
    )
    assert "s3cret" not in repr(config)
    assert isinstance(smarthost, SmtpSettings)
    assert config.backends["internet"] == attrs.evolve(
        smarthost, hosts=(), tls=TlsMode.ENCRYPT, mta_sts=True, username=None, password=None, password_file=None,
        hello_name="mx1.example.org", ca_file=None, client_certificate=None, client_key=None, connect_seconds=30,
    )
    dovecot = config.backends["dovecot"]
    assert isinstance(dovecot, SmtpSettings)
    assert (dovecot.hosts, dovecot.lmtp, dovecot.tls, dovecot.sign, dovecot.seal) == (
        (f"unix:{etc}/run/lmtp", "127.0.0.1:24"), True, TlsMode.OPPORTUNISTIC, False, False
    )
    own = config.backends["own"]
    assert isinstance(own, PythonSettings)
    assert vars(make_plugin(own)) == {"colour": "red", "concurrency": 4}
    assert (config.limits.message_octets, config.limits.stop_seconds, config.spool.lease_seconds) == (1024, 1, 4)
    assert config.limits.chunk_octets == 1000
    assert config.limits.content == ContentRules(1000, 500, BareLineEnds.NORMALISE)
    assert config.spool.reserve_octets == config.limits.reserve_octets == 2048
    assert (config.retry.schedule, config.retry.jitter) == ((1, 2), 0)
    assert config.journal.path == "-"
    assert (config.dns.servers, config.dns.validating) == (("127.0.0.1:53",), True)


def test_all_faults_at_once_each_with_its_line(file: Path) -> None:
    file.write_text(
        """hostname = "mx 1"
workerz = 1
postmaster = 5
[[listen]]
role = "submision"
endpoint = "tcp:587"
[[listen]]
role = "submission"
relay_fro = []
endpoint = "tcp:25:interface=127.0.0.1"
tls = "shoop"
[[listen]]
role = "mx"
endpoint = "tcp:25"
xclient_from = ["10.0.0.6/8"]
[[listen]]
role = "mx"
[tls.shop]
certificate = "fullchain.pem"
private_key = "other-privkey.pem"
[[route]]
recipients = ["@example.org", "example.org"]
backend = "mailbox"
[[route]]
recipients = []
backend = "internet"
[backend.mailboxes]
type = "maildir"
path = "/var/mail/{domain}/{local_part}"
[backend.internet]
type = "smpt"
[backend.own]
type = "python:no.such.module:Name"
[backend.relay]
type = "smtp"
hosts = ["smtp.example.net:465", "smtp.example.net:587"]
username = "me"
[backend.dovecot]
type = "lmtp"
[retry]
schedule = ["5m", "a while"]
[limits]
message_octets = 1.5
[journal]
path = "no-folder\\u0000"
[api]
endpoint = "tcp:8025"
[dns]
servers = "127.0.0.1"
"""
    )
    assert faults_of(file) == [
        "mailgw.toml:1: hostname: expected a host name such as \"mx1.example.org\", not 'mx 1'",
        "mailgw.toml:2: workerz: unknown key; did you mean 'workers'?",
        'mailgw.toml:3: postmaster: expected text ("…"), not 5',
        "mailgw.toml:5: listen.role: expected 'mx', 'submission', 'submissions', 'lmtp', not 'submision'; "
        "did you mean 'submission'?",
        "mailgw.toml:8: listen.role: a submission listener needs [accounts]",
        "mailgw.toml:9: listen.relay_fro: unknown key; did you mean 'relay_from'?",
        "mailgw.toml:11: listen.tls: there is no [tls.shoop]; did you mean 'shop'?",
        "mailgw.toml:14: listen.endpoint: cannot be bound beside another listener's 'tcp:25:interface=127.0.0.1'",
        'mailgw.toml:15: listen.xclient_from: expected a network such as "10.0.0.0/8" or "2001:db8::/32", not '
        "'10.0.0.6/8': bits are set right of the prefix",
        "mailgw.toml:16: listen.endpoint: is missing",
        "mailgw.toml:20: tls.shop.private_key: other-privkey.pem: does not belong to fullchain.pem",
        'mailgw.toml:22: route.recipients: expected "user@example.org", "@example.org", "@.example.org" '
        "(its subdomains) or \"*\", not 'example.org'; did you mean '@example.org'?",
        "mailgw.toml:23: route.backend: there is no [backend.mailbox]; did you mean 'mailboxes'?",
        'mailgw.toml:25: route.recipients: expected at least one, such as "@example.org"',
        'mailgw.toml:27: backend.mailboxes.recipients: "accounts" (the default) needs [accounts]; '
        'else expected "existing" or "any"',
        "mailgw.toml:31: backend.internet.type: not 'smpt'; did you mean 'smtp'?: expected "
        + ", ".join(f'"{kind}"' for kind in BACKEND_TYPES) + f', {APP}, {TWISTED}, {EXPECTED}',
        "mailgw.toml:33: backend.own.type: no.such.module cannot be imported: ModuleNotFoundError: "
        "No module named 'no'; put its folder on PYTHONPATH",
        "mailgw.toml:36: backend.relay.hosts: port 465 beside others: say which tls they want, or make two backends",
        "mailgw.toml:37: backend.relay.username: needs password_file, too",
        "mailgw.toml:38: backend.dovecot.hosts: is missing",
        "mailgw.toml:41: retry.schedule: expected a duration such as \"90s\", \"5m\", \"4h\" or \"5d\", not 'a while'",
        'mailgw.toml:43: limits.message_octets: expected a size, in octets or as "512KiB", "50MiB" or "1GiB", not 1.5',
        "mailgw.toml:45: journal.path: a NUL cannot be in it",
        "mailgw.toml:47: api.endpoint: tokens would go over the network in clear: say tls = …, or an interface of the "
        "loopback, such as interface=127.0.0.1",
        "mailgw.toml:49: dns.servers: expected a list, [ … ], not '127.0.0.1'",
    ]


@each(
    ("text", "fault"),
    [
        ('a = "x\n', "mailgw.toml:1: not TOML: Illegal character '\\n'; a closing quote is missing"),
        ("a = 'x\n", "not TOML: Expected \"'\" (at end of document); a closing quote is missing"),
        ("[a]\nb = 1\nb = 2\n", "mailgw.toml:3: not TOML: "),
        ('[[listen]]\nendpoint = "tcp:25:interface=\\:\\:"\n', "between single quotes a backslash is itself"),
        ("", "no [[listen]]: expected at least one listener"),
        (SMALL.replace("[[listen]]", "[listen]"), "mailgw.toml:4: listen: expected [[listen]], once for each"),
        (
            SMALL + TLS + ACCOUNTS + "[[listen]]\nrole = 'submission'\nendpoint = 'tcp:587'\nrelay_from = ['::1']\n",
            'listen.relay_from: is for role = "mx": who comes here has to log in',
        ),
        (SMALL.replace('"mx"', '"smtp"'), "'lmtp', not 'smtp'; did you mean 'mx'?"),
        (SMALL + "[limits]\ncontent_line_octets = 999\n", "content_line_octets: expected at least 1000 octets"),
        (SMALL + "[content]\nbare_line_ends = 'normalize'\n", "'refuse', 'normalise', not"),
        (SMALL + "[limits]\n[accounts]\npasswd_file = 'none'\n", "mailgw.toml:16: accounts.passwd_file: none does not"),
        (SMALL + "[accounts]\npasswd_file = 'word'\n", "word:1: expected user@domain:{SCHEME}hash"),
        (SMALL + "[accounts]\n", "mailgw.toml:14: accounts: expected passwd_file, dovecot_auth, [accounts.checker]"),
        (SMALL + TLS.replace("privkey", "none"), "tls.private_key: none.pem: No such file"),
        (SMALL + TLS.replace("fullchain", "none"), "tls.certificate: none.pem: No such file"),
        (SMALL + TLS.replace("fullchain.pem", "word"), "tls.certificate: word: not a PEM"),
        (SMALL + TLS.replace("privkey.pem", "encrypted.pem"), "tls.private_key: encrypted.pem: the key is encrypted; "),
        (SMALL + '[tls]\ncertificate = "fullchain.pem"', "tls.private_key: is missing"),
        ("tls = 5\n" + SMALL, "mailgw.toml:1: tls: expected a table, [tls], not 5"),
        ("dns = 5\n" + SMALL, "mailgw.toml:1: dns: expected a table, [dns], not 5"),
        ("trusted_clients = 5\n" + SMALL, "expected a list"),
        (SMALL.replace("[backend.mailboxes]", "[backend]"), "backend.type: expected a table"),
        ("backend = 5\n", "mailgw.toml:1: backend: expected tables, [backend.NAME], not 5"),
        (SMALL.replace('type = "maildir"\n', ""), "mailgw.toml:10: backend.mailboxes.type: is missing"),
        (SMALL.replace('"maildir"', '"python:os"'), "backend.mailboxes.type: expected \"python:package.module:Name\""),
        (SMALL + "[backend.b]\ntype = 'python:os:nothing'", "backend.b.type: os has no nothing"),
        (SMALL + "[backend.b]\ntype = 'python:os:sep'", "backend.b.type: os:sep cannot be called"),
        (SMALL + "[backend.b]\ntype = 'python:os:getcwd'\ncolour = 1", "backend.b.type: got an unexpected keyword"),
        (RELAY + "tls = 'implicit'", "backend.b.tls: \"implicit\" needs hosts"),
        (RELAY + "hosts = ['unix:/x']", "backend.b.hosts: a Unix socket is for"),
        (RELAY + "ca_file = 'none'", "backend.b.ca_file: none: cannot be read: No such"),
        (RELAY + "client_key = 'privkey.pem'", "backend.b.client_key: needs client_certificate, too"),
        (
            RELAY + "client_certificate = 'fullchain.pem'\nclient_key = 'other-privkey.pem'",
            "backend.b.client_key: other-privkey.pem: does not belong to fullchain.pem",
        ),
        (RELAY + LOGIN, "backend.b.username: needs hosts"),
        (RELAY + "hosts = ['a.example']\nmta_sts = true", "backend.b.mta_sts: is for domains that are found by MX"),
        (RELAY + "hosts = ['h:25']\ntls = 'never'\n" + LOGIN, 'backend.b.tls: "never" would show the password'),
        (
            RELAY + "hosts = ['h:25']\n" + LOGIN.replace("'word'", "'empty'"),
            "backend.b.password_file: empty: expected the password in its first line",
        ),
        (RELAY + "password_file = 'word'", "backend.b.password_file: needs username"),
        (SMALL.replace('"state"', '"word"'), "mailgw.toml:3: state: word: is not a folder"),
        (SMALL.replace('"state"', '"word/state"'), "mailgw.toml:3: state: word/state: word is not a folder"),
        (
            SMALL + '\n[limits]\nlockout = "2m"\nlongest_lockout = "119s"\n',
            "longest_lockout: is shorter than lockout, which every lock-out begins with",
        ),
        (SMALL.replace('"state"', f'"{"x" * 200}"'), "mailgw.toml:3: state: expected a shorter path"),
        (SMALL + "[journal]\npath = 'word/journal'", "journal.path: word/journal: word is not a folder"),
        (SMALL + "[journal]\npath = 'none/journal'", "journal.path: none/journal: none does not exist"),
        (SMALL + "[journal]\npath = '/etc'", "journal.path: /etc: is a folder"),
        (SMALL.replace('"state"', '"/proc/state"'), "mailgw.toml:3: state: /proc/state: /proc is on no disk"),
        (
            SMALL + ACCOUNTS + '[[sender]]\nlogin = "usr@example.org"\nmay_send_as = ["@example.org"]',
            "sender.login: usr@example.org has no account in passwd; did you mean 'user@example.org'?",
        ),
        (
            SMALL + ACCOUNTS + 2 * '[[sender]]\nlogin = "User@example.org"\nmay_send_as = ["*"]\n',
            "sender.login: User@example.org has a [[sender]] already",
        ),
        (SMALL + '[[sender]]\nlogin = "a@example.org"\nmay_send_as = ["*"]', "nobody can log in without [accounts]"),
        (SMALL + ACCOUNTS + '[[sender]]\nlogin = "*"\nmay_send_as = ["*"]', "sender.login: expected an address"),
        (SMALL + ACCOUNTS + '[[sender]]\nlogin = "user@example.org"\nmay_send_as = ["sales"]', 'expected "user@'),
        (SMALL.replace("tcp:25", "tcp:25:interface=localhost"), "not 'localhost'; say interface=127.0.0.1"),
        (SMALL.replace("tcp:25", "tcp:25:interface=ip6-localhost"), "say 'tcp:PORT:interface=\\:\\:1'"),
        (
            SMALL.replace('tcp:25"', 'unix:lmtp"\nproxy_protocol_from = ["local", "10.0.0.5"]'),
            'mailgw.toml:7: listen.proxy_protocol_from: who comes by a Unix socket has no address: expected "local"',
        ),
        (
            SMALL.replace('tcp:25"', 'tcp:25"\nproxy_protocol_from = ["10.0.0.5", "local"]'),
            'listen.proxy_protocol_from: "local" is who comes by a Unix socket, and this is a tcp: endpoint',
        ),
        (SMALL.replace('tcp:25"', 'tcp:25"\nproxy_protocol_from = ["lb"]'), "expected a network such as"),
        (SMALL.replace('tcp:25"', 'tcp:25"\nrelay_from = ["local"]'), "expected a network such as"),
        (SMALL.replace("tcp:25", "unix:none/lmtp"), "mailgw.toml:6: listen.endpoint: none/lmtp: none does not exist"),
        (SMALL.replace("tcp:25", "unix:word/lmtp"), "listen.endpoint: word/lmtp: word is not a folder"),
        (SMALL.replace("tcp:25", "unix:word"), "listen.endpoint: word: is there, and is no socket"),
        (SMALL.replace("tcp:25", f"unix:{'x' * 108}"), "expected a shorter path: at most 107 octets"),
        (SMALL + "[retry]\nschedule = []", "mailgw.toml:15: retry.schedule: "),
        (
            SMALL.replace("[backend.mailboxes]", "schedule = []\n[backend.mailboxes]", 1),
            "mailgw.toml:10: route.schedule: ",
        ),
        (
            SMALL.replace("[backend.mailboxes]", "warn_after = '6d'\n[backend.mailboxes]", 1),
            "mailgw.toml:10: route.warn_after: is longer than give_up_after",
        ),
        (SMALL + "[retry]\nwarn_after = '6d'", "mailgw.toml:15: retry.warn_after: is longer than give_up_after"),
        (
            SMALL + "[retry]\nwarn_after = '2h'\ngive_up_after = '1h'",
            "mailgw.toml:15: retry.warn_after: is longer than give_up_after",
        ),
        (SMALL + "[accounts]\npasswd_file = '.'", "mailgw.toml:15: accounts.passwd_file: .: cannot be read: Is a"),
        (
            SMALL + "[backend.b]\ntype = 'python:types:SimpleNamespace'",
            "backend.b.type: types:SimpleNamespace lacks concurrency, deliver, lane, refusal of mailgw.interfaces",
        ),
        (
            SMALL.replace('role = "mx"', 'role = "submission"') + ACCOUNTS + TLS.replace("[tls]", "[tls.shop]"),
            "mailgw.toml:4: listen: a submission listener needs a certificate: [tls] has none",
        ),
    ],
)
def test_one_fault(file: Path, text: str, fault: str) -> None:
    file.write_text(text)
    assert any(fault in said for said in faults_of(file)), faults_of(file)


def test_an_unusable_key_hides_no_other_fault_of_its_table(file: Path) -> None:
    file.write_text(
        SMALL + """[[listen]]
role = "mxx"
endpoint = "tcp:25"
[[listen]]
tls = "none"
[[route]]
recipients = "@a.test"
backend = "nosuch"
[[route]]
recipients = ["a.test"]
[backend.l]
type = "lmtp"
hosts = "unix:x"
username = "me"
[backend.m]
type = "maildir"
path = "/{nobody}"
[tls]
certificate = 5
private_key = "none"
"""
    )
    assert [fault.partition(" expected ")[0].partition("; ")[0] for fault in faults_of(file)] == [
        "mailgw.toml:15: listen.role:",
        "mailgw.toml:16: listen.endpoint: cannot be bound beside another listener's 'tcp:25'",
        "mailgw.toml:17: listen.role: is missing",
        "mailgw.toml:17: listen.endpoint: is missing",
        "mailgw.toml:18: listen.tls: there is no [tls.none]",
        "mailgw.toml:20: route.recipients:",
        "mailgw.toml:21: route.backend: there is no [backend.nosuch]",
        "mailgw.toml:22: route.backend: is missing",
        "mailgw.toml:23: route.recipients:",
        "mailgw.toml:26: backend.l.hosts:",
        "mailgw.toml:27: backend.l.username: needs password_file, too",
        'mailgw.toml:28: backend.m.recipients: "accounts" (the default) needs [accounts]',
        "mailgw.toml:30: backend.m.path: unknown {nobody}",
        "mailgw.toml:32: tls.certificate:",
        "mailgw.toml:33: tls.private_key: none: No such file or directory",
    ]


class Checker:
    """The least that is one, but that it lets nobody in."""

    credentialInterfaces = ()

    def __init__(self, url: str) -> None: ...

    def requestAvatarId(self, credentials: object) -> None: ...


LOGINS = '''
[accounts]
dovecot_auth = "unix:run/auth"
[accounts.oauth]
endpoint = "https://login.example.org/introspect"
client_id = "mailgw"
client_secret_file = "word"
scope = ["mail smtp", "x"]
ca_file = "fullchain.pem"
'''


def test_sources_of_logins(file: Path) -> None:
    file.write_text(SMALL + LOGINS)
    config = loaded(file)
    assert config.passwd_file is None
    assert config.logins.dovecot_auth == f"{file.parent}/run/auth"
    assert config.logins.checker is None
    oauth = config.logins.oauth
    assert oauth == OAuthSettings(
        "https://login.example.org/introspect", "mailgw", "s3cret", ("username", "email", "sub"),
        frozenset({"mail", "smtp", "x"}), "", f"{file.parent}/fullchain.pem",
    )
    file.write_text(SMALL + '[accounts.checker]\ntype = "python:tests.config.test_load:Checker"\nurl = "x"\n')
    config = loaded(file)
    assert config.logins.checker is not None
    assert (config.logins.checker.target, config.logins.checker.arguments) == (
        "tests.config.test_load:Checker", {"url": "x"},
    )


@each(("text", "fault"), [
    ("[accounts]\n", "accounts: expected passwd_file, dovecot_auth, [accounts.checker] or [accounts.oauth]"),
    ('[accounts]\ndovecot_auth = "/run/x"\n', "accounts.dovecot_auth: expected a socket such as"),
    ('[accounts]\nchecker = "python:a:B"\n', "accounts.checker: expected a table, [accounts.checker]"),
    ("[accounts.checker]\nx = 1\n", 'accounts.checker.type: is missing: expected "python:package.module:Name"'),
    ("[accounts.checker]\ntype = 'maildir'\n", "accounts.checker.type: not 'maildir': expected"),
    ("[accounts.checker]\ntype = 'python:x'\n", "accounts.checker.type: expected"),
    ("[accounts.checker]\ntype = 'python:no.such:X'\n", "accounts.checker.type: no.such cannot be imported"),
    ("[accounts.checker]\ntype = 'python:tests.config.test_load:Checker'\n", "accounts.checker.type: missing a req"),
    ("[accounts.checker]\ntype = 'python:builtins:dict'\n", "accounts.checker.type: builtins:dict lacks credentialInt"),
    ("[accounts]\ndovecot_auth = 'unix:x'\nchecker = {type = 'python:builtins:print'}\n",
     "accounts.checker: one judge of passwords is enough"),
    (LOGINS.replace('client_id = "mailgw"', ""), "accounts.oauth.client_id: is missing"),
    (LOGINS.replace("https:", "http:"), "accounts.oauth.endpoint: expected a URL such as"),
    (LOGINS.replace('"word"', '"nothing"'), "accounts.oauth.client_secret_file: nothing: cannot be read: No such file"),
    (LOGINS.replace('"word"', '"empty"'), "accounts.oauth.client_secret_file: empty: expected the secret in its first"),
    (LOGINS.replace("fullchain", "privkey"), "accounts.oauth.ca_file: privkey.pem: not a readable PEM file of certif"),
    (LOGINS + "[backend.m]\ntype = 'maildir'\npath = '/m/{local_part}'\n",
     'backend.m.recipients: "accounts" (the default) needs passwd_file in [accounts], which alone says who exists'),
])
def test_faults_of_sources_of_logins(file: Path, text: str, fault: str) -> None:
    file.write_text(SMALL + text)
    faults = faults_of(file)
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_certificate_and_a_key_have_a_fault_each(file: Path) -> None:
    file.write_text(SMALL + TLS.replace("fullchain", "none").replace("privkey.pem", "word"))
    assert faults_of(file) == [
        "mailgw.toml:15: tls.certificate: none.pem: No such file or directory; it must be readable by the user that "
        "mailgw runs as",
        "mailgw.toml:16: tls.private_key: word: not a PEM private key",
    ]


def test_a_file_that_is_not_text(file: Path) -> None:
    file.write_bytes(b"a = 1\nb = '\xff'\n")
    assert faults_of(file) == ["mailgw.toml:2: not TOML: it must be UTF-8"]


def test_the_message_of_all_faults_holds_each(file: Path) -> None:
    file.write_text("workerz = 1\n" + SMALL.replace("[[route]]", "[[rout]]"))
    with pytest.raises(ExceptionGroup) as caught:
        loading.load(str(file))
    first, *lines = str(caught.value).splitlines()[:-1]
    assert first == f"{file} cannot be used:"
    assert lines == [str(fault) for fault in config_faults(caught.value)]
    assert len(lines) == 3


def test_a_file_that_is_not_there(folder: Path) -> None:
    assert faults_of(folder / "none.toml") == ["none.toml: cannot be read: No such file or directory"]


def test_faults_come_in_the_order_of_the_lines_and_others_files_last(file: Path, folder: Path) -> None:
    file.write_text(SMALL.replace("hostname", "hostnam") + "[accounts]\npasswd_file = 'word'\n")
    assert [f.partition(":")[0] for f in faults_of(file)] == ["mailgw.toml", "word", "word"]


def test_a_machine_without_a_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "own_name", lambda: "my machine")
    file.write_text(SMALL.replace("hostname", "# hostname"))
    assert "hostname: is missing, and this machine's own name, 'my machine'" in faults_of(file)[0]
    monkeypatch.setattr(loading, "own_name", lambda: "box.example.org")
    assert loaded(file).hostname == "box.example.org"


def test_a_route_without_domains_leaves_the_postmaster_open(file: Path) -> None:
    file.write_text(SMALL.replace('"@example.org"', '"*"'))
    assert loaded(file).postmaster is None


def test_a_plugin_that_raises_or_is_no_backend_names_its_place(file: Path) -> None:
    file.write_text(SMALL + "[backend.b]\ntype = 'python:tests.config.making:Backend'\ncolour = 'red'\n")
    own = loaded(file).backends["b"]
    assert isinstance(own, PythonSettings)
    assert isinstance(make_plugin(own), Backend)
    for change, why in (
        ({"arguments": {"colour": ""}}, "tests.config.making:Backend raised ValueError: no colour"),
        ({"arguments": {"colour": "red", "concurrency": 0}}, "expected concurrency to be a whole number from 1, not 0"),
        ({"target": "os:getcwd", "arguments": {}}, "os:getcwd lacks concurrency, deliver, lane, refusal"),
        ({"target": "os:nothing"}, "os has no nothing"),
    ):
        with pytest.raises(ConfigError, match=rf"mailgw.toml:15: backend.b.type: .*{why}"):
            make_plugin(attrs.evolve(own, **change))


def test_what_only_an_instance_has_is_not_missed() -> None:
    class Annotated(Backend):
        concurrency: int

    class Set(Backend):
        def __init__(self) -> None:
            setattr(self, "concurrency", 4)  # noqa: B010 - as some do

    class Lacking:
        lane = refusal = deliver = Backend.lane

    @attrs.define
    class Slotted(Lacking):
        concurrency: int

    for kind in (Backend, Annotated, Set, Slotted, lambda: None):
        assert member_fault("m:X", kind) is None
    assert member_fault("m:X", Lacking) == "m:X lacks concurrency of mailgw.interfaces.IDeliveryBackend"


def test_a_short_give_up_alone_is_good(file: Path) -> None:
    file.write_text(SMALL + "[retry]\ngive_up_after = '1h'\n[journal]\npath = 'state/journal.jsonl'\n")
    assert loaded(file).retry.give_up_after == 3600
    file.write_text(SMALL + "[retry]\nwarn_after = '1'\ngive_up_after = '1h'\n")
    assert len(faults_of(file)) == 1


def test_several_workers_share_a_journal_and_divide_the_sessions(file: Path) -> None:
    file.write_text(SMALL)
    assert (loaded(file).workers, loaded(file).journal.is_shared) == (1, False)
    file.write_text("workers = 4" + SMALL + "[limits]\nsessions = 4\nsessions_per_address = 4\n")
    assert (loaded(file).workers, loaded(file).journal.is_shared) == (4, True)
    file.write_text("workers = 4" + SMALL + "[limits]\nsessions = 3\n")
    assert faults_of(file) == [
        "mailgw.toml:15: limits.sessions: is divided among 4 workers: expected one for each at least"
    ]
