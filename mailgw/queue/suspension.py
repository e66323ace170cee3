"""Destinations that the operator has suspended: what waits for them waits on, tried by nobody, until they are resumed.

A word is a domain (``example.net``: the lanes of any backend that lead there), a lane (``internet/example.net``, or a
backend that has one lane alone), or ``internet/*``: all lanes of a backend.
"""

from collections.abc import Iterable, Sequence

import attrs

from mailgw.mail.address import folded, parse_domain
from mailgw.mail.message import LaneRow

MAX_SUSPENSIONS = 1000
MAX_WORD_CHARACTERS = 320


def suspension(word: str) -> str:
    """The word as it is kept, domains in lower case and as A-labels; ValueError where it names nothing."""
    if not word or len(word) > MAX_WORD_CHARACTERS or not word.isprintable() or " " in word:
        raise ValueError('expected a domain, BACKEND, BACKEND/DOMAIN or "BACKEND/*"')
    backend, slash, domain = word.rpartition("/")
    return f"{backend}{slash}{parse_domain(domain) or folded(domain)}" if slash or "." in domain else word


@attrs.frozen
class Suspensions:
    """What is suspended, as ``suspension`` made it."""

    words: frozenset[str]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Suspensions":
        return cls(frozenset(words))

    def holds(self, lane: str) -> bool:
        """Whether nothing of this lane is to be tried."""
        if not self.words:
            return False
        backend, _, destination = lane.partition("/")
        return not self.words.isdisjoint((lane, destination, f"{backend}/*"))


def waiting_in(lanes: Sequence[LaneRow], meant: Suspensions) -> int:
    """How many recipients wait in the lanes that are meant."""
    return sum(row.waiting for row in lanes if meant.holds(row.lane))


def lanes_told(lanes: Sequence[LaneRow], suspensions: Suspensions) -> list[dict[str, object]]:
    """The lanes, each with whether it is suspended."""
    return [attrs.asdict(row) | {"suspended": suspensions.holds(row.lane)} for row in lanes]
