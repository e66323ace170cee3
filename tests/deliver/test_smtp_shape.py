"""How much at once and over time, on a DNS that is plain data."""

from collections import Counter

import pytest

from mailgw.deliver.smtp_settings import DestinationSettings, HostSettings, SourceSettings
from mailgw.deliver.smtp_shape import site_of, source_of
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.rate import Rate
from mailgw.mail.shape import Bounds, Shape
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import Net, shaping
from tests.tables import each

DNS = FakeResolver(
    mx_records={
        "one.example": [(10, "mx2.big.test"), (10, "mx1.big.test"), (5, "mx3.big.test"), (5, "mx4.big.test")],
        "two.example": [(1, "mx3.big.test")],
        "null.example": [(0, "")],
    },
    failing=frozenset({"sick.example"}),
)
BACKEND = {"backend": Bounds(500, None)}


def shape(lane: str, concurrency: int = 20, **changes: object) -> Shape:
    net = Net(DNS, hosts=(), concurrency=concurrency, shaping=shaping(**changes))
    found: Shape = result_of(net.backend.shape(lane))
    return found


@each(
    ("domain", "site"),
    [
        ("one.example", "mx3.big.test"),
        ("two.example", "mx3.big.test"),
        ("implicit.example", "implicit.example"),
        ("null.example", "null.example"),
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
    ],
)
def test_the_site_is_the_best_host(domain: str, site: str) -> None:
    assert result_of(site_of(domain, DNS)) == site


def test_without_an_answer_of_dns_nothing_is_known() -> None:
    with pytest.raises(TemporaryFault):
        shape("sick.example")


def test_domains_of_one_provider_share_its_gate() -> None:
    gates = {**BACKEND, "host:mx3.big.test": Bounds(50, None)}
    assert shape("one.example") == shape("two.example") == Shape(Bounds(20, None), gates)


def test_what_is_said_of_a_destination_is_its_own_and_the_rest_the_backend_s() -> None:
    given = DestinationSettings(("one.example",), None, (), (), 3, None)
    assert shape("one.example", rate=Rate(9, 1), destinations=(given,)).destination == Bounds(3, Rate(9, 1))
    given = DestinationSettings(("one.example",), None, (), (), None, Rate(1, 60))
    assert shape("one.example", rate=Rate(9, 1), destinations=(given,)).destination == Bounds(20, Rate(1, 60))
    assert shape("two.example", rate=Rate(9, 1), destinations=(given,)).destination == Bounds(20, Rate(9, 1))


def test_hosts_of_one_table_share_a_gate() -> None:
    hosts = (
        HostSettings(("mx1.big.test",), 9, None),
        HostSettings(("*.big.test", "mx.other.test"), 2, Rate(5, 1)),
    )
    gates = shape("one.example", hosts=hosts, total_concurrency=7, total_rate=Rate(8, 1)).gates
    assert gates == {"backend": Bounds(7, Rate(8, 1)), "host:*.big.test": Bounds(2, Rate(5, 1))}


def test_given_hosts_are_one_destination() -> None:
    found = result_of(Net(shaping=shaping(rate=Rate(3, 1))).backend.shape(""))
    assert found == Shape(Bounds(20, Rate(3, 1)), BACKEND)


def test_a_site_has_one_source_address_of_each_family() -> None:
    sources = tuple(
        SourceSettings(address, "out.example.org", at + 1, None)
        for at, address in enumerate(["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"])
    )
    plan = shaping(sources=sources)
    sites = [f"mx{i}.example" for i in range(600)]
    chosen = {site: source_of(plan, site, False) for site in sites}
    counted = Counter(source.address for source in chosen.values() if source is not None)
    assert set(counted) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    assert min(counted.values()) > 150, counted
    assert {source_of(plan, site, True) for site in sites} == {sources[3]}
    assert source_of(shaping(sources=sources[3:]), "mx.example", False) is None
    # Without the third, only its own sites move.
    fewer = shaping(sources=sources[:2])
    for site, source in chosen.items():
        if source is not sources[2]:
            assert source_of(fewer, site, False) is source


def test_the_source_addresses_of_a_lane_are_gates() -> None:
    sources = (SourceSettings("192.0.2.1", "a", 5, Rate(1, 1)), SourceSettings("2001:db8::1", "a", 6, None))
    gates = shape("two.example", sources=sources).gates
    assert gates == {
        **BACKEND,
        "host:mx3.big.test": Bounds(50, None),
        "source:192.0.2.1": Bounds(5, Rate(1, 1)),
        "source:2001:db8::1": Bounds(6, None),
    }
