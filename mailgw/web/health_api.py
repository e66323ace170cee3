"""How the gateway is, what is wrong with it, and by which configuration it runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mailgw.web.findings import findings
from mailgw.web.operations import Asked, Operation, Scope
from mailgw.web.queue_api import LaneNow


class Finding(msgspec.Struct):
    """``level`` bad or warn."""

    level: str
    what: str
    why: str


class Listener(msgspec.Struct):
    role: str
    endpoint: str


class Certificate(msgspec.Struct):
    """``name`` as [tls] has it, "default" for itself; times in epoch seconds, null where ``why`` says what is wrong
    with the file."""

    name: str
    file: str
    names: list[str]
    issuer: str
    not_before: float | None
    not_after: float | None
    key: str
    why: str


class Disk(msgspec.Struct):
    """Of the state folder; below the reserve no mail is taken."""

    path: str
    free_octets: int
    reserve_octets: int
    has_room: bool


class MaildropNow(msgspec.Struct):
    """Where programs of this machine leave mail: how many messages wait there, how many of them for longer than some
    minutes (``late``) and why the last that was tried does, how many cannot be sent (``bad``); ``fault`` is what is
    wrong with the folder, else ""."""

    folder: str
    waiting: int
    late: int
    bad: int
    why: str
    fault: str


class TroubleOf(msgspec.Struct):
    """A plug-in, or a part of the gateway, that failed: how often since the start, when first and last, how last."""

    what: str
    why: str
    count: int
    first: float
    last: float
    queue_id: str


class Worker(msgspec.Struct):
    """One of several processes; ``pid`` 0 where it does not run, ``ends`` how often it ended of late."""

    worker: int
    pid: int
    is_ready: bool
    answers: bool
    ends: int
    shards: list[int]


class Health(msgspec.Struct):
    """``findings`` are what is wrong, the worst first; none: all is well.  ``began`` in epoch seconds; ``workers`` []
    where one process is all there is; ``notes``: what ``mailgw check`` says of the configuration that is no fault."""

    findings: list[Finding]
    hostname: str
    version: str
    began: float
    pid: int
    sessions: int
    most_sessions: int
    listeners: list[Listener]
    certificates: list[Certificate]
    disk: Disk
    maildrop: MaildropNow | None
    unwell: list[LaneNow]
    troubles: list[TroubleOf]
    workers: list[Worker]
    notes: list[str]


class Configuration(msgspec.Struct):
    """``file`` "" where there is none; ``written`` what it says, without secrets; ``staging``: nothing leaves, but by
    what it lets out."""

    file: str
    staging: bool
    written: dict[str, Any]


async def _health(asked: Asked) -> object:
    told: Any = await asked.door.answer({"command": "health"})
    assert isinstance(told, Mapping)
    return {**told, "findings": findings(told, told["now"])}


async def _configuration(asked: Asked) -> object:
    return await asked.door.answer({"command": "config"})


def operations() -> Sequence[Operation]:
    return (
        Operation("GET", "/health", Scope.READ, "How the gateway is, and what is wrong with it", Health, _health),
        Operation(
            "GET", "/config", Scope.READ, "The configuration in force, without its secrets", Configuration,
            _configuration,
        ),
    )
