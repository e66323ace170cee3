"""How many messages a second pass: each subject in turn gets the same load, round after round.

A round begins with the first connection and ends when the last message has come out; ``accepted`` is how quickly
the sender was rid of them.  Where that is far above the other figure, the queue grew.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack

import attrs

from tests.bench.figures import Measure, Result, turns
from tests.bench.loads import SECONDS, Arrivals, Load
from tests.bench.stands import TROUBLE, Order, Setup, set_up
from tests.bench.targets import MAILGW

LOOK_SECONDS = 0.02
WARM_UP = 200  # messages


@attrs.frozen
class Stand:
    """A subject that runs.  Without ``arrivals`` a message that was accepted is at its end."""

    port: int
    arrivals: Arrivals | None = None


@attrs.frozen
class Pass:
    """One load through one subject."""

    messages: int
    end_to_end_seconds: float
    accepted_seconds: float


def one_pass(stand: Stand, load: Load, messages: int) -> Pass:
    """AssertionError where not all came out in time."""
    arrivals = stand.arrivals
    if arrivals is None:
        span = load(stand.port, messages)
        return Pass(messages, span.ended - span.began, span.ended - span.began)
    arrivals.begin()
    span = load(stand.port, messages)
    while (count := arrivals.count()) < messages:
        assert time.monotonic() - span.began < SECONDS, f"only {count} of {messages} arrived within {SECONDS:g} s"
        time.sleep(LOOK_SECONDS)
    return Pass(messages, time.monotonic() - span.began, span.ended - span.began)


def passes(
    order: Order, result: Result, setups: Mapping[str, Setup[Stand]], load: Load, messages: int
) -> dict[str, list[Pass]]:
    """By subject, a pass a round.  A foreign server that falls out of step is left out, and ``result`` says so."""
    found: dict[str, list[Pass]] = {}
    with ExitStack() as stack:
        stands = set_up(stack, setups, order, result)

        def measure(name: str, count: int) -> Pass | None:
            try:
                return one_pass(stands[name], load, count)
            except TROUBLE as trouble:
                if name == MAILGW:
                    raise
                result.skipped[name] = str(trouble)
                del stands[name]
                found.pop(name, None)
                return None

        for name in list(stands):
            measure(name, min(WARM_UP, messages))
        for name in turns(list(stands), order.rounds):
            if name in stands and (one := measure(name, messages)) is not None:
                found.setdefault(name, []).append(one)
                order.say(f"{name}: {messages / one.end_to_end_seconds:.0f} messages/s, "
                          f"{messages / one.accepted_seconds:.0f}/s accepted")
    return {name: found[name] for name in setups if name in found}


def add_rates(
    result: Result, found: Mapping[str, list[Pass]], quantity: str = "end to end",
    unit: str = "messages/s", units_a_message: float = 1.0, is_accepted_told: bool = True,
) -> None:
    """The measures of these passes; ``units_a_message`` turns messages into megabytes, say."""
    for name, ours in found.items():
        rates = tuple(units_a_message * x.messages / x.end_to_end_seconds for x in ours)
        result.measures.append(Measure(quantity, unit, name, rates))
    for name, ours in found.items() if is_accepted_told else ():
        rates = tuple(units_a_message * x.messages / x.accepted_seconds for x in ours)
        result.measures.append(Measure("accepted", unit, name, rates))
