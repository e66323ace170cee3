"""The attempts that run: the gates that each is inside of, the time it has, and what it says of its destination.

Rules:
    Who has had his time is cancelled.  What the backend knows by then counts; for the others it took too long, which
    says nothing of the destination.
    Whatever a plug-in does, or its outcomes do to us, the gates learn that the attempt is over.
    What an attempt came to is handed on before others begin.
    At the limit of a stop what was not tried to its end is not counted: its lease ends with the spool.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime

from mailgw.deliver.attempt import LaneFor, Note, attempt, attempt_rerouted, of_the_destination, with_parameters
from mailgw.deliver.lanes import Inside, Lanes
from mailgw.deliver.names import backend_of
from mailgw.deliver.places import Waiting
from mailgw.interfaces import IDeliveryBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.event import Trouble
from mailgw.mail.message import Claim
from mailgw.mail.outcome import Outcome, Permanence, Scope, temporary
from mailgw.mail.ports import WallClock
from mailgw.net.tasks import TaskGroup
from mailgw.queue.lanes import Lane
from mailgw.queue.replies import ReplyClass

_Lane: TypeAlias = Lane[Waiting]


class Running:
    """``seconds`` is how long one attempt may take; ``ended`` is told what each came to, with no outcome for a
    recipient that is as it was.  ``is_cut_off``: the gateway stops now, and what is cancelled was not tried."""

    def __init__(
        self,
        backends: Mapping[str, IDeliveryBackend],
        lane_for: LaneFor,
        lanes: Lanes[Waiting],
        reply_class: Callable[[Outcome], ReplyClass | None],
        seconds: float,
        clock: IReactorTime,
        wall_clock: WallClock,
        tasks: TaskGroup,
        ended: Callable[[_Lane, Claim, Mapping[Mailbox, Outcome]], None],
        note: Note,
    ) -> None:
        self.is_cut_off = False
        self._backends = backends
        self._lane_for = lane_for
        self._lanes = lanes
        self._reply_class = reply_class
        self._seconds = seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._tasks = tasks
        self._ended = ended
        self._note = note
        why = f"The delivery took longer than {seconds:.0f} seconds"
        self._too_long = temporary("4.4.7", why, Scope.MESSAGE, "")
        # What cancels each, and when it began by the reactor's clock; None while that is not known.
        self._running: dict[Claim, tuple[Callable[[], None], float] | None] = {}

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, lane: _Lane, claim: Claim, is_slow: bool) -> None:
        """Attempt what was taken from this lane, which was slow then or not (``Lanes.begins``)."""
        self._running[claim] = None
        now = self._clock.seconds()
        cancel = self._tasks.spawn("attempt", self._attempt(lane, claim, self._lanes.begins(lane, is_slow)))
        if claim in self._running:
            self._running[claim] = (cancel, now)

    def cancel_overdue(self) -> None:
        """End those that have had their time."""
        overdue = []
        for running in self._running.values():  # in the order in which they began
            if running is not None and running[1] > self._clock.seconds() - self._seconds:
                break
            if running is not None:
                overdue.append(running[0])
        for cancel in overdue:
            cancel()

    async def _attempt(self, lane: _Lane, claim: Claim, inside: Inside) -> None:
        outcomes: Mapping[Mailbox, Outcome] | None = None
        recipients = [queued.recipient for queued in claim.recipients]
        if len(recipients) > 1:
            recipients = list(dict.fromkeys(recipients))  # who was named twice gets one copy
        message = with_parameters(claim)
        began = self._wall_clock()
        name = backend_of(claim.lane)
        try:
            try:
                backend = self._backends.get(name)
                if backend is not None:
                    outcomes = await attempt(name, backend, message, recipients, self._note)
                else:
                    outcomes = await attempt_rerouted(
                        claim, message, recipients, self._lane_for, self._backends, self._too_long,
                        lambda: self.is_cut_off or self._had_its_time(claim), self._note,
                    )
            except CancelledError:
                outcomes = dict.fromkeys(recipients, self._too_long)
                if self._had_its_time(claim):  # and does not say what it knows: it hangs
                    why = f"did not answer within {self._seconds:.0f} seconds"
                    self._note(Trouble(f"backend {name}", why, "", message.queue_id))
            finally:
                self._running.pop(claim, None)
                said: Outcome | None = None
                try:
                    said = self._of_the_destination(outcomes, inside)
                finally:
                    self._lanes.ended(lane, inside, said, began)  # whatever a plug-in's outcome does to us
            if self.is_cut_off:
                outcomes = {r: o for r, o in outcomes.items() if o.permanence is not Permanence.TEMPORARY}
            self._ended(lane, claim, outcomes)
        finally:
            self._lanes.go_on(lane, inside)

    def _of_the_destination(self, outcomes: Mapping[Mailbox, Outcome] | None, inside: Inside) -> Outcome | None:
        """What an attempt says of the destination, None for nothing."""
        said, is_too_much = of_the_destination(outcomes or {}, self._too_long, self._reply_class)
        for gate in inside.gates if is_too_much else ():
            gate.slow(self._clock.seconds())
        return said

    def _had_its_time(self, claim: Claim) -> bool:
        running = self._running.get(claim)
        return running is not None and running[1] <= self._clock.seconds() - self._seconds
