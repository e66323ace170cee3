from ipaddress import ip_network
from pathlib import Path

import pytest

from mailgw.config import trial as trials
from mailgw.config.quick import QuickOptions, quick
from mailgw.config.settings import Config
from mailgw.config.where import config_faults
from mailgw.deliver.maildir import Known, MaildirSettings
from mailgw.deliver.smtp_settings import SmtpSettings, TlsMode
from mailgw.mail.envelope import Role
from tests.config.making import make_certificate
from tests.tables import each


@pytest.fixture(autouse=True)
def quick_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "make_hash", lambda password, salt: "{PLAIN}" + password.decode())


def made(tmp_path: Path, said: list[str] | None = None, /, **options: object) -> Config:
    given = QuickOptions(**options)  # type: ignore[arg-type]
    assert given.is_given
    return quick(given, str(tmp_path / "state"), (said if said is not None else []).append)


def faults(tmp_path: Path, **options: object) -> list[str]:
    with pytest.raises(ExceptionGroup) as caught:
        made(tmp_path, **options)
    return [str(fault) for fault in config_faults(caught.value)]


def routes(config: Config) -> list[tuple[tuple[str, ...], str]]:
    return [(tuple(route.patterns), route.backend) for route in config.routes]


def test_mail_of_a_domain_goes_to_maildirs(tmp_path: Path) -> None:
    config = made(tmp_path, domains=("example.org", "me@example.com"), mx=("tcp:25", r"tcp:26"), maildir="/var/mail")
    assert routes(config) == [(("@example.org", "me@example.com"), "mailboxes")]
    mailboxes = config.backends["mailboxes"]
    assert isinstance(mailboxes, MaildirSettings)
    assert (mailboxes.path, mailboxes.recipients) == ("/var/mail/{domain}/{local_part}", Known.ANY)
    assert [x.endpoint for x in config.listeners] == ["tcp:25", "tcp:26"]
    assert config.listeners[0].relay_from == (ip_network("127.0.0.0/8"), ip_network("::1"))
    assert not (tmp_path / "state").exists()


def test_a_gateway_before_another_server(tmp_path: Path) -> None:
    config = made(tmp_path, domains=("example.org",), relay="10.0.0.1", mx=("tcp:25",), hostname="mx.example.org")
    assert routes(config) == [(("@example.org",), "relay"), (("*",), "relay")]
    relay = config.backends["relay"]
    assert isinstance(relay, SmtpSettings)
    assert (relay.hosts, relay.tls, relay.hello_name) == (("10.0.0.1:25",), TlsMode.OPPORTUNISTIC, "mx.example.org")


@each(
    ("hostname", "is_told"), [("localhost", True), ("mx.example.org", False), ("[192.0.2.1]", False)],
)
def test_mail_that_goes_out_comes_from_a_name_with_a_domain(tmp_path: Path, hostname: str, is_told: bool) -> None:
    said: list[str] = []
    made(tmp_path, said, relay="10.0.0.1", mx=("tcp:25",), hostname=hostname)
    assert said == [
        "mailgw: many servers refuse mail from 'localhost', which has no domain; and bounces come from it: expected"
        " --hostname, such as mx1.example.org"
    ] * is_told
    made(tmp_path, said := [], domains=("example.org",), mx=("tcp:25",), hostname=hostname)
    assert said == []


def test_a_smart_host_for_this_machine(tmp_path: Path) -> None:
    config = made(tmp_path, relay="smtp.example.net:587", mx=("tcp:2525:interface=127.0.0.1",))
    assert routes(config) == [(("*",), "relay")]


def test_maildirs_below_the_state_and_a_path_of_ones_own(tmp_path: Path) -> None:
    mailboxes = made(tmp_path, domains=("example.org",), mx=("tcp:25",)).backends["mailboxes"]
    assert isinstance(mailboxes, MaildirSettings)
    assert mailboxes.path == f"{tmp_path}/state/mail/{{domain}}/{{local_part}}"
    path = "/m/{address}/Maildir"
    mailboxes = made(tmp_path, domains=("example.org",), mx=("tcp:25",), maildir=path).backends["mailboxes"]
    assert isinstance(mailboxes, MaildirSettings)
    assert mailboxes.path == path


def test_a_login_without_certificate_and_accounts_gets_its_own(tmp_path: Path) -> None:
    said: list[str] = []
    config = made(tmp_path, said, domains=("example.org",), submission=("tcp:587",), submissions=("tcp:465",))
    assert [x.role for x in config.listeners] == [Role.SUBMISSION, Role.SUBMISSIONS]
    assert config.passwd_file == f"{tmp_path}/state/trial-passwd"
    assert "postmaster@example.org" in said[1]
    assert "self-signed" in said[0]


def test_a_login_with_both(tmp_path: Path) -> None:
    make_certificate(tmp_path)
    (tmp_path / "passwd").touch()
    both = tmp_path / "both.pem"
    both.write_bytes((tmp_path / "fullchain.pem").read_bytes() + (tmp_path / "privkey.pem").read_bytes())
    said: list[str] = []
    config = made(
        tmp_path, said, domains=("example.org",), submission=("tcp:587",), certificate=str(both),
        passwd=str(tmp_path / "passwd"),
    )
    assert config.tls.certificates[""].private_key == str(both)
    mailboxes = config.backends["mailboxes"]
    assert isinstance(mailboxes, MaildirSettings)
    assert mailboxes.recipients is Known.ACCOUNTS
    assert said == []


def test_faults_speak_of_the_options(tmp_path: Path) -> None:
    assert faults(tmp_path, domains=("a b",), relay="h:x", mx=("25",), hostname="a b", certificate="/none") == [
        "twistd mailgw: --domain: expected a domain or an address such as \"example.org\", not 'a b'",
        "twistd mailgw: --hostname: expected a host name such as \"mx1.example.org\", not 'a b'",
        'twistd mailgw: --mx: expected an endpoint such as "tcp:25", "tcp:20025:interface=127.0.0.1", '
        '"unix:/run/mailgw/lmtp" or '
        "\"systemd:domain=INET:index=0\", not '25'",
        'twistd mailgw: --relay: expected "host:port", such as "smtp.example.net:587" or "[2001:db8::1]:25", '
        "not 'h:x'",
        "twistd mailgw: --certificate: /none: No such file or directory; it must be readable by the user that "
        "mailgw runs as",
    ]


def test_nothing_to_do(tmp_path: Path) -> None:
    assert faults(tmp_path, hostname="mx.example.org") == [
        "twistd mailgw: nowhere to listen: expected --mx, --submission or --submissions, such as --mx tcp:25",
        "twistd mailgw: no mail to take: expected --domain, --relay or --app",
    ]
    assert "--private-key" not in faults(tmp_path, domains=("a.org",), mx=("tcp:25",), private_key="/none")[0]


def test_an_application_gets_what_its_patterns_say(tmp_path: Path) -> None:
    said: list[str] = []
    config = made(tmp_path, said, app="tests.app.examples:app", mx=("tcp:25",))
    assert routes(config) == [(("@example.org", "@.example.org"), "app")]
    assert said == [
        "mailgw: tests.app.examples:app refuses mail for postmaster@example.org, whom every domain has"
        " (RFC 5321 s4.5.1)"
    ]
    config = made(
        tmp_path, app="tests.app.examples:whole", mx=("tcp:25",), domains=("example.com",), relay="10.0.0.1",
        maildir="/var/mail",
    )
    assert routes(config) == [(("@example.net",), "app"), (("@example.com",), "mailboxes"), (("*",), "relay")]
    config = made(tmp_path, app="tests.app.examples:whole", mx=("tcp:25",), domains=("example.com",))
    assert routes(config) == [(("@example.net",), "app"), (("@example.com",), "mailboxes")]


@each(
    ("target", "why"),
    [
        ("no.such.module:app", "no.such.module cannot be imported: ModuleNotFoundError: No module named 'no'"
         "; put its folder on PYTHONPATH"),
        ("tests.app.examples:ap", "tests.app.examples has no ap"),
        ("tests.app.examples:make", "tests.app.examples:make is a function, not a mailgw.MailApp; a function that makes"
         " one is called in its module: app = make_app()"),
        ("tests.app.examples:NAME", "tests.app.examples:NAME is a str, not a mailgw.MailApp"),
        ("tests.app.examples:empty", "tests.app.examples:empty has no handler with a pattern, which says for which"
         " domains mail is taken"),
        ("helpdesk", "expected MODULE:NAME, such as \"helpdesk.mail:app\", not 'helpdesk'"),
        ("app:desk:app", "expected MODULE:NAME, such as \"helpdesk.mail:app\", not 'app:desk:app'"),
    ],
)
def test_what_is_no_application(tmp_path: Path, target: str, why: str) -> None:
    assert faults(tmp_path, app=target, mx=("tcp:25",)) == [f"twistd mailgw: --app: {why}"]


def test_everybody_is_no_domain(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, domains=("*",), mx=("tcp:25",))
    assert fault.endswith("such as \"example.org\", not '*'; mail for everybody else goes to --relay")
