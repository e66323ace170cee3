"""The spool on SQLite keeps the promises of a spool, over restarts and full disks too."""

import errno
import os
import sqlite3
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mailgw.disk import Disk
from mailgw.mail.errors import ConfigError, LocalProtocolError, TemporaryFault
from mailgw.mail.message import Destination, Finished, Postponed, Query, RowState
from mailgw.mail.ports import Spool
from mailgw.spool.settings import SpoolSettings
from mailgw.spool.sqlite import SqliteSpool
from tests.spool.contract import (
    ANN,
    ANYTHING,
    ARRIVAL,
    BOB,
    LEASE_SECONDS,
    TO_ALL,
    TO_BOB,
    SpoolContract,
    commit,
    finished,
    octets_of,
    queued,
)
from tests.spool.reactor import ThreadedClock

T = TypeVar("T")

RESERVE = 1_000_000


class FillableDisk(Disk):
    """A disk whose free space is said, and which may refuse to write."""

    def __init__(self) -> None:
        self.free = 10 * RESERVE
        self.refusal: OSError | None = None
        self.refused_step = ""

    def free_octets(self, path: str) -> int:
        if self.refused_step == "free_octets" and self.refusal:
            raise self.refusal
        return self.free

    def write(self, descriptor: int, chunks: Any) -> None:
        if self.refused_step == "write" and self.refusal:
            raise self.refusal
        super().write(descriptor, chunks)

    def sync(self, descriptor: int) -> None:
        if self.refused_step == "sync" and self.refusal:
            raise self.refusal
        super().sync(descriptor)

    def read(self, path: str, offset: int, limit_octets: int) -> bytes:
        if self.refused_step == "read" and self.refusal:
            raise self.refusal
        return super().read(path, offset, limit_octets)

    def refuse(self, step: str, number: int) -> None:
        self.refused_step, self.refusal = step, OSError(number, os.strerror(number))


class SqliteWorld:
    def __init__(self, folder: Path) -> None:
        self.now = 1_700_000_000.5
        self.folder = folder
        self.reactor = ThreadedClock()
        self.disk = FillableDisk()
        self.sqlite = self.open()

    @property
    def spool(self) -> Spool:
        return self.sqlite

    def settings(self) -> SpoolSettings:
        return SpoolSettings(str(self.folder / "spool"), RESERVE, 65536, LEASE_SECONDS, "a")

    def open(self) -> SqliteSpool:
        return SqliteSpool.open(self.settings(), self.reactor, lambda: self.now, self.disk)

    def reopen(self) -> None:
        self.run(self.sqlite.close())
        self.sqlite = self.open()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.reactor.wait_for(coroutine)

    def fill(self) -> None:
        self.disk.free = RESERVE - 1
        self.reactor.advance(2.0)

    def empty(self) -> None:
        self.disk.free = 10 * RESERVE
        self.reactor.advance(2.0)

    def files(self) -> list[str]:
        """Bodies and drafts on the disk, when all threads have done their work."""
        self.reopen()
        spool = self.folder / "spool"
        return [str(path.relative_to(spool)) for path in sorted(spool.glob("*/**/*")) if path.is_file()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SqliteWorld]:
    world = SqliteWorld(tmp_path)
    yield world
    world.run(world.sqlite.close())


class TestSqlite(SpoolContract):
    pass
