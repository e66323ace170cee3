"""What mailgw is to reach on the reference machine.  They are told beside the figures, and fail nothing."""

import attrs

from tests.bench.figures import Result, times_as_good

MAILGW = "mailgw"


def is_ours(subject: str) -> bool:
    """Whether it is mailgw, whose trouble is a failure: "mailgw", "mailgw-auto", "mailgw, nothing deferred"."""
    return subject.startswith(MAILGW)


@attrs.frozen
class Target:
    """``at_least``, and the ``aim``, for mailgw's median: as a multiple of how good another subject is (``against``),
    or in the quantity's own unit, where less may be better."""

    quantity: str
    at_least: float
    aim: float | None = None
    against: str | None = None
    is_more_better: bool = True


TARGETS: dict[str, tuple[Target, ...]] = {
    "relay": (Target("end to end", 2.5, 4.0, "postfix"),),
    "relay-kept": (Target("end to end", 3.0, 6.0, "postfix"),),
    "relay-10mb": (Target("end to end", 1.0, 1.5, "postfix"),),
    "maildir": (Target("end to end", 1.5, 3.0, "postfix"),),
    "submission": (
        Target("one a connection", 1.0, 2.0, "postfix"),
        Target("kept connections", 1.0, 2.0, "postfix"),
    ),
    "accept": (Target("accepted", 2.0, 3.0, "twisted"),),
    "idle": (
        Target("memory of a clear session", 30.0, is_more_better=False),
        Target("memory of a TLS session", 100.0, is_more_better=False),
    ),
    "deferred": (
        Target("start", 10.0, is_more_better=False),
        Target("memory", 400.0, is_more_better=False),
        Target("fresh mail's share", 90.0),
    ),
    "stall": (Target("longest stall", 50.0, 10.0, is_more_better=False),),
    "trust-stall": (Target("longest stall", 50.0, 10.0, is_more_better=False),),
    "watched": (Target("share", 95.0),),
    "watched-auto": (Target("share", 95.0),),
    "watched-answers": (Target("longest answer", 200.0, is_more_better=False),),
    "trust": (Target("end to end", 0.7, against="mailgw-plain"),),
    "dkim": (
        Target("signing, RSA-2048", 0.5, is_more_better=False),
        Target("verifying, RSA-2048", 0.3, is_more_better=False),
        Target("longest step, relaxed", 10.0, is_more_better=False),
    ),
}


@attrs.frozen
class Judgement:
    target: Target
    found: float

    @property
    def is_reached(self) -> bool:
        return self._reaches(self.target.at_least)

    @property
    def is_aim_reached(self) -> bool:
        return self.target.aim is not None and self._reaches(self.target.aim)

    def _reaches(self, limit: float) -> bool:
        return self.found >= limit if self.target.is_more_better else self.found <= limit


def judgements(result: Result) -> list[Judgement]:
    """One for each target whose figures there are."""
    found = []
    for target in TARGETS.get(result.bench, ()):
        ours = result.measure(target.quantity, MAILGW)
        if target.against is None:
            if ours is not None:
                found.append(Judgement(target, ours.median))
            continue
        theirs = result.measure(target.quantity, target.against)
        if ours is not None and theirs is not None:
            found.append(Judgement(target, times_as_good(ours, theirs)))
    return found
