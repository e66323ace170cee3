"""Whose question is asked next, of those that strangers make us ask: few at once, and of each network fewer.

Rules:
    Networks take turns, so that whose questions are never answered waits for himself first; of many such networks each
    may keep a turn as long as a question may take.
    A turn lasts as long as the question, whatever becomes of who asked.
"""

from typing import Final

from twisted.internet.defer import Deferred

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.reply import Reply

# Beside those that we ask for ourselves, deliveries among them.  Each has a socket while it is under way.
STRANGERS_AT_ONCE: Final = 128
# Of one network (a /24, or /56).  One message asks some 15 at once at most, and a server that answers takes
# milliseconds; four networks of the dead fill all.
NETWORK_AT_ONCE: Final = 32
STRANGERS_WAITING: Final = 10_000
NETWORK_WAITING: Final = 1000


class TooManyWait(TemporaryFault):
    """So many wait for their turns that one more may not."""


class Turns:
    """``most`` at once, ``most_of_one`` of one network; ``waiting`` and ``waiting_of_one`` wait at most."""

    def __init__(
        self, most: int = STRANGERS_AT_ONCE, most_of_one: int = NETWORK_AT_ONCE, waiting: int = STRANGERS_WAITING,
        waiting_of_one: int = NETWORK_WAITING,
    ) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._most_waiting, self._most_waiting_of_one = waiting, waiting_of_one
        self._taken: dict[str, int] = {}
        self._total = 0
        self._lines: dict[str, dict[Deferred[None], None]] = {}
        self._waiting = 0
        # Networks of which somebody waits and may have a turn; the first is the next.
        self._next: dict[str, None] = {}
        self._is_serving = False

    def take(self, network: str) -> bool:
        """Take a turn, if there is one at once."""
        if self._total >= self._most or network in self._lines or not self._may(network):
            return False
        self._count(network)
        return True

    async def wait(self, network: str) -> None:
        """Return with a turn.  TooManyWait where they do."""
        line = self._lines.setdefault(network, {})
        if self._waiting >= self._most_waiting or len(line) >= self._most_waiting_of_one:
            if not line:
                del self._lines[network]
            raise TooManyWait(
                "too many questions to DNS are waiting", Reply(451, "4.3.2", ("Too much is to be found out now",))
            )
        turn: Deferred[None] = Deferred(lambda turn: self._leave(network, turn))
        line[turn] = None
        self._waiting += 1
        if self._may(network):
            self._next.setdefault(network)
            self._serve()
        await turn

    def give_back(self, network: str) -> None:
        """The question has ended."""
        self._total -= 1
        self._taken[network] -= 1
        if not self._taken[network]:
            del self._taken[network]
        if network in self._lines:
            self._next.setdefault(network)
        self._serve()

    def _may(self, network: str) -> bool:
        return self._taken.get(network, 0) < self._most_of_one

    def _count(self, network: str) -> None:
        self._total += 1
        self._taken[network] = self._taken.get(network, 0) + 1

    def _leave(self, network: str, turn: Deferred[None]) -> None:
        line = self._lines[network]
        del line[turn]
        self._waiting -= 1
        if not line:
            del self._lines[network]
            self._next.pop(network, None)

    def _serve(self) -> None:
        if self._is_serving:  # who had a turn has given it back within: hundreds within each other are too deep
            return
        self._is_serving = True
        try:
            self._serve_all()
        finally:
            self._is_serving = False

    def _serve_all(self) -> None:
        while self._next and self._total < self._most:
            network = next(iter(self._next))
            turn = next(iter(self._lines[network]))
            del self._next[network]
            self._leave(network, turn)
            self._count(network)
            if network in self._lines and self._may(network):
                self._next[network] = None  # behind all others
            turn.callback(None)
