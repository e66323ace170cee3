"""Turns of those questions that strangers make us ask: bounds, and networks after one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.names import dns

from mailgw.mail.errors import TemporaryFault
from mailgw.net import dns_turns
from mailgw.net.dns_turns import Turns
from tests.net.dns_net import ONE, Asked, DnsNet, mx, resolver


class Line:
    """Who asked for a turn, by name, and who has one."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.has: list[str] = []
        self.waits: dict[str, Deferred[None]] = {}

    def ask(self, network: str, name: str) -> None:
        if self.turns.take(network):
            self.has.append(name)
            return
        self.waits[name] = waiting = Deferred.fromCoroutine(self.turns.wait(network))
        waiting.addCallbacks(lambda _: self.has.append(name), lambda why: why.trap(CancelledError))  # type: ignore[unused-awaitable] # it is in ``waits``


def test_so_many_have_turns_at_once() -> None:
    for most, most_of_one, asked, has in ((2, 9, 2, 2), (2, 9, 3, 2), (9, 2, 2, 2), (9, 2, 3, 2)):
        line = Line(Turns(most, most_of_one))
        for number in range(asked):
            line.ask("n", f"{number}")
        assert len(line.has) == has
        line.ask("other", "other")
        assert ("other" in line.has) is (most > has)


def test_so_many_wait() -> None:
    for waiting, of_one in ((2, 9), (9, 2)):
        line = Line(Turns(1, 1, waiting, of_one))
        for number in range(3):
            line.ask("n", f"{number}")
        refused = Deferred.fromCoroutine(line.turns.wait("n"))
        failures: list[object] = []
        refused.addErrback(failures.append)  # type: ignore[unused-awaitable] # it has fired
        assert len(failures) == 1
        line.waits["2"].cancel()
        line.ask("n", "again")
        line.turns.give_back("n")
        line.turns.give_back("n")
        assert line.has == ["0", "1", "again"]


def test_networks_take_turns() -> None:
    line = Line(Turns(2, 2))
    for name in ("a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1"):
        line.ask(name[0], name)
    assert line.has == ["a1", "a2"]
    line.turns.give_back("a")
    assert line.has[2:] == ["b1"]
    line.turns.give_back("a")
    assert line.has[3:] == ["c1"]
    line.turns.give_back("b")
    line.turns.give_back("c")
    assert sorted(line.has[4:]) == ["a3", "b2"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ask", "end", "leave"])), max_size=60))
def test_bounds_hold_and_no_turn_is_lost(steps: list[tuple[str, str]]) -> None:
    line = Line(Turns(4, 2, 100, 100))
    ended: list[str] = []
    left: list[str] = []
    for number, (network, step) in enumerate(steps):
        running = [name for name in line.has if name[0] == network and name not in ended]
        waiting = [name for name in line.waits if name[0] == network and name not in line.has and name not in left]
        if step == "ask":
            line.ask(network, f"{network}{number}")
        elif step == "end" and running:
            ended.append(running[0])
            line.turns.give_back(network)
        elif step == "leave" and waiting:
            left.append(waiting[0])
            line.waits[waiting[0]].cancel()
        has = [name for name in line.has if name not in ended]
        waits = {name[0] for name in line.waits if name not in line.has and name not in left}
        assert len(has) == len(set(has)) <= 4
        for one in "abc":
            count = sum(name[0] == one for name in has)
            assert count <= 2
            assert one not in waits or count == 2 or len(has) == 4


# --- the resolver's -----------------------------------------------------------------------------------

@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> DnsNet:
    assert (dns_turns.STRANGERS_AT_ONCE, dns_turns.NETWORK_AT_ONCE) == (128, 32)
    return DnsNet()


def test_a_network_has_its_bound_and_ours_are_not_in_it(net: DnsNet) -> None:
    it = resolver(net, ONE)
    line, other = it.line("n"), it.line("m")
    asked = [Asked(line.mx(f"{n}.example")) for n in range(32)]
    asked.append(Asked(line.mx("late.example")))
    assert not line.was_crowded_out
    assert len(net.waiting) == 32
    theirs, ours = Asked(other.mx("other.example")), Asked(it.mx("ours.example"))
    assert [name for _, name, _ in net.asked[32:]] == ["other.example", "ours.example"]
    for _ in range(35):
        net.answer(code=dns.ENAME)
    assert not any(one.result.exists for one in (*asked, theirs, ours))
    assert not net.getDelayedCalls()


def test_who_has_no_answer_for_want_of_a_turn_was_crowded_out(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for n in range(32):
        Asked(it.line("n").mx(f"{n}.example"))
    patient, impatient = it.line("n"), it.line("n")
    Deferred.fromCoroutine(impatient.mx("late.example")).addErrback(lambda why: why.trap(CancelledError)).cancel()
    waits = Asked(patient.mx("later.example"))
    for _ in range(33):
        net.answer(code=dns.ENAME)
    assert not waits.result.exists
    assert (patient.was_crowded_out, impatient.was_crowded_out) == (False, True)


def test_a_crowd_that_is_answered_at_once_loses_no_turn(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for n in range(32):
        Asked(it.line("n").mx(f"{n}.example"))
    same = [Asked(it.line("n").mx("same.example")) for _ in range(900)]
    for _ in range(32):
        net.answer(code=dns.ENAME)
    net.answer(mx("same.example", 1, "mx.example"))
    assert all(one.items for one in same)
    assert (it._strangers._taken, it._strangers._total, it._strangers._waiting) == ({}, 0, 0)


def test_strangers_have_a_bound_together_and_ours_are_not_in_it(net: DnsNet) -> None:
    it = resolver(net, ONE)
    for n in range(129):
        Asked(it.line(f"n{n % 8}").mx(f"{n}.example"))
    assert len(net.waiting) == 128
    ours = Asked(it.mx("ours.example"))
    net.waiting.insert(0, net.waiting.pop())
    net.answer(code=dns.ENAME)
    assert not ours.result.exists
    net.answer(code=dns.ENAME)
    assert len(net.asked) == 130
    net.advance(100)


def test_what_is_known_or_under_way_takes_no_turn(net: DnsNet) -> None:
    it = resolver(net, ONE)
    known = Asked(it.mx("known.example"))
    net.answer(mx("known.example", 1, "mx.example"))
    assert known.items
    ours = Asked(it.mx("ours.example"))
    line = it.line("n")
    asked = [Asked(line.mx(f"{n}.example")) for n in range(32)]
    assert Asked(line.mx("known.example")).items
    same = Asked(line.mx("ours.example"))
    again = Asked(it.line("n").mx("3.example"))
    late = Asked(line.mx("late.example"))
    meanwhile = Asked(it.mx("late.example"))  # asked for by ourselves before its turn comes
    for _ in range(34):
        net.answer(code=dns.ENAME)
    assert not any(one.result.exists for one in (*asked, ours, same, again, late, meanwhile))
    assert len(net.asked) == 35


def test_a_turn_lasts_as_long_as_the_question(net: DnsNet) -> None:
    line = resolver(net, ONE).line("n")
    asked = [Asked(line.mx(f"{n}.example")) for n in range(32)]
    for one in asked:
        one.deferred.cancel()
        with pytest.raises(CancelledError):
            _ = one.result
    late = [Asked(line.mx(f"{n}.late.example")) for n in range(2)]
    late[0].deferred.cancel()
    with pytest.raises(CancelledError):
        _ = late[0].result
    assert len(net.asked) == 32
    net.answer(code=dns.ENAME)
    assert [name for _, name, _ in net.asked[32:]] == ["1.late.example"]
    net.waiting.insert(0, net.waiting.pop())
    net.answer(code=dns.ENAME)
    assert not late[1].result.exists
    net.advance(100)


def test_a_name_that_waits_for_its_turn_keeps_nobody_else_waiting(net: DnsNet) -> None:
    it = resolver(net, ONE)
    line = it.line("n")
    for n in range(32):
        Asked(line.mx(f"{n}.example"))
    theirs = Asked(line.mx("bank.example"))
    others = Asked(it.line("m").mx("bank.example"))
    net.waiting.insert(0, net.waiting.pop())
    net.answer(mx("bank.example", 1, "mx.example"))
    assert others.items
    net.answer(code=dns.ENAME)
    assert theirs.items == others.items
    net.advance(100)


def test_what_is_remembered(net: DnsNet) -> None:
    it = resolver(net, ONE)
    with pytest.raises(TemporaryFault, match="the time is over"):
        _ = Asked(it.memory.mx("example.org")).result
    asked = Asked(it.mx("example.org"))
    net.answer(mx("example.org", 1, "mx.example"))
    assert Asked(it.memory.mx("example.org")).items == asked.items
    assert Asked(it.memory.addresses("192.0.2.1")).items == ["192.0.2.1"]
    assert len(net.asked) == 1
