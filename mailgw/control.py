"""The control socket's server: the one door into a running gateway, for commands and the web page.

One line of JSON is a request, one line is its answer, in order:

    {"command": "queue.list", "query": {"domain": "example.org"}, "limit": 100}
    {"ok": true, "result": [{"queue_id": …}, …]}      or      {"ok": false, "error": "…"}

    ping              the version
    queue.list        rows that match ``query`` (fields of ``mail.message.Query``), at most ``limit``; what waits in a
                      lane that is suspended has the state "suspended"
    queue.page        the same a page at a time: {"rows", "next", "newest"}; behind ``after``, a position (null: from
                      the beginning), at most ``limit`` rows, with ``newest`` (true) the newest first; ``next`` is where
                      to go on behind, null at the end.  It looks for ``PAGE_SECONDS``, the next one for what is left
    queue.show        all rows of ``queue_id``, and its header
    queue.content     its content, with our trace, from the octet ``start`` on, ``CONTENT_OCTETS`` at most, in Base64;
                      "" at its end
    queue.retry       due now, held ones too
    queue.remove      forgotten, without a bounce; the number of recipients
    queue.hold        tried by nobody until they are released
    queue.release     due, those that are held
    queue.reroute     to the lanes of the backend ``to``, due now
    queue.bounce      back to their senders, now, with a bounce each; what has the null reverse-path is forgotten
    queue.lanes       each lane that somebody waits in, whether it is suspended, and how it is ``now`` (null: idle)
    queue.census      the same at once, as it was counted a while ago ("at"; not all yet where not "is_whole"): how many
                      recipients there are ("waiting", "due_now", "active", "held"), the ``limit`` longest "lanes" of
                      "lane_count", those that are "unwell", and how many were answered what ("statuses")
    queue.suspend     nothing is tried at ``destination`` (``queue.suspension``) any more
    queue.resume      ... it is again
    queue.backends    the names of those that a reroute may go to
    queue.suspended   what is suspended, and since when
    journal.reopen    close the journal's file and open it anew (after a rotation by others)

Other parts of a gateway have commands of their own, each at its desk (``desks``); those are asked first.

A suspend or resume with ``is_checked`` does it whether the destination means anything or not: somebody else has looked.

Retry, hold, release, reroute and bounce answer {"recipients": how many they met, "active": how many they would have
met, and left alone, since they are being tried now}; retry, release and reroute, besides, who is not tried for it
("suspended", "unwell": ``queue.suspension.kept_waiting``), reroute also how many stay held ("held"), or wait for the
time that their sender set ("later").  Suspend and resume answer {"changed": whether they changed anything,
"recipients": how many wait there}; resume, besides, who is "suspended" there still.

Whoever can open the socket may do all of this: its file belongs to the gateway's user alone (mode 0600, in the
state folder of mode 0700).  A second request waits in the socket while one is answered.
"""

import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

import mailgw
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.mail.event import Ordered, Removed
from mailgw.mail.json_fault import json_fault
from mailgw.mail.message import Claim, Gone, Position, Query, QueueRow, RowState
from mailgw.mail.ports import Answering, Journal, Request, Spool
from mailgw.queue.census import Census
from mailgw.queue.meant import unmeant
from mailgw.queue.returned import RETURNED
from mailgw.queue.suspension import (
    STATES,
    BackendLanes,
    Suspensions,
    counting,
    held_by_sender,
    kept_on_reroute,
    kept_waiting,
    knowing,
    lanes_told,
    misses,
    rows_told,
    still_suspended,
    suspension,
    unknown_backend,
    waiting_in,
)

# A request is a command, a few short fields and numbers.
MAX_REQUEST_OCTETS = 16384
# Shown of a message: its header, which ends within this or is cut there.
HEADER_OCTETS = 65536
# Of its content in one answer.
CONTENT_OCTETS = 1 << 20
MAX_ROWS = 100_000
MOST_STATUSES = 50
# People wait for a page: what is found by then is shown.
PAGE_SECONDS = 0.05
MAX_ID_CHARACTERS = 64  # twice those of the longest
# The states of a lane (``deliver.lane_facts``) in which one attempt is made at a time.
UNWELL = ("unwell", "dead", "paused")
# The fields of a query that are no texts.
TIMES = ("arrived_before", "arrived_after")
MOST_SECONDS = 1e15  # JSON has numbers of any length, SQLite those of 64 bits
# Commands connect, ask and go; one that stopped reading must not hold its answer in memory for ever.
IDLE_SECONDS = 60.0

_log = Logger()


class ReopeningJournal(Journal, Protocol):
    def reopen(self) -> None: ...


class Attempts(Protocol):
    """The dispatcher, as orders need it."""

    def poke(self) -> None:
        """Recipients became due out of turn."""

    async def give_back(self, is_meant: Callable[[Claim], bool]) -> None:
        """What waits in memory, and is meant, waits in the spool alone; what is being tried goes on."""

    def lanes(self, names: Iterable[str] | None = None) -> Sequence[attrs.AttrsInstance]:
        """What it knows of each lane that has work, or is unwell, or of those of ``names``; the lane's name is in
        ``lane``."""

    def unwell_lanes(self, most: int) -> Sequence[attrs.AttrsInstance]:
        """What it knows of those that are unwell: so many at most, those that have been for longest first."""


class Counts(Protocol):
    async def census(self) -> tuple[Census, float, bool]:
        """The last one, of when, and whether it is whole."""


LaneIn = Callable[[str, Mailbox], str | None]
"""The lane of a recipient in the backend of a name; None where that does not take it, KeyError where there is none."""


@attrs.frozen
class ControlDoors:
    """What the commands act on.  ``routed`` are the backends that mail for a domain goes to."""

    spool: Spool
    attempts: Attempts
    counting: Counts
    journal: ReopeningJournal
    lane_in: LaneIn
    backends: BackendLanes
    routed: Callable[[str], Sequence[str]]

    async def answer(self, request: Mapping[str, Any]) -> object:
        """As the function below."""
        return await answer(request, self)


async def answer(request: Mapping[str, Any], doors: ControlDoors) -> object:
    """The result of one request, as msgspec can encode it.

    RefusedRequest where it makes no sense, and nothing was done; TemporaryFault where the spool is unwell.
    """
    command = request.get("command")
    match command:
        case "ping":
            return {"version": mailgw.__version__}
        case "queue.list":
            rows = await doors.spool.search(query_of(request, doors.spool), _limit(request))
            return rows_told(rows, Suspensions.of(doors.spool.suspended()))
        case "queue.page":
            return await _page(request, doors.spool)
        case "queue.show":
            return await _show(request, doors.spool)
        case "queue.content":
            return await _content(request, doors.spool)
        case "queue.retry":
            return await _retry(query_of(request, doors.spool), doors)
        case "queue.remove":
            return await _remove(query_of(request, doors.spool), doors)
        case "queue.hold":
            return await _ordered(doors, "hold", query_of(request, doors.spool), "", doors.spool.hold)
        case "queue.release":
            return await _release(query_of(request, doors.spool), doors)
        case "queue.reroute":
            return await _reroute(request, doors)
        case "queue.bounce":
            return await _ordered(doors, "bounce", query_of(request, doors.spool), "", partial(_send_back, doors.spool))
        case "queue.lanes":
            told = lanes_told(await doors.spool.lanes(), Suspensions.of(doors.spool.suspended()))
            known = {facts["lane"]: facts for facts in map(attrs.asdict, doors.attempts.lanes())}
            return [lane | {"now": known.get(lane["lane"])} for lane in told]
        case "queue.census":
            return await _census(_limit(request), doors)
        case "queue.suspend" | "queue.resume":
            return await _suspend_or_resume(command, request, doors)
        case "queue.suspended":
            return dict(doors.spool.suspended())
        case "queue.backends":
            return sorted(doors.backends)
        case "journal.reopen":
            doors.journal.reopen()
            return None
        case _:
            # What is no text may be nested so deeply that it has no repr either.
            raise RefusedRequest(f"unknown command {command!r}" if isinstance(command, str) else "which command?")


async def _census(limit: int, doors: ControlDoors) -> object:
    census, at, is_whole = await doors.counting.census()
    longest = census.longest(limit)
    # Not of all lanes, of which there may be 50,000: people wait for this, and the reactor for nothing else.
    told = doors.attempts.lanes([row.lane for row in longest])
    known = {facts["lane"]: facts for facts in map(attrs.asdict, told)}
    lanes = lanes_told(longest, Suspensions.of(doors.spool.suspended()))
    return {
        "at": at, "is_whole": is_whole, **census.totals(), "lane_count": census.lanes,
        "lanes": [lane | {"now": known.get(str(lane["lane"]))} for lane in lanes],
        "unwell": list(map(attrs.asdict, doors.attempts.unwell_lanes(limit))),
        "statuses": census.statuses(MOST_STATUSES),
    }


async def _retry(query: Query, doors: ControlDoors) -> object:
    # As in _ordered; looked for first, since those that are retried are soon among them.
    active = await _active(doors, query) if query.state is None else ()
    suspensions, unwell = _obstacles(doors)
    # Before it, too: who was held is not any more then.  And only where somebody is kept waiting: it is a look at all.
    lanes = await doors.spool.lanes(query.of_orders()) if suspensions.words or unwell else ()
    met = {row.lane: row.waiting + row.held for row in lanes}
    count = await doors.spool.retry(query)
    if count:
        doors.journal.note(Ordered("retry", query_words(query), "", count, query.queue_id or ""))
        doors.attempts.poke()
    return {"recipients": count, "active": len(active), **kept_waiting(met, suspensions, unwell)}


async def _release(query: Query, doors: ControlDoors) -> object:
    suspensions, unwell = _obstacles(doors)  # as in _retry
    lanes = await doors.spool.lanes(query.of_orders()) if suspensions.words or unwell else ()
    told = await _ordered(doors, "release", query, "", doors.spool.unhold)
    return {**told, **kept_waiting({row.lane: row.held for row in lanes}, suspensions, unwell)}


def _obstacles(doors: ControlDoors) -> tuple[Suspensions, Mapping[str, str]]:
    """What is suspended, and the state of each lane that is unwell."""
    states = {facts["lane"]: facts["state"] for facts in map(attrs.asdict, doors.attempts.lanes())}
    unwell = {lane: state for lane, state in states.items() if state in UNWELL}
    return Suspensions.of(doors.spool.suspended()), unwell


async def _remove(query: Query, doors: ControlDoors) -> int:
    """A fact for each recipient of the message that is meant; one for all of them where the query may mean any."""
    gone: list[Gone] | None = [] if query.queue_id else None
    try:
        count = await doors.spool.remove(query, gone)
    finally:
        for one in gone or ():
            doors.journal.note(Removed(query.queue_id or "", 1, one.recipient, one.lane))
    if count and gone is None:
        doors.journal.note(Removed("", count))
    return count


async def _ordered(
    doors: ControlDoors, order: str, query: Query, to: str, give: Callable[[Query], Awaitable[int]]
) -> Mapping[str, int]:
    """Give an order, to those that wait in the dispatcher's memory, too."""
    count = await give(query)
    # Who says "the held ones", by a state or by releasing, does not mean those that are tried.
    active = await _active(doors, query) if query.state is None and order != "release" else ()
    if active:
        queue_ids = {row.queue_id for row in active}
        await doors.attempts.give_back(lambda claim: claim.message.queue_id in queue_ids)
        again, left = await give(query), await _active(doors, query)
        # A query that still means those of the first time, as one for a reroute may, meets them once more.
        count += min(again, max(0, len(active) - len(left)))
        active = left
    if count:
        doors.journal.note(Ordered(order, query_words(query), to, count, query.queue_id or ""))
        doors.attempts.poke()
    return {"recipients": count, "active": len(active)}


async def _send_back(spool: Spool, query: Query) -> int:
    count = await spool.reroute(query, lambda recipient: RETURNED)
    if count:  # held ones, too, and what its sender wants sent later; a fault before it leaves them to a second order
        await spool.retry(Query(lane=RETURNED))
    return count


async def _active(doors: ControlDoors, query: Query) -> Sequence[QueueRow]:
    return await doors.spool.search(attrs.evolve(query, state=RowState.ACTIVE), MAX_ROWS)


async def _reroute(request: Mapping[str, Any], doors: ControlDoors) -> object:
    to = request.get("to")
    if not isinstance(to, str) or to not in doors.backends:
        raise RefusedRequest(f"there is no backend {to!r}; there are {', '.join(sorted(doors.backends))}")
    query = query_of(request, doors.spool)
    # Before it, as in _retry: the query may name the lane that they leave.
    lanes = await doors.spool.lanes(query.of_orders())
    later = await doors.spool.lanes(sought) if (sought := held_by_sender(query.of_orders(), lanes)) is not None else ()
    met: Counter[str] = Counter()
    lane_for = counting(lambda recipient: doors.lane_in(to, recipient), met)
    told = await _ordered(doors, "reroute", query, to, lambda query: doors.spool.reroute(query, lane_for))
    # Who is being tried, or was in memory, is asked for once more.
    moved = {lane: min(count, told["recipients"]) for lane, count in met.items()}
    return {**told, **kept_on_reroute(lanes, later), **kept_waiting(moved, *_obstacles(doors))}


async def _suspend_or_resume(command: str, request: Mapping[str, Any], doors: ControlDoors) -> object:
    word = destination_of(request)
    meant = Suspensions.of([word])
    if not request.get("is_checked") and word not in doors.spool.suspended():
        check_destination(
            command, word, [row.lane for row in await doors.spool.lanes()], doors.backends, doors.routed
        )
    if command == "queue.suspend":
        changed = await doors.spool.suspend(word)
        await doors.attempts.give_back(lambda claim: meant.holds(claim.lane))
    else:
        changed = await doors.spool.resume(word)
        doors.attempts.poke()
    lanes = await doors.spool.lanes()
    count = waiting_in(lanes, meant)
    if changed:
        doors.journal.note(Ordered(command.removeprefix("queue."), word, "", count))
    told: dict[str, object] = {"changed": changed, "recipients": count}
    if command == "queue.resume":
        told["suspended"] = still_suspended(lanes, meant, Suspensions.of(doors.spool.suspended()))
    return told


def destination_of(request: Mapping[str, Any]) -> str:
    """The request's ``destination``, as it is kept."""
    word = request.get("destination")
    try:
        return suspension(word if isinstance(word, str) else "")
    except ValueError as fault:
        raise RefusedRequest(f"destination: {fault}") from None


def check_destination(
    command: str, word: str, lanes: Iterable[str], backends: BackendLanes, routed: Callable[[str], Sequence[str]]
) -> None:
    """RefusedRequest where a word that is not suspended is nothing to suspend or resume.  ``lanes``: those that there
    are."""
    meant = Suspensions.of([word])
    why = unknown_backend(word, backends)
    # What was rerouted waits where no route would have led it.
    if command == "queue.suspend" and not any(map(meant.holds, lanes)):
        why = misses(word, backends, routed)
    if why is not None:
        raise RefusedRequest(why)


def query_words(query: Query) -> str:
    """A query as the journal says it."""
    given = attrs.asdict(query, filter=lambda field, _: field.name != "suspensions")
    return " ".join(f"{name}={value}" for name, value in given.items() if value is not None) or "all"


def request_of(line: bytes) -> Mapping[str, Any]:
    """The request that a line is; RefusedRequest where it is none."""
    try:
        request = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise RefusedRequest(f"not JSON: {json_fault(fault, line)}") from None
    except RecursionError:
        raise RefusedRequest("nested too deeply") from None
    if not isinstance(request, dict):
        raise RefusedRequest("a request is a JSON object")
    return request


async def _page(request: Request, spool: Spool) -> object:
    limit, newest = _limit(request), request.get("newest", False)
    if not isinstance(newest, bool):
        raise RefusedRequest("newest must be true or false")
    query, after = query_of(request, spool), _position(request.get("after"))
    page = await spool.page(query, limit, after, PAGE_SECONDS, newest)
    return {"rows": rows_told(page.rows, Suspensions.of(spool.suspended())), "next": page.next, "newest": newest}


def _position(word: object) -> Position | None:
    match word:
        case None:
            return None
        case [str(queue_id), int(row)] if len(queue_id) <= MAX_ID_CHARACTERS and 0 <= row < MOST_SECONDS:
            return queue_id, row
        case _:
            raise RefusedRequest("after must be a position: a queue id and a number")


async def _show(request: Mapping[str, Any], spool: Spool) -> object:
    queue_id = request.get("queue_id")
    if not isinstance(queue_id, str):
        raise RefusedRequest("queue.show needs a queue_id")
    rows = await spool.search(Query(queue_id=queue_id), MAX_ROWS)
    content = await spool.content(queue_id, HEADER_OCTETS)
    if not rows or content is None:
        raise RefusedRequest(f"no message {queue_id} in the queue")
    return shown(rows, content, Suspensions.of(spool.suspended()))


async def _content(request: Mapping[str, Any], spool: Spool) -> str:
    queue_id, start = request.get("queue_id"), request.get("start")
    if not isinstance(queue_id, str) or type(start) is not int or not 0 <= start < MOST_SECONDS:
        raise RefusedRequest("queue.content needs a queue_id, and a start from 0")
    octets = await spool.content(queue_id, CONTENT_OCTETS, start)
    if octets is None:
        raise RefusedRequest(f"no message {queue_id} in the queue")
    return base64.b64encode(octets).decode()


def shown(rows: Sequence[QueueRow], content: bytes, suspensions: Suspensions) -> dict[str, object]:
    """One message for an operator: its recipients, and its header as text."""
    header = content.partition(b"\r\n\r\n")[0]
    # The header may hold any octets; latin-1 loses none, and the terminal is guarded where it is printed.
    text = header.decode("utf-8") if _is_utf8(header) else header.decode("latin-1")
    return {"rows": rows_told(rows, suspensions), "header": text.replace("\r\n", "\n")}


def query_of(request: Mapping[str, Any], spool: Spool) -> Query:
    """The request's ``query``; RefusedRequest for a field that ``Query`` does not have, or that is no text (a time: no
    number), for a state that there is not, and for one that would meet everybody without having said so
    (``queue.meant``)."""
    given = request.get("query", {})
    known = {field.name for field in attrs.fields(Query)} - {"suspensions"}
    if not isinstance(given, dict):
        raise RefusedRequest("query must be an object")
    if unknown := set(given) - known:
        raise RefusedRequest(f"unknown query fields {sorted(unknown)}; known: {sorted(known)}")
    for name, value in given.items():
        if not isinstance(value, float | int if name in TIMES else str) or isinstance(value, bool):
            raise RefusedRequest(f"query: {name} must be {'a number' if name in TIMES else 'a text'}")
        if not isinstance(value, str) and not abs(value) < MOST_SECONDS:
            raise RefusedRequest(f"query: {name} must be a time")
    if given.get("state", STATES[0]) not in STATES:
        raise RefusedRequest(f"query: state is one of {', '.join(STATES)}")
    if (why := unmeant(str(request.get("command")), given)) is not None:
        raise RefusedRequest(why)
    return knowing(Query(**given), spool.suspended())


def _limit(request: Mapping[str, Any]) -> int:
    limit = request.get("limit", 1000)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 < limit <= MAX_ROWS:
        raise RefusedRequest(f"limit must be a number from 1 to {MAX_ROWS}")
    return limit


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class _UnixTransport(Protocol):
    """What Twisted's transports of Unix sockets have; no one interface says all of it."""

    def write(self, octets: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...


class ControlProtocol(LineOnlyReceiver):
    """One connection: requests are answered one after the other."""

    transport: "_UnixTransport"  # type: ignore[assignment]  # Twisted says ITransport | None
    delimiter = b"\n"
    MAX_LENGTH = MAX_REQUEST_OCTETS

    def __init__(self, doors: Answering, clock: IReactorTime) -> None:
        self._doors = doors
        self._clock = clock
        self._waiting: list[bytes] = []
        self._running: Deferred[None] | None = None
        self._idle = clock.callLater(IDLE_SECONDS, self._give_up)

    def lineReceived(self, line: bytes) -> None:
        self._idle.reset(IDLE_SECONDS)
        self._waiting.append(line)
        if self._running is None:
            self._next()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._send({"ok": False, "error": "the request is too long"})
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._waiting.clear()
        if self._idle.active():
            self._idle.cancel()

    def _next(self) -> None:
        # What waits stays in the socket: read no more than the requests of one packet ahead.
        if not self._waiting:
            return
        self.transport.pauseProducing()
        self._running = Deferred.fromCoroutine(self._answer(self._waiting.pop(0)))
        self._running.addBoth(self._answered)  # type: ignore[unused-awaitable]  # owned by self._running

    def _answered(self, _: object) -> None:
        self._running = None
        if self._waiting:
            self._next()
        elif self._idle.active():
            self.transport.resumeProducing()

    async def _answer(self, line: bytes) -> None:
        """Never raises: the conversation's one catch-all."""
        reply: dict[str, object]
        try:
            reply = {"ok": True, "result": await self._doors.answer(request_of(line))}
        except RefusedRequest as fault:
            reply = {"ok": False, "error": str(fault)}
        except TemporaryFault as fault:
            reply = {"ok": False, "error": fault.why}
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.failure("a control command failed")
            reply = {"ok": False, "error": "the gateway failed; its log has the traceback"}
        self._send(reply)

    def _send(self, reply: Mapping[str, object]) -> None:
        if self._idle.active():  # else the other end is gone
            self._idle.reset(IDLE_SECONDS)
            self.transport.write(msgspec.json.encode(reply) + b"\n")

    def _give_up(self) -> None:
        if self._running is not None:  # an order over a large queue takes its time
            self._idle = self._clock.callLater(IDLE_SECONDS, self._give_up)
        else:
            self.transport.abortConnection()


class ControlFactory(Factory):
    """Listen with it on a Unix socket of mode 0600."""

    noisy = False

    def __init__(self, doors: Answering, clock: IReactorTime) -> None:
        self._doors = doors
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:
        return ControlProtocol(self._doors, self._clock)
