"""Several backends for each recipient, each of which has to have the message: a mailbox and an archive, say.

A recipient is queued once for each member, in that member's own lane, with the commit that makes the message durable
(``FannedOut``): so each has its attempts, its limits and its trouble for itself, and what one has is never handed to it
again for another's sake, whatever crashes.  One row for all, with a memory of who has it, was rejected: a crash would
forget that, and one member's trouble would be every member's.

What stands in the fan-out's own lane all the same (the operator's reroute, rows of a backend that is configured
otherwise now, or not any more) is handed to the members in turn by ``FanOutBackend``, who remembers in memory which of
them have it: after a crash they may get it again.

Rules:
    The first member speaks to the sender of delays and successes; each speaks of its failure.
    It is taken at RCPT when all members take it: a 5yz of one comes before a 4yz of another.
    Nothing is final in the fan-out's own lane while a member may still take it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from mailgw.deliver.attempt import Note, attempt
from mailgw.deliver.names import backend_of, lane_key
from mailgw.deliver.refusal import refusal
from mailgw.interfaces import IDeliveryBackend, IFilesJunk
from mailgw.mail.address import Mailbox
from mailgw.mail.message import Arrival, Claim, Content, Destination, Message, Notice, Settlement
from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.parameters import Notify, RcptParameters
from mailgw.mail.ports import Draft, Spool
from mailgw.mail.reply import Reply

MOST_MEMBERS: Final = 10
"""Of one fan-out: each recipient of a message is as many rows in the queue."""

REMEMBERED: Final = 10_000
"""Recipients in the fan-out's own lane of whom it is remembered which members have them."""

log = Logger()

_CUT_OFF = temporary("4.3.0", "The attempt ended before this backend's turn", Scope.MESSAGE, "")


@attrs.frozen
class FanOutSettings:
    """The names of the members, at least one, none of them a fan-out itself."""

    backends: tuple[str, ...]


@implementer(IDeliveryBackend)
class FanOutBackend:
    """``members`` by name, in their order."""

    def __init__(self, members: Mapping[str, IDeliveryBackend], note: Note) -> None:
        self.members = members
        # So that none of them has more calls from here than it bears; beside those from its own lanes.
        self.concurrency = min(one.concurrency for one in members.values())
        self._note = note
        self._settled: dict[tuple[str, Mailbox], dict[str, Outcome]] = {}
        if all(map(IFilesJunk.providedBy, members.values())):
            alsoProvides(self, IFilesJunk)

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        replies = [await refusal(name, one, recipient, self._note) for name, one in self.members.items()]
        refused = [reply for reply in replies if reply is not None]
        return next((reply for reply in refused if reply.is_permanent), refused[0] if refused else None)

    def destinations(self, destination: Destination) -> Sequence[Destination]:
        """One for each member; itself where a member's lane cannot be told."""
        found: list[Destination] = []
        recipient = destination.recipient
        try:
            for name, member in self.members.items():
                lane = lane_key(name, member.lane(recipient))
                parameters = _quiet(destination.parameters) if found else destination.parameters
                found.append(Destination(recipient, lane, parameters))
        except Exception:  # noqa: BLE001 - a plug-in may raise anything; nothing is lost: it waits in our own lane
            log.failure("no lane of a member could be told for {recipient}", recipient=str(recipient))
            return (destination,)
        return found

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        """Hands it to each member in turn that does not have it yet.  Cut off, it remembers who has it by then."""
        waiting: dict[Mailbox, Outcome] = {}
        try:
            for name, member in self.members.items():
                for group in self._groups(name, member, message.queue_id, recipients):
                    outcomes = await attempt(name, member, message, group, self._note)
                    for recipient, outcome in outcomes.items():
                        if outcome.permanence is Permanence.TEMPORARY:
                            waiting.setdefault(recipient, outcome)
                        else:
                            self._settle(message.queue_id, recipient, name, outcome)
        except CancelledError:
            if not any((message.queue_id, recipient) in self._settled for recipient in recipients):
                raise
        return {one: self._outcome(message.queue_id, one, waiting.get(one, _CUT_OFF)) for one in recipients}

    def _groups(
        self, name: str, member: IDeliveryBackend, queue_id: str, recipients: Sequence[Mailbox]
    ) -> Sequence[Sequence[Mailbox]]:
        """Those whom this member does not have, by its lanes."""
        found: dict[str, list[Mailbox]] = {}
        for one in recipients:
            if name not in self._settled.get((queue_id, one), {}):
                found.setdefault(member.lane(one), []).append(one)
        return list(found.values())

    def _settle(self, queue_id: str, recipient: Mailbox, name: str, outcome: Outcome) -> None:
        key = (queue_id, recipient)
        if key not in self._settled and len(self._settled) >= REMEMBERED:
            del self._settled[next(iter(self._settled))]  # its members may get it again
        self._settled.setdefault(key, {})[name] = outcome

    def _outcome(self, queue_id: str, recipient: Mailbox, waiting: Outcome) -> Outcome:
        """Of all members together; ``waiting`` is for whom some of them does not have it."""
        settled = self._settled.get((queue_id, recipient), {})
        if len(settled) < len(self.members):
            # Trouble of one member is none of this lane's.
            return attrs.evolve(waiting, scope=Scope.MESSAGE)
        del self._settled[queue_id, recipient]
        outcomes = [settled[name] for name in self.members]
        return next((one for one in outcomes if one.permanence is Permanence.PERMANENT), outcomes[0])


def fanned_out(spool: Spool, backends: Mapping[str, IDeliveryBackend]) -> Spool:
    """``spool``, into which whatever is committed for a fan-out goes for its members."""
    fans = {name: one for name, one in backends.items() if isinstance(one, FanOutBackend)}
    return cast(Spool, _FannedOut(spool, _spread_by(fans))) if fans else spool


_Spread = Callable[[Sequence[Destination]], Sequence[Destination]]


def _spread_by(fans: Mapping[str, FanOutBackend]) -> _Spread:
    def spread(destinations: Sequence[Destination]) -> Sequence[Destination]:
        found: list[Destination] = []
        for one in destinations:
            fan = fans.get(backend_of(one.lane))
            found += [one] if fan is None else fan.destinations(one)
        return found

    return spread


class _FannedOut:
    """A ``Spool``: what is committed is spread, all else is the inner one's."""

    def __init__(self, inner: Spool, spread: _Spread) -> None:
        self._inner = inner
        self._spread = spread

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def draft(self) -> Draft:
        return _SpreadDraft(self._inner.draft(), self._spread)

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        spread = [attrs.evolve(one, destinations=tuple(self._spread(one.destinations))) for one in notices]
        return await self._inner.record(claim, settlements, spread)


class _SpreadDraft:
    """A ``Draft`` that commits itself for the members."""

    def __init__(self, inner: Draft, spread: _Spread) -> None:
        self._inner = inner
        self._spread = spread

    @property
    def queue_id(self) -> str:
        return self._inner.queue_id

    @property
    def size_octets(self) -> int:
        return self._inner.size_octets

    @property
    def backlog_octets(self) -> int:
        return self._inner.backlog_octets

    def write(self, chunk: bytes) -> None:
        self._inner.write(chunk)

    def crown(self, octets: bytes) -> None:
        self._inner.crown(octets)

    async def drained(self) -> None:
        await self._inner.drained()

    async def content(self) -> Content:
        return await self._inner.content()

    def anew(self) -> Draft:
        return _SpreadDraft(self._inner.anew(), self._spread)

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        return await self._inner.commit(arrival, self._spread(destinations), claim)

    def discard(self) -> None:
        self._inner.discard()


def _quiet(asked: RcptParameters) -> RcptParameters:
    """What is asked for the other members' copies: word of a failure, if the sender wants that."""
    wants = asked.wants(Notify.FAILURE)
    return attrs.evolve(asked, notify=frozenset({Notify.FAILURE}) if wants else frozenset())
