"""Servers that say more or other things than they were asked, and deliveries that end at an odd moment."""

from collections.abc import AsyncIterator

import attrs
from twisted.internet.defer import Deferred

from mailgw.deliver.smtp import TlsMode
from mailgw.mail.envelope import BodyType
from mailgw.mail.message import Message
from tests.deliver.smtp_net import ANN, SENDER, Net


def test_who_talks_on_after_our_good_bye_fills_no_memory_and_gets_no_time() -> None:
    net = Net(messages_per_session=1)
    delivery = net.deliver()
    peer = net.accept().greet()
    peer.accept_all()
    assert delivery.outcomes[ANN].is_delivered
    assert peer.is_closed
    dialog = peer.protocol._wrappedProtocol._dialog
    for _ in range(9):
        net.reactor.advance(1)
        peer.say(b"x" * 65536)
    assert len(dialog._reader._buffer) < 1000
    net.reactor.advance(1)
    assert peer.wire.aborted


def test_half_an_answer_now_and_then_keeps_no_idle_session() -> None:
    net = Net()
    net.deliver()
    peer = net.accept().greet()
    peer.accept_all()
    assert net.idle() == 1
    peer.say(b"2")
    net.reactor.advance(3)
    peer.say(b"5")
    net.reactor.advance(2)
    assert net.idle() == 0
    assert peer.is_closed


@attrs.frozen(eq=False)
class SlowContent:
    """Content that is not there before ``ready`` fires."""

    ready: "Deferred[None]"
    octets: None = None
    size_octets: int = 4

    async def chunks(self) -> AsyncIterator[bytes]:
        await self.ready
        yield b"a\r\n\r"


def test_a_delivery_that_is_given_up_while_it_looks_at_the_message_drops_the_session() -> None:
    net = Net(tls=TlsMode.OPPORTUNISTIC)
    delivery = net.deliver(Message("Q", SENDER, BodyType.SEVEN_BIT, 0.0, SlowContent(Deferred())))
    peer = net.accept().greet(b"250-mx.example.org\r\n250 PIPELINING\r\n")  # no STARTTLS, which is worth a report
    delivery.deferred.cancel()
    assert delivery.texts == {"ann": "temporary 451 4.4.7 The delivery took too long"}
    assert peer.wire.aborted


def test_a_kept_session_that_lost_its_thread_returns_no_mail() -> None:
    net = Net()
    net.deliver()
    peer = net.accept().greet()
    peer.accept_all()
    second = net.deliver()
    peer.say(b"503 5.5.1 Sender already specified\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n")
    assert peer.is_closed
    fresh = net.accept().greet()
    fresh.accept_all()
    assert second.outcomes[ANN].is_delivered


def test_a_fresh_session_s_503_is_its_word_on_the_message() -> None:
    net = Net()
    delivery = net.deliver()
    net.accept().greet().say(b"503 5.5.1 log in first\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n")
    assert delivery.texts == {"ann": "permanent 503 5.5.1 log in first"}


def test_lmtp_that_wants_content_for_nobody_is_not_waited_for() -> None:
    net = Net(hosts=("unix:/run/lmtp",), lmtp=True)
    delivery = net.deliver()
    peer = net.accept_unix()
    peer.say(b"220 hi\r\n").say(b"250-mx\r\n250 PIPELINING\r\n")
    peer.say(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
    assert delivery.texts == {"ann": "permanent 550 5.1.1 no"}
    assert peer.is_closed
