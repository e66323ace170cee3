"""Destinations that the operator has suspended: what waits for them waits on, tried by nobody, until they are resumed.

A word is a domain (``example.net``: the lanes of any backend that lead there), a lane (``internet/example.net``, or a
backend that has one lane alone), or ``internet/*``: all lanes of a backend.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

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


BackendLanes = Mapping[str, bool | None]
"""Backends by name: True where one has a lane for each domain, False where it has one alone, None where a plug-in
decides."""


def unknown_backend(word: str, backends: BackendLanes) -> str | None:
    """That the backend that a word names is not there; None where it is, or where the word is a domain."""
    backend = word.partition("/")[0]
    if backend in backends or not ("/" in word or "." not in word):
        return None
    return f"there is no backend {backend!r}; there are {', '.join(sorted(backends))}"


def misses(word: str, backends: BackendLanes, routed: Callable[[str], Sequence[str]]) -> str | None:
    """Why no lane would ever be suspended by a word, and what is to be said instead; None where one may be.

    ``word`` as ``suspension`` made it; ``routed``: the backends that mail for a domain goes to.
    """
    if why := unknown_backend(word, backends):
        return why
    backend, slash, destination = word.partition("/")
    if slash or backend in backends:
        has_many = backends[backend]
        if has_many is False and destination not in ("", "*"):
            return f"{backend} has one lane for all domains: suspend {backend}, or hold --domain {destination}"
        if has_many and not destination:
            return f'{backend} has a lane for each domain: suspend "{backend}/*", or {backend}/DOMAIN'
        return None
    names = routed(word)
    # A plug-in's lanes may be hosts, which no route names.
    if not names or None in backends.values() or any(backends.get(name) for name in names):
        return None
    return f"mail for {word} goes by {', '.join(names)}: suspend {' '.join(names)}, or hold --domain {word}"


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
