"""What a sender is told by the clock, hours after the last attempt: what that one was told, and nothing else."""

import re
from email import message_from_bytes, policy

from zope.interface import implementer

from mailgw.config.replies import built_in_classes
from mailgw.interfaces import IRelay
from mailgw.mail.outcome import Outcome, Scope, refused, temporary
from mailgw.mail.reply import Reply
from mailgw.queue.replies import LaneOrder, MessageOrder, ReplyClass, ReplyClasses
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import ALICE, BOB, DEAD, EVE, RETRY, House, ScriptedBackend
from tests.tables import each

MX = "mx1.example.net [192.0.2.9]:25"
BUSY = ReplyClass("busy", texts=(re.compile("busy"),), message=MessageOrder.AGAIN, lane=LaneOrder.SLOW, wait=9.0)


def warning_of(backend: ScriptedBackend) -> str:
    """The delay warning for one message that was tried by its schedule, but not when the warning was due."""
    house = House(backend, classes=ReplyClasses((BUSY, *built_in_classes())))
    house.dispatcher.start()
    queue_id = house.put(BOB)
    house.pass_time(RETRY.warn_after - 60)
    tried = len(backend.seen)
    assert "delay_warning" not in house.names()
    house.pass_time(120)
    assert [event for event in backend.seen[tried:] if event[0] == queue_id] == [], "it was not made by an attempt"
    [warning] = [row for row in house.rows() if row.recipient == str(ALICE)]
    return text_of(house, warning.queue_id)


def text_of(house: House, queue_id: str) -> str:
    octets = result_of(house.spool.content(queue_id, 65536))
    assert octets is not None
    return octets.decode()


@each(
    ("said", "sentence", "server", "answer", "code"),
    [
        (temporary("4.4.1", "Cannot connect: Connection refused", Scope.HOST, MX),
         "cannot be reached at the moment", MX, "451 4.4.1 Cannot connect: Connection refused", "x-mailgw; 451 4.4.1"),
        (temporary("4.4.1", "Cannot connect: Connection refused", Scope.HOST, "[127.0.0.1]:3026"),
         "cannot be reached at the moment", "[127.0.0.1]:3026", "451 4.4.1 Cannot connect: Connection refused",
         "x-mailgw; 451 4.4.1"),
        (refused(Reply(452, "4.2.2", ("mailbox full",)), Scope.RECIPIENT, MX),
         "The mailbox is full.", MX, "452 4.2.2 mailbox full", "smtp; 452 4.2.2"),
        (refused(Reply(452, "", ("sorry, over quota",)), Scope.RECIPIENT, MX),
         "The mailbox is full.", MX, "452 sorry, over quota", "smtp; 452"),
        (refused(Reply(450, "4.7.1", ("Greylisted, come back",)), Scope.RECIPIENT, MX),
         "asks us to come again later", MX, "450 4.7.1 Greylisted, come back", "smtp; 450 4.7.1"),
        (refused(Reply(451, "4.7.1", ("busy",)), Scope.HOST, MX),  # which counts as no attempt
         "asks us to come again later", MX, "451 4.7.1 busy", "smtp; 451 4.7.1"),
    ],
)
def test_it_is_what_the_last_attempt_was_told(
    said: Outcome, sentence: str, server: str, answer: str, code: str
) -> None:
    backend = ScriptedBackend()
    backend.always = {BOB: said}
    text = warning_of(backend)
    people, programs = list(message_from_bytes(text.encode(), policy=policy.default).iter_parts())[:2]
    words = " ".join(people.get_content().split())
    assert sentence in words
    assert f"Server: {server} Answer: {answer}" in words
    assert f"Diagnostic-Code: {code}" in programs.as_string()
    assert f"Status: {said.reply.status or '4.0.0'}\n" in programs.as_string()


def test_a_relay_that_is_down_is_told_as_ours() -> None:
    @implementer(IRelay)
    class Relay(ScriptedBackend):
        pass

    backend = Relay()
    backend.always = {BOB: DEAD, EVE: DEAD}
    assert "does not answer at the moment" in " ".join(warning_of(backend).split())
    house = House(backend)
    house.dispatcher.start()
    house.put(BOB, EVE)
    house.pass_time(RETRY.give_up_after + 3700, 300)
    bounce = next(row.queue_id for row in house.rows() if "b" in row.queue_id[16:])
    words = " ".join(text_of(house, bounce).split())
    assert words.count("on to did not answer for 24 hours. That is no fault of the address") == 2
    assert "everybody" not in words
    assert "could not be reached" not in words
