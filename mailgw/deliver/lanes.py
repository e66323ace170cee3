"""The lanes of a gateway in the reactor's time: who may begin an attempt, who waits for what, and who is woken when.

What is decided is in ``queue.lanes`` and ``queue.gates``; this has the timers, and the gates that lanes share.

Rules:
    A lane begins nothing before its gates are known (``IShapedBackend.shape``); where they cannot be known, it has the
    backend's concurrency and no others.
    Who has a gate to wait for is woken by it: by the end of an attempt inside, or by the clock.
    Places are few: those of fresh mail to destinations that are well, and as many for what was tried before or is
    unwell.  So however many dead destinations are tried, fresh mail has places of its own.  In both, senders take
    turns, and then lanes.
    What is unwell is remembered for a while without work, so that each new message is not the first.
    Nothing goes through all lanes but the operator's orders: who is to be woken or forgotten is known by the time.
    What a lane leads to is asked for anew when it is to be tried, or mail for it comes.
    Lanes that make way for others leave them their gates, of backends that are the same: who is still inside counts,
    what began before counts against a rate, and how a destination feels stays known.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappop, heappush
from math import inf
from typing import Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgw.deliver.names import backend_of
from mailgw.deliver.passes import Passes, Register
from mailgw.interfaces import IDeliveryBackend, IKeepsSessions, ILimitedHere, IShapedBackend
from mailgw.mail.errors import TemporaryFault
from mailgw.mail.outcome import Outcome
from mailgw.mail.shape import Bounds, Shape
from mailgw.net.tasks import TaskGroup
from mailgw.queue.gates import Gate, Pauses, is_for_all
from mailgw.queue.lanes import SOON_SECONDS, Lane
from mailgw.queue.permits import Path
from mailgw.queue.suspension import Suspensions
from mailgw.queue.turns import Turns

log = Logger()

T = TypeVar("T")

# Attempts at once over all lanes: each may hold a socket and a chunk of content.
MAX_ATTEMPTS = 500
# Of those, what is tried again, or where somebody is unwell.
MAX_SLOW_ATTEMPTS = 250
# Some 2 KiB each.  Of more destinations than that mail waits on disk until some are done with.
MAX_LANES = 50_000
# Names of destinations without work where somebody was reached the last time: their mail has places of its own.
MAX_REACHED = 10_000
# How long a lane without work remembers that its destination is unwell, from when it may be tried again.
REMEMBER_SECONDS = 600.0
# How often DNS is asked anew what a lane leads to, and how long at most an answer is waited for.
SHAPE_SECONDS = 300.0


@attrs.frozen
class Inside:
    """The gates that an attempt has passed, whether its place is one of the slow ones, and the path that its pass is
    for, None without one."""

    gates: tuple[Gate, ...]
    is_slow: bool
    path: Path | None = None


class Lanes(Generic[T]):
    """All lanes that have work, or are unwell.  ``suspensions`` says where the operator wants nothing to be tried;
    ``work`` is called with a lane whose gate has opened.  ``register``: the limits of destinations are shared with
    others, and counted there; None where these lanes are all there are."""

    def __init__(
        self,
        backends: Mapping[str, IDeliveryBackend],
        pauses: Pauses,
        suspensions: Callable[[], Suspensions],
        clock: IReactorTime,
        tasks: TaskGroup,
        work: Callable[[Lane[T]], None],
        register: Register | None = None,
    ) -> None:
        self._backends = backends
        self._pauses = pauses
        self._suspensions = suspensions
        self._clock = clock
        self._tasks = tasks
        self._work = work
        self._lanes: dict[str, Lane[T]] = {}
        self._reached: OrderedDict[str, None] = OrderedDict()
        # What is unwell without work, by when it is looked at whether it may be forgotten; each name once.
        self._remembered: list[tuple[float, str]] = []
        self._is_remembered: set[str] = set()
        self._shared: dict[str, Gate] = {}
        self._named_by: Counter[str] = Counter()  # how many lanes have a shared gate
        self._unnamed: set[str] = set()  # those that none has
        self._blocked: dict[str, Turns[Lane[T]]] = {}  # by the key of the gate they wait for
        self._wakes: dict[str, IDelayedCall] = {}
        self._fresh: Turns[Lane[T]] = Turns()
        self._slow: Turns[Lane[T]] = Turns()
        self._is_serving = False
        self._is_stopped = False
        self._served_gates: set[str] = set()
        self.active = 0
        self.active_slow = 0
        self._inherited: dict[str, Gate] = {}  # what nobody here has come to yet
        self._heir: Lanes[T] | None = None
        self._passes = None if register is None else Passes(register, self._granted, self._part, clock)

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane[T]]:
        """A copy: lanes may come and go meanwhile."""
        return iter(list(self._lanes.values()))

    @property
    def is_full(self) -> bool:
        return len(self._lanes) >= MAX_LANES

    def get(self, key: str) -> Lane[T] | None:
        return self._lanes.get(key)

    def lane(self, key: str) -> Lane[T]:
        """The lane of that name, made where there is none."""
        lane = self._lanes.get(key)
        if lane is None:
            backend = self._backends.get(backend_of(key))
            limit = max(1, backend.concurrency) if backend is not None else 1
            gate = self._inherited.pop(key, None)
            if gate is None:
                gate = Gate(key, Bounds(limit, None), self._pauses)
                gate.was_reached = key in self._reached
            elif gate.bounds.rate is None:  # a rate is not known before the shape is, and its debt is to be kept
                gate.rebind(Bounds(limit, None))
            lane = self._lanes[key] = Lane(key, gate)
            lane.is_suspended = self._suspensions().holds(key)
            self._shape(lane)
        elif self._clock.seconds() - lane.shaped_at > SHAPE_SECONDS:
            self._shape(lane)
        return lane

    def awake(self, due: Iterable[tuple[str, float]]) -> Iterator[str]:
        """Of lanes in which something is due, those for which something may be done now.  Those that are asleep need no
        more than to know that they have more: ten thousand dead destinations cost next to nothing."""
        now = self._clock.seconds()
        for key, _ in due:
            lane = self._lanes.get(key)
            if lane is not None and lane.is_asleep(now):
                lane.has_more = True
            else:
                yield key

    def forget_if_idle(self, lane: Lane[T]) -> None:
        """It has no work; what is unwell is kept for a while.  To be called whenever the last of its work goes."""
        if not lane.is_idle or self._lanes.get(lane.key) is not lane:
            return
        if not self._is_forgotten(lane.gate):
            if lane.key not in self._is_remembered:
                self._is_remembered.add(lane.key)
                heappush(self._remembered, (self._forgotten_at(lane.gate), lane.key))
            return
        del self._lanes[lane.key]
        self._unname(lane)
        self._reached.pop(lane.key, None)
        if lane.gate.was_reached:
            self._reached[lane.key] = None
            if len(self._reached) > MAX_REACHED:
                self._reached.popitem(last=False)
        self._fresh.drop(lane.key)
        self._slow.drop(lane.key)

    def _is_forgotten(self, gate: Gate) -> bool:
        """Whether nobody needs to know any more how the destination felt.  What waits by its own schedule comes back
        within the longest pause; where lanes are too many, that is not waited for."""
        return gate.is_well or self._clock.seconds() > self._forgotten_at(gate) - self._sooner_seconds

    def _forgotten_at(self, gate: Gate) -> float:
        return gate.open_at + REMEMBER_SECONDS + self._pauses.longest_seconds

    @property
    def _sooner_seconds(self) -> float:
        return self._pauses.longest_seconds if self.is_full else 0.0

    def sweep(self) -> None:
        """Forget what is over; now and then."""
        while self._remembered and self._clock.seconds() > self._remembered[0][0] - self._sooner_seconds:
            _, key = heappop(self._remembered)
            self._is_remembered.discard(key)
            lane = self._lanes.get(key)
            if lane is not None:
                self.forget_if_idle(lane)
        for key in list(self._unnamed):
            # Whom it woke would wait for ever, though his lane may have other gates by now.
            gate = self._shared[key]
            if key not in self._blocked and gate.is_idle and self._is_forgotten(gate):
                del self._shared[key]
                self._unnamed.discard(key)
        now = self._clock.seconds()
        for key, gate in list(self._inherited.items()):
            if gate.is_idle and self._is_forgotten(gate) and not gate.has_debt(now):
                del self._inherited[key]

    # --- the ones before, and those to come -----------------------------------------------------------

    def succeed(self, elder: "Lanes[T]", is_same: Callable[[str], bool]) -> None:
        """Take over the gates of lanes that make way; ``is_same`` says of which backends.  Before anything waits here.
        """
        elder._heir = self
        gates = {**elder._inherited, **elder._shared, **{key: lane.gate for key, lane in elder._lanes.items()}}
        for key, gate in gates.items():
            if is_same(backend_of(key.partition(" ")[0])):
                gate.adapt_by(self._pauses)
                self._inherited[key] = gate
        self._reached.update((key, None) for key in elder._reached if is_same(backend_of(key)))

    def _freed(self, gates: Iterable[Gate]) -> None:
        """An attempt that others began has left these."""
        for gate in gates:
            if gate.key in self._blocked:
                self._serve_gate(gate)
            lane = self._lanes.get(gate.key)
            if lane is not None and lane.gate is gate and (lane.waiting or lane.has_more):
                self._work(lane)
        if self._heir is not None:
            self._heir._freed(gates)

    # --- the operator -------------------------------------------------------------------------------

    def suspensions_changed(self) -> None:
        """What is suspended begins nothing more; what is not any more goes on, when it is worked on."""
        suspensions = self._suspensions()
        for lane in self._lanes.values():
            lane.is_suspended = suspensions.holds(lane.key)

    def hasten(self) -> None:
        """Everything may be tried now, whatever its destination did before: when it is worked on, or has work."""
        now = self._clock.seconds()
        for gate in self._shared.values():
            gate.hasten(now)
        for lane in self._lanes.values():
            lane.gate.hasten(now)

    # --- gates ----------------------------------------------------------------------------------------

    def is_open(self, lane: Lane[T]) -> bool:
        """Whether a gate lets an attempt of this lane pass now; else it is woken when that changes."""
        if lane.is_suspended or not lane.is_shaped:
            return False
        now = self._clock.seconds()
        closed = lane.closed_gate(now)
        if closed is None:
            passes = self._passes_of(lane)
            if passes is None:
                return True
            wanted = min(lane.gate.window - lane.gate.active, len(lane.waiting))
            return passes.has(lane.path, lane.bounds, max(1, wanted))
        opens_at = closed.opens_at(now)
        if closed is not lane.gate:
            self._blocked.setdefault(closed.key, Turns()).add(lane.key, lane.waiting.next_sender(), lane)
            if opens_at < inf:
                self.wake(closed.key, opens_at - now, lambda: self._serve_gate(closed))
        elif opens_at < inf:
            self.wake_lane(lane, opens_at - now)
        return False  # where an attempt has to end first, its end will wake it

    def has_place(self, lane: Lane[T]) -> bool:
        """Whether there is a place for one attempt more; else the lane stands in line for one."""
        if self.active < MAX_ATTEMPTS and (not lane.is_slow or self.active_slow < MAX_SLOW_ATTEMPTS):
            return True
        self._stand_in_line(lane)
        return False

    def _stand_in_line(self, lane: Lane[T]) -> None:
        (self._slow if lane.is_slow else self._fresh).add(lane.key, lane.waiting.next_sender(), lane)

    def begins(self, lane: Lane[T], is_slow: bool) -> Inside:
        """An attempt begins, which ``has_place`` and ``is_open`` allowed; to be handed to ``ended``.  ``is_slow`` is
        what the lane was before its item was taken."""
        self.active += 1
        self.active_slow += is_slow
        gates = lane.passes(self._clock.seconds())
        passes = self._passes_of(lane)
        if passes is None:
            return Inside(gates, is_slow)
        path = lane.path
        passes.begins(path)
        return Inside(gates, is_slow, path)

    def ended(self, lane: Lane[T], inside: Inside, said: Outcome | None, began: float) -> None:
        """An attempt ended, which began at ``began`` by the wall clock; ``said`` is what it says of the destination."""
        self.active -= 1
        self.active_slow -= inside.is_slow
        now = self._clock.seconds()
        to_all = said if said is None or is_for_all(said) else None
        for gate in inside.gates:
            gate.ended(said if gate is lane.gate else to_all, now, began)
        if inside.path is not None and self._passes is not None:
            self._passes.ended(inside.path)

    def go_on(self, lane: Lane[T], inside: Inside) -> None:
        """After ``ended``: others may begin, and so may this one, behind them."""
        for gate in inside.gates:
            if gate.key in self._blocked:
                self._serve_gate(gate)
        lane = self._lanes.get(lane.key, lane)  # what the attempt came to may have had it forgotten, and made again
        if lane.waiting and (self._fresh or self._slow or self._is_serving):
            self._stand_in_line(lane)
        else:
            self._work(lane)  # what it has on disk is fetched without waiting for a place
        self._serve_places()
        if inside.path is not None and self._passes is not None:
            self._passes.settle(inside.path)
        if self._heir is not None:
            self._heir._freed(inside.gates)

    def _serve_places(self) -> None:
        if self._is_serving:
            return  # an attempt that ended at once: the loop below goes on, the stack does not grow
        self._is_serving = True
        try:
            while self.active < MAX_ATTEMPTS:
                if self._slow and self.active_slow < MAX_SLOW_ATTEMPTS:
                    self._work(self._slow.take())
                elif not self._fresh:
                    return
                if self._fresh and self.active < MAX_ATTEMPTS:
                    self._work(self._fresh.take())
        finally:
            self._is_serving = False

    def _serve_gate(self, gate: Gate) -> None:
        if gate.key in self._served_gates:
            return  # as above
        self._served_gates.add(gate.key)
        waiting = self._blocked.get(gate.key)
        try:
            while waiting and gate.may_pass(self._clock.seconds()):
                self._work(waiting.take())
        finally:
            self._served_gates.discard(gate.key)
        if waiting:
            opens_at = gate.opens_at(self._clock.seconds())
            if opens_at < inf:
                self.wake(gate.key, opens_at - self._clock.seconds(), lambda: self._serve_gate(gate))
        else:
            self._blocked.pop(gate.key, None)

    def wake_lane(self, lane: Lane[T], seconds: float) -> None:
        key = lane.key

        def wake() -> None:
            if key in self._lanes:  # it may have been forgotten, and made again, in the meantime
                awake = self.lane(key)
                awake.wakes_at = inf
                self._work(awake)

        self.wake(key, seconds, wake)
        lane.wakes_at = self._wakes[key].getTime()

    def wake(self, key: str, seconds: float, call: Callable[[], None]) -> None:
        """``call`` in ``seconds``, unless something of this key is called anyway, and not later."""
        known = self._wakes.get(key)
        now = self._clock.seconds()
        if known is not None:
            if known.getTime() <= now + seconds + SOON_SECONDS:
                return
            known.cancel()

        def wake() -> None:
            del self._wakes[key]
            call()

        self._wakes[key] = self._clock.callLater(max(0.0, seconds), wake)

    def stop(self) -> None:
        """No timers any more, and nobody is asked."""
        self._is_stopped = True
        for call in self._wakes.values():
            if call.active():
                call.cancel()
        self._wakes.clear()
        if self._passes is not None:
            self._passes.stop()

    # --- passes, where others deliver there, too ------------------------------------------------------

    def _passes_of(self, lane: Lane[T]) -> Passes | None:
        """None where an attempt of this lane needs no pass."""
        if self._passes is None or ILimitedHere.providedBy(self._backends.get(backend_of(lane.key))):
            return None
        return self._passes

    def settle(self, lane: Lane[T]) -> None:
        """It begins nothing more for now: passes that it does not use go back, where others wait for them."""
        passes = self._passes_of(lane)
        if passes is not None:
            passes.settle(lane.path)

    def _granted(self, path: Path) -> None:
        lane = self._lanes.get(path[0])
        if lane is not None and lane.path == path:
            self._work(lane)  # which settles; where it is at work already, it does so in the end
        elif self._passes is not None:
            self._passes.settle(path)

    def _part(self, key: str, count: int) -> None:
        name, _, destination = key.partition("/")
        backend = self._backends.get(name)
        if IKeepsSessions.providedBy(backend):
            backend.part(destination, count)

    # --- shapes ---------------------------------------------------------------------------------------

    def _shape(self, lane: Lane[T]) -> None:
        lane.shaped_at = self._clock.seconds()
        backend = self._backends.get(backend_of(lane.key))
        if backend is None or not IShapedBackend.providedBy(backend):
            lane.is_shaped = True
            return
        if self._is_stopped:
            return  # a notice of the last attempts: the stop would wait for DNS
        self._tasks.spawn("shape", self._learn_shape(lane, backend))

    async def _learn_shape(self, lane: Lane[T], backend: IShapedBackend) -> None:
        name, _, destination = lane.key.partition("/")
        try:
            answer: Deferred[Shape] = Deferred.fromCoroutine(backend.shape(destination))
            shape = await answer.addTimeout(SHAPE_SECONDS, self._clock)
        except (TemporaryFault, TimeoutError):
            lane.shaped_at = self._clock.seconds() - SHAPE_SECONDS  # the attempt will meet the same, and say so
        else:
            lane.gate.rebind(shape.destination)
            self._share(lane, tuple(self._gate(f"{name} {key}", bounds) for key, bounds in shape.gates.items()))
        finally:
            lane.is_shaped = True
            # Other gates may be open.  Without work it is being made: whoever does that has some for it.
            if lane.waiting or lane.has_more:
                self._work(lane)

    def _gate(self, key: str, bounds: Bounds) -> Gate:
        gate = self._shared.get(key)
        if gate is None:
            adapts = " host:" in key
            gate = self._inherited.pop(key, None) or Gate(key, bounds, self._pauses if adapts else None)
            self._shared[key] = gate
            self._unnamed.add(key)
        gate.rebind(bounds)
        return gate

    def _share(self, lane: Lane[T], gates: tuple[Gate, ...]) -> None:
        """The gates that it shares with others, from now on."""
        if self._lanes.get(lane.key) is lane:  # else it was forgotten meanwhile
            for gate in gates:
                self._named_by[gate.key] += 1
                self._unnamed.discard(gate.key)
            self._unname(lane)
        lane.shared = gates

    def _unname(self, lane: Lane[T]) -> None:
        for gate in lane.shared:
            self._named_by[gate.key] -= 1
            if not self._named_by[gate.key]:
                del self._named_by[gate.key]
                self._unnamed.add(gate.key)
