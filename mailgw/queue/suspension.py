"""Destinations that the operator has suspended: what waits for them waits on, tried by nobody, until they are resumed.

A word is a domain (``example.net``: the lanes of any backend that lead there), a lane (``internet/example.net``, or a
backend that has one lane alone), or ``internet/*``: all lanes of a backend.
"""

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from mailgw.mail.address import Mailbox, folded, parse_domain
from mailgw.mail.message import LaneRow, Query, QueueRow, RowState
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.reasons import HELD_BY_SENDER
from mailgw.queue.returned import RETURNED, being_returned

SUSPENDED = "suspended"  # beside the words of ``mail.message.RowState``
STATES = (RowState.WAITING, RowState.ACTIVE, RowState.HELD, SUSPENDED)
"""Those that rows are told with, and that can be asked for."""
MAX_SUSPENSIONS = 1000
MAX_WORD_CHARACTERS = 320


def suspension(word: str) -> str:
    """The word as it is kept, domains in lower case and as A-labels; ValueError where it names nothing."""
    if not word or len(word) > MAX_WORD_CHARACTERS or not word.isprintable() or " " in word:
        raise ValueError('expected a domain, BACKEND, BACKEND/DOMAIN or "BACKEND/*"')
    backend, slash, domain = word.rpartition("/")
    return f"{backend}{slash}{parse_domain(domain) or folded(domain)}" if slash or "." in domain else word


class LaneKind(enum.Enum):
    """What lanes a backend has."""

    ONE = "one"              # for all that it serves
    DOMAINS = "domains"      # one for each domain
    HANDLERS = "handlers"    # one for each handler of a ``MailApp``
    MEMBERS = "members"      # those of other backends: a fan-out
    OWN = "own"              # a plug-in decides: hosts, customers, anything


@attrs.frozen
class BackendLane:
    """One backend's; ``members`` are the other backends of MEMBERS."""

    kind: LaneKind
    members: tuple[str, ...] = ()


BackendLanes = Mapping[str, BackendLane]
"""Backends by name."""


def unknown_backend(word: str, backends: BackendLanes) -> str | None:
    """That the backend that a word names is not there; None where it is, or where the word is a domain."""
    backend = word.partition("/")[0]
    if backend in backends or not ("/" in word or "." not in word):
        return None
    return f"there is no backend {backend!r}; there are {', '.join(sorted(backends))}"


def misses(word: str, backends: BackendLanes, routed: Callable[[str], Sequence[str]]) -> str | None:
    """Why no lane would ever be suspended by a word, and what is to be said instead; None where one may be.

    ``word`` as ``suspension`` made it; ``routed``: the backends that mail for a domain goes to.  A domain that a
    plug-in's lane may have counts where mail for it goes there: elsewhere the lane has to be named whole.
    """
    if why := unknown_backend(word, backends):
        return why
    backend, slash, destination = word.partition("/")
    if slash or backend in backends:
        return _misses_in(backend, destination, backends)
    names = list(dict.fromkeys(one for name in routed(word) for one in _final(name, backends)))
    kinds = {backends[name].kind for name in names if name in backends}
    own = sorted(name for name, one in backends.items() if one.kind is LaneKind.OWN)
    if not names or kinds & {LaneKind.DOMAINS, LaneKind.OWN}:
        return None
    where = f", or {own[0]}/{word} for a lane of {own[0]}" if own else ""
    words = " ".join(_whole(name, backends) for name in names)
    return f"mail for {word} goes by {', '.join(names)}: suspend {words}, or hold --domain {word}{where}"


def _misses_in(backend: str, destination: str, backends: BackendLanes) -> str | None:
    """The same of a word that names a backend."""
    match backends[backend].kind:
        case LaneKind.ONE if destination not in ("", "*"):
            return f"{backend} has one lane for all domains: suspend {backend}, or hold --domain {destination}"
        case LaneKind.DOMAINS if not destination:
            return f'{backend} has a lane for each domain: suspend "{backend}/*", or {backend}/DOMAIN'
        case LaneKind.HANDLERS if not destination:
            return f'{backend} has a lane for each handler: suspend "{backend}/*", or {backend}/HANDLER'
        case LaneKind.MEMBERS:
            words = " ".join(_whole(name, backends) for name in backends[backend].members)
            return f"what is for {backend} waits in the lanes of its members: suspend {words}"
        case _:
            return None


def _final(name: str, backends: BackendLanes) -> tuple[str, ...]:
    """The backends in whose lanes it waits."""
    found = backends.get(name)
    return found.members if found is not None and found.members else (name,)


def _whole(name: str, backends: BackendLanes) -> str:
    """The word for all lanes of a backend."""
    found = backends.get(name)
    return name if found is None or found.kind is LaneKind.ONE else f'"{name}/*"'


@attrs.frozen
class Suspensions:
    """What is suspended, as ``suspension`` made it."""

    words: frozenset[str]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Suspensions":
        return cls(frozenset(words))

    def holds(self, lane: str) -> bool:
        """Whether nothing of this lane is to be tried."""
        return bool(self.words) and not self.words.isdisjoint(_words_for(lane))

    def holding(self, lane: str) -> list[str]:
        """Which of the words it is that this lane waits for."""
        return sorted(self.words.intersection(_words_for(lane)))


def _words_for(lane: str) -> tuple[str, str, str]:
    backend, _, destination = lane.partition("/")
    return lane, destination, f"{backend}/*"


def knowing(query: Query, words: Iterable[str]) -> Query:
    """The query, with these words where it asks for what is suspended."""
    return attrs.evolve(query, suspensions=tuple(words)) if query.state == SUSPENDED else query


def waiting_in(lanes: Sequence[LaneRow], meant: Suspensions) -> int:
    """How many recipients wait in the lanes that are meant."""
    return sum(row.waiting for row in lanes if meant.holds(row.lane))


def still_suspended(
    lanes: Sequence[LaneRow], meant: Suspensions, suspensions: Suspensions
) -> list[dict[str, object]]:
    """Who of those in lanes that are meant, and were resumed, is kept by another word; as of ``kept_waiting``."""
    waiting: Counter[str] = Counter()  # a lane may be in several shards
    for row in lanes:
        waiting[row.lane] += row.waiting if meant.holds(row.lane) else 0
    return kept_waiting(waiting, suspensions, {})["suspended"]


def lanes_told(lanes: Sequence[LaneRow], suspensions: Suspensions) -> list[dict[str, object]]:
    """The lanes, each with whether it is suspended."""
    return [attrs.asdict(row) | {"suspended": suspensions.holds(row.lane)} for row in lanes]


def rows_told(rows: Sequence[QueueRow], suspensions: Suspensions) -> list[dict[str, object]]:
    """The rows, what waits in a lane that is suspended in the state "suspended", and of what goes back to its sender
    that it does."""
    told = list(map(attrs.asdict, rows))
    for row in told:
        if row["state"] == RowState.WAITING and suspensions.holds(row["lane"]):
            row["state"] = SUSPENDED
        if row["lane"] == RETURNED:
            row["reason"] = being_returned(str(row["reason"]))
    return told


def kept_waiting(
    met: Mapping[str, int], suspensions: Suspensions, unwell: Mapping[str, str]
) -> dict[str, list[dict[str, object]]]:
    """Who of those that an order makes due is not tried for it: ``suspended``, with the words that hold them (``by``),
    and ``unwell``, by ``lane``, with its ``state``: there one attempt is made at a time.

    ``met`` has how many of them are in which lane; ``unwell`` the state of the lanes that are.
    """
    suspended: dict[tuple[str, ...], int] = {}
    probed: list[dict[str, object]] = []
    for lane, count in met.items():
        by = tuple(suspensions.holding(lane))
        if by and count:
            suspended[by] = suspended.get(by, 0) + count
        elif count and lane in unwell:
            probed.append({"lane": lane, "state": unwell[lane], "recipients": count})
    return {"suspended": [{"by": list(by), "recipients": n} for by, n in sorted(suspended.items())], "unwell": probed}


def held_by_sender(query: Query, lanes: Sequence[LaneRow]) -> Query | None:
    """Which of those that ``query`` means are to be sent later (RFC 4865); None where nobody is, by their ``lanes``, or
    where the query is for another reason."""
    reason = HELD_BY_SENDER if query.reason is None else query.reason
    if HELD_BY_SENDER.strip() not in reason.lower() or all(row.waiting == row.due_now for row in lanes):
        return None
    return attrs.evolve(query, reason=reason)


def kept_on_reroute(lanes: Sequence[LaneRow], later: Sequence[LaneRow]) -> dict[str, int]:
    """How many of those that a reroute moves are not due for it: ``held``, and ``later``, when their sender wants it.

    ``lanes`` are of those that are meant, ``later`` of those whom ``held_by_sender`` means, both before it."""
    held = sum(row.held for row in lanes if row.lane != EXPANDED)  # which stay where they are
    return {"held": held, "later": sum(row.waiting - row.due_now for row in later)}


def counting(lane_for: Callable[[Mailbox], str | None], met: Counter[str]) -> Callable[[Mailbox], str | None]:
    """``lane_for``, with how often it said which lane in ``met``."""
    def counted(recipient: Mailbox) -> str | None:
        lane = lane_for(recipient)
        if lane is not None:
            met[lane] += 1
        return lane

    return counted
