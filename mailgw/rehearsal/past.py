"""The envelopes that a journal tells of, and what became of them.

Content is not in a journal, nor what EHLO said, nor the parameters of a command that was refused.  So an envelope is
whom a message came from, by which listener and client, and for whom; a recipient that was refused is an envelope of its
own.  What was handed in without a session of SMTP (the HTTP API, ``mailgw sendmail``, a plug-in) is none: no
listener took it, so none can be asked again.

Rules:
    Equal envelopes with equal outcomes are one, with a count.
    Memory is bounded: the sessions, the messages and the envelopes that were met last are known, and how many were
    forgotten is counted.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.envelope import Role
from mailgw.queue.aliases import EXPANDED
from mailgw.queue.returned import RETURNED
from mailgw.receive.peers import LOCAL, UNKNOWN
from mailgw.rehearsal.story import Envelope, Outcome

SESSIONS: Final = 20_000
MESSAGES: Final = 20_000
RECIPIENTS: Final = 200_000
"""Over all envelopes that are kept."""
HEADROOM_OCTETS: Final = 4096
"""What the gateway may have added to a message, at most, of which the journal has the size with that."""

KINDS: Final = frozenset({
    "connected", "fronted", "tls", "login", "disconnected", "rejected", "queued", "changed", "discarded", "handed_over",
    "delivered", "deferred", "bounced", "ordered",
})

# Refusals that are no envelope's, and what they depend on.
_CONTENT: Final = "refused for their content"
_BEFORE: Final = "refused before MAIL"
_LIMITS: Final = "refused by limits of sessions, clients and messages"
_HANDED_IN: Final = "handed in by the API or sendmail"
_OWN: Final = "sent by plug-ins"
_NO_ADDRESS: Final = "of clients whose front tells no address"
_BROKEN: Final = "told in a way that makes no envelope"
_LIMIT_RULES: Final = frozenset({
    "messages_per_address", "messages_per_login", "recipients", "alias_recipients", "size", "parameters", "errors",
    "protocol", "trouble", "room", "lockout",
})
# After these a recipient's lane says nothing of the routes.
_OWN_LANES = (EXPANDED, RETURNED)
_MOVING: Final = ("reroute", "add_recipient", "change_recipient", "drop_recipient")


@attrs.frozen
class Told:
    """What became of an envelope, by the worst that its recipients met.  ``refusals`` are the recipients (``""`` for
    the sender) that were not accepted, with code and status (0: no reply at all); ``words`` the worst of these replies,
    ``""`` where there is none; ``lanes`` the recipients and lanes of its copies, as far as they are known; ``marks`` is
    what rules did: that it was discarded or held, and other effects."""

    outcome: Outcome
    refusals: tuple[tuple[str, int, str], ...] = ()
    words: str = ""
    lanes: tuple[tuple[str, str], ...] = ()
    marks: tuple[str, ...] = ()


ACCEPTED: Final = Told(Outcome.ACCEPTED)


@attrs.define
class Seen:
    """An envelope with what the journal tells became of it: ``count`` times, the last at ``last`` (ISO 8601, UTC)."""

    envelope: Envelope
    told: Told
    count: int
    last: str


@attrs.define
class _Open:
    """A session, or what is known of it."""

    role: Role | None = None
    address: str = ""
    with_tls: bool = False
    login: str = ""


@attrs.define
class _Message:
    envelope: Envelope
    time: str
    lanes: set[tuple[str, str]] = attrs.Factory(set)
    was_moved: bool = False
    is_ordered: bool = False
    """By an operator, into other lanes: what comes later says nothing of the routes."""


class _NoAddress(Exception):
    """Who it was cannot be said again."""


_Key: TypeAlias = tuple[Envelope, Told]


class Past:
    """``most`` different envelopes are kept, those that were met last."""

    def __init__(self, most: int, message_octets: int) -> None:
        self.not_run: Counter[str] = Counter()
        self.left_out = 0   # envelopes that were forgotten
        self.guessed = 0    # of which the beginning of the session is not known
        self._most = most
        self._message_octets = message_octets
        self._sessions: OrderedDict[str, _Open] = OrderedDict()
        self._messages: OrderedDict[str, _Message] = OrderedDict()
        self._seen: OrderedDict[_Key, Seen] = OrderedDict()
        self._recipients = 0

    def take(self, facts: Iterable[Mapping[str, Any]]) -> Sequence[Seen]:
        """All of them, in the order in which each was first met."""
        for fact in facts:
            try:
                self._take(fact)
            except _NoAddress:
                self.not_run[_NO_ADDRESS] += 1
            except (KeyError, TypeError, ValueError):
                self.not_run[_BROKEN] += 1
        while self._messages:
            self._finish(*self._messages.popitem(last=False))
        return list(self._seen.values())

    def _take(self, fact: Mapping[str, Any]) -> None:
        if fact.get("way"):
            self.not_run[_HANDED_IN] += 1
            return
        if fact["event"] == "queued" and not fact.get("session_id"):
            self.not_run[_OWN] += 1
            return
        match fact["event"]:
            case "connected":
                known = self._session(fact)
                known.role, known.address = Role(fact["role"]), fact["peer"]
            case "fronted":
                self._session(fact).address = fact["peer"]
            case "tls":
                self._session(fact).with_tls = True
            case "login":
                self._session(fact).login = fact["login"]
            case "disconnected":
                self._sessions.pop(fact["session_id"], None)
            case "rejected":
                self._refused(fact)
            case "queued":
                self._queued(fact, fact["recipients"])
            case "handed_over":
                self._queued(fact, [fact["recipient"]]).lanes.add((fact["recipient"], fact["lane"]))
            case "discarded":
                self._queued(fact, fact["recipients"])
            case "changed":
                if (changed := self._messages.get(fact["queue_id"])) is not None:
                    changed.was_moved = any(word.startswith(_MOVING) for word in fact["effects"])
            case "ordered":
                if fact["order"] == "reroute":
                    self._ordered(fact.get("queue_id", ""))
            case _:
                tried = self._messages.get(fact["queue_id"])
                if tried is not None and not tried.is_ordered and fact["lane"] not in _OWN_LANES:
                    tried.lanes.add((fact["recipient"], fact["lane"]))

    def _ordered(self, queue_id: str) -> None:
        """A message, or by a query any of those that may still wait."""
        for one in filter(None, [self._messages.get(queue_id)]) if queue_id else self._messages.values():
            one.is_ordered = True

    def _session(self, fact: Mapping[str, Any]) -> _Open:
        session_id = fact["session_id"]
        known = self._sessions.get(session_id)
        if known is None:
            known = self._sessions[session_id] = _Open()
            if len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        return known

    def _refused(self, fact: Mapping[str, Any]) -> None:
        stage, rule = fact["stage"], fact["rule"]
        if stage not in ("MAIL", "RCPT"):
            self.not_run[_CONTENT if stage == "CONTENT" else _BEFORE] += 1
            return
        if rule in _LIMIT_RULES:
            self.not_run[_LIMITS] += 1
            return
        envelope = self._envelope(fact, [fact["recipient"]] if stage == "RCPT" else [], 0)
        words = " ".join(filter(None, (str(fact["code"]), fact.get("status", ""), fact.get("text", ""))))
        outcome = Outcome.REFUSED if fact["code"] >= 500 else Outcome.DEFERRED
        refusal = (fact["recipient"] if stage == "RCPT" else "", fact["code"], fact.get("status", ""))
        self._count(envelope, Told(outcome, (refusal,), words), fact["time"])

    def _queued(self, fact: Mapping[str, Any], recipients: Sequence[str]) -> _Message:
        is_large = fact.get("size_octets", 0) - HEADROOM_OCTETS > self._message_octets
        envelope = self._envelope(fact, recipients, self._message_octets + 1 if is_large else 0)
        message = self._messages[fact["queue_id"]] = _Message(envelope, fact["time"])
        if len(self._messages) > MESSAGES:
            self._finish(*self._messages.popitem(last=False))
        return message

    def _finish(self, queue_id: str, message: _Message) -> None:
        lanes = () if message.was_moved else tuple(sorted(message.lanes))
        self._count(message.envelope, attrs.evolve(ACCEPTED, lanes=lanes), message.time)

    def _envelope(self, fact: Mapping[str, Any], recipients: Sequence[str], size_octets: int) -> Envelope:
        known = self._sessions.get(fact.get("session_id", ""))
        if known is None or known.role is None:
            known = known or _Open()
            self.guessed += 1
        login = fact.get("login", "") or known.login
        role = known.role or (Role.SUBMISSION if login else Role.MX)
        address = fact.get("peer", "") or known.address
        if address == UNKNOWN:
            raise _NoAddress
        with_tls = known.with_tls or bool(login)
        path = fact.get("reverse_path", "")
        return Envelope(
            role, address, literal(address), _mailbox(path) if path else None, tuple(map(_mailbox, recipients)), login,
            with_tls, None, size_octets,
        )

    def _count(self, envelope: Envelope, told: Told, when: str) -> None:
        key = (envelope, attrs.evolve(told, words=""))
        seen = self._seen.get(key)
        if seen is not None:
            seen.count += 1
            seen.last = max(seen.last, when)
            self._seen.move_to_end(key)
            return
        self._seen[key] = Seen(envelope, told, 1, when)
        self._recipients += len(envelope.recipients)
        while len(self._seen) > self._most or self._recipients > RECIPIENTS:
            _, gone = self._seen.popitem(last=False)
            self.left_out += gone.count
            self._recipients -= len(gone.envelope.recipients)


def literal(address: str) -> str:
    """RFC 5321 s4.1.3: what says EHLO who has no name."""
    if address == LOCAL:
        return "localhost"
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def _mailbox(word: str) -> Mailbox:
    if word.lower() == "postmaster":
        return Mailbox(word, "")
    found = parse_mailbox(word)
    if found is None:
        raise ValueError(word)
    return found
