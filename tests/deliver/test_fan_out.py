"""Several backends for a recipient: a row each in the queue, and a memory for what is queued otherwise."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import alsoProvides
from zope.interface.verify import verifyObject

from mailgw.deliver import fan_out
from mailgw.deliver.fan_out import FanOutBackend
from mailgw.interfaces import IDeliveryBackend, IFilesJunk
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Destination, Message
from mailgw.mail.outcome import Outcome, Permanence, Scope, delivered, refused, temporary
from mailgw.mail.parameters import Notify, RcptParameters
from mailgw.mail.reply import Reply
from mailgw.spool.content import MemoryContent
from mailgw.testing import Gateway, assert_nothing_is_lost
from mailgw.testing.driving import result_of
from tests.logged import LoggedFailures
from tests.tables import each

ANN, BOB = Mailbox("ann", "example.org"), Mailbox("bob", "example.net")
MESSAGE = Message("Q1", None, BodyType.SEVEN_BIT, 1.0, MemoryContent(b"\r\n"))
GOOD = delivered(Reply(250, "2.0.0", ("stored",)), "a")
LATER = temporary("4.4.1", "no answer", Scope.HOST, "b")
NEVER = refused(Reply(550, "5.7.1", ("no",)), Scope.RECIPIENT, "b")
NO, NOT_NOW = Reply(550, "5.1.1", ("nobody",)), Reply(451, "4.3.0", ("later",))


class Member:
    """Says what it is told to say, in turn, and that all is well then."""

    def __init__(self, *says: Outcome | BaseException, concurrency: int = 5) -> None:
        self.says = list(says)
        self.concurrency = concurrency
        self.reply: Reply | Exception | None = None
        self.got: list[tuple[str, ...]] = []
        self.is_broken = False

    def lane(self, recipient: Mailbox) -> str:
        if self.is_broken:
            raise ValueError("a bug")
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        self.got.append(tuple(map(str, recipients)))
        says = self.says.pop(0) if self.says else GOOD
        if isinstance(says, BaseException):
            raise says
        return dict.fromkeys(recipients, says)


def fan(*members: Member) -> FanOutBackend:
    named: dict[str, Any] = {f"m{n}": member for n, member in enumerate(members)}
    return FanOutBackend(named, lambda _: None)


def attempted(backend: FanOutBackend, *recipients: Mailbox) -> list[str]:
    outcomes = result_of(backend.deliver(MESSAGE, recipients))
    assert list(outcomes) == list(recipients)
    assert all(outcome.scope is not Scope.HOST for outcome in outcomes.values()), "the lane is everybody's"
    return [f"{outcome.permanence.value} {outcome.reply.status}" for outcome in outcomes.values()]


def test_it_is_a_backend() -> None:
    backend = fan(Member(concurrency=7), Member(concurrency=3))
    assert verifyObject(IDeliveryBackend, backend)
    assert (backend.concurrency, backend.lane(ANN)) == (3, "")


@each(("filing", "expected"), [((True, True), True), ((True, False), False), ((False, False), False)])
def test_it_files_junk_where_all_of_them_do(filing: tuple[bool, ...], expected: bool) -> None:
    members = [Member() for _ in filing]
    for member, files in zip(members, filing, strict=True):
        if files:
            alsoProvides(member, IFilesJunk)
    assert IFilesJunk.providedBy(fan(*members)) is expected


@each(("replies", "expected"), [
    ((None, None), None), ((None, NO), NO), ((NOT_NOW, NO), NO), ((NOT_NOW, None), NOT_NOW),
    ((TemporaryFault("down", NOT_NOW), None), NOT_NOW), ((TemporaryFault("down", NOT_NOW), NO), NO),
])
def test_all_of_them_have_to_take_it(replies: tuple[Any, ...], expected: Reply | None) -> None:
    members = [Member(), Member()]
    for member, reply in zip(members, replies, strict=True):
        member.reply = reply
    assert result_of(fan(*members).refusal(ANN)) == expected


@each(("asked", "others"), [
    (RcptParameters(), {Notify.FAILURE}), (RcptParameters(frozenset()), set()),
    (RcptParameters(frozenset({Notify.SUCCESS})), set()),
    (RcptParameters(frozenset(Notify), "rfc822;x@example.org"), {Notify.FAILURE}),
])
def test_a_row_for_each_of_which_the_first_one_speaks(asked: RcptParameters, others: set[Notify]) -> None:
    first, *rest = fan(Member(), Member(), Member()).destinations(Destination(ANN, "all", asked))
    assert first == Destination(ANN, "m0/example.org", asked)
    assert [one.lane for one in rest] == ["m1/example.org", "m2/example.org"]
    assert {one.parameters for one in rest} == {RcptParameters(frozenset(others), asked.orcpt)}


def test_where_a_lane_cannot_be_told_it_waits_in_ours(logged_failures: LoggedFailures) -> None:
    broken = Member()
    broken.is_broken = True
    destination = Destination(ANN, "all")
    assert fan(Member(), broken).destinations(destination) == (destination,)
    assert [str(failure) for failure in logged_failures.take()] == ["a bug"]


# --- in its own lane ------------------------------------------------------------------------------------

def test_who_has_it_does_not_get_it_again() -> None:
    one, other = Member(), Member(LATER, LATER)
    backend = fan(one, other)
    assert attempted(backend, ANN) == ["temporary 4.4.1"]
    assert attempted(backend, ANN) == ["temporary 4.4.1"]
    assert attempted(backend, ANN) == ["delivered 2.0.0"]
    assert (len(one.got), len(other.got)) == (1, 3)
    assert attempted(backend, ANN) == ["delivered 2.0.0"], "and all is forgotten"
    assert (len(one.got), len(other.got)) == (2, 4)


def test_one_failure_is_final_when_the_others_have_it() -> None:
    one, other = Member(LATER), Member(NEVER)
    backend = fan(one, other)
    assert attempted(backend, ANN) == ["temporary 4.4.1"]
    assert attempted(backend, ANN) == ["permanent 5.7.1"]
    assert (len(one.got), len(other.got)) == (2, 1)


def test_recipients_of_one_lane_share_an_attempt() -> None:
    eve = Mailbox("eve", "example.org")
    one, other = Member(), Member(LATER)
    assert attempted(fan(one, other), ANN, BOB, eve) == ["temporary 4.4.1", "delivered 2.0.0", "temporary 4.4.1"]
    assert one.got == other.got == [("ann@example.org", "eve@example.org"), ("bob@example.net",)]


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "REMEMBERED", 2)
    one, other = Member(), Member(*[LATER] * 10)
    backend = fan(one, other)
    for many in (2, 3):
        recipients = [Mailbox(f"u{n}", f"{n}.example") for n in range(many)]
        attempted(backend, *recipients)
        one.got.clear()
        attempted(backend, *recipients)
        assert len(one.got) == (0 if many == 2 else 1), "with one more the oldest is forgotten"


def test_it_is_cut_off() -> None:
    never: Deferred[Any] = Deferred()

    class Slow(Member):
        async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
            found: Mapping[Mailbox, Outcome] = await never
            return found

    one = Member()
    backend = fan(one, Slow())
    task: Any = Deferred.fromCoroutine(backend.deliver(MESSAGE, (ANN,)))
    task.cancel()
    assert task.result[ANN].permanence is Permanence.TEMPORARY
    backend.members["m1"].deliver = Member().deliver  # type: ignore[method-assign]
    assert attempted(backend, ANN) == ["delivered 2.0.0"]
    assert len(one.got) == 1
    never = Deferred()
    task = Deferred.fromCoroutine(fan(Slow()).deliver(MESSAGE, (ANN,)))
    task.addErrback(lambda failure: failure.trap(CancelledError) and None)
    task.cancel()
    assert task.result is None


# --- in a gateway ---------------------------------------------------------------------------------------

CONFIG = """
[[route]]
recipients = ["@example.org"]
backend = "all"
[backend.all]
type = "fan-out"
backends = ["boxes", "archive"]
[backend.boxes]
type = "given"
[backend.archive]
type = "given"
[retry]
schedule = ["1m"]
warn_after = "2m"
give_up_after = "1h"
"""
HELLO = b"Subject: hi\n\nhello\n"


def gateway_of(boxes: Member, archive: Member, more: str = "") -> Gateway:
    return Gateway(CONFIG + more, plugins={"boxes": boxes, "archive": archive})


def test_each_has_its_own_attempts_and_a_crash_forgets_nothing() -> None:
    boxes, archive = Member(), Member(LATER)
    with gateway_of(boxes, archive) as gateway:
        gateway.receive(HELLO, sender="ann@example.org", to=["bob@example.org"])
        assert [row.lane for row in gateway.queue] == ["archive/example.org"]
        gateway.crash()
        gateway.restart()
        gateway.advance(minutes=5)
        assert not gateway.queue
        assert (len(boxes.got), len(archive.got)) == (1, 2)


def test_wherever_the_power_fails_each_member_gets_it() -> None:
    members: dict[str, Member] = {}

    def make() -> Gateway:
        members.update(boxes=Member(), archive=Member(LATER))
        return gateway_of(**members)

    def send(gateway: Gateway) -> None:
        gateway.receive(HELLO, sender="ann@example.org", to=["bob@example.org"])

    count = assert_nothing_is_lost(make, send, lambda delivery: bool(members[delivery.backend].got))
    assert count >= 6, "the commit, and a record for each member, before and after each"


def test_one_failure_is_one_report_to_a_sender_who_has_a_fan_out_himself() -> None:
    boxes, archive = Member(), Member(NEVER)
    with gateway_of(boxes, archive) as gateway:
        gateway.receive(HELLO, sender="ann@example.org", to=["bob@example.org"])
        gateway.advance(minutes=5)
        assert not gateway.queue
        # The message, and its report.
        assert boxes.got == archive.got == [("bob@example.org",), ("ann@example.org",)]
        assert len(gateway.bounced) == 1


def test_a_member_s_lane_that_has_trouble_keeps_no_other_waiting() -> None:
    boxes, archive = Member(), Member(*[LATER] * 100)
    with gateway_of(boxes, archive) as gateway:
        for _ in range(5):
            gateway.receive(HELLO, sender="ann@example.org", to=["bob@example.org"])
        assert len(boxes.got) == 5
        assert {row.lane for row in gateway.queue} == {"archive/example.org"}
