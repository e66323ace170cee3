"""Reverse names: confirmed or not, in time or not, where they are put, and who waits for them."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw.mail import event as fact
from mailgw.mail.envelope import NO_NAME, UNKNOWN_NAME, Client, ReverseName, Role
from mailgw.mail.ports import Resolver
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict
from mailgw.receive.reverse import LOOK_UPS_AT_ONCE, NETWORK_LOOK_UPS, ReverseNames
from mailgw.testing.driving import result_of
from mailgw.testing.names import FakeResolver
from tests.receive.listening import CLIENT, Listener, Session
from tests.receive.test_session import ENVELOPE
from tests.tables import each

A = "192.0.2.1"
GOOD = FakeResolver(
    name_records={A: ["mail.client.test"], "2001:db8::7": ["six.client.test"]},
    address_records={"mail.client.test": ["2001:db8::1", A], "six.client.test": ["2001:db8:0::7"]},
)


class SlowResolver(FakeResolver):
    """Answers a PTR when it is let."""

    def __init__(self, **records: Any) -> None:
        super().__init__(**records)
        self.gates: list[Deferred[None]] = []

    async def names(self, address: str) -> Any:
        gate: Deferred[None] = Deferred()
        self.gates.append(gate)
        await gate
        return await super().names(address)


def slow() -> SlowResolver:
    return SlowResolver(name_records=GOOD.name_records, address_records=GOOD.address_records)


def looked_up(resolver: Resolver, address: str = A) -> ReverseName:
    return result_of(ReverseNames(resolver, Clock(), 5.0).look_up(address))


@each(("address", "name"), [(A, "mail.client.test"), ("2001:db8::7", "six.client.test")])
def test_a_name_that_leads_back_is_confirmed(address: str, name: str) -> None:
    assert looked_up(GOOD, address) == ReverseName(name, True)


def test_a_name_that_leads_elsewhere_is_not() -> None:
    resolver = FakeResolver(
        name_records={A: ["www.bank.test", "x.test"]}, address_records={"www.bank.test": ["203.0.113.1"]}
    )
    assert looked_up(resolver) == ReverseName("www.bank.test", False)


def test_one_of_the_first_names_is_enough() -> None:
    names = ["down.test", "a.test", "mail.client.test"]
    resolver = FakeResolver(
        name_records={A: names}, address_records=GOOD.address_records, failing=frozenset({"down.test"})
    )
    assert looked_up(resolver) == ReverseName("mail.client.test", True)
    many = FakeResolver(name_records={A: ["a.test"] * 5 + names}, address_records=GOOD.address_records)
    assert looked_up(many) == ReverseName("a.test", False)


@each(["resolver", "name"], [
    (FakeResolver(), NO_NAME),
    (FakeResolver(failing=frozenset({A})), UNKNOWN_NAME),
    (FakeResolver(name_records={A: ["a.test"]}), ReverseName("a.test", False)),
    (FakeResolver(name_records={A: ["a.test"]}, failing=frozenset({"a.test"})), ReverseName("a.test", False, False)),
])
def test_no_name_is_told_from_no_answer(resolver: FakeResolver, name: ReverseName) -> None:
    assert looked_up(resolver) == name


def test_a_look_up_has_a_time_and_few_are_under_way() -> None:
    clock, resolver = Clock(), slow()
    names = ReverseNames(resolver, clock, 5.0)
    asked = [Deferred.fromCoroutine(names.look_up(A)) for _ in range(NETWORK_LOOK_UPS + 1)]
    assert len(resolver.gates) == NETWORK_LOOK_UPS
    assert asked.pop().result == UNKNOWN_NAME
    asked += [
        Deferred.fromCoroutine(names.look_up(f"198.51.{n // 20}.1"))
        for n in range(LOOK_UPS_AT_ONCE - NETWORK_LOOK_UPS + 1)
    ]
    assert len(resolver.gates) == LOOK_UPS_AT_ONCE
    assert asked[-1].result == UNKNOWN_NAME
    clock.advance(4.9)
    assert not asked[0].called
    clock.advance(0.1)
    assert [one.result for one in asked] == [UNKNOWN_NAME] * len(asked)
    again = Deferred.fromCoroutine(names.look_up(A))
    resolver.gates[-1].callback(None)
    assert again.result == ReverseName("mail.client.test", True)


# --- in a session -----------------------------------------------------------------------------------------

def start(resolver: Resolver, **more: Any) -> tuple[Listener, Session]:
    listener = Listener(resolver=resolver, **more)
    session = listener.connect()
    assert session.take().startswith("220"), "the greeting waits for nothing"
    return listener, session


def trace(listener: Listener, session: Session) -> bytes:
    """The first line of the message that the session now sends."""
    assert session.codes(*ENVELOPE, "DATA")[-1] == "354"
    assert session.codes("Subject: x", "", ".") == ["250"]
    return listener.stored()[-1].partition(b"\r\n")[0]


def test_a_confirmed_name_is_in_the_trace_and_in_the_journal() -> None:
    listener, session = start(GOOD)
    assert trace(listener, session) == b"Received: from client.test (mail.client.test [192.0.2.1])"
    assert fact.ReverseNameFound("s1", A, "mail.client.test", True) in listener.journal.events


def test_a_name_that_nobody_confirms_is_in_the_journal_alone() -> None:
    listener, session = start(FakeResolver(name_records={A: ["www.bank.test"]}))
    assert trace(listener, session) == b"Received: from client.test (unknown [192.0.2.1])"
    assert fact.ReverseNameFound("s1", A, "www.bank.test", False) in listener.journal.events


def test_the_content_takes_what_is_known_by_then() -> None:
    resolver = slow()
    listener, session = start(resolver)
    assert trace(listener, session) == b"Received: from client.test (unknown [192.0.2.1])"
    session.say(*ENVELOPE[1:])
    resolver.gates[0].callback(None)
    session.say("DATA")
    session.say("Subject: x", "", ".")
    assert listener.stored()[-1].startswith(b"Received: from client.test (mail.client.test [192.0.2.1])\r\n")


@each(
    ("role", "trusted"), [(Role.MX, ["192.0.2.0/24"]), (Role.LMTP, []), (Role.SUBMISSION, ["192.0.2.1"])]
)
def test_who_is_not_looked_up(role: Role, trusted: list[str]) -> None:
    resolver = slow()
    listener, _ = start(resolver, role=role, trusted_clients=trusted)
    assert resolver.gates == []
    assert "reverse_name" not in listener.journal.names()


def test_a_session_that_goes_takes_its_look_up_along() -> None:
    resolver = slow()
    listener, session = start(resolver)
    session.lose()
    assert listener.clock.getDelayedCalls() == []
    assert len(listener.factory.tasks) == 0
    assert "reverse_name" not in listener.journal.names()


class NameRule:
    """Refuses who has no confirmed name."""

    name = "name"
    stages = frozenset({Stage.RCPT})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        found = await facts.reverse_name()
        return None if found.is_confirmed else Verdict("name", "", Reply(450, "4.7.25", ("No name",)))


def test_a_rule_may_wait_for_the_name() -> None:
    resolver = slow()
    listener, session = start(resolver, rules=[NameRule()])
    assert session.codes(*ENVELOPE, "NOOP") == ["250", "250"]
    resolver.gates[0].callback(None)
    assert session.take().splitlines()[0].startswith("250 2.1.5")
    assert listener.clock.getDelayedCalls() != []


def test_a_rule_waits_no_longer_than_the_look_up_may_take() -> None:
    listener, session = start(slow(), rules=[NameRule()])
    session.say(*ENVELOPE)
    listener.clock.advance(5.0)
    assert session.take().startswith("450 4.7.25")


def test_a_rule_where_nothing_is_looked_up() -> None:
    _, session = start(GOOD, rules=[NameRule()], trusted_clients=["192.0.2.1"])
    assert session.codes(*ENVELOPE) == ["250", "250", "450"]
    assert result_of(Facts(Client("s", Role.MX, A, 1, False)).reverse_name()) == UNKNOWN_NAME


def test_a_rule_that_waits_goes_with_its_session() -> None:
    _, session = start(slow(), rules=[NameRule()])
    session.say(*ENVELOPE)
    session.lose()
    assert CLIENT.host == A
