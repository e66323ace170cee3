"""A table of cases in one test: thousands of small tests cost the suite more than what they test.

A test of its own, by ``pytest.mark.parametrize``, is for cases that are dear, that need fixtures of their own, or
that somebody will want to run alone.
"""

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pytest

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


def each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Calls the test with each case in turn, and fails with all that failed: their values, tracebacks and locals.

    ``names`` and ``cases`` are those of ``pytest.mark.parametrize``: values for one name, tuples for several.
    Fixtures are made once, for all cases together.  AssertionError where there is no case, or a name that the test
    does not have.
    """
    words = (names,) if isinstance(names, str) else tuple(names)
    table = [dict(zip(words, (case,) if isinstance(names, str) else case, strict=True)) for case in cases]
    assert table, "no case"

    def over_the_table(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)
        assert set(words) <= set(signature.parameters), f"{test.__name__} has not all of {words}"
        assert not inspect.iscoroutinefunction(test), "nobody would wait for it"

        @functools.wraps(test)
        def every_case(**fixtures: Any) -> None:
            __tracebackhide__ = True
            failed = []
            for values in table:
                try:
                    test(**fixtures, **values)
                except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - told below
                    told = pytest.ExceptionInfo.from_exception(error).getrepr(showlocals=True, style="short")
                    failed.append(f"--- {', '.join(f'{name}={value!r}' for name, value in values.items())}\n{told}")
            if failed:
                pytest.fail(f"{len(failed)} of {len(table)} cases:\n" + "\n\n".join(failed), pytrace=False)

        fixtures = [parameter for name, parameter in signature.parameters.items() if name not in words]
        every_case.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return every_case

    return over_the_table
