"""Notices as the spool gets them: whom they go to, what they are called, and when there is none."""

from collections.abc import AsyncIterator

import attrs
from twisted.logger import capturedLogs, formatEvent

from mailgw.deliver.bounce import READ_OCTETS, Notices, Spread, to_itself
from mailgw.deliver.desk import plain_desk
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Arrival, Content, Destination, Message
from mailgw.mail.reply import Reply
from mailgw.queue.dsn_fields import Report
from mailgw.spool.content import MemoryContent
from mailgw.testing.driving import result_of
from tests.tables import each

ALICE, BOB = Mailbox("alice", "example.net"), Mailbox("bob", "example.org")
ADMIN = Mailbox("Admin", "example.net")
ARRIVED, NOW = 1_795_510_000.0, 1_795_514_400.0
HEADER = b"Received: from a\r\nSubject: hello\r\n"
REPORT = Report(BOB, Reply(550, "5.1.1", ("No such user",)), "mx1.example.org [192.0.2.1]:25", 1, None, NOW)
OURS = Arrival(None, BodyType.SEVEN_BIT, "", "", "", "", "", is_ours=True)


@attrs.define
class ChunkedContent:
    """Content that is read in pieces; a piece that is an exception is raised."""

    pieces: list[bytes | Exception]
    taken: int = 0
    is_closed: bool = False
    octets: bytes | None = None
    size_octets: int = 10**6

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                self.taken += 1
                yield piece
        finally:
            self.is_closed = True


class BareIterator:
    """An iterator of pieces that has no ``aclose``."""

    size_octets = 10**6
    octets = None

    def __init__(self) -> None:
        self._pieces = [HEADER, b"\r\nbody"]

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop(0)


def message(reverse_path: Mailbox | None = ALICE, content: Content | None = None) -> Message:
    body = content or MemoryContent(HEADER + b"\r\nsecret body\r\n")
    return Message("q1", reverse_path, BodyType.EIGHT_BIT, ARRIVED, body)


def notices(
    postmaster: Mailbox | None = ADMIN, routed: tuple[str, ...] = ("example.net",), spread: Spread = to_itself
) -> Notices:
    def lane_for(recipient: Mailbox) -> str | None:
        return f"out/{recipient.domain}" if recipient.domain in routed else None

    return Notices(plain_desk("mx.example.net"), lane_for, postmaster, spread)


def test_a_bounce_goes_to_the_sender_with_the_null_path() -> None:
    notice = result_of(notices().bounce(message(), 7, [REPORT], NOW))
    assert notice is not None
    assert notice.queue_id == "q1b7"
    assert notice.arrival == OURS
    assert notice.destinations == (Destination(ALICE, "out/example.net"),)
    assert b"\r\nMessage-ID: <q1b7@mx.example.net>\r\n" in notice.octets
    assert b"\r\nAction: failed\r\n" in notice.octets
    assert b"\r\n\r\n" + HEADER in notice.octets
    assert b"secret" not in notice.octets


def test_a_warning_goes_to_the_sender() -> None:
    report = attrs.evolve(REPORT, reply=Reply(450, "4.2.1", ("Later",)), will_retry_until=NOW + 86400)
    notice = result_of(notices().warning(message(), 3, [report], NOW))
    assert notice is not None
    assert notice.queue_id == "q1w3"
    assert notice.arrival == OURS
    assert notice.destinations == (Destination(ALICE, "out/example.net"),)
    assert b"\r\nAction: delayed\r\n" in notice.octets


def test_a_copy_goes_to_the_postmaster() -> None:
    notice = result_of(notices().postmaster_copy(message(None), 3, [REPORT], NOW))
    assert notice is not None
    assert notice.queue_id == "q1p3"
    assert notice.arrival == OURS
    assert notice.destinations == (Destination(ADMIN, "out/example.net"),)
    assert b"mailgw queue show q1" in notice.octets


def test_the_same_trouble_makes_the_same_notice() -> None:
    first, again = (result_of(notices().bounce(message(), 7, [REPORT], NOW)) for _ in range(2))
    assert first == again


def test_without_a_sender_nobody_is_told() -> None:
    assert result_of(notices().bounce(message(None), 7, [REPORT], NOW)) is None
    assert result_of(notices().warning(message(None), 7, [REPORT], NOW)) is None


def test_without_a_route_nobody_is_told() -> None:
    unrouted = notices(routed=())
    assert result_of(unrouted.bounce(message(), 7, [REPORT], NOW)) is None
    assert result_of(unrouted.warning(message(), 7, [REPORT], NOW)) is None
    assert result_of(unrouted.postmaster_copy(message(), 7, [REPORT], NOW)) is None


def test_without_a_postmaster_nobody_gets_a_copy() -> None:
    assert result_of(notices(postmaster=None).postmaster_copy(message(None), 7, [REPORT], NOW)) is None


@each("local_part", ["Admin", "admin"])
def test_the_postmaster_is_not_told_that_the_postmaster_fails(local_part: str) -> None:
    failing = attrs.evolve(REPORT, recipient=Mailbox(local_part, "example.net"))
    assert result_of(notices().postmaster_copy(message(None), 7, [REPORT, failing], NOW)) is None


# --- readers who are aliases ---------------------------------------------------------------------------

EVE = Mailbox("eve", "example.net")


async def to_both(address: Mailbox) -> tuple[Mailbox, ...]:
    return (BOB, EVE)


def test_a_sender_who_is_an_alias_is_told_where_its_mail_goes() -> None:
    those = notices(routed=("example.net", "example.org"), spread=to_both)
    for notice in (result_of(those.bounce(message(), 7, [REPORT], NOW)),
                   result_of(those.postmaster_copy(message(None), 7, [attrs.evolve(REPORT, recipient=ALICE)], NOW))):
        assert notice is not None
        assert notice.destinations == (Destination(BOB, "out/example.org"), Destination(EVE, "out/example.net"))
    assert b"\r\nTo: <Admin@example.net>\r\n" in notice.octets


def test_who_of_an_alias_has_no_route_keeps_no_other_from_hearing() -> None:
    notice = result_of(notices(spread=to_both).bounce(message(), 7, [REPORT], NOW))
    assert notice is not None
    assert notice.destinations == (Destination(EVE, "out/example.net"),)


def test_none_of_those_with_the_postmaster_s_duty_is_told_that_another_fails() -> None:
    those = notices(routed=("example.net", "example.org"), spread=to_both)
    for one in (BOB, Mailbox("Eve", "example.net"), ADMIN):
        failing = attrs.evolve(REPORT, recipient=one)
        assert result_of(those.postmaster_copy(message(None), 7, [failing], NOW)) is None


def test_where_it_cannot_be_told_whom_it_is_for_nobody_is_told() -> None:
    async def away(address: Mailbox) -> tuple[Mailbox, ...]:
        raise TemporaryFault("the database is away")

    those = notices(spread=away)
    with capturedLogs() as logs:
        assert result_of(those.bounce(message(), 7, [REPORT], NOW)) is None
    assert [formatEvent(one) for one in logs] == [
        "alice@example.net cannot be told anything now: the database is away"
    ]


# --- where the header is read ---------------------------------------------------------------------

def bounced(content: Content) -> bytes:
    notice = result_of(notices().bounce(message(content=content), 7, [REPORT], NOW))
    assert notice is not None
    return notice.octets


def test_a_header_with_8_bit_octets_makes_no_8_bit_notice() -> None:
    octets = bounced(MemoryContent(b"Subject: gr\xc3\xbcn\r\n\r\n"))
    assert octets.isascii()
    assert b"\r\nSubject: gr=C3=BCn\r\n" in octets


def test_of_a_large_message_the_first_piece_is_read_alone() -> None:
    content = ChunkedContent([HEADER + b"\r\n" + b"x" * 300_000, TemporaryFault("never read")])
    assert HEADER in bounced(content)
    assert (content.taken, content.is_closed) == (1, True)


def test_a_header_may_come_in_pieces() -> None:
    content = ChunkedContent([b"Received: from a\r\nSub", b"ject: hello\r\n\r", b"\nsecret", b"more"])
    octets = bounced(content)
    assert b"\r\n\r\n" + HEADER in octets
    assert (content.taken, content.is_closed) == (3, True)


def test_a_header_without_an_end_is_read_up_to_a_limit() -> None:
    content = ChunkedContent([b"X: y\r\n" * 2000] * 100)
    bounced(content)
    assert content.taken == -(-READ_OCTETS // 12_000)


def test_a_message_that_ends_within_its_header() -> None:
    assert HEADER in bounced(ChunkedContent([HEADER]))
    assert HEADER in bounced(BareIterator())


@each("pieces", [[TemporaryFault("disk")], [HEADER, TemporaryFault("disk")]])
def test_a_disk_that_fails_costs_the_header_alone(pieces: list[bytes | Exception]) -> None:
    octets = bounced(ChunkedContent(pieces))
    assert b"Action: failed" in octets
    assert b"text/rfc822-headers" not in octets
