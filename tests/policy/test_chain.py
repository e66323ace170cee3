import pytest

from mailgw.mail.effect import AddHeader, Hold, Junk, Quarantine, Tag
from mailgw.mail.envelope import Client, Role
from mailgw.mail.verdict import PASS, Facts, Stage, Verdict, change, defer, reject
from mailgw.policy.chain import Chain
from mailgw.testing.driving import result_of

FACTS = Facts(Client("s1", Role.MX, "192.0.2.1", 25, False))


class Says:
    def __init__(self, name: str, said: Verdict | None, *stages: Stage) -> None:
        self.name = name
        self.stages = frozenset(stages or (Stage.RCPT,))
        self.said = None if said is None else Verdict(name, said.why, said.reply, said.effects)
        self.saw: list[Facts] = []

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        self.saw.append(facts)
        return self.said


def test_the_first_objection_ends_it() -> None:
    last = Says("c", reject("no"))
    chain = Chain([Says("a", None), Says("b", defer("later")), last])
    verdict = result_of(chain.judge(Stage.RCPT, FACTS))
    assert (verdict.rule, str(verdict.reply)) == ("b", "451 4.7.1 later")
    assert last.saw == []


def test_a_rule_is_asked_at_its_stages_alone() -> None:
    rule = Says("a", reject("no"), Stage.MAIL, Stage.CONTENT)
    chain = Chain([rule])
    assert [stage for stage in Stage if chain.has_rules(stage)] == [Stage.MAIL, Stage.CONTENT]
    assert result_of(chain.judge(Stage.RCPT, FACTS)) is PASS


def test_effects_are_gathered_and_later_rules_see_them() -> None:
    one = Says("one", change(Tag("a"), Hold("odd"), why="first"))
    two = Says("two", change(Quarantine(""), Junk("spam")))
    three = Says("three", None)
    verdict = result_of(Chain([one, two, three]).judge(Stage.RCPT, FACTS))
    effects = Tag("a"), Hold("one: odd"), Quarantine("two"), Junk("two: spam")
    assert verdict == Verdict("one, two", "first", None, effects)
    assert two.saw[0].tags == {"a"}
    assert three.saw[0].effects == verdict.effects


def test_an_objection_behind_effects_has_none() -> None:
    chain = Chain([Says("one", change(AddHeader("X", "1"))), Says("two", reject("no"))])
    verdict = result_of(chain.judge(Stage.RCPT, FACTS))
    assert (verdict.rule, verdict.effects) == ("two", ())


@pytest.mark.parametrize("said", [None, reject("no")])
def test_who_watches_hears_what_each_rule_said(said: Verdict | None) -> None:
    heard: list[tuple[Stage, str, Facts, bool]] = []
    rules = [Says("a", None), Says("b", said)]
    chain = Chain(rules, lambda stage, rule, facts, verdict: heard.append((stage, rule, facts, verdict.passes)))
    result_of(chain.judge(Stage.RCPT, FACTS))
    assert heard == [(Stage.RCPT, "a", FACTS, True), (Stage.RCPT, "b", FACTS, said is None)]
