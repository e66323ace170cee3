"""What is no fault, and will be regretted."""

from collections.abc import Iterator
from pathlib import Path

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from mailgw.config.doubts import doubts
from mailgw.config.load import load
from mailgw.config.trial import self_signed
from tests.config.making import Backend, make_certificate
from tests.tables import each

START = """hostname = "mx1.example.org"
state = "state"
"""
LISTEN = """[[listen]]
role = "mx"
endpoint = "tcp:25"
"""
ROUTE = """[[route]]
recipients = ["@example.org"]
backend = "here"
"""
BACKEND = """[backend.here]
type = "maildir"
path = "mail/{local_part}"
recipients = "any"
"""


def said(folder: Path, top: str = "", listen: str = "", more: str = "", is_start: bool = False) -> list[str]:
    file = folder / "a.toml"
    file.write_text(START + top + LISTEN + listen + ROUTE + BACKEND + more)
    return [str(one).removeprefix(f"{file}:") for one in doubts(load(str(file)), is_start)]


def test_nothing_to_say(tmp_path: Path) -> None:
    inside = 'relay_from = ["10.0.0.0/8", "0.0.0.0/1"]\nproxy_protocol_from = ["192.0.2.1"]\n'
    other = '[[route]]\nrecipients = ["@.example.org", "a@sub.example.net", "*"]\nbackend = "here"\n'
    assert said(tmp_path, listen=inside, more=other) == []


def test_what_an_application_gives_is_not_there_for_twistd(tmp_path: Path) -> None:
    more = '[[rule]]\ntype = "given"\nname = "mine"\n[[observer]]\ntype = "given"\nname = "ear"\n'
    why = "twistd mailgw gives nothing, and will not start: that is for an application that gives"
    assert said(tmp_path, more=more) == [
        f"14: rule.type: {why} 'mine'", f"17: observer.type: {why} 'ear'",
    ]
    assert said(tmp_path, more=more, is_start=True) == []


@each(("rules", "expected"), [
    (4, []),
    (5, ["rule.deadline: with those of the rules before it these are 300 s, and all rules of one command have 240 s; "
         "then the client is told 451"]),
])
def test_rules_that_take_longer_than_a_client_is_kept_waiting(tmp_path: Path, rules: int, expected: list[str]) -> None:
    own = 'type = "python:tests.config.test_rules:Own"'
    more = "".join(f'[[rule]]\n{own}\nname = "r{n}"\ndeadline = "60s"\n' for n in range(rules))
    found = [one for one in said(tmp_path, more=more) if "rule.deadline" in one]
    assert [one.partition(": ")[2] for one in found] == expected


@each(
    ("key", "why"),
    [
        ("relay_from", "may send mail to anywhere: an open relay"),
        ("xclient_from", "may say by XCLIENT which address or login he has"),
        ("proxy_protocol_from", "may say in a PROXY header which address he has"),
    ],
)
def test_everybody_on_a_listener(tmp_path: Path, key: str, why: str) -> None:
    for network in ("0.0.0.0/0", "::/0"):
        listen = f'{key} = ["192.0.2.1", "{network}"]\n'
        assert said(tmp_path, listen=listen) == [f"6: listen.{key}: is everybody, who then {why}"]


def test_everybody_trusted(tmp_path: Path) -> None:
    assert said(tmp_path, top='trusted_clients = ["0.0.0.0/0"]\n') == [
        "3: trusted_clients: is everybody, who then is free of the limits for each address"
    ]


@each(
    ("first", "second", "taken"),
    [
        ('"@a.example"', '"@A.example"', True),
        ('"@a.example"', '"x@a.example", "@a.example"', True),
        ('"@.example"', '"@a.example", "@.a.example", "x@b.a.example"', True),
        ('"*"', '"*"', True),
        ('"@a.example"', '"@a.example", "@b.example"', False),
        ('"@.a.example"', '"@a.example"', False),
        ('"x@a.example"', '"@a.example"', False),
        ('"@a.example"', '"*"', False),
    ],
)
def test_routes_that_nothing_reaches(tmp_path: Path, first: str, second: str, taken: bool) -> None:
    more = "".join(f'[[route]]\nrecipients = [{one}]\nbackend = "here"\n' for one in (first, second))
    assert said(tmp_path, more=more) == (["16: route: is never reached: route 2 takes its mail"] if taken else [])


def test_a_route_behind_everything_gets_strangers_mail_alone(tmp_path: Path) -> None:
    more = "".join(f'[[route]]\nrecipients = [{one}]\nbackend = "here"\n' for one in ('"*"', '"@a.example"'))
    assert said(tmp_path, more=more) == [
        '16: route: only strangers\' mail gets here: the "*" of route 2 takes that of who may relay'
    ]


def test_a_backend_of_no_route(tmp_path: Path) -> None:
    there = '[backend.there]\ntype = "smtp"\n'
    why = "no route names it: mail goes there by mailgw queue reroute --to alone"
    assert said(tmp_path, more=there) == [f"13: backend.there: {why}"]
    assert said(tmp_path, more=there, is_start=True) == [], "it is kept for that: once is enough"
    assert said(tmp_path, top='trusted_clients = ["::/0"]\n', is_start=True) != []


def test_a_pattern_that_stands_there_twice(tmp_path: Path) -> None:
    route = '[[route]]\nrecipients = ["@a.example", "b@c.example", "B@C.example"]\nbackend = "here"\n'
    assert said(tmp_path, more=route) == ["14: route.recipients: 'B@c.example' stands there twice"]


@each(
    ("hostname", "is_doubted"),
    [("mx1", True), ("localhost", True), ("mx1.example.org", False), ("[192.0.2.1]", False), ("[IPv6:::1]", False)],
)
def test_a_hostname_without_a_domain(tmp_path: Path, hostname: str, is_doubted: bool) -> None:
    file = tmp_path / "a.toml"
    file.write_text(START.replace("mx1.example.org", hostname) + LISTEN + ROUTE + BACKEND)
    assert [str(one) for one in doubts(load(str(file)))] == is_doubted * [
        f"{file}:1: hostname: '{hostname}' has no domain, and many servers refuse mail from such a name: "
        "expected what DNS has for this machine, such as mx1.example.org"
    ]


OWN, OTHER = (f'certificate = "{name}fullchain.pem"\nprivate_key = "{name}privkey.pem"\n' for name in ("", "other"))


@each(
    ("hostname", "role", "tls", "expected"),
    [
        ("mx1.example.org", "mx", f"[tls]\n{OWN}", None),
        ("MX1.example.org", "mx", f"[tls]\n{OWN}", None),
        ("mx2.example.org", "mx", f"[tls]\n{OWN}", "14: tls.certificate: fullchain.pem"),
        ("[127.0.0.1]", "mx", f"[tls]\n{OWN}", None),
        ("[IPv6:::1]", "mx", f"[tls]\n{OWN}", None),
        ("[192.0.2.1]", "mx", f"[tls]\n{OWN}", "14: tls.certificate: fullchain.pem"),
        ("mx2.example.org", "lmtp", f"[tls]\n{OWN}", None),
        ("mx1.example.org", 'mx"\ntls = "other', f"[tls.other]\n{OTHER}",
         "15: tls.other.certificate: otherfullchain.pem"),
        ("mx1.example.org", "mx", f"[tls]\n{OTHER}[tls.own]\n{OWN}", None),  # SNI finds it
    ],
)
def test_certificates_for_another_name(
    tmp_path: Path, hostname: str, role: str, tls: str, expected: str | None
) -> None:
    make_certificate(tmp_path)
    certificate, key = self_signed("other.example.org")
    (tmp_path / "otherfullchain.pem").write_bytes(certificate)
    (tmp_path / "otherprivkey.pem").write_bytes(key)
    file = tmp_path / "a.toml"
    listen = LISTEN.replace('"mx"', f'"{role}"')
    file.write_text(START.replace("mx1.example.org", hostname) + listen + ROUTE + BACKEND + tls)
    found = [str(one).removeprefix(f"{file}:").replace(f"{tmp_path}/", "") for one in doubts(load(str(file)))]
    why = f"does not name {hostname.lower()}, the hostname: who connects to that name, and verifies"
    whole = f"{expected}: {why} (MTA-STS, mail programs), hangs up"
    assert found == ([] if expected is None else [whole])
    assert doubts(load(str(file)), is_start=True) == []


class Plain:
    """What a beginner writes."""

    concurrency = 1

    def lane(self, recipient: object) -> str:
        return ""

    def refusal(self, recipient: object) -> None:
        return None

    def deliver(self, message: object, recipients: object) -> object:
        return {}


class Inherited(Plain):
    async def lane(self, recipient: object) -> str:  # type: ignore[override]  # that is the mistake
        return ""

    async def refusal(self, recipient: object) -> None:  # type: ignore[override]  # likewise
        return None


class Decorated(Backend):
    def refusal(self, recipient: object) -> "Deferred[None]":  # type: ignore[override]  # it is awaitable, too
        return succeed(None)

    @inlineCallbacks
    def deliver(self, message: object, recipients: object) -> Iterator[object]:  # type: ignore[override]  # likewise
        yield None


FAILS = "each attempt fails, and its mail waits"


@each(
    ("name", "expected"),
    [
        ("Plain", [
            'refusal is no "async def": unless it returns a Deferred, each of its recipients is answered 451',
            f'deliver is no "async def": unless it returns a Deferred, {FAILS}',
        ]),
        ("Inherited", [
            f'deliver is no "async def": unless it returns a Deferred, {FAILS}',
            'lane is an "async def": expected a plain "def", whose word is not waited for',
        ]),
        ("Decorated", []),
        ("Backend", []),
        ("made", []),
    ],
)
def test_python_that_is_not_awaited_as_it_should_be(tmp_path: Path, name: str, expected: list[str]) -> None:
    target = f"{__name__}:{name}"
    arguments = "" if name in ("Plain", "Inherited") else 'colour = "red"\n'
    route = '[[route]]\nrecipients = ["@py.example"]\nbackend = "py"\n'
    more = f'{route}[backend.py]\ntype = "python:{target}"\n{arguments}'
    assert said(tmp_path, more=more) == [f"17: backend.py.type: {target}.{one}" for one in expected]
    assert said(tmp_path, more=more, is_start=True) == []


def made(colour: str) -> Backend:
    return Backend(colour)


@each(
    ("interface", "is_doubted"),
    [("127.0.5.5", False), ("0.0.0.0", False), ("192.0.2.1", True), (r"2001\:db8\:\:1", True), (r"\:\:1", False)],
)
def test_listeners_at_an_address_of_another_machine(tmp_path: Path, interface: str, is_doubted: bool) -> None:
    listen = f"[[listen]]\nrole = 'mx'\nendpoint = 'tcp:2525:interface={interface}'\n"
    address = interface.replace("\\", "")
    assert said(tmp_path, listen=listen) == is_doubted * [
        f"8: listen.endpoint: {address} is no address of this machine now: it cannot be bound"]


ACCOUNTS = """[[route]]
recipients = ["@acc.example"]
backend = "known"
[backend.known]
type = "maildir"
path = "known/{local_part}"
[accounts]
passwd_file = "passwd"
"""


@each(
    ("top", "passwd", "aliases", "is_doubted"),
    [
        ("", "ann@acc.example:*", "", True),
        ("", "", "@acc.example ann@acc.example", True),  # who exists has no need of a catch-all
        ("", "Postmaster@ACC.example:*", "", False),
        ("", "ann@acc.example:*", "postmaster@acc.example ann@acc.example", False),
        ("postmaster = 'ann@acc.example'\n", "", "", False),
        ("postmaster = 'ann@elsewhere.example'\n", "", "", False),
    ],
)
def test_a_postmaster_whom_nobody_reads(
    tmp_path: Path, top: str, passwd: str, aliases: str, is_doubted: bool
) -> None:
    (tmp_path / "passwd").write_text(f"{passwd}\n")
    (tmp_path / "aliases").write_text(f"{aliases}\n")
    file = tmp_path / "a.toml"
    file.write_text(START + top + LISTEN + ACCOUNTS + "[aliases]\nfile = 'aliases'\n")
    for is_start in (False, True):
        found = [str(one) for one in doubts(load(str(file)), is_start) if one.key == "route.recipients"]
        assert found == (is_doubted and not is_start) * [
            f"{file}:7: route.recipients: mail for the postmaster has to be taken (RFC 5321 s4.5.1), and comes to a "
            "mailbox without a login: expected an account or an alias postmaster@acc.example, or postmaster = "
            '"you@..." above the first [table]'
        ]


def test_addresses_of_ours_that_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("Ann@acc.example:*\n")
    for top, address, is_lost in (
        ("", "ann@ACC.example", False), ("", "ann+tls@acc.example", False), ("", "bob@acc.example", True),
        ("", "bob@elsewhere.example", False), ("", "bob@example.org", False),
        ("postmaster = 'boss@acc.example'\n", "Boss@acc.example", False),
    ):
        for table, key in (("reports", "from_address"), ("tls_reports", "contact"), ("dmarc_reports", "contact")):
            out = '[backend.out]\ntype = "smtp"\n'
            found = said(tmp_path, top=top, more=ACCOUNTS + f"[{table}]\n{key} = '{address}'\n" + out, is_start=True)
            assert [one.partition(": ")[2] for one in found] == is_lost * [
                f"{table}.{key}: {address} has no account here: answers to it are refused"]


def test_reports_on_tls_by_nobody_who_sends_by_mx(tmp_path: Path) -> None:
    reports = "[tls_reports]\ncontact = 'a@example.org'\n[backend.out]\ntype = 'smtp'\n"
    assert said(tmp_path, more=reports, is_start=True) == []
    assert said(tmp_path, more=reports + "hosts = ['h']\n", is_start=True) == [
        "14: tls_reports.contact: nothing will be reported: no backend sends by MX (without hosts), which alone is"
        " reported on"
    ]


def test_reports_by_dmarc_without_mail_of_strangers(tmp_path: Path) -> None:
    reports = "[dmarc_reports]\ncontact = 'a@example.org'\n"
    assert said(tmp_path, more=reports, is_start=True) == []
    file = tmp_path / "b.toml"
    file.write_text(START + LISTEN.replace('"mx"', '"lmtp"') + ROUTE + BACKEND + reports)
    assert "dmarc_reports.contact: nothing will be reported: no listener of role mx takes strangers' mail" in [
        str(one).partition(": ")[2] for one in doubts(load(str(file)), True)
    ]


@each(("sessions", "doubted"), [(49, True), (50, False)])
def test_fewer_sessions_than_one_address_may_have(tmp_path: Path, sessions: int, doubted: bool) -> None:
    expected = ["14: limits.sessions: is below sessions_per_address: one client can take them all"] if doubted else []
    assert said(tmp_path, more=f"[limits]\nsessions = {sessions}\n") == expected


def test_a_reserve_that_no_disk_has(tmp_path: Path) -> None:
    assert said(tmp_path, more='[limits]\nreserve_octets = "1000000 GiB"\n') == [
        f"14: limits.reserve_octets: is more than the disk of {tmp_path}/state has free: no mail will be taken"
    ]


def test_a_validating_server_elsewhere(tmp_path: Path) -> None:
    for servers, validating, doubted in (
        ('["192.0.2.53", "127.0.0.1"]', "true", True), ('["127.0.0.1", "::1"]', "true", False),
        ('["192.0.2.53"]', "false", False), ("[]", "true", False),
    ):
        found = said(tmp_path, more=f"[dns]\nservers = {servers}\nvalidating = {validating}\n")
        assert found == doubted * [
            "15: dns.validating: believes 192.0.2.53:53, whose answers anybody on the way can change: "
            "a validating server on this machine is safer"
        ]


def test_dane_without_anybody_who_validates(tmp_path: Path) -> None:
    out = '''[[route]]
recipients = ["*"]
backend = "out"
[backend.out]
type = "smtp"
tls = "dane"
[[backend.out.destination]]
domains = ["example.net"]
tls = "encrypt"
[[backend.out.destination]]
domains = ["example.com"]
tls = "dane"
'''
    needs = "waits for ever: DANE needs a name server that validates and is believed ([dns] validating)"
    assert said(tmp_path, more=out + "[dns]\nvalidating = false\n") == [
        f"18: backend.out.tls: all mail {needs}", f"24: backend.out.destination.tls: its mail {needs}",
    ]
    assert said(tmp_path, more=out + '[dns]\nservers = ["127.0.0.1:53"]\n') == []
    assert said(tmp_path, more=out) == []  # whether the system's servers do is seen when they are asked


LOGIN = "\nusername = 'u'\npassword_file = 'secret'"
WANTS = "wants a login on that port, as good as always: expected username and password_file"


@each(
    ("more", "expected"),
    [
        ("concurrency = 51", ["concurrency: is above host_concurrency: whoever has one host never gets so many"]),
        ("concurrency = 50", []),
        ("hosts = ['h']\nconcurrency = 51", []),
        ("hosts = ['h:465']" + LOGIN, []),
        ("hosts = ['h:465']\ntls = 'implicit'" + LOGIN, []),
        ("hosts = ['h', 'h:465']\ntls = 'implicit'" + LOGIN, []),
        ("hosts = ['h:587']" + LOGIN, []),
        ("hosts = ['h:587', 'h', 'h:5870']", [f"hosts: {WANTS}"]),
        ("hosts = ['h:465']", [f"hosts: {WANTS}"]),
        ("hosts = ['[2001:db8::1]:587']", [f"hosts: {WANTS}"]),
        ("hosts = ['127.0.0.1:587', '[::1]:587', 'localhost:465']\ntls = 'implicit'", []),
        ("hosts = ['h:587']\nclient_certificate = 'fullchain.pem'\nclient_key = 'privkey.pem'", []),
        (
            "hosts = ['h', 'h:465']\ntls = 'verify'" + LOGIN,
            ['hosts: speaks TLS from the first octet, so "verify" hears nothing: tls = "implicit" does'],
        ),
        (
            "concurrency = 20\ntotal_concurrency = 19",
            ["concurrency: is above total_concurrency: one destination can take them all"],
        ),
        ("[[backend.out.source]]\naddress = '127.0.5.5'", []),
        (
            "[[backend.out.source]]\naddress = '192.0.2.1'\n[[backend.out.source]]\naddress = '2001:db8::1'",
            ["source.address: is no address of this machine now: what is to be sent from it waits"] * 2,
        ),
    ],
)
def test_how_mail_goes_out(tmp_path: Path, more: str, expected: list[str]) -> None:
    make_certificate(tmp_path)
    (tmp_path / "secret").write_text("s3cret\n")
    route = '[[route]]\nrecipients = ["@out.example"]\nbackend = "out"\n[backend.out]\ntype = "smtp"\n'
    found = said(tmp_path, more=f"{route}{more}\n[trust]\nquarantine = 'hold'\n")
    assert [one.partition(": backend.out.")[2] for one in found] == expected
