"""Daily reports of one kind as the configuration has them, which may change while the gateway runs."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

S = TypeVar("S")  # settings


class Daily(Protocol):
    """``deliver.daily_reports.DailyReports``."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Memory(Protocol):
    async def close(self) -> None: ...


D = TypeVar("D", bound=Daily)


class Reporting(Generic[S, D]):
    """``reports`` is None where none are configured.  ``made`` makes them by their settings, with their memory."""

    def __init__(self, settings: S | None, made: Callable[[S], tuple[D, Memory]]) -> None:
        self._made = made
        self._memory: Memory | None = None
        self.reports: D | None = None
        self._make(settings)

    def _make(self, settings: S | None) -> None:
        self._settings = settings
        self.reports, self._memory = (None, None) if settings is None else self._made(settings)

    def start(self) -> None:
        if self.reports is not None:
            self.reports.start()

    async def renew(self, settings: S | None) -> None:
        """What is counted stays."""
        if settings == self._settings:
            return
        reports, memory = self.reports, self._memory
        self._make(settings)
        fresh = self.reports
        if reports is not None and memory is not None:
            reports.stop()
            await memory.close()  # before the next one reads what is counted
        if fresh is not None and fresh is self.reports:
            fresh.start()

    async def close(self) -> None:
        """Once nothing is counted any more: keep what is."""
        if self.reports is not None and self._memory is not None:
            self.reports.stop()
            await self._memory.close()
