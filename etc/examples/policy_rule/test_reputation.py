"""Run by ``pytest``: the rule with the gateway of ``mailgw.testing`` and the configuration beside this file, where a
minute passes in no time; and its question, to a name server on the loopback."""

from pathlib import Path

import pytest
import pytest_twisted
import reputation
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.names.authority import PySourceAuthority
from twisted.names.client import Resolver
from twisted.names.dns import DNSDatagramProtocol
from twisted.names.server import DNSServerFactory

from mailgw import ctl
from mailgw.testing import Gateway, assert_answered, result_of

HERE = Path(__file__).parent
LISTED = {"9.2.0.192": 90, "4.2.0.192": 40, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2": 80}


class List:
    """What the list says, in place of DNS; ``asked`` are the names that it was asked for."""

    def __init__(self):
        self.asked = []
        self.is_silent = False
        self.cancelled = 0
        self.network = "127.0.0"

    async def ask(self, rule, name):
        self.asked.append(name)
        if self.is_silent:
            await Deferred(self.cancel)
        number = LISTED.get(name.removesuffix(".bad.example.org"))
        return ([], 300) if number is None else ([f"{self.network}.{number}"], 600)

    def cancel(self, deferred):
        self.cancelled += 1


@pytest.fixture
def block_list(monkeypatch):
    made = List()
    monkeypatch.setattr(reputation.Reputation, "ask", lambda rule, name: made.ask(rule, name))
    return made


@pytest.fixture
def gateway(block_list):
    with Gateway(HERE / "mailgw.toml") as gateway:
        yield gateway


def send(gateway, client, *to):
    letter = b"X-Reputation: 0\nSubject: hello\n\nhello\n"
    return gateway.receive(letter, sender="x@example.net", to=to or ["bob@example.org"], client=client)


def test_who_is_bad_is_refused_but_by_the_postmaster(gateway):
    answer = send(gateway, "192.0.2.9")
    assert_answered(answer, 550, "5.7.1", containing="192.0.2.9 is on our list")
    assert send(gateway, "2001:db8::1").code == 550
    assert send(gateway, "192.0.2.9", "postmaster").code == 250


def test_who_is_not_quite_good_is_marked_once(gateway):
    assert send(gateway, "192.0.2.4", "bob@example.org", "ann@example.org").code == 250
    [letter] = gateway.mailbox("bob@example.org")
    assert letter.count(b"X-Reputation: ") == 1
    assert b"\nX-Reputation: 40\n" in letter
    [changed] = [fact for fact in gateway.journal if fact.name == "changed"]
    assert changed.effects == ("tag suspect", "set_header X-Reputation")


def test_others_are_served(gateway):
    assert send(gateway, "192.0.2.1").code == 250
    assert not [fact for fact in gateway.journal if fact.name == "changed"]


def test_an_answer_is_remembered_until_its_time_is_over(gateway, block_list):
    for _ in range(3):
        assert send(gateway, "192.0.2.9").code == 550
    assert block_list.asked == ["9.2.0.192.bad.example.org"]
    gateway.advance(minutes=10)
    send(gateway, "192.0.2.9")
    assert len(block_list.asked) == 2


def test_no_more_is_remembered_than_there_is_room_for(gateway, block_list, monkeypatch):
    monkeypatch.setattr(reputation, "MOST_REMEMBERED", 2)
    for last in (1, 2, 3, 3, 2, 1):
        send(gateway, f"192.0.2.{last}")
    assert len(block_list.asked) == 4  # 1 made room for 3, and had to be asked for again


def test_a_list_that_does_not_answer_delays_mail_and_stops_none(gateway, block_list):
    block_list.is_silent = True
    for network in range(11):
        assert send(gateway, f"192.0.{network}.9").code == 250
    # The deadline, ten times; then it is left alone for five seconds, and costs nobody any.
    assert [fact.seconds for fact in gateway.journal if fact.name == "queued"] == [4.0] * 10 + [0.0]
    assert len(block_list.asked) == block_list.cancelled == 10
    troubles = [fact.why for fact in gateway.journal if fact.name == "trouble"]
    assert troubles[0] == "did not answer within 4 s"
    block_list.is_silent = False
    gateway.advance(seconds=5)
    assert send(gateway, "192.0.2.9").code == 550  # it is asked again


def test_a_list_that_is_for_sale_condemns_nobody(block_list):
    block_list.network = "203.0.113"
    rule = reputation.Reputation("bad.example.org", ["127.0.0.1:53"])
    rule.now = lambda: 0.0
    with pytest.raises(ValueError, match="no list any more"):
        result_of(rule.score("192.0.2.9"))
    assert rule.known == {}


def test_its_numbers():
    with pytest.raises(ValueError, match="mark_from"):
        reputation.Reputation("bad.example.org", ["127.0.0.1:53"], refuse_from=10, mark_from=20)


def test_the_configuration_is_good(capsys):
    assert ctl.main(["check", "-c", str(HERE / "mailgw.toml")]) == 0
    assert "warning" not in capsys.readouterr().err


class Here:
    """What the rule wants of a gateway."""

    reactor = reactor

    def now(self):
        return 0.0


@pytest_twisted.ensureDeferred
async def test_the_question_itself():
    zone = PySourceAuthority(str(HERE / "bad.example.org"))
    factory = DNSServerFactory(authorities=[zone])
    factory.noisy = False
    port = reactor.listenUDP(0, DNSDatagramProtocol(factory), interface="127.0.0.1")
    rule = reputation.Reputation("bad.example.org", [f"127.0.0.1:{port.getHost().port}"])
    rule.use(Here())
    try:
        assert await rule.ask("2.0.0.127.bad.example.org") == (["127.0.0.90"], 600)
        assert await rule.ask("1.0.0.127.bad.example.org") == ([], reputation.UNLISTED_SECONDS)
    finally:
        await maybeDeferred(port.stopListening)
    assert isinstance(rule.resolver, Resolver)
