"""Each kind of plug-in, and whatever it does wrong: what docs/faults.rst says becomes of a message."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.mail.interfaces import IMessageDelivery, IMessageSMTP
from zope.interface import implementer

from mailgw import MailApp
from mailgw.interfaces import ITransactionalBackend
from mailgw.mail.found import Found
from mailgw.mail.outcome import delivered
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Stage
from mailgw.testing import Gateway, Hung
from tests.logged import LoggedFailures
from tests.tables import some

PAGE = (Path(__file__).parent.parent / "docs/faults.rst").read_text()
FAULTS = ("hangs", "raises", "blocks", "lies", "leaks")
BOB = "bob@home.test"
CONTENT = b"Subject: hello\r\n\r\nhi\r\n"
OK = delivered(Reply(250, "2.0.0", ("stored",)), "own")
LATER = {"days": 1}


class Plugin:
    """What it does is said by ``mood``: well, or one of the faults.  ``lie`` is what it says then."""

    concurrency = 4
    events = ()
    credentialInterfaces = (IUsernamePassword,)

    def __init__(self) -> None:
        self.mood = "well"
        self.block: Callable[[], None] = lambda: None

    def does(self, good: object, lie: object) -> Any:
        match self.mood:
            case "hangs":
                return Deferred()
            case "raises":
                raise ValueError("its own")
            case "blocks":
                self.block()
            case "lies":
                return lie
            case "leaks":
                return self._stubborn()
        return good

    async def _stubborn(self) -> object:
        while True:
            try:
                await Deferred()
            except CancelledError:
                pass


class Rule(Plugin):
    stages = (Stage.RCPT, Stage.CONTENT)

    async def judge(self, stage: Stage, facts: Any) -> Any:
        said = self.does(None, "250 OK")
        return said if said is None or isinstance(said, str) else await said


class Backend(Plugin):
    def lane(self, recipient: Any) -> str:
        return ""

    def refusal(self, recipient: Any) -> Any:
        return None

    def deliver(self, message: Any, recipients: Sequence[Any]) -> Any:
        return dict.fromkeys(recipients, OK)


class AtRcpt(Backend):
    def refusal(self, recipient: Any) -> Any:
        return self.does(None, Reply(250, "", ("of course",)))


class Delivering(Backend):
    def deliver(self, message: Any, recipients: Sequence[Any]) -> Any:
        return self.does(dict.fromkeys(recipients, OK), {"somebody": OK})


@implementer(ITransactionalBackend)
class InTransaction(Backend):
    def in_transaction(self, message: Any, recipient: Any) -> Any:
        async def take() -> Any:
            said = self.does(OK, "stored")
            return await said if hasattr(said, "__await__") else said

        return take()


@implementer(IMessageDelivery)
class OldDelivery(Plugin):
    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b"Received: by old.test"

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        return origin

    def validateTo(self, user: Any) -> Any:
        return lambda: OldMessage(self)


@implementer(IMessageSMTP)
class OldMessage:
    def __init__(self, delivery: OldDelivery) -> None:
        self.delivery = delivery

    def lineReceived(self, line: bytes) -> None:
        """It is not kept."""

    def eomReceived(self) -> Any:
        if self.delivery.mood == "lies":
            self.delivery.mood = "raises"  # whatever it comes to is good: a lie is an exception of the wrong kind
        return maybeDeferred(self.delivery.does, None, None)

    def connectionLost(self) -> None:
        """Nothing is open."""


class Directory(Plugin):
    async def find(self, recipient: Any) -> Any:
        said = self.does(Found(), "yes")
        return await said if hasattr(said, "__await__") else said


class Credentials(Plugin):
    def requestAvatarId(self, credentials: Any) -> Any:
        return self.does(maybeDeferred(lambda: BOB.encode()), maybeDeferred(lambda: 7))


class Observer(Plugin):
    def observe(self, event: Any) -> Any:
        return self.does(None, "anything")


def handler(when: Any) -> tuple[Plugin, MailApp]:
    own, app = Plugin(), MailApp()

    @app.recipient("{name}@home.test", when=when)
    async def own_handler(message: Any, name: str) -> Any:
        said = own.does(None, "done")
        return await said if hasattr(said, "__await__") else said

    return own, app


TO_OWN = '[[route]]\nrecipients = ["@home.test"]\nbackend = "own"\n'
TO_DISCARD = TO_OWN + '[backend.own]\ntype = "discard"\n'
GIVEN = '[backend.own]\ntype = "given"\n'
RULE = TO_DISCARD + '[[rule]]\ntype = "given"\nname = "own"\non_failure = "'


class Case:
    """A gateway with one plug-in.  ``name`` is how the log calls it."""

    def __init__(self, kind: str) -> None:
        self.login: str | None = None
        self.name = "own"
        self.plugin: Plugin
        given: object = None
        more: Mapping[str, Any] = {}
        if found := re.match('rule, ``on_failure = "(.*)"``', kind):
            self.plugin, text = Rule(), f'{RULE}{found[1]}"\n'
        elif kind == "backend, at RCPT":
            self.plugin, text = AtRcpt(), TO_OWN + GIVEN
        elif kind == "backend, delivering":
            self.plugin, text = Delivering(), TO_OWN + GIVEN
        elif kind == "backend, in the transaction":
            self.plugin, text = InTransaction(), TO_OWN + GIVEN
        elif kind == "``twisted:`` delivery":
            OLD.clear()
            text = TO_OWN + '[backend.own]\ntype = "twisted:tests.test_fault_matrix:old_delivery"\n'
        elif kind.startswith("handler"):
            self.plugin, given = handler("transaction" if "transaction" in kind else "queued")
            text = TO_OWN + GIVEN
        elif kind == "recipient directory":
            self.plugin = Directory()
            text = TO_DISCARD.replace('backend = "own"', 'backend = "own"\ndirectory = "own"')
            more = {"directories": {"own": self.plugin}}
        elif kind == "credentials source":
            self.plugin, self.login = Credentials(), BOB
            text = TO_DISCARD + '[accounts.checker]\ntype = "given"\n'
            more = {"accounts": {BOB: "secret"}, "plugins": {"checker": self.plugin}}
            self.name = "checker"
        else:
            assert kind == "event observer"
            self.plugin, text = Observer(), TO_DISCARD + '[[observer]]\ntype = "given"\nname = "own"\n'
        if not more:
            more = {"plugins": {"own": given or getattr(self, "plugin", None)}}
        self.gateway = Gateway(text, **more)
        if kind.startswith("``twisted"):
            (self.plugin,) = OLD
        self.plugin.block = self.block

    def block(self) -> None:
        self.gateway.reactor.rightNow += 0.2

    def receive(self) -> int:
        try:
            answer = self.gateway.receive(CONTENT, sender=self.login or "ann@away.test", to=[BOB], login=self.login)
        except Hung:
            return 0
        return answer.code

    def is_delivered(self) -> bool:
        gateway = self.gateway
        was_handed_over = any(one.name == "handed_over" for one in gateway.journal)
        return was_handed_over or any(one.recipient == BOB for one in gateway.delivered)

    def is_held(self) -> bool:
        return [row.state for row in self.gateway.queue] == ["held"]


OLD: list[OldDelivery] = []


def old_delivery() -> OldDelivery:
    OLD.append(OldDelivery())
    return OLD[-1]


def table() -> list[tuple[str, str, str]]:
    """Kind, fault, and what the page says."""
    cells = re.findall(r"^   [* ] - (.*)$", PAGE, re.MULTILINE)
    rows = [cells[at : at + 6] for at in range(0, len(cells), 6)]
    assert tuple(rows[0][1:]) == FAULTS
    return [(row[0], fault, said) for row in rows[1:] for fault, said in zip(FAULTS, row[1:], strict=True)]


@contextmanager
def log_lines() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize(("kind", "fault", "said"), some(table(), 13))
def test_what_becomes_of_a_message(logged_failures: LoggedFailures, kind: str, fault: str, said: str) -> None:
    with log_lines() as lines:
        case = Case(kind)
        case.plugin.mood = fault
        code = case.receive()
        if fault == "hangs" or fault == "leaks":
            case.gateway.advance(hours=1, minutes=1)  # the longest of their times
        if said.isdigit():
            assert code == int(said), case.gateway.explain()
            assert not case.is_delivered()
            assert not case.gateway.queue
        else:
            assert code == 250, case.gateway.explain()
            assert case.is_delivered() == (said == "delivered"), case.gateway.explain()
            assert case.is_held() == (said == "held")
        if (kind, fault) not in NOTHING_TO_TELL:
            facts = [str(one) for one in case.gateway.journal if one.name in ("trouble", "deferred", "rejected")]
            assert any(case.name in text for text in (*facts, *lines)), (facts, lines)
        case.plugin.mood = "well"
        case.gateway.advance(**LATER)
        if said.isdigit():
            assert case.receive() == 250
        assert case.is_delivered() == (said != "held"), case.gateway.explain()
        case.gateway.stop()
    logged_failures.take()


NOTHING_TO_TELL = {("event observer", "lies")}
"""What it returns is nobody's concern."""


def test_the_page_has_every_kind() -> None:
    assert len(table()) == 12 * len(FAULTS)
