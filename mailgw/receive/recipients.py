"""The recipients of one message: those that were named, and those that they come to (RFC 5321 s3.9.1, RFC 3461 s5.2.7).

Rules:
    Who is named by RCPT is counted there, and answered there; what an alias comes to has a limit of its own.
    An alias is gone through once, in however many spellings it is named: the first one counts.
    An address gets one copy, in however many ways it is reached, and what was wished for in any of them holds.
    Nothing changes where a recipient is not taken.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from mailgw.mail.address import Mailbox
from mailgw.mail.message import Destination
from mailgw.mail.parameters import NO_RCPT_PARAMETERS, RcptParameters
from mailgw.queue.aliases import EXPANDED, alias_key, parameters_of_copies, parameters_of_report, wanted_by_both


@attrs.frozen
class Named:
    """One that was taken: as ``add`` (whose only addressee is itself) and ``add_alias`` were told of it."""

    recipient: Mailbox
    addressees: tuple[Mailbox, ...]
    parameters: RcptParameters
    for_client: bool
    written: Mailbox


class Recipients:
    """``destination`` gives the way of an address, for a client or for anybody; its TemporaryFault passes through.
    Aliases come to at most ``most_copies`` addresses together that nobody named, but a single one to as many as it
    does.  ``is_forwarded`` says which of them are elsewhere, where mail goes under another sender."""

    def __init__(
        self,
        destination: Callable[[Mailbox, bool], Destination],
        most_copies: int,
        is_forwarded: Callable[[Mailbox], bool] = lambda address: False,
    ) -> None:
        self._ask = destination
        self._ways: dict[tuple[Mailbox, bool], Destination] = {}
        self._most_copies = most_copies
        self._is_forwarded = is_forwarded
        self._named: dict[Mailbox, Named] = {}
        self._destinations: dict[Mailbox, Destination] = {}
        self._expansions: dict[Mailbox, int] = {}
        self._reports: list[Destination] = []
        self._aliases: set[str] = set()  # by their keys
        # Once there is an alias: how to find an address in any spelling, and what nobody named.
        self._by_key: dict[str, Mailbox] = {}
        self._copies: set[Mailbox] = set()

    @property
    def named(self) -> tuple[Mailbox, ...]:
        """As RCPT named them."""
        return tuple(self._named)

    def like(self) -> "Recipients":
        """None yet, under the same limits.  Whose way is known keeps it: what a directory said when he was named may be
        forgotten by now."""
        like = Recipients(self._ask, self._most_copies, self._is_forwarded)
        like._ways = self._ways
        return like

    def is_report(self, destination: Destination) -> bool:
        """Whether one of ``destinations`` is no copy, but a report that a sender asked for."""
        return destination.lane == EXPANDED

    @property
    def taken(self) -> Sequence[Named]:
        """All that was told of them, in order: who takes it again, in part or changed, has other recipients."""
        return tuple(self._named.values())

    def take(self, one: Named) -> bool:
        """As ``add``, or ``add_alias``; False where that says so."""
        if one.addressees == (one.recipient,):
            self.add(one.recipient, one.parameters, one.for_client)
            return True
        return self.add_alias(one.recipient, one.addressees, one.parameters, one.written)

    @property
    def expansions(self) -> Mapping[Mailbox, int]:
        """The aliases among them, and how many addresses each comes to."""
        return self._expansions

    def destinations(self, has_sender: bool) -> Sequence[Destination]:
        """What is to be queued, with the reports that a sender asked for."""
        found = list(self._destinations.values())
        return found + self._reports if has_sender else found

    def has_alias(self, alias: Mailbox) -> bool:
        """Whether it was named, in any spelling: what it comes to need not be asked again, which is dear."""
        return bool(self._aliases) and alias_key(alias) in self._aliases

    def add(self, recipient: Mailbox, parameters: RcptParameters, for_client: bool) -> None:
        """Take a recipient that is no alias; one that was named before is not doubled, and keeps the parameters that it
        had."""
        if recipient in self._named:
            return
        reached = self._by_key.get(alias_key(recipient)) if self._expansions else None
        if reached in self._copies:
            assert reached is not None
            self._copies.discard(reached)
            both = wanted_by_both(parameters, self._destinations[reached].parameters)
            self._destinations[reached] = attrs.evolve(self._destinations[reached], parameters=both)
        else:
            destination = self._destination(recipient, for_client)
            if parameters is not NO_RCPT_PARAMETERS:
                destination = attrs.evolve(destination, parameters=parameters)
            self._destinations[recipient] = destination
            if self._expansions:
                self._by_key.setdefault(alias_key(recipient), recipient)
        self._named[recipient] = Named(recipient, (recipient,), parameters, for_client, recipient)

    def _destination(self, recipient: Mailbox, for_client: bool) -> Destination:
        known = self._ways.get((recipient, for_client))
        if known is None:
            known = self._ways[recipient, for_client] = self._ask(recipient, for_client)
        return known

    def add_alias(
        self, alias: Mailbox, addressees: Sequence[Mailbox], parameters: RcptParameters, written: Mailbox
    ) -> bool:
        """Take a recipient that is an alias for ``addressees``, which differ; False where those are too many beside
        what other aliases come to.  ``written`` is the address in RCPT, another one for the postmaster's."""
        if self.has_alias(alias):
            return True
        if not self._expansions:
            self._by_key = {alias_key(one): one for one in reversed(self._destinations)}
        keys = [alias_key(one) for one in addressees]
        new = {key: one for key, one in zip(keys, addressees, strict=True) if key not in self._by_key}
        if self._copies and len(self._copies) + len(new) > self._most_copies:
            return False
        destinations = [self._destination(one, True) for one in new.values()]
        asked = parameters_of_copies(written, parameters, addressees)
        for key in keys:
            reached = self._by_key.get(key)
            if reached is not None:
                known = self._destinations[reached]
                both = wanted_by_both(known.parameters, asked)
                if both != known.parameters:
                    self._destinations[reached] = attrs.evolve(known, parameters=both)
        for destination in destinations:
            is_forwarded = self._is_forwarded(destination.recipient)
            own = attrs.evolve(asked, is_forwarded=True) if is_forwarded else asked
            self._destinations[destination.recipient] = attrs.evolve(destination, parameters=own)
        self._by_key.update(new)
        self._copies.update(new.values())
        self._named[alias] = Named(alias, tuple(addressees), parameters, True, written)
        self._aliases.add(alias_key(alias))
        self._expansions[alias] = len(addressees)
        report = parameters_of_report(parameters, addressees)
        if report is not None:
            self._reports.append(Destination(alias, EXPANDED, report))
        return True
