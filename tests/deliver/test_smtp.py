"""The SMTP backend over a network in memory: transactions, kept sessions, trouble at each stage."""

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeout

from mailgw.deliver.smtp import Secret, TlsMode
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import LocalProtocolError, TemporaryFault
from mailgw.mail.names import Records
from mailgw.mail.outcome import Permanence, Scope
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, BOB, CY, EHLO, Net, Peer, large, message, settings
from tests.logged import LoggedFailures
from tests.tables import each

SENT = (
    b"MAIL FROM:<sender@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n"
    b"Subject: x\r\n\r\n..dot\r\n.\r\n"
)


# --- one message after the other -----------------------------------------------------------------------------

def test_a_message_goes_out_in_two_writes() -> None:
    net = Net()
    delivery = net.deliver()
    assert net.calls() == [("192.0.2.1", 2525)]
    peer = net.accept().greet()
    assert peer.heard() == SENT[:SENT.index(b"Subject")]
    peer.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert peer.heard() == SENT[SENT.index(b"Subject"):]
    assert not delivery.is_over
    peer.say(b"250 2.0.0 queued\r\n")
    outcome = delivery.outcomes[ANN]
    assert (outcome.permanence, outcome.reply.text) == (Permanence.DELIVERED, "queued")
    assert outcome.hop == "[192.0.2.1]:2525"


def test_a_kept_session_serves_the_next_message() -> None:
    net = Net()
    net.deliver()
    peer = net.accept().greet()
    peer.accept_all()
    assert net.idle() == 1
    second = net.deliver()
    assert net.idle() == 0
    assert peer.accept_all() == SENT
    assert second.texts == {"ann": "delivered 250 2.0.0 queued"}
    assert len(net.calls()) == 1


def test_two_at_once_take_two_connections() -> None:
    net = Net()
    first = net.deliver()
    one = net.accept().greet()
    second = net.deliver()
    two = net.accept().greet()
    assert len(net.calls()) == 2
    two.accept_all()
    one.accept_all()
    assert first.is_over
    assert second.is_over
    assert net.idle() == 2


def test_a_session_is_closed_after_so_many_messages() -> None:
    net = Net(messages_per_session=2)
    net.deliver()
    peer = net.accept().greet()
    peer.accept_all()
    net.deliver()
    peer.accept_all()
    assert peer.heard() == b"QUIT\r\n"
    assert peer.is_closed
    assert net.idle() == 0


def test_an_idle_session_is_closed_in_time() -> None:
    net = Net()
    net.deliver()
    peer = net.accept().greet()
    net.reactor.advance(200)
    peer.accept_all()
    net.reactor.advance(4.9)
    assert not peer.is_closed
    net.reactor.advance(0.2)
    assert peer.heard() == b"QUIT\r\n"
    assert peer.is_closed
    assert net.idle() == 0
    net.reactor.advance(10)
    assert peer.wire.aborted
    peer.hang_up()
    assert not net.reactor.getDelayedCalls()


def test_an_idle_session_that_its_peer_ends_is_forgotten() -> None:
    for ending in (lambda peer: peer.hang_up(), lambda peer: peer.say(b"421 4.4.2 bye\r\n")):
        net = Net()
        net.deliver()
        peer = net.accept().greet()
        peer.accept_all()
        ending(peer)
        assert net.idle() == 0


def test_a_kept_session_that_is_dead_is_replaced_in_the_same_attempt() -> None:
    net = Net()
    net.deliver()
    old = net.accept().greet()
    old.accept_all()
    second = net.deliver()
    old.hang_up(ConnectionLost())
    assert len(net.calls()) == 2
    net.accept().greet().accept_all()
    assert second.outcomes[ANN].is_delivered


def test_stopping_closes_kept_sessions_and_those_that_come_back() -> None:
    net = Net()
    net.deliver()
    idle = net.accept().greet()
    idle.accept_all()
    idle.heard()
    net.deliver()
    net.deliver()
    busy = net.accept().greet()
    idle.accept_all()
    net.backend.stopService()
    assert idle.is_closed
    assert not busy.is_closed
    busy.accept_all()
    assert busy.is_closed
    assert net.idle() == 0


def test_lmtp_on_a_unix_socket() -> None:
    net = Net(hosts=("unix:/run/lmtp",), lmtp=True)
    delivery = net.deliver(recipients=[ANN, BOB])
    peer = net.accept_unix()
    peer.say(b"220 hi\r\n")
    assert peer.heard() == b"LHLO us.example.net\r\n"
    peer.say(EHLO)
    peer.accept_all(2, b"250 2.1.5 yes\r\n550 5.2.2 full\r\n")
    assert delivery.texts == {"ann": "delivered 250 2.1.5 yes", "bob": "permanent 550 5.2.2 full"}
    assert delivery.outcomes[ANN].hop == "unix:/run/lmtp"


# --- refusals -----------------------------------------------------------------------------------------------------

def test_recipients_have_their_own_fates_and_the_session_is_reset() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB])
    peer = net.accept().greet()
    peer.say(b"250 ok\r\n550 5.1.1 no\r\n451 4.2.1 later\r\n554 5.5.1 nobody\r\n")
    assert delivery.texts == {"ann": "permanent 550 5.1.1 no", "bob": "temporary 451 4.2.1 later"}
    peer.heard()
    net.deliver()
    assert peer.heard().startswith(b"RSET\r\nMAIL FROM")


def test_too_many_recipients_go_in_the_next_transaction_at_once() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB, CY])
    peer = net.accept().greet()
    peer.say(b"250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n452 too many recipients\r\n354 go\r\n").say(b"250 ok\r\n")
    assert not delivery.is_over
    peer.heard()
    peer.say(b"250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n354 go\r\n").say(b"250 ok\r\n")
    peer.heard()
    peer.say(b"250 ok\r\n452 4.5.3 too many\r\n503 5.5.1 nobody\r\n")
    assert delivery.texts == {
        "ann": "delivered 250 2.0.0 ok",
        "bob": "delivered 250 2.0.0 ok",
        "cy": "temporary 452 4.5.3 too many",
    }
    assert net.idle() == 1


def test_a_verdict_on_the_message_asks_no_other_host() -> None:
    for verdict in (b"450 4.7.1 grey", b"550 5.7.1 no"):
        net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
        delivery = net.deliver()
        net.accept().greet().say(verdict + b"\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n")
        assert delivery.outcomes[ANN].reply.octets() == verdict + b"\r\n"
        assert len(net.calls()) == 1


def test_8bit_content_that_cannot_be_converted_for_a_7bit_hop_fails_for_good() -> None:
    for what in (message("Subject: ä\r\n".encode(), BodyType.EIGHT_BIT), large(b"a", b"\xe4", body=BodyType.EIGHT_BIT)):
        net = Net()
        delivery = net.deliver(what)
        net.accept().greet()
        assert delivery.outcomes[ANN].permanence is Permanence.PERMANENT
        assert delivery.outcomes[ANN].reply.status == "5.6.3"
        assert net.idle() == 1


def test_8bit_content_that_nobody_announced_rather_goes_as_it_came() -> None:
    octets = "Subject: ä\r\n".encode()
    for what in (message(octets, BodyType.UNLABELLED), large(octets, body=BodyType.UNLABELLED)):
        net = Net()
        delivery = net.deliver(what)
        assert net.accept().greet().accept_all().endswith(octets + b".\r\n")
        assert delivery.outcomes[ANN].is_delivered


def test_8bit_announced_but_not_there_goes_anywhere() -> None:
    for what in (message(body=BodyType.EIGHT_BIT), large(b"a\r\n", body=BodyType.EIGHT_BIT)):
        net = Net()
        delivery = net.deliver(what)
        net.accept().greet().accept_all()
        assert delivery.outcomes[ANN].is_delivered


def test_a_message_too_large_for_the_hop_leaves_the_session_alone() -> None:
    net = Net()
    delivery = net.deliver()
    net.accept().greet(b"250-mx\r\n250 SIZE 5\r\n")
    assert delivery.outcomes[ANN].reply.status == "5.3.4"
    assert net.idle() == 1


# --- trouble --------------------------------------------------------------------------------------------------

def test_the_next_host_serves_when_one_refuses_or_breaks() -> None:
    net = Net(hosts=tuple(f"192.0.2.{i}:25" for i in range(1, 6)))
    delivery = net.deliver()
    net.refuse()
    net.accept().say(b"554 5.3.2 no service\r\n")
    net.accept().greet().say(b"452 4.3.1 disk full\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n")
    net.accept().greet().hang_up()
    assert not delivery.is_over
    net.accept().greet().accept_all()
    assert delivery.outcomes[ANN].hop == "[192.0.2.5]:25"
    assert delivery.outcomes[ANN].is_delivered
    assert [host for host, _ in net.calls()] == [f"192.0.2.{i}" for i in range(1, 6)]


def test_when_no_host_serves_the_word_of_the_last_one_that_was_reached_stands() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25", "192.0.2.3:25"))
    delivery = net.deliver()
    net.refuse()
    net.accept().say(b"421 4.3.2 busy\r\n")
    net.refuse()
    outcome = delivery.outcomes[ANN]
    assert (outcome.permanence, outcome.scope) == (Permanence.TEMPORARY, Scope.HOST)
    assert (str(outcome.reply), outcome.hop) == ("421 4.3.2 busy", "[192.0.2.2]:25")
    assert not outcome.is_ours


def test_a_host_that_hung_up_is_no_dead_one_because_another_is() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver()
    net.accept().greet().hang_up()
    net.refuse()
    assert delivery.outcomes[ANN].scope is Scope.SESSION


def test_where_nobody_is_reached_that_is_said() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver()
    net.refuse()
    net.refuse()
    outcome = delivery.outcomes[ANN]
    assert (outcome.permanence, outcome.scope) == (Permanence.TEMPORARY, Scope.HOST)
    assert str(outcome.reply) == "451 4.4.1 Cannot connect: Connection refused"
    assert outcome.hop == "[192.0.2.1]:25"
    assert outcome.is_ours


def test_a_permanent_refusal_of_one_recipient_survives_the_next_host() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(recipients=[ANN, BOB])
    net.accept().greet().say(b"250 ok\r\n550 5.1.1 no\r\n421 4.3.2 bye\r\n")
    second = net.accept().greet()
    assert b"ann" not in second.heard()
    second.accept_all()
    assert delivery.texts == {"ann": "permanent 550 5.1.1 no", "bob": "delivered 250 2.0.0 queued"}


def test_lost_after_the_dot_asks_no_other_host() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver()
    peer = net.accept().greet().say(b"250 ok\r\n250 ok\r\n354 go\r\n")
    peer.hang_up(ConnectionLost())
    assert delivery.texts == {
        "ann": "temporary 451 4.4.2 The connection was lost while waiting for the answer to the content"
    }
    assert len(net.calls()) == 1


def test_an_odd_reason_is_said() -> None:
    net = Net()
    delivery = net.deliver()
    net.accept().greet().hang_up(OSError("a cable"))
    assert delivery.texts == {
        "ann": "temporary 451 4.4.2 The connection broke while waiting for the answer to MAIL: a cable"
    }


def test_who_does_not_answer_is_told_so() -> None:
    net = Net()
    delivery = net.deliver()
    net.refuse(why=ConnectTimeout())
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: No answer"}


@each(
    ("said", "seconds", "what"),
    [
        (b"", 301, "the greeting"),
        (b"220 hi\r\n", 302, "the answer to EHLO"),
        (b"220 hi\r\n" + EHLO, 303, "the answer to MAIL"),
        (b"220 hi\r\n" + EHLO + b"250 ok\r\n", 304, "the answer to RCPT"),
        (b"220 hi\r\n" + EHLO + b"250 ok\r\n250 ok\r\n", 120, "the answer to DATA"),
        (b"220 hi\r\n" + EHLO + b"250 ok\r\n250 ok\r\n354 go\r\n", 600, "the answer to the content"),
    ],
)
def test_silence_ends_at_each_stage(said: bytes, seconds: float, what: str) -> None:
    net = Net()
    delivery = net.deliver()
    peer = net.accept()
    for line in said.splitlines(keepends=True):
        peer.say(line)
    net.reactor.advance(seconds - 1)
    assert not delivery.is_over
    net.reactor.advance(1.1)
    assert delivery.texts == {"ann": f"temporary 451 4.4.2 Timed out while waiting for {what}"}
    assert peer.wire.aborted
    peer.hang_up()
    assert not net.reactor.getDelayedCalls()


def test_a_trickle_of_replies_keeps_a_session_alive() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB])
    peer = net.accept().greet()
    for line in (b"250 ok\r\n", b"250 ok\r\n", b"250 ok\r\n"):
        net.reactor.advance(119)
        peer.say(line)
    net.reactor.advance(119)
    assert not delivery.is_over
    net.reactor.advance(2)
    assert delivery.is_over


GIVEN_UP = {"ann": "temporary 451 4.4.7 The delivery took too long"}


def test_a_connection_that_is_not_made() -> None:
    net = Net()
    delivery = net.deliver()
    assert net.reactor.tcpClients[0][3] == 30.0
    delivery.deferred.cancel()
    assert delivery.texts == GIVEN_UP


@each("said", [b"", b"220 hi\r\n" + EHLO])
def test_a_delivery_that_is_given_up_drops_its_connection(said: bytes) -> None:
    net = Net()
    delivery = net.deliver()
    peer = net.accept()
    if said:
        peer.say(said)
    delivery.deferred.cancel()
    assert delivery.texts == GIVEN_UP
    assert peer.wire.aborted
    peer.hang_up()
    assert net.idle() == 0
    assert not net.reactor.getDelayedCalls()


def test_a_delivery_that_is_given_up_remembers_whom_it_served() -> None:
    net = Net()
    delivery = net.deliver(recipients=[ANN, BOB, CY])
    peer = net.accept().greet()
    peer.say(b"250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n452 4.5.3 too many\r\n354 go\r\n").say(b"250 ok\r\n")
    peer.say(b"250 ok\r\n550 5.1.1 no\r\n")  # the next transaction has begun
    delivery.deferred.cancel()
    assert delivery.texts == {
        "ann": "delivered 250 2.0.0 ok",
        "bob": "permanent 550 5.1.1 no",
        "cy": "temporary 451 4.4.7 The delivery took too long",
    }
    assert delivery.outcomes[CY].scope is Scope.MESSAGE
    assert peer.wire.aborted
    assert net.idle() == 0


def test_lmtp_that_is_given_up_remembers_the_answers_that_came() -> None:
    net = Net(hosts=("unix:/run/lmtp",), lmtp=True)
    delivery = net.deliver(recipients=[ANN, BOB, CY])
    peer = net.accept_unix()
    peer.say(b"220 hi\r\n").say(EHLO)
    peer.accept_all(3, b"250 2.1.5 yes\r\n550 5.2.2 full\r\n")
    delivery.deferred.cancel()
    assert delivery.texts == {
        "ann": "delivered 250 2.1.5 yes",
        "bob": "permanent 550 5.2.2 full",
        "cy": "temporary 451 4.4.7 The delivery took too long",
    }


def test_a_delivery_that_is_given_up_asks_no_other_host_and_keeps_the_first_ones_word() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(recipients=[ANN, BOB])
    net.accept().greet().say(b"250 ok\r\n550 5.1.1 no\r\n421 4.3.2 bye\r\n")
    assert len(net.calls()) == 2
    delivery.deferred.cancel()
    assert delivery.texts == {"ann": "permanent 550 5.1.1 no", "bob": "temporary 421 4.3.2 bye"}
    assert net.calls() == []


def test_a_bug_does_not_forget_who_was_served(logged_failures: LoggedFailures) -> None:
    bug = RuntimeError("bug")

    class BrokenResolver(FakeResolver):
        async def addresses(self, host: str) -> Records[str]:
            if host == "second.example":
                raise bug
            return Records((host,), True, False, host)

    net = Net(BrokenResolver(), hosts=("192.0.2.1:25", "second.example:25"))
    delivery = net.deliver(recipients=[ANN, BOB])
    peer = net.accept().greet()
    peer.say(b"250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n354 go\r\n").say(b"250 ok\r\n")
    peer.hang_up()
    assert delivery.texts == {
        "ann": "delivered 250 2.0.0 ok",
        "bob": "temporary 451 4.4.2 The connection was lost while waiting for the answer to MAIL",
    }
    assert logged_failures.take() == [bug]


def test_an_address_that_cannot_be_written_is_our_bug() -> None:
    net = Net()
    delivery = net.deliver(recipients=[Mailbox("a\r\nDATA", "example.org")])
    peer = net.accept().greet()
    with pytest.raises(LocalProtocolError):
        _ = delivery.outcomes
    assert peer.heard() == b""
    assert peer.wire.aborted


# --- large content ----------------------------------------------------------------------------------------------

def paused(net: Net) -> Peer:
    """A peer that takes no more than the first chunk."""
    peer = net.accept().greet()
    peer.heard()
    peer.wire.slow = True
    return peer.say(b"250 ok\r\n250 ok\r\n354 go\r\n")


def test_large_content_waits_for_the_transport() -> None:
    net = Net()
    delivery = net.deliver(large(b"a\r\n", b".b\r\n", b"c"))
    peer = paused(net)
    assert peer.heard() == b"a\r\n"
    net.reactor.advance(179)
    peer.wire.drain()
    assert peer.heard() == b"..b\r\nc\r\n.\r\n"
    net.reactor.advance(599)
    peer.say(b"250 ok\r\n")
    assert delivery.outcomes[ANN].is_delivered
    assert net.idle() == 1


def test_a_peer_that_stops_reading_times_out() -> None:
    net = Net()
    delivery = net.deliver(large(b"a\r\n", b"b\r\n"))
    peer = paused(net)
    net.reactor.advance(181)
    assert delivery.texts == {"ann": "temporary 451 4.4.2 Timed out while waiting for the content to be taken"}
    assert peer.wire.aborted
    assert peer.heard() == b"a\r\n"


def test_a_peer_that_hangs_up_in_the_content() -> None:
    net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
    delivery = net.deliver(large(b"a\r\n", b"b\r\n"))
    paused(net).hang_up()
    net.accept().greet().accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_a_peer_that_refuses_in_the_content() -> None:
    net = Net()
    delivery = net.deliver(large(b"a\r\n", b"b\r\n"))
    peer = paused(net)
    peer.say(b"552 5.3.4 enough\r\n")
    assert delivery.texts == {"ann": "permanent 552 5.3.4 enough"}
    assert peer.wire.aborted
    assert net.idle() == 0


def test_content_that_cannot_be_read_never_gets_its_dot(logged_failures: LoggedFailures) -> None:
    for fault, why in (
        (TemporaryFault("the disk is sick"), "the disk is sick"),
        (ValueError(), "The content cannot be read"),
    ):
        net = Net(hosts=("192.0.2.1:25", "192.0.2.2:25"))
        delivery = net.deliver(large(b"a\r\n", fault))
        peer = net.accept().greet()
        peer.heard()
        peer.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        assert peer.heard() == b"a\r\n"
        assert delivery.texts == {"ann": f"temporary 451 4.3.0 {why}"}
        assert peer.wire.aborted
        assert len(net.calls()) == 1
    assert [type(one) for one in logged_failures.take()] == [ValueError]


def test_a_large_delivery_that_is_given_up() -> None:
    net = Net()
    delivery = net.deliver(large(b"a\r\n", b"b\r\n"))
    peer = paused(net)
    delivery.deferred.cancel()
    assert delivery.texts == GIVEN_UP
    assert peer.wire.aborted
    assert peer.heard() == b"a\r\n"


# --- what it is told --------------------------------------------------------------------------------------------

def test_a_secret_does_not_show() -> None:
    assert "sesame" not in repr(settings(username="us", password=Secret("sesame")))


def test_a_login_over_the_loopback() -> None:
    net = Net(hosts=("127.0.0.1:25",), username="us", password=Secret("sesame"))
    delivery = net.deliver()
    peer = net.accept().greet(b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert peer.heard() == b"AUTH PLAIN AHVzAHNlc2FtZQ==\r\n"
    peer.say(b"535 5.7.8 wrong\r\n")
    assert delivery.texts == {"ann": "temporary 535 5.7.8 wrong"}


def test_no_login_in_clear_elsewhere() -> None:
    net = Net(username="us", password=Secret("sesame"))
    delivery = net.deliver()
    peer = net.accept().greet(b"250-mx\r\n250 AUTH PLAIN\r\n")
    assert peer.heard() == b"QUIT\r\n"
    assert delivery.outcomes[ANN].reply.status == "4.7.11"


def test_tls_that_fails_falls_back_only_where_it_was_opportunistic() -> None:
    for mode, status in ((TlsMode.OPPORTUNISTIC, "2.0.0"), (TlsMode.ENCRYPT, "4.7.5")):
        net = Net(tls=mode)
        delivery = net.deliver()
        peer = net.accept().greet(b"250-mx\r\n250 STARTTLS\r\n")
        peer.heard()
        peer.say(b"220 go\r\n")
        assert peer.wire.tls is not None
        peer.hang_up(ConnectionLost())
        if mode is TlsMode.OPPORTUNISTIC:
            clear = net.accept().greet(b"250-mx\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
            clear.accept_all()
        assert delivery.outcomes[ANN].reply.status == status
        assert len(net.calls()) == (2 if mode is TlsMode.OPPORTUNISTIC else 1)


def test_a_login_never_falls_back_to_clear() -> None:
    net = Net(tls=TlsMode.OPPORTUNISTIC, username="us", password=Secret("sesame"))
    delivery = net.deliver()
    peer = net.accept().greet(b"250-mx\r\n250 STARTTLS\r\n")
    peer.say(b"220 go\r\n").hang_up()
    assert delivery.outcomes[ANN].reply.status == "4.7.5"
    assert len(net.calls()) == 1


def test_a_handshake_has_a_time_limit_too() -> None:
    net = Net(tls=TlsMode.IMPLICIT)
    delivery = net.deliver()
    peer = net.accept()
    assert peer.wire.tls is not None
    net.reactor.advance(302)
    assert delivery.outcomes[ANN].reply.status == "4.4.2"
    assert peer.wire.aborted


def test_where_a_handshake_hangs_mail_that_may_goes_in_clear() -> None:
    for mode, calls in ((TlsMode.OPPORTUNISTIC, 2), (TlsMode.ENCRYPT, 1)):
        net = Net(tls=mode)
        delivery = net.deliver()
        peer = net.accept().greet(b"250-mx.example.org\r\n250 STARTTLS\r\n").say(b"220 go\r\n")
        net.reactor.advance(302)
        assert peer.wire.aborted
        peer.hang_up()
        assert len(net.calls()) == calls
        assert delivery.is_over is (calls == 1)


async def test_nobody_is_refused_at_rcpt() -> None:
    assert await Net().backend.refusal(ANN) is None
