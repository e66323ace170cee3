"""What the parent knows of each worker."""

import attrs
from twisted.internet.interfaces import IDelayedCall

from mailgw.workers.calls import Wire
from mailgw.workers.launching import WorkerProcess
from mailgw.workers.restarts import Restarts
from mailgw.workers.watch import Watch


@attrs.define(eq=False)
class Worker:
    """``shards``: its own, and those that are left over.  ``wire`` is None while there is no process."""

    number: int
    shards: tuple[int, ...]
    restarts: Restarts = attrs.Factory(Restarts)
    process: WorkerProcess | None = None
    wire: Wire | None = None
    is_ready: bool = False
    watch: Watch = attrs.Factory(Watch)
    is_asked: bool = False  # whether it is alive
    asked_at: float = 0.0  # ... by the reactor's clock
    call: IDelayedCall | None = None


@attrs.define(eq=False)
class TakenOver:
    by: Worker
    at: float
    is_open: bool = False
