"""Mail of plug-ins goes into the queue as mail of our own."""

from typing import Any

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from mailgw.interfaces import IGateway
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Queued
from mailgw.mail.message import EVERYTHING
from mailgw.own_mail import OwnMail
from mailgw.testing.driving import result_of
from tests.app.running import box
from tests.tables import each
from tests.test_intake import Bench

ANN, BOB = box("ann@x.test"), box("bob@far.test")
LETTER = b"Subject: hi\r\n\r\nhello\r\n"


class Own:
    def __init__(self) -> None:
        self.facts: list[Any] = []
        self.bench = Bench("team@x.test ann@x.test, far@else.test\n")
        self.mail = OwnMail("mx.example.org", "mx.example.org", Clock(), lambda: 5.0, self.facts.append, 1000, 3)
        self.mail.open(self.bench.intake)

    def send(self, recipients: list[Mailbox], content: bytes = LETTER, path: Mailbox | None = ANN) -> Any:
        return result_of(self.mail.send(path, recipients, content))

    def rows(self) -> list[tuple[str, str, str]]:
        return [(row.queue_id, row.recipient, row.lane) for row in result_of(self.bench.spool.search(EVERYTHING, 10))]


def test_it_is_queued_for_anywhere() -> None:
    own = Own()
    assert verifyObject(IGateway, own.mail)
    assert (own.mail.hostname, own.mail.now()) == ("mx.example.org", 5.0)
    queue_id = own.send([ANN, BOB, box("team@x.test")])
    assert own.rows() == [
        (queue_id, "ann@x.test", "here/x.test"), (queue_id, "bob@far.test", "out/far.test"),
        (queue_id, "far@else.test", "out/else.test"),
    ]
    assert own.facts == [
        Queued("", queue_id, "", "", "ann@x.test", ("ann@x.test", "bob@far.test", "team@x.test"), len(LETTER), 0.0)]
    [claim] = result_of(own.bench.spool.claim("out/far.test", 5))
    assert claim.message.body_type is BodyType.SEVEN_BIT
    assert (claim.message.reverse_path, claim.message.parameters.smtputf8) == (ANN, False)


@each(
    ("recipients", "content", "path", "body_type", "smtputf8"),
    [
        ([BOB], b"A: b\r\n\r\n\xc3\xbc", None, BodyType.EIGHT_BIT, False),
        ([BOB], b"A: \xc3\xbc\r\n\r\n", None, BodyType.EIGHT_BIT, True),
        ([box("ü@far.test")], LETTER, None, BodyType.SEVEN_BIT, True),
        ([BOB], LETTER, box("ü@x.test"), BodyType.SEVEN_BIT, True),
    ],
)
def test_what_it_asks_of_the_next_hop(
    recipients: list[Mailbox], content: bytes, path: Mailbox | None, body_type: BodyType, smtputf8: bool
) -> None:
    own = Own()
    own.send(recipients, content, path)
    [claim] = result_of(own.bench.spool.claim("out/far.test", 5))
    assert (claim.message.body_type, claim.message.parameters.smtputf8) == (body_type, smtputf8)


def test_limits() -> None:
    own = Own()
    own.send([box(f"{n}@far.test") for n in range(3)], b"A: b\r\n\r\n" + b"x" * 992)
    for recipients, content in (
        ([box(f"{n}@far.test") for n in range(4)], LETTER), ([], LETTER), ([BOB], b"A: b\r\n\r\n" + b"x" * 993),
    ):
        with pytest.raises(ValueError, match=r"expected 1 to 3|1000 are taken"):
            own.send(recipients, content)
    assert len(own.rows()) == 3
    assert len(own.facts) == 1


@each("body", [b"a\nb", b"a\n.\r\n", b"\n.\nMAIL FROM:<x@y>\n", b"a\rb", b"\r\r\n", b"a\0", b"\r"])
def test_what_ends_no_line_is_not_sent(body: bytes) -> None:
    own = Own()
    with pytest.raises(ValueError, match="encode it"):
        own.send([BOB], LETTER + body)
    assert own.rows() == []
    own.send([BOB], LETTER + b"no line end")


def test_what_cannot_be_queued_now() -> None:
    own = Own()
    own.bench.spool.is_full = True
    with pytest.raises(TemporaryFault):
        own.send([BOB])
    own.bench.spool.is_full = False
    result_of(own.mail.close())
    with pytest.raises(TemporaryFault, match="does not run"):
        own.send([BOB])
    assert own.rows() == []
