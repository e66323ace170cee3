"""Makes the directories of recipients that are configured: the one place that knows every type there is."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, assert_never, cast

from mailgw.config.directories import made_fault
from mailgw.config.plugin import NOTHING_GIVEN, make_python
from mailgw.config.settings import DirectoryConfig, PythonSettings
from mailgw.mail.address import Mailbox
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.event import Event
from mailgw.mail.found import Found
from mailgw.mail.ports import Journal, WallClock
from mailgw.net.supervised import CalledFor, Supervisor
from mailgw.store.directory import Directory, Source
from mailgw.store.directory_settings import HttpSettings, SqlSettings

Closer = Callable[[], Awaitable[object]]


def make_directories(
    configured: Mapping[str, DirectoryConfig],
    reactor: Any,
    wall_clock: WallClock,
    journal: Journal,
    adopt: Callable[[object], None],
    closers: list[Closer],
    given: Mapping[str, object] = NOTHING_GIVEN,
) -> Mapping[str, Directory]:
    """Each by its name, what an application gave (``given``) among them; ``adopt`` gets each as it was made.  What is
    to be called at the end is added to ``closers``.  ConfigError, or TemporaryFault, where one cannot be made."""
    made = {}
    for name, one in configured.items():
        source = cast(Source, _source(one, reactor, wall_clock, closers, given))
        adopt(source)
        if isinstance(one.source, PythonSettings):
            source = Watched(name, source, reactor, journal.note)
        made[name] = Directory(name, source, one.settings, reactor, journal.note)
    return made


class Watched:
    """A directory of the user's own: ``Directory`` has its time limit and breaker, and what holds the reactor is told
    by its name."""

    def __init__(self, name: str, inner: Source, reactor: Any, note: Callable[[Event], None]) -> None:
        self._inner = inner
        self._supervisor = Supervisor(f"directory {name}", 0.0, reactor, note)

    async def find(self, recipient: Mailbox) -> Found | None:
        found = await self._supervisor.watch(CalledFor("find"), lambda: self._inner.find(recipient))
        return cast(Found | None, found)  # whatever it is: ``Directory`` looks at it


def _source(
    one: DirectoryConfig, reactor: Any, wall_clock: WallClock, closers: list[Closer], given: Mapping[str, object]
) -> object:
    match one.source:
        case PythonSettings():
            return make_python(one.source, made_fault, given)
        case SqlSettings():
            from mailgw.store.sql_directory import SqlDirectory  # few have one

            try:
                sql = SqlDirectory(one.source, reactor)
            except (ImportError, ValueError) as fault:
                raise TemporaryFault(f"{one.source.module}: {fault}") from fault
            closers.append(sql.close)
            return sql
        case HttpSettings():
            # Twisted's HTTP takes its time to be imported.
            from mailgw.store.http_directory import open_http_directory

            try:
                http, close = open_http_directory(one.source, reactor, wall_clock)
            except ValueError as fault:
                raise TemporaryFault(str(fault)) from fault
            closers.append(close)
            return http
        case _:
            assert_never(one.source)
