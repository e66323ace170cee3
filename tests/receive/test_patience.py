"""Time limits: for a step, for a whole transaction, and for the greeting that an early talker does not wait for."""

import attrs
from twisted.internet.defer import Deferred

from mailgw.mail import event as fact
from mailgw.mail.envelope import Role
from mailgw.mail.verdict import Stage
from mailgw.policy.chain import Chain
from mailgw.receive.settings import RFC_TIME_LIMITS
from tests.receive.listening import Listener, Objects, Session
from tests.receive.test_session import ENVELOPE
from tests.tables import each

GREETING = "220 mx.example.org ESMTP mailgw ready\r\n"
TIMEOUT = "421 4.4.2 Timeout, closing the connection\r\n"


def patient(role: Role = Role.MX, trusted_clients: tuple[str, ...] = (), **limits: float) -> Listener:
    return Listener(role, trusted_clients=trusted_clients, time_limits=attrs.evolve(RFC_TIME_LIMITS, **limits))


def drip(session: Session, listener: Listener, octets: bytes, seconds: float) -> str:
    """Send octet by octet until something is answered."""
    said = ""
    for at in range(len(octets)):
        said = session.send(octets[at : at + 1])
        if said:
            break
        listener.clock.advance(seconds)
    return said or session.take()


def test_half_a_command_does_not_buy_time() -> None:
    listener = Listener()
    session = listener.connect()
    assert session.take() == GREETING
    session.say("EHLO c.test")
    assert drip(session, listener, b"MAIL FROM:<" + b"a" * 29, 10.0) == TIMEOUT
    assert listener.clock.seconds() == 300.0
    assert session.transport.disconnecting


@each(("after", "said"), [(299.0, "250 2.0.0 OK\r\n"), (300.0, "")])
def test_each_whole_command_has_its_time(after: float, said: str) -> None:
    listener = Listener()
    session = listener.connect()
    session.say("NOOP")
    listener.clock.advance(after)
    assert session.take() == ("" if said else TIMEOUT)
    assert session.say("NOOP") == said


def test_commands_without_a_message_end_with_the_transaction_s_time() -> None:
    listener = patient(transaction=1000.0)
    session = listener.connect()
    session.take()
    for _ in range(4):
        listener.clock.advance(240.0)
        assert session.say("NOOP") == "250 2.0.0 OK\r\n"
    listener.clock.advance(39.0)
    assert session.take() == ""
    listener.clock.advance(1.0)
    assert session.take() == TIMEOUT
    session.lose()
    assert listener.journal.events[-1] == fact.Disconnected("s1", "192.0.2.1", "timeout", 1000.0, 0)


def test_a_message_that_was_taken_begins_the_time_anew() -> None:
    listener = patient(transaction=200.0)
    session = listener.connect()
    session.say("EHLO c.test")
    for _ in range(5):
        listener.clock.advance(150.0)
        assert session.codes(*ENVELOPE[1:], "DATA", "x", ".") == ["250", "250", "354", "250"]
    listener.clock.advance(199.0)
    assert session.codes("NOOP") == ["250"]
    listener.clock.advance(1.0)
    assert session.take() == TIMEOUT


def test_one_octet_a_second_comes_to_nothing() -> None:
    listener = patient(transaction=600.0)
    session = listener.connect()
    session.say(*ENVELOPE, "DATA")
    assert drip(session, listener, b"Subject: x\r\n\r\n" + b"y" * 2000, 1.0) == TIMEOUT
    assert 600.0 <= listener.clock.seconds() <= 602.0
    assert listener.stored() == []


def test_an_honest_message_over_a_slow_line_goes_through() -> None:
    listener = patient(transaction=600.0)
    session = listener.connect()
    session.say(*ENVELOPE, "DATA")
    session.send(b"Subject: x\r\n\r\n")
    block = (b"y" * 62 + b"\r\n") * 320  # 20 KiB
    for _ in range(100):
        listener.clock.advance(20.0)
        assert session.send(block) == ""
    assert session.send(b".\r\n").startswith("250")
    assert listener.clock.seconds() == 2000.0


# --- early talkers ----------------------------------------------------------------------------------------

def test_who_waits_for_the_greeting_is_greeted() -> None:
    listener = patient(greeting_delay=0.3)
    session = listener.connect()
    listener.clock.advance(0.29)
    assert session.take() == ""
    listener.clock.advance(0.01)
    assert session.take() == GREETING
    assert session.codes("EHLO c.test") == ["250"]


def test_who_talks_before_the_greeting_is_refused() -> None:
    listener = patient(greeting_delay=0.3)
    session = listener.connect()
    listener.clock.advance(0.29)
    assert session.say("EHLO c.test") == "554 5.5.1 You talk before you are greeted; mail servers wait for it\r\n"
    assert session.transport.disconnecting
    assert session.say("MAIL FROM:<>") == ""
    listener.clock.advance(1.0)
    assert session.take() == ""
    [rejected] = [e for e in listener.journal.events if isinstance(e, fact.Rejected)]
    assert (rejected.stage, rejected.rule, rejected.code) == ("CONNECT", "early_talker", 554)


def test_who_talks_while_rules_think_about_him_is_refused_too() -> None:
    listener = patient(greeting_delay=0.3)
    gate: Deferred[None] = Deferred()
    listener.factory.chain = Chain([Objects(Stage.CONNECT, None, gate)])
    session = listener.connect()
    assert session.say("EHLO c.test") == ""
    gate.callback(None)
    assert session.take() == "554 5.5.1 You talk before you are greeted; mail servers wait for it\r\n"


@each(
    ("role", "trusted"), [(Role.SUBMISSION, ()), (Role.LMTP, ()), (Role.MX, ("192.0.2.0/24",))]
)
def test_others_are_greeted_at_once(role: Role, trusted: tuple[str, ...]) -> None:
    listener = patient(role, trusted, greeting_delay=0.3)
    assert listener.connect().take().startswith("220")


def test_a_connection_lost_before_the_greeting_leaves_nothing() -> None:
    listener = patient(greeting_delay=0.3)
    listener.connect().lose()
    assert listener.clock.getDelayedCalls() == []
    assert len(listener.sessions) == 0


# --- penalties --------------------------------------------------------------------------------------------

UNKNOWN = "500 5.5.2 Command not recognized\r\n"


def test_an_error_too_many_is_answered_later_and_nothing_is_read_meanwhile() -> None:
    listener = Listener(quick_errors=1)
    session = listener.connect()
    session.take()
    assert session.say("WAT") == UNKNOWN
    assert session.say("WAT", "NOOP") == ""
    assert session.transport.paused
    assert session.say("NOOP") == "", "one read more may come"
    listener.clock.advance(0.99)
    assert session.take() == ""
    listener.clock.advance(0.01)
    assert session.take() == UNKNOWN + 2 * "250 2.0.0 OK\r\n"
    assert not session.transport.paused
    assert session.say("NOOP") == "250 2.0.0 OK\r\n"


def test_each_error_has_a_penalty_of_its_own() -> None:
    listener = Listener(quick_errors=1)
    session = listener.connect()
    session.say(*["WAT"] * 4)
    said = []
    for _ in range(3):
        listener.clock.advance(1.0)
        said.append(session.take())
    assert said == [2 * UNKNOWN, UNKNOWN, UNKNOWN]


def test_the_last_error_ends_the_session_whatever_waits() -> None:
    listener = Listener(quick_errors=4)
    session = listener.connect()
    session.take()
    assert session.say(*["WAT"] * 8) == ""
    listener.clock.advance(1.0)
    assert session.take() == 5 * UNKNOWN + "421 4.7.0 Too many errors, closing the connection\r\n"
    assert session.transport.disconnecting


def test_a_connection_lost_in_a_penalty_leaves_nothing() -> None:
    listener = Listener(quick_errors=1)
    session = listener.connect()
    session.say("WAT", "WAT")
    session.lose()
    assert listener.clock.getDelayedCalls() == []
    assert len(listener.sessions) == 0


def test_a_long_penalty_is_no_silence_of_the_client() -> None:
    listener = Listener(quick_errors=1, time_limits=attrs.evolve(RFC_TIME_LIMITS, error_delay=400.0))
    session = listener.connect()
    session.take()
    session.say("WAT", "WAT")
    listener.clock.advance(301.0)
    assert session.take() == ""
    listener.clock.advance(99.0)
    assert session.take() == 2 * UNKNOWN


def test_who_does_not_read_his_answers_is_not_answered_further() -> None:
    listener = Listener(errors=1_000_000, quick_errors=1_000_000)
    session = listener.connect()
    session.take()
    session.say("EHLO c.test", ENVELOPE[1])

    def fill(octets: bytes) -> None:
        write(octets)
        session.protocol.pauseProducing()  # what a transport does whose buffer is full

    write = session.transport.write
    session.transport.write = fill  # type: ignore[method-assign]
    many = 10_000
    said = session.say(*["NOOP"] * many)
    assert 65536 < len(said) < 65536 + 200
    assert session.transport.paused
    answers = 0
    while said:
        answers += said.count("\r\n")
        session.protocol.resumeProducing()
        said = session.take()
    assert answers == many
    assert not session.transport.paused
