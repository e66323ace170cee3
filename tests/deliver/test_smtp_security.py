"""What is learned of a host before a connection, on a DNS that is plain data; what is told of it afterwards."""

from collections.abc import Mapping
from typing import Any

import attrs

from mailgw.deliver.smtp_hops import Hop, Places, Target
from mailgw.deliver.smtp_security import MOST_HEADER_OCTETS, HostSecurity, Security, says_not_required
from mailgw.deliver.smtp_settings import DestinationSettings, Socks5, TlsMode
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.names import TlsaRecord
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.mail.sts_policy import StsMode, StsPolicy
from mailgw.mail.tls_result import PolicyType, TlsFailure, TlsResult
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from mailgw.trust.tls_policy import Demand, Fault, Level, Refused
from tests.deliver.smtp_net import large, message, settings
from tests.tables import each

EE = TlsaRecord(3, 1, 1, bytes(32))
OTHER = TlsaRecord(3, 1, 1, bytes(31) + b"x")
HOP = Hop("mx.example.org", "192.0.2.1", 25)
POLICY = StsPolicy(StsMode.ENFORCE, ("mx.example.org",), 86400, "7")


class Policies:
    def __init__(self, policies: Mapping[str, StsPolicy]) -> None:
        self._policies = policies
        self.asked: list[str] = []

    async def policy(self, domain: str) -> StsPolicy | None:
        self.asked.append(domain)
        return self._policies.get(domain)


@attrs.frozen
class Learned:
    security: Security
    host: HostSecurity
    told: list[TlsResult]
    asked: list[str]

    def demand(self, **changes: Any) -> Demand | Refused:
        return self.host.demand(**({"hop": HOP, "require_tls": False, "is_lowered": False} | changes))


def learned(
    lane: str = "example.org",
    host: str = "mx.example.org",
    dns: FakeResolver | None = None,
    places: Places | None = None,
    policies: Mapping[str, StsPolicy] | None = None,
    port: int = 25,
    **changes: Any,
) -> Learned:
    resolver = dns or FakeResolver()
    told: list[TlsResult] = []
    sts = None if policies is None else Policies(policies)
    security = Security(settings(**({"hosts": (), "tls": TlsMode.OPPORTUNISTIC} | changes)), resolver, sts, told.append)
    target = Target(host, port, True, (lane,))
    of_lane = result_of(security.of_lane(lane))
    of_host = result_of(security.of_host(of_lane, target, places or Places((HOP,), True, host)))
    return Learned(security, of_host, told, resolver.asked + ([] if sts is None else sts.asked))


def zone(**tlsa: TlsaRecord) -> FakeResolver:
    """TLSA records of hosts of example.org, which is signed."""
    records = {f"_25._tcp.{name}.example.org": [record] for name, record in tlsa.items()}
    return FakeResolver(tlsa_records=records, secure=frozenset({"example.org"}))


def test_records_are_found_at_the_end_of_the_cnames_or_before_them() -> None:
    expanded = Places((HOP,), True, "real.example.org")
    for dns, base, record in (
        (zone(mx=EE), "mx.example.org", EE),
        (zone(mx=OTHER, real=EE), "real.example.org", EE),  # RFC 7672 s2.2.3: the better one
    ):
        found = learned(dns=dns, places=expanded).host.dane
        assert found is not None
        assert (found.records, found.base) == ((record,), base)
        assert found.other_names == ("mx.example.org", "example.org")
    assert learned(dns=zone(), places=expanded).host.dane is None


def test_records_that_nobody_signed_are_none() -> None:
    dns = FakeResolver(tlsa_records={"_25._tcp.mx.example.org": [EE]})
    it = learned(dns=dns)
    assert it.host.dane is None
    assert it.demand() == Demand(Level.MAY, "mx.example.org", True, is_authentic=True)


def test_nobody_is_asked_where_addresses_are_not_signed() -> None:
    it = learned(dns=zone(mx=EE), places=Places((HOP,), False, "mx.example.org"))
    assert (it.host.dane, it.asked) == (None, [])


def test_an_alias_that_is_signed_has_records_of_its_own() -> None:
    leads_out = Places((HOP,), False, "mx.provider.test")
    for insecure, base in ((frozenset(), "mx.example.org"), (frozenset({"mx.example.org"}), None)):
        dns = attrs.evolve(zone(mx=EE), aliases={"mx.example.org": "mx.provider.test"}, insecure=insecure, asked=[])
        found = learned(dns=dns, places=leads_out).host.dane
        assert (found.base if found is not None else None) == base
        assert "TLSA _25._tcp.mx.provider.test" not in dns.asked


def test_records_that_dns_does_not_tell_keep_mail_back() -> None:
    for failing in ("_25._tcp.mx.example.org", "CNAME mx.example.org"):
        aliases = {"mx.example.org": "mx.provider.test"}
        dns = attrs.evolve(zone(), failing=frozenset({failing}), aliases=aliases, asked=[])
        it = learned(dns=dns, places=Places((HOP,), failing[0] == "_", "mx.provider.test"))
        refused = it.demand()
        assert isinstance(refused, Refused)
        assert refused.fault.failure is TlsFailure.DNSSEC_INVALID
        outcome = it.security.refused(it.host, HOP, refused, True)
        assert (outcome.permanence, outcome.scope, outcome.reply.status) == (Permanence.TEMPORARY, Scope.HOST, "4.7.5")
        assert "Whether mx.example.org has TLSA records is not known: " in outcome.reply.text
        result, = it.told
        assert (result.policy_type, result.result) == (PolicyType.TLSA, TlsFailure.DNSSEC_INVALID)
        assert isinstance(it.demand(is_lowered=True), Demand)
        assert it.host.has_policy


@each(
    ("changes", "asked"),
    [
        ({}, ["TLSA _25._tcp.mx.example.org", "example.org"]),
        ({"tls": TlsMode.ENCRYPT}, ["TLSA _25._tcp.mx.example.org", "example.org"]),
        ({"tls": TlsMode.VERIFY}, ["TLSA _25._tcp.mx.example.org", "example.org"]),
        ({"tls": TlsMode.NEVER}, []),
        ({"lane": "[192.0.2.1]", "host": "192.0.2.1", "places": Places((HOP,), False, "192.0.2.1")}, []),
        ({"hosts": ("smtp.example.org:587",), "lane": "", "host": "smtp.example.org", "port": 587},
         ["TLSA _587._tcp.smtp.example.org"]),
        ({"hosts": ("smtp.example.org:465",), "lane": "", "host": "smtp.example.org", "tls": TlsMode.IMPLICIT}, []),
        ({"hosts": ("lmtp.example.org:24",), "lane": "", "host": "lmtp.example.org", "lmtp": True}, []),
        ({"hosts": ("unix:/run/lmtp",), "lane": "", "host": "/run/lmtp", "port": 0, "lmtp": True}, []),
    ],
)
def test_who_is_asked_what(changes: dict[str, Any], asked: list[str]) -> None:
    it = learned(policies={"example.org": POLICY}, dns=zone(), **changes)
    assert it.asked == asked
    assert bool(it.host.lane.domain) is ("example.org" in asked)


def overridden(mode: TlsMode | None, **changes: Any) -> Learned:
    only = DestinationSettings((".org",), mode, ("relay.example.net",), ("sha256:00",), 3, None)
    shaping = attrs.evolve(settings().shaping, destinations=(only,))
    return learned(policies={"example.org": POLICY}, dns=zone(mx=EE), shaping=shaping, **changes)


def test_an_override_asks_nobody_and_is_told_of_to_nobody() -> None:
    it = overridden(TlsMode.VERIFY)
    assert it.asked == []
    assert it.demand() == Demand(
        Level.VERIFY, "mx.example.org", False, ("relay.example.net",), (), ("sha256:00",), is_authentic=True
    )
    wanted = it.demand()
    assert isinstance(wanted, Demand)
    it.security.tried(it.host, HOP, wanted, "", "", Fault(TlsFailure.CERTIFICATE_EXPIRED, ""))
    assert it.told == []


def test_an_override_by_dane_asks_for_records_alone() -> None:
    it = overridden(TlsMode.DANE)
    assert it.asked == ["TLSA _25._tcp.mx.example.org"]
    wanted = it.demand()
    assert isinstance(wanted, Demand)
    assert wanted.level is Level.DANE


def test_a_table_that_says_nothing_of_tls_overrides_nothing() -> None:
    assert overridden(None).asked == ["TLSA _25._tcp.mx.example.org", "example.org"]


def test_on_the_loopback_implicit_tls_looks_at_no_certificate() -> None:
    it = learned("", "localhost", hosts=("localhost:465",), tls=TlsMode.IMPLICIT)
    near, far = Hop("localhost", "127.0.0.1", 465), Hop("localhost", "192.0.2.1", 465)
    levels = [found.level for hop in (near, far) if isinstance(found := it.demand(hop=hop), Demand)]
    assert levels == [Level.ENCRYPT, Level.VERIFY]
    proxy = Socks5("192.0.2.80", 1080, None, None)  # behind it the loopback is another machine's
    behind = learned("", "localhost", hosts=("localhost:465",), tls=TlsMode.IMPLICIT, socks5=proxy)
    for strict in (it.demand(hop=near, require_tls=True), behind.demand(hop=near)):
        assert isinstance(strict, Demand)
        assert strict.level is Level.VERIFY


def test_what_is_told_has_the_policy_as_it_was_published() -> None:
    good = Fault(TlsFailure.SUCCESS, "")
    it = learned(dns=zone(mx=EE))
    wanted = it.demand()
    assert isinstance(wanted, Demand)
    it.security.tried(it.host, HOP, wanted, "198.51.100.1", "mx.example.org", good)
    assert it.told == [TlsResult(
        "example.org", PolicyType.TLSA, ("3 1 1 " + "00" * 32,), (), "mx.example.org", "198.51.100.1", "192.0.2.1",
        "mx.example.org", TlsFailure.SUCCESS, "",
    )]
    it = learned(policies={"example.org": POLICY})
    wanted = it.demand()
    assert isinstance(wanted, Demand)
    it.security.tried(it.host, HOP, wanted, "", "", good)
    assert it.told[0].policy_strings == (
        "version: STSv1", "mode: enforce", "mx: mx.example.org", "max_age: 86400",
    )
    assert (it.told[0].policy_type, it.told[0].mx_patterns) == (PolicyType.STS, ("mx.example.org",))


def test_a_message_that_cannot_be_sent_so_is_returned_and_nobody_is_told() -> None:
    it = learned(tls=TlsMode.NEVER)
    refused = it.demand(require_tls=True)
    assert isinstance(refused, Refused)
    outcome: Outcome = it.security.refused(it.host, HOP, refused, True)
    assert (outcome.permanence, outcome.reply.status) == (Permanence.PERMANENT, "5.7.10")
    assert it.told == []


@each(
    ("head", "does"),
    [
        (b"TLS-Required: No\r\n\r\n", True),
        (b"Subject: x\r\ntls-required:no\r\nTo: y\r\n\r\nhello", True),
        (b"Subject: x\r\nTLS-REQUIRED : NO \r\n\r\n", True),
        (b"Subject: x\r\nTLS-Required: No\r\n", True),  # a header without a body
        (b"Subject: x\r\nTLS-Required: Yes\r\n\r\n", False),
        (b"Subject: x\r\nTLS-Required: No way\r\n\r\n", False),
        (b"Subject: x\r\nX-TLS-Required: No\r\n\r\n", False),
        (b"Subject: x\r\n TLS-Required: No\r\n\r\n", False),
        (b"Subject: x\r\n\r\nTLS-Required: No\r\n", False),
        (b"", False),
    ],
)
def test_a_message_may_say_that_tls_is_not_required(head: bytes, does: bool) -> None:
    assert result_of(says_not_required(message(head))) is does
    assert result_of(says_not_required(large(*(head[i:i + 1] for i in range(len(head)))))) is does


def test_a_header_is_looked_at_so_far_and_no_further() -> None:
    line = b"TLS-Required: No\r\n"
    for more, does in ((0, True), (1, False)):
        filling = b"X: " + b"x" * (MOST_HEADER_OCTETS - len(line) - 5 + more) + b"\r\n"
        assert len(filling + line) == MOST_HEADER_OCTETS + more
        assert result_of(says_not_required(message(filling + line + b"Y: z\r\n" * 2))) is does


@each("pieces", [(TemporaryFault("disk"),), (b"TLS-Required: No\r\n", TemporaryFault("disk"))])
def test_content_that_cannot_be_read_says_nothing(pieces: Any) -> None:
    assert result_of(says_not_required(large(*pieces))) is False
