"""A rule that knows junk by its subject."""

from mailgw.mail.effect import Junk
from mailgw.mail.verdict import Facts, Stage, Verdict, change


class Judge:
    stages = frozenset({Stage.CONTENT})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        return change(Junk("offers prizes")) if "prizes" in facts.fields.get("Subject", "") else None
