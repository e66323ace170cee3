"""Who has much to do does it bit by bit, and others come between."""

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.mail.address import Mailbox
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage
from mailgw.receive.line import EVENTS_A_TURN, SLICE_SECONDS, TURN_SECONDS, Line
from tests.receive.listening import Listener, Objects
from tests.receive.test_session import ENVELOPE


def step(clock: Clock) -> None:
    """One turn of a reactor, which leaves what is due only since this turn to the next."""
    for call in [call for call in clock.getDelayedCalls() if call.getTime() <= clock.seconds()]:
        work = call.func  # type: ignore[attr-defined] # Twisted's DelayedCall
        call.cancel()
        work()


def test_all_get_their_turns_one_after_another() -> None:
    clock, seen = Clock(), []
    line = Line(clock)

    def worker(name: str, turns: int) -> Callable[[], None]:
        def turn(left: list[int] = [turns]) -> None:  # noqa: B006 - its own count
            seen.append(name)
            left[0] -= 1
            if left[0]:
                line.join(turn)

        return turn

    line.join(worker("a", 3))
    line.join(worker("b", 1))
    line.join(worker("c", 2))
    for expected in ("abc", "abcac", "abcaca"):
        step(clock)
        assert "".join(seen) == expected
    assert len(line) == 0
    assert clock.getDelayedCalls() == []


def test_a_slice_ends_and_the_reactor_gets_its_turn() -> None:
    clock, seen = Clock(), []
    line = Line(clock)

    def slow(number: int) -> None:
        seen.append(number)
        clock.rightNow += SLICE_SECONDS / 2

    for number in range(5):
        line.join(lambda number=number: slow(number))  # type: ignore[misc]
    for expected in (2, 4, 5):
        step(clock)
        assert len(seen) == expected


FLOOD = ["RCPT TO:<x@elsewhere.test>"] * 100


def test_a_flood_of_commands_is_worked_off_bit_by_bit_and_nothing_is_read_meanwhile() -> None:
    listener = Listener(errors=1000)
    flood, other = listener.connect(), listener.connect()
    flood.take()
    other.take()
    flood.say(*ENVELOPE[:2])
    said = flood.say(*FLOOD)
    assert said.count("\r\n") == EVENTS_A_TURN
    assert flood.transport.paused
    assert other.codes("NOOP") == ["250"]
    assert flood.say("NOOP") == "", "one read more may come"
    while flood.transport.paused:
        step(listener.clock)
    assert flood.take().count("\r\n") == 100 + 1 - EVENTS_A_TURN
    assert flood.codes("NOOP") == ["250"]


def test_a_turn_ends_where_its_commands_are_dear() -> None:
    listener = Listener()

    async def dear(recipient: Mailbox, for_client: bool) -> Sequence[Mailbox] | Reply:
        listener.clock.rightNow += TURN_SECONDS / 2
        return (recipient,)

    listener.intake.addressees = dear  # type: ignore[method-assign]
    flood = listener.connect()
    flood.say(*ENVELOPE[:2])
    assert flood.say(*["RCPT TO:<x@example.org>"] * 7).count("\r\n") == 2
    for _ in range(2):
        step(listener.clock)
        assert flood.take().count("\r\n") == 2
    step(listener.clock)
    assert flood.take().count("\r\n") == 1
    assert flood.codes("NOOP") == ["250"]


def test_the_client_s_end_is_not_read_while_an_answer_is_owed_that_came_to_be_in_a_later_turn() -> None:
    # A client that has said QUIT, too, may shut its side: taken for the end of all, it would never learn of the 250.
    gate: Deferred[None] = Deferred()
    listener = Listener(rules=[Objects(Stage.CONTENT, None, gate)])

    async def dear(recipient: Mailbox, for_client: bool) -> Sequence[Mailbox] | Reply:
        listener.clock.rightNow += TURN_SECONDS
        return (recipient,)

    listener.intake.addressees = dear  # type: ignore[method-assign]
    session = listener.connect()
    session.say("EHLO c.test")
    said = session.say(*ENVELOPE[1:], "BDAT 12 LAST", "Subject: x", "QUIT")
    assert said.count("\r\n") == 2, "the turn has ended"
    step(listener.clock)
    assert session.take() == ""
    assert session.transport.paused
    gate.callback(None)
    assert [line[:3] for line in session.take().splitlines()] == ["250", "221"]


def test_a_session_lost_in_line_is_passed_over() -> None:
    listener = Listener(errors=1000)
    flood = listener.connect()
    flood.say(*ENVELOPE[:2])
    flood.say(*FLOOD)
    flood.take()
    flood.lose()
    listener.clock.advance(0)
    assert flood.take() == ""
    assert listener.clock.getDelayedCalls() == []


def test_the_end_of_a_session_is_reached_from_the_line() -> None:
    listener = Listener(errors=1000)
    flood = listener.connect()
    flood.say(*ENVELOPE[:2])
    flood.say(*FLOOD, "QUIT")
    listener.clock.advance(0)
    assert flood.take().endswith("221 2.0.0 Bye\r\n")
    assert flood.transport.disconnecting


def test_who_sends_much_while_others_stand_in_line_goes_there_himself() -> None:
    listener = Listener(errors=1000, quick_errors=1000)
    flood, second, third = listener.connect(), listener.connect(), listener.connect()
    for session in (flood, second, third):
        session.say("EHLO c.test", ENVELOPE[1])
    flood.say(*FLOOD)
    assert second.say(*FLOOD * 2) == ""
    assert second.transport.paused
    assert third.say(*FLOOD) != "", "not that much"
    listener.clock.advance(0)
    assert second.take().count("\r\n") == 200
