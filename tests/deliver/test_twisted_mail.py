"""What provides twisted.mail's interfaces, as a backend: asked as Twisted's own server asks it, whatever it does."""

from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.mail import smtp
from twisted.mail.interfaces import IMessageDelivery, IMessageDeliveryFactory, IMessageSMTP
from twisted.mail.mail import FileMessage, MailService
from twisted.mail.protocols import SMTPDomainDelivery
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailgw.deliver.twisted_mail import (
    AT_CONTENT,
    AT_MAIL,
    AT_ONCE,
    AT_RCPT,
    CALLS_IN_A_STEP,
    CONCURRENCY,
    TwistedMailBackend,
    lines,
    reply_of,
)
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.envelope import BodyType
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.message import Content, Message
from mailgw.spool.content import MemoryContent
from tests.logged import LoggedFailures
from tests.tables import each

ALICE = Mailbox("alice", "example.org")
BOB = Mailbox("bob", "example.org")
SENDER = Mailbox("sender", "example.net")
TEXT = b"Subject: hello\r\n\r\n.dot\r\nend\r\n"


class Pieces:
    """Content in chunks, and perhaps a fault at the end."""

    octets = None

    def __init__(self, *chunks: bytes, fault: Exception | None = None) -> None:
        self.size_octets = sum(map(len, chunks))
        self._chunks = chunks
        self._fault = fault

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if self._fault is not None:
            raise self._fault


@implementer(IMessageSMTP)
class Letter:
    def __init__(self, calls: list[Any], who: str, end: Callable[[], Any], fault_at: bytes = b"-") -> None:
        self.calls, self.who, self.end, self.fault_at = calls, who, end, fault_at

    def lineReceived(self, line: bytes) -> None:
        self.calls.append((self.who, line))
        if line == self.fault_at:
            raise smtp.SMTPServerError(552, b"too much")

    def eomReceived(self) -> Any:
        self.calls.append((self.who, "end"))
        return self.end()

    def connectionLost(self) -> None:
        self.calls.append((self.who, "lost"))


@implementer(IMessageDelivery)
class Delivery:
    """Does what it is told, and notes what is asked; ``wrap`` makes a Deferred or a coroutine of each answer."""

    def __init__(self, wrap: Callable[[Any], Any] = lambda value: value) -> None:
        self.calls: list[Any] = []
        self.wrap = wrap
        self.faults: dict[str, Exception] = {}
        self.ends: dict[str, Callable[[], Any]] = {}
        self.fault_at = b"-"
        self.header: Any = b"Received: from x\n\tby y"

    def _answer(self, what: str, value: Any) -> Any:
        self._told(what)
        return self.wrap(value)

    def _told(self, what: str) -> None:
        self.calls.append(what)
        if what in self.faults:
            raise self.faults[what]

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        assert helo in ((b"client.example", b"192.0.2.1"), (b"client.example", None))
        return self._answer(f"from {origin}", origin)

    def validateTo(self, user: Any) -> Any:
        who = user.dest.local.decode()

        def make() -> Letter:
            self._told(f"make {who}")
            return Letter(self.calls, who, self.ends.get(who, lambda: self.wrap(None)), self.fault_at)

        return self._answer(f"to {user.dest} from {user.orig}", make)

    def receivedHeader(self, helo: Any, origin: Any, recipients: Sequence[Any]) -> Any:
        [user] = recipients
        return self._answer(f"header {user.dest.local.decode()}", self.header)


@implementer(IMessageDeliveryFactory)
class Factory:
    def __init__(self) -> None:
        self.made: list[Delivery] = []

    def getMessageDelivery(self) -> Delivery:
        self.made.append(Delivery())
        self.made[-1].ends = dict.fromkeys(("alice", "bob"), lambda: succeed(None))
        return self.made[-1]


async def later(value: Any) -> Any:
    return value


class Bench:
    def __init__(self, thing: Any) -> None:
        self.clock = Clock()
        self.backend = TwistedMailBackend(thing, "old:Delivery", "mx.example.org", self.clock)
        self.results: list[Any] = []

    def deliver(
        self, recipients: Sequence[Mailbox] = (ALICE,), content: Content | None = None,
        sender: Mailbox | None = SENDER, body: BodyType = BodyType.EIGHT_BIT,
    ) -> "Deferred[Any]":
        message = Message(
            "Q1", sender, body, 1.0, content or MemoryContent(TEXT), peer="192.0.2.1", helo="client.example"
        )
        return Deferred.fromCoroutine(self.backend.deliver(message, recipients)).addBoth(self.results.append)

    @property
    def words(self) -> list[str]:
        result = self.results[-1]
        if isinstance(result, Failure):
            return [type(result.value).__name__]
        return [f"{who.local_part} {outcome.permanence.value} {outcome.reply}" for who, outcome in result.items()]

    def refusal(self, recipient: Mailbox = ALICE) -> str:
        found: list[Any] = []
        Deferred.fromCoroutine(self.backend.refusal(recipient)).addBoth(found.append)
        [result] = found
        return type(result.value).__name__ if isinstance(result, Failure) else str(result)


TAKEN = "delivered 250 2.0.0 Taken by old:Delivery"


def test_it_is_a_backend() -> None:
    backend = Bench(Delivery()).backend
    assert verifyObject(IDeliveryBackend, backend)
    assert (backend.concurrency, backend.lane(ALICE)) == (CONCURRENCY, "")


@each(("wanted", "found"), [(5, 5), (1, 1), (0, CONCURRENCY), (True, CONCURRENCY), ("5", CONCURRENCY)])
def test_one_that_knows_how_much_it_bears(wanted: object, found: int) -> None:
    thing: Any = Delivery()
    thing.concurrency = wanted
    assert Bench(thing).backend.concurrency == found


def test_one_that_is_a_service_runs_with_the_gateway() -> None:
    class Serving(Delivery, Service):
        pass

    thing = Serving()
    backend = Bench(thing).backend
    backend.startService()
    assert thing.running
    backend.stopService()
    assert not thing.running


def twisted_s_own(thing: Any, recipients: Sequence[Mailbox], text: bytes) -> bytes:
    """What Twisted's own server says."""
    server: Any = smtp.SMTP()
    if isinstance(thing, Factory):
        server.deliveryFactory = thing
    else:
        server.delivery = thing
    transport = StringTransport()
    server.makeConnection(transport)
    server.dataReceived(b"HELO client.example\r\n")
    server._helo = (b"client.example", b"192.0.2.1")
    server.dataReceived(b"MAIL FROM:<sender@example.net>\r\n")
    for recipient in recipients:
        server.dataReceived(b"RCPT TO:<%s>\r\n" % recipient.octets())
    server.dataReceived(b"DATA\r\n" + text.replace(b"\r\n.", b"\r\n..") + b".\r\nQUIT\r\n")
    server.setTimeout(None)
    return transport.value()


@each("wrap", [lambda value: value, succeed, later])
def test_it_is_asked_as_twisted_s_own_server_asks(wrap: Callable[[Any], Any]) -> None:
    """Also where it answers by Deferreds and by coroutines, which that server does not know."""
    theirs, ours = Delivery(), Delivery(wrap)
    theirs.ends = dict.fromkeys(("alice", "bob"), lambda: succeed(None))
    assert b"250 Delivery in progress" in twisted_s_own(theirs, [ALICE, BOB], TEXT)
    bench = Bench(ours)
    bench.deliver([ALICE, BOB])
    assert bench.words == [f"alice {TAKEN}", f"bob {TAKEN}"]
    assert ours.calls == theirs.calls
    assert ours.calls[-4:] == [("alice", b"end"), ("bob", b"end"), ("alice", "end"), ("bob", "end")]


def test_twisted_s_own_delivery_and_message_plug_in(tmp_path: Path) -> None:
    class Domain:
        def getCredentialsCheckers(self) -> list[object]:
            return []

        def exists(self, user: Any) -> Callable[[], FileMessage]:
            if user.dest.local != b"alice":
                raise smtp.SMTPBadRcpt(user)  # type: ignore[no-untyped-call]
            new, final = f"{tmp_path}/new", f"{tmp_path}/alice"
            return lambda: FileMessage(open(new, "wb"), new, final)  # type: ignore[no-untyped-call] # it closes it

    service: Any = MailService()  # type: ignore[no-untyped-call]
    service.addDomain(b"example.org", Domain())
    bench = Bench(SMTPDomainDelivery(service, None))  # type: ignore[no-untyped-call]
    assert [bench.refusal(one) for one in (ALICE, BOB)] == ["None", "550 5.1.1 Cannot receive for specified address"]
    bench.deliver([ALICE, BOB])
    assert [word.partition(" ")[2][:13] for word in bench.words] == ["delivered 250", "permanent 550"]
    stored = (tmp_path / "alice").read_bytes()
    assert stored.startswith(b"Received: from client.example ([192.0.2.1]")
    assert stored.endswith(b"Subject: hello\n\n.dot\nend\n")


def test_a_factory_makes_one_for_each_message() -> None:
    theirs, ours = Factory(), Factory()
    twisted_s_own(theirs, [ALICE, BOB], TEXT)
    bench = Bench(ours)
    bench.deliver([ALICE, BOB])
    [their], [our] = theirs.made, ours.made
    assert our.calls == their.calls
    bench.deliver()
    assert bench.refusal() == "None"
    assert [len(made.calls) for made in ours.made[2:]] == [1]


@each(
    ("sender", "told"),
    [(None, "from "), (Mailbox("a b", "example.net"), 'from "a b"@example.net'), (SENDER, "from sender@example.net")],
)
def test_senders(sender: Mailbox | None, told: str) -> None:
    thing = Delivery()
    bench = Bench(thing)
    bench.deliver(sender=sender)
    assert thing.calls[0] == told
    assert bench.words == [f"alice {TAKEN}"]


def test_the_postmaster_without_a_domain_is_ours() -> None:
    thing = Delivery()
    bench = Bench(thing)
    assert bench.refusal(Mailbox("postmaster", "")) == "None"
    assert thing.calls == ["to postmaster@mx.example.org from "]


@each(
    ("chunks", "found"),
    [
        ((b"",), []), ((b"a",), [b"a"]), ((b"a\r\n",), [b"a"]), ((b"a\r", b"\nb\r\n\r", b"\n"), [b"a", b"b", b""]),
        ((b"a\rb\nc\r\n", b"", b"\r"), [b"a\rb\nc", b"\r"]), ((b"a", b"b", b"\r\nc"), [b"ab", b"c"]),
    ],
)
def test_lines_over_any_split(chunks: tuple[bytes, ...], found: list[bytes]) -> None:
    async def all_of_them() -> list[bytes]:
        return [line async for line in lines(Pieces(*chunks))]

    results: list[Any] = []
    Deferred.fromCoroutine(all_of_them()).addBoth(results.append)
    assert results == [found]


@each("header", [b"", None, "Received: text"])
def test_headers_of_other_kinds(header: Any) -> None:
    thing = Delivery()
    thing.header = header
    Bench(thing).deliver()
    first = next(call[1] for call in thing.calls if isinstance(call, tuple))
    assert first == (b"Received: text" if header else b"Subject: hello")


# --- what it raises -------------------------------------------------------------------------------------------

ADDRESS = smtp.Address("alice@example.org")  # type: ignore[no-untyped-call]


@each(
    ("fault", "words"),
    [
        (smtp.SMTPBadRcpt(ADDRESS), "550 5.1.1 Cannot receive for specified address"),  # type: ignore[no-untyped-call]
        (smtp.SMTPBadRcpt(ADDRESS, 450, b"later"), "450 4.2.0 later"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(552, "full"), "552 5.2.2 full"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(553, "5.7.1 not you"), "553 5.7.1 not you"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(450, "5.7.1 not you"), "450 4.2.0 5.7.1 not you"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(399, "odd"), "SMTPServerError"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(600, "odd"), "SMTPServerError"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(400, "odd"), "400 4.0.0 odd"),  # type: ignore[no-untyped-call]
        (smtp.SMTPServerError(599, "odd"), "599 5.0.0 odd"),  # type: ignore[no-untyped-call]
        (KeyError("x"), "KeyError"),
    ],
)
def test_its_errors_at_rcpt_are_the_answer(fault: Exception, words: str) -> None:
    for wrap in (None, fail):
        thing = Delivery()
        if wrap is None:
            thing.faults["to alice@example.org from "] = fault
        else:
            thing.wrap = lambda value: fail(fault)
        assert Bench(thing).refusal() == words


@each(
    ("code", "stage", "words", "told"),
    [
        (550, AT_MAIL, b"no", "550 5.7.1 no"), (550, AT_CONTENT, b"no", "550 5.7.1 no"),
        (554, AT_CONTENT, b"no", "554 5.6.0 no"), (554, AT_RCPT, b"no", "554 5.0.0 no"),
        (550, AT_RCPT, b"", "550 5.1.1 Refused"),
        (550, AT_RCPT, b"a\n\nb\x1b\xff", "550 5.1.1 a b?\ufffd"), (-1, AT_CONTENT, b"no connection", "None"),
        ("550", AT_RCPT, b"no", "None"),
    ],
)
def test_codes_have_statuses(code: Any, stage: Any, words: bytes, told: str) -> None:
    assert str(reply_of(smtp.SMTPServerError(code, words), stage)) == told  # type: ignore[no-untyped-call]


def test_a_client_s_error_with_a_code_is_the_peer_s_word() -> None:
    """Many a delivery hands mail on by ``twisted.mail.smtp.sendmail``."""
    thing = Delivery()
    thing.ends["alice"] = lambda: fail(smtp.SMTPDeliveryError(550, b"5.1.1 who?", b"log"))
    bench = Bench(thing)
    bench.deliver()
    assert bench.words == ["alice permanent 550 5.1.1 who?"]


@each("mailbox", [Mailbox("\xe4", "example.org"), Mailbox('a"b', "example.org")])
def test_addresses_that_it_cannot_be_told(mailbox: Mailbox) -> None:
    bench = Bench(Delivery())
    assert bench.refusal(mailbox) == "553 5.1.3 The address has no form that this service knows"
    bench.deliver(sender=mailbox)
    assert bench.words == ["alice permanent 553 5.1.7 The address has no form that this service knows"]
    bench.deliver([mailbox, ALICE])
    assert bench.words[1] == f"alice {TAKEN}"


def test_a_refused_sender_is_refused_for_all() -> None:
    thing = Delivery()
    bad = smtp.SMTPBadSender(ADDRESS)  # type: ignore[no-untyped-call]
    thing.faults["from sender@example.net"] = bad
    bench = Bench(thing)
    bench.deliver([ALICE, BOB])
    assert bench.words == [f"{who} permanent 550 5.7.1 Sender not acceptable" for who in ("alice", "bob")]
    thing.faults["from sender@example.net"] = KeyError("x")
    bench.deliver()
    assert bench.words == ["KeyError"]


@each(
    ("where", "fault", "words", "logged"),
    [
        ("to alice@example.org from sender@example.net", smtp.SMTPBadRcpt(ADDRESS),  # type: ignore[no-untyped-call]
         "permanent 550 5.1.1 Cannot receive for specified address", 0),
        ("to alice@example.org from sender@example.net", KeyError("x"),
         "temporary 451 4.3.0 old:Delivery failed (KeyError)", 1),
        ("make alice", smtp.SMTPServerError(554, "no"), "permanent 554 5.6.0 no", 0),  # type: ignore[no-untyped-call]
        ("make alice", OSError("full"), "temporary 451 4.3.0 old:Delivery failed (OSError)", 1),
        ("header alice", OSError("full"), "temporary 451 4.3.0 old:Delivery failed (OSError)", 1),
        ("header alice", TemporaryFault("later"), "temporary 451 4.3.0 old:Delivery failed (TemporaryFault)", 0),
        ("end alice", smtp.SMTPServerError(452, "full"), "temporary 452 4.3.1 full", 0),  # type: ignore[no-untyped-call]
        ("end alice", OSError("full"), "temporary 451 4.3.0 old:Delivery failed (OSError)", 1),
    ],
)
def test_trouble_with_one_recipient_is_its_own(
    where: str, fault: Exception, words: str, logged: int, logged_failures: LoggedFailures
) -> None:
    thing = Delivery()
    thing.faults[where] = fault

    def end() -> Any:
        if where == "end alice":
            raise fault

    thing.ends["alice"] = end
    bench = Bench(thing)
    bench.deliver([ALICE, BOB])
    assert sorted(bench.words) == [f"alice {words}", f"bob {TAKEN}"]
    assert len(logged_failures.take()) == logged
    assert (("alice", "lost") in thing.calls) == where.startswith(("header", "end"))
    assert ("bob", "lost") not in thing.calls


def test_a_line_that_it_refuses_ends_its_message_alone() -> None:
    thing = Delivery()
    thing.fault_at = b".dot"
    bench = Bench(thing)
    bench.deliver()
    assert bench.words == ["alice permanent 552 5.3.4 too much"]
    assert thing.calls[-2:] == [("alice", b".dot"), ("alice", "lost")]


def test_content_that_cannot_be_read_is_no_message() -> None:
    thing = Delivery()
    bench = Bench(thing)
    bench.deliver([ALICE, BOB], Pieces(b"a\r\n", fault=TemporaryFault("disk")))
    assert bench.words == ["TemporaryFault"]
    assert thing.calls[-2:] == [("alice", "lost"), ("bob", "lost")]


# --- what is cut off ------------------------------------------------------------------------------------------

def test_a_cut_off_attempt_says_what_it_knows() -> None:
    thing = Delivery()
    thing.ends["bob"] = Deferred
    bench = Bench(thing)
    bench.deliver([BOB, ALICE]).cancel()
    assert bench.words == ["bob temporary 451 4.3.0 The attempt ended before this recipient's turn", f"alice {TAKEN}"]
    assert thing.calls[-1] == ("bob", "lost")
    bench.deliver([BOB]).cancel()
    assert bench.words == ["CancelledError"]


@each("where", ["from", "to", "header"])
def test_cut_off_before_the_content(where: str) -> None:
    thing = Delivery()
    attempt: Any = Deferred()
    thing.wrap = lambda value: attempt if thing.calls[-1].startswith(where) else value
    bench = Bench(thing)
    bench.deliver([ALICE, BOB]).cancel()
    assert bench.words == ["CancelledError"]
    assert (("alice", "lost") in thing.calls) == (where == "header")


def test_a_cancellation_of_its_own_is_temporary() -> None:
    thing = Delivery()
    thing.ends["bob"] = lambda: fail(CancelledError())
    bench = Bench(thing)
    bench.deliver([ALICE, BOB])
    assert bench.words == [f"alice {TAKEN}",
                           "bob temporary 451 4.3.0 The attempt ended before this recipient's turn"]


def test_a_connection_lost_that_raises_is_borne() -> None:
    class Rude(Letter):
        def connectionLost(self) -> None:
            raise OSError("closed already")

    thing: Any = Delivery()
    thing.validateTo = lambda user: lambda: Rude(thing.calls, "alice", lambda: fail(smtp.SMTPServerError(550, "no")))
    bench = Bench(thing)
    bench.deliver()
    assert bench.words == ["alice permanent 550 5.7.1 no"]


# --- how much at once -----------------------------------------------------------------------------------------

def test_long_content_lets_others_have_their_turn() -> None:
    thing = Delivery()
    bench = Bench(thing)
    bench.deliver([ALICE, BOB], MemoryContent(b"x\r\n" * CALLS_IN_A_STEP))
    assert not bench.results
    bench.clock.advance(0)
    assert bench.words == [f"alice {TAKEN}", f"bob {TAKEN}"]
    assert len(thing.calls) == 2 * CALLS_IN_A_STEP + 1 + 4 * 2 + 2


@each(("count", "batches"), [(AT_ONCE, 1), (AT_ONCE + 1, 2)])
def test_so_many_messages_are_open_at_once(count: int, batches: int) -> None:
    thing = Delivery()
    bench = Bench(thing)
    bench.deliver([Mailbox(f"a{number}", "example.org") for number in range(count)])
    assert len(bench.words) == count
    ends = [call for call in thing.calls if isinstance(call, tuple) and call[1] == "end"]
    assert len(ends) == count
    first_end = thing.calls.index(("a0", "end"))
    made_before = sum(1 for call in thing.calls[:first_end] if str(call).startswith("make"))
    assert (count > made_before) == (batches == 2)
    assert thing.calls.count("from sender@example.net") == 1


def test_binary_content_is_made_lines_of() -> None:
    thing = Delivery()
    bench = Bench(thing)
    bench.deliver(content=MemoryContent(b"Subject: x\r\n\r\na\nb\0"), body=BodyType.BINARY)
    assert bench.words == [f"alice {TAKEN}"]
    assert not any(b"\n" in call[1] and b"Received" not in call[1] for call in thing.calls
                   if isinstance(call, tuple) and isinstance(call[1], bytes))


