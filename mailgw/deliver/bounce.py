"""Notices of our own, ready for the spool: ``queue.dsn`` writes their words, this finds the header and the way.

Rules:
    A notice has the null reverse-path (RFC 5321 s4.5.5), so none answers another.
    Its queue id is derived from the message's and a row's, so a repeat after a crash is recognised.
    A header that cannot be read costs the notice its quotation, not its existence.
"""

from collections.abc import Callable, Sequence

from mailgw.mail.address import Mailbox, folded
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.header import header_end
from mailgw.mail.message import Arrival, Content, Destination, Message, Notice
from mailgw.queue import dsn
from mailgw.queue.dsn import Report

# Twice what a notice quotes: the end of a header that is just too long is still recognised.
READ_OCTETS = 64 * 1024

# dsn keeps every notice 7-bit; nobody brought it, so there is no peer, login or session.
_ARRIVAL = Arrival(
    reverse_path=None, body_type=BodyType.SEVEN_BIT, peer="", helo="", login="", protocol="", session_id=""
)


class Notices:
    """Makes notices.  ``lane_for`` gives the lane of a recipient of ours, None where no route serves it;
    ``postmaster`` None means that nobody gets copies."""

    def __init__(self, hostname: str, lane_for: Callable[[Mailbox], str | None], postmaster: Mailbox | None) -> None:
        self._hostname = hostname
        self._lane_for = lane_for
        self._postmaster = postmaster

    async def bounce(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """One bounce for all of ``reports``; ``row`` is the first one's.

        None where nobody can be told (a null reverse-path, no route to it): hold the recipients then.
        """
        return await self._notice(dsn.bounce, "b", message.reverse_path, message, row, reports, now)

    async def warning(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """One delay warning for all of ``reports``, or None where nobody can be told."""
        return await self._notice(dsn.delay_warning, "w", message.reverse_path, message, row, reports, now)

    async def postmaster_copy(self, message: Message, row: int, reports: Sequence[Report], now: float) -> Notice | None:
        """Word to the postmaster of what is held.

        None where there is no postmaster, no route to it, or where it is the postmaster that failed: the next
        copy would fail as well, and so on without end.
        """
        postmaster = self._postmaster
        if postmaster is None or any(_same(report.recipient, postmaster) for report in reports):
            return None
        return await self._notice(dsn.undeliverable_copy, "p", postmaster, message, row, reports, now)

    async def _notice(
        self,
        words: Callable[[str, str, str, Mailbox, float, float, Sequence[Report], bytes], bytes],
        letter: str,
        to: Mailbox | None,
        message: Message,
        row: int,
        reports: Sequence[Report],
        now: float,
    ) -> Notice | None:
        lane = self._lane_for(to) if to is not None else None
        if to is None or lane is None:
            return None
        notice_id = f"{message.queue_id}{letter}{row}"
        header = await _first_octets(message.content)
        octets = words(self._hostname, notice_id, message.queue_id, to, message.arrived, now, reports, header)
        return Notice(notice_id, _ARRIVAL, octets, (Destination(to, lane),))


async def _first_octets(content: Content) -> bytes:
    """Where the header of a message is to be found: at most 64 KiB, b"" where the disk fails."""
    octets = content.octets
    if octets is not None:
        return octets[:READ_OCTETS]
    read = bytearray()
    chunks = content.chunks()
    try:
        async for chunk in chunks:
            read += chunk[:READ_OCTETS - len(read)]
            if len(read) >= READ_OCTETS or header_end(bytes(read)) >= 0:
                break
    except TemporaryFault:
        return b""
    finally:
        # A generator that is left in the middle holds its file open until it is collected.
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()
    return bytes(read)


def _same(one: Mailbox, other: Mailbox) -> bool:
    return (folded(one.local_part), one.domain) == (folded(other.local_part), other.domain)
