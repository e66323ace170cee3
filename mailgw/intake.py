"""Where accepted mail goes: who takes a recipient, to whom an alias comes, and the lane that each waits in.

Rules:
    A recipient that is no alias is its backend's to know; an alias exists, whoever knows that name.
    Aliases are looked up for addresses alone that a route names, or its domain: whether a stranger may write to one is
    the policy's to say, by the routes, and has been said by then.  What an alias comes to is mail of our own: the route
    ``*`` serves it, too, whoever wrote to the alias.
    Where a route has a directory, who exists among its recipients is the directory's to say, before the backend is
    asked: who is unknown to it is refused, unless a catch-all takes him; whom it has targets for is an alias.
    A sender's address that was made here (SRS) is an alias for that sender; one that is no good is nobody's.
    What cannot be told now (a look-up that failed, aliases in a tangle) is a TemporaryFault, never "no such user".
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, cast

import attrs
from twisted.logger import Logger

from mailgw.deliver.attempt import attempt_in_transaction
from mailgw.deliver.names import backend_of, lane_key
from mailgw.deliver.refusal import refusal
from mailgw.interfaces import IDeliveryBackend, IFilesJunk, ITransactionalBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.found import Found
from mailgw.mail.message import Claim, Destination, Message
from mailgw.mail.outcome import Outcome
from mailgw.mail.ports import Aliases, Draft, Journal, Spool, WallClock
from mailgw.mail.reply import Reply
from mailgw.mail.srs import Srs
from mailgw.policy.rules.relay import Reach
from mailgw.queue.aliases import AliasLimits, Tangle, expanded
from mailgw.queue.route import RouteTable
from mailgw.queue.suspension import Suspensions

log = Logger()

# Of how many entries it is remembered that their trouble was logged.
TOLD_AT_MOST = 1000

NO_SENDER = Reply(550, "5.1.1", ("No such address was made here, or it is too old",))
NOBODY = Reply(550, "5.1.1", ("No such recipient here",))

class Attempts(Protocol):
    """The dispatcher, as new mail needs it."""

    def has_room(self, lane: str, sender: str) -> bool:
        """Whether a message committed now should be claimed at once."""

    def accept(self, claims: Sequence[Claim]) -> None:
        """Attempt what was just committed."""


class Directory(Protocol):
    """``mailgw.store.directory.Directory``."""

    async def find(self, address: Mailbox) -> Found | None: ...

    def known(self, address: Mailbox) -> Found | None: ...


NO_DIRECTORIES: Mapping[str, Directory] = MappingProxyType({})


@attrs.frozen
class Senders:
    """Those whose mail was sent on under an address of ours, to which reports come back."""

    srs: Srs
    wall_clock: WallClock

    def has(self, address: Mailbox) -> bool:
        return self.srs.has(address)

    def sender(self, address: Mailbox) -> Mailbox | None:
        """None where the address is no good, or leads to one of ours that is none: whoever asks for an SRS1 chooses
        what is in it, and such mail would be queued, and go back to nobody."""
        now = self.wall_clock()
        found = self.srs.back(address, now)
        if isinstance(found, Mailbox) and self.srs.has(found):  # an SRS0, shorter than the SRS1 that had it
            found = self.srs.back(found, now)
        return found if isinstance(found, Mailbox) and not self.srs.has(found) else None


@attrs.frozen
class _Said:
    """What backends and directories said while one recipient was looked up: none is asked twice."""

    replies: dict[tuple[str, Mailbox], Reply | None] = attrs.Factory(dict)
    found: dict[tuple[int, Mailbox], Found | None] = attrs.Factory(dict)

    async def find(self, directory: Directory, address: Mailbox) -> Found | None:
        key = (id(directory), address)
        if key not in self.found:
            self.found[key] = await directory.find(address)
        return self.found[key]


@attrs.frozen
class _Steps:
    """``mail.ports.Aliases`` of a file, if there is one, and of the directory that knows an address, if one does."""

    file: Aliases | None
    directory_of: Callable[[Mailbox], Directory | None]
    senders: Senders | None
    said: _Said = attrs.Factory(_Said)  # of one look-up

    async def targets(self, address: Mailbox) -> Sequence[Mailbox] | None:
        if self.senders is not None and self.senders.has(address):
            sender = self.senders.sender(address)
            return None if sender is None else (sender,)
        targets = None if self.file is None else await self.file.targets(address)
        directory = self.directory_of(address) if targets is None else None
        if directory is None:
            return targets
        found = await self.said.find(directory, address)
        return None if found is None else found.targets or None

    async def catch_all(self, domain: str) -> Sequence[Mailbox] | None:
        return None if self.file is None else await self.file.catch_all(domain)


class Intake:
    """The spool, with the lane of the route that serves a recipient, then the dispatcher, which is set later.

    ``aliases`` None: nobody has any; ``limits`` are theirs.  ``directories`` are those that routes name; ``senders``
    None: no address of theirs is made here.
    """

    def __init__(
        self,
        spool: Spool,
        routes: RouteTable,
        backends: Mapping[str, IDeliveryBackend],
        aliases: Aliases | None,
        limits: AliasLimits,
        journal: Journal,
        directories: Mapping[str, Directory] = NO_DIRECTORIES,
        senders: Senders | None = None,
    ) -> None:
        self._spool = spool
        self._routes = routes
        self._backends = backends
        self._hands_over = any(map(ITransactionalBackend.providedBy, backends.values()))
        self._directories = directories
        self._senders = senders
        has_any = aliases is not None or directories or senders is not None
        self._aliases = _Steps(aliases, self._directory, senders) if has_any else None
        self._limits = limits
        self._note = journal.note
        self._told: dict[str, str] = {}
        self.dispatcher: Attempts | None = None

    def draft(self) -> Draft:
        return self._spool.draft()

    def reach(self, recipient: Mailbox) -> Reach:
        """For whom some route serves the recipient."""
        if self._senders is not None and self._senders.has(recipient):
            return Reach.ANYONE
        if self._routes.backend_for(recipient, for_client=False) is not None:
            return Reach.ANYONE
        if self._routes.backend_for(recipient, for_client=True) is not None:
            return Reach.CLIENTS
        return Reach.NOBODY

    def backend(self, recipient: Mailbox, for_client: bool) -> str | None:
        """The one that a directory said, as far as that is remembered, else the route's; None where no route matches.
        """
        route = self._routes.route_for(recipient, for_client)
        if route is None:
            return None
        found = None if route.directory is None else self._directories[route.directory].known(recipient)
        return route.backend if found is None or found.backend is None else found.backend

    async def addressees(self, recipient: Mailbox, for_client: bool) -> Sequence[Mailbox] | Reply:
        """Whom mail for a recipient goes to: itself, or what it is an alias for; a Reply where its backend does not
        take it.  TemporaryFault where aliases cannot be told now."""
        said = _Said()
        if self._senders is not None and self._senders.has(recipient) and self._senders.sender(recipient) is None:
            return NO_SENDER
        if self._aliases is not None:
            found = await self._spread(recipient, said)
            if found != (recipient,):
                return found
        reply = await self._refusal(recipient, for_client, said)
        return (recipient,) if reply is None else reply

    def why_refused(self, recipient: Mailbox, for_client: bool, reply: Reply) -> str:
        """Who it was that did not take a recipient, of what ``addressees`` said."""
        if reply is NO_SENDER:
            return "it is no sender's address that was made here, or too old"
        route = self._routes.route_for(recipient, for_client)
        if reply is NOBODY and route is not None:
            return f"directory {route.directory} knows nobody of that name"
        return "the backend refuses it"

    async def spread(self, recipient: Mailbox) -> Sequence[Mailbox]:
        """Whom mail goes to that is taken whether anybody knows the recipient or not: the postmaster's, and our own.
        TemporaryFault as ``addressees``."""
        return await self._spread(recipient, _Said())

    def lane(self, recipient: Mailbox, for_client: bool) -> str | None:
        """The lane a recipient waits in, or None where no route serves it.  TemporaryFault where a plug-in cannot tell.
        """
        name = self.backend(recipient, for_client)
        return None if name is None else self._lane_of(name, recipient)

    def is_forwarded(self, recipient: Mailbox) -> bool:
        """Whether mail for this address, which an alias came to, leaves for elsewhere under an address of ours: who is
        behind us for a domain of ours trusts us."""
        return self._senders is not None and self.reach(recipient) is not Reach.ANYONE

    def destination(self, recipient: Mailbox, for_client: bool) -> Destination:
        lane = self.lane(recipient, for_client)
        if lane is None:
            # What the policy let pass, or mail of our own.
            raise TemporaryFault(f'no route for {recipient}: give --relay HOST:PORT, or a [[route]] for "*"')
        return Destination(recipient, lane)

    def lane_in(self, backend: str, recipient: Mailbox) -> str:
        """Where a recipient waits if this backend is to serve it.  TemporaryFault as ``lane``."""
        return self._lane_of(backend, recipient)

    def files_junk(self, lane: str) -> bool:
        return IFilesJunk.providedBy(self._backends.get(backend_of(lane)))

    @property
    def hands_over(self) -> bool:
        return self._hands_over

    def takes_in_transaction(self, lane: str) -> bool:
        """Not while the operator has suspended it: then it waits with the others."""
        if not ITransactionalBackend.providedBy(self._backends.get(backend_of(lane))):
            return False
        return not Suspensions.of(self._spool.suspended()).holds(lane)

    async def hand_over(self, lane: str, message: Message, recipient: Mailbox) -> Outcome | None:
        name = backend_of(lane)
        backend = cast(ITransactionalBackend, self._backends[name])
        return await attempt_in_transaction(name, backend, message, recipient, self._note)

    def has_room(self, lanes: Sequence[str], sender: str) -> bool:
        dispatcher = self.dispatcher
        assert dispatcher is not None
        return all(dispatcher.has_room(lane, sender) for lane in lanes)

    def accept(self, claims: tuple[Claim, ...]) -> None:
        assert self.dispatcher is not None
        self.dispatcher.accept(claims)

    # --- below ------------------------------------------------------------------------------------------

    def _lane_of(self, backend: str, recipient: Mailbox) -> str:
        try:
            lane: object = self._backends[backend].lane(recipient)
            if not isinstance(lane, str):
                raise TypeError(f"a lane is text, not {type(lane).__name__}")
            return lane_key(backend, lane)
        except Exception as error:  # a plug-in's bug: one recipient's trouble is no other's
            log.failure("{backend} has no lane for {recipient}", backend=backend, recipient=str(recipient))
            raise TemporaryFault(f"{backend} has no lane for {recipient}") from error

    async def _spread(self, recipient: Mailbox, said: _Said) -> Sequence[Mailbox]:
        if self._aliases is None or self.reach(recipient) is not Reach.ANYONE:
            return (recipient,)

        async def exists(address: Mailbox) -> bool:
            reply = await self._refusal(address, False, said)
            if reply is not None and not reply.is_permanent:
                raise TemporaryFault(f"whether {address} exists cannot be told", reply)
            # RFC 3463 s3.2: x.1.z is of the address; who has no room, or takes no mail, is there.
            return reply is None or not (reply.status.startswith("5.1.") or not reply.status)

        found = await expanded(recipient, attrs.evolve(self._aliases, said=said), exists, self._limits)
        if not isinstance(found, Tangle):
            return found
        self._tell(found)
        # RFC 3463 s3.3: x.2.4, a list that cannot be expanded.  The client keeps the message until it is mended.
        words = f"<{recipient}>: who is to have this cannot be told now, please try again"
        raise TemporaryFault(f"alias {found.alias} {found.why}", Reply(451, "4.2.4", (words,)))

    def _directory(self, recipient: Mailbox, for_client: bool = False) -> Directory | None:
        """The one that knows whether the recipient exists, None where the backend does."""
        route = self._routes.route_for(recipient, for_client) if self._directories else None
        return None if route is None or route.directory is None else self._directories[route.directory]

    async def _refusal(self, recipient: Mailbox, for_client: bool, said: _Said) -> Reply | None:
        directory = self._directory(recipient, for_client)
        if directory is not None and await said.find(directory, recipient) is None:
            return NOBODY
        name = self.backend(recipient, for_client)
        if name is None:
            return None
        key = (name, recipient)
        if key not in said.replies:
            said.replies[key] = await refusal(name, self._backends[name], recipient, self._note)
        return said.replies[key]

    def _tell(self, tangle: Tangle) -> None:
        """The operator, once of each entry, as long as it is the same trouble."""
        if self._told.get(tangle.alias) == tangle.why:
            return
        if len(self._told) >= TOLD_AT_MOST:
            self._told.clear()
        self._told[tangle.alias] = tangle.why
        log.error("the alias {alias} {why}: mail for it waits at its senders", alias=tangle.alias, why=tangle.why)
