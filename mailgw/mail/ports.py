"""The doors that higher rooms call and lower rooms do not know: storage, DNS, credentials, journal.

Each is a ``typing.Protocol``.  A fake never suspends; a real one awaits Deferreds.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.event import Event
from mailgw.mail.message import (
    EVERYTHING,
    Agenda,
    Arrival,
    Claim,
    Content,
    Destination,
    Gone,
    LaneRow,
    Notice,
    Page,
    Position,
    Query,
    QueueRow,
    Settlement,
    Stretch,
)
from mailgw.mail.names import MxRecord, Records, TlsaRecord
from mailgw.mail.sts_policy import StsPolicy

WallClock = Callable[[], float]
"""Seconds since the epoch, UTC.  It may jump; waits use the reactor's monotonic one."""


class Draft(Protocol):
    """A message on its way in.  Nothing of it survives a crash before ``commit`` returns."""

    @property
    def queue_id(self) -> str: ...

    @property
    def size_octets(self) -> int:
        """What was written so far."""

    @property
    def backlog_octets(self) -> int:
        """Written to the draft, but not yet taken by the disk: pause the transport above a limit."""

    def write(self, chunk: bytes) -> None:
        """Append.  Never blocks and never raises; a disk's trouble shows in ``drained`` or ``commit``."""

    def crown(self, octets: bytes) -> None:
        """Put octets on top of all that was written, an earlier crown among it: what is only known in the end.  As
        ``write``; not much, since it is kept in memory, and with the message's row."""

    async def drained(self) -> None:
        """Return when ``backlog_octets`` is 0.  TemporaryFault where the disk refused: discard then."""

    async def content(self) -> Content:
        """What was written so far, to be read until something more is written, or the draft committed or discarded.
        TemporaryFault where the disk refused."""

    def anew(self) -> "Draft":
        """An empty draft of the same queue id, to take the place of this one.  Both are there until one is committed
        and the other discarded."""

    async def commit(self, arrival: Arrival, destinations: Sequence[Destination], claim: bool) -> tuple[Claim, ...]:
        """Make the message durable: file and folder synced, row committed with synchronous=FULL.

        With ``claim``, the recipients are leased at once, one Claim a lane, their content from memory where
        small; without, they are due at once and () is returned.  A message to be held (``parameters.hold_until``)
        is due then, and is not claimed before; one that is ``held`` waits for its release.  TemporaryFault (its reply
        452 4.3.1 where the disk is full) leaves nothing behind; the draft is then spent.
        """

    def discard(self) -> None:
        """Forget it and its file.  May be called at any time, also twice or after a failed commit; after a
        commit that returned it does nothing."""


class Spool(Protocol):
    """What remembers the queue.  Every method may raise TemporaryFault and then has changed nothing."""

    def draft(self) -> Draft:
        """A new draft with a new queue id.  TemporaryFault with 452 4.3.1 below the reserve of free space."""

    def room(self) -> bool:
        """Whether the free space is above the reserve: below it no new mail, and no attempts, since their
        results could not be recorded.  Cheap: a reading that is at most a second old."""

    def renew(self, reserve_octets: int, lease_seconds: float, late_seconds: float) -> None:
        """Other settings (``spool.settings``) from here on; a lease that is given lasts as long as it was to."""

    async def claim(self, lane: str, limit: int, after: str = "") -> tuple[Claim, ...]:
        """Lease at most ``limit`` messages that are due in ``lane``: the highest priority first.

        Of one priority half are the longest due, the others the longest due of each sender in turn (reverse-paths in
        their order, from the one behind ``after`` on), so that nobody waits for all that another has sent.  Where that
        leaves out the longest due of all, it takes the place of the last one (but of the only one), so that no
        priority starves another.
        """

    async def claim_late(self, limit: int) -> tuple[Claim, ...]:
        """Lease at most ``limit`` messages of which there is something to be said: of each lane one claim, with those
        recipients whose ``late`` has come, whether they are due or not; the latest first."""

    async def release(self, claim: Claim) -> None:
        """Give a lease back unattempted: due when it was, and now where that is still to come (since the wall clock
        stepped back, or since it was claimed late); nothing counted."""

    async def come_closer(self, longest_wait_seconds: float) -> int:
        """The wall clock stepped back: what is due later than after the longest wait there is, is due after that
        wait; how many recipients.  Leases are shortened likewise; what waits for its release (RFC 4865) stays."""

    async def agenda(self, since: float) -> Agenda:
        """What became due after ``since`` (by this clock), in unleased recipients or by a lease that ended, and when
        there is something to do next.

        With minus infinity it takes as long as there are lanes, else as there are recipients that became due; how many
        wait matters to neither.
        """

    async def record(
        self, claim: Claim, settlements: Sequence[Settlement], notices: Sequence[Notice] = ()
    ) -> tuple[Claim, ...]:
        """Write down what became of a claim, and commit its notices, in one transaction.

        Recipients of the claim without a settlement stay leased.  Rows that the operator removed, or that
        another token holds, are left alone.  When the last recipient of a message goes, the message and its
        body go.  A notice whose queue id exists, or existed within this claim's life, is skipped.
        Returns the notices' own claims, leased.
        """

    async def search(self, query: Query, limit: int) -> Sequence[QueueRow]:
        """Rows in the order of arrival, at most ``limit``; read beside the writer, never on its thread."""

    async def page(
        self, query: Query, limit: int, after: Position | None, seconds: float, newest_first: bool = False
    ) -> Page:
        """As ``search``, from behind ``after`` on (None: from the beginning), for about so many seconds: what is not
        reached by then is for the next page, which may have no rows at all.  Each page comes further, however few the
        seconds."""

    async def content(self, queue_id: str, limit_octets: int, start_octets: int = 0) -> bytes | None:
        """So many octets of a queued message from there, fewer where it ends, or None where no such message is queued.
        """

    async def lanes(self, query: Query = EVERYTHING) -> Sequence[LaneRow]:
        """Every lane that there is a recipient in who matches, in the order of their names, and what those are who do;
        read as ``search`` is."""

    async def stretch(self, after: Position | None) -> Stretch:
        """Count some thousand recipients, in the order of arrival, from behind ``after`` on; read as ``search`` is.
        For who counts them all, a stretch at a time."""

    # The operator's orders.  Each goes in steps, between which mail comes and goes: a fault ends it, and what was done
    # by then stays done.  Who came after it began is not meant.  What is active is left alone, but by ``remove``, and
    # so is what waits for its sender's record (``Query.record``).

    async def hold(self, query: Query) -> int:
        """Let what matches be tried by nobody until ``unhold``; how many recipients."""

    async def unhold(self, query: Query) -> int:
        """Make what matches and is held due, as its sender asked for (RFC 4865) or now; how many recipients."""

    async def retry(self, query: Query) -> int:
        """Make what matches due now (held ones too); how many recipients."""

    async def reroute(self, query: Query, lane_for: Callable[[Mailbox], str | None]) -> int:
        """Put what matches into the lane that ``lane_for`` says (None: let it be), due as after ``unhold``, or held as
        before; how many recipients."""

    async def remove(self, query: Query, gone: list[Gone] | None = None) -> int:
        """Forget what matches, without a bounce; how many recipients.  ``gone``, where it is given, has each of them
        added as soon as it is gone for certain, also where a fault ends the order later."""

    def suspended(self) -> Mapping[str, float]:
        """The destinations that are suspended (``queue.suspension``), each with since when.  They outlive a restart.

        What waits for one is neither claimed nor in the agenda, and what is committed for one is not claimed.
        """

    async def suspend(self, word: str) -> bool:
        """Suspend a destination from now on; False where it is already.  TemporaryFault where there are too many."""

    async def resume(self, word: str) -> bool:
        """Let it be tried again; False where it was not suspended."""

    async def close(self) -> None:
        """Commit what is pending and close.  Leases end: a later start sees them due."""


# --- names ---------------------------------------------------------------------------------------

class Resolver(Protocol):
    """DNS, as far as mail needs it.

    Names are taken in any case, with or without the trailing dot, and A-labels alone: a name that cannot stand in DNS
    does not exist.  "There is none" is a fact, a ``Records`` without items; what no server could say, or what a
    validating one found forged (bogus), is a TemporaryFault.
    """

    async def mx(self, domain: str) -> Records[MxRecord]: ...

    async def addresses(self, host: str) -> Records[str]:
        """IPv6 and IPv4 addresses, as text.  TemporaryFault only where neither was learned.

        ``secure`` where all that was learned is.  An address stands for itself, and what this host's own file of
        hosts has is taken from there; both are not secure, since nobody signed them.
        """

    async def a(self, host: str) -> Records[str]:
        """The A records alone, as text: what a domain says of IPv4, whatever becomes of the question for AAAA.

        For judgements that look at what stands in DNS (SPF): an address is a name like others here, which does not
        exist, and this host's own file of hosts is not read.
        """

    async def aaaa(self, host: str) -> Records[str]:
        """The AAAA records alone, as ``a`` has A."""

    async def text(self, domain: str) -> Records[bytes]:
        """TXT; the strings of one record joined, with nothing between them."""

    async def tlsa(self, host: str, port: int) -> Records[TlsaRecord]:
        """TLSA of ``_PORT._tcp.HOST`` (RFC 6698 s3), whose own CNAMEs are followed, but not those of ``host``."""

    async def alias(self, host: str) -> Records[str]:
        """The CNAME of ``host`` alone, where it has one, not followed.  Whether a name may stand for another is secure
        here, where ``addresses`` only tells whether the whole chain is (RFC 7672 s2.1.3)."""

    async def names(self, address: str) -> Sequence[str]:
        """The host names that an IPv4 or IPv6 address claims (PTR), in lower case; names that are none are left out.
        What they are worth ``addresses`` tells."""

    async def exists(self, domain: str) -> bool:
        """False only for NXDOMAIN."""


class MtaSts(Protocol):
    """The MTA-STS policies of domains (RFC 8461), remembered for as long as each says."""

    async def policy(self, domain: str) -> StsPolicy | None:
        """The one that is in force for a recipient's domain (A-labels, no address literal); None where there is none.

        Never raises: what cannot be learned leaves the policy in force that was, if any (s5.1).  Waits for a fetch at
        most as long as a fetch may take, and only where nothing is remembered, or DNS tells of a new policy.
        """


# --- who may log in ------------------------------------------------------------------------------

class Accounts(Protocol):
    """The accounts that exist, for routing and ``RCPT``; passwords are checked by ``access``."""

    def has(self, recipient: Mailbox) -> bool:
        """Whether an account of that address exists (local part and domain without regard to case)."""


# --- where mail for an address goes -----------------------------------------------------------------

class Aliases(Protocol):
    """Addresses of ours that stand for others, one step at a time; whoever asks goes on with what is found
    (``queue.aliases``).

    A file, with sub-addresses and patterns, and directories behind it.  "There is
    none" is a fact, None; what cannot be known now is a TemporaryFault, whose reply the client gets: a look-up that
    failed is never "no such user".  An answer may be remembered, and an old one is better than none.  Local parts and
    domains compare as ``folded`` has it; targets are whole addresses, at least one.
    """

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        """Those of the entry that ``address`` itself has."""

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        """Those for whoever in a domain (in its normal form) has no entry, and is known to nobody else."""


# --- what is counted across connections ------------------------------------------------------------

@attrs.frozen
class Excess:
    """Too much: ``limit`` is the setting's name, ``seconds`` after which it is worth trying again (0: unknown)."""

    limit: str
    seconds: float


@attrs.frozen
class Lock:
    """An address, a network or a login (``by``) is locked against guessing; ``key`` is which one."""

    by: str
    key: str
    seconds: float


class Counters(Protocol):
    """Limits across connections.  They have one owner: the process that holds the tables, of whom others lease.

    A method that returns an ``Excess`` has counted nothing.  Addresses are as ``Client`` has them.
    """

    async def enter(self, address: str) -> Excess | None:
        """A connection opens; unless refused it is there until ``leave``."""

    async def leave(self, address: str) -> None:
        """It closed."""

    async def message(self, address: str | None, login: str | None) -> Excess | None:
        """A message begins; by whom None stands for is not counted."""

    async def login_begins(self, address: str, login: str | None) -> Excess | None:
        """A password is offered; ``login`` None where it is not known for whom.  Unless refused it ends, later."""

    async def login_ends(
        self, address: str, login: str | None, is_right: bool | None, account: str | None
    ) -> Sequence[Lock]:
        """It was right, or wrong, or could not be judged (None).  The locks that began with this.

        ``account`` is whose login it was, who is at home at this address from now on; None where there is nobody, or
        the address is not the client's own.
        """

    async def first_time(self, sender: str, recipient: str) -> bool:
        """Whether this is asked for this pair for the first time: for recipients that ask to be greylisted
        (``mail.scripted``)."""


# --- operators -------------------------------------------------------------------------------------

Request = Mapping[str, Any]
"""What an operator asks: ``command``, and what else that takes (``control`` has them all); as JSON has it."""


class Answering(Protocol):
    """Who knows the answers to operators."""

    async def answer(self, request: Request) -> object:
        """The result of one request, as msgspec can encode it.  RefusedRequest where it makes no sense, and nothing was
        done; TemporaryFault where somebody who has to do it is unwell."""


Desk = Mapping[str, Callable[[Request], Awaitable[object]]]
"""The commands that one part of the gateway answers, each with what answers it, as ``Answering`` does."""


# --- facts ---------------------------------------------------------------------------------------

class Journal(Protocol):
    """Takes facts.  Never blocks, never raises; losing one never loses mail."""

    def note(self, event: Event) -> None: ...
