"""Rates at n and n + 1, tables that stay small, and offenders who are not forgotten."""

import pytest

from mailgw.mail.rate import Rate
from mailgw.policy.limits import CounterSettings, Crowd, Limits, RateTable, places
from tests.tables import each

OPEN = Rate(1000, 1.0)


def limits(**changes: object) -> Limits:
    settings = {
        "sessions_per_address": 100, "sessions_per_network": 100, "connections_per_address": OPEN,
        "messages_per_address": OPEN, "messages_per_login": OPEN, "logins_per_address": OPEN, "logins_per_login": OPEN,
    }
    return Limits(CounterSettings(**{**settings, **changes}))  # type: ignore[arg-type] # a table of tests


def taken(table: RateTable, key: str, now: float, tries: int) -> int:
    """How many of ``tries`` are let pass."""
    passed = 0
    for _ in range(tries):
        if not table.wait(key, now):
            table.count(key, now)
            passed += 1
    return passed


@each("count", [1, 3, 7, 30, 1000])
@each("start", [0.0, 1.1, 12345678.9])
def test_a_rate_is_its_count_at_once_and_then_one_an_interval(count: int, start: float) -> None:
    table = RateTable(Rate(count, 60.0))
    assert taken(table, "a", start, count + 5) == count
    assert taken(table, "a", start + 0.99 * 60 / count, 1) == 0
    assert taken(table, "a", start + 1.01 * 60 / count, 2) == 1
    assert taken(table, "a", start + 200, count + 5) == count


def test_the_wait_is_what_it_says() -> None:
    table = RateTable(Rate(2, 60.0))
    assert taken(table, "a", 100.0, 3) == 2
    assert table.wait("a", 100.0) == pytest.approx(30.0)
    assert table.wait("a", 130.0) == 0.0
    assert table.wait("b", 100.0) == 0.0


def test_a_rate_table_stays_small_and_forgets_the_innocent_first() -> None:
    table = RateTable(Rate(100, 100.0), most_keys=8)
    taken(table, "offender", 0.0, 100)
    taken(table, "offender2", 0.0, 50)
    for number in range(1000):
        table.count(f"k{number}", 0.001 * number)
        assert len(table) <= 8
    assert table.wait("offender", 1.0) == 0.0
    assert taken(table, "offender", 1.0, 10) == 1
    assert taken(table, "offender2", 1.0, 100) == 51


def test_a_rate_table_forgets_who_owes_nothing() -> None:
    table = RateTable(Rate(1, 1.0), most_keys=4)
    for number in range(4):
        table.count(str(number), 0.0)
    table.count("later", 2.0)
    assert len(table) == 1


def test_a_crowd_counts_who_is_there() -> None:
    crowd = Crowd(2)
    crowd.enter("a")
    assert not crowd.is_full("a")
    crowd.enter("a")
    assert crowd.is_full("a")
    assert not crowd.is_full("b")
    crowd.leave("a")
    assert not crowd.is_full("a")
    crowd.leave("a")
    crowd.leave("a")
    assert len(crowd) == 0


@each(
    ("address", "keys"),
    [
        ("192.0.2.1", ("192.0.2.1", "192.0.2.0/24")),
        ("2001:db8:1:23ff:5::7", ("2001:db8:1:23ff::/64", "2001:db8:1:2300::/56")),
        ("::1", ("::/64", "::/56")),
        ("fe80::1%eth0", ("fe80::/64", "fe80::/56")),
    ],
)
def test_the_places_of_an_address(address: str, keys: tuple[str, str]) -> None:
    assert places(address) == keys


def test_sessions_of_an_address_and_of_a_network_at_n_and_one_more() -> None:
    counted = limits(sessions_per_address=2, sessions_per_network=3)
    assert counted.enter("192.0.2.1", 0.0) is None
    assert counted.enter("192.0.2.1", 0.0) is None
    assert getattr(counted.enter("192.0.2.1", 0.0), "limit", None) == "sessions_per_address"
    assert counted.enter("192.0.2.9", 0.0) is None
    assert getattr(counted.enter("192.0.2.8", 0.0), "limit", None) == "sessions_per_network"
    assert counted.enter("192.0.3.1", 0.0) is None
    counted.leave("192.0.2.1")
    assert counted.enter("192.0.2.8", 0.0) is None


def test_a_refused_connection_does_not_count() -> None:
    counted = limits(connections_per_address=Rate(2, 60.0), sessions_per_address=1)
    assert counted.enter("192.0.2.1", 0.0) is None
    for _ in range(5):
        assert counted.enter("192.0.2.1", 0.0) is not None
    counted.leave("192.0.2.1")
    assert counted.enter("192.0.2.1", 0.0) is None
    counted.leave("192.0.2.1")
    excess = counted.enter("192.0.2.1", 0.0)
    assert excess is not None
    assert (excess.limit, excess.seconds) == ("connections_per_address", pytest.approx(30.0))


def test_messages_of_an_address_and_of_a_login() -> None:
    counted = limits(messages_per_address=Rate(2, 60.0), messages_per_login=Rate(1, 60.0))
    assert counted.message("192.0.2.1", "a@x", 0.0) is None
    # What the login may not is not counted for the address.
    for _ in range(3):
        assert getattr(counted.message("192.0.2.1", "a@x", 0.0), "limit", None) == "messages_per_login"
    assert counted.message("192.0.2.1", None, 0.0) is None
    assert getattr(counted.message("192.0.2.1", None, 0.0), "limit", None) == "messages_per_address"
    assert counted.message(None, None, 0.0) is None
    assert counted.message(None, "b@x", 0.0) is None
    assert counted.message(None, "b@x", 0.0) is not None


def test_logins_of_an_address_and_of_a_name() -> None:
    counted = limits(logins_per_address=Rate(2, 60.0), logins_per_login=Rate(1, 60.0))
    assert counted.login("192.0.2.1", "a", 0.0) is None
    assert getattr(counted.login("192.0.2.1", "a", 0.0), "limit", None) == "logins_per_login"
    assert counted.login("192.0.2.1", "b", 0.0) is None
    assert getattr(counted.login("192.0.2.1", "c", 0.0), "limit", None) == "logins_per_address"
