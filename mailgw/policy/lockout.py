"""Who guesses passwords has to wait, longer each time; who has logged in from there before does not.

Rules:
    Failures are counted by address, network and login.  At its limit a key is locked, for twice as long after each
    failure more.  They are forgiven slowly: as many a day as the limit.
    A login is never locked where it succeeded before, nor is its address or network for it: so nobody can lock a
    user out of the place that he comes from.  What fails there is counted by the rate of logins alone.  The same
    holds for logins without a name (tokens) where one of them succeeded.
    All spellings of an address are one login.
    What is begun counts as a failure until it ended, or many sessions could guess at the same moment.
    Whether a login exists makes no difference to anything here.
    Tables have a fixed size; a full one forgets who failed least.
Known faults: who guesses from the user's own address has no lock against him, only rates and the errors of a session.
    Names that a source of accounts takes beside the address ("alice" for Dovecot) are logins of their own.
"""

from collections.abc import Callable
from typing import Final

import attrs

from mailgw.mail.address import one_spelling
from mailgw.mail.ports import Excess, Lock
from mailgw.policy.limits import TABLE_KEYS, places

DAY: Final = 86_400.0
# Addresses and networks where one login is at home: offices, homes, a phone's networks.
PLACES_OF_ONE: Final = 32
LOGIN_LENGTH: Final = 256


@attrs.frozen
class LockoutSettings:
    """Failures that lock an address (IPv6: a /64), a network and a login; the first lock's time, and the longest."""

    failures_per_address: int
    failures_per_network: int
    failures_per_login: int
    first_seconds: float
    longest_seconds: float


@attrs.define
class _Record:
    failures: int
    forgiven_at: float
    pending: int = 0
    locked_until: float = 0.0


class _Table:
    """Failures by key."""

    def __init__(self, name: str, limit: int, settings: LockoutSettings, most_keys: int) -> None:
        self.name = name
        self.renew(limit, settings)
        self._most_keys = most_keys
        self._records: dict[str, _Record] = {}

    def renew(self, limit: int, settings: LockoutSettings) -> None:
        """Other limits.  Failures stay, and locks last as long as they were to."""
        self._limit = limit
        self._first, self._longest = settings.first_seconds, settings.longest_seconds
        # How many failures above the limit make a lock longer; more are not remembered.
        self._steps = 0
        while self._first * 2**self._steps < self._longest:
            self._steps += 1
        self._forgive_seconds = DAY / limit

    def __len__(self) -> int:
        return len(self._records)

    def wait(self, key: str, now: float) -> float:
        """Seconds until the key may try; 0 for now."""
        record = self._records.get(key)
        if record is None:
            return 0.0
        if record.locked_until > now:
            return record.locked_until - now
        self._forgive(record, now)
        is_busy = record.pending and record.failures + record.pending >= self._limit
        return 1.0 if is_busy else 0.0

    def begin(self, key: str, now: float) -> None:
        record = self._records.get(key)
        if record is None:
            if len(self._records) >= self._most_keys:
                self._shrink(now)
            record = self._records[key] = _Record(0, now)
        record.pending += 1

    def end(self, key: str, has_failed: bool, now: float) -> Lock | None:
        record = self._records.get(key)
        if record is None:
            if not has_failed:
                return None
            self.begin(key, now)  # it was forgotten meanwhile
            record = self._records[key]
        record.pending = max(0, record.pending - 1)
        if not has_failed:
            if not record.failures and not record.pending:
                del self._records[key]
            return None
        self._forgive(record, now)
        record.failures += 1
        above = record.failures - self._limit
        if above < 0:
            return None
        record.failures = min(record.failures, self._limit + self._steps)
        seconds: float = min(self._first * 2**min(above, self._steps), self._longest)
        record.locked_until = now + seconds
        return Lock(self.name, key, seconds)

    def _forgive(self, record: _Record, now: float) -> None:
        forgiven = int((now - record.forgiven_at) / self._forgive_seconds)
        if forgiven:
            record.failures = max(0, record.failures - forgiven)
            record.forgiven_at += forgiven * self._forgive_seconds
        if not record.failures:
            record.forgiven_at = now

    def _shrink(self, now: float) -> None:
        """Keep three quarters: who failed most, and of those who failed as often the latest."""
        for record in self._records.values():
            self._forgive(record, now)
        kept = sorted(self._records.items(), key=lambda item: (item[1].failures, item[1].pending))
        self._records = dict(kept[len(kept) - self._most_keys * 3 // 4:])


class _Homes:
    """Where each login succeeded, the latest last."""

    def __init__(self, most_logins: int) -> None:
        self._most_logins = most_logins
        self._by_login: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._by_login)

    def has(self, login: str, place: str) -> bool:
        return place in self._by_login.get(login, ())

    def add(self, login: str, *homes: str) -> None:
        known = self._by_login.pop(login, None) or {}
        for place in homes:
            known.pop(place, None)
            known[place] = None
        while len(known) > PLACES_OF_ONE:
            del known[next(iter(known))]
        if len(self._by_login) >= self._most_logins:
            del self._by_login[next(iter(self._by_login))]
        self._by_login[login] = known


def _no_rate() -> None:
    return None


class Lockout:
    """All of it.  ``now`` is monotonic, in seconds.  A mechanism that names no login before it ends gives None."""

    def __init__(self, settings: LockoutSettings, most_keys: int = TABLE_KEYS) -> None:
        self._addresses = _Table("address", settings.failures_per_address, settings, most_keys)
        self._networks = _Table("network", settings.failures_per_network, settings, most_keys)
        self._logins = _Table("login", settings.failures_per_login, settings, most_keys)
        self._homes = _Homes(most_keys)
        # Addresses where a login without a name succeeded, each its own and only key.
        self._nameless = _Homes(most_keys)
        # What was begun and counted, by place and login: it may be at home when it ends.
        self._begun: dict[tuple[str, str | None], int] = {}

    def renew(self, settings: LockoutSettings) -> None:
        """Other limits; who failed, and who is at home where, stays known."""
        self._addresses.renew(settings.failures_per_address, settings)
        self._networks.renew(settings.failures_per_network, settings)
        self._logins.renew(settings.failures_per_login, settings)

    def is_home(self, address: str, login: str | None) -> bool:
        """Whether this login succeeded from this address before; None is any that gave no name."""
        place = places(address)[0]
        return self._nameless.has(place, place) if login is None else self._homes.has(login_key(login), place)

    def begin(
        self, address: str, login: str | None, now: float, rate: Callable[[], Excess | None] = _no_rate
    ) -> Excess | None:
        """A password is offered: an Excess where it is not to be looked at, else ``end`` is to be called.

        ``rate`` is asked where there is no lock, and may refuse as well.
        """
        if self.is_home(address, login):
            return rate()
        tables = self._tables(address, login)
        network = places(address)[1]
        is_near = login is not None and self._homes.has(login_key(login), network)
        for table, key in tables:
            # From a network where it is at home only the address itself speaks against a login.
            if not is_near or table is self._addresses:
                seconds = table.wait(key, now)
                if seconds:
                    return Excess("lockout", seconds)
        excess = rate()
        if excess is not None:
            return excess
        for table, key in tables:
            table.begin(key, now)
        attempt = _attempt(address, login)
        self._begun[attempt] = self._begun.get(attempt, 0) + 1
        return None

    def end(
        self, address: str, login: str | None, is_right: bool | None, now: float, account: str | None = None
    ) -> tuple[Lock, ...]:
        """It was right, wrong, or could not be judged (None).  Returns the locks that this began.

        ``account`` is whose login it turned out to be, who is at home there from now on; None makes no home.
        """
        locks: tuple[Lock, ...] = ()
        attempt = _attempt(address, login)
        begun = self._begun.pop(attempt, 0)
        if begun:
            if begun > 1:
                self._begun[attempt] = begun - 1
            ended = [table.end(key, is_right is False, now) for table, key in self._tables(address, login)]
            locks = tuple(lock for lock in ended if lock is not None)
        if is_right and account is not None:
            place, network = places(address)
            if login is None:
                self._nameless.add(place, place)
            # Under both names where the source of accounts has another one for it than its client.
            for name in {login_key(account), login_key(login or account)}:
                self._homes.add(name, network, place)
        return locks

    def _tables(self, address: str, login: str | None) -> list[tuple[_Table, str]]:
        place, network = places(address)
        tables = [(self._addresses, place), (self._networks, network)]
        return tables if login is None else [*tables, (self._logins, login_key(login))]


def _attempt(address: str, login: str | None) -> tuple[str, str | None]:
    return places(address)[0], None if login is None else login_key(login)


def login_key(login: str) -> str:
    """Whom the name claims to be, however he is spelled; what is longer than an address can be is nobody's."""
    return one_spelling(login)[:LOGIN_LENGTH]
