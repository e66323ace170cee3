from collections.abc import Callable, Sequence
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from mailgw.app.mail_app import MailApp
from mailgw.deliver.refusal import refusal
from mailgw.deliver.supervised import REFUSAL_SECONDS, SupervisedBackend
from mailgw.interfaces import IDeliveryBackend, ILimitedHere, IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.mail.outcome import Outcome, Permanence, Scope, Secured, permanent, refused, temporary
from mailgw.mail.reply import Reply
from tests.app.running import message, used
from tests.logged import LoggedFailures
from tests.tables import each

BOB = Mailbox("bob", "example.org")
NO = Reply(550, "5.1.1", ("no",))


@implementer(IDeliveryBackend, ILimitedHere)
class Own:
    concurrency = 3

    def __init__(self, says: Callable[[], Any]) -> None:
        self.says = says

    def lane(self, recipient: Mailbox) -> str:
        return recipient.domain

    def refusal(self, recipient: Mailbox) -> Any:
        return self.says()

    def deliver(self, message: Any, recipients: Sequence[Mailbox]) -> Any:
        return self.says()


class Message:
    queue_id = "q1"


class Bench:
    def __init__(self, says: Callable[[], Any]) -> None:
        self.clock: Any = Clock()
        self.facts: list[Event] = []
        own: Any = Own(says)
        self.backend: Any = SupervisedBackend("own", own, self.clock, self.facts.append)

    def asked(self) -> list[Any]:
        found: list[Any] = []
        answer = Deferred.fromCoroutine(refusal("own", self.backend, BOB, self.facts.append))
        answer.addBoth(found.append)
        return found

    def delivered(self) -> "tuple[Deferred[Any], list[Any]]":
        found: list[Any] = []
        answer = Deferred.fromCoroutine(self.backend.deliver(Message(), [BOB]))
        answer.addBoth(found.append)
        return answer, found


def hangs() -> Any:
    return Deferred()


def raises() -> Any:
    raise ValueError("its own")


def test_it_is_what_the_backend_is() -> None:
    backend = Bench(lambda: None).backend
    assert (backend.concurrency, backend.lane(BOB)) == (3, "example.org")
    assert IDeliveryBackend.providedBy(backend)
    assert ILimitedHere.providedBy(backend)
    assert not IShapedBackend.providedBy(backend)


@each("says", [None, NO, Reply(450, "4.2.1", ("full",))])
def test_its_word_at_rcpt(says: Reply | None) -> None:
    bench = Bench(lambda: says)
    assert bench.asked() == [says]
    assert bench.facts == []


@each(("does", "why"), [
    (hangs, "did not answer within 30 s"),
    (raises, "raised ValueError"),
    (lambda: True, "answered nonsense: True, where None or a Reply of 400 to 599 was expected"),
    (lambda: Reply(250, "", ("ok",)), "answered nonsense: Reply(code=250"),
])
def test_trouble_is_never_no_such_user(logged_failures: LoggedFailures, does: Callable[[], Any], why: str) -> None:
    bench = Bench(does)
    answer = bench.asked()
    bench.clock.advance(REFUSAL_SECONDS)
    (reply,) = answer
    assert (reply.code, reply.status) == (451, "4.3.0")
    (trouble,) = bench.facts
    assert isinstance(trouble, Trouble)
    assert trouble.what == "backend own"
    assert trouble.why.startswith(why)
    assert len(logged_failures.take()) == (1 if does is raises else 0)


def test_its_own_temporary_fault_passes() -> None:
    def unwell() -> None:
        raise TemporaryFault("no database", Reply(450, "4.4.3", ("later",)))

    assert Bench(unwell).asked() == [Reply(450, "4.4.3", ("later",))]


def test_an_attempt_that_does_not_heed_its_end_is_not_waited_for() -> None:
    gate: Deferred[None] = Deferred()

    async def stubborn() -> None:
        try:
            await Deferred()
        except CancelledError:
            await gate

    bench = Bench(stubborn)
    answer, found = bench.delivered()
    answer.cancel()
    assert [type(one.value) for one in found] == [CancelledError]
    gate.callback(None)


def test_an_attempt_that_ends_at_once_says_what_it_knows() -> None:
    async def heeds() -> dict[Mailbox, str]:
        try:
            await Deferred()
        except CancelledError:
            return {BOB: "known"}
        return {}

    answer, found = Bench(heeds).delivered()
    answer.cancel()
    assert found == [{BOB: "known"}]


GOOD = refused(NO, Scope.RECIPIENT, "own")


@each(("outcome", "why"), [
    (GOOD, None), (attrs.evolve(GOOD, again_after_seconds=float("inf")), None),
    (attrs.evolve(GOOD, reply=Reply(250, "", ("fine",)), secured=Secured("TLSv1.3", "", "none")), None),
    (attrs.evolve(GOOD, reply=Reply(550, "5.1.1", (None,))), "the reply has no text"),
    (attrs.evolve(GOOD, reply=Reply(550, "5.1.1", ())), "the reply has no text"),
    (attrs.evolve(GOOD, reply=Reply(199, "5.1.1", ("a",))), "is no Reply of 200 to 599"),
    (attrs.evolve(GOOD, reply=Reply(600, "5.1.1", ("a",))), "is no Reply of 200 to 599"),
    (attrs.evolve(GOOD, reply=None), "a NoneType is no Reply"),
    (attrs.evolve(GOOD, permanence="permanent"), "are no Permanence and Scope"),
    (attrs.evolve(GOOD, scope=None), "are no Permanence and Scope"),
    (attrs.evolve(GOOD, again_after_seconds=float("nan")), "is no time to try again after"),
    (attrs.evolve(GOOD, again_after_seconds=0), "is no time to try again after"),
    (attrs.evolve(GOOD, again_after_seconds="1s"), "is no time to try again after"),
    (attrs.evolve(GOOD, hop=None), "is no text"), (attrs.evolve(GOOD, source=b""), "is no text"),
    (attrs.evolve(GOOD, words=None), "is no text"),
    (attrs.evolve(GOOD, secured="TLS"), "a str is no Secured"),
])
def test_what_it_says_of_a_recipient_can_be_judged_and_written_down(outcome: Outcome, why: str | None) -> None:
    bench = Bench(lambda: {BOB: outcome})
    _, [found] = bench.delivered()
    taken: list[Any] = []
    bench.backend.inner.in_transaction = lambda message, recipient: outcome
    Deferred.fromCoroutine(bench.backend.in_transaction(Message(), BOB)).addBoth(taken.append)
    for one in (found[BOB], taken[0]):
        if why is None:
            assert one is outcome
        else:
            assert one.permanence is Permanence.TEMPORARY
            assert why in one.reply.text
    assert len(bench.facts) == (0 if why is None else 2)


def test_a_handler_that_holds_everything_up_is_named_whenever_it_does() -> None:
    bench = Bench(lambda: None)
    app, wait = MailApp(), Deferred[None]()

    @app.recipient("bob@example.org")
    async def slow(message: Any) -> None:
        await wait
        bench.clock.advance(0.2)

    bench.backend.inner = app
    found: list[Any] = []
    Deferred.fromCoroutine(bench.backend.deliver(message(), [BOB])).addBoth(found.append)
    assert bench.facts == []
    wait.callback(None)
    assert found[0][BOB].is_delivered
    told = Trouble("backend own", "held everything up for 0.200 s in one step, in handler slow", "", "Q1")
    assert bench.facts == [told]
    bench.clock.advance(60)
    Deferred.fromCoroutine(bench.backend.deliver(message(), [BOB])).addBoth(found.append)
    assert bench.facts == [told, told]  # each step once, in spite of the two who look at it


def test_a_handler_that_fails_or_is_late_is_in_the_journal_by_its_name(logged_failures: LoggedFailures) -> None:
    bench, app = Bench(lambda: None), MailApp(deadline=5)
    bench.backend.inner = app
    app.use(used(MailApp()))
    app._gateway.reactor = bench.clock
    does: list[Callable[[], Any]] = [hangs, raises, lambda: 7]

    @app.default
    def own(message: Any) -> Any:
        return does.pop()()

    for why in ("it returned a int: expected None, or an exception", "raised ValueError", "took longer than 5 s"):
        Deferred.fromCoroutine(bench.backend.deliver(message(), [BOB])).addBoth(lambda _: None)
        bench.clock.advance(5)
        assert bench.facts.pop() == Trouble("handler own", why, "", "Q1")
        assert not bench.facts
    logged_failures.take()


@each(("outcome", "words"), [
    (permanent("5.1.1", "There is no order 7", Scope.RECIPIENT, ""), "There is no order 7"),
    (attrs.evolve(permanent("5.1.1", "x", Scope.RECIPIENT, ""), words="There is none"), "There is none"),
    (temporary("4.1.1", "x", Scope.RECIPIENT, ""), ""), (GOOD, ""),  # a server's words, which it hands on
])
def test_what_it_says_itself_is_what_the_sender_reads_first(outcome: Outcome, words: str) -> None:
    _, [found] = Bench(lambda: {BOB: outcome}).delivered()
    assert found[BOB].words == words


def test_who_holds_everything_up_is_named() -> None:
    bench = Bench(lambda: bench.clock.advance(0.2))
    bench.delivered()
    assert bench.facts == [Trouble("backend own", "held everything up for 0.200 s in one step", "", "q1")]
