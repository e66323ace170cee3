"""Another configuration for several processes: all of them prepare it, then all put it in force, or none.

Rules:
    The parent has checked it.  Nothing begins before all workers are there.
    A worker that ends while it prepares is a refusal.  One that ends later is started with what is in force then: none
    is started while that is being decided.
    Between parent and worker it goes by a file in the state folder, which nobody else can read, and which is gone with
    the answers.
"""

import os
import pickle
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, TimeoutError

from mailgw.config.settings import Config
from mailgw.mail.errors import TemporaryFault
from mailgw.reloading import Refused
from mailgw.workers.calls import Wire

# Keys, accounts and plug-ins are read meanwhile, and a worker that hangs is ended after a minute.
PREPARE_SECONDS = 50.0


class Changed(Protocol):
    """The parent."""

    is_changing: bool

    def wires(self) -> Sequence[tuple[int, Wire | None]]:
        """Each worker's number, and its wire where it is there, and open."""

    def in_thread(self, work: Callable[..., Any], *arguments: object) -> "Deferred[Any]": ...

    def take(self, config: Config) -> None:
        """The parent's own part."""


async def changed(parent: Changed, config: Config, state: str, reactor: Any) -> None:
    """Put it in force everywhere.  Refused where it is in force nowhere."""
    absent = [str(number) for number, wire in parent.wires() if wire is None]
    if absent:
        raise Refused([f"worker {', '.join(absent)} does not run: the log says why; try again"])
    parent.is_changing = True
    try:
        path = await parent.in_thread(kept, config, state)
        try:
            faults = await _prepared(parent, path, reactor)
        finally:
            os.unlink(path)
        if faults:
            for _, wire in parent.wires():
                if wire is not None:
                    wire.tell("give_up")
            raise Refused(faults)
        parent.take(config)
        for _, wire in parent.wires():
            if wire is not None:
                wire.tell("put_in_force")
    finally:
        parent.is_changing = False


async def _prepared(parent: Changed, path: str, reactor: Any) -> Sequence[str]:
    """What keeps any worker from it, each fault once."""
    asked = [
        (number, wire.ask("prepare", path).addTimeout(PREPARE_SECONDS, reactor))
        for number, wire in parent.wires() if wire is not None
    ]
    faults: dict[str, None] = {}
    for number, one in asked:  # all of them, whatever the first one says
        try:
            await one
        except TemporaryFault as fault:
            faults |= dict.fromkeys(fault.why.split("\n"))
        except TimeoutError:
            faults[f"worker {number} was not ready for it within {PREPARE_SECONDS:.0f} s"] = None
    if not faults and (absent := [number for number, wire in parent.wires() if wire is None]):
        faults[f"worker {absent[0]} ended while it prepared for it"] = None
    return list(faults)


def kept(config: Config, folder: str) -> str:
    """The path of a file, for our user alone, that holds it."""
    descriptor, path = tempfile.mkstemp(prefix="reload-", dir=folder)
    with open(descriptor, "wb") as file:
        file.write(pickle.dumps(config))
    return path


def config_at(path: str) -> Config:
    """What was kept there."""
    with open(path, "rb") as file:
        config = pickle.load(file)  # noqa: S301 - our parent wrote it, where nobody else can
    assert isinstance(config, Config)
    return config
