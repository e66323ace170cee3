"""The chain of rules: the first objection at a stage decides it."""

from collections.abc import Iterable
from typing import Protocol

from mailgw.policy.verdict import PASS, Facts, Stage, Verdict


class Rule(Protocol):
    """One rule.  ``judge`` returns None where it has no objection; an exception is the caller's to answer 451."""

    @property
    def name(self) -> str: ...

    @property
    def stages(self) -> frozenset[Stage]: ...

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None: ...


class Chain:
    """Rules in their order."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        rules = tuple(rules)
        self._by_stage = {stage: tuple(r for r in rules if stage in r.stages) for stage in Stage}

    def has_rules(self, stage: Stage) -> bool:
        """False saves the caller gathering facts for nobody."""
        return bool(self._by_stage[stage])

    async def judge(self, stage: Stage, facts: Facts) -> Verdict:
        """The first objection, or ``PASS``."""
        for rule in self._by_stage[stage]:
            verdict = await rule.judge(stage, facts)
            if verdict is not None and not verdict.passes:
                return verdict
        return PASS
