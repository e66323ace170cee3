"""What a backend towards other servers is told of destinations, hosts, sources and its proxy."""

from pathlib import Path

import pytest

from mailgw.deliver.smtp_settings import (
    DestinationSettings,
    HostSettings,
    Secret,
    SmtpSettings,
    Socks5,
    SourceSettings,
    TlsMode,
)
from mailgw.mail.rate import Rate
from tests.config.making import faults_of, into, loaded
from tests.tables import each

HEAD = into("out") + """[backend.out]
type = "smtp"
"""
HOSTS = "hosts = ['h:25']\n"
PIN = "sha256:" + "0a" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "word").write_text("s3cret\n")
    (tmp_path / "empty").touch()
    (tmp_path / "long").write_text("x" * 256)
    return tmp_path / "mailgw.toml"


def smtp(file: Path, text: str) -> SmtpSettings:
    file.write_text(HEAD + text)
    settings = loaded(file).backends["out"]
    assert isinstance(settings, SmtpSettings)
    return settings


def test_everything(file: Path) -> None:
    settings = smtp(file, f"""
concurrency = 30
rate = "100/1m"
host_concurrency = 40
total_concurrency = 60
total_rate = "7/1s"
recipients_per_transaction = 5
hello_name = "out.example.org"
[[backend.out.destination]]
domains = ["a.example", ".a.example"]
tls = "dane"
concurrency = 3
[[backend.out.destination]]
domains = ["b.example"]
tls_names = ["mail.b.example"]
tls_fingerprints = ["{PIN}"]
rate = "1/1s"
[[backend.out.host]]
hosts = ["mx.c.example", "*.c.example"]
rate = "2/1s"
[[backend.out.host]]
hosts = ["mx.d.example"]
concurrency = 4
[[backend.out.source]]
address = "192.0.2.1"
concurrency = 5
[[backend.out.source]]
address = "2001:db8::1"
hello_name = "out6.example.org"
rate = "3/1s"
""")
    shaping = settings.shaping
    assert shaping.destinations == (
        DestinationSettings(("a.example", ".a.example"), TlsMode.DANE, (), (), 3, None),
        DestinationSettings(("b.example",), TlsMode.VERIFY, ("mail.b.example",), (PIN,), None, Rate(1, 1)),
    )
    assert shaping.hosts == (
        HostSettings(("mx.c.example", "*.c.example"), 40, Rate(2, 1)),
        HostSettings(("mx.d.example",), 4, None),
    )
    assert shaping.sources == (
        SourceSettings("192.0.2.1", "out.example.org", 5, None),
        SourceSettings("2001:db8::1", "out6.example.org", 60, Rate(3, 1)),
    )
    assert (shaping.rate, shaping.host_concurrency) == (Rate(100, 60), 40)
    assert (shaping.total_concurrency, shaping.total_rate) == (60, Rate(7, 1))
    assert (settings.recipients_per_transaction, settings.socks5) == (5, None)


def test_which_destination_and_which_host_is_meant(file: Path) -> None:
    shaping = smtp(file, """
[[backend.out.destination]]
domains = ["a.example"]
[[backend.out.destination]]
domains = [".a.example"]
[[backend.out.host]]
hosts = ["*.a.example"]
""").shaping
    first, second = shaping.destinations
    for domain, expected in (
        ("a.example", first), ("x.a.example", second), ("y.x.a.example", second), ("xa.example", None)
    ):
        assert shaping.destination(domain) is expected, domain
    for host, expected in (("mx.a.example", True), ("a.example", False), ("mxa.example", False)):
        assert (shaping.host(host) is not None) is expected, host


def test_the_total_is_at_least_what_one_destination_may_have(file: Path) -> None:
    assert smtp(file, "").shaping.total_concurrency == 500
    assert smtp(file, "concurrency = 501").shaping.total_concurrency == 501


def test_a_proxy(file: Path) -> None:
    assert smtp(file, 'socks5 = "[::1]:9050"').socks5 == Socks5("::1", 9050, None, None)
    given = 'socks5 = "proxy"\nsocks5_username = "me"\nsocks5_password_file = "word"'
    assert smtp(file, given).socks5 == Socks5("proxy", 1080, "me", Secret("s3cret"))


def faults_of_lines(file: Path, text: str) -> list[str]:
    file.write_text(HEAD + text)
    return [fault.partition(": ")[2] for fault in faults_of(file)]


SOURCE = "[[backend.out.source]]\naddress = '192.0.2.1'\n"
DESTINATION = "[[backend.out.destination]]\ndomains = ['a.example']\n"
HOST = "[[backend.out.host]]\nhosts = ['mx.example']\n"


@each(
    ("text", "fault"),
    [
        (HOSTS + DESTINATION, "backend.out.destination: is for servers found by MX: with hosts, all mail goes to"),
        (HOSTS + HOST, "backend.out.host: is for servers found by MX: with hosts, all mail goes to those"),
        (DESTINATION + "tls = 'implicit'", 'backend.out.destination.tls: "implicit" needs hosts'),
        (DESTINATION + "tls = 'dane'\ntls_names = ['a.example']", "destination.tls_names: is for tls = \"verify\""),
        (DESTINATION + f"tls = 'encrypt'\ntls_fingerprints = ['{PIN}']", "tls_fingerprints: is for tls = \"verify\""),
        (DESTINATION + "tls_names = []", "destination.tls_names: expected at least one"),
        (DESTINATION * 2, "domains: stands in [[destination]] 1 of this backend, too, which comes first"),
        (HOST * 2, "hosts: stands in [[host]] 1 of this backend, too, which comes first"),
        ("hosts = ['[2001:db8::1]:25']\n" + SOURCE, "source.address: is IPv4, and all hosts are IPv6"),
        (
            "hosts = ['192.0.2.9', '192.0.2.8']\n" + SOURCE.replace("192.0.2.1", "2001:db8::9") + SOURCE,
            "backend.out.source.address: is IPv6, and all hosts are IPv4",
        ),
        ("hosts = ['h']\nhost_concurrency = 9", "out.host_concurrency: is for servers found by MX: with hosts, conc"),
        (
            "host = 'h:25'",
            "host: expected [[backend.out.host]], once for each, not 'h:25'; servers to send to are hosts = [...]",
        ),
        ("host = ['h:25', 'i']", "once for each, not a list of text; servers to send to are hosts = [...]"),
        ("destination = 'a.example'", "expected [[backend.out.destination]], once for each, not 'a.example'"),
        (SOURCE * 2, "backend.out.source.address: stands there twice"),
        (DESTINATION + "concurency = 1", "unknown key; did you mean 'concurrency'?"),
        ("[[backend.out.destination]]", "backend.out.destination.domains: is missing"),
        ("socks5 = 'proxy'\n" + SOURCE, "backend.out.socks5: servers see the proxy's address"),
        ("hosts = ['127.0.0.1']\nsocks5 = 'proxy'", "backend.out.socks5: no proxy leads to hosts of this machine"),
        ("socks5_username = 'me'", "backend.out.socks5_username: needs socks5, too"),
        ("socks5 = 'proxy'\nsocks5_username = 'me'", "socks5_username: needs socks5_password_file, too"),
        ("socks5 = 'proxy'\nsocks5_password_file = 'word'", "socks5_password_file: needs socks5_username, too"),
        (
            "socks5 = 'proxy'\nsocks5_username = 'me'\nsocks5_password_file = 'empty'",
            "socks5_password_file: empty: expected the password in its first line",
        ),
        (
            "socks5 = 'proxy'\nsocks5_username = 'me'\nsocks5_password_file = 'long'",
            "socks5_password_file: expected at most 255 octets (RFC 1929)",
        ),
        (
            f"socks5 = 'proxy'\nsocks5_username = '{'x' * 256}'\nsocks5_password_file = 'word'",
            "socks5_username: expected at most 255 octets (RFC 1929)",
        ),
        ("host_concurrency = 0", "backend.out.host_concurrency: expected a whole number from 1"),
        ("rate = '0/1m'", "backend.out.rate: expected a rate"),
    ],
)
def test_one_fault(file: Path, text: str, fault: str) -> None:
    found = faults_of_lines(file, text)
    assert len(found) == 1, found
    assert fault in found[0]


def test_sources_for_hosts_of_either_kind(file: Path) -> None:
    for hosts in ("['192.0.2.9', '[2001:db8::1]']", "['192.0.2.9', 'h']", "['h']"):
        assert faults_of_lines(file, f"hosts = {hosts}\n" + SOURCE + SOURCE.replace("192.0.2.1", "2001:db8::9")) == []


def test_lmtp_on_a_unix_socket_goes_through_no_proxy(file: Path) -> None:
    file.write_text(HEAD.replace("smtp", "lmtp") + "hosts = ['unix:/x']\nsocks5 = 'proxy'")
    assert faults_of(file) == ["mailgw.toml:13: backend.out.socks5: no proxy leads to a Unix socket"]
