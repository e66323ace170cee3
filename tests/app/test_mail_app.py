"""An application of handlers: who gets what, and what becomes of it whatever they do."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, inlineCallbacks, succeed
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

import mailgw
from mailgw.app.answers import Reject, Retry, TooComplex
from mailgw.app.incoming import HERE_LINES, HERE_OCTETS, LARGE_OCTETS, IncomingMessage
from mailgw.app.mail_app import MOST_HOPS, MOST_LEFT, MailApp
from mailgw.interfaces import IDeliveryBackend, IFilesJunk, IGateway, ITransactionalBackend, IUsesGateway
from mailgw.mail.authentication import NOT_TRIED, Authentication, MethodResult, Property
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.letter import LetterLimits, parse_letter
from mailgw.mail.parameters import MailParameters
from tests.app.running import LETTER, FakeGateway, begin, box, delivered, message, used, words
from tests.logged import LoggedFailures
from tests.tables import each


def result(work: Any) -> Any:
    found: list[Any] = []
    ensureDeferred(work).addBoth(found.append)
    assert found, "it waits"
    return found[0]


class Desk:
    """An application, and what its handlers were called with."""

    def __init__(self, **arguments: Any) -> None:
        self.app = app = MailApp(**arguments)
        self.gateway = used(app)
        self.calls: list[tuple[Any, ...]] = []

        @app.recipient("ticket+{number:int}@example.org")
        async def ticket(message: IncomingMessage, number: int) -> None:
            self.calls.append(("ticket", number))

        @app.recipient("{box:slug}@example.org")
        @app.recipient("{box:slug}+{tag}@example.org")
        def mailbox(message: IncomingMessage, box: str, tag: str = "") -> None:
            self.calls.append(("mailbox", box, tag))

        @app.recipient("vip@example.org", sender="*@example.net")
        def from_net(message: IncomingMessage) -> Deferred[None]:
            self.calls.append(("from_net",))
            return succeed(None)

        @app.recipient("vip@example.org", sender="bob@example.net")
        @inlineCallbacks
        def from_bob(message: IncomingMessage) -> Any:
            yield succeed(1)
            self.calls.append(("from_bob",))

        @app.recipient("in@{shop:slug}.example.org")
        @app.sender("<>")
        async def report(message: IncomingMessage, shop: str) -> None:
            self.calls.append(("report", shop))


def test_it_is_what_the_gateway_wants() -> None:
    desk = Desk()
    for interface in (IDeliveryBackend, ITransactionalBackend, IUsesGateway):
        assert verifyObject(interface, desk.app)
    assert verifyObject(IGateway, FakeGateway())
    assert not IFilesJunk.providedBy(desk.app)
    assert IFilesJunk.providedBy(MailApp(files_junk=True))
    assert (mailgw.MailApp, mailgw.Reject, mailgw.Retry) == (MailApp, Reject, Retry)
    assert mailgw.TooComplex is TooComplex
    with pytest.raises(AttributeError):
        mailgw.MailAp  # noqa: B018


@each(
    ("recipient", "sender", "calls", "lane"),
    [
        ("Ticket+12@Example.org", "bob@example.net", [("ticket", 12)], "ticket"),
        ("ticket+x@example.org", "bob@example.net", [("mailbox", "ticket", "x")], "mailbox"),
        ("a@example.org", None, [("mailbox", "a", "")], "mailbox"),
        ("vip@example.org", "bob@example.net", [("from_bob",)], "from_bob"),
        ("vip@example.org", "ann@example.net", [("from_net",)], "from_bob"),
        ("vip@example.org", "ann@example.com", [("mailbox", "vip", "")], "from_bob"),
        ("in@blue.example.org", None, [("report", "blue")], "report"),
    ],
)
def test_the_most_specific_handler_has_it(
    recipient: str, sender: str | None, calls: list[tuple[Any, ...]], lane: str
) -> None:
    desk = Desk()
    [outcome] = delivered(desk.app, message(sender=sender), recipient)
    assert words(outcome) == "delivered 2.0.0 Handled"
    assert desk.calls == calls
    assert desk.app.lane(box(recipient)) == lane
    assert result(desk.app.refusal(box(recipient))) is None


def test_who_is_nobody_s() -> None:
    desk = Desk()
    assert str(result(desk.app.refusal(box("a.b@example.org")))) == "550 5.1.1 <a.b@example.org>: no such address here"
    assert desk.app.lane(box("a.b@example.org")) == ""
    known, unknown, unwanted = delivered(
        desk.app, message(), "a@example.org", "a.b@example.org", "in@blue.example.org")
    assert known.is_delivered
    assert words(unknown) == "permanent 5.1.1 <a.b@example.org>: no such address here"
    assert words(unwanted) == "permanent 5.7.1 <in@blue.example.org> takes no mail from this sender"

    @desk.app.default
    def others(message: IncomingMessage) -> None:
        desk.calls.append(("others", str(message.recipient)))

    assert result(desk.app.refusal(box("a.b@example.org"))) is None
    assert all(one.is_delivered for one in delivered(desk.app, message(), "a.b@example.org", "in@b.example.org"))
    assert desk.calls[1:] == [("others", "a.b@example.org"), ("others", "in@b.example.org")]


def test_routes_and_addresses() -> None:
    app = Desk().app
    assert set(app.routes) == {"@example.org", "@.example.org"}
    assert str(app.address_for("ticket", number=7)) == "ticket+7@example.org"
    assert str(app.address_for("mailbox", box="a")) == "a@example.org"
    for name, fields in (("ticket", {"number": "x"}), ("ticket", {}), ("none", {})):
        with pytest.raises(ValueError, match=r"ticket|no handler"):
            app.address_for(name, **fields)


def one(message: Any) -> None:
    """A handler."""


def two(message: Any, n: Any = 0) -> None:
    """Another."""


def generator(message: Any) -> Any:
    yield 1


@each(
    ("write", "why"),
    [
        (lambda app: app.recipient("{n:int}@x.test")(one), r"one takes \(message.*would be called with \(message, n\)"),
        (lambda app: app.recipient("{n}@x.test"), None),
        (lambda app: app.recipient("nobody"), "such as"),
        (lambda app: app.recipient("a@x.test", when="soon"), '"queued" or "transaction"'),
        (lambda app: app.recipient("a@x.test", sender="x"), "expected a sender"),
        (lambda app: (app.recipient("{n}+a@x.test")(two), app.recipient("a+{n}@x.test")(two)), r"both match a\+a@x"),
        (lambda app: (app.recipient("{n}@x.test")(two), app.recipient("{m}@x.test")(lambda message, m: 1)),
         "same addresses: one of them is superfluous, or narrow it by sender="),
        (lambda app: (app.recipient("{n}@x.test")(two),
                      app.recipient("{m}@x.test", sender="<>")(lambda message, m: 1)),
         "same addresses: give their fields equal names"),
        (lambda app: (app.recipient("{n}@x.test")(two), app.recipient("{n}@X.test")(two)), "two has {n}@X.test"),
        (lambda app: (app.recipient("a@x.test")(one), app.recipient("b@x.test")(one)), None),
        (lambda app: (app.default(one), app.default(two)), "two: one has the default already"),
        (lambda app: (app.recipient("a@x.test")(one), app.sender("<>")(one)), "stands below"),
        (lambda app: (app.sender("<>")(one), app.sender("*@x.test")(one)), "is enough"),
        (lambda app: (app.sender("<>")(one), app.recipient("a@x.test", sender="<>")(one)), "said twice"),
        (lambda app: app.recipient("a@x.test")(generator), "yield"),
        (lambda app: app.recipient("a@x.test")(5), "a function, not a int"),
        (lambda app: (app.recipient("a@x.test")(lambda message: 1), app.recipient("b@x.test")(lambda message: 2)),
         "two handlers"),
    ],
)
def test_faults_where_it_is_written(write: Callable[[MailApp], object], why: str | None) -> None:
    if why is None:
        write(MailApp())
    else:
        with pytest.raises(ValueError, match=why):
            write(MailApp())


@each(
    ("arguments", "is_fault"),
    [
        ({"concurrency": 1}, False), ({"concurrency": 0}, True), ({"concurrency": True}, True),
        ({"deadline": "0s"}, True),
        ({"deadline": 0.5}, False), ({"deadline": "soon"}, True), ({"transaction_deadline": "3m"}, False),
        ({"transaction_deadline": 180.5}, True),
        ({"author": "Desk <desk@example.org>"}, False), ({"author": "x"}, True),
    ],
)
def test_arguments(arguments: dict[str, Any], is_fault: bool) -> None:
    if is_fault:
        with pytest.raises(ValueError, match="expected"):
            MailApp(**arguments)
    else:
        MailApp(**arguments)


# --- what becomes of it -----------------------------------------------------------------------------------

def answering(word: Any) -> MailApp:
    """An application whose handler raises or returns that."""
    app = MailApp()
    used(app)

    @app.recipient("a@x.test")
    async def handler(message: IncomingMessage) -> Any:
        if isinstance(word, BaseException):
            raise word
        return word

    return app


@each(
    ("word", "said", "after"),
    [
        (None, "delivered 2.0.0 Handled", None),
        (Reject("no such ticket", "5.1.1"), "permanent 5.1.1 no such ticket", None),
        (Reject("two\r\n lines"), "permanent 5.7.1 two lines", None),
        (Reject("\x1b]0;a\x07\0\ud800ü"), "permanent 5.7.1 ?]0;a???ü", None),
        (Retry("later"), "temporary 4.3.0 later", None),
        (Retry("later", after="10m", status="4.2.1"), "temporary 4.2.1 later", 600.0),
        (Retry("w" * 501, after=1.5), "temporary 4.3.0 " + "w" * 500, 1.5),
        (TooComplex("x"), "permanent 5.6.0 The message cannot be read: x", None),
        (TemporaryFault("db down"), "temporary 4.3.0 db down", None),
    ],
)
def test_what_a_handler_says(word: Any, said: str, after: float | None) -> None:
    [outcome] = delivered(answering(word), message(), "a@x.test")
    assert words(outcome) == said
    assert outcome.again_after_seconds == after
    assert outcome.hop == "handler"


@each(
    ("word", "said"),
    [
        (KeyError("secret"), "KeyError"), ("ok", "Returned"), (True, "Returned"), (Reject("x"), None),
        (RecursionError(), "RecursionError"), (SystemExit(1), "SystemExit"), (KeyboardInterrupt(), "KeyboardInterrupt"),
        (CancelledError(), "CancelledError"),
    ],
)
def test_a_bug_of_a_handler_is_a_retry(word: Any, said: str | None, logged_failures: LoggedFailures) -> None:
    [outcome] = delivered(answering(word), message(), "a@x.test")
    if said is None:
        assert not outcome.is_delivered
        return
    assert words(outcome) == f"temporary 4.3.0 The application failed ({said})"
    assert len(logged_failures.take()) == 1


@each("is_running", [False, True])
def test_who_awaits_asyncio_is_told_how(is_running: bool, logged_failures: LoggedFailures) -> None:
    app, loop = MailApp(), asyncio.new_event_loop()

    @app.recipient("a@x.test")
    async def handler(message: IncomingMessage) -> None:
        await (loop.create_future() if is_running else asyncio.sleep(1))

    with capturedLogs() as logs:
        assert not delivered(app, message(), "a@x.test")[0].is_delivered
    loop.close()
    [fault] = logged_failures.take()
    assert str(fault) == ("await wasn't used with future" if is_running else "no running event loop")
    assert "handler handler failed with Q1 for a@x.test: what is asyncio's is awaited by" in str(formatEvent(logs[0]))


@each("fault", [SystemExit(1), CancelledError(), ValueError()])
def test_a_bug_costs_no_other_recipient_what_is_known_of_him(
    fault: BaseException, logged_failures: LoggedFailures
) -> None:
    app = MailApp()

    @app.default
    async def handler(message: IncomingMessage) -> None:
        if message.recipient.local_part == "b":
            raise fault

    outcomes = delivered(app, message(), "a@x.test", "b@x.test", "c@x.test")
    assert [one.is_delivered for one in outcomes] == [True, False, True]
    assert len(logged_failures.take()) == 1


@each("make", [
    lambda: Retry("x", after=0), lambda: Retry("x", after="soon"), lambda: Retry("x", status="5.1.1"),
    lambda: Reject("x", "4.1.1"), lambda: Reject("x", "5.1.1 "), lambda: Reject("x", "550"),
])
def test_words_that_are_none(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


def test_middleware_is_around_it_in_its_order() -> None:
    app = MailApp()
    order: list[str] = []

    @app.middleware
    async def outer(message: IncomingMessage, call_next: Any) -> None:
        order.append("outer")
        try:
            await call_next(message)
        except KeyError:
            raise Reject("not found", "5.1.1") from None
        order.append("out")

    @app.middleware
    async def inner(message: IncomingMessage, call_next: Any) -> Any:
        order.append("inner")
        if message.subject != "skip":
            return await call_next(message)
        return None

    @app.recipient("{name}@x.test")
    def handler(message: IncomingMessage, name: str) -> None:
        order.append(name)
        if name == "gone":
            raise KeyError(name)

    assert delivered(app, message(), "a@x.test")[0].is_delivered
    assert order == ["outer", "inner", "a", "out"]
    assert words(delivered(app, message(), "gone@x.test")[0]) == "permanent 5.1.1 not found"
    order.clear()
    assert delivered(app, message(b"Subject: skip\r\n\r\n"), "a@x.test")[0].is_delivered
    assert order == ["outer", "inner", "out"]


# --- time -------------------------------------------------------------------------------------------------

def waiting(app: MailApp, stubborn: bool = False, knows: bool = False) -> list[Deferred[None]]:
    """Gives it a handler that waits, for as long as its Deferreds in the list do."""
    waits: list[Deferred[None]] = []

    @app.recipient("{name}@x.test", when="transaction")
    async def slow(message: IncomingMessage, name: str) -> None:
        if name == "quick":
            return
        waits.append(Deferred())
        try:
            await waits[-1]
        except CancelledError:
            if not (stubborn or knows):
                raise
        if stubborn:
            waits.append(Deferred(lambda _: None))
            await waits[-1]

    return waits


TOO_LONG = "temporary 4.3.0 The application took longer than 300 seconds"


def test_who_takes_too_long_is_cancelled_and_the_next_one_has_its_turn() -> None:
    app = MailApp()
    waits, gateway = waiting(app), used(app)
    _, found = begin(app, message(), "a@x.test", "quick@x.test")
    gateway.reactor.advance(299.9)
    assert found == []
    gateway.reactor.advance(0.1)
    assert [words(outcome) for outcome in found[0].values()] == [TOO_LONG, "delivered 2.0.0 Handled"]
    assert waits[0].called
    assert gateway.reactor.getDelayedCalls() == []


def test_who_ends_in_time_leaves_no_timer() -> None:
    app = MailApp(deadline=10)
    waits, gateway = waiting(app), used(app)
    _, found = begin(app, message(), "a@x.test")
    gateway.reactor.advance(9.9)
    waits[0].callback(None)
    assert [outcome.is_delivered for outcome in found[0].values()] == [True]
    assert gateway.reactor.getDelayedCalls() == []


def test_what_a_cancelled_one_says_counts() -> None:
    app = MailApp()
    waiting(app, knows=True)
    gateway = used(app)
    _, found = begin(app, message(), "a@x.test")
    gateway.reactor.advance(300)
    assert [outcome.is_delivered for outcome in found[0].values()] == [True]


def test_who_does_not_end_is_left_alone(logged_failures: LoggedFailures) -> None:
    app = MailApp()
    waits, gateway = waiting(app, stubborn=True), used(app)
    _, found = begin(app, message(), "a@x.test")
    gateway.reactor.advance(300)
    assert [words(outcome) for outcome in found[0].values()] == [TOO_LONG]
    waits[-1].errback(RuntimeError("late"))  # which nobody hears any more, but the log
    assert len(logged_failures.take()) == 1


@each("is_cut_off", [False, True])
def test_calls_that_do_not_end_have_an_end(is_cut_off: bool) -> None:
    app = MailApp()
    waits, gateway = waiting(app, stubborn=True), used(app)
    for number in range(MOST_LEFT):
        work, found = begin(app, message(), "a@x.test")
        assert len(waits) == number * 2 + 1
        if is_cut_off:
            work.cancel()
        else:
            gateway.reactor.advance(300)
        assert found
        assert gateway.reactor.getDelayedCalls() == []
    [outcome] = delivered(app, message(), "a@x.test")
    assert words(outcome) == "temporary 4.3.0 The application has 100 calls under way that do not end"
    waits[1].callback(None)  # one did, after all
    _, found = begin(app, message(), "a@x.test")
    assert found == []
    for _ in range(2):
        waits[-1].callback(None)
    assert found[0][box("a@x.test")].is_delivered


def test_a_stop_keeps_what_is_known() -> None:
    app = MailApp()
    waiting(app)
    gateway = used(app)
    work, found = begin(app, message(), "quick@x.test", "a@x.test", "b@x.test")
    work.cancel()
    assert [outcome.permanence.value for outcome in found[0].values()] == ["delivered", "temporary", "temporary"]
    work, found = begin(app, message(), "a@x.test")
    work.cancel()
    assert found[0].check(CancelledError)
    app = MailApp()
    waiting(app, knows=True)
    used(app)
    work, found = begin(app, message(), "a@x.test", "b@x.test")
    work.cancel()
    assert [outcome.permanence.value for outcome in found[0].values()] == ["delivered", "temporary"]
    assert gateway.reactor.getDelayedCalls() == []


def test_without_a_gateway_nobody_counts_the_time() -> None:
    app = MailApp()
    waits = waiting(app)
    _, found = begin(app, message(b"A: b\r\n\r\n" + b"x" * HERE_OCTETS), "a@x.test")
    waits[0].callback(None)
    assert len(found) == 1


# --- in the transaction -----------------------------------------------------------------------------------

def test_in_the_transaction() -> None:
    app = MailApp(transaction_deadline="30s")
    waits, gateway = waiting(app), used(app)
    keys: list[str] = []

    @app.recipient("queued@x.test")
    def queued(message: IncomingMessage) -> None:
        keys.append(message.key)

    @app.recipient("key@x.test", when="transaction")
    def key(message: IncomingMessage) -> None:
        keys.append(message.key)
        raise Reject("no", "5.1.1")

    assert result(app.in_transaction(message(), box("queued@x.test"))) is None
    assert result(app.in_transaction(message(), box("a+b@x.test"))) is None
    assert words(result(app.in_transaction(message(), box("key@x.test")))) == "permanent 5.1.1 no"
    delivered(app, message(), "key@x.test")
    assert keys == ["Q1 key@x.test"] * 2
    found: list[Any] = []
    Deferred.fromCoroutine(app.in_transaction(message(), box("a@x.test"))).addBoth(found.append)
    gateway.reactor.advance(29.9)
    assert not found
    gateway.reactor.advance(0.1)
    assert words(found[0]) == "temporary 4.3.0 The application took longer than 30 seconds"
    assert waits[0].called


def test_in_transactions_there_are_so_many_at_once() -> None:
    app = MailApp(concurrency=2)
    waits = waiting(app)
    used(app)
    found: list[Any] = []
    for _ in range(3):
        Deferred.fromCoroutine(app.in_transaction(message(), box("a@x.test"))).addBoth(found.append)
    assert [words(outcome) for outcome in found] == ["temporary 4.3.2 Too many at once, please try again later"]
    assert len(waits) == 2
    waits[0].callback(None)
    Deferred.fromCoroutine(app.in_transaction(message(), box("a@x.test"))).addBoth(found.append)
    assert len(waits) == 3
    for wait in waits[1:]:
        wait.callback(None)
    assert [outcome.is_delivered for outcome in found] == [False, True, True, True]


class Object:
    def take(self, message: IncomingMessage) -> None:
        """A handler."""


def test_a_method_of_an_object_may_have_two_patterns() -> None:
    app, one = MailApp(), Object()
    for pattern in ("a@x.test", "b@x.test"):
        app.recipient(pattern)(one.take)
    assert delivered(app, message(), "b@x.test")[0].is_delivered


# --- the message ------------------------------------------------------------------------------------------

def looking(look: Callable[[IncomingMessage], Any], **arguments: Any) -> tuple[MailApp, list[Any], FakeGateway]:
    app, seen = MailApp(**arguments), []

    @app.recipient("{name}@x.test")
    def handler(message: IncomingMessage, name: str) -> None:
        seen.append(look(message))

    return app, seen, used(app)


OUR_WORD = b"Authentication-Results: mx.example.org;\r\n\tdmarc=pass header.from=x.test\r\n"


@each(("octets", "changes", "found"), [
    (OUR_WORD + LETTER, {}, "dmarc=pass header.from=x.test"),
    (OUR_WORD + LETTER, {"is_ours": True}, ""),
    (OUR_WORD + LETTER, {"is_ours": True, "login": "bob@x.test"}, "auth=pass smtp.auth=bob@x.test"),
    (b"Received: by x\r\n" + OUR_WORD + LETTER, {}, ""),
    (OUR_WORD.replace(b"mx.example", b"other.example") + LETTER, {}, ""),
    (OUR_WORD + b"X: " + b"x" * HERE_OCTETS + b"\r\n" + LETTER, {}, "dmarc=pass header.from=x.test"),
])
def test_who_sent_it_is_what_we_found_ourselves(octets: bytes, changes: dict[str, Any], found: str) -> None:
    app, seen, _ = looking(lambda message: (message.text, message.authentication))
    delivered(app, attrs.evolve(message(octets), **{"login": "", **changes}), "me@x.test")
    [(_, authentication)] = seen
    assert " ".join(map(str, authentication)) == found
    assert authentication.found_by == ("mx.example.org" if found else "")


def test_without_a_gateway_nobody_says_who_sent_it() -> None:
    app, seen = MailApp(), []

    @app.default
    def handler(message: IncomingMessage) -> None:
        seen.append(message.authentication)

    delivered(app, attrs.evolve(message(OUR_WORD + LETTER), login=""), "me@x.test")
    assert seen == [NOT_TRIED]


def test_what_a_handler_sees() -> None:
    octets = (
        b"From: Bob <bob@example.net>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nX-A: b\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n--x\r\n"
        b"Content-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nPNG\r\n--x--\r\n"
    )
    app, seen, _ = looking(lambda message: (
        message.queue_id, str(message.recipient), str(message.reverse_path), message.login, message.client,
        message.key, message.size_octets, str(message.author), message.subject,
        message.headers["x-a"], message.text,
        message.html,
        [(a.filename, a.octets) for a in message.attachments], message.authentication, message.fault, message.tags,
        message.is_automatic, repr(message),
    ))
    delivered(app, message(octets), "me@x.test")
    assert seen == [(
        "Q1", "me@x.test", "bob@example.net", "bob", "192.0.2.1", "Q1 me@x.test", len(octets), "bob@example.net",
        "Grüße", "b", "hello", "", [("a.png", b"PNG")],
        Authentication((MethodResult("auth", "pass", "", (Property("smtp", "auth", "bob"),)),), "mx.example.org"),
        None, (), False,
        "<message Q1 for me@x.test>",
    )]
    app, seen, _ = looking(lambda message: (message.author, message.is_automatic, message.is_junk))
    delivered(app, message(sender=None), "me@x.test")
    junk = attrs.evolve(message(sender=None), parameters=MailParameters(tags=("a", "junk")))
    delivered(app, junk, "me@x.test")
    assert seen == [(None, True, False), (None, True, True)]


@each(
    ("body", "jobs"),
    [
        (b"x" * (HERE_OCTETS - 8), 0), (b"x" * (HERE_OCTETS - 7), 1), (b"\r\n" * (HERE_LINES - 2), 0),
        (b"\r\n" * (HERE_LINES - 1), 1), (b"\r" * (HERE_LINES - 2), 0), (b"\r" * (HERE_LINES - 1), 1),
    ],
)
def test_a_large_message_is_read_in_a_thread_once(body: bytes, jobs: int) -> None:
    app, seen, gateway = looking(lambda message: len(message.text))
    delivered(app, message(b"A: b\r\n\r\n" + body), "a@x.test", "b@x.test")
    assert seen == [len(body.replace(b"\r\n", b"\n"))] * 2
    assert gateway.reactor.pool.jobs == jobs


@each(("octets", "at_once"), [(LARGE_OCTETS, 3), (LARGE_OCTETS + 1, 1)])
def test_of_large_messages_one_is_read_at_a_time(octets: int, at_once: int) -> None:
    app, seen, gateway = looking(lambda message: len(message.text))
    work: list[Any] = []
    gateway.reactor.pool.callInThreadWithCallback = (  # type: ignore[method-assign]
        lambda on_result, read: work.append(lambda: on_result(True, read())))
    given = message(b"A: b\r\n\r\n" + b"x" * (octets - 8))
    for _ in range(3):
        _, found = begin(app, given, "a@x.test")
    while work:
        assert len(work) == min(at_once, 3 - len(seen))
        work.pop(0)()
    assert len(seen) == 3
    assert len(found) == 1


@each(("octets", "fault"), [(1000, None), (1001, "it has 1001 octets, more than 1000")])
def test_what_is_beyond_a_limit_is_handed_over_and_goes_back_where_it_is_read(octets: int, fault: str | None) -> None:
    limits = LetterLimits(octets=1000, header_octets=100)
    given = message(b"Subject: s\r\n\r\n" + b"x" * (octets - 14))
    app, seen, _ = looking(lambda message: (message.subject, message.fault), limits=limits)
    assert delivered(app, given, "a@x.test")[0].is_delivered
    assert seen == [("s", fault)]
    for look in (lambda message: message.text, lambda message: message.html, lambda message: message.attachments):
        app, seen, _ = looking(look, limits=limits)
        [outcome] = delivered(app, given, "a@x.test")
        assert outcome.is_delivered is (fault is None)
        assert fault is None or words(outcome) == f"permanent 5.6.0 The message cannot be read: {fault}"


# --- sending ----------------------------------------------------------------------------------------------

def test_sending() -> None:
    app = MailApp(author="Help Desk <desk@example.org>")
    gateway = used(app)
    assert result(app.send(
        to=["Ann <ann@example.net>", "bob@example.net"], subject="Hi", text="x\n", cc=["c@example.net"],
        bcc=["hidden@example.net", "bob@example.net"], headers={"Reply-To": "ticket+1@example.org"},
    )) == "OWN1"
    [(path, recipients, octets)] = gateway.sent
    assert str(path) == "desk@example.org"
    assert recipients == ["ann@example.net", "bob@example.net", "c@example.net", "hidden@example.net"]
    assert octets.startswith(
        b"From: Help Desk <desk@example.org>\r\nTo: Ann <ann@example.net>,\r\n\tbob@example.net\r\n"
        b"Cc: c@example.net\r\nSubject: Hi\r\nDate: Tue, 24 Nov 2026 08:46:40 +0000\r\nMessage-ID: <")
    assert b"@mx.example.org>\r\nReply-To: ticket+1@example.org\r\n" in octets
    assert b"hidden" not in octets
    assert result(app.send("a@b.test", raw=b"Subject: raw\n\nx\n", author="me@x.test", reverse_path=None)) == "OWN2"
    path, recipients, octets = gateway.sent[1]
    assert (path, recipients) == (None, ["a@b.test"])
    assert octets.endswith(b"@mx.example.org>\r\nSubject: raw\r\n\r\nx\r\n")
    result(app.send("a@b.test", reverse_path="bounces@x.test"))
    assert str(gateway.sent[2][0]) == "bounces@x.test"


@each(
    "arguments",
    [
        {"to": "nobody"}, {"to": None}, {"to": "a@b.test\r\nBcc: c@d.test"}, {"to": "a@b.test", "subject": "a\nb"},
        {"to": "a@b.test", "headers": {"X-A": "a\r\nb"}}, {"to": "a@b.test", "raw": b"A: b\r\n\r\n", "subject": "x"},
        {"to": "a@b.test", "author": "x"}, {"to": "a@b.test", "reverse_path": "x"}, {"to": "a@b.test", "raw": b"x"},
    ],
)
def test_what_is_not_sent(arguments: dict[str, Any]) -> None:
    app = MailApp(author="desk@example.org")
    gateway = used(app)
    assert result(app.send(**arguments)).check(ValueError)
    assert gateway.sent == []


@each(("said", "hops"), [
    (None, 1), (b"3", 4), (b"%d" % (MOST_HOPS - 1), MOST_HOPS), (b"%d" % MOST_HOPS, None), (b"999", None), (b"-1", 1),
    (b"9" * 5000, 1), (b"x", 1), (b"2\r\nMailgw-Hops: 999", 3),
])
def test_what_handlers_send_on_and_on_has_an_end(said: bytes | None, hops: int | None) -> None:
    app, gateway = MailApp(author="a@x.test"), FakeGateway()
    app.use(gateway)
    raw = b"Mailgw-Hops: 7\r\n\r\n"

    @app.default
    async def handler(message: IncomingMessage) -> None:
        await deferLater(gateway.reactor, 1)
        await app.send("b@x.test")
        await app.send("b@x.test", raw=raw)

    header = b"" if said is None else b"Mailgw-Hops: %s\r\n" % said
    _, found = begin(app, message(header + LETTER), "a@x.test")
    assert result(app.send("c@x.test")) == "OWN1", "by nobody's handler"
    gateway.reactor.advance(1)
    assert found[0][box("a@x.test")].is_delivered is (hops is not None)
    told = [parse_letter(octets, LetterLimits()).fields.get("mailgw-hops") for _, _, octets in gateway.sent]
    assert told == [None] + ([] if hops is None else [str(hops)] * 2)


def test_no_room_no_gateway_no_author() -> None:
    app = MailApp(author="desk@example.org")
    assert result(app.send("a@b.test")).check(TemporaryFault)
    used(app).is_full = True
    assert result(app.send("a@b.test")).check(TemporaryFault)
    app = MailApp()
    used(app)
    assert result(app.send("a@b.test")).check(ValueError)


@each("write", ["await", "forget", "plain", "return", "yield", "nested"])
@each("is_full", [False, True])
def test_who_forgets_to_await_loses_nothing(write: str, is_full: bool, logged_failures: LoggedFailures) -> None:
    app = MailApp(author="desk@example.org")
    gateway = used(app)

    async def nested() -> None:
        _ = app.send("a@b.test", "nested")

    @app.recipient("await@x.test")
    async def awaits(message: IncomingMessage) -> None:
        await app.send("a@b.test", "await")

    @app.recipient("forget@x.test")
    async def forgets(message: IncomingMessage) -> None:
        _ = app.send("a@b.test", "forget")

    @app.recipient("nested@x.test")
    async def nests(message: IncomingMessage) -> None:
        await nested()

    @app.recipient("plain@x.test")
    def plain(message: IncomingMessage) -> None:
        _ = app.send("a@b.test", "plain")

    @app.recipient("return@x.test")
    def returns(message: IncomingMessage) -> Any:
        return app.send("a@b.test", "return")

    @app.recipient("yield@x.test")
    @inlineCallbacks
    def yields(message: IncomingMessage) -> Any:
        yield app.send("a@b.test", "yield")

    gateway.is_full = is_full
    [outcome] = delivered(app, message(), f"{write}@x.test")
    assert words(outcome) == ("temporary 4.3.0 no room" if is_full else "delivered 2.0.0 Handled")
    assert [f"Subject: {write}\r\n".encode() in octets for *_, octets in gateway.sent] == [True] * (not is_full)


def test_a_handler_is_done_when_what_it_sends_is_on_disk(logged_failures: LoggedFailures) -> None:
    app = MailApp(author="desk@example.org")
    gateway = used(app)
    disk: Deferred[str] = Deferred()

    async def send(*_: Any) -> str:
        return await disk

    gateway.send = send  # type: ignore[method-assign]
    caught: list[BaseException] = []

    @app.recipient("a@x.test")
    async def forgets(message: IncomingMessage) -> None:
        _ = app.send("a@b.test")

    @app.recipient("b@x.test")
    async def catches(message: IncomingMessage) -> None:
        try:
            await app.send("nobody")
        except ValueError as fault:
            caught.append(fault)

    @app.recipient("c@x.test")
    async def bug(message: IncomingMessage) -> None:
        _ = app.send("nobody")

    _, found = begin(app, message(), "a@x.test")
    assert not found
    disk.callback("OWN1")
    assert found[0][box("a@x.test")].is_delivered
    assert delivered(app, message(), "b@x.test")[0].is_delivered
    assert len(caught) == 1
    assert words(delivered(app, message(), "c@x.test")[0]) == "temporary 4.3.0 The application failed (ValueError)"
    assert [type(one) for one in logged_failures.take()] == [ValueError]
    disk = Deferred()
    work, found = begin(app, message(), "a@x.test")
    work.cancel()
    assert found[0].check(CancelledError)


def test_another_thread_is_told_how() -> None:
    app = MailApp(author="desk@example.org")
    gateway = used(app)
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            _ = app.send("a@b.test")
        except RuntimeError as fault:
            raised.append(fault)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "blockingCallFromThread(reactor, app.send, ...)" in str(raised[0])
    assert gateway.sent == []
