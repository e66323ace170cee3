"""A table of cases in one test: thousands of small tests cost the suite more than what they test.

A test of its own, by ``pytest.mark.parametrize``, is for cases that are dear or that need fixtures of their own.
One row of a table is run alone by ``MAILGW_ROW=WORDS pytest NODE``: those whose values are printed with these words.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from tests.logged import LOGGED

MANY_EXAMPLES = 50
T = TypeVar("T")


def some(cases: Iterable[T], step: int, first: int = 0) -> list[T]:
    """Every ``step``-th of the cases, from ``first`` (modulo ``step``); all where MAILGW_EXAMPLES is 50 or more.

    For crossed tables, which .ci/run goes through as a whole: choose a step that has no divisor in common with the
    length of an axis, and all of that axis is met.
    """
    if int(os.environ.get("MAILGW_EXAMPLES", "0")) >= MANY_EXAMPLES:
        return list(cases)
    return list(cases)[first % step::step]


def each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Calls the test with each case in turn, and fails with all that failed: their values, tracebacks and locals.

    ``names`` and ``cases`` are those of ``pytest.mark.parametrize``: values for one name, tuples for several.
    Fixtures are made once, for all cases together.  A coroutine function is awaited, case by case: it needs
    ``pytest_twisted.ensureDeferred`` below this.  A case that logs a failure and does not take it has failed.
    AssertionError where there is no case, or a name that the test does not have.
    """
    words = (names,) if isinstance(names, str) else tuple(names)
    table = [dict(zip(words, (case,) if isinstance(names, str) else case, strict=True)) for case in cases]
    assert table, "no case"

    def over_the_table(test: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(test)
        assert set(words) <= set(signature.parameters), f"{test.__name__} has not all of {words}"

        @functools.wraps(test)
        def every_case(*this: Any, **fixtures: Any) -> None:
            __tracebackhide__ = True
            failed: list[str] = []
            for values in _wanted(table):
                with _telling(values, failed):
                    test(*this, **fixtures, **values)
            _judge(failed, len(table))

        @functools.wraps(test)
        async def every_case_in_turn(*this: Any, **fixtures: Any) -> None:
            __tracebackhide__ = True
            failed: list[str] = []
            for values in _wanted(table):
                with _telling(values, failed):
                    await test(*this, **fixtures, **values)
            _judge(failed, len(table))

        made = every_case_in_turn if inspect.iscoroutinefunction(test) else every_case
        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in words]
        made.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return made

    return over_the_table


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _wanted(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    row = os.environ.get("MAILGW_ROW", "")
    wanted = [values for values in table if row in _words(values)] if row else table
    if not wanted:
        pytest.skip(f"no row with {row!r}")
    return wanted


@contextmanager
def _telling(values: Mapping[str, Any], failed: list[str]) -> Iterator[None]:
    """Adds to ``failed`` what becomes of this case, where that is nothing good."""
    __tracebackhide__ = True
    try:
        try:
            yield
        finally:
            LOGGED.check()
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - told below
        told = pytest.ExceptionInfo.from_exception(error).getrepr(showlocals=True, style="short")
        failed.append(f"--- {_words(values)}\n{told}")


def _judge(failed: list[str], cases: int) -> None:
    __tracebackhide__ = True
    if failed:
        pytest.fail(f"{len(failed)} of {cases} cases:\n" + "\n\n".join(failed), pytrace=False)
