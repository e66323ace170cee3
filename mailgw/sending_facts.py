"""What became of the HTTP API's messages, on its way into the book (``sending``): in its order, and kept while the book
cannot be written.
"""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from mailgw.mail.errors import TemporaryFault
from mailgw.net.tasks import TaskGroup
from mailgw.store import sent
from mailgw.store.ledger import Ledger

AT_ONCE: Final = 500
"""In one job of the book."""
MOST_UNWRITTEN: Final = 10_000
"""As ``following.MOST_KEPT``."""

log = Logger()


class Facts:
    """``trouble`` is called where something is not written yet; ``write`` tries it again.  ``has_missed``: there were
    more than are kept, so there may be recipients of whom the book waits to be told in vain."""

    def __init__(self, ledger: Ledger, tasks: TaskGroup, trouble: Callable[[], None]) -> None:
        self._ledger = ledger
        self._tasks = tasks
        self._trouble = trouble
        self._unwritten: list[sent.Outcome] = []
        self._turn = DeferredLock()
        self.has_missed = False

    def hear(self, outcomes: Sequence[sent.Outcome]) -> None:
        """In order."""
        is_awaited = bool(self._unwritten)  # by who writes just now and comes to these, or after trouble
        room = max(0, MOST_UNWRITTEN - len(self._unwritten))
        self._unwritten += outcomes[:room]
        if len(outcomes) > room:
            self.has_missed = True
            self._trouble()
        if self._unwritten and not is_awaited:
            self._tasks.spawn("what became of messages", self.write())

    async def write(self) -> None:
        """All that is not written; return when it is, or when that is in vain."""
        await self._turn.acquire()
        try:
            while self._unwritten:
                some, self._unwritten = self._unwritten[:AT_ONCE], self._unwritten[AT_ONCE:]
                try:
                    await self._ledger.do(sent.noted(some))
                except TemporaryFault as fault:
                    self._unwritten[:0] = some
                    log.error("what became of {count} recipients is not written down yet: {why}",
                              count=len(self._unwritten), why=fault.why)
                    self._trouble()
                    return
        finally:
            self._turn.release()
