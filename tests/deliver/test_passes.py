"""Dispatchers that share the limits of destinations: each asks one desk for passes before it attempts anything."""

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from mailgw.deliver.dispatcher import Dispatcher
from mailgw.deliver.passes import IDLE_SECONDS, PassOwner
from mailgw.deliver.permits import PermitDesk
from mailgw.interfaces import IKeepsSessions, ILimitedHere, IShapedBackend
from mailgw.mail.address import Mailbox
from mailgw.mail.rate import Rate
from mailgw.mail.shape import Bounds, Shape
from mailgw.queue.permits import Word
from mailgw.testing.driving import result_of
from tests.deliver.dispatching import ALICE, BOB, House, ScriptedBackend


@implementer(IShapedBackend, IKeepsSessions)
class Shared(ScriptedBackend):
    """Its lanes have these bounds, and share a gate."""

    def __init__(self, lane: Bounds, backend: Bounds) -> None:
        super().__init__()
        self.bounds = lane, backend
        self.parted: list[tuple[str, int]] = []

    async def shape(self, lane: str) -> Shape:
        return Shape(self.bounds[0], {"backend": self.bounds[1]})

    def part(self, lane: str, count: int) -> None:
        self.parted.append((lane, count))


@implementer(ILimitedHere)
class Here(ScriptedBackend):
    pass


class Shard(House):
    """One of several dispatchers with a clock and a desk in common."""

    def __init__(self, name: str, backend: object, desk: PermitDesk, clock: Clock) -> None:
        self.name, self.desk, self.shared_clock = name, desk, clock
        super().__init__(backend)
        self.clock = clock
        self.dispatcher = self.another_dispatcher()

    def another_dispatcher(self) -> Dispatcher:
        def register(hear: Callable[[Word], None]) -> PassOwner:
            return self.desk.holder(self.name, hear)

        return Dispatcher(
            self.settings, self.spool, {"out": self.backend},  # type: ignore[dict-item]
            self.lane_for, self, self.shared_clock, self.now, self.chance, register=register,
        )


def several(count: int, make: Callable[[], ScriptedBackend]) -> tuple[Clock, PermitDesk, Sequence[Shard]]:
    clock = Clock()
    desk = PermitDesk(clock)
    return clock, desk, [Shard(f"shard {number}", make(), desk, clock) for number in range(count)]


def attempts(shards: Sequence[Shard]) -> list[int]:
    return [len(shard.backend.waiting) for shard in shards]  # type: ignore[attr-defined]


def test_a_concurrency_of_one_holds_over_three_dispatchers_and_each_has_its_turn() -> None:
    _, desk, shards = several(3, lambda: ScriptedBackend(concurrency=1))
    for shard in shards:
        shard.put(BOB)
        shard.put(BOB)
    served = []
    for _ in range(6):
        now = attempts(shards)
        assert sum(now) == 1
        served.append(now.index(1))
        shards[served[-1]].backend.let_go()  # type: ignore[attr-defined]
    assert served == [0, 1, 2, 0, 1, 2]
    assert attempts(shards) == [0, 0, 0]
    assert [len(shard.rows()) for shard in shards] == [0, 0, 0]
    assert desk.table.through("out/example.net") == 1  # the last one has it still, since nobody wants it


def test_a_pass_that_lies_idle_is_had_for_the_asking_and_the_sessions_go_with_it() -> None:
    _, _, (one, two) = several(2, lambda: Shared(Bounds(2, None), Bounds(2, None)))
    one.put(BOB)
    one.put(BOB)
    one.backend.let_go()  # type: ignore[attr-defined]
    one.backend.let_go()  # type: ignore[attr-defined]
    assert one.backend.parted == []  # type: ignore[attr-defined]
    two.put(ALICE)  # another lane, which shares a gate that is full
    assert attempts([one, two]) == [0, 1]
    assert one.backend.parted == [("example.net", 2)]  # type: ignore[attr-defined]


def test_a_pass_serves_again_without_a_question() -> None:
    _, desk, (one,) = several(1, lambda: ScriptedBackend(concurrency=2))
    one.put(BOB)
    asked: list[object] = []
    desk.table.ask = lambda *words: asked.append(words) or []  # type: ignore
    for _ in range(5):
        one.backend.let_go()  # type: ignore[attr-defined]
        one.put(BOB)
    assert attempts([one]) == [1]
    assert not asked


def test_what_nobody_used_for_a_while_goes_back() -> None:
    clock, desk, (one,) = several(1, lambda: Shared(Bounds(2, None), Bounds(2, None)))
    one.put(BOB)
    one.backend.let_go()  # type: ignore[attr-defined]
    clock.advance(IDLE_SECONDS - 0.1)
    assert desk.table.held("shard 0") == 1
    clock.advance(IDLE_SECONDS)
    assert desk.table.held("shard 0") == 0
    assert one.backend.parted == [("example.net", 1)]  # type: ignore[attr-defined]


def test_a_rate_holds_over_all() -> None:
    clock, _, shards = several(2, lambda: Shared(Bounds(5, Rate(2, 10.0)), Bounds(5, None)))
    for shard in shards:
        for _ in range(3):
            shard.put(BOB)
    assert sum(attempts(shards)) == 2
    clock.advance(5.0)
    assert sum(attempts(shards)) == 3
    clock.pump([1.0] * 5)
    assert sum(attempts(shards)) == 4


def test_a_limit_that_is_for_the_process_is_not_shared() -> None:
    _, desk, shards = several(2, lambda: Here(concurrency=1))
    for shard in shards:
        shard.put(BOB)
    assert attempts(shards) == [1, 1]
    assert desk.table.through("out/example.net") == 0


def test_who_is_gone_leaves_his_passes() -> None:
    _, desk, (one, two) = several(2, lambda: ScriptedBackend(concurrency=1))
    one.put(BOB)
    two.put(BOB)
    assert attempts([one, two]) == [1, 0]
    desk.gone("shard 0")
    assert attempts([one, two]) == [1, 1]  # the first is dead, as far as the desk knows


def test_who_stops_gives_back_what_he_has() -> None:
    _, desk, (one,) = several(1, lambda: ScriptedBackend(concurrency=2))
    one.put(BOB)
    one.put(BOB)
    one.backend.let_go()  # type: ignore[attr-defined]
    stopped = Deferred.fromCoroutine(one.dispatcher.stop(10.0))
    assert desk.table.held("shard 0") == 1
    one.backend.let_go()  # type: ignore[attr-defined]
    assert stopped.called
    assert desk.table.held("shard 0") == 0


def test_a_pass_that_comes_while_it_is_asked_for_is_used() -> None:
    _, _, (one, two) = several(2, lambda: Shared(Bounds(1, None), Bounds(1, None)))
    one.put(BOB)
    one.put(BOB, claim=False)
    two.put(BOB)  # so that the pass comes back at the end of the attempt
    one.put(ALICE)  # another lane: it asks, and the answer is there before it is done
    for shard in (one, two, one, one):
        assert shard.backend.waiting  # type: ignore[attr-defined]
        shard.backend.let_go()  # type: ignore[attr-defined]
        one.clock.advance(1.0)
    assert [len(shard.rows()) for shard in (one, two)] == [0, 0]


@given(st.data())
def test_whatever_happens_no_more_than_the_bound_run_and_all_is_delivered(data: st.DataObject) -> None:
    lane, backend = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    clock, desk, shards = several(3, lambda: Shared(Bounds(lane, None), Bounds(backend, None)))
    people = [Mailbox("x", f"{name}.test") for name in "abc"]
    for _ in range(data.draw(st.integers(1, 30))):
        shard = data.draw(st.sampled_from(shards))
        match data.draw(st.sampled_from(["put", "put", "end", "time"])):
            case "put":
                shard.put(data.draw(st.sampled_from(people)), claim=data.draw(st.booleans()))
            case "end" if shard.backend.waiting:  # type: ignore[attr-defined]
                shard.backend.let_go()  # type: ignore[attr-defined]
            case _:
                clock.advance(data.draw(st.floats(0.1, 20.0)))
        assert sum(attempts(shards)) <= backend
        for one in people:
            assert desk.table.through(f"out/{one.domain}") <= lane
    for _ in range(300):
        for shard in shards:
            if shard.backend.waiting:  # type: ignore[attr-defined]
                shard.backend.let_go()  # type: ignore[attr-defined]
        clock.advance(0.5)
        if not any(shard.rows() for shard in shards):
            break
    assert [len(shard.rows()) for shard in shards] == [0, 0, 0]
    for shard in shards:
        result_of(shard.dispatcher.stop(1.0))
    desk.stop()
    assert not clock.getDelayedCalls()
