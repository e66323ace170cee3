"""A table's test fails where one of its cases does, and tells of all that do."""

import pytest

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


def test_a_table_that_tests_nothing_is_no_test() -> None:
    with pytest.raises(AssertionError, match="no case"):
        each("number", [])
    with pytest.raises(AssertionError, match="nothing has not all of"):
        @each("number", [1])
        def nothing() -> None:
            pass
    with pytest.raises(ValueError, match="shorter"):
        each(("number", "square"), [(1,)])
