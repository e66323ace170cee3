"""Which of a host's addresses serves, and what is remembered of those that did not."""

from twisted.internet.error import ConnectBindError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock

from mailgw.deliver.smtp_connect import REMEMBERED_SECONDS, Silent
from mailgw.deliver.smtp_hops import Hop
from mailgw.deliver.smtp_settings import SourceSettings
from mailgw.testing.names import FakeResolver
from tests.deliver.smtp_net import ANN, EHLO, Net, shaping

SIX, FOUR, OTHER = "2001:db8::1", "192.0.2.1", "192.0.2.2"


def net(addresses: list[str], **changes: object) -> Net:
    dns = FakeResolver({"example.org": [(10, "mx.example")]}, {"mx.example": addresses})
    return Net(dns, hosts=(), **changes)  # type: ignore[arg-type] # a table of a test


def two_hosts() -> Net:
    dns = FakeResolver(
        {"example.org": [(10, "a.example"), (20, "b.example")]}, {"a.example": [FOUR], "b.example": [OTHER]}
    )
    return Net(dns, hosts=())


# --- the race --------------------------------------------------------------------------------------------------

def test_an_address_that_does_not_answer_at_once_is_overtaken() -> None:
    here = net([SIX, FOUR])
    delivery = here.deliver()
    here.reactor.advance(0.249)
    assert here.calls() == [(SIX, 25)]
    here.reactor.advance(0.002)
    assert here.calls() == [(FOUR, 25)]
    peer = here.accept()
    assert here.given_up() == [0]
    peer.greet().accept_all()
    assert delivery.outcomes[ANN].hop == f"mx.example [{FOUR}]:25"
    # For some minutes it comes last, and then it is asked first again.
    here.reactor.advance(10)
    here.deliver()
    assert here.calls() == [(FOUR, 25)]
    here.accept().greet().accept_all()
    here.reactor.advance(REMEMBERED_SECONDS)
    here.deliver()
    assert here.calls() == [(SIX, 25)]


def test_the_slow_one_may_still_be_the_first_and_the_other_was_nobodys_fault() -> None:
    here = net([SIX, FOUR])
    here.deliver()
    here.reactor.advance(0.3)
    peer = here.accept(0)
    assert here.given_up() == [1]
    peer.greet().accept_all()
    here.reactor.advance(10)
    here.deliver()
    assert here.calls()[-1] == (SIX, 25)
    assert not len(here.backend._opening.silent)


def test_one_that_was_given_up_is_tried_when_the_first_to_answer_is_of_no_use() -> None:
    here = net([SIX, FOUR])
    delivery = here.deliver()
    here.reactor.advance(0.3)
    here.accept(0).say(b"421 4.3.2 too many\r\n")
    assert here.calls() == [(SIX, 25), (FOUR, 25), (FOUR, 25)]
    here.accept().greet().accept_all()
    assert delivery.outcomes[ANN].is_delivered


def test_a_refusal_brings_the_next_at_once() -> None:
    here = net([SIX, FOUR, OTHER])
    delivery = here.deliver()
    here.refuse()
    here.refuse()
    assert here.calls() == [(SIX, 25), (FOUR, 25), (OTHER, 25)]
    here.refuse()
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: Connection refused"}
    assert not here.reactor.getDelayedCalls()
    # Nobody was silent: the order stays.
    here.deliver()
    assert here.calls() == [(SIX, 25)]


def test_the_last_fault_waits_for_who_has_not_answered() -> None:
    here = net([SIX, FOUR])
    delivery = here.deliver()
    here.reactor.advance(0.3)
    here.refuse(1)
    assert not delivery.is_over
    here.refuse(0, ConnectTimeout())
    assert delivery.texts["ann"].startswith("temporary 451 4.4.1 Cannot connect: ")
    here.deliver()
    assert here.calls()[-1] == (FOUR, 25)


def test_a_cancelled_attempt_gives_all_of_them_up() -> None:
    here = net([SIX, FOUR])
    delivery = here.deliver()
    here.reactor.advance(0.3)
    delivery.deferred.cancel()
    assert here.given_up() == [0, 1]
    assert delivery.texts == {"ann": "temporary 451 4.4.7 The delivery took too long"}
    assert not here.reactor.getDelayedCalls()


# --- hosts that are silent ----------------------------------------------------------------------------------------

def test_a_silent_host_comes_behind_one_that_is_worse() -> None:
    here = two_hosts()
    here.deliver()
    here.refuse(why=ConnectTimeout())
    here.accept().greet().accept_all()
    assert here.calls() == [(FOUR, 25), (OTHER, 25)]
    here.reactor.advance(70)  # nothing is kept any more, and the lane's way is looked up again
    delivery = here.deliver()
    here.refuse()
    here.accept().greet().accept_all()
    assert here.calls() == [(OTHER, 25), (FOUR, 25)]
    assert delivery.outcomes[ANN].is_delivered


def test_one_that_never_greets_is_silent_too() -> None:
    here = two_hosts()
    here.deliver()
    here.accept()
    here.reactor.advance(302)
    assert here.calls() == [(FOUR, 25), (OTHER, 25)]
    here.accept().greet().accept_all()
    here.reactor.advance(70)
    here.deliver()
    assert here.calls() == [(OTHER, 25)]


def test_what_is_remembered_is_bounded_and_ends() -> None:
    clock = Clock()
    silent = Silent(clock, 2)
    one, two, three = (Hop("mx.example", f"192.0.2.{i}", 25) for i in range(3))
    silent.note(one)
    silent.note(two)
    silent.note(one)  # again: now the second is the oldest
    assert len(silent) == 2
    silent.note(three)
    assert [silent.has(hop) for hop in (one, two, three)] == [True, False, True]
    assert silent.last([one, two, three]) == [two, one, three]
    silent.forget(three)
    assert not silent.has(three)
    clock.advance(REMEMBERED_SECONDS - 0.1)
    assert silent.has(one)
    clock.advance(0.2)
    assert not silent.has(one)
    assert len(silent) == 0


# --- where from ---------------------------------------------------------------------------------------------------

def source(address: str, name: str = "out.example.net") -> SourceSettings:
    return SourceSettings(address, name, 5, None)


def bound(here: Net) -> list[object]:
    return [one[4] for one in here.reactor.tcpClients]


def test_a_source_address_is_bound_with_its_name() -> None:
    here = net([SIX, FOUR], shaping=shaping(sources=(source("192.0.2.9"), source("2001:db8::9", "out6.example.net"))))
    delivery = here.deliver()
    here.reactor.advance(0.3)
    assert bound(here) == [("2001:db8::9", 0), ("192.0.2.9", 0)]
    here.accept(0).say(b"220 mx\r\n").hang_up()
    peer = here.accept()
    peer.say(b"220 mx\r\n")
    assert peer.heard() == b"EHLO out.example.net\r\n"
    assert bound(here)[2:] == [("192.0.2.9", 0)]
    peer.say(EHLO).say(b"250 ok\r\n452 4.2.2 full\r\n")
    peer.say(b"503 nobody\r\n")
    assert (delivery.outcomes[ANN].source, delivery.outcomes[ANN].reply.text) == ("192.0.2.9", "full")


def test_only_families_with_a_source_address_are_connected_to() -> None:
    here = net([SIX, FOUR], shaping=shaping(sources=(source("192.0.2.9"),)))
    here.deliver()
    here.reactor.advance(0.3)
    assert here.calls() == [(FOUR, 25)]
    delivery = net([SIX], shaping=shaping(sources=(source("192.0.2.9"),))).deliver()
    assert delivery.texts == {
        "ann": "temporary 451 4.4.4 The host mx.example has no address of a kind that there is a source address for"
    }


def test_a_source_address_that_is_not_this_machine_s_is_trouble_for_now() -> None:
    here = net([FOUR], shaping=shaping(sources=(source("192.0.2.9"),)))
    delivery = here.deliver()
    here.refuse(why=ConnectBindError(osError=99))
    assert delivery.texts == {"ann": "temporary 451 4.4.1 Cannot connect: Cannot assign requested address"}
    assert delivery.outcomes[ANN].source == "192.0.2.9"
