"""Facts of the gateway's own life, and of its processes'; ``event`` has them with all others."""

from typing import ClassVar

import attrs

from mailgw.mail.event_kind import Event


@attrs.frozen
class Started(Event):
    name: ClassVar[str] = "started"
    hostname: str
    version: str
    endpoints: tuple[str, ...]


@attrs.frozen
class Reloaded(Event):
    """Another configuration is in force, or the files that it names were read again; ``changes`` in words.  With
    ``faults`` the one before stays, all of it."""

    name: ClassVar[str] = "reloaded"
    changes: tuple[str, ...]
    faults: tuple[str, ...]


@attrs.frozen
class Stopped(Event):
    name: ClassVar[str] = "stopped"
    hostname: str
    seconds: float


@attrs.frozen
class WorkerStarted(Event):
    """One of several processes is open; ``worker`` is its number, from 0."""

    name: ClassVar[str] = "worker_started"
    worker: int
    pid: int


@attrs.frozen
class WorkerEnded(Event):
    """One ended without being told to; it is started again after ``seconds``.  ``pid`` is 0 where it could not be."""

    name: ClassVar[str] = "worker_ended"
    worker: int
    pid: int
    why: str
    seconds: float
