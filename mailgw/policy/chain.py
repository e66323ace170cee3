"""The chain of rules: the first objection at a stage decides it; what the others ask for is gathered in their order."""

from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from mailgw.mail.effect import MAX_WHY, Effect, Hold, Junk, Quarantine
from mailgw.mail.verdict import PASS, Facts, Stage, Verdict


class Rule(Protocol):
    """One rule.  ``judge`` returns None where it has no objection; an exception is the caller's to answer 451."""

    @property
    def name(self) -> str: ...

    @property
    def stages(self) -> frozenset[Stage]: ...

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None: ...


Watch = Callable[[Stage, str, Facts, Verdict], None]
"""Is told what each rule said (``PASS`` for nothing), by its name, with what it saw."""


class Chain:
    """Rules in their order.  ``watch`` is for who wants to know how a verdict came to be."""

    def __init__(self, rules: Iterable[Rule], watch: Watch | None = None) -> None:
        rules = tuple(rules)
        self._by_stage = {stage: tuple(r for r in rules if stage in r.stages) for stage in Stage}
        self._watch = watch

    def has_rules(self, stage: Stage) -> bool:
        """False saves the caller gathering facts for nobody."""
        return bool(self._by_stage[stage])

    async def judge(self, stage: Stage, facts: Facts) -> Verdict:
        """The first objection; else what rules asked for, under all of their names; ``PASS`` where that is nothing.

        Each rule sees the effects of those before it in ``facts``.
        """
        spoken: list[Verdict] = []
        for rule in self._by_stage[stage]:
            verdict = await rule.judge(stage, facts)
            if self._watch is not None:
                self._watch(stage, rule.name, facts, verdict or PASS)
            if verdict is None:
                continue
            if not verdict.passes:
                return verdict
            if verdict.effects:
                named = attrs.evolve(verdict, effects=tuple(_named(verdict.rule, one) for one in verdict.effects))
                spoken.append(named)
                facts = attrs.evolve(facts, effects=(*facts.effects, *named.effects))
        if not spoken:
            return PASS
        return Verdict(
            ", ".join(one.rule for one in spoken),
            "; ".join(one.why for one in spoken if one.why),
            None,
            tuple(effect for one in spoken for effect in one.effects),
        )


def _named(rule: str, effect: Effect) -> Effect:
    """Who holds a message back has to be known where it is held."""
    match effect:
        case Hold(why) | Quarantine(why) | Junk(why):
            return attrs.evolve(effect, why=f"{rule}: {why}"[:MAX_WHY] if why else rule)
        case _:
            return effect
