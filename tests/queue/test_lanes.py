"""A lane: what waits, and what it has to pass."""

import math

from mailgw.mail.outcome import Scope, delivered, temporary
from mailgw.mail.rate import Rate
from mailgw.mail.reply import Reply
from mailgw.mail.shape import Bounds
from mailgw.queue.gates import DEAD_AFTER, Gate, Pauses
from mailgw.queue.lanes import MAX_WAITING, Lane

OK = delivered(Reply(250, "2.0.0", ("taken",)), "mx")
DEAD = temporary("4.4.1", "no answer", Scope.HOST, "mx")
PAUSES = Pauses(10.0, 100.0)


def lane(*shared: Gate) -> "Lane[str]":
    some: Lane[str] = Lane("out/example.org", Gate("out/example.org", Bounds(8, None), PAUSES))
    some.shared = shared
    return some


def test_room_is_for_many_senders() -> None:
    some = lane()
    assert some.is_idle
    half = MAX_WAITING // 2
    for number in range(half):
        assert some.has_room_for("many")
        some.waiting.add(str(number), sender="many")
    assert not some.has_room_for("many")
    for number in range(half):
        assert some.has_room_for("another")
        some.waiting.add(str(number), sender="another")
    assert not some.has_room
    assert not some.has_room_for("third")
    some.waiting.take_all()
    some.has_more = True
    assert not some.is_idle


def test_it_is_slow_with_nothing_fresh_or_where_somebody_is_unwell() -> None:
    some = lane()
    some.waiting.add("tried before", is_fresh=False)
    assert some.is_slow
    some.waiting.add("fresh")
    assert not some.is_slow
    some.gate.passed(0.0)
    some.gate.ended(DEAD, 0.0)
    assert some.is_slow
    some.gate.passed(some.gate.open_at)
    some.gate.ended(OK, some.gate.open_at)
    assert not some.is_slow


def test_every_gate_has_to_be_open() -> None:
    slow, full = Gate("rate", Bounds(9, Rate(1, 60.0)), None), Gate("host", Bounds(1, None), None)
    some = lane(slow, full)
    assert some.closed_gate(0.0) is None
    assert some.passes(0.0) == (some.gate, slow, full)
    assert some.closed_gate(0.0) is full, "that has no time at which it opens"
    full.ended(None, 0.0)
    assert some.closed_gate(0.0) is slow
    assert slow.opens_at(0.0) == 60.0
    assert some.closed_gate(60.0) is None


def test_the_last_word_is_that_of_a_gate_where_nobody_is_reached() -> None:
    host = Gate("host", Bounds(9, None), PAUSES)
    some = lane(host)
    now = 0.0
    for number in range(DEAD_AFTER):
        assert some.dead_gate() is None
        assert some.last_word() is None
        now = host.open_at
        host.passed(now)
        host.ended(DEAD, now, 1000.0 + number)
    assert some.dead_gate() is host
    assert some.last_word() == (DEAD, 1000.0 + DEAD_AFTER - 1)
    assert host.opens_at(now) < math.inf


def test_it_is_asleep_while_its_own_gate_is_closed_and_it_is_woken_when_that_opens() -> None:
    some = lane()
    some.wakes_at = 0.0
    assert not some.is_asleep(0.0), "the gate is open"
    some.passes(0.0)
    some.gate.ended(DEAD, 0.0)
    assert some.gate.open_at == 1.0
    for wakes_at, is_asleep in ((1.0, True), (0.5, True), (1.0 + 1e-9, True), (1.1, False), (math.inf, False)):
        some.wakes_at = wakes_at
        assert some.is_asleep(0.9) == is_asleep, wakes_at
    some.wakes_at = 1.0
    assert not some.is_asleep(1.0)
    some.gate.hasten(0.5)
    assert not some.is_asleep(0.6), "somebody wants it tried now"
