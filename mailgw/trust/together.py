"""How the methods of this room do several things at once, and let others have their turn: handed in, for it is pure."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

Together = Callable[[Sequence[Coroutine[Any, Any, None]]], Awaitable[None]]
"""Runs coroutines at the same time, and returns when all of them have ended."""

Pause = Callable[[], Awaitable[None]]
"""Awaited between two pieces of work for the processor: others have their turn, if they waited for long."""


async def one_by_one(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
    """A ``Together`` for those who have no hurry."""
    for one in coroutines:
        await one


async def go_on() -> None:
    """A ``Pause`` of nothing, for those who are alone."""
