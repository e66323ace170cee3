"""Whatever servers do, in whatever order: every recipient has an outcome, and nothing is left over."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeout

from mailgw.mail.address import Mailbox
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import EHLO, Delivery, Net, Peer, message, shaping

MX = {f"d{at}.example": [(10, "mx1.test"), (20, "mx2.test")] for at in range(3)}
ADDRESSES = {"mx1.test": ["2001:db8::1", "192.0.2.1"], "mx2.test": ["192.0.2.2"]}
ANSWERS = [
    b"250 2.0.0 ok\r\n", b"250-more\r\n250 ok\r\n", b"354 go\r\n", b"451 4.3.0 later\r\n", b"452 4.5.3 too many\r\n",
    b"550 5.1.1 nobody\r\n", b"421 4.3.2 bye\r\n", b"what?\r\n", b"25",
]


class Walk:
    """A backend, and servers that do what is drawn."""

    def __init__(self, most: int) -> None:
        changes = {"recipients_per_transaction": 2, "messages_per_session": 3}
        dns = FakeResolver(MX, ADDRESSES)
        self.net = Net(dns, hosts=(), shaping=shaping(total_concurrency=most), **changes)
        self.deliveries: list[tuple[Delivery, list[Mailbox]]] = []
        self.peers: list[Peer] = []
        self._looked_at = 0

    def begin(self, lane: int, count: int) -> None:
        everybody = [Mailbox(f"r{at}", f"d{lane}.example") for at in range(count)]
        self.deliveries.append((self.net.deliver(message(), everybody), everybody))

    def connections(self) -> list[int]:
        """Those that are asked for and have no answer yet."""
        given_up = self.net.given_up()
        return [at for at in range(len(self.net.reactor.tcpClients)) if at not in given_up and at not in self._answered]

    _answered: frozenset[int] = frozenset()

    def connect(self, how: int) -> None:
        waiting = self.connections()
        if not waiting:
            return
        at = waiting[how % len(waiting)]
        self._answered |= {at}
        if how % 4 == 0:
            self.net.refuse(at)
        elif how % 4 == 1:
            self.net.refuse(at, ConnectTimeout())
        else:
            peer = self.net.accept(at)
            self.peers.append(peer)
            if how % 4 == 3:
                peer.say(b"220 mx ESMTP\r\n").say(EHLO)

    def speak(self, who: int, what: int) -> None:
        live = [peer for peer in self.peers if not peer.is_closed]
        if live:
            peer = live[who % len(live)]
            if what >= len(ANSWERS):
                peer.hang_up(ConnectionLost())
                peer.wire.disconnecting = True
            else:
                peer.say(ANSWERS[what])

    def serve(self, who: int) -> None:
        """All is well for one of them: as many answers as can be needed."""
        live = [peer for peer in self.peers if not peer.is_closed]
        if live:
            peer = live[who % len(live)]
            heard = peer.heard()
            answers = b"250 ok\r\n" * (heard.count(b"MAIL FROM") + heard.count(b"RCPT TO") + heard.count(b"RSET"))
            if b"\r\n.\r\n" in heard:
                answers += b"250 2.0.0 queued\r\n"
            elif b"DATA\r\n" in heard:
                answers += b"354 go\r\n"
            if answers:
                peer.say(answers)

    def prosper(self) -> None:
        """All is well for all of them."""
        for _ in self.connections():
            self.connect(3)
        for _ in range(2):
            for who in range(len(self.peers)):
                self.serve(who)


STEP: st.SearchStrategy[Callable[[Walk], None]] = st.one_of(
    st.builds(lambda lane, count: lambda walk: walk.begin(lane, count), st.integers(0, 2), st.integers(1, 3)),
    st.builds(lambda how: lambda walk: walk.connect(how), st.integers(0, 15)),
    st.builds(lambda who, what: lambda walk: walk.speak(who, what), st.integers(0, 5), st.integers(0, len(ANSWERS))),
    st.builds(lambda who: lambda walk: walk.serve(who), st.integers(0, 5)),
    st.just(Walk.prosper),
    st.just(Walk.prosper),
    st.builds(lambda seconds: lambda walk: walk.net.reactor.advance(seconds), st.sampled_from([0.1, 0.3, 4, 70, 400])),
    st.builds(
        lambda at: lambda walk: walk.deliveries[at % len(walk.deliveries)][0].deferred.cancel(), st.integers(0, 9)
    ),
)


@given(st.integers(1, 4), st.lists(STEP, max_size=40))
def test_whatever_happens_everybody_has_an_outcome_and_nothing_is_left(
    most: int, steps: list[Callable[[Walk], None]]
) -> None:
    walk = Walk(most)
    walk.begin(0, 3)
    for step in steps:
        step(walk)
        assert walk.net.idle() <= most
    # Now nobody says anything any more.
    for _ in range(200):
        walk.net.reactor.advance(700)
        for at in walk.connections():
            walk._answered |= {at}
            walk.net.refuse(at, ConnectTimeout())
        if all(delivery.is_over for delivery, _ in walk.deliveries):
            break
    for delivery, everybody in walk.deliveries:
        assert set(delivery.outcomes) == set(everybody)
    walk.net.backend.stopService()
    walk.net.reactor.advance(20)
    assert walk.net.idle() == walk.net.backend._pool.active == 0
    for peer in walk.peers:
        assert peer.is_closed
        if not peer.protocol._wrappedProtocol._lost:
            peer.hang_up()
    assert not walk.net.reactor.getDelayedCalls()
