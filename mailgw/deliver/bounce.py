"""Notices of our own, ready for the spool: ``queue.dsn`` writes their words, this finds the header and the way.

Rules:
    A notice has the null reverse-path (RFC 5321 s4.5.5), so none answers another.
    Its queue id is derived from the message's and a row's, so a repeat after a crash is recognised.
    A header that cannot be read costs the notice its quotation, not its existence.
    Who is an alias is told as any mail to it is, whoever wrote it: a sender of ours, or the postmaster.
"""

from collections.abc import Awaitable, Callable, Sequence

from twisted.logger import Logger

from mailgw.mail.address import Mailbox
from mailgw.mail.beginning import first_octets
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.header import header_end
from mailgw.mail.message import Arrival, Content, Destination, Message, Notice
from mailgw.mail.parameters import MailParameters
from mailgw.queue import dsn
from mailgw.queue.aliases import alias_key
from mailgw.queue.dsn_fields import Report

log = Logger()

# Twice what a notice quotes: the end of a header that is just too long is still recognised.
READ_OCTETS = 64 * 1024


Spread = Callable[[Mailbox], Awaitable[Sequence[Mailbox]]]
"""Whom mail for an address goes to, itself where it is no alias; TemporaryFault where that cannot be told."""


async def to_itself(address: Mailbox) -> Sequence[Mailbox]:
    """Where there are no aliases."""
    return (address,)


class Notices:
    """Makes notices.  ``lane_for`` gives the lane of a recipient of ours, None where no route serves it;
    ``postmaster`` None means that nobody gets copies."""

    def __init__(
        self, desk: dsn.Desk, lane_for: Callable[[Mailbox], str | None], postmaster: Mailbox | None, spread: Spread
    ) -> None:
        self._desk = desk
        self._lane_for = lane_for
        self._postmaster = postmaster
        self._spread = spread

    async def bounce(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """One bounce for all of ``reports``; ``row`` is the first one's.

        None where nobody can be told (a null reverse-path, no route to it): hold the recipients then.
        """
        return await self._notice(dsn.BOUNCE, "b", message.reverse_path, message, row, reports, now)

    async def warning(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """One delay warning for all of ``reports``, or None where nobody can be told."""
        return await self._notice(dsn.DELAY, "w", message.reverse_path, message, row, reports, now)

    async def success(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """One delivery report for all of ``reports``, or None where nobody can be told."""
        return await self._notice(dsn.SUCCESS, "d", message.reverse_path, message, row, reports, now)

    async def postmaster_copy(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """Word to the postmaster of what is held.

        None where there is no postmaster, no route to it, or where it is the postmaster that failed, or one of those
        that have the duty: the next copy would fail as well, and so on without end.
        """
        postmaster = self._postmaster
        if postmaster is None:
            return None
        readers = {alias_key(one.recipient) for one in await self._destinations(postmaster)} | {alias_key(postmaster)}
        if any(alias_key(report.recipient) in readers for report in reports):
            return None
        return await self._notice(dsn.UNDELIVERABLE, "p", postmaster, message, row, reports, now)

    async def why_untold(self, to: Mailbox | None) -> str:
        """Why there was no notice for somebody."""
        if to is None:
            return "it has no sender"
        try:
            addressees = await self._spread(to)
        except TemporaryFault as fault:
            return f"it cannot be told now who gets mail for {to} ({fault.why})"
        if all(self._lane_for(one) is None for one in addressees):
            return f"no route leads to {to}"
        return f"no report to {to} could be made (see the log)"

    async def _notice(
        self,
        kind: dsn.Kind,
        letter: str,
        to: Mailbox | None,
        message: Message,
        row: int,
        reports: Sequence[Report],
        now: float,
    ) -> Notice | None:
        destinations = () if to is None else await self._destinations(to)
        if to is None or not destinations:
            return None
        notice_id = f"{message.queue_id}{letter}{row}"
        whole = dsn.wants_all(kind, message.parameters) and message.content.size_octets <= dsn.MAX_RETURNED_OCTETS
        octets = await _beginning(message.content, dsn.MAX_RETURNED_OCTETS if whole else READ_OCTETS)
        original = dsn.Original(
            message.queue_id, message.arrived, message.parameters, message.body_type, octets,
            len(octets) == message.content.size_octets,
        )
        written = dsn.notice(kind, self._desk, notice_id, to, original, now, reports)
        return Notice(notice_id, _arrival(written, to, message.parameters), written, destinations)

    async def _destinations(self, to: Mailbox) -> tuple[Destination, ...]:
        """Where a notice goes; nowhere, if its reader is an alias of which that cannot be told now.

        To wait for that was rejected: what is held meanwhile is neither lost nor tried for nothing.
        """
        try:
            addressees = await self._spread(to)
        except TemporaryFault as fault:
            log.error("{to} cannot be told anything now: {why}", to=str(to), why=fault.why)
            return ()
        lanes = ((one, self._lane_for(one)) for one in addressees)
        return tuple(Destination(one, lane) for one, lane in lanes if lane is not None)


def _arrival(written: bytes, to: Mailbox, parameters: MailParameters) -> Arrival:
    """Nobody brought it, so there is no peer, login or session."""
    return Arrival(
        reverse_path=None,
        body_type=BodyType.SEVEN_BIT if written.isascii() else BodyType.EIGHT_BIT,
        peer="",
        helo="",
        login="",
        protocol="",
        session_id="",
        parameters=MailParameters(
            smtputf8=not str(to).isascii(),
            require_tls=parameters.require_tls,  # RFC 8689 s5
            priority=parameters.priority,
        ),
        is_ours=True,
    )


async def _beginning(content: Content, limit: int) -> bytes:
    """At most ``limit``: all of them for the larger limit, for the smaller one as far as the header is to be found; b""
    where the disk fails."""
    def has_header(read: bytes) -> bool:
        return limit == READ_OCTETS and header_end(read) >= 0

    try:
        return await first_octets(content, limit, has_header)
    except TemporaryFault:
        return b""
