"""Configurations, their plug-ins, and messages for them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import attrs
from zope.interface import implementer

from mailgw.config.trial import self_signed
from mailgw.interfaces import IEventObserver, IGateway, ITransactionalBackend, IUsesGateway
from mailgw.mail.address import Mailbox, parse_mailbox
from mailgw.mail.effect import AddHeader, ChangeRecipient, Discard, DropRecipient, Hold, Junk, Reroute, SetHeader, Tag
from mailgw.mail.envelope import Role
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.found import Found
from mailgw.mail.message import Message
from mailgw.mail.outcome import Outcome
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict, change, defer, reject
from mailgw.rehearsal.story import Envelope

HEAD = """
hostname = "mx.example.org"
state = "state"
[tls]
certificate = "cert.pem"
private_key = "key.pem"
[accounts]
passwd_file = "passwd"
[[listen]]
role = "mx"
endpoint = "tcp:25"
relay_from = ["198.51.100.0/24"]
[[listen]]
role = "submission"
endpoint = "tcp:587"
[[listen]]
role = "submissions"
endpoint = "tcp:465"
[[listen]]
role = "lmtp"
endpoint = "unix:lmtp"
"""
TAIL = """
[backend.mailboxes]
type = "maildir"
path = "mail/{domain}/{local_part}"
[backend.internet]
type = "smtp"
[backend.archive]
type = "discard"
[[route]]
recipients = ["@both.example.org"]
backend = "both"
[backend.both]
type = "fan-out"
backends = ["archive", "spare"]
[backend.spare]
type = "discard"
"""
ROUTES = """
[[route]]
recipients = ["@example.org"]
backend = "mailboxes"
[[route]]
recipients = ["*"]
backend = "internet"
"""

QUICK = "[limits]\ngreeting_delay = \"0s\"\n"  # else most of the test were that

PLAIN = HEAD + ROUTES + TAIL + QUICK

RULED = HEAD + """
[aliases]
file = "aliases"
[srs]
domain = "srs.example.org"
secret_file = "srs"
[[observer]]
type = "python:tests.rehearsal.situations:Hears"
[[rule]]
type = "python:tests.rehearsal.situations:Opinions"
[[route]]
recipients = ["@app.example.org"]
backend = "app"
[backend.app]
type = "python:tests.rehearsal.situations:AnswersItself"
""" + ROUTES + TAIL + QUICK + """
recipients = 2
message_octets = 2000
"""

DIRECTORY = HEAD + """
[[route]]
recipients = ["@example.org"]
directory = "people"
backend = "mailboxes"
[directory.people]
type = "python:tests.rehearsal.situations:People"
""" + TAIL.replace("[backend.internet]\ntype = \"smtp\"\n", "").replace(
    '{local_part}"', '{local_part}"\nrecipients = "any"') + QUICK

ALIASES = """\
staff@example.org bob@example.org, ann@example.net
"""


@implementer(IEventObserver)
class Hears:
    """An observer."""

    events: Sequence[str] = ()
    heard: ClassVar[list[str]] = []

    def observe(self, event: Event) -> None:
        self.heard.append(event.name)


@implementer(ITransactionalBackend)
class AnswersItself:
    """A backend that wants each message before its client is answered."""

    concurrency = 1

    def lane(self, recipient: Mailbox) -> str:
        return ""

    async def refusal(self, recipient: Mailbox) -> Reply | None:
        return None

    async def deliver(self, message: Message, recipients: Sequence[Mailbox]) -> Mapping[Mailbox, Outcome]:
        raise AssertionError("it delivers nothing")

    async def in_transaction(self, message: Message, recipient: Mailbox) -> Outcome | None:
        raise AssertionError("it is not asked")


@implementer(IUsesGateway)
class Opinions:
    """A rule that has one of many."""

    stages = frozenset(Stage)

    def use(self, gateway: IGateway) -> None:
        self.gateway = gateway

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        sender, recipient = facts.reverse_path, facts.recipient
        if facts.recipient == Mailbox("sends", "example.org"):
            await self.gateway.send(None, [Mailbox("bob", "example.org")], b"Subject: one asks for you\r\n\r\n")
        if stage is Stage.CONNECT and facts.client.address == "192.0.2.66":
            return reject("not you", why="a bad neighbourhood")
        if stage is Stage.HELO and facts.client.helo == "bad.example":
            return defer("what a name")
        if stage is Stage.MAIL and sender is not None and sender.domain == "spam.example":
            return change(Tag("spam"), why="its domain")
        if stage is Stage.RCPT and recipient is not None:
            if recipient.local_part == "slow":
                return defer("come again", code=450)
            if recipient.local_part == "moved":
                return change(ChangeRecipient(recipient, Mailbox("bob", "example.org")))
            if recipient.local_part == "dropped":
                return change(DropRecipient(recipient))
        if stage is Stage.CONTENT:
            return self._of_content(facts)
        return None

    def _of_content(self, facts: Facts) -> Verdict | None:
        header = facts.header
        if b"X-Forget" in header:
            return change(Discard(), why="nobody wants it")
        if b"X-Refuse" in header:
            return reject("not that")
        if b"X-Junk" in header:
            return change(Junk("prizes"))
        if b"X-Hold" in header:
            return change(Hold("odd"), Reroute("archive"))
        if "spam" in facts.tags:
            return change(SetHeader("Subject", "[SPAM]"), AddHeader("X-Spam", "yes"))
        return None


class People:
    """A directory, which is down for some."""

    async def find(self, recipient: Mailbox) -> Found | None:
        match recipient.local_part:
            case "bob":
                return Found()
            case "all":
                return Found((Mailbox("bob", "example.org"), Mailbox("archive", "example.org")))
            case "kept" | "archive":
                return Found(backend="archive")
            case "down":
                raise TemporaryFault("the database is away", Reply(451, "4.4.3", ("Please come again",)))
            case _:
                return None


@attrs.frozen
class Case:
    configuration: str
    envelope: Envelope


def envelope(
    sender: str,
    recipients: str,
    role: Role = Role.MX,
    address: str = "192.0.2.1",
    helo: str = "client.example",
    login: str = "",
    content: bytes | None = b"Subject: hello\r\n\r\n.dot\r\n",
) -> Envelope:
    found = [_mailbox(word) for word in recipients.split()]
    tls = bool(login) or role is Role.SUBMISSIONS
    size = 0 if content is None else len(content)
    path = parse_mailbox(sender) if sender else None
    return Envelope(role, address, helo, path, tuple(found), login, tls, content, size)


def _mailbox(word: str) -> Mailbox:
    if word == "postmaster":
        return Mailbox(word, "")
    found = parse_mailbox(word)
    assert found is not None
    return found


ALICE = "alice@example.org"
BOB, EVE, ANN = "bob@example.org", "eve@elsewhere.test", "ann@example.net"

CASES: Sequence[Case] = [
    *(
        Case(PLAIN, one) for one in (
            envelope(EVE, BOB),
            envelope("", f"postmaster {BOB} nobody@example.org {ANN}"),
            envelope(EVE, ANN, address="198.51.100.7"),
            envelope(EVE, ANN, address="2001:db8::1"),
            envelope(EVE, "x@nowhere.test", address="198.51.100.7"),
            envelope(ALICE, f"{BOB} {ANN}", Role.SUBMISSION, login=ALICE),
            envelope(ALICE, f"{BOB} {ANN}", Role.SUBMISSION, login=ALICE, content=b"no header\r\n"),
            envelope(BOB, ANN, Role.SUBMISSION, login=ALICE),
            envelope(ALICE, ANN, Role.SUBMISSIONS, login=ALICE),
            envelope(ALICE, ANN, Role.SUBMISSION),
            envelope(ALICE, ANN, Role.MX, login=ALICE),
            envelope(EVE, f"{BOB} nobody@example.org {ALICE}", Role.LMTP, "local"),
            envelope(EVE, BOB, content=b"Subject: a\nb\r\n\r\n"),
            envelope(EVE, BOB, content=b"Received: x\r\n" * 101 + b"\r\n"),
            envelope(EVE, "müller@example.org"),
            envelope(EVE, "bob@both.example.org"),
        )
    ),
    *(
        Case(RULED, one) for one in (
            envelope(EVE, BOB, address="192.0.2.66"),
            envelope(EVE, BOB, helo="bad.example"),
            envelope("x@spam.example", BOB),
            envelope(EVE, f"slow@example.org {BOB}"),
            envelope(EVE, "moved@example.org"),
            envelope(EVE, "dropped@example.org"),
            envelope(EVE, f"{BOB} {ALICE} {ALICE}"),
            envelope(EVE, "staff@example.org"),
            envelope(EVE, BOB, content=b"X-Forget: y\r\n\r\n"),
            envelope(EVE, BOB, content=b"X-Refuse: y\r\n\r\n"),
            envelope(EVE, BOB, content=b"X-Hold: y\r\n\r\n"),
            envelope(EVE, f"{BOB} {ALICE}", content=b"X-Junk: y\r\n\r\n"),
            envelope(EVE, "bob@both.example.org", content=b"X-Junk: y\r\n\r\n"),
            envelope(EVE, f"{BOB} staff@example.org", content=b"X-Junk: y\r\n\r\n"),
            envelope(EVE, BOB, content=b"x" * 2001),
        )
    ),
    *(
        Case(DIRECTORY, envelope(EVE, recipients))
        for recipients in (f"{BOB} all@example.org kept@example.org", "down@example.org none@example.org")
    ),
]


def write(folder: Path, configuration: str) -> str:
    """The configuration's file, and those that it names."""
    if not (folder / "cert.pem").exists():
        certificate, key = self_signed("mx.example.org")
        (folder / "cert.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        (folder / "passwd").write_text("alice@example.org:{PLAIN}wonder\nbob@example.org:{PLAIN}builder\n")
        (folder / "aliases").write_text(ALIASES)
        (folder / "srs").write_text("a secret of some length\n")
        (folder / "mail").mkdir()
    file = folder / "mailgw.toml"
    file.write_text(configuration)
    return str(file)
