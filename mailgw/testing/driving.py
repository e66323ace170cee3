"""Runs a coroutine that never waits, as those on fakes do."""

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result; AssertionError where it waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waits, where a fake should have answered at once")
