"""Limits of clients, logins and destinations over several workers, by wires in memory."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from mailgw.deliver.dispatcher import Dispatcher
from mailgw.deliver.passes import PassOwner
from mailgw.deliver.permits import PermitDesk
from mailgw.mail.ports import Excess, Lock
from mailgw.mail.rate import Rate
from mailgw.mail.shape import Bounds
from mailgw.queue.permits import Word
from mailgw.receive.admission import OwnCounters
from mailgw.testing.driving import result_of
from mailgw.workers.counters import AskedCounters, CountersOfWorkers
from mailgw.workers.passes import AskedPasses, PassesOfWorkers
from tests.deliver.dispatching import BOB, House, ScriptedBackend
from tests.deliver.test_passes import Shared, attempts
from tests.policy.test_limits import limits
from tests.policy.test_lockout import lockout
from tests.workers.wires import Ends, now

ADDRESS = "192.0.2.1"


class Clients:
    """The parent's counters, and two workers' questions."""

    def __init__(self, **changes: object) -> None:
        self.clock = Clock()
        locks = lockout(failures_per_address=2, failures_per_network=9, failures_per_login=9)
        own = OwnCounters(limits(**changes), locks, self.clock.seconds)
        self.book = CountersOfWorkers(own)
        self.ends = [Ends(self._answerer(number), clock=self.clock) for number in range(2)]
        self.workers = [AskedCounters(ends.worker) for ends in self.ends]

    def _answerer(self, number: int) -> Callable[[str, Sequence[Any]], object]:
        return lambda name, arguments: self.book.answer(number, name, arguments)

    def said(self, question: Any) -> Any:
        answer = Deferred.fromCoroutine(question)
        for ends in self.ends:
            ends.pump()
        return now(answer)


def test_sessions_of_an_address_are_counted_over_all_workers() -> None:
    clients = Clients(sessions_per_address=2)
    one, two = clients.workers
    assert clients.said(one.enter(ADDRESS)) is None
    assert clients.said(two.enter(ADDRESS)) is None
    assert clients.said(two.enter(ADDRESS)) == Excess("sessions_per_address", 0.0)
    clients.said(one.leave(ADDRESS))
    assert clients.said(two.enter(ADDRESS)) is None


def test_sessions_of_a_worker_that_is_gone_are_over() -> None:
    clients = Clients(sessions_per_address=3)
    one, two = clients.workers
    for worker in (one, one, two):
        assert clients.said(worker.enter(ADDRESS)) is None
    result_of(clients.book.gone(0))
    result_of(clients.book.gone(0))
    assert [clients.said(two.enter(ADDRESS)) for _ in range(3)] == [
        None, None, Excess("sessions_per_address", 0.0)
    ]


def test_rates_of_messages_are_over_all_workers() -> None:
    clients = Clients(messages_per_login=Rate(2, 10.0))
    one, two = clients.workers
    assert clients.said(one.message(ADDRESS, "ann@example.org")) is None
    assert clients.said(two.message(None, "ann@example.org")) is None
    assert clients.said(one.message(ADDRESS, "ann@example.org")) == Excess("messages_per_login", 5.0)
    assert clients.said(one.message(ADDRESS, None)) is None


def test_who_guesses_at_two_workers_is_locked_out_of_both() -> None:
    clients = Clients()
    one, two = clients.workers
    for worker, locks in ((one, []), (two, [Lock("address", ADDRESS, 60.0)])):
        assert clients.said(worker.login_begins(ADDRESS, "ann@example.org")) is None
        assert clients.said(worker.login_ends(ADDRESS, "ann@example.org", False, None)) == locks
    assert clients.said(one.login_begins(ADDRESS, "ann@example.org")) == Excess("lockout", 60.0)


def test_who_is_greylisted_by_one_worker_is_known_to_the_others() -> None:
    clients = Clients()
    one, two = clients.workers
    assert clients.said(one.first_time("ann@example.net", "x+greylist@example.org")) is True
    assert clients.said(two.first_time("ann@example.net", "x+greylist@example.org")) is False
    assert clients.said(two.first_time("bob@example.net", "x+greylist@example.org")) is True


def test_what_a_worker_judged_when_it_died_is_no_failure_and_pending_no_more() -> None:
    clients = Clients()
    one, two = clients.workers
    for _ in range(2):
        assert clients.said(one.login_begins(ADDRESS, "ann@example.org")) is None
    assert clients.said(two.login_begins(ADDRESS, "ann@example.org")) == Excess("lockout", 1.0)
    result_of(clients.book.gone(0))
    assert clients.said(two.login_begins(ADDRESS, "ann@example.org")) is None


def test_who_goes_while_he_asks_has_begun_nothing() -> None:
    clients = Clients(sessions_per_address=1)
    one, two = clients.workers
    for question in (one.login_begins(ADDRESS, "ann@example.org"), one.enter(ADDRESS)):
        asking = Deferred.fromCoroutine(question)
        asking.addErrback(lambda failure: failure.trap(CancelledError))
        asking.cancel()
    for ends in clients.ends:
        ends.pump()
    assert clients.said(two.enter(ADDRESS)) is None
    for _ in range(2):
        assert clients.said(two.login_begins(ADDRESS, "ann@example.org")) is None
    asking = Deferred.fromCoroutine(one.login_begins(ADDRESS, "ann@example.org"))  # it is refused: nothing to undo
    asking.addErrback(lambda failure: failure.trap(CancelledError))
    asking.cancel()
    clients.ends[0].pump()
    assert clients.said(two.login_begins(ADDRESS, "ann@example.org")) == Excess("lockout", 1.0)


class Delivering(House):
    """A worker with one shard, whose passes come by a wire."""

    def __init__(self, number: int, backend: object, passes: PassesOfWorkers, clock: Clock) -> None:
        self.number, self.shared_clock = number, clock

        def asked(name: str, arguments: Sequence[Any]) -> None:
            passes.answer(number, self.ends.parent, name, arguments)

        def told(name: str, arguments: Sequence[Any]) -> None:
            self.asked.hear(name, arguments)

        self.ends = Ends(asked, told, clock)
        self.asked = AskedPasses(self.ends.worker)
        super().__init__(backend)
        self.clock = clock
        self.dispatcher = self.another_dispatcher()

    def another_dispatcher(self) -> Dispatcher:
        def register(hear: Callable[[Word], None]) -> PassOwner:
            return self.asked.register(7, hear)

        return Dispatcher(
            self.settings, self.spool, {"out": self.backend},  # type: ignore[dict-item]
            self.lane_for, self, self.shared_clock, self.now, self.chance, register=register,
        )


class Gateway:
    def __init__(self, make: Callable[[], ScriptedBackend], count: int = 3) -> None:
        self.clock = Clock()
        self.desk = PermitDesk(self.clock)
        self.passes = PassesOfWorkers(self.desk)
        self.workers = [Delivering(number, make(), self.passes, self.clock) for number in range(count)]

    def pump(self) -> None:
        for _ in range(4):
            for worker in self.workers:
                worker.ends.pump()

    def let_one_go(self) -> int:
        """Which worker's attempt ended."""
        number = next(n for n, count in enumerate(attempts(self.workers)) if count)  # type: ignore[arg-type]
        self.workers[number].backend.let_go()  # type: ignore[attr-defined]
        self.pump()
        return number


def test_one_at_a_time_over_three_processes_and_each_has_its_turn() -> None:
    gateway = Gateway(lambda: ScriptedBackend(concurrency=1))
    for worker in gateway.workers:
        worker.put(BOB)
        worker.put(BOB)
    gateway.pump()
    turns = []
    for _ in range(6):
        assert sum(attempts(gateway.workers)) == 1  # type: ignore[arg-type]
        turns.append(gateway.let_one_go())
    assert sorted(turns[:3]) == sorted(turns[3:]) == [0, 1, 2]
    assert [len(worker.rows()) for worker in gateway.workers] == [0, 0, 0]


def test_a_worker_that_dies_leaves_its_passes_to_the_others() -> None:
    gateway = Gateway(lambda: ScriptedBackend(concurrency=1), 2)
    one, two = gateway.workers
    one.put(BOB)
    gateway.pump()
    two.put(BOB)
    gateway.pump()
    assert attempts([one, two]) == [1, 0]  # type: ignore[list-item]
    one.ends.cut()
    gateway.pump()
    assert attempts([one, two]) == [1, 0]  # type: ignore[list-item] # its process may still be there
    gateway.passes.gone(0)
    gateway.pump()
    assert attempts([two]) == [1]  # type: ignore[list-item]


def test_a_shard_that_is_given_up_leaves_its_passes() -> None:
    gateway = Gateway(lambda: ScriptedBackend(concurrency=1), 2)
    one, two = gateway.workers
    one.put(BOB)
    gateway.pump()
    one.asked.gone(7)
    two.put(BOB)
    gateway.pump()
    assert attempts([two]) == [1]  # type: ignore[list-item]
    one.backend.let_go()  # type: ignore[attr-defined]
    gateway.pump()  # what it gives back now is nobody's


@given(st.data())
def test_never_more_than_the_bounds_over_all_processes(data: st.DataObject) -> None:
    lane, backend = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    gateway = Gateway(lambda: Shared(Bounds(lane, None), Bounds(backend, None)))
    for _ in range(data.draw(st.integers(1, 25))):
        worker = data.draw(st.sampled_from(gateway.workers))
        match data.draw(st.sampled_from(["put", "put", "end", "pump", "time"])):
            case "put":
                worker.put(BOB, claim=data.draw(st.booleans()))
            case "end" if worker.backend.waiting:  # type: ignore[attr-defined]
                worker.backend.let_go()  # type: ignore[attr-defined]
            case "time":
                gateway.clock.advance(1.0)
            case _:
                worker.ends.pump()
        assert sum(attempts(gateway.workers)) <= min(lane, backend)  # type: ignore[arg-type]
    for _ in range(200):
        gateway.pump()
        for worker in gateway.workers:
            if worker.backend.waiting:  # type: ignore[attr-defined]
                worker.backend.let_go()  # type: ignore[attr-defined]
        gateway.clock.advance(0.5)
        if not any(worker.rows() for worker in gateway.workers):
            break
    assert [len(worker.rows()) for worker in gateway.workers] == [0, 0, 0]
