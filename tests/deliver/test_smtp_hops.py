"""Where a domain's mail goes, on a DNS that is plain data."""

import attrs

from mailgw.deliver.smtp_hops import HOSTS_PER_DOMAIN, Hop, Target, given_targets, mx_targets, places_of
from mailgw.interfaces import IRelay
from mailgw.mail.outcome import Outcome, Permanence, Scope
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, Net
from tests.tables import each

HERE = frozenset({"us.example.net", "192.0.2.99"})
DNS = FakeResolver(
    mx_records={
        "two.example": [(20, "b.two.example"), (10, "a.two.example")],
        "equal.example": [(10, "a.equal.example"), (10, "b.equal.example"), (10, "a.equal.example"), (5, "best.test")],
        "null.example": [(0, "")],
        "odd-null.example": [(0, ""), (10, "mx.odd-null.example")],
        "backup.example": [(10, "first.example"), (20, "us.example.net"), (20, "peer.example"), (30, "last.example")],
        "ours.example": [(10, "us.example.net"), (20, "last.example")],
    },
    address_records={"implicit.example": ["192.0.2.7"], "us.example.net": ["192.0.2.99"]},
    failing=frozenset({"sick.example"}),
    empty=frozenset({"empty.example"}),
)


def targets(domain: str) -> list[str] | str:
    found = result_of(mx_targets(domain, DNS, list.reverse, HERE))
    if isinstance(found, Outcome):
        assert found.scope is Scope.HOST
        return f"{found.permanence.value} {found.reply.status}"
    assert {target.port for target in found} == {25}
    return [target.host for target in found]


@each(
    ("domain", "hosts"),
    [
        ("two.example", ["a.two.example", "b.two.example"]),
        ("equal.example", ["best.test", "b.equal.example", "a.equal.example"]),  # shuffled: turned round here
        ("implicit.example", ["implicit.example"]),
        ("null.example", "permanent 5.1.10"),
        ("odd-null.example", ["mx.odd-null.example"]),
        ("nowhere.example", "permanent 5.1.2"),
        ("empty.example", "permanent 5.1.2"),
        ("sick.example", "temporary 4.4.3"),
        ("backup.example", ["first.example"]),
        ("ours.example", "permanent 5.4.6"),
        ("us.example.net", "permanent 5.4.6"),
        ("[192.0.2.1]", ["192.0.2.1"]),
        ("[IPv6:2001:db8::1]", ["2001:db8::1"]),
    ],
)
def test_by_mx(domain: str, hosts: list[str] | str) -> None:
    assert targets(domain) == hosts


def test_only_a_signed_mx_says_what_else_a_certificate_may_name() -> None:
    zone = FakeResolver(mx_records={"b.example": [(10, "mx.test")]}, aliases={"a.example": "b.example"})
    for secure, next_hops in (({"example"}, ("a.example", "b.example")), ({"a.example"}, ()), (set[str](), ())):
        dns = attrs.evolve(zone, secure=frozenset(secure))
        found = result_of(mx_targets("a.example", dns, list.reverse, HERE))
        assert found == (Target("mx.test", 25, bool(next_hops), next_hops),)


def test_hosts_of_a_domain_are_bounded() -> None:
    for number in (HOSTS_PER_DOMAIN, HOSTS_PER_DOMAIN + 1):
        dns = FakeResolver(mx_records={"a.example": [(rank, f"mx{rank}.example") for rank in range(number, 0, -1)]})
        found = result_of(mx_targets("a.example", dns, list.reverse, HERE))
        assert isinstance(found, tuple)
        assert [target.host for target in found] == [f"mx{rank}.example" for rank in range(1, HOSTS_PER_DOMAIN + 1)]


def test_given_hosts() -> None:
    assert given_targets(["smtp.example.net:587", "[2001:db8::1]:25", "unix:/run/lmtp:x"]) == (
        Target("smtp.example.net", 587), Target("2001:db8::1", 25), Target("/run/lmtp:x", 0),
    )


def test_addresses_take_turns_and_are_bounded() -> None:
    dns = FakeResolver(
        address_records={
            "mx.example": ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "0.0.0.0", "192.0.2.2"],
            "four.example": [f"192.0.2.{i}" for i in range(9)],
        },
        failing=frozenset({"sick.example"}),
    )
    found = result_of(places_of(Target("mx.example", 25), dns))
    assert [str(hop) for hop in found.hops] == [
        "mx.example [2001:db8::1]:25", "mx.example [192.0.2.1]:25", "mx.example [2001:db8::2]:25",
        "mx.example [192.0.2.2]:25",
    ]
    assert len(result_of(places_of(Target("four.example", 25), dns)).hops) == 4
    for host, status in (("sick.example", "4.4.3"), ("none.example", "4.4.4")):
        fault = result_of(places_of(Target(host, 25), dns))
        assert isinstance(fault, Outcome)
        assert (fault.permanence, fault.reply.status) == (Permanence.TEMPORARY, status)


def test_hops_have_names() -> None:
    assert str(Hop("192.0.2.1", "192.0.2.1", 25)) == "[192.0.2.1]:25"
    assert str(Hop("", "/run/lmtp", 0)) == "unix:/run/lmtp"
    assert Hop("", "/run/lmtp", 0).is_loopback
    assert Hop("localhost", "127.0.0.1", 25).is_loopback
    assert Hop("localhost", "::1", 25).is_loopback
    assert not Hop("localhost", "192.0.2.1", 25).is_loopback


# --- through the backend -----------------------------------------------------------------------------------------

def by_mx(dns: FakeResolver, **changes: object) -> Net:
    return Net(dns, hosts=(), own_names=HERE, **changes)  # type: ignore[arg-type] # a table of a test


def test_a_lane_is_a_domain() -> None:
    assert by_mx(DNS).backend.lane(ANN) == "example.org"
    assert Net().backend.lane(ANN) == ""


def test_the_second_mx_serves_when_the_first_has_no_address_or_refuses() -> None:
    dns = FakeResolver(
        mx_records={"example.org": [(10, "gone.example"), (20, "dead.example"), (30, "mx.example")]},
        address_records={"dead.example": ["2001:db8::1", "192.0.2.1"], "mx.example": ["192.0.2.2"]},
    )
    net = by_mx(dns)
    delivery = net.deliver()
    net.refuse()
    net.refuse()
    net.accept().greet().accept_all()
    assert net.calls() == [("2001:db8::1", 25), ("192.0.2.1", 25), ("192.0.2.2", 25)]
    assert delivery.outcomes[ANN].hop == "mx.example [192.0.2.2]:25"


def test_a_definite_answer_of_dns_is_the_outcome() -> None:
    delivery = by_mx(FakeResolver()).deliver()
    assert delivery.texts == {"ann": "permanent 550 5.1.2 The domain example.org does not exist"}


def test_all_hosts_without_an_address_is_temporary() -> None:
    delivery = by_mx(FakeResolver(mx_records={"example.org": [(10, "gone.example")]})).deliver()
    assert delivery.texts == {"ann": "temporary 451 4.4.4 The host gone.example has no address"}


def test_an_mx_with_our_address_ends_the_list() -> None:
    addresses = {"mx.example": ["192.0.2.1"], "alias-of-us.example": ["192.0.2.99"], "last.example": ["192.0.2.3"]}
    records = [(10, "mx.example"), (20, "alias-of-us.example"), (30, "last.example")]
    net = by_mx(FakeResolver({"example.org": records}, addresses))
    delivery = net.deliver()
    net.refuse()
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: Connection refused"}
    assert net.calls() == [("192.0.2.1", 25)]
    only_us = by_mx(FakeResolver({"example.org": records[1:]}, addresses)).deliver()
    assert only_us.texts == {"ann": "permanent 550 5.4.6 Mail for example.org loops back to this host"}


@each("name", [b"here.example.net", b"HERE.example.net greets you"])
def test_a_server_that_calls_itself_by_our_name_ends_the_list(name: bytes) -> None:
    addresses = {"mx.example": ["192.0.2.1"], "alias.example": ["192.0.2.98"], "last.example": ["192.0.2.3"]}
    records = [(10, "mx.example"), (20, "alias.example"), (30, "last.example")]
    for refused, told in [(1, "temporary 451 4.4.1"), (0, "permanent 550 5.4.6 Mail loops back to this host")]:
        dns = FakeResolver({"example.org": records[1 - refused :]}, addresses)
        net = Net(dns, frozenset({"here.example.net"}), hosts=())
        delivery = net.deliver()
        if refused:
            net.refuse()
        net.accept().say(b"220 x\r\n").say(b"250-" + name + b"\r\n250 PIPELINING\r\n")
        assert delivery.texts["ann"].startswith(told)


def test_connections_in_one_attempt_are_bounded() -> None:
    names = [f"mx{i}.example" for i in range(9)]
    dns = FakeResolver(
        mx_records={"example.org": [(10, name) for name in names]},
        address_records={name: [f"192.0.2.{i}"] for i, name in enumerate(names)},
    )
    net = by_mx(dns)
    delivery = net.deliver()
    while not delivery.is_over:
        net.refuse()
    assert len(net.calls()) == 8
    assert delivery.outcomes[ANN].permanence is Permanence.TEMPORARY


def test_given_hosts_are_a_relay() -> None:
    assert IRelay.providedBy(Net(hosts=("relay.example:587",)).backend)
    assert not IRelay.providedBy(Net(hosts=()).backend)
