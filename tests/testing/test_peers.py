"""Servers that a test plays, and the reactor that brings a gateway to them."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock

from mailgw.mail import event as fact
from mailgw.testing import HANGS_UP, SAYS_NOTHING, Gateway, Peer
from mailgw.testing.power import Power
from mailgw.testing.reactor import MemoryReactor
from tests.tables import each

HELLO = b"Subject: hi\n\nhello\n"


CONFIG = """
[[route]]
recipients = ["@example.net"]
backend = "internet"
[backend.internet]
type = "smtp"
"""


def gateway(**replies: object) -> tuple[Gateway, Peer]:
    made = Gateway(CONFIG)
    made.dns.mx("example.net", "mx.example.net")
    return made, made.peer("mx.example.net", replies=replies)  # type: ignore[arg-type]


class Global:
    """The global reactor, as far as others know it."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def callFromThread(self, work: object) -> None:
        self.asked.append(work)


def test_the_global_reactor_is_stood_in_for_while_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = Global()
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", real)
    made, _ = gateway()
    seen: list[object] = []

    def look() -> None:
        real.callLater(5, seen.append, "called")
        real.callFromThread(seen.append, "from here")
        other = threading.Thread(target=real.callFromThread, args=("from there",))
        other.start()
        other.join()
        assert real.getThreadPool() is made.reactor

    made.reactor.callLater(1, look)
    made.advance(10)
    assert seen == ["from here", "called"]
    assert real.asked == ["from there"]
    assert list(vars(real)) == ["asked"]


def silent(peer: Peer) -> None:
    peer.is_silent = True


def down(peer: Peer) -> None:
    peer.is_down = True


@each(
    ("conduct", "said", "seconds"),
    [
        (down, "451 4.4.1 Cannot connect: Connection refused", 0),
        (silent, "451 4.4.1 Cannot connect: No answer", 30),
        ({"CONNECT": "554 5.3.2 no"}, "554 5.3.2 no", 0),
        ({"MAIL": HANGS_UP}, "connection was lost while waiting for the answer to MAIL", 0),
        ({"RCPT": SAYS_NOTHING}, "Timed out while waiting for the answer to RCPT", 301),
        ({"DATA": lambda line: f"451 4.0.0 not {line}"}, "451 4.0.0 not DATA", 0),
        ({"CONTENT": "552 5.3.4 too much\r\n"}, "", 0),
    ],
)
def test_what_a_peer_may_do(conduct: object, said: str, seconds: float) -> None:
    made, peer = gateway(**conduct) if isinstance(conduct, dict) else gateway()
    if not isinstance(conduct, dict):
        conduct(peer)  # type: ignore[operator]
    made.receive(HELLO, sender=None, to=["a@example.net"])
    made.advance(seconds + 1)
    tried = [one for one in made.journal if isinstance(one, fact.Retrying | fact.Undeliverable)]
    assert said in f"{tried[-1].code} {tried[-1].status} {tried[-1].text}"
    assert not peer.messages
    made.close()


@each(("is_signed", "fits", "verified"), [(True, True, "dane"), (False, True, "none"), (True, False, "")])
def test_a_peer_s_certificate_is_held_against_dns(is_signed: bool, fits: bool, verified: str) -> None:
    made, peer = gateway()
    peer.has_tls = True
    made.dns.tlsa("mx.example.net", peer.tlsa if fits else attrs.evolve(peer.tlsa, data=b"0" * 32))
    if is_signed:
        made.dns.sign("example.net")
    made.receive(HELLO, sender=None, to=["a@example.net"])
    assert [one.verified for one in made.journal if isinstance(one, fact.Delivered)] == [verified] * bool(verified)
    assert len(peer.messages) == bool(verified)
    made.close()


def calls(clock: Clock, run: Callable[[float], object]) -> list[tuple[str, float]]:
    """Made, moved and cancelled; who was called, and when."""
    found: list[tuple[str, float]] = []

    def note(name: str) -> None:
        found.append((name, clock.seconds()))

    times = {"a": 5, "b": 1, "c": 4, "d": 4, "e": 3, "f": 9, "g": 2}
    made = {name: clock.callLater(seconds, note, name) for name, seconds in times.items()}
    made["b"].delay(5)  # to 6
    made["c"].reset(4)  # where it is
    made["d"].reset(1)  # before all others
    made["e"].cancel()
    made["f"].delay(-8)  # to 1
    clock.callLater(1.5, lambda: made["g"].reset(3))  # to 4.5, while time passes
    clock.callLater(4.4, lambda: clock.callLater(0, note, "h"))
    run(4.4)
    run(10)
    return found


def test_calls_are_moved_as_on_twisted_s_clock() -> None:
    usual = Clock()

    def step(end: float) -> None:
        """As it has to be asked for each moment by itself."""
        while (times := [call.getTime() for call in usual.getDelayedCalls()]) and min(times) <= end:
            usual.advance(min(times) - usual.seconds())
        usual.advance(end - usual.seconds())

    jumping = MemoryReactor(lambda place: None, Power())
    assert calls(jumping, jumping.run_until) == calls(usual, step)
    assert jumping.seconds() == usual.seconds() == 10


@each("place", ["192.0.2.7:2525", "[2001:db8::7]:2525", "host.example:2525", "host.example"])
def test_where_a_peer_may_stand(place: str) -> None:
    hop = place.replace("host.example:", "192.0.2.8:") if place != "host.example" else "198.51.100.1:25"
    made = Gateway(CONFIG + f'hosts = ["{hop}"]\n')
    if place == "host.example:2525":
        made.dns.address("host.example", "192.0.2.8")
    peer = made.peer(place)
    made.receive(HELLO, sender=None, to=["a@example.net"])
    assert len(peer.messages) == 1
    made.close()
