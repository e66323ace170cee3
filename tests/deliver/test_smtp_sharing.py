"""Which kept session serves whom: the place, the demand on its security and the source address have to be the same."""

from collections.abc import Sequence

from mailgw.deliver.smtp import TlsMode
from mailgw.deliver.smtp_pool import WAY_SECONDS
from mailgw.deliver.smtp_settings import DestinationSettings, SourceSettings
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.parameters import MailParameters, Ret
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, Net, Peer, message, shaping
from tests.deliver.test_smtp_asked import JOSÉ, SUCCESS, asking, ehlo

DEE = Mailbox("dee", "other.example")
SHARED = {"example.org": [(10, "mx.big.test")], "other.example": [(10, "mx.big.test")]}
ADDRESSES = {"mx.big.test": ["192.0.2.1"], "mx2.big.test": ["192.0.2.1"]}
TLS_EHLO = b"250-mx.example.org\r\n250-PIPELINING\r\n250 STARTTLS\r\n"


def by_mx(records: dict[str, list[tuple[int, str]]] | None = None, **changes: object) -> Net:
    return Net(FakeResolver(records or SHARED, ADDRESSES), hosts=(), **changes)  # type: ignore[arg-type]


def served(net: Net, recipient: Mailbox) -> bool:
    """Whether a message to him went over a session that was there; else over a new one, which is served here."""
    before = len(net.calls())
    delivery = net.deliver(None, [recipient])
    assert not before
    new = len(net.calls())
    if new:
        net.accept().greet().accept_all()
        assert delivery.outcomes[recipient].is_delivered
    return not new


def test_domains_of_one_host_share_its_sessions() -> None:
    net = by_mx()
    net.deliver(None, [ANN])
    peer = net.accept().greet()
    peer.accept_all()
    second = net.deliver(None, [DEE])
    assert b"RCPT TO:<dee@other.example>" in peer.accept_all()
    assert second.outcomes[DEE].is_delivered
    assert len(net.calls()) == 1
    assert net.idle() == 1


def test_an_address_under_another_name_is_another_place() -> None:
    net = by_mx({**SHARED, "other.example": [(10, "mx2.big.test")]})
    assert not served(net, ANN)
    assert not served(net, DEE)
    assert net.idle() == 2


def test_what_was_judged_by_less_serves_nobody_who_demands_more() -> None:
    strict = DestinationSettings(("other.example",), TlsMode.ENCRYPT, (), (), None, None)
    net = by_mx(tls=TlsMode.OPPORTUNISTIC, shaping=shaping(destinations=(strict,)))
    assert not served(net, ANN)
    delivery = net.deliver(None, [DEE])
    peer = net.accept().greet(TLS_EHLO)
    assert peer.heard() == b"STARTTLS\r\n"
    assert not delivery.is_over


def test_another_source_address_is_another_session() -> None:
    sources = tuple(SourceSettings(f"192.0.2.{i}", "us.example.net", 5, None) for i in range(50, 60))
    records = {**SHARED, "other.example": [(5, "gone.test"), (10, "mx.big.test")]}  # another site, so another source
    net = by_mx(records, shaping=shaping(sources=sources))
    assert not served(net, ANN)
    assert not served(net, DEE)
    assert net.reactor.tcpClients[0][4] != net.reactor.tcpClients[1][4]


def asked(net: Net) -> Sequence[str]:
    return [question for question in net.resolver.asked if question.startswith("MX")]


def test_a_busy_lane_asks_dns_once_a_minute() -> None:
    net = by_mx(idle_seconds=100.0)
    peers: list[Peer] = []
    for _ in range(5):
        net.deliver()
        if net.calls():
            peers.append(net.accept().greet())
        peers[-1].accept_all()
        net.reactor.advance(WAY_SECONDS / 4 - 0.1)
    assert len(peers) == 1
    assert asked(net) == ["MX example.org"]
    net.deliver()
    peers[0].accept_all()
    assert asked(net) == ["MX example.org"] * 2
    assert not net.calls()


def test_a_lane_leaves_a_session_that_it_is_not_led_to_any_more() -> None:
    net = by_mx(idle_seconds=200.0)
    net.deliver()
    net.accept().greet().accept_all()
    net.resolver.mx_records = {"example.org": [(10, "mx2.big.test")]}
    net.reactor.advance(WAY_SECONDS + 1)
    net.calls()
    net.deliver()
    assert len(net.calls()) == 1


def test_at_most_so_many_are_kept_and_the_one_that_is_idle_for_longest_goes() -> None:
    net = Net(shaping=shaping(total_concurrency=2))
    peers = []
    for _ in range(3):
        net.deliver()
        peers.append(net.accept().greet())
    for peer in peers:
        peer.accept_all()
    assert net.idle() == 2
    assert [peer.is_closed for peer in peers] == [True, False, False]
    assert peers[0].heard().endswith(b"QUIT\r\n")


def test_idle_sessions_give_way_to_a_new_one_elsewhere() -> None:
    records = {f"{name}.example": [(10, f"mx.{name}.test")] for name in "abc"}
    dns = FakeResolver(records, {f"mx.{name}.test": [f"192.0.2.{at}"] for at, name in enumerate("abc")})
    net = Net(dns, hosts=(), shaping=shaping(total_concurrency=2))
    peers = []
    for name in "abc":
        net.deliver(None, [Mailbox("ann", f"{name}.example")])
        assert [peer.is_closed for peer in peers] == {"a": [], "b": [False], "c": [True, False]}[name]
        peers.append(net.accept().greet())
        peers[-1].accept_all()
    assert net.idle() == 2


def test_the_ways_of_lanes_are_bounded() -> None:
    names = [f"d{i}.example" for i in range(5)]
    net = by_mx({name: [(10, "mx.big.test")] for name in names}, shaping=shaping(total_concurrency=1))
    for name in names:
        delivery = net.deliver(message(), [Mailbox("ann", name)])
        if net.calls():
            peer = net.accept().greet()
        peer.accept_all()
        assert delivery.is_over
    pool = net.backend._pool
    assert [pool.way(name, 0.0) is not None for name in names] == [False, False, False, True, True]


def test_what_was_asked_for_is_said_over_a_kept_session_and_with_bdat_as_well() -> None:
    words = MailParameters(Ret.FULL, "x7", smtputf8=True)
    offer = ehlo(b"SIZE", b"8BITMIME", b"DSN", b"SMTPUTF8", b"CHUNKING", b"BINARYMIME")
    said = (b" SMTPUTF8", b" RET=FULL", b" ENVID=x7", b" NOTIFY=SUCCESS", b" ORCPT=utf-8;")
    for body, kind in ((BodyType.BINARY, b"BINARYMIME"), (BodyType.EIGHT_BIT, b"8BITMIME")):
        net = Net()
        letters = [message(b"Subject: x\r\n\r\n\xe9\r\n", one) for one in (body, BodyType.EIGHT_BIT)]
        net.deliver(asking(words, {JOSÉ: SUCCESS}, letters[0]), [JOSÉ])
        peer = net.accept().greet(offer)
        first = peer.heard()
        assert first.startswith(b"MAIL FROM:<sender@example.net> SIZE=17 BODY=" + kind), first
        assert all(word in first for word in said), first
        peer.say(b"250 ok\r\n250 ok\r\n" + (b"" if body is BodyType.BINARY else b"354 go\r\n")).say(b"250 ok\r\n")
        peer.heard()
        again = net.deliver(asking(words, {JOSÉ: SUCCESS}, letters[1]), [JOSÉ])
        assert peer.accept_all().startswith(first.replace(b"BINARYMIME", b"8BITMIME"))
        assert again.outcomes[JOSÉ].dsn
        assert len(net.calls()) == 1
