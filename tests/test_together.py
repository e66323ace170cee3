"""Tests that are one item: each is judged, what fails is told, and who needs more than a call stays apart."""

from collections.abc import Callable

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger

from tests.tables import each
from tests.together import TESTS, Together, gathered, is_plain

Made = Callable[[Callable[..., object]], pytest.Function]


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Made:
    """An item of a function, as if it were of this module."""
    return lambda test: pytest.Function.from_parent(request.node.parent, name=test.__name__, callobj=test)


def test_all_are_tried_and_those_that_fail_are_told(made: Made) -> None:
    tried = []

    def fine() -> None:
        tried.append("fine")

    def wrong() -> None:
        tried.append("wrong")
        square = 5
        assert square == 4, "two by two"

    def logs() -> None:
        tried.append("logs")
        try:
            raise RuntimeError("somewhere")
        except RuntimeError:
            Logger().failure("a bug")

    def answers() -> int:
        return 3

    @each("number", [1, 2])
    def table(number: int) -> None:
        assert number == 1

    @settings(database=None)
    @given(st.integers(100))  # of any integers, the few examples of a quick run may be small ones
    def anything(number: int) -> None:
        tried.append("anything")
        assert number < 100

    [item] = gathered([made(one) for one in (fine, wrong, logs, answers, table, anything, fine)])
    assert isinstance(item, Together)
    assert dict(item.user_properties) == {TESTS: 7}
    with pytest.raises(pytest.fail.Exception) as failed:
        item.runtest()
    assert tried[:3] == ["fine", "wrong", "logs"]
    assert "anything" in tried
    assert tried[-1] == "fine"
    said = str(failed.value)
    assert said.startswith("5 of 7 tests: wrong, logs, answers, table, anything\n\n___ tests/test_together.py::wrong")
    for words in (
        "AssertionError: two by two", "square     = 5", "RuntimeError: somewhere", "answers returned 3", "--- number=2",
        "number = 100",
    ):
        assert words in said


def test_what_passes_says_nothing(made: Made) -> None:
    def fine() -> None:
        pass

    [item] = gathered([made(fine)])
    item.runtest()


def test_who_needs_more_than_a_call_stays_apart(made: Made) -> None:
    def fine() -> None:
        pass

    def needs(tmp_path: object) -> None:
        pass

    @pytest.mark.xfail
    def marked() -> None:
        pass

    @pytest_twisted.ensureDeferred
    async def waits() -> None:
        pass

    items = [made(one) for one in (needs, fine, marked, fine, waits)]
    assert [is_plain(item) for item in items] == [False, True, False, True, False]
    first, together, *rest = gathered(items)
    assert isinstance(together, Together)
    assert [first, *rest] == [items[0], items[2], items[4]]
    assert list(together.tests) == [items[1], items[3]]
