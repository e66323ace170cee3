"""The gateway that is shipped to authors does what a gateway does, and tells what became of a message."""

import re
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from mailgw.config.settings import Config
from mailgw.mail import event as fact
from mailgw.mail.address import Mailbox
from mailgw.mail.effect import AddHeader, Discard, Junk
from mailgw.mail.errors import ConfigError
from mailgw.mail.found import Found
from mailgw.mail.outcome import Scope, temporary
from mailgw.mail.verdict import Facts, Stage, Verdict, change, defer
from mailgw.testing import Gateway, Hung, ScriptedBackend, assert_answered
from mailgw.testing.pytest_plugin import mailgw_gateway
from tests.logged import LoggedFailures
from tests.tables import each
from tests.test_layers import imports
from tests.testing.desk import CONFIG, Desk, Tickets

__all__ = ["mailgw_gateway"]  # the fixture: the plugin is off here, see pyproject.toml

HELLO = b"Subject: hi\n\nhello\n"
Make = Callable[..., Gateway]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def gateway(mailgw_gateway: Make, desk: Desk) -> Gateway:
    made = mailgw_gateway(CONFIG, backends={"tickets": lambda: Tickets(desk)}, accounts={"alice@box.example": "wonder"})
    made.dns.mx("example.net", "mx.example.net")
    return made


def test_a_ticket_waits_for_the_desk_and_is_filed(gateway: Gateway, desk: Desk) -> None:
    desk.is_down = True
    gateway.peer("mx.example.net")  # hears that it takes longer
    answer = gateway.receive(HELLO, sender="a@example.net", to=["help@desk.example"], client="192.0.2.1")
    assert_answered(answer, 250, "2.0.0", containing=answer.queue_id)
    began = gateway.now
    gateway.advance(hours=5, minutes=3, seconds=4)
    assert round(gateway.now - began, 3) == 18184
    assert gateway.assert_queued(to="help@desk.example", reason="the desk is down").attempts > 5
    desk.is_down = False
    gateway.drain()
    assert not gateway.queue
    gateway.assert_delivered(to="help@desk.example", containing="hi\n\nhello\n", backend="tickets", count=1)
    assert [octets.endswith(b"\r\n\r\nhello\r\n") for octets in desk.filed.values()] == [True]


@each(
    ("to", "answered"),
    [
        (["help@desk.example"], "250 2.0.0 OK, queued as ... (to CONTENT)"),
        (["x@desk.example"], "550 5.1.1 <x@desk.example>: no such desk (to RCPT)"),
        (["x@desk.example", "help@desk.example"], "250 2.0.0 OK, queued as ... (to CONTENT)"),
        (["b@example.net"], "550 5.7.1 <b@example.net>: relay access denied (to RCPT)"),
    ],
)
def test_what_strangers_are_answered(gateway: Gateway, to: list[str], answered: str) -> None:
    answer = gateway.receive(HELLO, sender="a@example.net", to=to)
    assert re.sub(r"as \w+", "as ...", str(answer)) == answered
    assert list(answer.recipients) == to
    assert bool(answer.queue_id) == answer.is_accepted == answered.startswith("250")


def test_a_login_sends_elsewhere_under_tls(gateway: Gateway) -> None:
    peer = gateway.peer("mx.example.net", tls=True)
    large = b"Subject: hallo\n\n" + b"\xc3\xa4 0123456789\n" * 40_000
    answer = gateway.receive(large, sender="alice@box.example", to=["b@example.net"], login="alice@box.example")
    assert answer.is_accepted
    [taken] = peer.messages
    assert taken.is_secure
    assert b"with ESMTPSA id " + answer.queue_id.encode() in taken.octets
    assert taken.octets.count(b"\xc3\xa4 0123456789\r\n") == 40_000
    config = CONFIG + '[[listen]]\nrole = "submissions"\nendpoint = "tcp:465"\n'
    with Gateway(config, backends={"tickets": Tickets(Desk())}, accounts={"alice@box.example": "wonder"}) as other:
        answer = other.receive(HELLO, sender="alice@box.example", to=["bob@box.example"], login="alice@box.example")
        assert b"with ESMTPSA id " in other.mailbox("bob@box.example")[0]
    wrong = gateway.receive(HELLO, sender=None, to=["b@example.net"], login="alice@box.example", password="x")
    assert (wrong.code, wrong.stage) == (535, "AUTH")


def test_lmtp_answers_for_each(mailgw_gateway: Make, desk: Desk) -> None:
    config = CONFIG.replace('type = "smtp"', 'type = "lmtp"\nhosts = ["unix:/run/lmtp"]').replace("*", "@in.example")
    config += '[[listen]]\nrole = "lmtp"\nendpoint = "tcp:24"\n'
    gateway = mailgw_gateway(config, backends={"tickets": Tickets(desk)})
    peer = gateway.peer("unix:/run/lmtp", lmtp=True)
    peer.answer(CONTENT=lambda to: "452 4.2.2 full" if to.startswith("b@") else None)
    answer = gateway.receive(HELLO, sender=None, to=["x@desk.example", "a@in.example", "b@in.example"], client="local")
    assert [reply.code for reply in answer.recipients.values()] == [550, 250, 250]
    assert [taken.recipients for taken in peer.messages] == [("a@in.example",)]
    gateway.assert_queued(to="b@in.example", reason="full")


def test_maildirs_are_in_memory(gateway: Gateway) -> None:
    gateway.receive(HELLO, sender=None, to=["Bob+tag@box.example"])
    [mail] = gateway.mailbox("bob@box.example")
    assert mail.startswith(b"Return-Path: <>\nDelivered-To: Bob+tag@box.example\n")
    assert gateway.mailbox("eve@box.example") == []
    for number in range(11):
        gateway.receive(f"Subject: {number}\n".encode(), sender=None, to=["eve@box.example"])
    assert [int(mail.splitlines()[-1][9:]) for mail in gateway.mailbox("eve@box.example")] == list(range(11))
    assert not Path("/mail/box.example").exists()
    with pytest.raises(AssertionError, match=r"no route brings x@desk\.example to a Maildir"):
        gateway.mailbox("x@desk.example")


class Prizes:
    stages = frozenset({Stage.CONTENT})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict:
        return change(Junk("prizes"))


def test_what_became_of_junk(mailgw_gateway: Make, desk: Desk) -> None:
    gateway = mailgw_gateway(CONFIG, backends={"tickets": Tickets(desk)}, rules=[Prizes()])
    gateway.receive(HELLO, sender=None, to=["bob+x@box.example"])
    gateway.assert_delivered(to="bob+x@box.example")
    [mail] = gateway.junk("bob@box.example")
    assert mail.startswith(b"Return-Path: <>\nDelivered-To: bob+x@box.example\n")
    assert gateway.mailbox("bob@box.example") == gateway.junk("eve@box.example") == []
    with pytest.raises(AssertionError, match=r"expected bob@box\.example to be held for 'prizes'\n"):
        gateway.assert_held(to="bob@box.example", reason="prizes")
    gateway.receive(HELLO, sender=None, to=["bob@box.example", "help@desk.example"])
    for recipient in ("bob@box.example", "help@desk.example"):
        assert gateway.assert_held(to=recipient).reason == "quarantined by rule Prizes: prizes"
    gateway.advance(days=6)  # one more than mail gets old
    assert (len(gateway.queue), gateway.bounced) == (2, [])
    assert (len(gateway.junk("bob@box.example")), gateway.mailbox("bob@box.example"), desk.filed) == (1, [], {})


def test_where_there_is_no_folder_for_junk_it_is_held(mailgw_gateway: Make, desk: Desk) -> None:
    config = CONFIG.replace('type = "maildir"', 'type = "maildir"\njunk = ""')
    gateway = mailgw_gateway(config, backends={"tickets": Tickets(desk)}, rules=[Prizes()])
    gateway.receive(HELLO, sender=None, to=["bob@box.example"])
    gateway.assert_held(to="bob@box.example", reason="quarantined")
    assert gateway.junk("bob@box.example") == gateway.mailbox("bob@box.example") == []


def test_a_connection_that_is_closed_ends_a_dialog(mailgw_gateway: Make, desk: Desk) -> None:
    gateway = mailgw_gateway(CONFIG + "[limits]\nerrors = 2\n", backends={"tickets": Tickets(desk)})
    answer = gateway.receive(HELLO, sender=None, to=[f"{name}@desk.example" for name in "abcdef"])
    assert_answered(answer, 421)
    assert [reply.code for reply in answer.recipients.values()] == [550, 550, 421]


@each("how", ["stop", "crash"])
def test_the_queue_outlives_a_gateway(gateway: Gateway, desk: Desk, how: str) -> None:
    desk.is_down = True
    gateway.receive(HELLO, sender=None, to=["help@desk.example"])
    first = gateway.service
    getattr(gateway, how)()
    desk.is_down = False
    gateway.restart()
    assert gateway.service is not first
    gateway.drain()
    gateway.assert_delivered(to="help@desk.example")


def test_a_full_disk_is_told_and_a_client_comes_again(gateway: Gateway) -> None:
    gateway.fill_up()
    assert_answered(gateway.receive(HELLO, sender=None, to=["help@desk.example"]), 452, "4.3.1")
    gateway.fill_up(False)
    assert_answered(gateway.receive(HELLO, sender=None, to=["help@desk.example"]), 250)


def test_a_backend_that_raises_is_asked_again(mailgw_gateway: Make, logged_failures: LoggedFailures) -> None:
    backend = ScriptedBackend(OSError("no"), temporary("4.2.1", "later", Scope.RECIPIENT, ""))
    gateway = mailgw_gateway(CONFIG, backends={"tickets": backend})
    gateway.receive(HELLO, sender=None, to=["help@desk.example"])
    assert [str(fault) for fault in logged_failures.take()] == ["no"]
    gateway.advance(minutes=30)
    assert len(backend.seen) == 3
    backend.let_go()
    gateway.settle()
    gateway.assert_delivered(to="help@desk.example")


class Moody:
    """A rule that has something against some, and discards or marks what others send."""

    stages: Collection[Stage] = {Stage.MAIL, Stage.CONTENT}

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        sender = str(facts.reverse_path)
        if stage is Stage.MAIL:
            return defer("not now", code=450) if sender.startswith("later@") else None
        return change(Discard()) if sender.startswith("bin@") else change(AddHeader("X-Mood", "good"))


class People:
    """A directory of one."""

    async def find(self, recipient: Mailbox) -> Found | None:
        return Found((Mailbox("help", "desk.example"),)) if recipient.local_part == "team" else None


def test_rules_and_directories_are_given_as_backends_are(mailgw_gateway: Make, desk: Desk) -> None:
    gateway = mailgw_gateway(
        CONFIG + '[[rule]]\ntype = "given"\nname = "first"\nroles = ["lmtp"]\n'
        '[[route]]\nrecipients = ["@team.example"]\ndirectory = "people"\nbackend = "tickets"\n',
        backends={"tickets": Tickets(desk)}, rules=[Moody, Moody()], directories={"people": People()},
        plugins={"first": Moody},
    )
    later = gateway.receive(HELLO, sender="later@example.net", to=["help@desk.example"])
    assert_answered(later, 450, "4.7.1", "not now")
    assert [one.rule for one in gateway.journal if isinstance(one, fact.Rejected)] == ["Moody"]
    discarded = gateway.receive(HELLO, sender="bin@example.net", to=["help@desk.example"])
    assert (discarded.code, discarded.queue_id, gateway.accepted) == (250, "", [])
    gateway.receive(HELLO, sender="a@example.net", to=["team@team.example"])
    gateway.assert_delivered(to="help@desk.example", containing="X-Mood: good\n", count=1)
    with pytest.raises(AssertionError, match="two have the same name"):
        Gateway(CONFIG, backends={"tickets": Tickets(desk)}, plugins={"tickets": Tickets(desk)})


def test_a_dialog_of_one_s_own(gateway: Gateway) -> None:
    client = gateway.connect("2001:db8::1")
    assert client.reply().code == 220
    assert client.hello().is_positive
    assert {"PIPELINING", "STARTTLS"} <= set(client.offers)
    assert client.command("RCPT TO:<help@desk.example>").code == 503
    client.send(b"NOOP\r\nQUIT\r\n")
    assert [client.reply().code, client.reply().code] == [250, 221]
    with pytest.raises(Hung):
        client.command("NOOP")
    with pytest.raises(AssertionError, match="no listener for lmtp; there are mx, submission"):
        gateway.connect(role="lmtp")


def test_asserts_say_what_there_is_instead(gateway: Gateway, desk: Desk) -> None:
    gateway.receive(HELLO, sender=None, to=["help@desk.example", "closed@desk.example"])
    desk.is_down = True
    gateway.receive(HELLO, sender=None, to=["help@desk.example"])
    lines = [
        "delivered:\n  help@desk.example by tickets (desk)", "bounced: nothing",
        "  help@desk.example in tickets, waiting, 1 attempts: desk: 451 4.3.0 the desk is down",
        "last in the journal:", "  held ", "recipient=closed@desk.example",
    ]

    def told(check: Callable[..., object], first: str, **wanted: object) -> None:
        with pytest.raises(AssertionError) as raised:
            check(**wanted)
        said = str(raised.value)
        assert said.startswith(first + "\n"), said
        assert [line for line in lines if line not in said] == []

    told(gateway.assert_delivered, "expected one delivered to x@desk.example", to="x@desk.example")
    told(gateway.assert_delivered, "expected one delivered to anybody with 'bye'", containing="bye")
    told(gateway.assert_delivered, "expected 2 delivered to anybody by tickets, not 1", backend="tickets", count=2)
    told(gateway.assert_not_delivered, "expected nothing delivered to help@desk.example", to="help@desk.example")
    told(gateway.assert_bounced, "expected a bounce of help@desk.example", to="help@desk.example")
    told(gateway.assert_queued, "expected somebody to wait in the queue for 'up'", reason="up")
    answer = gateway.receive(HELLO, sender=None, to=["x@desk.example"])
    with pytest.raises(AssertionError, match=r"^expected 250 2\.0\.0, not 550 5\.1\.1 .*\(to RCPT\)\n  x@desk\.exam"):
        assert_answered(answer, 250, "2.0.0")


def test_of_a_long_message_the_last_words_are_told(gateway: Gateway) -> None:
    assert gateway.receive("Subject: hi\n\n" + "grüße " * 60, sender=None, to="help@desk.example").code == 250
    with pytest.raises(AssertionError) as raised:
        gateway.assert_delivered(containing="bye")
    shown = str(raised.value).splitlines()[2]
    assert shown == "    ... " + " ".join(["grüße"] * 33)


def test_what_makes_no_time_pass_is_an_error(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailgw.testing.reactor.MOST_AT_ONCE", 1000)

    def again() -> None:
        gateway.reactor.callLater(0, again)

    gateway.reactor.callLater(5, again)
    gateway.advance(4)
    with pytest.raises(AssertionError, match="no time passes, and there is always something to do"):
        gateway.advance(2)
    gateway.reactor.calls.clear()
    gateway.crash()


def test_a_configuration_is_text_or_a_table_or_a_file(tmp_path: Path, desk: Desk) -> None:
    table = {
        "hostname": "mail.example.com",
        "state": "/var/lib/mailgw",
        "route": [{"recipients": ["@a.example"], "backend": "t"}],
    }
    with Gateway(table, backends={"t": Tickets(desk)}) as gateway:
        config: Config = gateway.config
        assert config.hostname == "mail.example.com"
        assert not Path(config.state).exists()
    (tmp_path / "mailgw.toml").write_text(CONFIG + "x = 1\n")
    with pytest.raises(ExceptionGroup) as raised:
        Gateway(tmp_path / "mailgw.toml")
    faults = [fault for fault in raised.value.exceptions if isinstance(fault, ConfigError)]
    assert [(fault.file, fault.line) for fault in faults] == [
        (str(tmp_path / "mailgw.toml"), 4), (str(tmp_path / "mailgw.toml"), 17),
    ]


def test_the_plugin_costs_nothing_where_nobody_asks_for_it() -> None:
    top = Path(__file__).parents[2] / "mailgw"
    for file in ("__init__.py", "testing/__init__.py", "testing/pytest_plugin.py"):
        early = [line for line in (top / file).read_text().splitlines() if not line.startswith(" ")]
        names = {name.partition(".")[0] for name in imports("\n".join(early))}
        assert names <= {"collections", "typing", "pytest", "importlib"}, file


def test_every_name_that_is_handed_on_is_there() -> None:
    from mailgw import testing

    assert [name for name in dir(testing) if not hasattr(testing, name)] == []
    with pytest.raises(AttributeError, match="has no attribute 'Gatway'"):
        testing.Gatway  # noqa: B018
