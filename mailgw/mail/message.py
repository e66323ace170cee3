"""A queued message as deliverers see it, and the records that the queue keeps of it."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import NO_MAIL_PARAMETERS, NO_RCPT_PARAMETERS, MailParameters, RcptParameters

JUNK_TAG: Final = "junk"
"""The word among a message's tags by which backends that file junk apart know it."""

NOTHING_ASKED: Mapping[Mailbox, RcptParameters] = MappingProxyType({})


class Content(Protocol):
    """The octets of a message: CRLF line ends, not dot-stuffed, our trace headers on top.

    It may be read any number of times, also at once, as long as its claim is held.
    """

    @property
    def size_octets(self) -> int: ...

    @property
    def octets(self) -> bytes | None:
        """All of it where it is small enough to be held in memory, else None: read ``chunks()``."""

    def chunks(self) -> AsyncIterator[bytes]:
        """All octets in order, in pieces of at most 256 KiB.  TemporaryFault where the disk fails."""


@attrs.frozen(eq=False)
class Message:
    """``arrived`` in seconds since the epoch, UTC, by the spool's clock.

    ``recipient_parameters`` is what was asked for those recipients of the attempt that asked for anything.  ``peer``,
    ``helo``, ``login`` and ``protocol`` are how it came, as ``Arrival`` has them: all ``""`` of a message of our own.
    ``is_ours``: whoever brought it may send by us, so that we stand behind it.
    """

    queue_id: str
    reverse_path: Mailbox | None
    body_type: BodyType
    arrived: float
    content: Content
    parameters: MailParameters = NO_MAIL_PARAMETERS
    recipient_parameters: Mapping[Mailbox, RcptParameters] = NOTHING_ASKED
    peer: str = ""
    helo: str = ""
    login: str = ""
    protocol: str = ""
    is_ours: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that rules gave it."""
        return self.parameters.tags

    @property
    def is_junk(self) -> bool:
        """Whether a rule wants it filed apart, by its tag."""
        return JUNK_TAG in self.parameters.tags


@attrs.frozen
class Arrival:
    """What the spool keeps of how a message came, for the operator's eyes and for bounces."""

    reverse_path: Mailbox | None
    body_type: BodyType
    peer: str        # "192.0.2.1", "local", or "" for a message of our own (a bounce)
    helo: str
    login: str       # "" where nobody logged in
    protocol: str    # RFC 3848's word: ESMTPS, LMTP ...
    session_id: str
    parameters: MailParameters = NO_MAIL_PARAMETERS
    held: str = ""   # why nobody is to try it until it is released; "" where it is not held
    is_ours: bool = False  # it is our own, or somebody brought it who may relay

    def message(self, queue_id: str, arrived: float, content: Content) -> Message:
        """What it is in the queue."""
        return Message(
            queue_id, self.reverse_path, self.body_type, arrived, content, self.parameters, NOTHING_ASKED, self.peer,
            self.helo, self.login, self.protocol, self.is_ours,
        )


@attrs.frozen
class Destination:
    """One recipient on its way into the queue; ``lane`` says whom it waits for."""

    recipient: Mailbox
    lane: str
    parameters: RcptParameters = NO_RCPT_PARAMETERS


@attrs.frozen
class QueuedRecipient:
    """One recipient in the queue.  ``row`` is the spool's own number for it; ``attempts`` counts the ended
    ones; ``warned`` says whether its sender has been told of the delay; ``due`` is when it was to be tried when it was
    claimed, by the spool's clock; ``reason`` is why it was not delivered yet."""

    row: int
    recipient: Mailbox
    attempts: int
    warned: bool
    parameters: RcptParameters = NO_RCPT_PARAMETERS
    due: float = 0.0
    reason: str = ""


@attrs.frozen(eq=False)
class Claim:
    """The right to attempt one message's recipients of one lane, until the lease ends.

    ``token`` fences: a record made with an old one changes nothing.
    """

    token: int
    lane: str
    message: Message
    recipients: tuple[QueuedRecipient, ...]


# --- what became of a claimed recipient -----------------------------------------------------------

@attrs.frozen
class Finished:
    """Delivered, or failed with its notice in the same record: the row goes."""

    row: int


@attrs.frozen
class Postponed:
    """It waits on.  ``due`` is when to try again (epoch seconds); ``attempts`` the new count; ``late`` when there is
    something to be said of it, tried or not (None: never)."""

    row: int
    due: float
    attempts: int
    reason: str
    warned: bool
    late: float | None = None


@attrs.frozen
class Held:
    """Kept, but not tried again until the operator says so."""

    row: int
    attempts: int
    reason: str


Settlement = Finished | Postponed | Held


@attrs.frozen
class Notice:
    """A message of our own (a bounce, a delay warning), committed in the same transaction as the
    settlement that caused it.  ``queue_id`` is derived from the original's: a repeat replaces nothing
    and adds nothing."""

    queue_id: str
    arrival: Arrival
    octets: bytes
    destinations: tuple[Destination, ...]


@attrs.frozen
class Agenda:
    """What there is to do.  ``lanes``: those in which something became due, each with its earliest due time, the
    longest due first; ``next_due`` and ``next_late`` when something else will be due, or late (which may be over);
    None: nothing.  Times in epoch seconds."""

    lanes: tuple[tuple[str, float], ...]
    next_due: float | None
    next_late: float | None


class RowState:
    """The words for ``QueueRow.state``."""

    WAITING = "waiting"
    ACTIVE = "active"
    HELD = "held"


@attrs.frozen
class Gone:
    """A recipient who was removed from the queue, and the lane that it was in."""

    recipient: str
    lane: str


@attrs.frozen
class QueueRow:
    """One recipient as the operator sees it.  Times are epoch seconds; ``due`` None where held or active.

    ``parameters`` and ``recipient_parameters`` are what MAIL and RCPT asked for, as ``mail.parameters`` prints them.
    """

    queue_id: str
    arrived: float
    sender: str      # "" is the null reverse-path
    recipient: str
    domain: str
    lane: str
    state: str
    due: float | None
    attempts: int
    reason: str
    size_octets: int
    peer: str
    helo: str
    login: str
    protocol: str
    parameters: str
    recipient_parameters: str
    row: int = 0     # the recipient's number in its message

    @property
    def position(self) -> "Position":
        return self.queue_id, self.row


Position = tuple[str, int]
"""Where a row stands in the order of arrival: its queue id and its number in that message."""


@attrs.frozen
class Page:
    """Some rows of a search, in its order.  ``next`` is where to go on behind, None where there is nothing more: the
    last row's position, or that of a later one that was looked at in vain."""

    rows: tuple[QueueRow, ...]
    next: Position | None


@attrs.frozen
class Query:
    """Which rows an operator means; every field that is not None must match.

    ``sender``, ``recipient``, ``domain`` and ``login`` match without regard to the case of ASCII letters; ``sender=""``
    is the null path, ``login=""`` what came without a login.
    ``address`` is part of the sender's address or of the recipient's, without regard to the case of ASCII letters.
    ``reason`` is part of the last answer, without regard to the case of ASCII letters.  Nothing is a part of any text:
    who takes queries from outside asks ``queue.meant``.  ``arrived_before`` and ``arrived_after`` are epoch seconds,
    themselves not meant.  With the state "suspended" who waits in a lane is meant that one of ``suspensions`` holds
    (``queue.suspension``, which fills them in).
    ``record`` is that which a recipient of the HTTP API's mail waits for, compared whole; "" means who waits for none.
    Who writes it says it: no order meets such a recipient without it, but ``remove``.
    """

    queue_id: str | None = None
    sender: str | None = None
    recipient: str | None = None
    domain: str | None = None
    login: str | None = None
    lane: str | None = None
    state: str | None = None
    reason: str | None = None
    address: str | None = None
    arrived_before: float | None = None
    arrived_after: float | None = None
    record: str | None = None
    suspensions: tuple[str, ...] = ()

    def of_orders(self) -> "Query":
        """Whom an order means that has this one."""
        return attrs.evolve(self, record="") if self.record is None else self


EVERYTHING = Query()


@attrs.frozen
class Tally:
    """Recipients of one lane that wait for one reason, out of a stretch of the queue; the numbers as ``LaneRow`` has
    them.  ``is_of_lane``: the reason tells what was said in this lane, not what keeps the recipient."""

    lane: str
    reason: str
    is_of_lane: bool
    waiting: int
    due_now: int
    active: int
    held: int
    next_due: float | None


@attrs.frozen
class Stretch:
    """``next`` is where the stretch behind it begins, None where it was the last one."""

    tallies: tuple[Tally, ...]
    next: Position | None


@attrs.frozen
class LaneRow:
    """One lane as the operator sees it: how many recipients wait in it (those that are due among them), are being tried
    or next in line, and are held; when the first of those that wait is due, and what one of them was told last."""

    lane: str
    waiting: int
    due_now: int
    active: int
    held: int
    next_due: float | None
    reason: str
