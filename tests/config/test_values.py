import enum
import ipaddress
import os
from collections.abc import Callable

import pytest

from mailgw.config import values
from mailgw.mail.address import Mailbox
from mailgw.mail.rate import Rate
from tests.tables import each


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


GOOD: list[tuple[Callable[[object], object], object, object]] = [
    (values.text, "a", "a"),
    (values.any_text, "", ""),
    (values.truth, False, False),
    (values.count, 1, 1),
    (values.fraction, 0, 0.0),
    (values.fraction, 0.25, 0.25),
    (values.duration, "90s", 90.0),
    (values.duration, "5m", 300.0),
    (values.duration, "1.5h", 5400.0),
    (values.duration, "5d", 432000.0),
    (values.duration, "2 w", 1209600.0),
    (values.hold, "1s", 1),
    (values.hold, "999999999s", 999_999_999),
    (values.command_line, 512, 512),
    (values.wait, "0s", 0.0),
    (values.wait, "0.3s", 0.3),
    (values.rate, "30/1m", Rate(30, 60.0)),
    (values.rate, "1000 / 1 h", Rate(1000, 3600.0)),
    (values.size, 52428800, 52428800),
    (values.size, "50MiB", 52428800),
    (values.size, "512 KiB", 524288),
    (values.size, "1GiB", 1 << 30),
    (values.size, "0.5KiB", 512),
    (values.choice(Colour), "red", Colour.RED),
    (values.workers, 1, 1),
    (values.workers, 64, 64),
    (values.workers, "auto", len(os.sched_getaffinity(0))),
    (values.hostname, "MX1.example.org", "mx1.example.org"),
    (values.mailbox, "Admin@Example.org", Mailbox("Admin", "example.org")),
    (values.network, "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8")),
    (values.network, "::1", ipaddress.ip_network("::1/128")),
    (values.pattern, "*", "*"),
    (values.pattern, "@Example.org", "@example.org"),
    (values.pattern, "@.Example.org", "@.example.org"),
    (values.pattern, "User@Example.org", "User@example.org"),
    (values.pattern, "@[192.0.2.1]", "@[192.0.2.1]"),
    (values.pattern, "@Müller.example", "@xn--mller-kva.example"),
    (values.pattern, "@.müller.example", "@.xn--mller-kva.example"),
    (values.pattern, "grün@müller.example", "grün@xn--mller-kva.example"),
    (values.endpoint, "tcp:25", "tcp:25"),
    (values.endpoint, "tcp:port=25:interface=127.0.0.1", "tcp:port=25:interface=127.0.0.1"),
    (values.endpoint, r"tcp:25:interface=\:\:", r"tcp:25:interface=\:\:"),
    (values.endpoint, r"tcp:25:interface=fe80\:\:1%eth0", r"tcp:25:interface=fe80\:\:1%eth0"),
    (values.endpoint, "tcp:0", "tcp:0"),
    (values.endpoint, "unix:/run/x:mode=660", "unix:/run/x:mode=660"),
    (values.endpoint, "systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    (values.hop("smtp"), "Smtp.example.net:587", "smtp.example.net:587"),
    (values.hop("smtp"), "smtp.example.net", "smtp.example.net:25"),
    (values.hop("lmtp"), "127.0.0.1", "127.0.0.1:24"),
    (values.hop("lmtp"), "unix:/run/lmtp", "unix:/run/lmtp"),
    (values.hop("smtp"), "[2001:db8::1]:25", "[2001:db8::1]:25"),
    (values.hop("smtp"), "[2001:db8::1]", "[2001:db8::1]:25"),
    (values.name_server, "127.0.0.1:5353", "127.0.0.1:5353"),
    (values.name_server, "::1", "[::1]:53"),
    (values.name_server, "192.0.2.1", "192.0.2.1:53"),
    (values.maildir_path, "/m/{domain}/{local_part}", "/m/{domain}/{local_part}"),
    (values.delimiter, "", ""),
    (values.delimiter, "-", "-"),
    (values.target, "helpdesk.mail:Tickets", "helpdesk.mail:Tickets"),
    (values.fingerprint, "SHA256:AB:" + "cd" * 31, "sha256:ab" + "cd" * 31),
    (values.domain_pattern, ".Example.NET", ".example.net"),
    (values.domain_pattern, "müller.example", "xn--mller-kva.example"),
    (values.host_pattern, "*.Mail.example.net", "*.mail.example.net"),
    (values.host_pattern, "MX.example.net", "mx.example.net"),
    (values.ip_address, "2001:DB8:0::1", "2001:db8::1"),
    (values.proxy, "proxy.example.org", "proxy.example.org:1080"),
    (values.proxy, "[::1]:9050", "[::1]:9050"),
]

BAD: list[tuple[Callable[[object], object], object, str]] = [
    (values.text, 5, "expected text"),
    (values.text, "", "not empty"),
    (values.text, "a\0", "NUL"),
    (values.truth, "yes", "true or false"),
    (values.truth, 1, "true or false"),
    (values.count, 0, "from 1"),
    (values.count, True, "from 1, not true"),
    (values.count, "5", "from 1"),
    (values.fraction, 1.1, "from 0 to 1"),
    (values.fraction, True, "from 0 to 1"),
    (values.hold, "0.9s", 'from "1s"'),
    (values.hold, "1000000000s", 'from "1s"'),
    (values.duration, 300, "a duration such as"),
    (values.duration, "5", "a duration such as"),
    (values.duration, "0s", "a duration such as"),
    (values.duration, "-5m", "a duration such as"),
    (values.duration, "5min", "a duration such as"),
    (values.command_line, 511, "512 octets or more"),
    (values.rate, "30", "a rate such as"),
    (values.rate, "0/1m", "a rate such as"),
    (values.rate, "30/0s", "a rate such as"),
    (values.rate, "1.5/1m", "a rate such as"),
    (values.rate, 30, "a rate such as"),
    (values.size, "50MB", "50MiB"),
    (values.size, 0, "a size"),
    (values.size, -1, "a size"),
    (values.size, True, "a size"),
    (values.choice(Colour), "gren", "did you mean 'green'"),
    (values.choice(Colour), ["red"], "not a list"),
    (values.workers, "all", "one a core"),
    (values.workers, 65, "from 1 to 64"),
    (values.workers, 0, "from 1"),
    (values.hostname, "mx 1", "a host name"),
    (values.mailbox, "admin", "an address"),
    (values.network, "10.0.0.1/8", "right of the prefix"),
    (values.network, "ten", "a network"),
    (values.pattern, "example.org", "did you mean '@example.org'"),
    (values.pattern, "user@.example.org", "subdomains"),
    (values.pattern, "@", "subdomains"),
    (values.pattern, "@*.example.org", "subdomains"),
    (values.pattern, "a b@example.org", "subdomains"),
    (values.endpoint, "25", "an endpoint such as"),
    (values.endpoint, "ssl:465", "TLS is in role"),
    (values.endpoint, "tcp:smtp", "not an endpoint that Twisted"),
    (values.endpoint, "tcp:65536", "from 1 to 65535"),
    (values.endpoint, "tcp:25:interface=::", "in single quotes"),
    (values.endpoint, "tcp:25:interface=300.0.0.1", "an address of this machine, not '300.0.0.1'"),
    (values.endpoint, "tcp:25:interface=localhost", "say interface=127.0.0.1"),
    (values.endpoint, "tcp:25:colour=red", "unexpected keyword"),
    (values.endpoint, "unix:", "a path"),
    (values.endpoint, "systemd:domain=INET", "not an endpoint that Twisted"),
    (values.endpoint, "systemd:domain=INET5:index=0", "expected domain=INET, INET6 or UNIX"),
    (values.endpoint, "systemd:domain=INET:index=one", "not an endpoint that Twisted"),
    (values.endpoint, "systemd:domain=INET:index=-1", "expected index to be a number from 0"),
    (values.hop("smtp"), "smtp.example.net:", "host:port"),
    (values.hop("smtp"), "smtp.example.net:0", "host:port"),
    (values.hop("smtp"), "smtp.example.net:smtp", "host:port"),
    (values.hop("smtp"), "2001:db8::1", "host:port"),
    (values.hop("smtp"), "[2001:db8::1", "host:port"),
    (values.hop("smtp"), "[192.0.2.1]:25", "host:port"),
    (values.hop("smtp"), "[::1]25", "host:port"),
    (values.hop("smtp"), "a b:25", "host:port"),
    (values.hop("lmtp"), "unix:", "a path"),
    (values.name_server, "dns.example.org", "the address of a server"),
    (values.fingerprint, "e3b0", "64 hexadecimal digits"),
    (values.fingerprint, "sha1:" + "0" * 64, "64 hexadecimal digits"),
    (values.fingerprint, "sha256:" + "0" * 63, "64 hexadecimal digits"),
    (values.fingerprint, "sha256:" + "0" * 65, "64 hexadecimal digits"),
    (values.domain_pattern, "*.example.net", "did you mean '.example.net'?"),
    (values.domain_pattern, "@example.net", "did you mean 'example.net'?"),
    (values.domain_pattern, "[192.0.2.1]", "not '[192.0.2.1]'"),
    (values.host_pattern, ".example.net", '"*.mail.example.net"'),
    (values.host_pattern, "mx*.example.net", '"*.mail.example.net"'),
    (values.ip_address, "out1.example.org", "192.0.2.1"),
    (values.ip_address, "192.0.2.0/24", "192.0.2.1"),
    (values.maildir_path, "/m/{user}", "unknown {user}"),
    (values.delimiter, "++", "one character"),
    (values.delimiter, "/", "one character"),
    (values.target, "helpdesk.mail", "python:package.module:Name"),
]


@each(("read", "value", "expected"), GOOD)
def test_good(read: Callable[[object], object], value: object, expected: object) -> None:
    assert read(value) == expected


@each(("read", "value", "why"), BAD)
def test_bad(read: Callable[[object], object], value: object, why: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below
        read(value)
    assert why in str(caught.value)


def test_a_fault_does_not_quote_without_end() -> None:
    assert len(values.said("x" * 1000)) < 70


@each(
    ("one", "other", "collide"),
    [
        ("tcp:25", "tcp:25", True),
        ("tcp:25", "tcp:587", False),
        ("tcp:25", "tcp:25:interface=127.0.0.1", True),
        ("tcp:25:interface=0.0.0.0", "tcp:port=25:interface=127.0.0.1", True),
        ("tcp:25:interface=127.0.0.1", "tcp:25:interface=127.0.0.2", False),
        ("tcp:25", r"tcp:25:interface=\:\:", True),
        ("tcp:25:interface=127.0.0.1", r"tcp:25:interface=\:\:", True),
        ("tcp:25", r"tcp:25:interface=\:\:1", False),
        (r"tcp:25:interface=\:\:1", r"tcp:25:interface=\:\:1", True),
        ("tcp:0", "tcp:0", False),
        ("unix:/a", "unix:address=/a", True),
        ("unix:/a", "tcp:25", False),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1", False),
    ],
)
def test_which_sockets_collide(one: str, other: str, collide: bool) -> None:
    addresses = values.endpoint_address(one), values.endpoint_address(other)
    assert values.sockets_collide(*addresses) is collide
    assert values.sockets_collide(*reversed(addresses)) is collide


@each(
    ("word", "expected"),
    [
        ("tcp:25", "tcp:25"),
        ("unix:/run/x", "unix:/run/x"),
        ("unix:run/x:mode=660", r"unix:/etc/a\:b/run/x:mode=660"),
        ("unix:mode=660:address=x", r"unix:/etc/a\:b/x:mode=660"),
    ],
)
def test_a_unix_socket_starts_at_the_file_s_folder(word: str, expected: str) -> None:
    assert values.absolute_endpoint(word, "/etc/a:b") == expected


@each(
    ("word", "expected"),
    [("127.0.0.1:25", True), ("[::1]:25", True), ("localhost:25", True), ("unix:/x", True), ("192.0.2.1:25", False),
     ("mx.example.org:25", False)],
)
def test_what_stays_on_this_machine(word: str, expected: bool) -> None:
    assert values.is_loopback(word) is expected


@each(
    ("word", "domain"), [("@a.org", "a.org"), ("u@b.org", "b.org"), ("@.c.org", None), ("*", None)]
)
def test_which_domain_a_pattern_serves(word: str, domain: str | None) -> None:
    assert values.routed_domain(word) == domain
