"""What was measured, and what follows from it: medians, spreads, ratios.  Pure."""

import statistics

import attrs


@attrs.frozen
class Measure:
    """One quantity of one subject, a value a round."""

    quantity: str  # "end to end"
    unit: str  # "messages/s"
    subject: str
    values: tuple[float, ...]  # at least one
    is_more_better: bool = True

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)


@attrs.frozen
class Curve:
    """How a quantity of one subject goes with another."""

    quantity: str  # "seconds a message"
    axis: str  # "octets a message"
    subject: str
    points: tuple[tuple[float, float], ...]  # on the axis, of the quantity


@attrs.define
class Result:
    """What came of one bench; ``failed`` has words where it could not be measured."""

    bench: str
    counts: dict[str, int] = attrs.Factory(dict)
    measures: list[Measure] = attrs.Factory(list)
    curves: list[Curve] = attrs.Factory(list)
    skipped: dict[str, str] = attrs.Factory(dict)  # by subject, why
    notes: list[str] = attrs.Factory(list)
    failed: str = ""
    seconds: float = 0.0

    def measure(self, quantity: str, subject: str) -> Measure | None:
        return next((x for x in self.measures if x.quantity == quantity and x.subject == subject), None)

    def quantities(self) -> list[str]:
        """Each once, as they came."""
        return list(dict.fromkeys(x.quantity for x in self.measures))

    def of(self, quantity: str) -> list[Measure]:
        return [x for x in self.measures if x.quantity == quantity]


def times_as_good(one: Measure, other: Measure) -> float:
    """The ratio of the medians, above 1 where ``one`` is the better; infinite where the worse of them is nothing."""
    upper, lower = (one.median, other.median) if one.is_more_better else (other.median, one.median)
    return upper / lower if lower else float("inf")


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of them do not exceed.  ``values`` is not empty."""
    ordered = sorted(values)
    place = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(place, 1) - 1]


def turns(names: list[str], rounds: int) -> list[str]:
    """Who is measured when: each once a round, every other round backwards, so that drift meets all alike."""
    return [name for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])]
