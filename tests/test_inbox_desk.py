"""What the inbox's desk keeps between questions, and how it looks for what is waited for."""

import base64
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgw import inbox_desk
from mailgw.inbox_desk import PARTS_OCTETS, PARTS_SECONDS, PIECE_OCTETS, InboxDesk, Part, Parts
from mailgw.mail.errors import RefusedRequest, TemporaryFault
from mailgw.store.captured import Bounds, CapturedMail
from tests.store.test_captured import capture
from tests.tables import each

T = TypeVar("T")
MANY = Bounds(1000, 1 << 30)


class Asked:
    """``deliver.inbox.Inbox`` without its thread."""

    def __init__(self) -> None:
        self.book = CapturedMail(None)

    async def ask(self, question: Callable[[Any], T]) -> T:
        return question(self.book)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> tuple[InboxDesk, CapturedMail, Clock]:
    monkeypatch.setattr(inbox_desk, "has_inbox", lambda config: True)
    asked, clock = Asked(), Clock()
    return InboxDesk(lambda: None, lambda: asked, clock), asked.book, clock  # type: ignore[arg-type, return-value]


def asking(desk: InboxDesk, command: str, **request: object) -> list[Any]:
    """Its answer, when it is there."""
    answers: list[Any] = []
    answer: Coroutine[Any, Any, Any] = desk.desk[command]({"command": command, **request})  # type: ignore[assignment]
    Deferred.fromCoroutine(answer).addBoth(answers.append)
    return answers


def large(fill: bytes) -> bytes:
    return (b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n" + (fill * 72 + b"\r\n") * 60_000 + b"--b--\r\n")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A subject a time that a message is taken apart for one of its parts."""
    found: list[bytes] = []
    letter_of = inbox_desk.letter_of
    monkeypatch.setattr(inbox_desk, "letter_of", lambda octets: (found.append(octets[:20]), letter_of(octets))[1])
    return found


Made = tuple[InboxDesk, CapturedMail, Clock]


def test_two_parts_at_once_are_read_once_each(desk: Made, reads: list[bytes]) -> None:
    made, book, _ = desk
    book.keep([capture("Q1", octets=large(b"x")), capture("Q2", octets=large(b"y"))], MANY)
    got = {1: b"", 2: b""}
    for start in range(0, 5 * PIECE_OCTETS, PIECE_OCTETS):
        for number in got:
            [answer] = asking(made, "inbox.part", id=number, number=0, start=start)
            got[number] += base64.b64decode(answer["octets"])
    assert got == {1: ((b"x" * 72 + b"\r\n") * 60_000)[:-2],
                   2: ((b"y" * 72 + b"\r\n") * 60_000)[:-2]}
    assert len(reads) == 2
    assert made.parts.octets == 0  # both came to their ends


def test_who_goes_on_later_has_it_read_again_and_nothing_stays(desk: Made, reads: list[bytes]) -> None:
    made, book, clock = desk
    book.keep([capture("Q1", octets=large(b"x"))], MANY)
    asking(made, "inbox.part", id=1, number=0, start=0)
    clock.advance(PARTS_SECONDS - 1)
    assert made.parts.octets > 0
    asking(made, "inbox.part", id=1, number=0, start=PIECE_OCTETS)
    clock.advance(1)
    clock.advance(PARTS_SECONDS - 2)
    assert (made.parts.octets > 0, len(reads)) == (True, 1)
    clock.advance(1)
    assert (made.parts.octets, clock.getDelayedCalls()) == (0, [])
    [answer] = asking(made, "inbox.part", id=1, number=0, start=2 * PIECE_OCTETS)
    assert (len(base64.b64decode(answer["octets"])), len(reads)) == (PIECE_OCTETS, 2)


def test_what_is_removed_is_not_served(desk: Made) -> None:
    made, book, _ = desk
    for number, removal in enumerate(({"id": 1}, {"query": {"to": "bob@example.org"}}, None), 1):
        book.keep([capture(f"Q{number}", octets=large(b"x"))], MANY)
        [answer] = asking(made, "inbox.part", id=number, number=0, start=0)
        assert answer is not None
        if removal is None:
            book.remove([number])  # by another process, or for want of room
        else:
            assert asking(made, "inbox.remove", **removal) == [1]
            assert made.parts.octets == 0
        assert asking(made, "inbox.part", id=number, number=0, start=PIECE_OCTETS) == [None]
        assert made.parts.octets == 0


def test_so_many_octets_of_parts_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PARTS_OCTETS >= 64 << 20, "any one part fits"
    monkeypatch.setattr(inbox_desk, "PARTS_OCTETS", 10)
    parts = Parts(Clock())
    parts.keep((1, 0), Part({}, b"12345"))
    parts.keep((2, 0), Part({}, b"12345"))
    assert (parts.octets, parts.get((1, 0)) is not None) == (10, True)
    parts.keep((3, 0), Part({}, b"1"))
    assert [key for key in ((1, 0), (2, 0), (3, 0)) if parts.get(key) is not None] == [(1, 0), (3, 0)]
    parts.keep((4, 0), Part({}, b"x" * 11))
    assert (parts.get((4, 0)), parts.octets) == (None, 6)
    parts.keep((5, 0), Part({}, b"x" * 10))
    assert parts.octets == 10


# --- pages, and what is removed ---------------------------------------------------------------------------------

@each(("count", "pages"), [(1000, [1000]), (1001, [1000, 1])])
def test_the_largest_page_says_what_is_behind_it(desk: Made, count: int, pages: list[int]) -> None:
    made, book, _ = desk
    book.keep([capture(f"Q{number}", octets=b"") for number in range(count)], Bounds(2000, 1 << 30))
    after, found = None, []
    while True:
        [page] = asking(made, "inbox.list", limit=1000, **({} if after is None else {"after": after}))
        found.append(len(page["items"]))
        after = page["next"]
        if after is None:
            break
    assert found == pages


WORDS = st.sampled_from(["", " ", "\t", "\u00a0\u2003", "@", "b", "bob", "nobody", "stra", " 1 ", "@example.org"])
QUERIES = st.dictionaries(st.sampled_from(["to", "from", "subject", "text", "search"]), WORDS | st.text(max_size=3))
HAYSTACK = "\n".join((
    "bob@example.org", "list@lists.example.org", "carol@example.com", "jörg", "joerg@example.net",
    "bounces@news.example.net", "straße 1", "grüße, bob.",
)).casefold()


@given(query=QUERIES, is_all=st.sampled_from([None, False]))
@example(query={"search": " "}, is_all=None)
@example(query={"to": ""}, is_all=False)
@example(query={"subject": "", "to": "bob"}, is_all=None)
@example(query={}, is_all=None)
def test_nothing_is_removed_that_is_not_meant(query: dict[str, str], is_all: bool | None) -> None:
    asked = Asked()
    asked.book.keep([capture()], MANY)
    made = InboxDesk(lambda: None, lambda: asked, Clock())  # type: ignore[arg-type, return-value]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inbox_desk, "has_inbox", lambda config: True)
        asking(made, "inbox.remove", query=query, **({} if is_all is None else {"all": is_all}))
    if not asked.book.has(1):
        assert query
        for value in query.values():
            assert value.split()
            assert all(word.casefold() in HAYSTACK for word in value.split())


@each("request_", [
    {}, {"query": {}}, {"query": {"to": ""}}, {"all": False}, {"all": 1}, {"all": True, "query": {"to": "bob"}},
    {"all": True, "query": {"search": " "}},
])
def test_all_are_removed_where_that_is_said(desk: Made, request_: dict[str, Any]) -> None:
    made, book, _ = desk
    book.keep([capture()], MANY)
    [fault] = asking(made, "inbox.remove", **request_)
    assert fault.check(RefusedRequest)
    assert asking(made, "inbox.remove", all=True) == [1]


# --- who waits --------------------------------------------------------------------------------------------------

def test_only_what_is_new_is_looked_at_and_equal_queries_once(desk: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made, book, clock = desk
    book.keep([capture("Q1", ["old@example.org"])], MANY)
    looks: list[tuple[object, int | None]] = []
    rows = book.rows

    def counted(wanted: Any, limit: int, before: int | None = None, since: int | None = None) -> Any:
        looks.append((wanted.to, since))
        return rows(wanted, limit, before, since)

    monkeypatch.setattr(book, "rows", counted)
    same = [asking(made, "inbox.list", query={"to": "a@example.org"}, wait=10) for _ in range(3)]
    other = asking(made, "inbox.list", query={"to": "b@example.org"}, wait=10)
    looks.clear()
    clock.advance(1)
    assert (looks, same, other) == ([], [[], [], []], [])
    book.keep([capture("Q2", ["c@example.org"])], MANY)
    clock.advance(1)
    assert looks == [("a@example.org", 1), ("b@example.org", 1)]
    looks.clear()
    book.keep([capture("Q2", ["a@example.org"])], MANY)  # a new copy of a message that was there
    clock.advance(1)
    assert looks == [("a@example.org", 2), ("b@example.org", 2)]
    for [answer] in same:
        assert [one["recipients"] for one in answer["items"]] == [("c@example.org", "a@example.org")]
        assert (answer["messages"], answer["next"]) == (2, None)
    assert other == []
    clock.pump([1] * 7)
    [nothing] = other
    assert (nothing["items"], nothing["next"], nothing["messages"]) == ([], None, 2)
    clock.advance(1)
    assert clock.getDelayedCalls() == []


def test_what_came_before_somebody_joined_is_not_lost(desk: Made) -> None:
    made, book, clock = desk
    first = asking(made, "inbox.list", query={"to": "a@example.org"}, wait=1)
    clock.advance(0.5)
    second = asking(made, "inbox.list", query={"to": "a@example.org"}, wait=10)
    clock.advance(0.6)
    assert ([one["items"] for one in first], second) == ([[]], [])
    book.keep([capture("Q1", ["a@example.org"]), capture("Q2", ["a@example.org"])], MANY)
    third = asking(made, "inbox.list", query={"to": "a@example.org"}, wait=10, limit=1)
    assert [len(one["items"]) for one in third] == [1]  # at once
    clock.advance(0.2)
    assert [[one["id"] for one in answer["items"]] for answer in second] == [[2, 1]]


def test_who_waits_is_told_that_it_cannot_be_read(desk: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made, book, clock = desk
    waiting = asking(made, "inbox.list", query={}, wait=10)

    def fails() -> int:
        raise OSError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(book, "newest", fails)
        clock.advance(1)
    [fault] = waiting
    assert fault.check(TemporaryFault)
    again = asking(made, "inbox.list", query={}, wait=10)
    book.keep([capture()], MANY)
    clock.advance(1)
    assert [len(one["items"]) for one in again] == [1]
