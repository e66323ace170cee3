"""What the journal tells of messages: a row for each that a search met, and one message's whole story.

The story begins with its session (connected, TLS, login, what was refused before), goes on with what was queued, and
ends with the last attempt and what came of it: notices, and what an application sent because of it.

Rules:
    Times are seconds since the epoch here, as everywhere outside of the journal's own file.
    A story is looked for from its end: the fact that the message arrived is where it ends, and from there its session
    is looked for, both ways.  What is behind the bounds is not found, and the story says so.
    Of one message so many facts are kept at most; the oldest are left out, and counted.
    What names an address or a client is not the last that is told of a message: of those that a search met, that is
    looked for by their ids, from the journal's end again (``with_last``).
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from mailgw.store.journal_needles import Fact, OwnFacts, by_queue_id, by_session, either
from mailgw.store.journal_search import Backwards, Bounds, Place, epoch_of, forwards

Told: TypeAlias = dict[str, Any]
"""As JSON has it."""

MOST_FACTS: Final = 10_000
RECIPIENTS_SHOWN: Final = 20
BEFORE_ARRIVAL_SECONDS: Final = 3600.0
"""A clock may have been set back between a message's id and the journal's line."""
SESSION_OCTETS: Final = 64 << 20
"""Looked through for the session, before its message and behind it."""
TOGETHER_SECONDS: Final = 2.0
"""What one attempt came to is noted at once, for all its recipients."""

_ARRIVALS: Final = frozenset({"queued", "handed_over", "discarded", "rejected", "tls_report", "dmarc_report"})
_RESULTS: Final = frozenset({"delivered", "deferred", "bounced", "held"})
_MOVES: Final = _ARRIVALS | _RESULTS | {"ordered", "removed"}
"""What says how a message stands; the rest tells of what was done to it, or of others."""
_NOTICES: Final = {"bounced": "bounce", "delay_warning": "warning", "reported": "report"}
_SAID: Final = ("lane", "hop", "code", "status", "text", "why", "rule", "stage", "attempts")
_ROW: Final = ("session_id", "peer", "login", "reverse_path", "message_id", "size_octets", "role", *_SAID)
_RESULT: Final = (
    "recipient", "event", "hop", "code", "status", "text", "attempts", "retry_seconds", "reply_class", "notice_id",
    "tls", "cipher", "verified", "source", "seconds",
)
# ``spool.ids``: microseconds since the epoch in 13 hexadecimal digits.
_QUEUE_ID: Final = re.compile(r"([0-9a-f]{13})[0-9a-v]{3}[0-9A-Za-z]{1,24}\Z")


def timed(fact: Fact) -> Told:
    """A fact with its time in seconds since the epoch."""
    return {**fact, "time": epoch_of(fact["time"])}


def rows(search: Backwards, limit: int) -> tuple[list[Told], Place | None]:
    """A row for each message, session, refusal and other fact that the search meets, the newest first, and where to go
    on; None where nothing is left.

    A row says what the facts said that were met so far: ``time``, ``event`` and ``last`` are the newest one's, of a
    message often not its last: see ``with_last``.  On a later page a message may come again, with older facts.
    """
    found: dict[tuple[str, str], Told] = {}
    for count, fact in enumerate(search, 1):
        key = _key(fact, count)
        row = found.get(key)
        if row is None:
            if len(found) >= limit or count > MOST_FACTS:
                return list(found.values()), search.before
            row = found[key] = {
                "kind": key[0], "queue_id": fact.get("queue_id", ""), "event": fact["event"],
                "time": epoch_of(fact["time"]), "recipients": [], "recipient_count": 0, "facts": 0,
                "last": _short(fact),
            }
        row["facts"] += 1
        row["first"] = epoch_of(fact["time"])
        for name in _ROW:
            if name in fact and name not in row:
                row[name] = fact[name]
        _add_recipients(row, fact)
    return list(found.values()), search.behind


def with_last(
    path: str, found: Sequence[Told], bounds: Bounds | None = None, clock: Callable[[], float] = time.monotonic,
) -> list[Told]:
    """The same rows, but each message's ``event``, ``time``, ``last`` and what was said are those of its own last fact
    that says how it stands; the newest first.  ``last`` is None where that was not found within the bounds: the rest is
    then as the search met it.

    The journal is read from its end, back to the fact that the search met.  OSError where a file cannot be read.
    """
    open_rows = {row["queue_id"]: row for row in found if row["kind"] == "message"}
    if open_rows:
        since = min(row["time"] for row in open_rows.values())
        own = OwnFacts(open_rows)
        search = Backwards(path, own, since, None, bounds, clock)
        for fact in search:
            is_move = fact["event"] in _MOVES or (fact["event"] == "changed" and fact.get("held"))
            row = open_rows.pop(fact.get("queue_id", ""), None) if is_move else None
            if row is not None:
                own.enough(row["queue_id"])
                row |= {"event": fact["event"], "time": epoch_of(fact["time"]), "last": _short(fact)}
                for name in _SAID:
                    row.pop(name, None)
                    if name in fact:
                        row[name] = fact[name]
            if not open_rows:
                break
        if search.is_cut:
            for row in open_rows.values():
                row["last"] = None
    return sorted(found, key=lambda row: row["time"], reverse=True)


def _short(fact: Fact) -> Told:
    """With its time in seconds; of a list the beginning alone: a thousand rows may each have a thousand recipients."""
    return {
        name: value[:RECIPIENTS_SHOWN] if isinstance(value, list) else value for name, value in timed(fact).items()
    }


def _key(fact: Fact, count: int) -> tuple[str, str]:
    if fact.get("queue_id"):
        return "message", fact["queue_id"]
    if fact["event"] == "rejected" or not fact.get("session_id"):
        return ("refusal" if fact["event"] == "rejected" else "fact"), str(count)
    return "session", fact["session_id"]


def _add_recipients(row: Told, fact: Fact) -> None:
    named = fact.get("recipients")
    one_alone = [fact["recipient"]] if fact.get("recipient") else []
    several = named if isinstance(named, list) and named else one_alone
    known = row["recipients"]
    for one in several:
        if len(known) < RECIPIENTS_SHOWN and one not in known:
            known.append(one)
    row["recipient_count"] = max(row["recipient_count"], len(several), len(known))


@attrs.frozen
class Story:
    """``facts`` the oldest first, with times as the journal has them; ``is_whole`` says that its arrival was found;
    ``left_out`` how many facts were not kept.  The rest as ``Backwards`` has it."""

    queue_id: str
    facts: Sequence[Fact]
    is_whole: bool
    left_out: int
    searched_back_to: float | None
    is_cut: bool
    files: Sequence[str]

    def as_json(self) -> Told:
        """For operators; see ``told``."""
        return told(self)


def story(
    path: str, queue_id: str, bounds: Bounds | None = None, clock: Callable[[], float] = time.monotonic,
    since: float | None = None,
) -> Story:
    """All that the journal in ``path`` tells of a message.  ``since`` None: from when its id says that it came.

    OSError where a file cannot be read.
    """
    search = Backwards(path, by_queue_id(queue_id), _since(queue_id) if since is None else since, None, bounds, clock)
    facts: list[Fact] = []
    left_out = 0
    arrival: Fact | None = None
    before: Sequence[Fact] = ()
    behind: Sequence[Fact] = ()
    notice_time = ""
    for fact in search:
        if notice_time and fact["time"] < notice_time:
            break
        if len(facts) < MOST_FACTS:
            facts.append(fact)
        else:
            left_out += 1
            facts[-1] = fact  # the arrival, in the end
        if fact.get("queue_id") == queue_id and fact["event"] in _ARRIVALS:
            arrival = fact
            assert search.before is not None
            assert search.behind is not None
            before = _before(path, queue_id, fact, search.behind, clock)
            behind = _behind(path, queue_id, fact, search.before, clock)
            break
        if fact.get("notice_id") == queue_id and not notice_time:
            notice_time = fact["time"]  # of several recipients; they are noted at once
    # Facts of one moment keep the order in which they stand.
    whole = sorted([*reversed(before), *reversed(facts), *behind], key=lambda fact: fact["time"])
    return Story(
        queue_id, whole, arrival is not None or bool(notice_time), left_out, search.searched_back_to, search.is_cut,
        tuple(search.files),
    )


def _before(path: str, queue_id: str, arrival: Fact, at: Place, clock: Callable[[], float]) -> list[Fact]:
    """What there is of the message before it arrived, and of its session, the newest first."""
    session_id = arrival.get("session_id", "")
    if not session_id:
        return []
    found: list[Fact] = []
    meant = either(by_queue_id(queue_id), by_session(session_id))
    for fact in Backwards(path, meant, 0.0, at, Bounds(SESSION_OCTETS, 1.0), clock):
        if fact.get("queue_id", queue_id) == queue_id:
            found.append(fact)
        if fact["event"] == "connected" or len(found) >= MOST_FACTS:
            break
    return found


def _behind(path: str, queue_id: str, arrival: Fact, at: Place, clock: Callable[[], float]) -> list[Fact]:
    """What there is of its session afterwards, the oldest first."""
    session_id = arrival.get("session_id", "")
    if not session_id:
        return []
    found: list[Fact] = []
    for fact in forwards(path, by_session(session_id), at, SESSION_OCTETS, clock):
        if not fact.get("queue_id"):  # its own were met already
            found.append(fact)
        if fact["event"] == "disconnected" or len(found) >= MOST_FACTS:
            break
    return found


def _since(queue_id: str) -> float:
    match = _QUEUE_ID.match(queue_id)
    return int(match[1], 16) / 1e6 - BEFORE_ARRIVAL_SECONDS if match is not None else 0.0


def told(whole: Story) -> Told:
    """The story for operators: what it is, its facts in order, its attempts with what was said in them, the notices
    that it led to, and, where it is one itself, of which message (``notice_of``); ``caused`` are the messages that an
    application sent because of it."""
    facts = [timed(fact) for fact in whole.facts]
    own = [fact for fact in facts if fact.get("queue_id") == whole.queue_id]
    message: Told = {"queue_id": whole.queue_id}
    for fact in own:
        if fact["event"] in _ARRIVALS:
            message |= {name: value for name, value in fact.items() if name not in ("event", "seconds")}
    return {
        "queue_id": whole.queue_id,
        "message": message,
        "facts": facts,
        "attempts": attempts(own),
        "notices": [
            {"queue_id": fact["notice_id"], "kind": _NOTICES[fact["event"]], "recipient": fact.get("recipient", "")}
            for fact in own if fact["event"] in _NOTICES and fact.get("notice_id")
        ],
        "notice_of": next((fact["queue_id"] for fact in facts if fact.get("notice_id") == whole.queue_id), None),
        "caused": [
            {"queue_id": fact["queue_id"], "recipients": fact.get("recipients", [])}
            for fact in facts if fact.get("cause") == whole.queue_id and fact.get("queue_id")
        ],
        "is_whole": whole.is_whole,
        "left_out": whole.left_out,
        "searched_back_to": whole.searched_back_to,
        "is_cut": whole.is_cut,
        "files": list(whole.files),
    }


def attempts(facts: Sequence[Mapping[str, Any]]) -> list[Told]:
    """What was tried, the oldest first: for each attempt its lane, what it came to for each recipient, and what was
    said to the servers and by them, where the journal has it.  ``facts`` are one message's, in order, and timed."""
    found: list[Told] = []
    said: dict[str, list[Told]] = {}
    for fact in facts:
        lane = fact.get("lane", "")
        if fact["event"] == "conversation":
            said.setdefault(lane, []).append({
                name: fact[name] for name in ("time", "hop", "lines", "seconds") if name in fact
            })
        elif fact["event"] in _RESULTS:
            result = {name: fact[name] for name in _RESULT if name in fact}
            last = next((one for one in reversed(found) if one["lane"] == lane), None)
            is_new = last is None or fact["time"] - last["time"] > TOGETHER_SECONDS or lane in said
            if last is None or is_new or any(r["recipient"] == result.get("recipient") for r in last["results"]):
                last = {"time": fact["time"], "lane": lane, "results": [], "conversations": said.pop(lane, [])}
                found.append(last)
            last["results"].append(result)
    for lane, left in said.items():  # what was said in an attempt that is under way, or all of which went well
        found.append({"time": left[-1]["time"], "lane": lane, "results": [], "conversations": left})
    return found
