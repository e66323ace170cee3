"""Limits across sessions: what the client sees at n and at n + 1, and who is not counted."""

from collections.abc import Coroutine

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress

from mailgw.mail import event as fact
from mailgw.mail.envelope import Client, Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Excess
from mailgw.mail.rate import Rate
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage
from mailgw.policy.chain import Chain
from mailgw.policy.lockout import LockoutSettings
from mailgw.receive.factory import TURNED_AWAY_AT_ONCE
from mailgw.receive.session import Session as ReceiveSession
from mailgw.testing.driving import result_of
from mailgw.wire.sasl import WRONG, Certificate, LoginClaim, Password, Proof, Token, Untrue
from mailgw.wire.smtp_server import Credentials, LoggedIn
from tests.receive.listening import Listener, Objects, Session
from tests.tables import each

GREETING = "220 mx.example.org ESMTP mailgw ready\r\n"
MAIL = "MAIL FROM:<a@client.test>"


def at(address: str) -> IAddress:
    kind = IPv6Address if ":" in address else IPv4Address
    return kind("TCP", address, 1024)


def greeted(listener: Listener, address: str) -> tuple[Session, str]:
    session = listener.connect(at(address))
    return session, session.take()


def test_sessions_of_one_address() -> None:
    listener = Listener(sessions_per_address=2)
    first, said = greeted(listener, "192.0.2.1")
    assert said == GREETING
    assert greeted(listener, "192.0.2.1")[1] == GREETING
    third, said = greeted(listener, "192.0.2.1")
    assert said == "421 4.7.0 Too many connections from your address: close some, or try again later\r\n"
    assert third.transport.disconnecting
    assert greeted(listener, "192.0.2.2")[1] == GREETING
    third.lose()
    assert greeted(listener, "192.0.2.1")[1].startswith("421"), "it had not been let in, so nobody left"
    first.lose()
    assert greeted(listener, "192.0.2.1")[1] == GREETING


@each(
    ("inside", "outside"),
    [
        (("192.0.2.1", "192.0.2.200", "192.0.2.77"), "192.0.3.1"),
        (("2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:ff::1"), "2001:db8:0:100::1"),
    ],
)
def test_sessions_of_one_network(inside: tuple[str, ...], outside: str) -> None:
    listener = Listener(sessions_per_network=2)
    assert [greeted(listener, address)[1][:3] for address in (*inside, outside)] == ["220", "220", "421", "220"]


def test_a_host_has_all_addresses_of_its_64() -> None:
    listener = Listener(sessions_per_address=1)
    addresses = ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    assert [greeted(listener, address)[1][:3] for address in addresses] == ["220", "421", "220"]


def test_a_mapped_address_is_counted_as_what_it_is() -> None:
    listener = Listener(sessions_per_address=1)
    assert [greeted(listener, a)[1][:3] for a in ("::ffff:192.0.2.1", "192.0.2.1")] == ["220", "421"]


def test_the_rate_of_connections() -> None:
    listener = Listener(connections_per_address=Rate(2, 60.0))
    for _ in range(2):
        session, said = greeted(listener, "192.0.2.1")
        assert said == GREETING
        session.lose()
    said = greeted(listener, "192.0.2.1")[1]
    assert said == "421 4.7.0 Your address connects too often: try again in 30 seconds\r\n"
    listener.clock.advance(30.0)
    assert [greeted(listener, "192.0.2.1")[1][:3] for _ in range(2)] == ["220", "421"]


def test_who_is_turned_away_is_in_the_journal() -> None:
    listener = Listener(sessions_per_address=1)
    greeted(listener, "192.0.2.1")
    refused, _ = greeted(listener, "192.0.2.1")
    refused.lose()
    [rejected] = [e for e in listener.journal.events if isinstance(e, fact.Rejected)]
    assert (rejected.stage, rejected.rule, rejected.code) == ("CONNECT", "sessions_per_address", 421)
    assert listener.journal.events[-1] == fact.Disconnected("s2", "192.0.2.1", "refused", 0.0, 0)


def test_trusted_clients_are_not_counted() -> None:
    listener = Listener(
        sessions_per_address=1, connections_per_address=Rate(1, 60.0), messages_per_address=Rate(1, 60.0),
        trusted_clients=["192.0.2.0/24"],
    )
    for _ in range(3):
        session, said = greeted(listener, "192.0.2.1")
        assert said == GREETING
        assert session.codes("EHLO c.test", MAIL, "RSET", MAIL) == ["250", "250", "250", "250"]
    assert [greeted(listener, "198.51.100.1")[1][:3] for _ in range(2)] == ["220", "421"]


def test_clients_of_a_unix_socket_are_not_counted() -> None:
    listener = Listener(role=Role.LMTP, sessions_per_address=1)
    said = [listener.connect(UNIXAddress("/run/lmtp")).take()[:3] for _ in range(3)]
    assert said == ["220", "220", "220"]


def test_the_rate_of_messages_of_an_address() -> None:
    listener = Listener(messages_per_address=Rate(2, 60.0))
    session, _ = greeted(listener, "192.0.2.1")
    assert session.codes("EHLO c.test", MAIL, "RSET", MAIL, "RSET") == ["250"] * 5
    said = session.say(MAIL)
    assert said == "421 4.7.0 Too many messages from your address: try again in 30 seconds\r\n"
    assert session.transport.disconnecting
    other, _ = greeted(listener, "192.0.2.1")
    listener.clock.advance(30.0)
    assert other.codes("EHLO c.test", MAIL, "RSET", MAIL) == ["250", "250", "250", "421"]


def test_a_session_lost_while_the_owner_of_the_counters_is_asked_has_left() -> None:
    listener = Listener(sessions_per_address=1)
    asked: Deferred[None] = Deferred()
    enter = listener.counters.enter

    async def slowly(address: str) -> Excess | None:
        await asked
        return await enter(address)

    listener.counters.enter = slowly  # type: ignore[method-assign]
    session, said = greeted(listener, "192.0.2.1")
    assert said == ""
    session.lose()
    asked.callback(None)
    listener.counters.enter = enter  # type: ignore[method-assign]
    assert session.take() == ""
    assert greeted(listener, "192.0.2.1")[1] == GREETING


# --- logins -----------------------------------------------------------------------------------------------

def log_in(
    listener: Listener, address: str, password: str, login: str = "alice@example.org", is_shared: bool = False
) -> str:
    """Offer a password in a session of its own; the answer's code, and its last words."""
    return claim(listener, address, Password("", login, password), is_shared)


def claim(listener: Listener, address: str, claimed: LoginClaim, is_shared: bool = False) -> str:
    may_relay, is_trusted = listener.factory.known_as(address)
    client = Client(
        "s1", Role.SUBMISSION, address, 1024, may_relay, is_trusted=is_trusted, is_address_shared=is_shared
    )
    reaction = ReceiveSession(listener.factory, client).react(Credentials("PLAIN", claimed))
    assert isinstance(reaction, Coroutine)
    reply: Reply = result_of(reaction)
    return str(reply.code) if reply.code in (235, 535) else f"{reply.code} {reply.status} {reply.text}"


def test_a_right_password_that_a_rule_refuses_is_no_guess() -> None:
    listener = Listener(lockout=LockoutSettings(1, 1, 1, 60.0, 3600.0))
    listener.factory.chain = Chain([Objects(Stage.AUTH, Reply(535, "5.7.1", ("not today",)))])
    for _ in range(3):
        assert log_in(listener, "192.0.2.1", "secret") == "535"
    assert not [event for event in listener.journal.events if isinstance(event, fact.LockedOut)]


def test_guessing_from_one_address_is_locked_before_any_password_is_looked_at() -> None:
    listener = Listener(lockout=LockoutSettings(3, 100, 100, 60.0, 3600.0))
    said = [log_in(listener, "192.0.2.1", "guess", f"user{number}") for number in range(3)]
    assert said == ["535", "535", "535"]
    listener.logins.clear()  # whoever asks now is told no
    assert log_in(listener, "192.0.2.1", "secret") == "454 4.7.0 Too many failed logins: try again in 60 seconds"
    rejected = listener.journal.events[-1]
    assert isinstance(rejected, fact.Rejected)
    assert (rejected.stage, rejected.rule) == ("AUTH", "lockout")
    assert fact.LockedOut("s1", "192.0.2.1", "address", "192.0.2.1", 60.0) in listener.journal.events
    assert log_in(listener, "192.0.2.2", "secret") == "535"
    listener.clock.advance(60.0)
    assert log_in(listener, "192.0.2.1", "secret") == "535"


def test_a_login_under_attack_stays_open_where_it_is_at_home() -> None:
    listener = Listener(lockout=LockoutSettings(100, 100, 3, 60.0, 3600.0), logins_per_login=Rate(5, 60.0))
    assert log_in(listener, "192.0.2.1", "secret") == "235"
    for number in range(20):
        log_in(listener, f"198.51.{number}.1", "guess")
    assert log_in(listener, "203.0.113.1", "secret").startswith("454 4.7.0")
    assert log_in(listener, "192.0.2.1", "secret") == "235"


def test_a_name_without_an_account_is_locked_like_others() -> None:
    listener = Listener(lockout=LockoutSettings(100, 100, 3, 60.0, 3600.0))
    for login in ("alice@example.org", "nobody@example.org"):
        said = [log_in(listener, f"192.0.{number}.1", "guess", login)[:3] for number in range(4)]
        assert said == ["535", "535", "535", "454"]


def test_the_rates_of_logins() -> None:
    listener = Listener(logins_per_address=Rate(3, 60.0), logins_per_login=Rate(2, 60.0))
    assert [log_in(listener, "192.0.2.1", "secret")[:3] for _ in range(3)] == ["235", "235", "235"], "at home"
    assert log_in(listener, "192.0.2.1", "x", "bob") == (
        "421 4.7.0 Too many logins from your address: try again in 20 seconds"
    )
    said = [log_in(listener, f"192.0.2.{number}", "x", "bob") for number in (2, 3, 4)]
    assert said == ["535", "535", "421 4.7.0 Too many logins under this name: try again in 30 seconds"]


def test_the_rate_at_home_is_that_of_all_the_addresses_of_a_host() -> None:
    listener = Listener(logins_per_login=Rate(2, 60.0))
    said = [log_in(listener, f"2001:db8::{number}", "secret")[:3] for number in range(5)]
    assert said == ["235", "235", "235", "421", "421"], "the first one was not at home yet"


def test_a_token_without_a_name_finds_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(lockout=LockoutSettings(3, 100, 100, 60.0, 3600.0))

    async def judge(claim: LoginClaim, client: Client) -> str | Untrue:
        alice = "alice@example.org"
        return alice if claim in (Token("", "good"), Password("", alice, "secret")) else WRONG

    monkeypatch.setattr(listener, "judge", judge)
    assert claim(listener, "192.0.2.1", Token("", "good")) == "235"
    for number in range(4):
        log_in(listener, "192.0.2.1", "guess", f"user{number}")
    assert log_in(listener, "192.0.2.1", "guess", "bob")[:3] == "454"
    assert claim(listener, "192.0.2.1", Token("", "good")) == "235"
    assert log_in(listener, "192.0.2.1", "secret") == "235"


def test_a_certificate_is_not_locked_out() -> None:
    listener = Listener(lockout=LockoutSettings(1, 1, 1, 60.0, 3600.0), logins_per_address=Rate(1, 60.0))
    assert [claim(listener, "192.0.2.1", Certificate("")) for _ in range(3)] == ["535", "535", "535"]
    assert log_in(listener, "192.0.2.1", "secret") == "235"


def test_nobody_is_at_home_at_an_address_that_many_share() -> None:
    listener = Listener(lockout=LockoutSettings(2, 100, 100, 60.0, 3600.0))
    said = [log_in(listener, "unknown", word, is_shared=True)[:3] for word in ("secret", "x", "x", "x", "secret")]
    assert said == ["235", "535", "535", "454", "454"]


def test_trusted_clients_may_fail_to_log_in() -> None:
    listener = Listener(
        lockout=LockoutSettings(1, 1, 1, 60.0, 3600.0), logins_per_address=Rate(1, 60.0),
        trusted_clients=["192.0.2.0/24"],
    )
    assert [log_in(listener, "192.0.2.1", "x") for _ in range(3)] == ["535", "535", "535"]
    assert log_in(listener, "192.0.2.1", "secret") == "235"


def test_a_login_that_cannot_be_judged_is_no_failure() -> None:
    listener = Listener(lockout=LockoutSettings(1, 1, 1, 60.0, 3600.0))

    async def trouble(claim: LoginClaim, client: Client) -> str | Untrue:
        raise TemporaryFault("no thread is free")

    judge, listener.judge = listener.judge, trouble  # type: ignore[method-assign]
    assert log_in(listener, "192.0.2.1", "secret") == "454 4.7.0 Temporary authentication failure"
    rejected = listener.journal.events[-1]
    assert isinstance(rejected, fact.Rejected)
    assert (rejected.stage, rejected.rule, rejected.code) == ("AUTH", "trouble", 454)
    listener.judge = judge  # type: ignore[method-assign]
    assert log_in(listener, "192.0.2.1", "secret") == "235"


def test_a_login_that_nobody_answers_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = Listener(lockout=LockoutSettings(1, 1, 1, 60.0, 3600.0))

    async def hang(claim: LoginClaim, client: Client) -> str | Untrue:
        await Deferred()
        return None

    monkeypatch.setattr(listener, "judge", hang)
    session = ReceiveSession(listener.factory, Client("s1", Role.SUBMISSION, "192.0.2.1", 1024, False))
    reaction = session.react(Credentials("PLAIN", Password("", "alice@example.org", "secret")))
    assert isinstance(reaction, Coroutine)
    found: list[Reply] = []
    answer = Deferred.fromCoroutine(reaction).addCallback(found.append)
    answer.cancel()
    assert [(reply.code, reply.status) for reply in found] == [(454, "4.7.0")]
    monkeypatch.undo()
    assert log_in(listener, "192.0.2.1", "secret") == "235"


def test_a_login_counts_once_the_client_was_told_so() -> None:
    listener = Listener()
    session = ReceiveSession(listener.factory, Client("s1", Role.SUBMISSION, "192.0.2.1", 1024, False))
    proof = Proof("", "alice@example.org", True)
    reaction = session.react(Credentials("SCRAM-SHA-256", proof))
    assert isinstance(reaction, Coroutine)
    assert result_of(reaction).code == 235
    assert session.client.login is None, "it may cancel yet (RFC 5802 s3)"
    assert listener.journal.events == []
    assert session.react(LoggedIn()) is None
    assert session.client.login == "alice@example.org"
    assert listener.journal.events == [fact.LoggedIn("s1", "192.0.2.1", "alice@example.org", "SCRAM-SHA-256")]


def test_the_rate_of_messages_of_a_login_is_for_trusted_clients_too() -> None:
    listener = Listener(messages_per_login=Rate(1, 60.0), trusted_clients=["192.0.2.0/24"])
    client = Client("s1", Role.SUBMISSION, "192.0.2.1", 1, False, login="alice@example.org", is_trusted=True)
    verdicts = [result_of(ReceiveSession(listener.factory, client).standing.message(client)) for _ in range(2)]
    assert [getattr(verdict, "rule", None) for verdict in verdicts] == [None, "messages_per_login"]


def test_sessions_in_all_and_who_is_not_even_told() -> None:
    listener = Listener(sessions=3)
    assert [greeted(listener, f"192.0.{n}.1")[1][:3] for n in range(4)] == ["220", "220", "220", "421"]
    for _ in range(TURNED_AWAY_AT_ONCE - 1):
        assert greeted(listener, "192.0.9.1")[1] == "421 4.7.0 Too many connections, please try again later\r\n"
    assert listener.factory.buildProtocol(at("192.0.9.1")) is None


# --- when all places are taken ------------------------------------------------------------------------------

CROWDED = "421 4.3.2 All connections are in use and this one is idle; please come again\r\n"


@each(("idle", "said"), [(14.9, "421"), (15.0, "220")])
def test_the_longest_idle_gives_way_to_a_new_one(idle: float, said: str) -> None:
    listener = Listener(sessions=2)
    silent, busy = greeted(listener, "192.0.2.1")[0], greeted(listener, "192.0.3.1")[0]
    listener.clock.advance(idle)
    busy.say("NOOP")
    assert greeted(listener, "192.0.4.1")[1][:3] == said
    assert silent.take() == (CROWDED if said == "220" else "")
    assert silent.transport.disconnecting == (said == "220")
    assert busy.codes("NOOP") == ["250"]


def test_half_a_command_is_idle_too() -> None:
    listener = Listener(sessions=1)
    dripping = greeted(listener, "192.0.2.1")[0]
    for _ in range(15):
        listener.clock.advance(1.0)
        dripping.send(b"x")
    assert greeted(listener, "192.0.4.1")[1] == GREETING
    assert dripping.take() == CROWDED


def test_content_that_comes_too_slowly_gives_way_and_other_content_does_not() -> None:
    listener = Listener(sessions=1)
    sending = greeted(listener, "192.0.2.1")[0]
    listener.clock.advance(100.0)
    assert sending.codes("EHLO c.test", MAIL, "RCPT TO:<b@example.org>", "DATA")[-1] == "354"
    sending.send(b"Subject: x\r\n\r\n")
    for _ in range(20):
        listener.clock.advance(1.0)
        sending.send(b"y" * 1022 + b"\r\n")
    assert greeted(listener, "192.0.4.1")[1][:3] == "421"
    for _ in range(115):
        listener.clock.advance(1.0)
        sending.send(b"y")
    assert greeted(listener, "192.0.4.1")[1] == GREETING
    assert sending.take() == CROWDED
    assert listener.stored() == []


def test_trusted_clients_do_not_give_way() -> None:
    listener = Listener(sessions=1, trusted_clients=["192.0.2.0/24"])
    greeted(listener, "192.0.2.1")
    listener.clock.advance(200.0)
    assert greeted(listener, "192.0.4.1")[1][:3] == "421"


def test_who_has_too_many_takes_nobody_s_place() -> None:
    listener = Listener(sessions=2, sessions_per_address=1)
    silent = greeted(listener, "192.0.2.1")[0]
    greeted(listener, "192.0.3.1")
    listener.clock.advance(100.0)
    assert greeted(listener, "192.0.3.1")[1].startswith("421 4.7.0")
    assert silent.take() == ""


def test_a_handshake_that_does_not_end_gives_way() -> None:
    listener = Listener(sessions=1, role=Role.SUBMISSIONS, tls=object())  # type: ignore[arg-type]
    silent = listener.connect(at("192.0.2.1"))
    listener.clock.advance(15.0)
    listener.connect(at("192.0.3.1"))
    assert silent.transport.aborting


def test_those_who_gave_way_and_linger_keep_nobody_out() -> None:
    places = TURNED_AWAY_AT_ONCE + 5
    listener = Listener(sessions=places)
    idle = [greeted(listener, f"192.0.{n}.1")[0] for n in range(places)]
    listener.clock.advance(15.0)
    for n in range(places):
        assert greeted(listener, f"192.1.{n}.1")[1] == GREETING
        # So many linger at once; one more, and one of them is cut off.
        assert sum(session.transport.aborting for session in idle) == max(0, n + 1 - TURNED_AWAY_AT_ONCE)
