"""What a message costs as messages grow, as they become more, and as more come at once: a curve of each."""

import functools
import statistics

import attrs

from tests.bench.counts import Count
from tests.bench.figures import Curve, Result
from tests.bench.loads import Source
from tests.bench.peers import mailgw, postfix
from tests.bench.stands import Bench, Order
from tests.bench.throughput import WARM_UP, passes, standing

# Nobody is sent away however many come.
LIMITS = "[limits]\nsessions = 10000\n"
SUBJECTS = {"mailgw": functools.partial(mailgw.relay, more=LIMITS), "postfix": postfix.relay}


def steps(first: int, last: int, factor: int) -> list[int]:
    """From ``first`` by ``factor``, and ``last`` at the end."""
    found = [first]
    while found[-1] * factor < last:
        found.append(found[-1] * factor)
    return found if found[-1] >= last else [*found, last]


def growth(order: Order, result: Result) -> None:
    counts = order.counts
    points: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}

    with standing(order, result, SUBJECTS) as stands:
        passes(attrs.evolve(order, rounds=1), result, stands, Source(4096, 20), WARM_UP)

        def measure(axis: str, place: int, octets: int, messages: int, sessions: int) -> None:
            order.say(f"{messages} messages of {octets} octets, {sessions} sessions")
            found = passes(order, result, stands, Source(octets, sessions), messages, warm_up=0)
            for name, ours in found.items():
                seconds = statistics.median(x.end_to_end_seconds for x in ours) / messages
                add(axis, "seconds a message", name, place, seconds)
                if axis == "octets a message":
                    add(axis, "seconds a megabyte", name, place, seconds / octets * 1e6)

        def add(axis: str, quantity: str, name: str, place: int, value: float) -> None:
            points.setdefault((axis, quantity), {}).setdefault(name, []).append((float(place), value))

        for octets in steps(1024, counts["largest"], 8):
            messages = max(1, min(counts["messages"], counts["octets"] // octets))
            measure("octets a message", octets, octets, messages, 20)
        for messages in steps(10, counts["most"], 10):
            measure("messages in a row", messages, 4096, messages, 20)
        for sessions in steps(1, counts["sessions"], 5):
            measure("sessions at once", sessions, 4096, max(counts["messages"], sessions), sessions)
    for (axis, quantity), by_subject in points.items():
        result.curves += [Curve(quantity, axis, name, tuple(ours)) for name, ours in by_subject.items()]


BENCHES = (
    Bench("growth", "what a message costs as sizes and numbers grow", {
        "messages": Count(1000, "a point", 20),
        "octets": Count(200_000_000, "a point of sizes, at most", 40_000_000),
        "largest": Count(40_000_000, "octets a message, of the last point of sizes"),
        "most": Count(20_000, "messages of the last point of numbers", 100),
        "sessions": Count(2000, "of the last point of sessions", 50),
    }, growth),
)
