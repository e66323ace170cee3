"""The many tests of a module that need nothing but to be called are one item of pytest's.

To set up, report and hand over a test between processes costs pytest and xdist more than most tests take; six in ten
here have no fixture and no mark.  So where many are run at once they are called in a row, each judged for itself: all
are tried, and what fails is told by its name, with its traceback.  Where a few are run (a file, a name, what ``-k``
chooses), or pytest is asked for what needs each alone, they stay apart.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.logged import LOGGED

MANY = 400
"""Fewer items are left as they are: nobody waits for so few."""

TESTS = "tests"
"""The property of a report that says of how many it tells."""

ALWAYS = {"no_dropped_deferreds", "twisted_greenlet"}
"""The fixtures of each test, which are made once."""


def call(test: pytest.Function, values: dict[str, Any]) -> None:
    """A test that waits for nothing; AssertionError where it returns something to wait for."""
    returned = test.obj(**values)
    assert returned is None, f"{test.name} returned {returned!r}, which nobody waits for"


def waits(test: pytest.Function) -> bool:
    """Is it one for the reactor?"""
    inner = test.obj.hypothesis.inner_test if hasattr(test.obj, "hypothesis") else test.obj
    return inspect.iscoroutinefunction(inner) or hasattr(inner, "_pytest_twisted_mark")


def is_plain(item: pytest.Item) -> bool:
    return (
        isinstance(item, pytest.Function) and ALWAYS.issuperset(item.fixturenames) and not hasattr(item, "callspec")
        and all(mark.name == "hypothesis" for mark in item.iter_markers()) and not waits(item)
    )


class Together(pytest.Item):
    """Plain tests of one module."""

    def __init__(self, *, tests: Sequence[pytest.Function], **of_pytest: Any) -> None:
        super().__init__(**of_pytest)
        self.tests = tests
        self.user_properties.append((TESTS, len(tests)))

    def runtest(self) -> None:
        failed: dict[pytest.Function, object] = {}
        for test in self.tests:
            try:
                try:
                    call(test, {})
                finally:
                    LOGGED.check()
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - told below
                failed[test] = test.repr_failure(pytest.ExceptionInfo.from_exception(error))
        if failed:
            told = [f"___ {test.nodeid} ___\n\n{words}" for test, words in failed.items()]
            names = ", ".join(test.name for test in failed)
            pytest.fail("\n\n".join([f"{len(failed)} of {len(self.tests)} tests: {names}", *told]), pytrace=False)

    def reportinfo(self) -> tuple[Any, None, str]:
        return self.path, None, self.nodeid


def gathered(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    """The items in their order, the plain ones of each module as one, in the place of its first."""
    plain: dict[pytest.Item, list[pytest.Item]] = {}
    for item in items:
        if is_plain(item):
            plain.setdefault(item.parent, []).append(item)
    for item in items:
        tests = plain.get(item.parent, ())
        if item not in tests:
            yield item
        elif item is tests[0]:
            yield Together.from_parent(item.parent, name="together", tests=tests)
