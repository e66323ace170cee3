"""What comes with a request, as the operation has it: its query and its body."""

from typing import Any

import msgspec
import pytest

from mailgw.web.operations import Operation, Problem, Scope
from mailgw.web.server import held_to, typed_body, typed_query
from tests.tables import each
from tests.web.serving import Filter, Order, Shown, ok

ASKED = Operation("GET", "/things", Scope.READ, "Things", Shown, ok, query=Filter)
NOTHING = Operation("GET", "/things", Scope.READ, "Things", Shown, ok)


@each(
    ("words", "expected"),
    [
        ("", Filter()),
        ("limit=5", Filter(limit=5)),
        ("limit=5&word=a+b%26%C3%A4", Filter(limit=5, word="a b&ä")),
        ("word=", Filter(word="")),
        ("word", Filter(word="")),
        ("word=null", Filter(word="null")),
        ("one_of=a&one_of=b", Filter(one_of=["a", "b"])),
        ("one_of=a", Filter(one_of=["a"])),
        ("weight=1e3", Filter(weight=1000.0)),
        ("limit=-5", Filter(limit=-5)),
        ("&", Filter()),
    ],
)
def test_queries(words: str, expected: Filter) -> None:
    assert typed_query(ASKED, words) == expected


@each(
    ("words", "why"),
    [
        ("limits=5", "unknown field `limits`"),
        ("limit=five", "Expected `int`"),
        ("limit=null", "Expected `int`"),
        ("limit=", "Expected `int`"),
        ("limit=5&limit=6", "limit is given more than once"),
        ("weight=nan", "weight is no number"),
        ("weight=inf", "weight is no number"),
        ("word=%", "encodes nothing"),
        ("word=%zz", "encodes nothing"),
        ("word=%ff", "not UTF-8"),
        ("word=a%00b", "NUL"),
        ("&".join(f"a{number}=1" for number in range(101)), "more than 100"),
    ],
)
def test_queries_that_are_none(words: str, why: str) -> None:
    with pytest.raises(Problem) as caught:
        typed_query(ASKED, words)
    assert caught.value.status == 400
    assert why in caught.value.detail, caught.value.detail


def test_who_expects_no_query_takes_none() -> None:
    assert typed_query(NOTHING, "") is None
    with pytest.raises(Problem, match="limit"):
        typed_query(NOTHING, "limit=5")


def test_a_null_is_no_number() -> None:
    class Times(msgspec.Struct, forbid_unknown_fields=True):
        before: float | None = None

    asked = Operation("GET", "/things", Scope.READ, "Things", Shown, ok, query=Times)
    assert typed_query(asked, "before=1.5").before == 1.5
    with pytest.raises(Problem, match="before is no number"):
        typed_query(asked, "before=null")


def test_bodies() -> None:
    assert typed_body(Order, b'{"name":"x","count":2}') == Order("x", 2)
    with pytest.raises(Problem, match="unknown field `nam`"):
        typed_body(Order, b'{"nam":"x"}')


@each(
    ("shape", "value", "expected"),
    [
        (Shown, Shown("x", 1), Shown("x", 1)),
        (Shown, {"name": "x", "count": 1, "more": 2}, Shown("x", 1)),
        (list[Shown], [{"name": "x"}, Shown("y")], [Shown("x"), Shown("y")]),
        (dict[str, float], {"a": 1.0}, {"a": 1.0}),
    ],
)
def test_answers_are_what_was_said(shape: Any, value: Any, expected: Any) -> None:
    assert held_to(shape, value) == expected


@each("change", [{"method": "FETCH"}, {"path": "things"}, {"path": "/Things"}, {"path": "/{Name}"}, {"query": Shown},
                 {"body": Shown}, {"path": "/"}])
def test_operations_that_are_none(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no method or path|has to forbid"):
        Operation(**{
            "method": "GET", "path": "/things", "scope": Scope.READ, "summary": "", "answer": None, "run": ok, **change
        })


def test_what_answers_nothing_says_204() -> None:
    assert Operation("DELETE", "/things/{name}", Scope.QUEUE, "", None, ok).status == 204
