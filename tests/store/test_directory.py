"""A directory of recipients: what is remembered, who waits for whom, and what its trouble comes to."""

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event, Trouble
from mailgw.mail.found import Found
from mailgw.mail.reply import Reply
from mailgw.policy.remembered import MemorySettings
from mailgw.queue.tags import NO_TAGS, TagRules
from mailgw.store import directory
from mailgw.store.directory import BREAKER, COSTLY_SECONDS, UNSURE, Directory
from mailgw.store.directory_settings import DirectorySettings
from tests.logged import LOGGED
from tests.tables import each

SETTINGS = DirectorySettings(
    timeout_seconds=5.0, concurrency=2, memory=MemorySettings(60.0, 10.0, 1000.0, 100), tags=NO_TAGS,
    backends=frozenset({"here", "there"}),
)
ANN, BOB = Mailbox("ann", "x.test"), Mailbox("bob", "x.test")


class Bench:
    """A directory before a source that says what ``says`` has; where ``waiting`` is a list, when it is told."""

    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.says: dict[str, object] = {}
        self.asked: list[str] = []
        self.waiting: list[Deferred[Any]] | None = None
        self.noted: list[Event] = []
        self.directory = Directory("people", self, attrs.evolve(SETTINGS, **settings), self.clock, self.noted.append)

    async def find(self, recipient: Mailbox) -> Found | None:
        self.asked.append(str(recipient))
        if self.waiting is not None:
            told: Deferred[Any] = Deferred()
            self.waiting.append(told)
            await told
        said: Any = self.says.get(str(recipient))
        if isinstance(said, BaseException):
            raise said
        return said  # type: ignore[no-any-return] # whatever it is

    def begin(self, address: Mailbox) -> list[Any]:
        found: list[Any] = []
        Deferred.fromCoroutine(self.directory.find(address)).addBoth(found.append)
        return found

    def found(self, address: Mailbox) -> Any:
        """A reply's status and code where it cannot be told."""
        [found] = self.begin(address)
        if not isinstance(found, Failure):
            return found
        assert isinstance(found.value, TemporaryFault)
        return found.value.reply

    def late(self, address: Mailbox, seconds: float = SETTINGS.timeout_seconds) -> Any:
        """As ``found``, where the source answers so late, or not at all."""
        self.waiting = []
        found = self.begin(address)
        self.clock.advance(seconds)
        for told in self.waiting:
            if not told.called:
                told.callback(None)
        return found[0].value.reply


def test_equal_addresses_are_one_question_in_lower_case() -> None:
    bench = Bench()
    bench.says["ann@x.test"] = Found((BOB,))
    assert bench.found(Mailbox("Ann", "x.test")) == Found((BOB,))
    assert bench.found(Mailbox("aNN", "x.test")) == Found((BOB,))
    assert bench.directory.known(ANN) == Found((BOB,))
    assert bench.found(BOB) is None
    assert bench.found(BOB) is None
    assert bench.asked == ["ann@x.test", "bob@x.test"]


def test_it_is_asked_again_when_the_time_is_over_or_somebody_says_so() -> None:
    bench = Bench()
    bench.says["ann@x.test"] = Found()
    assert (bench.found(ANN), bench.found(BOB)) == (Found(), None)
    bench.clock.advance(10)
    assert (bench.found(ANN), bench.found(BOB)) == (Found(), None)
    bench.clock.advance(50)
    assert bench.found(ANN) == Found()
    bench.directory.doubt()
    assert bench.found(ANN) == Found()
    assert bench.asked == ["ann@x.test", "bob@x.test", "bob@x.test", "ann@x.test", "ann@x.test"]


@each(("trouble", "reply"), [
    (TemporaryFault("down"), UNSURE),
    (TemporaryFault("down", Reply(451, "4.2.1", ("busy",))), Reply(451, "4.2.1", ("busy",))),
    (TemporaryFault("lies", Reply(550, "5.1.1", ("gone",))), UNSURE),
    (ValueError("a bug"), UNSURE),
    (SystemExit(1), UNSURE),
    ("ann@y.test", UNSURE),
    (False, UNSURE),
    (Found(("ann@y.test",)), UNSURE),  # type: ignore[arg-type]
    (Found(backend="elsewhere"), UNSURE),
])
def test_whatever_goes_wrong_is_temporary(trouble: object, reply: Reply) -> None:
    bench = Bench()
    bench.says["ann@x.test"] = trouble
    with capturedLogs() as logged:
        assert bench.found(ANN) == reply
        assert bench.found(ANN) == reply
    LOGGED.take()
    assert len(logged) == 1, "told once"
    assert isinstance(bench.noted[0], Trouble)
    assert bench.asked == ["ann@x.test"] * 2, "nothing of it is remembered"


def test_an_old_answer_stands_in_where_somebody_exists_and_never_where_nobody_does() -> None:
    bench = Bench()
    bench.says["ann@x.test"] = Found()
    assert (bench.found(ANN), bench.found(BOB)) == (Found(), None)
    bench.says = dict.fromkeys(("ann@x.test", "bob@x.test"), TemporaryFault("down"))
    bench.clock.advance(100)
    assert (bench.found(ANN), bench.found(BOB)) == (Found(), UNSURE)
    bench.clock.advance(900)
    assert bench.found(ANN) == UNSURE


def test_equal_questions_at_once_are_one_and_who_gives_up_leaves_the_others_their_answer() -> None:
    bench = Bench()
    bench.says["ann@x.test"] = Found()
    bench.waiting = []
    first = Deferred.fromCoroutine(bench.directory.find(ANN))
    second = bench.begin(ANN)
    first.addErrback(lambda _: None)
    first.cancel()
    bench.waiting[0].callback(None)
    assert second == [Found()]
    assert bench.asked == ["ann@x.test"]


def test_nobody_waits_longer_than_the_timeout_for_a_turn_or_an_answer() -> None:
    bench = Bench()
    bench.waiting = []
    boxes = [Mailbox(name, "x.test") for name in "abc"]
    found = [bench.begin(box) for box in boxes]
    assert len(bench.asked) == 2
    bench.clock.advance(4.9)
    assert found == [[], [], []]
    bench.clock.advance(0.2)
    assert [one[0].value.reply for one in found] == [UNSURE] * 3
    assert bench.noted == [Trouble("directory people", "no answer within 5 s", "", "")]
    bench.waiting = None
    assert bench.found(ANN) is None, "the turns are free again"


def test_a_source_that_takes_no_cancellation_keeps_its_turn_and_nothing_else() -> None:
    bench = Bench(concurrency=1)

    async def stubborn(recipient: Mailbox) -> Found | None:
        while True:
            try:
                await Deferred()
            except Exception:  # noqa: BLE001
                pass

    bench.find = stubborn  # type: ignore[method-assign]
    found = bench.begin(ANN), bench.begin(BOB)
    bench.clock.advance(5)
    assert [one[0].value.reply for one in found] == [UNSURE, UNSURE]


def test_one_too_many_that_wait_is_told_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(directory, "WAITING", 3)
    bench = Bench()
    bench.waiting = []
    found = [bench.begin(Mailbox(f"u{number}", "x.test")) for number in range(6)]
    assert [len(one) for one in found] == [0, 0, 0, 0, 0, 1]
    assert found[5][0].value.reply == UNSURE
    bench.clock.advance(5)


def test_a_dead_source_is_left_alone_and_tried_again() -> None:
    bench = Bench()
    for _ in range(BREAKER.failures):
        assert bench.late(ANN) == UNSURE
    for _ in range(3):
        assert bench.found(ANN) == UNSURE
    assert len(bench.asked) == BREAKER.failures
    bench.clock.advance(BREAKER.first_seconds)
    bench.waiting = None
    bench.says["ann@x.test"] = Found()
    assert bench.found(ANN) == Found()
    assert bench.found(BOB) is None
    assert len(bench.asked) == BREAKER.failures + 2


@each(("seconds", "is_asked"), [(COSTLY_SECONDS - 0.01, True), (COSTLY_SECONDS, False)])
def test_strangers_whose_addresses_it_dislikes_do_not_have_it_left_alone(seconds: float, is_asked: bool) -> None:
    bench = Bench()
    for number in range(BREAKER.failures):
        bench.says[f"u{number}@x.test"] = TemporaryFault("answered 400")
        assert bench.late(Mailbox(f"u{number}", "x.test"), seconds) == UNSURE
    bench.waiting = None
    assert bench.found(BOB) is (None if is_asked else UNSURE)


def test_while_it_is_dead_nobody_waits_for_whom_an_old_answer_stands_in() -> None:
    bench = Bench()
    bench.says["ann@x.test"] = Found()
    assert bench.found(ANN) == Found()
    bench.clock.advance(100)
    for _ in range(BREAKER.failures):
        assert bench.late(BOB) == UNSURE
    bench.clock.advance(BREAKER.first_seconds)
    bench.waiting, before = [], len(bench.asked)
    assert bench.found(ANN) == Found(), "at once, though her question is the one that tries it"
    assert bench.found(ANN) == Found()
    assert len(bench.asked) == before + 1
    bench.clock.advance(5)
    assert bench.found(BOB) == UNSURE
    assert len(bench.asked) == before + 1, "the trial failed, and the wait is longer"
    bench.clock.advance(10)
    bench.waiting = None
    assert bench.found(ANN) == Found()
    assert bench.found(Mailbox("carl", "x.test")) is None, "it answered"


@each(("rules", "address", "found"), [
    (TagRules("+", True), "ann+tag@x.test", Found((Mailbox("bob+tag", "x.test"),))),
    (TagRules("+", False), "ann+tag@x.test", Found((BOB,))),
    (TagRules("-", True), "ann+tag@x.test", None),
    (TagRules("+", True), "own+tag@x.test", Found()),
    (TagRules("+", True), "list+a@x.test", Found((ANN,))),
    (TagRules("+", True), "self+tag@x.test", Found((), "there")),
    (TagRules("+", True), "+tag@x.test", None),
    (NO_TAGS, "ann+tag@x.test", None),
])
def test_a_tag(rules: TagRules, address: str, found: Found | None) -> None:
    bench = Bench(tags=rules)
    bench.says = {
        "ann@x.test": Found((BOB,)), "own@x.test": Found(), "list@x.test": Found((BOB,)),
        "list+a@x.test": Found((ANN,)),
        "self@x.test": Found((Mailbox("self+tag", "x.test"),), "there"),
    }
    local_part = address.partition("@")[0]
    assert bench.found(Mailbox(local_part, "x.test")) == found
    assert bench.directory.known(Mailbox(local_part, "x.test")) == found
