"""A backend that has a message before its client is answered."""

from typing import Any

from twisted.internet.defer import Deferred

from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.effect import AddHeader, Effect, Hold, Junk, Tag
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome, Scope, delivered, permanent, temporary
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage, change
from tests.receive.listening import Listener, Session
from tests.tables import each

OK = delivered(Reply(250, "2.1.5", ("stored",)), "")
TO_BOB = ("EHLO client.test", "MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>")
CONTENT = "Subject: x\r\n\r\nhi\r\n.\r\n"


class Bench:
    def __init__(self, says: Any, *effects: Effect) -> None:
        self.listener = Listener()
        self.listener.intake.takers["out"] = self.take
        self.says = says
        self.took: list[tuple[Message, Mailbox, bytes]] = []
        if effects:
            class Rule:
                name = "own"
                stages = frozenset({Stage.CONTENT})

                async def judge(self, stage: Any, facts: Any) -> Any:
                    return change(*effects)

            factory = self.listener.factory
            factory.chain = type(factory.chain)([Rule()])
        self.session = Session(self.listener, self.client())
        self.session.take()

    @staticmethod
    def client() -> Any:
        from tests.receive.listening import CLIENT

        return CLIENT

    async def take(self, message: Message, recipient: Mailbox) -> Outcome | None:
        octets = b"".join([chunk async for chunk in message.content.chunks()])
        self.took.append((message, recipient, octets))
        if isinstance(self.says, Deferred):
            await self.says
            return OK
        if isinstance(self.says, Exception):
            raise self.says
        outcome: Outcome | None = self.says
        return outcome

    def deliver(self, *lines: str) -> str:
        self.session.say(*(lines or TO_BOB), "DATA")
        return self.session.send(CONTENT.encode()).strip()

    def facts(self, kind: type[fact.Event]) -> list[Any]:
        return [one for one in self.listener.journal.events if isinstance(one, kind)]


def test_what_it_took_is_not_queued() -> None:
    bench = Bench(OK)
    reply = bench.deliver()
    ((message, recipient, octets),) = bench.took
    assert reply == f"250 2.0.0 OK, taken as {message.queue_id}"
    assert str(recipient) == "bob@example.org"
    assert octets.startswith(b"Received: ")
    assert octets.endswith(b"Subject: x\r\n\r\nhi\r\n")
    assert f"id {message.queue_id}".encode() in octets
    assert str(message.reverse_path) == "ann@example.net"
    assert bench.listener.stored() == []
    (handed,) = bench.facts(fact.HandedOver)
    assert (handed.queue_id, handed.recipient, handed.lane, handed.size_octets, handed.code) == (
        message.queue_id, "bob@example.org", "out", len(octets), 250)
    assert bench.facts(fact.Queued) == []
    assert bench.session.say("QUIT")
    bench.session.lose()
    assert bench.facts(fact.Disconnected)[0].messages == 1


@each(
    ("says", "reply"),
    [
        (permanent("5.7.1", "not this", Scope.MESSAGE, ""), "550 5.7.1 not this"),
        (temporary("4.3.0", "not now", Scope.MESSAGE, ""), "451 4.3.0 not now"),
        (Outcome(OK.permanence.TEMPORARY, Scope.MESSAGE, Reply(550, "5.0.0", ("odd",)), ""), "451 4.0.0 odd"),
        (Outcome(OK.permanence.PERMANENT, Scope.MESSAGE, Reply(450, "4.0.0", ("odd",)), ""), "550 5.0.0 odd"),
    ],
)
def test_its_refusal_is_the_answer(says: Outcome, reply: str) -> None:
    bench = Bench(says)
    assert bench.deliver() == reply
    assert bench.listener.stored() == []
    (rejected,) = bench.facts(fact.Rejected)
    assert (rejected.stage, rejected.rule, rejected.recipient) == ("CONTENT", "backend out", "bob@example.org")
    assert (rejected.recipients, rejected.message_id) == (("bob@example.org",), "")
    assert rejected.queue_id


def test_what_it_does_not_want_yet_is_queued() -> None:
    bench = Bench(None)
    assert bench.deliver().startswith("250 2.0.0 OK, queued as")
    assert len(bench.listener.stored()) == 1
    assert bench.facts(fact.HandedOver) == []


def test_trouble_of_ours_keeps_the_message_with_its_client() -> None:
    bench = Bench(TemporaryFault("the disk fails"))
    assert bench.deliver().startswith("451 ")
    assert bench.listener.stored() == []


@each(
    "lines",
    [
        (*TO_BOB, "RCPT TO:<cat@example.org>"),
        (*TO_BOB[:2], "RCPT TO:<bob@example.org> NOTIFY=SUCCESS"),
        (TO_BOB[0], "MAIL FROM:<ann@example.net> BY=3600;R", TO_BOB[2]),
    ],
)
def test_what_the_queue_is_needed_for_is_queued(lines: tuple[str, ...]) -> None:
    bench = Bench(OK)
    assert bench.deliver(*lines).startswith("250 2.0.0 OK, queued as")
    assert bench.took == []


def test_who_sent_nobody_a_path_gets_no_report_and_so_it_is_handed_over() -> None:
    bench = Bench(OK)
    bench.deliver(TO_BOB[0], "MAIL FROM:<>", TO_BOB[2])
    assert bench.took[0][0].reverse_path is None


def test_it_sees_what_rules_made_of_the_message() -> None:
    bench = Bench(OK, AddHeader("X-Seen", "1"), Tag("a"))
    assert bench.deliver().startswith("250")
    message, _, octets = bench.took[0]
    assert b"\r\nX-Seen: 1\r\nSubject: x\r\n" in octets
    assert message.tags == ("a",)


def test_what_a_rule_holds_is_held() -> None:
    bench = Bench(OK, Hold("odd"))
    bench.deliver()
    assert bench.took == []
    assert len(bench.listener.stored()) == 1


def test_junk_is_handed_to_who_files_it_alone() -> None:
    bench = Bench(OK, Junk("spam"))
    assert bench.deliver().startswith("250 2.0.0 OK, queued as")
    assert bench.took == []
    bench = Bench(OK, Junk("spam"))
    bench.listener.intake.filing = {"out"}
    assert bench.deliver().startswith("250 2.0.0 OK, taken as")
    assert bench.took[0][0].is_junk
    assert bench.listener.stored() == []


def test_a_client_that_goes_cancels_it() -> None:
    gate: Deferred[None] = Deferred()
    bench = Bench(gate)
    assert bench.deliver() == ""
    bench.session.lose()
    assert gate.called
    assert bench.listener.stored() == []
