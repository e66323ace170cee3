"""The inbox as a backend: groups on their way to the disk, failures of address, copies of what others deliver."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailgw.deliver import inbox as inboxes
from mailgw.deliver.inbox import CapturingBackend, Inbox, InboxBackend, Keeping
from mailgw.interfaces import IDeliveryBackend, IFilesJunk, ILimitedHere
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.reply import Reply
from mailgw.spool.content import MemoryContent
from mailgw.store.captured import MESSAGE_OCTETS, Bounds, Capture
from mailgw.testing.driving import result_of
from mailgw.testing.threads import FakeThreads
from tests.tables import each

BOUNDS = Bounds(10, 1 << 30)
BOB, EVE = Mailbox("bob", "example.org"), Mailbox("eve", "example.org")


class Book:
    """Remembers each group; ``fault`` is raised in place of keeping one."""

    def __init__(self) -> None:
        self.groups: list[list[Capture]] = []
        self.fault: Exception | None = None

    def keep(self, captures: Sequence[Capture], bounds: Bounds) -> None:
        assert bounds is BOUNDS
        if self.fault is not None:
            raise self.fault
        self.groups.append(list(captures))


class Lab:
    def __init__(self) -> None:
        self.book, self.threads = Book(), FakeThreads()
        self.inbox = Inbox(self.book, BOUNDS, self.threads, cast(Any, self.threads))
        self.keeping = Keeping(self.inbox, lambda: 7.0, "internet")

    def backend(self, is_scripted: bool = True) -> InboxBackend:
        return InboxBackend(self.keeping, is_scripted)


def message(queue_id: str = "Q1", octets: bytes = b"Subject: x\r\n\r\ny\r\n") -> Message:
    return Message(queue_id, None, BodyType.SEVEN_BIT, 5.0, MemoryContent(octets), peer="192.0.2.1", protocol="ESMTPS")


class Large:
    """What is read in pieces; ``reading`` has those that are being read."""

    octets = None
    size_octets = 19

    def __init__(self, reading: "list[Deferred[None]]") -> None:
        self._reading = reading

    async def chunks(self) -> Any:
        gate: Deferred[None] = Deferred()
        self._reading.append(gate)
        yield b"Subject: large\r\n\r\n"
        await gate
        self._reading.remove(gate)
        yield b"x"


def test_it_is_a_backend() -> None:
    backend = Lab().backend()
    assert verifyObject(ILimitedHere, backend)
    assert IFilesJunk.providedBy(backend)
    assert (backend.lane(BOB), result_of(backend.refusal(BOB))) == ("", None)


def test_what_is_kept_of_a_message() -> None:
    lab = Lab()
    outcomes = result_of(lab.backend().deliver(message(), [BOB, EVE]))
    assert {str(one): str(outcome.reply) for one, outcome in outcomes.items()} == dict.fromkeys(
        ["bob@example.org", "eve@example.org"], "250 2.0.0 Kept in the inbox")
    [[kept]] = lab.book.groups
    assert (kept.queue_id, kept.recipients, kept.backend) == ("Q1", ("bob@example.org", "eve@example.org"), "internet")
    assert (kept.captured, kept.arrived, kept.reverse_path, kept.peer, kept.protocol) == (
        7.0, 5.0, "", "192.0.2.1", "ESMTPS")
    assert kept.octets == b"Subject: x\r\n\r\ny\r\n"
    assert kept.size_octets == len(kept.octets)


def test_delivered_is_said_once_it_is_written_and_not_before() -> None:
    lab = Lab()
    lab.threads.at_once = False
    done = Deferred.fromCoroutine(lab.backend().deliver(message(), [BOB]))
    assert not done.called
    lab.threads.run()
    assert done.called


def test_what_comes_meanwhile_goes_into_the_next_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "GROUP", 3)
    lab = Lab()
    lab.threads.at_once = False
    backend = lab.backend()
    waiting = [Deferred.fromCoroutine(backend.deliver(message(f"Q{n}"), [BOB])) for n in range(6)]
    for _ in range(3):
        lab.threads.run()
    assert [[one.queue_id for one in group] for group in lab.book.groups] == [["Q0"], ["Q1", "Q2", "Q3"], ["Q4", "Q5"]]
    assert all(one.called for one in waiting)


def test_a_group_is_no_larger_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "GROUP_OCTETS", 40)
    lab = Lab()
    lab.threads.at_once = False
    waiting = [Deferred.fromCoroutine(lab.backend().deliver(message(f"Q{n}"), [BOB])) for n in range(6)]
    while lab.threads.work:
        lab.threads.run()
    assert [len(group) for group in lab.book.groups] == [1, 3, 2]  # 17 octets each: a group ends with the one over it
    assert all(one.called for one in waiting)


@each("fault", [OSError(28, "No space left on device"), sqlite3.OperationalError("locked")])
def test_where_it_cannot_be_written_it_waits(fault: Exception) -> None:
    lab = Lab()
    lab.book.fault = fault
    [outcome] = result_of(lab.backend().deliver(message(), [BOB])).values()
    assert (outcome.is_delivered, outcome.scope, outcome.reply.code) == (False, Scope.HOST, 451)
    lab.book.fault = None
    [outcome] = result_of(lab.backend().deliver(message(), [BOB])).values()
    assert outcome.is_delivered


def test_who_is_cut_off_may_be_kept_all_the_same() -> None:
    lab = Lab()
    lab.threads.at_once = False
    cut, other = (Deferred.fromCoroutine(lab.backend().deliver(message(name), [BOB])) for name in ("Q1", "Q2"))
    cut.addErrback(lambda failure: failure.trap(CancelledError) and None)
    cut.cancel()
    assert cut.called
    lab.threads.run()
    lab.threads.run()
    assert other.called
    assert [[one.queue_id for one in group] for group in lab.book.groups] == [["Q1"], ["Q2"]]


def test_one_large_message_at_a_time() -> None:
    lab = Lab()
    reading: list[Deferred[None]] = []
    waiting = [
        Deferred.fromCoroutine(lab.backend().deliver(
            Message(f"Q{n}", None, BodyType.SEVEN_BIT, 5.0, Large(reading)), [BOB]))
        for n in range(3)
    ]
    for _ in waiting:
        [gate] = reading
        gate.callback(None)
    assert all(one.called for one in waiting)
    assert {group[0].octets for group in lab.book.groups} == {b"Subject: large\r\n\r\nx"}


def test_no_more_of_one_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "MESSAGE_OCTETS", 5)
    monkeypatch.setattr(inboxes, "LARGE_OCTETS", 6)
    lab = Lab()
    result_of(lab.backend().deliver(message(octets=b"x" * 7), [BOB]))
    [[kept]] = lab.book.groups
    assert (kept.octets, kept.size_octets) == (b"x" * 5, 7)
    assert MESSAGE_OCTETS == 64 << 20


def test_failures_that_addresses_ask_for() -> None:
    lab = Lab()
    defer, bounce = Mailbox("x+defer", "example.org"), Mailbox("x+bounce", "example.org")
    outcomes = result_of(lab.backend().deliver(message(), [defer, BOB, bounce]))
    assert [outcomes[one].reply.code for one in (defer, BOB, bounce)] == [451, 250, 550]
    assert outcomes[defer].scope is Scope.RECIPIENT, "no reason to leave the others alone"
    assert [one.recipients for one in lab.book.groups[0]] == [("bob@example.org",)]
    result_of(lab.backend().deliver(message(), [defer]))
    assert len(lab.book.groups) == 1
    quiet = result_of(lab.backend(is_scripted=False).deliver(message(), [defer, bounce]))
    assert all(one.is_delivered for one in quiet.values())


# --- copies --------------------------------------------------------------------------------------------------

@implementer(IFilesJunk)
class Inner:
    concurrency = 3
    more = "its own"

    def __init__(self, **outcomes: Outcome) -> None:
        self.outcomes = outcomes
        self.had: list[Sequence[Mailbox]] = []

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return Reply(550, "5.1.1", ("no",))

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        self.had.append(recipients)
        good = delivered(Reply(250, "2.0.0", ("ok",)), "here")
        return {one: self.outcomes.get(one.local_part, good) for one in recipients}


def capturing(lab: Lab, inner: Inner) -> CapturingBackend:
    return CapturingBackend(cast(IDeliveryBackend, inner), lab.keeping, True)


def test_it_is_what_the_inner_one_is() -> None:
    lab, inner = Lab(), Inner()
    outer: Any = capturing(lab, inner)
    assert IFilesJunk.providedBy(outer)
    assert (outer.concurrency, outer.more, outer.lane(BOB)) == (3, "its own", "example.org")
    assert result_of(outer.refusal(BOB)).code == 550


def test_a_copy_of_what_was_delivered_alone() -> None:
    lab = Lab()
    later, never = temporary("4.2.0", "later", Scope.RECIPIENT, ""), permanent("5.1.1", "no", Scope.RECIPIENT, "")
    inner = Inner(eve=later, dan=never)
    dan, bounce = Mailbox("dan", "example.org"), Mailbox("x+bounce", "example.org")
    outcomes = result_of(capturing(lab, inner).deliver(message(), [BOB, EVE, dan, bounce]))
    assert [outcomes[one].reply.code for one in (BOB, EVE, dan, bounce)] == [250, 451, 550, 550]
    assert inner.had == [[BOB, EVE, dan]]
    assert [one.recipients for one in lab.book.groups[0]] == [("bob@example.org",)]
    result_of(capturing(lab, inner).deliver(message(), [EVE]))
    assert len(lab.book.groups) == 1


@each("fault", [OSError("disk"), RuntimeError("a bug")])
def test_a_copy_that_fails_changes_nothing(fault: Exception) -> None:
    lab = Lab()
    lab.book.fault = fault
    outcomes = result_of(capturing(lab, Inner()).deliver(message(), [BOB]))
    assert outcomes[BOB].is_delivered
