"""How many messages a second pass: each subject in turn gets the same load, round after round.

A round begins with the first connection and ends when the last message has come out; ``accepted`` is how quickly
the sender was rid of them.  Where that is far above the other figure, the queue grew.
"""

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from tests.bench.figures import Measure, Result, turns
from tests.bench.loads import SECONDS, Arrivals, Load
from tests.bench.processor_time import Group, group
from tests.bench.stands import TROUBLE, Order, Setup, set_up
from tests.bench.targets import is_ours
from tests.peers.harness import Running

LOOK_SECONDS = 0.02
WARM_UP = 100  # messages
FEWEST = 40  # two a session say something still


@attrs.frozen
class Stand:
    """A subject that runs.  Without ``arrivals`` a message that was accepted is at its end."""

    port: int
    arrivals: Arrivals | None = None
    group: Group | None = None  # its processes


@attrs.frozen
class Pass:
    """One load through one subject."""

    messages: int
    end_to_end_seconds: float
    accepted_seconds: float
    processor_seconds: float | None  # of the subject; None where nobody counts them


@contextlib.contextmanager
def metered(name: str, setup: Setup[Stand], folder: Path, peers: Path) -> Iterator[Stand]:
    """That setup, with the subject's processes, but not the sink, in a group of their own."""
    with group(name) as own, ExitStack() as stack:
        with own.joined() if own is not None else contextlib.nullcontext():
            stand = stack.enter_context(setup(folder, peers))
        if own is not None and isinstance(stand.arrivals, Running):
            own.without(stand.arrivals)
        yield attrs.evolve(stand, group=own)


def one_pass(stand: Stand, load: Load, messages: int) -> Pass:
    """AssertionError where not all came out in time."""
    arrivals, used = stand.arrivals, stand.group.seconds() if stand.group is not None else None
    if arrivals is not None:
        arrivals.begin()
    span = load(stand.port, messages)
    end = span.ended
    while arrivals is not None and (count := arrivals.count()) < messages:
        assert time.monotonic() - span.began < SECONDS, f"only {count} of {messages} arrived within {SECONDS:g} s"
        time.sleep(LOOK_SECONDS)
        end = time.monotonic()
    if used is not None and stand.group is not None:
        used = stand.group.seconds() - used
    return Pass(messages, end - span.began, span.ended - span.began, used)


@contextlib.contextmanager
def standing(order: Order, result: Result, setups: Mapping[str, Setup[Stand]]) -> Iterator[dict[str, Stand]]:
    """Those subjects that are wanted and can be had."""
    with ExitStack() as stack:
        yield set_up(
            stack, {name: functools.partial(metered, name, setup) for name, setup in setups.items()}, order, result)


def passes(
    order: Order, result: Result, stands: dict[str, Stand], load: Load, messages: int, warm_up: int = WARM_UP
) -> dict[str, list[Pass]]:
    """By subject, a pass a round, after one with ``warm_up`` messages that does not count.

    A subject that would take longer than the order gives a pass gets fewer messages.  A foreign server that falls out
    of step is taken out of ``stands``, and ``result`` says so.
    """
    found: dict[str, list[Pass]] = {name: [] for name in stands}
    mine = dict.fromkeys(stands, messages)

    def measure(name: str, count: int) -> Pass | None:
        try:
            return one_pass(stands[name], load, count)
        except TROUBLE as trouble:
            if is_ours(name):
                raise
            result.skipped[name] = str(trouble)
            del stands[name]
            del found[name]
            return None

    for name in list(stands):
        if warm_up and (one := measure(name, min(warm_up, messages))) is not None:
            mine[name] = fitting(one, order.pass_seconds, messages)
    for name in turns(list(stands), order.rounds):
        if name in stands and (one := measure(name, mine[name])) is not None:
            found[name].append(one)
            order.say(f"{name}: {one.messages} messages, {one.messages / one.end_to_end_seconds:.1f}/s, "
                      f"{one.messages / one.accepted_seconds:.1f}/s accepted")
    return found


def fitting(one: Pass, seconds: float, messages: int) -> int:
    """As many messages as fit into ``seconds`` at the rate of that pass, ``FEWEST`` at least, ``messages`` at most."""
    return min(messages, max(FEWEST, round(one.messages / one.end_to_end_seconds * seconds)))


def add_rates(
    result: Result, found: Mapping[str, list[Pass]], quantity: str = "end to end",
    unit: str = "messages/s", units_a_message: float = 1.0, is_accepted_told: bool = True,
) -> None:
    """The measures of these passes; ``units_a_message`` turns messages into megabytes, say."""

    def rate(one: Pass, seconds: float) -> float:
        return units_a_message * one.messages / seconds

    for name, ours in found.items():
        values = tuple(rate(x, x.end_to_end_seconds) for x in ours)
        result.measures.append(Measure(quantity, unit, name, values))
    for name, ours in found.items() if is_accepted_told else ():
        values = tuple(rate(x, x.accepted_seconds) for x in ours)
        result.measures.append(Measure(f"{quantity}: accepted", unit, name, values))
    one = unit.partition("/")[0].removesuffix("s")
    for name, ours in found.items():
        values = tuple(1000 / rate(x, x.processor_seconds) for x in ours if x.processor_seconds)
        if values:
            result.measures.append(Measure(f"{quantity}: processor time", f"ms a {one}", name, values, False))
