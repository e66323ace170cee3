"""Sessions recorded on request: those of clients in a network, from the greeting on, for some minutes.

Rules:
    Where nothing was asked for it costs a look at one attribute a session.
    What is secret does not get this far (``wire.transcript``).
    Files are written in a thread, a second after something was said; one that cannot be written is given up, and the
    log says so once.
    Nothing of it outlives the process but the files.
"""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgw.mail.ports import WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.store.recordings import RecordedLine, RecordingFolder, RecordingHead
from mailgw.store.state_file import Workshop
from mailgw.wire.transcript import Transcript

log = Logger()

MOST_MINUTES: Final = 60
MOST_SESSIONS: Final = 100
MOST_ORDERS: Final = 20
WRITE_SECONDS: Final = 1.0


@attrs.frozen
class Order:
    """Record the next ``sessions`` sessions of clients in ``network``, until a time (seconds since the epoch)."""

    id: str
    network: str
    until: float
    sessions: int


@attrs.define(eq=False)
class _InForce:
    order: Order
    network: IPv4Network | IPv6Network
    call: IDelayedCall
    begun: int = 0


class Recordings:
    """Of one process.  ``is_on`` says that any session may have to be recorded.  ``told`` hears, by its id, that an
    order got one session more."""

    def __init__(
        self, folder: RecordingFolder, workshop: Workshop, clock: IReactorTime, wall_clock: WallClock, tasks: TaskGroup
    ) -> None:
        self.is_on = False
        self.told: Callable[[str], None] = _nobody
        self.folder = folder
        self.workshop = workshop
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks = tasks
        self._orders: dict[str, _InForce] = {}
        self._live: dict[Recording, str] = {}

    # --- orders ---------------------------------------------------------------------------------------------

    def start(self, order: Order) -> None:
        """From the next session on."""
        seconds = max(0.0, order.until - self._wall_clock())
        call = self._clock.callLater(seconds, self._end, order.id)
        self._orders[order.id] = _InForce(order, ip_network(order.network), call)
        self.is_on = True

    def stop(self, order_id: str) -> None:
        """No further session, and nothing more of those that are being recorded for it."""
        self._end(order_id)
        for recording, of in list(self._live.items()):
            if of == order_id:
                recording.end("the recording was stopped")

    def fill(self, order_id: str) -> None:
        """No further session; others have them."""
        self._end(order_id)

    def orders(self) -> Sequence[Mapping[str, Any]]:
        """Those in force, with how many sessions each has ``begun``."""
        return [attrs.asdict(one.order) | {"begun": one.begun} for one in self._orders.values()]

    def close(self) -> None:
        """No more of anything."""
        for order_id in list(self._orders):
            self._end(order_id)
        for recording in list(self._live):
            recording.end("the gateway stops")

    def _end(self, order_id: str) -> None:
        ended = self._orders.pop(order_id, None)
        if ended is not None and ended.call.active():
            ended.call.cancel()
        self.is_on = bool(self._orders)

    # --- sessions -------------------------------------------------------------------------------------------

    def of(self, session_id: str, role: str, address: str) -> "Recording | None":
        """That of a session which begins now, or whose client is known now; None where it is nobody's."""
        try:
            client = ip_address(address)
        except ValueError:  # by a Unix socket, or unknown
            return None
        for one in self._orders.values():
            if client.version == one.network.version and client in one.network:
                break
        else:
            return None
        one.begun += 1
        self.told(one.order.id)
        if one.begun >= one.order.sessions:
            self._end(one.order.id)
        head = RecordingHead(session_id, role, address, self._wall_clock())
        recording = Recording(self, head, self._clock)
        self._live[recording] = one.order.id
        return recording

    # --- of a recording -------------------------------------------------------------------------------------

    def write(self, head: RecordingHead | None, session_id: str, lines: Sequence[RecordedLine]) -> None:
        """In a thread, behind what was written before; ``head`` is for the first time."""
        self._tasks.spawn("recording a session", self._write(head, session_id, lines))

    async def _write(self, head: RecordingHead | None, session_id: str, lines: Sequence[RecordedLine]) -> None:
        def do() -> None:
            if head is not None:
                self.folder.begin(head)
            self.folder.add(session_id, lines)

        try:
            await self.workshop.do(do)
        except OSError as fault:
            log.error("the recording of session {session_id} cannot be written: {why}", session_id=session_id,
                      why=fault.strerror or str(fault))
            for recording in list(self._live):
                if recording.head.session_id == session_id:
                    recording.drop()

    def ended(self, recording: "Recording") -> None:
        self._live.pop(recording, None)


def _nobody(order_id: str) -> None:
    pass


class Recording:
    """One session's."""

    def __init__(self, owner: Recordings, head: RecordingHead, clock: IReactorTime) -> None:
        self.head = head
        self.transcript = Transcript(self._take)
        self._owner = owner
        self._clock = clock
        self._began = clock.seconds()
        self._lines: list[RecordedLine] = []
        self._timer: IDelayedCall | None = None
        self._is_begun = False
        self._is_over = False

    def end(self, why: str) -> None:
        """The session is over, or nobody wants to know more."""
        if self._is_over:
            return
        self.transcript.note(why)
        self._is_over = True
        self._write()
        self._owner.ended(self)

    def drop(self) -> None:
        """It cannot be written."""
        self._is_over = True
        self._lines.clear()
        self._stop_timer()
        self._owner.ended(self)

    def _take(self, side: str, text: str) -> None:
        if self._is_over:
            return
        self._lines.append(RecordedLine(round(self._clock.seconds() - self._began, 3), side, text))
        if self._timer is None:
            self._timer = self._clock.callLater(WRITE_SECONDS, self._write)

    def _write(self) -> None:
        self._stop_timer()
        lines, self._lines = self._lines, []
        if lines:
            self._owner.write(None if self._is_begun else self.head, self.head.session_id, lines)
            self._is_begun = True

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
