"""A table's test fails where one of its cases does, and tells of all that do."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import Logger

from tests.logged import LoggedFailures
from tests.tables import each


def test_all_that_fail_are_told_and_all_are_tried() -> None:
    tried: list[object] = []

    @each(("number", "square"), [(1, 1), (2, 5), (3, 9), (4, "x")])
    def squares(number: int, square: int) -> None:
        tried.append(number)
        assert number * number == square

    with pytest.raises(pytest.fail.Exception) as failed:
        squares()
    assert tried == [1, 2, 3, 4]
    said = str(failed.value).splitlines()
    assert said[0] == "2 of 4 cases:"
    assert [line for line in said if line.startswith("--- ")] == ["--- number=2, square=5", "--- number=4, square='x'"]
    assert "    assert number * number == square" in said


def test_what_is_not_raised_fails_and_what_else_is_raised_too() -> None:
    @each("word", ["x", "1", None])
    def is_no_number(word: str) -> None:
        with pytest.raises(ValueError, match="invalid literal"):
            int(word)

    with pytest.raises(pytest.fail.Exception) as failed:
        is_no_number()
    said = str(failed.value)
    assert said.startswith("2 of 3 cases:\n--- word='1'\n")
    assert "DID NOT RAISE" in said
    assert "TypeError" in said


@each("number", [1, 2])
def test_fixtures_are_given(tmp_path, number: int) -> None:
    assert [int(path.name) for path in tmp_path.iterdir()] == list(range(1, number))
    (tmp_path / str(number)).touch()


def test_whose_failure_was_logged_has_failed(logged_failures: LoggedFailures) -> None:
    @each("error", [ValueError("it was expected"), ValueError("seen by nobody"), None])
    def logs(error: Exception | None) -> None:
        if error is not None:
            try:
                raise error
            except ValueError:
                Logger().failure("a bug")
            if "expected" in str(error):
                assert logged_failures.take() == [error]

    with pytest.raises(pytest.fail.Exception) as failed:
        logs()
    said = str(failed.value)
    assert said.startswith("1 of 3 cases:\n--- error=ValueError('seen by nobody')\n")
    assert "raise error" in said


@pytest_twisted.ensureDeferred
async def test_cases_that_wait_do_so_in_turn() -> None:
    tried: list[int] = []

    @each("number", [1, 2, 3])
    async def waits(number: int) -> None:
        assert len(tried) == number - 1
        await deferLater(reactor, 0, lambda: None)
        tried.append(number)
        assert number != 2

    with pytest.raises(pytest.fail.Exception) as failed:
        await waits()
    assert tried == [1, 2, 3]
    assert str(failed.value).startswith("1 of 3 cases:\n--- number=2\n")


def test_one_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    @each(("word", "number"), [("a", 1), ("b", 2), ("ab", 3)])
    def some(word: str, number: int) -> None:
        tried.append(word)

    monkeypatch.setenv("MAILGW_ROW", "word='b'")
    some()
    assert tried == ["b"]
    monkeypatch.setenv("MAILGW_ROW", "c")
    with pytest.raises(pytest.skip.Exception):
        some()


class TestOfAClass:
    @each("number", [1, 2])
    def test_methods_have_tables_too(self, tmp_path, number: int) -> None:
        assert tmp_path.exists()
        assert isinstance(self, TestOfAClass)


def test_a_table_that_tests_nothing_is_no_test() -> None:
    with pytest.raises(AssertionError, match="no case"):
        each("number", [])
    with pytest.raises(AssertionError, match="nothing has not all of"):
        @each("number", [1])
        def nothing() -> None:
            pass
    with pytest.raises(ValueError, match="shorter"):
        each(("number", "square"), [(1,)])
