"""How much one client may have at once and over time: pure counters in tables of a fixed size.

Rules:
    A rate "30/1m" is a bucket: 30 at once, then one every 2 seconds.  What is refused is not counted, so who
    comes too often gets exactly the rate, and who comes back later gets in.
    An IPv6 "address" is its /64, since one host has all of it; a network is a /24, or a /56.
    A table that is full forgets who owes least.  To be forgotten, an offender would have to bring as many keys as
    the table holds, each of them more in debt than he is.
"""

import functools
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_network
from typing import Final

import attrs

from mailgw.mail.ports import Excess
from mailgw.mail.rate import Rate

# Some 5 MiB a table when it is full.
TABLE_KEYS: Final = 20_000


@attrs.frozen
class CounterSettings:
    """What one address (IPv6: /64), one network (/24, /56) and one login may have.  Sessions are those at once."""

    sessions_per_address: int
    sessions_per_network: int
    connections_per_address: Rate
    messages_per_address: Rate
    messages_per_login: Rate
    logins_per_address: Rate
    logins_per_login: Rate


@functools.lru_cache(maxsize=4096)
def places(address: str) -> tuple[str, str]:
    """The keys by which an address (as ``Client`` has it) and its network are counted."""
    if ":" not in address:
        return address, f"{address.rpartition('.')[0]}.0/24"
    bits = int(IPv6Address(address.partition("%")[0]))
    return tuple(str(ip_network((bits >> 128 - n << 128 - n, n))) for n in (64, 56))  # type: ignore[return-value]


class RateTable:
    """Counts events by key against one rate."""

    def __init__(self, rate: Rate, most_keys: int = TABLE_KEYS) -> None:
        self._interval = rate.seconds / rate.count
        self._seconds = rate.seconds
        self._most_keys = most_keys
        # When the bucket of a key is full again: it has not to be known after that.
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def renew(self, rate: Rate, now: float) -> None:
        """Another rate.  As many events as are owed now are owed then, but no more than that rate lets anybody owe."""
        interval, before = rate.seconds / rate.count, self._interval
        if (interval, rate.seconds) == (before, self._seconds):
            return
        self._full_at = {
            key: now + min((at - now) / before * interval, rate.seconds)
            for key, at in self._full_at.items() if at > now
        }
        self._interval, self._seconds = interval, rate.seconds

    def wait(self, key: str, now: float) -> float:
        """Seconds until one more is allowed; 0 where it is allowed now."""
        full_at = self._full_at.get(key)
        if full_at is None or full_at <= now:
            return 0.0
        excess = full_at + self._interval - now - self._seconds
        return excess if excess > 1e-6 * self._seconds else 0.0  # sums of intervals are not exact

    def count(self, key: str, now: float) -> None:
        """Count one that ``wait`` allowed."""
        full_at = self._full_at.get(key)
        if full_at is None and len(self._full_at) >= self._most_keys:
            self._shrink(now)
        self._full_at[key] = max(now, full_at or now) + self._interval

    def _shrink(self, now: float) -> None:
        """Forget who owes nothing; and, that it is not to be done soon again, who owes least.

        A quarter goes at a time: what sorting costs is shared by as many new keys.
        """
        kept = {key: at for key, at in self._full_at.items() if at > now}
        room = self._most_keys * 3 // 4
        if len(kept) > room:
            kept = dict(sorted(kept.items(), key=lambda item: item[1])[len(kept) - room:])
        self._full_at = kept


class Crowd:
    """Counts who is there now, by key; a key nobody has is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._present: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._present)

    def renew(self, most: int) -> None:
        """Another limit, for who comes from now on."""
        self._most = most

    def is_full(self, key: str) -> bool:
        return self._present.get(key, 0) >= self._most

    def enter(self, key: str) -> None:
        self._present[key] = self._present.get(key, 0) + 1

    def leave(self, key: str) -> None:
        left = self._present.get(key, 0) - 1
        if left > 0:
            self._present[key] = left
        else:
            self._present.pop(key, None)


class Limits:
    """All counters of one owner.  ``now`` is monotonic, in seconds.

    Each method that may refuse returns what was too much, and has then counted nothing; or None.
    """

    def __init__(self, settings: CounterSettings, most_keys: int = TABLE_KEYS) -> None:
        self._by_address = Crowd(settings.sessions_per_address)
        self._by_network = Crowd(settings.sessions_per_network)
        self._connections = RateTable(settings.connections_per_address, most_keys)
        self._messages = RateTable(settings.messages_per_address, most_keys)
        self._login_messages = RateTable(settings.messages_per_login, most_keys)
        self._logins = RateTable(settings.logins_per_address, most_keys)
        self._login_logins = RateTable(settings.logins_per_login, most_keys)

    def renew(self, settings: CounterSettings, now: float) -> None:
        """Other limits; what was counted stays."""
        self._by_address.renew(settings.sessions_per_address)
        self._by_network.renew(settings.sessions_per_network)
        self._connections.renew(settings.connections_per_address, now)
        self._messages.renew(settings.messages_per_address, now)
        self._login_messages.renew(settings.messages_per_login, now)
        self._logins.renew(settings.logins_per_address, now)
        self._login_logins.renew(settings.logins_per_login, now)

    def enter(self, address: str, now: float) -> Excess | None:
        """A connection opens.  What was let in has to ``leave``."""
        place, network = places(address)
        if self._by_address.is_full(place):
            return Excess("sessions_per_address", 0.0)
        if self._by_network.is_full(network):
            return Excess("sessions_per_network", 0.0)
        excess = _count([("connections_per_address", self._connections, place)], now)
        if excess is None:
            self._by_address.enter(place)
            self._by_network.enter(network)
        return excess

    def leave(self, address: str) -> None:
        place, network = places(address)
        self._by_address.leave(place)
        self._by_network.leave(network)

    def message(self, address: str | None, login: str | None, now: float) -> Excess | None:
        """A message begins.  ``address`` None is not counted, nor is ``login`` None."""
        wanted = []
        if address is not None:
            wanted.append(("messages_per_address", self._messages, places(address)[0]))
        if login is not None:
            wanted.append(("messages_per_login", self._login_messages, login))
        return _count(wanted, now)

    def login(self, address: str, login: str | None, now: float) -> Excess | None:
        """A password is offered; ``login`` is the key that it is counted by, None for none."""
        wanted = [("logins_per_address", self._logins, places(address)[0])]
        if login is not None:
            wanted.append(("logins_per_login", self._login_logins, login))
        return _count(wanted, now)


def _count(wanted: Iterable[tuple[str, RateTable, str]], now: float) -> Excess | None:
    """Count one in all tables, or in none."""
    wanted = tuple(wanted)
    for name, table, key in wanted:
        seconds = table.wait(key, now)
        if seconds > 0:
            return Excess(name, seconds)
    for _, table, key in wanted:
        table.count(key, now)
    return None
