"""Runs a coroutine that never waits, as those on fakes do."""

from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Its result; AssertionError where it waits for anything.  It runs in a context of its own, as Twisted's do."""
    try:
        copy_context().run(coroutine.send, None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waits, where a fake should have answered at once")
