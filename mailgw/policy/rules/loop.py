"""Mail that goes in circles ends here (RFC 5321 s6.3)."""

from mailgw.mail.header import count_received
from mailgw.mail.reply import Reply
from mailgw.mail.verdict import Facts, Stage, Verdict

# RFC 5321 s6.3: "normally at least 100"
MAX_RECEIVED = 100


class LoopRule:
    name = "loop"
    stages = frozenset({Stage.CONTENT})

    async def judge(self, stage: Stage, facts: Facts) -> Verdict | None:
        hops = count_received(facts.header)
        if hops <= MAX_RECEIVED:
            return None
        return Verdict(
            self.name,
            f"{hops} Received fields",
            Reply(554, "5.4.6", (f"Too many hops ({hops}): this message goes in circles",)),
        )
