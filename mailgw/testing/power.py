"""The power, and the moment at which it fails.

Every step that a crash may fall before or after asks here first.  Once the power is off nothing more happens: what
waits for an answer never gets one, and whoever drives the clock is told by ``PowerFailed``.
"""

import ctypes
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")

# Dead gateways, and what they wait for: some 150 KB each.  Where nothing had them any more, their coroutines would be
# closed, run their finally clauses, and go on delivering: after their death, and in the midst of another test.
_FOR_EVER: list[object] = []


def keep(dead: object) -> None:
    """Let nobody tidy it up, not even at the end of the process."""
    if not _FOR_EVER and hasattr(ctypes, "pythonapi"):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(_FOR_EVER))
    _FOR_EVER.append(dead)


class PowerFailed(BaseException):
    """The gateway is gone.  No ``Exception``: nothing that a gateway or a plug-in catches keeps it alive."""


class Power:
    """Counts the writes of one life; with ``fails_at`` a number, from 0, it fails at that one: before it, or after it
    where ``is_after``."""

    def __init__(self, fails_at: int | None = None, is_after: bool = False) -> None:
        self.writes: list[str] = []  # what was written, in words
        self.is_off = False
        self.fails_at = fails_at
        self.is_after = is_after

    def cut(self) -> None:
        """Now."""
        self.is_off = True

    async def write(self, what: str, do: Callable[[], Awaitable[T]]) -> T:
        """What ``do`` comes to; never an answer where the power fails."""
        if self._fails_now(what, False):
            await self._for_ever()
        try:
            return await do()
        finally:
            if self._fails_now(what, True):
                await self._for_ever()

    def step(self, what: str, do: Callable[[], T]) -> T:
        """As ``write``, for what blocks.  PowerFailed where the power fails: threads drop it."""
        if self._fails_now(what, False):
            raise PowerFailed(what)
        try:
            return do()
        finally:
            if self._fails_now(what, True):
                raise PowerFailed(what)

    def _fails_now(self, what: str, is_done: bool) -> bool:
        if self.is_off:
            return True
        if not is_done:
            self.writes.append(what)
        if self.fails_at == len(self.writes) - 1 and self.is_after == is_done:
            self.is_off = True
        return self.is_off

    async def _for_ever(self) -> None:
        never: Deferred[None] = Deferred()
        keep(never)
        await never
