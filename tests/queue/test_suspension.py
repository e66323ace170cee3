import pytest

from mailgw.queue.suspension import MAX_WORD_CHARACTERS, Suspensions, suspension
from tests.tables import each


@each(
    ("word", "lane", "holds"),
    [
        ("example.net", "internet/example.net", True),
        ("Example.NET", "internet/example.net", True),
        ("müller.example", "internet/xn--mller-kva.example", True),
        ("example.net", "other/example.net", True),
        ("example.net", "internet/a.example.net", False),
        ("example.net", "relay", False),
        ("internet/example.net", "internet/example.net", True),
        ("internet/example.net", "other/example.net", False),
        ("internet/*", "internet/example.net", True),
        ("internet/*", "internet", True),
        ("internet/*", "internet2/example.net", False),
        ("relay", "relay", True),
        ("relay", "relay/example.net", False),
        ("Relay", "relay", False),  # backends' names have their case
    ],
)
def test_which_lanes_a_word_means(word: str, lane: str, holds: bool) -> None:
    assert Suspensions.of([suspension(word), "unrelated.example"]).holds(lane) is holds


def test_nothing_is_suspended() -> None:
    assert not Suspensions.of(()).holds("internet/example.net")


@each("word", ["", "a b", "a\nb", "\x1b", "x" * (MAX_WORD_CHARACTERS + 1)])
def test_words_that_name_nothing(word: str) -> None:
    with pytest.raises(ValueError, match="expected a domain"):
        suspension(word)
    assert suspension("x" * MAX_WORD_CHARACTERS)
