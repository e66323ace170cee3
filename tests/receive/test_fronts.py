"""XCLIENT through a session: whose rights, limits and trace count after it."""

from ipaddress import ip_network

import attrs
from twisted.internet.address import IPv4Address, UNIXAddress

from mailgw.mail import event as fact
from mailgw.mail.effect import Tag
from mailgw.mail.envelope import UNKNOWN_NAME, ChannelBindings, ReverseName, Role, TlsFacts
from mailgw.mail.rate import Rate
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict, change
from mailgw.policy.chain import Chain
from tests.receive.listening import Listener, Objects, Session
from tests.receive.test_reverse import SlowResolver
from tests.tables import each

# relay_from of these listeners is 198.51.100.0/24.
FRONT = IPv4Address("TCP", "198.51.100.6", 999)
NETWORKS = (ip_network("198.51.100.0/24"), "local")
GREETING = "220 mx.example.org ESMTP mailgw ready\r\n"
TO_ELSEWHERE = ("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@elsewhere.example>")


def listener(**more: object) -> Listener:
    return Listener(xclient_from=NETWORKS, **more)  # type: ignore[arg-type]


def named(it: Listener, attributes: str, front: object = FRONT) -> Session:
    """A session in which the front said who its client is."""
    session = it.connect(front)  # type: ignore[arg-type]
    session.take()
    session.say("EHLO front")
    assert session.say(f"XCLIENT {attributes}") == GREETING
    return session


def facts(it: Listener, kind: type[fact.Event]) -> list[fact.Event]:
    return [event for event in it.journal.events if isinstance(event, kind)]


def test_the_trace_and_the_journal_name_the_client() -> None:
    it = listener()
    session = named(it, "ADDR=192.0.2.7 PORT=4711 NAME=spike.example.net HELO=spike PROTO=ESMTP")
    session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA")
    assert session.codes("Subject: x", "", ".", "QUIT") == ["250", "221"]
    assert b"Received: from c (spike.example.net [192.0.2.7])\r\n" in it.stored()[0]
    session.lose()
    assert facts(it, fact.Fronted) == [
        fact.Fronted("s1", "192.0.2.7", 4711, "198.51.100.6", "spike.example.net", "spike")]
    assert [getattr(e, "peer", "") for e in it.journal.events[2:]] == ["192.0.2.7"] * 2


@each(("attributes", "code"), [
    ("ADDR=198.51.100.7", "250"),                      # in relay_from itself
    ("ADDR=192.0.2.7", "550"),
    ("ADDR=[UNAVAILABLE]", "550"),
    ("ADDR=[TEMPUNAVAIL] NAME=front.example", "550"),
    ("NAME=spike.example.net", "550"),                 # the front's own right is not handed on
    ("ADDR=IPV6:::ffff:198.51.100.7", "250"),
])
def test_who_may_relay(attributes: str, code: str) -> None:
    assert named(listener(), attributes).codes(*TO_ELSEWHERE)[-1] == code


@each(("attributes", "is_shared"), [
    ("ADDR=192.0.2.7", False), ("ADDR=[UNAVAILABLE]", True), ("NAME=spike.example.net", True),
])
def test_whether_the_address_is_the_client_s_own(attributes: str, is_shared: bool) -> None:
    session = named(listener(), attributes)
    assert session.protocol._session.client.is_address_shared == is_shared


def test_the_front_itself_may_as_before() -> None:
    assert listener().connect(FRONT).codes(*TO_ELSEWHERE)[-1] == "250"


def test_an_unknown_address_in_the_trace() -> None:
    it = listener()
    session = named(it, "ADDR=[UNAVAILABLE]")
    session.codes("EHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>", "DATA")
    session.codes("Subject: x", "", ".")
    assert b"Received: from c (unknown)\r\n" in it.stored()[0]


def test_a_unix_socket_s_front() -> None:
    it = listener(role=Role.LMTP)
    session = it.connect(UNIXAddress(None))
    session.codes("LHLO front")
    assert session.say("XCLIENT ADDR=192.0.2.7").startswith("220 ")
    assert session.codes("LHLO c", "MAIL FROM:<a@example.net>", "RCPT TO:<b@elsewhere.example>")[-1] == "550"


def test_offered_to_fronts_alone() -> None:
    it = Listener(xclient_from=(ip_network("10.0.0.0/8"),))
    assert "XCLIENT" not in it.connect(FRONT).say("EHLO c")
    assert "XCLIENT" in it.connect(IPv4Address("TCP", "10.0.0.1", 1)).say("EHLO c")


def test_behind_a_proxy_the_header_s_address_is_the_front() -> None:
    it = listener(proxy_protocol_from=(ip_network("10.0.0.0/8"), ip_network("198.51.100.7")))
    session = it.connect(IPv4Address("TCP", "10.0.0.1", 1))
    session.send(b"PROXY TCP4 198.51.100.6 10.0.0.1 1 25\r\n")
    assert "XCLIENT" in session.say("EHLO c")
    # A proxy that can name nobody does not lend its clients its own rights as a front.
    session = it.connect(IPv4Address("TCP", "198.51.100.7", 1))
    session.send(b"PROXY UNKNOWN\r\n")
    assert "XCLIENT" not in session.say("EHLO c")


def test_limits_count_the_client_not_the_front() -> None:
    it = listener(sessions_per_address=1, connections_per_address=Rate(2, 60))
    first = named(it, "ADDR=192.0.2.7")
    named(it, "ADDR=192.0.2.8").lose()
    third = it.connect(FRONT)
    third.take()
    third.say("EHLO front")
    assert third.say("XCLIENT ADDR=192.0.2.7").startswith("421 4.7.0 Too many connections from your address")
    third.lose()
    assert facts(it, fact.Disconnected)[-1].why == "refused"  # type: ignore[attr-defined]
    first.lose()
    named(it, "ADDR=192.0.2.7").lose()
    for number in range(4):  # the front itself may come as often as it has clients
        named(it, f"ADDR=192.0.2.{number + 10}").lose()
    assert not len(it.sessions)


def test_a_login_that_the_front_vouches_for() -> None:
    it = listener(role=Role.SUBMISSION, tls=object())
    session = named(it, "ADDR=192.0.2.7 LOGIN=Alice@example.org")
    assert session.codes("EHLO c", "MAIL FROM:<bob@example.org>", "MAIL FROM:<alice@example.org>") == [
        "250", "553", "250"]
    assert session.codes("RCPT TO:<b@elsewhere.example>", "DATA") == ["250", "354"]
    session.codes("From: alice@example.org", "", ".")
    assert facts(it, fact.LoggedIn) == [fact.LoggedIn("s1", "192.0.2.7", "alice@example.org", "XCLIENT")]
    assert facts(it, fact.Queued)[0].login == "alice@example.org"  # type: ignore[attr-defined]


def test_a_login_that_a_rule_refuses_is_refused_behind_a_front_too() -> None:
    it = listener(role=Role.SUBMISSION, tls=object())
    session = it.connect(FRONT)
    session.say("EHLO front")
    it.factory.chain = Chain([Objects(Stage.AUTH, Reply(550, "5.7.1", ("you are suspended",)))])
    assert session.say("XCLIENT ADDR=192.0.2.7 LOGIN=alice@example.org") == "550 5.7.1 you are suspended\r\n"
    assert session.transport.disconnecting
    assert facts(it, fact.LoggedIn) == []
    named(it, "ADDR=192.0.2.7")


def test_the_front_s_own_login_and_certificate_are_nobody_s() -> None:
    it = listener(role=Role.SUBMISSION)
    session = it.connect(FRONT)
    session.take()
    session.say("EHLO front")
    inner = session.transport.protocol._session
    bindings = ChannelBindings(b"exporter", b"end point")
    tls = TlsFacts("TLSv1.3", "C", 256, ("front@example.org",), bindings, is_client_verified=True)
    inner.client = attrs.evolve(inner.client, tls=tls, login="front@example.org")
    assert session.say("XCLIENT ADDR=192.0.2.7") == GREETING
    assert (inner.client.login, inner.client.tls.certificate_names) == (None, ())
    assert inner.client.tls.bindings == ChannelBindings()
    assert not inner.client.tls.is_client_verified
    assert inner.client.tls.version == "TLSv1.3"
    assert inner.origin == attrs.evolve(inner.client, tls=None)


@each(("attributes", "reverse"), [
    ("ADDR=192.0.2.7", UNKNOWN_NAME),                      # being asked
    ("ADDR=192.0.2.7 NAME=spike.example.net", ReverseName("spike.example.net", True)),
    ("ADDR=192.0.2.7 NAME=[UNAVAILABLE]", UNKNOWN_NAME),
    ("ADDR=192.0.2.7 NAME=(x)", UNKNOWN_NAME),             # no host name: it would stand in the trace
    ("ADDR=203.0.113.1", None),                            # trusted
    ("ADDR=[UNAVAILABLE]", None),
])
def test_the_front_s_own_name_is_not_the_client_s(attributes: str, reverse: ReverseName | None) -> None:
    resolver = SlowResolver(name_records={"198.51.100.6": ["front.example"]},
                            address_records={"front.example": ["198.51.100.6"]})
    it = listener(resolver=resolver, trusted_clients=["203.0.113.0/24"])
    session = named(it, attributes)
    inner = session.transport.protocol._session
    assert inner.client.reverse == reverse
    assert inner.origin.reverse == reverse
    assert len(resolver.gates) == (attributes == "ADDR=192.0.2.7"), "nobody asks for the front's"
    session.lose()


def test_clients_without_an_address_count_as_one() -> None:
    it = listener(sessions_per_address=1)
    first = named(it, "ADDR=[UNAVAILABLE]")
    second = it.connect(FRONT)
    second.take()
    second.say("EHLO front")
    assert second.say("XCLIENT ADDR=[UNAVAILABLE]").startswith("421 4.7.0 ")
    first.lose()
    second.lose()


def test_a_client_whom_a_rule_turns_away_gets_nothing_behind_a_front_either() -> None:
    it = listener()
    it.factory.chain = Chain([Objects(Stage.CONNECT, None)])
    session = it.connect(FRONT)
    session.say("EHLO front")
    it.factory.chain = Chain([Objects(Stage.CONNECT, Reply(550, "5.7.1", ("not you",)))])
    assert session.say("XCLIENT ADDR=192.0.2.7", "MAIL FROM:<a@example.net>") == "550 5.7.1 not you\r\n"
    assert session.transport.disconnecting


def test_what_rules_said_of_the_front_is_not_of_its_client() -> None:
    class Notes:
        name = "notes"
        stages = frozenset({Stage.CONNECT, Stage.HELO, Stage.AUTH})

        async def judge(self, stage: Stage, facts: Facts) -> Verdict:
            return change(Tag(f"{stage.value}-{facts.client.helo or 'nobody'}"))

    it = listener(role=Role.SUBMISSION, tls=object())
    it.factory.chain = Chain([Notes()])
    client = named(it, "ADDR=192.0.2.7 LOGIN=alice@example.org")
    session = next(iter(it.sessions._guests))._session  # type: ignore[attr-defined] # before its own EHLO
    assert [*session._effects] == [Stage.CONNECT, Stage.AUTH]
    assert client.codes("EHLO c", "STARTTLS") == ["250", "220"]
    assert session._effects == {Stage.CONNECT: (Tag("CONNECT-nobody"),)}


@each(("attributes", "name"), [("NAME=spike.example.net", "spike.example.net"), ("NAME=[UNAVAILABLE]", None)])
def test_a_rule_hears_the_name_that_the_front_has_looked_up(attributes: str, name: str | None) -> None:
    heard: list[ReverseName] = []

    class Listens:
        name = "listens"
        stages = frozenset({Stage.HELO})

        async def judge(self, stage: Stage, facts: Facts) -> None:
            heard.append(await facts.reverse_name())

    it = listener()
    session = named(it, f"ADDR=192.0.2.7 {attributes}")
    it.factory.chain = Chain([Listens()])
    session.say("EHLO c")
    assert heard == [UNKNOWN_NAME if name is None else ReverseName(name, True)]
