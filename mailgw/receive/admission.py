"""A session's standing with the limits across sessions, and the counters of this process behind their port.

Rules:
    Limits per address are not for ``trusted_clients``, nor for clients of a Unix socket.
    What is over a limit is told so with a 4yz and a time, since an honest client may be over it too.
"""

import math
from collections.abc import Callable, Sequence

from mailgw.mail.envelope import Client
from mailgw.mail.ports import Counters, Excess, Lock
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Verdict
from mailgw.policy.limits import CounterSettings, Limits, places
from mailgw.policy.lockout import Lockout, LockoutSettings, login_key
from mailgw.policy.rules.scripted import Greylisted


class OwnCounters:
    """``mail.ports.Counters`` where one process has all connections: its answers are there at once."""

    def __init__(self, limits: Limits, lockout: Lockout, now: Callable[[], float]) -> None:
        self._limits = limits
        self._lockout = lockout
        self._now = now
        self._greylisted = Greylisted()

    def renew(self, limits: CounterSettings, lockout: LockoutSettings) -> None:
        """Other limits; what was counted, and who is locked out, stays."""
        self._limits.renew(limits, self._now())
        self._lockout.renew(lockout)

    async def enter(self, address: str) -> Excess | None:
        return self._limits.enter(address, self._now())

    async def leave(self, address: str) -> None:
        self._limits.leave(address)

    async def message(self, address: str | None, login: str | None) -> Excess | None:
        return self._limits.message(address, login, self._now())

    async def login_begins(self, address: str, login: str | None) -> Excess | None:
        now = self._now()
        key = None
        if login is not None:
            key = login_key(login)
            # Where it succeeded before it has a rate of its own, which strangers cannot use up.
            if self._lockout.is_home(address, login):
                key = f"{key} {places(address)[0]}"
        # A lock is asked first: who waits for its end shall not find the rate used up by his own impatience.
        return self._lockout.begin(address, login, now, lambda: self._limits.login(address, key, now))

    async def login_ends(
        self, address: str, login: str | None, is_right: bool | None, account: str | None
    ) -> Sequence[Lock]:
        return self._lockout.end(address, login, is_right, self._now(), account)

    async def first_time(self, sender: str, recipient: str) -> bool:
        return self._greylisted.first_time(sender, recipient)


class Standing:
    """One session's.  ``enter`` once, when its address is known for good; ``leave`` at its end, whatever came
    before."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._address: str | None = None
        self._has_left = False

    async def enter(self, client: Client) -> Verdict | None:
        """None where there is room, else what is to be said."""
        if client.is_trusted:
            return None
        excess = await self._counters.enter(client.address)
        if excess is not None:
            return objection(excess)
        self._address = client.address
        if self._has_left:  # while the counters' owner was asked
            await self._counters.leave(client.address)
        return None

    async def leave(self) -> None:
        self._has_left = True
        address, self._address = self._address, None
        if address is not None:
            await self._counters.leave(address)

    def is_counted(self, client: Client) -> bool:
        """Whether ``message`` has anything to ask: most clients on the way of much mail are trusted."""
        return client.login is not None or not client.is_trusted

    async def message(self, client: Client) -> Verdict | None:
        """None where one more message is within the rates, else what is to be said at MAIL."""
        excess = await self._counters.message(None if client.is_trusted else client.address, client.login)
        return None if excess is None else objection(excess)

    async def login_begins(self, client: Client, login: str | None) -> Verdict | None:
        """None where the password may be looked at, and then ``login_ends`` has to follow."""
        if client.is_trusted:
            return None
        excess = await self._counters.login_begins(client.address, login)
        return None if excess is None else objection(excess)

    async def login_ends(
        self, client: Client, login: str | None, is_right: bool | None, account: str | None
    ) -> Sequence[Lock]:
        """``account`` is whose login it was, if it was right."""
        if client.is_trusted:
            return ()
        # Nobody is at home at an address that many share: who guesses there would have no lock against him.
        home = None if client.is_address_shared else account
        return await self._counters.login_ends(client.address, login, is_right, home)


def objection(excess: Excess) -> Verdict:
    """The limit's name is for the journal, its words for the client."""
    when = f"try again in {_time_text(excess.seconds)}" if excess.seconds else "close some, or try again later"
    # RFC 4954 s6: 454 says that the login may be right; the session may go on.
    code = 454 if excess.limit == "lockout" else 421
    return Verdict(excess.limit, "", Reply(code, "4.7.0", (f"{_WORDS[excess.limit]}: {when}",)))


def _time_text(seconds: float) -> str:
    whole = max(1, math.ceil(seconds - 0.001))
    return f"{whole} seconds" if whole < 120 else f"{(whole + 59) // 60} minutes"


_WORDS = {
    "sessions_per_address": "Too many connections from your address",
    "sessions_per_network": "Too many connections from your network",
    "connections_per_address": "Your address connects too often",
    "messages_per_address": "Too many messages from your address",
    "messages_per_login": "Too many messages from this login",
    "logins_per_address": "Too many logins from your address",
    "logins_per_login": "Too many logins under this name",
    "lockout": "Too many failed logins",
}
