"""What systemd is told of the gateway: that it is ready, reloads or stops, that it is alive, and how much it has to do.

Rules:
    It is ready once it takes mail; of several processes, once all of them do.
    A sign of life comes from the reactor.  Of several processes it is for all: none is hung that nobody ends.
    Where systemd did not start us nothing of this happens.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgw.mail.errors import TemporaryFault
from mailgw.mail.ports import Request
from mailgw.net.systemd import Manager
from mailgw.net.tasks import TaskGroup

log = Logger()

STATUS_SECONDS: Final = 30.0


class Told(Protocol):
    """A gateway of either shape."""

    async def answer(self, request: Mapping[str, Any]) -> object:
        """``control.Answering``."""

    @property
    def is_well(self) -> bool:
        """Whether a sign of life may be given."""


class Herald:
    def __init__(self, manager: Manager, gateway: Told, clock: IReactorTime) -> None:
        self._manager = manager
        self._gateway = gateway
        self._clock = clock
        self._calls: dict[str, IDelayedCall] = {}
        self._tasks = TaskGroup(lambda what, failure: log.failure("{what} failed", failure=failure, what=what))

    def ready(self) -> None:
        """It takes mail.  Signs of life begin."""
        if self._manager.address is None:
            return
        self._manager.ready("ready")
        self._tell_status()
        if self._manager.watchdog_seconds is not None:
            self._live(self._manager.watchdog_seconds / 2)

    def reloading(self, is_over: bool) -> None:
        """It reads its configuration again, or has done so; however that went, it takes mail."""
        if is_over:
            self._manager.ready("reloaded")
            self._soon("status", 1.0, self._tell_status)
        else:
            self._manager.reloading()

    def stopping(self) -> None:
        """It takes none any more; signs of life go on, until the process ends."""
        if "status" in self._calls:
            self._calls.pop("status").cancel()
        self._tasks.cancel()
        self._manager.stopping("stopping: what is under way may end")

    def stopped(self) -> None:
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _live(self, seconds: float) -> None:
        self._soon("life", seconds, lambda: self._live(seconds))
        if self._gateway.is_well:
            self._manager.alive()

    def _tell_status(self) -> None:
        self._soon("status", STATUS_SECONDS, self._tell_status)
        self._tasks.spawn("telling systemd how it is", self._status())

    async def _status(self) -> None:
        try:
            self._manager.status(status_words(
                await self._gateway.answer({"command": "sessions"}),
                await self._gateway.answer({"command": "queue.census", "limit": 1}),
            ))
        except TemporaryFault as fault:
            self._manager.status(fault.why)

    def _soon(self, what: str, seconds: float, do: Callable[[], None]) -> None:
        known = self._calls.get(what)
        if known is not None and known.active():
            known.cancel()
        self._calls[what] = self._clock.callLater(seconds, do)


def status_words(sessions: Any, census: Any) -> str:
    """One line."""
    count, queued = sessions["sessions"], census["waiting"] + census["active"] + census["held"]
    at_least = "" if census["is_whole"] else "at least "
    return f"{count} {_many('session', count)}, {at_least}{queued} {_many('recipient', queued)} in the queue"


def _many(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def gateway_sessions(count: Callable[[], int]) -> Mapping[str, Callable[[Request], Awaitable[object]]]:
    """The desk of a process that has sessions."""

    async def sessions(request: Request) -> object:
        return {"sessions": count()}

    return {"sessions": sessions}


def parent_sessions(
    ask_all: Callable[[Mapping[str, Any]], Awaitable[Any]]
) -> Mapping[str, Callable[[Request], Awaitable[object]]]:
    """The desk of the process above several."""

    async def sessions(request: Request) -> object:
        return {"sessions": sum(one["sessions"] for one in await ask_all({"command": "sessions"}))}

    return {"sessions": sessions}
