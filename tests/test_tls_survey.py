"""What ``mailgw tls`` sees of a destination, on a network in memory; with real TLS in ``tests/peers``."""

from typing import Any

import attrs
import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from mailgw import tls_command
from mailgw.deliver.smtp_settings import DestinationSettings, Secret, SourceSettings, TlsMode
from mailgw.mail.names import TlsaRecord
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.terminal import Fault
from mailgw.testing.names import FakeResolver
from mailgw.tls_report import How, Report, Sts, Tlsa, lines
from mailgw.tls_survey import CONNECTIONS, STEP_SECONDS, Survey, certificate
from tests.deliver.smtp_net import Peer, settings, shaping
from tests.tables import each
from tests.trust import certificates

DNS = FakeResolver(
    mx_records={
        "example.org": [(20, "b.example.org"), (10, "a.example.org")], "null.example": [(0, "")],
        "sick.example": [(10, "sick-host.example")], "ours.example": [(10, "us.example")],
        "one.example": [(10, "c.example")],
        "many.example": [(i, f"h{i}.many.example") for i in range(9)], "loop.example": [(5, "loop-host.example")],
        "failing.example": [],
    },
    address_records={
        "a.example.org": ["192.0.2.1"], "b.example.org": ["2001:db8::2"], "c.example": ["192.0.2.3"],
        "plain.example": ["192.0.2.4"], "loop-host.example": ["192.0.2.99"],
        **{f"h{i}.many.example": [f"192.0.2.{4 * i + j}" for j in range(4)] for i in range(9)},
    },
    tlsa_records={"_25._tcp.a.example.org": [TlsaRecord(3, 1, 1, bytes(32)), TlsaRecord(1, 1, 1, bytes(32))]},
    secure=frozenset({"example.org"}),
    failing=frozenset({"sick-host.example", "failing.example"}),
)


class Looked:
    """A survey under way."""

    def __init__(
        self, domain: str, connect: bool = True, sts: Any = None, require_tls: bool = False, **changes: Any
    ) -> None:
        self.reactor = MemoryReactorClock()
        own = frozenset({"us.example", "192.0.2.99"})
        changes = {"hosts": (), "tls": TlsMode.OPPORTUNISTIC} | changes
        survey = Survey("internet", settings(**changes), DNS, sts, own, self.reactor)
        self._results: list[Any] = []
        self.deferred = Deferred.fromCoroutine(survey.of(domain, connect, require_tls))
        self.deferred.addBoth(self._results.append)

    def accept(self, place: int) -> Peer:
        return Peer(self.reactor.tcpClients[place][2].buildProtocol(None))

    @property
    def report(self) -> Report:
        assert self._results, "still under way"
        report: Report = self._results[0]
        assert isinstance(report, Report), report
        return report

    @property
    def text(self) -> str:
        return "\n".join(lines(self.report))


@each(
    ("domain", "fault", "is_final"),
    [
        ("null.example", "takes no mail (null MX)", True), ("none.example", "does not exist", True),
        ("ours.example", "loops back", True), ("failing.example", "DNS does not say", False),
    ],
)
def test_no_host_at_all(domain: str, fault: str, is_final: bool) -> None:
    it = Looked(domain)
    assert fault in it.report.fault
    assert (it.report.is_final, it.report.is_good, it.report.hosts) == (is_final, False, ())
    assert it.text.endswith("bad: mail is returned" if is_final else "bad: mail waits")
    assert it.reactor.tcpClients == []


def test_without_a_connection() -> None:
    it = Looked("example.org", connect=False)
    assert it.reactor.tcpClients == []
    assert (it.report.is_good, it.report.mx_is_secure, it.report.connected) == (True, True, False)
    first, second = it.report.hosts
    assert (first.name, first.port, first.preference) == ("a.example.org", 25, 10)
    digits = "00" * 32
    assert first.tlsa == (Tlsa(f"3 1 1 {digits}", ""), Tlsa(f"1 1 1 {digits}", "usages 0 and 1 are not for SMTP"))
    assert (first.policy, second.policy) == ("DANE", "")
    assert it.text == """\
mail for example.org goes to the backend internet
  asked for  tls = "opportunistic" of the backend
  MX         signed

a.example.org:25, preference 10
  addresses  192.0.2.1; signed
  TLSA       3 1 1 0000000000000000...
             1 1 1 0000000000000000...: usages 0 and 1 are not for SMTP
  demanded   TLS with a certificate that a TLSA record of a.example.org matches (DANE)

b.example.org:25, preference 20
  addresses  2001:db8::2; signed
  TLSA       none
  demanded   TLS where it is offered, with anybody, else in clear

good, as far as can be told without a connection"""


def test_hosts_that_are_not_used() -> None:
    for domain, fault in (("sick.example", "DNS does not say"), ("loop.example", "loops back")):
        it = Looked(domain, connect=False)
        host, = it.report.hosts
        assert fault in host.fault
        assert not it.report.is_good
        assert f"  fault      {host.fault}" in it.text


def test_tls_that_is_not_offered() -> None:
    it = Looked("one.example")
    peer = it.accept(0)
    peer.greet()
    assert peer.heard().endswith(b"QUIT\r\n")
    one, = it.report.hosts[0].tried
    assert (one.address, one.how, one.why) == ("[192.0.2.3]:25", How.CLEAR, "TLS is not offered")
    assert it.report.is_good
    assert "    mail goes in clear; TLS is not offered\n" in it.text
    assert "  TLSA       not asked for, since the addresses are not signed\n" in it.text


def test_tls_that_must_be_and_is_not_offered() -> None:
    it = Looked("one.example", tls=TlsMode.ENCRYPT)
    it.accept(0).greet()
    assert not it.report.is_good
    assert it.text.endswith("bad: mail waits")


def test_one_host_is_enough() -> None:
    it = Looked("example.org")
    assert [call[0] for call in it.reactor.tcpClients] == ["192.0.2.1", "2001:db8::2"]
    it.accept(0).say(b"554 go away\r\n")
    it.accept(1).greet()
    assert [one.how for host in it.report.hosts for one in host.tried] == [How.NOT, How.CLEAR]
    assert "go away" in it.report.hosts[0].tried[0].why
    assert it.report.is_good


def test_a_handshake_that_fails_and_may() -> None:
    it = Looked("one.example")
    peer = it.accept(0)
    peer.greet(b"250-mx.example.org\r\n250 STARTTLS\r\n").say(b"220 go\r\n")
    assert peer.wire.tls is not None
    peer.hang_up(SSL.Error([("SSL routines", "", "wrong version number")]))
    it.accept(1).greet()
    one, = it.report.hosts[0].tried
    assert (one.how, one.why) == (How.CLEAR, "The TLS handshake failed: wrong version number")
    it = Looked("one.example")
    peer = it.accept(0)
    peer.greet(b"250-mx.example.org\r\n250 STARTTLS\r\n").say(b"220 go\r\n")
    peer.hang_up(SSL.Error([("SSL routines", "", "wrong version number")]))
    it.accept(1).say(b"421 busy\r\n")
    one, = it.report.hosts[0].tried
    assert one.how is How.NOT
    assert one.why == "The TLS handshake failed: wrong version number"
    assert not it.report.is_good


def test_nobody_waits_for_long() -> None:
    it = Looked("one.example")
    it.accept(0)
    it.reactor.advance(STEP_SECONDS - 1)
    it.reactor.advance(1)
    assert it.report.hosts[0].tried[0].how is How.NOT


def test_connections_are_few() -> None:
    it = Looked("many.example")
    assert len(it.reactor.tcpClients) == CONNECTIONS == 32
    for place in range(CONNECTIONS):
        it.accept(place).greet()
    assert it.report.hosts[8].tried == ()
    assert "  not tried: there are enough others\n" in it.text
    assert it.report.is_good


def test_a_smart_host_and_overrides() -> None:
    it = Looked("any.example", False, hosts=("192.0.2.1:587", "unix:/run/lmtp"), tls=TlsMode.NEVER)
    assert it.text == """\
mail for any.example goes to the backend internet
  asked for  tls = "never" of the backend

192.0.2.1:587
  demanded   no TLS

unix:/run/lmtp
  demanded   no TLS

good, as far as can be told without a connection"""
    own = DestinationSettings(("one.example",), TlsMode.VERIFY, ("x.example",), ("sha256:" + "0" * 64,), None, None)
    it = Looked("one.example", False, shaping=shaping(destinations=(own,)))
    rule = 'tls = "verify" for this destination, for one of the names x.example, of one of 1 fingerprints'
    assert it.report.rule == rule
    assert it.report.hosts[0].demand == "TLS with a certificate of a given fingerprint"
    assert "TLSA" not in it.text


def test_connections_come_from_where_a_delivery_s_do() -> None:
    four = SourceSettings("192.0.2.200", "four.us.example", 10, None)
    it = Looked("example.org", shaping=shaping(sources=(four,)))
    (_, _, _, _, bound), = it.reactor.tcpClients
    assert bound == ("192.0.2.200", 0)
    peer = it.accept(0)
    peer.say(b"220 mx.example.org ESMTP\r\n")
    assert peer.heard() == b"EHLO four.us.example\r\n"
    peer.hang_up()
    assert "  [192.0.2.1]:25, from 192.0.2.200\n" in it.text
    assert it.report.hosts[1].fault == "It has no address of a kind that there is a source address for"
    it = Looked("x.example", hosts=("192.0.2.1:25",), username="ann", password=Secret("secret"))
    it.accept(0).greet(b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert it.report.is_good, "without the login"


class Policies:
    def __init__(self, mode: StsMode, *patterns: str, trouble: str = "") -> None:
        self._policy = StsPolicy(mode, patterns, 86_400, "1")
        self._trouble = trouble

    async def policy(self, domain: str) -> StsPolicy | None:
        return self._policy

    async def told(self, domain: str) -> Sts:
        policy = self._policy
        return Sts("2", policy.mode.value, policy.mx_patterns, 59.0, 86_341.0, self._trouble)


def test_policies_of_mta_sts() -> None:
    it = Looked("one.example", False, Policies(StsMode.ENFORCE, "*.example", trouble="no\x1b[2Jw"))
    assert "  MTA-STS    enforce for *.example (record id 2; fetched 59s ago, good for 23h)\n" in it.text
    assert "             no\\x1b[2Jw\n" in it.text, "what strangers say obeys no terminal"
    assert "  demanded   TLS with a trusted certificate for c.example (MTA-STS)\n" in it.text
    it = Looked("one.example", False, Policies(StsMode.ENFORCE, "mx.example"))
    assert it.report.hosts[0].fault == "The MTA-STS policy does not list the host c.example"
    it = Looked("one.example", False, Policies(StsMode.TESTING, "mx.example"))
    assert it.report.is_good
    assert "what is wrong is told, and the mail goes all the same" in it.report.hosts[0].demand
    assert it.report.hosts[0].flaw == "The MTA-STS policy does not list the host c.example"


def test_for_a_message_with_requiretls() -> None:
    it = Looked("one.example", False, require_tls=True)
    assert "nothing vouches for the host c.example" in it.report.hosts[0].fault
    assert it.text.endswith("bad: mail is returned (5.7.10)")
    assert it.report.as_json()["returned"] == "5.7.10"
    it = Looked("example.org", False, require_tls=True)
    assert [host.demand for host in it.report.hosts] == [
        "TLS with a certificate that a TLSA record of a.example.org matches",
        "TLS with a trusted certificate for b.example.org",
    ]
    it = Looked("x.example", False, hosts=("unix:/run/lmtp",), tls=TlsMode.NEVER, lmtp=True, require_tls=True)
    assert it.report.hosts[0].demand == "no TLS", "nobody listens in"
    for first, second, verdict in (
        (b"250 mx.example.org\r\n", b"250 mx.example.org\r\n", "bad: mail is returned (5.7.10)"),
        (b"250 mx.example.org\r\n", b"421 busy\r\n", "bad: mail waits"),
    ):
        it = Looked("example.org", require_tls=True)
        it.accept(0).greet(first)
        it.accept(1).greet(second)
        assert it.text.endswith(verdict), "what one of them lacks may be over when another is well"


def test_what_is_suspended_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Looked("one.example", False, require_tls=True)
    text = "\n".join(lines(attrs.evolve(it.report, suspended="one.example")))
    assert "  suspended  one.example: nothing is tried until it is resumed (mailgw queue resume)\n" in text
    assert text.endswith("bad: mail waits, since one.example is suspended")
    config: Any = Config()
    word = {"one.example": 1.0, "relay": 2.0, "internet/*": 3.0, "other.example": 4.0}
    monkeypatch.setattr(tls_command, "ask_gateway", lambda path, request: word)
    for lane, found in (
        ("internet/one.example", "internet/*, one.example"), ("relay", "relay"), ("relay2", ""),
    ):
        assert tls_command._suspended(config, lane) == found
    for answer in (lambda path, request: None, refused):
        monkeypatch.setattr(tls_command, "ask_gateway", answer)
        assert tls_command._suspended(config, "relay") == ""


class Config:
    control = "/nowhere/control.sock"


def refused(path: str, request: object) -> object:
    raise Fault("run this as the gateway's user")


def test_certificates() -> None:
    shown = certificate(certificates.issued("mx.example").chain)
    assert shown is not None
    assert len(shown.sha256) == len(shown.public_key_sha256) == 64
    assert shown.names == ("mx.example",)
    assert shown.not_after.endswith("Z")
    assert certificate(()) is None
    assert certificate((b"x",)) is None
